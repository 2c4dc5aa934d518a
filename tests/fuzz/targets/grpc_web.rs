#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| spurline_fuzz::grpc_web::grpc_web(data));
