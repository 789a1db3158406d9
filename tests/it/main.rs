//! Everything that the outside sees, over real HTTP, on the real binary. One file per feature; each test
//! starts the hosts that it needs, on ports of the system's choice and in folders of their own.

#[path = "../support/mod.rs"]
mod support;

mod breaker;
mod commands;
mod deliveries_api;
mod delivery;
mod destinations;
mod events;
mod formatters;
mod health;
mod idempotency;
mod kill;
mod openapi;
mod roles;
mod rooms;
mod settings;
mod shared_events;
mod shutdown;
mod ssrf;
mod stranger;
mod tokens;
mod webhook_fields;
mod webhooks;
