//! The roll of a local network: its hosts, called one after another, again and again, while a sweep runs. A host may
//! move to another hardware address (a floating address fails over, a machine is rebuilt) or go away, and what is sent
//! to it then would look like silence of its ports.
//!
//! Only the books are kept here: the caller asks, hears the answers and says what time it is. Nothing looks at all
//! hosts at once, so that a network of a hundred thousand costs no more than one of ten.

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use super::LinkError;
use super::clock::Tick;
use super::guard::{Trouble, Word};

/// The shortest time between two questions to one host, and how long an answer may take.
pub(super) const INTERVAL: Duration = Duration::from_millis(250);

/// Questions to its own address that may stay without an answer before everybody is asked.
pub(super) const BROADCAST_AFTER: u32 = 2;

/// Questions without an answer that mean that it is gone. More than of a router: of hundreds of hosts, each asked four
/// times a second, chance would soon make one silent that often where the network loses one frame in twenty.
const SILENT_AFTER: u32 = 6;

/// The shortest time between two questions for a host that is gone; each disturbs everybody.
const GONE_INTERVAL: Duration = Duration::from_secs(2);

/// How many questions may be made good at once after a pause, as a time.
const BURST: Duration = Duration::from_millis(50);

/// How far behind the path may be vouched for. Where a round takes longer than this, because the hosts are many or the
/// rate is low, the last of them are asked, too, but not waited for: the sweep must come to an end.
const MOST_LAG: Duration = Duration::from_secs(20);

/// The hosts of one path.
#[derive(Debug)]
pub(super) struct Roll {
    /// Sorted by address. Each is in one of the four queues, by its number.
    hosts: Vec<Host>,
    /// Whose turn comes, and of whom an answer is awaited, each in the order of asking.
    round: VecDeque<usize>,
    awaited: VecDeque<usize>,
    /// Who did not answer the last time, and is asked again soon.
    suspects: VecDeque<usize>,
    /// Who is gone.
    gone: VecDeque<usize>,
    /// Up to when each that is not gone is known to have been there.
    good: BTreeSet<(Tick, usize)>,
    /// When the last question that anybody answered had been asked, and the first one after the last lull: a time in
    /// which nobody was heard, so that whoever was silent in it need not be gone.
    heard: Tick,
    lull_end: Tick,
    /// Whose turn it is: that of a suspect, or that of the round.
    suspect_first: bool,
    /// Whether so many are silent, and nobody else speaks, that it must be the network or ourselves.
    silent: bool,
    /// The time between two questions, and when the next may leave.
    gap: Duration,
    departure: Tick,
}

#[derive(Debug)]
struct Host {
    ip: IpAddr,
    mac: [u8; 6],
    /// When the last question was asked, and whether it has been answered.
    asked: Option<Tick>,
    answered: bool,
    /// Another station that answered in its name since the last question.
    other: Option<[u8; 6]>,
    /// Questions in a row without an answer, and when the first of them was asked.
    missed: u32,
    missing_since: Tick,
    good_until: Tick,
    gone: bool,
}

/// What has become of a host.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Change {
    /// It is at another hardware address; what was sent to it since that moment is lost.
    Moved { ip: IpAddr, mac: [u8; 6], since: Tick },
    /// It is gone, since some moment after this one.
    Gone { ip: IpAddr, since: Tick },
    /// It had gone, and is there again.
    Back { ip: IpAddr, mac: [u8; 6] },
}

impl Roll {
    /// These hosts, which have all just been found where they are, in ascending order of their addresses.
    pub(super) fn new(hosts: impl Iterator<Item = (IpAddr, [u8; 6])>, rate: NonZeroU32, now: Tick) -> Self {
        let host = |(ip, mac)| Host {
            ip,
            mac,
            asked: None,
            answered: false,
            other: None,
            missed: 0,
            missing_since: now,
            good_until: now,
            gone: false,
        };
        let hosts: Vec<Host> = hosts.map(host).collect();
        Roll {
            round: (0..hosts.len()).collect(),
            awaited: VecDeque::new(),
            suspects: VecDeque::new(),
            gone: VecDeque::new(),
            good: (0..hosts.len()).map(|number| (now, number)).collect(),
            hosts,
            heard: now,
            lull_end: now,
            suspect_first: true,
            silent: false,
            gap: Duration::from_secs(1) / rate.get(),
            departure: now,
        }
    }

