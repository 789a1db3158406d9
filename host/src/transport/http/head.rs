//! The heads of HTTP/1 responses, as they arrive and before hyper's parser reads them.
//!
//! [`Head`] smooths what RFC 9110 and RFC 9112 allow and the parser would reject or misread:
//!
//! - Many fields. hyper accepts 100. It could be told to accept more, but then allocates space for as many with every
//!   response: 50 us with space for 64 KiB of short fields, where a whole request takes 3. So of a longer head the first
//!   fields are passed on, and of the others those that have a meaning here; a client may drop fields that it can safely
//!   ignore (RFC 9110, section 5.4).
//! - `HTTP/1.2` to `HTTP/1.9` are read as `HTTP/1.1`, since a recipient processes a higher minor version as the highest
//!   one that it knows (RFC 9110, section 2.5).
//! - Empty elements at the end of `Transfer-Encoding` are left out (RFC 9110, section 5.6.1.2).
//! - A `Content-Length` of any number of digits is a length (RFC 9110, section 8.6).
//!
//! Nearly every head arrives whole and needs none of that, and then passes as it is.
//!
//! It also records what has arrived, so that a timeout or a parse error can say whether a response had begun.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::scanner::{HeadScanner, Seen, Step};

/// The fields of a head that hyper accepts, unless it is told another number.
const ACCEPTED_FIELDS: usize = 100;
/// The fields of a head that are passed on whatever they are: more than the 64 that a formatter is given.
const PASSED_FIELDS: usize = 80;
/// The fields that are passed on beyond those, in what is left of [`ACCEPTED_FIELDS`]: hyper or the client reads them.
const READ_FIELDS: [&[u8]; 5] = [b"connection", b"content-length", b"transfer-encoding", b"retry-after", b"date"];
/// Stands for every longer `Content-Length`: more than anybody sends, and within 64 bits.
const HUGE_LENGTH: &[u8] = b"999999999999999999";

/// True for the first byte of a line that continues the one before (RFC 9112, section 5.2).
fn is_folded(first: u8) -> bool {
    first == b' ' || first == b'\t'
}

/// A head on its way to the parser, field by field.
#[derive(Debug, Default)]
struct Head {
    scanner: HeadScanner,
    /// The line that is arriving.
    line: Vec<u8>,
    /// The last field, which goes on if the next line is a folded one.
    field: Vec<u8>,
    /// Fields of this head so far, and those of them beyond [`PASSED_FIELDS`] that were passed on.
    fields: usize,
    passed_beyond: usize,
    /// True if a field of [`READ_FIELDS`] was left out.
    is_shortened: bool,
    /// True at the end of the head, and once it is found not to be one of HTTP/1. What follows is passed on as it is.
    has_ended: bool,
    /// What is passed on, and how much of it the parser has had.
    out: Vec<u8>,
    read: usize,
}

impl Head {
    fn push(&mut self, bytes: &[u8]) {
        for (at, byte) in bytes.iter().enumerate() {
            if self.has_ended {
                self.out.extend_from_slice(&bytes[at..]);
                return;
            }
            let mut byte = *byte;
            let step = self.scanner.step(&mut byte);
            self.line.push(byte);
            if step != Step::Inside {
                self.end_line(step);
            } else if !self.scanner.may_be_http1() {
                self.has_ended = true;
                self.out.append(&mut self.line);
            }
        }
    }

    fn end_line(&mut self, step: Step) {
        if step == Step::Field {
            if !self.line.first().is_some_and(|first| is_folded(*first)) {
                self.end_field();
            }
            self.field.append(&mut self.line);
            return;
        }
        self.end_field();
        self.out.append(&mut self.line);
        (self.fields, self.passed_beyond) = (0, 0);
        self.has_ended = step == Step::End;
    }

    fn end_field(&mut self) {
        if self.field.is_empty() {
            return;
        }
        let mut field = std::mem::take(&mut self.field);
        self.pass_on(&field);
        // The space is used again.
        field.clear();
        self.field = field;
    }

    /// Passes a field on, with its end of line, unless it is left out.
    fn pass_on(&mut self, field: &[u8]) {
        self.fields += 1;
        let Some(colon) = field.iter().position(|byte| *byte == b':') else {
            // The parser says what it thinks of that.
            self.out.extend_from_slice(field);
            return;
        };
        let (name, value) = (field[..colon].trim_ascii_end(), field[colon + 1..].trim_ascii());
        if self.fields > PASSED_FIELDS {
            let is_read = READ_FIELDS.iter().any(|read| name.eq_ignore_ascii_case(read));
            if !is_read || self.passed_beyond == ACCEPTED_FIELDS - PASSED_FIELDS {
                self.is_shortened |= is_read;
                return;
            }
            self.passed_beyond += 1;
        }
        let value = if name.eq_ignore_ascii_case(b"transfer-encoding") {
            let Some(last) = value.iter().rposition(|byte| !b", \t\r\n".contains(byte)) else { return };
            &value[..=last]
        } else if name.eq_ignore_ascii_case(b"content-length") && is_huge(value) {
            HUGE_LENGTH
        } else {
            self.out.extend_from_slice(field);
            return;
        };
        for part in [&field[..=colon], value, b"\r\n"] {
            self.out.extend_from_slice(part);
        }
    }

