//! Where the deliveries of the events of the last moments stand: most are done with before anything else happens, and
//! their outcomes need no look at the disk.

use std::collections::{HashMap, VecDeque};

use super::record::SlotState;
use crate::model::id::EventId;

/// Events remembered.
const EVENTS: usize = 8192;
/// Deliveries of an event that is remembered; one with more is looked up.
const SLOTS: usize = 128;

/// States by event; the oldest go first.
#[derive(Default)]
pub(super) struct Recent {
    states: HashMap<EventId, Vec<SlotState>>,
    order: VecDeque<EventId>,
}

impl Recent {
    /// Remembers where an event's deliveries stand.
    pub(super) fn put(&mut self, event: EventId, states: &[SlotState]) {
        if states.len() > SLOTS {
            return self.forget(event);
        }
        if self.states.insert(event, states.to_vec()).is_some() {
            return;
        }
        self.order.push_back(event);
        // Events that were forgotten still stand in the order.
        while self.states.len() > EVENTS || self.order.len() > 2 * EVENTS {
            let Some(oldest) = self.order.pop_front() else { return };
            self.states.remove(&oldest);
        }
    }

    /// Where an event's deliveries stand, when that is remembered.
    pub(super) fn get(&self, event: EventId) -> Option<Vec<SlotState>> {
        self.states.get(&event).cloned()
    }

    /// Somebody else writes this event's states, or they are settled.
    pub(super) fn forget(&mut self, event: EventId) {
        self.states.remove(&event);
    }
}
