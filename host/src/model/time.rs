//! Points in time as the API shows them: RFC 3339, UTC, milliseconds.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::json::fault::Faults;
use crate::json::fields::Field;

/// A point in wall-clock time, in milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Timestamp(i64);

/// Year 9999, the last that RFC 3339 can write.
const LAST_MS: i64 = 253_402_300_799_999;
/// Year 0, the first that RFC 3339 can write.
const FIRST_MS: i64 = -62_167_219_200_000;

impl Timestamp {
    /// The last time that there is.
    pub const LAST: Self = Self(LAST_MS);

    /// The time that is so many milliseconds after 1970, clamped to what RFC 3339 can write.
    pub fn from_unix_ms(ms: i64) -> Self {
        Self(ms.clamp(FIRST_MS, LAST_MS))
    }

    /// The machine's time, which may be anything: what a clock shows before 1970 is 1970, what it shows after the year
    /// 9999 is that year's end.
    pub fn from_system(at: SystemTime) -> Self {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self::from_unix_ms(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    /// Milliseconds since 1970; negative before it.
    pub fn unix_ms(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970, rounded down.
    pub fn unix_seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// This time plus a duration.
    pub fn plus(self, duration: Duration) -> Self {
        let ms = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self::from_unix_ms(self.0.saturating_add(ms))
    }

    /// This time less a duration.
    pub fn minus(self, duration: Duration) -> Self {
        let ms = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self::from_unix_ms(self.0.saturating_sub(ms))
    }

    /// How long after `earlier` this is; zero when it is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Reads a time. Anything else is a fault.
    pub fn read(field: &Field<'_>, faults: &mut Faults) -> Option<Self> {
        let text = field.characters(faults)?;
        Self::parse(&text).map_err(|error| faults.add(field.pointer(), "invalid", error.to_string())).ok()
    }

    /// Parses the `date-time` of RFC 3339, section 5.6, in any offset; digits below the millisecond are dropped. `t` and
    /// `z` may be in lower case, as the grammar has them. Any other separator is rejected, a space included: the section
    /// mentions it as a choice of applications, outside of the grammar. A leap second (23:59:60 UTC at the end of a
    /// month) becomes the last millisecond before it.
    ///
    /// # Errors
    /// [`InvalidTime`], which says what was expected.
    pub fn parse(text: &str) -> Result<Self, InvalidTime> {
        let time = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| InvalidTime::Text)?;
        // `time` skips the separator, whatever it is.
        if !matches!(text.as_bytes().get(SEPARATOR_AT), Some(b'T' | b't')) {
            return Err(InvalidTime::Separator);
        }
        let ms = time.unix_timestamp_nanos().div_euclid(1_000_000);
        i64::try_from(ms).ok().filter(|ms| (FIRST_MS..=LAST_MS).contains(ms)).map(Self).ok_or(InvalidTime::Range)
    }
}

/// Position of the separator in an RFC 3339 text, in bytes: it follows `YYYY-MM-DD`.
const SEPARATOR_AT: usize = 10;

/// A text that is not a time as the API takes it, in a sentence that says what is expected.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InvalidTime {
    /// Not the grammar, or a date or time that does not exist.
    #[error("must be a time as RFC 3339 writes it, with its offset, as in 2026-01-31T12:00:00Z")]
    Text,
    /// Something else than a T between date and time.
    #[error("must have a T between date and time, as in 2026-01-31T12:00:00Z")]
    Separator,
    /// The offset moves it out of the years that can be written.
    #[error("must be from 0000-01-01T00:00:00Z to 9999-12-31T23:59:59.999Z")]
    Range,
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, millisecond) = (self.0.div_euclid(1000), self.0.rem_euclid(1000));
        let time = OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| fmt::Error)?;
        // Written digit by digit: every event and every call of a formatter has one.
        let mut text = *b"0000-00-00T00:00:00.000Z";
        for (end, number) in [
            (4, i64::from(time.year())),
            (7, u8::from(time.month()).into()),
            (10, time.day().into()),
            (13, time.hour().into()),
            (16, time.minute().into()),
            (19, time.second().into()),
            (23, millisecond),
        ] {
            let (mut at, mut rest) = (end, number);
            while rest > 0 {
                at -= 1;
                text[at] = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
        }
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

/// RFC 3339 in JSON, milliseconds in the store's compact encoding.
impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { serializer.serialize_i64(self.0) }
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
            Self::parse(&text).map_err(serde::de::Error::custom)
        } else {
            i64::deserialize(deserializer).map(Self::from_unix_ms)
        }
    }
}

/// The host's clock, or a test's own.
pub trait Clock: Send + Sync {
    /// The wall clock's time; it may jump.
    fn now(&self) -> Timestamp;

    /// Milliseconds of a clock that begins at the wall clock's time and never jumps while the process lives. Waits are
    /// measured by it, so that a jump of the wall clock makes neither a storm of retries nor a stall.
    fn steady_ms(&self) -> i64;

