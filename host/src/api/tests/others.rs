//! Tokens, formatters, health, the documentation.

use super::*;

#[tokio::test]
async fn a_tokens_text_is_shown_once_and_works_until_it_is_deleted() {
    let host = Host::start().await;
    let made = host.post("/api/v1/tokens", r#"{"name":"CI","role":"ingest"}"#).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let made = made.json();
    let mut names: Vec<&str> = made.as_object().expect("an object").keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["created_at", "id", "name", "role", "token"]);
    let text = made["token"].as_str().expect("a token");
    let listed = host.get("/api/v1/tokens").await;
    assert!(!listed.text.contains(text));
    assert_eq!(listed.json()[0]["id"], made["id"], "newest first");
    assert_eq!(host.call("GET /api/v1/formatters", text, &[], None).await.status, 200);
    let delete = format!("DELETE /api/v1/tokens/{}", made["id"].as_str().expect("an id"));
    assert_eq!(host.call(&delete, &host.admin, &[], None).await.status, 204);
    assert_eq!(host.call("GET /api/v1/formatters", text, &[], None).await.status, 401);
    assert_eq!(host.call(&delete, &host.admin, &[], None).await.problem(), ["404 not_found"]);
}

#[tokio::test]
async fn every_fault_of_a_token_comes_at_once() {
    let host = Host::start().await;
    let long = format!("{{\"name\":\"{}\",\"role\":\"admin\"}}", "é".repeat(201));
    for (body, expected) in [
        ("{}", vec!["/name required", "/role required"]),
        (
            r#"{"name":"","role":"root","id":"x","more":1}"#,
            vec!["/id read_only", "/more unknown_field", "/name empty", "/role invalid"],
        ),
        (r#"{"name":null,"role":null}"#, vec!["/name wrong_type", "/role wrong_type"]),
        (r#"{"name":"n","role":"Admin"}"#, vec!["/role invalid"]),
        (long.as_str(), vec!["/name too_long"]),
        ("[]", vec![" wrong_type"]),
    ] {
        assert_eq!(host.post("/api/v1/tokens", body).await.problem()[1..], expected, "{body}");
    }
    let longest = format!("{{\"name\":\"{}\",\"role\":\"pentester\"}}", "é".repeat(200));
    assert_eq!(host.post("/api/v1/tokens", &longest).await.status, 201);
}

#[tokio::test]
async fn every_loaded_formatter_is_listed_and_found() {
    let host = Host::start().await;
    let listed = host.get("/api/v1/formatters").await.json();
    let names = catalog().ready_names();
    assert_eq!(listed.as_array().map(Vec::len), Some(names.len()));
    for (name, listed) in names.iter().zip(listed.as_array().expect("a list")) {
        let one = host.get(&format!("/api/v1/formatters/{name}")).await.json();
        assert_eq!(
            (&one["name"], &one["state"], &one["origin"]),
            (&name.as_str().into(), &"ready".into(), &"built-in".into())
        );
        assert_eq!((&one["digest"], &one["version"]), (&listed["digest"], &listed["version"]));
    }
}

#[tokio::test]
async fn a_preview_shows_what_would_be_sent() {
    let host = Host::start().await;
    let event = r#"{"type":"finding_added","data":{"finding":{"title":"canary title","severity":"high"}}}"#;
    for name in catalog().ready_names() {
        let path = format!("/api/v1/formatters/{name}/preview");
        let preview =
            host.call(&format!("POST {path}"), &host.pentester, &[], Some(&format!("{{\"event\":{event}}}"))).await;
        assert_eq!(preview.status, 200, "{name}: {}", preview.text);
        let preview = preview.json();
        assert!(preview["body"].as_str().is_some_and(|body| body.contains("canary title")), "{name}: {preview}");
        assert!(preview["content_type"].is_string() && preview["headers"].is_object() && preview["log"].is_array());
        assert!(preview["duration_us"].is_u64());
    }
}

#[tokio::test]
async fn a_preview_names_what_is_wrong() {
    let host = Host::start().await;
    let path = format!("/api/v1/formatters/{}/preview", catalog().ready_names()[0]);
    for (body, expected) in [
        ("{}", vec!["422 invalid_fields", "/event required"]),
        ("[]", vec!["422 invalid_fields", " wrong_type"]),
        (
            r#"{"event":{"type":"x","data":{}},"more":1}"#,
            vec!["422 invalid_fields", "/more unknown_field", "/event/type unknown_event_type"],
        ),
        (r#"{"event":7,"options":[]}"#, vec!["422 invalid_fields", "/event wrong_type", "/options wrong_type"]),
    ] {
        assert_eq!(host.post(&path, body).await.problem(), expected, "{body}");
    }
    let options = host.post(&path, r#"{"event":{"type":"x"},"options":{"no such option":1}}"#).await.problem();
    assert!(options.iter().any(|line| line.starts_with("/options")), "{options:?}");
    assert_eq!(host.post("/api/v1/formatters/nope/preview", "{").await.problem(), ["404 not_found"]);
}

#[tokio::test]
async fn health_needs_no_token_and_a_stopping_host_is_not_ready() {
    let host = Host::start().await;
    assert_eq!(host.call("GET /healthz", "", &[], None).await.json(), serde_json::json!({"status": "ok"}));
    assert_eq!(host.call("GET /readyz", "", &[], None).await.status, 200);
    host.draining.cancel();
    let stopping = host.call("GET /readyz", "", &[], None).await;
    assert_eq!(stopping.problem(), ["503 unavailable"]);
    assert!(stopping.header("retry-after").is_some());
    assert_eq!(host.call("GET /healthz", "", &[], None).await.status, 200);
}

#[tokio::test]
async fn metrics_count_requests_by_route() {
    let host = Host::start().await;
    let path = host.webhook().await;
    host.get(&path).await;
    host.get("/api/v1/nothing").await;
    let metrics = host.call("GET /metrics", "", &[], None).await.text;
    for line in [
        r#"heraldry_http_requests_total{method="GET",route="/api/v1/webhooks/{id}",status="200"} 1"#,
        r#"heraldry_http_requests_total{method="GET",route="none",status="404"} 1"#,
        r#"heraldry_webhooks{state="active"} 1"#,
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
}

#[tokio::test]
async fn the_documentation_is_served_by_the_host_alone() {
    let host = Host::start().await;
    let page = host.call("GET /docs", "", &[], None).await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(page.header("content-security-policy").is_some_and(|policy| policy.starts_with("default-src 'none'")));
    assert!(!page.text.contains("//"), "nothing from elsewhere: {}", page.text);
    for reference in page.text.split(['"']).filter(|text| text.starts_with("docs/")) {
        let asset = host.call(&format!("GET /{reference}"), "", &[], None).await;
        assert_eq!(asset.status, 200, "{reference}");
    }
    assert!(host.call("GET /docs/start.js", "", &[], None).await.text.contains("validatorUrl: null"));
    for missing in ["index.html", "swagger-initializer.js", "..%2Fx"] {
        assert_eq!(host.call(&format!("GET /docs/{missing}"), "", &[], None).await.problem(), ["404 not_found"]);
    }
    let openapi = host.call("GET /openapi.json", "", &[], None).await.json();
    assert_eq!(openapi["openapi"].as_str().map(|version| &version[..3]), Some("3.1"));
    assert_eq!(openapi, serde_json::to_value(document()).expect("a document"));
}
