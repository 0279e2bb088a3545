//! The system calls of the raw link that no safe library offers: many packets in one call, and the option that makes
//! the kernel own up to what it threw away.
#![allow(unsafe_code)]

use std::io;
use std::mem::{MaybeUninit, size_of_val};
use std::os::fd::AsRawFd;
use std::ptr;

use libc::c_int;
use socket2::{SockAddr, Socket};

use crate::wire::syn::MAX_SYN_LEN;

/// How many packets one call takes at most.
pub(super) const BATCH: usize = 64;

/// A packet on its way to the kernel.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// The packet is in the first `length` bytes.
    pub bytes: [u8; MAX_SYN_LEN],
    pub length: usize,
    /// Whom the kernel routes it to.
    pub destination: SockAddr,
}

/// Sends the first [`BATCH`] of these packets and says how many of them the kernel took. It stops at the first that it
/// does not take; the error is that one's, and comes only if it is the very first.
pub(super) fn send(socket: &Socket, packets: &[Outgoing]) -> io::Result<usize> {
    let mut pieces = [libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; BATCH];
    // SAFETY: a message header is made of integers and pointers, for all of which zero is a value.
    let mut messages: [libc::mmsghdr; BATCH] = unsafe { MaybeUninit::zeroed().assume_init() };
    let count = packets.len().min(BATCH);
    for ((message, piece), packet) in messages.iter_mut().zip(&mut pieces).zip(packets) {
        let bytes = packet.bytes.get(..packet.length).unwrap_or_default();
        *piece = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        message.msg_hdr.msg_name = packet.destination.as_ptr().cast_mut().cast();
        message.msg_hdr.msg_namelen = packet.destination.len();
        message.msg_hdr.msg_iov = ptr::from_mut(piece);
        message.msg_hdr.msg_iovlen = 1;
    }
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: the first `count` messages were filled in above with pointers into `pieces` and `packets`, which outlive
    // the call, each with its length; the kernel writes to `msg_len` of the messages and to nothing else.
    let taken = unsafe {
        libc::sendmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), count as libc::c_uint, flags as _)
    };
    usize::try_from(taken).map_err(|_| io::Error::last_os_error())
}

/// Asks the kernel to say so when a full queue throws a packet away: without this it calls that a success. The ICMP
/// errors that would come with it do not reach a socket of this protocol.
pub(super) fn own_up_to_losses(socket: &Socket, v4: bool) -> io::Result<()> {
    let (level, name) =
        if v4 { (libc::IPPROTO_IP, libc::IP_RECVERR) } else { (libc::IPPROTO_IPV6, libc::IPV6_RECVERR) };
    let value: c_int = 1;
    let length = size_of_val(&value) as libc::socklen_t;
    // SAFETY: the pointer and the length describe `value`, which the call only reads.
    let status =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), length) };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
