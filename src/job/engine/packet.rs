//! The packet engine put together: for each path its first step, for each device its link.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use super::advice::takes_frames;
use super::devices::open_devices;
use super::{Engine, OpenError, Wanted, fence};
use crate::job::listener::{Aside, waiting};
use crate::job::vitals;
use crate::link::clock::{Clock, Monotonic};
use crate::link::lane::{Lane, NextHop};
use crate::link::neighbour::{self, FindOptions, Neighbours};
use crate::link::next_hop::{HardwareAddress, UNKNOWN};
use crate::link::packet::asker::Asker;
use crate::link::packet::{Knowledge, PacketOptions, PacketReceive, PacketTransmit};
use crate::link::raw::{RawLane, RawOptions, RawTransmit};
use crate::link::route::{Hop, HopKind};
use crate::link::switch::{Switch, Track};
use crate::link::watcher::{Watched, Watcher};
use crate::link::xdp::{XdpReceive, host};
use crate::link::{LinkError, Receive, Transmit};
use crate::sweep::cookie::SourcePorts;
use crate::sweep::report::Vantage;
use crate::sweep::run::Ends;
use crate::sync::Ordering;
use crate::target::address::{address_of, number_of};

/// How long the next hop may take to say where it is.
const NEIGHBOUR_PATIENCE: Duration = Duration::from_secs(2);

/// Questions a second for the hosts of a local network, at most: each disturbs all of them.
const QUESTIONS_PPS: NonZeroU32 = NonZeroU32::new(2000).expect("not zero");

/// Addresses of one local network, at most.
const MOST_NEIGHBOURS: u128 = 1 << 17;

/// Between two tries at finding a host of a local network.
const QUESTION_SPACE: Duration = Duration::from_millis(500);

/// What carries frames to devices and back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Carrier {
    /// A packet socket.
    Socket,
    /// XDP.
    Xdp,
}

impl Carrier {
    fn engine(self) -> &'static str {
        match self {
            Carrier::Socket => "packet",
            Carrier::Xdp => "xdp",
        }
    }
}

/// Bytes of the receive ring for what comes in by other devices than those with an XDP program: 25,000 replies, which
/// is some 100 ms of what a packet socket can carry.
const ELSEWHERE_RING_BYTES: usize = 4 << 20;

/// Finds the first step of each path, and opens the links that the paths need.
pub(super) fn open(
    wanted: &Wanted<'_>,
    carrier: Carrier,
    clock: Monotonic,
    why: &str,
    aside: &mut dyn Aside,
) -> Result<Engine, OpenError> {
    // Nobody waits for a local network to be asked through, to be told then what was missing from the beginning.
    if carrier == Carrier::Xdp && wanted.routes.hops().iter().any(takes_frames) {
        host::require()?;
    }
    let (first, last) = vitals::local_port_range().unwrap_or((32_768, 60_999));
    let source_ports = SourcePorts::beside(first, last).ok_or(OpenError::NoPorts { first, last })?;
    let knowledge = Knowledge::new();
    let block = (source_ports.first, source_ports.last());
    // First of all, because nothing else needs as much privilege.
    let hear = |deaf_to: &[u32], ring_bytes: usize| {
        PacketReceive::open(
            block,
            ring_bytes.min(wanted.receive_ring_bytes),
            deaf_to,
            knowledge.clone(),
            clock,
        )
    };
    let receive = hear(&[], wanted.receive_ring_bytes)?;
    let paths = wanted.routes.hops().iter().map(|hop| find_path(wanted, hop, clock, aside));
    let paths = paths.collect::<Result<Vec<_>, _>>()?;
    // One gateway that is silent leaves its own targets unknown. Where there is no other way, nothing could be seen.
    if let Some(first) = paths.first().filter(|_| paths.iter().all(Path::is_silent)) {
        return Err(neighbour::silence(first.hop, first.hop.next_hop.unwrap_or(first.hop.source)).into());
    }
    let mut said = why.to_owned();
    let (transmit, receive) = match carrier {
        Carrier::Socket => {
            let open_all = || open_links(wanted, &paths, &knowledge, clock);
            let transmit = (0..wanted.senders).map(|_| open_all()).collect::<Result<_, OpenError>>()?;
            (transmit, Box::new(receive) as Box<dyn Receive>)
        }
        Carrier::Xdp => {
            // That one has only shown, before anything was sent, that it may be opened.
            drop(receive);
            let opened = open_devices(wanted, &paths, block, &knowledge, clock)?;
            said.push_str(&opened.about());
            let deaf_to: Vec<u32> = opened.devices.iter().map(|(index, _)| *index).collect();
            let devices = opened.devices.into_iter().map(|(_, device)| device).collect();
            let receive = XdpReceive::new(devices, hear(&deaf_to, ELSEWHERE_RING_BYTES)?, clock);
            (vec![opened.transmit], Box::new(receive) as Box<dyn Receive>)
        }
    };
    let watched: Vec<Watched> = paths.iter().map(Path::watched).collect();
    let guard = Box::new(Watcher::new(&watched, questions_pps(wanted), clock.now())?);
    // With several paths each has its own record at the end.
    let only = wanted.routes.hops().first().filter(|_| paths.len() == 1);
    let vantage = Vantage {
        host: vitals::hostname(),
        engine: carrier.engine().into(),
        engine_reason: said,
        interface: only.map(|hop| hop.interface.name.clone()),
        source: only.map(|hop| hop.source),
        next_hop: only.and_then(|hop| hop.next_hop),
    };
    let ends = Ends { transmit, receive, guard };
    Ok(Engine { ends, vantage, source_ports, verifies: false, mute: mute(&paths) })
}

