//! Everything that the outside sees, over real HTTP, on the real binary. One file per feature; each test
//! starts the hosts that it needs, on ports of the system's choice and in folders of their own.

#[path = "../support/mod.rs"]
mod support;

mod breaker;
mod commands;
mod delivery;
mod destinations;
mod health;
mod kill;
mod rooms;
mod webhooks;
mod shared_events;
mod shutdown;
mod ssrf;
mod stranger;
