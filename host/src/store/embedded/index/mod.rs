//! The indexes that lists over everything read: one of attempts, one of events, each in the order of acceptance.
//!
//! An index is a sequence of rows. A row has what filters compare, in a few bytes: numbers for status, class and type,
//! and 32 bits of a hash for each identifier. What a filter finds is compared with the attempt or event itself, so a
//! collision costs a look and shows nothing wrong.
//!
//! sled's cost is by keys, so a row has none of its own. A commit puts its rows into one record ([`keys::RECENT`]); once
//! there are [`BLOCK`] of them, the commit joins them to a block ([`keys::BLOCK`]), a key for each column, and removes the
//! records, most of which sled never saw. A search for a rare value reads one column of each block, 4 bytes a row: a
//! million rows are a thousand keys and 4 MiB. Postings by value would answer faster, and cost every event a key.
//!
//! [`block`] is the form of columns, [`search`] reads, [`prune`] removes with retention, [`backfill`] makes the indexes of
//! a store that has none.

mod backfill;
mod block;
mod fingerprint;
mod prune;
mod search;

use std::collections::{HashMap, VecDeque};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::engine::Engine;
use super::record::{self, Damage};
use super::txn::Txn;
use super::{StoreError, keys};
use crate::model::delivery::{Attempt, ErrorClass};
use crate::model::event::{EventType, NewEvent, Searchable, Severity};
use crate::model::id::{AttemptId, EventId, WebhookId};
use crate::model::time::Timestamp;

pub(super) use backfill::{Backfill, Source, Step, begin, clear, rebuild};
pub(super) use block::readable as readable_column;
pub(super) use fingerprint::Fingerprints;
pub(super) use prune::Pruned;
pub(super) use search::{Chunks, Walk, Wanted, place_of_event};

/// Rows that make a block, at least. In tests a few do.
const BLOCK: usize = if cfg!(test) { 8 } else { 1024 };
/// Bytes of a row in a record, at most.
const ROW_BYTES: usize = 72;
/// Rows of a block, at most: a commit may bring many.
const LARGEST_BLOCK: usize = 2 * BLOCK;

/// An index. Its code is on disks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Index {
    Attempts,
    Events,
}

impl Index {
    pub(super) const BOTH: [Self; 2] = [Self::Attempts, Self::Events];

    pub(super) fn code(self) -> u8 {
        match self {
            Self::Attempts => b'a',
            Self::Events => b'e',
        }
    }

    /// The name in messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Attempts => "attempts",
            Self::Events => "events",
        }
    }

    /// The place of a record's row: an attempt's is its id; an event's follows from the sequence number of its commit.
    fn place(self, first: u128, position: usize, row: &Row) -> u128 {
        match self {
            Self::Attempts => u128::from_be_bytes(row.id),
            Self::Events => first + position as u128,
        }
    }
}

/// The place of the first event of the commit with this sequence number in the acceptance index.
pub(super) fn place_of_seq(seq: u64) -> u128 {
    u128::from(seq) << 64
}

pub(super) fn place_of_attempt(id: AttemptId) -> u128 {
    u128::from_be_bytes(*id.as_bytes())
}

/// A part of an identifier's hash; zeros for none.
pub(super) type Mark = [u8; 4];

/// The mark of a text.
fn mark(text: &str) -> Mark {
    let hash = Sha256::digest(text.as_bytes());
    let mark = [hash[0], hash[1], hash[2], hash[3]];
    if mark == [0; 4] { [0, 0, 0, 1] } else { mark }
}

/// The mark of an event's id.
fn mark_of_event(event: EventId) -> Mark {
    let [.., a, b, c, d] = *event.as_bytes();
    [a, b, c, d]
}

/// What the rows of an event and of its attempts take from it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct EventMarks {
    pub(super) accepted_at: Timestamp,
    engagement: Mark,
    finding: Mark,
}

impl EventMarks {
    pub(super) fn of_new(event: &NewEvent, accepted_at: Timestamp) -> Self {
        let of = |id: &Option<String>| id.as_deref().map_or([0; 4], mark);
        Self { accepted_at, engagement: of(&event.engagement_id), finding: of(&event.finding_id) }
    }

    pub(super) fn of_stored(searchable: &Searchable, accepted_at: Timestamp) -> Self {
        let of = |id: &Option<String>| id.as_deref().map_or([0; 4], mark);
        Self { accepted_at, engagement: of(&searchable.engagement_id), finding: of(&searchable.finding_id) }
    }
}

