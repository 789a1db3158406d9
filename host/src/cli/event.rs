//! `heraldry event`: events of a host, and where each of them went.

mod explain;

use std::collections::BTreeMap;

use anstyle::Style;
use clap::Subcommand;
use reqwest::Method;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::attempts::Names;
use super::client::{Api, event_path};
use super::failure::Failure;
use super::lookup::{self, short};
use super::pretty;
use super::since::{Since, parse_since};
use super::terminal::{self, BAD, WARN, cut_on_terminal, escape, escape_json, line, note};
use crate::config::ClientArgs;

const GET_HELP: &str = "\
Example:
  heraldry event get 0f6d3b11                  the event, and the state of each of its deliveries";

const LIST_HELP: &str = "\
Examples:
  heraldry event list --finding F-0407         the events of a finding
  heraldry event list --type finding_added --min-severity high --since 24h
  heraldry event list --data --json            with their data";

/// Width of a line of the event's data.
const DATA_WIDTH: usize = 100;
/// Longest engagement in a table on a terminal, in characters.
const ENGAGEMENT_WIDTH: usize = 40;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Show an event and where it went
    #[command(after_help = GET_HELP)]
    Get {
        /// The event's id, or the unique beginning or end of it
        #[arg(value_name = "EVENT")]
        id: String,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Show why an event went to each webhook, or did not
    #[command(after_help = explain::HELP)]
    Explain {
        /// The event's id, or the unique beginning or end of it
        #[arg(value_name = "EVENT")]
        id: String,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// List events, newest first
    #[command(after_help = LIST_HELP)]
    List(Box<List>),
}

/// The events that are listed. All that are given must hold.
#[derive(clap::Args)]
pub(super) struct List {
    /// Only events of this type
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// Only events of this engagement, by its id
    #[arg(long = "engagement", value_name = "ID")]
    engagement: Option<String>,
    /// Only events of this finding, by its id
    #[arg(long = "finding", value_name = "ID")]
    finding: Option<String>,
    /// Only events of this severity and above: info, low, medium, high or critical
    #[arg(long, value_name = "SEVERITY")]
    min_severity: Option<String>,
    /// Only events accepted since then: a time (RFC 3339), or how long ago (15min, 24h, 7d)
    #[arg(long, value_name = "TIME|AGE", value_parser = parse_since)]
    since: Option<Since>,
    /// Only events accepted until then
    #[arg(long, value_name = "TIME|AGE", value_parser = parse_since)]
    until: Option<Since>,
    /// Number of events, 1 to 200 [default: 50]
    #[arg(long, value_name = "COUNT")]
    limit: Option<String>,
    /// Only events accepted before this one, by its id (the next page)
    #[arg(long, value_name = "EVENT")]
    before: Option<String>,
    /// With --json: the events' data as well
    #[arg(long)]
    data: bool,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Deserialize)]
struct Event {
    id: String,
    r#type: String,
    occurred_at: String,
    accepted_at: String,
    engagement: Option<Engagement>,
    caused_by: Option<String>,
    data: Option<Box<RawValue>>,
    #[serde(default)]
    deliveries: Vec<Delivery>,
}

#[derive(Deserialize)]
struct Engagement {
    id: String,
    name: String,
    client: Option<String>,
}

#[derive(Deserialize)]
struct Delivery {
    id: String,
    webhook_id: String,
    status: String,
    attempts: u32,
    next_attempt_at: Option<String>,
}

/// Runs one of the commands.
pub(super) async fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Get { id, client } => get(id, client).await,
        Command::Explain { id, client } => explain::run(id, client).await,
        Command::List(list) => list.run().await,
    }
}

