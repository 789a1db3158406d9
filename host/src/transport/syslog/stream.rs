//! Syslog over TCP and TLS: one connection per destination, kept open and shared by all deliveries to it.
//!
//! The peer never responds, so a message counts as delivered when three things hold: its bytes were written; the peer's
//! machine has acknowledged all of them (`SIOCOUTQ`, tcp(7)); and the connection stayed open for a short time after
//! that. A collector that closes on a message, because it rejects it or because it was stopped, thus makes a failed
//! attempt, which is retried. A collector that does not read fills the receive buffer of its machine, and then the
//! attempt times out.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use rustix::ioctl::{Getter, Opcode, ioctl};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};
use tokio_rustls::TlsConnector;
use url::Host;

use crate::model::url::DeliveryUrl;
use crate::model::webhook::TlsNames;
use crate::transport::destination::GuardedResolver;
use crate::transport::dial::connect;
use crate::transport::errors;
use crate::transport::failure::Failure;
use crate::transport::phase::{Phase, Reached};
use crate::transport::tls::Tls;

/// The time for which a connection must stay open after a message was acknowledged, before the message counts as
/// delivered.
const SETTLE_TIME: Duration = Duration::from_millis(10);
/// The same until a first message was delivered. A collector that expects another framing, or with TLS 1.3 another
/// client certificate, says so only now, by closing.
const FIRST_SETTLE_TIME: Duration = Duration::from_millis(150);
/// The longest wait for the reader task to report why a connection ended, once the operating system knows that it did.
const READER_LAG: Duration = Duration::from_millis(500);
/// Interval between two queries of the unacknowledged bytes.
const POLL_INTERVAL: Duration = Duration::from_millis(2);
/// The first backoff after a connection could not be made; it doubles up to [`MAX_BACKOFF`]. Deliveries that arrive in
/// the meantime share the failure.
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
const MAX_BACKOFF: Duration = Duration::from_secs(1);
/// A connection that was unused for so long is closed when the pool is next looked at.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// Idle time after which the operating system sends TCP keepalive probes.
const KEEPALIVE: Duration = Duration::from_secs(60);
/// Bytes that a peer may send, apart from a TLS handshake; none are expected.
const MAX_RECEIVED_BYTES: usize = 64 * 1024;

/// The connections, by destination and TLS names.
pub(super) struct StreamPool {
    destinations: Arc<GuardedResolver>,
    tls: Arc<Tls>,
    shared: Mutex<HashMap<(DeliveryUrl, TlsNames), Arc<SharedConnection>>>,
}

/// The connection to one destination. The lock is held while a message is written, but not while its delivery is
/// awaited, so messages of many deliveries are in flight together.
#[derive(Default)]
struct SharedConnection {
    state: tokio::sync::Mutex<State>,
    /// The phase of the delivery that holds the lock: those behind it wait for the same thing.
    phase: Phase,
}

#[derive(Default)]
struct State {
    connection: Option<Connection>,
    last_used: Option<Instant>,
    backoff: Option<Backoff>,
}

/// Set after connections could not be made.
struct Backoff {
    failure: Failure,
    /// Failures in a row.
    failures: u32,
    until: Instant,
}

impl StreamPool {
    pub(super) fn new(destinations: Arc<GuardedResolver>, tls: Arc<Tls>) -> Self {
        Self { destinations, tls, shared: Mutex::default() }
    }

    pub(super) async fn deliver(
        &self,
        url: &DeliveryUrl,
        names: &TlsNames,
        frames: &Bytes,
        alone: bool,
        phase: &Phase,
    ) -> Result<(), Failure> {
        let shared = if alone { Arc::default() } else { self.shared(url, names) };
        let mut is_repeated = false;
        loop {
            match self.deliver_once(&shared, url, names, frames, phase).await {
                // Another delivery timed out, and the shared connection was closed with it. This message is sent again
                // at once, on a new connection.
                Err(Failure::Abandoned) if !is_repeated => is_repeated = true,
                result => return result,
            }
        }
    }

    async fn deliver_once(
        &self,
        shared: &SharedConnection,
        url: &DeliveryUrl,
        names: &TlsNames,
        frames: &Bytes,
        phase: &Phase,
    ) -> Result<(), Failure> {
        let unconfirmed = {
            phase.set(shared.phase.get());
            let mut state = shared.state.lock().await;
            let enter = |reached| {
                phase.set(reached);
                shared.phase.set(reached);
            };
            enter(Reached::Connecting);
            // Taken out of the state while it is written to: if this attempt times out, half a message may have been
            // sent, and the connection is dropped with the attempt.
            let mut connection = self.open(&mut state, url, names, &enter).await?;
            enter(Reached::Writing);
            let unconfirmed = connection.write(frames).await?;
            state.last_used = Some(Instant::now());
            state.connection = Some(connection);
            unconfirmed
        };
        unconfirmed.confirmed().await
    }

