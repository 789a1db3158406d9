//! The commands, one file each, and their shared parts: the terminal, the API client, failures with hints.
//! The only room that prints.

use std::ffi::OsString;
use std::process::ExitCode;

use anstream::ColorChoice;
use clap::{Parser, Subcommand, ValueEnum};

use crate::config::ServeArgs;
use crate::formatter::{CHILD_COMMAND, compile_for_parent};

mod client;
mod collector;
mod demo;
mod failure;
mod formatter;
mod listen;
mod logging;
mod pretty;
mod receiver;
mod send;
mod serve;
mod store;
mod terminal;
mod token;
mod webhook;

#[cfg(fuzzing)]
pub(crate) use collector::fuzzing as fuzz_collector;
pub use failure::Failure;

const EXAMPLES: &str = "\
Examples:
  heraldry demo                         a working host in ten seconds, with nothing to set up
  heraldry serve                        run a host; its first start prints an admin token
  heraldry listen --port 9000           a test destination that prints deliveries
  heraldry webhook create --name ops --url http://127.0.0.1:9000/
  heraldry send events.jsonl            post events from a file
  heraldry formatter new hello --lang js    start a custom formatter

Client commands read HERALDRY_URL and HERALDRY_TOKEN.
Exit codes: 0 success, 1 failure, 64 invalid command line or configuration.";

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
    Serve(Box<ServeArgs>),
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
    /// Develop a formatter: create a project, build, check, test, measure and install the component
    #[command(subcommand)]
    Formatter(Box<formatter::Command>),
    /// Maintain the store: check, repair, export, import, compact
    #[command(subcommand)]
    Store(store::Command),
    /// Compile a component for the parent process
    #[command(name = CHILD_COMMAND, hide = true)]
    CompileComponent {
        /// CPU time limit, in seconds
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

/// Prints the failure, unless the command has printed it already, and returns the exit code.
pub fn report(failure: &Failure) -> ExitCode {
    terminal::print_failure(failure);
    failure.exit_code()
}

impl Cli {
    /// Runs the command.
    ///
    /// # Errors
    /// The failure, with its exit code and a hint for the user.
    pub async fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Serve(args) => serve::run(&args).await,
            Command::Demo => demo::run().await,
            Command::Listen(args) => listen::run(&args).await,
            Command::Send(args) => send::run(&args).await,
            Command::Token(command) => token::run(&command).await,
            Command::Webhook(command) => webhook::run(&command).await,
            Command::Formatter(command) => formatter::run(*command).await,
            Command::Store(command) => store::run(command).await,
            Command::CompileComponent { seconds } => compile(seconds).await,
        }
    }
}

/// Body of the hidden child command; see [`compile_for_parent`].
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
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
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
