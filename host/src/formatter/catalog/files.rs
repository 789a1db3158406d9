//! Files of components: those in the data folder, which are named by digest and replaced as a whole, and those of the
//! drop-in folder, which may be anything.

use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::formatter::admission::{self, Rejection};
use crate::formatter::digest::{hex, sha256, unhex};

/// The list of versions, beside the components.
pub(super) const VERSIONS: &str = "versions.json";
const EXTENSION: &str = ".wasm";

/// The components' folder. A delivery that waits finds the component that it began with here, by digest.
pub(super) struct ComponentFiles {
    pub(super) folder: PathBuf,
}

impl ComponentFiles {
    /// Opens the folder and creates it if it is absent.
    pub(super) fn open(folder: PathBuf) -> std::io::Result<Self> {
        std::fs::create_dir_all(&folder)?;
        Ok(Self { folder })
    }

    /// Stores a component. One that is there already gets a new modification time, since its age counts from its last
    /// use.
    pub(super) fn store(&self, digest: &[u8; 32], bytes: &[u8]) -> std::io::Result<()> {
        let path = self.path(digest);
        if std::fs::metadata(&path).is_ok_and(|metadata| metadata.len() == bytes.len() as u64) {
            return self.touch(digest);
        }
        replace(&path, bytes)
    }

    /// A component's bytes; `None` if the file is absent or its content does not have this digest.
    pub(super) fn load(&self, digest: [u8; 32]) -> Option<Vec<u8>> {
        // It was within the size limit when it was stored; the limit may have been lowered since.
        let bytes = read(&self.path(&digest), usize::MAX >> 1).ok()?;
        (sha256(&bytes) == digest).then_some(bytes)
    }

    /// The size of a component; 0 if its file is gone.
    pub(super) fn bytes(&self, digest: &[u8; 32]) -> u64 {
        std::fs::metadata(self.path(digest)).map_or(0, |metadata| metadata.len())
    }

    /// Sets the modification time to now.
    pub(super) fn touch(&self, digest: &[u8; 32]) -> std::io::Result<()> {
        std::fs::File::options().append(true).open(self.path(digest))?.set_modified(SystemTime::now())
    }

    fn path(&self, digest: &[u8; 32]) -> PathBuf {
        self.folder.join(format!("{}{EXTENSION}", hex(digest)))
    }
}

/// The digest in the name of a component's file.
pub(super) fn digest_in(name: &str) -> Option<[u8; 32]> {
    name.strip_suffix(EXTENSION).and_then(unhex)
}

/// The files of a components' folder that belong into an export, as (path in the data folder, path): the components and
/// the list of their versions. Machine code is left out, since it can be compiled again.
pub fn component_files(components: &Path) -> Vec<(String, PathBuf)> {
    let entries = std::fs::read_dir(components).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            (name.ends_with(EXTENSION) || name == VERSIONS).then(|| (format!("components/{name}"), entry.path()))
        })
        .collect();
    files.sort();
    files
}

/// Reads a component's file of at most `most` bytes with the same checks as the drop-in folder, for an author's tools.
///
/// # Errors
/// With the reason why it cannot be read.
pub fn read_component(path: &Path, most: usize) -> Result<Vec<u8>, Rejection> {
    read(path, most)
}

/// Reads a file that may be anything: a pipe must not block the host, a huge file must not fill its memory.
pub(super) fn read(path: &Path, most: usize) -> Result<Vec<u8>, Rejection> {
    let unreadable = |error: std::io::Error| {
        Rejection::new("unreadable", format!("it cannot be read: {error}; check its permissions and where it leads to"))
    };
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    // Opening a pipe without a writer returns at once.
    let file = std::fs::OpenOptions::new().read(true).custom_flags(nonblocking).open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(Rejection::new("not_a_file", "it is not a regular file; put the component itself there"));
    }
    if metadata.len() > most as u64 {
        let finding = admission::too_large(metadata.len(), most);
        return Err(Rejection::new(finding.code, finding.sentences()));
    }
    let mut bytes = Vec::new();
    file.take(most as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

/// Replaces a file atomically: writes another one, syncs it and renames it. A reader sees the old content or the new.
///
/// # Errors
/// When the disk fails or is full.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().ok_or_else(|| std::io::Error::other("a file without a folder"))?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    std::io::Write::write_all(&mut file, bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    std::fs::File::open(folder)?.sync_all()
}
