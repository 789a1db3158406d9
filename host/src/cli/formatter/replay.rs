//! `heraldry formatter replay`: compares a candidate with the formatter in use, over real deliveries of a host.

use std::collections::HashSet;
use std::path::Path;

use reqwest::Method;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::failure::Failure;
use super::super::terminal::{self, line, plural};
use super::client::{Api, deliveries_path, event_path, segment};
use super::{ToolArgs, diff, load, parse_event, preview, runtime};
use crate::config::ClientArgs;
use crate::formatter::{Payload, Run};
use crate::model::event::Event;
use crate::model::url::{DeliveryUrl, TransportKind};

pub(super) const HELP: &str = "\
For each of the last deliveries of the format, the host renders the event with its current formatter and this command \
renders it with the component, with the same options and host name; the outputs are compared byte for byte. Nothing \
is sent. Needs an admin token.

Exit codes: 0 all outputs are identical, 1 at least one differs.";

/// Attempts per page of the history.
const PAGE: usize = 200;

#[derive(Deserialize)]
struct Webhook {
    id: String,
    format: String,
    url: String,
    #[serde(default)]
    format_options: serde_json::Value,
}

#[derive(Deserialize)]
struct Attempt {
    id: String,
    event_id: Option<String>,
    created_at: String,
}

/// A past delivery to render again.
struct Delivery {
    at: String,
    event: String,
    options: String,
    transport_kind: TransportKind,
}

/// The payload that the host renders now (response of the preview API).
#[derive(Deserialize)]
struct RenderCache {
    content_type: String,
    headers: std::collections::BTreeMap<String, String>,
    body: Option<String>,
    body_base64: Option<String>,
    context: Context,
}

#[derive(Deserialize)]
struct Context {
    host_name: String,
}

pub(super) async fn run(
    file: &Path,
    last: usize,
    format: Option<&str>,
    client: &ClientArgs,
    tool: &ToolArgs,
) -> Result<(), Failure> {
    let api = Api::new(client)?;
    let runtime = runtime(tool)?;
    let loaded = load(&runtime, file)?;
    let name = format.map_or_else(|| loaded.manifest.name.clone(), str::to_owned);
    let deliveries = deliveries(&api, &name, last.clamp(1, 10_000)).await?;
    if deliveries.is_empty() {
        let error = anyhow::anyhow!("the host has no past deliveries in the format {name}");
        return Err(Failure::failed(error, "name the format whose deliveries are replayed with --format"));
    }
    let runtime = runtime.with_host_name(host_name(&api, &name).await?);
    let (mut same, mut changed, mut expired) = (0u64, 0u64, 0u64);
    for delivery in &deliveries {
        let Some(event) = fetch(&api, &delivery.event).await? else {
            expired += 1;
            continue;
        };
        let current = render_on_host(&api, &name, &event, &delivery.options, delivery.transport_kind).await?;
        let candidate = preview::text(&runtime.run(&loaded, &event, &delivery.options, delivery.transport_kind));
        if current == candidate {
            same += 1;
            continue;
        }
        changed += 1;
        let heading =
            format!("{} {} {}: the host (-), {} (+)", delivery.at, event.event_type.as_str(), event.id, file.display());
        diff::show(&heading, &current, &candidate)?;
    }
    let style = if changed == 0 { terminal::GOOD } else { terminal::WARN };
    line(format_args!(
        "{style}{} replayed: {same} unchanged, {changed} changed, {expired} past retention{style:#}",
        plural(deliveries.len() as u64, "delivery")
    ))?;
    if changed == 0 { Ok(()) } else { Err(Failure::already_printed()) }
}

