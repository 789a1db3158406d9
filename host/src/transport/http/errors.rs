//! From the libraries' errors to ours: by their types, never by their texts.

use std::error::Error;
use std::io;

use hyper_util::client::legacy;

use crate::transport::http::connector::ConnectFault;
use crate::transport::destination::Closed;
use crate::transport::failure::{Failure, TlsFault};
use crate::transport::http::request::Exchange;

/// Why there is no connection.
pub(in crate::transport) fn not_connected(fault: &ConnectFault) -> Failure {
    match fault {
        ConnectFault::Closed(Closed::Denied(denied)) => Failure::Denied(denied.clone()),
        ConnectFault::Closed(Closed::Unresolved { host, error }) => {
            Failure::Unresolved { host: host.clone(), error: *error }
        }
        ConnectFault::Tcp(error) => Failure::NotConnected(error.clone()),
        ConnectFault::Proxy(fault) => Failure::Proxy(fault.clone()),
    }
}

/// Why a TLS handshake came to nothing, or a TLS connection ended.
pub(in crate::transport) fn no_tls(error: &io::Error) -> Failure {
    match find::<rustls::Error>(error) {
        Some(fault) => Failure::Tls(TlsFault::Rustls(fault.clone())),
        None if is_closed(error) => Failure::Tls(TlsFault::Closed),
        None => Failure::Tls(TlsFault::Other),
    }
}

/// The alert that ended a TLS connection, or what else TLS found wrong with it.
pub(in crate::transport) fn tls_fault(error: &io::Error) -> Option<Failure> {
    find::<rustls::Error>(error).map(|fault| Failure::Tls(TlsFault::Rustls(fault.clone())))
}

/// Why there is no answer's head.
pub(in crate::transport) fn no_head(error: &legacy::Error, exchange: &Exchange) -> Failure {
    if exchange.is_spent() {
        return Failure::EndlessHead;
    }
    if let Some(fault) = find::<ConnectFault>(error) {
        return not_connected(fault);
    }
    // Also after the handshake: with TLS 1.3 the destination may refuse us when we think we are through.
    if let Some(fault) = find::<rustls::Error>(error) {
        return Failure::Tls(TlsFault::Rustls(fault.clone()));
    }
    if error.is_connect() {
        // Everything below TLS is a `ConnectFault`.
        return Failure::Tls(if find::<io::Error>(error).is_some_and(is_closed) {
            TlsFault::Closed
        } else {
            TlsFault::Other
        });
    }
    match find::<hyper::Error>(error) {
        Some(error) if error.is_parse_too_large() => Failure::EndlessHead,
        Some(error) if error.is_parse() => Failure::NotHttp,
        _ if exchange.was_spoken_to_first() => Failure::NotHttp,
        _ if exchange.is_begun() => Failure::NoAnswer,
        _ => Failure::ClosedEarly,
    }
}

/// Why a 2xx answer's body has no end.
pub(in crate::transport) fn no_end(error: &hyper::Error, status: u16) -> Failure {
    if let Some(fault) = find::<rustls::Error>(error) {
        return Failure::Tls(TlsFault::Rustls(fault.clone()));
    }
    if error.is_incomplete_message() || find::<io::Error>(error).is_some_and(is_closed) {
        return Failure::CutOff(status);
    }
    Failure::BadBody(status)
}

fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind as K;
    let closed = matches!(error.kind(), K::ConnectionReset | K::ConnectionAborted | K::BrokenPipe | K::UnexpectedEof);
    // `io::Error::other` around another one has no kind of its own.
    closed || error.get_ref().and_then(|inner| inner.downcast_ref::<io::Error>()).is_some_and(is_closed)
}

/// The first error of this type in the chain of causes, looking into `io::Error`s, which hide what they hold.
fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        let held = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        cause = match held {
            Some(held) => Some(held),
            None => error.source(),
        };
    }
    None
}
