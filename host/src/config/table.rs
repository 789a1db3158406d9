//! The table of settings: name, range, help and place in [`Config`] of each, once. The flags with their help and
//! environment variables (`args`), the reading of values (`sources`) and the messages are derived from it. Defaults are
//! those of [`Config::default`], and the help shows them from there.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::{Config, units, values};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TRILLION: u64 = 1_000_000_000_000;

const fn days(days: u64) -> Duration {
    Duration::from_secs(days * 24 * 60 * 60)
}

/// Settings under one heading of `serve --help`.
pub(super) struct Section {
    /// `None`: clap's own heading for options.
    pub(super) heading: Option<&'static str>,
    pub(super) settings: &'static [Setting],
}

/// One setting. `retry-base` is the flag `--retry-base`, the variable `HERALDRY_RETRY_BASE` and the key `retry-base`.
pub(super) struct Setting {
    pub(super) name: &'static str,
    /// Placeholder for the value in the help.
    pub(super) value_name: &'static str,
    /// One sentence without a full stop; range and default are appended to it.
    about: &'static str,
    kind: Kind,
    /// The value may hold a password, so neither the help nor a message shows it.
    pub(super) is_secret: bool,
}

enum Kind {
    /// A whole number without a unit.
    Count(RangeInclusive<u64>, fn(&mut Config) -> &mut dyn Number),
    /// A size in bytes.
    Size(RangeInclusive<u64>, fn(&mut Config) -> &mut dyn Number),
    Duration(RangeInclusive<Duration>, fn(&mut Config) -> &mut Duration),
    /// Any other single value: how it is set, and the default as the help shows it.
    Single(fn(&mut Config, &str) -> Result<(), String>, fn(&Config) -> String),
    /// A list, empty by default: how one item is added.
    List(fn(&mut Config, &str) -> Result<(), String>),
}

/// A field of [`Config`] that holds a count or a size.
trait Number {
    fn get(&self) -> u64;
    /// `None` if the type cannot hold the value.
    fn set(&mut self, value: u64) -> Option<()>;
}

macro_rules! numbers {
    ($($type:ty)*) => {$(
        impl Number for $type {
            fn get(&self) -> u64 {
                u64::try_from(*self).unwrap_or(u64::MAX)
            }

            fn set(&mut self, value: u64) -> Option<()> {
                *self = Self::try_from(value).ok()?;
                Some(())
            }
        }
    )*};
}

numbers! { u32 u64 usize }

/// `None` means that another setting has switched the feature off, and stays.
impl Number for Option<usize> {
    fn get(&self) -> u64 {
        self.map_or(0, |value| value.get())
    }

    fn set(&mut self, value: u64) -> Option<()> {
        self.as_mut().map_or(Some(()), |field| field.set(value))
    }
}

const fn count(
    name: &'static str,
    range: RangeInclusive<u64>,
    field: fn(&mut Config) -> &mut dyn Number,
    about: &'static str,
) -> Setting {
    Setting { name, value_name: "COUNT", about, kind: Kind::Count(range, field), is_secret: false }
}

const fn size(
    name: &'static str,
    range: RangeInclusive<u64>,
    field: fn(&mut Config) -> &mut dyn Number,
    about: &'static str,
) -> Setting {
    Setting { name, value_name: "SIZE", about, kind: Kind::Size(range, field), is_secret: false }
}

const fn duration(
    name: &'static str,
    range: RangeInclusive<Duration>,
    field: fn(&mut Config) -> &mut Duration,
    about: &'static str,
) -> Setting {
    Setting { name, value_name: "DURATION", about, kind: Kind::Duration(range, field), is_secret: false }
}

const fn single(
    name: &'static str,
    value_name: &'static str,
    set: fn(&mut Config, &str) -> Result<(), String>,
    default: fn(&Config) -> String,
    about: &'static str,
) -> Setting {
    Setting { name, value_name, about, kind: Kind::Single(set, default), is_secret: false }
}

