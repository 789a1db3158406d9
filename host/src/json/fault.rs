//! Validation errors, field by field.

use serde::Serialize;

/// One field that parsed but was rejected.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Fault {
    /// JSON pointer (RFC 6901) into the request's body; `""` for the whole body.
    pub pointer: String,
    /// Stable and machine-readable, as in `out_of_range`; part of the API.
    pub code: &'static str,
    /// The cause and the expected value, as a sentence for people; may change.
    pub detail: String,
}

/// Collects every fault of an input, so that one response lists them all.
#[derive(Default, Debug)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// An empty collection.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a fault at a JSON pointer.
    pub fn add(&mut self, pointer: impl Into<String>, code: &'static str, detail: impl Into<String>) {
        self.0.push(Fault { pointer: pointer.into(), code, detail: detail.into() });
    }

    /// Returns true if there is no fault.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Computes `value` if there is no fault.
    ///
    /// # Errors
    /// The faults, if there are any.
    pub fn or<T>(self, value: impl FnOnce() -> T) -> Result<T, Vec<Fault>> {
        if self.0.is_empty() { Ok(value()) } else { Err(self.0) }
    }

    /// The faults in the order in which they were added.
    pub fn into_inner(self) -> Vec<Fault> {
        self.0
    }
}

impl Extend<Fault> for Faults {
    fn extend<I: IntoIterator<Item = Fault>>(&mut self, faults: I) {
        self.0.extend(faults);
    }
}

/// Escapes a member's name as a reference token of a JSON pointer (RFC 6901, section 3: `~` and `/`).
pub fn token(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
