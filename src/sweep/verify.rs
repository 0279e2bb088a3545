//! The second look: whatever is about to be reported has to finish a whole handshake first, made by the kernel's own
//! stack, and its host has to leave a few ports shut that nobody has any reason to open.
//!
//! Each host is asked on one *canary* port beside its targets; if it accepts there, on two more. A host that accepts
//! them all accepts everything, and then acceptance says nothing. What tells a real listener from the rest is what it
//! does next: on such a host everything is listened to, targets and canaries alike, and a target is real if it speaks
//! and no canary did, or does what no canary did.
//!
//! All of it is bounded: in targets, in time, at once and at one host, and by the rates that the sweep keeps to. What
//! does not fit stays *skipped*, and the worst ports of every host come first: those of the catalogue by severity, then
//! the others in order. The decisions are in `host`; here they
//! are carried out.

mod host;

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use self::host::{Host, Job};
use super::pacer::Pacer;
use super::verified::{Ending, Verifications};
use crate::link::LinkError;
use crate::link::clock::{Clock, Tick};
use crate::link::handshake::{Calls, Outcome};
use crate::sync::{Ordering, SignalFlag};
use crate::target::Target;
use crate::target::ports::{self, PortSet};

/// Canary ports of a sweep.
const CANARIES: usize = 3;

/// Where canary ports are taken from: the range that IANA leaves unassigned.
const CANARY_FIRST: u16 = 49_152;

/// The longest sleep without looking whether the run was interrupted or something may begin.
const NAP: Duration = Duration::from_millis(5);

/// The bounds.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Targets.
    pub targets: usize,
    /// All of it.
    pub time: Duration,
    /// Conversations at once.
    pub at_once: usize,
    /// Canaries among them: behind a firewall they take long, and the targets must not wait for that.
    pub canaries: usize,
    /// Conversations at once at one host.
    pub at_host: usize,
    /// The same at a host that accepts everything, which is no small server.
    pub at_device: usize,
}

impl Default for Limits {
    fn default() -> Self {
        let time = Duration::from_secs(60);
        Limits { targets: 10_000, time, at_once: 256, canaries: 192, at_host: 8, at_device: 64 }
    }
}

/// What is to be verified.
#[derive(Clone, Debug, Default)]
pub struct VerifyPlan {
    /// The targets that would be reported.
    pub targets: Vec<Target>,
    /// The canary ports.
    pub canary_ports: Vec<u16>,
    /// Whether to make servers speak, and keep what they say.
    pub banner: bool,
    /// Whether the sweep itself made whole handshakes.
    pub already: bool,
    /// Handshakes a second over all.
    pub rate: Option<NonZeroU32>,
    /// Handshakes a second at one host.
    pub host_rate: Option<NonZeroU32>,
    /// The bounds.
    pub limits: Limits,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Verified {
    /// What is known now.
    pub verifications: Verifications,
    /// What ended it.
    pub ended: Ending,
    /// What ended it early, if anything broke.
    pub failure: Option<LinkError>,
}

/// The canary ports of a sweep with this seed: none that is swept anyway, as long as there are others, and none of
/// those in `avoid` (both ends included), where the sweep's own probes come from.
pub fn canary_ports(seed: u64, swept: &PortSet, avoid: (u16, u16)) -> Vec<u16> {
    let all = || (CANARY_FIRST..=u16::MAX).filter(|port| !(avoid.0..=avoid.1).contains(port));
    let mut free: Vec<u16> = all().filter(|port| swept.slot_of(*port).is_none()).collect();
    if free.len() < CANARIES {
        free = all().collect();
    }
    let mut state = seed;
    let mut chosen = Vec::new();
    while chosen.len() < CANARIES && !free.is_empty() {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let at = mixed(state) % free.len() as u64;
        chosen.push(free.swap_remove(at as usize));
    }
    chosen
}

/// The finalizer of SplitMix64 (Steele, Lea and Flood 2014): every bit of the seed reaches every bit of the result.
fn mixed(state: u64) -> u64 {
    let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

/// Verifies. Ends when all is known, when time is up, or when `interrupt` is set; whatever is not known then stays so.
pub fn verify(
    plan: &VerifyPlan,
    calls: &mut dyn Calls,
    clock: &dyn Clock,
    interrupt: &SignalFlag,
) -> Verified {
    let mut driver = Driver::new(plan, clock.now());
    let end = clock.now() + plan.limits.time;
    let mut failure = None;
    while !driver.is_done() && clock.now() < end && !interrupt.load(Ordering::Relaxed) {
        let result = driver.begin_more(calls, clock.now()).and_then(|()| {
            let mut ended = Vec::new();
            let until = (clock.now() + NAP).min(end);
            calls.wait(until, &mut |number, outcome| ended.push((number, outcome)))?;
            ended.into_iter().for_each(|(number, outcome)| driver.end(number, &outcome, clock.now()));
            Ok(())
        });
        if let Err(error) = result {
            failure = Some(error);
            break;
        }
    }
    let ended = match () {
        () if failure.is_some() => Ending::Failed,
        () if driver.is_done() => Ending::Complete,
        () if interrupt.load(Ordering::Relaxed) => Ending::Stopped,
        () => Ending::TimeUp,
    };
    Verified { verifications: driver.finish(), ended, failure }
}

/// Carries out what the hosts want.
struct Driver<'p> {
    plan: &'p VerifyPlan,
    hosts: Vec<Host>,
    /// Hosts that want something.
    waiting: VecDeque<usize>,
    /// What each conversation is about; its place is its number.
    begun: Vec<(usize, Job)>,
    in_flight: usize,
    canaries: usize,
    pacer: Pacer,
}

impl<'p> Driver<'p> {
    fn new(plan: &'p VerifyPlan, now: Tick) -> Self {
        let gap = plan.host_rate.map_or(Duration::ZERO, |rate| Duration::from_secs(1) / rate.get());
        let hosts: Vec<Host> = by_host(plan)
            .into_iter()
            .map(|(ip, ports)| Host::new(ip, &ports, plan, now + gap, gap))
            .collect();
        Driver {
            plan,
            waiting: (0..hosts.len()).collect(),
            hosts,
            begun: Vec::new(),
            in_flight: 0,
            canaries: 0,
            pacer: Pacer::new(plan.rate),
        }
    }

