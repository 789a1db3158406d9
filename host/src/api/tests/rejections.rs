//! Permissions of the roles, and the precedence of errors.

use super::*;

#[tokio::test]
async fn every_route_requires_a_token_and_the_right_role() {
    let host = Host::start().await;
    let hook = host.webhook().await;
    let name = crate::model::webhook::input::DEFAULT_FORMAT;
    for (line, admin, pentester, ingest) in [
        ("GET /api/v1/webhooks".to_owned(), 200, 200, 403),
        ("POST /api/v1/webhooks".into(), 415, 403, 403),
        (format!("GET {hook}"), 200, 200, 403),
        (format!("PUT {hook}"), 415, 403, 403),
        (format!("DELETE /api/v1/webhooks/{UNKNOWN_ID}"), 404, 403, 403),
        (format!("POST /api/v1/webhooks/{UNKNOWN_ID}/test"), 404, 403, 403),
        (format!("GET {hook}/deliveries"), 200, 403, 403),
        ("GET /api/v1/webhooks/event-types".into(), 200, 200, 200),
        ("POST /api/v1/events".into(), 415, 403, 415),
        (format!("GET /api/v1/events/{UNKNOWN_ID}"), 404, 403, 404),
        ("GET /api/v1/formatters".into(), 200, 200, 200),
        (format!("GET /api/v1/formatters/{name}"), 200, 200, 200),
        (format!("POST /api/v1/formatters/{name}/preview"), 415, 415, 415),
        ("GET /api/v1/tokens".into(), 200, 403, 403),
        ("POST /api/v1/tokens".into(), 415, 403, 403),
        (format!("DELETE /api/v1/tokens/{UNKNOWN_ID}"), 404, 403, 403),
        ("GET /api/v1/status".into(), 200, 403, 403),
        ("GET /api/v1/nothing".into(), 404, 404, 404),
    ] {
        // Operators read what admins read, and render previews as anybody does.
        let operator = if line.starts_with("GET") || line.ends_with("/preview") { admin } else { 403 };
        for (token, expected) in
            [(&host.admin, admin), (&host.operator, operator), (&host.pentester, pentester), (&host.ingest, ingest)]
        {
            assert_eq!(host.call(&line, token, &[], None).await.status, expected, "{line}");
        }
        let anonymous = host.call(&line, "", &[], None).await;
        assert_eq!(anonymous.problem(), ["401 unauthorized"], "{line}");
        assert!(anonymous.header("www-authenticate").is_some_and(|value| value.starts_with("Bearer")));
        assert_eq!(anonymous.header("cache-control"), Some("no-store"));
        let wrong = host.call(&line, "wrong", &[], None).await;
        assert_eq!((wrong.status, &wrong.text), (401, &anonymous.text), "{line}");
    }
}

#[tokio::test]
async fn only_one_bearer_header_is_a_token() {
    let host = Host::start().await;
    let admin = &host.admin;
    for (headers, expected) in [
        (vec![format!("Authorization: Bearer {admin}")], 200),
        (vec![format!("authorization: bEaReR  {admin}")], 200),
        (vec!["Authorization: Bearer ".to_owned()], 401),
        (vec!["Authorization: Bearer".to_owned()], 401),
        (vec![format!("Authorization: Basic {admin}")], 401),
        (vec![format!("Authorization: {admin}")], 401),
        (vec![format!("Authorization: Bearer {admin}"), "Authorization: Bearer x".to_owned()], 401),
        (vec![format!("X-Token: {admin}")], 401),
        (vec![format!("Authorization: Bearer {}", "x".repeat(10_000))], 401),
    ] {
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        assert_eq!(host.call("GET /api/v1/webhooks", "", &headers, None).await.status, expected, "{headers:?}");
    }
    let query = format!("GET /api/v1/webhooks?token={admin}&access_token={admin}");
    assert_eq!(host.call(&query, "", &[], None).await.status, 401);
}

