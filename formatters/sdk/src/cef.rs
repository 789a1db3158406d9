//! Records of the Common Event Format, version 0, in which no text becomes a field
//! (`CEF:0|Vendor|Product|Version|Signature|Name|Severity|key=value key=value`; FORMATS, section 3).
//!
//! A key goes with one type of value and one longest value, what needs a label has one, and a key stands once.
//! What does not fit is cut and says so: `msg` first, then the longest values, then pairs from the last one on.
//! Which part of an event goes under which key is the format's own business.
//!
//! ```
//! use heraldry_formatter::cef::{Custom, Device, Record, Text, Time};
//!
//! let device = Device { vendor: "Heraldry", product: "Heraldry", version: "0.1.0" };
//! let mut record = Record::new(device, "finding_added", "Stored XSS | a=b", 7);
//! record.time(Time::Rt, Some("2026-11-17T10:12:45.120Z"));
//! record.text(Text::Dhost, Some("dvwa.contoso.example"));
//! record.custom(Custom::Cs1, "objectId", Some("F-0102"));
//! record.message("See a=b\nsrc=1.2.3.4");
//! let line = String::from_utf8(record.payload(None, 8000)?.body).unwrap_or_default();
//! assert_eq!(
//!     line,
//!     r"CEF:0|Heraldry|Heraldry|0.1.0|finding_added|Stored XSS \| a=b|7|rt=1794910365120 dhost=dvwa.contoso.example cs1Label=objectId cs1=F-0102 msg=See a\=b\nsrc\=1.2.3.4"
//! );
//! # Ok::<(), heraldry_formatter::Error>(())
//! ```

mod keys;
mod label;
#[cfg(test)]
mod property;

use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use keys::Key;
pub use keys::{Custom, CustomTime, Double, Ipv4, Ipv6, Long, Port, Text, Time};
pub use label::Label;

use crate::event::milliseconds;
use crate::line::{Field, LINE_FEEDS, fit, line_payload, push_escaped, too_long, value};
use crate::syslog::Head;
use crate::text::Rule;
use crate::{Error, Payload};

/// The longest Device Vendor and Device Product, in bytes: so that they are not too long in any unit.
pub const DEVICE: usize = 63;
/// The longest Device Version.
pub const VERSION: usize = 31;
/// The longest Signature.
pub const SIGNATURE: usize = 1023;
/// The longest Name.
pub const NAME: usize = 512;
/// The longest `msg`, and of most other strings.
pub const TEXT: usize = 1023;
/// The longest `cs1` to `cs6`.
pub const CUSTOM_TEXT: usize = 4000;
/// The highest Severity.
const MAX_SEVERITY: u8 = 10;

/// What sends the record. Each is cleaned and cut; of what nothing is left a `-` goes out.
#[derive(Debug, Clone, Copy)]
pub struct Device<'a> {
    /// At most [`DEVICE`] bytes.
    pub vendor: &'a str,
    /// At most [`DEVICE`] bytes.
    pub product: &'a str,
    /// At most [`VERSION`] bytes.
    pub version: &'a str,
}

/// One record. Add first what matters most: where there is too little room the last pairs go.
#[derive(Debug)]
pub struct Record<'a> {
    device: Device<'a>,
    signature: Cow<'a, str>,
    severity: u8,
    /// The Name, then the pairs.
    fields: Vec<Field<'a>>,
    message: Field<'a>,
    /// The keys that stand in the record, a bit each.
    taken: u64,
}

impl<'a> Record<'a> {
    /// A record without any pair. `signature` says what kind of event this is and is cut at [`SIGNATURE`]; `name`,
    /// for people, at [`NAME`] (without one, the signature is shown); a severity above 10 is 10.
    pub fn new(
        device: Device<'a>,
        signature: impl Into<Cow<'a, str>>,
        name: impl Into<Cow<'a, str>>,
        severity: u8,
    ) -> Self {
        let signature = or_nil(value(signature, Rule::SPACES, SIGNATURE));
        let mut name = value(name, Rule::SPACES, NAME);
        if name.is_empty() {
            name = value(signature.clone(), Rule::SPACES, NAME);
        }
        let name = Field {
            name: "",
            label: None,
            value: name,
            frame_bytes: 0,
            is_special: ends_a_field,
            escape_bytes: 1,
            atomic: false,
        };
        let mut fields = Vec::with_capacity(24);
        fields.push(name);
        let message = pair("msg", None, Cow::Borrowed(""), false);
        Self { device, signature, severity: severity.min(MAX_SEVERITY), fields, message, taken: 0 }
    }

