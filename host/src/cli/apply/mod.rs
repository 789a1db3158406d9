//! `heraldry apply`: webhooks as code. A file lists webhooks by name; the host is made to have them.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::client::Api;
use super::failure::{Failure, OrHint as _};
use super::terminal::{self, BAD, WARN, escape, escape_json, escape_lines, line, note, plural};
use crate::config::ClientArgs;

mod desired;
mod diff;
mod document;
mod execute;
mod file;
mod host;
mod plan;
mod secrets;

use desired::Wanted;
use document::{Document, Fault};
use execute::Executor;
use host::{Current, Formats};
use plan::{Action, Plan};
use secrets::{Sources, Values};

/// The largest file that is read, in bytes.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

pub(super) const HELP: &str = "\
File: TOML with [[webhooks]], or JSON {\"webhooks\": [...]}, with the fields of the API. A webhook is found by its name; a field \
that the file does not name gets its default. What the circuit breaker switched off stays off unless the file says is_active. \
A secret is `env:NAME` or `file:PATH`, in secret, url, values of headers, and options that the format's schema marks writeOnly; \
never HERALDRY_*, and only files below the file's own folder or --secrets-dir. No value is ever printed.
Order: the file's, then removals. A webhook that the host rejects does not stop the others, but nothing is removed after it; \
running the command again completes it.

Examples:
  heraldry apply webhooks.toml --dry-run           what would change
  heraldry apply webhooks.toml
  heraldry apply webhooks.json --prune --yes --secrets-dir /run/secrets

Exit codes: 0 the host has what the file says (or would, with --dry-run), 1 something was not done and is named, \
64 the file or the command line is invalid and nothing was done.";

#[derive(clap::Args)]
pub(super) struct Args {
    /// File of webhooks, TOML or JSON
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Show what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Remove the host's webhooks that the file does not name, with their history. Asks first, on a terminal
    #[arg(long)]
    prune: bool,
    /// Do not ask before webhooks are removed
    #[arg(long)]
    yes: bool,
    /// A further folder below which file:PATH may be
    #[arg(long, value_name = "DIR")]
    secrets_dir: Option<PathBuf>,
    #[command(flatten)]
    client: ClientArgs,
}

/// Makes the host have the file's webhooks.
pub(super) async fn run(args: &Args) -> Result<(), Failure> {
    let document = Document::parse(&args.file, &read(&args.file)?).map_err(|fault| invalid(args, &[fault]))?;
    // Before the host is asked: a broken file needs no host to say so.
    file::entries(&document).map_err(|faults| invalid(args, &faults))?;
    let sources = Sources::new(&args.file, args.secrets_dir.as_deref()).map_err(|error| {
        let error = anyhow::Error::new(error).context("--secrets-dir cannot be read");
        Failure::usage(error, "name a folder that exists")
    })?;
    let api = Api::new(&args.client)?;
    let formats = Formats::all(&api).await?;
    let (mut plan, values) = make_plan(args, &document, &formats, &sources, &api, true).await?;
    if !args.client.json {
        plan.print()?;
    }
    if args.dry_run {
        if args.client.json {
            return line(escape_json(&plan.to_json(true)));
        }
        note("nothing was changed (--dry-run)");
        return Ok(());
    }
    let removals = plan.count(Action::Remove);
    if removals > 0 && !args.yes && terminal::can_ask() {
        let removals = plural(removals as u64, "webhook");
        terminal::confirm_deletion(&format!("Apply this, and remove {removals} with their history?"))?;
        let (now, _) = make_plan(args, &document, &formats, &sources, &api, false).await?;
        if !plan.is_same(&now) {
            let error = anyhow::anyhow!("the host was changed while you were asked");
            return Err(Failure::failed(error, "nothing was done; run the command again to see a new plan"));
        }
    }
    execute(args, &api, &document, &formats, &values, &mut plan).await
}

/// Compares the file with the host.
async fn make_plan(
    args: &Args,
    document: &Document,
    formats: &Formats,
    sources: &Sources,
    api: &Api,
    warns: bool,
) -> Result<(Plan, Values), Failure> {
    let entries = file::entries(document).map_err(|faults| invalid(args, &faults))?;
    let wanted = Wanted::read(document, entries, formats, sources);
    if !wanted.faults.is_empty() {
        return Err(invalid(args, &wanted.faults));
    }
    for warning in wanted.warnings.iter().filter(|_| warns) {
        note(format_args!("{WARN}warning:{WARN:#} {}", escape(&located(&args.file, warning))));
    }
    let plan = Plan::new(wanted.webhooks, &Current::all(api).await?, formats, args.prune)?;
    Ok((plan, wanted.values))
}

async fn execute(
    args: &Args,
    api: &Api,
    document: &Document,
    formats: &Formats,
    values: &Values,
    plan: &mut Plan,
) -> Result<(), Failure> {
    let executor = Executor { api, document, formats, values, prints: !args.client.json };
    let outcome = executor.run(plan).await;
    if outcome.as_ref().is_err_and(Failure::is_output_closed) {
        return outcome;
    }
    if let Err(failure) = &outcome {
        terminal::print_failure(failure);
    }
    if args.client.json {
        line(escape_json(&plan.to_json(false)))?;
    } else {
        line(summary(plan))?;
    }
    let not_done: Vec<_> = plan.steps.iter().filter(|step| step.result == plan::Result::NotDone).collect();
    if !not_done.is_empty() {
        let names: Vec<_> = not_done.iter().map(|step| escape(&step.name)).collect();
        note(format_args!("{BAD}not done:{BAD:#} {}", names.join(", ")));
    }
    if outcome.is_ok() && not_done.is_empty() && plan.ended("failed") == 0 {
        return Ok(());
    }
    note("running the command again completes it; what is done already stays as it is");
    Err(Failure::already_printed())
}

fn summary(plan: &Plan) -> String {
    let ended = |result: &str, words: &str| format!("{} {words}", plan.ended(result));
    let mut counts = vec![
        ended("created", "created"),
        ended("changed", "changed"),
        ended("removed", "removed"),
        ended("unchanged", "unchanged"),
    ];
    for (result, words) in [("failed", "failed"), ("not_done", "not done")] {
        counts.extend((plan.ended(result) > 0).then(|| ended(result, words)));
    }
    format!("applied: {}", counts.join(", "))
}

fn read(file: &Path) -> Result<String, Failure> {
    let cannot_read = || format!("cannot read {}", file.display());
    let hint = "name a file of UTF-8 TOML or JSON; deploy/webhooks.toml is an example";
    let bytes = std::fs::metadata(file).with_context(cannot_read).or_hint(hint)?.len();
    if bytes > MAX_BYTES {
        let error = anyhow::anyhow!("{} is larger than {MAX_BYTES} bytes", file.display());
        return Err(Failure::usage(error, "a file of webhooks is far smaller: check the name"));
    }
    std::fs::read_to_string(file).with_context(cannot_read).or_hint(hint)
}

fn located(file: &Path, fault: &Fault) -> String {
    format!("{} line {}: {}", file.display(), fault.line, fault.text)
}

/// The failure of a file with faults, all of them.
fn invalid(args: &Args, faults: &[Fault]) -> Failure {
    let lines: Vec<String> =
        faults.iter().map(|fault| escape_lines(&located(&args.file, fault)).into_owned()).collect();
    let hint = "nothing was done; correct the file and run the command again";
    Failure::usage(anyhow::anyhow!(lines.join("\n  ")), hint)
}
