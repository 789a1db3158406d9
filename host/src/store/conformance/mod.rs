//! The suite that every engine has to pass, written over the store's interface: what was acknowledged is there after
//! any end of the process, queues yield each pending delivery once, and so on. [`model`] compares an engine with a
//! simple model over random sequences of operations.
//!
//! An engine joins by implementing [`Subject`] (and [`Stepped`] for the model) and by a module of tests that
//! [`conformance!`] makes of the functions below.

pub(crate) mod model;
mod order;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::model::delivery::{Part, Status, Step};
use crate::model::event::{EventType, NewEvent, Severity};
use crate::model::id::AttemptId;
use crate::model::time::Clock;
use crate::model::url::DeliveryUrl;
use crate::model::webhook::{Activity, Batch, Digest, Filter, Order, RateLimit, Subscription, TlsNames};
use crate::watchdog::Watchdog;

pub(crate) use order::{
    a_delivery_that_leaves_a_strict_entry_waits_once,
    a_page_that_is_read_before_an_outcome_is_written_takes_nothing_away,
    a_position_in_a_commit_outlasts_the_events_before_it, a_queue_moves_with_the_order_and_loses_nothing,
    a_strict_entry_has_the_place_of_its_earliest_delivery,
    a_strict_queue_is_in_the_order_of_acceptance_whatever_happens,
    in_a_strict_queue_nothing_of_a_window_overtakes_a_retry, of_a_strict_queue_only_the_oldest_held_is_probed,
    the_most_severe_waits_first_also_of_what_was_queued_in_another_order,
    what_a_probe_takes_out_of_an_entry_ranks_as_itself, what_is_left_of_a_strict_entry_has_a_place_of_its_own,
};

/// A place that an engine keeps a store in, for one process after another.
pub(crate) trait Subject {
    /// An empty place.
    fn new() -> Self;

    /// Opens the store, as a process does at its start.
    fn open(&self, now_ms: i64) -> Opened;
}

/// An engine without a thread of its own: a test decides the order of events.
pub(crate) trait Stepped: Subject {
    /// Writes pending outcomes, as if their wait were over.
    fn tick(opened: &Opened);

    /// Moves what is committed to where it stays, if the engine keeps it elsewhere at first.
    fn checkpoint(opened: &Opened);

    /// Ends the store as a killed process does.
    fn crash(opened: &Opened);

    /// The events of each commit that accepted some, with its time, in order.
    fn accepted(opened: &Opened) -> Vec<(i64, Vec<EventId>)>;

    /// Changes the form of the store, and nothing in it, while no process has it open: a repair, an export and its import,
    /// the format of an earlier version. The number chooses one of those that the engine has.
    fn transform(&self, number: u8, now_ms: i64);
}

/// Makes the tests of one engine.
macro_rules! conformance {
    ($subject:ty) => {
        $crate::store::conformance::conformance!(@ $subject:
            what_was_accepted_is_there_after_reopening_and_still_due,
            a_delivered_delivery_is_done_after_reopening_and_in_the_history,
            a_retry_waits_in_the_queue_with_its_number,
            an_event_id_is_unique_and_repeating_the_same_event_is_harmless,
            an_idempotency_key_answers_alike_until_it_expires_also_after_reopening,
            the_breaker_holds_what_waits_and_switching_on_sends_nothing_old,
            a_webhook_that_an_admin_switched_off_gets_no_deliveries,
            what_could_not_be_rendered_fails_and_moves_no_counter,
            deleting_a_webhook_cancels_what_waits_and_its_history_goes_with_it,
            the_history_pages_backwards_and_knows_its_cursors,
            what_is_older_than_the_retention_is_removed,
            a_critical_finding_is_derived_with_its_own_deliveries,
            a_critical_finding_goes_once_to_a_webhook_that_asks_for_it,
            what_is_known_is_recognized_and_nothing_is_accepted,
            an_entry_of_many_is_done_with_its_last_delivery,
            a_cut_attempt_waits_in_one_place_only,
            retries_of_one_call_share_an_entry_by_group_and_wait,
            a_closed_window_makes_a_message_that_is_the_same_after_reopening,
            what_was_recovered_waits_for_a_window_unless_its_severity_is_high,
            a_change_that_changes_nothing_is_none,
            probes_try_one_after_the_other_and_the_first_that_is_accepted_heals,
            a_webhook_of_a_destination_that_is_gone_is_not_probed,
            host_events_go_to_other_webhooks_and_not_to_all,
            lists_over_everything_have_each_attempt_and_event_once,
            what_waits_is_what_the_deliveries_say_also_after_reopening,
            the_most_severe_waits_first_also_of_what_was_queued_in_another_order,
            a_strict_queue_is_in_the_order_of_acceptance_whatever_happens,
            a_queue_moves_with_the_order_and_loses_nothing,
            of_a_strict_queue_only_the_oldest_held_is_probed,
            in_a_strict_queue_nothing_of_a_window_overtakes_a_retry,
            a_strict_entry_has_the_place_of_its_earliest_delivery,
            what_is_left_of_a_strict_entry_has_a_place_of_its_own,
            a_delivery_that_leaves_a_strict_entry_waits_once,
            a_position_in_a_commit_outlasts_the_events_before_it,
            a_page_that_is_read_before_an_outcome_is_written_takes_nothing_away,
            what_a_probe_takes_out_of_an_entry_ranks_as_itself,
        );
    };
    (@ $subject:ty: $($name:ident,)*) => {
        $(
            #[tokio::test]
            async fn $name() {
                $crate::store::conformance::$name::<$subject>().await;
            }
        )*
    };
}
pub(crate) use conformance;

/// A folder in memory where the system has such a place: the order of events is under test, not the disk.
pub(crate) fn folder_in_memory() -> TempDir {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
    folder.expect("a folder")
}

/// The store of a data folder, opened this way, with its changes and its clock.
pub(crate) fn open_folder(
    folder: &Path,
    master_key: Option<Secret>,
    now: i64,
    open: fn(Options) -> Result<Store, OpenError>,
) -> Result<Opened, OpenError> {
    let clock = Arc::new(TestClock(AtomicI64::new(now), AtomicI64::new(0)));
    let watchdog = Watchdog::new(Arc::clone(&clock) as Arc<dyn Clock>);
    let (sender, receiver) = channel();
    let store = open(Options {
        folder: folder.to_owned(),
        cache_bytes: 1 << 20,
        master_key,
        breaker_threshold: 3,
        breaker_probe: true,
        idempotency_kept: Duration::from_secs(3600),
        changes: Box::new(move |change| drop(sender.send(change))),
        clock: Arc::clone(&clock) as Arc<dyn Clock>,
        watchdog: watchdog.clone(),
    })?;
    Ok(Opened { store, changes: Mutex::new(receiver), clock, watchdog })
}