/// The numbers of the paths on whose local network nobody is there, and where nobody else on the same interface has
/// answered either. It may well be that nothing gets through: a wrong VLAN, or a switch that does not forward yet.
fn mute(paths: &[Path<'_>]) -> Vec<usize> {
    let is_alive = |path: &Path<'_>| match &path.step {
        FirstStep::Router { answers, address } => *answers && address.get() != UNKNOWN,
        FirstStep::Neighbours(neighbours) => neighbours.found() > 0,
        FirstStep::Raw => false,
    };
    let has_witness = |path: &Path<'_>| {
        paths.iter().any(|other| other.hop.interface.index == path.hop.interface.index && is_alive(other))
    };
    let is_mute = |path: &Path<'_>| matches!(path.step, FirstStep::Neighbours(_)) && !has_witness(path);
    paths.iter().enumerate().filter(|(_, path)| is_mute(path)).map(|(number, _)| number).collect()
}

/// One path, and what was found out about its first step.
pub(super) struct Path<'a> {
    pub hop: &'a Hop,
    step: FirstStep,
}

enum FirstStep {
    /// Frames to a router. Where it answers questions, it can be watched.
    Router { address: Arc<HardwareAddress>, answers: bool },
    /// Frames to each target that is there.
    Neighbours(Arc<Neighbours>),
    /// Packets that the kernel routes.
    Raw,
}

impl Path<'_> {
    /// Whether it leads to a router that has not answered.
    fn is_silent(&self) -> bool {
        matches!(&self.step, FirstStep::Router { address, .. } if address.get() == UNKNOWN)
    }

    fn watched(&self) -> Watched {
        let router = match (&self.step, self.hop.next_hop) {
            (FirstStep::Router { address, answers: true }, Some(ip)) => Some((ip, Arc::clone(address))),
            _ => None,
        };
        let hosts = match &self.step {
            FirstStep::Neighbours(neighbours) => Some(Arc::clone(neighbours)),
            _ => None,
        };
        Watched { hop: self.hop.clone(), router, hosts }
    }
}

/// Finds out where the first step of a path leads. On a local network that means to ask for every host.
fn find_path<'a>(
    wanted: &Wanted<'_>,
    hop: &'a Hop,
    clock: Monotonic,
    aside: &mut dyn Aside,
) -> Result<Path<'a>, OpenError> {
    let step = match hop.kind {
        HopKind::Gateway if hop.interface.has_neighbours() => {
            let target = hop.next_hop.unwrap_or(hop.source);
            let resolved = neighbour::resolve(hop, target, NEIGHBOUR_PATIENCE, &clock)?;
            let address =
                resolved.map_or_else(HardwareAddress::unknown, |found| HardwareAddress::new(found.mac));
            // Whoever is silent now is asked on.
            FirstStep::Router {
                address: Arc::new(address),
                answers: resolved.is_none_or(|found| found.answers),
            }
        }
        HopKind::OnLink if hop.interface.has_neighbours() => {
            FirstStep::Neighbours(Arc::new(find_neighbours(wanted, hop, clock, aside)?))
        }
        _ => FirstStep::Raw,
    };
    Ok(Path { hop, step })
}

/// How many questions a second may disturb the hosts of local networks: never more than probes.
fn questions_pps(wanted: &Wanted<'_>) -> NonZeroU32 {
    wanted.rate.map_or(QUESTIONS_PPS, |rate| rate.min(QUESTIONS_PPS))
}

fn find_neighbours(
    wanted: &Wanted<'_>,
    hop: &Hop,
    clock: Monotonic,
    aside: &mut dyn Aside,
) -> Result<Neighbours, OpenError> {
    let spans = || wanted.routes.spans().filter(|(.., other)| *other == hop);
    let count: u128 = spans().map(|(first, last, _)| number_of(last) - number_of(first) + 1).sum();
    let interface = || hop.interface.name.clone();
    if count > MOST_NEIGHBOURS {
        return Err(OpenError::TooManyNeighbours { interface: interface(), count, most: MOST_NEIGHBOURS });
    }
    let mut addresses =
        spans().flat_map(|(first, last, _)| (number_of(first)..=number_of(last)).map(address_of));
    let options = FindOptions {
        rate_pps: questions_pps(wanted),
        tries: u32::from(wanted.tries) + 1,
        space: QUESTION_SPACE,
    };
    let stop = || wanted.interrupt.load(Ordering::Relaxed);
    let doing = format!("asking who is there on {}", interface());
    let found = waiting(aside, &doing, || {
        let mut asker = Asker::open(&hop.interface)?;
        neighbour::find_all(&mut asker, hop.source, &mut addresses, &options, &clock, &stop)
    })?;
    if stop() {
        return Err(OpenError::Interrupted { doing });
    }
    if found.not_known() > 0 {
        return Err(OpenError::NeighboursUnknown { interface: interface() });
    }
    Ok(found)
}

