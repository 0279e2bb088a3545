//! Whether a device takes frames from XDP, as the kernel says since Linux 6.3: by generic netlink, in its family
//! `netdev` (Documentation/netlink/specs/netdev.yaml).

use std::io;

use netlink_packet_core::{NLM_F_REQUEST, NlasIterator};
use netlink_sys::protocols::NETLINK_GENERIC;
use netlink_sys::{Socket, SocketAddr};

/// `linux/genetlink.h`: the family that knows all others, what it is asked, and the attributes of that.
const CONTROL: u16 = 16;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;

/// `linux/netdev.h`.
const DEV_GET: u8 = 1;
const IFINDEX: u16 = 1;
const XDP_FEATURES: u16 = 3;
const NDO_XMIT: u64 = 4;

/// Attributes stand behind the header of netlink and that of generic netlink.
const HEADER_LEN: usize = 16;
const BODY_AT: usize = 20;

/// `NLMSG_ERROR`.
const REFUSAL: u16 = 2;

/// More than any of these answers has.
const ANSWER_LIMIT: usize = 1 << 15;

/// Whether the driver of a device takes frames that XDP redirects into it. `None` where the kernel does not say: it is
/// older, or forbids to ask.
pub(super) fn takes_frames(interface_index: u32) -> Option<bool> {
    let mut socket = connect().ok()?;
    let family = ask(&mut socket, CONTROL, GET_FAMILY, FAMILY_NAME, b"netdev\0", FAMILY_ID).ok()?;
    let family = u16::from_ne_bytes(*family.first_chunk()?);
    let index = interface_index.to_ne_bytes();
    let features = ask(&mut socket, family, DEV_GET, IFINDEX, &index, XDP_FEATURES).ok()?;
    Some(u64::from_ne_bytes(*features.first_chunk()?) & NDO_XMIT != 0)
}

fn connect() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_GENERIC)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    Ok(socket)
}

/// Asks a family by one attribute for another.
fn ask(
    socket: &mut Socket,
    family: u16,
    command: u8,
    by: u16,
    value: &[u8],
    wanted: u16,
) -> io::Result<Vec<u8>> {
    socket.send(&question(family, command, by, value), 0)?;
    let mut answer = Vec::with_capacity(ANSWER_LIMIT);
    socket.recv(&mut answer, 0)?;
    attribute(&answer, wanted).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn question(family: u16, command: u8, by: u16, value: &[u8]) -> Vec<u8> {
    let attribute_len = 4 + value.len();
    let len = BODY_AT + attribute_len.next_multiple_of(4);
    let mut bytes = Vec::with_capacity(len);
    bytes.extend((len as u32).to_ne_bytes());
    bytes.extend(family.to_ne_bytes());
    bytes.extend(NLM_F_REQUEST.to_ne_bytes());
    // Neither a sequence nor a port: there is one question at a time, and the socket is bound to the kernel.
    bytes.resize(HEADER_LEN, 0);
    bytes.extend([command, 1, 0, 0]);
    bytes.extend((attribute_len as u16).to_ne_bytes());
    bytes.extend(by.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(len, 0);
    bytes
}

fn attribute(answer: &[u8], wanted: u16) -> Option<Vec<u8>> {
    let len = u32::from_ne_bytes(*answer.first_chunk()?) as usize;
    if u16::from_ne_bytes(*answer.get(4..)?.first_chunk()?) == REFUSAL {
        return None;
    }
    let found = NlasIterator::new(answer.get(BODY_AT..len)?)
        .filter_map(Result::ok)
        .find(|attribute| attribute.kind() == wanted)?;
    Some(found.value().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_trusted_no_further_than_its_end() {
        let answer = question(20, DEV_GET, XDP_FEATURES, &0x67_u64.to_ne_bytes());
        assert_eq!(attribute(&answer, XDP_FEATURES).as_deref(), Some(0x67_u64.to_ne_bytes().as_slice()));
        assert_eq!(attribute(&answer, IFINDEX), None);
        for cut in 0..answer.len() {
            assert_eq!(attribute(&answer[..cut], XDP_FEATURES), None);
        }
    }

    #[test]
    fn a_refusal_says_nothing_of_the_device() {
        let mut answer = question(REFUSAL, DEV_GET, XDP_FEATURES, &[0; 8]);
        answer[BODY_AT - 4..BODY_AT].copy_from_slice(&(-libc::ENODEV).to_ne_bytes());
        assert_eq!(attribute(&answer, XDP_FEATURES), None);
    }
}
