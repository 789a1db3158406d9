//! Retries: the decision after a failed attempt, as pure functions of the policy, the attempt's number and its failure.
//!
//! Waits grow by exponential backoff with jitter ([`RetryPolicy`]); a destination's `Retry-After` is a floor under them.
//! The circuit breaker, which looks at deliveries rather than attempts, is [`super::breaker`].

use std::time::{Duration, SystemTime};

use super::delivery::{ErrorClass, Step};
use super::settings::RetryPolicy;

/// A failed attempt, as far as decisions need it.
#[derive(Clone, Copy, Debug)]
pub struct Failure {
    /// The class that the history shows.
    pub class: ErrorClass,
    /// The response's status; `None` without a response.
    pub status: Option<u16>,
    /// The wait that the destination asked for, unclamped: `Retry-After` on a 429 or 503, or a time that the formatter
    /// read in the response.
    pub retry_after: Option<Duration>,
    /// The formatter's reading of the response, which overrules the status; `None`: the status decides.
    pub ruling: Option<Ruling>,
}

impl Failure {
    /// A failure without a response.
    pub fn of(class: ErrorClass) -> Self {
        Self { class, status: None, retry_after: None, ruling: None }
    }
}

/// A formatter's reading of a response that means failure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ruling {
    /// The destination may accept it later.
    Retry,
    /// The destination never will.
    Final {
        /// True if the destination wants no deliveries at all.
        deactivate: bool,
    },
}

/// The next step of a delivery whose attempt failed: [`Step::Again`] or [`Step::Failed`].
///
/// `retries` is the webhook's retry count, `attempt` counts this round's attempts from 1, and `jitter` is a random number
/// from 0 (shortest wait) to 1.
pub fn after_failure(policy: &RetryPolicy, retries: u32, attempt: u32, failure: &Failure, jitter: f64) -> Step {
    let failed = |reason: Option<&str>| Step::Failed { deactivate: reason.map(str::to_owned) };
    match failure {
        Failure { ruling: Some(Ruling::Final { deactivate }), .. } => {
            return failed(deactivate.then_some("the destination said that it wants no more deliveries"));
        }
        Failure { ruling: None, status: Some(410), .. } => {
            return failed(Some("the destination responded with 410 Gone: it wants no more deliveries"));
        }
        // The same event, options and component fail alike; the address stays denied until the configuration changes.
        Failure { class: ErrorClass::Formatter | ErrorClass::Policy, .. } => return failed(None),
        _ if attempt > retries => return failed(None),
        _ => {}
    }
    let wait = backoff(policy, attempt).mul_f64(0.5 + 0.5 * jitter.clamp(0.0, 1.0));
    let asked = failure.retry_after.unwrap_or_default().min(policy.retry_after_cap);
    Step::Again { after: wait.max(asked), counts: true }
}

/// Exponential backoff: the wait before retry `k`, counted from 1, before jitter.
fn backoff(policy: &RetryPolicy, k: u32) -> Duration {
    let factor = policy.factor.checked_pow(k.saturating_sub(1)).unwrap_or(u32::MAX);
    policy.base.checked_mul(factor).unwrap_or(policy.cap).min(policy.cap)
}

/// The longest wait that this policy can give.
pub fn longest_wait(policy: &RetryPolicy) -> Duration {
    policy.cap.max(policy.retry_after_cap)
}

/// How long the whole webhook pauses after this failure: a 429 speaks of every pending delivery, not only of the one that
/// it answered. `None`: the failed delivery waits alone.
pub fn pause(policy: &RetryPolicy, failure: &Failure) -> Option<Duration> {
    let throttled = failure.status == Some(429) && !matches!(failure.ruling, Some(Ruling::Final { .. }));
    let asked = match failure.retry_after {
        Some(after) if throttled || failure.ruling == Some(Ruling::Retry) => after,
        None if throttled => policy.base,
        _ => return None,
    };
    Some(asked.min(policy.retry_after_cap))
}

/// Returns true if a failed batch may get through in halves: it was too large, or one of its events is not acceptable.
/// Failures of authorization and of the address (401, 403, 404, 405) are the same for each half.
pub fn splits(deliveries: usize, failure: &Failure) -> bool {
    deliveries > 1
        && match failure.ruling {
            Some(Ruling::Final { deactivate }) => !deactivate && !matches!(failure.status, Some(401 | 403..=405)),
            Some(Ruling::Retry) => failure.status == Some(413),
            None => matches!(failure.status, Some(400 | 413 | 422)),
        }
}

