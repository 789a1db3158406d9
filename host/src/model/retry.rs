//! What follows an attempt: a pure function of the policy, the attempt's number and its end.

use std::time::Duration;

use crate::model::delivery::ErrorClass;
use crate::model::settings::RetryPolicy;

/// How an attempt failed, as far as the decision needs it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failure {
    /// The class that the history shows.
    pub(super) class: ErrorClass,
    /// The response's status, if there was one.
    pub(super) status: Option<u16>,
    /// What the destination asked for: with `Retry-After` on a 429 or 503, or in words that the formatter read.
    pub(super) retry_after: Option<Duration>,
    /// Whether the formatter read in the answer what follows; else the status says it.
    pub(super) said: Option<Said>,
}

impl Failure {
    /// A failure without an answer.
    pub(super) fn of(class: ErrorClass) -> Self {
        Self { class, status: None, retry_after: None, said: None }
    }
}

/// What a formatter read in an answer that was a failure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Said {
    /// It may be taken later.
    TryAgain,
    /// It never will.
    Final {
        /// Whether the destination wants nothing more.
        deactivate: bool,
    },
}

/// What to do with a delivery whose attempt failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Decision {
    /// Another attempt after this time.
    Retry(Duration),
    /// It failed for good; with a reason when the webhook is to be switched off.
    Final(Option<String>),
}

/// Decides after attempt number `attempt` (from 1) of a webhook that wants `retries` more after the
/// first. `jitter` is a random number from 0 (shortest wait) to 1.
pub(super) fn after_failure(
    policy: &RetryPolicy,
    retries: u32,
    attempt: u32,
    failure: Failure,
    jitter: f64,
) -> Decision {
    match failure {
        Failure { said: Some(Said::Final { deactivate }), .. } => {
            return Decision::Final(deactivate.then(|| "the destination said that it wants no more deliveries".into()));
        }
        Failure { said: None, status: Some(410), .. } => {
            return Decision::Final(Some("the destination answered 410 Gone: it wants no more deliveries".into()));
        }
        // The same event, options and component fail alike; the address is refused until somebody changes
        // the configuration.
        Failure { class: ErrorClass::Formatter | ErrorClass::Policy, .. } => return Decision::Final(None),
        _ if attempt > retries => return Decision::Final(None),
        _ => {}
    }
    let wait = backoff(policy, attempt).mul_f64(0.5 + 0.5 * jitter.clamp(0.0, 1.0));
    let asked = failure.retry_after.unwrap_or_default().min(policy.retry_after_cap);
    Decision::Retry(wait.max(asked))
}

/// The wait before retry `k`, counted from 1, before jitter.
fn backoff(policy: &RetryPolicy, k: u32) -> Duration {
    let factor = policy.factor.checked_pow(k.saturating_sub(1)).unwrap_or(u32::MAX);
    policy.base.checked_mul(factor).unwrap_or(policy.cap).min(policy.cap)
}

/// No wait of this policy is longer.
pub(super) fn longest_wait(policy: &RetryPolicy) -> Duration {
    policy.cap.max(policy.retry_after_cap)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS_500: Failure = Failure { class: ErrorClass::Status, status: Some(500), retry_after: None, said: None };

    fn decide(retries: u32, attempt: u32, failure: Failure, jitter: f64) -> Decision {
        after_failure(&RetryPolicy::default(), retries, attempt, failure, jitter)
    }

    #[test]
    fn the_waits_are_those_of_the_documentation() {
        for (attempt, seconds) in [(1, 2), (2, 24), (3, 288), (4, 1800), (10, 1800)] {
            let longest = Duration::from_secs(seconds);
            assert_eq!(decide(10, attempt, STATUS_500, 1.0), Decision::Retry(longest), "attempt {attempt}");
            assert_eq!(decide(10, attempt, STATUS_500, 0.0), Decision::Retry(longest / 2), "attempt {attempt}");
        }
    }

    #[test]
    fn retries_end() {
        assert_eq!(decide(0, 1, STATUS_500, 0.5), Decision::Final(None));
        assert!(matches!(decide(3, 3, STATUS_500, 0.5), Decision::Retry(_)));
        assert_eq!(decide(3, 4, STATUS_500, 0.5), Decision::Final(None));
    }

    #[test]
    fn some_failures_are_final_at_once() {
        let failure = |class, status| Failure { status, ..Failure::of(class) };
        assert!(matches!(decide(9, 1, failure(ErrorClass::Status, Some(410)), 0.5), Decision::Final(Some(_))));
        assert_eq!(decide(9, 1, failure(ErrorClass::Policy, None), 0.5), Decision::Final(None));
        assert_eq!(decide(9, 1, failure(ErrorClass::Formatter, None), 0.5), Decision::Final(None));
        for class in [ErrorClass::Dns, ErrorClass::Connect, ErrorClass::Tls, ErrorClass::Timeout, ErrorClass::Protocol]
        {
            assert!(matches!(decide(9, 1, failure(class, None), 0.5), Decision::Retry(_)), "{class:?}");
        }
        assert!(matches!(decide(9, 1, failure(ErrorClass::Status, Some(404)), 0.5), Decision::Retry(_)));
    }

    #[test]
    fn what_the_formatter_read_in_the_answer_goes_before_its_status() {
        let said = |status, said| Failure { status: Some(status), said: Some(said), ..STATUS_500 };
        assert_eq!(decide(9, 1, said(500, Said::Final { deactivate: false }), 0.5), Decision::Final(None));
        assert!(matches!(decide(9, 1, said(200, Said::Final { deactivate: true }), 0.5), Decision::Final(Some(_))));
        assert!(matches!(decide(9, 1, said(410, Said::TryAgain), 0.5), Decision::Retry(_)));
        assert_eq!(decide(3, 4, said(200, Said::TryAgain), 0.5), Decision::Final(None));
        let asked = Failure { retry_after: Some(Duration::from_secs(60)), ..said(200, Said::TryAgain) };
        assert_eq!(decide(3, 1, asked, 1.0), Decision::Retry(Duration::from_secs(60)));
    }

    #[test]
    fn retry_after_is_a_floor_and_is_clamped() {
        let asked =
            |seconds| Failure { status: Some(429), retry_after: Some(Duration::from_secs(seconds)), ..STATUS_500 };
        assert_eq!(decide(3, 1, asked(60), 1.0), Decision::Retry(Duration::from_secs(60)));
        assert_eq!(decide(3, 1, asked(1), 1.0), Decision::Retry(Duration::from_secs(2)));
        assert_eq!(decide(3, 1, asked(u64::MAX), 1.0), Decision::Retry(Duration::from_secs(3600)));
    }
}
