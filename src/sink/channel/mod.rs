//! Ways out of the program: each kind of sink is one file, and all are the one trait [`Channel`].
//!
//! A channel is told messages, one by one or several at a time, and says of each what became of it. It keeps no
//! message: what was not delivered stays in the outbox, and whoever owns that decides when it is tried again. Nothing
//! here tries again what has failed, or asks what time it is. An attempt takes no longer than the channel's own
//! timeout, and none of a batch begins after it.

pub mod alertmanager;
mod batch;
pub mod bulk;
pub mod deadline;
pub mod email;
pub mod exec;
pub mod file;
mod form;
pub mod http;
pub mod pagerduty;
#[cfg(test)]
pub(super) mod samples;
pub mod slack;
pub mod smtp;
pub mod splunk;
pub mod stdout;
pub mod stream;
pub mod syslog;
pub mod tls;
pub mod webhook;

use std::fmt::Display;
use std::time::Duration;

use jiff::Timestamp;

use super::message::Message;
use super::options::{SinkKind, SinkOptions};
use crate::alert::life::Alert;
use crate::target::foreign::harmless;

/// A way out.
pub trait Channel: Send {
    /// How many messages it takes at once, at most.
    fn batch(&self) -> usize {
        1
    }

    /// How long it may wait for more to come along before it is handed the first of them.
    fn linger(&self) -> Duration {
        Duration::ZERO
    }

    /// Hands messages over, in this order, and says of each what became of it. A channel that has failed at one leaves
    /// the rest alone: answers may be fewer than messages, and then the others have not been tried. One whose receiver
    /// judges each of a batch by itself goes on with the others, but not with what has the key of one that must wait.
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
    /// It has not been tried, because something before it must wait.
    Untried,
}

impl Delivery {
    /// Not now, and perhaps later.
    pub fn not_now(why: impl Display) -> Self {
        Delivery::Retry { why: harmless(&why.to_string()).into_owned(), after: None }
    }

    /// Never.
    pub fn never(why: impl Display) -> Self {
        Delivery::Refused { why: harmless(&why.to_string()).into_owned() }
    }
}

/// The way out that these options describe. Nothing is opened or asked yet, so that a receiver that is away keeps
/// nobody from starting.
pub fn open(options: &SinkOptions) -> Box<dyn Channel> {
    let (timeout, format) = (options.timeout, options.format);
    match &options.kind {
        SinkKind::File(options) => Box::new(file::JsonFile::new(options.clone()).told_in(format)),
        SinkKind::Stdout => Box::new(stdout::Stdout::new(timeout).told_in(format)),
        SinkKind::Syslog(options) => Box::new(syslog::Syslog::new(options.clone(), timeout).told_in(format)),
        SinkKind::Email(options) => Box::new(email::Email::new(options.clone(), timeout)),
        SinkKind::Exec(options) => Box::new(exec::Exec::new(options.clone(), timeout)),
        SinkKind::Webhook(options) => {
            Box::new(webhook::Webhook::new(options.clone(), timeout).told_in(format))
        }
        SinkKind::Slack(options) => Box::new(slack::Slack::new(options.clone(), timeout)),
        SinkKind::PagerDuty(options) => Box::new(pagerduty::PagerDuty::new(options.clone(), timeout)),
        SinkKind::Alertmanager(options) => {
            Box::new(alertmanager::Alertmanager::new(options.clone(), timeout))
        }
        SinkKind::Splunk(options) => Box::new(splunk::Splunk::new(options.clone(), timeout)),
        SinkKind::Elasticsearch(options) | SinkKind::OpenSearch(options) => {
            Box::new(bulk::Bulk::new(options.clone(), timeout).told_in(format))
        }
    }
}

/// What this host is called.
fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
