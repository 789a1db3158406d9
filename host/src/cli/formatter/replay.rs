//! `heraldry formatter replay`: a candidate over the last real deliveries of a host, before it goes live.

use std::collections::HashSet;
use std::path::Path;

use reqwest::Method;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::failure::Failure;
use super::super::terminal::{self, line, plural};
use super::client::{Api, segment};
use super::{ToolArgs, diff, load, parse_event, preview, runtime};
use crate::config::ClientArgs;
use crate::formatter::{Payload, Run};
use crate::model::event::Event;
use crate::model::url::{DeliveryUrl, TransportKind};

pub(super) const HELP: &str = "\
For each of the last deliveries of the format, the host renders the event as it would now, the component renders
it here, with the same options and the same host name, and the two are compared byte for byte. Nothing is sent.
Needs an admin token.

Exit codes: 0 nothing changes, 1 something does.";

/// Attempts of one page.
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

/// A delivery to look at: which event, for which webhook, when.
struct Delivery {
    at: String,
    event: String,
    options: String,
    transport_kind: TransportKind,
}

/// What the host would send now.
#[derive(Deserialize)]
struct Live {
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
        let error = anyhow::anyhow!("the host has no deliveries of the format {name}");
        return Err(Failure::failed(error, "--format names the format whose deliveries are replayed"));
    }
    let runtime = runtime.with_host_name(host_name(&api, &name).await?);
    let (mut same, mut changed, mut gone) = (0u64, 0u64, 0u64);
    for delivery in &deliveries {
        let Some(event) = fetch(&api, &delivery.event).await? else {
            gone += 1;
            continue;
        };
        let live = live(&api, &name, &event, &delivery.options, delivery.transport_kind).await?;
        let candidate = preview::text(&runtime.run(&loaded, &event, &delivery.options, delivery.transport_kind));
        if live == candidate {
            same += 1;
            continue;
        }
        changed += 1;
        let heading =
            format!("{} {} {}: the host (-), {} (+)", delivery.at, event.event_type.as_str(), event.id, file.display());
        diff::show(&heading, &live, &candidate)?;
    }
    let style = if changed == 0 { terminal::GOOD } else { terminal::WARN };
    line(format_args!(
        "{style}{} replayed: {same} the same, {changed} changed, {gone} not kept any more{style:#}",
        plural(deliveries.len() as u64, "delivery")
    ))?;
    if changed == 0 { Ok(()) } else { Err(Failure::already_said()) }
}

/// The last deliveries of the format, over all its webhooks, newest first, each event once for each set of options.
async fn deliveries(api: &Api, name: &str, last: usize) -> Result<Vec<Delivery>, Failure> {
    let webhooks: Vec<Webhook> = api.get("/webhooks").await?.parse()?;
    let mut found = Vec::new();
    for webhook in webhooks.into_iter().filter(|webhook| webhook.format == name) {
        let options = if webhook.format_options.is_null() { "{}".into() } else { webhook.format_options.to_string() };
        // A URL that this version does not know goes some way that it does not know either.
        let transport_kind =
            DeliveryUrl::parse(&webhook.url).map_or(TransportKind::Http, |url| url.scheme().transport_kind());
        let mut seen = HashSet::new();
        let mut before: Option<String> = None;
        while seen.len() < last {
            let mut query = vec![("limit", PAGE.to_string())];
            query.extend(before.take().map(|before| ("before", before)));
            let path = format!("/webhooks{}/deliveries", segment(&webhook.id));
            let request = api.request(Method::GET, &path).query(&query);
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

/// An event as the host has it; `None` when it is past its retention.
async fn fetch(api: &Api, id: &str) -> Result<Option<Event>, Failure> {
    #[derive(Deserialize)]
    struct Read<'a> {
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
    let answer = api.send(api.request(Method::GET, &format!("/events{}", segment(id)))).await;
    let answer = answer.map_err(|error| api.unreachable(error))?;
    if answer.status.as_u16() == 404 {
        return Ok(None);
    }
    if !answer.status.is_success() {
        return Err(answer.refusal());
    }
    let read: Read<'_> = answer.parse_borrowed()?;
    let engagement = read.engagement.map(|engagement| format!(r#""engagement":{engagement},"#)).unwrap_or_default();
    let json = format!(
        r#"{{"type":"{}","id":{},"occurred_at":{},{engagement}"data":{}}}"#,
        read.r#type, read.id, read.occurred_at, read.data
    );
    parse_event("the host's event", &json).map(Some)
}

/// What the host makes of an event now.
async fn live(
    api: &Api,
    name: &str,
    event: &Event,
    options: &str,
    transport_kind: TransportKind,
) -> Result<String, Failure> {
    let body = format!(r#"{{"event":{},"options":{options},"transport":"{}"}}"#, event.json, transport_kind.name());
    let answer = preview_of(api, name, body).await?;
    match answer.status.as_u16() {
        200 => {
            let live: Live = answer.parse()?;
            let body = match (live.body, live.body_base64) {
                (Some(text), _) => text.into_bytes(),
                (None, text) => {
                    use base64::Engine as _;
                    base64::engine::general_purpose::STANDARD.decode(text.unwrap_or_default()).unwrap_or_default()
                }
            };
            let headers = live.headers.into_iter().collect();
            let payload = Payload { content_type: live.content_type, headers, body: body.into() };
            Ok(preview::text(&Run { result: Ok(payload), ..Run::default() }))
        }
        // It makes nothing of this event, in its own words.
        422 => Ok(format!("error: {}\n", answer.detail())),
        _ => Err(answer.refusal()),
    }
}

async fn preview_of(api: &Api, name: &str, body: String) -> Result<super::client::Answer, Failure> {
    let path = format!("/formatters{}/preview", segment(name));
    let request = api.request(Method::POST, &path).header("content-type", "application/json").body(body);
    api.send(request).await.map_err(|error| api.unreachable(error))
}

/// What the host tells its formatters as its name.
async fn host_name(api: &Api, name: &str) -> Result<String, Failure> {
    let sample = crate::samples::plain(crate::model::event::EventType::FindingAdded);
    let json = sample.map(|event| event.json).unwrap_or_default();
    let answer = preview_of(api, name, format!(r#"{{"event":{json}}}"#)).await?;
    if answer.status.as_u16() == 404 {
        let error = anyhow::anyhow!("the host has no formatter named {name}");
        return Err(Failure::failed(error, "--format names the format whose deliveries are replayed"));
    }
    Ok(answer.parse::<Live>().map_or_else(|_| super::HOST_NAME.to_owned(), |live| live.context.host_name))
}
