//! A forger on the way of a lab: it sees every probe, and answers with frames that are nearly right.
//!
//! For each probe it throws back, at once and again later, as many *near misses* as *blind shots*. A near miss knows
//! all that an attacker on the way could know and is wrong in one thing: the number by one, the number of the
//! neighbour, of the sweep before or of another try, the address, the port, the flags, the length. A blind shot knows
//! the addresses and guesses the rest.
//!
//! None is ever exactly right. A frame from the right address to the right port that acknowledges the number of a try
//! of this sweep *is* the answer: nobody could tell it from the truth, and whoever sits on the way can make it. So
//! what is tested is that nothing less counts. (A blind shot is right by chance once in 2^46, which is not looked
//! for.)
//!
//! It can also record the frames that it sees on their way to the scanner, and replay them. It ends with its standard
//! input and says then what it has done.

use std::collections::{HashMap, VecDeque};
use std::fs;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pnet::datalink::{self, Channel, DataLinkReceiver, DataLinkSender};
use pnet::packet::Packet;
use pnet::packet::ethernet::{EtherTypes, EthernetPacket};
use pnet::packet::icmp::IcmpPacket;
use pnet::packet::icmpv6::Icmpv6Packet;
use pnet::packet::ip::IpNextHeaderProtocols;
use pnet::packet::ipv4::{self, Ipv4Packet};
use pnet::packet::ipv6::Ipv6Packet;
use pnet::packet::tcp::{self, TcpPacket};
use pnet::packet::{icmp, icmpv6};

const USAGE: &str = "usage: lab-forger forge  DEVICE FIRST-PORT LAST-PORT ROUNDS LAST-SWEEP-FILE
       lab-forger record DEVICE FILE
       lab-forger replay DEVICE FILE TIMES";

/// When the rounds for a probe are thrown: while its answer is on the way, when it has just come, when it is settled,
/// and when the next try is under way.
const ROUNDS: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_millis(15),
    Duration::from_millis(120),
    Duration::from_millis(1250),
    Duration::from_millis(2600),
];

/// After this long, a true answer is sent once more.
const ECHO: Duration = Duration::from_millis(300);

/// Frames replayed in a row, and the rest after them.
const REPLAYED_AT_ONCE: usize = 50;
const REPLAY_REST: Duration = Duration::from_millis(5);

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            // Nothing is left to be done when standard error is closed too.
            let _ = writeln!(io::stderr(), "lab-forger: {message}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<(), String> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<u16>().map_err(|_| format!("{text} is not a number\n{USAGE}"));
    let said = match words[..] {
        ["forge", device, first, last, rounds, file] => {
            let ports = (number(first)?, number(last)?);
            Forger::new(Wire::open(device)?, ports, number(rounds)?, file).work()?
        }
        ["record", device, file] => record(Wire::open(device)?, file)?,
        ["replay", device, file, times] => replay(Wire::open(device)?, file, number(times)?)?,
        _ => return Err(USAGE.to_owned()),
    };
    say(&said)
}

fn say(line: &str) -> Result<(), String> {
    let mut out = io::stdout();
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(|e| format!("standard output: {e}"))
}

/// A device, seen from below its network stack, until standard input ends.
struct Wire {
    sender: Box<dyn DataLinkSender>,
    receiver: Box<dyn DataLinkReceiver>,
    ended: Arc<AtomicBool>,
}

