//! Values of each field of a webhook: both ends of each range, and each rejection.

use serde_json::{Value, json};

use crate::support::{Answer, Client, Host};

/// An address on which nothing listens; a webhook to it can be saved.
const NOWHERE: &str = "http://127.0.0.1:9/";

/// A body for a new webhook, with this field.
fn body_with(field: &str, value: &Value) -> Value {
    let mut body = json!({"name": "a webhook", "url": NOWHERE});
    body[field] = value.clone();
    body
}

/// The same field in a new webhook and in an update of an existing one.
async fn both_ways(admin: &Client, id: &str, field: &str, value: &Value) -> [Answer; 2] {
    let created = admin.post("/webhooks", &body_with(field, value)).await;
    let changed = admin.put(&format!("/webhooks/{id}"), &json!({ field: value })).await;
    [created, changed]
}

#[tokio::test]
async fn each_field_accepts_both_ends_of_its_range_and_nothing_beyond() {
    let host = Host::start().await;
    let admin = host.admin();
    let id = admin.webhook(NOWHERE, json!({})).await;
    for (field, value, shown) in good_values() {
        for response in both_ways(&admin, &id, field, &value).await {
            assert!(matches!(response.status(), 200 | 201), "{field}: {response}");
            let body = response.json();
            for (name, value) in shown.as_object().expect("an object") {
                assert_eq!(&body[name], value, "{field}: {response}");
            }
        }
    }
    let before = admin.get(&format!("/webhooks/{id}")).await.json();
    for (field, value, pointer, code) in bad_values() {
        for response in both_ways(&admin, &id, field, &value).await {
            response.fault(&pointer, code);
        }
    }
    assert_eq!(admin.get(&format!("/webhooks/{id}")).await.json(), before, "a rejected update changed something");
    every_fault_at_once(&admin, &id).await;
    options_belong_to_the_format(&admin).await;
}

/// Field, value, and the value in the response.
fn good_values() -> Vec<(&'static str, Value, Value)> {
    let headers =
        |count: usize| (0..count).map(|n| (format!("X-{n:02}"), json!("v"))).collect::<serde_json::Map<_, _>>();
    // "X-A" and "X-B" have six bytes themselves.
    let fat = json!({"X-A": "a".repeat(4096), "X-B": "b".repeat(8192 - 4096 - 6)});
    let text = |length: usize| "é".repeat(length);
    let mut rows = vec![
        ("name", json!("n"), json!({"name": "n"})),
        ("name", json!(text(200)), json!({"name": text(200)})),
        (
            "name",
            json!("<script>\u{1b}[31m\u{202e}${jndi:ldap://x}"),
            json!({"name": "<script>\u{1b}[31m\u{202e}${jndi:ldap://x}"}),
        ),
        ("secret", json!("s"), json!({"has_secret": true})),
        ("secret", json!(text(256)), json!({"has_secret": true})),
        ("secret", json!("whsec_c2VjcmV0"), json!({"has_secret": true})),
        ("secret", json!(null), json!({"has_secret": false})),
        ("retry_count", json!(0), json!({"retry_count": 0})),
        ("retry_count", json!(10), json!({"retry_count": 10})),
        ("timeout_ms", json!(1000), json!({"timeout_ms": 1000})),
        ("timeout_ms", json!(30000), json!({"timeout_ms": 30000})),
        ("is_active", json!(false), json!({"is_active": false, "disabled_reason": null})),
        ("is_active", json!(true), json!({"is_active": true})),
        (
            "event_types",
            json!(["report_ready", "finding_added", "report_ready"]),
            json!({"event_types": ["report_ready", "finding_added"]}),
        ),
        ("event_types", json!(["*"]), json!({"event_types": ["*"]})),
        ("event_types", json!(["report_ready", "*"]), json!({"event_types": ["*"]})),
        ("format_options", json!({"shape": "plain"}), json!({"format_options": {"shape": "plain"}})),
        ("format_options", json!({}), json!({"format_options": {}})),
        ("headers", json!({}), json!({"header_names": []})),
        ("headers", json!({"Authorization": "Splunk 0-1"}), json!({"header_names": ["Authorization"]})),
        ("headers", json!(headers(20)), json!({"header_names": headers(20).keys().collect::<Vec<_>>()})),
        ("headers", fat, json!({"header_names": ["X-A", "X-B"]})),
        (
            "rate_limit",
            json!({"count": 1, "per_seconds": 86_400}),
            json!({"rate_limit": {"count": 1, "per_seconds": 86_400}}),
        ),
        ("rate_limit", json!(null), json!({"rate_limit": null})),
        (
            "batch",
            json!({"max_events": 2, "max_wait_ms": 60_000}),
            json!({"batch": {"max_events": 2, "max_wait_ms": 60_000}}),
        ),
        ("batch", json!(null), json!({"batch": null})),
        ("tls", json!(null), json!({"tls": null})),
        ("filter", json!({}), json!({"filter": {}})),
        ("filter", json!({"engagement_ids": ["b", "a"]}), json!({"filter": {"engagement_ids": ["b", "a"]}})),
    ];
    for severity in ["info", "low", "medium", "high", "critical"] {
        rows.push(("filter", json!({"min_severity": severity}), json!({"filter": {"min_severity": severity}})));
    }
    rows
}

