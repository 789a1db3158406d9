//! From hyper's errors to ours: by their types, never by their texts.

use std::io;

use hyper_util::client::legacy;

use super::connector::ConnectFault;
use super::request::Exchange;
use crate::transport::errors::{find, handshake, is_closed, tls};
use crate::transport::failure::{Failure, TlsFault};

/// The failure of a request that got no response head.
pub(super) fn no_head(error: &legacy::Error, exchange: &Exchange) -> Failure {
    if exchange.is_over_budget() {
        return Failure::HeadTooLarge;
    }
    if let Some(fault) = find::<ConnectFault>(error) {
        return fault.clone().into();
    }
    // Also after the handshake: with TLS 1.3 our side finishes first, and a rejection arrives later.
    if let Some(failure) = tls(error) {
        return failure;
    }
    if error.is_connect() {
        // Everything below TLS is a `ConnectFault`, so this is the handshake.
        return find::<io::Error>(error).map_or(Failure::Tls(TlsFault::Other), handshake);
    }
    match find::<hyper::Error>(error) {
        Some(error) if error.is_parse_too_large() => Failure::HeadTooLarge,
        Some(error) if error.is_parse() => Failure::NotHttp,
        _ if exchange.peer_spoke_first() => Failure::NotHttp,
        _ if exchange.is_begun() => Failure::NoResponse,
        _ => Failure::ClosedBeforeSend,
    }
}

/// The failure of a 2xx response whose body did not end.
pub(super) fn no_end(error: &hyper::Error, status: u16) -> Failure {
    if let Some(failure) = tls(error) {
        return failure;
    }
    if error.is_incomplete_message() || find::<io::Error>(error).is_some_and(is_closed) {
        return Failure::Truncated(status);
    }
    Failure::MalformedBody(status)
}
