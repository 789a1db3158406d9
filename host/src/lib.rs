//! Heraldry: a self-hosted notification host for a penetration-testing platform.
//!
//! An event comes in over the API ([`api`]), is kept with its deliveries in the [`store`], is taken up by
//! the [`scheduler`], turned into bytes by a sandboxed [`formatter`], signed ([`signature`]) and sent
//! ([`transport`]). [`model`] is what all of them speak of. [`app`] wires them; [`cli`] is what a person
//! types. ARCHITECTURE.md tells who may call whom.

pub mod api;
pub mod app;
pub mod cli;
mod clock;
pub mod config;
mod embedded;
pub mod formatter;
pub mod json;
pub mod keyring;
pub mod model;
pub mod samples;
pub mod scheduler;
pub mod signature;
pub mod store;
pub mod telemetry;
pub mod transport;

/// The components of the built-in formatters, for whoever opens a [`formatter::Registry`] of their own.
pub fn built_in() -> &'static [&'static [u8]] {
    embedded::COMPONENTS
}
