//! Property tests: any event gives one legal message of RFC 5424 with the event's content. Read back twice: by the
//! crate `syslog_rfc5424`, and by a stricter parser written from the RFC.

use heraldry_format_syslog::Syslog;
use heraldry_formatter::testing::strategy::{legal_event, text};
use heraldry_formatter::testing::{manifest, rfc5424_reader, samples};
use heraldry_formatter::{Context, Error, RawEvent, format};
use proptest::prelude::*;
use serde_json::{Value, json};

const TRUNCATED: &str = "[truncated]";

/// The expected value of a string (FORMATS, section 9): a second implementation, one character at a time.
fn expected(text: &str) -> String {
    let mut out = String::new();
    let mut after_cr = false;
    for c in text.chars() {
        match u32::from(c) {
            0x0a if after_cr => {}
            0x00..=0x1f | 0x7f..=0x9f | 0x2028 | 0x2029 => out.push(' '),
            0x200e | 0x200f | 0x202a..=0x202e | 0x2066..=0x2069 => {}
            _ => out.push(c),
        }
        after_cr = c == '\r';
    }
    out.trim().to_owned()
}

fn render(event: &RawEvent, context: &Context, options: &str) -> String {
    let payload = format::<Syslog>(event, context, options).expect("a payload");
    assert_eq!(payload.content_type, "text/plain; charset=utf-8");
    assert!(payload.headers.is_empty());
    String::from_utf8(payload.body).expect("UTF-8")
}

/// Parses a line with both parsers and compares the results.
fn read(line: &str) -> rfc5424_reader::Message<'_> {
    let message = rfc5424_reader::read(line.as_bytes()).unwrap_or_else(|e| panic!("{e}\n{line}"));
    let other = syslog_rfc5424::parse_message(line).unwrap_or_else(|e| panic!("{e}\n{line}"));
    assert_eq!(other.facility as u8, message.facility);
    assert_eq!(other.severity as u8, message.severity);
    assert_eq!(other.hostname.as_deref().unwrap_or("-"), message.host_name);
    assert_eq!(other.appname.as_deref().unwrap_or("-"), message.app_name);
    assert_eq!(other.msgid.as_deref().unwrap_or("-"), message.msg_id);
    assert_eq!(other.msg.trim_start(), message.msg.unwrap_or_default().trim_start());
    for element in &message.elements {
        for (name, value) in &element.params {
            assert_eq!(other.sd.find_tuple(&element.id, name), Some(value), "{name}\n{line}");
        }
    }
    message
}

/// Checks that a value is the one that was sent, or its beginning and the truncation mark.
fn check_value(sent: &str, read: &str, whole: bool, what: &str) {
    let sent = expected(sent);
    if read == sent {
        return;
    }
    let kept = read.strip_suffix(TRUNCATED).unwrap_or_else(|| panic!("{what}: sent {sent:?}, read {read:?}"));
    assert!(!whole, "{what} was cut without need");
    assert!(sent.starts_with(kept), "{what}: sent {sent:?}, read {read:?}");
}

fn check(event: &RawEvent, line: &str, max_bytes: usize) {
    assert!(line.len() <= max_bytes, "{} bytes", line.len());
    let message = read(line);
    assert_eq!(message.timestamp, event.occurred_at);
    assert_eq!((message.proc_id, message.msg_id), ("-", event.type_.as_str()));
    assert!(message.severity >= 2 && message.severity <= 6);
    // Nothing can have been truncated, however long the host's name is.
    let whole = render(event, &samples::syslog(1 << 24), "{}").len() + 255 < max_bytes;
    let posted: Value = serde_json::from_str(&event.json).expect("JSON");
    let Some(element) = message.elements.first() else {
        assert!(!whole, "no structured data");
        return;
    };
    assert_eq!(message.elements.len(), 1);
    if let Some(id) = element.get("id") {
        assert_eq!(id, event.id);
    }
    let finding = &posted["data"]["finding"];
    let is_finding = ["finding_added", "finding_verified", "critical_finding"].contains(&&*event.type_);
    let of_finding = |member: &str| is_finding.then(|| finding[member].as_str()).flatten();
    let report = &posted["data"]["report"]["id"];
    for (name, sent) in [
        ("finding_id", of_finding("id")),
        ("target", of_finding("target")),
        ("ip", of_finding("ip")),
        ("tool", of_finding("tool")),
        ("url", of_finding("url")),
        ("engagement_id", posted["engagement"]["id"].as_str()),
        ("engagement_name", posted["engagement"]["name"].as_str()),
        ("report_id", report.as_str().filter(|_| event.type_ == "report_ready")),
    ] {
        match (sent, element.get(name)) {
            // Without a URL of its own, that of the report or the proof is used.
            (Some(sent), Some(_)) if name == "url" && invisible(sent) => {}
            (Some(sent), Some(read)) => check_value(sent, read, whole, name),
            (Some(sent), None) => assert!(!whole || invisible(sent), "{name} {sent:?} is missing"),
            (None, _) => {}
        }
    }
    let msg = message.msg.unwrap_or_default();
    if let Some(title) = of_finding("title").filter(|title| !invisible(title)) {
        let words = ["INFO ", "LOW ", "MEDIUM ", "HIGH ", "CRITICAL "];
        let output = words.iter().find_map(|word| msg.strip_prefix(word)).unwrap_or_else(|| panic!("{msg:?}"));
        let title = expected(title);
        let kept = output.strip_suffix(TRUNCATED).unwrap_or(output);
        assert!(output.starts_with(&title) || title.starts_with(kept), "{title:?}\n{msg:?}");
        assert!(!whole || output.starts_with(&title), "the title was cut without need");
    }
}

