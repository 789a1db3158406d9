//! Golden files of the shared samples.

use heraldry_format_teams::Teams;
use heraldry_formatter::testing::golden::{Case, check};

#[test]
fn outputs_match_the_golden_files() {
    let german = r#"{"locale":"de","width":"default"}"#;
    let compact = r#"{"compact":true,"locale":"en-US"}"#;
    let cases = [Case::http("", "{}"), Case::http("german", german), Case::http("compact", compact)];
    check::<Teams>(env!("CARGO_MANIFEST_DIR"), &cases);
}
