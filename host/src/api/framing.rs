//! The defence against request smuggling: requests with ambiguous framing are rejected.
//!
//! Request smuggling (RFC 9112, section 11.2) needs two servers that disagree about where a request ends. hyper is
//! lenient where RFC 9112 allows it: it accepts a bare line feed as a line terminator (section 2.2) and lets
//! `Transfer-Encoding` override `Content-Length` (section 6.3), and a proxy in front of the host may decide otherwise.
//! So [`Strict`] sits between the socket and hyper and follows the framing. It rejects bare line feeds, folded lines
//! (section 5.2), white space before a colon (section 5.1), more than one length, a length beside a transfer coding
//! (section 6.1), any coding but `chunked`, and malformed chunk sizes (section 7.1). From the first fault on hyper gets
//! bytes that no request begins with, responds with 400 and closes the connection.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Heads longer than this many bytes are left to hyper, whose own limit is lower and ends in 431.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// The bytes that hyper gets from the first fault on: no method contains NUL.
const POISON: &[u8] = b"\0\r\n\r\n";

/// The part of a request that the next byte belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Expect {
    /// The request line and the headers.
    Head,
    /// The rest of a body with a declared length, in bytes.
    Body(u64),
    /// The size line of the next chunk.
    ChunkSize,
    /// The rest of a chunk, in bytes, including its line terminator.
    Chunk(u64),
    /// The trailer section after the last chunk.
    Trailers,
    /// Not followed any more; hyper decides.
    Opaque,
}

/// The framing is ambiguous or malformed.
#[derive(Debug, PartialEq, Eq)]
struct Fault;

/// Follows the framing of the requests on one connection.
struct Framing {
    expect: Expect,
    /// The head, size line or trailer section so far.
    text: Vec<u8>,
}

impl Framing {
    fn new() -> Self {
        Self { expect: Expect::Head, text: Vec::new() }
    }

    /// Follows the bytes of one read.
    ///
    /// # Errors
    /// If the framing is ambiguous or malformed: how many of the bytes stand before the head, size line or trailer
    /// section with the fault.
    fn pass(&mut self, bytes: &[u8]) -> Result<(), usize> {
        let (mut rest, mut sound) = (bytes, 0);
        while !rest.is_empty() {
            if self.text.is_empty() {
                sound = bytes.len() - rest.len();
            }
            rest = match self.expect {
                Expect::Opaque => return Ok(()),
                Expect::Body(left) => self.skip(rest, left, Expect::Body, Expect::Head),
                Expect::Chunk(left) => self.skip(rest, left, Expect::Chunk, Expect::ChunkSize),
                Expect::Head | Expect::ChunkSize | Expect::Trailers => self.line(rest).map_err(|Fault| sound)?,
            };
        }
        Ok(())
    }

    fn skip<'a>(&mut self, bytes: &'a [u8], left: u64, more: fn(u64) -> Expect, then: Expect) -> &'a [u8] {
        let here = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        let left = left - here as u64;
        self.expect = if left == 0 { then } else { more(left) };
        &bytes[here..]
    }

    /// Consumes bytes up to the end of a line, and checks the head, size line or trailer section that it completes.
    fn line<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Fault> {
        let end = bytes.iter().position(|byte| *byte == b'\n').map(|newline| newline + 1);
        let (here, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
        self.text.extend_from_slice(here);
        if self.text.len() > MAX_HEAD_BYTES {
            self.expect = Expect::Opaque;
            self.text = Vec::new();
            return Ok(rest);
        }
        if end.is_none() {
            return Ok(rest);
        }
        if !self.text.ends_with(b"\r\n") {
            return Err(Fault);
        }
        match self.expect {
            // Empty lines before a request are ignored (RFC 9112, section 2.2).
            Expect::Head if self.text == b"\r\n" => self.text.clear(),
            Expect::Head if self.text.ends_with(b"\r\n\r\n") => {
                self.expect = after_head(&self.text)?;
                self.text.clear();
            }
            Expect::Trailers if self.text == b"\r\n" || self.text.ends_with(b"\r\n\r\n") => {
                self.expect = Expect::Head;
                self.text.clear();
            }
            Expect::ChunkSize => {
                self.expect = after_size(&self.text)?;
                self.text.clear();
            }
            _ => {}
        }
        Ok(rest)
    }
}

/// Determines the body's framing from the head (RFC 9112, section 6.3).
///
/// # Errors
/// If two readers could determine it differently.
fn after_head(head: &[u8]) -> Result<Expect, Fault> {
    let lines = head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let (mut length, mut chunked) = (None, false);
    for line in lines.skip(1).take_while(|line| !line.is_empty()) {
        // No colon: a folded line.
        let colon = line.iter().position(|byte| *byte == b':').ok_or(Fault)?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.is_empty() || line.contains(&b'\r') || name.iter().any(u8::is_ascii_whitespace) {
            return Err(Fault);
        }
        if name.eq_ignore_ascii_case(b"content-length") {
            if length.is_some() {
                return Err(Fault);
            }
            length = Some(number(value, 10).ok_or(Fault)?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            // Any other coding would need to be decoded to find the end of the body.
            if chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Fault);
            }
            chunked = true;
        }
    }
    match (length, chunked) {
        (Some(_), true) => Err(Fault),
        (None, true) => Ok(Expect::ChunkSize),
        (Some(0) | None, false) => Ok(Expect::Head),
        (Some(length), false) => Ok(Expect::Body(length)),
    }
}

