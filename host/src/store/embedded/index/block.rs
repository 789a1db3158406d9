//! The form of a block: a record for each column, the rows' values one after the other, each of a fixed length.
//!
//! A block that is written again gets a new stamp in all of its columns, so that a reader notices when it has columns of
//! two forms of the block.

use super::super::engine::Engine;
use super::super::record::{self, Damaged};
use super::super::txn::{Bytes, Txn};
use super::super::{StoreError, keys};
use super::{Index, Mark, Row};
use crate::model::time::Timestamp;

/// A column. Its code is on disks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Column {
    /// 16 bytes each.
    Ids,
    /// The number of different webhooks in two bytes, their ids, and for each row the number of its own in two bytes. In
    /// the index of attempts only, like [`Column::Event`].
    Webhooks,
    /// Four bytes each, little-endian.
    Facts,
    /// Marks.
    Engagement,
    Finding,
    Event,
}

impl Column {
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Ids => 0,
            Self::Webhooks => 1,
            Self::Facts => 2,
            Self::Engagement => 3,
            Self::Finding => 4,
            Self::Event => 5,
        }
    }

    pub(super) fn all(index: Index) -> &'static [Self] {
        match index {
            Index::Attempts => &[Self::Ids, Self::Webhooks, Self::Facts, Self::Engagement, Self::Finding, Self::Event],
            Index::Events => &[Self::Ids, Self::Facts, Self::Engagement, Self::Finding],
        }
    }

    pub(super) fn with_code(code: u8) -> Option<Self> {
        Self::all(Index::Attempts).iter().copied().find(|column| column.code() == code)
    }
}

/// Stamp, number of rows, the earliest and the latest of their times.
const HEAD: usize = 8 + 4 + 8 + 8;

/// A column's record, read.
#[derive(Clone, Copy)]
pub(super) struct Values<'a> {
    pub(super) stamp: u64,
    pub(super) rows: usize,
    pub(super) earliest: Timestamp,
    pub(super) latest: Timestamp,
    body: &'a [u8],
}

impl<'a> Values<'a> {
    pub(super) fn read(column: Column, bytes: &'a [u8]) -> Result<Self, Damaged> {
        let (head, body) = record::open_raw(bytes)?.split_first_chunk::<HEAD>().ok_or(Damaged)?;
        let number = |from: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&head[from..from + 8]);
            u64::from_le_bytes(bytes)
        };
        let rows = u32::from_le_bytes([head[8], head[9], head[10], head[11]]) as usize;
        let values = Self {
            stamp: number(0),
            rows,
            earliest: Timestamp::from_unix_ms(number(12).cast_signed()),
            latest: Timestamp::from_unix_ms(number(20).cast_signed()),
            body,
        };
        let length = match column {
            Column::Ids => 16 * rows,
            Column::Webhooks => 2 + 16 * values.webhooks() + 2 * rows,
            _ => 4 * rows,
        };
        if body.len() == length { Ok(values) } else { Err(Damaged) }
    }

    pub(super) fn id(&self, row: usize) -> [u8; 16] {
        array(self.body, 16 * row)
    }

    pub(super) fn ids(&self) -> impl DoubleEndedIterator<Item = [u8; 16]> {
        self.body.as_chunks::<16>().0.iter().copied()
    }

    /// The four bytes of each row.
    pub(super) fn words(&self) -> &'a [Mark] {
        self.body.as_chunks::<4>().0
    }

    fn webhooks(&self) -> usize {
        usize::from(u16::from_le_bytes(array(self.body, 0)))
    }

    pub(super) fn webhook(&self, row: usize) -> [u8; 16] {
        let number = u16::from_le_bytes(array(self.body, 2 + 16 * self.webhooks() + 2 * row));
        array(self.body, 2 + 16 * usize::from(number))
    }

    /// The rows of a webhook.
    pub(super) fn rows_of(&self, webhook: [u8; 16]) -> Vec<usize> {
        let known = self.webhooks();
        let Some(number) = (0..known).find(|number| array::<16>(self.body, 2 + 16 * number) == webhook) else {
            return Vec::new();
        };
        let numbers = self.body.get(2 + 16 * known..).unwrap_or_default().as_chunks::<2>().0;
        let wanted = numbers.iter().enumerate().filter(|(_, bytes)| usize::from(u16::from_le_bytes(**bytes)) == number);
        wanted.map(|(row, _)| row).collect()
    }
}

