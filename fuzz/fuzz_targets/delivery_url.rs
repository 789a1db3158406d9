#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| heraldry::fuzzing::delivery_url(data));
