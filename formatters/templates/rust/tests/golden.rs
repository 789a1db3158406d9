//! Golden files of the sample events in `golden/`, and of digests in `golden-digest/`; `heraldry formatter test` uses the
//! same files. After an intended change run `UPDATE_GOLDEN=1 cargo test` and review the diff.

use heraldry_formatter::golden::digests::SIZES;
use heraldry_formatter::testing::golden::{Case, check, check_digests};
use {{crate}}::Format;

#[test]
fn outputs_match_the_golden_files() {
    let cases = [Case::http("", "{}")];
    check::<Format>(env!("CARGO_MANIFEST_DIR"), &cases);
    check_digests::<Format>(env!("CARGO_MANIFEST_DIR"), &cases, &SIZES);
}
