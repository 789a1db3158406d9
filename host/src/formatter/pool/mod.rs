//! The threads that run calls, apart from every async runtime: a formatter that loops delays neither a timer nor a
//! request, nor another formatter's call ([`queue`]).
//!
//! A switch to such a thread and back costs more than a call that is known to be brief. So a thread that permits it
//! ([`allow_calls_here`]) runs those itself. One that turns out not to be brief is broken off within [`TOO_LONG_HERE`] and
//! a tick of the epoch clock, and made again on a thread of the pool, as are its component's next calls.
//!
//! A normal thread whose call becomes long lowers its priority, which it cannot raise again, and ends with that call;
//! another one takes its place at once. So at every moment as many normal threads as there should be are free, or will be
//! within [`LONG`].

mod cost;
mod queue;
#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

pub(super) use cost::CallClass;
use queue::{Here, HereRun, Queue, RunId, Tier};
pub(super) use queue::{Order, ShareKey};

#[cfg(doc)]
use super::runtime::{LONG, TOO_LONG_HERE};
use super::runtime::{OnLong, RenderError};
use super::thread::{lower_priority, processor_time};
use crate::watchdog::{Need, Watchdog};

/// Calls on their callers' threads at the same time: the deliveries' runtime has as many workers.
const CALLS_HERE: usize = 2;
/// The largest expected cost of a call on its caller's thread. tokio looks at its timers after 61 turns of tasks at the
/// latest, so that even calls that all cost as much delay a timer by a few milliseconds only.
pub const COST_HERE: Duration = Duration::from_micros(100);

/// Normal threads that may be replaced at the same time: formatters that all begin to loop within moments.
const REPLACED: usize = 6;

/// A call; it says whether it was made, or skipped since nobody waits for it any more.
type Job = Box<dyn FnOnce(Option<OnLong>) -> bool + Send>;

/// The number of threads of each tier, and the calls that may run beside them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Sizes {
    normal: usize,
    slow: usize,
    here: Here,
}

impl Sizes {
    /// The threads for a machine with this many processors. One normal thread is for brief calls alone, so there are two
    /// at least. Slow calls leave one processor to the others.
    pub(super) fn for_processors(processors: usize) -> Self {
        let here = Here { calls: CALLS_HERE, cost: COST_HERE };
        Self { normal: processors.max(2), slow: processors.saturating_sub(1).max(1), here }
    }

    /// The same, with another bound on the expected cost of calls on their callers' threads.
    pub(super) fn with_cost_here(self, cost: Duration) -> Self {
        Self { here: Here { cost, ..self.here }, ..self }
    }

    /// Calls that may run at the same time.
    pub(super) fn calls(self) -> usize {
        self.normal + REPLACED + self.slow + 1 + self.here.calls
    }
}

struct State {
    queue: Queue<Job>,
    /// Threads that were replaced and still run the call for which they were.
    replaced: usize,
    /// Threads that were started, for their names.
    started: usize,
    stopping: bool,
}

struct Inner {
    state: Mutex<State>,
    /// Signalled when a thread of the tier may find a call.
    normal: Condvar,
    slow: Condvar,
    background: Condvar,
    threads: Mutex<Vec<JoinHandle<()>>>,
    stack_bytes: usize,
    start: Instant,
    watchdog: Watchdog,
}

/// The threads and their queue.
pub(super) struct Pool(Arc<Inner>);

impl Pool {
    /// Starts the threads, each with a stack of `stack_bytes`.
    #[expect(clippy::disallowed_methods, reason = "the queue's time begins here; its tests have a time of their own")]
    pub(super) fn new(sizes: Sizes, stack_bytes: usize, watchdog: &Watchdog) -> std::io::Result<Self> {
        let queue = Queue::new(sizes.normal).with_here(sizes.here);
        let pool = Self(Arc::new(Inner {
            state: Mutex::new(State { queue, replaced: 0, started: 0, stopping: false }),
            normal: Condvar::new(),
            slow: Condvar::new(),
            background: Condvar::new(),
            threads: Mutex::default(),
            stack_bytes,
            start: Instant::now(),
            watchdog: watchdog.clone(),
        }));
        let tiers = [(Tier::Normal, sizes.normal), (Tier::Slow, sizes.slow), (Tier::Background, 1)];
        for tier in tiers.into_iter().flat_map(|(tier, count)| std::iter::repeat_n(tier, count)) {
            pool.0.spawn(tier)?;
        }
        Ok(pool)
    }

