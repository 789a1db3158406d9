//! sled, and what it does not do by itself: make a commit durable soon, sync to the disk, and come back after a full
//! one. A commit is on the disk when the [`Journal`] has it; sled's own file follows at checkpoints.

use std::collections::HashMap;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant, SystemTime};

use sled::Db;

use super::journal::{Commit, Journal};
#[cfg(test)]
pub(super) use super::tests::faults::{Faults, Step};
use super::{OpenError, StoreError};

/// What one commit writes: the last word on each key, `None` for removed. Reads look here first.
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

    /// Takes back what was to be done with a key.
    pub(super) fn forget(&mut self, key: &[u8]) {
        self.ops.remove(key);
    }

    /// What it does, in no order: each key is there once.
    pub(super) fn ops(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.ops.iter().map(|(key, value)| (key.as_slice(), value.as_deref()))
    }

    /// The value that this commit writes under a key.
    pub(super) fn written(&self, key: &[u8]) -> Option<&[u8]> {
        self.ops.get(key)?.as_deref()
    }

    /// Whether this commit removes the key.
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

struct Opened {
    db: Db,
    /// The file that sled writes its pages to.
    file: File,
    /// When sled last put a large value into a file of its own, as far as that is synced.
    blobs_seen: Mutex<Option<SystemTime>>,
    /// Locked by the writer for a commit, and for a moment by whoever begins or ends a checkpoint.
    journal: Mutex<Journal>,
    /// Places in which the journal was damaged when it was opened.
    damaged: u64,
}

