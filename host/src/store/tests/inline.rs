//! A store whose writer has no thread: every command is carried out within `send`, and what would wait for
//! time to pass waits for [`Store::tick`]. So a test, and a simulation, decides what happens when.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tempfile::TempDir;
use tokio::sync::Notify;

use super::super::engine::Faults;
use super::super::hand::Hand;
use super::super::writer::{Command, Writer};
use super::super::{OpenError, Options, Store, StoreError};
use super::{Opened, try_open_with};

/// The writer, until it is closed or crashes.
pub(in crate::store) struct Inline {
    writer: Mutex<Option<Writer>>,
    /// Told after each turn that leaves something for a later one.
    waits: Arc<Notify>,
}

impl Inline {
    fn turn(&self, first: Option<Command>) -> Result<(), StoreError> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let closing = writer.as_mut().ok_or(StoreError::Unavailable)?.turn(first, || None);
        if closing {
            *writer = None;
        } else if writer.as_ref().is_some_and(|writer| writer.wait().is_some()) {
            self.waits.notify_one();
        }
        Ok(())
    }

    pub(in crate::store) fn send(&self, command: Command) -> Result<(), StoreError> {
        self.turn(Some(command))
    }
}

impl Store {
    /// Opens a store without a writer thread.
    pub(crate) fn open_inline(options: Options) -> Result<Self, OpenError> {
        Self::open_with(options, |writer| {
            Ok(Hand::Inline(Box::new(Inline { writer: Mutex::new(Some(writer)), waits: Arc::default() })))
        })
    }

    fn inline(&self) -> &Inline {
        let Hand::Inline(inline) = &self.hand else { panic!("the writer has a thread of its own") };
        inline
    }

    /// What the writer's thread does when nothing came for as long as it waits: outcomes that wait are
    /// written, a store that failed is tried again.
    pub(crate) fn tick(&self) {
        // A writer that is gone has nothing to write.
        let _ = self.inline().turn(None);
    }

    /// How long the writer's thread would wait for a command now; `None`: for ever.
    pub(crate) fn waits(&self) -> Option<Duration> {
        self.inline().writer.lock().unwrap_or_else(PoisonError::into_inner).as_ref()?.wait()
    }

    /// Told whenever [`Store::waits`] may have become a time.
    pub(crate) fn waiting(&self) -> Arc<Notify> {
        Arc::clone(&self.inline().waits)
    }

    /// The process dies: what is not committed is forgotten, nothing more is read or written.
    pub(crate) fn crash(&self) {
        *self.inline().writer.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.engine.shut();
    }

    /// What is to go wrong below the store.
    pub(crate) fn faults(&self) -> &Faults {
        &self.engine.faults
    }
}

/// A store without a thread, its changes and its clock.
pub(super) fn try_open_inline(folder: &Path, now: i64) -> Result<Opened, OpenError> {
    try_open_with(folder, None, now, Store::open_inline)
}

pub(super) fn open_inline(folder: &Path, now: i64) -> Opened {
    try_open_inline(folder, now).expect("the store opens")
}

/// A folder in memory where the system has such a place: what is tested is the order of things, not the disk.
pub(crate) fn folder_in_memory() -> TempDir {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
    folder.expect("a folder")
}
