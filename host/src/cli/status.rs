//! `heraldry status`: the host on one screen.

use std::time::Duration;

use anstyle::Style;
use serde::Deserialize;

use super::client::Api;
use super::failure::Failure;
use super::since::{ago, ahead, now, words};
use super::terminal::{
    self, BAD, BOLD, DIM, GOOD, WARN, cut_on_terminal, escape, escape_json, line, plural, reason_alone,
};
use crate::config::{ClientArgs, units};
use crate::model::time::Timestamp;

pub(super) const HELP: &str = "\
Webhooks with trouble come first; formatters are listed only if they have some.

Examples:
  heraldry status
  heraldry status --watch
  heraldry status --json | jq .totals";

/// Longest names and hosts in the table on a terminal, in characters. Reasons and errors are never cut.
const NAME_WIDTH: usize = 24;
const HOST_WIDTH: usize = 32;
/// Webhooks without trouble that are listed.
const HEALTHY: usize = 10;

#[derive(clap::Args)]
pub(super) struct Args {
    /// Show it again and again, until Ctrl-C
    #[arg(long)]
    watch: bool,
    /// With --watch: how often
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = units::duration)]
    interval: Duration,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Deserialize)]
struct Status {
    host: Host,
    totals: Totals,
    webhooks: Vec<Webhook>,
    more_webhooks: Option<u64>,
    formatters: Vec<Formatter>,
    last_errors: Vec<LastError>,
}

#[derive(Deserialize)]
struct Host {
    name: String,
    version: String,
    uptime_seconds: u64,
    ready: bool,
    not_ready_reason: Option<String>,
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
    name: String,
    format: String,
    url_host: String,
    state: String,
    trouble: bool,
    disabled_reason: Option<String>,
    failure_count: u64,
    waiting: u64,
    held: u64,
    oldest_waiting_at: Option<String>,
    next_attempt_at: Option<String>,
    next_probe_at: Option<String>,
    last_error: Option<String>,
}

#[derive(Deserialize)]
struct Formatter {
    name: String,
    state: String,
    reason: Option<String>,
    errors: u64,
    last_error: Option<FormatterError>,
}

#[derive(Deserialize)]
struct FormatterError {
    at: String,
    message: String,
}

#[derive(Deserialize)]
struct LastError {
    created_at: String,
    webhook_name: String,
    event_type: String,
    attempt: u32,
    error: String,
}

/// Prints the status, once or again and again.
pub(super) async fn run(args: &Args) -> Result<(), Failure> {
    let api = Api::new(&args.client)?;
    if !args.watch {
        return show(&api, args.client.json).await;
    }
    // A second at least: the host reads histories for it.
    let interval = args.interval.max(Duration::from_secs(1));
    loop {
        if !args.client.json {
            terminal::clear()?;
        }
        if let Err(failure) = show(&api, args.client.json).await {
            if failure.is_output_closed() {
                return Err(failure);
            }
            terminal::print_failure(&failure);
        }
        tokio::time::sleep(interval).await;
    }
}

async fn show(api: &Api, json: bool) -> Result<(), Failure> {
    let response = api.get("/status").await?;
    if json {
        return line(escape_json(&response.body));
    }
    let status: Status = response.parse()?;
    status.print(now())
}

impl Status {
    fn print(&self, now: Timestamp) -> Result<(), Failure> {
        let (style, readiness) = self.host.readiness();
        line(format_args!("{BOLD}{}{BOLD:#}  {style}{}{style:#}", escape(&self.host.text()), escape(&readiness)))?;
        line(self.totals.text())?;
        self.print_webhooks(now)?;
        if !self.formatters.is_empty() {
            heading("Formatters with trouble")?;
            let rows: Vec<_> =
                self.formatters.iter().map(|formatter| (formatter.style(), formatter.cells(now))).collect();
            terminal::table(&["FORMAT", "STATE", "ERRORS", "LAST", "REASON"], &rows)?;
        }
        if !self.last_errors.is_empty() {
            heading("Last errors")?;
            let rows: Vec<_> = self.last_errors.iter().map(|error| (Style::new(), error.cells(now))).collect();
            terminal::table(&["AGO", "WEBHOOK", "EVENT TYPE", "ATTEMPT", "ERROR"], &rows)?;
        }
        Ok(())
    }

