//! Golden files of the shared samples: without options, and with all options set.

use heraldry_format_splunk_hec::SplunkHec;
use heraldry_formatter::testing::golden::{Case, check};

#[test]
fn outputs_match_the_golden_files() {
    let options = r#"{"index":"pentest_findings","source":"heraldry \"eu\"","sourcetype":"_json","host":"h1.example","channel":"FE0ECFAD-13D5-401B-847D-77833BD77131"}"#;
    check::<SplunkHec>(env!("CARGO_MANIFEST_DIR"), &[Case::http("", "{}"), Case::http("options", options)]);
}
