//! Media types in `Content-Type` and `Accept`.
//!
//! The `mime` crate parses them. It takes neither the empty parameters and the white space that RFC 9110 allows (section
//! 5.6.6) nor escapes in quoted strings (section 5.6.4), so those are normalised first.

use std::borrow::Cow;

use mime::Mime;

/// Parses a media type or a media range with its parameters; `None` if it is malformed.
pub(super) fn parse(text: &str) -> Option<Mime> {
    let mut parts = split(text, ';');
    let mut normal = parts.next()?.trim_matches(WHITE_SPACE).to_owned();
    for parameter in parts.map(|part| part.trim_matches(WHITE_SPACE)).filter(|part| !part.is_empty()) {
        let (name, value) = parameter.split_once('=')?;
        normal.push_str(&format!(";{name}={}", plain(value)?));
    }
    normal.parse::<Mime>().ok().filter(|parsed| !parsed.subtype().as_str().is_empty())
}

/// The quality of a media range, in thousandths (RFC 9110, section 12.4.2); `None` if it is malformed.
pub(super) fn quality(range: &Mime) -> Option<u16> {
    let Some(text) = range.get_param("q") else { return Some(1000) };
    let (whole, rest) = text.as_str().split_once('.').unwrap_or((text.as_str(), ""));
    let is_fraction = rest.len() <= 3 && rest.bytes().all(|digit| digit.is_ascii_digit());
    let thousandths = format!("{rest:0<3}").parse().ok().filter(|_| is_fraction)?;
    match (whole, thousandths) {
        ("0", thousandths) => Some(thousandths),
        ("1", 0) => Some(1000),
        _ => None,
    }
}

/// Optional white space (RFC 9110, section 5.6.3).
pub(super) const WHITE_SPACE: [char; 2] = [' ', '\t'];

/// Splits at a separator outside quoted strings.
pub(super) fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |char| {
        let was_escaped = escaped;
        escaped = quoted && !was_escaped && char == '\\';
        if char == '"' && !was_escaped {
            quoted = !quoted;
        }
        char == separator && !quoted
    })
}

/// A parameter's value as `mime` takes it; `None` if it is neither a token nor a quoted string.
fn plain(value: &str) -> Option<Cow<'_, str>> {
    let Some(inner) = value.strip_prefix('"') else { return Some(Cow::Borrowed(value)).filter(|_| !value.is_empty()) };
    let inner = inner.strip_suffix('"')?;
    let mut text = String::new();
    let mut chars = inner.chars();
    while let Some(char) = chars.next() {
        match char {
            '\\' => text.push(chars.next()?),
            '"' => return None,
            char => text.push(char),
        }
    }
    // mime takes neither these characters nor an empty string. No value that means anything to the host has or is them.
    let text = if text.is_empty() { "_".to_owned() } else { text.replace(['"', '\\', '\t'], "_") };
    Some(Cow::Owned(format!("\"{text}\"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_as_rfc_9110_has_them() {
        for (text, charset) in [
            ("a/b", None),
            ("A/B;", None),
            ("a/b ; ;;\t;", None),
            ("a/b;charset=utf-8;", Some("utf-8")),
            ("a/b\t;\tcharset=utf-8\t;\t", Some("utf-8")),
            (" a/b;CharSet=\"UTF-8\" ; x=y ", Some("utf-8")),
            ("a/b;x=\";charset=latin1\";charset=utf-8", Some("utf-8")),
            ("a/b;x=\"a\\\"b\\\\\";charset=\"u\\tf-8\"", Some("utf-8")),
            ("a/b;x=\"\t\u{e9}\"", None),
            ("a/b;x=\"\"", None),
        ] {
            let parsed = parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(parsed.essence_str(), "a/b", "{text}");
            assert_eq!(parsed.get_param("charset").map(|charset| charset.as_str().to_lowercase()).as_deref(), charset);
        }
        for text in [
            "",
            ";",
            "a",
            "a/",
            "/b",
            "a/b c",
            "a b/c",
            "a/b;x",
            "a/b;x=",
            "a/b;=y",
            "a/b;x =y",
            "a/b;x= y",
            "a/b,c/d",
            "a/b;x=\"y",
            "a/b;x=y\"",
            "a/b;x=\"y\"z",
            "a/b;x=\"y\\\"",
            "a/b;x=\"y\" z",
            "a/b;x=(y)",
        ] {
            assert!(parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn qualities_have_three_digits_at_most() {
        for (text, expected) in [
            ("a/b", Some(1000)),
            ("a/b;q=1", Some(1000)),
            ("a/b;Q=1.000", Some(1000)),
            ("a/b;q=0", Some(0)),
            ("a/b;q=0.", Some(0)),
            ("a/b;q=0.5", Some(500)),
            ("a/b;q=0.05;x=y", Some(50)),
            ("a/b;q=0.001", Some(1)),
            ("a/b;q=0.0001", None),
            ("a/b;q=1.001", None),
            ("a/b;q=2", None),
            ("a/b;q=-1", None),
            ("a/b;q=x", None),
        ] {
            assert_eq!(quality(&parse(text).expect("a range")), expected, "{text}");
        }
    }
}
