//! Which engine runs, and why.

pub mod advice;
mod devices;
mod packet;

use std::io::ErrorKind;
use std::num::NonZeroU32;

use self::packet::Carrier;
use super::listener::Aside;
use super::vitals;
use crate::config::options::EngineChoice;
use crate::link::LinkError;
use crate::link::clock::{Clock, Monotonic};
use crate::link::connect::{self, ConnectOptions};
use crate::link::fence::Fence;
use crate::link::guard::{Guard, NoGuard};
use crate::link::route::{HopKind, RoutePlan};
use crate::link::watcher::{Watched, Watcher};
use crate::sweep::cookie::SourcePorts;
use crate::sweep::report::Vantage;
use crate::sweep::run::Ends;
use crate::sync::SignalFlag;
use crate::target::scope::Scope;

/// An open link, and what is said of it.
pub struct Engine {
    /// The ends of the link.
    pub ends: Ends,
    /// Where from, by which engine, and why by that one.
    pub vantage: Vantage,
    /// Where probes come from.
    pub source_ports: SourcePorts,
    /// Whether an open target has been through a whole handshake.
    pub verifies: bool,
    /// The paths on whose local network nobody at all has answered.
    pub mute: Vec<usize>,
}

/// What is wanted of the engine.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Which engine.
    pub choice: EngineChoice,
    /// What it is to probe.
    pub scope: &'a Scope,
    /// The way there.
    pub routes: &'a RoutePlan,
    /// The interface that was asked for.
    pub interface: Option<&'a str>,
    /// Sending threads of the packet engine.
    pub senders: usize,
    /// Size of the receive ring.
    pub receive_ring_bytes: usize,
    /// Probes for a target that does not answer; a host of a local network is asked for as often, and once more.
    pub tries: u8,
    /// Probes a second.
    pub rate: Option<NonZeroU32>,
    /// Raised when somebody wants to stop.
    pub interrupt: &'a SignalFlag,
}

/// The engine that would run, and why.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Decision {
    /// Packet sockets.
    Packet(String),
    /// Frames past the network stack.
    Xdp(String),
    /// The kernel's own connections.
    Connect(String),
}

/// Why an engine cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The link cannot be opened, or what is known of it cannot be had.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// Answers to probes could not be told from those to connections.
    #[error(
        "the kernel's own port range {first}-{last} leaves no block for probes; narrow it, such as \
         sysctl net.ipv4.ip_local_port_range=\"32768 60999\""
    )]
    NoPorts {
        /// The first port that the kernel gives to connections.
        first: u16,
        /// The last.
        last: u16,
    },
    /// A local network loses too much to say of anybody that they are not there.
    #[error(
        "which hosts are there on {interface} cannot be told: too many of their answers were lost; sweep again with a \
         lower --rate, or when the network is quieter"
    )]
    NeighboursUnknown {
        /// The interface on that network.
        interface: String,
    },
    /// A local network is too large to ask for each of its hosts.
    #[error(
        "{count} addresses on the local network of {interface} are more than can be asked for by ARP or neighbour discovery \
         in a minute; name fewer (at most {most}), or sweep with --engine connect"
    )]
    TooManyNeighbours {
        /// The interface on that network.
        interface: String,
        /// Addresses that were to be swept there.
        count: u128,
        /// Addresses that may be.
        most: u128,
    },
    /// Somebody stopped it when something had been sent, and before there was anything to report.
    #[error("interrupted while {doing}; no port was probed")]
    Interrupted {
        /// While what.
        doing: String,
    },
}

/// Decides without opening anything.
pub fn decide(choice: EngineChoice, may_open_packet: bool) -> Decision {
    match choice {
        EngineChoice::Connect => Decision::Connect("asked for".into()),
        EngineChoice::Packet => Decision::Packet("asked for".into()),
        EngineChoice::Xdp => Decision::Xdp("asked for".into()),
        EngineChoice::Auto if may_open_packet => {
            Decision::Packet("the fastest that this host can run".into())
        }
        EngineChoice::Auto => Decision::Connect("this user may not open packet sockets (CAP_NET_RAW)".into()),
    }
}

/// Decides, and opens the link. To ask who is there on a local network takes a while, of which `aside` hears.
///
/// # Errors
/// When the engine cannot be opened.
pub fn open(wanted: &Wanted<'_>, clock: Monotonic, aside: &mut dyn Aside) -> Result<Engine, OpenError> {
    match decide(wanted.choice, vitals::has_net_raw()) {
        Decision::Connect(why) => Ok(open_connect(wanted, clock, why)?),
        Decision::Xdp(why) => packet::open(wanted, Carrier::Xdp, clock, &why, aside),
        Decision::Packet(why) => match packet::open(wanted, Carrier::Socket, clock, &why, aside) {
            // Having the capability is not always enough (seccomp, user namespaces): then the kernel's word counts.
            Err(OpenError::Link(LinkError::System { cause, .. }))
                if wanted.choice == EngineChoice::Auto && cause.kind() == ErrorKind::PermissionDenied =>
            {
                Ok(open_connect(wanted, clock, "this user may not open packet sockets".into())?)
            }
            result => result,
        },
    }
}

fn open_connect(wanted: &Wanted<'_>, clock: Monotonic, why: String) -> Result<Engine, LinkError> {
    let mut options = ConnectOptions::new(fence(wanted.scope));
    options.interface = wanted.interface.map(str::to_owned);
    let on_link = wanted.routes.spans().filter(|(.., hop)| hop.kind == HopKind::OnLink);
    options.on_link = on_link.map(|(first, last, _)| (first, last)).collect();
    let (transmit, receive) = connect::open(options, clock)?;
    let vantage = Vantage {
        host: vitals::hostname(),
        engine: "connect".into(),
        engine_reason: why,
        interface: wanted.interface.map(str::to_owned),
        source: None,
        next_hop: None,
    };
    // The kernel chooses the real ports; these only make the cookie's numbers.
    let source_ports = SourcePorts { first: 16_384, count: 16_384 };
    let ends = Ends {
        transmit: vec![Box::new(transmit)],
        receive: Box::new(receive),
        guard: watch(wanted.routes, clock),
    };
    Ok(Engine { ends, vantage, source_ports, verifies: true, mute: Vec::new() })
}

/// Watches links and addresses, which needs no privilege. To ask routers would; the kernel looks after them by itself.
/// Where a sandbox does not even let us listen to the kernel, the sweep does without a guard, as it must.
fn watch(routes: &RoutePlan, clock: Monotonic) -> Box<dyn Guard> {
    let paths: Vec<Watched> = routes.hops().iter().map(Watched::without_questions).collect();
    match Watcher::new(&paths, NonZeroU32::MIN, clock.now()) {
        Ok(watcher) => Box::new(watcher),
        Err(_) => Box::new(NoGuard { paths: paths.len() }),
    }
}

fn fence(scope: &Scope) -> Fence {
    Fence::new(scope.ends(), scope.ports().iter())
}
