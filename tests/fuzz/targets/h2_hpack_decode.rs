#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| spurline_fuzz::hpack::h2_hpack_decode(data));
