//! The OpenAPI document and its page: complete, accurate, and self-contained.

use std::collections::BTreeSet;

use jsonschema::Validator;
use serde_json::{Value, json};

use crate::support::{Answer, Client, Destination, Host, events};

/// Every route that needs a token, below `/api/v1`.
const ROUTES: [&str; 32] = [
    "DELETE /formatters/{name}",
    "DELETE /tokens/{id}",
    "DELETE /webhooks/{id}",
    "GET /audit",
    "GET /deliveries",
    "GET /events",
    "GET /events/{id}",
    "GET /events/{id}/explain",
    "GET /export",
    "GET /formatters",
    "GET /formatters/{name}",
    "GET /formatters/{name}/versions",
    "GET /status",
    "GET /tokens",
    "GET /webhooks",
    "GET /webhooks/event-types",
    "GET /webhooks/{id}",
    "GET /webhooks/{id}/deliveries",
    "POST /console-links",
    "POST /events",
    "POST /formatters/{name}/activate",
    "POST /formatters/{name}/preview",
    "POST /formatters/{name}/rollback",
    "POST /tokens",
    "POST /webhooks",
    "POST /webhooks/filter-preview",
    "POST /webhooks/{id}/deliveries/{delivery_id}/redeliver",
    "POST /webhooks/{id}/recover",
    "POST /webhooks/{id}/rotate-secret",
    "POST /webhooks/{id}/test",
    "PUT /formatters/{name}",
    "PUT /webhooks/{id}",
];
const OUTSIDE: [&str; 5] = ["/docs", "/healthz", "/metrics", "/openapi.json", "/readyz"];
const UNKNOWN_ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

#[tokio::test]
async fn the_document_describes_every_route_and_every_response() {
    let host = Host::start().await;
    let anyone = host.visitor().outside();
    let response = anyone.get("/openapi.json").await.expect(200);
    assert_eq!(response.header("content-type"), "application/json");
    let document = Document(response.json());
    document.has_the_routes();
    document.stands_alone();
    every_response_is_described(&host, &document).await;
    every_good_body_is_described(&document);
    the_page_is_self_contained(&anyone).await;
}

struct Document(Value);

impl Document {
    fn has_the_routes(&self) {
        assert!(self.0["openapi"].as_str().is_some_and(|version| version.starts_with("3.")), "{}", self.0["openapi"]);
        assert_eq!(self.0["info"]["version"], env!("CARGO_PKG_VERSION"));
        let mut found = BTreeSet::new();
        for (path, item) in self.0["paths"].as_object().expect("paths") {
            found.extend(
                item.as_object().expect("an item").keys().map(|method| format!("{} {path}", method.to_uppercase())),
            );
        }
        let inside = ROUTES.iter().map(|line| line.replace(" /", " /api/v1/"));
        let outside = OUTSIDE.iter().map(|path| format!("GET {path}"));
        assert_eq!(found, inside.chain(outside).collect());
        assert_eq!(self.0["components"]["securitySchemes"]["bearer"]["scheme"], "bearer");
        for line in ROUTES {
            assert!(self.operation(line)["security"][0]["bearer"].is_array(), "{line} needs a token");
        }
        assert!(self.operation("GET /readyz")["responses"]["503"].is_object(), "a host may be not ready");
        // Links to the console are in memory.
        let reads =
            |line: &str| line.starts_with("GET") || line.ends_with("preview") || line.ends_with("console-links");
        for line in ROUTES.iter().filter(|line| !reads(line)) {
            assert!(self.operation(line)["responses"]["507"].is_object(), "{line} writes to a disk, which may be full");
        }
    }

