//! Property tests: any event gives one legal message of RFC 3164 with the event's content, read back by a parser
//! written from the RFC; the parameters by one written from the formatter's own rule.

use heraldry_format_syslog::Syslog;
use heraldry_formatter::testing::cleaned::{assert_whole_or_cut, cleaned};
use heraldry_formatter::testing::rfc3164_reader::{self, Message, facts};
use heraldry_formatter::testing::strategy::{legal_event, text};
use heraldry_formatter::testing::{rfc5424_reader, samples};
use heraldry_formatter::text::is_blank;
use heraldry_formatter::{Context, Error, RawEvent, format};
use proptest::prelude::*;
use serde_json::{Value, json};

const TRUNCATED: &str = "[truncated]";
const RFC3164: &str = r#"{"protocol":"rfc3164"}"#;

fn render(event: &RawEvent, context: &Context, options: &str) -> String {
    let payload = format::<Syslog>(event, context, options).expect("a payload");
    assert_eq!(payload.content_type, "text/plain; charset=utf-8");
    assert!(payload.headers.is_empty());
    String::from_utf8(payload.body).expect("UTF-8")
}

/// One parsed message of the formatter.
#[derive(Debug)]
struct Read {
    facility: u8,
    severity: u8,
    timestamp: String,
    host_name: String,
    tag: String,
    text: String,
    facts: Vec<(String, String)>,
}

