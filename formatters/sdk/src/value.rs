//! Lenient access to any JSON inside an event. Values are parsed on access and never rejected: a member that should be
//! a string may be a number, a list or missing, and the event must still be rendered.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::text::is_blank;

/// One JSON value, as posted. Numbers keep their digits: `9.80` stays `9.80`.
#[derive(Debug, Clone, Copy)]
pub struct Value<'a>(&'a RawValue);

/// The members of one JSON object, in order. Lookup is linear: objects in events are small.
#[derive(Debug, Clone, Default)]
pub struct Object<'a> {
    members: Vec<(Text<'a>, Value<'a>)>,
}

impl<'a> Value<'a> {
    /// The value's JSON text.
    pub fn json(self) -> &'a str {
        self.0.get()
    }

    /// The value as `serde_json` holds it.
    pub fn raw(self) -> &'a RawValue {
        self.0
    }

    /// Returns true for `null`, `""`, `[]` and `{}`.
    pub fn is_empty(self) -> bool {
        match self.first() {
            b'n' => true,
            b'"' => self.json() == "\"\"",
            // Only white space between the brackets.
            b'[' | b'{' => self.json()[1..self.json().len() - 1].trim().is_empty(),
            _ => false,
        }
    }

    /// Returns true for an object.
    pub fn is_object(self) -> bool {
        self.first() == b'{'
    }

    /// Returns true for a number.
    pub fn is_number(self) -> bool {
        matches!(self.first(), b'-' | b'0'..=b'9')
    }

    /// The string's text, if the value is a string. A lone surrogate becomes U+FFFD.
    pub fn string(self) -> Option<Cow<'a, str>> {
        (self.first() == b'"').then(|| decode(self.json()))
    }

    /// The value as text for people: a string's text, a number or boolean as written, a list's items separated by
    /// commas, an object's JSON. `None` if the value is empty or has no visible text.
    pub fn text(self) -> Option<Cow<'a, str>> {
        let text = match self.first() {
            b'n' => return None,
            b'"' => decode(self.json()),
            b'[' => {
                let items: Vec<_> = self.items().into_iter().filter_map(Value::text).collect();
                Cow::Owned(items.join(", "))
            }
            _ if self.is_empty() => return None,
            _ => Cow::Borrowed(self.json()),
        };
        (!is_blank(&text)).then_some(text)
    }

    /// The value as a number, also from a string. `None` if it is not one, or if it is not finite.
    pub fn number(self) -> Option<f64> {
        let text = match self.first() {
            b'"' => decode(self.json()),
            _ if self.is_number() => Cow::Borrowed(self.json()),
            _ => return None,
        };
        text.trim().parse().ok().filter(|n: &f64| n.is_finite())
    }

    /// A list's items; any other value as a list of one; none for `null`. Empty items are left out.
    pub fn items(self) -> Vec<Self> {
        let mut items = match self.first() {
            b'[' => serde_json::from_str::<Items<'a>>(self.json()).map(|items| items.0).unwrap_or_default(),
            _ => vec![self],
        };
        items.retain(|item| !item.is_empty());
        items
    }

    /// An object's members; none for any other value.
    pub fn object(self) -> Object<'a> {
        match self.first() {
            b'{' => Object::parse(self.json()).unwrap_or_default(),
            _ => Object::default(),
        }
    }

    fn first(self) -> u8 {
        self.json().as_bytes()[0]
    }
}

impl<'a> Object<'a> {
    /// Parses one JSON object, one level deep.
    ///
    /// # Errors
    /// When the text is not exactly one JSON object.
    pub fn parse(json: &'a str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(json)
    }

    /// The member of that name; it may be `null`.
    pub fn get(&self, name: &str) -> Option<Value<'a>> {
        self.members.iter().find(|(key, _)| key.0 == name).map(|(_, value)| *value)
    }

    /// The member as text, see [`Value::text`].
    pub fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        self.get(name)?.text()
    }

    /// The member's items, see [`Value::items`].
    pub fn items(&self, name: &str) -> Vec<Value<'a>> {
        self.get(name).map(Value::items).unwrap_or_default()
    }

    /// All members in the order of the JSON text.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Value<'a>)> {
        self.members.iter().map(|(key, value)| (&*key.0, *value))
    }
}

/// A string that is copied only if it contains escapes.
#[derive(Debug, Clone)]
struct Text<'a>(Cow<'a, str>);

/// The text of a JSON string literal.
fn decode(literal: &str) -> Cow<'_, str> {
    match serde_json::from_str::<Text<'_>>(literal) {
        Ok(text) => text.0,
        // Only a lone surrogate can fail here: the literal has been parsed once already.
        Err(_) => decode_with_surrogates(literal).into(),
    }
}

/// [`decode`] for a literal with lone surrogates: each becomes U+FFFD.
fn decode_with_surrogates(literal: &str) -> String {
    let body = literal.get(1..literal.len() - 1).unwrap_or_default();
    let mut units = Vec::with_capacity(body.len());
    let mut rest = body.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            units.extend_from_slice(c.encode_utf16(&mut [0; 2]));
            continue;
        }
        units.push(match rest.next() {
            Some('b') => 8,
            Some('t') => 9,
            Some('n') => 10,
            Some('f') => 12,
            Some('r') => 13,
            Some('u') => {
                let unit = rest.as_str().get(..4).and_then(|hex| u16::from_str_radix(hex, 16).ok());
                rest.nth(3);
                unit.unwrap_or(0xFFFD)
            }
            Some(c) => c as u16,
            None => 0xFFFD,
        });
    }
    String::from_utf16_lossy(&units)
}

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct ReadText;
        impl<'de> Visitor<'de> for ReadText {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        from.deserialize_str(ReadText)
    }
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct ReadObject;
        impl<'de> Visitor<'de> for ReadObject {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
                // Typical for a finding; growing the vector from nothing would copy four times.
                let mut members = Vec::with_capacity(16);
                while let Some((key, value)) = map.next_entry::<Text<'de>, &'de RawValue>()? {
                    members.push((key, Value(value)));
                }
                Ok(Object { members })
            }
        }
        from.deserialize_map(ReadObject)
    }
}

struct Items<'a>(Vec<Value<'a>>);

impl<'de> Deserialize<'de> for Items<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct ReadItems;
        impl<'de> Visitor<'de> for ReadItems {
            type Value = Items<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Items<'de>, A::Error> {
                let mut items = Vec::new();
                while let Some(value) = list.next_element::<&'de RawValue>()? {
                    items.push(Value(value));
                }
                Ok(Items(items))
            }
        }
        from.deserialize_seq(ReadItems)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(json: &str) -> Value<'_> {
        Value(serde_json::from_str(json).expect("JSON"))
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
            (r#"{"a": 1}"#, Some(r#"{"a": 1}"#)),
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
        assert_eq!(value("7").items().len(), 1);
        assert_eq!(value(r#"[1,null,"","x"]"#).items().len(), 2);
        assert_eq!(value("null").items().len(), 0);
    }

    #[test]
    fn members_by_name() {
        let object = Object::parse(r#" {"a":1,"b":"x","\u0063":null} "#).expect("object");
        assert_eq!(object.text("b").as_deref(), Some("x"));
        assert_eq!(object.get("c").map(Value::json), Some("null"));
        assert!(object.text("d").is_none());
        assert_eq!(object.iter().map(|(key, _)| key).collect::<Vec<_>>(), ["a", "b", "c"]);
        assert!(Object::parse("[]").is_err());
    }
}
