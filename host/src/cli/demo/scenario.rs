//! What the demo asks of its host, all of it over the API.

use std::collections::HashSet;
use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;
use url::Url;

use crate::cli::client::{Api, segment};
use crate::cli::failure::Failure;
use crate::cli::receiver::Delivery;
use crate::cli::send::input;
use crate::cli::webhook::show::Attempt;
use crate::model::secret::Secret;
use crate::samples;

/// The sample whose deliveries are shown in full.
const SHOWN: &str = "finding_added";
/// Between two looks at what became of an event.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Failures that are shown for each webhook.
const SHOWN_FAILURES: &str = "2";

#[derive(Deserialize)]
struct Formatter {
    name: String,
    origin: String,
    state: String,
}

#[derive(Deserialize)]
struct Created {
    id: String,
}

#[derive(Deserialize)]
struct Receipt {
    id: String,
    deliveries: u64,
    derived: Vec<String>,
}

#[derive(Deserialize)]
struct Event {
    deliveries: Vec<Delivered>,
}

#[derive(Deserialize)]
struct Delivered {
    id: String,
    status: String,
}

/// The names of the formats that the program brings, in order.
pub(super) async fn built_in_formats(api: &Api) -> Result<Vec<String>, Failure> {
    let formatters: Vec<Formatter> = api.get("/formatters").await?.parse()?;
    let mut names: Vec<_> = formatters
        .into_iter()
        .filter(|formatter| formatter.origin == "built-in" && formatter.state == "ready")
        .map(|formatter| formatter.name)
        .collect();
    names.sort();
    if names.is_empty() {
        let error = anyhow::anyhow!("the host has no built-in format");
        return Err(Failure::failed(error, "build it again: its formatters are part of the program"));
    }
    Ok(names)
}

/// One signed webhook a format, for every event type; the path tells them apart.
pub(super) async fn create_webhooks(
    api: &Api,
    formats: &[String],
    destination: &Url,
    secret: &Secret,
) -> Result<Vec<String>, Failure> {
    let mut ids = Vec::new();
    for format in formats {
        let mut url = destination.clone();
        url.set_path(format);
        let body = serde_json::json!({
            "name": format!("demo {format}"),
            "url": url.as_str(),
            "format": format,
            "event_types": ["*"],
            "secret": secret.expose(),
        });
        let created: Created = api.send_json(Method::POST, "/webhooks", body.to_string()).await?.parse()?;
        ids.push(created.id);
    }
    Ok(ids)
}

/// The format whose webhook a delivery came from.
pub(super) fn format_of(delivery: &Delivery) -> Option<&str> {
    delivery.path.strip_prefix('/')
}

/// What posting the samples came to.
pub(super) struct Posted {
    /// The deliveries that they make.
    pub(super) deliveries: u64,
    /// The ids of those of the plain finding, which show most of a format.
    pub(super) shown: HashSet<String>,
}

/// Posts the samples one by one, each with an id.
pub(super) async fn post_samples(api: &Api) -> Result<Posted, Failure> {
    let mut posted = Posted { deliveries: 0, shown: HashSet::new() };
    let mut events = Vec::new();
    for sample in samples::posted() {
        let event = input::with_id(sample.json.trim()).unwrap_or_else(|_| sample.json.to_owned());
        let receipt: Receipt = api.send_json(Method::POST, "/events", event).await?.parse()?;
        posted.deliveries += receipt.deliveries;
        events.extend(receipt.derived);
        events.push(receipt.id.clone());
        if sample.name == SHOWN {
            let event: Event = api.get(&format!("/events{}", segment(&receipt.id))).await?.parse()?;
            posted.shown.extend(event.deliveries.into_iter().map(|delivery| delivery.id));
        }
    }
    // A format need not have a message for every event type.
    for id in events {
        posted.deliveries -= skipped(api, &id).await?;
    }
    Ok(posted)
}

/// How many deliveries of an event were skipped, once all of them have ended.
async fn skipped(api: &Api, id: &str) -> Result<u64, Failure> {
    loop {
        let event: Event = api.get(&format!("/events{}", segment(id))).await?.parse()?;
        if event.deliveries.iter().all(|delivery| delivery.status != "pending") {
            return Ok(event.deliveries.iter().filter(|delivery| delivery.status == "skipped").count() as u64);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Why attempts failed, a line each, as far as the history says.
pub(super) async fn failures(api: &Api, webhooks: &[String]) -> Vec<String> {
    let mut reasons = Vec::new();
    for id in webhooks {
        let path = format!("/webhooks{}/deliveries", segment(id));
        let request = api.request(Method::GET, &path).query(&[("success", "false"), ("limit", SHOWN_FAILURES)]);
        let Ok(answer) = api.call(request).await else { continue };
        let Ok(attempts) = answer.parse::<Vec<Attempt>>() else { continue };
        reasons.extend(attempts.into_iter().filter_map(|attempt| attempt.error));
    }
    reasons
}
