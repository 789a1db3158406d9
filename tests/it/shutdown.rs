//! SIGTERM: attempts in flight finish or are repeated after the next start, and nothing is lost.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Destination, Host, Reply, events, eventually};

/// Timeout of the attempts, longer than any grace period here.
const TIMEOUT_MS: u64 = 30_000;
/// Far less than the default `--grace` of 25 s and than [`TIMEOUT_MS`].
const AT_ONCE: Duration = Duration::from_secs(10);

/// Waits until the host reports that it is not ready.
async fn not_ready(host: &Host) {
    let anyone = host.visitor().outside();
    eventually("readiness to turn false", async || {
        let response = anyone.request("GET", "/readyz").try_send().await?;
        let rejected = response.status() == 503;
        assert!(!rejected || !response.header("retry-after").is_empty(), "{response}");
        rejected.then_some(())
    })
    .await;
}

#[tokio::test]
async fn attempts_in_flight_finish_within_the_grace_period() {
    let mut host = Host::start().await;
    let admin = host.admin();
    let slow = Destination::always(Reply::status(200).after(Duration::from_secs(2))).await;
    let webhook = admin.webhook(&slow.url("/"), json!({"timeout_ms": TIMEOUT_MS})).await;
    let event = admin.event(&events::sample("finding_added")).await;
    slow.wait_for(1).await;

    host.ask_to_end();
    not_ready(&host).await;
    assert!(admin.history(&webhook).await.is_empty(), "readiness turned false too late, after the attempt had ended");
    host.visitor().outside().get("/healthz").await.expect(200);
    // Events accepted during the drain are delivered after the next start.
    let late = events::sample("phase_changed");
    let accepted = admin.post("/events", &late).await;
    assert!(matches!(accepted.status(), 202 | 503), "{accepted}");
    let status = host.exited(AT_ONCE).await;
    assert_eq!(status.code(), Some(0), "{}", host.log());
    assert_eq!(slow.received().len(), 1, "a new attempt was begun");

    slow.from_now_on(Reply::status(200));
    let host = host.start_again().await;
    let admin = host.admin();
    let settled = admin.settled(&event).await;
    assert_eq!((&settled[0]["status"], &settled[0]["attempts"]), (&json!("delivered"), &json!(1)));
    if accepted.status() == 202 {
        let settled = admin.settled(late["id"].as_str().expect("an id")).await;
        assert_eq!(settled[0]["status"], "delivered");
    }
    let received = slow.until_quiet(Duration::from_millis(500)).await;
    assert_eq!(received.iter().filter(|request| request.delivery() == received[0].delivery()).count(), 1);
}

#[tokio::test]
async fn an_attempt_that_does_not_finish_is_repeated_under_the_same_number() {
    let mut host = Host::with(|options| options.args(["--grace", "500ms"])).await;
    let destination = Destination::always(Reply::silence()).await;
    let fields = json!({"timeout_ms": TIMEOUT_MS, "secret": "a secret"});
    let webhook = host.admin().webhook(&destination.url("/"), fields).await;
    let event = host.admin().event(&events::sample("finding_added")).await;
    destination.wait_for(1).await;
    host.ask_to_end();
    assert_eq!(host.exited(AT_ONCE).await.code(), Some(0), "{}", host.log());

    // Second start: the first attempt is repeated, and a second signal ends even a long grace period at once.
    let mut host = host.start_again_with(|options| options.args(["--retry-base", "1s"])).await;
    destination.wait_for(2).await;
    let _ = host.terminate().await;

    // Third start: the attempt is repeated and succeeds.
    destination.from_now_on(Reply::status(200));
    let host = host.start_again().await;
    let admin = host.admin();
    let received = destination.wait_for(3).await;
    for request in &received {
        assert_eq!((request.delivery(), request.attempt()), (received[0].delivery(), 1));
        assert_eq!(request.body, received[0].body);
    }
    let settled = admin.settled(&event).await;
    assert_eq!((&settled[0]["status"], &settled[0]["attempts"]), (&json!("delivered"), &json!(1)));
    let history = admin.history_of(&webhook, 3).await;
    assert_eq!((history[0]["success"].clone(), history[0]["attempt"].clone()), (json!(true), json!(1)));
    for cut in &history[1..] {
        let error = cut["error"].as_str().expect("an error");
        assert!(error.starts_with("interrupted: ") && error.split(' ').count() > 4, "{error}");
        assert_eq!((&cut["attempt"], &cut["success"], &cut["status_code"]), (&json!(1), &json!(false), &Value::Null));
        assert!(cut["next_attempt_at"].is_string(), "{cut}");
        assert_eq!(cut["event_type"], "finding_added");
    }
    let webhook = admin.get(&format!("/webhooks/{webhook}")).await.expect(200).json();
    assert_eq!(webhook["failure_count"], 0, "an interrupted attempt is not a failure");
}

