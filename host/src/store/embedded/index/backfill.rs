//! Making the indexes of a store that has none: one of an earlier format, or one that was imported or repaired.
//!
//! Blocks are made from the newest row to the oldest, so that lists are right for recent times first. What is missing
//! is a fact about the store: a place for each index, before which nothing is indexed yet.

use std::collections::{BinaryHeap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use serde::{Deserialize, Serialize};

use super::super::engine::Engine;
use super::super::record::{self, Damage};
use super::super::txn::Txn;
use super::super::{StoreError, keys};
use super::{BLOCK, EventMarks, Index, Row, block, place_of_attempt, place_of_seq, stored_marks};
use crate::model::event::Searchable;
use crate::model::id::{AttemptId, EventId, WebhookId};
use crate::model::time::Timestamp;

/// The name of [`Missing`] among the facts about the store.
const MISSING: &str = "unindexed";
/// Keys that one commit removes.
const PAGE: usize = 2_000;
/// Marks of events that are kept while attempts are read.
const MARKS: usize = 20_000;

/// What is not indexed yet. The fields' order is on disks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(in crate::store::embedded) struct Missing {
    /// Attempts before this id.
    attempts: Option<[u8; 16]>,
    /// Events of commits before this sequence number.
    events: Option<u64>,
    /// When the oldest attempt and the oldest event of the indexes were made and accepted.
    since: (Option<Timestamp>, Option<Timestamp>),
}

impl Missing {
    fn load(engine: &Engine) -> Result<Self, StoreError> {
        let bytes = engine.get(&keys::meta(MISSING))?;
        Ok(bytes.and_then(|bytes| record::unpack(&bytes).ok()).unwrap_or_default())
    }

    fn put(self, txn: &mut Txn) {
        if self.attempts.is_none() && self.events.is_none() {
            txn.remove(keys::meta(MISSING));
        } else {
            txn.put(keys::meta(MISSING), record::pack(&self));
        }
    }

    #[cfg(test)]
    pub(super) fn golden(at: Timestamp) -> Self {
        Self { attempts: Some([0xa1; 16]), events: Some(5), since: (Some(at), None) }
    }

    fn is_missing(self, index: Index) -> bool {
        match index {
            Index::Attempts => self.attempts.is_some(),
            Index::Events => self.events.is_some(),
        }
    }
}

/// Notes, in a transaction, that everything in the store is still to be indexed.
pub(in crate::store::embedded) fn begin(engine: &Engine, txn: &mut Txn) -> Result<(), StoreError> {
    let mut last: Option<[u8; 16]> = None;
    for webhook in histories(engine)? {
        let prefix = keys::attempts_prefix(webhook);
        engine.scan(&[prefix.as_slice(), &[0xff; 17]].concat(), true, |key, value| {
            if key.starts_with(&prefix) {
                let attempts = record::unpack_attempts(value).unwrap_or_default();
                let found = attempts.last().map(|attempt| *attempt.id.as_bytes());
                last = last.max(found.or_else(|| keys::place_of(key).map(u128::to_be_bytes)));
            }
            false
        })?;
    }
    let mut seq: Option<u64> = None;
    engine.scan_prefix(&[keys::ACCEPTED], None, |key, _| {
        seq = seq.max(keys::seq_of(key));
        true
    })?;
    let attempts = last.map(|last| u128::from_be_bytes(last).saturating_add(1).to_be_bytes());
    let events = seq.map(|seq| seq.saturating_add(1));
    Missing { attempts, events, since: (None, None) }.put(txn);
    Ok(())
}

/// The webhooks that have a history, deleted ones included until it is removed.
fn histories(engine: &Engine) -> Result<Vec<WebhookId>, StoreError> {
    let mut webhooks = Vec::new();
    let mut from = vec![keys::ATTEMPTS];
    loop {
        let mut found = None;
        engine.scan(&from, false, |key, _| {
            found = keys::id_of(key).filter(|_| key.first() == Some(&keys::ATTEMPTS)).map(WebhookId::from_bytes);
            false
        })?;
        let Some(webhook) = found else { return Ok(webhooks) };
        webhooks.push(webhook);
        from = [keys::attempts_prefix(webhook), vec![0xff; 17]].concat();
    }
}

