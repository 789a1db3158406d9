//! The circuit breaker: what disables a webhook, and how deliveries resume.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::component::Handmade;
use crate::support::{Client, Destination, Host, Reply, events, eventually};

/// Default of `--breaker-threshold`.
const THRESHOLD: usize = 5;
/// Long enough for everything in flight to arrive.
const QUIET: Duration = Duration::from_millis(500);

struct Hook<'a> {
    admin: &'a Client,
    id: String,
    destination: Destination,
}

impl<'a> Hook<'a> {
    /// A webhook for one event type, so that webhooks of one host do not share events.
    async fn new(admin: &'a Client, event_type: &str, mut fields: Value) -> Self {
        let destination = Destination::start().await;
        fields["event_types"] = json!([event_type]);
        let id = admin.webhook(&destination.url("/"), fields).await;
        Self { admin, id, destination }
    }

    async fn get(&self) -> Value {
        self.admin.get(&format!("/webhooks/{}", self.id)).await.expect(200).json()
    }

    async fn put(&self, change: Value) -> Value {
        self.admin.put(&format!("/webhooks/{}", self.id), &change).await.expect(200).json()
    }

    /// Waits until the webhook is inactive.
    async fn disabled(&self) -> Value {
        eventually("the webhook to be inactive", async || {
            let webhook = self.get().await;
            (webhook["is_active"] == false).then_some(webhook)
        })
        .await
    }
}

async fn post(admin: &Client, event_type: &str, count: usize) -> Vec<String> {
    let mut posted = Vec::new();
    for _ in 0..count {
        posted.push(admin.event(&events::minimal(event_type)).await);
    }
    posted
}

/// Status of an event's only delivery.
async fn status(admin: &Client, event: &str) -> String {
    let event = admin.get(&format!("/events/{event}")).await.expect(200).json();
    let deliveries = event["deliveries"].as_array().expect("a list");
    assert_eq!(deliveries.len(), 1, "{event}");
    if deliveries[0]["status"] != "pending" {
        assert_eq!(deliveries[0]["next_attempt_at"], Value::Null, "{event}");
    }
    deliveries[0]["status"].as_str().expect("a status").to_owned()
}

async fn until_status(admin: &Client, event: &str, wanted: &str) {
    eventually(wanted, async || (status(admin, event).await == wanted).then_some(())).await;
}

async fn metric(host: &Host, line: &str) -> bool {
    let metrics = host.visitor().outside().get("/metrics").await.expect(200);
    metrics.text().lines().any(|found| found == line)
}