const fn list(
    name: &'static str,
    value_name: &'static str,
    add: fn(&mut Config, &str) -> Result<(), String>,
    about: &'static str,
) -> Setting {
    Setting { name, value_name, about, kind: Kind::List(add), is_secret: false }
}

/// Every setting, in the order of the help. A row may rely on the rows before it having been applied.
pub(super) static SECTIONS: &[Section] = &[
    Section {
        heading: None,
        settings: &[
            single(
                "listen",
                "ADDRESS:PORT",
                |c, text| set(&mut c.listen, values::address(text)),
                |c| c.listen.to_string(),
                "Address on which the API listens; with port 0 the system chooses the port",
            ),
            single(
                "data",
                "DIR",
                |c, text| set(&mut c.data, values::path(text)),
                |c| c.data.display().to_string(),
                "Folder of the store and the master key; created if it does not exist",
            ),
            single(
                "formatters",
                "DIR",
                |c, text| set(&mut c.formatters, values::path(text)),
                |c| c.formatters.display().to_string(),
                "Drop-in folder of formatters (*.wasm); need not exist",
            ),
            list(
                "allow-net",
                "CIDR",
                |c, text| add(&mut c.allow_net, values::network(text)),
                "Private network that deliveries may reach, as in 10.0.0.0/8 (an exception to the SSRF guard). \
                 Repeat the flag for more; separate them by commas in the variable; a list in the file. Public \
                 addresses need no entry; link-local, multicast and reserved ones are always denied",
            ),
            single(
                "host-name",
                "NAME",
                |c, text| set(&mut c.host_name, values::host_name(text).map(Some)),
                |_| "this machine's name, stored at the first start".to_owned(),
                "The host's name in messages",
            ),
            size("cache", MIB..=1024 * GIB, |c| &mut c.store_cache_bytes, "Memory for the store's cache"),
            duration(
                "retention",
                SECOND..=days(3650),
                |c| &mut c.delivery.retention,
                "How long events, deliveries and history are kept",
            ),
            duration(
                "audit-retention",
                days(1)..=days(36_500),
                |c| &mut c.delivery.audit_retention,
                "How long the audit log is kept",
            ),
            count(
                "max-events-kept",
                1000..=TRILLION,
                |c| &mut c.delivery.max_events_kept,
                "Events kept at most; beyond it the oldest are removed before their retention ends",
            ),
            count(
                "max-history",
                100..=TRILLION,
                |c| &mut c.delivery.max_history,
                "Attempts kept at most in the history of one webhook",
            ),
            duration(
                "grace",
                Duration::ZERO..=HOUR,
                |c| &mut c.delivery.grace,
                "How long attempts in flight may go on after SIGTERM",
            ),
        ],
    },
    Section {
        heading: Some("TLS and proxy"),
        settings: &[
            list(
                "tls-ca",
                "NAME=FILE",
                |c, text| add(&mut c.tls.cas, values::ca(text)),
                "CA bundle (PEM) that a webhook may select as `tls.ca`, as in corp=/etc/heraldry/corp-ca.pem; \
                 such a webhook trusts this bundle only. Repeat the flag for more",
            ),
            list(
                "tls-client-cert",
                "NAME=CERT:KEY",
                |c, text| add(&mut c.tls.client_certs, values::client_cert(text)),
                "Client certificate with its chain, and its key (PEM), that a webhook may select as \
                 `tls.client_cert`, as in siem=/etc/heraldry/siem.pem:/etc/heraldry/siem.key. Repeat the flag \
                 for more",
            ),
            single(
                "proxy",
                "URL",
                |c, text| set(&mut c.proxy, values::proxy(text).map(Some)),
                |_| "none".to_owned(),
                "HTTP proxy for deliveries over http:// and https://, as in http://proxy.example.com:3128. User \
                 and password in the URL are sent to it; prefer the variable or the file for them, since \
                 process lists show flags",
            )
            .hidden(),
            list(
                "proxy-except",
                "CIDR",
                |c, text| {
                    let network = values::network(text)?;
                    c.proxy.iter_mut().for_each(|proxy| proxy.except.push(network));
                    Ok(())
                },
                "Network whose destinations are reached without the proxy. Repeat the flag for more",
            ),
            single(
                "proxy-sends",
                "ADDRESS|NAME",
                |c, text| {
                    let sends_names = values::one_of(text, &[("address", false), ("name", true)])?;
                    c.proxy.iter_mut().for_each(|proxy| proxy.sends_names = sends_names);
                    Ok(())
                },
                |_| "address".to_owned(),
                "What the proxy is asked to connect to: address, which the SSRF guard has checked, or name, \
                 which the proxy resolves again and may resolve to another address",
            ),
        ],
    },
    Section {
        heading: Some("Delivery"),
        settings: &[
            count(
                "concurrency",
                1..=65_536,
                |c| &mut c.delivery.concurrency,
                "Attempts in flight over all webhooks; those that turn out to hang may exceed it, up to four times",
            ),
            count(
                "webhook-concurrency",
                1..=65_536,
                |c| &mut c.delivery.webhook_concurrency,
                "Attempts in flight for one webhook",
            ),
            count(
                "breaker-threshold",
                1..=1_000_000,
                |c| &mut c.delivery.breaker_threshold,
                "Circuit breaker: consecutive deliveries without success after which the webhook is switched off",
            ),
            single(
                "breaker-probe",
                "ON|OFF",
                |c, text| {
                    c.delivery.breaker_probe = values::one_of(text, &[("on", true), ("off", false)])?;
                    Ok(())
                },
                |c| if c.delivery.breaker_probe { "on" } else { "off" }.to_owned(),
                "Circuit breaker: probe a webhook that it switched off, after 1, 5, 15 minutes and then every 30, and switch it on once a probe is delivered; off: only an admin switches it on",
            ),
            duration(
                "retry-base",
                MS..=HOUR,
                |c| &mut c.delivery.retry.base,
                "Exponential backoff: the delay before the first retry; jitter cuts up to half of each delay",
            ),
            count(
                "retry-factor",
                1..=1000,
                |c| &mut c.delivery.retry.factor,
                "Exponential backoff: the ratio of each delay to the one before",
            ),
            duration(
                "retry-cap",
                MS..=days(7),
                |c| &mut c.delivery.retry.cap,
                "Exponential backoff: the longest delay between two attempts",
            ),
            duration(
                "retry-after-cap",
                Duration::ZERO..=days(7),
                |c| &mut c.delivery.retry.retry_after_cap,
                "The longest delay that a destination's Retry-After header can request",
            ),
        ],
    },
    Section {
        heading: Some("Limits of a request"),
        settings: &[
            size("max-event-bytes", KIB..=16 * MIB, |c| &mut c.limits.max_event_bytes, "One event's JSON text"),
            size("max-body-bytes", KIB..=GIB, |c| &mut c.limits.max_body_bytes, "A JSON body"),
            count("max-events", 1..=100_000, |c| &mut c.limits.max_events, "Events in one request"),
            count(
                "token-rate",
                0..=1_000_000,
                |c| &mut c.limits.token_rate,
                "Events per second that one API token may post (a token bucket that holds one second's worth); 0 for \
                 no limit",
            ),
        ],
    },
    Section {
        heading: Some("Clients of the API"),
        settings: &[
            count(
                "connections",
                0..=1_000_000,
                |c| &mut c.connections.total,
                "Open connections of all clients; further ones get a 503, unless a client that keeps the host waiting \
                 makes room. 0 for what the limit of open files leaves, at most 8192",
            ),
            count(
                "connections-per-address",
                0..=1_000_000,
                |c| &mut c.connections.per_address,
                "Open connections of one address; 0 for no limit. Behind a proxy all clients have the same address",
            ),
            count(
                "metrics-webhooks",
                0..=1_000_000,
                |c| &mut c.metrics_webhooks,
                "Webhooks that have a series of their own in a metric; the others are added up in one series",
            ),
            single(
                "metrics-labels",
                "ID|NAME",
                |c, text| set(&mut c.metrics_labels, values::one_of(text, values::METRICS_LABELS)),
                |c| values::name_of(&c.metrics_labels, values::METRICS_LABELS),
                "What stands for a webhook in metrics: its id, or its name, which may name a client; /metrics asks \
                 for no token",
            ),
            single(
                "console",
                "ON|OFF",
                |c, text| set(&mut c.console, values::one_of(text, values::SWITCH)),
                |c| values::name_of(&c.console, values::SWITCH),
                "The console: pages for browsers under /console",
            ),
            single(
                "console-origin",
                "URL",
                |c, text| set(&mut c.console_origin, values::console_origin(text).map(Some)),
                |c| c.console_origin.clone().unwrap_or_else(|| "none".to_owned()),
                "The address under which browsers reach the console through a proxy, as in https://heraldry.example; \
                 without it the console is open on loopback only",
            ),
        ],
    },
    Section {
        heading: Some("Limits of a formatter"),
        settings: &[
            count(
                "formatter-fuel",
                100_000..=TRILLION,
                |c| &mut c.sandbox.fuel,
                "WebAssembly instructions of one call, counted alike on every machine",
            ),
            duration(
                "formatter-timeout",
                Duration::from_millis(10)..=MINUTE,
                |c| &mut c.sandbox.timeout,
                "Processor time of one call; a machine that is too busy to give it gets 20 times as long",
            ),
            size("formatter-memory", 2 * MIB..=4 * GIB, |c| &mut c.sandbox.memory_bytes, "Memory of one call"),
            single(
                "large-formatters",
                "ON|OFF",
                |c, text| {
                    if !values::one_of(text, &[("on", true), ("off", false)])? {
                        c.sandbox.large_memory_bytes = None;
                    }
                    Ok(())
                },
                |c| if c.sandbox.large_memory_bytes.is_some() { "on" } else { "off" }.to_owned(),
                "Accept formatters that request the large sandbox (JavaScript, Python): on or off",
            ),
            size(
                "large-formatter-memory",
                2 * MIB..=4 * GIB,
                |c| &mut c.sandbox.large_memory_bytes,
                "Memory of one call in the large sandbox",
            ),
            count(
                "formatter-tables",
                100..=1_000_000,
                |c| &mut c.sandbox.table_elements,
                "Table elements of one call; the large sandbox has five times as many",
            ),
            size("formatter-stack", 64 * KIB..=MIB, |c| &mut c.sandbox.stack_bytes, "Stack of one call"),
            size("formatter-input", KIB..=64 * MIB, |c| &mut c.sandbox.input_bytes, "One event with its options"),
            count("formatter-headers", 0..=256, |c| &mut c.sandbox.headers, "Headers of one payload"),
            count(
                "formatter-log-lines",
                0..=10_000,
                |c| &mut c.sandbox.log_lines,
                "Log lines kept of one call; each is cut at 1KiB",
            ),
            size("formatter-size", MIB..=256 * MIB, |c| &mut c.sandbox.component_bytes, "A component's file"),
            duration(
                "formatter-compile-time",
                SECOND..=HOUR,
                |c| &mut c.sandbox.compile_time,
                "Processor time for compiling one component",
            ),
            duration(
                "formatter-check-time",
                Duration::from_millis(100)..=HOUR,
                |c| &mut c.sandbox.check_time,
                "Processor time of all calls that check one component",
            ),
            size(
                "formatter-output",
                KIB..=16 * MIB,
                |c| &mut c.sandbox.output_bytes,
                "Body and headers that one call may return",
            ),
        ],
    },
    Section {
        heading: Some("Log (on standard error)"),
        settings: &[
            single(
                "log",
                "FORMAT",
                |c, text| set(&mut c.log, values::one_of(text, values::LOG_FORMATS)),
                |c| values::name_of(&c.log, values::LOG_FORMATS),
                "Format of log lines: text or json",
            ),
            single(
                "log-level",
                "LEVEL",
                |c, text| set(&mut c.log_level, values::one_of(text, values::LOG_LEVELS)),
                |c| values::name_of(&c.log_level, values::LOG_LEVELS),
                "Least severe level that is logged: error, warn, info, debug or trace",
            ),
        ],
    },
];

