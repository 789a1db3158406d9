//! Walking along an index, from its newest row to its oldest or the other way.
//!
//! The rows that are in no block yet are read first, as a whole, and of the blocks only those from before them: so what a
//! commit joins to a block meanwhile is met once, and nothing new comes between older rows.

use super::super::engine::Engine;
use super::super::record::{self, Damage};
use super::super::txn::Bytes;
use super::super::{StoreError, keys};
use super::block::{self, Column, Values};
use super::{Index, Mark, Row, facts, mark, mark_of_event, place_of_seq};
use crate::model::delivery::{Attempt, ErrorClass};
use crate::model::event::{EventType, Severity};
use crate::model::id::{AttemptId, EventId, WebhookId};
use crate::model::time::Timestamp;

/// Tries to read a block's columns in one form, while retention writes it again.
const TRIES: usize = 8;

/// The conditions of a search, as rows have them. What passes may still not fit: marks are a part of a hash, and times
/// are those of blocks.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::store::embedded) struct Wanted {
    webhook: Option<[u8; 16]>,
    /// The bits of facts that must have a value, and the value.
    bits: (u32, u32),
    least: Option<u32>,
    engagement: Option<Mark>,
    finding: Option<Mark>,
    event: Option<Mark>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
}

impl Wanted {
    fn require(&mut self, (mask, value): facts::Part) {
        self.bits = (self.bits.0 | mask, self.bits.1 | value);
    }

    pub(in crate::store::embedded) fn webhook(&mut self, webhook: Option<WebhookId>) {
        self.webhook = webhook.map(|webhook| *webhook.as_bytes());
    }

    pub(in crate::store::embedded) fn success(&mut self, success: Option<bool>) {
        success.into_iter().for_each(|success| self.require(facts::success(success)));
    }

    pub(in crate::store::embedded) fn class(&mut self, class: Option<ErrorClass>) {
        class.into_iter().for_each(|class| self.require(facts::class(class)));
    }

    pub(in crate::store::embedded) fn status(&mut self, status: Option<u16>) {
        status.into_iter().for_each(|status| self.require(facts::status(status)));
    }

    pub(in crate::store::embedded) fn event_type(&mut self, event_type: Option<EventType>) {
        event_type.into_iter().for_each(|event_type| self.require(facts::event_type(event_type)));
    }

    pub(in crate::store::embedded) fn least(&mut self, severity: Option<Severity>) {
        self.least = severity.map(facts::severity);
    }

    pub(in crate::store::embedded) fn about(&mut self, engagement: Option<&str>, finding: Option<&str>) {
        (self.engagement, self.finding) = (engagement.map(mark), finding.map(mark));
    }

    pub(in crate::store::embedded) fn event(&mut self, event: Option<EventId>) {
        self.event = event.map(mark_of_event);
    }

    pub(in crate::store::embedded) fn times(&mut self, since: Option<Timestamp>, until: Option<Timestamp>) {
        (self.since, self.until) = (since, until);
    }

    fn passes_times(&self, earliest: Timestamp, latest: Timestamp) -> bool {
        self.since.is_none_or(|since| latest >= since) && self.until.is_none_or(|until| earliest <= until)
    }

    fn passes_facts(&self, facts: u32) -> bool {
        facts & self.bits.0 == self.bits.1 && self.least.is_none_or(|least| facts & facts::SEVERITY >= least)
    }

    fn passes(&self, row: &Row) -> bool {
        let is = |wanted: Option<Mark>, mark: Mark| wanted.is_none_or(|wanted| wanted == mark);
        self.passes_times(row.at, row.at)
            && self.passes_facts(row.facts)
            && self.webhook.is_none_or(|webhook| webhook == row.webhook)
            && is(self.engagement, row.engagement)
            && is(self.finding, row.finding)
            && is(self.event, row.event)
    }

    fn mark(&self, column: Column) -> Option<Mark> {
        match column {
            Column::Engagement => self.engagement,
            Column::Finding => self.finding,
            Column::Event => self.event,
            Column::Ids | Column::Webhooks | Column::Facts => None,
        }
    }

    /// The columns that decide, the one with the rarest values first.
    fn columns(&self) -> Vec<Column> {
        let mut columns: Vec<Column> = [Column::Finding, Column::Event, Column::Engagement]
            .into_iter()
            .filter(|column| self.mark(*column).is_some())
            .collect();
        columns.extend(self.webhook.map(|_| Column::Webhooks));
        columns.extend((self.bits.0 != 0 || self.least.is_some()).then_some(Column::Facts));
        columns
    }

