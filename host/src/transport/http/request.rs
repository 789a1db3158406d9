//! A request under way: its body, and the connection that it went over.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Extensions;
use hyper::body::{Body, Frame, SizeHint};
use hyper_util::client::legacy::connect::{CaptureConnection, Connected};

use crate::transport::http::budget::ByteBudget;

/// What is known of one request on its way. Shared by the attempt and the request's body.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    /// Tells which connection was chosen; set before the request leaves.
    capture: OnceLock<CaptureConnection>,
    begun: OnceLock<Begun>,
}

/// A request that its connection has begun to write.
#[derive(Debug)]
struct Begun {
    meter: Arc<ByteBudget>,
    /// Whether another request went over the connection before.
    is_reused: bool,
}

impl Exchange {
    pub(super) fn watch(&self, capture: CaptureConnection) {
        // Only its maker calls this, once.
        let _ = self.capture.set(capture);
    }

    /// The connection's task took the request up: its answer's budget counts from here.
    fn begin(&self) {
        if self.begun.get().is_some() {
            return;
        }
        let Some(capture) = self.capture.get() else { return };
        let Some((meter, is_http2)) = connection(capture) else { return };
        // The body is polled by one task, so nobody else gets here meanwhile.
        let is_reused = meter.begin(is_http2);
        let _ = self.begun.set(Begun { meter, is_reused });
    }

    /// Whether the connection began to write the request.
    pub(super) fn is_begun(&self) -> bool {
        self.begun.get().is_some()
    }

    /// Whether it went over a connection that was idle in the pool.
    pub(super) fn is_reused(&self) -> bool {
        self.begun.get().is_some_and(|begun| begun.is_reused)
    }

    /// Whether the peer sent more than an answer may have.
    pub(super) fn is_spent(&self) -> bool {
        self.begun.get().is_some_and(|begun| begun.meter.is_spent())
    }

    /// Whether the peer sent something before it was asked anything.
    pub(super) fn was_spoken_to_first(&self) -> bool {
        let meter = self.capture.get().and_then(connection).map(|(meter, _)| meter);
        !self.is_begun() && meter.is_some_and(|meter| meter.spoke_in_the_clear())
    }

    /// The connection is not used again.
    pub(super) fn give_up_connection(&self) {
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
            begun.meter.end();
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

/// A request's body: all of it at once.
///
/// hyper's connection task asks the body first thing when it takes a request up, before it reads any byte of
/// the answer; no earlier place knows the connection, and any later one would race with the answer. So the
/// body tells the [`Exchange`] that it has begun, in whichever question comes first: an empty body is asked
/// only whether it is over.
#[derive(Debug)]
pub(super) struct RequestBody {
    /// `None` once it was handed out.
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
        // An empty body is not over before it was asked for: hyper leaves out `Content-Length: 0` else.
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| u64::try_from(bytes.len()).unwrap_or(u64::MAX)))
    }
}
