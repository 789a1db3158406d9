//! The encoding of values: a version, a CRC-32, then the fields.
//!
//! The few records that get new fields (webhooks, tokens) are JSON, the many are postcard. The order of a postcard
//! struct's fields and of an enum's variants is what is on the disk; `tests/golden.rs` pins the bytes.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::tally::Tally;
use crate::model::delivery::{Attempt, FormatterRef};
use crate::model::event::EventType;
use crate::model::id::{AttemptId, DeliveryId, EventId, TokenId, WebhookId};
use crate::model::time::Timestamp;
use crate::model::webhook::HealthValues;
use crate::store::protocol::{DueItem, DueKey, Pin, Sent};
use crate::store::rank;

/// The version of a record's encoding.
const VERSION: u8 = 1;
/// The version of a chunk of history: since 2 an attempt has a note.
const ATTEMPTS_VERSION: u8 = 2;
/// The version of a queue entry: since 2 a delivery knows the attempts of earlier rounds, since 3 whether it was sent,
/// since 4 its rank, and when it is due if its key does not say that, since 5 whether it failed before its webhook healed.
const QUEUE_VERSION: u8 = 5;
const QUEUE_VERSION_4: u8 = 4;
const QUEUE_VERSION_3: u8 = 3;
const QUEUE_VERSION_2: u8 = 2;
/// The version of a webhook's counters: since 2 they know what waits.
const COUNTERS_VERSION: u8 = 2;
/// The version of an event's record that the states of its deliveries are joined to.
const JOINED_VERSION: u8 = 2;
/// The version of the list of a commit's events of which some are gone: it has the positions of the others.
const LISTED_VERSION: u8 = 2;
const HEAD: usize = 5;

/// A value whose checksum or shape is wrong: the disk changed it.
#[derive(Debug, thiserror::Error)]
#[error("a damaged record")]
pub(super) struct Damaged;

/// The number of damaged records that were read; shared by all readers.
#[derive(Clone, Default)]
pub(super) struct Damage(Arc<AtomicU64>);

impl Damage {
    /// Counts and reports a record that is skipped.
    pub(super) fn skipped(&self, what: &'static str) {
        tracing::error!(
            what,
            "a damaged record was found in the store and is skipped; run `heraldry store check` on the stopped host"
        );
        self.add(1);
    }

    /// Counts records that the caller has reported.
    pub(super) fn add(&self, records: u64) {
        self.0.fetch_add(records, Ordering::Relaxed);
    }