/// Bytes of a record; zeros behind its end.
fn array<const N: usize>(bytes: &[u8], from: usize) -> [u8; N] {
    bytes.get(from..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
}

/// Writes a block.
pub(super) fn put(index: Index, rows: &[(u128, Row)], stamp: u64, txn: &mut Txn) {
    let Some((place, _)) = rows.first() else { return };
    let times = || rows.iter().map(|(_, row)| row.at);
    let span = (times().min().unwrap_or_default(), times().max().unwrap_or_default());
    let rows: Vec<&Row> = rows.iter().map(|(_, row)| row).collect();
    put_at(index, *place, span, &rows, stamp, txn);
}

/// The earliest and the latest time of a block's rows.
pub(super) type Span = (Timestamp, Timestamp);

/// Writes a block under this place: the one of the first row that it ever had.
pub(super) fn put_at(index: Index, place: u128, (earliest, latest): Span, rows: &[&Row], stamp: u64, txn: &mut Txn) {
    for column in Column::all(index) {
        let value = record::pack_raw(HEAD + 18 * rows.len(), |bytes| {
            bytes.extend_from_slice(&stamp.to_le_bytes());
            bytes.extend_from_slice(&u32::try_from(rows.len()).unwrap_or(u32::MAX).to_le_bytes());
            bytes.extend_from_slice(&earliest.unix_ms().to_le_bytes());
            bytes.extend_from_slice(&latest.unix_ms().to_le_bytes());
            match column {
                Column::Ids => rows.iter().for_each(|row| bytes.extend_from_slice(&row.id)),
                Column::Webhooks => put_webhooks(rows, bytes),
                Column::Facts => rows.iter().for_each(|row| bytes.extend_from_slice(&row.facts.to_le_bytes())),
                Column::Engagement => rows.iter().for_each(|row| bytes.extend_from_slice(&row.engagement)),
                Column::Finding => rows.iter().for_each(|row| bytes.extend_from_slice(&row.finding)),
                Column::Event => rows.iter().for_each(|row| bytes.extend_from_slice(&row.event)),
            }
        });
        txn.put(keys::column(index.code(), column.code(), place), value);
    }
}

fn put_webhooks(rows: &[&Row], bytes: &mut Vec<u8>) {
    let mut known: Vec<[u8; 16]> = rows.iter().map(|row| row.webhook).collect();
    known.sort_unstable();
    known.dedup();
    let number = |number: usize| u16::try_from(number).unwrap_or(u16::MAX).to_le_bytes();
    bytes.extend_from_slice(&number(known.len()));
    known.iter().for_each(|webhook| bytes.extend_from_slice(webhook));
    for row in rows {
        bytes.extend_from_slice(&number(known.partition_point(|webhook| *webhook < row.webhook)));
    }
}

/// Removes a block.
pub(super) fn remove(index: Index, place: u128, txn: &mut Txn) {
    Column::all(index).iter().for_each(|column| txn.remove(keys::column(index.code(), column.code(), place)));
}

/// A block as a whole: its rows, each with the block's earliest time, and their span; `None` when it is not there or
/// cannot be read.
pub(super) fn load(engine: &Engine, index: Index, place: u128) -> Result<Option<(Span, Vec<Row>)>, StoreError> {
    let mut found: Vec<(Column, Bytes)> = Vec::new();
    for column in Column::all(index) {
        let Some(bytes) = engine.get(&keys::column(index.code(), column.code(), place))? else { return Ok(None) };
        found.push((*column, bytes));
    }
    Ok(rows_of(&found).ok())
}

fn rows_of(columns: &[(Column, Bytes)]) -> Result<(Span, Vec<Row>), Damaged> {
    let values = |wanted: Column| -> Result<Option<Values<'_>>, Damaged> {
        let found = columns.iter().find(|(column, _)| *column == wanted);
        found.map(|(column, bytes)| Values::read(*column, bytes)).transpose()
    };
    let ids = values(Column::Ids)?.ok_or(Damaged)?;
    let webhooks = values(Column::Webhooks)?;
    let words = |column: Column| Ok(values(column)?.map(|values| values.words()).unwrap_or_default());
    let facts = words(Column::Facts)?;
    let (engagement, finding, event) = (words(Column::Engagement)?, words(Column::Finding)?, words(Column::Event)?);
    let word = |words: &[Mark], row: usize| words.get(row).copied().unwrap_or_default();
    let row = |(row, id): (usize, [u8; 16])| Row {
        id,
        webhook: webhooks.map_or([0; 16], |webhooks| webhooks.webhook(row)),
        at: ids.earliest,
        facts: u32::from_le_bytes(word(facts, row)),
        engagement: word(engagement, row),
        finding: word(finding, row),
        event: word(event, row),
    };
    Ok(((ids.earliest, ids.latest), ids.ids().enumerate().map(row).collect()))
}

