//! A scripted destination, written on bare sockets, so that it can misbehave in any way a test needs.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderMap, HeaderName, HeaderValue};
use rustls::ServerConfig;
use serde_json::Value;
use sha2::Sha256;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use super::eventually;

/// A request head longer than this is an error: no host sends one.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// One request as received.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) method: String,
    /// The request target: path and query.
    pub(crate) path: String,
    /// All headers in their order, with names as sent.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// The time at which the last byte was received.
    pub(crate) at: Instant,
    /// The number of the connection, from 0.
    pub(crate) connection: usize,
}

impl Received {
    /// The value of a header, ignoring the case of its name; empty if it is absent.
    ///
    /// # Panics
    /// If the header is there more than once.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> &str {
        let mut values = self.headers.iter().filter(|(given, _)| given.eq_ignore_ascii_case(name));
        let first = values.next().map_or("", |(_, value)| value);
        assert!(values.next().is_none(), "{name} is there more than once: {:?}", self.headers);
        first
    }

    /// The body as text.
    #[track_caller]
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body is text")
    }

    /// The body as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a body is JSON")
    }

    /// The id of the delivery.
    #[track_caller]
    pub(crate) fn delivery(&self) -> &str {
        self.header("webhook-id")
    }

    /// Returns true if `webhook-signature` contains a signature with this secret, computed by an implementation
    /// independent of the host's.
    pub(crate) fn is_signed_with(&self, secret: &str) -> bool {
        let verifier = match secret.strip_prefix("whsec_") {
            Some(_) => standardwebhooks::Webhook::new(secret),
            None => standardwebhooks::Webhook::from_bytes(secret.as_bytes().to_vec()),
        };
        let pair = |(name, value): &(String, String)| {
            (HeaderName::try_from(name).expect("a name"), HeaderValue::try_from(value).expect("a value"))
        };
        let headers: HeaderMap = self.headers.iter().map(pair).collect();
        verifier.expect("a key").verify(&self.body, &headers).is_ok()
    }

    /// The number of the attempt, from its header.
    #[track_caller]
    pub(crate) fn attempt(&self) -> u32 {
        self.header("x-webhook-attempt").parse().expect("an attempt's number")
    }
}

/// The value of `X-Webhook-Signature`, computed as the contract documents it.
pub(crate) fn body_signature(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any key");
    mac.update(body);
    let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={hex}")
}

/// A scripted response to one request, step by step.
#[derive(Clone, Debug)]
pub(crate) struct Reply(Vec<Step>);

#[derive(Clone, Debug)]
enum Step {
    Wait(Duration),
    Write(Vec<u8>),
    /// Repeats the bytes, as fast as they are read or at an interval.
    Repeat(Vec<u8>, Duration),
    /// Sends nothing more; keeps the connection open.
    Silence,
    /// Closes the connection with a TCP FIN.
    Close,
    /// Closes the sending half with a TCP FIN; keeps reading.
    HalfClose,
    /// Resets the connection with a TCP RST.
    Reset,
}

impl Reply {
    /// A short response with this status.
    pub(crate) fn status(status: u16) -> Self {
        Self::full(status, &[], b"")
    }

    /// A complete response. `Content-Length` is added.
    pub(crate) fn full(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Self {
        let mut bytes = head(status, headers, &format!("Content-Length: {}\r\n", body.len()));
        bytes.extend_from_slice(body);
        Self(vec![Step::Write(bytes)])
    }

    /// A redirect to another URL.
    pub(crate) fn redirect(status: u16, to: &str) -> Self {
        Self::full(status, &[("Location", to)], b"")
    }

    /// The same response after a delay.
    pub(crate) fn after(mut self, wait: Duration) -> Self {
        self.0.insert(0, Step::Wait(wait));
        self
    }

    /// Never responds.
    pub(crate) fn silence() -> Self {
        Self(vec![Step::Silence])
    }

    /// Closes the connection without a response (FIN).
    pub(crate) fn close() -> Self {
        Self(vec![Step::Close])
    }

    /// Like [`Reply::close`], but the other direction stays open.
    pub(crate) fn half_closed() -> Self {
        Self(vec![Step::HalfClose])
    }

    /// Resets the connection without a response (RST).
    pub(crate) fn reset() -> Self {
        Self(vec![Step::Reset])
    }

    /// Arbitrary bytes, then the end of the connection.
    pub(crate) fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self(vec![Step::Write(bytes.into()), Step::Close])
    }

    /// Arbitrary bytes, then silence.
    pub(crate) fn raw_then_silence(bytes: impl Into<Vec<u8>>) -> Self {
        Self(vec![Step::Write(bytes.into()), Step::Silence])
    }

    /// A response that ends before its announced length.
    pub(crate) fn half(status: u16) -> Self {
        let mut bytes = head(status, &[], "Content-Length: 1000\r\n");
        bytes.extend_from_slice(b"not all of it");
        Self(vec![Step::Write(bytes), Step::Close])
    }

    /// A response that stalls before its announced length.
    pub(crate) fn stalled(status: u16) -> Self {
        let mut bytes = head(status, &[], "Content-Length: 1000\r\n");
        bytes.extend_from_slice(b"not all of it");
        Self(vec![Step::Write(bytes), Step::Silence])
    }

