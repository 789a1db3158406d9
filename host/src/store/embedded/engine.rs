//! sled, with what it lacks: fast durable commits, fsync, and recovery from a full disk. A commit is durable once it is
//! in the [`Journal`], a write-ahead log; sled's own file follows at checkpoints.

use std::collections::HashMap;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant, SystemTime};

use sled::Db;

use super::checkpoint::{Checkpoint, Checkpointer};
use super::journal::{Commit, Journal};
#[cfg(test)]
pub(super) use super::tests::faults::{Faults, Step};
use super::{OpenError, StoreError};
use crate::watchdog::Pulse;

/// A transaction: the final value of each key, `None` for removed. The writer's reads look here first.
#[derive(Default)]
pub(super) struct Txn {
    ops: HashMap<Vec<u8>, Option<Vec<u8>>>,
    bytes: usize,
}

impl Txn {
    pub(super) fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.bytes += key.len() + value.len();
        self.ops.insert(key, Some(value));
    }

    pub(super) fn remove(&mut self, key: Vec<u8>) {
        self.ops.insert(key, None);
    }

    /// Drops the change of a key.
    pub(super) fn forget(&mut self, key: &[u8]) {
        self.ops.remove(key);
    }

    /// Its changes, in no order; each key is there once.
    pub(super) fn ops(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.ops.iter().map(|(key, value)| (key.as_slice(), value.as_deref()))
    }

    /// The value that this commit writes under a key.
    pub(super) fn written(&self, key: &[u8]) -> Option<&[u8]> {
        self.ops.get(key)?.as_deref()
    }

    /// True if this commit removes the key.
    pub(super) fn removes(&self, key: &[u8]) -> bool {
        self.ops.get(key).is_some_and(Option::is_none)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// Bytes put so far.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The value as it will be after this commit.
    pub(super) fn get(&self, engine: &Engine, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.ops.get(key) {
            Some(value) => Ok(value.clone()),
            None => engine.get(key),
        }
    }
}

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

struct Opened {
    db: Db,
    /// The file that sled writes its pages to.
    file: File,
    /// The time of sled's last large value in a file of its own, as far as that is synced.
    blobs_seen: Mutex<Option<SystemTime>>,
    /// Locked by the writer for a commit, and briefly at the beginning and the end of a checkpoint.
    journal: Mutex<Journal>,
    /// Damaged spots of the journal when it was opened.
    damaged: u64,
}

impl Opened {
    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The journal's size at which a checkpoint begins, in bytes.
const CHECKPOINT_BYTES: u64 = 4 * 1024 * 1024;
/// The bytes of the disk that stay free.
const HEADROOM: u64 = 8 * 1024 * 1024;
/// The journal's size at which the writer waits for the checkpoint, in bytes: the disk is slower than the ingest
/// (backpressure).
const JOURNAL_MOST: u64 = 32 * 1024 * 1024;

/// How long sled's own threads may hold its lock after it was closed. No other process does: the folder is ours.
const LOCK_HELD: Duration = Duration::from_secs(2);

/// The open store. Closed and opened again in place when sled's error sticks.
pub(super) struct Engine {
    folder: PathBuf,
    cache_bytes: u64,
    /// Readers share it; `None` while it is closed after a failure.
    opened: RwLock<Option<Opened>>,
    /// True while it is open. Whoever asks must not wait for a disk that hangs.
    is_open: AtomicBool,
    pub(super) checkpointer: Checkpointer,
    #[cfg(test)]
    pub(super) faults: Faults,
}

impl Engine {
    pub(super) fn open(folder: &Path, cache_bytes: u64) -> Result<Self, OpenError> {
        std::fs::create_dir_all(folder).map_err(|error| OpenError::Folder { folder: folder.into(), error })?;
        let opened = open(folder, cache_bytes)?;
        Ok(Self {
            folder: folder.into(),
            cache_bytes,
            opened: RwLock::new(Some(opened)),
            is_open: AtomicBool::new(true),
            checkpointer: Checkpointer::default(),
            #[cfg(test)]
            faults: Faults::default(),
        })
    }