/// A clock that a test moves: its steady time, and how far the wall clock has jumped from it.
pub(crate) struct TestClock(pub(crate) AtomicI64, pub(crate) AtomicI64);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        let (steady, jump) = (self.0.load(Ordering::Relaxed), self.1.load(Ordering::Relaxed));
        Timestamp::from_unix_ms(steady.saturating_add(jump))
    }

    fn steady_ms(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// An open store, with its changes and its clock.
pub(crate) struct Opened {
    pub(crate) store: Store,
    pub(crate) changes: Mutex<Receiver<Change>>,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) watchdog: Watchdog,
}

pub(crate) const START_MS: i64 = 1_800_000_000_000;

impl Opened {
    /// The next queued deliveries that the store announces.
    pub(crate) fn due(&self) -> Vec<(DueKey, DueItem)> {
        let changes = self.changes.lock().expect("not poisoned");
        loop {
            match changes.recv_timeout(Duration::from_secs(10)).expect("a change") {
                Change::Due(entries) | Change::Loaded { entries, .. } => {
                    return entries
                        .into_iter()
                        .flat_map(|entry| entry.items.into_iter().map(move |(item, _)| (entry.key, item)))
                        .collect();
                }
                Change::Webhook(_)
                | Change::Recorded(_)
                | Change::Candidate { .. }
                | Change::Probed(_)
                | Change::Collected { .. } => {}
            }
        }
    }

    /// Waits until an outcome is on the disk.
    pub(crate) fn recorded(&self) {
        let changes = self.changes.lock().expect("not poisoned");
        while !matches!(changes.recv_timeout(Duration::from_secs(10)).expect("a change"), Change::Recorded(_)) {}
    }

    /// The delivery that the next probe of a webhook tries.
    pub(crate) fn candidate(&self, webhook: WebhookId) -> Option<Candidate> {
        self.store.load_probe(webhook);
        let changes = self.changes.lock().expect("not poisoned");
        loop {
            let change = changes.recv_timeout(Duration::from_secs(10)).expect("a change");
            if let Change::Candidate { candidate, .. } = change {
                return candidate;
            }
        }
    }

    /// A probe ends with this step.
    pub(crate) fn probe(&self, webhook: &Webhook, Candidate { item, origin }: Candidate, step: Step) {
        let mut attempt = attempt(&item, step == Step::Delivered);
        if step == Step::Unrendered {
            attempt.error = Some("formatter: it made no payload".into());
        }
        let attempt = Some(attempt);
        self.store.record(vec![Outcome { probe: Some(origin), ..Outcome::new(webhook.id, item, attempt, step, None) }]);
        self.recorded();
    }

    /// Waits until a webhook is switched on.
    pub(crate) fn on(&self, webhook: WebhookId) -> Arc<Webhook> {
        let changes = self.changes.lock().expect("not poisoned");
        loop {
            let now = Arc::clone(self.store.webhooks().get(webhook).expect("kept"));
            if now.activity.is_active() {
                return now;
            }
            changes.recv_timeout(Duration::from_secs(10)).expect("a change");
        }
    }

    pub(crate) async fn webhook(&self) -> Arc<Webhook> {
        self.store.create_webhook(config(), true, Actor::Host).await.expect("created")
    }

    pub(crate) async fn post(&self, event: NewEvent) -> Accepted {
        self.accept(TokenId::from_bytes([1; 16]), None, vec![event]).await.expect("accepted").remove(0)
    }

    pub(crate) async fn accept(
        &self,
        token: TokenId,
        idempotency: Option<Idempotency>,
        events: Vec<NewEvent>,
    ) -> Result<Vec<Accepted>, AcceptError> {
        self.store.accept(Acceptance { token, idempotency, events, verdicts: Vec::new() }).await
    }

    pub(crate) async fn status(&self, event: EventId) -> Status {
        self.store.event(event).await.expect("read").expect("known").deliveries[0].status
    }

    pub(crate) fn record(&self, webhook: &Webhook, (key, item): &(DueKey, DueItem), step: Step) {
        let attempt = (step != Step::Skipped).then(|| attempt(item, step == Step::Delivered));
        let outcome = Outcome::new(webhook.id, item.clone(), attempt, step, Some(*key));
        self.store.record(vec![outcome]);
        self.recorded();
    }
}

/// A retention by age alone, in seconds.
pub(crate) fn kept(seconds: u64) -> Retention {
    let age = Duration::from_secs(seconds);
    Retention { age, audit: age, max_events: u64::MAX, max_history: u64::MAX }
}

pub(crate) fn config() -> WebhookConfig {
    WebhookConfig {
        name: "to the team".into(),
        url: DeliveryUrl::parse("https://hooks.example/secret-path").expect("a URL"),
        secret: Some(Secret::new("signing-secret")),
        event_types: Subscription::All,
        format: "json".into(),
        format_options: "{}".into(),
        headers: vec![("X-Team".into(), Secret::new("header-secret"))],
        filter: Filter::default(),
        critical_once: false,
        order: Order::Arrival,
        rate_limit: Some(RateLimit { count: 10, per_seconds: 1 }),
        tls: TlsNames { ca: Some("corp".into()), client_cert: None },
        batch: Some(Batch { max_events: 10, max_wait_ms: 100 }),
        digest: None,
        retry_count: 3,
        timeout_ms: 5000,
    }
}

pub(crate) fn event(id: Option<EventId>, digest: u8) -> NewEvent {
    NewEvent {
        id,
        event_type: EventType::PhaseChanged,
        occurred_at: None,
        engagement_id: Some("eng-1".into()),
        finding_id: None,
        severity: None,
        json: r#"{"type":"phase_changed","engagement":{"id":"eng-1","name":"One"},"data":{"phase":{}}}"#.into(),
        digest: [digest; 32],
    }
}

pub(crate) fn attempt(item: &DueItem, success: bool) -> Attempt {
    Attempt {
        id: AttemptId::generate(),
        delivery_id: item.delivery,
        event_id: Some(item.event),
        event_type: "phase_changed".into(),
        attempt: item.attempt,
        success,
        status_code: Some(if success { 200 } else { 500 }),
        error: (!success).then(|| "status: it answered 500".into()),
        duration_ms: 3,
        response_excerpt: Some(String::new()),
        formatter: None,
        note: None,
        is_test: false,
        next_attempt_at: None,
        created_at: Timestamp::from_unix_ms(START_MS),
    }
}

pub(crate) fn again(after_ms: u64) -> Step {
    Step::Again { after: Duration::from_millis(after_ms), counts: true }
}

pub(crate) async fn what_was_accepted_is_there_after_reopening_and_still_due<S: Subject>() {
    let place = S::new();
    let opened = place.open(START_MS);
    let webhook = opened.webhook().await;
    let accepted = opened.post(event(None, 1)).await;
    assert_eq!(accepted.deliveries, 1);
    drop(opened);

    let opened = place.open(START_MS);
    assert_eq!(opened.status(accepted.id).await, Status::Pending);
    opened.store.load_due(webhook.id, webhook.activation, None, 10);
    let due = opened.due();
    assert_eq!(due.iter().map(|(_, item)| item.event).collect::<Vec<_>>(), [accepted.id]);
    assert_eq!(*opened.store.webhooks().get(webhook.id).expect("kept").config.url.expose(), *config().url.expose());
}

