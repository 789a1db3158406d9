//! Lenient access to any JSON inside an event. Values are read on access and never rejected: a member that should be a
//! string may be a number, a list or missing, and the event must still be rendered.
//!
//! An event may have 256 KiB in any one member, and a call has a limit on instructions, so nothing here reads a byte
//! again and again: bounds are found by [`scan`], an object keeps the text of each member once it was asked for, and
//! the text of a list ends where no format would show more.

mod object;
mod scan;

use std::borrow::Cow;

pub use object::Object;
pub(crate) use scan::equal;

use crate::text::{ELLIPSIS, bare, is_blank};

/// The most items of a list that are read; the others are only counted.
pub const LIST_ITEMS: usize = 1000;

/// The longest text of a list, in bytes: more than any format shows of one value.
pub const LIST_TEXT: usize = 10_000;

/// The longest text that is read as a number, in bytes. A double has at most 767 significant decimal digits.
const NUMBER: usize = 1100;

/// The members by which a small object is shown, the most telling first.
const NAMES: [&str; 20] = [
    "name", "title", "text", "value", "id", "url", "href", "asset", "host", "hostname", "address", "ip", "email",
    "username", "content", "markdown", "summary", "message", "count", "score",
];

/// One JSON value, as posted. Numbers keep their digits: `9.80` stays `9.80`.
#[derive(Debug, Clone, Copy)]
pub struct Value<'a> {
    json: &'a str,
    /// True for a string that contains escapes.
    is_escaped: bool,
}

impl<'a> Value<'a> {
    /// The value that begins at `at`, and its end.
    fn at(json: &'a str, at: usize) -> Option<(Self, usize)> {
        let bounds = scan::value(json.as_bytes(), at)?;
        Some((Self { json: json.get(at..bounds.end)?, is_escaped: bounds.is_escaped }, bounds.end))
    }

    /// The value's JSON text.
    pub fn json(self) -> &'a str {
        self.json
    }

    /// Returns true for `null`, `""`, `[]` and `{}`.
    pub fn is_empty(self) -> bool {
        match self.first() {
            b'n' => true,
            b'"' => self.json.len() == 2,
            // Only white space between the brackets.
            b'[' | b'{' => scan::skip_space(self.json.as_bytes(), 1) == self.json.len() - 1,
            _ => false,
        }
    }

    /// Returns true for an object.
    pub fn is_object(self) -> bool {
        self.first() == b'{'
    }

    /// Returns true for a list.
    pub fn is_list(self) -> bool {
        self.first() == b'['
    }

    /// Returns true for a number.
    pub fn is_number(self) -> bool {
        matches!(self.first(), b'-' | b'0'..=b'9')
    }

    /// The string's text, if the value is a string. A lone surrogate becomes U+FFFD.
    pub fn string(self) -> Option<Cow<'a, str>> {
        (self.first() == b'"').then(|| self.decode())
    }

    /// The value as text for people, without space around it: a string's text, a number or boolean as written, a list's
    /// items separated by commas, an object's name or, if it has none, its JSON. `None` if the value is empty or has no
    /// visible text. The text of a list ends with an ellipsis after [`LIST_TEXT`] bytes or [`LIST_ITEMS`] items.
    pub fn text(self) -> Option<Cow<'a, str>> {
        match self.first() {
            b'n' => None,
            b'"' => visible(self.decode()),
            b'[' => visible(self.list_text()),
            _ if self.is_empty() => None,
            b'{' => Some(self.object().first_text(&NAMES).unwrap_or(Cow::Borrowed(self.json))),
            _ => Some(Cow::Borrowed(self.json)),
        }
    }

    /// The value as a number, also from a string. `None` if it is not one, or if it is not finite.
    pub fn number(self) -> Option<f64> {
        self.magnitude().filter(|number| number.is_finite())
    }

    /// Returns true for a number above zero, also from a string, even one that is beyond a double, such as `1e400`.
    pub fn is_positive(self) -> bool {
        let is_long = self.is_number() && self.json.len() > NUMBER && self.first() != b'-';
        is_long || self.magnitude().is_some_and(|number| number > 0.0)
    }

    /// The value as a number; infinite if it is beyond a double.
    fn magnitude(self) -> Option<f64> {
        if self.json.len() > NUMBER {
            return None;
        }
        let text = match self.first() {
            b'"' => self.decode(),
            _ if self.is_number() => Cow::Borrowed(self.json),
            _ => return None,
        };
        let text = text.trim();
        // Rust also reads words: `inf`, `nan`.
        let is_numeric = text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c));
        text.parse().ok().filter(|number: &f64| is_numeric && !number.is_nan())
    }

    /// A list's items; any other value as a list of one; none for `null`. Empty items are left out.
    pub fn items(self) -> Items<'a> {
        match self.first() {
            b'[' => Items { json: self.json, at: 1, single: None },
            _ => Items { json: "", at: 0, single: (!self.is_empty()).then_some(self) },
        }
    }

    /// An object's members; none for any other value.
    pub fn object(self) -> Object<'a> {
        match self.first() {
            b'{' => Object::scan(self.json, 0).unwrap_or_default(),
            _ => Object::default(),
        }
    }

    fn decode(self) -> Cow<'a, str> {
        if self.is_escaped {
            return Cow::Owned(scan::unescape(self.json));
        }
        Cow::Borrowed(self.json.get(1..self.json.len() - 1).unwrap_or_default())
    }

    /// The items of a list and of the lists in it, in one pass; nothing is copied of a single one.
    fn list_text(self) -> Cow<'a, str> {
        let json = self.json.as_bytes();
        let mut out = Cow::Borrowed("");
        let (mut at, mut read) = (0, 0);
        loop {
            // Lists in lists have no brackets in the text.
            while let Some(b' ' | b'\n' | b'\r' | b'\t' | b',' | b'[' | b']') = json.get(at) {
                at += 1;
            }
            let Some((item, end)) = Self::at(self.json, at) else { return out };
            at = end;
            if item.is_empty() {
                continue;
            }
            if read == LIST_ITEMS || out.len() > LIST_TEXT {
                cut(out.to_mut());
                return out;
            }
            read += 1;
            match item.text() {
                Some(text) if out.is_empty() => out = text,
                Some(text) => {
                    let out = out.to_mut();
                    out.push_str(", ");
                    out.push_str(&text);
                }
                None => {}
            }
        }
    }

    fn first(self) -> u8 {
        self.json.as_bytes()[0]
    }
}

