//! The members of one JSON object.

use std::borrow::Cow;
use std::cell::OnceCell;

use serde::de::IgnoredAny;

use super::{Items, Value, scan};

/// The most members among which a name is searched one by one.
const FEW: usize = 32;

/// The lists into which the members of a large object are divided; a power of two.
const BUCKETS: usize = 256;

/// The longest name that a member is found by, in bytes of JSON.
const NAME: usize = 400;

/// The members of one JSON object, in order. What was read of a member is kept: its text, the number of its items, its
/// own members.
#[derive(Debug, Clone, Default)]
pub struct Object<'a> {
    members: Vec<Member<'a>>,
    /// For a large object: the positions of its members by [`bucket`].
    buckets: Vec<Vec<u32>>,
}

#[derive(Debug, Clone)]
struct Member<'a> {
    /// The name as a JSON string.
    name: Value<'a>,
    value: Value<'a>,
    text: OnceCell<Option<Cow<'a, str>>>,
    count: OnceCell<usize>,
    object: OnceCell<Box<Object<'a>>>,
}

impl Member<'_> {
    fn has_name(&self, name: &str) -> bool {
        let own = self.name.json();
        if self.name.is_escaped {
            return own.len() <= NAME && self.name.decode() == name;
        }
        own.len() == name.len() + 2 && own[1..].starts_with(name)
    }
}

impl<'a> Object<'a> {
    /// Parses one JSON object.
    ///
    /// # Errors
    /// When the text is not exactly one JSON object.
    pub fn parse(json: &'a str) -> Result<Self, serde_json::Error> {
        serde_json::from_str::<IgnoredAny>(json)?;
        Self::scan(json.trim_ascii(), 0).ok_or_else(|| serde::de::Error::custom("expected a JSON object"))
    }

    /// The members of an object in JSON that was checked before, and in the same pass the members of the objects in it,
    /// `levels` deep. `None` if the text is not one object.
    pub(crate) fn scan(json: &'a str, levels: usize) -> Option<Self> {
        let (object, end) = Self::scan_at(json, 0, levels)?;
        (end == json.len()).then_some(object)
    }

    fn scan_at(json: &'a str, at: usize, levels: usize) -> Option<(Self, usize)> {
        let bytes = json.as_bytes();
        if *bytes.get(at)? != b'{' {
            return None;
        }
        // Typical for a finding; growing the vector from nothing would copy four times.
        let mut members = Vec::with_capacity(if levels > 0 { 16 } else { 4 });
        let mut at = scan::skip_space(bytes, at + 1);
        while *bytes.get(at)? == b'"' {
            let (name, end) = Value::at(json, at)?;
            at = scan::skip_space(bytes, end);
            if *bytes.get(at)? != b':' {
                return None;
            }
            at = scan::skip_space(bytes, at + 1);
            let object = OnceCell::new();
            let (value, end) = if levels > 0 && *bytes.get(at)? == b'{' {
                let (inner, end) = Self::scan_at(json, at, levels - 1)?;
                // The cell is new, so it takes the value.
                let _ = object.set(Box::new(inner));
                (Value { json: json.get(at..end)?, is_escaped: false }, end)
            } else {
                Value::at(json, at)?
            };
            members.push(Member { name, value, text: OnceCell::new(), count: OnceCell::new(), object });
            at = scan::skip_space(bytes, end);
            if *bytes.get(at)? != b',' {
                break;
            }
            at = scan::skip_space(bytes, at + 1);
        }
        if *bytes.get(at)? != b'}' {
            return None;
        }
        let buckets = if members.len() > FEW { index(&members) } else { Vec::new() };
        Some((Self { members, buckets }, at + 1))
    }

    fn member(&self, name: &str) -> Option<&Member<'a>> {
        match self.buckets.get(bucket(name)) {
            Some(bucket) => {
                bucket.iter().map(|position| &self.members[*position as usize]).find(|member| member.has_name(name))
            }
            None => self.members.iter().find(|member| member.has_name(name)),
        }
    }

    /// The member of that name; it may be `null`.
    pub fn get(&self, name: &str) -> Option<Value<'a>> {
        self.member(name).map(|member| member.value)
    }

    /// The member as text, see [`Value::text`].
    pub fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        let member = self.member(name)?;
        member.text.get_or_init(|| member.value.text()).clone()
    }

    /// The text of the first of these members that has one.
    pub fn first_text(&self, names: &[&str]) -> Option<Cow<'a, str>> {
        names.iter().find_map(|name| self.text(name))
    }

    /// The member's items, see [`Value::items`].
    pub fn items(&self, name: &str) -> Items<'a> {
        self.get(name).map_or(Items { json: "", at: 0, single: None }, Value::items)
    }

    /// The number of the member's items.
    pub fn count(&self, name: &str) -> usize {
        let Some(member) = self.member(name) else { return 0 };
        let value = member.value;
        *member
            .count
            .get_or_init(|| if value.is_list() { scan::count(value.json().as_bytes()) } else { value.items().count() })
    }

    /// The members of the member of that name, if it is an object.
    pub fn object(&self, name: &str) -> Option<&Self> {
        let member = self.member(name).filter(|member| member.value.is_object())?;
        Some(member.object.get_or_init(|| Box::new(member.value.object())))
    }

    /// All members in the order of the JSON text.
    pub fn iter(&self) -> impl Iterator<Item = (Cow<'a, str>, Value<'a>)> {
        self.members.iter().map(|member| (member.name.decode(), member.value))
    }

    /// Returns true if there are no members.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
}

fn index(members: &[Member<'_>]) -> Vec<Vec<u32>> {
    let mut buckets = vec![Vec::new(); BUCKETS];
    for (position, member) in (0_u32..).zip(members) {
        // A longer name is not found by anyone.
        if member.name.json().len() <= NAME {
            buckets[bucket(&member.name.decode())].push(position);
        }
    }
    buckets
}

/// A number that depends on the length and the first eight bytes of a name.
fn bucket(name: &str) -> usize {
    const MIX: u64 = 0x9E37_79B9_7F4A_7C15;
    let word = match name.as_bytes().first_chunk() {
        Some(bytes) => u64::from_le_bytes(*bytes),
        None => name.bytes().fold(0, |word, byte| word << 8 | u64::from(byte)),
    };
    let mixed = (word ^ (name.len() as u64).rotate_left(40)).wrapping_mul(MIX);
    (mixed >> 40) as usize % BUCKETS
}
