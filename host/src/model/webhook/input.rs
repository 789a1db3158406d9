//! A webhook as an admin writes it: a whole one, or only what shall change; every fault at once.

mod fields;

use std::collections::HashSet;

use super::{Batch, Digest, Filter, Order, RateLimit, Subscription, TlsNames, WebhookConfig};
use crate::json::Document;
use crate::json::fault::Faults;
use crate::json::fields::{Field, MAX_FAULTS, Object, list};
use crate::model::event::{EventType, Severity};
use crate::model::secret::Secret;
use crate::model::url::DeliveryUrl;

pub use fields::{
    BATCH_EVENTS, BATCH_FIELDS, BATCH_WAIT_MS, DEFAULT_EVENT_TYPES, DEFAULT_FORMAT, DEFAULT_RETRY_COUNT,
    DEFAULT_TIMEOUT_MS, DIGEST_FIELDS, DIGEST_OVER, DIGEST_SECONDS, EXPRESSION_CHARS, FIELDS, FILTER_FIELDS,
    MAX_HEADER_BYTES, MAX_HEADERS, NAME_CHARS, RATE_COUNT, RATE_LIMIT_FIELDS, RATE_SECONDS, READ_ONLY_FIELDS,
    RETRY_COUNT, SECRET_CHARS, SECRET_PREFIX, TIMEOUT_MS, TLS_FIELDS,
};
use fields::{MAX_ENGAGEMENT_IDS, MAX_OPTIONS_BYTES, TLS_NAME_CHARS};

/// The fields of a request body about a webhook. A field that is `None` was absent or invalid.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// The name.
    pub name: Option<String>,
    /// The destination.
    pub url: Option<DeliveryUrl>,
    /// The secret; `Some(None)` takes it away.
    pub secret: Option<Option<Secret>>,
    /// True to have the host generate the secret; then `secret` is absent.
    pub generate_secret: bool,
    /// The event types.
    pub event_types: Option<Subscription>,
    /// The format's name; not looked up yet.
    pub format: Option<String>,
    /// The options, as compact text with sorted members; not checked against the schema yet.
    pub format_options: Option<String>,
    /// The headers.
    pub headers: Option<Vec<(String, Secret)>>,
    /// The filter.
    pub filter: Option<Filter>,
    /// True for a critical finding once.
    pub critical_once: Option<bool>,
    /// The order.
    pub order: Option<Order>,
    /// The rate limit; `Some(None)` takes it away.
    pub rate_limit: Option<Option<RateLimit>>,
    /// The names for TLS; not looked up yet.
    pub tls: Option<TlsNames>,
    /// The batching; `Some(None)` takes it away. Whether the format can do it is not judged yet.
    pub batch: Option<Option<Batch>>,
    /// The digest; `Some(None)` takes it away. Whether the format can make one is not judged yet.
    pub digest: Option<Option<Digest>>,
    /// Retries after the first attempt.
    pub retry_count: Option<u32>,
    /// The whole attempt, in milliseconds.
    pub timeout_ms: Option<u32>,
    /// True to make deliveries.
    pub is_active: Option<bool>,
}

impl Draft {
    /// Reads a body; what is wrong with it is added to `faults`.
    pub fn read(document: &Document<'_>, faults: &mut Faults) -> Self {
        let body = Field::new(document.text(), "");
        let Some(body) = body.object(FIELDS, READ_ONLY_FIELDS, faults) else { return Self::default() };
        Self {
            name: body.get("name").and_then(|field| field.bounded_string(NAME_CHARS, faults)),
            url: body.get("url").and_then(|field| url(field, faults)),
            secret: body.get("secret").and_then(|field| secret(field, faults)),
            generate_secret: generate_secret(&body, faults),
            event_types: body.get("event_types").and_then(|field| event_types(field, faults)),
            format: body.get("format").and_then(|field| field.string(faults)),
            format_options: body.get("format_options").and_then(|field| options(field, faults)),
            headers: body.get("headers").and_then(|field| headers(field, faults)),
            filter: body.get("filter").and_then(|field| filter(field, faults)),
            critical_once: body.get("critical_once").and_then(|field| field.boolean(faults)),
            order: body.get("order").and_then(|field| order(field, faults)),
            rate_limit: body.get("rate_limit").and_then(|field| rate_limit(field, faults)),
            tls: body.get("tls").and_then(|field| tls(field, faults)),
            batch: body.get("batch").and_then(|field| batch(field, faults)),
            digest: body.get("digest").and_then(|field| digest(field, faults)),
            retry_count: body.get("retry_count").and_then(|field| field.integer(RETRY_COUNT, faults)),
            timeout_ms: body.get("timeout_ms").and_then(|field| field.integer(TIMEOUT_MS, faults)),
            is_active: body.get("is_active").and_then(|field| field.boolean(faults)),
        }
    }