    /// Every reference resolves within the document.
    fn stands_alone(&self) {
        let mut values = vec![&self.0];
        while let Some(value) = values.pop() {
            if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
                let pointer =
                    reference.strip_prefix('#').unwrap_or_else(|| panic!("an external reference: {reference}"));
                assert!(self.0.pointer(pointer).is_some(), "leads nowhere: {reference}");
            }
            match value {
                Value::Object(members) => values.extend(members.values()),
                Value::Array(elements) => values.extend(elements),
                _ => {}
            }
        }
    }

    /// The description of a route, as in `GET /webhooks`.
    fn operation(&self, line: &str) -> &Value {
        let (method, path) = line.split_once(' ').expect("METHOD /path");
        let path = if OUTSIDE.contains(&path) { path.to_owned() } else { format!("/api/v1{path}") };
        let operation = &self.0["paths"][&path][method.to_lowercase()];
        assert!(operation.is_object(), "{line} is not described");
        operation
    }

    /// A schema of the document, with the schemas that it refers to.
    fn validator(&self, schema: &Value) -> Validator {
        let whole = json!({"allOf": [schema], "components": self.0["components"]});
        jsonschema::validator_for(&whole).expect("a JSON Schema")
    }

    /// Asserts that a response is described for its route.
    #[track_caller]
    fn allows(&self, line: &str, response: &Answer) {
        let status = response.status().to_string();
        let described = &self.operation(line)["responses"][&status];
        assert!(described.is_object(), "{line} does not describe {status}: {response}");
        let content_type = response.header("content-type").split(';').next().expect("a part");
        if response.bytes().is_empty() {
            assert!(described.get("content").is_none(), "{line} {status} is described with a body: {response}");
            return;
        }
        let schema = &described["content"][content_type]["schema"];
        assert!(schema.is_object(), "{line} {status} is not described as {content_type}: {response}");
        if content_type.ends_with("/json") || content_type.ends_with("+json") {
            let errors: Vec<String> =
                self.validator(schema).iter_errors(&response.json()).map(|e| e.to_string()).collect();
            assert!(errors.is_empty(), "{line} {status}: {errors:?}: {response}");
        }
    }
}

async fn every_response_is_described(host: &Host, document: &Document) {
    let admin = host.admin();
    let (pentester, ingest) = (admin.new_token("pentester").await, admin.new_token("ingest").await);
    let operator = admin.new_token("operator").await;
    let destination = Destination::start().await;
    let full =
        json!({"secret": "s", "headers": {"X-A": "1"}, "filter": {"min_severity": "low", "engagement_ids": ["e"]}});
    let webhook = admin.webhook(&destination.url("/"), full).await;
    admin.put(&format!("/webhooks/{webhook}"), &json!({"filter": {}})).await.expect(200);
    let posted = events::in_engagement(events::finding("x", "critical"), "e");
    let accepted = ingest.post("/events", &posted).await.expect(202);
    let derived = accepted.json()["derived"][0].as_str().expect("an id").to_owned();
    ingest.settled(&derived).await;
    let token = admin.post("/tokens", &json!({"name": "n", "role": "ingest"})).await.expect(201).json();
    let delivery = admin.history(&webhook).await[0]["delivery_id"].as_str().expect("an id").to_owned();

    for body in [posted.clone(), json!([posted])] {
        for client in [&ingest, &admin] {
            let mut body = body.clone();
            let event = if body.is_array() { &mut body[0] } else { &mut body };
            event["id"] = json!(events::new_id());
            document.allows("POST /events", &client.post("/events?dry_run=true", &body).await.expect(200));
        }
    }
    let clients = [host.visitor(), pentester, ingest, operator, admin];
    for line in ROUTES {
        // A path with an existing id and with an unknown one.
        let of_kind = match line.split_once('/').map(|(_, path)| path.split('/').next().expect("a part")) {
            Some("webhooks") => webhook.as_str(),
            Some("events") => derived.as_str(),
            Some("tokens") => token["id"].as_str().expect("an id"),
            _ => "syslog",
        };
        for named in [UNKNOWN_ID, of_kind] {
            for client in &clients {
                let line_of = line.replace("{delivery_id}", if named == UNKNOWN_ID { UNKNOWN_ID } else { &delivery });
                for (path, response) in responses(document, line, &line_of, named, client).await {
                    assert_ne!(response.status(), 405, "{path}");
                    document.allows(line, &response);
                }
            }
        }
    }
    let anyone = host.visitor().outside();
    for path in OUTSIDE {
        document.allows(&format!("GET {path}"), &anyone.get(path).await.expect(200));
    }
}

