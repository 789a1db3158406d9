//! Text that must not be shown: signing secrets, header values, destination URLs, tokens.

use std::fmt;

use zeroize::Zeroize as _;

/// A text that only [`Secret::expose`] shows. It has no `Display`, `Debug` prints `[redacted]`, and its memory is
/// overwritten with zeroes when it is dropped.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(String);

impl Secret {
    /// The secret with this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for a signature, a request or the cipher.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}
