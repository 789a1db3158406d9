//! Sessions: a sealed cookie, and no table of them. A session is its token's: whoever deletes the token ends it.
//!
//! The key is drawn at the start, so a restart ends every session, and with it what has to be known of those that were
//! logged out.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use chacha20poly1305::aead::{Aead as _, KeyInit as _};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use crate::model::id::TokenId;
use crate::model::token::Token;

/// A session without requests ends after this long.
const IDLE_MS: i64 = 30 * 60 * 1000;
/// A session ends after this long.
const LONGEST_MS: i64 = 12 * 60 * 60 * 1000;
/// A cookie older than this is renewed with the next response.
const RENEWED_MS: i64 = 60 * 1000;
/// Logged-out sessions that are remembered. One more draws another key, which ends all sessions.
const MOST_ENDED: usize = 65_536;
/// Failed logins in a row that are answered at once.
const FAILED_LOGINS: u32 = 20;
/// After those, one more is answered in this time.
const LOGIN_EVERY_MS: i64 = 3_000;
const NONCE_BYTES: usize = 24;
/// Token id, start, last request, random bytes.
const PLAIN_BYTES: usize = 16 + 8 + 8 + 16;

/// What a cookie says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Sealed {
    pub(super) token: TokenId,
    id: [u8; 16],
    started_ms: i64,
    seen_ms: i64,
}

/// A browser that is logged in.
#[derive(Clone, Debug)]
pub(super) struct Session {
    /// Its token, as it is now.
    pub(super) token: Token,
    pub(super) sealed: Sealed,
}

/// All sessions.
pub(super) struct Sessions(Mutex<State>);

struct State {
    key: [u8; 32],
    ended: HashSet<[u8; 16]>,
    logins: Logins,
}

/// A token bucket of failed logins.
#[derive(Default)]
struct Logins {
    failed: u32,
    since_ms: i64,
}

impl Sessions {
    pub(super) fn new() -> Self {
        Self(Mutex::new(State { key: random(), ended: HashSet::new(), logins: Logins::default() }))
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a session; returns its cookie's value.
    pub(super) fn begin(&self, token: TokenId, now_ms: i64) -> String {
        self.seal(&Sealed { token, id: random(), started_ms: now_ms, seen_ms: now_ms })
    }

    fn seal(&self, sealed: &Sealed) -> String {
        let mut plain = Vec::with_capacity(PLAIN_BYTES);
        plain.extend(sealed.token.as_bytes());
        plain.extend(sealed.started_ms.to_be_bytes());
        plain.extend(sealed.seen_ms.to_be_bytes());
        plain.extend(sealed.id);
        let nonce: [u8; NONCE_BYTES] = random();
        let cipher = XChaCha20Poly1305::new(&self.state().key.into());
        let text = cipher.encrypt(&XNonce::from(nonce), plain.as_slice()).unwrap_or_default();
        BASE64URL_NOPAD.encode(&[nonce.as_slice(), &text].concat())
    }

    /// The session of a cookie, unless it has ended.
    pub(super) fn open(&self, cookie: &str, now_ms: i64) -> Option<Sealed> {
        let bytes = BASE64URL_NOPAD.decode(cookie.as_bytes()).ok()?;
        let (nonce, text) = bytes.split_first_chunk::<NONCE_BYTES>()?;
        let state = self.state();
        let plain = XChaCha20Poly1305::new(&state.key.into()).decrypt(&XNonce::from(*nonce), text).ok()?;
        let plain: [u8; PLAIN_BYTES] = plain.try_into().ok()?;
        let number = |at: usize| plain[at..at + 8].try_into().map(i64::from_be_bytes).ok();
        let sealed = Sealed {
            token: uuid::Uuid::from_slice(&plain[..16]).ok()?.into(),
            started_ms: number(16)?,
            seen_ms: number(24)?,
            id: plain[32..].try_into().ok()?,
        };
        let lives = now_ms - sealed.seen_ms < IDLE_MS && now_ms - sealed.started_ms < LONGEST_MS;
        (lives && !state.ended.contains(&sealed.id)).then_some(sealed)
    }

    /// A cookie that a session is continued with, when it is time for one.
    pub(super) fn renew(&self, sealed: &Sealed, now_ms: i64) -> Option<String> {
        (now_ms - sealed.seen_ms >= RENEWED_MS).then(|| self.seal(&Sealed { seen_ms: now_ms, ..*sealed }))
    }

    /// Ends a session.
    pub(super) fn end(&self, sealed: &Sealed) {
        let mut state = self.state();
        if state.ended.len() == MOST_ENDED {
            state.key = random();
            state.ended.clear();
        }
        state.ended.insert(sealed.id);
    }

    /// The field that each form of a session carries.
    pub(super) fn field(&self, sealed: &Sealed) -> String {
        BASE64URL_NOPAD.encode(&self.mac(sealed).finalize().into_bytes())
    }

    /// True if a form carries its session's field.
    pub(super) fn is_field(&self, sealed: &Sealed, field: &str) -> bool {
        let bytes = BASE64URL_NOPAD.decode(field.as_bytes()).unwrap_or_default();
        self.mac(sealed).verify_slice(&bytes).is_ok()
    }

    fn mac(&self, sealed: &Sealed) -> Hmac<Sha256> {
        let mac = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(&self.state().key);
        let mut mac = mac.expect("HMAC takes keys of any length");
        mac.update(b"console form");
        mac.update(&sealed.id);
        mac
    }

    /// True if a login may be tried now.
    pub(super) fn may_try(&self, now_ms: i64) -> bool {
        let logins = &mut self.state().logins;
        let forgiven = (now_ms - logins.since_ms) / LOGIN_EVERY_MS;
        if forgiven > 0 {
            logins.failed = logins.failed.saturating_sub(u32::try_from(forgiven).unwrap_or(u32::MAX));
            logins.since_ms = now_ms;
        }
        logins.failed < FAILED_LOGINS
    }

    /// Counts a login with a wrong token.
    pub(super) fn count_failed(&self) {
        self.state().logins.failed += 1;
    }
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system has random numbers");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> TokenId {
        "01890a5d-ac96-774b-bcce-b302099a8057".parse().expect("an id")
    }

