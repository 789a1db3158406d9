//! Finds the bounds of values in a JSON text without parsing them: the host has checked the text already, and every
//! byte that is looked at twice counts in a large event. Brackets and strings are matched, nothing else is checked.

/// The end of the white space that begins at `at`.
pub(super) fn skip_space(json: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = json.get(at) {
        at += 1;
    }
    at
}

/// The bounds of a value.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    /// One past the value's last byte.
    pub(super) end: usize,
    /// True for a string that contains escapes.
    pub(super) is_escaped: bool,
}

/// The bounds of the value that begins at `at`. `None` if the text ends before the value does.
pub(super) fn value(json: &[u8], at: usize) -> Option<Bounds> {
    match json.get(at)? {
        b'"' => string(json, at),
        b'[' | b'{' => Some(Bounds { end: container(json, at)?, is_escaped: false }),
        _ => {
            let ends = |byte: &u8| matches!(byte, b',' | b']' | b'}' | b':' | b' ' | b'\n' | b'\r' | b'\t');
            let end = json[at..].iter().position(ends).map_or(json.len(), |length| at + length);
            (end > at).then_some(Bounds { end, is_escaped: false })
        }
    }
}

/// The bounds of the string whose opening quote is at `at`.
pub(super) fn string(json: &[u8], at: usize) -> Option<Bounds> {
    let mut at = at + 1;
    let mut is_escaped = false;
    loop {
        at = plain_end(json, at);
        // Escapes often follow one another.
        while *json.get(at)? == b'\\' {
            is_escaped = true;
            at += 2;
        }
        if *json.get(at)? == b'"' {
            return Some(Bounds { end: at + 1, is_escaped });
        }
    }
}

