//! What a webhook's queue has next.

use super::record::{self, Entries, Progress, SlotState};
use super::{DueItem, DueKey, Embedded, Sent, StoreError, keys};
use crate::model::webhook::Webhook;
use crate::store::rank;

/// Entries that are looked at: those of deliveries that are done are removed with the last one in them.
const ENTRIES: usize = 16;
/// Entries among which the first is looked for that waits for a digest's window: messages of the windows before may wait in
/// front of it.
const SEARCHED: usize = 256;

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
            let window = webhook.config.digest.filter(|_| item.sent == Sent::Never);
            let due_ms = item.due_in(key).saturating_add(window.map_or(0, |digest| digest.window_ms()));
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

    pub(in crate::store) fn window_opened(&self, webhook: &Webhook) -> Result<Option<i64>, StoreError> {
        let mut opened: Option<i64> = None;
        for rank in rank::UNKNOWN..=rank::STRICT {
            let first = self.first_waiting(webhook, rank)?;
            opened = opened.into_iter().chain(first).min();
        }
        Ok(opened)
    }

    /// When the first delivery of one rank was queued that waits for a window.
    fn first_waiting(&self, webhook: &Webhook, rank: u8) -> Result<Option<i64>, StoreError> {
        let (mut waiting, mut searched) = (Vec::new(), 0);
        self.engine.scan_prefix(&keys::due_ranked(webhook.id, webhook.activation, rank), None, |key, value| {
            searched += 1;
            if let Some((key, items)) = DueKey::decode(key).zip(record::unpack_queue(value).ok())
                && items.iter().any(|item| item.sent == Sent::Never)
            {
                waiting.push((key, items));
            }
            searched < SEARCHED && waiting.len() < ENTRIES
        })?;
        for (key, items) in waiting {
            for item in items.iter().filter(|item| item.sent == Sent::Never) {
                if self.is_pending(key, item)? {
                    return Ok(Some(item.due_in(key)));
                }
            }
        }
        Ok(None)
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
                && state.queued.is_none_or(|mark| key.has_mark(mark))
        }))
    }
}
