//! Destinations that quote a webhook's secrets in their responses: what is kept and handed on is masked.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::support::component::Handmade;
use crate::support::{Client, Destination, Host, Received, Reply, events};
use crate::webhooks::files_with;

const MASKED: &str = "[redacted]";
/// Stands in every secret of these tests, in the clear.
const CANARY: &str = "canary";
/// A `writeOnly` option of the handmade format.
const KEY: &str = "canary0123456789abcdef0123456789";

/// A formatter that calls every response a failure, with the response's body as the reason.
fn quoting() -> Vec<u8> {
    let verdict = "(i32.store (i32.const 640) (i32.const 3)) (i32.store (i32.const 644) (local.get 3)) \
                   (i32.store (i32.const 648) (local.get 4)) (i32.store (i32.const 652) (i32.const 0)) (i32.const 640)";
    let manifest = json!({
        "name": "quoting", "version": "1.0.0",
        "options_schema": {"type": "object", "properties": {"key": {"type": "string", "writeOnly": true}}},
    });
    Handmade::new("quoting", "1.0.0", "x").manifest(&manifest.to_string()).interpret(verdict).build()
}

/// A formatter that cannot render anything with options, and says so by quoting them.
fn telling() -> Vec<u8> {
    // The event's and the context's texts stand before the options; `internal` is the fourth case of an error.
    let format = "(if (i32.gt_u (i32.load offset=68 (local.get 0)) (i32.const 2)) (then \
                  (i32.store (i32.const 700) (i32.const 1)) (i32.store (i32.const 704) (i32.const 3)) \
                  (i32.store (i32.const 708) (i32.load offset=64 (local.get 0))) \
                  (i32.store (i32.const 712) (i32.load offset=68 (local.get 0))) (return (i32.const 700)))) \
                  (i32.const 528)";
    let manifest = json!({
        "name": "telling", "version": "1.0.0",
        "options_schema": {"type": "object", "properties": {"key": {"type": "string", "writeOnly": true}, "x": {}}},
    });
    Handmade::new("telling", "1.0.0", "x").manifest(&manifest.to_string()).format(format).build()
}

/// Ways in which a destination may quote what it received.
fn quotes(request: &Received) -> Vec<String> {
    let authorization = request.header("authorization");
    let escaped: String = authorization.chars().map(|c| format!("\\u{:04X}", u32::from(c))).collect();
    let percent: String = authorization.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let (_, token) = authorization.split_once(' ').expect("a scheme");
    vec![
        format!("headers: {:?}", request.headers),
        format!("no such path: {}", request.path),
        format!("the token {token} is not valid"),
        json!({"authorization": authorization}).to_string().replace('/', "\\/"),
        escaped,
        percent,
        STANDARD.encode(authorization),
        STANDARD.encode(format!("{{\"authorization\":\"{authorization}\"}}")),
        URL_SAFE_NO_PAD.encode(format!("x{token}")),
        // Across the end of what is kept.
        format!("{}{authorization}", "x".repeat(1024 - 12)),
        format!("key {KEY}, secrets canary-signing-secret and canary-former-secret"),
        "canary-query and canary-path-token, and robot:canary-password or the latter alone: canary-password".to_owned(),
    ]
}

async fn webhook(admin: &Client, destination: &Destination, format: &str) -> String {
    let url = destination.url("/services/canary-path-token?sig=canary-query&v=1");
    // A secret of each webhook, in one place or the other.
    let (option, header) = if format == "quoting" { (json!({"key": KEY}), "short") } else { (json!({}), KEY) };
    let fields = json!({
        "format": format, "retry_count": 0, "secret": "canary-former-secret",
        "headers": {
            "Authorization": "Splunk canary/token+1",
            "X-Key": header,
            "X-Basic": format!("Basic {}", STANDARD.encode("robot:canary-password")),
        },
        "format_options": option,
    });
    let webhook = admin.webhook(&url, fields).await;
    let rotation = json!({"secret": "canary-signing-secret"});
    admin.post(&format!("/webhooks/{webhook}/rotate-secret"), &rotation).await.expect(200);
    webhook
}

