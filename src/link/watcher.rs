//! The guard on real networks: hears from the kernel of links and addresses, and asks each next hop a few times a
//! second whether it is still there; where the targets themselves are the next hops, each of them in its turn.
//!
//! The kernel's own table of neighbours tells too little: our frames go past it, so a router that fails over without
//! a word stays in it as it was for minutes. The question is the one that the kernel itself uses to make sure of a
//! neighbour, an ARP request or a neighbour solicitation to its hardware address alone; only when that stays without an
//! answer is everybody asked.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use netlink_packet_core::NlasIterator;
use netlink_packet_route::address::AddressHeader;

use super::LinkError;
use super::clock::Tick;
use super::guard::{Guard, Trouble, Word};
use super::interface::{self, Interface, own_addresses};
use super::neighbour::{Neighbours, Presence, source_of_questions};
use super::netlink::{Heard, News};
use super::next_hop::{HardwareAddress, UNKNOWN};
use super::packet::asker::Asker;
use super::roll::{BROADCAST_AFTER, Change, INTERVAL, Roll};
use super::route::Hop;
use crate::wire::neighbour::NeighbourAnswer;

/// One path to be watched.
#[derive(Clone, Debug)]
pub struct Watched {
    /// Its first step.
    pub hop: Hop,
    /// The router's address, if there is one that answers questions.
    pub router: Option<(IpAddr, Arc<HardwareAddress>)>,
    /// The hosts that are there, if the path leads to the network of the interface.
    pub hosts: Option<Arc<Neighbours>>,
}

impl Watched {
    /// A path of which only the link and the source address are watched.
    pub fn without_questions(hop: &Hop) -> Self {
        Watched { hop: hop.clone(), router: None, hosts: None }
    }
}

/// Watches the paths of a sweep.
pub struct Watcher {
    news: News,
    paths: Vec<Path>,
    askers: Vec<Asker>,
    /// Whether what the kernel says must be read anew, because some of it was missed.
    stale: bool,
}

struct Path {
    hop: Hop,
    running: bool,
    has_source: bool,
    router: Option<Router>,
    hosts: Option<Hosts>,
}

/// The hosts on the network of an interface.
struct Hosts {
    /// The number of the asker on its interface.
    asker: usize,
    neighbours: Arc<Neighbours>,
    roll: Roll,
    /// What the asker has lost so far.
    losses: u64,
    /// What is to be said of single hosts.
    news: Vec<Word>,
}

/// A router that is asked whether it is still there.
struct Router {
    /// The number of the asker on its interface.
    asker: usize,
    source: IpAddr,
    ip: IpAddr,
    address: Arc<HardwareAddress>,
    /// When the last question was asked, and whether it has been answered.
    asked: Option<Tick>,
    answered: bool,
    /// Questions in a row without an answer.
    missed: u32,
    /// When the last question that was answered had been asked.
    good_until: Tick,
    /// Another station that answered in its name since the last question.
    other: Option<[u8; 6]>,
    moved: bool,
}

impl Watcher {
    /// Begins to watch. The hosts of local networks are asked no more than so many questions a second, in all.
    ///
    /// # Errors
    /// When the kernel's news cannot be heard, or without CAP_NET_RAW where somebody is to be asked.
    pub fn new(paths: &[Watched], questions_pps: NonZeroU32, now: Tick) -> Result<Self, LinkError> {
        // Before anything is read, so that no change falls between the two.
        let news = News::of(libc::RTMGRP_LINK | libc::RTMGRP_IPV4_IFADDR | libc::RTMGRP_IPV6_IFADDR)?;
        let mut watcher = Watcher { news, paths: Vec::new(), askers: Vec::new(), stale: true };
        let networks = paths.iter().filter(|path| path.hosts.is_some()).count() as u32;
        let share_pps = questions_pps.get().checked_div(networks).and_then(NonZeroU32::new);
        let share_pps = share_pps.unwrap_or(NonZeroU32::MIN);
        for path in paths {
            let router = path.router.as_ref().map(|router| watcher.router(&path.hop, router, now));
            let router = router.transpose()?;
            let hosts = path.hosts.as_ref().map(|hosts| watcher.hosts(&path.hop, hosts, share_pps, now));
            let hosts = hosts.transpose()?;
            watcher.paths.push(Path {
                hop: path.hop.clone(),
                running: true,
                has_source: true,
                router,
                hosts,
            });
        }
        Ok(watcher)
    }

    fn hosts(
        &mut self,
        hop: &Hop,
        neighbours: &Arc<Neighbours>,
        rate: NonZeroU32,
        now: Tick,
    ) -> Result<Hosts, LinkError> {
        let asker = self.asker_of(hop)?;
        let roll = Roll::new(neighbours.that_answer(), rate, now);
        Ok(Hosts { asker, neighbours: Arc::clone(neighbours), roll, losses: 0, news: Vec::new() })
    }