/// An attempt or event as the index knows it. The fields' order is on disks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Row {
    id: [u8; 16],
    /// Whose attempt; zeros for an event.
    webhook: [u8; 16],
    /// When the attempt was made or the event accepted.
    at: Timestamp,
    facts: u32,
    engagement: Mark,
    finding: Mark,
    /// The attempt's event; zeros for a test, and for an event.
    event: Mark,
}

impl Row {
    pub(super) fn of_attempt(webhook: WebhookId, attempt: &Attempt, marks: EventMarks) -> Self {
        Self {
            id: *attempt.id.as_bytes(),
            webhook: *webhook.as_bytes(),
            at: attempt.created_at,
            facts: facts::of_attempt(attempt),
            engagement: marks.engagement,
            finding: marks.finding,
            event: attempt.event_id.map_or([0; 4], mark_of_event),
        }
    }

    pub(super) fn of_event(id: EventId, event_type: EventType, severity: Option<Severity>, marks: EventMarks) -> Self {
        Self {
            id: *id.as_bytes(),
            webhook: [0; 16],
            at: marks.accepted_at,
            facts: facts::of_event(event_type, severity),
            engagement: marks.engagement,
            finding: marks.finding,
            event: [0; 4],
        }
    }

    /// The row of an event that cannot be read.
    fn of_lost(id: EventId, at: Timestamp) -> Self {
        let (none, zeros) = ([0; 4], [0; 16]);
        Self { id: *id.as_bytes(), webhook: zeros, at, facts: 0, engagement: none, finding: none, event: none }
    }

    /// The place of an attempt's row.
    pub(super) fn place(&self) -> u128 {
        u128::from_be_bytes(self.id)
    }

    pub(super) fn webhook(&self) -> WebhookId {
        WebhookId::from_bytes(self.webhook)
    }
}

/// What filters compare for equality, in 32 bits. Their positions are on disks.
mod facts {
    use super::*;

    /// The HTTP status, 0 for none.
    const STATUS: u32 = 0x3ff;
    /// The error's class, 0 for none.
    const CLASS: u32 = 0xf << CLASS_AT;
    const CLASS_AT: u32 = 10;
    const SUCCESS: u32 = 1 << 14;
    /// The event type's code and 1; 0 for one that is not known.
    const TYPE: u32 = 0xff << TYPE_AT;
    const TYPE_AT: u32 = 16;
    /// The severity and 1; 0 for none. In events only.
    pub(super) const SEVERITY: u32 = 0x7;

    /// A mask, and the value under it.
    pub(super) type Part = (u32, u32);

    pub(super) fn success(success: bool) -> Part {
        (SUCCESS, if success { SUCCESS } else { 0 })
    }

    pub(super) fn status(status: u16) -> Part {
        (STATUS, u32::from(status).min(STATUS))
    }

    pub(super) fn class(class: ErrorClass) -> Part {
        (CLASS, class_code(class) << CLASS_AT)
    }

    pub(super) fn event_type(event_type: EventType) -> Part {
        (TYPE, ((event_type.code() + 1) & 0xff) << TYPE_AT)
    }

    pub(super) fn severity(severity: Severity) -> u32 {
        match severity {
            Severity::Info => 1,
            Severity::Low => 2,
            Severity::Medium => 3,
            Severity::High => 4,
            Severity::Critical => 5,
        }
    }

    fn class_code(class: ErrorClass) -> u32 {
        match class {
            ErrorClass::Timeout => 1,
            ErrorClass::Dns => 2,
            ErrorClass::Connect => 3,
            ErrorClass::Tls => 4,
            ErrorClass::Policy => 5,
            ErrorClass::Status => 6,
            ErrorClass::Protocol => 7,
            ErrorClass::Formatter => 8,
            ErrorClass::Interrupted => 9,
        }
    }

    pub(super) fn of_attempt(attempt: &Attempt) -> u32 {
        let status = attempt.status_code.map_or(0, |code| status(code).1);
        let class = attempt.error_class().map_or(0, |found| class(found).1);
        let event_type = EventType::from_name(&attempt.event_type).map_or(0, |found| event_type(found).1);
        status | class | success(attempt.success).1 | event_type
    }