impl Wire {
    fn open(device: &str) -> Result<Self, String> {
        let interface = datalink::interfaces().into_iter().find(|interface| interface.name == device);
        let interface = interface.ok_or_else(|| format!("there is no device {device}"))?;
        let config = datalink::Config { read_timeout: Some(Duration::from_millis(2)), ..Default::default() };
        let (sender, receiver) = match datalink::channel(&interface, config) {
            Ok(Channel::Ethernet(sender, receiver)) => (sender, receiver),
            Ok(_) => return Err(format!("{device} is no Ethernet device")),
            Err(e) => return Err(format!("cannot open {device}: {e}")),
        };
        let ended = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&ended);
        std::thread::spawn(move || {
            let mut sink = [0; 256];
            while matches!(io::stdin().read(&mut sink), Ok(n) if n > 0) {}
            flag.store(true, Ordering::Relaxed);
        });
        say("ready")?;
        Ok(Wire { sender, receiver, ended })
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// The next frame, if one comes within a moment.
    fn next(&mut self) -> Option<Vec<u8>> {
        self.receiver.next().ok().map(<[u8]>::to_vec)
    }

    /// Says whether the device took it.
    fn send(&mut self, frame: &[u8]) -> bool {
        matches!(self.sender.send_to(frame, None), Some(Ok(())))
    }
}

/// Keeps every answer that passes by on its way to the scanner.
fn record(mut wire: Wire, file: &str) -> Result<String, String> {
    let mut kept = Vec::new();
    let mut count = 0;
    while !wire.has_ended() {
        let Some(frame) = wire.next() else { continue };
        let is_answer = Seen::read(&frame).is_some_and(|seen| seen.is_answer());
        if is_answer || is_error(&frame) {
            kept.extend((frame.len() as u32).to_be_bytes());
            kept.extend(&frame);
            count += 1;
        }
    }
    fs::write(file, kept).map_err(|e| format!("cannot write {file}: {e}"))?;
    Ok(format!("recorded {count}"))
}

/// Sends every recorded frame so many times, byte for byte.
fn replay(mut wire: Wire, file: &str, times: u16) -> Result<String, String> {
    let bytes = fs::read(file).map_err(|e| format!("cannot read {file}: {e}"))?;
    let mut frames = Vec::new();
    let mut rest = &bytes[..];
    while let Some((length, more)) = rest.split_first_chunk::<4>() {
        let (frame, more) = more.split_at(u32::from_be_bytes(*length) as usize);
        frames.push(frame);
        rest = more;
    }
    let mut sent = 0_u64;
    for _ in 0..times {
        for batch in frames.chunks(REPLAYED_AT_ONCE) {
            sent += batch.iter().map(|frame| u64::from(wire.send(frame))).sum::<u64>();
            std::thread::sleep(REPLAY_REST);
        }
    }
    say(&format!("replayed {sent}"))?;
    while !wire.has_ended() {
        wire.next();
    }
    Ok("ended".to_owned())
}

/// A TCP segment that came by.
struct Seen {
    link: Link,
    from: SocketAddr,
    to: SocketAddr,
    sequence: u32,
    flags: u8,
}

/// The addresses below IP of what goes to the scanner.
#[derive(Clone, Copy)]
struct Link([u8; 12]);

impl Seen {
    fn read(frame: &[u8]) -> Option<Self> {
        let ethernet = EthernetPacket::new(frame)?;
        let (source, destination, protocol, payload) = match ethernet.get_ethertype() {
            EtherTypes::Ipv4 => {
                let ip = Ipv4Packet::new(ethernet.payload())?;
                let ends = (IpAddr::V4(ip.get_source()), IpAddr::V4(ip.get_destination()));
                (ends.0, ends.1, ip.get_next_level_protocol(), ip.payload().to_vec())
            }
            EtherTypes::Ipv6 => {
                let ip = Ipv6Packet::new(ethernet.payload())?;
                let ends = (IpAddr::V6(ip.get_source()), IpAddr::V6(ip.get_destination()));
                (ends.0, ends.1, ip.get_next_header(), ip.payload().to_vec())
            }
            _ => return None,
        };
        let segment = TcpPacket::new(&payload).filter(|_| protocol == IpNextHeaderProtocols::Tcp)?;
        let mut link = [0; 12];
        // Whoever was the sender is the receiver of what comes back.
        link[..6].copy_from_slice(&frame[6..12]);
        link[6..].copy_from_slice(&frame[..6]);
        Some(Seen {
            link: Link(link),
            from: SocketAddr::new(source, segment.get_source()),
            to: SocketAddr::new(destination, segment.get_destination()),
            sequence: segment.get_sequence(),
            flags: segment.get_flags(),
        })
    }

