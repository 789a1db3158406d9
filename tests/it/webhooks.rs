//! Webhooks: defaults, updates, and write-only fields. The values of each field are in `webhook_fields.rs`.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Answer, Client, Destination, Host, Reply, events, eventually, is_id, is_time};

/// An address on which nothing listens; a webhook to it can be saved.
const NOWHERE: &str = "http://127.0.0.1:9/";

#[tokio::test]
async fn webhooks_are_created_listed_read_and_deleted() {
    let host = Host::start().await;
    let admin = host.admin();
    defaults(&admin).await;
    newest_first_and_gone(&admin).await;
    event_types(&admin).await;
    urls(&admin).await;
    versions(&admin).await;
    changes(&admin).await;
    counters(&admin).await;
}

async fn defaults(admin: &Client) {
    assert_eq!(admin.get("/webhooks").await.expect(200).json(), json!([]));
    let created = admin.post("/webhooks", &json!({"name": "n", "url": NOWHERE})).await.expect(201);
    let mut webhook = created.json();
    assert!(is_id(&webhook["id"]) && is_time(&webhook["created_at"]) && is_time(&webhook["updated_at"]), "{created}");
    let location = created.header("location").to_owned();
    assert_eq!(location, format!("/api/v1/webhooks/{}", webhook["id"].as_str().expect("an id")));
    let path = location.strip_prefix("/api/v1").expect("a path of the API");
    assert_eq!(admin.get(path).await.expect(200).json(), webhook);
    assert_eq!(admin.get("/webhooks").await.expect(200).json(), json!([webhook]));
    for changing in ["id", "created_at", "updated_at"] {
        webhook[changing] = json!("…");
    }
    let expected = json!({
        "id": "…", "name": "n", "url": NOWHERE, "has_secret": false,
        "event_types": ["finding_added", "phase_changed", "engagement_completed"],
        "format": "json", "format_options": {}, "header_names": [], "filter": {}, "expression_error": null,
        "critical_once": false, "order": "arrival", "digest": null,
        "rate_limit": null, "tls": null, "batch": null, "retry_count": 3, "timeout_ms": 5000, "is_active": true,
        "failure_count": 0, "disabled_reason": null, "last_success_at": null, "last_failure_at": null,
        "waiting": 0, "held": 0, "oldest_waiting_at": null,
        "next_attempt_at": null, "next_probe_at": null,
        "created_at": "…", "updated_at": "…",
    });
    assert_eq!(webhook, expected);
}

async fn newest_first_and_gone(admin: &Client) {
    let mut made = Vec::new();
    for number in 0..3 {
        made.push(admin.webhook(NOWHERE, json!({"name": format!("number {number}")})).await);
    }
    let listed = admin.get("/webhooks").await.expect(200).list();
    let ids: Vec<&str> = listed.iter().filter_map(|webhook| webhook["id"].as_str()).collect();
    assert_eq!(ids[..3], [&made[2], &made[1], &made[0]]);
    let path = format!("/webhooks/{}", made[1]);
    let gone = admin.delete(&path).await.expect(204);
    assert_eq!(gone.text(), "");
    for response in [
        admin.get(&path).await,
        admin.put(&path, &json!({})).await,
        admin.delete(&path).await,
        admin.post(&format!("{path}/test"), &json!({})).await,
        admin.get(&format!("{path}/deliveries")).await,
    ] {
        response.problem(404, "not_found");
    }
    let listed = admin.get("/webhooks").await.expect(200).list();
    assert!(listed.iter().all(|webhook| webhook["id"] != json!(made[1])), "still listed");
}

