//! Sets of port numbers as runs, which for the closed ports of a host are few.
//!
//! Beside [`crate::target::ports::PortSet`], which a scope needs for its arithmetic, these may be empty, may hold the
//! number 0, which some scanners probe, and take no more room for all ports than for one.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A set of port numbers.
///
/// Invariant: `runs` are sorted, and neither overlap nor touch.
#[derive(Clone, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PortRuns {
    runs: Vec<(u16, u16)>,
}

impl PortRuns {
    /// The set of all numbers between these two.
    pub fn of_run(first: u16, last: u16) -> Self {
        if first > last { PortRuns::default() } else { PortRuns { runs: vec![(first, last)] } }
    }

    /// How many numbers.
    pub fn len(&self) -> u64 {
        self.runs.iter().map(|(first, last)| u64::from(last - first) + 1).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Whether this is one of them.
    pub fn contains(&self, port: u16) -> bool {
        let at = self.runs.partition_point(|(_, last)| *last < port);
        self.runs.get(at).is_some_and(|(first, _)| *first <= port)
    }

    /// The numbers, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        self.runs.iter().flat_map(|(first, last)| *first..=*last)
    }

    /// The runs, ascending: both ends of each.
    pub fn runs(&self) -> &[(u16, u16)] {
        &self.runs
    }

    /// Both sets together.
    #[must_use]
    pub fn union(&self, other: &PortRuns) -> PortRuns {
        let mut all: Vec<(u16, u16)> = self.runs.iter().chain(&other.runs).copied().collect();
        // Two sorted halves, which the stable sort only merges.
        all.sort();
        let mut union = PortRuns { runs: Vec::with_capacity(all.len()) };
        all.into_iter().for_each(|run| union.push(run));
        union
    }

    /// The set without those of another.
    #[must_use]
    pub fn minus(&self, other: &PortRuns) -> PortRuns {
        let mut left = PortRuns::default();
        for (first, last) in &self.runs {
            let mut next = u32::from(*first);
            let begin = other.runs.partition_point(|(_, end)| end < first);
            for (hole, end) in other.runs[begin..].iter().take_while(|(hole, _)| hole <= last) {
                if u32::from(*hole) > next {
                    left.runs.push((next as u16, hole - 1));
                }
                next = next.max(u32::from(*end) + 1);
            }
            if next <= u32::from(*last) {
                left.runs.push((next as u16, *last));
            }
        }
        left
    }

    /// Adds a run that begins no sooner than the last one.
    fn push(&mut self, (first, last): (u16, u16)) {
        match self.runs.last_mut() {
            Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
            _ => self.runs.push((first, last)),
        }
    }
}

impl FromIterator<u16> for PortRuns {
    fn from_iter<I: IntoIterator<Item = u16>>(ports: I) -> Self {
        let mut sorted: Vec<u16> = ports.into_iter().collect();
        sorted.sort_unstable();
        let mut runs = PortRuns::default();
        sorted.into_iter().for_each(|port| runs.push((port, port)));
        runs
    }
}

/// As it is parsed from: `22,80-90`.
impl fmt::Display for PortRuns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (first, last)) in self.runs.iter().enumerate() {
            let comma = if number == 0 { "" } else { "," };
            if first == last {
                write!(f, "{comma}{first}")?;
            } else {
                write!(f, "{comma}{first}-{last}")?;
            }
        }
        Ok(())
    }
}

/// A text that is no list of ports.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("`{part}` is no port and no range of ports; ports are numbers from 0 to 65535, as in 22,80-90")]
pub struct RunsError {
    /// The part of it that is none.
    pub part: String,
}

impl FromStr for PortRuns {
    type Err = RunsError;

