//! The few system calls of the connect link that no safe library offers: two socket options, the bytes of the error
//! queue, and the limit of open files. What the bytes mean is for `notice` to say, in safe code.
#![allow(unsafe_code)]

use std::io;
use std::mem::{MaybeUninit, size_of_val};
use std::os::fd::AsRawFd;

use libc::{c_int, c_void};
use socket2::{Domain, MsgHdrMut, Socket};

/// Room for the two control messages that the kernel may send along: an extended error with the offender's address
/// takes 60 bytes at most, a time stamp 32.
pub(super) const CONTROL_LEN: usize = 256;

/// Asks the kernel to keep the ICMP errors of this socket, with type, code and sender, for [`read_error_queue`].
pub(super) fn keep_icmp_errors(socket: &Socket, domain: Domain) -> io::Result<()> {
    if domain == Domain::IPV6 {
        set(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVERR, 1)
    } else {
        set(socket, libc::IPPROTO_IP, libc::IP_RECVERR, 1)
    }
}

/// How many times the kernel may send the SYN again by itself. It takes no less than 1.
pub(super) fn set_syn_retries(socket: &Socket, retries: c_int) -> io::Result<()> {
    set(socket, libc::IPPROTO_TCP, libc::TCP_SYNCNT, retries)
}

/// Takes one message out of the socket's error queue and returns the control messages that came with it.
pub(super) fn read_error_queue(socket: &Socket) -> io::Result<([u8; CONTROL_LEN], usize)> {
    let mut control = [MaybeUninit::new(0_u8); CONTROL_LEN];
    let mut message = MsgHdrMut::new().with_control(&mut control);
    socket.recvmsg(&mut message, libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT)?;
    let len = message.control_len().min(CONTROL_LEN);
    // SAFETY: every byte was set to zero above, and the kernel writes nothing but initialised bytes over them.
    let bytes = control.map(|byte| unsafe { byte.assume_init() });
    Ok((bytes, len))
}

/// Raises the soft limit of open files as far as the hard limit lets it, though to no more than `wanted`, and returns
/// what it is then. It is never lowered.
pub(super) fn raise_descriptor_limit(wanted: u64) -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a live, writable rlimit, and the call keeps no pointer to it.
    let status = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    if status != 0 {
        return Err(io::Error::last_os_error());
    }
    let reachable = limit.rlim_max.min(wanted);
    if limit.rlim_cur >= reachable {
        return Ok(limit.rlim_cur);
    }
    let raised = libc::rlimit { rlim_cur: reachable, rlim_max: limit.rlim_max };
    // SAFETY: `raised` is a live rlimit that the call only reads.
    let status = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) };
    // A refusal is no error: the limit is then what it was.
    Ok(if status == 0 { reachable } else { limit.rlim_cur })
}

/// Sets a socket option that is an `int`.
fn set(socket: &Socket, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
    let pointer = (&raw const value).cast::<c_void>();
    let len = libc::socklen_t::try_from(size_of_val(&value)).map_err(io::Error::other)?;
    // SAFETY: `pointer` and `len` describe `value`, which lives until the call returns; the call only reads it.
    let status = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, pointer, len) };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
