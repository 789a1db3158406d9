//! Times in UTC, as words.

use time::{Month, OffsetDateTime};

/// A moment, in parts.
pub(crate) struct Moment(OffsetDateTime);

impl Moment {
    /// Seconds since 1970; none outside the years that the calendar of `time` has.
    pub(crate) fn from_seconds(seconds: i64) -> Option<Self> {
        OffsetDateTime::from_unix_timestamp(seconds).ok().map(Self)
    }

    /// `Nov 17, 2026`, or with the month's whole name.
    pub(crate) fn date(&self, is_long: bool) -> String {
        let month = self.0.month().to_string();
        let month = if is_long { &month[..] } else { &month[..3] };
        format!("{month} {}, {}", self.0.day(), self.0.year())
    }

    /// `10:12 AM`, or with seconds.
    pub(crate) fn clock(&self, has_seconds: bool) -> String {
        let (hour, minute, second) = (self.0.hour(), self.0.minute(), self.0.second());
        let half = if hour < 12 { "AM" } else { "PM" };
        let hour = (hour + 11) % 12 + 1;
        if has_seconds {
            format!("{hour}:{minute:02}:{second:02} {half}")
        } else {
            format!("{hour}:{minute:02} {half}")
        }
    }

    /// `2026-11-17T10:12:45Z`.
    pub(crate) fn iso(&self) -> String {
        let at = self.0;
        let (month, day) = (u8::from(at.month()), at.day());
        format!("{:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", at.year(), at.hour(), at.minute(), at.second())
    }

    /// `2026-11-17`.
    pub(crate) fn day(&self) -> String {
        let iso = self.iso();
        iso.split_once('T').map_or(iso.clone(), |(day, _)| day.to_owned())
    }
}

/// Returns true for a month's English name of three letters.
pub(crate) fn is_month(text: &str) -> bool {
    (1..=12).any(|n| Month::try_from(n).is_ok_and(|month| month.to_string().starts_with(text)) && text.len() == 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_moment() {
        let moment = Moment::from_seconds(1_794_910_365).unwrap();
        assert_eq!(moment.iso(), "2026-11-17T10:12:45Z");
        assert_eq!(moment.date(false), "Nov 17, 2026");
        assert_eq!(moment.date(true), "November 17, 2026");
        assert_eq!(moment.clock(true), "10:12:45 AM");
        assert_eq!(Moment::from_seconds(0).unwrap().clock(false), "12:00 AM");
        assert_eq!(Moment::from_seconds(43_200).unwrap().clock(false), "12:00 PM");
        assert!(Moment::from_seconds(i64::MAX).is_none());
        assert!(is_month("Nov") && !is_month("November") && !is_month("No") && !is_month("nov"));
    }
}
