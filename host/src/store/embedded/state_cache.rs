//! A cache of the delivery states of the latest events: most deliveries end soon after their acceptance, and their
//! outcomes need no read from the disk.

use std::collections::{HashMap, VecDeque};

use super::record::SlotState;
use crate::model::id::EventId;

/// Events in the cache.
const EVENTS: usize = 8192;
/// The most deliveries of an event in the cache; one with more is read from the disk.
const SLOTS: usize = 128;

/// States by event; the oldest are evicted first.
#[derive(Default)]
pub(super) struct StateCache {
    states: HashMap<EventId, Vec<SlotState>>,
    order: VecDeque<EventId>,
}

impl StateCache {
    /// Puts the states of an event's deliveries into the cache.
    pub(super) fn put(&mut self, event: EventId, states: Vec<SlotState>) {
        if states.len() > SLOTS {
            return self.forget(event);
        }
        if self.states.insert(event, states).is_some() {
            return;
        }
        self.order.push_back(event);
        // Forgotten events are still in the order.
        while self.states.len() > EVENTS || self.order.len() > 2 * EVENTS {
            let Some(oldest) = self.order.pop_front() else { return };
            self.states.remove(&oldest);
        }
    }

    /// The states of an event's deliveries, if they are in the cache.
    pub(super) fn get(&self, event: EventId) -> Option<Vec<SlotState>> {
        self.states.get(&event).cloned()
    }

    /// Removes an event whose states are written past the cache, or are settled.
    pub(super) fn forget(&mut self, event: EventId) {
        self.states.remove(&event);
    }
}
