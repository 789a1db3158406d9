//! The layout of the one keyspace. All numbers in keys are big-endian, so that byte order is time order.
//!
//! [`KINDS`] is the table of everything that is stored.
//!
//! **The rule for changes.** A record that an older program would misread, skip or lose is a change of the format: it
//! raises [`SCHEMA`], the step from the format before goes into the migration, and a fixture written by the new program
//! joins `tests/fixtures`, where every older one stays. A field's position in a postcard record, the code of an enum's
//! variant and a member's name in a JSON record are on disks; the tests that pin them are changed by adding to them
//! only. An older program rejects the store with [`crate::store::OpenError::Schema`].

use super::txn::Bytes;
use crate::model::id::{AttemptId, AuditId, DeliveryId, EventId, TokenId, WebhookId};
use crate::store::protocol::DueKey;
use crate::store::rank;

/// The layout's version, kept under `m` `schema`. 2 brought the audit log, redeliveries and queue entries that know the
/// attempts of earlier rounds; 3 a rank in the keys of queues; 4 states of deliveries that are joined to their event; 5 the
/// indexes of attempts and events, and counters that know what waits; 6 ranks by severity, the strict queue, and
/// deliveries in queue entries that know their rank.
pub(super) const SCHEMA: u32 = 6;
/// The name of the format among the facts about the store.
pub(super) const SCHEMA_NAME: &str = "schema";

/// A kind of record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    /// The first byte of its keys.
    pub(super) tag: u8,
    /// The name in `store check`.
    pub(super) name: &'static str,
    /// The position in an export, from 1; `None` for what is not exported.
    pub(super) export: Option<u8>,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $constant:ident = $tag:literal, $name:literal, $export:expr;)*) => {
        $($(#[$doc])* pub(super) const $constant: u8 = $tag;)*

        /// Every kind of record, in the order of `store check`.
        pub(super) const KINDS: &[Kind] = &[$(Kind { tag: $tag, name: $name, export: $export }),*];
    };
}

// Tag, name in `store check`, position in an export. An export of a running host reads the queues (`d`) before states
// and events: a delivery that is queued after its queue was read is then found to wait in no queue, and the import
// queues it.
kinds! {
    /// `m` name: facts about the store itself: format, key check, counts, the audit chain's ends, settings.
    META = b'm', "facts about the store", Some(1);
    /// `w` webhook: configuration and activity; since format 5 also why it is off (`trip`): the cause, the attempt with
    /// which that happened, and the schedule of its probes.
    WEBHOOK = b'w', "webhooks", Some(2);
    /// `c` webhook: running counters.
    COUNTERS = b'c', "webhooks' counters", Some(3);
    /// `t` sha256(token): a token.
    TOKEN = b't', "tokens", Some(4);
    /// `e` event: the accepted event and its fan-out, and the states of its deliveries if the checkpoint that brought it
    /// here knew them; never rewritten.
    EVENT = b'e', "events", Some(11);
    /// `s` event: the states of its deliveries; absent until the first outcome, and while they are joined to the event's
    /// record.
    STATE = b's', "delivery states", Some(8);
    /// `f` event slot: a further delivery of an event, made by a redelivery.
    FURTHER = b'f', "redeliveries", Some(9);
    /// `l` delivery: the event of such a delivery, and its slot there.
    REDELIVERY = b'l', "redelivery index", Some(10);
    /// `d` webhook activation rank due seq: pending deliveries, in order of rank and due time. Ranks 1 to 5 are those of
    /// critical to info: an entry has that of its most severe event. Rank 0: of before format 6. Rank 6 is the strict
    /// queue, in the order of acceptance: in place of due time and seq there is the `seq` of the event's commit in the
    /// acceptance index, and its position ([`super::place`]).
    DUE = b'd', "queue entries", Some(7);
    /// `a` webhook attempt: the attempts that one commit recorded; the key has the first one's id.
    ATTEMPTS = b'a', "pieces of history", Some(13);
    /// `r` accepted seq: the events that one commit accepted, for retention.
    ACCEPTED = b'r', "acceptance index", Some(12);
    /// `i` token sha256(key): the response to an idempotency key.
    IDEMPOTENCY = b'i', "idempotency keys", Some(14);
    /// `x` expiry seq: the idempotency keys that one commit brought, for their expiry.
    EXPIRY = b'x', "expiry index", Some(15);
    /// `u` entry: an entry of the audit log.
    AUDIT = b'u', "audit log", Some(6);
    /// `z` webhook: a deleted webhook whose history and queue are still to be removed.
    TOMBSTONE = b'z', "deleted webhooks", Some(5);
    /// `n` index place: the index rows of one commit, until there are enough for a block. Not exported: the indexes are
    /// made of history and events, and an import makes them again.
    RECENT = b'n', "recent index rows", None;
    /// `k` index column place: one column of an index block of about a thousand rows; the place is the first row's.
    BLOCK = b'k', "index columns", None;
}

/// The tags of an export, in its order.
pub(super) fn exported() -> Vec<u8> {
    let mut kinds: Vec<&Kind> = KINDS.iter().filter(|kind| kind.export.is_some()).collect();
    kinds.sort_by_key(|kind| kind.export);
    kinds.iter().map(|kind| kind.tag).collect()
}

impl DueKey {
    /// What the state of a delivery in this entry knows the entry by ([`super::record::SlotState::queued`]). Sequence numbers
    /// of the strict queue repeat from commit to commit, and a delivery may leave an entry that begins with one of another
    /// commit: so the commit is in it.
    pub(super) fn mark(&self) -> u64 {
        // An odd number that mixes all bits; the highest one says that it is of the strict queue.
        const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
        match self.rank {
            rank::STRICT => self.seq ^ (self.due_ms.cast_unsigned().wrapping_mul(MIX) >> 1),
            _ => self.seq,
        }
    }

    /// True if a delivery's state that has this mark means this entry. Until the commit was in it the mark of a strict entry
    /// was its sequence number.
    pub(super) fn has_mark(&self, mark: u64) -> bool {
        mark == self.mark() || mark == self.seq
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut key = due_prefix(self.webhook, self.activation);
        key.push(self.rank);
        key.extend_from_slice(&ordered(self.due_ms));
        key.extend_from_slice(&self.seq.to_be_bytes());
        key
    }

    pub(super) fn decode(key: &[u8]) -> Option<Self> {
        let (webhook, rest) = key.strip_prefix(&[DUE])?.split_first_chunk::<16>()?;
        let (activation, rest) = rest.split_first_chunk::<4>()?;
        let (rank, rest) = rest.split_first()?;
        let (due, rest) = rest.split_first_chunk::<8>()?;
        Some(Self {
            webhook: WebhookId::from_bytes(*webhook),
            activation: u32::from_be_bytes(*activation),
            rank: *rank,
            due_ms: unordered(*due),
            seq: u64::from_be_bytes(rest.try_into().ok()?),
        })
    }
}

/// The key that replaces a queue entry's key of before format 3, which had no rank; `None` for any other key.
pub(super) fn due_with_rank(key: &[u8]) -> Option<Vec<u8>> {
    const LENGTH: usize = 1 + 16 + 4 + 8 + 8;
    const RANK: usize = 1 + 16 + 4;
    if key.len() != LENGTH || key.first() != Some(&DUE) {
        return None;
    }
    Some([&key[..RANK], &[0], &key[RANK..]].concat())
}

/// A signed number's bytes in an order that sorts negative ones first.
fn ordered(number: i64) -> [u8; 8] {
    (number.cast_unsigned() ^ (1 << 63)).to_be_bytes()
}

fn unordered(bytes: [u8; 8]) -> i64 {
    (u64::from_be_bytes(bytes) ^ (1 << 63)).cast_signed()
}

fn tagged(tag: u8, id: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + id.len() + 28);
    key.push(tag);
    key.extend_from_slice(id);
    key
}

