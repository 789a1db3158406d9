//! How a command ends when it does not end well.

use std::process::ExitCode;

/// `EX_USAGE` of sysexits: the command line or the configuration is wrong.
const EXIT_USAGE: u8 = 64;
/// The command understood what it should do and could not.
const EXIT_FAILURE: u8 = 1;

/// Why a command stops, and what its user can do about it.
#[derive(Debug)]
pub struct Failure(Kind);

#[derive(Debug)]
enum Kind {
    Told { error: anyhow::Error, hint: String, exit: u8 },
    AlreadySaid { exit: u8 },
    OutputClosed,
}

impl Failure {
    /// The command line or the configuration is wrong.
    pub(crate) fn usage(error: impl Into<anyhow::Error>, hint: impl Into<String>) -> Self {
        Self(Kind::Told { error: error.into(), hint: hint.into(), exit: EXIT_USAGE })
    }

    /// Something else went wrong.
    pub(crate) fn failed(error: impl Into<anyhow::Error>, hint: impl Into<String>) -> Self {
        Self(Kind::Told { error: error.into(), hint: hint.into(), exit: EXIT_FAILURE })
    }

    /// What went wrong stands in the output already; only the exit code is left to say.
    pub(crate) fn already_said() -> Self {
        Self(Kind::AlreadySaid { exit: EXIT_FAILURE })
    }

    /// As [`Failure::already_said`], with an exit code of its own.
    pub(crate) fn already_said_with(exit: u8) -> Self {
        Self(Kind::AlreadySaid { exit })
    }

    /// As [`Failure::already_said`], of a wrong command line.
    pub(crate) fn already_said_usage() -> Self {
        Self(Kind::AlreadySaid { exit: EXIT_USAGE })
    }

    /// The system does not let the runtime start.
    pub fn no_runtime(error: std::io::Error) -> Self {
        let error = anyhow::Error::new(error).context("the runtime cannot start");
        Self::failed(error, "are threads or file descriptors short on this machine (`ulimit -a`)?")
    }

    /// Whoever read standard output has enough (`| head`). Not an error: the command just ends.
    pub(crate) fn output_closed() -> Self {
        Self(Kind::OutputClosed)
    }

    /// Whether nobody reads standard output any more.
    pub(crate) fn is_output_closed(&self) -> bool {
        matches!(self.0, Kind::OutputClosed)
    }

    /// The error and the hint, unless there is nothing to say.
    pub fn message(&self) -> Option<(String, &str)> {
        match &self.0 {
            Kind::Told { error, hint, .. } => Some((format!("{error:#}"), hint)),
            Kind::AlreadySaid { .. } | Kind::OutputClosed => None,
        }
    }

    /// The process's exit code.
    pub fn exit_code(&self) -> ExitCode {
        match self.0 {
            Kind::Told { exit, .. } | Kind::AlreadySaid { exit } => ExitCode::from(exit),
            Kind::OutputClosed => ExitCode::SUCCESS,
        }
    }
}

/// Turns an error into a failure by adding what to do next.
pub(crate) trait OrHint<T> {
    /// The value, or a failure with this hint.
    fn or_hint(self, hint: &str) -> Result<T, Failure>;
}

impl<T, E: Into<anyhow::Error>> OrHint<T> for Result<T, E> {
    fn or_hint(self, hint: &str) -> Result<T, Failure> {
        self.map_err(|error| Failure::failed(error, hint))
    }
}
