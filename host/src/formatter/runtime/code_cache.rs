//! Machine code on the disk, between two starts. Loading machine code means trusting it, so each file carries a MAC
//! under a key that only this host has; a file that fails it is ignored and the component compiled again.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::engine::MachineCode;
use crate::formatter::digest::hex;

const MAC_BYTES: usize = 32;
/// A file with machine code, after its MAC.
const CODE: &str = "cwasm";
/// A file after whose MAC there is text: the component was admitted, with these warnings.
const ADMISSION: &str = "fits";

/// The folder and the key of the code cache.
#[derive(Clone, Debug)]
pub struct CodeCache {
    /// The folder; only this host may be able to write to it.
    pub folder: PathBuf,
    /// The key of the files' MACs.
    pub key: [u8; 32],
}

/// The component and the environment that a file belongs to.
#[derive(Clone, Copy)]
pub(super) struct CacheKey<'a> {
    /// SHA-256 of the component.
    pub(super) digest: &'a [u8; 32],
    /// See [`super::compile::ComponentCompiler`].
    pub(super) environment: u64,
}

impl CodeCache {
    /// The cached code, if its MAC is right.
    pub(super) fn read(&self, key: CacheKey<'_>) -> Option<MachineCode> {
        let mut file = std::fs::File::open(self.path(key, CODE)).ok()?;
        let mut mac = [0; MAC_BYTES];
        file.read_exact(&mut mac).ok()?;
        let mut code = Vec::new();
        file.read_to_end(&mut code).ok()?;
        if self.mac(key, CODE, &code).verify_slice(&mac).is_err() {
            tracing::warn!(
                digest = hex(key.digest),
                "cached machine code is damaged or not this host's; the component is compiled again"
            );
            return None;
        }
        Some(MachineCode::trust(code))
    }

    /// True if there is a file with the component's code.
    pub(super) fn contains(&self, key: CacheKey<'_>) -> bool {
        self.path(key, CODE).is_file()
    }

    pub(super) fn write(&self, key: CacheKey<'_>, code: &MachineCode) -> std::io::Result<()> {
        let mac = self.mac(key, CODE, code.bytes()).finalize().into_bytes();
        let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
        file.write_all(&mac)?;
        file.write_all(code.bytes())?;
        file.persist(self.path(key, CODE))?;
        Ok(())
    }

    /// The text that was recorded when the component was admitted under these conditions.
    pub(super) fn admission(&self, key: CacheKey<'_>, conditions: &[u8; 32]) -> Option<String> {
        let content = std::fs::read(self.path(key, ADMISSION)).ok()?;
        let (mac, text) = content.split_first_chunk::<MAC_BYTES>()?;
        self.mac(key, ADMISSION, &[conditions, text].concat()).verify_slice(mac).ok()?;
        String::from_utf8(text.to_vec()).ok()
    }

    pub(super) fn record_admission(&self, key: CacheKey<'_>, conditions: &[u8; 32], text: &str) {
        let mac = self.mac(key, ADMISSION, &[conditions, text.as_bytes()].concat()).finalize().into_bytes();
        // Without the file the next start tries the samples again, nothing worse.
        drop(std::fs::write(self.path(key, ADMISSION), [&mac, text.as_bytes()].concat()));
    }

    /// True if a file of the components' folder belongs to the cache.
    pub(in crate::formatter) fn owns(name: &str) -> bool {
        name.ends_with(CODE) || name.ends_with(ADMISSION)
    }

    /// True if a file of the cache belongs to one of these components.
    pub(in crate::formatter) fn belongs_to(name: &str, digests: &[[u8; 32]]) -> bool {
        Self::owns(name) && digests.iter().any(|digest| name.starts_with(&hex(digest)))
    }

    fn path(&self, key: CacheKey<'_>, extension: &str) -> PathBuf {
        self.folder.join(format!("{}.{:016x}.{extension}", hex(key.digest), key.environment))
    }

    /// Binds the content of a file to its kind, its component and its environment.
    fn mac(&self, key: CacheKey<'_>, kind: &str, content: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes a key of any length");
        mac.update(kind.as_bytes());
        mac.update(key.digest);
        mac.update(&key.environment.to_be_bytes());
        mac.update(content);
        mac
    }
}

/// The key of the current user's own [`CodeCache`] in `folder`; both are created if absent.
///
/// # Errors
/// When the folder or the key cannot be created, or another user can read the key.
pub fn code_cache_key(folder: &Path) -> std::io::Result<[u8; 32]> {
    use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let path = folder.join("key");
    let mut key = [0; 32];
    match std::fs::File::open(&path) {
        Ok(mut file) => {
            let metadata = file.metadata()?;
            if metadata.mode() & 0o077 != 0 || metadata.uid() != rustix::process::geteuid().as_raw() {
                return Err(std::io::Error::other(format!(
                    "{} is accessible to other users; remove it, and a new key is made",
                    path.display()
                )));
            }
            file.read_exact(&mut key)?;
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            getrandom::fill(&mut key).map_err(std::io::Error::other)?;
            std::fs::File::options().create_new(true).write(true).mode(0o600).open(&path)?.write_all(&key)?;
        }
        Err(error) => return Err(error),
    }
    Ok(key)
}
