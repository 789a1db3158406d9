//! Fitting a line into its limit: what is shortened, in which order.

use std::borrow::Cow;

use super::TRUNCATED;

/// Values are not truncated below this length; instead fields are dropped, the last one first.
const SHORTEST_VALUE_BYTES: usize = TRUNCATED.len() + 29;

/// A field of a line, with its value unescaped.
#[derive(Debug)]
pub(crate) struct Field<'a> {
    /// The key or parameter name.
    pub(crate) name: &'static str,
    /// The label that CEF writes in addition to the key; not part of the value.
    pub(crate) label: Option<&'a str>,
    /// The value, cleaned by [`super::value`].
    pub(crate) value: Cow<'a, str>,
    /// The bytes that the field takes besides its value.
    pub(crate) frame_bytes: usize,
    /// Selects the bytes, all ASCII, that have to be escaped.
    pub(crate) is_special: fn(u8) -> bool,
    /// The extra bytes that escaping adds for each of them.
    pub(crate) escape_bytes: usize,
    /// Never truncate: a part of the value (a number, an address, an id) would be wrong or useless.
    pub(crate) atomic: bool,
}

impl Field<'_> {
    /// The length of the escaped value, in bytes.
    fn escaped_bytes(&self) -> usize {
        self.escaped_bytes_of(&self.value)
    }

    fn escaped_bytes_of(&self, value: &str) -> usize {
        value.len() + value.bytes().filter(|&b| (self.is_special)(b)).count() * self.escape_bytes
    }

    /// The length of the whole field with an escaped value of `length`; zero if the value is empty, since the field is
    /// not written then.
    fn bytes(&self, length: usize) -> usize {
        if self.value.is_empty() { 0 } else { self.frame_bytes + length }
    }

    /// Truncates the value to at most `max_bytes` once escaped, truncation mark included. Clears it if there is no room
    /// for the mark.
    fn cut(&mut self, max_bytes: usize) {
        if self.escaped_bytes() <= max_bytes {
            return;
        }
        let Some(room) = max_bytes.checked_sub(self.escaped_bytes_of(TRUNCATED)) else {
            self.value = Cow::Borrowed("");
            return;
        };
        // A value that was truncated before gets one mark, not two.
        let value = self.value.strip_suffix(TRUNCATED).unwrap_or(&self.value);
        let mut used = 0;
        let end = value.char_indices().find_map(|(at, c)| {
            let escape = u8::try_from(c).is_ok_and(self.is_special);
            used += c.len_utf8() + usize::from(escape) * self.escape_bytes;
            (used > room).then_some(at)
        });
        // A zero-width joiner would tie the mark to the character before it.
        let kept = value[..end.unwrap_or(value.len())].trim_end_matches(|c: char| c.is_whitespace() || c == '\u{200D}');
        self.value = Cow::Owned([kept, TRUNCATED].concat());
    }
}

/// Makes `text` and `fields` fit into `room` bytes. First truncates `text`, but not below an eighth of the room; then
/// the longest values, all to one common length; then drops fields from the last one on, except for the first
/// `essential` ones, and marks `text` as truncated. Returns false if the essential fields alone do not fit.
#[must_use]
pub(crate) fn fit(text: &mut Field<'_>, fields: &mut Vec<Field<'_>>, essential: usize, room: usize) -> bool {
    // Counted once: values may be long, and many fields may have to be dropped.
    let mut lengths: Vec<usize> = fields.iter().map(Field::escaped_bytes).collect();
    let mut text_length = text.escaped_bytes();
    let whole: usize = fields.iter().zip(&lengths).map(|(field, length)| field.bytes(*length)).sum();
    if text.bytes(text_length) + whole <= room {
        return true;
    }
    loop {
        let text_frame = if text.value.is_empty() { 0 } else { text.frame_bytes };
        let least_text = text_length.min(room / 8);
        let fixed = |(field, length): (&Field<'_>, &usize)| {
            if field.atomic { field.bytes(*length) } else { field.frame_bytes }
        };
        let frames = text_frame + fields.iter().zip(&lengths).map(fixed).sum::<usize>();
        if let Some(left) = room.checked_sub(frames) {
            let flexible: Vec<usize> =
                fields.iter().zip(&lengths).filter(|(field, _)| !field.atomic).map(|(_, length)| *length).collect();
            let values: usize = flexible.iter().sum();
            if left >= values + least_text {
                text.cut(left - values);
                return true;
            }
            let longest = level(flexible, left.saturating_sub(least_text));
            if longest >= SHORTEST_VALUE_BYTES {
                for (field, length) in fields.iter_mut().zip(&mut lengths).filter(|(field, _)| !field.atomic) {
                    field.cut(longest);
                    *length = field.escaped_bytes();
                }
                continue;
            }
        }
        if fields.len() <= essential {
            return false;
        }
        fields.pop();
        lengths.pop();
        if !text.value.ends_with(TRUNCATED) {
            text.value.to_mut().push_str(TRUNCATED);
            text_length += text.escaped_bytes_of(TRUNCATED);
        }
    }
}