    /// The rows of a block that a column lets pass.
    fn rows(&self, column: Column, values: &Values<'_>) -> Vec<usize> {
        let words = || values.words().iter().enumerate();
        match column {
            Column::Ids => (0..values.rows).collect(),
            Column::Webhooks => self.webhook.map_or_else(Vec::new, |webhook| values.rows_of(webhook)),
            Column::Facts => {
                let passing = words().filter(|(_, word)| self.passes_facts(u32::from_le_bytes(**word)));
                passing.map(|(row, _)| row).collect()
            }
            Column::Engagement | Column::Finding | Column::Event => {
                let wanted = self.mark(column).unwrap_or_default();
                words().filter(|(_, word)| **word == wanted).map(|(row, _)| row).collect()
            }
        }
    }
}

/// A row that may fit.
#[derive(Clone, Copy)]
pub(in crate::store::embedded) struct Candidate {
    pub(in crate::store::embedded) id: [u8; 16],
    pub(in crate::store::embedded) webhook: WebhookId,
}

/// A walk along an index.
pub(in crate::store::embedded) struct Walk<'a> {
    pub(in crate::store::embedded) engine: &'a Engine,
    pub(in crate::store::embedded) damage: &'a Damage,
    pub(in crate::store::embedded) index: Index,
    pub(in crate::store::embedded) wanted: Wanted,
    /// From the newest row to the oldest.
    pub(in crate::store::embedded) backwards: bool,
    /// The place and the id of the row that it begins behind; none: it begins at the end.
    pub(in crate::store::embedded) from: Option<(u128, [u8; 16])>,
    /// The number of keys that were read.
    pub(in crate::store::embedded) keys_read: u64,
}

/// A block with rows that pass the first column.
struct Hit {
    place: u128,
    stamp: u64,
    rows: Vec<usize>,
}

/// The rows that are in no block.
struct Young {
    /// The place of the first of them; what is joined to a block from now on has this place or a later one.
    first: Option<u128>,
    /// Those beyond the beginning of the walk, in order.
    rows: Vec<Row>,
}

