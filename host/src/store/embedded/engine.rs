//! The engine: a commit is durable once it is in the [`Journal`], a write-ahead log. It is then in the memtable, and
//! checkpoints bring it to sled.

use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use super::checkpoint::{Checkpoint, Checkpointer};
use super::journal::{Commit, Journal};
use super::memtable::{Memtable, Memtables, Range};
#[cfg(test)]
pub(super) use super::tests::faults::{Faults, Step};
use super::tree::{Tree, contained};
use super::txn::{Bytes, Txn};
use super::{OpenError, StoreError, scan};
use crate::watchdog::Pulse;

struct Opened {
    tree: Tree,
    memtables: Memtables,
    /// Locked by the writer for a commit, and briefly at the beginning and the end of a checkpoint. While it is free, the
    /// active memtable has the commits of the journal's active file, and a memtable is frozen exactly if the other file
    /// is not settled.
    journal: Mutex<Journal>,
    /// Held for a whole checkpoint: one at a time.
    checkpoint: Mutex<()>,
    /// Damaged spots of the journal when it was opened.
    damaged: u64,
}

impl Opened {
    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True if the memtable or the journal has reached these sizes, in bytes.
    fn has_reached(&self, journal: &Journal, memtable_bytes: usize, journal_bytes: u64) -> bool {
        self.memtables.bytes() >= memtable_bytes || journal.bytes() >= journal_bytes
    }
}

