//! The watch: what the receiver hears of its own eyesight and of the paths, and what it tells of them.
//!
//! It turns readings of the drop counter and the words of witnesses into spans that were seen and spans that were not
//! ([`super::seeing`]).

use std::net::IpAddr;
use std::time::Duration;

use super::paths::Unanswered;
use super::report::UnknownReason;
use super::seeing::{BlindSlice, Seeing, Told, bit};
use crate::link::clock::Tick;
use crate::sync::Ordering;

/// How long a frame may lie in the kernel's ring before the receiver gets it: the ring's own timer, and room for a busy
/// machine. Readings of the drop counter say nothing of frames younger than this.
pub const RING_DELAY: Duration = Duration::from_millis(50);

/// How long a path may be in trouble before it is given up.
pub const LOST_AFTER: Duration = Duration::from_secs(10);

/// How long the receiver may be away before it takes itself for stopped, as by a signal, a debugger, or a machine that
/// was put to sleep.
const STOPPED_AFTER: Duration = Duration::from_secs(1);

/// Slices of single hosts that may wait to be told.
const MOST_HOSTS_PENDING: usize = 64;

/// Who vouches for a path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Witness {
    /// The link's guard, for the way to the next hop.
    Guard,
    /// The canaries, for the way beyond.
    Canaries,
}

/// What a witness says of a path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Testimony {
    /// It was whole up to this moment.
    Good(Tick),
    /// It is broken, for this reason.
    Bad(UnknownReason),
    /// The same, from this moment on at the latest, even if something later has been called good.
    BadSince(UnknownReason, Tick),
}

/// A time that a path was in trouble.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Outage {
    /// What was wrong, as the guard has it, or else the canaries.
    pub reason: UnknownReason,
    /// The last moment that was vouched for.
    pub from: Tick,
    /// When it was whole again; `None` if it never was.
    pub until: Option<Tick>,
}

/// The receiver's side: turns readings of the drop counter and testimonies into seen and blind spans.
#[derive(Debug)]
pub struct Watch {
    began: Tick,
    drops: u64,
    looked: Tick,
    /// Everything before this was seen, or has been called blind.
    seen_to: Tick,
    /// Slices that are not told yet.
    pending: Vec<BlindSlice>,
    paths: Vec<PathWatch>,
}

/// One path, as its witnesses have it.
#[derive(Debug)]
struct PathWatch {
    good_until: [Tick; 2],
    trouble: [Option<UnknownReason>; 2],
    /// Since when there has been trouble without a break.
    since: Option<Tick>,
    lost: bool,
    outages: Vec<Outage>,
    /// How long nobody has answered.
    unanswered: Unanswered,
}

impl PathWatch {
    fn is_troubled(&self) -> bool {
        !self.lost && self.trouble.iter().any(Option::is_some)
    }

    fn vouched(&self) -> Tick {
        self.good_until[0].min(self.good_until[1])
    }
}

impl Watch {
    /// Begins to watch as many paths; `drops` is the counter's first reading.
    pub fn new(now: Tick, drops: u64, paths: usize) -> Self {
        let path = || PathWatch {
            good_until: [now; 2],
            trouble: [None; 2],
            since: None,
            lost: false,
            outages: Vec::new(),
            unanswered: Unanswered::default(),
        };
        Watch {
            began: now,
            drops,
            looked: now,
            seen_to: now - RING_DELAY,
            pending: Vec::new(),
            paths: (0..paths).map(|_| path()).collect(),
        }
    }

    /// Whether it is time to look again.
    pub fn is_due(&self, now: Tick) -> bool {
        now.since(self.looked) >= Duration::from_millis(20)
    }

    /// The last reading of the drop counter.
    pub fn drops(&self) -> u64 {
        self.drops
    }

    /// Whether any path is in trouble.
    pub fn is_troubled(&self) -> bool {
        self.paths.iter().any(PathWatch::is_troubled)
    }

