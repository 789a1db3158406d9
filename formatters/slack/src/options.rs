//! The webhook's options: mentions by severity, a full or a compact message, with or without evidence.

use heraldry_formatter::block_kit::Mention;
use heraldry_formatter::options::Evidence;
use heraldry_formatter::{Digest, Severity};
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
    pub(crate) evidence: Evidence,
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

    /// The mentions of a digest: of its severities the worst that mentions anyone, as if that event stood alone.
    pub(crate) fn mentions_of(&self, digest: &Digest<'_, '_>) -> &[Mention] {
        digest.severities().map(|severity| self.mentions(severity)).find(|list| !list.is_empty()).unwrap_or_default()
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
