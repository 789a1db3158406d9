//! Entry points of the fuzz targets in `fuzz/`, compiled with `--cfg fuzzing` only.
//!
//! One function a target: it takes the fuzzer's bytes, gives them their shape, and calls the real reader. Nothing may
//! panic, and each function says which properties it asserts beside that. Properties of private readers stand beside
//! them, in a module `fuzzing` of their file.

use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use http::Uri;
use serde_json::Value;
use url::Host;

use crate::api::fuzz_framing;
use crate::cli::fuzz_collector;
use crate::formatter::{fuzz_contract, fuzz_header, fuzz_manifest};
use crate::json::fault::Faults;
use crate::json::{self, Document, fuzz_numbers};
use crate::model::event::NewEvent;
use crate::model::retry;
use crate::model::url::{DeliveryUrl, Framing, Scheme};
use crate::model::webhook::input::Draft;
use crate::store::{fuzz_export, fuzz_journal, fuzz_record};
use crate::transport::{self, fuzz_proxy, fuzz_syslog};

/// The bytes of one connection to the API: the first byte is how many of them one read returns.
///
/// The framing does not depend on the reads, and hyper serves no request that the framing has not seen.
pub fn request_framing(data: &[u8]) {
    let Some((read_bytes, stream)) = data.split_first() else { return };
    fuzz_framing::check(stream, usize::from(*read_bytes).max(1));
}

/// A JSON text, as the body of a request.
///
/// A text that is accepted is one that `serde_json` reads, but for numbers beyond a double, and has the same digest however
/// its value is spelled. The elements of an array are slices of it. An event is kept byte for byte; a webhook without
/// faults can be created.
pub fn json(data: &[u8]) {
    let text = match json::decode(data) {
        Ok(text) => text,
        Err(error) => return assert!(error.line >= 1 && error.column <= data.len() + 1, "{error}"),
    };
    let document = match json::check(text) {
        Ok(document) => document,
        Err(error) => {
            assert!(error.line >= 1 && error.line <= text.split('\n').count(), "{error}");
            return;
        }
    };
    let value = serde_json::from_str::<Value>(text);
    let mut spellings = vec![fuzz_numbers::respell(text)];
    match &value {
        // A `Value` rounds numbers.
        Ok(value) if !fuzz_numbers::are_rounded(text) => {
            let mut respelled = String::new();
            respell(value, &mut respelled);
            spellings.extend([value.to_string(), respelled]);
        }
        Ok(_) => {}
        Err(error) => assert!(fuzz_numbers::are_rounded(text), "what is accepted is JSON: {error}"),
    }
    for spelling in spellings {
        let again = json::check(&spelling).expect("another spelling of the same value");
        assert_eq!(again.digest(), document.digest(), "{text} and {spelling}");
    }
    if document.is_array()
        && let Ok(value) = &value
    {
        elements(text, value);
    }
    event(&document);
    let mut faults = Faults::new();
    let draft = Draft::read_whole(&document, &mut faults);
    assert!(!faults.is_empty() || draft.create().is_some());
}

/// The same value with its members in another order, escapes for every character, and white space.
fn respell(value: &Value, text: &mut String) {
    match value {
        Value::String(string) => respell_string(string, text),
        Value::Array(elements) => {
            text.push_str("[ ");
            for (index, element) in elements.iter().enumerate() {
                text.push_str(if index == 0 { "" } else { " ,\n" });
                respell(element, text);
            }
            text.push_str("\t]");
        }
        Value::Object(members) => {
            text.push('{');
            for (index, (name, member)) in members.iter().rev().enumerate() {
                text.push_str(if index == 0 { "" } else { ", " });
                respell_string(name, text);
                text.push_str(" :\r\n");
                respell(member, text);
            }
            text.push('}');
        }
        // Up to 2^53 an integer is exact as a double.
        Value::Number(number) if number.as_i64().is_some_and(|integer| integer.unsigned_abs() < 1 << 53) => {
            text.push_str(&format!("{number}.0e0"));
        }
        other => text.push_str(&other.to_string()),
    }
}

fn respell_string(string: &str, text: &mut String) {
    text.push('"');
    string.encode_utf16().for_each(|unit| text.push_str(&format!("\\u{unit:04x}")));
    text.push('"');
}

fn elements(text: &str, value: &Value) {
    let expected = value.as_array().expect("an array");
    let (elements, count) = json::elements(text, usize::MAX).expect("an array");
    assert_eq!((elements.len(), count), (expected.len(), expected.len()));
    for (element, expected) in elements.iter().zip(expected) {
        json::check_part(text, element, 1).expect("a part of what was accepted");
        assert_eq!(serde_json::from_str::<Value>(element).ok().as_ref(), Some(expected));
    }
}

fn event(document: &Document<'_>) {
    match NewEvent::read(document, "") {
        Ok(event) => {
            assert_eq!(event.json, document.text());
            assert_eq!(event.digest, event.id.map_or([0; 32], |_| document.digest()));
            assert_eq!(NewEvent::parse(&event.json, "").as_ref(), Ok(&event));
        }
        Err(faults) => assert!(!faults.is_empty()),
    }
}