    /// The outages of each path.
    pub fn outages(&self) -> Vec<Vec<Outage>> {
        self.paths.iter().map(|path| path.outages.clone()).collect()
    }

    /// To be called before anything else is entered at `now`: says whether this host itself was stopped since the last
    /// look. Then nothing was seen, and nobody was asked who could have vouched for a path.
    pub fn wake(&mut self, now: Tick) -> bool {
        let gap = now.since(self.looked);
        if gap > STOPPED_AFTER {
            let reason = UnknownReason::ReceiverDropped;
            self.add_pending(BlindSlice { from: self.seen_to, to: now, path: None, host: None, reason });
            for path in &mut self.paths {
                path.good_until = path.good_until.map(|until| until + gap);
                path.since = path.since.map(|since| since + gap);
            }
            return true;
        }
        false
    }

    /// Enters what a witness says of a path, at `now`.
    pub fn hear(&mut self, path: usize, witness: Witness, testimony: Testimony, now: Tick) {
        let Some(watched) = self.paths.get_mut(path) else { return };
        let at = witness as usize;
        match testimony {
            Testimony::Good(until) => {
                let from = watched.good_until[at];
                watched.good_until[at] = from.max(until);
                let trouble = watched.trouble[at].take().filter(|_| !watched.lost);
                self.end_outage(path, now);
                if let Some(reason) = trouble {
                    self.add_pending(BlindSlice { from, to: now, path: Some(path), host: None, reason });
                }
            }
            Testimony::BadSince(reason, since) => {
                watched.good_until[at] = watched.good_until[at].min(since);
                self.hear(path, witness, Testimony::Bad(reason), now);
            }
            Testimony::Bad(reason) => {
                // That others answer in place of the targets is the worst: it stands until all is well again.
                let usurped = watched.trouble[at].filter(|known| *known == UnknownReason::CanariesChanged);
                let reason = usurped.unwrap_or(reason);
                watched.trouble[at] = Some(reason);
                let from = watched.good_until[at];
                if watched.since.is_none() && !watched.lost {
                    watched.since = Some(now);
                    watched.outages.push(Outage { reason, from, until: None });
                } else if let Some(outage) =
                    watched.outages.last_mut().filter(|outage| outage.until.is_none())
                {
                    // Canaries notice sooner that something is wrong, but only the guard sees what; and that somebody
                    // else answers may show only after they were called silent.
                    let is_worse = reason == UnknownReason::CanariesChanged
                        && watched.trouble[Witness::Guard as usize].is_none();
                    if witness == Witness::Guard || is_worse {
                        outage.reason = reason;
                        outage.from = outage.from.min(from);
                    }
                }
            }
        }
    }

    /// Enters that one host of a path was out of reach from some moment after `since` until now.
    pub fn hear_of_host(&mut self, path: usize, host: IpAddr, since: Tick, reason: UnknownReason, now: Tick) {
        let Some(watched) = self.paths.get_mut(path).filter(|watched| !watched.lost) else { return };
        // The last one may not be over yet, and stays the last. Many hosts may fare alike, which is no news of each.
        let is_open = watched.outages.last().is_some_and(|outage| outage.until.is_none());
        let at = watched.outages.len() - usize::from(is_open);
        let is_same = |outage: &&mut Outage| {
            outage.reason == reason && outage.until.is_some_and(|until| until >= since)
        };
        match watched.outages[..at].last_mut().filter(is_same) {
            Some(outage) => (outage.from, outage.until) = (outage.from.min(since), Some(now)),
            None => watched.outages.insert(at, Outage { reason, from: since, until: Some(now) }),
        }
        // Each slice is a search for the sender. Beyond a few, all of the path is made void at once.
        let is_one_of_many = self.pending.len() >= MOST_HOSTS_PENDING;
        let host = Some(host).filter(|_| !is_one_of_many);
        self.add_pending(BlindSlice { from: since, to: now, path: Some(path), host, reason });
    }

