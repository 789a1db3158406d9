//! The webhook's options: the sender's name, and a full or a compact message, with or without evidence.

use heraldry_formatter::options::{Evidence, given};
use heraldry_formatter::text::{Rule, clean, is_blank};
use serde::Deserialize;

/// The JSON Schema of [`Options`]; rules that it cannot express are checked in this file.
pub(crate) const SCHEMA: &str = include_str!("options.schema.json");

/// The longest name, in UTF-16 units ("Create Webhook" in discord/discord-api-docs).
const USERNAME: usize = 80;

/// The webhook's `format_options`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    #[serde(deserialize_with = "given")]
    username: Option<Username>,
    pub(crate) compact: bool,
    pub(crate) evidence: Evidence,
}

impl Options {
    /// The sender's name, if it is not that of the webhook in Discord.
    pub(crate) fn username(&self) -> Option<&str> {
        self.username.as_ref().map(Username::as_str)
    }
}

/// A name that Discord accepts for a webhook.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
struct Username(String);

impl Username {
    fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Username {
    type Error = &'static str;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        if is_blank(&name) || name.encode_utf16().count() > USERNAME {
            return Err("1 to 80 characters are expected, and one of them to be seen");
        }
        if name.trim() != name || clean(&name, Rule::ONE_LINE) != name {
            return Err("no control character is expected, and no space at either end");
        }
        // Discord rejects every message under such a name.
        let lower = name.to_lowercase();
        if lower.contains("clyde") || lower.contains("discord") {
            return Err("Discord takes no name that holds `clyde` or `discord`");
        }
        Ok(Self(name))
    }
}
