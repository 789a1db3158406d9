//! Ingesting events and reading them back.

use super::*;

const PHASE: &str = r#"{"type":"phase_changed","data":{"phase":{"name":"recon"}}}"#;

impl Host {
    async fn ingest(&self, headers: &[&str], body: &str) -> Reply {
        self.call("POST /api/v1/events", &self.ingest, headers, Some(body)).await
    }
}

#[tokio::test]
async fn an_object_returns_an_object_and_a_list_a_list() {
    let host = Host::start().await;
    host.webhook().await;
    let one = host.ingest(&[], PHASE).await;
    assert_eq!(one.status, 202, "{}", one.text);
    assert_eq!((&one.json()["deliveries"], &one.json()["derived"]), (&1.into(), &serde_json::json!([])));
    for (content_type, body, count) in [
        ("application/json", format!("[{PHASE}]"), 1),
        ("application/json", format!(" [{PHASE} , {PHASE}]\n"), 2),
        ("application/x-ndjson", PHASE.to_owned(), 1),
        ("application/x-ndjson; charset=utf-8", format!("{PHASE}\r\n\n{PHASE}\n"), 2),
    ] {
        let many = host.ingest(&[&format!("Content-Type: {content_type}")], &body).await;
        assert_eq!(many.status, 202, "{}", many.text);
        assert_eq!(many.json().as_array().map(Vec::len), Some(count), "{body}");
    }
}

#[tokio::test]
async fn an_event_comes_back_as_it_was_posted_and_only_to_those_who_may() {
    let host = Host::start().await;
    host.webhook().await;
    let data =
        r#"{ "finding" : {"title":"\u0041<script>","severity":"Critical","n":1.50,"big":12345678901234567890123} }"#;
    let engagement = r#"{"id":"e", "name":"n"}"#;
    let body = format!(
        r#"{{"type":"finding_added","engagement":{engagement},"occurred_at":"2026-01-31T14:00:00+02:00","data":{data}}}"#
    );
    let posted = host.ingest(&[], &body).await.json();
    let path = format!("/api/v1/events/{}", posted["id"].as_str().expect("an id"));
    let read = host.get(&path).await;
    assert_eq!(read.status, 200);
    assert!(read.text.contains(&format!("\"data\":{data}")), "{}", read.text);
    assert!(read.text.contains(&format!("\"engagement\":{engagement}")), "{}", read.text);
    let json = read.json();
    assert_eq!((&json["type"], &json["occurred_at"]), (&"finding_added".into(), &"2026-01-31T12:00:00.000Z".into()));
    assert!(json.get("caused_by").is_none());
    assert_eq!(json["deliveries"].as_array().map(Vec::len), Some(1));
    assert_eq!(host.call(&format!("GET {path}"), &host.ingest, &[], None).await.status, 200);

    let derived = posted["derived"][0].as_str().expect("a critical finding is derived");
    let derived = host.call(&format!("GET /api/v1/events/{derived}"), &host.ingest, &[], None).await;
    assert_eq!((&derived.json()["type"], &derived.json()["caused_by"]), (&"critical_finding".into(), &posted["id"]));
    assert!(derived.text.contains(&format!("\"data\":{data}")), "{}", derived.text);

    let (_, other) = host.store.create_token("other".into(), Role::Ingest, Actor::Host).await.expect("a token");
    assert_eq!(host.call(&format!("GET {path}"), other.expose(), &[], None).await.problem(), ["404 not_found"]);
}

