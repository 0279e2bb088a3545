//! What is known of a tile: a byte for each target, and all that was said of those that are open.
//!
//! Attempts at a tile add up. What one of them did not learn another may, and what two of them say of a target is put
//! together as two answers within a sweep are: open beats closed beats silence, and open together with closed is a
//! contradiction.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;

use crate::evidence::observation::{BlockLine, HostLine, Line, TargetLine};
use crate::sweep::ledger::Ledger;
use crate::sweep::report::{Observation, UnknownReason};
use crate::sweep::verified::{AnswersAll, Verification, Verifications};
use crate::target::address::AddressRange;
use crate::target::names::Names;
use crate::target::ports::PortSet;
use crate::target::scope::{Scope, merge};
use crate::target::state::{Reason, State};
use crate::target::{Target, Transport};

/// What is known of the targets of a tile.
#[derive(Clone, Debug)]
pub struct TileMap {
    scope: Scope,
    /// What is known of each target, by its number in the scope: hosts in order, and for each its ports.
    cells: Vec<Known>,
    opens: BTreeMap<Target, TargetLine>,
    hosts: BTreeMap<IpAddr, AnswersAll>,
}

/// What is known of one target, in a byte.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
struct Known(u8);

/// The byte of a target that has a line of its own.
const LISTED: u8 = u8::MAX;

/// From here on a byte means that it is not known, and why.
const UNKNOWN: u8 = 128;

impl Known {
    fn of(observation: &Observation) -> Self {
        match (observation.reason, observation.unknown) {
            (Some(reason), None) => Known(1 + reason as u8),
            (_, unknown) => {
                let why = unknown.unwrap_or(UnknownReason::TriesSpent);
                let place = UnknownReason::ALL.iter().position(|known| *known == why).unwrap_or_default();
                Known(UNKNOWN + place as u8)
            }
        }
    }

    fn reason(self) -> Option<Reason> {
        self.0.checked_sub(1).filter(|_| self.0 < UNKNOWN).and_then(Reason::from_code)
    }

    fn unknown(self) -> Option<UnknownReason> {
        match self.0.checked_sub(UNKNOWN) {
            Some(place) => UnknownReason::ALL.get(usize::from(place)).copied(),
            // Of a target that nobody has told of, the sweep was stopped before it came to it.
            None => (self.0 == 0).then_some(UnknownReason::Interrupted),
        }
    }

    fn state(self) -> State {
        self.reason().map_or(State::Unknown, Reason::state)
    }

    fn with(self, later: Known) -> Known {
        match (self.reason(), later.reason()) {
            (Some(reason), Some(next)) => Known(1 + reason.merge(next) as u8),
            (Some(_), None) => self,
            (None, _) => later,
        }
    }

    fn is_listed(self) -> bool {
        matches!(self.state(), State::Open | State::Conflict)
    }
}

impl TileMap {
    /// A map of which nothing is known.
    pub fn new(scope: &Scope) -> Self {
        let cells = vec![Known::default(); scope.len() as usize];
        TileMap { scope: scope.clone(), cells, opens: BTreeMap::new(), hosts: BTreeMap::new() }
    }

    /// Keeps what a target said. Of two words on one target the later one is right.
    pub fn observe(&mut self, time: Timestamp, tile: u64, observation: &Observation) {
        let target = observation.target;
        let Some(index) = self.scope.index_of(target.ip, target.port) else { return };
        let known = Known::of(observation);
        self.cells[index as usize] = known;
        if known.is_listed() {
            let (verification, conduct, banner) = (Verification::Skipped, None, None);
            let observation = Observation { corrects: false, ..*observation };
            let names = Vec::new();
            let line = TargetLine { tile, time, names, observation, verification, conduct, banner };
            self.opens.insert(target, line);
        } else {
            self.opens.remove(&target);
        }
    }

    /// Keeps what the second look found.
    pub fn confirm(&mut self, known: &Verifications) {
        for (target, line) in &mut self.opens {
            let confirmation = known.of(target);
            line.verification = confirmation.verification;
            line.conduct = confirmation.conduct;
            line.banner = confirmation.banner;
        }
        self.hosts.extend(known.answers_all.iter().map(|(ip, host)| (*ip, host.clone())));
    }

    /// Says what hosts are called.
    pub fn name(&mut self, names: &Names) {
        for (target, line) in &mut self.opens {
            line.names = names.of(target.ip).into_iter().map(str::to_owned).collect();
        }
    }