/// Opens one sending half of packet sockets that reaches all targets.
fn open_links(
    wanted: &Wanted<'_>,
    paths: &[Path<'_>],
    knowledge: &Knowledge,
    clock: Monotonic,
) -> Result<Box<dyn Transmit>, OpenError> {
    open_half(wanted, paths, |options| {
        Ok(Box::new(PacketTransmit::open(&options, knowledge.clone(), clock)?))
    })
}

/// Opens one sending half that reaches all targets: by `open_frames` where frames are made here.
pub(super) fn open_half(
    wanted: &Wanted<'_>,
    paths: &[Path<'_>],
    mut open_frames: impl FnMut(PacketOptions) -> Result<Box<dyn Transmit>, LinkError>,
) -> Result<Box<dyn Transmit>, OpenError> {
    let (links, tracks) = plan_links(wanted, paths);
    let fence = fence(wanted.scope);
    let open = |plan: LinkPlan| match plan {
        LinkPlan::Packet { index, name, lanes } => open_frames(PacketOptions {
            interface_index: index,
            interface: name,
            lanes,
            fence: fence.clone(),
        }),
        LinkPlan::Raw { interface, lanes } => {
            let options = RawOptions { lanes, interface, fence: fence.clone() };
            Ok(Box::new(RawTransmit::open(&options)?) as Box<dyn Transmit>)
        }
    };
    let mut halves = links.into_iter().map(open).collect::<Result<Vec<_>, _>>()?;
    // The usual case needs no switch.
    if halves.len() == 1
        && let Some(only) = halves.pop()
    {
        return Ok(only);
    }
    Ok(Box::new(Switch::new(tracks, halves)))
}

/// Which links there are to be, and who is reached by which.
fn plan_links(wanted: &Wanted<'_>, paths: &[Path<'_>]) -> (Vec<LinkPlan>, Vec<Track>) {
    let mut links: Vec<LinkPlan> = Vec::new();
    let mut tracks = Vec::new();
    for (first, last, hop) in wanted.routes.spans() {
        let Some(path) = paths.iter().find(|path| path.hop == hop) else { continue };
        let plan = LinkPlan::of(path);
        let link = links.iter().position(|known| known.is_same_device(&plan)).unwrap_or_else(|| {
            links.push(plan);
            links.len() - 1
        });
        links[link].add(path, first, last);
        tracks.push(Track { first, last, link });
    }
    (links, tracks)
}

/// A link that is to be opened.
enum LinkPlan {
    Packet { index: u32, name: String, lanes: Vec<Lane> },
    Raw { interface: Option<(u32, String)>, lanes: Vec<RawLane> },
}

impl LinkPlan {
    fn of(path: &Path<'_>) -> Self {
        let interface = &path.hop.interface;
        let (index, name) = (interface.index, interface.name.clone());
        match path.step {
            // The kernel decides by itself how it reaches its own addresses.
            FirstStep::Raw if path.hop.kind == HopKind::Local => {
                LinkPlan::Raw { interface: None, lanes: Vec::new() }
            }
            FirstStep::Raw => LinkPlan::Raw { interface: Some((index, name)), lanes: Vec::new() },
            _ => LinkPlan::Packet { index, name, lanes: Vec::new() },
        }
    }

    fn is_same_device(&self, other: &LinkPlan) -> bool {
        match (self, other) {
            (LinkPlan::Packet { index, .. }, LinkPlan::Packet { index: other, .. }) => index == other,
            (LinkPlan::Raw { interface, .. }, LinkPlan::Raw { interface: other, .. }) => interface == other,
            _ => false,
        }
    }

    fn add(&mut self, path: &Path<'_>, first: IpAddr, last: IpAddr) {
        let source = path.hop.source;
        match self {
            LinkPlan::Raw { lanes, .. } => lanes.push(RawLane { first, last, source }),
            LinkPlan::Packet { lanes, .. } => {
                let next_hop = match &path.step {
                    FirstStep::Router { address, .. } => NextHop::Router(Arc::clone(address)),
                    FirstStep::Neighbours(neighbours) => NextHop::Each(Arc::clone(neighbours)),
                    FirstStep::Raw => return,
                };
                let source_mac = path.hop.interface.mac.unwrap_or_default();
                lanes.push(Lane { first, last, source, source_mac, next_hop });
            }
        }
    }
}
