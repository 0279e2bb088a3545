//! What the receiver has found out, and what follows for tries that were made already.

use std::num::NonZeroU32;

use super::Sender;
use crate::link::Transmit;
use crate::link::clock::Tick;
use crate::sweep::plan::defaults;
use crate::sweep::report::UnknownReason;
use crate::sweep::seeing::BlindSlice;
use crate::target::table::Void;

/// Hosts are not slowed down below this when a path loses more than it should, in probes a second.
const LOSSY_HOST_FLOOR: NonZeroU32 = NonZeroU32::new(50).expect("not zero");

impl<T: Transmit> Sender<'_, T> {
    /// Makes void what was in flight while nothing was seen.
    pub(super) fn void_blind_slices(&mut self, now: Tick) {
        while let Some(slice) = self.board.seeing.take_blind(self.number) {
            if matches!(slice.reason, UnknownReason::CanariesSilent | UnknownReason::PathLossy) {
                // It may be that our own probes were too much for somebody.
                self.caps.halve_hosts(LOSSY_HOST_FLOOR, now);
            }
            self.void(&slice, now);
        }
    }

    fn void(&mut self, slice: &BlindSlice, now: Tick) {
        let board = self.board;
        // A slice longer than the space between tries may have swallowed the answers to several.
        let which = if slice.to.since(slice.from) + board.patience() < defaults::SPACE_BETWEEN_TRIES {
            Void::Last
        } else {
            Void::All
        };
        // Up to now, not to the slice's end: a target that was probed again in between had its last try then.
        let from = slice.from - board.patience();
        board.times.sent_between(self.stretch.clone(), from, now, |position| {
            let ip = || board.target_at(position).ip;
            let concerned = |path| board.plan.path_of(ip()) == path;
            if slice.host.map_or_else(|| slice.path.is_none_or(concerned), |host| ip() == host) {
                self.lap_worked |= board.table.void(position, which);
                if slice.reason == UnknownReason::CanariesChanged && board.table.retract(position) {
                    board.senders[self.number].retracted.add(1);
                    self.lap_worked = true;
                }
            }
        });
    }

    /// Slows down hosts that answer only when they are asked again.
    pub(super) fn slow_down_limited(&mut self, now: Tick) {
        while let Some(host) = self.board.limited[self.number].pop() {
            let (board, stretch) = (self.board, &self.stretch);
            self.lap_worked |= self.slow_hosts.slow_down(board, &mut self.caps, host, stretch, now);
        }
    }
}