    /// Adds a text, cut at [`Text::max_bytes`]. Here and below: nothing is added where nothing of the value is left,
    /// and of two values for one key the first stays.
    pub fn text(&mut self, key: Text, text: Option<impl Into<Cow<'a, str>>>) {
        if let Some(text) = text {
            self.push(key.key(), None, value(text, LINE_FEEDS, key.max_bytes()), false);
        }
    }

    /// Adds a text of which half would be of no use, as of an id: where there is too little room in the record it
    /// may go, but it is not cut further than [`Text::max_bytes`].
    pub fn whole_text(&mut self, key: Text, text: Option<impl Into<Cow<'a, str>>>) {
        if let Some(text) = text {
            self.push(key.key(), None, value(text, LINE_FEEDS, key.max_bytes()), true);
        }
    }

    /// Adds a text without a key of its own, cut at [`CUSTOM_TEXT`]. A label is what [`Label`] takes; in the place of
    /// another the key labels itself.
    pub fn custom(&mut self, key: Custom, label: &'a str, text: Option<impl Into<Cow<'a, str>>>) {
        if let Some(text) = text {
            self.push(key.key(), Some(label), value(text, LINE_FEEDS, CUSTOM_TEXT), false);
        }
    }

    /// Adds a whole number.
    pub fn long(&mut self, key: Long, label: &'a str, number: Option<i64>) {
        self.number(key.key(), Some(label), number);
    }

    /// Adds a number, unless it is infinite or none at all.
    pub fn double(&mut self, key: Double, label: &'a str, number: Option<f64>) {
        self.number(key.key(), Some(label), number.filter(|number| number.is_finite()));
    }

    /// Adds `cnt`: how often it happened. What is below 0 or above 2147483647 is left out.
    pub fn count(&mut self, count: Option<i64>) {
        self.number(keys::CNT, None, count.filter(|count| (0..=i64::from(i32::MAX)).contains(count)));
    }

    /// Adds a port.
    pub fn port(&mut self, key: Port, port: Option<u16>) {
        self.number(key.key(), None, port);
    }

    /// Adds an address.
    pub fn ipv4(&mut self, key: Ipv4, address: Option<Ipv4Addr>) {
        self.number(key.key(), None, address);
    }

    /// Adds an address.
    pub fn ipv6(&mut self, key: Ipv6, label: &'a str, address: Option<Ipv6Addr>) {
        self.number(key.key(), Some(label), address);
    }

    /// Adds a time, as milliseconds since 1970, from one in RFC 3339; what is none, or was before, is left out.
    pub fn time(&mut self, key: Time, time: Option<&str>) {
        self.number(key.key(), None, time.and_then(milliseconds));
    }

    /// Adds a time with a label.
    pub fn custom_time(&mut self, key: CustomTime, label: &'a str, time: Option<&str>) {
        self.number(key.key(), Some(label), time.and_then(milliseconds));
    }

    /// Sets `msg`, cut at [`TEXT`]: the last pair, and the first that gives way.
    pub fn message(&mut self, text: impl Into<Cow<'a, str>>) {
        self.message.value = value(text, LINE_FEEDS, TEXT);
    }

    fn number(&mut self, key: Key, label: Option<&'a str>, number: Option<impl ToString>) {
        if let Some(number) = number {
            self.push(key, label, Cow::Owned(number.to_string()), true);
        }
    }

