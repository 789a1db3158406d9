//! All metrics and their labels. Log fields have the same names: `webhook`, `formatter`, `error`.

mod formatter;
mod recent;
mod webhooks;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::{prometheus_text, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

pub use formatter::{FormatterErrorKind, FormatterMetrics, FormatterSeries, FormatterSnapshot};
pub use webhooks::{WebhookSnapshot, webhook_labels};

use crate::model::delivery::ErrorClass;
use crate::model::event::EventType;
use crate::model::id::WebhookId;

use recent::Recent;
use webhooks::{OTHERS, WebhookMetrics};

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
    route: Cow<'static, str>,
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
struct ThreadLabels {
    thread: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CodeLabels {
    code: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct BuildLabels {
    version: &'static str,
    commit: &'static str,
    target: &'static str,
}

/// The build that runs.
const BUILD: BuildLabels = BuildLabels {
    version: env!("CARGO_PKG_VERSION"),
    commit: env!("HERALDRY_BUILD_COMMIT"),
    target: env!("HERALDRY_BUILD_TARGET"),
};

/// State of the host at a scrape, which other rooms keep.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Number of active webhooks.
    pub active: usize,
    /// Number of webhooks that an admin switched off.
    pub off: usize,
    /// All webhooks, the oldest first.
    pub webhooks: Vec<WebhookSnapshot>,
    /// Labels of the webhooks that the circuit breaker or a 410 switched off and that have a series of their own.
    pub tripped: Vec<String>,
    /// Number of the others.
    pub tripped_others: usize,
    /// Formatters in use.
    pub formatters: Vec<FormatterSnapshot>,
    /// Number of components that were there at the start and are not loaded yet.
    pub formatters_loading: usize,
    /// Number of previews that wait for a thread.
    pub previews_waiting: usize,
    /// Number of rejected components, by the reason's code.
    pub rejected: BTreeMap<String, usize>,
    /// True while the store accepts writes.
    pub store_writable: bool,
    /// Number of records with a wrong checksum.
    pub damaged_records: u64,
    /// The disk that the store is on: bytes that may still be written, and all of them; `None` if it does not say.
    pub disk: Option<(u64, u64)>,
    /// Threads that the host needs; true for those that live and move.
    pub threads: Vec<(String, bool)>,
}

/// Routes whose name is not copied for each request.
const FREQUENT_ROUTES: &[&str] = &["/api/v1/events", "/api/v1/events/{id}"];

/// A text format of metrics.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exposition {
    /// OpenMetrics 1.0.0.
    OpenMetrics,
    /// The text format of Prometheus, version 0.0.4.
    Text,
}

/// The host's metrics.
pub struct Telemetry {
    registry: Mutex<Registry>,
    events: Family<EventLabels, Counter>,
    attempts: Family<OutcomeLabels, Counter>,
    attempt_seconds: Histogram,
    recent: Recent,
    in_flight: Gauge,
    by_webhook: WebhookMetrics,
    build: Family<BuildLabels, Gauge>,
    requests: Family<RequestLabels, Counter>,
    webhooks: Family<StateLabels, Gauge>,
    tripped: Family<WebhookLabels, Gauge>,
    formatters: FormatterMetrics,
    formatters_loading: Gauge,
    previews_waiting: Gauge,
    rejected: Gauge,
    rejected_codes: Family<CodeLabels, Gauge>,
    writable: Gauge,
    damaged: Gauge,
    disk_free: Gauge,
    disk_size: Gauge,
    threads: Family<ThreadLabels, Gauge>,
}

impl Telemetry {
    /// Creates all metrics at zero; every webhook has series of its own.
    pub fn new() -> Self {
        Self::bounded(usize::MAX)
    }

    /// Creates all metrics at zero; so many webhooks have series of their own.
    pub fn bounded(webhooks: usize) -> Self {
        let buckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
        let telemetry = Self {
            registry: Mutex::new(Registry::with_prefix("heraldry")),
            events: Family::default(),
            attempts: Family::default(),
            attempt_seconds: Histogram::new(buckets),
            recent: Recent::default(),
            in_flight: Gauge::default(),
            by_webhook: WebhookMetrics::new(webhooks),
            build: Family::default(),
            requests: Family::default(),
            webhooks: Family::default(),
            tripped: Family::default(),
            formatters: FormatterMetrics::default(),
            formatters_loading: Gauge::default(),
            previews_waiting: Gauge::default(),
            rejected: Gauge::default(),
            rejected_codes: Family::default(),
            writable: Gauge::default(),
            damaged: Gauge::default(),
            disk_free: Gauge::default(),
            disk_size: Gauge::default(),
            threads: Family::default(),
        };
        telemetry.register();
        telemetry
    }

