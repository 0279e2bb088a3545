//! Signs of life: to systemd, and to whoever waits for a call that must not fail to come.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use jiff::Timestamp;
use sd_notify::NotifyState;
use ureq::http::HeaderMap;

use super::shared::Shared;
use crate::sink::channel::Delivery;
use crate::sink::channel::http::Client;
use crate::sink::options::HttpOptions;

/// Signs of life.
pub struct Heart {
    /// How often systemd wants to hear of us, if it does.
    watchdog: Option<Duration>,
    beaten: Option<Duration>,
    /// The call that is under way.
    call: Option<JoinHandle<()>>,
}

impl Heart {
    /// Asks systemd what it wants.
    pub fn new() -> Self {
        // Half of the time, as sd_watchdog_enabled(3) advises.
        let watchdog = sd_notify::watchdog_enabled().map(|every| every / 2);
        Heart { watchdog, beaten: None, call: None }
    }

    /// Everything runs.
    pub fn ready(&self, shared: &Shared) {
        let config = shared.config();
        let (watches, sinks) = (config.watches.len(), config.sinks.len());
        let status = format!("{watches} watches, {sinks} sinks");
        notify(&[NotifyState::Ready, NotifyState::Status(&status)]);
    }

    /// The configuration is read again.
    pub fn reloading(&self) {
        let now = NotifyState::monotonic_usec_now().ok();
        let states: Vec<NotifyState<'_>> = [NotifyState::Reloading].into_iter().chain(now).collect();
        notify(&states);
    }

    /// The end begins.
    pub fn stopping(&self) {
        notify(&[NotifyState::Stopping]);
    }

    /// Tells systemd that the daemon goes on, as often as it wants to hear that.
    pub fn beat(&mut self, shared: &Shared) {
        let (Some(every), now) = (self.watchdog, shared.time.since_boot()) else { return };
        if self.beaten.is_none_or(|beaten| beaten + every <= now) {
            notify(&[NotifyState::Watchdog]);
            self.beaten = Some(now);
        }
    }

    /// Calls whoever raises the alarm when no call comes, if the configuration names somebody. Not while sweeps do not
    /// come to their end or the database cannot be written: then the call is not to come.
    pub fn knock(&mut self, shared: &Arc<Shared>) {
        let config = shared.config();
        let Some(http) = config.heartbeat.ping.clone() else { return };
        if !shared.is_well() || self.call.as_ref().is_some_and(|call| !call.is_finished()) {
            return;
        }
        let now = shared.time.now();
        let timeout = config.heartbeat.interval.min(Duration::from_secs(15));
        let called = thread::Builder::new().name("heartbeat".to_owned()).spawn(move || {
            if let Delivery::Retry { why, .. } | Delivery::Refused { why } = call(&http, timeout, now) {
                tracing::warn!(%why, "the sign of life did not arrive");
            }
        });
        self.call = called.ok();
    }
}

impl Default for Heart {
    fn default() -> Self {
        Heart::new()
    }
}

/// One call. What it says does not matter, only that it comes.
fn call(http: &HttpOptions, timeout: Duration, now: Timestamp) -> Delivery {
    match Client::open(http, "", timeout) {
        Ok(client) => client.post("text/plain", &HeaderMap::new(), b"", now),
        Err(delivery) => delivery,
    }
}

/// Where nobody listens, nobody is told.
fn notify(states: &[NotifyState<'_>]) {
    let _ = sd_notify::notify(states);
}