/// The responses of a route: with each body of [`bodies`], or without one. Deletes come last.
async fn responses(
    document: &Document,
    line: &str,
    line_of: &str,
    named: &str,
    client: &Client,
) -> Vec<(String, Answer)> {
    let (method, path) = line_of.split_once(' ').expect("METHOD /path");
    let path = path.replace("{id}", named).replace("{name}", named);
    let mut responses = Vec::new();
    if !document.operation(line)["requestBody"].is_object() {
        responses.push((path.clone(), client.request(method, &path).send().await));
        if path.ends_with("/deliveries") || ["/audit", "/events"].contains(&path.as_str()) {
            responses.push((path.clone(), client.request(method, &format!("{path}?limit=0")).send().await));
        }
        return responses;
    }
    for (content_type, body) in bodies(line) {
        responses.push((path.clone(), client.request(method, &path).body(content_type, body.clone()).send().await));
        let conditional = client.request(method, &path).header("if-match", "\"r0\"").body(content_type, body);
        responses.push((path.clone(), conditional.send().await));
    }
    responses
}

/// Valid and invalid bodies for a route.
fn bodies(line: &str) -> Vec<(&'static str, String)> {
    let json = "application/json";
    let event = events::minimal("report_ready");
    let good = match line {
        "POST /webhooks" => vec![json!({"name": "n", "url": "http://127.0.0.1:9/"})],
        "PUT /webhooks/{id}" => vec![json!({"name": "m"})],
        "POST /tokens" => vec![json!({"name": "n", "role": "pentester"})],
        "POST /events" => vec![event.clone(), json!([event]), json!([])],
        "POST /formatters/{name}/preview" => vec![json!({ "event": event }), json!({"event": event, "options": {}})],
        "POST /webhooks/filter-preview" => {
            vec![json!({"filter": {"min_severity": "low"}}), json!({"filter": {}, "event_types": ["*"]})]
        }
        "POST /formatters/{name}/activate" => vec![json!({"version": "1.0.0"}), json!({"digest": "sha256:0"})],
        "POST /webhooks/{id}/test" => {
            vec![json!({}), json!({"event_type": "report_ready"}), json!({"event_id": UNKNOWN_ID})]
        }
        "POST /webhooks/{id}/recover" => vec![json!({"since": "2026-01-01T00:00:00Z"})],
        // The last of these is over the limit.
        "POST /webhooks/{id}/rotate-secret" => vec![json!({"secret": "n", "overlap_seconds": 60}); 6],
        "PUT /formatters/{name}" => {
            // The route takes the bytes of a component; these have the content type and are not one.
            let wasm = "application/wasm";
            let text = [String::new(), "\0asm\u{1}\0\0\0".to_owned(), "(component)".to_owned()];
            return text.map(|body| (wasm, body)).into_iter().chain([("text/plain", "{}".to_owned())]).collect();
        }
        _ => panic!("{line} has a body"),
    };
    let mut bodies: Vec<_> = good.iter().map(|body| (json, body.to_string())).collect();
    bodies.extend([
        (json, "{\"name\":1,\"x\":1}".to_owned()),
        (json, "{".to_owned()),
        ("text/plain", "{}".to_owned()),
        (json, " ".repeat(4 * 1024 * 1024 + 1)),
    ]);
    if line == "POST /events" {
        bodies.push(("application/x-ndjson", event.to_string()));
        bodies.push((json, format!("{{\"type\":\"{}\"}}", "x".repeat(256 * 1024))));
    }
    bodies
}

