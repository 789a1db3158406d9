//! What a webhook's queue has next.

use super::record::{self, Entries, Progress, SlotState};
use super::{DueItem, DueKey, Embedded, StoreError, keys};
use crate::model::webhook::Webhook;
use crate::store::rank;

/// Entries that are looked at: those of deliveries that are done are removed with the last one in them.
const ENTRIES: usize = 16;

impl Embedded {
    /// When the next attempt of an active webhook's deliveries is due, in milliseconds of the steady clock; in the past
    /// for one that is in flight, or waits for its turn.
    pub(in crate::store) fn next_due(&self, webhook: &Webhook) -> Result<Option<i64>, StoreError> {
        if !webhook.activity.is_active() {
            return Ok(None);
        }
        let mut first = self.first_of(&keys::due_prefix(webhook.id, webhook.activation))?;
        // Most queues are short. After a change of the order one is in other ranks until the scheduler has asked for it.
        if first.len() >= ENTRIES {
            first.clear();
            for rank in rank::UNKNOWN..=rank::STRICT {
                first.extend(self.first_of(&keys::due_ranked(webhook.id, webhook.activation, rank))?);
            }
        }
        let mut next: Option<(u8, i64)> = None;
        for (key, item) in first.into_iter().flat_map(|(key, items)| items.into_iter().map(move |item| (key, item))) {
            let due_ms = item.due_in(key);
            // The strict queue's first is next, whenever it is due.
            let is_sooner = next.is_none_or(|(rank, other)| due_ms < other && rank != rank::STRICT);
            if is_sooner && self.is_pending(key, &item)? {
                next = Some((key.rank, due_ms));
            }
        }
        Ok(next.map(|(_, due_ms)| due_ms))
    }

    /// The first entries under this prefix.
    fn first_of(&self, prefix: &[u8]) -> Result<Entries, StoreError> {
        let mut first = Entries::new();
        self.engine.scan_prefix(prefix, None, |key, value| {
            first.extend(DueKey::decode(key).zip(record::unpack_queue(value).ok()));
            first.len() < ENTRIES
        })?;
        Ok(first)
    }

    fn is_pending(&self, key: DueKey, item: &DueItem) -> Result<bool, StoreError> {
        let states = match self.engine.get(&keys::state(item.event))? {
            Some(bytes) => record::unpack::<Vec<SlotState>>(&bytes).ok(),
            None => {
                let event = self.engine.get(&keys::event(item.event))?;
                event.and_then(|bytes| record::unpack_event(&bytes).ok()).map(|event| event.states())
            }
        };
        let state = states.and_then(|states| states.get(item.slot as usize).copied());
        Ok(state.is_some_and(|state| {
            state.progress == Progress::Waiting
                && state.attempts + 1 == item.attempt
                && state.queued.is_none_or(|seq| seq == key.seq)
        }))
    }
}