/// The URL of a webhook.
///
/// A URL that is accepted is its own serialisation. The connector, which parses that again, connects to the host and
/// port that the guard has judged. `Debug` shows neither path nor query.
pub fn delivery_url(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let Ok(url) = DeliveryUrl::parse(text) else { return };
    assert_eq!(DeliveryUrl::parse(url.expose()).as_ref(), Ok(&url), "{text:?}");
    assert_eq!(format!("{url:?}"), format!("{}://{}/[redacted]", url.scheme().as_str(), url.host()));
    assert_ne!(url.port(), 0);
    if url.scheme().is_syslog() {
        assert_eq!(url.expose().contains("?framing=lf"), url.scheme().framing() == Some(Framing::LineFeed));
        return;
    }
    let uri = Uri::try_from(url.expose()).expect("a URL that can be put into a request");
    assert_eq!(Host::parse(uri.host().expect("a host")).as_ref(), Ok(&url.host().to_owned()), "{text:?}");
    assert_eq!(uri.port_u16().unwrap_or(url.scheme().default_port()), url.port(), "{text:?}");
}

/// A journal file: two bytes for an offset, one for a bit, then the bodies of records, each behind its length (a byte).
///
/// See [`fuzz_journal::check`].
pub fn journal(data: &[u8]) {
    fuzz_journal::check_any(data);
    let Some(([high, low, bit], rest)) = data.split_first_chunk() else { return };
    fuzz_journal::check(&blocks(rest), usize::from(u16::from_be_bytes([*high, *low])), *bit);
}

/// A record of the store: its kind, its version, then its fields as they are encoded.
///
/// See [`fuzz_record::check`].
pub fn record(data: &[u8]) {
    let Some(([kind, version], body)) = data.split_first_chunk() else { return };
    fuzz_record::check(*kind, *version, body);
}

/// An export: two bytes for an offset, one for a bit, then lines.
///
/// See [`fuzz_export::check`].
pub fn export(data: &[u8]) {
    fuzz_export::check_any(data);
    let Some(([high, low, bit], rest)) = data.split_first_chunk() else { return };
    let lines: Vec<&[u8]> = rest.split(|byte| *byte == b'\n').collect();
    fuzz_export::check(&lines, usize::from(u16::from_be_bytes([*high, *low])), *bit);
}

/// The response of a proxy to `CONNECT`.
///
/// See [`fuzz_proxy::check`].
pub fn proxy_response(data: &[u8]) {
    fuzz_proxy::check(data);
}

/// The file of a formatter, before it is compiled.
///
/// See [`fuzz_header::check`] and [`fuzz_contract::check`].
pub fn component(data: &[u8]) {
    fuzz_header::check(data, 4096);
    fuzz_contract::check(data);
}

/// The manifest of a formatter; behind a NUL, the options of a webhook that uses it.
///
/// See [`fuzz_manifest::check`].
pub fn manifest(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let (manifest, options) = text.split_once('\0').unwrap_or((text, "{}"));
    fuzz_manifest::check(manifest, options);
}

/// The value of a `Retry-After` header.
///
/// Seconds are taken as they are; a date is seen from the present, and one that is over is zero.
pub fn retry_after(data: &[u8]) {
    let Ok(value) = str::from_utf8(data) else { return };
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let Some(wait) = retry::retry_after(value, now) else {
        assert!(value.trim().parse::<u64>().is_err() || value.contains('+'));
        return;
    };
    let seconds = wait.as_secs().to_string();
    assert_eq!(retry::retry_after(&seconds, now), Some(wait), "{value:?}");
    if let Ok(date) = httpdate::parse_http_date(value.trim()) {
        assert_eq!(now.max(date), now + wait, "{value:?}");
        assert_eq!(retry::retry_after(&httpdate::fmt_http_date(now + wait), now), Some(wait), "{value:?}");
    }
}

/// Messages for a syslog destination: the first byte chooses the transport, then each message behind its length (a
/// byte).
///
/// Whatever a formatter makes, a receiver finds the messages that were sent and no others. What the receiver of
/// `heraldry listen` makes of bytes that are no frames is tried too.
pub fn syslog_frames(data: &[u8]) {
    let mut stream = BytesMut::from(data);
    while let Ok(Some(_)) = fuzz_collector::next_message(&mut stream) {}
    let Some((first, rest)) = data.split_first() else { return };
    let framing = if first % 2 == 0 { Framing::OctetCounting } else { Framing::LineFeed };
    let fits = |message: &&[u8]| transport::fits(Scheme::SyslogTcp(framing), message).is_ok();
    let messages: Vec<Bytes> = blocks(rest).into_iter().filter(fits).map(Bytes::copy_from_slice).collect();
    let mut stream = BytesMut::from(&fuzz_syslog::framed(&messages, framing)[..]);
    for message in &messages {
        assert_eq!(fuzz_collector::next_message(&mut stream), Ok(Some(message.to_vec())));
    }
    assert!(stream.is_empty());
}

/// A peer of a syslog connection that sends although nothing is asked: the first byte says how the connection ends,
/// each two more are a number of bytes.
///
/// See [`fuzz_syslog::check_peer`].
pub fn syslog_peer(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else { return };
    let sends: Vec<u16> = rest.chunks_exact(2).map(|send| u16::from_be_bytes([send[0], send[1]])).collect();
    fuzz_syslog::check_peer(&sends, first % 2 == 1);
}

/// Parts of the fuzzer's bytes, each behind its length in a byte; the last may be shorter.
fn blocks(mut data: &[u8]) -> Vec<&[u8]> {
    let mut blocks = Vec::new();
    while let Some((length, rest)) = data.split_first() {
        let (block, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        blocks.push(block);
        data = rest;
    }
    blocks
}
