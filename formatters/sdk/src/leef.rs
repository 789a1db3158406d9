//! Records of the Log Event Extended Format 2.0, as IBM QRadar reads it, in which no text can forge an attribute
//! (`LEEF:2.0|Vendor|Product|Version|EventID|x09|key=value<TAB>key=value`; FORMATS, section 11).
//!
//! The format has no escapes. Characters that IBM's guide tells senders to avoid are therefore substituted: the
//! delimiter by a space, `|` and `^` by their full-width forms `｜` and `＾` (which Unicode compatibility normalization
//! maps back), in a web address by `%7C` and `%5E`. No key appears twice, a predefined key has its own value type, and
//! a custom key cannot be a predefined one.
//!
//! A custom property of QRadar is a pattern like `key=([^\t]+)` that matches its first occurrence, which may be inside
//! a value. Attributes without text of the event therefore come first, and `msg` last.
//!
//! A record over its limit is truncated visibly: first `msg`, then the longest values, then whole attributes from the
//! last one on.
//!
//! ```
//! use heraldry_formatter::leef::{Delimiter, Device, Headline, Port, Record, Text};
//!
//! let headline = Headline { event_id: "finding_added", category: "finding", severity: 8, time: "2026-11-17T10:12:45.120Z" };
//! let device = Device { vendor: "Heraldry", product: "Heraldry", version: "0.1.0" };
//! let mut record = Record::new(device, headline, Delimiter::Caret);
//! record.port(Port::DstPort, Some(443));
//! record.text(Text::Url, Some("https://a.example/?x=1|2"));
//! record.custom("objectId", Some("F-0102"));
//! record.message("a|b\nsev=1");
//! let line = String::from_utf8(record.payload(None, 8000)?.body).unwrap_or_default();
//! assert_eq!(
//!     line,
//!     "LEEF:2.0|Heraldry|Heraldry|0.1.0|finding_added|^|devTime=1794910365120^cat=finding^sev=8^dstPort=443^url=https://a.example/?x=1%7C2^objectId=F-0102^msg=a｜b sev=1"
//! );
//! # Ok::<(), heraldry_formatter::Error>(())
//! ```

mod keys;
#[cfg(test)]
mod property;

use std::borrow::Cow;
use std::net::IpAddr;

use serde::Deserialize;

pub use keys::{Address, Port, Text};

use crate::event::milliseconds;
use crate::line::{Field, TRUNCATED, fit, line_payload, too_long};
use crate::syslog::Head;
use crate::text::{Rule, bare, tidy};
use crate::{Error, Payload};

/// The longest EventID, in bytes, an upper bound of the limit in characters; applied to vendor, product and version,
/// too.
pub const HEADER_FIELD: usize = 255;
/// The longest value of most attributes, in bytes. Our choice: the format names no limit.
pub const TEXT: usize = 1023;
/// The longest `msg`, in bytes. Our choice, too.
pub const MESSAGE: usize = 4000;

/// The sender of the record. Each field is cleaned and truncated at [`HEADER_FIELD`]; an empty one is sent as `-`.
#[derive(Debug, Clone, Copy)]
pub struct Device<'a> {
    /// The vendor's name.
    pub vendor: &'a str,
    /// The product's name; vendor and product together identify the log source type.
    pub product: &'a str,
    /// The product's version.
    pub version: &'a str,
}

/// The fields by which QRadar classifies an event. They must not contain text of the event: QRadar maps each value
/// once.
#[derive(Debug, Clone, Copy)]
pub struct Headline<'a> {
    /// EventID: the kind of event, truncated at [`HEADER_FIELD`].
    pub event_id: &'a str,
    /// `cat`: the category of the kind.
    pub category: &'a str,
    /// `sev`: 1 (lowest) to 10; other values are clamped.
    pub severity: u8,
    /// `devTime`, an RFC 3339 time. It is sent in milliseconds since 1970, of which QRadar accepts 13 digits (September
    /// 2001 to the year 2286); any other time is left out, and the time of the syslog header applies.
    pub time: &'a str,
}

