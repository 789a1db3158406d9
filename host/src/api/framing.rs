//! The defence against request smuggling: requests with ambiguous framing are rejected.
//!
//! Request smuggling (RFC 9112, section 11.2) needs two servers that disagree about where a request ends. hyper is
//! lenient where RFC 9112 allows it: it accepts a bare line feed as a line terminator (section 2.2) and lets
//! `Transfer-Encoding` override `Content-Length` (section 6.3), and a proxy in front of the host may decide otherwise.
//! So [`Strict`] sits between the socket and hyper and follows the framing. It rejects bare line feeds, folded lines
//! (section 5.2), white space before a colon (section 5.1), more than one length, a length beside a transfer coding
//! (section 6.1), any coding but `chunked`, and malformed chunk sizes (section 7.1).
//!
//! hyper gets a head, a size line or a trailer section only once it is complete and sound. In place of a faulty head it
//! gets a request of our own ([`is_stand_in`]), which the service answers with the fault; in place of a faulty chunk,
//! bytes that no chunk begins with. Nothing that follows a fault is read.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use http::Request;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::problem::{ApiError, Code};

/// Largest request head, in bytes; likewise of a chunk's size line with its extensions and of a trailer section.
pub(super) const MAX_HEAD_BYTES: usize = 32 * 1024;
/// The path of the request that stands for a faulty head. A client may send it too, and gets 404 for it.
const STAND_IN_PATH: &str = "/.faulty-request-head";
/// The request that hyper gets in place of a faulty head.
const STAND_IN: &[u8] = b"GET /.faulty-request-head HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n";
/// The bytes that hyper gets in place of a faulty chunk: no chunk size contains NUL.
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
}

/// A fault of the framing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    /// The request's head is malformed or its framing ambiguous; the text completes "the request has".
    Head(&'static str),
    /// The request line alone is longer than a head may be.
    LongTarget,
    /// The head is too long.
    LongHead,
    /// A chunk or the trailer section is malformed or too long.
    Chunk,
}

impl Fault {
    /// The response to the request.
    pub(super) fn response(self) -> ApiError {
        match self {
            Self::Head(fault) => ApiError::new(
                Code::InvalidRequest,
                format!("the request has {fault}; servers could disagree about what that means"),
            ),
            Self::LongTarget => ApiError::new(
                Code::TargetTooLong,
                format!("a request target must fit into a head, which may have at most {MAX_HEAD_BYTES} bytes"),
            ),
            Self::LongHead => ApiError::new(
                Code::HeadTooLarge,
                format!("the request line and headers may have at most {MAX_HEAD_BYTES} bytes"),
            ),
            // hyper reports it as an error of the body.
            Self::Chunk => ApiError::new(Code::InvalidBody, "the body's framing is invalid"),
        }
    }
}

/// The fault of a connection's last head, set before hyper gets the request that stands for it.
pub(super) type FaultSlot = Arc<OnceLock<Fault>>;

