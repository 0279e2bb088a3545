//! Lanes: who is reached by which next hop of an interface.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use crate::link::neighbour::{Neighbours, Presence};
use crate::link::next_hop::{HardwareAddress, UNKNOWN};
use crate::link::spans::Spans;
use crate::wire::syn::SynTemplate;

/// A range of addresses of one family, both ends included, and how frames reach them.
#[derive(Clone, Debug)]
pub struct Lane {
    /// The lowest address.
    pub first: IpAddr,
    /// The highest address.
    pub last: IpAddr,
    /// The address that probes there come from.
    pub source: IpAddr,
    /// The MAC that they come from.
    pub source_mac: [u8; 6],
    /// Who takes them.
    pub next_hop: NextHop,
}

impl Lane {
    /// The length of a probe's frame.
    pub fn frame_len(&self) -> usize {
        SynTemplate::ethernet(self.source, self.source_mac, [0; 6]).len()
    }
}

/// Who takes the frames of a lane.
#[derive(Clone, Debug)]
pub enum NextHop {
    /// A router, for all addresses; somebody else may change where it is.
    Router(Arc<HardwareAddress>),
    /// Each target itself, where it is there; somebody else may change where that is, and whether it is.
    Each(Arc<Neighbours>),
}

/// The lanes of one sending half.
#[derive(Debug)]
pub(super) struct Lanes {
    lanes: Vec<Prepared>,
    /// The number of the lane that leads there.
    numbers: Spans<usize>,
}

#[derive(Debug)]
struct Prepared {
    lane: Lane,
    template: SynTemplate,
    /// Where the template hands frames to.
    next_hop: [u8; 6],
}

/// How a probe gets to its target.
pub(super) enum Way<'a> {
    /// By this template, to this address where it is not the template's own.
    Frame(&'a SynTemplate, Option<[u8; 6]>),
    /// Nobody on the network has the address.
    Nobody,
    /// By a router that has not said yet where it is.
    NotYet,
    /// No lane leads there.
    None,
}

impl Lanes {
    /// Lays out a template for each lane.
    pub(super) fn new(lanes: &[Lane]) -> Self {
        let prepare = |lane: &Lane| {
            let next_hop = match &lane.next_hop {
                NextHop::Router(address) => address.get(),
                NextHop::Each(_) => [0; 6],
            };
            let template = SynTemplate::ethernet(lane.source, lane.source_mac, next_hop);
            Prepared { lane: lane.clone(), template, next_hop }
        };
        let numbers = lanes.iter().enumerate().map(|(number, lane)| (lane.first, lane.last, number));
        Lanes { numbers: Spans::new(numbers), lanes: lanes.iter().map(prepare).collect() }
    }

    /// Goes along with routers that have another address by now.
    pub(super) fn refresh(&mut self) {
        for prepared in &mut self.lanes {
            if let NextHop::Router(address) = &prepared.lane.next_hop {
                let now = address.get();
                if now != prepared.next_hop {
                    prepared.next_hop = now;
                    prepared.template.set_next_hop(now);
                }
            }
        }
    }

    /// The address that probes to `ip` come from.
    #[inline]
    pub(super) fn source(&self, ip: IpAddr) -> IpAddr {
        self.at(ip).map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |prepared| prepared.lane.source)
    }

    /// How a probe to `ip` gets there. By reference: a copy made for the call would be read in other pieces than it was
    /// written in, and so not before everything written earlier has left the processor; which is, over XDP, a ring that
    /// another processor had last.
    #[inline]
    pub(super) fn way(&self, ip: &IpAddr) -> Way<'_> {
        let Some(prepared) = self.at(*ip) else { return Way::None };
        match &prepared.lane.next_hop {
            NextHop::Router(_) if prepared.next_hop == UNKNOWN => Way::NotYet,
            NextHop::Router(_) => Way::Frame(&prepared.template, None),
            NextHop::Each(neighbours) => match neighbours.presence(*ip) {
                Presence::At(mac) => Way::Frame(&prepared.template, Some(mac)),
                Presence::Nobody => Way::Nobody,
                // Whoever lays out lanes makes sure that everybody in them is known.
                Presence::NotKnown => Way::None,
            },
        }
    }

    #[inline]
    fn at(&self, ip: IpAddr) -> Option<&Prepared> {
        self.lanes.get(*self.numbers.at(ip)?)
    }
}
