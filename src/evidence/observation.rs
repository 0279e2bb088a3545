//! What a control run saw of every target, in lines: one for each target that is open or contradicts itself, with all
//! that is known of it, and one for each block of targets that are all alike. Open ports of a host that accepts every
//! port are alike, too, unless something tells them from the rest: of such a host there is a line before its blocks.
//!
//! Every target of the run is in exactly one line. So whoever adds up the lines has the ledger, and nobody has to
//! believe it.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::policy::finding::milliseconds;
use crate::sweep::banner::Banner;
use crate::sweep::ledger::Ledger;
use crate::sweep::report::{Observation, UnknownReason};
use crate::sweep::verified::{AnswersAll, Conduct, Verification};
use crate::target::Transport;
use crate::target::address::AddressRange;
use crate::target::ports::PortSet;
use crate::target::state::{Reason, State};

/// One line.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(tag = "line", rename_all = "lowercase")]
pub enum Line {
    /// A host that accepts every port. It is about no target, and counts none.
    Host(HostLine),
    /// One target.
    Target(Box<TargetLine>),
    /// Many targets of which the same is known.
    Block(BlockLine),
}

/// A host that accepts every port, so that its open ports say nothing one by one.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct HostLine {
    /// The tile in which that was seen, from 1.
    pub tile: u64,
    /// The host.
    pub ip: IpAddr,
    /// What it does.
    pub answers_all: AnswersAll,
}

/// One target that has accepted a handshake.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct TargetLine {
    /// Its tile, from 1.
    pub tile: u64,
    /// When its last word came in.
    #[serde(serialize_with = "milliseconds")]
    pub time: Timestamp,
    /// What its host is called.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// What was seen.
    #[serde(flatten)]
    pub observation: Observation,
    /// Whether it finished a whole handshake afterwards.
    pub verification: Verification,
    /// What it did then, where somebody waited for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conduct: Option<Conduct>,
    /// What it said, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub banner: Option<Banner>,
}

/// All these ports of all these hosts.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct BlockLine {
    /// Their tile, from 1.
    pub tile: u64,
    /// The hosts, as sorted, disjoint ranges.
    pub hosts: Vec<AddressRange>,
    /// The ports.
    pub ports: PortSet,
    /// What they speak.
    pub transport: Transport,
    /// Their state.
    pub state: State,
    /// What it rests on; absent where it is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// Why it is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown: Option<UnknownReason>,
    /// How many they are: hosts by ports.
    pub targets: u64,
}

impl Line {
    /// The tile that it belongs to.
    pub fn tile(&self) -> u64 {
        match self {
            Line::Host(line) => line.tile,
            Line::Target(line) => line.tile,
            Line::Block(line) => line.tile,
        }
    }

    /// Enters what it says into a ledger, whose `declared` is not touched.
    pub fn enter(&self, ledger: &mut Ledger) {
        match self {
            Line::Host(_) => {}
            Line::Target(line) => ledger.enter(line.observation.state),
            Line::Block(line) => ledger.enter_many(line.state, line.counted()),
        }
    }
}

impl BlockLine {
    /// Hosts by ports, counted; so many that no number holds them are as many as one does.
    pub fn counted(&self) -> u64 {
        let hosts = self.hosts.iter().map(|range| range.len().unwrap_or(u128::MAX));
        let hosts = hosts.fold(0_u128, u128::saturating_add);
        u64::try_from(hosts.saturating_mul(self.ports.len() as u128)).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_counts_hosts_by_ports() {
        let hosts = ["198.18.0.0/24", "2001:db8::1"].map(|text| text.parse().expect(text));
        let block = BlockLine {
            tile: 1,
            hosts: hosts.to_vec(),
            ports: "1-1000".parse().expect("ports"),
            transport: Transport::Tcp,
            state: State::Closed,
            reason: Some(Reason::Rst),
            unknown: None,
            targets: 257_000,
        };
        assert_eq!(block.counted(), block.targets);
        let mut ledger = Ledger::default();
        let line = Line::Block(block);
        line.enter(&mut ledger);
        assert_eq!(ledger.closed, 257_000);
        let text = serde_json::to_string(&line).expect("a line");
        assert_eq!(
            text,
            "{\"line\":\"block\",\"tile\":1,\"hosts\":[\"198.18.0.0/24\",\"2001:db8::1\"],\"ports\":\"1-1000\",\
             \"transport\":\"tcp\",\"state\":\"closed\",\"reason\":\"rst\",\"targets\":257000}"
        );
        assert_eq!(serde_json::from_str::<Line>(&text).expect("the same"), line);
        let endless = Line::Block(BlockLine {
            hosts: vec!["2000::/3".parse().expect("an eighth of all")],
            ..match line {
                Line::Block(block) => block,
                _ => unreachable!("it is one"),
            }
        });
        let mut ledger = Ledger::default();
        endless.enter(&mut ledger);
        assert_eq!(ledger.closed, u64::MAX);
    }
}
