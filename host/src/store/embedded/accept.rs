//! Accepting events: idempotency, fan-out, derived events, all in one commit.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::index::{EventMarks, Row, Rows, place_of_seq};
use super::record::{self, Answered, Counts, EventRecord, Slot};
use super::tally::Wait;
use super::txn::Txn;
use super::writer::Writer;
use super::{AcceptError, Acceptance, Accepted, DueEntry, DueItem, DueKey, EventVerdicts, Sent, StoreError, keys};
use crate::model::event::{Event, NewEvent, Severity};
use crate::model::id::{DeliveryId, EventId, TokenId, WebhookId};
use crate::model::time::Timestamp;
use crate::model::webhook::Webhook;
use crate::model::webhook::expression::Verdicts;

/// Deliveries that share one queue entry, at most.
pub(super) const ENTRY_ITEMS: usize = 256;

type Queued = Vec<(DueItem, Option<Arc<Event>>)>;
type Response = Result<Vec<Accepted>, AcceptError>;

struct Waiting {
    reply: oneshot::Sender<Response>,
    accepted: Vec<Accepted>,
    /// The request's share of the ingest budget, released with the response.
    _permit: OwnedSemaphorePermit,
}

/// The acceptances of one commit.
#[derive(Default)]
pub(super) struct Group {
    pub(super) txn: Txn,
    waiting: Vec<Waiting>,
    /// The time of acceptance of all of its events.
    now: Option<Timestamp>,
    accepted: Vec<EventId>,
    /// The index's rows of these events.
    rows: Vec<Row>,
    /// The rows with their place, once they have one.
    placed: Option<Rows>,
    /// The deliveries that wait from this commit on.
    pub(super) waits: Vec<Wait>,
    /// The counts once this is written.
    counts: Option<Counts>,
    idempotency: Vec<Vec<u8>>,
    /// The fan-out, by webhook and activation.
    queued: BTreeMap<(WebhookId, u32), Queued>,
    due: Vec<DueEntry>,
}

impl Group {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.txn.is_empty()
    }

    pub(super) fn bytes(&self) -> usize {
        self.txn.bytes()
    }

    /// Writes the entries that the whole group shares.
    pub(super) fn finish(&mut self, writer: &mut Writer) {
        let now = self.now.unwrap_or_else(|| writer.now());
        if !self.accepted.is_empty() {
            let counts = Counts { events: writer.counts.events + self.accepted.len() as u64, ..writer.counts };
            self.txn.put(keys::meta(record::COUNTS), record::pack(&counts));
            self.counts = Some(counts);
            let seq = writer.seq();
            self.placed = Some((place_of_seq(seq), std::mem::take(&mut self.rows)));
            let key = keys::timed(keys::ACCEPTED, now.unix_ms(), seq);
            self.txn.put(key, record::pack(&std::mem::take(&mut self.accepted)));
        }
        if !self.idempotency.is_empty() {
            let expires = now.plus(writer.idempotency_kept);
            let key = keys::timed(keys::EXPIRY, expires.unix_ms(), writer.seq());
            self.txn.put(key, record::pack(&std::mem::take(&mut self.idempotency)));
        }
        let due_ms = writer.clock.steady_ms();
        for ((webhook, activation), mut items) in std::mem::take(&mut self.queued) {
            while !items.is_empty() {
                let rest = items.split_off(items.len().min(ENTRY_ITEMS));
                let key = DueKey { webhook, activation, rank: 0, due_ms, seq: writer.seq() };
                let stored: Vec<&DueItem> = items.iter().map(|(item, _)| item).collect();
                self.txn.put(key.encode(), record::pack_queue(&stored));
                self.due.push(DueEntry { key, items });
                items = rest;
            }
        }
    }

    /// The counts once this is written; `None` when it accepts nothing.
    pub(super) fn counts(&self) -> Option<Counts> {
        self.counts
    }

    /// The index's rows of the accepted events.
    pub(super) fn take_rows(&mut self) -> Option<Rows> {
        self.placed.take()
    }

    pub(super) fn take_due(&mut self) -> Vec<DueEntry> {
        std::mem::take(&mut self.due)
    }

    pub(super) fn respond(self, result: Result<(), StoreError>) {
        for waiting in self.waiting {
            // The events of a client that hung up are accepted all the same: they are on the disk.
            let _ = waiting.reply.send(result.map(|()| waiting.accepted).map_err(AcceptError::Store));
        }
    }
}

/// An event of the request, compared with those that are known.
#[expect(clippy::large_enum_variant, reason = "nearly every event is new")]
enum Checked {
    New(NewEvent, EventVerdicts),
    Known(Accepted),
    /// The same event as an earlier one of this request.
    Twin(usize),
}

