#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| heraldry::fuzzing::request_framing(data));
