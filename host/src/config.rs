//! Every setting of `serve`, from the flag, the environment or the file, checked once. This is the only
//! room that reads the environment.
//!
//! A setting has one name: `--allow-net` is `HERALDRY_ALLOW_NET` in the environment and `allow-net` in
//! the file. The first of flag, environment, file and default that has it wins.

use std::ffi::OsString;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use ipnet::IpNet;

use crate::model::secret::Secret;
use crate::model::settings::{DeliverySettings, Limits, ProxySettings, RetryPolicy, SandboxSettings, TlsFiles};

mod args;
mod sources;
pub(crate) mod units;

pub use args::{ClientArgs, DataArgs, ServeArgs};
use sources::Sources;

/// The file that is read when nobody names one, if it is there.
const DEFAULT_FILE: &str = "heraldry.toml";
/// Base64 of 32 bytes. Environment only: flags show in process lists, files in backups.
const MASTER_KEY: &str = "HERALDRY_MASTER_KEY";
/// The first admin token's text. Environment only, as above.
const ADMIN_TOKEN: &str = "HERALDRY_ADMIN_TOKEN";
/// How long a given admin token may be, in printable ASCII characters.
const ADMIN_TOKEN_LENGTH: std::ops::RangeInclusive<usize> = 16..=256;
const MASTER_KEY_BYTES: usize = 32;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// What `serve` runs with; every value is in its range.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the API listens; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// The folder of the store, the components and the key; made when absent.
    pub data: PathBuf,
    /// The drop-in folder of formatters; may be absent.
    pub formatters: PathBuf,
    /// Private networks that deliveries may go to.
    pub allow_net: Vec<IpNet>,
    /// CA bundles and client certificates that webhooks may name.
    pub tls: TlsFiles,
    /// The proxy that deliveries over HTTP go through.
    pub proxy: Option<ProxySettings>,
    /// What formatters learn as the host's name; absent: the name stored at the first start.
    pub host_name: Option<String>,
    /// How much one request may carry.
    pub limits: Limits,
    /// How deliveries are made.
    pub delivery: DeliverySettings,
    /// What one call of a formatter may use.
    pub sandbox: SandboxSettings,
    /// Memory that the store may use as its cache, in bytes.
    pub store_cache_bytes: u64,
    /// Base64 of the 32 bytes that encrypt secrets; absent: the key file in the data folder.
    pub master_key: Option<Secret>,
    /// The first admin token, for an empty store; absent: the host makes one.
    pub admin_token: Option<Secret>,
    /// How log lines look.
    pub log: LogFormat,
    /// The least severe log lines that are written.
    pub log_level: tracing::Level,
}

impl Default for Config {
    /// Every default, without a look at the environment or a file.
    fn default() -> Self {
        resolve(&ServeArgs::default(), Sources::default(), |_| None).expect("every default is in its range")
    }
}

/// How log lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    /// One line a person reads.
    Text,
    /// One JSON object a line.
    Json,
}

/// Everything that is wrong with the configuration, at once.
#[derive(Debug, thiserror::Error)]
pub struct ConfigError {
    faults: Vec<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration is refused")?;
        self.faults.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}

/// Reads the environment and the file beside what the command line said.
///
/// # Errors
/// Every fault: a file that is not there or is not TOML, an unknown key, a value out of its range.
#[expect(clippy::disallowed_methods, reason = "this is the room that reads the environment")]
pub fn load(args: &ServeArgs) -> Result<Config, ConfigError> {
    let sources = read_file(args.config.as_deref()).map_err(|fault| ConfigError { faults: vec![fault] })?;
    resolve(args, sources, |name| std::env::var_os(name))
}

/// Where this user's programs keep what they can make again; `None` without a home.
#[expect(clippy::disallowed_methods, reason = "this is the room that reads the environment")]
pub fn cache_folder() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
    cache.map(|cache| cache.join("heraldry"))
}

