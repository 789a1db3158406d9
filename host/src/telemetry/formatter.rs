//! Metrics of formatters. Counters and histograms are by name and count from the host's start, across versions; those of
//! a formatter that was removed stay until the next start, so that no counter ever goes back. Names come from admins.

use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Upper bounds of call durations, in seconds. The default timeout is within them.
const SECONDS: [f64; 13] = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0];
/// Upper bounds of WebAssembly instructions of a call.
const INSTRUCTIONS: [f64; 10] = [1e4, 3e4, 1e5, 3e5, 1e6, 3e6, 1e7, 3e7, 1e8, 3e8];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct FormatterLabels {
    formatter: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ErrorLabels {
    formatter: String,
    kind: FormatterErrorKind,
    /// The code of the error, the limit, or the kind of trap.
    what: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct VersionLabels {
    formatter: String,
    version: String,
    digest: String,
}

/// The `kind` label of a failed call.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub enum FormatterErrorKind {
    /// An error that the formatter returned, or an illegal payload.
    Error,
    /// An exceeded limit.
    Limit,
    /// A crash.
    Trap,
}

impl EncodeLabelValue for FormatterErrorKind {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        let word = match self {
            Self::Error => "error",
            Self::Limit => "limit",
            Self::Trap => "trap",
        };
        EncodeLabelValue::encode(&word, encoder)
    }
}

/// A formatter in use, as a scrape shows it.
#[derive(Clone, Debug, Default)]
pub struct FormatterSnapshot {
    /// The format's name.
    pub name: String,
    /// The version in use.
    pub version: String,
    /// `sha256:` and the digest of its component in hex.
    pub digest: String,
    /// Peak of linear memory of all calls of this version, in bytes.
    pub memory_peak_bytes: u64,
    /// Calls that wait for a thread.
    pub calls_waiting: usize,
}

type Counters = Family<FormatterLabels, Counter>;
type Seconds = Counter<f64, std::sync::atomic::AtomicU64>;
type Histograms = Family<FormatterLabels, Histogram, fn() -> Histogram>;

/// Metrics of all formatters. Clones share their values.
#[derive(Clone)]
pub struct FormatterMetrics {
    calls: Counters,
    skipped: Counters,
    errors: Family<ErrorLabels, Counter>,
    call_seconds: Histograms,
    processor_seconds: Family<FormatterLabels, Seconds>,
    instructions: Histograms,
    output_bytes: Counters,
    log_lines: Counters,
    memory_peak: Family<FormatterLabels, Gauge>,
    waiting: Family<FormatterLabels, Gauge>,
    info: Family<VersionLabels, Gauge>,
}

impl Default for FormatterMetrics {
    fn default() -> Self {
        Self {
            calls: Family::default(),
            skipped: Family::default(),
            errors: Family::default(),
            call_seconds: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            processor_seconds: Family::default(),
            instructions: Family::new_with_constructor(|| Histogram::new(INSTRUCTIONS)),
            output_bytes: Family::default(),
            log_lines: Family::default(),
            memory_peak: Family::default(),
            waiting: Family::default(),
            info: Family::default(),
        }
    }
}

impl FormatterMetrics {
    /// The metrics of one formatter, looked up once: a call then costs no lookup.
    pub fn series(&self, formatter: &str) -> FormatterSeries {
        let labels = FormatterLabels { formatter: formatter.to_owned() };
        FormatterSeries {
            calls: self.calls.get_or_create_owned(&labels),
            skipped: self.skipped.get_or_create_owned(&labels),
            errors: self.errors.clone(),
            call_seconds: self.call_seconds.get_or_create_owned(&labels),
            processor_seconds: self.processor_seconds.get_or_create_owned(&labels),
            instructions: self.instructions.get_or_create_owned(&labels),
            output_bytes: self.output_bytes.get_or_create_owned(&labels),
            log_lines: self.log_lines.get_or_create_owned(&labels),
            formatter: labels.formatter,
        }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        for (name, help, counters) in [
            ("formatter_calls", "Calls of a formatter", &self.calls),
            ("formatter_skipped", "Calls with an event type that the format has no message for", &self.skipped),
            ("formatter_output_bytes", "Bytes of all payloads, headers included", &self.output_bytes),
            ("formatter_log_lines", "Lines that the formatter logged, dropped ones included", &self.log_lines),
        ] {
            registry.register(name, help, counters.clone());
        }
        registry.register(
            "formatter_errors",
            "Calls of a formatter that gave no payload, by kind (error, limit, trap) and code",
            self.errors.clone(),
        );
        registry.register("formatter_call_seconds", "Duration of a formatter's calls", self.call_seconds.clone());
        registry.register(
            "formatter_processor_seconds",
            "Processor time of a formatter's calls, by which formatters share the threads",
            self.processor_seconds.clone(),
        );
        registry.register(
            "formatter_calls_waiting",
            "Calls of a formatter for deliveries that wait for a thread",
            self.waiting.clone(),
        );
        registry.register(
            "formatter_call_instructions",
            "WebAssembly instructions of a formatter's calls",
            self.instructions.clone(),
        );
        registry.register(
            "formatter_memory_peak_bytes",
            "Peak of linear memory of all calls since the version was loaded",
            self.memory_peak.clone(),
        );
        registry.register("formatter_info", "The version of a formatter that is in use", self.info.clone());
    }

    /// Replaces the metrics of the versions in use.
    pub(super) fn show(&self, formatters: Vec<FormatterSnapshot>) {
        self.memory_peak.clear();
        self.info.clear();
        self.waiting.clear();
        for FormatterSnapshot { name: formatter, version, digest, memory_peak_bytes, calls_waiting } in formatters {
            let peak = i64::try_from(memory_peak_bytes).unwrap_or(i64::MAX);
            let waiting = i64::try_from(calls_waiting).unwrap_or(i64::MAX);
            self.waiting.get_or_create(&FormatterLabels { formatter: formatter.clone() }).set(waiting);
            self.memory_peak.get_or_create(&FormatterLabels { formatter: formatter.clone() }).set(peak);
            self.info.get_or_create(&VersionLabels { formatter, version, digest }).set(1);
        }
    }
}

/// Metrics of one formatter.
pub struct FormatterSeries {
    formatter: String,
    calls: Counter,
    skipped: Counter,
    errors: Family<ErrorLabels, Counter>,
    call_seconds: Histogram,
    processor_seconds: Seconds,
    instructions: Histogram,
    output_bytes: Counter,
    log_lines: Counter,
}

impl FormatterSeries {
    /// Counts a call with its cost.
    pub fn add_call(&self, duration: Duration, processor: Duration, instructions: u64, log_lines: u64) {
        self.calls.inc();
        self.call_seconds.observe(duration.as_secs_f64());
        self.processor_seconds.inc_by(processor.as_secs_f64());
        self.instructions.observe(instructions as f64);
        self.log_lines.inc_by(log_lines);
    }

    /// Counts the bytes of a payload.
    pub fn add_output(&self, bytes: u64) {
        self.output_bytes.inc_by(bytes);
    }

    /// Counts a call with an event type that the format has no message for.
    pub fn add_skipped(&self) {
        self.skipped.inc();
    }

    /// Counts a call that gave no payload. `what` is the code of the error, the limit, or the kind of trap.
    pub fn add_error(&self, kind: FormatterErrorKind, what: &'static str) {
        let labels = ErrorLabels { formatter: self.formatter.clone(), kind, what };
        self.errors.get_or_create(&labels).inc();
    }
}
