//! The threads and tasks that the host cannot do without. One that dies is never silent: it is logged, `/readyz` fails with
//! its name, a metric shows it, and when nothing works without it the process ends, so that its supervisor starts it
//! again. One that works on something for too long, such as an fsync that hangs, fails `/readyz` until it moves again.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::clock::SystemClock;
use crate::model::time::Clock;

/// Interval at which [`Watchdog::report`] looks for threads that do not move.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// The value of [`Entry::since`] while a thread waits for work.
const IDLE: i64 = i64::MIN;

/// What the host can still do without a thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Need {
    /// Nothing: the process ends.
    Vital,
    /// Something: `/readyz` fails, and what works goes on.
    Partial,
}

/// A watched thread or task, as the metrics show it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ThreadHealth {
    /// Its name.
    pub name: String,
    /// True while it lives and moves.
    pub healthy: bool,
}

/// The register of watched threads; cheap to clone.
#[derive(Clone)]
pub struct Watchdog(Arc<Inner>);

struct Inner {
    clock: Arc<dyn Clock>,
    entries: Mutex<Vec<Arc<Entry>>>,
    /// True once the host is stopping: tasks end then.
    closing: AtomicBool,
    /// Cancelled when a vital thread has died.
    vital_died: CancellationToken,
}

struct Entry {
    name: String,
    need: Need,
    /// The longest that it may work without a beat; `None` when its work takes any time.
    limit: Option<Duration>,
    /// Milliseconds of the steady clock at its last beat, or [`IDLE`].
    since: AtomicI64,
    dead: AtomicBool,
    /// True while a stall is logged.
    stalled: AtomicBool,
}

impl Entry {
    /// How long it has not moved, when that is too long.
    fn stall(&self, now_ms: i64) -> Option<Duration> {
        let since = self.since.load(Ordering::Relaxed);
        let limit = self.limit.filter(|_| since != IDLE)?;
        let still = Duration::from_millis(now_ms.saturating_sub(since).max(0).unsigned_abs());
        (still > limit).then_some(still)
    }

    fn fault(&self, now_ms: i64) -> Option<String> {
        if self.dead.load(Ordering::Relaxed) {
            return Some(format!("{} has died; the host must be restarted", self.name));
        }
        self.stall(now_ms).map(|still| format!("{} has not moved for {} s", self.name, still.as_secs()))
    }
}

impl Watchdog {
    /// A register without threads. Stalls are measured with the clock's steady time.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Inner {
            clock,
            entries: Mutex::default(),
            closing: AtomicBool::new(false),
            vital_died: CancellationToken::new(),
        }))
    }

    /// Registers a thread or task that is about to start. `limit` is the longest that it may work without a beat.
    pub fn watch(&self, name: impl Into<String>, need: Need, limit: Option<Duration>) -> Watched {
        let (name, since) = (name.into(), AtomicI64::new(IDLE));
        let entry = Entry { name, need, limit, since, dead: AtomicBool::new(false), stalled: AtomicBool::new(false) };
        let entry = Arc::new(entry);
        self.entries().push(Arc::clone(&entry));
        Watched { watchdog: self.clone(), entry, ended: false }
    }

    /// The host is stopping: from now on tasks may end.
    pub fn close(&self) {
        self.0.closing.store(true, Ordering::Relaxed);
    }

    /// The first fault, a sentence; `None` while everything lives and moves.
    pub fn fault(&self) -> Option<String> {
        let now = self.0.clock.steady_ms();
        self.entries().iter().find_map(|entry| entry.fault(now))
    }

    /// Every watched thread; those of one name together, healthy if all of them are.
    pub fn threads(&self) -> Vec<ThreadHealth> {
        let now = self.0.clock.steady_ms();
        let mut threads: Vec<ThreadHealth> = Vec::new();
        for entry in self.entries().iter() {
            let healthy = entry.fault(now).is_none();
            match threads.iter_mut().find(|known| known.name == entry.name) {
                Some(known) => known.healthy &= healthy,
                None => threads.push(ThreadHealth { name: entry.name.clone(), healthy }),
            }
        }
        threads
    }

    /// Waits until a vital thread has died; the sentence that says so.
    pub async fn vital_death(&self) -> String {
        self.0.vital_died.cancelled().await;
        let is_it = |entry: &&Arc<Entry>| entry.need == Need::Vital && entry.dead.load(Ordering::Relaxed);
        let name = self.entries().iter().find(is_it).map(|entry| entry.name.clone());
        format!("{} has died", name.unwrap_or_default())
    }

    /// Logs threads that do not move, and when they move again. Never returns.
    pub async fn report(&self) {
        loop {
            tokio::time::sleep(REPORT_INTERVAL).await;
            self.report_once();
        }
    }

    fn report_once(&self) {
        let now = self.0.clock.steady_ms();
        for entry in self.entries().iter() {
            let stall = entry.stall(now);
            match (stall, entry.stalled.swap(stall.is_some(), Ordering::Relaxed)) {
                (Some(still), false) => {
                    tracing::error!(thread = entry.name, ?still, "a thread of the host does not move");
                }
                (None, true) => tracing::info!(thread = entry.name, "a thread of the host moves again"),
                _ => {}
            }
        }
    }

    fn entries(&self) -> MutexGuard<'_, Vec<Arc<Entry>>> {
        self.0.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For tools and tests, where nobody asks.
