//! Records of the Log Event Extended Format 2.0, as IBM QRadar reads it, in which no text becomes an attribute
//! (`LEEF:2.0|Vendor|Product|Version|EventID|x09|key=value<TAB>key=value`; FORMATS, section 11).
//!
//! The format has no escape. What its guide tells senders to avoid in a value is therefore written otherwise: the
//! delimiter as a space, `|` and `^` as their full-width forms `｜` and `＾` (which Unicode's compatibility
//! normalisation turns back), in an address of the web as `%7C` and `%5E`. A key stands once, one that the format
//! defines goes with its type of value, and an own one is none of these.
//!
//! A custom property of QRadar is a pattern like `key=([^\t]+)` that takes the first place where it fits, also one
//! inside of a value: so attributes without any text of the event stand first, and `msg` last.
//!
//! What does not fit is cut and says so: `msg` first, then the longest values, then attributes from the last one on.
//!
//! ```
//! use heraldry_formatter::leef::{Delimiter, Device, Headline, Port, Record, Text};
//!
//! let headline = Headline { event_id: "finding_added", category: "finding", severity: 8, time: "2026-11-17T10:12:45.120Z" };
//! let device = Device { vendor: "Heraldry", product: "Heraldry", version: "0.1.0" };
//! let mut record = Record::new(device, headline, Delimiter::Caret);
//! record.port(Port::DstPort, Some(443));
//! record.text(Text::Url, Some("https://a.example/?x=1|2"));
//! record.own("objectId", Some("F-0102"));
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

/// The longest EventID, in bytes, so that it is not too long in characters; here also of vendor, product and version.
pub const HEADER_FIELD: usize = 255;
/// The longest value of most attributes: ours, the format names no limit.
pub const TEXT: usize = 1023;
/// The longest `msg`: ours.
pub const MESSAGE: usize = 4000;

/// What sends the record. Each is cleaned and cut at [`HEADER_FIELD`]; of what nothing is left a `-` goes out.
#[derive(Debug, Clone, Copy)]
pub struct Device<'a> {
    /// Who makes it.
    pub vendor: &'a str,
    /// What it is; vendor and product together are unique.
    pub product: &'a str,
    /// Which of it.
    pub version: &'a str,
}

/// What QRadar files every event by. None of it may be the event's own text: these words are mapped once and for all.
#[derive(Debug, Clone, Copy)]
pub struct Headline<'a> {
    /// EventID: what kind of event this is, cut at [`HEADER_FIELD`].
    pub event_id: &'a str,
    /// `cat`: which larger kind it belongs to.
    pub category: &'a str,
    /// `sev`: 1, the lowest, to 10; what is beyond is put to the nearest.
    pub severity: u8,
    /// `devTime`, RFC 3339. It goes out in milliseconds since 1970, of which QRadar takes 13 digits (from September
    /// 2001 on, for some centuries); any other is left out, and then the time of the syslog header counts.
    pub time: &'a str,
}

/// What stands between two attributes; as JSON `tab` and `caret`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Delimiter {
    /// A tab, `x09`. A relay may change it: rsyslog makes `#011` of it unless it is told not to.
    #[default]
    Tab,
    /// `^`, which passes everywhere.
    Caret,
}

impl Delimiter {
    /// The character.
    const fn sign(self) -> char {
        match self {
            Self::Tab => '\t',
            Self::Caret => '^',
        }
    }

    /// As the header names it.
    const fn name(self) -> &'static str {
        match self {
            Self::Tab => "x09",
            Self::Caret => "^",
        }
    }
}

/// One record. Add first what matters most: where there is too little room the last attributes go.
#[derive(Debug)]
pub struct Record<'a> {
    device: Device<'a>,
    event_id: Cow<'a, str>,
    delimiter: Delimiter,
    /// Values in which `|` and `^` still stand.
    fields: Vec<Field<'a>>,
    /// The keys of those that are addresses of the web.
    web: Vec<&'static str>,
    /// How many of the fields, the first ones, never go.
    essential: usize,
    message: Field<'a>,
}

impl<'a> Record<'a> {
    /// A record with its headline.
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

    /// Adds an address. Here and below: nothing is added where nothing of the value is left, and of two values for one
    /// key the first stays.
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

    /// Adds a text under a key that the format defines, cut at [`Text::max_bytes`].
    pub fn text(&mut self, key: Text, text: Option<impl Into<Cow<'a, str>>>) {
        if let Some(text) = text {
            if key == Text::Url {
                self.web.push(key.name());
            }
            self.push(key.name(), value(text, key.max_bytes()), false);
        }
    }

    /// Adds a text under an own key, cut at [`TEXT`]. A name that is not ASCII letters and digits with a letter first,
    /// or one that the format defines, is left out with its value.
    pub fn own(&mut self, name: &'static str, text: Option<impl Into<Cow<'a, str>>>) {
        self.add_own(name, text, false);
    }

    /// Adds an own key's text of which half would be of no use, as of an id: where there is too little room in the
    /// record it may go, but it is not cut further than [`TEXT`].
    pub fn whole_own(&mut self, name: &'static str, text: Option<impl Into<Cow<'a, str>>>) {
        self.add_own(name, text, true);
    }

