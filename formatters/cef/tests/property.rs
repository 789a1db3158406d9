//! Property tests: any event gives one legal CEF record with the event's content. Read back by a strict parser of CEF,
//! over syslog after one of RFC 5424; both are independent of the formatter.

use heraldry_format_cef::Cef;
use heraldry_formatter::testing::cef_reader::{self, Record};
use heraldry_formatter::testing::strategy::{legal_event, text};
use heraldry_formatter::testing::{manifest, rfc5424_reader, samples};
use heraldry_formatter::text::is_blank;
use heraldry_formatter::{Context, Error, RawEvent, format};
use proptest::prelude::*;
use serde_json::{Value, json};

const TRUNCATED: &str = "[truncated]";

/// The expected value of a string (FORMATS, section 9), with `line_break` for CR, LF, CR LF, U+2028 and U+2029: a
/// second implementation, one character at a time.
fn expected(text: &str, line_break: char) -> String {
    let mut out = String::new();
    let mut after_cr = false;
    for c in text.chars() {
        match u32::from(c) {
            0x0a if after_cr => {}
            0x0a | 0x0d | 0x2028 | 0x2029 => out.push(line_break),
            0x00..=0x1f | 0x7f..=0x9f => out.push(' '),
            0x200e | 0x200f | 0x202a..=0x202e | 0x2066..=0x2069 => {}
            _ => out.push(c),
        }
        after_cr = c == '\r';
    }
    out.trim().to_owned()
}

fn render(event: &RawEvent, context: &Context, options: &str) -> String {
    let payload = format::<Cef>(event, context, options).expect("a payload");
    assert_eq!(payload.content_type, "text/plain; charset=utf-8");
    assert!(payload.headers.is_empty());
    String::from_utf8(payload.body).expect("UTF-8")
}

/// Parses a line as sent over the context's transport.
fn read(event: &RawEvent, context: &Context, line: &str) -> Record {
    let record = if context.transport == "syslog" {
        let message = rfc5424_reader::read(line.as_bytes()).unwrap_or_else(|e| panic!("{e}\n{line}"));
        assert!(message.elements.is_empty(), "the structured data is nil");
        assert_eq!((message.facility, message.app_name, message.proc_id), (16, "heraldry", "-"));
        assert_eq!((message.msg_id, message.timestamp), (&*event.type_, &*event.occurred_at));
        assert!((2..=6).contains(&message.severity));
        assert_eq!(message.host_name, "heraldry.example");
        message.msg.expect("the record")
    } else {
        line
    };
    cef_reader::read(record).unwrap_or_else(|e| panic!("{e}\n{line}"))
}

/// Checks that a value is the one that was sent, or its beginning and the truncation mark.
fn check_value(sent: &str, read: &str, max: usize, whole: bool, what: &str) {
    let sent = expected(sent, '\n');
    if read == sent {
        return;
    }
    let kept = read.strip_suffix(TRUNCATED).unwrap_or_else(|| panic!("{what}: sent {sent:?}, read {read:?}"));
    assert!(!whole || sent.len() > max, "{what} was cut without need: sent {sent:?}, read {read:?}");
    assert!(sent.starts_with(kept), "{what}: sent {sent:?}, read {read:?}");
}

