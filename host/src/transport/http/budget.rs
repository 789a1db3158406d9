//! A connection with a byte budget for each response, which also outlives a peer that stops reading.
//!
//! It bounds what a hostile or broken peer can cost: a body without end, a head without end, and a flood of `1xx`
//! responses, which hyper reads and drops without a limit of its own. A peer that drips bytes slowly ("slow loris")
//! stays within any budget; the attempt's time limit ends it.
//!
//! A peer may respond without reading the whole request (RFC 9112, section 9.3: a client watches for that while it
//! writes). If it closes then, writing fails while its response waits to be read, so such an error is left for reading to
//! find. If it stays open without reading, the connection ends with its last request, instead of waiting for the peer.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::transport::errors::is_closed;

/// The most of a response that is read, head and body together.
pub(super) const RESPONSE_BYTES: u64 = 64 * 1024;
/// Allowance for what TLS and HTTP/2 add to a response: record and frame headers, session tickets, settings.
const FRAMING_BYTES: u64 = 16 * 1024;
/// The budget of a TLS handshake. rustls accepts no message above 64 KiB, and a certificate chain is one message.
const HANDSHAKE_BYTES: u64 = 80 * 1024;
/// Bytes that are read before the task yields. Without this, a peer that sends `100 Continue` without end keeps hyper's
/// parser, and with it a worker thread, in one loop.
const BYTES_PER_POLL: u64 = 16 * 1024;
/// With more open connections than this, new ones are closed after use instead of pooled: idle connections to many
/// destinations would exhaust the process's file descriptors.
pub(super) const MAX_POOLING: usize = 512;

/// The bytes received over one connection, and their limit. Shared by the connection's task, which reads, and the
/// requests on it.
#[derive(Debug)]
pub(super) struct ByteBudget {
    /// Bytes received since the connection was made.
    received: AtomicU64,
    /// The highest value that `received` may reach.
    limit: AtomicU64,
    /// True once the peer sent more than the limit.
    exceeded: AtomicBool,
    /// Requests whose responses are outstanding or being read; more than one on HTTP/2 only.
    active: AtomicU64,
    /// Requests begun over this connection so far.
    requests: AtomicU64,
    /// True while the peer does not read what is to be written.
    is_write_blocked: AtomicBool,
    /// True once a request ended that was not written whole.
    is_stuck: AtomicBool,
    /// The connection's task, once it has waited for the peer.
    task: Mutex<Option<Waker>>,
    is_tls: bool,
}

impl ByteBudget {
    fn new(is_tls: bool) -> Self {
        let limit = if is_tls { HANDSHAKE_BYTES } else { RESPONSE_BYTES };
        Self {
            received: AtomicU64::new(0),
            limit: AtomicU64::new(limit),
            exceeded: AtomicBool::new(false),
            active: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            is_write_blocked: AtomicBool::new(false),
            is_stuck: AtomicBool::new(false),
            task: Mutex::default(),
            is_tls,
        }
    }

    /// Grants the budget for one more response. Returns true if the connection has carried a request before.
    ///
    /// On HTTP/1.1 a request begins only when the previous response is over, so the budget is that of one response. On
    /// HTTP/2 the responses in progress share the sum of their budgets; one of them can use it up, but not exceed it.
    pub(super) fn begin_request(&self, is_http2: bool) -> bool {
        let active = self.active.fetch_add(1, Ordering::SeqCst) + 1;
        let responses = if is_http2 { active } else { 1 };
        let each = if self.is_tls { RESPONSE_BYTES + FRAMING_BYTES } else { RESPONSE_BYTES };
        self.limit.store(self.received.load(Ordering::Relaxed) + responses * each, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::SeqCst) > 0
    }

    /// The request ended, with or without a response; `is_unsent` if it was not written whole.
    pub(super) fn end_request(&self, is_unsent: bool) {
        self.is_stuck.fetch_or(is_unsent, Ordering::SeqCst);
        if self.active.fetch_sub(1, Ordering::SeqCst) == 1
            && self.is_abandoned()
            && let Some(task) = self.task().take()
        {
            task.wake();
        }
    }

    /// True if the peer does not read, so that something of a request is not written yet.
    pub(super) fn is_write_blocked(&self) -> bool {
        self.is_write_blocked.load(Ordering::SeqCst)
    }

    /// True once no request needs the connection any more, of which one was not written whole. On HTTP/1.1 it can carry no
    /// other, and on HTTP/2 the rest of that one would stay in memory for as long as the peer likes.
    fn is_abandoned(&self) -> bool {
        self.is_stuck.load(Ordering::SeqCst) && self.active.load(Ordering::SeqCst) == 0
    }

