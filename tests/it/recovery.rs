//! The dead-letter queue: redelivery and recovery; and secret rotation during deliveries.

use serde_json::{Value, json};

use crate::support::destination::body_signature;
use crate::support::{Client, Destination, Host, Reply, events, eventually};

const LONG_AGO: &str = "2020-01-01T00:00:00Z";

/// A webhook for one event type, with a destination of its own.
async fn hook(admin: &Client, event_type: &str, mut fields: Value) -> (String, Destination) {
    let destination = Destination::start().await;
    fields["event_types"] = json!([event_type]);
    (admin.webhook(&destination.url("/"), fields).await, destination)
}

async fn deliveries(admin: &Client, event: &str) -> Vec<Value> {
    let event = admin.get(&format!("/events/{event}")).await.expect(200).json();
    event["deliveries"].as_array().expect("a list").clone()
}

async fn until_status(admin: &Client, event: &str, wanted: &str) -> Vec<Value> {
    eventually(&format!("{event} to be {wanted}"), async || {
        Some(deliveries(admin, event).await).filter(|all| all.iter().all(|one| one["status"] == wanted))
    })
    .await
}

async fn recover(admin: &Client, webhook: &str, since: &str) -> u64 {
    let response = admin.post(&format!("/webhooks/{webhook}/recover"), &json!({"since": since})).await.expect(202);
    response.json()["deliveries"].as_u64().expect("a number")
}

#[tokio::test]
async fn a_redelivery_has_a_new_id() {
    let host = Host::start().await;
    let admin = host.admin();
    let (webhook, destination) = hook(&admin, "report_ready", json!({"retry_count": 0, "secret": "s"})).await;
    destination.next([Reply::status(500)]);
    let event = admin.event(&events::minimal("report_ready")).await;
    let failed = until_status(&admin, &event, "failed").await.remove(0);
    let first = failed["id"].as_str().expect("an id").to_owned();

    let again = format!("/webhooks/{webhook}/deliveries/{first}/redeliver");
    let made = admin.post(&again, &json!({})).await.expect(202).json();
    assert_eq!(made["redelivery_of"], json!(first));
    assert_eq!((&made["webhook_id"], &made["status"]), (&json!(webhook), &json!("pending")));
    let second = made["id"].as_str().expect("an id").to_owned();
    assert_ne!(second, first);
    let received = destination.wait_for(2).await;
    assert_eq!((received[0].delivery(), received[1].delivery()), (first.as_str(), second.as_str()));
    assert_eq!((received[1].attempt(), received[0].body.clone()), (1, received[1].body.clone()));

    // A redelivery can be redelivered too, also after a restart, and also if it was delivered.
    eventually("the redelivery to be delivered", async || {
        let all = deliveries(&admin, &event).await;
        (all.len() == 2 && all[1]["status"] == "delivered").then_some(())
    })
    .await;
    let host = host.restart().await;
    let admin = host.admin();
    let third = admin.post(&format!("/webhooks/{webhook}/deliveries/{second}/redeliver"), &json!({})).await;
    assert_eq!(third.expect(202).json()["redelivery_of"], json!(second));
    destination.wait_for(3).await;
    let all = eventually("both to be delivered", async || {
        let all = deliveries(&admin, &event).await;
        (all.iter().filter(|one| one["status"] == "delivered").count() == 2).then_some(all)
    })
    .await;
    assert_eq!(all.len(), 3, "{all:?}");
    assert!(all[0].get("redelivery_of").is_none() && all[0]["status"] == "failed", "{all:?}");

    // Unknown ids.
    let other = admin.webhook(&destination.url("/"), json!({"event_types": ["phase_changed"]})).await;
    for path in [
        format!("/webhooks/{other}/deliveries/{first}/redeliver"),
        format!("/webhooks/{webhook}/deliveries/{webhook}/redeliver"),
        format!("/webhooks/{webhook}/deliveries/nonsense/redeliver"),
    ] {
        admin.post(&path, &json!({})).await.problem(404, "not_found");
    }
}

#[tokio::test]
async fn failed_and_held_deliveries_are_recovered_once() {
    let host = Host::with(|options| options.retry_every("10min").args(["--breaker-threshold", "3"])).await;
    let admin = host.admin();
    let (webhook, destination) = hook(&admin, "finding_added", json!({"retry_count": 0})).await;
    destination.from_now_on(Reply::status(500));
    let mut events = Vec::new();
    for _ in 0..3 {
        events.push(admin.event(&events::minimal("finding_added")).await);
    }
    eventually("the breaker to trip", async || {
        let webhook = admin.get(&format!("/webhooks/{webhook}")).await.expect(200).json();
        (webhook["is_active"] == false).then_some(())
    })
    .await;
    for _ in 0..2 {
        events.push(admin.event(&events::minimal("finding_added")).await);
    }
    until_status(&admin, &events[4], "held").await;
    let seen = destination.received().len();
    assert_eq!(seen, 3);

    // Something else than a T is no reason to take another time.
    for since in ["2026-01-31512:00:00Z", "2026-01-31\n12:00:00Z", "2026-01-31 12:00:00Z", "2026-01-31", ""] {
        let path = format!("/webhooks/{webhook}/recover");
        admin.post(&path, &json!({"since": since})).await.errors(&[("/since", "invalid")]);
    }

    // A recovery of a disabled webhook starts when the webhook is enabled, and not before.
    destination.from_now_on(Reply::status(200));
    let later = "2999-01-01T00:00:00Z";
    assert_eq!(recover(&admin, &webhook, later).await, 0);
    assert_eq!(recover(&admin, &webhook, LONG_AGO).await, 5);
    assert_eq!(recover(&admin, &webhook, LONG_AGO).await, 0, "requeued already");
    destination.stays_quiet(std::time::Duration::from_millis(300)).await;
    until_status(&admin, &events[0], "held").await;
    admin.put(&format!("/webhooks/{webhook}"), &json!({"is_active": true})).await.expect(200);
    let received = destination.wait_for(8).await;
    for event in &events {
        until_status(&admin, event, "delivered").await;
    }
    // The attempt number goes on, under the same id.
    let first = received[0].delivery();
    let again = received[3..].iter().find(|request| request.delivery() == first).expect("the first one, again");
    assert_eq!(again.attempt(), 2);
    assert_eq!(recover(&admin, &webhook, LONG_AGO).await, 0, "all of them were delivered");
    destination.stays_quiet(std::time::Duration::from_millis(300)).await;
    assert_eq!(destination.received().len(), 8);
}

