//! Signatures of a delivery: a pure function from body, secret, id and time to headers.
//!
//! Two schemes are sent side by side. `X-Webhook-Signature` is an HMAC over the raw body, as GitHub sends it.
//! `webhook-signature` is Standard Webhooks 1.0: it covers the id and the time as well, so that a receiver can detect a
//! replay.

use std::fmt::{self, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::BytesMut;
use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use sha2::Sha256;

use crate::model::secret::Secret;

/// `sha256=` and the HMAC-SHA256 of the body, in lower-case hex.
pub const BODY_SIGNATURE: HeaderName = HeaderName::from_static("x-webhook-signature");
/// The delivery's id (Standard Webhooks).
pub const ID: HeaderName = HeaderName::from_static("webhook-id");
/// The attempt's time in Unix seconds (Standard Webhooks).
pub const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
/// `v1,` and the HMAC-SHA256 of id, time and body, in base64; several are separated by spaces (Standard Webhooks).
pub const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
/// The event's type, or [`SEVERAL`].
pub const EVENT: HeaderName = HeaderName::from_static("x-webhook-event");
/// The delivery's id.
pub const DELIVERY: HeaderName = HeaderName::from_static("x-webhook-delivery");
/// The attempt's number, from 1.
pub const ATTEMPT: HeaderName = HeaderName::from_static("x-webhook-attempt");
/// The number of events in the request; sent for webhooks with batching.
pub const BATCH_SIZE: HeaderName = HeaderName::from_static("x-webhook-batch-size");
/// The value of [`EVENT`] for a batch with several types.
pub const SEVERAL: &str = "several";

/// The prefix of a secret whose rest is the key in base64 (Standard Webhooks).
const KEY_PREFIX: &str = "whsec_";
const BODY_PREFIX: &str = "sha256=";
const VERSION_PREFIX: &str = "v1,";
/// Characters of an HMAC-SHA256 in base64.
const SIGNATURE_BASE64: usize = 44;

/// A secret that signs, with its keys prepared: half of the hashing of a short body would be the key's.
#[derive(Clone)]
pub struct Signer {
    body: Hmac<Sha256>,
    standard: Hmac<Sha256>,
}

impl Signer {
    /// Prepares a secret. Returns `None` if a `whsec_` secret is not base64, which is checked when it is saved.
    pub fn new(secret: &Secret) -> Option<Self> {
        Some(Self { body: body_key(secret)?, standard: standard_key(secret)? })
    }
}

/// Values of headers, one behind the other in one piece of memory: a request has many, and may be copied.
#[derive(Debug)]
pub struct Values(BytesMut);

impl Values {
    /// Enough for an id, a time, an attempt's number, and the signatures of one secret.
    const BYTES: usize = 256;

    /// Adds a value; `None` if the text is not legal in a header.
    pub fn add(&mut self, text: impl fmt::Display) -> Option<HeaderValue> {
        // Writing to memory cannot fail.
        let _ = write!(self.0, "{text}");
        HeaderValue::from_maybe_shared(self.0.split().freeze()).ok()
    }
}

impl Default for Values {
    fn default() -> Self {
        Self(BytesMut::with_capacity(Self::BYTES))
    }
}

/// Puts `webhook-id` and `webhook-timestamp` into the headers and, with a signer, both signatures. `unix_seconds` is
/// the attempt's time, `body` the exact bytes that are sent.
///
/// `old`, of secrets that were replaced a short time ago, sign too, but in `webhook-signature` only: that header may hold
/// several signatures, of which a receiver needs to verify one.
pub fn sign<'a>(
    signer: Option<&'a Signer>,
    old: impl Iterator<Item = &'a Signer>,
    id: &HeaderValue,
    unix_seconds: i64,
    body: &[u8],
    values: &mut Values,
    headers: &mut HeaderMap,
) {
    let timestamp = values.add(unix_seconds).expect("digits are legal in a header's value");
    if let Some(signer) = signer {
        let mut standard = String::with_capacity(VERSION_PREFIX.len() + SIGNATURE_BASE64);
        for signer in std::iter::once(signer).chain(old) {
            let mac = standard_mac(signer.standard.clone(), id.as_bytes(), timestamp.as_bytes(), body);
            if !standard.is_empty() {
                standard.push(' ');
            }
            standard.push_str(VERSION_PREFIX);
            STANDARD.encode_string(mac.finalize().into_bytes(), &mut standard);
        }
        headers.insert(SIGNATURE, values.add(standard).expect("base64 is legal in a header's value"));

        let plain = body_mac(signer.body.clone(), body).finalize().into_bytes();
        let signature = values.add(format_args!("{BODY_PREFIX}{}", HEXLOWER.encode_display(&plain)));
        headers.insert(BODY_SIGNATURE, signature.expect("hexadecimal is legal in a header's value"));
    }
    headers.insert(ID, id.clone());
    headers.insert(TIMESTAMP, timestamp);
}

