//! What a webhook may choose: which syslog, who speaks, and under which name the structured data goes.

use heraldry_formatter::rfc3164::UtcOffset;
use heraldry_formatter::rfc5424::{AppName, Facility, SdId};
use heraldry_formatter::syslog::Protocol;
use serde::Deserialize;

/// The JSON Schema of [`Options`]; the checks of the SDK's types say the same.
pub(crate) const SCHEMA: &str = include_str!("options.schema.json");

/// The webhook's `format_options`. Those that belong to one protocol change nothing in the other.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    pub(crate) protocol: Protocol,
    pub(crate) facility: Facility,
    /// In RFC 3164 its letters and digits are the tag.
    pub(crate) app_name: AppName,
    /// RFC 5424 only.
    pub(crate) structured_data_id: SdId,
    /// RFC 5424 only.
    pub(crate) bom: bool,
    /// RFC 3164 only.
    pub(crate) utc_offset: UtcOffset,
}
