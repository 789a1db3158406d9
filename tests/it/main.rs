//! Everything that the outside sees, over real HTTP, on the real binary. One file per feature; each test
//! starts the hosts that it needs, on ports of the system's choice and in folders of their own.

#[path = "../support/mod.rs"]
mod support;

mod author;
mod breaker;
mod commands;
mod contract;
mod deliveries_api;
mod delivery;
mod destinations;
mod events;
mod formatters;
mod health;
mod hostile;
mod idempotency;
mod interpret;
mod kill;
mod live;
mod openapi;
mod roles;
mod rooms;
mod settings;
mod shared_events;
mod shutdown;
mod ssrf;
mod stranger;
mod swaps;
mod tokens;
mod uploads;
mod webhook_fields;
mod webhooks;
