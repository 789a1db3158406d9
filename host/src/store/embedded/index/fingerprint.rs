//! Is an index complete, and is nothing in it that is gone? It is compared with the records that it is made of, in one
//! pass over all records and in no memory to speak of.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};

use super::super::{keys, record};
use super::block::{Column, Values};
use super::{Index, Row};

/// A number of ids, and a sum over them that does not depend on their order.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Fingerprint {
    ids: u64,
    sum: u64,
}

impl Fingerprint {
    fn add(&mut self, hash: u64) {
        self.ids += 1;
        self.sum = self.sum.wrapping_add(hash);
    }
}

/// The fingerprints of an index and of what it is made of.
#[derive(Default)]
struct Pair {
    index: Fingerprint,
    records: Fingerprint,
    /// Of the blocks, as each column has them.
    columns: BTreeMap<u8, Fingerprint>,
}

impl Pair {
    /// True if every block has all of its columns, in one form.
    fn has_columns(&self, index: Index) -> bool {
        let of = |column: &Column| self.columns.get(&column.code()).copied().unwrap_or_default();
        Column::all(index).iter().all(|column| of(column) == of(&Column::Ids))
    }
}

/// The fingerprints of both indexes, over the records that were added.
#[derive(Default)]
pub(in crate::store::embedded) struct Fingerprints {
    hasher: RandomState,
    attempts: Pair,
    events: Pair,
}

impl Fingerprints {
    /// Adds a record of any kind.
    pub(in crate::store::embedded) fn add(&mut self, key: &[u8], value: &[u8]) {
        match (key.first().copied().unwrap_or_default(), key.get(1), key.get(2)) {
            (keys::ATTEMPTS, ..) => {
                for attempt in record::unpack_attempts(value).unwrap_or_default() {
                    self.attempts.records.add(self.hasher.hash_one(*attempt.id.as_bytes()));
                }
            }
            (keys::ACCEPTED, ..) => {
                for (_, event) in record::unpack_listed(value).unwrap_or_default() {
                    self.events.records.add(self.hasher.hash_one(*event.as_bytes()));
                }
            }
            (keys::RECENT, Some(index), _) => {
                for row in record::unpack::<Vec<Row>>(value).unwrap_or_default() {
                    let hash = self.hasher.hash_one(row.id);
                    self.pair(*index).index.add(hash);
                }
            }
            (keys::BLOCK, Some(index), Some(code)) => {
                let Some(column) = Column::with_code(*code) else { return };
                let Ok(values) = Values::read(column, value) else { return };
                let block = self.hasher.hash_one((keys::place_of(key), values.stamp, values.rows));
                self.pair(*index).columns.entry(*code).or_default().add(block);
                for id in values.ids().filter(|_| column == Column::Ids) {
                    let hash = self.hasher.hash_one(id);
                    self.pair(*index).index.add(hash);
                }
            }
            _ => {}
        }
    }

    fn pair(&mut self, index: u8) -> &mut Pair {
        if index == Index::Events.code() { &mut self.events } else { &mut self.attempts }
    }

    /// The indexes that differ from what they are made of, each as a sentence.
    pub(in crate::store::embedded) fn faults(&self) -> Vec<String> {
        let pairs =
            [(Index::Attempts, &self.attempts, "the history"), (Index::Events, &self.events, "the acceptance index")];
        let differ =
            pairs.into_iter().filter(|(index, pair, _)| pair.index != pair.records || !pair.has_columns(*index));
        let sentence = |(index, pair, records): (Index, &Pair, &str)| {
            format!(
                "the index of {} is not whole: it has {} rows, {records} has {}, and some may be others; --repair makes it \
                 again",
                index.name(),
                pair.index.ids,
                pair.records.ids
            )
        };
        differ.map(sentence).collect()
    }
}
