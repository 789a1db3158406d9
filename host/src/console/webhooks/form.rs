//! The form of a webhook. It sends the API what was typed, and shows the API's words at the fields.

use std::collections::BTreeSet;

use askama::Template;
use http::header::{CONTENT_TYPE, IF_MATCH};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::Answer;
use super::super::frame::{self, Frame};
use super::super::show;
use super::super::visit::{Failure, FieldError, Fields, Visit, read};
use super::actions::SecretPage;
use super::one::{event_types, pretty};
use super::view::Webhook;
use crate::model::webhook::input::DEFAULT_FORMAT;

/// One part of the form.
struct Section {
    title: &'static str,
    inputs: Vec<Input>,
}

/// One field with its label.
struct Input {
    name: &'static str,
    label: &'static str,
    hint: &'static str,
    kind: Kind,
    value: String,
    /// The API's words about it.
    faults: Vec<String>,
}

/// How a field is filled in.
enum Kind {
    Line(&'static str),
    Lines,
    /// One of several: value, words, chosen.
    One(Vec<(String, String, bool)>),
    /// Any of several: value, chosen.
    Any(Vec<(String, bool)>),
}

/// An error in the summary: the field's id, its label, the words.
struct Summary {
    id: &'static str,
    label: &'static str,
    detail: String,
}

#[derive(Template)]
#[template(path = "console/webhook_form.html")]
struct FormPage {
    frame: Frame,
    action: String,
    back: String,
    submit: &'static str,
    etag: String,
    sections: Vec<Section>,
    summary: Vec<Summary>,
    others: Vec<FieldError>,
}

/// Fields: name, label, hint. The name's part before the dot is the member of the API's body.
const WHERE: &[(&str, &str, &str)] = &[
    ("name", "Name", "For people, 1 to 200 characters"),
    ("url", "Destination", "https://, http://, or syslog+tls://, syslog+tcp://, syslog+udp:// with host and port"),
    ("secret", "Signature", "Deliveries are signed with a secret that the destination knows"),
    (
        "headers",
        "Additional headers",
        "One a line, as in `Authorization: Bearer ...`. Values are never shown again; empty keeps those that are set",
    ),
    ("tls.ca", "CA bundle", "A name of --tls-ca; empty for the system's"),
    ("tls.client_cert", "Client certificate", "A name of --tls-client-cert; empty for none"),
];
const WHAT: &[(&str, &str, &str)] = &[
    ("event_types", "Event types", "`*` is all but host events"),
    ("filter.min_severity", "Lowest severity", "Events without a severity pass"),
    (
        "filter.engagement_ids",
        "Engagements",
        "Ids, one a line; empty for all. Events without an engagement do not pass",
    ),
    ("filter.expression", "Expression", "In CEL, as in `severity >= HIGH && has(finding.cvss)`; empty for none"),
    ("critical_once", "A critical finding", "Comes as finding_added and as critical_finding"),
];
const HOW: &[(&str, &str, &str)] = &[
    ("format", "Format", "The formatter that makes the messages"),
    ("format_options", "Options of the format", "A JSON object; empty for none. The formatter's page has their schema"),
    ("order", "Order", "Of what waits"),
    ("rate_limit.count", "Rate limit: attempts", "Empty for no limit"),
    ("rate_limit.per_seconds", "Rate limit: seconds", "The period of the limit"),
    ("batch.max_events", "Batch: events", "Several events in one request; empty for one each"),
    ("batch.max_wait_ms", "Batch: wait in ms", "How long a batch waits to be full"),
    (
        "digest.window_seconds",
        "Digest: seconds",
        "What this long collects becomes one message; empty for each event on its own",
    ),
    ("digest.over", "Digest: over", "Only if more events than this are collected"),
    ("digest.bypass_severity", "Digest: not from this severity on", "Those are sent at once"),
    ("retry_count", "Retries", "After the first attempt, 0 to 10"),
    ("timeout_ms", "Time limit", "Of one attempt, in milliseconds, 1000 to 30000"),
    ("is_active", "Deliveries", "Held ones wait until they are recovered"),
];
const SEVERITIES: &[&str] = &["info", "low", "medium", "high", "critical"];
/// Names of members that are whole numbers.
const NUMBERS: &[&str] =
    &["count", "per_seconds", "max_events", "max_wait_ms", "window_seconds", "over", "retry_count", "timeout_ms"];

/// `GET /console/webhooks/new`.
pub(crate) async fn new_page(visit: Visit) -> Answer {
    let mut fields = Fields::default();
    for (name, value) in [
        ("secret", "generate"),
        ("is_active", "true"),
        ("order", "arrival"),
        ("format", DEFAULT_FORMAT),
        ("event_types", "*"),
    ] {
        fields.push(name, value);
    }
    let page = page(&visit, &Target::New, &fields, "", &[]).await?;
    visit.page(&page)
}

/// `GET /console/webhooks/{id}/edit`.
pub(crate) async fn edit_page(visit: Visit) -> Answer {
    let id = visit.segment("id");
    let reply = visit.call(Method::GET, &format!("/webhooks/{id}"), None).await?;
    // As it is stored: marks in a field would be saved.
    let webhook: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    let etag = reply.etag().unwrap_or_default().to_owned();
    let page = page(&visit, &Target::Existing(id), &filled(&webhook), &etag, &[]).await?;
    visit.page(&page)
}

/// `POST /console/webhooks/new`.
pub(crate) async fn create(visit: Visit) -> Answer {
    save(visit, Target::New).await
}

/// `POST /console/webhooks/{id}/edit`.
pub(crate) async fn update(visit: Visit) -> Answer {
    let id = visit.segment("id");
    save(visit, Target::Existing(id)).await
}

/// What the form is for.
enum Target {
    New,
    Existing(String),
}

impl Target {
    fn is_new(&self) -> bool {
        matches!(self, Self::New)
    }
}

async fn save(visit: Visit, target: Target) -> Answer {
    #[derive(Deserialize)]
    struct Secret {
        secret: Option<String>,
    }
    let etag = visit.form.get("etag").to_owned();
    let sent = match body(&visit.form, target.is_new()) {
        Ok(body) => send(&visit, &target, &etag, &body).await,
        Err(failure) => Err(failure),
    };
    let reply = match sent {
        Ok(reply) => reply,
        Err(failure) if !failure.errors.is_empty() => {
            let page = page(&visit, &target, &visit.form, &etag, &failure.errors).await?;
            return Ok(frame::html(failure.status, &page));
        }
        Err(failure) => return Err(failure),
    };
    let webhook: Webhook = read(&reply)?;
    let path = format!("/console/webhooks/{}", show::segment(&webhook.id));
    match read::<Secret>(&reply)?.secret {
        Some(secret) => {
            visit.page(&SecretPage { frame: visit.frame("New secret", "webhooks"), path, secret, until: None })
        }
        None => visit.see(&path, if target.is_new() { "created" } else { "saved" }),
    }
}

async fn send(visit: &Visit, target: &Target, etag: &str, body: &Value) -> Result<crate::api::Reply, Failure> {
    let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
    let (method, path) = match target {
        Target::New => (Method::POST, "/webhooks".to_owned()),
        Target::Existing(id) => {
            if let Some(etag) = HeaderValue::from_str(etag).ok().filter(|etag| !etag.is_empty()) {
                headers.insert(IF_MATCH, etag);
            }
            (Method::PUT, format!("/webhooks/{id}"))
        }
    };
    visit.call_with(method, &path, headers, body.to_string().into()).await
}

/// The body that the API gets for a form.
///
/// # Errors
/// What cannot be said in JSON, at its field.
fn body(form: &Fields, is_new: bool) -> Result<Value, Failure> {
    let (mut body, mut errors) = (Map::new(), Vec::new());
    for name in ["name", "url", "format", "order"] {
        body.insert(name.to_owned(), json!(form.get(name).trim()));
    }
    body.insert("event_types".to_owned(), json!(form.all("event_types")));
    body.insert("critical_once".to_owned(), json!(form.get("critical_once") == "true"));
    body.insert("is_active".to_owned(), json!(form.get("is_active") == "true"));
    for name in ["retry_count", "timeout_ms"] {
        if !form.get(name).trim().is_empty() {
            body.insert(name.to_owned(), scalar(name, form.get(name)));
        }
    }
    body.insert("filter".to_owned(), filter(form));
    for (name, members) in [
        ("rate_limit", &["count", "per_seconds"][..]),
        ("batch", &["max_events", "max_wait_ms"]),
        ("digest", &["window_seconds", "over", "bypass_severity"]),
        ("tls", &["ca", "client_cert"]),
    ] {
        let given = members.iter().filter_map(|member| {
            let text = form.get(&format!("{name}.{member}")).trim();
            (!text.is_empty()).then(|| ((*member).to_owned(), scalar(member, text)))
        });
        let given: Map<String, Value> = given.collect();
        body.insert(name.to_owned(), if given.is_empty() { Value::Null } else { Value::Object(given) });
    }
    match form.get("format_options").trim() {
        "" => body.insert("format_options".to_owned(), json!({})),
        text => match serde_json::from_str::<Value>(text) {
            Ok(options) => body.insert("format_options".to_owned(), options),
            Err(error) => {
                errors.push(FieldError {
                    pointer: "/format_options".to_owned(),
                    detail: format!("is not JSON: {error}"),
                });
                None
            }
        },
    };
    headers(form, &mut body, &mut errors);
    match form.get("secret") {
        "generate" => drop(body.insert("generate_secret".to_owned(), json!(true))),
        "none" if !is_new => drop(body.insert("secret".to_owned(), Value::Null)),
        _ => {}
    }
    if errors.is_empty() {
        return Ok(Value::Object(body));
    }
    Err(Failure { status: StatusCode::UNPROCESSABLE_ENTITY, detail: "Some fields cannot be used".to_owned(), errors })
}

fn filter(form: &Fields) -> Value {
    let mut filter = Map::new();
    for name in ["min_severity", "expression"] {
        let text = form.get(&format!("filter.{name}")).trim();
        if !text.is_empty() {
            filter.insert(name.to_owned(), json!(text));
        }
    }
    let ids = form.get("filter.engagement_ids").lines().map(str::trim).filter(|id| !id.is_empty());
    let ids: Vec<_> = ids.collect();
    if !ids.is_empty() {
        filter.insert("engagement_ids".to_owned(), json!(ids));
    }
    Value::Object(filter)
}

fn headers(form: &Fields, body: &mut Map<String, Value>, errors: &mut Vec<FieldError>) {
    let mut headers = Map::new();
    for line in form.get("headers").lines().map(str::trim).filter(|line| !line.is_empty()) {
        match line.split_once(':') {
            Some((name, value)) => drop(headers.insert(name.trim().to_owned(), json!(value.trim()))),
            None => errors.push(FieldError {
                pointer: "/headers".to_owned(),
                detail: "each line must be a name, a colon and a value".to_owned(),
            }),
        }
    }
    if !headers.is_empty() {
        body.insert("headers".to_owned(), Value::Object(headers));
    }
}

/// A number where one is expected and typed, else the text: the API says what is wrong with it.
fn scalar(name: &str, text: &str) -> Value {
    let text = text.trim();
    match text.parse::<u64>() {
        Ok(number) if NUMBERS.contains(&name) => json!(number),
        _ => json!(text),
    }
}

/// The form's fields for a webhook as it is stored.
fn filled(webhook: &Value) -> Fields {
    let mut fields = Fields::default();
    for (name, ..) in WHERE.iter().chain(WHAT).chain(HOW) {
        let value = name.split('.').fold(webhook, |value, member| &value[member]);
        match (*name, value) {
            (_, Value::Null) => {}
            ("format_options", options) => fields.push(name, &pretty(options)),
            ("event_types", Value::Array(types)) => {
                types.iter().filter_map(Value::as_str).for_each(|kind| fields.push(name, kind));
            }
            (_, Value::Array(items)) => {
                let items: Vec<_> = items.iter().filter_map(Value::as_str).collect();
                fields.push(name, &items.join("\n"));
            }
            (_, Value::String(text)) => fields.push(name, text),
            (_, other) => fields.push(name, &other.to_string()),
        }
    }
    fields.push("secret", "keep");
    fields
}

async fn page(
    visit: &Visit,
    target: &Target,
    fields: &Fields,
    etag: &str,
    errors: &[FieldError],
) -> Result<FormPage, Failure> {
    #[derive(Deserialize)]
    struct Formatter {
        name: String,
    }
    let (types, formatters) = (event_types(visit).await?, visit.get::<Vec<Formatter>>("/formatters").await?);
    let formats: BTreeSet<String> = formatters.into_iter().map(|formatter| formatter.name).collect();
    let mut summary = Vec::new();
    let mut section = |title, rows: &[(&'static str, &'static str, &'static str)]| {
        let inputs = rows.iter().map(|&(name, label, hint)| {
            let own = errors.iter().filter(|error| field_of(&error.pointer) == Some(name));
            let faults: Vec<String> = own.map(|error| show::visible(&error.detail)).collect();
            for detail in &faults {
                summary.push(Summary { id: name, label, detail: detail.clone() });
            }
            let kind = kind(name, fields, target.is_new(), &types, &formats);
            Input { name, label, hint, kind, value: fields.get(name).to_owned(), faults }
        });
        Section { title, inputs: inputs.collect() }
    };
    let sections = vec![section("Where to", WHERE), section("What", WHAT), section("How", HOW)];
    let others = errors.iter().filter(|error| field_of(&error.pointer).is_none());
    let (title, submit) = if target.is_new() { ("New webhook", "Create") } else { ("Change a webhook", "Save") };
    let back = match target {
        Target::New => "/console/webhooks".to_owned(),
        Target::Existing(id) => format!("/console/webhooks/{id}"),
    };
    Ok(FormPage {
        frame: visit.frame(title, "webhooks"),
        action: format!("{back}/{}", if target.is_new() { "new" } else { "edit" }),
        back,
        submit,
        etag: etag.to_owned(),
        sections,
        others: others.cloned().collect(),
        summary,
    })
}

/// The field that an error of the API is about.
fn field_of(pointer: &str) -> Option<&'static str> {
    let path = pointer.trim_start_matches('/').replace('/', ".");
    let names = || WHERE.iter().chain(WHAT).chain(HOW).map(|(name, ..)| *name);
    let inside = |whole: &str, part: &str| whole == part || whole.starts_with(&format!("{part}."));
    if path.is_empty() {
        return None;
    }
    names()
        .find(|name| inside(&path, name))
        .or_else(|| names().find(|name| inside(name, &path)))
        .or_else(|| (path == "generate_secret").then_some("secret"))
}

fn kind(name: &str, fields: &Fields, is_new: bool, types: &[String], formats: &BTreeSet<String>) -> Kind {
    let chosen = fields.get(name);
    let one = |choices: &[(&str, &str)]| {
        let choice = |(value, words): &(&str, &str)| ((*value).to_owned(), (*words).to_owned(), *value == chosen);
        Kind::One(choices.iter().map(choice).collect())
    };
    match name {
        "url" => Kind::Line("url"),
        "headers" | "format_options" | "filter.engagement_ids" | "filter.expression" => Kind::Lines,
        "secret" if is_new => one(&[("generate", "Generate a secret, shown once"), ("none", "Not signed")]),
        "secret" => one(&[
            ("keep", "Keep as it is"),
            ("generate", "Generate another secret, shown once; the old one ends at once"),
            ("none", "Not signed"),
        ]),
        "order" => one(&[
            ("arrival", "As it came"),
            ("severity", "The most severe first"),
            ("strict", "Strictly one after the other"),
        ]),
        "critical_once" => one(&[("false", "Both, where both are subscribed"), ("true", "Once")]),
        "is_active" => one(&[("true", "Sent"), ("false", "Held")]),
        "filter.min_severity" | "digest.bypass_severity" => {
            let mut choices = vec![("", "any")];
            choices.extend(SEVERITIES.iter().map(|severity| (*severity, *severity)));
            if name == "digest.bypass_severity" {
                choices[0].1 = "none";
            }
            one(&choices)
        }
        "format" => {
            let mut names: BTreeSet<&str> = formats.iter().map(String::as_str).collect();
            names.insert(chosen);
            let choices: Vec<_> = names.into_iter().filter(|name| !name.is_empty()).map(|name| (name, name)).collect();
            one(&choices)
        }
        "event_types" => {
            let chosen = fields.all(name);
            let all = std::iter::once("*").chain(types.iter().map(String::as_str));
            Kind::Any(all.map(|kind| (kind.to_owned(), chosen.contains(&kind))).collect())
        }
        _ => Kind::Line("text"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_says_what_a_client_would() {
        let form = Fields::parse(
            b"name=+ops+&url=https%3A%2F%2Fa.example&format=json&order=strict&event_types=*&is_active=true&secret=generate\
              &rate_limit.count=10&rate_limit.per_seconds=x&headers=A%3A+b%0D%0AC%3Ad&filter.engagement_ids=e1%0D%0A%0D%0Ae2\
              &format_options=%7B%22a%22%3A1%7D&retry_count=3",
        );
        let expected = json!({
            "name": "ops", "url": "https://a.example", "format": "json", "order": "strict", "event_types": ["*"],
            "is_active": true, "critical_once": false, "generate_secret": true, "retry_count": 3,
            "rate_limit": {"count": 10, "per_seconds": "x"}, "batch": null, "digest": null, "tls": null,
            "headers": {"A": "b", "C": "d"}, "filter": {"engagement_ids": ["e1", "e2"]}, "format_options": {"a": 1},
        });
        assert_eq!(body(&form, true).expect("a body"), expected);
        let broken = body(&Fields::parse(b"format_options=%7B&headers=a"), true).expect_err("not JSON");
        let pointers: Vec<_> = broken.errors.iter().map(|error| error.pointer.as_str()).collect();
        assert_eq!(pointers, ["/format_options", "/headers"]);
    }

    #[test]
    fn an_unchanged_form_changes_nothing() {
        let webhook = json!({
            "name": "ops", "url": "https://a.example/", "format": "json", "order": "arrival", "event_types": ["*"],
            "is_active": true, "critical_once": true, "retry_count": 3, "timeout_ms": 1000,
            "rate_limit": {"count": 10, "per_seconds": 1}, "batch": null, "digest": null, "tls": {"ca": "own"},
            "filter": {"engagement_ids": ["e1", "e2"], "min_severity": "high"}, "format_options": {"a": [1]},
        });
        assert_eq!(body(&filled(&webhook), false).expect("a body"), webhook);
    }

    #[test]
    fn an_error_is_shown_at_its_field() {
        for (pointer, field) in [
            ("/name", Some("name")),
            ("/filter/expression", Some("filter.expression")),
            ("/rate_limit", Some("rate_limit.count")),
            ("/format_options/channel", Some("format_options")),
            ("/event_types/3", Some("event_types")),
            ("/generate_secret", Some("secret")),
            ("", None),
            ("/other", None),
        ] {
            assert_eq!(field_of(pointer), field, "{pointer}");
        }
    }
}
