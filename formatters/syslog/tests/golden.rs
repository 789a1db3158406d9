//! Whole outputs for the shared samples: with room, in one UDP datagram, and where there is the least that a receiver
//! must take (RFC 5424, section 6.1); for old collectors, in a zone of their own and with as little room.

use heraldry_format_syslog::Syslog;
use heraldry_formatter::testing::golden::{Case, check, check_cuts};
use heraldry_formatter::testing::samples;

#[test]
fn outputs_are_the_golden_ones() {
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

/// What is too long for a datagram or a stream is cut between two characters and two escapes, and says so.
#[test]
fn cuts_are_the_golden_ones() {
    let case = |name, options, max_bytes| Case { name, options, context: samples::syslog(max_bytes) };
    let cases = [
        case("udp", "{}", 2048),
        case("stream", r#"{"bom":true}"#, 8000),
        case("rfc3164", r#"{"protocol":"rfc3164"}"#, 2048),
    ];
    check_cuts::<Syslog>(env!("CARGO_MANIFEST_DIR"), &cases);
}
