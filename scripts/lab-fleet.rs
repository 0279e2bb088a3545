//! The fleet of the lab: thousands of real listeners in one process.
//!
//! It binds a seeded random subset of the (address, port) pairs of a network that the kernel already treats as
//! local, writes down what a correct sweep must find (the truth file), says `ready` on standard output, and then
//! accepts and at once closes every connection until its standard input ends. The same seed gives the same subset
//! on every machine.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};

const USAGE: &str = "usage: lab-fleet --network NET --ports LIST --open N --seed N [--drop NET]... [--reject NET]... \
                     [--absent NET]... [--drop-ports LIST] [--reject-ports LIST] [--shut-ports LIST] \
                     --truth FILE [--table FILE]";

// What a truth file says of a target: its state, and the reason that the state rests on.
const OPEN: &str = "open syn-ack";
const CLOSED: &str = "closed rst";
const DROPPED: &str = "filtered no-response";
const REJECTED: &str = "filtered icmp-admin-prohibited";
const ABSENT: &str = "unreachable no-neighbour";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            // Nothing is left to be done when standard error is closed too.
            let _ = writeln!(io::stderr(), "lab-fleet: {message}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<(), String> {
    let plan = Plan::parse(std::env::args().skip(1))?;
    let open = plan.choose()?;
    let mut fleet = Fleet::bind(&open)?;
    plan.write_truth(&open).map_err(|e| format!("cannot write {}: {e}", plan.truth.display()))?;
    plan.write_table(&open).map_err(|e| format!("cannot write the table: {e}"))?;
    let mut out = io::stdout();
    writeln!(out, "ready").and_then(|()| out.flush()).map_err(|e| format!("standard output: {e}"))?;
    std::thread::spawn(exit_with_stdin);
    fleet.serve()
}

/// Ends the process when standard input does, so that a fleet never outlives the one who started it.
fn exit_with_stdin() {
    let mut sink = [0; 256];
    let mut input = io::stdin();
    while matches!(input.read(&mut sink), Ok(n) if n > 0) {}
    std::process::exit(0);
}

/// A network in CIDR notation whose host bits are zero.
#[derive(Clone, Copy, Debug)]
struct Net {
    base: IpAddr,
    prefix: u32,
}

impl Net {
    const fn width(self) -> u32 {
        if self.base.is_ipv4() { 32 } else { 128 }
    }

    fn size(self) -> u128 {
        1_u128.checked_shl(self.width() - self.prefix).unwrap_or(u128::MAX)
    }

    fn nth(self, index: u128) -> IpAddr {
        let value = number(self.base) + index;
        match self.base {
            // An index below the size of the network never leaves 32 bits.
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(value).unwrap_or(u32::MAX))),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::from_bits(value)),
        }
    }

    fn contains(self, ip: IpAddr) -> bool {
        let host_bits = self.width() - self.prefix;
        let network = |ip| number(ip).checked_shr(host_bits).unwrap_or(0);
        ip.is_ipv4() == self.base.is_ipv4() && network(ip) == network(self.base)
    }
}

const fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(v4) => v4.to_bits() as u128,
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

impl FromStr for Net {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a network in CIDR notation");
        let (base, prefix) = text.split_once('/').ok_or_else(wrong)?;
        let base: IpAddr = base.parse().map_err(|_| wrong())?;
        let net = Self { base, prefix: prefix.parse().map_err(|_| wrong())? };
        if net.prefix > net.width() {
            return Err(wrong());
        }
        if number(base) & (net.size() - 1) != 0 {
            return Err(format!("`{text}` has host bits set"));
        }
        Ok(net)
    }
}

