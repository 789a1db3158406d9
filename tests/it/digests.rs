//! Digests: events that are collected and told of in one message.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::support::component::{lists_ids, without_the_first_of};
use crate::support::{Client, Destination, Handmade, Host, Received, Reply, events, eventually};

/// The shortest window that there is.
const WINDOW_SECONDS: u32 = 5;

fn lister(name: &str, also: &str) -> Vec<u8> {
    Handmade::new(name, "1.0.0", "alone").digest(&lists_ids(also)).build()
}

fn digest(over: u32) -> Value {
    json!({"window_seconds": WINDOW_SECONDS, "over": over})
}

async fn post(admin: &Client, count: usize, severity: &str) -> Vec<String> {
    let all: Vec<Value> = (0..count).map(|number| events::finding(&format!("{severity} {number}"), severity)).collect();
    let accepted = admin.post("/events", &json!(all)).await.expect(202).list();
    accepted.iter().map(|one| one["id"].as_str().expect("an id").to_owned()).collect()
}

fn is_digest(request: &Received) -> bool {
    !request.header("x-webhook-batch-size").is_empty()
}

/// The one delivery of an event, once it has this status.
async fn delivery(admin: &Client, event: &str, status: &str) -> Value {
    eventually(&format!("the delivery of {event} to be {status}"), async || {
        let read = admin.get(&format!("/events/{event}")).await.expect(200).json();
        assert_eq!(read["deliveries"].as_array().map(Vec::len), Some(1), "{read}");
        Some(read["deliveries"][0].clone()).filter(|delivery| delivery["status"] == status)
    })
    .await
}

#[tokio::test]
async fn a_window_makes_one_message_that_keeps_its_members_id_and_bytes() {
    let host = Host::with(|options| options.retry_every("500ms")).await;
    let admin = host.admin();
    admin.install("lister", &lister("lister", "")).await.expect(201);
    let destination = Destination::start().await;
    let is_well = Arc::new(AtomicBool::new(false));
    let well = Arc::clone(&is_well);
    destination.decide(move |request| {
        Reply::status(if is_digest(request) && !well.load(Ordering::Relaxed) { 500 } else { 200 })
    });
    let digest = json!({"window_seconds": WINDOW_SECONDS, "over": 2, "bypass_severity": "critical"});
    let fields = json!({"format": "lister", "retry_count": 10, "event_types": ["finding_added"], "digest": digest});
    let webhook = admin.webhook(&destination.url("/"), fields).await;
    let low = post(&admin, 3, "low").await;
    let critical = post(&admin, 1, "critical").await.remove(0);

    // The critical one does not wait; the others wait for the end of the window.
    delivery(&admin, &critical, "delivered").await;
    let first = destination.received();
    assert!(first.len() == 1 && !is_digest(&first[0]) && first[0].text() == "alone", "{first:?}");
    let more = post(&admin, 1, "high").await;
    let mut closes = Vec::new();
    for event in low.iter().chain(&more) {
        closes.push(delivery(&admin, event, "pending").await["next_attempt_at"].clone());
    }
    assert!(closes[0].is_string() && closes.iter().all(|at| *at == closes[0]), "{closes:?}");
    let shown = admin.get(&format!("/webhooks/{webhook}")).await.expect(200).json();
    assert_eq!((&shown["next_attempt_at"], &shown["waiting"]), (&closes[0], &json!(4)), "{shown}");

    let all = [low, more].concat();
    let received = destination.wait_until("a digest", |received| received.iter().any(is_digest)).await;
    let message = received.iter().find(|request| is_digest(request)).expect("a digest").clone();
    assert_eq!(message.text(), format!("1/1\n{}\n", all.join("\n")));
    assert_eq!((message.header("x-webhook-batch-size"), message.header("x-webhook-event")), ("4", "finding_added"));
    assert_eq!((message.attempt(), message.delivery()), (1, message.header("x-webhook-delivery")));

    // The retries are the same message, also in the next process and with others that wait meanwhile.
    let host = host.restart().await;
    let admin = host.admin();
    let others = post(&admin, 2, "info").await;
    let known = destination.received().len();
    destination.wait_until("a retry", |received| received.iter().skip(known).any(is_digest)).await;
    is_well.store(true, Ordering::Relaxed);
    for event in &all {
        let delivered = delivery(&admin, event, "delivered").await;
        assert!(delivered["attempts"].as_u64().is_some_and(|attempts| attempts > 1), "{delivered}");
    }
    let received = destination.received();
    for again in received.iter().filter(|request| is_digest(request)) {
        assert_eq!((again.delivery(), again.text()), (message.delivery(), message.text()));
    }
    let note = format!("in the digest {}, with 3 others", message.delivery());
    let history = admin.history(&webhook).await;
    let told: Vec<_> = history.iter().filter(|attempt| attempt["note"] == note.as_str()).collect();
    assert!(told.len() >= 8 && told.len() % 4 == 0, "{history:?}");

    // As many as may go out one by one do.
    for event in &others {
        delivery(&admin, event, "delivered").await;
    }
    let singles = destination.received().iter().filter(|request| !is_digest(request)).count();
    assert_eq!(singles, 3);
}

