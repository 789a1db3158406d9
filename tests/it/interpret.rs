//! Destinations that respond in words: interpreted by the formatter, decided by the host.

use serde_json::{Value, json};

use crate::support::component::{data, words};
use crate::support::{Client, Destination, Handmade, Host, Reply, events, eventually};

async fn outcome(admin: &Client, destination: &Destination, format: &str, reply: Reply) -> (Value, Value) {
    destination.from_now_on(reply);
    let fields = json!({"format": format, "retry_count": 1});
    let webhook = admin.webhook(&destination.url("/"), fields).await;
    let id = admin.event(&events::finding("x", "low")).await;
    // While a webhook is being disabled, a delivery in flight is shown as held for a short time.
    let delivery = eventually("the delivery to end", async || {
        let event = admin.get(&format!("/events/{id}")).await.expect(200).json();
        let ended = |delivery: &&Value| delivery["status"] == "delivered" || delivery["status"] == "failed";
        event["deliveries"].as_array().expect("deliveries").iter().find(ended).cloned()
    })
    .await;
    let attempts = delivery["attempts"].as_u64().and_then(|attempts| usize::try_from(attempts).ok()).expect("a number");
    let attempt = admin.history_of(&webhook, attempts).await.remove(0);
    let state = admin.get(&format!("/webhooks/{webhook}")).await.expect(200).json();
    admin.delete(&format!("/webhooks/{webhook}")).await.expect(204);
    (attempt, json!({"status": delivery["status"], "attempts": delivery["attempts"], "active": state["is_active"]}))
}

#[tokio::test]
async fn error_responses_of_chat_services_are_explained() {
    let host = Host::with(|options| options.retry_every("20ms")).await;
    let admin = host.admin();
    let destination = Destination::start().await;
    let text = |status, body: &str| Reply::full(status, &[("content-type", "text/plain")], body.as_bytes());
    let too_large =
        "Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 413 with ContextId x";
    let throttled =
        "Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 429 with ContextId x";
    for (format, reply, status, attempts, active, words) in [
        ("slack", text(200, "ok"), "delivered", 1, true, None),
        ("slack", text(404, "no_service"), "failed", 1, true, Some("no_service")),
        ("slack", text(410, "channel_is_archived"), "failed", 1, false, Some("channel_is_archived")),
        ("slack", text(500, "rollup_error"), "failed", 2, true, Some("rollup_error")),
        ("slack", text(404, "never heard of it"), "failed", 2, true, None),
        ("teams", text(200, "1"), "delivered", 1, true, None),
        ("teams", text(202, ""), "delivered", 1, true, None),
        ("teams", text(200, too_large), "failed", 1, true, Some("413")),
        ("teams", text(200, throttled), "failed", 2, true, Some("429")),
    ] {
        let (attempt, state) = outcome(&admin, &destination, format, reply).await;
        let expected = json!({"status": status, "attempts": attempts, "active": active});
        assert_eq!(state, expected, "{format}: {attempt}");
        assert_eq!(attempt["success"], status == "delivered");
        let error = attempt["error"].as_str().unwrap_or_default();
        assert_eq!(error.is_empty(), status == "delivered", "{attempt}");
        if let Some(words) = words {
            assert!(error.starts_with("status: ") && error.contains(words) && error.split(' ').count() > 8, "{error}");
        }
    }
}

/// A formatter whose verdict is written to memory by hand.
fn with_verdict(name: &str, verdict: &[u8], reason: &str) -> Vec<u8> {
    let mut fields = String::new();
    data(&mut fields, 640, verdict);
    data(&mut fields, 45_000, reason.as_bytes());
    Handmade::new(name, "1.0.0", "x").interpret("(i32.const 640)").with(&fields).build()
}

#[tokio::test]
async fn the_verdict_of_a_third_party_formatter_is_clamped_and_sanitised() {
    let host = Host::with(|options| options.retry_every("20ms").args(["--retry-after-cap", "50ms"])).await;
    let admin = host.admin();
    let destination = Destination::start().await;
    let reason = "told\r\n\u{1b}[31m you \u{202e}so";
    let failed = [words(&[3, 45_000, reason.len()]), vec![1]].concat();
    // Not before a month from now.
    let retry = words(&[2, 1, u32::MAX as usize, 45_000, reason.len()]);
    let long = "x".repeat(5000);
    let long_failed = [words(&[3, 45_000, long.len()]), vec![0]].concat();
    admin.install("rejects", &with_verdict("rejects", &failed, reason)).await.expect(201);
    admin.install("waits", &with_verdict("waits", &retry, reason)).await.expect(201);
    admin.install("talks", &with_verdict("talks", &long_failed, &long)).await.expect(201);
    admin.install("delivers", &with_verdict("delivers", &words(&[1]), "")).await.expect(201);
    let breaks = Handmade::new("breaks", "1.0.0", "x").interpret("(unreachable)").build();
    admin.install("breaks", &breaks).await.expect(201);
    let loops = Handmade::new("loops", "1.0.0", "x").interpret("(loop (br 0)) (unreachable)").build();
    admin.install("loops", &loops).await.expect(201);
    for (format, status, expected, attempts, active) in [
        ("rejects", 200, "failed", 1, false),
        ("waits", 200, "failed", 2, true),
        ("talks", 200, "failed", 1, true),
        ("delivers", 500, "delivered", 1, true),
        ("breaks", 200, "delivered", 1, true),
        ("breaks", 500, "failed", 2, true),
        ("loops", 200, "delivered", 1, true),
    ] {
        let (attempt, state) = outcome(&admin, &destination, format, Reply::status(status)).await;
        assert_eq!(state, json!({"status": expected, "attempts": attempts, "active": active}), "{format}: {attempt}");
        let error = attempt["error"].as_str().unwrap_or_default();
        assert!(error.len() < 700 && !error.chars().any(|c| c.is_control() || c == '\u{202e}'), "{error:?}");
        if format == "rejects" {
            assert_eq!(error, "status: the destination responded with 200 OK: told   [31m you  so");
        }
    }
    let info = admin.formatter("breaks").await;
    assert_eq!((&info["interprets"], &info["traps"]["panic"]), (&json!(true), &json!(3)), "{info}");
    // A test delivery is interpreted in the same way.
    destination.from_now_on(Reply::status(200));
    let webhook = admin.webhook(&destination.url("/"), json!({"format": "rejects"})).await;
    let attempt = admin.post(&format!("/webhooks/{webhook}/test"), &json!({})).await.expect(200).json();
    assert_eq!(attempt["success"], false, "{attempt}");
}