pub(crate) async fn a_delivered_delivery_is_done_after_reopening_and_in_the_history<S: Subject>() {
    let place = S::new();
    let opened = place.open(START_MS);
    let webhook = opened.webhook().await;
    let accepted = opened.post(event(None, 1)).await;
    let due = opened.due();
    opened.record(&webhook, &due[0], Step::Delivered);
    drop(opened);

    let opened = place.open(START_MS);
    assert_eq!(opened.status(accepted.id).await, Status::Delivered);
    opened.store.load_due(webhook.id, webhook.activation, None, 10);
    assert!(opened.due().is_empty());
    let query = AttemptQuery { limit: 10, before: None, success: None, event_type: None };
    let page = opened.store.attempts(webhook.id, query).await.expect("a page");
    assert_eq!(page.attempts.len(), 1);
    assert!(opened.store.webhooks().get(webhook.id).expect("kept").health.values().last_success_at.is_some());
}

pub(crate) async fn a_retry_waits_in_the_queue_with_its_number<S: Subject>() {
    let place = S::new();
    let opened = place.open(START_MS);
    let webhook = opened.webhook().await;
    let accepted = opened.post(event(None, 1)).await;
    let first = opened.due().remove(0);
    let outcome = Outcome::new(webhook.id, first.1.clone(), Some(attempt(&first.1, false)), again(2000), Some(first.0));
    opened.store.record(vec![outcome]);
    let second = opened.due().remove(0);
    assert_eq!((second.1.attempt, second.1.delivery, second.0.due_ms), (2, first.1.delivery, START_MS + 2000));
    opened.recorded();
    drop(opened);

    let opened = place.open(START_MS);
    opened.store.load_due(webhook.id, webhook.activation, None, 10);
    assert_eq!(opened.due(), [second]);
    let view = opened.store.event(accepted.id).await.expect("read").expect("known");
    assert_eq!(view.deliveries[0].attempts, 1);
    assert_eq!(view.deliveries[0].next_attempt_at, Some(Timestamp::from_unix_ms(START_MS + 2000)));
}

pub(crate) async fn an_event_id_is_unique_and_repeating_the_same_event_is_harmless<S: Subject>() {
    let place = S::new();
    let opened = place.open(START_MS);
    opened.webhook().await;
    let token = TokenId::from_bytes([1; 16]);
    let id = Some(EventId::generate());
    let first = opened.accept(token, None, vec![event(id, 1)]).await.expect("accepted");
    assert_eq!(opened.accept(token, None, vec![event(id, 1)]).await.expect("repeated"), first);
    assert_eq!(opened.due().len(), 1);
    let other = opened.accept(token, None, vec![event(None, 9), event(id, 2)]).await;
    assert_eq!(other, Err(AcceptError::IdTaken { indexes: vec![1] }));
    let stranger = opened.accept(TokenId::from_bytes([2; 16]), None, vec![event(id, 1)]).await;
    assert_eq!(stranger, Err(AcceptError::IdTaken { indexes: vec![0] }));
    let id = Some(EventId::generate());
    let twins = opened.accept(token, None, vec![event(id, 3), event(id, 3)]).await.expect("twins");
    assert_eq!(twins[0], twins[1]);
    let id = Some(EventId::generate());
    let unlike = opened.accept(token, None, vec![event(id, 3), event(id, 4)]).await;
    assert_eq!(unlike, Err(AcceptError::IdTaken { indexes: vec![1] }));
}

pub(crate) async fn an_idempotency_key_answers_alike_until_it_expires_also_after_reopening<S: Subject>() {
    let place = S::new();
    let opened = place.open(START_MS);
    let token = TokenId::from_bytes([1; 16]);
    let key = |digest: u8| Some(Idempotency { key: "k".into(), body_digest: [digest; 32] });
    let first = opened.accept(token, key(1), vec![event(None, 1)]).await.expect("accepted");
    drop(opened);
    let opened = place.open(START_MS);
    assert_eq!(opened.accept(token, key(1), vec![event(None, 1)]).await.expect("repeated"), first);
    assert_eq!(opened.accept(token, key(2), vec![event(None, 1)]).await, Err(AcceptError::KeyReused));
    let other = opened.accept(TokenId::from_bytes([2; 16]), key(2), vec![event(None, 1)]).await;
    assert!(other.is_ok(), "a key is its token's own");
    opened.clock.0.fetch_add(3_601_000, Ordering::Relaxed);
    let later = opened.accept(token, key(2), vec![event(None, 1)]).await.expect("expired");
    assert_ne!(later, first);
}

pub(crate) async fn the_breaker_holds_what_waits_and_switching_on_sends_nothing_old<S: Subject>() {
    let place = S::new();
    let opened = place.open(START_MS);
    let webhook = opened.webhook().await;
    let waiting = opened.post(event(None, 1)).await;
    let _ = opened.due();
    for _ in 0..3 {
        opened.post(event(None, 1)).await;
        let due = opened.due();
        opened.record(&webhook, &due[0], Step::Failed { deactivate: None });
    }
    let tripped = Arc::clone(opened.store.webhooks().get(webhook.id).expect("kept"));
    let Activity::Tripped { reason, .. } = &tripped.activity else { panic!("{:?}", tripped.activity) };
    let words = r#"3 deliveries in a row failed; the last: status: it answered 500 (webhook "to the team", host hooks.example)"#;
    assert_eq!(reason, words);
    assert_eq!(tripped.health.values().failure_count, 3);
    assert_eq!(opened.status(waiting.id).await, Status::Held);
    let meanwhile = opened.post(event(None, 1)).await;
    assert_eq!(meanwhile.deliveries, 1, "held deliveries are made while the breaker is open");
    assert_eq!(opened.status(meanwhile.id).await, Status::Held);

    let on = opened
        .store
        .update_webhook(webhook.id, tripped.revision, config(), Some(true), Actor::Host)
        .await
        .expect("written");
    let Updated::Done(on) = on else { panic!("{on:?}") };
    assert_eq!(on.health.values().failure_count, 0);
    assert_eq!(opened.status(waiting.id).await, Status::Held);
    let new = opened.post(event(None, 1)).await;
    assert_eq!(opened.status(new.id).await, Status::Pending);
    let _ = opened.due();
    drop(opened);
    let opened = place.open(START_MS);
    opened.store.load_due(on.id, on.activation, None, 10);
    assert_eq!(opened.due().iter().map(|(_, item)| item.event).collect::<Vec<_>>(), [new.id]);
}

pub(crate) async fn a_webhook_that_an_admin_switched_off_gets_no_deliveries<S: Subject>() {
    let place = S::new();
    let opened = place.open(START_MS);
    let webhook = opened.webhook().await;
    let off = opened.store.update_webhook(webhook.id, webhook.revision, config(), Some(false), Actor::Host).await;
    assert!(matches!(off, Ok(Updated::Done(_))));
    assert_eq!(opened.post(event(None, 1)).await.deliveries, 0);
    let stale = opened.store.update_webhook(webhook.id, webhook.revision, config(), None, Actor::Host).await;
    assert!(matches!(stale, Ok(Updated::Stale)));
}

