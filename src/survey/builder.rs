//! Hosts put together word by word, as a file has them or a sweep hears them: in any order, and some of them twice.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use thiserror::Error;

use super::host::{About, Group, Host, HostState, Port, Protocol, Status, Word};
use super::runs::{PortHeap, PortRuns};
use super::word::{Openness, PortState};
use crate::sweep::report::Observation;
use crate::target::Transport;
use crate::target::foreign::harmless;
use crate::target::state::{Reason, State};

/// What counts where a target is told of twice.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Twice {
    /// The later word is right.
    Later,
    /// Both are: open and closed together are a contradiction, and otherwise the later one stands.
    Both,
}

/// Hosts that are taken in, and ports that are kept one by one. More of them do not fit into the memory of a small
/// machine, and no network of one owner has so many open ports.
const MOST_HOSTS: usize = 1 << 22;
const MOST_PORTS: usize = 1 << 22;

/// The ports of a host in one state that are told of one by one rather than as a group, as nmap does it.
const MOST_SINGLE: u64 = 25;

/// More than is taken in.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("it lists more than {most} {what}")]
pub struct TooMuch {
    /// How many are taken in.
    pub most: usize,
    /// Of what.
    pub what: &'static str,
}

/// Puts hosts together.
#[derive(Debug)]
pub struct Builder {
    twice: Twice,
    hosts: BTreeMap<IpAddr, Making>,
    words: BTreeSet<Word>,
    kept: usize,
}

/// A host that is being put together.
#[derive(Debug, Default)]
struct Making {
    /// Ports that are kept one by one, in the order of hearing.
    log: Vec<Port>,
    /// Which those are.
    logged: Vec<(Protocol, PortHeap)>,
    /// The others.
    heaps: Vec<Heap>,
    /// Groups that the source itself has made.
    groups: Vec<Group>,
    about: Option<Box<About>>,
}

#[derive(Debug)]
struct Heap {
    protocol: Protocol,
    state: PortState,
    reason: Word,
    ports: PortHeap,
}

impl Builder {
    /// Begins with nothing.
    pub fn new(twice: Twice) -> Self {
        Builder { twice, hosts: BTreeMap::new(), words: BTreeSet::new(), kept: 0 }
    }

    /// A foreign word, spelt out where it must be, and kept once however often it comes.
    pub fn word(&mut self, word: &str) -> Word {
        let word = harmless(word);
        if let Some(known) = self.words.get(&*word) {
            return Arc::clone(known);
        }
        let new: Word = word.into();
        self.words.insert(Arc::clone(&new));
        new
    }

    /// Makes sure that a host is listed, though nothing is said of it.
    ///
    /// # Errors
    /// When there are too many of them, as all that follow.
    pub fn host(&mut self, ip: IpAddr) -> Result<(), TooMuch> {
        self.making(ip).map(|_| ())
    }

    /// What is known of a host beside its ports, to be added to.
    pub fn about(&mut self, ip: IpAddr) -> Result<&mut About, TooMuch> {
        Ok(self.making(ip)?.about.get_or_insert_default())
    }

    /// Takes in a port that is to be kept by itself.
    pub fn keep(&mut self, ip: IpAddr, port: Port) -> Result<(), TooMuch> {
        if self.kept >= MOST_PORTS {
            return Err(TooMuch { most: MOST_PORTS, what: "ports one by one" });
        }
        let kept = self.making(ip)?.keep(port);
        self.kept += kept;
        Ok(())
    }

    /// Takes in a port of which its state is all that matters.
    pub fn sum(
        &mut self,
        ip: IpAddr,
        protocol: Protocol,
        number: u16,
        state: PortState,
        reason: &Word,
    ) -> Result<(), TooMuch> {
        let kept = self.making(ip)?.sum(protocol, number, state, reason);
        self.kept += usize::from(kept);
        Ok(())
    }

    /// Takes in a port: by itself if it is open, and else as one of many.
    pub fn see(&mut self, ip: IpAddr, port: Port) -> Result<(), TooMuch> {
        if port.state.openness() == Openness::Open || port.more.is_some() {
            return self.keep(ip, port);
        }
        self.sum(ip, port.protocol, port.number, port.state, &port.reason)
    }

