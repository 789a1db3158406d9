//! Dates in words, for readers in any time zone: always in UTC, and labelled so. A destination's own date markup is not
//! used (`{{DATE()}}` does not work in Teams; FORMATS, section 2).

use serde::Deserialize;
use time::{OffsetDateTime, UtcOffset};

/// The date format of a language. Patterns and month names are those of the Unicode CLDR (`long` date, `short` time),
/// with a comma between date and time in every language.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub enum Locale {
    /// `17 November 2026, 12:58 UTC`.
    #[default]
    #[serde(rename = "en-GB")]
    EnGb,
    /// `November 17, 2026, 12:58 PM UTC`.
    #[serde(rename = "en-US")]
    EnUs,
    /// `17. November 2026, 12:58 UTC`.
    #[serde(rename = "de")]
    De,
    /// `17 novembre 2026, 12:58 UTC`; the first day of a month is `1er`.
    #[serde(rename = "fr")]
    Fr,
    /// `17 de noviembre de 2026, 12:58 UTC`.
    #[serde(rename = "es")]
    Es,
    /// `17 november 2026, 12:58 UTC`.
    #[serde(rename = "nl")]
    Nl,
}

impl Locale {
    /// All locales.
    pub const ALL: [Self; 6] = [Self::EnGb, Self::EnUs, Self::De, Self::Fr, Self::Es, Self::Nl];

    /// The date and time to the minute, in UTC. `None` when the year does not have four digits.
    pub fn date_time(self, time: OffsetDateTime) -> Option<String> {
        let time = time.checked_to_offset(UtcOffset::UTC)?;
        let year = u32::try_from(time.year()).ok().filter(|year| (1000..=9999).contains(year))?;
        let month = self.months().split(' ').nth(usize::from(u8::from(time.month()) - 1))?;
        let (day, hour, minute) = (time.day(), time.hour(), time.minute());
        Some(match self {
            Self::EnUs => {
                let half = if hour < 12 { "AM" } else { "PM" };
                let hour = match hour % 12 {
                    0 => 12,
                    hour => hour,
                };
                format!("{month} {day}, {year}, {hour}:{minute:02} {half} UTC")
            }
            Self::De => format!("{day}. {month} {year}, {hour:02}:{minute:02} UTC"),
            Self::Es => format!("{day} de {month} de {year}, {hour}:{minute:02} UTC"),
            Self::Fr if day == 1 => format!("1er {month} {year}, {hour:02}:{minute:02} UTC"),
            Self::EnGb | Self::Fr | Self::Nl => format!("{day} {month} {year}, {hour:02}:{minute:02} UTC"),
        })
    }

    const fn months(self) -> &'static str {
        match self {
            Self::EnGb | Self::EnUs => {
                "January February March April May June July August September October November December"
            }
            Self::De => "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
            Self::Fr => "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
            Self::Es => "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
            Self::Nl => "januari februari maart april mei juni juli augustus september oktober november december",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::instant;

    fn written(locale: Locale, text: &str) -> Option<String> {
        locale.date_time(instant(text).expect("RFC 3339"))
    }

    #[test]
    fn as_each_language_writes_it() {
        for (locale, morning, afternoon) in [
            (Locale::EnGb, "1 March 2026, 00:05 UTC", "17 November 2026, 12:58 UTC"),
            (Locale::EnUs, "March 1, 2026, 12:05 AM UTC", "November 17, 2026, 12:58 PM UTC"),
            (Locale::De, "1. März 2026, 00:05 UTC", "17. November 2026, 12:58 UTC"),
            (Locale::Fr, "1er mars 2026, 00:05 UTC", "17 novembre 2026, 12:58 UTC"),
            (Locale::Es, "1 de marzo de 2026, 0:05 UTC", "17 de noviembre de 2026, 12:58 UTC"),
            (Locale::Nl, "1 maart 2026, 00:05 UTC", "17 november 2026, 12:58 UTC"),
        ] {
            assert_eq!(written(locale, "2026-03-01T00:05:59.999Z").as_deref(), Some(morning));
            // The offset of the input does not matter.
            assert_eq!(written(locale, "2026-11-17T18:28:30.771+05:30").as_deref(), Some(afternoon));
        }
        assert_eq!(written(Locale::EnUs, "2026-11-17T23:00:00Z").as_deref(), Some("November 17, 2026, 11:00 PM UTC"));
        assert_eq!(written(Locale::EnUs, "2026-11-17T01:00:00Z").as_deref(), Some("November 17, 2026, 1:00 AM UTC"));
    }

    #[test]
    fn a_year_of_four_digits_or_nothing() {
        for (text, is_written) in [
            ("0000-01-01T00:00:00+23:59", false),
            ("0999-12-31T23:59:59Z", false),
            ("1000-01-01T00:00:00Z", true),
            ("9999-12-31T23:59:59Z", true),
            ("9999-12-31T23:59:59-23:59", false),
        ] {
            assert_eq!(written(Locale::default(), text).is_some(), is_written, "{text}");
        }
    }

    #[test]
    fn a_language_by_its_tag() {
        let read: Vec<Locale> = serde_json::from_str(r#"["en-GB","en-US","de","fr","es","nl"]"#).expect("tags");
        assert_eq!(read, Locale::ALL);
        assert!(serde_json::from_str::<Locale>(r#""en""#).is_err());
    }
}
