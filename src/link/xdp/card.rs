//! What the kernel says of a device that the engine would send by: its driver, whether it takes frames from XDP, and
//! what is attached to it. Asking needs no privilege and changes nothing.

use std::io;
use std::path::Path;

use netlink_packet_core::{NetlinkSerializable, NlaBuffer, NlasIterator};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::LinkMessage;

use super::super::LinkError;
use super::super::netlink::{Netlink, failed, undecodable};

/// Attributes of `RTM_NEWLINK`, from linux/if_link.h, and the length of what stands before them.
const IFLA_LINKINFO: u16 = 18;
const IFLA_XDP: u16 = 43;
const IFLA_PARENT_DEV_NAME: u16 = 56;
const IFLA_PARENT_DEV_BUS_NAME: u16 = 57;
const LINK_HEADER_LENGTH: usize = 16;

/// Attributes inside of the first.
const IFLA_INFO_KIND: u16 = 1;

/// Attributes inside of the second: the programs, and by which way each is attached.
const ATTACHED: [(u16, &str); 4] =
    [(5, "natively"), (6, "in generic mode"), (7, "in the hardware"), (IFLA_XDP_PROG_ID, "")];
const IFLA_XDP_PROG_ID: u16 = 4;

/// The family that knows the families, from linux/genetlink.h.
const GENL_ID_CTRL: u16 = 16;
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
const GENERIC_HEADER_LENGTH: usize = 4;

/// The family that knows devices, from linux/netdev.h, since Linux 6.3.
const NETDEV: &str = "netdev";
const NETDEV_CMD_DEV_GET: u8 = 1;
const NETDEV_A_DEV_IFINDEX: u16 = 1;
const NETDEV_A_DEV_XDP_FEATURES: u16 = 3;
const NETDEV_XDP_ACT_BASIC: u64 = 1;
const NETDEV_XDP_ACT_NDO_XMIT: u64 = 4;

/// Whether a device sends what XDP redirects into it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sends {
    /// Yes, now.
    Yes,
    /// Not now. Some drivers do only while a program is attached to the device, which the engine does.
    PerhapsAttached,
    /// No: its driver has no XDP.
    No,
    /// Linux before 6.3 does not say.
    Unknown,
}

/// What the kernel says of one device.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Card {
    /// What drives it.
    pub driver: Option<String>,
    /// `NETDEV_XDP_ACT_*`, where the kernel says them.
    features: Option<u64>,
    /// The programs that are attached to it: their numbers, and by which way.
    pub attached: Vec<(u32, &'static str)>,
}

impl Card {
    /// Asks for the device of this number.
    ///
    /// # Errors
    /// When there is none, or when the kernel does not say.
    pub fn of(interface_index: u32) -> Result<Self, LinkError> {
        let unread = |cause| failed("read the interface", format!("number {interface_index}"), cause);
        let mut request = LinkMessage::default();
        request.header.index = interface_index;
        let answer = Netlink::open()?.ask(RouteNetlinkMessage::GetLink(request));
        let mut card = answer.and_then(|body| decode(&body)).map_err(unread)?;
        card.features = features(interface_index).map_err(unread)?;
        Ok(card)
    }

    /// Whether it sends what XDP redirects into it. Since Linux 6.3 the kernel itself goes by the same word.
    pub fn sends(&self) -> Sends {
        match self.features {
            None => Sends::Unknown,
            Some(features) if features & NETDEV_XDP_ACT_NDO_XMIT != 0 => Sends::Yes,
            Some(features) if features & NETDEV_XDP_ACT_BASIC != 0 => Sends::PerhapsAttached,
            Some(_) => Sends::No,
        }
    }

    /// Whether its driver runs programs by itself, so that the one that receives is attached natively.
    pub fn receives_natively(&self) -> Option<bool> {
        self.features.map(|features| features & NETDEV_XDP_ACT_BASIC != 0)
    }

    /// Its driver, in words.
    pub fn driver(&self) -> &str {
        self.driver.as_deref().unwrap_or("not named")
    }

    /// That it does not take frames, in words.
    pub fn refusal(&self) -> String {
        format!("its driver ({}) takes no frames from XDP (ndo_xdp_xmit)", self.driver())
    }

