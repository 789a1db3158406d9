//! Digests: every event in its envelope, byte for byte, as far as there is room; the rest is counted.

use heraldry_format_json::Json;
use heraldry_formatter::digest::{Context, RawEvent};
use heraldry_formatter::golden::digests::scan;
use heraldry_formatter::testing::{samples, strategy};
use heraldry_formatter::{digest, format};
use proptest::prelude::*;
use serde_json::{Value, json};

fn body(events: &[heraldry_formatter::RawEvent], context: &Context, shape: &str) -> String {
    let events: Vec<RawEvent> = events.iter().cloned().map(Into::into).collect();
    let message = digest::<Json>(events, context, &json!({ "shape": shape }).to_string()).expect("a message");
    assert_eq!((&*message.content_type, message.headers.len()), ("application/json", 0));
    assert!(message.unsupported.is_empty());
    assert!(message.body.len() <= 1024 * 1024, "{} bytes", message.body.len());
    String::from_utf8(message.body).expect("UTF-8")
}

fn alone(event: &heraldry_formatter::RawEvent, shape: &str) -> String {
    let payload = format::<Json>(event, &samples::http(), &json!({ "shape": shape }).to_string()).expect("rendered");
    String::from_utf8(payload.body).expect("UTF-8")
}

/// The document's counts, after its events were compared with those that are sent alone.
fn checked(events: &[heraldry_formatter::RawEvent], shape: &str) -> Value {
    let text = body(events, &Context::alone(u32::try_from(events.len()).expect("few")), shape);
    let (head, list) = text.split_once(",\"events\":[").expect("a list");
    let head: Value = serde_json::from_str(&format!("{head}}}")).expect("counts");
    let mut rest = list.strip_suffix("]}").expect("the end");
    let mut listed = 0;
    for event in events {
        let document = alone(event, shape);
        if let Some(behind) = rest.strip_prefix(&document) {
            rest = behind.strip_prefix(',').unwrap_or(behind);
            listed += 1;
        }
    }
    assert_eq!(rest, "", "the events in their order and nothing else");
    let head = head["digest"].clone();
    assert_eq!(head["events"], events.len());
    assert_eq!(head["omitted"], events.len() - listed);
    head
}

#[test]
fn a_thousand_events_are_all_there_in_each_shape() {
    for shape in ["standard", "plain", "cloudevents"] {
        let head = checked(&scan(1000), shape);
        assert_eq!(head["omitted"], 0);
        assert_eq!(head["severities"], json!({"critical": 50, "high": 50, "medium": 200, "low": 250, "info": 450}));
        assert_eq!(head["types"], json!({"finding_added": 1000}));
    }
}

#[test]
fn parts_are_counted() {
    let context = Context { part: 2, parts: 3, total: 2345, ..Context::alone(0) };
    let document: Value = serde_json::from_str(&body(&scan(2), &context, "standard")).expect("JSON");
    let head = &document["digest"];
    assert_eq!((&head["part"], &head["parts"], &head["total"]), (&json!(2), &json!(3), &json!(2345)));
}

/// 4 MiB of events: as many as there is room for, the worst first.
#[test]
fn what_does_not_fit_is_counted() {
    let mut events: Vec<_> = (0..16).map(|_| samples::finding_of_length(250_000)).collect();
    events.extend(scan(100));
    let head = checked(&events, "standard");
    let omitted = head["omitted"].as_u64().expect("a number");
    assert_eq!(omitted, 13, "three of the large ones fit");
    let text = body(&events, &Context::alone(116), "standard");
    for word in ["critical", "high", "medium", "info"] {
        let count = text.matches(&format!("\"severity\":\"{word}\"")).count();
        assert_eq!(head["severities"][word], count, "{word}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn any_events_give_a_document_of_them(
        events in prop::collection::vec(strategy::legal_event(), 1..12),
        shape in prop::sample::select(&["standard", "plain", "cloudevents"][..]),
    ) {
        checked(&events, shape);
    }
}