impl Writer {
    pub(super) fn accept(
        &mut self,
        acceptance: Acceptance,
        group: &mut Group,
        reply: oneshot::Sender<Response>,
        permit: OwnedSemaphorePermit,
    ) {
        match self.try_accept(acceptance, group) {
            // Responded to after the commit, also when nothing is new: what it repeats may be in this very group.
            Ok(accepted) => group.waiting.push(Waiting { reply, accepted, _permit: permit }),
            Err(AcceptError::Store(StoreError::Unavailable)) if let Some(why) = self.reopen => {
                drop(reply.send(Err(AcceptError::Store(why))));
            }
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    /// Everything that can fail comes before the first change.
    fn try_accept(&mut self, acceptance: Acceptance, group: &mut Group) -> Response {
        let token = acceptance.token;
        let idempotency = acceptance.idempotency.as_ref().map(|given| {
            let key = keys::idempotency(token, &Sha256::digest(given.key.as_bytes()).into());
            (key, given.body_digest)
        });
        if let Some((key, body_digest)) = &idempotency
            && let Some(answered) = self.answered(key, group)?
        {
            if answered.body_digest != *body_digest {
                return Err(AcceptError::KeyReused);
            }
            let events = answered.events.into_iter();
            return Ok(events.map(|(id, deliveries, derived)| Accepted { id, deliveries, derived }).collect());
        }
        if self.lacks_verdicts(&acceptance) {
            return Err(AcceptError::Unjudged(Box::new(acceptance)));
        }
        let checked = self.check_ids(acceptance, group)?;
        let mut accepted: Vec<Accepted> = Vec::with_capacity(checked.len());
        for event in checked {
            let one = match event {
                Checked::New(event, verdicts) => self.accept_one(token, event, None, &verdicts, group),
                Checked::Known(known) => known,
                Checked::Twin(index) => accepted[index].clone(),
            };
            accepted.push(one);
        }
        if let Some((key, body_digest)) = idempotency {
            let events = accepted.iter().map(|one| (one.id, one.deliveries, one.derived.clone())).collect();
            let expires_at = self.now().plus(self.idempotency_kept);
            group.txn.put(key.clone(), record::pack(&Answered { body_digest, events, expires_at }));
            group.idempotency.push(key);
        }
        Ok(accepted)
    }

    fn answered(&self, key: &[u8], group: &Group) -> Result<Option<Answered>, StoreError> {
        let Some(bytes) = group.txn.get(&self.engine, key)? else { return Ok(None) };
        match record::unpack::<Answered>(&bytes) {
            Ok(answered) => {
                Ok(Some(answered).filter(|answered| answered.expires_at > self.now() || self.now() == Timestamp::LAST))
            }
            Err(_) => {
                self.damage.skipped("idempotency key");
                Ok(None)
            }
        }
    }

    /// Returns true if a webhook's expression was not evaluated on one of the events: the webhooks have changed since.
    fn lacks_verdicts(&self, acceptance: &Acceptance) -> bool {
        let table = self.webhooks.load();
        let mut events = acceptance.events.iter().enumerate();
        table.has_expressions()
            && events.any(|(index, event)| {
                let none = EventVerdicts::default();
                self.is_unjudged(event, acceptance.verdicts.get(index).unwrap_or(&none))
            })
    }

    /// Returns true if a webhook's expression was not evaluated on the event, or on the one that is derived from it.
    pub(super) fn is_unjudged(&self, event: &NewEvent, verdicts: &EventVerdicts) -> bool {
        let table = self.webhooks.load();
        let lacks = |event_type, verdicts: Option<&Verdicts>| {
            let mut needed = table.expressions(event_type, event.severity, event.engagement_id.as_deref());
            needed.any(|(_, expression)| verdicts.is_none_or(|verdicts| verdicts.get(expression).is_none()))
        };
        let derived = verdicts.derived.as_ref().map(|(_, verdicts)| verdicts);
        lacks(event.event_type, Some(&verdicts.own)) || event.derives().is_some_and(|derives| lacks(derives, derived))
    }

    fn check_ids(&self, acceptance: Acceptance, group: &Group) -> Result<Vec<Checked>, AcceptError> {
        let Acceptance { token, events, verdicts, .. } = acceptance;
        let mut verdicts = verdicts.into_iter();
        let mut seen: HashMap<EventId, (usize, [u8; 32])> = HashMap::new();
        let mut taken = Vec::new();
        let mut checked = Vec::with_capacity(events.len());
        for (index, event) in events.into_iter().enumerate() {
            let verdicts = verdicts.next().unwrap_or_default();
            let Some(id) = event.id else {
                checked.push(Checked::New(event, verdicts));
                continue;
            };
            if let Some((first, digest)) = seen.get(&id) {
                // A twin of one that is rejected is rejected with it, so that every fault is reported at once.
                if *digest == event.digest && taken.binary_search(first).is_err() {
                    checked.push(Checked::Twin(*first));
                } else {
                    taken.push(index);
                }
                continue;
            }
            seen.insert(id, (index, event.digest));
            match group.txn.get(&self.engine, &keys::event(id))? {
                None => checked.push(Checked::New(event, verdicts)),
                Some(bytes) => match record::unpack_event(&bytes) {
                    Ok(known) if known.token == token && known.digest == event.digest && known.caused_by.is_none() => {
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

    /// Accepts one event, with those that the host derives from it. The webhook that it is about does not get it.
    pub(super) fn accept_one(
        &mut self,
        token: TokenId,
        new: NewEvent,
        about: Option<WebhookId>,
        verdicts: &EventVerdicts,
        group: &mut Group,
    ) -> Accepted {
        let now = *group.now.get_or_insert_with(|| self.now());
        let id = new.id.unwrap_or_else(EventId::generate);
        let occurred_at = new.occurred_at.unwrap_or(now);
        let judged = verdicts.derived.as_ref();
        let derived = new.derive(judged.map(|(id, _)| *id), id, occurred_at);
        let event = |id, new: NewEvent, caused_by| Event {
            id,
            event_type: new.event_type,
            occurred_at,
            accepted_at: now,
            caused_by,
            json: new.json,
        };
        let derived = derived.map(|derived| {
            let derived_id = derived.id.unwrap_or_else(EventId::generate);
            let slots = self.fan_out(&derived, about, judged.map(|(_, verdicts)| verdicts));
            let digest = derived.digest;
            let marks = EventMarks::of_new(&derived, now);
            let row = Row::of_event(derived_id, derived.event_type, severity_of(&derived), marks);
            self.remember(derived_id, marks, &slots);
            (row, event(derived_id, derived, Some(id)), digest, slots)
        });
        let slots = self.fan_out(&new, about, Some(&verdicts.own));
        let digest = new.digest;
        let marks = EventMarks::of_new(&new, now);
        let row = Row::of_event(id, new.event_type, severity_of(&new), marks);
        let own = event(id, new, None);
        self.remember(id, marks, &slots);
        let made = slots.len() + derived.as_ref().map_or(0, |(_, _, _, slots)| slots.len());
        let accepted = Accepted {
            id,
            deliveries: u32::try_from(made).unwrap_or(u32::MAX),
            derived: derived.iter().map(|(_, event, _, _)| event.id).collect(),
        };
        group.rows.push(row);
        put_event(group, token, own, digest, slots, &accepted);
        if let Some((row, event, digest, slots)) = derived {
            let deliveries = u32::try_from(slots.len()).unwrap_or(u32::MAX);
            let accepted = Accepted { id: event.id, deliveries, derived: Vec::new() };
            group.rows.push(row);
            put_event(group, token, event, digest, slots, &accepted);
        }
        accepted
    }

    fn remember(&mut self, event: EventId, marks: EventMarks, slots: &[Slot]) {
        self.accepted_since.add(event);
        if !slots.is_empty() {
            self.recent.put(event, record::initial_states(slots, marks.accepted_at));
            self.marks.put(event, marks);
        }
    }

    /// The fan-out of an event: a delivery for each webhook that it goes to, but for the one that it is about.
    /// An expression that was not evaluated lets it pass, as one that fails does; [`Writer::is_unjudged`] keeps that from
    /// posted events.
    fn fan_out(&self, event: &NewEvent, about: Option<WebhookId>, verdicts: Option<&Verdicts>) -> Vec<Slot> {
        let is_false = |webhook: &Webhook| {
            let expression = webhook.config.filter.expression.as_deref();
            let verdict = expression.zip(verdicts).and_then(|(expression, verdicts)| verdicts.get(expression));
            verdict.is_some_and(|verdict| !verdict.passes())
        };
        let table = self.webhooks.load();
        table
            .subscribed(event.event_type)
            .iter()
            .filter(|webhook| Some(webhook.id) != about)
            .filter(|webhook| webhook.takes(event.event_type, event.severity, event.engagement_id.as_deref()))
            .filter(|webhook| !is_false(webhook))
            .map(|webhook| Slot {
                delivery: DeliveryId::generate(),
                webhook: webhook.id,
                activation: webhook.activation,
            })
            .collect()
    }
}

/// The severity that searches go by.
fn severity_of(event: &NewEvent) -> Option<Severity> {
    event.severity.or_else(|| event.event_type.host_severity())
}

fn put_event(group: &mut Group, token: TokenId, event: Event, digest: [u8; 32], slots: Vec<Slot>, accepted: &Accepted) {
    let record = EventRecord {
        event_type: event.event_type,
        occurred_at: event.occurred_at,
        accepted_at: event.accepted_at,
        caused_by: event.caused_by,
        token,
        digest,
        derived: accepted.derived.clone(),
        answered_deliveries: accepted.deliveries,
        slots,
        json: event.json.as_str().into(),
        joined: None,
    };
    group.txn.put(keys::event(event.id), record::pack_event(&record));
    group.accepted.push(event.id);
    let slots = record.slots;
    let accepted_at = event.accepted_at;
    group.waits.extend(slots.iter().map(|slot| {
        let Slot { webhook, activation, .. } = *slot;
        Wait { webhook, activation, accepted_at, begins: true }
    }));
    let event = Arc::new(event);
    for (slot_index, slot) in slots.iter().enumerate() {
        let item = DueItem {
            event: event.id,
            slot: u32::try_from(slot_index).unwrap_or(u32::MAX),
            delivery: slot.delivery,
            attempt: 1,
            earlier: 0,
            sent: Sent::Never,
        };
        group.queued.entry((slot.webhook, slot.activation)).or_default().push((item, Some(Arc::clone(&event))));
    }
}