fn set<T>(field: &mut T, value: Result<T, String>) -> Result<(), String> {
    *field = value?;
    Ok(())
}

fn add<T>(list: &mut Vec<T>, item: Result<T, String>) -> Result<(), String> {
    list.push(item?);
    Ok(())
}

/// Every setting, in the order of the help.
pub(super) fn all() -> impl Iterator<Item = &'static Setting> {
    SECTIONS.iter().flat_map(|section| section.settings)
}

impl Setting {
    const fn hidden(self) -> Self {
        Self { is_secret: true, ..self }
    }

    /// The environment variable.
    pub(super) fn variable(&self) -> String {
        format!("HERALDRY_{}", self.name.to_uppercase().replace('-', "_"))
    }

    /// True if the setting takes several values.
    pub(super) fn is_list(&self) -> bool {
        matches!(self.kind, Kind::List(_))
    }

    /// Checks one value and puts it into the configuration.
    ///
    /// # Errors
    /// The expected form or range; the configuration is unchanged then.
    pub(super) fn apply(&self, config: &mut Config, text: &str) -> Result<(), String> {
        let too_large = || "too large for this machine".to_owned();
        match &self.kind {
            Kind::Count(range, field) => {
                let value = within(range, units::count(text)?, |count| count.to_string())?;
                field(config).set(value).ok_or_else(too_large)
            }
            Kind::Size(range, field) => {
                let value = within(range, units::size(text)?, units::show_size)?;
                field(config).set(value).ok_or_else(too_large)
            }
            Kind::Duration(range, field) => {
                set(field(config), within(range, units::duration(text)?, units::show_duration))
            }
            Kind::Single(set, _) => set(config, text),
            Kind::List(add) => add(config, text),
        }
    }

