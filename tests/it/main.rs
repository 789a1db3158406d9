//! Everything that the outside sees, over real HTTP, on the real binary. One file per feature; each test
//! starts the hosts that it needs, on ports of the system's choice and in folders of their own.

#[path = "../support/mod.rs"]
mod support;

mod audit;
mod author;
mod breaker;
mod care;
mod collector_faults;
mod collectors;
mod commands;
mod contract;
mod damage;
mod deliveries_api;
mod delivery;
mod destinations;
mod disk;
mod events;
mod formatters;
mod health;
mod hec;
mod hostile;
mod idempotency;
mod interpret;
mod kills;
mod live;
mod openapi;
mod recovery;
mod roles;
mod rooms;
mod settings;
mod shared_events;
mod shutdown;
mod soak;
mod ssrf;
mod stranger;
mod swaps;
mod tokens;
mod under_load;
mod uploads;
mod webhook_fields;
mod webhooks;
