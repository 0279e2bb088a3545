//! What the kernel says of the clock on the wall (adjtimex(2)).
#![allow(unsafe_code)]

use crate::evidence::journal::ClockState;

/// Whether something keeps the clock right, and how wrong it may be.
pub fn state() -> ClockState {
    // SAFETY: all of the struct's fields are numbers, for which zeros are a value.
    let mut timex: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a struct of the kind that the call fills in, and `modes` is 0, so that it sets nothing.
    let said = unsafe { libc::adjtimex(&raw mut timex) };
    if said < 0 {
        return ClockState::default();
    }
    let is_synchronised = said != libc::TIME_ERROR && timex.status & libc::STA_UNSYNC == 0;
    ClockState {
        synchronised: Some(is_synchronised),
        // Without anybody who keeps it right, the kernel's figures are only its own ageing.
        max_error_us: u64::try_from(timex.maxerror).ok().filter(|_| is_synchronised),
        estimated_error_us: u64::try_from(timex.esterror).ok().filter(|_| is_synchronised),
    }
}
