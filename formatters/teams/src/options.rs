//! The webhook's options: the card's width, the language of dates, a full or a compact card, with or without evidence.

use heraldry_formatter::adaptive_card::Width;
use heraldry_formatter::date::Locale;
use heraldry_formatter::options::Evidence;
use serde::Deserialize;

/// The JSON Schema of [`Options`].
pub(crate) const SCHEMA: &str = include_str!("options.schema.json");

/// The webhook's `format_options`.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    pub(crate) width: Width,
    pub(crate) locale: Locale,
    /// True for a few lines instead of the full card.
    pub(crate) compact: bool,
    pub(crate) evidence: Evidence,
}
