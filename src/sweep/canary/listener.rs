//! The receiver's side of the canaries: who answered, and what that says of the paths.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Canaries, FREE, Kind, Note, PLACES, QUEUED, Question, place_of};
use crate::link::clock::Tick;
use crate::sweep::report::UnknownReason;
use crate::sweep::watch::Testimony;
use crate::sync::Ordering;

/// Questions to one place that are remembered.
const KEPT: usize = 32;

/// Lost in a row, and lost among the last [`REMEMBERED`], that make the path suspect. Where one packet in five is lost,
/// which is a tenth each way, the first happens by chance once in 15,000 questions, the second once in 27,000; all that
/// a false alarm costs is some probes.
const LOST_IN_A_ROW: u32 = 6;
const REMEMBERED: u32 = 12;
const LOST_AMONG: u32 = 9;

/// Canaries of one kind in a row that do not answer as before, nearly all of them with another answer, that make
/// somebody else suspect. Fewer than [`REPLACED_AFTER`]: one whose service has ended loses its place.
const CHANGED_IN_A_ROW: u32 = 4;

/// Answered in a row that end the suspicion.
const GOOD_IN_A_ROW: u32 = 3;

/// Silent in a row, while others of its path answer, that make a canary lose its place.
const REPLACED_AFTER: u8 = 5;

/// Hears who answers, and testifies for the paths.
#[derive(Debug)]
pub struct Listener {
    /// The last questions to each place, the oldest first, known fates included: an answer may come twice.
    asked: Vec<VecDeque<Asked>>,
    /// Questions whose fate is not closed, in the order of asking: place and serial.
    open: VecDeque<(usize, u32)>,
    paths: Vec<Tally>,
    /// How often in a row each place was silent.
    silent: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    question: Question,
    fate: Fate,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fate {
    Waiting,
    /// As before.
    Answered,
    /// Otherwise than before.
    Changed,
    /// Never sent, or sent while we did not see.
    Void,
}

/// What is known of the canaries of one path.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Questions whose fate is known.
    pub asked: u64,
    /// Those of them that were lost.
    pub lost: u64,
    /// The same without those of the times when the path was suspect: what was probed then is void as well.
    pub calm_asked: u64,
    /// Lost of those.
    pub calm_lost: u64,
    /// The fates of the last ones, a bit for each, the latest lowest; 1 for lost.
    recent: u32,
    /// Those that are open and those that are closed.
    strands: [Strand; 2],
    suspect: Option<UnknownReason>,
}

/// What is known of the canaries of one kind on one path.
#[derive(Clone, Copy, Debug, Default)]
struct Strand {
    /// When the latest one that was answered as before had been asked; or, as long as none was, the first of all.
    good_until: Option<Tick>,
    /// The fates of the last ones, a bit for each, the latest lowest; 1 for lost.
    recent: u32,
    /// Those of the lost that did answer, but otherwise than before.
    changed: u32,
    /// The first place of those, since one has answered as before.
    changed_place: Option<usize>,
    /// Whether another place has changed, too: one service that is restarted is no usurper.
    by_several: bool,
    /// Whether somebody else seems to answer.
    usurped: bool,
}

impl Listener {
    /// Nobody heard yet, on as many paths.
    pub fn new(paths: usize) -> Self {
        Listener {
            asked: (0..paths * PLACES).map(|_| VecDeque::with_capacity(KEPT)).collect(),
            open: VecDeque::with_capacity(QUEUED),
            paths: vec![Tally::default(); paths],
            silent: vec![0; paths * PLACES],
        }
    }

    /// What is known of each path.
    pub fn tallies(&self) -> &[Tally] {
        &self.paths
    }

