use super::*;
use crate::json;

const WHOLE: &str = r#"{"name":"n","url":"https://example.com/hook"}"#;

/// The draft of a partial body, or its faults as `pointer code`.
fn read(text: &str) -> Result<Draft, Vec<String>> {
    finish(text, Draft::read)
}

fn finish(text: &str, read: fn(&Document<'_>, &mut Faults) -> Draft) -> Result<Draft, Vec<String>> {
    let document = json::check(text).expect(text);
    let mut faults = Faults::new();
    let draft = read(&document, &mut faults);
    match faults.or(|| draft) {
        Ok(draft) => Ok(draft),
        Err(faults) => Err(faults.into_iter().map(|fault| format!("{} {}", fault.pointer, fault.code)).collect()),
    }
}

fn refused(text: &str) -> Vec<String> {
    read(text).err().unwrap_or_default()
}

fn field(name: &str, value: &str) -> String {
    format!("{{\"{name}\":{value}}}")
}

#[test]
fn a_whole_body_needs_a_name_and_a_url_and_the_rest_has_defaults() {
    let (config, is_active) = finish(WHOLE, Draft::read_whole).expect("a webhook").create().expect("whole");
    assert_eq!(config.name, "n");
    assert_eq!(config.secret, None);
    assert_eq!(config.event_types.names(), ["finding_added", "phase_changed", "engagement_completed"]);
    assert_eq!((config.format.as_str(), config.format_options.as_str()), ("json", "{}"));
    assert!(config.headers.is_empty());
    assert_eq!(config.filter, Filter::default());
    assert_eq!((config.retry_count, config.timeout_ms, is_active), (3, 5000, true));
    assert_eq!(
        finish("{}", Draft::read_whole).err(),
        Some(vec!["/name required".to_owned(), "/url required".to_owned()])
    );
    assert_eq!(finish("[]", Draft::read_whole).err(), Some(vec![" wrong_type".to_owned()]));
}

#[test]
fn numbers_have_their_ranges() {
    for (name, low, high) in [("retry_count", 0_i64, 10), ("timeout_ms", 1000, 30_000)] {
        for good in [low, high] {
            assert_eq!(refused(&field(name, &good.to_string())), Vec::<String>::new(), "{name} {good}");
        }
        assert!(read(&field(name, &format!("{high}.0"))).is_ok());
        for (bad, code) in [
            ((low - 1).to_string(), "out_of_range"),
            ((high + 1).to_string(), "out_of_range"),
            ("1e9".to_owned(), "out_of_range"),
            (format!("{low}.5"), "wrong_type"),
            (format!("\"{low}\""), "wrong_type"),
            ("null".to_owned(), "wrong_type"),
        ] {
            assert_eq!(refused(&field(name, &bad)), [format!("/{name} {code}")], "{bad}");
        }
    }
}

#[test]
fn texts_have_their_lengths_in_characters() {
    for (name, most) in [("name", 200), ("secret", 256)] {
        for good in [1, most] {
            assert!(read(&field(name, &format!("\"{}\"", "é".repeat(good)))).is_ok(), "{name} {good}");
        }
        assert_eq!(refused(&field(name, &format!("\"{}\"", "é".repeat(most + 1)))), [format!("/{name} too_long")]);
        assert_eq!(refused(&field(name, "\"\"")), [format!("/{name} empty")]);
        assert_eq!(refused(&field(name, "7")), [format!("/{name} wrong_type")]);
    }
    let odd = r#"{"name":"<script>\u001b[31m${jndi:ldap://x}\u202e"}"#;
    assert_eq!(read(odd).expect("stored as given").name.as_deref(), Some("<script>\u{1b}[31m${jndi:ldap://x}\u{202e}"));
    assert_eq!(refused(r#"{"name":null}"#), ["/name wrong_type"]);
}

#[test]
fn absent_null_and_a_value_are_three_cases_for_the_secret() {
    let current = finish(r#"{"name":"n","url":"https://example.com/","secret":"old"}"#, Draft::read_whole);
    let (current, _) = current.expect("a webhook").create().expect("whole");
    let change = |text: &str| read(text).expect(text).apply(&current).secret;
    assert_eq!(change("{}"), Some(Secret::new("old")));
    assert_eq!(change(r#"{"secret":null}"#), None);
    assert_eq!(change(r#"{"secret":"new"}"#), Some(Secret::new("new")));
    for (secret, good) in [("whsec_c2VjcmV0", true), ("whsec_", false), ("whsec_!", false), ("WHSEC_!", true)] {
        let expected = if good { vec![] } else { vec!["/secret invalid".to_owned()] };
        assert_eq!(refused(&field("secret", &format!("\"{secret}\""))), expected, "{secret}");
    }
}

#[test]
fn a_change_leaves_everything_else_as_it_is() {
    let (current, _) = finish(WHOLE, Draft::read_whole).expect("a webhook").create().expect("whole");
    assert_eq!(read("{}").expect("no change").apply(&current), current);
    let changed = read(r#"{"timeout_ms":1000,"filter":{"min_severity":"HIGH"}}"#).expect("a change").apply(&current);
    assert_eq!(changed.filter.min_severity, Some(Severity::High));
    assert_eq!(WebhookConfig { timeout_ms: 5000, filter: Filter::default(), ..changed }, current);
}

#[test]
fn what_the_host_sets_and_what_nobody_knows_is_refused() {
    for name in READ_ONLY_FIELDS {
        assert_eq!(refused(&field(name, "1")), [format!("/{name} read_only")]);
    }
    for name in ["role", "rate", "certificate", "Name"] {
        assert_eq!(refused(&field(name, "null")), [format!("/{name} unknown_field")]);
    }
}

#[test]
fn null_is_not_a_value_where_it_means_nothing() {
    for name in FIELDS.iter().filter(|name| !["secret", "rate_limit", "tls", "batch", "digest"].contains(name)) {
        assert_eq!(refused(&field(name, "null")), [format!("/{name} wrong_type")]);
    }
}

#[test]
fn limits_names_and_batches_are_whole_or_absent() {
    let draft = |name: &str, text: &str| read(&field(name, text)).expect(text);
    assert_eq!(draft("rate_limit", "null").rate_limit, Some(None));
    assert_eq!(draft("tls", "null").tls, Some(TlsNames::default()));
    assert_eq!(draft("batch", "null").batch, Some(None));
    let rate = RateLimit { count: 10_000, per_seconds: 86_400 };
    assert_eq!(draft("rate_limit", r#"{"count":10000,"per_seconds":86400}"#).rate_limit, Some(Some(rate)));
    let names = TlsNames { ca: Some("corp".into()), client_cert: None };
    assert_eq!(draft("tls", r#"{"ca":"corp","client_cert":null}"#).tls, Some(names));
    let batch = Batch { max_events: 2, max_wait_ms: 0 };
    assert_eq!(draft("batch", r#"{"max_events":2,"max_wait_ms":0}"#).batch, Some(Some(batch)));
    for (name, text, expected) in [
        ("rate_limit", "{}", vec!["/rate_limit/count required", "/rate_limit/per_seconds required"]),
        (
            "rate_limit",
            r#"{"count":0,"per_seconds":86401}"#,
            vec!["/rate_limit/count out_of_range", "/rate_limit/per_seconds out_of_range"],
        ),
        (
            "rate_limit",
            r#"{"count":1.5,"per_seconds":"1"}"#,
            vec!["/rate_limit/count wrong_type", "/rate_limit/per_seconds wrong_type"],
        ),
        ("rate_limit", r#"{"count":1,"per_seconds":1,"burst":2}"#, vec!["/rate_limit/burst unknown_field"]),
        ("rate_limit", "7", vec!["/rate_limit wrong_type"]),
        ("tls", r#"{"ca":"","verify":false}"#, vec!["/tls/verify unknown_field", "/tls/ca empty"]),
        ("tls", r#"{"ca":7}"#, vec!["/tls/ca wrong_type"]),
        (
            "batch",
            r#"{"max_events":1,"max_wait_ms":60001}"#,
            vec!["/batch/max_events out_of_range", "/batch/max_wait_ms out_of_range"],
        ),
        ("batch", r#"{"max_events":100}"#, vec!["/batch/max_wait_ms required"]),
    ] {
        let mut found = refused(&field(name, text));
        found.sort();
        let mut expected = expected;
        expected.sort_unstable();
        assert_eq!(found, expected, "{name} {text}");
    }
}

#[test]
fn event_types_come_from_the_catalogue_without_duplicates() {
    let names = |text: &str| read(&field("event_types", text)).expect(text).event_types.expect("there").names();
    assert_eq!(names(r#"["report_ready","finding_added","report_ready"]"#), ["report_ready", "finding_added"]);
    assert_eq!(names(r#"["*"]"#), ["*"]);
    assert_eq!(names(r#"["finding_added","*"]"#), ["*"]);
    assert_eq!(names(&format!("[{}]", vec!["\"report_ready\""; 10_000].join(","))), ["report_ready"]);
    for (text, expected) in [
        ("[]", vec!["/event_types empty"]),
        (r#""*""#, vec!["/event_types wrong_type"]),
        (r#"["*","nope",7]"#, vec!["/event_types/1 unknown_event_type", "/event_types/2 wrong_type"]),
        (r#"["Finding_Added"]"#, vec!["/event_types/0 unknown_event_type"]),
    ] {
        assert_eq!(refused(&field("event_types", text)), expected, "{text}");
    }
    let many = format!("[{}]", vec!["\"x\""; 10_000].join(","));
    assert_eq!(refused(&field("event_types", &many)).len(), MAX_FAULTS);
}

#[test]
fn host_events_are_only_for_webhooks_that_name_them() {
    let read = |text: &str| read(&field("event_types", text)).expect(text).event_types.expect("there");
    for event_type in EventType::ALL {
        let named = read(&format!("[\"{}\"]", event_type.as_str()));
        assert!(named.wants(*event_type), "{}", event_type.as_str());
        assert_eq!(read(r#"["*"]"#).wants(*event_type), !event_type.is_host(), "{}", event_type.as_str());
        let both = read(r#"["webhook_disabled","finding_added","*"]"#);
        let expected = !event_type.is_host() || *event_type == EventType::WebhookDisabled;
        assert_eq!(both.wants(*event_type), expected, "{}", event_type.as_str());
        assert_eq!(both.names(), ["*", "webhook_disabled"]);
    }
}

#[test]
fn options_are_kept_as_sorted_compact_text() {
    let draft = read(r#"{"format_options":{"b": [1, {"d":1,"c":2}], "a":"é"}}"#).expect("options");
    assert_eq!(draft.format_options.as_deref(), Some(r#"{"a":"é","b":[1,{"c":2,"d":1}]}"#));
    assert!(draft.touches_format());
    assert_eq!(refused(r#"{"format_options":[]}"#), ["/format_options wrong_type"]);
    let long = |bytes: usize| field("format_options", &format!("{{\"a\":\"{}\"}}", "x".repeat(bytes - 8)));
    assert!(read(&long(MAX_OPTIONS_BYTES)).is_ok());
    assert_eq!(refused(&long(MAX_OPTIONS_BYTES + 1)), ["/format_options too_long"]);
}

#[test]
fn headers_are_legal_and_not_the_hosts_own() {
    let draft = read(r#"{"headers":{"Authorization":"Splunk 0-1","X-A":""}}"#).expect("headers");
    let headers = draft.headers.expect("there");
    assert_eq!((headers[0].0.as_str(), headers[0].1.expose()), ("Authorization", "Splunk 0-1"));
    let reserved = [
        "Host",
        "content-length",
        "Content-Type",
        "User-Agent",
        "Transfer-Encoding",
        "TE",
        "Trailer",
        "Upgrade",
        "Connection",
        "Keep-Alive",
        "Proxy-Authorization",
        "Proxy-Connection",
        "X-Webhook-Signature",
        "webhook-id",
        "Webhook-Timestamp",
        "webhook-signature",
        "X-Webhook-Event",
        "X-Webhook-Delivery",
        "X-Webhook-Attempt",
        "a b",
        "a:",
        "",
    ];
    for name in reserved {
        assert_eq!(refused(&field("headers", &field(name, "\"x\""))), [format!("/headers/{name} forbidden_header")]);
    }
    for value in [r"a\r\nb", r"a\u0000", r"\u007f", "é", " a"] {
        assert_eq!(
            refused(&field("headers", &field("X-A", &format!("\"{value}\"")))),
            ["/headers/X-A invalid"],
            "{value}"
        );
    }
    assert_eq!(refused(r#"{"headers":{"X-A":null,"X-B":7}}"#), ["/headers/X-A wrong_type", "/headers/X-B wrong_type"]);
    assert_eq!(refused(r#"{"headers":{"X-A":"1","x-a":"2"}}"#), ["/headers/x-a duplicate"]);
    assert_eq!(refused(r#"{"headers":["X-A"]}"#), ["/headers wrong_type"]);
}

#[test]
fn headers_have_a_number_and_a_size() {
    let count = |count: usize| {
        let members: Vec<String> = (0..count).map(|n| format!("\"X-{n}\":\"v\"")).collect();
        field("headers", &format!("{{{}}}", members.join(",")))
    };
    assert!(read(&count(MAX_HEADERS)).is_ok());
    assert_eq!(refused(&count(MAX_HEADERS + 1)), ["/headers too_many"]);
    let size = |bytes: usize| {
        field("headers", &format!(r#"{{"X-A":"{}","X-B":"{}"}}"#, "a".repeat(4096), "b".repeat(bytes - 4096 - 6)))
    };
    assert!(read(&size(MAX_HEADER_BYTES)).is_ok());
    assert_eq!(refused(&size(MAX_HEADER_BYTES + 1)), ["/headers too_long"]);
    let one = field("headers", &field("X-A", &format!("\"{}\"", "a".repeat(9000))));
    assert_eq!(refused(&one), ["/headers too_long"]);
}

#[test]
fn a_filter_says_what_it_knows() {
    let filter = |text: &str| read(&field("filter", text)).expect(text).filter.expect("there");
    assert_eq!(filter("{}"), Filter::default());
    let both = filter(r#"{"min_severity":"high","engagement_ids":["b","a","b"]}"#);
    assert_eq!(both.min_severity, Some(Severity::High));
    assert_eq!(both.engagement_ids, Some(vec!["b".to_owned(), "a".to_owned()]));
    for (text, expected) in [
        ("[]", vec!["/filter wrong_type"]),
        (r#"{"severity":"high"}"#, vec!["/filter/severity unknown_field"]),
        (r#"{"min_severity":"urgent"}"#, vec!["/filter/min_severity invalid"]),
        (r#"{"min_severity":null}"#, vec!["/filter/min_severity wrong_type"]),
        (r#"{"engagement_ids":[]}"#, vec!["/filter/engagement_ids empty"]),
        (r#"{"engagement_ids":"a"}"#, vec!["/filter/engagement_ids wrong_type"]),
        (r#"{"engagement_ids":["",7]}"#, vec!["/filter/engagement_ids/0 empty", "/filter/engagement_ids/1 wrong_type"]),
    ] {
        assert_eq!(refused(&field("filter", text)), expected, "{text}");
    }
}

#[test]
fn every_fault_comes_at_once() {
    let text =
        r#"{"id":1,"name":"","url":7,"retry_count":11,"is_active":"yes","headers":{"Host":"x"},"filter":{"x":1}}"#;
    assert_eq!(
        refused(text),
        [
            "/id read_only",
            "/name empty",
            "/url wrong_type",
            "/headers/Host forbidden_header",
            "/filter/x unknown_field",
            "/retry_count out_of_range",
            "/is_active wrong_type",
        ]
    );
}
