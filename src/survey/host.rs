//! One host, and what its ports said.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use jiff::Timestamp;

use super::runs::PortRuns;
use super::word::{self, PortState};
use crate::target::state::Reason;

/// A word that many ports share, and that is kept once.
pub type Word = Arc<str>;

/// A host.
///
/// Invariants: `ports` are sorted by [`Port::key`], each once; no port is in two groups, or in a group and in the list.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Host {
    /// Its address, in its one spelling.
    pub ip: IpAddr,
    /// The ports that are told of one by one.
    pub ports: Vec<Port>,
    /// The other ports, in the order in which the source has them.
    pub groups: Vec<Group>,
    /// What else is known of it.
    pub about: Option<Box<About>>,
}

/// What is known of a host beside its ports.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct About {
    /// What it is called.
    pub names: Vec<Name>,
    /// Whether it is there.
    pub status: Option<Status>,
    /// Its hardware address, and who made the device.
    pub hardware: Option<(Box<str>, Option<Box<str>>)>,
    /// When its scan began.
    pub started: Option<Timestamp>,
    /// When its scan ended.
    pub ended: Option<Timestamp>,
    /// Whether the scanner gave it up before it was done.
    pub timed_out: bool,
}

/// A name of a host.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Name {
    /// The name.
    pub name: Box<str>,
    /// Where it is from.
    pub kind: NameKind,
}

/// Where a name is from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NameKind {
    /// Somebody wrote it.
    User,
    /// The domain name system has it for the address.
    Ptr,
    /// That is not said.
    Unsaid,
}

/// Whether a host is there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Status {
    /// What is said.
    pub state: HostState,
    /// What that rests on, in the word of the source.
    pub reason: Word,
    /// Hops that the answer had left, where that is known.
    pub ttl: Option<u8>,
}

/// Whether a host is there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HostState {
    /// It is, or is taken to be.
    Up,
    /// It is not.
    Down,
    /// Nobody knows.
    Unknown,
    /// Nobody asked.
    Skipped,
}

impl HostState {
    const ALL: [HostState; 4] = [HostState::Up, HostState::Down, HostState::Unknown, HostState::Skipped];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            HostState::Up => "up",
            HostState::Down => "down",
            HostState::Unknown => "unknown",
            HostState::Skipped => "skipped",
        }
    }
}

impl FromStr for HostState {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        HostState::ALL.into_iter().find(|state| state.as_str() == word).ok_or(())
    }
}

/// What a port speaks.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Protocol {
    /// RFC 9293.
    Tcp,
    /// RFC 768.
    Udp,
    /// RFC 9260.
    Sctp,
    /// No port at all: the number is that of a protocol above IP.
    Ip,
}

impl Protocol {
    const ALL: [Protocol; 4] = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp, Protocol::Ip];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
            Protocol::Ip => "ip",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Protocol {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        Protocol::ALL.into_iter().find(|protocol| protocol.as_str() == word).ok_or(())
    }
}

/// One port of a host.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Port {
    /// What it speaks.
    pub protocol: Protocol,
    /// Its number.
    pub number: u16,
    /// What is said of it, in the source's sense.
    pub state: PortState,
    /// What that rests on, in the word of the source; empty where it has none.
    pub reason: Word,
    /// Hops that the answer had left, where that is known.
    pub ttl: Option<u8>,
    /// When it was seen.
    pub time: Option<Timestamp>,
    /// Whether a whole handshake was made.
    pub verified: bool,
    /// What else is known of it.
    pub more: Option<Box<More>>,
}

impl Port {
    /// A port of which nothing else is known.
    pub fn new(protocol: Protocol, number: u16, state: PortState, reason: Word) -> Self {
        Port { protocol, number, state, reason, ttl: None, time: None, verified: false, more: None }
    }

    /// What ports are sorted by.
    pub fn key(&self) -> (Protocol, u16) {
        (self.protocol, self.number)
    }