    /// Enters that the first answer of all by a path was to a probe sent at `sent`. Nothing vouches for what was sent
    /// there before, unless it is no longer ago than answers take.
    pub fn hear_first(&mut self, path: usize, sent: Tick, patience: Duration) {
        if sent.since(self.began) > patience {
            let reason = UnknownReason::NothingHeard;
            self.add_pending(BlindSlice { from: self.began, to: sent, path: Some(path), host: None, reason });
        }
    }

    /// Enters a reading of the drop counter, made at `now`. Every frame that was in the ring at `emptied`, somewhat
    /// earlier, has been handled. An answer takes at most `patience`.
    pub fn look(&mut self, seeing: &Seeing, emptied: Tick, now: Tick, drops: u64, patience: Duration) {
        if drops != self.drops {
            let reason = UnknownReason::ReceiverDropped;
            self.add_pending(BlindSlice { from: self.seen_to, to: now, path: None, host: None, reason });
            self.drops = drops;
        }
        self.looked = now;
        self.seen_to = emptied - RING_DELAY;
        self.give_up_lost(seeing, now);
        let mask = |is: fn(&PathWatch) -> bool| {
            self.paths.iter().zip(0..).filter(|(path, _)| is(path)).fold(0, |bits, (_, n)| bits | bit(n))
        };
        seeing.marks.mark(|path| self.paths.get(path).map(|path| (path.is_troubled(), path.lost)));
        seeing.lost.store(mask(|path| path.lost), Ordering::Relaxed);
        seeing.troubled.store(mask(PathWatch::is_troubled), Ordering::Relaxed);
        if !self.tell(seeing) {
            // A sender is behind: the slices go on growing, and nothing after them counts as settled.
            return;
        }
        // What was sent up to the moment that a witness vouches for is settled once its answer had time to come.
        let vouched = self.paths.iter().filter(|path| !path.lost).map(|path| path.vouched() + patience).min();
        let settled = vouched.map_or(self.seen_to, |vouched| vouched.min(self.seen_to));
        seeing.settled_until.store(settled.as_nanos(), Ordering::Release);
    }

    /// Tells every sender of the slices that are pending, if all of them have room.
    fn tell(&mut self, seeing: &Seeing) -> bool {
        while let Some(slice) = self.pending.last().copied() {
            if seeing.senders.iter().any(Told::is_behind) {
                return false;
            }
            for sender in &seeing.senders {
                // Nobody else pushes, so the queue of a sender that was not behind has room.
                let _ = sender.slices.push(slice);
            }
            self.pending.pop();
        }
        true
    }

    /// Adds a slice, or lets one of the same path and reason that is not told yet grow.
    fn add_pending(&mut self, slice: BlindSlice) {
        let kind = |slice: &BlindSlice| (slice.path, slice.host, slice.reason);
        match self.pending.iter_mut().find(|pending| kind(pending) == kind(&slice)) {
            Some(pending) => {
                pending.from = pending.from.min(slice.from);
                pending.to = pending.to.max(slice.to);
            }
            None => self.pending.push(slice),
        }
    }

    fn end_outage(&mut self, path: usize, now: Tick) {
        let watched = &mut self.paths[path];
        if !watched.lost
            && watched.trouble == [None; 2]
            && watched.since.take().is_some()
            && let Some(outage) = watched.outages.last_mut()
        {
            outage.until = Some(now);
        }
    }

