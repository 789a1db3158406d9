//! Retries: the decision after a failed attempt, as pure functions of the policy, the attempt's number and its failure.
//!
//! Waits grow by exponential backoff with jitter ([`RetryPolicy`]); the wait that a destination names is a floor under them,
//! up to [`RetryPolicy::retry_after_cap`]. Where several waits are named, the longest counts.
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
    /// The wait that the response's `Retry-After` asks for, unclamped.
    pub retry_after: Option<Duration>,
    /// The formatter's reading of the response, which overrules the status; `None`: the status decides.
    pub ruling: Option<Ruling>,
    /// True for a formatter that a busy machine kept from making a payload: unlike its other failures, which are the same
    /// on every machine, this one is tried again.
    pub is_transient: bool,
}

impl Failure {
    /// A failure without a response.
    pub fn of(class: ErrorClass) -> Self {
        Self { class, status: None, retry_after: None, ruling: None, is_transient: false }
    }

    /// The longest wait that the destination named in any place, unclamped.
    fn asked(&self) -> Option<Duration> {
        self.retry_after.max(self.ruling.and_then(Ruling::after))
    }
}

/// A formatter's reading of a response that means failure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ruling {
    /// The destination may accept it later.
    Retry {
        /// The pause that the formatter read in the response, unclamped.
        after: Option<Duration>,
    },
    /// The destination never will.
    Final {
        /// True if the destination wants no deliveries at all.
        deactivate: bool,
    },
}

impl Ruling {
    fn after(self) -> Option<Duration> {
        match self {
            Self::Retry { after } => after,
            Self::Final { .. } => None,
        }
    }
}

/// The next step of a delivery whose attempt failed: [`Step::Again`], [`Step::Failed`] or [`Step::Unrendered`].
///
/// `retries` is the webhook's retry count, `attempt` counts this round's attempts from 1, and `jitter` is a random number
/// from 0 (shortest wait) to 1.
pub fn after_failure(policy: &RetryPolicy, retries: u32, attempt: u32, failure: &Failure, jitter: f64) -> Step {
    let failed = |reason: Option<&str>| Step::Failed { deactivate: reason.map(str::to_owned) };
    match failure {
        Failure { ruling: Some(Ruling::Final { deactivate }), .. } => {
            return failed(deactivate.then_some("the destination wants no more deliveries"));
        }
        Failure { ruling: None, status: Some(410), .. } => {
            return failed(Some("the destination wants no more deliveries (410 Gone)"));
        }
        // The same event, options and component fail alike.
        Failure { class: ErrorClass::Formatter, is_transient, .. } if !is_transient || attempt > retries => {
            return Step::Unrendered;
        }
        // The address stays denied until the configuration changes.
        Failure { class: ErrorClass::Policy, .. } => return failed(None),
        _ if attempt > retries => return failed(None),
        _ => {}
    }
    let wait = backoff(policy, attempt).mul_f64(0.5 + 0.5 * jitter.clamp(0.0, 1.0));
    let asked = failure.asked().unwrap_or_default().min(policy.retry_after_cap);
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

/// How long the whole webhook pauses after this failure: a 429, a 503 that names a time, and a pause that the formatter
/// read speak of every pending delivery, not only of the one that they answered. `None`: the failed delivery waits alone.
pub fn pause(policy: &RetryPolicy, failure: &Failure) -> Option<Duration> {
    let asked = failure.asked();
    let pauses = match (failure.ruling, failure.status) {
        (Some(Ruling::Final { .. }), _) => false,
        (Some(Ruling::Retry { after: Some(_) }), _) | (_, Some(429)) => true,
        (_, Some(503)) => asked.is_some(),
        _ => false,
    };
    pauses.then(|| asked.unwrap_or(policy.base).min(policy.retry_after_cap))
}

/// Returns true if a failed batch may get through in halves: it was too large, or one of its events is not acceptable.
/// Failures of authorization and of the address (401, 403, 404, 405) are the same for each half.
pub fn splits(deliveries: usize, failure: &Failure) -> bool {
    deliveries > 1
        && match failure.ruling {
            Some(Ruling::Final { deactivate }) => !deactivate && !matches!(failure.status, Some(401 | 403..=405)),
            Some(Ruling::Retry { .. }) => failure.status == Some(413),
            None => matches!(failure.status, Some(400 | 413 | 422)),
        }
}

/// Returns true if the events of a failed digest may get through one by one: the message was too large, or the destination
/// rejects it for good and says nothing of its address or of authorization (401, 403, 404, 405).
pub fn takes_apart(failure: &Failure) -> bool {
    match failure.ruling {
        Some(Ruling::Final { deactivate }) => !deactivate && !matches!(failure.status, Some(401 | 403..=405)),
        Some(Ruling::Retry { .. }) | None => failure.status == Some(413),
    }
}

/// The wait that a `Retry-After` asks for (RFC 9110, section 10.2.3): seconds, or a date as seen from `now`, zero when it
/// is past. Of several that an intermediary joined with commas (section 5.3) the longest. `None` when the value is neither.
/// Callers clamp it.
pub fn retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    one_retry_after(value, now).or_else(|| {
        let parts: Vec<&str> = value.split(',').collect();
        let seconds = parts.iter().filter_map(|part| one_retry_after(part, now)).max();
        // Two of the three forms of a date have a comma themselves.
        let dates = parts.windows(2).filter_map(|pair| one_retry_after(&pair.join(","), now)).max();
        seconds.max(dates)
    })
}