/// The last deliveries in the format, over all webhooks, newest first; each event once per webhook.
async fn deliveries(api: &Api, name: &str, last: usize) -> Result<Vec<Delivery>, Failure> {
    let webhooks: Vec<Webhook> = api.get("/webhooks").await?.parse()?;
    let mut found = Vec::new();
    for webhook in webhooks.into_iter().filter(|webhook| webhook.format == name) {
        let options = if webhook.format_options.is_null() { "{}".into() } else { webhook.format_options.to_string() };
        // A scheme that this version does not know is treated as HTTP.
        let transport_kind =
            DeliveryUrl::parse(&webhook.url).map_or(TransportKind::Http, |url| url.scheme().transport_kind());
        let mut seen = HashSet::new();
        let mut before: Option<String> = None;
        while seen.len() < last {
            let mut query = vec![("limit", PAGE.to_string())];
            query.extend(before.take().map(|before| ("before", before)));
            let request = api.request(Method::GET, &deliveries_path(&webhook.id)).query(&query);
            let page: Vec<Attempt> = api.call(request).await?.parse()?;
            let Some(oldest) = page.last() else { break };
            before = Some(oldest.id.clone());
            let whole = page.len() == PAGE;
            for attempt in page {
                if let Some(event) = attempt.event_id.filter(|event| seen.len() < last && seen.insert(event.clone())) {
                    found.push(Delivery { at: attempt.created_at, event, options: options.clone(), transport_kind });
                }
            }
            if !whole {
                break;
            }
        }
    }
    found.sort_by(|a, b| b.at.cmp(&a.at));
    found.truncate(last);
    Ok(found)
}

/// Reads an event from the host; `None` if it is past its retention.
async fn fetch(api: &Api, id: &str) -> Result<Option<Event>, Failure> {
    #[derive(Deserialize)]
    struct StoredEvent<'a> {
        #[serde(borrow)]
        id: &'a RawValue,
        r#type: String,
        #[serde(borrow)]
        occurred_at: &'a RawValue,
        #[serde(borrow)]
        engagement: Option<&'a RawValue>,
        #[serde(borrow)]
        data: &'a RawValue,
    }
    let response = api.send(api.request(Method::GET, &event_path(id))).await;
    let response = response.map_err(|error| api.unreachable(error))?;
    if response.status.as_u16() == 404 {
        return Ok(None);
    }
    if !response.status.is_success() {
        return Err(response.rejection());
    }
    let read: StoredEvent<'_> = response.parse_borrowed()?;
    let engagement = read.engagement.map(|engagement| format!(r#""engagement":{engagement},"#)).unwrap_or_default();
    let json = format!(
        r#"{{"type":"{}","id":{},"occurred_at":{},{engagement}"data":{}}}"#,
        read.r#type, read.id, read.occurred_at, read.data
    );
    parse_event("the host's event", &json).map(Some)
}

/// The host's rendering of an event with its current formatter, or its error, as text.
async fn render_on_host(
    api: &Api,
    name: &str,
    event: &Event,
    options: &str,
    transport_kind: TransportKind,
) -> Result<String, Failure> {
    let body = format!(r#"{{"event":{},"options":{options},"transport":"{}"}}"#, event.json, transport_kind.name());
    let response = preview_of(api, name, body).await?;
    match response.status.as_u16() {
        200 => {
            let current: RenderCache = response.parse()?;
            let body = match (current.body, current.body_base64) {
                (Some(text), _) => text.into_bytes(),
                (None, text) => {
                    use base64::Engine as _;
                    base64::engine::general_purpose::STANDARD.decode(text.unwrap_or_default()).unwrap_or_default()
                }
            };
            let headers = current.headers.into_iter().collect();
            let payload = Payload { content_type: current.content_type, headers, body: body.into() };
            Ok(preview::text(&Run { result: Ok(payload), ..Run::default() }))
        }
        // The formatter does not support the event; `detail` is its own message.
        422 => Ok(format!("error: {}\n", response.detail())),
        _ => Err(response.rejection()),
    }
}

async fn preview_of(api: &Api, name: &str, body: String) -> Result<super::client::Response, Failure> {
    let path = format!("/formatters{}/preview", segment(name));
    let request = api.request(Method::POST, &path).header("content-type", "application/json").body(body);
    api.send(request).await.map_err(|error| api.unreachable(error))
}

/// The host name that the host passes to its formatters.
async fn host_name(api: &Api, name: &str) -> Result<String, Failure> {
    let sample = crate::samples::plain(crate::model::event::EventType::FindingAdded);
    let json = sample.map(|event| event.json).unwrap_or_default();
    let response = preview_of(api, name, format!(r#"{{"event":{json}}}"#)).await?;
    if response.status.as_u16() == 404 {
        let error = anyhow::anyhow!("the host has no formatter named {name}");
        return Err(Failure::failed(error, "name the format whose deliveries are replayed with --format"));
    }
    Ok(response
        .parse::<RenderCache>()
        .map_or_else(|_| super::HOST_NAME.to_owned(), |current| current.context.host_name))
}
