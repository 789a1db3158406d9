//! Whole outputs for the shared samples.

use heraldry_format_teams::Teams;
use heraldry_formatter::testing::golden::{Case, check};

#[test]
fn outputs_are_the_golden_ones() {
    check::<Teams>(env!("CARGO_MANIFEST_DIR"), &[Case::http("", "{}")]);
}