/// The separator of attributes; as JSON `tab` and `caret`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Delimiter {
    /// A tab, `x09`. A relay may change it: rsyslog replaces it by `#011` by default.
    #[default]
    Tab,
    /// `^`, which relays leave unchanged.
    Caret,
}

impl Delimiter {
    /// The delimiter character.
    const fn character(self) -> char {
        match self {
            Self::Tab => '\t',
            Self::Caret => '^',
        }
    }

    /// The delimiter as the record's header names it.
    const fn name(self) -> &'static str {
        match self {
            Self::Tab => "x09",
            Self::Caret => "^",
        }
    }
}

/// One record. Add the most important attributes first: the last ones are dropped when the record is too long.
#[derive(Debug)]
pub struct Record<'a> {
    device: Device<'a>,
    event_id: Cow<'a, str>,
    delimiter: Delimiter,
    /// Values in which `|` and `^` are not substituted yet.
    fields: Vec<Field<'a>>,
    /// The keys whose values are web addresses.
    web: Vec<&'static str>,
    /// The number of leading fields that are never dropped.
    essential: usize,
    message: Field<'a>,
}

impl<'a> Record<'a> {
    /// A record with its classification fields only.
    pub fn new(device: Device<'a>, headline: Headline<'a>, delimiter: Delimiter) -> Self {
        let event_id = header_field(headline.event_id);
        let message = field("msg", Cow::Borrowed(""), false);
        let fields = Vec::with_capacity(32);
        let mut record = Self { device, event_id, delimiter, fields, web: Vec::new(), essential: 0, message };
        let time = milliseconds(headline.time).map(|time| time.to_string()).filter(|digits| digits.len() == 13);
        record.push("devTime", time.map_or(Cow::Borrowed(""), Cow::Owned), true);
        record.push("cat", value(headline.category, HEADER_FIELD), true);
        record.push("sev", Cow::Owned(headline.severity.clamp(1, 10).to_string()), true);
        record.essential = record.fields.len();
        record
    }

    /// Adds an IP address. Here and below: an empty value is ignored, and the first of two values for one key wins.
    pub fn address(&mut self, key: Address, address: Option<impl Into<IpAddr>>) {
        if let Some(address) = address {
            self.push(key.name(), Cow::Owned(address.into().to_string()), true);
        }
    }

    /// Adds a port.
    pub fn port(&mut self, key: Port, port: Option<u16>) {
        if let Some(port) = port {
            self.push(key.name(), Cow::Owned(port.to_string()), true);
        }
    }

    /// Adds a text under a predefined key, truncated at [`Text::max_bytes`].
    pub fn text(&mut self, key: Text, text: Option<impl Into<Cow<'a, str>>>) {
        if let Some(text) = text {
            if key == Text::Url {
                self.web.push(key.name());
            }
            self.push(key.name(), value(text, key.max_bytes()), false);
        }
    }

    /// Adds a text under a custom key, truncated at [`TEXT`]. Ignored if the name is predefined, or not ASCII letters
    /// and digits with a letter first.
    pub fn custom(&mut self, name: &'static str, text: Option<impl Into<Cow<'a, str>>>) {
        self.add_custom(name, text, false);
    }

    /// Adds a custom text that is useless when shortened, such as an id: in a record that is too long it may be
    /// dropped, but it is never truncated below [`TEXT`].
    pub fn whole_custom(&mut self, name: &'static str, text: Option<impl Into<Cow<'a, str>>>) {
        self.add_custom(name, text, true);
    }

    /// Adds a web address under a custom key; characters not allowed in a value are percent-encoded.
    pub fn custom_url(&mut self, name: &'static str, text: Option<impl Into<Cow<'a, str>>>) {
        self.web.push(name);
        self.add_custom(name, text, false);
    }

    fn add_custom(&mut self, name: &'static str, text: Option<impl Into<Cow<'a, str>>>, atomic: bool) {
        debug_assert!(keys::is_custom_name(name), "{name:?} is no key of one's own");
        if let Some(text) = text.filter(|_| keys::is_custom_name(name)) {
            self.push(name, value(text, TEXT), atomic);
        }
    }

