//! Connections that speak HTTP, and how an attempt drives them.
//!
//! Over HTTP/1.1 a connection carries one request at a time, so the task of the attempt drives it: no task of its own, no
//! wake-up from one to the other. A connection over HTTP/2 is shared, and has a task.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::runtime::Handle;
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use super::budget::RESPONSE_BYTES;
use super::connector::Stream;
use super::head::ScannedStream;
use super::link::Link;
use super::request::RequestBody;

/// The most of a head over HTTP/2: [`RESPONSE_BYTES`] of names and values, and the 32 bytes that each field counts in
/// addition (RFC 9113, section 6.5.2), for as many fields as fit into a head of HTTP/1.1 with its usual line ends.
const HEADER_LIST_BYTES: u32 = (RESPONSE_BYTES + 32 * RESPONSE_BYTES / 4) as u32;
/// HTTP/2 flow control: the bytes of one response that the peer may send ahead of our reading.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
/// The same for all responses of one connection together.
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
/// The longest that the end of a TLS connection takes, with its `close_notify`.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection that a request can be sent over.
#[derive(Debug)]
pub(super) enum Connection {
    /// Nobody else has it.
    Http1(Box<Http1>),
    /// It is shared.
    Http2(Http2),
}

impl Connection {
    /// Begins to speak HTTP over a stream.
    pub(super) async fn over(stream: Stream) -> hyper::Result<Self> {
        let (budget, is_http2) = (Arc::clone(stream.budgeted().budget()), stream.is_http2());
        let is_pooled = stream.budgeted().is_pooled();
        let is_tls = matches!(stream, Stream::Tls(_));
        let stream = ScannedStream::new(stream);
        let link = Arc::new(Link::new(budget, Arc::clone(stream.watch()), is_http2, is_pooled));
        let stream = TokioIo::new(stream);
        if is_http2 {
            let (sender, connection) = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .initial_stream_window_size(STREAM_WINDOW_BYTES)
                .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
                .max_header_list_size(HEADER_LIST_BYTES)
                .handshake(stream)
                .await?;
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    // The requests on it have failed with the same error.
                    tracing::debug!(%error, "an HTTP/2 connection ended");
                }
            });
            return Ok(Self::Http2(Http2 { sender, link }));
        }
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(usize::try_from(RESPONSE_BYTES).unwrap_or(usize::MAX))
            // A user agent must accept folded lines (RFC 9112, section 5.2), and whitespace before a colon is what a
            // proxy would remove (section 5.1).
            .allow_obsolete_multiline_headers_in_responses(true)
            .allow_spaces_after_header_name_in_responses(true)
            .handshake(stream)
            .await?;
        let driver = Driver { connection: Some(connection), is_tls, deadline: Deadline::default() };
        Ok(Self::Http1(Box::new(Http1 { sender, driver, link })))
    }

    pub(super) fn link(&self) -> &Arc<Link> {
        match self {
            Self::Http1(http1) => &http1.link,
            Self::Http2(http2) => &http2.link,
        }
    }
}

/// A connection over HTTP/1.1.
#[derive(Debug)]
pub(super) struct Http1 {
    pub(super) sender: http1::SendRequest<RequestBody>,
    pub(super) driver: Driver,
    link: Arc<Link>,
}

impl Http1 {
    /// True if it can carry another request now. What it has not read of a response, or not written of a request, is not
    /// waited for.
    pub(super) fn is_reusable(&mut self) -> bool {
        !self.link.is_discarded() && (self.sender.is_ready() || self.is_open() && self.sender.is_ready())
    }

    /// True if the peer has left it open and silent, as far as is known without waiting.
    pub(super) fn is_open(&mut self) -> bool {
        self.driver.poll(&mut Context::from_waker(Waker::noop())).is_pending()
    }
}

/// A connection over HTTP/2. It ends once it was idle and every clone is dropped.
#[derive(Clone, Debug)]
pub(super) struct Http2 {
    pub(super) sender: http2::SendRequest<RequestBody>,
    link: Arc<Link>,
}

impl Http2 {
    /// True if it can carry another request.
    pub(super) fn is_reusable(&self) -> bool {
        self.sender.is_ready() && !self.link.is_discarded()
    }
}

/// The time that an attempt had is over.
#[derive(Debug)]
pub(super) struct Elapsed;

/// The side of an HTTP/1.1 connection that reads and writes.
#[derive(Debug)]
pub(super) struct Driver {
    /// `None` once it has ended.
    connection: Option<http1::Connection<TokioIo<ScannedStream<Stream>>, RequestBody>>,
    is_tls: bool,
    deadline: Deadline,
}

impl Driver {
    /// Does this work, which waits for the connection only, before the deadline.
    pub(super) async fn run<T>(&mut self, deadline: Instant, work: impl Future<Output = T>) -> Result<T, Elapsed> {
        let mut work = pin!(work);
        std::future::poll_fn(|cx| {
            // First, since whatever the work waits for comes from there.
            let _ = self.poll(cx);
            match work.as_mut().poll(cx) {
                Poll::Ready(done) => Poll::Ready(Ok(done)),
                Poll::Pending => self.deadline.poll(deadline, cx).map(|()| Err(Elapsed)),
            }
        })
        .await
    }

    /// Reads and writes what can be; ready once the connection has ended. Who waited for it has the error.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(connection) = &mut self.connection else { return Poll::Ready(()) };
        let ended = Pin::new(connection).poll(cx).map(|_| ());
        if ended.is_ready() {
            self.connection = None;
        }
        ended
    }
}

impl Drop for Driver {
    /// Has the peer of a TLS connection told that it ends (RFC 9112, section 9.8). The sender is gone, so it does.
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take()
            && self.is_tls
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(timeout(CLOSE_TIMEOUT, connection));
        }
    }
}

/// A timer for one deadline after another. Deadlines mostly move on, so it is set again only once the time of an earlier
/// one has come: the runtime's timers, which all its threads share, are touched every few seconds and not with each
/// request.
#[derive(Debug, Default)]
struct Deadline(Option<Pin<Box<Sleep>>>);

impl Deadline {
    fn poll(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if sleep.deadline() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    #[tokio::test(start_paused = true)]
    async fn a_timer_ends_at_each_deadline_whatever_it_was_set_to_before() {
        let mut timer = Deadline::default();
        let mut cx = Context::from_waker(Waker::noop());
        let ms = Duration::from_millis;
        let start = Instant::now();
        // Deadlines that move on, and back.
        for (deadline, at, is_over) in [
            (start + ms(1000), 0, false),
            (start + ms(5000), 999, false),
            (start + ms(5000), 1001, false),
            (start + ms(2000), 1999, false),
            (start + ms(2000), 2001, true),
            (start + ms(6000), 2001, false),
            (start + ms(6000), 5999, false),
            (start + ms(6000), 6001, true),
        ] {
            advance(start + ms(at) - Instant::now()).await;
            assert_eq!(timer.poll(deadline, &mut cx).is_ready(), is_over, "{at}");
        }
    }
}
