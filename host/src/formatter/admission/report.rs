//! What was found out about a component: everything at once, each finding with a stable code and what to do.

use serde::Serialize;

use crate::formatter::runtime::compile::NOT_COMPILED;
use super::manifest::{Join, Kind, Manifest, Size};

/// How much a finding matters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It is loaded all the same.
    Warning,
    /// It is not loaded.
    Error,
}

/// One thing that is wrong with a component, or worth knowing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Finding {
    /// Whether it keeps the component out.
    pub severity: Severity,
    /// A stable word for programs.
    pub code: &'static str,
    /// What is wrong, in a sentence without its full stop.
    pub message: String,
    /// What to do about it, in a sentence without its full stop.
    pub fix: String,
}

impl Finding {
    /// A reason to keep the component out.
    pub(in crate::formatter) fn error(code: &'static str, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { severity: Severity::Error, code, message: message.into(), fix: fix.into() }
    }

    /// Something that its author should know.
    pub(in crate::formatter) fn warning(code: &'static str, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, message, fix) }
    }

    /// Message and fix as sentences.
    pub fn sentences(&self) -> String {
        format!("{}; {}", self.message, self.fix)
    }
}

/// How one sample event went.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Trial {
    /// The sample's name.
    pub sample: String,
    /// `ok`, or the error's code.
    pub outcome: &'static str,
    /// The error in words.
    pub error: Option<String>,
    /// WebAssembly instructions of the call.
    pub instructions: u64,
    /// The most linear memory that it had, in bytes.
    pub memory_bytes: usize,
    /// Body and headers together, in bytes.
    pub output_bytes: usize,
}

/// What a manifest says, as far as a report shows it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Described {
    /// The format's name.
    pub name: String,
    /// The formatter's own version.
    pub version: String,
    /// One sentence.
    pub description: Option<String>,
    /// Document or line.
    pub kind: Kind,
    /// How payloads may be joined.
    pub join: Join,
    /// The sandbox that it asks for.
    pub size: Size,
}

impl From<&Manifest> for Described {
    fn from(manifest: &Manifest) -> Self {
        Self {
            name: manifest.name.clone(),
            version: manifest.version.clone(),
            description: manifest.description.clone(),
            kind: manifest.kind,
            join: manifest.join,
            size: manifest.size,
        }
    }
}

/// Everything that was found out about a component.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Report {
    /// Whether a host takes it.
    pub fits: bool,
    /// The file's size, in bytes.
    pub bytes: usize,
    /// `sha256:` and the file's digest in lower-case hex.
    pub digest: String,
    /// The version of the contract that it was built for, as its export says.
    pub contract: Option<String>,
    /// Whether it reads answers.
    pub interprets: bool,
    /// What it says of itself, once that could be read.
    pub manifest: Option<Described>,
    /// Errors before warnings.
    pub findings: Vec<Finding>,
    /// How each sample event went; empty when it could not be run.
    pub trials: Vec<Trial>,
}

impl Report {
    /// Whether it says something about the component: not when the machine could not look at it.
    pub fn is_judged(&self) -> bool {
        self.findings.iter().all(|finding| finding.code != NOT_COMPILED)
    }

    /// The errors in one: the first one's code, all in sentences. `None` when it fits.
    pub(in crate::formatter) fn rejection(&self) -> Option<Rejection> {
        let errors: Vec<&Finding> =
            self.findings.iter().filter(|finding| finding.severity == Severity::Error).collect();
        let code = errors.first()?.code;
        let reason = errors.iter().map(|finding| finding.sentences()).collect::<Vec<_>>().join(". ");
        Some(Rejection { code, reason })
    }
}

/// Why a component is not taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rejection {
    /// A stable word.
    pub code: &'static str,
    /// Everything that is wrong, in sentences.
    pub reason: String,
}

impl Rejection {
    pub(in crate::formatter) fn new(code: &'static str, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }
}