    /// What it comes to in this program's words.
    pub fn sight(&self) -> Sight {
        Sight::new(self.state, &self.reason)
    }
}

/// What is known of a port beside its state.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct More {
    /// The service there, as the source takes it to be.
    pub service: Option<Service>,
    /// What the service says of itself.
    pub banner: Option<Box<str>>,
}

/// A service, in the source's words.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Service {
    /// Its name.
    pub name: Box<str>,
    /// The program.
    pub product: Option<Box<str>>,
    /// Its version.
    pub version: Option<Box<str>>,
    /// What else is said.
    pub extrainfo: Option<Box<str>>,
    /// What runs around it.
    pub tunnel: Option<Box<str>>,
    /// The name that it gives its host.
    pub hostname: Option<Box<str>>,
    /// The operating system.
    pub ostype: Option<Box<str>>,
    /// The kind of device.
    pub devicetype: Option<Box<str>>,
    /// How that was found out: table, probed.
    pub method: Option<Box<str>>,
    /// How sure that is, up to 10.
    pub conf: Option<u8>,
    /// Its names in the Common Platform Enumeration.
    pub cpes: Vec<Box<str>>,
}

/// Ports of a host that are all in one state for one reason.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Group {
    /// What they speak.
    pub protocol: Protocol,
    /// What is said of them.
    pub state: PortState,
    /// What that rests on, in the word of the source; empty where it has none.
    pub reason: Word,
    /// Their numbers.
    pub ports: PortRuns,
}

impl Group {
    /// What each comes to in this program's words.
    pub fn sight(&self) -> Sight {
        Sight::new(self.state, &self.reason)
    }
}

/// What was seen of a port, in this program's words.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Sight {
    /// Its state.
    pub state: PortState,
    /// What that rests on, if the source says so in a word that is known.
    pub reason: Option<Reason>,
}

impl Sight {
    /// By the words of a source.
    pub fn new(state: PortState, reason: &str) -> Self {
        let reason = word::reason(reason);
        Sight { state: state.by_reason(reason), reason }
    }

    /// Whether something has answered, so that somebody is there.
    pub fn is_answer(&self) -> bool {
        matches!(
            self.state,
            PortState::Open | PortState::Closed | PortState::Conflict | PortState::Unfiltered
        )
    }
}

impl fmt::Display for Sight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason {
            Some(reason) => write!(f, "{} ({reason})", self.state),
            None => self.state.fmt(f),
        }
    }
}

impl Host {
    /// A host of which nothing is known.
    pub fn new(ip: IpAddr) -> Self {
        Host { ip, ports: Vec::new(), groups: Vec::new(), about: None }
    }

    /// How many targets are listed.
    pub fn listed(&self) -> u64 {
        self.ports.len() as u64 + self.groups.iter().map(|group| group.ports.len()).sum::<u64>()
    }

    /// Every target that is listed, by protocol and number.
    pub fn sights(&self) -> Vec<(Protocol, u16, Sight)> {
        let mut all = Vec::with_capacity(self.listed() as usize);
        all.extend(self.ports.iter().map(|port| (port.protocol, port.number, port.sight())));
        for group in &self.groups {
            let sight = group.sight();
            all.extend(group.ports.iter().map(|number| (group.protocol, number, sight)));
        }
        all.sort_unstable_by_key(|(protocol, number, _)| (*protocol, *number));
        all
    }

    /// Whether the source says, from more than the asking, that it is there.
    pub fn is_said_up(&self) -> bool {
        let status = self.about.as_ref().and_then(|about| about.status.as_ref());
        status.is_some_and(|status| {
            status.state == HostState::Up && !matches!(&*status.reason, "" | "user-set" | "unknown-response")
        })
    }

    /// Whether the source says that it is not there.
    pub fn is_said_down(&self) -> bool {
        let status = self.about.as_ref().and_then(|about| about.status.as_ref());
        status.is_some_and(|status| status.state == HostState::Down)
    }
}
