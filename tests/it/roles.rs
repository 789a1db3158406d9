//! Permissions of the roles, and the order in which a request is checked.

use serde_json::{Value, json};

use crate::support::{Answer, Client, Host, events};

/// An id that does not exist.
const UNKNOWN_ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
const NOWHERE: &str = "http://127.0.0.1:9/";

/// A host with a client of each role, a webhook and an event of the ingest token.
struct Cast {
    host: Host,
    admin: Client,
    pentester: Client,
    ingest: Client,
    operator: Client,
    webhook: String,
    event: String,
}

impl Cast {
    async fn start() -> Self {
        let host = Host::start().await;
        let admin = host.admin();
        let (pentester, ingest) = (admin.new_token("pentester").await, admin.new_token("ingest").await);
        let operator = admin.new_token("operator").await;
        let webhook = admin.webhook(NOWHERE, json!({"is_active": false})).await;
        let event = ingest.event(&events::minimal("phase_changed")).await;
        Self { host, admin, pentester, ingest, operator, webhook, event }
    }
}

#[tokio::test]
async fn each_role_may_do_what_the_table_says_and_nothing_else() {
    let cast = Cast::start().await;
    for (line, body, admin, pentester, ingest) in routes(&cast) {
        let (method, path) = line.split_once(' ').expect("METHOD /path");
        let ask = async |client: &Client| {
            let request = client.request(method, path);
            let request = if body.is_null() { request } else { request.json(&body) };
            request.send().await
        };
        // Clients without the permission come first, before anything is deleted.
        let operator = operator(method, path, admin);
        for (client, expected) in
            [(&cast.ingest, ingest), (&cast.pentester, pentester), (&cast.operator, operator), (&cast.admin, admin)]
        {
            let response = ask(client).await;
            if expected == 403 {
                response.problem(403, "forbidden");
            }
            assert_eq!(response.status(), expected, "{response}");
        }
        let visitor = cast.host.visitor();
        for client in [visitor.clone(), visitor.with_token("wrong"), visitor.with_token(&"x".repeat(600))] {
            ask(&client).await.problem(401, "unauthorized");
        }
    }
}

/// An operator reads what an admin reads, but for the export, and changes nothing. A preview changes nothing either,
/// and everyone may enter the console.
fn operator(method: &str, path: &str, admin: u16) -> u16 {
    let reads = (method == "GET" && path != "/export") || path.ends_with("preview") || path == "/console-links";
    if reads { admin } else { 403 }
}