    pub(super) fn of_event(of_type: EventType, of_severity: Option<Severity>) -> u32 {
        event_type(of_type).1 | of_severity.map_or(0, severity)
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn codes_are_those_on_existing_disks() {
            assert_eq!(ErrorClass::ALL.map(class_code), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
            assert_eq!(Severity::ALL.map(severity), [1, 2, 3, 4, 5]);
            let codes = (Index::Attempts.code(), Index::Events.code());
            assert_eq!(codes, (b'a', b'e'));
            let parts =
                [success(true), status(599), class(ErrorClass::Interrupted), event_type(EventType::HostDegraded)];
            assert_eq!(parts, [(0x4000, 0x4000), (0x3ff, 599), (0x3c00, 0x2400), (0xff_0000, 17 << 16)]);
        }
    }
}

/// Rows of one commit, with the place of the first.
pub(super) type Rows = (u128, Vec<Row>);

/// The rows that are in no block yet, as the writer knows them.
#[derive(Default)]
pub(super) struct Tail {
    records: Vec<Rows>,
    rows: usize,
}

/// How a commit changes a tail, once it is written.
pub(super) enum Growth {
    Grown(Rows),
    Joined,
}

impl Tail {
    /// Adds the changes that bring these rows into the index.
    pub(super) fn grow(&self, index: Index, (place, rows): Rows, stamp: u64, txn: &mut Txn) -> Growth {
        if self.rows + rows.len() < BLOCK {
            txn.put(keys::recent(index.code(), place), record::pack_list(&rows, ROW_BYTES));
            return Growth::Grown((place, rows));
        }
        let added = (place, rows);
        let records = self.records.iter().chain([&added]);
        let placed: Vec<(u128, Row)> = records
            .flat_map(|(first, rows)| {
                rows.iter().enumerate().map(|(position, row)| (index.place(*first, position, row), *row))
            })
            .collect();
        // As even as can be: a small rest would be a block of its own.
        let blocks = placed.len().div_ceil(LARGEST_BLOCK);
        for rows in placed.chunks(placed.len().div_ceil(blocks)) {
            block::put(index, rows, stamp, txn);
        }
        for (place, _) in &self.records {
            txn.remove(keys::recent(index.code(), *place));
        }
        Growth::Joined
    }

    pub(super) fn apply(&mut self, growth: Growth) {
        match growth {
            Growth::Grown(rows) => {
                self.rows += rows.1.len();
                self.records.push(rows);
            }
            Growth::Joined => *self = Self::default(),
        }
    }

    /// The rows that are in no block, from the disk.
    pub(super) fn load(engine: &Engine, index: Index, damage: &Damage) -> Result<Self, StoreError> {
        let mut tail = Self::default();
        engine.scan_prefix(&keys::recent_prefix(index.code()), None, |key, value| {
            match (keys::place_of(key), record::unpack::<Vec<Row>>(value)) {
                (Some(place), Ok(rows)) => tail.apply(Growth::Grown((place, rows))),
                _ => damage.skipped("index"),
            }
            true
        })?;
        Ok(tail)
    }
}

/// The last attempt of the index; ids of later attempts must come after it, whatever the clock says.
pub(super) fn last_attempt(engine: &Engine, tail: &Tail) -> Result<Option<AttemptId>, StoreError> {
    let id = match tail.records.last().and_then(|(_, rows)| rows.last()) {
        Some(row) => Some(row.id),
        None => block::last_id(engine, Index::Attempts)?,
    };
    Ok(id.map(AttemptId::from_bytes))
}

/// The marks of the latest events: their attempts' rows need no read from the disk.
#[derive(Default)]
pub(super) struct MarksCache {
    marks: HashMap<EventId, EventMarks>,
    order: VecDeque<EventId>,
}

impl MarksCache {
    /// Events in the cache.
    const EVENTS: usize = 8192;

    pub(super) fn put(&mut self, event: EventId, marks: EventMarks) {
        if self.marks.insert(event, marks).is_none() {
            self.order.push_back(event);
        }
        while self.order.len() > Self::EVENTS
            && let Some(oldest) = self.order.pop_front()
        {
            self.marks.remove(&oldest);
        }
    }

