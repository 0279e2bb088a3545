//! The closing of a sweep: every target gets its state, tile by tile, and the books are checked.
//!
//! Silence becomes *filtered* here, or does not: only after enough tries that count, on a path that an answer has come
//! by, and that loses so little that these tries prove something. Whatever is not proven is *unknown*, with a reason of
//! its own.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::board::{Answer, Board};
use super::ledger::Ledger;
use super::receiver::PathRecord;
use super::report::{
    CanaryCount, Observation, OutageReport, Packets, PathReport, Report, UnknownReason, Verdict,
};
use super::run::{Ending, Observer, Outcome, Progress, RunError};
use super::watch::Outage;
use crate::link::clock::Tick;
use crate::target::Target;
use crate::target::state::{Reason, State};
use crate::target::table::Cell;

/// Of canaries asked so often, the share that was lost says something.
const ENOUGH_CANARIES: u64 = 20;

/// Where chance alone would make more answering targets silent than this, silence is no answer.
pub(super) const MOST_BY_CHANCE: f64 = 0.02;

/// Hands on what the threads find, and closes the books.
pub(super) struct Driver<'a> {
    board: &'a Board<'a>,
    observer: &'a mut dyn Observer,
    started: Timestamp,
    began: Tick,
    ledger: Ledger,
    unknown_reasons: BTreeMap<UnknownReason, u64>,
    /// The last word on each target that is watched.
    watched: BTreeMap<Target, Observation>,
}

/// What silence is worth at the end.
struct Silence {
    /// Why targets without enough tries are unknown, path by path.
    too_few: Vec<UnknownReason>,
    /// The same for those that could have been probed again.
    never_left: Vec<UnknownReason>,
    /// Why even enough tries prove nothing, path by path; `None` where they do.
    unproven: Vec<Option<UnknownReason>>,
    /// Whether the sweep came to its end.
    finished: bool,
}

impl<'a> Driver<'a> {
    /// A driver of a sweep that begins now.
    pub fn new(
        board: &'a Board<'a>,
        observer: &'a mut dyn Observer,
        started: Timestamp,
        began: Tick,
    ) -> Self {
        let ledger = Ledger::new(board.plan.scope.len());
        let (unknown_reasons, watched) = (BTreeMap::new(), BTreeMap::new());
        Driver { board, observer, started, began, ledger, unknown_reasons, watched }
    }

    /// Hands on the answers that came in since the last beat, and the progress.
    pub fn hand_on(&mut self, now: Tick) -> std::io::Result<()> {
        while let Some(answer) = self.board.answers.pop() {
            if let Some(cell) = self.board.table.mark_reported(answer.position) {
                self.observer.observed(&self.observation(answer, cell, cell.reason().state()))?;
            }
        }
        self.observer.progressed(&Progress {
            declared: self.ledger.declared,
            answered: self.board.answered(),
            open: self.board.open.get(),
            sent: self.board.sent(),
            dropped: self.board.dropped.get(),
            elapsed: now.since(self.began),
        })
    }

    /// Settles every target of this tile, and hands on those that were not. A tile that was cut short is the last: the
    /// targets of those after it are counted, and nothing more is said of them.
    pub fn settle(&mut self, ending: &Ending, paths: &[PathRecord], now: Tick) -> Result<(), RunError> {
        self.hand_on(now)?;
        let cut_short = cut_short(ending);
        let silence = self.silence(cut_short, paths);
        self.settle_tile(&silence)?;
        self.settle_watched(&silence);
        if let Some(reason) = cut_short {
            let rest = self.ledger.declared.saturating_sub(self.board.table.tile().end);
            self.enter(State::Unknown, Some(reason), rest);
            self.settle_watched_rest(reason);
        }
        Ok(())
    }

    /// Checks the books, and makes the report.
    pub fn close(
        self,
        ending: Ending,
        paths: &[PathRecord],
        now: Tick,
        completed: Timestamp,
    ) -> Result<Outcome, RunError> {
        let ledger = self.ledger;
        ledger.check()?;
        let board = self.board;
        let report = Report {
            sweep: board.plan.sweep,
            shard: board.plan.shard,
            vantage: board.plan.vantage.clone(),
            started: self.started,
            completed,
            duration_ms: now.since(self.began).as_millis() as u64,
            verdict: match ledger.unknown {
                0 => Verdict::Complete,
                unknown if unknown == ledger.declared => Verdict::Blind,
                _ => Verdict::Degraded,
            },
            unknown_reasons: self.unknown_reasons.clone(),
            ledger,
            packets: Packets {
                sent: board.sent().saturating_sub(board.known.get()),
                canaries: board.asked(),
                received: board.received.get(),
                foreign: board.foreign.get(),
                dropped: board.dropped.get(),
                refused: board.refused() + board.set_aside(),
            },
            paths: self.path_reports(paths),
        };
        let failure = if let Ending::Broken(error) = ending { Some(error) } else { None };
        Ok(Outcome { report, failure, watched: self.watched.into_values().collect() })
    }

