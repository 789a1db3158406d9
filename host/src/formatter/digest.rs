//! SHA-256 digests of components and their text forms.

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use sha2::{Digest as _, Sha256};

pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// 64 lower-case hex digits.
pub(super) fn hex(digest: &[u8; 32]) -> String {
    HEXLOWER.encode(digest)
}

/// Reads 64 hex digits.
pub(super) fn unhex(text: &str) -> Option<[u8; 32]> {
    HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?.try_into().ok()
}

/// `sha256:` and the digest in lower-case hex, as the API shows it.
pub(super) fn digest_text(digest: &[u8; 32]) -> String {
    format!("sha256:{}", hex(digest))
}

/// `sha256:` and the digest of a component's bytes in lower-case hex.
pub fn digest_of(bytes: &[u8]) -> String {
    digest_text(&sha256(bytes))
}