#[tokio::test]
async fn a_recovered_delivery_has_its_full_number_of_retries() {
    let host = Host::with(|options| options.retry_every("1ms")).await;
    let admin = host.admin();
    let (webhook, destination) = hook(&admin, "report_ready", json!({"retry_count": 2})).await;
    destination.from_now_on(Reply::status(500));
    let event = admin.event(&events::minimal("report_ready")).await;
    let failed = until_status(&admin, &event, "failed").await;
    assert_eq!(failed[0]["attempts"], 3);
    destination.next([Reply::status(500), Reply::status(500), Reply::status(200)]);
    assert_eq!(recover(&admin, &webhook, LONG_AGO).await, 1);
    let delivered = until_status(&admin, &event, "delivered").await;
    assert_eq!(delivered[0]["attempts"], 6);
    let numbers: Vec<u32> = destination.received().iter().map(|request| request.attempt()).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6]);

    for (body, pointer) in [
        (json!({}), "/since"),
        (json!({"since": "yesterday"}), "/since"),
        (json!({"since": 5}), "/since"),
        (json!({"since": LONG_AGO, "until": LONG_AGO}), "/until"),
    ] {
        let response = admin.post(&format!("/webhooks/{webhook}/recover"), &body).await;
        let problem = response.problem(422, "invalid_fields").json();
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
    }
}

#[tokio::test]
async fn an_old_secret_signs_beside_the_new_one_until_the_overlap_ends() {
    let host = Host::start().await;
    let admin = host.admin();
    let (webhook, destination) = hook(&admin, "report_ready", json!({"secret": "first"})).await;
    let rotate = format!("/webhooks/{webhook}/rotate-secret");
    let signatures = async |count: usize| {
        admin.event(&events::minimal("report_ready")).await;
        let received = destination.wait_for(count).await;
        received[count - 1].header("webhook-signature").split(' ').map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(signatures(1).await.len(), 1);

    let before = admin.get(&format!("/webhooks/{webhook}")).await.expect(200);
    let rotated = admin.post(&rotate, &json!({"secret": "second", "overlap_seconds": 3600})).await.expect(200);
    assert_ne!(rotated.header("etag"), before.header("etag"));
    let rotated = rotated.json();
    assert_eq!(rotated["secret"], "second");
    assert!(rotated["old_secret_valid_until"].is_string(), "{rotated}");
    let both = signatures(2).await;
    assert_eq!(both.len(), 2);
    let received = destination.received();
    for (secret, good) in [("first", true), ("second", true), ("third", false)] {
        assert_eq!(received[1].is_signed_with(secret), good, "{secret}");
    }
    assert_eq!(received[1].header("x-webhook-signature"), body_signature("second", &received[1].body));

    // A secret generated by the host; a restart keeps the overlap; setting a secret ends it.
    let made = admin.post(&rotate, &json!({})).await.expect(200).json();
    assert!(made["secret"].as_str().expect("a text").starts_with("whsec_"), "{made}");
    let host = host.restart().await;
    let admin = host.admin();
    admin.event(&events::minimal("report_ready")).await;
    let received = destination.wait_for(3).await;
    assert_eq!(received[2].header("webhook-signature").split(' ').count(), 3);
    let now = admin.post(&rotate, &json!({"secret": "alone", "overlap_seconds": 0})).await.expect(200).json();
    assert_eq!(now["old_secret_valid_until"], Value::Null);
    admin.put(&format!("/webhooks/{webhook}"), &json!({"secret": "set"})).await.expect(200);
    admin.event(&events::minimal("report_ready")).await;
    let received = destination.wait_for(4).await;
    assert_eq!(received[3].header("webhook-signature").split(' ').count(), 1);

    for (body, pointer) in [
        (json!({"secret": ""}), "/secret"),
        (json!({"secret": null}), "/secret"),
        (json!({"secret": "whsec_?"}), "/secret"),
        (json!({"overlap_seconds": -1}), "/overlap_seconds"),
        (json!({"overlap_seconds": 604_801}), "/overlap_seconds"),
        (json!({"overlap": 1}), "/overlap"),
    ] {
        let problem = admin.post(&rotate, &body).await.problem(422, "invalid_fields").json();
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
    }
    for _ in 0..4 {
        admin.post(&rotate, &json!({})).await.expect(200);
    }
    admin.post(&rotate, &json!({})).await.problem(409, "conflict");
}
