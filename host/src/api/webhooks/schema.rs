//! Webhooks as the OpenAPI document describes their input. Reading them is `model::webhook::input`'s; a
//! test holds the two together.

use std::collections::BTreeMap;

use serde::Deserialize;

/// A new webhook.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct WebhookInput {
    /// What it is called.
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    /// Where deliveries go: `https://` or `http://`. Stored and shown as the URL standard serialises it.
    #[schema(format = "uri")]
    url: String,
    /// What signs deliveries. After `whsec_` it is base64. Never shown again; null for none.
    #[schema(min_length = 1, max_length = 256, write_only)]
    secret: Option<String>,
    /// Event types, or `*` for all. Duplicates are dropped.
    #[serde(default = "event_types")]
    #[schema(min_items = 1)]
    event_types: Vec<EventTypeName>,
    /// The name of a loaded formatter.
    #[serde(default = "format")]
    format: String,
    /// What the formatter's JSON Schema (`options_schema`) allows.
    #[serde(default)]
    format_options: BTreeMap<String, serde_json::Value>,
    /// Sent with each delivery; at most 20, names and values 8 KiB together. Values are never shown again.
    #[serde(default)]
    #[schema(write_only)]
    headers: BTreeMap<String, String>,
    /// Which of these events; all by default.
    #[serde(default)]
    filter: FilterInput,
    /// Retries after the first attempt.
    #[serde(default = "retry_count")]
    #[schema(minimum = 0, maximum = 10)]
    retry_count: u32,
    /// The whole attempt, in milliseconds.
    #[serde(default = "timeout_ms")]
    #[schema(minimum = 1000, maximum = 30_000)]
    timeout_ms: u32,
    /// Whether deliveries are made.
    #[serde(default = "is_active")]
    is_active: bool,
}

/// What shall change; what is absent stays.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct WebhookChange {
    /// What it is called.
    #[schema(min_length = 1, max_length = 200, nullable = false)]
    name: Option<String>,
    /// Where deliveries go.
    #[schema(format = "uri", nullable = false)]
    url: Option<String>,
    /// What signs deliveries; null takes it away.
    #[schema(min_length = 1, max_length = 256, write_only)]
    secret: Option<String>,
    /// Event types, or `*` for all.
    #[schema(min_items = 1, nullable = false)]
    event_types: Option<Vec<EventTypeName>>,
    /// The name of a loaded formatter.
    #[schema(nullable = false)]
    format: Option<String>,
    /// What the formatter's JSON Schema allows; replaces the options.
    #[schema(nullable = false)]
    format_options: Option<BTreeMap<String, serde_json::Value>>,
    /// Replaces the set of headers.
    #[schema(write_only, nullable = false)]
    headers: Option<BTreeMap<String, String>>,
    /// Replaces the filter.
    #[schema(nullable = false)]
    filter: Option<FilterInput>,
    /// Retries after the first attempt.
    #[schema(minimum = 0, maximum = 10, nullable = false)]
    retry_count: Option<u32>,
    /// The whole attempt, in milliseconds.
    #[schema(minimum = 1000, maximum = 30_000, nullable = false)]
    timeout_ms: Option<u32>,
    /// `true` also sets `failure_count` to 0.
    #[schema(nullable = false)]
    is_active: Option<bool>,
}

/// Which events pass; both conditions must hold.
#[derive(Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct FilterInput {
    /// The least severity; events without one pass.
    #[schema(nullable = false)]
    min_severity: Option<crate::model::event::Severity>,
    /// The engagements; events without one do not pass.
    #[schema(min_items = 1, max_items = 1000, nullable = false)]
    engagement_ids: Option<Vec<String>>,
}

/// An event type's name, or `*`.
#[derive(Clone, Copy, Deserialize, serde::Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum EventTypeName {
    FindingAdded,
    FindingVerified,
    PhaseChanged,
    EngagementCompleted,
    EngagementSigned,
    CriticalFinding,
    RetestCompleted,
    ReportReady,
    SurfaceChanged,
    MonitorAlert,
    #[serde(rename = "*")]
    All,
}

fn event_types() -> Vec<EventTypeName> {
    vec![EventTypeName::FindingAdded, EventTypeName::PhaseChanged, EventTypeName::EngagementCompleted]
}

fn format() -> String {
    crate::model::webhook::input::DEFAULT_FORMAT.to_owned()
}

fn retry_count() -> u32 {
    crate::model::webhook::input::DEFAULT_RETRY_COUNT
}

fn timeout_ms() -> u32 {
    crate::model::webhook::input::DEFAULT_TIMEOUT_MS
}

fn is_active() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use utoipa::PartialSchema;

    use crate::model::webhook::input::{FIELDS, FILTER_FIELDS};

    fn properties<T: PartialSchema>() -> BTreeSet<String> {
        let schema = serde_json::to_value(T::schema()).expect("a schema");
        schema["properties"].as_object().expect("an object").keys().cloned().collect()
    }

    #[test]
    fn the_schemas_name_the_fields_that_are_read() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        assert_eq!(properties::<super::WebhookInput>(), names(FIELDS));
        assert_eq!(properties::<super::WebhookChange>(), names(FIELDS));
        assert_eq!(properties::<super::FilterInput>(), names(FILTER_FIELDS));
    }
}