fn read_file(named: Option<&Path>) -> Result<Sources, String> {
    let path = named.unwrap_or(Path::new(DEFAULT_FILE));
    match std::fs::read_to_string(path) {
        Ok(text) => Sources::parse(path, &text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && named.is_none() => Ok(Sources::default()),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

/// The layers in, one checked value out. `environment` is asked for the two secrets only; clap has already
/// put the other variables behind the flags.
fn resolve(
    args: &ServeArgs,
    mut sources: Sources,
    environment: impl Fn(&str) -> Option<OsString>,
) -> Result<Config, ConfigError> {
    let config = Config {
        listen: sources.read("listen", args.listen.as_deref(), SocketAddr::from(([127, 0, 0, 1], 8080)), address),
        data: sources.read("data", args.data.as_deref(), PathBuf::from("./heraldry-data"), folder),
        formatters: sources.read("formatters", args.formatters.as_deref(), PathBuf::from("./formatters.d"), folder),
        allow_net: sources.read_list("allow-net", args.allow_net.as_deref(), network),
        tls: tls(args, &mut sources),
        proxy: proxy(args, &mut sources),
        host_name: sources.read("host-name", args.host_name.as_deref(), None, |text| host_name(text).map(Some)),
        limits: limits(args, &mut sources),
        delivery: delivery(args, &mut sources),
        sandbox: sandbox(args, &mut sources),
        store_cache_bytes: sources.read("cache", args.cache.as_deref(), 64 * MIB, sizes(MIB, 1024 * GIB)),
        master_key: secret(&mut sources, MASTER_KEY, environment(MASTER_KEY), check_master_key),
        admin_token: secret(&mut sources, ADMIN_TOKEN, environment(ADMIN_TOKEN), check_admin_token),
        log: sources.read("log", args.log.as_deref(), LogFormat::Text, log_format),
        log_level: sources.read("log-level", args.log_level.as_deref(), tracing::Level::INFO, log_level),
    };
    if config.limits.max_event_bytes > config.limits.max_body_bytes {
        sources.fault("max-event-bytes is above max-body-bytes: no such event could be posted".to_owned());
    }
    if config.limits.max_event_bytes > config.sandbox.input_bytes {
        sources.fault("max-event-bytes is above formatter-input: no formatter could take such an event".to_owned());
    }
    if config.delivery.retry.cap < config.delivery.retry.base {
        sources.fault("retry-cap is below retry-base".to_owned());
    }
    let faults = sources.finish();
    if faults.is_empty() { Ok(config) } else { Err(ConfigError { faults }) }
}

fn tls(args: &ServeArgs, sources: &mut Sources) -> TlsFiles {
    let cas = sources.read_list("tls-ca", args.tls_ca.as_deref(), |text| {
        let (name, file) = named(text, "corp=/etc/heraldry/corp-ca.pem")?;
        Ok((name, folder(file)?))
    });
    let client_certs = sources.read_list("tls-client-cert", args.tls_client_cert.as_deref(), |text| {
        let expected = "siem=/etc/heraldry/siem.pem:/etc/heraldry/siem.key";
        let (name, files) = named(text, expected)?;
        let (cert, key) = files
            .split_once(':')
            .filter(|(cert, key)| !cert.is_empty() && !key.is_empty())
            .ok_or_else(|| format!("expected a name, the certificate's file and its key's file, as in {expected}"))?;
        Ok((name, folder(cert)?, folder(key)?))
    });
    let mut names: Vec<_> = cas.iter().map(|(name, _)| ("tls-ca", name)).collect();
    names.extend(client_certs.iter().map(|(name, ..)| ("tls-client-cert", name)));
    names.sort();
    for pair in names.windows(2).filter(|pair| pair[0] == pair[1]) {
        sources.fault(format!("{} has two entries named {}", pair[0].0, pair[0].1));
    }
    TlsFiles { cas, client_certs }
}

/// `NAME=REST`, with a name that a webhook can give.
fn named<'a>(text: &'a str, expected: &str) -> Result<(String, &'a str), String> {
    let (name, rest) = text.split_once('=').unwrap_or_default();
    let is_name = (1..=63).contains(&name.len())
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if is_name && !rest.is_empty() {
        return Ok((name.to_owned(), rest));
    }
    Err(format!(
        "expected a name of at most 63 letters, digits, -, _ and ., an equals sign and a file, as in {expected}"
    ))
}

fn proxy(args: &ServeArgs, sources: &mut Sources) -> Option<ProxySettings> {
    let proxy = sources.read("proxy", args.proxy.as_deref(), None, |text| proxy_url(text).map(Some));
    let except = sources.read_list("proxy-except", args.proxy_except.as_deref(), network);
    let sends_names = sources.read("proxy-sends", args.proxy_sends.as_deref(), false, |text| match text {
        "address" => Ok(false),
        "name" => Ok(true),
        _ => Err("expected address or name".to_owned()),
    });
    proxy.map(|proxy| ProxySettings { except, sends_names, ..proxy })
}

/// A refusal shows nothing of the text, which may hold a password.
fn proxy_url(text: &str) -> Result<ProxySettings, String> {
    let expected = || "expected the proxy's URL, as in http://proxy.example.com:3128".to_owned();
    let url = url::Url::parse(text).map_err(|_| expected())?;
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else { return Err(expected()) };
    if url.scheme() != "http" || !bare || port == 0 {
        return Err(expected());
    }
    let host = match host {
        url::Host::Domain(name) => name.to_owned(),
        url::Host::Ipv4(ip) => ip.to_string(),
        url::Host::Ipv6(ip) => ip.to_string(),
    };
    let has_user = !url.username().is_empty() || url.password().is_some();
    let authorization = has_user.then(|| {
        let plain = format!("{}:{}", decoded(url.username()), decoded(url.password().unwrap_or_default()));
        Secret::new(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(plain)))
    });
    Ok(ProxySettings { host, port, authorization, except: Vec::new(), sends_names: false })
}

/// What a percent-encoded part of a URL stands for.
fn decoded(part: &str) -> String {
    let query = format!("x={}", part.replace('+', "%2B"));
    let pair = url::form_urlencoded::parse(query.as_bytes()).next();
    pair.map(|(_, value)| value.into_owned()).unwrap_or_default()
}

fn limits(args: &ServeArgs, sources: &mut Sources) -> Limits {
    let default = Limits::default();
    Limits {
        max_event_bytes: sources.read(
            "max-event-bytes",
            args.max_event_bytes.as_deref(),
            default.max_event_bytes,
            memory(KIB, 16 * MIB),
        ),
        max_body_bytes: sources.read(
            "max-body-bytes",
            args.max_body_bytes.as_deref(),
            default.max_body_bytes,
            memory(KIB, GIB),
        ),
        max_events: sources.read("max-events", args.max_events.as_deref(), default.max_events, counts(1, 100_000)),
        token_rate: sources.read("token-rate", args.token_rate.as_deref(), default.token_rate, counts(0, 1_000_000)),
    }
}

fn delivery(args: &ServeArgs, sources: &mut Sources) -> DeliverySettings {
    let default = DeliverySettings::default();
    DeliverySettings {
        concurrency: sources.read("concurrency", args.concurrency.as_deref(), default.concurrency, counts(1, 65_536)),
        webhook_concurrency: sources.read(
            "webhook-concurrency",
            args.webhook_concurrency.as_deref(),
            default.webhook_concurrency,
            counts(1, 65_536),
        ),
        breaker_threshold: sources.read(
            "breaker-threshold",
            args.breaker_threshold.as_deref(),
            default.breaker_threshold,
            counts(1, 1_000_000),
        ),
        retry: RetryPolicy {
            base: sources.read(
                "retry-base",
                args.retry_base.as_deref(),
                default.retry.base,
                durations(Duration::from_millis(1), HOUR),
            ),
            factor: sources.read("retry-factor", args.retry_factor.as_deref(), default.retry.factor, counts(1, 1000)),
            cap: sources.read(
                "retry-cap",
                args.retry_cap.as_deref(),
                default.retry.cap,
                durations(Duration::from_millis(1), 7 * DAY),
            ),
            retry_after_cap: sources.read(
                "retry-after-cap",
                args.retry_after_cap.as_deref(),
                default.retry.retry_after_cap,
                durations(Duration::ZERO, 7 * DAY),
            ),
        },
        retention: sources.read(
            "retention",
            args.retention.as_deref(),
            default.retention,
            durations(SECOND, 3650 * DAY),
        ),
        audit_retention: sources.read(
            "audit-retention",
            args.audit_retention.as_deref(),
            default.audit_retention,
            durations(DAY, 36_500 * DAY),
        ),
        max_events_kept: sources.read(
            "max-events-kept",
            args.max_events_kept.as_deref(),
            default.max_events_kept,
            counts(1000, 1_000_000_000_000),
        ),
        max_history: sources.read(
            "max-history",
            args.max_history.as_deref(),
            default.max_history,
            counts(100, 1_000_000_000_000),
        ),
        grace: sources.read("grace", args.grace.as_deref(), default.grace, durations(Duration::ZERO, HOUR)),
    }
}

fn sandbox(args: &ServeArgs, sources: &mut Sources) -> SandboxSettings {
    let default = SandboxSettings::default();
    SandboxSettings {
        fuel: sources.read(
            "formatter-fuel",
            args.formatter_fuel.as_deref(),
            default.fuel,
            counts(100_000, 1_000_000_000_000),
        ),
        timeout: sources.read(
            "formatter-timeout",
            args.formatter_timeout.as_deref(),
            default.timeout,
            durations(Duration::from_millis(10), 60 * SECOND),
        ),
        memory_bytes: sources.read(
            "formatter-memory",
            args.formatter_memory.as_deref(),
            default.memory_bytes,
            memory(2 * MIB, 4 * GIB),
        ),
        large_memory_bytes: large_memory(args, sources, default.large_memory_bytes),
        table_elements: sources.read(
            "formatter-tables",
            args.formatter_tables.as_deref(),
            default.table_elements,
            counts(100, 1_000_000),
        ),
        stack_bytes: sources.read(
            "formatter-stack",
            args.formatter_stack.as_deref(),
            default.stack_bytes,
            memory(64 * KIB, MIB),
        ),
        input_bytes: sources.read(
            "formatter-input",
            args.formatter_input.as_deref(),
            default.input_bytes,
            memory(KIB, 64 * MIB),
        ),
        output_bytes: sources.read(
            "formatter-output",
            args.formatter_output.as_deref(),
            default.output_bytes,
            memory(KIB, 16 * MIB),
        ),
        headers: sources.read("formatter-headers", args.formatter_headers.as_deref(), default.headers, counts(0, 256)),
        log_lines: sources.read(
            "formatter-log-lines",
            args.formatter_log_lines.as_deref(),
            default.log_lines,
            counts(0, 10_000),
        ),
        component_bytes: sources.read(
            "formatter-size",
            args.formatter_size.as_deref(),
            default.component_bytes,
            memory(MIB, 256 * MIB),
        ),
        compile_time: sources.read(
            "formatter-compile-time",
            args.formatter_compile_time.as_deref(),
            default.compile_time,
            durations(SECOND, HOUR),
        ),
    }
}

/// The large sandbox's memory, unless there is to be none.
fn large_memory(args: &ServeArgs, sources: &mut Sources, default: Option<usize>) -> Option<usize> {
    let wanted = sources.read("large-formatters", args.large_formatters.as_deref(), true, |text| match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("expected on or off".to_owned()),
    });
    let bytes = sources.read("large-formatter-memory", args.large_formatter_memory.as_deref(), default, |text| {
        memory(2 * MIB, 4 * GIB)(text).map(Some)
    });
    bytes.filter(|_| wanted)
}

