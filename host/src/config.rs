//! The settings of `serve`: flags, environment and file, merged into one checked [`Config`].
//!
//! `table` defines every setting once; `args` derives the command line from it and `sources` the reading of values. A
//! setting has one name: `--allow-net` is `HERALDRY_ALLOW_NET` in the environment and `allow-net` in the file. The
//! first of flag, environment, file and default that has it wins. No other module reads the environment.

use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use ipnet::IpNet;

use crate::model::secret::Secret;
use crate::model::settings::{
    ConnectionSettings, DeliverySettings, Limits, MetricsLabels, ProxySettings, SandboxSettings, TlsFiles,
};
use crate::model::spelling::edits;

mod args;
mod sources;
mod table;
pub(crate) mod units;
mod values;

pub use args::{ClientArgs, DataArgs, ServeArgs};
use sources::Sources;

/// The file that is read, if it exists, when none is named.
const DEFAULT_FILE: &str = "heraldry.toml";
/// Base64 of 32 bytes. Environment only: process lists show flags, backups contain files.
const MASTER_KEY: &str = "HERALDRY_MASTER_KEY";
const MASTER_KEY_BYTES: usize = 32;
/// The first admin token. Environment only, for the same reason.
const ADMIN_TOKEN: &str = "HERALDRY_ADMIN_TOKEN";
/// Length of a given admin token, in printable ASCII characters.
const ADMIN_TOKEN_LENGTH: std::ops::RangeInclusive<usize> = 16..=256;

/// The checked configuration of a host: every value is in its range.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address of the API; with port 0 the system chooses the port.
    pub listen: SocketAddr,
    /// Folder of the store, the components and the master key; created if it does not exist.
    pub data: PathBuf,
    /// Drop-in folder of formatters; need not exist.
    pub formatters: PathBuf,
    /// Private networks that deliveries may reach: the exceptions to the SSRF guard.
    pub allow_net: Vec<IpNet>,
    /// CA bundles and client certificates that webhooks select by name.
    pub tls: TlsFiles,
    /// The proxy for deliveries over HTTP.
    pub proxy: Option<ProxySettings>,
    /// The host's name as formatters see it; `None` for the name stored at the first start.
    pub host_name: Option<String>,
    /// Limits on one request to the API.
    pub limits: Limits,
    /// Limits on the clients of the API.
    pub connections: ConnectionSettings,
    /// Webhooks with a series of their own in each metric.
    pub metrics_webhooks: usize,
    /// The text that stands for a webhook in metrics.
    pub metrics_labels: MetricsLabels,
    /// True if the console is served.
    pub console: bool,
    /// The origin under which browsers reach the console behind a proxy; `None` for loopback only.
    pub console_origin: Option<String>,
    /// Concurrency, retries, circuit breaker, retention.
    pub delivery: DeliverySettings,
    /// Limits on one formatter call and on components.
    pub sandbox: SandboxSettings,
    /// Memory for the store's cache, in bytes.
    pub store_cache_bytes: u64,
    /// Base64 of the 32 bytes that encrypt secrets; `None` for the key file in the data folder.
    pub master_key: Option<Secret>,
    /// The first admin token of an empty store; `None` to generate one.
    pub admin_token: Option<Secret>,
    /// Format of log lines.
    pub log: LogFormat,
    /// Least severe level that is logged.
    pub log_level: tracing::Level,
}

impl Default for Config {
    /// The default of every setting; reads neither the environment nor a file.
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            data: PathBuf::from("./heraldry-data"),
            formatters: PathBuf::from("./formatters.d"),
            allow_net: Vec::new(),
            tls: TlsFiles::default(),
            proxy: None,
            host_name: None,
            limits: Limits::default(),
            connections: ConnectionSettings::default(),
            metrics_webhooks: 1000,
            metrics_labels: MetricsLabels::Id,
            console: true,
            console_origin: None,
            delivery: DeliverySettings::default(),
            sandbox: SandboxSettings::default(),
            store_cache_bytes: 64 * 1024 * 1024,
            master_key: None,
            admin_token: None,
            log: LogFormat::Text,
            log_level: tracing::Level::INFO,
        }
    }
}

/// Format of log lines.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    /// Plain text, one line for each event.
    Text,
    /// One JSON object a line.
    Json,
}

/// An invalid configuration: all of its faults.
#[derive(Debug, thiserror::Error)]
pub struct ConfigError {
    faults: Vec<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration is invalid")?;
        self.faults.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}

/// Merges the command line, the environment and the file into a configuration.
///
/// # Errors
/// All faults at once: a file that is missing or not TOML, unknown keys, values out of range, settings that contradict
/// each other.
#[expect(clippy::disallowed_methods, reason = "this module reads the environment")]
pub fn load(args: &ServeArgs) -> Result<Config, ConfigError> {
    let sources = read_file(args.config()).map_err(|fault| ConfigError { faults: vec![fault] })?;
    resolve(args, sources, |name| std::env::var_os(name))
}

/// The folder for this user's cached files (XDG Base Directory Specification); `None` without a home.
#[expect(clippy::disallowed_methods, reason = "this module reads the environment")]
pub fn cache_folder() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
    cache.map(|cache| cache.join("heraldry"))
}

/// Variables of the environment that begin like ours and are none of a command's or of [`ServeArgs`]: each with the name
/// that may have been meant. A platform's own variables about a service called `heraldry` are left out.
pub fn unknown_variables() -> Vec<UnknownVariable> {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    find_unknown(names)
}

