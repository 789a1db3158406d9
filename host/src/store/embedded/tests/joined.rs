//! The states of an event's deliveries, in one record with the event or in one of their own.

use super::inline::open_inline;
use super::*;
use crate::store::embedded::txn::Txn;

/// True if sled has the states of this event's deliveries in a record of their own; or the event joined with them.
fn in_sled(opened: &Opened, event: EventId) -> (bool, bool) {
    let get = |key: &[u8]| opened.store.engine.engine.tree_get(key).expect("read");
    let event_record = get(&keys::event(event)).expect("an event");
    let is_joined = record::unpack_event(&event_record).expect("readable").joined.is_some();
    (get(&keys::state(event)).is_some(), is_joined)
}

/// The queue of a webhook.
fn queue(opened: &Opened, webhook: &Webhook) -> Vec<(DueKey, DueItem)> {
    let heard = || opened.changes.lock().expect("not poisoned").try_iter().collect::<Vec<_>>();
    heard();
    opened.store.load_due(webhook.id, webhook.activation, None, 100);
    let entries = heard().into_iter().flat_map(|change| match change {
        Change::Loaded { entries, .. } => entries,
        _ => Vec::new(),
    });
    entries.flat_map(|entry| entry.items.into_iter().map(move |(item, _)| (entry.key, item))).collect()
}

/// Delivers everything that is queued.
fn deliver(opened: &Opened, webhook: &Webhook) {
    for (key, item) in queue(opened, webhook) {
        let attempt = Some(attempt(&item, true));
        opened.store.record(vec![Outcome::new(webhook.id, item, attempt, Step::Delivered, Some(key))]);
    }
    opened.store.tick();
}

#[tokio::test]
async fn a_delivery_that_ends_before_the_checkpoint_of_its_event_costs_no_record_of_its_own() {
    let folder = folder_in_memory();
    let opened = open_inline(folder.path(), START_MS);
    let webhook = opened.webhook().await;
    let soon = opened.post(event(None, 1)).await.id;
    deliver(&opened, &webhook);
    let late = opened.post(event(None, 2)).await.id;
    opened.store.checkpoint();
    deliver(&opened, &webhook);
    opened.store.checkpoint();
    assert_eq!((in_sled(&opened, soon), in_sled(&opened, late)), ((false, true), (true, false)));
    opened.store.close();
    drop(opened);

    let opened = open_inline(folder.path(), START_MS);
    for event in [soon, late] {
        assert_eq!(opened.status(event).await, Status::Delivered);
    }
    assert!(queue(&opened, &webhook).is_empty());
    // A redelivery gives the states a record of their own, which counts from then on.
    let of = opened.store.event(soon).await.expect("read").expect("kept").deliveries[0].id;
    let again = opened.store.redeliver(webhook.id, of, Actor::Host).await.expect("written").expect("made");
    for checkpointed in [false, true] {
        let deliveries = opened.store.event(soon).await.expect("read").expect("kept").deliveries;
        let found: Vec<_> = deliveries.iter().map(|delivery| (delivery.id, delivery.status)).collect();
        assert_eq!(found, [(of, Status::Delivered), (again.id, Status::Pending)], "checkpointed: {checkpointed}");
        opened.store.checkpoint();
    }
    assert_eq!(in_sled(&opened, soon), (true, true));
    deliver(&opened, &webhook);
    opened.clock.0.fetch_add(10_000_000, Ordering::Relaxed);
    assert!(!opened.store.sweep(kept(1000)).await.expect("swept"));
    opened.store.checkpoint();
    let mut left = Vec::new();
    let scan = opened.store.engine.engine.scan(&[], false, |key, _| {
        left.push(key[0]);
        true
    });
    scan.expect("read");
    assert!(!left.iter().any(|tag| [keys::EVENT, keys::STATE, keys::FURTHER].contains(tag)), "{left:?}");
}

/// The states that an event of the same id has left behind.
#[tokio::test]
async fn joined_states_are_not_hidden_by_older_ones() {
    let folder = folder_in_memory();
    let opened = open_inline(folder.path(), START_MS);
    let webhook = opened.webhook().await;
    let (id, engine) = (EventId::generate(), &opened.store.engine.engine);
    let slots = [record::Slot { delivery: DeliveryId::generate(), webhook: webhook.id, activation: 7 }];
    let mut txn = Txn::default();
    txn.put(keys::state(id), record::pack(&record::initial_states(&slots, Timestamp::from_unix_ms(0))));
    engine.commit(&[&txn]).expect("written");
    opened.store.checkpoint();
    assert!(engine.tree_get(&keys::state(id)).expect("read").is_some());
    opened.post(event(Some(id), 1)).await;
    deliver(&opened, &webhook);
    opened.store.checkpoint();
    assert_eq!(in_sled(&opened, id), (false, true));
    opened.store.close();
    drop(opened);
    assert_eq!(open_inline(folder.path(), START_MS).status(id).await, Status::Delivered);
}
