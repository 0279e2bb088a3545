//! The caps: no host and no network is probed more often than this, whatever the rate of the whole.
//!
//! Probes to one host are booked into slots one gap apart, and so are those to one network (an IPv4 /24, an IPv6 /64),
//! because what answers for an address may be a device that answers for all of them. A probe whose slots are now leaves
//! at once; one whose slot lies ahead waits in a heap until it comes. A probe that comes late to its slot (the sender
//! was stalled) gives it up and books a new one, because leaving late would put it too close to the next: so two probes
//! to one host are never closer than a gap, which is what makes the cap hold in *any* second.
//!
//! Both slots are booked together, and the later one is when the probe leaves. For the host that is also the slot that
//! is taken. A network's slots go on from where they were, because one host that is booked out must not keep its
//! neighbours waiting; so probes of several hosts may come to leave closer together than their network's slots were,
//! and that is looked at once more when they do.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::num::NonZeroU32;
use std::time::Duration;

use crate::link::clock::Tick;

/// The finest step of a slot: 2^15 ns, about 33 µs. In 32 bits that wraps after 39 hours, and half of that is what two
/// slots may lie apart before they are mixed up.
const STEP_SHIFT: u32 = 15;

/// With more hosts (or networks) than this, several share a slot book: 16 MiB are enough. The cap then holds for them
/// together, and so for each.
const MOST_BOOKS: u64 = 1 << 22;

/// Probes that may wait for their slots at once.
pub const MOST_WAITING: usize = 1 << 16;

/// How late a probe may be for its slot.
const LATE: Duration = Duration::from_micros(200);

/// Whom a probe goes to, as numbers that tell hosts and networks apart.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Place {
    /// The host, in `0..hosts`.
    pub host: u64,
    /// Its network; any number that its hosts share.
    pub network: u64,
}

/// Books the slots of all hosts and networks. Pure: it is told the time.
#[derive(Debug)]
pub struct Caps {
    hosts: Books,
    networks: Books,
    /// When the next probe may really leave to a network.
    left: Books,
    /// Probes that wait for their slot.
    waiting: BinaryHeap<Reverse<Waiting>>,
}

/// A probe that waits.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Waiting {
    slot: Tick,
    position: u64,
    place: Place,
}

impl Caps {
    /// Caps of so many probes a second for each of `hosts` hosts and each of at most as many networks, or none.
    pub fn new(hosts: u64, host_pps: Option<NonZeroU32>, network_pps: Option<NonZeroU32>) -> Self {
        Caps {
            hosts: Books::new(hosts, host_pps),
            networks: Books::new(hosts, network_pps),
            left: Books::new(hosts, network_pps),
            waiting: BinaryHeap::new(),
        }
    }

    /// Asks to probe a target now. Where its slot is not now, the position is kept until it comes, and `false` said.
    #[inline]
    pub fn admit(&mut self, place: Place, position: u64, now: Tick) -> bool {
        let (host, network) =
            (self.hosts.free_at(place.host, now), self.networks.free_at(place.network, now));
        self.networks.book(place.network, network.unwrap_or(now));
        let slot = match (host, network) {
            (None, None) if self.left.free_at(place.network, now).is_none() => {
                self.hosts.book(place.host, now);
                self.left.book(place.network, now);
                return true;
            }
            (None, None) => self.left.free_at(place.network, now).unwrap_or(now),
            (host, network) => host.max(network).unwrap_or(now),
        };
        self.hosts.book(place.host, slot);
        self.waiting.push(Reverse(Waiting { slot, position, place }));
        false
    }

    /// Takes the slots of a target that may be probed now; books nothing and keeps nothing where it may not.
    pub fn try_now(&mut self, place: Place, now: Tick) -> bool {
        let free = self.hosts.free_at(place.host, now).is_none()
            && self.networks.free_at(place.network, now).is_none()
            && self.left.free_at(place.network, now).is_none();
        if free {
            self.hosts.book(place.host, now);
            self.networks.book(place.network, now);
            self.left.book(place.network, now);
        }
        free
    }

    /// Reads the books of hosts that are about to be asked for, so that they are in the cache by then.
    #[inline]
    pub fn warm(&self, hosts: impl Iterator<Item = u64>) {
        self.hosts.warm(hosts);
    }

    /// Probes this host no faster than so many times a second from now on.
    pub fn slow_down(&mut self, host: u64, pps: NonZeroU32) {
        self.hosts.slow_down(host, pps);
    }

    /// Probes this host as fast as all others again.
    pub fn restore(&mut self, host: u64) {
        self.hosts.restore(host);
    }

    /// Probes every host half as fast from now on, but no slower than `floor_pps`.
    pub fn halve_hosts(&mut self, floor_pps: NonZeroU32) {
        self.hosts.halve(floor_pps);
    }