/// Field, value, and the expected error.
fn bad_values() -> Vec<(&'static str, Value, String, &'static str)> {
    let headers =
        |count: usize| (0..count).map(|n| (format!("X-{n:02}"), json!("v"))).collect::<serde_json::Map<_, _>>();
    let fat = json!({"X-A": "a".repeat(4096), "X-B": "b".repeat(8192 - 4096 - 5)});
    let text = |length: usize| "é".repeat(length);
    let rows = [
        ("name", json!(""), "/name", "empty"),
        ("name", json!(text(201)), "/name", "too_long"),
        ("name", json!(7), "/name", "wrong_type"),
        ("url", json!(7), "/url", "wrong_type"),
        ("secret", json!(""), "/secret", "empty"),
        ("secret", json!(text(257)), "/secret", "too_long"),
        ("secret", json!("whsec_not base64"), "/secret", "invalid"),
        ("secret", json!("whsec_"), "/secret", "invalid"),
        ("secret", json!(["s"]), "/secret", "wrong_type"),
        ("retry_count", json!(-1), "/retry_count", "out_of_range"),
        ("retry_count", json!(11), "/retry_count", "out_of_range"),
        ("retry_count", json!(1.5), "/retry_count", "wrong_type"),
        ("retry_count", json!("3"), "/retry_count", "wrong_type"),
        ("timeout_ms", json!(999), "/timeout_ms", "out_of_range"),
        ("timeout_ms", json!(30001), "/timeout_ms", "out_of_range"),
        ("timeout_ms", json!(1e300), "/timeout_ms", "out_of_range"),
        ("is_active", json!("true"), "/is_active", "wrong_type"),
        ("is_active", json!(1), "/is_active", "wrong_type"),
        ("event_types", json!([]), "/event_types", "empty"),
        ("event_types", json!("*"), "/event_types", "wrong_type"),
        ("event_types", json!(["finding_added", "nope"]), "/event_types/1", "unknown_event_type"),
        ("event_types", json!(["Finding_added"]), "/event_types/0", "unknown_event_type"),
        ("event_types", json!(["*", null]), "/event_types/1", "wrong_type"),
        ("format", json!("nope"), "/format", "unknown_format"),
        ("format", json!(""), "/format", "unknown_format"),
        ("format", json!("JSON"), "/format", "unknown_format"),
        ("format", json!({}), "/format", "wrong_type"),
        ("format_options", json!([]), "/format_options", "wrong_type"),
        ("headers", json!([]), "/headers", "wrong_type"),
        ("headers", json!(headers(21)), "/headers", "too_many"),
        ("headers", fat, "/headers", "too_long"),
        ("headers", json!({"X-A": 1}), "/headers/X-A", "wrong_type"),
        ("headers", json!({"X-A": "1\r\nX-B: 2"}), "/headers/X-A", "invalid"),
        ("headers", json!({"X-A": "é"}), "/headers/X-A", "invalid"),
        ("headers", json!({"a b": "1"}), "/headers/a b", "forbidden_header"),
        ("headers", json!({"a/~": "1"}), "/headers/a~1~0", "forbidden_header"),
        ("headers", json!({"X-A": "1", "x-a": "2"}), "/headers/x-a", "duplicate"),
        ("filter", json!([]), "/filter", "wrong_type"),
        ("filter", json!({"min_severity": "urgent"}), "/filter/min_severity", "invalid"),
        ("filter", json!({"min_severity": null}), "/filter/min_severity", "wrong_type"),
        ("filter", json!({"engagement_ids": "e"}), "/filter/engagement_ids", "wrong_type"),
        ("filter", json!({"engagement_ids": [7]}), "/filter/engagement_ids/0", "wrong_type"),
        ("filter", json!({"severity": "high"}), "/filter/severity", "unknown_field"),
        ("rate_limit", json!({"count": 0, "per_seconds": 1}), "/rate_limit/count", "out_of_range"),
        ("rate_limit", json!({"count": 1, "per_seconds": 86_401}), "/rate_limit/per_seconds", "out_of_range"),
        ("rate_limit", json!({"count": 1}), "/rate_limit/per_seconds", "required"),
        ("batch", json!({"max_events": 1, "max_wait_ms": 0}), "/batch/max_events", "out_of_range"),
        ("batch", json!({"max_events": 2, "max_wait_ms": 60_001}), "/batch/max_wait_ms", "out_of_range"),
        ("batch", json!(7), "/batch", "wrong_type"),
        ("tls", json!({"verify": false}), "/tls/verify", "unknown_field"),
        ("tls", json!({"ca": 7}), "/tls/ca", "wrong_type"),
        // Unknown names.
        ("Name", json!("n"), "/Name", "unknown_field"),
    ];
    let mut rows: Vec<_> = rows.map(|(field, value, pointer, code)| (field, value, pointer.to_owned(), code)).into();
    for field in [
        "id",
        "has_secret",
        "header_names",
        "failure_count",
        "disabled_reason",
        "last_success_at",
        "last_failure_at",
        "waiting",
        "held",
        "oldest_waiting_at",
        "created_at",
        "updated_at",
    ] {
        rows.push((field, json!(null), format!("/{field}"), "read_only"));
    }
    // Hop-by-hop (RFC 9110, section 7.6.1), framing, and the names of a delivery's own headers.
    for name in [
        "Connection",
        "Keep-Alive",
        "Proxy-Authorization",
        "Proxy-Connection",
        "TE",
        "Trailer",
        "Transfer-Encoding",
        "Upgrade",
        "Host",
        "Content-Length",
        "Content-Type",
        "User-Agent",
        "X-Webhook-Signature",
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
        "X-Webhook-Event",
        "X-Webhook-Delivery",
        "x-webhook-attempt",
    ] {
        rows.push(("headers", json!({ name: "x" }), format!("/headers/{name}"), "forbidden_header"));
    }
    rows
}