    /// Takes in a group as the source has made it.
    pub fn group(&mut self, ip: IpAddr, group: Group) -> Result<(), TooMuch> {
        self.making(ip)?.groups.push(group);
        Ok(())
    }

    /// Takes in what a sweep of this program has heard.
    pub fn observe(
        &mut self,
        time: Timestamp,
        observation: &Observation,
        verified: bool,
    ) -> Result<(), TooMuch> {
        let Observation { target, state, reason, unknown, ttl, .. } = *observation;
        let reason = match (reason, unknown) {
            (Some(reason), _) => self.word(reason.as_str()),
            (None, Some(unknown)) => self.word(unknown.as_str()),
            (None, None) => self.word(""),
        };
        let Transport::Tcp = target.transport;
        let port = Port {
            ttl,
            time: Some(time),
            verified: verified && state == State::Open,
            ..Port::new(Protocol::Tcp, target.port, state.into(), reason)
        };
        self.see(target.ip, port)
    }

    /// All hosts, by address.
    pub fn finish(self) -> Vec<Host> {
        let twice = self.twice;
        let contradiction: Word = Reason::Contradiction.as_str().into();
        self.hosts.into_iter().map(|(ip, making)| making.finish(ip, twice, &contradiction)).collect()
    }

    fn making(&mut self, ip: IpAddr) -> Result<&mut Making, TooMuch> {
        let ip = ip.to_canonical();
        let is_full = self.hosts.len() >= MOST_HOSTS;
        if is_full && !self.hosts.contains_key(&ip) {
            return Err(TooMuch { most: MOST_HOSTS, what: "hosts" });
        }
        Ok(self.hosts.entry(ip).or_default())
    }
}

impl Making {
    /// Returns how many more are kept.
    fn keep(&mut self, port: Port) -> usize {
        let (protocol, number) = port.key();
        // What was said of it before goes with it, so that the order of both is known.
        let before = self.forget(protocol, number);
        let kept = 1 + usize::from(before.is_some());
        self.log.extend(before);
        self.log.push(port);
        match self.logged.iter_mut().find(|(known, _)| *known == protocol) {
            Some((_, ports)) => ports.insert(number),
            None => {
                let mut ports = PortHeap::default();
                ports.insert(number);
                self.logged.push((protocol, ports));
            }
        }
        kept
    }

    /// Returns whether one more is kept.
    fn sum(&mut self, protocol: Protocol, number: u16, state: PortState, reason: &Word) -> bool {
        let is_logged = self.logged.iter().any(|(known, ports)| *known == protocol && ports.contains(number));
        if is_logged {
            self.log.push(Port::new(protocol, number, state, Arc::clone(reason)));
            return true;
        }
        let is_it = |heap: &Heap| heap.protocol == protocol && heap.state == state && heap.reason == *reason;
        let at = self.heaps.iter().position(is_it);
        for (other, heap) in self.heaps.iter_mut().enumerate() {
            if heap.protocol == protocol && Some(other) != at {
                heap.ports.remove(number);
            }
        }
        match at {
            Some(at) => self.heaps[at].ports.insert(number),
            None => {
                let mut ports = PortHeap::default();
                ports.insert(number);
                self.heaps.push(Heap { protocol, state, reason: Arc::clone(reason), ports });
            }
        }
        false
    }

    fn forget(&mut self, protocol: Protocol, number: u16) -> Option<Port> {
        let of_it = self.heaps.iter_mut().filter(|heap| heap.protocol == protocol);
        let heap = of_it.into_iter().find_map(|heap| heap.ports.remove(number).then_some(heap))?;
        Some(Port::new(protocol, number, heap.state, Arc::clone(&heap.reason)))
    }