async fn event_types(admin: &Client) {
    let listed = admin.get("/webhooks/event-types").await.expect(200).list();
    let mut names = Vec::new();
    for entry in &listed {
        let members: Vec<&String> = entry.as_object().expect("an object").keys().collect();
        assert!(entry["description"].as_str().is_some_and(|text| text.len() > 5), "{entry}");
        if entry["name"] == "*" {
            assert_eq!(members, ["description", "name"], "{entry}");
        } else if members.contains(&&"kind".to_owned()) {
            assert_eq!(members, ["description", "kind", "name", "sample", "schema"], "{entry}");
            assert_eq!(entry["kind"], "host");
            described_and_not_posted(admin, entry).await;
        } else {
            assert_eq!(members, ["description", "name", "sample", "schema"], "{entry}");
            described(admin, entry).await;
        }
        names.push(entry["name"].as_str().expect("a name"));
    }
    let expected = [
        "finding_added",
        "finding_verified",
        "phase_changed",
        "engagement_completed",
        "engagement_signed",
        "critical_finding",
        "retest_completed",
        "report_ready",
        "surface_changed",
        "monitor_alert",
        "webhook_failing",
        "webhook_disabled",
        "webhook_recovered",
        "delivery_failed",
        "formatter_rejected",
        "formatter_rolled_back",
        "host_degraded",
        "*",
    ];
    assert_eq!(names, expected);
    for name in expected {
        let id = admin.webhook(NOWHERE, json!({"event_types": [name]})).await;
        assert_eq!(admin.get(&format!("/webhooks/{id}")).await.json()["event_types"], json!([name]));
    }
}

/// The schema of a host event is one and holds for its sample, which cannot be posted.
async fn described_and_not_posted(admin: &Client, entry: &Value) {
    let (schema, sample) = (&entry["schema"], &entry["sample"]);
    assert!(jsonschema::draft202012::new(schema).expect("a JSON Schema").is_valid(&sample["data"]), "{sample}");
    assert!(sample.get("engagement").is_none() && sample["type"] == entry["name"], "{sample}");
    let rejected = admin.post("/events", sample).await;
    rejected.fault("/type", "host_event_type");
    assert!(rejected.text().contains("is made by the host and cannot be posted"), "{rejected}");
}

/// The schema of a type is one and holds for its sample, which can be posted and makes no warning.
async fn described(admin: &Client, entry: &Value) {
    let (schema, sample) = (&entry["schema"], &entry["sample"]);
    let validator = jsonschema::draft202012::new(schema).expect("a JSON Schema");
    assert_eq!(sample["type"], entry["name"]);
    assert!(validator.is_valid(&sample["data"]), "{sample}");
    let accepted = admin.post("/events", sample).await.expect(202);
    assert!(accepted.json().get("warnings").is_none(), "{accepted}");
    // No member is forbidden, and each one that is named says what it is.
    for (group, schema) in schema["properties"].as_object().expect("groups") {
        let mut more = sample["data"].clone();
        more[group]["another"] = json!(1);
        assert!(validator.is_valid(&more), "{more}");
        for (name, member) in schema["properties"].as_object().expect("members") {
            assert!(member["description"].is_string() && !member["type"].is_null(), "{group} {name}: {member}");
        }
    }
}

async fn urls(admin: &Client) {
    for (given, shown) in [
        ("HTTP://127.0.0.1:80/a b?c=d e", "http://127.0.0.1/a%20b?c=d%20e"),
        ("http://127.1:9000", "http://127.0.0.1:9000/"),
        ("http://0x7f000001/x", "http://127.0.0.1/x"),
        ("https://[0:0::1]:443/", "https://[::1]/"),
        ("http://LOCALHOST:9/@you", "http://localhost:9/@you"),
        // Accepted, and checked again at each attempt.
        ("https://does-not-exist.invalid/hook", "https://does-not-exist.invalid/hook"),
    ] {
        let created = admin.post("/webhooks", &json!({"name": "n", "url": given})).await.expect(201);
        assert_eq!(created.json()["url"], shown, "{given}");
    }
    let longest = format!("{NOWHERE}{}", "a".repeat(8192 - NOWHERE.len()));
    admin.post("/webhooks", &json!({"name": "n", "url": longest})).await.expect(201);
    for (url, code) in [
        ("", "invalid_url"),
        ("example.com/hook", "invalid_url"),
        ("/hook", "invalid_url"),
        ("http://good.example\\@evil.example/", "invalid_url"),
        ("ftp://example.com/", "unsupported_scheme"),
        ("file:///etc/passwd", "unsupported_scheme"),
        ("syslog+udp://127.0.0.1:514", "not_a_line"),
        ("https://user@example.com/", "userinfo"),
        ("https://user:word@example.com/", "userinfo"),
        ("https://example.com:0/", "port"),
        ("https://example.com:65536/", "port"),
        ("http://[fe80::1%25eth0]/", "ipv6_zone"),
        ("http://256.0.0.1/", "host"),
        ("http://a..b/", "host"),
        ("https://example.com/#x", "fragment"),
        (&format!("{longest}a"), "too_long"),
        // Networks that are not opened on this host.
        ("http://10.0.0.1/", "denied_address"),
        ("http://169.254.169.254/latest/meta-data/", "denied_address"),
        ("http://0.0.0.0/", "denied_address"),
        ("http://[::ffff:10.0.0.1]/", "denied_address"),
        ("http://[fe80::1]/", "denied_address"),
        (&admin.origin().replace("127.0.0.1", "127.1"), "denied_address"),
    ] {
        admin.post("/webhooks", &json!({"name": "n", "url": url})).await.fault("/url", code);
    }
}

