//! Outcomes of attempts: delivery states, history, counters, the next attempt.

use std::time::Duration;

use super::index::{self, EventMarks, Row};
use super::record::{self, Progress, SlotState};
use super::tally::Wait;
use super::txn::Txn;
use super::writer::Writer;
use super::{DueEntry, DueItem, DueKey, Outcome, Sent, StoreError, keys};
use crate::model::breaker;
use crate::model::delivery::{Attempt, Step};
use crate::model::id::{AttemptId, EventId, WebhookId};
use crate::model::probe::Cause;
use crate::model::time::Timestamp;
use crate::model::webhook::Order;
use crate::store::rank;

/// The outcomes of one call.
struct Together {
    now: Timestamp,
    steady_ms: i64,
    /// The queue entries of retries, each with its group.
    entries: Vec<(u32, DueEntry)>,
    /// The first delivery of each of those that is in a strict queue, under the entry's key.
    strict: Txn,
}

impl Together {
    /// The time of the steady clock that is this long after the call.
    fn due_ms(&self, after: Duration) -> i64 {
        self.steady_ms.saturating_add(i64::try_from(after.as_millis()).unwrap_or(i64::MAX))
    }
}

impl Writer {
    /// Adds outcomes to the pending transaction. Those of one request come in one call: retries of one group and wait
    /// share a queue entry.
    pub(super) fn record(&mut self, outcomes: Vec<Outcome>) {
        let (now, steady_ms) = (self.now(), self.clock.steady_ms());
        let mut together = Together { now, steady_ms, entries: Vec::new(), strict: Txn::default() };
        for outcome in outcomes {
            self.pending.outcomes += 1;
            if let Err(error) = self.try_record(outcome, &mut together) {
                // The store is closed; the delivery is still queued on the disk and is made again.
                tracing::error!(%error, "an outcome could not be recorded");
            }
        }
        for (_, mut entry) in together.entries {
            if entry.key.rank == rank::STRICT
                && entry.items.len() > 1
                && let Err(error) = self.set_place(&mut entry, &together.strict)
            {
                tracing::error!(%error, "the place of a strict queue entry could not be read");
            }
            let items: Vec<_> = entry.items.iter().map(|(item, _)| item).collect();
            self.pending.txn.put(entry.key.encode(), record::pack_queue(&items));
            self.pending.due.push(entry);
        }
    }

    fn try_record(&mut self, outcome: Outcome, together: &mut Together) -> Result<(), StoreError> {
        if let Some(origin) = outcome.probe {
            return self.record_probe(outcome, origin, together.now);
        }
        if outcome.step != Step::Dropped {
            self.advance(&outcome, together)?;
        }
        let Outcome { webhook, item, attempt, step, closes, .. } = outcome;
        if let Some(key) = closes {
            self.pending.txn.remove(key.encode());
        }
        // The history goes with the webhook.
        let Some(owner) = self.webhooks.load().get(webhook).cloned() else { return Ok(()) };
        if let Some(attempt) = &attempt {
            self.report(&owner, &item, attempt, &step);
        }
        let before = owner.health.values();
        let error = attempt.as_ref().and_then(|attempt| attempt.error.as_deref());
        let counted = match step {
            // Once is enough: those that its destination never accepts would switch off what has just healed.
            Step::Failed { deactivate: None } if item.has_failed => &Step::Unrendered,
            _ => &step,
        };
        let (health, off) = breaker::after(before, counted, error, together.now, self.breaker_threshold);
        let next_attempt_at = match step {
            Step::Again { after, .. } => Some(together.now.plus(after)),
            _ => None,
        };
        let attempt = attempt.map(|attempt| Attempt { next_attempt_at, ..attempt });
        let attempt_id = attempt.map(|attempt| self.add_attempt(webhook, attempt)).transpose()?;
        if health == before {
            return Ok(());
        }
        owner.health.set(health);
        self.pending.counters.insert(webhook);
        if let Some(reason) = off
            && owner.activity.is_active()
        {
            self.trip(&owner, reason, health, Cause::of(&step), attempt_id);
        }
        Ok(())
    }