/// Method and path, a body, and the status for admin, pentester and ingest. A path with [`UNKNOWN_ID`] is 403 for
/// roles without the permission: it is checked before any look-up.
fn routes(cast: &Cast) -> Vec<(String, Value, u16, u16, u16)> {
    let Cast { webhook, event, .. } = cast;
    let none = json!(null);
    let preview = json!({"event": events::minimal("phase_changed")});
    let rows = [
        ("GET /webhooks".to_owned(), none.clone(), 200, 200, 403),
        ("POST /webhooks".to_owned(), json!({"name": "n", "url": NOWHERE}), 201, 403, 403),
        (format!("GET /webhooks/{webhook}"), none.clone(), 200, 200, 403),
        (format!("GET /webhooks/{UNKNOWN_ID}"), none.clone(), 404, 404, 403),
        (format!("PUT /webhooks/{webhook}"), json!({"name": "m"}), 200, 403, 403),
        (format!("PUT /webhooks/{UNKNOWN_ID}"), json!({"name": "m"}), 404, 403, 403),
        (format!("POST /webhooks/{webhook}/test"), none.clone(), 200, 403, 403),
        (format!("POST /webhooks/{UNKNOWN_ID}/test"), none.clone(), 404, 403, 403),
        (format!("GET /webhooks/{webhook}/deliveries"), none.clone(), 200, 403, 403),
        (format!("GET /webhooks/{UNKNOWN_ID}/deliveries"), none.clone(), 404, 403, 403),
        ("GET /deliveries".to_owned(), none.clone(), 200, 403, 403),
        ("GET /events".to_owned(), none.clone(), 200, 403, 403),
        ("GET /webhooks/event-types".to_owned(), none.clone(), 200, 200, 200),
        ("POST /events".to_owned(), json!([events::minimal("report_ready")]), 422, 403, 202),
        ("POST /events".to_owned(), json!({"type": "report_ready", "data": {"report": {}}}), 202, 403, 202),
        (format!("GET /events/{event}"), none.clone(), 200, 403, 200),
        (format!("GET /events/{UNKNOWN_ID}"), none.clone(), 404, 403, 404),
        (format!("GET /events/{event}/explain"), none.clone(), 200, 403, 403),
        (format!("GET /events/{UNKNOWN_ID}/explain"), none.clone(), 404, 403, 403),
        ("POST /events?dry_run=true".to_owned(), events::finding("x", "high"), 200, 403, 200),
        ("POST /webhooks/filter-preview".to_owned(), json!({"filter": {"min_severity": "high"}}), 200, 403, 403),
        ("GET /formatters".to_owned(), none.clone(), 200, 200, 200),
        ("GET /formatters/json".to_owned(), none.clone(), 200, 200, 200),
        ("GET /formatters/nope".to_owned(), none.clone(), 404, 404, 404),
        ("GET /formatters/json/versions".to_owned(), none.clone(), 200, 403, 403),
        ("GET /formatters/nope/versions".to_owned(), none.clone(), 404, 403, 403),
        ("POST /formatters/json/preview".to_owned(), preview.clone(), 200, 200, 200),
        ("POST /formatters/nope/preview".to_owned(), preview, 404, 404, 404),
        ("GET /tokens".to_owned(), none.clone(), 200, 403, 403),
        ("GET /audit".to_owned(), none.clone(), 200, 403, 403),
        ("GET /status".to_owned(), none.clone(), 200, 403, 403),
        ("GET /export".to_owned(), none.clone(), 200, 403, 403),
        ("POST /console-links".to_owned(), none.clone(), 201, 201, 201),
        (format!("POST /webhooks/{UNKNOWN_ID}/recover"), json!({"since": "2026-01-01T00:00:00Z"}), 404, 403, 403),
        (format!("POST /webhooks/{webhook}/recover"), json!({"since": "2026-01-01T00:00:00Z"}), 202, 403, 403),
        (format!("POST /webhooks/{webhook}/rotate-secret"), json!({}), 200, 403, 403),
        (format!("POST /webhooks/{webhook}/deliveries/{UNKNOWN_ID}/redeliver"), none.clone(), 404, 403, 403),
        ("POST /tokens".to_owned(), json!({"name": "n", "role": "ingest"}), 201, 403, 403),
        (format!("DELETE /tokens/{UNKNOWN_ID}"), none.clone(), 404, 403, 403),
        (format!("DELETE /webhooks/{UNKNOWN_ID}"), none.clone(), 404, 403, 403),
        (format!("DELETE /webhooks/{webhook}"), none, 204, 403, 403),
    ];
    rows.into()
}

