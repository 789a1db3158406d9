//! The flags that are settings, and the variables that stand for them.

use std::convert::Infallible;
use std::path::PathBuf;

use super::{Config, ConfigError, load};
use crate::model::secret::Secret;

/// The settings of `serve`, as text. Values are checked by [`load`], all of them at once.
#[derive(clap::Args, Clone, Default)]
pub struct ServeArgs {
    /// TOML file with settings; a key is a flag's name without the dashes. A missing file is refused,
    /// unless it is the default [default: heraldry.toml]
    #[arg(long, env = "HERALDRY_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where the API listens; port 0 lets the system choose [default: 127.0.0.1:8080]
    #[arg(long, env = "HERALDRY_LISTEN", value_name = "ADDRESS:PORT")]
    pub listen: Option<String>,
    /// Folder of the store and the key; made when absent [default: ./heraldry-data]
    #[arg(long, env = "HERALDRY_DATA", value_name = "DIR")]
    pub data: Option<String>,
    /// Drop-in folder of formatters (*.wasm); may be absent [default: ./formatters.d]
    #[arg(long, env = "HERALDRY_FORMATTERS", value_name = "DIR")]
    pub formatters: Option<String>,
    /// Private network that deliveries may go to, as in 10.0.0.0/8; repeat the flag for more, separate by
    /// commas in the variable, a list in the file. Public addresses need no entry; link-local, multicast
    /// and reserved ones stay closed whatever is given [default: none]
    #[arg(long, env = "HERALDRY_ALLOW_NET", value_name = "CIDR")]
    pub allow_net: Option<Vec<String>>,
    /// CA bundle (PEM) that webhooks may name as `tls.ca`, as in corp=/etc/heraldry/corp-ca.pem: it alone vouches for
    /// such a webhook's destination. Repeat the flag for more [default: none]
    #[arg(long, env = "HERALDRY_TLS_CA", value_name = "NAME=FILE", help_heading = "TLS and proxy")]
    pub tls_ca: Option<Vec<String>>,
    /// Client certificate with its chain and its key (PEM) that webhooks may name as `tls.client_cert`, as in
    /// siem=/etc/heraldry/siem.pem:/etc/heraldry/siem.key. Repeat the flag for more [default: none]
    #[arg(long, env = "HERALDRY_TLS_CLIENT_CERT", value_name = "NAME=CERT:KEY", help_heading = "TLS and proxy")]
    pub tls_client_cert: Option<Vec<String>>,
    /// HTTP proxy for deliveries over http:// and https://, as in http://proxy.example.com:3128; user and password in
    /// the URL are sent to it (better in the variable or the file than in a flag) [default: none]
    #[arg(long, env = "HERALDRY_PROXY", hide_env_values = true, value_name = "URL", help_heading = "TLS and proxy")]
    pub proxy: Option<String>,
    /// Network whose destinations are reached without the proxy. Repeat the flag for more [default: none]
    #[arg(long, env = "HERALDRY_PROXY_EXCEPT", value_name = "CIDR", help_heading = "TLS and proxy")]
    pub proxy_except: Option<Vec<String>>,
    /// What the proxy is told: the address that was judged, or the destination's name, which it looks up once more and
    /// may find elsewhere [default: address]
    #[arg(long, env = "HERALDRY_PROXY_SENDS", value_name = "ADDRESS|NAME", help_heading = "TLS and proxy")]
    pub proxy_sends: Option<String>,
    /// The host's name in messages [default: this machine's name, stored at the first start]
    #[arg(long, env = "HERALDRY_HOST_NAME", value_name = "NAME")]
    pub host_name: Option<String>,
    /// Memory for the store's cache, 1MiB and more [default: 64MiB]
    #[arg(long, env = "HERALDRY_CACHE", value_name = "SIZE")]
    pub cache: Option<String>,
    /// How long events, deliveries and history are kept, 1s to 3650d [default: 30d]
    #[arg(long, env = "HERALDRY_RETENTION", value_name = "DURATION")]
    pub retention: Option<String>,
    /// How long the audit log is kept, 1d to 36500d [default: 730d]
    #[arg(long, env = "HERALDRY_AUDIT_RETENTION", value_name = "DURATION")]
    pub audit_retention: Option<String>,
    /// Events kept, however young the oldest of them is, 1000 and more [default: 10000000]
    #[arg(long, env = "HERALDRY_MAX_EVENTS_KEPT", value_name = "COUNT")]
    pub max_events_kept: Option<String>,
    /// Attempts kept in the history of one webhook, 100 and more [default: 1000000]
    #[arg(long, env = "HERALDRY_MAX_HISTORY", value_name = "COUNT")]
    pub max_history: Option<String>,
    /// How long attempts in flight may go on after SIGTERM, 0s to 1h [default: 25s]
    #[arg(long, env = "HERALDRY_GRACE", value_name = "DURATION")]
    pub grace: Option<String>,

