//! The system calls of the `xdp` link that no library makes. `unsafe` lives here, and nowhere else in this link.
#![allow(unsafe_code)]

use std::io;
use std::os::unix::thread::JoinHandleExt;
use std::thread::JoinHandle;

/// Interrupts a run. Nobody else uses it for anything, and a process that is sent one by mistake does not mind.
const WAKE: libc::c_int = libc::SIGURG;

/// As long as this lives, the signal that ends a run interrupts system calls instead of being ignored.
pub(super) struct Waking(signal_hook::SigId);

/// Begins to let it interrupt.
///
/// # Errors
/// When no handler can be installed.
pub(super) fn prepare_to_wake() -> io::Result<Waking> {
    // SAFETY: the handler does nothing, which is safe in a signal handler.
    unsafe { signal_hook::low_level::register(WAKE, || {}) }.map(Waking)
}

impl Drop for Waking {
    fn drop(&mut self) {
        signal_hook::low_level::unregister(self.0);
    }
}

/// Ends the run that a thread is in, if it is in one.
pub(super) fn wake<T>(thread: &JoinHandle<T>) {
    // SAFETY: a thread whose handle exists has not been joined, so its identifier is valid.
    unsafe { libc::pthread_kill(thread.as_pthread_t(), WAKE) };
}
