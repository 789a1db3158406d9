//! Reads an object member by member and collects faults, so that one response lists everything that is wrong.
//!
//! A [`Field`] is a member that is present; an absent one is `None`. So absent, null and a value are three distinct
//! cases everywhere. The text must have passed [`super::check()`].

use std::borrow::Cow;
use std::fmt;
use std::ops::RangeInclusive;

use crate::json::fault::{Faults, token};
use crate::json::number::{self, Whole};
use crate::json::scan;

/// The most faults of one kind that one list or object adds; further ones would tell the client nothing new.
pub const MAX_FAULTS: usize = 100;

/// A fault repeats at most this much of a number, in characters.
const SHOWN_DIGITS: usize = 60;

/// Names longer than this many bytes are not repeated in a pointer.
const MAX_NAME_IN_POINTER: usize = 256;

/// One JSON value with its JSON pointer into the request.
#[derive(Clone, Debug)]
pub struct Field<'a> {
    text: &'a str,
    pointer: Pointer<'a>,
}

/// The steps of a JSON pointer that are kept apart.
const STEPS: usize = 4;

/// A JSON pointer, written only where a fault needs it.
#[derive(Clone, Debug)]
struct Pointer<'a> {
    base: Cow<'a, str>,
    /// The steps from there; those behind the last are empty.
    steps: [Option<Step<'a>>; STEPS],
}

#[derive(Clone, Debug)]
enum Step<'a> {
    Member(Cow<'a, str>),
    Element(usize),
}

impl<'a> Pointer<'a> {
    /// The pointer of a value within this one, or of this value itself if the name is too long to repeat.
    fn below(&self, step: Step<'a>) -> Self {
        if matches!(&step, Step::Member(name) if name.len() > MAX_NAME_IN_POINTER) {
            return self.clone();
        }
        let mut below = match self.steps.last() {
            Some(None) => self.clone(),
            _ => Self { base: self.to_string().into(), steps: Default::default() },
        };
        if let Some(free) = below.steps.iter_mut().find(|step| step.is_none()) {
            *free = Some(step);
        }
        below
    }
}

impl fmt::Display for Pointer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.base)?;
        self.steps.iter().flatten().try_for_each(|step| match step {
            Step::Member(name) => write!(f, "/{}", token(name)),
            Step::Element(index) => write!(f, "/{index}"),
        })
    }
}

/// The JSON type of a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool,
    /// Any number.
    Number,
    /// A string.
    String,
    /// An array.
    Array,
    /// An object.
    Object,
}

impl Kind {
    /// The type as it reads in a sentence, with its article.
    fn named(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool => "a boolean",
            Self::Number => "a number",
            Self::String => "a string",
            Self::Array => "an array",
            Self::Object => "an object",
        }
    }
}

impl<'a> Field<'a> {
    /// A value and its pointer; the text must have passed [`super::check()`].
    pub fn new(text: &'a str, pointer: impl Into<Cow<'a, str>>) -> Self {
        let pointer = Pointer { base: pointer.into(), steps: Default::default() };
        Self { text: text.trim_matches([' ', '\t', '\r', '\n']), pointer }
    }

    /// The `index`th of several values; the text must have passed [`super::check()`].
    pub fn element(text: &'a str, index: usize) -> Self {
        let whole = Self::new(text, "");
        Self { pointer: whole.pointer.below(Step::Element(index)), ..whole }
    }

    /// The value's text, unchanged.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// The JSON pointer of the value.
    pub fn pointer(&self) -> String {
        self.pointer.to_string()
    }

    /// The type, read off the first character: the text is known to be valid.
    pub fn kind(&self) -> Kind {
        match self.text.as_bytes().first() {
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            Some(b'"') => Kind::String,
            Some(b't' | b'f') => Kind::Bool,
            Some(b'n') => Kind::Null,
            _ => Kind::Number,
        }
    }

    /// Returns true if the value is null.
    pub fn is_null(&self) -> bool {
        self.kind() == Kind::Null
    }

    fn wrong_type(&self, expected: &str, faults: &mut Faults) {
        faults.add(self.pointer(), "wrong_type", format!("{expected} is expected here, not {}", self.kind().named()));
    }

    /// The string; adds a fault for any other type.
    pub fn string(&self, faults: &mut Faults) -> Option<String> {
        self.characters(faults).map(Cow::into_owned)
    }

