//! What the kernel's own table of neighbours says.

use std::net::IpAddr;

use netlink_packet_core::{DecodeError, NlasIterator};
use netlink_packet_route::RouteNetlinkMessage;
pub use netlink_packet_route::neighbour::NeighbourState;
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourHeader, NeighbourMessage,
};

use super::super::LinkError;
use super::super::netlink::{Netlink, failed, family_of, undecodable};

/// What the kernel knows of a neighbour.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NeighbourEntry {
    /// Its hardware address, if the kernel ever learnt one of six bytes.
    pub mac: Option<[u8; 6]>,
    /// How sure the kernel is of it.
    pub state: NeighbourState,
}

impl NeighbourEntry {
    /// The hardware address if somebody has set it by hand, or no question would be answered there.
    pub(super) fn fixed(&self) -> Option<[u8; 6]> {
        matches!(self.state, NeighbourState::Permanent | NeighbourState::Noarp).then_some(self.mac).flatten()
    }

    /// The hardware address if the kernel itself would send to it.
    pub fn usable(&self) -> Option<[u8; 6]> {
        match self.state {
            NeighbourState::Reachable
            | NeighbourState::Stale
            | NeighbourState::Delay
            | NeighbourState::Probe
            | NeighbourState::Permanent
            | NeighbourState::Noarp => self.mac,
            _ => None,
        }
    }
}

/// What the kernel knows of a neighbour on an interface; `None` if nothing.
///
/// # Errors
/// When the kernel does not say.
pub fn known(ip: IpAddr, interface_index: u32) -> Result<Option<NeighbourEntry>, LinkError> {
    let mut request = NeighbourMessage::default();
    request.header.family = family_of(ip);
    request.header.ifindex = interface_index;
    request.attributes.push(NeighbourAttribute::Destination(match ip {
        IpAddr::V4(v4) => NeighbourAddress::Inet(v4),
        IpAddr::V6(v6) => NeighbourAddress::Inet6(v6),
    }));
    let answer = Netlink::open()?.ask(RouteNetlinkMessage::GetNeighbour(request));
    match answer.and_then(|body| decode(&body).map_err(|error| undecodable(&error))) {
        Ok(line) => Ok(Some(line.entry)),
        Err(cause) if cause.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(cause) => Err(failed("look up the neighbour", ip.to_string(), cause)),
    }
}

/// The neighbours on an interface, of the family of `like`, whose hardware addresses somebody has set by hand: one
/// question for all of them.
///
/// # Errors
/// When the kernel does not say.
pub(super) fn all_fixed(like: IpAddr, interface_index: u32) -> Result<Vec<(IpAddr, [u8; 6])>, LinkError> {
    let mut request = NeighbourMessage::default();
    request.header.family = family_of(like);
    let lines = Netlink::open()?.dump(&RouteNetlinkMessage::GetNeighbour(request), |body| {
        let line = decode(body)?;
        let is_here = line.interface_index == interface_index;
        Ok(line.ip.zip(line.entry.fixed()).filter(|_| is_here))
    });
    lines.map_err(|cause| failed("read the table of neighbours", "the kernel", cause))
}

/// The length of the fixed part of `RTM_NEWNEIGH`: `struct ndmsg`.
const NEIGHBOUR_HEADER_LENGTH: usize = 12;

/// Attributes of `RTM_NEWNEIGH`, from `linux/neighbour.h`.
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;

/// A line of the table.
#[derive(Debug)]
struct Line {
    interface_index: u32,
    ip: Option<IpAddr>,
    entry: NeighbourEntry,
}

fn decode(body: &[u8]) -> Result<Line, DecodeError> {
    let header = NeighbourHeader::parse(body)?;
    let mut line = Line {
        interface_index: header.ifindex,
        ip: None,
        entry: NeighbourEntry { mac: None, state: header.state },
    };
    for attribute in NlasIterator::new(body.get(NEIGHBOUR_HEADER_LENGTH..).unwrap_or_default()) {
        let attribute = attribute?;
        match attribute.kind() {
            NDA_DST => line.ip = address(attribute.value()),
            NDA_LLADDR => line.entry.mac = attribute.value().try_into().ok(),
            _ => {}
        }
    }
    Ok(line)
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = || Some(IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?));
    let v6 = || Some(IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?));
    v4().or_else(v6)
}

#[cfg(test)]
mod tests {
    use super::*;

    const THEIRS: [u8; 6] = [2, 0, 0, 0, 0, 2];

    #[test]
    fn uses_an_entry_only_as_long_as_the_kernel_would() {
        for (state, usable, fixed) in [
            (NeighbourState::Reachable, true, false),
            (NeighbourState::Stale, true, false),
            (NeighbourState::Delay, true, false),
            (NeighbourState::Probe, true, false),
            (NeighbourState::Permanent, true, true),
            (NeighbourState::Noarp, true, true),
            (NeighbourState::Failed, false, false),
            (NeighbourState::Incomplete, false, false),
            (NeighbourState::None, false, false),
            (NeighbourState::Other(0x300), false, false),
        ] {
            let entry = NeighbourEntry { mac: Some(THEIRS), state };
            assert_eq!((entry.usable().is_some(), entry.fixed().is_some()), (usable, fixed), "{state:?}");
        }
    }

    #[test]
    fn reads_an_entry_and_stands_any_bytes() {
        let mut body = vec![libc::AF_INET as u8, 0, 0, 0, 2, 0, 0, 0, 4, 0, 0, 1];
        body.extend([8, 0, 1, 0, 198, 18, 0, 9]);
        body.extend([10, 0, 2, 0, 2, 0, 0, 0, 0, 2, 0, 0]);
        let line = decode(&body).expect("an entry");
        assert_eq!(line.entry, NeighbourEntry { mac: Some(THEIRS), state: NeighbourState::Stale });
        assert_eq!((line.interface_index, line.ip), (2, Some(IpAddr::from([198, 18, 0, 9]))));
        for length in 0..body.len() {
            let _ = decode(&body[..length]);
        }
    }

    #[test]
    fn reads_addresses_of_both_lengths_and_no_other() {
        assert_eq!(address(&[198, 18, 0, 9]), Some(IpAddr::from([198, 18, 0, 9])));
        assert_eq!(address(&[0; 16]), Some(IpAddr::from([0u8; 16])));
        assert_eq!(address(&[0; 6]), None);
    }
}