    fn register(&self) {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        registry.register(
            "events_accepted",
            "Posted events that were accepted with a 202, repeats included, by type",
            self.events.clone(),
        );
        registry.register("attempts", "Attempts, by outcome: delivered, or the error's class", self.attempts.clone());
        registry.register("attempt_seconds", "Duration of attempts", self.attempt_seconds.clone());
        registry.register("attempts_in_flight", "Attempts in flight", self.in_flight.clone());
        registry.register("http_requests", "Requests to the API, by route and status", self.requests.clone());
        registry.register("webhooks", "Webhooks, by state: active, off, tripped", self.webhooks.clone());
        registry.register(
            "webhook_tripped",
            "1 for a webhook that the circuit breaker or a 410 switched off; others: their number beyond --metrics-webhooks",
            self.tripped.clone(),
        );
        self.by_webhook.register(&mut registry);
        registry.register(
            "build_info",
            "1, with the version, the commit and the target of this build",
            self.build.clone(),
        );
        self.build.get_or_create(&BUILD).set(1);
        self.formatters.register(&mut registry);
        registry.register(
            "formatters_loading",
            "Components that were there at the start and are not loaded yet",
            self.formatters_loading.clone(),
        );
        registry.register(
            "formatter_previews_waiting",
            "Previews that wait for a thread, after the deliveries",
            self.previews_waiting.clone(),
        );
        registry.register(
            "formatter_rejections",
            "Rejected components, by the reason's code",
            self.rejected_codes.clone(),
        );
        registry.register("formatters_rejected", "Rejected components", self.rejected.clone());
        registry.register("store_writable", "1 while the store accepts writes", self.writable.clone());
        registry.register("store_damaged_records", "Records with a wrong checksum", self.damaged.clone());
        registry.register(
            "disk_free_bytes",
            "Bytes that may still be written to the disk of the store; 0 where the system does not say",
            self.disk_free.clone(),
        );
        registry.register(
            "disk_size_bytes",
            "Bytes of the disk of the store; 0 where the system does not say",
            self.disk_size.clone(),
        );
        registry.register(
            "thread_healthy",
            "1 for a thread or task that the host needs, while it lives and moves",
            self.threads.clone(),
        );
    }

    /// Metrics of formatters, for the catalog to count in.
    pub fn formatters(&self) -> FormatterMetrics {
        self.formatters.clone()
    }

    /// Counts posted events of one type that were accepted, now or by an earlier request with the same key.
    pub fn events_accepted(&self, event_type: EventType, events: u64) {
        self.events.get_or_create(&EventLabels { r#type: event_type.as_str() }).inc_by(events);
    }

    /// Counts an attempt that took `took` and ended at this time of the steady clock; `failed` is the class of its error.
    pub fn attempt(&self, webhook: WebhookId, failed: Option<ErrorClass>, took: Duration, now_ms: i64) {
        let outcome = failed.map_or("delivered", ErrorClass::as_str);
        self.attempts.get_or_create(&OutcomeLabels { outcome }).inc();
        self.attempt_seconds.observe(took.as_secs_f64());
        self.by_webhook.attempt(webhook, failed.is_none());
        self.recent.count(now_ms);
    }

    /// Counts an event on which the webhook's filter expression failed.
    pub fn expression_failed(&self, webhook: WebhookId) {
        self.by_webhook.expression_failed(webhook);
    }

    /// Attempts in the last minute, at this time of the steady clock.
    pub fn attempts_in_last_minute(&self, now_ms: i64) -> u64 {
        self.recent.in_last_minute(now_ms)
    }

    /// Attempts in flight.
    pub fn in_flight(&self) -> u64 {
        u64::try_from(self.in_flight.get()).unwrap_or(0)
    }

    /// Sets the number of attempts in flight.
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
            // A method that a client invents must not create a series of its own.
            _ => "other",
        };
        let frequent = FREQUENT_ROUTES.iter().find(|frequent| **frequent == route);
        let route = frequent.map_or_else(|| route.to_owned().into(), |frequent| Cow::Borrowed(*frequent));
        self.requests.get_or_create(&RequestLabels { method, route, status }).inc();
    }

    /// All metrics as text.
    pub fn render(&self, snapshot: Snapshot, exposition: Exposition) -> String {
        // One scrape at a time: families are cleared and filled again.
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        self.show(snapshot);
        let mut rendered = String::new();
        // Writing to a string cannot fail.
        let _ = match exposition {
            Exposition::OpenMetrics => text::encode(&mut rendered, &registry),
            Exposition::Text => prometheus_text::encode(&mut rendered, &registry),
        };
        rendered
    }

    fn show(&self, snapshot: Snapshot) {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let tripped = snapshot.tripped.len() + snapshot.tripped_others;
        let states = [("active", snapshot.active), ("off", snapshot.off), ("tripped", tripped)];
        for (state, count) in states {
            self.webhooks.get_or_create(&StateLabels { state }).set(number(count));
        }
        self.tripped.clear();
        for webhook in snapshot.tripped {
            self.tripped.get_or_create(&WebhookLabels { webhook }).set(1);
        }
        if snapshot.tripped_others > 0 {
            self.tripped.get_or_create(&WebhookLabels { webhook: OTHERS.into() }).set(number(snapshot.tripped_others));
        }
        self.by_webhook.show(&snapshot.webhooks);
        self.formatters.show(snapshot.formatters);
        self.formatters_loading.set(number(snapshot.formatters_loading));
        self.previews_waiting.set(number(snapshot.previews_waiting));
        self.rejected.set(number(snapshot.rejected.values().sum()));
        self.rejected_codes.clear();
        for (code, count) in snapshot.rejected {
            self.rejected_codes.get_or_create(&CodeLabels { code }).set(number(count));
        }
        self.writable.set(i64::from(snapshot.store_writable));
        self.damaged.set(i64::try_from(snapshot.damaged_records).unwrap_or(i64::MAX));
        let bytes = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let (free, size) = snapshot.disk.unwrap_or_default();
        self.disk_free.set(bytes(free));
        self.disk_size.set(bytes(size));
        self.threads.clear();
        for (thread, healthy) in snapshot.threads {
            self.threads.get_or_create(&ThreadLabels { thread }).set(i64::from(healthy));
        }
    }
}

impl Default for Telemetry {
    fn default() -> Self {
        Self::new()
    }
}
