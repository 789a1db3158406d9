//! The legacy syslog protocol, `<PRI>Mmm dd hh:mm:ss HOST TAG: MSG` (RFC 3164, section 4.1), for collectors that do not
//! read RFC 5424. The header has neither a year nor a time zone: [`UtcOffset`] sets the zone of its time.
//!
//! There is no structured data, so parameters follow the text as `name="value"`. In both, `"` and `\` are escaped by a
//! backslash: an unescaped quote never comes from the event, so that no text can forge a parameter.
//!
//! ```
//! use heraldry_formatter::Severity;
//! use heraldry_formatter::line::Content;
//! use heraldry_formatter::rfc3164::{Header, UtcOffset};
//! use heraldry_formatter::rfc5424::Facility;
//!
//! let header = Header {
//!     facility: Facility::LOCAL0,
//!     severity: Severity::High,
//!     timestamp: "2026-11-07T10:12:45.120Z",
//!     utc_offset: UtcOffset::UTC,
//!     host_name: "heraldry.example",
//!     tag: Some("heraldry"),
//! };
//! let mut content = Content::new(8000);
//! content.param("target", Some("a [\"x\"]"));
//! content.text("", "Two\nlines");
//! let line = String::from_utf8(header.payload(content)?.body).unwrap_or_default();
//! assert_eq!(line, r#"<131>Nov  7 10:12:45 heraldry heraldry: Two lines target="a [\"x\"]""#);
//! # Ok::<(), heraldry_formatter::Error>(())
//! ```

mod options;
#[cfg(test)]
mod property;

use std::fmt::Write as _;
use std::net::Ipv4Addr;

pub use options::{Tag, UtcOffset};
use time::OffsetDateTime;

use crate::event::instant;
use crate::line::{Content, Field, fit, line_payload, push_escaped, too_long};
use crate::rfc5424::Facility;
use crate::{Error, Payload, Severity};

/// The most bytes of a whole message (RFC 3164, section 4.1).
pub const MAX_BYTES: usize = 1024;

/// The longest TAG, in characters (RFC 3164, section 4.1.3).
pub const MAX_TAG: usize = 32;

/// The longest HOSTNAME, in characters: the longest label of a name (RFC 1035, section 2.3.4).
const MAX_HOST: usize = 63;

/// Replaces an empty host or tag: the protocol has no nil value, and rsyslog parses `-` as a tag.
const NO_NAME: &str = "heraldry";

/// The header of an RFC 3164 message with the trailing space, with or without a tag.
#[derive(Clone, Copy, Debug)]
pub struct Header<'a> {
    /// The syslog facility.
    pub facility: Facility,
    /// The severity, which becomes part of PRI.
    pub severity: Severity,
    /// The time of the event, RFC 3339. If it cannot be parsed, TIMESTAMP and HOSTNAME are left out: such a message is
    /// legal, and its first receiver fills in both (section 4.3.2).
    pub timestamp: &'a str,
    /// The time zone in which the time is written.
    pub utc_offset: UtcOffset,
    /// The sender's name. An IPv4 address is sent as it is; of a name the first label, because the domain must not be
    /// part of it (section 4.1.2), at most 63 characters. Characters other than ASCII letters, digits, `-` and `_`
    /// become `-`, and neither of these two stands at an end: rsyslog 8.2302 parses such a name as a tag. It does the
    /// same with an IPv6 address, which QRadar cannot route by either: its colons become `-`, too.
    pub host_name: &'a str,
    /// The program name, reduced to its ASCII letters and digits, at most [`MAX_TAG`], and followed by a colon and a
    /// space. Without a tag the message directly follows the host name; relays parse its first word as the tag.
    pub tag: Option<&'a str>,
}

impl Header<'_> {
    /// Appends the header and a trailing space.
    pub fn push_to(&self, out: &mut String) {
        // Writing into a `String` cannot fail.
        let _ = write!(out, "<{}>", self.facility.priority(self.severity));
        if let Some(time) = instant(self.timestamp).and_then(|time| self.utc_offset.local(time)) {
            push_time(out, time);
            push_host(out, self.host_name);
            out.push(' ');
        }
        if let Some(tag) = self.tag {
            push_tag(out, tag);
            out.push_str(": ");
        }
    }

    /// The message as a delivery's payload: one line of at most [`MAX_BYTES`], or the content's own limit if that is
    /// lower.
    ///
    /// # Errors
    /// `internal` when the header alone is too long.
    pub fn payload(&self, content: Content<'_>) -> Result<Payload, Error> {
        let mut line = String::with_capacity(MAX_BYTES);
        self.push_to(&mut line);
        let head_bytes = line.len();
        let (mut text, mut params, max_bytes) = content.parts(must_be_escaped, must_be_escaped);
        let max_bytes = max_bytes.min(MAX_BYTES);
        let room = max_bytes.checked_sub(head_bytes);
        if !room.is_some_and(|room| fit(&mut text, &mut params, 0, room)) {
            return Err(too_long(head_bytes, max_bytes));
        }
        push_escaped(&mut line, &text.value, must_be_escaped);
        push_facts(&mut line, text.value.is_empty(), &params);
        Ok(line_payload(line))
    }
}

/// Our choice: RFC 3164 leaves CONTENT free (section 4.1.3).
fn must_be_escaped(byte: u8) -> bool {
    matches!(byte, b'"' | b'\\')
}

