//! Counts the observations of a bundle again, line by line, and believes nothing: every target of every tile must be in
//! exactly one line, and every line must say what can be true.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, BufReader, Read};
use std::net::IpAddr;

use super::digest::Digest;
use super::journal::TileDone;
use super::merkle::Tree;
use super::observation::{BlockLine, HostLine, Line, TargetLine};
use super::plan::Plan;
use crate::sweep::ledger::Ledger;
use crate::sweep::report::{Observation, UnknownReason};
use crate::sweep::verified::{AnswersAll, Confirmation, Verifications};
use crate::target::address::{AddressRange, address_of};
use crate::target::names::Names;
use crate::target::ports::PortSet;
use crate::target::scope::Scope;
use crate::target::state::{Reason, State};
use crate::target::{Target, Transport};

/// The longest line: a block of all ports but every other one, on as many hosts, has some 700,000 bytes.
const LONGEST_LINE: u64 = 4 << 20;

/// The most targets of one tile. More than any run makes; a plan that says so was made up.
const MOST_TARGETS: u64 = 1 << 25;

/// What the lines say together.
#[derive(Clone, Debug, Default)]
pub struct Recount {
    /// The last word on every target that has accepted a handshake.
    pub opens: Vec<Observation>,
    /// What is known of them beyond that.
    pub verifications: Verifications,
    /// When they were seen.
    pub lines: Vec<TargetLine>,
    /// The books.
    pub ledger: Ledger,
    /// Why targets are unknown.
    pub unknown_reasons: BTreeMap<UnknownReason, u64>,
    /// Which ones they are.
    pub unknown: Vec<BlockLine>,
    /// Hosts on which something is open.
    pub hosts_with_open_ports: BTreeSet<IpAddr>,
    /// The tree over all lines.
    pub tree: Tree,
}

/// What is wrong with the observations.
#[derive(Debug, thiserror::Error)]
pub enum RecountError {
    /// They cannot be read.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// A tile is not as the journal has it.
    #[error("tile {tile}: {why}")]
    Tile {
        /// The tile.
        tile: u64,
        /// What is wrong.
        why: String,
    },
    /// A line is wrong.
    #[error("line {line} (tile {tile}): {why}")]
    Line {
        /// The tile that it stands in.
        tile: u64,
        /// The line, from 1, of all that is uncompressed.
        line: u64,
        /// What is wrong.
        why: String,
    },
}

impl Recount {
    /// Counts the tiles of a run: all of them, in their order.
    ///
    /// # Errors
    /// With the first thing that is wrong.
    pub fn of(plan: &Plan, tiles: &[TileDone], observations: impl Read) -> Result<Self, RecountError> {
        Recount::each(plan, tiles, observations, &mut |_| {})
    }

    /// As [`Recount::of`], and shows every line to `visit`, once it has been found to be possible.
    ///
    /// # Errors
    /// As before. What was shown until then counts for nothing.
    pub fn each(
        plan: &Plan,
        tiles: &[TileDone],
        mut observations: impl Read,
        visit: &mut dyn FnMut(&Line),
    ) -> Result<Self, RecountError> {
        let whole = plan.targets().map_err(|cause| in_tile(0, &cause))?;
        let mut recount = Recount::default();
        if tiles.len() as u64 != plan.grid.tiles() {
            let why = format!("{} tiles are done, and the plan has {}", tiles.len(), plan.grid.tiles());
            return Err(in_tile(0, &why));
        }
        for (done, number) in tiles.iter().zip(1..) {
            if done.tile != number {
                return Err(in_tile(number, &format!("tile {} stands in its place", done.tile)));
            }
            let scope = plan.grid.tile(&whole, number).map_err(|cause| in_tile(number, &cause))?;
            recount.count_tile(done, &scope, &mut observations, visit)?;
        }
        match observations.read(&mut [0])? {
            0 => Ok(recount),
            _ => Err(in_tile(plan.grid.tiles(), &"something stands behind the last tile")),
        }
    }

    /// What addresses are called, as far as they have open ports.
    pub fn names(&self) -> Names {
        Names::new(self.lines.iter().flat_map(|line| {
            let range = AddressRange::single(line.observation.target.ip);
            line.names.iter().map(move |name| (range, name.as_str()))
        }))
    }

    /// Whether a target has accepted a handshake.
    pub fn is_open(&self, ip: IpAddr, port: u16) -> bool {
        let target = Target { ip, port, transport: Transport::Tcp };
        self.verifications.targets.contains_key(&target) || self.verifications.answers_all.contains_key(&ip)
    }

