//! Ingest limits for each API token, so that one eager sender cannot starve the others: a token bucket for events per
//! second, and a share of the bytes that may wait for the disk (backpressure). Both reject with 429 and `Retry-After`.
//!
//! The bucket holds one second's worth of events. A batch is accepted whole if at least one event is left in the
//! bucket, and may take it below zero: later requests wait until it is refilled. So any batch passes at a low rate, and
//! the average rate still holds.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::problem::{ApiError, Code};
use crate::model::id::TokenId;

/// Bytes that one token's requests may have waiting for the disk: half of the limit for all tokens together.
const SHARE_BYTES: usize = 32 * 1024 * 1024;
/// `Retry-After` once the share is used up.
const SHARE_RETRY_AFTER: Duration = Duration::from_secs(1);
/// Above this number of buckets, full and idle ones are dropped; a new one is full too, so nothing is lost.
const MAX_BUCKETS: usize = 1024;

/// The buckets of all tokens; cheap to clone.
#[derive(Clone)]
pub(super) struct IngestLimit(Arc<Inner>);

struct Inner {
    /// Events per second and capacity of a bucket; 0 for no limit.
    rate: u32,
    buckets: Mutex<HashMap<TokenId, Bucket>>,
}

/// One API token's bucket and its bytes waiting for the disk.
#[derive(Clone, Copy)]
struct Bucket {
    /// Events left, at most one second's worth; negative after a large batch.
    credit: f64,
    /// Time of the last refill, in milliseconds of the steady clock.
    at_ms: i64,
    /// Bytes of the token's requests that wait for the disk.
    waiting: usize,
}

/// The bytes of one request that wait for the disk; returned to its token's share on drop.
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
    /// `rate` is in events per second for each token; 0 for no limit.
    pub(super) fn new(rate: u32) -> Self {
        Self(Arc::new(Inner { rate, buckets: Mutex::default() }))
    }

    fn buckets(&self) -> MutexGuard<'_, HashMap<TokenId, Bucket>> {
        self.0.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks the bucket before the request's body is read; takes nothing from it.
    ///
    /// # Errors
    /// 429 with `Retry-After` if the bucket is empty.
    pub(super) fn check(&self, token: TokenId, now_ms: i64) -> Result<(), ApiError> {
        if self.0.rate == 0 {
            return Ok(());
        }
        let bucket = self.buckets().get(&token).map(|bucket| bucket.refilled(self.0.rate, now_ms));
        bucket.map_or(Ok(()), |bucket| bucket.check(self.0.rate))
    }

    /// Admits a request: takes its events from the bucket, and its bytes from the share until the result is dropped.
    ///
    /// # Errors
    /// 429 with `Retry-After` if the bucket is empty or the share is used up.
    pub(super) fn admit(&self, token: TokenId, events: usize, bytes: usize, now_ms: i64) -> Result<Admitted, ApiError> {
        let rate = self.0.rate;
        let mut buckets = self.buckets();
        if buckets.len() > MAX_BUCKETS {
            buckets.retain(|_, bucket| bucket.waiting > 0 || bucket.refilled(rate, now_ms).credit < f64::from(rate));
        }
        let full = Bucket { credit: f64::from(rate), at_ms: now_ms, waiting: 0 };
        let bucket = buckets.entry(token).or_insert(full);
        *bucket = bucket.refilled(rate, now_ms);
        if rate > 0 {
            bucket.check(rate)?;
        }
        // A single request may be larger than the share; it is admitted when nothing else waits.
        if bucket.waiting > 0 && bucket.waiting + bytes > SHARE_BYTES {
            let detail = "too many bytes of this token are waiting to be written; send this request again later";
            return Err(ApiError::new(Code::TooManyRequests, detail).retry_after(SHARE_RETRY_AFTER));
        }
        bucket.credit -= f64::from(u32::try_from(events).unwrap_or(u32::MAX));
        bucket.waiting += bytes;
        Ok(Admitted { limit: self.clone(), token, bytes })
    }
}

impl Bucket {
    fn refilled(self, rate: u32, now_ms: i64) -> Self {
        let rate = f64::from(rate);
        let passed = f64::from(u32::try_from(now_ms.saturating_sub(self.at_ms).max(0)).unwrap_or(u32::MAX)) / 1000.0;
        Self { credit: (self.credit + passed * rate).min(rate), at_ms: now_ms, ..self }
    }

    fn check(self, rate: u32) -> Result<(), ApiError> {
        if self.credit >= 1.0 {
            return Ok(());
        }
        let wait = Duration::from_secs_f64(((1.0 - self.credit) / f64::from(rate)).min(3600.0));
        let detail = format!(
            "this token may post {rate} events per second, and nothing was accepted; send the request again later"
        );
        Err(ApiError::new(Code::TooManyRequests, detail).retry_after(wait))
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        if let Some(bucket) = self.limit.buckets().get_mut(&self.token) {
            bucket.waiting = bucket.waiting.saturating_sub(self.bytes);
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
        // A batch is accepted whole and takes the bucket below zero.
        limit.admit(A, 50, 1, 1100).expect("a batch");
        assert!(limit.check(A, 5000).is_err());
        limit.check(A, 5300).expect("refilled");
        // A clock that was set back neither refills nor drains.
        limit.check(A, 0).expect_err("not refilled yet");
    }

    #[test]
    fn a_token_has_its_share_of_the_waiting_bytes() {
        let limit = IngestLimit::new(0);
        let all = limit.admit(A, 1_000_000, SHARE_BYTES * 2, 0).expect("alone it passes");
        assert_eq!(limit.admit(A, 1, 1, 0).expect_err("over").code(), Code::TooManyRequests);
        limit.admit(B, 1, 1, 0).expect("another token");
        drop(all);
        limit.admit(A, 1, 1, 0).expect("the share was returned");
    }
}
