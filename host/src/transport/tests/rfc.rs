//! RFC 9110 and RFC 9112 for a user agent that reads responses: a table with one row a demand.
//!
//! Each row is a response in literal bytes, which a peer sends in one piece and again in small pieces. It is followed by
//! a second delivery, which tells whether the connection was used again. `tests/http2.rs` has the table for RFC 9113.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;

use super::super::Transport;
use super::peer::{Peer, read_request};
use super::{deliver, sentence, transport};

/// Who meets the demand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Met {
    /// The library, as it is.
    ByLibrary,
    /// The library, by a setting of ours.
    Set,
    /// Our code around the library.
    Wrapped,
    /// The response is rejected on purpose: the RFC demands or permits it (docs/DECISIONS.md).
    Rejected,
}
use Met::{ByLibrary, Rejected, Set, Wrapped};

/// The expected outcome.
#[derive(Clone, Copy, Debug)]
pub(super) enum Outcome {
    /// Delivered, with this status and excerpt.
    Delivered(u16, &'static str),
    /// Failed, with this status and sentence.
    Failed(Option<u16>, &'static str),
}
use Outcome::{Delivered, Failed};

/// What becomes of the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Then {
    /// The peer closes it after the response.
    PeerCloses,
    /// The peer keeps it open, and the next request goes over it.
    Reused,
    /// The peer keeps it open, and the next request goes over another one.
    NotReused,
}
use Then::{NotReused, PeerCloses, Reused};

struct Row {
    /// RFC and section.
    section: &'static str,
    demand: &'static str,
    met: Met,
    response: String,
    outcome: Outcome,
    then: Then,
}

fn row(
    section: &'static str,
    demand: &'static str,
    met: Met,
    response: impl Into<String>,
    outcome: Outcome,
    then: Then,
) -> Row {
    Row { section, demand, met, response: response.into(), outcome, then }
}

const NOT_HTTP: Outcome =
    Failed(None, "protocol: the destination's response is not HTTP; check the URL's scheme and port");
const BAD_HEAD: Outcome = Failed(None, "protocol: the head of the destination's response is not valid HTTP");
const LONG_HEAD: Outcome = Failed(None, "protocol: the head of the destination's response does not end within 64 KiB");
const BAD_BODY: Outcome =
    Failed(Some(200), "protocol: the destination responded with 200 OK, but the framing of its body is not valid HTTP");
const CUT_OFF: Outcome = Failed(
    Some(200),
    "connect: the destination responded with 200 OK, but the connection closed in the middle of its response",
);
const OK: Outcome = Delivered(200, "ok");
const EMPTY: Outcome = Delivered(200, "");

/// A head of 200 with these fields, and the body `ok`.
fn ok(fields: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 2\r\n\r\nok")
}

fn chunked(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}")
}

/// A head of exactly this length.
fn head_of(bytes: usize, line: &str) -> String {
    let (start, end) = ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", "\r\n");
    let left = bytes - start.len() - end.len();
    let lines = line.repeat((left - 4) / line.len());
    // The last line has what is left, of which `X:` and its end are four bytes.
    let last = "v".repeat(left - lines.len() - 4);
    format!("{start}{lines}X:{last}\r\n{end}")
}

