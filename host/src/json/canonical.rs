//! The canonical form of a JSON value and its digest; duplicate members are rejected on the way.
//!
//! One pass over the text writes the value into a buffer in an encoding with exactly one spelling for each value: a tag
//! byte, the length, the content; members sorted. A container whose encoding is longer than [`INLINE_BYTES`] is
//! replaced by its SHA-256 as soon as it ends, so that nesting does not copy its bytes once for each level.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use sha2::{Digest as _, Sha256};

use super::number::{Decimal, Exponent, Numbers, Value, value};

/// The deepest nesting of arrays and objects.
pub const MAX_DEPTH: usize = 127;

/// SHA-256 of a JSON value's canonical form: equal for equal values, whatever their order of members, white space,
/// escapes and spelling of numbers, and different for different ones. Numbers are compared by their exact decimal value;
/// only where an exponent has more than 18 digits, another spelling of the same number is another value.
pub type Digest = [u8; 32];

/// Containers up to this many bytes are embedded in their parent as they are, longer ones as a digest.
const INLINE_BYTES: usize = 256;

/// An error repeats at most this much of a member's name, in characters.
const SHOWN_CHARS: usize = 60;

/// A member of an object that is being read; the buffer holds its name, then its value.
struct Member {
    /// The first sort key: comparing integers is faster than comparing names scattered in memory.
    hash: u64,
    start: usize,
    name_bytes: usize,
    end: usize,
}

impl Member {
    fn name<'a>(&self, buffer: &'a [u8]) -> &'a [u8] {
        &buffer[self.start..self.start + self.name_bytes]
    }
}

/// The state of the pass: the encoding so far and the objects that are still open.
pub(super) struct Canonical<'t> {
    /// Set to read numbers exactly: the text that was parsed had all of its numbers [blanked](super::number::blanked),
    /// and these are they.
    exact: Option<Numbers<'t>>,
    /// True once a number was read as a double, which may have rounded it.
    has_doubles: bool,
    buffer: Vec<u8>,
    /// Scratch space in which a container is assembled before it replaces its parts in `buffer`.
    sorted: Vec<u8>,
    /// The members of all open objects, those of the innermost last.
    members: Vec<Member>,
    depth: usize,
}

impl<'t> Canonical<'t> {
    /// Starts at nesting level `depth`.
    pub(super) fn new(depth: usize) -> Self {
        let (buffer, sorted, members) = (Vec::new(), Vec::new(), Vec::new());
        Self { exact: None, has_doubles: false, buffer, sorted, members, depth }
    }

    /// Starts at nesting level `depth`, for a text of which `blanked` makes what is parsed.
    pub(super) fn exact(depth: usize, text: &'t str) -> Self {
        Self { exact: Some(Numbers::of(text)), ..Self::new(depth) }
    }

    /// The serde seed that reads one value.
    pub(super) fn value(&mut self) -> ValueOf<'_, 't> {
        ValueOf(self)
    }

    /// Returns true if a number was read as a double.
    pub(super) fn has_doubles(&self) -> bool {
        self.has_doubles
    }

    /// The digest of the value, once it was read.
    pub(super) fn digest(&self) -> Digest {
        Sha256::digest(&self.buffer).into()
    }

    fn tag_and_length(buffer: &mut Vec<u8>, tag: u8, mut length: u64) {
        buffer.push(tag);
        while length >= 0x80 {
            buffer.push(length as u8 | 0x80);
            length >>= 7;
        }
        buffer.push(length as u8);
    }

    /// A double that no other number of the text's kind rounds to.
    fn double(&mut self, number: f64) {
        // 2^63 and 2^64 are exact as doubles, and every whole double below them converts without loss.
        const I64_END: f64 = 9_223_372_036_854_775_808.0;
        const U64_END: f64 = 18_446_744_073_709_551_616.0;
        if number.fract() == 0.0 && (0.0..U64_END).contains(&number) {
            Self::tag_and_length(&mut self.buffer, b'u', number as u64);
        } else if number.fract() == 0.0 && (-I64_END..0.0).contains(&number) {
            self.negative(number as i64);
        } else {
            self.buffer.push(b'd');
            self.buffer.extend_from_slice(&number.to_bits().to_be_bytes());
        }
    }

    /// A number by its text: in the encoding that it has as an integer or a double where that is exact.
    fn number(&mut self, text: &str) {
        match value(text) {
            Value::Unsigned(integer) => Self::tag_and_length(&mut self.buffer, b'u', integer),
            Value::Negative(integer) => self.negative(integer),
            Value::Double(double) => self.double(double),
            Value::Decimal(decimal) => self.decimal(&decimal),
        }
    }