    /// The wall clock's time at a time of the steady clock, as it is to be shown: the same each time it is asked for, unless
    /// the wall clock was set meanwhile.
    fn wall_at(&self, steady_ms: i64) -> Timestamp {
        let ahead = steady_ms.saturating_sub(self.steady_ms());
        Timestamp::from_unix_ms(self.now().unix_ms().saturating_add(ahead))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_what_it_reads_in_utc_with_milliseconds() {
        for (given, written) in [
            ("2026-11-17T10:12:45.120Z", "2026-11-17T10:12:45.120Z"),
            ("2021-05-20T11:11:01.667748+03:00", "2021-05-20T08:11:01.667Z"),
            ("1969-12-31T23:59:59.9999Z", "1969-12-31T23:59:59.999Z"),
            ("0000-01-01T00:00:00Z", "0000-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(Timestamp::parse(given).expect(given).to_string(), written);
        }
    }

    #[test]
    fn whatever_the_machine_claims_is_a_time_that_can_be_written() {
        let (second, last) = (Duration::from_secs(1), Duration::from_millis(LAST_MS.unsigned_abs()));
        let (min, max) = (Duration::from_secs(1 << 62), Duration::from_secs((1 << 62) - 1));
        for (at, shown) in [
            (UNIX_EPOCH - min, "1970-01-01T00:00:00.000Z"),
            (UNIX_EPOCH - second, "1970-01-01T00:00:00.000Z"),
            (UNIX_EPOCH, "1970-01-01T00:00:00.000Z"),
            (UNIX_EPOCH + second, "1970-01-01T00:00:01.000Z"),
            (UNIX_EPOCH + last, "9999-12-31T23:59:59.999Z"),
            (UNIX_EPOCH + last + second, "9999-12-31T23:59:59.999Z"),
            (UNIX_EPOCH + max, "9999-12-31T23:59:59.999Z"),
        ] {
            let time = Timestamp::from_system(at);
            assert_eq!(time.to_string(), shown);
            // Sums at both ends stay what can be written.
            assert!(time.plus(Duration::MAX) >= time && time.minus(Duration::MAX) <= time);
            let _ = (time.plus(Duration::MAX).to_string(), time.minus(Duration::MAX).to_string());
        }
    }

    #[test]
    fn reads_every_spelling_of_the_grammar() {
        for (given, written) in [
            ("2026-01-31t12:00:00z", "2026-01-31T12:00:00.000Z"),
            ("2026-01-31T12:00:00-00:00", "2026-01-31T12:00:00.000Z"),
            ("2026-01-31T12:00:00+23:59", "2026-01-30T12:01:00.000Z"),
            ("2026-01-31T12:00:00.1234567890123456789Z", "2026-01-31T12:00:00.123Z"),
            ("2024-02-29T00:00:00Z", "2024-02-29T00:00:00.000Z"),
            // A leap second, in UTC and where its offset puts it.
            ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59.999Z"),
            ("1990-12-31T15:59:60-08:00", "1990-12-31T23:59:59.999Z"),
            ("9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z"),
            ("9999-12-31T23:59:59.999+00:01", "9999-12-31T23:58:59.999Z"),
        ] {
            assert_eq!(Timestamp::parse(given).expect(given).to_string(), written);
        }
    }

    #[test]
    fn rejects_what_rfc_3339_does_not_know() {
        for (text, expected) in [
            ("", InvalidTime::Text),
            ("yesterday", InvalidTime::Text),
            ("2026-11-17", InvalidTime::Text),
            ("2026-11-17T10:12:45", InvalidTime::Text),
            ("2026-11-17T10:12Z", InvalidTime::Text),
            ("2026-13-01T00:00:00Z", InvalidTime::Text),
            ("2026-00-01T00:00:00Z", InvalidTime::Text),
            ("2026-02-29T00:00:00Z", InvalidTime::Text),
            ("2026-01-31T24:00:00Z", InvalidTime::Text),
            ("2026-01-31T12:60:00Z", InvalidTime::Text),
            ("2026-01-31T12:00:61Z", InvalidTime::Text),
            // 60 is a second only where a leap second can be.
            ("2026-01-31T12:00:60Z", InvalidTime::Text),
            ("2026-01-31T12:00:00+24:00", InvalidTime::Text),
            ("2026-01-31T12:00:00+00:60", InvalidTime::Text),
            ("2026-01-31T12:00:00+0000", InvalidTime::Text),
            ("2026-01-31T12:00:00+00", InvalidTime::Text),
            ("2026-01-31T12:00:00.Z", InvalidTime::Text),
            ("2026-01-31T12:00:00,5Z", InvalidTime::Text),
            ("2026-1-31T12:00:00Z", InvalidTime::Text),
            ("12026-01-31T12:00:00Z", InvalidTime::Text),
            ("+2026-01-31T12:00:00Z", InvalidTime::Text),
            ("-001-01-31T12:00:00Z", InvalidTime::Text),
            (" 2026-01-31T12:00:00Z", InvalidTime::Text),
            ("2026-01-31T12:00:00Z ", InvalidTime::Text),
            ("2026-01-31T12:00:00Z\n", InvalidTime::Text),
            ("2026-01-31T12:00:00ZZ", InvalidTime::Text),
            ("20260131T120000Z", InvalidTime::Text),
            ("2026-W05-6T12:00:00Z", InvalidTime::Text),
            ("\u{ff12}026-01-31T12:00:00Z", InvalidTime::Text),
            ("2026-01-31\u{e9}12:00:00Z", InvalidTime::Text),
            ("2026-01-31 12:00:00Z", InvalidTime::Separator),
            ("2026-01-31512:00:00Z", InvalidTime::Separator),
            ("2026-01-31Q12:00:00Z", InvalidTime::Separator),
            ("2026-01-31_12:00:00Z", InvalidTime::Separator),
            ("2026-01-31\n12:00:00Z", InvalidTime::Separator),
            ("2026-01-31\u{0}12:00:00Z", InvalidTime::Separator),
            ("9999-12-31T23:59:59-00:01", InvalidTime::Range),
            ("0000-01-01T00:00:00+00:01", InvalidTime::Range),
        ] {
            assert_eq!(Timestamp::parse(text), Err(expected), "{text:?}");
        }
    }
}
