//! Evaluates filter expressions (CEL, the Common Expression Language) on events.
//!
//! The crate `cel` bounds neither time nor memory, so the host runs this as a component in its sandbox: instructions and
//! memory bound it, the same on every machine. It imports nothing.
//!
//! [`program`] reads and checks an expression, [`event`] makes the variables of an event, of the values in [`object`],
//! [`seen`] says why an expression is false, and [`session`] is what one instance keeps between calls.

mod component;
pub mod event;
mod json;
mod names;
pub mod object;
mod patterns;
pub mod program;
mod reason;
mod scan;
pub mod seen;
pub mod session;
mod text;

pub use session::{Session, Verdict};

#[cfg(test)]
mod tests;
