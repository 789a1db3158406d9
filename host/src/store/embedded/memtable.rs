//! The memtable: the commits that the journal has and sled has not, as one sorted map in memory.
//!
//! A commit is in the memtable once the journal has synced it. A checkpoint freezes the map, together with the journal's
//! file, and writes its content to sled: the last value of each key, so that what was rewritten between two checkpoints
//! is written once, and what came and went is not written at all. Meanwhile commits go to a new map. A removal is kept
//! as such, because sled may hold an older value of the key.
//!
//! A reader looks here first and at sled afterwards. In the other order a checkpoint that ends in between could take a
//! record from where the reader has still to look to where it has looked already.

use std::collections::{BTreeMap, btree_map};
use std::iter::Peekable;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::txn::{Bytes, Txn};

/// What an entry occupies beside the bytes of its key and value: its share of a node of the map, and of two allocations.
const ENTRY_BYTES: usize = 128;

/// A sorted map of changes; `None` for removed.
#[derive(Default)]
pub(super) struct Memtable {
    entries: BTreeMap<Bytes, Option<Bytes>>,
    bytes: usize,
}

impl Memtable {
    pub(super) fn set(&mut self, key: Bytes, value: Option<Bytes>) {
        let length = |value: &Option<Bytes>| value.as_ref().map_or(0, |value| value.len());
        self.bytes += length(&value);
        match self.entries.entry(key) {
            btree_map::Entry::Occupied(mut entry) => self.bytes -= length(&entry.insert(value)),
            btree_map::Entry::Vacant(entry) => {
                self.bytes += entry.key().len() + ENTRY_BYTES;
                entry.insert(value);
            }
        }
    }

    /// Its changes, in the order of their keys.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Bytes, Option<&Bytes>)> {
        self.entries.iter().map(|(key, value)| (key, value.as_ref()))
    }

    /// The value that is written under a key, if one is.
    pub(super) fn written(&self, key: &[u8]) -> Option<&Bytes> {
        self.entries.get(key)?.as_ref()
    }

    fn range(&self, range: &Range, backwards: bool) -> Changes<'_> {
        let range = self.entries.range::<[u8], _>((range.lower(), range.upper()));
        let changes: Box<dyn Iterator<Item = _>> = if backwards { Box::new(range.rev()) } else { Box::new(range) };
        changes.peekable()
    }
}

type Changes<'a> = Peekable<Box<dyn Iterator<Item = (&'a Bytes, &'a Option<Bytes>)> + 'a>>;

/// A range of keys.
#[derive(Clone, Debug)]
pub(super) struct Range {
    pub(super) from: Bound<Bytes>,
    pub(super) until: Bound<Bytes>,
}

impl Range {
    pub(super) fn lower(&self) -> Bound<&[u8]> {
        self.from.as_ref().map(|key| &**key)
    }

    pub(super) fn upper(&self) -> Bound<&[u8]> {
        self.until.as_ref().map(|key| &**key)
    }

    /// True if no key can be in it. The maps panic on a range whose end is before its beginning.
    pub(super) fn is_empty(&self) -> bool {
        match (self.lower(), self.upper()) {
            (Bound::Included(from), Bound::Included(until)) => from > until,
            (Bound::Included(from) | Bound::Excluded(from), Bound::Included(until) | Bound::Excluded(until)) => {
                from >= until
            }
            _ => false,
        }
    }

    /// Cuts the range in two at a key: what comes until then in this direction, that key included, and the rest.
    pub(super) fn split(self, at: Bytes, backwards: bool) -> (Self, Self) {
        let Self { from, until } = self;
        let (included, excluded) = (Bound::Included(at.clone()), Bound::Excluded(at));
        if backwards {
            (Self { from: included, until }, Self { from, until: excluded })
        } else {
            (Self { from, until: included }, Self { from: excluded, until })
        }
    }
}

