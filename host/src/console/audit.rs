//! The audit log: who changed what, and when.

use askama::Template;
use serde::Deserialize;
use serde_json::Value;

use super::Answer;
use super::frame::Frame;
use super::show::{self, When};
use super::visit::Visit;
use crate::model::time::Timestamp;

/// Entries of a page.
const PAGE: usize = 50;

#[derive(Deserialize)]
struct Entry {
    id: String,
    sequence: u64,
    actor: Actor,
    action: String,
    target: Target,
    changes: Vec<Change>,
    created_at: Timestamp,
}

#[derive(Deserialize)]
struct Actor {
    r#type: String,
    name: Option<String>,
}

#[derive(Deserialize)]
struct Target {
    r#type: String,
    id: String,
    name: Option<String>,
}

#[derive(Deserialize)]
struct Change {
    field: String,
    #[serde(default)]
    from: Value,
    #[serde(default)]
    to: Value,
}

struct Row {
    number: u64,
    when: When,
    actor: String,
    action: String,
    target: String,
    changes: Vec<String>,
}

#[derive(Template)]
#[template(path = "console/audit.html")]
struct Page {
    frame: Frame,
    rows: Vec<Row>,
    older: Option<String>,
}

/// `GET /console/audit`.
pub(super) async fn list(visit: Visit) -> Answer {
    let limit = (PAGE + 1).to_string();
    let query = show::query([("before", visit.query.get("before")), ("limit", &limit)]);
    let mut entries: Vec<Entry> = visit.get(&format!("/audit{query}")).await?;
    let is_more = entries.len() > PAGE;
    entries.truncate(PAGE);
    let older = entries.last().filter(|_| is_more);
    let older = older.map(|last| format!("/console/audit{}", show::query([("before", last.id.as_str())])));
    let now = visit.now();
    let rows = entries.into_iter().map(|entry| row(entry, now)).collect();
    visit.page(&Page { frame: visit.frame("Audit", "audit"), rows, older })
}

fn row(entry: Entry, now: Timestamp) -> Row {
    Row {
        number: entry.sequence,
        when: When::new(entry.created_at, now),
        actor: entry.actor.name.unwrap_or_else(|| entry.actor.r#type.replace('_', " ")),
        action: entry.action,
        target: format!("{} {}", entry.target.r#type, entry.target.name.unwrap_or(entry.target.id)),
        changes: entry.changes.iter().map(words).collect(),
    }
}

/// A change in words; a value that may not be shown is absent.
fn words(Change { field, from, to }: &Change) -> String {
    match (from.is_null(), to.is_null()) {
        (true, true) => format!("{field} changed"),
        (true, false) => format!("{field}: {to}"),
        (false, true) => format!("{field}: {from}, removed"),
        (false, false) => format!("{field}: {from} → {to}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_without_what_may_not_be_shown() {
        let told = |json: &str| words(&serde_json::from_str(json).expect("a change"));
        assert_eq!(told(r#"{"field":"secret"}"#), "secret changed");
        assert_eq!(told(r#"{"field":"name","from":"a","to":"b"}"#), r#"name: "a" → "b""#);
        assert_eq!(told(r#"{"field":"held","to":7}"#), "held: 7");
        assert_eq!(told(r#"{"field":"batch","from":{"max_events":2}}"#), r#"batch: {"max_events":2}, removed"#);
    }
}
