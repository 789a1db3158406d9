//! Healing page by page, through crashes.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::inline::open_inline;
use crate::model::delivery::{Status, Step};
use crate::model::id::{EventId, TokenId, WebhookId};
use crate::store::conformance::{Opened, START_MS, again, attempt, event, folder_in_memory};
use crate::store::{DueItem, DueKey, Outcome};

/// Posts so many events in one commit, a second after the ones before; their deliveries.
async fn post(opened: &Opened, count: usize) -> Vec<(DueKey, DueItem)> {
    opened.clock.0.fetch_add(1000, Ordering::Relaxed);
    // Those of before are not of these.
    opened.changes.lock().expect("not poisoned").try_iter().for_each(drop);
    let events = (0..count).map(|_| event(None, 1)).collect();
    opened.accept(TokenId::from_bytes([1; 16]), None, events).await.expect("accepted");
    opened.due()
}

fn record(opened: &Opened, webhook: WebhookId, item: &DueItem, step: Step, closes: Option<DueKey>) {
    let attempt = Some(attempt(item, step == Step::Delivered));
    opened.store.record(vec![Outcome::new(webhook, item.clone(), attempt, step, closes)]);
    opened.store.tick();
}

/// Every delivery that is queued for a webhook, in order.
fn queue(opened: &Opened, webhook: WebhookId, activation: u32) -> Vec<(DueKey, DueItem)> {
    let mut all: Vec<(DueKey, DueItem)> = Vec::new();
    // Changes of before the load.
    opened.changes.lock().expect("not poisoned").try_iter().for_each(drop);
    loop {
        opened.store.load_due(webhook, activation, all.last().map(|(key, _)| *key), 256);
        let page = opened.due();
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

/// A webhook with a long queue, of which a part waits for retries, heals; the process is killed after so many turns.
async fn heals_through_a_crash_after(turns: usize) {
    let folder = folder_in_memory();
    let opened = open_inline(folder.path(), START_MS);
    let webhook = opened.webhook().await;
    let mut accepted: HashMap<EventId, i64> = HashMap::new();
    let mut all = Vec::new();
    for _ in 0..6 {
        let due = post(&opened, 100).await;
        accepted.extend(due.iter().map(|(key, item)| (item.event, key.due_ms)));
        all.extend(due);
    }
    // Every fourth waits for a retry, the first three fail for good.
    for (number, (_, item)) in all.iter().enumerate() {
        if number % 4 == 3 {
            let wait = u64::try_from((number * 7919) % 1_000_000).expect("small");
            record(&opened, webhook.id, item, again(wait), None);
        } else if number < 3 {
            record(&opened, webhook.id, item, Step::Failed { deactivate: None }, None);
        }
    }
    let off = Arc::clone(opened.store.webhooks().get(webhook.id).expect("kept"));
    assert!(!off.activity.is_active());
    for _ in 0..6 {
        let due = post(&opened, 100).await;
        accepted.extend(due.iter().map(|(key, item)| (item.event, key.due_ms)));
    }
    let candidate = opened.candidate(webhook.id).expect("what failed");
    let probed = candidate.item.event;
    let attempt = Some(attempt(&candidate.item, true));
    let outcome = Outcome::new(webhook.id, candidate.item, attempt, Step::Delivered, None);
    opened.store.record(vec![Outcome { probe: Some(candidate.origin), ..outcome }]);
    (0..turns).for_each(|_| opened.store.tick());
    opened.store.crash();
    drop(opened);

    let opened = open_inline(folder.path(), START_MS + 100_000);
    for _ in 0..20 {
        opened.store.tick();
    }
    let on = Arc::clone(opened.store.webhooks().get(webhook.id).expect("kept"));
    assert!(on.activity.is_active(), "after {turns} turns: {:?}", on.activity);
    assert_eq!((on.activation, on.health.values().failure_count), (webhook.activation, 0));
    let queued = queue(&opened, webhook.id, on.activation);
    assert_eq!(queued.len(), 1199, "everything but the probe, each once");
    let order: Vec<i64> = queued.iter().map(|(_, item)| accepted[&item.event]).collect();
    assert!(order.is_sorted(), "in order of acceptance");
    assert!(queued.iter().all(|(_, item)| item.try_number() == 1 && item.event != probed));
    for (event, _) in accepted {
        let expected = if event == probed { Status::Delivered } else { Status::Pending };
        assert_eq!(opened.status(event).await, expected);
    }
    assert_eq!(opened.store.damaged_records(), 0);
}

#[tokio::test]
async fn a_webhook_that_heals_goes_on_healing_after_a_crash() {
    for turns in [0, 1, 2, 3, 20] {
        heals_through_a_crash_after(turns).await;
    }
}

/// What an admin left held, and what was recovered while the webhook was off, goes out too.
#[tokio::test]
async fn what_is_held_for_another_reason_goes_out_as_well() {
    let folder = folder_in_memory();
    let opened = open_inline(folder.path(), START_MS);
    let webhook = opened.webhook().await;
    let left = post(&opened, 3).await;
    // Switched off and on by an admin: these are held from then on.
    let config = || crate::store::conformance::config();
    let mut revision = webhook.revision;
    for switch in [false, true] {
        let by = crate::model::audit::Actor::Host;
        let updated = opened.store.update_webhook(webhook.id, revision, config(), Some(switch), by).await;
        assert!(updated.is_ok());
        revision = opened.store.webhooks().get(webhook.id).expect("kept").revision;
    }
    opened.changes.lock().expect("not poisoned").try_iter().for_each(drop);
    let failed = post(&opened, 3).await;
    for (_, item) in &failed {
        record(&opened, webhook.id, item, Step::Failed { deactivate: None }, None);
    }
    opened.changes.lock().expect("not poisoned").try_iter().for_each(drop);
    // An admin asks for what failed, and leaves the webhook off.
    let since = crate::model::time::Timestamp::from_unix_ms(0);
    let mut cursor = crate::store::Cursor::Start;
    while cursor != crate::store::Cursor::Done {
        let by = crate::model::audit::Actor::Host;
        cursor = opened.store.recover(webhook.id, since, cursor, by).await.expect("written").expect("there").next;
    }
    let held = post(&opened, 1).await;
    let candidate = opened.candidate(webhook.id).expect("what is held");
    let probed = candidate.item.event;
    opened.probe(&webhook, candidate, Step::Delivered);
    (0..10).for_each(|_| opened.store.tick());
    let on = opened.on(webhook.id);
    let queued: Vec<_> = queue(&opened, webhook.id, on.activation).into_iter().map(|(_, item)| item.event).collect();
    let expected = left.iter().chain(&failed).chain(&held).map(|(_, item)| item.event).filter(|event| *event != probed);
    assert_eq!(queued, expected.collect::<Vec<_>>());
}

/// What failed for good before the webhook healed and fails again does not count again; what was held counts.
#[tokio::test]
async fn what_failed_before_a_webhook_healed_counts_once() {
    let folder = folder_in_memory();
    let opened = open_inline(folder.path(), START_MS);
    let webhook = opened.webhook().await;
    let failed = Step::Failed { deactivate: None };
    for (_, item) in &post(&opened, 3).await {
        record(&opened, webhook.id, item, failed.clone(), None);
    }
    post(&opened, 3).await;
    opened.changes.lock().expect("not poisoned").try_iter().for_each(drop);
    let candidate = opened.candidate(webhook.id).expect("what failed");
    opened.probe(&webhook, candidate, Step::Delivered);
    (0..10).for_each(|_| opened.store.tick());
    let on = opened.on(webhook.id);
    let failures =
        |opened: &Opened| opened.store.webhooks().get(webhook.id).expect("kept").health.values().failure_count;
    let queued: Vec<DueItem> = queue(&opened, webhook.id, on.activation).into_iter().map(|(_, item)| item).collect();
    assert_eq!(queued.iter().map(|item| item.has_failed).collect::<Vec<_>>(), [true, true, false, false, false]);
    // Through a retry, too.
    record(&opened, webhook.id, &queued[0], again(10), None);
    let retried =
        queue(&opened, webhook.id, on.activation).into_iter().find(|(_, item)| item.attempt > queued[0].attempt);
    record(&opened, webhook.id, &retried.expect("queued again").1, failed.clone(), None);
    record(&opened, webhook.id, &queued[1], failed.clone(), None);
    assert_eq!(failures(&opened), 0);
    record(&opened, webhook.id, &queued[2], failed.clone(), None);
    assert_eq!(failures(&opened), 1);
    // An operator's `recover` is a new beginning.
    let since = crate::model::time::Timestamp::from_unix_ms(0);
    let mut cursor = crate::store::Cursor::Start;
    while cursor != crate::store::Cursor::Done {
        let by = crate::model::audit::Actor::Host;
        cursor = opened.store.recover(webhook.id, since, cursor, by).await.expect("written").expect("there").next;
    }
    let queued = queue(&opened, webhook.id, on.activation);
    assert!(!queued.is_empty() && queued.iter().all(|(_, item)| !item.has_failed));
}
