//! Property tests: any legal event gives a request that PagerDuty accepts, or is skipped on purpose. The checker below
//! is written from the page "Send an Alert Event", independently of the formatter.

use heraldry_format_pagerduty::PagerDuty;
use heraldry_formatter::golden::is_compact;
use heraldry_formatter::testing::{manifest, samples, strategy};
use heraldry_formatter::text::is_blank;
use heraldry_formatter::{Answer, Error, Interpreter, RawEvent, Verdict, format};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};

const KEY: &str = "0123456789abcdefghijklmnopqrstuv";
/// A fifth of 512 KB, in either meaning of KB.
const MOST_BYTES: usize = 102_400;

fn render(event: &RawEvent, all_events: bool) -> Result<Value, Error> {
    let options = json!({"routing_key": KEY, "all_events": all_events}).to_string();
    let payload = format::<PagerDuty>(event, &samples::http(), &options)?;
    assert_eq!(payload.content_type, "application/json; charset=utf-8");
    assert!(payload.headers.is_empty());
    assert!(payload.body.len() <= MOST_BYTES, "{}", payload.body.len());
    let body = std::str::from_utf8(&payload.body).expect("UTF-8");
    assert!(is_compact(body));
    Ok(serde_json::from_str(body).expect("JSON"))
}

fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

/// A string member of 1 to `most` UTF-16 units, visible and without stray control characters.
fn text<'a>(object: &'a Value, member: &str, most: usize) -> &'a str {
    let text = object[member].as_str().unwrap_or_else(|| panic!("{member} is a string: {object}"));
    assert!((1..=most).contains(&units(text)), "{member}: {}", units(text));
    check_characters(text, "Description" == member || "Evidence" == member);
    text
}

fn check_characters(text: &str, many_lines: bool) {
    assert!(!is_blank(text), "{text:?}");
    for c in text.chars() {
        assert!(!c.is_control() || many_lines && c == '\n', "{c:?} in {text}");
        assert!(!matches!(c, '\u{2028}' | '\u{2029}' | '\u{200E}' | '\u{200F}'), "{c:?} in {text}");
        assert!(!matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}'), "{c:?} in {text}");
    }
}

fn members(object: &Value, required: &[&str], optional: &[&str]) {
    let names: Vec<&str> = object.as_object().expect("an object").keys().map(String::as_str).collect();
    assert!(required.iter().all(|name| names.contains(name)), "{required:?} in {object}");
    assert!(names.iter().all(|name| required.contains(name) || optional.contains(name)), "{names:?}");
}

/// Checks a request against PagerDuty's rules and the event.
fn check(event: &RawEvent, request: &Value) {
    members(request, &["routing_key", "event_action", "dedup_key", "client"], &["payload", "links"]);
    assert_eq!(request["routing_key"], KEY);
    text(request, "dedup_key", 255);
    text(request, "client", 255);
    match text(request, "event_action", 11) {
        "resolve" => {
            assert!(["retest_completed", "webhook_recovered"].contains(&&*event.type_), "{}", event.type_);
            assert!(request.get("payload").is_none() && request.get("links").is_none());
        }
        "trigger" => check_alert(event, request),
        other => panic!("the action {other}"),
    }
}

