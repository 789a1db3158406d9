//! Whole outputs for the shared samples: with room, and where there is the least that a receiver must
//! take (RFC 5424, section 6.1).

use heraldry_format_syslog::Syslog;
use heraldry_formatter::testing::golden::{Case, check};
use heraldry_formatter::testing::samples;

#[test]
fn outputs_are_the_golden_ones() {
    let stream = Case { name: "", options: "{}", context: samples::syslog(8000) };
    let least = Case {
        name: "480",
        options: r#"{"facility":"audit","app_name":"pentest","structured_data_id":"contoso@99999"}"#,
        context: samples::syslog(480),
    };
    check::<Syslog>(env!("CARGO_MANIFEST_DIR"), &[stream, least]);
}
