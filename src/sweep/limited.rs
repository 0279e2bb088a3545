//! Hosts that limit how many resets they send: 200 a second on FreeBSD (`net.inet.icmp.icmplim`), less elsewhere.
//!
//! Probed faster than that, most of their closed ports look silent, and would be called filtered. What gives them away
//! is that ports which were silent at one try that counts answer at the next. So the receiver counts such answers for
//! each host, and the sender, once there are some, probes that host more slowly and takes back what its silence was
//! worth so far.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::ops::Range;

use super::board::Board;
use super::caps::Caps;
use crate::target::table::Void;

/// Late answers from one host that make it suspect.
const SUSPECT_AFTER: u8 = 16;

/// Hosts that the receiver counts for at once.
const MOST_COUNTED: usize = 1 << 14;

/// The rate that hosts are slowed down from, where they have no cap.
const FIRST_PPS: u32 = 400;

/// A host is not probed more slowly than this.
const FLOOR_PPS: u32 = 20;

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
    pps: HashMap<u64, u32>,
    first_pps: u32,
}

impl SlowHosts {
    /// None yet, under this cap for each host.
    pub fn new(host_pps: Option<NonZeroU32>) -> Self {
        SlowHosts { pps: HashMap::new(), first_pps: host_pps.map_or(FIRST_PPS, NonZeroU32::get) }
    }

    /// Slows down a host, and makes void what the silence of its ports in this stretch of positions was worth. Says
    /// whether any became unknown again by that.
    pub fn slow_down(&mut self, board: &Board<'_>, caps: &mut Caps, host: u64, stretch: &Range<u64>) -> bool {
        let pps = self.pps.entry(host).or_insert(self.first_pps);
        *pps = (*pps / 2).max(FLOOR_PPS.min(*pps)).max(1);
        if let Some(pps) = NonZeroU32::new(*pps) {
            caps.slow_down(host, pps);
        }
        let ports = board.plan.scope.ports().len() as u64;
        let mut voided = false;
        for index in host * ports..(host + 1) * ports {
            let position = board.order.position_of(index);
            voided |= stretch.contains(&position) && board.table.void(position, Void::All);
        }
        voided
    }
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
