//! Accepting events: idempotency, fan-out, derived events, all in one commit.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::index::{EventMarks, Row, Rows, place_of_seq};
use super::known::{Checked, answered, check_ids, idempotency_key};
use super::place::{self, Place};
use super::record::{self, Answered, Counts, EventRecord, Slot};
use super::tally::Wait;
use super::txn::Txn;
use super::writer::Writer;
use super::{AcceptError, Acceptance, Accepted, DueEntry, DueItem, DueKey, EventVerdicts, Sent, StoreError, keys};
use crate::model::event::{Event, NewEvent, Severity};
use crate::model::id::{DeliveryId, EventId, TokenId, WebhookId};
use crate::model::time::Timestamp;
use crate::model::webhook::Order;
use crate::model::webhook::expression::Verdicts;
use crate::model::webhook::judge::{Subject, judge, judge_beside_derived};
use crate::store::rank;

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
    /// The fan-out, by webhook and activation; true: what does not wait for the webhook's digest.
    queued: BTreeMap<(WebhookId, u32, bool), Queued>,
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
        let accepted = std::mem::take(&mut self.accepted);
        let mut commit = 0;
        if !accepted.is_empty() {
            let counts = Counts { events: writer.counts.events + accepted.len() as u64, ..writer.counts };
            self.txn.put(keys::meta(record::COUNTS), record::pack(&counts));
            self.counts = Some(counts);
            commit = writer.seq();
            self.placed = Some((place_of_seq(commit), std::mem::take(&mut self.rows)));
            let key = keys::timed(keys::ACCEPTED, now.unix_ms(), commit);
            self.txn.put(key, record::pack_list(&accepted, 17));
        }
        if !self.idempotency.is_empty() {
            let expires = now.plus(writer.idempotency_kept);
            let key = keys::timed(keys::EXPIRY, expires.unix_ms(), writer.seq());
            self.txn.put(key, record::pack(&std::mem::take(&mut self.idempotency)));
        }
        let (table, due_ms) = (writer.webhooks.load_full(), writer.clock.steady_ms());
        let mut positions = None;
        for ((webhook, activation, _), items) in std::mem::take(&mut self.queued) {
            match table.get(webhook).map_or(Order::Arrival, |webhook| webhook.config.order) {
                // Their order shows within an entry; its rank is that of the most severe.
                Order::Arrival => self.queue(writer, (webhook, activation), due_ms, items),
                Order::Severity => {
                    let mut parts: BTreeMap<u8, Queued> = BTreeMap::new();
                    for (item, event) in items {
                        parts.entry(item.rank).or_default().push((item, event));
                    }
                    parts.into_values().for_each(|part| self.queue(writer, (webhook, activation), due_ms, part));
                }
                Order::Strict => {
                    let positions = positions.get_or_insert_with(|| place::positions(&accepted));
                    for (item, event) in items {
                        let position = positions.get(&item.event).copied().unwrap_or_default();
                        let key = Place { commit, position }.key(webhook, activation, item.slot);
                        self.put_entry(key, vec![(DueItem { due_ms: Some(due_ms), ..item }, event)]);
                    }
                }
            }
        }
    }

    /// Queues deliveries of one webhook and activation.
    fn queue(&mut self, writer: &mut Writer, (webhook, activation): (WebhookId, u32), due_ms: i64, mut items: Queued) {
        while !items.is_empty() {
            let rest = items.split_off(items.len().min(ENTRY_ITEMS));
            let rank = items.iter().map(|(item, _)| item.rank).min().unwrap_or(rank::UNKNOWN);
            self.put_entry(DueKey { webhook, activation, rank, due_ms, seq: writer.seq() }, items);
            items = rest;
        }
    }

    fn put_entry(&mut self, key: DueKey, items: Queued) {
        let stored: Vec<&DueItem> = items.iter().map(|(item, _)| item).collect();
        self.txn.put(key.encode(), record::pack_queue(&stored));
        self.due.push(DueEntry { key, items });
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
        let read = |key: &[u8]| group.txn.get(&self.engine, key);
        let idempotency =
            acceptance.idempotency.as_ref().map(|given| (idempotency_key(token, given), given.body_digest));
        if let Some((key, body_digest)) = &idempotency
            && let Some(known) = answered(key, body_digest, self.now(), &self.damage, read)?
        {
            return Ok(known);
        }
        if self.lacks_verdicts(&acceptance) {
            return Err(AcceptError::Unjudged(Box::new(acceptance)));
        }
        let Acceptance { events, verdicts, .. } = acceptance;
        let verdicts = verdicts.into_iter().chain(std::iter::repeat_with(EventVerdicts::default));
        let checked = check_ids(token, events.into_iter().zip(verdicts).collect(), |(event, _)| event, read)?;
        let mut accepted: Vec<Accepted> = Vec::with_capacity(checked.len());
        for event in checked {
            let one = match event {
                Checked::New((event, verdicts)) => self.accept_one(token, event, None, &verdicts, group),
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
            let slots = self.fan_out(&derived, about, judged.map(|(_, verdicts)| verdicts), &[]);
            let digest = derived.digest;
            let marks = EventMarks::of_new(&derived, now);
            let severity = severity_of(&derived);
            let row = Row::of_event(derived_id, derived.event_type, severity, marks);
            self.remember(derived_id, marks, &slots);
            (row, event(derived_id, derived, Some(id)), digest, (slots, severity))
        });
        let derived_slots = derived.as_ref().map_or(&[][..], |(_, _, _, (slots, _))| slots.as_slice());
        let slots = self.fan_out(&new, about, Some(&verdicts.own), derived_slots);
        let digest = new.digest;
        let marks = EventMarks::of_new(&new, now);
        let severity = severity_of(&new);
        let row = Row::of_event(id, new.event_type, severity, marks);
        let own = event(id, new, None);
        self.remember(id, marks, &slots);
        let made = slots.len() + derived.as_ref().map_or(0, |(_, _, _, (slots, _))| slots.len());
        let accepted = Accepted {
            id,
            deliveries: u32::try_from(made).unwrap_or(u32::MAX),
            derived: derived.iter().map(|(_, event, _, _)| event.id).collect(),
        };
        group.rows.push(row);
        let own = Arc::new(own);
        put_event(group, token, &own, digest, &slots, &accepted);
        self.queue_first(group, &own, &slots, severity);
        if let Some((row, event, digest, (slots, severity))) = derived {
            let deliveries = u32::try_from(slots.len()).unwrap_or(u32::MAX);
            let accepted = Accepted { id: event.id, deliveries, derived: Vec::new() };
            group.rows.push(row);
            let event = Arc::new(event);
            put_event(group, token, &event, digest, &slots, &accepted);
            self.queue_first(group, &event, &slots, severity);
        }
        accepted
    }

    /// Queues the deliveries of an event that was just accepted.
    fn queue_first(&self, group: &mut Group, event: &Arc<Event>, slots: &[Slot], severity: Option<Severity>) {
        let table = self.webhooks.load();
        for (index, slot) in slots.iter().enumerate() {
            let digest = table.get(slot.webhook).and_then(|webhook| webhook.config.digest);
            let is_alone = digest.is_some_and(|digest| digest.is_bypassed_by(severity));
            let item = DueItem {
                event: event.id,
                slot: u32::try_from(index).unwrap_or(u32::MAX),
                delivery: slot.delivery,
                attempt: 1,
                earlier: 0,
                sent: if is_alone { Sent::Alone } else { Sent::Never },
                rank: rank::of(severity),
                due_ms: None,
                has_failed: false,
            };
            let queued = group.queued.entry((slot.webhook, slot.activation, is_alone)).or_default();
            queued.push((item, Some(Arc::clone(event))));
        }
    }

    fn remember(&mut self, event: EventId, marks: EventMarks, slots: &[Slot]) {
        self.accepted_since.add(event);
        if !slots.is_empty() {
            self.recent.put(event, record::initial_states(slots, marks.accepted_at));
            self.marks.put(event, marks);
        }
    }

    /// The fan-out of an event: a delivery for each webhook that it goes to, but for the one that it is about, and those that
    /// want a critical finding once and get the derived one, whose deliveries these are. An expression that was not evaluated
    /// lets it pass, as one that fails does; [`Writer::is_unjudged`] keeps that from posted events.
    fn fan_out(
        &self,
        event: &NewEvent,
        about: Option<WebhookId>,
        verdicts: Option<&Verdicts>,
        derived: &[Slot],
    ) -> Vec<Slot> {
        let table = self.webhooks.load();
        let subject = Subject::of_new(event);
        table
            .subscribed(event.event_type)
            .iter()
            .filter(|webhook| Some(webhook.id) != about)
            .filter(|webhook| judge(webhook, &subject, webhook.verdict(verdicts)).is_ok())
            .filter(|webhook| {
                // Slots are in the order of the table, which is that of the ids.
                let derived_goes = derived.binary_search_by_key(&webhook.id, |slot| slot.webhook).is_ok();
                judge_beside_derived(webhook, derived_goes).is_ok()
            })
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

fn put_event(group: &mut Group, token: TokenId, event: &Event, digest: [u8; 32], slots: &[Slot], accepted: &Accepted) {
    let record = EventRecord {
        event_type: event.event_type,
        occurred_at: event.occurred_at,
        accepted_at: event.accepted_at,
        caused_by: event.caused_by,
        token,
        digest,
        derived: accepted.derived.clone(),
        answered_deliveries: accepted.deliveries,
        slots: slots.to_vec(),
        json: event.json.as_str().into(),
        joined: None,
    };
    group.txn.put(keys::event(event.id), record::pack_event(&record));
    group.accepted.push(event.id);
    let accepted_at = event.accepted_at;
    group.waits.extend(slots.iter().map(|slot| {
        let Slot { webhook, activation, .. } = *slot;
        Wait { webhook, activation, accepted_at, begins: true }
    }));
}
