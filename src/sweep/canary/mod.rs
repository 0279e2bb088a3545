//! Canaries: targets that have answered once, asked again and again while the sweep runs.
//!
//! Nothing that this host can see tells whether the network *beyond* the next hop still carries probes: a router whose
//! table of connections is full, a failed uplink or a firewall that has begun to block us all look like silent targets.
//! So a few targets that have answered are asked on, from all parts of the scope. As long as they answer, the silence
//! of others is theirs; when they fall silent together, it is the path's. How many of the questions are lost is also
//! the one honest measure of loss while the sweep runs, and what the rate is governed by.
//!
//! An operator may name targets that are known to answer. They are asked from the beginning on, and keep their places
//! even if they are silent, so that their silence accuses the path where nobody else has answered.
//!
//! Canaries have to answer *as before*: open ones with a SYN-ACK, closed ones with a reset. Somebody on the way may
//! begin to answer for everybody, as a firewall does that has had enough of us. Its resets pass for those of closed
//! targets, and its SYN-ACKs for those of open ones; only the canaries of the other kind notice. So there are two
//! kinds, and half of the places go to open targets first, which are few.
//!
//! A question is a SYN like any other probe, paced and capped like one. Its number comes from the same key by another
//! message, so that no answer to it passes for an answer to a probe or the other way round.

mod caller;
mod listener;

pub use self::caller::{Caller, MOST_AT_ONCE};
pub use self::listener::{Listener, Tally};
use crate::link::clock::Tick;
use crate::sync::{AtomicU64, Ordering, Queue};
use crate::target::state::Reason;

/// Canaries of one path, at most.
pub const PLACES: usize = 128;

/// Questions on their way from the sender to the receiver.
const QUEUED: usize = 1 << 12;

const FREE: u64 = u64::MAX;

/// Marks the position of a canary that was open when it got its place.
const OPEN: u64 = 1 << 63;

/// What canaries are known to answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// A SYN-ACK.
    Open,
    /// A reset; or one or the other, from one that was named and has not answered yet.
    Closed,
}

/// The canaries of all paths. The receiver gives out the places; the sender asks.
#[derive(Debug)]
pub struct Canaries {
    /// Positions, path by path.
    places: Box<[AtomicU64]>,
    /// Which places were given to targets that somebody has named, path by path.
    named: Box<[bool]>,
    notes: Queue<Note>,
}

impl Kind {
    /// The other one.
    fn other(self) -> Kind {
        match self {
            Kind::Open => Kind::Closed,
            Kind::Closed => Kind::Open,
        }
    }
}

/// One question.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Question {
    /// Its number, which goes into its token.
    pub serial: u32,
    /// Whose place it was.
    pub place: usize,
    /// Who was asked.
    pub position: u64,
    /// What that one is known to answer.
    pub kind: Kind,
    /// When.
    pub at: Tick,
}

impl Question {
    /// By which path.
    pub fn path(&self) -> usize {
        self.place / PLACES
    }
}

/// What the sender tells the receiver.
#[derive(Clone, Copy, Debug)]
enum Note {
    /// This is about to be asked.
    Asked(Question),
    /// The link refused the question to this place with this number.
    Refused(usize, u32),
}

impl Canaries {
    /// No canary yet, for as many paths.
    pub fn new(paths: usize) -> Self {
        Canaries {
            places: (0..paths * PLACES).map(|_| AtomicU64::new(FREE)).collect(),
            named: (0..paths * PLACES).map(|_| false).collect(),
            notes: Queue::new(QUEUED),
        }
    }

    /// Gives a place to a target of this path that is known to answer, whoever had it, and for good. Of two such
    /// targets that come to the same place, one in [`PLACES`] pairs, the later has it.
    pub fn seat(&mut self, path: usize, position: u64) {
        let place = place_of(path, position);
        if let (Some(seat), Some(named)) = (self.places.get(place), self.named.get_mut(place)) {
            seat.store(position, Ordering::Relaxed);
            *named = true;
        }
    }

    /// Whether somebody has named a target of this path.
    fn is_named(&self, path: usize) -> bool {
        self.named.chunks(PLACES).nth(path).is_some_and(|places| places.contains(&true))
    }