    fn silence(&self, cut_short: Option<UnknownReason>, paths: &[PathRecord]) -> Silence {
        let tries = i32::from(self.board.plan.tries);
        let record = |path: usize| paths.get(path).cloned().unwrap_or_default();
        let by_ourselves = match self.board.dropped.get() {
            0 => UnknownReason::TriesSpent,
            _ => UnknownReason::ReceiverDropped,
        };
        let too_few = |path| {
            let blamed = record(path).outages.last().map(|outage: &Outage| outage.reason);
            cut_short.or(blamed).unwrap_or(by_ourselves)
        };
        let never_left = |path: usize| {
            let is_lost = record(path).outages.last().is_some_and(|outage: &Outage| outage.until.is_none());
            let is_refused = cut_short.is_none() && self.board.has_given_up() && !is_lost;
            if is_refused { UnknownReason::SendRefused } else { too_few(path) }
        };
        let unproven = |path| {
            let canaries = record(path).canaries;
            let lost = canaries.calm_lost as f64 / canaries.calm_asked.max(1) as f64;
            if !self.board.has_heard(path) {
                Some(UnknownReason::NothingHeard)
            } else if canaries.calm_asked >= ENOUGH_CANARIES && lost.powi(tries) > MOST_BY_CHANCE {
                Some(UnknownReason::PathLossy)
            } else {
                None
            }
        };
        let all = 0..self.board.plan.paths();
        Silence {
            too_few: all.clone().map(too_few).collect(),
            never_left: all.clone().map(never_left).collect(),
            unproven: all.map(unproven).collect(),
            finished: cut_short.is_none(),
        }
    }

    /// Enters every target of the tile into the ledger, and hands on the ones that nobody has heard of yet. In a sweep
    /// that was cut short, silence proves nothing, however many tries it lasted: the last may still be on its way.
    /// Those targets are counted, not listed.
    fn settle_tile(&mut self, silence: &Silence) -> Result<(), RunError> {
        let (board, plan) = (self.board, self.board.plan);
        for position in board.table.tile() {
            let cell = board.table.get(position);
            let doubt = self.doubt(position, cell, silence);
            let state = doubt.map_or_else(|| cell.reason().state(), |_| State::Unknown);
            self.enter(state, doubt, 1);
            let is_wanted = plan.wanted.has(state) && (silence.finished || state != State::Unknown);
            // What was said and does not hold has to be set right.
            let is_wrong = cell.is_retracted() || (doubt.is_some() && cell.is_reported());
            let is_news =
                || doubt.is_some() || cell.is_silent() || board.table.mark_reported(position).is_some();
            if (is_wanted || is_wrong) && is_news() {
                let answer = Answer { position, rtt_us: None, ttl: 0, corrects: is_wrong };
                let observation = Observation { unknown: doubt, ..self.observation(answer, cell, state) };
                self.observer.observed(&observation)?;
            }
        }
        Ok(())
    }

    fn enter(&mut self, state: State, unknown: Option<UnknownReason>, targets: u64) {
        self.ledger.enter_many(state, targets);
        if let Some(reason) = unknown.filter(|_| targets > 0) {
            *self.unknown_reasons.entry(reason).or_insert(0) += targets;
        }
    }

    /// Keeps the last word on each target of the tile that is watched.
    fn settle_watched(&mut self, silence: &Silence) {
        for target in &self.board.plan.watched {
            let position = self.position_of(target).filter(|position| self.board.table.holds(*position));
            let Some(position) = position else { continue };
            let cell = self.board.table.get(position);
            let doubt = self.doubt(position, cell, silence);
            self.watched.insert(*target, self.last_word(position, cell, doubt));
        }
    }

    /// The same for the tiles that were never begun.
    fn settle_watched_rest(&mut self, reason: UnknownReason) {
        for target in &self.board.plan.watched {
            if let Some(position) = self.position_of(target)
                && !self.watched.contains_key(target)
            {
                self.watched.insert(*target, self.last_word(position, Cell::default(), Some(reason)));
            }
        }
    }

    fn position_of(&self, target: &Target) -> Option<u64> {
        let index = self.board.plan.scope.index_of(target.ip, target.port)?;
        Some(self.board.order.position_of(index))
    }

    fn last_word(&self, position: u64, cell: Cell, unknown: Option<UnknownReason>) -> Observation {
        let state = unknown.map_or_else(|| cell.reason().state(), |_| State::Unknown);
        let answer = Answer { position, rtt_us: None, ttl: 0, corrects: false };
        Observation { unknown, ..self.observation(answer, cell, state) }
    }