    /// An answer has come in. One from another station than before counts only if that one has nothing to say: two
    /// stations may both answer for an address, which is a fault of that network, and no reason to go to and fro.
    pub(super) fn hear(&mut self, ip: IpAddr, mac: [u8; 6]) -> Option<Change> {
        let number = self.hosts.binary_search_by_key(&ip, |host| host.ip).ok()?;
        let host = &mut self.hosts[number];
        let asked = host.asked?;
        if mac != host.mac && !host.gone {
            host.other = Some(mac);
            return None;
        }
        host.answered = true;
        let was_gone = std::mem::take(&mut host.gone);
        host.mac = mac;
        self.note_good(number, asked);
        // From the queue of those that are gone it comes back by itself, when it is asked the next time.
        was_gone.then_some(Change::Back { ip, mac })
    }

    /// Closes the questions whose time is over, and tells what has become of whom.
    pub(super) fn close(&mut self, now: Tick, tell: &mut dyn FnMut(Change)) {
        while let Some(&number) = self.awaited.front() {
            let host = &mut self.hosts[number];
            let Some(asked) = host.asked.filter(|asked| now.since(*asked) >= INTERVAL) else { break };
            self.awaited.pop_front();
            let other = host.other.take();
            if host.answered {
                self.round.push_back(number);
            } else if let Some(mac) = other {
                let (ip, since) = (host.ip, host.good_until);
                host.mac = mac;
                self.note_good(number, asked);
                self.round.push_back(number);
                tell(Change::Moved { ip, mac, since });
            } else {
                self.note_silence(number, asked, tell);
            }
        }
    }

    fn note_silence(&mut self, number: usize, asked: Tick, tell: &mut dyn FnMut(Change)) {
        let host = &mut self.hosts[number];
        if host.gone {
            return self.gone.push_back(number);
        }
        if host.missed == 0 {
            host.missing_since = asked;
        }
        host.missed = host.missed.saturating_add(1);
        if host.missed < SILENT_AFTER {
            return self.suspects.push_back(number);
        }
        // Whether one host is gone or all of them are out of reach, the others tell.
        if asked.since(self.heard) > lull(self.gap) {
            self.silent = true;
            return self.suspects.push_back(number);
        }
        if self.lull_end >= host.missing_since {
            host.missed = 0;
            return self.suspects.push_back(number);
        }
        host.gone = true;
        self.good.remove(&(host.good_until, number));
        self.gone.push_back(number);
        tell(Change::Gone { ip: host.ip, since: host.good_until });
    }

    fn note_good(&mut self, number: usize, asked: Tick) {
        let host = &mut self.hosts[number];
        self.good.remove(&(host.good_until, number));
        host.good_until = host.good_until.max(asked);
        host.missed = 0;
        self.good.insert((host.good_until, number));
        if asked.since(self.heard) > lull(self.gap) {
            self.lull_end = asked;
        }
        self.heard = self.heard.max(asked);
        self.silent = false;
    }

    /// Asks whom it is time to ask, by `ask`, which says whether the question was taken.
    ///
    /// # Errors
    /// Those of `ask`.
    pub(super) fn ask(
        &mut self,
        now: Tick,
        ask: &mut dyn FnMut(IpAddr, Option<[u8; 6]>) -> Result<bool, LinkError>,
    ) -> Result<(), LinkError> {
        self.departure = self.departure.max(now - BURST);
        let mut may_ask_gone = true;
        while self.departure <= now {
            let Some(number) = self.next(now, &mut may_ask_gone) else { return Ok(()) };
            let host = &mut self.hosts[number];
            let to = (host.missed < BROADCAST_AFTER && !host.gone).then_some(host.mac);
            if !ask(host.ip, to)? {
                // It is asked a moment later.
                self.suspects.push_front(number);
                return Ok(());
            }
            host.asked = Some(now);
            host.answered = false;
            self.awaited.push_back(number);
            self.departure = self.departure + self.gap;
        }
        Ok(())
    }

    /// Whoever is to be asked next, taken out of its queue.
    fn next(&mut self, now: Tick, may_ask_gone: &mut bool) -> Option<usize> {
        let is_due = |number: &usize, interval| {
            self.hosts[*number].asked.is_none_or(|asked| now.since(asked) >= interval)
        };
        let is_gone_due = self.gone.front().is_some_and(|number| is_due(number, GONE_INTERVAL));
        if is_gone_due && std::mem::take(may_ask_gone) {
            return self.gone.pop_front();
        }
        // By turns, so that those that answer are heard of meanwhile, at the lowest rate as well.
        let is_round_due = self.round.front().is_some_and(|number| is_due(number, INTERVAL));
        self.suspect_first = !self.suspect_first || !is_round_due;
        if self.suspect_first && !self.suspects.is_empty() || !is_round_due {
            return self.suspects.pop_front();
        }
        self.round.pop_front()
    }

