//! Every metric and its labels, once. Log fields are named alike: `webhook`, `formatter`, `error`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::model::delivery::ErrorClass;
use crate::model::event::EventType;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct EventLabels {
    r#type: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OutcomeLabels {
    /// `delivered`, or the error's class.
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    /// The route's pattern, never the path.
    route: String,
    status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StateLabels {
    /// `active`, `off` or `tripped`.
    state: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct WebhookLabels {
    webhook: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct FormatterLabels {
    formatter: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct FormatterErrorLabels {
    formatter: String,
    /// `error`, `limit` or `trap`.
    kind: &'static str,
    /// Which error, limit or trap.
    what: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct FormatterVersionLabels {
    formatter: String,
    version: String,
    digest: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CodeLabels {
    code: String,
}

/// One formatter's numbers since it was loaded.
#[derive(Clone, Debug, Default)]
pub struct FormatterSnapshot {
    /// The format's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its component's digest.
    pub digest: String,
    /// Calls.
    pub calls: u64,
    /// Calls for an event type that it does not do.
    pub skipped: u64,
    /// Calls that gave no payload: kind (`error`, `limit`, `trap`), which, how many.
    pub errors: Vec<(&'static str, &'static str, u64)>,
    /// Time of a call in microseconds, on average.
    pub mean_us: u64,
    /// At most.
    pub max_us: u64,
    /// WebAssembly instructions of a call, on average.
    pub mean_instructions: u64,
    /// At most.
    pub max_instructions: u64,
    /// The most linear memory of a call, in bytes.
    pub memory_peak_bytes: u64,
    /// Bytes of all payloads.
    pub output_bytes: u64,
    /// Lines that it logged.
    pub log_lines: u64,
}

/// What is counted by others and shown at a scrape.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Webhooks that deliver.
    pub active: usize,
    /// Webhooks that an admin switched off.
    pub off: usize,
    /// Ids of webhooks that the breaker or a 410 switched off.
    pub tripped: Vec<String>,
    /// Each formatter that is loaded.
    pub formatters: Vec<FormatterSnapshot>,
    /// Components that were refused, by the reason's code.
    pub rejected: BTreeMap<String, usize>,
    /// Whether the store takes writes.
    pub store_writable: bool,
    /// Records that the disk changed.
    pub damaged_records: u64,
}

type PerFormatter = Family<FormatterLabels, Gauge<i64, AtomicI64>>;

/// What is told of each formatter. All are gauges: they begin anew with each version.
#[derive(Default)]
struct FormatterMetrics {
    calls: PerFormatter,
    skipped: PerFormatter,
    errors: Family<FormatterErrorLabels, Gauge<i64, AtomicI64>>,
    mean_seconds: Family<FormatterLabels, Gauge<f64, AtomicU64>>,
    max_seconds: Family<FormatterLabels, Gauge<f64, AtomicU64>>,
    mean_instructions: PerFormatter,
    max_instructions: PerFormatter,
    memory_peak: PerFormatter,
    output: PerFormatter,
    log_lines: PerFormatter,
    info: Family<FormatterVersionLabels, Gauge>,
}

impl FormatterMetrics {
    fn register(&self, registry: &mut Registry) {
        for (name, help, metric) in [
            ("formatter_calls", "Calls of a formatter since it was loaded", &self.calls),
            ("formatter_skipped", "Calls for an event type that the formatter does not do", &self.skipped),
            ("formatter_instructions_mean", "WebAssembly instructions of a call, on average", &self.mean_instructions),
            ("formatter_instructions_max", "WebAssembly instructions of a call, at most", &self.max_instructions),
            ("formatter_memory_peak_bytes", "The most linear memory that a call had", &self.memory_peak),
            ("formatter_output_bytes", "Bytes of all payloads, headers among them", &self.output),
            ("formatter_log_lines", "Lines that the formatter logged, dropped ones among them", &self.log_lines),
        ] {
            registry.register(name, help, metric.clone());
        }
        registry.register(
            "formatter_errors",
            "Calls of a formatter that gave no payload, by kind (error, limit, trap) and which",
            self.errors.clone(),
        );
        registry.register("formatter_mean_seconds", "Mean time of a formatter's call", self.mean_seconds.clone());
        registry.register("formatter_max_seconds", "Longest time of a formatter's call", self.max_seconds.clone());
        registry.register("formatter_info", "The version of a formatter that is in use", self.info.clone());
    }

    fn show(&self, formatters: Vec<FormatterSnapshot>) {
        // Formatters come and go, and a version's numbers go with it.
        self.errors.clear();
        self.info.clear();
        for family in [
            &self.calls,
            &self.skipped,
            &self.mean_instructions,
            &self.max_instructions,
            &self.memory_peak,
            &self.output,
            &self.log_lines,
        ] {
            family.clear();
        }
        self.mean_seconds.clear();
        self.max_seconds.clear();
        for shown in formatters {
            let labels = FormatterLabels { formatter: shown.name.clone() };
            for (family, number) in [
                (&self.calls, shown.calls),
                (&self.skipped, shown.skipped),
                (&self.mean_instructions, shown.mean_instructions),
                (&self.max_instructions, shown.max_instructions),
                (&self.memory_peak, shown.memory_peak_bytes),
                (&self.output, shown.output_bytes),
                (&self.log_lines, shown.log_lines),
            ] {
                family.get_or_create(&labels).set(i64::try_from(number).unwrap_or(i64::MAX));
            }
            self.mean_seconds.get_or_create(&labels).set(Duration::from_micros(shown.mean_us).as_secs_f64());
            self.max_seconds.get_or_create(&labels).set(Duration::from_micros(shown.max_us).as_secs_f64());
            for (kind, what, number) in shown.errors {
                let labels = FormatterErrorLabels { formatter: shown.name.clone(), kind, what };
                self.errors.get_or_create(&labels).set(i64::try_from(number).unwrap_or(i64::MAX));
            }
            let FormatterSnapshot { name: formatter, version, digest, .. } = shown;
            self.info.get_or_create(&FormatterVersionLabels { formatter, version, digest }).set(1);
        }
    }
}

/// The host's metrics.
pub struct Telemetry {
    registry: Mutex<Registry>,
    events: Family<EventLabels, Counter>,
    attempts: Family<OutcomeLabels, Counter>,
    attempt_seconds: Histogram,
    in_flight: Gauge,
    requests: Family<RequestLabels, Counter>,
    webhooks: Family<StateLabels, Gauge>,
    tripped: Family<WebhookLabels, Gauge>,
    formatter: FormatterMetrics,
    rejected: Gauge,
    rejected_codes: Family<CodeLabels, Gauge>,
    writable: Gauge,
    damaged: Gauge,
}

impl Telemetry {
    /// Metrics that begin at zero.
    pub fn new() -> Self {
        let buckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
        let telemetry = Self {
            registry: Mutex::new(Registry::with_prefix("heraldry")),
            events: Family::default(),
            attempts: Family::default(),
            attempt_seconds: Histogram::new(buckets),
            in_flight: Gauge::default(),
            requests: Family::default(),
            webhooks: Family::default(),
            tripped: Family::default(),
            formatter: FormatterMetrics::default(),
            rejected: Gauge::default(),
            rejected_codes: Family::default(),
            writable: Gauge::default(),
            damaged: Gauge::default(),
        };
        telemetry.register();
        telemetry
    }

    fn register(&self) {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        registry.register(
            "events_accepted",
            "Posted events that were answered 202, repeats among them, by type",
            self.events.clone(),
        );
        registry.register(
            "attempts",
            "Attempts made, by outcome: delivered, or the error's class",
            self.attempts.clone(),
        );
        registry.register("attempt_seconds", "How long attempts took", self.attempt_seconds.clone());
        registry.register("attempts_in_flight", "Attempts under way", self.in_flight.clone());
        registry.register("http_requests", "Requests to the API, by route and status", self.requests.clone());
        registry.register("webhooks", "Webhooks, by state: active, off, tripped", self.webhooks.clone());
        registry.register(
            "webhook_tripped",
            "1 for a webhook that the breaker or a 410 switched off",
            self.tripped.clone(),
        );
        self.formatter.register(&mut registry);
        registry.register(
            "formatter_rejections",
            "Components that are refused, by the reason's code",
            self.rejected_codes.clone(),
        );
        registry.register("formatters_rejected", "Components that were refused", self.rejected.clone());
        registry.register("store_writable", "1 while the store takes writes", self.writable.clone());
        registry.register("store_damaged_records", "Records that the disk changed", self.damaged.clone());
    }

    /// Counts a posted event that was accepted, now or before.
    pub fn event_accepted(&self, event_type: EventType) {
        self.events.get_or_create(&EventLabels { r#type: event_type.as_str() }).inc();
    }

    /// Counts an attempt.
    pub fn attempt(&self, failed: Option<ErrorClass>, took: Duration) {
        let outcome = failed.map_or("delivered", ErrorClass::as_str);
        self.attempts.get_or_create(&OutcomeLabels { outcome }).inc();
        self.attempt_seconds.observe(took.as_secs_f64());
    }

    /// Says how many attempts are under way.
    pub fn set_in_flight(&self, attempts: usize) {
        self.in_flight.set(i64::try_from(attempts).unwrap_or(i64::MAX));
    }

    /// Counts a request to the API. `route` is the route's pattern.
    pub fn request(&self, method: &http::Method, route: &str, status: u16) {
        let method = match method.as_str() {
            "GET" => "GET",
            "POST" => "POST",
            "PUT" => "PUT",
            "DELETE" => "DELETE",
            // What a client makes up must not make a new series.
            _ => "other",
        };
        self.requests.get_or_create(&RequestLabels { method, route: route.to_owned(), status }).inc();
    }

    /// All metrics in OpenMetrics text.
    pub fn render(&self, snapshot: Snapshot) -> String {
        self.show(snapshot);
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        if encode(&mut text, &registry).is_err() {
            let _ = writeln!(text, "# EOF");
        }
        text
    }

    fn show(&self, snapshot: Snapshot) {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let states = [("active", snapshot.active), ("off", snapshot.off), ("tripped", snapshot.tripped.len())];
        for (state, count) in states {
            self.webhooks.get_or_create(&StateLabels { state }).set(number(count));
        }
        self.tripped.clear();
        for webhook in snapshot.tripped {
            self.tripped.get_or_create(&WebhookLabels { webhook }).set(1);
        }
        self.formatter.show(snapshot.formatters);
        self.rejected.set(number(snapshot.rejected.values().sum()));
        self.rejected_codes.clear();
        for (code, count) in snapshot.rejected {
            self.rejected_codes.get_or_create(&CodeLabels { code }).set(number(count));
        }
        self.writable.set(i64::from(snapshot.store_writable));
        self.damaged.set(i64::try_from(snapshot.damaged_records).unwrap_or(i64::MAX));
    }
}

impl Default for Telemetry {
    fn default() -> Self {
        Self::new()
    }
}