/// The value of a variable of the environment that a file of the user's names; `None` if it is not set.
#[expect(clippy::disallowed_methods, reason = "this module reads the environment")]
pub fn variable(name: &str) -> Option<std::ffi::OsString> {
    std::env::var_os(name)
}

/// A variable that no command reads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnknownVariable {
    /// Its name.
    pub name: String,
    /// The nearest name of one that is read, if any is near.
    pub meant: Option<String>,
}

impl fmt::Display for UnknownVariable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the environment variable {} is not read", self.name.escape_debug())?;
        self.meant.as_ref().map_or(Ok(()), |meant| write!(f, "; did you mean {meant}?"))
    }
}

fn find_unknown(names: impl Iterator<Item = String>) -> Vec<UnknownVariable> {
    let others = [MASTER_KEY, ADMIN_TOKEN, "HERALDRY_CONFIG", "HERALDRY_URL", "HERALDRY_TOKEN"].map(str::to_owned);
    let known: Vec<String> = table::all().map(table::Setting::variable).chain(others).collect();
    let is_platforms = |name: &str| name.starts_with("HERALDRY_SERVICE_") || name.starts_with("HERALDRY_PORT");
    let strange = |name: &String| name.starts_with(OURS) && !known.contains(name) && !is_platforms(name);
    let mut unknown: Vec<UnknownVariable> = names
        .filter(strange)
        .map(|name| {
            let near = known.iter().filter_map(|known| Some((edits(own(known), own(&name))?, known)));
            let meant = near.min().map(|(_, known)| known.clone());
            UnknownVariable { name, meant }
        })
        .collect();
    unknown.sort_by(|a, b| a.name.cmp(&b.name));
    unknown
}

/// How the name of each variable begins that this program reads.
const OURS: &str = "HERALDRY_";

/// A variable's name without that.
fn own(name: &str) -> &str {
    name.strip_prefix(OURS).unwrap_or(name)
}

fn read_file(named: Option<&Path>) -> Result<Sources, String> {
    let path = named.unwrap_or(Path::new(DEFAULT_FILE));
    match std::fs::read_to_string(path) {
        Ok(text) => Sources::parse(path, &text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && named.is_none() => Ok(Sources::default()),
        Err(error) => Err(format!("cannot read {}: {error}", path.display())),
    }
}

/// Applies every setting of the table to the defaults. `environment` is only asked for the two secrets: clap has
/// already read the variables of the flags.
fn resolve(
    args: &ServeArgs,
    mut sources: Sources,
    environment: impl Fn(&str) -> Option<OsString>,
) -> Result<Config, ConfigError> {
    let mut config = Config::default();
    for setting in table::all() {
        sources.apply(setting, args.given(setting), &mut config);
    }
    let mut faults = sources.finish();
    config.master_key = secret(&mut faults, MASTER_KEY, environment(MASTER_KEY), check_master_key);
    config.admin_token = secret(&mut faults, ADMIN_TOKEN, environment(ADMIN_TOKEN), check_admin_token);
    check_together(&config, &mut faults);
    if faults.is_empty() { Ok(config) } else { Err(ConfigError { faults }) }
}

/// Checks that settings which are valid alone do not contradict each other.
fn check_together(config: &Config, faults: &mut Vec<String>) {
    if config.limits.max_event_bytes > config.limits.max_body_bytes {
        faults.push("max-event-bytes is above max-body-bytes: no request could carry such an event".to_owned());
    }
    if config.limits.max_event_bytes > config.sandbox.input_bytes {
        faults.push("max-event-bytes is above formatter-input: no formatter could accept such an event".to_owned());
    }
    if config.delivery.retry.cap < config.delivery.retry.base {
        faults.push("retry-cap is below retry-base".to_owned());
    }
    let mut names: Vec<_> = config.tls.cas.iter().map(|(name, _)| ("tls-ca", name)).collect();
    names.extend(config.tls.client_certs.iter().map(|(name, ..)| ("tls-client-cert", name)));
    names.sort();
    for pair in names.windows(2).filter(|pair| pair[0] == pair[1]) {
        faults.push(format!("{} has two entries named {}; a name must be unique", pair[0].0, pair[0].1));
    }
}

/// A secret from the environment, without blanks and line feeds around it, which files of secrets often end with; a
/// fault never shows any of it.
fn secret(
    faults: &mut Vec<String>,
    variable: &str,
    value: Option<OsString>,
    check: fn(&str) -> Result<(), String>,
) -> Option<Secret> {
    let text = value?.into_string().unwrap_or_default();
    match check(text.trim()) {
        Ok(()) => Some(Secret::new(text.trim())),
        Err(why) => {
            faults.push(format!("{variable} {why}"));
            None
        }
    }
}

fn check_master_key(text: &str) -> Result<(), String> {
    let decoded = base64::engine::general_purpose::STANDARD.decode(text);
    if decoded.is_ok_and(|key| key.len() == MASTER_KEY_BYTES) {
        return Ok(());
    }
    Err(format!(
        "is not base64 of {MASTER_KEY_BYTES} bytes; `openssl rand -base64 {MASTER_KEY_BYTES}` makes such a key"
    ))
}

fn check_admin_token(text: &str) -> Result<(), String> {
    let printable = text.bytes().all(|b| b.is_ascii_graphic());
    if printable && ADMIN_TOKEN_LENGTH.contains(&text.len()) {
        return Ok(());
    }
    let (least, most) = (ADMIN_TOKEN_LENGTH.start(), ADMIN_TOKEN_LENGTH.end());
    Err(format!("must have {least} to {most} printable ASCII characters, none of them a space"))
}

#[cfg(test)]
mod tests;
