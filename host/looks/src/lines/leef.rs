//! The Log Event Extended Format, 1.0 and 2.0.

use super::{Row, with_moment};

const HEADER: [&str; 5] = ["LEEF version", "Vendor", "Product", "Version", "Event id"];

/// A line in parts.
pub(super) struct Event {
    pub(super) id: String,
    pub(super) header: Vec<Row>,
    pub(super) attributes: Vec<Row>,
}

/// Reads a line; none if it is not one. Nothing is escaped in this format.
pub(super) fn read(text: &str) -> Option<Event> {
    let mut rest = text.strip_prefix("LEEF:")?;
    let mut header = Vec::new();
    for name in HEADER {
        let (value, behind) = rest.split_once('|')?;
        header.push((name.to_owned(), value.to_owned()));
        rest = behind;
    }
    let mut delimiter = '\t';
    if header[0].1.starts_with("2.")
        && let Some((written, behind)) = rest.split_once('|')
        && let Some(read) = delimiter_of(written)
    {
        delimiter = read;
        rest = behind;
        header.push(("Delimiter".to_owned(), written.to_owned()));
    }
    let parts = rest.split(delimiter).filter(|part| !part.is_empty());
    let attributes = parts.map(|part| match part.split_once('=') {
        Some(("devTime", value)) => ("devTime".to_owned(), with_moment(value)),
        Some((name, value)) => (name.to_owned(), value.to_owned()),
        None => ("(no key)".to_owned(), part.to_owned()),
    });
    Some(Event { id: header[4].1.clone(), attributes: attributes.collect(), header })
}

/// Reads a delimiter: one character, or its code as `x09` or `0x09`; a tab if there is none.
fn delimiter_of(written: &str) -> Option<char> {
    let mut characters = written.chars();
    match (characters.next(), characters.next()) {
        (None, _) => Some('\t'),
        (Some(only), None) => Some(only),
        _ => {
            let code = written.strip_prefix("0x").or_else(|| written.strip_prefix('x'))?;
            char::from_u32(u32::from_str_radix(code, 16).ok()?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_delimiters() {
        let pairs = |event: Event| {
            event.attributes.into_iter().map(|(name, value)| format!("{name}:{value}")).collect::<Vec<_>>()
        };
        assert_eq!(pairs(read("LEEF:2.0|V|P|1|E|x09|a=1=2\tb=|x\tc").unwrap()), ["a:1=2", "b:|x", "(no key):c"]);
        assert_eq!(pairs(read("LEEF:2.0|V|P|1|E|^|a=1^b=2").unwrap()), ["a:1", "b:2"]);
        assert_eq!(pairs(read("LEEF:1.0|V|P|1|E|a=x|y\tb=2").unwrap()), ["a:x|y", "b:2"]);
        assert_eq!(
            pairs(read("LEEF:2.0|V|P|1|E|devTime=1794910365120").unwrap()),
            ["devTime:1794910365120 (2026-11-17T10:12:45Z)"]
        );
        assert!(read("LEEF:2.0|V|P").is_none());
    }
}