impl Read {
    fn get(&self, name: &str) -> Option<&str> {
        self.facts.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

fn read(line: &str) -> Read {
    let message = rfc3164_reader::read(line.as_bytes()).unwrap_or_else(|e| panic!("{e}\n{line}"));
    let (tag, content) = message.tagged().unwrap_or_else(|e| panic!("{e}\n{line}"));
    let (text, facts) = facts(content).unwrap_or_else(|e| panic!("{e}\n{line}"));
    let Message { facility, severity, timestamp, host_name, .. } = message;
    Read {
        facility,
        severity,
        timestamp: timestamp.expect("a time").into(),
        host_name: host_name.into(),
        tag: tag.into(),
        text,
        facts,
    }
}

/// The content of the RFC 5424 message, without truncation.
fn rfc5424_content(event: &RawEvent) -> (u8, Vec<(String, String)>, String) {
    let line = render(event, &Context { max_bytes: Some(1 << 20), ..samples::http() }, "{}");
    let message = rfc5424_reader::read(line.as_bytes()).expect("a message");
    let facts = message.elements.into_iter().flat_map(|element| element.params).collect();
    (message.severity, facts, message.msg.unwrap_or_default().to_owned())
}

/// Checks that both protocols carry the same content, the older one as much as fits.
fn check(event: &RawEvent, line: &str, max_bytes: usize) {
    assert!(line.len() <= max_bytes, "{} bytes", line.len());
    let message = read(line);
    let (severity, sent, text) = rfc5424_content(event);
    assert_eq!((message.facility, message.severity), (16, severity));
    assert_eq!((&*message.timestamp, &*message.tag, &*message.host_name), ("Nov 17 10:12:45", "heraldry", "heraldry"));
    // The content is in the same order as with RFC 5424: parameters are dropped from the end.
    let mut cut = false;
    for (index, (name, value)) in message.facts.iter().enumerate() {
        assert_eq!(*name, sent[index].0);
        assert_whole_or_cut(&sent[index].1, value, name == "id", TRUNCATED);
        cut |= *value != sent[index].1;
    }
    cut |= message.facts.len() < sent.len();
    if message.text != text {
        let kept = message.text.strip_suffix(TRUNCATED).unwrap_or_else(|| panic!("{:?} has no mark", message.text));
        assert!(text.starts_with(kept), "sent {text:?}, read {:?}", message.text);
        cut = true;
    }
    // Truncation is always marked, and never happens without need.
    let escaped = |text: &str| text.len() + text.matches(['"', '\\']).count();
    let facts: usize = sent.iter().map(|(name, value)| name.len() + 4 + escaped(value)).sum();
    let whole = line.find("heraldry: ").expect("a tag") + 10 + escaped(&text) + facts;
    assert_eq!(cut, whole > max_bytes, "{whole} of {max_bytes} bytes: {line}");
    assert!(!cut || line.contains(TRUNCATED), "{line}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_event_is_one_legal_message(event in legal_event(), max in prop::option::of(prop_oneof![Just(2048_u32), Just(8000), 400_u32..1100])) {
        let context = Context { max_bytes: max, ..samples::syslog(1) };
        let line = render(&event, &context, RFC3164);
        check(&event, &line, max.map_or(1024, |max| (max as usize).min(1024)));
        prop_assert_eq!(line, render(&event, &context, RFC3164));
    }

    #[test]
    fn the_texts_come_back(title in text(), target in text(), description in text()) {
        prop_assume!(!title.is_empty());
        let json = json!({"type": "finding_added", "id": "019a8f00-0000-7000-8000-000000000001", "occurred_at": "2026-11-17T10:12:45.120Z",
            "data": {"finding": {"title": title, "severity": "high", "target": target, "url": "https://a.example/", "description": description}}});
        let line = render(&samples::event(&json.to_string()), &samples::http(), RFC3164);
        let message = read(&line);
        let [title, target, description] = [title, target, description].map(|text| if is_blank(&text) { String::new() } else { cleaned(&text, " ", " ").trim().to_owned() });
        let text = match (&*title, &*description) {
            ("", _) => return Ok(()),
            (title, "") => format!("HIGH {title}"),
            (title, description) => format!("HIGH {title}: {description}"),
        };
        let escapes = |text: &str| text.len() + text.matches(['"', '\\']).count();
        let fits = escapes(&text) + escapes(&target) < 800;
        assert_whole_or_cut(&text, &message.text, fits, TRUNCATED);
        if !target.is_empty() {
            assert_whole_or_cut(&target, message.get("target").unwrap_or_default(), fits, TRUNCATED);
        }
    }

    #[test]
    fn any_host_and_tag_are_made_legal(name in text(), app in "[!-~]{1,48}") {
        let event = &samples::all()[0].event;
        let context = Context { host_name: name, ..samples::syslog(2048) };
        let message = read(&render(event, &context, &json!({"protocol": "rfc3164", "app_name": app}).to_string()));
        let letters: String = app.chars().filter(char::is_ascii_alphanumeric).take(32).collect();
        prop_assert_eq!(&*message.tag, if letters.is_empty() { "heraldry" } else { &letters });
    }

    #[test]
    fn any_limit_is_kept_or_rejected(max in 0_u32..700, event in legal_event()) {
        match format::<Syslog>(&event, &samples::syslog(max), RFC3164) {
            Ok(payload) => {
                prop_assert!(payload.body.len() <= max as usize);
                read(std::str::from_utf8(&payload.body).expect("UTF-8"));
            }
            Err(Error::Internal(_)) => prop_assert!(max < 90, "refused at {}", max),
            Err(other) => prop_assert!(false, "{:?}", other),
        }
    }
}

fn finding(members: Value) -> RawEvent {
    let mut event = json!({"type": "finding_added", "id": "019a8f00-0000-7000-8000-000000000001", "occurred_at": "2026-11-07T23:12:45.120Z",
        "data": {"finding": {"title": "t", "severity": "low"}}});
    for (name, value) in members.as_object().expect("members") {
        event["data"]["finding"][name] = value.clone();
    }
    samples::event(&event.to_string())
}

#[test]
fn a_forged_record_stays_data() {
    let title = "x severity=\"info\" target=\"evil\\\"\n<0>Nov  1 00:00:00 evil evil: forged\r\n\0\u{2028}<0>su: x";
    let target = "https://a.example/?q=\" finding_id=\"F-9\" \\\" \\";
    let event = finding(json!({"title": title, "target": target, "id": "a\" b=\"c"}));
    let message = read(&render(&event, &samples::http(), RFC3164));
    assert_eq!((message.facility, message.severity), (16, 5));
    let names: Vec<_> = message.facts.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["id", "finding_id", "severity", "target"]);
    assert_eq!((message.get("target"), message.get("finding_id")), (Some(target), Some("a\" b=\"c")));
    let text = "LOW x severity=\"info\" target=\"evil\\\" <0>Nov  1 00:00:00 evil evil: forged   <0>su: x";
    assert_eq!(message.text, text);
}

#[test]
fn the_example_of_the_format() {
    let event = finding(json!({"title": "Stored \"XSS\"", "target": "C:\\x"}));
    let options = r#"{"protocol":"rfc3164","utc_offset":"+02:00","facility":"auth","app_name":"pen-test"}"#;
    assert_eq!(
        render(&event, &samples::http(), options),
        r#"<37>Nov  8 01:12:45 heraldry pentest: LOW Stored \"XSS\" id="019a8f00-0000-7000-8000-000000000001" severity="low" target="C:\\x""#
    );
}

#[test]
fn a_message_has_at_most_1024_bytes() {
    let at = |length: usize| {
        let event = finding(json!({"description": "é".repeat(length), "url": "https://a.example/"}));
        render(&event, &samples::syslog(8000), RFC3164)
    };
    let (shortest, longest) = ((1..).find(|length| at(*length).contains(TRUNCATED)), at(200_000));
    let shortest = shortest.expect("cut some time");
    let [whole, cut] = [at(shortest - 1), at(shortest)];
    assert!((1023..=1024).contains(&whole.len()) && !whole.contains(TRUNCATED), "{}", whole.len());
    for cut in [cut, longest] {
        assert!((1023..=1024).contains(&cut.len()), "{}", cut.len());
        let message = read(&cut);
        assert!(message.text.ends_with(&format!("é{TRUNCATED}")), "{}", message.text);
        assert_eq!(message.facts.len(), 3);
    }
}

#[test]
fn options_at_their_limits() {
    let event = &samples::all()[0].event;
    let pointer = |options: Value| match format::<Syslog>(event, &samples::http(), &options.to_string()) {
        Ok(_) => None,
        Err(Error::InvalidOptions(problems)) => Some(problems[0].pointer.clone()),
        Err(other) => panic!("{other:?}"),
    };
    for (name, good) in [
        ("protocol", json!("rfc5424")),
        ("protocol", json!("rfc3164")),
        ("utc_offset", json!("Z")),
        ("utc_offset", json!("+14:00")),
        ("utc_offset", json!("-12:00")),
        ("bom", json!(true)),
    ] {
        assert_eq!(pointer(json!({name: good.clone()})), None, "{name} {good}");
    }
    for (name, bad) in [
        ("protocol", json!("RFC3164")),
        ("protocol", json!(3164)),
        ("protocol", json!(null)),
        ("utc_offset", json!("+14:01")),
        ("utc_offset", json!("-12:01")),
        ("utc_offset", json!("Europe/Berlin")),
        ("utc_offset", json!(2)),
        ("bom", json!("true")),
        ("bom", json!(null)),
    ] {
        assert_eq!(pointer(json!({name: bad.clone()})), Some(format!("/{name}")), "{name} {bad}");
    }
}

#[test]
fn a_byte_order_mark_stands_before_the_text() {
    for sample in samples::all() {
        let (_, facts, text) = rfc5424_content(&sample.event);
        for max_bytes in [300, 480, 2048, 8000] {
            let line = render(&sample.event, &samples::syslog(max_bytes), r#"{"bom":true}"#);
            assert!(line.len() <= max_bytes as usize);
            let message = rfc5424_reader::read(line.as_bytes()).unwrap_or_else(|e| panic!("{e}\n{line}"));
            let msg = message.msg.expect("a text").strip_prefix('\u{FEFF}').expect("a byte order mark");
            assert_whole_or_cut(&text, msg.trim_start(), false, TRUNCATED);
            assert!(message.elements.iter().all(|element| element.params.len() <= facts.len()));
        }
    }
}

#[test]
fn every_type_has_content_of_its_own() {
    for sample in samples::all().iter().filter(|sample| !sample.name.contains("--")) {
        let message = read(&render(&sample.event, &samples::http(), RFC3164));
        let (_, facts, text) = rfc5424_content(&sample.event);
        assert_eq!((message.text, message.facts), (text, facts), "{}", sample.name);
    }
}
