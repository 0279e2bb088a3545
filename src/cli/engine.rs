//! Which engine runs, and why.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::time::Duration;

use super::{Failure, vitals};
use crate::config::options::EngineChoice;
use crate::link::clock::Monotonic;
use crate::link::connect::{self, ConnectOptions};
use crate::link::fence::Fence;
use crate::link::neighbour;
use crate::link::packet::{self, Lane, PacketOptions};
use crate::link::route::{Hop, HopKind, RoutePlan};
use crate::link::{LinkError, Transmit};
use crate::sweep::cookie::SourcePorts;
use crate::sweep::report::Vantage;
use crate::sweep::run::Ends;
use crate::target::scope::Scope;

/// How long the next hop may take to say where it is.
const NEIGHBOUR_PATIENCE: Duration = Duration::from_secs(2);

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
}

/// The engine that would run, and why.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Decision {
    /// Packet sockets.
    Packet(String),
    /// The kernel's own connections.
    Connect(String),
}

/// Decides without opening anything.
///
/// # Errors
/// When the engine that was asked for cannot do it.
pub fn decide(choice: EngineChoice, routes: &RoutePlan, may_open_packet: bool) -> Result<Decision, Failure> {
    let obstacle = obstacle(routes);
    match (choice, obstacle) {
        (EngineChoice::Connect, _) => Ok(Decision::Connect("asked for".into())),
        (EngineChoice::Packet, Some(obstacle)) => Err(format!(
            "the packet engine cannot sweep this: {obstacle}; use --engine connect, or auto, which chooses by itself"
        )
        .into()),
        (EngineChoice::Packet, None) => Ok(Decision::Packet("asked for".into())),
        (EngineChoice::Auto, Some(obstacle)) => Ok(Decision::Connect(obstacle)),
        (EngineChoice::Auto, None) if may_open_packet => {
            Ok(Decision::Packet("the fastest that this host can run".into()))
        }
        (EngineChoice::Auto, None) => {
            Ok(Decision::Connect("this user may not open packet sockets (CAP_NET_RAW)".into()))
        }
    }
}

/// Decides, and opens the link.
///
/// # Errors
/// When the engine cannot be opened.
pub fn open(wanted: &Wanted<'_>, clock: Monotonic) -> Result<Engine, Failure> {
    match decide(wanted.choice, wanted.routes, vitals::has_net_raw())? {
        Decision::Connect(why) => open_connect(wanted, clock, why),
        Decision::Packet(why) => match open_packet(wanted, clock, &why) {
            // Having the capability is not always enough (seccomp, user namespaces): then the kernel's word counts.
            Err(OpenError::Link(LinkError::System { cause, .. }))
                if wanted.choice == EngineChoice::Auto && cause.kind() == ErrorKind::PermissionDenied =>
            {
                open_connect(wanted, clock, "this user may not open packet sockets".into())
            }
            result => result.map_err(Into::into),
        },
    }
}

/// What keeps the packet engine from sweeping these routes, if anything does.
fn obstacle(routes: &RoutePlan) -> Option<String> {
    let mut interfaces = BTreeSet::new();
    for (first, _, hop) in routes.spans() {
        if first.is_ipv6() {
            return Some(format!("{first} is IPv6, which the packet engine does not sweep yet"));
        }
        match hop.kind {
            HopKind::Local => return Some(format!("{first} is this host's own address")),
            HopKind::OnLink => {
                return Some(format!("{first} is on the local network of {}", hop.interface.name));
            }
            HopKind::Gateway if !hop.interface.has_neighbours() => {
                return Some(format!("{} is no Ethernet-like interface", hop.interface.name));
            }
            HopKind::Gateway => interfaces.insert(hop.interface.name.as_str()),
        };
    }
    (interfaces.len() > 1).then(|| {
        let names: Vec<&str> = interfaces.into_iter().collect();
        format!("its targets are reached by several interfaces ({})", names.join(", "))
    })
}

#[derive(Debug, thiserror::Error)]
enum OpenError {
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error(
        "the kernel's own port range {first}-{last} leaves no block for probes; narrow it, such as \
         sysctl net.ipv4.ip_local_port_range=\"32768 60999\""
    )]
    NoPorts { first: u16, last: u16 },
    #[error("the packet engine found no way to sweep; this is a bug, please report it")]
    NoHop,
}

fn open_packet(wanted: &Wanted<'_>, clock: Monotonic, why: &str) -> Result<Engine, OpenError> {
    let (first, last) = vitals::local_port_range().unwrap_or((32_768, 60_999));
    let source_ports = SourcePorts::beside(first, last).ok_or(OpenError::NoPorts { first, last })?;
    let lanes = lanes(wanted.routes, clock)?;
    let hop: &Hop = wanted.routes.hops().first().ok_or(OpenError::NoHop)?;
    let options = PacketOptions {
        interface_index: hop.interface.index,
        interface: hop.interface.name.clone(),
        lanes,
        fence: fence(wanted.scope),
        source_ports: (source_ports.first, source_ports.last()),
        receive_ring_bytes: wanted.receive_ring_bytes,
    };
    let (transmit, receive) = packet::open(&options, wanted.senders, clock)?;
    let vantage = Vantage {
        host: vitals::hostname(),
        engine: "packet".into(),
        engine_reason: why.to_owned(),
        interface: Some(hop.interface.name.clone()),
        source: Some(hop.source),
        next_hop: hop.next_hop,
    };
    let boxed = |half| Box::new(half) as Box<dyn Transmit>;
    let ends = Ends { transmit: transmit.into_iter().map(boxed).collect(), receive: Box::new(receive) };
    Ok(Engine { ends, vantage, source_ports, verifies: false })
}

fn lanes(routes: &RoutePlan, clock: Monotonic) -> Result<Vec<Lane>, OpenError> {
    let mut lanes = Vec::new();
    for (first, last, hop) in routes.spans() {
        let (IpAddr::V4(first), IpAddr::V4(last), IpAddr::V4(source)) = (first, last, hop.source) else {
            return Err(OpenError::NoHop);
        };
        lanes.push(Lane {
            first,
            last,
            source,
            source_mac: hop.interface.mac.ok_or(OpenError::NoHop)?,
            next_hop_mac: neighbour::resolve(hop, IpAddr::V4(first), NEIGHBOUR_PATIENCE, &clock)?,
        });
    }
    Ok(lanes)
}

fn open_connect(wanted: &Wanted<'_>, clock: Monotonic, why: String) -> Result<Engine, Failure> {
    let mut options = ConnectOptions::new(fence(wanted.scope));
    options.interface = wanted.interface.map(str::to_owned);
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
    let ends = Ends { transmit: vec![Box::new(transmit)], receive: Box::new(receive) };
    Ok(Engine { ends, vantage, source_ports, verifies: true })
}

fn fence(scope: &Scope) -> Fence {
    Fence::new(scope.ends(), scope.ports().iter())
}
