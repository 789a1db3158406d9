//! Webhook options for an RFC 3164 header, validated when they are parsed.

use serde::Deserialize;
use time::OffsetDateTime;

use super::MAX_TAG;

/// The time zone of a timestamp that does not name one; as JSON `Z` or an RFC 3339 offset, `+02:00`. Offsets range from
/// -12:00 to +14:00.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct UtcOffset {
    /// Minutes east of Greenwich.
    minutes: i32,
}

impl UtcOffset {
    /// UTC, written as `Z`.
    pub const UTC: Self = Self { minutes: 0 };

    /// The instant in this time zone; `None` beyond the range of years that a date can have.
    pub(super) fn local(self, time: OffsetDateTime) -> Option<OffsetDateTime> {
        let offset = time::UtcOffset::from_whole_seconds(self.minutes * 60).ok()?;
        time.checked_to_offset(offset)
    }
}

impl TryFrom<String> for UtcOffset {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let minutes = if text == "Z" { Some(0) } else { minutes(&text) };
        minutes
            .filter(|minutes| (-12 * 60..=14 * 60).contains(minutes))
            .map(|minutes| Self { minutes })
            .ok_or("Z or an offset between -12:00 and +14:00 is expected, as in +02:00")
    }
}

/// Parses an offset (RFC 3339, section 5.6: time-numoffset).
fn minutes(text: &str) -> Option<i32> {
    let [sign @ (b'+' | b'-'), hours @ .., b':', m, n] = text.as_bytes() else { return None };
    let [h, i] = hours else { return None };
    let digits = [h, i, m, n].map(|digit| digit.is_ascii_digit().then(|| i32::from(digit - b'0')));
    let [Some(h), Some(i), Some(m), Some(n)] = digits else { return None };
    let minutes = (h * 10 + i) * 60 + m * 10 + n;
    (m < 6).then_some(if *sign == b'-' { -minutes } else { minutes })
}

/// A TAG of 1 to 32 ASCII letters and digits (section 4.1.3); as JSON a string, empty for no tag.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(try_from = "String")]
pub struct Tag(String);

impl Tag {
    /// The tag, unless it is empty.
    pub fn get(&self) -> Option<&str> {
        (!self.0.is_empty()).then_some(&*self.0)
    }
}

impl TryFrom<String> for Tag {
    type Error = &'static str;

    fn try_from(tag: String) -> Result<Self, Self::Error> {
        if tag.len() <= MAX_TAG && tag.bytes().all(|b| b.is_ascii_alphanumeric()) {
            Ok(Self(tag))
        } else {
            Err("at most 32 ASCII letters and digits are expected")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets() {
        for (text, minutes) in [
            ("Z", Some(0)),
            ("+00:00", Some(0)),
            ("-00:00", Some(0)),
            ("+02:00", Some(120)),
            ("-05:30", Some(-330)),
            ("+14:00", Some(840)),
            ("-12:00", Some(-720)),
            ("+14:01", None),
            ("-12:01", None),
            ("+24:00", None),
            ("+02:60", None),
            ("+2:00", None),
            ("+0200", None),
            ("02:00", None),
            ("+02:00 ", None),
            ("+002:00", None),
            ("+é:00", None),
            ("z", None),
            ("", None),
            ("UTC", None),
        ] {
            let offset = UtcOffset::try_from(text.to_owned());
            assert_eq!(offset.ok().map(|offset| offset.minutes), minutes, "{text}");
        }
    }

    #[test]
    fn tags() {
        let tag = |text: &str| Tag::try_from(text.to_owned()).map(|tag| tag.get().map(str::to_owned));
        assert_eq!(tag(""), Ok(None));
        assert_eq!(tag("heraldry1"), Ok(Some("heraldry1".into())));
        assert!(tag(&"x".repeat(32)).is_ok());
        for bad in ["a b", "a-b", "é", "a:", "\n"] {
            assert!(tag(bad).is_err(), "{bad:?}");
        }
        assert!(tag(&"x".repeat(33)).is_err());
    }
}