    fn is_answer(&self) -> bool {
        matches!(self.flags & (SYN | RST | ACK), both if both == SYN | ACK || both == RST | ACK)
    }
}

/// Whether this is an ICMP error of either family.
fn is_error(frame: &[u8]) -> bool {
    let Some(ethernet) = EthernetPacket::new(frame) else { return false };
    let payload = ethernet.payload();
    match ethernet.get_ethertype() {
        EtherTypes::Ipv4 => Ipv4Packet::new(payload).is_some_and(|ip| {
            ip.get_next_level_protocol() == IpNextHeaderProtocols::Icmp
                && matches!(ip.payload().first(), Some(3 | 11))
        }),
        EtherTypes::Ipv6 => Ipv6Packet::new(payload).is_some_and(|ip| {
            ip.get_next_header() == IpNextHeaderProtocols::Icmpv6
                && matches!(ip.payload().first(), Some(1 | 3))
        }),
        _ => false,
    }
}

/// What one probe carried: its source port and its number.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Token {
    port: u16,
    sequence: u32,
}

/// A probe that is answered with forgeries.
#[derive(Clone, Copy)]
struct Probe {
    link: Link,
    source: IpAddr,
    target: SocketAddr,
    token: Token,
    /// The probe at another target that came before.
    neighbour: Option<(SocketAddr, Token)>,
}

struct Forger {
    wire: Wire,
    ports: (u16, u16),
    rounds: usize,
    file: String,
    /// The tokens of this sweep and of the one before.
    now: HashMap<SocketAddr, Vec<Token>>,
    before: HashMap<SocketAddr, Token>,
    last: Option<(SocketAddr, Token)>,
    /// What is to be thrown again, by round; and answers to be sent once more.
    later: Vec<VecDeque<(Instant, Probe)>>,
    echoes: VecDeque<(Instant, Vec<u8>)>,
    dice: u64,
    near: u64,
    blind: u64,
    echoed: u64,
    probes: u64,
}

impl Forger {
    fn new(wire: Wire, ports: (u16, u16), rounds: u16, file: &str) -> Self {
        Forger {
            wire,
            ports,
            rounds: usize::from(rounds).clamp(1, ROUNDS.len()),
            file: file.to_owned(),
            now: HashMap::new(),
            before: read_tokens(file),
            last: None,
            later: vec![VecDeque::new(); ROUNDS.len()],
            echoes: VecDeque::new(),
            dice: 0x9e37_79b9_7f4a_7c15,
            near: 0,
            blind: 0,
            echoed: 0,
            probes: 0,
        }
    }

    fn work(mut self) -> Result<String, String> {
        while !self.wire.has_ended() {
            if let Some(frame) = self.wire.next() {
                self.hear(frame);
            }
            let now = Instant::now();
            for round in 1..self.rounds {
                while let Some((_, probe)) = self.later[round].pop_front_if(|(due, _)| *due <= now) {
                    self.throw(&probe, round);
                }
            }
            while let Some((_, frame)) = self.echoes.pop_front_if(|(due, _)| *due <= now) {
                self.echoed += u64::from(self.wire.send(&frame));
            }
        }
        write_tokens(&self.file, &self.now)?;
        let Forger { probes, near, blind, echoed, .. } = self;
        Ok(format!("probes {probes} near {near} blind {blind} echoed {echoed}"))
    }

