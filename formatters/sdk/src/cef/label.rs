//! Labels of the keys that have no meaning of their own.

use serde::Deserialize;

/// The longest label, in bytes.
const MAX_BYTES: usize = 1023;

/// A label chosen by the webhook's owner: 1 to 1023 printable ASCII characters, without a space at either end.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct Label(String);

impl Label {
    /// The unescaped label.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Label {
    type Error = &'static str;

    fn try_from(label: String) -> Result<Self, Self::Error> {
        if is_label(&label) {
            Ok(Self(label))
        } else {
            Err("1 to 1023 printable ASCII characters are expected, without a space at either end")
        }
    }
}

pub(super) fn is_label(label: &str) -> bool {
    (1..=MAX_BYTES).contains(&label.len())
        && label.bytes().all(|b| matches!(b, b' '..=b'~'))
        && label.trim().len() == label.len()
}
