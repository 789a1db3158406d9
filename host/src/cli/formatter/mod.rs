//! `heraldry formatter`: the tools of formatter authors. They check and run components with the code and the limits
//! of the host, so that a component that passes here passes there.

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
use crate::watchdog::Watchdog;

mod bench;
mod build;
mod cases;
mod check;
mod diff;
mod digests;
mod golden;
mod new;
mod preview;
mod project;
mod remote;
mod replay;

/// The host name passed to components: fixed, so that golden files are the same on every machine.
const HOST_NAME: &str = "heraldry.example";

const HELP: &str = "\
From nothing to a format in use:
  heraldry formatter new hello --lang rust     write a working project
  cd hello
  heraldry formatter build                     build hello.wasm
  heraldry formatter check                     check that a host accepts it
  heraldry formatter test                      compare with its golden files
  heraldry formatter preview --event finding_added
  heraldry formatter install                   upload it to a running host

In a project's folder the component need not be named. `heraldry formatter list` shows what a host has.";

/// The language of a formatter project.
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
    /// The host's TOML file, whose limits apply [default: heraldry.toml, if it exists]
    #[arg(long, env = "HERALDRY_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(clap::Args, Clone, Debug)]
pub(super) struct EventArgs {
    /// A sample's name (as in finding_added or finding_added--minimal) or a file with one event as JSON [default:
    /// finding_added; for a digest the findings of a scan]
    #[arg(long, value_name = "TYPE|FILE")]
    event: Option<String>,
    /// Show a digest of so many events instead, 1 to 1000
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1000))]
    digest: Option<u32>,
    /// The webhook's format_options, a JSON object
    #[arg(long, value_name = "JSON", default_value = "{}")]
    options: String,
    /// Transport that the delivery is rendered for: http, syslog+udp or syslog+tcp
    #[arg(long, value_name = "TRANSPORT", default_value = "http", value_parser = parse_transport)]
    transport: TransportKind,
}

fn parse_transport(name: &str) -> Result<TransportKind, String> {
    TransportKind::from_name(name).ok_or_else(|| "expected http, syslog+udp or syslog+tcp".to_owned())
}