    /// Receiver: a target of this path has answered, and may become a canary. `Relaxed`: a place is a number and
    /// nothing else.
    #[inline]
    pub fn offer(&self, path: usize, position: u64, kind: Kind) {
        let place = place_of(path, position);
        let Some(seat) = self.places.get(place) else { return };
        let seated = seat.load(Ordering::Relaxed);
        let gives_way = kind == Kind::Open && is_for_open(place) && seated & OPEN == 0 && !self.named[place];
        if seated == FREE || gives_way {
            let mark = if kind == Kind::Open { OPEN } else { 0 };
            seat.store(position | mark, Ordering::Relaxed);
        }
    }

    /// Receiver: what a canary of this path is known to have answered, where its cell is of another tile. Of one that
    /// was named, nothing is.
    pub fn known(&self, path: usize, position: u64) -> Reason {
        let place = place_of(path, position);
        let is_named = self.named.get(place).is_none_or(|named| *named);
        match self.places.get(place).and_then(|_| self.seated(place)) {
            Some((seated, Kind::Open)) if seated == position => Reason::SynAck,
            Some((seated, Kind::Closed)) if seated == position && !is_named => Reason::Rst,
            _ => Reason::NoResponse,
        }
    }

    /// Sender: whether there is nobody to ask on this path.
    pub fn is_empty(&self, path: usize) -> bool {
        (path * PLACES..(path + 1) * PLACES).all(|place| self.seated(place).is_none())
    }

    /// Who has a place, if anybody does.
    fn seated(&self, place: usize) -> Option<(u64, Kind)> {
        let seated = self.places[place].load(Ordering::Relaxed);
        let kind = if seated & OPEN == 0 { Kind::Closed } else { Kind::Open };
        (seated != FREE).then_some((seated & !OPEN, kind))
    }

    /// Sender: this is about to be asked. Says whether the receiver will hear of it.
    pub fn announce(&self, question: Question) -> bool {
        self.notes.push(Note::Asked(question)).is_ok()
    }

    /// Sender: it was not asked after all.
    pub fn take_back(&self, place: usize, serial: u32) {
        // No room means that the receiver has 4,096 notes to read; it will take this one question for lost.
        let _ = self.notes.push(Note::Refused(place, serial));
    }
}

/// Whether a place goes to open targets first.
#[inline]
fn is_for_open(place: usize) -> bool {
    place.is_multiple_of(2)
}

