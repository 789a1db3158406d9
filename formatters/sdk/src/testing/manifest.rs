//! What every manifest of ours keeps to.

use serde_json::{Value, json};

use crate::{Formatter, describe};

/// A formatter's manifest, for what it has besides: name, kind and join as given, a schema that takes no option that it
/// does not know, a description of each that it does.
///
/// # Panics
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

/// That every option has a default.
///
/// # Panics
/// When one has none.
pub fn assert_defaults(manifest: &Value) {
    for (name, option) in options(manifest) {
        assert!(!option["default"].is_null(), "{name}");
    }
}

fn options(manifest: &Value) -> &serde_json::Map<String, Value> {
    manifest["options_schema"]["properties"].as_object().expect("options")
}
