//! How values are shown: times in words, and characters that deceive the eye as marks.

use serde_json::Value;

use crate::model::time::Timestamp;

/// A time: in words, and exactly.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct When {
    /// As in `3 min ago`.
    pub(super) words: String,
    /// UTC, RFC 3339.
    pub(super) exact: String,
}

impl When {
    pub(super) fn new(at: Timestamp, now: Timestamp) -> Self {
        let seconds = (now.unix_ms() - at.unix_ms()) / 1000;
        let words = match seconds {
            -1..=1 => "now".to_owned(),
            2.. => format!("{} ago", span(seconds.unsigned_abs())),
            _ => format!("in {}", span(seconds.unsigned_abs())),
        };
        Self { words, exact: at.to_string() }
    }
}

/// A time that may be missing.
pub(super) fn when(at: Option<Timestamp>, now: Timestamp) -> Option<When> {
    at.map(|at| When::new(at, now))
}

/// A length of time in its largest unit.
pub(super) fn span(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// A number and its noun.
pub(super) fn count(number: u64, one: &str, several: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {several}") }
}

/// Room on a disk or in memory.
pub(super) fn bytes(number: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let (mut unit, mut size) = (0, number);
    while size >= 10 * 1024 && unit + 1 < UNITS.len() {
        (unit, size) = (unit + 1, size / 1024);
    }
    format!("{size} {}", UNITS[unit])
}

/// A text as one segment of a path.
pub(super) fn segment(text: &str) -> String {
    let keeps = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~');
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if keeps(byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// A query, with its question mark; without empty values.
pub(super) fn query<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(fields.into_iter().filter(|(_, value)| !value.is_empty()));
    let query = query.finish();
    if query.is_empty() { query } else { format!("?{query}") }
}

/// A text in which characters that deceive the eye (controls, and those that reverse the direction of what follows) are
/// marks, as in `[U+202E]`.
pub(super) fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for char in text.chars() {
        if deceives(char) {
            shown.push_str(&format!("[U+{:04X}]", u32::from(char)));
        } else {
            shown.push(char);
        }
    }
    shown
}

/// Makes every text in a value [`visible`], names of members too.
pub(super) fn make_visible(value: &mut Value) {
    match value {
        Value::String(text) if text.chars().any(deceives) => *text = visible(text),
        Value::Array(items) => items.iter_mut().for_each(make_visible),
        Value::Object(members) => {
            members.values_mut().for_each(make_visible);
            let deceiving: Vec<String> = members.keys().filter(|name| name.chars().any(deceives)).cloned().collect();
            for name in deceiving {
                if let Some(member) = members.remove(&name) {
                    members.insert(visible(&name), member);
                }
            }
        }
        _ => {}
    }
}

fn deceives(char: char) -> bool {
    let hidden = matches!(char, '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}');
    hidden || (char.is_control() && !matches!(char, '\n' | '\t' | '\r'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_their_largest_unit() {
        let words = |seconds: i64| When::new(Timestamp::from_unix_ms(0), Timestamp::from_unix_ms(seconds * 1000)).words;
        for (seconds, expected) in [
            (0, "now"),
            (59, "59 s ago"),
            (120, "2 min ago"),
            (7_200, "2 h ago"),
            (172_800, "2 days ago"),
            (-90, "in 90 s"),
            (-3_600, "in 60 min"),
        ] {
            assert_eq!(words(seconds), expected);
        }
    }

    #[test]
    fn characters_that_deceive_are_marks() {
        assert_eq!(visible("a\u{202e}b\u{0}\u{200b}"), "a[U+202E]b[U+0000][U+200B]");
        assert_eq!(visible("line\n\ttab, \u{e9}, \u{1f600}"), "line\n\ttab, \u{e9}, \u{1f600}");
        let mut value = serde_json::json!({"a\u{202e}": ["\u{7f}", {"b": "\u{2066}"}], "c": 1});
        make_visible(&mut value);
        assert_eq!(value, serde_json::json!({"a[U+202E]": ["[U+007F]", {"b": "[U+2066]"}], "c": 1}));
    }

    #[test]
    fn a_text_is_one_segment_of_a_path() {
        assert_eq!(segment("a/../b?c#d e.f"), "a%2F%2E%2E%2Fb%3Fc%23d%20e%2Ef");
        assert_eq!(query([("a", "1&2"), ("b", "")]), "?a=1%262");
    }

    #[test]
    fn sizes_are_told_in_a_unit() {
        assert_eq!((bytes(0), bytes(10_240), bytes(1 << 40)), ("0 bytes".into(), "10 KiB".into(), "1024 GiB".into()));
    }
}
