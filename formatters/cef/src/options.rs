//! What a webhook may choose: the names under which a receiver files the events.

use serde::Deserialize;

/// The JSON Schema of [`Options`]; the checks in this file say the same.
pub(crate) const SCHEMA: &str = include_str!("options.schema.json");

/// The webhook's `format_options`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    pub(crate) vendor: DeviceName,
    pub(crate) product: DeviceName,
}

/// 1 to 63 printable ASCII characters, none of them a space at an end: Device Vendor or Device Product.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct DeviceName(String);

impl DeviceName {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for DeviceName {
    fn default() -> Self {
        Self("Heraldry".into())
    }
}

impl TryFrom<String> for DeviceName {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        let printable = name.bytes().all(|b| matches!(b, b' '..=b'~'));
        if (1..=63).contains(&name.len()) && printable && name.trim() == name {
            Ok(Self(name))
        } else {
            Err("1 to 63 printable ASCII characters are expected, without a space at either end")
        }
    }
}
