//! The commands, one file each, and their shared parts: the terminal, the API client, failures with hints.
//! The only room that prints.

use std::ffi::OsString;
use std::process::ExitCode;

use anstream::ColorChoice;
use clap::{CommandFactory as _, Parser, Subcommand, ValueEnum};

use crate::config;
use crate::formatter::{CHILD_COMMAND, compile_for_parent};

mod apply;
mod attempts;
mod audit;
mod client;
mod collector;
mod console;
mod deliveries;
mod demo;
mod event;
mod explained;
mod failure;
#[cfg(test)]
mod fake;
mod formatter;
mod listen;
mod logging;
mod lookup;
mod pretty;
mod receiver;
mod send;
mod serve;
mod since;
mod status;
mod store;
mod tail;
mod terminal;
mod token;
mod version;
mod webhook;

#[cfg(fuzzing)]
pub(crate) use collector::fuzzing as fuzz_collector;
pub use failure::Failure;

const EXAMPLES: &str = "\
Examples:
  heraldry demo                         a working host in ten seconds, with nothing to set up
  heraldry serve                        run a host; its first start prints an admin token
  heraldry listen --port 9000           a test destination that prints deliveries
  heraldry webhook create --name ops --url http://127.0.0.1:9000/ --generate-secret
  heraldry apply webhooks.toml          webhooks as code
  heraldry send events.jsonl            post events from a file
  heraldry status                       one screen: what waits, what fails, and why
  heraldry console                      the same in a browser
  heraldry tail --failed                failures as they happen
  heraldry deliveries --finding F-0407  where a finding went
  heraldry formatter new hello --lang js    start a custom formatter

Client commands read HERALDRY_URL and HERALDRY_TOKEN.
Exit codes: 0 success, 1 failure, 64 invalid command line or configuration.";

const COMPLETIONS_HELP: &str = "\
Examples:
  heraldry completions bash > ~/.local/share/bash-completion/completions/heraldry
  heraldry completions zsh > ~/.zfunc/_heraldry
  heraldry completions fish > ~/.config/fish/completions/heraldry.fish";

/// Webhook notification host: accepts security-testing events and delivers them to webhooks, signed, in
/// the format that each one is configured with. Every format is a sandboxed WebAssembly component.
#[derive(Parser)]
#[command(name = "heraldry", version, arg_required_else_help = true, after_help = EXAMPLES)]
pub struct Cli {
    /// Colour output: auto (on a terminal, unless NO_COLOR is set), always or never
    #[arg(long, global = true, value_enum, default_value = "auto", value_name = "WHEN", hide_possible_values = true)]
    color: Color,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Color {
    Auto,
    Always,
    Never,
}

#[derive(Subcommand)]
enum Command {
    /// Run the host: API, storage, scheduling, signing, formatters
    #[command(after_help = serve::HELP)]
    Serve(Box<serve::Args>),
    /// Run a self-contained demonstration: a host, a destination, one webhook per built-in format, sample events
    #[command(after_help = demo::HELP)]
    Demo,
    /// Run a local test destination that prints each delivery and verifies its signatures
    #[command(after_help = listen::HELP)]
    Listen(listen::Args),
    /// Post events from a file or standard input
    #[command(after_help = send::HELP)]
    Send(send::Args),
    /// Create, list and delete API tokens
    #[command(subcommand)]
    Token(token::Command),
    /// Create, show, change, test and delete webhooks
    #[command(subcommand)]
    Webhook(Box<webhook::Command>),
    /// Make the host have the webhooks that a file lists: webhooks as code
    #[command(after_help = apply::HELP)]
    Apply(apply::Args),
    /// Show an event, where it went and why; list events
    #[command(subcommand)]
    Event(event::Command),
    /// Show delivery attempts of all webhooks, newest first
    #[command(after_help = deliveries::HELP)]
    Deliveries(Box<deliveries::Args>),
    /// Print delivery attempts as they happen
    #[command(after_help = tail::HELP)]
    Tail(Box<tail::Args>),
    /// Show the host on one screen: webhooks with trouble, what waits, last errors
    #[command(after_help = status::HELP)]
    Status(status::Args),
    /// Print a one-time link to the console, and open it in a browser
    #[command(after_help = console::HELP)]
    Console(console::Args),
    /// See which formatters a host has; develop one: create a project, build, check, test, measure and install it
    #[command(subcommand)]
    Formatter(Box<formatter::Command>),
    /// Maintain the store: check, repair, export, import, compact
    #[command(subcommand)]
    Store(store::Command),
    /// Show who changed what, newest first
    Audit(audit::Args),
    /// Print a script that completes commands and flags in a shell
    #[command(after_help = COMPLETIONS_HELP)]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the version, the commit and target it was built from, and the formatter contracts it supports
    Version {
        /// Print JSON on standard output, for programs
        #[arg(long)]
        json: bool,
    },
    /// The body of the child process that compiles a component. Not on the command line, where a typing error would get
    /// it suggested: [`parse`] recognises it.
    #[command(skip)]
    CompileComponent {
        /// CPU time limit, in seconds.
        seconds: u64,
    },
}

/// Parses the command line.
///
/// # Errors
/// The exit code, once the help, the version or the usage error has been printed.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Cli, ExitCode> {
    let args: Vec<OsString> = args.into_iter().collect();
    color_choice(&args).write_global();
    if let Some(seconds) = child_seconds(&args) {
        return Ok(Cli { color: Color::Never, command: Command::CompileComponent { seconds } });
    }
    Cli::try_parse_from(args).map_err(|error| {
        if !error.use_stderr() {
            drop(error.print());
            return ExitCode::SUCCESS;
        }
        let text = error.render().ansi().to_string();
        let text = text.replace("For more information, try", "hint: for flags and examples, run");
        terminal::note(text.trim_end());
        Failure::already_printed_usage().exit_code()
    })
}

