//! Everything that the outside sees, over real HTTP, on the real binary. One file per feature; each test
//! starts the hosts that it needs, on ports of the system's choice and in folders of their own.

#[path = "../support/mod.rs"]
mod support;

mod health;
mod rooms;