    fn read(&self) -> RwLockReadGuard<'_, Option<Opened>> {
        // A panic while the lock was held leaves nothing half done: the value is only ever replaced.
        self.opened.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Relaxed)
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let guard = self.read();
        let opened = guard.as_ref().ok_or(StoreError::Unavailable)?;
        Ok(opened.db.get(key).map_err(StoreError::from)?.map(|value| value.to_vec()))
    }

    /// Visits the entries from `from` on, or backwards from before it, while `visit` says so.
    pub(super) fn scan(
        &self,
        from: &[u8],
        backwards: bool,
        mut visit: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StoreError> {
        let guard = self.read();
        let opened = guard.as_ref().ok_or(StoreError::Unavailable)?;
        let entries: Box<dyn Iterator<Item = _>> =
            if backwards { Box::new(opened.db.range(..from).rev()) } else { Box::new(opened.db.range(from..)) };
        for entry in entries {
            let (key, value) = entry.map_err(StoreError::from)?;
            if !visit(&key, &value) {
                break;
            }
        }
        Ok(())
    }

    /// The entries whose key begins with `prefix`, from the first one after `after` on, while `visit` says so.
    pub(super) fn scan_prefix(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        mut visit: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StoreError> {
        let from = match after {
            Some(key) => [key, &[0]].concat(),
            None => prefix.to_vec(),
        };
        self.scan(&from, false, |key, value| key.starts_with(prefix) && visit(key, value))
    }

    /// Writes everything at once and returns when it is on the disk: one record of the journal, synced, then one batch
    /// of sled, which a crash cannot tear.
    pub(super) fn commit(&self, txns: &[&Txn]) -> Result<(), StoreError> {
        let guard = self.read();
        let opened = guard.as_ref().ok_or(StoreError::Unavailable)?;
        if let Some(failed) = self.checkpointer.take_failure() {
            return Err(failed);
        }
        if txns.iter().all(|txn| txn.is_empty()) {
            return Ok(());
        }
        let mut journal = opened.journal();
        if journal.bytes() >= JOURNAL_MOST {
            drop(journal);
            self.checkpoint_of(opened)?;
            journal = opened.journal();
        }
        #[cfg(test)]
        self.faults.before(Step::Write)?;
        journal.append(txns)?;
        let applied = self.sync_and_apply(opened, &journal, txns);
        if let Err(error) = applied {
            // It was not acknowledged, so it must not come back after a restart. If the disk rejects even that, it
            // stays: more than was promised, never less.
            if let Err(error) = journal.undo() {
                tracing::error!(%error, "a commit that failed could not be undone; it may be there after a restart");
            }
            return Err(error);
        }
        let full = journal.bytes() >= CHECKPOINT_BYTES;
        drop(journal);
        if !self.checkpointer.signal(full) && full {
            self.checkpoint_of(opened)?;
        }
        Ok(())
    }

    fn sync_and_apply(&self, opened: &Opened, journal: &Journal, txns: &[&Txn]) -> Result<(), StoreError> {
        #[cfg(test)]
        self.faults.before(Step::Sync)?;
        journal.sync()?;
        let batch = batch(txns.iter().flat_map(|txn| txn.ops()));
        #[cfg(test)]
        self.faults.before(Step::Flush)?;
        contained(|| Ok(opened.db.apply_batch(batch)?))
    }

    /// True if the disk has room for a commit of so many bytes, with some to spare. On a disk that is full to the last
    /// byte sled's error sticks, and a flush of it may block forever, so nothing is begun that could get there.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        // The journal, sled's pages, and the pages that it rewrites to free space.
        let wanted = HEADROOM + 4 * bytes as u64;
        // A file system that does not say is tried.
        free_bytes(&self.folder).is_none_or(|free| free >= wanted)
    }

    /// A checkpoint: brings the journal's commits to sled's own file, with sled's flush, which hands them to the
    /// kernel, and an fsync. Commits go on meanwhile.
    fn checkpoint_of(&self, opened: &Opened) -> Result<(), StoreError> {
        {
            let mut journal = opened.journal();
            self.checkpointer.begin();
            if !journal.rotate() && !journal.unsettled() {
                return Ok(());
            }
        }
        contained(|| Ok(opened.db.flush()?))?;
        sync(&self.folder, opened)?;
        Ok(opened.journal().settled()?)
    }

    /// An orderly end: sled's own file gets everything, the journal is removed. Nothing may be committed afterwards.
    pub(super) fn finish(&self) {
        let guard = self.read();
        let Some(opened) = guard.as_ref() else { return };
        let journal = opened.journal();
        let settled = contained(|| Ok(opened.db.flush()?)).and_then(|_| sync(&self.folder, opened));
        if settled.is_ok()
            && let Err(error) = journal.clear(&self.folder)
        {
            tracing::warn!(%error, "the store's journal could not be removed; it is replayed at the next start");
        }
    }

    /// Makes checkpoints until [`Checkpointer::stop`].
    pub(super) fn run_checkpoints(&self, pulse: &Pulse) {
        self.checkpointer.run(pulse, || {
            if free_bytes(&self.folder).is_some_and(|free| free < HEADROOM / 4) {
                return Checkpoint::Postponed;
            }
            let guard = self.read();
            match guard.as_ref().map_or(Ok(()), |opened| self.checkpoint_of(opened)) {
                Ok(()) => Checkpoint::Done,
                Err(error) => Checkpoint::Failed(error),
            }
        });
    }

    /// True if these transactions are there. One key is enough to look at: a batch is there as a whole or not at all.
    pub(super) fn holds(&self, txns: &[&Txn]) -> bool {
        let written = txns.iter().flat_map(|txn| txn.ops()).find_map(|(key, value)| Some((key, value?)));
        written.is_some_and(|(key, value)| self.get(key).is_ok_and(|found| found.as_deref() == Some(value)))
    }

    /// Closes sled for good: after a failed fsync the disk's content is not known.
    pub(super) fn shut(&self) {
        self.is_open.store(false, Ordering::Relaxed);
        let closed = self.opened.write().unwrap_or_else(PoisonError::into_inner).take();
        close(closed);
    }

    /// Closes sled and opens it again: after a full disk its error sticks until then.
    pub(super) fn reopen(&self) -> Result<(), OpenError> {
        self.is_open.store(false, Ordering::Relaxed);
        let mut guard = self.opened.write().unwrap_or_else(PoisonError::into_inner);
        let closed = guard.take();
        close(closed);
        let _ = self.checkpointer.take_failure();
        *guard = Some(open(&self.folder, self.cache_bytes)?);
        self.is_open.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Damaged spots of the journal when it was opened: each may have been a commit.
    pub(super) fn damaged(&self) -> u64 {
        self.read().as_ref().map_or(0, |opened| opened.damaged)
    }

    /// A number that sled gave to no earlier run of this store.
    pub(super) fn run_number(&self) -> Result<u64, StoreError> {
        let guard = self.read();
        let opened = guard.as_ref().ok_or(StoreError::Unavailable)?;
        Ok(opened.db.generate_id()?)
    }
}

/// Closes sled, which writes what is left and may panic like any other call of it.
fn close(opened: Option<Opened>) {
    let _ = contained(|| {
        drop(opened);
        Ok(())
    });
}

/// The bytes that a process without privileges may still write to the folder's file system; `None` when it does not
/// say.
fn free_bytes(folder: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(folder).ok()?;
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}

/// The call's result, or [`StoreError::Engine`] when sled panics, which it does on some full disks where it could
/// return the error. The journal has what it was to write.
fn contained<T>(call: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|_| {
        tracing::error!("the store's engine panicked");
        Err(StoreError::Engine)
    })
}