    fn task(&self) -> std::sync::MutexGuard<'_, Option<Waker>> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the task woken when the connection is abandoned; an error if it is already.
    fn wait(&self, cx: &Context<'_>) -> io::Result<()> {
        let mut task = self.task();
        if !task.as_ref().is_some_and(|task| task.will_wake(cx.waker())) {
            *task = Some(cx.waker().clone());
        }
        drop(task);
        if self.is_abandoned() { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }

    /// True if the peer sent more than the budget.
    pub(super) fn is_exceeded(&self) -> bool {
        self.exceeded.load(Ordering::Relaxed)
    }

    /// True if the peer sent anything over a connection without TLS.
    pub(super) fn has_received_plaintext(&self) -> bool {
        !self.is_tls && self.received.load(Ordering::Relaxed) > 0
    }
}

/// A TCP connection that enforces its [`ByteBudget`]. It sits below TLS, so that the handshake counts too.
#[derive(Debug)]
pub(super) struct BudgetedStream {
    stream: TcpStream,
    budget: Arc<ByteBudget>,
    /// Open connections of the whole client; this one is counted while it lives.
    open: Arc<AtomicUsize>,
    is_pooled: bool,
    /// Bytes read since the task last yielded.
    since_yield: u64,
    /// True once writing failed because the peer had closed.
    is_write_closed: bool,
}

impl BudgetedStream {
    pub(super) fn new(stream: TcpStream, is_tls: bool, open: Arc<AtomicUsize>) -> Self {
        let is_pooled = open.fetch_add(1, Ordering::Relaxed) < MAX_POOLING;
        Self {
            stream,
            budget: Arc::new(ByteBudget::new(is_tls)),
            open,
            is_pooled,
            since_yield: 0,
            is_write_closed: false,
        }
    }

    pub(super) fn budget(&self) -> &Arc<ByteBudget> {
        &self.budget
    }

    /// True if the connection may be kept after use.
    pub(super) fn is_pooled(&self) -> bool {
        self.is_pooled
    }

    /// Reads from the connection below. Waiting for the peer is a yield.
    fn poll_stream(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if read.is_pending() {
            self.since_yield = 0;
            self.budget.wait(cx)?;
        }
        read
    }