/// The common maximum length at which all lengths together fit into `room`.
fn level(mut lengths: Vec<usize>, mut room: usize) -> usize {
    lengths.sort_unstable();
    for (index, &length) in lengths.iter().enumerate() {
        let share = room / (lengths.len() - index);
        if length > share {
            return share;
        }
        room -= length;
    }
    lengths.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn field(value: &str) -> Field<'_> {
        Field {
            name: "n",
            label: None,
            value: Cow::Borrowed(value),
            frame_bytes: 3,
            is_special: |b| b == b']',
            escape_bytes: 1,
            atomic: false,
        }
    }

    fn total(text: &Field<'_>, fields: &[Field<'_>]) -> usize {
        let bytes = |field: &Field<'_>| field.bytes(field.escaped_bytes());
        bytes(text) + fields.iter().map(bytes).sum::<usize>()
    }

    #[test]
    fn the_text_is_truncated_first() {
        let long = "x".repeat(200);
        let (mut text, mut fields) = (field(&long), vec![field("short"), field("value")]);
        assert!(fit(&mut text, &mut fields, 0, 219));
        assert_eq!(text.value, long);
        assert!(fit(&mut text, &mut fields, 0, 218));
        assert_eq!(text.value, format!("{}{TRUNCATED}", "x".repeat(187)));
        assert_eq!((&*fields[0].value, &*fields[1].value), ("short", "value"));
        assert_eq!(total(&text, &fields), 218);
    }

    #[test]
    fn then_the_longest_values() {
        let (long, longer) = ("]".repeat(100), "y".repeat(900));
        let (mut text, mut fields) = (field("text"), vec![field("short"), field(&long), field(&longer)]);
        assert!(fit(&mut text, &mut fields, 0, 200));
        assert_eq!((&*text.value, &*fields[0].value), ("text", "short"));
        assert_eq!(fields[1].value, format!("{}{TRUNCATED}", "]".repeat(38)));
        assert_eq!(fields[2].value, format!("{}{TRUNCATED}", "y".repeat(77)));
        assert!((198..=200).contains(&total(&text, &fields)));
    }

    #[test]
    fn then_the_last_fields_except_essential_ones() {
        let long = "x".repeat(100);
        let fields = || vec![field(&long), field(&long), Field { atomic: true, ..field(&long) }];
        let (mut text, mut many) = (field(&long), fields());
        assert!(fit(&mut text, &mut many, 1, 110));
        assert_eq!(many.len(), 2);
        assert!(text.value.ends_with(TRUNCATED));
        assert!(total(&text, &many) <= 110);
        let (mut text, mut many) = (field(&long), fields());
        assert!(fit(&mut text, &mut many, 1, 60));
        assert_eq!(many.len(), 1);
        assert!(!fit(&mut field(&long), &mut fields(), 1, 40));
        assert!(fit(&mut field(&long), &mut fields(), 0, 40));
    }

    #[test]
    fn truncation_keeps_characters_and_escapes_whole() {
        let text = "]👩\u{200D}💻 ]é";
        let cuts: BTreeSet<_> = (TRUNCATED.len() + 1..text.len() + 2)
            .map(|max| {
                let mut field = field(text);
                field.cut(max);
                assert!(field.escaped_bytes() <= max, "{} at {max}", field.value);
                field.value.into_owned()
            })
            .collect();
        let kept = ["", "]", "]👩", "]👩\u{200D}💻"].map(|kept| format!("{kept}{TRUNCATED}"));
        assert!(cuts.iter().all(|cut| cut == text || kept.contains(cut)), "{cuts:?}");
    }

    #[test]
    fn escapes_count() {
        for (max, kept) in [(17, "a"), (18, "a"), (19, "a|"), (20, "a|"), (21, "a|"), (22, "a||")] {
            let long = format!("a{}", "|".repeat(20));
            let mut field = Field { is_special: |b| b == b'|', escape_bytes: 2, ..field(&long) };
            field.cut(max - 4);
            assert_eq!(field.value, format!("{kept}{TRUNCATED}"), "{max}");
        }
    }

    #[test]
    fn a_truncated_value_has_one_mark() {
        let cut = format!("{}{TRUNCATED}", "x".repeat(40));
        for max in 12..51 {
            let mut field = field(&cut);
            field.cut(max);
            assert_eq!(field.value, format!("{}{TRUNCATED}", "x".repeat(max - 12)));
        }
    }
}
