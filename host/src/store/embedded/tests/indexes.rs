//! The indexes beside what they are made of: after every change of the store's form, and while commits join their rows.

use std::io::Cursor;

use super::*;
use crate::store::embedded::engine::Engine;
use crate::store::embedded::txn::Txn;
use crate::store::{AttemptSearch, AttemptsError, EventSearch, Indexing, Maintenance, Start, import};

/// Changes the form of a store that nobody has open, and nothing in it.
pub(super) fn transform(folder: &Path, number: u8, now_ms: i64) {
    let now = Timestamp::from_unix_ms(now_ms);
    match number % 3 {
        0 => {
            let report = Maintenance::open(folder, None).expect("opened").check().expect("read");
            assert!(report.indexes.is_empty(), "{report:?}");
            let broken = break_index(&folder.join("store"), number);
            let maintenance = Maintenance::open(folder, None).expect("opened");
            assert_eq!(maintenance.check().expect("read").is_clean(), !broken);
            maintenance.repair(now).expect("repaired");
        }
        1 => {
            let maintenance = Maintenance::open(folder, None).expect("opened");
            let mut lines = Vec::new();
            maintenance
                .export(&[], now, &mut |line| {
                    lines.extend(line);
                    true
                })
                .expect("exported");
            drop(maintenance);
            std::fs::remove_dir_all(folder.join("store")).expect("removed");
            import(folder, None, now, false, &mut Cursor::new(lines)).expect("imported");
        }
        _ => make_format_4(folder),
    }
    if number % 3 < 2 {
        let report = Maintenance::open(folder, None).expect("opened").check().expect("read");
        assert!(report.indexes.is_empty(), "{report:?}");
    }
}

/// Removes or damages a record of an index; false if there is none.
fn break_index(store: &Path, number: u8) -> bool {
    let engine = Engine::open(store, 1 << 20).expect("opened");
    let mut records = Vec::new();
    for tag in [keys::RECENT, keys::BLOCK] {
        engine
            .scan_prefix(&[tag], None, |key, value| {
                records.push((key.to_vec(), value.to_vec()));
                true
            })
            .expect("read");
    }
    if records.is_empty() {
        return false;
    }
    let (key, mut value) = records.swap_remove(usize::from(number) % records.len());
    let mut txn = Txn::default();
    if number.is_multiple_of(2) {
        txn.remove(key);
    } else {
        let last = value.len() - 1;
        value[last] ^= 1;
        txn.put(key, value);
    }
    engine.commit(&[&txn]).expect("broken");
    true
}

/// What a store of before format 5 has: no index, and counters that do not know what waits.
pub(super) fn make_format_4(folder: &Path) {
    let engine = Engine::open(&folder.join("store"), 1 << 20).expect("opened");
    let mut txn = Txn::default();
    for tag in [keys::RECENT, keys::BLOCK] {
        engine
            .scan_prefix(&[tag], None, |key, _| {
                txn.remove(key.to_vec());
                true
            })
            .expect("read");
    }
    engine
        .scan_prefix(&[keys::COUNTERS], None, |key, value| {
            let counters = record::Counters::unpack(value).expect("intact");
            txn.put(key.to_vec(), record::pack(&(counters.health, counters.attempts)));
            true
        })
        .expect("read");
    txn.put(keys::meta(keys::SCHEMA_NAME), record::pack(&4_u32));
    engine.commit(&[&txn]).expect("written");
}

/// The ids of a page of attempts, in its order, and how much of the store it could see.
async fn page(opened: &Opened, start: Start<AttemptId>, limit: usize) -> (Vec<AttemptId>, Indexing) {
    let search = AttemptSearch { start, ..AttemptSearch::all(limit) };
    let page = opened.store.search_attempts(search).await.expect("a page");
    (page.found.into_iter().map(|found| found.attempt.id).collect(), page.indexing)
}

async fn everything(opened: &Opened) -> Vec<AttemptId> {
    page(opened, Start::Newest, 10_000).await.0
}