    /// Runs a call on one of the threads. Calls of deliveries are bounded by the attempts in flight; callers bound those of
    /// the background.
    ///
    /// # Errors
    /// [`RenderError::Stopping`] when the pool shuts down.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        order: Order,
        call: impl FnOnce(Option<OnLong>) -> T + Send + 'static,
    ) -> Result<T, RenderError> {
        let (reply, response) = oneshot::channel();
        let job: Job = Box::new(move |on_long| {
            // An aborted attempt has dropped its receiver: the call is skipped.
            let is_wanted = !reply.is_closed();
            if is_wanted {
                let _ = reply.send(call(on_long));
            }
            is_wanted
        });
        self.0.push(order, job)?;
        response.await.map_err(|_| RenderError::Stopping)
    }

    /// Runs a call for a delivery on the current thread, if that permits it and the call is known to be brief. `None` if the
    /// call is to be made by [`Pool::run`]: it was not begun, or has no result that counts. The call returns its processor
    /// time, too.
    pub(super) fn run_here<T>(
        &self,
        key: ShareKey,
        class: CallClass,
        call: impl FnOnce() -> (Duration, Option<T>),
    ) -> Option<T> {
        if !ALLOWED_HERE.get() {
            return None;
        }
        let run = self.0.begin_here(key, class)?;
        // A panic of the host in one call must not end the attempt: on the pool it is reported.
        let called = catch_unwind(AssertUnwindSafe(call));
        let (used, result) = called.unwrap_or((Duration::ZERO, None));
        self.0.finish_here(run, used);
        result
    }

    /// Number of calls of a component that wait for a thread.
    pub(super) fn waiting(&self, key: &ShareKey) -> usize {
        self.0.state().queue.waiting_of(key)
    }

    /// Number of previews that wait for a thread.
    pub(super) fn waiting_in_background(&self) -> usize {
        self.0.state().queue.background()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.stopping = true;
        state.queue.clear();
        drop(state);
        self.0.signals().for_each(Condvar::notify_all);
        // A thread that is started from now on sees that the pool is stopping.
        let threads = std::mem::take(&mut *self.0.threads());
        for thread in threads {
            let _ = thread.join();
        }
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn threads(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn signals(&self) -> impl Iterator<Item = &Condvar> {
        [&self.normal, &self.slow, &self.background].into_iter()
    }

    fn signal(&self, tier: Tier) -> &Condvar {
        match tier {
            Tier::Normal => &self.normal,
            Tier::Slow => &self.slow,
            Tier::Background => &self.background,
        }
    }

    /// The queue's time.
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn spawn(self: &Arc<Self>, tier: Tier) -> std::io::Result<()> {
        let number = {
            let mut state = self.state();
            state.started += 1;
            state.started
        };
        let inner = Arc::clone(self);
        let name = match tier {
            Tier::Normal => format!("formatter-{number}"),
            Tier::Slow => format!("fmt-slow-{number}"),
            Tier::Background => "fmt-background".to_owned(),
        };
        // By tier: threads are replaced, and each name is a series of a metric.
        let watched = self.watchdog.watch(tier.name(), Need::Partial, None);
        let thread = std::thread::Builder::new().name(name).stack_size(self.stack_bytes).spawn(move || {
            watched.run(|_| {
                match tier {
                    Tier::Normal => {}
                    Tier::Slow | Tier::Background => lower_priority(),
                }
                inner.work(tier);
            });
        })?;
        let mut threads = self.threads();
        threads.retain(|thread| !thread.is_finished());
        threads.push(thread);
        Ok(())
    }

    fn push(&self, order: Order, job: Job) -> Result<(), RenderError> {
        let now = self.now();
        let mut state = self.state();
        if state.stopping {
            return Err(RenderError::Stopping);
        }
        let tiers = state.queue.push(order, job, now);
        drop(state);
        tiers.iter().for_each(|tier| self.signal(*tier).notify_one());
        Ok(())
    }

    fn begin_here(&self, key: ShareKey, class: CallClass) -> Option<HereRun> {
        let now = self.now();
        let mut state = self.state();
        if state.stopping { None } else { state.queue.begin_here(key, class, now) }
    }

    fn finish_here(&self, run: HereRun, used: Duration) {
        let now = self.now();
        let unblocks = self.state().queue.finish_here(run, used, now);
        if unblocks {
            self.normal.notify_one();
            self.slow.notify_one();
        }
    }

    /// Runs calls until the pool stops, or until this thread was replaced.
    fn work(self: &Arc<Self>, tier: Tier) {
        while let Some((id, job)) = self.next(tier) {
            let start = processor_time();
            // Previews are not measured, and theirs is the only thread of its tier.
            let on_long: Option<OnLong> = (tier != Tier::Background).then(|| {
                let inner = Arc::clone(self);
                Arc::new(move |so_far| inner.lengthen(id, tier, so_far)) as OnLong
            });
            // A panic of the host in one call must not end the thread; the caller sees its reply dropped.
            let was_made = catch_unwind(AssertUnwindSafe(|| job(on_long))).unwrap_or(true);
            let used = was_made.then(|| processor_time() - start);
            if self.finish(id, used) {
                return;
            }
        }
    }

    /// Waits for the next call; `None` when the pool stops.
    fn next(&self, tier: Tier) -> Option<(RunId, Job)> {
        let mut state = self.state();
        loop {
            if state.stopping {
                return None;
            }
            let now = self.now();
            if let Some(taken) = state.queue.take(tier, now) {
                let is_last = tier != Tier::Background && state.queue.waiting() == 0 && state.queue.background() > 0;
                drop(state);
                if is_last {
                    self.background.notify_one();
                }
                return Some(taken);
            }
            let patience = if tier == Tier::Background { state.queue.patience_left(now) } else { None };
            let signal = self.signal(tier);
            state = match patience {
                Some(left) => signal.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
                None => signal.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// A call has become long, on the current thread.
    fn lengthen(self: &Arc<Self>, id: RunId, tier: Tier, so_far: Duration) {
        let mut state = self.state();
        // A canary's call may be followed by its predecessor's on the same thread.
        let is_first = tier == Tier::Normal && !REPLACED_HERE.get();
        let replaces = is_first && state.replaced < REPLACED && !state.stopping;
        state.replaced += usize::from(replaces);
        state.queue.lengthen(id, so_far, replaces);
        drop(state);
        // Calls of its kind that wait are for the slow threads now.
        self.slow.notify_all();
        if !replaces {
            return;
        }
        match self.spawn(Tier::Normal) {
            Ok(()) => {
                REPLACED_HERE.set(true);
                lower_priority();
            }
            Err(error) => {
                self.state().replaced -= 1;
                tracing::warn!(%error, "a thread for formatters could not be started, so a slow call holds one; check this machine's limit on threads");
            }
        }
    }

    /// Ends a call. Returns true if this thread was replaced meanwhile.
    fn finish(&self, id: RunId, used: Option<Duration>) -> bool {
        let now = self.now();
        let was_replaced = REPLACED_HERE.get();
        let mut state = self.state();
        let unblocks = state.queue.finish(id, used, now);
        state.replaced -= usize::from(was_replaced);
        drop(state);
        if unblocks {
            // What could not begin before may now: this call has been measured, or has left its place.
            self.normal.notify_one();
            self.slow.notify_one();
        }
        was_replaced
    }
}

/// Permits calls that are known to be brief on the current thread. It must have a stack of
/// [`STACK_BYTES`](super::STACK_BYTES).
pub fn allow_calls_here() {
    ALLOWED_HERE.set(true);
}

thread_local! {
    /// True once another thread has taken this one's place.
    static REPLACED_HERE: Cell<bool> = const { Cell::new(false) };
    /// True if the thread may run calls for itself.
    static ALLOWED_HERE: Cell<bool> = const { Cell::new(false) };
}
