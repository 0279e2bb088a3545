//! A simulated network in virtual time: the whole engine runs over it, thousands of times faster than the clock, and
//! the same seed gives the same sweep to the last packet.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::clock::{Clock, Tick};
use super::fence::Fence;
use super::guard::{Guard, Trouble, Word};
use super::{Arrival, LinkError, Probe, Receive, Transmit};
use crate::wire::reply::{Answer, Reply};

/// What the network does to packets, and what the hosts on it do.
#[derive(Clone, Debug)]
pub struct SimRules {
    /// Seed of every dice roll.
    pub seed: u64,
    /// Share of probes lost on the way out, 0 to 1.
    pub loss_out: f64,
    /// Share of answers lost on the way back, 0 to 1.
    pub loss_back: f64,
    /// Share of answers that come twice, 0 to 1.
    pub duplicates: f64,
    /// Round-trip time, at least.
    pub delay: Duration,
    /// What chance adds to it, at most. More than the time between probes means that answers overtake each other.
    pub jitter: Duration,
    /// What a port says that no rule names.
    pub otherwise: Behaviour,
    /// Spans of virtual time in which every arriving frame is dropped by the receiver's kernel, and counted.
    pub blind: Vec<(Tick, Tick)>,
    /// Probes that the device takes before it refuses one, once.
    pub refuse_every: Option<u64>,
    /// For how long what the device has taken may still be on its way into it.
    pub queue_delay: Duration,
    /// A host that the device takes no probe for, and whether it then takes none of those behind it either.
    pub refused_host: Option<(IpAddr, bool)>,
    /// Spans of virtual time in which the network carries nothing, and what the guard says of that, if it notices.
    pub outages: Vec<(Tick, Tick, Option<Trouble>)>,
    /// Spans of virtual time in which a device on the way answers in the place of everybody, and how.
    pub usurped: Vec<(Tick, Tick, Behaviour)>,
    /// Probes a second that the network carries; what comes above that is lost.
    pub capacity_pps: Option<f64>,
    /// Resets a second that one host sends at most, by the second.
    pub resets_pps: Option<u64>,
}

impl Default for SimRules {
    fn default() -> Self {
        SimRules {
            seed: 1,
            loss_out: 0.0,
            loss_back: 0.0,
            duplicates: 0.0,
            delay: Duration::from_millis(1),
            jitter: Duration::from_millis(1),
            otherwise: Behaviour::Closed,
            blind: Vec::new(),
            refuse_every: None,
            queue_delay: Duration::ZERO,
            refused_host: None,
            outages: Vec::new(),
            usurped: Vec::new(),
            capacity_pps: None,
            resets_pps: None,
        }
    }
}

/// How one port behaves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Behaviour {
    /// Answers SYN-ACK.
    Open,
    /// Answers RST.
    Closed,
    /// Says nothing.
    Silent,
    /// A router answers with this ICMP type and code.
    Icmp(u8, u8),
    /// Answers SYN-ACK and RST to the same probe.
    Contradictory,
}

/// The network. Clones are the same network.
#[derive(Clone, Debug)]
pub struct SimNetwork {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    rules: SimRules,
    ports: HashMap<(IpAddr, u16), Behaviour>,
    fence: Option<Fence>,
    now: Tick,
    dice: u64,
    on_the_way: BinaryHeap<Reverse<(Tick, u64)>>,
    replies: HashMap<u64, Reply>,
    next_id: u64,
    dropped: u64,
    taken: u64,
    seen: Vec<(Tick, Probe)>,
    /// What the network can carry at this moment, in probes, and when that was reckoned.
    room: (f64, Tick),
    /// The second that a host is in, and the resets that it has sent in it.
    resets: HashMap<IpAddr, (u64, u64)>,
}