#[rustfmt::skip]
fn status_lines() -> Vec<Row> {
    let empty = "Content-Length: 0\r\n\r\n";
    let line = |line: &str| format!("{line}\r\n{empty}");
    vec![
        row("9110 2.5", "a higher minor version is read as the highest known", Wrapped, line("HTTP/1.2 200 OK"), EMPTY, Reused),
        row("9110 2.5", "up to 1.9", Wrapped, line("HTTP/1.9 200 OK"), EMPTY, Reused),
        row("9110 2.5", "also behind an interim response of that version", Wrapped, format!("HTTP/1.3 103 Early Hints\r\n\r\nHTTP/1.3 200 OK\r\n{empty}"), EMPTY, Reused),
        row("9110 2.5", "another major version is another protocol", Rejected, line("HTTP/2.0 200 OK"), BAD_HEAD, NotReused),
        row("9112 2.3", "the name of the protocol is case-sensitive", Rejected, line("http/1.1 200 OK"), NOT_HTTP, NotReused),
        row("9112 2.2", "an empty line before the status line may be ignored", ByLibrary, format!("\r\n{}", line("HTTP/1.1 200 OK")), EMPTY, Reused),
        row("9112 2.2", "a bare line feed may end a line", ByLibrary, "HTTP/1.1 200 OK\nContent-Length: 2\n\nok", OK, Reused),
        row("9112 2.2", "line ends may be mixed", ByLibrary, "HTTP/1.1 200 OK\nA: b\r\nContent-Length: 2\n\r\nok", OK, Reused),
        row("9112 2.2", "a bare carriage return is invalid", Rejected, "HTTP/1.1 200 OK\r\nA: b\rc\r\nContent-Length: 0\r\n\r\n", BAD_HEAD, NotReused),
        row("9112 2.2", "whitespace before the first field is rejected or skipped", Rejected, "HTTP/1.1 200 OK\r\n A: b\r\nContent-Length: 0\r\n\r\n", BAD_HEAD, NotReused),
        row("9112 4", "the reason phrase may be empty", ByLibrary, line("HTTP/1.1 200 "), EMPTY, Reused),
        row("9112 4", "the space before it may be missing", ByLibrary, line("HTTP/1.1 200"), EMPTY, Reused),
        row("9112 4", "the reason phrase is ignored", ByLibrary, line("HTTP/1.1 200 Error 500!"), EMPTY, Reused),
        row("9112 4", "it may have tabs and bytes beyond ASCII", ByLibrary, line("HTTP/1.1 200 \tGr\u{fc}\u{df}e"), EMPTY, Reused),
        row("9112 4", "a status is three digits", Rejected, line("HTTP/1.1 2000 OK"), BAD_HEAD, NotReused),
        row("9112 4", "and not fewer", Rejected, line("HTTP/1.1 20 OK"), BAD_HEAD, NotReused),
        row("9110 15", "an unknown 2xx is a 200", ByLibrary, line("HTTP/1.1 299 Whatever"), Delivered(299, ""), Reused),
        row("9110 15", "an unknown 5xx is a 500", ByLibrary, line("HTTP/1.1 599 X"), Failed(Some(599), "status: the destination responded with 599"), Reused),
        row("9110 15", "a status from 600 on is a failure like 5xx", ByLibrary, line("HTTP/1.1 600 X"), Failed(Some(600), "status: the destination responded with 600"), Reused),
        row("9110 15", "up to 999", ByLibrary, line("HTTP/1.1 999 X"), Failed(Some(999), "status: the destination responded with 999"), Reused),
        row("9110 15", "a status below 100 is a failure too", Rejected, line("HTTP/1.1 099 X"), BAD_HEAD, NotReused),
        row("9110 15.2", "interim responses are read although none is expected", ByLibrary, format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n{empty}"), EMPTY, Reused),
        row("9110 15.2", "of every kind, and several", ByLibrary, format!("HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 199 X\r\n\r\nHTTP/1.1 200 OK\r\n{empty}" ), EMPTY, Reused),
        row("9110 15.2", "with many fields", Wrapped, format!("HTTP/1.1 103 Early Hints\r\n{}\r\nHTTP/1.1 200 OK\r\n{empty}", "Link: </a>\r\n".repeat(500)), EMPTY, Reused),
        row("9110 15.2", "an interim response has no body whatever its length", ByLibrary, format!("HTTP/1.1 103 Early Hints\r\nContent-Length: 9\r\n\r\nHTTP/1.1 200 OK\r\n{empty}"), EMPTY, Reused),
        row("9110 15.2", "it is not the response", ByLibrary, "HTTP/1.1 100 Continue\r\n\r\n", Failed(None, "connect: the request was sent, but the connection closed before a response"), PeerCloses),
        row("9110 15.2.2", "nobody asked for another protocol", Rejected, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", Failed(Some(101), "status: the destination responded with 101 Switching Protocols"), NotReused),
        row("9110 7.8", "Upgrade without a 101 is an offer", ByLibrary, ok("Connection: upgrade\r\nUpgrade: h2c\r\n"), OK, Reused),
    ]
}

#[rustfmt::skip]
fn fields() -> Vec<Row> {
    const LIMIT: usize = 64 * 1024;
    let short = |count: usize| (0..count).map(|n| format!("X-{n}: {n}\r\n")).collect::<String>();
    vec![
        row("9110 5.1", "an unknown field is ignored", ByLibrary, ok("X-Unheard-Of: 1\r\n"), OK, Reused),
        row("9110 5.3", "lines of one name are one list", ByLibrary, ok("Via: a\r\nVia: b\r\nvIA: c\r\n"), OK, Reused),
        row("9110 5.4", "99 fields and the length", ByLibrary, ok(&short(99)), OK, Reused),
        row("9110 5.4", "100 fields and the length", Wrapped, ok(&short(100)), OK, Reused),
        row("9110 5.4", "150 fields and the length", Wrapped, ok(&short(150)), OK, Reused),
        row("9110 5.4", "400 fields and the length", Wrapped, ok(&short(400)), OK, Reused),
        row("9110 5.4", "thousands of fields and the length", Wrapped, ok(&short(4000)), OK, Reused),
        row("9110 5.4", "the shortest fields up to 64 KiB", Wrapped, head_of(LIMIT, "a:\r\n"), EMPTY, Reused),
        row("9110 5.4", "one byte more is too long", Rejected, head_of(LIMIT + 1, "a:\r\n"), LONG_HEAD, NotReused),
        row("9110 5.4", "a long value within 64 KiB", ByLibrary, head_of(LIMIT, &format!("A: {}\r\n", "v".repeat(65_000))), EMPTY, Reused),
        row("9110 5.4", "one byte more is too long as well", Rejected, head_of(LIMIT + 1, &format!("A: {}\r\n", "v".repeat(65_000))), LONG_HEAD, NotReused),
        row("9110 5.4", "what says how to read on is read behind many fields", Wrapped, format!("HTTP/1.1 200 OK\r\n{}Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", short(300) ), OK, NotReused),
        row("9110 5.4", "and folded fields among those that are left out", Wrapped, ok(&"A: b\r\n c\r\n".repeat(200)), OK, Reused),
        row("9110 5.4", "where much of it repeats, the connection ends", Wrapped, ok(&"Content-Length: 2\r\n".repeat(300)), OK, NotReused),
        row("9110 5.5", "values may have bytes beyond ASCII", ByLibrary, ok("A: Gr\u{fc}\u{df}e\r\n"), OK, Reused),
        row("9110 5.5", "an empty value", ByLibrary, ok("A:\r\nB: \t \r\n"), OK, Reused),
        row("9110 5.5", "whitespace around a value is no part of it", ByLibrary, "HTTP/1.1 200 OK\r\nContent-Length:\t 2 \t\r\n\r\nok", OK, Reused),
        row("9110 5.5", "NUL is rejected or replaced", Rejected, ok("A: b\0c\r\n"), BAD_HEAD, NotReused),
        row("9110 5.5", "other control characters are invalid", Rejected, ok("A: b\u{1}c\r\n"), BAD_HEAD, NotReused),
        row("9110 5.6.1.2", "empty elements of a list are ignored", ByLibrary, ok("Connection: , ,close, \r\n"), OK, NotReused),
        row("9110 5.6.1.2", "also in Transfer-Encoding", Wrapped, "HTTP/1.1 200 OK\r\nTransfer-Encoding: ,chunked , ,\r\n\r\n2\r\nok\r\n0\r\n\r\n", OK, Reused),
        row("9110 5.6.1.2", "also where nothing but empty elements follow", Wrapped, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding:\r\n ,\r\n\r\n2\r\nok\r\n0\r\n\r\n", OK, Reused),
        row("9112 5.1", "whitespace before a colon is removed", Set, "HTTP/1.1 200 OK\r\nContent-Length : 2\r\nA\t:b\r\n\r\nok", OK, Reused),
        row("9112 5.1", "a field has a name", Rejected, ok(": b\r\n"), BAD_HEAD, NotReused),
        row("9112 5.1", "and a colon", Rejected, ok("no colon\r\n"), BAD_HEAD, NotReused),
        row("9112 5.2", "a folded line goes on with the value", Set, ok("A: b\r\n c\r\n\td\r\n"), OK, Reused),
        row("9112 5.2", "also of a field that says how to read on", Set, "HTTP/1.1 200 OK\r\nContent-Length:\r\n  2\r\nA: b\r\n\r\nok", OK, Reused),
        row("9112 5.2", "also at a bare line feed, and of the last field", Set, "HTTP/1.1 200 OK\nTransfer-Encoding: gzip,\n chunked\n\n2\r\nok\r\n0\r\n\r\n", OK, Reused),
    ]
}

#[rustfmt::skip]
fn lengths() -> Vec<Row> {
    let length = |lines: &str| format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\nok");
    vec![
        row("9112 6.3 (1)", "204 has no body", ByLibrary, "HTTP/1.1 204 No Content\r\n\r\n", Delivered(204, ""), Reused),
        row("9112 6.3 (1)", "whatever its length", ByLibrary, "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", Delivered(204, ""), Reused),
        row("9112 6.3 (1)", "whatever its encoding", ByLibrary, "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", Delivered(204, ""), Reused),
        row("9112 6.3", "what follows a complete response is no response", ByLibrary, "HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nhi", Delivered(204, ""), NotReused),
        row("9112 6.3 (1)", "304 has no body", ByLibrary, "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", Failed(Some(304), "status: the destination responded with 304 Not Modified; redirects are not followed, so set the webhook's URL to the final address"), Reused),
        row("9110 15.3.6", "205 ends where it says", ByLibrary, "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n", Delivered(205, ""), Reused),
        row("9112 6.3 (3)", "Transfer-Encoding overrides Content-Length", Wrapped, "HTTP/1.1 200 OK\r\nContent-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", OK, NotReused),
        row("9112 6.3 (4)", "without chunked the body ends with the connection", ByLibrary, "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok", OK, PeerCloses),
        row("9112 6.3 (4)", "also if chunked is not the last encoding", ByLibrary, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\nok", OK, PeerCloses),
        row("9112 6.1", "Transfer-Encoding in HTTP/1.0 is faulty framing", Rejected, "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", BAD_HEAD, NotReused),
        row("9112 6.1", "several encodings, the last of them chunked", ByLibrary, "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", OK, Reused),
        row("9112 6.1", "on several lines", ByLibrary, "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", OK, Reused),
        row("9112 7", "their names are case-insensitive", ByLibrary, "HTTP/1.1 200 OK\r\nTRANSFER-ENCODING: Chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", OK, Reused),
        row("9112 6.3 (5)", "a list of equal lengths is that length", ByLibrary, length("Content-Length: 2, 2"), OK, Reused),
        row("9112 6.3 (5)", "also on several lines", ByLibrary, length("Content-Length: 2\r\nContent-Length: 2"), OK, Reused),
        row("9112 6.3 (5)", "lengths that differ are an error", Rejected, length("Content-Length: 2\r\nContent-Length: 3"), BAD_HEAD, NotReused),
        row("9112 6.3 (5)", "also in a list", Rejected, length("Content-Length: 2, 3"), BAD_HEAD, NotReused),
        row("9112 6.3 (5)", "a length is digits", Rejected, length("Content-Length: +2"), BAD_HEAD, NotReused),
        row("9112 6.3 (5)", "of the decimal system", Rejected, length("Content-Length: 0x2"), BAD_HEAD, NotReused),
        row("9112 6.3 (5)", "and not nothing", Rejected, length("Content-Length:"), BAD_HEAD, NotReused),
        row("9110 8.6", "with zeros before it", ByLibrary, length("Content-Length: 00000000000000000000000002"), OK, Reused),
        row("9110 8.6", "of any size: the body is cut off, not the number", Wrapped, length("Content-Length: 99999999999999999999999999"), CUT_OFF, PeerCloses),
        row("9110 8.6", "just above 64 bits", Wrapped, length("Content-Length: 18446744073709551616"), CUT_OFF, PeerCloses),
        row("9110 8.6", "just below 64 bits", Wrapped, length("Content-Length: 18446744073709551615"), CUT_OFF, PeerCloses),
        row("9112 6.3 (6)", "a body that is shorter is incomplete", ByLibrary, length("Content-Length: 3"), CUT_OFF, PeerCloses),
        row("9112 6.3 (8)", "without a length it ends with the connection", ByLibrary, "HTTP/1.1 200 OK\r\n\r\nok", OK, PeerCloses),
        row("9112 6.3 (8)", "also in HTTP/1.0", ByLibrary, "HTTP/1.0 200 OK\r\n\r\nok", OK, PeerCloses),
        row("9110 8.4", "a coding of the content is not the message's", ByLibrary, ok("Content-Encoding: gzip, x-unknown\r\n"), OK, Reused),
    ]
}

#[rustfmt::skip]
fn chunks() -> Vec<Row> {
    let long = "x".repeat(20_000);
    vec![
        row("9112 7.1", "chunks are joined", ByLibrary, chunked("1\r\no\r\n1\r\nk\r\n0\r\n\r\n"), OK, Reused),
        row("9112 7.1", "sizes are hexadecimal, in both cases", ByLibrary, chunked("a\r\n0123456789\r\nB\r\n0123456789A\r\n0\r\n\r\n"), Delivered(200, "01234567890123456789A"), Reused),
        row("9112 7.1", "with zeros before them", ByLibrary, chunked("0000000000000000000002\r\nok\r\n000\r\n\r\n"), OK, Reused),
        row("9112 7.1", "of any size: what goes on is cut", Wrapped, chunked("fffffffffffffffffff\r\nok"), EMPTY, NotReused),
        row("9112 7.1", "a size is a number", Rejected, chunked("zz\r\nok\r\n0\r\n\r\n"), BAD_BODY, NotReused),
        row("9112 7.1", "and ends with CRLF", Rejected, chunked("2\nok\n0\n\n"), BAD_BODY, NotReused),
        row("9112 7.1", "a chunk is as long as it says", Rejected, chunked("2\r\noks\r\n0\r\n\r\n"), BAD_BODY, NotReused),
        row("9112 7.1.1", "unknown extensions are ignored", ByLibrary, chunked("2;a=b;c=\"d;e\";f\r\nok\r\n0;g\r\n\r\n"), OK, Reused),
        row("9110 5.6.3", "bad whitespace is removed", ByLibrary, chunked("2 \t ; a = b\r\nok\r\n0 \r\n\r\n"), OK, Reused),
        row("9112 7.1.1", "extensions may be long", Wrapped, chunked(&format!("2;{long}\r\nok\r\n0\r\n\r\n")), EMPTY, NotReused),
        row("9112 7.1.1", "also after the content", Wrapped, chunked(&format!("2\r\nok\r\n0;{long}\r\n\r\n")), OK, NotReused),
        row("9112 7.1.2", "trailers are read and may be dropped", ByLibrary, chunked("2\r\nok\r\n0\r\nA: b\r\nC: d\r\n\r\n"), OK, Reused),
        row("9112 7.1.2", "many of them", Wrapped, chunked(&format!("2\r\nok\r\n0\r\n{}\r\n", "A: b\r\n".repeat(101))), OK, NotReused),
        row("9112 7.1.2", "long ones", Wrapped, chunked(&format!("2\r\nok\r\n0\r\nA: {long}\r\n\r\n")), OK, NotReused),
        row("9112 5.2", "folded ones", Wrapped, chunked("2\r\nok\r\n0\r\nA: b\r\n c\r\n\r\n"), OK, NotReused),
        row("9112 5.1", "with whitespace before the colon", Wrapped, chunked("2\r\nok\r\n0\r\nA : b\r\n\r\n"), OK, NotReused),
        row("9112 2.2", "with bare line feeds", Wrapped, chunked("2\r\nok\r\n0\r\nA: b\nC: d\r\n\r\n"), OK, NotReused),
        row("9112 8", "a body without its last chunk is incomplete", ByLibrary, chunked("2\r\nok\r\n"), CUT_OFF, PeerCloses),
        row("9112 8", "so is one without its trailer section", ByLibrary, chunked("2\r\nok\r\n0\r\n"), CUT_OFF, PeerCloses),
    ]
}

#[rustfmt::skip]
fn connections() -> Vec<Row> {
    vec![
        row("9112 9.3", "HTTP/1.1 is persistent", ByLibrary, ok(""), OK, Reused),
        row("9112 9.3", "also if it says so", ByLibrary, ok("Connection: keep-alive\r\nKeep-Alive: timeout=5, max=100\r\n"), OK, Reused),
        row("9112 9.3", "HTTP/1.0 is not", ByLibrary, "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", OK, NotReused),
        row("9112 9.3", "unless it says so", ByLibrary, "HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\nok", OK, Reused),
        row("9112 9.6", "no request follows a close", ByLibrary, ok("Connection: close\r\n"), OK, NotReused),
        row("9112 9.6", "in any case, and in a list", ByLibrary, ok("Connection: x, Close\r\n"), OK, NotReused),
        row("9112 9.6", "on a line of its own", ByLibrary, ok("Connection: keep-alive\r\nConnection: close\r\n"), OK, NotReused),
        row("9112 9.6", "a peer may close without saying so", ByLibrary, ok(""), OK, PeerCloses),
        row("9112 9.2", "bytes that follow a response are no response", ByLibrary, format!("{}HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n", ok("")), OK, NotReused),
    ]
}

fn rows() -> Vec<Row> {
    [status_lines(), fields(), lengths(), chunks(), connections()].into_iter().flatten().collect()
}

/// A peer that sends the response in pieces of this size, and then closes if the row wants it.
async fn peer(row: &Row, piece: usize) -> Peer {
    // The table writes bytes beyond ASCII as characters of Latin-1.
    let response: Arc<[u8]> = row.response.chars().map(|c| u8::try_from(u32::from(c)).expect("Latin-1")).collect();
    let closes = row.then == PeerCloses;
    Peer::playing(move |mut stream| {
        let response = Arc::clone(&response);
        async move {
            stream.set_nodelay(true).expect("an option");
            while read_request(&mut stream).await {
                for piece in response.chunks(piece) {
                    if stream.write_all(piece).await.is_err() {
                        return;
                    }
                    tokio::task::yield_now().await;
                }
                if closes {
                    let _ = stream.shutdown().await;
                    return;
                }
            }
        }
    })
    .await
}

/// Delivers twice; the error says how that differs from the row.
async fn compare(transport: &Transport, row: &Row, piece: usize) -> Result<(), String> {
    let peer = peer(row, piece).await;
    for delivery in 1..=2 {
        let report = deliver(transport, &peer.origin()).await;
        let seen = (sentence(&report), report.status, report.excerpt.clone());
        let wanted = match row.outcome {
            Delivered(status, excerpt) => ("delivered".to_owned(), Some(status), Some(excerpt.to_owned())),
            Failed(status, sentence) => (sentence.to_owned(), status, seen.2.clone()),
        };
        if seen != wanted {
            return Err(format!("{seen:?} instead of {wanted:?} at delivery {delivery}"));
        }
        if report.status.is_some() != report.excerpt.is_some() {
            return Err("an excerpt comes with a status, and only then".to_owned());
        }
        // The connection goes back to the pool, or not, once its task has run.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    match (row.then, peer.connections()) {
        (Reused, 1) | (NotReused | PeerCloses, 2) => Ok(()),
        (then, connections) => Err(format!("{connections} connections, and {then:?}")),
    }
}

#[tokio::test]
async fn responses_are_read_as_the_rfcs_demand() {
    let transport = transport();
    let mut wrong = Vec::new();
    for row in rows() {
        for piece in [usize::MAX, if row.response.len() < 1000 { 1 } else { 997 }] {
            if let Err(why) = compare(&transport, &row, piece).await {
                let Row { section, demand, response, .. } = &row;
                let response: String = response.chars().take(100).collect();
                wrong.push(format!("{section}: {demand}: {why}: {response:?} in pieces of {piece}"));
                break;
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), rows().len(), wrong.join("\n"));
}

/// A row that is rejected fails, and no other does for that reason.
#[test]
fn a_row_is_rejected_or_met() {
    for row in rows() {
        let is_protocol = matches!(row.outcome, Failed(_, sentence) if !sentence.starts_with("status: "));
        let Row { section, demand, .. } = row;
        match row.met {
            Rejected => assert!(matches!(row.outcome, Failed(..)), "{section}: {demand}"),
            Set => assert!(!is_protocol, "{section}: {demand}"),
            ByLibrary | Wrapped => {
                let is_cut = matches!(row.outcome, Failed(_, sentence) if sentence.starts_with("connect: "));
                assert!(!is_protocol || is_cut, "{section}: {demand}");
            }
        }
    }
}
