//! Files: the drop-in folder's, which may be anything, and ours, which are replaced as a whole.

use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::formatter::admission::check;
use crate::formatter::admission::report::Rejection;

/// What changes when a file does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::formatter) struct Mark {
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// The drop-in folder's files, by name, with their marks. Whatever ends in `.wasm` is looked at, also what is
/// no file; what cannot be looked at has no mark.
///
/// # Errors
/// When the folder is there and cannot be read.
pub(in crate::formatter) fn candidates(folder: &Path) -> std::io::Result<Vec<(PathBuf, Option<Mark>)>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "wasm") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths.into_iter().map(|path| (mark(&path), path)).map(|(mark, path)| (path, mark)).collect())
}

/// A link counts as what it leads to.
fn mark(path: &Path) -> Option<Mark> {
    let metadata = std::fs::metadata(path).ok()?;
    Some(Mark {
        inode: metadata.ino(),
        bytes: metadata.len(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    })
}

/// Reads a file that may be anything: a pipe must not block, a huge one must not fill the memory.
pub(in crate::formatter) fn read(path: &Path, most: usize) -> Result<Vec<u8>, Rejection> {
    let unreadable = |error: std::io::Error| {
        Rejection::new("unreadable", format!("it cannot be read: {error}; check its permissions and where it leads to"))
    };
    // O_NONBLOCK: opening a pipe that nobody writes to returns at once.
    let file = std::fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(Rejection::new("not_a_file", "it is not a regular file; put the component itself there"));
    }
    if metadata.len() > most as u64 {
        let finding = check::too_large(metadata.len(), most);
        return Err(Rejection::new(finding.code, finding.sentences()));
    }
    let mut bytes = Vec::new();
    file.take(most as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

/// Writes a file beside, syncs it and moves it into place: a reader sees the old one or the new one.
///
/// # Errors
/// When the disk does not take it.
pub(in crate::formatter) fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().ok_or_else(|| std::io::Error::other("a file without a folder"))?;
    let mut beside = tempfile::NamedTempFile::new_in(folder)?;
    std::io::Write::write_all(&mut beside, bytes)?;
    beside.as_file().sync_all()?;
    beside.persist(path)?;
    std::fs::File::open(folder)?.sync_all()
}

/// Reads a component as the drop-in folder is read, for an author's tools.
///
/// # Errors
/// Why it cannot be read.
pub fn read_component(path: &Path, most: usize) -> Result<Vec<u8>, Rejection> {
    read(path, most)
}