    /// The string, borrowed if it has no escapes; adds a fault for any other type.
    pub fn characters(&self, faults: &mut Faults) -> Option<Cow<'a, str>> {
        if self.kind() == Kind::String {
            return unescaped(self.text);
        }
        self.wrong_type("a string", faults);
        None
    }

    /// The string, if its length in characters (code points) is in the range, which begins at 1; else adds a fault.
    pub fn bounded_string(&self, length: RangeInclusive<usize>, faults: &mut Faults) -> Option<String> {
        let text = self.string(faults)?;
        let chars = text.chars().count();
        if length.contains(&chars) {
            return Some(text);
        }
        let (code, detail) = if chars == 0 {
            ("empty", format!("must have {} to {} characters, and is empty", length.start(), length.end()))
        } else {
            ("too_long", format!("may have at most {} characters, and has {chars}", length.end()))
        };
        faults.add(self.pointer(), code, detail);
        None
    }

    /// The boolean; adds a fault for any other type.
    pub fn boolean(&self, faults: &mut Faults) -> Option<bool> {
        if self.kind() == Kind::Bool {
            return Some(self.text == "true");
        }
        self.wrong_type("true or false", faults);
        None
    }

    /// The whole number in the range; else adds a fault. As in JSON Schema, `3.0` is an integer and `1.5` is not.
    pub fn integer(&self, range: RangeInclusive<u32>, faults: &mut Faults) -> Option<u32> {
        if self.kind() != Kind::Number {
            self.wrong_type("a whole number", faults);
            return None;
        }
        let number = match number::whole(self.text) {
            Whole::Small(number) => u32::try_from(number).ok().filter(|number| range.contains(number)),
            Whole::OutOfRange => None,
            Whole::Fraction => {
                faults.add(self.pointer(), "wrong_type", "a whole number is expected here, not a fraction");
                return None;
            }
        };
        if number.is_none() {
            faults.add(self.pointer(), "out_of_range", format!("must be from {} to {}", range.start(), range.end()));
        }
        number
    }

    /// The value in memory; adds a fault for a number that does not fit into a double.
    pub fn value(&self, faults: &mut Faults) -> Option<serde_json::Value> {
        let value = serde_json::from_str(self.text);
        if value.is_err() {
            let number = number::beyond_double(self.text, SHOWN_DIGITS).unwrap_or_default();
            let detail = format!("has the number {number}, which is beyond the range of a double");
            faults.add(self.pointer(), "out_of_range", detail);
        }
        value.ok()
    }

    /// The array's elements; adds a fault for any other type.
    pub fn elements(&self, faults: &mut Faults) -> Option<Vec<Field<'a>>> {
        if self.kind() != Kind::Array {
            self.wrong_type("a list", faults);
            return None;
        }
        let field = |(index, text)| Field { text, pointer: self.pointer.below(Step::Element(index)) };
        Some(scan::elements(self.text).enumerate().map(field).collect())
    }

    /// All members of the object in document order; adds a fault for any other type.
    pub fn members(&self, faults: &mut Faults) -> Option<Vec<(String, Field<'a>)>> {
        let mut members = Vec::new();
        self.each_member(faults, |name, text| members.push((name.clone().into_owned(), self.below(name, text))))?;
        Some(members)
    }

    /// The members with these names; any others are ignored.
    pub fn open_object(&self, names: &[&str], faults: &mut Faults) -> Option<Object<'a>> {
        self.open_object_noting(names, faults, |_| {})
    }

    /// The members with these names; the names of others are passed to `other`.
    pub fn open_object_noting(
        &self,
        names: &[&str],
        faults: &mut Faults,
        mut other: impl FnMut(&str),
    ) -> Option<Object<'a>> {
        let mut object = Object { pointer: self.pointer.clone(), members: Vec::new() };
        self.each_member(faults, |name, text| {
            if names.contains(&&*name) {
                object.members.push((name.clone(), self.below(name, text)));
            } else {
                other(&name);
            }
        })?;
        Some(object)
    }

    /// The members with these names; any other adds a fault, `read_only` or `unknown_field`.
    pub fn object(&self, names: &[&str], read_only: &[&str], faults: &mut Faults) -> Option<Object<'a>> {
        let mut object = Object { pointer: self.pointer.clone(), members: Vec::new() };
        let mut rejected = Faults::new();
        let mut rejected_count = 0;
        self.each_member(faults, |name, text| {
            if names.contains(&&*name) {
                object.members.push((name.clone(), self.below(name, text)));
            } else if rejected_count < MAX_FAULTS {
                rejected_count += 1;
                let is_read_only = read_only.contains(&&*name);
                let pointer = self.below(name, text).pointer();
                if is_read_only {
                    rejected.add(pointer, "read_only", "is set by the host and cannot be given");
                } else {
                    rejected.add(pointer, "unknown_field", format!("is not known here; known are {}", list(names)));
                }
            }
        })?;
        faults.extend(rejected.into_inner());
        Some(object)
    }

    /// The member of this name.
    fn below(&self, name: Cow<'a, str>, text: &'a str) -> Self {
        Self { text, pointer: self.pointer.below(Step::Member(name)) }
    }

    fn each_member(&self, faults: &mut Faults, mut each: impl FnMut(Cow<'a, str>, &'a str)) -> Option<()> {
        if self.kind() != Kind::Object {
            self.wrong_type("an object", faults);
            return None;
        }
        scan::members(self.text, |name, text| {
            if let Some(name) = unescaped(name) {
                each(name, text);
            }
        });
        Some(())
    }
}

/// The characters of a string.
fn unescaped(string: &str) -> Option<Cow<'_, str>> {
    if string.contains('\\') {
        return serde_json::from_str(string).ok().map(Cow::Owned);
    }
    string.strip_prefix('"')?.strip_suffix('"').map(Cow::Borrowed)
}

