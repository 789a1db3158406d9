//! Retention: what is too old, or belonged to a deleted webhook, is removed page by page, so that the writer is soon
//! free.

use std::sync::atomic::Ordering;

use serde::de::DeserializeOwned;

use super::record::{Answered, Counts, Further, Progress};
use super::retention_clock::latest_expiry;
use super::txn::{Bytes, Txn};
use super::writer::Writer;
use super::{DueKey, Retention, StoreError, keys, record};
use crate::model::id::{EventId, WebhookId};
use crate::model::time::Timestamp;

/// Keys that one page removes.
const PAGE: usize = 2_000;

/// Events that one page looks at when there are too many; pending ones stay.
const LOOK: usize = 20_000;

impl Writer {
    /// Removes one page; true if there is more.
    pub(in crate::store) fn sweep(&mut self, retention: Retention) -> Result<bool, StoreError> {
        let (now, steady_ms) = (self.now(), self.clock.steady_ms());
        let trusted = self.retention_clock.sees(now, steady_ms);
        self.clock_trusted.store(trusted, Ordering::Relaxed);
        if let Some((clock, txn)) = self.retention_clock.unwritten() {
            self.write(&[Some(&txn)])?;
            self.retention_clock.is_written(clock);
        }
        // Without a clock that is believed nothing has an age; limits by count hold all the same.
        let before = |time: Timestamp, age| if trusted { time.minus(age) } else { Timestamp::from_unix_ms(i64::MIN) };
        if self.sweep_audit(before(now, retention.audit), PAGE)? {
            return Ok(true);
        }
        let cutoff = before(now, retention.age);
        // Due times are of the steady clock, which the wall clock may have left behind.
        let due_cutoff = before(Timestamp::from_unix_ms(steady_ms), retention.age);
        let mut deletions = Deletions::default();
        self.sweep_events(cutoff, &mut deletions)?;
        self.sweep_surplus(retention.max_events, &mut deletions)?;
        if trusted {
            self.sweep_idempotency(now, &mut deletions)?;
        }
        self.sweep_deleted(&mut deletions)?;
        let webhooks: Vec<(WebhookId, u32)> =
            self.webhooks.load().iter().map(|webhook| (webhook.id, webhook.activation)).collect();
        for (webhook, activation) in webhooks {
            if deletions.full() {
                break;
            }
            self.sweep_attempts(webhook, cutoff, retention.max_history, &mut deletions)?;
            // Deliveries that were recovered while the webhook is off are queued under the next activation.
            for activation in 0..=activation.saturating_add(1) {
                self.sweep_due(webhook, activation, due_cutoff, &mut deletions)?;
            }
        }
        let more = deletions.full();
        if !deletions.txn.is_empty() {
            self.remove(deletions)?;
        }
        Ok(more)
    }

    /// Writes the deletions, with the counts that they lead to.
    fn remove(&mut self, deletions: Deletions) -> Result<(), StoreError> {
        let Deletions { mut txn, events, attempts, .. } = deletions;
        let counts = Counts { events: self.counts.events.saturating_sub(events.len() as u64), ..self.counts };
        events.iter().for_each(|event| self.recent.forget(*event));
        txn.put(keys::meta(record::COUNTS), record::pack(&counts));
        let table = self.webhooks.load_full();
        for (webhook, removed) in attempts {
            let history = self.history.entry(webhook).or_default();
            *history = history.saturating_sub(removed);
            if let Some(webhook) = table.get(webhook) {
                txn.put(keys::counters(webhook.id), self.counters(webhook, webhook.health.values()));
            }
        }
        self.write(&[Some(&txn)])?;
        self.counts = counts;
        Ok(())
    }

    /// Events that were accepted before the cutoff, with their deliveries.
    fn sweep_events(&self, cutoff: Timestamp, deletions: &mut Deletions) -> Result<(), StoreError> {
        let end = keys::timed_end(keys::ACCEPTED, cutoff.unix_ms());
        let mut events = Vec::new();
        self.engine.scan_prefix(&[keys::ACCEPTED], None, |key, value| {
            if key >= end.as_slice() || deletions.keys + 2 * events.len() >= PAGE {
                return false;
            }
            events.extend(self.listed::<EventId>(value, "acceptance index"));
            deletions.remove(key.to_vec());
            true
        })?;
        events.into_iter().try_for_each(|event| self.sweep_event(event, deletions))
    }

    /// The list in an index record; empty when it is damaged.
    fn listed<T: DeserializeOwned>(&self, value: &[u8], what: &'static str) -> Vec<T> {
        record::unpack(value).unwrap_or_else(|_| {
            self.damage.skipped(what);
            Vec::new()
        })
    }

    fn sweep_event(&self, event: EventId, deletions: &mut Deletions) -> Result<(), StoreError> {
        deletions.remove(keys::event(event));
        deletions.remove(keys::state(event));
        deletions.events.push(event);
        self.engine.scan_prefix(&keys::further_prefix(event), None, |key, value| {
            if let Ok(further) = record::unpack::<Further>(value) {
                deletions.remove(keys::redelivery(further.slot.delivery));
            }
            deletions.remove(key.to_vec());
            true
        })
    }

