//! What one run of any scanner saw: this program's or somebody else's, in one form.
//!
//! A file of results proves less than it seems to. What is listed was seen; what is not listed was seen to be otherwise
//! only where the file says what was looked at, and that the run came to its end. So every survey has its [`Coverage`]
//! and its [`Ending`], and whoever draws conclusions from what is missing has to ask both.
//!
//! Sixteen million targets must be no burden: open ports are kept one by one, and the others of a host in groups of all
//! that are in one state for one reason.

pub mod builder;
pub mod host;
pub mod runs;
pub mod word;

use jiff::Timestamp;
use ulid::Ulid;

use self::host::{Host, Protocol};
use self::runs::PortRuns;
use crate::sweep::ledger::Ledger;
use crate::target::scope::Scope;
use crate::target::state::State;

/// What one run saw.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Survey {
    /// Where that is from.
    pub source: Source,
    /// The hosts that are listed, by address, each once.
    pub hosts: Vec<Host>,
    /// What was looked at.
    pub coverage: Coverage,
    /// Whether the run came to its end.
    pub ending: Ending,
    /// What the source says that is not in here, in words for people.
    pub notes: Vec<String>,
}

/// Where a survey is from. Texts of it are foreign, and spelt out where that is needed.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Source {
    /// The program that looked: nmap, masscan, zmap, naabu, portreeve.
    pub tool: String,
    /// Its version.
    pub version: Option<String>,
    /// The file, as it was named.
    pub file: Option<String>,
    /// How the program was called.
    pub args: Option<String>,
    /// When it began.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// The kinds of its scans.
    pub scans: Vec<Scan>,
    /// How many addresses it counts.
    pub counts: Option<HostCounts>,
    /// The identifier of the sweep, if it was one of this program's.
    pub sweep: Option<Ulid>,
}

/// One kind of scan, and the ports that it was for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Scan {
    /// How it probes: syn, connect, udp.
    pub kind: String,
    /// What it probes.
    pub protocol: Protocol,
    /// The ports of each host.
    pub ports: PortRuns,
}

/// Addresses that a run counts.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct HostCounts {
    /// Those that are taken to be there.
    pub up: u64,
    /// Those that are not.
    pub down: u64,
    /// Both.
    pub total: u64,
}

/// What a run looked at.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Coverage {
    /// Nothing says what was looked at beside what is listed.
    Unknown,
    /// All that was looked at is listed.
    Listed,
    /// All of a scope was looked at, and what is not listed is accounted for.
    Declared(Box<Declared>),
}

/// A scope that was looked at as a whole.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Declared {
    /// The scope.
    pub scope: Scope,
    /// The counts of states of all its targets.
    pub books: Ledger,
    /// The states that targets may have that are not listed. Open, conflict and unknown are never among them.
    pub rest: Vec<State>,
}

/// Whether a run came to its end.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Ending {
    /// It did, and the source proves it.
    Complete,
    /// It did not, or not everything can be vouched for: why.
    Incomplete(String),
    /// The source cannot tell.
    Unsaid,
}

impl Survey {
    /// Whether the run is known to have looked at all that it was to look at.
    pub fn is_whole(&self) -> bool {
        self.ending == Ending::Complete && self.coverage != Coverage::Unknown
    }

    /// How many targets are listed.
    pub fn listed(&self) -> u64 {
        self.hosts.iter().map(Host::listed).sum()
    }
}

impl Coverage {
    /// The states that a target may have that is not listed; `None` where it was not looked at, as far as is known.
    pub fn rest(&self, ip: std::net::IpAddr, protocol: Protocol, port: u16) -> Option<&[State]> {
        match self {
            Coverage::Declared(declared) if protocol == Protocol::Tcp => {
                declared.scope.index_of(ip, port).map(|_| declared.rest.as_slice())
            }
            _ => None,
        }
    }
}
