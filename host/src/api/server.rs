//! The accept loop and the HTTP/1.1 connections: time and connection limits that `axum::serve` does not have, strict
//! framing ([`super::framing`]), graceful shutdown.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io::{self, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CONNECTION, EXPECT};
use http::{HeaderValue, Request, StatusCode, Version};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::authority;
use super::connections::{Activity, Admitted, Connections, End, Throttle, limit};
use super::entrance::Entrance;
use super::framing::{FaultSlot, MAX_HEAD_BYTES, Strict, is_stand_in};
use super::problem::{ApiError, Code};
use super::service::is_console;
use super::stall::Watched;
use crate::model::settings::ConnectionSettings;

/// Most header lines of a request; beyond it hyper responds with 431.
const MAX_HEADERS: usize = 100;
/// Pause after a failed accept, for example without free file descriptors, so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Bytes of responses that the kernel keeps unsent for each connection: so much memory a client costs that does not read,
/// and after so much reading the host notices.
const UNSENT_BYTES: u32 = 64 * 1024;
/// Bytes read and discarded of a rejected body, so that its sender gets to read the response. More than the largest
/// upload: one that is slightly too large is rejected before any of it is read.
const MAX_LINGER_BYTES: u64 = 40 * 1024 * 1024;
/// Time limit for reading them.
const LINGER_TIMEOUT: Duration = Duration::from_secs(2);
/// Connections that are turned away and still open, at most; further ones are closed before their request arrives.
const MAX_TURNED_AWAY: usize = 64;
/// Bytes read and discarded of a connection that is turned away, or after a faulty request.
const MAX_REST_BYTES: u64 = 1024 * 1024;

/// The address that a request to the console came from.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

/// Time limits of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeouts {
    /// For a request's head, including the wait for it on a persistent connection (against slow clients).
    pub(super) head: Duration,
    /// For progress while a client does not read its response.
    pub(super) stall: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { head: Duration::from_secs(10), stall: Duration::from_secs(30) }
    }
}

/// Serves what is behind the entrance on a listener until `shutdown` is cancelled. Then no connection is accepted any
/// more, requests in flight are finished and idle connections are closed; returns once all connections have ended.
/// `attempts` is the number of deliveries in flight at most, which need file descriptors beside the connections.
///
/// # Errors
/// Currently never: a failed accept is logged and retried.
pub async fn serve(
    listener: TcpListener,
    entrance: Entrance,
    settings: ConnectionSettings,
    attempts: usize,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let connections = Connections::new(limit(settings, attempts), settings.per_address);
    serve_with(listener, entrance, connections, Timeouts::default(), shutdown).await
}

/// [`serve`] with other limits, for tests.
pub(super) async fn serve_with(
    listener: TcpListener,
    entrance: Entrance,
    connections: Connections,
    timeouts: Timeouts,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let tasks = TaskTracker::new();
    let turned_away = Arc::new(Semaphore::new(MAX_TURNED_AWAY));
    let mut warned = Throttle::default();
    while let Some((stream, peer)) = accept(&listener, &connections, &mut warned, &shutdown).await {
        match connections.admit(peer.ip()) {
            Ok(admitted) => {
                tasks.spawn(connection(stream, entrance.clone(), timeouts, Peer(peer.ip()), admitted));
            }
            Err(error) => turn_away(stream, error, &turned_away),
        }
    }
    drop(listener);
    connections.stop();
    tasks.close();
    tasks.wait().await;
    Ok(())
}

