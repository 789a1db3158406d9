//! The order of acceptance, for webhooks whose deliveries go out in it one at a time.
//!
//! An event's place is its commit in the acceptance index ([`keys::ACCEPTED`]) and its position there. Neither depends on a
//! clock, and every format has that index, so a delivery that is recovered or redelivered finds its place again.

use std::collections::HashMap;

use super::engine::Engine;
use super::txn::Txn;
use super::writer::Writer;
use super::{DueItem, DueKey, StoreError, keys, record};
use crate::model::event::Searchable;
use crate::model::id::{EventId, WebhookId};
use crate::model::time::Timestamp;
use crate::store::rank;

/// A strict entry's `seq`: a bit that no other entry has, the position, the slot, and the turn among entries that begin
/// with the same delivery.
const STRICT_SEQ: u64 = 1 << 63;
const POSITION: u32 = 24;
const SLOT: u32 = 20;
const TURN: u32 = 19;

/// An event's place in the order of acceptance.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(super) struct Place {
    /// The `seq` of its commit in the acceptance index.
    pub(super) commit: u64,
    /// Its position among the events of that commit.
    pub(super) position: u32,
}

impl Place {
    /// The key of a delivery of this event in the strict queue.
    pub(super) fn key(self, webhook: WebhookId, activation: u32, slot: u32) -> DueKey {
        let bits = |number: u32, width: u32| u64::from(number).min((1 << width) - 1);
        let position = bits(self.position, POSITION) << (SLOT + TURN);
        // In the middle: a retry may have to go before what is left of the entry that it was in.
        let turn = 1 << (TURN - 1);
        let seq = STRICT_SEQ | position | bits(slot, SLOT) << TURN | turn;
        DueKey { webhook, activation, rank: rank::STRICT, due_ms: self.commit.cast_signed(), seq }
    }
}

/// Finds places; it remembers the last commit.
#[derive(Default)]
pub(super) struct Places {
    commit: u64,
    positions: HashMap<EventId, u32>,
}

impl Places {
    /// An event's place. One that the index lost goes first.
    pub(super) fn find(&mut self, engine: &Engine, event: EventId) -> Result<Place, StoreError> {
        if let Some(position) = self.positions.get(&event) {
            return Ok(Place { commit: self.commit, position: *position });
        }
        let Some(accepted_at) = accepted_at(engine, event)? else { return Ok(Place::default()) };
        let ms = accepted_at.unix_ms();
        let mut found = None;
        engine.scan(&keys::timed_end(keys::ACCEPTED, ms), false, |key, value| {
            if keys::time_of(keys::ACCEPTED, key) != Some(ms) {
                return false;
            }
            let listed = record::unpack_listed(value).unwrap_or_default();
            if listed.iter().any(|(_, other)| *other == event) {
                found = keys::seq_of(key).map(|commit| (commit, listed));
            }
            found.is_none()
        })?;
        let Some((commit, listed)) = found else { return Ok(Place::default()) };
        self.commit = commit;
        self.positions = listed.into_iter().map(|(position, event)| (event, position)).collect();
        Ok(Place { commit, position: self.positions.get(&event).copied().unwrap_or_default() })
    }
}

/// The position of each event of a commit.
pub(super) fn positions(events: &[EventId]) -> HashMap<EventId, u32> {
    (0..).zip(events).map(|(position, event)| (*event, position)).collect()
}

/// When an event was accepted.
pub(super) fn accepted_at(engine: &Engine, event: EventId) -> Result<Option<Timestamp>, StoreError> {
    let Some(bytes) = engine.get(&keys::event(event))? else { return Ok(None) };
    Ok(record::unpack_event(&bytes).ok().map(|event| event.accepted_at))
}

/// A delivery's rank; one that its queue entry does not know is its event's.
pub(super) fn rank_of(engine: &Engine, item: &DueItem) -> Result<u8, StoreError> {
    if item.rank != rank::UNKNOWN {
        return Ok(item.rank);
    }
    let known = engine.get(&keys::event(item.event))?.and_then(|bytes| record::unpack_event(&bytes).ok());
    Ok(rank::of(known.and_then(|known| Searchable::of(known.event_type, &known.json).severity)))
}

/// The rank of an entry with these deliveries: the most severe one's.
pub(super) fn rank_of_all(items: &[DueItem]) -> u8 {
    items.iter().map(|item| item.rank).min().unwrap_or(rank::UNKNOWN)
}