    /// The next position whose slot has come.
    #[inline]
    pub fn due(&mut self, now: Tick) -> Option<u64> {
        while let Some(Reverse(first)) = self.waiting.peek().copied() {
            if first.slot > now {
                return None;
            }
            self.waiting.pop();
            let Waiting { slot, position, place } = first;
            let in_time = self.hosts.is_in_time(slot, now);
            if in_time && self.left.free_at(place.network, now).is_none() {
                self.left.book(place.network, now);
                return Some(position);
            }
            if self.admit(place, position, now) {
                return Some(position);
            }
        }
        None
    }

    /// When the next waiting probe has its slot.
    pub fn next_due(&self) -> Option<Tick> {
        self.waiting.peek().map(|Reverse(waiting)| waiting.slot)
    }

    /// How many probes wait for their slot.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

/// The slot books of one kind.
#[derive(Debug)]
struct Books {
    /// Steps between two probes; 0 for no cap.
    gap: u32,
    late: u32,
    /// How many books there are, once they are needed.
    members: u64,
    /// The next free slot of each, in wrapping steps; empty where there is no cap.
    next_free: Vec<u32>,
    /// The gaps of those that are to be probed more slowly than the rest.
    slower: HashMap<u32, u32>,
}

impl Books {
    fn new(members: u64, cap_pps: Option<NonZeroU32>) -> Self {
        let late = (LATE.as_nanos() as u64).div_ceil(1 << STEP_SHIFT) as u32;
        let gap = cap_pps.map_or(0, |cap| gap_of(cap, late));
        let mut books = Books {
            gap,
            late,
            members: members.min(MOST_BOOKS),
            next_free: Vec::new(),
            slower: HashMap::new(),
        };
        if gap > 0 {
            books.open();
        }
        books
    }

    /// Lays out the books, where no cap has needed them so far.
    fn open(&mut self) {
        if self.next_free.is_empty() {
            self.next_free = vec![0; self.members as usize];
        }
    }

    #[inline]
    fn book_of(&self, member: u64) -> u32 {
        (member % self.next_free.len() as u64) as u32
    }

    #[inline]
    fn gap_of_book(&self, book: u32) -> u32 {
        if self.slower.is_empty() { self.gap } else { *self.slower.get(&book).unwrap_or(&self.gap) }
    }

    fn warm(&self, members: impl Iterator<Item = u64>) {
        let books = self.next_free.len() as u64;
        if books > 0 {
            let read = |sum, member: u64| sum ^ self.next_free[(member % books) as usize];
            std::hint::black_box(members.fold(0, read));
        }
    }

    /// When the next slot is, if it is not now.
    #[inline]
    fn free_at(&self, member: u64, now: Tick) -> Option<Tick> {
        if self.next_free.is_empty() {
            return None;
        }
        let book = self.book_of(member);
        let free = self.next_free[book as usize];
        // Slots wrap, so a book that nobody has asked for in a day may seem to lie ahead; but no slot that was really
        // booked is further ahead than all that may wait.
        let ahead = free.wrapping_sub(steps(now)) as i32;
        let most_ahead = i64::from(self.gap_of_book(book)) * (MOST_WAITING as i64 + 1);
        let never_booked = free == 0;
        if never_booked || ahead <= 0 || i64::from(ahead) > most_ahead {
            return None;
        }
        Some(Tick::from_nanos(((now.as_nanos() >> STEP_SHIFT) + ahead as u64) << STEP_SHIFT))
    }

    /// Takes a slot that is free.
    #[inline]
    fn book(&mut self, member: u64, slot: Tick) {
        if !self.next_free.is_empty() {
            let book = self.book_of(member);
            self.next_free[book as usize] = steps(slot).wrapping_add(self.gap_of_book(book));
        }
    }

    fn is_in_time(&self, slot: Tick, now: Tick) -> bool {
        steps(now).wrapping_sub(steps(slot)) <= self.late
    }

    fn slow_down(&mut self, member: u64, cap: NonZeroU32) {
        self.open();
        self.slower.insert(self.book_of(member), gap_of(cap, self.late));
    }

    fn restore(&mut self, member: u64) {
        if !self.next_free.is_empty() {
            self.slower.remove(&self.book_of(member));
        }
    }