    fn print_webhooks(&self, now: Timestamp) -> Result<(), Failure> {
        if self.webhooks.is_empty() {
            return line("no webhooks: `heraldry webhook create` makes one");
        }
        heading("Webhooks, those with trouble first")?;
        let troubled = self.webhooks.iter().filter(|webhook| webhook.trouble).count();
        let listed = self.webhooks.len().min(troubled + HEALTHY);
        let rows: Vec<_> =
            self.webhooks[..listed].iter().map(|webhook| (webhook.style(), webhook.cells(now))).collect();
        terminal::table(&["NAME", "FORMAT", "HOST", "STATE", "WAITING", "HELD", "OLDEST", "NEXT", "WHY"], &rows)?;
        let others = (self.webhooks.len() - listed) as u64 + self.more_webhooks.unwrap_or(0);
        if others > 0 {
            line(format_args!(
                "{DIM}and {} more: `heraldry webhook list` shows all{DIM:#}",
                plural(others, "webhook")
            ))?;
        }
        Ok(())
    }
}

fn heading(text: &str) -> Result<(), Failure> {
    line(format_args!("\n{BOLD}{text}{BOLD:#}"))
}

impl Host {
    fn text(&self) -> String {
        let up = words(Duration::from_secs(self.uptime_seconds));
        let mut text = format!("{}  heraldry {}  up {up}", self.name, self.version);
        if let Some(disk) = &self.disk {
            text.push_str(&format!("  disk {} of {} free", size(disk.free_bytes), size(disk.total_bytes)));
        }
        text
    }

    fn readiness(&self) -> (Style, String) {
        let reason = || self.not_ready_reason.as_deref().unwrap_or("it does not say why");
        match (self.ready, self.damaged_records) {
            (false, _) => (BAD, format!("not ready: {}", reason())),
            (true, 0) => (GOOD, "ready".to_owned()),
            (true, damaged) => {
                (WARN, format!("ready; {} damaged: run `heraldry store check --repair`", plural(damaged, "record")))
            }
        }
    }
}

impl Totals {
    fn text(&self) -> String {
        format!(
            "webhooks: {} active, {} tripped, {} off  deliveries: {} waiting, {} held  attempts: {} in flight, {} in the last minute",
            self.webhooks_active,
            self.webhooks_tripped,
            self.webhooks_off,
            self.waiting,
            self.held,
            self.in_flight,
            self.attempts_last_minute
        )
    }
}

impl Webhook {
    fn cells(&self, now: Timestamp) -> Vec<String> {
        let next = match (&self.next_probe_at, &self.next_attempt_at) {
            (Some(at), _) => format!("probe {}", ahead(now, at)),
            (None, Some(at)) => ahead(now, at),
            (None, None) => "-".to_owned(),
        };
        vec![
            cut_on_terminal(&self.name, NAME_WIDTH).into_owned(),
            self.format.clone(),
            cut_on_terminal(&self.url_host, HOST_WIDTH).into_owned(),
            self.state_in_words(),
            self.waiting.to_string(),
            self.held.to_string(),
            self.oldest_waiting_at.as_deref().map_or_else(|| "-".to_owned(), |at| ago(now, at)),
            next,
            self.why(),
        ]
    }

    fn state_in_words(&self) -> String {
        match self.state.as_str() {
            "no_formatter" => "no formatter".to_owned(),
            "failing" if self.failure_count > 0 => format!("failing ({})", self.failure_count),
            other => other.to_owned(),
        }
    }

    /// The reason of its trouble; it comes last, whole, because it says what to do.
    fn why(&self) -> String {
        let reason = self.disabled_reason.as_deref().map(reason_alone).or(self.last_error.as_deref());
        match (self.state.as_str(), reason) {
            ("no_formatter", _) => {
                format!("the formatter {} is not loaded: `heraldry formatter list` says why", self.format)
            }
            ("off", _) if self.trouble => {
                "an admin switched it off; `heraldry webhook recover` sends what is held".to_owned()
            }
            // Nothing but a person switches it on.
            ("tripped", Some(reason)) if self.next_probe_at.is_none() => {
                format!("{reason}; `heraldry webhook update {} --active` switches it on", self.name)
            }
            (_, Some(reason)) if self.trouble => reason.to_owned(),
            _ => String::new(),
        }
    }

    fn style(&self) -> Style {
        match self.state.as_str() {
            "tripped" | "no_formatter" => BAD,
            _ if self.trouble => WARN,
            "off" => DIM,
            _ => Style::new(),
        }
    }
}

impl Formatter {
    fn cells(&self, now: Timestamp) -> Vec<String> {
        let last = self.last_error.as_ref();
        vec![
            self.name.clone(),
            self.state.clone(),
            self.errors.to_string(),
            last.map_or_else(|| "-".to_owned(), |error| format!("{} ago", ago(now, &error.at))),
            self.reason.clone().or_else(|| last.map(|error| error.message.clone())).unwrap_or_default(),
        ]
    }

