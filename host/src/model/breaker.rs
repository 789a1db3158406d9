//! The circuit breaker: when a webhook's failures switch it off. Pure: the store applies it with each outcome.
//!
//! It counts deliveries that failed for good, in a row. A single failed attempt that is retried does not move it, and any
//! success closes the count.

use super::delivery::Step;
use super::time::Timestamp;
use super::webhook::HealthValues;

/// The counters after a delivery's step, and the reason to switch the webhook off, if there is one: the `threshold`th
/// delivery in a row failed for good, or the destination said that it wants no more.
///
/// Steps that say nothing of the destination (skipped, dropped, cut by a shutdown) change nothing.
pub fn after(health: HealthValues, step: &Step, now: Timestamp, threshold: u32) -> (HealthValues, Option<String>) {
    match step {
        Step::Delivered => (HealthValues { failure_count: 0, last_success_at: Some(now), ..health }, None),
        Step::Again { counts: true, .. } => (HealthValues { last_failure_at: Some(now), ..health }, None),
        Step::Failed { deactivate } => {
            let failure_count = health.failure_count.saturating_add(1);
            let tripped = (failure_count >= threshold)
                .then(|| format!("{failure_count} deliveries in a row failed; the last one at {now}"));
            let health = HealthValues { failure_count, last_failure_at: Some(now), ..health };
            (health, deactivate.clone().or(tripped))
        }
        Step::Again { counts: false, .. } | Step::Skipped | Step::Dropped => (health, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const FAILED: Step = Step::Failed { deactivate: None };

    fn now() -> Timestamp {
        Timestamp::from_unix_ms(1_800_000_000_000)
    }

    fn failures(failure_count: u32) -> HealthValues {
        HealthValues { failure_count, ..HealthValues::default() }
    }

    #[test]
    fn trips_at_the_threshold_and_not_one_before() {
        let (health, reason) = after(failures(3), &FAILED, now(), 5);
        assert_eq!((health.failure_count, reason), (4, None));
        let (health, reason) = after(health, &FAILED, now(), 5);
        assert_eq!(health.failure_count, 5);
        let reason = reason.expect("a reason");
        assert!(reason.starts_with("5 deliveries in a row failed; the last one at 2027-01-15"), "{reason}");
        // Switched on again without a success, the next failure trips it again.
        assert!(after(health, &FAILED, now(), 5).1.is_some());
        assert!(after(failures(0), &FAILED, now(), 1).1.is_some(), "a threshold of one");
        assert_eq!(after(failures(u32::MAX), &FAILED, now(), 5).0.failure_count, u32::MAX);
    }

    #[test]
    fn a_success_closes_the_count() {
        let (health, reason) = after(failures(4), &Step::Delivered, now(), 5);
        let expected = HealthValues { failure_count: 0, last_success_at: Some(now()), last_failure_at: None };
        assert_eq!((health, reason), (expected, None));
    }

    #[test]
    fn an_attempt_that_is_retried_is_seen_and_not_counted() {
        let again = |counts| Step::Again { after: Duration::from_secs(2), counts };
        let (health, reason) = after(failures(4), &again(true), now(), 5);
        assert_eq!((health, reason), (HealthValues { last_failure_at: Some(now()), ..failures(4) }, None));
        for step in [again(false), Step::Skipped, Step::Dropped] {
            assert_eq!(after(failures(4), &step, now(), 1), (failures(4), None), "{step:?}");
        }
    }

    #[test]
    fn a_destination_that_wants_no_more_trips_it_at_once() {
        let step = Step::Failed { deactivate: Some("410".into()) };
        assert_eq!(after(failures(0), &step, now(), 5).1.as_deref(), Some("410"));
        assert_eq!(after(failures(9), &step, now(), 5).1.as_deref(), Some("410"), "its own words come first");
    }
}
