//! Golden files of the shared samples, and of digests.

use heraldry_format_json::Json;
use heraldry_formatter::testing::golden::{Case, check, check_digests};

#[test]
fn outputs_match_the_golden_files() {
    let cases = [
        Case::http("", "{}"),
        Case::http("plain", r#"{"shape":"plain"}"#),
        Case::http("cloudevents", r#"{"shape":"cloudevents"}"#),
    ];
    check::<Json>(env!("CARGO_MANIFEST_DIR"), &cases);
    // A file with a thousand events would have a megabyte; tests/digest.rs reads one instead.
    check_digests::<Json>(env!("CARGO_MANIFEST_DIR"), &cases[..1], &[2, 11, 100]);
}
