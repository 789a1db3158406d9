//! Property tests: any legal event gives an envelope that the event endpoint accepts, with the event byte for byte, and
//! concatenated envelopes can be read back. The reader below is written from Splunk's page "Format events for HTTP
//! Event Collector", independently of the formatter.

use heraldry_format_splunk_hec::SplunkHec;
use heraldry_formatter::testing::{manifest, samples, strategy};
use heraldry_formatter::{Answer, Error, Interpreter, RawEvent, Verdict, format};
use proptest::collection::vec;
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

/// The formatter's own limit on the value of an indexed field, in bytes.
const FIELD_BYTES: usize = 1000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<'a> {
    #[serde(borrow)]
    time: Option<&'a RawValue>,
    host: String,
    source: String,
    sourcetype: String,
    index: Option<String>,
    #[serde(borrow)]
    event: &'a RawValue,
    fields: Map<String, Value>,
}

/// Parses a body: concatenated objects, each checked against the rules.
fn read(body: &str) -> Vec<Envelope<'_>> {
    let envelopes: Result<Vec<Envelope<'_>>, _> = serde_json::Deserializer::from_str(body).into_iter().collect();
    let envelopes = envelopes.unwrap_or_else(|e| panic!("{e} in {body}"));
    for envelope in &envelopes {
        if let Some(time) = envelope.time {
            let (seconds, fraction) = time.get().split_once('.').expect("seconds with decimals");
            let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            assert!(digits(seconds) && digits(fraction) && fraction.len() == 3, "{}", time.get());
            assert!(seconds == "0" || !seconds.starts_with('0'), "{}", time.get());
        }
        for (name, text) in [("source", &envelope.source), ("sourcetype", &envelope.sourcetype)] {
            assert!(!text.is_empty() && text.len() <= 255, "{name}: {text}");
        }
        assert!(!["", "null", "\"\"", "{}"].contains(&envelope.event.get()), "a blank event is code 13");
        for (name, value) in &envelope.fields {
            // A nested value is code 15; a list of strings would be legal.
            let value = value.as_str().unwrap_or_else(|| panic!("{name} is no string"));
            assert!((1..=FIELD_BYTES).contains(&value.len()), "{name}: {}", value.len());
            assert!(!value.chars().any(char::is_control), "{name}: {value:?}");
        }
    }
    envelopes
}

fn body(event: &RawEvent, options: &str) -> String {
    let payload = format::<SplunkHec>(event, &samples::http(), options).expect("rendered");
    assert_eq!(payload.content_type, "application/json; charset=utf-8");
    assert!(payload.headers.is_empty());
    String::from_utf8(payload.body).expect("UTF-8")
}

