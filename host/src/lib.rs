//! Heraldry: a self-hosted notification host for a penetration-testing platform.
//!
//! The path of an event: it is posted to the [`api`], checked as strict [`json`], persisted with its deliveries by the
//! [`store`], queued and claimed by the [`scheduler`], rendered by a sandboxed [`formatter`], signed ([`signature`])
//! and sent ([`transport`]).
//!
//! [`model`] holds the shared types, [`config`] the settings, [`telemetry`] the metrics. [`app`] builds a host from
//! these parts, `upkeep` maintains it while it runs and [`watchdog`] sees that nothing of it dies in silence; [`cli`] is the command line. ARCHITECTURE.md has the rule for
//! which module may use which, and a test enforces it.

use std::sync::LazyLock;

pub mod api;
pub mod app;
pub mod cli;
mod clock;
pub mod config;
pub mod console;
pub mod delivery;
mod embedded;
pub mod filter;
pub mod formatter;
#[cfg(fuzzing)]
pub mod fuzzing;
pub mod json;
pub mod keyring;
pub mod model;
pub mod samples;
pub mod scheduler;
pub mod signature;
pub mod store;
pub mod telemetry;
pub mod transport;
mod upkeep;
pub mod watchdog;

/// The built-in formatters.
pub fn built_in() -> &'static [formatter::BuiltIn] {
    static ALL: LazyLock<Vec<formatter::BuiltIn>> = LazyLock::new(|| {
        let all = embedded::FORMATTERS.iter();
        all.map(|&(name, manifest, component)| formatter::BuiltIn { name, manifest, component }).collect()
    });
    &ALL
}
