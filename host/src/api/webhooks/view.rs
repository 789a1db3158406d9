//! Webhooks as readers see them.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::model::event::{EventType, Severity};
use crate::model::id::WebhookId;
use crate::model::time::Timestamp;
use crate::model::webhook::{Activity, Batch, RateLimit, TlsNames, Webhook};

/// A webhook, for an admin. Its secret and its headers' values are never shown.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct WebhookView {
    /// The webhook's id, a UUIDv7.
    #[schema(value_type = uuid::Uuid)]
    id: WebhookId,
    /// What an admin calls it.
    name: String,
    /// Where deliveries go.
    url: String,
    /// Whether deliveries are signed.
    has_secret: bool,
    /// The event types that it asked for, or `*`.
    event_types: Vec<&'static str>,
    /// The formatter's name.
    format: String,
    /// The formatter's options.
    #[schema(value_type = BTreeMap<String, serde_json::Value>)]
    format_options: Box<RawValue>,
    /// The names of the headers that are sent with each delivery.
    header_names: Vec<String>,
    /// Which events of these types it wants.
    filter: FilterView,
    /// At most so many attempts in so many seconds; null for no limit.
    rate_limit: Option<RateLimit>,
    /// Names from the server's configuration; null for none.
    tls: Option<TlsNames>,
    /// Several events in one request; null for one each.
    batch: Option<Batch>,
    /// Retries after the first attempt.
    #[schema(minimum = 0, maximum = 10)]
    retry_count: u32,
    /// The whole attempt, in milliseconds.
    #[schema(minimum = 1000, maximum = 30_000)]
    timeout_ms: u32,
    /// Whether deliveries are made.
    is_active: bool,
    /// Deliveries that failed for good, in a row.
    failure_count: u32,
    /// Why the host switched it off; null when it did not.
    disabled_reason: Option<String>,
    /// When an attempt last succeeded.
    #[schema(value_type = Option<String>, format = DateTime)]
    last_success_at: Option<Timestamp>,
    /// When an attempt last failed.
    #[schema(value_type = Option<String>, format = DateTime)]
    last_failure_at: Option<Timestamp>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When its configuration last changed.
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

/// Which events pass; both conditions must hold.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct FilterView {
    /// The least severity; events without one pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    min_severity: Option<Severity>,
    /// The engagements; events without one do not pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    engagement_ids: Option<Vec<String>>,
}

impl WebhookView {
    /// What an admin sees of it now.
    pub(super) fn of(webhook: &Webhook) -> Self {
        let (config, health) = (&webhook.config, webhook.health.values());
        Self {
            id: webhook.id,
            name: config.name.clone(),
            url: config.url.expose().to_owned(),
            has_secret: config.secret.is_some(),
            event_types: config.event_types.names(),
            format: config.format.clone(),
            format_options: RawValue::from_string(config.format_options.clone()).unwrap_or_default(),
            header_names: config.headers.iter().map(|(name, _)| name.clone()).collect(),
            filter: FilterView {
                min_severity: config.filter.min_severity,
                engagement_ids: config.filter.engagement_ids.clone(),
            },
            rate_limit: config.rate_limit,
            tls: Some(config.tls.clone()).filter(|tls| !tls.is_empty()),
            batch: config.batch,
            retry_count: config.retry_count,
            timeout_ms: config.timeout_ms,
            is_active: webhook.activity.is_active(),
            failure_count: health.failure_count,
            disabled_reason: match &webhook.activity {
                Activity::Tripped { reason } => Some(reason.clone()),
                Activity::Active | Activity::OffByAdmin => None,
            },
            last_success_at: health.last_success_at,
            last_failure_at: health.last_failure_at,
            created_at: webhook.created_at,
            updated_at: webhook.updated_at,
        }
    }
}

/// A webhook, for a pentester: that it exists, and what it is told. Nothing else, ever.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReducedWebhook {
    /// The webhook's id.
    #[schema(value_type = uuid::Uuid)]
    id: WebhookId,
    /// What an admin calls it.
    name: String,
    /// The formatter's name.
    format: String,
    /// The event types that it asked for, or `*`.
    event_types: Vec<&'static str>,
    /// Whether deliveries are made.
    is_active: bool,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl ReducedWebhook {
    /// What a pentester sees of it.
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

/// A webhook as the token's role sees it.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) enum AnyWebhook {
    /// For an admin.
    Whole(Box<WebhookView>),
    /// For a pentester.
    Reduced(ReducedWebhook),
}

/// An event type and what it means.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct EventTypeView {
    /// The name on the wire.
    name: &'static str,
    /// When it fires.
    description: &'static str,
}

impl EventTypeView {
    /// Every type, also those that later versions bring.
    pub(super) const ALL: Self = Self { name: "*", description: "All events." };

    /// One type.
    pub(super) fn of(event_type: EventType) -> Self {
        Self { name: event_type.as_str(), description: event_type.description() }
    }
}
