//! Ways out of the program: each kind of sink is one file, and all are the one trait [`Channel`].
//!
//! A channel is told messages, one by one or several at a time, and says of each what became of it. It keeps nothing:
//! what was not delivered stays in the outbox, and whoever owns that decides when it is tried again. Nothing here
//! reads a clock or retries. An attempt takes no longer than the channel's own timeout, and none of a batch begins
//! after it.

pub mod alertmanager;
pub mod http;
pub mod pagerduty;
pub mod slack;
pub mod tls;
pub mod webhook;

use std::time::Duration;

use jiff::Timestamp;

use super::message::Message;
use crate::alert::life::Alert;

/// A way out.
pub trait Channel: Send {
    /// How many messages it takes at once, at most.
    fn batch(&self) -> usize {
        1
    }

    /// Hands messages over, in this order, and says of each what became of it. A channel that has failed at one leaves
    /// the rest alone: answers may be fewer than messages, and then the others have not been tried.
    fn deliver(&mut self, messages: &[Message], now: Timestamp) -> Vec<Delivery>;

    /// How often its receiver must be told of what fires, or it would take it for over.
    fn refresh_every(&self) -> Option<Duration> {
        None
    }

    /// Tells the receiver of all that fires, and of what has been resolved a short while ago.
    ///
    /// # Errors
    /// Why it could not, in words.
    fn refresh(&mut self, _alerts: &[Alert], _now: Timestamp) -> Result<(), String> {
        Ok(())
    }
}

/// What became of a message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Delivery {
    /// The receiver has it.
    Delivered,
    /// It may be that the receiver will take it later.
    Retry {
        /// Why not now: what was tried, on what, and what was answered. Without secrets and without control characters.
        why: String,
        /// How long the receiver asks to be left alone.
        after: Option<Duration>,
    },
    /// The receiver will never take it.
    Refused {
        /// Why, as above.
        why: String,
    },
}
