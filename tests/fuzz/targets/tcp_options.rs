//! The fuzz target for `bodies::tcp_options`.
#![no_main]

#[path = "../bodies.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::tcp_options(data));