    /// A response with an endless body, as fast as it is read.
    pub(crate) fn endless_body(status: u16) -> Self {
        Self::body_without_end(status, Duration::ZERO)
    }

    /// A response with an endless body, one byte at a time.
    pub(crate) fn dripping_body(status: u16, every: Duration) -> Self {
        Self::body_without_end(status, every)
    }

    fn body_without_end(status: u16, every: Duration) -> Self {
        let piece = if every.is_zero() { vec![b'x'; 8192] } else { b"x".to_vec() };
        Self(vec![Step::Write(head(status, &[], "")), Step::Repeat(piece, every)])
    }

    /// An endless response head, as fast as it is read.
    pub(crate) fn endless_head(status: u16) -> Self {
        let start = format!("HTTP/1.1 {status} Without End\r\n").into_bytes();
        Self(vec![Step::Write(start), Step::Repeat(b"X-More: and more\r\n".repeat(256), Duration::ZERO)])
    }

    /// An endless response head, one byte at a time.
    pub(crate) fn dripping_head(status: u16, every: Duration) -> Self {
        let start = format!("HTTP/1.1 {status} Drop By Drop\r\nX-Drops: ").into_bytes();
        Self(vec![Step::Write(start), Step::Repeat(b"x".to_vec(), every)])
    }

    /// Endless `100 Continue` responses.
    pub(crate) fn endless_continue(every: Duration) -> Self {
        Self::endless_interim("100 Continue\r\n", every)
    }

    /// Endless `103 Early Hints` responses.
    pub(crate) fn endless_hints(every: Duration) -> Self {
        Self::endless_interim("103 Early Hints\r\nLink: </style.css>; rel=preload\r\n", every)
    }

    fn endless_interim(head: &str, every: Duration) -> Self {
        let at_once = if every.is_zero() { 256 } else { 1 };
        Self(vec![Step::Repeat(format!("HTTP/1.1 {head}\r\n").repeat(at_once).into_bytes(), every)])
    }
}

fn head(status: u16, headers: &[(&str, &str)], framing: &str) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {status} As Told\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str(framing);
    text.push_str("\r\n");
    text.into_bytes()
}

type Decide = dyn Fn(&Received) -> Reply + Send + Sync;

struct State {
    received: Vec<Received>,
    /// True if requests are passed to [`Destination::decide`] without being kept.
    keeps_nothing: bool,
    connections: usize,
    /// The responses to the next requests, one each.
    next: VecDeque<Reply>,
    /// Decides the response to all other requests.
    otherwise: Arc<Decide>,
}

#[derive(Clone)]
struct Shared(Arc<Mutex<State>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a request; returns its response.
    fn record(&self, request: Received) -> Reply {
        let (queued, decide) = {
            let mut state = self.lock();
            if !state.keeps_nothing {
                state.received.push(request.clone());
            }
            (state.next.pop_front(), Arc::clone(&state.otherwise))
        };
        queued.unwrap_or_else(|| decide(&request))
    }
}

/// An HTTP server on a free local port that records every request and responds as scripted: 200 by default.
pub(crate) struct Destination {
    address: SocketAddr,
    scheme: &'static str,
    shared: Shared,
    server: JoinHandle<()>,
}

impl Destination {
    pub(crate) async fn start() -> Self {
        Self::listen("127.0.0.1:0", None).await
    }

    /// Starts a destination with these first responses, then 200.
    pub(crate) async fn answering(replies: impl IntoIterator<Item = Reply>) -> Self {
        let destination = Self::start().await;
        destination.next(replies);
        destination
    }

    /// Starts a destination with the same response to every request.
    pub(crate) async fn always(reply: Reply) -> Self {
        let destination = Self::start().await;
        destination.from_now_on(reply);
        destination
    }

    /// Starts a destination that speaks TLS; see [`super::Authority`].
    pub(crate) async fn tls(config: Arc<ServerConfig>) -> Self {
        Self::listen("127.0.0.1:0", Some(TlsAcceptor::from(config))).await
    }

    /// Starts a destination on this address, as in `[::1]:0`.
    pub(crate) async fn at(address: &str) -> Self {
        Self::listen(address, None).await
    }

    async fn listen(address: &str, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind(address).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let scheme = if tls.is_some() { "https" } else { "http" };
        let otherwise: Arc<Decide> = Arc::new(|_| Reply::status(200));
        let state =
            State { received: Vec::new(), keeps_nothing: false, connections: 0, next: VecDeque::new(), otherwise };
        let shared = Shared(Arc::new(Mutex::new(state)));
        let server = tokio::spawn(accept(listener, tls, shared.clone()));
        Self { address, scheme, shared, server }
    }

    /// Sets the responses to the next requests, one each.
    pub(crate) fn next(&self, replies: impl IntoIterator<Item = Reply>) {
        self.shared.lock().next.extend(replies);
    }

    /// Sets the response to every request from now on that [`Destination::next`] does not cover.
    #[expect(clippy::wrong_self_convention, reason = "it is no conversion; tests read it as a sentence")]
    pub(crate) fn from_now_on(&self, reply: Reply) {
        self.decide(move |_| reply.clone());
    }

