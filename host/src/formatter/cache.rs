//! What was just rendered, so that webhooks with the same format and options share one call.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;

use super::runtime::error::RenderError;
use super::catalog::Rendering;
use crate::model::id::EventId;

/// Bytes of payloads that are kept.
const KEPT_BYTES: usize = 16 * 1024 * 1024;
/// Payloads that are kept.
const KEPT: usize = 4096;

/// What makes two renderings the same.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RenderedKey {
    /// The event.
    pub event: EventId,
    /// SHA-256 of the component.
    pub component: [u8; 32],
    /// SHA-256 of format and options.
    pub rendering: [u8; 32],
}

type Cell = Arc<OnceCell<Arc<Rendering>>>;

#[derive(Default)]
struct Kept {
    cells: HashMap<RenderedKey, Cell>,
    order: VecDeque<(RenderedKey, usize)>,
    bytes: usize,
}

/// A small cache, bounded in bytes; the oldest goes first.
#[derive(Default)]
pub struct Rendered(Mutex<Kept>);

impl Rendered {
    /// What `render` makes, or what it made for the same key a moment ago. Those who ask while it runs
    /// wait for it.
    ///
    /// # Errors
    /// `render`'s. It is not kept: a machine without a moment's time is no property of the event.
    pub async fn get_or(
        &self,
        key: RenderedKey,
        render: impl Future<Output = Result<Rendering, RenderError>>,
    ) -> Result<Arc<Rendering>, RenderError> {
        let cell = Arc::clone(self.kept().cells.entry(key).or_default());
        let mut fresh = false;
        let filling = async {
            fresh = true;
            render.await.map(Arc::new)
        };
        let result = cell.get_or_try_init(|| filling).await.cloned();
        match &result {
            Ok(rendering) if fresh => self.filled(key, rendering.payload.body.len()),
            Ok(_) => {}
            Err(_) => drop(self.kept().cells.remove(&key)),
        }
        result
    }

    fn filled(&self, key: RenderedKey, bytes: usize) {
        let mut kept = self.kept();
        kept.order.push_back((key, bytes));
        kept.bytes += bytes;
        while kept.bytes > KEPT_BYTES || kept.order.len() > KEPT {
            let Some((oldest, bytes)) = kept.order.pop_front() else { break };
            kept.cells.remove(&oldest);
            kept.bytes -= bytes;
        }
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
