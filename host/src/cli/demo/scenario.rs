//! The API calls of the demo.

use std::collections::HashSet;
use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;
use url::Url;

use crate::cli::client::{Api, deliveries_path, event_path};
use crate::cli::failure::Failure;
use crate::cli::receiver::Delivery;
use crate::cli::send::input;
use crate::cli::webhook::show::Attempt;
use crate::model::secret::Secret;
use crate::samples;

/// The sample whose deliveries are shown in full: it uses most features of a format.
const SHOWN_SAMPLE: &str = "finding_added";
/// Pause between two reads of an event's deliveries.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// Failed attempts shown per webhook.
const MAX_SHOWN_FAILURES: &str = "2";

#[derive(Deserialize)]
struct Formatter {
    name: String,
    origin: String,
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

/// The names of the built-in formats, sorted. Some are still being compiled: their deliveries wait for that.
pub(super) async fn built_in_formats(api: &Api) -> Result<Vec<String>, Failure> {
    let formatters: Vec<Formatter> = api.get("/formatters").await?.parse()?;
    let mut names: Vec<_> = formatters
        .into_iter()
        .filter(|formatter| formatter.origin == "built-in")
        .map(|formatter| formatter.name)
        .collect();
    names.sort();
    if names.is_empty() {
        let error = anyhow::anyhow!("the host has no built-in formatter");
        return Err(Failure::failed(error, "rebuild the program: the formatters are compiled into it"));
    }
    Ok(names)
}

/// Creates one signed webhook per format, for all event types; the URL's path is the format's name.
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

/// The format of the webhook that made a delivery.
pub(super) fn format_of(delivery: &Delivery) -> Option<&str> {
    delivery.path.strip_prefix('/')
}

/// The result of posting the samples.
pub(super) struct Posted {
    /// Number of deliveries to expect.
    pub(super) deliveries: u64,
    /// Ids of the deliveries of [`SHOWN_SAMPLE`].
    pub(super) shown: HashSet<String>,
}

/// Posts the samples one by one, each with an event id.
pub(super) async fn post_samples(api: &Api) -> Result<Posted, Failure> {
    let mut posted = Posted { deliveries: 0, shown: HashSet::new() };
    let mut events = Vec::new();
    for sample in samples::posted() {
        let event = input::with_id(sample.json.trim()).unwrap_or_else(|_| sample.json.to_owned());
        let receipt: Receipt = api.send_json(Method::POST, "/events", event).await?.parse()?;
        posted.deliveries += receipt.deliveries;
        events.extend(receipt.derived);
        events.push(receipt.id.clone());
        if sample.name == SHOWN_SAMPLE {
            let event: Event = api.get(&event_path(&receipt.id)).await?.parse()?;
            posted.shown.extend(event.deliveries.into_iter().map(|delivery| delivery.id));
        }
    }
    // Not every format supports every event type.
    for id in events {
        posted.deliveries -= skipped(api, &id).await?;
    }
    Ok(posted)
}

/// Waits until no delivery of an event is pending, and returns how many were skipped.
async fn skipped(api: &Api, id: &str) -> Result<u64, Failure> {
    loop {
        let event: Event = api.get(&event_path(id)).await?.parse()?;
        if event.deliveries.iter().all(|delivery| delivery.status != "pending") {
            return Ok(event.deliveries.iter().filter(|delivery| delivery.status == "skipped").count() as u64);
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Errors of failed attempts from the webhooks' histories, a line each.
pub(super) async fn failures(api: &Api, webhooks: &[String]) -> Vec<String> {
    let mut reasons = Vec::new();
    for id in webhooks {
        let request = api
            .request(Method::GET, &deliveries_path(id))
            .query(&[("success", "false"), ("limit", MAX_SHOWN_FAILURES)]);
        let Ok(response) = api.call(request).await else { continue };
        let Ok(attempts) = response.parse::<Vec<Attempt>>() else { continue };
        reasons.extend(attempts.into_iter().filter_map(|attempt| attempt.error));
    }
    reasons
}
