//! What an event means for webhooks, as the host explains it: for `event explain` and `send --dry-run`.

use anstyle::Style;
use serde::{Deserialize, Serialize};

use super::lookup::short;
use super::terminal::DIM;

/// A line of the host's explanation.
#[derive(Deserialize, Serialize, Clone, Debug)]
pub(super) struct Explained {
    pub(super) webhook_id: String,
    pub(super) name: String,
    pub(super) matched: bool,
    pub(super) reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) delivery_id: Option<String>,
    /// What the events that the host would derive mean for the webhook; in a dry run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) derived: Vec<Derived>,
}

/// What a derived event means for the webhook of its line.
#[derive(Deserialize, Serialize, Clone, Debug)]
pub(super) struct Derived {
    pub(super) r#type: String,
    pub(super) matched: bool,
    pub(super) reason: String,
}

impl Explained {
    /// The webhook, by its name and the end of its id.
    pub(super) fn webhook(&self) -> String {
        format!("{} ({})", self.name, short(&self.webhook_id))
    }

    /// Deliveries of the event and of those derived from it.
    pub(super) fn deliveries(&self) -> u64 {
        u64::from(self.matched) + self.derived.iter().map(|derived| u64::from(derived.matched)).sum::<u64>()
    }
}

/// The style of a row: those who get nothing stand back.
pub(super) fn style(matched: bool) -> Style {
    if matched { Style::new() } else { DIM }
}