/// The document allows every body that the host accepts, and no other as far as JSON Schema can express it.
fn every_good_body_is_described(document: &Document) {
    let webhook = json!({
        "name": "n", "url": "https://example.com/", "secret": "s", "event_types": ["*"], "format": "syslog",
        "format_options": {"facility": 1}, "headers": {"X-A": "1"}, "retry_count": 10, "timeout_ms": 1000,
        "filter": {"min_severity": "low", "engagement_ids": ["e"]}, "is_active": false,
    });
    let event = events::in_engagement(events::sample("finding_added"), "e");
    let rows = [
        ("POST /webhooks", json!({"name": "n", "url": "https://example.com/"}), true),
        ("POST /webhooks", webhook.clone(), true),
        ("POST /webhooks", json!({}), false),
        ("POST /webhooks", json!({"name": "n", "url": "https://example.com/", "x": 1}), false),
        ("POST /webhooks", json!({"name": "", "url": "https://example.com/"}), false),
        ("POST /webhooks", json!({"name": "n", "url": "https://example.com/", "retry_count": 11}), false),
        ("POST /webhooks", json!({"name": "n", "url": "https://example.com/", "timeout_ms": 999}), false),
        ("POST /webhooks", json!({"name": "n", "url": "https://example.com/", "event_types": []}), false),
        ("POST /webhooks", json!({"name": "n", "url": "https://example.com/", "event_types": ["x"]}), false),
        ("POST /webhooks", json!({"name": "n", "url": "https://example.com/", "secret": null}), true),
        ("POST /webhooks", json!({"name": "n", "url": "https://example.com/", "filter": null}), false),
        ("PUT /webhooks/{id}", json!({}), true),
        ("PUT /webhooks/{id}", webhook, true),
        ("PUT /webhooks/{id}", json!({"secret": null}), true),
        ("PUT /webhooks/{id}", json!({"generate_secret": true}), true),
        ("POST /webhooks", json!({"name": "n", "url": "https://example.com/", "generate_secret": null}), false),
        ("POST /webhooks/{id}/test", json!({}), true),
        ("POST /webhooks/{id}/test", json!({"event_type": "report_ready"}), true),
        ("POST /webhooks/{id}/test", json!({"event_type": "*"}), false),
        ("POST /webhooks/{id}/test", json!({"event_id": UNKNOWN_ID}), true),
        ("POST /webhooks/{id}/test", json!({"event_type": "report_ready", "event_id": UNKNOWN_ID}), false),
        ("POST /webhooks/{id}/test", json!({"x": 1}), false),
        ("PUT /webhooks/{id}", json!({"name": null}), false),
        ("PUT /webhooks/{id}", json!({"id": UNKNOWN_ID}), false),
        ("POST /webhooks/filter-preview", json!({"filter": {"engagement_ids": ["e"]}}), true),
        (
            "POST /webhooks/filter-preview",
            json!({"filter": {}, "event_types": ["*"], "since": "2026-01-01T00:00:00Z"}),
            true,
        ),
        ("POST /webhooks/filter-preview", json!({"event_types": ["*"]}), false),
        ("POST /webhooks/filter-preview", json!({"filter": {"x": 1}}), false),
        ("POST /webhooks/{id}/recover", json!({"since": "2026-01-01T00:00:00Z"}), true),
        ("POST /webhooks/{id}/recover", json!({}), false),
        ("POST /webhooks/{id}/rotate-secret", json!({}), true),
        ("POST /webhooks/{id}/rotate-secret", json!({"secret": "s", "overlap_seconds": 604_800}), true),
        ("POST /webhooks/{id}/rotate-secret", json!({"overlap_seconds": 604_801}), false),
        ("POST /tokens", json!({"name": "n", "role": "ingest"}), true),
        ("POST /tokens", json!({"name": "n", "role": "root"}), false),
        ("POST /tokens", json!({"name": "n"}), false),
        ("POST /events", event.clone(), true),
        ("POST /events", json!([event, event]), true),
        ("POST /events", json!({"type": "report_ready", "data": {"report": {}}}), true),
        ("POST /events", json!({"type": "report_ready"}), false),
        ("POST /events", json!({"type": "report_ready", "data": {"report": {}}, "x": 1}), false),
        ("POST /events", json!({"type": "report_ready", "data": []}), false),
        ("POST /events", json!({"type": "report_ready", "data": {"report": {"pages": "many"}, "more": 1}}), true),
        ("POST /events", json!({"type": "report_ready", "data": {"finding": {"title": "x"}}}), false),
        (
            "POST /events",
            json!({"type": "finding_added", "data": {"finding": {"title": "x", "severity": "HIGH"}}}),
            true,
        ),
        (
            "POST /events",
            json!({"type": "finding_added", "data": {"finding": {"title": "x", "severity": "urgent"}}}),
            false,
        ),
        ("POST /events", json!({"type": "finding_added", "data": {"finding": {}}}), false),
        ("POST /formatters/{name}/preview", json!({ "event": event }), true),
        ("POST /formatters/{name}/preview", json!({"event": event, "options": {"a": 1}}), true),
        ("POST /formatters/{name}/preview", json!({"options": {}}), false),
        ("POST /formatters/{name}/activate", json!({"version": "1.0.0"}), true),
        ("POST /formatters/{name}/activate", json!({"digest": "sha256:0"}), true),
        ("POST /formatters/{name}/activate", json!({"version": 1}), false),
    ];
    for (line, body, valid) in rows {
        let schema = &document.operation(line)["requestBody"]["content"]["application/json"]["schema"];
        assert_eq!(document.validator(schema).is_valid(&body), valid, "{line} {body}");
    }
    let lines = &document.operation("POST /events")["requestBody"]["content"]["application/x-ndjson"];
    assert!(lines.is_object(), "NDJSON is described");
}

