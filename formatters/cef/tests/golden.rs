//! Whole outputs for the shared samples: bare over HTTP, and in one UDP datagram.

use heraldry_format_cef::Cef;
use heraldry_formatter::testing::golden::{Case, check};
use heraldry_formatter::testing::samples;

#[test]
fn outputs_are_the_golden_ones() {
    let udp = Case {
        name: "udp",
        options: r#"{"vendor":"Contoso | Red","product":"Back\\slash"}"#,
        context: samples::syslog(2048),
    };
    check::<Cef>(env!("CARGO_MANIFEST_DIR"), &[Case::http("", "{}"), udp]);
}