    /// The number of the asker on the interface of a path.
    fn asker_of(&mut self, hop: &Hop) -> Result<usize, LinkError> {
        let known = self.askers.iter().position(|asker| asker.interface().index == hop.interface.index);
        if let Some(asker) = known {
            return Ok(asker);
        }
        self.askers.push(Asker::open(&hop.interface)?);
        Ok(self.askers.len() - 1)
    }

    fn router(
        &mut self,
        hop: &Hop,
        (ip, address): &(IpAddr, Arc<HardwareAddress>),
        now: Tick,
    ) -> Result<Router, LinkError> {
        let asker = self.asker_of(hop)?;
        // One that has not answered yet is silent until it does.
        let missed = if address.get() == UNKNOWN { SILENT_AFTER } else { 0 };
        Ok(Router {
            asker,
            source: source_of_questions(hop, *ip)?,
            ip: *ip,
            address: Arc::clone(address),
            asked: None,
            answered: false,
            missed,
            good_until: now,
            other: None,
            moved: false,
        })
    }

    /// Hears what the kernel has to say of links and addresses.
    fn hear_news(&mut self) -> Result<(), LinkError> {
        let paths = &mut self.paths;
        let heard = self.news.read(|kind, body| match kind {
            libc::RTM_NEWLINK | libc::RTM_DELLINK => {
                if let Ok(interface) = interface::decode(body) {
                    note_link(paths, &interface, kind == libc::RTM_NEWLINK);
                }
            }
            libc::RTM_NEWADDR | libc::RTM_DELADDR => {
                if let Some(ip) = address(body) {
                    note_address(paths, ip, kind == libc::RTM_NEWADDR);
                }
            }
            _ => {}
        })?;
        if heard == Heard::NotAll || self.stale {
            self.stale = self.read_anew().is_err();
        }
        Ok(())
    }

    /// Reads the state of links and addresses, as news of them may have been missed.
    fn read_anew(&mut self) -> Result<(), LinkError> {
        let own = own_addresses()?;
        for path in &mut self.paths {
            let now = Interface::by_index(path.hop.interface.index);
            path.running = now.is_ok_and(|interface| interface.up && interface.running);
            path.has_source = interface::is_own(path.hop.source, &own);
        }
        Ok(())
    }

    /// Takes the answers that are there.
    fn hear_answers(&mut self) -> Result<(), LinkError> {
        for (number, asker) in self.askers.iter_mut().enumerate() {
            let paths = &mut self.paths;
            asker.answers(Duration::ZERO, &mut |answer| {
                for path in paths.iter_mut() {
                    if let Some(router) = path.router.as_mut().filter(|router| router.asker == number) {
                        router.hear(&answer);
                    }
                    if let Some(hosts) = path.hosts.as_mut().filter(|hosts| hosts.asker == number) {
                        hosts.hear(&answer);
                    }
                }
            })?;
        }
        Ok(())
    }

    /// Asks whom it is time to ask.
    fn ask(&mut self, now: Tick) -> Result<(), LinkError> {
        for path in &mut self.paths {
            if let Some(hosts) = &mut path.hosts {
                let asker = &mut self.askers[hosts.asker];
                hosts.call(asker, path.hop.source, path.running && path.has_source, now)?;
            }
        }
        for path in self.paths.iter_mut().filter(|path| path.running) {
            let Some(router) = path.router.as_mut().filter(|router| router.is_due(now)) else { continue };
            router.close_question();
            let to = (router.missed < BROADCAST_AFTER).then(|| router.address.get());
            // A question that was not taken is asked again a moment later.
            if self.askers[router.asker].ask(router.source, router.ip, to)? {
                router.asked = Some(now);
                router.answered = false;
            }
        }
        Ok(())
    }
}

impl Guard for Watcher {
    fn look(&mut self, now: Tick, tell: &mut dyn FnMut(usize, Word)) -> Result<(), LinkError> {
        self.hear_news()?;
        self.hear_answers()?;
        self.ask(now)?;
        for (number, path) in self.paths.iter_mut().enumerate() {
            path.testify(now, &mut |word| tell(number, word));
        }
        Ok(())
    }
}

/// Questions without an answer that mean that a router is gone.
const SILENT_AFTER: u32 = 4;

