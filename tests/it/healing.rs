//! Healing: a webhook that the circuit breaker switched off is probed, goes on with everything that it missed, and another
//! webhook hears of it.

use serde_json::{Value, json};

use crate::support::{Client, Destination, Host, Reply, events, eventually};

async fn webhook(admin: &Client, id: &str) -> Value {
    admin.get(&format!("/webhooks/{id}")).await.expect(200).json()
}

async fn until_active(admin: &Client, id: &str, active: bool) -> Value {
    eventually("the webhook's state", async || {
        let webhook = webhook(admin, id).await;
        (webhook["is_active"] == json!(active)).then_some(webhook)
    })
    .await
}

async fn delivered(admin: &Client, event: &str) {
    eventually("the delivery", async || {
        let event = admin.get(&format!("/events/{event}")).await.expect(200).json();
        (event["deliveries"][0]["status"] == "delivered").then_some(())
    })
    .await;
}

const TOLD: [&str; 4] = ["webhook_failing", "delivery_failed", "webhook_disabled", "webhook_recovered"];

#[tokio::test]
async fn a_webhook_heals_and_another_one_hears_of_it() {
    let host = Host::with(|options| {
        options.retry_every("20ms").args(["--breaker-threshold", "2", "--webhook-concurrency", "1"])
    })
    .await;
    let admin = host.admin();
    let (collector, ops) = (Destination::start().await, Destination::start().await);
    let fields = json!({"name": "SIEM", "event_types": ["finding_added"], "retry_count": 1});
    let hook = admin.webhook(&collector.url("/secret-path"), fields).await;
    admin.webhook(&ops.url("/"), json!({"name": "ops", "event_types": TOLD})).await;
    collector.from_now_on(Reply::status(503));
    let mut posted = Vec::new();
    for _ in 0..2 {
        posted.push(admin.event(&events::minimal("finding_added")).await);
    }
    let off = until_active(&admin, &hook, false).await;
    assert!(off["next_probe_at"].is_string() && off["next_attempt_at"].is_null(), "{off}");
    for _ in 0..3 {
        posted.push(admin.event(&events::minimal("finding_added")).await);
    }
    let tried = collector.received().len();
    let to = format!("/webhooks/{hook}");
    let renamed = admin.put(&to, &json!({"timeout_ms": 4000})).await.expect(200).json();
    assert_eq!(renamed["next_probe_at"], off["next_probe_at"], "it says nothing of the destination");
    // One probe that fails: another attempt in the history, no counter moved.
    admin.put(&to, &json!({"headers": {"X-Try": "1"}})).await.expect(200);
    eventually("a probe", async || (collector.received().len() > tried).then_some(())).await;
    let history = admin.history_of(&hook, 5).await;
    assert_eq!((&history[0]["attempt"], &history[0]["success"]), (&json!(3), &json!(false)), "{:?}", history[0]);
    assert!(history[0]["note"].as_str().is_some_and(|note| note.starts_with("a probe ")), "{:?}", history[0]);
    let after = webhook(&admin, &hook).await;
    assert_eq!((&after["failure_count"], &after["is_active"]), (&json!(2), &json!(false)), "{after}");
    collector.from_now_on(Reply::status(200));
    admin.put(&to, &json!({"headers": {"X-Try": "2"}})).await.expect(200);
    let on = until_active(&admin, &hook, true).await;
    assert_eq!(
        (&on["failure_count"], &on["next_probe_at"], &on["disabled_reason"]),
        (&json!(0), &json!(null), &json!(null))
    );
    for event in &posted {
        delivered(&admin, event).await;
    }
    let sent: Vec<_> = collector.received()[tried + 1..].iter().map(|request| request.json()["id"].clone()).collect();
    assert_eq!(sent.len(), posted.len(), "each once: {sent:?}");
    // The second probe was another delivery than the first; the others follow in order.
    let rest: Vec<_> = posted.iter().filter(|id| sent[0] != json!(id)).map(|id| json!(id)).collect();
    assert_eq!(sent[1..], rest[..]);
    let told = ops.wait_for(TOLD.len()).await;
    let told: Vec<Value> = told.iter().map(|request| request.json()).collect();
    let mut types: Vec<_> = told.iter().map(|event| event["type"].as_str().expect("a type")).collect();
    types.sort_unstable();
    let mut expected = TOLD;
    expected.sort_unstable();
    assert_eq!(types, expected);
    for event in &told {
        let text = event.to_string();
        assert!(text.contains("SIEM") && text.contains("127.0.0.1") && !text.contains("secret-path"), "{text}");
        assert_eq!(event["engagement"], Value::Null);
    }
    let recovered = told.iter().find(|event| event["type"] == "webhook_recovered").expect("told");
    assert_eq!(recovered["data"]["webhook"]["reason"], "a probe was delivered; 4 deliveries are sent now");
    let audit = admin.get("/audit?limit=50").await.expect(200).json();
    let entry = audit.as_array().expect("a list").iter().find(|entry| entry["action"] == "webhook.recovered");
    let entry = entry.expect("an entry of the audit log");
    assert_eq!((&entry["actor"]["type"], &entry["changes"][1]["to"]), (&json!("host"), &json!(4)), "{entry}");
}

#[tokio::test]
async fn without_probes_only_an_admin_switches_it_on() {
    let host = Host::with(|options| options.args(["--breaker-threshold", "1", "--breaker-probe", "off"])).await;
    let admin = host.admin();
    let collector = Destination::start().await;
    let hook = admin.webhook(&collector.url("/"), json!({"event_types": ["finding_added"], "retry_count": 0})).await;
    collector.next([Reply::status(500)]);
    admin.event(&events::minimal("finding_added")).await;
    let off = until_active(&admin, &hook, false).await;
    assert_eq!(off["next_probe_at"], Value::Null);
    let held = admin.event(&events::minimal("finding_added")).await;
    admin.put(&format!("/webhooks/{hook}"), &json!({"headers": {"X-Try": "1"}})).await.expect(200);
    let event = admin.get(&format!("/events/{held}")).await.expect(200).json();
    assert_eq!(event["deliveries"][0]["status"], "held");
    assert_eq!(webhook(&admin, &hook).await["is_active"], false);
    admin.put(&format!("/webhooks/{hook}"), &json!({"is_active": true})).await.expect(200);
    let event = admin.get(&format!("/events/{held}")).await.expect(200).json();
    assert_eq!(event["deliveries"][0]["status"], "held", "switching on sends nothing old");
    assert_eq!(collector.received().len(), 1);
}
