//! The scheduler with the real store, on a virtual clock and with simulated destinations.

mod crowds;
mod outages;
mod simulation;
