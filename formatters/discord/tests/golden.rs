//! Golden files of the shared samples: as an embed, and as a line.

use heraldry_format_discord::Discord;
use heraldry_formatter::testing::golden::{Case, check};

#[test]
fn outputs_match_the_golden_files() {
    check::<Discord>(
        env!("CARGO_MANIFEST_DIR"),
        &[Case::http("", "{}"), Case::http("compact", r#"{"compact":true,"username":"Heraldry"}"#)],
    );
}
