//! Wakes whoever waits.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// A bell that many can wait for. Each remembers how often it had rung when he last looked.
#[derive(Debug, Default)]
pub struct Bell {
    rung: Mutex<u64>,
    waiting: Condvar,
}

impl Bell {
    /// Rings.
    pub fn ring(&self) {
        let mut rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        *rung = rung.wrapping_add(1);
        self.waiting.notify_all();
    }

    /// How often it has rung.
    pub fn rung(&self) -> u64 {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it has rung since it had rung `heard` times, for this long at most.
    pub fn wait(&self, heard: u64, patience: Duration) {
        let rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = self.waiting.wait_timeout_while(rung, patience, |rung| *rung == heard);
    }
}
