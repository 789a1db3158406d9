//! Retention: what is too old, or belonged to a deleted webhook, is removed in bounded pieces.

use serde::de::DeserializeOwned;

use super::engine::Txn;
use super::keys::{self, DueKey};
use super::record::{Answered, Counts, Further, Progress};
use super::writer::Writer;
use super::{Retention, StoreError, record};
use crate::model::id::{EventId, WebhookId};
use crate::model::time::Timestamp;

/// Keys that one piece removes, so that the writer is soon free for others.
const PIECE: usize = 2_000;

/// Events that one piece looks at when there are too many; those that still wait stay.
const LOOK: usize = 20_000;

impl Writer {
    /// Removes one piece; `true` when there is more.
    pub(super) fn sweep(&mut self, retention: Retention) -> Result<bool, StoreError> {
        let now = self.now();
        if self.sweep_audit(now.minus(retention.audit), PIECE)? {
            return Ok(true);
        }
        let cutoff = now.minus(retention.age);
        // Due times are of the steady clock, which the wall clock may have left behind.
        let due_cutoff = Timestamp::from_unix_ms(self.clock.steady_ms()).minus(retention.age);
        let mut gone = Gone::default();
        self.sweep_events(cutoff, &mut gone)?;
        self.sweep_surplus(retention.max_events, &mut gone)?;
        self.sweep_idempotency(now, &mut gone)?;
        self.sweep_deleted(&mut gone)?;
        let webhooks: Vec<(WebhookId, u32)> =
            self.webhooks.load().iter().map(|webhook| (webhook.id, webhook.activation)).collect();
        for (webhook, activation) in webhooks {
            if gone.full() {
                break;
            }
            self.sweep_attempts(webhook, cutoff, retention.max_history, &mut gone)?;
            // What was asked for again while the webhook is off waits under the next one.
            for activation in 0..=activation.saturating_add(1) {
                self.sweep_due(webhook, activation, due_cutoff, &mut gone)?;
            }
        }
        let more = gone.full();
        if !gone.txn.is_empty() {
            self.remove(gone)?;
        }
        Ok(more)
    }

