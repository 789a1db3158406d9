//! How the store reaches its writer: through the queue of a thread of its own. A test may drive the writer
//! turn by turn instead.

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::StoreError;
use super::engine::Engine;
use super::writer::{Command, Writer};

/// What a command is put into.
pub(super) enum Hand {
    /// The writer's thread.
    Thread { commands: Sender<Command>, engine: Arc<Engine>, threads: Mutex<Vec<JoinHandle<()>>> },
    /// A writer without a thread: each command is a turn of its own, made by whoever sends it.
    #[cfg(test)]
    Inline(Box<super::tests::inline::Inline>),
}

impl Hand {
    /// Gives the writer a thread, and the engine one for its checkpoints.
    pub(super) fn thread(writer: Writer) -> std::io::Result<Self> {
        let (commands, queue) = channel();
        let (engine, attended) = (Arc::clone(&writer.engine), Arc::clone(&writer.engine));
        let thread = |name: &str| std::thread::Builder::new().name(name.into());
        let threads = vec![
            thread("store-writer").spawn(move || writer.run(&queue))?,
            thread("store-keeper").spawn(move || attended.attend())?,
        ];
        Ok(Self::Thread { commands, engine, threads: Mutex::new(threads) })
    }

    pub(super) fn send(&self, command: Command) -> Result<(), StoreError> {
        match self {
            Self::Thread { commands, .. } => commands.send(command).map_err(|_| StoreError::Unavailable),
            #[cfg(test)]
            Self::Inline(inline) => inline.send(command),
        }
    }

    /// Finishes what waits; nothing can be sent afterwards.
    pub(super) fn close(&self) {
        let _ = self.send(Command::Close);
        match self {
            Self::Thread { engine, threads, .. } => {
                let mut threads =
                    std::mem::take(&mut *threads.lock().unwrap_or_else(PoisonError::into_inner)).into_iter();
                // The writer first: its last commit may wait for a checkpoint.
                let _ = threads.next().map(JoinHandle::join);
                engine.dismiss();
                threads.for_each(|thread| drop(thread.join()));
                engine.finish();
            }
            #[cfg(test)]
            Self::Inline(_) => {}
        }
    }
}