    /// The result of writing `length` bytes, as the layers above are told.
    fn written(
        &mut self,
        cx: &mut Context<'_>,
        length: usize,
        result: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match result {
            Poll::Pending => {
                self.budget.is_write_blocked.store(true, Ordering::SeqCst);
                self.budget.wait(cx)?;
                Poll::Pending
            }
            Poll::Ready(result) => {
                self.budget.is_write_blocked.store(false, Ordering::SeqCst);
                match result {
                    Err(error) if is_closed(&error) => {
                        self.is_write_closed = true;
                        Poll::Ready(Ok(length))
                    }
                    result => Poll::Ready(result),
                }
            }
        }
    }
}

impl Drop for BudgetedStream {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl AsyncRead for BudgetedStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.since_yield >= BYTES_PER_POLL {
            this.since_yield = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let received = this.budget.received.load(Ordering::Relaxed);
        let left = this.budget.limit.load(Ordering::Relaxed).saturating_sub(received);
        if left == 0 && buf.remaining() > 0 {
            // The end of the stream is within any budget, so look for one more byte.
            let mut one = [0];
            let mut one = ReadBuf::new(&mut one);
            ready!(this.poll_stream(cx, &mut one))?;
            if one.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            this.budget.exceeded.store(true, Ordering::Relaxed);
            return Poll::Ready(Err(io::Error::other("the peer exceeded the byte budget")));
        }
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        if left < buf.remaining() {
            let mut part = ReadBuf::new(buf.initialize_unfilled_to(left));
            ready!(this.poll_stream(cx, &mut part))?;
            let read = part.filled().len();
            buf.advance(read);
        } else {
            ready!(this.poll_stream(cx, buf))?;
        }
        let read = u64::try_from(buf.filled().len() - before).unwrap_or(u64::MAX);
        this.budget.received.fetch_add(read, Ordering::Relaxed);
        this.since_yield += read;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for BudgetedStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let length = bufs.iter().map(|buf| buf.len()).sum();
        if this.is_write_closed {
            return Poll::Ready(Ok(length));
        }
        let result = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
        this.written(cx, length, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    async fn pair(open: &Arc<AtomicUsize>) -> (BudgetedStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let ours = TcpStream::connect(listener.local_addr().expect("address")).await.expect("connect");
        let (theirs, _) = listener.accept().await.expect("accept");
        (BudgetedStream::new(ours, false, Arc::clone(open)), theirs)
    }

    #[tokio::test]
    async fn reading_stops_at_the_budget_and_the_end_is_within_it() {
        let limit = usize::try_from(RESPONSE_BYTES).expect("fits");
        for (bytes, within) in [(limit, true), (limit + 1, false)] {
            let (mut ours, mut theirs) = pair(&Arc::default()).await;
            let budget = Arc::clone(&ours.budget);
            let writing = tokio::spawn(async move { theirs.write_all(&vec![0; bytes]).await });
            let mut read = Vec::new();
            let result = ours.read_to_end(&mut read).await;
            assert_eq!((read.len(), result.is_ok(), budget.is_exceeded()), (limit, within, !within));
            // The writer fails where its bytes were not read.
            drop(writing.await);
        }
    }

    #[tokio::test]
    async fn on_http1_a_request_has_its_own_budget_and_on_http2_a_share() {
        let (ours, _theirs) = pair(&Arc::default()).await;
        let budget = &ours.budget;
        let limit = || budget.limit.load(Ordering::Relaxed);
        budget.received.store(1000, Ordering::Relaxed);
        assert!(!budget.begin_request(false));
        // The first request has not reported its end yet.
        assert!(budget.begin_request(false));
        assert_eq!(limit(), 1000 + RESPONSE_BYTES);
        assert!(budget.begin_request(true));
        assert_eq!(limit(), 1000 + 3 * RESPONSE_BYTES);
    }

    #[tokio::test]
    async fn a_flood_yields() {
        let (mut ours, mut theirs) = pair(&Arc::default()).await;
        theirs.write_all(&[0; 60_000]).await.expect("written");
        let mut yields = 0;
        let mut seen = 0;
        while seen < 60_000 {
            let mut buffer = vec![0; 4096];
            let ours = &mut ours;
            seen += std::future::poll_fn(|cx| {
                let mut buffer = ReadBuf::new(&mut buffer);
                match Pin::new(&mut *ours).poll_read(cx, &mut buffer) {
                    Poll::Ready(read) => Poll::Ready(read.map(|()| buffer.filled().len())),
                    Poll::Pending => {
                        yields += 1;
                        Poll::Pending
                    }
                }
            })
            .await
            .expect("read");
        }
        assert!(yields >= 3, "{yields}");
    }

    /// The peer sends a response and closes with bytes of ours unread, so that its system sends a reset.
    #[tokio::test]
    async fn what_a_peer_sent_before_it_closed_is_read_although_writing_fails() {
        let (mut ours, mut theirs) = pair(&Arc::default()).await;
        ours.write_all(&[0; 1000]).await.expect("written");
        theirs.readable().await.expect("readable");
        theirs.write_all(b"response").await.expect("written");
        drop(theirs);
        // The first write after the reset fails, and perhaps a later one, depending on when it arrives.
        while !ours.is_write_closed {
            ours.write_all(&[0; 1000]).await.expect("accepted");
            tokio::task::yield_now().await;
        }
        let mut read = [0; 8];
        ours.read_exact(&mut read).await.expect("the response");
        assert_eq!(&read, b"response");
    }

    #[tokio::test]
    async fn a_blocked_connection_ends_with_its_last_request() {
        let (mut ours, theirs) = pair(&Arc::default()).await;
        let budget = Arc::clone(&ours.budget);
        budget.begin_request(false);
        budget.begin_request(true);
        let writing = tokio::spawn(async move { ours.write_all(&vec![0; 64 * 1024 * 1024]).await });
        while !budget.is_write_blocked() {
            tokio::task::yield_now().await;
        }
        budget.end_request(true);
        tokio::task::yield_now().await;
        assert!(!writing.is_finished());
        budget.end_request(false);
        let error = writing.await.expect("no panic").expect_err("nobody reads");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
        drop(theirs);
    }

    #[tokio::test]
    async fn a_connection_ends_with_its_requests_only_if_one_of_them_is_unsent() {
        for is_unsent in [true, false] {
            let (mut ours, mut theirs) = pair(&Arc::default()).await;
            let budget = Arc::clone(&ours.budget);
            budget.begin_request(true);
            let reading = tokio::spawn(async move { ours.read_u8().await.map_err(|error| error.kind()) });
            while budget.task().is_none() {
                tokio::task::yield_now().await;
            }
            budget.end_request(is_unsent);
            if !is_unsent {
                theirs.write_all(b"x").await.expect("written");
            }
            let expected = if is_unsent { Err(io::ErrorKind::ConnectionAborted) } else { Ok(b'x') };
            assert_eq!(reading.await.expect("no panic"), expected);
        }
    }

    #[tokio::test]
    async fn with_many_open_connections_new_ones_are_not_pooled() {
        let open = Arc::new(AtomicUsize::new(MAX_POOLING - 1));
        let (last, _a) = pair(&open).await;
        let (more, _b) = pair(&open).await;
        assert!(last.is_pooled && !more.is_pooled);
        drop((last, more));
        assert_eq!(open.load(Ordering::Relaxed), MAX_POOLING - 1);
    }
}
