//! `heraldry deliveries`: attempts of all webhooks, newest first.

use reqwest::Method;

use super::attempts::{Attempt, Filters, HEADING, Names};
use super::client::Api;
use super::failure::Failure;
use super::since::{Since, parse_since};
use super::terminal::{self, escape, escape_json, line, note};
use crate::config::ClientArgs;

pub(super) const HELP: &str = "\
Examples:
  heraldry deliveries --failed --since 1h                what failed in the last hour, and why
  heraldry deliveries --finding F-0407                   where a finding went
  heraldry deliveries --webhook siem --class timeout
  heraldry tail --failed                                 failures as they happen";

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    filters: Filters,
    /// Only attempts since then: a time (RFC 3339), or how long ago (15min, 24h, 7d)
    #[arg(long, value_name = "TIME|AGE", value_parser = parse_since)]
    since: Option<Since>,
    /// Only attempts until then
    #[arg(long, value_name = "TIME|AGE", value_parser = parse_since)]
    until: Option<Since>,
    /// Number of attempts, 1 to 200 [default: 50]
    #[arg(long, value_name = "COUNT")]
    limit: Option<String>,
    /// Only attempts older than this one, by its id (the next page)
    #[arg(long, value_name = "ATTEMPT")]
    before: Option<String>,
    #[command(flatten)]
    client: ClientArgs,
}

/// Lists attempts.
pub(super) async fn run(args: &Args) -> Result<(), Failure> {
    let api = Api::new(&args.client)?;
    let mut query = args.filters.query(&api).await?;
    let given = [
        ("since", args.since.map(|since| since.at().to_string())),
        ("until", args.until.map(|until| until.at().to_string())),
        ("limit", args.limit.clone()),
        ("before", args.before.clone()),
    ];
    query.extend(given.into_iter().filter_map(|(name, value)| value.map(|value| (name, value))));
    let response = api.call(api.request(Method::GET, "/deliveries").query(&query)).await?;
    response.note_indexing();
    if args.client.json {
        return line(escape_json(&response.body));
    }
    let attempts: Vec<Attempt> = response.parse()?;
    let names = Names::load(&api).await?;
    let rows: Vec<_> = attempts.iter().map(|attempt| (attempt.style(), attempt.cells(&names).to_vec())).collect();
    terminal::table(&HEADING, &rows)?;
    if let Some(last) = attempts.last().filter(|_| response.has_next_page()) {
        note(format_args!("\nnext page: the same command with --before {}", escape(&last.id)));
    }
    args.filters.note_unattempted(&api).await
}
