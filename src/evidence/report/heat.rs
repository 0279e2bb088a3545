//! Where it burns: hosts by ports, those of them that have something to say.
//!
//! A few hosts have a row each. Where there are more, networks have one: /24 for IPv4, /64 for IPv6. Where even those
//! are too many, the worst are shown, and what is left out is said.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

use crate::evidence::observation::BlockLine;
use crate::evidence::recount::Recount;
use crate::policy::finding::Finding;
use crate::target::address::{AddressRange, address_of, number_of};
use crate::target::foreign::printable;
use crate::target::scope::merge;
use crate::target::state::State;

/// Rows and columns that a page has room for.
pub(super) const MOST_ROWS: usize = 60;
pub(super) const MOST_PORTS: usize = 30;

/// What may be said of a target, the worst first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Mark {
    Exposure,
    Conflict,
    Unknown,
    Folded,
    Allowed,
}

impl Mark {
    pub(super) const ALL: [Mark; 5] =
        [Mark::Exposure, Mark::Conflict, Mark::Unknown, Mark::Folded, Mark::Allowed];

    /// The word for it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Mark::Exposure => "exposure",
            Mark::Conflict => "conflict",
            Mark::Unknown => "unknown",
            Mark::Folded => "answers all",
            Mark::Allowed => "allowed",
        }
    }

    /// What is meant by it.
    pub(super) fn meaning(self) -> &'static str {
        match self {
            Mark::Exposure => "open, and no exception holds for it",
            Mark::Conflict => "answered as open and as closed",
            Mark::Unknown => "nothing is known of it",
            Mark::Folded => "open on a host that accepts every port",
            Mark::Allowed => "open, and an exception names it",
        }
    }

    /// The name of its colours.
    pub(super) fn class(self) -> &'static str {
        match self {
            Mark::Exposure => "m-exposure",
            Mark::Conflict => "m-conflict",
            Mark::Unknown => "m-unknown",
            Mark::Folded => "m-folded",
            Mark::Allowed => "m-allowed",
        }
    }

    /// What stands for it beside the colour.
    pub(super) fn sign(self) -> &'static str {
        match self {
            Mark::Exposure => "!",
            Mark::Conflict => "\u{b1}",
            Mark::Unknown => "?",
            Mark::Folded => "*",
            Mark::Allowed => "+",
        }
    }
}

/// How many targets of each mark there are.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Tally([u64; Mark::ALL.len()]);

impl Tally {
    pub(super) fn of(&self, mark: Mark) -> u64 {
        self.0[mark as usize]
    }

    /// The worst that is there.
    pub(super) fn worst(&self) -> Option<Mark> {
        Mark::ALL.into_iter().find(|mark| self.of(*mark) > 0)
    }

    /// The marks that are there, in numbers and words.
    pub(super) fn in_words(&self) -> String {
        let there = Mark::ALL.into_iter().filter(|mark| self.of(*mark) > 0);
        let words: Vec<String> =
            there.map(|mark| format!("{} {}", super::words::number(self.of(mark)), mark.word())).collect();
        words.join(", ")
    }

    fn add(&mut self, mark: Mark, count: u64) {
        let sum = &mut self.0[mark as usize];
        *sum = sum.saturating_add(count);
    }

    fn merge(&mut self, other: &Tally) {
        Mark::ALL.into_iter().for_each(|mark| self.add(mark, other.of(mark)));
    }
}

/// A host, or a network of them.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) label: String,
    /// What a host is called.
    pub(super) name: Option<String>,
    /// One for each port that is shown.
    pub(super) cells: Vec<Tally>,
    /// All other ports.
    pub(super) other: Tally,
}

impl Row {
    /// All of it.
    pub(super) fn total(&self) -> Tally {
        let mut total = self.other;
        self.cells.iter().for_each(|cell| total.merge(cell));
        total
    }
}

