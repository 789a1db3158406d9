//! The order of a webhook's deliveries: the most severe first, or one at a time in the order of acceptance.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Destination, Host, Received, Reply, events};

/// Findings of one run, and how many of them are posted in one request.
const FINDINGS: usize = 60;
const POSTED: usize = 12;

/// The numbers of the findings in a request.
fn numbers(request: &Received) -> Vec<usize> {
    let titles = request.text().split("\"title\":\"n").skip(1);
    titles.map(|rest| rest.split('"').next().expect("a title").parse().expect("a number")).collect()
}

/// Deterministically fails some of the first attempts.
fn fails(request: &Received) -> bool {
    let first = numbers(request).first().copied().unwrap_or_default();
    request.attempt() <= [0, 2, 0, 1, 0, 3][first % 6]
}

fn title(number: usize) -> String {
    format!("n{number}")
}

/// Each request comes after everything before it was accepted.
fn assert_strict(received: &[Received]) {
    let mut accepted = BTreeSet::new();
    for request in received {
        let numbers = numbers(request);
        let first = numbers[0];
        assert!((0..first).all(|number| accepted.contains(&number)), "{numbers:?} overtakes; accepted: {accepted:?}");
        assert!(numbers.is_sorted());
        if !fails(request) {
            accepted.extend(numbers);
        }
    }
    assert_eq!(accepted, (0..FINDINGS).collect());
}

/// Delivers findings strictly through failures, a restart and a kill.
async fn deliver_strictly(fields: Value) {
    let host = Host::with(|options| options.retry_every("50ms")).await;
    let destination = Destination::start().await;
    destination.decide(|request| Reply::status(if fails(request) { 500 } else { 200 }).after(Duration::from_millis(5)));
    let mut fields = fields;
    fields["event_types"] = json!(["finding_added"]);
    (fields["order"], fields["retry_count"]) = (json!("strict"), json!(10));
    host.admin().webhook(&destination.url("/"), fields).await;
    let severities = ["info", "critical", "low", "high"];
    let findings: Vec<Value> =
        (0..FINDINGS).map(|number| events::finding(&title(number), severities[number % severities.len()])).collect();
    for part in findings.chunks(POSTED) {
        host.admin().post("/events", &json!(part)).await.expect(202);
    }
    let seen = |most: usize| move |received: &[Received]| received.iter().any(|one| numbers(one).contains(&most));
    destination.wait_until("the first", seen(FINDINGS / 4)).await;
    let mut host = host.restart().await;
    destination.wait_until("half", seen(FINDINGS / 2)).await;
    host.kill();
    let _host = host.start_again().await;
    let all = destination
        .wait_until("the last to be accepted", |received| {
            received.iter().any(|one| numbers(one).contains(&(FINDINGS - 1)) && !fails(one))
        })
        .await;
    assert_strict(&all);
}

#[tokio::test]
async fn a_strict_order_holds_through_failures_a_restart_and_a_kill() {
    deliver_strictly(json!({})).await;
}

#[tokio::test]
async fn batches_keep_a_strict_order() {
    deliver_strictly(json!({"batch": {"max_events": 4, "max_wait_ms": 0}})).await;
}

#[tokio::test]
async fn the_most_severe_goes_first_from_the_next_claim_on() {
    let host = Host::with(|options| options.args(["--webhook-concurrency", "1"])).await;
    let admin = host.admin();
    let destination = Destination::start().await;
    let webhook = admin.webhook(&destination.url("/"), json!({"event_types": ["finding_added"]})).await;
    // The first keeps the only place until the order is another one.
    destination.next([Reply::status(200).after(Duration::from_secs(1))]);
    admin.event(&events::finding("n0", "info")).await;
    destination.wait_for(1).await;
    let severities = ["info", "low", "critical", "info", "high", "critical", "", "medium"];
    let findings: Vec<Value> =
        (1..).zip(severities).map(|(number, severity)| events::finding(&title(number), severity)).collect();
    admin.post("/events", &json!(findings)).await.expect(202);
    admin.put(&format!("/webhooks/{webhook}"), &json!({"order": "severity"})).await.expect(200);
    let received = destination.wait_for(9).await;
    let order: Vec<usize> = received.iter().flat_map(numbers).collect();
    assert_eq!(order, [0, 3, 6, 5, 8, 2, 1, 4, 7]);
}

#[tokio::test]
async fn a_batch_that_is_made_smaller_keeps_a_strict_order() {
    let host = Host::with(|options| options.retry_every("1s")).await;
    let admin = host.admin();
    let destination = Destination::start().await;
    destination.decide(|request| Reply::status(if numbers(request).len() > 2 { 500 } else { 200 }));
    let batch = |most: usize| json!({"max_events": most, "max_wait_ms": 0});
    let fields = json!({"event_types": ["finding_added"], "order": "strict", "retry_count": 10, "batch": batch(6)});
    let webhook = admin.webhook(&destination.url("/"), fields).await;
    let findings: Vec<Value> = (0..FINDINGS).map(|number| events::finding(&title(number), "low")).collect();
    admin.post("/events", &json!(findings)).await.expect(202);
    // Six wait for their retry, and then they are too many for one request.
    destination.wait_until("a large one", |received| received.iter().any(|one| numbers(one).len() == 6)).await;
    admin.put(&format!("/webhooks/{webhook}"), &json!({"batch": batch(2)})).await.expect(200);
    let accepted = |received: &[Received]| -> Vec<usize> {
        received.iter().map(numbers).filter(|numbers| numbers.len() <= 2).flatten().collect()
    };
    let received = destination.wait_until("the last", |received| accepted(received).contains(&(FINDINGS - 1))).await;
    assert_eq!(accepted(&received), (0..FINDINGS).collect::<Vec<_>>());
}
