//! The signal between the writer and the thread that makes checkpoints: a checkpoint begins when the journal is long,
//! or when a short one has waited.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::StoreError;
use crate::watchdog::Pulse;

/// How long few commits may be in the journal alone. What comes and goes in this time costs sled nothing.
const CHECKPOINT_AFTER: Duration = Duration::from_secs(5);
/// How soon a checkpoint is tried again for which the disk had no room.
const POSTPONED: Duration = Duration::from_secs(1);

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
    /// The time of the next checkpoint, once there is a commit for it.
    due: Option<Instant>,
    /// True if the journal or the memtable is long.
    full: bool,
    stopping: bool,
    /// The number of beginnings and ends of checkpoints.
    moves: u64,
    /// True if the disk had no room for the last one.
    postponed: bool,
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
        let news = state.due.is_none() || (full && !state.full);
        state.due.get_or_insert_with(|| Instant::now() + CHECKPOINT_AFTER);
        state.full |= full;
        if state.has_thread && news {
            self.changed.notify_all();
        }
        state.has_thread
    }

    /// Called when a checkpoint begins, with the journal locked: the commits from now on belong to the next one.
    pub(super) fn begin(&self) {
        let mut state = self.state();
        (state.due, state.full, state.postponed) = (None, false, false);
        state.moves += 1;
        self.changed.notify_all();
    }

    pub(super) fn take_failure(&self) -> Option<StoreError> {
        self.state().failure.take()
    }

    /// The number of beginnings and ends of checkpoints so far.
    pub(super) fn moves(&self) -> u64 {
        self.state().moves
    }

    /// Demands a checkpoint and waits until one more than these has begun or ended; the error if it failed. `None` if
    /// there is no thread for checkpoints.
    pub(super) fn wait(&self, seen: u64) -> Option<Result<(), StoreError>> {
        let mut state = self.state();
        state.full = true;
        self.changed.notify_all();
        while state.has_thread && state.moves == seen {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        match (state.failure.take(), state.postponed) {
            _ if state.moves == seen => None,
            (Some(failure), _) => Some(Err(failure)),
            (None, true) => Some(Err(StoreError::Full)),
            (None, false) => Some(Ok(())),
        }
    }

    /// Calls `checkpoint` whenever one is due, until [`Checkpointer::stop`].
    #[expect(clippy::disallowed_methods, reason = "paces a thread that has no async runtime")]
    pub(super) fn run(&self, pulse: &Pulse, checkpoint: impl Fn() -> Checkpoint) {
        self.state().has_thread = true;
        let _ends = Ends(self);
        loop {
            let mut state = self.state();
            while !state.stopping && !state.full {
                let left = state.due.map(|due| due.saturating_duration_since(Instant::now()));
                state = match left {
                    Some(Duration::ZERO) => break,
                    Some(left) => self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
                    None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                };
            }
            if state.stopping {
                return;
            }
            (state.due, state.full) = (None, false);
            drop(state);
            pulse.beat();
            let made = checkpoint();
            pulse.idle();
            self.ended(made);
        }
    }

    /// Called when a checkpoint has ended.
    #[expect(clippy::disallowed_methods, reason = "paces a thread that has no async runtime")]
    pub(super) fn ended(&self, made: Checkpoint) {
        let mut state = self.state();
        state.moves += 1;
        state.postponed = matches!(made, Checkpoint::Postponed);
        match made {
            Checkpoint::Done => {}
            Checkpoint::Postponed => (state.due, state.full) = (Some(Instant::now() + POSTPONED), false),
            Checkpoint::Failed(error) => state.failure = Some(error),
        }
        self.changed.notify_all();
    }

    /// Ends [`Checkpointer::run`].
    pub(super) fn stop(&self) {
        self.state().stopping = true;
        self.changed.notify_all();
    }
}

/// Tells the writer that the thread has ended, also by a panic: it makes the checkpoints from then on.
struct Ends<'a>(&'a Checkpointer);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.state().has_thread = false;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watchdog::{Need, Watchdog};

    /// Demands a checkpoint with this end from a thread; what the writer hears, and whether the thread is there then.
    fn heard(end: impl Fn() -> Checkpoint + Send) -> (Option<Result<(), StoreError>>, bool) {
        let checkpointer = Checkpointer::default();
        let watched = Watchdog::default().watch("checkpoints", Need::Partial, None);
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| checkpointer.run(&watched.pulse(), end));
            while !checkpointer.state().has_thread && !thread.is_finished() {
                std::thread::yield_now();
            }
            let heard = checkpointer.wait(checkpointer.moves());
            let there = checkpointer.signal(false);
            checkpointer.stop();
            let _ = thread.join();
            (heard, there)
        })
    }

    #[test]
    fn the_writer_that_waits_hears_how_the_checkpoint_ended() {
        assert_eq!(heard(|| Checkpoint::Done), (Some(Ok(())), true));
        assert_eq!(heard(|| Checkpoint::Postponed), (Some(Err(StoreError::Full)), true));
        let failed = StoreError::Engine;
        assert_eq!(heard(move || Checkpoint::Failed(failed)), (Some(Err(failed)), true));
        assert_eq!(heard(|| panic!("a bug")), (None, false), "the writer makes the checkpoints from then on");
        assert_eq!(Checkpointer::default().wait(0), None, "nobody would make the checkpoint");
    }

    #[test]
    fn a_failure_is_reported_once() {
        let checkpointer = Checkpointer::default();
        checkpointer.ended(Checkpoint::Failed(StoreError::Full));
        assert_eq!((checkpointer.take_failure(), checkpointer.take_failure()), (Some(StoreError::Full), None));
    }
}
