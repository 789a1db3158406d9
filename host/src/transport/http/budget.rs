//! A connection that counts what comes in: an answer has a budget, and no peer keeps a thread busy.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use hyper_util::client::legacy::connect::{Connected, Connection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// The most of an answer that is read, head and body together.
pub(super) const ANSWER_BYTES: u64 = 64 * 1024;
/// What TLS and HTTP/2 may add to an answer: record and frame headers, session tickets, settings.
const FRAMING_BYTES: u64 = 16 * 1024;
/// What a TLS handshake may take: rustls takes no message above 64 KiB, and a chain is one message.
const HANDSHAKE_BYTES: u64 = 80 * 1024;
/// So much is read before others get their turn. Without it a peer that sends `100 Continue` without end
/// keeps hyper's parser, and with it a worker thread, in one loop.
const BYTES_PER_TURN: u64 = 16 * 1024;
/// With more connections open than this, new ones are closed after use instead of kept idle: many
/// destinations, each with its idle connections, would use up the process's descriptors.
pub(super) const MAX_POOLING: usize = 512;

/// What came in over one connection, and how much may. Shared by the connection's task, which reads, and
/// the requests on it.
#[derive(Debug)]
pub(super) struct ByteBudget {
    /// Bytes received since the connection was made.
    received: AtomicU64,
    /// What `received` may become.
    limit: AtomicU64,
    /// Whether reading stopped at the limit.
    spent: AtomicBool,
    /// Requests that are waiting for their answers or reading them; more than one on HTTP/2 only.
    active: AtomicU64,
    /// Requests so far.
    requests: AtomicU64,
    is_tls: bool,
}

impl ByteBudget {
    fn new(is_tls: bool) -> Self {
        let limit = if is_tls { HANDSHAKE_BYTES } else { ANSWER_BYTES };
        Self {
            received: AtomicU64::new(0),
            limit: AtomicU64::new(limit),
            spent: AtomicBool::new(false),
            active: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            is_tls,
        }
    }

    /// A request goes out: its answer gets a budget. `true` when another went over this connection before.
    ///
    /// On HTTP/1.1 the next request begins only when the last answer is over, so the budget is that of one
    /// answer. On HTTP/2 it is shared by those under way; one of them can spend it, no more.
    pub(super) fn begin(&self, is_http2: bool) -> bool {
        let active = self.active.fetch_add(1, Ordering::Relaxed) + 1;
        let answers = if is_http2 { active } else { 1 };
        let each = if self.is_tls { ANSWER_BYTES + FRAMING_BYTES } else { ANSWER_BYTES };
        self.limit.store(self.received.load(Ordering::Relaxed) + answers * each, Ordering::Relaxed);
        self.requests.fetch_add(1, Ordering::Relaxed) > 0
    }