/// Returns true if `given`, the value of `X-Webhook-Signature`, is this body's signature. The comparison takes constant
/// time.
pub fn verify_body(secret: &Secret, body: &[u8], given: &str) -> bool {
    let hex = given.strip_prefix(BODY_PREFIX).map(str::as_bytes);
    let Some(Ok(digest)) = hex.map(|hex| HEXLOWER_PERMISSIVE.decode(hex)) else { return false };
    body_key(secret).is_some_and(|key| body_mac(key, body).verify_slice(&digest).is_ok())
}

/// Returns true if one of the signatures in `given`, the value of `webhook-signature`, is that of this id, time and
/// body. The comparison takes constant time. The caller decides how old the timestamp may be.
pub fn verify_standard(secret: &Secret, id: &str, timestamp: &str, body: &[u8], given: &str) -> bool {
    let Some(key) = standard_key(secret) else { return false };
    let mac = standard_mac(key, id.as_bytes(), timestamp.as_bytes(), body);
    given
        .split_ascii_whitespace()
        .filter_map(|one| STANDARD.decode(one.strip_prefix(VERSION_PREFIX)?).ok())
        .any(|digest| mac.clone().verify_slice(&digest).is_ok())
}

/// The key of `X-Webhook-Signature`: the secret's full text, `whsec_` included, since receivers of this scheme do not know
/// the prefix.
fn body_key(secret: &Secret) -> Option<Hmac<Sha256>> {
    Hmac::new_from_slice(secret.expose().as_bytes()).ok()
}

/// The HMAC of `X-Webhook-Signature`.
fn body_mac(mut key: Hmac<Sha256>, body: &[u8]) -> Hmac<Sha256> {
    key.update(body);
    key
}

/// The key of `webhook-signature`.
fn standard_key(secret: &Secret) -> Option<Hmac<Sha256>> {
    let text = secret.expose();
    match text.strip_prefix(KEY_PREFIX) {
        Some(encoded) => Hmac::new_from_slice(&STANDARD.decode(encoded).ok()?),
        None => Hmac::new_from_slice(text.as_bytes()),
    }
    .ok()
}

