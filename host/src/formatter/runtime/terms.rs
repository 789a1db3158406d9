//! The time that one call may take.
//!
//! The limit goes by processor time, so that a busy machine does not stop a good formatter. A call that gets no processor
//! time ends in bounded time all the same.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::{StoreContextMut, UpdateDeadline};

use super::instance::InstanceState;
use super::limits::DIGEST_FACTOR;
use crate::formatter::thread::processor_time;
use crate::model::settings::SandboxSettings;

/// The wall-clock time of a call, as a multiple of its processor time: threads of low priority get a tenth of a
/// processor at least.
const WALL_CLOCK_FACTOR: u32 = 20;
/// The limit of a call while a component is checked, as a multiple of the configured one. Processor time is not the same
/// everywhere, and a component that is within the limit on instructions is not to be rejected.
const CHECK_FACTOR: u32 = 4;

/// Processor time from which a running call is long.
pub(in crate::formatter) const LONG: Duration = Duration::from_millis(5);
/// Processor time from which a call on a thread that others wait for is broken off. It is noticed at the next tick of the
/// epoch clock.
pub(in crate::formatter) const TOO_LONG_HERE: Duration = Duration::from_millis(1);

/// Calls shorter than this count with their wall-clock time. The difference is small, since a thread that loses its
/// processor waits for longer, and a thread's processor time takes a system call.
const SHORT: Duration = Duration::from_micros(200);

/// Called on a call's own thread, once, when it has become long ([`LONG`]); with its processor time so far.
pub(in crate::formatter) type OnLong = Arc<dyn Fn(Duration) + Send + Sync>;

/// What a call may take, beside the limits of its sandbox.
pub(in crate::formatter) struct Terms {
    /// Processor time.
    time: Duration,
    on_long: Option<OnLong>,
    /// True for a digest, which may take a multiple of the limits.
    pub(super) is_digest: bool,
}

impl Terms {
    /// A call of a delivery, a preview or an author's tool.
    pub(in crate::formatter) fn usual(settings: &SandboxSettings, on_long: Option<OnLong>) -> Self {
        Self { time: settings.timeout, on_long, is_digest: false }
    }

    /// A call that makes a digest of many events.
    pub(in crate::formatter) fn digest(settings: &SandboxSettings, on_long: Option<OnLong>) -> Self {
        Self { time: settings.timeout * DIGEST_FACTOR, on_long, is_digest: true }
    }

    /// A call on a thread that others wait for: it is broken off as soon as it turns out not to be brief.
    pub(in crate::formatter) fn here(settings: &SandboxSettings) -> Self {
        Self { time: settings.timeout.min(TOO_LONG_HERE), on_long: None, is_digest: false }
    }

    /// A call that checks a component, of which `left` is left for all such calls together.
    pub(in crate::formatter) fn check(settings: &SandboxSettings, left: Duration) -> Self {
        Self { time: (settings.timeout * CHECK_FACTOR).min(left), on_long: None, is_digest: false }
    }

    /// As [`Terms::check`], for a call that makes a digest.
    pub(in crate::formatter) fn check_digest(settings: &SandboxSettings, left: Duration) -> Self {
        Self { time: (settings.timeout * CHECK_FACTOR * DIGEST_FACTOR).min(left), on_long: None, is_digest: true }
    }
}

/// The limit that stopped a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Expired {
    /// This much processor time.
    Processor(Duration),
    /// This much wall-clock time.
    WallClock(Duration),
}

/// One running call's time.
#[derive(Clone, Copy)]
pub(super) struct Stopwatch {
    processor: Duration,
    wall_clock: Instant,
}

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "measures a call, which does not give up its thread")]
    pub(super) fn start() -> Self {
        Self { processor: processor_time(), wall_clock: Instant::now() }
    }

    pub(super) fn processor(&self) -> Duration {
        processor_time().saturating_sub(self.processor)
    }

    pub(super) fn wall_clock(&self) -> Duration {
        self.wall_clock.elapsed()
    }

    /// Wall-clock and processor time of a call that has ended.
    pub(super) fn stop(&self) -> (Duration, Duration) {
        let wall_clock = self.wall_clock();
        (wall_clock, if wall_clock < SHORT { wall_clock } else { self.processor() })
    }
}

/// Judges a call at each tick of the epoch clock, on its own thread.
pub(super) fn at_tick(
    terms: Terms,
    stopwatch: Stopwatch,
) -> impl FnMut(StoreContextMut<'_, InstanceState>) -> wasmtime::Result<UpdateDeadline> + Send + Sync + 'static {
    let Terms { time, mut on_long, .. } = terms;
    move |mut store| {
        let processor = stopwatch.processor();
        let expired = expired(processor, stopwatch.wall_clock(), time);
        if expired.is_some() {
            store.data_mut().expired = expired;
            return Ok(UpdateDeadline::Interrupt);
        }
        if processor >= LONG
            && let Some(on_long) = on_long.take()
        {
            on_long(processor);
        }
        Ok(UpdateDeadline::Continue(1))
    }
}

fn expired(processor: Duration, wall_clock: Duration, time: Duration) -> Option<Expired> {
    if processor >= time {
        Some(Expired::Processor(time))
    } else if wall_clock >= time * WALL_CLOCK_FACTOR {
        Some(Expired::WallClock(time * WALL_CLOCK_FACTOR))
    } else {
        None
    }
}

/// The limit in words.
pub(super) fn words(expired: Expired) -> String {
    match expired {
        Expired::Processor(limit) => format!("{} ms of processor time a call", limit.as_millis()),
        Expired::WallClock(limit) => {
            format!("{} ms of wall-clock time a call (this machine was busy)", limit.as_millis())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_the_limit_and_wall_clock_time_the_backstop() {
        let ms = Duration::from_millis;
        let time = ms(500);
        let nanosecond = Duration::from_nanos(1);
        // A busy machine: the call got a twentieth of a processor.
        assert_eq!(expired(ms(499), ms(9_999), time), None);
        assert_eq!(expired(time - nanosecond, time * 2, time), None);
        assert_eq!(expired(time, time, time), Some(Expired::Processor(time)));
        assert_eq!(expired(ms(0), ms(10_000) - nanosecond, time), None);
        assert_eq!(expired(ms(0), ms(10_000), time), Some(Expired::WallClock(ms(10_000))));
    }

    #[test]
    fn the_words_name_the_kind_of_time() {
        let settings = SandboxSettings { timeout: Duration::from_millis(250), ..SandboxSettings::default() };
        let stopped = |terms: &Terms, processor, wall_clock| {
            expired(Duration::from_millis(processor), Duration::from_millis(wall_clock), terms.time).map(words)
        };
        let usual = Terms::usual(&settings, None);
        assert_eq!(stopped(&usual, 250, 250).as_deref(), Some("250 ms of processor time a call"));
        let busy = stopped(&usual, 0, 5000).expect("stopped");
        assert!(busy.starts_with("5000 ms of wall-clock time"), "{busy}");
        // A check may take longer than the setting says, and its words name what it was given.
        let check = Terms::check(&settings, Duration::from_secs(60));
        assert_eq!(stopped(&check, 999, 999), None);
        assert_eq!(stopped(&check, 1000, 1000).as_deref(), Some("1000 ms of processor time a call"));
        let last = Terms::check(&settings, Duration::from_millis(40));
        assert_eq!(stopped(&last, 40, 40).as_deref(), Some("40 ms of processor time a call"));
    }
}
