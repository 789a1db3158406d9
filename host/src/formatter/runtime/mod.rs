//! Compiling, linking and calling components. Only this folder names wasmtime.

pub(super) mod bindings;
pub(super) mod compile;
pub(super) mod error;
pub(super) mod sandbox;
