//! The part of a request that is known already: by its idempotency key, and by the ids of its events.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use super::record::{self, Answered, Damage};
use super::txn::Bytes;
use super::{AcceptError, Accepted, Embedded, Idempotency, StoreError, keys};
use crate::model::event::NewEvent;
use crate::model::id::{EventId, TokenId};
use crate::model::time::Timestamp;

/// An event of the request, compared with those that are known.
pub(super) enum Checked<E> {
    New(E),
    Known(Accepted),
    /// The same event as an earlier one of this request.
    Twin(usize),
}

/// The key under which the response to a request is kept.
pub(super) fn idempotency_key(token: TokenId, given: &Idempotency) -> Vec<u8> {
    keys::idempotency(token, &Sha256::digest(given.key.as_bytes()).into())
}

/// The response to an earlier request with this idempotency key; `None` if there was none, or it has expired.
///
/// # Errors
/// [`AcceptError::KeyReused`] if that request had another body.
pub(super) fn answered(
    key: &[u8],
    body_digest: &[u8; 32],
    now: Timestamp,
    damage: &Damage,
    read: impl Fn(&[u8]) -> Result<Option<Bytes>, StoreError>,
) -> Result<Option<Vec<Accepted>>, AcceptError> {
    let Some(bytes) = read(key)? else { return Ok(None) };
    let Ok(answered) = record::unpack::<Answered>(&bytes) else {
        damage.skipped("idempotency key");
        return Ok(None);
    };
    if answered.expires_at <= now && now != Timestamp::LAST {
        return Ok(None);
    }
    if answered.body_digest != *body_digest {
        return Err(AcceptError::KeyReused);
    }
    let events = answered.events.into_iter();
    Ok(Some(events.map(|(id, deliveries, derived)| Accepted { id, deliveries, derived }).collect()))
}

/// Compares the events of a request with those that are known, and with one another. `event_of` finds the event in what
/// comes with it.
///
/// # Errors
/// [`AcceptError::IdTaken`] if an id is that of another event.
pub(super) fn check_ids<E>(
    token: TokenId,
    events: Vec<E>,
    event_of: impl Fn(&E) -> &NewEvent,
    read: impl Fn(&[u8]) -> Result<Option<Bytes>, StoreError>,
) -> Result<Vec<Checked<E>>, AcceptError> {
    let mut seen: HashMap<EventId, (usize, [u8; 32])> = HashMap::new();
    let mut taken = Vec::new();
    let mut checked = Vec::with_capacity(events.len());
    for (index, event) in events.into_iter().enumerate() {
        let new = event_of(&event);
        let (Some(id), digest) = (new.id, new.digest) else {
            checked.push(Checked::New(event));
            continue;
        };
        if let Some((first, known)) = seen.get(&id) {
            // A twin of one that is rejected is rejected with it, so that every fault is reported at once.
            if *known == digest && taken.binary_search(first).is_err() {
                checked.push(Checked::Twin(*first));
            } else {
                taken.push(index);
            }
            continue;
        }
        seen.insert(id, (index, digest));
        match read(&keys::event(id))? {
            None => checked.push(Checked::New(event)),
            Some(bytes) => match record::unpack_event(&bytes) {
                Ok(known) if known.token == token && known.digest == digest && known.caused_by.is_none() => {
                    checked.push(Checked::Known(Accepted {
                        id,
                        deliveries: known.answered_deliveries,
                        derived: known.derived,
                    }));
                }
                _ => taken.push(index),
            },
        }
    }
    if taken.is_empty() { Ok(checked) } else { Err(AcceptError::IdTaken { indexes: taken }) }
}

impl Embedded {
    /// For each event of a request the response that it got when it was accepted, `None` if it is new. Nothing is accepted.
    pub(in crate::store) fn recognize(
        &self,
        token: TokenId,
        idempotency: Option<&Idempotency>,
        events: &[NewEvent],
        now: Timestamp,
    ) -> Result<Vec<Option<Accepted>>, AcceptError> {
        let read = |key: &[u8]| self.engine.get(key);
        if let Some(given) = idempotency
            && let Some(known) = answered(&idempotency_key(token, given), &given.body_digest, now, &self.damage, read)?
        {
            return Ok(known.into_iter().map(Some).collect());
        }
        let mut recognized: Vec<Option<Accepted>> = Vec::with_capacity(events.len());
        for checked in check_ids(token, events.iter().collect(), |event| *event, read)? {
            let known = match checked {
                Checked::New(_) => None,
                Checked::Known(accepted) => Some(accepted),
                Checked::Twin(index) => recognized.get(index).cloned().flatten(),
            };
            recognized.push(known);
        }
        Ok(recognized)
    }
}
