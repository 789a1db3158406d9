//! The failure of a command: message, hint and exit code.

use std::process::ExitCode;

/// `EX_USAGE` of sysexits(3): the command line or the configuration is invalid.
const EXIT_USAGE: u8 = 64;
/// The command was valid and could not be completed.
const EXIT_FAILURE: u8 = 1;

/// The reason why a command stops, and a hint how to fix it.
#[derive(Debug)]
pub struct Failure(Kind);

#[derive(Debug)]
enum Kind {
    Message { error: anyhow::Error, hint: String, exit: u8 },
    AlreadyPrinted { exit: u8 },
    OutputClosed,
}

impl Failure {
    /// An invalid command line or configuration (exit code 64).
    pub(crate) fn usage(error: impl Into<anyhow::Error>, hint: impl Into<String>) -> Self {
        Self(Kind::Message { error: error.into(), hint: hint.into(), exit: EXIT_USAGE })
    }

    /// Any other failure (exit code 1).
    pub(crate) fn failed(error: impl Into<anyhow::Error>, hint: impl Into<String>) -> Self {
        Self(Kind::Message { error: error.into(), hint: hint.into(), exit: EXIT_FAILURE })
    }

    /// A failure that the command has printed already; only the exit code remains (1).
    pub(crate) fn already_printed() -> Self {
        Self(Kind::AlreadyPrinted { exit: EXIT_FAILURE })
    }

    /// As [`Failure::already_printed`], with the given exit code.
    pub(crate) fn already_printed_with(exit: u8) -> Self {
        Self(Kind::AlreadyPrinted { exit })
    }

    /// As [`Failure::already_printed`], for an invalid command line (exit code 64).
    pub(crate) fn already_printed_usage() -> Self {
        Self(Kind::AlreadyPrinted { exit: EXIT_USAGE })
    }

    /// The async runtime could not be started.
    pub fn no_runtime(error: std::io::Error) -> Self {
        let error = anyhow::Error::new(error).context("cannot start the async runtime");
        Self::failed(error, "check the limits of threads and file descriptors (`ulimit -a`)")
    }

    /// The reader of standard output has closed it (`| head`). Not an error: the command ends with exit code 0.
    pub(crate) fn output_closed() -> Self {
        Self(Kind::OutputClosed)
    }

    /// True if standard output has been closed by its reader.
    pub(crate) fn is_output_closed(&self) -> bool {
        matches!(self.0, Kind::OutputClosed)
    }

    /// The error with its causes, and the hint; `None` when there is nothing left to print.
    pub fn message(&self) -> Option<(String, &str)> {
        match &self.0 {
            Kind::Message { error, hint, .. } => Some((format!("{error:#}"), hint)),
            Kind::AlreadyPrinted { .. } | Kind::OutputClosed => None,
        }
    }

    /// The process's exit code.
    pub fn exit_code(&self) -> ExitCode {
        match self.0 {
            Kind::Message { exit, .. } | Kind::AlreadyPrinted { exit } => ExitCode::from(exit),
            Kind::OutputClosed => ExitCode::SUCCESS,
        }
    }
}

/// Turns an error into a [`Failure`] by adding a hint.
pub(crate) trait OrHint<T> {
    /// The value, or a failure (exit code 1) with this hint.
    fn or_hint(self, hint: &str) -> Result<T, Failure>;
}

impl<T, E: Into<anyhow::Error>> OrHint<T> for Result<T, E> {
    fn or_hint(self, hint: &str) -> Result<T, Failure> {
        self.map_err(|error| Failure::failed(error, hint))
    }
}