    /// Adds an own key's address of the web: what must not stand in a value is percent-encoded.
    pub fn own_url(&mut self, name: &'static str, text: Option<impl Into<Cow<'a, str>>>) {
        self.web.push(name);
        self.add_own(name, text, false);
    }

    fn add_own(&mut self, name: &'static str, text: Option<impl Into<Cow<'a, str>>>, atomic: bool) {
        debug_assert!(keys::is_own(name), "{name:?} is no key of one's own");
        if let Some(text) = text.filter(|_| keys::is_own(name)) {
            self.push(name, value(text, TEXT), atomic);
        }
    }

    /// Sets `msg`, cut at [`MESSAGE`]: the last attribute, and the first that gives way.
    pub fn message(&mut self, text: impl Into<Cow<'a, str>>) {
        self.message.value = value(text, MESSAGE);
    }

    fn push(&mut self, name: &'static str, value: Cow<'a, str>, atomic: bool) {
        if !value.is_empty() && self.fields.iter().all(|field| field.name != name) {
            self.fields.push(field(name, value, atomic));
        }
    }

    /// The record as what a delivery carries: one line of at most `max_bytes`, behind `head` over syslog.
    ///
    /// # Errors
    /// `internal` when the header with the headline is too long.
    pub fn payload(mut self, head: Option<Head<'_>>, max_bytes: usize) -> Result<Payload, Error> {
        let mut line = String::with_capacity(2048);
        if let Some(head) = head {
            head.push_to(&mut line);
        }
        self.push_header(&mut line);
        // The first attribute, and there is one, needs no delimiter.
        let room = max_bytes.saturating_add(1).checked_sub(line.len());
        if !room.is_some_and(|room| fit(&mut self.message, &mut self.fields, self.essential, room)) {
            return Err(too_long(line.len(), max_bytes));
        }
        let begin = line.len();
        for field in self.fields.iter().chain([&self.message]).filter(|field| !field.value.is_empty()) {
            if line.len() > begin {
                line.push(self.delimiter.sign());
            }
            line.push_str(field.name);
            line.push('=');
            push_otherwise(&mut line, &field.value, if self.web.contains(&field.name) { percent } else { full_width });
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

/// A field of the header, which stays whole whatever room there is.
fn header_field(text: &str) -> Cow<'_, str> {
    let text = value(text, HEADER_FIELD);
    if text.is_empty() {
        return Cow::Borrowed("-");
    }
    if !text.bytes().any(is_unwanted) {
        return text;
    }
    let mut out = String::with_capacity(text.len() + 16);
    push_otherwise(&mut out, &text, full_width);
    Cow::Owned(out)
}

/// Beside its value an attribute has its key, `=` and a delimiter.
fn field<'a>(name: &'static str, value: Cow<'a, str>, atomic: bool) -> Field<'a> {
    let frame_bytes = name.len() + 2;
    Field { name, label: None, value, frame_bytes, is_special: is_unwanted, escape_bytes: OTHERWISE - 1, atomic }
}

/// What stands for `|` and `^` has three bytes, in either way of writing them.
const OTHERWISE: usize = 3;

/// What the guide tells senders to avoid, but for the tab, which is a space by now.
fn is_unwanted(byte: u8) -> bool {
    matches!(byte, b'|' | b'^')
}

/// For a text: what `|` and `^` look like.
const fn full_width(unwanted: u8) -> &'static str {
    if unwanted == b'|' { "\u{FF5C}" } else { "\u{FF3E}" }
}

/// For an address of the web: what they mean (RFC 3986, section 2.1; neither may stand in one as it is).
const fn percent(unwanted: u8) -> &'static str {
    if unwanted == b'|' { "%7C" } else { "%5E" }
}

/// Appends a value with what stands for `|` and `^`.
fn push_otherwise(line: &mut String, value: &str, otherwise: fn(u8) -> &'static str) {
    let mut from = 0;
    for (at, byte) in value.bytes().enumerate().filter(|(_, byte)| is_unwanted(*byte)) {
        line.push_str(&value[from..at]);
        line.push_str(otherwise(byte));
        from = at + 1;
    }
    line.push_str(&value[from..]);
}

/// `text` on one line, without the blanks around it, and at most `max_bytes` long once `|` and `^` are written
/// otherwise, the mark included.
fn value<'a>(text: impl Into<Cow<'a, str>>, max_bytes: usize) -> Cow<'a, str> {
    match text.into() {
        Cow::Borrowed(text) => clean(text, max_bytes),
        Cow::Owned(text) => Cow::Owned(clean(&text, max_bytes).into_owned()),
    }
}

fn clean(text: &str, max_bytes: usize) -> Cow<'_, str> {
    let cost = |c: char| if matches!(c, '|' | '^') { OTHERWISE } else { c.len_utf8() };
    tidy(bare(text), Rule::SPACES, max_bytes, cost, TRUNCATED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        let written = |text: &str, max_bytes: usize, otherwise: fn(u8) -> &'static str| {
            let mut out = String::new();
            push_otherwise(&mut out, &value(text, max_bytes), otherwise);
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
    fn a_cut_leaves_no_half_of_an_escape() {
        let headline = Headline { event_id: "e", category: "c", severity: 5, time: "" };
        let device = Device { vendor: "v", product: "p", version: "1" };
        for max_bytes in 100..400 {
            let mut record = Record::new(device, headline, Delimiter::Tab);
            record.own_url("link", Some("|".repeat(300)));
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
