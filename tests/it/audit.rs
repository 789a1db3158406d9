//! The audit log: every management change with its actor, and no secret.

use serde_json::{Value, json};

use crate::support::{Destination, Handmade, Host, Reply, events, eventually};

#[tokio::test]
async fn every_change_is_in_the_log_with_actor_and_target() {
    let host = Host::start().await;
    let admin = host.admin();
    let destination = Destination::start().await;
    let other = admin.new_token("admin").await;
    let fields = json!({"secret": "CANARY-secret", "headers": {"X-Key": "CANARY-header"}, "retry_count": 0});
    let url = destination.url("/CANARY-path");
    let webhook = other.webhook(&url, fields).await;
    let path = format!("/webhooks/{webhook}");
    let change = json!({"retry_count": 1, "name": "renamed", "secret": "CANARY-2", "headers": {}});
    other.put(&path, &change).await.expect(200);
    other.put(&path, &json!({"retry_count": 1})).await.expect(200);
    other.post(&format!("{path}/rotate-secret"), &json!({"secret": "CANARY-3"})).await.expect(200);
    other.post(&format!("{path}/recover"), &json!({"since": "2020-01-01T00:00:00Z"})).await.expect(202);
    destination.next([Reply::status(410)]);
    let event = other.event(&events::minimal("report_ready")).await;
    eventually("the 410 to disable it", async || {
        (other.get(&path).await.expect(200).json()["is_active"] == false).then_some(())
    })
    .await;
    let delivery = other.settled(&event).await[0]["id"].as_str().expect("an id").to_owned();
    other.post(&format!("{path}/deliveries/{delivery}/redeliver"), &json!({})).await.expect(202);
    other.install("mine", &Handmade::new("mine", "1.0.0", "x").build()).await.expect(201);
    other.delete("/formatters/mine").await.expect(204);
    other.delete(&path).await.expect(204);
    let token = other.post("/tokens", &json!({"name": "ci", "role": "ingest"})).await.expect(201).json();
    other.delete(&format!("/tokens/{}", token["id"].as_str().expect("an id"))).await.expect(204);

    let log = admin.get("/audit?limit=200").await.expect(200);
    assert!(!log.text().contains("CANARY"), "{log}");
    let mut log = log.list();
    log.reverse();
    let actions: Vec<&str> = log.iter().map(|entry| entry["action"].as_str().expect("an action")).collect();
    assert_eq!(
        actions,
        [
            "token.created",
            "token.created",
            "webhook.created",
            "webhook.updated",
            "webhook.secret_rotated",
            "webhook.recovered",
            "webhook.disabled",
            "delivery.redelivered",
            "formatter.installed",
            "formatter.deleted",
            "webhook.deleted",
            "token.created",
            "token.deleted",
        ],
        "an update without effect is not logged"
    );
    let sequences: Vec<u64> = log.iter().map(|entry| entry["sequence"].as_u64().expect("a number")).collect();
    assert_eq!(sequences, (1..=13).collect::<Vec<u64>>());
    assert_eq!(log[0]["actor"], json!({"type": "host"}));
    assert_eq!((&log[2]["actor"]["type"], &log[2]["actor"]["name"]), (&json!("token"), &json!("admin")));
    assert_eq!(log[2]["target"], json!({"type": "webhook", "id": webhook, "name": "a webhook"}));
    assert_eq!(log[6]["actor"], json!({"type": "host"}));
    let changes = log[3]["changes"].as_array().expect("a list");
    assert!(changes.contains(&json!({"field": "retry_count", "from": 0, "to": 1})), "{changes:?}");
    assert!(changes.contains(&json!({"field": "secret"})) && changes.contains(&json!({"field": "headers"})));

    // Pages, newest first, as in the history; the log survives a restart.
    let page = admin.get("/audit?limit=10").await.expect(200);
    let link = page.header("link").to_owned();
    let page = page.list();
    assert_eq!((page.len(), &page[0]["action"]), (10, &json!("token.deleted")));
    let next = link.trim_start_matches("</api/v1").split('>').next().expect("a path").to_owned();
    let host = host.restart().await;
    let admin = host.admin();
    let rest = admin.get(&next).await.expect(200).list();
    assert_eq!(rest.len(), 3);
    assert_eq!(rest[2]["sequence"], 1);
    for bad in ["limit=0", "limit=201", "before=x", "page=1", &format!("before={webhook}")] {
        admin.get(&format!("/audit?{bad}")).await.problem(400, "invalid_query");
    }
    assert_eq!(Value::from(rest[2]["created_at"].is_string()), json!(true));
}