    /// A request is over.
    pub(super) fn end(&self) {
        self.active.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether the peer sent more than it may.
    pub(super) fn is_spent(&self) -> bool {
        self.spent.load(Ordering::Relaxed)
    }

    /// Whether the peer sent anything in the clear.
    pub(super) fn spoke_in_the_clear(&self) -> bool {
        !self.is_tls && self.received.load(Ordering::Relaxed) > 0
    }
}

/// A TCP connection that keeps to its [`ByteBudget`]. Below TLS, so that the handshake counts.
#[derive(Debug)]
pub(super) struct BudgetedStream {
    stream: TcpStream,
    meter: Arc<ByteBudget>,
    /// Connections open in all; this one is counted while it lives.
    open: Arc<AtomicUsize>,
    is_pooled: bool,
    /// Bytes since this connection last let others run.
    turn: u64,
}

impl BudgetedStream {
    pub(super) fn new(stream: TcpStream, is_tls: bool, open: Arc<AtomicUsize>) -> Self {
        let is_pooled = open.fetch_add(1, Ordering::Relaxed) < MAX_POOLING;
        Self { stream, meter: Arc::new(ByteBudget::new(is_tls)), open, is_pooled, turn: 0 }
    }
}

impl Drop for BudgetedStream {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Connection for BudgetedStream {
    fn connected(&self) -> Connected {
        let connected = Connected::new().extra(Arc::clone(&self.meter));
        if !self.is_pooled {
            connected.poison();
        }
        connected
    }
}

impl AsyncRead for BudgetedStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.turn >= BYTES_PER_TURN {
            this.turn = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let received = this.meter.received.load(Ordering::Relaxed);
        let left = this.meter.limit.load(Ordering::Relaxed).saturating_sub(received);
        if left == 0 && buf.remaining() > 0 {
            // An end of the stream is within any budget.
            let mut one = [0];
            let mut one = ReadBuf::new(&mut one);
            ready!(Pin::new(&mut this.stream).poll_read(cx, &mut one))?;
            if one.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            this.meter.spent.store(true, Ordering::Relaxed);
            return Poll::Ready(Err(io::Error::other("the peer sent more than it may")));
        }
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        if left < buf.remaining() {
            let mut part = ReadBuf::new(buf.initialize_unfilled_to(left));
            ready!(Pin::new(&mut this.stream).poll_read(cx, &mut part))?;
            let read = part.filled().len();
            buf.advance(read);
        } else {
            match Pin::new(&mut this.stream).poll_read(cx, buf) {
                Poll::Pending => {
                    this.turn = 0;
                    return Poll::Pending;
                }
                Poll::Ready(read) => read?,
            }
        }
        let read = u64::try_from(buf.filled().len() - before).unwrap_or(u64::MAX);
        this.meter.received.fetch_add(read, Ordering::Relaxed);
        this.turn += read;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for BudgetedStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, bufs)
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
    async fn reading_stops_at_the_budget_and_an_end_is_within_it() {
        let budget = usize::try_from(ANSWER_BYTES).expect("fits");
        for (bytes, within) in [(budget, true), (budget + 1, false)] {
            let (mut ours, mut theirs) = pair(&Arc::default()).await;
            let meter = Arc::clone(&ours.meter);
            let writing = tokio::spawn(async move { theirs.write_all(&vec![0; bytes]).await });
            let mut read = Vec::new();
            let ended = ours.read_to_end(&mut read).await;
            assert_eq!((read.len(), ended.is_ok(), meter.is_spent()), (budget, within, !within));
            // What was not read may have made it fail.
            drop(writing.await);
        }
    }

    #[tokio::test]
    async fn on_http1_a_request_has_a_budget_of_its_own_and_on_http2_a_share() {
        let (ours, _theirs) = pair(&Arc::default()).await;
        let meter = &ours.meter;
        let limit = || meter.limit.load(Ordering::Relaxed);
        meter.received.store(1000, Ordering::Relaxed);
        assert!(!meter.begin(false));
        // The first has not said yet that it is over.
        assert!(meter.begin(false));
        assert_eq!(limit(), 1000 + ANSWER_BYTES);
        assert!(meter.begin(true));
        assert_eq!(limit(), 1000 + 3 * ANSWER_BYTES);
    }

    #[tokio::test]
    async fn a_flood_takes_turns() {
        let (mut ours, mut theirs) = pair(&Arc::default()).await;
        theirs.write_all(&[0; 60_000]).await.expect("written");
        let mut turns = 0;
        let mut seen = 0;
        while seen < 60_000 {
            let mut buffer = vec![0; 4096];
            let ours = &mut ours;
            seen += std::future::poll_fn(|cx| {
                let mut buffer = ReadBuf::new(&mut buffer);
                match Pin::new(&mut *ours).poll_read(cx, &mut buffer) {
                    Poll::Ready(read) => Poll::Ready(read.map(|()| buffer.filled().len())),
                    Poll::Pending => {
                        turns += 1;
                        Poll::Pending
                    }
                }
            })
            .await
            .expect("read");
        }
        assert!(turns >= 3, "{turns}");
    }

    #[tokio::test]
    async fn with_many_open_new_ones_are_not_kept() {
        let open = Arc::new(AtomicUsize::new(MAX_POOLING - 1));
        let (last, _a) = pair(&open).await;
        let (more, _b) = pair(&open).await;
        assert!(last.is_pooled && !more.is_pooled);
        drop((last, more));
        assert_eq!(open.load(Ordering::Relaxed), MAX_POOLING - 1);
    }
}
