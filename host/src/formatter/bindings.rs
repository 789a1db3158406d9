//! The contract of `wit/`, as the host sees it.

// The generated items have no documentation of their own; it stands in wit/formatter.wit.
#![allow(missing_docs, unreachable_pub, reason = "generated from wit/formatter.wit")]

wasmtime::component::bindgen!({ path: "../wit", world: "formatter" });
