//! A syslog collector: receives messages over UDP and TCP (octet-counted or newline-terminated frames) and
//! parses them. Run by `listen --syslog`.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;

use bytes::{Buf as _, BytesMut};
use serde::Serialize;
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc;

use crate::clock::SystemClock;
use crate::model::time::{Clock as _, Timestamp};

/// Longest accepted frame; a longer one closes the connection.
const MAX_FRAME_BYTES: usize = 64 * 1024;
/// Most digits in an octet count.
const MAX_DIGITS: usize = 5;

/// Pause after a failed accept.
const ACCEPT_RETRY_DELAY: std::time::Duration = std::time::Duration::from_millis(50);

/// One message as received.
#[derive(Debug, Serialize)]
pub(super) struct Message {
    pub(super) received_at: Timestamp,
    pub(super) from: SocketAddr,
    /// `udp`, `tcp, octet-counted` or `tcp, line`.
    pub(super) transport: &'static str,
    pub(super) bytes: usize,
    /// The whole message; bytes that are not UTF-8 are replaced by U+FFFD.
    pub(super) text: String,
    pub(super) parsed: Parsed,
}

/// The fields parsed from a message.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "protocol", rename_all = "snake_case")]
pub(super) enum Parsed {
    /// RFC 5424.
    Rfc5424 {
        facility: String,
        severity: String,
        time: Option<String>,
        host: Option<String>,
        app: Option<String>,
        msgid: Option<String>,
        structured_data: BTreeMap<String, BTreeMap<String, String>>,
        message: String,
    },
    /// RFC 3164 (BSD syslog), which defines no fields beyond these.
    Rfc3164 { priority: u8, time: String, host: String, message: String },
    /// Neither of the two; `why` says what is wrong.
    Unknown { why: String },
}

/// Receives until the future is dropped; each message is sent to `messages`.
pub(super) async fn serve(
    datagrams: UdpSocket,
    listener: TcpListener,
    messages: mpsc::Sender<Message>,
) -> io::Result<()> {
    let over_udp = collect_datagrams(datagrams, messages.clone());
    let over_tcp = async {
        loop {
            match listener.accept().await {
                Ok((stream, from)) => drop(tokio::spawn(collect_stream(stream, from, messages.clone()))),
                // The client has disconnected already, or file descriptors are short: the next accept may succeed.
                Err(_) => tokio::time::sleep(ACCEPT_RETRY_DELAY).await,
            }
        }
    };
    tokio::select! {
        ended = over_udp => ended,
        () = over_tcp => Ok(()),
    }
}

async fn collect_datagrams(socket: UdpSocket, messages: mpsc::Sender<Message>) -> io::Result<()> {
    let mut datagram = vec![0; MAX_FRAME_BYTES];
    loop {
        let (read, from) = socket.recv_from(&mut datagram).await?;
        // Fails only while the command is ending.
        drop(messages.send(message(from, "udp", &datagram[..read])).await);
    }
}

