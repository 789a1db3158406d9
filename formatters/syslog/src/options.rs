//! What a webhook may choose: who speaks, and under which name the structured data goes.

use heraldry_formatter::rfc5424::{AppName, Facility, SdId};
use serde::Deserialize;

/// The JSON Schema of [`Options`]; the checks of the SDK's types say the same.
pub(crate) const SCHEMA: &str = include_str!("options.schema.json");

/// The webhook's `format_options`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    pub(crate) facility: Facility,
    pub(crate) app_name: AppName,
    pub(crate) structured_data_id: SdId,
}
