//! Hosts that limit how many resets they send: 200 a second on FreeBSD (`net.inet.icmp.icmplim`), less elsewhere.
//!
//! Probed faster than that, most of their closed ports look silent, and would be called filtered. What gives them away
//! is that ports which were silent at one try that counts answer at the next. So the receiver counts such answers for
//! each host, and the sender, once there are some, probes that host more slowly and takes back what its silence was
//! worth so far.
//!
//! A network that loses packets makes ports answer late, too. What tells the two apart is whether a lower rate helps:
//! if as much is lost as before, the host has its rate back, and the tries make good what is lost.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::ops::Range;

use super::board::Board;
use super::caps::Caps;
use super::closing::MOST_BY_CHANCE;
use crate::link::clock::Tick;
use crate::target::table::Void;

/// Late answers from one host that make it suspect.
const SUSPECT_AFTER: u8 = 16;

/// Hosts that the receiver counts for at once.
const MOST_COUNTED: usize = 1 << 14;

/// The rate that hosts are slowed down from, where they have no cap.
const FIRST_PPS: u32 = 400;

/// A host is not probed more slowly than this.
const FLOOR_PPS: u32 = 20;

/// So few ports that tries would miss by chance that a host is left alone.
const HARDLY_ONE: f64 = 0.05;

/// The receiver's side.
#[derive(Debug)]
pub struct LateAnswers {
    of_host: HashMap<u64, u8>,
}

impl LateAnswers {
    /// None yet.
    #[expect(clippy::new_without_default, reason = "belongs to one sweep; a default would hide that")]
    pub fn new() -> Self {
        LateAnswers { of_host: HashMap::with_capacity(MOST_COUNTED) }
    }

    /// A port of this host answered that was silent before. Says whether the host has become suspect by that.
    pub fn note(&mut self, host: u64) -> bool {
        if self.of_host.len() >= MOST_COUNTED && !self.of_host.contains_key(&host) {
            return false;
        }
        let count = self.of_host.entry(host).or_insert(0);
        *count += 1;
        if *count < SUSPECT_AFTER {
            return false;
        }
        *count = 0;
        true
    }
}

/// A sender's side: how slowly it probes whom.
#[derive(Debug)]
pub struct SlowHosts {
    trials: HashMap<u64, Trial>,
    first_pps: u32,
}

/// One host that was slowed down.
#[derive(Clone, Copy, Debug)]
struct Trial {
    pps: u32,
    /// When it was slowed down last.
    since: Tick,
    /// The share of its answers that was lost before that.
    lost: f64,
    /// Whether it turned out that to be slower does not help.
    is_over: bool,
}

impl SlowHosts {
    /// None yet, under this cap for each host.
    pub fn new(host_pps: Option<NonZeroU32>) -> Self {
        SlowHosts { trials: HashMap::new(), first_pps: host_pps.map_or(FIRST_PPS, NonZeroU32::get) }
    }

    /// Slows down a host, and makes void what the silence of its ports in this stretch of positions was worth; or lets
    /// it have its old rate back, if that made no difference. Says whether any port became unknown again.
    pub fn slow_down(
        &mut self,
        board: &Board<'_>,
        caps: &mut Caps,
        host: u64,
        stretch: &Range<u64>,
        now: Tick,
    ) -> bool {
        let before = self.trials.get(&host).copied();
        if before.is_some_and(|trial| trial.is_over) {
            return false;
        }
        let (lost, answering) = lost_since(board, host, before.map(|trial| trial.since), now);
        let by_chance = lost.powi(i32::from(board.plan.tries));
        if before.is_none() && by_chance * answering < HARDLY_ONE {
            return false;
        }
        if let Some(trial) = before.filter(|trial| !is_helped(trial.lost, lost))
            && by_chance <= MOST_BY_CHANCE
        {
            // What is lost is lost on the way, at any rate, and no more of it than tries make good.
            self.trials.insert(host, Trial { is_over: true, ..trial });
            caps.restore(host);
            return false;
        }
        let pps = before.map_or(self.first_pps, |trial| trial.pps);
        let pps = (pps / 2).max(FLOOR_PPS.min(pps)).max(1);
        self.trials.insert(host, Trial { pps, since: now, lost, is_over: false });
        if let Some(pps) = NonZeroU32::new(pps) {
            caps.slow_down(host, pps, now);
        }
        let mut voided = false;
        for position in positions_of(board, host) {
            voided |= stretch.contains(&position) && board.table.void(position, Void::All);
        }
        voided
    }
}

/// Whether so much less is lost than before that it was a matter of speed: half as much, or so much less that a third
/// more is answered.
fn is_helped(before: f64, lost: f64) -> bool {
    lost < before * 0.5 || (1.0 - lost) > (1.0 - before) * 1.33
}

/// The share of the first tries that were lost among those of a host's ports that answer, and how many these are, as
/// far as the tries reach that were made since this moment, if any.
fn lost_since(board: &Board<'_>, host: u64, since: Option<Tick>, now: Tick) -> (f64, f64) {
    let (mut first, mut later, mut waiting, mut tried_again) = (0_u32, 0_u32, 0_u32, 0_u32);
    for position in positions_of(board, host) {
        let cell = board.table.get(position);
        let is_recent = since.is_none_or(|since| board.times.elapsed(position, now) < now.since(since));
        match cell.counted() {
            _ if !is_recent => {}
            0 => {}
            1 if cell.is_silent() => waiting += 1,
            1 => first += 1,
            _ if cell.is_silent() => tried_again += 1,
            _ => later += 1,
        }
    }
    // A lap that is not over has found only some of those that were lost in the one before.
    let over = f64::from(later + tried_again) / f64::from(later + tried_again + waiting).max(1.0);
    let later = f64::from(later) / over.max(f64::EPSILON);
    let answering = (f64::from(first) + later).max(1.0);
    (later / answering, answering)
}

/// The positions of a host's ports, as far as they are of this tile.
fn positions_of<'a>(board: &'a Board<'_>, host: u64) -> impl Iterator<Item = u64> + 'a {
    let ports = board.plan.scope.ports().len() as u64;
    let positions = (host * ports..(host + 1) * ports).map(|index| board.order.position_of(index));
    positions.filter(|position| board.table.holds(*position))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suspects_a_host_after_some_late_answers_and_again_after_as_many() {
        let mut late = LateAnswers::new();
        for round in 0..3 {
            for n in 1..SUSPECT_AFTER {
                assert!(!late.note(7), "round {round}, answer {n}");
                assert!(!late.note(u64::from(n) + 100), "another host");
            }
            assert!(late.note(7), "round {round}");
        }
    }

    #[test]
    fn counts_for_no_more_hosts_than_it_has_room_for() {
        let mut late = LateAnswers::new();
        (0..MOST_COUNTED as u64 * 2).for_each(|host| {
            late.note(host);
        });
        assert_eq!(late.of_host.len(), MOST_COUNTED);
        assert!((1..SUSPECT_AFTER).any(|_| late.note(3)));
    }
}