    /// Something may have been lost on our own side: whoever has not answered is asked again, and it does not count.
    pub(super) fn forgive(&mut self) {
        for number in self.awaited.drain(..) {
            let queue = if self.hosts[number].gone { &mut self.gone } else { &mut self.round };
            queue.push_back(number);
        }
        self.silent = false;
    }

    /// What is to be said of the path.
    pub(super) fn word(&self, now: Tick) -> Word {
        if self.silent {
            return Word::Bad(Trouble::NextHopSilent);
        }
        let oldest = self.good.first().map_or(now, |(good_until, _)| *good_until);
        Word::Good(oldest.max(now - MOST_LAG))
    }
}

/// How long nobody may be heard of before it is a lull: more than passes between two answers of a network of two, of
/// which one is gone, and less than passes between the first and the last question that make a host gone.
fn lull(gap: Duration) -> Duration {
    (INTERVAL * 2).max(gap * 2 + BURST) + gap
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A network in virtual time, looked at every 20 ms.
    struct Network {
        roll: Roll,
        now: Tick,
        /// Answers on their way.
        answers: Vec<(IpAddr, [u8; 6])>,
        changes: Vec<(Tick, Change)>,
        /// Who was asked when, and whether alone.
        questions: Vec<(Tick, IpAddr, bool)>,
    }

    const OLD: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const NEW: [u8; 6] = [2, 0, 0, 0, 0, 2];

    fn ms(n: u64) -> Tick {
        Tick::from_nanos(n * 1_000_000)
    }

    fn host(number: u32) -> IpAddr {
        IpAddr::V4((0xc612_0000 + number).into())
    }

    impl Network {
        fn new(hosts: u32, rate: u32) -> Self {
            let rate = NonZeroU32::new(rate).expect("no zero");
            let roll = Roll::new((0..hosts).map(|number| (host(number), OLD)), rate, ms(1000));
            Network { roll, now: ms(1000), answers: Vec::new(), changes: Vec::new(), questions: Vec::new() }
        }

        /// Goes on until that moment. `mac` is where a host is, if it is there.
        fn run(&mut self, until: Tick, mac: impl Fn(IpAddr) -> Option<[u8; 6]>) {
            while self.now < until {
                self.now = self.now + Duration::from_millis(20);
                let now = self.now;
                for (ip, mac) in self.answers.drain(..) {
                    self.changes.extend(self.roll.hear(ip, mac).map(|change| (now, change)));
                }
                let changes = &mut self.changes;
                self.roll.close(now, &mut |change| changes.push((now, change)));
                let (questions, answers) = (&mut self.questions, &mut self.answers);
                let mut ask = |ip, to: Option<[u8; 6]>| {
                    questions.push((now, ip, to.is_some()));
                    answers.extend(mac(ip).filter(|at| to.is_none_or(|to| to == *at)).map(|at| (ip, at)));
                    Ok(true)
                };
                self.roll.ask(now, &mut ask).expect("a network");
            }
        }

        fn good_until(&self) -> Tick {
            match self.roll.word(self.now) {
                Word::Good(until) => until,
                word => panic!("{word:?}"),
            }
        }
    }

    #[test]
    fn keeps_to_the_rate_and_to_the_interval_and_vouches_soon() {
        for (hosts, rate, lag) in [(1, 2000, 300), (500, 2000, 320), (500, 500, 1100), (10_000, 2000, 5500)] {
            let mut network = Network::new(hosts, rate);
            network.run(ms(9000), |_| Some(OLD));
            let lagging = network.now.since(network.good_until());
            assert!(lagging <= Duration::from_millis(lag), "{hosts} at {rate}: {lagging:?} behind");
            assert!(network.changes.is_empty() && network.questions.iter().all(|(.., alone)| *alone));
            assert!(network.questions.len() as u32 <= rate * 8 + rate / 10);
            let mut of_one = network.questions.iter().filter(|(_, ip, _)| *ip == host(0)).map(|(at, ..)| *at);
            let first = of_one.next().expect("a question");
            of_one.fold(first, |before, at| {
                assert!(at.since(before) >= INTERVAL, "{at:?} after {before:?}");
                at
            });
        }
    }

    #[test]
    fn a_host_that_moves_is_found_where_it_is() {
        let mut network = Network::new(10, 2000);
        network.run(ms(3000), |_| Some(OLD));
        network.run(ms(6000), |ip| Some(if ip == host(3) { NEW } else { OLD }));
        let [(at, Change::Moved { ip, mac: NEW, since })] = network.changes[..] else {
            panic!("{:?}", network.changes)
        };
        assert!(ip == host(3) && since <= ms(3000) && since > ms(2700), "{since:?}");
        assert!(at <= ms(4100), "{at:?}");
        assert!(network.good_until() > ms(5600));
        let asked_all = network.questions.iter().filter(|(.., alone)| !alone).count();
        assert_eq!(asked_all, 1);
    }

    #[test]
    fn a_host_that_answers_from_two_addresses_stays_where_it_was() {
        let mut network = Network::new(2, 2000);
        for _ in 0..100 {
            network.run(network.now + Duration::from_millis(20), |_| Some(OLD));
            network.roll.hear(host(0), NEW);
        }
        assert!(network.changes.iter().all(|(_, change)| !matches!(change, Change::Moved { .. })));
    }

    #[test]
    fn a_host_that_goes_holds_nobody_up_and_may_come_back() {
        let mut network = Network::new(10, 2000);
        network.run(ms(3000), |_| Some(OLD));
        network.run(ms(7000), |ip| (ip != host(3)).then_some(OLD));
        let [(at, Change::Gone { ip, since })] = network.changes[..] else { panic!("{:?}", network.changes) };
        assert!(ip == host(3) && since <= ms(3000) && since > ms(2700) && at <= ms(4900), "{since:?} {at:?}");
        assert!(network.good_until() > ms(6600));
        network.run(ms(10_000), |_| Some(OLD));
        assert_eq!(network.changes[1].1, Change::Back { ip: host(3), mac: OLD });
        assert!(network.good_until() > ms(9600));
    }

    #[test]
    fn while_one_is_silent_nothing_is_vouched_for_that_it_may_have_missed() {
        let mut network = Network::new(10, 2000);
        network.run(ms(3000), |_| Some(OLD));
        network.run(ms(3600), |ip| (ip != host(3)).then_some(OLD));
        assert!(network.changes.is_empty() && network.good_until() <= ms(3000));
        network.run(ms(4000), |_| Some(OLD));
        assert!(network.changes.is_empty() && network.good_until() > ms(3500));
    }

    #[test]
    fn silence_of_all_is_trouble_of_the_path_and_says_nothing_of_hosts() {
        for hosts in [1, 10, 1000] {
            let mut network = Network::new(hosts, 2000);
            network.run(ms(3000), |_| Some(OLD));
            network.run(ms(9000), |_| None);
            assert_eq!(network.roll.word(network.now), Word::Bad(Trouble::NextHopSilent), "{hosts}");
            assert!(network.changes.is_empty(), "{:?}", network.changes);
            network.run(ms(14_000), |_| Some(OLD));
            assert!(network.good_until() > ms(12_000) && network.changes.is_empty(), "{hosts}");
        }
    }

    #[test]
    fn a_lull_makes_nobody_gone() {
        for lull_ms in [300, 500, 700, 900, 1100, 1300, 1400, 1500, 1600, 1800, 3000] {
            for phase in (0..250).step_by(20) {
                let mut network = Network::new(20, 2000);
                network.run(ms(3000 + phase), |_| Some(OLD));
                network.run(ms(3000 + phase + lull_ms), |_| None);
                network.run(ms(7000 + lull_ms), |_| Some(OLD));
                assert!(network.changes.is_empty(), "{lull_ms} {phase}: {:?}", network.changes);
                assert!(network.good_until() > ms(6500 + lull_ms));
            }
        }
    }

    #[test]
    fn at_the_lowest_rates_whoever_goes_is_told_from_a_lull_too() {
        for rate in [1, 2, 4, 5, 6, 7, 8, 9, 10, 20, 100] {
            for hosts in [2, 3, 10] {
                let mut network = Network::new(hosts, rate);
                network.run(ms(20_000), |_| Some(OLD));
                network.run(ms(60_000), |ip| (ip != host(1)).then_some(OLD));
                let gone = |(_, change): &(Tick, Change)| matches!(change, Change::Gone { ip, .. } if *ip == host(1));
                assert!(network.changes.len() == 1 && gone(&network.changes[0]), "{rate} {hosts}");
                network.run(ms(120_000), |_| None);
                assert_eq!(network.changes.len(), 1, "{rate} {hosts}");
                assert_eq!(network.roll.word(network.now), Word::Bad(Trouble::NextHopSilent));
            }
        }
    }

    #[test]
    fn what_we_may_have_lost_ourselves_counts_for_nothing() {
        let mut network = Network::new(10, 2000);
        for _ in 0..300 {
            network.run(network.now + Duration::from_millis(20), |ip| (ip != host(3)).then_some(OLD));
            network.roll.forgive();
        }
        assert!(network.changes.is_empty(), "{:?}", network.changes);
    }

    #[test]
    fn a_large_network_is_vouched_for_all_the_same() {
        let mut network = Network::new(131_072, 2000);
        network.run(ms(70_000), |_| Some(OLD));
        assert_eq!(network.good_until(), network.now - MOST_LAG);
    }
}
