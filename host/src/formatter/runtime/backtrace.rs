//! The functions that ran when a call trapped, for the formatter's author: names as in the source, the author's own
//! functions first, the runtime's left out.

use wasmtime::WasmBacktrace;

use crate::model::header;

/// Bytes of one function's name.
const NAME_BYTES: usize = 200;

/// Beginnings of the names of functions that every Rust program contains; they say how it trapped, not where.
const RUNTIMES: [&str; 19] = [
    "core::",
    "std::",
    "alloc::",
    "<core::",
    "<std::",
    "<alloc::",
    "<&",
    "<str ",
    "<[",
    "compiler_builtins::",
    "dlmalloc::",
    "__rustc::",
    "panic_",
    "rust_",
    "__rust",
    "_rust",
    "__rg_",
    "__rdl_",
    "abort",
];

/// Beginnings of the names of functions between the host and the author's code.
const GLUE: [&str; 5] = ["heraldry_formatter::", "<heraldry_formatter::", "wit_bindgen::", "heraldry:", "cabi_"];

/// Names of the running functions of the component's name section, innermost first: those of the author, then those
/// that called them. If the author's are all inlined, the others remain.
pub(super) fn functions(error: &wasmtime::Error) -> Vec<String> {
    let Some(trace) = error.downcast_ref::<WasmBacktrace>() else { return Vec::new() };
    order(trace.frames().iter().filter_map(|frame| frame.func_name()).map(readable).collect())
}

/// The name as in the source, without the compiler's hash.
fn readable(name: &str) -> String {
    let demangled = rustc_demangle::try_demangle(name);
    header::printable(&demangled.map_or_else(|_| name.to_owned(), |name| format!("{name:#}")), NAME_BYTES)
}

fn order(names: Vec<String>) -> Vec<String> {
    let begins = |known: &[&str], name: &str| known.iter().any(|known| name.starts_with(known));
    let (glue, own): (Vec<_>, Vec<_>) = names.iter().cloned().partition(|name| begins(&GLUE, name));
    let own = own.into_iter().filter(|name| !begins(&RUNTIMES, name));
    let ordered: Vec<_> = own.chain(glue).collect();
    if ordered.is_empty() { names } else { ordered }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_source() {
        for (name, expected) in [
            ("_ZN5hello6render17h0123456789abcdefE", "hello::render"),
            ("_ZN4core9panicking9panic_fmt17h0123456789abcdefE", "core::panicking::panic_fmt"),
            ("_RNvCs1234_5hello6render", "hello::render"),
            ("JS_CallInternal", "JS_CallInternal"),
            ("heraldry:formatter/format@1.1.0#format", "heraldry:formatter/format@1.1.0#format"),
            ("two\nlines", "two lines"),
        ] {
            assert_eq!(readable(name), expected);
        }
    }

    #[test]
    fn the_authors_functions_come_first_and_the_runtimes_not_at_all() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let trapped = names(&[
            "__rustc::rust_begin_unwind",
            "rust_panic",
            "core::panicking::panic_fmt",
            "core::option::unwrap_failed",
            "hello::what",
            "heraldry_formatter::component::format",
            "<hello::Format as heraldry_formatter::component::Formatter>::render",
            "heraldry:formatter/format@1.1.0#format",
        ]);
        assert_eq!(
            order(trapped),
            [
                "hello::what",
                "<hello::Format as heraldry_formatter::component::Formatter>::render",
                "heraldry_formatter::component::format",
                "heraldry:formatter/format@1.1.0#format",
            ]
        );
        let inlined = names(&["rust_panic", "core::panicking::panic"]);
        assert_eq!(order(inlined.clone()), inlined, "better than nothing");
    }
}
