//! `heraldry send`: posts events from a file or standard input, or samples.

use std::io::{IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::client::Api;
use super::failure::{Failure, OrHint as _};
use super::terminal::{BAD, WARN, escape, escape_json, line, note, plural};
use crate::config::{ClientArgs, units};

mod dry_run;
pub(crate) mod input;
mod post;
mod sample;

use post::{Poster, Tally};

pub(super) const HELP: &str = "\
Input: one JSON object, an array of objects, or one object a line. \
An event without an `id` gets one before the first request, so that a retried request delivers nothing twice \
(idempotency). Everything else is sent byte for byte. \
A rejected event is reported with its line and the reason; the others are posted. \
A dry run shows for each event which webhooks would get it and why not (to a token of the role ingest only how many), and \
sends nothing; it counts for the token's rate.

Examples:
  heraldry send events.jsonl
  heraldry send --sample finding_added --sample report_ready
  heraldry send --dry-run events.jsonl
  jq -c '.[]' report.json | heraldry send -
  echo '{\"type\":\"phase_changed\",\"data\":{\"phase\":{\"name\":\"recon\"}}}' | heraldry send";

#[derive(clap::Args)]
pub(super) struct Args {
    /// File of events; - is standard input
    #[arg(value_name = "FILE", default_value = "-")]
    file: PathBuf,
    /// Post the sample of this event type instead of a file, repeatable
    #[arg(long, value_name = "TYPE", conflicts_with = "file")]
    sample: Vec<String>,
    /// Time limit of retrying a request when the host does not respond or is overloaded (429, 502, 503, 504, 507)
    #[arg(long = "patience", value_name = "DURATION", default_value = "30s", value_parser = units::duration)]
    retry_for: Duration,
    /// Show what would become of each event, and send nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    client: ClientArgs,
}

/// Posts every event; fails if any was rejected.
pub(super) async fn run(args: &Args) -> Result<(), Failure> {
    let api = Api::new(&args.client)?;
    let events = events(args)?;
    if args.dry_run {
        dry_run::is_known(&api).await?;
    }
    let bar = progress(events.len() as u64);
    let mut poster = Poster::new(&api, args.retry_for, bar.clone()).rehearsing(args.dry_run);
    let outcome = poster.post_all(&events).await;
    bar.finish_and_clear();
    let tally = poster.into_tally();
    for rejection in &tally.rejected {
        let origin = origin(args, &events[rejection.index]);
        note(format_args!("{BAD}rejected:{BAD:#} {origin}: {}", escape(&rejection.reason)));
    }
    show_warnings(args, &tally, &events);
    if args.dry_run {
        dry_run::show(&tally, &events, args.client.json)?;
        return finish(args, outcome, &tally, events.len());
    }
    if outcome.is_ok() {
        note_samples(args, &tally, &events);
    }
    if args.client.json {
        line(escape_json(&tally.to_json(&events)))?;
    } else {
        line(summary(&tally))?;
    }
    finish(args, outcome, &tally, events.len())
}

/// Says how many events were not reached, and fails if there are some, or if any was rejected.
fn finish(args: &Args, outcome: Result<(), Failure>, tally: &Tally, events: usize) -> Result<(), Failure> {
    outcome.inspect_err(|_| {
        let done = tally.accepted + (tally.rehearsed.len() + tally.rejected.len()) as u64;
        let what = if args.dry_run { "judged" } else { "sent" };
        note(format_args!("{} not {what}", plural(events as u64 - done, "event")));
    })?;
    if tally.rejected.is_empty() { Ok(()) } else { Err(Failure::already_printed()) }
}

/// The events to post.
fn events(args: &Args) -> Result<Vec<input::Event>, Failure> {
    if !args.sample.is_empty() {
        return sample::events(&args.sample);
    }
    let text = read(&args.file)?;
    let name = if args.file == Path::new("-") { "standard input".to_owned() } else { args.file.display().to_string() };
    input::parse(&text).map_err(|error| {
        let error = anyhow::Error::new(error).context(name);
        Failure::failed(error, "nothing was sent; give one JSON object, an array of objects, or one object a line")
    })
}

/// Where an event comes from: its line, or its sample.
fn origin(args: &Args, event: &input::Event) -> String {
    match args.sample.get(event.line - 1) {
        Some(name) => format!("sample of {}", escape(name)),
        None => format!("line {}", event.line),
    }
}

/// Says which samples were posted, and as which events.
fn note_samples(args: &Args, tally: &Tally, events: &[input::Event]) {
    let is_accepted = |index: usize| tally.rejected.iter().all(|rejection| rejection.index != index);
    let posted = args.sample.iter().zip(events).enumerate().filter(|(index, _)| is_accepted(*index));
    posted.for_each(|(_, (name, event))| note(sample::describe(name, event)));
}

/// Members that the host does not know: the events are accepted, and formats may not show what they hold.
fn show_warnings(args: &Args, tally: &Tally, events: &[input::Event]) {
    for warning in &tally.warnings {
        let first = origin(args, &events[warning.index]);
        let others = match warning.events - 1 {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let (pointer, detail) = (escape(&warning.pointer), escape(&warning.detail));
        note(format_args!("{WARN}warning:{WARN:#} {first}{others}: {pointer} {detail}"));
    }
    if tally.more_warnings > 0 {
        note(format_args!("{WARN}warning:{WARN:#} {} more", tally.more_warnings));
    }
}

fn summary(tally: &Tally) -> String {
    let derived = if tally.derived > 0 { format!(", {} derived", tally.derived) } else { String::new() };
    let rejected = tally.rejected.len();
    let deliveries = plural(tally.deliveries, "delivery");
    format!("accepted {}: {deliveries} queued{derived}; rejected {rejected}", plural(tally.accepted, "event"))
}

fn read(file: &Path) -> Result<String, Failure> {
    if file != Path::new("-") {
        return std::fs::read_to_string(file)
            .with_context(|| format!("cannot read {}", file.display()))
            .or_hint("name a file of UTF-8 JSON, or - for standard input");
    }
    if std::io::stdin().is_terminal() {
        note("reading events from standard input; press Ctrl-D to finish");
    }
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .context("cannot read standard input")
        .or_hint("give UTF-8 JSON on standard input")?;
    Ok(text)
}

/// A progress bar; hidden unless standard error is a terminal.
fn progress(events: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(events), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} events, {per_sec}, {eta} left");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