    /// The number so far.
    pub(super) fn records(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

fn seal(version: u8, mut bytes: Vec<u8>) -> Vec<u8> {
    let checksum = crc32fast::hash(&bytes[HEAD..]);
    bytes[0] = version;
    bytes[1..HEAD].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

fn open(version: u8, bytes: &[u8]) -> Result<&[u8], Damaged> {
    let (head, body) = bytes.split_at_checked(HEAD).ok_or(Damaged)?;
    if head[0] == version && head[1..] == crc32fast::hash(body).to_le_bytes() { Ok(body) } else { Err(Damaged) }
}

/// The bytes that most records fit in.
const USUAL: usize = 128;

/// A postcard record's bytes.
pub(super) fn pack<T: Serialize>(value: &T) -> Vec<u8> {
    packed(VERSION, value, USUAL)
}

/// A postcard record of a list whose values have about `each` bytes.
pub(super) fn pack_list<T: Serialize>(values: &[T], each: usize) -> Vec<u8> {
    packed(VERSION, values, HEAD + 5 + each * values.len())
}

/// The bytes of a record of about this size.
fn packed<T: Serialize + ?Sized>(version: u8, value: &T, size: usize) -> Vec<u8> {
    let mut head = Vec::with_capacity(size);
    head.resize(HEAD, 0);
    // Writing plain structs into memory cannot fail; an empty record would be read as damaged.
    postcard::to_extend(value, head).map(|bytes| seal(version, bytes)).unwrap_or_default()
}

/// An event's bytes.
pub(super) fn pack_event(event: &EventRecord<'_>) -> Vec<u8> {
    // Identifiers have 17 bytes, and a slot two of them and its activation.
    packed(VERSION, event, event.json.len() + USUAL + 17 * event.derived.len() + 39 * event.slots.len())
}

/// The record of what `write` appends, which is about `size` bytes.
pub(super) fn pack_raw(size: usize, write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD + size);
    bytes.resize(HEAD, 0);
    write(&mut bytes);
    seal(VERSION, bytes)
}

/// What [`pack_raw`] was given.
///
/// # Errors
/// [`Damaged`].
pub(super) fn open_raw(bytes: &[u8]) -> Result<&[u8], Damaged> {
    open(VERSION, bytes)
}

/// A postcard record, read back.
///
/// # Errors
/// [`Damaged`].
pub(super) fn unpack<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Damaged> {
    postcard::from_bytes(open(VERSION, bytes)?).map_err(|_| Damaged)
}

/// True if a record's checksum is right.
pub(super) fn is_whole(bytes: &[u8]) -> bool {
    open(VERSION, bytes).is_ok()
}

/// A JSON record's bytes.
pub(super) fn pack_json<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::from([0; HEAD]);
    match serde_json::to_writer(&mut bytes, value) {
        Ok(()) => seal(VERSION, bytes),
        Err(_) => Vec::new(),
    }
}

/// A JSON record, read back.
///
/// # Errors
/// [`Damaged`].
pub(super) fn unpack_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Damaged> {
    serde_json::from_slice(open(VERSION, bytes)?).map_err(|_| Damaged)
}

/// One delivery of an event, as decided when the event was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Slot {
    pub(super) delivery: DeliveryId,
    pub(super) webhook: WebhookId,
    /// The webhook's activation then.
    pub(super) activation: u32,
}

/// An accepted event.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct EventRecord<'a> {
    pub(super) event_type: EventType,
    pub(super) occurred_at: Timestamp,
    pub(super) accepted_at: Timestamp,
    pub(super) caused_by: Option<EventId>,
    pub(super) token: TokenId,
    /// The posted JSON value's canonical digest.
    pub(super) digest: [u8; 32],
    /// The events derived from it.
    pub(super) derived: Vec<EventId>,
    /// The number of deliveries in the response: its own and those of derived events.
    pub(super) answered_deliveries: u32,
    pub(super) slots: Vec<Slot>,
    pub(super) json: Cow<'a, str>,
    /// The states of its deliveries, when they were joined to it.
    #[serde(skip)]
    pub(super) joined: Option<Vec<SlotState>>,
}

impl EventRecord<'_> {
    /// The states of its deliveries, unless they have a record of their own.
    pub(super) fn states(&self) -> Vec<SlotState> {
        self.joined.clone().unwrap_or_else(|| initial_states(&self.slots, self.accepted_at))
    }
}

/// Joins an event's record and that of its deliveries' states, which a checkpoint brings to the disk together: the cost
/// there is by records. The version, the length of the states' record in four bytes (little-endian), the two records.
pub(super) fn join(event: &[u8], states: &[u8]) -> Vec<u8> {
    // An imported event may have some already, from after those.
    let event = split(event).map_or(event, |(event, _)| event);
    let length = u32::try_from(states.len()).unwrap_or(u32::MAX);
    [&[JOINED_VERSION][..], &length.to_le_bytes(), states, event].concat()
}

/// An event's record, and that of its deliveries' states if they are joined.
fn split(bytes: &[u8]) -> Result<(&[u8], Option<&[u8]>), Damaged> {
    let Some((&JOINED_VERSION, joined)) = bytes.split_first() else { return Ok((bytes, None)) };
    let (length, records) = joined.split_first_chunk::<4>().ok_or(Damaged)?;
    let (states, event) = records.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or(Damaged)?;
    Ok((event, Some(states)))
}

