//! Common parts of the single-line formats: values without control characters, truncation to a limit, an event in one
//! sentence, and the parts of a target.

mod content;
mod fit;
mod target;

use std::borrow::Cow;
use std::fmt::Write as _;

pub use content::Content;
pub(crate) use fit::{Field, fit};
pub use target::{Target, addresses};

use crate::event::{Event, EventType};
use crate::outline::List;
use crate::text::{Rule, bare, bytes, tidy};
use crate::{Error, Payload};

/// The truncation mark at the end of a shortened value or message.
pub const TRUNCATED: &str = "[truncated]";

/// The content type of every line format.
pub const CONTENT_TYPE: &str = "text/plain; charset=utf-8";

/// The rule for multi-line values in a format that can escape a line feed; other formats use [`Rule::SPACES`].
pub const LINE_FEEDS: Rule = Rule { control: " ", line_break: "\n" };

/// `text` as a value: trimmed, cleaned by `rule`, and at most `max_bytes` long, [`TRUNCATED`] included. Empty when
/// nothing visible is left.
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
    tidy(bare(text), rule, max_bytes, bytes, TRUNCATED)
}

/// A finished line as a delivery's payload.
pub(crate) fn line_payload(line: String) -> Payload {
    Payload { content_type: CONTENT_TYPE.into(), headers: Vec::new(), body: line.into_bytes() }
}

/// The error for a header of `head_bytes` that exceeds the transport's limit by itself.
pub(crate) fn too_long(head_bytes: usize, max_bytes: usize) -> Error {
    Error::Internal(format!("the header alone has {head_bytes} bytes, the transport takes {max_bytes}"))
}

/// Appends `text` with a backslash before each ASCII character that `special` selects.
pub(crate) fn push_escaped(out: &mut String, text: &str, special: impl Fn(u8) -> bool) {
    let mut from = 0;
    for (at, &byte) in text.as_bytes().iter().enumerate() {
        // In UTF-8 a byte below 0x80 is a whole character.
        if byte < 0x80 && special(byte) {
            out.push_str(&text[from..at]);
            out.push('\\');
            from = at;
        }
    }
    out.push_str(&text[from..]);
}

/// The event in one sentence: its headline and details. Contains raw text of the event.
pub fn sentence<'a>(event: &Event<'a>) -> Cow<'a, str> {
    let headline = event.headline();
    let details = details(event);
    if details.is_empty() { headline } else { Cow::Owned(format!("{headline} ({details})")) }
}

/// The prose of an event: a monitor's message, the reason of a host event, or a finding's description; for a finding
/// without a link also the texts that the linked page would show. Raw text of the event.
pub fn prose<'a>(event: &Event<'a>) -> Option<Cow<'a, str>> {
    let group = event.group();
    match event.kind {
        EventType::MonitorAlert => group.text("message"),
        kind if kind.is_host() => event.reason(),
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

/// Details that neither the headline nor a separate field contains.
fn details(event: &Event<'_>) -> String {
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
        _ => host_details(event),
    }
}

/// Details of a host event: where a webhook sends, the version of a formatter, how often it happened.
fn host_details(event: &Event<'_>) -> String {
    let (group, webhook) = (event.group(), event.webhook());
    let named = |word: &str, value: Option<Cow<'_, str>>| value.map(|value| Cow::Owned(format!("{word} {value}")));
    let times = event.repetitions().filter(|_| event.kind != EventType::DeliveryFailed);
    let is_formatter = event.kind.group() == "formatter";
    joined([
        group.text("event_type").filter(|_| event.kind == EventType::DeliveryFailed),
        webhook.text("url_host"),
        named("format", webhook.text("format")),
        named("version", group.text("version").filter(|_| is_formatter)),
        times.map(|times| format!("{times} times").into()),
    ])
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
            // Writing into a `String` cannot fail.
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
    fn a_host_event_in_one_sentence() {
        let said = |kind: &str, data: &str| {
            let raw = crate::RawEvent {
                id: "019a".into(),
                type_: kind.into(),
                occurred_at: "2026-11-17T10:12:45.120Z".into(),
                json: format!(r#"{{"type":"{kind}","data":{data}}}"#),
            };
            let event = Event::parse(&raw).expect("an event");
            [sentence(&event).into_owned(), prose(&event).unwrap_or_default().into_owned()]
        };
        let webhook = r#"{"name":"SOC","url_host":"h.example","format":"slack","reason":"why","count":2}"#;
        assert_eq!(
            said("webhook_failing", &format!(r#"{{"webhook":{webhook}}}"#)),
            ["Webhook failing: SOC (h.example, format slack, 2 times)", "why"]
        );
        assert_eq!(
            said(
                "delivery_failed",
                &format!(r#"{{"delivery":{{"event_type":"report_ready","count":2,"webhook":{webhook}}}}}"#)
            ),
            ["2 deliveries failed: SOC (report_ready, h.example, format slack)", ""]
        );
        assert_eq!(
            said("formatter_rolled_back", r#"{"formatter":{"name":"acme","version":"1.3.0","reason":"it failed"}}"#),
            ["Formatter rolled back: acme (version 1.3.0)", "it failed"]
        );
        assert_eq!(said("host_degraded", r#"{"host":{}}"#), ["Heraldry needs attention", ""]);
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
}
