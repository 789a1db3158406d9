//! A destination that does what a test tells it: written on bare sockets, so that it can misbehave.

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

/// Heads longer than this are nothing that a host sends.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// One request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) path: String,
    /// In their order, names as sent.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// When the last byte was there.
    pub(crate) at: Instant,
    /// Which connection it came on, from 0.
    pub(crate) connection: usize,
}

impl Received {
    /// The value of a header, in any case of its name; empty when it is absent.
    ///
    /// # Panics
    /// When it is there more than once.
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

    /// The delivery's id.
    #[track_caller]
    pub(crate) fn delivery(&self) -> &str {
        self.header("webhook-id")
    }

    /// Whether `webhook-signature` holds this secret's, by an implementation that is not the host's.
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

    /// Which attempt it says to be.
    #[track_caller]
    pub(crate) fn attempt(&self) -> u32 {
        self.header("x-webhook-attempt").parse().expect("an attempt's number")
    }
}

/// The value of `X-Webhook-Signature`, from the contract's words.
pub(crate) fn body_signature(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any key");
    mac.update(body);
    let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={hex}")
}

/// What is done about one request, step by step.
#[derive(Clone, Debug)]
pub(crate) struct Reply(Vec<Step>);

#[derive(Clone, Debug)]
enum Step {
    Wait(Duration),
    Write(Vec<u8>),
    /// The bytes again and again, as fast as they are taken or once in a while.
    Repeat(Vec<u8>, Duration),
    /// Nothing more, ever; the connection stays.
    Silence,
    /// The end, as a TCP FIN.
    Close,
    /// The end of what it says, as a TCP FIN; it goes on listening.
    HalfClose,
    /// The end, as a TCP RST.
    Reset,
}

impl Reply {
    /// A short answer with this status.
    pub(crate) fn status(status: u16) -> Self {
        Self::full(status, &[], b"")
    }

    /// A whole answer. `Content-Length` is added.
    pub(crate) fn full(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Self {
        let mut bytes = head(status, headers, &format!("Content-Length: {}\r\n", body.len()));
        bytes.extend_from_slice(body);
        Self(vec![Step::Write(bytes)])
    }

    /// An answer that sends elsewhere.
    pub(crate) fn redirect(status: u16, to: &str) -> Self {
        Self::full(status, &[("Location", to)], b"")
    }

    /// The same after a while.
    pub(crate) fn after(mut self, wait: Duration) -> Self {
        self.0.insert(0, Step::Wait(wait));
        self
    }

    /// No answer, ever.
    pub(crate) fn silence() -> Self {
        Self(vec![Step::Silence])
    }

    /// The connection ends without an answer (FIN).
    pub(crate) fn close() -> Self {
        Self(vec![Step::Close])
    }

    /// As [`Reply::close`], but the other direction stays open.
    pub(crate) fn half_closed() -> Self {
        Self(vec![Step::HalfClose])
    }

    /// The connection is reset without an answer (RST).
    pub(crate) fn reset() -> Self {
        Self(vec![Step::Reset])
    }

    /// These bytes, whatever they are, and the end of the connection.
    pub(crate) fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self(vec![Step::Write(bytes.into()), Step::Close])
    }

    /// These bytes, whatever they are, and then nothing more.
    pub(crate) fn raw_then_silence(bytes: impl Into<Vec<u8>>) -> Self {
        Self(vec![Step::Write(bytes.into()), Step::Silence])
    }

    /// An answer that promises more than it brings before the connection ends.
    pub(crate) fn half(status: u16) -> Self {
        let mut bytes = head(status, &[], "Content-Length: 1000\r\n");
        bytes.extend_from_slice(b"not all of it");
        Self(vec![Step::Write(bytes), Step::Close])
    }

    /// An answer that promises more than it brings and never ends.
    pub(crate) fn stalled(status: u16) -> Self {
        let mut bytes = head(status, &[], "Content-Length: 1000\r\n");
        bytes.extend_from_slice(b"not all of it");
        Self(vec![Step::Write(bytes), Step::Silence])
    }

    /// An answer whose body goes on for ever, as fast as it is taken.
    pub(crate) fn endless_body(status: u16) -> Self {
        Self::body_without_end(status, Duration::ZERO)
    }

    /// An answer whose body comes byte by byte, without end.
    pub(crate) fn dripping_body(status: u16, every: Duration) -> Self {
        Self::body_without_end(status, every)
    }

    fn body_without_end(status: u16, every: Duration) -> Self {
        let piece = if every.is_zero() { vec![b'x'; 8192] } else { b"x".to_vec() };
        Self(vec![Step::Write(head(status, &[], "")), Step::Repeat(piece, every)])
    }

    /// A head that goes on for ever, as fast as it is taken.
    pub(crate) fn endless_head(status: u16) -> Self {
        let start = format!("HTTP/1.1 {status} Without End\r\n").into_bytes();
        Self(vec![Step::Write(start), Step::Repeat(b"X-More: and more\r\n".repeat(256), Duration::ZERO)])
    }