/// An event, read back.
///
/// # Errors
/// [`Damaged`], also if only what is joined to it is.
pub(super) fn unpack_event(bytes: &[u8]) -> Result<EventRecord<'static>, Damaged> {
    let (event, states) = split(bytes)?;
    Ok(EventRecord { joined: states.map(unpack).transpose()?, ..unpack(event)? })
}

/// The state of one delivery. The codes are on disks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Progress {
    Waiting,
    Delivered,
    Failed,
    Skipped,
}

/// The state of one delivery, with its attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SlotState {
    pub(super) progress: Progress,
    /// The number of attempts so far.
    pub(super) attempts: u32,
    /// The activation that it is queued under.
    pub(super) activation: u32,
    /// The time of its next attempt, while it is pending.
    pub(super) next_attempt_at: Option<Timestamp>,
    /// The mark of the queue entry that it is in ([`DueKey::mark`]); none: the one that it was accepted with.
    pub(super) queued: Option<u64>,
}

impl SlotState {
    /// The same delivery in another queue entry. A state without an entry is in any that has its attempt.
    pub(super) fn moved(self, to: DueKey) -> Self {
        Self { queued: self.queued.map(|_| to.mark()), ..self }
    }
}

/// The states of an event's deliveries before any outcome, in the order of its slots.
pub(super) fn initial_states(slots: &[Slot], accepted_at: Timestamp) -> Vec<SlotState> {
    slots
        .iter()
        .map(|slot| SlotState {
            progress: Progress::Waiting,
            attempts: 0,
            activation: slot.activation,
            next_attempt_at: Some(accepted_at),
            queued: None,
        })
        .collect()
}

/// The events of a commit that are kept, with their positions in it.
pub(super) type Listed = Vec<(u32, EventId)>;

/// The bytes of the list of a commit's events, with their positions in it.
pub(super) fn pack_listed(events: &[(u32, EventId)]) -> Vec<u8> {
    packed(LISTED_VERSION, events, USUAL + 22 * events.len())
}

/// The events of a commit that are kept, with their positions in it.
///
/// # Errors
/// [`Damaged`].
pub(super) fn unpack_listed(bytes: &[u8]) -> Result<Listed, Damaged> {
    match bytes.first() {
        Some(&LISTED_VERSION) => unpack_items(LISTED_VERSION, bytes),
        // None is gone; or they went before positions were kept.
        _ => Ok((0..).zip(unpack::<Vec<EventId>>(bytes)?).collect()),
    }
}

/// Queue entries with their deliveries.
pub(super) type Entries = Vec<(DueKey, Vec<DueItem>)>;

/// A queue entry's bytes.
pub(super) fn pack_queue(items: &[&DueItem]) -> Vec<u8> {
    const ITEM: usize = 48;
    packed(QUEUE_VERSION, items, USUAL + ITEM * items.len())
}

/// A queue entry, read back, in any of its versions.
///
/// # Errors
/// [`Damaged`].
pub(super) fn unpack_queue(bytes: &[u8]) -> Result<Vec<DueItem>, Damaged> {
    match bytes.first() {
        Some(&VERSION) => Ok(unpack_items::<DueItemV1>(VERSION, bytes)?.into_iter().map(DueItem::from).collect()),
        Some(&QUEUE_VERSION_2) => {
            Ok(unpack_items::<DueItemV2>(QUEUE_VERSION_2, bytes)?.into_iter().map(DueItem::from).collect())
        }
        Some(&QUEUE_VERSION_3) => {
            Ok(unpack_items::<DueItemV3>(QUEUE_VERSION_3, bytes)?.into_iter().map(DueItem::from).collect())
        }
        Some(&QUEUE_VERSION_4) => {
            Ok(unpack_items::<DueItemV4>(QUEUE_VERSION_4, bytes)?.into_iter().map(DueItem::from).collect())
        }
        _ => unpack_items(QUEUE_VERSION, bytes),
    }
}

