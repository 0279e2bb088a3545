//! The system calls of the `xdp` link that no library makes. `unsafe` lives here, and nowhere else in this link.
#![allow(unsafe_code)]

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::thread::JoinHandleExt;
use std::thread::JoinHandle;

/// The part of `union bpf_attr` that BPF_PROG_TEST_RUN reads, linux/bpf.h.
#[repr(C)]
#[derive(Default)]
struct TestRun {
    program: u32,
    result: u32,
    data_in_len: u32,
    data_out_len: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    context_in_len: u32,
    context_out_len: u32,
    context_in: u64,
    context_out: u64,
    flags: u32,
    cpu: u32,
    batch_len: u32,
    reserved: u32,
}

const BPF_PROG_TEST_RUN: libc::c_long = 10;
const BPF_F_TEST_XDP_LIVE_FRAMES: u32 = 2;

/// Interrupts a run. Nobody else uses it for anything, and a process that is sent one by mistake does not mind.
const WAKE: libc::c_int = libc::SIGURG;

/// Runs an XDP program over as many copies of a frame, and lets the kernel do with each what it says.
///
/// # Errors
/// Whatever the kernel says; a run that a signal has ended is none.
pub(super) fn run_live(program: BorrowedFd<'_>, frame: &[u8], repeat: u32) -> io::Result<()> {
    let mut run = TestRun {
        program: program.as_raw_fd() as u32,
        data_in_len: frame.len() as u32,
        data_in: frame.as_ptr() as u64,
        repeat,
        flags: BPF_F_TEST_XDP_LIVE_FRAMES,
        ..TestRun::default()
    };
    match test_run(&mut run) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
        result => result,
    }
}

/// Runs a program of a raw tracepoint once, in this thread.
///
/// # Errors
/// Whatever the kernel says.
pub(super) fn run_once(program: BorrowedFd<'_>) -> io::Result<()> {
    test_run(&mut TestRun { program: program.as_raw_fd() as u32, ..TestRun::default() })
}

fn test_run(run: &mut TestRun) -> io::Result<()> {
    // SAFETY: the attribute is laid out as the kernel documents it. The kernel reads and writes it, and reads the frame
    // that it may point to; both are borrowed for as long as the call takes.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_TEST_RUN,
            std::ptr::from_mut::<TestRun>(run),
            size_of::<TestRun>(),
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Lets the signal that ends a run interrupt system calls instead of being ignored.
///
/// # Errors
/// When no handler can be installed.
pub(super) fn prepare_to_wake() -> io::Result<()> {
    // SAFETY: the handler does nothing, which is safe in a signal handler.
    unsafe { signal_hook::low_level::register(WAKE, || {}) }.map(|_| ())
}

/// Ends the run that a thread is in, if it is in one.
pub(super) fn wake<T>(thread: &JoinHandle<T>) {
    // SAFETY: a thread whose handle exists has not been joined, so its identifier is valid.
    unsafe { libc::pthread_kill(thread.as_pthread_t(), WAKE) };
}

/// Lets every other thread go first on this one's processor.
pub(super) fn give_way() {
    // SAFETY: a call without pointers. `0` is the calling thread.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 19) };
}
