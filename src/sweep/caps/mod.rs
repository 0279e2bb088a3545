//! The caps: no host and no network is probed more often than this, whatever the rate of the whole.
//!
//! Probes to one host are booked into slots one gap apart, and so are those to one network (an IPv4 /24, an IPv6 /64),
//! because what answers for an address may be a device that answers for all of them. A probe whose slots are now leaves
//! at once; one whose slot lies ahead waits in a heap until it comes. A probe may come a little late to its slot,
//! because the sender sleeps and works in batches; one that comes later than that gives it up and books a new one.
//!
//! What leaves in any second had its slot in that second or in the lateness before it. So with a gap of 1.01 s / cap
//! and a lateness of just under 1 % of a second, that is never more than the cap, as with the [pacer](super::pacer);
//! and the price is the same, 1 % of the cap.
//!
//! Both slots are booked together, and the later one is when the probe leaves. For the host that is also the slot that
//! is taken. A network's slots go on from where they were, because one host that is booked out must not keep its
//! neighbours waiting; so probes of several hosts may come to leave closer together than their network's slots were,
//! and that is looked at once more when they do.

mod books;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::num::NonZeroU32;
use std::time::Duration;

use self::books::Books;
use crate::link::clock::Tick;

/// With more hosts (or networks) than this, several share a slot book: 2 MiB for hosts and half of one for networks are
/// enough, for all senders together. The cap then holds for those that share, and so for each. What one of them books
/// is seldom in the way of another: with the usual cap, so many books let pass 100 million probes a second.
const MOST_BOOKS: u64 = 1 << 19;
const MOST_NETWORK_BOOKS: u64 = 1 << 16;

/// Probes that may wait for their slots at once, at all senders together and give or take [`MOST_AT_ONCE`] at each.
const MOST_WAITING: usize = 1 << 16;

/// Probes that may be asked for in one go once there is room for another to wait.
pub const MOST_AT_ONCE: u64 = 32;

/// How late a probe may be for its slot: less than this, which is 1 % of a second.
const LATE: Duration = Duration::from_millis(10);

/// Whom a probe goes to, as numbers that tell hosts and networks apart.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Place {
    /// The host, in `0..hosts`.
    pub host: u64,
    /// Its network; any number that its hosts share.
    pub network: u64,
}

/// Where the slots of a place are booked: the books of its host and of its network.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Entry {
    host: u32,
    network: u32,
}

/// For how many the books are kept.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// Hosts of the sweep.
    pub hosts: u64,
    /// Networks that they are in.
    pub networks: u64,
    /// Senders, each of which keeps books of its own. They share the memory, so that many need no more than one.
    pub senders: usize,
}

/// Books the slots of all hosts and networks. Pure: it is told the time.
#[derive(Debug)]
pub struct Caps {
    hosts: Books,
    networks: Books,
    /// Up to when the probes that really left to a network have used up its slots.
    left: Books,
    /// Probes that wait for their slot.
    waiting: BinaryHeap<Reverse<Waiting>>,
    most_waiting: usize,
}

/// A probe that waits.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Waiting {
    slot: Tick,
    position: u64,
    entry: Entry,
}

impl Caps {
    /// One sender's caps of so many probes a second for each host and each network, or none.
    pub fn new(extent: Extent, host_pps: Option<NonZeroU32>, network_pps: Option<NonZeroU32>) -> Self {
        let senders = extent.senders.max(1);
        let part = |members: u64, most: u64| members.clamp(1, (most / senders as u64).max(1));
        let hosts = part(extent.hosts, MOST_BOOKS);
        let networks = part(extent.networks, MOST_NETWORK_BOOKS);
        let most_waiting = (MOST_WAITING / senders).max(MOST_AT_ONCE as usize);
        Caps {
            hosts: Books::new(hosts, host_pps),
            networks: Books::new(networks, network_pps),
            left: Books::new(networks, network_pps),
            waiting: BinaryHeap::with_capacity(most_waiting + MOST_AT_ONCE as usize),
            most_waiting,
        }
    }

