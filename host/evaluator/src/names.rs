//! The names that an expression may use.

use crate::event::{SEVERITIES, VARIABLES};

/// Types, which an expression may compare with: `type(data.count) == int`.
const TYPES: [&str; 11] =
    ["bool", "bytes", "double", "dyn", "int", "list", "map", "null_type", "string", "type", "uint"];

/// Functions that are called on their own: `size(data.items)`.
const FUNCTIONS: [&str; 10] = ["size", "int", "uint", "double", "string", "bytes", "bool", "dyn", "type", "matches"];

/// Functions that are called on a value: `finding.title.startsWith("SQL")`.
const METHODS: [&str; 21] = [
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "matches",
    "charAt",
    "indexOf",
    "lastIndexOf",
    "join",
    "lowerAscii",
    "upperAscii",
    "trim",
    "replace",
    "split",
    "substring",
    "format",
    "reverse",
    "hasValue",
    "value",
    "orValue",
    "or",
];

/// Functions in a namespace.
const QUALIFIED: [(&str, &[&str]); 2] = [("optional", &["of", "none", "ofNonZeroValue"]), ("strings", &["quote"])];

/// Returns true for a variable, a constant or a type.
pub(crate) fn is_variable(name: &str) -> bool {
    VARIABLES.contains(&name) || SEVERITIES.contains(&name) || TYPES.contains(&name)
}

/// Returns true for a function that is called on its own.
pub(crate) fn is_function(name: &str) -> bool {
    FUNCTIONS.contains(&name)
}

/// Returns true for a function that is called on a value.
pub(crate) fn is_method(name: &str) -> bool {
    METHODS.contains(&name)
}

/// Returns true for a function in a namespace.
pub(crate) fn is_qualified(namespace: &str, name: &str) -> bool {
    QUALIFIED.iter().any(|(known, names)| *known == namespace && names.contains(&name))
}

/// The variables and constants, for the message about an unknown one.
pub(crate) fn variables() -> String {
    let names: Vec<&str> = VARIABLES.iter().chain(&SEVERITIES).copied().collect();
    let (last, rest) = names.split_last().map_or(("", [].as_slice()), |(last, rest)| (*last, rest));
    format!("{} and {last}", rest.join(", "))
}

/// The known method or function that is the same but for the case of its letters.
pub(crate) fn near(name: &str) -> Option<&'static str> {
    METHODS.iter().chain(&FUNCTIONS).copied().find(|known| known.eq_ignore_ascii_case(name))
}

/// All names of functions, for the test that the evaluator knows each.
#[cfg(test)]
pub(crate) fn all_functions() -> impl Iterator<Item = (&'static str, bool)> {
    FUNCTIONS.iter().map(|name| (*name, false)).chain(METHODS.iter().map(|name| (*name, true)))
}
