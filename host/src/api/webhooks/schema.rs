//! The OpenAPI schemas of webhooks as input. `model::webhook::input` does the parsing; a test checks that both name the
//! same fields.

use std::collections::BTreeMap;

use serde::Deserialize;
use utoipa::openapi::schema::{Array, ArrayBuilder, ObjectBuilder, Type};

use crate::model::event::EventType;
use crate::model::webhook::input::{DEFAULT_EVENT_TYPES, DEFAULT_FORMAT, DEFAULT_RETRY_COUNT, DEFAULT_TIMEOUT_MS};
use crate::model::webhook::{Batch, Digest, Order, RateLimit, TlsNames};

/// A new webhook.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct WebhookInput {
    /// A name for people.
    #[schema(min_length = 1, max_length = 200)]
    name: String,
    /// The destination: `https://` or `http://`, and for formats that produce single lines `syslog+tls://`,
    /// `syslog+tcp://` or `syslog+udp://` with host and port. Stored and shown as the URL standard serialises it.
    #[schema(format = "uri")]
    url: String,
    /// The signing secret; the part after `whsec_` is base64. Never shown again; null for none.
    #[schema(min_length = 1, max_length = 256, write_only)]
    secret: Option<String>,
    /// True to have the host generate the signing secret, in the form of Standard Webhooks (`whsec_` and base64 of 32
    /// bytes). The response shows it as `secret`, once. Not beside `secret`.
    #[serde(default)]
    #[schema(write_only)]
    generate_secret: bool,
    /// Event types, or `*` for all but host events. Duplicates are dropped.
    #[serde(default)]
    #[schema(schema_with = new_event_types)]
    event_types: Vec<String>,
    /// The name of a loaded formatter.
    #[serde(default = "format")]
    #[schema(pattern = "^[a-z][a-z0-9-]{0,62}$")]
    format: String,
    /// Options of the formatter; its JSON Schema is `options_schema`.
    #[serde(default)]
    format_options: BTreeMap<String, serde_json::Value>,
    /// Additional headers of each delivery over HTTP: at most 20, names and values together 8 KiB. Values are never
    /// shown again.
    #[serde(default)]
    #[schema(write_only)]
    headers: BTreeMap<String, String>,
    /// Selects among the events of these types; all by default.
    #[serde(default)]
    filter: FilterInput,
    /// True to get a critical finding once: where deliveries of a finding_added and of the critical_finding derived from it
    /// would both be made, only the latter is.
    #[serde(default)]
    critical_once: bool,
    /// Of what waits: as it came, the most severe first, or strictly one at a time in the order of acceptance.
    #[serde(default)]
    order: Order,
    /// Attempts per period at most; null for no limit.
    rate_limit: Option<RateLimit>,
    /// Names of a CA bundle and a client certificate in the server's configuration, for `https://` and `syslog+tls://`;
    /// null for none.
    tls: Option<TlsNames>,
    /// Batching: several events in one request, if the format's payloads can be joined; null for one event each.
    batch: Option<Batch>,
    /// Digest: what a window collects in one message, if the format can make one; null for each event on its own. Not beside
    /// `batch`.
    digest: Option<Digest>,
    /// Retries after the first attempt.
    #[serde(default = "retry_count")]
    #[schema(minimum = 0, maximum = 10)]
    retry_count: u32,
    /// Time limit for one attempt, in milliseconds.
    #[serde(default = "timeout_ms")]
    #[schema(minimum = 1000, maximum = 30_000)]
    timeout_ms: u32,
    /// False holds deliveries instead of sending them.
    #[serde(default = "is_active")]
    is_active: bool,
}

/// The fields to change; absent ones keep their value.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct WebhookChange {
    /// A name for people.
    #[schema(min_length = 1, max_length = 200, nullable = false)]
    name: Option<String>,
    /// The destination.
    #[schema(format = "uri", nullable = false)]
    url: Option<String>,
    /// The signing secret; null removes it.
    #[schema(min_length = 1, max_length = 256, write_only)]
    secret: Option<String>,
    /// True to have the host generate a new signing secret, which the response shows as `secret`, once. It replaces the old
    /// one at once; to have both sign for a time, use `rotate-secret`. Not beside `secret`.
    #[schema(write_only, nullable = false)]
    generate_secret: Option<bool>,
    /// Event types, or `*` for all but host events.
    #[schema(schema_with = event_types)]
    event_types: Option<Vec<String>>,
    /// The name of a loaded formatter.
    #[schema(pattern = "^[a-z][a-z0-9-]{0,62}$", nullable = false)]
    format: Option<String>,
    /// Replaces the options of the formatter.
    #[schema(nullable = false)]
    format_options: Option<BTreeMap<String, serde_json::Value>>,
    /// Replaces the set of headers.
    #[schema(write_only, nullable = false)]
    headers: Option<BTreeMap<String, String>>,
    /// Replaces the filter.
    #[schema(nullable = false)]
    filter: Option<FilterInput>,
    /// True to get a critical finding once.
    #[schema(nullable = false)]
    critical_once: Option<bool>,
    /// The order of what waits. It holds from the next attempt on.
    #[schema(nullable = false)]
    order: Option<Order>,
    /// Replaces the rate limit; null removes it.
    rate_limit: Option<RateLimit>,
    /// Replaces the names for TLS; null removes them.
    tls: Option<TlsNames>,
    /// Replaces the batching; null removes it.
    batch: Option<Batch>,
    /// Replaces the digest; null removes it.
    digest: Option<Digest>,
    /// Retries after the first attempt.
    #[schema(minimum = 0, maximum = 10, nullable = false)]
    retry_count: Option<u32>,
    /// Time limit for one attempt, in milliseconds.
    #[schema(minimum = 1000, maximum = 30_000, nullable = false)]
    timeout_ms: Option<u32>,
    /// False holds deliveries instead of sending them; true also resets `failure_count` to 0.
    #[schema(nullable = false)]
    is_active: Option<bool>,
}

/// Selects events; all conditions must hold.
#[derive(Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) struct FilterInput {
    /// Lowest severity; events without a severity pass.
    #[schema(nullable = false)]
    min_severity: Option<crate::model::event::Severity>,
    /// Ids of engagements; events without an engagement do not pass.
    #[schema(schema_with = engagement_ids)]
    engagement_ids: Option<Vec<String>>,
    /// An expression in CEL that must be true, as in `severity >= HIGH && has(finding.cvss) && finding.cvss >= 9.0`.
    #[schema(nullable = false, min_length = 1, max_length = 2000)]
    expression: Option<String>,
}

/// A string that is the name of an event type.
pub(super) fn event_type_names() -> ObjectBuilder {
    let names = EventType::ALL.iter().map(|event_type| event_type.as_str());
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names))
}

pub(super) fn event_types() -> Array {
    let names = EventType::ALL.iter().map(|event_type| event_type.as_str()).chain(["*"]);
    let name = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names));
    ArrayBuilder::new()
        .items(name)
        .min_items(Some(1))
        .description(Some("Event types, or `*` for all but host events; beside `*` only host events are kept"))
        .build()
}

fn new_event_types() -> Array {
    let names: Vec<&str> = DEFAULT_EVENT_TYPES.iter().map(|event_type| event_type.as_str()).collect();
    let mut types = event_types();
    types.default = Some(names.into());
    types
}

fn engagement_ids() -> Array {
    let id = ObjectBuilder::new().schema_type(Type::String).min_length(Some(1));
    let description = "Ids of engagements; events without an engagement do not pass";
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
