//! Golden files of the shared samples: findings only, and all events with all options set.

use heraldry_format_ocsf::Ocsf;
use heraldry_formatter::testing::golden::{Case, check};

#[test]
fn outputs_match_the_golden_files() {
    let options = r#"{"all_events":true,"cvss_version":"4.0","product_name":"Pentest \"1\"","vendor_name":"Contoso"}"#;
    check::<Ocsf>(env!("CARGO_MANIFEST_DIR"), &[Case::http("", "{}"), Case::http("all", options)]);
}