impl Path {
    fn testify(&mut self, now: Tick, tell: &mut dyn FnMut(Word)) {
        if !self.running {
            return tell(Word::Bad(Trouble::LinkDown));
        }
        if !self.has_source {
            return tell(Word::Bad(Trouble::SourceGone));
        }
        if let Some(hosts) = &mut self.hosts {
            hosts.news.drain(..).for_each(&mut *tell);
            return tell(hosts.roll.word(now));
        }
        let Some(router) = &mut self.router else { return tell(Word::Good(now)) };
        if std::mem::take(&mut router.moved) {
            tell(Word::Bad(Trouble::NextHopMoved));
        }
        if router.missed >= SILENT_AFTER {
            return tell(Word::Bad(Trouble::NextHopSilent));
        }
        tell(Word::Good(router.good_until));
    }
}

impl Hosts {
    fn hear(&mut self, answer: &NeighbourAnswer) {
        if let Some(change) = self.roll.hear(answer.ip, answer.mac) {
            note_change(&self.neighbours, &mut self.news, change);
        }
    }

    /// Draws the consequences from who was silent, and asks whose turn it is. Where the path is not whole, nobody can
    /// answer, and nobody is asked.
    fn call(&mut self, asker: &mut Asker, source: IpAddr, whole: bool, now: Tick) -> Result<(), LinkError> {
        let losses = asker.dropped()? + asker.outages();
        if !whole || std::mem::replace(&mut self.losses, losses) != losses {
            self.roll.forgive();
        }
        let (neighbours, news) = (&self.neighbours, &mut self.news);
        self.roll.close(now, &mut |change| note_change(neighbours, news, change));
        if whole { self.roll.ask(now, &mut |ip, to| asker.ask(source, ip, to)) } else { Ok(()) }
    }
}

/// Sends probes to where a host is now, and has it told what was lost.
fn note_change(neighbours: &Neighbours, news: &mut Vec<Word>, change: Change) {
    match change {
        Change::Moved { ip, mac, since } => {
            neighbours.set(ip, Presence::At(mac));
            news.push(Word::Host { ip, since, trouble: Trouble::NextHopMoved });
        }
        Change::Gone { ip, since } => {
            neighbours.set(ip, Presence::Nobody);
            news.push(Word::Host { ip, since, trouble: Trouble::NextHopSilent });
        }
        Change::Back { ip, mac } => neighbours.set(ip, Presence::At(mac)),
    }
}

impl Router {
    fn is_due(&self, now: Tick) -> bool {
        self.asked.is_none_or(|asked| now.since(asked) >= INTERVAL)
    }

    /// An answer has come in. One from another station than before counts only if that one has nothing to say: two
    /// stations may both answer for an address, which is a fault of that network, and no reason to go to and fro.
    fn hear(&mut self, answer: &NeighbourAnswer) {
        if answer.ip != self.ip {
            return;
        }
        if answer.mac != self.address.get() {
            self.other = Some(answer.mac);
        } else if let Some(asked) = self.asked {
            self.answered = true;
            self.missed = 0;
            self.good_until = self.good_until.max(asked);
        }
    }

    /// The time for an answer to the last question is over.
    fn close_question(&mut self) {
        let Some(asked) = self.asked.filter(|_| !self.answered) else {
            self.other = None;
            return;
        };
        match self.other.take() {
            Some(mac) => {
                // Whoever answers for the first time has not moved.
                self.moved = self.address.get() != UNKNOWN;
                self.address.set(mac);
                self.missed = 0;
                self.good_until = self.good_until.max(asked);
            }
            None => self.missed = self.missed.saturating_add(1),
        }
    }
}

fn note_link(paths: &mut [Path], interface: &Interface, exists: bool) {
    for path in paths.iter_mut().filter(|path| path.hop.interface.index == interface.index) {
        path.running = exists && interface.up && interface.running;
    }
}

fn note_address(paths: &mut [Path], ip: IpAddr, exists: bool) {
    for path in paths.iter_mut().filter(|path| path.hop.source == ip) {
        path.has_source = exists;
    }
}

/// Attributes of `RTM_NEWADDR`, from `linux/if_addr.h`. On a point-to-point link the first is the other end's address.
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;

/// The length of the fixed part of `RTM_NEWADDR`: `struct ifaddrmsg`.
const ADDRESS_HEADER_LENGTH: usize = 8;

/// The address of this host that a message is about.
fn address(body: &[u8]) -> Option<IpAddr> {
    AddressHeader::parse(body).ok()?;
    let mut other_end = None;
    for attribute in NlasIterator::new(body.get(ADDRESS_HEADER_LENGTH..)?) {
        let attribute = attribute.ok()?;
        let value = attribute.value();
        let ip = || match value.len() {
            4 => Some(IpAddr::from(<[u8; 4]>::try_from(value).ok()?)),
            16 => Some(IpAddr::from(<[u8; 16]>::try_from(value).ok()?)),
            _ => None,
        };
        match attribute.kind() {
            IFA_LOCAL => return ip(),
            IFA_ADDRESS => other_end = ip(),
            _ => {}
        }
    }
    other_end
}
