//! The webhook's options: Splunk's index, source, source type, host, and channel.

use heraldry_formatter::options::{Printable, given};
use serde::Deserialize;

/// The JSON Schema of [`Options`]; this file and the SDK's type check the same rules.
pub(crate) const SCHEMA: &str = include_str!("options.schema.json");

/// The webhook's `format_options`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    #[serde(deserialize_with = "given")]
    pub(crate) index: Option<Index>,
    #[serde(deserialize_with = "given")]
    pub(crate) source: Option<Printable<255>>,
    #[serde(deserialize_with = "given")]
    pub(crate) sourcetype: Option<Printable<255>>,
    #[serde(deserialize_with = "given")]
    pub(crate) host: Option<Printable<255>>,
    #[serde(deserialize_with = "given")]
    pub(crate) channel: Option<Channel>,
}

/// The name of an index: 1 to 255 of `a-z`, `0-9`, `_` and `-`, the first a letter or a digit ("Create custom
/// indexes").
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Index(String);

/// The id of a channel: a GUID, as in `FE0ECFAD-13D5-401B-847D-77833BD77131`.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Channel(String);

impl Index {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Channel {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Index {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-');
        if (1..=255).contains(&name.len()) && name.bytes().all(legal) && !name.starts_with(['_', '-']) {
            Ok(Self(name))
        } else {
            Err("an index's name is expected: 1 to 255 of a-z, 0-9, _ and -, the first a letter or a digit")
        }
    }
}

impl TryFrom<String> for Channel {
    type Error = &'static str;

    fn try_from(id: String) -> Result<Self, Self::Error> {
        let groups: Vec<_> = id.split('-').map(str::len).collect();
        if groups == [8, 4, 4, 4, 12] && id.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit()) {
            Ok(Self(id))
        } else {
            Err("a GUID is expected, as in FE0ECFAD-13D5-401B-847D-77833BD77131")
        }
    }
}
