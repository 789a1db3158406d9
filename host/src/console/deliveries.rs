//! The attempts of all webhooks.

use askama::Template;
use serde::Deserialize;

use super::Answer;
use super::frame::Frame;
use super::show::{self, When, when};
use super::visit::{Failure, Visit};
use crate::model::time::Timestamp;

/// Attempts of a page.
const PAGE: usize = 50;
/// The filters, with their labels: those of `GET /deliveries` that are typed in.
const TEXTS: [(&str, &str); 5] = [
    ("event_id", "Event's id"),
    ("finding_id", "Finding's id"),
    ("engagement_id", "Engagement's id"),
    ("since", "Since (RFC 3339)"),
    ("until", "Until (RFC 3339)"),
];
/// Classes of errors.
const CLASSES: [&str; 9] =
    ["timeout", "dns", "connect", "tls", "policy", "status", "protocol", "formatter", "interrupted"];

/// An attempt, as far as lists show it.
#[derive(Deserialize)]
struct Attempt {
    id: String,
    webhook_id: String,
    event_id: Option<String>,
    event_type: String,
    attempt: u32,
    success: bool,
    status_code: Option<u16>,
    error: Option<String>,
    note: Option<String>,
    duration_ms: u64,
    next_attempt_at: Option<Timestamp>,
    created_at: Timestamp,
}

/// A row of a table of attempts.
pub(super) struct Row {
    pub(super) when: When,
    pub(super) webhook: String,
    pub(super) webhook_path: String,
    pub(super) event_path: Option<String>,
    pub(super) event_type: String,
    pub(super) number: u32,
    pub(super) state: &'static str,
    pub(super) word: &'static str,
    pub(super) outcome: String,
    pub(super) took: String,
    pub(super) next: Option<When>,
}

/// A field of the form of filters.
struct Field {
    name: &'static str,
    label: &'static str,
    value: String,
}

/// A choice of a filter.
pub(super) struct Choice {
    pub(super) value: String,
    pub(super) words: String,
    pub(super) is_chosen: bool,
}

#[derive(Template)]
#[template(path = "console/deliveries.html")]
struct Page {
    frame: Frame,
    fields: Vec<Field>,
    webhooks: Vec<Choice>,
    outcomes: Vec<Choice>,
    classes: Vec<Choice>,
    rows: Vec<Row>,
    older: Option<String>,
    is_filtered: bool,
}

/// `GET /console/deliveries`.
pub(super) async fn list(visit: Visit) -> Answer {
    let names = names(&visit).await?;
    let query = |name| visit.query.get(name);
    let kept = TEXTS.map(|(name, _)| (name, query(name)));
    let chosen = ["webhook_id", "success", "class", "event_type", "status_code"].map(|name| (name, query(name)));
    let filters: Vec<(&str, &str)> = kept.into_iter().chain(chosen).collect();
    let with = |more: &[(&str, &str)]| show::query(filters.iter().chain(more).copied());
    let limit = (PAGE + 1).to_string();
    let (rows, last) = rows(&visit, &with(&[("before", query("before")), ("limit", &limit)]), &names, PAGE).await?;
    let choose = |name: &str, values: &[(&str, &str)]| -> Vec<Choice> {
        let all = [("", "any")].into_iter().chain(values.iter().copied());
        let choice = |(value, words): (&str, &str)| choice(value, words, visit.query.get(name));
        all.map(choice).collect()
    };
    let webhooks: Vec<(&str, &str)> = names.iter().map(|known| (known.id.as_str(), known.name.as_str())).collect();
    let classes: Vec<(&str, &str)> = CLASSES.iter().map(|class| (*class, *class)).collect();
    visit.page(&Page {
        frame: visit.frame("Deliveries", "deliveries"),
        fields: TEXTS.map(|(name, label)| Field { name, label, value: query(name).to_owned() }).into(),
        webhooks: choose("webhook_id", &webhooks),
        outcomes: choose("success", &[("true", "delivered"), ("false", "failed")]),
        classes: choose("class", &classes),
        older: last.map(|last| format!("/console/deliveries{}", with(&[("before", &last)]))),
        is_filtered: filters.iter().any(|(_, value)| !value.is_empty()),
        rows,
    })
}

pub(super) fn choice(value: &str, words: &str, chosen: &str) -> Choice {
    Choice { value: value.to_owned(), words: words.to_owned(), is_chosen: value == chosen }
}

/// A webhook's id and name.
#[derive(Deserialize)]
pub(super) struct Named {
    pub(super) id: String,
    pub(super) name: String,
}

/// The names of all webhooks.
async fn names(visit: &Visit) -> Result<Vec<Named>, Failure> {
    visit.get("/webhooks").await
}

/// The name of a webhook; its id if it is deleted.
fn name_of(names: &[Named], id: &str) -> String {
    names.iter().find(|known| known.id == id).map_or_else(|| id.to_owned(), |known| known.name.clone())
}

/// At most `most` attempts of a query of `GET /deliveries`; the id of the last if there are more.
pub(super) async fn rows(
    visit: &Visit,
    query: &str,
    names: &[Named],
    most: usize,
) -> Result<(Vec<Row>, Option<String>), Failure> {
    let mut found: Vec<Attempt> = visit.get(&format!("/deliveries{query}")).await?;
    let is_more = found.len() > most;
    found.truncate(most);
    let last = found.last().filter(|_| is_more).map(|last| last.id.clone());
    let now = visit.now();
    Ok((found.into_iter().map(|attempt| row(attempt, names, now)).collect(), last))
}

fn row(attempt: Attempt, names: &[Named], now: Timestamp) -> Row {
    let status = attempt.status_code.map(|status| status.to_string());
    let outcome = attempt.error.or(status).unwrap_or_default();
    Row {
        when: When::new(attempt.created_at, now),
        webhook: name_of(names, &attempt.webhook_id),
        webhook_path: format!("/console/webhooks/{}", show::segment(&attempt.webhook_id)),
        event_path: attempt.event_id.map(|id| format!("/console/events/{}", show::segment(&id))),
        event_type: attempt.event_type,
        number: attempt.attempt,
        state: if attempt.success { "good" } else { "bad" },
        word: if attempt.success { "delivered" } else { "failed" },
        outcome: attempt.note.map_or_else(|| outcome.clone(), |note| format!("{outcome}; {note}")),
        took: format!("{} ms", attempt.duration_ms),
        next: when(attempt.next_attempt_at, now),
    }
}
