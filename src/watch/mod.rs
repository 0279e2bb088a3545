//! The daemon: sweeps on schedule, and what they come to, told once and surely.
//!
//! - [`time`]: which time it is, when the clock itself cannot be trusted.
//! - [`schedule`]: when each sweep is due. Pure.
//! - [`backoff`]: when a message is tried again. Pure.

pub mod backoff;
pub mod schedule;
pub mod time;