    /// Takes note of what was asked. To be called before an answer is looked up.
    pub fn catch_up(&mut self, canaries: &Canaries) {
        while let Some(note) = canaries.notes.pop() {
            match note {
                Note::Asked(question) => {
                    let asked = &mut self.asked[question.place];
                    if asked.len() == KEPT {
                        asked.pop_front();
                    }
                    asked.push_back(Asked { question, fate: Fate::Waiting });
                    self.open.push_back((question.place, question.serial));
                    let path = question.place / PLACES;
                    if !canaries.is_named(path) {
                        // Canaries that answered a moment ago vouch for that moment, and for nothing after it until one
                        // of them answers again.
                        let strand = &mut self.paths[path].strands[question.kind as usize];
                        strand.good_until.get_or_insert(question.at);
                    }
                }
                Note::Refused(place, serial) => {
                    if let Some(asked) = find(&mut self.asked[place], serial) {
                        asked.fate = Fate::Void;
                    }
                }
            }
        }
    }

    /// Whether an answer from this target of this path answers a question, by `is_answer`. One that is not `as_before`
    /// vouches for nothing: somebody else may have given it. One that is no answer at all leaves the question open.
    pub fn hear(
        &mut self,
        path: usize,
        position: u64,
        as_before: Option<bool>,
        is_answer: impl Fn(u32) -> bool,
    ) -> bool {
        let place = place_of(path, position);
        let Some(asked) = self.asked.get_mut(place) else { return false };
        let answered = asked
            .iter_mut()
            .rev()
            .find(|asked| asked.question.position == position && is_answer(asked.question.serial));
        let Some(asked) = answered else { return false };
        if asked.fate == Fate::Waiting && as_before == Some(false) {
            asked.fate = Fate::Changed;
        } else if asked.fate == Fate::Waiting && as_before == Some(true) {
            asked.fate = Fate::Answered;
            let strand = &mut self.paths[path].strands[asked.question.kind as usize];
            strand.good_until = strand.good_until.max(Some(asked.question.at));
        }
        true
    }

    /// Makes void what has been asked and not been answered yet: we did not see.
    pub fn void_open(&mut self) {
        for (place, serial) in &self.open {
            if let Some(asked) = find(&mut self.asked[*place], *serial).filter(|a| a.fate == Fate::Waiting) {
                asked.fate = Fate::Void;
            }
        }
    }

    /// Closes the questions whose fate is known by now, and testifies for each path. An answer takes at most
    /// `patience`.
    pub fn look(
        &mut self,
        canaries: &Canaries,
        now: Tick,
        patience: Duration,
        mut testify: impl FnMut(usize, Testimony),
    ) {
        self.catch_up(canaries);
        while let Some((place, serial)) = self.open.front().copied() {
            match find(&mut self.asked[place], serial).copied() {
                Some(asked) if asked.fate == Fate::Waiting && now.since(asked.question.at) <= patience => {
                    break;
                }
                Some(asked) if asked.fate == Fate::Void => {}
                Some(asked) => self.close(canaries, &asked.question, asked.fate),
                None => {}
            }
            self.open.pop_front();
        }
        for (path, tally) in self.paths.iter().enumerate() {
            let usurped = tally.strands.iter().find(|strand| strand.usurped);
            let good_until = tally.strands.iter().filter_map(|strand| strand.good_until).max();
            match (tally.suspect, good_until) {
                (Some(UnknownReason::CanariesChanged), _) => {
                    let since = usurped.and_then(|strand| strand.good_until).unwrap_or_default();
                    testify(path, Testimony::BadSince(UnknownReason::CanariesChanged, since));
                }
                (Some(reason), _) => testify(path, Testimony::Bad(reason)),
                (None, Some(until)) => testify(path, Testimony::Good(until)),
                // Somebody is known to answer, and has not.
                (None, None) if canaries.is_named(path) => testify(path, Testimony::Good(Tick::default())),
                // Nobody has been asked yet, so nobody can have been missed.
                (None, None) => testify(path, Testimony::Good(now)),
            }
        }
    }

