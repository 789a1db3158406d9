//! Webhooks as the API returns them.

use serde::Serialize;
use serde_json::value::RawValue;

use super::super::workload::Workload;
use crate::model::event::{EventType, Severity};
use crate::model::id::WebhookId;
use crate::model::secret::Secret;
use crate::model::time::Timestamp;
use crate::model::webhook::{Activity, Batch, Digest, Order, RateLimit, TlsNames, Webhook};
use crate::samples;

/// A webhook, for an admin. Its secret and its headers' values are never shown.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct WebhookView {
    /// The webhook's id, a UUIDv7.
    #[schema(value_type = uuid::Uuid)]
    id: WebhookId,
    /// A name for people.
    name: String,
    /// The destination.
    url: String,
    /// True if deliveries are signed.
    has_secret: bool,
    /// The signing secret, only in the response to the request that had it generated.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    secret: Option<String>,
    /// The subscribed event types, or `*`.
    event_types: Vec<&'static str>,
    /// The formatter's name.
    format: String,
    /// The formatter's options.
    #[schema(value_type = BTreeMap<String, serde_json::Value>)]
    format_options: Box<RawValue>,
    /// Names of the additional headers; their values are never shown.
    header_names: Vec<String>,
    /// Selects among the events of these types.
    filter: FilterView,
    /// True if it gets a critical finding once.
    critical_once: bool,
    /// The order of what waits.
    order: Order,
    /// Attempts per period at most; null for no limit.
    rate_limit: Option<RateLimit>,
    /// Names of a CA bundle and a client certificate in the server's configuration; null for none.
    tls: Option<TlsNames>,
    /// Batching: several events in one request; null for one event each.
    batch: Option<Batch>,
    /// Digest: what a window collects in one message; null for each event on its own.
    digest: Option<Digest>,
    /// Retries after the first attempt.
    #[schema(minimum = 0, maximum = 10)]
    retry_count: u32,
    /// Time limit for one attempt, in milliseconds.
    #[schema(minimum = 1000, maximum = 30_000)]
    timeout_ms: u32,
    /// False if deliveries are held instead of sent.
    is_active: bool,
    /// Consecutive deliveries that failed for good, the counter of the circuit breaker. Those that the formatter could not
    /// render do not count.
    failure_count: u32,
    /// The reason why the circuit breaker switched the webhook off, with the last error in words; null if it did not.
    disabled_reason: Option<String>,
    /// The reason why the filter's expression last failed on an event, which then passed; null if it did not since the
    /// host's start.
    expression_error: Option<String>,
    /// Time of the last successful attempt.
    #[schema(value_type = Option<String>, format = DateTime)]
    last_success_at: Option<Timestamp>,
    /// Time of the last failed attempt.
    #[schema(value_type = Option<String>, format = DateTime)]
    last_failure_at: Option<Timestamp>,
    /// Deliveries that are pending, those in flight included.
    waiting: u64,
    /// Deliveries that are held.
    held: u64,
    /// When the event of the oldest delivery that is pending or held was accepted; null if there is none. With a long
    /// backlog it may be a little earlier.
    #[schema(value_type = Option<String>, format = DateTime)]
    oldest_waiting_at: Option<Timestamp>,
    /// Time at which the next attempt is due; in the past for one in flight or waiting for its turn. Null when nothing is
    /// pending, or the webhook is switched off.
    #[schema(value_type = Option<String>, format = DateTime)]
    next_attempt_at: Option<Timestamp>,
    /// Time of the next probe of a webhook that the circuit breaker switched off; null when none is made.
    #[schema(value_type = Option<String>, format = DateTime)]
    next_probe_at: Option<Timestamp>,
    /// Time of creation.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// Time of the last change of the configuration.
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

/// Selects events; all conditions must hold.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct FilterView {
    /// Lowest severity; events without a severity pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    min_severity: Option<Severity>,
    /// Ids of engagements; events without an engagement do not pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    engagement_ids: Option<Vec<String>>,
    /// An expression in CEL that must be true.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    expression: Option<String>,
}

