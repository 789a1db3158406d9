//! Events: all that are kept, and one with what became of it and why.

use askama::Template;
use serde::Deserialize;
use serde_json::Value;

use super::Answer;
use super::deliveries::{self, Choice, Named, Row};
use super::frame::Frame;
use super::show::{self, When, when};
use super::visit::Visit;
use super::webhooks::pretty;
use crate::model::time::Timestamp;

/// Events of a page.
const PAGE: usize = 50;
/// Attempts of one event that are shown.
const ATTEMPTS: usize = 50;
/// The filters of `GET /events` that are typed in, with their labels.
const TEXTS: [(&str, &str); 4] = [
    ("finding_id", "Finding's id"),
    ("engagement_id", "Engagement's id"),
    ("since", "Since (RFC 3339)"),
    ("until", "Until (RFC 3339)"),
];

#[derive(Deserialize)]
struct Engagement {
    #[serde(default)]
    id: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    client: String,
}

#[derive(Deserialize)]
struct Delivery {
    webhook_id: String,
    status: String,
    attempts: u32,
    next_attempt_at: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Event {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    occurred_at: Timestamp,
    engagement: Option<Engagement>,
    caused_by: Option<String>,
    #[serde(default)]
    data: Value,
    #[serde(default)]
    deliveries: Vec<Delivery>,
}

impl Event {
    fn engagement(&self) -> String {
        let Some(Engagement { id, name, client }) = &self.engagement else { return String::new() };
        let parts = [name, id, client].into_iter().filter(|part| !part.is_empty());
        parts.map(String::as_str).collect::<Vec<_>>().join(", ")
    }
}

struct EventRow {
    path: String,
    when: When,
    kind: String,
    engagement: String,
    /// As in `2 delivered, 1 failed`.
    deliveries: String,
}

/// A field of the form of filters.
struct Field {
    name: &'static str,
    label: &'static str,
    value: String,
}

#[derive(Template)]
#[template(path = "console/events.html")]
struct ListPage {
    frame: Frame,
    fields: Vec<Field>,
    types: Vec<Choice>,
    severities: Vec<Choice>,
    rows: Vec<EventRow>,
    older: Option<String>,
}

/// `GET /console/events`.
pub(super) async fn list(visit: Visit) -> Answer {
    let query = |name| visit.query.get(name);
    let names = TEXTS.map(|(name, _)| name).into_iter().chain(["type", "min_severity"]);
    let filters: Vec<(&str, &str)> = names.map(|name| (name, query(name))).collect();
    let with = |more: &[(&str, &str)]| show::query(filters.iter().chain(more).copied());
    let limit = (PAGE + 1).to_string();
    let path = format!("/events{}", with(&[("before", query("before")), ("limit", &limit)]));
    let mut events: Vec<Event> = visit.get(&path).await?;
    let is_more = events.len() > PAGE;
    events.truncate(PAGE);
    let older =
        events.last().filter(|_| is_more).map(|last| format!("/console/events{}", with(&[("before", &last.id)])));
    let types = super::webhooks::event_types(&visit).await?;
    let choices = |name: &str, values: &[&str]| -> Vec<Choice> {
        let chosen = visit.query.get(name);
        let rest = values.iter().map(|value| deliveries::choice(value, value, chosen));
        [deliveries::choice("", "any", chosen)].into_iter().chain(rest).collect()
    };
    let now = visit.now();
    visit.page(&ListPage {
        frame: visit.frame("Events", "events"),
        fields: TEXTS.map(|(name, label)| Field { name, label, value: query(name).to_owned() }).into(),
        types: choices("type", &types.iter().map(String::as_str).collect::<Vec<_>>()),
        severities: choices("min_severity", &["low", "medium", "high", "critical"]),
        rows: events.iter().map(|event| row(event, now)).collect(),
        older,
    })
}

fn row(event: &Event, now: Timestamp) -> EventRow {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for delivery in &event.deliveries {
        match counts.iter_mut().find(|(status, _)| *status == delivery.status) {
            Some((_, count)) => *count += 1,
            None => counts.push((&delivery.status, 1)),
        }
    }
    let words = counts.iter().map(|(status, count)| format!("{count} {status}")).collect::<Vec<_>>().join(", ");
    EventRow {
        path: format!("/console/events/{}", show::segment(&event.id)),
        when: When::new(event.occurred_at, now),
        kind: event.kind.clone(),
        engagement: event.engagement(),
        deliveries: if words.is_empty() { "none".to_owned() } else { words },
    }
}

/// Why an event went to a webhook or not.
#[derive(Deserialize)]
struct Explained {
    webhook_id: String,
    name: String,
    matched: bool,
    reason: String,
}

struct WhyRow {
    path: String,
    name: String,
    state: &'static str,
    word: &'static str,
    reason: String,
    /// The status of the delivery, with its attempts.
    delivery: String,
    next: Option<When>,
}

#[derive(Template)]
#[template(path = "console/event.html")]
struct OnePage {
    frame: Frame,
    id: String,
    when: When,
    engagement: String,
    caused_by: Option<String>,
    why: Vec<WhyRow>,
    went: String,
    attempts: Vec<Row>,
    is_cut: bool,
    data: String,
}

/// `GET /console/events/{id}`.
pub(super) async fn one(visit: Visit) -> Answer {
    let id = visit.segment("id");
    let event: Event = visit.get(&format!("/events/{id}")).await?;
    let explained: Vec<Explained> = visit.get(&format!("/events/{id}/explain")).await?;
    let named = |one: &Explained| Named { id: one.webhook_id.clone(), name: one.name.clone() };
    let names: Vec<Named> = explained.iter().map(named).collect();
    let limit = (ATTEMPTS + 1).to_string();
    let query = show::query([("event_id", event.id.as_str()), ("limit", limit.as_str())]);
    let (attempts, more) = deliveries::rows(&visit, &query, &names, ATTEMPTS).await?;
    let now = visit.now();
    let reached = explained.iter().filter(|one| one.matched).count();
    let went = format!("It went to {reached} of {}.", show::count(explained.len() as u64, "webhook", "webhooks"));
    let why = explained.into_iter().map(|one| why_row(one, &event.deliveries, now)).collect();
    visit.page(&OnePage {
        frame: visit.frame(&event.kind, "events"),
        when: When::new(event.occurred_at, now),
        engagement: event.engagement(),
        caused_by: event.caused_by.as_deref().map(|id| format!("/console/events/{}", show::segment(id))),
        why,
        went,
        attempts,
        is_cut: more.is_some(),
        data: pretty(&event.data),
        id: event.id,
    })
}

fn why_row(one: Explained, deliveries: &[Delivery], now: Timestamp) -> WhyRow {
    let made: Vec<&Delivery> = deliveries.iter().filter(|delivery| delivery.webhook_id == one.webhook_id).collect();
    let words = |delivery: &&Delivery| {
        let attempts = show::count(delivery.attempts.into(), "attempt", "attempts");
        format!("{}, {attempts}", delivery.status)
    };
    let has_failed = made.iter().any(|delivery| delivery.status == "failed");
    WhyRow {
        path: format!("/console/webhooks/{}", show::segment(&one.webhook_id)),
        name: one.name,
        state: if has_failed {
            "bad"
        } else if one.matched {
            "good"
        } else {
            "off"
        },
        word: if one.matched { "yes" } else { "no" },
        reason: one.reason,
        delivery: made.iter().map(words).collect::<Vec<_>>().join("; "),
        next: when(made.iter().filter_map(|delivery| delivery.next_attempt_at).min(), now),
    }
}
