//! One pass over the bytes of a JSON text: the quick half of the strict check, and the steps through a checked text.
//!
//! [`is_strict`] and [`strict_elements`] accept only what the careful pass of [`super::check()`] accepts. What they do not
//! accept has an error, or is too unusual to be worth a branch here (a member's name with an escape): the careful pass
//! tells. Strings are most of a text, so they are searched eight bytes at a time.

use super::canonical::MAX_DEPTH;

/// Members of one object up to which every pair of names is compared; the names of more are sorted.
const PAIRS: usize = 24;

/// Every byte is 1.
const ONES: u64 = u64::MAX / 0xff;
/// Every byte has its highest bit.
const HIGH: u64 = ONES << 7;

/// Returns true if the text is one strict JSON value that may be nested in `depth` levels more.
pub(super) fn is_strict(text: &str, depth: usize) -> bool {
    let mut scan = Scan::new(text, depth);
    scan.space();
    scan.value().is_some() && scan.is_over()
}

/// The first `keep` elements of an array and the number of all, if the text is an array and strict JSON.
pub(super) fn strict_elements(text: &str, keep: usize) -> Option<(Vec<&str>, usize)> {
    let mut scan = Scan::new(text, 0);
    let (mut kept, mut count) = (Vec::new(), 0);
    scan.space();
    scan.array(|from, until| {
        count += 1;
        if count <= keep {
            kept.extend(text.get(from..until));
        }
    })?;
    scan.is_over().then_some((kept, count))
}

/// Passes the name and the value of each member of an object to `each`, both as they are written. The text has passed the
/// strict check.
pub(super) fn members<'t>(object: &'t str, mut each: impl FnMut(&'t str, &'t str)) {
    let mut steps = Steps::inside(object);
    while let Some(name) = steps.value() {
        let Some(value) = steps.value() else { return };
        each(name, value);
    }
}

/// The elements of an array. The text has passed the strict check.
pub(super) fn elements(array: &str) -> impl Iterator<Item = &str> {
    let mut steps = Steps::inside(array);
    std::iter::from_fn(move || steps.value())
}

/// The position of the first byte from `at` on that ends a run of plain characters in a string: a quote, a backslash or
/// a control character.
fn plain_until(bytes: &[u8], mut at: usize) -> Option<usize> {
    while let Some(chunk) = bytes.get(at..at + 8) {
        let word = u64::from_le_bytes(chunk.try_into().ok()?);
        // A borrow out of one byte changes only those above it, so the lowest bit that is set is right.
        let is_zero = |word: u64| word.wrapping_sub(ONES) & !word;
        let is_control = word.wrapping_sub(ONES * 0x20) & !word;
        let found = (is_zero(word ^ (ONES * 0x22)) | is_zero(word ^ (ONES * 0x5c)) | is_control) & HIGH;
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    let is_end = |byte: &u8| matches!(byte, b'"' | b'\\' | ..0x20);
    bytes.get(at..)?.iter().position(is_end).map(|further| at + further)
}

/// The strict pass. Each step returns `None` where the text is not plainly strict.
struct Scan<'t> {
    bytes: &'t [u8],
    at: usize,
    depth: usize,
    /// The names in all open objects, those of the innermost last.
    names: Vec<&'t [u8]>,
}

impl<'t> Scan<'t> {
    fn new(text: &'t str, depth: usize) -> Self {
        Self { bytes: text.as_bytes(), at: 0, depth, names: Vec::new() }
    }

