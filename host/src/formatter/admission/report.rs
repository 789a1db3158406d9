//! The report on a component: all findings at once, each with a stable code and a remedy.

use serde::{Deserialize, Serialize};

use super::manifest::{Join, Kind, Manifest};
use crate::formatter::runtime::{Abilities, Size};

/// The code of a component that could not be judged, through no fault of its own.
pub(super) const NOT_COMPILED: &str = "not_compiled";

/// The weight of a finding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The component is loaded.
    Warning,
    /// The component is rejected.
    Error,
}

/// One fault of a component, or one piece of advice.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Finding {
    /// Errors reject the component, warnings do not.
    pub severity: Severity,
    /// A stable word for programs.
    pub code: &'static str,
    /// The cause, a sentence without its full stop.
    pub message: String,
    /// The remedy, a sentence without its full stop.
    pub fix: String,
}

impl Finding {
    /// A fault that rejects the component.
    pub(in crate::formatter) fn error(code: &'static str, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { severity: Severity::Error, code, message: message.into(), fix: fix.into() }
    }

    /// Advice to the author.
    pub(in crate::formatter) fn warning(
        code: &'static str,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, message, fix) }
    }

    /// The same as advice.
    pub(super) fn softened(self) -> Self {
        Self { severity: Severity::Warning, ..self }
    }

    /// Message and fix, joined by a semicolon.
    pub fn sentences(&self) -> String {
        format!("{}; {}", self.message, self.fix)
    }
}

/// Advice about a component that is loaded, as `GET /formatters` lists it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Warning {
    /// A stable word for programs.
    pub code: String,
    /// The cause, a sentence without its full stop.
    pub message: String,
    /// The remedy, a sentence without its full stop.
    pub fix: String,
}

/// The result of one sample event.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Trial {
    /// The sample's name, as in `finding_added--minimal`; of a digest the number of events.
    pub sample: String,
    /// `ok`, or the code of the [`RenderError`](crate::formatter::RenderError).
    pub outcome: &'static str,
    /// The error's message; null if the outcome is `ok`.
    pub error: Option<String>,
    /// WebAssembly instructions that the call executed.
    pub instructions: u64,
    /// Peak of linear memory, in bytes.
    pub memory_bytes: usize,
    /// Body, headers and content type together, in bytes.
    pub output_bytes: usize,
}

/// The members of a manifest that a report shows.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Described {
    /// The format's name.
    pub name: String,
    /// The formatter's own version.
    pub version: String,
    /// One sentence on the purpose.
    pub description: Option<String>,
    /// The shape of its payloads.
    pub kind: Kind,
    /// The way to join the payloads of a batch.
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

/// The result of a check.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Report {
    /// True if a host loads the component: no finding is an error.
    pub fits: bool,
    /// The file's size, in bytes.
    pub bytes: usize,
    /// `sha256:` and the file's digest in lower-case hex.
    pub digest: String,
    /// The version of the contract in the name of its export.
    pub contract: Option<String>,
    /// True if it exports `interpret`, which judges responses.
    pub interprets: bool,
    /// True if it exports `digest`, which makes one message of many events.
    pub digests: bool,
    /// Its manifest; null if it could not be read.
    pub manifest: Option<Described>,
    /// Errors before warnings.
    pub findings: Vec<Finding>,
    /// Results on the sample events; empty if it could not be run.
    pub trials: Vec<Trial>,
    /// Results on digests of the sample events; empty if it has no digests.
    pub digest_trials: Vec<Trial>,
}

impl Report {
    /// The optional interfaces that it exports.
    pub(super) fn abilities(&self) -> Abilities {
        Abilities { interprets: self.interprets, digests: self.digests }
    }

    /// True if the report is about the component; false if the machine could not compile anything.
    pub fn is_judged(&self) -> bool {
        self.findings.iter().all(|finding| finding.code != NOT_COMPILED)
    }

    /// Moves a finding into the report.
    pub(super) fn keep_finding<T>(&mut self, result: Result<T, Finding>) -> Option<T> {
        result.map_err(|finding| self.findings.push(finding)).ok()
    }

    /// The advice among the findings.
    pub(in crate::formatter) fn warnings(&self) -> Vec<Warning> {
        let warnings = self.findings.iter().filter(|finding| finding.severity == Severity::Warning);
        let warning = |finding: &Finding| Warning {
            code: finding.code.to_owned(),
            message: finding.message.clone(),
            fix: finding.fix.clone(),
        };
        warnings.map(warning).collect()
    }

    /// All errors as one rejection, with the first one's code; `None` if the component fits.
    pub(in crate::formatter) fn rejection(&self) -> Option<Rejection> {
        let errors: Vec<&Finding> =
            self.findings.iter().filter(|finding| finding.severity == Severity::Error).collect();
        let code = errors.first()?.code;
        let reason = errors.iter().map(|finding| finding.sentences()).collect::<Vec<_>>().join(". ");
        Some(Rejection { code, reason })
    }
}

/// The reason why a component is not loaded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rejection {
    /// A stable word for programs.
    pub code: &'static str,
    /// All faults and remedies, in sentences.
    pub reason: String,
}

impl Rejection {
    pub(in crate::formatter) fn new(code: &'static str, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }
}