    pub(super) fn get(&self, event: EventId) -> Option<EventMarks> {
        self.marks.get(&event).copied()
    }
}

/// An event's marks, from the disk; `None` when it is gone or cannot be read.
pub(super) fn stored_marks(engine: &Engine, event: EventId) -> Result<Option<EventMarks>, StoreError> {
    let Some(bytes) = engine.get(&keys::event(event))? else { return Ok(None) };
    let Ok(known) = record::unpack_event(&bytes) else { return Ok(None) };
    Ok(Some(EventMarks::of_stored(&Searchable::of(known.event_type, &known.json), known.accepted_at)))
}

/// True if a record of recent rows is intact.
pub(super) fn readable_rows(value: &[u8]) -> bool {
    record::unpack::<Vec<Row>>(value).is_ok()
}

#[cfg(test)]
pub(super) fn golden_row(at: Timestamp) -> Row {
    let (engagement, finding, event) = ([1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]);
    Row { id: [0xe1; 16], webhook: [0xb1; 16], at, facts: 0x1234, engagement, finding, event }
}

#[cfg(test)]
pub(super) fn golden_block(at: Timestamp, stamp: u64) -> Txn {
    let (mut txn, row) = (Txn::default(), golden_row(at));
    block::put(Index::Attempts, &[(row.place(), row), (row.place(), row)], stamp, &mut txn);
    txn
}

#[cfg(test)]
pub(super) fn golden_missing(at: Timestamp) -> Vec<u8> {
    record::pack(&backfill::Missing::golden(at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::conformance::folder_in_memory;

    /// Rows of a block as they are in a store.
    const ROWS: u32 = 1024;
    const BLOCKS: u32 = 977;

    /// A million rows, every thousandth of which is about a finding of its own.
    fn a_million(engine: &Engine) {
        for block in 0..BLOCKS {
            let mut txn = Txn::default();
            let rows: Vec<(u128, Row)> = (0..ROWS)
                .map(|row| {
                    let number = block * ROWS + row;
                    let place = u128::from(number) << 64;
                    let finding = mark(&format!("F-{}", number / 1000));
                    let id = place.to_be_bytes();
                    let row = Row { id, facts: number, finding, ..golden_row(Timestamp::from_unix_ms(number.into())) };
                    (place, row)
                })
                .collect();
            block::put(Index::Attempts, &rows, block.into(), &mut txn);
            engine.commit(&[&txn]).expect("written");
        }
    }

    #[test]
    #[ignore = "seconds, and it prints: what a search reads of a million attempts"]
    fn a_search_of_a_million_attempts_reads_one_column() {
        let folder = folder_in_memory();
        let engine = Engine::open(folder.path(), 1 << 26).expect("opened");
        a_million(&engine);
        let damage = Damage::default();
        let walk = |wanted: Wanted, most: usize| {
            let mut walk = Walk {
                engine: &engine,
                damage: &damage,
                index: Index::Attempts,
                wanted,
                backwards: true,
                from: None,
                keys_read: 0,
            };
            let mut found = 0;
            #[expect(clippy::disallowed_methods, reason = "prints a time")]
            let began = std::time::Instant::now();
            walk.run(&mut |_| {
                found += 1;
                Ok(found < most)
            })
            .expect("read");
            println!("{wanted:?}\n  {found} found, {} keys read, {:?}", walk.keys_read, began.elapsed());
            (found, walk.keys_read)
        };
        assert_eq!(walk(Wanted::default(), 51), (51, 3));
        let mut finding = Wanted::default();
        finding.about(None, Some("F-407"));
        let (found, keys_read) = walk(finding, usize::MAX);
        assert_eq!(found, 1000);
        assert!(keys_read <= u64::from(BLOCKS) + 10, "{keys_read}");
        let mut none = Wanted::default();
        none.about(None, Some("nowhere"));
        assert_eq!(walk(none, usize::MAX), (0, BLOCKS.into()));
    }

    #[test]
    fn one_row_in_many_is_read_back_from_its_block() {
        let folder = folder_in_memory();
        let engine = Engine::open(folder.path(), 1 << 20).expect("opened");
        let row = golden_row(Timestamp::from_unix_ms(5));
        let rows: Vec<(u128, Row)> =
            (1..=5_u8).map(|n| (u128::from(n), Row { webhook: [n % 2; 16], facts: n.into(), ..row })).collect();
        let mut txn = Txn::default();
        block::put(Index::Attempts, &rows, 1, &mut txn);
        engine.commit(&[&txn]).expect("written");
        let (span, read) = block::load(&engine, Index::Attempts, 1).expect("read").expect("there");
        assert_eq!(span, (row.at, row.at));
        assert_eq!(read, rows.iter().map(|(_, row)| *row).collect::<Vec<_>>());
        let places = [0, 1, 3, u128::MAX].map(|place| block::at(&engine, Index::Attempts, place).expect("read"));
        assert_eq!(places, [None, Some(1), Some(1), Some(1)]);
    }
}