/// Returns true if a request may be the one that stands for a faulty head; it is if the connection has a fault.
pub(super) fn is_stand_in<B>(request: &Request<B>) -> bool {
    request.uri().path() == STAND_IN_PATH
}

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

    /// Follows the bytes of one read. As many as it returns, from the first on, are sound where they stand: usually all of
    /// them. What the others complete is appended to `sound`; the error, if there is one, lies behind that.
    fn follow(&mut self, bytes: &[u8], sound: &mut Vec<u8>) -> (usize, Result<(), Fault>) {
        let mut at = 0;
        while self.text.is_empty() && at < bytes.len() {
            let rest = &bytes[at..];
            let (here, then) = match self.expect {
                Expect::Body(left) => content(rest, left, Expect::Body, Expect::Head),
                Expect::Chunk(left) => content(rest, left, Expect::Chunk, Expect::ChunkSize),
                Expect::Head => match whole_head(rest).map(|head| (head.len(), after_head(head))) {
                    Some((here, Ok(then))) => (here, then),
                    // Line by line it is found out what is wrong.
                    _ => break,
                },
                Expect::ChunkSize | Expect::Trailers => break,
            };
            self.expect = then;
            at += here;
        }
        let rest = self.gather(&bytes[at..], sound);
        (at, rest)
    }

    /// Follows further bytes, and appends to `sound` what they complete.
    ///
    /// # Errors
    /// If the framing is ambiguous or malformed.
    fn gather(&mut self, bytes: &[u8], sound: &mut Vec<u8>) -> Result<(), Fault> {
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = match self.expect {
                Expect::Body(left) => self.pass(rest, content(rest, left, Expect::Body, Expect::Head), sound),
                Expect::Chunk(left) => self.pass(rest, content(rest, left, Expect::Chunk, Expect::ChunkSize), sound),
                Expect::Head | Expect::ChunkSize | Expect::Trailers => self.line(rest, sound)?,
            };
        }
        Ok(())
    }

    fn pass<'a>(&mut self, bytes: &'a [u8], (here, then): (usize, Expect), sound: &mut Vec<u8>) -> &'a [u8] {
        self.expect = then;
        sound.extend_from_slice(&bytes[..here]);
        &bytes[here..]
    }

    /// Consumes bytes up to the end of a line, and checks the head, size line or trailer section that it completes.
    fn line<'a>(&mut self, bytes: &'a [u8], sound: &mut Vec<u8>) -> Result<&'a [u8], Fault> {
        let end = bytes.iter().position(|byte| *byte == b'\n').map(|newline| newline + 1);
        let (here, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
        self.text.extend_from_slice(here);
        if self.text.len() > MAX_HEAD_BYTES {
            return Err(self.too_long());
        }
        if end.is_none() {
            return Ok(rest);
        }
        if !self.text.ends_with(b"\r\n") {
            return Err(self.fault("a line that ends in a bare line feed"));
        }
        let complete = self.text == b"\r\n" || self.text.ends_with(b"\r\n\r\n");
        self.expect = match self.expect {
            // Empty lines before a request are ignored (RFC 9112, section 2.2).
            Expect::Head if self.text == b"\r\n" => {
                self.text.clear();
                Expect::Head
            }
            Expect::Head if complete => after_head(&self.text).map_err(Fault::Head)?,
            Expect::Trailers if complete => Expect::Head,
            Expect::ChunkSize => after_size(&self.text)?,
            _ => return Ok(rest),
        };
        sound.append(&mut self.text);
        Ok(rest)
    }

    fn fault(&self, fault: &'static str) -> Fault {
        if self.expect == Expect::Head { Fault::Head(fault) } else { Fault::Chunk }
    }

    fn too_long(&self) -> Fault {
        match self.expect {
            Expect::Head if !self.text[..MAX_HEAD_BYTES].contains(&b'\n') => Fault::LongTarget,
            Expect::Head => Fault::LongHead,
            _ => Fault::Chunk,
        }
    }
}

/// The part of these bytes that belongs to content of which `left` bytes are missing, and what comes after it.
fn content(bytes: &[u8], left: u64, more: fn(u64) -> Expect, then: Expect) -> (usize, Expect) {
    let here = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
    let left = left - here as u64;
    (here, if left == 0 { then } else { more(left) })
}

/// The head that these bytes begin with, if it is there to its end, its lines end as they should and it is not too long.
fn whole_head(bytes: &[u8]) -> Option<&[u8]> {
    let mut at = 0;
    loop {
        let rest = bytes.get(at..MAX_HEAD_BYTES.min(bytes.len()))?;
        let line = rest.iter().position(|byte| *byte == b'\n')? + 1;
        if !rest[..line].ends_with(b"\r\n") {
            return None;
        }
        at += line;
        if line == 2 {
            // An empty line before a request is not part of it.
            return (at > 2).then(|| &bytes[..at]);
        }
    }
}

