//! The overview: how the host does in one sentence, and what needs attention.

use askama::Template;
use serde::Deserialize;

use super::Answer;
use super::frame::Frame;
use super::show::{self, When};
use super::visit::Visit;
use crate::model::time::Timestamp;

#[derive(Deserialize)]
struct Status {
    host: Host,
    totals: Totals,
    webhooks: Vec<Webhook>,
    formatters: Vec<Formatter>,
    last_errors: Vec<LastError>,
}

#[derive(Deserialize)]
struct Host {
    name: String,
    version: String,
    uptime_seconds: u64,
    not_ready_reason: Option<String>,
    store_writable: bool,
    damaged_records: u64,
    disk: Option<Disk>,
}

#[derive(Deserialize)]
struct Disk {
    free_bytes: u64,
    total_bytes: u64,
}

#[derive(Deserialize)]
struct Totals {
    webhooks_active: u64,
    webhooks_off: u64,
    webhooks_tripped: u64,
    waiting: u64,
    held: u64,
    in_flight: u64,
    attempts_last_minute: u64,
}

#[derive(Deserialize)]
struct Webhook {
    id: String,
    name: String,
    state: String,
    trouble: bool,
    disabled_reason: Option<String>,
    waiting: u64,
    held: u64,
    oldest_waiting_at: Option<Timestamp>,
    last_error: Option<String>,
}

#[derive(Deserialize)]
struct Formatter {
    name: String,
    state: String,
    reason: Option<String>,
    errors: u64,
}

#[derive(Deserialize)]
struct LastError {
    created_at: Timestamp,
    webhook_id: String,
    webhook_name: String,
    event_type: String,
    error: String,
}

/// One line of what needs attention.
struct Trouble {
    path: String,
    name: String,
    /// The state's key, for its mark.
    state: &'static str,
    word: &'static str,
    why: String,
}

struct ErrorLine {
    when: When,
    path: String,
    name: String,
    event_type: String,
    error: String,
}

#[derive(Template)]
#[template(path = "console/home.html")]
struct Page {
    frame: Frame,
    sentence: String,
    is_well: bool,
    troubles: Vec<Trouble>,
    totals: Totals,
    host: Host,
    uptime: String,
    disk: Option<String>,
    errors: Vec<ErrorLine>,
}

#[derive(Template)]
#[template(path = "console/home_reduced.html")]
struct ReducedPage {
    frame: Frame,
    types: Vec<EventType>,
}

#[derive(Deserialize)]
struct EventType {
    name: String,
    description: String,
}

/// `GET /console`.
pub(super) async fn page(visit: Visit) -> Answer {
    if !visit.role().reads_everything() {
        let types = visit.get("/webhooks/event-types").await?;
        return visit.page(&ReducedPage { frame: visit.frame("Overview", "home"), types });
    }
    let status: Status = visit.get("/status").await?;
    let now = visit.now();
    let troubles = troubles(&status);
    let errors = status.last_errors.into_iter().map(|error| ErrorLine {
        when: When::new(error.created_at, now),
        path: format!("/console/webhooks/{}", show::segment(&error.webhook_id)),
        name: error.webhook_name,
        event_type: error.event_type,
        error: error.error,
    });
    visit.page(&Page {
        frame: visit.frame("Overview", "home"),
        sentence: sentence(&status.totals, oldest(&status.webhooks, now), troubles.len()),
        is_well: troubles.is_empty(),
        troubles,
        uptime: show::span(status.host.uptime_seconds),
        disk: status
            .host
            .disk
            .as_ref()
            .map(|disk| format!("{} free of {}", show::bytes(disk.free_bytes), show::bytes(disk.total_bytes))),
        totals: status.totals,
        host: status.host,
        errors: errors.collect(),
    })
}

/// How long the oldest delivery has been waiting.
fn oldest(webhooks: &[Webhook], now: Timestamp) -> Option<String> {
    let oldest = webhooks.iter().filter_map(|webhook| webhook.oldest_waiting_at).min()?;
    Some(show::span(now.since(oldest).as_secs()))
}