/// A key without an allocation.
fn short(tag: u8, id: &[u8; 16]) -> Bytes {
    let mut key = [tag; 17];
    key[1..].copy_from_slice(id);
    key.as_slice().into()
}

pub(super) fn meta(name: &str) -> Vec<u8> {
    tagged(META, name.as_bytes())
}

pub(super) fn webhook(id: WebhookId) -> Bytes {
    short(WEBHOOK, id.as_bytes())
}

pub(super) fn counters(id: WebhookId) -> Bytes {
    short(COUNTERS, id.as_bytes())
}

pub(super) fn token(hash: &[u8; 32]) -> Vec<u8> {
    tagged(TOKEN, hash)
}

pub(super) fn event(id: EventId) -> Bytes {
    short(EVENT, id.as_bytes())
}

pub(super) fn state(id: EventId) -> Bytes {
    short(STATE, id.as_bytes())
}

pub(super) fn due_webhook(webhook: WebhookId) -> Vec<u8> {
    tagged(DUE, webhook.as_bytes())
}

pub(super) fn due_prefix(webhook: WebhookId, activation: u32) -> Vec<u8> {
    let mut key = due_webhook(webhook);
    key.extend_from_slice(&activation.to_be_bytes());
    key
}

pub(super) fn due_ranked(webhook: WebhookId, activation: u32, rank: u8) -> Vec<u8> {
    let mut key = due_prefix(webhook, activation);
    key.push(rank);
    key
}

pub(super) fn attempts_prefix(webhook: WebhookId) -> Vec<u8> {
    tagged(ATTEMPTS, webhook.as_bytes())
}

pub(super) fn attempts(webhook: WebhookId, first: AttemptId) -> Vec<u8> {
    let mut key = attempts_prefix(webhook);
    key.extend_from_slice(first.as_bytes());
    key
}

/// A key of one of the time indexes, [`ACCEPTED`] and [`EXPIRY`].
pub(super) fn timed(tag: u8, ms: i64, seq: u64) -> Vec<u8> {
    let mut key = tagged(tag, &ordered(ms));
    key.extend_from_slice(&seq.to_be_bytes());
    key
}

