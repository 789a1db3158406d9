//! The accept loop and the HTTP/1.1 connections: time and connection limits that `axum::serve` does not have, strict
//! framing ([`super::framing`]), graceful shutdown.

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

/// Time limit for a request's head, including the wait for it on a persistent connection (against slow clients).
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest request head, in bytes; beyond it hyper responds with 431.
const MAX_HEAD_BYTES: usize = 32 * 1024;
/// Most header lines of a request; beyond it hyper responds with 431.
const MAX_HEADERS: usize = 100;
/// Open connections at most; further ones wait in the listener's backlog (backpressure).
const MAX_CONNECTIONS: usize = 8192;
/// Pause after a failed accept, for example without free file descriptors, so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Bytes read and discarded of a rejected body, so that its sender gets to read the response. More than the largest
/// upload: one that is slightly too large is rejected before any of it is read.
const MAX_LINGER_BYTES: u64 = 40 * 1024 * 1024;
/// Time limit for reading them.
const LINGER_TIMEOUT: Duration = Duration::from_secs(2);

/// Serves the router on a listener until `shutdown` is cancelled. Then no connection is accepted any more, requests in
/// flight are finished and idle connections are closed; returns once all connections have ended.
///
/// # Errors
/// Currently never: a failed accept is logged and retried.
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
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    while let Some((stream, permit)) = accept(&listener, &permits, &shutdown).await {
        connections.spawn(connection(stream, router.clone(), shutdown.clone(), head_timeout, permit));
    }
    drop(listener);
    connections.close();
    connections.wait().await;
    Ok(())
}

/// The next connection with its permit; `None` on shutdown.
async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
    shutdown: &CancellationToken,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let next = async {
        loop {
            let permit = Arc::clone(permits).acquire_owned().await.ok()?;
            match listener.accept().await {
                Ok((stream, _)) => return Some((stream, permit)),
                Err(error) if is_peer_abort(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection; trying again");
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

/// Returns true if the peer closed the connection before it was accepted.
fn is_peer_abort(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

async fn connection(
    stream: TcpStream,
    router: Router,
    shutdown: CancellationToken,
    head_timeout: Duration,
    _permit: OwnedSemaphorePermit,
) {
    // Responses are written whole, so Nagle's algorithm would only delay them.
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
    let mut response = pin!(router.call(request));
    // A panic in a handler must fail that request only, not the connection's task.
    let caught =
        poll_fn(|context| match std::panic::catch_unwind(AssertUnwindSafe(|| response.as_mut().poll(context))) {
            Ok(poll) => poll.map(|Ok(response)| response),
            Err(_) => Poll::Ready(ApiError::new(Code::Internal, "a handler panicked").into_response()),
        });
    let mut response = caught.await;
    if response.status() == http::StatusCode::REQUEST_TIMEOUT {
        // The rest of the body may still arrive, so no other request can follow on this connection.
        response.headers_mut().insert(http::header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

/// Returns true if the client waits for `100 Continue` (RFC 9110, section 10.1.1): reading on would make it send a body
/// that was rejected.
fn expects_continue(headers: &HeaderMap) -> bool {
    headers.get(EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// A request's body with a lingering close (RFC 9112, section 9.6): if it is dropped before its end, a bounded rest is
/// read and discarded while the response is sent. Closing at once would reset the connection, and the client might
/// never read the response.
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
            runtime.spawn(tokio::time::timeout(LINGER_TIMEOUT, discard(body)));
        }
    }
}

async fn discard(mut body: Incoming) {
    let mut read = 0;
    while let Some(Ok(frame)) = body.frame().await {
        read += frame.data_ref().map_or(0, |data| data.len() as u64);
        if read > MAX_LINGER_BYTES {
            return;
        }
    }
}
