//! Property tests: any event gives one legal LEEF record with the event's content. Read back by a strict parser of
//! LEEF, over syslog after one of RFC 3164 or RFC 5424; all are independent of the formatter.

use std::collections::BTreeSet;

use heraldry_format_leef::Leef;
use heraldry_formatter::testing::cleaned::cleaned;
use heraldry_formatter::testing::leef_reader::{self, Record};
use heraldry_formatter::testing::strategy::{legal_event, text};
use heraldry_formatter::testing::{manifest, rfc3164_reader, rfc5424_reader, samples};
use heraldry_formatter::text::is_blank;
use heraldry_formatter::{Context, Error, RawEvent, format};
use proptest::prelude::*;
use serde_json::{Value, json};

const TRUNCATED: &str = "[truncated]";

/// The expected value of a string: on one line, `|` and `^` in full width.
fn expected(text: &str) -> String {
    cleaned(text, " ", " ").trim().replace('|', "｜").replace('^', "＾")
}

fn render(event: &RawEvent, context: &Context, options: &Value) -> String {
    let payload = format::<Leef>(event, context, &options.to_string()).expect("a payload");
    assert_eq!(payload.content_type, "text/plain; charset=utf-8");
    assert!(payload.headers.is_empty());
    String::from_utf8(payload.body).expect("UTF-8")
}

/// The record in a line as sent over the context's transport, with these options.
fn record_of<'a>(event: &RawEvent, context: &Context, options: &Value, line: &'a str) -> &'a str {
    if context.transport != "syslog" {
        return line;
    }
    if options["syslog_header"] == "rfc5424" {
        let message = rfc5424_reader::read_with_tabs(line.as_bytes()).unwrap_or_else(|e| panic!("{e}\n{line}"));
        assert!(message.elements.is_empty(), "the structured data is nil");
        assert_eq!((message.facility, message.app_name, message.proc_id), (16, "heraldry", "-"));
        assert_eq!((message.msg_id, message.timestamp), (&*event.type_, &*event.occurred_at));
        assert!((2..=6).contains(&message.severity) && !message.host_name.contains(':'));
        return message.msg.expect("the record");
    }
    let message = rfc3164_reader::read_with_tabs(line.as_bytes()).unwrap_or_else(|e| panic!("{e}\n{line}"));
    assert_eq!((message.facility, message.timestamp), (16, Some("Nov 17 10:12:45")));
    assert!((2..=6).contains(&message.severity));
    message.content
}

fn read(event: &RawEvent, context: &Context, options: &Value, line: &str) -> Record {
    let record = record_of(event, context, options, line);
    leef_reader::read(record).unwrap_or_else(|e| panic!("{e}\n{line}"))
}

/// Checks that a value is the one that was sent, or its beginning and the truncation mark.
fn check_value(sent: &str, read: &str, max: usize, whole: bool, what: &str) {
    let sent = expected(sent);
    if read == sent {
        return;
    }
    let kept = read.strip_suffix(TRUNCATED).unwrap_or_else(|| panic!("{what}: sent {sent:?}, read {read:?}"));
    assert!(!whole || sent.len() > max, "{what} was cut without need: sent {sent:?}, read {read:?}");
    assert!(sent.starts_with(kept), "{what}: sent {sent:?}, read {read:?}");
}