/// The first key of a time index that is not before this time.
pub(super) fn timed_end(tag: u8, ms: i64) -> Vec<u8> {
    tagged(tag, &ordered(ms))
}

/// The time in a key of this time index.
pub(super) fn time_of(tag: u8, key: &[u8]) -> Option<i64> {
    key.strip_prefix(&[tag])?.first_chunk::<8>().map(|bytes| unordered(*bytes))
}

pub(super) fn idempotency(token: TokenId, key_hash: &[u8; 32]) -> Vec<u8> {
    let mut key = tagged(IDEMPOTENCY, token.as_bytes());
    key.extend_from_slice(key_hash);
    key
}

pub(super) fn further_prefix(event: EventId) -> Vec<u8> {
    tagged(FURTHER, event.as_bytes())
}

pub(super) fn further(event: EventId, slot: u32) -> Vec<u8> {
    let mut key = further_prefix(event);
    key.extend_from_slice(&slot.to_be_bytes());
    key
}

pub(super) fn redelivery(delivery: DeliveryId) -> Vec<u8> {
    tagged(REDELIVERY, delivery.as_bytes())
}

pub(super) fn audit(entry: AuditId) -> Vec<u8> {
    tagged(AUDIT, entry.as_bytes())
}

pub(super) fn tombstone(webhook: WebhookId) -> Vec<u8> {
    tagged(TOMBSTONE, webhook.as_bytes())
}

/// The keys of recent rows of an index.
pub(super) fn recent_prefix(index: u8) -> Vec<u8> {
    vec![RECENT, index]
}

pub(super) fn recent(index: u8, place: u128) -> Vec<u8> {
    [&[RECENT, index][..], &place.to_be_bytes()].concat()
}

/// The keys of one column of an index.
pub(super) fn column_prefix(index: u8, column: u8) -> Vec<u8> {
    vec![BLOCK, index, column]
}

pub(super) fn column(index: u8, column: u8, place: u128) -> Vec<u8> {
    [&[BLOCK, index, column][..], &place.to_be_bytes()].concat()
}

/// The place at the end of an index's key.
pub(super) fn place_of(key: &[u8]) -> Option<u128> {
    key.last_chunk::<16>().map(|place| u128::from_be_bytes(*place))
}

/// The sequence number at the end of a time index's key.
pub(super) fn seq_of(key: &[u8]) -> Option<u64> {
    key.last_chunk::<8>().map(|seq| u64::from_be_bytes(*seq))
}

/// The key of the states of an event's deliveries, by the event's key; `None` for any other key.
pub(super) fn state_of_event(key: &[u8]) -> Option<[u8; 17]> {
    counterpart(key, EVENT, STATE)
}

/// The key of an event, by the key of its deliveries' states; `None` for any other key.
pub(super) fn event_of_state(key: &[u8]) -> Option<[u8; 17]> {
    counterpart(key, STATE, EVENT)
}

fn counterpart(key: &[u8], tag: u8, other: u8) -> Option<[u8; 17]> {
    let mut key = <[u8; 17]>::try_from(key).ok().filter(|key| key[0] == tag)?;
    key[0] = other;
    Some(key)
}

/// The id after the tag, in keys that begin with one.
pub(super) fn id_of(key: &[u8]) -> Option<[u8; 16]> {
    key.get(1..17)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_those_on_existing_disks() {
        let tags: String = KINDS.iter().map(|kind| char::from(kind.tag)).collect();
        assert_eq!(tags, "mwctesfldarixuznk", "a tag is never used again");
        let exported: String = exported().into_iter().map(char::from).collect();
        assert_eq!(exported, "mwctzudsfleraix");
    }

    #[test]
    fn due_keys_sort_by_time_and_read_back() {
        let webhook = WebhookId::generate();
        let mut keys: Vec<DueKey> = [-5, 0, 3, i64::MAX, i64::MIN]
            .into_iter()
            .flat_map(|due_ms| [7, 8].map(|seq| (due_ms, seq)))
            .flat_map(|(due_ms, seq)| [0, 1, 255].map(|rank| DueKey { webhook, activation: 2, rank, due_ms, seq }))
            .collect();
        let mut encoded: Vec<_> = keys.iter().map(DueKey::encode).collect();
        encoded.sort();
        keys.sort();
        assert_eq!(encoded.iter().map(|key| DueKey::decode(key).expect("a due key")).collect::<Vec<_>>(), keys);
        assert!(encoded.iter().all(|key| key.starts_with(&due_prefix(webhook, 2))));
    }

    #[test]
    fn a_key_of_before_ranks_gets_rank_0() {
        let key = DueKey { webhook: WebhookId::generate(), activation: 2, rank: 0, due_ms: -3, seq: 9 };
        let (now, mut before) = (key.encode(), key.encode());
        before.remove(1 + 16 + 4);
        assert_eq!(due_with_rank(&before), Some(now.clone()));
        assert_eq!(due_with_rank(&now), None);
        assert_eq!(DueKey::decode(&before), None);
    }
}