    /// Writes the delivery's new state, and its next queue entry if it has one.
    fn advance(&mut self, outcome: &Outcome, together: &mut Together) -> Result<(), StoreError> {
        let Outcome { webhook, item, step, sent, group, .. } = outcome;
        let webhook = *webhook;
        let Some(before) = self.pending_state(item.event, item.slot)? else { return Ok(()) };
        let mut state = SlotState { next_attempt_at: None, ..before };
        match step {
            Step::Delivered => state = SlotState { progress: Progress::Delivered, attempts: item.attempt, ..state },
            Step::Failed { .. } | Step::Unrendered => {
                state = SlotState { progress: Progress::Failed, attempts: item.attempt, ..state };
            }
            Step::Skipped => state.progress = Progress::Skipped,
            Step::Again { after, counts } => {
                let attempts = if *counts { item.attempt } else { item.attempt - 1 };
                let activation =
                    self.webhooks.load().get(webhook).map_or(state.activation, |webhook| webhook.activation);
                let due_ms = together.due_ms(*after);
                let next = self.ranked(DueItem { attempt: attempts + 1, sent: *sent, ..item.clone() })?;
                let key = DueKey { webhook, activation, rank: next.rank, due_ms, seq: 0 };
                let queued = match self.order_of(webhook) {
                    Some(Order::Strict) => self.queue_strictly(key, *group, next, together)?,
                    order => {
                        // What goes out by itself goes at its own severity; what goes together, at the highest.
                        let is_by_rank = order == Some(Order::Severity) && !next.sent.is_bound();
                        self.queue(key, (*group, is_by_rank), next, together)
                    }
                };
                state = SlotState {
                    progress: Progress::Waiting,
                    attempts,
                    activation,
                    next_attempt_at: Some(together.now.plus(*after)),
                    queued: Some(queued),
                };
            }
            Step::Dropped => {}
        }
        let waits = self.waits(webhook, item.event, Some(before), state)?;
        self.pending.waits.extend(waits);
        self.set_state(item.event, item.slot, state);
        Ok(())
    }

    /// The state of a delivery as it will be after the next commit, which writes it.
    pub(super) fn pending_state(&mut self, event: EventId, slot: u32) -> Result<Option<SlotState>, StoreError> {
        if !self.pending.states.contains_key(&event) {
            let Some(states) = self.states(event)? else { return Ok(None) };
            self.pending.states.insert(event, states);
        }
        Ok(self.pending.states.get(&event).and_then(|states| states.get(slot as usize)).copied())
    }

    /// Changes what [`Writer::pending_state`] gave.
    pub(super) fn set_state(&mut self, event: EventId, slot: u32, state: SlotState) {
        if let Some(known) = self.pending.states.get_mut(&event).and_then(|states| states.get_mut(slot as usize)) {
            *known = state;
        }
    }

    /// Puts a delivery into the entry of its group, or into a new one; the entry's mark.
    fn queue(&mut self, key: DueKey, (group, is_by_rank): (u32, bool), item: DueItem, together: &mut Together) -> u64 {
        let shared = together.entries.iter_mut().find(|(other, entry)| {
            let DueKey { seq, rank, .. } = entry.key;
            let rank = if is_by_rank { key.rank } else { rank };
            *other == group && entry.key == DueKey { seq, rank, ..key }
        });
        if let Some((_, entry)) = shared {
            // They go together: the most severe one decides when.
            entry.key.rank = entry.key.rank.min(key.rank);
            entry.items.push((item, None));
            return entry.key.mark();
        }
        let key = DueKey { seq: self.seq(), ..key };
        together.entries.push((group, DueEntry { key, items: vec![(item, None)] }));
        key.mark()
    }

    /// [`Writer::queue`] for a webhook whose deliveries go out in the order of acceptance. Only what goes out in one request
    /// shares an entry, which has the place of the first in it: what is left of an entry keeps that place, and so would
    /// overtake one of it that is to be tried again at its own.
    fn queue_strictly(
        &mut self,
        key: DueKey,
        group: u32,
        item: DueItem,
        together: &mut Together,
    ) -> Result<u64, StoreError> {
        let item = DueItem { due_ms: Some(key.due_ms), ..item };
        let queue = (key.webhook, key.activation);
        let shared = together.entries.iter_mut().filter(|_| item.sent != Sent::Alone).find(|(other, entry)| {
            let fits = |first: &DueItem| first.sent.is_bound() && first.due_ms == item.due_ms;
            let goes_then = entry.items.first().is_some_and(|(first, _)| fits(first));
            *other == group && (entry.key.webhook, entry.key.activation) == queue && goes_then
        });
        if let Some((_, entry)) = shared {
            entry.items.push((item, None));
            return Ok(entry.key.mark());
        }
        let key = self.strict_key(&together.strict, queue, &item)?;
        together.strict.put(key.encode(), record::pack_queue(&[&item]));
        together.entries.push((group, DueEntry { key, items: vec![(item, None)] }));
        Ok(key.mark())
    }