    /// Adds what a later attempt has learned.
    pub fn add(&mut self, later: TileMap) {
        for (known, next) in self.cells.iter_mut().zip(later.cells) {
            *known = known.with(next);
        }
        for (target, line) in later.opens {
            // A whole handshake that was finished once has been finished.
            let is_better = self.opens.get(&target).is_none_or(|known| {
                known.verification != Verification::Verified || line.verification == Verification::Verified
            });
            if is_better {
                self.opens.insert(target, line);
            }
        }
        self.hosts.extend(later.hosts);
        let (scope, cells) = (&self.scope, &self.cells);
        for (target, line) in &mut self.opens {
            let Some(index) = scope.index_of(target.ip, target.port) else { continue };
            let known = cells[index as usize];
            (line.observation.reason, line.observation.state) = (known.reason(), known.state());
        }
    }

    /// Whether every target has a state.
    pub fn is_complete(&self) -> bool {
        self.cells.iter().all(|known| known.reason().is_some())
    }

    /// The books.
    pub fn ledger(&self) -> Ledger {
        let mut ledger = Ledger::new(self.scope.len());
        self.cells.iter().for_each(|known| ledger.enter(known.state()));
        ledger
    }

    /// The lines of this tile, in their one order: hosts, targets, blocks.
    pub fn lines(&self, tile: u64) -> Vec<Line> {
        let hosts = self.hosts.iter().map(|(ip, answers_all)| {
            Line::Host(HostLine { tile, ip: *ip, answers_all: answers_all.clone() })
        });
        let listed = self.opens.iter().filter(|(target, _)| !self.is_folded(target));
        let targets = listed.map(|(_, line)| Line::Target(Box::new(line.clone())));
        hosts.chain(targets).chain(self.blocks(tile).into_iter().map(Line::Block)).collect()
    }

    /// Whether a target is open as all of its host are, and has said nothing: a hundred thousand of them are one block.
    fn is_folded(&self, target: &Target) -> bool {
        let Some(line) = self.opens.get(target) else { return false };
        let is_plain = line.observation.state == State::Open && line.banner.is_none();
        is_plain && self.hosts.get(&target.ip).is_some_and(|host| !host.real.contains(&target.port))
    }

    /// What is known of the ports of a host, in bytes; those that have lines of their own are [`LISTED`].
    fn row(&self, ip: IpAddr, cells: &[Known]) -> Vec<u8> {
        let byte = |(slot, known): (usize, &Known)| {
            let target = Target { ip, port: self.scope.ports().get(slot), transport: Transport::Tcp };
            if known.is_listed() && !self.is_folded(&target) { LISTED } else { known.0 }
        };
        cells.iter().enumerate().map(byte).collect()
    }

    /// The blocks of targets that are alike. Hosts of which the same is known on every port are in the same blocks.
    fn blocks(&self, tile: u64) -> Vec<BlockLine> {
        let ports = self.scope.ports().len();
        let mut alike: BTreeMap<Vec<u8>, Vec<AddressRange>> = BTreeMap::new();
        for (row, host) in self.cells.chunks(ports).zip(0_u64..) {
            let ip = self.scope.target(host * ports as u64).ip;
            let row = self.row(ip, row);
            let hosts = alike.entry(row).or_default();
            match hosts
                .last()
                .and_then(|last| AddressRange::new(last.first(), ip).ok().map(|longer| (last, longer)))
            {
                Some((last, longer)) if last.numbers().1 + 1 == longer.numbers().1 => {
                    hosts.pop();
                    hosts.push(longer);
                }
                _ => hosts.push(AddressRange::single(ip)),
            }
        }
        let mut blocks: Vec<BlockLine> = Vec::new();
        for (row, hosts) in alike {
            let hosts = merge(&hosts);
            let mut by_known: BTreeMap<u8, Vec<u16>> = BTreeMap::new();
            for (slot, known) in row.iter().enumerate().filter(|(_, known)| **known != LISTED) {
                by_known.entry(*known).or_default().push(self.scope.ports().get(slot));
            }
            blocks.extend(by_known.into_iter().filter_map(|(known, ports)| {
                let known = Known(known);
                let block = BlockLine {
                    tile,
                    hosts: hosts.clone(),
                    ports: PortSet::new(ports)?,
                    transport: Transport::Tcp,
                    state: known.state(),
                    reason: known.reason(),
                    unknown: known.unknown(),
                    targets: 0,
                };
                Some(BlockLine { targets: block.counted(), ..block })
            }));
        }
        blocks.sort_by(|a, b| (&a.hosts, a.ports.get(0)).cmp(&(&b.hosts, b.ports.get(0))));
        blocks
    }
}