    fn decimal(&mut self, decimal: &Decimal<'_>) {
        self.buffer.extend_from_slice(if decimal.is_negative { b"x-" } else { b"x+" });
        self.string(&decimal.digits);
        let offset = match decimal.exponent {
            Exponent::Of(exponent) => exponent,
            Exponent::Beyond { is_negative, digits, plus } => {
                self.buffer.push(if is_negative { b'<' } else { b'>' });
                self.string(digits);
                plus
            }
        };
        let sign = if offset < 0 { b'-' } else { b'+' };
        Self::tag_and_length(&mut self.buffer, sign, offset.unsigned_abs());
    }

    fn negative(&mut self, number: i64) {
        Self::tag_and_length(&mut self.buffer, b'-', number.unsigned_abs());
    }

    fn string(&mut self, text: &str) {
        Self::tag_and_length(&mut self.buffer, b's', text.len() as u64);
        self.buffer.extend_from_slice(text.as_bytes());
    }

    fn enter<E: Error>(&mut self) -> Result<(), E> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(E::custom(format_args!("more than {MAX_DEPTH} levels of arrays and objects")));
        }
        Ok(())
    }

    /// Ends an array whose elements are in the buffer from `start`.
    fn end_array(&mut self, start: usize, count: u64) {
        self.sorted.clear();
        Self::tag_and_length(&mut self.sorted, b'[', count);
        self.sorted.extend_from_slice(&self.buffer[start..]);
        self.replace(start);
    }

    /// Ends an object whose members are in the buffer from `start` and in `members` from `first`.
    ///
    /// # Errors
    /// If two members have the same name.
    fn end_object<E: Error>(&mut self, start: usize, first: usize) -> Result<(), E> {
        let buffer = &self.buffer;
        let members = &mut self.members[first..];
        members.sort_unstable_by(|one, other| {
            one.hash.cmp(&other.hash).then_with(|| one.name(buffer).cmp(other.name(buffer)))
        });
        for pair in members.windows(2) {
            if pair[0].hash == pair[1].hash && pair[0].name(buffer) == pair[1].name(buffer) {
                let name = String::from_utf8_lossy(pair[0].name(buffer));
                let shown: String = name.chars().take(SHOWN_CHARS).collect();
                return Err(E::custom(format_args!("duplicate member {shown:?} in one object")));
            }
        }
        self.sorted.clear();
        Self::tag_and_length(&mut self.sorted, b'{', members.len() as u64);
        for member in members {
            Self::tag_and_length(&mut self.sorted, b's', member.name_bytes as u64);
            self.sorted.extend_from_slice(&buffer[member.start..member.end]);
        }
        self.members.truncate(first);
        self.replace(start);
        Ok(())
    }

    fn replace(&mut self, start: usize) {
        self.buffer.truncate(start);
        if self.sorted.len() > INLINE_BYTES {
            self.buffer.push(b'#');
            self.buffer.extend_from_slice(&Sha256::digest(&self.sorted));
        } else {
            self.buffer.extend_from_slice(&self.sorted);
        }
        self.depth -= 1;
    }
}

/// FNV-1a, 64 bits. It only needs to be an order: members with equal hashes are compared by name.
fn hash(name: &[u8]) -> u64 {
    name.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Reads one value into the buffer.
pub(super) struct ValueOf<'c, 't>(&'c mut Canonical<'t>);

impl<'de> DeserializeSeed<'de> for ValueOf<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueOf<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.0.buffer.push(b'n');
        Ok(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.0.buffer.push(if value { b't' } else { b'f' });
        Ok(())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        if let Some(number) = self.0.exact.as_mut().and_then(Numbers::next_text) {
            self.0.number(number);
            return Ok(());
        }
        Canonical::tag_and_length(&mut self.0.buffer, b'u', value);
        Ok(())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        match u64::try_from(value) {
            Ok(value) => Canonical::tag_and_length(&mut self.0.buffer, b'u', value),
            Err(_) => self.0.negative(value),
        }
        Ok(())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.0.has_doubles = true;
        self.0.double(value);
        Ok(())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.0.string(value);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let canonical = self.0;
        canonical.enter()?;
        let start = canonical.buffer.len();
        let mut count = 0;
        while seq.next_element_seed(canonical.value())?.is_some() {
            count += 1;
        }
        canonical.end_array(start, count);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let canonical = self.0;
        canonical.enter()?;
        let (start, first) = (canonical.buffer.len(), canonical.members.len());
        loop {
            let member_start = canonical.buffer.len();
            if map.next_key_seed(NameOf(canonical))?.is_none() {
                break;
            }
            let name = &canonical.buffer[member_start..];
            let (name_hash, name_bytes) = (hash(name), name.len());
            map.next_value_seed(canonical.value())?;
            let end = canonical.buffer.len();
            canonical.members.push(Member { hash: name_hash, start: member_start, name_bytes, end });
        }
        canonical.end_object(start, first)
    }
}

/// Reads a member's name into the buffer.
struct NameOf<'c, 't>(&'c mut Canonical<'t>);

impl<'de> DeserializeSeed<'de> for NameOf<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for NameOf<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<(), E> {
        self.0.buffer.extend_from_slice(name.as_bytes());
        Ok(())
    }
}