#[tokio::test]
async fn an_operator_sees_where_a_webhook_goes_but_not_how_to_send_there() {
    let Cast { host: _host, admin, operator, .. } = Cast::start().await;
    let full = json!({
        "name": "SOC", "url": "http://127.0.0.1:9/canary-path?key=canary-key", "secret": "canary-secret",
        "event_types": ["report_ready"], "headers": {"X-Shown-Header": "canary-value"}, "format": "syslog",
        "format_options": {"app_name": "canary-option"}, "filter": {"engagement_ids": ["shown-engagement"]},
    });
    let made = admin.post("/webhooks", &full).await.expect(201);
    let id = made.json()["id"].as_str().expect("an id").to_owned();
    let one = operator.get(&format!("/webhooks/{id}")).await.expect(200);
    assert_eq!(one.header("etag"), made.header("etag"));
    let all = operator.get("/webhooks").await.expect(200);
    let mut expected = made.json();
    let members = expected.as_object_mut().expect("an object");
    members.remove("url");
    members.insert("url_host".to_owned(), json!("127.0.0.1"));
    members.insert("format_options".to_owned(), json!({"app_name": null}));
    assert_eq!(one.json(), expected);
    assert_eq!(all.json()[0], expected);
    let name = |text: &str| text.find("\"name\"").expect("a name");
    assert!(one.text().find("\"url_host\"").expect("a host") > name(one.text()), "in the admin's order: {one}");
    let cached = operator.request("GET", &format!("/webhooks/{id}")).header("if-none-match", made.header("etag"));
    cached.send().await.expect(304);
    for response in [one, all, operator.get("/status").await.expect(200), operator.get("/audit").await.expect(200)] {
        assert!(response.text().contains("SOC") && !response.text().contains("canary"), "{response}");
    }
}

#[tokio::test]
async fn an_operator_reads_every_event_and_the_words_of_formatters() {
    let Cast { host: _host, admin, pentester, operator, event, webhook, .. } = Cast::start().await;
    admin.put(&format!("/webhooks/{webhook}"), &json!({"is_active": true, "retry_count": 0})).await.expect(200);
    admin.post(&format!("/webhooks/{webhook}/test"), &json!({})).await.expect(200);
    for path in [
        format!("/events/{event}"),
        format!("/webhooks/{webhook}/deliveries"),
        "/tokens".to_owned(),
        "/formatters/json/versions".to_owned(),
    ] {
        assert_eq!(operator.get(&path).await.expect(200).json(), admin.get(&path).await.expect(200).json(), "{path}");
    }
    assert!(operator.get("/formatters/json").await.expect(200).json()["log"].is_array());
    assert!(pentester.get("/formatters/json").await.expect(200).json()["log"].is_null());
}

#[tokio::test]
async fn a_request_is_rejected_for_its_first_fault_in_a_fixed_order() {
    let cast = Cast::start().await;
    no_good_token(&cast).await;
    order(&cast).await;
    bodies(&cast).await;
    undeclared(&cast).await;
    six_members(&cast).await;
}

async fn no_good_token(cast: &Cast) {
    let visitor = cast.host.visitor();
    let good = cast.admin.token();
    let deleted = cast.admin.post("/tokens", &json!({"name": "gone", "role": "admin"})).await.expect(201).json();
    let deleted_token = visitor.with_token(deleted["token"].as_str().expect("a text"));
    deleted_token.get("/webhooks").await.expect(200);
    cast.admin.delete(&format!("/tokens/{}", deleted["id"].as_str().expect("an id"))).await.expect(204);

    let mut responses = vec![visitor.get("/webhooks").await, deleted_token.get("/webhooks").await];
    for value in [
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        good,
        &format!("Basic {good}"),
        &format!("Bearer {}", good.to_ascii_uppercase()),
        &format!("Bearer {good}x"),
        &format!("Bearer {}", &good[..good.len() - 1]),
        &format!("Bearer{good}"),
    ] {
        responses.push(visitor.request("GET", "/webhooks").header("authorization", value).send().await);
    }
    let twice = visitor.request("GET", "/webhooks").header("authorization", &format!("Bearer {good}"));
    responses.push(twice.header("authorization", &format!("Bearer {good}")).send().await);
    responses.push(visitor.get(&format!("/webhooks?token={good}&access_token={good}")).await);
    let problem_of = |response: &Answer| {
        response.problem(401, "unauthorized");
        (response.text().to_owned(), response.header("www-authenticate").to_owned())
    };
    let first = problem_of(&responses[0]);
    for response in &responses {
        assert_eq!(problem_of(response), first, "missing and wrong tokens get the same response");
    }
    let shouted = visitor.request("GET", "/webhooks").header("authorization", &format!("bEaReR {good}"));
    shouted.send().await.expect(200);
}

