//! A limit on the trials of formatters in flight: previews, and checks of components. They come after deliveries, so that
//! their callers may wait; one token's callers must not make all others wait as long.
//!
//! A trial that finds no slot waits a moment for one, which spares a patient client the repetition and slows an impatient
//! one down. Its body is not read before it has a slot.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::problem::{ApiError, Code};
use crate::model::id::TokenId;

/// Trials in flight of one token.
const TRIALS_OF_TOKEN: usize = 4;
/// Trials in flight of all tokens together.
const TRIALS: usize = 64;
/// The longest time that a trial waits for a slot.
const WAIT: Duration = Duration::from_secs(1);
/// `Retry-After` of a rejected trial.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The trials in flight; cheap to clone.
#[derive(Clone)]
pub(super) struct TrialLimit(Arc<Inner>);

struct Inner {
    all: Arc<Semaphore>,
    /// By token; those without trials are dropped.
    tokens: Mutex<HashMap<TokenId, Arc<Semaphore>>>,
}

/// One trial's slot; dropping it frees the slot.
pub(super) struct TrialSlot {
    limit: TrialLimit,
    token: TokenId,
    permits: Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)>,
}

impl TrialLimit {
    pub(super) fn new() -> Self {
        Self(Arc::new(Inner { all: Arc::new(Semaphore::new(TRIALS)), tokens: Mutex::default() }))
    }

    /// Waits for a slot, but not for long.
    ///
    /// # Errors
    /// 429 if the token has too many trials in flight, 503 if all tokens together have; both with `Retry-After`.
    pub(super) async fn admit(&self, token: TokenId) -> Result<TrialSlot, ApiError> {
        let deadline = Instant::now() + WAIT;
        let own = Arc::clone(self.tokens().entry(token).or_insert_with(|| Arc::new(Semaphore::new(TRIALS_OF_TOKEN))));
        // Dropped without permits, it forgets a token that has no trial.
        let mut slot = TrialSlot { limit: self.clone(), token, permits: None };
        let own = acquire(own, deadline).await.ok_or_else(|| {
            let detail = format!(
                "this token has {TRIALS_OF_TOKEN} previews and checks of formatters in flight, which is the most; send the next when one of them has its response"
            );
            ApiError::new(Code::TooManyRequests, detail).retry_after(RETRY_AFTER)
        })?;
        let all = acquire(Arc::clone(&self.0.all), deadline).await.ok_or_else(|| {
            let detail = format!("all tokens together have {TRIALS} previews and checks of formatters in flight, which is the most; try again");
            ApiError::new(Code::Busy, detail).retry_after(RETRY_AFTER)
        })?;
        slot.permits = Some((own, all));
        Ok(slot)
    }

    fn tokens(&self) -> std::sync::MutexGuard<'_, HashMap<TokenId, Arc<Semaphore>>> {
        self.0.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn acquire(semaphore: Arc<Semaphore>, deadline: Instant) -> Option<OwnedSemaphorePermit> {
    tokio::time::timeout_at(deadline, semaphore.acquire_owned()).await.ok()?.ok()
}

impl Drop for TrialSlot {
    fn drop(&mut self) {
        let mut tokens = self.limit.tokens();
        self.permits = None;
        // The map's is the only reference left: no trial of this token is in flight or waits.
        if tokens.get(&self.token).is_some_and(|semaphore| Arc::strong_count(semaphore) == 1) {
            tokens.remove(&self.token);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn filled(limit: &TrialLimit, token: TokenId) -> Vec<TrialSlot> {
        let mut slots = Vec::new();
        for _ in 0..TRIALS_OF_TOKEN {
            slots.push(limit.admit(token).await.expect("a slot"));
        }
        slots
    }

    #[tokio::test(start_paused = true)]
    async fn one_token_has_a_few_slots_and_the_others_theirs() {
        let limit = TrialLimit::new();
        let (one, other) = (TokenId::generate(), TokenId::generate());
        let mut slots = filled(&limit, one).await;
        let start = Instant::now();
        assert_eq!(limit.admit(one).await.err().expect("one too many").code(), Code::TooManyRequests);
        assert_eq!(start.elapsed(), WAIT, "it waits before it is rejected");
        assert!(limit.admit(other).await.is_ok());
        // One that waits gets the slot that is freed meanwhile.
        let (waiting, ()) = tokio::join!(limit.admit(one), async {
            tokio::time::sleep(WAIT / 2).await;
            slots.pop();
        });
        assert!(waiting.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn all_tokens_together_have_a_limit() {
        let limit = TrialLimit::new();
        let mut slots = Vec::new();
        for _ in 0..TRIALS / TRIALS_OF_TOKEN {
            slots.extend(filled(&limit, TokenId::generate()).await);
        }
        let late = TokenId::generate();
        assert_eq!(limit.admit(late).await.err().expect("one too many").code(), Code::Busy);
        slots.pop();
        assert!(limit.admit(late).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn tokens_without_trials_are_forgotten() {
        let limit = TrialLimit::new();
        let token = TokenId::generate();
        let slots = filled(&limit, token).await;
        assert!(limit.admit(token).await.is_err());
        assert_eq!(limit.tokens().len(), 1);
        drop(slots);
        assert_eq!(limit.tokens().len(), 0);
    }
}