fn check(event: &RawEvent, record: &Record, whole: bool) {
    let posted: Value = serde_json::from_str(&event.json).expect("JSON");
    let is_finding = ["finding_added", "finding_verified", "critical_finding"].contains(&&*event.type_);
    assert_eq!((&*record.vendor, &*record.product, &*record.version), ("Heraldry", "Heraldry", "0.1.0"));
    assert_eq!(record.event_id, event.type_);
    assert_eq!(record.keys[..3], ["devTime", "cat", "sev"]);
    assert_eq!(record.get("devTime"), Some("1794910365120"));
    if whole {
        assert_eq!(record.get("eventUid"), Some(&*event.id));
        assert!(record.get("title").is_some());
    }
    let group = &posted["data"]["finding"];
    let of_finding = |member: &str| {
        let text = is_finding.then(|| group[member].as_str()).flatten();
        text.filter(|text| !is_blank(text))
    };
    let engagement = |member: &str| posted["engagement"][member].as_str().filter(|text| !is_blank(text));
    for (key, sent) in [
        ("title", of_finding("title")),
        ("objectId", of_finding("id")),
        ("target", of_finding("target")),
        ("tool", of_finding("tool")),
        ("engagementId", engagement("id")),
        ("engagementName", engagement("name")),
        ("client", engagement("client")),
    ] {
        match (sent, record.get(key)) {
            (Some(sent), Some(read)) => check_value(sent, read, 1023, whole, key),
            (Some(sent), None) => assert!(!whole, "{key} {sent:?} is missing"),
            (None, _) => {}
        }
    }
    if let (Some(sent), Some(read)) = (of_finding("url"), record.get("link")) {
        let decoded = |text: &str| expected(&text.replace("%7C", "|").replace("%5E", "^"));
        check_value(&sent.replace("%7C", "|").replace("%5E", "^"), &decoded(read), 900, whole, "link");
    }
    if let Some(description) = of_finding("description").filter(|_| whole) {
        let (description, message) = (expected(description), record.get("msg").expect("a text"));
        let kept = message.strip_suffix(TRUNCATED).unwrap_or(message);
        assert!(message.starts_with(&description) || description.starts_with(kept), "{description:?} {message:?}");
    }
    let (low, high) = match (is_finding, group["severity"].as_str().map(str::to_lowercase).as_deref()) {
        (true, Some("critical")) => (9, 10),
        (true, Some("high")) => (7, 8),
        (true, Some("medium")) => (4, 6),
        (true, Some("low")) => (1, 3),
        (true, Some("info")) => (1, 1),
        _ => (1, 10),
    };
    let severity: u8 = record.get("sev").expect("a severity").parse().expect("a number");
    assert!((low..=high).contains(&severity), "{severity} is not in {low}..={high}");
}

