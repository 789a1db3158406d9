//! Webhooks as the OpenAPI document describes their input. Reading them is `model::webhook::input`'s; a
//! test holds the two together.

use std::collections::BTreeMap;

use serde::Deserialize;
use utoipa::openapi::schema::{Array, ArrayBuilder, ObjectBuilder, Type};

use crate::model::event::EventType;
use crate::model::webhook::input::{DEFAULT_EVENT_TYPES, DEFAULT_FORMAT, DEFAULT_RETRY_COUNT, DEFAULT_TIMEOUT_MS};
use crate::model::webhook::{Batch, RateLimit, TlsNames};

/// A new webhook.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct WebhookInput {
    /// What it is called.
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    /// Where deliveries go: `https://` or `http://`, and for formats that make lines `syslog+tls://`, `syslog+tcp://` or
    /// `syslog+udp://` with host and port. Stored and shown as the URL standard serialises it.
    #[schema(format = "uri")]
    url: String,
    /// What signs deliveries. After `whsec_` it is base64. Never shown again; null for none.
    #[schema(min_length = 1, max_length = 256, write_only)]
    secret: Option<String>,
    /// Event types, or `*` for all. Duplicates are dropped.
    #[serde(default)]
    #[schema(schema_with = new_event_types)]
    event_types: Vec<String>,
    /// The name of a loaded formatter.
    #[serde(default = "format")]
    #[schema(pattern = "^[a-z][a-z0-9-]{0,62}$")]
    format: String,
    /// What the formatter's JSON Schema (`options_schema`) allows.
    #[serde(default)]
    format_options: BTreeMap<String, serde_json::Value>,
    /// Sent with each delivery over HTTP; at most 20, names and values 8 KiB together. Values are never shown again.
    #[serde(default)]
    #[schema(write_only)]
    headers: BTreeMap<String, String>,
    /// Which of these events; all by default.
    #[serde(default)]
    filter: FilterInput,
    /// At most so many attempts in so many seconds; null for no limit.
    rate_limit: Option<RateLimit>,
    /// Names from the server's configuration, for `https://` and `syslog+tls://`; null for none.
    tls: Option<TlsNames>,
    /// Several events in one request, where the format's payloads can be joined; null for one each.
    batch: Option<Batch>,
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
    #[schema(schema_with = event_types)]
    event_types: Option<Vec<String>>,
    /// The name of a loaded formatter.
    #[schema(pattern = "^[a-z][a-z0-9-]{0,62}$", nullable = false)]
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
    /// Replaces the rate limit; null takes it away.
    rate_limit: Option<RateLimit>,
    /// Replaces the names for TLS; null takes them away.
    tls: Option<TlsNames>,
    /// Replaces the batching; null takes it away.
    batch: Option<Batch>,
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
    #[schema(schema_with = engagement_ids)]
    engagement_ids: Option<Vec<String>>,
}

fn event_types() -> Array {
    let names = EventType::ALL.iter().map(|event_type| event_type.as_str()).chain(["*"]);
    let name = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names));
    ArrayBuilder::new().items(name).min_items(Some(1)).description(Some("Event types, or `*` for all")).build()
}

fn new_event_types() -> Array {
    let names: Vec<&str> = DEFAULT_EVENT_TYPES.iter().map(|event_type| event_type.as_str()).collect();
    let mut types = event_types();
    types.default = Some(names.into());
    types
}

fn engagement_ids() -> Array {
    let id = ObjectBuilder::new().schema_type(Type::String).min_length(Some(1));
    let description = "The engagements; events without one do not pass";
    ArrayBuilder::new().items(id).min_items(Some(1)).max_items(Some(1000)).description(Some(description)).build()
}

fn format() -> String {
    DEFAULT_FORMAT.to_owned()
}

fn retry_count() -> u32 {
    DEFAULT_RETRY_COUNT
}

fn timeout_ms() -> u32 {
    DEFAULT_TIMEOUT_MS
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
