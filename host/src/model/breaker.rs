//! The circuit breaker: when a webhook's failures switch it off. Pure: the store applies it with each outcome.
//!
//! It counts deliveries that failed for good, in a row. A single failed attempt that is retried does not move it, a
//! delivery that the formatter could not render is no fault of the destination, and any success closes the count.

use super::delivery::Step;
use super::time::Timestamp;
use super::webhook::HealthValues;

/// The counters after a delivery's step, and the reason to switch the webhook off, if there is one: the `threshold`th
/// delivery in a row failed for good, or the destination said that it wants no more. `error` is the attempt's, in words.
///
/// Steps that say nothing of the destination (skipped, dropped, cut by a shutdown) change nothing.
pub fn after(
    health: HealthValues,
    step: &Step,
    error: Option<&str>,
    now: Timestamp,
    threshold: u32,
) -> (HealthValues, Option<String>) {
    match step {
        Step::Delivered => (HealthValues { failure_count: 0, last_success_at: Some(now), ..health }, None),
        Step::Again { counts: true, .. } | Step::Unrendered => {
            (HealthValues { last_failure_at: Some(now), ..health }, None)
        }
        Step::Failed { deactivate } => {
            let failure_count = health.failure_count.saturating_add(1);
            let trips = deactivate.is_some() || failure_count >= threshold;
            let health = HealthValues { failure_count, last_failure_at: Some(now), ..health };
            (health, trips.then(|| reason(deactivate.as_deref(), failure_count, error)))
        }
        Step::Again { counts: false, .. } | Step::Skipped | Step::Dropped => (health, None),
    }
}

/// The destination's wish, if it has one, the number of failures, and the last of them in words.
fn reason(deactivate: Option<&str>, failure_count: u32, error: Option<&str>) -> String {
    let count = match failure_count {
        1 => "1 delivery failed".to_owned(),
        several => format!("{several} deliveries in a row failed"),
    };
    let last = error.map(|error| format!("the last: {error}"));
    let parts = [deactivate.map(str::to_owned), Some(count), last];
    parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const ERROR: Option<&str> = Some("status: the destination responded with 503 Service Unavailable");

    const FAILED: Step = Step::Failed { deactivate: None };

    fn now() -> Timestamp {
        Timestamp::from_unix_ms(1_800_000_000_000)
    }

    fn failures(failure_count: u32) -> HealthValues {
        HealthValues { failure_count, ..HealthValues::default() }
    }

    #[test]
    fn trips_at_the_threshold_and_not_one_before() {
        let (health, reason) = after(failures(3), &FAILED, ERROR, now(), 5);
        assert_eq!((health.failure_count, reason), (4, None));
        let (health, reason) = after(health, &FAILED, ERROR, now(), 5);
        assert_eq!(health.failure_count, 5);
        let words =
            "5 deliveries in a row failed; the last: status: the destination responded with 503 Service Unavailable";
        assert_eq!(reason.as_deref(), Some(words));
        // Switched on again without a success, the next failure trips it again.
        let again = after(health, &FAILED, None, now(), 5).1;
        assert_eq!(again.as_deref(), Some("6 deliveries in a row failed"));
        let first = after(failures(0), &FAILED, Some("dns: no such name"), now(), 1).1;
        assert_eq!(first.as_deref(), Some("1 delivery failed; the last: dns: no such name"), "a threshold of one");
        assert_eq!(after(failures(u32::MAX), &FAILED, ERROR, now(), 5).0.failure_count, u32::MAX);
    }

    #[test]
    fn a_success_closes_the_count() {
        let (health, reason) = after(failures(4), &Step::Delivered, None, now(), 5);
        let expected = HealthValues { failure_count: 0, last_success_at: Some(now()), last_failure_at: None };
        assert_eq!((health, reason), (expected, None));
    }

    #[test]
    fn an_attempt_that_is_retried_is_seen_and_not_counted() {
        let again = |counts| Step::Again { after: Duration::from_secs(2), counts };
        let (health, reason) = after(failures(4), &again(true), ERROR, now(), 5);
        assert_eq!((health, reason), (HealthValues { last_failure_at: Some(now()), ..failures(4) }, None));
        for step in [again(false), Step::Skipped, Step::Dropped] {
            assert_eq!(after(failures(4), &step, ERROR, now(), 1), (failures(4), None), "{step:?}");
        }
    }

    #[test]
    fn a_delivery_that_could_not_be_rendered_neither_counts_nor_closes_the_count() {
        let error = Some("formatter: the formatter crashed");
        let (health, reason) = after(failures(4), &Step::Unrendered, error, now(), 1);
        assert_eq!((health, reason), (HealthValues { last_failure_at: Some(now()), ..failures(4) }, None));
        assert!(after(health, &FAILED, ERROR, now(), 5).1.is_some(), "the count goes on where it was");
    }

    #[test]
    fn a_destination_that_wants_no_more_trips_it_at_once() {
        let step = Step::Failed { deactivate: Some("it wants no more".into()) };
        let reason = |count, error| after(failures(count), &step, error, now(), 5).1.expect("a reason");
        assert_eq!(reason(0, Some("status: 410")), "it wants no more; 1 delivery failed; the last: status: 410");
        assert_eq!(reason(8, None), "it wants no more; 9 deliveries in a row failed", "its own words come first");
    }
}
