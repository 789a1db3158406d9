//! What one token may have: events a second, and a share of what waits for the disk. So no sender, however eager,
//! takes the host away from the others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::problem::{ApiError, Code};
use crate::model::id::TokenId;

/// What the requests of one token that wait for the disk may hold together, in bytes: half of what all may.
const SHARE_BYTES: usize = 32 * 1024 * 1024;
/// When to come back after the share was used up.
const SHARE_AGAIN: Duration = Duration::from_secs(1);
/// Tokens that nothing was heard of are forgotten when there are more than so many.
const REMEMBERED: usize = 1024;

/// The limits of all tokens.
#[derive(Clone)]
pub(super) struct IngestLimit(Arc<Inner>);

struct Inner {
    /// Events a second; 0: as many as it likes.
    rate: u32,
    tokens: Mutex<HashMap<TokenId, Used>>,
}

/// What a token has used.
#[derive(Clone, Copy)]
struct Used {
    /// Events that it may still post, at most one second's worth; below zero after a large batch.
    credit: f64,
    /// When that was, in milliseconds of the steady clock.
    at_ms: i64,
    /// Bytes of its requests that wait for the disk.
    waiting: usize,
}

/// A request's part of its token's share; given back when it goes.
#[derive(Debug)]
pub(super) struct Admitted {
    limit: IngestLimit,
    token: TokenId,
    bytes: usize,
}

impl std::fmt::Debug for IngestLimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IngestLimit").field("rate", &self.0.rate).finish_non_exhaustive()
    }
}

impl IngestLimit {
    /// Lets each token post so many events a second; 0: no limit.
    pub(super) fn new(rate: u32) -> Self {
        Self(Arc::new(Inner { rate, tokens: Mutex::default() }))
    }

    fn tokens(&self) -> MutexGuard<'_, HashMap<TokenId, Used>> {
        self.0.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a token may post at all now, before its request is read.
    ///
    /// # Errors
    /// 429, with the time when it may.
    pub(super) fn check(&self, token: TokenId, now_ms: i64) -> Result<(), ApiError> {
        if self.0.rate == 0 {
            return Ok(());
        }
        let used = self.tokens().get(&token).map(|used| used.refilled(self.0.rate, now_ms));
        used.map_or(Ok(()), |used| used.may_post(self.0.rate))
    }

    /// Takes a request of so many events and bytes. One that begins with credit left is taken whole; what it is over
    /// the limit, those after it wait for.
    ///
    /// # Errors
    /// 429, with the time when to come back.
    pub(super) fn admit(&self, token: TokenId, events: usize, bytes: usize, now_ms: i64) -> Result<Admitted, ApiError> {
        let rate = self.0.rate;
        let mut tokens = self.tokens();
        if tokens.len() > REMEMBERED {
            tokens.retain(|_, used| used.waiting > 0 || used.refilled(rate, now_ms).credit < f64::from(rate));
        }
        let fresh = Used { credit: f64::from(rate), at_ms: now_ms, waiting: 0 };
        let used = tokens.entry(token).or_insert(fresh);
        *used = used.refilled(rate, now_ms);
        if rate > 0 {
            used.may_post(rate)?;
        }
        // A single request may be larger than the share; alone it passes.
        if used.waiting > 0 && used.waiting + bytes > SHARE_BYTES {
            let detail = "this token has too much waiting to be written";
            return Err(ApiError::new(Code::TooManyRequests, detail).retry_after(SHARE_AGAIN));
        }
        used.credit -= f64::from(u32::try_from(events).unwrap_or(u32::MAX));
        used.waiting += bytes;
        Ok(Admitted { limit: self.clone(), token, bytes })
    }
}

impl Used {
    fn refilled(self, rate: u32, now_ms: i64) -> Self {
        let rate = f64::from(rate);
        let passed = f64::from(u32::try_from(now_ms.saturating_sub(self.at_ms).max(0)).unwrap_or(u32::MAX)) / 1000.0;
        Self { credit: (self.credit + passed * rate).min(rate), at_ms: now_ms, ..self }
    }

    fn may_post(self, rate: u32) -> Result<(), ApiError> {
        if self.credit >= 1.0 {
            return Ok(());
        }
        let wait = Duration::from_secs_f64(((1.0 - self.credit) / f64::from(rate)).min(3600.0));
        let detail = format!("this token may post {rate} events a second; nothing was accepted");
        Err(ApiError::new(Code::TooManyRequests, detail).retry_after(wait))
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        if let Some(used) = self.limit.tokens().get_mut(&self.token) {
            used.waiting = used.waiting.saturating_sub(self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: TokenId = TokenId::from_bytes([1; 16]);
    const B: TokenId = TokenId::from_bytes([2; 16]);

    #[test]
    fn a_token_has_its_rate_and_one_second_of_burst() {
        let limit = IngestLimit::new(10);
        for _ in 0..10 {
            limit.admit(A, 1, 1, 0).expect("within the burst");
        }
        assert_eq!(limit.admit(A, 1, 1, 0).expect_err("over").code(), Code::TooManyRequests);
        assert!(limit.check(A, 0).is_err() && limit.check(B, 0).is_ok());
        limit.admit(B, 1, 1, 0).expect("another token");
        limit.admit(A, 1, 1, 100).expect("a tenth of a second later");
        assert!(limit.check(A, 100).is_err());
        // A batch is taken whole and paid for afterwards.
        limit.admit(A, 50, 1, 1100).expect("a batch");
        assert!(limit.check(A, 5000).is_err());
        limit.check(A, 5300).expect("paid");
        // A clock that was set back gives nothing and takes nothing.
        limit.check(A, 0).expect_err("not paid yet");
    }

    #[test]
    fn a_token_has_its_share_of_what_waits() {
        let limit = IngestLimit::new(0);
        let all = limit.admit(A, 1_000_000, SHARE_BYTES * 2, 0).expect("alone it passes");
        assert_eq!(limit.admit(A, 1, 1, 0).expect_err("over").code(), Code::TooManyRequests);
        limit.admit(B, 1, 1, 0).expect("another token");
        drop(all);
        limit.admit(A, 1, 1, 0).expect("given back");
    }
}