/// The HMAC of `webhook-signature`, over `id.timestamp.body`.
fn standard_mac(mut key: Hmac<Sha256>, id: &[u8], timestamp: &[u8], body: &[u8]) -> Hmac<Sha256> {
    for part in [id, b".", timestamp, b".", body] {
        key.update(part);
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(secret: &str, id: &str, at: i64, body: &[u8]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let (signer, id) = (Signer::new(&Secret::new(secret)), HeaderValue::from_str(id).expect("an id"));
        let signer = signer.expect("a secret");
        sign(Some(&signer), std::iter::empty(), &id, at, body, &mut Values::default(), &mut headers);
        headers
    }

    fn text(headers: &HeaderMap, name: HeaderName) -> &str {
        headers.get(name).expect("header").to_str().expect("ASCII")
    }

    /// The example that GitHub documents for its `X-Hub-Signature-256`.
    #[test]
    fn body_signature_is_that_of_the_published_example() {
        let headers = signed("It's a Secret to Everybody", "x", 0, b"Hello, World!");
        assert_eq!(
            text(&headers, BODY_SIGNATURE),
            "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
        );
    }

    /// The example of the Standard Webhooks libraries.
    #[test]
    fn standard_signature_is_that_of_the_published_example() {
        let headers = signed(
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(text(&headers, SIGNATURE), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_eq!(text(&headers, ID), "msg_p5jXN8AQM9LWM0D4loKWxJek");
        assert_eq!(text(&headers, TIMESTAMP), "1614265330");
    }

    /// RFC 4231, test cases 2 and 6 (a key longer than a block).
    #[test]
    fn digests_are_those_of_rfc_4231() {
        let headers = signed("Jefe", "x", 0, b"what do ya want for nothing?");
        let digest = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(text(&headers, BODY_SIGNATURE), digest);

        // The key is not UTF-8, so it is given as base64, which only the scheme over id and time accepts.
        let key = format!("whsec_{}", STANDARD.encode([0xaa; 131]));
        let key = standard_key(&Secret::new(key)).expect("a key");
        let mac = standard_mac(key, b"Test Using Larger Than Block-Size Key - Hash Key First", b"", b"");
        let mut expected = Hmac::<Sha256>::new_from_slice(&[0xaa; 131]).expect("key");
        expected.update(b"Test Using Larger Than Block-Size Key - Hash Key First..");
        assert_eq!(mac.finalize().into_bytes(), expected.finalize().into_bytes());
    }

    #[test]
    fn the_reference_library_verifies_ours_and_we_verify_its() {
        let now = time::OffsetDateTime::now_utc().unix_timestamp();
        for body in ["", "{}", "{\"title\":\"\u{2028} \u{1f980} \u{fc}\"}"] {
            for secret in ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "plain text, \u{fc} and all"] {
                let theirs = match secret.strip_prefix("whsec_") {
                    Some(_) => standardwebhooks::Webhook::new(secret),
                    None => standardwebhooks::Webhook::from_bytes(secret.as_bytes().to_vec()),
                }
                .expect("secret");
                let headers = signed(secret, "msg_1", now, body.as_bytes());
                theirs.verify(body.as_bytes(), &headers).expect("the reference library accepts it");
                let given = theirs.sign("msg_1", now, body.as_bytes()).expect("signature");
                assert!(verify_standard(&Secret::new(secret), "msg_1", &now.to_string(), body.as_bytes(), &given));
            }
        }
    }

    #[test]
    fn our_own_signatures_verify_and_changed_ones_do_not() {
        let secret = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let headers = signed(secret.expose(), "id", 7, b"body");
        let (plain, standard) = (text(&headers, BODY_SIGNATURE), text(&headers, SIGNATURE));
        assert!(verify_body(&secret, b"body", plain));
        assert!(!verify_body(&secret, b"Body", plain));
        assert!(!verify_body(&Secret::new("other"), b"body", plain));
        assert!(verify_standard(&secret, "id", "7", b"body", standard));
        assert!(verify_standard(&secret, "id", "7", b"body", &format!("v1,AAAA v1a,x {standard}")));
        for (id, at, body) in [("i", "7", b"body"), ("id", "8", b"body"), ("id", "7", b"Body")] {
            assert!(!verify_standard(&secret, id, at, body, standard));
        }
    }

    #[test]
    fn malformed_signatures_do_not_verify() {
        let secret = Secret::new("s");
        for given in ["", "sha256=", "sha256=0", "sha256=zz", "757107ea", "sha1=00", "sha256=\u{e9}\u{e9}"] {
            assert!(!verify_body(&secret, b"", given), "{given:?}");
        }
        for given in ["", "v1,", "v1", "v2,AAAA", "v1,%", " "] {
            assert!(!verify_standard(&secret, "id", "0", b"", given), "{given:?}");
        }
        assert!(!verify_standard(&Secret::new("whsec_!"), "id", "0", b"", "v1,AAAA"));
    }

    #[test]
    fn without_a_secret_only_id_and_time_are_sent() {
        let mut headers = HeaderMap::new();
        let id = HeaderValue::from_static("id");
        sign(None, std::iter::empty(), &id, 7, b"body", &mut Values::default(), &mut headers);
        assert_eq!((text(&headers, ID), text(&headers, TIMESTAMP)), ("id", "7"));
        assert_eq!(headers.len(), 2);
    }
}
