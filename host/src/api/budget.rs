//! The byte budget of request bodies: how much memory all bodies in flight may hold together.
//!
//! This is the API's backpressure against many large requests at once: a body that does not fit is rejected with 503
//! and `Retry-After` before any of it is read.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::{ApiError, Code};

/// Time limit for a body to arrive completely.
pub(super) const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// The budget of all bodies in flight, in KiB (256 MiB).
const BUDGET_KIB: usize = 256 * 1024;
/// `Retry-After` of a rejected body: bodies are short-lived, so the budget is usually free again by then.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The bytes and the time that request bodies may take; shared by all requests.
pub(super) struct BodyBudget {
    /// One permit for each KiB: a semaphore counts at most `u32` permits in one acquisition.
    kib: Arc<Semaphore>,
    timeout: Duration,
}

impl BodyBudget {
    /// An unused budget; each body must arrive within `timeout`.
    pub(super) fn new(timeout: Duration) -> Self {
        Self { kib: Arc::new(Semaphore::new(BUDGET_KIB)), timeout }
    }

    /// Time limit for one body to arrive completely.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Reserves budget for one body; dropping the permit releases it. A body larger than the whole budget may use all
    /// of it.
    ///
    /// # Errors
    /// 503 if the bodies in flight leave too little.
    pub(super) fn acquire(&self, bytes: usize) -> Result<OwnedSemaphorePermit, ApiError> {
        let kib = u32::try_from(bytes.div_ceil(1024).clamp(1, BUDGET_KIB)).unwrap_or(u32::MAX);
        let detail = "the request bodies in flight use up the host's memory budget; send this one again later";
        Arc::clone(&self.kib)
            .try_acquire_many_owned(kib)
            .map_err(|_| ApiError::new(Code::Busy, detail).retry_after(RETRY_AFTER))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_exhausted_and_released() {
        let budget = BodyBudget::new(BODY_TIMEOUT);
        let all = budget.acquire(BUDGET_KIB * 1024).expect("the whole budget");
        assert_eq!(budget.acquire(1).expect_err("exhausted").code(), Code::Busy);
        drop(all);
        assert!(budget.acquire(0).is_ok());
    }
}
