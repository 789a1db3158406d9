//! RFC 5424, and the older form of RFC 3164.

use super::Row;
use crate::moment;

const SEVERITIES: [&str; 8] =
    ["emergency", "alert", "critical", "error", "warning", "notice", "informational", "debug"];
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp",
    "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];

/// A line in parts.
pub(super) struct Line<'t> {
    pub(super) header: Vec<Row>,
    /// Elements of structured data with their parameters.
    pub(super) data: Vec<Row2>,
    pub(super) message: &'t str,
}

/// An element's id and its parameters.
type Row2 = (String, Vec<Row>);

/// Reads a line; none if it is not one.
pub(super) fn read(text: &str) -> Option<Line<'_>> {
    let (header, rest) = match text.strip_prefix('<') {
        Some(rest) => {
            let (priority, rest) = rest.split_once('>')?;
            (vec![("Priority".to_owned(), priority_words(priority)?)], rest)
        }
        None => (Vec::new(), text),
    };
    match rest.strip_prefix("1 ") {
        Some(rest) if !header.is_empty() => current(header, rest),
        _ => old(header, rest),
    }
}

fn priority_words(priority: &str) -> Option<String> {
    let is_number = !priority.is_empty() && priority.len() <= 3 && priority.bytes().all(|byte| byte.is_ascii_digit());
    let number: usize = is_number.then(|| priority.parse().ok())??;
    let facility = FACILITIES.get(number / 8)?;
    Some(format!("{number}: {facility}, {}", SEVERITIES[number % 8]))
}

fn current(mut header: Vec<Row>, rest: &str) -> Option<Line<'_>> {
    let mut rest = rest;
    for name in ["Time", "Host", "Application", "Process", "Message id"] {
        let (value, behind) = rest.split_once(' ')?;
        header.push((name.to_owned(), value.to_owned()));
        rest = behind;
    }
    let mut data = Vec::new();
    if let Some(behind) = rest.strip_prefix('-') {
        rest = behind;
    } else {
        while rest.starts_with('[') {
            let (element, behind) = element(rest)?;
            data.push(element);
            rest = behind;
        }
        if data.is_empty() {
            return None;
        }
    }
    let message = rest.strip_prefix(' ').unwrap_or(rest);
    Some(Line { header, data, message: message.strip_prefix('\u{feff}').unwrap_or(message) })
}

/// Reads `[id name="value" ..]`.
fn element(text: &str) -> Option<(Row2, &str)> {
    let inside = text.strip_prefix('[')?;
    let end = inside.find([' ', ']'])?;
    let (id, mut rest) = inside.split_at(end);
    let mut rows = Vec::new();
    while let Some(behind) = rest.strip_prefix(' ') {
        let (name, behind) = behind.split_once("=\"")?;
        if name.contains([' ', ']', '"']) {
            return None;
        }
        let (value, behind) = value(behind)?;
        rows.push((name.to_owned(), value));
        rest = behind;
    }
    Some(((id.to_owned(), rows), rest.strip_prefix(']')?))
}

/// Reads a value up to its closing quote, without its escapes.
fn value(text: &str) -> Option<(String, &str)> {
    let mut out = String::new();
    let mut characters = text.char_indices().peekable();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return Some((out, &text[at + 1..])),
            '\\' => match characters.peek() {
                Some((_, next @ ('"' | '\\' | ']'))) => {
                    out.push(*next);
                    characters.next();
                }
                _ => out.push(c),
            },
            _ => out.push(c),
        }
    }
    None
}

/// Reads `Mmm dd hh:mm:ss host rest`.
fn old(mut header: Vec<Row>, rest: &str) -> Option<Line<'_>> {
    let time = rest.get(..15)?;
    let bytes = time.as_bytes();
    let is_time = moment::is_month(time.get(..3)?)
        && [3, 6].iter().all(|at| bytes[*at] == b' ')
        && [9, 12].iter().all(|at| bytes[*at] == b':')
        && bytes[7].is_ascii_digit();
    let (host, message) = rest.get(15..)?.strip_prefix(' ')?.split_once(' ')?;
    if !is_time {
        return None;
    }
    header.push(("Time".to_owned(), format!("{time} (without year and zone)")));
    header.push(("Host".to_owned(), host.to_owned()));
    let is_tag = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./[]".contains(&byte);
    let tag = message.find(": ").filter(|end| *end <= 48 && message[..*end].bytes().all(is_tag));
    let message = match tag {
        Some(end) => {
            header.push(("Tag".to_owned(), message[..end].to_owned()));
            &message[end + 2..]
        }
        None => message,
    };
    Some(Line { header, data: Vec::new(), message })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_in_parts() {
        let line =
            read(r#"<130>1 2026-11-17T10:12:45.120Z h heraldry - finding_added [a@1 x="1\]\"\\" y=""][b] CRITICAL x"#)
                .unwrap();
        assert_eq!(line.header[0].1, "130: local0, critical");
        assert_eq!(line.header.len(), 6);
        let text = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(line.data[0], ("a@1".to_owned(), vec![text("x", "1]\"\\"), text("y", "")]));
        assert_eq!(line.data[1], ("b".to_owned(), Vec::new()));
        assert_eq!(line.message, "CRITICAL x");
    }

    #[test]
    fn the_older_form() {
        let line = read("<107>Nov  7 12:12:45 host heraldry: CEF:0|x").unwrap();
        assert_eq!(line.header.last().unwrap().1, "heraldry");
        assert_eq!(line.message, "CEF:0|x");
        let line = read("Nov 17 12:12:45 host CEF:0|a: b").unwrap();
        assert_eq!(line.message, "CEF:0|a: b", "what has a bar is no tag");
    }

    #[test]
    fn broken_lines_are_none() {
        for text in [
            "<192>1 - - - - - - x",
            "<>1 x",
            "<14>1 - - - - - [a",
            "<14>1 - - - - - [a x=\"y]",
            "<14>1 - -",
            "<14>Nov 17",
        ] {
            assert!(read(text).is_none(), "{text}");
        }
    }
}
