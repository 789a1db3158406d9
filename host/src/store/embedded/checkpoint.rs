//! The signal between the writer and the thread that makes checkpoints: a checkpoint begins when the journal is long,
//! or when a short one has waited.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::StoreError;
use crate::watchdog::Pulse;

/// How long few commits may be in the journal alone.
const CHECKPOINT_AFTER: Duration = Duration::from_secs(1);

/// The result of one checkpoint.
pub(super) enum Checkpoint {
    Done,
    /// The disk has no room for it; it is tried again after a while. The journal has everything.
    Postponed,
    Failed(StoreError),
}

#[derive(Default)]
struct State {
    /// True if a thread makes the checkpoints; without one the writer makes them.
    has_thread: bool,
    /// The time of the first commit since the last checkpoint.
    since: Option<Instant>,
    /// True if the journal is long.
    full: bool,
    stopping: bool,
    /// The error of the last checkpoint; the next commit returns it.
    failure: Option<StoreError>,
}

/// Decides when a checkpoint begins.
#[derive(Default)]
pub(super) struct Checkpointer {
    state: Mutex<State>,
    changed: Condvar,
}

impl Checkpointer {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Called after a commit. False if there is no thread for checkpoints.
    #[expect(clippy::disallowed_methods, reason = "paces a thread that has no async runtime")]
    pub(super) fn signal(&self, full: bool) -> bool {
        let mut state = self.state();
        state.since.get_or_insert_with(Instant::now);
        state.full |= full;
        if state.has_thread {
            self.changed.notify_one();
        }
        state.has_thread
    }

    /// Called when a checkpoint begins: the commits from now on belong to the next one.
    pub(super) fn begin(&self) {
        let mut state = self.state();
        (state.since, state.full) = (None, false);
    }

    pub(super) fn take_failure(&self) -> Option<StoreError> {
        self.state().failure.take()
    }

    /// Calls `checkpoint` whenever one is due, until [`Checkpointer::stop`].
    #[expect(clippy::disallowed_methods, reason = "paces a thread that has no async runtime")]
    pub(super) fn run(&self, pulse: &Pulse, checkpoint: impl Fn() -> Checkpoint) {
        self.state().has_thread = true;
        loop {
            let mut state = self.state();
            while !state.stopping && !state.full {
                let left = state.since.map(|since| CHECKPOINT_AFTER.saturating_sub(since.elapsed()));
                state = match left {
                    Some(Duration::ZERO) => break,
                    Some(left) => self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
                    None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                };
            }
            if state.stopping {
                state.has_thread = false;
                return;
            }
            (state.since, state.full) = (None, false);
            drop(state);
            pulse.beat();
            let made = checkpoint();
            pulse.idle();
            match made {
                Checkpoint::Done => {}
                Checkpoint::Postponed => self.state().since = Some(Instant::now()),
                Checkpoint::Failed(error) => self.state().failure = Some(error),
            }
        }
    }

    /// Ends [`Checkpointer::run`].
    pub(super) fn stop(&self) {
        self.state().stopping = true;
        self.changed.notify_all();
    }
}
