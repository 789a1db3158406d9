//! Kill -9 under load: whatever was answered 202 arrives.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;

use crate::support::{Client, Destination, Host, Reply, events, eventually};

const EVENTS: usize = 2000;
const KILLS: usize = 5;
/// Clients that post one event after the other.
const POSTERS: usize = 16;

/// Posts every `POSTERS`-th event until it is accepted, by whichever host is there.
async fn post(
    posted: Arc<Vec<Value>>,
    first: usize,
    hosts: watch::Receiver<Client>,
    accepted: Arc<AtomicUsize>,
    repeated: Arc<AtomicUsize>,
) {
    for event in posted.iter().skip(first).step_by(POSTERS) {
        loop {
            let client = hosts.borrow().clone();
            match client.request("POST", "/events").json(event).try_send().await {
                Some(answer) if answer.status() == 202 => {
                    assert_eq!(answer.json()["id"], event["id"]);
                    accepted.fetch_add(1, Ordering::Relaxed);
                    break;
                }
                Some(answer) => assert_eq!(answer.status(), 503, "{answer}"),
                None => {}
            }
            // It may have been accepted without an answer: the same id makes the repeat harmless.
            repeated.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test]
async fn what_was_answered_202_is_delivered_through_five_kills() {
    let destination = Destination::start().await;
    // Some first attempts fail, so that retries are waiting at each kill.
    destination.decide(|request| {
        let is_unlucky = request.body.len() % 7 == 0 && request.attempt() == 1;
        Reply::status(if is_unlucky { 500 } else { 200 })
    });
    let mut host = Host::with(|options| options.retry_every("300ms")).await;
    let webhook = host.admin().webhook(&destination.url("/"), json!({"secret": "a secret", "retry_count": 10})).await;
    let posted = Arc::new(events::findings(EVENTS));
    let (hosts, receiver) = watch::channel(host.admin());
    let (accepted, repeated) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let posters: Vec<_> = (0..POSTERS)
        .map(|first| {
            let (posted, hosts) = (Arc::clone(&posted), receiver.clone());
            tokio::spawn(post(posted, first, hosts, Arc::clone(&accepted), Arc::clone(&repeated)))
        })
        .collect();

    for kill in 1..=KILLS {
        let enough = kill * EVENTS / (KILLS + 1);
        eventually("events to be accepted", async || (accepted.load(Ordering::Relaxed) >= enough).then_some(())).await;
        host.kill();
        host = host.start_again().await;
        hosts.send_replace(host.admin());
    }
    for poster in posters {
        poster.await.expect("a poster");
    }

    let wanted: BTreeSet<String> = posted.iter().map(|event| id(event, "id")).collect();
    let received = destination
        .wait_until("every event", |received| {
            received.len() >= EVENTS && wanted == received.iter().map(|request| id(&request.json(), "id")).collect()
        })
        .await;
    for event in posted.iter().step_by(37) {
        let delivery = host.admin().settled(&id(event, "id")).await.remove(0);
        assert_eq!((&delivery["status"], &delivery["webhook_id"]), (&json!("delivered"), &json!(webhook)));
    }

    let mut copies: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for request in &received {
        copies.entry(request.delivery()).or_default().push(request);
    }
    let mut again = 0;
    for (delivery, requests) in &copies {
        let first = requests[0];
        for request in requests {
            assert_eq!(request.body, first.body, "two bodies under the id {delivery}");
        }
        let mut attempts: Vec<_> = requests.iter().map(|request| request.attempt()).collect();
        attempts.sort_unstable();
        attempts.dedup();
        again += requests.len() - attempts.len();
    }
    let delivered: BTreeSet<String> = received.iter().map(|request| id(&request.json(), "id")).collect();
    println!(
        "accepted {}, delivered {}, lost {}; {} kills, {} posts repeated, {} attempts, {again} of them made again \
         under the same number",
        accepted.load(Ordering::Relaxed),
        delivered.len(),
        wanted.difference(&delivered).count(),
        KILLS,
        repeated.load(Ordering::Relaxed),
        received.len(),
    );
    assert_eq!(accepted.load(Ordering::Relaxed), EVENTS);
    assert_eq!(delivered, wanted);
    assert_eq!(copies.len(), EVENTS, "an event that was posted again got a second delivery");
}

fn id(event: &Value, member: &str) -> String {
    event[member].as_str().expect("an id").to_owned()
}
