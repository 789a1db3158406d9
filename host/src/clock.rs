//! The system's clocks behind the [`Clock`] trait.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::SystemTime;

use tokio::time::Instant;

use crate::model::time::{Clock, Timestamp};

/// How far apart the two clocks may run before times are shown anew, in milliseconds. Their milliseconds begin at different
/// moments and NTP slews the wall clock, so the same time would be shown now one, now the other millisecond.
const DRIFT_MS: u64 = 100;

/// The wall clock, and a steady clock that was set to it once and never jumps: due times are read from the latter.
pub(crate) struct SystemClock {
    start_ms: i64,
    start: Instant,
    /// What to add to a time of the steady clock to show it.
    ahead_ms: AtomicI64,
}

impl SystemClock {
    /// Sets the steady clock to the wall clock's current time.
    pub(crate) fn start() -> Self {
        Self { start_ms: wall().unix_ms(), start: Instant::now(), ahead_ms: AtomicI64::new(0) }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        wall()
    }

    fn steady_ms(&self) -> i64 {
        self.start_ms.saturating_add(i64::try_from(self.start.elapsed().as_millis()).unwrap_or(i64::MAX))
    }

    fn wall_at(&self, steady_ms: i64) -> Timestamp {
        let measured = self.now().unix_ms().saturating_sub(self.steady_ms());
        let ahead = shown_ahead(self.ahead_ms.load(Ordering::Relaxed), measured);
        self.ahead_ms.store(ahead, Ordering::Relaxed);
        Timestamp::from_unix_ms(steady_ms.saturating_add(ahead))
    }
}

/// How far ahead the wall clock is shown to be: as before, unless it was set.
fn shown_ahead(before: i64, measured: i64) -> i64 {
    if measured.abs_diff(before) <= DRIFT_MS { before } else { measured }
}

fn wall() -> Timestamp {
    Timestamp::from_system(SystemTime::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_shown_the_same_until_the_wall_clock_is_set() {
        for (before, measured, shown) in
            [(0, 1, 0), (0, -1, 0), (0, 100, 0), (0, 101, 101), (0, -101, -101), (250, 349, 250)]
        {
            assert_eq!(shown_ahead(before, measured), shown, "{before} {measured}");
        }
    }
}
