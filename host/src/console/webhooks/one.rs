//! One webhook: how it does and why, its settings, its last attempts, and what an admin can do.

use askama::Template;
use serde::Deserialize;
use serde_json::Value;

use super::super::Answer;
use super::super::deliveries::{self, Named, Row};
use super::super::frame::Frame;
use super::super::show::{self, When, when};
use super::super::visit::{Failure, Visit};
use super::view::Webhook;

/// Attempts that are shown.
const ATTEMPTS: usize = 15;

/// A name and its value.
pub(super) struct Fact {
    pub(super) name: &'static str,
    pub(super) value: String,
}

#[derive(Template)]
#[template(path = "console/webhook.html")]
struct Page {
    frame: Frame,
    path: String,
    webhook: Webhook,
    state: &'static str,
    word: &'static str,
    why: String,
    next: Option<When>,
    probe: Option<When>,
    oldest: Option<When>,
    success: Option<When>,
    failure: Option<When>,
    settings: Vec<Fact>,
    options: String,
    attempts: Vec<Row>,
    /// True if the role sees how the webhook does.
    full: bool,
    types: Vec<String>,
    /// A day ago: what is recovered unless another time is named.
    day_ago: String,
}

/// `GET /console/webhooks/{id}`.
pub(crate) async fn page(visit: Visit) -> Answer {
    let id = visit.segment("id");
    let webhook: Webhook = visit.get(&format!("/webhooks/{id}")).await?;
    let full = visit.role().reads_everything();
    let attempts = if full { last_attempts(&visit, &webhook).await? } else { Vec::new() };
    let (now, (state, word)) = (visit.now(), webhook.state());
    let types = if visit.is_admin() { event_types(&visit).await? } else { Vec::new() };
    visit.page(&Page {
        frame: visit.frame(&webhook.name, "webhooks"),
        path: format!("/console/webhooks/{id}"),
        state,
        word,
        why: why(&webhook),
        next: when(webhook.next_attempt_at, now),
        probe: when(webhook.next_probe_at, now),
        oldest: when(webhook.oldest_waiting_at, now),
        success: when(webhook.last_success_at, now),
        failure: when(webhook.last_failure_at, now),
        settings: settings(&webhook),
        options: pretty(&webhook.format_options),
        attempts,
        full,
        types,
        day_ago: now.minus(std::time::Duration::from_secs(24 * 60 * 60)).to_string(),
        webhook,
    })
}

async fn last_attempts(visit: &Visit, webhook: &Webhook) -> Result<Vec<Row>, Failure> {
    let query = show::query([("webhook_id", webhook.id.as_str()), ("limit", &ATTEMPTS.to_string())]);
    let names = [Named { id: webhook.id.clone(), name: webhook.name.clone() }];
    Ok(deliveries::rows(visit, &query, &names, ATTEMPTS).await?.0)
}

/// The names of all event types but `*`.
pub(crate) async fn event_types(visit: &Visit) -> Result<Vec<String>, Failure> {
    #[derive(Deserialize)]
    struct Type {
        name: String,
    }
    let types: Vec<Type> = visit.get("/webhooks/event-types").await?;
    Ok(types.into_iter().map(|kind| kind.name).filter(|name| name != "*").collect())
}

/// The cause of a webhook's state, and what follows.
fn why(webhook: &Webhook) -> String {
    let held = show::count(webhook.held, "delivery is held", "deliveries are held");
    match (&webhook.disabled_reason, webhook.is_active) {
        (Some(reason), _) if webhook.held > 0 => format!("{reason}. {held}."),
        (Some(reason), _) => format!("{reason}."),
        (None, false) if webhook.held > 0 => format!("An admin switched it off. {held}."),
        (None, false) => "An admin switched it off.".to_owned(),
        (None, true) if webhook.held > 0 => format!("It is on, and {held}: recover sends what is held."),
        (None, true) if webhook.state().0 == "bad" => "The last attempt failed; the list below says why.".to_owned(),
        (None, true) if webhook.last_success_at.is_none() => "It has not delivered anything yet.".to_owned(),
        (None, true) => "The last attempt succeeded.".to_owned(),
    }
}

fn settings(webhook: &Webhook) -> Vec<Fact> {
    let mut facts = Vec::new();
    let mut fact = |name, value: String| {
        if !value.is_empty() {
            facts.push(Fact { name, value });
        }
    };
    fact("Destination", webhook.url.clone().unwrap_or_default());
    fact("Format", webhook.format.clone());
    fact("Event types", webhook.event_types.join(", "));
    fact("Filter", words(&webhook.filter));
    fact("Signed", if webhook.has_secret { "yes" } else { "no" }.to_owned());
    fact("Headers", webhook.header_names.join(", "));
    fact("Order", words(&webhook.order));
    fact("Rate limit", words(&webhook.rate_limit));
    fact("TLS", words(&webhook.tls));
    fact("Batch", words(&webhook.batch));
    fact("Digest", words(&webhook.digest));
    fact("Critical findings", if webhook.critical_once { "once".to_owned() } else { String::new() });
    fact("Retries", webhook.retry_count.map(|count| count.to_string()).unwrap_or_default());
    fact("Time limit", webhook.timeout_ms.map(|ms| format!("{ms} ms")).unwrap_or_default());
    fact("Created", webhook.created_at.to_string());
    fact("Changed", webhook.updated_at.map(|at| at.to_string()).unwrap_or_default());
    facts
}

/// A small value of JSON in words.
pub(super) fn words(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(words).collect::<Vec<_>>().join(", "),
        Value::Object(members) => {
            let parts = members.iter().filter(|(_, value)| !value.is_null());
            parts
                .map(|(name, value)| format!("{} {}", name.replace('_', " "), words(value)))
                .collect::<Vec<_>>()
                .join("; ")
        }
        other => other.to_string(),
    }
}

/// JSON over several lines; empty for an empty object.
pub(crate) fn pretty(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Object(members) if members.is_empty() => String::new(),
        other => serde_json::to_string_pretty(other).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_values_are_words() {
        let value = serde_json::json!({"min_severity": "high", "engagement_ids": ["a", "b"], "expression": null});
        assert_eq!(words(&value), "engagement ids a, b; min severity high");
        assert_eq!((words(&Value::Null), pretty(&serde_json::json!({}))), (String::new(), String::new()));
    }
}
