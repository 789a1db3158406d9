//! `heraldry formatter`: from an idea to a live format. The tools run components on the host's own runtime:
//! what passes here passes there.

use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};

use super::client;
use super::failure::{Failure, OrHint as _};
use super::terminal::{self, escape};
use crate::app;
use crate::config::{self, ClientArgs, ServeArgs};
use crate::formatter::{
    CodeCache, Compiler, ComponentRuntime, ComponentRuntimeOptions, Finding, Loaded, Report, Severity, code_cache_key,
    read_component,
};
use crate::model::event::{Event, NewEvent};
use crate::model::url::TransportKind;
use crate::samples;

mod bench;
mod build;
mod cases;
mod check;
mod diff;
mod golden;
mod new;
mod preview;
mod project;
mod remote;
mod replay;

/// What components are told as the host's name: the same on every machine, so that golden files are.
const HOST_NAME: &str = "heraldry.example";

const HELP: &str = "\
From an idea to a live format:
  heraldry formatter new hello --lang rust     a project that works
  cd hello
  heraldry formatter build                     makes hello.wasm
  heraldry formatter check hello.wasm          does a host take it?
  heraldry formatter test hello.wasm           its golden files
  heraldry formatter preview hello.wasm --event finding_added
  heraldry formatter install hello.wasm        live, on a running host";

/// The format that an author writes in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum Lang {
    /// Rust, with the SDK
    Rust,
    /// JavaScript, on QuickJS
    Js,
    /// Python
    Python,
}