fn choices() -> impl Strategy<Value = Value> {
    let header = prop::option::of(prop::sample::select(&["rfc3164", "rfc5424"][..]));
    let delimiter = prop::option::of(prop::sample::select(&["tab", "caret"][..]));
    (header, delimiter, prop::option::of(1024..=8000_u32)).prop_map(|(header, delimiter, max_bytes)| {
        let mut options = json!({});
        for (name, value) in
            [("syslog_header", json!(header)), ("delimiter", json!(delimiter)), ("max_bytes", json!(max_bytes))]
        {
            if !value.is_null() {
                options[name] = value;
            }
        }
        options
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_event_is_one_legal_record(
        event in legal_event(),
        options in choices(),
        max in prop::option::of(prop_oneof![Just(2048_u32), Just(8000), 700_u32..9000]),
    ) {
        let bare = render(&event, &samples::http(), &options);
        let whole = read(&event, &samples::http(), &options, &bare);
        check(&event, &whole, true);
        prop_assert_eq!(whole.delimiter, if options["delimiter"] == "caret" { '^' } else { '\t' });

        let context = Context { max_bytes: max, ..samples::syslog(1) };
        let line = render(&event, &context, &options);
        let most = options["max_bytes"].as_u64().unwrap_or(4096).min(u64::from(max.unwrap_or(8000)));
        prop_assert!(line.len() as u64 <= most);
        check(&event, &read(&event, &context, &options, &line), false);
        // Truncation is always marked, and never happens without need.
        let record = record_of(&event, &context, &options, &line);
        prop_assert!(record == bare || record.contains(TRUNCATED), "{}", line);
        prop_assert!(record == bare || (bare.len() + line.len() - record.len()) as u64 > most, "{}", line);
        prop_assert_eq!(&line, &render(&event, &context, &options));
    }

    #[test]
    fn the_texts_come_back(title in text(), target in text(), url in prop::option::of(text()), description in text(), name in text()) {
        prop_assume!(!title.is_empty());
        let json = json!({"type": "finding_added", "id": "019a8f00-0000-7000-8000-000000000001", "occurred_at": "2026-11-17T10:12:45.120Z",
            "engagement": {"id": name, "name": name, "client": name},
            "data": {"finding": {"title": title, "severity": "high", "target": target, "id": name, "url": url, "description": description}}});
        let event = samples::event(&json.to_string());
        let options = json!({});
        let line = render(&event, &samples::http(), &options);
        check(&event, &read(&event, &samples::http(), &options, &line), true);
    }

    #[test]
    fn any_host_name_is_made_legal(name in text(), options in choices()) {
        let event = &samples::all()[0].event;
        let context = Context { host_name: name, ..samples::syslog(8000) };
        let line = render(event, &context, &options);
        let header = if options["syslog_header"] == "rfc5424" {
            rfc5424_reader::read_with_tabs(line.as_bytes()).expect("a message").host_name
        } else {
            rfc3164_reader::read_with_tabs(line.as_bytes()).expect("a message").host_name
        };
        prop_assert!(!header.contains(':'));
    }

    #[test]
    fn any_limit_is_kept_or_rejected(max in 0_u32..2048, event in legal_event(), options in choices()) {
        let context = samples::syslog(max);
        match format::<Leef>(&event, &context, &options.to_string()) {
            Ok(payload) => {
                prop_assert!(payload.body.len() <= max as usize);
                read(&event, &context, &options, std::str::from_utf8(&payload.body).expect("UTF-8"));
            }
            Err(Error::Internal(_)) => prop_assert!(max < 240, "refused at {}", max),
            Err(other) => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn any_option_is_legal_or_rejected(name in text(), version in text(), number: f64) {
        let event = &samples::all()[0].event;
        let context = Context { product_version: version, ..samples::http() };
        for options in [
            json!({}), json!({"vendor": name}), json!({"product": name}), json!({"delimiter": name}),
            json!({"syslog_header": name}), json!({"facility": name}), json!({"utc_offset": name}),
            json!({"max_bytes": number}), json!({"max_bytes": name}),
        ] {
            match format::<Leef>(event, &context, &options.to_string()) {
                Ok(payload) => { read(event, &context, &options, std::str::from_utf8(&payload.body).expect("UTF-8")); }
                Err(Error::InvalidOptions(problems)) => prop_assert!(!problems[0].pointer.is_empty() && !problems[0].message.is_empty()),
                Err(other) => prop_assert!(false, "{:?}", other),
            }
        }
    }
}

fn finding(members: Value) -> RawEvent {
    let mut event = json!({"type": "finding_added", "id": "019a8f00-0000-7000-8000-000000000001", "occurred_at": "2026-11-17T10:12:45.120Z",
        "data": {"finding": {"title": "T"}}});
    for (name, value) in members.as_object().expect("members") {
        event["data"]["finding"][name] = value.clone();
    }
    samples::event(&event.to_string())
}

fn record(members: Value) -> Record {
    let (event, options) = (finding(members), json!({}));
    read(&event, &samples::http(), &options, &render(&event, &samples::http(), &options))
}

#[test]
fn a_forged_record_stays_data() {
    let title = "a|b^c\tsev=10\tdst=1.2.3.4^src=6.6.6.6\nLEEF:2.0|e|e|1|x|^|\0\u{2028}z";
    let text = "kept\tusrName=root^cat=x\r\n<0>Nov  1 00:00:00 evil LEEF:2.0|e|e|1|x|x09|a=b";
    for delimiter in ["tab", "caret"] {
        let options = json!({"delimiter": delimiter});
        let event = finding(json!({"title": title, "description": text, "severity": "low", "tool": "\tdst=1.1.1.1 "}));
        let record = read(&event, &samples::http(), &options, &render(&event, &samples::http(), &options));
        assert_eq!(record.get("title"), Some("a｜b＾c sev=10 dst=1.2.3.4＾src=6.6.6.6 LEEF:2.0｜e｜e｜1｜x｜＾｜  z"));
        assert_eq!(
            record.get("msg"),
            Some("kept usrName=root＾cat=x <0>Nov  1 00:00:00 evil LEEF:2.0｜e｜e｜1｜x｜x09｜a=b")
        );
        assert_eq!(record.get("tool"), Some("dst=1.1.1.1"));
        let read = ["dst", "src", "usrName", "cat", "sev"].map(|key| record.get(key));
        assert_eq!(read, [None, None, None, Some("finding"), Some("3")]);
    }
}

/// A pattern like `sev=([^\t]+)` matches its first occurrence: no key may end with another key, and attributes without
/// text of the event must precede all others.
#[test]
fn a_pattern_finds_the_key_that_it_means() {
    let mut keys = BTreeSet::new();
    for sample in samples::all() {
        let options = json!({});
        let line = render(&sample.event, &samples::http(), &options);
        let record = read(&sample.event, &samples::http(), &options, &line);
        let safe = ["devTime", "cat", "sev", "dst", "dstPort", "eventUid", "severity"];
        let first = record.keys.iter().position(|key| !safe.contains(&&**key)).unwrap_or(record.keys.len());
        assert!(record.keys[first..].iter().all(|key| !safe.contains(&&**key)), "{:?}", record.keys);
        assert_eq!(record.keys.last().map(String::as_str), Some("msg"));
        keys.extend(record.keys);
    }
    for key in &keys {
        let tail = keys.iter().find(|other| *other != key && other.ends_with(&**key));
        assert_eq!(tail, None, "ends with {key}");
    }
    assert!(keys.len() > 30, "{keys:?}");
}

#[test]
fn every_limit_is_kept_and_used() {
    let long = |length: usize| "x".repeat(length);
    for (member, key, max) in [
        ("description", "msg", 4000),
        ("tool", "tool", 1023),
        ("id", "objectId", 1023),
        ("target", "target", 1023),
        ("url", "link", 1023),
    ] {
        let with_link = |text: String| record(json!({"url": "https://a.example/", member: text}));
        assert_eq!(with_link(long(max)).get(key), Some(&*long(max)), "{member}");
        let over = with_link(long(max + 1));
        assert_eq!(over.get(key), Some(&*format!("{}{TRUNCATED}", long(max - TRUNCATED.len()))), "{member}");
    }
    let signed = |signer: String| {
        let json = json!({"type": "engagement_signed", "id": "019a8f00-0000-7000-8000-000000000001", "occurred_at": "2026-11-17T10:12:45.120Z",
            "data": {"authorization": {"signer": signer, "role": "CISO"}}});
        let (event, options) = (samples::event(&json.to_string()), json!({}));
        let record = read(&event, &samples::http(), &options, &render(&event, &samples::http(), &options));
        assert_eq!(record.get("role"), Some("CISO"));
        record.get("usrName").expect("a user").to_owned()
    };
    assert_eq!(signed(long(255)), long(255));
    assert_eq!(signed(long(256)), format!("{}{TRUNCATED}", long(244)));
}

#[test]
fn a_target_and_its_addresses() {
    for (target, ip, parts) in [
        (
            "https://a.example:8443/?x=1|2^3",
            json!("10.0.0.1"),
            [Some("https://a.example:8443/?x=1%7C2%5E3"), Some("a.example"), Some("8443"), Some("10.0.0.1"), None],
        ),
        (
            "http://[2001:db8::1]/",
            json!(null),
            [Some("http://[2001:db8::1]/"), Some("2001:db8::1"), None, Some("2001:db8::1"), None],
        ),
        ("10.0.0.2:22", json!("::1"), [None, Some("10.0.0.2"), Some("22"), Some("::1"), None]),
        (
            "10.0.0.2:22",
            json!(["x", "::1", "10.0.0.3"]),
            [None, Some("10.0.0.2"), Some("22"), Some("10.0.0.3"), Some("x, ::1, 10.0.0.3")],
        ),
        ("10.0.0.2", json!("no address"), [None, Some("10.0.0.2"), None, Some("10.0.0.2"), Some("no address")]),
        ("https://u:p@a.example/", json!(7), [None, Some("a.example"), None, None, Some("7")]),
        ("javascript:alert(1)", json!(null), [None; 5]),
        ("10.0.0.0/24", json!(null), [None; 5]),
    ] {
        let record = record(json!({"target": target, "ip": ip}));
        let read = ["url", "targetHost", "dstPort", "dst", "targetIps"].map(|key| record.get(key));
        assert_eq!(read, parts, "{target}");
        assert_eq!(record.get("target"), Some(&*expected(target)));
    }
}

#[test]
fn the_forms_of_the_header() {
    let json = json!({"type": "finding_added", "id": "019a8f00-0000-7000-8000-000000000001", "occurred_at": "2026-11-07T23:12:45.120Z",
        "data": {"finding": {"title": "T", "severity": "high"}}});
    let event = samples::event(&json.to_string());
    let record = "LEEF:2.0|Heraldry|Heraldry|0.1.0|finding_added|x09|devTime=1794093165120\tcat=finding\tsev=8\t\
                  eventUid=019a8f00-0000-7000-8000-000000000001\tseverity=high\ttitle=T\tmsg=T";
    let newer = |host: &str| format!("<131>1 2026-11-07T23:12:45.120Z {host} heraldry - finding_added - ");
    for (host, options, head) in [
        ("heraldry.example", json!({}), "<131>Nov  7 23:12:45 heraldry ".to_owned()),
        ("10.0.0.1", json!({"utc_offset": "-05:00"}), "<131>Nov  7 18:12:45 10.0.0.1 ".to_owned()),
        ("2001:db8::1", json!({"facility": "auth"}), "<35>Nov  7 23:12:45 2001-db8--1 ".to_owned()),
        ("heraldry.example", json!({"syslog_header": "rfc5424"}), newer("heraldry.example")),
        ("10.0.0.1", json!({"syslog_header": "rfc5424"}), newer("10.0.0.1")),
        ("2001:db8::1", json!({"syslog_header": "rfc5424"}), newer("-")),
    ] {
        let context = Context { host_name: host.into(), ..samples::syslog(2048) };
        assert_eq!(render(&event, &context, &options), format!("{head}{record}"));
        assert_eq!(render(&event, &samples::http(), &options), record);
    }
}

#[test]
fn options_at_their_limits() {
    let event = &samples::all()[0].event;
    let pointer = |options: Value| match format::<Leef>(event, &samples::syslog(8000), &options.to_string()) {
        Ok(_) => None,
        Err(Error::InvalidOptions(problems)) => Some(problems[0].pointer.clone()),
        Err(other) => panic!("{other:?}"),
    };
    for (name, good) in [
        ("vendor", json!("x".repeat(63))),
        ("product", json!("a = \\ b")),
        ("delimiter", json!("caret")),
        ("syslog_header", json!("rfc5424")),
        ("facility", json!(23)),
        ("utc_offset", json!("+14:00")),
        ("max_bytes", json!(1024)),
        ("max_bytes", json!(8000)),
        ("max_bytes", json!(4096.0)),
    ] {
        assert_eq!(pointer(json!({name: good.clone()})), None, "{name} {good}");
    }
    for (name, bad) in [
        ("vendor", json!("x".repeat(64))),
        ("vendor", json!("")),
        ("vendor", json!("a|b")),
        ("product", json!("a^b")),
        ("product", json!("a\tb")),
        ("product", json!(" a")),
        ("product", json!("ä")),
        ("product", json!(null)),
        ("delimiter", json!("^")),
        ("syslog_header", json!("none")),
        ("facility", json!(24)),
        ("utc_offset", json!("+2")),
        ("max_bytes", json!(1023)),
        ("max_bytes", json!(8001)),
        ("max_bytes", json!(4096.5)),
        ("max_bytes", json!("4096")),
        ("max_bytes", json!(null)),
        ("unknown", json!(1)),
    ] {
        assert_eq!(pointer(json!({name: bad.clone()})), Some(format!("/{name}")), "{name} {bad}");
    }
}

/// A record of exactly the maximum length is not truncated; with one byte less it is.
#[test]
fn the_last_byte_is_used() {
    for sample in samples::all() {
        let whole = render(&sample.event, &samples::syslog(8000), &json!({"max_bytes": 8000}));
        for most in [whole.len(), whole.len() - 1].into_iter().filter_map(|most| u32::try_from(most).ok()) {
            let line = render(&sample.event, &samples::syslog(most), &json!({"max_bytes": 8000}));
            assert!(line.len() <= most as usize);
            assert_eq!(line == whole, most as usize == whole.len(), "{}", sample.name);
            assert!(line == whole || line.contains(TRUNCATED), "{line}");
        }
    }
}

#[test]
fn the_largest_event_fits() {
    let event = samples::finding_of_length(256 * 1024);
    for (context, options, most) in [
        (samples::http(), json!({}), usize::MAX),
        (samples::syslog(2048), json!({}), 2048),
        (samples::syslog(8000), json!({}), 4096),
        (samples::syslog(8000), json!({"max_bytes": 8000}), 8000),
        (samples::syslog(8000), json!({"max_bytes": 1024}), 1024),
    ] {
        let line = render(&event, &context, &options);
        check(&event, &read(&event, &context, &options, &line), false);
        assert!(line.ends_with(TRUNCATED) && line.len() <= most && line.len() > most.min(4100) - 8, "{}", line.len());
    }
}

#[test]
fn every_type_has_content_of_its_own() {
    for sample in samples::all().iter().filter(|sample| !sample.name.contains("--")) {
        let options = json!({});
        let line = render(&sample.event, &samples::http(), &options);
        let record = read(&sample.event, &samples::http(), &options, &line);
        assert!(record.get("msg").is_some_and(|message| message.len() > 20), "{}", sample.name);
        let output: String = record.attributes.values().cloned().collect::<Vec<_>>().join(" ");
        samples::assert_shown(sample, &["/engagement/id", "/engagement/client"], &output);
    }
}

#[test]
fn the_manifest_is_a_line_that_can_be_joined() {
    manifest::assert_defaults(&manifest::checked::<Leef>("leef", "line", "newline"));
}
