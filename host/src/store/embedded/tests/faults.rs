//! Fault injection below the store.

use std::io;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, PoisonError};

/// A step of a commit, or of a checkpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// A commit is appended to the journal.
    Write,
    /// The journal is synced.
    Sync,
    /// One change of the memtable goes into sled.
    Apply,
    /// sled hands them to the kernel.
    Flush,
    /// The kernel hands sled's file to the disk.
    SyncTree,
    /// The journal's file is declared free.
    Settle,
}

impl Step {
    /// The steps of a commit: its sender hears of their errors.
    pub(crate) const COMMIT: [Self; 2] = [Self::Write, Self::Sync];
    /// The steps of a checkpoint: the next commit hears of their errors.
    pub(crate) const CHECKPOINT: [Self; 4] = [Self::Apply, Self::Flush, Self::SyncTree, Self::Settle];
    /// Every step.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        Self::COMMIT.into_iter().chain(Self::CHECKPOINT)
    }
}

/// The disk's error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// There is no space, until the planned number of steps has failed.
    NoSpace,
    /// The disk is broken.
    Broken,
    /// The call panics.
    Panic,
    /// The call does not return before [`Faults::release`].
    Hang,
}

#[derive(Default)]
struct Plan {
    made: [u64; 6],
    /// The step that fails: its kind, its number from 1, the error.
    fails: Option<(Step, u64, Fault)>,
    /// How many more steps fail after it, one after the other.
    times: u64,
    /// The folder and its copy, which is made right before the step fails: the state that a process killed there leaves.
    left_behind: Option<(PathBuf, PathBuf)>,
}

/// The plan; without one nothing fails.
#[derive(Default)]
pub(crate) struct Faults(Mutex<Plan>, Condvar);

impl Faults {
    fn plan(&self) -> std::sync::MutexGuard<'_, Plan> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The `nth` step of this kind fails from now on (from 1), and so do the `times - 1` commits after it.
    pub(crate) fn fail(&self, step: Step, nth: u64, times: u64, fault: Fault) {
        let mut plan = self.plan();
        *plan =
            Plan { fails: Some((step, nth, fault)), times, left_behind: plan.left_behind.take(), ..Plan::default() };
        drop(plan);
        // A call that hangs by an earlier plan returns.
        self.1.notify_all();
    }

    /// When the planned step comes, `folder` is copied to `copy` right before it fails.
    pub(crate) fn leave_behind(&self, folder: PathBuf, copy: PathBuf) {
        self.plan().left_behind = Some((folder, copy));
    }

    /// True once the planned step has come.
    pub(crate) fn happened(&self) -> bool {
        let plan = self.plan();
        plan.fails.is_some_and(|(step, nth, _)| plan.made[step as usize] >= nth)
    }

    pub(in crate::store) fn before(&self, step: Step) -> io::Result<()> {
        let mut plan = self.plan();
        plan.made[step as usize] += 1;
        let made = plan.made[step as usize];
        let Some((fails, nth, fault)) = plan.fails else { return Ok(()) };
        if fails != step || made < nth || made >= nth + plan.times {
            return Ok(());
        }
        if let Some((folder, copy)) = plan.left_behind.take() {
            copy_folder(&folder, &copy)?;
        }
        match fault {
            Fault::NoSpace => Err(io::Error::from_raw_os_error(libc::ENOSPC)),
            Fault::Broken => Err(io::Error::from_raw_os_error(libc::EIO)),
            Fault::Panic => panic!("a disk that panics"),
            Fault::Hang => {
                while plan.fails.is_some_and(|(_, _, fault)| fault == Fault::Hang) {
                    plan = self.1.wait(plan).unwrap_or_else(PoisonError::into_inner);
                }
                Ok(())
            }
        }
    }

    /// Ends the plan; a call that hangs returns.
    pub(crate) fn release(&self) {
        self.plan().fails = None;
        self.1.notify_all();
    }
}

/// Copies a data folder as it is on the disk now.
pub(crate) fn copy_folder(from: &std::path::Path, to: &std::path::Path) -> io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