fn check(event: &RawEvent, envelope: &Envelope<'_>) {
    assert_eq!(envelope.event.get(), event.json.trim_ascii(), "the event to the byte");
    let posted: Value = serde_json::from_str(&event.json).expect("an event");
    let group = match event.type_.as_str() {
        "finding_added" | "finding_verified" | "critical_finding" => "finding",
        "phase_changed" => "phase",
        "engagement_completed" => "summary",
        "engagement_signed" => "authorization",
        "retest_completed" => "retest",
        "report_ready" => "report",
        "surface_changed" => "surface",
        "monitor_alert" => "monitor",
        "webhook_failing" | "webhook_disabled" | "webhook_recovered" => "webhook",
        "delivery_failed" => "delivery",
        "formatter_rejected" | "formatter_rolled_back" => "formatter",
        "host_degraded" => "host",
        other => panic!("no such type: {other}"),
    };
    assert_eq!(envelope.sourcetype, format!("heraldry:{group}"));
    assert_eq!((&*envelope.source, &*envelope.host), ("heraldry", "heraldry.example"));
    assert_eq!(envelope.index, None);
    let field = |name: &str| envelope.fields.get(name).and_then(Value::as_str);
    assert_eq!(field("event_id"), Some(&*event.id));
    assert_eq!(field("event_type"), Some(&*event.type_));
    let severity = field("severity").expect("a severity");
    assert!(["info", "low", "medium", "high", "critical"].contains(&severity), "{severity}");
    if let Some(word) = posted["data"]["finding"]["severity"].as_str().filter(|_| group == "finding") {
        assert_eq!(severity, word.to_lowercase());
    }
    let known = ["event_id", "event_type", "severity", "engagement_id"];
    assert!(envelope.fields.keys().all(|name| known.contains(&name.as_str())), "{:?}", envelope.fields);
    // A short, plain id must be complete.
    let plain = |id: &&str| id.len() <= FIELD_BYTES && id.bytes().all(|b| b.is_ascii_graphic()) && !id.is_empty();
    if let Some(id) = posted["engagement"]["id"].as_str().filter(plain) {
        assert_eq!(field("engagement_id"), Some(id));
    }
    if posted.get("engagement").is_none() {
        assert_eq!(field("engagement_id"), None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn events_come_back_one_by_one_from_a_batch(events in vec(strategy::legal_event(), 1..4)) {
        let batch: String = events.iter().map(|event| body(event, "{}")).collect();
        let envelopes = read(&batch);
        prop_assert_eq!(envelopes.len(), events.len());
        for (event, envelope) in events.iter().zip(&envelopes) {
            check(event, envelope);
            prop_assert_eq!(envelope.time.map(RawValue::get), Some("1794910365.120"));
        }
    }

    #[test]
    fn any_response_has_a_verdict(
        status in 200_u16..600,
        body in prop_oneof![
            vec(any::<u8>(), 0..200),
            strategy::any_json().prop_map(|any| any.to_string().into_bytes()),
            (strategy::any_json(), strategy::any_json(), strategy::any_json()).prop_map(|(text, code, index)| {
                json!({"text": text, "code": code, "invalid-event-number": index}).to_string().into_bytes()
            }),
            (strategy::text(), 0..32_u8).prop_map(|(text, code)| {
                json!({"text": text, "code": code}).to_string().into_bytes()
            }),
        ],
    ) {
        let answer = Answer::new(status, body);
        let verdict = SplunkHec::interpret(&answer);
        prop_assert_eq!(&verdict, &SplunkHec::interpret(&answer));
        let reason = match verdict {
            Verdict::ByStatus => return Ok(()),
            Verdict::Delivered => { prop_assert!(answer.is_success()); return Ok(()); }
            Verdict::Retry(again) => again.reason,
            Verdict::Failed(refusal) => { prop_assert!(!refusal.deactivate); refusal.reason }
        };
        prop_assert!(reason.encode_utf16().count() <= 250, "{}", reason);
        prop_assert!(!reason.chars().any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{202E}')), "{:?}", reason);
    }
}

#[test]
fn every_sample_comes_back() {
    let mut events: Vec<_> = samples::all().into_iter().map(|sample| sample.event).collect();
    events.push(samples::finding_of_length(200 * 1024));
    let batch: String = events.iter().map(|event| body(event, "{}")).collect();
    let envelopes = read(&batch);
    assert_eq!(envelopes.len(), events.len());
    for (event, envelope) in events.iter().zip(&envelopes) {
        check(event, envelope);
    }
}

#[test]
fn key_order_digits_and_escapes_stay() {
    let json = r#"{ "type":"finding_added","id":"i","occurred_at":"2026-11-17T10:12:45.120Z",
        "data":{"finding":{"title":"t","z":1.10,"a":12345678901234567890123,"e":1E+2,"s":"\u00e9\/\u202e"}}}"#;
    assert!(body(&samples::event(json), "{}").contains(&format!("\"event\":{json},\"fields\"")));
}

#[test]
fn times_are_exact_or_left_to_splunk() {
    let mut event = samples::all()[0].event.clone();
    for (time, expected) in [
        ("2026-11-17T10:12:45.120Z", Some("1794910365.120")),
        ("2026-11-17T11:12:45.120+01:00", Some("1794910365.120")),
        ("2026-11-17T10:12:45Z", Some("1794910365.000")),
        ("2026-11-17T10:12:45.0019999Z", Some("1794910365.001")),
        ("1970-01-01T00:00:00.007Z", Some("0.007")),
        ("9999-12-31T23:59:59.999Z", Some("253402300799.999")),
        ("1969-12-31T23:59:59.999Z", None),
        ("yesterday", None),
        ("", None),
    ] {
        event.occurred_at = time.into();
        let body = body(&event, "{}");
        assert_eq!(read(&body)[0].time.map(RawValue::get), expected, "{time}");
    }
}

#[test]
fn a_long_engagement_id_is_cut_where_it_is_indexed() {
    let with = |id: &str| {
        let json = json!({"type": "report_ready", "id": "i", "occurred_at": "2026-11-17T10:12:45.120Z",
            "engagement": {"id": id, "name": "n"}, "data": {"report": {}}});
        let body = body(&samples::event(&json.to_string()), "{}");
        read(&body)[0].fields.get("engagement_id").and_then(Value::as_str).map(str::to_owned)
    };
    let long = "x".repeat(FIELD_BYTES);
    assert_eq!(with(&long).as_deref(), Some(&*long));
    let cut = with(&format!("{long}x")).expect("an id");
    assert!(cut.len() == FIELD_BYTES && cut.ends_with("[truncated]"), "{cut}");
    assert_eq!(with("a\0b\u{202E}\nc ").as_deref(), Some("a b c"));
    assert_eq!(with(" \0\u{202E}"), None);
}

#[test]
fn options_at_their_limits() {
    let event = &samples::all()[0].event;
    let render = |options: &Value| format::<SplunkHec>(event, &samples::http(), &options.to_string());
    let guid = "fe0ecfad-13D5-401b-847d-77833bd77131";
    let long = "x".repeat(255);
    let options = json!({"index": long, "source": "a \"b\"", "sourcetype": long, "host": long, "channel": guid});
    let payload = render(&options).expect("legal");
    let headers: Vec<_> = payload.headers.iter().map(|header| (&*header.name, &*header.value)).collect();
    assert_eq!(headers, [("X-Splunk-Request-Channel", guid)]);
    let text = String::from_utf8(payload.body).expect("UTF-8");
    let envelopes = read(&text);
    let envelope = &envelopes[0];
    assert_eq!(envelope.index.as_deref(), Some(&*long));
    assert_eq!((&*envelope.source, &*envelope.sourcetype, &*envelope.host), ("a \"b\"", &*long, &*long));
    for (name, bad) in [
        ("index", json!("Main")),
        ("index", json!("_internal")),
        ("index", json!("-a")),
        ("index", json!("a b")),
        ("index", json!("x".repeat(256))),
        ("index", json!("")),
        ("index", json!(null)),
        ("source", json!("x".repeat(256))),
        ("source", json!("a\nb")),
        ("sourcetype", json!("")),
        ("host", json!(" a")),
        ("host", json!(7)),
        ("channel", json!("fe0ecfad13D5401b847d77833bd77131")),
        ("channel", json!("fe0ecfad-13D5-401b-847d-77833bd7713g")),
        ("channel", json!("fe0ecfad-13D5-401b-847d-77833bd77131\r\nX: y")),
        ("channel", json!(null)),
        ("token", json!("secret")),
    ] {
        match render(&json!({name: bad.clone()})) {
            Err(Error::InvalidOptions(problems)) => assert_eq!(problems[0].pointer, format!("/{name}"), "{bad}"),
            other => panic!("{name} {bad}: {other:?}"),
        }
    }
}

#[test]
fn the_manifest_can_be_batched() {
    manifest::checked::<SplunkHec>("splunk-hec", "document", "concatenate");
}
