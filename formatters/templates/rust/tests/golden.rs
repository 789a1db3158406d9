//! Whole outputs for the sample events, kept in `golden/`; `heraldry formatter test` uses the same files. After a
//! change on purpose: `UPDATE_GOLDEN=1 cargo test`, and review the difference.

use heraldry_formatter::testing::golden::{Case, check};
use {{crate}}::Format;

#[test]
fn outputs_are_the_golden_ones() {
    check::<Format>(env!("CARGO_MANIFEST_DIR"), &[Case::http("", "{}")]);
}