pub(crate) async fn what_could_not_be_rendered_fails_and_moves_no_counter<S: Subject>() {
    let place = S::new();
    let opened = place.open(START_MS);
    let webhook = opened.webhook().await;
    let record = async |step: Step| {
        let accepted = opened.post(event(None, 1)).await;
        let due = opened.due();
        opened.record(&webhook, &due[0], step);
        accepted.id
    };
    for _ in 0..2 {
        record(Step::Failed { deactivate: None }).await;
    }
    let mut unrendered = Vec::new();
    for _ in 0..4 {
        unrendered.push(record(Step::Unrendered).await);
    }
    drop(opened);
    let opened = place.open(START_MS);
    for id in &unrendered {
        assert_eq!(opened.status(*id).await, Status::Failed);
    }
    let after = Arc::clone(opened.store.webhooks().get(webhook.id).expect("kept"));
    assert_eq!((after.health.values().failure_count, &after.activity), (2, &Activity::Active));
    // The dead-letter queue has them.
    let since = Timestamp::from_unix_ms(0);
    let mut recovered = 0;
    let mut next = Cursor::Start;
    while next != Cursor::Done {
        let page = opened.store.recover(webhook.id, since, next, Actor::Host).await.expect("recovered").expect("there");
        (recovered, next) = (recovered + page.deliveries, page.next);
    }
    assert_eq!(recovered, 6);
}

pub(crate) async fn deleting_a_webhook_cancels_what_waits_and_its_history_goes_with_it<S: Subject>() {
    let place = S::new();
    let opened = place.open(START_MS);
    let webhook = opened.webhook().await;
    let accepted = opened.post(event(None, 1)).await;
    let due = opened.due();
    opened.record(&webhook, &due[0], Step::Delivered);
    let waiting = opened.post(event(None, 1)).await;
    assert!(opened.store.delete_webhook(webhook.id, Actor::Host).await.expect("deleted"));
    assert!(!opened.store.delete_webhook(webhook.id, Actor::Host).await.expect("gone"));
    assert_eq!(opened.status(waiting.id).await, Status::Cancelled);
    assert_eq!(opened.status(accepted.id).await, Status::Delivered);
    assert!(!opened.store.sweep(kept(1000)).await.expect("swept"));
    let query = AttemptQuery { limit: 10, before: None, success: None, event_type: None };
    assert!(opened.store.attempts(webhook.id, query).await.expect("a page").attempts.is_empty());
}

pub(crate) async fn the_history_pages_backwards_and_knows_its_cursors<S: Subject>() {
    let place = S::new();
    let opened = place.open(START_MS);
    let webhook = opened.webhook().await;
    for number in 0..7 {
        opened.post(event(None, 1)).await;
        let due = opened.due();
        opened.record(
            &webhook,
            &due[0],
            if number % 2 == 0 { Step::Delivered } else { Step::Failed { deactivate: None } },
        );
    }
    let query = AttemptQuery { limit: 3, before: None, success: None, event_type: None };
    let mut before = None;
    let mut seen = Vec::new();
    loop {
        let page = opened.store.attempts(webhook.id, AttemptQuery { before, ..query }).await.expect("a page");
        before = page.attempts.last().map(|attempt| attempt.id);
        seen.extend(page.attempts);
        if !page.more {
            break;
        }
    }
    assert_eq!(seen.len(), 7);
    assert!(seen.windows(2).all(|pair| pair[0].id > pair[1].id), "newest first, each once");
    let failed = AttemptQuery { success: Some(false), limit: 10, ..query };
    assert_eq!(opened.store.attempts(webhook.id, failed).await.expect("a page").attempts.len(), 3);
    let tampered = AttemptQuery { before: Some(AttemptId::generate()), ..query };
    assert_eq!(opened.store.attempts(webhook.id, tampered).await, Err(AttemptsError::BadCursor));
}

pub(crate) async fn what_is_older_than_the_retention_is_removed<S: Subject>() {
    let place = S::new();
    let opened = place.open(START_MS);
    let webhook = opened.webhook().await;
    let old = opened.post(event(None, 1)).await;
    let due = opened.due();
    opened.record(&webhook, &due[0], Step::Delivered);
    opened.post(event(None, 1)).await;
    let _ = opened.due();
    opened.clock.0.fetch_add(100_000, Ordering::Relaxed);
    let young = opened.post(event(None, 1)).await;
    let _ = opened.due();
    assert!(!opened.store.sweep(kept(50)).await.expect("swept"));
    assert!(opened.store.event(old.id).await.expect("read").is_none());
    assert_eq!(opened.status(young.id).await, Status::Pending);
    opened.store.load_due(webhook.id, webhook.activation, None, 10);
    assert_eq!(opened.due().iter().map(|(_, item)| item.event).collect::<Vec<_>>(), [young.id]);
    let query = AttemptQuery { limit: 10, before: None, success: None, event_type: None };
    assert!(opened.store.attempts(webhook.id, query).await.expect("a page").attempts.is_empty());
}

pub(crate) async fn a_critical_finding_is_derived_with_its_own_deliveries<S: Subject>() {
    let place = S::new();
    let opened = place.open(START_MS);
    opened.webhook().await;
    let finding = NewEvent {
        event_type: EventType::FindingAdded,
        severity: Some(Severity::Critical),
        json: r#"{"type":"finding_added","data":{"finding":{"title":"x","severity":"critical"}}}"#.into(),
        ..event(Some(EventId::generate()), 1)
    };
    let token = TokenId::from_bytes([1; 16]);
    let accepted = opened.accept(token, None, vec![finding.clone()]).await.expect("accepted").remove(0);
    assert_eq!((accepted.deliveries, accepted.derived.len()), (2, 1));
    let view = opened.store.event(accepted.derived[0]).await.expect("read").expect("known");
    assert_eq!(view.event.caused_by, Some(accepted.id));
    assert_eq!((view.event.event_type, view.token), (EventType::CriticalFinding, token));
    let again = opened.accept(token, None, vec![finding]).await.expect("repeated").remove(0);
    assert_eq!(again, accepted);
}

