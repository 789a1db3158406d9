//! What attempts came to: delivery states, history, counters, the next attempt.

use super::record::{self, EventRecord, Progress, SlotState};
use super::writer::Writer;
use super::{DueEntry, DueItem, DueKey, Outcome, Step, StoreError, keys};
use crate::model::delivery::Attempt;
use crate::model::id::{AttemptId, EventId, WebhookId};
use crate::model::webhook::Verdict;

impl Writer {
    /// Takes an outcome into the pending transaction.
    pub(super) fn record(&mut self, outcome: Outcome) {
        self.pending.outcomes += 1;
        if let Err(error) = self.try_record(outcome) {
            // The store is closed; the delivery is still queued on the disk and is made again.
            tracing::error!(%error, "an outcome could not be recorded");
        }
    }

    fn try_record(&mut self, outcome: Outcome) -> Result<(), StoreError> {
        let Outcome { webhook, item, attempt, step, closes } = outcome;
        if step != Step::Dropped {
            self.move_on(webhook, &item, &step)?;
        }
        if let Some(key) = closes {
            self.pending.txn.remove(key.encode());
        }
        // The history goes with the webhook.
        let Some(owner) = self.webhooks.load().get(webhook).cloned() else { return Ok(()) };
        if let Some(mut attempt) = attempt {
            attempt.id = AttemptId::generate();
            self.pending.attempts.entry(webhook).or_default().push(attempt);
        }
        let now = self.now();
        let verdict = match &step {
            Step::Delivered => Verdict::Delivered,
            Step::Failed { deactivate } => Verdict::Failed { deactivate: deactivate.clone() },
            Step::Again { counts: true, .. } => Verdict::Again,
            Step::Again { counts: false, .. } | Step::Skipped | Step::Dropped => return Ok(()),
        };
        let (health, off) = owner.health.values().after(&verdict, now, self.breaker_threshold);
        owner.health.set(health);
        self.pending.counters.insert(webhook);
        if let Some(reason) = off
            && owner.activity.is_active()
        {
            self.trip(&owner, reason, health);
        }
        Ok(())
    }

    /// Writes where the delivery stands now, and its next place in the queue.
    fn move_on(&mut self, webhook: WebhookId, item: &DueItem, step: &Step) -> Result<(), StoreError> {
        let Some(mut states) = self.states(item.event)? else { return Ok(()) };
        let Some(state) = states.get_mut(item.slot as usize) else { return Ok(()) };
        state.next_attempt_at = None;
        match step {
            Step::Delivered => *state = SlotState { progress: Progress::Delivered, attempts: item.attempt, ..*state },
            Step::Failed { .. } => *state = SlotState { progress: Progress::Failed, attempts: item.attempt, ..*state },
            Step::Skipped => state.progress = Progress::Skipped,
            Step::Again { due_ms, at, pin, counts } => {
                let attempts = if *counts { item.attempt } else { item.attempt - 1 };
                let epoch = self.webhooks.load().get(webhook).map_or(state.epoch, |webhook| webhook.epoch);
                let key = DueKey { webhook, epoch, due_ms: *due_ms, seq: self.seq() };
                *state = SlotState {
                    progress: Progress::Waiting,
                    attempts,
                    epoch,
                    next_attempt_at: Some(*at),
                    queued: Some(key.seq),
                };
                let next = DueItem { attempt: attempts + 1, pin: *pin, ..item.clone() };
                self.pending.txn.put(key.encode(), record::pack(&vec![&next]));
                self.pending.due.push(DueEntry { key, items: vec![(next, None)] });
            }
            Step::Dropped => {}
        }
        self.pending.txn.put(keys::state(item.event), record::pack(&states));
        Ok(())
    }

    /// The states of an event's deliveries as they will be after the next commit; `None` when the event
    /// is gone.
    fn states(&self, event: EventId) -> Result<Option<Vec<SlotState>>, StoreError> {
        if let Some(bytes) = self.pending.txn.get(&self.engine, &keys::state(event))? {
            match record::unpack(&bytes) {
                Ok(states) => return Ok(Some(states)),
                Err(_) => self.report_damage("delivery states"),
            }
        }
        let Some(bytes) = self.engine.get(&keys::event(event))? else { return Ok(None) };
        match record::unpack::<EventRecord>(&bytes) {
            Ok(event) => Ok(Some(record::initial_states(&event))),
            Err(_) => {
                self.report_damage("event");
                Ok(None)
            }
        }
    }

    pub(super) fn record_test(
        &mut self,
        webhook: WebhookId,
        mut attempt: Attempt,
    ) -> Result<Option<Attempt>, StoreError> {
        if self.webhooks.load().get(webhook).is_none() {
            return Ok(None);
        }
        attempt.id = AttemptId::generate();
        self.pending.attempts.entry(webhook).or_default().push(attempt.clone());
        self.commit(super::accept::Group::default());
        if self.is_writable() { Ok(Some(attempt)) } else { Err(StoreError::Unavailable) }
    }

    /// Reads a piece of a webhook's queue, of about `limit` deliveries, and hands it to the scheduler. When
    /// the store cannot be read, it is read once it can.
    pub(super) fn load_due(&mut self, webhook: WebhookId, epoch: u32, after: Option<DueKey>, limit: usize) {
        match self.read_due(webhook, epoch, after, limit) {
            Ok((entries, complete)) => {
                for done in entries.iter().filter(|entry| entry.items.is_empty()) {
                    self.pending.txn.remove(done.key.encode());
                }
                (self.changes)(super::Change::Loaded { webhook, epoch, entries, complete });
            }
            Err(_) => self.unread.push((webhook, epoch, after, limit)),
        }
    }

    fn read_due(
        &self,
        webhook: WebhookId,
        epoch: u32,
        after: Option<DueKey>,
        limit: usize,
    ) -> Result<(Vec<DueEntry>, bool), StoreError> {
        let prefix = keys::due_prefix(webhook, epoch);
        let after = after.map(|key| key.encode());
        let mut found: Vec<(DueKey, Vec<DueItem>)> = Vec::new();
        let mut items = 0;
        let mut complete = true;
        self.engine.scan_prefix(&prefix, after.as_deref(), |key, value| {
            if items >= limit {
                complete = false;
                return false;
            }
            if let Some(due) = DueKey::decode(key)
                && !self.pending.txn.removes(key)
            {
                let queued = record::unpack::<Vec<DueItem>>(value).unwrap_or_else(|_| {
                    self.report_damage("queue entry");
                    Vec::new()
                });
                items += queued.len().max(1);
                found.push((due, queued));
            }
            true
        })?;
        let mut entries = Vec::with_capacity(found.len());
        for (key, queued) in found {
            let mut items = Vec::with_capacity(queued.len());
            for item in queued {
                if self.still_due(key, &item)? {
                    items.push((item, None));
                }
            }
            // An entry without items still moves the scheduler's horizon.
            entries.push(DueEntry { key, items });
        }
        Ok((entries, complete))
    }

    /// Whether a queued delivery still waits for the very attempt, in the very entry, that the queue says:
    /// an entry of many is only removed when the last of them is done.
    fn still_due(&self, key: DueKey, item: &DueItem) -> Result<bool, StoreError> {
        let states = self.states(item.event)?;
        let state = states.and_then(|states| states.get(item.slot as usize).copied());
        Ok(state.is_some_and(|state| {
            state.progress == Progress::Waiting
                && state.attempts + 1 == item.attempt
                && state.queued.is_none_or(|seq| seq == key.seq)
        }))
    }
}
