//! What the API tells about formatters.

use serde::Serialize;

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
    /// Calls since the start.
    pub calls: u64,
    /// Calls that gave no payload.
    pub errors: u64,
    /// How long calls took.
    pub timings: Timings,
    /// What one call may use.
    pub limits: Limits,
}

/// How a formatter came in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// It is part of the program.
    BuiltIn,
    /// It lies in the drop-in folder.
    Folder,
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
    /// Body and headers together, in bytes.
    pub output_bytes: u64,
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

/// What would be sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Preview {
    /// The value of `Content-Type`.
    pub content_type: String,
    /// Extra headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// What the formatter logged.
    pub log: Vec<LogLine>,
    /// How long the call took, in microseconds.
    pub duration_us: u64,
}
