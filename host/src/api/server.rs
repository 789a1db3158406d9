//! HTTP/1.1 on a listener: time limits that `axum::serve` has not, strict framing, an orderly end.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::EXPECT;
use http::{HeaderMap, HeaderValue, Request};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_service::Service as _;

use super::framing::Strict;
use super::problem::{ApiError, Code};

/// How long a request's head may take, the wait for it on a kept connection included.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// A request's head, in bytes; hyper answers 431 beyond it.
const MAX_HEAD_BYTES: usize = 32 * 1024;
/// Header lines of a request; hyper answers 431 beyond them.
const MAX_HEADERS: usize = 100;
/// Connections at a time; more wait in the listener's backlog.
const MAX_CONNECTIONS: usize = 8192;
/// How long to wait after the system refused a connection, as when no file descriptors are left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// What is still read of a body that nobody wants, so that its sender gets to read the answer: more than the largest
/// upload, since one that is a little too large is refused before any of it is read.
const LINGER_BYTES: u64 = 40 * 1024 * 1024;
/// How long that may take.
const LINGER_TIME: Duration = Duration::from_secs(2);

/// Serves the router on a listener until `shutdown` is cancelled: then no connection is taken, requests
/// under way are finished, idle connections are closed. Returns when all are gone.
///
/// # Errors
/// None today; a listener that fails is tried again.
pub async fn serve(listener: TcpListener, router: Router, shutdown: CancellationToken) -> io::Result<()> {
    serve_with(listener, router, shutdown, HEAD_TIMEOUT).await
}

/// [`serve`] with another time limit for request heads, for tests.
pub(super) async fn serve_with(
    listener: TcpListener,
    router: Router,
    shutdown: CancellationToken,
    head_timeout: Duration,
) -> io::Result<()> {
    let connections = TaskTracker::new();
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    while let Some((stream, permit)) = accept(&listener, &room, &shutdown).await {
        connections.spawn(connection(stream, router.clone(), shutdown.clone(), head_timeout, permit));
    }
    drop(listener);
    connections.close();
    connections.wait().await;
    Ok(())
}

/// The next connection with its room; nothing once the host is stopping.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
    shutdown: &CancellationToken,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let next = async {
        loop {
            let permit = Arc::clone(room).acquire_owned().await.ok()?;
            match listener.accept().await {
                Ok((stream, _)) => return Some((stream, permit)),
                Err(error) if is_the_peers(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        next = next => next,
        () = shutdown.cancelled() => None,
    }
}

/// Whether a peer went away before it was accepted.
fn is_the_peers(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

async fn connection(
    stream: TcpStream,
    router: Router,
    shutdown: CancellationToken,
    head_timeout: Duration,
    _room: OwnedSemaphorePermit,
) {
    // Answers are written whole; waiting for more to send with them only costs.
    let _ = stream.set_nodelay(true);
    let service = hyper::service::service_fn(move |request| respond(router.clone(), request));
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(head_timeout)
            .max_headers(MAX_HEADERS)
            .max_header_size(MAX_HEAD_BYTES)
            .serve_connection(TokioIo::new(Strict::new(stream)), service)
    );
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

async fn respond(mut router: Router, request: Request<Incoming>) -> Result<Response, Infallible> {
    let lingers = !expects_continue(request.headers());
    let request = request.map(|body| Body::new(Lingering { body: Some(body), lingers }));
    let mut answer = pin!(router.call(request));
    // A panic in a handler is that request's failure and no other's.
    let caught =
        poll_fn(|context| match std::panic::catch_unwind(AssertUnwindSafe(|| answer.as_mut().poll(context))) {
            Ok(poll) => poll.map(|Ok(response)| response),
            Err(_) => Poll::Ready(ApiError::new(Code::Internal, "a handler panicked").into_response()),
        });
    let mut response = caught.await;
    if response.status() == http::StatusCode::REQUEST_TIMEOUT {
        // What is left of the body may come at any time: no request can follow it.
        response.headers_mut().insert(http::header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

/// Whether the client waits for `100 Continue`; reading on would tell it to send what nobody wants.
fn expects_continue(headers: &HeaderMap) -> bool {
    headers.get(EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// A request's body. When it is dropped before its end, a bounded rest is read and thrown away while the
/// answer is on its way: closing at once would reset the connection, and the answer would be lost with it.
struct Lingering {
    body: Option<Incoming>,
    lingers: bool,
}

impl hyper::body::Body for Lingering {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Incoming::size_hint)
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        let unfinished = self.body.take().filter(|body| self.lingers && !body.is_end_stream());
        if let (Some(body), Ok(runtime)) = (unfinished, tokio::runtime::Handle::try_current()) {
            runtime.spawn(tokio::time::timeout(LINGER_TIME, discard(body)));
        }
    }
}

async fn discard(mut body: Incoming) {
    let mut read = 0;
    while let Some(Ok(frame)) = body.frame().await {
        read += frame.data_ref().map_or(0, |data| data.len() as u64);
        if read > LINGER_BYTES {
            return;
        }
    }
}