fn one_retry_after(value: &str, now: SystemTime) -> Option<Duration> {
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
        Failure { class: ErrorClass::Status, status: Some(500), retry_after: None, ruling: None, is_transient: false };

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
        assert_eq!(decide(9, 1, failure(ErrorClass::Formatter, None), 0.5), Step::Unrendered);
        for class in [ErrorClass::Dns, ErrorClass::Connect, ErrorClass::Tls, ErrorClass::Timeout, ErrorClass::Protocol]
        {
            assert!(matches!(decide(9, 1, failure(class, None), 0.5), Step::Again { .. }), "{class:?}");
        }
        assert!(matches!(decide(9, 1, failure(ErrorClass::Status, Some(404)), 0.5), Step::Again { .. }));
    }

    #[test]
    fn a_formatter_that_ran_out_of_time_is_retried_and_is_never_the_destinations_fault() {
        let busy = Failure { is_transient: true, ..Failure::of(ErrorClass::Formatter) };
        assert_eq!(decide(2, 1, busy, 1.0), again(Duration::from_secs(2)));
        assert_eq!(decide(2, 2, busy, 1.0), again(Duration::from_secs(24)));
        assert_eq!(decide(2, 3, busy, 1.0), Step::Unrendered);
        assert_eq!(decide(0, 1, busy, 1.0), Step::Unrendered);
        assert_eq!(pause(&RetryPolicy::default(), &busy), None);
    }

    #[test]
    fn the_formatters_ruling_overrules_the_status() {
        let ruled = |status, ruling| Failure { status: Some(status), ruling: Some(ruling), ..STATUS_500 };
        let deactivates = |step: &Step| matches!(step, Step::Failed { deactivate: Some(_) });
        assert_eq!(decide(9, 1, ruled(500, Ruling::Final { deactivate: false }), 0.5), FINAL);
        assert!(deactivates(&decide(9, 1, ruled(200, Ruling::Final { deactivate: true }), 0.5)));
        let retry = |seconds: Option<u64>| Ruling::Retry { after: seconds.map(Duration::from_secs) };
        assert!(matches!(decide(9, 1, ruled(410, retry(None)), 0.5), Step::Again { .. }));
        assert_eq!(decide(3, 4, ruled(200, retry(None)), 0.5), FINAL);
        assert_eq!(decide(3, 1, ruled(200, retry(Some(60))), 1.0), again(Duration::from_secs(60)));
    }

    #[test]
    fn retry_after_is_a_floor_on_every_status_and_is_clamped() {
        let seconds = Duration::from_secs;
        for status in [302, 400, 404, 408, 413, 425, 429, 500, 502, 503, 504, 529] {
            let asked = |wait| Failure { status: Some(status), retry_after: Some(wait), ..STATUS_500 };
            for jitter in [0.0, 0.5, 1.0] {
                assert_eq!(decide(3, 1, asked(seconds(120)), jitter), again(seconds(120)), "{status}");
            }
            assert_eq!(decide(3, 1, asked(seconds(1)), 1.0), again(seconds(2)), "{status}: the backoff is longer");
            assert_eq!(decide(3, 2, asked(seconds(13)), 0.0), again(seconds(13)), "{status}: jitter ends at the floor");
            // The cap: just inside, at it, just outside.
            for (wait, expected) in [(3599, 3599), (3600, 3600), (3601, 3600), (u64::MAX, 3600)] {
                assert_eq!(decide(3, 1, asked(seconds(wait)), 1.0), again(seconds(expected)), "{status}");
            }
        }
    }

    #[test]
    fn of_several_waits_the_longest_counts() {
        let seconds = |wait: Option<u64>| wait.map(Duration::from_secs);
        for (header, verdict, attempt, expected) in [
            (Some(60), Some(30), 1, 60),
            (Some(30), Some(60), 1, 60),
            (None, Some(60), 1, 60),
            (Some(60), None, 1, 60),
            (Some(60), Some(30), 3, 288),
            (None, None, 1, 2),
            (Some(1), Some(4000), 1, 3600),
        ] {
            let ruling = Some(Ruling::Retry { after: seconds(verdict) });
            let failure = Failure { retry_after: seconds(header), ruling, ..STATUS_500 };
            let step = decide(9, attempt, failure, 1.0);
            assert_eq!(step, again(Duration::from_secs(expected)), "{header:?}, {verdict:?}, attempt {attempt}");
        }
    }

    #[test]
    fn a_429_a_503_with_a_time_and_a_ruling_with_a_time_pause_the_webhook() {
        let policy = RetryPolicy::default();
        let seconds = Duration::from_secs;
        let with = |status, retry_after, ruling| Failure { status: Some(status), retry_after, ruling, ..STATUS_500 };
        let retry = |after: Option<u64>| Some(Ruling::Retry { after: after.map(seconds) });
        for (failure, expected) in [
            (with(429, Some(seconds(7)), None), Some(seconds(7))),
            (with(429, None, None), Some(policy.base)),
            (with(429, Some(seconds(1_000_000)), None), Some(policy.retry_after_cap)),
            (with(429, Some(seconds(7)), retry(None)), Some(seconds(7))),
            (with(429, None, retry(Some(9))), Some(seconds(9))),
            (with(429, Some(seconds(7)), retry(Some(9))), Some(seconds(9))),
            (with(429, Some(seconds(7)), Some(Ruling::Final { deactivate: false })), None),
            (with(200, None, retry(Some(7))), Some(seconds(7))),
            (with(200, Some(seconds(7)), retry(None)), None),
            (with(500, Some(seconds(9)), retry(Some(7))), Some(seconds(9))),
            (with(503, Some(seconds(7)), None), Some(seconds(7))),
            (with(503, Some(seconds(7)), retry(None)), Some(seconds(7))),
            (with(503, Some(seconds(1_000_000)), None), Some(policy.retry_after_cap)),
            (with(503, Some(seconds(7)), Some(Ruling::Final { deactivate: false })), None),
            (with(503, None, None), None),
            (STATUS_500, None),
            (with(500, Some(seconds(7)), None), None),
            (with(413, Some(seconds(7)), None), None),
            (with(302, Some(seconds(7)), None), None),
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
        let retry = Ruling::Retry { after: None };
        assert!(!splits(2, &ruled(retry)));
        assert!(splits(2, &Failure { status: Some(413), ..ruled(retry) }));
    }

    #[test]
    fn only_a_digest_that_is_rejected_is_taken_apart() {
        let failed = |status| Failure { status: Some(status), ..Failure::of(ErrorClass::Status) };
        for (failure, apart) in [
            (failed(413), true),
            (failed(400), false),
            (failed(500), false),
            (failed(410), false),
            (Failure::of(ErrorClass::Timeout), false),
            (Failure { ruling: Some(Ruling::Final { deactivate: false }), ..failed(200) }, true),
            (Failure { ruling: Some(Ruling::Final { deactivate: false }), ..failed(404) }, false),
            (Failure { ruling: Some(Ruling::Final { deactivate: true }), ..failed(413) }, false),
            (Failure { ruling: Some(Ruling::Retry { after: None }), ..failed(413) }, true),
            (Failure { ruling: Some(Ruling::Retry { after: None }), ..failed(429) }, false),
        ] {
            assert_eq!(takes_apart(&failure), apart, "{failure:?}");
        }
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
            ("Sun Nov  6 08:49:47 1994", seconds(10)),
            ("120, 60", seconds(120)),
            ("5,Sun, 06 Nov 1994 08:49:47 GMT", seconds(10)),
            ("Sunday, 06-Nov-94 08:49:47 GMT, Sun, 06 Nov 1994 08:49:57 GMT , 1", seconds(20)),
            ("Sun Nov  6 08:49:47 1994, x", seconds(10)),
            ("Sun, 06 Nov 1994", None),
            (",", None),
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