fn check(event: &RawEvent, context: &Context, line: &str) {
    let max_bytes = match (context.max_bytes, &*context.transport) {
        (Some(max), _) => max as usize,
        (None, "syslog") => 8000,
        (None, _) => usize::MAX,
    };
    assert!(line.len() <= max_bytes, "{} bytes, {max_bytes} allowed", line.len());
    // Only the limits of single values can have truncated it.
    let whole = max_bytes == usize::MAX;
    let record = read(event, context, line);
    let posted: Value = serde_json::from_str(&event.json).expect("JSON");
    let is_finding = ["finding_added", "finding_verified", "critical_finding"].contains(&&*event.type_);
    assert_eq!((&*record.signature, record.get("cat").unwrap_or(&event.type_)), (&*event.type_, &*event.type_));
    assert_eq!((&*record.vendor, &*record.product, &*record.version), ("Heraldry", "Heraldry", "0.1.0"));
    if whole {
        assert_eq!(record.get("externalId"), Some(&*event.id));
        assert_eq!(record.get("rt"), Some("1794910365120"));
    }
    let group = &posted["data"]["finding"];
    let of_finding = |member: &str| {
        let text = is_finding.then(|| group[member].as_str()).flatten();
        text.filter(|text| !is_blank(text))
    };
    if let Some(title) = of_finding("title") {
        let title = expected(title, ' ');
        let kept = record.name.strip_suffix(TRUNCATED).unwrap_or(&record.name);
        assert!(record.name == title || title.starts_with(kept), "{title:?} {:?}", record.name);
        assert!(!whole || record.name == title || title.len() > 512, "the title was cut without need");
    }
    let engagement = |member: &str| posted["engagement"][member].as_str().filter(|text| !is_blank(text));
    for (key, label, sent, max) in [
        ("cs1", "objectId", of_finding("id"), 4000),
        ("cs2", "engagementId", engagement("id"), 4000),
        ("cs3", "engagementName", engagement("name"), 4000),
        ("cs4", "client", engagement("client"), 4000),
        ("cs6", "link", of_finding("url"), 4000),
        ("sourceServiceName", "", of_finding("tool"), 1023),
    ] {
        let Some(sent) = sent else { continue };
        match record.get(key) {
            Some(read) => check_value(sent, read, max, whole, key),
            None => assert!(!whole, "{key} {sent:?} is missing"),
        }
        if whole && !label.is_empty() {
            assert_eq!(record.get(&format!("{key}Label")), Some(label));
        }
    }
    if let Some(target) = of_finding("target").filter(|_| whole) {
        check_target(&expected(target, '\n'), &record);
    }
    let message = record.get("msg").unwrap_or_default();
    if let Some(description) = of_finding("description").filter(|_| whole) {
        let description = expected(description, '\n');
        let has_aside = ["Target: ", "Proof of concept: "].iter().any(|aside| message.starts_with(aside));
        let cut = message.strip_suffix(TRUNCATED).is_some_and(|kept| has_aside || description.starts_with(kept));
        assert!(message.contains(&description) || cut, "{description:?} {message:?}");
    }
    let (low, high) = match (is_finding, group["severity"].as_str().map(str::to_lowercase).as_deref()) {
        (true, Some("critical")) => (9, 10),
        (true, Some("high")) => (7, 8),
        (true, Some("medium")) => (4, 6),
        (true, Some("low")) => (1, 3),
        (true, Some("info")) => (0, 1),
        _ => (0, 10),
    };
    assert!((low..=high).contains(&record.severity), "{} is not in {low}..={high}", record.severity);
}

