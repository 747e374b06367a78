#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| allocscope_fuzz::exports(data));