/// The time limit, if this is the command line of the child process; see [`compile_for_parent`].
fn child_seconds(args: &[OsString]) -> Option<u64> {
    match args {
        [_, command, seconds] if command.to_str() == Some(CHILD_COMMAND) => seconds.to_str()?.parse().ok(),
        _ => None,
    }
}

/// Prints the failure, unless the command has printed it already, and returns the exit code.
pub fn report(failure: &Failure) -> ExitCode {
    terminal::print_failure(failure);
    failure.exit_code()
}

/// Names the variables of the environment that look like ours and are not read.
fn warn_of_unknown_variables() {
    for unknown in config::unknown_variables() {
        terminal::note(format_args!("{}warning:{:#} {unknown}", terminal::WARN, terminal::WARN));
    }
}

impl Cli {
    /// Runs the command.
    ///
    /// # Errors
    /// The failure, with its exit code and a hint for the user.
    pub async fn run(self) -> Result<(), Failure> {
        // `serve` writes them to its log.
        if !matches!(self.command, Command::Serve(_) | Command::CompileComponent { .. }) {
            warn_of_unknown_variables();
        }
        match self.command {
            Command::Serve(args) => serve::run(&args).await,
            Command::Demo => demo::run().await,
            Command::Listen(args) => listen::run(&args).await,
            Command::Send(args) => send::run(&args).await,
            Command::Token(command) => token::run(&command).await,
            Command::Webhook(command) => webhook::run(&command).await,
            Command::Apply(args) => apply::run(&args).await,
            Command::Event(command) => event::run(&command).await,
            Command::Deliveries(args) => deliveries::run(&args).await,
            Command::Tail(args) => tail::run(&args).await,
            Command::Status(args) => status::run(&args).await,
            Command::Console(args) => console::run(&args).await,
            Command::Formatter(command) => formatter::run(*command).await,
            Command::Store(command) => store::run(command).await,
            Command::Audit(args) => audit::run(&args).await,
            Command::Completions { shell } => completions(shell),
            Command::Version { json } => version::run(json),
            Command::CompileComponent { seconds } => compile(seconds).await,
        }
    }
}

/// Prints the completion script of a shell.
fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "heraldry", &mut script);
    terminal::line(String::from_utf8_lossy(&script).trim_end())
}

/// Body of the child command; see [`compile_for_parent`].
async fn compile(seconds: u64) -> Result<(), Failure> {
    let compiled = tokio::task::spawn_blocking(move || compile_for_parent(seconds)).await;
    match compiled {
        Ok(Ok(0)) => Ok(()),
        Ok(Ok(code)) => Err(Failure::already_printed_with(code)),
        Ok(Err(error)) => Err(Failure::failed(error, "this command is internal: `heraldry serve` runs it")),
        Err(error) => Err(Failure::failed(error, "this command is internal: `heraldry serve` runs it")),
    }
}

/// Reads `--color` ahead of clap, because clap's own help and error messages must obey it too.
fn color_choice(args: &[OsString]) -> ColorChoice {
    let mut chosen = None;
    let mut args = args.iter().skip(1).map_while(|arg| arg.to_str().filter(|arg| *arg != "--"));
    while let Some(arg) = args.next() {
        match arg.strip_prefix("--color") {
            Some("") => chosen = args.next(),
            Some(value) => chosen = value.strip_prefix('=').or(chosen),
            None => {}
        }
    }
    match chosen {
        Some("always") => ColorChoice::Always,
        Some("never") => ColorChoice::Never,
        _ => ColorChoice::Auto,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_child_command_is_not_on_the_command_line() {
        let parsed = |line: &str| parse(line.split(' ').map(OsString::from).collect::<Vec<_>>());
        let child = parsed(&format!("heraldry {CHILD_COMMAND} 30")).expect("the parent's command line");
        assert!(matches!(child.command, Command::CompileComponent { seconds: 30 }));
        assert!(Cli::command().get_subcommands().all(|command| command.get_name() != CHILD_COMMAND));
        for typo in ["heraldry compile", "heraldry compil-component", "heraldry complie x"] {
            let error = Cli::try_parse_from(typo.split(' ')).err().expect("no such command").to_string();
            assert!(!error.contains(CHILD_COMMAND), "{error}");
        }
    }

    #[test]
    fn colour_choice_is_known_before_parsing() {
        let choice = |line: &str| color_choice(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        assert_eq!(choice("heraldry demo --color never"), ColorChoice::Never);
        assert_eq!(choice("heraldry --color=always demo"), ColorChoice::Always);
        assert_eq!(choice("heraldry send -- --color=always"), ColorChoice::Auto);
        assert_eq!(choice("heraldry demo --colors"), ColorChoice::Auto);
    }
}