    /// Writes what is gone, with the counts as they are without it.
    fn remove(&mut self, gone: Gone) -> Result<(), StoreError> {
        let Gone { mut txn, events, attempts, .. } = gone;
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

    /// Events that were accepted before the cutoff, with where their deliveries stand.
    fn sweep_events(&self, cutoff: Timestamp, gone: &mut Gone) -> Result<(), StoreError> {
        let end = keys::timed_end(keys::ACCEPTED, cutoff.unix_ms());
        let mut events = Vec::new();
        self.engine.scan_prefix(&[keys::ACCEPTED], None, |key, value| {
            if key >= end.as_slice() || gone.keys + 2 * events.len() >= PIECE {
                return false;
            }
            events.extend(self.listed::<EventId>(value, "acceptance index"));
            gone.remove(key.to_vec());
            true
        })?;
        events.into_iter().try_for_each(|event| self.sweep_event(event, gone))
    }

    /// What an index record lists; nothing when it is damaged.
    fn listed<T: DeserializeOwned>(&self, value: &[u8], what: &'static str) -> Vec<T> {
        record::unpack(value).unwrap_or_else(|_| {
            self.damage.stepped_over(what);
            Vec::new()
        })
    }

    fn sweep_event(&self, event: EventId, gone: &mut Gone) -> Result<(), StoreError> {
        gone.remove(keys::event(event));
        gone.remove(keys::state(event));
        gone.events.push(event);
        self.engine.scan_prefix(&keys::further_prefix(event), None, |key, value| {
            if let Ok(further) = record::unpack::<Further>(value) {
                gone.remove(keys::redelivery(further.slot.delivery));
            }
            gone.remove(key.to_vec());
            true
        })
    }

    /// The oldest of the events that are too many. What still waits stays for as long as its age allows.
    fn sweep_surplus(&self, most: u64, gone: &mut Gone) -> Result<(), StoreError> {
        let mut surplus = self.counts.events.saturating_sub(gone.events.len() as u64).saturating_sub(most);
        if surplus == 0 || gone.full() {
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
            if surplus == 0 || gone.full() || gone.txn.removes(&key) {
                continue;
            }
            let mut kept = Vec::new();
            for event in &events {
                if surplus > 0 && self.is_settled(*event)? {
                    self.sweep_event(*event, gone)?;
                    surplus -= 1;
                } else {
                    kept.push(*event);
                }
            }
            if kept.is_empty() {
                gone.remove(key);
            } else if kept.len() < events.len() {
                gone.txn.put(key, record::pack(&kept));
            }
        }
        Ok(())
    }

    /// Whether nothing of an event waits any more.
    fn is_settled(&self, event: EventId) -> Result<bool, StoreError> {
        let Some(states) = self.states(event)? else { return Ok(true) };
        Ok(states.iter().all(|state| state.progress != Progress::Waiting))
    }

    fn sweep_idempotency(&self, now: Timestamp, gone: &mut Gone) -> Result<(), StoreError> {
        let end = keys::timed_end(keys::EXPIRY, now.unix_ms());
        let mut expired = Vec::new();
        self.engine.scan_prefix(&[keys::EXPIRY], None, |key, value| {
            if key >= end.as_slice() || gone.keys + expired.len() >= PIECE {
                return false;
            }
            expired.extend(self.listed::<Vec<u8>>(value, "expiry index"));
            gone.remove(key.to_vec());
            true
        })?;
        for key in expired {
            let answered = self.engine.get(&key)?.and_then(|bytes| record::unpack::<Answered>(&bytes).ok());
            // A key that was used again after it had expired has a later expiry of its own.
            if answered.is_none_or(|answered| answered.expires_at <= now) {
                gone.remove(key);
            }
        }
        Ok(())
    }

    /// What deleted webhooks left behind.
    fn sweep_deleted(&self, gone: &mut Gone) -> Result<(), StoreError> {
        let mut deleted = Vec::new();
        self.engine.scan_prefix(&[keys::TOMBSTONE], None, |key, _| {
            deleted.extend(keys::id_of(key).map(WebhookId::from_bytes));
            true
        })?;
        for webhook in deleted {
            for prefix in [keys::attempts_prefix(webhook), keys::due_webhook(webhook)] {
                self.engine.scan_prefix(&prefix, None, |key, _| {
                    if gone.full() {
                        return false;
                    }
                    gone.remove(key.to_vec());
                    true
                })?;
            }
            if gone.full() {
                break;
            }
            gone.remove(keys::counters(webhook));
            gone.remove(keys::tombstone(webhook));
        }
        Ok(())
    }

    /// Pieces of a webhook's history that are too old, or the oldest of what is too much.
    fn sweep_attempts(
        &self,
        webhook: WebhookId,
        cutoff: Timestamp,
        most: u64,
        gone: &mut Gone,
    ) -> Result<(), StoreError> {
        let history = self.history.get(&webhook).copied().unwrap_or_default();
        let mut removed = 0;
        self.engine.scan_prefix(&keys::attempts_prefix(webhook), None, |key, value| {
            let attempts = record::unpack_attempts(value).unwrap_or_default();
            let old = attempts.last().is_none_or(|attempt| attempt.created_at < cutoff);
            let surplus = history.saturating_sub(removed) > most;
            if !(old || surplus) || gone.full() {
                return false;
            }
            removed += attempts.len() as u64;
            gone.remove(key.to_vec());
            true
        })?;
        if removed > 0 {
            gone.attempts.push((webhook, removed));
        }
        Ok(())
    }

    fn sweep_due(
        &self,
        webhook: WebhookId,
        activation: u32,
        cutoff: Timestamp,
        gone: &mut Gone,
    ) -> Result<(), StoreError> {
        for rank in keys::RANKS {
            self.engine.scan_prefix(&keys::due_ranked(webhook, activation, rank), None, |key, _| {
                let old = DueKey::decode(key).is_none_or(|due| due.due_ms < cutoff.unix_ms());
                if old && !gone.full() {
                    gone.remove(key.to_vec());
                }
                old && !gone.full()
            })?;
        }
        Ok(())
    }
}

#[derive(Default)]
struct Gone {
    txn: Txn,
    keys: usize,
    events: Vec<EventId>,
    /// Of each webhook's history.
    attempts: Vec<(WebhookId, u64)>,
}

impl Gone {
    fn remove(&mut self, key: Vec<u8>) {
        self.txn.remove(key);
        self.keys += 1;
    }

    fn full(&self) -> bool {
        self.keys >= PIECE
    }
}