    /// Sets `msg`, truncated at [`MESSAGE`]: the last attribute, and the first to be shortened.
    pub fn message(&mut self, text: impl Into<Cow<'a, str>>) {
        self.message.value = value(text, MESSAGE);
    }

    fn push(&mut self, name: &'static str, value: Cow<'a, str>, atomic: bool) {
        if !value.is_empty() && self.fields.iter().all(|field| field.name != name) {
            self.fields.push(field(name, value, atomic));
        }
    }

    /// Serializes the record as a delivery's payload: one line of at most `max_bytes`, after `head` over syslog.
    ///
    /// # Errors
    /// `internal` when the header with the classification fields is too long.
    pub fn payload(mut self, head: Option<Head<'_>>, max_bytes: usize) -> Result<Payload, Error> {
        let mut line = String::with_capacity(2048);
        if let Some(head) = head {
            head.push_to(&mut line);
        }
        self.push_header(&mut line);
        // The first attribute needs no delimiter before it, which leaves one byte more.
        let room = max_bytes.saturating_add(1).checked_sub(line.len());
        if !room.is_some_and(|room| fit(&mut self.message, &mut self.fields, self.essential, room)) {
            return Err(too_long(line.len(), max_bytes));
        }
        let begin = line.len();
        for field in self.fields.iter().chain([&self.message]).filter(|field| !field.value.is_empty()) {
            if line.len() > begin {
                line.push(self.delimiter.character());
            }
            line.push_str(field.name);
            line.push('=');
            push_substituted(
                &mut line,
                &field.value,
                if self.web.contains(&field.name) { percent } else { full_width },
            );
        }
        Ok(line_payload(line))
    }

    fn push_header(&self, line: &mut String) {
        line.push_str("LEEF:2.0|");
        let Device { vendor, product, version } = self.device;
        for text in [vendor, product, version] {
            line.push_str(&header_field(text));
            line.push('|');
        }
        for text in [&*self.event_id, self.delimiter.name()] {
            line.push_str(text);
            line.push('|');
        }
    }
}

/// A header field; the header is never shortened to fit the record's limit.
fn header_field(text: &str) -> Cow<'_, str> {
    let text = value(text, HEADER_FIELD);
    if text.is_empty() {
        return Cow::Borrowed("-");
    }
    if !text.bytes().any(is_unwanted) {
        return text;
    }
    let mut out = String::with_capacity(text.len() + 16);
    push_substituted(&mut out, &text, full_width);
    Cow::Owned(out)
}

/// An attribute takes, besides its value, the key, `=` and a delimiter.
fn field<'a>(name: &'static str, value: Cow<'a, str>, atomic: bool) -> Field<'a> {
    let frame_bytes = name.len() + 2;
    Field { name, label: None, value, frame_bytes, is_special: is_unwanted, escape_bytes: SUBSTITUTE_BYTES - 1, atomic }
}

/// The length of each substitute of `|` and `^`, in bytes.
const SUBSTITUTE_BYTES: usize = 3;

/// The characters that IBM's guide tells senders to avoid, except for the tab, which is a space by now.
fn is_unwanted(byte: u8) -> bool {
    matches!(byte, b'|' | b'^')
}

/// The substitute in a text: the full-width form.
const fn full_width(unwanted: u8) -> &'static str {
    if unwanted == b'|' { "\u{FF5C}" } else { "\u{FF3E}" }
}

/// The substitute in a web address: percent-encoded (RFC 3986, section 2.1; neither character is legal in a URL).
const fn percent(unwanted: u8) -> &'static str {
    if unwanted == b'|' { "%7C" } else { "%5E" }
}