pub(crate) async fn a_critical_finding_goes_once_to_a_webhook_that_asks_for_it<S: Subject>() {
    const BOTH: [EventType; 2] = [EventType::FindingAdded, EventType::CriticalFinding];
    let place = S::new();
    let opened = place.open(START_MS);
    let mut hooks = Vec::new();
    for (event_types, critical_once, active) in [
        (&BOTH[..], true, true),
        (&BOTH[..1], true, true),
        (&BOTH[1..], true, true),
        (&BOTH[..], false, true),
        (&BOTH[..], true, false),
    ] {
        let event_types = Subscription::Only(event_types.to_vec());
        let config = WebhookConfig { event_types, critical_once, ..config() };
        hooks.push(opened.store.create_webhook(config, active, Actor::Host).await.expect("created").id);
    }
    let finding = |severity: Severity| NewEvent {
        event_type: EventType::FindingAdded,
        severity: Some(severity),
        json: format!(
            r#"{{"type":"finding_added","data":{{"finding":{{"title":"x","severity":"{}"}}}}}}"#,
            severity.as_str()
        ),
        ..event(None, 0)
    };
    let takers = async |id: EventId| {
        let view = opened.store.event(id).await.expect("read").expect("kept");
        view.deliveries.iter().map(|delivery| delivery.webhook_id).collect::<Vec<_>>()
    };
    let [once, findings, criticals, twice, _] = <[WebhookId; 5]>::try_from(hooks).expect("five");
    let accepted = opened.post(finding(Severity::Critical)).await;
    assert_eq!(accepted.deliveries, 5, "one for the webhook that wants it once");
    assert_eq!(takers(accepted.id).await, [findings, twice], "who gets only the finding gets it");
    assert_eq!(takers(accepted.derived[0]).await, [once, criticals, twice]);
    assert_eq!(opened.store.event(accepted.id).await.expect("read").expect("kept").derived, accepted.derived);
    // Nothing is derived from these, and nothing is replaced.
    let high = opened.post(finding(Severity::High)).await;
    assert_eq!(takers(high.id).await, [once, findings, twice]);
    let posted = NewEvent { event_type: EventType::CriticalFinding, ..finding(Severity::Critical) };
    let posted = opened.post(posted).await;
    assert_eq!((takers(posted.id).await, posted.derived.len()), (vec![once, criticals, twice], 0));
}

pub(crate) async fn what_is_known_is_recognized_and_nothing_is_accepted<S: Subject>() {
    let place = S::new();
    let opened = place.open(START_MS);
    let webhook = opened.webhook().await;
    let (token, other) = (TokenId::from_bytes([1; 16]), TokenId::from_bytes([2; 16]));
    let recognize = async |token: TokenId, key: Option<u8>, events: &[NewEvent]| {
        let key = key.map(|digest| Idempotency { key: "k".into(), body_digest: [digest; 32] });
        opened.store.recognize(token, key.as_ref(), events, opened.clock.now()).await
    };
    let id = EventId::generate();
    let events = [event(Some(id), 1), event(None, 2), event(Some(id), 1)];
    assert_eq!(recognize(token, Some(1), &events).await, Ok(vec![None, None, None]));
    let kept = opened.store.search_events(EventSearch::all(10)).await.expect("a page").found;
    assert!(kept.is_empty(), "nothing is accepted: {kept:?}");
    assert_eq!(opened.store.backlog(&webhook), Backlog::default());

    let key = Some(Idempotency { key: "k".into(), body_digest: [1; 32] });
    let accepted = opened.accept(token, key, events.to_vec()).await.expect("the id and the key were not used up");
    let all: Vec<Option<Accepted>> = accepted.iter().cloned().map(Some).collect();
    assert_eq!(recognize(token, Some(1), &events).await, Ok(all), "by the key");
    assert_eq!(recognize(token, Some(2), &events).await, Err(AcceptError::KeyReused));
    let by_id = vec![Some(accepted[0].clone()), None, Some(accepted[2].clone())];
    assert_eq!(recognize(token, None, &events).await, Ok(by_id));
    assert_eq!(recognize(other, None, &events).await, Err(AcceptError::IdTaken { indexes: vec![0, 2] }));
    assert_eq!(recognize(token, None, &[event(Some(id), 9)]).await, Err(AcceptError::IdTaken { indexes: vec![0] }));
    let unlike = [event(Some(EventId::from_bytes([9; 16])), 1), event(Some(EventId::from_bytes([9; 16])), 2)];
    assert_eq!(recognize(token, None, &unlike).await, Err(AcceptError::IdTaken { indexes: vec![1] }));
    opened.clock.0.fetch_add(3_601_000, Ordering::Relaxed);
    assert_eq!(recognize(token, Some(2), &[event(None, 1)]).await, Ok(vec![None]), "the key has expired");
}

pub(crate) async fn an_entry_of_many_is_done_with_its_last_delivery<S: Subject>() {
    let place = S::new();
    let opened = place.open(START_MS);
    let webhook = opened.webhook().await;
    let events = (0..3).map(|_| event(None, 1)).collect();
    opened.accept(TokenId::from_bytes([1; 16]), None, events).await.expect("accepted");
    let due = opened.due();
    assert_eq!(due.len(), 3);
    assert!(due.iter().all(|(key, _)| *key == due[0].0), "one queue entry");
    let outcome =
        |item: &DueItem| Outcome::new(webhook.id, item.clone(), Some(attempt(item, true)), Step::Delivered, None);
    opened.store.record(vec![outcome(&due[1].1)]);
    opened.recorded();
    drop(opened);
    let opened = place.open(START_MS);
    opened.store.load_due(webhook.id, webhook.activation, None, 10);
    let left: Vec<DeliveryId> = opened.due().iter().map(|(_, item)| item.delivery).collect();
    assert_eq!(left, [due[0].1.delivery, due[2].1.delivery]);
}

pub(crate) async fn a_cut_attempt_waits_in_one_place_only<S: Subject>() {
    let place = S::new();
    let opened = place.open(START_MS);
    let webhook = opened.webhook().await;
    let events = (0..2).map(|_| event(None, 1)).collect();
    opened.accept(TokenId::from_bytes([1; 16]), None, events).await.expect("accepted");
    let due = opened.due();
    // One of an entry's two deliveries is cut by a shutdown; the entry stays for the other.
    let step = Step::Again { after: Duration::ZERO, counts: false };
    let outcome = Outcome::new(webhook.id, due[0].1.clone(), None, step, None);
    opened.store.record(vec![outcome]);
    opened.recorded();
    drop(opened);
    let opened = place.open(START_MS);
    opened.store.load_due(webhook.id, webhook.activation, None, 10);
    let mut waiting: Vec<DeliveryId> = opened.due().iter().map(|(_, item)| item.delivery).collect();
    waiting.sort();
    let mut expected = vec![due[0].1.delivery, due[1].1.delivery];
    expected.sort();
    assert_eq!(waiting, expected);
}

