//! Questions to the kernel over a plain, synchronous netlink socket: of routing, or of what has a name of its own.
//!
//! The answers are handed on as bytes. Whoever asked decodes as little of them as it needs, so that an attribute of a
//! newer kernel, which a strict decoder does not know, cannot stop a sweep.

use std::io;
use std::net::IpAddr;

use netlink_packet_core::{
    DecodeError, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_ALIGNTO, NLMSG_DONE, NLMSG_ERROR,
    NLMSG_NOOP, NLMSG_OVERRUN, NetlinkBuffer, NetlinkHeader, NetlinkMessage, NetlinkPayload,
    NetlinkSerializable, parse_i32,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_GENERIC, protocols::NETLINK_ROUTE};

use super::LinkError;

/// A conversation with the kernel.
pub(super) struct Netlink {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Netlink {
    /// Opens a conversation. Asking needs no privilege.
    pub(super) fn open() -> Result<Self, LinkError> {
        Self::open_to(NETLINK_ROUTE)
    }

    /// Opens a conversation with the families that have names instead of numbers. That needs no privilege either.
    pub(super) fn open_generic() -> Result<Self, LinkError> {
        Self::open_to(NETLINK_GENERIC)
    }

    fn open_to(protocol: isize) -> Result<Self, LinkError> {
        let socket = connect(protocol);
        let socket = socket.map_err(|cause| failed("open a netlink socket", "the kernel", cause))?;
        Ok(Netlink { socket, sequence: 0, buffer: Vec::with_capacity(DATAGRAM_LIMIT) })
    }

    /// Asks for one thing and gives the body of the answer. A refusal of the kernel is an error with its errno.
    pub(super) fn ask(&mut self, request: impl NetlinkSerializable) -> io::Result<Vec<u8>> {
        self.send(request, NLM_F_REQUEST)?;
        let mut answer = None;
        while answer.is_none() {
            self.receive(|_, body| answer = Some(body.to_vec()))?;
        }
        answer.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// Asks for everything of a kind and gives what `decode` makes of each body; `None` leaves one out.
    pub(super) fn dump<T>(
        &mut self,
        request: &RouteNetlinkMessage,
        decode: impl Fn(&[u8]) -> Result<Option<T>, DecodeError>,
    ) -> io::Result<Vec<T>> {
        for _ in 0..DUMP_TRIES {
            let (found, interrupted) = self.dump_once(request.clone(), &decode)?;
            if !interrupted {
                return Ok(found);
            }
        }
        Err(io::Error::new(io::ErrorKind::Interrupted, "the tables changed during each of the readings"))
    }

    /// One reading, and whether something changed meanwhile, so that entries may be missing.
    fn dump_once<T>(
        &mut self,
        request: RouteNetlinkMessage,
        decode: impl Fn(&[u8]) -> Result<Option<T>, DecodeError>,
    ) -> io::Result<(Vec<T>, bool)> {
        self.send(request, NLM_F_REQUEST | NLM_F_DUMP)?;
        let (mut found, mut interrupted, mut broken) = (Vec::new(), false, None);
        loop {
            let done = self.receive(|flags, body| {
                interrupted |= flags & NLM_F_DUMP_INTR != 0;
                match decode(body) {
                    Ok(item) => found.extend(item),
                    Err(error) => broken = Some(error),
                }
            })?;
            if let Some(error) = broken {
                return Err(undecodable(&error));
            }
            if done {
                return Ok((found, interrupted));
            }
        }
    }

    fn send(&mut self, request: impl NetlinkSerializable, flags: u16) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(request));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0).map(drop)
    }

    /// Takes one datagram, calls `each` with the flags and the body of each answer to our question, and says whether
    /// the kernel is done with it.
    fn receive(&mut self, mut each: impl FnMut(u16, &[u8])) -> io::Result<bool> {
        self.buffer.clear();
        let length = self.socket.recv(&mut self.buffer, libc::MSG_TRUNC)?;
        if length > self.buffer.len() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the answer does not fit the buffer"));
        }
        let mut rest = self.buffer.as_slice();
        while !rest.is_empty() {
            let message = NetlinkBuffer::new_checked(rest).map_err(|error| undecodable(&error))?;
            // The answer to an earlier question that was given up half-way is none of ours.
            if message.sequence_number() == self.sequence {
                match message.message_type() {
                    NLMSG_DONE => return verdict(message.payload()).map(|()| true),
                    NLMSG_ERROR => return verdict(message.payload()).map(|()| true),
                    NLMSG_OVERRUN => return Err(io::Error::from_raw_os_error(libc::ENOBUFS)),
                    NLMSG_NOOP => {}
                    _ => each(message.flags(), message.payload()),
                }
            }
            let aligned = (message.length() as usize).next_multiple_of(usize::from(NLMSG_ALIGNTO));
            rest = rest.get(aligned..).unwrap_or_default();
        }
        Ok(false)
    }
}