    fn hear(&mut self, frame: Vec<u8>) {
        let Some(seen) = Seen::read(&frame) else { return };
        let is_ours = |port| (self.ports.0..=self.ports.1).contains(&port);
        if seen.is_answer() && is_ours(seen.to.port()) {
            self.echoes.push_back((Instant::now() + ECHO, frame));
        } else if seen.flags & (SYN | RST | ACK) == SYN && is_ours(seen.from.port()) {
            let token = Token { port: seen.from.port(), sequence: seen.sequence };
            let neighbour = self.last.filter(|(target, _)| *target != seen.to);
            let (link, source, target) = (seen.link, seen.from.ip(), seen.to);
            let probe = Probe { link, source, target, token, neighbour };
            self.last = Some((target, token));
            self.now.entry(target).or_default().push(token);
            self.probes += 1;
            self.throw(&probe, 0);
            for (later, after) in self.later.iter_mut().zip(ROUNDS).take(self.rounds).skip(1) {
                later.push_back((Instant::now() + after, probe));
            }
        }
    }

    /// As many near misses as blind shots.
    fn throw(&mut self, probe: &Probe, round: usize) {
        let near = self.near_misses(probe, round);
        for frame in near {
            self.near += u64::from(self.wire.send(&frame));
            let blind = self.blind_shot(probe);
            self.blind += u64::from(self.wire.send(&blind));
        }
    }

    fn roll(&mut self) -> u64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        self.dice
    }

    fn blind_shot(&mut self, probe: &Probe) -> Vec<u8> {
        let dice = self.roll();
        let ports = u64::from(self.ports.1 - self.ports.0) + 1;
        let port = self.ports.0 + ((dice >> 40) % ports) as u16;
        let token = Token { port, sequence: dice as u32 };
        let to = SocketAddr::new(probe.source, port);
        match (dice >> 32) % 3 {
            0 => {
                frame_of(probe.link, probe.target, to, &segment(probe.target, to, SYN | ACK, token.sequence))
            }
            1 => {
                frame_of(probe.link, probe.target, to, &segment(probe.target, to, RST | ACK, token.sequence))
            }
            _ => error_frame(probe, dice as usize >> 34, to, probe.target, token.sequence, Cut::Whole),
        }
    }

    /// Everything that is right but for one thing.
    fn near_misses(&self, probe: &Probe, round: usize) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        let source = SocketAddr::new(probe.source, probe.token.port);
        for (from, to, sequence) in self.misses(probe) {
            if self.is_right(from, to, sequence) {
                continue;
            }
            for flags in [SYN | ACK, RST | ACK] {
                let bytes = segment(from, to, flags, sequence.wrapping_add(1));
                frames.push(frame_of(probe.link, from, to, &bytes));
            }
            frames.push(error_frame(probe, frames.len() + round, to, from, sequence, Cut::Whole));
        }
        // From here on the number is right, and what it is said by is not an answer.
        let (target, ack) = (probe.target, probe.token.sequence.wrapping_add(1));
        for flags in [ACK, FIN | ACK, SYN, RST, SYN | RST | ACK, 0] {
            frames.push(frame_of(probe.link, target, source, &segment(target, source, flags, ack)));
        }
        for flags in [SYN | ACK, RST | ACK] {
            frames.push(frame_of(probe.link, target, source, &segment(target, source, flags, ack)[..12]));
            let whole = frame_of(probe.link, target, source, &segment(target, source, flags, ack));
            frames.extend(as_later_fragment(whole));
        }
        for cut in [Cut::Ports, Cut::OtherProtocol, Cut::NoError] {
            frames.push(error_frame(probe, round, source, target, probe.token.sequence, cut));
        }
        frames
    }

    /// Who says it, to whom, and the number that is acknowledged (or quoted).
    fn misses(&self, probe: &Probe) -> Vec<(SocketAddr, SocketAddr, u32)> {
        let Probe { source, target, token, neighbour, .. } = *probe;
        let right = SocketAddr::new(source, token.port);
        let at = |port| SocketAddr::new(source, port);
        let number = token.sequence;
        let mut misses = vec![
            (target, right, number.wrapping_sub(1)),
            (target, right, number.wrapping_add(1)),
            (SocketAddr::new(beside(target.ip()), target.port()), right, number),
            (SocketAddr::new(target.ip(), target.port() ^ 1), right, number),
            (target, at(token.port ^ 1), number),
            (target, SocketAddr::new(beside(source), token.port), number),
            // No port of ours.
            (target, at(80), number),
            (target, at(60_000), number),
        ];
        if let Some((who, other)) = neighbour {
            misses.extend([
                (target, at(other.port), other.sequence),
                (target, right, other.sequence),
                (who, right, number),
            ]);
        }
        let others = self.before.get(&target).into_iter();
        for last in others {
            misses.extend([(target, at(last.port), last.sequence), (target, right, last.sequence)]);
        }
        // Another try of this very sweep, half and half.
        let tries = self.now.get(&target).into_iter().flatten();
        for other in tries.rev().filter(|other| **other != token).take(2) {
            misses.extend([(target, at(other.port), number), (target, right, other.sequence)]);
        }
        misses
    }

    /// Whether a try of this sweep had this number, so that a frame with it would be its answer.
    fn is_right(&self, from: SocketAddr, to: SocketAddr, sequence: u32) -> bool {
        let tries = self.now.get(&from).into_iter().flatten();
        tries.into_iter().any(|token| *token == Token { port: to.port(), sequence })
    }
}

