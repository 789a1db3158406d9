//! The way to the writer: the queue of its thread. A test may drive the writer turn by turn instead.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::engine::Engine;
use super::writer::Writer;
use super::{StoreError, WriterCommand};
use crate::watchdog::{Need, Watchdog};

/// The longest turn of the writer: a commit takes milliseconds, on a slow disk a second.
const WRITER_LIMIT: Duration = Duration::from_secs(30);
/// The longest checkpoint: it writes at most 32 MiB of commits, and the pages that they touch.
const CHECKPOINT_LIMIT: Duration = Duration::from_secs(300);

/// Marks the store as closed when the writer's thread ends, however it does.
struct ClosesStore(Arc<AtomicBool>);

impl Drop for ClosesStore {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// The sender's side of the writer.
pub(super) enum WriterHandle {
    /// The writer has a thread.
    Thread { commands: Sender<WriterCommand>, engine: Arc<Engine>, threads: Mutex<Vec<JoinHandle<()>>> },
    /// The writer has none: each command is carried out by its sender.
    #[cfg(test)]
    Inline(Box<super::tests::inline::Inline>),
}

impl WriterHandle {
    /// Gives the writer a thread, and the engine one for its checkpoints.
    pub(super) fn thread(writer: Writer, watchdog: &Watchdog) -> std::io::Result<Self> {
        let (commands, queue) = channel();
        let (engine, checkpoints) = (Arc::clone(&writer.engine), Arc::clone(&writer.engine));
        let thread = |name: &str| std::thread::Builder::new().name(name.into());
        let writing = watchdog.watch("store-writer", Need::Vital, Some(WRITER_LIMIT));
        let checkpointing = watchdog.watch("store-checkpoint", Need::Partial, Some(CHECKPOINT_LIMIT));
        let closes = ClosesStore(Arc::clone(&writer.writable));
        let work = move || {
            let _closes = closes;
            writing.run(|pulse| writer.run(&queue, pulse));
        };
        let threads = vec![
            thread("store-writer").spawn(work)?,
            thread("store-checkpoint").spawn(move || checkpointing.run(|pulse| checkpoints.run_checkpoints(pulse)))?,
        ];
        Ok(Self::Thread { commands, engine, threads: Mutex::new(threads) })
    }

    pub(super) fn send(&self, command: WriterCommand) -> Result<(), StoreError> {
        match self {
            Self::Thread { commands, .. } => commands.send(command).map_err(|_| StoreError::Unavailable),
            #[cfg(test)]
            Self::Inline(inline) => inline.send(command),
        }
    }

    /// Commits what is pending and ends the threads; nothing can be sent afterwards.
    pub(super) fn close(&self) {
        let _ = self.send(WriterCommand::Close);
        match self {
            Self::Thread { engine, threads, .. } => {
                let mut threads =
                    std::mem::take(&mut *threads.lock().unwrap_or_else(PoisonError::into_inner)).into_iter();
                // The writer first: its last commit may wait for a checkpoint.
                let _ = threads.next().map(JoinHandle::join);
                engine.checkpointer.stop();
                threads.for_each(|thread| drop(thread.join()));
                engine.finish();
            }
            #[cfg(test)]
            Self::Inline(_) => {}
        }
    }
}
