//! What the formats of one line share: values without control characters, lines that fit, the RFC 5424
//! header, an event in one sentence, and the parts of a target.

mod fit;
mod target;

use std::borrow::Cow;
use std::fmt::Write as _;

pub use fit::{Field, fit};
pub use target::Target;

use crate::Severity;
use crate::event::{Event, EventType};
use crate::outline::List;
use crate::text::{Rule, bytes, is_bidi, tidy};

/// Stands at the end of every value and message that was cut.
pub const TRUNCATED: &str = "[truncated]";

/// The most bytes of a whole line over syslog when the transport names no limit of its own: what a
/// TLS receiver should take is 8192 (RFC 5425, section 4.3.1), and rsyslog reads what comes after
/// 8096 as a new message.
pub const SYSLOG_MAX_BYTES: usize = 8000;

/// The content type of every line format.
pub const CONTENT_TYPE: &str = "text/plain; charset=utf-8";

/// A value of several lines, for a format that can escape a line feed; elsewhere [`Rule::SPACES`].
pub const LINE_FEEDS: Rule = Rule { control: " ", line_break: "\n" };

/// `text` as a value of a line: without the blanks around it, with `rule` put to it, and at most
/// `max_bytes` long, [`TRUNCATED`] included. Empty when nothing is left.
pub fn value<'a>(text: impl Into<Cow<'a, str>>, rule: Rule, max_bytes: usize) -> Cow<'a, str> {
    match text.into() {
        Cow::Borrowed(text) => clean(text, rule, max_bytes),
        Cow::Owned(text) => {
            let changed = match clean(&text, rule, max_bytes) {
                Cow::Borrowed(same) if same.len() == text.len() => None,
                other => Some(other.into_owned()),
            };
            Cow::Owned(changed.unwrap_or(text))
        }
    }
}

fn clean(text: &str, rule: Rule, max_bytes: usize) -> Cow<'_, str> {
    let blank = |c: char| c.is_whitespace() || c.is_control() || is_bidi(c);
    tidy(text.trim_matches(blank), rule, max_bytes, bytes, TRUNCATED)
}

/// Appends `text` with a backslash in front of each ASCII character that `special` names.
pub fn push_escaped(out: &mut String, text: &str, special: impl Fn(u8) -> bool) {
    let mut from = 0;
    for (at, &byte) in text.as_bytes().iter().enumerate() {
        // Every byte below 0x80 is a character of its own in UTF-8.
        if byte < 0x80 && special(byte) {
            out.push_str(&text[from..at]);
            out.push('\\');
            from = at;
        }
    }
    out.push_str(&text[from..]);
}

/// Facility local0, ours unless the owner of the webhook says otherwise (RFC 5424, section 6.2.1).
pub const LOCAL0: u8 = 16;

/// The HEADER of an RFC 5424 message and the space behind it (section 6.2). PROCID is always nil:
/// what speaks is not a process whose restarts matter to the reader.
#[derive(Clone, Copy, Debug)]
pub struct Header<'a> {
    /// 0 to 23.
    pub facility: u8,
    /// How bad it is (FORMATS, section 8, has the numbers).
    pub severity: Severity,
    /// The time of the event; nil goes out when it is not `YYYY-MM-DDTHH:MM:SS.mmmZ`.
    pub timestamp: &'a str,
    /// The sender's name; what RFC 5424 does not allow in it becomes `-`.
    pub host_name: &'a str,
    /// 1 to 48 printable ASCII characters.
    pub app_name: &'a str,
    /// 1 to 32 printable ASCII characters.
    pub msgid: &'a str,
}

impl Header<'_> {
    /// Appends the header and the space behind it.
    pub fn push_to(&self, out: &mut String) {
        debug_assert!(self.facility <= 23, "there are 24 facilities");
        let severity = match self.severity {
            Severity::Info => 6,
            Severity::Low => 5,
            Severity::Medium => 4,
            Severity::High => 3,
            Severity::Critical => 2,
        };
        let priority = self.facility * 8 + severity;
        let timestamp = if is_timestamp(self.timestamp) { self.timestamp } else { "-" };
        // Writing into a string does not fail.
        let _ = write!(out, "<{priority}>1 {timestamp} ");
        push_name(out, self.host_name, 255);
        out.push(' ');
        push_name(out, self.app_name, 48);
        out.push_str(" - ");
        push_name(out, self.msgid, 32);
        out.push(' ');
    }
}