async fn versions(admin: &Client) {
    let destination = Destination::start().await;
    let created = admin.post("/webhooks", &json!({"name": "n", "url": destination.url("/")})).await.expect(201);
    let id = created.json()["id"].as_str().expect("an id").to_owned();
    let path = format!("/webhooks/{id}");
    let first = admin.get(&path).await.expect(200).header("etag").to_owned();
    assert!(first.starts_with('"') && first.len() > 2, "a strong tag: {first}");

    // Counters do not change the ETag.
    admin.event(&events::minimal("phase_changed")).await;
    eventually("a success to be counted", async || {
        (!admin.get(&path).await.json()["last_success_at"].is_null()).then_some(())
    })
    .await;
    let put =
        async |tag: &str, body: &Value| admin.request("PUT", &path).header("if-match", tag).json(body).send().await;
    assert_eq!(admin.get(&path).await.header("etag"), first);

    let changed = put(&first, &json!({"name": "second"})).await.expect(200);
    let second = admin.get(&path).await.header("etag").to_owned();
    assert_eq!((changed.json()["name"].as_str(), changed.header("etag")), (Some("second"), second.as_str()));
    assert_ne!(first, second);
    for stale in [first.as_str(), "\"another\"", &format!("W/{second}"), &format!("{first}, \"x\"")] {
        put(stale, &json!({"name": "third"})).await.problem(412, "precondition_failed");
    }
    assert_eq!(admin.get(&path).await.json()["name"], "second");
    put("*", &json!({"name": "third"})).await.expect(200);
    let third = admin.get(&path).await.header("etag").to_owned();
    put(&format!("{first}, {third}"), &json!({"name": "fourth"})).await.expect(200);
    admin.put(&path, &json!({"name": "without a condition"})).await.expect(200);
    for malformed in ["", "r1", "\"r1"] {
        put(malformed, &json!({"name": "fifth"})).await.problem(400, "invalid_header");
    }
    assert_eq!(admin.get(&path).await.json()["name"], "without a condition");
    assert_ne!(admin.get(&path).await.header("etag"), third);
}

