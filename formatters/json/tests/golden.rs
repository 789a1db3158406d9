//! Golden files of the shared samples.

use heraldry_format_json::Json;
use heraldry_formatter::testing::golden::{Case, check};

#[test]
fn outputs_match_the_golden_files() {
    check::<Json>(
        env!("CARGO_MANIFEST_DIR"),
        &[
            Case::http("", "{}"),
            Case::http("plain", r#"{"shape":"plain"}"#),
            Case::http("cloudevents", r#"{"shape":"cloudevents"}"#),
        ],
    );
}
