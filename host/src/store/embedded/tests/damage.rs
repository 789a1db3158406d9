//! Damage by the disk: changed values of every kind of record, and a changed file.

use std::collections::BTreeSet;

use super::inline::{open_inline, try_open_inline};
use super::*;
use crate::store::embedded::engine::Engine;
use crate::store::embedded::txn::Txn;
use crate::store::{AttemptSearch, EventSearch};

/// A change of a value's bytes.
type Harm = fn(&mut Vec<u8>);

const HARMS: [(&str, Harm); 4] = [
    ("flipped in the middle", |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x20;
    }),
    ("flipped at the end", |bytes| *bytes.last_mut().expect("not empty") ^= 0x01),
    ("cut short", |bytes| bytes.truncate(bytes.len() / 2)),
    ("empty", Vec::clear),
];

/// A store with something of every kind.
struct Filled {
    folder: TempDir,
    /// The webhook with pending deliveries; another one was deleted.
    webhook: WebhookId,
    /// Events with a pending delivery, each in a queue entry of its own.
    waiting: Vec<EventId>,
    delivered: EventId,
    redelivered: DeliveryId,
}

async fn fill() -> Filled {
    let folder = folder_in_memory();
    let opened = open_inline(folder.path(), START_MS);
    let only = Subscription::Only(vec![EventType::PhaseChanged]);
    let webhook = WebhookConfig { event_types: only, ..config() };
    let webhook = opened.store.create_webhook(webhook, true, Actor::Host).await.expect("created");
    let gone = opened.webhook().await;
    assert!(opened.store.delete_webhook(gone.id, Actor::Host).await.expect("deleted"));
    opened.store.create_token("a".into(), Role::Ingest, Actor::Host).await.expect("a token");
    opened.store.create_token("b".into(), Role::Ingest, Actor::Host).await.expect("a token");
    opened.store.setting("host-name", Some("here".into()), String::new()).await.expect("set");
    // Enough for several of the file's segments.
    for number in 0..20 {
        let json = format!(r#"{{"type":"phase_changed","data":{{"phase":"{}"}}}}"#, "x".repeat(1500 * number));
        let accepted = opened.post(NewEvent { event_type: EventType::SurfaceChanged, json, ..event(None, 1) }).await;
        opened.store.event(accepted.id).await.expect("read");
    }
    let mut waiting = Vec::new();
    let key = |key: &str| Some(Idempotency { key: key.into(), body_digest: [1; 32] });
    for name in ["one", "two", "three"] {
        let token = TokenId::from_bytes([1; 16]);
        let accepted = opened.accept(token, key(name), vec![event(None, 1)]).await.expect("accepted");
        waiting.push(accepted[0].id);
    }
    let delivered = opened.post(event(None, 1)).await.id;
    // The states of what ends before it is in sled are joined to the event.
    opened.store.checkpoint();
    let mut due = opened.due();
    while due[0].1.event != delivered {
        due = opened.due();
    }
    opened.store.record(vec![Outcome::new(
        webhook.id,
        due[0].1.clone(),
        Some(attempt(&due[0].1, true)),
        Step::Delivered,
        Some(due[0].0),
    )]);
    opened.store.tick();
    let again = opened.store.redeliver(webhook.id, due[0].1.delivery, Actor::Host).await.expect("written");
    opened.store.close();
    Filled { folder, webhook: webhook.id, waiting, delivered, redelivered: again.expect("a redelivery").id }
}

/// A key and its value.
type Record = (Vec<u8>, Vec<u8>);

fn records(engine: &Engine) -> Result<BTreeSet<Record>, StoreError> {
    let mut found = BTreeSet::new();
    engine.scan(&[], false, |key, value| found.insert((key.to_vec(), value.to_vec())))?;
    Ok(found)
}

/// Uses everything that a running host uses; the events whose deliveries the queue yields.
async fn use_all(opened: &Opened, filled: &Filled) -> BTreeSet<EventId> {
    let store = &opened.store;
    let activations: Vec<_> = store.webhooks().iter().map(|webhook| (webhook.id, webhook.activation)).collect();
    let mut yielded = BTreeSet::new();
    for (id, activation) in activations {
        store.load_due(id, activation, None, 1000);
        let due = opened.due();
        for (key, item) in due {
            yielded.insert(item.event);
            let step = match store.event_plain(item.event).await.expect("read") {
                Some(_) => Step::Delivered,
                None => Step::Dropped,
            };
            let attempt = (step == Step::Delivered).then(|| attempt(&item, true));
            store.record(vec![Outcome::new(id, item, attempt, step, Some(key))]);
        }
        store.tick();
        let query = AttemptQuery { limit: 100, before: None, success: None, event_type: None };
        store.attempts(id, query).await.expect("a page");
        store.load_due(id, activation, None, 1000);
        assert!(opened.due().is_empty(), "nothing is left in the queue forever");
    }
    for event in filled.waiting.iter().chain([&filled.delivered]) {
        store.event(*event).await.expect("read");
    }
    store.redeliver(filled.webhook, filled.redelivered, Actor::Host).await.expect("written");
    store.search_attempts(AttemptSearch::all(100)).await.expect("a page");
    store.search_events(EventSearch::all(100)).await.expect("a page");
    store.audit_page(100, None).await.expect("read");
    store.setting("host-name", None, "there".into()).await.expect("set");
    let token = TokenId::from_bytes([1; 16]);
    for name in ["one", "two", "three"] {
        let idempotency = Some(Idempotency { key: name.into(), body_digest: [1; 32] });
        opened.accept(token, idempotency, vec![event(None, 1)]).await.expect("accepted");
    }
    opened.clock.0.fetch_add(10_000_000, Ordering::Relaxed);
    assert!(!store.sweep(kept(1000)).await.expect("swept"));
    opened.post(event(None, 2)).await;
    yielded
}

#[tokio::test]
async fn a_damaged_record_of_any_kind_is_counted_and_skipped() {
    let filled = fill().await;
    let template = filled.folder.path().to_owned();
    let kinds = {
        let engine = Engine::open(&template.join("store"), 1 << 20).expect("opened");
        let mut all = records(&engine).expect("read");
        // One of each kind, the first: its neighbours must be none the worse. Of the facts each one.
        let mut seen = BTreeSet::new();
        let event = keys::event(filled.waiting[1]);
        all.retain(|(key, _)| key[0] == b'm' || event == *key || (key[0] != keys::EVENT && seen.insert(key[0])));
        all
    };
    let tags: BTreeSet<u8> = kinds.iter().map(|(key, _)| key[0]).collect();
    assert_eq!(tags, b"acdefiklmnrstuwxz".iter().copied().collect(), "every kind is there");
    for (key, value) in kinds {
        for (harm, damage) in HARMS {
            let name = format!("{} {harm}", String::from_utf8_lossy(if key[0] == b'm' { &key } else { &key[..1] }));
            let copy = folder_in_memory();
            faults::copy_folder(&template, copy.path()).expect("copied");
            {
                let engine = Engine::open(&copy.path().join("store"), 1 << 20).expect("opened");
                let mut damaged = value.clone();
                damage(&mut damaged);
                let mut txn = Txn::default();
                txn.put(key.clone(), damaged);
                engine.commit(&[&txn]).expect("written");
            }
            let opened = try_open_inline(copy.path(), START_MS);
            if matches!(&key[..], b"mschema" | b"mkey-check") {
                assert!(matches!(opened, Err(OpenError::Damaged { .. })), "{name}: without it nothing can be read");
                continue;
            }
            let opened = opened.unwrap_or_else(|error| panic!("{name}: {error}"));
            let yielded = use_all(&opened, &filled).await;
            let damaged = opened.store.damaged_records();
            // Records without content, and those that only `store check` reads.
            let silent = matches!(key[0], b'z' | b'u') || matches!(&key[..], b"maudit" | b"mrun" | b"mprobe");
            assert!(silent || damaged > 0, "{name}: not reported");
            let neighbours = filled.waiting.iter().filter(|event| yielded.contains(event)).count();
            let expected = match key[0] {
                // The webhook itself is gone.
                b'w' => 0,
                b'd' | b'e' => 2,
                _ => 3,
            };
            assert!(neighbours >= expected, "{name}: {neighbours} neighbours were delivered");
        }
    }
}

/// A damaged store's report of itself.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    /// It does not open and says why.
    Rejected,
    /// It opens, and a read of the damaged spot ends in an error that is logged.
    Unreadable,
    /// It opens and reports damage.
    Damage,
    /// It opens, reports nothing, and everything is there.
    Whole,
    /// It opens, reports nothing, and these kinds of records have changed.
    Silent(BTreeSet<char>),
}

