//! What the threads of the daemon share.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::bell::Bell;
use super::desk::Desk;
use super::time::Time;
use crate::config::file::Config;
use crate::policy::kind::FindingKind;
use crate::sync::{Ordering, SignalFlag};
use crate::target::Target;
use crate::target::scope::Scope;

/// What the threads of the daemon share.
pub struct Shared {
    config: RwLock<Arc<Config>>,
    /// The file that it comes from.
    pub file: PathBuf,
    /// What each watch has swept last.
    scopes: Mutex<BTreeMap<String, Scope>>,
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

impl Shared {
    /// Everything, to begin with.
    pub fn new(file: &Path, config: Config, desk: Desk, time: Time, mail: Arc<Bell>) -> Self {
        Shared {
            config: RwLock::new(Arc::new(config)),
            file: file.to_path_buf(),
            scopes: Mutex::default(),
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
        self.scopes.lock().unwrap_or_else(PoisonError::into_inner).insert(watch.to_owned(), scope);
    }

    /// Whether any watch looks at a target; `None` while there is one that has not swept yet.
    pub fn is_swept(&self, target: &Target) -> Option<bool> {
        let config = self.config();
        let scopes = self.scopes.lock().unwrap_or_else(PoisonError::into_inner);
        let scopes: Option<Vec<&Scope>> =
            config.watches.iter().map(|watch| scopes.get(&watch.name)).collect();
        Some(scopes?.iter().any(|scope| scope.index_of(target.ip, target.port).is_some()))
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