pub(crate) async fn retries_of_one_call_share_an_entry_by_group_and_wait<S: Subject>() {
    let place = S::new();
    let opened = place.open(START_MS);
    let webhook = opened.webhook().await;
    let events = (0..5).map(|_| event(None, 1)).collect();
    opened.accept(TokenId::from_bytes([1; 16]), None, events).await.expect("accepted");
    let due = opened.due();
    let pin = Pin { component: [1; 32], rendering: [2; 32] };
    let waits = [(0, 2000), (1, 2000), (0, 2000), (0, 3000), (1, 2000)];
    let outcomes = waits.iter().zip(&due).map(|((group, after_ms), (_, item))| Outcome {
        webhook: webhook.id,
        item: item.clone(),
        attempt: Some(attempt(item, false)),
        step: Step::Again { after: Duration::from_millis(*after_ms), counts: true },
        sent: Sent::Before(Some(pin)),
        group: *group,
        closes: None,
        probe: None,
    });
    opened.store.record(outcomes.collect());
    opened.recorded();
    drop(opened);
    let opened = place.open(START_MS);
    opened.store.load_due(webhook.id, webhook.activation, None, 10);
    let mut entries: BTreeMap<DueKey, Vec<DeliveryId>> = BTreeMap::new();
    for (key, item) in opened.due() {
        assert_eq!((item.attempt, item.sent), (2, Sent::Before(Some(pin))));
        entries.entry(key).or_default().push(item.delivery);
    }
    let found: Vec<_> = entries.into_iter().map(|(key, items)| (key.due_ms - START_MS, items)).collect();
    let delivery = |index: usize| due[index].1.delivery;
    assert_eq!(
        found,
        [(2000, vec![delivery(0), delivery(2)]), (2000, vec![delivery(1), delivery(4)]), (3000, vec![delivery(3)])]
    );
    let query = AttemptQuery { limit: 10, before: None, success: None, event_type: None };
    let page = opened.store.attempts(webhook.id, query).await.expect("a page");
    let mut next: Vec<_> = page.attempts.iter().filter_map(|attempt| attempt.next_attempt_at).collect();
    next.sort();
    let at = |ms: i64| Timestamp::from_unix_ms(START_MS + ms);
    assert_eq!(next, [at(2000), at(2000), at(2000), at(2000), at(3000)], "the store says when");
}

/// A webhook with a digest, and the changes that its first window leads to.
async fn collecting(opened: &Opened, over: u32) -> Arc<Webhook> {
    let digest = Digest { window_seconds: 60, over, bypass_severity: Some(Severity::High) };
    let config = WebhookConfig { batch: None, digest: Some(digest), ..config() };
    opened.store.create_webhook(config, true, Actor::Host).await.expect("created")
}

/// Has the store put together what waits; when the first was queued that still waits.
fn collect(opened: &Opened, webhook: &Webhook, closed: bool, busy: Vec<DueKey>) -> Option<i64> {
    opened.changes.lock().expect("not poisoned").try_iter().for_each(drop);
    opened.store.collect(webhook.id, webhook.activation, closed, busy);
    let changes = opened.changes.lock().expect("not poisoned");
    loop {
        let change = changes.recv_timeout(Duration::from_secs(10)).expect("a change");
        if let Change::Collected { webhook: id, activation, rest } = change {
            assert_eq!((id, activation), (webhook.id, webhook.activation));
            return rest.map(|rest| rest.since_ms);
        }
    }
}

/// A webhook's queue, entry by entry.
fn queue(opened: &Opened, webhook: &Webhook) -> Vec<(DueKey, Vec<DueItem>)> {
    opened.changes.lock().expect("not poisoned").try_iter().for_each(drop);
    opened.store.load_due(webhook.id, webhook.activation, None, 100_000);
    let mut entries: Vec<(DueKey, Vec<DueItem>)> = Vec::new();
    for (key, item) in opened.due() {
        match entries.last_mut() {
            Some((last, items)) if *last == key => items.push(item),
            _ => entries.push((key, vec![item])),
        }
    }
    entries
}

pub(crate) async fn a_closed_window_makes_a_message_that_is_the_same_after_reopening<S: Subject>() {
    let place = S::new();
    let opened = place.open(START_MS);
    let webhook = collecting(&opened, 3).await;
    let severe = NewEvent { severity: Some(Severity::Critical), ..event(None, 1) };
    let mut ids = Vec::new();
    for event in [event(None, 1), severe, event(None, 1)] {
        ids.push(opened.post(event).await.id);
    }
    opened.clock.0.fetch_add(1_000, Ordering::Relaxed);
    ids.push(opened.post(event(None, 1)).await.id);
    assert_eq!(opened.store.window_opened(&webhook), Ok(Some(START_MS)));
    let before = queue(&opened, &webhook);
    let alone: Vec<_> = before.iter().filter(|(_, items)| items[0].sent == Sent::Alone).collect();
    assert_eq!(alone.iter().map(|(_, items)| items[0].event).collect::<Vec<_>>(), [ids[1]], "{before:?}");

    // Three are not more than three. What is in flight is left out.
    let busy = before.iter().find(|(_, items)| items.iter().any(|item| item.event == ids[3])).expect("queued").0;
    assert_eq!(collect(&opened, &webhook, true, vec![busy]), None);
    let singles = queue(&opened, &webhook);
    let sent = |id: EventId| {
        let mut items = singles.iter().flat_map(|(_, items)| items);
        items.find(|item| item.event == id).expect("queued").sent
    };
    assert_eq!([0, 1, 2, 3].map(|index| sent(ids[index])), [Sent::Alone, Sent::Alone, Sent::Alone, Sent::Never]);
    assert_eq!(opened.store.window_opened(&webhook), Ok(Some(START_MS + 1_000)));

    let events = (0..3).map(|_| event(None, 1)).collect();
    let more = opened.accept(TokenId::from_bytes([1; 16]), None, events).await.expect("accepted");
    assert_eq!(collect(&opened, &webhook, false, Vec::new()), Some(START_MS + 1_000), "nothing is to be sorted");
    assert_eq!(collect(&opened, &webhook, true, Vec::new()), None);
    let message = queue(&opened, &webhook).pop().expect("the message");
    drop(opened);
    let opened = place.open(START_MS + 5_000);
    let again = queue(&opened, &webhook).pop().expect("the message");
    assert_eq!(again, message);
    let members: Vec<_> = std::iter::once(ids[3]).chain(more.iter().map(|one| one.id)).collect();
    assert_eq!(again.1.iter().map(|item| item.event).collect::<Vec<_>>(), members);
    let part = Part { number: 1, parts: 1, total: 4 };
    assert!(again.1.iter().all(|item| item.sent == Sent::Digest { part, pin: None } && item.attempt == 1));
    assert_eq!(opened.store.window_opened(&webhook), Ok(None));
    let backlog = opened.store.backlog(&webhook);
    assert_eq!(backlog.waiting, 7, "each delivery waits as before");
}

pub(crate) async fn what_was_recovered_waits_for_a_window_unless_its_severity_is_high<S: Subject>() {
    let place = S::new();
    let opened = place.open(START_MS);
    let webhook = collecting(&opened, 1).await;
    let json = r#"{"type":"finding_added","data":{"finding":{"title":"x","severity":"critical"}}}"#;
    let severity = Some(Severity::Critical);
    let severe = NewEvent { event_type: EventType::FindingVerified, severity, json: json.into(), ..event(None, 1) };
    let mut failed = Vec::new();
    for event in [event(None, 1), event(None, 1), severe] {
        opened.post(event).await;
    }
    for (key, items) in queue(&opened, &webhook) {
        for item in items {
            opened.record(&webhook, &(key, item.clone()), Step::Unrendered);
            failed.push(item.event);
        }
    }
    let since = Timestamp::from_unix_ms(0);
    let mut cursor = Cursor::Start;
    while cursor != Cursor::Done {
        let page = opened.store.recover(webhook.id, since, cursor, Actor::Host).await.expect("written");
        cursor = page.expect("known").next;
    }
    assert!(queue(&opened, &webhook).iter().flat_map(|(_, items)| items).all(|item| item.sent == Sent::Never));
    assert!(collect(&opened, &webhook, false, Vec::new()).is_some());
    let sorted = queue(&opened, &webhook);
    let alone: Vec<_> = sorted.iter().flat_map(|(_, items)| items).filter(|item| item.sent == Sent::Alone).collect();
    assert_eq!(alone.len(), 1, "{sorted:?}");
    assert_eq!(collect(&opened, &webhook, true, Vec::new()), None);
    let messages = queue(&opened, &webhook);
    let members = messages.iter().flat_map(|(_, items)| items).filter(|item| item.sent.part().is_some());
    assert_eq!(members.count(), 2, "{messages:?}");
}

