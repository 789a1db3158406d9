//! The webhook's options: vendor, product and labels of the record, and the header over syslog.

use heraldry_formatter::cef::Label;
use heraldry_formatter::options::{Printable, given};
use heraldry_formatter::rfc3164::{Tag, UtcOffset};
use heraldry_formatter::rfc5424::Facility;
use heraldry_formatter::syslog::Protocol;
use serde::Deserialize;

/// The JSON Schema of [`Options`]; the SDK's types check the same rules.
pub(crate) const SCHEMA: &str = include_str!("options.schema.json");

/// The default Device Vendor and Device Product.
pub(crate) const DEVICE: &str = "Heraldry";

/// The webhook's `format_options`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    #[serde(deserialize_with = "given")]
    pub(crate) vendor: Option<DeviceName>,
    #[serde(deserialize_with = "given")]
    pub(crate) product: Option<DeviceName>,
    pub(crate) labels: Labels,
    /// Syslog only, as are the options below.
    pub(crate) syslog_header: Protocol,
    pub(crate) facility: Facility,
    /// Applies to RFC 3164 only: the zone of the timestamp.
    pub(crate) utc_offset: UtcOffset,
    /// Applies to RFC 3164 only: the tag before the record.
    pub(crate) tag: Tag,
}

/// Labels that override the defaults.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Labels {
    #[serde(deserialize_with = "given")]
    pub(crate) cs1: Option<Label>,
    #[serde(deserialize_with = "given")]
    pub(crate) cs2: Option<Label>,
    #[serde(deserialize_with = "given")]
    pub(crate) cs3: Option<Label>,
    #[serde(deserialize_with = "given")]
    pub(crate) cs4: Option<Label>,
    #[serde(deserialize_with = "given")]
    pub(crate) cs5: Option<Label>,
    #[serde(deserialize_with = "given")]
    pub(crate) cs6: Option<Label>,
    #[serde(deserialize_with = "given")]
    pub(crate) cn1: Option<Label>,
    #[serde(deserialize_with = "given")]
    pub(crate) cfp1: Option<Label>,
    #[serde(deserialize_with = "given", rename = "deviceCustomDate1")]
    pub(crate) device_custom_date1: Option<Label>,
}

/// A Device Vendor or Device Product.
type DeviceName = Printable<63>;
