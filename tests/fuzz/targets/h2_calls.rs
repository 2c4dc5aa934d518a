#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| spurline_fuzz::h2_calls::h2_calls(data));
