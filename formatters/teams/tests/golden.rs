//! Golden files of the shared samples, and of digests.

use heraldry_format_teams::Teams;
use heraldry_formatter::testing::golden::{Case, check, check_digests};

#[test]
fn outputs_match_the_golden_files() {
    let german = r#"{"locale":"de","width":"default"}"#;
    let compact = r#"{"compact":true,"locale":"en-US"}"#;
    let mut cases = vec![Case::http("", "{}"), Case::http("german", german), Case::http("compact", compact)];
    check_digests::<Teams>(env!("CARGO_MANIFEST_DIR"), &cases, &[2, 11, 100, 1000]);
    cases.push(Case::http("no-evidence", r#"{"evidence":"none"}"#));
    check::<Teams>(env!("CARGO_MANIFEST_DIR"), &cases);
}
