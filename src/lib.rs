//! portreeve: sweeps the networks its operator owns for ports that must not be reachable.

pub mod cli;
pub mod config;
pub mod link;
pub mod policy;
pub mod sink;
pub mod sweep;
pub mod sync;
pub mod target;
pub mod wire;