#[tokio::test]
async fn a_kill_during_the_first_attempt_repeats_the_same_message() {
    let mut host = Host::start().await;
    let admin = host.admin();
    admin.install("lister", &lister("lister", "")).await.expect(201);
    let destination = Destination::answering([Reply::silence()]).await;
    let fields =
        json!({"format": "lister", "timeout_ms": 30_000, "event_types": ["finding_added"], "digest": digest(1)});
    let webhook = admin.webhook(&destination.url("/"), fields).await;
    let all = post(&admin, 3, "low").await;
    let first = destination.wait_for(1).await.remove(0);
    host.kill();
    let host = host.start_again().await;
    let admin = host.admin();
    // They wait for a window of their own.
    let others = post(&admin, 2, "low").await;
    for event in &all {
        delivery(&admin, event, "delivered").await;
    }
    let second = destination.wait_for(2).await.remove(1);
    assert_eq!((second.delivery(), second.text(), second.attempt()), (first.delivery(), first.text(), 1));
    for event in &others {
        delivery(&admin, event, "delivered").await;
    }
    let received = destination.received();
    assert_eq!((received.len(), received[2].text()), (3, format!("1/1\n{}\n", others.join("\n")).as_str()));
    assert_eq!(admin.history(&webhook).await.len(), 5, "each event has a line of its own");
}