    /// The setting in words, its range and its default. `defaults` is [`Config::default`]; it is mutable only because
    /// the fields are reached by the same functions that set them.
    pub(super) fn help(&self, defaults: &mut Config) -> String {
        let about = self.about;
        let (range, default) = match &self.kind {
            Kind::Count(range, field) => {
                (Some(show(range, |count| count.to_string())), field(defaults).get().to_string())
            }
            Kind::Size(range, field) => (Some(show(range, units::show_size)), units::show_size(field(defaults).get())),
            Kind::Duration(range, field) => {
                (Some(show(range, units::show_duration)), units::show_duration(*field(defaults)))
            }
            Kind::Single(_, default) => (None, default(defaults)),
            Kind::List(_) => (None, "none".to_owned()),
        };
        let range = range.map(|range| format!(" ({range})")).unwrap_or_default();
        format!("{about}{range} [default: {default}]")
    }
}

fn show<T: Copy>(range: &RangeInclusive<T>, show: impl Fn(T) -> String) -> String {
    format!("{} to {}", show(*range.start()), show(*range.end()))
}

fn within<T: Copy + PartialOrd>(
    range: &RangeInclusive<T>,
    value: T,
    show_one: impl Fn(T) -> String,
) -> Result<T, String> {
    if range.contains(&value) { Ok(value) } else { Err(format!("out of range: {}", show(range, show_one))) }
}