    fn style(&self) -> Style {
        if self.state == "rejected" { BAD } else { WARN }
    }
}

impl LastError {
    fn cells(&self, now: Timestamp) -> Vec<String> {
        vec![
            ago(now, &self.created_at),
            cut_on_terminal(&self.webhook_name, NAME_WIDTH).into_owned(),
            self.event_type.clone(),
            self.attempt.to_string(),
            self.error.clone(),
        ]
    }
}

/// A size in its largest unit, with one digit behind the point.
fn size(bytes: u64) -> String {
    let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    let (unit, factor) = units.into_iter().find(|(_, factor)| bytes >= *factor).unwrap_or(("B", 1));
    if factor == 1 {
        format!("{bytes} B")
    } else {
        format!("{}.{} {unit}", bytes / factor, bytes % factor * 10 / factor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        Timestamp::parse("2026-11-17T10:00:00Z").expect("a time")
    }

    fn webhook(members: &str) -> Webhook {
        let text = format!(
            r#"{{"id":"1","name":"SOC","format":"slack","url_host":"hooks.slack.com","failure_count":5,"waiting":3,"held":18,
            "oldest_waiting_at":"2026-11-17T09:40:00.000Z","next_attempt_at":null,"next_probe_at":null,
            "last_success_at":null,"last_failure_at":null,"disabled_reason":null,"last_error":null,{members}}}"#
        );
        serde_json::from_str(&text).expect("a webhook")
    }

    #[test]
    fn a_webhook_says_what_waits_what_comes_next_and_why() {
        let tripped = webhook(r#""state":"tripped","trouble":true"#);
        let tripped = Webhook {
            next_probe_at: Some("2026-11-17T10:04:00.000Z".into()),
            disabled_reason: Some("5 deliveries in a row failed; status: 503".into()),
            ..tripped
        };
        assert_eq!(
            tripped.cells(now()),
            [
                "SOC",
                "slack",
                "hooks.slack.com",
                "tripped",
                "3",
                "18",
                "20 min",
                "probe in 4 min",
                "5 deliveries in a row failed; status: 503"
            ]
        );
        let gone = Webhook { next_probe_at: None, ..tripped };
        assert!(gone.why().ends_with("503; `heraldry webhook update SOC --active` switches it on"), "{}", gone.why());
        let failing = Webhook {
            next_attempt_at: Some("2026-11-17T10:00:09.000Z".into()),
            last_error: Some("timeout: no response within 5 s".into()),
            ..webhook(r#""state":"failing","trouble":true"#)
        };
        assert_eq!(
            failing.cells(now())[3..],
            ["failing (5)", "3", "18", "20 min", "in 9 s", "timeout: no response within 5 s"]
        );
        let missing = webhook(r#""state":"no_formatter","trouble":true"#);
        assert!(missing.why().contains("formatter slack is not loaded"));
        let off = webhook(r#""state":"off","trouble":true"#);
        assert!(off.why().contains("heraldry webhook recover"));
        let idle =
            Webhook { waiting: 0, held: 0, oldest_waiting_at: None, ..webhook(r#""state":"active","trouble":false"#) };
        assert_eq!(idle.cells(now())[3..], ["active", "0", "0", "-", "-", ""]);
    }

    #[test]
    fn the_host_says_what_is_wrong_with_it() {
        let host = |rest: &str| -> Host {
            let text = format!(
                r#"{{"name":"h1","version":"0.2.0","uptime_seconds":7200,"store_writable":true,{rest},
                "disk":{{"free_bytes":5368709120,"total_bytes":107374182400}}}}"#
            );
            serde_json::from_str(&text).expect("a host")
        };
        let good = host(r#""ready":true,"not_ready_reason":null,"damaged_records":0"#);
        assert_eq!(good.text(), "h1  heraldry 0.2.0  up 2 h  disk 5.0 GiB of 100.0 GiB free");
        assert_eq!(good.readiness().1, "ready");
        let full = host(r#""ready":false,"not_ready_reason":"the store cannot be written","damaged_records":0"#);
        assert_eq!(full.readiness().1, "not ready: the store cannot be written");
        let damaged = host(r#""ready":true,"not_ready_reason":null,"damaged_records":2"#);
        assert!(damaged.readiness().1.contains("2 records damaged: run `heraldry store check --repair`"));
    }

    #[test]
    fn sizes_have_one_digit_behind_the_point() {
        for (bytes, shown) in
            [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (1 << 30, "1.0 GiB"), (u64::MAX, "17179869183.9 GiB")]
        {
            assert_eq!(size(bytes), shown);
        }
    }
}