pub(crate) async fn a_change_that_changes_nothing_is_none<S: Subject>() {
    let place = S::new();
    let opened = place.open(START_MS);
    let webhook = opened.webhook().await;
    let same = opened
        .store
        .update_webhook(webhook.id, webhook.revision, config(), Some(true), Actor::Host)
        .await
        .expect("written");
    let Updated::Done(same) = same else { panic!("{same:?}") };
    assert_eq!((same.revision, same.updated_at), (webhook.revision, webhook.updated_at));
}

/// A webhook that the breaker has switched off after three deliveries, a second apart, and the events of these.
async fn tripped(opened: &Opened, step: &Step) -> (Arc<Webhook>, Vec<EventId>) {
    let webhook = opened.webhook().await;
    let mut failed = Vec::new();
    for _ in 0..3 {
        opened.clock.0.fetch_add(1000, Ordering::Relaxed);
        failed.push(opened.post(event(None, 1)).await.id);
        let due = opened.due();
        opened.record(&webhook, &due[0], step.clone());
    }
    let webhook = Arc::clone(opened.store.webhooks().get(webhook.id).expect("kept"));
    assert!(webhook.activity.trip().is_some(), "{:?}", webhook.activity);
    (webhook, failed)
}

pub(crate) async fn probes_try_one_after_the_other_and_the_first_that_is_accepted_heals<S: Subject>() {
    let place = S::new();
    let opened = place.open(START_MS);
    let (webhook, failed) = tripped(&opened, &Step::Failed { deactivate: None }).await;
    opened.clock.0.fetch_add(1000, Ordering::Relaxed);
    let held = opened.post(event(None, 1)).await.id;
    let candidate = opened.candidate(webhook.id).expect("what failed");
    assert_eq!((candidate.item.event, candidate.item.attempt, candidate.origin), (failed[0], 2, Origin::Failed));
    opened.probe(&webhook, candidate, again(2000));
    let probes = |opened: &Opened| {
        let webhook = Arc::clone(opened.store.webhooks().get(webhook.id).expect("kept"));
        assert_eq!((webhook.health.values().failure_count, webhook.revision), (3, 2));
        webhook.activity.trip().expect("off").probing().expect("it is probed")
    };
    let before = probes(&opened);
    assert_eq!(before.made, 1);
    assert_eq!(opened.status(failed[0]).await, Status::Failed);
    drop(opened);
    let now = START_MS + 4000;
    let opened = place.open(now);
    assert_eq!(probes(&opened), before, "a restart does not forget the schedule");
    // The formatter fails on the second: it ends there, and the next is tried at once.
    let candidate = opened.candidate(webhook.id).expect("the second");
    assert_eq!(candidate.item.event, failed[1]);
    opened.probe(&webhook, candidate, Step::Unrendered);
    assert_eq!((probes(&opened).made, probes(&opened).next_ms), (1, now));
    let candidate = opened.candidate(webhook.id).expect("the third");
    assert_eq!(candidate.item.event, failed[2]);
    opened.probe(&webhook, candidate, Step::Failed { deactivate: None });
    // Now the held one; it is not its fault, and stays held.
    let candidate = opened.candidate(webhook.id).expect("what is held");
    assert_eq!((candidate.item.event, candidate.item.try_number()), (held, 1));
    opened.probe(&webhook, candidate, again(2000));
    assert_eq!(opened.status(held).await, Status::Held);
    // From the beginning again: two that failed and the held one are left.
    let candidate = opened.candidate(webhook.id).expect("the first again");
    assert_eq!((candidate.item.event, candidate.item.attempt), (failed[0], 3));
    opened.probe(&webhook, candidate, Step::Delivered);
    let on = opened.on(webhook.id);
    assert_eq!((on.health.values().failure_count, on.activation), (0, webhook.activation));
    for (event, status) in [
        (failed[0], Status::Delivered),
        (failed[1], Status::Failed),
        (failed[2], Status::Pending),
        (held, Status::Pending),
    ] {
        assert_eq!(opened.status(event).await, status);
    }
    drop(opened);
    let opened = place.open(now);
    opened.store.load_due(webhook.id, on.activation, None, 10);
    let due: Vec<_> =
        opened.due().iter().map(|(key, item)| (key.due_ms - START_MS, item.event, item.try_number())).collect();
    assert_eq!(due, [(3000, failed[2], 1), (4000, held, 1)], "in order of acceptance, with all their retries");
}

pub(crate) async fn a_webhook_of_a_destination_that_is_gone_is_not_probed<S: Subject>() {
    let place = S::new();
    let opened = place.open(START_MS);
    let webhook = opened.webhook().await;
    opened.post(event(None, 1)).await;
    let due = opened.due();
    opened.record(&webhook, &due[0], Step::Failed { deactivate: Some("it wants no more".into()) });
    drop(opened);
    let opened = place.open(START_MS);
    let off = Arc::clone(opened.store.webhooks().get(webhook.id).expect("kept"));
    assert_eq!(off.activity.trip().expect("off").probes, None);
    let other = WebhookConfig { url: DeliveryUrl::parse("https://other.example/").expect("a URL"), ..config() };
    let updated = opened.store.update_webhook(off.id, off.revision, other, None, Actor::Host).await.expect("written");
    let Updated::Done(updated) = updated else { panic!("{updated:?}") };
    assert_eq!(updated.activity.trip().expect("off").probes, None);
    assert_eq!(opened.candidate(webhook.id), None);
}

pub(crate) async fn host_events_go_to_other_webhooks_and_not_to_all<S: Subject>() {
    let place = S::new();
    let opened = place.open(START_MS);
    let host: Vec<_> = EventType::ALL.iter().copied().filter(|event_type| event_type.is_host()).collect();
    let ops = WebhookConfig { event_types: Subscription::Only(host), ..config() };
    let ops = opened.store.create_webhook(ops, true, Actor::Host).await.expect("created");
    let (webhook, _) = tripped_quietly(&opened).await;
    drop(opened);
    let opened = place.open(START_MS);
    opened.store.load_due(ops.id, ops.activation, None, 10);
    let mut told = Vec::new();
    for (_, item) in opened.due() {
        let view = opened.store.event(item.event).await.expect("read").expect("there");
        let to: Vec<_> = view.deliveries.iter().map(|delivery| delivery.webhook_id).collect();
        assert_eq!(to, [ops.id], "neither to the webhook that it is about nor to those of all events");
        assert!(view.event.json.contains(&webhook.id.to_string()), "{}", view.event.json);
        assert_eq!(view.token, TokenId::from_bytes([0; 16]));
        told.push(view.event.event_type);
    }
    told.sort();
    assert_eq!(
        told,
        [EventType::WebhookFailing, EventType::WebhookDisabled, EventType::DeliveryFailed, EventType::DeliveryFailed]
    );
}

