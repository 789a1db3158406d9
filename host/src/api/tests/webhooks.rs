//! Webhooks and their history.

use super::*;

#[tokio::test]
async fn a_webhook_is_made_with_defaults_and_shows_no_secret() {
    let host = Host::start().await;
    let body = r#"{"name":"n","url":"HTTPS://Hook.INVALID","secret":"canary-1","headers":{"X-Key":"canary-2"}}"#;
    let made = host.post("/api/v1/webhooks", body).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let mut json = made.json();
    let path = format!("/api/v1/webhooks/{}", json["id"].as_str().expect("an id"));
    assert_eq!(made.header("location"), Some(path.as_str()));
    let got = host.get(&path).await;
    assert_eq!((got.status, got.json(), got.header("etag")), (200, json.clone(), made.header("etag")));
    assert!(!got.text.contains("canary"));
    for field in ["id", "created_at", "updated_at"] {
        assert!(json[field].take().is_string(), "{field}");
    }
    assert_eq!(
        json,
        serde_json::json!({
            "id": null, "name": "n", "url": "https://hook.invalid/", "has_secret": true,
            "event_types": ["finding_added", "phase_changed", "engagement_completed"], "format": "json",
            "format_options": {}, "header_names": ["X-Key"], "filter": {}, "critical_once": false, "order": "arrival", "rate_limit": null, "tls": null,
            "batch": null, "digest": null, "retry_count": 3, "timeout_ms": 5000,
            "is_active": true, "failure_count": 0, "disabled_reason": null, "expression_error": null, "last_success_at": null,
            "last_failure_at": null, "waiting": 0, "held": 0, "oldest_waiting_at": null,
            "next_attempt_at": null, "next_probe_at": null, "created_at": null, "updated_at": null,
        })
    );
}

#[tokio::test]
async fn a_pentester_sees_six_fields() {
    let host = Host::start().await;
    let path = host.webhook().await;
    let one = host.call(&format!("GET {path}"), &host.pentester, &[], None).await;
    let mut names: Vec<String> = one.json().as_object().expect("an object").keys().cloned().collect();
    names.sort();
    assert_eq!(names, ["created_at", "event_types", "format", "id", "is_active", "name"]);
    let all = host.call("GET /api/v1/webhooks", &host.pentester, &[], None).await;
    assert_eq!(all.text, format!("[{}]", one.text));
}

#[tokio::test]
async fn the_newest_webhook_comes_first() {
    let host = Host::start().await;
    let (first, second) = (host.webhook().await, host.webhook().await);
    let all = host.get("/api/v1/webhooks").await.json();
    let paths: Vec<String> = all
        .as_array()
        .expect("a list")
        .iter()
        .map(|hook| format!("/api/v1/webhooks/{}", hook["id"].as_str().expect("an id")))
        .collect();
    assert_eq!(paths, [second, first]);
}