    /// Gives an entry of the strict queue the place of its earliest delivery: what went out in another order does not begin
    /// with it.
    fn set_place(&mut self, entry: &mut DueEntry, strict: &Txn) -> Result<(), StoreError> {
        let mut items: Vec<DueItem> = entry.items.iter().map(|(item, _)| item.clone()).collect();
        let first = items.first().map(|item| item.delivery);
        self.sort_by_place(&mut items)?;
        let Some(earliest) = self.earliest(&items)?.cloned() else { return Ok(()) };
        if Some(earliest.delivery) != first {
            let key = self.strict_key(strict, (entry.key.webhook, entry.key.activation), &earliest)?;
            for item in &items {
                if let Some(state) = self.pending_state(item.event, item.slot)? {
                    self.set_state(item.event, item.slot, state.moved(key));
                }
            }
            entry.key = key;
        }
        entry.items = items.into_iter().map(|item| (item, None)).collect();
        Ok(())
    }

    /// How a delivery's new state changes what waits for its webhook; it has no earlier one when it is new.
    pub(super) fn waits(
        &mut self,
        webhook: WebhookId,
        event: EventId,
        before: Option<SlotState>,
        after: SlotState,
    ) -> Result<Vec<Wait>, StoreError> {
        let waiting = |state: SlotState| (state.progress == Progress::Waiting).then_some(state.activation);
        let (ceases, begins) = (before.and_then(waiting), waiting(after));
        if ceases == begins || self.webhooks.load().get(webhook).is_none() {
            return Ok(Vec::new());
        }
        let accepted_at = self.marks_of(event)?.accepted_at;
        let wait = |activation, begins| Wait { webhook, activation, accepted_at, begins };
        let ceases = ceases.map(|activation| wait(activation, false));
        Ok(ceases.into_iter().chain(begins.map(|activation| wait(activation, true))).collect())
    }

    /// What the rows of an event's attempts take from it.
    fn marks_of(&mut self, event: EventId) -> Result<EventMarks, StoreError> {
        if let Some(marks) = self.marks.get(event) {
            return Ok(marks);
        }
        let marks = index::stored_marks(&self.engine, event)?.unwrap_or_default();
        self.marks.put(event, marks);
        Ok(marks)
    }

    /// Adds an attempt to its webhook's history and to the index; the id that it gets.
    pub(super) fn add_attempt(&mut self, webhook: WebhookId, attempt: Attempt) -> Result<AttemptId, StoreError> {
        let attempt = Attempt { id: self.attempt_id(), ..attempt };
        let marks = attempt.event_id.map(|event| self.marks_of(event)).transpose()?.unwrap_or_default();
        self.pending.rows.push(Row::of_attempt(webhook, &attempt, marks));
        let id = attempt.id;
        self.pending.attempts.entry(webhook).or_default().push(attempt);
        Ok(id)
    }

    /// An id for the next attempt, after every one before it, whatever the clock says.
    fn attempt_id(&mut self) -> AttemptId {
        let made = AttemptId::generate();
        let id = self.last_attempt.map_or(made, |last| made.max(last.successor()));
        self.last_attempt = Some(id);
        id
    }

    /// The states of an event's deliveries as they will be after the next commit; `None` when the event
    /// is gone.
    pub(super) fn states(&self, event: EventId) -> Result<Option<Vec<SlotState>>, StoreError> {
        if let Some(states) = self.pending.states.get(&event) {
            return Ok(Some(states.clone()));
        }
        if let Some(states) = self.recent.get(event) {
            return Ok(Some(states));
        }
        if let Some(bytes) = self.pending.txn.get(&self.engine, &keys::state(event))? {
            match record::unpack(&bytes) {
                Ok(states) => return Ok(Some(states)),
                Err(_) => self.damage.skipped("delivery states"),
            }
        }
        let Some(bytes) = self.engine.get(&keys::event(event))? else { return Ok(None) };
        match record::unpack_event(&bytes) {
            Ok(event) => Ok(Some(event.states())),
            Err(_) => {
                self.damage.skipped("event");
                Ok(None)
            }
        }
    }

    pub(in crate::store) fn record_test(
        &mut self,
        webhook: WebhookId,
        mut attempt: Attempt,
    ) -> Result<Option<Attempt>, StoreError> {
        if self.webhooks.load().get(webhook).is_none() {
            return Ok(None);
        }
        attempt.id = self.attempt_id();
        self.pending.rows.push(Row::of_attempt(webhook, &attempt, EventMarks::default()));
        self.pending.attempts.entry(webhook).or_default().push(attempt.clone());
        self.commit(super::accept::Group::default());
        if self.is_writable() { Ok(Some(attempt)) } else { Err(StoreError::Unavailable) }
    }
}