impl std::fmt::Display for Net {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

/// `SplitMix64`: a few lines, the same numbers everywhere.
struct SplitMix(u64);

impl SplitMix {
    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`. The bias of the multiplication is below one in 2^32 for every lab.
    const fn below(&mut self, bound: u64) -> u64 {
        ((self.next() as u128 * bound as u128) >> 64) as u64
    }
}

/// What keeps a target from simply being open or closed, in the order in which it decides.
#[derive(Default)]
struct Parts {
    absent: Vec<Net>,
    drop_ports: Vec<u16>,
    reject_ports: Vec<u16>,
    shut_ports: Vec<u16>,
    drop: Vec<Net>,
    reject: Vec<Net>,
}

impl Parts {
    /// Takes an option, or says that it is none of these.
    fn set(&mut self, name: &str, value: &str) -> Result<bool, String> {
        match name {
            "--absent" => self.absent.push(value.parse()?),
            "--drop" => self.drop.push(value.parse()?),
            "--reject" => self.reject.push(value.parse()?),
            "--drop-ports" => self.drop_ports = parse_ports(value)?,
            "--reject-ports" => self.reject_ports = parse_ports(value)?,
            "--shut-ports" => self.shut_ports = parse_ports(value)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// State and reason of a target that one of the parts decides.
    fn of(&self, target: SocketAddr) -> Option<&'static str> {
        let holds = |nets: &[Net]| nets.iter().any(|net| net.contains(target.ip()));
        if holds(&self.absent) {
            Some(ABSENT)
        } else if self.drop_ports.contains(&target.port()) {
            Some(DROPPED)
        } else if self.reject_ports.contains(&target.port()) {
            Some(REJECTED)
        } else if self.shut_ports.contains(&target.port()) {
            Some(CLOSED)
        } else if holds(&self.drop) {
            Some(DROPPED)
        } else if holds(&self.reject) {
            Some(REJECTED)
        } else {
            None
        }
    }

    /// The lines of the truth file, of which the first that names a target decides.
    fn lines(&self, network: Net) -> Vec<String> {
        let nets = |nets: &[Net], state| nets.iter().map(|net| format!("net {net} {state}")).collect();
        let ports = |ports: &[u16], state| {
            ports.iter().map(|port| format!("port {network} {port} {state}")).collect::<Vec<_>>()
        };
        let lines: [Vec<String>; 6] = [
            nets(&self.absent, ABSENT),
            ports(&self.drop_ports, DROPPED),
            ports(&self.reject_ports, REJECTED),
            ports(&self.shut_ports, CLOSED),
            nets(&self.drop, DROPPED),
            nets(&self.reject, REJECTED),
        ];
        lines.concat()
    }
}

/// What was asked for on the command line.
struct Plan {
    network: Net,
    ports: Vec<u16>,
    open: u64,
    seed: u64,
    parts: Parts,
    truth: PathBuf,
    table: Option<PathBuf>,
}

impl Plan {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let (mut network, mut ports, mut truth, mut table) = (None, None, None, None);
        let (mut open, mut seed, mut parts) = (None, 1, Parts::default());
        while let Some(name) = args.next() {
            let value = args.next().ok_or_else(|| format!("{name} needs a value\n{USAGE}"))?;
            match name.as_str() {
                "--network" => network = Some(value.parse::<Net>()?),
                "--ports" => ports = Some(parse_ports(&value)?),
                "--open" => open = Some(parse_number(&name, &value)?),
                "--seed" => seed = parse_number(&name, &value)?,
                "--truth" => truth = Some(PathBuf::from(value)),
                "--table" => table = Some(PathBuf::from(value)),
                _ if parts.set(&name, &value)? => {}
                _ => return Err(format!("unknown option {name}\n{USAGE}")),
            }
        }
        let network = network.ok_or_else(|| format!("--network is missing\n{USAGE}"))?;
        if network.size() > 1 << 24 {
            return Err(format!("{network} is too large for a lab"));
        }
        Ok(Self {
            network,
            ports: ports.ok_or_else(|| format!("--ports is missing\n{USAGE}"))?,
            open: open.ok_or_else(|| format!("--open is missing\n{USAGE}"))?,
            seed,
            parts,
            truth: truth.ok_or_else(|| format!("--truth is missing\n{USAGE}"))?,
            table,
        })
    }

    /// Every target of the network.
    fn targets(&self) -> impl Iterator<Item = SocketAddr> {
        let addresses = (0..self.network.size()).map(|n| self.network.nth(n));
        addresses.flat_map(|ip| self.ports.iter().map(move |&port| SocketAddr::new(ip, port)))
    }

    /// Writes the truth once more, a line a target, for readers that cannot count with networks.
    fn write_table(&self, open: &BTreeSet<SocketAddr>) -> io::Result<()> {
        let Some(path) = &self.table else { return Ok(()) };
        let mut out = BufWriter::new(File::create(path)?);
        for target in self.targets() {
            let other = if open.contains(&target) { OPEN } else { CLOSED };
            let state = self.parts.of(target).unwrap_or(other);
            writeln!(out, "{} {} {state}", target.ip(), target.port())?;
        }
        out.flush()
    }

    /// The listeners: exactly as many distinct pairs as asked for, none of them in a filtered part.
    fn choose(&self) -> Result<BTreeSet<SocketAddr>, String> {
        // The network holds 2^24 addresses at most, so neither count can leave 64 bits.
        let addresses = self.network.size() as u64;
        let ports = self.ports.len() as u64;
        let free = self.targets().filter(|&target| self.parts.of(target).is_none()).count() as u64;
        if self.open > free {
            return Err(format!("--open {} is more than the {free} unfiltered targets", self.open));
        }
        let mut random = SplitMix(self.seed);
        let mut chosen = BTreeSet::new();
        while (chosen.len() as u64) < self.open {
            let index = random.below(addresses * ports);
            let ip = self.network.nth((index / ports).into());
            let target = SocketAddr::new(ip, self.ports[(index % ports) as usize]);
            if self.parts.of(target).is_none() {
                chosen.insert(target);
            }
        }
        Ok(chosen)
    }

    fn write_truth(&self, open: &BTreeSet<SocketAddr>) -> io::Result<()> {
        let mut out = BufWriter::new(File::create(&self.truth)?);
        let ports: Vec<String> = self.ports.iter().map(ToString::to_string).collect();
        writeln!(out, "# What a correct sweep of this lab finds. Fields are separated by one space.")?;
        writeln!(
            out,
            "#   net NET STATE REASON: every port of every address of NET; the first such line decides"
        )?;
        writeln!(out, "#   port NET PORT STATE REASON: that port of every address of NET")?;
        writeln!(out, "#   open ADDR PORT: a real listener")?;
        writeln!(out, "#   default STATE REASON: every target that no line above names")?;
        writeln!(out, "# network {}", self.network)?;
        writeln!(out, "# ports {}", ports.join(","))?;
        writeln!(out, "# seed {}", self.seed)?;
        for line in self.parts.lines(self.network) {
            writeln!(out, "{line}")?;
        }
        for target in open {
            writeln!(out, "open {} {}", target.ip(), target.port())?;
        }
        writeln!(out, "default {CLOSED}")?;
        out.flush()
    }
}

fn parse_number(name: &str, value: &str) -> Result<u64, String> {
    value.parse().map_err(|_| format!("{name} {value}: not a whole number"))
}

fn parse_ports(list: &str) -> Result<Vec<u16>, String> {
    let parse = |text: &str| match text.parse::<u16>() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(format!("--ports {list}: `{text}` is not a port")),
    };
    let ports: BTreeSet<u16> = list.split(',').map(parse).collect::<Result<_, _>>()?;
    Ok(ports.into_iter().collect())
}

/// The listeners and what they wait on.
struct Fleet {
    poll: Poll,
    listeners: Vec<TcpListener>,
}

impl Fleet {
    fn bind(open: &BTreeSet<SocketAddr>) -> Result<Self, String> {
        let poll = Poll::new().map_err(|e| format!("epoll: {e}"))?;
        let mut listeners = Vec::with_capacity(open.len());
        for &target in open {
            // mio listens with a backlog of 1024 or more, which is emptied at once below.
            let mut listener =
                TcpListener::bind(target).map_err(|e| format!("cannot listen on {target}: {e}"))?;
            poll.registry()
                .register(&mut listener, Token(listeners.len()), Interest::READABLE)
                .map_err(|e| format!("epoll: {e}"))?;
            listeners.push(listener);
        }
        Ok(Self { poll, listeners })
    }

    fn serve(&mut self) -> Result<(), String> {
        let mut events = Events::with_capacity(1024);
        loop {
            match self.poll.poll(&mut events, None) {
                Err(e) if e.kind() != io::ErrorKind::Interrupted => return Err(format!("epoll: {e}")),
                _ => {}
            }
            for event in &events {
                drain(&self.listeners[event.token().0]);
            }
        }
    }
}

/// Accepts and closes whatever waits. A connection that went away meanwhile is no reason to stop: only an empty
/// queue is, because the readiness is told once.
fn drain(listener: &TcpListener) {
    loop {
        match listener.accept() {
            Ok(connection) => drop(connection),
            Err(e) if matches!(e.kind(), io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted) => {}
            Err(_) => return,
        }
    }
}
