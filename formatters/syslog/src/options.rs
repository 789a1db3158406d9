//! The webhook's options: the protocol, the sender's names, and the id of the structured data.

use heraldry_formatter::rfc3164::UtcOffset;
use heraldry_formatter::rfc5424::{AppName, Facility, SdId};
use heraldry_formatter::syslog::Protocol;
use serde::Deserialize;

/// The JSON Schema of [`Options`]; the SDK's types check the same rules.
pub(crate) const SCHEMA: &str = include_str!("options.schema.json");

/// The webhook's `format_options`. An option of one protocol has no effect on the other.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    pub(crate) protocol: Protocol,
    pub(crate) facility: Facility,
    /// With RFC 3164 its letters and digits are the tag.
    pub(crate) app_name: AppName,
    /// RFC 5424 only: SD-ID of the structured data.
    pub(crate) structured_data_id: SdId,
    /// RFC 5424 only: start MSG with a byte order mark.
    pub(crate) bom: bool,
    /// RFC 3164 only: the zone of the timestamp.
    pub(crate) utc_offset: UtcOffset,
}
