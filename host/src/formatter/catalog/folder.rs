//! The files of the drop-in folder, and the stamps by which a change is noticed.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Metadata that changes whenever a file does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct FileStamp {
    inode: u64,
    bytes: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
    /// Seconds and nanoseconds.
    changed: (i64, i64),
}

impl FileStamp {
    /// The file's size.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The stamp of a file; of a symbolic link, that of its target. `None` if the file cannot be examined.
    fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(Self {
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

/// Beginnings of names that editors, file managers and copying tools give to files of their own, beside the real one:
/// `._x.wasm` (macOS), `.#x.wasm` (Emacs), `.x.wasm` (a hidden copy, rsync), `~$x.wasm` (Windows).
const IGNORED: [char; 3] = ['.', '#', '~'];

/// All entries of the drop-in folder that end in `.wasm`, regular files or not, by name; none if the folder is absent.
/// Hidden files and those of editors are left out.
///
/// # Errors
/// When the folder exists and cannot be read.
pub(super) fn list(folder: &Path) -> std::io::Result<Vec<(PathBuf, Option<FileStamp>)>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let entry = entry?;
        let path = entry.path();
        let is_ignored = entry.file_name().to_string_lossy().starts_with(IGNORED);
        if !is_ignored && path.extension().is_some_and(|extension| extension == "wasm") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths.into_iter().map(|path| (FileStamp::of(&path), path)).map(|(stamp, path)| (path, stamp)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_files_and_those_of_editors_are_ignored() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let ignored = [
            "._x.wasm",
            ".#x.wasm",
            ".x.wasm",
            ".wasm",
            ".x.wasm.swp",
            "#x.wasm#",
            "#x.wasm",
            "~$x.wasm",
            "x.wasm~",
            "x.wasm.bak",
        ];
        let listed = ["-x.wasm", "_x.wasm", "x#.wasm", "x.wasm", "x~.wasm", "\u{e4}.wasm"];
        for name in ignored.iter().chain(&listed) {
            std::fs::write(folder.path().join(name), "x").expect("a file");
        }
        let found = list(folder.path()).expect("readable").into_iter();
        let names: Vec<_> = found.map(|(path, _)| path.file_name().expect("a name").to_owned()).collect();
        assert_eq!(names, listed);
    }
}
