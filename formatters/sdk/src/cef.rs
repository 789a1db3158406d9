//! Records of the Common Event Format, version 0, in which no text can forge a field
//! (`CEF:0|Vendor|Product|Version|Signature|Name|Severity|key=value key=value`; FORMATS, section 3).
//!
//! Each key has one type and one maximum length, keys without a meaning of their own carry a label, and no key appears
//! twice. A record over its limit is truncated visibly: first `msg`, then the longest values, then whole pairs from the
//! last one on. The format decides which part of an event goes under which key.
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

/// The longest Device Vendor and Device Product, in bytes: an upper bound of the limit in characters.
pub const DEVICE: usize = 63;
/// The longest Device Version, in bytes.
pub const VERSION: usize = 31;
/// The longest Signature, in bytes.
pub const SIGNATURE: usize = 1023;
/// The longest Name, in bytes.
pub const NAME: usize = 512;
/// The longest `msg` and most other strings, in bytes.
pub const TEXT: usize = 1023;
/// The longest `cs1` to `cs6`, in bytes.
pub const CUSTOM_TEXT: usize = 4000;
/// The highest Severity.
const MAX_SEVERITY: u8 = 10;

/// The sender of the record. Each field is cleaned and truncated; an empty one is sent as `-`.
#[derive(Debug, Clone, Copy)]
pub struct Device<'a> {
    /// At most [`DEVICE`] bytes.
    pub vendor: &'a str,
    /// At most [`DEVICE`] bytes.
    pub product: &'a str,
    /// At most [`VERSION`] bytes.
    pub version: &'a str,
}

/// One record. Add the most important pairs first: the last ones are dropped when the record is too long.
#[derive(Debug)]
pub struct Record<'a> {
    device: Device<'a>,
    signature: Cow<'a, str>,
    severity: u8,
    /// The Name, followed by the pairs.
    fields: Vec<Field<'a>>,
    message: Field<'a>,
    /// The keys in use, one bit each.
    used_keys: u64,
}

impl<'a> Record<'a> {
    /// A record without pairs. `signature` identifies the kind of event and is truncated at [`SIGNATURE`]. `name`, for
    /// people, is truncated at [`NAME`] and defaults to the signature. A severity above 10 becomes 10.
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
        Self { device, signature, severity: severity.min(MAX_SEVERITY), fields, message, used_keys: 0 }
    }

    /// Adds a text, truncated at [`Text::max_bytes`]. Here and below: an empty value is ignored, and the first of two
    /// values for one key wins.
    pub fn text(&mut self, key: Text, text: Option<impl Into<Cow<'a, str>>>) {
        if let Some(text) = text {
            self.push(key.key(), None, value(text, LINE_FEEDS, key.max_bytes()), false);
        }
    }

    /// Adds a text that is useless when shortened, such as an id: in a record that is too long it may be dropped, but
    /// it is never truncated below [`Text::max_bytes`].
    pub fn whole_text(&mut self, key: Text, text: Option<impl Into<Cow<'a, str>>>) {
        if let Some(text) = text {
            self.push(key.key(), None, value(text, LINE_FEEDS, key.max_bytes()), true);
        }
    }

    /// Adds a text under one of the `cs` keys, truncated at [`CUSTOM_TEXT`]. An invalid `label` (see [`Label`]) is
    /// replaced by the key's own name.
    pub fn custom(&mut self, key: Custom, label: &'a str, text: Option<impl Into<Cow<'a, str>>>) {
        if let Some(text) = text {
            self.push(key.key(), Some(label), value(text, LINE_FEEDS, CUSTOM_TEXT), false);
        }
    }

    /// Adds a whole number.
    pub fn long(&mut self, key: Long, label: &'a str, number: Option<i64>) {
        self.number(key.key(), Some(label), number);
    }

    /// Adds a number, unless it is infinite or NaN.
    pub fn double(&mut self, key: Double, label: &'a str, number: Option<f64>) {
        self.number(key.key(), Some(label), number.filter(|number| number.is_finite()));
    }

    /// Adds `cnt`, the number of occurrences. Values outside 0 to 2147483647 are left out.
    pub fn count(&mut self, count: Option<i64>) {
        self.number(keys::CNT, None, count.filter(|count| (0..=i64::from(i32::MAX)).contains(count)));
    }

    /// Adds a port.
    pub fn port(&mut self, key: Port, port: Option<u16>) {
        self.number(key.key(), None, port);
    }

    /// Adds an IPv4 address.
    pub fn ipv4(&mut self, key: Ipv4, address: Option<Ipv4Addr>) {
        self.number(key.key(), None, address);
    }

    /// Adds an IPv6 address, with its label.
    pub fn ipv6(&mut self, key: Ipv6, label: &'a str, address: Option<Ipv6Addr>) {
        self.number(key.key(), Some(label), address);
    }

    /// Adds an RFC 3339 time, converted to milliseconds since 1970. Anything else, and times before 1970, are left out.
    pub fn time(&mut self, key: Time, time: Option<&str>) {
        self.number(key.key(), None, time.and_then(milliseconds));
    }

    /// Adds a time with a label; see [`Record::time`].
    pub fn custom_time(&mut self, key: CustomTime, label: &'a str, time: Option<&str>) {
        self.number(key.key(), Some(label), time.and_then(milliseconds));
    }

    /// Sets `msg`, truncated at [`TEXT`]: the last pair, and the first to be shortened.
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
        if value.is_empty() || self.used_keys & bit != 0 {
            return;
        }
        self.used_keys |= bit;
        let label = label.map(|label| if label::is_label(label) { label } else { key.name });
        self.fields.push(pair(key.name, label, value, atomic));
    }

    /// Serializes the record as a delivery's payload: one line of at most `max_bytes`, after `head` over syslog. A
    /// relay parses a bare `CEF:` as a program name and strips it, unless the record follows an RFC 5424 header or a
    /// tag of an RFC 3164 header.
    ///
    /// # Errors
    /// `internal` when the header alone is too long.
    pub fn payload(mut self, head: Option<Head<'_>>, max_bytes: usize) -> Result<Payload, Error> {
        let mut line = String::with_capacity(2048);
        if let Some(head) = head {
            head.push_to(&mut line);
        }
        self.push_device(&mut line);
        // After the Name come two pipes and the severity (at most two digits).
        let head_bytes = line.len() + 4;
        let room = max_bytes.checked_sub(head_bytes);
        if !room.is_some_and(|room| fit(&mut self.message, &mut self.fields, 1, room)) {
            return Err(too_long(head_bytes, max_bytes));
        }
        push_escaped(&mut line, &self.fields[0].value, ends_a_field);
        // Writing into a `String` cannot fail.
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

/// A pair takes, besides its value, a space, the key and `=`; and the same again for its label.
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

/// The characters escaped in a header field; `=` is not one of them.
fn ends_a_field(byte: u8) -> bool {
    matches!(byte, b'\\' | b'|')
}

/// The characters escaped in a value; `|` is not one of them.
fn must_be_escaped(byte: u8) -> bool {
    matches!(byte, b'\\' | b'=' | b'\n')
}

/// Appends the pairs, separated by one space.
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

/// Escapes backslash and `=` with a backslash, and a line feed as `\n`.
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