    fn give_up_lost(&mut self, seeing: &Seeing, now: Tick) {
        for path in 0..self.paths.len() {
            let watched = &mut self.paths[path];
            let in_trouble = watched.since.is_some_and(|since| now.since(since) > LOST_AFTER);
            // Nobody accuses a path that nobody vouches for; but neither may the sweep wait for ever.
            let (vouched, asked) = (watched.vouched(), seeing.marks.asked(path));
            let forgotten = !watched.lost && watched.unanswered.is_too_long(vouched, asked, now);
            if watched.is_troubled() && in_trouble || forgotten {
                watched.lost = true;
                let from = watched.vouched();
                let reason = watched.trouble.iter().flatten().next().copied();
                let reason = reason.unwrap_or(UnknownReason::CanariesSilent);
                if watched.outages.last().is_none_or(|outage| outage.until.is_some()) {
                    watched.outages.push(Outage { reason, from, until: None });
                }
                self.add_pending(BlindSlice { from, to: now, path: Some(path), host: None, reason });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::seeing::SLICES;
    use super::*;

    const PATIENCE: Duration = Duration::from_millis(200);

    fn ms(n: u64) -> Tick {
        Tick::from_nanos(n * 1_000_000)
    }

    #[test]
    fn calls_blind_what_lies_between_two_readings() {
        let seeing = Seeing::new(1);
        let mut watch = Watch::new(ms(1000), 5, 0);
        watch.look(&seeing, ms(1100), ms(1100), 5, PATIENCE);
        assert_eq!((seeing.take_blind(0), seeing.settled_until()), (None, ms(1050)));
        watch.look(&seeing, ms(1200), ms(1200), 6, PATIENCE);
        assert_eq!(
            seeing.take_blind(0),
            Some(BlindSlice {
                from: ms(1050),
                to: ms(1200),
                path: None,
                host: None,
                reason: UnknownReason::ReceiverDropped
            })
        );
        assert_eq!(seeing.settled_until(), ms(1150));
        watch.look(&seeing, ms(1300), ms(1300), 6, PATIENCE);
        assert_eq!((seeing.take_blind(0), seeing.settled_until()), (None, ms(1250)));
    }

    #[test]
    fn few_hosts_are_told_apart_and_many_are_their_path() {
        let reason = UnknownReason::NextHopMoved;
        let host = |n: u32| IpAddr::V4((0xc612_0000 + n).into());
        for (hosts, slices) in [(3, 3), (1000, MOST_HOSTS_PENDING + 1)] {
            let seeing = Seeing::new(1);
            let mut watch = Watch::new(ms(0), 0, 2);
            (0..hosts).for_each(|n| watch.hear_of_host(1, host(n), ms(500), reason, ms(1000)));
            watch.look(&seeing, ms(1000), ms(1000), 0, PATIENCE);
            let told: Vec<_> = std::iter::from_fn(|| seeing.take_blind(0)).collect();
            assert_eq!(told.len(), slices);
            let of_path =
                |slice: &BlindSlice| (slice.from, slice.to, slice.path) == (ms(500), ms(1000), Some(1));
            assert!(told.iter().all(of_path));
            assert_eq!(told.iter().any(|slice| slice.host.is_none()), hosts > 64);
            let outage = Outage { reason, from: ms(500), until: Some(ms(1000)) };
            assert_eq!(watch.outages(), [vec![], vec![outage]]);
        }
    }

    #[test]
    fn a_sender_that_has_ended_holds_nobody_up() {
        let seeing = Seeing::new(2);
        let mut watch = Watch::new(ms(0), 0, 0);
        seeing.end(0);
        for n in 1..=SLICES as u64 + 10 {
            watch.look(&seeing, ms(n * 100), ms(n * 100), n, PATIENCE);
            assert!(seeing.take_blind(1).is_some(), "slice {n} never came");
            assert_eq!(seeing.settled_until(), ms(n * 100) - RING_DELAY);
        }
    }

    #[test]
    fn forgets_nothing_when_the_sender_is_behind() {
        let seeing = Seeing::new(1);
        let mut watch = Watch::new(ms(0), 0, 0);
        for n in 1..=SLICES as u64 + 10 {
            watch.look(&seeing, ms(n * 100), ms(n * 100), n, PATIENCE);
        }
        let settled = seeing.settled_until();
        let mut last = ms(0);
        while let Some(slice) = seeing.take_blind(0) {
            assert!(slice.from <= last, "no gap");
            last = slice.to;
        }
        assert!(settled <= last);
        watch.look(&seeing, ms(100_000), ms(100_000), SLICES as u64 + 10, PATIENCE);
        let rest = seeing.take_blind(0).expect("the merged rest");
        assert!(rest.from <= last && rest.to >= ms((SLICES as u64 + 10) * 100));
    }

    #[test]
    fn a_path_is_settled_only_as_far_as_both_witnesses_vouch() {
        let seeing = Seeing::new(1);
        let mut watch = Watch::new(ms(0), 0, 2);
        for path in 0..2 {
            watch.hear(path, Witness::Guard, Testimony::Good(ms(1000)), ms(1000));
        }
        watch.hear(0, Witness::Canaries, Testimony::Good(ms(700)), ms(1000));
        watch.hear(1, Witness::Canaries, Testimony::Good(ms(1000)), ms(1000));
        watch.look(&seeing, ms(1000), ms(1000), 0, PATIENCE);
        assert_eq!(seeing.settled_until(), ms(900));
        assert_eq!((seeing.troubled(), seeing.take_blind(0)), (0, None));
    }

    #[test]
    fn what_was_sent_since_the_last_good_word_is_blind_once_the_trouble_is_over() {
        let seeing = Seeing::new(1);
        let mut watch = Watch::new(ms(0), 0, 2);
        let hear = |watch: &mut Watch, testimony, now| watch.hear(1, Witness::Guard, testimony, ms(now));
        hear(&mut watch, Testimony::Good(ms(900)), 1000);
        hear(&mut watch, Testimony::Bad(UnknownReason::LinkDown), 1100);
        watch.look(&seeing, ms(1100), ms(1100), 0, PATIENCE);
        assert_eq!((seeing.troubled(), seeing.lost(), seeing.take_blind(0)), (0b10, 0, None));
        hear(&mut watch, Testimony::Bad(UnknownReason::LinkDown), 4000);
        hear(&mut watch, Testimony::Good(ms(4100)), 4100);
        watch.look(&seeing, ms(4100), ms(4100), 0, PATIENCE);
        assert_eq!(seeing.troubled(), 0);
        assert_eq!(
            seeing.take_blind(0),
            Some(BlindSlice {
                from: ms(900),
                to: ms(4100),
                path: Some(1),
                host: None,
                reason: UnknownReason::LinkDown
            })
        );
        let outage = Outage { reason: UnknownReason::LinkDown, from: ms(900), until: Some(ms(4100)) };
        assert_eq!(watch.outages(), [vec![], vec![outage]]);
    }

    #[test]
    fn somebody_else_who_answers_is_named_although_silence_was_noticed_first() {
        let seeing = Seeing::new(1);
        let mut watch = Watch::new(ms(0), 0, 1);
        let mut say = |testimony, at| watch.hear(0, Witness::Canaries, testimony, ms(at));
        say(Testimony::Good(ms(400)), 400);
        say(Testimony::Bad(UnknownReason::CanariesSilent), 500);
        say(Testimony::BadSince(UnknownReason::CanariesChanged, ms(300)), 520);
        // It was both within one look.
        say(Testimony::Bad(UnknownReason::CanariesSilent), 540);
        say(Testimony::Good(ms(900)), 900);
        watch.look(&seeing, ms(900), ms(900), 0, PATIENCE);
        let slice = seeing.take_blind(0).expect("a slice");
        assert_eq!((slice.from, slice.to, slice.reason), (ms(300), ms(900), UnknownReason::CanariesChanged));
        let outages = watch.outages().remove(0);
        assert_eq!(outages.len(), 1);
        assert_eq!((outages[0].reason, outages[0].from), (UnknownReason::CanariesChanged, ms(300)));
    }

    #[test]
    fn whoever_was_stopped_has_seen_nothing_and_gives_nobody_up() {
        let seeing = Seeing::new(1);
        let mut watch = Watch::new(ms(0), 0, 1);
        watch.hear(0, Witness::Canaries, Testimony::Bad(UnknownReason::CanariesSilent), ms(900));
        watch.look(&seeing, ms(1000), ms(1000), 0, PATIENCE);
        assert!(!watch.wake(ms(1500)), "a busy machine is none that was stopped");
        let later = ms(1000) + LOST_AFTER * 8;
        assert!(watch.wake(later));
        watch.look(&seeing, later, later, 0, PATIENCE);
        assert_eq!((seeing.troubled(), seeing.lost()), (0b1, 0));
        let slice = seeing.take_blind(0).expect("a blind slice");
        assert_eq!((slice.from, slice.to, slice.path), (ms(950), later, None));
    }

    #[test]
    fn a_path_that_does_not_come_back_is_lost_and_holds_up_nobody() {
        let seeing = Seeing::new(1);
        let mut watch = Watch::new(ms(0), 0, 2);
        watch.hear(0, Witness::Canaries, Testimony::Bad(UnknownReason::CanariesSilent), ms(500));
        let later = ms(600) + LOST_AFTER;
        for witness in [Witness::Guard, Witness::Canaries] {
            watch.hear(1, witness, Testimony::Good(later), later);
        }
        watch.look(&seeing, later, later, 0, PATIENCE);
        assert_eq!((seeing.troubled(), seeing.lost()), (0, 0b01));
        assert_eq!(
            seeing.take_blind(0),
            Some(BlindSlice {
                from: ms(0),
                to: later,
                path: Some(0),
                host: None,
                reason: UnknownReason::CanariesSilent
            })
        );
        assert_eq!(seeing.settled_until(), later - RING_DELAY);
        watch.hear(0, Witness::Canaries, Testimony::Good(later), later);
        watch.look(&seeing, later, later, 0, PATIENCE);
        assert_eq!(seeing.lost(), 0b01, "lost is lost: its targets have been left out since");
    }

    #[test]
    fn one_of_very_many_paths_is_lost_alone() {
        let paths = 1000;
        for bad in [0, 62, 63, 64, 127, 128, 999] {
            let seeing = Seeing::new(1).for_paths(paths);
            let mut watch = Watch::new(ms(0), 0, paths);
            let trouble = Testimony::Bad(UnknownReason::CanariesSilent);
            watch.hear(bad, Witness::Canaries, trouble, ms(500));
            watch.look(&seeing, ms(500), ms(500), 0, PATIENCE);
            assert!(
                (0..paths).all(|path| seeing.is_troubled(path) == (path == bad) && !seeing.is_lost(path))
            );
            let later = ms(600) + LOST_AFTER;
            watch.look(&seeing, later, later, 0, PATIENCE);
            assert!(
                (0..paths).all(|path| seeing.is_lost(path) == (path == bad) && !seeing.is_troubled(path))
            );
        }
    }

    #[test]
    fn a_path_is_given_up_after_questions_and_not_because_nobody_was_asked() {
        let seeing = Seeing::new(1).for_paths(1);
        let mut watch = Watch::new(ms(0), 0, 1);
        let mut look = |seeing: &Seeing, second: u64| {
            let now = ms(second * 1000);
            watch.hear(0, Witness::Guard, Testimony::Good(now), now);
            watch.hear(0, Witness::Canaries, Testimony::Good(ms(1)), now);
            watch.look(seeing, now, now, 0, PATIENCE);
            seeing.is_lost(0)
        };
        assert!((1..1000).all(|second| !look(&seeing, second)), "nobody was asked");
        for second in 1000..1030 {
            seeing.note_asked(0, ms(second * 1000));
            assert!(!look(&seeing, second));
        }
        assert!((1030..1040).all(|second| !look(&seeing, second)));
        assert!(look(&seeing, 1041));
    }
}