/// The items of a list, read one at a time; see [`Value::items`].
#[derive(Debug, Clone)]
pub struct Items<'a> {
    json: &'a str,
    at: usize,
    /// The value that is not a list.
    single: Option<Value<'a>>,
}

impl<'a> Iterator for Items<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        if self.single.is_some() {
            return self.single.take();
        }
        let json = self.json.as_bytes();
        loop {
            while let Some(b' ' | b'\n' | b'\r' | b'\t' | b',') = json.get(self.at) {
                self.at += 1;
            }
            let (item, end) = Value::at(self.json, self.at)?;
            self.at = end;
            if !item.is_empty() {
                return Some(item);
            }
        }
    }
}

/// The text of the items, separated by `separator`. It ends with an ellipsis after the item with which it exceeds
/// `limit` bytes, or after one item more than [`LIST_ITEMS`]. `None` if there are none.
pub fn joined<'a>(
    items: impl IntoIterator<Item = Cow<'a, str>>,
    separator: &str,
    limit: usize,
) -> Option<Cow<'a, str>> {
    let mut items = items.into_iter();
    let first = items.next()?;
    let Some(second) = items.next() else { return Some(first) };
    let mut out = first.into_owned();
    let mut items = std::iter::once(second).chain(items);
    let mut read = 1;
    while out.len() <= limit && read <= LIST_ITEMS {
        let Some(item) = items.next() else { return Some(Cow::Owned(out)) };
        out.push_str(separator);
        out.push_str(&item);
        read += 1;
    }
    if items.next().is_some() {
        out.push_str(separator);
        out.push_str(ELLIPSIS);
    }
    Some(Cow::Owned(out))
}

