//! The fuzz target for `bodies::icmp_quote`.
#![no_main]

#[path = "../bodies.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::icmp_quote(data));
