//! What the threads of the daemon share.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::bell::Bell;
use super::desk::Desk;
use super::time::Time;
use crate::config::file::Config;
use crate::config::resolve::system_lookup;
use crate::config::settings::Settings;
use crate::config::sources;
use crate::config::watch::WatchConfig;
use crate::policy::kind::FindingKind;
use crate::sync::{Ordering, SignalFlag};
use crate::target::Target;
use crate::target::scope::Scope;

/// What the threads of the daemon share.
pub struct Shared {
    config: RwLock<Arc<Config>>,
    /// The file that it comes from.
    pub file: PathBuf,
    /// What each watch looks at.
    looks: Mutex<BTreeMap<String, Look>>,
    /// Where alerts change.
    pub desk: Desk,
    /// The clock.
    pub time: Time,
    /// Rung when there may be something to deliver, and when the daemon is to stop.
    pub mail: Arc<Bell>,
    /// Rung when the configuration is another, and when the daemon is to stop.
    pub orders: Bell,
    /// Raised when the daemon is to stop.
    pub stop: SignalFlag,
}

/// What a watch looks at: what it has swept last, or what it will sweep.
struct Look {
    scope: Scope,
    /// The settings that say so.
    settings: Settings,
}

impl Shared {
    /// Everything, to begin with.
    pub fn new(file: &Path, config: Config, desk: Desk, time: Time, mail: Arc<Bell>) -> Self {
        Shared {
            config: RwLock::new(Arc::new(config)),
            file: file.to_path_buf(),
            looks: Mutex::default(),
            desk,
            time,
            mail,
            orders: Bell::default(),
            stop: SignalFlag::new(false),
        }
    }

    /// The configuration as it is now.
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on this is the configuration.
    pub fn take_up(&self, config: Config) {
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
        self.orders.ring();
    }

    /// Whether sweeps come to their end and the database can be written.
    pub fn is_well(&self) -> bool {
        !self.desk.fires(FindingKind::SweepMissed) && !self.desk.fires(FindingKind::StoreFailed)
    }

    /// A watch has swept this.
    pub fn note_scope(&self, watch: &str, scope: Scope) {
        let config = self.config();
        let Some(watch) = config.watches.iter().find(|known| known.name == watch) else { return };
        self.note_look(&watch.name, Look { scope, settings: watch.settings.clone() });
    }

    /// Works out what each watch will sweep that has not swept by its present settings: its next sweep may be days
    /// away, and until then nobody else knows whether it looks at a target. Reads files and looks names up; what cannot
    /// be had is tried again by the next call.
    pub fn plan(&self) {
        for watch in &self.config().watches {
            if self.is_known(watch) {
                continue;
            }
            if let Some(scope) = planned(&watch.settings) {
                self.note_look(&watch.name, Look { scope, settings: watch.settings.clone() });
            }
        }
    }

    /// Whether any watch looks at a target; `None` while that cannot be told.
    pub fn is_swept(&self, target: &Target) -> Option<bool> {
        self.has_any(&|scope| scope.index_of(target.ip, target.port).is_some())
    }

    /// Whether any watch looks at anything of a host; `None` while that cannot be told.
    pub fn is_host_swept(&self, ip: IpAddr) -> Option<bool> {
        self.has_any(&|scope| scope.ranges().iter().any(|range| range.contains(ip)))
    }

    fn has_any(&self, has: &dyn Fn(&Scope) -> bool) -> Option<bool> {
        let config = self.config();
        let looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        let looks: Option<Vec<&Look>> = config.watches.iter().map(|watch| looks.get(&watch.name)).collect();
        Some(looks?.iter().any(|look| has(&look.scope)))
    }

    /// Whether it is known what a watch looks at by its present settings.
    fn is_known(&self, watch: &WatchConfig) -> bool {
        let looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        looks.get(&watch.name).is_some_and(|look| look.settings == watch.settings)
    }

    fn note_look(&self, watch: &str, look: Look) {
        self.looks.lock().unwrap_or_else(PoisonError::into_inner).insert(watch.to_owned(), look);
    }

    /// Whether the daemon is to stop.
    pub fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Stops everything that waits.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        self.orders.ring();
        self.mail.ring();
    }
}

/// What a sweep by these settings would look at, if that can be told now.
fn planned(settings: &Settings) -> Option<Scope> {
    let reading = sources::read(settings.clone(), &mut io::empty()).ok()?;
    reading.resolve(system_lookup).ok()?.settings.scope().ok()
}
