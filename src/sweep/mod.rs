//! The engine: probes out, answers in, books closed.

pub mod cookie;
pub mod host_cap;
pub mod ledger;
pub mod pacer;
pub mod report;
pub mod seeing;
pub mod times;