    /// Whether nothing is known of a target.
    pub fn is_unknown(&self, ip: IpAddr, port: u16) -> bool {
        self.unknown.iter().any(|block| {
            block.ports.slot_of(port).is_some() && block.hosts.iter().any(|range| range.contains(ip))
        })
    }

    fn count_tile(
        &mut self,
        done: &TileDone,
        scope: &Scope,
        observations: &mut impl Read,
        visit: &mut dyn FnMut(&Line),
    ) -> Result<(), RecountError> {
        let tile = done.tile;
        if scope.len() > MOST_TARGETS {
            return Err(in_tile(tile, &format!("{} targets are more than a tile has", scope.len())));
        }
        let mut stored = Hashing::new(observations.take(done.bytes));
        let first = self.tree.leaves();
        let mut coverage = Coverage::new(scope);
        let mut ledger = Ledger::new(scope.len());
        let mut lines = BufReader::new(zstd::Decoder::new(&mut stored)?);
        let mut text = Vec::new();
        loop {
            text.clear();
            let read = (&mut lines).take(LONGEST_LINE).read_until(b'\n', &mut text);
            if read.map_err(|cause| in_tile(tile, &cause))? == 0 {
                break;
            }
            let line = self.tree.leaves() + 1;
            let wrong = |why: String| RecountError::Line { tile, line, why };
            let text = text.strip_suffix(b"\n").ok_or_else(|| wrong("it has no end".to_owned()))?;
            let parsed: Line = serde_json::from_slice(text).map_err(|cause| wrong(cause.to_string()))?;
            self.tree.push(text);
            if self.tree.leaves() - first > done.lines {
                return Err(wrong(format!("the journal has {} lines for this tile", done.lines)));
            }
            if parsed.tile() != tile {
                return Err(wrong(format!("it is of tile {}", parsed.tile())));
            }
            coverage.cover(&parsed).map_err(wrong)?;
            parsed.enter(&mut ledger);
            visit(&parsed);
            self.keep(parsed);
        }
        drop(lines);
        if stored.finish()? != (done.sha256, done.bytes) {
            return Err(in_tile(
                tile,
                &"what is stored has another digest, or another length, than in the journal",
            ));
        }
        coverage.check().map_err(|why| in_tile(tile, &why))?;
        if ledger != done.ledger || self.tree.leaves() - first != done.lines {
            return Err(in_tile(tile, &"its lines add up to other books than those in the journal"));
        }
        self.ledger.add(&ledger);
        Ok(())
    }

    fn keep(&mut self, line: Line) {
        match line {
            Line::Host(HostLine { ip, answers_all, .. }) => self.keep_host(ip, answers_all),
            Line::Block(block) if block.state == State::Open => self.keep_folded(&block),
            Line::Block(block) => {
                if let Some(reason) = block.unknown {
                    *self.unknown_reasons.entry(reason).or_default() += block.targets;
                    self.unknown.push(block);
                }
            }
            Line::Target(line) => {
                let target = line.observation.target;
                self.hosts_with_open_ports.insert(target.ip);
                let TargetLine { verification, conduct, ref banner, .. } = *line;
                let known = Confirmation { verification, conduct, banner: banner.clone() };
                self.verifications.targets.insert(target, known);
                self.opens.push(line.observation);
                self.lines.push(*line);
            }
        }
    }

    /// Ports that are open as all of their hosts are.
    fn keep_folded(&mut self, block: &BlockLine) {
        for (first, last) in block.hosts.iter().map(AddressRange::numbers) {
            for ip in (first..=last).map(address_of) {
                self.hosts_with_open_ports.insert(ip);
                self.opens.extend(block.ports.iter().map(|port| Observation {
                    target: Target { ip, port, transport: block.transport },
                    state: block.state,
                    reason: block.reason,
                    unknown: None,
                    tries: 0,
                    rtt_us: None,
                    ttl: None,
                    corrects: false,
                }));
            }
        }
    }

    /// One host may be in several tiles, and be looked at in each.
    fn keep_host(&mut self, ip: IpAddr, seen: AnswersAll) {
        let host = self.verifications.answers_all.entry(ip).or_default();
        host.canary_ports.extend(seen.canary_ports);
        host.canary_ports.sort_unstable();
        host.canary_ports.dedup();
        host.conduct.extend(seen.conduct);
        host.real.extend(seen.real);
        host.heard.extend(seen.heard);
    }
}

fn in_tile(tile: u64, why: &dyn std::fmt::Display) -> RecountError {
    RecountError::Tile { tile, why: why.to_string() }
}

