//! Test events.

use serde_json::{Value, json};
use uuid::Uuid;

/// A sample event (`wit/samples`) by its file's stem, byte for byte, without the last line feed.
///
/// # Panics
/// If there is no such sample.
fn text(name: &str) -> &'static str {
    let found = heraldry::samples::all().iter().find(|sample| sample.name == name);
    found.unwrap_or_else(|| panic!("wit/samples has no {name}.json")).json.trim_end()
}

/// A sample event with a fresh id, so that it can be posted repeatedly.
pub(crate) fn sample(name: &str) -> Value {
    let mut event: Value = serde_json::from_str(text(name)).expect("a sample is JSON");
    event["id"] = json!(new_id());
    event
}

/// The minimal event of a type.
pub(crate) fn minimal(event_type: &str) -> Value {
    sample(&format!("{event_type}--minimal"))
}

/// A finding with a title and, unless it is empty, a severity.
pub(crate) fn finding(title: &str, severity: &str) -> Value {
    let mut event = json!({
        "type": "finding_added", "id": new_id(), "occurred_at": "2026-11-18T08:00:00.000Z",
        "data": {"finding": {"title": title}},
    });
    if !severity.is_empty() {
        event["data"]["finding"]["severity"] = json!(severity);
    }
    event
}

/// This many findings without a severity, with distinct titles.
pub(crate) fn findings(count: usize) -> Vec<Value> {
    (0..count).map(|number| finding(&format!("finding {number}"), "")).collect()
}

/// The event, moved to this engagement.
pub(crate) fn in_engagement(mut event: Value, id: &str) -> Value {
    event["engagement"] = json!({"id": id, "name": format!("Engagement {id}")});
    event
}

/// A fresh event id.
pub(crate) fn new_id() -> String {
    Uuid::now_v7().to_string()
}
