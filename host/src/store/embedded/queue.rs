//! Reading queues. A webhook's queue is on the disk; the scheduler holds a window of it and asks for more by pages.

use std::ops::RangeInclusive;
use std::sync::atomic::Ordering;

use super::record::{self, Entries, Progress};
use super::writer::Writer;
use super::{Change, DueEntry, DueItem, DueKey, StoreError, keys};
use crate::model::id::WebhookId;

impl Writer {
    /// Reads a page of a webhook's queue, of about `limit` deliveries, and sends it to the scheduler. When the store
    /// cannot be read, the page is read once it can.
    pub(super) fn load_due(&mut self, webhook: WebhookId, activation: u32, after: Option<DueKey>, limit: usize) {
        match self.read_due(webhook, activation, after, limit) {
            Ok((entries, complete)) => {
                for done in entries.iter().filter(|entry| entry.items.is_empty()) {
                    self.pending.txn.remove(done.key.encode());
                }
                (self.changes)(Change::Loaded { webhook, activation, entries, complete });
            }
            Err(_) => self.unread.push((webhook, activation, after, limit)),
        }
    }

    fn read_due(
        &self,
        webhook: WebhookId,
        activation: u32,
        after: Option<DueKey>,
        limit: usize,
    ) -> Result<(Vec<DueEntry>, bool), StoreError> {
        let (found, complete) = self.read_queue(webhook, activation..=activation, after, limit)?;
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

    /// A page of a webhook's queue under these activations, after an entry, of about `limit` deliveries; and true if
    /// the queue ends with it. The deliveries of a damaged entry are looked for later
    /// ([`super::Embedded::requeue_lost`]).
    pub(super) fn read_queue(
        &self,
        webhook: WebhookId,
        activations: RangeInclusive<u32>,
        after: Option<DueKey>,
        limit: usize,
    ) -> Result<(Entries, bool), StoreError> {
        let from = after
            .map_or_else(|| keys::due_prefix(webhook, *activations.start()), |key| [key.encode(), vec![0]].concat());
        let prefix = keys::due_webhook(webhook);
        let mut found = Entries::new();
        let mut items = 0;
        let mut complete = true;
        self.engine.scan(&from, false, |key, value| {
            if !key.starts_with(&prefix) {
                return false;
            }
            let Some(due) = DueKey::decode(key) else { return true };
            if !activations.contains(&due.activation) {
                return false;
            }
            if items >= limit {
                complete = false;
                return false;
            }
            if !self.pending.txn.removes(key) {
                let queued = record::unpack_queue(value).unwrap_or_else(|_| {
                    self.damage.skipped("queue entry");
                    self.unqueued.store(true, Ordering::Relaxed);
                    Vec::new()
                });
                items += queued.len().max(1);
                found.push((due, queued));
            }
            true
        })?;
        Ok((found, complete))
    }

    /// True if a queued delivery is pending, for this attempt and in this entry: an entry of many is only removed with
    /// the last of them.
    pub(super) fn still_due(&self, key: DueKey, item: &DueItem) -> Result<bool, StoreError> {
        let states = self.states(item.event)?;
        let state = states.and_then(|states| states.get(item.slot as usize).copied());
        Ok(state.is_some_and(|state| {
            state.progress == Progress::Waiting
                && state.attempts + 1 == item.attempt
                && state.queued.is_none_or(|seq| seq == key.seq)
        }))
    }
}
