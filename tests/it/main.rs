//! End-to-end tests of the binary over real HTTP. One file per feature; each test starts its own hosts, on ports chosen
//! by the system and in folders of their own.

#[path = "../support/mod.rs"]
mod support;

mod audit;
mod author;
mod breaker;
mod built_in_formats;
mod clocks;
mod collector_faults;
mod collectors;
mod commands;
mod contract;
mod damage;
mod deliveries_api;
mod delivery;
mod destinations;
mod digests;
mod disk;
mod drop_in;
mod events;
mod first_hour;
mod formatters;
mod hanging;
mod healing;
mod health;
mod hec;
mod hostile;
mod http_server;
mod idempotency;
mod interpret;
mod kills;
mod maintenance;
mod masking;
mod neighbours;
mod openapi;
mod operators;
mod order;
mod recovery;
mod roles;
mod rooms;
mod search;
mod settings;
mod shared_events;
mod shutdown;
mod soak;
mod ssrf;
mod start;
mod swaps;
mod third_party;
mod tokens;
mod under_load;
mod uploads;
mod webhook_fields;
mod webhooks;