#[expect(clippy::disallowed_methods, reason = "measures an opening")]
fn open(folder: &Path, cache_bytes: u64) -> Result<Opened, OpenError> {
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
    let failed = |error: StoreError| OpenError::Engine { folder: folder.into(), message: error.to_string() };
    let unusable = |error| OpenError::Folder { folder: folder.into(), error };
    let (journal, commits, damaged) = Journal::open(folder).map_err(unusable)?;
    if damaged > 0 {
        tracing::error!(damaged, "the store's journal is damaged; the unreadable parts are skipped");
    }
    let opened = Opened { db, file, blobs_seen: Mutex::new(None), journal: Mutex::new(journal), damaged };
    if !commits.is_empty() {
        contained(|| Ok(replay(&opened.db, commits).and_then(|()| opened.db.flush())?)).map_err(failed)?;
        // The journal is overwritten from its beginning: its commits have to be in sled's file first.
        sync(folder, &opened).map_err(failed)?;
        opened.journal().replayed().map_err(unusable)?;
    }
    Ok(opened)
}

fn is_locked(error: &std::io::Error) -> bool {
    error.to_string().contains("could not acquire lock")
}

/// Applies commits that sled may have already. Each is the final value of its keys, and they come in order, so applying
/// one twice changes nothing.
fn replay(db: &Db, commits: Vec<Commit>) -> sled::Result<()> {
    for commit in commits {
        db.apply_batch(batch(commit.iter().map(|(key, value)| (key.as_slice(), value.as_deref()))))?;
    }
    Ok(())
}