/// JSON in which each number beyond a double (`1e400`) is a string: most parsers reject such a number, and the whole
/// document with it.
pub fn with_finite_numbers(json: &str) -> Cow<'_, str> {
    let bytes = json.as_bytes();
    if !scan::may_exceed_a_double(bytes) {
        return Cow::Borrowed(json);
    }
    let mut out = String::new();
    let (mut from, mut at) = (0, 0);
    while let Some(byte) = bytes.get(at) {
        if *byte == b'"' {
            let Some(bounds) = scan::string(bytes, at) else { break };
            at = bounds.end;
            continue;
        }
        if !matches!(byte, b'-' | b'0'..=b'9') {
            at += 1;
            continue;
        }
        let begin = at;
        let mut has_exponent = false;
        while let Some(byte @ (b'-' | b'+' | b'.' | b'0'..=b'9' | b'e' | b'E')) = bytes.get(at) {
            has_exponent |= matches!(byte, b'e' | b'E');
            at += 1;
        }
        // A number that has no exponent needs 309 digits to be beyond a double.
        if (has_exponent || at - begin > 308) && exceeds_a_double(&json[begin..at]) {
            out.push_str(&json[from..begin]);
            out.push('"');
            out.push_str(&json[begin..at]);
            out.push('"');
            from = at;
        }
    }
    if from == 0 {
        return Cow::Borrowed(json);
    }
    out.push_str(&json[from..]);
    Cow::Owned(out)
}