/// Which targets of a tile have been in a line.
struct Coverage<'s> {
    scope: &'s Scope,
    seen: Vec<u64>,
    count: u64,
    /// Hosts that accept every port, and the ports of each that are told from the rest.
    hosts: BTreeMap<u64, BTreeSet<u16>>,
}

impl<'s> Coverage<'s> {
    fn new(scope: &'s Scope) -> Self {
        let seen = vec![0; scope.len().div_ceil(64) as usize];
        Coverage { scope, seen, count: 0, hosts: BTreeMap::new() }
    }

    /// Notes the targets of a line, if it can be true.
    fn cover(&mut self, line: &Line) -> Result<(), String> {
        match line {
            Line::Host(host) => {
                let port = self.scope.ports().get(0);
                let number = self.scope.index_of(host.ip, port).map(|index| self.scope.host_index(index));
                let number = number.ok_or_else(|| format!("{} is not in this tile", host.ip))?;
                match self.hosts.insert(number, host.answers_all.real.clone()) {
                    None => Ok(()),
                    Some(_) => Err(format!("{} is in more than one line", host.ip)),
                }
            }
            Line::Target(line) => {
                let seen = &line.observation;
                let is_open = matches!(seen.state, State::Open | State::Conflict);
                if !is_open || seen.reason.map(Reason::state) != Some(seen.state) {
                    return Err(format!("its state, {}, does not go with its reason", seen.state));
                }
                self.note(seen.target.ip, seen.target.port)
            }
            Line::Block(block) => self.cover_block(block),
        }
    }

    fn cover_block(&mut self, block: &BlockLine) -> Result<(), String> {
        let fits = match (block.state, block.reason, block.unknown) {
            (State::Conflict, ..) => false,
            (State::Unknown, None, Some(_)) => true,
            (state, Some(reason), None) => reason.state() == state,
            _ => false,
        };
        if !fits {
            return Err(format!("its state, {}, does not go with its reason", block.state));
        }
        // Looked at before anything is counted one by one.
        if block.targets == 0 {
            return Err("it is about no target".to_owned());
        }
        if block.counted() > self.scope.len() || block.counted() != block.targets {
            return Err(format!("hosts by ports are {}, not {}", block.counted(), block.targets));
        }
        for range in &block.hosts {
            let (first, last) = range.numbers();
            for number in first..=last {
                let ip = address_of(number);
                if block.state == State::Open && !self.is_folded(ip, &block.ports) {
                    return Err(format!(
                        "{ip} is open there, and targets that are open have lines of their own"
                    ));
                }
                block.ports.iter().try_for_each(|port| self.note(ip, port))?;
            }
        }
        Ok(())
    }

    /// Whether a host accepts every port, and nothing tells these from the rest.
    fn is_folded(&self, ip: IpAddr, ports: &PortSet) -> bool {
        let index = self.scope.index_of(ip, self.scope.ports().get(0));
        let host = index.and_then(|index| self.hosts.get(&self.scope.host_index(index)));
        host.is_some_and(|real| ports.iter().all(|port| !real.contains(&port)))
    }

    fn note(&mut self, ip: IpAddr, port: u16) -> Result<(), String> {
        let index =
            self.scope.index_of(ip, port).ok_or_else(|| format!("{ip} port {port} is not in this tile"))?;
        let (word, bit) = ((index / 64) as usize, 1 << (index % 64));
        if self.seen[word] & bit != 0 {
            return Err(format!("{ip} port {port} is in more than one line"));
        }
        self.seen[word] |= bit;
        self.count += 1;
        Ok(())
    }

    fn check(&self) -> Result<(), String> {
        match self.scope.len() - self.count {
            0 => Ok(()),
            missing => Err(format!("{missing} of {} targets are in no line", self.scope.len())),
        }
    }
}

/// Passes bytes on, and knows their digest in the end.
struct Hashing<R> {
    from: R,
    hasher: sha2::Sha256,
    bytes: u64,
}

impl<R: Read> Hashing<R> {
    fn new(from: R) -> Self {
        Hashing { from, hasher: sha2::Digest::new(), bytes: 0 }
    }

    /// Reads what is left, too.
    fn finish(mut self) -> io::Result<(Digest, u64)> {
        io::copy(&mut self, &mut io::sink())?;
        Ok((Digest::from(self.hasher), self.bytes))
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let taken = self.from.read(into)?;
        sha2::Digest::update(&mut self.hasher, &into[..taken]);
        self.bytes += taken as u64;
        Ok(taken)
    }
}
