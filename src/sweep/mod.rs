//! The engine: probes out, answers in, books closed.

pub mod ledger;
pub mod report;
