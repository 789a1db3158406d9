//! Golden files of the shared samples: bare over HTTP, on a stream, in one UDP datagram for a relay that escapes tabs,
//! and with an RFC 5424 header.

use heraldry_format_leef::Leef;
use heraldry_formatter::testing::golden::{Case, check, check_cuts};
use heraldry_formatter::testing::samples;

#[test]
fn outputs_match_the_golden_files() {
    let case = |name, options, max_bytes| Case { name, options, context: samples::syslog(max_bytes) };
    let cases = [
        Case::http("", "{}"),
        case("stream", r#"{"max_bytes":8000,"utc_offset":"+02:00"}"#, 8000),
        case("udp", r#"{"delimiter":"caret","vendor":"Contoso","product":"Red team = 1"}"#, 2048),
        case("rfc5424", r#"{"syslog_header":"rfc5424","facility":"audit"}"#, 8000),
    ];
    check::<Leef>(env!("CARGO_MANIFEST_DIR"), &cases);
}

/// Text too long for a datagram or a stream is truncated between characters and substitutes, and marked.
#[test]
fn truncated_outputs_match_the_golden_files() {
    let case = |name, options, max_bytes| Case { name, options, context: samples::syslog(max_bytes) };
    let cases = [
        case("udp", r#"{"delimiter":"caret"}"#, 2048),
        case("stream", "{}", 8000),
        case("stream-8000", r#"{"max_bytes":8000,"syslog_header":"rfc5424"}"#, 8000),
    ];
    check_cuts::<Leef>(env!("CARGO_MANIFEST_DIR"), &cases);
}
