//! RFC 9113 for a client that reads responses: a table with one row a demand, beside that of `tests/rfc.rs`.
//!
//! The peer writes literal frames over TLS. Each row is followed by a second delivery, which tells whether the connection
//! was used again.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsAcceptor;

use super::peer::Peer;
use super::rfc::Met::{self, ByLibrary, Rejected, Set, Wrapped};
use super::rfc::Outcome::{self, Delivered, Failed};
use super::tls::{Authority, server};
use super::{Table, deliver, sentence, transport_with};

const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

pub(super) const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;

const NO_ERROR: u32 = 0;
const PROTOCOL_ERROR: u32 = 1;
const INTERNAL_ERROR: u32 = 2;
const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;

const OK: Outcome = Delivered(200, "ok");
const BAD_HEAD: Outcome =
    Failed(None, "protocol: the destination's response is not valid HTTP/2, or its head is longer than 64 KiB");
const LONG_HEAD: Outcome = Failed(None, "protocol: the head of the destination's response does not end within 64 KiB");
const RESET: Outcome =
    Failed(None, "connect: the request was sent, but the destination reset its HTTP/2 stream before a response");
const CLOSED: Outcome = Failed(None, "connect: the request was sent, but the connection closed before a response");
const CUT_OFF: Outcome = Failed(
    Some(200),
    "connect: the destination responded with 200 OK, but the connection closed in the middle of its response",
);
const BAD_BODY: Outcome =
    Failed(Some(200), "protocol: the destination responded with 200 OK, but the framing of its body is not valid HTTP");

struct Row {
    section: &'static str,
    demand: &'static str,
    met: Met,
    /// The frames that respond to the request on this stream.
    response: fn(u32) -> Vec<u8>,
    outcome: Outcome,
    is_reused: bool,
}

fn row(
    section: &'static str,
    demand: &'static str,
    met: Met,
    response: fn(u32) -> Vec<u8>,
    outcome: Outcome,
    is_reused: bool,
) -> Row {
    Row { section, demand, met, response, outcome, is_reused }
}

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a length").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// An integer with a prefix of seven bits (RFC 7541, section 5.1).
fn integer(value: usize) -> Vec<u8> {
    let Some(mut rest) = value.checked_sub(127) else { return vec![u8::try_from(value).expect("seven bits")] };
    let mut bytes = vec![127];
    while rest >= 128 {
        bytes.push(u8::try_from(rest % 128).expect("seven bits") | 128);
        rest /= 128;
    }
    bytes.push(u8::try_from(rest).expect("seven bits"));
    bytes
}

/// Literal fields without indexing and without Huffman coding (RFC 7541, section 6.2.2).
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let literal = |text: &str| [integer(text.len()).as_slice(), text.as_bytes()].concat();
    fields.iter().flat_map(|(name, value)| [vec![0], literal(name), literal(value)].concat()).collect()
}

/// A header section, in as many frames as it needs.
pub(super) fn head(stream: u32, flags: u8, fields: &[(&str, &str)]) -> Vec<u8> {
    let block = block(fields);
    let mut pieces = block.chunks(16_384).peekable();
    let mut frames = Vec::new();
    let (mut kind, mut flags) = (HEADERS, flags);
    while let Some(piece) = pieces.next() {
        let end = if pieces.peek().is_none() { END_HEADERS } else { 0 };
        frames.extend(frame(kind, flags | end, stream, piece));
        (kind, flags) = (CONTINUATION, 0);
    }
    frames
}

fn data(stream: u32, flags: u8, content: &str) -> Vec<u8> {
    frame(DATA, flags, stream, content.as_bytes())
}

fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &code.to_be_bytes())
}

fn goaway(last: u32, code: u32) -> Vec<u8> {
    frame(GOAWAY, 0, 0, &[last.to_be_bytes(), code.to_be_bytes()].concat())
}

