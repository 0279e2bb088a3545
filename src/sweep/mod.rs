//! The engine: probes out, answers in, books closed.
//!
//! - What is to be done: [`plan`].
//! - Doing it: [`run`] lays out the [`board`], which the [`sender`] and the [`receiver`] share, each on its own
//!   thread.
//! - Which probe leaves when: [`pacer`] for all of them, [`caps`] for each host and network, [`limited`] for hosts
//!   that answer slowly, [`governor`] for the rate that finds itself.
//! - Whose answer it is: [`cookie`]; how long answers take: [`trips`]; what was in flight: [`times`].
//! - What silence is worth: [`canary`] asks those who have answered, [`watch`] hears all witnesses, [`seeing`] and
//!   [`paths`] are what it tells the senders.
//! - The end: `closing` gives every target its state, the [`ledger`] must sum, the [`report`] says all of it.
//! - The second look at what is open: [`verify`], with what servers say ([`banner`], [`untrusted`]); [`verified`] is
//!   what came of it.

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