    fn is_done(&self) -> bool {
        self.in_flight == 0 && self.waiting.is_empty()
    }

    /// Begins as much as may be under way, host by host.
    fn begin_more(&mut self, calls: &mut dyn Calls, now: Tick) -> Result<(), LinkError> {
        let mut passed_over = 0;
        while self.in_flight < self.plan.limits.at_once && passed_over < self.waiting.len() {
            if self.pacer.allowance(now, 1) == 0 {
                return Ok(());
            }
            let Some(at) = self.waiting.pop_front() else { return Ok(()) };
            let Some(host) = self.hosts.get_mut(at) else { continue };
            let has_room = self.canaries < self.plan.limits.canaries;
            let Some(job) = host.next_job(self.plan, has_room, now) else {
                if host.is_waiting() {
                    self.waiting.push_back(at);
                    passed_over += 1;
                }
                continue;
            };
            if !calls.begin(self.begun.len(), &host.call(job, self.plan))? {
                host.take_back(job);
                self.waiting.push_front(at);
                return Ok(());
            }
            self.pacer.spend(now, 1);
            self.begun.push((at, job));
            self.in_flight += 1;
            self.canaries += usize::from(job.is_canary());
            self.waiting.push_back(at);
            passed_over = 0;
        }
        Ok(())
    }

    /// Notes how a conversation went.
    fn end(&mut self, number: usize, outcome: &Outcome, now: Tick) {
        let Some(&(at, job)) = self.begun.get(number) else { return };
        let Some(host) = self.hosts.get_mut(at) else { return };
        self.in_flight -= 1;
        self.canaries -= usize::from(job.is_canary());
        let was_waiting = host.is_waiting();
        host.ended(job, outcome, self.plan, now);
        if !was_waiting && host.is_waiting() && !self.waiting.contains(&at) {
            self.waiting.push_back(at);
        }
    }

    fn finish(self) -> Verifications {
        let mut verifications = Verifications::default();
        for host in self.hosts {
            host.finish(self.plan, &mut verifications);
        }
        verifications
    }
}

/// The targets that are worth a look within the bounds, by host. No host's second is before another one's first.
fn by_host(plan: &VerifyPlan) -> BTreeMap<IpAddr, Vec<Target>> {
    // What the catalogue knows comes before what it does not, however harmless.
    let worth = |target: &Target| Reverse(ports::service(target.port).map(|known| known.severity));
    let mut all: BTreeMap<IpAddr, Vec<Target>> = BTreeMap::new();
    for target in &plan.targets {
        all.entry(target.ip).or_default().push(*target);
    }
    let mut ranked = Vec::with_capacity(plan.targets.len());
    for targets in all.values_mut() {
        targets.sort_by_key(|target| (worth(target), target.port));
        ranked.extend(targets.iter().enumerate().map(|(rank, target)| (rank, worth(target), *target)));
    }
    ranked.sort();
    let mut chosen: BTreeMap<IpAddr, Vec<Target>> = BTreeMap::new();
    for (_, _, target) in ranked.into_iter().take(plan.limits.targets) {
        chosen.entry(target.ip).or_default().push(target);
    }
    chosen
}

#[cfg(test)]
mod tests;