impl WebhookView {
    /// The admin's view of a webhook, with what waits for it and what comes next.
    pub(super) fn of(
        webhook: &Webhook,
        workload: Workload,
        next_attempt_at: Option<Timestamp>,
        expression_error: Option<String>,
    ) -> Self {
        let (config, health) = (&webhook.config, webhook.health.values());
        Self {
            id: webhook.id,
            name: config.name.clone(),
            url: config.url.expose().to_owned(),
            has_secret: config.secret.is_some(),
            secret: None,
            event_types: config.event_types.names(),
            format: config.format.clone(),
            format_options: RawValue::from_string(config.format_options.clone()).unwrap_or_default(),
            header_names: config.headers.iter().map(|(name, _)| name.clone()).collect(),
            filter: FilterView {
                min_severity: config.filter.min_severity,
                engagement_ids: config.filter.engagement_ids.clone(),
                expression: config.filter.expression.clone(),
            },
            critical_once: config.critical_once,
            order: config.order,
            rate_limit: config.rate_limit,
            tls: Some(config.tls.clone()).filter(|tls| !tls.is_empty()),
            batch: config.batch,
            digest: config.digest,
            retry_count: config.retry_count,
            timeout_ms: config.timeout_ms,
            is_active: webhook.activity.is_active(),
            failure_count: health.failure_count,
            disabled_reason: match &webhook.activity {
                Activity::Tripped { reason, .. } => Some(reason.clone()),
                Activity::Active | Activity::OffByAdmin => None,
            },
            expression_error,
            last_success_at: health.last_success_at,
            last_failure_at: health.last_failure_at,
            waiting: workload.waiting,
            held: workload.held,
            oldest_waiting_at: workload.oldest_waiting_at,
            next_attempt_at,
            next_probe_at: workload.next_probe_at,
            created_at: webhook.created_at,
            updated_at: webhook.updated_at,
        }
    }

    /// The same with a secret that was generated for this request.
    pub(super) fn with_secret(self, generated: Option<&Secret>) -> Self {
        Self { secret: generated.map(|secret| secret.expose().to_owned()), ..self }
    }
}

/// A webhook, for a pentester: its existence and its subscription, but neither destination nor health.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReducedWebhook {
    /// The webhook's id.
    #[schema(value_type = uuid::Uuid)]
    id: WebhookId,
    /// A name for people.
    name: String,
    /// The formatter's name.
    format: String,
    /// The subscribed event types, or `*`.
    event_types: Vec<&'static str>,
    /// False if deliveries are held instead of sent.
    is_active: bool,
    /// Time of creation.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl ReducedWebhook {
    /// The pentester's view of a webhook.
    pub(super) fn of(webhook: &Webhook) -> Self {
        Self {
            id: webhook.id,
            name: webhook.config.name.clone(),
            format: webhook.config.format.clone(),
            event_types: webhook.config.event_types.names(),
            is_active: webhook.activity.is_active(),
            created_at: webhook.created_at,
        }
    }
}

/// An event type: what it stands for and what its events look like.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct EventTypeView {
    /// The name on the wire.
    name: &'static str,
    /// The event that it stands for, in a sentence.
    description: &'static str,
    /// `host` for an event that the host makes of what happens to itself: it cannot be posted, and `*` does not include it.
    /// Absent in all others.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, nullable = false)]
    kind: Option<&'static str>,
    /// JSON Schema (2020-12) of the event's `data`: every member that is usual. No other is forbidden. Absent in `*`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<BTreeMap<String, serde_json::Value>>, nullable = false)]
    schema: Option<Box<RawValue>>,
    /// An event of this type, ready to be posted unless it is a host event. Absent in `*`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<BTreeMap<String, serde_json::Value>>, nullable = false)]
    sample: Option<Box<RawValue>>,
}

impl EventTypeView {
    /// Every type, then the wildcard.
    pub(super) fn all() -> Vec<Self> {
        // The wildcard includes the types of later versions.
        let description = "All events but those of the host itself.";
        let wildcard = Self { name: "*", description, kind: None, schema: None, sample: None };
        EventType::ALL.iter().map(|event_type| Self::of(*event_type)).chain([wildcard]).collect()
    }

    fn of(event_type: EventType) -> Self {
        Self {
            name: event_type.as_str(),
            description: event_type.description(),
            kind: event_type.is_host().then_some("host"),
            schema: RawValue::from_string(event_type.data_schema()).ok(),
            sample: samples::without_id(event_type).and_then(|sample| RawValue::from_string(sample).ok()),
        }
    }
}
