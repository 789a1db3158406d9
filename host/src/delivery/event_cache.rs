//! The latest events that are not in a lane's window: a fan-out reads each event from the store once at most, however far
//! its lanes have fallen behind.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use crate::model::event::Event;
use crate::model::id::EventId;

/// Bytes of the events in the cache.
const CAPACITY_BYTES: usize = 16 * 1024 * 1024;
/// Bytes that an event takes beside its text, roughly.
const OVERHEAD_BYTES: usize = 256;

#[derive(Default)]
struct Entries {
    events: HashMap<EventId, Arc<Event>>,
    /// Oldest first.
    order: VecDeque<EventId>,
    /// Sum of their bytes.
    bytes: usize,
}

/// Events by id, bounded in bytes; the oldest is evicted first.
#[derive(Default)]
pub(super) struct EventCache(Mutex<Entries>);

impl EventCache {
    /// The event, if it is in the cache.
    pub(super) fn get(&self, id: EventId) -> Option<Arc<Event>> {
        self.entries().events.get(&id).map(Arc::clone)
    }

    /// Puts an event into the cache.
    pub(super) fn put(&self, event: &Arc<Event>) {
        let mut entries = self.entries();
        if entries.events.contains_key(&event.id) {
            return;
        }
        entries.events.insert(event.id, Arc::clone(event));
        entries.order.push_back(event.id);
        entries.bytes += bytes(event);
        while entries.bytes > CAPACITY_BYTES {
            let Some(oldest) = entries.order.pop_front() else { return };
            if let Some(evicted) = entries.events.remove(&oldest) {
                entries.bytes -= bytes(&evicted);
            }
        }
    }

    fn entries(&self) -> std::sync::MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bytes(event: &Event) -> usize {
    event.json.len() + OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event::EventType;
    use crate::model::time::Timestamp;

    fn event(bytes: usize) -> Arc<Event> {
        Arc::new(Event {
            id: EventId::generate(),
            event_type: EventType::PhaseChanged,
            occurred_at: Timestamp::from_unix_ms(0),
            accepted_at: Timestamp::from_unix_ms(0),
            caused_by: None,
            json: "x".repeat(bytes - OVERHEAD_BYTES),
        })
    }

    #[test]
    fn the_oldest_events_make_room_in_bytes() {
        let cache = EventCache::default();
        let events: Vec<_> = (0..4).map(|_| event(CAPACITY_BYTES / 4)).collect();
        events.iter().for_each(|event| cache.put(event));
        // It is there already.
        cache.put(&events[0]);
        assert!(events.iter().all(|event| cache.get(event.id).is_some_and(|found| Arc::ptr_eq(&found, event))));
        let small = event(OVERHEAD_BYTES);
        cache.put(&small);
        assert!(
            cache.get(events[0].id).is_none() && cache.get(events[1].id).is_some() && cache.get(small.id).is_some()
        );
        // One that is larger than the cache takes nothing but its own place.
        cache.put(&event(CAPACITY_BYTES + 1));
        let entries = cache.entries();
        assert_eq!((entries.bytes, entries.events.len(), entries.order.len()), (0, 0, 0));
    }
}
