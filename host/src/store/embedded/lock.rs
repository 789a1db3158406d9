//! One process a folder.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::OpenError;

const NAME: &str = "store.lock";

/// The lock of a data folder: the kernel drops it with the process, however that ends.
pub(super) struct FolderLock(File);

impl FolderLock {
    pub(super) fn take(folder: &Path) -> Result<Self, OpenError> {
        let unusable = |error| OpenError::Folder { folder: folder.into(), error };
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(folder.join(NAME))
            .map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse { folder: folder.into() }),
            Err(TryLockError::Error(error)) => Err(unusable(error)),
        }
    }

    /// Removes the lock's file from a folder that is to have no store.
    pub(super) fn remove(self, folder: &Path) -> std::io::Result<()> {
        std::fs::remove_file(folder.join(NAME))
    }
}

impl Drop for FolderLock {
    /// Closing the file is not enough: a child that this process is starting (a compiler of components) has a copy of it
    /// until its `exec`, and the lock lives as long as the last copy (flock(2)).
    fn drop(&mut self) {
        if let Err(error) = self.0.unlock() {
            tracing::warn!(%error, "the data folder's lock was not released; the end of this process releases it");
        }
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn a_child_that_is_being_started_does_not_keep_a_lock() {
        let folder = TempDir::new().expect("a folder");
        let lock = FolderLock::take(folder.path()).expect("the lock");
        let copy = lock.0.try_clone().expect("a copy of the file, as a fork makes it");
        assert!(matches!(FolderLock::take(folder.path()), Err(OpenError::InUse { .. })));
        drop(lock);
        drop(FolderLock::take(folder.path()).expect("the lock again"));
        drop(copy);
    }
}