/// The address next to this one.
fn beside(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(v4) => IpAddr::V4((v4.to_bits() ^ 1).into()),
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() ^ 1).into()),
    }
}

/// A TCP header with a right checksum.
fn segment(from: SocketAddr, to: SocketAddr, flags: u8, ack: u32) -> Vec<u8> {
    let mut bytes = vec![0; 20];
    bytes[..2].copy_from_slice(&from.port().to_be_bytes());
    bytes[2..4].copy_from_slice(&to.port().to_be_bytes());
    bytes[4..8].copy_from_slice(&0x1234_5678_u32.to_be_bytes());
    bytes[8..12].copy_from_slice(&ack.to_be_bytes());
    bytes[12] = 5 << 4;
    bytes[13] = flags;
    bytes[14..16].copy_from_slice(&0xffff_u16.to_be_bytes());
    let checksum = TcpPacket::new(&bytes).map_or(0, |packet| match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => tcp::ipv4_checksum(&packet, &from, &to),
        (IpAddr::V6(from), IpAddr::V6(to)) => tcp::ipv6_checksum(&packet, &from, &to),
        _ => 0,
    });
    bytes[16..18].copy_from_slice(&checksum.to_be_bytes());
    bytes
}

/// A frame that carries this segment.
fn frame_of(link: Link, from: SocketAddr, to: SocketAddr, segment: &[u8]) -> Vec<u8> {
    wrap(link, &packet(from.ip(), to.ip(), IpNextHeaderProtocols::Tcp.0, segment))
}

/// What is wrong with an ICMP error whose number is right.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Cut {
    /// Nothing: the number is wrong.
    Whole,
    /// It quotes the ports and ends before the number.
    Ports,
    /// It quotes a packet that was no TCP.
    OtherProtocol,
    /// It is no error: an echo reply with the same content.
    NoError,
}

