//! Ends connections whose client does not read its responses.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::connections::Activity;

/// A client that takes less than this in a whole time limit, in bytes, is not reading. Far below what the slowest link
/// carries, and above what a client takes that reads byte by byte only to stay connected.
const MIN_PROGRESS: usize = 16 * 1024;

/// A connection whose writes fail once the client has not read for a time limit.
pub(super) struct Watched<S> {
    stream: S,
    activity: Arc<Activity>,
    limit: Duration,
    timer: Pin<Box<Sleep>>,
    /// True from the first write that had to wait until the client has read enough.
    is_waiting: bool,
    /// Bytes written meanwhile.
    written: usize,
}

impl<S> Watched<S> {
    /// Wraps a new connection.
    pub(super) fn new(stream: S, activity: Arc<Activity>, limit: Duration) -> Self {
        let timer = Box::pin(tokio::time::sleep(limit));
        Self { stream, activity, limit, timer, is_waiting: false, written: 0 }
    }

    fn begin(&mut self) {
        self.is_waiting = true;
        self.written = 0;
        self.timer.as_mut().reset(Instant::now() + self.limit);
    }

    /// Looks at the result of a write: counts progress, and fails once there was too little of it.
    fn judge(&mut self, context: &mut Context<'_>, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match result {
            Poll::Ready(Ok(bytes)) => {
                self.activity.progress();
                self.written += bytes;
                self.is_waiting &= self.written < MIN_PROGRESS;
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => {
                if !self.is_waiting {
                    self.begin();
                }
                ready!(self.timer.as_mut().poll(context));
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read")));
            }
        }
        result
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.activity.progress();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judge(context, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.judge(context, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = ready!(Pin::new(&mut self.stream).poll_flush(context));
        // Everything was written.
        self.is_waiting = false;
        Poll::Ready(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::super::connections::Connections;
    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    fn watched(buffer: usize) -> (Watched<tokio::io::DuplexStream>, tokio::io::DuplexStream) {
        let (ours, theirs) = tokio::io::duplex(buffer);
        let admitted = Connections::new(1, 0).admit(std::net::Ipv4Addr::LOCALHOST.into()).expect("a place");
        (Watched::new(ours, Arc::clone(&admitted.activity), LIMIT), theirs)
    }

    /// Writes `bytes` to a client that reads `step` bytes every `pause`; the time until the end.
    async fn write(bytes: usize, step: usize, pause: Duration) -> (Duration, io::Result<()>) {
        let (mut ours, mut theirs) = watched(1024);
        tokio::spawn(async move {
            let mut buffer = vec![0; step];
            while step > 0 && theirs.read_exact(&mut buffer).await.is_ok() {
                tokio::time::sleep(pause).await;
            }
            std::future::pending::<()>().await;
        });
        let started = Instant::now();
        let written = ours.write_all(&vec![0; bytes]).await;
        (started.elapsed(), written)
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_is_given_up_in_time() {
        for step in [0, 1] {
            let (took, written) = write(100_000, step, Duration::from_secs(1)).await;
            assert_eq!(written.expect_err("given up").kind(), io::ErrorKind::TimedOut);
            assert!(took >= LIMIT && took < LIMIT * 3, "{took:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_client_is_not() {
        // 1 KiB/s, for longer than the time limit.
        let (took, written) = write(100_000, 1024, Duration::from_secs(1)).await;
        written.expect("written");
        assert!(took > LIMIT * 2, "{took:?}");
        write(1025, 1, LIMIT / 2).await.1.expect("the last byte was taken in time");
    }

    #[tokio::test(start_paused = true)]
    async fn the_wait_between_two_responses_does_not_count() {
        let (mut ours, mut theirs) = watched(1024);
        let mut buffer = vec![0; 1100];
        for _ in 0..3 {
            let (written, read) = tokio::join!(
                async {
                    ours.write_all(&[0; 1100]).await?;
                    ours.flush().await
                },
                theirs.read_exact(&mut buffer)
            );
            written.expect("written");
            read.expect("read");
            tokio::time::sleep(LIMIT * 2).await;
        }
    }
}
