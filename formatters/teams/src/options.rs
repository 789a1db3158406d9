//! What a webhook may choose: how wide a card is, how dates are written, and how much it says.

use heraldry_formatter::adaptive_card::Width;
use heraldry_formatter::date::Locale;
use serde::Deserialize;

/// The JSON Schema of [`Options`].
pub(crate) const SCHEMA: &str = include_str!("options.schema.json");

/// The webhook's `format_options`.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    pub(crate) width: Width,
    pub(crate) locale: Locale,
    /// A few lines instead of the whole.
    pub(crate) compact: bool,
}
