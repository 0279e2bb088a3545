//! A bundle as a survey, so that it can be held against other runs, and written in the forms of other scanners.
//!
//! Of few hosts, each is listed, with the states of all its ports. Of more, those on which something is open or unknown
//! are: what the others are is said by the coverage.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::net::IpAddr;
use std::path::Path;

use super::bundle::OBSERVATIONS;
use super::manifest::Manifest;
use super::observation::{BlockLine, Line, TargetLine};
use super::recount::{Recount, RecountError};
use crate::survey::builder::{Builder, TooMuch, Twice};
use crate::survey::host::{Group, Host, More, Name, NameKind, Port, Protocol};
use crate::survey::runs::PortRuns;
use crate::survey::word::PortState;
use crate::survey::{Coverage, Declared, Ending, HostCounts, Scan, Source, Survey};
use crate::sweep::report::UnknownReason;
use crate::sweep::verified::Verification;
use crate::target::address::{AddressRange, address_of};
use crate::target::ports::PortSet;
use crate::target::state::{Reason, State};

/// So many hosts are each listed with all of their ports.
const FEW_HOSTS: u64 = 4096;

/// Reads a bundle that has been verified.
///
/// # Errors
/// When its observations have changed since, or are too many to be held.
pub fn survey_of(dir: &Path, manifest: &Manifest) -> Result<Survey, RecountError> {
    let open = || File::open(dir.join(OBSERVATIONS)).map(BufReader::new);
    let recount = Recount::of(&manifest.plan, &manifest.completeness.tiles, open()?)?;
    let survey = survey(manifest, &recount, open()?)?;
    let file = Some(dir.display().to_string());
    Ok(Survey { source: Source { file, ..survey.source }, ..survey })
}

/// Reads the observations of a run once more, as a survey.
///
/// # Errors
/// When they are not as they were counted, or are too many to be held.
pub fn survey(
    manifest: &Manifest,
    recount: &Recount,
    observations: impl Read,
) -> Result<Survey, RecountError> {
    let plan = &manifest.plan;
    let scope = plan.targets().map_err(|cause| beyond(&cause))?;
    let all = scope.hosts() <= FEW_HOSTS;
    let mut making = Making { builder: Builder::new(Twice::Later), groups: BTreeMap::new(), recount, all };
    let mut failed = None;
    Recount::each(plan, &manifest.completeness.tiles, observations, &mut |line| {
        if failed.is_none() {
            failed = making.take(line).err();
        }
    })?;
    if let Some(much) = failed {
        return Err(beyond(&much));
    }
    let books = recount.ledger;
    let rest = vec![State::Closed, State::Filtered, State::Unreachable];
    let ending = match books.unknown {
        0 => Ending::Complete,
        unknown => Ending::Incomplete(format!("{unknown} of its targets are unknown")),
    };
    Ok(Survey {
        source: source(manifest, scope.hosts()),
        hosts: making.finish(),
        coverage: Coverage::Declared(Box::new(Declared { scope, books, rest })),
        ending,
        notes: Vec::new(),
    })
}

fn beyond(cause: &dyn std::fmt::Display) -> RecountError {
    RecountError::Tile { tile: 0, why: cause.to_string() }
}

fn source(manifest: &Manifest, hosts: u64) -> Source {
    let plan = &manifest.plan;
    let ports = runs(&plan.scope.ports);
    let written = plan.scope.written.join(" ");
    let kind = if plan.method.engine == "connect" { "connect" } else { "syn" };
    Source {
        tool: env!("CARGO_PKG_NAME").to_owned(),
        version: Some(plan.method.version.clone()),
        file: None,
        args: Some(format!("portreeve control {written} --ports {}", plan.scope.ports)),
        started: Some(manifest.time.started),
        ended: Some(manifest.time.completed),
        scans: vec![Scan { kind: kind.to_owned(), protocol: Protocol::Tcp, ports }],
        counts: Some(HostCounts { up: hosts, down: 0, total: hosts }),
        sweep: Some(plan.run),
    }
}

/// What is known of the ports of a host that are not told of one by one.
type Groups = BTreeMap<(State, &'static str), PortRuns>;

struct Making<'a> {
    builder: Builder,
    groups: BTreeMap<IpAddr, Groups>,
    recount: &'a Recount,
    /// Whether every host is listed.
    all: bool,
}

impl Making<'_> {
    fn take(&mut self, line: &Line) -> Result<(), TooMuch> {
        match line {
            Line::Host(_) => Ok(()),
            Line::Target(line) => self.take_target(line),
            Line::Block(block) => {
                self.take_block(block);
                Ok(())
            }
        }
    }

    fn take_target(&mut self, line: &TargetLine) -> Result<(), TooMuch> {
        let seen = &line.observation;
        // Of a host that accepts every port, one by one say nothing, and are too many.
        if self.recount.verifications.folds(&seen.target).is_some() {
            let groups = self.groups.entry(seen.target.ip).or_default();
            let known = groups.entry((seen.state, seen.reason.map_or("", Reason::as_str))).or_default();
            *known = known.union(&PortRuns::of_run(seen.target.port, seen.target.port));
            return Ok(());
        }
        let reason = self.builder.word(seen.reason.map_or("", Reason::as_str));
        let banner = line.banner.as_ref().map(|banner| String::from(banner.text.clone()).into());
        let port = Port {
            ttl: seen.ttl,
            time: Some(line.time),
            verified: line.verification == Verification::Verified,
            more: banner.map(|banner| Box::new(More { service: None, banner: Some(banner) })),
            ..Port::new(Protocol::Tcp, seen.target.port, seen.state.into(), reason)
        };
        self.builder.keep(seen.target.ip, port)
    }

    fn take_block(&mut self, block: &BlockLine) {
        let ports = runs(&block.ports);
        let reason = block.reason.map(Reason::as_str).or(block.unknown.map(UnknownReason::as_str));
        for (first, last) in block.hosts.iter().map(AddressRange::numbers) {
            for ip in (first..=last).map(address_of) {
                let is_listed = self.all
                    || block.state == State::Unknown
                    || self.recount.hosts_with_open_ports.contains(&ip);
                if is_listed {
                    let groups = self.groups.entry(ip).or_default();
                    let known = groups.entry((block.state, reason.unwrap_or_default())).or_default();
                    *known = known.union(&ports);
                }
            }
        }
    }

    fn finish(mut self) -> Vec<Host> {
        let mut groups = std::mem::take(&mut self.groups);
        // Hosts that are known by their groups alone are hosts too. There is room: they are in memory already.
        let _ = groups.keys().try_for_each(|ip| self.builder.host(*ip));
        let words: BTreeMap<&str, _> = groups
            .values()
            .flat_map(BTreeMap::keys)
            .map(|(_, reason)| (*reason, self.builder.word(reason)))
            .collect();
        let names = self.recount.names();
        let mut hosts = self.builder.finish();
        for host in &mut hosts {
            let known = groups.remove(&host.ip).unwrap_or_default();
            host.groups.extend(known.into_iter().filter_map(|((state, reason), ports)| {
                let (protocol, state) = (Protocol::Tcp, PortState::from(state));
                Some(Group { protocol, state, reason: words.get(reason)?.clone(), ports })
            }));
            let known: Vec<Name> = names
                .of(host.ip)
                .into_iter()
                .map(|name| Name { name: name.into(), kind: NameKind::User })
                .collect();
            if !known.is_empty() {
                host.about.get_or_insert_default().names = known;
            }
        }
        hosts
    }
}

fn runs(ports: &PortSet) -> PortRuns {
    // What one of them writes the other reads.
    ports.to_string().parse().unwrap_or_default()
}
