//! The desk and its messengers over a real database, by a clock that the tests turn.

mod clock;
mod delivery;
mod harness;
mod restart;
mod trouble;