    /// Why the silence of a target is no answer, if it is none; also the silence of a whole local network to the
    /// question who is there.
    fn doubt(&self, position: u64, cell: Cell, silence: &Silence) -> Option<UnknownReason> {
        let plan = self.board.plan;
        let path = || {
            if silence.too_few.len() > 1 { plan.path_of(self.board.target_at(position).ip) } else { 0 }
        };
        if cell.reason() == Reason::NoNeighbour && plan.mute.contains(&path()) {
            return Some(UnknownReason::NothingHeard);
        }
        if !cell.is_silent() && !cell.reason().is_hint() {
            return None;
        }
        let path = path();
        if cell.counted() < plan.tries || !silence.finished {
            let may_be_probed = cell.needs_probe(plan.tries);
            return Some(if may_be_probed { silence.never_left[path] } else { silence.too_few[path] });
        }
        // A hint in enough tries is what it says, if not a proof.
        if cell.is_silent() { silence.unproven[path] } else { None }
    }

    fn path_reports(&self, records: &[PathRecord]) -> Vec<PathReport> {
        let since = |tick: Tick| tick.since(self.began).as_millis() as u64;
        let hops = self.board.plan.routes.hops().iter().zip(records).enumerate();
        hops.map(|(path, (hop, record))| PathReport {
            interface: hop.interface.name.clone(),
            source: hop.source,
            next_hop: hop.next_hop,
            heard: self.board.has_heard(path),
            canaries: CanaryCount { asked: record.canaries.asked, lost: record.canaries.lost },
            outages: record
                .outages
                .iter()
                .map(|outage| OutageReport {
                    reason: outage.reason,
                    from_ms: since(outage.from),
                    until_ms: outage.until.map(since),
                })
                .collect(),
        })
        .collect()
    }

    fn observation(&self, answer: Answer, cell: Cell, state: State) -> Observation {
        Observation {
            target: self.board.target_at(answer.position),
            state,
            reason: (state != State::Unknown).then(|| cell.reason()),
            unknown: None,
            tries: cell.sent(),
            rtt_us: answer.rtt_us,
            ttl: (answer.ttl > 0).then_some(answer.ttl),
            corrects: answer.corrects,
        }
    }
}

/// Why what is not known then is not, if the sweep did not come to its end.
fn cut_short(ending: &Ending) -> Option<UnknownReason> {
    match ending {
        Ending::Finished => None,
        Ending::Interrupted => Some(UnknownReason::Interrupted),
        Ending::Refused => Some(UnknownReason::SendRefused),
        Ending::Broken(_) | Ending::Died => Some(UnknownReason::LinkFailed),
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use std::num::NonZeroU32;
    use std::sync::Arc;

    use ulid::Ulid;

    use super::*;
    use crate::sweep::cookie::SourcePorts;
    use crate::sweep::plan::{Plan, StateSet};
    use crate::sweep::report::Vantage;
    use crate::sweep::run::Observer;
    use crate::target::scope::Scope;
    use crate::target::table::Table;

    struct Nobody;

    impl Observer for Nobody {
        fn observed(&mut self, _: &Observation) -> std::io::Result<()> {
            Ok(())
        }

        fn progressed(&mut self, _: &Progress) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn plan() -> Plan {
        let network = "198.18.0.0/30".parse().expect("a network");
        Plan {
            sweep: Ulid::nil(),
            scope: Scope::new(&[network], &[], "22".parse().expect("a port")).expect("a scope"),
            shard: None,
            seed: 1,
            key: None,
            tile: None,
            tries: 1,
            rate: NonZeroU32::new(1000),
            governed: false,
            host_rate: None,
            network_rate: None,
            canaries: Vec::new(),
            mute: Vec::new(),
            routes: Arc::default(),
            source_ports: SourcePorts { first: 16_384, count: 16_384 },
            wanted: StateSet::all(),
            watched: std::collections::BTreeSet::new(),
            vantage: Vantage {
                host: "test".into(),
                engine: "sim".into(),
                engine_reason: "a test".into(),
                interface: None,
                source: None,
                next_hop: None,
            },
        }
    }

    /// Closes a sweep of four targets whose table has room for so many.
    fn close(targets: u64) -> Result<Outcome, RunError> {
        let plan = plan();
        let mut board = Board::new(&plan, &[7; 16], 1).expect("memory");
        board.table = Table::new(targets).expect("memory");
        let now = Timestamp::UNIX_EPOCH;
        let mut nobody = Nobody;
        let mut driver = Driver::new(&board, &mut nobody, now, Tick::default());
        driver.settle(&Ending::Finished, &[], Tick::default())?;
        driver.close(Ending::Finished, &[], Tick::default(), now)
    }

    #[test]
    fn books_that_do_not_close_make_no_report() {
        assert!(close(4).is_ok());
        let failed = close(3).expect_err("one target is missing");
        assert!(matches!(failed, RunError::Books(_)), "{failed}");
    }
}