fn counts<T: TryFrom<u64>>(least: u64, most: u64) -> impl Fn(&str) -> Result<T, String> {
    move |text| {
        let value = units::count(text)?;
        let fits = (least..=most).contains(&value).then(|| T::try_from(value).ok()).flatten();
        fits.ok_or_else(|| format!("out of range: {least} to {most}"))
    }
}

fn durations(least: Duration, most: Duration) -> impl Fn(&str) -> Result<Duration, String> {
    move |text| {
        let value = units::duration(text)?;
        let show = units::show_duration;
        let fits = (least..=most).contains(&value).then_some(value);
        fits.ok_or_else(|| format!("out of range: {} to {}", show(least), show(most)))
    }
}

fn sizes(least: u64, most: u64) -> impl Fn(&str) -> Result<u64, String> {
    move |text| {
        let value = units::size(text)?;
        let show = units::show_size;
        let fits = (least..=most).contains(&value).then_some(value);
        fits.ok_or_else(|| format!("out of range: {} to {}", show(least), show(most)))
    }
}

/// As [`sizes`], for what must fit into this machine's memory.
fn memory(least: u64, most: u64) -> impl Fn(&str) -> Result<usize, String> {
    move |text| usize::try_from(sizes(least, most)(text)?).map_err(|_| "too large for this machine".to_owned())
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "expected an IP address and a port, as in 127.0.0.1:8080, 0.0.0.0:80 or [::1]:8080".to_owned())
}