#[tokio::test]
async fn all_or_nothing_and_every_fault_with_its_pointer() {
    let host = Host::start().await;
    let body = format!(r#"[{PHASE},{{"type":"x","data":{{}}}},7,{{"type":"phase_changed","id":1,"data":{{}}}}]"#);
    let expected = [
        "422 invalid_fields",
        "/1/type unknown_event_type",
        "/2 wrong_type",
        "/3/id wrong_type",
        "/3/data/phase required",
    ];
    assert_eq!(host.ingest(&[], &body).await.problem(), expected);
    let lines = body.trim_matches(['[', ']']).replace("},{", "}\n{").replace(",7,", "\n7\n");
    assert_eq!(host.ingest(&["Content-Type: application/x-ndjson"], &lines).await.problem(), expected);
    assert_eq!(
        host.ingest(&[], r#"{"type":"x"}"#).await.problem()[1..],
        ["/type unknown_event_type", "/data required"]
    );
    assert_eq!(host.ingest(&[], "[]").await.problem(), ["422 invalid_fields", " empty"]);
    assert_eq!(
        host.ingest(&["Content-Type: application/x-ndjson"], "\n").await.problem(),
        ["422 invalid_fields", " empty"]
    );
    let many = format!("[{}]", vec!["7"; 1000].join(","));
    let reply = host.ingest(&[], &many).await;
    assert_eq!(reply.problem().len(), 101);
    assert!(reply.text.contains("1000 fields"), "{}", reply.text);
}

#[tokio::test]
async fn invalid_json_is_400_with_its_position() {
    let host = Host::start().await;
    for (content_type, body, place) in [
        ("application/json", r#"{"type":"phase_changed","type":"phase_changed"}"#, "(line 1, column 47)"),
        ("application/json", "[1,\n {\"a\":{\"b\":1,\"b\":1}}]", "(line 2, column 19)"),
        ("application/x-ndjson", "{\"a\":1}\n\n{\"a\":", "(line 3, column 5)"),
        ("application/json", "", "(line 1, column 0)"),
    ] {
        let reply = host.ingest(&[&format!("Content-Type: {content_type}")], body).await;
        assert_eq!(reply.problem(), ["400 invalid_json"], "{body}");
        assert!(reply.text.contains(place), "{body}: {}", reply.text);
    }
    let nested = |levels: usize| {
        format!(r#"{{"type":"phase_changed","data":{{"phase":{{"x":{}{}}}}}}}"#, "[".repeat(levels), "]".repeat(levels))
    };
    assert_eq!(host.ingest(&[], &nested(124)).await.status, 202);
    assert_eq!(host.ingest(&[], &nested(125)).await.problem(), ["400 invalid_json"]);
    assert_eq!(host.ingest(&[], &format!("[{}]", nested(123))).await.status, 202);
    assert_eq!(host.ingest(&[], &format!("[{}]", nested(124))).await.problem(), ["400 invalid_json"]);
}

#[tokio::test]
async fn each_limit_is_named_when_it_is_crossed() {
    let host = Host::with(Limits { max_event_bytes: 200, max_body_bytes: 2000, max_events: 3, token_rate: 0 }).await;
    let event = |bytes: usize| {
        let frame = r#"{"type":"phase_changed","data":{"phase":{"x":""}}}"#;
        frame.replace("\"\"", &format!("\"{}\"", "x".repeat(bytes - frame.len())))
    };
    assert_eq!(host.ingest(&[], &event(200)).await.status, 202);
    assert_eq!(host.ingest(&[], &event(201)).await.problem(), ["413 event_too_large"]);
    assert_eq!(host.ingest(&[], &format!("[{PHASE},{}]", event(201))).await.problem(), ["413 event_too_large"]);
    assert_eq!(host.ingest(&[], &format!("[{PHASE},{PHASE},{PHASE}]")).await.status, 202);
    let four = host.ingest(&[], &format!("[{PHASE},{PHASE},{PHASE},{PHASE}]")).await;
    assert_eq!(four.problem(), ["413 too_many_events"]);
    assert!(four.text.contains("at most 3 events"), "{}", four.text);
    let lines = format!("{PHASE}\n{PHASE}\n{PHASE}\n{PHASE}");
    assert_eq!(host.ingest(&["Content-Type: application/x-ndjson"], &lines).await.problem(), ["413 too_many_events"]);
    assert_eq!(host.ingest(&[], &" ".repeat(2001)).await.problem(), ["413 body_too_large"]);
}

#[tokio::test]
async fn an_id_is_accepted_once_and_a_repeat_gets_the_same_response() {
    let host = Host::start().await;
    host.webhook().await;
    let body = format!(r#"{{"id":"{UNKNOWN_ID}","type":"phase_changed","data":{{"phase":{{}}}}}}"#);
    let first = host.ingest(&[], &body).await;
    let again = host.ingest(&[], &body.replace(':', " : ")).await;
    assert_eq!((again.status, &again.text), (202, &first.text));
    let other = body.replace("\"phase\":{}", "\"phase\":{\"x\":1}");
    assert_eq!(host.ingest(&[], &other).await.problem(), ["422 event_id_taken", "/id event_id_taken"]);
    let list = host.ingest(&[], &format!("[{PHASE},{other}]")).await;
    assert_eq!(list.problem(), ["422 event_id_taken", "/1/id event_id_taken"]);
    assert_eq!(host.post("/api/v1/events", &body).await.problem()[0], "422 event_id_taken");
}

#[tokio::test]
async fn an_idempotency_key_covers_the_request() {
    let host = Host::start().await;
    let key = ["Idempotency-Key: k 1"];
    let first = host.ingest(&key, PHASE).await;
    assert_eq!(first.status, 202, "{}", first.text);
    let again = host.ingest(&key, &PHASE.replace(':', ": ")).await;
    assert_eq!((again.status, &again.text), (202, &first.text));
    for other in [PHASE.replace("recon", "report"), format!("[{PHASE}]")] {
        let reused = host.ingest(&key, &other).await;
        assert_eq!(reused.problem(), ["422 idempotency_key_reused", " idempotency_key_reused"]);
    }
    assert_eq!(host.post("/api/v1/events", PHASE).await.status, 202);
    let long = format!("Idempotency-Key: {}", "k".repeat(256));
    assert_eq!(host.ingest(&[&long], PHASE).await.problem(), ["400 invalid_header"]);
}

/// Posts go past the router; nobody may notice.
#[tokio::test]
async fn a_post_gets_the_response_that_the_router_would_give() {
    use tower_service::Service as _;

    use crate::api::events::PATH;

    let host = Host::start().await;
    assert!(document().paths.paths.get(PATH).is_some_and(|path| path.post.is_some()));
    let accepted = r#"{"id":"01890a5d-ac96-774b-bcce-b302099a8057","type":"phase_changed","data":{"phase":{}}}"#;
    for (status, token, content_type, body) in [
        (202, &host.ingest, "application/json", accepted),
        (401, &String::new(), "application/json", accepted),
        (403, &host.pentester, "application/json", accepted),
        (415, &host.ingest, "text/plain", accepted),
        (400, &host.ingest, "application/json", "{"),
        (422, &host.ingest, "application/json", "{}"),
    ] {
        let request = || {
            let request = Request::builder().method("POST").uri(format!("{PATH}?trace=1"));
            let request =
                request.header("authorization", format!("Bearer {token}")).header("content-type", content_type);
            request.body(Body::from(body)).expect("a request")
        };
        let direct = host.send(request()).await;
        let routed = host.api.router.clone().call(request()).await.expect("a response");
        let (mut parts, routed) = routed.into_parts();
        // The router sets it ahead of the connection, which would do so too.
        parts.headers.remove("content-length");
        let routed = axum::body::to_bytes(routed, 1 << 20).await.expect("a body");
        assert_eq!((direct.status, parts.status.as_u16()), (status, status), "{}", direct.text);
        assert_eq!((direct.headers, direct.text.as_bytes()), (parts.headers, &routed[..]));
    }
    let metrics = host.get("/metrics").await.text;
    let counted = r#"heraldry_http_requests_total{method="POST",route="/api/v1/events",status="202"} 2"#;
    assert!(metrics.contains(counted), "{metrics}");
}