    /// Like [`Destination::from_now_on`], with a decision per request.
    pub(crate) fn decide(&self, decide: impl Fn(&Received) -> Reply + Send + Sync + 'static) {
        self.shared.lock().otherwise = Arc::new(decide);
    }

    /// From now on passes requests to [`Destination::decide`] without keeping them: for tests with more requests than
    /// fit into memory.
    pub(crate) fn keep_nothing(&self) {
        self.shared.lock().keeps_nothing = true;
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The destination's URL with this path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    /// The destination's URL with this path and the host name `localhost`.
    pub(crate) fn url_by_name(&self, path: &str) -> String {
        format!("{}://localhost:{}{path}", self.scheme, self.address.port())
    }

    /// All requests received so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.shared.lock().received.clone()
    }

    /// The number of connections opened, with or without a request.
    pub(crate) fn connections(&self) -> usize {
        self.shared.lock().connections
    }

    /// Waits for at least this many requests; returns all.
    pub(crate) async fn wait_for(&self, requests: usize) -> Vec<Received> {
        self.wait_until(&format!("{requests} requests"), |received| received.len() >= requests).await
    }

    /// Waits until the received requests satisfy a condition; returns all.
    pub(crate) async fn wait_until(&self, what: &str, enough: impl Fn(&[Received]) -> bool) -> Vec<Received> {
        let what = format!("{what} at {}", self.address);
        eventually(&what, async || Some(self.received()).filter(|received| enough(received))).await
    }

    /// Asserts that no request arrives for a while.
    pub(crate) async fn stays_quiet(&self, quiet: Duration) {
        let before = self.received().len();
        tokio::time::sleep(quiet).await;
        let after = self.received();
        assert_eq!(after.len(), before, "arrived meanwhile: {:?}", &after[before..]);
    }

    /// Waits until no request has arrived for a while.
    pub(crate) async fn until_quiet(&self, quiet: Duration) -> Vec<Received> {
        eventually("silence", async || {
            let last = self.received().last().map(|request| request.at);
            last.is_none_or(|last| last.elapsed() >= quiet).then(|| self.received())
        })
        .await
    }
}

impl Drop for Destination {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, shared: Shared) {
    // Dropping the set ends all connections with the destination.
    let mut serving = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let connection = {
            let mut state = shared.lock();
            state.connections += 1;
            state.connections - 1
        };
        while serving.try_join_next().is_some() {}
        // A peer that disconnects ends only its own connection.
        let (shared, tls) = (shared.clone(), tls.clone());
        serving.spawn(async move {
            let _ = match tls {
                None => serve(stream, shared, connection).await,
                Some(tls) => match tls.accept(stream).await {
                    Ok(stream) => serve(stream, shared, connection).await,
                    Err(error) => Err(error),
                },
            };
        });
    }
}

/// Access to the TCP connection beneath TLS.
trait Connection: AsyncRead + AsyncWrite + Unpin {
    /// The underlying TCP connection.
    fn tcp(&self) -> &TcpStream;
}

impl Connection for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Connection for tokio_rustls::server::TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

async fn serve(mut stream: impl Connection, shared: Shared, connection: usize) -> io::Result<()> {
    let mut buffer = Vec::new();
    while let Some(request) = read(&mut stream, &mut buffer, connection).await? {
        let Reply(steps) = shared.record(request);
        for step in steps {
            match step {
                Step::Wait(wait) => tokio::time::sleep(wait).await,
                Step::Write(bytes) => stream.write_all(&bytes).await?,
                Step::Repeat(bytes, every) => loop {
                    stream.write_all(&bytes).await?;
                    tokio::time::sleep(every).await;
                },
                Step::Silence => std::future::pending().await,
                Step::Close => return stream.shutdown().await,
                Step::HalfClose => {
                    stream.shutdown().await?;
                    let mut rest = Vec::new();
                    stream.read_to_end(&mut rest).await?;
                    return Ok(());
                }
                Step::Reset => {
                    // Closing with a linger time of zero sends an RST (tcp(7), SO_LINGER).
                    stream.tcp().set_zero_linger()?;
                    return Ok(());
                }
            }
        }
        stream.flush().await?;
    }
    Ok(())
}

/// Reads the next request; `None` at the end of the connection. Supports only bodies with a `Content-Length`: the host
/// always knows the body's length before it sends.
async fn read(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut Vec<u8>,
    connection: usize,
) -> io::Result<Option<Received>> {
    let end = loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if buffer.len() > MAX_HEAD_BYTES || stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&buffer[..end - 4]).into_owned();
    buffer.drain(..end);
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or("").split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let header = |line: &str| line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
    let mut request = Received {
        method,
        path,
        headers: lines.filter_map(header).collect(),
        body: Vec::new(),
        at: Instant::now(),
        connection,
    };
    let length: usize = request.header("content-length").parse().unwrap_or(0);
    while buffer.len() < length {
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
    request.body = buffer.drain(..length).collect();
    request.at = Instant::now();
    Ok(Some(request))
}