#[tokio::test]
async fn a_digest_that_is_not_made_or_not_taken_is_taken_apart() {
    let host = Host::start().await;
    let admin = host.admin();
    admin.install("lister", &lister("lister", "")).await.expect(201);
    admin.install("skips", &lister("skips", &without_the_first_of(3))).await.expect(201);
    // Not on the samples, which it is admitted by.
    let breaks = lister("breaks", "(if (i32.eq (local.get 1) (i32.const 3)) (then (unreachable)))");
    admin.install("breaks", &breaks).await.expect(201);
    let destination = Destination::start().await;
    destination.decide(|request| {
        let is_too_large = is_digest(request) && request.path == "/lister";
        Reply::status(if is_too_large { 413 } else { 200 })
    });
    let mut webhooks = Vec::new();
    for format in ["lister", "breaks", "skips"] {
        let types = json!(["finding_added"]);
        let fields = json!({"format": format, "digest": digest(1), "event_types": types, "filter": {"engagement_ids": [format]}});
        webhooks.push(admin.webhook(&destination.url(&format!("/{format}")), fields).await);
    }
    let mut posted = Vec::new();
    for format in ["lister", "breaks", "skips"] {
        let of: Vec<Value> = events::findings(3).into_iter().map(|one| events::in_engagement(one, format)).collect();
        let accepted = admin.post("/events", &json!(of)).await.expect(202).list();
        posted.push(accepted.iter().map(|one| one["id"].as_str().expect("an id").to_owned()).collect::<Vec<_>>());
    }
    for event in posted[..2].iter().flatten().chain(&posted[2][1..]) {
        let delivered = delivery(&admin, event, "delivered").await;
        assert_eq!(delivered["attempts"], 1, "what was taken apart used up no attempt: {delivered}");
    }
    delivery(&admin, &posted[2][0], "skipped").await;
    let received = destination.received();
    let of = |path: &str, digests: bool| {
        received.iter().filter(|request| request.path == path && is_digest(request) == digests).count()
    };
    assert_eq!((of("/lister", true), of("/lister", false)), (1, 3));
    assert_eq!((of("/breaks", true), of("/breaks", false)), (0, 3), "nothing was sent of what could not be made");
    assert_eq!((of("/skips", true), of("/skips", false)), (1, 0));
    let message = received.iter().find(|request| request.path == "/skips").expect("a digest");
    assert_eq!(message.text(), format!("1/1\n{}\n", posted[2][1..].join("\n")));
    assert_eq!(message.header("x-webhook-batch-size"), "2");
    for (webhook, words) in webhooks[..2].iter().zip([
        ["with 2 others; it goes out by itself now", "status: "],
        ["the digest of this and 2 others could not be made; it goes out by itself", "formatter: "],
    ]) {
        let history = admin.history(webhook).await;
        let apart: Vec<_> = history.iter().filter(|attempt| attempt["success"] == false).collect();
        assert_eq!(apart.len(), 3, "{history:?}");
        for attempt in apart {
            let (note, error) = (attempt["note"].as_str(), attempt["error"].as_str());
            assert!(note.is_some_and(|note| note.contains(words[0])), "{attempt}");
            assert!(error.is_some_and(|error| error.starts_with(words[1])), "{attempt}");
        }
        let shown = admin.get(&format!("/webhooks/{webhook}")).await.expect(200).json();
        assert_eq!((&shown["failure_count"], &shown["is_active"]), (&json!(0), &json!(true)), "{shown}");
    }
}

#[tokio::test]
async fn a_change_of_the_digest_holds_for_what_waits() {
    let host = Host::start().await;
    let admin = host.admin();
    admin.install("lister", &lister("lister", "")).await.expect(201);
    let destination = Destination::start().await;
    let hour = json!({"window_seconds": 3600, "over": 1});
    let fields = json!({"format": "lister", "digest": hour, "event_types": ["finding_added"]});
    let webhook = admin.webhook(&destination.url("/"), fields).await;
    let put =
        async |digest: Value| admin.put(&format!("/webhooks/{webhook}"), &json!({"digest": digest})).await.expect(200);
    let (low, high) = (post(&admin, 2, "low").await, post(&admin, 1, "high").await);
    delivery(&admin, &high[0], "pending").await;
    // One goes out, since it need not wait any more; then the rest, when there is no window.
    put(json!({"window_seconds": 3600, "over": 1, "bypass_severity": "high"})).await;
    delivery(&admin, &high[0], "delivered").await;
    for event in &low {
        assert_eq!(delivery(&admin, event, "pending").await["attempts"], 0);
    }
    put(Value::Null).await;
    for event in &low {
        delivery(&admin, event, "delivered").await;
    }
    // A shorter window closes earlier.
    put(hour).await;
    let again = post(&admin, 2, "low").await;
    put(digest(1)).await;
    for event in &again {
        delivery(&admin, event, "delivered").await;
    }
    let received = destination.received();
    assert_eq!(received.iter().filter(|request| is_digest(request)).count(), 1);
    assert_eq!(received.len(), 4);
}

