//! The engine: probes out, answers in, books closed.
//!
//! [`plan`] says what is to be done. [`run`] does it: it lays out the [`board`], lets the [`sender`] and the
//! [`receiver`] work on it, each on its own thread, and closes the [`ledger`] into a [`report`].

pub mod banner;
pub mod board;
pub mod canary;
pub mod caps;
mod closing;
pub mod cookie;
pub mod governor;
pub mod ledger;
pub mod limited;
pub mod pacer;
pub mod paths;
pub mod plan;
pub mod receiver;
pub mod report;
pub mod run;
pub mod seeing;
pub mod sender;
pub mod times;
pub mod trips;
pub mod untrusted;
pub mod verified;
pub mod verify;
pub mod watch;