async fn changes(admin: &Client) {
    let whole = json!({
        "name": "whole", "url": NOWHERE, "secret": "a secret", "event_types": ["report_ready"], "format": "syslog",
        "format_options": {"app_name": "x"}, "headers": {"X-One": "1", "X-Two": "2"},
        "filter": {"min_severity": "high", "engagement_ids": ["e-1"]}, "retry_count": 7, "timeout_ms": 7000,
        "is_active": false,
    });
    let created = admin.post("/webhooks", &whole).await.expect(201).json();
    let path = format!("/webhooks/{}", created["id"].as_str().expect("an id"));
    let same = |mut one: Value, mut other: Value| {
        for changing in ["updated_at", "header_names"] {
            one[changing] = json!(null);
            other[changing] = json!(null);
        }
        assert_eq!(one, other);
    };
    same(admin.put(&path, &json!({})).await.expect(200).json(), created.clone());

    // Each field alone; absent ones stay.
    let mut expected = created;
    for (body, shown) in [
        (json!({"name": "other"}), json!({"name": "other"})),
        (json!({"url": "http://127.0.0.1:10/"}), json!({"url": "http://127.0.0.1:10/"})),
        (json!({"secret": "another"}), json!({"has_secret": true})),
        (json!({"secret": null}), json!({"has_secret": false})),
        (json!({"event_types": ["finding_added", "*"]}), json!({"event_types": ["*"]})),
        (json!({"format_options": {"facility": "local3"}}), json!({"format_options": {"facility": "local3"}})),
        (json!({"format": "json", "format_options": {}}), json!({"format": "json", "format_options": {}})),
        (json!({"filter": {"min_severity": "LOW"}}), json!({"filter": {"min_severity": "low"}})),
        (json!({"filter": {}}), json!({"filter": {}})),
        (json!({"retry_count": 0}), json!({"retry_count": 0})),
        (json!({"timeout_ms": 30000}), json!({"timeout_ms": 30000})),
        (json!({"is_active": true}), json!({"is_active": true})),
        (json!({"is_active": false}), json!({"is_active": false})),
    ] {
        let changed = admin.put(&path, &body).await.expect(200).json();
        for (name, value) in shown.as_object().expect("an object") {
            expected[name] = value.clone();
        }
        same(changed, expected.clone());
        same(admin.get(&path).await.expect(200).json(), expected.clone());
    }

    // The set of headers is replaced as a whole.
    let headers = async || admin.get(&path).await.json()["header_names"].clone();
    assert_eq!(headers().await, json!(["X-One", "X-Two"]));
    admin.put(&path, &json!({"headers": {"X-Three": "3"}})).await.expect(200);
    assert_eq!(headers().await, json!(["X-Three"]));
    admin.put(&path, &json!({"headers": {}})).await.expect(200);
    assert_eq!(headers().await, json!([]));

    // Only the secret may be null.
    for field in [
        "name",
        "url",
        "event_types",
        "format",
        "format_options",
        "headers",
        "filter",
        "retry_count",
        "timeout_ms",
        "is_active",
    ] {
        admin.put(&path, &json!({ field: null })).await.fault(&format!("/{field}"), "wrong_type");
    }
    // A rejected update changes nothing.
    let before = admin.get(&path).await.json();
    admin.put(&path, &json!({"name": "half", "retry_count": 11})).await.fault("/retry_count", "out_of_range");
    assert_eq!(admin.get(&path).await.json(), before);
}

async fn counters(admin: &Client) {
    let destination = Destination::always(Reply::status(500)).await;
    let fields = json!({"retry_count": 0, "event_types": ["report_ready"]});
    let id = admin.webhook(&destination.url("/"), fields).await;
    let path = format!("/webhooks/{id}");
    admin.event(&events::minimal("report_ready")).await;
    let failed = eventually("a failure to be counted", async || {
        Some(admin.get(&path).await.json()).filter(|webhook| webhook["failure_count"] == 1)
    })
    .await;
    assert!(is_time(&failed["last_failure_at"]) && failed["last_success_at"].is_null(), "{failed}");
    assert_eq!(admin.put(&path, &json!({"name": "x"})).await.expect(200).json()["failure_count"], 1);
    let reset = admin.put(&path, &json!({"is_active": true})).await.expect(200).json();
    assert_eq!((&reset["failure_count"], &reset["is_active"]), (&json!(0), &json!(true)));
}

/// A generated secret, from the response that shows it.
#[track_caller]
fn generated(response: &Answer) -> String {
    let webhook = response.json();
    assert_eq!(webhook["has_secret"], true, "{response}");
    let secret = webhook["secret"].as_str().expect("the secret").to_owned();
    let encoded = secret.strip_prefix("whsec_").expect("the form of Standard Webhooks");
    assert_eq!(data_encoding::BASE64.decode(encoded.as_bytes()).expect("base64").len(), 32);
    secret
}