#[tokio::test]
async fn a_digest_needs_a_formatter_that_makes_them_and_excludes_what_contradicts_it() {
    let host = Host::start().await;
    let admin = host.admin();
    admin.install("lister", &lister("lister", "")).await.expect(201);
    let plain = Handmade::new("plain", "1.0.0", "x").build();
    admin.install("plain", &plain).await.expect(201);
    assert_eq!(admin.formatter("lister").await["abilities"], json!(["digest"]));
    assert_eq!(admin.formatter("plain").await["abilities"], json!([]));
    let destination = Destination::start().await;
    let bypass = json!({"window_seconds": 60, "over": 3, "bypass_severity": "high"});
    let batch = json!({"max_events": 10, "max_wait_ms": 0});
    let url = destination.url("/");
    for (fields, faults) in [
        (json!({"format": "plain", "digest": digest(1)}), &[("/digest", "no_digests")][..]),
        (json!({"format": "lister", "digest": bypass, "order": "strict"}), &[("/digest/bypass_severity", "exclusive")]),
        (
            json!({"format": "lister", "digest": digest(1), "batch": batch}),
            &[("/batch", "not_joinable"), ("/digest", "exclusive")],
        ),
        (
            json!({"format": "plain", "digest": digest(1), "url": "syslog+tcp://127.0.0.1:9"}),
            &[("/url", "not_a_line"), ("/digest", "not_http"), ("/digest", "no_digests")],
        ),
    ] {
        let mut body = json!({"name": "x", "url": url});
        fields.as_object().expect("fields").iter().for_each(|(name, value)| body[name] = value.clone());
        admin.post("/webhooks", &body).await.faults(faults);
    }
    let webhook = admin.webhook(&url, json!({"format": "lister", "digest": bypass})).await;
    let path = format!("/webhooks/{webhook}");
    for (fields, faults) in [
        (json!({"order": "strict"}), &[("/order", "exclusive")][..]),
        (json!({"format": "plain"}), &[("/format", "no_digests")]),
        (json!({"batch": batch}), &[("/batch", "not_joinable"), ("/batch", "exclusive")]),
    ] {
        admin.put(&path, &fields).await.faults(faults);
    }
    admin.put(&path, &json!({"format": "plain", "digest": null})).await.expect(200);
    admin.put(&path, &json!({"format": "lister", "digest": digest(1), "order": "strict"})).await.expect(200);
}

#[tokio::test]
async fn a_version_that_fails_on_a_digest_where_its_predecessor_works_is_rolled_back() {
    let host = Host::start().await;
    let admin = host.admin();
    let destination = Destination::start().await;
    admin.install("lister", &lister("lister", "")).await.expect(201);
    let fields = json!({"format": "lister", "event_types": ["finding_added"], "digest": digest(1)});
    let webhook = admin.webhook(&destination.url("/"), fields).await;
    // The check of an upload makes digests of other sizes.
    let fails = lists_ids("(if (i32.eq (local.get 1) (i32.const 3)) (then unreachable))");
    let bad = Handmade::new("lister", "1.1.0", "alone").digest(&fails).build();
    admin.install("lister", &bad).await.expect(200);

    let three = post(&admin, 3, "low").await;
    for event in &three {
        delivery(&admin, event, "delivered").await;
    }
    let received = destination.received();
    assert_eq!(received.len(), 1, "{received:?}");
    assert_eq!(received[0].text(), format!("1/1\n{}\n", three.join("\n")));
    for attempt in admin.history_of(&webhook, 3).await {
        assert_eq!(attempt["formatter"]["version"], "1.0.0", "{attempt}");
        let note = attempt["note"].as_str().expect("a note");
        let message = format!("in the digest {}, with 2 others", received[0].header("x-webhook-delivery"));
        assert!(note.starts_with(&message) && note.contains("version 1.1.0 fails on this digest"), "{note}");
    }
    let listed = admin.get("/formatters/lister/versions").await.expect(200).list();
    let bad = listed.iter().find(|version| version["version"] == "1.1.0").expect("listed");
    let reason = bad["rolled_back"]["reason"].as_str().expect("a reason");
    assert!(reason.contains("on a digest of 3 events") && reason.contains(&three[0]), "{bad}");
    assert_eq!(admin.formatter("lister").await["version"], "1.0.0");
}
