//! Generated events: any that the host would accept, with hostile and unusual content.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::{EventType, RawEvent};

/// Member names of some event types; the host accepts others, so some are invented.
const MEMBERS: &[&str] = &[
    "id",
    "title",
    "severity",
    "cvss",
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
    "method",
    "verified_by",
    "poc_url",
    "name",
    "status",
    "index",
    "total",
    "started_at",
    "completed_at",
    "findings",
    "report_url",
    "signer",
    "role",
    "signed_at",
    "scope",
    "fixed",
    "still_open",
    "regressed",
    "kind",
    "framework",
    "format",
    "pages",
    "added",
    "removed",
    "changed",
    "asset",
    "detail",
    "message",
    "url_host",
    "reason",
    "count",
    "event_id",
    "event_type",
    "webhook",
    "version",
    "digest",
    "critical",
    "high",
    "Medium",
    "constructor",
    "a\"b\\c",
];

/// Strings that break one format or another: markup, mentions, escapes, fences, templates, controls, directions.
const NASTY: &[&str] = &[
    "a",
    "B7",
    " ",
    "  ",
    "é",
    "漢",
    "😀",
    "👩\u{200D}💻",
    "e\u{301}",
    "\u{FEFF}",
    "\u{200B}",
    "\0",
    "\u{1}",
    "\u{1b}[31m",
    "\u{7f}",
    "\u{85}",
    "\u{9f}",
    "\t",
    "\n",
    "\r",
    "\r\n",
    "\u{2028}",
    "\u{2029}",
    "\u{202E}",
    "\u{2066}",
    "\u{200F}",
    "\u{FFFD}",
    "\u{FFFF}",
    "&",
    "<",
    ">",
    "&amp;",
    "<!channel>",
    "<!here>",
    "<@U1>",
    "<#C1>",
    "<!subteam^S1>",
    "<http://evil.example|bank>",
    "[a](javascript:x)",
    "![a](http://evil.example/a.png)",
    "{{DATE()}}",
    "{{{",
    "${x}",
    "```",
    "````",
    "`",
    "*b*",
    "_i_",
    "~s~",
    "#",
    "|",
    "||",
    "\\",
    "\\\\",
    "=",
    "\\=",
    "]",
    "\"",
    "'",
    "<at>x</at>",
    "</script>",
    "<0>1 ",
    "a=b ",
    "cs1=x",
    "...",
    "%",
    "%0a",
    "@here",
    ":tada:",
];

/// A concatenation of hostile strings; occasionally one of up to 100 KiB.
pub fn text() -> impl Strategy<Value = String> {
    let part = || prop_oneof![8 => prop::sample::select(NASTY).prop_map(str::to_owned), 1 => any::<char>().prop_map(String::from)];
    prop_oneof![
        20 => vec(part(), 0..8).prop_map(|parts| parts.concat()),
        4 => vec(part(), 0..200).prop_map(|parts| parts.concat()),
        1 => (vec(part(), 1..6), 1..100_000_usize).prop_map(|(parts, length)| {
            let part = parts.concat();
            part.repeat(length / part.len() + 1)
        }),
    ]
}

/// Text where a web address is expected.
pub fn url() -> impl Strategy<Value = String> {
    let whole = prop::sample::select(
        &[
            "https://platform.example/findings/F-0101",
            "http://127.0.0.1:8080/",
            "https://user:secret@platform.example/",
            "javascript:alert(1)",
            "data:text/html,<script>",
            "https://platform.example\\@evil.example/",
            "https://platform.example/a|b>c<d {{x}}",
            "//evil.example",
            "ftp://evil.example/",
            "HTTPS://PLATFORM.EXAMPLE",
        ][..],
    );
    prop_oneof![
        3 => whole.prop_map(str::to_owned),
        1 => text().prop_map(|tail| format!("https://platform.example/{tail}")),
        1 => text().prop_map(|host| format!("https://{host}.example/")),
    ]
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => (-20.0..20.0_f64).prop_map(Value::from),
        1 => prop::sample::select(&["critical", "HIGH", "Medium", "low", "9.8", "CWE-79"][..]).prop_map(Value::from),
        2 => url().prop_map(Value::from),
        6 => text().prop_map(Value::from),
    ]
}

fn member_name() -> impl Strategy<Value = String> {
    prop_oneof![
        12 => prop::sample::select(MEMBERS).prop_map(str::to_owned),
        1 => vec(prop::sample::select(NASTY), 0..3).prop_map(|parts| parts.concat()),
    ]
}

fn object(members: impl Strategy<Value = Value>, most: usize) -> impl Strategy<Value = Map<String, Value>> {
    vec((member_name(), members), 0..most).prop_map(|members| members.into_iter().collect())
}

/// Any JSON: of any type, nested, with lists of up to 40 items.
pub fn any_json() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(3, 48, 12, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..12).prop_map(Value::from),
            vec(scalar(), 0..40).prop_map(Value::from),
            object(inner, 8).prop_map(Value::from),
        ]
    })
}

/// Any event that the host would accept.
pub fn legal_event() -> impl Strategy<Value = RawEvent> {
    let group = object(any_json(), 24);
    let others = object(any_json(), 3);
    let title = text().prop_filter("the host wants a title", |title| !title.is_empty());
    let severity = prop::option::of(prop::sample::select(&["info", "LOW", "Medium", "high", "critical"][..]));
    let engagement = prop::option::of((text(), text(), prop::option::of(text())));
    let whole_group = prop_oneof![9 => Just(true), 1 => Just(false)];
    (
        prop::sample::select(&EventType::ALL[..]),
        (group, others, any_json(), whole_group),
        title,
        severity,
        engagement,
        any::<bool>(),
    )
        .prop_map(|(kind, (mut group, mut data, scalar, is_object), title, severity, engagement, pretty)| {
            if kind.is_finding() {
                group.insert("title".into(), title.into());
                group.remove("severity");
                group.extend(severity.map(|word| ("severity".to_owned(), Value::from(word))));
            }
            let group = if is_object || kind.is_finding() { Value::from(group) } else { scalar };
            data.insert(kind.group().into(), group);
            let mut event = json!({"type": kind.name(), "data": data});
            if let Some((id, name, client)) = engagement {
                event["engagement"] = json!({"id": id, "name": name});
                if let Some(client) = client {
                    event["engagement"]["client"] = client.into();
                }
            }
            let json = if pretty { serde_json::to_string_pretty(&event) } else { serde_json::to_string(&event) };
            RawEvent {
                id: "019a8f00-0000-7000-8000-000000000001".into(),
                type_: kind.name().into(),
                occurred_at: "2026-11-17T10:12:45.120Z".into(),
                json: json.expect("a value is JSON"),
            }
        })
}
