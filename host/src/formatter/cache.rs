//! A cache of rendered payloads, so that webhooks with the same format and options share one call.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;

use super::catalog::Rendering;
use super::runtime::RenderError;
use crate::model::id::EventId;

/// Bytes of the payloads in the cache.
const CAPACITY_BYTES: usize = 16 * 1024 * 1024;
/// Number of the payloads in the cache.
const CAPACITY: usize = 4096;

/// The identity of a rendering: the same key gives the same bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RenderKey {
    /// Id of the event.
    pub event: EventId,
    /// SHA-256 of the component.
    pub component: [u8; 32],
    /// SHA-256 of format and options.
    pub rendering: [u8; 32],
}

type Cell = Arc<OnceCell<Arc<Rendering>>>;

#[derive(Default)]
struct Entries {
    cells: HashMap<RenderKey, Cell>,
    /// Filled cells with the bytes of their payloads, oldest first.
    order: VecDeque<(RenderKey, usize)>,
    /// Sum of the bytes in `order`.
    bytes: usize,
}

/// A small cache, bounded in bytes and in number; the oldest entry is evicted first.
#[derive(Default)]
pub struct RenderCache(Mutex<Entries>);

impl RenderCache {
    /// The cached rendering of this key, or the result of `render`. Single-flight: concurrent callers with the same key
    /// wait for the one that renders.
    ///
    /// # Errors
    /// The error of `render`. It is not cached, since it may be a busy machine's fault and not the event's.
    pub async fn get_or(
        &self,
        key: RenderKey,
        render: impl Future<Output = Result<Rendering, RenderError>>,
    ) -> Result<Arc<Rendering>, RenderError> {
        let cell = Arc::clone(self.entries().cells.entry(key).or_default());
        let mut fresh = false;
        let filling = async {
            fresh = true;
            render.await.map(Arc::new)
        };
        let result = cell.get_or_try_init(|| filling).await.cloned();
        match &result {
            Ok(rendering) if fresh => self.filled(key, rendering.payload.body.len()),
            Ok(_) => {}
            Err(_) => drop(self.entries().cells.remove(&key)),
        }
        result
    }

    /// The cached rendering of this key, or the result of `render`, which is not kept: nobody else is expected to want it.
    ///
    /// # Errors
    /// The error of `render`.
    pub async fn get_or_alone(
        &self,
        key: RenderKey,
        render: impl Future<Output = Result<Rendering, RenderError>>,
    ) -> Result<Arc<Rendering>, RenderError> {
        let rendered = self.entries().cells.get(&key).and_then(|cell| cell.get().cloned());
        match rendered {
            Some(rendered) => Ok(rendered),
            None => render.await.map(Arc::new),
        }
    }

    fn filled(&self, key: RenderKey, bytes: usize) {
        let mut entries = self.entries();
        entries.order.push_back((key, bytes));
        entries.bytes += bytes;
        while entries.bytes > CAPACITY_BYTES || entries.order.len() > CAPACITY {
            let Some((oldest, bytes)) = entries.order.pop_front() else { break };
            entries.cells.remove(&oldest);
            entries.bytes -= bytes;
        }
    }

    fn entries(&self) -> std::sync::MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