/// Posts an event and delivers it: one commit each.
async fn deliver(opened: &Opened, webhook: &Webhook) -> EventId {
    let accepted = opened.post(event(None, 1)).await;
    let due = opened.due();
    let outcome = Outcome::new(webhook.id, due[0].1.clone(), Some(attempt(&due[0].1, true)), Step::Delivered, None);
    opened.store.record(vec![outcome]);
    opened.store.tick();
    accepted.id
}

#[tokio::test]
async fn pages_have_no_gaps_and_no_doubles_while_rows_come_and_are_joined() {
    let folder = folder_in_memory();
    let opened = inline::open_inline(folder.path(), START_MS);
    let webhook = opened.webhook().await;
    let mut posted = Vec::new();
    for _ in 0..30 {
        posted.push(deliver(&opened, &webhook).await);
    }
    let mut before = everything(&opened).await;
    assert_eq!(before.len(), 30);
    let (mut seen, mut events) = (Vec::new(), Vec::new());
    let (mut start, mut search) = (Start::Newest, EventSearch::all(2));
    loop {
        let (found, _) = page(&opened, start, 2).await;
        let Some(last) = found.last() else { break };
        start = Start::Before(*last);
        seen.extend(found);
        let found = opened.store.search_events(search.clone()).await.expect("a page").found;
        search.before = found.last().map(|view| view.event.id);
        events.extend(found.into_iter().map(|view| view.event.id));
        // The next page meets another tail, and other blocks.
        deliver(&opened, &webhook).await;
    }
    assert_eq!(seen, before);
    assert_eq!(events, posted.into_iter().rev().collect::<Vec<_>>());

    let (mut start, mut forward) = (Start::After(*before.last().expect("some")), Vec::new());
    for _ in 0..60 {
        let (found, _) = page(&opened, start, 3).await;
        let Some(last) = found.last() else { break };
        start = Start::After(*last);
        forward.extend(found);
        deliver(&opened, &webhook).await;
    }
    let now = everything(&opened).await;
    before.reverse();
    assert!(forward.len() > 60, "it catches up with what comes");
    let oldest_first: Vec<_> = now.into_iter().rev().skip(1).collect();
    assert_eq!(forward, oldest_first[..forward.len()]);
}

#[tokio::test]
async fn a_cursor_is_the_id_of_something_that_is_listed() {
    let folder = folder_in_memory();
    let opened = inline::open_inline(folder.path(), START_MS);
    let webhook = opened.webhook().await;
    deliver(&opened, &webhook).await;
    let unknown = AttemptSearch { start: Start::Before(AttemptId::generate()), ..AttemptSearch::all(5) };
    assert_eq!(opened.store.search_attempts(unknown).await.expect_err("no cursor"), AttemptsError::BadCursor);
    let unknown = EventSearch { before: Some(EventId::generate()), ..EventSearch::all(5) };
    assert_eq!(opened.store.search_events(unknown).await.expect_err("no cursor"), AttemptsError::BadCursor);
    // Reading forward goes on when the attempt that was last is gone with its webhook.
    let last = everything(&opened).await[0];
    assert!(opened.store.delete_webhook(webhook.id, Actor::Host).await.expect("deleted"));
    assert_eq!(everything(&opened).await, []);
    let webhook = opened.webhook().await;
    deliver(&opened, &webhook).await;
    assert_eq!(page(&opened, Start::After(last), 5).await.0.len(), 1);
    assert!(!opened.store.sweep(kept(1_000_000)).await.expect("swept"));
    assert_eq!(page(&opened, Start::After(last), 5).await.0.len(), 1);
}