    fn shared(&self, url: &DeliveryUrl, names: &TlsNames) -> Arc<SharedConnection> {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (url.clone(), names.clone());
        if let Some(connection) = shared.get(&key) {
            return Arc::clone(connection);
        }
        // A new destination is the occasion to drop the idle ones.
        shared.retain(|_, connection| match connection.state.try_lock() {
            Ok(state) => state.last_used.is_some_and(|used| used.elapsed() < IDLE_TIMEOUT),
            Err(_) => true,
        });
        Arc::clone(shared.entry(key).or_default())
    }

    /// The existing connection if it is still open, or a new one.
    async fn open(
        &self,
        state: &mut State,
        url: &DeliveryUrl,
        names: &TlsNames,
        enter: &(impl Fn(Reached) + Sync),
    ) -> Result<Connection, Failure> {
        let now = Instant::now();
        let is_recent = state.last_used.is_some_and(|used| now - used < IDLE_TIMEOUT);
        if let Some(connection) = state.connection.take().filter(|connection| is_recent && connection.is_open()) {
            return Ok(connection);
        }
        if let Some(backoff) = state.backoff.as_ref().filter(|backoff| now < backoff.until) {
            return Err(backoff.failure.clone());
        }
        match self.connect(url, names, enter).await {
            Ok(connection) => {
                state.backoff = None;
                Ok(connection)
            }
            Err(failure) => {
                let failures = state.backoff.as_ref().map_or(0, |backoff| backoff.failures).saturating_add(1);
                let wait = FIRST_BACKOFF.saturating_mul(1 << failures.min(10).saturating_sub(1)).min(MAX_BACKOFF);
                state.backoff = Some(Backoff { failure: failure.clone(), failures, until: Instant::now() + wait });
                Err(failure)
            }
        }
    }

    async fn connect(
        &self,
        url: &DeliveryUrl,
        names: &TlsNames,
        enter: &(impl Fn(Reached) + Sync),
    ) -> Result<Connection, Failure> {
        enter(Reached::LookingUp);
        let addresses = self.destinations.addresses(&url.host(), url.port()).await?;
        enter(Reached::Connecting);
        let stream = connect(addresses).await.map_err(|error| Failure::NotConnected((&error).into()))?;
        let broken = |error: io::Error| Failure::NotConnected((&error).into());
        // If an option cannot be set, messages are slower and a lost peer is noticed later; neither is an error.
        let _ = stream.set_nodelay(true);
        let _ = socket2::SockRef::from(&stream).set_tcp_keepalive(&socket2::TcpKeepalive::new().with_time(KEEPALIVE));
        let descriptor = stream.as_fd().try_clone_to_owned().map_err(broken)?;
        let socket = Socket { descriptor, is_abandoned: AtomicBool::default(), is_proven: AtomicBool::default() };
        let sent = Arc::new(AtomicU64::new(0));
        let counted = CountingStream { stream, sent: Arc::clone(&sent) };
        if !url.scheme().is_tls() {
            return Ok(Connection::new(Box::new(counted), socket, sent));
        }
        let config = self.tls.config(names).map_err(|why| Failure::TlsNames(why.into()))?;
        let name = server_name(&url.host()).ok_or(Failure::Unsendable)?;
        enter(Reached::Handshaking);
        let stream = TlsConnector::from(config).connect(name, counted).await;
        Ok(Connection::new(Box::new(stream.map_err(|error| errors::handshake(&error))?), socket, sent))
    }
}

fn server_name(host: &Host<&str>) -> Option<ServerName<'static>> {
    Some(match host {
        Host::Domain(name) => ServerName::try_from(name.trim_end_matches('.').to_owned()).ok()?,
        Host::Ipv4(ip) => ServerName::IpAddress(std::net::IpAddr::V4(*ip).into()),
        Host::Ipv6(ip) => ServerName::IpAddress(std::net::IpAddr::V6(*ip).into()),
    })
}

/// A TCP or TLS stream.
trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A second descriptor of the connection's socket, to query and close it while the stream is in use elsewhere.
struct Socket {
    descriptor: OwnedFd,
    /// True if we closed the connection, because a message was not confirmed in its time.
    is_abandoned: AtomicBool,
    /// True once a message was delivered over it.
    is_proven: AtomicBool,
}

impl Socket {
    /// Bytes that the peer's machine has not acknowledged yet (`SIOCOUTQ`, tcp(7); the same request as `TIOCOUTQ`).
    fn unacknowledged(&self) -> io::Result<u64> {
        const SIOCOUTQ: Opcode = libc::TIOCOUTQ as Opcode;
        // SAFETY: the request writes one c_int.
        let bytes = unsafe { ioctl(&self.descriptor, Getter::<SIOCOUTQ, libc::c_int>::new()) }?;
        Ok(u64::try_from(bytes).unwrap_or(0))
    }