impl SimNetwork {
    /// A network under these rules, with these exceptions.
    pub fn new(rules: SimRules, ports: impl IntoIterator<Item = ((IpAddr, u16), Behaviour)>) -> Self {
        let state = State {
            dice: rules.seed ^ 0x9e37_79b9_7f4a_7c15,
            rules,
            ports: ports.into_iter().collect(),
            fence: None,
            // Not zero, so that the moments before the beginning exist.
            now: Tick::from_nanos(10_000_000_000),
            on_the_way: BinaryHeap::new(),
            replies: HashMap::new(),
            next_id: 0,
            dropped: 0,
            taken: 0,
            seen: Vec::new(),
            room: (0.0, Tick::default()),
            resets: HashMap::new(),
        };
        SimNetwork { state: Arc::new(Mutex::new(state)) }
    }

    /// The same network behind a fence.
    #[must_use]
    pub fn fenced(self, fence: Fence) -> Self {
        self.lock().fence = Some(fence);
        self
    }

    /// The network's clock.
    pub fn clock(&self) -> SimClock {
        SimClock { network: self.clone() }
    }

    /// Both halves of a link into the network, and a guard of its one path.
    pub fn link(&self) -> (SimTransmit, SimReceive, SimGuard) {
        let network = || self.clone();
        (
            SimTransmit { network: network(), marked: None },
            SimReceive { network: network() },
            SimGuard { network: network() },
        )
    }

    /// Moves time on.
    pub fn advance_to(&self, moment: Tick) {
        let mut state = self.lock();
        state.now = state.now.max(moment);
    }

    /// Every probe that left, and when.
    pub fn probes(&self) -> Vec<(Tick, Probe)> {
        self.lock().seen.clone()
    }

    /// Puts a reply on the way that no host sent: a forgery.
    pub fn inject(&self, after: Duration, reply: Reply) {
        let mut state = self.lock();
        let at = state.now + after;
        state.put_on_the_way(at, reply);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// A number from 0 to 1 (xorshift64*, Vigna 2016).
    fn roll(&mut self) -> f64 {
        self.dice ^= self.dice >> 12;
        self.dice ^= self.dice << 25;
        self.dice ^= self.dice >> 27;
        (self.dice.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn put_on_the_way(&mut self, at: Tick, reply: Reply) {
        self.next_id += 1;
        self.on_the_way.push(Reverse((at, self.next_id)));
        self.replies.insert(self.next_id, reply);
    }

    /// Whether the network carries one more packet now.
    fn carries(&mut self) -> bool {
        let now = self.now;
        if self.rules.outages.iter().any(|(from, to, _)| (*from..*to).contains(&now)) {
            return false;
        }
        let Some(capacity) = self.rules.capacity_pps else { return true };
        // A bucket of 5 ms.
        let grown = self.room.0 + now.since(self.room.1).as_secs_f64() * capacity;
        self.room = (grown.min(capacity * 0.005).max(0.0), now);
        let room = self.room.0 >= 1.0;
        self.room.0 -= f64::from(u8::from(room));
        room
    }

    /// Whether a host sends one more reset in this second.
    fn resets(&mut self, host: IpAddr) -> bool {
        let Some(limit) = self.rules.resets_pps else { return true };
        let second = self.now.as_nanos() / 1_000_000_000;
        let sent = self.resets.entry(host).or_insert((second, 0));
        if sent.0 != second {
            *sent = (second, 0);
        }
        sent.1 += 1;
        sent.1 <= limit
    }

    fn answer(&mut self, probe: &Probe) {
        if !self.carries() || self.roll() < self.rules.loss_out {
            return;
        }
        let now = self.now;
        let usurper = self.rules.usurped.iter().find(|(from, to, _)| (*from..*to).contains(&now));
        let own = || *self.ports.get(&(probe.ip, probe.port)).unwrap_or(&self.rules.otherwise);
        let behaviour = usurper.map_or_else(own, |(.., behaviour)| *behaviour);
        let ack = probe.sequence.wrapping_add(1);
        let by = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
        let answers: &[Answer] = match behaviour {
            Behaviour::Open => &[Answer::SynAck { ack }],
            Behaviour::Closed => &[Answer::Rst { ack }],
            Behaviour::Silent => &[],
            Behaviour::Icmp(icmp_type, code) => {
                &[Answer::Icmp { sequence: probe.sequence, icmp_type, code, by }]
            }
            Behaviour::Contradictory => &[Answer::SynAck { ack }, Answer::Rst { ack }],
        };
        for answer in answers {
            if matches!(answer, Answer::Rst { .. }) && !self.resets(probe.ip) {
                continue;
            }
            let copies = if self.roll() < self.rules.duplicates { 2 } else { 1 };
            for _ in 0..copies {
                if self.roll() < self.rules.loss_back {
                    continue;
                }
                let jitter = self.rules.jitter.mul_f64(self.roll());
                let reply = Reply {
                    ip: probe.ip,
                    port: probe.port,
                    source: probe.source,
                    source_port: probe.source_port,
                    answer: *answer,
                    ttl: 61,
                };
                self.put_on_the_way(self.now + self.rules.delay + jitter, reply);
            }
        }
    }
}

/// Virtual time.
#[derive(Clone, Debug)]
pub struct SimClock {
    network: SimNetwork,
}

impl Clock for SimClock {
    fn now(&self) -> Tick {
        self.network.lock().now
    }

    fn sleep_until(&self, moment: Tick) {
        self.network.advance_to(moment);
    }
}

/// The sending half.
#[derive(Debug)]
pub struct SimTransmit {
    network: SimNetwork,
    /// When somebody last began to wait for what was taken.
    marked: Option<Tick>,
}

impl Transmit for SimTransmit {
    fn source(&self, _: IpAddr) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2))
    }

