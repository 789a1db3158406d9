//! Values: events, webhooks, deliveries, attempts, tokens.
//!
//! The types here cannot hold a bad value: whatever comes from outside is parsed into them once, and
//! every fault of an input is collected before the answer. No input or output, no async and no clock:
//! a time is always an argument.

pub mod audit;
pub mod breaker;
pub mod delivery;
pub mod event;
pub mod header;
pub mod host_event;
pub mod id;
pub mod mask;
pub mod probe;
pub mod retry;
pub mod secret;
pub mod settings;
pub mod spelling;
pub mod time;
pub mod token;
pub mod url;
pub mod webhook;