fn check_alert(event: &RawEvent, request: &Value) {
    let alert = &request["payload"];
    let optional = ["component", "group"];
    members(alert, &["summary", "source", "severity", "timestamp", "class", "custom_details"], &optional);
    text(alert, "summary", 1024);
    text(alert, "source", 255);
    assert!(["info", "warning", "error", "critical"].contains(&text(alert, "severity", 8)));
    assert_eq!(text(alert, "timestamp", 40), event.occurred_at);
    assert_eq!(text(alert, "class", 255), event.type_);
    for name in optional.into_iter().filter(|name| alert.get(*name).is_some()) {
        text(alert, name, 255);
    }
    let details = &alert["custom_details"];
    for (name, value) in details.as_object().expect("an object") {
        match value {
            Value::String(_) => drop(text(details, name, 10_000)),
            Value::Array(items) => {
                assert!((1..=11).contains(&items.len()), "{name}: {}", items.len());
                for item in items {
                    assert!(item.as_str().is_some_and(|item| units(item) <= 300), "{name}: {item}");
                }
            }
            other => panic!("{name} is {other}"),
        }
    }
    for link in request.get("links").map_or(&Vec::new(), |links| links.as_array().expect("a list")) {
        members(link, &["href", "text"], &[]);
        text(link, "text", 100);
        let url = text(link, "href", 2000);
        let rest = url.strip_prefix("https://").or(url.strip_prefix("http://")).expect(url);
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        assert!(!authority.is_empty() && !authority.contains('@'), "{url}");
        assert!(url.bytes().all(|b| b.is_ascii_graphic() && !b"<>\"\\".contains(&b)), "{url}");
    }
    check_carries(event, &all_text(alert));
    let posted: Value = serde_json::from_str(&event.json).expect("an event");
    let finding = &posted["data"]["finding"];
    if event.type_.contains("finding") {
        if let Some(word) = finding["severity"].as_str() {
            let expected = match word.to_lowercase().as_str() {
                "critical" => "critical",
                "high" => "error",
                "medium" => "warning",
                _ => "info",
            };
            assert_eq!(alert["severity"], expected);
        }
        let plain = |id: &Value| {
            let id = id.as_str().unwrap_or_default().to_owned();
            let is_plain = (1..=50).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            is_plain.then_some(id)
        };
        let key = &request["dedup_key"];
        match (finding.get("id"), posted.get("engagement")) {
            (None, _) => assert_eq!(*key, event.id),
            (Some(id), None) => plain(id).into_iter().for_each(|id| assert_eq!(*key, id)),
            (Some(id), Some(engagement)) => {
                let ids = plain(&engagement["id"]).zip(plain(id));
                ids.into_iter().for_each(|(engagement, id)| assert_eq!(*key, format!("{engagement}/{id}")));
            }
        }
    }
}

/// All strings of a document, one per line.
fn all_text(document: &Value) -> String {
    match document {
        Value::String(text) => text.clone() + "\n",
        Value::Array(items) => items.iter().map(all_text).collect(),
        Value::Object(members) => members.values().map(all_text).collect(),
        _ => String::new(),
    }
}

/// The string values that every output for people must contain: each up to its first character that may have to be
/// changed.
fn check_carries(event: &RawEvent, shown: &str) {
    let event: Value = serde_json::from_str(&event.json).expect("an event");
    for (kind, pointer) in [
        ("finding", "/data/finding/title"),
        ("finding", "/data/finding/target"),
        ("finding", "/data/finding/description"),
        ("", "/engagement/name"),
        ("report", "/data/report/title"),
        ("phase", "/data/phase/name"),
        ("monitor", "/data/monitor/name"),
        ("monitor", "/data/monitor/message"),
        ("monitor", "/data/monitor/target"),
        ("signed", "/data/authorization/signer"),
        ("webhook", "/data/webhook/name"),
        ("webhook", "/data/webhook/reason"),
        ("delivery", "/data/delivery/webhook/name"),
        ("delivery", "/data/delivery/reason"),
        ("formatter", "/data/formatter/name"),
        ("formatter", "/data/formatter/reason"),
        ("host", "/data/host/reason"),
    ] {
        let belongs = event["type"].as_str().is_some_and(|name| name.contains(kind));
        let Some(text) = event.pointer(pointer).and_then(Value::as_str).filter(|_| belongs) else {
            continue;
        };
        let beginning: String = text
            .trim_start()
            .chars()
            .take(25)
            .take_while(|&c| !c.is_control() && !matches!(c, '\u{2000}'..='\u{206F}' | '\u{FEFF}'))
            .collect();
        let beginning = beginning.trim_end();
        assert!(shown.contains(beginning), "{pointer}: {beginning:?} is not in\n{shown}");
    }
}

/// Returns true for an event of the host itself.
fn is_host(event: &RawEvent) -> bool {
    ["webhook_", "delivery_", "formatter_", "host_"].iter().any(|prefix| event.type_.starts_with(prefix))
}