/// Returns true if the number is beyond a double. Nearly all numbers show it by the digits before the point and the
/// exponent, and need not be parsed.
fn exceeds_a_double(number: &str) -> bool {
    let (digits, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let whole = digits.trim_start_matches('-').split('.').next().unwrap_or_default();
    match exponent.parse::<i64>() {
        Ok(exponent) if exponent.saturating_add(whole.len() as i64) <= 308 => false,
        Ok(exponent) if !whole.starts_with('0') && exponent.saturating_add(whole.len() as i64) > 310 => true,
        _ => number.parse::<f64>().is_ok_and(f64::is_infinite),
    }
}

/// The text without space and unseen characters around it; `None` if nothing is visible.
fn visible(text: Cow<'_, str>) -> Option<Cow<'_, str>> {
    if is_blank(&text) {
        return None;
    }
    Some(match text {
        Cow::Borrowed(text) => Cow::Borrowed(bare(text)),
        Cow::Owned(text) => {
            let length = bare(&text).len();
            Cow::Owned(if length == text.len() { text } else { bare(&text).to_owned() })
        }
    })
}

/// Truncates a list's text at its limit and marks it.
fn cut(out: &mut String) {
    out.truncate(out.floor_char_boundary(LIST_TEXT));
    if !out.is_empty() {
        out.push_str(ELLIPSIS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(json: &str) -> Value<'_> {
        Value::at(json, 0).expect("JSON").0
    }

    #[test]
    fn values_of_any_type_as_text() {
        for (json, text) in [
            (r#""a\nb""#, Some("a\nb")),
            ("9.80", Some("9.80")),
            ("12345678901234567890123", Some("12345678901234567890123")),
            ("true", Some("true")),
            ("null", None),
            (r#""""#, None),
            (r#"" \u0000\u202e ""#, None),
            ("[ ]", None),
            ("{ }", None),
            (r#"[null,"a",[1,"b"],{}]"#, Some("a, 1, b")),
            (r#"[["a",[]],[[[true,{"id":7}]]],"\u200b"," b "]"#, Some("a, true, 7, b")),
            (r#"{"a": 1}"#, Some(r#"{"a": 1}"#)),
            (r#"{"id": 1, "name": "nuclei"}"#, Some("nuclei")),
            (r#"{"id": "7", "name": null}"#, Some("7")),
            (r#""  a b\t""#, Some("a b")),
            ("-0", Some("-0")),
            ("1e400", Some("1e400")),
            (r#""\ud800x\ude00\ud83d\ude00\"\/\u00e9é""#, Some("\u{FFFD}x\u{FFFD}😀\"/éé")),
        ] {
            assert_eq!(value(json).text().as_deref(), text, "{json}");
        }
    }

    #[test]
    fn numbers_and_lists_as_they_come() {
        assert_eq!(value("9.8").number(), Some(9.8));
        assert_eq!(value(r#"" 9.8 ""#).number(), Some(9.8));
        assert_eq!(value("1e999").number(), None);
        assert_eq!(value("[9.8]").number(), None);
        assert_eq!(value(r#""inf""#).number(), None);
        assert_eq!(value("7").items().count(), 1);
        assert_eq!(value(r#"[1,null,"", [ ],{ } , "x"]"#).items().count(), 2);
        assert_eq!(value("null").items().count(), 0);
        for json in [
            "[]",
            "[1]",
            r#"[1,null,"", [ ],{ } , "x"]"#,
            r#"[ [1] , [[]],{"a":{}},[ null ],true , -1e5,"\"" ]"#,
            r#"["[","]","{}",[["]"]],{"]":"["}]"#,
        ] {
            assert_eq!(scan::count(json.as_bytes()), value(json).items().count(), "{json}");
        }
    }

    #[test]
    fn a_number_beyond_a_double_is_still_above_zero() {
        let digits = "9".repeat(2000);
        for (json, is_positive) in
            [("1e400", true), ("1", true), (digits.as_str(), true), ("-1e400", false), ("0", false), ("-0", false)]
        {
            assert_eq!(value(json).is_positive(), is_positive, "{json}");
        }
    }

    #[test]
    fn the_text_of_a_list_ends_at_its_limits() {
        let list = |items: usize, item: &str| format!("[{}]", vec![item; items].join(","));
        let whole = list(LIST_ITEMS, "1");
        let text = value(&whole).text().expect("a text");
        assert_eq!(text.split(", ").count(), LIST_ITEMS);
        let more = list(LIST_ITEMS + 1, "1");
        assert_eq!(value(&more).text().expect("a text"), format!("{text}..."));
        let long = list(LIST_TEXT / 10, "\"12345678é\"");
        let text = value(&long).text().expect("a text");
        assert!(text.len() <= LIST_TEXT + 3 && text.len() > LIST_TEXT - 12 && text.ends_with("..."), "{}", text.len());
    }

    #[test]
    fn joined_items_end_beyond_the_limit() {
        let of =
            |items: &'static [&'static str], limit| joined(items.iter().map(|item| Cow::Borrowed(*item)), ",", limit);
        assert_eq!(of(&[], 9), None);
        assert_eq!(of(&["a"], 0).as_deref(), Some("a"));
        assert_eq!(of(&["a", "b", "c"], 9).as_deref(), Some("a,b,c"));
        assert_eq!(of(&["a", "b", "c", "d"], 2).as_deref(), Some("a,b,..."));
    }

    #[test]
    fn numbers_beyond_a_double_become_strings() {
        let digits = "9".repeat(400);
        for (json, expected) in [
            (r#"{"a":1e400,"b":[-1E+999 , 2]}"#, r#"{"a":"1e400","b":["-1E+999" , 2]}"#),
            ("[9e307,10e307,99e307,0.1e309,1e309]", r#"[9e307,10e307,"99e307",0.1e309,"1e309"]"#),
            (
                "[0e999,0.00e400,-1.5E400,1e99999999999999999999]",
                r#"[0e999,0.00e400,"-1.5E400","1e99999999999999999999"]"#,
            ),
            (r#"[1e308,-0,1e-400,"1e400","\"1e400",true]"#, r#"[1e308,-0,1e-400,"1e400","\"1e400",true]"#),
            (&digits, &format!("\"{digits}\"")),
            (&digits[..300], &digits[..300]),
        ] {
            assert_eq!(with_finite_numbers(json), expected, "{json}");
        }
    }

    #[test]
    fn members_by_name() {
        let object = Object::parse(r#" {"a":1,"b":"x","\u0063":null} "#).expect("object");
        assert_eq!(object.text("b").as_deref(), Some("x"));
        assert_eq!(object.get("c").map(Value::json), Some("null"));
        assert!(object.text("d").is_none());
        assert_eq!(object.iter().map(|(key, _)| key).collect::<Vec<_>>(), ["a", "b", "c"]);
        for broken in ["[]", "", "{", r#"{"a"}"#, r#"{"a":}"#, r#"{"a":1,}"#, r#"{"a":1}{}"#, r#"{"a":tru}"#] {
            assert!(Object::parse(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn members_of_a_large_object_are_found_as_in_a_small_one() {
        for count in [1, 32, 33, 5000] {
            let members: Vec<_> = (0..count).map(|n| format!("\"name \\u00e9 {n}\":{n}")).collect();
            let json = format!(r#"{{{},"id":"x","tail":{{"a":[1,2]}}}}"#, members.join(","));
            let object = Object::parse(&json).expect("object");
            for n in [0, count - 1] {
                assert_eq!(object.text(&format!("name é {n}")), Some(n.to_string().into()), "{count}");
            }
            assert_eq!(object.text("id").as_deref(), Some("x"));
            assert_eq!(object.object("tail").map(|tail| tail.count("a")), Some(2));
            assert!(object.get("name é").is_none() && object.object("id").is_none() && object.count("none") == 0);
        }
    }
}
