//! Checks that apply to the manifests of all built-in formats.

use std::path::Path;
use std::{env, fs};

use serde_json::{Value, json};

use crate::{Formatter, describe};

/// Checks a formatter's manifest and returns it: name, kind and join as given, a schema that rejects unknown options
/// and describes every known one, and the same content as `manifest.json` in the format's folder, by which the host knows
/// the format before it has compiled it. `UPDATE_GOLDEN=1 cargo test` rewrites that file.
///
/// # Panics
/// If one of these does not hold.
pub fn checked<F: Formatter>(name: &str, kind: &str, join: &str) -> Value {
    let manifest: Value = serde_json::from_str(&describe::<F>()).expect("JSON");
    assert_eq!(manifest["name"], name);
    assert_eq!((&manifest["kind"], &manifest["join"]), (&json!(kind), &json!(join)));
    assert_eq!(manifest["options_schema"]["additionalProperties"], json!(false));
    for (name, option) in options(&manifest) {
        assert!(option["description"].is_string(), "{name}");
    }
    compare_file(name, &manifest);
    manifest
}

#[allow(clippy::disallowed_methods, reason = "a test's switch, no setting of the host")]
fn compare_file(name: &str, manifest: &Value) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name).join("manifest.json");
    let text = format!("{manifest:#}\n");
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, text).expect("a file can be written");
    } else {
        let file = fs::read_to_string(&path).unwrap_or_default();
        assert!(file == text, "{} differs; UPDATE_GOLDEN=1 cargo test writes it anew", path.display());
    }
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