    fn finish(mut self, ip: IpAddr, twice: Twice, contradiction: &Word) -> Host {
        let mut heaps: Vec<Group> = self.heaps.into_iter().map(Heap::into_group).collect();
        heaps.retain(|group| !group.ports.is_empty());
        heaps.sort_by(|a, b| (a.state, a.protocol, &a.reason).cmp(&(b.state, b.protocol, &b.reason)));
        for groups in heaps.chunk_by(|a, b| a.state == b.state) {
            if groups.iter().map(|group| group.ports.len()).sum::<u64>() > MOST_SINGLE {
                self.groups.extend_from_slice(groups);
                continue;
            }
            for group in groups {
                let port = |number| Port::new(group.protocol, number, group.state, Arc::clone(&group.reason));
                self.log.extend(group.ports.iter().map(port));
            }
        }
        // Sorting keeps the order of what was said of one port.
        self.log.sort_by_key(Port::key);
        let mut ports: Vec<Port> = Vec::with_capacity(self.log.len());
        for port in self.log {
            match ports.last_mut() {
                Some(last) if last.key() == port.key() => last.hear(port, twice, contradiction),
                _ => ports.push(port),
            }
        }
        let groups = disjoint(self.groups, &ports);
        ports.shrink_to_fit();
        let mut host = Host { ip, ports, groups, about: self.about };
        host.settle_status();
        host
    }
}

impl Heap {
    fn into_group(self) -> Group {
        let Heap { protocol, state, reason, ports } = self;
        Group { protocol, state, reason, ports: ports.into_runs() }
    }
}

impl Port {
    /// What stands after a second word on the same port.
    fn hear(&mut self, later: Port, twice: Twice, contradiction: &Word) {
        let openness = [self.state, later.state].map(PortState::openness);
        let states = [self.state, later.state];
        let both = openness.contains(&Openness::Open) && states.contains(&PortState::Closed);
        let is_contradiction = twice == Twice::Both && (both || self.state == PortState::Conflict);
        let earlier = std::mem::replace(self, later);
        // A second word may be about what was said, and say nothing of anything else.
        if self.more.is_none() && self.state == earlier.state {
            self.more = earlier.more;
        } else if let (Some(more), Some(before)) = (&mut self.more, earlier.more) {
            more.service = more.service.take().or(before.service);
            more.banner = more.banner.take().or(before.banner);
        }
        self.ttl = self.ttl.or(earlier.ttl);
        if is_contradiction {
            self.state = PortState::Conflict;
            self.reason = Arc::clone(contradiction);
        } else if twice == Twice::Both && openness[0] == Openness::Open && openness[1] != Openness::Open {
            // Silence after an answer, as where a host is listed twice, takes nothing back.
            self.state = earlier.state;
            self.reason = earlier.reason;
        }
    }
}

/// Groups without what is listed by itself, and without what an earlier group has.
fn disjoint(groups: Vec<Group>, ports: &[Port]) -> Vec<Group> {
    let mut taken: Vec<(Protocol, PortRuns)> = Vec::new();
    for ports in ports.chunk_by(|a, b| a.protocol == b.protocol) {
        taken.push((ports[0].protocol, ports.iter().map(|port| port.number).collect()));
    }
    let mut left = Vec::with_capacity(groups.len());
    for mut group in groups {
        if let Some((_, taken)) = taken.iter_mut().find(|(protocol, _)| *protocol == group.protocol) {
            group.ports = group.ports.minus(taken);
            *taken = taken.union(&group.ports);
        } else {
            taken.push((group.protocol, group.ports.clone()));
        }
        if !group.ports.is_empty() {
            left.push(group);
        }
    }
    left
}