async fn every_fault_at_once(admin: &Client, id: &str) {
    let missing = admin.post("/webhooks", &json!({})).await;
    missing.faults(&[("/name", "required"), ("/url", "required")]);
    let wrong = json!({
        "id": "x", "name": "", "url": "ftp://x/", "secret": 1, "event_types": [], "format": "nope", "format_options": 1,
        "headers": {"Host": "x", "X-A": 1}, "filter": {"x": 1, "min_severity": 1}, "retry_count": 11, "timeout_ms": 1,
        "is_active": 1, "role": "admin",
    });
    let expected = [
        ("/id", "read_only"),
        ("/name", "empty"),
        ("/url", "unsupported_scheme"),
        ("/secret", "wrong_type"),
        ("/event_types", "empty"),
        ("/format", "unknown_format"),
        ("/format_options", "wrong_type"),
        ("/headers/Host", "forbidden_header"),
        ("/headers/X-A", "wrong_type"),
        ("/filter/x", "unknown_field"),
        ("/filter/min_severity", "wrong_type"),
        ("/retry_count", "out_of_range"),
        ("/timeout_ms", "out_of_range"),
        ("/is_active", "wrong_type"),
        ("/role", "unknown_field"),
    ];
    admin.post("/webhooks", &wrong).await.faults(&expected);
    admin.put(&format!("/webhooks/{id}"), &wrong).await.faults(&expected);
    for body in [json!([]), json!("x"), json!(null), json!(7)] {
        admin.post("/webhooks", &body).await.fault("", "wrong_type");
        admin.put(&format!("/webhooks/{id}"), &body).await.fault("", "wrong_type");
    }
}

async fn options_belong_to_the_format(admin: &Client) {
    let unknown = admin.post("/webhooks", &body_with("format", &json!("nope"))).await;
    for name in ["json", "slack", "teams", "cef", "syslog"] {
        assert!(
            unknown.json()["errors"][0]["detail"].as_str().is_some_and(|detail| detail.contains(name)),
            "{unknown}"
        );
        admin.post("/webhooks", &body_with("format", &json!(name))).await.expect(201);
    }
    let syslog = |options: Value| json!({"name": "n", "url": NOWHERE, "format": "syslog", "format_options": options});
    let whole = json!({"facility": "local7", "app_name": "a".repeat(48), "structured_data_id": "x@1"});
    let id = admin.post("/webhooks", &syslog(whole)).await.expect(201).json()["id"].clone();
    for (options, pointers) in [
        (json!({"app_name": "a".repeat(49)}), vec!["/format_options/app_name"]),
        (json!({"app_name": ""}), vec!["/format_options/app_name"]),
        (json!({"facility": 24}), vec!["/format_options/facility"]),
        (json!({"facility": "nope", "app_name": 1}), vec!["/format_options/facility", "/format_options/app_name"]),
        (json!({"nope": 1}), vec!["/format_options/nope"]),
    ] {
        let rejected = admin.post("/webhooks", &syslog(options.clone())).await;
        rejected.problem(422, "invalid_fields");
        let errors = rejected.json()["errors"].clone();
        let mut found: Vec<&str> =
            errors.as_array().expect("errors").iter().filter_map(|e| e["pointer"].as_str()).collect();
        found.sort_unstable();
        found.dedup();
        let mut pointers = pointers;
        pointers.sort_unstable();
        assert_eq!(found, pointers, "{options}: {rejected}");
    }
    // A change of the format alone drops options that the new format does not know.
    let path = format!("/webhooks/{}", id.as_str().expect("an id"));
    admin.put(&path, &json!({"format": "slack"})).await.problem(422, "invalid_fields");
    admin.put(&path, &json!({"format": "slack", "format_options": {}})).await.expect(200);
    admin.put(&path, &json!({"format_options": {"facility": 1}})).await.problem(422, "invalid_fields");
}