/// Joins words as a sentence lists them.
pub fn list(names: &[&str]) -> String {
    names.join(", ")
}

/// The members of an object that the caller named.
#[derive(Debug)]
pub struct Object<'a> {
    pointer: Pointer<'a>,
    members: Vec<(Cow<'a, str>, Field<'a>)>,
}

impl<'a> Object<'a> {
    /// The member of this name, if present.
    pub fn get(&self, name: &str) -> Option<&Field<'a>> {
        self.members.iter().find(|(member, _)| member == name).map(|(_, field)| field)
    }

    /// The member of this name; adds the fault `required` if it is absent.
    pub fn require(&self, name: &str, faults: &mut Faults) -> Option<&Field<'a>> {
        let field = self.get(name);
        if field.is_none() {
            faults.add(format!("{}/{name}", self.pointer), "required", "is missing");
        }
        field
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The faults that `read` adds, as `pointer code`.
    fn faults<T>(text: &str, read: impl FnOnce(&Field<'_>, &mut Faults) -> Option<T>) -> Vec<String> {
        let mut faults = Faults::new();
        read(&Field::new(text, "/x"), &mut faults);
        faults.into_inner().into_iter().map(|fault| format!("{} {}", fault.pointer, fault.code)).collect()
    }

    #[test]
    fn a_whole_number_is_one_however_it_is_written_and_nothing_else_is() {
        for text in ["0", "10", "3.0", "1e1", "-0", "100e-1"] {
            assert!(faults(text, |field, faults| field.integer(0..=10, faults)).is_empty(), "{text}");
        }
        for (text, code) in [
            ("-1", "out_of_range"),
            ("11", "out_of_range"),
            ("1e9", "out_of_range"),
            ("1e300", "out_of_range"),
            ("1e400", "out_of_range"),
            ("-1e400", "out_of_range"),
            ("1e-400", "wrong_type"),
            ("3.00000000000000000001", "wrong_type"),
            ("10.000001", "wrong_type"),
            ("1.5", "wrong_type"),
            ("\"3\"", "wrong_type"),
            ("null", "wrong_type"),
            ("true", "wrong_type"),
            ("[3]", "wrong_type"),
        ] {
            assert_eq!(faults(text, |field, faults| field.integer(0..=10, faults)), [format!("/x {code}")], "{text}");
        }
    }

    #[test]
    fn a_strings_length_is_counted_in_characters() {
        let read = |text: &str| faults(text, |field, faults| field.bounded_string(1..=2, faults));
        assert!(read("\"é😀\"").is_empty());
        assert!(read(r#""\ud83d\ude00\n""#).is_empty());
        assert_eq!(read("\"\""), ["/x empty"]);
        assert_eq!(read("\"abc\""), ["/x too_long"]);
        assert_eq!(read("null"), ["/x wrong_type"]);
    }

    #[test]
    fn unknown_members_are_listed_with_escaped_pointers_up_to_a_limit() {
        let read = |text: &str| faults(text, |field, faults| field.object(&["a"], &["id"], faults).map(drop));
        assert!(read(r#"{"a":1}"#).is_empty());
        assert_eq!(read(r#"{"b/~":1,"id":2,"a":3}"#), ["/x/b~1~0 unknown_field", "/x/id read_only"]);
        assert_eq!(read("[]"), ["/x wrong_type"]);
        assert_eq!(read(&format!(r#"{{"{}":1}}"#, "n".repeat(300))), ["/x unknown_field"]);
        let many: Vec<String> = (0..500).map(|name| format!("\"{name}\":0")).collect();
        assert_eq!(read(&format!("{{{}}}", many.join(","))).len(), MAX_FAULTS);
    }

    #[test]
    fn elements_and_members_know_their_pointers() {
        let mut faults = Faults::new();
        let field = Field::new(r#" {"a/b":[1,{"c":2}]} "#, "");
        let members = field.members(&mut faults).expect("an object");
        let elements = members[0].1.elements(&mut faults).expect("an array");
        assert_eq!((elements[1].pointer().as_str(), elements[1].text()), ("/a~1b/1", "{\"c\":2}"));
    }

    #[test]
    fn a_pointer_may_be_longer_than_what_is_kept_apart() {
        let text = r#"{"a":{"b":{"c/":{"\u0064":{"~e":[0,{"f":1}]}}}}}"#;
        let mut faults = Faults::new();
        let mut field = Field::element(text, 7);
        for pointer in ["/7/a", "/7/a/b", "/7/a/b/c~1", "/7/a/b/c~1/d", "/7/a/b/c~1/d/~0e"] {
            field = field.members(&mut faults).expect("an object").remove(0).1;
            assert_eq!(field.pointer(), pointer);
        }
        let last = field.elements(&mut faults).expect("an array").remove(1);
        let object = last.object(&["g"], &[], &mut faults).expect("an object");
        assert!(object.require("g", &mut faults).is_none());
        let pointers: Vec<String> = faults.into_inner().into_iter().map(|fault| fault.pointer).collect();
        assert_eq!(pointers, ["/7/a/b/c~1/d/~0e/1/f", "/7/a/b/c~1/d/~0e/1/g"]);
    }
}
