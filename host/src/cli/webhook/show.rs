//! Webhooks and attempts as text. Fields that the caller's role does not see are left out.

use anstyle::Style;
use serde::Deserialize;
use serde_json::Value;

use crate::cli::failure::Failure;
use crate::cli::lookup::short;
use crate::cli::terminal::{self, BAD, GOOD, cut_on_terminal, escape, line, reason_alone};

/// Longest cells of a table on a terminal, in characters. The last column is never cut: it says what to do.
const NAME_WIDTH: usize = 24;
const URL_WIDTH: usize = 44;

/// A webhook in the API's response.
#[derive(Deserialize)]
pub(super) struct Webhook {
    pub(super) id: String,
    name: String,
    /// A secret that the host generated; only in the response to that request.
    pub(super) secret: Option<String>,
    format: String,
    event_types: Vec<String>,
    is_active: bool,
    created_at: String,
    url: Option<String>,
    /// In place of the URL, for operators.
    url_host: Option<String>,
    has_secret: Option<bool>,
    header_names: Option<Vec<String>>,
    format_options: Option<Value>,
    filter: Option<Value>,
    critical_once: Option<bool>,
    order: Option<String>,
    rate_limit: Option<Value>,
    batch: Option<Value>,
    digest: Option<Value>,
    tls: Option<Value>,
    retry_count: Option<i64>,
    timeout_ms: Option<i64>,
    failure_count: Option<u64>,
    disabled_reason: Option<String>,
    expression_error: Option<String>,
    last_success_at: Option<String>,
    last_failure_at: Option<String>,
    waiting: Option<u64>,
    /// Deliveries that are held.
    pub(super) held: Option<u64>,
    oldest_waiting_at: Option<String>,
    next_attempt_at: Option<String>,
    next_probe_at: Option<String>,
    updated_at: Option<String>,
}

/// An attempt in the API's response.
#[derive(Deserialize)]
pub(crate) struct Attempt {
    pub(crate) id: String,
    delivery_id: String,
    event_type: String,
    attempt: u32,
    pub(crate) success: bool,
    status_code: Option<u16>,
    pub(crate) error: Option<String>,
    duration_ms: u64,
    response_excerpt: Option<String>,
    #[serde(default)]
    note: Option<String>,
    is_test: bool,
    next_attempt_at: Option<String>,
    created_at: String,
}

impl Webhook {
    fn state(&self) -> String {
        match (self.is_active, &self.disabled_reason, self.failure_count.unwrap_or(0)) {
            (false, Some(reason), _) => match (&self.next_probe_at, reason_alone(reason)) {
                (Some(at), reason) => format!("inactive, probed next at {at}: {reason}"),
                (None, reason) => format!("inactive: {reason}"),
            },
            (false, None, _) => "inactive".to_owned(),
            (true, _, 0) => "active".to_owned(),
            (true, _, count) => format!("active, {count} consecutive failures"),
        }
    }

    /// What tells people which webhook it is.
    pub(super) fn title(&self) -> String {
        match self.destination() {
            Some(url) => format!("the webhook {} ({url})", self.name),
            None => format!("the webhook {}", self.name),
        }
    }

    /// The URL, or as much of it as the caller's role sees.
    fn destination(&self) -> Option<&str> {
        self.url.as_deref().or(self.url_host.as_deref())
    }

    fn style(&self) -> Style {
        if self.is_active { Style::new() } else { BAD }
    }
}

/// Prints a table of webhooks, inactive ones in red.
pub(super) fn webhooks(webhooks: &[Webhook]) -> Result<(), Failure> {
    let rows: Vec<_> = webhooks
        .iter()
        .map(|webhook| {
            let events = match webhook.event_types.as_slice() {
                [one] => one.clone(),
                many => format!("{} types", many.len()),
            };
            let url = webhook.destination().unwrap_or("-");
            let cells = vec![
                short(&webhook.id),
                cut_on_terminal(&webhook.name, NAME_WIDTH).into_owned(),
                webhook.format.clone(),
                events,
                cut_on_terminal(url, URL_WIDTH).into_owned(),
                webhook.state(),
            ];
            (webhook.style(), cells)
        })
        .collect();
    terminal::table(&["ID", "NAME", "FORMAT", "EVENTS", "URL", "STATE"], &rows)
}

