//! Deliveries that go out in one request: which may, under which id, and what to do when it is too much.

use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};
use sha2::{Digest as _, Sha256};

use super::decide::{Failure, Said};
use crate::formatter::{Component, Join, Payload, Rendering};
use crate::model::event::Event;
use crate::model::id::DeliveryId;
use crate::store::Pin;

/// The most of several payloads together, in bytes: what a collector of the kind takes at the least, with room to
/// spare. One payload alone may have more.
const MAX_BYTES: usize = 512 * 1024;

/// A delivery whose payload is there.
pub(super) struct Ready {
    /// Its place among those that were claimed together.
    pub(super) place: usize,
    pub(super) event: Arc<Event>,
    pub(super) delivery: DeliveryId,
    pub(super) attempt: u32,
    /// Whether no retry is left to it.
    pub(super) is_last: bool,
    /// Whether it was sent before.
    pub(super) is_again: bool,
    /// What rendered it.
    pub(super) by: Arc<Component>,
    pub(super) rendering: Arc<Rendering>,
    pub(super) pin: Pin,
}

impl Ready {
    pub(super) fn payload(&self) -> &Payload {
        &self.rendering.payload
    }
}

/// Deliveries that share a request, as they come. The same ones always make the same group.
#[derive(Default)]
pub(super) struct Group {
    ready: Vec<Ready>,
    bytes: usize,
}

impl Group {
    /// Takes one more, unless it has to go by itself or with what comes after it.
    pub(super) fn takes(&mut self, one: Ready) -> bool {
        let size = one.payload().body.len() + 1;
        let joins = self.ready.first().is_none_or(|first| {
            let (a, b) = (first.payload(), one.payload());
            one.by.manifest().join != Join::None
                // A line feed of its own, as in JSON that was posted laid out, would end its line.
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

/// The body of a group.
pub(super) fn joined(group: &[Ready]) -> Bytes {
    let [first, rest @ ..] = group else { return Bytes::new() };
    if rest.is_empty() {
        return first.payload().body.clone();
    }
    let newline = first.by.manifest().join == Join::Newline;
    let mut body = BytesMut::with_capacity(group.iter().map(|one| one.payload().body.len() + 1).sum());
    for (place, one) in group.iter().enumerate() {
        if newline && place > 0 {
            body.put_u8(b'\n');
        }
        body.put_slice(&one.payload().body);
    }
    body.freeze()
}

/// The id of a request: its delivery's, or, of several, one made of all of theirs (a UUID of version 8, RFC 9562,
/// section 5.8). The same deliveries have the same id, others have another: whoever drops what it has seen before
/// drops nothing that it has not.
pub(super) fn id(deliveries: &[DeliveryId]) -> String {
    if let [delivery] = deliveries {
        return delivery.to_string();
    }
    let mut hash = Sha256::new();
    deliveries.iter().for_each(|delivery| hash.update(delivery.as_bytes()));
    let hash: [u8; 32] = hash.finalize().into();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    bytes[6] = 0x80 | (bytes[6] & 0x0f);
    bytes[8] = 0x80 | (bytes[8] & 0x3f);
    uuid::Uuid::from_bytes(bytes).to_string()
}

/// Whether a failed batch may go through in parts: it was too large, or something in it is not acceptable, which need
/// not be so of all. Who asks and where (401, 403, 404, 405) is the same for each part.
pub(super) fn splits(deliveries: usize, failure: &Failure) -> bool {
    deliveries > 1
        && match failure.said {
            Some(Said::Final { deactivate }) => !deactivate && !matches!(failure.status, Some(401 | 403..=405)),
            Some(Said::TryAgain) => failure.status == Some(413),
            None => matches!(failure.status, Some(400 | 413 | 422)),
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::delivery::ErrorClass;

    #[test]
    fn an_id_is_of_these_deliveries_and_no_others() {
        let deliveries: Vec<_> = (0..3).map(|_| DeliveryId::generate()).collect();
        assert_eq!(id(&deliveries[..1]), deliveries[0].to_string());
        let all = id(&deliveries);
        assert_eq!(all, id(&deliveries));
        assert_ne!(all, id(&deliveries[..2]));
        let parsed: uuid::Uuid = all.parse().expect("a UUID");
        assert_eq!((parsed.get_version_num(), parsed.get_variant()), (8, uuid::Variant::RFC4122));
    }

    #[test]
    fn only_what_parts_may_mend_is_split() {
        let failed = |status| Failure { status: Some(status), ..Failure::of(ErrorClass::Status) };
        for status in [400, 413, 422] {
            assert!(splits(2, &failed(status)) && !splits(1, &failed(status)), "{status}");
        }
        for status in [401, 404, 410, 429, 500, 503] {
            assert!(!splits(2, &failed(status)), "{status}");
        }
        let said = |said| Failure { said: Some(said), ..failed(400) };
        assert!(splits(2, &said(Said::Final { deactivate: false })));
        for status in [401, 403, 404] {
            let failure = Failure { status: Some(status), ..said(Said::Final { deactivate: false }) };
            assert!(!splits(2, &failure), "{status}");
        }
        assert!(!splits(2, &said(Said::Final { deactivate: true })));
        assert!(!splits(2, &said(Said::TryAgain)));
    }
}