    fn byte(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.byte(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn is_over(&mut self) -> bool {
        self.space();
        self.at == self.bytes.len()
    }

    fn take(&mut self, expected: u8) -> Option<()> {
        let is_there = self.byte() == Some(expected);
        self.at += usize::from(is_there);
        is_there.then_some(())
    }

    fn value(&mut self) -> Option<()> {
        match self.byte()? {
            b'"' => self.string().map(drop),
            b'{' => self.object(),
            b'[' => self.array(|_, _| {}),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            b'n' => self.word(b"null"),
            _ => self.number(),
        }
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        self.bytes.get(self.at..)?.starts_with(word).then(|| self.at += word.len())
    }

    /// Passes a string; returns true if it has an escape.
    fn string(&mut self) -> Option<bool> {
        self.take(b'"')?;
        let mut escaped = false;
        loop {
            self.at = plain_until(self.bytes, self.at)?;
            match self.byte()? {
                b'"' => {
                    self.at += 1;
                    return Some(escaped);
                }
                b'\\' => {
                    escaped = true;
                    self.escape()?;
                }
                _ => return None,
            }
        }
    }

    fn escape(&mut self) -> Option<()> {
        match self.bytes.get(self.at + 1)? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 2,
            b'u' => match self.code_unit()? {
                // The first half of a pair: the second must follow.
                0xd800..=0xdbff => {
                    (0xdc00..=0xdfff).contains(&self.code_unit()?).then_some(())?;
                }
                0xdc00..=0xdfff => return None,
                _ => {}
            },
            _ => return None,
        }
        Some(())
    }

    /// Passes `\u` and four digits.
    fn code_unit(&mut self) -> Option<u32> {
        let digits = self.bytes.get(self.at..self.at + 6)?.strip_prefix(b"\\u")?;
        self.at += 6;
        digits.iter().try_fold(0, |unit, digit| Some(unit * 16 + char::from(*digit).to_digit(16)?))
    }

    fn number(&mut self) -> Option<()> {
        self.at += usize::from(self.byte() == Some(b'-'));
        if self.byte() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.take(b'.').is_some() {
            self.digits()?;
        }
        if matches!(self.byte(), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.byte(), Some(b'+' | b'-')));
            self.digits()?;
        }
        Some(())
    }

    fn digits(&mut self) -> Option<()> {
        let from = self.at;
        while self.byte().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > from).then_some(())
    }

    /// Passes an array; `each` gets where its elements begin and end.
    fn array(&mut self, mut each: impl FnMut(usize, usize)) -> Option<()> {
        self.take(b'[')?;
        self.enter()?;
        self.space();
        if self.take(b']').is_none() {
            loop {
                let from = self.at;
                self.value()?;
                each(from, self.at);
                self.space();
                if self.take(b']').is_some() {
                    break;
                }
                self.take(b',')?;
                self.space();
            }
        }
        self.depth -= 1;
        Some(())
    }

    fn object(&mut self) -> Option<()> {
        self.take(b'{')?;
        self.enter()?;
        let first = self.names.len();
        self.space();
        if self.take(b'}').is_none() {
            loop {
                let from = self.at;
                let escaped = self.string()?;
                // Another spelling of the same name would look like another name.
                (!escaped).then_some(())?;
                self.names.push(self.bytes.get(from..self.at)?);
                self.space();
                self.take(b':')?;
                self.space();
                self.value()?;
                self.space();
                if self.take(b'}').is_some() {
                    break;
                }
                self.take(b',')?;
                self.space();
            }
        }
        are_distinct(self.names.get_mut(first..)?).then_some(())?;
        self.names.truncate(first);
        self.depth -= 1;
        Some(())
    }

    fn enter(&mut self) -> Option<()> {
        self.depth += 1;
        (self.depth <= MAX_DEPTH).then_some(())
    }
}

fn are_distinct(names: &mut [&[u8]]) -> bool {
    if names.len() <= PAIRS {
        return names.iter().enumerate().all(|(index, name)| !names[..index].contains(name));
    }
    // Lengths first: they are at hand, the bytes are anywhere in the text.
    names.sort_unstable_by(|one, other| one.len().cmp(&other.len()).then_with(|| one.cmp(other)));
    names.windows(2).all(|pair| pair[0] != pair[1])
}

/// Steps over the values in an array or an object, whose syntax is known to be right.
struct Steps<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Steps<'t> {
    /// Begins behind the first bracket.
    fn inside(text: &'t str) -> Self {
        Self { text, at: text.find(['[', '{']).map_or(text.len(), |bracket| bracket + 1) }
    }

    /// The next value, or name of a member; `None` at the end.
    fn value(&mut self) -> Option<&'t str> {
        let bytes = self.text.as_bytes();
        while matches!(bytes.get(self.at)?, b' ' | b'\n' | b'\r' | b'\t' | b',' | b':') {
            self.at += 1;
        }
        let from = self.at;
        self.at = match bytes.get(from)? {
            b']' | b'}' => return None,
            b'"' => after_string(bytes, from + 1),
            b'[' | b'{' => after_container(bytes, from),
            _ => {
                let is_part = |byte: &&u8| !matches!(byte, b' ' | b'\n' | b'\r' | b'\t' | b',' | b']' | b'}');
                from + bytes.get(from..)?.iter().take_while(is_part).count()
            }
        };
        self.text.get(from..self.at)
    }
}

/// The position behind the string whose content begins at `at`.
fn after_string(bytes: &[u8], mut at: usize) -> usize {
    while let Some(end) = plain_until(bytes, at) {
        if bytes.get(end) == Some(&b'"') {
            return end + 1;
        }
        at = end + 2;
    }
    bytes.len()
}