/// Returns true if none of the text is visible; the SDK leaves such a member out.
fn invisible(text: &str) -> bool {
    heraldry_formatter::text::is_blank(text)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_event_is_one_legal_message(event in legal_event(), max in prop::option::of(prop_oneof![Just(480_u32), Just(2048), Just(8000), 400_u32..9000])) {
        let context = Context { max_bytes: max, ..samples::syslog(1) };
        let line = render(&event, &context, "{}");
        let most = max.map_or(8000, |max| max as usize);
        check(&event, &line, most);
        prop_assert_eq!(&line, &render(&event, &context, "{}"));
        // Truncation is always marked, and never happens without need.
        let all = render(&event, &samples::syslog(1 << 24), "{}");
        prop_assert!(if all.len() <= most { line == all } else { line.contains("[truncated]") || line.contains("[truncated\\]") }, "{}", line);
    }

    #[test]
    fn the_texts_come_back(title in text(), target in text(), id in text(), name in text()) {
        prop_assume!(!title.is_empty());
        let json = json!({"type": "finding_added", "id": "019a8f00-0000-7000-8000-000000000001", "occurred_at": "2026-11-17T10:12:45.120Z",
            "engagement": {"id": id, "name": name}, "data": {"finding": {"title": title, "severity": "high", "target": target, "id": id}}});
        let event = samples::event(&json.to_string());
        let line = render(&event, &samples::http(), "{}");
        check(&event, &line, 8000);
    }

    #[test]
    fn any_host_name_is_made_legal(name in text()) {
        let event = &samples::all()[0].event;
        let context = Context { host_name: name, ..samples::syslog(2048) };
        let line = render(event, &context, "{}");
        check(event, &line, 2048);
    }

    #[test]
    fn any_limit_is_kept_or_rejected(max in 0_u32..700, event in legal_event()) {
        match format::<Syslog>(&event, &samples::syslog(max), "{}") {
            Ok(payload) => {
                prop_assert!(payload.body.len() <= max as usize);
                read(std::str::from_utf8(&payload.body).expect("UTF-8"));
            }
            Err(Error::Internal(_)) => prop_assert!(max < 150, "refused at {}", max),
            Err(other) => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn any_option_is_legal_or_rejected(app in text(), id in text(), facility in any::<i64>()) {
        let event = &samples::all()[0].event;
        for options in [json!({"app_name": app}), json!({"structured_data_id": id}), json!({"facility": facility}), json!({"facility": app})] {
            match format::<Syslog>(event, &samples::syslog(8000), &options.to_string()) {
                Ok(payload) => { read(std::str::from_utf8(&payload.body).expect("UTF-8")); }
                Err(Error::InvalidOptions(problems)) => prop_assert!(!problems[0].pointer.is_empty() && !problems[0].message.is_empty()),
                Err(other) => prop_assert!(false, "{:?}", other),
            }
        }
    }
}

#[test]
fn a_forged_record_stays_data() {
    let title = "x\n<0>1 2026-11-17T10:12:45.120Z evil evil - - - forged\r\n\0\u{2028}<0>1 - - - - - -";
    let target = "https://a.example/?q=\"] [evil@1 x=\"y\"] \\\" \\";
    let json = json!({"type": "finding_added", "id": "019a8f00-0000-7000-8000-000000000001", "occurred_at": "2026-11-17T10:12:45.120Z",
        "data": {"finding": {"title": title, "severity": "low", "target": target, "id": "a\" b=\"c"}}});
    let line = render(&samples::event(&json.to_string()), &samples::http(), "{}");
    let message = read(&line);
    assert_eq!((message.facility, message.severity), (16, 5));
    assert_eq!(message.elements.len(), 1);
    let names: Vec<_> = message.elements[0].params.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["id", "finding_id", "severity", "target"]);
    assert_eq!(message.elements[0].get("target"), Some(target));
    assert_eq!(message.elements[0].get("finding_id"), Some("a\" b=\"c"));
    assert_eq!(message.msg, Some("LOW x <0>1 2026-11-17T10:12:45.120Z evil evil - - - forged   <0>1 - - - - - -"));
}

#[test]
fn the_example_of_the_format() {
    let json = json!({"type": "finding_added", "id": "019a8f00-0000-7000-8000-000000000001", "occurred_at": "2026-11-17T10:12:45.120Z",
        "data": {"finding": {"id": "F-0101", "title": "SQL injection in the id parameter", "severity": "critical", "cvss": 9.8, "target": "https://dvwa.contoso.example/?a=[1]"}}});
    assert_eq!(
        render(&samples::event(&json.to_string()), &samples::http(), "{}"),
        "<130>1 2026-11-17T10:12:45.120Z heraldry.example heraldry - finding_added [heraldry@32473 \
         id=\"019a8f00-0000-7000-8000-000000000001\" finding_id=\"F-0101\" severity=\"critical\" cvss=\"9.8\" \
         target=\"https://dvwa.contoso.example/?a=[1\\]\"] CRITICAL SQL injection in the id parameter"
    );
}

#[test]
fn severities_and_facilities_make_the_priority() {
    let line = |severity: &str, options: Value| {
        let json = json!({"type": "finding_added", "id": "019a8f00-0000-7000-8000-000000000001", "occurred_at": "2026-11-17T10:12:45.120Z",
            "data": {"finding": {"title": "t", "severity": severity}}});
        render(&samples::event(&json.to_string()), &samples::http(), &options.to_string())
    };
    for (word, number) in [("info", 6), ("LOW", 5), ("Medium", 4), ("high", 3), ("critical", 2)] {
        assert!(line(word, json!({})).starts_with(&format!("<{}>1 ", 128 + number)));
    }
    for (facility, number) in
        [(json!("kern"), 0), (json!("local7"), 23), (json!(0), 0), (json!(23), 23), (json!(4.0), 4)]
    {
        assert!(line("info", json!({"facility": facility})).starts_with(&format!("<{}>1 ", number * 8 + 6)));
    }
}

#[test]
fn options_at_their_limits() {
    let event = &samples::all()[0].event;
    let pointer = |options: Value| match format::<Syslog>(event, &samples::http(), &options.to_string()) {
        Ok(payload) => {
            read(std::str::from_utf8(&payload.body).expect("UTF-8"));
            None
        }
        Err(Error::InvalidOptions(problems)) => Some(problems[0].pointer.clone()),
        Err(other) => panic!("{other:?}"),
    };
    for good in [
        json!({"app_name": "x".repeat(48)}),
        json!({"structured_data_id": format!("{}@1", "x".repeat(30))}),
        json!({"structured_data_id": "\\@1234567890"}),
    ] {
        assert_eq!(pointer(good.clone()), None, "{good}");
    }
    for (name, bad) in [
        ("app_name", json!("x".repeat(49))),
        ("app_name", json!("")),
        ("app_name", json!("a b")),
        ("app_name", json!("ä")),
        ("app_name", json!("a\n")),
        ("app_name", json!(1)),
        ("structured_data_id", json!(format!("{}@1", "x".repeat(31)))),
        ("structured_data_id", json!("heraldry")),
        ("structured_data_id", json!("@1")),
        ("structured_data_id", json!("a@")),
        ("structured_data_id", json!("a@01")),
        ("structured_data_id", json!("a@b@1")),
        ("structured_data_id", json!("a]@1")),
        ("structured_data_id", json!("a\"@1")),
        ("structured_data_id", json!("a=@1")),
        ("structured_data_id", json!("a @1")),
        ("structured_data_id", json!("a@1\n")),
        ("facility", json!(24)),
        ("facility", json!(-1)),
        ("facility", json!(1.5)),
        ("facility", json!("local8")),
        ("facility", json!("16")),
        ("facility", json!(null)),
        ("unknown", json!(1)),
    ] {
        assert_eq!(pointer(json!({name: bad.clone()})), Some(format!("/{name}")), "{name} {bad}");
    }
}

#[test]
fn the_largest_event_fits() {
    let event = samples::finding_of_length(256 * 1024);
    for max in [480, 2048, 8000] {
        let line = render(&event, &samples::syslog(max), "{}");
        check(&event, &line, max as usize);
        assert!(line.ends_with(TRUNCATED) && line.len() > max as usize - 8, "{}", line.len());
    }
    assert!(render(&event, &samples::http(), "{}").len() <= 8000);
}

#[test]
fn every_type_has_content_of_its_own() {
    for sample in samples::all().iter().filter(|sample| !sample.name.contains("--")) {
        let line = render(&sample.event, &samples::http(), "{}");
        let message = read(&line);
        let msg = message.msg.unwrap_or_default();
        assert!(msg.len() > 20, "{msg}");
        let values = message.elements[0].params.iter().map(|(_, value)| value.as_str());
        let output: String = values.chain([msg]).collect::<Vec<_>>().join(" ");
        samples::assert_shown(sample, &[], &output);
    }
}

#[test]
fn the_manifest_is_a_line_that_can_be_joined() {
    manifest::assert_defaults(&manifest::checked::<Syslog>("syslog", "line", "newline"));
}