/// The map.
#[derive(Debug)]
pub(super) struct HeatMap {
    /// Whether a row is a network.
    pub(super) grouped: bool,
    pub(super) ports: Vec<u16>,
    pub(super) rows: Vec<Row>,
    /// Ports that have no column of their own; what is open there is among the others of each row.
    pub(super) ports_left_out: usize,
    pub(super) rows_left_out: usize,
    /// What is in the rows that are left out.
    pub(super) left_out: Tally,
    /// Hosts that have something to say.
    pub(super) hosts: u64,
}

impl HeatMap {
    /// The map of a run.
    pub(super) fn of(findings: &[Finding], recount: &Recount) -> Self {
        let sight = Sight::of(findings, recount);
        let rows = sight.rows();
        let ports = sight.ports();
        let (shown_rows, rows_left_out, left_out) = cut(rows, MOST_ROWS);
        let (shown_ports, ports_left_out, _) = cut(ports, MOST_PORTS);
        let rows = sight.fill(&shown_rows, &shown_ports, findings);
        let (grouped, hosts) = (sight.grouped, sight.hosts);
        HeatMap { grouped, ports: shown_ports, rows, ports_left_out, rows_left_out, left_out, hosts }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The marks that are anywhere on it.
    pub(super) fn marks(&self) -> Vec<Mark> {
        let mut total = self.left_out;
        self.rows.iter().for_each(|row| total.merge(&row.total()));
        Mark::ALL.into_iter().filter(|mark| total.of(*mark) > 0).collect()
    }
}

/// Those that come first, in the order of their keys, how many others there are, and what is in them.
fn cut<K: Copy + Ord>(tallies: BTreeMap<K, Tally>, most: usize) -> (Vec<K>, usize, Tally) {
    let mut ranked: Vec<(K, Tally)> = tallies.into_iter().collect();
    ranked.sort_by(|(a, first), (b, second)| second.cmp(first).then(a.cmp(b)));
    let others = ranked.split_off(ranked.len().min(most));
    let mut left_out = Tally::default();
    others.iter().for_each(|(_, tally)| left_out.merge(tally));
    let mut shown: Vec<K> = ranked.into_iter().map(|(key, _)| key).collect();
    shown.sort_unstable();
    (shown, others.len(), left_out)
}

/// What a map is made of.
struct Sight<'r> {
    recount: &'r Recount,
    exposed: HashSet<(IpAddr, u16)>,
    grouped: bool,
    hosts: u64,
}

impl<'r> Sight<'r> {
    fn of(findings: &[Finding], recount: &'r Recount) -> Self {
        let exposures = findings.iter().filter(|finding| finding.is_exposure());
        let exposed = exposures.filter_map(|finding| Some((finding.ip?, finding.port?))).collect();
        let unknown: Vec<AddressRange> =
            recount.unknown.iter().flat_map(|block| block.hosts.iter().copied()).collect();
        let unknown = merge(&unknown);
        let open: BTreeSet<IpAddr> = recount.opens.iter().map(|seen| seen.target.ip.to_canonical()).collect();
        let open = open.iter().filter(|ip| !is_within(&unknown, number_of(**ip))).count() as u64;
        let hosts = unknown.iter().map(count).fold(open, u64::saturating_add);
        Sight { recount, exposed, grouped: hosts > MOST_ROWS as u64, hosts }
    }

    /// Every open target, and what is said of it.
    fn opens(&self) -> impl Iterator<Item = (IpAddr, u16, Mark)> {
        self.recount.opens.iter().map(|seen| {
            let (ip, port) = (seen.target.ip.to_canonical(), seen.target.port);
            let mark = if seen.state == State::Conflict {
                Mark::Conflict
            } else if self.exposed.contains(&(ip, port)) {
                Mark::Exposure
            } else if self.recount.verifications.folds(&seen.target).is_some() {
                Mark::Folded
            } else {
                Mark::Allowed
            };
            (ip, port, mark)
        })
    }

    /// The first address of the row that an address belongs to, and the last.
    fn row_of(&self, number: u128) -> (u128, u128) {
        let bits = match address_of(number) {
            _ if !self.grouped => 0,
            IpAddr::V4(_) => 8,
            IpAddr::V6(_) => 64,
        };
        let low = (1_u128 << bits) - 1;
        (number & !low, number | low)
    }

