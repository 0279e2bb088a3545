//! The fleet of the lab.
fn main() {}
