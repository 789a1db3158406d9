//! Retention: what is too old, or belonged to a deleted webhook, is removed page by page, so that the writer is soon
//! free.

use std::sync::atomic::Ordering;

use serde::de::DeserializeOwned;

use super::engine::Engine;
use super::index::{Pruned, place_of_seq};
use super::record::{Answered, Counts, Further, Listed, Progress, SlotState};
use super::retention_clock::latest_expiry;
use super::tally::Wait;
use super::txn::{Bytes, Txn};
use super::writer::Writer;
use super::{DueKey, Retention, StoreError, keys, record};
use crate::model::delivery::Attempt;
use crate::model::id::{EventId, WebhookId};
use crate::model::time::Timestamp;
use crate::store::rank;

/// Keys that one page removes.
const PAGE: usize = 2_000;

/// Blocks of the index of attempts that one page writes again: the history of one webhook may be in many.
const BLOCKS: usize = 32;

/// Chunks of history that are read at a time.
const CHUNKS: usize = 64;

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

    /// Writes the deletions, with the counts that they lead to and without their rows in the indexes.
    fn remove(&mut self, deletions: Deletions) -> Result<(), StoreError> {
        let Deletions { mut txn, events, attempts, mut pruned, waits, .. } = deletions;
        let stamp = self.seq();
        pruned.write(&self.engine, &self.young_attempts, &self.young_events, stamp, &mut txn)?;
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
        let tallies = self.put_waits(&waits, &mut txn);
        self.write(&[Some(&txn)])?;
        pruned.apply(&mut self.young_attempts, &mut self.young_events);
        self.tallies.set(tallies);
        self.counts = counts;
        Ok(())
    }

    /// Events that were accepted before the cutoff, with their deliveries.
    fn sweep_events(&mut self, cutoff: Timestamp, deletions: &mut Deletions) -> Result<(), StoreError> {
        let end = keys::timed_end(keys::ACCEPTED, cutoff.unix_ms());
        let mut events = Vec::new();
        self.engine.scan_prefix(&[keys::ACCEPTED], None, |key, value| {
            if key >= end.as_slice() || deletions.keys + 2 * events.len() >= PAGE {
                return false;
            }
            let place = keys::seq_of(key).map_or(0, place_of_seq);
            events.extend(self.accepted(value).into_iter().map(|(_, event)| (place, event)));
            deletions.remove(key.to_vec());
            true
        })?;
        for (place, event) in events {
            self.note_waits(event, deletions)?;
            self.sweep_event(place, event, deletions)?;
        }
        Ok(())
    }

    /// The list in an index record; empty when it is damaged.
    fn listed<T: DeserializeOwned>(&self, value: &[u8], what: &'static str) -> Vec<T> {
        record::unpack(value).unwrap_or_else(|_| {
            self.damage.skipped(what);
            Vec::new()
        })
    }

    /// The events in a record of the acceptance index with their positions; none when it is damaged.
    fn accepted(&self, value: &[u8]) -> Listed {
        record::unpack_listed(value).unwrap_or_else(|_| {
            self.damage.skipped("acceptance index");
            Vec::new()
        })
    }

    /// Notes which deliveries of an event that is removed cease to wait.
    fn note_waits(&mut self, event: EventId, deletions: &mut Deletions) -> Result<(), StoreError> {
        let states = self.states(event)?.unwrap_or_default();
        if states.iter().all(|state| state.progress != Progress::Waiting) {
            return Ok(());
        }
        let Some(known) = self.engine.get(&keys::event(event))?.and_then(|bytes| record::unpack_event(&bytes).ok())
        else {
            return Ok(());
        };
        let mut webhooks: Vec<WebhookId> = known.slots.iter().map(|slot| slot.webhook).collect();
        self.engine.scan_prefix(&keys::further_prefix(event), None, |_, value| {
            webhooks.extend(record::unpack::<Further>(value).map(|further| further.slot.webhook));
            true
        })?;
        for (webhook, state) in webhooks.into_iter().zip(states) {
            let gone = SlotState { progress: Progress::Skipped, ..state };
            deletions.waits.extend(self.waits(webhook, event, Some(state), gone)?);
        }
        Ok(())
    }

    fn sweep_event(&self, place: u128, event: EventId, deletions: &mut Deletions) -> Result<(), StoreError> {
        deletions.pruned.event(place, *event.as_bytes());
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
        let mut groups: Vec<(Vec<u8>, Listed)> = Vec::new();
        let mut seen = 0;
        self.engine.scan_prefix(&[keys::ACCEPTED], None, |key, value| {
            let events = self.accepted(value);
            seen += events.len();
            groups.push((key.to_vec(), events));
            seen < LOOK
        })?;
        for (key, events) in groups {
            if surplus == 0 || deletions.full() || deletions.txn.removes(&key) {
                continue;
            }
            let mut kept = Vec::new();
            for (position, event) in &events {
                if surplus > 0 && self.is_settled(*event)? {
                    self.sweep_event(keys::seq_of(&key).map_or(0, place_of_seq), *event, deletions)?;
                    surplus -= 1;
                } else {
                    kept.push((*position, *event));
                }
            }
            if kept.is_empty() {
                deletions.remove(key);
            } else if kept.len() < events.len() {
                // What is recovered later finds its position among those that are queued.
                deletions.txn.put(key, record::pack_listed(&kept));
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
            self.remove_history(webhook, deletions, |_| true)?;
            self.engine.scan_prefix(&keys::due_webhook(webhook), None, |key, _| {
                if deletions.full() {
                    return false;
                }
                deletions.remove(key.to_vec());
                true
            })?;
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
        self.remove_history(webhook, deletions, |attempts| {
            let old = attempts.last().is_none_or(|attempt| attempt.created_at < cutoff);
            let goes = old || history.saturating_sub(removed) > most;
            removed += if goes { attempts.len() as u64 } else { 0 };
            goes
        })?;
        if removed > 0 {
            deletions.attempts.push((webhook, removed));
        }
        Ok(())
    }

    /// Removes the chunks of a webhook's history, the oldest first, as long as one `goes` and the page is not full.
    fn remove_history(
        &self,
        webhook: WebhookId,
        deletions: &mut Deletions,
        mut goes: impl FnMut(&[Attempt]) -> bool,
    ) -> Result<(), StoreError> {
        let mut after: Option<Vec<u8>> = None;
        // Mostly the first one stays.
        let mut most = 1;
        loop {
            let mut chunks = Vec::new();
            self.engine.scan_prefix(&keys::attempts_prefix(webhook), after.as_deref(), |key, value| {
                chunks.push((key.to_vec(), record::unpack_attempts(value).unwrap_or_default()));
                chunks.len() < most
            })?;
            let Some((last, _)) = chunks.last() else { return Ok(()) };
            after = Some(last.clone());
            for (key, attempts) in chunks {
                if deletions.full() || !goes(&attempts) {
                    return Ok(());
                }
                deletions.prune(&self.engine, &attempts)?;
                deletions.remove(key);
            }
            most = (2 * most).min(CHUNKS);
        }
    }

    fn sweep_due(
        &self,
        webhook: WebhookId,
        activation: u32,
        cutoff: Timestamp,
        deletions: &mut Deletions,
    ) -> Result<(), StoreError> {
        for rank in rank::UNKNOWN..=rank::STRICT {
            self.engine.scan_prefix(&keys::due_ranked(webhook, activation, rank), None, |key, value| {
                // What is due in the strict queue may be later than what was accepted after it.
                let due = DueKey::decode(key).map(|due| match due.rank {
                    rank::STRICT => record::unpack_queue(value)
                        .ok()
                        .map_or(i64::MAX, |items| items.first().map_or(i64::MIN, |item| item.due_in(due))),
                    _ => due.due_ms,
                });
                let old = due.is_none_or(|due| due < cutoff.unix_ms());
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
    /// What goes from the indexes.
    pruned: Pruned,
    /// The deliveries that cease to wait.
    waits: Vec<Wait>,
}

impl Deletions {
    fn prune(&mut self, engine: &Engine, attempts: &[Attempt]) -> Result<(), StoreError> {
        attempts.iter().try_for_each(|attempt| self.pruned.attempt(engine, *attempt.id.as_bytes()))
    }

    fn remove(&mut self, key: impl Into<Bytes>) {
        self.txn.remove(key);
        self.keys += 1;
    }

    fn full(&self) -> bool {
        self.keys >= PAGE || self.pruned.blocks() >= BLOCKS
    }
}
