//! The plan of a control run: all that was decided before the first probe. It is written first, and never changed.

use std::num::NonZeroU32;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use super::digest::Digest;
use super::grid::Grid;
use crate::policy::finding::milliseconds;
use crate::target::address::AddressRange;
use crate::target::ports::PortSet;
use crate::target::scope::{Scope, ScopeError, merge, subtract};

/// The version of all that a bundle holds.
pub const SCHEMA: &str = "portreeve-evidence/1";

/// All that was decided.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Plan {
    /// The version, [`SCHEMA`].
    pub schema: String,
    /// The run's identifier.
    pub run: Ulid,
    /// When it was decided.
    #[serde(serialize_with = "milliseconds")]
    pub planned: Timestamp,
    /// Which control it is evidence for.
    pub control: Control,
    /// Who has allowed it, where that was not said by a declared scope.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization: Option<String>,
    /// What is swept, and what is not.
    pub scope: ScopeStatement,
    /// The ports that the interval's sweeps look at.
    pub watched_ports: PortSet,
    /// How that is cut into tiles.
    pub grid: Grid,
    /// How it is swept.
    pub method: Method,
    /// The hours in which it may send, as they were written; none for all.
    pub hours: Vec<String>,
    /// On whose wall they are read.
    pub timezone: String,
    /// The digest of the key that probes are made with. The key itself comes with the manifest.
    pub key_commitment: Digest,
    /// The run before this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<RunReference>,
    /// The run whose findings this one is to show closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rescan_of: Option<RunReference>,
}

/// A control, as the operator's own catalogue has it.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Control {
    /// Its identifier.
    pub id: String,
    /// What it is called.
    pub title: String,
    /// What it is evidence for, in other people's catalogues.
    pub frameworks: Vec<String>,
    /// How often it is performed.
    pub frequency: String,
    /// Who answers for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Who performs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub performer: Option<String>,
    /// Who is to review it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reviewer: Option<String>,
}

/// What is swept, and what is not, and why.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ScopeStatement {
    /// Networks and hosts in, as they were written.
    pub written: Vec<String>,
    /// The files that more of them came from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<SourceFile>,
    /// What was excluded, and why.
    pub excluded: Vec<Exclusion>,
    /// What this host left out by itself, and why: its gateways, and broadcast addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<Exclusion>,
    /// Host names that were to be swept and have no address.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unresolved: Vec<String>,
    /// What remains: sorted, disjoint ranges.
    pub networks: Vec<AddressRange>,
    /// The ports of each address.
    pub ports: PortSet,
    /// Addresses.
    pub hosts: u64,
    /// Targets: addresses by ports.
    pub declared: u64,
}

/// A file that says what is swept.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SourceFile {
    /// Its name, as it was given.
    pub file: String,
    /// What was in it.
    pub sha256: Digest,
}

/// What is not swept.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Exclusion {
    /// The addresses.
    pub network: AddressRange,
    /// Why; nothing where nobody has said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// How a run is performed.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Method {
    /// The program's version that planned it.
    pub version: String,
    /// The digest of the configuration, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Digest>,
    /// The engine that was asked for. Which one ran stands with each tile.
    pub engine: String,
    /// Probes a second over all, at most.
    pub rate_max_pps: NonZeroU32,
    /// Probes a second at one host, at most; `None` for no cap.
    pub host_rate_max_pps: Option<NonZeroU32>,
    /// Probes a second at one network, at most; `None` for no cap.
    pub network_rate_max_pps: Option<NonZeroU32>,
    /// Tries before silence is called filtered.
    pub tries: u8,
    /// How often a tile is swept again of which something is unknown.
    pub attempts: u32,
    /// Whether what is open was made to finish a whole handshake.
    pub verified: bool,
    /// Whether it was made to speak.
    pub banner: bool,
    /// How it was found out which hosts there are: not at all. Every address is asked on every port.
    pub host_discovery: bool,
}

/// Another run.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct RunReference {
    /// Its identifier.
    pub run: Ulid,
    /// The digest of its manifest.
    pub manifest: Digest,
}

impl Plan {
    /// The networks that follow from what was written and what was excluded or left out; nothing, where names or files
    /// had their part in it.
    pub fn networks_as_written(&self) -> Option<Vec<AddressRange>> {
        let scope = &self.scope;
        if !scope.sources.is_empty() || scope.written.is_empty() {
            return None;
        }
        let written: Vec<AddressRange> =
            scope.written.iter().map(|text| text.parse().ok()).collect::<Option<_>>()?;
        let out = scope.excluded.iter().chain(&scope.left_out);
        let out: Vec<AddressRange> = out.map(|exclusion| exclusion.network).collect();
        Some(subtract(&merge(&written), &merge(&out)))
    }

    /// What is swept, as the engine has it.
    ///
    /// # Errors
    /// When the plan was made up: networks that overlap, or more targets than there are numbers.
    pub fn targets(&self) -> Result<Scope, ScopeError> {
        Scope::new(&self.scope.networks, &[], self.scope.ports.clone())
    }
}