async fn order(cast: &Cast) {
    let Cast { host, admin, pentester, ingest, webhook, .. } = cast;
    let visitor = host.visitor();
    let large = vec![b' '; 4 * 1024 * 1024 + 1];
    // The order: token, role, webhook, content type, body, precondition.
    let put = async |client: &Client, id: &str, media_type: &str, body: &[u8], if_match: &str| {
        let request = client.request("PUT", &format!("/webhooks/{id}")).body(media_type, body.to_vec());
        let request = if if_match.is_empty() { request } else { request.header("if-match", if_match) };
        request.send().await
    };
    let json = "application/json";
    put(&visitor, UNKNOWN_ID, "text/plain", b"{", "\"r0\"").await.problem(401, "unauthorized");
    put(pentester, UNKNOWN_ID, "text/plain", b"{", "\"r0\"").await.problem(403, "forbidden");
    put(ingest, webhook, json, &large, "").await.problem(403, "forbidden");
    put(admin, UNKNOWN_ID, "text/plain", b"{", "\"r0\"").await.problem(404, "not_found");
    put(admin, UNKNOWN_ID, json, &large, "").await.problem(404, "not_found");
    put(admin, webhook, "text/plain", b"{", "\"r0\"").await.problem(415, "unsupported_media_type");
    put(admin, webhook, json, &large, "\"r0\"").await.problem(413, "body_too_large");
    put(admin, webhook, json, b"{", "\"r0\"").await.problem(400, "invalid_json");
    put(admin, webhook, json, b"{\"name\":1}", "\"r0\"").await.problem(412, "precondition_failed");
    put(admin, webhook, json, b"{\"name\":1}", "*").await.fault("/name", "wrong_type");

    // An event over its limit is 413 before 422; 422 comes before anything is stored.
    let fat = serde_json::json!({"type": 7, "data": "x".repeat(256 * 1024)});
    ingest.post("/events", &fat).await.problem(413, "event_too_large");
    ingest.post_text("/events", format!("{{{}", "x".repeat(256 * 1024))).await.problem(413, "event_too_large");
    let query = admin.get(&format!("/webhooks/{UNKNOWN_ID}/deliveries?limit=0")).await;
    query.problem(404, "not_found");
    pentester.get(&format!("/webhooks/{UNKNOWN_ID}/deliveries?limit=0")).await.problem(403, "forbidden");
}

