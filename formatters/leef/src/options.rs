//! The webhook's options: vendor and product of the record, its delimiter, and the header over syslog.

use heraldry_formatter::leef::Delimiter;
use heraldry_formatter::rfc3164::UtcOffset;
use heraldry_formatter::rfc5424::Facility;
use heraldry_formatter::syslog::Protocol;
use serde::Deserialize;

/// The JSON Schema of [`Options`]; this file and the SDK's types check the same rules.
pub(crate) const SCHEMA: &str = include_str!("options.schema.json");

/// The webhook's `format_options`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    pub(crate) vendor: DeviceName,
    pub(crate) product: DeviceName,
    pub(crate) delimiter: Delimiter,
    /// Syslog only, as are the options below.
    pub(crate) syslog_header: Protocol,
    pub(crate) facility: Facility,
    /// RFC 3164 only: the zone of the timestamp.
    pub(crate) utc_offset: UtcOffset,
    pub(crate) max_bytes: MaxBytes,
}

impl Default for Options {
    /// RFC 3164 by default: the header that IBM's guide names first.
    fn default() -> Self {
        Self {
            vendor: DeviceName::default(),
            product: DeviceName::default(),
            delimiter: Delimiter::default(),
            syslog_header: Protocol::Rfc3164,
            facility: Facility::default(),
            utc_offset: UtcOffset::default(),
            max_bytes: MaxBytes::default(),
        }
    }
}

/// A Vendor or Product: 1 to 63 printable ASCII characters except for `|` and `^`, without a space at either end.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct DeviceName(String);

impl DeviceName {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for DeviceName {
    fn default() -> Self {
        Self("Heraldry".into())
    }
}

impl TryFrom<String> for DeviceName {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        let legal = |b: u8| matches!(b, b' '..=b'~') && !matches!(b, b'|' | b'^');
        if (1..=63).contains(&name.len()) && name.bytes().all(legal) && name.trim() == name {
            Ok(Self(name))
        } else {
            Err("1 to 63 printable ASCII characters without | and ^ are expected, without a space at either end")
        }
    }
}

/// The maximum length of a line over syslog, 1024 to 8000 bytes.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "f64")]
pub(crate) struct MaxBytes(u16);

impl MaxBytes {
    pub(crate) fn get(self) -> usize {
        self.0.into()
    }
}

impl Default for MaxBytes {
    /// The default payload length of QRadar over TCP (unverified: no page of IBM's was available). QRadar reads the
    /// rest of a longer line as another event.
    fn default() -> Self {
        Self(4096)
    }
}

impl TryFrom<f64> for MaxBytes {
    type Error = &'static str;

    // In a JSON Schema 4096.0 is the same number as 4096.
    fn try_from(number: f64) -> Result<Self, Self::Error> {
        if (1024.0..=8000.0).contains(&number) && number.fract() == 0.0 {
            Ok(Self(number as u16))
        } else {
            Err("a whole number of 1024 to 8000 is expected")
        }
    }
}
