//! Claims: deliveries that the scheduler took from a webhook's queue.

use std::sync::Arc;

use crate::model::event::Event;
use crate::store::{DueItem, DueKey, Store, StoreError};

/// A delivery that is being attempted.
#[derive(Debug)]
pub(crate) struct Claim {
    /// The queue entry that it stands in.
    pub(crate) key: DueKey,
    /// The delivery.
    pub(crate) item: DueItem,
    /// Its event, if it was just accepted or has been read since.
    pub(crate) event: Option<Arc<Event>>,
}

impl Claim {
    /// The delivery's event, read from the store unless it is at hand; `None` when it is gone.
    pub(crate) async fn load(&mut self, store: &Store) -> Result<Option<Arc<Event>>, StoreError> {
        if self.event.is_none() {
            self.event = store.event_plain(self.item.event).await?.map(Arc::new);
        }
        Ok(self.event.clone())
    }
}