    /// Where the slots of this place are booked.
    #[inline]
    pub fn entry_of(&self, place: Place) -> Entry {
        Entry { host: self.hosts.book_of(place.host), network: self.networks.book_of(place.network) }
    }

    /// Asks to probe a target now. Where its slot is not now, the position is kept until it comes, and `false` said.
    #[inline]
    pub fn admit(&mut self, entry: Entry, position: u64, now: Tick) -> bool {
        if !(self.hosts.are_open() || self.networks.are_open() || self.left.are_open()) {
            return true;
        }
        let Entry { host, network } = entry;
        let host_slot = self.hosts.free_at(host, now);
        let network_slot = self.networks.free_at(network, now);
        self.networks.book(network, network_slot.unwrap_or(now));
        let Some(slot) = host_slot.max(network_slot).max(self.left.room_at(network, now)) else {
            self.hosts.book(host, now);
            self.left.use_up(network, now);
            return true;
        };
        self.hosts.book(host, slot);
        self.waiting.push(Reverse(Waiting { slot, position, entry }));
        false
    }

    /// Takes the slots of a target that may be probed now; books nothing and keeps nothing where it may not.
    pub fn try_now(&mut self, place: Place, now: Tick) -> bool {
        let Entry { network, .. } = self.entry_of(place);
        let free = self.networks.free_at(network, now).is_none()
            && self.left.room_at(network, now).is_none()
            && self.try_host(place, now);
        if free {
            self.networks.book(network, now);
            self.left.use_up(network, now);
        }
        free
    }

    /// Takes the slot of a host that may be probed now, for one who stands in for a probe to its network.
    pub fn try_host(&mut self, place: Place, now: Tick) -> bool {
        let Entry { host, .. } = self.entry_of(place);
        let free = self.hosts.free_at(host, now).is_none();
        if free {
            self.hosts.book(host, now);
        }
        free
    }

    /// Reads the books of hosts that are about to be asked for, so that they are in the cache by then.
    #[inline]
    pub fn warm(&self, entries: impl Iterator<Item = Entry>) {
        self.hosts.warm(entries.map(|entry| entry.host));
    }

    /// Probes this host no faster than so many times a second from now on.
    pub fn slow_down(&mut self, host: u64, pps: NonZeroU32, now: Tick) {
        self.hosts.slow_down(self.hosts.book_of(host), pps, now);
    }

    /// Probes this host as fast as all others again.
    pub fn restore(&mut self, host: u64) {
        self.hosts.restore(self.hosts.book_of(host));
    }

    /// Probes every host half as fast from now on, but no slower than `floor_pps`.
    pub fn halve_hosts(&mut self, floor_pps: NonZeroU32, now: Tick) {
        self.hosts.halve(floor_pps, now);
    }

    /// The next position whose slot has come.
    #[inline]
    pub fn due(&mut self, now: Tick) -> Option<u64> {
        while let Some(Reverse(first)) = self.waiting.peek().copied() {
            if first.slot > now {
                return None;
            }
            self.waiting.pop();
            let Waiting { slot, position, entry } = first;
            let in_time = self.hosts.is_in_time(slot, now);
            if in_time && self.left.room_at(entry.network, now).is_none() {
                self.left.use_up(entry.network, now);
                return Some(position);
            }
            if self.admit(entry, position, now) {
                return Some(position);
            }
        }
        None
    }

    /// When the next waiting probe has its slot.
    pub fn next_due(&self) -> Option<Tick> {
        self.waiting.peek().map(|Reverse(waiting)| waiting.slot)
    }

    /// Forgets who waits.
    pub fn clear(&mut self) {
        self.waiting.clear();
    }

