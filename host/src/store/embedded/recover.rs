//! Sending again: one delivery, or a webhook's dead-letter queue (everything that failed or is held).

use std::sync::Arc;

use super::accept::ENTRY_ITEMS;
use super::lost::Lost;
use super::record::{self, Entries, Further, Progress, Slot, SlotState};
use super::tally::Wait;
use super::txn::Txn;
use super::writer::Writer;
use super::{Change, Cursor, DueEntry, DueItem, DueKey, Recovery, Sent, StoreError, keys, lost};
use crate::model::audit::{Action, Actor, AuditEvent, FieldChange};
use crate::model::delivery::{DeliveryView, Status};
use crate::model::id::{AttemptId, DeliveryId, EventId, WebhookId};
use crate::model::time::Timestamp;
use crate::model::webhook::{Order, Webhook};
use crate::store::rank;

/// Attempts of the history, or queue entries, that one page of a recovery reads.
const PAGE: usize = 512;

/// The activation that recovered deliveries are queued under: the webhook's own, or the one that begins when it is
/// switched on.
fn activation_for(webhook: &Webhook) -> u32 {
    if webhook.activity.is_active() { webhook.activation } else { webhook.activation.saturating_add(1) }
}

/// One page's changes.
struct Page {
    webhook: WebhookId,
    /// The activation that the deliveries are pending under from now on.
    activation: u32,
    order: Order,
    due_ms: i64,
    txn: Txn,
    entries: Entries,
    /// Deliveries that begin to wait, or under another activation.
    waits: Vec<Wait>,
}

impl Page {
    /// Adds a delivery to the last entry that may have it; the entry's mark.
    fn add(&mut self, item: DueItem, next_seq: impl FnOnce() -> u64) -> u64 {
        let by_severity = self.order == Order::Severity;
        let fits = |(key, items): &&mut (DueKey, Vec<DueItem>)| {
            // What was sent before was not sent with these.
            let is_bound = items.first().into_iter().chain([&item]).any(|item| item.sent.is_bound());
            items.len() < ENTRY_ITEMS && !is_bound && (!by_severity || key.rank == item.rank)
        };
        let last = if by_severity {
            self.entries.iter_mut().rev().find(|entry| fits(entry))
        } else {
            self.entries.last_mut().filter(|entry| fits(entry))
        };
        if let Some((key, items)) = last {
            key.rank = key.rank.min(item.rank);
            items.push(item);
            return key.mark();
        }
        let (webhook, activation, due_ms) = (self.webhook, self.activation, self.due_ms);
        let key = DueKey { webhook, activation, rank: item.rank, due_ms, seq: next_seq() };
        self.entries.push((key, vec![item]));
        key.mark()
    }
}

impl Writer {
    /// One page of a recovery.
    pub(in crate::store) fn recover(
        &mut self,
        webhook: WebhookId,
        since: Timestamp,
        cursor: Cursor,
        by: &Actor,
    ) -> Result<Option<Recovery>, StoreError> {
        let Some(owner) = self.webhooks.load().get(webhook).cloned() else { return Ok(None) };
        let audit_events: Vec<AuditEvent> = match cursor {
            Cursor::Start => {
                let changes = vec![FieldChange::to("since", since.to_string())];
                vec![AuditEvent::webhook(by.clone(), Action::WebhookRecovered, webhook, &owner.config.name, changes)]
            }
            _ => Vec::new(),
        };
        let mut page = Page {
            webhook,
            activation: activation_for(&owner),
            order: owner.config.order,
            due_ms: self.clock.steady_ms(),
            txn: Txn::default(),
            entries: Entries::new(),
            waits: Vec::new(),
        };
        let next = match cursor {
            Cursor::Start => self.recover_held(since, None, &mut page)?,
            Cursor::Held(after) => self.recover_held(since, after, &mut page)?,
            Cursor::Failed(from) => self.recover_failed(since, from, &mut page)?,
            Cursor::Done => Cursor::Done,
        };
        let Page { mut txn, entries, waits, .. } = page;
        let tallies = self.put_waits(&waits, &mut txn);
        let deliveries = entries.iter().map(|(_, items)| items.len()).sum();
        for (key, items) in &entries {
            txn.put(key.encode(), record::pack_queue(&items.iter().collect::<Vec<_>>()));
        }
        if !txn.is_empty() || !audit_events.is_empty() {
            self.write_audited(&txn, &audit_events)?;
        }
        self.tallies.set(tallies);
        if !entries.is_empty() {
            (self.changes)(Change::Due(entries.into_iter().map(DueEntry::from).collect()));
        }
        Ok(Some(Recovery { deliveries, next }))
    }