    /// Attempts in flight in all, 1 to 65536 [default: 256]
    #[arg(long, env = "HERALDRY_CONCURRENCY", value_name = "COUNT", help_heading = "Delivery")]
    pub concurrency: Option<String>,
    /// Attempts in flight for one webhook, 1 to 65536 [default: 32]
    #[arg(long, env = "HERALDRY_WEBHOOK_CONCURRENCY", value_name = "COUNT", help_heading = "Delivery")]
    pub webhook_concurrency: Option<String>,
    /// Deliveries that fail for good, in a row, until the webhook is switched off [default: 5]
    #[arg(long, env = "HERALDRY_BREAKER_THRESHOLD", value_name = "COUNT", help_heading = "Delivery")]
    pub breaker_threshold: Option<String>,
    /// Wait before the first retry, 1ms to 1h; a wait is cut by up to half at random [default: 2s]
    #[arg(long, env = "HERALDRY_RETRY_BASE", value_name = "DURATION", help_heading = "Delivery")]
    pub retry_base: Option<String>,
    /// How many times longer each further wait is, 1 to 1000 [default: 12]
    #[arg(long, env = "HERALDRY_RETRY_FACTOR", value_name = "FACTOR", help_heading = "Delivery")]
    pub retry_factor: Option<String>,
    /// The longest wait between two attempts, up to 7d [default: 30min]
    #[arg(long, env = "HERALDRY_RETRY_CAP", value_name = "DURATION", help_heading = "Delivery")]
    pub retry_cap: Option<String>,
    /// The longest wait that a destination's Retry-After can ask for, up to 7d [default: 1h]
    #[arg(long, env = "HERALDRY_RETRY_AFTER_CAP", value_name = "DURATION", help_heading = "Delivery")]
    pub retry_after_cap: Option<String>,

    /// One event, 1KiB to 16MiB [default: 256KiB]
    #[arg(long, env = "HERALDRY_MAX_EVENT_BYTES", value_name = "SIZE", help_heading = "Limits of a request")]
    pub max_event_bytes: Option<String>,
    /// A JSON body, 1KiB to 1GiB [default: 4MiB]
    #[arg(long, env = "HERALDRY_MAX_BODY_BYTES", value_name = "SIZE", help_heading = "Limits of a request")]
    pub max_body_bytes: Option<String>,
    /// Events in one request, 1 to 100000 [default: 1000]
    #[arg(long, env = "HERALDRY_MAX_EVENTS", value_name = "COUNT", help_heading = "Limits of a request")]
    pub max_events: Option<String>,
    /// Events that one token may post in a second, with one second's worth at once; 0: no limit [default: 0]
    #[arg(long, env = "HERALDRY_TOKEN_RATE", value_name = "COUNT", help_heading = "Limits of a request")]
    pub token_rate: Option<String>,

