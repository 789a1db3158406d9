//! The strict check of a JSON text: encoding, duplicate members, lone surrogates, depth.
//!
//! serde_json keeps the last of two duplicate members and other parsers keep the first, so a text with duplicates would
//! mean different things to the sender, the host and a formatter. [`scan`] accepts what is plainly strict in one pass over
//! the bytes. Everything else goes through [`Canonical`], which finds the error: it sees every member anyway, to compute the
//! digest.

use std::fmt;
use std::str;

use serde::Deserializer as _;
use serde::de::{DeserializeSeed, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::canonical::{Canonical, Digest};
use super::{number, scan};

/// A text that is not strict JSON, with the position of the first error.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{reason} (line {line}, column {column})")]
pub struct SyntaxError {
    /// The cause, in lower case and without a full stop.
    pub reason: String,
    /// The line, counted from 1.
    pub line: usize,
    /// The column in bytes, counted from 1; 0 if the line is empty.
    pub column: usize,
}

impl SyntaxError {
    fn from_serde(error: &serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        let text = error.to_string();
        let reason = text.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&text).to_owned();
        Self { reason, line, column }
    }

    /// Converts a position in `part` to a position in `whole`; `part` must be a slice of `whole`.
    fn within(mut self, whole: &str, part: &str) -> Self {
        let offset = (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize);
        let before = whole.get(..offset).unwrap_or("");
        if self.line == 1 {
            self.column += before.len() - before.rfind('\n').map_or(0, |newline| newline + 1);
        }
        self.line += before.bytes().filter(|byte| *byte == b'\n').count();
        self
    }
}

/// One JSON value that passed [`check`], borrowed from the input.
#[derive(Clone, Copy, Debug)]
pub struct Document<'a> {
    text: &'a str,
    /// The digest, if it was computed on the way.
    digest: Option<Digest>,
}

impl<'a> Document<'a> {
    /// The value's text, unchanged, without the white space around it.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// The value's digest: equal for equal values, whatever their spelling. Computed when it is asked for, in a pass of its
    /// own: few values need one.
    pub fn digest(&self) -> Digest {
        // The text was checked, so it has a digest.
        self.digest.unwrap_or_else(|| careful(self.text, 0).unwrap_or_default())
    }

    /// Returns true if the value is an array.
    pub fn is_array(&self) -> bool {
        is_array(self.text)
    }
}

/// Returns true if the first character of a JSON text, white space aside, opens an array.
pub fn is_array(text: &str) -> bool {
    trim(text).starts_with('[')
}

/// Decodes UTF-8 without a byte order mark.
///
/// # Errors
/// If the bytes are not UTF-8, or begin with a byte order mark (RFC 8259, section 8.1).
pub fn decode(bytes: &[u8]) -> Result<&str, SyntaxError> {
    match str::from_utf8(bytes) {
        Ok(text) if text.starts_with('\u{feff}') => {
            Err(SyntaxError { reason: "the text begins with a byte order mark".into(), line: 1, column: 1 })
        }
        Ok(text) => Ok(text),
        Err(error) => {
            let good = &bytes[..error.valid_up_to()];
            let line_start = good.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
            Err(SyntaxError {
                reason: "the text is not UTF-8".into(),
                line: 1 + good.iter().filter(|byte| **byte == b'\n').count(),
                column: 1 + good.len() - line_start,
            })
        }
    }
}

/// Checks in one pass that a text is exactly one strict JSON value.
///
/// # Errors
/// [`SyntaxError`] with the position: not JSON (RFC 8259), duplicate members in an object, a lone surrogate, more than
/// [`MAX_DEPTH`](super::MAX_DEPTH) levels.
pub fn check(text: &str) -> Result<Document<'_>, SyntaxError> {
    check_at_depth(text, 0)
}

/// Checks a `part` that is nested `depth` levels deep in `whole`; errors carry positions in `whole`.
///
/// # Errors
/// As [`check`].
pub fn check_part<'a>(whole: &str, part: &'a str, depth: usize) -> Result<Document<'a>, SyntaxError> {
    check_at_depth(part, depth).map_err(|error| error.within(whole, part))
}