/// `Mmm dd hh:mm:ss ` (section 4.1.2): a day below 10 is padded with a space.
fn push_time(out: &mut String, time: OffsetDateTime) {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = MONTHS[usize::from(u8::from(time.month())) - 1];
    let (hour, minute, second) = (time.hour(), time.minute(), time.second());
    let _ = write!(out, "{month} {:>2} {hour:02}:{minute:02}:{second:02} ", time.day());
}

fn push_host(out: &mut String, name: &str) {
    let name = name.trim();
    if name.parse::<Ipv4Addr>().is_ok() {
        out.push_str(name);
        return;
    }
    let label = name.split('.').next().unwrap_or_default();
    let legal = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
    let label: String = label.chars().map(legal).skip_while(|c| !c.is_ascii_alphanumeric()).take(MAX_HOST).collect();
    let label = label.trim_end_matches(['-', '_']);
    out.push_str(if label.is_empty() { NO_NAME } else { label });
}

fn push_tag(out: &mut String, tag: &str) {
    let begin = out.len();
    out.extend(tag.chars().filter(char::is_ascii_alphanumeric).take(MAX_TAG));
    if out.len() == begin {
        out.push_str(NO_NAME);
    }
}

/// `name="value"`, each after a space, except for the first if nothing precedes it.
fn push_facts(line: &mut String, at_begin: bool, params: &[Field<'_>]) {
    for (index, param) in params.iter().filter(|param| !param.value.is_empty()).enumerate() {
        if index > 0 || !at_begin {
            line.push(' ');
        }
        line.push_str(param.name);
        line.push_str("=\"");
        push_escaped(line, &param.value, must_be_escaped);
        line.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header<'a>(timestamp: &'a str, offset: &str, host_name: &'a str, tag: Option<&'a str>) -> String {
        let utc_offset = UtcOffset::try_from(offset.to_owned()).expect("an offset");
        let mut out = String::new();
        Header { facility: Facility::LOCAL0, severity: Severity::Critical, timestamp, utc_offset, host_name, tag }
            .push_to(&mut out);
        out
    }

    #[test]
    fn times_are_those_of_the_zone() {
        for (timestamp, offset, expected) in [
            ("2026-11-17T10:12:45.120Z", "Z", "Nov 17 10:12:45"),
            ("2026-11-07T10:12:45.999Z", "Z", "Nov  7 10:12:45"),
            ("2026-12-31T23:30:00.000Z", "+02:00", "Jan  1 01:30:00"),
            ("2024-03-01T00:10:00.000Z", "-05:30", "Feb 29 18:40:00"),
            ("2026-11-17T10:12:45+02:00", "+00:00", "Nov 17 08:12:45"),
            ("9999-12-31T23:59:59.999Z", "-12:00", "Dec 31 11:59:59"),
        ] {
            assert_eq!(header(timestamp, offset, "h", None), format!("<130>{expected} h "), "{timestamp} {offset}");
        }
        for none in ["", "now", "2026-11-17", "2026-13-17T10:12:45.120Z", "Nov 17 10:12:45"] {
            assert_eq!(header(none, "Z", "h", Some("t")), "<130>t: ", "{none}");
        }
        // Year 10000 in this zone, which RFC 3339 cannot express.
        assert_eq!(header("9999-12-31T23:59:59.999Z", "+14:00", "h", None), "<130>");
    }

    #[test]
    fn a_host_is_its_first_label() {
        for (name, expected) in [
            ("heraldry.example", "heraldry"),
            ("heraldry", "heraldry"),
            ("10.0.0.1", "10.0.0.1"),
            ("10.0.0.1.example", "10"),
            ("2001:db8::1", "2001-db8--1"),
            ("::1", "1"),
            ("::", "heraldry"),
            (" my höst: ", "my-h-st"),
            ("_a_b-c_", "a_b-c"),
            ("", "heraldry"),
            (".example", "heraldry"),
            ("münchen", "m-nchen"),
            ("x\nevil", "x-evil"),
        ] {
            let line = header("2026-11-17T10:12:45.120Z", "Z", name, None);
            assert_eq!(line, format!("<130>Nov 17 10:12:45 {expected} "), "{name:?}");
        }
        for (length, kept) in [(63, 63), (64, 63)] {
            let long = header("2026-11-17T10:12:45.120Z", "Z", &"x".repeat(length), None);
            assert!(long.ends_with(&format!(" {} ", "x".repeat(kept))));
        }
        let long = header("2026-11-17T10:12:45.120Z", "Z", &format!("{}--x", "x".repeat(61)), None);
        assert!(long.ends_with(&format!(" {} ", "x".repeat(61))));
    }

    #[test]
    fn a_tag_is_alphanumeric() {
        for (tag, expected) in [
            ("heraldry", "heraldry"),
            ("heraldry-eu/1", "heraldryeu1"),
            ("--", "heraldry"),
            ("", "heraldry"),
            ("é", "heraldry"),
            ("abcdefghijklmnopqrstuvwxyz0123456", "abcdefghijklmnopqrstuvwxyz012345"),
        ] {
            assert_eq!(header("", "Z", "h", Some(tag)), format!("<130>{expected}: "), "{tag}");
        }
    }
}
