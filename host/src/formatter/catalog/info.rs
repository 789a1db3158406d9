//! What the API tells about formatters.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::versions::Withdrawn;
use crate::model::id::EventId;
use crate::model::time::Timestamp;

/// A formatter, as `GET /formatters` lists it.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct FormatterInfo {
    /// The format's name; of a rejected component the file's stem.
    pub name: String,
    /// The formatter's own version; null when rejected.
    pub version: Option<String>,
    /// One sentence; null when there is none.
    pub description: Option<String>,
    /// JSON Schema of a webhook's `format_options`; null when rejected.
    #[schema(value_type = Option<Object>)]
    pub options_schema: Option<serde_json::Value>,
    /// `sha256:` and the component's digest in lower-case hex; null when it could not be read.
    pub digest: Option<String>,
    /// How it came in.
    pub origin: Origin,
    /// The file in the drop-in folder; null for others.
    pub file: Option<String>,
    /// Whether it can be used.
    #[serde(flatten)]
    pub state: State,
    /// What its calls came to since it was loaded.
    #[serde(flatten)]
    pub numbers: Numbers,
    /// What it reads and makes, beside payloads.
    #[serde(flatten)]
    pub traits: Traits,
    /// What one call may use.
    pub limits: Limits,
    /// Its last call that gave no payload; null when there was none, and for who is no admin.
    pub last_error: Option<LastError>,
    /// The last lines that it logged, newest last; null for who is no admin.
    pub log: Option<Vec<LogLine>>,
}

impl FormatterInfo {
    /// Without what a formatter may have let slip of somebody's events.
    #[must_use]
    pub fn without_diagnostics(self) -> Self {
        Self { last_error: None, log: None, ..self }
    }
}

/// What a manifest says beside names and options; all null when the component was rejected.
#[derive(Clone, Debug, Default, Serialize, utoipa::ToSchema)]
pub struct Traits {
    /// A person's name for it.
    pub title: Option<String>,
    /// `document` or `line`.
    pub kind: Option<String>,
    /// How payloads may be joined: `none`, `newline` or `concatenate`.
    pub join: Option<String>,
    /// The sandbox that it runs in: `small` or `large`.
    pub size: Option<String>,
    /// Whether it reads what destinations answer.
    pub interprets: Option<bool>,
}

/// What a formatter's calls came to.
#[derive(Clone, Debug, Default, Serialize, utoipa::ToSchema)]
pub struct Numbers {
    /// Calls since it was loaded.
    pub calls: u64,
    /// Calls that gave no payload, but those of an event type that it does not do.
    pub errors: u64,
    /// Calls of an event type that it does not do.
    pub skipped: u64,
    /// How long calls took.
    pub timings: Timings,
    /// WebAssembly instructions of a call.
    pub instructions: Instructions,
    /// The most linear memory that a call had, in bytes.
    pub memory_peak_bytes: u64,
    /// Bytes of all payloads, headers among them.
    pub output_bytes: u64,
    /// Lines that it logged, dropped ones among them.
    pub log_lines: u64,
    /// Lines that were one too many for their call.
    pub log_lines_dropped: u64,
    /// Calls that crossed a limit, by limit.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub limits_crossed: BTreeMap<&'static str, u64>,
    /// Calls that broke off, by kind of trap.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub traps: BTreeMap<&'static str, u64>,
    /// Errors that the formatter returned or its payload was, by code.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub typed_errors: BTreeMap<&'static str, u64>,
}

/// WebAssembly instructions, the same on every machine.
#[derive(Clone, Copy, Debug, Default, Serialize, utoipa::ToSchema)]
pub struct Instructions {
    /// On average.
    pub mean: u64,
    /// At most.
    pub max: u64,
}

/// A call that gave no payload.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct LastError {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// A stable word: `limit`, `trap`, `internal`, `invalid_event`, `invalid_options`, `illegal_payload`.
    pub code: &'static str,
    /// In words.
    pub message: String,
    /// The functions that were running at a trap, innermost first, by their names in the component.
    pub backtrace: Vec<String>,
    /// The event that it was called for; null when it read an answer.
    #[schema(value_type = Option<uuid::Uuid>)]
    pub event_id: Option<EventId>,
    /// That event's type.
    pub event_type: Option<&'static str>,
}

/// One version of a formatter, as `GET /formatters/{name}/versions` lists it.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct VersionInfo {
    /// The manifest's version.
    pub version: String,
    /// `sha256:` and the component's digest in lower-case hex.
    pub digest: String,
    /// When it came in; null for a built-in formatter.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub added_at: Option<Timestamp>,
    /// Whether it is the one in use.
    pub active: bool,
    /// Why the host stopped using it by itself; null when it did not.
    pub rolled_back: Option<Withdrawn>,
}

/// How a formatter came in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// It is part of the program.
    BuiltIn,
    /// It lies in the drop-in folder.
    Folder,
    /// It came over the API.
    Upload,
}

/// Whether a formatter can be used.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, utoipa::ToSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// Webhooks may name it.
    Ready,
    /// It was refused.
    Rejected {
        /// A stable word.
        code: String,
        /// Everything that is wrong with it.
        reason: String,
    },
}

/// How long a formatter's calls took, in microseconds, instance and all.
#[derive(Clone, Copy, Debug, Default, Serialize, utoipa::ToSchema)]
pub struct Timings {
    /// On average.
    pub mean_us: u64,
    /// At most.
    pub max_us: u64,
}

/// What one call may use.
#[derive(Clone, Copy, Debug, Serialize, utoipa::ToSchema)]
pub struct Limits {
    /// WebAssembly instructions.
    pub instructions: u64,
    /// Wall-clock time, in milliseconds.
    pub time_ms: u64,
    /// Linear memory, in bytes.
    pub memory_bytes: u64,
    /// Elements of all tables.
    pub table_elements: u64,
    /// Stack, in bytes.
    pub stack_bytes: u64,
    /// Event and options together, in bytes.
    pub input_bytes: u64,
    /// Body and headers together, in bytes.
    pub output_bytes: u64,
    /// Headers of a payload.
    pub headers: u64,
    /// Log lines that are kept; each is cut at 1 KiB.
    pub log_lines: u64,
    /// The component's file, in bytes.
    pub component_bytes: u64,
    /// Processor time for compiling it, in milliseconds.
    pub compile_ms: u64,
}

/// How much a log line matters.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the contract's own words, see wit/formatter.wit")]
pub enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
}

/// One line that a formatter logged.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, utoipa::ToSchema)]
pub struct LogLine {
    /// How much it matters.
    pub level: LogLevel,
    /// The line, cut at 1 KiB.
    pub message: String,
}
