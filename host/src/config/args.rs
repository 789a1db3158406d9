//! Command-line arguments that are settings. clap also reads the environment variable of each, and a flag wins over it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::table::{self, SECTIONS, Setting};
use super::{Config, ConfigError, load};
use crate::model::secret::Secret;

/// The settings of `serve` as text, not yet checked: [`load`] checks all of them at once.
#[derive(Clone, Default)]
pub struct ServeArgs {
    config: Option<PathBuf>,
    /// By the setting's name; several values only for a list.
    values: BTreeMap<&'static str, Vec<String>>,
}

impl ServeArgs {
    /// No flag or variable but the file's path; `None` for the default file.
    pub fn with_file(config: Option<PathBuf>) -> Self {
        Self { config, values: BTreeMap::new() }
    }

    /// The file that the command line or the environment names.
    pub(super) fn config(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    /// The setting's values on the command line or, without the flag, in the environment.
    pub(super) fn given(&self, setting: &Setting) -> Option<&[String]> {
        self.values.get(setting.name).map(Vec::as_slice)
    }
}

impl clap::Args for ServeArgs {
    fn augment_args(command: Command) -> Command {
        let config = Arg::new("config")
            .long("config")
            .env("HERALDRY_CONFIG")
            .value_name("FILE")
            .value_parser(clap::value_parser!(PathBuf))
            .help(
                "TOML file with settings; a key is a flag's name without the dashes. The file must exist, except for \
                 the default [default: heraldry.toml]",
            );
        let mut command = command.arg(config);
        let mut defaults = Config::default();
        for section in SECTIONS {
            for setting in section.settings {
                command = command.arg(arg(setting, section.heading, &mut defaults));
            }
        }
        command
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

fn arg(setting: &Setting, heading: Option<&'static str>, defaults: &mut Config) -> Arg {
    Arg::new(setting.name)
        .long(setting.name)
        .env(setting.variable())
        .hide_env_values(setting.is_secret)
        .value_name(setting.value_name)
        .action(if setting.is_list() { ArgAction::Append } else { ArgAction::Set })
        .help(setting.help(defaults))
        .help_heading(heading)
}

impl clap::FromArgMatches for ServeArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut args = Self::default();
        args.update_from_arg_matches(matches)?;
        Ok(args)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.config = matches.get_one("config").cloned();
        self.values = table::all()
            .filter_map(|setting| Some((setting.name, matches.get_many(setting.name)?.cloned().collect())))
            .collect();
        Ok(())
    }
}

/// For tests: settings as if they were flags.
#[cfg(test)]
impl<const N: usize> From<[(&'static str, &str); N]> for ServeArgs {
    fn from(flags: [(&'static str, &str); N]) -> Self {
        let values = flags.map(|(name, text)| (name, vec![text.to_owned()]));
        Self { config: None, values: values.into() }
    }
}

/// The arguments of commands that work on a stopped host's data.
#[derive(clap::Args, Clone)]
pub struct DataArgs {
    /// Data folder of the stopped host [default: ./heraldry-data]
    #[arg(long, env = "HERALDRY_DATA", value_name = "DIR")]
    data: Option<String>,
    /// The host's TOML file, for its `data` key [default: heraldry.toml, if it exists]
    #[arg(long, env = "HERALDRY_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

impl DataArgs {
    /// The host's configuration: its data folder and its secrets from the environment, everything else from the file.
    ///
    /// # Errors
    /// As [`load`].
    pub fn load(&self) -> Result<Config, ConfigError> {
        let mut args = ServeArgs::with_file(self.config.clone());
        args.values.extend(self.data.clone().map(|data| ("data", vec![data])));
        load(&args)
    }
}

/// The arguments of commands that call a running host: its address and a token.
#[derive(clap::Args, Clone, Debug)]
pub struct ClientArgs {
    /// The host's address, without /api/v1
    #[arg(
        long,
        env = "HERALDRY_URL",
        value_name = "URL",
        default_value = "http://127.0.0.1:8080",
        value_parser = |text: &str| Ok::<_, Infallible>(text.trim().to_owned()),
        help_heading = "Host"
    )]
    pub server: String,
    /// API token, without regard to blanks and line feeds around it; prefer the variable, since process lists show flags
    #[arg(
        long,
        env = "HERALDRY_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN",
        value_parser = |text: &str| Ok::<_, Infallible>(Secret::new(text.trim())),
        help_heading = "Host"
    )]
    pub token: Option<Secret>,
    /// Print JSON on standard output, for programs
    #[arg(long, help_heading = "Host")]
    pub json: bool,
}