/// The wait that a `Retry-After` asks for (RFC 9110, section 10.2.3): seconds, or a date as seen from `now`, zero when it
/// is past. `None` when the value is neither. Callers clamp it.
pub fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit are still a long time.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(date.duration_since(now).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS_500: Failure =
        Failure { class: ErrorClass::Status, status: Some(500), retry_after: None, ruling: None };

    fn decide(retries: u32, attempt: u32, failure: Failure, jitter: f64) -> Step {
        after_failure(&RetryPolicy::default(), retries, attempt, &failure, jitter)
    }

    fn again(after: Duration) -> Step {
        Step::Again { after, counts: true }
    }

    const FINAL: Step = Step::Failed { deactivate: None };

    #[test]
    fn the_waits_are_those_of_the_documentation() {
        for (attempt, seconds) in [(1, 2), (2, 24), (3, 288), (4, 1800), (10, 1800)] {
            let longest = Duration::from_secs(seconds);
            assert_eq!(decide(10, attempt, STATUS_500, 1.0), again(longest), "attempt {attempt}");
            assert_eq!(decide(10, attempt, STATUS_500, 0.0), again(longest / 2), "attempt {attempt}");
        }
    }

    #[test]
    fn retries_end() {
        assert_eq!(decide(0, 1, STATUS_500, 0.5), FINAL);
        assert!(matches!(decide(3, 3, STATUS_500, 0.5), Step::Again { .. }));
        assert_eq!(decide(3, 4, STATUS_500, 0.5), FINAL);
    }

    #[test]
    fn some_failures_are_final_at_once() {
        let failure = |class, status| Failure { status, ..Failure::of(class) };
        let deactivates = |step: &Step| matches!(step, Step::Failed { deactivate: Some(_) });
        assert!(deactivates(&decide(9, 1, failure(ErrorClass::Status, Some(410)), 0.5)));
        assert_eq!(decide(9, 1, failure(ErrorClass::Policy, None), 0.5), FINAL);
        assert_eq!(decide(9, 1, failure(ErrorClass::Formatter, None), 0.5), FINAL);
        for class in [ErrorClass::Dns, ErrorClass::Connect, ErrorClass::Tls, ErrorClass::Timeout, ErrorClass::Protocol]
        {
            assert!(matches!(decide(9, 1, failure(class, None), 0.5), Step::Again { .. }), "{class:?}");
        }
        assert!(matches!(decide(9, 1, failure(ErrorClass::Status, Some(404)), 0.5), Step::Again { .. }));
    }

    #[test]
    fn the_formatters_ruling_overrules_the_status() {
        let ruled = |status, ruling| Failure { status: Some(status), ruling: Some(ruling), ..STATUS_500 };
        let deactivates = |step: &Step| matches!(step, Step::Failed { deactivate: Some(_) });
        assert_eq!(decide(9, 1, ruled(500, Ruling::Final { deactivate: false }), 0.5), FINAL);
        assert!(deactivates(&decide(9, 1, ruled(200, Ruling::Final { deactivate: true }), 0.5)));
        assert!(matches!(decide(9, 1, ruled(410, Ruling::Retry), 0.5), Step::Again { .. }));
        assert_eq!(decide(3, 4, ruled(200, Ruling::Retry), 0.5), FINAL);
        let asked = Failure { retry_after: Some(Duration::from_secs(60)), ..ruled(200, Ruling::Retry) };
        assert_eq!(decide(3, 1, asked, 1.0), again(Duration::from_secs(60)));
    }

    #[test]
    fn retry_after_is_a_floor_and_is_clamped() {
        let asked =
            |seconds| Failure { status: Some(429), retry_after: Some(Duration::from_secs(seconds)), ..STATUS_500 };
        assert_eq!(decide(3, 1, asked(60), 1.0), again(Duration::from_secs(60)));
        assert_eq!(decide(3, 1, asked(1), 1.0), again(Duration::from_secs(2)));
        assert_eq!(decide(3, 1, asked(u64::MAX), 1.0), again(Duration::from_secs(3600)));
    }

    #[test]
    fn a_429_and_a_ruling_with_a_time_pause_the_webhook() {
        let policy = RetryPolicy::default();
        let seconds = Duration::from_secs;
        let with = |status, retry_after, ruling| Failure { status: Some(status), retry_after, ruling, ..STATUS_500 };
        for (failure, expected) in [
            (with(429, Some(seconds(7)), None), Some(seconds(7))),
            (with(429, None, None), Some(policy.base)),
            (with(429, Some(seconds(1_000_000)), None), Some(policy.retry_after_cap)),
            (with(429, Some(seconds(7)), Some(Ruling::Retry)), Some(seconds(7))),
            (with(429, Some(seconds(7)), Some(Ruling::Final { deactivate: false })), None),
            (with(200, Some(seconds(7)), Some(Ruling::Retry)), Some(seconds(7))),
            (with(200, None, Some(Ruling::Retry)), None),
            (with(503, Some(seconds(7)), None), None),
            (STATUS_500, None),
        ] {
            assert_eq!(pause(&policy, &failure), expected, "{failure:?}");
        }
    }

    #[test]
    fn only_what_halves_may_repair_is_split() {
        let failed = |status| Failure { status: Some(status), ..Failure::of(ErrorClass::Status) };
        for status in [400, 413, 422] {
            assert!(splits(2, &failed(status)) && !splits(1, &failed(status)), "{status}");
        }
        for status in [401, 404, 410, 429, 500, 503] {
            assert!(!splits(2, &failed(status)), "{status}");
        }
        let ruled = |ruling| Failure { ruling: Some(ruling), ..failed(400) };
        assert!(splits(2, &ruled(Ruling::Final { deactivate: false })));
        for status in [401, 403, 404] {
            let failure = Failure { status: Some(status), ..ruled(Ruling::Final { deactivate: false }) };
            assert!(!splits(2, &failure), "{status}");
        }
        assert!(!splits(2, &ruled(Ruling::Final { deactivate: true })));
        assert!(!splits(2, &ruled(Ruling::Retry)));
        assert!(splits(2, &Failure { status: Some(413), ..ruled(Ruling::Retry) }));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777); // Sun, 06 Nov 1994 08:49:37 GMT
        let seconds = |s| Some(Duration::from_secs(s));
        for (value, wait) in [
            ("5", seconds(5)),
            (" 0 ", seconds(0)),
            ("1000000000", seconds(1_000_000_000)),
            ("99999999999999999999999", seconds(u64::MAX)),
            ("Sun, 06 Nov 1994 08:49:47 GMT", seconds(10)),
            ("Sunday, 06-Nov-94 08:49:47 GMT", seconds(10)),
            ("Sun, 06 Nov 1994 08:49:00 GMT", seconds(0)),
            ("-1", None),
            ("+5", None),
            ("1.5", None),
            ("abc", None),
            ("", None),
        ] {
            assert_eq!(retry_after(value, now), wait, "{value:?}");
        }
    }
}
