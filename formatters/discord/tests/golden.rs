//! Golden files of the shared samples: as an embed, and as a line; and of digests.

use heraldry_format_discord::Discord;
use heraldry_formatter::testing::golden::{Case, check, check_digests};

#[test]
fn outputs_match_the_golden_files() {
    let mut cases = vec![Case::http("", "{}"), Case::http("compact", r#"{"compact":true,"username":"Heraldry"}"#)];
    check_digests::<Discord>(env!("CARGO_MANIFEST_DIR"), &cases, &[2, 11, 100, 1000]);
    cases.push(Case::http("no-evidence", r#"{"evidence":"none"}"#));
    check::<Discord>(env!("CARGO_MANIFEST_DIR"), &cases);
}