async fn collect_stream(mut stream: TcpStream, from: SocketAddr, messages: mpsc::Sender<Message>) {
    let mut bytes = BytesMut::new();
    loop {
        loop {
            match next_frame(&mut bytes) {
                Ok(Some((transport, frame))) => drop(messages.send(message(from, transport, &frame)).await),
                Ok(None) => break,
                // The stream cannot be resynchronised: like other collectors, close the connection.
                Err(why) => {
                    let parsed = Parsed::Unknown { why: why.into() };
                    drop(messages.send(Message { parsed, ..message(from, "tcp, broken", &bytes) }).await);
                    return;
                }
            }
        }
        match stream.read_buf(&mut bytes).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

/// Removes the first complete frame (RFC 6587, section 3.4): octet-counted if it begins with a digit, else a line.
fn next_frame(bytes: &mut BytesMut) -> Result<Option<(&'static str, Vec<u8>)>, &'static str> {
    let Some(first) = bytes.first() else { return Ok(None) };
    if !first.is_ascii_digit() {
        let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
            return if bytes.len() > MAX_FRAME_BYTES { Err("a line is longer than 64 KiB") } else { Ok(None) };
        };
        let line = bytes[..end].to_vec();
        bytes.advance(end + 1);
        return Ok(Some(("tcp, line", line)));
    }
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let whole = bytes.len() > digits;
    if digits > MAX_DIGITS || (whole && bytes[digits] != b' ') {
        return Err("a message begins with a digit and is not octet-counted");
    }
    if !whole {
        return Ok(None);
    }
    let count = std::str::from_utf8(&bytes[..digits]).ok().and_then(|digits| digits.parse::<usize>().ok());
    let count = count.filter(|count| *count <= MAX_FRAME_BYTES).ok_or("a message is longer than 64 KiB")?;
    if bytes.len() < digits + 1 + count {
        return Ok(None);
    }
    let frame = bytes[digits + 1..digits + 1 + count].to_vec();
    bytes.advance(digits + 1 + count);
    Ok(Some(("tcp, octet-counted", frame)))
}

fn message(from: SocketAddr, transport: &'static str, bytes: &[u8]) -> Message {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let received_at = SystemClock::start().now();
    Message { received_at, from, transport, bytes: bytes.len(), parsed: parse(&text), text }
}

/// Parses a message as RFC 5424, else as RFC 3164.
fn parse(text: &str) -> Parsed {
    // The parser panics on some truncated texts, such as a timestamp without its offset.
    let read = std::panic::catch_unwind(|| syslog_rfc5424::parse_message(text));
    let Ok(read) = read else { return Parsed::Unknown { why: "the message ends in the middle of its header".into() } };
    match read {
        Ok(read) => Parsed::Rfc5424 {
            facility: read.facility.as_str().to_owned(),
            severity: read.severity.as_str().to_owned(),
            time: read.timestamp.map(|seconds| {
                let ms = seconds.saturating_mul(1000) + i64::from(read.timestamp_nanos.unwrap_or(0) / 1_000_000);
                Timestamp::from_unix_ms(ms).to_string()
            }),
            host: read.hostname,
            app: read.appname,
            msgid: read.msgid,
            structured_data: read.sd.iter().map(|(id, params)| (id.clone(), params.clone())).collect(),
            message: read.msg.trim_start_matches('\u{feff}').to_owned(),
        },
        Err(error) => parse_rfc3164(text).unwrap_or_else(|| Parsed::Unknown { why: error.to_string() }),
    }
}

/// `<PRI>Mmm dd hh:mm:ss HOST MSG` (RFC 3164, section 4.1).
fn parse_rfc3164(text: &str) -> Option<Parsed> {
    let (priority, rest) = text.strip_prefix('<')?.split_once('>')?;
    let priority = priority.parse().ok().filter(|priority| *priority <= 191)?;
    let (time, rest) = rest.split_at_checked("Mmm dd hh:mm:ss".len())?;
    let shape = |c: char| if c.is_ascii_digit() { '0' } else { c };
    let clock: String = time.get(7..)?.chars().map(shape).collect();
    let is_time = clock == "00:00:00" || clock == "00:00:0";
    let (host, message) = rest.strip_prefix(' ')?.split_once(' ')?;
    is_time.then(|| Parsed::Rfc3164 { priority, time: time.into(), host: host.into(), message: message.into() })
}

/// The reader of [`crate::fuzzing::syslog_frames`].
#[cfg(fuzzing)]
pub(crate) mod fuzzing {
    use super::*;

    /// The first whole message, taken out of `bytes`.
    pub(crate) fn next_message(bytes: &mut BytesMut) -> Result<Option<Vec<u8>>, &'static str> {
        next_frame(bytes).map(|frame| frame.map(|(_, message)| message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_frame_are_split() {
        let mut bytes = BytesMut::from(&b"5 <1>ab<2>line\n6 <3>x\ny12 <4>"[..]);
        let mut next = || next_frame(&mut bytes).expect("frames").map(|(how, frame)| (how, String::from_utf8(frame)));
        assert_eq!(next(), Some(("tcp, octet-counted", Ok("<1>ab".into()))));
        assert_eq!(next(), Some(("tcp, line", Ok("<2>line".into()))));
        assert_eq!(next(), Some(("tcp, octet-counted", Ok("<3>x\ny".into()))));
        assert_eq!(next(), None);
        for broken in ["99999999 x", "12x", "123456"] {
            assert!(next_frame(&mut BytesMut::from(broken.as_bytes())).is_err(), "{broken}");
        }
    }

    #[test]
    fn both_protocols_are_parsed() {
        let text =
            r#"<130>1 2026-11-17T10:12:45.120Z heraldry.example heraldry - finding_added [h@1 a="\]x"] CRITICAL it"#;
        let Parsed::Rfc5424 { facility, severity, time, host, app, msgid, structured_data, message } = parse(text)
        else {
            panic!("not parsed as RFC 5424")
        };
        assert_eq!((facility.as_str(), severity.as_str()), ("local0", "crit"));
        assert_eq!(time.as_deref(), Some("2026-11-17T10:12:45.120Z"));
        assert_eq!((host.as_deref(), app.as_deref()), (Some("heraldry.example"), Some("heraldry")));
        assert_eq!((msgid.as_deref(), message.as_str()), (Some("finding_added"), "CRITICAL it"));
        assert_eq!(structured_data["h@1"]["a"], "]x");
        let old = Parsed::Rfc3164 {
            priority: 130,
            time: "Nov  7 10:12:45".into(),
            host: "heraldry".into(),
            message: "heraldry: it".into(),
        };
        assert_eq!(parse("<130>Nov  7 10:12:45 heraldry heraldry: it"), old);
        for neither in
            ["", "hello", "<999>Nov  7 10:12:45 h m", "<1>x", "<1>1 2020-01-01T00:00:00+", "<1>1 2020-01-01T0"]
        {
            assert!(matches!(parse(neither), Parsed::Unknown { .. }), "{neither}");
        }
    }
}