/// Checks of every route with a body that come before those of the fields.
async fn bodies(cast: &Cast) {
    let Cast { admin, webhook, .. } = cast;
    let routes = [
        ("POST", "/webhooks".to_owned()),
        ("PUT", format!("/webhooks/{webhook}")),
        ("POST", "/tokens".to_owned()),
        ("POST", "/events".to_owned()),
        ("POST", "/formatters/json/preview".to_owned()),
        ("POST", "/webhooks/filter-preview".to_owned()),
        ("POST", format!("/webhooks/{webhook}/recover")),
        ("POST", format!("/webhooks/{webhook}/rotate-secret")),
    ];
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels)).into_bytes();
    let not_json: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", b"".to_vec()),
        ("white space", b" \r\n\t".to_vec()),
        ("half an object", b"{\"name\":".to_vec()),
        ("a trailing comma", b"{\"name\":\"n\",}".to_vec()),
        ("more behind it", b"{} {}".to_vec()),
        ("a member twice", b"{\"name\":\"a\",\"name\":\"b\"}".to_vec()),
        ("a member twice, spelled otherwise", b"{\"name\":\"a\",\"n\\u0061me\":\"b\"}".to_vec()),
        ("a member twice further down", b"{\"data\":[{\"x\":{\"a\":1,\"a\":1}}]}".to_vec()),
        ("a lone high surrogate", b"{\"name\":\"\\ud83d\"}".to_vec()),
        ("a lone low surrogate", b"{\"name\":\"\\ude00\"}".to_vec()),
        ("a byte order mark", b"\xef\xbb\xbf{}".to_vec()),
        ("bytes that are not UTF-8", b"{\"name\":\"\xff\"}".to_vec()),
        ("a control character", b"{\"name\":\"\x01\"}".to_vec()),
        ("no JSON number", b"{\"name\":NaN}".to_vec()),
        ("too many levels", deep(128)),
    ];
    for (method, path) in &routes {
        let send = |media_type: &str, body: &[u8]| admin.request(method, path).body(media_type, body.to_vec()).send();
        for (what, body) in &not_json {
            let response = send("application/json", body).await;
            assert_eq!(response.status(), 400, "{what}: {response}");
            response.problem(400, "invalid_json");
        }
        assert_ne!(send("application/json", &deep(126)).await.status(), 400, "{method} {path}");
        for media_type in ["", "text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin1"] {
            send(media_type, b"{}").await.problem(415, "unsupported_media_type");
        }
        for media_type in ["application/json", "Application/JSON; charset=UTF-8", "application/json;charset=\"utf-8\""]
        {
            assert_ne!(send(media_type, b"[7]").await.status(), 415, "{method} {path} {media_type}");
        }
        for encoding in ["gzip", "identity", "br, gzip"] {
            let request =
                admin.request(method, path).header("content-encoding", encoding).body("application/json", "{}");
            request.send().await.problem(415, "unsupported_media_type");
        }
        let lines = send("application/x-ndjson", b"{}").await.status();
        assert_eq!(lines == 415, path != "/events", "{method} {path}: NDJSON is for events");
        // The limit is named and exact: a body of one byte less is read, and rejected for its content.
        let fits = format!("7{}", " ".repeat(4 * 1024 * 1024 - 1)).into_bytes();
        send("application/json", &fits).await.fault("", "wrong_type");
        let large = send("application/json", &[fits, b" ".to_vec()].concat()).await;
        large.problem(413, "body_too_large");
        assert!(large.text().contains("4194304"), "{large}");
    }
}