    /// Whether another [`MOST_AT_ONCE`] probes may be asked for.
    pub fn has_room(&self) -> bool {
        self.waiting.len() < self.most_waiting
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::books::gap_of;
    use super::*;

    /// Caps of one sender.
    fn caps_of(hosts: u64, host_pps: Option<NonZeroU32>, network_pps: Option<NonZeroU32>) -> Caps {
        Caps::new(Extent { hosts, networks: hosts, senders: 1 }, host_pps, network_pps)
    }

    /// Hosts in networks of four.
    fn place(host: u64) -> Place {
        Place { host, network: host / 4 }
    }

    fn admit(caps: &mut Caps, place: Place, position: u64, now: Tick) -> bool {
        caps.admit(caps.entry_of(place), position, now)
    }

    /// Asks for every probe at once, then drains with the given stalls; returns when each probe of each host left.
    fn drive(
        hosts: u64,
        each: u64,
        cap: u32,
        network_cap: Option<NonZeroU32>,
        mut stall: impl FnMut(u64) -> u64,
    ) -> Vec<Vec<u64>> {
        let mut caps = caps_of(hosts, NonZeroU32::new(cap), network_cap);
        let mut left = vec![Vec::new(); hosts as usize];
        let mut now = Tick::from_nanos(1_000_000_000);
        for position in 0..hosts * each {
            if admit(&mut caps, place(position % hosts), position, now) {
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

    /// That so many probes of each left, and not even as few as a handful of them closer together than slots and their
    /// lateness allow, of which it follows that no second has more than the cap.
    fn check(left: &[Vec<u64>], each: u64, cap: u32) {
        for times in left {
            assert_eq!(times.len() as u64, each, "every probe leaves once");
            let least = |slots: usize| {
                (slots as u64 * gap_of(NonZeroU32::new(cap).expect("a cap")))
                    .saturating_sub(LATE.as_nanos() as u64)
            };
            for slots in 1..times.len() {
                let closest = times.windows(slots + 1).map(|window| window[slots] - window[0]).min();
                let least = least(slots);
                assert!(closest >= Some(least), "cap {cap}: {slots} slots in {closest:?} and not {least} ns");
            }
            assert!(fullest_second(times) <= cap as usize, "cap {cap}: {}", fullest_second(times));
        }
    }

    fn fullest_second(times: &[u64]) -> usize {
        let mut from = 0;
        let counts = times.iter().enumerate().map(|(n, at)| {
            while at - times[from] >= 1_000_000_000 {
                from += 1;
            }
            n + 1 - from
        });
        counts.max().unwrap_or(0)
    }

    /// A sender on a busy machine, that has as many probes as it can send: it wakes some 50 µs too late, stalls for
    /// 200 µs now and then, and takes 256 probes at a time, which cost it 100 µs.
    fn send_for(seconds: u64, hosts: u64, host_cap: Option<u32>, network_cap: Option<u32>) -> Vec<Vec<u64>> {
        let cap = |pps: Option<u32>| pps.and_then(NonZeroU32::new);
        let mut caps = caps_of(hosts, cap(host_cap), cap(network_cap));
        let mut left = vec![Vec::new(); hosts as usize];
        let start = 7_000_000_000;
        let (mut now, mut position, mut step) = (start, 0, 0);
        while now < start + seconds * 1_000_000_000 {
            let at = Tick::from_nanos(now);
            let mut batch = 0;
            while batch < 256
                && let Some(position) = caps.due(at)
            {
                left[(position % hosts) as usize].push(now);
                batch += 1;
            }
            while batch < 256 && caps.has_room() {
                if admit(&mut caps, place(position % hosts), position, at) {
                    left[(position % hosts) as usize].push(now);
                    batch += 1;
                }
                position += 1;
            }
            step += 1;
            let due = caps.next_due().map_or(now, Tick::as_nanos);
            now = if batch == 256 { now + 100_000 } else { due.max(now) + 50_000 };
            now += if step % 11 == 0 { 200_000 } else { 0 };
        }
        left
    }

    #[test]
    fn a_cap_is_used_to_the_full_and_not_exceeded_in_any_second() {
        for cap in [1, 7, 200, 2000, 5000, 30_000, 50_000, 70_000, 97_000, 100_000] {
            let seconds = if cap < 200 { 60 } else { 3 };
            let all = u64::from(cap) * seconds;
            let enough = |sent: usize| sent as f64 >= 0.95 * all as f64;
            for host in send_for(seconds, 2, Some(cap), None) {
                assert!(fullest_second(&host) <= cap as usize, "host cap {cap}: {}", fullest_second(&host));
                assert!(enough(host.len()), "host cap {cap}: {} of {all} left", host.len());
            }
            let mut network = send_for(seconds, 4, None, Some(cap)).concat();
            network.sort_unstable();
            let most = fullest_second(&network);
            assert!(most <= cap as usize, "network cap {cap}: {most}");
            assert!(enough(network.len()), "network cap {cap}: {} of {all} left", network.len());
        }
    }

    #[test]
    fn both_caps_together_are_used_nearly_to_the_full() {
        for (host_cap, network_cap) in [(200, 5000), (2000, 5000), (20_000, 50_000)] {
            let hosts = 64;
            let mut caps_of_network = vec![Vec::new(); 16];
            for (n, host) in send_for(3, hosts, Some(host_cap), Some(network_cap)).into_iter().enumerate() {
                assert!(fullest_second(&host) <= host_cap as usize);
                caps_of_network[n / 4].extend(host);
            }
            for mut network in caps_of_network {
                network.sort_unstable();
                assert!(fullest_second(&network) <= network_cap as usize);
                let all = 3 * u64::from(network_cap.min(4 * host_cap));
                assert!(network.len() as u64 * 10 >= all * 9, "{host_cap}, {network_cap}: {}", network.len());
            }
        }
    }

    /// Slots of a fast cap are counted in fine steps, which do not reach far; a slow host among them needs more.
    #[test]
    fn a_host_that_is_slowed_down_much_keeps_its_cap_however_many_wait() {
        for halved in [false, true] {
            let mut caps = caps_of(1, NonZeroU32::new(100_000), None);
            let slow = NonZeroU32::new(20).expect("not zero");
            let mut now = Tick::from_nanos(5_000_000_000);
            assert!(admit(&mut caps, place(0), 0, now));
            if halved {
                (0..10).for_each(|_| caps.halve_hosts(slow, now));
            } else {
                caps.slow_down(0, slow, now);
            }
            let most = MOST_WAITING as u64;
            assert!((1..=most).all(|position| !admit(&mut caps, place(0), position, now)));
            let mut left = Vec::new();
            while let Some(next) = caps.next_due() {
                now = next;
                left.extend(caps.due(now).map(|_| now.as_nanos()));
            }
            assert_eq!(left.len() as u64, most);
            assert!(left.windows(2).all(|pair| pair[1] - pair[0] >= 50_000_000));
        }
    }

    #[test]
    fn waiting_takes_no_memory_that_was_not_there_from_the_beginning() {
        let mut caps = caps_of(1, NonZeroU32::new(1), None);
        let room = caps.waiting.capacity();
        let most = MOST_WAITING as u64 + MOST_AT_ONCE;
        (0..most).for_each(|position| {
            admit(&mut caps, place(0), position, Tick::from_nanos(1));
        });
        assert_eq!(caps.waiting.capacity(), room);
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
            let mut caps = caps_of(8, cap, None);
            let at = |ms: u64| Tick::from_nanos(ms * 1_000_000);
            caps.slow_down(1, NonZeroU32::new(10).expect("not zero"), at(500));
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
            let mut caps = caps_of(1, NonZeroU32::new(200), None);
            assert!(admit(&mut caps, place(0), 0, hours(hour)), "after {hour} h");
            assert!(!admit(&mut caps, place(0), 1, hours(hour)), "the cap still holds");
        }
    }

    #[test]
    fn lets_everything_pass_without_a_cap() {
        let mut caps = caps_of(1, None, None);
        assert!((0..1000).all(|n| admit(&mut caps, place(0), n, Tick::from_nanos(0))));
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