async fn get(id: &str, client: &ClientArgs) -> Result<(), Failure> {
    let api = Api::new(client)?;
    let whole = lookup::event(&api, id).await?;
    let response = api.get(&event_path(&whole)).await?;
    if client.json {
        return line(escape_json(&response.body));
    }
    let event: Event = response.parse()?;
    let names = Names::load(&api).await?;
    terminal::known_facts([
        ("id", Some(event.id.clone())),
        ("type", Some(event.r#type.clone())),
        ("occurred", Some(event.occurred_at.clone())),
        ("accepted", Some(event.accepted_at.clone())),
        ("engagement", event.engagement.as_ref().map(Engagement::text)),
        ("derived from", event.caused_by.clone()),
    ])?;
    if let Some(data) = &event.data {
        line("")?;
        let shown = pretty::json(data.get(), DATA_WIDTH).unwrap_or_else(|| data.get().to_owned());
        line(escape_json(&shown))?;
    }
    line("")?;
    if event.deliveries.is_empty() {
        line("no deliveries: no webhook wanted it when it was accepted")?;
        note(format_args!("\nwhy: heraldry event explain {}", escape(&short(&event.id))));
        return Ok(());
    }
    let rows: Vec<_> = event.deliveries.iter().map(|delivery| (delivery.style(), delivery.cells(&names))).collect();
    terminal::table(&["DELIVERY", "WEBHOOK", "STATUS", "ATTEMPTS", "NEXT ATTEMPT"], &rows)?;
    if event.deliveries.iter().any(|delivery| delivery.status == "failed") {
        note(format_args!("\nwhy: heraldry deliveries --event {}", escape(&short(&event.id))));
    }
    Ok(())
}

impl List {
    async fn run(&self) -> Result<(), Failure> {
        if self.data && !self.client.json {
            let error = anyhow::anyhow!("--data needs --json: a table has no room for data");
            return Err(Failure::usage(error, "`heraldry event get EVENT` shows one event with its data"));
        }
        let api = Api::new(&self.client)?;
        let response = api.call(api.request(Method::GET, "/events").query(&self.query())).await?;
        response.note_indexing();
        if self.client.json {
            return line(escape_json(&response.body));
        }
        let events: Vec<Event> = response.parse()?;
        let rows: Vec<_> = events.iter().map(|event| (event.style(), event.cells())).collect();
        terminal::table(&["ACCEPTED", "ID", "TYPE", "ENGAGEMENT", "DERIVED FROM", "DELIVERIES"], &rows)?;
        if let Some(last) = events.last().filter(|_| response.has_next_page()) {
            note(format_args!("\nnext page: the same command with --before {}", escape(&last.id)));
        }
        Ok(())
    }

    /// The parameters of `GET /events`.
    fn query(&self) -> Vec<(&'static str, String)> {
        let given = [
            ("type", self.event_type.clone()),
            ("engagement_id", self.engagement.clone()),
            ("finding_id", self.finding.clone()),
            ("min_severity", self.min_severity.clone()),
            ("since", self.since.map(|since| since.at().to_string())),
            ("until", self.until.map(|until| until.at().to_string())),
            ("limit", self.limit.clone()),
            ("before", self.before.clone()),
            ("data", self.data.then(|| "true".to_owned())),
        ];
        given.into_iter().filter_map(|(name, value)| value.map(|value| (name, value))).collect()
    }
}

impl Event {
    fn cells(&self) -> Vec<String> {
        let engagement = self.engagement.as_ref().map_or_else(|| "-".to_owned(), Engagement::text);
        vec![
            self.accepted_at.clone(),
            short(&self.id),
            self.r#type.clone(),
            cut_on_terminal(&engagement, ENGAGEMENT_WIDTH).into_owned(),
            self.caused_by.as_deref().map_or_else(|| "-".to_owned(), short),
            self.outcome(),
        ]
    }

    /// Its deliveries by their status, as in `3 delivered, 1 failed`.
    fn outcome(&self) -> String {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        self.deliveries.iter().for_each(|delivery| *counts.entry(&delivery.status).or_default() += 1);
        let counts: Vec<String> = counts.iter().map(|(status, count)| format!("{count} {status}")).collect();
        if counts.is_empty() { "-".to_owned() } else { counts.join(", ") }
    }

    /// The style of its worst delivery.
    fn style(&self) -> Style {
        let has = |status: &str| self.deliveries.iter().any(|delivery| delivery.status == status);
        if has("failed") {
            BAD
        } else if has("held") {
            WARN
        } else {
            Style::new()
        }
    }
}

impl Engagement {
    fn text(&self) -> String {
        match &self.client {
            Some(client) => format!("{} ({}), {client}", self.name, self.id),
            None => format!("{} ({})", self.name, self.id),
        }
    }
}

impl Delivery {
    fn cells(&self, names: &Names) -> Vec<String> {
        vec![
            short(&self.id),
            names.shown(&self.webhook_id),
            self.status.clone(),
            self.attempts.to_string(),
            self.next_attempt_at.clone().unwrap_or_else(|| "-".to_owned()),
        ]
    }

    fn style(&self) -> Style {
        match self.status.as_str() {
            "failed" => BAD,
            "held" => WARN,
            _ => Style::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        list: List,
    }

    #[test]
    fn filters_are_parameters() {
        let query = |flags: &str| {
            let line = format!("list {flags}");
            let parsed = Flags::try_parse_from(line.split_whitespace()).expect("flags");
            parsed.list.query().iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
        };
        assert_eq!(query(""), "");
        assert_eq!(
            query(
                "--type finding_added --engagement e-1 --finding F-0407 --min-severity high --since 2026-11-17T10:00:00Z \
                 --until 2026-11-18T10:00:00Z --limit 7 --before x --data --json"
            ),
            "type=finding_added&engagement_id=e-1&finding_id=F-0407&min_severity=high&since=2026-11-17T10:00:00.000Z\
             &until=2026-11-18T10:00:00.000Z&limit=7&before=x&data=true"
        );
    }

    #[tokio::test]
    async fn a_table_has_no_room_for_data() {
        let flags = Flags::try_parse_from(["list", "--data"]).expect("flags");
        let failure = flags.list.run().await.expect_err("refused before the host is asked");
        assert!(failure.message().is_some_and(|(text, _)| text.contains("--data needs --json")));
    }

    #[test]
    fn an_event_is_a_row_with_and_without_data_and_deliveries() {
        let listed = r#"{"id":"019a0000-1111-7000-8000-aaaaaaaaaaaa","type":"critical_finding",
            "occurred_at":"2026-11-17T10:00:00.000Z","accepted_at":"2026-11-17T10:00:01.000Z",
            "engagement":{"id":"e-1","name":"Spring","client":"Acme"},"caused_by":"019a0000-1111-7000-8000-bbbbbbbbbbbb"}"#;
        let event: Event = serde_json::from_str(listed).expect("an event");
        let row = ["2026-11-17T10:00:01.000Z", "aaaaaaaa", "critical_finding", "Spring (e-1), Acme", "bbbbbbbb", "-"];
        assert_eq!(event.cells(), row);
        let whole = r#"{"id":"019a0000-1111-7000-8000-aaaaaaaaaaaa","type":"report_ready",
            "occurred_at":"2026-11-17T10:00:00.000Z","accepted_at":"2026-11-17T10:00:01.000Z","data":{"report":{"size":1e400}},
            "deliveries":[{"id":"019a0000-1111-7000-8000-cccccccccccc","webhook_id":"019a0000-1111-7000-8000-dddddddddddd",
            "status":"held","attempts":2,"next_attempt_at":null}]}"#;
        let event: Event = serde_json::from_str(whole).expect("an event");
        assert_eq!(event.data.as_ref().map(|data| data.get()), Some(r#"{"report":{"size":1e400}}"#));
        let delivery = &event.deliveries[0];
        let names = Names::of([("019a0000-1111-7000-8000-dddddddddddd", "ops")]);
        assert_eq!(delivery.cells(&names), ["cccccccc", "ops", "held", "2", "-"]);
        assert_eq!(event.cells()[3..], ["-", "-", "1 held"]);
    }
}