    /// Reads only which events are wanted, of a body that may have other members; what is wrong is added to `faults`.
    pub fn read_selection(body: &Object<'_>, faults: &mut Faults) -> Self {
        Self {
            event_types: body.get("event_types").and_then(|field| event_types(field, faults)),
            filter: body.get("filter").and_then(|field| filter(field, faults)),
            ..Self::default()
        }
    }

    /// Returns true if the format, its options, and the settings that depend on the format must be checked again.
    pub fn touches_format(&self) -> bool {
        self.format.is_some()
            || self.format_options.is_some()
            || self.url.is_some()
            || self.batch.is_some()
            || self.digest.is_some()
    }

    /// Reads a body that must be a whole webhook: `name` and `url` are required.
    pub fn read_whole(document: &Document<'_>, faults: &mut Faults) -> Self {
        let mut names = Faults::new();
        if let Some(body) = Field::new(document.text(), "").open_object(&["name", "url"], &mut names) {
            body.require("name", &mut names);
            body.require("url", &mut names);
            faults.extend(names.into_inner());
        }
        Self::read(document, faults)
    }

    /// The webhook of a whole body, with defaults for absent members, and true if it begins active; `None` when a
    /// required member is missing, which [`Draft::read_whole`] named.
    pub fn create(self) -> Option<(WebhookConfig, bool)> {
        let is_active = self.is_active.unwrap_or(true);
        let config = WebhookConfig {
            name: self.name?,
            url: self.url?,
            secret: self.secret.flatten(),
            event_types: self.event_types.unwrap_or_else(|| Subscription::Only(DEFAULT_EVENT_TYPES.to_vec())),
            format: self.format.unwrap_or_else(|| DEFAULT_FORMAT.to_owned()),
            format_options: self.format_options.unwrap_or_else(|| "{}".to_owned()),
            headers: self.headers.unwrap_or_default(),
            filter: self.filter.unwrap_or_default(),
            critical_once: self.critical_once.unwrap_or_default(),
            order: self.order.unwrap_or_default(),
            rate_limit: self.rate_limit.flatten(),
            tls: self.tls.unwrap_or_default(),
            batch: self.batch.flatten(),
            digest: self.digest.flatten(),
            retry_count: self.retry_count.unwrap_or(DEFAULT_RETRY_COUNT),
            timeout_ms: self.timeout_ms.unwrap_or(DEFAULT_TIMEOUT_MS),
        };
        Some((config, is_active))
    }

    /// A webhook with what the body says changed and the rest as it is.
    pub fn apply(self, current: &WebhookConfig) -> WebhookConfig {
        let current = current.clone();
        WebhookConfig {
            name: self.name.unwrap_or(current.name),
            url: self.url.unwrap_or(current.url),
            secret: self.secret.unwrap_or(current.secret),
            event_types: self.event_types.unwrap_or(current.event_types),
            format: self.format.unwrap_or(current.format),
            format_options: self.format_options.unwrap_or(current.format_options),
            headers: match self.headers {
                Some(headers) if !are_same_headers(&headers, &current.headers) => headers,
                _ => current.headers,
            },
            filter: self.filter.unwrap_or(current.filter),
            critical_once: self.critical_once.unwrap_or(current.critical_once),
            order: self.order.unwrap_or(current.order),
            rate_limit: self.rate_limit.unwrap_or(current.rate_limit),
            tls: self.tls.unwrap_or(current.tls),
            batch: self.batch.unwrap_or(current.batch),
            digest: self.digest.unwrap_or(current.digest),
            retry_count: self.retry_count.unwrap_or(current.retry_count),
            timeout_ms: self.timeout_ms.unwrap_or(current.timeout_ms),
        }
    }
}

/// True if the order is all that differs: members of a JSON object have none.
fn are_same_headers(some: &[(String, Secret)], others: &[(String, Secret)]) -> bool {
    some.len() == others.len() && some.iter().all(|header| others.contains(header))
}

fn url(field: &Field<'_>, faults: &mut Faults) -> Option<DeliveryUrl> {
    let text = field.string(faults)?;
    match DeliveryUrl::parse(&text) {
        Ok(url) => Some(url),
        Err(error) => {
            faults.add(field.pointer(), error.code(), error.to_string());
            None
        }
    }
}