    /// A head that comes byte by byte, without end.
    pub(crate) fn dripping_head(status: u16, every: Duration) -> Self {
        let start = format!("HTTP/1.1 {status} Drop By Drop\r\nX-Drops: ").into_bytes();
        Self(vec![Step::Write(start), Step::Repeat(b"x".to_vec(), every)])
    }

    /// `100 Continue` again and again.
    pub(crate) fn endless_continue(every: Duration) -> Self {
        Self::endless_interim("100 Continue\r\n", every)
    }

    /// `103 Early Hints` again and again.
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
    /// Whether requests are only handed to [`Destination::decide`].
    keeps_nothing: bool,
    connections: usize,
    /// What the next requests are answered, one each.
    next: VecDeque<Reply>,
    /// What all others are answered.
    otherwise: Arc<Decide>,
}

#[derive(Clone)]
struct Shared(Arc<Mutex<State>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a request; what it is answered.
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

/// Takes requests on a free port of this machine, keeps every one, and answers as told: 200 unless told
/// otherwise.
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

    /// One that answers these first, one a request, then 200.
    pub(crate) async fn answering(replies: impl IntoIterator<Item = Reply>) -> Self {
        let destination = Self::start().await;
        destination.next(replies);
        destination
    }

    /// One that answers every request so.
    pub(crate) async fn always(reply: Reply) -> Self {
        let destination = Self::start().await;
        destination.from_now_on(reply);
        destination
    }

    /// One that speaks TLS; see [`super::Authority`].
    pub(crate) async fn tls(config: Arc<ServerConfig>) -> Self {
        Self::listen("127.0.0.1:0", Some(TlsAcceptor::from(config))).await
    }

    /// One on this address, as in `[::1]:0`.
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

    /// The next requests are answered so, one each.
    pub(crate) fn next(&self, replies: impl IntoIterator<Item = Reply>) {
        self.shared.lock().next.extend(replies);
    }

    /// Every request that [`Destination::next`] says nothing about is answered so from now on.
    #[expect(clippy::wrong_self_convention, reason = "it is no conversion; tests read it as a sentence")]
    pub(crate) fn from_now_on(&self, reply: Reply) {
        self.decide(move |_| reply.clone());
    }

    /// As [`Destination::from_now_on`], each request on its own.
    pub(crate) fn decide(&self, decide: impl Fn(&Received) -> Reply + Send + Sync + 'static) {
        self.shared.lock().otherwise = Arc::new(decide);
    }

    /// Requests are only shown to [`Destination::decide`] from now on: for those who keep their own books of
    /// more than fits into memory.
    pub(crate) fn keep_nothing(&self) {
        self.shared.lock().keeps_nothing = true;
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL with this path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    /// Its URL with this path, by the name `localhost`.
    pub(crate) fn url_by_name(&self, path: &str) -> String {
        format!("{}://localhost:{}{path}", self.scheme, self.address.port())
    }

    /// What has arrived.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.shared.lock().received.clone()
    }

    /// How many connections were opened, whether or not a request came on them.
    pub(crate) fn connections(&self) -> usize {
        self.shared.lock().connections
    }

    /// Waits until at least so many requests are here; all that are.
    pub(crate) async fn wait_for(&self, requests: usize) -> Vec<Received> {
        self.wait_until(&format!("{requests} requests"), |received| received.len() >= requests).await
    }

    /// Waits until what has arrived is enough; all of it.
    pub(crate) async fn wait_until(&self, what: &str, enough: impl Fn(&[Received]) -> bool) -> Vec<Received> {
        let what = format!("{what} at {}", self.address);
        eventually(&what, async || Some(self.received()).filter(|received| enough(received))).await
    }

    /// Asserts that nothing more arrives for a while.
    pub(crate) async fn stays_quiet(&self, quiet: Duration) {
        let before = self.received().len();
        tokio::time::sleep(quiet).await;
        let after = self.received();
        assert_eq!(after.len(), before, "arrived meanwhile: {:?}", &after[before..]);
    }

    /// Waits until nothing has arrived for a while.
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
    // Connections end with the destination.
    let mut serving = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let connection = {
            let mut state = shared.lock();
            state.connections += 1;
            state.connections - 1
        };
        while serving.try_join_next().is_some() {}
        // A peer that goes away ends its connection and nothing else.
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

/// What a step needs beyond reading and writing.
trait Connection: AsyncRead + AsyncWrite + Unpin {
    /// The TCP connection below.
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
                    // Closing with a linger of zero sends RST (tcp(7), SO_LINGER).
                    stream.tcp().set_zero_linger()?;
                    return Ok(());
                }
            }
        }
        stream.flush().await?;
    }
    Ok(())
}

/// The next request; `None` at the end of the connection. Knows bodies with a `Content-Length` only: a host
/// has its body whole before it sends.
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
