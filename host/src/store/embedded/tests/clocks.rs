//! Wall clocks that stand anywhere and jump both ways, while a store is open and between two openings.

use super::inline::open_inline;
use super::*;
use crate::store::embedded::txn::Txn;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;
const YEAR_MS: i64 = 365 * DAY_MS;
/// 1969, 1970, 1970, the end of the year 9999, and beyond all of them.
const CLOCKS: [i64; 6] = [-YEAR_MS, 0, 1, 253_402_300_799_999, i64::MIN, i64::MAX];

/// Sets the wall clock, as an operator or NTP does: the steady clock goes on.
fn set(opened: &Opened, wall: i64) {
    opened.clock.1.store(wall.saturating_sub(opened.clock.0.load(Ordering::Relaxed)), Ordering::Relaxed);
}

/// Lets time pass on both clocks.
fn pass(opened: &Opened, ms: i64) {
    opened.clock.0.fetch_add(ms, Ordering::Relaxed);
}

fn key(name: &str) -> Option<Idempotency> {
    Some(Idempotency { key: name.into(), body_digest: [1; 32] })
}

/// Does one of everything that has a time in it.
async fn live(opened: &Opened, name: &str) {
    let store = &opened.store;
    let webhook = opened.webhook().await;
    let token = TokenId::from_bytes([1; 16]);
    let first = opened.accept(token, key(name), vec![event(None, 1)]).await.expect("accepted");
    let again_answered = opened.accept(token, key(name), vec![event(None, 1)]).await.expect("accepted");
    assert_eq!(first, again_answered, "the key is known");
    let due = loop {
        let due = opened.due();
        if let Some(one) = due.into_iter().find(|(key, _)| key.webhook == webhook.id) {
            break one;
        }
    };
    let outcome = Outcome::new(webhook.id, due.1.clone(), Some(attempt(&due.1, false)), again(2000), Some(due.0));
    store.record(vec![outcome]);
    store.tick();
    let view = store.event(first[0].id).await.expect("read").expect("kept");
    assert!(serde_json::to_string(&view.event.accepted_at).expect("written").len() > 20);
    assert!(view.deliveries.iter().all(|delivery| delivery.status == Status::Pending));
    store.rotate_secret(webhook.id, Secret::new("new"), Duration::from_secs(3600), Actor::Host).await.expect("rotated");
    store.redeliver(webhook.id, due.1.delivery, Actor::Host).await.expect("written").expect("found");
    let since = Timestamp::from_unix_ms(0);
    store.recover(webhook.id, since, Cursor::Start, Actor::Host).await.expect("written").expect("a webhook");
    store.create_token(name.into(), Role::Ingest, Actor::Host).await.expect("a token");
    while store.sweep(kept(90 * 24 * 3600)).await.expect("swept") {}
    assert!(store.event(first[0].id).await.expect("read").is_some(), "nothing expires at once");
    let (entries, _) = store.audit_page(10_000, None).await.expect("read").expect("a page");
    assert!(entries.windows(2).all(|pair| pair[0].sequence == pair[1].sequence + 1), "the audit log is in order");
    store.delete_webhook(webhook.id, Actor::Host).await.expect("deleted");
}

#[tokio::test]
async fn a_store_lives_at_every_time_that_a_machine_may_claim() {
    for (number, at) in CLOCKS.into_iter().enumerate() {
        let folder = folder_in_memory();
        // The machine's clock is clamped like this before anything sees it.
        let opened = open_inline(folder.path(), at.clamp(0, 253_402_300_799_999));
        live(&opened, "start").await;
        for other in CLOCKS {
            set(&opened, other);
            live(&opened, &format!("{number} {other}")).await;
        }
        opened.store.close();
        assert_eq!(opened.store.damaged_records(), 0);
        drop(opened);
        let report = Maintenance::open(folder.path(), None).expect("opened").check().expect("read");
        assert!(report.is_clean(), "{at}: {report:?}");
    }
}

#[tokio::test]
async fn a_clock_that_is_far_off_for_a_while_removes_nothing() {
    for wrong in CLOCKS {
        let folder = folder_in_memory();
        let opened = open_inline(folder.path(), START_MS);
        let webhook = opened.webhook().await;
        let pending = opened.post(event(None, 1)).await;
        let due = opened.due();
        let (key, item) = due[0].clone();
        let attempt = Some(attempt(&item, false));
        opened.store.record(vec![Outcome::new(webhook.id, item, attempt, again(1000), Some(key))]);
        opened.store.tick();
        let _ = opened.due();
        let keep = kept(24 * 3600);
        for _ in 0..3 {
            pass(&opened, 60_000);
            assert!(!opened.store.sweep(keep).await.expect("swept"));
            assert!(opened.store.trusts_clock());
        }
        set(&opened, wrong);
        for _ in 0..100 {
            pass(&opened, 60_000);
            assert!(!opened.store.sweep(keep).await.expect("swept"));
            assert!(!opened.store.trusts_clock());
        }
        opened.clock.1.store(0, Ordering::Relaxed);
        pass(&opened, 60_000);
        assert!(!opened.store.sweep(keep).await.expect("swept"));
        assert_eq!(opened.status(pending.id).await, Status::Pending);
        opened.store.load_due(webhook.id, webhook.activation, None, 10);
        assert_eq!(opened.due().len(), 1, "it is still queued");
        let query = AttemptQuery { limit: 10, before: None, success: None, event_type: None };
        assert_eq!(opened.store.attempts(webhook.id, query).await.expect("a page").attempts.len(), 1);
        // A day later the clock is believed, and what is old by it goes.
        pass(&opened, DAY_MS);
        assert!(!opened.store.sweep(keep).await.expect("swept"));
        assert!(opened.store.trusts_clock());
        assert!(opened.store.event(pending.id).await.expect("read").is_none());
    }
}

