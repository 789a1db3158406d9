//! Property tests: any legal event gives a document that parses, with the posted data byte for byte and the envelope of
//! FORMATS, section 6.

use heraldry_format_json::{Json, OPTIONS_SCHEMA};
use heraldry_formatter::golden::is_compact;
use heraldry_formatter::testing::{manifest, samples, strategy};
use heraldry_formatter::{Error, RawEvent, format};
use proptest::prelude::*;
use serde_json::{Value, json};

fn body(event: &RawEvent, shape: &str) -> String {
    let options = json!({ "shape": shape }).to_string();
    let payload = format::<Json>(event, &samples::http(), &options).expect("rendered");
    assert!(payload.headers.is_empty());
    let content_type = match shape {
        "cloudevents" => "application/cloudevents+json",
        _ => "application/json",
    };
    assert_eq!(payload.content_type, content_type);
    String::from_utf8(payload.body).expect("UTF-8")
}

fn keys(document: &Value) -> Vec<&str> {
    document.as_object().expect("an object").keys().map(String::as_str).collect()
}

/// The text of `data` in the posted event: the last member of the generated events.
fn data_as_posted(event: &RawEvent) -> &str {
    #[derive(serde::Deserialize)]
    struct Posted<'a> {
        #[serde(borrow)]
        data: &'a serde_json::value::RawValue,
    }
    serde_json::from_str::<Posted<'_>>(&event.json).expect("an event").data.get()
}

fn check_all_shapes(event: &RawEvent) {
    let posted: Value = serde_json::from_str(&event.json).expect("an event");
    let data = data_as_posted(event);

    let text = body(event, "standard");
    assert!(text.ends_with(&format!("\"data\":{data}}}")));
    assert!(!text.starts_with('\u{FEFF}'));
    assert_eq!(is_compact(&text), is_compact(data) && posted.get("engagement").is_none_or(|_| is_compact(&event.json)));
    let standard: Value = serde_json::from_str(&text).expect("JSON");
    for key in keys(&standard) {
        assert!(["type", "timestamp", "id", "version", "caused_by", "engagement", "data"].contains(&key), "{key}");
    }
    assert_eq!(standard["type"], event.type_);
    assert_eq!(standard["timestamp"], event.occurred_at);
    assert_eq!(standard["id"], event.id);
    assert_eq!(standard["version"], 1);
    assert_eq!(standard["data"], posted["data"]);
    assert_eq!(standard.get("engagement"), posted.get("engagement"));

    assert_eq!(body(event, "plain"), event.json);

    let text = body(event, "cloudevents");
    assert!(text.ends_with(&format!("\"data\":{data}}}")));
    let cloud: Value = serde_json::from_str(&text).expect("JSON");
    check_attributes(&cloud);
    assert_eq!(cloud["specversion"], "1.0");
    assert_eq!(cloud["id"], event.id);
    assert_eq!(cloud["time"], event.occurred_at);
    assert_eq!(cloud["type"], format!("com.heraldry.{}", event.type_));
    assert_eq!(cloud["data"], posted["data"]);
}

/// CloudEvents 1.0.2: legal attribute names, and non-empty values without the characters that "Type System" forbids.
fn check_attributes(cloud: &Value) {
    for (name, value) in cloud.as_object().expect("an object") {
        if name == "data" {
            continue;
        }
        let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        assert!(!name.is_empty() && name.len() <= 20 && name.bytes().all(legal), "{name}");
        let text = value.as_str().expect("every attribute is a string");
        assert!(!text.is_empty(), "{name}");
        for c in text.chars() {
            let code = u32::from(c);
            assert!(!c.is_control() && code & 0xFFFE != 0xFFFE && !(0xFDD0..=0xFDEF).contains(&code), "{name}: {c:?}");
        }
    }
    let source = cloud["source"].as_str().expect("a source");
    let in_uri = |b: u8| b.is_ascii_alphanumeric() || b"/-._~%".contains(&b);
    assert!(source.starts_with('/') && source.bytes().all(in_uri), "{source}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_event_in_every_shape(event in strategy::legal_event()) {
        check_all_shapes(&event);
    }
}

#[test]
fn every_sample_in_every_shape() {
    for sample in samples::all() {
        check_all_shapes(&sample.event);
    }
    check_all_shapes(&samples::finding_of_length(200 * 1024));
}

#[test]
fn key_order_and_digits_stay() {
    let data = r#"{"finding":{"title":"t","z":1.10,"a":12345678901234567890123,"e":1E+2,"s":"\u00e9\/"}}"#;
    let event = samples::event(&format!(
        r#"{{"type":"finding_added","id":"i","occurred_at":"2026-11-17T10:12:45.120Z","data":{data}}}"#
    ));
    for shape in ["standard", "cloudevents"] {
        assert!(body(&event, shape).ends_with(&format!("\"data\":{data}}}")), "{shape}");
    }
}

#[test]
fn options_match_the_schema() {
    let event = &samples::all()[0].event;
    assert!(format::<Json>(event, &samples::http(), "{}").is_ok());
    for (options, pointer) in
        [(r#"{"shape":"xml"}"#, "/shape"), (r#"{"shape":1}"#, "/shape"), (r#"{"form":"plain"}"#, "/form"), ("7", "")]
    {
        match format::<Json>(event, &samples::http(), options) {
            Err(Error::InvalidOptions(problems)) => assert_eq!(problems[0].pointer, pointer),
            other => panic!("{options} gave {other:?}"),
        }
    }
    let manifest = manifest::checked::<Json>("json", "document", "newline");
    let schema: Value = serde_json::from_str(OPTIONS_SCHEMA).expect("JSON");
    assert_eq!(manifest["options_schema"], schema);
}

#[test]
fn a_body_over_the_transport_limit_is_an_error() {
    let context = samples::syslog(100);
    match format::<Json>(&samples::all()[0].event, &context, "{}") {
        Err(Error::Internal(message)) => assert!(message.contains("100"), "{message}"),
        other => panic!("gave {other:?}"),
    }
}