fn folder(text: &str) -> Result<PathBuf, String> {
    if text.contains('\0') { Err("no path".to_owned()) } else { Ok(PathBuf::from(text)) }
}

/// A network in CIDR notation, or one address. Bits behind the prefix are refused: `10.1.2.3/8` may have
/// been meant as the address or as the network.
fn network(text: &str) -> Result<IpNet, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(address));
    }
    let net: IpNet =
        text.parse().map_err(|_| "expected a network, as in 10.0.0.0/8, 192.168.7.9 or fd00::/8".to_owned())?;
    if net.trunc() == net { Ok(net) } else { Err(format!("bits behind the prefix: {} is the network", net.trunc())) }
}

/// What RFC 5424 takes as a HOSTNAME: 1 to 255 printable ASCII characters without a space.
fn host_name(text: &str) -> Result<String, String> {
    let fits = (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    if fits {
        Ok(text.to_owned())
    } else {
        Err("expected 1 to 255 printable ASCII characters without a space".to_owned())
    }
}

fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("expected text or json".to_owned()),
    }
}

fn log_level(text: &str) -> Result<tracing::Level, String> {
    use tracing::Level;
    match text {
        "error" => Ok(Level::ERROR),
        "warn" => Ok(Level::WARN),
        "info" => Ok(Level::INFO),
        "debug" => Ok(Level::DEBUG),
        "trace" => Ok(Level::TRACE),
        _ => Err("expected error, warn, info, debug or trace".to_owned()),
    }
}

/// A secret from the environment; a refusal never shows any of it.
fn secret(
    sources: &mut Sources,
    variable: &str,
    value: Option<OsString>,
    check: fn(&str) -> Result<(), String>,
) -> Option<Secret> {
    let text = value?.into_string().unwrap_or_default();
    match check(&text) {
        Ok(()) => Some(Secret::new(text)),
        Err(why) => {
            sources.fault(format!("{variable} {why}"));
            None
        }
    }
}

fn check_master_key(text: &str) -> Result<(), String> {
    let decoded = base64::engine::general_purpose::STANDARD.decode(text);
    if decoded.is_ok_and(|key| key.len() == MASTER_KEY_BYTES) {
        return Ok(());
    }
    Err(format!("is not base64 of {MASTER_KEY_BYTES} bytes (`openssl rand -base64 {MASTER_KEY_BYTES}` makes one)"))
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