/// The place of the block that a row of this place is in, if it is in one.
pub(super) fn at(engine: &Engine, index: Index, place: u128) -> Result<Option<u128>, StoreError> {
    let prefix = keys::column_prefix(index.code(), Column::Ids.code());
    let from = [keys::column(index.code(), Column::Ids.code(), place), vec![0]].concat();
    let mut found = None;
    engine.scan(&from, true, |key, _| {
        found = keys::place_of(key).filter(|_| key.starts_with(&prefix));
        false
    })?;
    Ok(found)
}

/// The places of the rows that are in the same block as the one of this place, or would be.
pub(super) fn bounds(engine: &Engine, index: Index, place: u128) -> Result<std::ops::Range<u128>, StoreError> {
    let prefix = keys::column_prefix(index.code(), Column::Facts.code());
    let mut next = None;
    engine.scan(&keys::column(index.code(), Column::Facts.code(), place.saturating_add(1)), false, |key, _| {
        next = keys::place_of(key).filter(|_| key.starts_with(&prefix));
        false
    })?;
    Ok(at(engine, index, place)?.unwrap_or(0)..next.unwrap_or(u128::MAX))
}

/// The places of the blocks from the one that the first place is in to the one that the last place is in.
pub(super) fn between(engine: &Engine, index: Index, first: u128, last: u128) -> Result<Vec<u128>, StoreError> {
    let from = at(engine, index, first)?.unwrap_or(first);
    // The shortest column: sled reads values with keys.
    let key = |place: u128| keys::column(index.code(), Column::Facts.code(), place);
    let (from, last) = (key(from), key(last));
    let mut places = Vec::new();
    engine.scan(&from, false, |key, _| {
        let within = key <= last.as_slice();
        places.extend(keys::place_of(key).filter(|_| within));
        within
    })?;
    Ok(places)
}

/// The id of an index's last row in a block.
pub(super) fn last_id(engine: &Engine, index: Index) -> Result<Option<[u8; 16]>, StoreError> {
    let Some(place) = at(engine, index, u128::MAX)? else { return Ok(None) };
    let bytes = engine.get(&keys::column(index.code(), Column::Ids.code(), place))?;
    Ok(bytes.and_then(|bytes| Values::read(Column::Ids, &bytes).ok().and_then(|ids| ids.ids().next_back())))
}

/// True if a column's record is intact.
pub(in crate::store::embedded) fn readable(key: &[u8], value: &[u8]) -> bool {
    let column = key.get(2).and_then(|code| Column::with_code(*code));
    column.is_some_and(|column| Values::read(column, value).is_ok())
}