/// The sizes of memtable and journal at which a checkpoint begins, in bytes. The journal's is the longer one: what is
/// rewritten again and again fills it alone. A start replays twice as much at most, usually.
const CHECKPOINT_MEMTABLE: usize = 6 * 1024 * 1024;
const CHECKPOINT_JOURNAL: u64 = 8 * 1024 * 1024;
/// The sizes at which the writer waits for the checkpoint, in bytes: the disk is slower than the ingest (backpressure).
/// There may be two memtables of that size, each with one commit beyond it.
pub(super) const MEMTABLE_MOST: usize = 12 * 1024 * 1024;
const JOURNAL_MOST: u64 = 32 * 1024 * 1024;
/// The bytes of the disk that stay free.
const HEADROOM: u64 = 8 * 1024 * 1024;
/// What a byte costs on the disk: the journal, sled's pages, and the pages that it rewrites to free space.
const TREE_COST: u64 = 4;

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

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let guard = self.read();
        let opened = guard.as_ref().ok_or(StoreError::Unavailable)?;
        match opened.memtables.get(key) {
            Some(change) => Ok(change),
            None => opened.tree.get(key),
        }
    }

    /// The value that sled has, whatever the memtable says.
    #[cfg(test)]
    pub(super) fn tree_get(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.read().as_ref().ok_or(StoreError::Unavailable)?.tree.get(key)
    }

    /// Bytes of the memtable that gets commits.
    #[cfg(test)]
    pub(super) fn memtable_bytes(&self) -> usize {
        self.read().as_ref().map_or(0, |opened| opened.memtables.bytes())
    }

    /// Visits the entries from `from` on, or backwards from before it, while `visit` says so.
    pub(super) fn scan(
        &self,
        from: &[u8],
        backwards: bool,
        visit: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StoreError> {
        let range = if backwards {
            Range { from: Bound::Unbounded, until: Bound::Excluded(from.into()) }
        } else {
            Range { from: Bound::Included(from.into()), until: Bound::Unbounded }
        };
        self.scan_range(range, backwards, visit)
    }

    /// The entries whose key begins with `prefix`, from the first one after `after` on, while `visit` says so.
    pub(super) fn scan_prefix(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        visit: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StoreError> {
        let from = after.map_or_else(|| Bound::Included(prefix.into()), |key| Bound::Excluded(key.into()));
        self.scan_range(Range { from, until: end_of(prefix) }, false, visit)
    }

    fn scan_range(
        &self,
        range: Range,
        backwards: bool,
        mut visit: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StoreError> {
        let guard = self.read();
        let opened = guard.as_ref().ok_or(StoreError::Unavailable)?;
        scan::scan(&opened.memtables, &opened.tree, range, backwards, &mut visit)
    }

    /// Writes everything at once and returns when it is on the disk: one record of the journal, synced. Readers see it
    /// from then on, and none of it before.
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
        while opened.has_reached(&journal, MEMTABLE_MOST, JOURNAL_MOST) {
            // Seen before the journal is free: a checkpoint that begins then makes room at once.
            let seen = self.checkpointer.moves();
            drop(journal);
            match self.checkpointer.wait(seen) {
                Some(moved) => moved?,
                None => self.checkpoint_of(opened)?,
            }
            journal = opened.journal();
        }
        #[cfg(test)]
        self.faults.before(Step::Write)?;
        journal.append(txns)?;
        if let Err(error) = self.sync_journal(&journal) {
            // It was not acknowledged, so it must not come back after a restart. If the disk rejects even that, it
            // stays: more than was promised, never less.
            if let Err(error) = journal.undo() {
                tracing::error!(%error, "a commit that failed could not be undone; it may be there after a restart");
            }
            return Err(error);
        }
        opened.memtables.add(txns);
        let due = opened.has_reached(&journal, CHECKPOINT_MEMTABLE, CHECKPOINT_JOURNAL);
        drop(journal);
        if !self.checkpointer.signal(due) && due {
            self.checkpoint_of(opened)?;
        }
        Ok(())
    }

    fn sync_journal(&self, journal: &Journal) -> Result<(), StoreError> {
        #[cfg(test)]
        self.faults.before(Step::Sync)?;
        Ok(journal.sync()?)
    }

    /// True if the disk has room for a commit of so many bytes and for the memtable, with some to spare. On a disk that is
    /// full to the last byte sled's error sticks, and a flush of it may block forever, so nothing is begun that could get
    /// there.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        let unwritten = self.read().as_ref().map_or(0, |opened| opened.memtables.all_bytes());
        self.has_free(HEADROOM + TREE_COST * (bytes + unwritten) as u64)
    }

    /// True if the disk has room to write the memtable to sled. The writer stops accepting before that is so.
    fn has_room_for_checkpoint(&self, opened: &Opened) -> bool {
        self.has_free(HEADROOM / 4 + TREE_COST * opened.memtables.all_bytes() as u64)
    }

    /// A file system that does not say is tried.
    fn has_free(&self, wanted: u64) -> bool {
        self.disk().is_none_or(|(free, _)| free >= wanted)
    }

    /// What a process without privileges may still write to the folder's file system, and all of it, in bytes; `None` when
    /// it does not say.
    pub(super) fn disk(&self) -> Option<(u64, u64)> {
        let found = rustix::fs::statvfs(&self.folder).ok()?;
        Some((found.f_bavail.saturating_mul(found.f_frsize), found.f_blocks.saturating_mul(found.f_frsize)))
    }

    /// A checkpoint: brings the journal's commits to sled, by its flush to the kernel, and by an fsync to the disk. Only
    /// then is the journal's file free for new commits, and the memtable dropped. Commits go on meanwhile. After an error
    /// everything is where it was, and the next checkpoint does all of it again.
    fn checkpoint_of(&self, opened: &Opened) -> Result<(), StoreError> {
        let _one = opened.checkpoint.lock().unwrap_or_else(PoisonError::into_inner);
        {
            let mut journal = opened.journal();
            self.checkpointer.begin();
            if journal.rotate() {
                opened.memtables.freeze();
            }
        }
        let Some(frozen) = opened.memtables.frozen() else { return Ok(()) };
        self.write_to_sled(opened, &frozen)?;
        let mut journal = opened.journal();
        #[cfg(test)]
        self.faults.before(Step::Settle)?;
        journal.settled()?;
        opened.memtables.thaw();
        Ok(())
    }

    /// Brings changes to sled's file and to the disk.
    fn write_to_sled(&self, opened: &Opened, changes: &Memtable) -> Result<(), StoreError> {
        contained(|| {
            opened.tree.write(changes, || {
                #[cfg(test)]
                self.faults.before(Step::Apply)?;
                Ok(())
            })?;
            #[cfg(test)]
            self.faults.before(Step::Flush)?;
            opened.tree.flush()?;
            #[cfg(test)]
            self.faults.before(Step::SyncTree)?;
            opened.tree.sync()
        })
    }

    /// An orderly end: sled's own file gets everything, the journal is removed. Nothing may be committed afterwards.
    pub(super) fn finish(&self) {
        let guard = self.read();
        let Some(opened) = guard.as_ref() else { return };
        if opened.tree.has_failed() {
            tracing::warn!("the store could not be written; its journal is replayed at the next start");
            return;
        }
        if !self.has_room_for_checkpoint(opened) {
            tracing::warn!("the disk is full; the store's journal is replayed at the next start");
            return;
        }
        // The first one may go on with one that failed; the second one then brings what came after it.
        let settled = self.checkpoint_of(opened).and_then(|()| self.checkpoint_of(opened));
        if settled.is_ok()
            && let Err(error) = opened.journal().clear(&self.folder)
        {
            tracing::warn!(%error, "the store's journal could not be removed; it is replayed at the next start");
        }
    }

    /// Makes checkpoints until [`Checkpointer::stop`].
    pub(super) fn run_checkpoints(&self, pulse: &Pulse) {
        self.checkpointer.run(pulse, || self.try_checkpoint());
    }

    /// A checkpoint, if the disk has room for it.
    pub(super) fn try_checkpoint(&self) -> Checkpoint {
        let guard = self.read();
        let Some(opened) = guard.as_ref() else { return Checkpoint::Done };
        if !self.has_room_for_checkpoint(opened) {
            return Checkpoint::Postponed;
        }
        match self.checkpoint_of(opened) {
            Ok(()) => Checkpoint::Done,
            Err(error) => Checkpoint::Failed(error),
        }
    }

    /// True if these transactions are there. One key is enough to look at: a batch is there as a whole or not at all.
    pub(super) fn holds(&self, txns: &[&Txn]) -> bool {
        let written = txns.iter().flat_map(|txn| txn.ops()).find_map(|(key, value)| Some((key, value?)));
        written.is_some_and(|(key, value)| self.get(key).is_ok_and(|found| found.as_ref() == Some(value)))
    }

    /// Closes sled for good: after a failed fsync the disk's content is not known.
    pub(super) fn shut(&self) {
        self.is_open.store(false, Ordering::Relaxed);
        let closed = self.opened.write().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(opened) = closed {
            opened.tree.give_up();
        }
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
        opened.tree.run_number()
    }
}

