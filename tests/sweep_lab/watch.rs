//! The far end: this program, started again in the lab's router, notes what arrives there. It sees every frame that the
//! scanner's interface lets out, whatever the scanner says of itself.

use std::collections::HashMap;
use std::hash::Hash;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use pnet::datalink::{self, Channel, Config};
use pnet::packet::Packet;
use pnet::packet::ethernet::{EtherTypes, EthernetPacket};
use pnet::packet::ip::IpNextHeaderProtocols;
use pnet::packet::ipv4::Ipv4Packet;
use pnet::packet::tcp::{TcpFlags, TcpPacket};

/// The router's interface that the scanner's packets arrive at.
const DEVICE: &str = "to-scan";

/// The scanner.
const SCANNER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

/// Does what the argument asks for, if it asks for this module: the words that a script gives to `$WATCH`.
pub fn as_told(argument: Option<&str>) -> Option<ExitCode> {
    match argument {
        Some("count-frames") => count_frames(),
        Some("list-packets") => list_packets(),
        _ => return None,
    }
    Some(ExitCode::SUCCESS)
}

/// A line that is out before the next is begun, so that killing this program loses none.
fn say(line: &str) {
    // With standard output gone, there is nobody left to tell.
    let _ = std::io::stdout().lock().write_all(format!("{line}\n").as_bytes());
}

/// Says again and again how many frames have arrived: the nanoseconds before and after looking, and the count.
fn count_frames() {
    let start = Instant::now();
    let path = format!("/sys/class/net/{DEVICE}/statistics/rx_packets");
    loop {
        let before = start.elapsed().as_nanos();
        let count = std::fs::read_to_string(&path).expect("the counter of the router's interface");
        say(&format!("{before} {} {}", start.elapsed().as_nanos(), count.trim()));
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Says of each IP packet of the scanner when it arrived, where it goes, and `syn` or `other`.
fn list_packets() {
    let start = Instant::now();
    let device =
        datalink::interfaces().into_iter().find(|i| i.name == DEVICE).expect("the router's interface");
    let config = Config { read_buffer_size: 1 << 16, ..Config::default() };
    let Ok(Channel::Ethernet(_, mut frames)) = datalink::channel(&device, config) else {
        panic!("no packet socket on {DEVICE}");
    };
    say("ready");
    while let Ok(frame) = frames.next() {
        if let Some(line) = line_of(frame) {
            say(&format!("{} {line}", start.elapsed().as_nanos()));
        }
    }
}

fn line_of(frame: &[u8]) -> Option<String> {
    let frame = EthernetPacket::new(frame).filter(|frame| frame.get_ethertype() == EtherTypes::Ipv4)?;
    let packet = Ipv4Packet::new(frame.payload()).filter(|packet| packet.get_source() == SCANNER)?;
    let to = packet.get_destination();
    let segment = (packet.get_next_level_protocol() == IpNextHeaderProtocols::Tcp)
        .then(|| TcpPacket::new(packet.payload()))
        .flatten();
    Some(match segment {
        Some(segment) if segment.get_flags() & (TcpFlags::SYN | TcpFlags::ACK) == TcpFlags::SYN => {
            format!("{to} {} syn", segment.get_destination())
        }
        Some(segment) => format!("{to} {} other", segment.get_destination()),
        None => format!("{to} 0 other"),
    })
}

/// A packet that was seen at the router.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    pub nanos: u64,
    pub ip: IpAddr,
    pub port: u16,
    pub is_syn: bool,
}

/// Understands what `list-packets` said.
pub fn packets(text: &str) -> Vec<Seen> {
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("ready"), "the router was not watched");
    let seen = |line: &str| match *line.split(' ').collect::<Vec<_>>() {
        [nanos, ip, port, kind] => Some(Seen {
            nanos: nanos.parse().ok()?,
            ip: ip.parse().ok()?,
            port: port.parse().ok()?,
            is_syn: kind == "syn",
        }),
        _ => None,
    };
    lines.map(|line| seen(line).unwrap_or_else(|| panic!("not a packet: {line}"))).collect()
}

/// The most events of one key in any window of this length. The moments must ascend.
pub fn fullest<K: Eq + Hash>(events: impl Iterator<Item = (K, u64)>, window: u64) -> usize {
    let mut moments: HashMap<K, Vec<u64>> = HashMap::new();
    for (key, at) in events {
        moments.entry(key).or_default().push(at);
    }
    let fullest_of = |moments: &Vec<u64>| {
        let mut from = 0;
        let counts = moments.iter().enumerate().map(|(n, &at)| {
            while moments[from] + window <= at {
                from += 1;
            }
            n + 1 - from
        });
        counts.max().unwrap_or(0)
    };
    moments.values().map(fullest_of).max().unwrap_or(0)
}
