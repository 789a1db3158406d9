//! The master key, the keys derived from it, and encryption at rest of secrets, header values and destination URLs.
//!
//! The key comes from the environment or from the file `master.key` of the data folder, which the first start makes.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::model::secret::Secret;

/// The purpose of the key that authenticates compiled code in its cache.
pub const COMPILED_CODE: &str = "compiled code";
/// The purpose of the key that chains the entries of the audit log.
pub const AUDIT_LOG: &str = "audit log";

/// The purpose of the key that authenticates exports.
pub const EXPORT: &str = "export";

/// The variable that can give the master key.
const VARIABLE: &str = "HERALDRY_MASTER_KEY";
const FILE: &str = "master.key";
/// Bytes of a nonce.
const NONCE: usize = 24;

/// Why there is no usable master key.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant says what it is in its message")]
pub enum KeyError {
    #[error("the master key file {} cannot be used: {error}", file.display())]
    File { file: PathBuf, error: std::io::Error },
    #[error("{source_name} is not a master key: expected base64 of 32 bytes")]
    Malformed { source_name: String },
    #[error("{} can be read by others (mode {mode:o}); run `chmod 600` on it", file.display())]
    Exposed { file: PathBuf, mode: u32 },
}

/// A sealed text that does not open: it was sealed with another key, for another use, or is damaged.
#[derive(Debug, thiserror::Error)]
#[error("a secret that the master key does not open")]
pub struct Locked;

/// The master key in use.
pub struct Keyring {
    cipher: XChaCha20Poly1305,
    key: Zeroizing<[u8; 32]>,
}

impl Keyring {
    /// The keyring of this master key.
    pub fn new(key: Zeroizing<[u8; 32]>) -> Self {
        Self { cipher: XChaCha20Poly1305::new((&*key).into()), key }
    }

    /// The file of a data folder that the key is in, unless the environment gives it.
    pub fn file(folder: &Path) -> PathBuf {
        folder.join(FILE)
    }

    /// The key that the environment gives.
    ///
    /// # Errors
    /// [`KeyError::Malformed`].
    pub fn given(text: &Secret) -> Result<Self, KeyError> {
        Ok(Self::new(decoded(text.expose(), VARIABLE)?))
    }

    /// The key in the folder's file; `None` when there is no file.
    ///
    /// # Errors
    /// [`KeyError`]; also when others can read the file.
    pub fn load(folder: &Path) -> Result<Option<Self>, KeyError> {
        let file = Self::file(folder);
        if !file.exists() {
            return Ok(None);
        }
        let unusable = |error| KeyError::File { file: file.clone(), error };
        let mode = file.metadata().map_err(unusable)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(KeyError::Exposed { file, mode });
        }
        let text = Zeroizing::new(std::fs::read_to_string(&file).map_err(unusable)?);
        Ok(Some(Self::new(decoded(&text, &file.display().to_string())?)))
    }

    /// A new key, written to the folder's file and synced before anything is sealed with it.
    ///
    /// # Errors
    /// [`KeyError::File`]; also when the system has no randomness, or the file is there already.
    pub fn create(folder: &Path) -> Result<Self, KeyError> {
        let file = Self::file(folder);
        let unusable = |error| KeyError::File { file: file.clone(), error };
        let mut key = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *key).map_err(|error| unusable(std::io::Error::other(error)))?;
        let text = Zeroizing::new(format!("{}\n", STANDARD.encode(*key)));
        let mut target = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&file).map_err(unusable)?;
        target.write_all(text.as_bytes()).and_then(|()| target.sync_all()).map_err(unusable)?;
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(unusable)?;
        Ok(Self::new(key))
    }

    /// A key for another purpose, from which the master key cannot be found: HKDF-Expand with the purpose as `info`
    /// (RFC 5869, section 2.3). The master key is uniformly random, so the extract step is not needed.
    pub fn derive(&self, purpose: &str) -> [u8; 32] {
        let hkdf = Hkdf::<Sha256>::from_prk(&*self.key).expect("a key of 32 bytes is a pseudorandom key of SHA-256");
        let mut derived = [0; 32];
        hkdf.expand(purpose.as_bytes(), &mut derived).expect("32 bytes are one block of SHA-256");
        derived
    }

    /// The text's sealed form: nonce, then ciphertext with tag (XChaCha20-Poly1305). `aad`, the additional
    /// authenticated data, names the record and field: sealed text that is moved elsewhere does not open.
    ///
    /// # Errors
    /// [`Locked`] when the system has no randomness for the nonce.
    pub fn seal(&self, aad: &[u8], text: &str) -> Result<Vec<u8>, Locked> {
        let mut sealed = vec![0; NONCE];
        getrandom::fill(&mut sealed).map_err(|_| Locked)?;
        let nonce: [u8; NONCE] = sealed[..NONCE].try_into().map_err(|_| Locked)?;
        let payload = Payload { msg: text.as_bytes(), aad };
        sealed.extend(self.cipher.encrypt(&XNonce::from(nonce), payload).map_err(|_| Locked)?);
        Ok(sealed)
    }

    /// The text that was sealed.
    ///
    /// # Errors
    /// [`Locked`] when key, `aad` or bytes are not those of the sealing.
    pub fn open(&self, aad: &[u8], sealed: &[u8]) -> Result<Secret, Locked> {
        let (nonce, ciphertext) = sealed.split_first_chunk::<NONCE>().ok_or(Locked)?;
        let payload = Payload { msg: ciphertext, aad };
        let text = self.cipher.decrypt(&XNonce::from(*nonce), payload).map_err(|_| Locked)?;
        String::from_utf8(text).map(Secret::new).map_err(|_| Locked)
    }
}

fn decoded(text: &str, source_name: &str) -> Result<Zeroizing<[u8; 32]>, KeyError> {
    let bytes = STANDARD.decode(text.trim()).ok().map(Zeroizing::new);
    let key = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes.as_slice()).ok());
    key.map(Zeroizing::new).ok_or_else(|| KeyError::Malformed { source_name: source_name.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyring(byte: u8) -> Keyring {
        Keyring::new(Zeroizing::new([byte; 32]))
    }

    #[test]
    fn opens_only_with_the_same_key_and_aad() {
        let keyring7 = keyring(7);
        let sealed = keyring7.seal(b"here", "s3cret").expect("sealed");
        assert_eq!(keyring7.open(b"here", &sealed).expect("opened").expose(), "s3cret");
        assert!(keyring7.open(b"there", &sealed).is_err());
        assert!(keyring(8).open(b"here", &sealed).is_err());
        assert!(keyring7.open(b"here", &sealed[..10]).is_err());
        assert!(!sealed.windows(6).any(|window| window == b"s3cret"));
        assert_ne!(sealed, keyring7.seal(b"here", "s3cret").expect("sealed again"));
    }

    /// Other keys would make every existing audit log look forged.
    #[test]
    fn derived_keys_are_those_of_existing_stores() {
        let hex = |purpose| data_encoding::HEXLOWER.encode(&keyring(7).derive(purpose));
        assert_eq!(hex(AUDIT_LOG), "832b9a20c5e5f28569f7653d987ab883cbf90fe6ba40663d156ce7ee9b4e7100");
        assert_eq!(hex(EXPORT), "2b9a8e2664bec1a2b701b9c25af73ccacfca6f148c7d6a82bbcb050ee529c1c6");
        assert_eq!(hex(COMPILED_CODE), "16d3873be86b189952ca70aead694b68cb20a35895978ac5e563c749861acb2b");
    }
}