/// A response with these fields, and the body `ok`.
fn ok(stream: u32, fields: &[(&str, &str)]) -> Vec<u8> {
    let fields = [&[(":status", "200")][..], fields].concat();
    [head(stream, 0, &fields), data(stream, END_STREAM, "ok")].concat()
}

/// One field of 4,000 bytes, indexed and repeated by its index of one byte (RFC 7541, sections 6.2.1 and 6.1).
fn repeated(stream: u32, count: usize) -> Vec<u8> {
    let mut block = block(&[(":status", "200"), ("a", "v".repeat(3967).as_str())]);
    // The second field begins behind `:status` and its value.
    block[1 + 1 + 7 + 1 + 3] = 0x40;
    block.extend(vec![0x80 | 62; count]);
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &block)
}

/// So many short fields.
fn many(stream: u32, count: usize) -> Vec<u8> {
    let names: Vec<String> = (0..count).map(|n| format!("x-{n}")).collect();
    ok(stream, &names.iter().map(|name| (name.as_str(), "1")).collect::<Vec<_>>())
}

#[rustfmt::skip]
fn heads() -> Vec<Row> {
    vec![
        row("8.1", "head, content and end of stream", ByLibrary, |s| ok(s, &[]), OK, true),
        row("8.1", "a head alone ends the stream", ByLibrary, |s| head(s, END_STREAM, &[(":status", "204")]), Delivered(204, ""), true),
        row("8.1", "an empty frame may end it", ByLibrary, |s| [head(s, 0, &[(":status", "200")]), data(s, 0, "ok"), data(s, END_STREAM, "")].concat(), OK, true),
        row("8.1", "interim responses are read, and several", ByLibrary, |s| [head(s, 0, &[(":status", "100")]), head(s, 0, &[(":status", "103"), ("link", "</a>")]), ok(s, &[])].concat(), OK, true),
        row("8.1", "an interim response does not end the stream", Rejected, |s| head(s, END_STREAM, &[(":status", "103")]), BAD_HEAD, true),
        row("8.1", "trailers are read and may be dropped", ByLibrary, |s| [head(s, 0, &[(":status", "200")]), data(s, 0, "ok"), head(s, END_STREAM, &[("a", "b")])].concat(), OK, true),
        row("8.1", "a reset without error after a complete response discards nothing", ByLibrary, |s| [ok(s, &[]), reset(s, NO_ERROR)].concat(), OK, true),
        row("8.1", "after an incomplete one it is no end", Wrapped, |s| [head(s, 0, &[(":status", "200"), ("content-length", "3")]), data(s, 0, "ok"), reset(s, NO_ERROR)].concat(), CUT_OFF, true),
        row("8.1", "a reset before the end cuts the body off", Wrapped, |s| [head(s, 0, &[(":status", "200")]), data(s, 0, "ok"), reset(s, INTERNAL_ERROR)].concat(), CUT_OFF, true),
        row("8.1", "also one that cancels", Wrapped, |s| [head(s, 0, &[(":status", "200")]), data(s, 0, "ok"), reset(s, CANCEL)].concat(), CUT_OFF, true),
        row("8.1", "the status decides if it is a failure", ByLibrary, |s| [head(s, 0, &[(":status", "503")]), reset(s, INTERNAL_ERROR)].concat(), Failed(Some(503), "status: the destination responded with 503 Service Unavailable"), true),
        row("8.1.1", "the length must be that of the content", Rejected, |s| [head(s, 0, &[(":status", "200"), ("content-length", "3")]), data(s, END_STREAM, "ok")].concat(), BAD_BODY, true),
        row("8.1.1", "and not be exceeded", Rejected, |s| [head(s, 0, &[(":status", "200"), ("content-length", "1")]), data(s, END_STREAM, "ok")].concat(), BAD_BODY, true),
        row("8.2.1", "a name in upper case is malformed", Rejected, |s| ok(s, &[("X-Upper", "1")]), BAD_HEAD, true),
        row("8.2.1", "so is a value with a line feed", Rejected, |s| ok(s, &[("a", "b\nc")]), BAD_HEAD, false),
        row("8.2.2", "so is a field of the connection", Rejected, |s| ok(s, &[("connection", "close")]), BAD_HEAD, true),
        row("8.2.2", "also Transfer-Encoding", Rejected, |s| ok(s, &[("transfer-encoding", "chunked")]), BAD_HEAD, true),
        row("8.3", "an unknown pseudo-field is malformed", Rejected, |s| ok(s, &[(":x", "1")]), BAD_HEAD, false),
        row("8.3.2", "the status is a number", Rejected, |s| head(s, END_STREAM, &[(":status", "abc")]), BAD_HEAD, false),
        row("8.3", "a pseudo-field comes first", Rejected, |s| head(s, END_STREAM, &[("a", "b"), (":status", "200")]), BAD_HEAD, true),
        row("10.5.1", "150 fields", ByLibrary, |s| many(s, 150), OK, true),
        row("10.5.1", "thousands of fields", Set, |s| many(s, 4000), OK, true),
        row("10.5.1", "a long value", ByLibrary, |s| ok(s, &[("a", "v".repeat(60_000).as_str())]), OK, true),
        row("10.5.1", "repeated fields within the limit", Set, |s| repeated(s, 100), Delivered(200, ""), true),
        row("10.5.1", "repeated fields above it", Rejected, |s| repeated(s, 200), BAD_HEAD, true),
        row("10.5.1", "and far above it", Rejected, |s| repeated(s, 1000), LONG_HEAD, false),
        row("10.5.1", "a head that is too long", Rejected, |s| ok(s, &[("a", "v".repeat(100_000).as_str())]), LONG_HEAD, false),
    ]
}