    #[test]
    fn a_session_lives_by_its_use_and_twelve_hours_at_most() {
        let sessions = Sessions::new();
        let mut cookie = sessions.begin(id(), 0);
        let mut now = 0;
        assert_eq!(sessions.open(&cookie, IDLE_MS - 1).map(|sealed| sealed.token), Some(id()));
        assert_eq!(sessions.open(&cookie, IDLE_MS), None);
        while now + IDLE_MS / 2 < LONGEST_MS {
            now += IDLE_MS / 2;
            let sealed = sessions.open(&cookie, now).expect("a session");
            cookie = sessions.renew(&sealed, now).expect("a new cookie");
        }
        assert_eq!(sessions.open(&cookie, LONGEST_MS), None);
    }

    #[test]
    fn a_cookie_is_renewed_once_a_minute() {
        let sessions = Sessions::new();
        let sealed = sessions.open(&sessions.begin(id(), 0), 0).expect("a session");
        assert_eq!(sessions.renew(&sealed, RENEWED_MS - 1), None);
        assert!(sessions.renew(&sealed, RENEWED_MS).is_some());
    }

    #[test]
    fn no_other_cookie_is_a_session() {
        let sessions = Sessions::new();
        let cookie = sessions.begin(id(), 0);
        for at in 0..cookie.len() {
            let mut bytes = cookie.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(sessions.open(&String::from_utf8(bytes).expect("text"), 0), None, "byte {at}");
        }
        for other in ["", "A", "=", &cookie[1..], &Sessions::new().begin(id(), 0)] {
            assert_eq!(sessions.open(other, 0), None, "{other}");
        }
    }

    #[test]
    fn a_session_that_was_logged_out_stays_so() {
        let sessions = Sessions::new();
        let (cookie, other) = (sessions.begin(id(), 0), sessions.begin(id(), 0));
        let sealed = sessions.open(&cookie, 0).expect("a session");
        let renewed = sessions.renew(&sealed, RENEWED_MS).expect("a new cookie");
        sessions.end(&sealed);
        assert_eq!((sessions.open(&cookie, 1), sessions.open(&renewed, RENEWED_MS)), (None, None));
        assert!(sessions.open(&other, 1).is_some());
        for number in 0..MOST_ENDED {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&number.to_be_bytes());
            sessions.end(&Sealed { id, ..sealed });
        }
        assert!(sessions.state().ended.len() <= MOST_ENDED);
        assert_eq!((sessions.open(&cookie, 1), sessions.open(&other, 1)), (None, None), "another key ended all");
    }

    #[test]
    fn a_form_carries_the_field_of_its_own_session() {
        let sessions = Sessions::new();
        let open = || sessions.open(&sessions.begin(id(), 0), 0).expect("a session");
        let (one, other) = (open(), open());
        assert!(sessions.is_field(&one, &sessions.field(&one)));
        assert!(!sessions.is_field(&one, &sessions.field(&other)));
        assert!(!sessions.is_field(&one, ""));
    }

    #[test]
    fn guessing_is_slowed_down() {
        let sessions = Sessions::new();
        for _ in 0..FAILED_LOGINS {
            assert!(sessions.may_try(1));
            sessions.count_failed();
        }
        assert!(!sessions.may_try(LOGIN_EVERY_MS - 1));
        assert!(sessions.may_try(LOGIN_EVERY_MS));
        sessions.count_failed();
        assert!(!sessions.may_try(2 * LOGIN_EVERY_MS - 1));
        assert!(sessions.may_try(3 * LOGIN_EVERY_MS));
    }
}