/// Checks that the whole target is in some value, or its beginning if a limit truncated it.
fn check_target(target: &str, record: &Record) {
    let message = record.get("msg").unwrap_or_default();
    let aside = message.strip_prefix("Target: ").unwrap_or_default();
    let places = [record.get("request"), record.get("cs6"), record.get("dhost"), Some(aside)];
    let holds = |value: &str| {
        let first = value.get(..value.find(TRUNCATED).unwrap_or(value.len())).unwrap_or_default();
        value == target || value.starts_with(target) || (value.contains(TRUNCATED) && target.starts_with(first))
    };
    assert!(places.into_iter().flatten().any(holds), "{target:?} is in none of {places:?}");
    if let Some(request) = record.get("request") {
        assert!(request.get(..4).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http")), "{request:?}");
    }
}

fn transports() -> impl Strategy<Value = Context> {
    let limit = prop::option::of(prop_oneof![Just(2048_u32), Just(8000), 700_u32..20_000]);
    prop_oneof![
        1 => Just(samples::http()),
        1 => limit.prop_map(|max_bytes| Context { max_bytes, ..samples::syslog(1) }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_event_is_one_legal_record(event in legal_event(), context in transports()) {
        let line = render(&event, &context, "{}");
        check(&event, &context, &line);
        prop_assert_eq!(&line, &render(&event, &context, "{}"));
        // Truncation is always marked, and never happens without need.
        if context.transport == "syslog" {
            let most = context.max_bytes.map_or(8000, |max| max as usize);
            let all = render(&event, &samples::syslog(1 << 24), "{}");
            // The builder reserves one byte, for a space before the first pair.
            prop_assert!(if all.len() < most { line == all } else { line.contains(TRUNCATED) || (all.len() == most && line == all) }, "{}", line);
        }
    }

    #[test]
    fn the_texts_come_back(title in text(), target in text(), url in prop::option::of(text()), description in text(), name in text()) {
        prop_assume!(!title.is_empty());
        let json = json!({"type": "finding_added", "id": "019a8f00-0000-7000-8000-000000000001", "occurred_at": "2026-11-17T10:12:45.120Z",
            "engagement": {"id": name, "name": name, "client": name},
            "data": {"finding": {"title": title, "severity": "high", "target": target, "id": name, "url": url, "description": description}}});
        let event = samples::event(&json.to_string());
        let line = render(&event, &samples::http(), "{}");
        check(&event, &samples::http(), &line);
    }

    #[test]
    fn any_limit_is_kept_or_rejected(max in 0_u32..2048, event in legal_event()) {
        let context = samples::syslog(max);
        match format::<Cef>(&event, &context, "{}") {
            Ok(payload) => {
                prop_assert!(payload.body.len() <= max as usize);
                read(&event, &context, std::str::from_utf8(&payload.body).expect("UTF-8"));
            }
            Err(Error::Internal(_)) => prop_assert!(max < 220, "refused at {}", max),
            Err(other) => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn any_option_is_legal_or_rejected(name in text(), version in text()) {
        let event = &samples::all()[0].event;
        let context = Context { product_version: version, ..samples::http() };
        for options in [json!({}), json!({"vendor": name}), json!({"product": name})] {
            match format::<Cef>(event, &context, &options.to_string()) {
                Ok(payload) => { read(event, &context, std::str::from_utf8(&payload.body).expect("UTF-8")); }
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
    let event = finding(members);
    read(&event, &samples::http(), &render(&event, &samples::http(), "{}"))
}

#[test]
fn a_forged_record_stays_data() {
    let title = "a|b\\|c\\\\|10|dst=1.2.3.4 src=6.6.6.6\nCEF:0|evil|evil|1|x|y|10|\0\u{2028}z";
    let message = "kept act=blocked \\= dst=9.9.9.9\r\nCEF:0|e|e|1|1|n|0|x=y\u{2029}\\n \\";
    let record = record(json!({"title": title, "description": message, "severity": "low", "tool": " dst=1.1.1.1 "}));
    assert_eq!(record.name, "a|b\\|c\\\\|10|dst=1.2.3.4 src=6.6.6.6 CEF:0|evil|evil|1|x|y|10|  z");
    assert_eq!(record.get("msg"), Some("kept act=blocked \\= dst=9.9.9.9\nCEF:0|e|e|1|1|n|0|x=y\n\\n \\"));
    assert_eq!(record.get("sourceServiceName"), Some("dst=1.1.1.1"));
    assert_eq!((record.get("dst"), record.get("src"), record.get("act"), record.severity), (None, None, None, 3));
}

#[test]
fn every_limit_is_kept_and_used() {
    let long = |length: usize| "x".repeat(length);
    for (member, key, max) in [
        ("description", "msg", 1023),
        ("tool", "sourceServiceName", 1023),
        ("id", "cs1", 4000),
        ("url", "cs6", 4000),
        ("cwe", "cs5", 4000),
    ] {
        // With a link, so that `msg` holds the description alone.
        let at = record(json!({"url": "https://a.example/", member: long(max)}));
        assert_eq!(at.get(key), Some(&*long(max)), "{member}");
        let over = record(json!({"url": "https://a.example/", member: long(max + 1)}));
        assert_eq!(over.get(key), Some(&*format!("{}{TRUNCATED}", long(max - TRUNCATED.len()))), "{member}");
        let escaped = record(json!({"url": "https://a.example/", member: "=".repeat(max)}));
        assert_eq!(escaped.get(key), Some(&*"=".repeat(max)), "cut before escaping: {member}");
    }
    let url = |length: usize| format!("https://a.example/{}", long(length - 18));
    assert_eq!(record(json!({"target": url(1023)})).get("request"), Some(&*url(1023)));
    assert_eq!(record(json!({"target": url(1024)})).get("request"), Some(&*format!("{}{TRUNCATED}", url(1012))));
    assert_eq!(record(json!({"title": "|".repeat(512)})).name, "|".repeat(512));
    assert_eq!(record(json!({"title": "|".repeat(513)})).name, format!("{}{TRUNCATED}", "|".repeat(501)));

    let phase = |status: String| {
        let json = json!({"type": "phase_changed", "id": "019a8f00-0000-7000-8000-000000000001", "occurred_at": "2026-11-17T10:12:45.120Z",
            "data": {"phase": {"name": "n", "status": status, "index": 3}}});
        let event = samples::event(&json.to_string());
        read(&event, &samples::http(), &render(&event, &samples::http(), "{}"))
    };
    assert_eq!(phase(long(63)).get("act"), Some(&*long(63)));
    assert_eq!(phase(long(64)).get("act"), Some(&*format!("{}{TRUNCATED}", long(52))));
    assert_eq!(phase(long(1)).get("cn1"), Some("3"));
}

#[test]
fn a_target_and_its_addresses() {
    for (target, ip, expected) in [
        (
            "https://a.example:8443/x",
            json!("10.0.0.1"),
            [Some("https://a.example:8443/x"), Some("a.example"), Some("8443"), Some("10.0.0.1"), None],
        ),
        (
            "http://[2001:db8::1]/",
            json!(null),
            [Some("http://[2001:db8::1]/"), Some("2001:db8::1"), None, None, Some("2001:db8::1")],
        ),
        ("10.0.0.2:22", json!("2001:DB8::2"), [None, Some("10.0.0.2"), Some("22"), None, Some("2001:db8::2")]),
        (
            "10.0.0.2:22",
            json!(["x", "::1", "10.0.0.3"]),
            [None, Some("10.0.0.2"), Some("22"), Some("10.0.0.3"), Some("::1")],
        ),
        ("10.0.0.2", json!("no address"), [None, Some("10.0.0.2"), None, Some("10.0.0.2"), None]),
        ("https://u:p@a.example/", json!(7), [None, Some("a.example"), None, None, None]),
        ("javascript:alert(1)", json!(null), [None; 5]),
        ("10.0.0.0/24", json!(null), [None; 5]),
    ] {
        for url in [json!(null), json!("https://platform.example/f")] {
            let record = record(json!({"target": target, "ip": ip, "url": url}));
            let read = ["request", "dhost", "dpt", "dst", "c6a3"].map(|key| record.get(key));
            assert_eq!(read, expected, "{target}");
            check_target(target, &record);
        }
    }
    let loose = record(json!({"target": "10.0.0.0/24"}));
    assert_eq!((loose.get("cs6"), loose.get("cs6Label")), (Some("10.0.0.0/24"), Some("target")));
    let linked = record(json!({"target": "10.0.0.0/24", "url": "https://p.example/", "description": "D"}));
    assert_eq!((linked.get("cs6"), linked.get("cs6Label")), (Some("https://p.example/"), Some("link")));
    assert_eq!(linked.get("msg"), Some("Target: 10.0.0.0/24\nD"));
}

#[test]
fn numbers_and_times_are_numbers_or_absent() {
    for (count, expected) in [
        (json!(3), Some("3")),
        (json!("12"), Some("12")),
        (json!(0), Some("0")),
        (json!(2_147_483_647), Some("2147483647")),
        (json!(2_147_483_648_u64), None),
        (json!(-1), None),
        (json!(1.5), None),
        (json!("many"), None),
        (json!([1]), None),
    ] {
        assert_eq!(record(json!({"occurrences": count})).get("cnt"), expected, "{count}");
    }
    let summary = |time: &str| {
        let json = json!({"type": "engagement_completed", "id": "019a8f00-0000-7000-8000-000000000001", "occurred_at": "1969-12-31T23:59:59.999Z",
            "data": {"summary": {"started_at": time, "completed_at": time}}});
        let event = samples::event(&json.to_string());
        let record = read(&event, &samples::http(), &render(&event, &samples::http(), "{}"));
        assert_eq!(record.get("rt"), None);
        assert_eq!(record.get("start"), record.get("end"));
        record.get("start").map(str::to_owned)
    };
    assert_eq!(summary("2026-11-16T09:00:00Z").as_deref(), Some("1794819600000"));
    assert_eq!(summary("2026-11-16T12:00:00.1239+03:00").as_deref(), Some("1794819600123"));
    assert_eq!(summary("1970-01-01T00:00:00Z").as_deref(), Some("0"));
    assert_eq!(summary("1969-12-31T23:59:59Z"), None);
    assert_eq!(summary("yesterday"), None);
}

#[test]
fn options_at_their_limits() {
    let event = &samples::all()[0].event;
    let render = |options: Value| format::<Cef>(event, &samples::http(), &options.to_string());
    let line = String::from_utf8(render(json!({"vendor": "|".repeat(63), "product": "a \\ b"})).expect("legal").body)
        .expect("UTF-8");
    let record = cef_reader::read(&line).expect("CEF");
    assert_eq!((&*record.vendor, &*record.product), (&*"|".repeat(63), "a \\ b"));
    for name in ["vendor", "product", "unknown"] {
        for bad in [
            json!(""),
            json!("x".repeat(64)),
            json!(" a"),
            json!("a "),
            json!("a\nb"),
            json!("ä"),
            json!(1),
            json!(null),
        ] {
            match render(json!({name: bad.clone()})) {
                Err(Error::InvalidOptions(problems)) => {
                    assert_eq!(problems[0].pointer, format!("/{name}"));
                }
                other => panic!("{name} {bad}: {other:?}"),
            }
        }
    }
}

#[test]
fn the_largest_event_fits() {
    let event = samples::finding_of_length(256 * 1024);
    for context in [samples::http(), samples::syslog(2048), samples::syslog(8000)] {
        let line = render(&event, &context, "{}");
        check(&event, &context, &line);
        assert!(line.ends_with(TRUNCATED));
    }
}

#[test]
fn every_type_has_content_of_its_own() {
    for sample in samples::all().iter().filter(|sample| !sample.name.contains("--")) {
        let record = read(&sample.event, &samples::http(), &render(&sample.event, &samples::http(), "{}"));
        assert!(record.get("msg").is_some_and(|message| message.len() > 20), "{}", sample.name);
        // What happens to the host happens in no engagement.
        let has_engagement = sample.event.json.contains("\"engagement\":");
        assert_eq!(record.get("cs3").is_some(), has_engagement, "{}", sample.name);
        assert!(record.name.len() > 10, "{}", sample.name);
        let output: String = record.extension.values().cloned().collect::<Vec<_>>().join(" ") + &record.name;
        samples::assert_shown(sample, &[], &output);
    }
}

#[test]
fn a_host_event_names_the_webhook_its_destination_and_the_reason() {
    let read_sample = |name: &str| {
        let sample = samples::all().into_iter().find(|sample| sample.name == name).expect("the sample").event;
        read(&sample, &samples::http(), &render(&sample, &samples::http(), "{}"))
    };
    for name in ["webhook_failing", "webhook_disabled", "webhook_recovered", "delivery_failed"] {
        let record = read_sample(name);
        let values = ["cs1", "destinationServiceName", "dhost"].map(|key| record.get(key));
        let expected = ["019be5f2-6d1e-7c3a-9a52-0f1d6f6c3b11", "SOC Slack", "hooks.slack.com"];
        assert_eq!(values, expected.map(Some), "{name}");
        let (reason, message) = (record.get("reason").expect("a reason"), record.get("msg").expect("a text"));
        assert!(message.ends_with(&format!(": {reason}")) && message.contains("SOC Slack"), "{message}");
        assert!(record.name.ends_with(": SOC Slack"), "{}", record.name);
    }
    let severities =
        ["webhook_failing", "webhook_disabled", "webhook_recovered"].map(|name| read_sample(name).severity);
    assert_eq!(severities, [5, 8, 1]);
    assert_eq!(read_sample("delivery_failed").get("cnt"), Some("3"));
}

#[test]
fn the_manifest_is_a_line_that_can_be_joined() {
    manifest::assert_defaults(&manifest::checked::<Cef>("cef", "line", "newline"));
}
