//! What can be known of standard output only before the program begins.
//!
//! Whoever closes it (`>&-`) gets it back from the standard library, open to nowhere, so that no file that is opened
//! later takes its number. That is wise, and hides that all results would be lost. The only moment to see it is before
//! `main`.
#![allow(unsafe_code)]

use crate::sync::{Ordering, SignalFlag};

static IS_CLOSED: SignalFlag = SignalFlag::new(false);

/// Whether the program was started without a standard output.
pub(super) fn stdout_was_closed() -> bool {
    IS_CLOSED.load(Ordering::Relaxed)
}

extern "C" fn look() {
    // SAFETY: the call takes two numbers, reads a flag of the descriptor if there is one, and changes nothing.
    let flags = unsafe { libc::fcntl(libc::STDOUT_FILENO, libc::F_GETFD) };
    IS_CLOSED.store(flags == -1, Ordering::Relaxed);
}

// SAFETY: the loader calls every function whose address stands in this section, once and before `main`. This one needs
// nothing of the standard library that is not there yet.
#[used]
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn() = look;
