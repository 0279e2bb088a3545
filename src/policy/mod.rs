//! What the operator allows, and what an observation means in its light.
//!
//! Everything here is pure: it takes the time, and reads no clock, no file and no network. An observation that is open
//! is either allowed or an exposure; there is nothing in between, and nothing is dropped.

pub mod allowlist;
pub mod class;
pub mod evaluate;
pub mod expectation;
pub mod finding;
pub mod findings;
pub mod fingerprint;
pub mod grade;
mod index;
pub mod kind;
pub mod outage;
pub mod own;