fn unpack_items<T: DeserializeOwned>(version: u8, bytes: &[u8]) -> Result<Vec<T>, Damaged> {
    postcard::from_bytes(open(version, bytes)?).map_err(|_| Damaged)
}

/// Until format 2 an entry had a pin or none; a pin of zeroes stood for one that is not known.
fn sent(pin: Option<Pin>) -> Sent {
    const UNKNOWN: Pin = Pin { component: [0; 32], rendering: [0; 32] };
    match pin {
        None => Sent::Never,
        Some(UNKNOWN) => Sent::Before(None),
        Some(pin) => Sent::Before(Some(pin)),
    }
}

/// A pending delivery of before it knew of earlier rounds.
#[derive(Serialize, Deserialize)]
struct DueItemV1 {
    event: EventId,
    slot: u32,
    delivery: DeliveryId,
    attempt: u32,
    pin: Option<Pin>,
}

impl From<DueItemV1> for DueItem {
    fn from(old: DueItemV1) -> Self {
        let DueItemV1 { event, slot, delivery, attempt, pin } = old;
        Self {
            event,
            slot,
            delivery,
            attempt,
            earlier: 0,
            sent: sent(pin),
            rank: rank::UNKNOWN,
            due_ms: None,
            has_failed: false,
        }
    }
}

/// A pending delivery of before a pin and a send were two things.
#[derive(Serialize, Deserialize)]
struct DueItemV2 {
    event: EventId,
    slot: u32,
    delivery: DeliveryId,
    attempt: u32,
    earlier: u32,
    pin: Option<Pin>,
}

impl From<DueItemV2> for DueItem {
    fn from(old: DueItemV2) -> Self {
        let DueItemV2 { event, slot, delivery, attempt, earlier, pin } = old;
        Self {
            event,
            slot,
            delivery,
            attempt,
            earlier,
            sent: sent(pin),
            rank: rank::UNKNOWN,
            due_ms: None,
            has_failed: false,
        }
    }
}

/// A pending delivery of before it knew its rank.
#[derive(Serialize, Deserialize)]
struct DueItemV3 {
    event: EventId,
    slot: u32,
    delivery: DeliveryId,
    attempt: u32,
    earlier: u32,
    sent: Sent,
}

impl From<DueItemV3> for DueItem {
    fn from(old: DueItemV3) -> Self {
        let DueItemV3 { event, slot, delivery, attempt, earlier, sent } = old;
        Self { event, slot, delivery, attempt, earlier, sent, rank: rank::UNKNOWN, due_ms: None, has_failed: false }
    }
}

/// A pending delivery of before it knew whether it failed before its webhook healed.
#[derive(Serialize, Deserialize)]
struct DueItemV4 {
    event: EventId,
    slot: u32,
    delivery: DeliveryId,
    attempt: u32,
    earlier: u32,
    sent: Sent,
    rank: u8,
    due_ms: Option<i64>,
}

impl From<DueItemV4> for DueItem {
    fn from(old: DueItemV4) -> Self {
        let DueItemV4 { event, slot, delivery, attempt, earlier, sent, rank, due_ms } = old;
        Self { event, slot, delivery, attempt, earlier, sent, rank, due_ms, has_failed: false }
    }
}

/// A further delivery of an event, made by a redelivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Further {
    pub(super) slot: Slot,
    /// The delivery that was asked for again.
    pub(super) redelivery_of: DeliveryId,
    pub(super) made_at: Timestamp,
}

impl Further {
    /// Its state before its first attempt, in the queue entry with this `seq`.
    pub(super) fn initial_state(&self, queued: u64) -> SlotState {
        SlotState {
            progress: Progress::Waiting,
            attempts: 0,
            activation: self.slot.activation,
            next_attempt_at: Some(self.made_at),
            queued: Some(queued),
        }
    }
}

/// The name of [`Counts`] among the facts about the store.
pub(super) const COUNTS: &str = "counts";

