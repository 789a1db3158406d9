//! `heraldry version`: what this binary is and was built from.

use super::failure::Failure;
use super::terminal::{self, escape_json, line};
use crate::formatter::CONTRACT_VERSIONS;

/// Prints the facts.
pub(super) fn run(json: bool) -> Result<(), Failure> {
    let version = env!("CARGO_PKG_VERSION");
    let (commit, target) = (env!("HERALDRY_BUILD_COMMIT"), env!("HERALDRY_BUILD_TARGET"));
    if json {
        let facts = serde_json::json!({
            "version": version, "commit": (commit != "unknown").then_some(commit), "target": target,
            "contracts": CONTRACT_VERSIONS,
        });
        return line(escape_json(&facts.to_string()));
    }
    terminal::facts(&[
        ("heraldry", version.to_owned()),
        ("commit", commit.to_owned()),
        ("target", target.to_owned()),
        ("formatter contracts", CONTRACT_VERSIONS.join(", ")),
    ])
}