/// The next connection; `None` on shutdown.
async fn accept(
    listener: &TcpListener,
    connections: &Connections,
    warned: &mut Throttle,
    shutdown: &CancellationToken,
) -> Option<(TcpStream, SocketAddr)> {
    let next = async {
        loop {
            match listener.accept().await {
                Ok(accepted) => return accepted,
                Err(error) if is_peer_abort(&error) => {}
                Err(error) => {
                    if warned.passes() {
                        tracing::warn!(%error, "cannot accept a connection; trying again");
                    }
                    if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) {
                        connections.close_one();
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        accepted = next => Some(accepted),
        () = shutdown.cancelled() => None,
    }
}

/// Returns true if the peer closed the connection before it was accepted.
fn is_peer_abort(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Responds to a connection without waiting for its request, and closes it.
fn turn_away(stream: TcpStream, error: ApiError, turned_away: &Arc<Semaphore>) {
    let Ok(mut stream) = stream.into_std() else { return };
    // The send buffer of a new connection takes the whole response.
    let written = stream.write(&error.last_words());
    let Ok(permit) = Arc::clone(turned_away).try_acquire_owned() else { return };
    if written.is_err() {
        return;
    }
    tokio::spawn(async move {
        let Ok(stream) = TcpStream::from_std(stream) else { return };
        discard_rest(stream).await;
        drop(permit);
    });
}

async fn connection(stream: TcpStream, entrance: Entrance, timeouts: Timeouts, peer: Peer, admitted: Admitted) {
    // Responses are written whole, so Nagle's algorithm would only delay them.
    let _ = stream.set_nodelay(true);
    #[cfg(target_os = "linux")]
    let _ = socket2::SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT_BYTES);
    let (activity, fault) = (Arc::clone(&admitted.activity), FaultSlot::default());
    let stream = Strict::new(Watched::new(stream, Arc::clone(&activity), timeouts.stall), Arc::clone(&fault));
    let service = {
        let (activity, fault) = (Arc::clone(&activity), Arc::clone(&fault));
        hyper::service::service_fn(move |request| {
            respond(entrance.clone(), request, peer, Arc::clone(&activity), Arc::clone(&fault))
        })
    };
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(timeouts.head)
        .max_headers(MAX_HEADERS)
        .max_header_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let ended = tokio::select! {
        biased;
        ended = &mut connection => ended,
        end = activity.ends() => match end {
            End::MakesRoom => return,
            End::HostStops => {
                Pin::new(&mut connection).graceful_shutdown();
                (&mut connection).await
            }
        },
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
    if fault.get().is_some() {
        discard_rest(connection.into_parts().io.into_inner().into_inner()).await;
    }
}

/// Reads and discards a bounded rest of what a client sends (RFC 9112, section 9.6): closing while it arrives would reset
/// the connection, and the client might not read the response.
async fn discard_rest(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let _ = stream.shutdown().await;
    let rest = async { tokio::io::copy(&mut stream.take(MAX_REST_BYTES), &mut tokio::io::sink()).await };
    let _ = tokio::time::timeout(LINGER_TIMEOUT, rest).await;
}

async fn respond(
    entrance: Entrance,
    mut request: Request<Incoming>,
    peer: Peer,
    activity: Arc<Activity>,
    fault: FaultSlot,
) -> Result<Response, Infallible> {
    activity.host_turn();
    if is_console(request.uri().path()) {
        request.extensions_mut().insert(peer);
    }
    let lingers = !expects_continue(&request);
    let request = request.map(|body| Lingering { body: Some(body), lingers, activity: Arc::clone(&activity) });
    let checked = match fault.get().filter(|_| is_stand_in(&request)) {
        Some(fault) => Err(fault.response()),
        None => authority::check(&request),
    };
    let response = match checked {
        Ok(()) => route(&entrance, request.map(Body::new)).await,
        Err(error) => closing(error.into_response()),
    };
    activity.client_turn();
    Ok(response)
}

async fn route(entrance: &Entrance, request: Request<Body>) -> Response {
    let mut response = pin!(entrance.call(request));
    // A panic in a handler must fail that request only, not the connection's task.
    let caught =
        poll_fn(|context| match std::panic::catch_unwind(AssertUnwindSafe(|| response.as_mut().poll(context))) {
            Ok(poll) => poll,
            Err(_) => Poll::Ready(ApiError::new(Code::Internal, "a handler panicked").into_response()),
        });
    let response = caught.await;
    // The rest of the body may still arrive, so no other request can follow on this connection.
    if response.status() == StatusCode::REQUEST_TIMEOUT { closing(response) } else { response }
}

/// The last response of a connection.
fn closing(mut response: Response) -> Response {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Returns true if the client waits for `100 Continue` (RFC 9110, section 10.1.1): reading on would make it send a body
/// that was rejected. In HTTP/1.0 the expectation is ignored.
fn expects_continue<B>(request: &Request<B>) -> bool {
    let expect = request.headers().get(EXPECT);
    request.version() > Version::HTTP_10
        && expect.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// A request's body with a lingering close (RFC 9112, section 9.6): if it is dropped before its end, a bounded rest is
/// read and discarded while the response is sent. Closing at once would reset the connection, and the client might
/// never read the response.
struct Lingering {
    body: Option<Incoming>,
    lingers: bool,
    activity: Arc<Activity>,
}

impl hyper::body::Body for Lingering {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = &mut *self;
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        let frame = Pin::new(body).poll_frame(context);
        if frame.is_pending() {
            this.activity.client_turn();
        } else {
            this.activity.host_turn();
        }
        frame
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