#[rustfmt::skip]
fn frames() -> Vec<Row> {
    vec![
        row("4.1", "an unknown frame is ignored", ByLibrary, |s| [frame(0xbe, 0xff, s, b"?"), ok(s, &[])].concat(), OK, true),
        row("4.1", "unknown flags are ignored", ByLibrary, |s| [frame(HEADERS, END_HEADERS | 0x42, s, &block(&[(":status", "200")])), data(s, END_STREAM | 0x42, "ok")].concat(), OK, true),
        row("6.1", "padding is removed", ByLibrary, |s| [head(s, 0, &[(":status", "200")]), frame(DATA, END_STREAM | PADDED, s, b"\x03ok\0\0\0")].concat(), OK, true),
        row("6.4", "a reset before a response", Wrapped, |s| reset(s, PROTOCOL_ERROR), RESET, true),
        row("8.7", "a refused stream", Wrapped, |s| reset(s, REFUSED_STREAM), RESET, true),
        row("6.5", "unknown settings are ignored", ByLibrary, |s| [frame(SETTINGS, 0, 0, &[0xba, 0xbe, 0, 0, 0, 1]), ok(s, &[])].concat(), OK, true),
        row("6.6", "nobody allowed a push", Rejected, |s| frame(PUSH_PROMISE, END_HEADERS, s, &[&[0, 0, 0, 2][..], &block(&[(":path", "/")])].concat()), BAD_HEAD, false),
        row("6.7", "a ping may come between", ByLibrary, |s| [frame(PING, 0, 0, b"12345678"), ok(s, &[])].concat(), OK, true),
        row("6.8", "a response is read although the connection goes away", ByLibrary, |s| [goaway(s, NO_ERROR), ok(s, &[])].concat(), OK, false),
        row("6.8", "also if it goes away after it", ByLibrary, |s| [ok(s, &[]), goaway(s, NO_ERROR)].concat(), OK, false),
        row("6.8", "a graceful shutdown announces itself before", ByLibrary, |s| [goaway(0x7fff_ffff, NO_ERROR), ok(s, &[])].concat(), OK, false),
        row("6.8", "a request behind the last stream gets no response", ByLibrary, |_| goaway(0, NO_ERROR), CLOSED, false),
        row("5.4.1", "an error of the connection ends its requests", ByLibrary, |_| goaway(0, INTERNAL_ERROR), CLOSED, false),
        row("6.9", "a window may be announced at any time", ByLibrary, |s| [frame(WINDOW_UPDATE, 0, s, &[0, 0, 0, 9]), ok(s, &[])].concat(), OK, true),
        row("4.1", "what is no frame is no HTTP/2", Rejected, |_| b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec(), BAD_HEAD, false),
    ]
}