/// A webhook that the breaker has switched off, beside others that may be told of it.
async fn tripped_quietly(opened: &Opened) -> (Arc<Webhook>, Vec<EventId>) {
    let webhook = opened.webhook().await;
    opened.webhook().await;
    let events: Vec<_> = (0..3).map(|_| event(None, 1)).collect();
    let accepted = opened.accept(TokenId::from_bytes([1; 16]), None, events).await.expect("accepted");
    let own: Vec<_> = opened.due().into_iter().filter(|(key, _)| key.webhook == webhook.id).collect();
    assert_eq!(own.len(), 3);
    for due in &own {
        opened.record(&webhook, due, Step::Failed { deactivate: None });
    }
    (webhook, accepted.into_iter().map(|one| one.id).collect())
}

pub(crate) async fn lists_over_everything_have_each_attempt_and_event_once<S: Subject>() {
    let place = S::new();
    let mut opened = place.open(START_MS);
    let webhooks = [opened.webhook().await, opened.webhook().await];
    let (mut posted, mut made) = (Vec::new(), Vec::new());
    for number in 0..20 {
        if number == 10 {
            drop(opened);
            opened = place.open(START_MS + 1_000);
        }
        let engagement_id = Some(if number % 3 == 0 { "eng-1" } else { "eng-2" }.to_owned());
        posted.insert(0, opened.post(NewEvent { engagement_id, ..event(None, number) }).await.id);
        for due in opened.due() {
            let webhook = webhooks.iter().find(|webhook| webhook.id == due.0.webhook).expect("one of the two");
            let step = if number % 2 == 0 { Step::Delivered } else { Step::Unrendered };
            opened.record(webhook, &due, step);
            made.insert(0, (webhook.id, due.1.delivery));
        }
    }
    let all =
        |found: &[FoundAttempt]| -> Vec<_> { found.iter().map(|one| (one.webhook, one.attempt.delivery_id)).collect() };
    let page = opened.store.search_attempts(AttemptSearch::all(100)).await.expect("a page");
    assert_eq!((all(&page.found), page.more, page.indexing), (made.clone(), false, Indexing::Whole));
    let failed = AttemptSearch { success: Some(false), limit: 15, ..AttemptSearch::all(0) };
    let first = opened.store.search_attempts(failed.clone()).await.expect("a page");
    assert_eq!((first.found.len(), first.more), (15, true));
    let start = Start::Before(first.found[14].attempt.id);
    let second = opened.store.search_attempts(AttemptSearch { start, ..failed }).await.expect("a page");
    assert_eq!((second.found.len(), second.more), (5, false));
    let of_one = AttemptSearch { webhook: Some(webhooks[0].id), event: Some(posted[3]), ..AttemptSearch::all(100) };
    let of_one = opened.store.search_attempts(of_one).await.expect("a page").found;
    assert_eq!((of_one.len(), of_one[0].attempt.event_id), (1, Some(posted[3])));

    let ids = |found: &[EventView]| found.iter().map(|view| view.event.id).collect::<Vec<_>>();
    // Beside them are the host's own, of what failed.
    let all = opened.store.search_events(EventSearch::all(100)).await.expect("a page").found;
    let (own, of_clients): (Vec<_>, Vec<_>) = all.into_iter().partition(|view| view.event.event_type.is_host());
    assert_eq!(ids(&of_clients), posted);
    assert!(!own.is_empty() && own.iter().all(|view| view.deliveries.is_empty()));
    let of_type = |limit| EventSearch { event_type: Some(EventType::PhaseChanged), ..EventSearch::all(limit) };
    let page = opened.store.search_events(of_type(100)).await.expect("a page");
    assert_eq!((ids(&page.found), page.more), (posted.clone(), false));
    let before = EventSearch { before: Some(posted[3]), ..of_type(4) };
    let page = opened.store.search_events(before).await.expect("a page");
    assert_eq!((ids(&page.found), page.more), (posted[4..8].to_vec(), true));
}

pub(crate) async fn what_waits_is_what_the_deliveries_say_also_after_reopening<S: Subject>() {
    let place = S::new();
    let opened = place.open(START_MS);
    let webhook = opened.webhook().await;
    let mut due = Vec::new();
    for number in 0..6 {
        opened.clock.0.fetch_add(1_000, Ordering::Relaxed);
        opened.post(event(None, number)).await;
        due.extend(opened.due());
    }
    let at = |ms: i64| Some(Timestamp::from_unix_ms(START_MS + ms));
    let backlog = |opened: &Opened| opened.store.backlog(opened.store.webhooks().get(webhook.id).expect("there"));
    assert_eq!(backlog(&opened), Backlog { waiting: 6, held: 0, oldest_waiting_at: at(1_000) });
    opened.record(&webhook, &due[0], Step::Delivered);
    opened.record(&webhook, &due[1], Step::Skipped);
    opened.record(&webhook, &due[2], again(60_000));
    assert_eq!(backlog(&opened), Backlog { waiting: 4, held: 0, oldest_waiting_at: at(3_000) });
    // The test's breaker trips at the third failure in a row.
    for failing in &due[3..6] {
        opened.record(&webhook, failing, Step::Failed { deactivate: None });
    }
    assert_eq!(backlog(&opened), Backlog { waiting: 0, held: 1, oldest_waiting_at: at(3_000) });
    opened.post(event(None, 7)).await;
    let off = Backlog { waiting: 0, held: 2, oldest_waiting_at: at(3_000) };
    assert_eq!(backlog(&opened), off);
    drop(opened);
    let opened = place.open(START_MS + 10_000);
    assert_eq!(backlog(&opened), off);
    let mut cursor = Cursor::Start;
    while cursor != Cursor::Done {
        let page = opened.store.recover(webhook.id, Timestamp::from_unix_ms(0), cursor, Actor::Host).await;
        cursor = page.expect("written").expect("known").next;
    }
    assert_eq!(backlog(&opened), Backlog { held: 5, ..off }, "what failed waits too");
    let revision = opened.store.webhooks().get(webhook.id).expect("there").revision;
    let on = opened.store.update_webhook(webhook.id, revision, config(), Some(true), Actor::Host).await;
    assert!(matches!(on, Ok(Updated::Done(_))), "{on:?}");
    assert_eq!(backlog(&opened), Backlog { waiting: 5, held: 0, oldest_waiting_at: at(3_000) });
    opened.clock.0.fetch_add(10_000_000, Ordering::Relaxed);
    assert!(!opened.store.sweep(kept(1_000)).await.expect("swept"));
    assert_eq!(backlog(&opened), Backlog::default(), "what is too old waits no more");
}