fn check_at_depth(text: &str, depth: usize) -> Result<Document<'_>, SyntaxError> {
    let trimmed = trim(text);
    if scan::is_strict(trimmed, depth) {
        return Ok(Document { text: trimmed, digest: None });
    }
    if trimmed.is_empty() {
        return Err(SyntaxError { reason: "there is no JSON value".into(), line: 1, column: 0 });
    }
    let digest = careful(text, depth).map_err(|error| SyntaxError::from_serde(&error))?;
    Ok(Document { text: trimmed, digest: Some(digest) })
}

/// The careful pass: finds the first error, or computes the value's digest.
pub(super) fn careful(text: &str, depth: usize) -> Result<Digest, serde_json::Error> {
    let mut canonical = Canonical::new(depth);
    let mut checked = read(&mut canonical, text);
    // serde_json rounds numbers to doubles and rejects those beyond. Most texts have none that it matters for.
    if (checked.is_err() || canonical.has_doubles()) && number::needs_decimals(text) {
        canonical = Canonical::exact(depth, text);
        checked = read(&mut canonical, &number::blanked(text));
    }
    checked.map(|()| canonical.digest())
}

fn read(canonical: &mut Canonical<'_>, text: &str) -> Result<(), serde_json::Error> {
    let mut parser = serde_json::Deserializer::from_str(text);
    canonical.value().deserialize(&mut parser).and_then(|()| parser.end())
}

/// Splits an array into slices of its text: the first `keep` elements, and the count of all elements.
/// The elements are only checked to be JSON; pass each to [`check_part`].
///
/// # Errors
/// If the text is not an array or not JSON.
pub fn elements(text: &str, keep: usize) -> Result<(Vec<&str>, usize), SyntaxError> {
    let mut parser = serde_json::Deserializer::from_str(text);
    let split = parser.deserialize_seq(Split { keep }).and_then(|split| parser.end().map(|()| split));
    split.map_err(|error| SyntaxError::from_serde(&error))
}

/// Splits an array and checks its elements, in one pass: the first `keep` elements, and the count of all. `None` if the
/// text is not an array, or not plainly strict: then [`elements`] and [`check_part`] say more.
pub fn check_elements(text: &str, keep: usize) -> Option<(Vec<Document<'_>>, usize)> {
    let (elements, count) = scan::strict_elements(text, keep)?;
    Some((elements.into_iter().map(|text| Document { text, digest: None }).collect(), count))
}

/// Splits NDJSON (one JSON value a line) into its values; empty lines are skipped.
pub fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split('\n').map(trim).filter(|line| !line.is_empty())
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\r', '\n'])
}

struct Split {
    keep: usize,
}

impl<'de> Visitor<'de> for Split {
    type Value = (Vec<&'de str>, usize);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut kept = Vec::new();
        let mut count = 0;
        while let Some(element) = seq.next_element::<&'de RawValue>()? {
            count += 1;
            if count <= self.keep {
                kept.push(element.get());
            }
        }
        Ok((kept, count))
    }
}

#[cfg(test)]
mod tests {
    use super::super::canonical::MAX_DEPTH;
    use super::*;

    fn digest(text: &str) -> Digest {
        check(text).unwrap_or_else(|error| panic!("{text}: {error}")).digest()
    }