/// The state of the work, for readers of the indexes.
#[derive(Clone, Default)]
pub(in crate::store::embedded) struct Backfill(Arc<RwLock<Missing>>);

impl Backfill {
    pub(in crate::store::embedded) fn load(engine: &Engine) -> Result<Self, StoreError> {
        Ok(Self(Arc::new(RwLock::new(Missing::load(engine)?))))
    }

    fn missing(&self) -> Missing {
        *self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time from which on an index is whole; `None` when it is whole. `Some(None)` when nothing old is indexed yet.
    pub(in crate::store::embedded) fn incomplete_before(&self, index: Index) -> Option<Option<Timestamp>> {
        let missing = self.missing();
        missing.is_missing(index).then_some(match index {
            Index::Attempts => missing.since.0,
            Index::Events => missing.since.1,
        })
    }

    /// Attempts that are made from now on have later ids.
    pub(in crate::store::embedded) fn last_attempt(&self) -> Option<AttemptId> {
        self.missing().attempts.map(AttemptId::from_bytes)
    }

    /// True if there is nothing to do.
    pub(in crate::store::embedded) fn is_done(&self) -> bool {
        self.missing() == Missing::default() || Index::BOTH.iter().all(|index| !self.missing().is_missing(*index))
    }

    /// Shows what is missing, now that it is written.
    fn set(&self, missing: Missing) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = missing;
    }
}

/// A block to be written.
pub(in crate::store::embedded) struct Step {
    index: Index,
    /// What was missing when it was read.
    before: Missing,
    after: Missing,
    rows: Vec<Found>,
}

/// A row, with the key of the record that it was made of.
struct Found {
    place: u128,
    row: Row,
    key: Vec<u8>,
}

impl Step {
    /// The number of its rows.
    pub(in crate::store::embedded) fn rows(&self) -> usize {
        self.rows.len()
    }

    /// The index that it belongs to, for messages.
    pub(in crate::store::embedded) fn name(&self) -> &'static str {
        self.index.name()
    }

    /// The changes that write it. Rows whose records retention has removed meanwhile are left out. `None` when another
    /// step came first.
    pub(in crate::store::embedded) fn txn(&self, engine: &Engine, stamp: u64) -> Result<Option<Txn>, StoreError> {
        if Missing::load(engine)? != self.before {
            return Ok(None);
        }
        let mut rows = Vec::with_capacity(self.rows.len());
        for of_record in self.rows.chunk_by(|first, second| first.key == second.key) {
            let Some(record) = of_record.first().map(|found| engine.get(&found.key)).transpose()?.flatten() else {
                continue;
            };
            // The limit by count removes single events of a commit; attempts go with their chunk.
            let listed = match self.index {
                Index::Attempts => Vec::new(),
                Index::Events => record::unpack_listed(&record).unwrap_or_default(),
            };
            let is_there = |row: &Row| {
                self.index == Index::Attempts || listed.iter().any(|(_, event)| *event.as_bytes() == row.id)
            };
            rows.extend(of_record.iter().map(|found| (found.place, found.row)).filter(|(_, row)| is_there(row)));
        }
        let mut txn = Txn::default();
        block::put(self.index, &rows, stamp, &mut txn);
        self.after.put(&mut txn);
        Ok(Some(txn))
    }

    /// Shows it to readers, now that it is written.
    pub(in crate::store::embedded) fn written(&self, backfill: &Backfill) {
        backfill.set(self.after);
    }
}

/// Reads what is to be indexed.
pub(in crate::store::embedded) struct Source {
    /// The commits that accepted events, by their sequence number, the oldest first.
    commits: Option<Vec<(u64, i64)>>,
    /// The attempts of each webhook that were read ahead, the newest last.
    lanes: HashMap<WebhookId, Lane>,
    marks: HashMap<EventId, EventMarks>,
    /// What is missing once the last step is written.
    expected: Option<Missing>,
    damage: Damage,
}

#[derive(Default)]
struct Lane {
    rows: Vec<Found>,
    /// True if there are no older ones.
    is_over: bool,
}

impl Source {
    pub(in crate::store::embedded) fn new(damage: Damage) -> Self {
        Self { commits: None, lanes: HashMap::new(), marks: HashMap::new(), expected: None, damage }
    }

