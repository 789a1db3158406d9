//! A request in progress: its body, and the connection that carries it.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Extensions;
use hyper::body::{Body, Frame, SizeHint};
use hyper_util::client::legacy::connect::{CaptureConnection, Connected};

use super::budget::ByteBudget;

/// The state of one request, shared by the attempt and the request's body.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    /// Names the connection that hyper's pool chose; set before the request is handed to hyper.
    capture: OnceLock<CaptureConnection>,
    begun: OnceLock<Begun>,
}

/// Set once the connection has begun to write the request.
#[derive(Debug)]
struct Begun {
    budget: Arc<ByteBudget>,
    /// True if the connection had carried another request before.
    is_reused: bool,
}

impl Exchange {
    pub(super) fn watch(&self, capture: CaptureConnection) {
        // Called once, by the function that creates the exchange.
        let _ = self.capture.set(capture);
    }

    /// The connection's task has picked up the request; the response's budget counts from here.
    fn begin(&self) {
        if self.begun.get().is_some() {
            return;
        }
        let Some(capture) = self.capture.get() else { return };
        let Some((budget, is_http2)) = connection(capture) else { return };
        // One task polls the body, so `begun` cannot be set between the check above and here.
        let is_reused = budget.begin_request(is_http2);
        let _ = self.begun.set(Begun { budget, is_reused });
    }

    /// True once the connection has begun to write the request.
    pub(super) fn is_begun(&self) -> bool {
        self.begun.get().is_some()
    }

    /// True if the request went over a pooled connection, which the peer may have closed in the meantime.
    pub(super) fn is_reused(&self) -> bool {
        self.begun.get().is_some_and(|begun| begun.is_reused)
    }

    /// True if the peer exceeded the byte budget.
    pub(super) fn is_over_budget(&self) -> bool {
        self.begun.get().is_some_and(|begun| begun.budget.is_exceeded())
    }

    /// True if the peer sent data before the request was written, as SMTP and FTP servers do.
    pub(super) fn peer_spoke_first(&self) -> bool {
        let budget = self.capture.get().and_then(connection).map(|(budget, _)| budget);
        !self.is_begun() && budget.is_some_and(|budget| budget.has_received_plaintext())
    }

    /// Removes the connection from the pool.
    pub(super) fn discard_connection(&self) {
        if let Some(capture) = self.capture.get()
            && let Some(connected) = &*capture.connection_metadata()
        {
            connected.poison();
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if let Some(begun) = self.begun.get() {
            begun.budget.end_request();
        }
    }
}

fn connection(capture: &CaptureConnection) -> Option<(Arc<ByteBudget>, bool)> {
    let connected = capture.connection_metadata();
    let connected: &Connected = connected.as_ref()?;
    let mut extras = Extensions::new();
    connected.get_extras(&mut extras);
    Some((extras.remove::<Arc<ByteBudget>>()?, connected.is_negotiated_h2()))
}

/// A request's body, one chunk, which also tells the [`Exchange`] that the request has begun.
///
/// hyper's connection task polls the body when it picks up a request, before it reads any byte of the response. No
/// earlier point knows the connection, and any later one would race with the response. Both `poll_frame` and
/// `is_end_stream` report the beginning, since hyper calls only the latter on an empty body.
#[derive(Debug)]
pub(super) struct RequestBody {
    /// `None` once hyper has taken it.
    bytes: Option<Bytes>,
    exchange: Arc<Exchange>,
}

impl RequestBody {
    pub(super) fn new(bytes: Bytes, exchange: Arc<Exchange>) -> Self {
        Self { bytes: Some(bytes), exchange }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        this.exchange.begin();
        Poll::Ready(this.bytes.take().filter(|bytes| !bytes.is_empty()).map(|bytes| Ok(Frame::data(bytes))))
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