#[tokio::test]
async fn a_store_of_format_4_is_indexed_while_it_serves_however_often_it_is_killed() {
    let folder = folder_in_memory();
    let opened = inline::open_inline(folder.path(), START_MS);
    let webhook = opened.webhook().await;
    for _ in 0..40 {
        deliver(&opened, &webhook).await;
    }
    let before = everything(&opened).await;
    drop(opened);
    make_format_4(folder.path());

    let opened = inline::open_inline(folder.path(), START_MS);
    assert_eq!(page(&opened, Start::Newest, 100).await, (Vec::new(), Indexing::Since(None)));
    deliver(&opened, &webhook).await;
    let young = everything(&opened).await;
    assert_eq!(young.len(), 1, "what is new is there at once");
    let mut opened = opened;
    let mut lives = 0;
    // A life for each block.
    while opened.store.index_more().await.expect("indexed").is_some() {
        lives += 1;
        let found = everything(&opened).await;
        assert_eq!(found[0], young[0]);
        assert_eq!(found[1..], before[..found.len() - 1], "the newest first");
        opened.store.crash();
        drop(opened);
        opened = inline::open_inline(folder.path(), START_MS);
    }
    assert!(lives > 6, "{lives}");
    let all = [young, before].concat();
    assert_eq!(page(&opened, Start::Newest, 100).await, (all, Indexing::Whole));
    let events = opened.store.search_events(EventSearch::all(100)).await.expect("a page");
    assert_eq!((events.found.len(), events.indexing), (41, Indexing::Whole));
    opened.store.close();
    drop(opened);
    let report = Maintenance::open(folder.path(), None).expect("opened").check().expect("read");
    assert!(report.is_clean(), "{report:?}");
}

#[tokio::test]
async fn a_deleted_webhook_goes_from_many_blocks_a_few_at_a_time() {
    let folder = folder_in_memory();
    let opened = inline::open_inline(folder.path(), START_MS);
    let (deleted, kept_on) = (opened.webhook().await, opened.webhook().await);
    for _ in 0..200 {
        opened.post(event(None, 1)).await;
        for (key, item) in opened.due() {
            let attempt = Some(attempt(&item, true));
            opened.store.record(vec![Outcome::new(key.webhook, item, attempt, Step::Delivered, Some(key))]);
        }
        opened.store.tick();
    }
    let before = everything(&opened).await;
    assert!(opened.store.delete_webhook(deleted.id, Actor::Host).await.expect("deleted"));
    let after = everything(&opened).await;
    assert_eq!((before.len(), after.len()), (400, 200), "it is not listed any more");
    let mut pages = 1;
    while opened.store.sweep(kept(1_000_000)).await.expect("swept") {
        pages += 1;
        assert_eq!(everything(&opened).await, after);
    }
    assert!(pages > 1, "{pages}");
    assert_eq!(everything(&opened).await, after);
    let of_one = AttemptSearch { webhook: Some(kept_on.id), ..AttemptSearch::all(10_000) };
    assert_eq!(opened.store.search_attempts(of_one).await.expect("a page").found.len(), 200);
    opened.store.close();
    drop(opened);
    let report = Maintenance::open(folder.path(), None).expect("opened").check().expect("read");
    assert!(report.is_clean(), "{report:?}");
}

#[tokio::test]
async fn attempts_come_after_every_earlier_one_whatever_the_clock_says() {
    let folder = folder_in_memory();
    let opened = inline::open_inline(folder.path(), START_MS);
    let webhook = opened.webhook().await;
    deliver(&opened, &webhook).await;
    drop(opened);
    // A clock that was years ahead has made an attempt.
    let ahead = AttemptId::first_at(Timestamp::from_unix_ms(9_000_000_000_000));
    let engine = Engine::open(&folder.path().join("store"), 1 << 20).expect("opened");
    let (event, delivery) = (EventId::generate(), DeliveryId::generate());
    let item = DueItem {
        event,
        slot: 0,
        delivery,
        attempt: 1,
        earlier: 0,
        sent: Sent::Never,
        rank: 5,
        due_ms: None,
        has_failed: false,
    };
    let mut txn = Txn::default();
    let chunk = vec![Attempt { id: ahead, ..attempt(&item, true) }];
    txn.put(keys::attempts(webhook.id, ahead), record::pack_attempts(&chunk));
    engine.commit(&[&txn]).expect("written");
    drop(engine);
    make_format_4(folder.path());
    for _ in 0..3 {
        let opened = inline::open_inline(folder.path(), START_MS);
        while opened.store.index_more().await.expect("indexed").is_some() {}
        let last = everything(&opened).await[0];
        deliver(&opened, &webhook).await;
        let found = everything(&opened).await;
        assert!(found[0] > last && found[1] == last && last >= ahead, "{found:?}");
    }
}