/// The number of records, written in the commits that change it: a start can tell if any are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Counts {
    /// Events, including derived ones.
    pub(super) events: u64,
    /// Webhooks.
    pub(super) webhooks: u64,
    /// Tokens.
    pub(super) tokens: u64,
}

/// A webhook's running counters.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Counters {
    pub(super) health: HealthValues,
    /// The number of attempts in its history.
    pub(super) attempts: u64,
    /// What waits.
    pub(super) tally: Tally,
}

impl Counters {
    pub(super) fn pack(&self) -> Vec<u8> {
        packed(COUNTERS_VERSION, self, USUAL)
    }

    /// Counters, read back; also those from before what waits was counted, and from before the history was.
    ///
    /// # Errors
    /// [`Damaged`].
    pub(super) fn unpack(bytes: &[u8]) -> Result<Self, Damaged> {
        if let Ok(body) = open(COUNTERS_VERSION, bytes) {
            return postcard::from_bytes(body).map_err(|_| Damaged);
        }
        let (health, attempts) =
            unpack::<(HealthValues, u64)>(bytes).or_else(|_| unpack(bytes).map(|health| (health, 0)))?;
        Ok(Self { health, attempts, tally: Tally::default() })
    }
}

/// The response to a request with an idempotency key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Answered {
    pub(super) body_digest: [u8; 32],
    pub(super) events: Vec<(EventId, u32, Vec<EventId>)>,
    pub(super) expires_at: Timestamp,
}

/// The attempts of one webhook that one commit recorded, oldest first.
pub(super) type AttemptChunk = Vec<Attempt>;

/// A chunk of history's bytes.
pub(super) fn pack_attempts(attempts: &AttemptChunk) -> Vec<u8> {
    const ATTEMPT: usize = 256;
    packed(ATTEMPTS_VERSION, attempts, USUAL + ATTEMPT * attempts.len())
}

/// A chunk of history, read back; also one from before attempts had notes.
///
/// # Errors
/// [`Damaged`].
pub(super) fn unpack_attempts(bytes: &[u8]) -> Result<AttemptChunk, Damaged> {
    if let Ok(body) = open(ATTEMPTS_VERSION, bytes) {
        return postcard::from_bytes(body).map_err(|_| Damaged);
    }
    let attempts: Vec<AttemptV1> = postcard::from_bytes(open(VERSION, bytes)?).map_err(|_| Damaged)?;
    Ok(attempts.into_iter().map(Attempt::from).collect())
}

/// An attempt as it was written before it had a note.
#[derive(Serialize, Deserialize)]
struct AttemptV1 {
    id: AttemptId,
    delivery_id: DeliveryId,
    event_id: Option<EventId>,
    event_type: String,
    attempt: u32,
    success: bool,
    status_code: Option<u16>,
    error: Option<String>,
    duration_ms: u64,
    response_excerpt: Option<String>,
    formatter: Option<FormatterRef>,
    is_test: bool,
    next_attempt_at: Option<Timestamp>,
    created_at: Timestamp,
}

impl From<AttemptV1> for Attempt {
    fn from(old: AttemptV1) -> Self {
        Self {
            id: old.id,
            delivery_id: old.delivery_id,
            event_id: old.event_id,
            event_type: old.event_type.into(),
            attempt: old.attempt,
            success: old.success,
            status_code: old.status_code,
            error: old.error,
            duration_ms: old.duration_ms,
            response_excerpt: old.response_excerpt,
            formatter: old.formatter,
            note: None,
            is_test: old.is_test,
            next_attempt_at: old.next_attempt_at,
            created_at: old.created_at,
        }
    }
}

/// Properties that [`crate::fuzzing::record`] checks.
#[cfg(fuzzing)]
pub(crate) mod fuzzing {
    use super::super::index::{Row, readable_column};
    use super::super::keys;
    use super::super::keys::due_with_rank;
    use super::super::retention_clock::RetentionClock;
    use super::*;
    use crate::model::token::Token;

