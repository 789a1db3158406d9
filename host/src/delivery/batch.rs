//! Batches: deliveries that go out in one request, and the id that they go out under.

use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::result::Attempted;
use crate::formatter::{Component, Join, Payload, Rendering};
use crate::model::delivery::Part;
use crate::model::event::Event;
use crate::model::id::DeliveryId;
use crate::model::webhook::Webhook;
use crate::store::{DueItem, Pin};

/// The most bytes of several payloads together: below what any collector that takes batches accepts. One payload alone may
/// have more.
const MAX_BYTES: usize = 512 * 1024;

/// A rendered delivery.
pub(super) struct Ready {
    /// Its index among the deliveries that were claimed together.
    pub(super) index: usize,
    pub(super) event: Arc<Event>,
    pub(super) delivery: DeliveryId,
    pub(super) attempt: u32,
    /// True if no retry is left.
    pub(super) is_last: bool,
    /// True if it was sent before.
    pub(super) is_again: bool,
    /// The component that rendered it.
    pub(super) by: Arc<Component>,
    pub(super) rendering: Arc<Rendering>,
    pub(super) pin: Pin,
    /// The digest that it is a member of: the rendering is the whole message's.
    pub(super) part: Option<Part>,
}

impl Ready {
    /// The `index`th claimed delivery, with what `by` rendered for it.
    pub(super) fn claimed(
        index: usize,
        item: &DueItem,
        webhook: &Webhook,
        event: Arc<Event>,
        by: Arc<Component>,
        rendering: Arc<Rendering>,
        pin: Pin,
    ) -> Self {
        let (delivery, attempt, part) = (item.delivery, item.attempt, item.sent.part());
        let is_last = item.try_number() > webhook.config.retry_count;
        let is_again = item.sent.is_again();
        Self { index, event, delivery, attempt, is_last, is_again, by, rendering, pin, part }
    }

    pub(super) fn payload(&self) -> &Payload {
        &self.rendering.payload
    }

    /// An attempt at it, of which nothing is known yet.
    pub(super) fn attempted(&self, webhook: &Webhook) -> Attempted {
        Attempted::by(webhook, &self.event, &self.by)
    }
}

/// Deliveries that share a request, in the order of their claims. The same deliveries always make the same batch.
#[derive(Default)]
pub(super) struct Batch {
    ready: Vec<Ready>,
    bytes: usize,
}

impl Batch {
    /// Adds one more; returns false if it must go in a request of its own, or with the deliveries after it.
    pub(super) fn push(&mut self, one: Ready) -> bool {
        let size = one.payload().body.len() + 1;
        let joins = self.ready.first().is_none_or(|first| {
            let (a, b) = (first.payload(), one.payload());
            one.by.manifest().join != Join::None
                // A payload with a line feed of its own, such as indented JSON, would break the framing by lines.
                && !(one.by.manifest().join == Join::Newline && (has_line_feed(a) || has_line_feed(b)))
                && first.by.digest() == one.by.digest()
                && a.content_type == b.content_type
                && a.headers == b.headers
                && self.bytes + size <= MAX_BYTES
        });
        if joins {
            self.bytes += size;
            self.ready.push(one);
        }
        joins
    }

    pub(super) fn into_ready(self) -> Vec<Ready> {
        self.ready
    }
}

fn has_line_feed(payload: &Payload) -> bool {
    payload.body.contains(&b'\n')
}

/// The body of a batch: its payloads, joined as the format says.
pub(super) fn joined(batch: &[Ready]) -> Bytes {
    let [first, rest @ ..] = batch else { return Bytes::new() };
    if rest.is_empty() {
        return first.payload().body.clone();
    }
    let newline = first.by.manifest().join == Join::Newline;
    let mut body = BytesMut::with_capacity(batch.iter().map(|one| one.payload().body.len() + 1).sum());
    for (position, one) in batch.iter().enumerate() {
        if newline && position > 0 {
            body.put_u8(b'\n');
        }
        body.put_slice(&one.payload().body);
    }
    body.freeze()
}

/// The id of a request: its delivery's, or, for a batch, a UUID of version 8 (RFC 9562, section 5.8) hashed from the ids of
/// all its deliveries. Equal batches have equal ids and different ones differ, so a receiver that drops ids it has seen
/// drops nothing new.
pub(super) fn id(deliveries: &[DeliveryId]) -> String {
    if let [delivery] = deliveries {
        return delivery.to_string();
    }
    let mut hash = Sha256::new();
    deliveries.iter().for_each(|delivery| hash.update(delivery.as_bytes()));
    let hash: [u8; 32] = hash.finalize().into();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    Uuid::new_v8(bytes).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_of_these_deliveries_and_no_others() {
        let deliveries: Vec<_> = (0..3).map(|_| DeliveryId::generate()).collect();
        assert_eq!(id(&deliveries[..1]), deliveries[0].to_string());
        let all = id(&deliveries);
        assert_eq!(all, id(&deliveries));
        assert_ne!(all, id(&deliveries[..2]));
        let parsed: Uuid = all.parse().expect("a UUID");
        assert_eq!((parsed.get_version_num(), parsed.get_variant()), (8, uuid::Variant::RFC4122));
        // A batch that is sent again by a later version keeps its id.
        let known = [1, 2].map(|byte| DeliveryId::from_bytes([byte; 16]));
        assert_eq!(id(&known), "f03f702d-6016-819c-96ff-011ea60a8f81");
    }
}
