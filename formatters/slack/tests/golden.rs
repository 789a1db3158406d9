//! Golden files of the shared samples, and of digests.

use heraldry_format_slack::Slack;
use heraldry_formatter::testing::golden::{Case, check, check_digests};

#[test]
fn outputs_match_the_golden_files() {
    let mentions = r#"{"mentions":{"critical":["S0614TZR7","here"],"high":["U024BE7LH"],"info":["channel"]}}"#;
    let compact = r#"{"compact":true,"mentions":{"critical":["here"]}}"#;
    let mut cases = vec![Case::http("", "{}"), Case::http("mentions", mentions), Case::http("compact", compact)];
    check_digests::<Slack>(env!("CARGO_MANIFEST_DIR"), &cases, &[2, 11, 100, 1000]);
    cases.push(Case::http("no-evidence", r#"{"evidence":"none"}"#));
    check::<Slack>(env!("CARGO_MANIFEST_DIR"), &cases);
}