#[tokio::test]
async fn a_generated_secret_is_shown_once_and_signs() {
    let destination = Destination::start().await;
    let mut host = Host::with(|options| options.args(["--log-level", "trace"])).await;
    let admin = host.admin();
    let body = |generate: Value| json!({"name": "n", "url": destination.url("/"), "generate_secret": generate});
    let created = admin.post("/webhooks", &body(json!(true))).await.expect(201);
    let first = generated(&created);
    let path = format!("/webhooks/{}", created.json()["id"].as_str().expect("an id"));
    // No other response has it, and false does nothing.
    let unchanged = admin.put(&path, &json!({"generate_secret": false, "name": "m"})).await.expect(200);
    for response in [unchanged, admin.get(&path).await, admin.get("/webhooks").await, admin.get("/audit").await] {
        assert!(!response.text().contains("whsec_") && !response.text().contains("\"secret\":\""), "{response}");
    }
    admin.post(&format!("{path}/test"), &json!({})).await.expect(200);
    assert!(destination.wait_for(1).await[0].is_signed_with(&first));
    // A PUT replaces it at once, and again with every repeat; an overlap ends.
    admin.post(&format!("{path}/rotate-secret"), &json!({"secret": "old"})).await.expect(200);
    let second = generated(&admin.put(&path, &json!({"generate_secret": true})).await.expect(200));
    let third = generated(&admin.put(&path, &json!({"generate_secret": true})).await.expect(200));
    assert!(first != second && second != third);
    admin.post(&format!("{path}/test"), &json!({})).await.expect(200);
    let signed = &destination.wait_for(2).await[1];
    assert!(signed.is_signed_with(&third) && !signed.is_signed_with(&second));
    assert_eq!(signed.header("webhook-signature").split(' ').count(), 1, "no old secret signs");
    // It excludes a secret of one's own, also its removal.
    for secret in [json!("s"), json!(null)] {
        let both = json!({"generate_secret": true, "secret": secret});
        admin.put(&path, &both).await.errors(&[("/generate_secret", "exclusive")]);
        let mut both = body(json!(true));
        both["secret"] = secret;
        admin.post("/webhooks", &both).await.errors(&[("/generate_secret", "exclusive")]);
    }
    admin.put(&path, &json!({"generate_secret": false, "secret": "s"})).await.expect(200);
    for wrong in [json!("true"), json!(1), json!(null)] {
        admin.post("/webhooks", &body(wrong)).await.errors(&[("/generate_secret", "wrong_type")]);
    }
    let without = admin.post("/webhooks", &body(json!(false))).await.expect(201).json();
    assert_eq!((&without["has_secret"], without.get("secret")), (&json!(false), None));
    let status = host.terminate().await;
    assert!(status.success() && !host.log().contains("whsec_"), "{status}: {}", host.log());
    for secret in [first, second, third] {
        assert_eq!(files_with(host.folder().path(), secret.as_bytes()), [] as [String; 0]);
    }
}

#[tokio::test]
async fn a_test_delivery_sends_what_its_body_names() {
    let destination = Destination::start().await;
    let host = Host::start().await;
    let admin = host.admin();
    let fields =
        json!({"event_types": ["phase_changed"], "filter": {"min_severity": "critical", "engagement_ids": ["x"]}});
    let webhook = admin.webhook(&destination.url("/"), fields).await;
    let path = format!("/webhooks/{webhook}/test");
    let posted = "{ \"type\":\"report_ready\", \"data\":{\"report\":{\"pages\":1e400,\"id\" : \"\\u0041\"}}}";
    let event = admin.post_text("/events", posted).await.expect(202).json();
    let id = event["id"].as_str().expect("an id");
    let bodies = [
        (json!({}).to_string(), "phase_changed"),
        (json!({"event_type": "report_ready"}).to_string(), "report_ready"),
        (json!({"event_type": "critical_finding"}).to_string(), "critical_finding"),
        (json!({"event_type": "webhook_disabled"}).to_string(), "webhook_disabled"),
        (json!({"event_id": id}).to_string(), "report_ready"),
        (json!({"event_id": id.to_uppercase()}).to_string(), "report_ready"),
        (String::new(), "phase_changed"),
    ];
    for (number, (body, event_type)) in bodies.into_iter().enumerate() {
        let attempt = admin.post_text(&path, body.clone()).await.expect(200).json();
        assert_eq!((&attempt["event_type"], &attempt["is_test"]), (&json!(event_type), &json!(true)), "{body}");
        assert!(attempt["event_id"].is_null() && attempt["success"] == true, "{attempt}");
        let received = &destination.wait_for(number + 1).await[number];
        assert_eq!(received.header("x-webhook-event"), event_type, "{body}");
        assert_eq!(
            received.text().contains("\"pages\":1e400,\"id\" : \"\\u0041\""),
            body.contains("event_id"),
            "{received:?}"
        );
    }
    // No body needs no type, also where only its end tells that it is empty.
    admin.request("POST", &path).send().await.expect(200);
    admin.request("POST", &path).header("content-type", "text/plain").send().await.expect(200);
    for (body, fault) in [
        (json!({"event_type": "*"}), ("/event_type", "unknown_event_type")),
        (json!({"event_type": "nope"}), ("/event_type", "unknown_event_type")),
        (json!({"event_type": null}), ("/event_type", "wrong_type")),
        (json!({"event_id": events::new_id()}), ("/event_id", "unknown_event")),
        (json!({"event_id": "nope"}), ("/event_id", "invalid")),
        (json!({"event_id": 7}), ("/event_id", "wrong_type")),
        (json!({"event_type": "report_ready", "event_id": id}), ("/event_id", "exclusive")),
        (json!({"event_type": "report_ready", "x": 1}), ("/x", "unknown_field")),
        (json!([]), ("", "wrong_type")),
        (json!(null), ("", "wrong_type")),
    ] {
        admin.post(&path, &body).await.errors(&[fault]);
    }
    admin.post_text(&path, "{").await.problem(400, "invalid_json");
    admin
        .post_text(&path, "{\"event_type\":\"report_ready\",\"event_type\":\"report_ready\"}")
        .await
        .problem(400, "invalid_json");
    admin.post_text(&path, " ").await.problem(400, "invalid_json");
    let typed = admin.request("POST", &path).body("text/plain", "{\"event_type\":\"report_ready\"}");
    typed.send().await.problem(415, "unsupported_media_type");
    assert_eq!(destination.received().len(), 9, "nothing was sent for these");
}