    /// Held deliveries: those queued under earlier activations.
    fn recover_held(&mut self, since: Timestamp, after: Option<DueKey>, page: &mut Page) -> Result<Cursor, StoreError> {
        let (webhook, target) = (page.webhook, page.activation);
        let (found, complete) = match target.checked_sub(1) {
            Some(last) => self.read_queue(webhook, 0..=last, after, PAGE)?,
            None => (Vec::new(), true),
        };
        let last = found.last().map(|(key, _)| *key);
        for (key, items) in found {
            let mut left = false;
            for item in items {
                if !self.still_due(key, &item)? {
                    continue;
                }
                let Some(mut states) = self.states_with(&page.txn, item.event)? else { continue };
                let Some(state) = states.get_mut(item.slot as usize) else { continue };
                if state.next_attempt_at.is_some_and(|at| at < since) {
                    left = true;
                    continue;
                }
                // A new round: the operator has repaired something.
                let (event, earlier) = (item.event, item.attempt - 1);
                // A message that is held goes with others now: it is another one.
                let sent = item.sent.apart(Sent::Never);
                self.wait_again(DueItem { earlier, sent, has_failed: false, ..item }, state, page)?;
                page.txn.put(keys::state(event), record::pack(&states));
                self.recent.forget(event);
            }
            if !left {
                page.txn.remove(key.encode());
            }
        }
        Ok(match last.filter(|_| !complete) {
            Some(last) => Cursor::Held(Some(last)),
            // A chunk of the history has the id of its first attempt, and may have later ones of the same commit.
            None => Cursor::Failed(AttemptId::first_at(since.minus(std::time::Duration::from_secs(60)))),
        })
    }

    /// Deliveries that failed for good, found in the history.
    fn recover_failed(&mut self, since: Timestamp, from: AttemptId, page: &mut Page) -> Result<Cursor, StoreError> {
        let webhook = page.webhook;
        let prefix = keys::attempts_prefix(webhook);
        let mut failed: Vec<(EventId, DeliveryId)> = Vec::new();
        let mut seen = 0;
        let mut next = Cursor::Done;
        self.engine.scan(&keys::attempts(webhook, from), false, |key, value| {
            if !key.starts_with(&prefix) {
                return false;
            }
            if seen >= PAGE {
                let first = key.get(17..33).and_then(|id| <[u8; 16]>::try_from(id).ok());
                next = first.map_or(Cursor::Done, |id| Cursor::Failed(AttemptId::from_bytes(id)));
                return false;
            }
            let Ok(attempts) = record::unpack_attempts(value) else {
                self.damage.skipped("attempts");
                return true;
            };
            seen += attempts.len();
            for attempt in attempts {
                let ended = attempt.created_at.plus(std::time::Duration::from_millis(attempt.duration_ms));
                let last = !attempt.success && !attempt.is_test && attempt.next_attempt_at.is_none();
                if let Some(event) = attempt.event_id.filter(|_| last && ended >= since) {
                    failed.push((event, attempt.delivery_id));
                }
            }
            true
        })?;
        for (event, delivery) in failed {
            let Some((slot, _)) = self.slot_of(event, webhook, delivery)? else { continue };
            let Some(mut states) = self.states_with(&page.txn, event)? else { continue };
            let Some(state) = states.get_mut(slot as usize) else { continue };
            if state.progress != Progress::Failed {
                continue;
            }
            // Not the attempt of the history: a delivery that was recovered before has failed more than once.
            let (attempt, earlier) = (state.attempts + 1, state.attempts);
            let (sent, rank, due_ms) = (Sent::Never, rank::UNKNOWN, None);
            let item = DueItem { event, slot, delivery, attempt, earlier, sent, rank, due_ms, has_failed: false };
            self.wait_again(item, state, page)?;
            page.txn.put(keys::state(event), record::pack(&states));
            self.recent.forget(event);
        }
        Ok(next)
    }

    /// Queues deliveries again that were found in no queue.
    pub(super) fn requeue(&mut self, found: &[Lost]) -> Result<(), StoreError> {
        for page in found.chunks(ENTRY_ITEMS) {
            let engine = Arc::clone(&self.engine);
            let table = self.webhooks.load_full();
            let order = |webhook| table.get(webhook).map_or(Order::Arrival, |webhook| webhook.config.order);
            let (txn, entries) = lost::requeue(&engine, page, order, self.clock.steady_ms(), || self.seq())?;
            self.write(&[Some(&txn)])?;
            page.iter().for_each(|lost| self.recent.forget(lost.event));
            (self.changes)(Change::Due(entries.into_iter().map(DueEntry::from).collect()));
        }
        Ok(())
    }

