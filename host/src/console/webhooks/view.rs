//! Webhooks as the API shows them to a role; what the role does not see is empty.

use serde::Deserialize;
use serde_json::Value;

use crate::model::time::Timestamp;

/// A webhook.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Webhook {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) format: String,
    pub(super) event_types: Vec<String>,
    pub(super) is_active: bool,
    pub(super) created_at: Timestamp,
    #[serde(default)]
    pub(super) url: Option<String>,
    #[serde(default)]
    pub(super) has_secret: bool,
    #[serde(default)]
    pub(super) format_options: Value,
    #[serde(default)]
    pub(super) header_names: Vec<String>,
    #[serde(default)]
    pub(super) filter: Value,
    #[serde(default)]
    pub(super) critical_once: bool,
    #[serde(default)]
    pub(super) order: Value,
    #[serde(default)]
    pub(super) rate_limit: Value,
    #[serde(default)]
    pub(super) tls: Value,
    #[serde(default)]
    pub(super) batch: Value,
    #[serde(default)]
    pub(super) digest: Value,
    #[serde(default)]
    pub(super) retry_count: Option<u32>,
    #[serde(default)]
    pub(super) timeout_ms: Option<u32>,
    #[serde(default)]
    pub(super) failure_count: u32,
    #[serde(default)]
    pub(super) disabled_reason: Option<String>,
    #[serde(default)]
    pub(super) expression_error: Option<String>,
    #[serde(default)]
    pub(super) last_success_at: Option<Timestamp>,
    #[serde(default)]
    pub(super) last_failure_at: Option<Timestamp>,
    #[serde(default)]
    pub(super) waiting: u64,
    #[serde(default)]
    pub(super) held: u64,
    #[serde(default)]
    pub(super) oldest_waiting_at: Option<Timestamp>,
    #[serde(default)]
    pub(super) next_attempt_at: Option<Timestamp>,
    #[serde(default)]
    pub(super) next_probe_at: Option<Timestamp>,
    #[serde(default)]
    pub(super) updated_at: Option<Timestamp>,
}

impl Webhook {
    /// The state: the key of its mark, and its word.
    pub(super) fn state(&self) -> (&'static str, &'static str) {
        // Of two in the same millisecond nobody knows which was last; trouble is shown.
        let failed = self.last_failure_at.is_some_and(|at| self.last_success_at.is_none_or(|success| at >= success));
        match (self.is_active, &self.disabled_reason) {
            (false, Some(_)) => ("bad", "off by the circuit breaker"),
            (false, None) => ("off", "off"),
            (true, _) if failed => ("bad", "failing"),
            (true, _) => ("good", "on"),
        }
    }

    /// Its event types in a few words.
    pub(super) fn types(&self) -> String {
        match self.event_types.as_slice() {
            [one] if one == "*" => "all".to_owned(),
            [one] => one.clone(),
            several => format!("{} types", several.len()),
        }
    }
}
