//! From hyper's errors to ours: by their types, and by their texts where a library has only those.
//!
//! The rows of `tests/rfc.rs` and `tests/http2.rs` need each of the texts, and thus pin them to the locked versions.

use std::error::Error;
use std::io;

use super::request::Exchange;
use crate::transport::errors::{causes, find, is_closed, tls};
use crate::transport::failure::Failure;

/// hyper's limits on parts of a chunked body that a recipient ignores, and on a chunk's size. Nothing of ours sets the
/// first two, which are 16 KiB. RFC 9112, section 7.1, wants extensions ignored and sizes of any length read.
const CHUNK_LIMITS: [&str; 4] = [
    "chunk extensions over limit",
    "chunk trailers bytes over limit",
    "chunk trailers count overflow",
    "invalid chunk size: overflow",
];
/// httparse's errors about a field, which hyper passes on for a trailer section only when all of it has arrived.
const TRAILERS: [&str; 4] = ["invalid header name", "invalid header value", "invalid new line", "too many headers"];
/// h2's error about a header list far above the limit. One above it is a violation like others.
const LIST_TOO_LARGE: &str = "connection error detected: detected excessive load generating behavior";
/// The beginning of h2's errors about what a peer did wrong.
const HTTP2_VIOLATION: [&str; 2] = ["stream error detected: ", "connection error detected: "];
/// The beginning of h2's error for a stream that the peer has reset.
const HTTP2_RESET: &str = "stream error received: ";
/// The beginning of h2's error for a connection that the peer ends with `GOAWAY`.
const HTTP2_GOAWAY: &str = "connection error received: ";

/// The failure of a request that got no response head.
pub(super) fn no_head(error: &hyper::Error, exchange: &Exchange) -> Failure {
    if exchange.is_over_budget() {
        return Failure::HeadTooLarge;
    }
    // Also after the handshake: with TLS 1.3 our side finishes first, and a rejection arrives later.
    if let Some(failure) = tls(error) {
        return failure;
    }
    if error.is_parse_too_large() {
        return Failure::HeadTooLarge;
    }
    if error.is_parse() {
        return if exchange.is_http1() { Failure::MalformedHead } else { Failure::NotHttp };
    }
    if exchange.peer_spoke_first() {
        return Failure::NotHttp;
    }
    http2(error).unwrap_or(if exchange.is_begun() { Failure::NoResponse } else { Failure::ClosedBeforeSend })
}

/// The failure of an attempt whose connection ended before it could be used.
pub(super) fn no_connection(error: &hyper::Error) -> Failure {
    tls(error).or_else(|| http2(error)).unwrap_or(Failure::ClosedBeforeSend)
}

fn http2(error: &hyper::Error) -> Option<Failure> {
    if begins(error, &[LIST_TOO_LARGE]) {
        return Some(Failure::HeadTooLarge);
    }
    if begins(error, &HTTP2_VIOLATION) {
        return Some(Failure::NotHttp2);
    }
    begins(error, &[HTTP2_RESET]).then_some(Failure::StreamReset)
}

/// The failure of a 2xx response whose body did not end as announced; `None` if the status decides nevertheless.
///
/// A body that is `close_delimited` ends where the connection does, in whatever way that ends: with TLS also without
/// `close_notify`, and with a reset.
pub(super) fn no_end(error: &hyper::Error, status: u16, close_delimited: bool) -> Option<Failure> {
    if let Some(failure) = tls(error) {
        return Some(failure);
    }
    // What goes on beyond a limit is cut. The trailer section is not used, and follows a complete body.
    if begins(error, &CHUNK_LIMITS) || begins(error, &TRAILERS) {
        return None;
    }
    if error.is_incomplete_message() || find::<io::Error>(error).is_some_and(is_closed) {
        return (!close_delimited).then_some(Failure::Truncated(status));
    }
    if begins(error, &[HTTP2_RESET, HTTP2_GOAWAY]) {
        return Some(Failure::Truncated(status));
    }
    Some(Failure::MalformedBody(status))
}

/// True if the text of one of the error's causes begins with one of these.
fn begins(error: &(dyn Error + 'static), texts: &[&str]) -> bool {
    causes(error).any(|cause| {
        let cause = cause.to_string();
        texts.iter().any(|text| cause.starts_with(text))
    })
}