/// Undeclared methods and undeclared paths.
async fn undeclared(cast: &Cast) {
    let Cast { host, admin, webhook, event, .. } = cast;
    for (line, allow) in [
        ("DELETE /webhooks".to_owned(), "GET,HEAD,POST"),
        ("PATCH /webhooks".to_owned(), "GET,HEAD,POST"),
        (format!("PATCH /webhooks/{webhook}"), "DELETE,GET,HEAD,PUT"),
        (format!("POST /webhooks/{webhook}"), "DELETE,GET,HEAD,PUT"),
        (format!("GET /webhooks/{webhook}/test"), "POST"),
        (format!("POST /webhooks/{webhook}/deliveries"), "GET,HEAD"),
        ("POST /webhooks/event-types".to_owned(), "GET,HEAD"),
        ("GET /webhooks/filter-preview".to_owned(), "POST"),
        (format!("POST /events/{event}/explain"), "GET,HEAD"),
        ("PUT /events".to_owned(), "GET,HEAD,POST"),
        ("POST /deliveries".to_owned(), "GET,HEAD"),
        (format!("DELETE /events/{event}"), "GET,HEAD"),
        ("POST /formatters".to_owned(), "GET,HEAD"),
        ("POST /formatters/json".to_owned(), "DELETE,GET,HEAD,PUT"),
        ("DELETE /formatters/json/versions".to_owned(), "GET,HEAD"),
        ("GET /formatters/json/activate".to_owned(), "POST"),
        ("GET /formatters/json/rollback".to_owned(), "POST"),
        ("GET /formatters/json/preview".to_owned(), "POST"),
        (format!("GET /webhooks/{webhook}/recover"), "POST"),
        (format!("GET /webhooks/{webhook}/rotate-secret"), "POST"),
        (format!("GET /webhooks/{webhook}/deliveries/{UNKNOWN_ID}/redeliver"), "POST"),
        ("DELETE /audit".to_owned(), "GET,HEAD"),
        ("POST /status".to_owned(), "GET,HEAD"),
        ("POST /export".to_owned(), "GET,HEAD"),
        ("PUT /tokens".to_owned(), "GET,HEAD,POST"),
        (format!("GET /tokens/{UNKNOWN_ID}"), "DELETE"),
        ("TRACE /webhooks".to_owned(), "GET,HEAD,POST"),
        ("OPTIONS /webhooks".to_owned(), "GET,HEAD,POST"),
    ] {
        let (method, path) = line.split_once(' ').expect("METHOD /path");
        let response = admin.request(method, path).json(&json!({})).send().await;
        response.problem(405, "method_not_allowed");
        let mut allowed: Vec<&str> = response.header("allow").split(',').map(str::trim).collect();
        allowed.sort_unstable();
        assert_eq!(allowed.join(","), allow, "{line}");
    }
    for line in [
        "GET /".to_owned(),
        "GET /nope".to_owned(),
        "GET /webhooks/".to_owned(),
        format!("GET /webhooks/{webhook}/nope"),
        format!("POST /webhooks/{webhook}/deliveries/{UNKNOWN_ID}/redeliver"),
        format!("POST /webhooks/{webhook}/deliveries/nope/redeliver"),
        "GET /audit/nope".to_owned(),
        // A malformed id is 404.
        "GET /webhooks/nope".to_owned(),
        format!("GET /webhooks/{}", webhook.replace('-', "")),
        "GET /events/7".to_owned(),
        "DELETE /tokens/%FF".to_owned(),
        "DELETE /webhooks/..%2f..".to_owned(),
    ] {
        let (method, path) = line.split_once(' ').expect("METHOD /path");
        let ask = |client: &Client| client.request(method, path).json(&json!({})).send();
        ask(admin).await.problem(404, "not_found");
        ask(&host.visitor()).await.problem(401, "unauthorized");
    }
    host.visitor().outside().get("/nope").await.problem(404, "not_found");
    host.visitor().outside().request("POST", "/healthz").send().await.problem(405, "method_not_allowed");
}

async fn six_members(cast: &Cast) {
    let Cast { admin, pentester, webhook, .. } = cast;
    let full = json!({
        "name": "canary is my name", "url": "http://127.0.0.1:9/canary-url", "secret": "canary-secret",
        "event_types": ["report_ready"], "headers": {"X-Canary-Header": "canary-value"}, "format": "syslog",
        "format_options": {"app_name": "canary-option"}, "filter": {"engagement_ids": ["canary-engagement"]},
    });
    let made = admin.post("/webhooks", &full).await.expect(201).json();
    let id = made["id"].as_str().expect("an id");
    // On the bytes, since a parser would hide a duplicate member.
    let shown = format!(
        "{{\"id\":\"{id}\",\"name\":\"canary is my name\",\"format\":\"syslog\",\"event_types\":[\"report_ready\"],\
         \"is_active\":true,\"created_at\":{}}}",
        made["created_at"]
    );
    let one = pentester.get(&format!("/webhooks/{id}")).await.expect(200);
    assert_eq!(one.text(), shown);
    let all = pentester.get("/webhooks").await.expect(200);
    assert!(all.text().starts_with(&format!("[{shown},{{")), "{all}");
    assert!(all.text().contains(webhook.as_str()), "all of them: {all}");
    for webhook in all.list() {
        let names: Vec<&String> = webhook.as_object().expect("an object").keys().collect();
        assert_eq!(names, ["created_at", "event_types", "format", "id", "is_active", "name"]);
    }
    for response in [one, all] {
        for hidden in
            ["canary-url", "canary-secret", "Canary-Header", "canary-value", "canary-option", "canary-engagement"]
        {
            assert!(!response.text().contains(hidden), "{hidden}: {response}");
        }
    }
}
