//! The Common Event Format: `CEF:0|Vendor|Product|Version|Signature|Name|Severity|k=v k=v`.

use std::collections::HashMap;

use super::{Row, with_moment};
use crate::limits::Limits;

const HEADER: [&str; 7] = ["CEF version", "Vendor", "Product", "Version", "Signature", "Name", "Severity"];
/// Characters of the header's parts, at most.
const MOST: [(usize, &str, usize); 5] = [
    (1, "CEF vendor", 63),
    (2, "CEF product", 63),
    (3, "CEF version of the product", 31),
    (4, "CEF signature", 1023),
    (5, "CEF name", 512),
];
/// Keys whose values are milliseconds since 1970.
const TIMES: &[&str] = &["rt", "start", "end", "deviceCustomDate1", "deviceCustomDate2"];

/// A line in parts.
pub(super) struct Event {
    header: Vec<String>,
    extension: Vec<Row>,
}

/// Reads a line; none if it is not one.
pub(super) fn read(text: &str) -> Option<Event> {
    let mut rest = text.strip_prefix("CEF:")?;
    let mut header = Vec::new();
    for _ in 0..HEADER.len() {
        let (part, behind) = part(rest)?;
        header.push(part);
        rest = behind;
    }
    Some(Event { header, extension: extension(rest) })
}

/// Reads a part of the header up to its bar.
fn part(text: &str) -> Option<(String, &str)> {
    let mut out = String::new();
    let mut characters = text.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '|' => return Some((out, &text[at + 1..])),
            '\\' => match characters.next()? {
                (_, next @ ('|' | '\\')) => out.push(next),
                (_, next) => out.extend([c, next]),
            },
            _ => out.push(c),
        }
    }
    None
}

fn extension(text: &str) -> Vec<Row> {
    let starts = keys(text);
    let mut rows = Vec::new();
    if let Some((first, _)) = starts.first()
        && !text[..*first].trim().is_empty()
    {
        rows.push(("(no key)".to_owned(), text[..*first].to_owned()));
    }
    for (n, (start, equals)) in starts.iter().enumerate() {
        let end = starts.get(n + 1).map_or(text.len(), |(next, _)| next - 1);
        rows.push((text[*start..*equals].to_owned(), unescaped(&text[equals + 1..end.max(equals + 1)])));
    }
    if starts.is_empty() && !text.trim().is_empty() {
        rows.push(("(no key)".to_owned(), text.to_owned()));
    }
    rows
}

/// Returns where each key begins and where its equals sign stands.
fn keys(text: &str) -> Vec<(usize, usize)> {
    let bytes = text.as_bytes();
    let is_key = |byte: u8| byte.is_ascii_alphanumeric() || b"_.[]".contains(&byte);
    let mut keys = Vec::new();
    let mut word = 0;
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => {
                // An escape is no part of a key.
                word = usize::MAX;
                at += 1;
            }
            b' ' => word = at + 1,
            b'=' if word < at => {
                keys.push((word, at));
                word = usize::MAX;
            }
            byte if !is_key(byte) => word = usize::MAX,
            _ => {}
        }
        at += 1;
    }
    keys
}

fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match characters.next() {
            Some('n' | 'r') => out.push('\n'),
            Some(next @ ('=' | '\\')) => out.push(next),
            Some(next) => out.extend([c, next]),
            None => out.push(c),
        }
    }
    out
}

/// Notes the lengths of the header's parts.
pub(super) fn limits(event: &Event, limits: &mut Limits) {
    for (n, name, most) in MOST {
        limits.add(name, event.header[n].chars().count(), most, "characters");
    }
}

impl Event {
    /// Returns the tables to show.
    pub(super) fn tables(self) -> [(&'static str, Vec<Row>); 2] {
        let values: HashMap<&str, &str> =
            self.extension.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        // A label stands beside its value.
        let is_label = |key: &str| key.strip_suffix("Label").is_some_and(|key| values.contains_key(key));
        let shown = self.extension.iter().filter(|(key, _)| !is_label(key));
        let rows = shown.map(|(key, value)| {
            let name = match values.get(format!("{key}Label").as_str()) {
                Some(label) => format!("{key} ({label})"),
                None => key.clone(),
            };
            (name, if TIMES.contains(&key.as_str()) { with_moment(value) } else { value.clone() })
        });
        let rows = rows.collect();
        let header = HEADER.iter().zip(&self.header).map(|(name, value)| {
            let value = if *name == "Severity" { severity(value) } else { value.clone() };
            ((*name).to_owned(), value)
        });
        [("CEF header", header.collect()), ("Extension", rows)]
    }
}

fn severity(value: &str) -> String {
    let word = match value.parse::<u8>() {
        Ok(0..=3) => "low",
        Ok(4..=6) => "medium",
        Ok(7..=8) => "high",
        Ok(9..=10) => "very high",
        _ => return value.to_owned(),
    };
    format!("{value} ({word})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_in_parts() {
        let line = r"CEF:0|Heraldry|Heraldry|0.1.0|finding_added|Stored XSS \| name=x \\|7|rt=1794920759000 dhost=a.example msg=Kept.\nSee a\=b | c\\d e=f cs1Label=objectId cs1=F-0102";
        let [(_, header), (_, rows)] = read(line).unwrap().tables();
        assert_eq!(header[5].1, "Stored XSS | name=x \\");
        assert_eq!(header[6].1, "7 (high)");
        let expected = [
            ("rt", "1794920759000 (2026-11-17T13:05:59Z)"),
            ("dhost", "a.example"),
            ("msg", "Kept.\nSee a=b | c\\d"),
            ("e", "f"),
            ("cs1 (objectId)", "F-0102"),
        ];
        assert_eq!(rows, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn odd_extensions_lose_nothing() {
        for (text, expected) in [
            ("lost a=1", vec![("(no key)", "lost "), ("a", "1")]),
            ("no pairs", vec![("(no key)", "no pairs")]),
            ("a= b=", vec![("a", ""), ("b", "")]),
            ("a=b=c", vec![("a", "b=c")]),
            ("", vec![]),
        ] {
            let rows: Vec<_> = extension(text);
            let rows: Vec<_> = rows.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            assert_eq!(rows, expected, "{text}");
        }
        assert!(read("CEF:0|a|b|c|d|e").is_none());
    }
}
