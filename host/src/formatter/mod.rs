//! Formatters: sandboxed components that turn an event into bytes. The one room that knows wasmtime.
//!
//! Every component, built in or a stranger's, enters by [`Registry::admit`] and gets the same limits.
//! Each call runs in a fresh instance on one of a few threads of its own.

mod bindings;
mod check;
mod error;
mod info;
mod manifest;
mod pool;
mod registry;
mod rendered;
mod sandbox;

#[cfg(test)]
mod tests;

pub use error::{Limit, RenderError};
pub use info::{FormatterInfo, Limits, LogLevel, LogLine, Origin, Preview, State, Timings};
pub use manifest::Manifest;
pub use registry::{Component, Registry, RegistryOptions, forget_unused};
pub use rendered::{Rendered, RenderedKey};
pub use sandbox::Payload;

/// Components larger than this are refused, in bytes.
pub const COMPONENT_BYTES: u64 = 32 * 1024 * 1024;