/// Parses a chunk's size line (RFC 9112, section 7.1); a size of zero ends the body.
fn after_size(line: &[u8]) -> Result<Expect, Fault> {
    let size = line.split(|byte| matches!(byte, b';' | b'\r')).next().unwrap_or(&[]).trim_ascii_end();
    match number(size, 16).ok_or(Fault)? {
        0 => Ok(Expect::Trailers),
        size => size.checked_add(2).map(Expect::Chunk).ok_or(Fault),
    }
}

fn number(digits: &[u8], radix: u32) -> Option<u64> {
    let text = str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_alphanumeric()))?;
    u64::from_str_radix(text, radix).ok()
}

/// A connection that passes on only requests with unambiguous framing.
pub(super) struct Strict<S> {
    stream: S,
    framing: Framing,
    /// Bytes of [`POISON`] that were passed on; `None` before the first fault.
    poisoned: Option<usize>,
}

impl<S> Strict<S> {
    /// Wraps a new connection.
    pub(super) fn new(stream: S) -> Self {
        Self { stream, framing: Framing::new(), poisoned: None }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Strict<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.poisoned.is_none() {
            let before = buffer.filled().len();
            ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
            let Err(sound) = this.framing.pass(&buffer.filled()[before..]) else { return Poll::Ready(Ok(())) };
            // hyper gets what stands before the fault, which may be the rest of a body, and has seen of the faulty part
            // at most its beginning.
            buffer.set_filled(before + sound);
            this.poisoned = Some(0);
            if sound > 0 {
                return Poll::Ready(Ok(()));
            }
        }
        let sent = this.poisoned.unwrap_or(0);
        let rest = &POISON[sent.min(POISON.len())..];
        let here = rest.len().min(buffer.remaining());
        buffer.put_slice(&rest[..here]);
        this.poisoned = Some(sent + here);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Strict<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// Properties that [`crate::fuzzing::request_framing`] checks.
#[cfg(fuzzing)]
pub(crate) mod fuzzing {
    use std::convert::Infallible;
    use std::pin::pin;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Arc, Mutex};
    use std::task::{Wake, Waker};

    use bytes::Bytes;
    use http::{Method, Request, Response, StatusCode, Uri};
    use http_body_util::{BodyExt as _, Empty};
    use hyper::body::Incoming;
    use hyper_util::rt::TokioIo;

    use super::*;

    /// A request: method, target and body.
    type Seen = (Method, Uri, Vec<u8>);

    /// Feeds one connection's bytes, `read_bytes` at a time, to the framing alone and to hyper behind it.
    ///
    /// Two properties: the way in which the stream is cut into reads does not change its framing, and hyper serves no
    /// request that the framing has not seen. A byte that one of them takes for a body and the other for a request is
    /// request smuggling.
    pub(crate) fn check(stream: &[u8], read_bytes: usize) {
        assert_eq!(after(stream, read_bytes), after(stream, 1));
        let (requests, served) = (framed(stream), served(stream, read_bytes));
        assert!(requests.starts_with(&served), "hyper serves {served:?}, the framing has {requests:?}");
    }

    /// The framing's expectation after a stream.
    fn after(stream: &[u8], read_bytes: usize) -> Result<Expect, Fault> {
        let mut framing = Framing::new();
        let passed = stream.chunks(read_bytes).try_for_each(|read| framing.pass(read));
        passed.map(|()| framing.expect).map_err(|_| Fault)
    }

    /// The complete requests that the framing finds.
    fn framed(stream: &[u8]) -> Vec<Seen> {
        let mut framing = Framing::new();
        let (mut requests, mut head, mut body) = (Vec::new(), Vec::new(), Vec::new());
        for byte in stream {
            let before = framing.expect;
            if framing.pass(std::slice::from_ref(byte)).is_err() {
                return requests;
            }
            match before {
                Expect::Opaque => return requests,
                Expect::Head => head.push(*byte),
                Expect::Body(_) => body.push(*byte),
                // The last two bytes end the chunk's line.
                Expect::Chunk(left) if left > 2 => body.push(*byte),
                Expect::Chunk(_) | Expect::ChunkSize | Expect::Trailers => {}
            }
            if framing.expect == Expect::Head && framing.text.is_empty() {
                // A head that hyper does not understand either ends the connection.
                let Some((method, target)) = request_line(&head) else {
                    if head == b"\r\n" {
                        head.clear();
                        continue;
                    }
                    return requests;
                };
                requests.push((method, target, std::mem::take(&mut body)));
                head.clear();
            }
        }
        requests
    }

    fn request_line(head: &[u8]) -> Option<(Method, Uri)> {
        let mut words = head.split(|byte| *byte == b' ');
        Some((Method::from_bytes(words.next()?).ok()?, Uri::try_from(words.next()?).ok()?))
    }

    /// The complete requests that hyper reads from the same stream behind [`Strict`].
    fn served(stream: &[u8], read_bytes: usize) -> Vec<Seen> {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let service = hyper::service::service_fn(|request: Request<Incoming>| {
            let seen = Arc::clone(&seen);
            async move {
                let (head, body) = request.into_parts();
                if let Ok(body) = body.collect().await {
                    let body = body.to_bytes().to_vec();
                    seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((head.method, head.uri, body));
                }
                // Not a 2xx, which would turn CONNECT into a tunnel.
                let mut response = Response::new(Empty::<Bytes>::new());
                *response.status_mut() = StatusCode::NOT_FOUND;
                Ok::<_, Infallible>(response)
            }
        });
        let peer = Peer { reads: stream.chunks(read_bytes).map(<[u8]>::to_vec).collect() };
        {
            let http = hyper::server::conn::http1::Builder::new();
            let mut connection = pin!(http.serve_connection(TokioIo::new(Strict::new(peer)), service));
            let woken = Arc::new(Woken(AtomicBool::new(true)));
            let waker = Waker::from(Arc::clone(&woken));
            // Nothing else wakes it: once it waits without having asked to be polled again, it waits for the peer.
            while woken.0.swap(false, Ordering::Relaxed)
                && connection.as_mut().poll(&mut Context::from_waker(&waker)).is_pending()
            {}
        }
        std::mem::take(&mut *seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// A peer that sends its reads and then keeps the connection open; it discards what it is sent.
    struct Peer {
        reads: std::collections::VecDeque<Vec<u8>>,
    }

    impl AsyncRead for Peer {
        fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            let Some(mut read) = self.reads.pop_front() else { return Poll::Pending };
            let rest = read.split_off(read.len().min(buffer.remaining()));
            buffer.put_slice(&read);
            if !rest.is_empty() {
                self.reads.push_front(rest);
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The state after these bytes; must be the same for every split into reads.
    fn after(text: &str) -> Option<Expect> {
        let pass = |size: usize| {
            let mut framing = Framing::new();
            text.as_bytes().chunks(size).try_for_each(|bytes| framing.pass(bytes)).ok().map(|()| framing.expect)
        };
        let whole = pass(text.len());
        assert_eq!(whole, pass(1), "{text:?}");
        assert_eq!(whole, pass(7), "{text:?}");
        whole
    }

    /// Found by fuzzing: the poison stood in place of the last bytes of the body.
    #[tokio::test]
    async fn a_body_before_a_faulty_head_stays_as_it_is() {
        use tokio::io::AsyncReadExt as _;

        let head = "POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\n";
        let peer = head.as_bytes().chain(&b"{}\r\nGET / HTTP/1.1\nHost: a\n\n"[..]);
        let (mut strict, mut passed) = (Strict::new(peer), Vec::new());
        for _ in 0..3 {
            let mut read = [0; 256];
            let bytes = strict.read(&mut read).await.expect("bytes");
            passed.extend_from_slice(&read[..bytes]);
        }
        assert_eq!(passed, [head.as_bytes(), b"{}\r\n", POISON].concat());
    }

    #[test]
    fn unambiguous_requests_pass() {
        for (text, expected) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Expect::Head),
            ("\r\nGET / HTTP/1.1\r\n\r\n", Expect::Head),
            ("POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nab", Expect::Body(3)),
            ("POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nabGET / HTTP/1.1\r\nHo", Expect::Head),
            ("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n\n\n\nGET", Expect::Head),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\na\nb\r\n", Expect::ChunkSize),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n1\r\na\r\n0\r\n", Expect::Trailers),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\n\r\nGET", Expect::Head),
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nA\r\nab", Expect::Chunk(10)),
        ] {
            assert_eq!(after(text), Some(expected), "{text:?}");
        }
    }

    #[test]
    fn ambiguous_requests_are_rejected() {
        for text in [
            "GET / HTTP/1.1\nHost: a\n\n",
            "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
            "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
            "GET / HTTP/1.1\r\nno colon\r\n\r\n",
            "GET / HTTP/1.1\r\nX: a\rb\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 1, 1\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nabGET / HTTP/1.1\nHost: a\n\n",
        ] {
            assert_eq!(after(text), None, "{text:?}");
        }
    }

    #[test]
    fn an_endless_head_is_left_to_hyper() {
        assert_eq!(after(&format!("GET /{}", "a".repeat(MAX_HEAD_BYTES))), Some(Expect::Opaque));
    }
}