fn batch<'a>(ops: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>) -> sled::Batch {
    let mut batch = sled::Batch::default();
    for (key, value) in ops {
        match value {
            Some(value) => batch.insert(key, value),
            None => batch.remove(key),
        }
    }
    batch
}

/// Fills an engine with many records, in commits of a bounded size.
pub(super) struct Bulk<'a> {
    engine: &'a Engine,
    txn: Txn,
}

impl<'a> Bulk<'a> {
    /// Bytes that one commit writes, approximately.
    const COMMIT_BYTES: usize = 4 * 1024 * 1024;

    pub(super) fn into(engine: &'a Engine) -> Self {
        Self { engine, txn: Txn::default() }
    }

    pub(super) fn put(&mut self, key: Vec<u8>, value: Vec<u8>) -> Result<(), StoreError> {
        self.txn.put(key, value);
        if self.txn.bytes() < Self::COMMIT_BYTES { Ok(()) } else { self.finish() }
    }

    /// Writes what is left.
    pub(super) fn finish(&mut self) -> Result<(), StoreError> {
        self.engine.commit(&[&std::mem::take(&mut self.txn)])
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.finish();
    }
}

/// sled's flush calls `sync_file_range`, which neither writes file metadata nor empties the disk's cache
/// (sled 0.34, `pagecache/iobuf.rs`). Values too large for a segment get files of their own.
fn sync(folder: &Path, opened: &Opened) -> Result<(), StoreError> {
    opened.file.sync_data()?;
    let blobs = folder.join("blobs");
    let Ok(changed) = std::fs::metadata(&blobs).and_then(|metadata| metadata.modified()) else {
        return Ok(());
    };
    let mut seen = opened.blobs_seen.lock().unwrap_or_else(PoisonError::into_inner);
    if *seen == Some(changed) {
        return Ok(());
    }
    for entry in std::fs::read_dir(&blobs)? {
        let path = entry?.path();
        match File::open(&path).and_then(|file| if file.metadata()?.is_file() { file.sync_data() } else { Ok(()) }) {
            // sled removes what it no longer needs.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            result => result?,
        }
    }
    File::open(&blobs)?.sync_all()?;
    File::open(folder)?.sync_all()?;
    *seen = Some(changed);
    Ok(())
}