    /// Moves what is passed on to the parser; returns false if there is nothing.
    fn drain(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        let rest = &self.out[self.read..];
        let length = rest.len().min(buf.remaining());
        buf.put_slice(&rest[..length]);
        self.read += length;
        if self.read == self.out.len() {
            self.out.clear();
            self.read = 0;
        }
        length > 0
    }
}

/// True for the whole head of a final response, and perhaps more behind it, of which [`Head`] would change nothing. False
/// also for some others.
fn is_plain(bytes: &[u8]) -> bool {
    let [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'0' | b'1', b' ', b'2'..=b'9', b'0'..=b'9', b'0'..=b'9', b' ', ..] =
        bytes
    else {
        return false;
    };
    for (before, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate().skip(1) {
        if line == b"\r\n" {
            return true;
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { return false };
        let (name, value) = (line[..colon].trim_ascii_end(), line[colon + 1..].trim_ascii());
        let is_changed = match name.len() {
            17 => name.eq_ignore_ascii_case(b"transfer-encoding"),
            14 => name.eq_ignore_ascii_case(b"content-length") && is_huge(value),
            _ => false,
        };
        if is_changed || before > PASSED_FIELDS || is_folded(line[0]) || !line.ends_with(b"\n") {
            return false;
        }
    }
    false
}

/// True for a length that does not fit into 64 bits.
fn is_huge(value: &[u8]) -> bool {
    let zeros = value.iter().take_while(|byte| **byte == b'0').count();
    value.iter().all(u8::is_ascii_digit) && value.len() - zeros > HUGE_LENGTH.len()
}

/// What the connection's task has seen of a response, for the attempt to ask. HTTP/1 only.
#[derive(Debug)]
pub(super) struct HeadWatch {
    /// True from the beginning of a request until the first bytes of its response.
    is_expected: AtomicBool,
    seen: AtomicU8,
    is_shortened: AtomicBool,
}

impl HeadWatch {
    /// A request is about to be written, so what arrives next is the head of its response.
    pub(super) fn begin_request(&self) {
        self.seen.store(Seen::Nothing as u8, Ordering::Relaxed);
        self.is_shortened.store(false, Ordering::Relaxed);
        self.is_expected.store(true, Ordering::Relaxed);
    }

    /// True if a field of [`READ_FIELDS`] was left out.
    pub(super) fn is_shortened(&self) -> bool {
        self.is_shortened.load(Ordering::Relaxed)
    }

    pub(super) fn seen(&self) -> Seen {
        match self.seen.load(Ordering::Relaxed) {
            seen if seen == Seen::Http as u8 => Seen::Http,
            seen if seen == Seen::Foreign as u8 => Seen::Foreign,
            _ => Seen::Nothing,
        }
    }
}

/// A connection whose responses are scanned, above TLS.
#[derive(Debug)]
pub(super) struct ScannedStream<S> {
    stream: S,
    watch: Arc<HeadWatch>,
    /// `None` outside of heads.
    head: Option<Head>,
}

impl<S> ScannedStream<S> {
    pub(super) fn new(stream: S) -> Self {
        let watch = HeadWatch {
            is_expected: AtomicBool::new(false),
            seen: AtomicU8::new(Seen::Nothing as u8),
            is_shortened: AtomicBool::new(false),
        };
        Self { stream, watch: Arc::new(watch), head: None }
    }

    pub(super) fn watch(&self) -> &Arc<HeadWatch> {
        &self.watch
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ScannedStream<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if let Some(head) = &mut this.head {
                if head.drain(buf) {
                    return Poll::Ready(Ok(()));
                }
                if head.has_ended {
                    this.head = None;
                }
            }
            let before = buf.filled().len();
            ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
            // The connection's task both begins requests and reads, so no byte of the response has come before.
            if this.watch.is_expected.load(Ordering::Relaxed) && buf.filled().len() > before {
                this.watch.is_expected.store(false, Ordering::Relaxed);
                if is_plain(&buf.filled()[before..]) {
                    this.watch.seen.store(Seen::Http as u8, Ordering::Relaxed);
                    return Poll::Ready(Ok(()));
                }
                this.head = Some(Head::default());
            }
            let Some(head) = &mut this.head else { return Poll::Ready(Ok(())) };
            if buf.filled().len() == before {
                return Poll::Ready(Ok(()));
            }
            head.push(&buf.filled()[before..]);
            buf.set_filled(before);
            this.watch.seen.store(head.scanner.seen() as u8, Ordering::Relaxed);
            this.watch.is_shortened.store(head.is_shortened, Ordering::Relaxed);
            // If nothing of it is passed on yet, reading goes on: to return without a byte would be the end.
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ScannedStream<S> {
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

/// Properties that the tests here and [`crate::fuzzing::proxy_response`] check.
#[cfg(any(test, fuzzing))]
pub(crate) mod properties {
    use super::*;

    /// A head has one end and one status in whatever pieces it arrives, and the filter passes on the same.
    pub(crate) fn check(response: &[u8]) {
        let mut whole = HeadScanner::default();
        let end = whole.scan(&mut response.to_vec());
        let mut pieces = HeadScanner::default();
        let found = response.iter().position(|byte| pieces.scan(&mut [*byte]).is_some());
        assert_eq!((end, whole.status()), (found.map(|at| at + 1), pieces.status()), "{response:?}");
        let passed = passed_on(std::iter::once(response));
        assert_eq!(passed, passed_on(response.chunks(1)), "{response:?}");
        if is_plain(response) {
            assert_eq!(passed, response);
            assert!(end.is_some() && whole.status().is_some_and(|status| status >= 200), "{response:?}");
            assert_eq!(whole.seen(), Seen::Http);
        }
        let Some(end) = end.filter(|_| whole.may_be_http1()) else { return };
        assert_eq!(response[end - 1], b'\n', "{response:?}");
        assert!(passed.ends_with(&response[end..]), "{response:?}");
        if let Some(status) = whole.status() {
            let digits = format!(" {status}");
            assert!(response[..end].windows(digits.len()).any(|words| words == digits.as_bytes()), "{response:?}");
        }
    }

    fn passed_on<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
        let mut head = Head::default();
        let mut passed = Vec::new();
        for piece in pieces {
            head.push(piece);
            let mut buffer = [0; 100];
            loop {
                let mut buffer = ReadBuf::new(&mut buffer);
                if !head.drain(&mut buffer) {
                    break;
                }
                passed.extend_from_slice(buffer.filled());
            }
        }
        passed
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_head_is_read_alike_in_all_pieces(words in proptest::collection::vec(word(), 0..40)) {
            properties::check(words.concat().as_bytes());
        }
    }

    #[test]
    fn a_carriage_return_alone_is_no_part_of_the_status() {
        for (response, status) in [
            ("HTTP/1.1 200 OK\r\n\r\n", Some(200)),
            ("\r\nHTTP/1.1 200\r\n\r\n", Some(200)),
            ("HTTP/1.1 100\r\n\r\nHTTP/1.1 204\r\n\r\n", Some(204)),
            ("HTTP/1.1 2\r00 OK\r\n\r\n", None),
            ("HTTP/1.1\r 200 OK\r\n\r\n", None),
            ("HTTP/1.1 200\r OK\r\n\r\n", None),
        ] {
            properties::check(response.as_bytes());
            let mut scanner = HeadScanner::default();
            scanner.scan(&mut response.as_bytes().to_vec());
            assert_eq!(scanner.status(), status, "{response:?}");
        }
    }

    /// The parts of heads, and of what is none.
    fn word() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec![
            "HTTP/1.1 200 OK",
            "HTTP/1.1 404 No\r\n",
            "HTTP/1.2 ",
            "HTTP/1.0 100",
            "103",
            "\r\n",
            "\n",
            "\r",
            "\r\n\r\n",
            " ",
            "\t",
            ":",
            ",",
            "A: b\r\n",
            "Content-Length: ",
            "99999999999999999999",
            "0",
            "Transfer-Encoding",
            ": chunked",
            "\0",
            "body",
        ])
    }

    /// Scans whole, and byte by byte.
    fn scanned(text: &str) -> (Option<usize>, Option<u16>, Seen, String) {
        let mut whole = text.as_bytes().to_vec();
        let mut scanner = HeadScanner::default();
        let end = scanner.scan(&mut whole);
        let mut slow = HeadScanner::default();
        let mut bytes = text.as_bytes().to_vec();
        let found = bytes.chunks_mut(1).position(|byte| slow.scan(byte).is_some()).map(|at| at + 1);
        assert_eq!((end, scanner.status(), scanner.seen()), (found, slow.status(), slow.seen()), "{text:?}");
        (end, scanner.status(), scanner.seen(), String::from_utf8(whole).expect("text"))
    }

    #[test]
    fn a_head_ends_with_an_empty_line_behind_the_interim_responses() {
        for (text, end, status) in [
            ("HTTP/1.1 200 OK\r\n\r\nbody\r\n\r\n", Some(19), Some(200)),
            ("HTTP/1.0 404\n\nx", Some(14), Some(404)),
            ("HTTP/1.1 204 \nA: b\n\r\n", Some(21), Some(204)),
            ("\r\nHTTP/1.1 200 OK\r\n\r\n", Some(21), Some(200)),
            ("HTTP/1.1 100 C\r\nA: b\r\n\r\nHTTP/1.1 103 E\r\n\r\nHTTP/1.1 200 OK\r\n\r\n!", Some(61), Some(200)),
            ("HTTP/1.1 101 S\r\n\r\n\r\n", Some(18), Some(101)),
            ("HTTP/1.1 999 \r\n\r\n", Some(17), Some(999)),
            ("HTTP/1.1 099 \r\n\r\n", Some(17), None),
            ("HTTP/1.1 2000 OK\r\n\r\n", Some(20), None),
            ("HTTP/1.1 +200 OK\r\n\r\n", Some(20), None),
            ("HTTP/1.1  200 OK\r\n\r\n", Some(20), None),
            ("HTTP/2.0 200 OK\r\n\r\n", Some(19), None),
            ("HTTP/1.1 200 OK\r\n", None, Some(200)),
        ] {
            let found = scanned(text);
            assert_eq!((found.0, found.1), (end, status), "{text:?}");
        }
    }

    #[test]
    fn a_higher_minor_version_becomes_1_1_and_nothing_else_changes() {
        for (text, becomes) in [
            ("HTTP/1.2 200 OK\r\n\r\nHTTP/1.2", "HTTP/1.1 200 OK\r\n\r\nHTTP/1.2"),
            ("HTTP/1.9 103\r\n\r\nHTTP/1.7 200\r\nA: HTTP/1.2", "HTTP/1.1 103\r\n\r\nHTTP/1.1 200\r\nA: HTTP/1.2"),
            ("HTTP/1.0 200 OK\r\n\r\n", "HTTP/1.0 200 OK\r\n\r\n"),
            ("HTTP/2.2 200 OK\r\n\r\n", "HTTP/2.2 200 OK\r\n\r\n"),
            ("xTTP/1.2 200 OK\r\n\r\n", "xTTP/1.2 200 OK\r\n\r\n"),
        ] {
            // Only the bytes of the head are given to the scanner's caller as part of it.
            assert_eq!(scanned(text).3, becomes, "{text:?}");
        }
    }

    #[test]
    fn a_head_passes_as_it_is_only_if_it_is_whole_and_nothing_changes() {
        let with = |fields: &str| format!("HTTP/1.1 200 OK\r\n{fields}\r\nok");
        for (head, plain) in [
            (with(""), true),
            (with("Content-Length: 2\r\nX : y\r\n"), true),
            (with(&"A: b\r\n".repeat(PASSED_FIELDS)), true),
            (with(&"A: b\r\n".repeat(PASSED_FIELDS + 1)), false),
            (with("Content-Length: 999999999999999999\r\n"), true),
            (with("Content-Length: 1000000000000000000\r\n"), false),
            (with("content-length : 1000000000000000000\r\n"), false),
            (with("Transfer-Encoding: chunked\r\n"), false),
            (with("A: b\r\n c: d\r\n"), false),
            (with("A\r\n"), false),
            ("HTTP/1.1 200 OK\r\nA: b\r\n".into(), false),
            ("HTTP/1.1 200 OK\r\nA: b".into(), false),
            ("HTTP/1.1 200 OK\r\nA: b\r\n\n".into(), false),
            ("HTTP/1.0 404 \r\n\r\n".into(), true),
            ("HTTP/1.2 200 OK\r\n\r\n".into(), false),
            ("HTTP/1.1 100 OK\r\n\r\n".into(), false),
            ("HTTP/1.1 200\r\n\r\n".into(), false),
            (String::new(), false),
        ] {
            assert_eq!(is_plain(head.as_bytes()), plain, "{head:?}");
            properties::check(head.as_bytes());
        }
    }

    #[test]
    fn what_has_arrived_is_told_apart() {
        for (text, seen) in [
            ("", Seen::Nothing),
            ("\r\n", Seen::Nothing),
            ("HTT", Seen::Foreign),
            ("HTTP/", Seen::Http),
            ("HTTP/3.0 200", Seen::Http),
            ("HTTP/1.1 200 OK\r\n", Seen::Http),
            ("HTTP/1.1 100 Continue\r\n\r\n", Seen::Nothing),
            ("HTTP/1.1 100 Continue\r\n\r\nH", Seen::Foreign),
            ("SSH-2.0\r\n", Seen::Foreign),
        ] {
            assert_eq!(scanned(text).2, seen, "{text:?}");
        }
    }
}