/// Prints all fields of one webhook.
pub(super) fn webhook(webhook: &Webhook) -> Result<(), Failure> {
    let list = |items: &[String]| if items.is_empty() { "none".to_owned() } else { items.join(", ") };
    let number = |value: Option<i64>, unit: &str| value.map(|value| format!("{value}{unit}"));
    let time = |value: &Option<String>| value.clone().unwrap_or_else(|| "never".to_owned());
    let full = webhook.destination().is_some();
    let rows = [
        ("id", Some(webhook.id.clone())),
        ("name", Some(webhook.name.clone())),
        ("state", Some(webhook.state())),
        ("url", webhook.url.clone()),
        ("host", webhook.url_host.clone()),
        ("format", Some(webhook.format.clone())),
        ("options", webhook.format_options.as_ref().map(ToString::to_string)),
        ("event types", Some(list(&webhook.event_types))),
        ("filter", webhook.filter.as_ref().map(ToString::to_string)),
        ("expression failed", webhook.expression_error.clone()),
        ("critical once", webhook.critical_once.filter(|once| *once).map(|_| "yes".to_owned())),
        ("order", webhook.order.clone()),
        ("secret", webhook.secret.clone()),
        (
            "signed",
            webhook.has_secret.map(|has| if has { "yes".to_owned() } else { "no: no secret is set".to_owned() }),
        ),
        ("headers", webhook.header_names.as_deref().map(list)),
        ("rate limit", webhook.rate_limit.as_ref().map(ToString::to_string)),
        ("batch", webhook.batch.as_ref().map(ToString::to_string)),
        ("digest", webhook.digest.as_ref().map(ToString::to_string)),
        ("tls", webhook.tls.as_ref().map(ToString::to_string)),
        ("retries", number(webhook.retry_count, "")),
        ("timeout", number(webhook.timeout_ms, " ms")),
        ("consecutive failures", webhook.failure_count.map(|count| count.to_string())),
        ("last success", full.then(|| time(&webhook.last_success_at))),
        ("last failure", full.then(|| time(&webhook.last_failure_at))),
        ("waiting", webhook.waiting.map(|count| count.to_string())),
        ("held", webhook.held.map(|count| count.to_string())),
        ("oldest waiting", webhook.oldest_waiting_at.clone()),
        ("next attempt", webhook.next_attempt_at.clone()),
        ("next probe", webhook.next_probe_at.clone()),
        ("created", Some(webhook.created_at.clone())),
        ("updated", webhook.updated_at.clone()),
    ];
    terminal::known_facts(rows)
}

/// Prints a table of attempts, failed ones in red.
pub(super) fn attempts(attempts: &[Attempt]) -> Result<(), Failure> {
    let rows: Vec<_> = attempts
        .iter()
        .map(|attempt| {
            let outcome = attempt.error.clone().unwrap_or_else(|| "delivered".to_owned());
            let cells = vec![
                attempt.created_at.clone(),
                short(&attempt.delivery_id),
                attempt.event_type.to_string(),
                format!("{}{}", attempt.attempt, if attempt.is_test { " (test)" } else { "" }),
                attempt.status_code.map_or_else(|| "-".to_owned(), |code| code.to_string()),
                format!("{} ms", attempt.duration_ms),
                outcome,
            ];
            (if attempt.success { Style::new() } else { BAD }, cells)
        })
        .collect();
    terminal::table(&["TIME", "DELIVERY", "EVENT TYPE", "ATTEMPT", "STATUS", "TOOK", "OUTCOME"], &rows)
}

/// Prints all fields of one attempt.
pub(super) fn attempt(attempt: &Attempt) -> Result<(), Failure> {
    let (style, outcome) = match (&attempt.error, attempt.success) {
        (_, true) => (GOOD, "delivered".to_owned()),
        (Some(error), false) => (BAD, format!("failed: {}", escape(error))),
        (None, false) => (BAD, "failed".to_owned()),
    };
    line(format_args!("{style}{outcome}{style:#}"))?;
    let rows = [
        ("event type", Some(attempt.event_type.to_string())),
        ("status", attempt.status_code.map(|code| code.to_string())),
        ("took", Some(format!("{} ms", attempt.duration_ms))),
        ("note", attempt.note.clone()),
        ("response", attempt.response_excerpt.clone().filter(|excerpt| !excerpt.is_empty())),
        ("delivery", Some(attempt.delivery_id.clone())),
        ("next attempt", attempt.next_attempt_at.clone()),
    ];
    terminal::known_facts(rows)
}