#[tokio::test]
async fn everything_wrong_with_a_webhook_comes_at_once() {
    let host = Host::start().await;
    let body = r#"{"url":"https://127.0.0.1/","format":"nope","retry_count":11,"id":"x"}"#;
    assert_eq!(
        host.post("/api/v1/webhooks", body).await.problem(),
        [
            "422 invalid_fields",
            "/name required",
            "/id read_only",
            "/retry_count out_of_range",
            "/format unknown_format",
            "/url denied_address",
        ]
    );
    let unknown = host.post("/api/v1/webhooks", r#"{"name":"n","url":"https://hook.invalid/","format":"nope"}"#).await;
    assert!(catalog().ready_names().iter().all(|name| unknown.text.contains(name)), "{}", unknown.text);
    let options = r#"{"name":"n","url":"https://hook.invalid/","format_options":{"no such option":1}}"#;
    let reply = host.post("/api/v1/webhooks", options).await;
    assert_eq!(reply.status, 422);
    assert!(reply.problem()[1].starts_with("/format_options"), "{:?}", reply.problem());
    assert_eq!(host.get("/api/v1/webhooks").await.text, "[]");
}

#[tokio::test]
async fn a_put_changes_what_it_names() {
    let host = Host::start().await;
    let path = host.webhook().await;
    let before = host.get(&path).await.json();
    let changed = host.put(&path, r#"{"timeout_ms":1000.0,"secret":"s"}"#).await;
    assert_eq!(changed.status, 200, "{}", changed.text);
    let mut expected = before.clone();
    expected["timeout_ms"] = 1000.into();
    expected["has_secret"] = true.into();
    expected["updated_at"] = changed.json()["updated_at"].clone();
    assert_eq!(changed.json(), expected);
    assert_eq!(host.put(&path, r#"{"secret":null}"#).await.json()["has_secret"], false);
    assert_eq!(host.put(&path, "{}").await.status, 200);
    let off = host.put(&path, r#"{"is_active":false}"#).await.json();
    assert_eq!((&off["is_active"], &off["disabled_reason"]), (&Value::Bool(false), &Value::Null));
    assert_eq!(host.put(&path, r#"{"is_active":true}"#).await.json()["is_active"], true);
    for (body, fault) in [
        (r#"{"format_options":{"no such option":1}}"#, "/format_options"),
        (r#"{"url":"https://127.0.0.1/"}"#, "/url denied_address"),
        (r#"{"failure_count":0}"#, "/failure_count read_only"),
        (r#"{"rate_limit":{}}"#, "/rate_limit/count required"),
        (r#"{"tls":{"ca":"corp"}}"#, "/tls/ca unknown_name"),
        (r#"{"url":"http://hook.invalid/","tls":{"ca":"corp"}}"#, "/tls no_tls"),
        (r#"{"url":"syslog+udp://hook.invalid"}"#, "/url not_a_line"),
        (r#"{"format":"slack","batch":{"max_events":2,"max_wait_ms":0}}"#, "/batch not_joinable"),
        ("[]", " wrong_type"),
    ] {
        let problem = host.put(&path, body).await.problem();
        assert_eq!(problem[0], "422 invalid_fields");
        assert!(problem[1].starts_with(fault), "{problem:?}");
    }
}

#[tokio::test]
async fn if_match_keeps_a_change_from_overwriting_another() {
    let host = Host::start().await;
    let path = host.webhook().await;
    let etag = host.get(&path).await.header("etag").expect("an ETag").to_owned();
    let put = async |if_match: String, name: &str| {
        let body = format!("{{\"name\":\"{name}\"}}");
        host.call(&format!("PUT {path}"), &host.admin, &[&format!("If-Match: {if_match}")], Some(&body)).await
    };
    let changed = put(format!("\"other\", {etag}"), "a").await;
    assert_eq!(changed.status, 200);
    let newer = changed.header("etag").expect("an ETag").to_owned();
    assert_ne!(newer, etag);
    assert_eq!(host.get(&path).await.header("etag"), Some(newer.as_str()));
    assert_eq!(put(etag, "b").await.problem(), ["412 precondition_failed"]);
    assert_eq!(put(format!("W/{newer}"), "b").await.problem(), ["412 precondition_failed"]);
    assert_eq!(put("nonsense".into(), "b").await.problem(), ["400 invalid_header"]);
    assert_eq!(put("*".into(), "c").await.json()["name"], "c");
    assert_eq!(host.get(&path).await.json()["name"], "c");
}

#[tokio::test]
async fn changes_at_the_same_time_are_all_made() {
    let host = Arc::new(Host::start().await);
    let path = host.webhook().await;
    let mut changes = Vec::new();
    for body in [r#"{"name":"new"}"#, r#"{"retry_count":7}"#, r#"{"timeout_ms":7000}"#, r#"{"secret":"s"}"#] {
        let (host, path) = (Arc::clone(&host), path.clone());
        changes.push(tokio::spawn(async move { host.put(&path, body).await.status }));
    }
    for change in changes {
        assert_eq!(change.await.expect("a change"), 200);
    }
    let hook = host.get(&path).await.json();
    assert_eq!((&hook["name"], &hook["retry_count"]), (&"new".into(), &7.into()));
    assert_eq!((&hook["timeout_ms"], &hook["has_secret"]), (&7000.into(), &true.into()));
}

#[tokio::test]
async fn a_deleted_webhook_is_gone() {
    let host = Host::start().await;
    let path = host.webhook().await;
    let delete = format!("DELETE {path}");
    let reply = host.call(&delete, &host.admin, &[], None).await;
    assert_eq!((reply.status, reply.text.as_str()), (204, ""));
    assert_eq!(host.call(&delete, &host.admin, &[], None).await.problem(), ["404 not_found"]);
    assert_eq!(host.get(&path).await.problem(), ["404 not_found"]);
    assert_eq!(host.put(&path, "{}").await.problem(), ["404 not_found"]);
    assert_eq!(host.get(&format!("{path}/deliveries")).await.problem(), ["404 not_found"]);
}

#[tokio::test]
async fn tests_are_in_the_history_page_by_page_and_end_at_sixty_a_minute() {
    let host = Host::start().await;
    let path = host.webhook().await;
    for _ in 0..60 {
        let attempt = host.post(&format!("{path}/test"), "").await;
        assert_eq!(attempt.status, 200, "{}", attempt.text);
        let attempt = attempt.json();
        assert_eq!((&attempt["is_test"], &attempt["event_id"]), (&true.into(), &Value::Null));
    }
    let rejected = host.post(&format!("{path}/test"), "").await;
    assert_eq!(rejected.problem(), ["429 too_many_requests"]);
    let wait: u64 = rejected.header("retry-after").and_then(|wait| wait.parse().ok()).expect("a wait");
    assert!((1..=60).contains(&wait), "{wait}");

    let mut seen = Vec::new();
    let mut next = Some(format!("{path}/deliveries?limit=25&success=false&event_type=finding_added"));
    while let Some(page) = next {
        let reply = host.get(&page).await;
        seen.extend(
            reply
                .json()
                .as_array()
                .expect("a list")
                .iter()
                .map(|attempt| attempt["id"].as_str().expect("an id").to_owned()),
        );
        next = reply.header("link").map(|link| {
            let (path, rel) = link.strip_prefix('<').and_then(|link| link.split_once('>')).expect("a link");
            assert_eq!(rel, "; rel=\"next\"");
            path.to_owned()
        });
    }
    assert_eq!(seen.len(), 60);
    assert!(seen.is_sorted_by(|newer, older| newer > older));
    assert_eq!(host.get(&format!("{path}/deliveries")).await.json().as_array().map(Vec::len), Some(50));
    assert_eq!(host.get(&format!("{path}/deliveries?success=true")).await.text, "[]");
    for query in ["limit=0", "limit=201", "success=maybe", "event_type=x", "page=2", &format!("before={UNKNOWN_ID}")] {
        assert_eq!(host.get(&format!("{path}/deliveries?{query}")).await.problem(), ["400 invalid_query"], "{query}");
    }
}

#[tokio::test]
async fn every_event_type_is_listed_and_the_star() {
    let host = Host::start().await;
    let types = host.get("/api/v1/webhooks/event-types").await.json();
    let names: Vec<&str> =
        types.as_array().expect("a list").iter().map(|entry| entry["name"].as_str().expect("a name")).collect();
    assert_eq!(names.len(), 18);
    assert_eq!(names.last(), Some(&"*"));
    assert!(types.as_array().expect("a list").iter().all(|entry| entry["description"].is_string()));
    let hosts = types.as_array().expect("a list").iter().filter(|entry| entry["kind"] == "host");
    assert_eq!(hosts.filter(|entry| entry["sample"]["data"].is_object()).count(), 7);
}
