//! The fuzz target for `bodies::target_spec`.
#![no_main]

#[path = "../bodies.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::target_spec(data));