/// A secret, or null for none.
pub fn secret(field: &Field<'_>, faults: &mut Faults) -> Option<Option<Secret>> {
    use base64::Engine as _;
    if field.is_null() {
        return Some(None);
    }
    let text = field.bounded_string(SECRET_CHARS, faults)?;
    if let Some(encoded) = text.strip_prefix(SECRET_PREFIX) {
        let decoded = base64::engine::general_purpose::STANDARD.decode(encoded);
        if !decoded.is_ok_and(|key| !key.is_empty()) {
            faults.add(
                field.pointer(),
                "invalid",
                format!("what follows {SECRET_PREFIX} must be base64 of at least one byte"),
            );
            return None;
        }
    }
    Some(Some(Secret::new(text)))
}

/// True to have a secret generated, which excludes one that is given or taken away.
fn generate_secret(body: &Object<'_>, faults: &mut Faults) -> bool {
    let Some(field) = body.get("generate_secret") else { return false };
    let generate = field.boolean(faults).unwrap_or(false);
    if generate && body.get("secret").is_some() {
        faults.add(field.pointer(), "exclusive", "cannot be true beside secret; leave one of the two out");
    }
    generate
}

fn event_types(field: &Field<'_>, faults: &mut Faults) -> Option<Subscription> {
    let elements = field.elements(faults)?;
    if elements.is_empty() {
        faults.add(field.pointer(), "empty", "must name at least one event type, or \"*\" for all");
        return None;
    }
    let (mut all, mut only, mut wrong) = (false, Vec::new(), Faults::new());
    let mut wrong_count = 0;
    for element in &elements {
        let name = element.string(&mut wrong);
        match name.as_deref().map(EventType::from_name) {
            Some(Some(event_type)) if only.contains(&event_type) => {}
            Some(Some(event_type)) => only.push(event_type),
            Some(None) if name.as_deref() == Some("*") => all = true,
            Some(None) => {
                let names: Vec<&str> = EventType::ALL.iter().map(|known| known.as_str()).collect();
                wrong.add(element.pointer(), "unknown_event_type", format!("must be \"*\" or one of {}", list(&names)));
                wrong_count += 1;
            }
            None => wrong_count += 1,
        }
        if wrong_count >= MAX_FAULTS {
            break;
        }
    }
    faults.extend(wrong.into_inner());
    (wrong_count == 0).then_some(if all { Subscription::all_and(only) } else { Subscription::Only(only) })
}

fn options(field: &Field<'_>, faults: &mut Faults) -> Option<String> {
    field.open_object(&[], faults)?;
    let mut value = field.value(faults)?;
    value.sort_all_objects();
    let text = value.to_string();
    if text.len() > MAX_OPTIONS_BYTES {
        faults.add(field.pointer(), "too_long", format!("may have at most {MAX_OPTIONS_BYTES} bytes as compact JSON"));
        return None;
    }
    Some(text)
}

fn headers(field: &Field<'_>, faults: &mut Faults) -> Option<Vec<(String, Secret)>> {
    let members = field.members(faults)?;
    if members.len() > MAX_HEADERS {
        faults.add(
            field.pointer(),
            "too_many",
            format!("may have at most {MAX_HEADERS} headers, and has {}", members.len()),
        );
        return None;
    }
    let mut wrong = Faults::new();
    let (mut headers, mut seen, mut bytes) = (Vec::new(), HashSet::new(), 0);
    for (name, value) in members {
        if let Err(why) = crate::model::header::check_name(&name) {
            wrong.add(value.pointer(), "forbidden_header", format!("a header of this name cannot be set: it {why}"));
        } else if !seen.insert(name.to_ascii_lowercase()) {
            wrong.add(
                value.pointer(),
                "duplicate",
                "the same header is given twice; names are compared without regard to case",
            );
        }
        let Some(text) = value.string(&mut wrong) else { continue };
        if !crate::model::header::is_legal_value(&text) && text.len() <= MAX_HEADER_BYTES {
            let detail = "a header's value is printable ASCII, with spaces and tabs only between other characters";
            wrong.add(value.pointer(), "invalid", detail);
        }
        bytes += name.len() + text.len();
        headers.push((name, Secret::new(text)));
    }
    if bytes > MAX_HEADER_BYTES {
        wrong.add(
            field.pointer(),
            "too_long",
            format!("names and values may have {MAX_HEADER_BYTES} bytes together, and have {bytes}"),
        );
    }
    if wrong.is_empty() {
        return Some(headers);
    }
    faults.extend(wrong.into_inner());
    None
}