    /// Reads a record of one of the kinds: `body` behind a version and checksum that fit.
    ///
    /// A record that is read has one spelling, and that is read again.
    pub(crate) fn check(kind: u8, version: u8, body: &[u8]) {
        let bytes = seal(version, [[0; HEAD].as_slice(), body].concat());
        match kind % 16 {
            0 => rewritten(unpack_queue(&bytes), |items| pack_queue(&items.iter().collect::<Vec<_>>()), unpack_queue),
            1 => rewritten(unpack_attempts(&bytes), pack_attempts, unpack_attempts),
            2 => rewritten(Counters::unpack(&bytes), Counters::pack, Counters::unpack),
            3 => {
                rewritten(unpack::<EventRecord<'_>>(&bytes), pack, unpack);
                drop(unpack_event(&bytes));
            }
            4 => rewritten(unpack::<Vec<SlotState>>(&bytes), pack, unpack),
            5 => rewritten(unpack::<Further>(&bytes), pack, unpack),
            6 => rewritten(unpack::<(EventId, u32)>(&bytes), pack, unpack),
            7 => rewritten(unpack::<Vec<EventId>>(&bytes), pack, unpack),
            8 => rewritten(unpack::<Answered>(&bytes), pack, unpack),
            9 => rewritten(unpack::<Vec<Vec<u8>>>(&bytes), pack, unpack),
            10 => rewritten(unpack::<Counts>(&bytes), pack, unpack),
            11 => rewritten(unpack_json::<Token>(&bytes), pack_json, unpack_json),
            12 => {
                if let Some(key) = DueKey::decode(body) {
                    assert_eq!(key.encode(), body);
                }
                if let Some(ranked) = due_with_rank(body) {
                    assert_eq!(DueKey::decode(&ranked).map(|key| key.rank), Some(0));
                }
            }
            13 => rewritten(unpack::<RetentionClock>(&bytes), pack, unpack),
            14 => rewritten(unpack::<Vec<Row>>(&bytes), pack, unpack),
            _ => {
                for column in 0..6 {
                    let _ = readable_column(&[keys::BLOCK, b'a', column], &bytes);
                }
            }
        }
    }

    fn rewritten<T>(read: Result<T, Damaged>, pack: fn(&T) -> Vec<u8>, unpack: fn(&[u8]) -> Result<T, Damaged>) {
        let Ok(value) = read else { return };
        let bytes = pack(&value);
        assert_eq!(pack(&unpack(&bytes).expect("what was written is read")), bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn history_of_before_attempts_had_notes_is_read() {
        let old = AttemptV1 {
            id: AttemptId::generate(),
            delivery_id: DeliveryId::generate(),
            event_id: None,
            event_type: "report_ready".into(),
            attempt: 2,
            success: false,
            status_code: Some(500),
            error: Some("status: it answered 500".into()),
            duration_ms: 7,
            response_excerpt: Some("no".into()),
            formatter: Some(FormatterRef { name: "a".into(), version: "1.0.0".into(), digest: "sha256:0".into() }),
            is_test: true,
            next_attempt_at: None,
            created_at: Timestamp::default(),
        };
        let bytes = pack(&vec![&old]);
        let expected = vec![Attempt::from(old)];
        assert_eq!(unpack_attempts(&bytes).expect("the old form"), expected);
        let noted = vec![Attempt { note: Some("another version".into()), ..expected[0].clone() }];
        assert_eq!(unpack_attempts(&pack_attempts(&noted)).expect("the new form"), noted);
        assert!(unpack_attempts(&[]).is_err() && unpack_attempts(&bytes[1..]).is_err());
    }

    #[test]
    fn a_flipped_bit_is_noticed() {
        let item = item();
        let bytes = pack_queue(&[&item]);
        assert_eq!(unpack_queue(&bytes).expect("as written"), std::slice::from_ref(&item));
        for index in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[index] ^= 0x10;
            assert!(unpack_queue(&damaged).is_err(), "byte {index}");
        }
        assert!(unpack_queue(&[]).is_err());
    }

    #[test]
    fn a_flipped_bit_of_an_event_or_of_what_is_joined_to_it_is_noticed() {
        let (delivery, webhook) = (DeliveryId::generate(), WebhookId::generate());
        let slots = vec![Slot { delivery, webhook, activation: 1 }];
        let states =
            vec![SlotState { progress: Progress::Delivered, ..initial_states(&slots, Timestamp::default())[0] }];
        let event = EventRecord {
            event_type: EventType::ReportReady,
            occurred_at: Timestamp::default(),
            accepted_at: Timestamp::default(),
            caused_by: None,
            token: TokenId::from_bytes([1; 16]),
            digest: [1; 32],
            derived: Vec::new(),
            answered_deliveries: 1,
            slots,
            json: "{}".into(),
            joined: None,
        };
        let alone = pack_event(&event);
        let before = initial_states(&event.slots, event.accepted_at);
        assert_eq!(unpack_event(&alone).expect("as written").states(), before);
        let joined = join(&alone, &pack(&states));
        assert_eq!(unpack_event(&joined).expect("as written").states(), states);
        assert_eq!(unpack_event(&join(&joined, &pack(&before))).expect("as written").states(), before);
        for bytes in [alone, joined] {
            for index in 0..bytes.len() {
                let mut damaged = bytes.clone();
                damaged[index] ^= 0x10;
                assert!(unpack_event(&damaged).is_err(), "byte {index} of {}", bytes.len());
                assert!(unpack_event(&bytes[..index]).is_err(), "cut to {index} of {}", bytes.len());
            }
        }
    }

    fn item() -> DueItem {
        let (event, delivery) = (EventId::generate(), DeliveryId::generate());
        DueItem {
            event,
            slot: 3,
            delivery,
            attempt: 2,
            earlier: 0,
            sent: Sent::Never,
            rank: 0,
            due_ms: None,
            has_failed: false,
        }
    }

    #[test]
    fn a_queue_entry_of_before_rounds_were_known_is_read() {
        let DueItem { event, slot, delivery, attempt, .. } = item();
        let bytes = pack(&vec![DueItemV1 { event, slot, delivery, attempt, pin: None }]);
        assert_eq!(unpack_queue(&bytes).expect("the old form"), [DueItem { event, delivery, ..item() }]);
    }

    #[test]
    fn a_queue_entry_of_before_format_6_is_read() {
        let DueItem { event, slot, delivery, attempt, .. } = item();
        let sent = Sent::Before(Some(Pin { component: [1; 32], rendering: [2; 32] }));
        let old = vec![DueItemV3 { event, slot, delivery, attempt, earlier: 1, sent }];
        let bytes = packed(QUEUE_VERSION_3, &old, USUAL);
        let expected = DueItem { event, delivery, earlier: 1, sent, ..item() };
        assert_eq!(unpack_queue(&bytes).expect("the old form"), std::slice::from_ref(&expected));
        let known = DueItem { rank: 1, due_ms: Some(-7), ..expected };
        assert_eq!(unpack_queue(&pack_queue(&[&known])).expect("the new form"), [known]);
    }

    #[test]
    fn a_queue_entry_of_format_2_is_read() {
        let DueItem { event, slot, delivery, attempt, .. } = item();
        let pin = Pin { component: [1; 32], rendering: [2; 32] };
        let unknown = Pin { component: [0; 32], rendering: [0; 32] };
        for (pin, sent) in
            [(None, Sent::Never), (Some(pin), Sent::Before(Some(pin))), (Some(unknown), Sent::Before(None))]
        {
            let old = vec![DueItemV2 { event, slot, delivery, attempt, earlier: 1, pin }];
            let head = Vec::from([0; HEAD]);
            let bytes = seal(QUEUE_VERSION_2, postcard::to_extend(&old, head).expect("encoded"));
            assert_eq!(
                unpack_queue(&bytes).expect("the old form"),
                [DueItem { event, delivery, earlier: 1, sent, ..item() }]
            );
        }
    }
}
