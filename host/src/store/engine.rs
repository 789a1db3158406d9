//! sled, and what it does not do by itself: sync to the disk, and come back after a full one.

use std::collections::HashMap;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::SystemTime;

use sled::Db;

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
}

/// The open store. Closed and opened again in place when sled's error sticks.
pub(super) struct Engine {
    folder: PathBuf,
    cache_bytes: u64,
    /// Readers share it; `None` while it is closed after a failure.
    opened: RwLock<Option<Opened>>,
}

impl Engine {
    pub(super) fn open(folder: &Path, cache_bytes: u64) -> Result<Self, OpenError> {
        std::fs::create_dir_all(folder).map_err(|error| OpenError::Folder { folder: folder.into(), error })?;
        let opened = open(folder, cache_bytes)?;
        Ok(Self { folder: folder.into(), cache_bytes, opened: RwLock::new(Some(opened)) })
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

    /// Writes everything at once and returns when it is on the disk: one batch, which a crash cannot
    /// tear, sled's flush, which hands it to the kernel, and a sync, which hands it to the disk.
    pub(super) fn commit(&self, txns: &[&Txn]) -> Result<(), StoreError> {
        let guard = self.read();
        let opened = guard.as_ref().ok_or(StoreError::Unavailable)?;
        let mut batch = sled::Batch::default();
        for (key, value) in txns.iter().flat_map(|txn| &txn.ops) {
            match value {
                Some(value) => batch.insert(key.as_slice(), value.as_slice()),
                None => batch.remove(key.as_slice()),
            }
        }
        opened.db.apply_batch(batch)?;
        opened.db.flush()?;
        sync(&self.folder, opened)
    }

    /// Closes sled for good: after a failed sync nobody knows what the disk holds.
    pub(super) fn shut(&self) {
        *self.opened.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Closes sled and opens it again: after a full disk its error sticks for as long as it is open.
    pub(super) fn reopen(&self) -> Result<(), OpenError> {
        let mut guard = self.opened.write().unwrap_or_else(PoisonError::into_inner);
        *guard = None;
        *guard = Some(open(&self.folder, self.cache_bytes)?);
        Ok(())
    }

    /// A number that no earlier run of this store used, for the upper half of sequence numbers.
    pub(super) fn run_number(&self) -> Result<u64, StoreError> {
        let guard = self.read();
        let opened = guard.as_ref().ok_or(StoreError::Unavailable)?;
        Ok(opened.db.generate_id()?)
    }
}

fn open(folder: &Path, cache_bytes: u64) -> Result<Opened, OpenError> {
    let config = sled::Config::new()
        .path(folder)
        .cache_capacity(cache_bytes)
        // We flush ourselves, after each commit.
        .flush_every_ms(None);
    // On a damaged file sled does not return an error, it panics.
    let db = catch_unwind(AssertUnwindSafe(|| config.open()))
        .map_err(|_| OpenError::Damaged { folder: folder.into() })?
        .map_err(|error| match error {
            sled::Error::Io(error) => OpenError::Folder { folder: folder.into(), error },
            sled::Error::Corruption { .. } => OpenError::Damaged { folder: folder.into() },
            error => OpenError::Engine { folder: folder.into(), message: error.to_string() },
        })?;
    let file = File::open(folder.join("db")).map_err(|error| OpenError::Folder { folder: folder.into(), error })?;
    Ok(Opened { db, file, blobs_seen: Mutex::new(None) })
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
