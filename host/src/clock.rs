//! The system's clocks behind the [`Clock`] trait.

use std::time::SystemTime;

use tokio::time::Instant;

use crate::model::time::{Clock, Timestamp};

/// The wall clock, and a steady clock that was set to it once and never jumps: due times are read from the latter.
pub(crate) struct SystemClock {
    start_ms: i64,
    start: Instant,
}

impl SystemClock {
    /// Sets the steady clock to the wall clock's current time.
    pub(crate) fn start() -> Self {
        Self { start_ms: wall().unix_ms(), start: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        wall()
    }

    fn steady_ms(&self) -> i64 {
        self.start_ms.saturating_add(i64::try_from(self.start.elapsed().as_millis()).unwrap_or(i64::MAX))
    }
}

fn wall() -> Timestamp {
    Timestamp::from_system(SystemTime::now())
}