/// Determines the body's framing from the head (RFC 9112, section 6.3).
///
/// # Errors
/// The fault, if two readers could determine it differently.
fn after_head(head: &[u8]) -> Result<Expect, &'static str> {
    let lines = head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let (mut length, mut chunked) = (None, false);
    for (number, line) in lines.take_while(|line| !line.is_empty()).enumerate() {
        if line.contains(&b'\r') {
            return Err("a bare carriage return");
        }
        if number == 0 {
            if !line.ends_with(b" HTTP/1.1") && !line.ends_with(b" HTTP/1.0") {
                return Err("a first line that is not one of HTTP 1.1 or 1.0");
            }
            continue;
        }
        let colon = line.iter().position(|byte| *byte == b':').ok_or("a header line without a colon")?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.is_empty() || name.iter().any(u8::is_ascii_whitespace) {
            return Err("white space before a colon, or a folded header line");
        }
        if name.eq_ignore_ascii_case(b"content-length") {
            if length.is_some() {
                return Err("more than one Content-Length");
            }
            length = Some(self::number(value, 10).ok_or("a Content-Length that is not a number")?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            // Any other coding would need to be decoded to find the end of the body.
            if chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err("a Transfer-Encoding other than chunked");
            }
            chunked = true;
        }
    }
    match (length, chunked) {
        (Some(_), true) => Err("a Content-Length beside a Transfer-Encoding"),
        (None, true) => Ok(Expect::ChunkSize),
        (Some(0) | None, false) => Ok(Expect::Head),
        (Some(length), false) => Ok(Expect::Body(length)),
    }
}

/// Parses a chunk's size line (RFC 9112, section 7.1); a size of zero ends the body.
fn after_size(line: &[u8]) -> Result<Expect, Fault> {
    let size = line.split(|byte| matches!(byte, b';' | b'\r')).next().unwrap_or(&[]).trim_ascii_end();
    match number(size, 16).ok_or(Fault::Chunk)? {
        0 => Ok(Expect::Trailers),
        size => size.checked_add(2).map(Expect::Chunk).ok_or(Fault::Chunk),
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
    /// Bytes for hyper, and how many of them it has.
    sound: Vec<u8>,
    handed: usize,
    fault: FaultSlot,
}

impl<S> Strict<S> {
    /// Wraps a new connection; the slot tells the service of a fault.
    pub(super) fn new(stream: S, fault: FaultSlot) -> Self {
        Self { stream, framing: Framing::new(), sound: Vec::new(), handed: 0, fault }
    }

    /// The connection itself.
    pub(super) fn into_inner(self) -> S {
        self.stream
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Strict<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.handed == this.sound.len() {
            (this.sound, this.handed) = (Vec::new(), 0);
            if this.fault.get().is_some() {
                // hyper closes the connection after the response. The end of the stream would make it do so before.
                return Poll::Pending;
            }
            if buffer.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            let before = buffer.filled().len();
            ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
            let read = &buffer.filled()[before..];
            if read.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let (in_place, rest) = this.framing.follow(read, &mut this.sound);
            if let Err(fault) = rest {
                this.sound.extend_from_slice(if fault == Fault::Chunk { POISON } else { STAND_IN });
                let _ = this.fault.set(fault);
            }
            buffer.set_filled(before + in_place);
            if in_place > 0 {
                return Poll::Ready(Ok(()));
            }
        }
        let here = (this.sound.len() - this.handed).min(buffer.remaining());
        buffer.put_slice(&this.sound[this.handed..this.handed + here]);
        this.handed += here;
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

/// Properties that the fuzz target `request_framing` and a unit test check.
#[cfg(any(fuzzing, test))]
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
        let (mut framing, mut sound) = (Framing::new(), Vec::new());
        stream.chunks(read_bytes).try_for_each(|read| framing.follow(read, &mut sound).1)?;
        Ok(framing.expect)
    }

    /// The complete requests that the framing finds.
    fn framed(stream: &[u8]) -> Vec<Seen> {
        let mut framing = Framing::new();
        let (mut requests, mut head, mut body) = (Vec::new(), Vec::new(), Vec::new());
        for byte in stream {
            let before = framing.expect;
            if framing.follow(std::slice::from_ref(byte), &mut Vec::new()).1.is_err() {
                return requests;
            }
            match before {
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
                let body = std::mem::take(&mut body);
                if target.path() != STAND_IN_PATH {
                    requests.push((method, target, body));
                }
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
                let is_stand_in = is_stand_in(&request);
                let (head, body) = request.into_parts();
                if is_stand_in {
                    // Served in place of a faulty head.
                } else if let Ok(body) = body.collect().await {
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
            let mut connection =
                pin!(http.serve_connection(TokioIo::new(Strict::new(peer, FaultSlot::default())), service));
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
mod tests;