#[derive(Subcommand)]
#[command(after_help = HELP)]
pub(super) enum Command {
    /// Write a working project with tests; needs no network
    New {
        /// The format's name: a-z, 0-9 and -, beginning with a letter, at most 63 characters
        name: String,
        /// The language to write it in
        #[arg(long, value_enum)]
        lang: Lang,
        /// Folder to write it to [default: the format's name]
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
    /// Build a project's component with its language's own toolchain
    Build {
        /// The project's folder
        #[arg(default_value = ".")]
        project: PathBuf,
    },
    /// Report everything that is wrong with a component; exit code 0: accepted, 1: rejected, 2: could not be checked
    Check {
        /// The component [default: in a project's folder, the project's]
        file: Option<PathBuf>,
        /// Print JSON on standard output, for programs
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        tool: ToolArgs,
    },
    /// Show the delivery for an event, the component's log and the cost of the call
    Preview {
        /// The component [default: in a project's folder, the project's]
        file: Option<PathBuf>,
        #[command(flatten)]
        event: EventArgs,
        /// Run again whenever a file changes
        #[arg(long)]
        watch: bool,
        /// Show the difference from the output of this component
        #[arg(long, value_name = "OTHER")]
        diff: Option<PathBuf>,
        #[command(flatten)]
        tool: ToolArgs,
    },
    /// Compare the component's output for every sample with the golden files beside it
    #[command(after_help = golden::HELP)]
    Test {
        /// The component [default: in a project's folder, the project's]
        file: Option<PathBuf>,
        /// Rewrite the golden files; review the diff before you commit them
        #[arg(long)]
        bless: bool,
        #[command(flatten)]
        tool: ToolArgs,
    },
    /// Measure a call: instructions (the same on every machine), memory, time, and the headroom to each limit
    #[command(after_help = bench::HELP)]
    Bench {
        /// The component [default: in a project's folder, the project's]
        file: Option<PathBuf>,
        /// Save the numbers as the baseline that later runs are compared with
        #[arg(long)]
        save: bool,
        /// Print JSON on standard output, for programs
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        tool: ToolArgs,
    },
    /// Compare a component with the formatter in use, over the last real deliveries of a host
    #[command(after_help = replay::HELP)]
    Replay {
        /// The component [default: in a project's folder, the project's]
        file: Option<PathBuf>,
        /// Number of deliveries, 1 to 10000
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
    /// Upload a component to a running host, which uses it at once
    Install {
        /// The component [default: in a project's folder, the project's]
        file: Option<PathBuf>,
        #[command(flatten)]
        client: ClientArgs,
        #[command(flatten)]
        tool: ToolArgs,
    },
    /// List the formatters of a host; rejected ones in red, with the reason
    List {
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Show one formatter of a host, with its options
    Get {
        /// The format's name
        name: String,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Delete an uploaded formatter with its versions, if no webhook names it. Asks first, on a terminal
    Delete {
        /// The format's name
        name: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// List the versions of a formatter on a host, newest first
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
        /// The version, or its digest as sha256:HEX
        version: String,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Go back to the previously used version of an uploaded formatter
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
        Command::Check { file, json, tool } => check::run(file, json, &tool),
        Command::Preview { file, event, watch, diff, tool } => {
            let file = project::component(file)?;
            preview::run(&preview::Args { file, event, watch, diff, tool }).await
        }
        Command::Test { file, bless, tool } => golden::run(&project::component(file)?, bless, &tool),
        Command::Bench { file, save, json, tool } => bench::run(&project::component(file)?, save, json, &tool),
        Command::Replay { file, last, format, client, tool } => {
            replay::run(&project::component(file)?, last, format.as_deref(), &client, &tool).await
        }
        Command::Install { file, client, tool } => remote::install(&project::component(file)?, &client, &tool).await,
        Command::List { client } => remote::list(&client).await,
        Command::Get { name, client } => remote::get(&name, &client).await,
        Command::Delete { name, yes, client } => remote::delete(&name, yes, &client).await,
        Command::Versions { name, client } => remote::versions(&name, &client).await,
        Command::Activate { name, version, client } => remote::activate(&name, &version, &client).await,
        Command::Rollback { name, client } => remote::rollback(&name, &client).await,
    }
}

/// The runtime of a host with these limits.
fn runtime(tool: &ToolArgs) -> Result<ComponentRuntime, Failure> {
    let args = ServeArgs::with_file(tool.config.clone());
    let config = config::load(&args)
        .map_err(|error| Failure::usage(error, "correct the host's TOML file, or name another one with --config"))?;
    // Compiled code is cached in the user's cache folder for the next command; without one, each run compiles.
    let code_cache =
        config::cache_folder().and_then(|folder| Some(CodeCache { key: code_cache_key(&folder).ok()?, folder }));
    ComponentRuntime::new(ComponentRuntimeOptions {
        settings: config.sandbox,
        calls: 2,
        compiler: Compiler::Child,
        code_cache,
        host_name: HOST_NAME.to_owned(),
        samples: app::trial_samples(),
        watchdog: Watchdog::default(),
    })
    .or_hint("raise the limit of address space (`ulimit -v`)")
}

/// Reads a component's file.
fn read(runtime: &ComponentRuntime, file: &Path) -> Result<Vec<u8>, Failure> {
    let most = usize::try_from(runtime.limits(Default::default()).component_bytes).unwrap_or(usize::MAX);
    read_component(file, most).map_err(|rejection| {
        let error = anyhow::anyhow!("{}: {}", file.display(), rejection.reason);
        Failure::failed(error, "build the component of a project with `heraldry formatter build`")
    })
}

/// Reads and loads a component whose interface and manifest fit, whatever it does with the samples.
fn load_without_samples(runtime: &ComponentRuntime, file: &Path) -> Result<Loaded, Failure> {
    let bytes = read(runtime, file)?;
    let (report, loaded) = runtime.check_without_samples(&bytes);
    loaded.ok_or_else(|| rejected(file, &report))
}

/// Reads, checks and loads a component.
fn load(runtime: &ComponentRuntime, file: &Path) -> Result<Loaded, Failure> {
    let bytes = read(runtime, file)?;
    let (report, loaded) = runtime.check(&bytes);
    loaded.ok_or_else(|| rejected(file, &report))
}

fn rejected(file: &Path, report: &Report) -> Failure {
    let errors = report.findings.iter().filter(|finding| finding.severity == Severity::Error);
    let words: Vec<String> = errors.map(|finding| format!("\n  {}: {}", finding.code, finding.message)).collect();
    let error = anyhow::anyhow!("{} is rejected{}", file.display(), words.concat());
    Failure::failed(error, format!("run `heraldry formatter check {}` for the fix of each error", file.display()))
}

/// Prints one finding and its fix.
fn show_finding(finding: &Finding) -> Result<(), Failure> {
    let (style, word) = match finding.severity {
        Severity::Error => (terminal::BAD, "error"),
        Severity::Warning => (terminal::WARN, "warning"),
    };
    terminal::line(format_args!("{style}{word}[{}]{style:#}: {}", finding.code, escape(&finding.message)))?;
    terminal::line(format_args!("  {}fix:{:#} {}", terminal::NAME, terminal::NAME, escape(&finding.fix)))
}

/// The event named by `--event`: a sample, or a file.
fn event(text: Option<&str>) -> Result<Event, Failure> {
    let text = text.unwrap_or("finding_added");
    if let Some(sample) = samples::all().iter().find(|sample| sample.name == text) {
        return samples::event(sample).ok_or_else(|| {
            Failure::failed(anyhow::anyhow!("the sample is not a valid event"), "this is a bug in Heraldry: report it")
        });
    }
    let json = std::fs::read_to_string(text).map_err(|error| {
        let names: Vec<&str> =
            samples::all().iter().map(|sample| sample.name).filter(|name| !name.contains("--")).collect();
        let error = anyhow::anyhow!("--event: `{text}` is neither a sample nor a readable file ({error})");
        Failure::usage(
            error,
            format!(
                "name a file, or one of the samples {}, or a variant such as finding_added--minimal",
                names.join(", ")
            ),
        )
    })?;
    parse_event(text, json.trim())
}

/// Parses an event as a host accepts it, or as it makes it of what happens to itself.
fn parse_event(source: &str, json: &str) -> Result<Event, Failure> {
    let new = NewEvent::parse_any(json, "").map_err(|error| {
        let words: Vec<String> = error.iter().map(|fault| format!("\n  {}: {}", fault.pointer, fault.detail)).collect();
        let error = anyhow::anyhow!("{source}: not an event that a host accepts{}", words.concat());
        Failure::failed(error, "write the event as for `POST /api/v1/events`; the API documentation has the schema")
    })?;
    Ok(samples::accepted(new))
}

/// Parses the options and validates them against the component's schema.
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
    Err(Failure::usage(error, "correct the options; the schema is `options_schema` in the component's manifest"))
}
