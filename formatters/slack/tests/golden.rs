//! Whole outputs for the shared samples.

use heraldry_format_slack::Slack;
use heraldry_formatter::testing::golden::{Case, check};

#[test]
fn outputs_are_the_golden_ones() {
    check::<Slack>(env!("CARGO_MANIFEST_DIR"), &[Case::http("", "{}")]);
}