#[tokio::test]
async fn a_start_with_a_clock_far_ahead_removes_nothing_for_a_day() {
    // The first process has swept, the second is of before there was a record of the clock.
    for swept in [true, false] {
        let folder = folder_in_memory();
        let opened = open_inline(folder.path(), START_MS);
        let old = opened.post(event(None, 1)).await;
        if swept {
            assert!(!opened.store.sweep(kept(3600)).await.expect("swept"));
        }
        drop(opened);
        let opened = open_inline(folder.path(), START_MS + YEAR_MS);
        assert!(!opened.store.sweep(kept(3600)).await.expect("swept"));
        assert!(opened.store.event(old.id).await.expect("read").is_some());
        drop(opened);
        // A second start does not make the clock better.
        let opened = open_inline(folder.path(), START_MS + YEAR_MS + 60_000);
        assert!(!opened.store.sweep(kept(3600)).await.expect("swept"));
        assert!(opened.store.event(old.id).await.expect("read").is_some());
        pass(&opened, DAY_MS);
        assert!(!opened.store.sweep(kept(3600)).await.expect("swept"));
        assert!(opened.store.event(old.id).await.expect("read").is_none());
    }
}

#[tokio::test]
async fn limits_by_count_hold_while_the_clock_is_not_believed() {
    let folder = folder_in_memory();
    let opened = open_inline(folder.path(), START_MS);
    for _ in 0..5 {
        opened.post(event(None, 1)).await;
    }
    assert!(!opened.store.sweep(kept(3600)).await.expect("swept"));
    set(&opened, i64::MAX);
    let few = Retention { max_events: 2, ..kept(3600) };
    assert!(!opened.store.sweep(few).await.expect("swept"));
    drop(opened);
    let report = Maintenance::open(folder.path(), None).expect("opened").check().expect("read");
    let events = report.kinds.iter().find(|kind| kind.kind == "events").expect("a kind");
    assert_eq!((events.records, report.is_clean()), (2, true));
}

#[tokio::test]
async fn an_idempotency_key_of_a_clock_far_ahead_does_not_stay_for_ever() {
    let folder = folder_in_memory();
    let opened = open_inline(folder.path(), START_MS);
    let token = TokenId::from_bytes([1; 16]);
    set(&opened, i64::MAX);
    opened.accept(token, key("ahead"), vec![event(None, 1)]).await.expect("accepted");
    opened.clock.1.store(0, Ordering::Relaxed);
    let right = opened.accept(token, key("right"), vec![event(None, 1)]).await.expect("accepted");
    let keys = |opened: &Opened| {
        let mut found = 0;
        for tag in [keys::IDEMPOTENCY, keys::EXPIRY] {
            let scanned = opened.store.engine.engine.scan_prefix(&[tag], None, |_, _| {
                found += 1;
                true
            });
            scanned.expect("read");
        }
        found
    };
    assert_eq!(keys(&opened), 4);
    // The clock kept its course, as far as the sweeps know.
    assert!(!opened.store.sweep(kept(90 * 24 * 3600)).await.expect("swept"));
    assert_eq!(keys(&opened), 2);
    assert_eq!(opened.accept(token, key("right"), vec![event(None, 1)]).await.expect("accepted"), right);
}

#[tokio::test]
async fn events_are_missing_only_if_they_are_gone_whatever_the_clock_says() {
    for later in [-10_000, -1, 0, 10_000, -YEAR_MS, YEAR_MS, -START_MS, 300_000_000_000_000] {
        for gone in [0_u64, 2] {
            let folder = folder_in_memory();
            let opened = open_inline(folder.path(), START_MS);
            let mut events = Vec::new();
            for number in 0..10 {
                pass(&opened, 1000);
                events.push(opened.post(event(None, number)).await.id);
            }
            opened.store.close();
            drop(opened);
            {
                let engine = engine::Engine::open(&folder.path().join("store"), 1 << 20).expect("opened");
                let mut txn = Txn::default();
                events.iter().take(usize::try_from(gone).expect("few")).for_each(|id| txn.remove(keys::event(*id)));
                engine.commit(&[&txn]).expect("written");
            }
            let opened = open_inline(folder.path(), START_MS + 10_000 + later);
            // Those of this process are not among those from before it.
            for number in 0..5 {
                opened.post(event(None, number)).await;
            }
            set(&opened, START_MS);
            opened.post(event(None, 9)).await;
            assert_eq!(opened.store.missing_events().await, Ok(gone), "the clock {later} ms later");
            assert_eq!(opened.store.damaged_records(), gone);
            // Once it is known, events are no longer noted.
            opened.post(event(None, 9)).await;
            drop(opened);
            let report = Maintenance::open(folder.path(), None).expect("opened").check().expect("read");
            assert_eq!((report.missing.events, report.is_clean()), (gone, gone == 0));
        }
    }
}