    fn rows(&self) -> BTreeMap<u128, Tally> {
        let mut rows: BTreeMap<u128, Tally> = BTreeMap::new();
        for (ip, _, mark) in self.opens() {
            rows.entry(self.row_of(number_of(ip)).0).or_default().add(mark, 1);
        }
        for block in &self.recount.unknown {
            for range in &block.hosts {
                let (mut at, end) = range.numbers();
                loop {
                    let (first, last) = self.row_of(at);
                    let hosts = count_between(at, last.min(end));
                    let unknown = hosts.saturating_mul(block.ports.len() as u64);
                    rows.entry(first).or_default().add(Mark::Unknown, unknown);
                    if last >= end {
                        break;
                    }
                    at = last + 1;
                }
            }
        }
        rows
    }

    /// The ports that are open anywhere. Those of which nothing is known are all of them, mostly, and have no column.
    fn ports(&self) -> BTreeMap<u16, Tally> {
        let mut ports: BTreeMap<u16, Tally> = BTreeMap::new();
        self.opens().for_each(|(_, port, mark)| ports.entry(port).or_default().add(mark, 1));
        ports
    }

    fn fill(&self, rows: &[u128], ports: &[u16], findings: &[Finding]) -> Vec<Row> {
        let mut filled: Vec<Row> = rows.iter().map(|first| self.empty_row(*first, ports.len())).collect();
        for (ip, port, mark) in self.opens() {
            let Ok(row) = rows.binary_search(&self.row_of(number_of(ip)).0) else { continue };
            match ports.binary_search(&port) {
                Ok(column) => filled[row].cells[column].add(mark, 1),
                Err(_) => filled[row].other.add(mark, 1),
            }
        }
        for block in &self.recount.unknown {
            let columns: Vec<bool> = ports.iter().map(|port| block.ports.slot_of(*port).is_some()).collect();
            for (first, row) in rows.iter().zip(&mut filled) {
                enter_unknown(row, block, &columns, self.row_of(*first));
            }
        }
        if !self.grouped {
            let named = findings.iter().filter_map(|finding| Some((finding.ip?, finding.names.first()?)));
            let named: HashMap<IpAddr, &String> = named.collect();
            for (first, row) in rows.iter().zip(&mut filled) {
                row.name = named.get(&address_of(*first)).map(|name| printable(name).into_owned());
            }
        }
        filled
    }

    fn empty_row(&self, first: u128, columns: usize) -> Row {
        let ip = address_of(first);
        let label = match ip {
            _ if !self.grouped => ip.to_string(),
            IpAddr::V4(_) => format!("{ip}/24"),
            IpAddr::V6(_) => format!("{ip}/64"),
        };
        Row { label, name: None, cells: vec![Tally::default(); columns], other: Tally::default() }
    }
}

fn enter_unknown(row: &mut Row, block: &BlockLine, columns: &[bool], (first, last): (u128, u128)) {
    let hosts = block.hosts.iter().map(|range| {
        let (from, until) = range.numbers();
        let (from, until) = (from.max(first), until.min(last));
        if from > until { 0 } else { count_between(from, until) }
    });
    let hosts = hosts.fold(0, u64::saturating_add);
    if hosts == 0 {
        return;
    }
    let shown = row.cells.iter_mut().zip(columns).filter(|(_, is_unknown)| **is_unknown);
    let shown = shown.map(|(cell, _)| cell.add(Mark::Unknown, hosts)).count();
    let others = block.ports.len().saturating_sub(shown) as u64;
    row.other.add(Mark::Unknown, hosts.saturating_mul(others));
}

/// Whether sorted, disjoint ranges hold a number.
fn is_within(ranges: &[AddressRange], number: u128) -> bool {
    let at = ranges.partition_point(|range| range.numbers().1 < number);
    ranges.get(at).is_some_and(|range| range.numbers().0 <= number)
}

fn count(range: &AddressRange) -> u64 {
    let (first, last) = range.numbers();
    count_between(first, last)
}

fn count_between(first: u128, last: u128) -> u64 {
    u64::try_from(last - first).unwrap_or(u64::MAX).saturating_add(1)
}
