//! The webhook's options: the integration key, if no header has it, whether all events open alerts, and the ids in an
//! alert's key.

use heraldry_formatter::identifier::FindingKey;
use heraldry_formatter::options::given;
use serde::Deserialize;

/// The JSON Schema of [`Options`]; this file checks the same rules.
pub(crate) const SCHEMA: &str = include_str!("options.schema.json");

/// The webhook's `format_options`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    #[serde(deserialize_with = "given")]
    pub(crate) routing_key: Option<RoutingKey>,
    pub(crate) all_events: bool,
    pub(crate) dedup: FindingKey,
}

/// An integration key: 32 letters and digits. A credential: anyone who has it can page people.
#[derive(Clone, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct RoutingKey(String);

impl RoutingKey {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for RoutingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RoutingKey")
    }
}

impl TryFrom<String> for RoutingKey {
    type Error = &'static str;

    fn try_from(key: String) -> Result<Self, Self::Error> {
        if key.len() == 32 && key.bytes().all(|b| b.is_ascii_alphanumeric()) {
            Ok(Self(key))
        } else {
            // Without the key itself: errors are shown and logged.
            Err("an integration key is expected: 32 letters and digits")
        }
    }
}