#[tokio::test]
async fn secrets_are_in_no_response_no_log_line_and_no_file() {
    let destination = Destination::start().await;
    let host = Host::with(|options| options.args(["--log-level", "trace", "--retry-base", "50ms"])).await;
    let admin = host.admin();
    let secret = json!({
        "name": "n", "url": destination.url("/canary-path?key=canary-query"), "event_types": ["report_ready"],
        "secret": "canary-secret", "headers": {"Authorization": "Bearer canary-value"},
    });
    let created = admin.post("/webhooks", &secret).await.expect(201);
    let path = format!("/webhooks/{}", created.json()["id"].as_str().expect("an id"));
    let tested = admin.post(&format!("{path}/test"), &json!({})).await.expect(200);
    destination.next([Reply::status(500)]);
    let event = admin.event(&events::minimal("report_ready")).await;
    let received = destination.wait_for(3).await;
    assert!(received.iter().all(|request| request.header("authorization") == "Bearer canary-value"));
    assert!(received.iter().all(|request| !request.header("x-webhook-signature").is_empty()));
    admin.settled(&event).await;
    // Rejected values are not echoed either.
    let bad_secret = admin.put(&path, &json!({"secret": "whsec_canary-secret!"})).await;
    let bad_header = admin.put(&path, &json!({"headers": {"X-A": "canary-value\n"}})).await;
    let bad_json = admin.request("PUT", &path).body("application/json", "{\"secret\":\"canary-secret\",}").send().await;
    let duplicate =
        admin.request("PUT", &path).body("application/json", "{\"secret\":\"canary-secret\",\"secret\":\"x\"}");
    let pentester = admin.new_token("pentester").await;
    let responses = [
        created,
        tested,
        bad_secret,
        bad_header,
        bad_json,
        duplicate.send().await,
        admin
            .put(&path, &json!({"secret": "canary-secret", "headers": {"X-Canary": "canary-value"}}))
            .await
            .expect(200),
        admin.get(&path).await.expect(200),
        admin.get("/webhooks").await.expect(200),
        admin.get(&format!("{path}/deliveries")).await.expect(200),
        admin.get(&format!("/events/{event}")).await.expect(200),
        pentester.get("/webhooks").await.expect(200),
        host.visitor().outside().get("/metrics").await.expect(200),
    ];
    for response in &responses {
        for canary in ["canary-secret", "canary-value"] {
            assert!(!response.text().contains(canary), "{canary}: {response}");
        }
    }
    assert!(!responses[11].text().contains("canary"), "a pentester sees no URL: {}", responses[11]);
    stored_encrypted(host).await;
}

async fn stored_encrypted(mut host: Host) {
    let status = host.terminate().await;
    assert!(status.success(), "{status}");
    let log = host.log();
    assert!(log.contains("webhook created"), "the log was on: {log}");
    assert!(!log.contains("canary"), "{log}");
    let files = files_with(host.folder().path(), b"canary");
    assert_eq!(files, [] as [String; 0], "secrets in the clear");
}

/// The files below a folder that contain these bytes.
pub(crate) fn files_with(folder: &Path, needle: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files_with(&path, needle));
        } else if std::fs::read(&path).expect("a file").windows(needle.len()).any(|window| window == needle) {
            found.push(path.display().to_string());
        }
    }
    found
}
