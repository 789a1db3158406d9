//! One-time links to the console that were not used yet.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use sha2::{Digest as _, Sha256};

use crate::model::id::TokenId;

/// How long a link can be used.
pub(super) const VALID_MS: i64 = 60_000;
/// Links that can be used at a time; a further one makes the oldest unusable.
const MOST_LINKS: usize = 1024;

/// Links that were not used yet, the oldest first. Only their hashes are kept, and a restart forgets them.
#[derive(Default)]
pub(super) struct Links(Mutex<VecDeque<Link>>);

struct Link {
    hash: [u8; 32],
    token: TokenId,
    expires_ms: i64,
}

impl Links {
    /// Adds a link for a token.
    pub(super) fn add(&self, text: &str, token: TokenId, now_ms: i64) {
        let mut links = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        links.retain(|link| link.expires_ms > now_ms);
        if links.len() == MOST_LINKS {
            links.pop_front();
        }
        links.push_back(Link { hash: hash(text), token, expires_ms: now_ms + VALID_MS });
    }

    /// The token that a link is for.
    pub(super) fn peek(&self, text: &str, now_ms: i64) -> Option<TokenId> {
        let (links, hash) = (self.0.lock().unwrap_or_else(PoisonError::into_inner), hash(text));
        links.iter().find(|link| link.hash == hash && link.expires_ms > now_ms).map(|link| link.token)
    }

    /// The same, and uses the link up.
    pub(super) fn take(&self, text: &str, now_ms: i64) -> Option<TokenId> {
        let token = self.peek(text, now_ms)?;
        let (mut links, hash) = (self.0.lock().unwrap_or_else(PoisonError::into_inner), hash(text));
        let before = links.len();
        links.retain(|link| link.hash != hash);
        // Of two at a time one has used it up.
        (links.len() < before).then_some(token)
    }
}

fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> TokenId {
        "01890a5d-ac96-774b-bcce-b302099a8057".parse().expect("an id")
    }

    #[test]
    fn a_link_is_used_once_and_for_a_minute() {
        let links = Links::default();
        links.add("a", id(), 0);
        assert_eq!((links.peek("a", 1), links.peek("a", VALID_MS)), (Some(id()), None));
        assert_eq!((links.take("b", 1), links.take("a", VALID_MS)), (None, None));
        assert_eq!((links.take("a", 1), links.take("a", 1), links.peek("a", 1)), (Some(id()), None, None));
    }

    #[test]
    fn unused_links_are_bounded() {
        let links = Links::default();
        for number in 0..=MOST_LINKS {
            links.add(&number.to_string(), id(), 0);
        }
        assert_eq!((links.peek("0", 1), links.peek("1", 1)), (None, Some(id())));
    }
}