    fn close(&mut self, canaries: &Canaries, question: &Question, fate: Fate) {
        let place = question.place;
        let tally = &mut self.paths[place / PLACES];
        tally.enter(question.kind, place, fate);
        let answered = fate == Fate::Answered;
        let silent = &mut self.silent[place];
        *silent = if answered { 0 } else { silent.saturating_add(1) };
        // A host may go down in the middle of a sweep. That is no trouble of the path, as long as others answer.
        let others_answer = tally.suspect.is_none() && tally.recent.trailing_ones() < REPLACED_AFTER.into();
        if *silent >= REPLACED_AFTER && others_answer && !canaries.named[place] {
            *silent = 0;
            canaries.places[place].store(FREE, Ordering::Relaxed);
        }
    }
}

impl Tally {
    /// Enters one fate, and judges the path by the latest ones.
    fn enter(&mut self, kind: Kind, place: usize, fate: Fate) {
        let answered = fate == Fate::Answered;
        self.asked += 1;
        self.lost += u64::from(!answered);
        self.recent = self.recent << 1 | u32::from(!answered);
        self.strands[kind as usize].enter(place, fate);
        let before = self.suspect;
        if before.is_none() {
            self.calm_asked += 1;
            self.calm_lost += u64::from(!answered);
        }
        let among = (self.recent & ((1 << REMEMBERED) - 1)).count_ones();
        self.suspect = match before {
            // Once somebody else has answered, all answers of that time are in doubt.
            _ if self.strands.iter().any(|strand| strand.usurped) => Some(UnknownReason::CanariesChanged),
            Some(UnknownReason::CanariesChanged) => None,
            _ if self.recent.trailing_ones() >= LOST_IN_A_ROW => Some(UnknownReason::CanariesSilent),
            None if among >= LOST_AMONG => Some(UnknownReason::PathLossy),
            Some(reason) if self.recent.trailing_zeros() < GOOD_IN_A_ROW => Some(reason),
            _ => None,
        };
        if before.is_some() && self.suspect.is_none() {
            // What accused the path before has had its effect; it is not to count a second time.
            self.recent = 0;
        }
        if before.is_none() && self.suspect.is_some() {
            // The losses that make it suspect are of the time that is void from now on.
            self.calm_asked = self.calm_asked.saturating_sub(REMEMBERED.into());
            self.calm_lost = self.calm_lost.saturating_sub(among.into());
        }
    }
}

impl Strand {
    fn enter(&mut self, place: usize, fate: Fate) {
        self.recent = self.recent << 1 | u32::from(fate != Fate::Answered);
        self.changed = self.changed << 1 | u32::from(fate == Fate::Changed);
        match fate {
            Fate::Answered => (self.changed_place, self.by_several) = (None, false),
            Fate::Changed => self.by_several |= *self.changed_place.get_or_insert(place) != place,
            Fate::Waiting | Fate::Void => {}
        }
        let in_a_row = self.recent.trailing_ones();
        let changed = (self.changed & ((1 << REMEMBERED) - 1)).count_ones();
        self.usurped |= self.by_several && in_a_row >= CHANGED_IN_A_ROW && changed + 1 >= CHANGED_IN_A_ROW;
        self.usurped &= self.recent.trailing_zeros() < GOOD_IN_A_ROW;
    }
}

fn find(asked: &mut VecDeque<Asked>, serial: u32) -> Option<&mut Asked> {
    asked.iter_mut().rev().find(|asked| asked.question.serial == serial)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_is_lost_after_the_trouble_is_over_accuses_nobody() {
        let mut tally = Tally::default();
        let mut enter = |answered: bool, times: u32| {
            let fate = if answered { Fate::Answered } else { Fate::Waiting };
            (0..times).for_each(|_| tally.enter(Kind::Closed, 0, fate));
            tally.suspect
        };
        assert_eq!(enter(true, 100), None);
        assert_eq!(enter(false, 150), Some(UnknownReason::CanariesSilent));
        assert_eq!(enter(true, GOOD_IN_A_ROW), None);
        assert_eq!(enter(false, LOST_IN_A_ROW - 1), None, "the losses of before count no second time");
        assert_eq!(enter(false, 1), Some(UnknownReason::CanariesSilent));
    }
}