/// Each row corrects the fault for which the row before was rejected.
#[tokio::test]
async fn errors_have_a_fixed_precedence() {
    let host = Host::with(Limits { max_body_bytes: 1000, ..Limits::default() }).await;
    let hook = host.webhook().await;
    let stale = "If-Match: \"r999\"";
    let (long, broken, unfit) = ("x".repeat(1001), "{", r#"{"nope":1}"#);
    for (path, token, content_type, body, expected) in [
        (UNKNOWN_ID, "", "text/plain", long.as_str(), "401 unauthorized"),
        (UNKNOWN_ID, &host.pentester, "text/plain", &long, "403 forbidden"),
        (UNKNOWN_ID, &host.admin, "text/plain", &long, "404 not_found"),
        ("", &host.admin, "text/plain", &long, "415 unsupported_media_type"),
        ("", &host.admin, "application/json", &long, "413 body_too_large"),
        ("", &host.admin, "application/json", broken, "400 invalid_json"),
        ("", &host.admin, "application/json", unfit, "412 precondition_failed"),
    ] {
        let line = if path.is_empty() { format!("PUT {hook}") } else { format!("PUT /api/v1/webhooks/{path}") };
        let content_type = format!("Content-Type: {content_type}");
        let reply = host.call(&line, token, &[&content_type, stale], Some(body)).await;
        assert_eq!(reply.problem(), [expected]);
    }
    let reply = host.call(&format!("PUT {hook}"), &host.admin, &["If-Match: *"], Some(unfit)).await;
    assert_eq!(reply.problem(), ["422 invalid_fields", "/nope unknown_field"]);
}

#[tokio::test]
async fn undeclared_methods_are_405_with_the_declared_ones() {
    let host = Host::start().await;
    let hook = host.webhook().await;
    for (line, allow) in [
        (format!("PATCH {hook}"), "GET,HEAD,PUT,DELETE"),
        (format!("TRACE {hook}"), "GET,HEAD,PUT,DELETE"),
        (format!("GET {hook}/test"), "POST"),
        ("PUT /api/v1/webhooks/event-types".into(), "GET,HEAD"),
        ("PUT /api/v1/webhooks".into(), "GET,HEAD,POST"),
        ("POST /healthz".into(), "GET,HEAD"),
        ("DELETE /docs".into(), "GET,HEAD"),
    ] {
        let reply = host.call(&line, &host.admin, &[], None).await;
        assert_eq!(reply.problem(), ["405 method_not_allowed"], "{line}");
        let mut given: Vec<&str> = reply.header("allow").expect("Allow").split(',').map(str::trim).collect();
        let mut expected: Vec<&str> = allow.split(',').collect();
        given.sort_unstable();
        expected.sort_unstable();
        assert_eq!(given, expected, "{line}");
    }
}

#[tokio::test]
async fn undeclared_paths_are_404() {
    let host = Host::start().await;
    let hook = host.webhook().await;
    for line in [
        format!("POST {hook}/deliveries/{UNKNOWN_ID}/redeliver"),
        format!("POST {hook}/deliveries/x/redeliver"),
        "GET /api/v1/audit/x".into(),
        "GET /api/v1/webhooks/".into(),
    ] {
        assert_eq!(host.call(&line, &host.admin, &[], None).await.problem(), ["404 not_found"], "{line}");
    }
}

#[tokio::test]
async fn invalid_ids_are_404() {
    let host = Host::start().await;
    let long = "a".repeat(10_000);
    for id in ["x", "..%2Fx", "%00", "%ff", "%0d%0aX:%20y", "01890a5dac96774bbcceb302099a8057", UNKNOWN_ID, &long] {
        for line in [
            format!("GET /api/v1/webhooks/{id}"),
            format!("GET /api/v1/webhooks/{id}/deliveries"),
            format!("GET /api/v1/events/{id}"),
            format!("GET /api/v1/formatters/{id}"),
            format!("DELETE /api/v1/tokens/{id}"),
        ] {
            assert_eq!(host.call(&line, &host.admin, &[], None).await.problem(), ["404 not_found"], "{line}");
        }
    }
}

#[tokio::test]
async fn bodies_are_json_without_encoding() {
    let host = Host::start().await;
    for headers in [
        vec!["Content-Type: text/plain"],
        vec!["Content-Type: application/json; charset=latin1"],
        vec!["Content-Type: application/x-ndjson"],
        vec!["Content-Type: application/json", "Content-Encoding: gzip"],
        vec!["Content-Type: application/json", "Content-Encoding: identity"],
        vec!["Content-Type: application/json", "Content-Type: application/json"],
    ] {
        let reply = host.call("POST /api/v1/tokens", &host.admin, &headers, Some("{}")).await;
        assert_eq!(reply.problem(), ["415 unsupported_media_type"], "{headers:?}");
    }
    let headers = ["Content-Type: APPLICATION/json ; charset=\"UTF-8\""];
    assert_eq!(host.call("POST /api/v1/tokens", &host.admin, &headers, Some("{}")).await.status, 422);
    for body in ["", "{", "\u{feff}{}", r#"{"name":"a","name":"b"}"#, r#"{"name":"\ud800"}"#, "{} {}"] {
        assert_eq!(host.post("/api/v1/tokens", body).await.problem(), ["400 invalid_json"], "{body:?}");
    }
}

#[tokio::test]
async fn a_body_at_the_limit_is_accepted_and_one_byte_more_is_not() {
    let host = Host::with(Limits { max_body_bytes: 2000, ..Limits::default() }).await;
    let body = |bytes: usize| format!("{{\"role\":\"{}\"}}", "x".repeat(bytes - 11));
    assert_eq!(host.post("/api/v1/tokens", &body(2000)).await.status, 422);
    assert_eq!(host.post("/api/v1/tokens", &body(2001)).await.problem(), ["413 body_too_large"]);
    assert!(host.post("/api/v1/tokens", &body(2001)).await.text.contains("2000 bytes"));
}