    fn from_str(text: &str) -> Result<Self, RunsError> {
        if text.trim().is_empty() {
            return Ok(PortRuns::default());
        }
        let mut runs = Vec::new();
        for part in text.split(',').map(str::trim) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let number = |text: &str| {
                let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
                text.parse::<u16>().ok().filter(|_| is_number)
            };
            match (number(first), number(last)) {
                (Some(first), Some(last)) if first <= last => runs.push((first, last)),
                _ => return Err(RunsError { part: part.to_owned() }),
            }
        }
        Ok(PortRuns { runs }.union(&PortRuns::default()))
    }
}

/// A set that grows number by number, in any order.
#[derive(Clone, Debug, Default)]
pub struct PortHeap {
    runs: PortRuns,
    /// What came since, sorted.
    fresh: Vec<u16>,
}

/// Numbers that are gathered before they are put among the runs.
const MOST_FRESH: usize = 512;

impl PortHeap {
    /// Adds a number.
    pub fn insert(&mut self, port: u16) {
        if let Err(at) = self.fresh.binary_search(&port) {
            self.fresh.insert(at, port);
        }
        if self.fresh.len() >= MOST_FRESH {
            self.settle();
        }
    }

    /// Whether it is in there.
    pub fn contains(&self, port: u16) -> bool {
        self.fresh.binary_search(&port).is_ok() || self.runs.contains(port)
    }

    /// Takes a number out; says whether it was in there.
    pub fn remove(&mut self, port: u16) -> bool {
        let was = self.contains(port);
        if was {
            self.settle();
            self.runs = self.runs.minus(&PortRuns::of_run(port, port));
        }
        was
    }

    /// All of it.
    pub fn into_runs(mut self) -> PortRuns {
        self.settle();
        self.runs
    }

    fn settle(&mut self) {
        if !self.fresh.is_empty() {
            self.runs = self.runs.union(&self.fresh.drain(..).collect());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_scanners_write() {
        for (text, shown) in [
            ("22,80-90", "22,80-90"),
            ("0-65535", "0-65535"),
            ("3,1,2", "1-3"),
            ("1-10,5-20,21", "1-21"),
            ("65535,65534", "65534-65535"),
            ("", ""),
        ] {
            assert_eq!(text.parse::<PortRuns>().expect(text).to_string(), shown);
        }
        for text in ["65536", "a", "1,,2", "9-3", "-5", "+5", "1-", "T:80"] {
            assert!(text.parse::<PortRuns>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn sets_are_what_sets_of_numbers_are(
            a in prop::collection::btree_set(0_u16..60, 0..40),
            b in prop::collection::btree_set(0_u16..60, 0..40),
        ) {
            let (ours, theirs): (PortRuns, PortRuns) = (a.iter().copied().collect(), b.iter().copied().collect());
            prop_assert_eq!(ours.len(), a.len() as u64);
            let union: BTreeSet<u16> = a.union(&b).copied().collect();
            prop_assert_eq!(ours.union(&theirs).iter().collect::<BTreeSet<_>>(), union);
            let rest: BTreeSet<u16> = a.difference(&b).copied().collect();
            prop_assert_eq!(ours.minus(&theirs), rest.iter().copied().collect());
            for port in 0..60 {
                prop_assert_eq!(ours.contains(port), a.contains(&port));
            }
            prop_assert_eq!(ours.to_string().parse::<PortRuns>().expect("its own form"), ours);
        }

        #[test]
        fn a_heap_is_what_went_in_and_not_out(
            steps in prop::collection::vec((any::<bool>(), 0_u16..2000), 0..3000),
        ) {
            let (mut heap, mut set) = (PortHeap::default(), BTreeSet::new());
            for (goes_in, port) in steps {
                // What comes is more than what goes, or nothing would ever be settled.
                if goes_in || port % 3 > 0 {
                    heap.insert(port);
                    set.insert(port);
                } else {
                    prop_assert_eq!(heap.remove(port), set.remove(&port));
                }
            }
            prop_assert_eq!(heap.into_runs(), set.into_iter().collect());
        }
    }
}
