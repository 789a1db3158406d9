//! Golden files of the shared samples: bare over HTTP, in one UDP datagram, on a stream for ArcSight itself, and on a
//! stream for a relay.

use heraldry_format_cef::Cef;
use heraldry_formatter::testing::golden::{Case, check, check_cuts};
use heraldry_formatter::testing::samples;

#[test]
fn outputs_match_the_golden_files() {
    let case = |name, options, max_bytes| Case { name, options, context: samples::syslog(max_bytes) };
    let cases = [
        Case::http("", "{}"),
        case("udp", r#"{"vendor":"Contoso | Red","product":"Back\\slash"}"#, 2048),
        case(
            "rfc3164",
            r#"{"syslog_header":"rfc3164","facility":"audit","utc_offset":"+02:00","labels":{
                "cs1":"Object = finding, report, ..","cs6":"Link","cn1":"Phase","cfp1":"CVSS","deviceCustomDate1":"Signed"}}"#,
            8000,
        ),
        case("rfc3164-tag", r#"{"syslog_header":"rfc3164","tag":"heraldry"}"#, 2048),
    ];
    check::<Cef>(env!("CARGO_MANIFEST_DIR"), &cases);
}

/// Text too long for a datagram or a stream is truncated between characters and escapes, and marked.
#[test]
fn truncated_outputs_match_the_golden_files() {
    let case = |name, options, max_bytes| Case { name, options, context: samples::syslog(max_bytes) };
    let cases = [case("udp", "{}", 2048), case("stream", r#"{"syslog_header":"rfc3164","tag":"heraldry"}"#, 8000)];
    check_cuts::<Cef>(env!("CARGO_MANIFEST_DIR"), &cases);
}