    fn push(&mut self, key: Key, label: Option<&'a str>, value: Cow<'a, str>, atomic: bool) {
        let bit = 1 << key.number;
        if value.is_empty() || self.taken & bit != 0 {
            return;
        }
        self.taken |= bit;
        let label = label.map(|label| if label::is_label(label) { label } else { key.name });
        self.fields.push(pair(key.name, label, value, atomic));
    }

    /// The record as what a delivery carries: one line of at most `max_bytes`, behind `head` over syslog. Relays take
    /// `CEF` for a program's name and eat it unless it stands behind a header of RFC 5424, or behind a tag in one of
    /// RFC 3164.
    ///
    /// # Errors
    /// `internal` when the header alone is too long.
    pub fn payload(mut self, head: Option<Head<'_>>, max_bytes: usize) -> Result<Payload, Error> {
        let mut line = String::with_capacity(2048);
        if let Some(head) = head {
            head.push_to(&mut line);
        }
        self.push_device(&mut line);
        // Behind the Name: two pipes and the severity.
        let head_bytes = line.len() + 4;
        let room = max_bytes.checked_sub(head_bytes);
        if !room.is_some_and(|room| fit(&mut self.message, &mut self.fields, 1, room)) {
            return Err(too_long(head_bytes, max_bytes));
        }
        push_escaped(&mut line, &self.fields[0].value, ends_a_field);
        // Writing into a string does not fail.
        let _ = write!(line, "|{}|", self.severity);
        push_pairs(&mut line, self.fields[1..].iter().chain([&self.message]));
        Ok(line_payload(line))
    }

    /// The prefix and everything before the Name.
    fn push_device(&self, line: &mut String) {
        line.push_str("CEF:0|");
        let Device { vendor, product, version } = self.device;
        for (text, max_bytes) in [(vendor, DEVICE), (product, DEVICE), (version, VERSION)] {
            push_escaped(line, &or_nil(value(text, Rule::SPACES, max_bytes)), ends_a_field);
            line.push('|');
        }
        push_escaped(line, &self.signature, ends_a_field);
        line.push('|');
    }
}

fn or_nil(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.is_empty() { Cow::Borrowed("-") } else { text }
}

/// A pair: beside its value a space, its key and `=`, and once more for the label.
fn pair<'a>(name: &'static str, label: Option<&'a str>, value: Cow<'a, str>, atomic: bool) -> Field<'a> {
    let escaped = |label: &str| label.len() + label.bytes().filter(|byte| must_be_escaped(*byte)).count();
    let label_bytes = label.map_or(0, |label| " Label=".len() + name.len() + escaped(label));
    Field {
        name,
        label,
        value,
        frame_bytes: name.len() + 2 + label_bytes,
        is_special: must_be_escaped,
        escape_bytes: 1,
        atomic,
    }
}

/// What a header field escapes; `=` stays.
fn ends_a_field(byte: u8) -> bool {
    matches!(byte, b'\\' | b'|')
}

/// What a value escapes; `|` stays.
fn must_be_escaped(byte: u8) -> bool {
    matches!(byte, b'\\' | b'=' | b'\n')
}

/// Appends the pairs, one space between two.
fn push_pairs<'f, 'a: 'f>(line: &mut String, fields: impl Iterator<Item = &'f Field<'a>>) {
    let begin = line.len();
    for field in fields.filter(|field| !field.value.is_empty()) {
        if line.len() > begin {
            line.push(' ');
        }
        if let Some(label) = field.label {
            line.push_str(field.name);
            line.push_str("Label=");
            push_value(line, label);
            line.push(' ');
        }
        line.push_str(field.name);
        line.push('=');
        push_value(line, &field.value);
    }
}

/// Backslash and `=` take a backslash, a line feed becomes one and an `n`.
fn push_value(line: &mut String, value: &str) {
    let mut from = 0;
    for (at, byte) in value.bytes().enumerate().filter(|(_, byte)| must_be_escaped(*byte)) {
        line.push_str(&value[from..at]);
        line.push('\\');
        if byte == b'\n' {
            line.push('n');
            from = at + 1;
        } else {
            from = at;
        }
    }
    line.push_str(&value[from..]);
}
