//! The built-in formats in the sandbox, on unusual values, and their cost: every event of the largest size, however it
//! is built, takes at most a tenth of the instructions that a call may use. Instructions are the same on every machine,
//! so this cannot fail by chance.

use std::fmt::Write as _;

use heraldry::formatter::{Compiler, ComponentRuntime, ComponentRuntimeOptions, Kind, Loaded, RenderError};
use heraldry::model::event::{Event, EventType, NewEvent};
use heraldry::model::settings::{Limits, SandboxSettings};
use heraldry::model::url::TransportKind;
use heraldry::watchdog::Watchdog;
use heraldry::{built_in, samples};

/// Levels of lists and objects below a member of a group: the whole event may have 127.
const DEPTH: usize = 120;

/// Combinations of member and shape between those that every run tries. The ignored test tries all.
const STRIDE: usize = 11;

/// The share of the limit on instructions that an event may take.
const SHARE: u64 = 10;

/// Configurations of the formats in which the work differs: format, transport, options.
const CALLS: [(&str, TransportKind, &str); 20] = [
    ("json", TransportKind::Http, "{}"),
    ("json", TransportKind::Http, r#"{"shape":"cloudevents"}"#),
    ("slack", TransportKind::Http, "{}"),
    ("slack", TransportKind::Http, r#"{"compact":true}"#),
    ("teams", TransportKind::Http, "{}"),
    ("teams", TransportKind::Http, r#"{"compact":true}"#),
    ("discord", TransportKind::Http, "{}"),
    ("discord", TransportKind::Http, r#"{"compact":true}"#),
    ("pagerduty", TransportKind::Http, r#"{"all_events":true}"#),
    ("pagerduty", TransportKind::Http, r#"{"all_events":true,"dedup":"finding"}"#),
    ("cef", TransportKind::Http, "{}"),
    ("cef", TransportKind::SyslogDatagram, r#"{"syslog_header":"rfc3164"}"#),
    ("leef", TransportKind::Http, "{}"),
    ("leef", TransportKind::SyslogStream, "{}"),
    ("syslog", TransportKind::Http, "{}"),
    ("syslog", TransportKind::SyslogDatagram, "{}"),
    ("syslog", TransportKind::SyslogStream, r#"{"protocol":"rfc3164"}"#),
    ("splunk-hec", TransportKind::Http, "{}"),
    ("ocsf", TransportKind::Http, r#"{"all_events":true}"#),
    ("ocsf", TransportKind::Http, r#"{"all_events":true,"finding_uid":"finding"}"#),
];

/// The places for a large value: event type, and the path to it.
const PLACES: [(&str, &[&str]); 15] = [
    (
        "finding_added",
        &[
            "id",
            "title",
            "cvss",
            "cvss_vector",
            "cve",
            "cwe",
            "target",
            "ip",
            "parameter",
            "description",
            "remediation",
            "evidence",
            "references",
            "tags",
            "tool",
            "template",
            "occurrences",
            "url",
            "unknown",
            "",
        ],
    ),
    ("critical_finding", &["title", "cwe"]),
    (
        "finding_verified",
        &["title", "/verification/method", "/verification/verified_by", "/verification/poc_url", "/verification"],
    ),
    ("phase_changed", &["name", "status", "index", "total", ""]),
    ("engagement_completed", &["started_at", "completed_at", "findings", "findings.critical", "report_url", ""]),
    ("engagement_signed", &["signer", "role", "signed_at", "scope", "url", ""]),
    ("retest_completed", &["id", "fixed", "still_open", "regressed", "url", ""]),
    ("report_ready", &["id", "title", "kind", "framework", "format", "pages", "url", ""]),
    ("surface_changed", &["added", "removed", "changed", "url", ""]),
    ("monitor_alert", &["id", "name", "target", "message", "url", ""]),
    ("webhook_disabled", &["id", "name", "url_host", "format", "reason", "count", ""]),
    (
        "delivery_failed",
        &["id", "event_id", "event_type", "webhook", "webhook.name", "webhook.url_host", "reason", "count", ""],
    ),
    ("formatter_rejected", &["name", "version", "digest", "reason", "count", ""]),
    ("host_degraded", &["kind", "reason", "count", ""]),
    ("finding_added", &["/engagement/id", "/engagement/name", "/engagement/client", "/other"]),
];

/// Makes JSON of at most so many bytes.
type Shape = fn(usize) -> String;

/// The worst values, each with its name.
fn shapes() -> Vec<(&'static str, Shape)> {
    vec![
        ("numbers", |size| list(size, |_| "1".into())),
        ("large numbers", |size| list(size, |_| "1e300".into())),
        ("numbers beyond a double", |size| list(size, |n| format!("{n}e999"))),
        ("short strings", |size| list(size, |_| "\"a\"".into())),
        ("blank strings", |size| list(size, |_| "\" \"".into())),
        ("invisible strings", |size| list(size, |_| "\"\u{200B}\"".into())),
        ("escaped strings", |size| list(size, |_| r#""\n\"""#.into())),
        ("empty objects", |size| list(size, |_| "{}".into())),
        ("empty lists", |size| list(size, |_| "[]".into())),
        ("nulls", |size| list(size, |_| "null".into())),
        ("lists of one", |size| list(size, |_| "[1]".into())),
        ("small objects", |size| list(size, |_| r#"{"a":1}"#.into())),
        ("ids", |size| list(size, |n| format!("\"F-{n:06}\""))),
        ("findings", |size| list(size, |n| format!(r#"{{"id":"F-{n:06}","title":"t","kind":"k","detail":"d"}}"#))),
        ("findings without ids", |size| list(size, |_| r#"{"title":"t","asset":null}"#.into())),
        ("long ids", |size| list(size, |n| format!("\"F-{n:06}{}\"", "\\\"".repeat(600)))),
        ("very long ids", |size| list(size, |n| format!("\"F-{n:06}{}\"", "x".repeat(15_000)))),
        ("ten long strings", |size| list(size, |_| format!("\"{}\"", "<&>\\n".repeat(size / 60)))),
        ("addresses", |size| list(size, |n| format!("\"10.1.{}.{}\"", n / 256 % 256, n % 256))),
        ("urls", |size| list(size, |n| format!("\"https://a.example/{n}|\""))),
        ("scores", |size| list(size, |n| format!(r#"{{"v3":{{"score":{n}0}}}}"#))),
        ("deep lists", |size| deep(size, "[", "1,", "]", "1")),
        ("deep lists of strings", |size| deep(size, "[", "\"a\",", "]", "1")),
        ("deep lists, long inside", |size| {
            format!("{}{}{}", "[".repeat(DEPTH), list(size - 2 * DEPTH, |_| "1".into()), "]".repeat(DEPTH))
        }),
        ("deep objects", |size| deep(size, "{\"nvd\":", "", "}", "1")),
        ("deep objects with members", |size| deep_members(size)),
        ("many members", |size| members(size, |n| format!("{n:06}"))),
        ("members as long as known ones", |size| members(size, four_letters)),
        ("members with escapes", |size| members(size, |n| format!("\\u0001{n:06}"))),
        ("severities", |size| members(size, |n| " ".repeat(n + 1) + "critical")),
        ("a long key", |size| format!("{{\"{}\":1}}", "k".repeat(size - 6))),
        ("a long key of escapes", |size| format!("{{\"{}\":1}}", "\\u0001".repeat((size - 6) / 6))),
        ("a long text", |size| text(size, "x")),
        ("words", |size| text(size, "a b, ")),
        ("quotes", |size| text(size, "\\\"")),
        ("backslashes", |size| text(size, "\\\\")),
        ("line feeds", |size| text(size, "a\\n")),
        ("control characters", |size| text(size, "\\u0001")),
        ("hidden control characters", |size| format!("\"a{}b\"", "\\u0001".repeat((size - 4) / 6))),
        ("surrogate pairs", |size| text(size, "\\ud83d\\ude00")),
        ("emoji", |size| text(size, "😀")),
        ("deletes", |size| format!("\"a{}b\"", "\u{7f}".repeat(size - 4))),
        ("spaces", |size| format!("\"a{}b\"", " ".repeat(size - 4))),
        ("nothing but spaces", |size| text(size, " ")),
        ("invisible characters", |size| format!("\"a{}b\"", "\u{200B}".repeat((size - 4) / 3))),
        ("directions", |size| format!("\"a{}b\"", "\u{202E}".repeat((size - 4) / 3))),
        ("markup", |size| text(size, "&<>`*_{{|]=^")),
        ("a long url", |size| text(size - 20, "{|é").replacen('"', "\"https://a.example/", 1)),
        ("a url of two thousand bytes", |size| format!("\"https://a.example/{}\"", "|".repeat(650.min(size - 30)))),
        ("white space", |size| format!("[{}1]", " ".repeat(size - 3))),
        ("lines", |size| format!("[{}1]", "\n".repeat(size - 3))),
        ("digits", |size| "9".repeat(size)),
        ("decimals", |size| format!("0.{}", "9".repeat(size - 2))),
        ("a digit string", |size| text(size, "7")),
        ("a time", |size| format!("\"2026-01-31T12:00:00.{}Z\"", "5".repeat(size - 30))),
    ]
}

fn list(size: usize, item: impl Fn(usize) -> String) -> String {
    let mut out = String::from("[");
    for n in 0.. {
        let item = item(n);
        if out.len() + item.len() + 2 > size {
            break;
        }
        out.push_str(if n > 0 { "," } else { "" });
        out.push_str(&item);
    }
    out + "]"
}

/// Nested values, with as many `fill` on each level as there is room for.
fn deep(size: usize, open: &str, fill: &str, close: &str, inner: &str) -> String {
    let room = size / DEPTH - open.len() - close.len() - 1;
    let level = format!("{open}{}", fill.repeat(room.checked_div(fill.len()).unwrap_or_default()));
    format!("{}{inner}{}", level.repeat(DEPTH), close.repeat(DEPTH))
}

fn deep_members(size: usize) -> String {
    let room = size / DEPTH - 10;
    let level: String = (0..room / 9).fold(String::from("{"), |mut level, n| {
        let _ = write!(level, "\"{n:05}\":1,");
        level
    });
    format!("{}1{}", format!("{level}\"v3\":").repeat(DEPTH), "}".repeat(DEPTH))
}

fn members(size: usize, name: impl Fn(usize) -> String) -> String {
    let mut out = String::from("{");
    for n in 0.. {
        let name = name(n);
        if out.len() + name.len() + 6 > size {
            break;
        }
        let _ = write!(out, "{}\"{name}\":1", if n > 0 { "," } else { "" });
    }
    out + "}"
}

/// Names as long as `name`, `tool` and `role`.
fn four_letters(n: usize) -> String {
    [17_576, 676, 26, 1].iter().map(|unit| char::from(b'a' + (n / unit % 26) as u8)).collect()
}

fn text(size: usize, part: &str) -> String {
    format!("\"{}\"", part.repeat((size - 2) / part.len()))
}

/// An event of the largest size with this value at this place; `None` if the host rejects it there.
fn event(event_type: &str, group: &str, place: &str, shape: Shape) -> Option<NewEvent> {
    let largest = Limits::default().max_event_bytes;
    let made = |value: &str| {
        let title = if group == "finding" && place != "title" { r#""title":"t","# } else { "" };
        let (mut groups, mut engagement) = (String::new(), String::from(r#""id":"E-1","name":"n""#));
        match place.split('/').collect::<Vec<_>>()[..] {
            ["", "engagement", member] => {
                let others = ["id", "name"].into_iter().filter(|other| *other != member);
                engagement = others.map(|other| format!(r#""{other}":"x","#)).collect();
                let _ = write!(engagement, r#""{member}":{value}"#);
            }
            ["", name, member] => {
                let _ = write!(groups, r#","{name}":{{"{member}":{value}}}"#);
            }
            ["", name] => {
                let _ = write!(groups, r#","{name}":{value}"#);
            }
            _ => {}
        }
        let own = match place {
            "" => value.trim_start_matches('{').trim_end_matches('}').to_owned(),
            place if place.starts_with('/') => r#""x":1"#.into(),
            place if place.contains('.') => {
                let (outer, inner) = place.split_once('.').expect("a point");
                format!(r#""{outer}":{{"{inner}":{value}}}"#)
            }
            place => format!(r#""{place}":{value}"#),
        };
        let id = if place == "id" { "" } else { r#""id":"F-1","# };
        let id = if place.is_empty() { "" } else { id };
        format!(
            r#"{{"type":"{event_type}","occurred_at":"2026-11-17T10:12:45Z","engagement":{{{engagement}}},"data":{{"{group}":{{{title}{id}{own}}}{groups}}}}}"#
        )
    };
    let frame = made("").len();
    let json = made(&shape(largest - frame));
    assert!(json.len() <= largest, "{} bytes", json.len());
    NewEvent::parse_any(&json, "").ok()
}

fn runtime() -> (ComponentRuntime, Vec<Loaded>) {
    let runtime = ComponentRuntime::new(ComponentRuntimeOptions {
        settings: SandboxSettings::default(),
        calls: 2,
        compiler: Compiler::Here,
        code_cache: None,
        host_name: "heraldry.example".into(),
        samples: Vec::new(),
        watchdog: Watchdog::default(),
    })
    .expect("a runtime");
    let loaded = built_in().iter().map(|built_in| runtime.check(built_in.component).1.expect("it fits")).collect();
    (runtime, loaded)
}

/// Tries every `stride`-th combination, and prints the dearest call of each format.
#[expect(clippy::print_stdout, reason = "the dearest calls are what a long run is for")]
fn try_combinations(stride: usize) {
    let limit = SandboxSettings::default().fuel / SHARE;
    let (runtime, loaded) = runtime();
    let shapes = shapes();
    let mut dearest = vec![(0, String::new()); CALLS.len()];
    let mut faults = Vec::new();
    let (mut tried, mut combination) = (0, 0);
    for (event_type, places) in PLACES {
        let group = EventType::from_name(event_type).expect("a type").group();
        for place in places {
            for (name, shape) in &shapes {
                combination += 1;
                if combination % stride != 0 {
                    continue;
                }
                let Some(event) = event(event_type, group, place, *shape).map(samples::accepted) else { continue };
                tried += 1;
                for ((format, transport, options), dearest) in CALLS.iter().zip(&mut dearest) {
                    let component = loaded.iter().find(|loaded| loaded.manifest.name == *format).expect("built in");
                    let run = runtime.run(component, &event, options, *transport);
                    let call = format!("{format} {options}: {event_type} {place}: {name}");
                    let is_rendered = matches!(run.result, Ok(_) | Err(RenderError::Unsupported(_)));
                    if !is_rendered || run.instructions > limit {
                        faults.push(format!("{call}: {} {:?}", run.instructions, run.result.err()));
                    }
                    if run.instructions > dearest.0 {
                        *dearest = (run.instructions, call);
                    }
                }
            }
        }
    }
    for (instructions, call) in &dearest {
        println!("{instructions:>11}  {call}");
    }
    assert!(faults.is_empty(), "{} calls exceed {limit} instructions or fail:\n{}", faults.len(), faults.join("\n"));
    assert!(tried * stride > 2000, "only {tried} events were legal");
}

#[test]
fn the_largest_events_take_at_most_a_tenth_of_the_instructions() {
    try_combinations(STRIDE);
}

#[test]
#[ignore = "takes minutes: every value at every place"]
fn every_largest_event_takes_at_most_a_tenth_of_the_instructions() {
    try_combinations(1);
}

/// The body that a format makes of a finding with these members.
fn rendered(of: &(ComponentRuntime, Vec<Loaded>), format: &str, members: &str) -> String {
    let plain = samples::plain(EventType::FindingAdded).expect("the plain sample");
    let json =
        format!(r#"{{"type":"finding_added","data":{{"finding":{{"title":"t","severity":"high",{members}}}}}}}"#);
    let component = of.1.iter().find(|loaded| loaded.manifest.name == format).expect("built in");
    let run = of.0.run(component, &Event { json, ..plain }, "{}", TransportKind::Http);
    let payload = run.result.unwrap_or_else(|error| panic!("{format}: {error}"));
    String::from_utf8(payload.body.to_vec()).expect("UTF-8")
}

#[test]
fn numbers_are_shown_as_they_were_posted_even_beyond_a_double() {
    let of = runtime();
    let digits = "7".repeat(400);
    for number in ["1e400", "-0", "1.50", "-1e999", &digits] {
        let members = format!(r#""cvss":{number},"occurrences":{number},"cve":["CVE-2026-1"],"other":[{number}]"#);
        for component in &of.1 {
            let format = component.manifest.name.as_str();
            let body = rendered(&of, format, &members);
            let shown = &number[..number.len().min(20)];
            assert!(body.contains(shown), "{format} leaves {number} out: {body}");
            let words = body.split(|c: char| !c.is_alphanumeric());
            let is_wrong = |word: &str| ["inf", "Infinity", "NaN"].contains(&word);
            assert!(!words.into_iter().any(is_wrong), "{format}: {body}");
            // In the format json, data is what was posted, to the byte.
            if component.manifest.kind == Kind::Document && format != "json" {
                let parsed =
                    body.lines().try_for_each(|line| serde_json::from_str::<serde_json::Value>(line).map(drop));
                assert!(parsed.is_ok(), "{format}: {parsed:?} {body}");
            }
        }
        assert!(rendered(&of, "json", &members).contains(&format!(r#""other":[{number}]"#)));
    }
}

#[test]
fn scores_and_targets_of_other_shapes_are_understood() {
    let of = runtime();
    let cef = |members: &str| rendered(&of, "cef", members);
    for (cvss, shown) in [
        (r#"{"score":9.8,"vector":"CVSS:3.1/AV:N"}"#, "cfp1=9.8"),
        (r#"{"v2":5.0,"v3":{"baseScore":7.5}}"#, "cfp1=7.5"),
        (r#"[{"source":"nvd","score":"8.1"}]"#, "cfp1=8.1"),
        (r#"{"vector":"CVSS:3.1/AV:N"}"#, "CVSS: CVSS:3.1/AV:N"),
    ] {
        let line = cef(&format!(r#""cvss":{cvss}"#));
        assert!(line.contains(shown) && !line.contains('{'), "{line}");
    }
    for (target, host) in [
        (r#""C:\\inetpub\\wwwroot""#, None),
        (r#""/etc/passwd""#, None),
        (r#""a b""#, None),
        (r#""me@contoso.example""#, None),
        (r#""com.contoso.wallet""#, None),
        (r#""10.0.0.0/8""#, None),
        (r#""https://user:pw@shop.contoso.example/x""#, Some("shop.contoso.example")),
        (r#""shop.contoso.example:8443""#, Some("shop.contoso.example")),
        (r#"{"host":"shop.contoso.example","port":8443}"#, Some("shop.contoso.example")),
        (r#""[2001:db8::1]:443""#, Some("2001:db8::1")),
    ] {
        let line = cef(&format!(r#""target":{target}"#));
        let found = line.split(' ').find_map(|pair| pair.strip_prefix("dhost="));
        assert_eq!(found, host, "{line}");
        assert!(host.is_some() || line.contains("cs6Label=target"), "the target is elsewhere: {line}");
    }
}
