//! What a connection tells of itself: to its requests, and to the pool.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::budget::ByteBudget;
use super::head::HeadWatch;

/// A connection, as the requests on it and the pool know it.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) budget: Arc<ByteBudget>,
    pub(super) head: Arc<HeadWatch>,
    pub(super) is_http2: bool,
    /// True once it may not carry another request.
    is_discarded: AtomicBool,
}

impl Link {
    /// A new connection; `is_pooled` if it may carry more than one request.
    pub(super) fn new(budget: Arc<ByteBudget>, head: Arc<HeadWatch>, is_http2: bool, is_pooled: bool) -> Self {
        Self { budget, head, is_http2, is_discarded: AtomicBool::new(!is_pooled) }
    }

    /// Keeps the connection from being used for another request.
    pub(super) fn discard(&self) {
        self.is_discarded.store(true, Ordering::SeqCst);
    }

    /// True if it may not be used for another request.
    pub(super) fn is_discarded(&self) -> bool {
        self.is_discarded.load(Ordering::SeqCst)
    }
}
