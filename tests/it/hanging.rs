//! Destinations that hang, and retries that fell due while the host was frozen: nobody waits for either.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Client, Destination, Host, Reply, events, eventually};

/// Attempts at destinations that hang last so long, in milliseconds: everything else in these tests is over before one
/// of them is.
const HANGS_MS: u32 = 30_000;
/// Of the default `--concurrency`, 256, webhooks of which nothing is known have three quarters, and those that have
/// turned out to hang no more.
const HANGING_AT_MOST: usize = 192;

/// Webhooks whose destination never responds.
async fn hanging(admin: &Client, destination: &Destination, count: usize) -> Vec<String> {
    let fields = json!({"event_types": ["finding_added"], "timeout_ms": HANGS_MS, "retry_count": 0});
    let mut webhooks = Vec::new();
    for number in 0..count {
        webhooks.push(admin.webhook(&destination.url(&format!("/{number}")), fields.clone()).await);
    }
    webhooks
}

/// A webhook that is healthy, one whose attempt fails, one that is new: each has its deliveries while the attempts of
/// destinations that hang are all still under way.
#[tokio::test]
async fn nobody_waits_for_destinations_that_hang() {
    for count in [7, 50] {
        let host = Host::with(|options| options.retry_every("200ms")).await;
        let admin = host.admin();
        let silent = Destination::always(Reply::silence()).await;
        let (healthy, failing, new) =
            (Destination::start().await, Destination::start().await, Destination::start().await);
        admin.webhook(&healthy.url("/"), json!({"event_types": ["report_ready"]})).await;
        admin.webhook(&failing.url("/"), json!({"event_types": ["phase_changed"]})).await;
        let webhooks = hanging(&admin, &silent, count).await;
        for _ in 0..2 {
            admin.event(&events::minimal("report_ready")).await;
            admin.event(&events::minimal("phase_changed")).await;
        }
        healthy.wait_for(2).await;
        failing.wait_for(2).await;

        // More deliveries than there are permits; as many of them begin as may.
        admin.post("/events", &Value::Array(events::findings(40))).await.expect(202);
        silent.wait_for(HANGING_AT_MOST).await;

        failing.next([Reply::status(500)]);
        admin.event(&events::minimal("phase_changed")).await;
        admin.webhook(&new.url("/"), json!({"event_types": ["monitor_alert"]})).await;
        admin.event(&events::minimal("monitor_alert")).await;
        let many = (0..300).map(|_| events::minimal("report_ready")).collect();
        admin.post("/events", &Value::Array(many)).await.expect(202);
        let retry = failing.wait_for(4).await.remove(3);
        assert_eq!(retry.attempt(), 2, "the retry of the one that failed");
        new.wait_for(1).await;
        healthy.wait_for(302).await;
        for webhook in &webhooks {
            assert!(admin.history(webhook).await.is_empty(), "an attempt that hangs was over before that");
        }
        assert!(silent.received().len() <= 256, "those that hang wait for one another");
    }
}

/// Without any room to share: the only permit is one that an attempt has outgrown.
#[tokio::test]
async fn even_the_only_permit_is_given_back_by_an_attempt_that_hangs() {
    let host = Host::with(|options| options.args(["--concurrency", "1"])).await;
    let admin = host.admin();
    let (silent, other) = (Destination::always(Reply::silence()).await, Destination::start().await);
    let webhook = hanging(&admin, &silent, 1).await.remove(0);
    admin.webhook(&other.url("/"), json!({"event_types": ["report_ready"]})).await;
    admin.event(&events::finding("hangs", "")).await;
    silent.wait_for(1).await;
    admin.event(&events::minimal("report_ready")).await;
    other.wait_for(1).await;
    assert!(admin.history(&webhook).await.is_empty(), "the attempt that hangs was over before that");
}

/// Retries that fell due while the process was stopped come after a new event, and not all at once.
#[tokio::test]
async fn retries_that_fell_due_while_the_host_was_stopped_come_behind_a_new_event() {
    const RETRIES: usize = 200;
    let host = Host::with(|options| options.retry_every("4s").args(["--breaker-threshold", "1000000"])).await;
    let admin = host.admin();
    let destination = Destination::start().await;
    destination
        .decide(|request| Reply::status(if request.attempt() == 1 && request.path == "/failing" { 500 } else { 200 }));
    let fields = json!({"event_types": ["finding_added"]});
    let webhook = admin.webhook(&destination.url("/failing"), fields).await;
    admin.webhook(&destination.url("/other"), json!({"event_types": ["report_ready"]})).await;
    admin.post("/events", &Value::Array(events::findings(RETRIES))).await.expect(202);
    destination.wait_for(RETRIES).await;
    eventually("every first attempt in the history", async || {
        (admin.history(&webhook).await.len() >= 50).then_some(())
    })
    .await;
    host.signal(libc::SIGSTOP);
    // The retries are due 2 to 4 s after their attempts.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let retried =
        |requests: &[crate::support::Received]| requests.iter().filter(|request| request.attempt() == 2).count();
    let before = retried(&destination.received());
    host.signal(libc::SIGCONT);
    admin.event(&events::minimal("report_ready")).await;
    admin.event(&events::finding("new", "")).await;
    // The new events' first attempts: one to each webhook.
    let received = destination.wait_until("the new events", |requests| {
        requests.iter().any(|request| request.path == "/other")
            && requests.iter().filter(|request| request.attempt() == 1 && request.path == "/failing").count() > RETRIES
    });
    let at_once = retried(&received.await);
    assert!(
        at_once - before < (RETRIES - before) / 2,
        "{before} retries before, {at_once} when the new events arrived"
    );
    host.logged("the host stood still").await;
    // Two thirds of them would take long to wait for; all are made in the end.
    destination.wait_until("every retry", |requests| retried(requests) >= RETRIES).await;
}