/// What the kernel says by itself, to whoever listens.
pub(super) struct News {
    socket: Socket,
    buffer: Vec<u8>,
}

/// Whether everything was heard.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Heard {
    /// Yes.
    Everything,
    /// No: there was more than the socket holds.
    NotAll,
}

impl News {
    /// Subscribes to these groups, a bit for each (`RTMGRP_*` of linux/rtnetlink.h). Needs no privilege.
    pub(super) fn of(groups: libc::c_int) -> Result<Self, LinkError> {
        let subscribe = || {
            let mut socket = Socket::new(NETLINK_ROUTE)?;
            socket.bind(&SocketAddr::new(0, groups as u32))?;
            socket.set_non_blocking(true)?;
            Ok(socket)
        };
        let socket = subscribe().map_err(|cause| failed("listen to netlink", "the kernel", cause))?;
        Ok(News { socket, buffer: Vec::with_capacity(DATAGRAM_LIMIT) })
    }

    /// Calls `each` with the type and the body of each message that is there; does not wait for any.
    pub(super) fn read(&mut self, mut each: impl FnMut(u16, &[u8])) -> Result<Heard, LinkError> {
        // However much there is, the caller can look after itself in between.
        for _ in 0..DATAGRAMS_A_LOOK {
            self.buffer.clear();
            let (length, from) = match self.socket.recv_from(&mut self.buffer, libc::MSG_TRUNC) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => return Ok(Heard::NotAll),
                Err(cause) => return Err(failed("listen to netlink", "the kernel", cause)),
            };
            if length > self.buffer.len() {
                return Ok(Heard::NotAll);
            }
            // Other processes may send to this socket; only the kernel is believed.
            if from.port_number() != 0 {
                continue;
            }
            let mut rest = self.buffer.as_slice();
            while let Ok(message) = NetlinkBuffer::new_checked(rest) {
                each(message.message_type(), message.payload());
                let aligned = (message.length() as usize).next_multiple_of(usize::from(NLMSG_ALIGNTO));
                rest = rest.get(aligned..).unwrap_or_default();
            }
        }
        Ok(Heard::Everything)
    }
}

/// Datagrams that one look takes at most.
const DATAGRAMS_A_LOOK: usize = 64;

/// The address family of an address.
pub(super) fn family_of(ip: IpAddr) -> AddressFamily {
    if ip.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

/// The error for a body that is not what the kernel says it is.
pub(super) fn undecodable(error: &DecodeError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the kernel's answer cannot be decoded: {error}"))
}

/// The error for a question that failed, other than by a refusal that has a meaning of its own.
pub(super) fn failed(attempt: &'static str, object: impl Into<String>, cause: io::Error) -> LinkError {
    LinkError::System {
        attempt,
        object: object.into(),
        cause,
        remedy: "allow netlink sockets (AF_NETLINK, NETLINK_ROUTE) where a sandbox forbids them, and try again",
    }
}

/// More than the kernel puts in one datagram, which is 32 KiB at most for what we ask.
const DATAGRAM_LIMIT: usize = 256 << 10;

/// How often a table is read anew that changes while it is read. On a busy router that is normal once or twice.
const DUMP_TRIES: usize = 8;

/// A connected socket takes messages from the kernel only, so no other process can answer in its place.
fn connect(protocol: isize) -> io::Result<Socket> {
    let mut socket = Socket::new(protocol)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    Ok(socket)
}

/// What the code at the front of a closing message says: zero, or an errno with a minus sign.
fn verdict(body: &[u8]) -> io::Result<()> {
    // An empty closing message is as good as a zero.
    let code = body.get(..4).map_or(Ok(0), parse_i32).map_err(|error| undecodable(&error))?;
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code.saturating_neg())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_code_of_a_closing_message() {
        assert!(verdict(&[]).is_ok());
        assert!(verdict(&0i32.to_ne_bytes()).is_ok());
        let refusal = verdict(&(-libc::ENETUNREACH).to_ne_bytes()).expect_err("a refusal");
        assert_eq!(refusal.raw_os_error(), Some(libc::ENETUNREACH));
        assert!(verdict(&i32::MIN.to_ne_bytes()).is_err());
    }
}
