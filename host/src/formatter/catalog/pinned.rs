//! Components that waiting deliveries began with and that are not in use any more, in a small LRU cache.

use std::sync::{Arc, Mutex, PoisonError};

use super::component::Component;

/// Components that the cache keeps loaded, beside those in use.
const CAPACITY: usize = 16;

struct Pinned {
    digest: [u8; 32],
    /// `None` if the component's file is gone or does not fit; that is remembered, too.
    component: Option<Arc<Component>>,
}

/// An LRU cache by digest.
#[derive(Default)]
pub(super) struct PinnedCache {
    /// Least recently used first.
    entries: Mutex<Vec<Pinned>>,
}

impl PinnedCache {
    /// The component with this digest, from the cache or from `load`. Single-flight: the lock is held while a component
    /// is loaded, so that concurrent callers wait instead of compiling the same component again.
    pub(super) fn get_or_load(
        &self,
        digest: [u8; 32],
        load: impl FnOnce() -> Option<Arc<Component>>,
    ) -> Option<Arc<Component>> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = match entries.iter().position(|entry| entry.digest == digest) {
            Some(index) => entries.remove(index),
            None => Pinned { digest, component: load() },
        };
        let component = entry.component.clone();
        entries.push(entry);
        if entries.len() > CAPACITY {
            entries.remove(0);
        }
        component
    }
}
