//! The desk and its messengers over a real database, by a clock that the tests turn.

mod address;
mod clock;
mod delivery;
mod harness;
mod house;
mod restart;
mod trouble;