    /// Queues a delivery again and changes its state.
    fn wait_again(&mut self, item: DueItem, state: &mut SlotState, page: &mut Page) -> Result<(), StoreError> {
        let (before, event) = (*state, item.event);
        let item = self.ranked(item)?;
        let queued = if page.order == Order::Strict {
            let key = self.strict_key(&page.txn, (page.webhook, page.activation), &item)?;
            page.entries.push((key, vec![DueItem { due_ms: Some(page.due_ms), ..item }]));
            key.mark()
        } else {
            page.add(item, || self.seq())
        };
        *state = SlotState {
            progress: Progress::Waiting,
            activation: page.activation,
            next_attempt_at: Some(self.now()),
            queued: Some(queued),
            ..*state
        };
        page.waits.extend(self.waits(page.webhook, event, Some(before), *state)?);
        Ok(())
    }

    pub(super) fn states_with(&self, txn: &Txn, event: EventId) -> Result<Option<Vec<SlotState>>, StoreError> {
        if let Some(bytes) = txn.written(&keys::state(event))
            && let Ok(states) = record::unpack(bytes)
        {
            return Ok(Some(states));
        }
        self.states(event)
    }

    /// A delivery's index in its event's fan-out, and when the event was accepted.
    pub(super) fn slot_of(
        &self,
        event: EventId,
        webhook: WebhookId,
        delivery: DeliveryId,
    ) -> Result<Option<(u32, Timestamp)>, StoreError> {
        let Some(bytes) = self.engine.get(&keys::event(event))? else { return Ok(None) };
        let Ok(known) = record::unpack_event(&bytes) else {
            self.damage.skipped("event");
            return Ok(None);
        };
        let own = known.slots.iter().position(|slot| slot.delivery == delivery && slot.webhook == webhook);
        let slot = match own {
            Some(slot) => u32::try_from(slot).ok(),
            None => {
                let bytes = self.engine.get(&keys::redelivery(delivery))?;
                bytes.and_then(|bytes| record::unpack::<(EventId, u32)>(&bytes).ok()).map(|(_, slot)| slot)
            }
        };
        Ok(slot.map(|slot| (slot, known.accepted_at)))
    }

    /// A new delivery of an event to a webhook that had one before.
    pub(in crate::store) fn redeliver(
        &mut self,
        webhook: WebhookId,
        event: EventId,
        of: DeliveryId,
        by: &Actor,
    ) -> Result<Option<DeliveryView>, StoreError> {
        let Some(owner) = self.webhooks.load().get(webhook).cloned() else { return Ok(None) };
        let Some(mut states) = self.states(event)? else { return Ok(None) };
        let slot = u32::try_from(states.len()).unwrap_or(u32::MAX);
        let activation = activation_for(&owner);
        let (delivery, due_ms) = (DeliveryId::generate(), self.clock.steady_ms());
        let (sent, rank) = (Sent::Never, rank::UNKNOWN);
        let item =
            DueItem { event, slot, delivery, attempt: 1, earlier: 0, sent, rank, due_ms: None, has_failed: false };
        let mut item = self.ranked(item)?;
        let key = if owner.config.order == Order::Strict {
            item.due_ms = Some(due_ms);
            self.strict_key(&Txn::default(), (webhook, activation), &item)?
        } else {
            DueKey { webhook, activation, rank: item.rank, due_ms, seq: self.seq() }
        };
        let further = Further { slot: Slot { delivery, webhook, activation }, redelivery_of: of, made_at: self.now() };
        let state = further.initial_state(key.mark());
        states.push(state);
        let waits = self.waits(webhook, event, None, state)?;
        let mut txn = Txn::default();
        txn.put(keys::state(event), record::pack(&states));
        self.recent.forget(event);
        txn.put(keys::further(event, slot), record::pack(&further));
        txn.put(keys::redelivery(delivery), record::pack(&(event, slot)));
        txn.put(key.encode(), record::pack_queue(&[&item]));
        let tallies = self.put_waits(&waits, &mut txn);
        let changes = vec![FieldChange::to("delivery", delivery.to_string())];
        let audit_event = AuditEvent {
            target: crate::model::audit::Target { r#type: "delivery".into(), id: of.to_string(), name: None },
            ..AuditEvent::webhook(by.clone(), Action::Redelivered, webhook, &owner.config.name, changes)
        };
        self.write_audited(&txn, &[audit_event])?;
        self.tallies.set(tallies);
        (self.changes)(Change::Due(vec![DueEntry { key, items: vec![(item, None)] }]));
        Ok(Some(DeliveryView {
            id: delivery,
            webhook_id: webhook,
            status: if owner.activity.is_active() { Status::Pending } else { Status::Held },
            attempts: 0,
            next_attempt_at: Some(further.made_at).filter(|_| owner.activity.is_active()),
            redelivery_of: Some(of),
        }))
    }
}
