//! Retention: rows go with what they stand for.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::Range;

use super::super::engine::Engine;
use super::super::record;
use super::super::txn::Txn;
use super::super::{StoreError, keys};
use super::{Index, Row, Rows, Tail, block};

/// The rows that a transaction removes, and how the tails change once it is written.
#[derive(Default)]
pub(in crate::store::embedded) struct Pruned {
    attempts: BTreeMap<u128, [u8; 16]>,
    /// The blocks that they are in, and the last of them that was looked up.
    places: HashSet<u128>,
    block: Option<Range<u128>>,
    events: BTreeSet<(u128, [u8; 16])>,
    tails: Vec<(Index, Vec<Rows>)>,
}

impl Pruned {
    /// Notes an attempt that is removed.
    pub(in crate::store::embedded) fn attempt(&mut self, engine: &Engine, id: [u8; 16]) -> Result<(), StoreError> {
        let place = u128::from_be_bytes(id);
        self.attempts.insert(place, id);
        if self.block.as_ref().is_none_or(|block| !block.contains(&place)) {
            let block = block::bounds(engine, Index::Attempts, place)?;
            self.places.insert(block.start);
            self.block = Some(block);
        }
        Ok(())
    }

    /// The number of blocks that the removed attempts are in.
    pub(in crate::store::embedded) fn blocks(&self) -> usize {
        self.places.len()
    }

    /// Notes an event that is removed, with the first place of its commit.
    pub(in crate::store::embedded) fn event(&mut self, place: u128, id: [u8; 16]) {
        self.events.insert((place, id));
    }

    /// Adds the removal of the noted rows to a transaction.
    pub(in crate::store::embedded) fn write(
        &mut self,
        engine: &Engine,
        attempts: &Tail,
        events: &Tail,
        stamp: u64,
        txn: &mut Txn,
    ) -> Result<(), StoreError> {
        let removed: Vec<_> = std::mem::take(&mut self.attempts).into_iter().collect();
        self.remove(engine, Index::Attempts, attempts, &removed, stamp, txn)?;
        let removed: Vec<_> = std::mem::take(&mut self.events).into_iter().collect();
        self.remove(engine, Index::Events, events, &removed, stamp, txn)
    }

    fn remove(
        &mut self,
        engine: &Engine,
        index: Index,
        tail: &Tail,
        removed: &[(u128, [u8; 16])],
        stamp: u64,
        txn: &mut Txn,
    ) -> Result<(), StoreError> {
        if removed.is_empty() {
            return Ok(());
        }
        let ids: HashSet<[u8; 16]> = removed.iter().map(|(_, id)| *id).collect();
        let is_kept = |row: &Row| !ids.contains(&row.id);
        let young = tail.records.first().map_or(u128::MAX, |(place, _)| *place);
        if removed.last().is_some_and(|(place, _)| *place >= young) {
            self.shorten(index, tail, is_kept, txn);
        }
        // The events of one commit may be in two blocks.
        let last_of = |place: u128| if index == Index::Events { place | u128::from(u64::MAX) } else { place };
        let removed = &removed[..removed.partition_point(|(place, _)| *place < young)];
        let (Some((first, _)), Some((last, _))) = (removed.first(), removed.last()) else { return Ok(()) };
        let blocks = block::between(engine, index, *first, last_of(*last))?;
        for (position, first) in blocks.iter().enumerate() {
            let next = blocks.get(position + 1).copied().unwrap_or(u128::MAX);
            let from = removed.partition_point(|(place, _)| last_of(*place) < *first);
            if removed.get(from).is_none_or(|(place, _)| *place >= next) {
                continue;
            }
            let Some((span, rows)) = block::load(engine, index, *first)? else { continue };
            let kept: Vec<&Row> = rows.iter().filter(|row| is_kept(row)).collect();
            if kept.is_empty() {
                block::remove(index, *first, txn);
            } else if kept.len() < rows.len() {
                block::put_at(index, *first, span, &kept, stamp, txn);
            }
        }
        Ok(())
    }

    fn shorten(&mut self, index: Index, tail: &Tail, is_kept: impl Fn(&Row) -> bool, txn: &mut Txn) {
        let mut records = Vec::with_capacity(tail.records.len());
        for (place, rows) in &tail.records {
            let kept: Vec<Row> = rows.iter().copied().filter(&is_kept).collect();
            let key = keys::recent(index.code(), *place);
            if kept.is_empty() {
                txn.remove(key);
                continue;
            }
            if kept.len() < rows.len() {
                txn.put(key, record::pack(&kept));
            }
            records.push((*place, kept));
        }
        self.tails.push((index, records));
    }

    /// Changes the tails as the transaction did, now that it is written.
    pub(in crate::store::embedded) fn apply(self, attempts: &mut Tail, events: &mut Tail) {
        for (index, records) in self.tails {
            let tail = match index {
                Index::Attempts => &mut *attempts,
                Index::Events => &mut *events,
            };
            *tail = Tail { rows: records.iter().map(|(_, rows)| rows.len()).sum(), records };
        }
    }
}
