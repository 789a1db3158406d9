//! Every metric and its labels, once. Log fields are named alike: `webhook`, `formatter`, `error`.

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

/// What is counted by others and shown at a scrape.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Webhooks that deliver.
    pub active: usize,
    /// Webhooks that an admin switched off.
    pub off: usize,
    /// Ids of webhooks that the breaker or a 410 switched off.
    pub tripped: Vec<String>,
    /// Each formatter's name, calls, errors and mean time of a call in microseconds; refused ones are left out.
    pub formatters: Vec<(String, u64, u64, u64)>,
    /// Components that were refused.
    pub formatters_rejected: usize,
    /// Whether the store takes writes.
    pub store_writable: bool,
    /// Records that the disk changed.
    pub damaged_records: u64,
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
    formatter_calls: Family<FormatterLabels, Gauge<i64, AtomicI64>>,
    formatter_errors: Family<FormatterLabels, Gauge<i64, AtomicI64>>,
    formatter_mean: Family<FormatterLabels, Gauge<f64, AtomicU64>>,
    rejected: Gauge,
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
            formatter_calls: Family::default(),
            formatter_errors: Family::default(),
            formatter_mean: Family::default(),
            rejected: Gauge::default(),
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
        registry.register("formatter_calls", "Calls of a formatter since the start", self.formatter_calls.clone());
        registry.register(
            "formatter_errors",
            "Calls of a formatter that gave no payload",
            self.formatter_errors.clone(),
        );
        registry.register("formatter_mean_seconds", "Mean time of a formatter's call", self.formatter_mean.clone());
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
        for (formatter, calls, errors, mean_us) in snapshot.formatters {
            let labels = FormatterLabels { formatter };
            self.formatter_calls.get_or_create(&labels).set(i64::try_from(calls).unwrap_or(i64::MAX));
            self.formatter_errors.get_or_create(&labels).set(i64::try_from(errors).unwrap_or(i64::MAX));
            self.formatter_mean.get_or_create(&labels).set(Duration::from_micros(mean_us).as_secs_f64());
        }
        self.rejected.set(number(snapshot.formatters_rejected));
        self.writable.set(i64::from(snapshot.store_writable));
        self.damaged.set(i64::try_from(snapshot.damaged_records).unwrap_or(i64::MAX));
    }
}

impl Default for Telemetry {
    fn default() -> Self {
        Self::new()
    }
}