impl Host {
    /// Says whether it is there, where the source does not and its ports do.
    fn settle_status(&mut self) {
        if self.about.as_ref().is_some_and(|about| about.status.is_some()) {
            return;
        }
        let ports = self.ports.iter().map(|port| (port.sight(), &port.reason, port.ttl));
        let groups = self.groups.iter().map(|group| (group.sight(), &group.reason, None));
        let mut all = ports.chain(groups).peekable();
        if all.peek().is_none() {
            return;
        }
        let is_absent = |state| state == PortState::Unreachable;
        let none_there = all.clone().all(|(sight, ..)| is_absent(sight.state));
        let status = match all.clone().find(|(sight, ..)| sight.is_answer()) {
            Some((_, reason, ttl)) => Status { state: HostState::Up, reason: Arc::clone(reason), ttl },
            None if none_there => {
                let reason = all.next().map_or_else(|| Word::from(""), |(_, reason, _)| Arc::clone(reason));
                Status { state: HostState::Down, reason, ttl: None }
            }
            // It was scanned because somebody wanted that, and has not said a word.
            None => Status { state: HostState::Up, reason: "user-set".into(), ttl: None },
        };
        self.about.get_or_insert_default().status = Some(status);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::survey::host::Sight;

    const IP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 18, 0, 1));

    fn seen(twice: Twice, words: &[(u16, PortState, &str)]) -> Host {
        let mut builder = Builder::new(twice);
        for (number, state, reason) in words {
            let reason = builder.word(reason);
            builder.see(IP, Port::new(Protocol::Tcp, *number, *state, reason)).expect("few");
        }
        builder.finish().remove(0)
    }

    fn sights(host: &Host) -> Vec<(u16, Sight)> {
        host.sights().into_iter().map(|(_, number, sight)| (number, sight)).collect()
    }

    #[test]
    fn of_two_words_of_a_sweep_the_later_is_right() {
        let (open, closed) = (PortState::Open, PortState::Closed);
        for (words, state) in [
            (&[(22, closed, "rst"), (22, open, "syn-ack")][..], open),
            (&[(22, open, "syn-ack"), (22, closed, "rst")], closed),
            (&[(22, PortState::Filtered, "no-response"), (22, closed, "rst")], closed),
            (&[(22, open, "syn-ack"), (22, closed, "rst"), (22, open, "syn-ack")], open),
        ] {
            let host = seen(Twice::Later, words);
            let told = sights(&host);
            assert_eq!((told.len(), told[0].1.state), (1, state), "{words:?}");
        }
    }

    #[test]
    fn open_and_closed_of_others_are_a_contradiction() {
        let (open, closed) = (PortState::Open, PortState::Closed);
        for words in [
            &[(22, open, "syn-ack"), (22, closed, "rst-ack")][..],
            &[(22, closed, "rst-ack"), (22, open, "syn-ack")],
            &[(22, closed, "rst-ack"), (22, open, "syn-ack"), (22, open, "syn-ack")],
        ] {
            let told = sights(&seen(Twice::Both, words));
            assert_eq!(told[0].1.reason, Some(Reason::Contradiction), "{words:?}");
        }
        let twice = [(22, open, "syn-ack"), (22, PortState::Filtered, "no-response")];
        assert_eq!(sights(&seen(Twice::Both, &twice))[0].1.state, open);
    }

    #[test]
    fn many_ports_in_one_state_are_a_group_and_few_are_not() {
        let closed = |many: u16| (1..=many).map(|n| (n, PortState::Closed, "rst")).collect::<Vec<_>>();
        let few = seen(Twice::Later, &closed(25));
        assert_eq!((few.ports.len(), few.groups.len()), (25, 0));
        let mut words = closed(2000);
        words.push((22, PortState::Open, "syn-ack"));
        let many = seen(Twice::Later, &words);
        assert_eq!((many.ports.len(), many.groups.len(), many.listed()), (1, 1, 2000));
        assert_eq!(many.groups[0].ports.to_string(), "1-21,23-2000");
    }

    #[test]
    fn whether_a_host_is_there_is_what_its_ports_say() {
        let status = |words: &[(u16, PortState, &str)]| {
            let status = seen(Twice::Later, words).about.expect("about").status.expect("a status");
            (status.state, status.reason.to_string())
        };
        let of = |state, reason: &str| (state, reason.to_owned());
        assert_eq!(status(&[(22, PortState::Closed, "rst")]), of(HostState::Up, "rst"));
        assert_eq!(status(&[(22, PortState::Filtered, "no-response")]), of(HostState::Up, "user-set"));
        let absent = [(22, PortState::Unreachable, "no-neighbour")];
        assert_eq!(status(&absent), of(HostState::Down, "no-neighbour"));
    }

    #[test]
    fn foreign_words_are_spelt_out() {
        assert_eq!(&*Builder::new(Twice::Both).word("a\x1b[2J"), "a\\x1b[2J");
    }
}
