//! Why a formatter gave no payload.

use std::fmt;

use crate::json::fault::Fault;

/// What one call may use at most.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Limit {
    /// Instructions.
    Fuel,
    /// Wall-clock time.
    Time,
    /// Linear memory.
    Memory,
    /// Table elements.
    Table,
    /// The wasm stack.
    Stack,
    /// Bytes of event and options that go in.
    Input,
    /// Bytes that come out.
    Output,
    /// Headers that come out.
    Headers,
}

impl Limit {
    /// The limit's name in metrics and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fuel => "instructions",
            Self::Time => "time",
            Self::Memory => "memory",
            Self::Table => "table elements",
            Self::Stack => "stack",
            Self::Input => "input",
            Self::Output => "output",
            Self::Headers => "headers",
        }
    }
}

/// Why there is no payload. `Display` is a sentence for the webhook's admin.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RenderError {
    /// The format has no message for this event type.
    Unsupported(String),
    /// The webhook's options cannot be used.
    InvalidOptions(Vec<Fault>),
    /// The event lacks what the format needs.
    InvalidEvent(Vec<Fault>),
    /// The formatter said so itself.
    Internal(String),
    /// A limit was crossed.
    Limit {
        /// Which.
        limit: Limit,
        /// How much is allowed, with its unit.
        allowed: String,
    },
    /// The code broke off: a panic, a wild pointer.
    Trap {
        /// A stable word for metrics.
        kind: &'static str,
        /// What happened.
        what: String,
        /// The functions that were running, innermost first.
        backtrace: Vec<String>,
    },
    /// The payload breaks a rule of the contract.
    Illegal(String),
    /// No formatter of this name is loaded.
    NotLoaded(String),
    /// The host is stopping.
    Stopping,
}

impl RenderError {
    /// Whether the formatter is at fault, so that another version of it may do better: not when it
    /// declined the event type, and not when nothing was called.
    pub fn is_fault(&self) -> bool {
        !matches!(
            self,
            Self::Unsupported(_) | Self::NotLoaded(_) | Self::Stopping | Self::Limit { limit: Limit::Input, .. }
        )
    }

    /// A stable word for programs and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unsupported(_) => "unsupported_event",
            Self::InvalidOptions(_) => "invalid_options",
            Self::InvalidEvent(_) => "invalid_event",
            Self::Internal(_) => "internal",
            Self::Limit { .. } => "limit",
            Self::Trap { .. } => "trap",
            Self::Illegal(_) => "illegal_payload",
            Self::NotLoaded(_) => "not_loaded",
            Self::Stopping => "stopping",
        }
    }
}

fn faults(f: &mut fmt::Formatter<'_>, what: &str, faults: &[Fault]) -> fmt::Result {
    write!(f, "the formatter cannot use {what}")?;
    for (place, fault) in faults.iter().enumerate() {
        let pointer = if fault.pointer.is_empty() { "the whole" } else { &fault.pointer };
        write!(f, "{} {pointer}: {}", if place == 0 { ":" } else { ";" }, fault.detail)?;
    }
    Ok(())
}

impl fmt::Display for RenderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported(event_type) => write!(f, "the formatter has no message for {event_type}"),
            Self::InvalidOptions(problems) => faults(f, "the webhook's format_options", problems),
            Self::InvalidEvent(problems) => faults(f, "this event", problems),
            Self::Internal(message) => write!(f, "the formatter reports: {message}"),
            Self::Limit { limit, allowed } => {
                write!(f, "the formatter crossed the limit on {}, which is {allowed}", limit.as_str())
            }
            Self::Trap { what, backtrace, .. } => {
                write!(f, "the formatter broke off: {what}")?;
                if let Some(function) = backtrace.first() {
                    write!(f, ", in {function}")?;
                }
                Ok(())
            }
            Self::Illegal(what) => write!(f, "the formatter's payload is not legal: {what}"),
            Self::NotLoaded(name) => write!(f, "no formatter named {name} is loaded"),
            Self::Stopping => f.write_str("the host is stopping"),
        }
    }
}

impl std::error::Error for RenderError {}