/// The key of an entry in the strict queue whose earliest delivery this is. It goes before an entry that has its place and
/// others: those were sent together with it and were left behind.
pub(super) fn strict_key(
    engine: &Engine,
    changes: &[&Txn],
    place: Place,
    (webhook, activation): (WebhookId, u32),
    item: &DueItem,
) -> Result<DueKey, StoreError> {
    let mut key = place.key(webhook, activation, item.slot);
    loop {
        let encoded = key.encode();
        let change = changes.iter().find(|txn| txn.written(&encoded).is_some() || txn.removes(&encoded));
        let there = match change {
            Some(txn) => txn.written(&encoded).map(<[u8]>::to_vec),
            None => engine.get(&encoded)?.map(|bytes| bytes.to_vec()),
        };
        let items = there.and_then(|bytes| record::unpack_queue(&bytes).ok()).unwrap_or_default();
        if items.iter().all(|other| other.delivery == item.delivery) {
            return Ok(key);
        }
        key.seq -= 1;
    }
}

impl Writer {
    /// The key of an entry of the strict queue whose earliest delivery this is.
    pub(super) fn strict_key(
        &mut self,
        changes: &Txn,
        queue: (WebhookId, u32),
        item: &DueItem,
    ) -> Result<DueKey, StoreError> {
        let place = self.places.find(&self.engine, item.event)?;
        strict_key(&self.engine, &[changes, &self.pending.txn], place, queue, item)
    }

    /// Which of these deliveries was accepted first; an entry of the strict queue has its place. What was sent in another
    /// order need not begin with it.
    pub(super) fn earliest<'a>(&mut self, items: &'a [DueItem]) -> Result<Option<&'a DueItem>, StoreError> {
        let mut earliest: Option<(Place, &DueItem)> = None;
        for item in items {
            let place = self.places.find(&self.engine, item.event)?;
            if earliest.is_none_or(|(before, other)| (place, item.slot) < (before, other.slot)) {
                earliest = Some((place, item));
            }
        }
        Ok(earliest.map(|(_, item)| item))
    }

    /// Sorts the deliveries of an entry by acceptance, as a smaller batch takes the first of them. The members of a message
    /// stay as they are: its bytes depend on it.
    pub(super) fn sort_by_place(&mut self, items: &mut [DueItem]) -> Result<(), StoreError> {
        if items.first().is_some_and(|item| item.sent.part().is_some()) {
            return Ok(());
        }
        let mut places = HashMap::with_capacity(items.len());
        for item in items.iter() {
            places.insert(item.delivery, (self.places.find(&self.engine, item.event)?, item.slot));
        }
        items.sort_by_key(|item| places.get(&item.delivery).copied());
        Ok(())
    }

    /// A delivery that knows its rank, and that is due when the key of its next entry says so.
    pub(super) fn ranked(&self, item: DueItem) -> Result<DueItem, StoreError> {
        Ok(DueItem { rank: rank_of(&self.engine, &item)?, due_ms: None, ..item })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strict_keys_are_in_the_order_of_acceptance_and_read_back() {
        let webhook = WebhookId::generate();
        let places = [(0, 0), (7, 0), (7, 1), (7, 70_000), (8, 0), ((9 << 32) | 1, 0)];
        let keys: Vec<DueKey> = places
            .into_iter()
            .flat_map(|(commit, position)| [0, 1, 900].map(|slot| (Place { commit, position }, slot)))
            .map(|(place, slot)| place.key(webhook, 3, slot))
            .collect();
        assert!(keys.is_sorted() && keys.windows(2).all(|pair| pair[0] != pair[1]));
        let encoded: Vec<_> = keys.iter().map(DueKey::encode).collect();
        assert!(encoded.is_sorted());
        assert_eq!(encoded.iter().map(|key| DueKey::decode(key).expect("a key")).collect::<Vec<_>>(), keys);
    }

    #[test]
    fn an_entry_of_another_commit_has_another_mark() {
        let webhook = WebhookId::generate();
        let commits = (1..=7).flat_map(|run: u64| (0..100).map(move |commit| (run << 32) | commit));
        let mut marks: Vec<u64> = commits
            .flat_map(|commit| (0..20).map(move |position| Place { commit, position }))
            .flat_map(|place| (0..5).map(move |slot| place.key(webhook, 3, slot).mark()))
            .collect();
        let all = marks.len();
        marks.sort_unstable();
        marks.dedup();
        assert!(marks.len() == all && marks[0] >= STRICT_SEQ, "and none is the number of another queue's entry");
        // As stores know it from before the commit was in it.
        let key = Place { commit: 9, position: 1 }.key(webhook, 3, 2);
        assert!(key.has_mark(key.seq) && key.has_mark(key.mark()));
        let other = Place { commit: 10, position: 1 }.key(webhook, 3, 2);
        assert!(other.seq == key.seq && !other.has_mark(key.mark()));
    }
}