/// Appends a value with the substitutes of `|` and `^`.
fn push_substituted(line: &mut String, value: &str, substitute: fn(u8) -> &'static str) {
    let mut from = 0;
    for (at, byte) in value.bytes().enumerate().filter(|(_, byte)| is_unwanted(*byte)) {
        line.push_str(&value[from..at]);
        line.push_str(substitute(byte));
        from = at + 1;
    }
    line.push_str(&value[from..]);
}

/// `text` on one line, trimmed, and at most `max_bytes` long after substitution, truncation mark included.
fn value<'a>(text: impl Into<Cow<'a, str>>, max_bytes: usize) -> Cow<'a, str> {
    match text.into() {
        Cow::Borrowed(text) => clean(text, max_bytes),
        Cow::Owned(text) => Cow::Owned(clean(&text, max_bytes).into_owned()),
    }
}

fn clean(text: &str, max_bytes: usize) -> Cow<'_, str> {
    let cost = |c: char| if matches!(c, '|' | '^') { SUBSTITUTE_BYTES } else { c.len_utf8() };
    tidy(bare(text), Rule::SPACES, max_bytes, cost, TRUNCATED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        let written = |text: &str, max_bytes: usize, substitute: fn(u8) -> &'static str| {
            let mut out = String::new();
            push_substituted(&mut out, &value(text, max_bytes), substitute);
            assert!(out.len() <= max_bytes, "{out}");
            out
        };
        for (text, shown, address) in [
            ("a|b^c", "a｜b＾c", "a%7Cb%5Ec"),
            (" a\tb\r\nc\u{2028}d\0e\u{202E} ", "a b c d e", "a b c d e"),
            ("=\\\"", "=\\\"", "=\\\""),
            ("\t\n", "", ""),
        ] {
            assert_eq!(written(text, 100, full_width), shown);
            assert_eq!(written(text, 100, percent), address);
        }
        assert_eq!(written("||||", 12, full_width), "｜｜｜｜");
        assert_eq!(written("|||||||", 20, full_width), "｜｜｜[truncated]");
        assert_eq!(written("|||||||", 19, percent), "%7C%7C[truncated]");
        assert_eq!(header_field("a|b"), "a｜b");
    }

    #[test]
    fn truncation_keeps_substitutes_whole() {
        let headline = Headline { event_id: "e", category: "c", severity: 5, time: "" };
        let device = Device { vendor: "v", product: "p", version: "1" };
        for max_bytes in 100..400 {
            let mut record = Record::new(device, headline, Delimiter::Tab);
            record.custom_url("link", Some("|".repeat(300)));
            let line = String::from_utf8(record.payload(None, max_bytes).expect("fits").body).expect("UTF-8");
            assert!(line.len() <= max_bytes && line.len() + 4 > max_bytes, "{line}");
            let link = line.split_once("link=").expect("a link").1.strip_suffix(TRUNCATED).expect("the mark");
            assert_eq!(link.replace("%7C", ""), "");
        }
    }

    fn line(time: &str, severity: u8) -> String {
        let headline = Headline { event_id: " ", category: "c", severity, time };
        let record = Record::new(Device { vendor: "", product: "p", version: "1" }, headline, Delimiter::Tab);
        String::from_utf8(record.payload(None, 100).expect("fits").body).expect("UTF-8")
    }

    #[test]
    fn a_time_has_13_digits() {
        for (time, expected) in [
            ("2001-09-09T01:46:40.000Z", "devTime=1000000000000\t"),
            ("2001-09-09T01:46:39.999Z", ""),
            ("2286-11-20T17:46:39.999Z", "devTime=9999999999999\t"),
            ("2286-11-20T17:46:40.000Z", ""),
            ("1969-12-31T23:59:59.999Z", ""),
            ("now", ""),
        ] {
            assert_eq!(line(time, 5), format!("LEEF:2.0|-|p|1|-|x09|{expected}cat=c\tsev=5"), "{time}");
        }
    }

    #[test]
    fn a_severity_is_one_of_ten() {
        for (severity, expected) in [(0, "1"), (1, "1"), (10, "10"), (11, "10")] {
            assert!(line("", severity).ends_with(&format!("\tsev={expected}")));
        }
    }
}
