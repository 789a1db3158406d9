//! How values are written: a version, a checksum, then the fields.
//!
//! Records that are few and grow (webhooks, tokens) are JSON; those that are many are postcard.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::keys::DueKey;
use crate::model::delivery::{Attempt, FormatterRef};
use crate::model::event::EventType;
use crate::model::id::{AttemptId, DeliveryId, EventId, TokenId, WebhookId};
use crate::model::time::Timestamp;
use crate::model::webhook::HealthValues;

/// The version of a record's encoding.
const VERSION: u8 = 1;
/// The version of a piece of history: since 2 an attempt has a note.
const ATTEMPTS_VERSION: u8 = 2;
/// The version of a queue entry: since 2 a delivery knows the attempts of earlier rounds, since 3 whether it was sent.
const QUEUE_VERSION: u8 = 3;
const QUEUE_VERSION_2: u8 = 2;
const HEAD: usize = 5;

/// A value whose checksum or shape is wrong: the disk changed what was written.
#[derive(Debug, thiserror::Error)]
#[error("a damaged record")]
pub(super) struct Damaged;

/// How many records the disk changed, of those that somebody read; shared by everyone who reads.
#[derive(Clone, Default)]
pub(super) struct Damage(Arc<AtomicU64>);

impl Damage {
    /// Counts and reports a record that is stepped over.
    pub(super) fn stepped_over(&self, what: &'static str) {
        tracing::error!(what, "a damaged record was found in the store and is stepped over");
        self.add(1);
    }

    /// Counts what its finder reports.
    pub(super) fn add(&self, records: u64) {
        self.0.fetch_add(records, Ordering::Relaxed);
    }

    /// How many there were so far.
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

/// A many-times record's bytes.
pub(super) fn pack<T: Serialize>(value: &T) -> Vec<u8> {
    let head = Vec::from([0; HEAD]);
    // Writing plain structs into memory cannot fail; an empty record would be read as damaged.
    postcard::to_extend(value, head).map(|bytes| seal(VERSION, bytes)).unwrap_or_default()
}

/// A many-times record, read back.
///
/// # Errors
/// [`Damaged`].
pub(super) fn unpack<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Damaged> {
    postcard::from_bytes(open(VERSION, bytes)?).map_err(|_| Damaged)
}

/// Whether a record's checksum fits, whatever it holds.
pub(super) fn is_whole(bytes: &[u8]) -> bool {
    open(VERSION, bytes).is_ok()
}

/// A growing record's bytes.
pub(super) fn pack_json<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::from([0; HEAD]);
    match serde_json::to_writer(&mut bytes, value) {
        Ok(()) => seal(VERSION, bytes),
        Err(_) => Vec::new(),
    }
}

/// A growing record, read back.
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
pub(super) struct EventRecord {
    pub(super) event_type: EventType,
    pub(super) occurred_at: Timestamp,
    pub(super) accepted_at: Timestamp,
    pub(super) caused_by: Option<EventId>,
    pub(super) token: TokenId,
    /// The posted JSON value's canonical digest.
    pub(super) digest: [u8; 32],
    /// The events derived from it.
    pub(super) derived: Vec<EventId>,
    /// What the post was answered: its own deliveries and those of derived events.
    pub(super) answered_deliveries: u32,
    pub(super) slots: Vec<Slot>,
    pub(super) json: String,
}

/// When an event was accepted, without reading the rest of its record.
pub(super) fn accepted_at(bytes: &[u8]) -> Option<Timestamp> {
    type Head = (EventType, Timestamp, Timestamp);
    let ((_, _, accepted_at), _) = postcard::take_from_bytes::<Head>(bytes.get(HEAD..)?).ok()?;
    Some(accepted_at)
}

/// How far one delivery came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Progress {
    Waiting,
    Delivered,
    Failed,
    Skipped,
}

/// Where one delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SlotState {
    pub(super) progress: Progress,
    /// Attempts made.
    pub(super) attempts: u32,
    /// The activation under which it waits.
    pub(super) activation: u32,
    /// When its next attempt is due, while it waits.
    pub(super) next_attempt_at: Option<Timestamp>,
    /// The `seq` of the queue entry that it waits in; none: the one that it was accepted with.
    pub(super) queued: Option<u64>,
}

/// The states of all of an event's deliveries, in the order of its slots.
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

/// What rendered a delivery's first attempt, so that later ones render the same bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// SHA-256 of the component.
    pub component: [u8; 32],
    /// SHA-256 of the webhook's format and options then.
    pub rendering: [u8; 32],
}

/// The attempts of a delivery before its next one, as far as the next one depends on them. The codes of the variants are
/// on disks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sent {
    /// It was never sent.
    Never,
    /// It was sent, or may have been: it goes out again with what it was sent with. The pin is missing when the attempt was
    /// cut before the component was known.
    Before(Option<Pin>),
}

impl Sent {
    /// The component and options that it was last rendered with, when they are known.
    pub fn pin(self) -> Option<Pin> {
        match self {
            Self::Never => None,
            Self::Before(pin) => pin,
        }
    }

    /// True if it may have reached the destination before.
    pub fn is_again(self) -> bool {
        self != Self::Never
    }
}