    /// What to try where it does not take frames now.
    pub fn advice(&self) -> &'static str {
        match self.driver.as_deref() {
            Some("veth") => {
                "a veth takes frames only while its other end polls: attach an XDP program there, or turn its GRO on \
                 (ethtool -K DEVICE gro on); or use --engine packet"
            }
            _ => "sweep by another device, or use --engine packet",
        }
    }

    /// What is in the way of one more program, which a device does not take.
    pub fn occupied(&self) -> Option<String> {
        let (id, way) = self.attached.first()?;
        let way = if way.is_empty() { String::new() } else { format!(" {way}") };
        Some(format!("an XDP program (id {id}) is attached to it{way}, and a device takes no second one"))
    }

    /// What to do about that.
    pub fn vacate(&self) -> String {
        let id = self.attached.first().map_or(0, |(id, _)| *id);
        format!(
            "`bpftool prog show id {id}` says what it is; end whatever attached it, or use --engine packet"
        )
    }
}

/// Reads the few attributes that count.
fn decode(body: &[u8]) -> io::Result<Card> {
    let mut card = Card::default();
    let (mut parent, mut bus) = (None, None);
    for attribute in NlasIterator::new(body.get(LINK_HEADER_LENGTH..).unwrap_or_default()) {
        let attribute = attribute.map_err(|error| undecodable(&error))?;
        match attribute.kind() {
            IFLA_LINKINFO => card.driver = inside(attribute.value(), IFLA_INFO_KIND).map(|kind| text(&kind)),
            IFLA_XDP => card.attached = attached(attribute.value()),
            IFLA_PARENT_DEV_NAME => parent = Some(text(attribute.value())),
            IFLA_PARENT_DEV_BUS_NAME => bus = Some(text(attribute.value())),
            _ => {}
        }
    }
    // What is made by software names its kind, and what is built in has a parent, whose driver it is.
    if let (None, Some(bus), Some(parent)) = (&card.driver, bus, parent) {
        card.driver = driver(&bus, &parent);
    }
    Ok(card)
}

/// The driver of a device on a bus. By the bus, because /sys/class/net shows the devices of another network namespace
/// where only that has been changed.
fn driver(bus: &str, device: &str) -> Option<String> {
    if [bus, device].iter().any(|name| name.contains('/') || name.starts_with('.')) {
        return None;
    }
    let link =
        std::fs::read_link(Path::new("/sys/bus").join(bus).join("devices").join(device).join("driver"));
    Some(link.ok()?.file_name()?.to_string_lossy().into_owned())
}

/// The programs that are attached. With one alone the kernel says its number twice, once by its way.
fn attached(xdp: &[u8]) -> Vec<(u32, &'static str)> {
    let mut programs: Vec<(u32, &str)> = Vec::new();
    for (kind, way) in ATTACHED {
        let id = inside(xdp, kind).and_then(|value| value.try_into().ok()).map_or(0, u32::from_ne_bytes);
        if id != 0 && programs.iter().all(|(known, _)| *known != id) {
            programs.push((id, way));
        }
    }
    programs
}

/// The value of an attribute in a nest of them.
fn inside(nest: &[u8], kind: u16) -> Option<Vec<u8>> {
    let is_it = |attribute: &NlaBuffer<&[u8]>| attribute.kind() == kind;
    NlasIterator::new(nest).flatten().find(is_it).map(|attribute| attribute.value().to_vec())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned()
}

/// What the device says that it does with XDP; nothing where the kernel has no such question.
fn features(interface_index: u32) -> io::Result<Option<u64>> {
    let mut netlink = Netlink::open_generic().map_err(io::Error::other)?;
    let name = [NETDEV.as_bytes(), b"\0"].concat();
    let family =
        match netlink.ask(Question::new(GENL_ID_CTRL, CTRL_CMD_GETFAMILY, CTRL_ATTR_FAMILY_NAME, &name)) {
            Ok(answer) => of_answer(&answer, CTRL_ATTR_FAMILY_ID),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(None),
            Err(error) => return Err(error),
        };
    let Some(family) = family.and_then(|id| id.try_into().ok()).map(u16::from_ne_bytes) else {
        return Ok(None);
    };
    let index = interface_index.to_ne_bytes();
    let answer = netlink.ask(Question::new(family, NETDEV_CMD_DEV_GET, NETDEV_A_DEV_IFINDEX, &index))?;
    let features = of_answer(&answer, NETDEV_A_DEV_XDP_FEATURES);
    Ok(features.and_then(|bits| bits.try_into().ok()).map(u64::from_ne_bytes))
}

