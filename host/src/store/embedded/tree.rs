//! sled, with what it lacks: fsync, and an end to its panics ([`contained`]).

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use sled::Db;

use super::memtable::{Memtable, Range};
use super::txn::Bytes;
use super::{OpenError, StoreError, keys, record};

/// How long sled's own threads may hold its lock after it was closed. No other process does: the folder is ours.
const LOCK_HELD: Duration = Duration::from_secs(2);

impl From<sled::Error> for StoreError {
    fn from(error: sled::Error) -> Self {
        match error {
            sled::Error::Io(error) => error.into(),
            error => {
                tracing::error!(%error, "the store failed");
                Self::Unavailable
            }
        }
    }
}

/// sled's tree, and the file that it writes its pages to.
pub(super) struct Tree {
    db: Db,
    folder: PathBuf,
    file: File,
    /// The time of sled's last large value in a file of its own, as far as that is synced.
    blobs_seen: Mutex<Option<SystemTime>>,
    /// True once sled could not write: its end may then wait for ever for what it did not write.
    has_failed: AtomicBool,
}

impl Tree {
    #[expect(clippy::disallowed_methods, reason = "measures an opening")]
    pub(super) fn open(folder: &Path, cache_bytes: u64) -> Result<Self, OpenError> {
        // sled's configuration panics then: it makes the name of a temporary folder from the time, needed or not.
        if SystemTime::now() < SystemTime::UNIX_EPOCH {
            return Err(OpenError::Clock);
        }
        let config = sled::Config::new()
            .path(folder)
            .cache_capacity(cache_bytes)
            // Flushed by checkpoints instead.
            .flush_every_ms(None);
        let began = Instant::now();
        let opened = loop {
            // On a damaged file sled does not return an error, it panics.
            let opened = catch_unwind(AssertUnwindSafe(|| config.open()))
                .map_err(|_| OpenError::Damaged { folder: folder.into() })?;
            match opened {
                Err(sled::Error::Io(error)) if is_locked(&error) && began.elapsed() < LOCK_HELD => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                opened => break opened,
            }
        };
        let db = opened.map_err(|error| match error {
            sled::Error::Io(error) => OpenError::Folder { folder: folder.into(), error },
            sled::Error::Corruption { .. } => OpenError::Damaged { folder: folder.into() },
            error => OpenError::Engine { folder: folder.into(), message: error.to_string() },
        })?;
        let file = File::open(folder.join("db")).map_err(|error| OpenError::Folder { folder: folder.into(), error })?;
        Ok(Self { db, folder: folder.into(), file, blobs_seen: Mutex::new(None), has_failed: AtomicBool::new(false) })
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.db.get(key)?)
    }

    /// The entries of a range that is not empty.
    pub(super) fn range(&self, range: &Range, backwards: bool) -> Entries {
        let entries = self.db.range::<&[u8], _>((range.lower(), range.upper()));
        if backwards { Box::new(entries.rev()) } else { Box::new(entries) }
    }

    /// Writes changes in memory, one by one: a reader of sled waits for one of them at most. A crash may leave some of
    /// them in sled's file, and not others. Then the journal has all of them.
    pub(super) fn write(
        &self,
        changes: &Memtable,
        mut before: impl FnMut() -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        for (key, value) in changes.iter() {
            before()?;
            self.noted(match joined(changes, key, value) {
                Some(value) => self.db.insert(key, value),
                // sled writes nothing for a key that it does not have.
                None => self.db.remove(key),
            })?;
        }
        Ok(())
    }

    /// Hands everything to the kernel. That is not fsync: see [`Tree::sync`].
    pub(super) fn flush(&self) -> Result<(), StoreError> {
        Ok(self.noted(self.db.flush()).map(drop)?)
    }

    fn noted<T>(&self, result: sled::Result<T>) -> sled::Result<T> {
        if result.is_err() {
            self.has_failed.store(true, Ordering::Relaxed);
        }
        result
    }

    /// True once sled could not write something.
    pub(super) fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Relaxed)
    }

    /// sled's flush calls `sync_file_range`, which neither writes file metadata nor empties the disk's cache
    /// (sled 0.34, `pagecache/iobuf.rs`). Values too large for a segment get files of their own.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        self.file.sync_data()?;
        let blobs = self.folder.join("blobs");
        let Ok(changed) = std::fs::metadata(&blobs).and_then(|metadata| metadata.modified()) else {
            return Ok(());
        };
        let mut seen = self.blobs_seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == Some(changed) {
            return Ok(());
        }
        for entry in std::fs::read_dir(&blobs)? {
            let path = entry?.path();
            match File::open(&path).and_then(|file| if file.metadata()?.is_file() { file.sync_data() } else { Ok(()) })
            {
                // sled removes what it no longer needs.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                result => result?,
            }
        }
        File::open(&blobs)?.sync_all()?;
        File::open(&self.folder)?.sync_all()?;
        *seen = Some(changed);
        Ok(())
    }

    /// A number that sled gave to no earlier run of this store.
    pub(super) fn run_number(&self) -> Result<u64, StoreError> {
        Ok(self.db.generate_id()?)
    }

    /// Closes sled on a disk that failed. It ends with a sync of its file and panics where that fails; then it stays as it
    /// is until the process ends.
    pub(super) fn give_up(self) {
        match self.file.sync_all() {
            Ok(()) => self.close(),
            Err(_) => std::mem::forget(self),
        }
    }

    /// Closes sled, which writes what is left and may panic like any other call of it.
    pub(super) fn close(self) {
        let _ = contained(|| {
            drop(self);
            Ok(())
        });
    }
}

/// What sled gets under a key. Of an event and the states of its deliveries, written together, it gets one record: most
/// deliveries end before the checkpoint that brings their event.
fn joined(changes: &Memtable, key: &[u8], value: Option<&Bytes>) -> Option<Bytes> {
    let written = |key: [u8; 17]| changes.written(&key);
    let value = value?;
    if let Some(states) = keys::state_of_event(key).and_then(written) {
        return Some(record::join(value, states).into());
    }
    let is_joined = keys::event_of_state(key).and_then(written).is_some();
    (!is_joined).then(|| value.clone())
}

type Entries = Box<dyn Iterator<Item = sled::Result<(Bytes, Bytes)>>>;

fn is_locked(error: &std::io::Error) -> bool {
    error.to_string().contains("could not acquire lock")
}

/// The call's result, or [`StoreError::Engine`] when sled panics, which it does on some full disks where it could
/// return the error. The journal has what it was to write.
pub(super) fn contained<T>(call: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|_| {
        tracing::error!("the store's engine panicked");
        Err(StoreError::Engine)
    })
}
