//! `heraldry send`: events from a file or standard input into a host.

use std::io::{IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::client::Api;
use super::failure::{Failure, OrHint as _};
use super::terminal::{BAD, escape, escape_json, line, note, plural};
use crate::config::{ClientArgs, units};

pub(crate) mod input;
mod post;

use post::{Poster, Tally};

pub(super) const HELP: &str = "\
Input: one JSON object, an array of them, or one object a line. \
An event without an `id` gets one before the first try, so that a repeated request delivers nothing twice. \
Everything else goes through byte for byte. \
A refused event is named with its line and what is wrong; the others are posted.

Examples:
  heraldry send events.jsonl
  jq -c '.[]' report.json | heraldry send -
  echo '{\"type\":\"phase_changed\",\"data\":{\"phase\":{\"name\":\"recon\"}}}' | heraldry send";

#[derive(clap::Args)]
pub(super) struct Args {
    /// File with events; - is standard input
    #[arg(value_name = "FILE", default_value = "-")]
    file: PathBuf,
    /// How long to go on when the host does not answer or says `later` (429, 503, 507)
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = units::duration)]
    patience: Duration,
    #[command(flatten)]
    client: ClientArgs,
}

/// Posts every event; fails when any was refused.
pub(super) async fn run(args: &Args) -> Result<(), Failure> {
    let api = Api::new(&args.client)?;
    let text = read(&args.file)?;
    let name = if args.file == Path::new("-") { "standard input".to_owned() } else { args.file.display().to_string() };
    let events = input::parse(&text).map_err(|error| {
        let error = anyhow::Error::new(error).context(name);
        Failure::failed(error, "nothing was sent; the input is one JSON object, an array, or one object a line")
    })?;

    let bar = progress(events.len() as u64);
    let mut poster = Poster::new(&api, args.patience, bar.clone());
    let outcome = poster.post_all(&events).await;
    bar.finish_and_clear();
    let tally = poster.into_tally();
    for refusal in &tally.refused {
        let place = &events[refusal.index];
        note(format_args!("{BAD}refused:{BAD:#} line {}: {}", place.line, escape(&refusal.reason)));
    }
    if args.client.json {
        line(escape_json(&tally.to_json(&events)))?;
    } else {
        line(summary(&tally))?;
    }
    outcome.inspect_err(|_| {
        let done = tally.accepted + tally.refused.len() as u64;
        note(format_args!("{} not sent", plural(events.len() as u64 - done, "event")));
    })?;
    if tally.refused.is_empty() { Ok(()) } else { Err(Failure::already_said()) }
}

fn summary(tally: &Tally) -> String {
    let derived = if tally.derived > 0 { format!(", {} derived", tally.derived) } else { String::new() };
    let refused = tally.refused.len();
    let deliveries = plural(tally.deliveries, "delivery");
    format!("accepted {}: {deliveries} queued{derived}; refused {refused}", plural(tally.accepted, "event"))
}

fn read(file: &Path) -> Result<String, Failure> {
    if file != Path::new("-") {
        return std::fs::read_to_string(file)
            .with_context(|| format!("cannot read {}", file.display()))
            .or_hint("name a file of UTF-8 JSON, or - for standard input");
    }
    if std::io::stdin().is_terminal() {
        note("reading events from standard input; end with Ctrl-D");
    }
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .context("cannot read standard input")
        .or_hint("it must be UTF-8 JSON")?;
    Ok(text)
}

/// A bar on a terminal, nothing in a pipe.
fn progress(events: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(events), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} events, {per_sec}, {eta} left");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