/// Closes sled, if it is open.
fn close(opened: Option<Opened>) {
    if let Some(opened) = opened {
        opened.tree.close();
    }
}

/// The end of the keys that begin with a prefix.
fn end_of(prefix: &[u8]) -> Bound<Bytes> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if let Some(next) = last.checked_add(1) {
            end.push(next);
            return Bound::Excluded(end.into());
        }
    }
    Bound::Unbounded
}

/// Opens sled and the journal, and brings to sled what the journal has. Each commit has the final values of its keys, and
/// they come in order, so it changes nothing that sled may have some of them already.
fn open(folder: &Path, cache_bytes: u64) -> Result<Opened, OpenError> {
    let tree = Tree::open(folder, cache_bytes)?;
    let failed = |error: StoreError| OpenError::Engine { folder: folder.into(), message: error.to_string() };
    let unusable = |error| OpenError::Folder { folder: folder.into(), error };
    let (journal, commits, damaged) = Journal::open(folder).map_err(unusable)?;
    if damaged > 0 {
        tracing::error!(damaged, "the store's journal is damaged; the unreadable parts are skipped");
    }
    if !commits.is_empty() {
        let replayed = replayed(commits);
        contained(|| tree.write(&replayed, || Ok(())).and_then(|()| tree.flush())).map_err(failed)?;
        // The journal is overwritten from its beginning: its commits have to be in sled's file first.
        tree.sync().map_err(failed)?;
        journal.replayed().map_err(unusable)?;
    }
    let (journal, checkpoint) = (Mutex::new(journal), Mutex::new(()));
    Ok(Opened { tree, memtables: Memtables::default(), journal, checkpoint, damaged })
}

/// The net of all commits.
fn replayed(commits: Vec<Commit>) -> Memtable {
    let mut memtable = Memtable::default();
    for (key, value) in commits.into_iter().flatten() {
        memtable.set(key.into(), value.map(Bytes::from));
    }
    memtable
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.finish();
        let opened = self.opened.get_mut().unwrap_or_else(PoisonError::into_inner);
        if opened.as_ref().is_some_and(|opened| opened.tree.has_failed()) {
            // sled ends with a flush, and that waits for ever for a large value whose file could not be written. The journal
            // has everything; the end of the process closes the files.
            std::mem::forget(opened.take());
        }
    }
}