#[tokio::test]
async fn a_second_signal_stops_at_once() {
    let mut host = Host::start().await;
    let destination = Destination::always(Reply::silence()).await;
    let webhook = host.admin().webhook(&destination.url("/"), json!({"timeout_ms": TIMEOUT_MS})).await;
    host.admin().event(&events::sample("finding_added")).await;
    destination.wait_for(1).await;
    host.ask_to_end();
    not_ready(&host).await;
    host.ask_to_end();
    host.exited(AT_ONCE).await;

    destination.from_now_on(Reply::status(200));
    let host = host.start_again().await;
    let received = destination.wait_for(2).await;
    assert_eq!((received[1].delivery(), received[1].attempt()), (received[0].delivery(), 1));
    assert!(host.admin().history_of(&webhook, 1).await[0]["success"] == true);
}

#[tokio::test]
async fn every_signal_that_asks_for_the_end_is_a_graceful_one() {
    for (name, signal) in
        [("SIGHUP", libc::SIGHUP), ("SIGINT", libc::SIGINT), ("SIGQUIT", libc::SIGQUIT), ("SIGTERM", libc::SIGTERM)]
    {
        let mut host = Host::start().await;
        let slow = Destination::always(Reply::status(200).after(Duration::from_secs(1))).await;
        host.admin().webhook(&slow.url("/"), json!({"timeout_ms": TIMEOUT_MS})).await;
        let event = host.admin().event(&events::sample("finding_added")).await;
        slow.wait_for(1).await;
        host.signal(signal);
        host.logged(&format!("stopping after {name}: waiting for attempts in flight")).await;
        if name == "SIGHUP" {
            // A terminal that is closed and its shell send one each.
            host.signal(signal);
        }
        assert_eq!(host.exited(AT_ONCE).await.code(), Some(0), "{name}: {}", host.log());
        let host = host.start_again().await;
        let settled = host.admin().settled(&event).await;
        assert_eq!((&settled[0]["status"], &settled[0]["attempts"]), (&json!("delivered"), &json!(1)), "{name}");
        assert_eq!(slow.received().len(), 1, "{name}: the attempt in flight was cut");
    }
}

#[tokio::test]
async fn a_second_signal_of_another_kind_stops_at_once_and_says_so() {
    let mut host = Host::start().await;
    let destination = Destination::always(Reply::silence()).await;
    host.admin().webhook(&destination.url("/"), json!({"timeout_ms": TIMEOUT_MS})).await;
    host.admin().event(&events::sample("finding_added")).await;
    destination.wait_for(1).await;
    host.signal(libc::SIGHUP);
    host.logged("stopping after SIGHUP").await;
    host.signal(libc::SIGINT);
    host.exited(AT_ONCE).await;
    assert!(host.log().contains("stopping at once after SIGINT"), "{}", host.log());
}

#[tokio::test]
async fn the_end_of_a_session_does_not_end_a_host_that_was_started_with_nohup() {
    let mut host = Host::with(|options| options.under(["nohup"])).await;
    host.signal(libc::SIGHUP);
    host.admin().get("/webhooks").await.expect(200);
    assert!(host.terminate().await.success());
    assert!(host.log().contains("stopping after SIGTERM") && !host.log().contains("SIGHUP"), "{}", host.log());
}