#[tokio::test]
async fn secrets_that_a_destination_quotes_are_kept_and_handed_on_nowhere() {
    let mut host = Host::with(|options| options.args(["--log-level", "trace", "--breaker-threshold", "100000"])).await;
    let admin = host.admin();
    admin.install("quoting", &quoting()).await.expect(201);
    let destination = Destination::start().await;
    let (plain, interpreted) =
        (webhook(&admin, &destination, "json").await, webhook(&admin, &destination, "quoting").await);
    let count = {
        destination.decide(|request| Reply::full(500, &[], quotes(request).len().to_string().as_bytes()));
        let test = admin.post(&format!("/webhooks/{plain}/test"), &json!({})).await.expect(200).json();
        test["response_excerpt"].as_str().expect("an excerpt").parse::<usize>().expect("a number")
    };
    assert!(count > 10);
    for index in 0..count {
        destination.decide(move |request| Reply::full(401, &[], quotes(request)[index].as_bytes()));
        for webhook in [&plain, &interpreted] {
            let tested = admin.post(&format!("/webhooks/{webhook}/test"), &json!({})).await.expect(200);
            let attempt: Value = tested.json();
            assert!(!tested.text().contains(CANARY), "{index}: {tested}");
            let excerpt = attempt["response_excerpt"].as_str().expect("an excerpt");
            assert!(excerpt.contains("[redacted") || excerpt.ends_with("[red"), "{index}: {attempt}");
            assert!(excerpt.len() <= 1024, "{index}: {}", excerpt.len());
            let error = attempt["error"].as_str().expect("an error");
            for part in ["Y2FuYXJ5", "jYW5hcn", "NhbmFye", "%63%61", "\\u0063\\u0061"] {
                assert!(!excerpt.contains(part) && !error.contains(part), "{index}: {part} in {attempt}");
            }
            // The formatter was given the masked body.
            let quoted = webhook != &interpreted || error.contains("[redacted") || error.len() > 500;
            assert!(quoted, "{index}: {error}");
        }
    }
    // A formatter's own error is masked, too.
    admin.install("telling", &telling()).await.expect(201);
    let fields = json!({"format": "telling", "format_options": {"key": KEY, "x": "plain"}});
    let telling = admin.webhook(&destination.url("/"), fields).await;
    let attempt = admin.post(&format!("/webhooks/{telling}/test"), &json!({})).await.expect(200).json();
    let words = "formatter: the formatter reports: {\"key\":\"[redacted]\",\"x\":\"plain\"}";
    assert_eq!(attempt["error"], words, "{attempt}");

    // What is no secret is kept as it is: the name of a common path, short values, our own signature.
    destination.decide(|request| {
        let text =
            format!("{} {} v=1 services", request.header("webhook-signature"), request.header("x-webhook-signature"));
        Reply::full(401, &[], text.as_bytes())
    });
    let attempt = admin.post(&format!("/webhooks/{plain}/test"), &json!({})).await.expect(200).json();
    let excerpt = attempt["response_excerpt"].as_str().expect("an excerpt");
    assert!(!excerpt.contains(MASKED) && excerpt.ends_with("v=1 services"), "{excerpt}");

    // Real deliveries alike, and the history, the export, the log and the files have nothing either.
    destination.decide(|request| Reply::full(401, &[], quotes(request)[0].as_bytes()));
    let event = admin.event(&events::finding("x", "low")).await;
    admin.settled(&event).await;
    for webhook in [&plain, &interpreted] {
        let history = admin.get(&format!("/webhooks/{webhook}/deliveries?limit=200")).await.expect(200);
        assert!(history.text().contains(MASKED) && !history.text().contains(CANARY), "{history}");
    }
    let export = admin.get("/export").await.expect(200);
    let values = export.text().lines().filter_map(|line| {
        let line: Value = serde_json::from_str(line).expect("a line of JSON");
        line["v"].as_str().map(|value| STANDARD.decode(value).expect("base64"))
    });
    let exported = String::from_utf8_lossy(&values.collect::<Vec<_>>().concat()).into_owned();
    assert!(exported.contains(MASKED) && !exported.contains(CANARY), "{exported}");
    assert!(host.terminate().await.success());
    assert!(!host.log().contains(CANARY), "{}", host.log());
    assert_eq!(files_with(host.folder().path(), CANARY.as_bytes()), [] as [String; 0], "secrets in the clear");
}