/// Appends a header field: at most `max` characters of 33 to 126, nil when there is none.
fn push_name(out: &mut String, name: &str, max: usize) {
    let name = name.trim();
    if name.is_empty() {
        out.push('-');
    }
    out.extend(name.chars().take(max).map(|c| if c.is_ascii_graphic() { c } else { '-' }));
}

/// Whether `text` is a TIMESTAMP of RFC 5424 (section 6.2.3) in the one form that the host gives:
/// milliseconds, UTC, no leap second.
fn is_timestamp(text: &str) -> bool {
    const FORM: &[u8; 24] = b"0000-00-00T00:00:00.000Z";
    let bytes = text.as_bytes();
    let in_form = bytes.len() == FORM.len()
        && bytes.iter().zip(FORM).all(|(b, form)| if *form == b'0' { b.is_ascii_digit() } else { b == form });
    if !in_form {
        return false;
    }
    let number = |at: usize| (bytes[at] - b'0') * 10 + (bytes[at + 1] - b'0');
    (1..=12).contains(&number(5))
        && (1..=31).contains(&number(8))
        && number(11) <= 23
        && number(14) <= 59
        && number(17) <= 59
}

/// The event in one sentence: its headline and what is particular about it. Holds text of the event, as
/// it came.
pub fn sentence<'a>(event: &Event<'a>) -> Cow<'a, str> {
    let headline = event.headline();
    let particulars = particulars(event);
    if particulars.is_empty() { headline } else { Cow::Owned(format!("{headline} ({particulars})")) }
}

/// The running text that an event brings: a monitor's message, a finding's description; of a finding
/// without a link also what one would read behind it. Text of the event, as it came.
pub fn prose<'a>(event: &Event<'a>) -> Option<Cow<'a, str>> {
    let group = event.group();
    match event.kind {
        EventType::MonitorAlert => group.text("message"),
        kind if !kind.is_finding() => None,
        _ if group.text("url").is_some() => group.text("description"),
        _ => {
            let description = group.text("description");
            let mut rest = String::new();
            if let Some(remediation) = group.text("remediation") {
                rest.push_str("remediation: ");
                rest.push_str(&remediation);
            }
            push_lists(&mut rest, &event.outline().lists);
            match description {
                Some(description) if rest.is_empty() => Some(description),
                Some(description) => Some(Cow::Owned(format!("{description} ({rest})"))),
                None => (!rest.is_empty()).then_some(Cow::Owned(rest)),
            }
        }
    }
}

/// What the headline leaves out and no field of its own says.
fn particulars(event: &Event<'_>) -> String {
    let group = event.group();
    let text = |member| group.text(member);
    match event.kind {
        EventType::FindingAdded | EventType::CriticalFinding | EventType::MonitorAlert => String::new(),
        EventType::EngagementCompleted => {
            let counts = event.counts();
            let none = counts.iter().all(|(_, count)| count.number() == Some(0.0));
            String::from(if none && !counts.is_empty() { "no findings" } else { "" })
        }
        EventType::FindingVerified => {
            let verification = event.verification();
            let by = verification.text("verified_by").map(|by| format!("verified by {by}").into());
            joined([by, verification.text("method")])
        }
        EventType::PhaseChanged => match (text("index"), text("total")) {
            (Some(index), Some(total)) => format!("{index} of {total}"),
            _ => String::new(),
        },
        EventType::ReportReady => {
            let pages = text("pages").map(|pages| format!("{pages} pages").into());
            joined([text("kind"), text("framework"), text("format"), pages])
        }
        EventType::EngagementSigned => {
            let mut out = text("role").map(Cow::into_owned).unwrap_or_default();
            push_lists(&mut out, &event.outline().lists);
            out
        }
        EventType::RetestCompleted | EventType::SurfaceChanged => {
            let mut out = String::new();
            push_lists(&mut out, &event.outline().lists);
            out
        }
    }
}