    /// Instructions of one call, alike on every machine, 100000 and more [default: 200000000]
    #[arg(long, env = "HERALDRY_FORMATTER_FUEL", value_name = "COUNT", help_heading = "Limits of a formatter")]
    pub formatter_fuel: Option<String>,
    /// Time of one call, 10ms to 60s [default: 500ms]
    #[arg(long, env = "HERALDRY_FORMATTER_TIMEOUT", value_name = "DURATION", help_heading = "Limits of a formatter")]
    pub formatter_timeout: Option<String>,
    /// Memory of one call, 2MiB to 4GiB [default: 64MiB]
    #[arg(long, env = "HERALDRY_FORMATTER_MEMORY", value_name = "SIZE", help_heading = "Limits of a formatter")]
    pub formatter_memory: Option<String>,
    /// Formatters that ask for the large sandbox (JavaScript, Python): on or off [default: on]
    #[arg(long, env = "HERALDRY_LARGE_FORMATTERS", value_name = "ON|OFF", help_heading = "Limits of a formatter")]
    pub large_formatters: Option<String>,
    /// Memory of one call in the large sandbox, 2MiB to 4GiB [default: 256MiB]
    #[arg(long, env = "HERALDRY_LARGE_FORMATTER_MEMORY", value_name = "SIZE", help_heading = "Limits of a formatter")]
    pub large_formatter_memory: Option<String>,
    /// Table elements of one call, 100 to 1000000; five times as many in the large sandbox [default: 20000]
    #[arg(long, env = "HERALDRY_FORMATTER_TABLES", value_name = "COUNT", help_heading = "Limits of a formatter")]
    pub formatter_tables: Option<String>,
    /// Stack of one call, 64KiB to 1MiB [default: 1MiB]
    #[arg(long, env = "HERALDRY_FORMATTER_STACK", value_name = "SIZE", help_heading = "Limits of a formatter")]
    pub formatter_stack: Option<String>,
    /// One event with its options, 1KiB to 64MiB [default: 1MiB]
    #[arg(long, env = "HERALDRY_FORMATTER_INPUT", value_name = "SIZE", help_heading = "Limits of a formatter")]
    pub formatter_input: Option<String>,
    /// Headers of one payload, 0 to 256 [default: 32]
    #[arg(long, env = "HERALDRY_FORMATTER_HEADERS", value_name = "COUNT", help_heading = "Limits of a formatter")]
    pub formatter_headers: Option<String>,
    /// Log lines of one call that are kept, 0 to 10000; each is cut at 1KiB [default: 64]
    #[arg(long, env = "HERALDRY_FORMATTER_LOG_LINES", value_name = "COUNT", help_heading = "Limits of a formatter")]
    pub formatter_log_lines: Option<String>,
    /// A component's file, 1MiB to 256MiB [default: 32MiB]
    #[arg(long, env = "HERALDRY_FORMATTER_SIZE", value_name = "SIZE", help_heading = "Limits of a formatter")]
    pub formatter_size: Option<String>,
    /// Processor time for compiling one component, 1s to 1h [default: 2min]
    #[arg(
        long,
        env = "HERALDRY_FORMATTER_COMPILE_TIME",
        value_name = "DURATION",
        help_heading = "Limits of a formatter"
    )]
    pub formatter_compile_time: Option<String>,
    /// What one call may hand back, 1KiB to 16MiB [default: 1MiB]
    #[arg(long, env = "HERALDRY_FORMATTER_OUTPUT", value_name = "SIZE", help_heading = "Limits of a formatter")]
    pub formatter_output: Option<String>,

    /// How log lines look: text or json [default: text]
    #[arg(long, env = "HERALDRY_LOG", value_name = "FORMAT", help_heading = "Log (on standard error)")]
    pub log: Option<String>,
    /// What is logged: error, warn, info, debug or trace [default: info]
    #[arg(long, env = "HERALDRY_LOG_LEVEL", value_name = "LEVEL", help_heading = "Log (on standard error)")]
    pub log_level: Option<String>,
}

/// Where a command that works on a stopped host finds its data.
#[derive(clap::Args, Clone)]
pub struct DataArgs {
    /// Data folder of the stopped host [default: ./heraldry-data]
    #[arg(long, env = "HERALDRY_DATA", value_name = "DIR")]
    data: Option<String>,
    /// The host's TOML file, for its `data` key [default: heraldry.toml, if it is there]
    #[arg(long, env = "HERALDRY_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

impl DataArgs {
    /// The host's configuration, as far as its folder and its key go.
    ///
    /// # Errors
    /// As [`load`].
    pub fn load(&self) -> Result<Config, ConfigError> {
        load(&ServeArgs { data: self.data.clone(), config: self.config.clone(), ..ServeArgs::default() })
    }
}

/// Which host a client command talks to, and as whom.
#[derive(clap::Args, Clone, Debug)]
pub struct ClientArgs {
    /// The host's address, without /api/v1
    #[arg(
        long,
        env = "HERALDRY_URL",
        value_name = "URL",
        default_value = "http://127.0.0.1:8080",
        help_heading = "Host"
    )]
    pub server: String,
    /// The token to call with; the variable keeps it out of process lists
    #[arg(
        long,
        env = "HERALDRY_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN",
        value_parser = |text: &str| Ok::<_, Infallible>(Secret::new(text)),
        help_heading = "Host"
    )]
    pub token: Option<Secret>,
    /// Print JSON on standard output, for programs
    #[arg(long, help_heading = "Host")]
    pub json: bool,
}
