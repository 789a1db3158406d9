//! Views of formatters, as the API shows them.

use std::collections::BTreeMap;

use serde::Serialize;

use super::versions::{Origin, Withdrawn};
use crate::formatter::admission::Warning;
use crate::formatter::runtime::{Limits, LogLine};
use crate::model::id::EventId;
use crate::model::time::Timestamp;

/// A formatter, as `GET /formatters` lists it.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct FormatterInfo {
    /// The format's name; for a rejected component, and for a file that is still loading, the file's stem.
    pub name: String,
    /// The formatter's own version; null when rejected, and while it is loading and not built in.
    pub version: Option<String>,
    /// One sentence on the purpose; null when the manifest has none.
    pub description: Option<String>,
    /// JSON Schema of a webhook's `format_options`; null when rejected, and while it is loading and not built in.
    #[schema(value_type = Option<Object>)]
    pub options_schema: Option<serde_json::Value>,
    /// `sha256:` and the component's digest in lower-case hex; null when it could not be read, or was not yet.
    pub digest: Option<String>,
    /// The source that it came from.
    pub origin: Origin,
    /// The file in the drop-in folder; null for other sources.
    pub file: Option<String>,
    /// Ready, loading, or rejected with the reason.
    #[serde(flatten)]
    pub state: State,
    /// What its author should look at: advice of the check that admitted it. None while it is loading or when rejected.
    pub warnings: Vec<Warning>,
    /// Statistics of its calls since it was loaded.
    #[serde(flatten)]
    pub numbers: Numbers,
    /// Further members of the manifest.
    #[serde(flatten)]
    pub traits: Traits,
    /// Limits of one call.
    pub limits: Limits,
    /// Its last call that gave no payload; null when there was none, and for tokens that are neither an admin's nor an
    /// operator's.
    pub last_error: Option<LastError>,
    /// The last lines that it logged, newest last; null for tokens that are neither an admin's nor an operator's.
    pub log: Option<Vec<LogLine>>,
}

impl FormatterInfo {
    /// Removes what may contain words of an event.
    #[must_use]
    pub fn without_diagnostics(self) -> Self {
        let state = match self.state {
            state @ (State::Ready | State::Loading) => state,
            State::Rejected { code, .. } => State::Rejected { code, reason: None },
        };
        Self { state, last_error: None, log: None, ..self }
    }
}

/// Members of the manifest beside names and options; all null when the component was rejected, or its manifest is not
/// known yet.
#[derive(Clone, Debug, Default, Serialize, utoipa::ToSchema)]
pub struct Traits {
    /// A name for people.
    pub title: Option<String>,
    /// `document` or `line`.
    pub kind: Option<String>,
    /// The way to join payloads: `none`, `newline` or `concatenate`.
    pub join: Option<String>,
    /// The sandbox that it runs in: `small` or `large`.
    pub size: Option<String>,
    /// True if it judges destinations' responses; null while it is loading.
    pub interprets: Option<bool>,
    /// The optional interfaces of the contract that it has: `interpret` (it judges destinations' responses), `digest` (it
    /// makes one message of many events, which a webhook's `digest` needs); null while it is loading.
    pub abilities: Option<Vec<&'static str>>,
}

/// Statistics of a formatter's calls.
#[derive(Clone, Debug, Default, Serialize, utoipa::ToSchema)]
pub struct Numbers {
    /// Calls since it was loaded.
    pub calls: u64,
    /// Calls that gave no payload, except those counted as `skipped`.
    pub errors: u64,
    /// Calls with an event type that the format has no message for.
    pub skipped: u64,
    /// Durations of calls.
    pub timings: Timings,
    /// WebAssembly instructions of calls.
    pub instructions: Instructions,
    /// Peak of linear memory of all calls, in bytes.
    pub memory_peak_bytes: u64,
    /// Bytes of all payloads, headers included.
    pub output_bytes: u64,
    /// Lines that it logged, dropped ones included.
    pub log_lines: u64,
    /// Lines beyond the limit of their call.
    pub log_lines_dropped: u64,
    /// Calls that exceeded a limit, by limit.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub limits_crossed: BTreeMap<&'static str, u64>,
    /// Calls that crashed, by kind of trap.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub traps: BTreeMap<&'static str, u64>,
    /// Errors that the formatter returned, and illegal payloads, by code.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub typed_errors: BTreeMap<&'static str, u64>,
}

/// WebAssembly instructions, the same on every machine.
#[derive(Clone, Copy, Debug, Default, Serialize, utoipa::ToSchema)]
pub struct Instructions {
    /// Mean of all calls.
    pub mean: u64,
    /// Maximum of all calls.
    pub max: u64,
}

/// A call that gave no payload.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct LastError {
    /// Time of the call.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// A stable word: `limit`, `trap`, `internal`, `invalid_event`, `invalid_options`, `illegal_payload`.
    pub code: &'static str,
    /// The error's message.
    pub message: String,
    /// Functions that were running at a trap, innermost first, by their names in the component.
    pub backtrace: Vec<String>,
    /// The event that it was called with; null when it judged a response or made a digest.
    #[schema(value_type = Option<uuid::Uuid>)]
    pub event_id: Option<EventId>,
    /// Type of that event.
    pub event_type: Option<&'static str>,
}

/// One version of a formatter, as `GET /formatters/{name}/versions` lists it.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct VersionInfo {
    /// The manifest's version.
    pub version: String,
    /// `sha256:` and the component's digest in lower-case hex.
    pub digest: String,
    /// Time of its admission; null for a built-in formatter.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub added_at: Option<Timestamp>,
    /// True for the version in use.
    pub active: bool,
    /// The reason why the host rolled it back; null when it did not.
    pub rolled_back: Option<Withdrawn>,
}

/// State of a formatter.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, utoipa::ToSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// Webhooks may name it.
    Ready,
    /// It was there at the host's start and is still being compiled. Of a built-in formatter the manifest is known: webhooks
    /// may name it, and their deliveries wait for it.
    Loading,
    /// It did not pass the check, or its name is taken.
    Rejected {
        /// A stable word for programs.
        code: String,
        /// All faults and remedies, in sentences; null for tokens that are neither an admin's nor an operator's, since the
        /// reason of a rollback may quote an event.
        reason: Option<String>,
    },
}

/// Durations of a formatter's calls in microseconds, creation of the instance included.
#[derive(Clone, Copy, Debug, Default, Serialize, utoipa::ToSchema)]
pub struct Timings {
    /// Mean of all calls.
    pub mean_us: u64,
    /// Maximum of all calls.
    pub max_us: u64,
}
