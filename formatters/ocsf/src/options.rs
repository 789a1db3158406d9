//! The webhook's options: product and vendor of the records, the CVSS version, and whether to send all events.

use heraldry_formatter::identifier::FindingKey;
use heraldry_formatter::options::{Printable, given};
use serde::Deserialize;

/// The JSON Schema of [`Options`]; this file and the SDK's type check the same rules.
pub(crate) const SCHEMA: &str = include_str!("options.schema.json");

/// The default product and vendor.
const PRODUCT: &str = "Heraldry";

/// The webhook's `format_options`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    pub(crate) all_events: bool,
    cvss_version: CvssVersion,
    pub(crate) finding_uid: FindingKey,
    #[serde(deserialize_with = "given")]
    product_name: Option<Printable<255>>,
    #[serde(deserialize_with = "given")]
    vendor_name: Option<Printable<255>>,
}

/// The CVSS version of a score without a vector.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
enum CvssVersion {
    #[serde(rename = "2.0")]
    V2,
    #[serde(rename = "3.0")]
    V3,
    #[default]
    #[serde(rename = "3.1")]
    V31,
    #[serde(rename = "4.0")]
    V4,
}

impl Options {
    pub(crate) fn product_name(&self) -> &str {
        self.product_name.as_ref().map_or(PRODUCT, Printable::as_str)
    }

    pub(crate) fn vendor_name(&self) -> &str {
        self.vendor_name.as_ref().map_or(PRODUCT, Printable::as_str)
    }

    pub(crate) fn cvss_version(&self) -> &'static str {
        match self.cvss_version {
            CvssVersion::V2 => "2.0",
            CvssVersion::V3 => "3.0",
            CvssVersion::V31 => "3.1",
            CvssVersion::V4 => "4.0",
        }
    }
}
