//! The surroundings of a check: the sandbox, the sample events, and the words that its steps share.

use super::report::Finding;
use crate::formatter::runtime::{ComponentCompiler, RenderError, Sandbox};
use crate::model::event::Event;

/// Callers that one finding names.
const NAMED_FUNCTIONS: usize = 4;

/// A named event that components are tried on.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The sample's name in reports, as in `finding_added--minimal`.
    pub name: String,
    /// The event as the host would have accepted it.
    pub event: Event,
}

/// The surroundings of a check.
pub(in crate::formatter) struct Validator<'a> {
    pub(in crate::formatter) sandbox: &'a Sandbox,
    pub(in crate::formatter) compiler: &'a ComponentCompiler,
    /// True if the component waits until no other that does so is compiled.
    pub(in crate::formatter) in_turn: bool,
    /// Events that the component must render; empty for one that was admitted before.
    pub(in crate::formatter) samples: &'a [Sample],
    /// The host name that formatters are told.
    pub(in crate::formatter) host_name: &'a str,
}

pub(super) fn not_deterministic(function: &str) -> Finding {
    Finding::error(
        "not_deterministic",
        format!("{function}: two runs with the same input gave different results"),
        "the same input must give the same bytes: no clock, no randomness, no order of a hash map",
    )
}

/// The callers of the function that trapped, in words.
pub(super) fn callers(error: &RenderError) -> String {
    match error {
        RenderError::Trap { backtrace, .. } if backtrace.len() > 1 => {
            let callers: Vec<_> = backtrace[1..].iter().take(NAMED_FUNCTIONS).cloned().collect();
            format!(" (called by {})", callers.join(", "))
        }
        _ => String::new(),
    }
}