/// Opens a damaged store and uses it; its report.
async fn told(filled: &Filled, folder: &Path, before: &BTreeSet<(Vec<u8>, Vec<u8>)>) -> Told {
    let Ok(opened) = try_open_inline(folder, START_MS) else { return Told::Rejected };
    let Ok(after) = records(&opened.store.engine.engine) else { return Told::Unreadable };
    use_all(&opened, filled).await;
    if opened.store.damaged_records() > 0 {
        return Told::Damage;
    }
    let kinds: BTreeSet<char> =
        before.difference(&after).filter(|(key, _)| key != b"mrun").map(|(key, _)| char::from(key[0])).collect();
    if kinds.is_empty() { Told::Whole } else { Told::Silent(kinds) }
}

/// One byte of the file is changed, at 60 offsets; or the file is cut, at 10.
#[tokio::test]
async fn a_damaged_file_is_reported_or_rejected() {
    let filled = fill().await;
    let template = filled.folder.path().to_owned();
    let before: BTreeSet<_> = {
        let engine = Engine::open(&template.join("store"), 1 << 20).expect("opened");
        records(&engine).expect("read")
    };
    let file = std::fs::read(template.join("store/db")).expect("the file");
    let used = file.iter().rposition(|byte| *byte != 0).expect("something") + 1;
    let mut harmed: Vec<(String, Vec<u8>)> = Vec::new();
    // The older half has pages that were replaced.
    for number in 0..60 {
        let offset = used / 2 + used * number / 120;
        let mut bytes = file.clone();
        bytes[offset] ^= 0x10;
        harmed.push((format!("byte {offset} of {used}"), bytes));
    }
    for number in 0..10 {
        let length = used * number / 10;
        harmed.push((format!("cut at {length} of {used}"), file[..length].to_vec()));
    }
    let (mut rejected, mut silent) = (0, Vec::new());
    for (name, bytes) in harmed {
        let copy = folder_in_memory();
        faults::copy_folder(&template, copy.path()).expect("copied");
        std::fs::write(copy.path().join("store/db"), bytes).expect("written");
        match told(&filled, copy.path(), &before).await {
            Told::Rejected => rejected += 1,
            Told::Unreadable | Told::Damage | Told::Whole => {}
            Told::Silent(kinds) => silent.push(format!("{name}: {kinds:?}")),
        }
    }
    assert!(rejected >= 10, "only {rejected} of 70 were noticed at the opening");
    assert!(silent.is_empty(), "records are missing and nothing is reported:\n{}", silent.join("\n"));
}
