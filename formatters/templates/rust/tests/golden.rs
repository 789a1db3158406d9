//! Golden files of the sample events in `golden/`; `heraldry formatter test` uses the same files. After an intended
//! change run `UPDATE_GOLDEN=1 cargo test` and review the diff.

use heraldry_formatter::testing::golden::{Case, check};
use {{crate}}::Format;

#[test]
fn outputs_match_the_golden_files() {
    check::<Format>(env!("CARGO_MANIFEST_DIR"), &[Case::http("", "{}")]);
}