/// The state of the host in one sentence.
fn sentence(totals: &Totals, oldest: Option<String>, troubles: usize) -> String {
    let all = totals.webhooks_active + totals.webhooks_off + totals.webhooks_tripped;
    let who = match (all, troubles) {
        (0, 0) => return "There is no webhook yet, so nothing is delivered.".to_owned(),
        (1, 0) => "The webhook delivers".to_owned(),
        (_, 0) if totals.webhooks_active == all => format!("All {all} webhooks deliver"),
        (_, 0) => format!("{} of {all} webhooks deliver, the others are switched off", totals.webhooks_active),
        (_, 1) => "One thing needs attention".to_owned(),
        (_, several) => format!("{several} things need attention"),
    };
    let waits = match (totals.waiting + totals.held, oldest) {
        (0, _) => "nothing waits".to_owned(),
        (number, Some(oldest)) => {
            format!("{}, the oldest for {oldest}", show::count(number, "delivery waits", "deliveries wait"))
        }
        (number, None) => show::count(number, "delivery waits", "deliveries wait"),
    };
    format!("{who}; {waits}.")
}

fn troubles(status: &Status) -> Vec<Trouble> {
    let mut troubles = Vec::new();
    let mut host = |word, why: String| {
        troubles.push(Trouble { path: String::new(), name: "This host".to_owned(), state: "bad", word, why });
    };
    if let Some(reason) = &status.host.not_ready_reason {
        host("not ready", reason.clone());
    }
    if !status.host.store_writable {
        host("read-only", "The store accepts no writes; the host's log has the cause".to_owned());
    }
    if status.host.damaged_records > 0 {
        let records = show::count(status.host.damaged_records, "record", "records");
        host("damaged", format!("{records} with a wrong checksum; see `heraldry store check`"));
    }
    if let Some(disk) = status.host.disk.as_ref().filter(|disk| disk.free_bytes < disk.total_bytes / 10) {
        host("disk nearly full", format!("{} free", show::bytes(disk.free_bytes)));
    }
    troubles.extend(status.webhooks.iter().filter(|webhook| webhook.trouble).map(of_webhook));
    troubles.extend(status.formatters.iter().map(|formatter| Trouble {
        path: String::new(),
        name: formatter.name.clone(),
        state: if formatter.state == "ready" { "warn" } else { "bad" },
        word: "formatter",
        why: match &formatter.reason {
            Some(reason) => reason.clone(),
            None if formatter.state == "ready" => {
                format!("{} in the last 24 hours or since the start", show::count(formatter.errors, "error", "errors"))
            }
            None => formatter.state.clone(),
        },
    }));
    troubles
}

fn of_webhook(webhook: &Webhook) -> Trouble {
    let (state, word) = match webhook.state.as_str() {
        "tripped" => ("bad", "off by the circuit breaker"),
        "no_formatter" => ("bad", "no formatter"),
        "failing" => ("bad", "failing"),
        "off" => ("off", "off"),
        _ => ("warn", "look"),
    };
    let undone = webhook.waiting + webhook.held;
    let cause = webhook.disabled_reason.clone().or_else(|| webhook.last_error.clone());
    let waits = match undone {
        0 => String::new(),
        number => show::count(number, "delivery waits", "deliveries wait"),
    };
    let why = [cause.unwrap_or_default(), waits].into_iter().filter(|part| !part.is_empty());
    Trouble {
        path: format!("/console/webhooks/{}", show::segment(&webhook.id)),
        name: webhook.name.clone(),
        state,
        word,
        why: why.collect::<Vec<_>>().join("; "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_is_one_sentence() {
        let totals = |active, off, waiting| Totals {
            webhooks_active: active,
            webhooks_off: off,
            webhooks_tripped: 0,
            waiting,
            held: 0,
            in_flight: 0,
            attempts_last_minute: 0,
        };
        assert_eq!(sentence(&totals(0, 0, 0), None, 0), "There is no webhook yet, so nothing is delivered.");
        assert_eq!(sentence(&totals(14, 0, 0), None, 0), "All 14 webhooks deliver; nothing waits.");
        assert_eq!(
            sentence(&totals(2, 1, 1), Some("2 s".to_owned()), 0),
            "2 of 3 webhooks deliver, the others are switched off; 1 delivery waits, the oldest for 2 s."
        );
        assert_eq!(sentence(&totals(2, 0, 3), None, 2), "2 things need attention; 3 deliveries wait.");
    }
}
