//! What is wrong with an input, field by field.

use serde::Serialize;

/// One field that was understood and refused.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Fault {
    /// Where: a JSON pointer (RFC 6901) into the request's body, `""` for the whole of it.
    pub pointer: String,
    /// A stable word for programs, as in `out_of_range`.
    pub code: &'static str,
    /// What is wrong and what was expected, for people.
    pub detail: String,
}

/// Collects every fault of an input, so that one answer names them all.
#[derive(Default, Debug)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// Nothing wrong so far.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a fault.
    pub fn add(&mut self, pointer: impl Into<String>, code: &'static str, detail: impl Into<String>) {
        self.0.push(Fault { pointer: pointer.into(), code, detail: detail.into() });
    }

    /// Whether nothing was found wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value, unless something was found wrong.
    ///
    /// # Errors
    /// The faults, when there are any.
    pub fn or<T>(self, value: impl FnOnce() -> T) -> Result<T, Vec<Fault>> {
        if self.0.is_empty() { Ok(value()) } else { Err(self.0) }
    }

    /// The faults themselves.
    pub fn into_inner(self) -> Vec<Fault> {
        self.0
    }
}

impl Extend<Fault> for Faults {
    fn extend<I: IntoIterator<Item = Fault>>(&mut self, faults: I) {
        self.0.extend(faults);
    }
}

/// One member name as a JSON pointer's reference token (RFC 6901, section 3: `~` and `/` escaped).
pub fn token(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
