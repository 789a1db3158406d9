//! Webhook options for an RFC 5424 message, validated when they are parsed.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

use crate::Severity;

/// The common names of the facilities, indexed by number (RFC 5424, section 6.2.1).
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp",
    "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];

/// A facility's number, 0 to 23 (RFC 5424, section 6.2.1); as JSON its common name or its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facility(u8);

impl Facility {
    /// The default facility.
    pub const LOCAL0: Self = Self(16);

    /// The facility of that number; `None` above 23.
    pub fn new(number: u8) -> Option<Self> {
        (usize::from(number) < FACILITIES.len()).then_some(Self(number))
    }

    /// The number, 0 to 23.
    pub fn number(self) -> u8 {
        self.0
    }

    /// PRI: facility and severity in one number, 0 to 191 (RFC 5424, section 6.2.1; RFC 3164, section 4.1.1; FORMATS,
    /// section 8, maps the severities).
    pub fn priority(self, severity: Severity) -> u8 {
        let severity = match severity {
            Severity::Info => 6,
            Severity::Low => 5,
            Severity::Medium => 4,
            Severity::High => 3,
            Severity::Critical => 2,
        };
        self.0 * 8 + severity
    }
}

impl Default for Facility {
    fn default() -> Self {
        Self::LOCAL0
    }
}

impl<'de> Deserialize<'de> for Facility {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct NameOrNumber;
        impl Visitor<'_> for NameOrNumber {
            type Value = Facility;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a facility's name, as in local0, or its number, 0 to 23")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Facility, E> {
                let number = (0_u8..).zip(FACILITIES).find(|(_, known)| *known == name);
                number
                    .map(|(number, _)| Facility(number))
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Str(name), &self))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Facility, E> {
                match u8::try_from(number) {
                    Ok(fits) if usize::from(fits) < FACILITIES.len() => Ok(Facility(fits)),
                    _ => Err(E::invalid_value(de::Unexpected::Unsigned(number), &self)),
                }
            }

            // In a JSON Schema 16.0 is the same number as 16.
            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Facility, E> {
                (0_u8..24)
                    .find(|known| f64::from(*known) == number)
                    .map(Facility)
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Float(number), &self))
            }
        }
        from.deserialize_any(NameOrNumber)
    }
}

/// APP-NAME: 1 to 48 printable ASCII characters (RFC 5424, section 6.2.5).
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct AppName(String);

impl AppName {
    /// The name as it is sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for AppName {
    fn default() -> Self {
        Self("heraldry".into())
    }
}

impl TryFrom<String> for AppName {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        if (1..=48).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic()) {
            Ok(Self(name))
        } else {
            Err("1 to 48 printable ASCII characters without spaces are expected")
        }
    }
}

/// SD-ID: `name@number`, at most 32 characters (RFC 5424, section 6.3.2); names without `@` are reserved by IANA.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct SdId(String);

impl SdId {
    /// The name as it is sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for SdId {
    /// 32473 is the enterprise number for documentation (RFC 5612): the project has none of its own.
    fn default() -> Self {
        Self("heraldry@32473".into())
    }
}

impl TryFrom<String> for SdId {
    type Error = &'static str;

    fn try_from(id: String) -> Result<Self, Self::Error> {
        let fits = id.len() <= 32
            && id.split_once('@').is_some_and(|(name, number)| {
                is_sd_name(name)
                    && !name.contains('@')
                    && (1..=10).contains(&number.len())
                    && !number.starts_with('0')
                    && number.bytes().all(|b| b.is_ascii_digit())
            });
        if fits {
            Ok(Self(id))
        } else {
            Err(
                "a name and a private enterprise number are expected, as in heraldry@32473, at most 32 characters without = ] \"",
            )
        }
    }
}

/// Returns true for a valid SD-NAME (RFC 5424, section 6.3.2).
pub(crate) fn is_sd_name(name: &str) -> bool {
    let legal = |b: u8| b.is_ascii_graphic() && !matches!(b, b'=' | b']' | b'"');
    (1..=32).contains(&name.len()) && name.bytes().all(legal)
}