fn filter(field: &Field<'_>, faults: &mut Faults) -> Option<Filter> {
    let body = field.object(FILTER_FIELDS, &[], faults)?;
    Some(Filter {
        min_severity: body.get("min_severity").and_then(|field| severity(field, faults)),
        engagement_ids: engagement_ids(&body, faults),
        expression: body.get("expression").and_then(|field| field.bounded_string(EXPRESSION_CHARS, faults)),
    })
}

/// A rate limit, or null for none.
fn rate_limit(field: &Field<'_>, faults: &mut Faults) -> Option<Option<RateLimit>> {
    if field.is_null() {
        return Some(None);
    }
    let body = field.object(RATE_LIMIT_FIELDS, &[], faults)?;
    let count = body.require("count", faults).and_then(|field| field.integer(RATE_COUNT, faults));
    let per_seconds = body.require("per_seconds", faults).and_then(|field| field.integer(RATE_SECONDS, faults));
    Some(Some(RateLimit { count: count?, per_seconds: per_seconds? }))
}

fn order(field: &Field<'_>, faults: &mut Faults) -> Option<Order> {
    let text = field.string(faults)?;
    let order = Order::ALL.into_iter().find(|order| order.as_str() == text);
    if order.is_none() {
        let detail = format!("must be one of {}", list(&Order::ALL.map(Order::as_str)));
        faults.add(field.pointer(), "invalid", detail);
    }
    order
}

/// Names for TLS, or null for none.
fn tls(field: &Field<'_>, faults: &mut Faults) -> Option<TlsNames> {
    if field.is_null() {
        return Some(TlsNames::default());
    }
    let body = field.object(TLS_FIELDS, &[], faults)?;
    let mut name = |of| match body.get(of).filter(|field| !field.is_null()) {
        Some(field) => field.bounded_string(TLS_NAME_CHARS, faults).map(Some),
        None => Some(None),
    };
    let (ca, client_cert) = (name("ca"), name("client_cert"));
    Some(TlsNames { ca: ca?, client_cert: client_cert? })
}

/// Batching, or null for none.
fn batch(field: &Field<'_>, faults: &mut Faults) -> Option<Option<Batch>> {
    if field.is_null() {
        return Some(None);
    }
    let body = field.object(BATCH_FIELDS, &[], faults)?;
    let max_events = body.require("max_events", faults).and_then(|field| field.integer(BATCH_EVENTS, faults));
    let max_wait_ms = body.require("max_wait_ms", faults).and_then(|field| field.integer(BATCH_WAIT_MS, faults));
    Some(Some(Batch { max_events: max_events?, max_wait_ms: max_wait_ms? }))
}

/// A digest, or null for none.
fn digest(field: &Field<'_>, faults: &mut Faults) -> Option<Option<Digest>> {
    if field.is_null() {
        return Some(None);
    }
    let body = field.object(DIGEST_FIELDS, &[], faults)?;
    let window_seconds = body.require("window_seconds", faults).and_then(|field| field.integer(DIGEST_SECONDS, faults));
    let over = body.require("over", faults).and_then(|field| field.integer(DIGEST_OVER, faults));
    let bypass_severity = match body.get("bypass_severity").filter(|field| !field.is_null()) {
        Some(field) => Some(severity(field, faults)?),
        None => None,
    };
    Some(Some(Digest { window_seconds: window_seconds?, over: over?, bypass_severity }))
}

fn severity(field: &Field<'_>, faults: &mut Faults) -> Option<Severity> {
    let severity = Severity::from_word(&field.string(faults)?);
    if severity.is_none() {
        faults.add(
            field.pointer(),
            "invalid",
            format!("must be one of {}", list(&Severity::ALL.map(Severity::as_str))),
        );
    }
    severity
}

fn engagement_ids(filter: &Object<'_>, faults: &mut Faults) -> Option<Vec<String>> {
    let field = filter.get("engagement_ids")?;
    let elements = field.elements(faults)?;
    if elements.is_empty() {
        faults.add(field.pointer(), "empty", "must name at least one engagement; leave it out to take them all");
    }
    if elements.len() > MAX_ENGAGEMENT_IDS {
        faults.add(field.pointer(), "too_many", format!("may name at most {MAX_ENGAGEMENT_IDS} engagements"));
        return None;
    }
    let mut ids: Vec<String> = Vec::new();
    for element in &elements {
        match element.string(faults) {
            Some(id) if id.is_empty() => faults.add(element.pointer(), "empty", "must not be empty"),
            Some(id) if !ids.contains(&id) => ids.push(id),
            _ => {}
        }
    }
    Some(ids)
}

#[cfg(test)]
mod tests;
