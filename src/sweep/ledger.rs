//! The ledger: counts of states that must add up to what was declared.

use serde::{Deserialize, Serialize};

use crate::target::state::State;

/// How many targets are in each state. Closed books: `declared` is the sum of all the others, always (guarantee G1).
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Ledger {
    /// Targets that were to be classified.
    pub declared: u64,
    /// Targets in state open.
    pub open: u64,
    /// Targets in state closed.
    pub closed: u64,
    /// Targets in state filtered.
    pub filtered: u64,
    /// Targets in state unreachable.
    pub unreachable: u64,
    /// Targets in state conflict.
    pub conflict: u64,
    /// Targets in state unknown.
    pub unknown: u64,
}

impl Ledger {
    /// Empty books for this many targets.
    pub fn new(declared: u64) -> Self {
        Ledger { declared, ..Ledger::default() }
    }

    /// Enters one target.
    pub fn enter(&mut self, state: State) {
        self.enter_many(state, 1);
    }

    /// Enters as many targets.
    pub fn enter_many(&mut self, state: State, targets: u64) {
        // Saturating, because books are also made up of what others say.
        let column = self.column(state);
        *column = column.saturating_add(targets);
    }

    /// The number of targets in a state.
    pub fn count(&self, state: State) -> u64 {
        match state {
            State::Open => self.open,
            State::Closed => self.closed,
            State::Filtered => self.filtered,
            State::Unreachable => self.unreachable,
            State::Conflict => self.conflict,
            State::Unknown => self.unknown,
        }
    }

    /// Adds the books of another part of the same sweep.
    pub fn add(&mut self, other: &Ledger) {
        self.declared = self.declared.saturating_add(other.declared);
        for state in State::ALL {
            self.enter_many(state, other.count(state));
        }
    }

    /// Checks that the books are closed.
    ///
    /// # Errors
    /// When they do not add up: a bug of ours, which no report may hide.
    pub fn check(&self) -> Result<(), OpenBooks> {
        let entered = State::ALL.iter().map(|state| self.count(*state)).fold(0, u64::saturating_add);
        if entered == self.declared { Ok(()) } else { Err(OpenBooks { declared: self.declared, entered }) }
    }

    fn column(&mut self, state: State) -> &mut u64 {
        match state {
            State::Open => &mut self.open,
            State::Closed => &mut self.closed,
            State::Filtered => &mut self.filtered,
            State::Unreachable => &mut self.unreachable,
            State::Conflict => &mut self.conflict,
            State::Unknown => &mut self.unknown,
        }
    }
}

/// A ledger that does not add up.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "the ledger does not add up: {declared} targets were declared and {entered} entered; this is a bug, please report it"
)]
pub struct OpenBooks {
    /// Targets declared.
    pub declared: u64,
    /// Targets entered.
    pub entered: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_books_that_do_not_close() {
        let mut ledger = Ledger::new(2);
        ledger.enter(State::Open);
        assert_eq!(ledger.check(), Err(OpenBooks { declared: 2, entered: 1 }));
        ledger.enter(State::Unknown);
        assert_eq!(ledger.check(), Ok(()));
        ledger.enter(State::Closed);
        assert_eq!(ledger.check(), Err(OpenBooks { declared: 2, entered: 3 }));
    }
}