#[derive(clap::Args, Clone, Debug)]
pub(super) struct ToolArgs {
    /// The host's TOML file, for its limits [default: heraldry.toml, if it is there]
    #[arg(long, env = "HERALDRY_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(clap::Args, Clone, Debug)]
pub(super) struct EventArgs {
    /// A sample's name (as in finding_added or finding_added--minimal) or a file with one event as JSON
    #[arg(long, value_name = "TYPE|FILE", default_value = "finding_added")]
    event: String,
    /// The webhook's format_options, a JSON object
    #[arg(long, value_name = "JSON", default_value = "{}")]
    options: String,
    /// How it would travel: http, syslog+udp or syslog+tcp
    #[arg(long, value_name = "TRANSPORT", default_value = "http", value_parser = transport_kind)]
    transport: TransportKind,
}

fn transport_kind(name: &str) -> Result<TransportKind, String> {
    TransportKind::from_name(name).ok_or_else(|| "expected http, syslog+udp or syslog+tcp".to_owned())
}

#[derive(Subcommand)]
#[command(after_help = HELP)]
pub(super) enum Command {
    /// Write a project that builds, fits and passes its tests; works without a network
    New {
        /// The format's name: a-z, 0-9 and -, beginning with a letter, at most 63 characters
        name: String,
        /// The language to write it in
        #[arg(long, value_enum)]
        lang: Lang,
        /// Where to write it [default: a folder of the format's name]
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
    /// Build the component of a project with its language's own tool
    Build {
        /// The project's folder
        #[arg(default_value = ".")]
        project: PathBuf,
    },
    /// Everything that is wrong with a component; exit code 0: it fits, 1: it does not, 2: it could not be judged
    Check {
        /// The component
        file: PathBuf,
        /// Print JSON on standard output, for programs
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        tool: ToolArgs,
    },
    /// What would be sent for an event, what the component logged, what the call cost
    Preview {
        /// The component
        file: PathBuf,
        #[command(flatten)]
        event: EventArgs,
        /// Show it again whenever a file changes
        #[arg(long)]
        watch: bool,
        /// Show what changes against this component
        #[arg(long, value_name = "OTHER")]
        diff: Option<PathBuf>,
        #[command(flatten)]
        tool: ToolArgs,
    },
    /// Compare what a component makes of every sample with the golden files beside it
    #[command(after_help = golden::HELP)]
    Test {
        /// The component
        file: PathBuf,
        /// Write the golden files anew; review the difference
        #[arg(long)]
        bless: bool,
        #[command(flatten)]
        tool: ToolArgs,
    },
    /// What a call costs: instructions (the same on every machine), memory, time, and how far the limits are
    #[command(after_help = bench::HELP)]
    Bench {
        /// The component
        file: PathBuf,
        /// Keep the numbers as the baseline that later runs are compared with
        #[arg(long)]
        save: bool,
        /// Print JSON on standard output, for programs
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        tool: ToolArgs,
    },
    /// What would change for the last real deliveries of a host if this component were used
    #[command(after_help = replay::HELP)]
    Replay {
        /// The component
        file: PathBuf,
        /// How many deliveries, 1 to 10000
        #[arg(long, value_name = "COUNT", default_value_t = 100)]
        last: usize,
        /// The format whose deliveries are replayed [default: the component's own name]
        #[arg(long, value_name = "NAME")]
        format: Option<String>,
        #[command(flatten)]
        client: ClientArgs,
        #[command(flatten)]
        tool: ToolArgs,
    },
    /// Upload a component to a running host; live at once
    Install {
        /// The component
        file: PathBuf,
        #[command(flatten)]
        client: ClientArgs,
        #[command(flatten)]
        tool: ToolArgs,
    },
    /// The versions of a formatter that a host knows, newest first
    Versions {
        /// The format's name
        name: String,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Use another version of an uploaded formatter
    Activate {
        /// The format's name
        name: String,
        /// The version, or sha256: and its digest
        version: String,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Use the version of an uploaded formatter that was in use before
    Rollback {
        /// The format's name
        name: String,
        #[command(flatten)]
        client: ClientArgs,
    },
}

/// Runs one of the commands.
pub(super) async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::New { name, lang, dir } => new::run(&name, lang, dir.as_deref()),
        Command::Build { project } => build::run(&project),
        Command::Check { file, json, tool } => check::run(&file, json, &tool),
        Command::Preview { file, event, watch, diff, tool } => {
            preview::run(&preview::Wanted { file, event, watch, diff, tool }).await
        }
        Command::Test { file, bless, tool } => golden::run(&file, bless, &tool),
        Command::Bench { file, save, json, tool } => bench::run(&file, save, json, &tool),
        Command::Replay { file, last, format, client, tool } => {
            replay::run(&file, last, format.as_deref(), &client, &tool).await
        }
        Command::Install { file, client, tool } => remote::install(&file, &client, &tool).await,
        Command::Versions { name, client } => remote::versions(&name, &client).await,
        Command::Activate { name, version, client } => remote::activate(&name, &version, &client).await,
        Command::Rollback { name, client } => remote::rollback(&name, &client).await,
    }
}

/// The runtime of a host with these limits.
fn runtime(tool: &ToolArgs) -> Result<ComponentRuntime, Failure> {
    let args = ServeArgs { config: tool.config.clone(), ..ServeArgs::default() };
    let config = config::load(&args).map_err(|error| Failure::usage(error, "--config names the host's TOML file"))?;
    // Compiled code of one's own, kept for the next command; without a home it is compiled each time.
    let code_cache =
        config::cache_folder().and_then(|folder| Some(CodeCache { key: code_cache_key(&folder).ok()?, folder }));
    ComponentRuntime::new(ComponentRuntimeOptions {
        settings: config.sandbox,
        calls: 2,
        compiler: Compiler::Child,
        code_cache,
        host_name: HOST_NAME.to_owned(),
        samples: app::trial_samples(),
    })
    .or_hint("is address space limited on this machine (`ulimit -v`)?")
}

/// A component's bytes.
fn read(runtime: &ComponentRuntime, file: &Path) -> Result<Vec<u8>, Failure> {
    let most = usize::try_from(runtime.limits(Default::default()).component_bytes).unwrap_or(usize::MAX);
    read_component(file, most).map_err(|rejection| {
        let error = anyhow::anyhow!("{}: {}", file.display(), rejection.reason);
        Failure::failed(error, "`heraldry formatter build` makes the component of a project")
    })
}

/// A component that fits.
fn load(runtime: &ComponentRuntime, file: &Path) -> Result<Loaded, Failure> {
    let bytes = read(runtime, file)?;
    let (report, loaded) = runtime.check(&bytes);
    loaded.ok_or_else(|| misfit(file, &report))
}

fn misfit(file: &Path, report: &Report) -> Failure {
    let errors = report.findings.iter().filter(|finding| finding.severity == Severity::Error);
    let words: Vec<String> = errors.map(|finding| format!("\n  {}: {}", finding.code, finding.message)).collect();
    let error = anyhow::anyhow!("{} does not fit{}", file.display(), words.concat());
    Failure::failed(error, format!("`heraldry formatter check {}` says what to do", file.display()))
}

/// One finding for a person.
fn show_finding(finding: &Finding) -> Result<(), Failure> {
    let (style, word) = match finding.severity {
        Severity::Error => (terminal::BAD, "error"),
        Severity::Warning => (terminal::WARN, "warning"),
    };
    terminal::line(format_args!("{style}{word}[{}]{style:#}: {}", finding.code, escape(&finding.message)))?;
    terminal::line(format_args!("  {}fix:{:#} {}", terminal::NAME, terminal::NAME, escape(&finding.fix)))
}

/// The event that the arguments name: a sample, or a file.
fn event(text: &str) -> Result<Event, Failure> {
    if let Some(sample) = samples::all().iter().find(|sample| sample.name == text) {
        return samples::event(sample)
            .ok_or_else(|| Failure::failed(anyhow::anyhow!("the sample is no event"), "report it"));
    }
    let json = std::fs::read_to_string(text).map_err(|error| {
        let names: Vec<&str> =
            samples::all().iter().map(|sample| sample.name).filter(|name| !name.contains("--")).collect();
        let error = anyhow::anyhow!("--event: `{text}` is no sample and no file that can be read ({error})");
        Failure::usage(
            error,
            format!("the samples are {}, and variants such as finding_added--minimal", names.join(", ")),
        )
    })?;
    parse_event(text, json.trim())
}

/// An event as a host would have accepted it.
fn parse_event(place: &str, json: &str) -> Result<Event, Failure> {
    let new = NewEvent::parse(json, "").map_err(|error| {
        let words: Vec<String> = error.iter().map(|fault| format!("\n  {}: {}", fault.pointer, fault.detail)).collect();
        let error = anyhow::anyhow!("{place}: it is no event that a host takes{}", words.concat());
        Failure::failed(error, "an event is what `POST /api/v1/events` takes; see the API's documentation")
    })?;
    Ok(samples::accepted(new))
}

/// The options, held against the component's schema.
fn options(loaded: &Loaded, text: &str) -> Result<String, Failure> {
    let value: serde_json::Value = serde_json::from_str(text).map_err(|error| {
        Failure::usage(anyhow::anyhow!("--options: {error}"), "give one JSON object, as in '{\"a\": 1}'")
    })?;
    let faults = loaded.check_options(&value);
    if faults.is_empty() {
        return Ok(value.to_string());
    }
    let words: Vec<String> = faults.iter().map(|fault| format!("\n  {}: {}", fault.pointer, fault.detail)).collect();
    let error = anyhow::anyhow!("--options do not satisfy the component's schema{}", words.concat());
    Err(Failure::usage(error, "the schema is the one in the manifest that the component describes itself with"))
}