    /// The next block; `None` when there is none left.
    pub(in crate::store::embedded) fn next(&mut self, engine: &Engine) -> Result<Option<Step>, StoreError> {
        let before = Missing::load(engine)?;
        if self.expected != Some(before) {
            // The last step was not written: what it took is read again.
            self.commits = None;
            self.lanes.clear();
        }
        let step = match before {
            Missing { events: Some(below), .. } => self.events(engine, below, before)?,
            Missing { attempts: Some(below), .. } => self.attempts(engine, u128::from_be_bytes(below), before)?,
            Missing { events: None, attempts: None, .. } => return Ok(None),
        };
        self.expected = Some(step.after);
        Ok(Some(step))
    }

    fn events(&mut self, engine: &Engine, below: u64, before: Missing) -> Result<Step, StoreError> {
        let mut commits = match self.commits.take() {
            Some(commits) => commits,
            None => commits_of(engine)?,
        };
        while commits.last().is_some_and(|(seq, _)| *seq >= below) {
            commits.pop();
        }
        let (mut groups, mut rows): (Vec<Vec<Found>>, usize) = (Vec::new(), 0);
        let mut after = Missing { events: None, ..before };
        while let Some((seq, ms)) = commits.last().copied() {
            let found = self.events_of(engine, seq, ms)?;
            // A commit is never indexed in part.
            if rows > 0 && rows + found.len() > super::LARGEST_BLOCK {
                break;
            }
            commits.pop();
            after.since.1 = found.first().map(|found| found.row.at).or(after.since.1);
            rows += found.len();
            groups.push(found);
            if rows >= BLOCK {
                break;
            }
        }
        after.events = commits.last().map(|(seq, _)| seq.saturating_add(1));
        self.commits = Some(commits);
        let rows = groups.into_iter().rev().flatten().collect();
        Ok(Step { index: Index::Events, before, after, rows })
    }

    fn events_of(&self, engine: &Engine, seq: u64, ms: i64) -> Result<Vec<Found>, StoreError> {
        let key = keys::timed(keys::ACCEPTED, ms, seq);
        let Some(bytes) = engine.get(&key)? else { return Ok(Vec::new()) };
        let Ok(events) = record::unpack_listed(&bytes) else {
            self.damage.skipped("acceptance index");
            return Ok(Vec::new());
        };
        let mut rows = Vec::with_capacity(events.len());
        for (position, id) in events {
            let known = engine.get(&keys::event(id))?.and_then(|bytes| record::unpack_event(&bytes).ok());
            let row = match known {
                Some(known) => {
                    let searchable = Searchable::of(known.event_type, &known.json);
                    let marks = EventMarks::of_stored(&searchable, known.accepted_at);
                    Row::of_event(id, known.event_type, searchable.severity, marks)
                }
                // A damaged event has its row all the same: an index is compared with what it is made of.
                None => Row::of_lost(id, Timestamp::from_unix_ms(ms)),
            };
            rows.push(Found { place: place_of_seq(seq) + u128::from(position), row, key: key.clone() });
        }
        Ok(rows)
    }

    fn attempts(&mut self, engine: &Engine, below: u128, before: Missing) -> Result<Step, StoreError> {
        let mut newest = BinaryHeap::new();
        for webhook in histories(engine)? {
            newest.extend(self.last_of(engine, webhook, below)?.map(|place| (place, *webhook.as_bytes())));
        }
        let mut rows: Vec<Found> = Vec::with_capacity(BLOCK);
        while rows.len() < BLOCK
            && let Some((_, webhook)) = newest.pop()
        {
            let webhook = WebhookId::from_bytes(webhook);
            let Some(found) = self.lanes.get_mut(&webhook).and_then(|lane| lane.rows.pop()) else { continue };
            let below = found.place;
            rows.push(found);
            newest.extend(self.last_of(engine, webhook, below)?.map(|place| (place, *webhook.as_bytes())));
        }
        let since = rows.last().map(|found| found.row.at).or(before.since.0);
        let oldest = rows.last().filter(|_| !newest.is_empty()).map(|found| found.row.id);
        rows.reverse();
        let after = Missing { attempts: oldest, since: (since, before.since.1), ..before };
        Ok(Step { index: Index::Attempts, before, after, rows })
    }

