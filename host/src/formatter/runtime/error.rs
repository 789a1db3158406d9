//! Errors of the runtime, by type: compiling, loading, linking, and a call that gave no payload.

use std::fmt;
use std::process::ExitStatus;

use crate::json::fault::Fault;

/// A limit on one call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Limit {
    /// WebAssembly instructions, which wasmtime meters as fuel.
    Fuel,
    /// Processor time, or many times as much wall-clock time.
    Time,
    /// Linear memory, all memories of the instance together.
    Memory,
    /// Elements of all tables together.
    Table,
    /// The WebAssembly stack.
    Stack,
    /// Bytes of event and options together.
    Input,
    /// Bytes of body, headers and content type together.
    Output,
    /// Number of headers in the payload.
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

/// A call that gave no payload. `Display` is a sentence for the webhook's admin.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RenderError {
    /// The format has no message for this event type.
    Unsupported(String),
    /// The formatter rejects the webhook's options.
    InvalidOptions(Vec<Fault>),
    /// The event lacks a member that the format needs.
    InvalidEvent(Vec<Fault>),
    /// The formatter returned `internal` with this message.
    Internal(String),
    /// The call exceeded a limit.
    Limit {
        /// The exceeded limit.
        limit: Limit,
        /// The allowed amount, with its unit.
        allowed: String,
    },
    /// The code trapped: a panic, an out-of-bounds access, a division by zero.
    Trap {
        /// A stable word for metrics.
        kind: &'static str,
        /// A description for people.
        what: String,
        /// Names of the running functions, innermost first.
        backtrace: Vec<String>,
    },
    /// The payload violates a rule of the contract.
    Illegal(String),
    /// No instance was made, since the sandbox had no room for one; the engine's words.
    NotRun(String),
    /// No formatter of this name is loaded.
    NotLoaded(String),
    /// The host is shutting down.
    Stopping,
}

impl RenderError {
    /// True if the formatter is at fault, so that another version of it may succeed. False if it declined the
    /// event type and if nothing was called.
    pub fn is_fault(&self) -> bool {
        !matches!(
            self,
            Self::Unsupported(_)
                | Self::NotRun(_)
                | Self::NotLoaded(_)
                | Self::Stopping
                | Self::Limit { limit: Limit::Input, .. }
        )
    }

    /// True if the same call fails again, on every machine. False if the cause was this machine at this moment: the
    /// limit on time, an instance that could not be made, a host that stops. Then the call is worth another try, and says
    /// nothing about the formatter.
    pub fn is_deterministic(&self) -> bool {
        match self {
            Self::Limit { limit, .. } => *limit != Limit::Time,
            Self::NotRun(_) | Self::NotLoaded(_) | Self::Stopping => false,
            Self::Unsupported(_)
            | Self::InvalidOptions(_)
            | Self::InvalidEvent(_)
            | Self::Internal(_)
            | Self::Trap { .. }
            | Self::Illegal(_) => true,
        }
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
            Self::NotRun(_) => "not_run",
            Self::NotLoaded(_) => "not_loaded",
            Self::Stopping => "stopping",
        }
    }
}

fn write_faults(f: &mut fmt::Formatter<'_>, subject: &str, faults: &[Fault]) -> fmt::Result {
    write!(f, "the formatter cannot use {subject}")?;
    for (index, fault) in faults.iter().enumerate() {
        let pointer = if fault.pointer.is_empty() { "the whole" } else { &fault.pointer };
        write!(f, "{} {pointer}: {}", if index == 0 { ":" } else { ";" }, fault.detail)?;
    }
    Ok(())
}

impl fmt::Display for RenderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported(event_type) => write!(f, "the formatter has no message for {event_type}"),
            Self::InvalidOptions(problems) => write_faults(f, "the webhook's format_options", problems),
            Self::InvalidEvent(problems) => write_faults(f, "this event", problems),
            Self::Internal(message) => write!(f, "the formatter reports: {message}"),
            Self::Limit { limit, allowed } => {
                write!(f, "the formatter crossed the limit on {}, which is {allowed}", limit.as_str())
            }
            Self::Trap { what, backtrace, .. } => {
                write!(f, "the formatter crashed: {what}")?;
                if let Some(function) = backtrace.first() {
                    write!(f, ", in {function}")?;
                }
                Ok(())
            }
            Self::Illegal(reason) => write!(f, "the formatter's payload is not legal: {reason}"),
            Self::NotRun(reason) => write!(f, "the formatter could not be run: {reason}"),
            Self::NotLoaded(name) => write!(f, "no formatter named {name} is loaded"),
            Self::Stopping => f.write_str("the host is stopping"),
        }
    }
}

impl std::error::Error for RenderError {}

/// A component that was not compiled.
#[derive(Debug)]
pub(in crate::formatter) enum CompileError {
    /// The bytes are not a valid component; the compiler's message.
    Invalid(String),
    /// The compiler process could not be run, through no fault of the component.
    NotRun(std::io::Error),
    /// The compiler process ended with an error; the first line of its message.
    Crashed(String),
    /// The kernel ended the compiler process at its limit on processor time or memory.
    Limit {
        /// Allowed processor time, in seconds.
        seconds: u64,
        /// The signal that ended it.
        status: ExitStatus,
    },
}

/// Valid machine code that a sandbox does not load; the text is wasmtime's.
#[derive(Debug)]
pub(in crate::formatter) enum LoadError {
    /// The system forbids executable memory, through no fault of the component.
    NotExecutable(String),
    /// The component needs more memories, tables or instances than the sandbox has.
    ExceedsSandbox(String),
}

/// Imports or exports of a type that the contract does not have; the text is wasmtime's.
#[derive(Debug)]
pub(in crate::formatter) struct LinkError(pub(in crate::formatter) String);