fn check_event(event: &RawEvent) {
    check(event, &render(event, true).expect("all events are wanted"));
    let is_alert = event.type_.contains("finding") || event.type_ == "monitor_alert" || is_host(event);
    match render(event, false) {
        Ok(request) => {
            assert!(is_alert || event.type_ == "retest_completed", "{}", event.type_);
            check(event, &request);
        }
        Err(Error::UnsupportedEvent(kind)) => assert!(kind == event.type_ && !is_alert),
        Err(other) => panic!("{other:?}"),
    }
}

/// An item of a retest's list: an id, or an object with one.
fn listed() -> impl Strategy<Value = Value> {
    prop_oneof!["F-[0-9]{1,3}".prop_map(Value::from), "F-[0-9]{1,3}".prop_map(|id| json!({"id": id, "title": "t"}))]
}

fn retest(lists: Value) -> RawEvent {
    let event = json!({"type": "retest_completed", "id": "the-event", "occurred_at": "2026-11-17T10:12:45.120Z",
        "data": {"retest": lists}});
    samples::event(&event.to_string())
}

fn listed_id(item: &Value) -> &str {
    item.as_str().or(item["id"].as_str()).expect("an id")
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_event_gives_a_request_that_pagerduty_accepts(event in strategy::legal_event()) {
        check_event(&event);
    }

    #[test]
    fn a_retest_resolves_a_single_fixed_finding(
        fixed in vec(listed(), 0..4),
        open in vec(listed(), 0..3),
        regressed in vec(listed(), 0..3),
    ) {
        let event = retest(json!({"fixed": fixed, "still_open": open, "regressed": regressed}));
        let request = match render(&event, false) {
            Ok(request) => request,
            Err(Error::UnsupportedEvent(_)) => {
                prop_assert!(fixed.is_empty() && regressed.is_empty());
                return Ok(());
            }
            Err(other) => panic!("{other:?}"),
        };
        check(&event, &request);
        let (action, key) = match (&fixed[..], &regressed[..]) {
            ([one], []) => ("resolve", listed_id(one)),
            ([], [one]) => ("trigger", listed_id(one)),
            _ => ("trigger", "the-event"),
        };
        prop_assert_eq!(request["event_action"].as_str(), Some(action));
        prop_assert_eq!(request["dedup_key"].as_str(), Some(key));
        if action == "trigger" {
            let severity = if regressed.is_empty() { "info" } else { "warning" };
            prop_assert_eq!(request["payload"]["severity"].as_str(), Some(severity));
            prop_assert_eq!(request["payload"]["custom_details"].get("Note").is_some(), !fixed.is_empty());
        }
    }

    #[test]
    fn any_response_has_a_verdict(
        status in 200_u16..600,
        body in prop_oneof![
            vec(any::<u8>(), 0..200),
            strategy::any_json().prop_map(|any| any.to_string().into_bytes()),
            (strategy::text(), strategy::any_json()).prop_map(|(message, errors)| {
                json!({"status": "invalid event", "message": message, "errors": errors}).to_string().into_bytes()
            }),
        ],
    ) {
        let answer = Answer::new(status, body);
        let verdict = PagerDuty::interpret(&answer);
        prop_assert_eq!(&verdict, &PagerDuty::interpret(&answer));
        let reason = match verdict {
            Verdict::ByStatus => { prop_assert!(![400, 429].contains(&status)); return Ok(()); }
            Verdict::Delivered => panic!("the status says that"),
            Verdict::Retry(again) => { prop_assert_eq!(status, 429); again.reason }
            Verdict::Failed(refusal) => { prop_assert!(status == 400 && !refusal.deactivate); refusal.reason }
        };
        prop_assert!(units(&reason) <= 620, "{}", reason);
        prop_assert!(!reason.chars().any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{202E}')), "{:?}", reason);
    }
}

#[test]
fn every_sample_gives_a_request_that_pagerduty_accepts() {
    for sample in samples::all() {
        check_event(&sample.event);
    }
    check_event(&samples::finding_of_length(250 * 1024));
}

#[test]
fn the_longest_event_stays_below_the_limit() {
    // One character of each UTF-8 length, and characters that JSON escapes.
    for part in ["x", "é", "漢", "😀", "\"", "\\"] {
        let long = part.repeat(5_000);
        let list = vec![&long; 20];
        let data = json!({
            "finding": {"title": long, "id": long, "severity": "critical", "cvss": long, "cwe": list, "cve": list, "target": list,
                "ip": long, "parameter": long, "tool": long, "occurrences": long, "description": long, "evidence": long,
                "remediation": long, "references": list, "tags": list, "url": long},
            "verification": {"method": long, "verified_by": long, "poc_url": long},
        });
        let event = json!({"type": "finding_verified", "id": "i", "occurred_at": "2026-11-17T10:12:45.120Z", "data": data,
            "engagement": {"id": long, "name": long, "client": long}});
        check_event(&samples::event(&event.to_string()));
    }
}

#[test]
fn source_is_the_affected_system() {
    let source = |finding: Value| {
        let event = json!({"type": "finding_added", "id": "i", "occurred_at": "2026-11-17T10:12:45.120Z",
            "data": {"finding": finding}});
        let request = render(&samples::event(&event.to_string()), false).expect("an alert");
        request["payload"]["source"].as_str().expect("a source").to_owned()
    };
    for (target, expected) in [
        (json!("https://shop.contoso.example:8443/a?b=c"), "shop.contoso.example"),
        (json!("[2001:db8::1]:443"), "2001:db8::1"),
        (json!("10.20.4.0/24"), "10.20.4.0/24"),
        (json!("the mobile\napp"), "the mobile app"),
        (json!("\u{202E}"), "10.20.4.31"),
        (json!(null), "10.20.4.31"),
    ] {
        assert_eq!(source(json!({"title": "t", "ip": "10.20.4.31", "target": target})), expected, "{target}");
    }
    assert_eq!(source(json!({"title": "t"})), "heraldry.example");
    let long = source(json!({"title": "t", "target": "x ".repeat(1000)}));
    assert!(units(&long) <= 255 && long.ends_with("..."), "{long}");
}

#[test]
fn an_invalid_time_is_left_out() {
    let mut event = samples::finding_of_length(10);
    event.occurred_at = "yesterday".into();
    assert!(render(&event, false).expect("an alert")["payload"].get("timestamp").is_none());
}

#[test]
fn options_at_their_limits() {
    let event = &samples::finding_of_length(10);
    let render = |options: Value| format::<PagerDuty>(event, &samples::http(), &options.to_string());
    assert!(render(json!({"routing_key": KEY.to_uppercase()})).is_ok());
    let without = render(json!({})).expect("a payload");
    let without: Value = serde_json::from_slice(&without.body).expect("JSON");
    assert_eq!(without.get("routing_key"), None, "the header has it");
    for (bad, pointer) in [
        (json!({"routing_key": &KEY[1..]}), "/routing_key"),
        (json!({"routing_key": format!("{KEY}0")}), "/routing_key"),
        (json!({"routing_key": "0123456789abcdefghijklmnopqrst-_"}), "/routing_key"),
        (json!({"routing_key": "é123456789abcdefghijklmnopqrst0"}), "/routing_key"),
        (json!({"routing_key": 7}), "/routing_key"),
        (json!({"routing_key": null}), "/routing_key"),
        (json!({"routing_key": KEY, "all_events": "yes"}), "/all_events"),
        (json!({"routing_key": KEY, "severity": "info"}), "/severity"),
    ] {
        match render(bad.clone()) {
            Err(Error::InvalidOptions(problems)) => {
                assert_eq!(problems[0].pointer, pointer, "{bad}");
                // Errors are shown and logged, and the key is a credential.
                let given = bad["routing_key"].as_str().filter(|key| key.len() > 20).unwrap_or("nothing");
                assert!(!problems[0].message.contains(given), "{}", problems[0].message);
            }
            other => panic!("{bad}: {other:?}"),
        }
    }
}

#[test]
fn the_manifest_describes_the_routing_key() {
    let manifest = manifest::checked::<PagerDuty>("pagerduty", "document", "none");
    let schema = &manifest["options_schema"];
    assert_eq!(schema["required"], json!(null));
    let words = schema["properties"]["routing_key"]["description"].as_str().expect("a description");
    assert!(words.contains("credential"), "{words}");
}
