//! Encryption at rest of secrets, header values and destination URLs.

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::model::secret::Secret;

const NONCE: usize = 24;

/// Seals texts with XChaCha20-Poly1305 under the master key, each with a nonce of its own and bound to
/// the place that it stands in, so that a sealed text moved elsewhere does not open.
pub(super) struct Vault {
    cipher: XChaCha20Poly1305,
    key: [u8; 32],
}

/// A sealed text that does not open: another key, or damage.
#[derive(Debug, thiserror::Error)]
#[error("a secret that the master key does not open")]
pub(super) struct Locked;

impl Vault {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        Self { cipher: XChaCha20Poly1305::new(key.into()), key: *key }
    }

    /// A key for another purpose, from which the master key cannot be found (HKDF's expand step with one
    /// block, RFC 5869, section 2.3).
    pub(super) fn derive(&self, purpose: &str) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes a key of any length");
        mac.update(purpose.as_bytes());
        mac.update(&[1]);
        mac.finalize().into_bytes().into()
    }

    /// The text's sealed form: nonce, then ciphertext with tag. `place` must be given again to open it.
    pub(super) fn seal(&self, place: &[u8], text: &str) -> Result<Vec<u8>, Locked> {
        let mut sealed = vec![0; NONCE];
        getrandom::fill(&mut sealed).map_err(|_| Locked)?;
        let nonce: [u8; NONCE] = sealed[..NONCE].try_into().map_err(|_| Locked)?;
        let payload = Payload { msg: text.as_bytes(), aad: place };
        sealed.extend(self.cipher.encrypt(&XNonce::from(nonce), payload).map_err(|_| Locked)?);
        Ok(sealed)
    }

    /// # Errors
    /// [`Locked`] when key, place or bytes are not those of the sealing.
    pub(super) fn open(&self, place: &[u8], sealed: &[u8]) -> Result<Secret, Locked> {
        let (nonce, ciphertext) = sealed.split_first_chunk::<NONCE>().ok_or(Locked)?;
        let payload = Payload { msg: ciphertext, aad: place };
        let text = self.cipher.decrypt(&XNonce::from(*nonce), payload).map_err(|_| Locked)?;
        String::from_utf8(text).map(Secret::new).map_err(|_| Locked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_only_with_the_same_key_and_place() {
        let vault = Vault::new(&[7; 32]);
        let sealed = vault.seal(b"here", "s3cret").expect("sealed");
        assert_eq!(vault.open(b"here", &sealed).expect("opened").expose(), "s3cret");
        assert!(vault.open(b"there", &sealed).is_err());
        assert!(Vault::new(&[8; 32]).open(b"here", &sealed).is_err());
        assert!(vault.open(b"here", &sealed[..10]).is_err());
        assert!(!sealed.windows(6).any(|window| window == b"s3cret"));
        assert_ne!(sealed, vault.seal(b"here", "s3cret").expect("sealed again"));
    }
}
