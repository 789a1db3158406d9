//! A request in progress: its body, and the connection that carries it.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::link::Link;
use super::scanner::Seen;
use crate::transport::phase::Reached;

/// The most that hyper is given of a body at a time: the largest frame of HTTP/2 by default (RFC 9113, section 4.2). Over
/// HTTP/2 it takes a chunk as soon as the peer accepts one byte of it, so smaller chunks say more precisely how much
/// the peer has accepted.
const CHUNK_BYTES: usize = 16 * 1024;

/// The state of one request, shared by the attempt and the request's body.
#[derive(Debug)]
pub(super) struct Exchange {
    /// The connection that the request is sent over.
    link: Arc<Link>,
    begun: OnceLock<Begun>,
    /// True once hyper has taken the whole body.
    is_taken: AtomicBool,
    /// True once the attempt has no more use for the request.
    is_ended: AtomicBool,
}

/// Set once the connection has begun to write the request.
#[derive(Debug)]
struct Begun {
    /// True once the budget knows that the request has ended.
    is_released: AtomicBool,
    /// True if the connection had carried another request before.
    is_reused: bool,
}

impl Exchange {
    fn new(link: Arc<Link>) -> Self {
        Self { link, begun: OnceLock::new(), is_taken: AtomicBool::new(false), is_ended: AtomicBool::new(false) }
    }

    /// The connection has picked up the request; the response's budget counts from here.
    fn begin(&self) {
        if self.begun.get().is_some() {
            return;
        }
        // One task polls the body, so `begun` cannot be set between the check above and here.
        let is_reused = self.link.budget.begin_request(self.link.is_http2);
        if !self.link.is_http2 {
            self.link.head.begin_request();
        }
        let _ = self.begun.set(Begun { is_released: AtomicBool::new(false), is_reused });
        if self.is_ended.load(Ordering::SeqCst) {
            self.release();
        }
    }

    /// The attempt has its response, or wants none any more.
    pub(super) fn end(&self) {
        self.is_ended.store(true, Ordering::SeqCst);
        self.release();
    }

    fn release(&self) {
        if let Some(begun) = self.begun.get()
            && !begun.is_released.swap(true, Ordering::SeqCst)
        {
            let is_unsent = !self.is_written();
            if is_unsent {
                self.link.discard();
            }
            self.link.budget.end_request(is_unsent);
        }
    }

    /// True once the connection has begun to write the request.
    pub(super) fn is_begun(&self) -> bool {
        self.begun.get().is_some()
    }

    /// The phase of a request without a response; `None` before it was begun.
    pub(super) fn reached(&self) -> Option<Reached> {
        self.begun.get()?;
        Some(match self.link.head.seen() {
            Seen::Foreign | Seen::Http => Reached::Heading,
            Seen::Nothing if self.is_written() => Reached::Sent,
            Seen::Nothing => Reached::Requesting,
        })
    }

    /// True once the whole request has been given to the operating system, as far as is known here.
    fn is_written(&self) -> bool {
        self.is_taken.load(Ordering::SeqCst) && !self.link.budget.is_write_blocked()
    }

    /// True if the response began like one of HTTP/1.
    pub(super) fn is_http1(&self) -> bool {
        self.is_begun() && self.link.head.seen() == Seen::Http
    }

    /// True if a response has begun, as far as it is one of HTTP/1.
    pub(super) fn is_responding(&self) -> bool {
        self.is_begun() && self.link.head.seen() != Seen::Nothing
    }

    /// True if fields of the response's head were left out that say how to read it.
    pub(super) fn is_shortened(&self) -> bool {
        self.is_begun() && self.link.head.is_shortened()
    }

    /// True if the request went over a connection that was used before, and that the peer may have closed in the meantime.
    pub(super) fn is_reused(&self) -> bool {
        self.begun.get().is_some_and(|begun| begun.is_reused)
    }

    /// True if the peer exceeded the byte budget.
    pub(super) fn is_over_budget(&self) -> bool {
        self.is_begun() && self.link.budget.is_exceeded()
    }

    /// True if the peer sent data before the request was written, as SMTP and FTP servers do.
    pub(super) fn peer_spoke_first(&self) -> bool {
        !self.is_begun() && self.link.budget.has_received_plaintext()
    }

    /// Keeps the connection from being used for another request.
    pub(super) fn discard_connection(&self) {
        self.link.discard();
    }
}

/// The attempt's share of an [`Exchange`], which ends the exchange when it is dropped. hyper's share, in the body, may
/// live longer: as long as the peer does not read.
#[derive(Debug)]
pub(super) struct CurrentExchange(Arc<Exchange>);

impl CurrentExchange {
    /// A request that is sent over this connection.
    pub(super) fn over(link: &Arc<Link>) -> Self {
        Self(Arc::new(Exchange::new(Arc::clone(link))))
    }

    /// The request's body.
    pub(super) fn body(&self, bytes: Bytes) -> RequestBody {
        RequestBody { bytes: Some(bytes), exchange: Arc::clone(&self.0) }
    }
}

impl std::ops::Deref for CurrentExchange {
    type Target = Exchange;

    fn deref(&self) -> &Exchange {
        &self.0
    }
}

impl Drop for CurrentExchange {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// A request's body, which also tells the [`Exchange`] that the request has begun.
///
/// hyper's connection polls the body when it picks up a request, before it reads any byte of the response. At an earlier
/// point, what a peer sent unasked would count as the response, and a later one would race with it. Both `poll_frame` and
/// `is_end_stream` report the beginning, since hyper calls only the latter on an empty body.
#[derive(Debug)]
pub(super) struct RequestBody {
    /// `None` once hyper has taken it.
    bytes: Option<Bytes>,
    exchange: Arc<Exchange>,
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        this.exchange.begin();
        let Some(bytes) = &mut this.bytes else { return Poll::Ready(None) };
        let chunk = bytes.split_to(bytes.len().min(CHUNK_BYTES));
        if bytes.is_empty() {
            this.bytes = None;
            this.exchange.is_taken.store(true, Ordering::SeqCst);
        }
        Poll::Ready((!chunk.is_empty()).then(|| Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.exchange.begin();
        // An empty body ends only after it was polled; otherwise hyper omits `Content-Length: 0`.
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| u64::try_from(bytes.len()).unwrap_or(u64::MAX)))
    }
}
