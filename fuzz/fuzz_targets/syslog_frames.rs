#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| heraldry::fuzzing::syslog_frames(data));
