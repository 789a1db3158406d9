//! Golden files of the shared samples: alerts only, and with all events.

use heraldry_format_pagerduty::PagerDuty;
use heraldry_formatter::testing::golden::{Case, check};

#[test]
fn outputs_match_the_golden_files() {
    let key = "0123456789abcdefghijklmnopqrstuv";
    let alerts = format!(r#"{{"routing_key":"{key}"}}"#);
    let all = format!(r#"{{"routing_key":"{key}","all_events":true}}"#);
    check::<PagerDuty>(env!("CARGO_MANIFEST_DIR"), &[Case::http("", &alerts), Case::http("all", &all)]);
}
