//! Probes: the half-open state of the circuit breaker. A webhook that the breaker switched off gets one delivery now and
//! then, and goes on as soon as one is accepted. Pure: times and the jitter are arguments.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::delivery::Step;
use super::id::AttemptId;

/// The times after which a webhook is probed, counted from when it was switched off.
const FIRST_PROBES: [Duration; 3] =
    [Duration::from_secs(60), Duration::from_secs(5 * 60), Duration::from_secs(15 * 60)];
/// The wait between two probes after the first ones.
const FURTHER: Duration = Duration::from_secs(30 * 60);
/// The longest and the shortest wait are this share of it away from the usual one.
const JITTER: f64 = 0.1;

/// What switched a webhook off. The names are on disks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Its deliveries failed in a row: it is probed.
    Breaker,
    /// Its destination wants no more deliveries (a 410, or a formatter that read it in the response): it is never probed.
    Gone,
    /// It was switched off by a host that did not record the cause: it is not probed until it was on again.
    #[default]
    Unknown,
}

impl Cause {
    /// The cause of a trip after this step.
    pub fn of(step: &Step) -> Self {
        match step {
            Step::Failed { deactivate: Some(_) } => Self::Gone,
            _ => Self::Breaker,
        }
    }
}

/// The schedule of a webhook's probes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Probes {
    /// The number of probes that the destination did not accept.
    pub made: u32,
    /// When the next one is due, in milliseconds of the steady clock.
    pub next_ms: i64,
}

impl Probes {
    /// The schedule of a webhook that is switched off now. `jitter` is a random number from 0 (shortest wait) to 1.
    pub fn begin(now_ms: i64, jitter: f64) -> Self {
        Self { made: 0, next_ms: after(now_ms, 0, jitter) }
    }

    /// The schedule after a probe that the destination did not accept.
    #[must_use]
    pub fn failed(self, now_ms: i64, jitter: f64) -> Self {
        let made = self.made.saturating_add(1);
        Self { made, next_ms: after(now_ms, made, jitter) }
    }

    /// The same schedule with the next probe at this time, unless it is due earlier.
    #[must_use]
    pub fn by(self, ms: i64) -> Self {
        Self { next_ms: self.next_ms.min(ms), ..self }
    }

    /// The schedule as it is after a start: a wall clock that was set back meanwhile does not put the next probe off for
    /// longer than its usual wait.
    #[must_use]
    pub fn resumed(self, now_ms: i64) -> Self {
        self.by(after(now_ms, self.made, 1.0))
    }
}

/// The time after the wait that follows so many probes.
fn after(now_ms: i64, made: u32, jitter: f64) -> i64 {
    let wait = i64::try_from(wait(made, jitter).as_millis()).unwrap_or(i64::MAX);
    now_ms.saturating_add(wait)
}

/// The wait between the probe with this number, counted from 1 (0: the moment of switching off), and the next one.
fn wait(made: u32, jitter: f64) -> Duration {
    let index = made as usize;
    let before = index.checked_sub(1).and_then(|index| FIRST_PROBES.get(index)).copied().unwrap_or_default();
    let usual = FIRST_PROBES.get(index).map_or(FURTHER, |at| at.saturating_sub(before));
    usual.mul_f64(1.0 - JITTER + 2.0 * JITTER * jitter.clamp(0.0, 1.0))
}

/// The longest wait between two probes.
pub fn longest_wait() -> Duration {
    FURTHER.mul_f64(1.0 + JITTER)
}

/// Why a webhook is switched off, and what becomes of it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Trip {
    /// What switched it off.
    pub cause: Cause,
    /// The attempt with which that happened. Successes after it were under way already.
    pub attempt: Option<AttemptId>,
    /// When it is probed; `None`: it is not.
    pub probes: Option<Probes>,
    /// True once a probe was accepted, while its deliveries are queued in the order in which they go out.
    pub is_healing: bool,
}

impl Trip {
    /// The schedule, while probes are made.
    pub fn probing(&self) -> Option<Probes> {
        self.probes.filter(|_| !self.is_healing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;

    /// When probes are made of a webhook that is switched off at 0, in minutes.
    fn times(jitter: f64, count: usize) -> Vec<f64> {
        let mut probes = Probes::begin(0, jitter);
        let mut times = Vec::new();
        for _ in 0..count {
            times.push(probes.next_ms as f64 / MINUTE as f64);
            probes = probes.failed(probes.next_ms, jitter);
        }
        times
    }

    #[test]
    fn probes_are_made_after_1_5_and_15_minutes_and_then_every_30() {
        assert_eq!(times(0.5, 6), [1.0, 5.0, 15.0, 45.0, 75.0, 105.0]);
        for (jitter, share) in [(0.0, 0.9), (1.0, 1.1), (-3.0, 0.9), (7.0, 1.1)] {
            for (found, usual) in times(jitter, 6).iter().zip(times(0.5, 6)) {
                assert!((found - usual * share).abs() < 0.001, "{found} instead of {} at {jitter}", usual * share);
            }
        }
        assert_eq!(longest_wait(), Duration::from_secs(33 * 60));
    }

    #[test]
    fn a_schedule_never_ends() {
        let probes = Probes { made: u32::MAX, next_ms: i64::MAX }.failed(i64::MAX, 1.0);
        assert_eq!(probes, Probes { made: u32::MAX, next_ms: i64::MAX });
    }

    #[test]
    fn a_probe_is_due_at_the_earlier_time() {
        let probes = Probes { made: 3, next_ms: 100 };
        assert_eq!(probes.by(40), Probes { made: 3, next_ms: 40 });
        assert_eq!(probes.by(400), probes);
    }

    #[test]
    fn a_clock_that_was_set_back_puts_off_no_probe() {
        let probes = Probes { made: 0, next_ms: 100 * MINUTE };
        assert_eq!(probes.resumed(50 * MINUTE).next_ms, 50 * MINUTE + 66_000);
        assert_eq!(probes.resumed(100 * MINUTE), probes);
        assert_eq!(probes.resumed(500 * MINUTE), probes, "it is overdue");
    }

    #[test]
    fn a_destination_that_wants_no_more_is_another_cause_than_the_breaker() {
        assert_eq!(Cause::of(&Step::Failed { deactivate: Some("410".into()) }), Cause::Gone);
        assert_eq!(Cause::of(&Step::Failed { deactivate: None }), Cause::Breaker);
    }
}