    /// Where there was no cap, there is one now.
    fn halve(&mut self, floor: NonZeroU32) {
        self.open();
        let slowest = gap_of(floor, self.late);
        let fastest = gap_of(FIRST_CAP, self.late);
        self.gap = self.gap.saturating_mul(2).clamp(fastest, slowest.max(self.gap).max(fastest));
    }
}

/// The cap of hosts that had none, once there is reason for one, in probes a second.
const FIRST_CAP: NonZeroU32 = NonZeroU32::new(2000).expect("not zero");

/// The steps between two probes at this rate. The lateness, and the part of a step that is rounded away, are added, so
/// that a probe at the very end of its slot and one at the start of the next are still a full period apart.
fn gap_of(cap: NonZeroU32, late: u32) -> u32 {
    1_000_000_000_u64.div_ceil(u64::from(cap.get())).div_ceil(1 << STEP_SHIFT) as u32 + late + 1
}

/// A moment in wrapping steps.
#[inline]
fn steps(at: Tick) -> u32 {
    (at.as_nanos() >> STEP_SHIFT) as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Hosts in networks of four.
    fn place(host: u64) -> Place {
        Place { host, network: host / 4 }
    }

    /// Asks for every probe at once, then drains with the given stalls; returns when each probe of each host left.
    fn drive(
        hosts: u64,
        each: u64,
        cap: u32,
        network_cap: Option<NonZeroU32>,
        mut stall: impl FnMut(u64) -> u64,
    ) -> Vec<Vec<u64>> {
        let mut caps = Caps::new(hosts, NonZeroU32::new(cap), network_cap);
        let mut left = vec![Vec::new(); hosts as usize];
        let mut now = Tick::from_nanos(1_000_000_000);
        for position in 0..hosts * each {
            if caps.admit(place(position % hosts), position, now) {
                left[(position % hosts) as usize].push(now.as_nanos());
            }
        }
        let mut turn = 0;
        while let Some(next) = caps.next_due() {
            turn += 1;
            now = Tick::from_nanos(next.as_nanos().max(now.as_nanos()) + stall(turn));
            while let Some(position) = caps.due(now) {
                left[(position % hosts) as usize].push(now.as_nanos());
            }
        }
        left
    }

    fn check(left: &[Vec<u64>], each: u64, cap: u32) {
        for times in left {
            assert_eq!(times.len() as u64, each, "every probe leaves once");
            let gap = 1_000_000_000 / u64::from(cap);
            assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= gap), "two probes closer than {gap} ns");
        }
    }

    #[test]
    fn no_host_is_probed_faster_than_its_cap() {
        for cap in [1, 10, 200, 3000] {
            check(&drive(5, 40, cap, None, |_| 0), 40, cap);
            check(&drive(5, 40, cap, None, |n| if n % 7 == 0 { 900_000_000 } else { 50_000 }), 40, cap);
        }
    }

    #[test]
    fn is_not_much_slower_than_its_cap() {
        let left = drive(1, 1000, 200, None, |_| 30_000);
        let took = left[0].last().unwrap() - left[0][0];
        assert!(took < 5_600_000_000, "1000 probes at 200 a second took {took} ns");
    }

    #[test]
    fn no_network_is_probed_faster_than_its_cap_either() {
        for (cap, network_cap) in [(200, 300), (50, 1000), (200, 10)] {
            let left =
                drive(
                    8,
                    30,
                    cap,
                    NonZeroU32::new(network_cap),
                    |n| if n % 9 == 0 { 700_000 } else { 20_000 },
                );
            check(&left, 30, cap);
            for network in left.chunks(4) {
                let mut times = network.concat();
                times.sort_unstable();
                check(&[times.clone()], 120, network_cap);
                let took = times[119] - times[0];
                let slowest = 1_000_000_000 / u64::from(network_cap.min(4 * cap)) * 120;
                assert!(took < slowest * 3 / 2, "{cap} and {network_cap}: {took} instead of {slowest} ns");
            }
        }
    }

    #[test]
    fn a_host_that_is_slowed_down_leaves_the_others_alone() {
        for cap in [None, NonZeroU32::new(1000)] {
            let mut caps = Caps::new(8, cap, None);
            let at = |ms: u64| Tick::from_nanos(ms * 1_000_000);
            caps.slow_down(1, NonZeroU32::new(10).expect("not zero"));
            assert!(caps.try_now(place(1), at(1000)) && caps.try_now(place(2), at(1000)));
            assert!(!caps.try_now(place(1), at(1090)), "{cap:?}");
            assert!(caps.try_now(place(2), at(1090)));
            assert!(caps.try_now(place(1), at(1105)));
        }
    }

    /// Slots wrap after 39 hours; a host that nobody has asked for in that time must not seem booked out.
    #[test]
    fn an_old_book_is_a_free_one() {
        let hours = |n: u64| Tick::from_nanos(n * 3_600_000_000_000);
        for hour in 1..100 {
            let mut caps = Caps::new(1, NonZeroU32::new(200), None);
            assert!(caps.admit(place(0), 0, hours(hour)), "after {hour} h");
            assert!(!caps.admit(place(0), 1, hours(hour)), "the cap still holds");
        }
    }

    #[test]
    fn lets_everything_pass_without_a_cap() {
        let mut caps = Caps::new(1, None, None);
        assert!((0..1000).all(|n| caps.admit(place(0), n, Tick::from_nanos(0))));
    }

    proptest! {
        #[test]
        fn holds_under_any_stalls(seed: u64, cap in 1_u32..2000) {
            let mut state = seed | 1;
            let left = drive(3, 20, cap, None, |_| {
                state ^= state << 13; state ^= state >> 7; state ^= state << 17;
                state % 40_000_000
            });
            check(&left, 20, cap);
        }
    }
}
