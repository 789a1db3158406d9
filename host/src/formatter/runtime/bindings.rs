//! Host bindings generated from `wit/`. Components built against contract 1.0.0 are linked by the same bindings:
//! within version 1 no record and no function changes (wit/README.md, "What may change").

/// The world `formatter`: the exports of every formatter, and the log that it may import.
// The generated items have no documentation of their own; it is in wit/formatter.wit.
#[allow(missing_docs, unreachable_pub, reason = "generated from wit/formatter.wit")]
pub(super) mod formatter {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "formatter",
        // Arguments are written into the guest's memory from where they are.
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}

/// The world `digester`: the optional export of a formatter that makes one message of many events.
#[allow(missing_docs, unreachable_pub, reason = "generated from wit/formatter.wit")]
pub(super) mod digester {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "digester",
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}

/// The world `interpreter`: the optional export of a formatter that judges responses.
#[allow(missing_docs, unreachable_pub, reason = "generated from wit/formatter.wit")]
pub(super) mod interpreter {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "interpreter",
        ownership: Borrowing { duplicate_if_necessary: true },
    });
}
