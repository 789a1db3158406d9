//! Golden files of the shared samples: without a limit, in one UDP datagram, and with the minimum that a receiver must
//! accept (RFC 5424, section 6.1); for legacy collectors, in another time zone and with the same limit.

use heraldry_format_syslog::Syslog;
use heraldry_formatter::testing::golden::{Case, check, check_cuts};
use heraldry_formatter::testing::samples;

#[test]
fn outputs_match_the_golden_files() {
    let case = |name, options, max_bytes| Case { name, options, context: samples::syslog(max_bytes) };
    let cases = [
        case("", "{}", 8000),
        case("udp", r#"{"bom":true}"#, 2048),
        case("480", r#"{"facility":"audit","app_name":"pentest","structured_data_id":"contoso@99999"}"#, 480),
        case("rfc3164", r#"{"protocol":"rfc3164"}"#, 8000),
        case("rfc3164-480", r#"{"protocol":"rfc3164","facility":4,"app_name":"pen-test","utc_offset":"-11:30"}"#, 480),
    ];
    check::<Syslog>(env!("CARGO_MANIFEST_DIR"), &cases);
}

/// Text too long for a datagram or a stream is truncated between characters and escapes, and marked.
#[test]
fn truncated_outputs_match_the_golden_files() {
    let case = |name, options, max_bytes| Case { name, options, context: samples::syslog(max_bytes) };
    let cases = [
        case("udp", "{}", 2048),
        case("stream", r#"{"bom":true}"#, 8000),
        case("rfc3164", r#"{"protocol":"rfc3164"}"#, 2048),
    ];
    check_cuts::<Syslog>(env!("CARGO_MANIFEST_DIR"), &cases);
}
