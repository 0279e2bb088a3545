//! The system calls of packet sockets. `unsafe` lives here and in `ring`, and nowhere else in this link.
#![allow(unsafe_code)]

use std::io;
use std::mem::size_of;
use std::os::fd::AsRawFd;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::super::LinkError;

/// A plain C value that the kernel may read or write as bytes.
///
/// # Safety
/// Every bit pattern must be a value, and the type must be what the option's documentation names.
pub(super) unsafe trait OptionValue: Default {}

// SAFETY: an integer has no invalid bit patterns; the options that take an `int` are documented to.
unsafe impl OptionValue for libc::c_int {}

/// `struct tpacket_req` and `struct tpacket_req3`: the first four fields are the same, and the kernel reads only those
/// for rings of version 2.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RingRequest {
    pub block_size: u32,
    pub blocks: u32,
    pub frame_size: u32,
    pub frames: u32,
    /// Milliseconds until a block that is not full is handed over.
    pub retire_ms: u32,
    pub private_bytes: u32,
    pub features: u32,
}

// SAFETY: seven integers, laid out as `struct tpacket_req3` in linux/if_packet.h.
unsafe impl OptionValue for RingRequest {}

/// `struct tpacket_stats_v3`; reading it sets the kernel's counters back to zero.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Statistics {
    pub packets: u32,
    pub drops: u32,
    pub freezes: u32,
}

// SAFETY: three integers, laid out as `struct tpacket_stats_v3` in linux/if_packet.h.
unsafe impl OptionValue for Statistics {}

/// `struct tpacket_stats`, of a socket without a ring; reading it sets the kernel's counters back to zero.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PlainStatistics {
    pub packets: u32,
    pub drops: u32,
}

// SAFETY: two integers, laid out as `struct tpacket_stats` in linux/if_packet.h.
unsafe impl OptionValue for PlainStatistics {}

/// What to say when the system refuses to open a packet socket.
pub(super) const NEEDS_CAP_NET_RAW: &str = "run as root, or give the program the capability once: \
     sudo setcap cap_net_raw+ep \"$(command -v portreeve)\"; or use --engine connect, which needs no privilege";

/// A packet socket that hears nothing yet: it is bound to no protocol.
pub(super) fn open_deaf(interface: &str) -> Result<Socket, LinkError> {
    Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))
        .map_err(|cause| failed("open a packet socket", interface, cause, NEEDS_CAP_NET_RAW))
}

/// Sets an option of SOL_PACKET.
pub(super) fn set_option<T: OptionValue>(socket: &Socket, name: libc::c_int, value: &T) -> io::Result<()> {
    // SAFETY: `value` is readable for as many bytes as the call is told, and the kernel only reads it.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            name,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    check(result)
}

/// Reads an option of SOL_PACKET.
pub(super) fn get_option<T: OptionValue>(socket: &Socket, name: libc::c_int) -> io::Result<T> {
    let mut value = T::default();
    let mut length = size_of::<T>() as libc::socklen_t;
    // SAFETY: `value` is writable for as many bytes as `length` says, any bytes make a valid `T`, and both outlive the
    // call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            name,
            std::ptr::from_mut(&mut value).cast(),
            &raw mut length,
        )
    };
    check(result).map(|()| value)
}

/// Asks for a receive buffer of this size: beyond the limit for everybody if we may, or else as far as that goes.
pub(super) fn enlarge_receive_buffer(socket: &Socket, bytes: usize) {
    let value = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    // SAFETY: the pointer and the length describe `value`, which the call only reads.
    let forced = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVBUFFORCE,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if forced < 0 {
        let _ = socket.set_recv_buffer_size(bytes);
    }
}

/// Binds to an interface, and to a protocol if the socket is to hear anything.
pub(super) fn bind(socket: &Socket, interface_index: u32, ethertype: u16) -> io::Result<()> {
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: ethertype.to_be(),
        sll_ifindex: interface_index as libc::c_int,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    // SAFETY: `address` is a whole sockaddr_ll, readable for the length that the call is told.
    let result = unsafe {
        libc::bind(
            socket.as_raw_fd(),
            std::ptr::from_ref(&address).cast(),
            size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    };
    check(result)
}

/// Tells the kernel to send what is in the transmit ring; returns when it has gone through it once.
pub(super) fn flush(socket: &Socket) -> io::Result<()> {
    // SAFETY: a null buffer of length 0 is what packet_mmap.rst prescribes; the kernel reads the ring, not the buffer.
    let result = unsafe {
        libc::send(socket.as_raw_fd(), std::ptr::null(), 0, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Waits until there is something to read, for at most `timeout`. A signal ends the wait early, which is no error; a
/// network that went down is one.
pub(super) fn wait_readable(socket: &Socket, timeout: Duration) -> io::Result<()> {
    let mut poll = libc::pollfd { fd: socket.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: `poll` is one valid pollfd, and the count says one.
    let result = unsafe { libc::poll(&raw mut poll, 1, timeout_ms) };
    match check(result.min(0)) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
        Err(error) => Err(error),
        Ok(()) if poll.revents & libc::POLLERR != 0 => socket.take_error()?.map_or(Ok(()), Err),
        Ok(()) => Ok(()),
    }
}

/// A link error of this kind.
pub(super) fn failed(
    attempt: &'static str,
    object: &str,
    cause: io::Error,
    remedy: &'static str,
) -> LinkError {
    LinkError::System { attempt, object: object.to_owned(), cause, remedy }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