#[tokio::test]
async fn a_webhook_is_disabled_at_its_threshold_and_resumes_when_enabled() {
    let host = Host::with(|options| options.retry_every("10min")).await;
    let admin = host.admin();
    let hook = Hook::new(&admin, "finding_added", json!({"retry_count": 10})).await;
    hook.destination.from_now_on(Reply::status(500));

    // One delivery waits for its retry; those that follow fail terminally with their first attempt.
    let waiting = post(&admin, "finding_added", 1).await.remove(0);
    admin.history_of(&hook.id, 1).await;
    hook.put(json!({"retry_count": 0})).await;
    for (count, event) in (1..THRESHOLD).zip(post(&admin, "finding_added", THRESHOLD - 1).await) {
        until_status(&admin, &event, "failed").await;
        assert!(count < THRESHOLD);
    }
    let webhook = hook.get().await;
    assert_eq!((&webhook["failure_count"], &webhook["is_active"]), (&json!(THRESHOLD - 1), &json!(true)));
    assert_eq!(webhook["disabled_reason"], Value::Null);
    assert!(webhook["last_failure_at"].is_string() && webhook["last_success_at"].is_null(), "{webhook}");

    // A success in between resets the count.
    hook.destination.next([Reply::status(200)]);
    let delivered = post(&admin, "finding_added", 1).await.remove(0);
    until_status(&admin, &delivered, "delivered").await;
    assert_eq!(hook.get().await["failure_count"], 0);
    let failed = post(&admin, "finding_added", THRESHOLD).await;
    let webhook = hook.disabled().await;
    assert_eq!(webhook["failure_count"], THRESHOLD);
    let reason = webhook["disabled_reason"].as_str().expect("a reason");
    let host_name = "127.0.0.1";
    let words = format!(
        "{THRESHOLD} deliveries in a row failed; the last: status: the destination responded with 500 Internal Server \
         Error (webhook {}, host {host_name})",
        webhook["name"]
    );
    assert_eq!(reason, words);
    for event in &failed {
        until_status(&admin, event, "failed").await;
    }

    // It is visible in the log and in the metrics.
    let line = host.logged(&hook.id).await;
    assert!(host.log().lines().any(|line| line.contains(&hook.id) && line.contains("WARN")), "{line}");
    let log = host.log();
    let mut off = log.lines().filter(|line| line.contains("a webhook was switched off"));
    let line = off.next().expect("a line");
    for part in
        [&hook.id, webhook["name"].as_str().expect("a name"), host_name, "500 Internal Server Error", "failures=5"]
    {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert_eq!(off.next(), None, "one line");
    assert!(metric(&host, "heraldry_webhooks{state=\"tripped\"} 1").await);
    assert!(metric(&host, &format!("heraldry_webhook_tripped{{webhook=\"{}\"}} 1", hook.id)).await);

    // Pending deliveries become held, and so do new ones.
    until_status(&admin, &waiting, "held").await;
    let response = admin.post("/events", &events::minimal("finding_added")).await.expect(202).json();
    assert_eq!(response["deliveries"], 1, "a held delivery counts");
    let held = response["id"].as_str().expect("an id").to_owned();
    until_status(&admin, &held, "held").await;
    hook.destination.from_now_on(Reply::status(200));
    let before = hook.destination.received().len();
    hook.destination.stays_quiet(QUIET).await;

    // All of it survives a restart.
    let host = host.restart().await;
    let admin = host.admin();
    let hook = Hook { admin: &admin, ..hook };
    assert_eq!(hook.get().await["disabled_reason"], json!(reason));
    assert_eq!((status(&admin, &waiting).await, status(&admin, &held).await), ("held".into(), "held".into()));

    // Once enabled, new deliveries are sent; held ones are not.
    let webhook = hook.put(json!({"is_active": true})).await;
    assert_eq!((&webhook["failure_count"], &webhook["is_active"]), (&json!(0), &json!(true)));
    assert_eq!(webhook["disabled_reason"], Value::Null);
    let fresh = post(&admin, "finding_added", 2).await;
    for event in &fresh {
        until_status(&admin, event, "delivered").await;
    }
    hook.destination.stays_quiet(QUIET).await;
    assert_eq!(hook.destination.received().len(), before + 2, "a held delivery was sent");
    assert_eq!((status(&admin, &waiting).await, status(&admin, &held).await), ("held".into(), "held".into()));
    assert!(metric(&host, "heraldry_webhooks{state=\"tripped\"} 0").await);
}

#[tokio::test]
async fn a_410_an_admin_and_a_lower_threshold_disable_a_webhook() {
    let host = Host::with(|options| options.retry_every("10min").args(["--breaker-threshold", "2"])).await;
    let admin = host.admin();
    tokio::join!(
        disabled_by_a_410(&host, &admin),
        disabled_by_an_admin(&admin),
        threshold_of_two(&admin),
        retries_do_not_count(&admin)
    );
}

/// A 410 disables the webhook at once, with any number of retries left.
async fn disabled_by_a_410(host: &Host, admin: &Client) {
    let hook = Hook::new(admin, "report_ready", json!({"retry_count": 3})).await;
    hook.destination.next([Reply::status(410)]);
    let event = post(admin, "report_ready", 1).await.remove(0);
    let webhook = hook.disabled().await;
    let reason = webhook["disabled_reason"].as_str().expect("a reason");
    let words = "the destination wants no more deliveries (410 Gone); 1 delivery failed; the last: status: the destination \
                 responded with 410 Gone (webhook ";
    assert!(reason.starts_with(words), "{reason}");
    until_status(admin, &event, "failed").await;
    let attempt = admin.history_of(&hook.id, 1).await.remove(0);
    assert_eq!((&attempt["status_code"], &attempt["next_attempt_at"]), (&json!(410), &Value::Null));
    let held = post(admin, "report_ready", 1).await.remove(0);
    until_status(admin, &held, "held").await;
    assert!(host.log().lines().any(|line| line.contains(&hook.id) && line.contains("WARN")));
    hook.put(json!({"is_active": true})).await;
    let fresh = post(admin, "report_ready", 1).await.remove(0);
    until_status(admin, &fresh, "delivered").await;
    assert_eq!(status(admin, &held).await, "held");
}

/// While a webhook is disabled by an admin, new events create no deliveries for it; attempts in flight finish.
async fn disabled_by_an_admin(admin: &Client) {
    let hook = Hook::new(admin, "phase_changed", json!({})).await;
    hook.destination.next([Reply::status(500), Reply::status(200).after(Duration::from_millis(700))]);
    let waiting = post(admin, "phase_changed", 1).await.remove(0);
    admin.history_of(&hook.id, 1).await;
    let in_flight = post(admin, "phase_changed", 1).await.remove(0);
    hook.destination.wait_for(2).await;
    let webhook = hook.put(json!({"is_active": false})).await;
    assert_eq!(webhook["is_active"], false);
    until_status(admin, &waiting, "held").await;
    until_status(admin, &in_flight, "delivered").await;
    let response = admin.post("/events", &events::minimal("phase_changed")).await.expect(202).json();
    assert_eq!(response["deliveries"], 0);
    hook.put(json!({"is_active": true})).await;
    let fresh = post(admin, "phase_changed", 1).await.remove(0);
    until_status(admin, &fresh, "delivered").await;
    hook.destination.stays_quiet(QUIET).await;
    assert_eq!((hook.destination.received().len(), status(admin, &waiting).await), (3, "held".into()));
}

async fn threshold_of_two(admin: &Client) {
    let hook = Hook::new(admin, "surface_changed", json!({"retry_count": 0})).await;
    hook.destination.from_now_on(Reply::close());
    let first = post(admin, "surface_changed", 1).await.remove(0);
    until_status(admin, &first, "failed").await;
    assert_eq!(hook.get().await["is_active"], true);
    post(admin, "surface_changed", 1).await;
    assert_eq!(hook.disabled().await["failure_count"], 2);
}

/// A formatter that loops on large events.
fn loops_on_large() -> Vec<u8> {
    let format = "(if (i32.gt_u (i32.load offset=28 (local.get 0)) (i32.const 12288)) \
                  (then (loop (br 0)) (unreachable))) (i32.const 528)";
    Handmade::new("loops", "1.0.0", "x").format(format).build()
}

/// What the formatter cannot render is that event's failure, not the destination's: it is final, in the history, and moves
/// no counter. Only the limit on time is tried again, since a busy machine may be its cause.
#[tokio::test]
async fn what_a_formatter_cannot_render_does_not_switch_a_webhook_off() {
    const TRILLION: &str = "1000000000000";
    for (more, attempts, words) in [
        (&["--formatter-fuel", "20000000", "--formatter-timeout", "1min"][..], 1, "the limit on instructions"),
        (&["--formatter-fuel", TRILLION, "--formatter-timeout", "50ms"][..], 3, "the limit on time"),
    ] {
        let host =
            Host::with(|options| options.retry_every("20ms").args(["--breaker-threshold", "2"]).args(more)).await;
        let admin = host.admin();
        admin.install("loops", &loops_on_large()).await.expect(201);
        let hook = Hook::new(&admin, "finding_added", json!({"format": "loops", "retry_count": 2})).await;
        // One failure of the destination: the formatter's neither add to it nor end the row.
        hook.destination.next(vec![Reply::status(500); 3]);
        let refused = post(&admin, "finding_added", 1).await.remove(0);
        until_status(&admin, &refused, "failed").await;
        let mut unrendered = Vec::new();
        for _ in 0..3 {
            let mut large = events::finding("x", "low");
            large["data"]["finding"]["description"] = json!("d".repeat(20_000));
            unrendered.push(admin.event(&large).await);
        }
        for event in &unrendered {
            until_status(&admin, event, "failed").await;
            let delivery = admin.settled(event).await.remove(0);
            assert_eq!(delivery["attempts"], attempts, "{words}: {delivery}");
        }
        let history = admin.history_of(&hook.id, 3 + 3 * attempts).await;
        let failed: Vec<_> = history.iter().filter(|attempt| attempt["event_id"] != json!(refused)).collect();
        assert_eq!(failed.len(), 3 * attempts, "{history:?}");
        for attempt in failed {
            let error = attempt["error"].as_str().expect("an error");
            assert!(error.starts_with("formatter: ") && error.contains(words), "{error}");
            let is_last = attempt["attempt"] == attempts;
            assert_eq!(attempt["next_attempt_at"].is_null(), is_last, "{attempt}");
        }
        let webhook = hook.get().await;
        assert_eq!((&webhook["failure_count"], &webhook["is_active"]), (&json!(1), &json!(true)), "{words}");
        // The destination's own second failure in a row does.
        hook.destination.next(vec![Reply::status(500); 3]);
        post(&admin, "finding_added", 1).await;
        assert_eq!(hook.disabled().await["failure_count"], 2);
    }
}

/// Only terminal failures count: a delivery that has retries left does not.
async fn retries_do_not_count(admin: &Client) {
    let hook = Hook::new(admin, "retest_completed", json!({"retry_count": 1})).await;
    hook.destination.from_now_on(Reply::status(500));
    post(admin, "retest_completed", 4).await;
    admin.history_of(&hook.id, 4).await;
    let webhook = hook.get().await;
    assert_eq!((&webhook["failure_count"], &webhook["is_active"]), (&json!(0), &json!(true)));
    assert!(webhook["last_failure_at"].is_string(), "{webhook}");
}