fn of_answer(body: &[u8], kind: u16) -> Option<Vec<u8>> {
    inside(body.get(GENERIC_HEADER_LENGTH..)?, kind)
}

/// A question to a family that has a name: a header of four bytes, and one attribute.
struct Question {
    family: u16,
    body: Vec<u8>,
}

impl Question {
    fn new(family: u16, command: u8, kind: u16, value: &[u8]) -> Self {
        let mut body = vec![command, 1, 0, 0];
        body.extend((4 + value.len() as u16).to_ne_bytes());
        body.extend(kind.to_ne_bytes());
        body.extend(value);
        body.resize(body.len().next_multiple_of(4), 0);
        Question { family, body }
    }
}

impl NetlinkSerializable for Question {
    fn message_type(&self) -> u16 {
        self.family
    }

    fn buffer_len(&self) -> usize {
        self.body.len()
    }

    fn serialize(&self, buffer: &mut [u8]) {
        buffer[..self.body.len()].copy_from_slice(&self.body);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        Question::new(0, 0, kind, value).body.split_off(GENERIC_HEADER_LENGTH)
    }

    fn link(attributes: &[Vec<u8>]) -> Vec<u8> {
        [vec![0; LINK_HEADER_LENGTH], attributes.concat()].concat()
    }

    #[test]
    fn reads_the_driver_and_what_is_attached() {
        let info = attribute(IFLA_LINKINFO, &attribute(IFLA_INFO_KIND, b"veth\0"));
        let number = |id: u32| id.to_ne_bytes();
        let none = attribute(IFLA_XDP, &attribute(2, &[0]));
        let one = [attribute(2, &[1]), attribute(4, &number(17)), attribute(5, &number(17))].concat();
        // With two of them the number by itself is left out, or stands for neither.
        let two = [attribute(2, &[4]), attribute(4, &number(0)), attribute(6, &number(8))].concat();
        let card = decode(&link(&[info.clone(), none])).expect("a link");
        assert_eq!((card.driver.as_deref(), card.occupied()), (Some("veth"), None));
        for (xdp, says) in
            [(one, "(id 17) is attached to it natively"), (two, "(id 8) is attached to it in generic")]
        {
            let card = decode(&link(&[info.clone(), attribute(IFLA_XDP, &xdp)])).expect("a link");
            assert_eq!(card.attached.len(), 1);
            let occupied = card.occupied().expect("a program");
            assert!(occupied.contains(says), "{occupied}");
        }
    }

    #[test]
    fn a_device_sends_by_the_kernels_word() {
        for (features, sends) in [
            (None, Sends::Unknown),
            (Some(0), Sends::No),
            (Some(0b11), Sends::PerhapsAttached),
            (Some(0b111), Sends::Yes),
            // A tap device has a way out and no way in.
            (Some(0b100), Sends::Yes),
        ] {
            assert_eq!(Card { features, ..Card::default() }.sends(), sends, "{features:?}");
        }
    }

    #[test]
    fn the_kernel_answers_for_every_device() {
        // Nobody takes the loopback device away.
        let card = Card::of(1).expect("lo");
        assert!(card.attached.is_empty());
        assert!(Card::of(u32::MAX).is_err());
    }

    #[test]
    fn no_body_of_an_answer_makes_it_panic() {
        let info = attribute(IFLA_LINKINFO, &attribute(IFLA_INFO_KIND, b"veth\0"));
        let xdp = attribute(IFLA_XDP, &attribute(4, &17_u32.to_ne_bytes()));
        let parent =
            [attribute(IFLA_PARENT_DEV_NAME, b"../x\0"), attribute(IFLA_PARENT_DEV_BUS_NAME, b"pci\0")];
        let body = link(&[info, xdp, parent.concat()]);
        for length in 0..body.len() {
            let _ = decode(&body[..length]);
            let _ = of_answer(&body[..length], 1);
        }
        assert_eq!(driver("pci", "../x"), None);
    }
}
