//! A store whose writer has no thread: every command is carried out within `send`, and outcomes that wait for their
//! time wait for [`Store::tick`]. So a test, or a simulation, decides the order of events.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::model::id::EventId;
use crate::store::conformance::{Opened, open_folder};
use crate::store::embedded::engine::Faults;
use crate::store::embedded::handle::WriterHandle;
use crate::store::embedded::writer::Writer;
use crate::store::embedded::{Embedded, WriterCommand};
use crate::store::embedded::{keys, record};
use crate::store::{OpenError, Options, Store, StoreError};

/// The writer, until it is closed or crashes.
pub(in crate::store) struct Inline {
    writer: Mutex<Option<Writer>>,
    /// Notified after each turn that leaves something for a later one.
    waits: Arc<Notify>,
}

impl Inline {
    fn turn(&self, first: Option<WriterCommand>) -> Result<(), StoreError> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let closing = writer.as_mut().ok_or(StoreError::Unavailable)?.turn(first, || None);
        if closing {
            *writer = None;
        } else if writer.as_ref().is_some_and(|writer| writer.wait().is_some()) {
            self.waits.notify_one();
        }
        Ok(())
    }

    pub(in crate::store) fn send(&self, command: WriterCommand) -> Result<(), StoreError> {
        self.turn(Some(command))
    }
}

impl Store {
    /// Opens a store without a writer thread.
    pub(crate) fn open_inline(options: Options) -> Result<Self, OpenError> {
        let engine = Embedded::open_with(options, |writer| {
            Ok(WriterHandle::Inline(Box::new(Inline { writer: Mutex::new(Some(writer)), waits: Arc::default() })))
        })?;
        Ok(Self { engine })
    }

    fn inline(&self) -> &Inline {
        let WriterHandle::Inline(inline) = &self.engine.writer else { panic!("the writer has a thread of its own") };
        inline
    }

    /// The turn that the writer's thread takes when its wait is over: pending outcomes are written, a store that failed
    /// is tried again.
    pub(crate) fn tick(&self) {
        // A writer that is gone has nothing to write.
        let _ = self.inline().turn(None);
    }

    /// The checkpoint that the thread for checkpoints makes when one is due.
    pub(crate) fn checkpoint(&self) {
        let engine = &self.engine.engine;
        engine.checkpointer.ended(engine.try_checkpoint());
    }

    /// How long the writer's thread would wait for a command now; `None`: forever.
    pub(crate) fn waits(&self) -> Option<Duration> {
        self.inline().writer.lock().unwrap_or_else(PoisonError::into_inner).as_ref()?.wait()
    }

    /// Notified whenever [`Store::waits`] may have become a time.
    pub(crate) fn waiting(&self) -> Arc<Notify> {
        Arc::clone(&self.inline().waits)
    }

    /// Ends the store as a killed process does: nothing that is not committed survives.
    pub(crate) fn crash(&self) {
        *self.inline().writer.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.engine.engine.shut();
    }

    /// The events of each commit that accepted some, with its time.
    pub(crate) fn accepted(&self) -> Vec<(i64, Vec<EventId>)> {
        let mut accepted = Vec::new();
        let scanned = self.engine.engine.scan_prefix(&[keys::ACCEPTED], None, |key, value| {
            let at = keys::time_of(keys::ACCEPTED, key).expect("a time");
            let events = record::unpack_listed(value).expect("events");
            accepted.push((at, events.into_iter().map(|(_, event)| event).collect()));
            true
        });
        scanned.expect("the store is open");
        accepted
    }

    /// The faults to inject below the store.
    pub(crate) fn faults(&self) -> &Faults {
        &self.engine.engine.faults
    }
}

/// A store without a thread, its changes and its clock.
pub(in crate::store) fn try_open_inline(folder: &Path, now: i64) -> Result<Opened, OpenError> {
    open_folder(folder, None, now, Store::open_inline)
}

pub(in crate::store) fn open_inline(folder: &Path, now: i64) -> Opened {
    try_open_inline(folder, now).expect("the store opens")
}