/// The changes of a range at one moment.
pub(super) struct Chunk {
    /// In the order that was asked for.
    pub(super) changes: Vec<(Bytes, Option<Bytes>)>,
    /// True if there are no more in the range.
    pub(super) is_last: bool,
}

#[derive(Default)]
struct Tables {
    active: Memtable,
    /// The map that a checkpoint writes to sled.
    frozen: Option<Arc<Memtable>>,
}

/// The map that gets commits, and the one that a checkpoint writes to sled. The lock is held for one commit, for one
/// look-up, or for a chunk of a scan.
#[derive(Default)]
pub(super) struct Memtables(RwLock<Tables>);

impl Memtables {
    fn read(&self) -> RwLockReadGuard<'_, Tables> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Tables> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a commit that the journal has synced; readers see it as a whole.
    pub(super) fn add(&self, txns: &[&Txn]) {
        let mut tables = self.write();
        for (key, value) in txns.iter().flat_map(|txn| txn.ops()) {
            tables.active.set(key.clone(), value.cloned());
        }
    }

    /// The last change of a key, if it is here: its value, or `None` for removed.
    pub(super) fn get(&self, key: &[u8]) -> Option<Option<Bytes>> {
        let tables = self.read();
        let change = tables.active.entries.get(key);
        change.or_else(|| tables.frozen.as_ref()?.entries.get(key)).cloned()
    }

    /// The first `most` changes of a range, or the last ones.
    pub(super) fn chunk(&self, range: &Range, backwards: bool, most: usize) -> Chunk {
        let tables = self.read();
        let mut active = tables.active.range(range, backwards);
        let mut frozen = tables.frozen.as_ref().map(|frozen| frozen.range(range, backwards));
        let mut changes = Vec::new();
        loop {
            let newer = active.peek().map(|(key, _)| *key);
            let older = frozen.as_mut().and_then(|frozen| frozen.peek()).map(|(key, _)| *key);
            let (takes_newer, takes_older) = turns(newer, older, backwards);
            if !takes_newer && !takes_older {
                return Chunk { changes, is_last: true };
            }
            if changes.len() == most {
                return Chunk { changes, is_last: false };
            }
            let older = takes_older.then(|| frozen.as_mut().and_then(Iterator::next)).flatten();
            let newer = takes_newer.then(|| active.next()).flatten();
            changes.extend(newer.or(older).map(|(key, value)| (key.clone(), value.clone())));
        }
    }

    /// Bytes of the map that gets commits.
    pub(super) fn bytes(&self) -> usize {
        self.read().active.bytes
    }

    /// Bytes of both maps: what sled has not got yet.
    pub(super) fn all_bytes(&self) -> usize {
        let tables = self.read();
        tables.active.bytes + tables.frozen.as_ref().map_or(0, |frozen| frozen.bytes)
    }

    /// Makes the map that got the commits so far the frozen one, of which there must be none.
    pub(super) fn freeze(&self) {
        let mut tables = self.write();
        debug_assert!(tables.frozen.is_none(), "its content would be lost");
        tables.frozen = Some(Arc::new(std::mem::take(&mut tables.active)));
    }

    /// The frozen map, while there is one.
    pub(super) fn frozen(&self) -> Option<Arc<Memtable>> {
        self.read().frozen.clone()
    }

    /// Drops the frozen map: sled has its content.
    pub(super) fn thaw(&self) {
        let frozen = self.write().frozen.take();
        // Outside of the lock: there are tens of thousands of entries.
        drop(frozen);
    }
}

/// Which of two sorted sequences has the next key, by their first ones; both if it is the same.
pub(super) fn turns(first: Option<&Bytes>, second: Option<&Bytes>, backwards: bool) -> (bool, bool) {
    match (first, second) {
        (Some(first), Some(second)) => {
            let order = if backwards { second.cmp(first) } else { first.cmp(second) };
            (order.is_le(), order.is_ge())
        }
        (first, second) => (first.is_some(), second.is_some()),
    }
}