impl Default for Watchdog {
    fn default() -> Self {
        Self::new(Arc::new(SystemClock::start()))
    }
}

/// A registered thread or task. Dropped without an orderly end, as by a panic, it counts as dead.
pub struct Watched {
    watchdog: Watchdog,
    entry: Arc<Entry>,
    ended: bool,
}

impl Watched {
    /// Runs a thread's work. A return is its orderly end, a panic its death.
    pub fn run<T>(mut self, work: impl FnOnce(&Pulse) -> T) -> T {
        let done = work(&self.pulse());
        self.ended = true;
        done
    }

    /// Runs a task. It must not end before [`Watchdog::close`]. Each poll of it counts as work, so one that blocks is
    /// seen.
    pub async fn task<F: Future>(self, future: F) -> F::Output {
        let pulse = self.pulse();
        let mut future = pin!(future);
        poll_fn(|context| {
            pulse.beat();
            let polled = future.as_mut().poll(context);
            pulse.idle();
            polled
        })
        .await
    }

    /// Its pulse, for work that is not one call or future.
    pub fn pulse(&self) -> Pulse {
        Pulse { clock: Arc::clone(&self.watchdog.0.clock), entry: Arc::clone(&self.entry) }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let panicked = std::thread::panicking();
        if self.ended || (!panicked && self.watchdog.0.closing.load(Ordering::Relaxed)) {
            self.watchdog.entries().retain(|entry| !Arc::ptr_eq(entry, &self.entry));
            return;
        }
        self.entry.dead.store(true, Ordering::Relaxed);
        let how = if panicked { "panicked" } else { "ended" };
        tracing::error!(thread = self.entry.name, how, "a thread that the host needs has died");
        if self.entry.need == Need::Vital {
            self.watchdog.0.vital_died.cancel();
        }
    }
}

/// The signs of life of a watched thread.
pub struct Pulse {
    clock: Arc<dyn Clock>,
    entry: Arc<Entry>,
}

impl Pulse {
    /// It moves, and has work.
    pub fn beat(&self) {
        self.entry.since.store(self.clock.steady_ms(), Ordering::Relaxed);
    }

