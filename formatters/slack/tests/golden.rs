//! Golden files of the shared samples.

use heraldry_format_slack::Slack;
use heraldry_formatter::testing::golden::{Case, check};

#[test]
fn outputs_match_the_golden_files() {
    let mentions = r#"{"mentions":{"critical":["S0614TZR7","here"],"high":["U024BE7LH"],"info":["channel"]}}"#;
    let compact = r#"{"compact":true,"mentions":{"critical":["here"]}}"#;
    let cases = [Case::http("", "{}"), Case::http("mentions", mentions), Case::http("compact", compact)];
    check::<Slack>(env!("CARGO_MANIFEST_DIR"), &cases);
}