/// Until format 2 an entry had a pin or none; a pin of zeroes stood for one that is not known.
impl From<Option<Pin>> for Sent {
    fn from(pin: Option<Pin>) -> Self {
        const UNKNOWN: Pin = Pin { component: [0; 32], rendering: [0; 32] };
        match pin {
            None => Self::Never,
            Some(UNKNOWN) => Self::Before(None),
            Some(pin) => Self::Before(Some(pin)),
        }
    }
}

/// A pending delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DueItem {
    /// The event that is delivered.
    pub event: EventId,
    /// The delivery's index in the event's fan-out.
    pub slot: u32,
    /// The delivery's id.
    pub delivery: DeliveryId,
    /// The number of the next attempt, from 1.
    pub attempt: u32,
    /// Attempts of earlier rounds, before an operator or a repair asked for the delivery again: they do not count as retries.
    pub earlier: u32,
    /// Its attempts so far.
    pub sent: Sent,
}

impl DueItem {
    /// The number of the next attempt in this round, from 1.
    pub fn try_number(&self) -> u32 {
        self.attempt.saturating_sub(self.earlier).max(1)
    }
}

/// Entries of queues, with what stands in them.
pub(super) type Entries = Vec<(DueKey, Vec<DueItem>)>;

/// A queue entry's bytes.
pub(super) fn pack_queue(items: &[&DueItem]) -> Vec<u8> {
    let head = Vec::from([0; HEAD]);
    postcard::to_extend(items, head).map(|bytes| seal(QUEUE_VERSION, bytes)).unwrap_or_default()
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
        _ => unpack_items(QUEUE_VERSION, bytes),
    }
}

fn unpack_items<T: DeserializeOwned>(version: u8, bytes: &[u8]) -> Result<Vec<T>, Damaged> {
    postcard::from_bytes(open(version, bytes)?).map_err(|_| Damaged)
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
        Self { event, slot, delivery, attempt, earlier: 0, sent: pin.into() }
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
        Self { event, slot, delivery, attempt, earlier, sent: pin.into() }
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
    /// Where it stands before its first attempt, in the queue entry with this `seq`.
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

/// How much there is, kept in the very commits that change it: a start can tell whether anything is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Counts {
    /// Events, derived ones included.
    pub(super) events: u64,
    /// Webhooks.
    pub(super) webhooks: u64,
    /// Tokens.
    pub(super) tokens: u64,
}

/// A webhook's running counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Counters {
    pub(super) health: HealthValues,
    /// Attempts in its history.
    pub(super) attempts: u64,
}

impl Counters {
    /// Counters, read back; also those of before the history was counted, as far as they go.
    ///
    /// # Errors
    /// [`Damaged`].
    pub(super) fn unpack(bytes: &[u8]) -> Result<Self, Damaged> {
        unpack(bytes).or_else(|_| unpack(bytes).map(|health| Self { health, attempts: 0 }))
    }
}

/// What an idempotency key was answered with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Answered {
    pub(super) body_digest: [u8; 32],
    pub(super) events: Vec<(EventId, u32, Vec<EventId>)>,
    pub(super) expires_at: Timestamp,
}

/// The attempts of one webhook that one commit recorded, oldest first.
pub(super) type AttemptChunk = Vec<Attempt>;

/// A piece of history's bytes.
pub(super) fn pack_attempts(attempts: &AttemptChunk) -> Vec<u8> {
    let head = Vec::from([0; HEAD]);
    postcard::to_extend(attempts, head).map(|bytes| seal(ATTEMPTS_VERSION, bytes)).unwrap_or_default()
}

/// A piece of history, read back; also one of before attempts had notes.
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
            event_type: old.event_type,
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

/// What [`crate::fuzzing::record`] holds the reader to.
#[cfg(fuzzing)]
pub(crate) mod fuzzing {
    use super::super::keys::due_with_rank;
    use super::*;
    use crate::model::token::Token;

    /// Reads a record of one of the kinds: `body` behind a version and checksum that fit.
    ///
    /// What is read is written in one way, and that is read again.
    pub(crate) fn check(kind: u8, version: u8, body: &[u8]) {
        let bytes = seal(version, [[0; HEAD].as_slice(), body].concat());
        match kind % 14 {
            0 => rewritten(unpack_queue(&bytes), |items| pack_queue(&items.iter().collect::<Vec<_>>()), unpack_queue),
            1 => rewritten(unpack_attempts(&bytes), pack_attempts, unpack_attempts),
            2 => rewritten(Counters::unpack(&bytes), pack, Counters::unpack),
            3 => {
                let record = unpack::<EventRecord>(&bytes);
                if let Ok(record) = &record {
                    assert_eq!(accepted_at(&bytes), Some(record.accepted_at));
                }
                rewritten(record, pack, unpack);
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
            _ => {
                accepted_at(&bytes);
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
        for place in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[place] ^= 0x10;
            assert!(unpack_queue(&damaged).is_err(), "byte {place}");
        }
        assert!(unpack_queue(&[]).is_err());
    }

    fn item() -> DueItem {
        let (event, delivery) = (EventId::generate(), DeliveryId::generate());
        DueItem { event, slot: 3, delivery, attempt: 2, earlier: 0, sent: Sent::Never }
    }

    #[test]
    fn a_queue_entry_of_before_rounds_were_known_is_read() {
        let DueItem { event, slot, delivery, attempt, .. } = item();
        let bytes = pack(&vec![DueItemV1 { event, slot, delivery, attempt, pin: None }]);
        assert_eq!(unpack_queue(&bytes).expect("the old form"), [DueItem { event, delivery, ..item() }]);
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
