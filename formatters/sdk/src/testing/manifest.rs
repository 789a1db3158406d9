//! Checks that apply to the manifests of all built-in formats.

use serde_json::{Value, json};

use crate::{Formatter, describe};

/// Checks a formatter's manifest and returns it: name, kind and join as given, a schema that rejects unknown options
/// and describes every known one.
///
/// # Panics
/// If one of these does not hold.
/// When one of these is not so.
pub fn checked<F: Formatter>(name: &str, kind: &str, join: &str) -> Value {
    let manifest: Value = serde_json::from_str(&describe::<F>()).expect("JSON");
    assert_eq!(manifest["name"], name);
    assert_eq!((&manifest["kind"], &manifest["join"]), (&json!(kind), &json!(join)));
    assert_eq!(manifest["options_schema"]["additionalProperties"], json!(false));
    for (name, option) in options(&manifest) {
        assert!(option["description"].is_string(), "{name}");
    }
    manifest
}

/// Asserts that every option has a default.
///
/// # Panics
/// If one has none.
pub fn assert_defaults(manifest: &Value) {
    for (name, option) in options(manifest) {
        assert!(!option["default"].is_null(), "{name}");
    }
}

fn options(manifest: &Value) -> &serde_json::Map<String, Value> {
    manifest["options_schema"]["properties"].as_object().expect("options")
}