/// Reads one frame: kind, flags and stream; `None` when the connection ends.
pub(super) async fn read_frame(stream: &mut (impl AsyncRead + Unpin)) -> Option<(u8, u8, u32)> {
    let mut header = [0; 9];
    stream.read_exact(&mut header).await.ok()?;
    let [a, b, c, kind, flags, id @ ..] = header;
    let length = u32::from_be_bytes([0, a, b, c]);
    let mut payload = vec![0; usize::try_from(length).expect("a length")];
    stream.read_exact(&mut payload).await.ok()?;
    Some((kind, flags, u32::from_be_bytes(id)))
}

/// Reads frames up to the end of a request; returns its stream, or `None` when the connection ends.
async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<u32> {
    loop {
        let (kind, flags, id) = read_frame(stream).await?;
        if matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0 {
            return Some(id);
        }
    }
}

/// A peer that speaks HTTP/2 and responds to each request with these frames.
async fn peer(authority: &Authority, response: fn(u32) -> Vec<u8>) -> Peer {
    let mut config = server(authority.issue(&["good.example"], -1, 1), None);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    Peer::playing(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            // The client's preface (section 3.4); its settings are read like any frame.
            if stream.read_exact(&mut [0; 24]).await.is_err() {
                return;
            }
            let begun = [frame(SETTINGS, 0, 0, &[]), frame(SETTINGS, ACK, 0, &[])].concat();
            if stream.write_all(&begun).await.is_err() {
                return;
            }
            while let Some(id) = read_request(&mut stream).await {
                if stream.write_all(&response(id)).await.is_err() {
                    return;
                }
            }
        }
    })
    .await
}

#[tokio::test]
async fn responses_over_http2_are_read_as_the_rfc_demands() {
    let authority = Authority::new("ours");
    let names = Table::of(&[("good.example", &["127.0.0.1"])]);
    let transport = transport_with(&["127.0.0.0/8"], names, &[authority.root()]);
    let rows: Vec<Row> = [heads(), frames()].into_iter().flatten().collect();
    let mut wrong = Vec::new();
    for Row { section, demand, met, response, outcome, is_reused } in &rows {
        let peer = peer(&authority, *response).await;
        let origin = format!("https://good.example:{}", peer.address.port());
        let report = deliver(&transport, &origin).await;
        let seen = (sentence(&report), report.status, report.excerpt.clone());
        let wanted = match *outcome {
            Delivered(status, excerpt) => ("delivered".to_owned(), Some(status), Some(excerpt.to_owned())),
            Failed(status, sentence) => (sentence.to_owned(), status, seen.2.clone()),
        };
        if seen != wanted {
            wrong.push(format!("{section}: {demand}: {seen:?} instead of {wanted:?}"));
        }
        assert!(*met != Rejected || matches!(outcome, Failed(..)), "{section}: {demand}");
        tokio::time::sleep(Duration::from_millis(20)).await;
        let before = peer.connections();
        deliver(&transport, &origin).await;
        if (peer.connections() == before) != *is_reused && matches!(outcome, Delivered(..)) {
            wrong.push(format!("{section}: {demand}: {} connections, then {}", before, peer.connections()));
        }
    }
    assert!(wrong.is_empty(), "{} rows:\n{}", rows.len(), wrong.join("\n"));
}
