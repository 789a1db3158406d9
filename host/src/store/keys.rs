//! The layout of the one keyspace. All numbers are big-endian, so that byte order is time order.
//!
//! | key | value |
//! | --- | --- |
//! | `m` name | facts about the store itself: schema version, key check, host name |
//! | `w` webhook | configuration and activity |
//! | `c` webhook | running counters |
//! | `t` sha256(token) | token |
//! | `e` event | the accepted event and its fan-out; never rewritten |
//! | `s` event | where each of its deliveries stands; absent until the first outcome |
//! | `d` webhook activation due seq | deliveries that wait, in order of their due time |
//! | `a` webhook attempt | the attempts that one commit recorded; the key has the first one's id |
//! | `r` accepted seq | the events that one commit accepted, for retention |
//! | `i` token sha256(key) | what an idempotency key answered |
//! | `x` expiry seq | the idempotency keys that one commit took, for their expiry |
//! | `f` event place | a further delivery of an event, made by a redelivery |
//! | `l` delivery | the event of such a delivery, and its place there |
//! | `u` entry | an entry of the audit log |
//! | `z` webhook | a deleted webhook whose history and waiting work are still to be removed |

use crate::model::id::{AttemptId, AuditId, DeliveryId, EventId, TokenId, WebhookId};

/// The layout's version, kept under `m` `schema`. A store with a later one is not opened; one with an earlier one is
/// brought up to date when it is opened. 2 brought the audit log, redeliveries and queue entries that know how many
/// attempts came before.
pub(super) const SCHEMA: u32 = 2;

pub(super) const WEBHOOK: u8 = b'w';
pub(super) const COUNTERS: u8 = b'c';
pub(super) const TOKEN: u8 = b't';
pub(super) const EVENT: u8 = b'e';
pub(super) const STATE: u8 = b's';
pub(super) const DUE: u8 = b'd';
pub(super) const ATTEMPTS: u8 = b'a';
pub(super) const ACCEPTED: u8 = b'r';
pub(super) const IDEMPOTENCY: u8 = b'i';
pub(super) const EXPIRY: u8 = b'x';
pub(super) const FURTHER: u8 = b'f';
pub(super) const REDELIVERY: u8 = b'l';
pub(super) const AUDIT: u8 = b'u';
pub(super) const TOMBSTONE: u8 = b'z';

/// Where a waiting delivery (or a group of them) stands in its webhook's queue.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DueKey {
    /// Whose queue.
    pub webhook: WebhookId,
    /// The webhook's activation when this was queued; an earlier one than the webhook's now means held.
    pub activation: u32,
    /// When it is due, in milliseconds of the steady clock (which is the wall clock's at start-up).
    pub due_ms: i64,
    /// Sets entries of one millisecond apart.
    pub seq: u64,
}

impl DueKey {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut key = due_prefix(self.webhook, self.activation);
        key.extend_from_slice(&ordered(self.due_ms));
        key.extend_from_slice(&self.seq.to_be_bytes());
        key
    }

    pub(super) fn decode(key: &[u8]) -> Option<Self> {
        let (webhook, rest) = key.strip_prefix(&[DUE])?.split_first_chunk::<16>()?;
        let (activation, rest) = rest.split_first_chunk::<4>()?;
        let (due, rest) = rest.split_first_chunk::<8>()?;
        Some(Self {
            webhook: WebhookId::from_bytes(*webhook),
            activation: u32::from_be_bytes(*activation),
            due_ms: unordered(*due),
            seq: u64::from_be_bytes(rest.try_into().ok()?),
        })
    }
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

pub(super) fn meta(name: &str) -> Vec<u8> {
    tagged(b'm', name.as_bytes())
}

pub(super) fn webhook(id: WebhookId) -> Vec<u8> {
    tagged(WEBHOOK, id.as_bytes())
}

pub(super) fn counters(id: WebhookId) -> Vec<u8> {
    tagged(COUNTERS, id.as_bytes())
}

pub(super) fn token(hash: &[u8; 32]) -> Vec<u8> {
    tagged(TOKEN, hash)
}

pub(super) fn event(id: EventId) -> Vec<u8> {
    tagged(EVENT, id.as_bytes())
}

pub(super) fn state(id: EventId) -> Vec<u8> {
    tagged(STATE, id.as_bytes())
}

pub(super) fn due_webhook(webhook: WebhookId) -> Vec<u8> {
    tagged(DUE, webhook.as_bytes())
}

pub(super) fn due_prefix(webhook: WebhookId, activation: u32) -> Vec<u8> {
    let mut key = due_webhook(webhook);
    key.extend_from_slice(&activation.to_be_bytes());
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

pub(super) fn idempotency(token: TokenId, key_hash: &[u8; 32]) -> Vec<u8> {
    let mut key = tagged(IDEMPOTENCY, token.as_bytes());
    key.extend_from_slice(key_hash);
    key
}

pub(super) fn further_prefix(event: EventId) -> Vec<u8> {
    tagged(FURTHER, event.as_bytes())
}

pub(super) fn further(event: EventId, place: u32) -> Vec<u8> {
    let mut key = further_prefix(event);
    key.extend_from_slice(&place.to_be_bytes());
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

/// The 16 bytes behind a tag, for the keys that end there.
pub(super) fn id_of(key: &[u8]) -> Option<[u8; 16]> {
    key.get(1..17)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_keys_sort_by_time_and_read_back() {
        let webhook = WebhookId::generate();
        let mut keys: Vec<DueKey> = [-5, 0, 3, i64::MAX, i64::MIN]
            .into_iter()
            .flat_map(|due_ms| [7, 8].map(|seq| DueKey { webhook, activation: 2, due_ms, seq }))
            .collect();
        let mut encoded: Vec<_> = keys.iter().map(DueKey::encode).collect();
        encoded.sort();
        keys.sort();
        assert_eq!(encoded.iter().map(|key| DueKey::decode(key).expect("a due key")).collect::<Vec<_>>(), keys);
        assert!(encoded.iter().all(|key| key.starts_with(&due_prefix(webhook, 2))));
    }
}