    /// The oldest of the surplus events. Pending deliveries are never evicted by the count limit, only by age.
    fn sweep_surplus(&self, most: u64, deletions: &mut Deletions) -> Result<(), StoreError> {
        let mut surplus = self.counts.events.saturating_sub(deletions.events.len() as u64).saturating_sub(most);
        if surplus == 0 || deletions.full() {
            return Ok(());
        }
        let mut groups: Vec<(Vec<u8>, Vec<EventId>)> = Vec::new();
        let mut seen = 0;
        self.engine.scan_prefix(&[keys::ACCEPTED], None, |key, value| {
            let events = self.listed::<EventId>(value, "acceptance index");
            seen += events.len();
            groups.push((key.to_vec(), events));
            seen < LOOK
        })?;
        for (key, events) in groups {
            if surplus == 0 || deletions.full() || deletions.txn.removes(&key) {
                continue;
            }
            let mut kept = Vec::new();
            for event in &events {
                if surplus > 0 && self.is_settled(*event)? {
                    self.sweep_event(*event, deletions)?;
                    surplus -= 1;
                } else {
                    kept.push(*event);
                }
            }
            if kept.is_empty() {
                deletions.remove(key);
            } else if kept.len() < events.len() {
                deletions.txn.put(key, record::pack(&kept));
            }
        }
        Ok(())
    }

    /// True if no delivery of an event is pending.
    fn is_settled(&self, event: EventId) -> Result<bool, StoreError> {
        let Some(states) = self.states(event)? else { return Ok(true) };
        Ok(states.iter().all(|state| state.progress != Progress::Waiting))
    }

    fn sweep_idempotency(&self, now: Timestamp, deletions: &mut Deletions) -> Result<(), StoreError> {
        let end = keys::timed_end(keys::EXPIRY, now.unix_ms());
        // A key that a clock far ahead has made would stay until that time comes.
        let latest = latest_expiry(now, self.idempotency_kept);
        let beyond = keys::timed_end(keys::EXPIRY, latest.unix_ms().saturating_add(1));
        let mut expired = Vec::new();
        for (from, until) in [(keys::timed_end(keys::EXPIRY, i64::MIN), end), (beyond, vec![keys::EXPIRY + 1])] {
            self.engine.scan(&from, false, |key, value| {
                if key >= until.as_slice() || deletions.keys + expired.len() >= PAGE {
                    return false;
                }
                expired.extend(self.listed::<Vec<u8>>(value, "expiry index"));
                deletions.remove(key.to_vec());
                true
            })?;
        }
        for key in expired {
            let answered = self.engine.get(&key)?.and_then(|bytes| record::unpack::<Answered>(&bytes).ok());
            // A key that was used again after it had expired has a later expiry of its own.
            if answered.is_none_or(|answered| answered.expires_at <= now || answered.expires_at > latest) {
                deletions.remove(key);
            }
        }
        Ok(())
    }

    /// Queues and histories of deleted webhooks.
    fn sweep_deleted(&self, deletions: &mut Deletions) -> Result<(), StoreError> {
        let mut deleted = Vec::new();
        self.engine.scan_prefix(&[keys::TOMBSTONE], None, |key, _| {
            deleted.extend(keys::id_of(key).map(WebhookId::from_bytes));
            true
        })?;
        for webhook in deleted {
            for prefix in [keys::attempts_prefix(webhook), keys::due_webhook(webhook)] {
                self.engine.scan_prefix(&prefix, None, |key, _| {
                    if deletions.full() {
                        return false;
                    }
                    deletions.remove(key.to_vec());
                    true
                })?;
            }
            if deletions.full() {
                break;
            }
            deletions.remove(keys::counters(webhook));
            deletions.remove(keys::tombstone(webhook));
        }
        Ok(())
    }

    /// Chunks of a webhook's history that are too old, and the oldest of a surplus.
    fn sweep_attempts(
        &self,
        webhook: WebhookId,
        cutoff: Timestamp,
        most: u64,
        deletions: &mut Deletions,
    ) -> Result<(), StoreError> {
        let history = self.history.get(&webhook).copied().unwrap_or_default();
        let mut removed = 0;
        self.engine.scan_prefix(&keys::attempts_prefix(webhook), None, |key, value| {
            let attempts = record::unpack_attempts(value).unwrap_or_default();
            let old = attempts.last().is_none_or(|attempt| attempt.created_at < cutoff);
            let surplus = history.saturating_sub(removed) > most;
            if !(old || surplus) || deletions.full() {
                return false;
            }
            removed += attempts.len() as u64;
            deletions.remove(key.to_vec());
            true
        })?;
        if removed > 0 {
            deletions.attempts.push((webhook, removed));
        }
        Ok(())
    }

    fn sweep_due(
        &self,
        webhook: WebhookId,
        activation: u32,
        cutoff: Timestamp,
        deletions: &mut Deletions,
    ) -> Result<(), StoreError> {
        for rank in keys::RANKS {
            self.engine.scan_prefix(&keys::due_ranked(webhook, activation, rank), None, |key, _| {
                let old = DueKey::decode(key).is_none_or(|due| due.due_ms < cutoff.unix_ms());
                if old && !deletions.full() {
                    deletions.remove(key.to_vec());
                }
                old && !deletions.full()
            })?;
        }
        Ok(())
    }
}

/// The deletions of one page.
#[derive(Default)]
struct Deletions {
    txn: Txn,
    keys: usize,
    events: Vec<EventId>,
    /// The number of attempts that each webhook's history loses.
    attempts: Vec<(WebhookId, u64)>,
}

impl Deletions {
    fn remove(&mut self, key: impl Into<Bytes>) {
        self.txn.remove(key);
        self.keys += 1;
    }

    fn full(&self) -> bool {
        self.keys >= PAGE
    }
}