impl Walk<'_> {
    /// Hands over each row that may fit, in order, until `found` returns false.
    ///
    /// # Errors
    /// Those of `found`; [`StoreError`] when the store cannot be read.
    pub(in crate::store::embedded) fn run(
        &mut self,
        found: &mut dyn FnMut(Candidate) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        let Young { first, rows } = self.young()?;
        let candidate = |row: &Row| Candidate { id: row.id, webhook: row.webhook() };
        let passing: Vec<Candidate> = rows.iter().filter(|row| self.wanted.passes(row)).map(candidate).collect();
        if self.backwards {
            for candidate in passing.into_iter().rev() {
                if !found(candidate)? {
                    return Ok(());
                }
            }
            let below = self.first_block()?.map_or(u128::MAX, |place| place.saturating_add(1));
            self.blocks(below.min(first.unwrap_or(u128::MAX)), 0, found)?;
            return Ok(());
        }
        let start = self.first_block()?.unwrap_or(0);
        if self.blocks(start, first.unwrap_or(u128::MAX), found)? {
            for candidate in passing {
                if !found(candidate)? {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Reads the rows that are in no block. They are read again when a commit has joined them meanwhile: some may have
    /// been missed.
    fn young(&mut self) -> Result<Young, StoreError> {
        let index = self.index;
        for _ in 0..TRIES {
            let mut placed: Vec<(u128, Row)> = Vec::new();
            let mut keys_read = 0;
            self.engine.scan_prefix(&keys::recent_prefix(index.code()), None, |key, value| {
                keys_read += 1;
                let (Some(first), Ok(found)) = (keys::place_of(key), record::unpack::<Vec<Row>>(value)) else {
                    self.damage.skipped("index");
                    return true;
                };
                placed.extend(found.into_iter().enumerate().map(|(at, row)| (index.place(first, at, &row), row)));
                true
            })?;
            self.keys_read += keys_read;
            let first = placed.first().map(|(place, _)| *place);
            if let Some(first) = first
                && block::at(self.engine, index, u128::MAX)?.is_some_and(|last| last >= first)
            {
                continue;
            }
            let rows = self.beyond(placed);
            return Ok(Young { first, rows });
        }
        Err(StoreError::Busy)
    }

    /// The rows that are beyond the beginning of the walk.
    fn beyond(&self, mut placed: Vec<(u128, Row)>) -> Vec<Row> {
        if let Some((from, id)) = self.from {
            match (placed.iter().position(|(_, row)| row.id == id), self.backwards) {
                (Some(row), true) => placed.truncate(row),
                (Some(row), false) => drop(placed.drain(..=row)),
                // It is in a block, or gone.
                (None, true) => placed.retain(|(place, _)| self.index == Index::Attempts && *place < from),
                (None, false) => placed.retain(|(place, _)| *place > from),
            }
        }
        placed.into_iter().map(|(_, row)| row).collect()
    }

    /// The place of the block that the walk begins in; none: it begins at the end.
    fn first_block(&self) -> Result<Option<u128>, StoreError> {
        let Some((from, id)) = self.from else { return Ok(None) };
        let mut place = from;
        while let Some(block) = block::at(self.engine, self.index, place)? {
            // The events of one commit may be in two blocks.
            if self.index == Index::Attempts || block >> 64 < from >> 64 || self.block_has(block, id)? {
                return Ok(Some(block));
            }
            let Some(before) = block.checked_sub(1) else { break };
            place = before;
        }
        Ok(Some(from))
    }

    /// Walks along the blocks: backwards those before a place, forwards those from it on and before another. True if it
    /// came to the end.
    fn blocks(
        &mut self,
        start: u128,
        end: u128,
        found: &mut dyn FnMut(Candidate) -> Result<bool, StoreError>,
    ) -> Result<bool, StoreError> {
        let columns = self.wanted.columns();
        let first = columns.first().copied().unwrap_or(Column::Ids);
        let index = self.index.code();
        let key = |place: u128| keys::column(index, first.code(), place);
        let mut from = key(start);
        while let Some(hit) = self.next_hit(first, &from)? {
            if !self.backwards && hit.place >= end {
                break;
            }
            from = key(hit.place);
            if !self.backwards {
                from.push(0);
            }
            for candidate in self.candidates(&columns, hit)? {
                if !found(candidate)? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// The next block with rows that pass this column.
    fn next_hit(&mut self, column: Column, from: &[u8]) -> Result<Option<Hit>, StoreError> {
        let prefix = keys::column_prefix(self.index.code(), column.code());
        let mut hit = None;
        let mut keys_read = 0;
        self.engine.scan(from, self.backwards, |key, value| {
            if !key.starts_with(&prefix) {
                return false;
            }
            keys_read += 1;
            let (Some(place), Ok(values)) = (keys::place_of(key), Values::read(column, value)) else {
                self.damage.skipped("index");
                return true;
            };
            if self.wanted.passes_times(values.earliest, values.latest) {
                let rows = self.wanted.rows(column, &values);
                hit = (!rows.is_empty()).then_some(Hit { place, stamp: values.stamp, rows });
            }
            hit.is_none()
        })?;
        self.keys_read += keys_read;
        Ok(hit)
    }

    /// The rows of a block that pass every column, in the walk's order.
    fn candidates(&mut self, columns: &[Column], hit: Hit) -> Result<Vec<Candidate>, StoreError> {
        let Hit { place, mut stamp, rows: first_rows } = hit;
        let mut known = Some(first_rows);
        for _ in 0..TRIES {
            let Some(read) = self.columns(columns, place)? else { return Ok(Vec::new()) };
            let mut values = Vec::with_capacity(read.len());
            for (column, bytes) in &read {
                let Ok(found) = Values::read(*column, bytes) else {
                    self.damage.skipped("index");
                    return Ok(Vec::new());
                };
                values.push((*column, found));
            }
            let stamps = |stamp| values.iter().all(|(_, values)| values.stamp == stamp);
            if !stamps(stamp) {
                // Written again since the first column was read.
                stamp = values.first().map_or(stamp, |(_, values)| values.stamp);
                known = None;
                if !stamps(stamp) {
                    continue;
                }
            }
            return Ok(self.chosen(columns, &values, known));
        }
        Err(StoreError::Busy)
    }

    /// The columns of a block that decide, its ids and its webhooks; `None` when it is gone.
    fn columns(&mut self, wanted: &[Column], place: u128) -> Result<Option<Vec<(Column, Bytes)>>, StoreError> {
        let mut columns = vec![Column::Ids];
        columns.extend((self.index == Index::Attempts).then_some(Column::Webhooks));
        columns.extend(wanted.iter().copied().filter(|column| *column != Column::Webhooks));
        let mut read = Vec::with_capacity(columns.len());
        for column in columns {
            self.keys_read += 1;
            match self.engine.get(&keys::column(self.index.code(), column.code(), place))? {
                Some(bytes) => read.push((column, bytes)),
                None => return Ok(None),
            }
        }
        Ok(Some(read))
    }

    fn chosen(&self, columns: &[Column], values: &[(Column, Values<'_>)], known: Option<Vec<usize>>) -> Vec<Candidate> {
        let of = |wanted: Column| values.iter().find(|(column, _)| *column == wanted).map(|(_, values)| values);
        let Some(ids) = of(Column::Ids) else { return Vec::new() };
        let mut rows = known.unwrap_or_else(|| (0..ids.rows).collect());
        for column in columns {
            let passing = of(*column).map(|values| self.wanted.rows(*column, values)).unwrap_or_default();
            rows.retain(|row| passing.binary_search(row).is_ok());
        }
        let webhooks = of(Column::Webhooks);
        let within = self.within(ids);
        let mut chosen: Vec<Candidate> = rows
            .into_iter()
            .filter(|row| within.contains(row))
            .map(|row| Candidate {
                id: ids.id(row),
                webhook: WebhookId::from_bytes(webhooks.map_or([0; 16], |webhooks| webhooks.webhook(row))),
            })
            .collect();
        if self.backwards {
            chosen.reverse();
        }
        chosen
    }

    /// The rows of a block that are beyond the beginning of the walk.
    fn within(&self, ids: &Values<'_>) -> std::ops::Range<usize> {
        let Some((_, from)) = self.from else { return 0..ids.rows };
        let row = match self.index {
            // In the order of their ids; the one of the cursor may be gone.
            Index::Attempts => {
                let before = ids.ids().take_while(|id| *id < from).count();
                if self.backwards {
                    return 0..before;
                }
                before + ids.ids().skip(before).take_while(|id| *id == from).count()
            }
            Index::Events => match ids.ids().position(|id| id == from) {
                Some(row) => row,
                None => return 0..ids.rows,
            },
        };
        if self.backwards { 0..row } else { row..ids.rows }
    }

    /// True if the index has a row with the id that the walk begins behind.
    pub(in crate::store::embedded) fn has_beginning(&self) -> Result<bool, StoreError> {
        let Some((place, id)) = self.from else { return Ok(true) };
        let tail = super::Tail::load(self.engine, self.index, self.damage)?;
        if tail.records.iter().flat_map(|(_, rows)| rows).any(|row| row.id == id) {
            return Ok(true);
        }
        // After the rows in no block: these become rows of one.
        let Some(block) = block::at(self.engine, self.index, place)? else { return Ok(false) };
        self.block_has(block, id)
    }

    fn block_has(&self, block: u128, id: [u8; 16]) -> Result<bool, StoreError> {
        let bytes = self.engine.get(&keys::column(self.index.code(), Column::Ids.code(), block))?;
        Ok(bytes.is_some_and(|bytes| Values::read(Column::Ids, &bytes).is_ok_and(|ids| ids.ids().any(|one| one == id))))
    }
}

/// The last place of the commit that accepted an event, by the acceptance index.
pub(in crate::store::embedded) fn place_of_event(
    engine: &Engine,
    event: EventId,
    accepted_at: Timestamp,
    within: std::time::Duration,
) -> Result<Option<u128>, StoreError> {
    let end = keys::timed_end(keys::ACCEPTED, accepted_at.plus(within).unix_ms());
    let mut place = None;
    engine.scan(&keys::timed_end(keys::ACCEPTED, accepted_at.unix_ms()), false, |key, value| {
        if key >= end.as_slice() {
            return false;
        }
        let events = record::unpack_listed(value).unwrap_or_default();
        if events.iter().any(|(_, other)| *other == event) {
            place = keys::seq_of(key).map(|seq| place_of_seq(seq) | u128::from(u64::MAX));
        }
        place.is_none()
    })?;
    Ok(place)
}

/// Reads attempts by their ids. Those of a page are often in the same chunk of history.
pub(in crate::store::embedded) struct Chunks<'a> {
    pub(in crate::store::embedded) engine: &'a Engine,
    pub(in crate::store::embedded) last: Option<(WebhookId, Vec<Attempt>)>,
}

impl Chunks<'_> {
    pub(in crate::store::embedded) fn attempt(
        &mut self,
        webhook: WebhookId,
        id: AttemptId,
    ) -> Result<Option<Attempt>, StoreError> {
        let find = |chunk: &[Attempt]| chunk.iter().find(|attempt| attempt.id == id).cloned();
        if let Some((_, chunk)) = self.last.as_ref().filter(|(owner, _)| *owner == webhook)
            && let Some(attempt) = find(chunk)
        {
            return Ok(Some(attempt));
        }
        let prefix = keys::attempts_prefix(webhook);
        let mut chunk = None;
        self.engine.scan(&[keys::attempts(webhook, id), vec![0]].concat(), true, |key, value| {
            chunk = key.starts_with(&prefix).then(|| record::unpack_attempts(value).ok()).flatten();
            false
        })?;
        let attempt = chunk.as_deref().and_then(find);
        self.last = chunk.map(|chunk| (webhook, chunk));
        Ok(attempt)
    }
}