async fn the_page_is_self_contained(anyone: &Client) {
    let page = anyone.get("/docs").await.expect(200);
    assert!(page.header("content-type").starts_with("text/html"), "{page}");
    // The policy lets the browser load from this host only.
    let policy = page.header("content-security-policy");
    assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'self'"), "{policy}");
    assert!(!policy.contains("http") && !policy.contains('*'), "{policy}");
    let mut files = Vec::new();
    for attribute in ["src=\"", "href=\""] {
        for part in page.text().split(attribute).skip(1) {
            files.push(part.split('"').next().expect("a value").to_owned());
        }
    }
    assert!(
        files.iter().any(|file| file.ends_with(".js")) && files.iter().any(|file| file.ends_with(".css")),
        "{files:?}"
    );
    assert!(!page.text().contains("//"), "a remote address in the page: {page}");
    for file in files {
        let served = anyone.get(&format!("/{file}")).await.expect(200);
        let kind = served.header("content-type");
        let expected = match file.rsplit('.').next() {
            Some("js") => "text/javascript",
            Some("css") => "text/css",
            _ => "image/png",
        };
        assert!(kind.starts_with(expected), "{file}: {kind}");
        assert_eq!(served.header("x-content-type-options"), "nosniff", "{file}");
        if expected == "text/css" {
            for loads in ["@import", "url(http", "url(\"http", "url('http", "url(//"] {
                assert!(!served.text().contains(loads), "{file} loads a remote resource: {loads}");
            }
        }
        // The library's own text has addresses; the policy limits what it can load.
        if expected == "text/javascript" && served.bytes().len() < 10_000 {
            assert!(!served.text().contains("//") && served.text().contains("'openapi.json'"), "{file}: {served}");
            assert!(served.text().contains("validatorUrl: null"), "{file} calls an online validator: {served}");
        }
    }
    anyone.get("/docs/nope.js").await.problem(404, "not_found");
    anyone.get("/docs/..%2fhealthz").await.problem(404, "not_found");
}