/// An ICMP error to `to`, about a probe from there to `about` with this number; `turn` chooses which.
fn error_frame(
    probe: &Probe,
    turn: usize,
    to: SocketAddr,
    about: SocketAddr,
    number: u32,
    cut: Cut,
) -> Vec<u8> {
    let v4 = about.is_ipv4();
    let kinds = if v4 { [(3, 13), (3, 1), (11, 0), (3, 3)] } else { [(1, 1), (1, 3), (3, 0), (1, 4)] };
    let no_error = if v4 { (0, 0) } else { (129, 0) };
    let (icmp_type, code) = if cut == Cut::NoError { no_error } else { kinds[turn % 4] };
    let mut quoted = segment(to, about, SYN, 0);
    quoted[4..8].copy_from_slice(&number.to_be_bytes());
    if cut == Cut::Ports {
        quoted.truncate(4);
    }
    let udp = IpNextHeaderProtocols::Udp.0;
    let protocol = if cut == Cut::OtherProtocol { udp } else { IpNextHeaderProtocols::Tcp.0 };
    let mut message = vec![icmp_type, code, 0, 0, 0, 0, 0, 0];
    message.extend(packet(to.ip(), about.ip(), protocol, &quoted));
    let (next, checksum) = match (about.ip(), to.ip()) {
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let packet = Icmpv6Packet::new(&message);
            let sum = packet.map_or(0, |packet| icmpv6::checksum(&packet, &from, &to));
            (IpNextHeaderProtocols::Icmpv6, sum)
        }
        _ => {
            let packet = IcmpPacket::new(&message);
            (IpNextHeaderProtocols::Icmp, packet.map_or(0, |packet| icmp::checksum(&packet)))
        }
    };
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    wrap(probe.link, &packet(about.ip(), to.ip(), next.0, &message))
}

/// An IP packet of the family of its addresses.
fn packet(from: IpAddr, to: IpAddr, protocol: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let [high, low] = ((20 + content.len()) as u16).to_be_bytes();
            let mut header = vec![0x45, 0, high, low, 0, 0, 0x40, 0, 64, protocol, 0, 0];
            header.extend(from.octets());
            header.extend(to.octets());
            let checksum = Ipv4Packet::new(&header).map_or(0, |packet| ipv4::checksum(&packet));
            header[10..12].copy_from_slice(&checksum.to_be_bytes());
            header
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let [high, low] = (content.len() as u16).to_be_bytes();
            let mut header = vec![0x60, 0, 0, 0, high, low, protocol, 64];
            header.extend(from.octets());
            header.extend(to.octets());
            header
        }
        _ => Vec::new(),
    };
    bytes.extend(content);
    bytes
}

fn wrap(link: Link, packet: &[u8]) -> Vec<u8> {
    let is_v4 = packet.first().is_some_and(|byte| byte >> 4 == 4);
    let kind = if is_v4 { EtherTypes::Ipv4 } else { EtherTypes::Ipv6 };
    [&link.0[..], &kind.0.to_be_bytes(), packet].concat()
}

/// The same frame as a fragment that is not the first, where its family has that in the header.
fn as_later_fragment(mut frame: Vec<u8>) -> Option<Vec<u8>> {
    let ip = 14;
    if frame[ip] >> 4 != 4 {
        return None;
    }
    frame[ip + 6..ip + 8].copy_from_slice(&[0, 1]);
    frame[ip + 10..ip + 12].fill(0);
    let checksum = Ipv4Packet::new(&frame[ip..]).map_or(0, |packet| ipv4::checksum(&packet));
    frame[ip + 10..ip + 12].copy_from_slice(&checksum.to_be_bytes());
    Some(frame)
}

/// What the sweep before carried; nothing if there was none.
fn read_tokens(file: &str) -> HashMap<SocketAddr, Token> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let line = |line: &str| {
        let mut words = line.split(' ');
        let target = words.next()?.parse().ok()?;
        let port = words.next()?.parse().ok()?;
        Some((target, Token { port, sequence: words.next()?.parse().ok()? }))
    };
    text.lines().filter_map(line).collect()
}

fn write_tokens(file: &str, tokens: &HashMap<SocketAddr, Vec<Token>>) -> Result<(), String> {
    let lines = tokens.iter().filter_map(|(target, tries)| {
        tries.first().map(|token| format!("{target} {} {}\n", token.port, token.sequence))
    });
    fs::write(file, lines.collect::<String>()).map_err(|e| format!("cannot write {file}: {e}"))
}
