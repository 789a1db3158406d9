//! The webhook's options: mentions by severity, and a full or a compact message.

use heraldry_formatter::Severity;
use heraldry_formatter::block_kit::Mention;
use serde::Deserialize;

/// The JSON Schema of [`Options`]; this file checks the same rules.
pub(crate) const SCHEMA: &str = include_str!("options.schema.json");

/// The webhook's `format_options`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    mentions: BySeverity,
    /// True for one short block instead of the full message.
    pub(crate) compact: bool,
}

impl Options {
    /// The mentions for an event of this severity.
    pub(crate) fn mentions(&self, severity: Severity) -> &[Mention] {
        let list = match severity {
            Severity::Info => &self.mentions.info,
            Severity::Low => &self.mentions.low,
            Severity::Medium => &self.mentions.medium,
            Severity::High => &self.mentions.high,
            Severity::Critical => &self.mentions.critical,
        };
        &list.0
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct BySeverity {
    critical: Mentions,
    high: Mentions,
    medium: Mentions,
    low: Mentions,
    info: Mentions,
}

/// At most 20 mentions, without duplicates.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(try_from = "Vec<Mention>")]
struct Mentions(Vec<Mention>);

impl TryFrom<Vec<Mention>> for Mentions {
    type Error = &'static str;

    fn try_from(mentions: Vec<Mention>) -> Result<Self, Self::Error> {
        let is_twice = |(n, mention)| mentions[..n].contains(mention);
        if mentions.len() <= 20 && !mentions.iter().enumerate().any(is_twice) {
            Ok(Self(mentions))
        } else {
            Err("at most 20 are expected, none of them twice")
        }
    }
}
