#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| cc_gateway_fuzz::key_pair(input));