    /// True if neither side has closed the connection, as far as the operating system knows (`TCP_INFO`, tcp(7)).
    fn is_established(&self) -> bool {
        // `TCP_ESTABLISHED` of the kernel's enumeration of states, which neither libc nor rustix declares.
        const ESTABLISHED: u8 = 1;
        // The first byte of `struct tcp_info` is the state; only that byte is read.
        let (mut state, mut length) = (0_u8, 1 as libc::socklen_t);
        // libc, since rustix has no wrapper for this option.
        // SAFETY: the descriptor is open, and at most `length` bytes are written to `state`.
        let result = unsafe {
            let at = (&raw mut state).cast();
            libc::getsockopt(self.descriptor.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, at, &raw mut length)
        };
        result == 0 && state == ESTABLISHED
    }

    fn abandon(&self) {
        self.is_abandoned.store(true, Ordering::Release);
        self.shut_down();
    }

    /// Waits for the end of the connection.
    async fn end(&self, ended: &mut watch::Receiver<Option<Failure>>) -> Failure {
        let seen = ended.wait_for(Option::is_some).await.ok().and_then(|failure| failure.clone());
        self.cause(seen.unwrap_or(Failure::ClosedAfterSend))
    }

    /// The failure that the reader saw, unless we closed the connection ourselves.
    fn cause(&self, seen: Failure) -> Failure {
        if self.is_abandoned.load(Ordering::Acquire) { Failure::Abandoned } else { seen }
    }

    /// Closes the connection for every holder of a descriptor.
    fn shut_down(&self) {
        // The only error is that the connection is closed already.
        let _ = rustix::net::shutdown(&self.descriptor, rustix::net::Shutdown::Both);
    }
}

/// An open connection, with a task that reads from it.
struct Connection {
    writer: WriteHalf<Box<dyn Io>>,
    socket: Arc<Socket>,
    /// Bytes written to the socket so far, TLS records included.
    sent: Arc<AtomicU64>,
    /// The failure that the reader saw; `None` while the connection is open.
    ended: watch::Receiver<Option<Failure>>,
    reader: AbortHandle,
    /// True while a message may be written in part only.
    is_writing: bool,
}

impl Connection {
    fn new(stream: Box<dyn Io>, socket: Socket, sent: Arc<AtomicU64>) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        let (report, ended) = watch::channel(None);
        let reader = tokio::spawn(watch_for_end(reader, report)).abort_handle();
        Self { writer, socket: Arc::new(socket), sent, ended, reader, is_writing: false }
    }

    /// True if the peer has not closed it. A half-closed connection counts as closed.
    fn is_open(&self) -> bool {
        self.ended.borrow().is_none() && self.ended.has_changed().is_ok()
    }

    async fn write(&mut self, frames: &Bytes) -> Result<Unconfirmed, Failure> {
        self.is_writing = true;
        let written = self.write_all(frames).await;
        self.is_writing = false;
        written
    }

    async fn write_all(&mut self, frames: &Bytes) -> Result<Unconfirmed, Failure> {
        let mut ended = self.ended.clone();
        let write = async {
            self.writer.write_all(frames).await?;
            self.writer.flush().await
        };
        let result = tokio::select! {
            biased;
            // Writing to a peer that has closed would succeed as long as its receive buffer has space.
            failure = self.socket.end(&mut ended) => return Err(failure),
            result = write => result,
        };
        if let Err(error) = result {
            // The reader may know a better reason than "broken pipe", such as a TLS alert.
            return Err(match tokio::time::timeout(READER_LAG, self.socket.end(&mut ended)).await {
                Ok(seen) => seen,
                Err(_) => self.socket.cause(errors::tls(&error).unwrap_or(Failure::ClosedAfterSend)),
            });
        }
        Ok(Unconfirmed {
            end: self.sent.load(Ordering::Acquire),
            sent: Arc::clone(&self.sent),
            socket: Arc::clone(&self.socket),
            ended,
            is_confirmed: false,
        })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.reader.abort();
        if self.is_writing {
            // The attempt timed out in the middle of a message.
            self.socket.abandon();
        }
        self.socket.shut_down();
    }
}

/// A message that was written and is not confirmed yet.
struct Unconfirmed {
    /// The connection's `sent` at the end of this message.
    end: u64,
    sent: Arc<AtomicU64>,
    socket: Arc<Socket>,
    ended: watch::Receiver<Option<Failure>>,
    is_confirmed: bool,
}

impl Drop for Unconfirmed {
    /// Abandons the connection of a message that timed out; later messages get a new one.
    fn drop(&mut self) {
        if !self.is_confirmed && self.ended.borrow().is_none() {
            self.socket.abandon();
        }
    }
}