/// Spread over the places by position, so that the first hosts to answer do not take all of them.
#[inline]
fn place_of(path: usize, position: u64) -> usize {
    path * PLACES + (position.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 57) as usize
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::sweep::seeing::Seeing;
    use crate::sweep::watch::{Testimony, Watch, Witness};

    const PATIENCE: Duration = Duration::from_millis(200);

    fn ms(n: u64) -> Tick {
        Tick::from_nanos(n * 1_000_000)
    }

    /// Asks and looks every 20 ms from `from` on; `answers` says who answers when.
    fn drive(
        bench: &mut (Canaries, Caller, Listener),
        span: std::ops::Range<u64>,
        answers: impl Fn(u64, &Question) -> bool,
    ) -> Vec<(u64, Testimony)> {
        let (canaries, caller, listener) = bench;
        let mut said = Vec::new();
        for now in span.step_by(20) {
            if caller.is_due(ms(now))
                && let Some(question) = caller.next(canaries, ms(now), 10_000, |_| true)
            {
                assert!(canaries.announce(question));
                listener.catch_up(canaries);
                if answers(now, &question) {
                    assert!(
                        listener.hear(0, question.position, Some(true), |serial| serial == question.serial)
                    );
                }
            }
            listener.look(canaries, ms(now), PATIENCE, |path, testimony| {
                assert_eq!(path, 0);
                said.push((now, testimony));
            });
        }
        said
    }

    fn bench(members: u64) -> (Canaries, Caller, Listener) {
        let canaries = Canaries::new(1);
        (0..members).for_each(|position| canaries.offer(0, position * 7, Kind::Closed));
        (canaries, Caller::new(1), Listener::new(1))
    }

    #[test]
    fn a_path_is_good_up_to_the_last_question_that_was_answered() {
        let mut bench = bench(100);
        let said = drive(&mut bench, 1000..2000, |_, _| true);
        assert!(said.iter().all(|(now, testimony)| *testimony == Testimony::Good(ms(*now))), "{said:?}");
        let tally = bench.2.tallies()[0];
        assert_eq!((tally.asked, tally.lost), (50, 0));
    }

    #[test]
    fn without_canaries_nothing_is_missed() {
        let said = drive(&mut bench(0), 1000..2000, |_, _| false);
        assert!(said.iter().all(|(now, testimony)| *testimony == Testimony::Good(ms(*now))), "{said:?}");
    }

    #[test]
    fn canaries_that_fall_silent_together_accuse_the_path_and_clear_it_when_they_are_back() {
        let mut bench = bench(100);
        let said = drive(&mut bench, 1000..6000, |now, _| !(2000..4000).contains(&now));
        let bad: Vec<u64> =
            said.iter().filter(|(_, t)| matches!(t, Testimony::Bad(_))).map(|(now, _)| *now).collect();
        assert!((2250..2500).contains(&bad[0]), "accused at {}", bad[0]);
        assert!((4000..4500).contains(bad.last().expect("some")), "cleared at {bad:?}");
        // Until it was accused, nothing after the last answer was vouched for.
        let before = said.iter().rfind(|(now, _)| *now < bad[0]).expect("some");
        assert_eq!(before.1, Testimony::Good(ms(1980)));
        let tally = bench.2.tallies()[0];
        assert!(tally.lost >= 90 && tally.calm_lost <= 6, "{tally:?}");
    }

    #[test]
    fn canaries_of_whom_none_has_answered_yet_vouch_for_nothing() {
        let said = drive(&mut bench(100), 1000..2000, |_, _| false);
        let (now, testimony) = said.iter().rfind(|(_, t)| matches!(t, Testimony::Good(_))).expect("some");
        assert!(*now > 1200 && *testimony == Testimony::Good(ms(1000)), "{testimony:?} at {now}");
    }

    #[test]
    fn random_loss_accuses_nobody() {
        let mut dice = 7_u64;
        let rolls: Vec<bool> = (0..5000)
            .map(|_| {
                dice ^= dice << 13;
                dice ^= dice >> 7;
                dice ^= dice << 17;
                dice % 100 >= 10
            })
            .collect();
        let mut bench = bench(100);
        let said = drive(&mut bench, 1000..60_000, |now, _| rolls[now as usize / 20]);
        assert!(said.iter().all(|(_, testimony)| matches!(testimony, Testimony::Good(_))));
    }

    #[test]
    fn one_canary_that_dies_loses_its_place_and_accuses_nobody() {
        let mut bench = bench(30);
        let said = drive(&mut bench, 1000..20_000, |_, question| question.position != 14);
        assert!(said.iter().all(|(_, testimony)| matches!(testimony, Testimony::Good(_))));
        assert_eq!(bench.0.seated(place_of(0, 14)), None);
        assert_eq!(bench.0.seated(place_of(0, 21)), Some((21, Kind::Closed)));
    }

    #[test]
    fn one_that_was_named_takes_its_place_and_keeps_it() {
        let mut bench = bench(30);
        bench.0.seat(0, 14);
        let said = drive(&mut bench, 1000..20_000, |_, question| question.position != 14);
        assert_eq!(bench.0.seated(place_of(0, 14)), Some((14, Kind::Closed)));
        assert!(said.iter().all(|(_, testimony)| matches!(testimony, Testimony::Good(_))), "others answer");
        bench.0.offer(0, 14 + (1 << 57), Kind::Open);
        assert_eq!(bench.0.seated(place_of(0, 14)), Some((14, Kind::Closed)));
    }

    #[test]
    fn nothing_is_vouched_for_until_one_that_was_named_answers() {
        let mut bench = bench(0);
        bench.0.seat(0, 5);
        let said = drive(&mut bench, 1000..3000, |now, _| now >= 2500);
        let accused = said.iter().position(|(_, testimony)| matches!(testimony, Testimony::Bad(_)));
        let accused = accused.expect("an accusation");
        assert!((1700..2200).contains(&said[accused].0), "{:?}", said[accused]);
        assert!(said[..accused].iter().all(|(_, testimony)| *testimony == Testimony::Good(Tick::default())));
        assert!(matches!(said.last(), Some((_, Testimony::Good(until))) if *until >= ms(2500)), "{said:?}");
    }

    #[test]
    fn a_question_that_never_left_or_came_while_we_were_blind_counts_for_nothing() {
        let (canaries, mut caller, mut listener) = bench(100);
        for n in 0..20 {
            let question = caller.next(&canaries, ms(1000 + n), 10_000, |_| true).expect("somebody");
            assert!(canaries.announce(question));
            if n % 2 == 0 {
                canaries.take_back(question.place, question.serial);
            }
        }
        listener.catch_up(&canaries);
        listener.void_open();
        listener.look(&canaries, ms(5000), PATIENCE, |_, testimony| {
            assert_eq!(testimony, Testimony::Good(ms(1000)), "since the first question nobody has answered");
        });
        assert_eq!(listener.tallies()[0].asked, 0);
        // Answered late, and twice: known, but no longer news.
        let question = caller.next(&canaries, ms(6000), 10_000, |_| true).expect("somebody");
        canaries.announce(question);
        listener.look(&canaries, ms(7000), PATIENCE, |_, _| ());
        for _ in 0..2 {
            assert!(listener.hear(0, question.position, Some(true), |serial| serial == question.serial));
        }
        assert!(!listener.hear(0, question.position, Some(true), |serial| serial == question.serial + 1));
        assert_eq!((listener.tallies()[0].asked, listener.tallies()[0].lost), (1, 1));
    }

    #[test]
    fn nobody_is_asked_more_often_than_ten_times_a_second_or_against_a_cap() {
        let (canaries, mut caller, _) = bench(1);
        assert!(caller.next(&canaries, ms(1000), 100_000, |_| false).is_none());
        assert!(caller.is_booked_out(ms(1000)));
        assert!(caller.next(&canaries, ms(1000), 100_000, |_| true).is_some());
        assert!(!caller.is_booked_out(ms(1000)));
        assert!(caller.next(&canaries, ms(1099), 100_000, |_| true).is_none());
        assert!(caller.next(&canaries, ms(1100), 100_000, |_| true).is_some());
    }

    /// However many paths share few questions, each is asked in its turn.
    #[test]
    fn every_path_is_asked_in_turn_and_none_is_given_up_while_all_answer() {
        for (paths, rate) in [(2, 50), (4, 100), (20, 2500), (64, 10_000), (300, 200), (1, 1), (3, 3)] {
            let (canaries, mut caller) = (Canaries::new(paths), Caller::new(paths));
            let mut listener = Listener::new(paths);
            let seeing = Seeing::new(1).for_paths(paths);
            let mut watch = Watch::new(ms(1000), 0, paths);
            for path in 0..paths {
                (0..200).for_each(|position| canaries.offer(path, position, Kind::Closed));
            }
            let (mut last, mut asked) = (None, 0);
            for now in (1000..401_000).step_by(20).map(ms) {
                while caller.is_due(now)
                    && let Some(question) = caller.next(&canaries, now, rate, |_| true)
                {
                    let path = question.place / PLACES;
                    assert!(
                        last.is_none_or(|last| path == (last + 1) % paths),
                        "after {last:?} comes {path}"
                    );
                    (last, asked) = (Some(path), asked + 1);
                    assert!(canaries.announce(question));
                    seeing.note_asked(path, now);
                    listener.catch_up(&canaries);
                    assert!(
                        listener
                            .hear(path, question.position, Some(true), |serial| serial == question.serial)
                    );
                }
                listener.look(&canaries, now, PATIENCE, |path, testimony| {
                    watch.hear(path, Witness::Canaries, testimony, now);
                });
                for path in 0..paths {
                    watch.hear(path, Witness::Guard, Testimony::Good(now), now);
                }
                watch.look(&seeing, now, now, 0, PATIENCE);
                assert_eq!(seeing.lost(), 0, "{paths} paths at {rate}: lost at {now:?}");
            }
            assert!(
                asked <= 400 * rate / 20 + 2 * MOST_AT_ONCE,
                "{paths} paths at {rate}: {asked} questions"
            );
            assert!(asked >= 400 * rate.min(2500) / 60, "{paths} paths at {rate}: {asked} questions");
        }
    }
}
