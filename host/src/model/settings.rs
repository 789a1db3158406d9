//! Settings of the host's limits and waits. `Default` has the values of `serve` without further settings; `config`
//! checks the ranges.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::secret::Secret;

/// Limits of one request to the API.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// One event's JSON text, in bytes; at most `max_body_bytes`.
    pub max_event_bytes: usize,
    /// A JSON body, in bytes.
    pub max_body_bytes: usize,
    /// Events in one request, at least 1.
    pub max_events: usize,
    /// Events that one token may post in a second (a token bucket); 0: no limit.
    pub token_rate: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_event_bytes: 256 * 1024, max_body_bytes: 4 * 1024 * 1024, max_events: 1000, token_rate: 0 }
    }
}

/// The text that stands for a webhook in the `webhook` label of metrics.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum MetricsLabels {
    /// Its id: names name clients, and `/metrics` asks for no token.
    #[default]
    Id,
    /// Its name.
    Name,
}

/// The console, where it is on.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct ConsoleSettings {
    /// The origin under which browsers reach it, as in `https://heraldry.example`; `None` for loopback only.
    pub origin: Option<String>,
}

/// Limits on the clients of the API.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct ConnectionSettings {
    /// Open connections at most; 0: what the limit of open files leaves.
    pub total: usize,
    /// Open connections of one address at most; 0: no limit.
    pub per_address: usize,
}

/// When a failed attempt is made again: exponential backoff with jitter.
///
/// Retry `k`, counted from 1, waits `min(cap, base × factor^(k-1))`, with jitter over the upper half.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RetryPolicy {
    /// The wait before the first retry, before jitter; above zero.
    pub base: Duration,
    /// How many times longer each further wait is, at least 1.
    pub factor: u32,
    /// The longest wait, before jitter; at least `base`.
    pub cap: Duration,
    /// The longest wait that a destination may ask for with `Retry-After`.
    pub retry_after_cap: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            base: Duration::from_secs(2),
            factor: 12,
            cap: Duration::from_secs(30 * 60),
            retry_after_cap: Duration::from_secs(60 * 60),
        }
    }
}

/// Settings of deliveries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DeliverySettings {
    /// Attempts in flight over all webhooks, at least 1. Those that turn out to hang may exceed it.
    pub concurrency: usize,
    /// Attempts in flight for one webhook, at least 1.
    pub webhook_concurrency: usize,
    /// The circuit breaker's threshold: deliveries that fail for good, in a row, until the webhook is switched off; at
    /// least 1.
    pub breaker_threshold: u32,
    /// True if a webhook that the circuit breaker switched off is probed, and switched on again once a probe is
    /// delivered.
    pub breaker_probe: bool,
    /// When a failed attempt is made again.
    pub retry: RetryPolicy,
    /// How long events, deliveries and history are kept; pending and held work as long as that too.
    pub retention: Duration,
    /// How long the audit log is kept.
    pub audit_retention: Duration,
    /// The most events that are kept; the oldest settled ones are removed first, pending ones are not.
    pub max_events_kept: u64,
    /// The most attempts that are kept in the history of one webhook.
    pub max_history: u64,
    /// How long attempts in flight may go on after the host was asked to stop; zero cuts them at once.
    pub grace: Duration,
}

impl Default for DeliverySettings {
    fn default() -> Self {
        Self {
            concurrency: 256,
            webhook_concurrency: 32,
            breaker_threshold: 5,
            breaker_probe: true,
            retry: RetryPolicy::default(),
            retention: Duration::from_secs(30 * 24 * 60 * 60),
            audit_retention: Duration::from_secs(2 * 365 * 24 * 60 * 60),
            max_events_kept: 10_000_000,
            max_history: 1_000_000,
            grace: Duration::from_secs(25),
        }
    }
}

/// Limits of a formatter: the same in the host, in `formatter check` and in every message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SandboxSettings {
    /// WebAssembly instructions of one call, the same count on every machine.
    pub fuel: u64,
    /// Processor time of one call: the backstop behind `fuel`, for costs that instructions do not measure.
    pub timeout: Duration,
    /// Linear memory of one instance, in bytes.
    pub memory_bytes: usize,
    /// The same for a formatter that asks for the large sandbox; `None`: there is none.
    pub large_memory_bytes: Option<usize>,
    /// Elements of all tables of one instance.
    pub table_elements: usize,
    /// The wasm stack, in bytes; within what every thread that runs a call has.
    pub stack_bytes: usize,
    /// One event and its options together, in bytes.
    pub input_bytes: usize,
    /// One payload, body and headers together, in bytes.
    pub output_bytes: usize,
    /// Headers of one payload.
    pub headers: usize,
    /// Log lines of one call that are kept; further ones are counted. A line is cut at 1 KiB.
    pub log_lines: usize,
    /// A component's file, in bytes.
    pub component_bytes: usize,
    /// Processor time for compiling one component, all threads together.
    pub compile_time: Duration,
    /// Processor time of all calls that check one component.
    pub check_time: Duration,
}

impl Default for SandboxSettings {
    fn default() -> Self {
        Self {
            fuel: 200_000_000,
            timeout: Duration::from_millis(500),
            memory_bytes: 64 * 1024 * 1024,
            large_memory_bytes: Some(256 * 1024 * 1024),
            table_elements: 20_000,
            stack_bytes: 1024 * 1024,
            input_bytes: 1024 * 1024,
            output_bytes: 1024 * 1024,
            headers: 32,
            log_lines: 64,
            component_bytes: 32 * 1024 * 1024,
            compile_time: Duration::from_secs(120),
            check_time: Duration::from_secs(10),
        }
    }
}

/// Files that the operator has given names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// CA bundles: a name and a PEM file with one certificate or more.
    pub cas: Vec<(String, PathBuf)>,
    /// Client certificates: a name, a PEM file with the certificate and its chain, a PEM file with its key.
    pub client_certs: Vec<(String, PathBuf, PathBuf)>,
}

/// An HTTP proxy that deliveries over HTTP go through, with `CONNECT` (RFC 9110, section 9.3.6).
#[derive(Clone, PartialEq)]
pub struct ProxySettings {
    /// The proxy's host: a name or an address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The value of `Proxy-Authorization`.
    pub authorization: Option<Secret>,
    /// Networks whose destinations are reached without it.
    pub except: Vec<IpNet>,
    /// True if the proxy gets the destination's name, and so looks it up a second time; false: the address that the
    /// guard judged.
    pub sends_names: bool,
}

impl fmt::Debug for ProxySettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}:{}", self.host, self.port)
    }
}