/// The position of the next quote or backslash, eight bytes at a time; the end of the text if there is none.
fn plain_end(json: &[u8], mut at: usize) -> usize {
    // The lowest bit that is set belongs to the first byte that is zero.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
    while let Some(word) = word(json, at) {
        let found = zeros(word ^ (ONES * 0x22)) | zeros(word ^ (ONES * 0x5C));
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    while json.get(at).is_some_and(|byte| !matches!(byte, b'"' | b'\\')) {
        at += 1;
    }
    at
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// The eight bytes at `at`, the first in the lowest bits; `None` if there are fewer.
fn word(json: &[u8], at: usize) -> Option<u64> {
    json.get(at..).and_then(|rest| rest.first_chunk()).map(|bytes| u64::from_le_bytes(*bytes))
}

/// The highest bit of each byte of the word that equals `byte`.
pub(crate) const fn equal(word: u64, byte: u8) -> u64 {
    let other = word ^ (ONES * byte as u64);
    !(((other & !HIGH) + !HIGH) | other) & HIGH
}

/// The highest bit of each byte of the word that is a digit.
const fn digits(word: u64) -> u64 {
    let other = word ^ (ONES * 0x30);
    !(((other & !HIGH) + ONES * 0x76) | other) & HIGH
}

/// The end of the list or object that begins at `at`. Where no string begins, eight bytes are read at once.
fn container(json: &[u8], mut at: usize) -> Option<usize> {
    let mut depth = 0_u32;
    loop {
        while let Some(word) = word(json, at) {
            if equal(word, b'"') != 0 {
                break;
            }
            // In ASCII, brackets and braces differ in one bit.
            let folded = word | (ONES * 0x20);
            let (opening, closing) = (equal(folded, b'{'), equal(folded, b'}'));
            let closed = closing.count_ones();
            if depth <= closed
                && let Some(byte) = outermost(depth, opening, closing)
            {
                return Some(at + byte + 1);
            }
            depth = (depth + opening.count_ones()).checked_sub(closed)?;
            at += 8;
        }
        // Then eight bytes or strings one by one.
        for _ in 0..8 {
            match *json.get(at)? {
                b'"' => {
                    at = string(json, at)?.end;
                    continue;
                }
                b'[' | b'{' => depth += 1,
                b']' | b'}' => {
                    depth = depth.checked_sub(1)?;
                    if depth == 0 {
                        return Some(at + 1);
                    }
                }
                _ => {}
            }
            at += 1;
        }
    }
}

/// The first byte of a word that closes the last of the brackets that are open.
fn outermost(depth: u32, opening: u64, mut closing: u64) -> Option<usize> {
    let mut closed = 0;
    while closing != 0 {
        let before = (closing & closing.wrapping_neg()) - 1;
        closed += 1;
        if depth + (opening & before).count_ones() <= closed {
            return Some(closing.trailing_zeros() as usize / 8);
        }
        closing &= closing - 1;
    }
    None
}

/// Returns true if an exponent follows a digit, or if some three hundred digits follow one another, be it in a string:
/// most events have neither, and need no closer look. Numbers with fewer digits and no exponent are in a double's range.
pub(super) fn may_exceed_a_double(json: &[u8]) -> bool {
    /// So many words of digits are in every number of 309 digits, wherever it begins.
    const WORDS: u32 = 37;
    let (chunks, rest) = json.as_chunks::<8>();
    let (mut words, mut before) = (0, 0);
    for bytes in chunks {
        let word = u64::from_le_bytes(*bytes);
        let digits = digits(word);
        if equal(word | (ONES * 0x20), b'e') & (digits << 8 | before) != 0 {
            return true;
        }
        before = digits >> 56;
        words = if digits == HIGH { words + 1 } else { 0 };
        if words == WORDS {
            return true;
        }
    }
    let rest = &json[(json.len() - rest.len()).saturating_sub(1)..];
    rest.windows(2).any(|pair| pair[0].is_ascii_digit() && matches!(pair[1], b'e' | b'E'))
}

/// What a byte outside of a string means to [`count`].
#[derive(Clone, Copy)]
enum Class {
    Other,
    Between,
    Quote,
    Open,
    Close,
}

static CLASSES: [Class; 256] = {
    let mut classes = [Class::Other; 256];
    let mut at = 0;
    while at < classes.len() {
        classes[at] = match at as u8 {
            b',' | b' ' | b'\n' | b'\r' | b'\t' => Class::Between,
            b'"' => Class::Quote,
            b'[' | b'{' => Class::Open,
            b']' | b'}' => Class::Close,
            _ => Class::Other,
        };
        at += 1;
    }
    classes
};

/// The number of items of the list `json` that are not empty (`null`, `""`, `[]`, `{}`), in one pass.
pub(super) fn count(json: &[u8]) -> usize {
    let (mut at, mut count) = (1, 0);
    while let Some(byte) = json.get(at) {
        match CLASSES[usize::from(*byte)] {
            Class::Between => at += 1,
            Class::Close => return count,
            Class::Quote => {
                let Some(bounds) = string(json, at) else { return count };
                count += usize::from(bounds.end - at > 2);
                at = bounds.end;
            }
            Class::Open => {
                let (end, is_empty) = skip(json, at + 1);
                count += usize::from(!is_empty);
                at = end;
            }
            Class::Other => {
                let Some(bounds) = value(json, at) else { return count };
                count += usize::from(*byte != b'n');
                at = bounds.end;
            }
        }
    }
    count
}

/// The end of the list or object whose first byte after the bracket is at `at`, and whether it is empty. Byte by byte,
/// because most items are short.
fn skip(json: &[u8], mut at: usize) -> (usize, bool) {
    let (mut depth, mut is_empty) = (1_usize, true);
    while let Some(byte) = json.get(at) {
        match CLASSES[usize::from(*byte)] {
            Class::Between => {}
            Class::Other => is_empty = false,
            Class::Quote => {
                is_empty = false;
                let Some(bounds) = string(json, at) else { break };
                at = bounds.end - 1;
            }
            Class::Open => {
                is_empty = false;
                depth += 1;
            }
            Class::Close => {
                depth -= 1;
                if depth == 0 {
                    return (at + 1, is_empty);
                }
            }
        }
        at += 1;
    }
    (json.len(), is_empty)
}

/// The text of a string literal, quotes included. A lone surrogate becomes U+FFFD.
pub(super) fn unescape(literal: &str) -> String {
    let body = literal.get(1..literal.len() - 1).unwrap_or_default();
    let mut out = String::with_capacity(body.len());
    let mut rest = body;
    while let Some(at) = rest.bytes().position(|byte| byte == b'\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        // Escapes often follow one another.
        while let Some(escape) = rest.strip_prefix('\\') {
            let Some(kind) = escape.chars().next() else { return out };
            rest = &escape[kind.len_utf8()..];
            out.push(match kind {
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'u' => code_point(&mut rest),
                other => other,
            });
        }
    }
    out.push_str(rest);
    out
}

/// The code point after `\u`, with the second half of a surrogate pair (RFC 8259, section 7).
fn code_point(rest: &mut &str) -> char {
    let first = unit(rest);
    if (0xD800..0xDC00).contains(&first)
        && let Some(mut after) = rest.strip_prefix("\\u")
    {
        let second = unit(&mut after);
        if (0xDC00..0xE000).contains(&second) {
            *rest = after;
            let code = 0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00);
            return char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
        }
    }
    char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// Four hexadecimal digits; U+FFFD if there are none.
fn unit(rest: &mut &str) -> u32 {
    let digits = rest.as_bytes().first_chunk::<4>();
    let value = digits.and_then(|digits| {
        digits.iter().try_fold(0, |value, digit| Some(value << 4 | char::from(*digit).to_digit(16)?))
    });
    match value {
        Some(value) => {
            *rest = &rest[4..];
            value
        }
        None => u32::from(char::REPLACEMENT_CHARACTER),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_end_where_they_end() {
        for (json, expected) in [
            ("1,2", "1"),
            ("-1.5e+3]", "-1.5e+3"),
            ("null }", "null"),
            (r#""a\"b\\" ,"c""#, r#""a\"b\\""#),
            (r#""0123456789\u0022abcdefgh",1"#, r#""0123456789\u0022abcdefgh""#),
            (r#"{"a":"}\"]","b":[{}]} ,1"#, r#"{"a":"}\"]","b":[{}]}"#),
            ("[[],[[\"é漢😀 and so on\"]]]]", "[[],[[\"é漢😀 and so on\"]]]"),
            ("12", "12"),
        ] {
            let end = value(json.as_bytes(), 0).map(|bounds| bounds.end);
            assert_eq!(end.and_then(|end| json.get(..end)), Some(expected), "{json}");
        }
        for broken in ["", "\"abc", "\"abc\\", "\"abc\\\"", "[1,2", "{\"a\":[}", ","] {
            assert!(value(broken.as_bytes(), 0).is_none(), "{broken}");
        }
    }

    #[test]
    fn brackets_match_at_every_offset() {
        for inner in
            ["", "[1],[2],[3]", "[[[]]],{\"}\":[]}", "1,2,3,{},[],[[1],[2]],12345", "{\"a\":{\"b\":[\"]\"]}},[[]]"]
        {
            for offset in 0..20 {
                let list = format!("[{}{inner}]", " ".repeat(offset));
                for depth in 0..12 {
                    let nested = format!("{}{list}{}", "[".repeat(depth), "]".repeat(depth));
                    let followed = format!("{nested}],[]");
                    let end = value(followed.as_bytes(), 0).map(|bounds| bounds.end);
                    assert_eq!(end, Some(nested.len()), "{followed}");
                    assert!(value(&nested.as_bytes()[..nested.len() - 1], 0).is_none(), "{nested}");
                }
            }
        }
    }

    #[test]
    fn no_number_beyond_a_double_is_overlooked() {
        for offset in 0..20 {
            let before = "[1,2,\"end\",4]  . 1234".chars().cycle().take(offset).collect::<String>();
            for number in ["1e400", "1E+9", &"7".repeat(309)] {
                assert!(may_exceed_a_double(format!("{before} {number}").as_bytes()), "{before} {number}");
                assert!(may_exceed_a_double(format!("{before} {number}, and so on").as_bytes()), "{before} {number}");
            }
            let plain = format!("{before} eE, e1, 1 e, é9:é, {}", "7".repeat(290));
            assert!(!may_exceed_a_double(plain.as_bytes()), "{plain}");
        }
    }

    #[test]
    fn strings_of_every_length_and_offset_end_at_their_quote() {
        for length in 0..40 {
            for escape in ["", "\\\"", "\\\\", "\\n\\n\\\\"] {
                let literal = format!("\"{}{escape}{}\"", "x".repeat(length), "é".repeat(length % 7));
                let bounds = value(format!("{literal}\\\"").as_bytes(), 0).expect("it ends");
                assert_eq!((bounds.end, bounds.is_escaped), (literal.len(), !escape.is_empty()), "{literal}");
            }
        }
    }

    #[test]
    fn escapes_are_read_as_serde_json_reads_them() {
        for literal in [r#""\"\\\/\b\f\n\r\t""#, r#""a\u00e9\u6f22\ud83d\ude00b""#, r#""\u0000\u001f é""#, r#""""#] {
            assert_eq!(unescape(literal), serde_json::from_str::<String>(literal).expect("a string"), "{literal}");
        }
        for (literal, expected) in [
            (r#""\ud800x\ude00\ud83d\ude00""#, "\u{FFFD}x\u{FFFD}😀"),
            (r#""\ud83d\u0041""#, "\u{FFFD}A"),
            (r#""\ud83d\ud83d\ude00""#, "\u{FFFD}😀"),
            (r#""\u12""#, "\u{FFFD}12"),
            (r#""\""#, ""),
            (r#""\é""#, "é"),
        ] {
            assert_eq!(unescape(literal), expected, "{literal}");
        }
    }
}