    /// The place of a webhook's last attempt before a place, which is then the last one of its lane.
    fn last_of(&mut self, engine: &Engine, webhook: WebhookId, below: u128) -> Result<Option<u128>, StoreError> {
        let mut lane = self.lanes.remove(&webhook).unwrap_or_default();
        while lane.rows.last().is_some_and(|found| found.place >= below) {
            lane.rows.pop();
        }
        while lane.rows.is_empty() && !lane.is_over {
            self.read_chunk(engine, webhook, below, &mut lane)?;
        }
        let place = lane.rows.last().map(|found| found.place);
        self.lanes.insert(webhook, lane);
        Ok(place)
    }

    /// Reads the last chunk of a webhook's history that begins before a place.
    fn read_chunk(
        &mut self,
        engine: &Engine,
        webhook: WebhookId,
        below: u128,
        lane: &mut Lane,
    ) -> Result<(), StoreError> {
        let prefix = keys::attempts_prefix(webhook);
        let mut from = keys::attempts(webhook, AttemptId::from_bytes(below.to_be_bytes()));
        loop {
            let mut chunk = None;
            engine.scan(&from, true, |key, value| {
                chunk = key.starts_with(&prefix).then(|| (key.to_vec(), record::unpack_attempts(value)));
                false
            })?;
            let Some((key, attempts)) = chunk else {
                lane.is_over = true;
                return Ok(());
            };
            from.clone_from(&key);
            let Ok(attempts) = attempts else {
                self.damage.skipped("attempts");
                continue;
            };
            for attempt in attempts.iter().filter(|attempt| place_of_attempt(attempt.id) < below) {
                let marks = match attempt.event_id {
                    Some(event) => self.marks(engine, event)?,
                    None => EventMarks::default(),
                };
                let row = Row::of_attempt(webhook, attempt, marks);
                lane.rows.push(Found { place: place_of_attempt(attempt.id), row, key: key.clone() });
            }
            if !lane.rows.is_empty() {
                return Ok(());
            }
        }
    }

    fn marks(&mut self, engine: &Engine, event: EventId) -> Result<EventMarks, StoreError> {
        if let Some(marks) = self.marks.get(&event) {
            return Ok(*marks);
        }
        let marks = stored_marks(engine, event)?.unwrap_or_default();
        if self.marks.len() >= MARKS {
            self.marks.clear();
        }
        self.marks.insert(event, marks);
        Ok(marks)
    }
}

/// The commits that accepted events: sequence number and time, by the sequence number. The order of their keys is that
/// of the clock.
fn commits_of(engine: &Engine) -> Result<Vec<(u64, i64)>, StoreError> {
    let mut commits = Vec::new();
    engine.scan_prefix(&[keys::ACCEPTED], None, |key, _| {
        commits.extend(keys::seq_of(key).zip(keys::time_of(keys::ACCEPTED, key)));
        true
    })?;
    commits.sort_unstable();
    Ok(commits)
}

/// Removes both indexes from a store that has no writer, and notes that they are missing.
pub(in crate::store::embedded) fn clear(engine: &Engine) -> Result<(), StoreError> {
    let mut txn = Txn::default();
    begin(engine, &mut txn)?;
    engine.commit(&[&txn])?;
    for tag in [keys::RECENT, keys::BLOCK] {
        loop {
            let (mut txn, mut removed) = (Txn::default(), 0);
            engine.scan_prefix(&[tag], None, |key, _| {
                txn.remove(key.to_vec());
                removed += 1;
                removed < PAGE
            })?;
            if removed == 0 {
                break;
            }
            engine.commit(&[&txn])?;
        }
    }
    Ok(())
}

/// Makes what is missing of both indexes, in a store that has no writer.
pub(in crate::store::embedded) fn rebuild(
    engine: &Engine,
    damage: Damage,
    mut stamp: impl FnMut() -> u64,
) -> Result<(), StoreError> {
    let mut source = Source::new(damage);
    while let Some(step) = source.next(engine)? {
        if let Some(txn) = step.txn(engine, stamp())? {
            engine.commit(&[&txn])?;
        }
    }
    Ok(())
}
