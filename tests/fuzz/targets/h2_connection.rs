#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| spurline_fuzz::h2::h2_connection(data));