impl Opened {
    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The journal's bytes that call for a checkpoint.
const CHECKPOINT_BYTES: u64 = 4 * 1024 * 1024;
/// How long commits may be in the journal alone, when they are few.
const CHECKPOINT_AFTER: Duration = Duration::from_secs(1);
/// What stays free of the disk.
const HEADROOM: u64 = 8 * 1024 * 1024;
/// With so many bytes the writer waits for the checkpoint: the disk is slower than what comes in.
const JOURNAL_MOST: u64 = 32 * 1024 * 1024;

/// How long sled's own threads may hold its lock after it was closed. No other process does: the folder is ours.
const LOCK_HELD: Duration = Duration::from_secs(2);

/// What the checkpoints' thread is told.
#[derive(Default)]
struct Bell {
    /// Whether such a thread is there; without one the writer makes the checkpoints.
    attended: bool,
    /// Since when there is something to bring to sled's own file.
    since: Option<Instant>,
    /// Whether it is much.
    full: bool,
    closing: bool,
    /// Why the last checkpoint failed; the next commit says it.
    failed: Option<StoreError>,
}

/// The open store. Closed and opened again in place when sled's error sticks.
pub(super) struct Engine {
    folder: PathBuf,
    cache_bytes: u64,
    /// Readers share it; `None` while it is closed after a failure.
    opened: RwLock<Option<Opened>>,
    bell: Mutex<Bell>,
    rung: Condvar,
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
            bell: Mutex::default(),
            rung: Condvar::new(),
            #[cfg(test)]
            faults: Faults::default(),
        })
    }

    fn read(&self) -> RwLockReadGuard<'_, Option<Opened>> {
        // A panic while the lock was held leaves nothing half done: the value is only ever replaced.
        self.opened.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_open(&self) -> bool {
        self.read().is_some()
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
        if let Some(failed) = self.bell().failed.take() {
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
            // Nobody was told of it, so it must not come back after a restart. A disk that does not take even
            // that keeps it: more than was promised, never less.
            if let Err(error) = journal.undo() {
                tracing::error!(%error, "a commit that failed could not be taken back");
            }
            return Err(error);
        }
        let full = journal.bytes() >= CHECKPOINT_BYTES;
        drop(journal);
        let mut bell = self.bell();
        bell.since.get_or_insert_with(Instant::now);
        bell.full |= full;
        if bell.attended {
            self.rung.notify_one();
        } else if full {
            drop(bell);
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

    /// Whether the disk has room for a commit of so many bytes, with some to spare. On a disk that is full to the last
    /// byte sled's error sticks, and a flush of it may wait for ever: so nothing is begun that could get there.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        // Journal, sled's pages, and what it writes anew to gather what it frees.
        let wanted = HEADROOM + 4 * bytes as u64;
        // Who cannot say is asked by writing.
        free_bytes(&self.folder).is_none_or(|free| free >= wanted)
    }

    fn bell(&self) -> MutexGuard<'_, Bell> {
        self.bell.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings what only the journal has to sled's own file: sled's flush, which hands it to the kernel, and a sync,
    /// which hands it to the disk. Commits go on meanwhile.
    fn checkpoint_of(&self, opened: &Opened) -> Result<(), StoreError> {
        {
            let mut journal = opened.journal();
            let mut bell = self.bell();
            (bell.since, bell.full) = (None, false);
            if !journal.rotate() && !journal.unsettled() {
                return Ok(());
            }
        }
        contained(|| Ok(opened.db.flush()?))?;
        sync(&self.folder, opened)?;
        Ok(opened.journal().settled()?)
    }

    /// An orderly end: sled's own file has everything, the journal is no more. Nothing may be committed afterwards.
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

    /// Makes checkpoints until the engine is asked to stop: when there is much, or when a little has waited.
    pub(super) fn attend(&self) {
        self.bell().attended = true;
        loop {
            let mut bell = self.bell();
            while !bell.closing && !bell.full {
                let waited = bell.since.map(|since| CHECKPOINT_AFTER.saturating_sub(since.elapsed()));
                bell = match waited {
                    Some(Duration::ZERO) => break,
                    Some(left) => self.rung.wait_timeout(bell, left).unwrap_or_else(PoisonError::into_inner).0,
                    None => self.rung.wait(bell).unwrap_or_else(PoisonError::into_inner),
                };
            }
            if bell.closing {
                bell.attended = false;
                return;
            }
            (bell.since, bell.full) = (None, false);
            drop(bell);
            if free_bytes(&self.folder).is_some_and(|free| free < HEADROOM / 4) {
                // The journal has it; it is looked at again after a while.
                self.bell().since = Some(Instant::now());
                continue;
            }
            let guard = self.read();
            if let Some(opened) = guard.as_ref()
                && let Err(error) = self.checkpoint_of(opened)
            {
                self.bell().failed = Some(error);
            }
        }
    }

    /// Ends [`Engine::attend`].
    pub(super) fn dismiss(&self) {
        self.bell().closing = true;
        self.rung.notify_all();
    }

    /// Whether what a commit was to write is there. One look is enough: a batch is there as a whole or not at all.
    pub(super) fn holds(&self, txns: &[&Txn]) -> bool {
        let written = txns.iter().flat_map(|txn| txn.ops()).find_map(|(key, value)| Some((key, value?)));
        written.is_some_and(|(key, value)| self.get(key).is_ok_and(|found| found.as_deref() == Some(value)))
    }

    /// Closes sled for good: after a failed sync nobody knows what the disk holds.
    pub(super) fn shut(&self) {
        let closed = self.opened.write().unwrap_or_else(PoisonError::into_inner).take();
        close(closed);
    }

    /// Closes sled and opens it again: after a full disk its error sticks for as long as it is open.
    pub(super) fn reopen(&self) -> Result<(), OpenError> {
        let mut guard = self.opened.write().unwrap_or_else(PoisonError::into_inner);
        let closed = guard.take();
        close(closed);
        self.bell().failed = None;
        *guard = Some(open(&self.folder, self.cache_bytes)?);
        Ok(())
    }

    /// Places in which the journal was damaged when it was opened: each may have been a commit.
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

/// Closes sled, which writes what is left, and may panic over it like any other call of it.
fn close(opened: Option<Opened>) {
    let _ = contained(|| {
        drop(opened);
        Ok(())
    });
}

/// What a process without privileges may still write to the folder's file system; `None` when it does not say.
fn free_bytes(folder: &Path) -> Option<u64> {
    use std::os::unix::ffi::OsStrExt as _;
    let path = std::ffi::CString::new(folder.as_os_str().as_bytes()).ok()?;
    let mut answer = std::mem::MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: the path ends with a zero byte, and the kernel fills the struct when it says 0.
    let answer = unsafe {
        if libc::statvfs(path.as_ptr(), answer.as_mut_ptr()) != 0 {
            return None;
        }
        answer.assume_init()
    };
    Some(answer.f_bavail.saturating_mul(answer.f_frsize))
}

/// sled's answer, or [`StoreError::Engine`] when it panics: on a full disk it does, sometimes, where it could return
/// the error. The journal has what it was to write.
fn contained<T>(call: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|_| {
        tracing::error!("the store's engine panicked");
        Err(StoreError::Engine)
    })
}

fn open(folder: &Path, cache_bytes: u64) -> Result<Opened, OpenError> {
    let config = sled::Config::new()
        .path(folder)
        .cache_capacity(cache_bytes)
        // We flush ourselves, after each commit.
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
        tracing::error!(damaged, "the store's journal is damaged; what cannot be read of it is stepped over");
    }
    let opened = Opened { db, file, blobs_seen: Mutex::new(None), journal: Mutex::new(journal), damaged };
    if !commits.is_empty() {
        contained(|| Ok(replay(&opened.db, commits).and_then(|()| opened.db.flush())?)).map_err(failed)?;
        // The journal is written from its beginning now: what it held has to be elsewhere first.
        sync(folder, &opened).map_err(failed)?;
        opened.journal().replayed().map_err(unusable)?;
    }
    Ok(opened)
}

fn is_locked(error: &std::io::Error) -> bool {
    error.to_string().contains("could not acquire lock")
}

/// Puts commits into sled that may be there already: the last word on each key, in order.
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
    /// Bytes that one commit writes, about.
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