    fn transmit(&mut self, probes: &[Probe], refused: &mut Vec<usize>) -> Result<(), LinkError> {
        let mut state = self.network.lock();
        for (at, probe) in probes.iter().enumerate() {
            if let Some(fence) = &state.fence {
                fence.check(probe).inspect_err(|_| refused.extend(at..probes.len()))?;
            }
            state.taken += 1;
            if state.rules.refuse_every.is_some_and(|every| state.taken.is_multiple_of(every)) {
                refused.extend(at..probes.len());
                break;
            }
            match state.rules.refused_host.filter(|(host, _)| *host == probe.ip) {
                Some((_, true)) => {
                    refused.extend(at..probes.len());
                    break;
                }
                Some((_, false)) => {
                    refused.push(at);
                    continue;
                }
                None => {}
            }
            let now = state.now;
            state.seen.push((now, *probe));
            state.answer(probe);
        }
        Ok(())
    }

    fn mark(&mut self) {
        self.marked = Some(self.network.lock().now);
    }

    fn is_draining(&mut self) -> bool {
        let state = self.network.lock();
        self.marked.is_some_and(|at| state.now.since(at) < state.rules.queue_delay)
    }
}

/// The guard, which says what the rules tell it to say.
#[derive(Debug)]
pub struct SimGuard {
    network: SimNetwork,
}

impl Guard for SimGuard {
    fn look(&mut self, now: Tick, tell: &mut dyn FnMut(usize, Word)) -> Result<(), LinkError> {
        let state = self.network.lock();
        let trouble = state.rules.outages.iter().find(|(from, to, _)| (*from..*to).contains(&now));
        tell(0, trouble.and_then(|(.., noticed)| *noticed).map_or(Word::Good(now), Word::Bad));
        Ok(())
    }
}

/// The receiving half.
#[derive(Debug)]
pub struct SimReceive {
    network: SimNetwork,
}

impl Receive for SimReceive {
    fn receive(&mut self, _: Duration, each: &mut dyn FnMut(Arrival)) -> Result<(), LinkError> {
        let mut state = self.network.lock();
        while let Some(Reverse((at, id))) = state.on_the_way.peek().copied() {
            if at > state.now {
                break;
            }
            state.on_the_way.pop();
            let Some(reply) = state.replies.remove(&id) else { continue };
            if state.rules.blind.iter().any(|(from, to)| (*from..*to).contains(&at)) {
                state.dropped += 1;
            } else {
                each(Arrival { at, reply });
            }
        }
        Ok(())
    }

    fn dropped(&mut self) -> Result<u64, LinkError> {
        Ok(self.network.lock().dropped)
    }
}
