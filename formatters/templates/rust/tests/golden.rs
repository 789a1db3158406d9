//! Golden files of the sample events in `golden/`; `heraldry formatter test` uses the same files. `UPDATE_GOLDEN=1 cargo
//! test` rewrites them after an intended change; review the diff.

use heraldry_formatter::testing::golden::{Case, check};
use {{crate}}::Format;

#[test]
fn outputs_are_the_golden_ones() {
    check::<Format>(env!("CARGO_MANIFEST_DIR"), &[Case::http("", "{}")]);
}