fn joined<'a, const N: usize>(parts: [Option<Cow<'a, str>>; N]) -> String {
    let mut out = String::new();
    for part in parts.into_iter().flatten() {
        if !out.is_empty() {
            out.push_str(", ");
        }
        out.push_str(&part);
    }
    out
}

/// `fixed: F-0101; still open: F-0102, F-0103 and 7 more`.
fn push_lists(out: &mut String, lists: &[List<'_>]) {
    for list in lists {
        if !out.is_empty() {
            out.push_str("; ");
        }
        out.extend(list.label.chars().map(|c| c.to_ascii_lowercase()));
        for (index, item) in list.shown.iter().enumerate() {
            out.push_str(if index == 0 { ": " } else { ", " });
            out.push_str(item);
        }
        if list.total > list.shown.len() {
            // Writing into a string does not fail.
            let _ = write!(out, " and {} more", list.total - list.shown.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        let rows = [
            ("plain | a=b \\c é 漢字 🔴", "plain | a=b \\c é 漢字 🔴", "plain | a=b \\c é 漢字 🔴"),
            ("a\0b\u{1b}[0m\u{7f}\u{85}\u{9f}c", "a b [0m   c", "a b [0m   c"),
            ("a\r\nb\nc\rd\u{2028}e\u{2029}f", "a b c d e f", "a\nb\nc\nd\ne\nf"),
            ("\u{202e}evil\u{2066}\u{200f}x\u{2069}", "evilx", "evilx"),
            (" \t\r\n\u{0} padded\u{a0}\u{200e}\n", "padded", "padded"),
            ("\u{0}\u{202e}\n ", "", ""),
        ];
        for (text, spaces, feeds) in rows {
            assert_eq!(value(text, Rule::SPACES, 100), spaces, "{text:?}");
            assert_eq!(value(text, LINE_FEEDS, 100), feeds, "{text:?}");
        }
    }

    #[test]
    fn values_count_bytes_at_the_limit_and_one_over() {
        for unit in ["a", "é", "漢", "🔴", "\n"] {
            let text = format!("x{}x", unit.repeat(40));
            assert_eq!(value(&text, LINE_FEEDS, text.len()), text);
            let short = value(&text, LINE_FEEDS, text.len() - 1);
            assert!(short.len() < text.len(), "{short}");
            let kept = short.strip_suffix(TRUNCATED).expect("the mark");
            assert!(text.starts_with(kept), "{short}");
        }
        assert_eq!(value("abcdefghijklmno", Rule::SPACES, 12), "a[truncated]");
        assert_eq!(value("\u{202e}a\u{202e}b\u{202e}c", Rule::SPACES, 3), "abc");
    }

    #[test]
    fn header_sanitises_every_field() {
        let mut out = String::new();
        let host_name = format!(" my höst\n{}", "x".repeat(300));
        let header = Header {
            facility: 16,
            severity: Severity::Critical,
            timestamp: "2026-11-17T10:12:45.120Z",
            host_name: &host_name,
            app_name: "heraldry",
            msgid: "finding_added",
        };
        header.push_to(&mut out);
        let expected = format!("<130>1 2026-11-17T10:12:45.120Z my-h-st-{} heraldry - finding_added ", "x".repeat(247));
        assert_eq!(out, expected);

        out.clear();
        Header { facility: 0, severity: Severity::Info, timestamp: "now", host_name: "", ..header }.push_to(&mut out);
        assert_eq!(out, "<6>1 - - heraldry - finding_added ");
    }

    #[test]
    fn timestamps() {
        let good = ["2026-11-17T10:12:45.120Z", "0001-01-01T00:00:00.000Z", "2024-02-29T23:59:59.999Z"];
        assert!(good.into_iter().all(is_timestamp));
        let bad = [
            "",
            "2026-11-17T10:12:45Z",
            "2026-11-17t10:12:45.120Z",
            "2026-11-17T10:12:60.120Z",
            "2026-13-17T10:12:45.120Z",
            "2026-11-00T10:12:45.120Z",
            "2026-11-17T24:12:45.120Z",
            "2026-11-17T10:12:45.120+",
            "2026-11-17T10:12:45.120123Z",
        ];
        assert!(!bad.into_iter().any(is_timestamp));
    }
}
