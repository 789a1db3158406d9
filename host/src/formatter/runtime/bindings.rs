//! The contract of `wit/`, as the host sees it. Components built from 1.0.0 are linked by the same bindings:
//! within version 1 no record and no function changes (wit/README.md, "What may change").

/// What every formatter exports, and the log that it may import.
// The generated items have no documentation of their own; it stands in wit/formatter.wit.
#[allow(missing_docs, unreachable_pub, reason = "generated from wit/formatter.wit")]
pub(in crate::formatter) mod formatter {
    wasmtime::component::bindgen!({ path: "../wit", world: "formatter" });
}

/// What a formatter may export beside.
#[allow(missing_docs, unreachable_pub, reason = "generated from wit/formatter.wit")]
pub(in crate::formatter) mod interpreter {
    wasmtime::component::bindgen!({ path: "../wit", world: "interpreter" });
}