    /// It waits for work, for as long as that takes.
    pub fn idle(&self) {
        self.entry.since.store(IDLE, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::time::Timestamp;

    struct Hand(AtomicI64);

    impl Clock for Hand {
        fn now(&self) -> Timestamp {
            Timestamp::default()
        }

        fn steady_ms(&self) -> i64 {
            self.0.load(Ordering::Relaxed)
        }
    }

    fn watchdog() -> (Watchdog, Arc<Hand>) {
        let hand = Arc::new(Hand(AtomicI64::new(0)));
        (Watchdog::new(Arc::clone(&hand) as Arc<dyn Clock>), hand)
    }

    const LIMIT: Option<Duration> = Some(Duration::from_secs(30));

    #[test]
    fn a_thread_that_panics_is_dead_and_one_that_returns_is_gone() {
        let (watchdog, _) = watchdog();
        let (good, bad) = (watchdog.watch("good", Need::Vital, None), watchdog.watch("bad", Need::Partial, None));
        let healthy = |name: &str, healthy| ThreadHealth { name: name.into(), healthy };
        assert_eq!(watchdog.threads(), [healthy("good", true), healthy("bad", true)]);
        assert_eq!(watchdog.fault(), None);
        assert_eq!(std::thread::spawn(move || good.run(|_| 7)).join().expect("it returned"), 7);
        assert_eq!((watchdog.threads(), watchdog.fault()), (vec![healthy("bad", true)], None));
        std::thread::spawn(move || bad.run(|_| panic!("on purpose"))).join().expect_err("it panicked");
        assert_eq!(watchdog.threads(), [healthy("bad", false)]);
        assert_eq!(watchdog.fault().as_deref(), Some("bad has died; the host must be restarted"));
        // Also after the host began to stop: a panic is never an orderly end.
        watchdog.close();
        assert!(watchdog.fault().is_some());
    }

    #[test]
    fn threads_of_one_name_are_healthy_if_all_are() {
        let (watchdog, _) = watchdog();
        let _first = watchdog.watch("formatter", Need::Partial, None);
        let second = watchdog.watch("formatter", Need::Partial, None);
        let all = |healthy| [ThreadHealth { name: "formatter".into(), healthy }];
        assert_eq!(watchdog.threads(), all(true));
        std::thread::spawn(move || second.run(|_| panic!("on purpose"))).join().expect_err("it panicked");
        assert_eq!(watchdog.threads(), all(false));
    }

    #[tokio::test]
    async fn only_the_death_of_a_vital_one_ends_the_process() {
        let (watchdog, _) = watchdog();
        let (partial, vital) =
            (watchdog.watch("upkeep", Need::Partial, None), watchdog.watch("api", Need::Vital, None));
        tokio::spawn(partial.task(async { panic!("on purpose") })).await.expect_err("it panicked");
        assert!(watchdog.fault().is_some() && !watchdog.0.vital_died.is_cancelled());
        // A task that returns while the host runs has died too.
        tokio::spawn(vital.task(async {})).await.expect("it returned");
        assert_eq!(watchdog.vital_death().await, "api has died");
    }

    #[tokio::test]
    async fn tasks_end_and_are_aborted_when_the_host_stops() {
        let (watchdog, _) = watchdog();
        let ends = watchdog.watch("ends", Need::Vital, None);
        let aborted = watchdog.watch("aborted", Need::Vital, None);
        watchdog.close();
        tokio::spawn(ends.task(async {})).await.expect("it returned");
        let aborted = tokio::spawn(aborted.task(std::future::pending::<()>()));
        aborted.abort();
        aborted.await.expect_err("it was aborted");
        assert_eq!((watchdog.threads(), watchdog.fault()), (Vec::new(), None));
        assert!(!watchdog.0.vital_died.is_cancelled());
    }

    #[test]
    fn work_without_a_beat_is_a_stall_until_the_next_one() {
        let (watchdog, hand) = watchdog();
        let watched = watchdog.watch("store-writer", Need::Vital, LIMIT);
        let pulse = watched.pulse();
        hand.0.store(1_000_000, Ordering::Relaxed);
        assert_eq!(watchdog.fault(), None, "it waits for work");
        pulse.beat();
        hand.0.fetch_add(30_000, Ordering::Relaxed);
        assert_eq!(watchdog.fault(), None);
        hand.0.fetch_add(1, Ordering::Relaxed);
        assert_eq!(watchdog.fault().as_deref(), Some("store-writer has not moved for 30 s"));
        watchdog.report_once();
        assert!(watched.entry.stalled.load(Ordering::Relaxed));
        pulse.beat();
        assert_eq!(watchdog.fault(), None);
        watchdog.report_once();
        assert!(!watched.entry.stalled.load(Ordering::Relaxed));
        hand.0.fetch_add(40_000, Ordering::Relaxed);
        pulse.idle();
        assert_eq!(watchdog.fault(), None);
        watched.run(|_| ());
    }

    #[tokio::test]
    async fn a_task_that_blocks_in_a_poll_is_a_stall_and_one_that_waits_is_not() {
        let (watchdog, hand) = watchdog();
        let task = watchdog.watch("scheduler", Need::Vital, LIMIT);
        watchdog.close();
        let seen = Mutex::new(None);
        let mut polls = 0;
        let blocking = poll_fn(|context| {
            polls += 1;
            // The first poll takes a minute, then it waits as long.
            hand.0.fetch_add(60_000, Ordering::Relaxed);
            if polls == 1 {
                *seen.lock().expect("not poisoned") = watchdog.fault();
                context.waker().wake_by_ref();
                return std::task::Poll::Pending;
            }
            std::task::Poll::Ready(())
        });
        task.task(blocking).await;
        assert_eq!(seen.into_inner().expect("not poisoned").as_deref(), Some("scheduler has not moved for 60 s"));
    }
}