/// The position behind the array or object that begins at `at`.
fn after_container(bytes: &[u8], mut at: usize) -> usize {
    let mut open = 0_usize;
    while let Some(byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'"' => at = after_string(bytes, at),
            b'[' | b'{' => open += 1,
            b']' | b'}' => {
                open = open.saturating_sub(1);
                if open == 0 {
                    return at;
                }
            }
            _ => {}
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::check::careful;
    use super::*;

    #[test]
    fn usual_texts_are_accepted_at_once() {
        for text in [
            "null",
            " [ ] ",
            "{}",
            r#"{"type":"finding_added","data":{"finding":{"title":"a\n\u00e9\ud83d\ude00 \"b\"","n":[-0,1.5e-7,0.0,12]}}}"#,
            "{ \"a\" :\r\n\ttrue , \"b\" : [ false ,null ] }",
            "1e400",
            "\"\u{7f}é\u{10ffff}\"",
        ] {
            assert!(is_strict(text, 0), "{text}");
        }
        let members = |count: usize| (0..count).map(|key| format!("\"{key}\":0")).collect::<Vec<_>>().join(",");
        for count in [PAIRS, PAIRS + 1, 5000] {
            assert!(is_strict(&format!("{{{}}}", members(count)), 0), "{count}");
            assert!(!is_strict(&format!("{{\"0\":[],{}}}", members(count)), 0), "{count}, and one twice");
        }
    }

    #[test]
    fn depth_counts_from_the_outermost_value() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(is_strict(&nested(MAX_DEPTH), 0) && !is_strict(&nested(MAX_DEPTH + 1), 0));
        assert!(is_strict(&nested(MAX_DEPTH - 1), 1) && !is_strict(&nested(MAX_DEPTH), 1));
        assert_eq!(strict_elements(&nested(MAX_DEPTH), 9), Some((vec![&nested(MAX_DEPTH)[1..2 * MAX_DEPTH - 1]], 1)));
        assert_eq!(strict_elements(&nested(MAX_DEPTH + 1), 9), None);
    }

    #[test]
    fn the_first_byte_that_ends_a_run_is_found_at_every_place() {
        for length in 0..20 {
            for (end, at) in [(b'"', 0), (b'\\', 3), (0, 7), (0x1f, 8), (b'"', 15), (b'\n', 19)] {
                // Bytes that the arithmetic might mistake: neighbours of those that end a run, and 0x80 and above.
                for around in [b' ', b'!', b'#', b'[', b']', 0x7f, 0x80, 0xa2, 0xdc, 0xff] {
                    let mut bytes = vec![around; length];
                    assert_eq!(plain_until(&bytes, 0), None);
                    if let Some(place) = bytes.get_mut(at) {
                        *place = end;
                        assert_eq!(plain_until(&bytes, 0), Some(at), "{bytes:?}");
                        assert_eq!(plain_until(&bytes, at + 1), None, "{bytes:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn members_and_elements_are_slices_as_they_are_written() {
        let mut found = Vec::new();
        members(r#" { "a\"}" : [1,"]",{"b":"\\"}] ,"c":"x\"y", "d":-1.5e3}"#, |name, value| found.push((name, value)));
        assert_eq!(found, [(r#""a\"}""#, r#"[1,"]",{"b":"\\"}]"#), (r#""c""#, r#""x\"y""#), (r#""d""#, "-1.5e3")]);
        assert_eq!(
            elements(r#"[ null,{"a":[]} , "," ,7]"#).collect::<Vec<_>>(),
            ["null", r#"{"a":[]}"#, r#"",""#, "7"]
        );
        assert_eq!((elements("[]").count(), elements("[ ]").count()), (0, 0));
        assert_eq!(strict_elements(" [1 , [2],{}] ", 2), Some((vec!["1", "[2]"], 3)));
        assert_eq!(
            (strict_elements("{}", 9), strict_elements("[1] 2", 9), strict_elements("[1,]", 9)),
            (None, None, None)
        );
    }

    /// Pieces of JSON and of what is nearly JSON.
    const PIECES: &[&str] = &[
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"a\"",
        "\"b\"",
        "\"\\u0061\"",
        "\"a",
        "\"",
        "\\",
        "\\u",
        "\\ud83d",
        "\\ude00",
        "d83d",
        "0",
        "1",
        "-",
        ".",
        "e",
        "+",
        "01",
        "1.5",
        "-0",
        "1e9",
        "1e999",
        "true",
        "fals",
        "null",
        " ",
        "\n",
        "\u{1}",
        "é",
        "\u{feff}",
        "\"a\":1",
        "{\"a\":1}",
        "[1]",
        "\"x\\\"y\"",
        "\"\\/\\b\\f\\n\\r\\t\"",
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// The promise of this file: no text passes the quick scan that the careful pass rejects.
        #[test]
        fn what_passes_quickly_passes_carefully(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..24)) {
            let text = pieces.concat();
            if is_strict(&text, 0) {
                prop_assert!(careful(&text, 0).is_ok(), "{}", text);
            }
        }

        /// And of any value that serde_json writes, both say the same, so the careful pass is rarely needed.
        #[test]
        fn what_is_written_by_a_library_passes_quickly(value in json(), pretty in any::<bool>()) {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
            let text = text.expect("JSON");
            // A name with an escape is for the careful pass.
            prop_assert!(is_strict(&text, 0) || text.contains('\\'), "{}", text);
            if let serde_json::Value::Array(expected) = &value {
                let parts: Vec<serde_json::Value> =
                    elements(text.trim()).map(|part| serde_json::from_str(part).expect("a value")).collect();
                prop_assert_eq!(&parts, expected);
            }
        }
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        use serde_json::Value;
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,20}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 64, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
                prop::collection::btree_map(".{0,6}", inner, 0..40).prop_map(Value::from_iter),
            ]
        })
    }
}