    #[test]
    fn a_digest_does_not_depend_on_the_pass_that_accepted_the_text() {
        // A name with an escape is beyond the quick pass.
        for (quick, slow) in
            [(r#"{"a":[1e2,"x"]}"#, r#"{"\u0061":[100,"x"]}"#), (r#"{"a":1e400}"#, r#"{"\u0061":10e399}"#)]
        {
            let (quick, slow) = (check(quick).expect("strict"), check(slow).expect("strict"));
            assert_eq!((quick.digest, slow.digest.is_some()), (None, true));
            assert_eq!(quick.digest(), slow.digest());
        }
    }

    fn reason(text: &str) -> String {
        check(text).map(|_| String::new()).unwrap_or_else(|error| error.to_string())
    }

    #[test]
    fn equal_values_have_equal_digests_however_they_are_spelled() {
        for (one, other) in [
            (r#"{"a":1,"b":[true,null]}"#, "{ \"b\" : [ true , null ] ,\n\"a\":1.0}"),
            (r#""\u00e9\n\/""#, "\"é\\n/\""),
            ("100", "1e2"),
            ("0", "-0.0"),
            ("-5", "-5.0"),
            ("0.1", "1e-1"),
            ("18446744073709551615", "18446744073709551615"),
            ("18446744073709551615", "1.8446744073709551615e19"),
            ("1e20", "100000000000000000000"),
            ("[1e20,0.5]", "[100000000000000000000,5e-1]"),
            ("1e400", "1E+400"),
            ("1e400", "10e399"),
            ("1e400", "0.001e403"),
            ("-2.50e-400", "-25e-401"),
            ("{\"a\":1e400,\"b\":9.8}", "{\"b\":9.80,\"a\":10.0E0399}"),
            ("0e400", "0"),
            ("-0e99999999999999999999999", "0"),
            ("1e999999999", "100e999999997"),
            (r#""\ud83d\ude00""#, "\"😀\""),
        ] {
            assert_eq!(digest(one), digest(other), "{one} and {other}");
        }
    }

    #[test]
    fn different_values_have_different_digests() {
        let texts = [
            "null",
            "true",
            "false",
            "0",
            "1",
            "-1",
            "0.5",
            "1e300",
            r#""""#,
            r#""0""#,
            r#""null""#,
            "[]",
            "{}",
            "[[]]",
            "[{}]",
            "[1,2]",
            "[2,1]",
            "[12]",
            r#"{"a":1}"#,
            r#"{"a":"1"}"#,
            r#"{"a":2}"#,
            r#"{"a":{"b":1}}"#,
            r#"{"a":{},"b":1}"#,
            r#"["a",1]"#,
            "18446744073709551615",
            "9223372036854775808",
            "-9223372036854775808",
            "1e400",
            "1e401",
            "-1e400",
            "1.0000000000000000000000001e400",
            "1e-400",
            "1e999999999999999999",
            "1e9999999999999999999999",
            "1e-9999999999999999999999",
            "1e99999999999999999999999",
            // As doubles, each of these is one that stands above or beside it.
            "0.50000000000000000001",
            "18446744073709551616",
            "18446744073709551617",
            "9223372036854775808.5",
            "1e300000",
            "0.1",
            "0.1000000000000000055511151231257827021181583404541015625",
            "4.9e-324",
            "5e-324",
        ];
        for (index, one) in texts.iter().enumerate() {
            for other in &texts[index + 1..] {
                assert_ne!(digest(one), digest(other), "{one} and {other}");
            }
        }
    }

    #[test]
    fn large_values_are_told_apart_too_and_order_of_members_still_does_not_matter() {
        let object = |keys: &mut dyn Iterator<Item = usize>| {
            let members: Vec<String> =
                keys.map(|key| format!("\"key {key}\":[{key},\"{}\"]", "x".repeat(300))).collect();
            format!("{{{}}}", members.join(","))
        };
        let forwards = object(&mut (0..500));
        assert_eq!(digest(&forwards), digest(&object(&mut (0..500).rev())));
        assert_ne!(digest(&forwards), digest(&forwards.replace("[499,", "[498,")));
    }

    #[test]
    fn rejects_duplicate_members_and_other_ambiguities_with_their_position() {
        for (text, expected) in [
            ("", "there is no JSON value (line 1, column 0)"),
            (" \n", "there is no JSON value (line 1, column 0)"),
            (r#"{"a":1,"a":2}"#, r#"duplicate member "a" in one object (line 1, column 13)"#),
            (r#"{"a":1,"\u0061":2}"#, r#"duplicate member "a" in one object (line 1, column 18)"#),
            ("[{\"x\":{\"b\":1,\n\"b\":1}}]", r#"duplicate member "b" in one object (line 2, column 6)"#),
            (r#""\ud83d""#, "unexpected end of hex escape (line 1, column 8)"),
            (r#""\ud83dx""#, "unexpected end of hex escape (line 1, column 8)"),
            (r#""\ude00""#, "lone leading surrogate in hex escape (line 1, column 7)"),
            ("[1e999,01]", "invalid number (line 1, column 9)"),
            ("1e999x", "trailing characters (line 1, column 6)"),
            ("[1e999,1e]", "invalid number (line 1, column 10)"),
            ("{\"a\":1e999,\"b\":1,\"a\":2}", r#"duplicate member "a" in one object (line 1, column 23)"#),
            ("{} x", "trailing characters (line 1, column 4)"),
            ("{\"a\":1,}", "trailing comma (line 1, column 8)"),
            ("NaN", "expected value (line 1, column 1)"),
            ("01", "invalid number (line 1, column 2)"),
            ("\"\u{1}\"", "control character (\\u0000-\\u001F) found while parsing a string (line 1, column 2)"),
            ("[1", "EOF while parsing a list (line 1, column 2)"),
        ] {
            assert_eq!(reason(text), expected, "{text}");
        }
    }

    #[test]
    fn accepts_127_levels_and_not_one_more() {
        let nested =
            |open: &str, close: &str, levels: usize| format!("{}{}", open.repeat(levels), close.repeat(levels));
        assert_eq!(reason(&nested("[", "]", MAX_DEPTH)), "");
        assert!(reason(&nested("[", "]", MAX_DEPTH + 1)).starts_with("recursion limit exceeded"));
        assert_eq!(reason(&(r#"{"a":"#.repeat(MAX_DEPTH) + "1" + &"}".repeat(MAX_DEPTH))), "");
        assert!(!reason(&(r#"{"a":"#.repeat(MAX_DEPTH + 1) + "1" + &"}".repeat(MAX_DEPTH + 1))).is_empty());
        let element = nested("[", "]", MAX_DEPTH);
        let error = check_part(&element, &element, 1).expect_err("one level too deep");
        assert_eq!(error.reason, "more than 127 levels of arrays and objects");
        let element = nested("[", "]", MAX_DEPTH - 1);
        assert!(check_part(&element, &element, 1).is_ok());
    }

    #[test]
    fn accepts_only_utf_8_without_a_byte_order_mark() {
        assert_eq!(decode("{\"é\":1}".as_bytes()), Ok("{\"é\":1}"));
        assert_eq!(
            decode(b"\xef\xbb\xbf{}").expect_err("a byte order mark").reason,
            "the text begins with a byte order mark"
        );
        let error = decode(b"{\n \"a\": \"\xff\"}").expect_err("not UTF-8");
        assert_eq!((error.line, error.column), (2, 8));
    }

    #[test]
    fn splits_an_array_into_slices_and_counts_beyond_what_it_keeps() {
        let text = " [ {\"a\" : 1} ,[2], \"x\" ]\n";
        assert_eq!(elements(text, 9), Ok((vec!["{\"a\" : 1}", "[2]", "\"x\""], 3)));
        assert_eq!(elements(text, 1), Ok((vec!["{\"a\" : 1}"], 3)));
        assert_eq!(elements("[]", 1), Ok((vec![], 0)));
        assert!(elements("{}", 1).is_err());
        assert!(elements("[1,]", 1).is_err());
        assert!(elements("[1] 2", 1).is_err());
        let (documents, count) = check_elements(text, 2).expect("strict");
        assert_eq!((documents.iter().map(Document::text).collect::<Vec<_>>(), count), (vec!["{\"a\" : 1}", "[2]"], 3));
        assert!(check_elements("[{\"a\":1,\"a\":1}]", 9).is_none());
    }

    #[test]
    fn positions_in_a_part_become_positions_in_the_whole() {
        let text = "[1,\n  {\"a\":1,\"a\":1}]";
        let (parts, _) = elements(text, 9).expect("an array");
        let error = check_part(text, parts[1], 1).expect_err("a duplicate member");
        assert_eq!((error.line, error.column), (2, 15));
    }

    #[test]
    fn lines_are_values_without_white_space_around_them() {
        let found: Vec<&str> = lines("{\"a\":1}\r\n\n  \t\n [2] ").collect();
        assert_eq!(found, ["{\"a\":1}", "[2]"]);
    }

    #[test]
    fn a_number_of_a_million_digits_and_an_object_of_many_members_are_handled() {
        assert_eq!(reason(&"1".repeat(1_000_000)), "");
        assert_ne!(digest(&"1".repeat(1_000_000)), digest(&"1".repeat(1_000_001)));
        assert_eq!(reason(&format!("1e{}", "9".repeat(1_000_000))), "");
        assert_eq!(reason(&format!("0.{}", "1".repeat(1_000_000))), "");
        let members: Vec<String> = (0..200_000).map(|key| format!("\"{key}\":0")).collect();
        assert_eq!(reason(&format!("{{{}}}", members.join(","))), "");
    }
}