impl Unconfirmed {
    /// Waits until the message counts as delivered, or has failed.
    async fn confirmed(mut self) -> Result<(), Failure> {
        while !self.is_acknowledged().map_err(|error| Failure::NotConnected((&error).into()))? {
            self.stays_open(POLL_INTERVAL).await?;
        }
        // The time counts from the acknowledgement: a close caused by this message arrives right behind it, however
        // long the round trip is.
        let is_proven = self.socket.is_proven.load(Ordering::Acquire);
        self.stays_open(if is_proven { SETTLE_TIME } else { FIRST_SETTLE_TIME }).await?;
        self.socket.is_proven.store(true, Ordering::Release);
        self.is_confirmed = true;
        Ok(())
    }

    /// Waits this long; fails if the connection ends in the meantime.
    async fn stays_open(&mut self, time: Duration) -> Result<(), Failure> {
        tokio::select! {
            biased;
            failure = self.socket.end(&mut self.ended) => return Err(failure),
            () = sleep(time) => {}
        }
        if self.socket.is_established() {
            return Ok(());
        }
        // The reader task has not run yet; it may know the reason.
        let seen = tokio::time::timeout(READER_LAG, self.socket.end(&mut self.ended)).await;
        Err(seen.unwrap_or_else(|_| self.socket.cause(Failure::ClosedAfterSend)))
    }

    fn is_acknowledged(&self) -> io::Result<bool> {
        // The order matters: bytes that others write in between raise `unacknowledged`, which errs on the safe side.
        let sent = self.sent.load(Ordering::Acquire);
        let unacknowledged = self.socket.unacknowledged()?;
        Ok(sent.saturating_sub(unacknowledged) >= self.end)
    }
}

/// Reads and drops what the peer sends, to notice the end of the connection and its reason.
async fn watch_for_end(mut reader: ReadHalf<Box<dyn Io>>, report: watch::Sender<Option<Failure>>) {
    let mut buffer = vec![0; 4096];
    let mut received = 0;
    let failure = loop {
        match reader.read(&mut buffer).await {
            Ok(0) => break Failure::ClosedAfterSend,
            Ok(read) => received += read,
            Err(error) => break errors::tls(&error).unwrap_or(Failure::ClosedAfterSend),
        }
        if received > MAX_RECEIVED_BYTES {
            break Failure::UnexpectedData;
        }
        tokio::task::yield_now().await;
    };
    report.send_replace(Some(failure));
}

/// A TCP connection that counts the bytes written to it. It sits below TLS, where the operating system counts too.
struct CountingStream {
    stream: TcpStream,
    sent: Arc<AtomicU64>,
}

impl AsyncRead for CountingStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for CountingStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.stream).poll_write(cx, buf))?;
        this.sent.fetch_add(u64::try_from(written).unwrap_or(u64::MAX), Ordering::Release);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

/// Properties that [`crate::fuzzing::syslog_peer`] checks.
#[cfg(fuzzing)]
pub(crate) mod fuzzing {
    use super::*;

    /// Watches a peer that sends so many bytes at a time, and then closes the connection, or breaks it.
    ///
    /// Watching ends with the connection or with the first byte beyond [`MAX_RECEIVED_BYTES`], and says which.
    pub(crate) fn check(sends: &[u16], breaks: bool) {
        let peer = Peer { sends: sends.to_vec().into(), breaks };
        let (reader, _writer) = tokio::io::split(Box::new(peer) as Box<dyn Io>);
        let (report, ended) = watch::channel(None);
        let mut watching = std::pin::pin!(watch_for_end(reader, report));
        let mut context = Context::from_waker(std::task::Waker::noop());
        while watching.as_mut().poll(&mut context).is_pending() {}
        let sent = sends.iter().take_while(|bytes| **bytes > 0).map(|bytes| usize::from(*bytes)).sum::<usize>();
        let expected = if sent > MAX_RECEIVED_BYTES { Failure::UnexpectedData } else { Failure::ClosedAfterSend };
        assert_eq!(*ended.borrow(), Some(expected));
    }

    struct Peer {
        sends: std::collections::VecDeque<u16>,
        breaks: bool,
    }

    impl AsyncRead for Peer {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            let this = self.get_mut();
            let Some(send) = this.sends.pop_front() else {
                let broken = Err(io::ErrorKind::ConnectionReset.into());
                return Poll::Ready(if this.breaks { broken } else { Ok(()) });
            };
            let here = usize::from(send).min(buffer.remaining());
            buffer.put_slice(&vec![b'x'; here]);
            let rest = send - u16::try_from(here).unwrap_or(send);
            if rest > 0 {
                this.sends.push_front(rest);
            }
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Peer {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }
}
