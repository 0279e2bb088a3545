//! Decides what a run is to do. Sends nothing.

use std::num::NonZeroU64;
use std::path::Path;

use jiff::Timestamp;
use ulid::Ulid;

use super::ControlError;
use super::estimate;
use super::keys::RunKey;
use super::workplace::failed;
use crate::config::control::ControlConfig;
use crate::config::hours::OpeningHours;
use crate::config::options::EngineChoice;
use crate::config::settings::{Settings, SettingsError};
use crate::config::sources::Gathered;
use crate::evidence::digest::Digest;
use crate::evidence::grid::Grid;
use crate::evidence::manifest::Manifest;
use crate::evidence::plan::{
    Control, Exclusion, Method, Plan, RunReference, SCHEMA, ScopeStatement, SourceFile,
};
use crate::job::rates;
use crate::job::settle::{Settled, settle};
use crate::policy::allowlist::Allowlist;
use crate::sweep::plan::defaults;
use crate::target::address::AddressRange;
use crate::target::ports::PortSet;
use crate::target::scope::Scope;

/// Targets of a tile, if nobody says: as many as are swept in a minute, within bounds.
const MINUTE: u64 = 60;
const TILE: std::ops::RangeInclusive<u64> = (1 << 18)..=(1 << 24);
const LEAST_TILE: u64 = 64;

/// What is wanted.
#[derive(Debug)]
pub struct Request<'a> {
    /// The settings, and where their targets come from.
    pub gathered: Gathered,
    /// What `[control]` says.
    pub control: &'a ControlConfig,
    /// The digest of the configuration, where there is one.
    pub config: Option<Digest>,
    /// What may be open.
    pub allowlist: &'a Allowlist,
    /// The ports that the interval's sweeps look at.
    pub watched_ports: PortSet,
    /// Whether what is open is made to finish a whole handshake.
    pub verify: bool,
    /// Sending threads of the packet engine.
    pub senders: Option<u8>,
    /// Size of the packet engine's receive ring.
    pub receive_ring_bytes: usize,
    /// The run before.
    pub previous: Option<(Manifest, RunReference)>,
    /// The run whose findings this one is to show closed.
    pub rescan_of: Option<(Manifest, RunReference)>,
}

impl Request<'_> {
    fn settings(&self) -> &Settings {
        &self.gathered.settings
    }
}

/// Decides it.
///
/// # Errors
/// When nothing may be probed, or when a file that says what cannot be read again.
pub fn decide(request: &Request<'_>, key: &RunKey, now: Timestamp) -> Result<Plan, ControlError> {
    let settings = request.settings();
    let settled = settle(settings)?;
    let method = method(request, &settled)?;
    let scope = &settled.scope;
    let tile = request.control.tile.unwrap_or_else(|| usual_tile(scope, &method, &request.control.opening));
    let grid = Grid::of(scope, tile);
    refuse_long_tile(scope, &grid, &method, &request.control.opening)?;
    refuse_other_control(request)?;
    let (hours, timezone) = hours(request.control);
    Ok(Plan {
        schema: SCHEMA.to_owned(),
        run: Ulid::generate(),
        planned: now,
        control: control(request.control),
        authorization: settings.authorization.clone(),
        grid,
        watched_ports: request.watched_ports.clone(),
        scope: statement(request, &settled)?,
        method,
        hours,
        timezone,
        key_commitment: key.commitment(),
        previous: request.previous.as_ref().map(|(_, reference)| reference.clone()),
        rescan_of: request.rescan_of.as_ref().map(|(_, reference)| reference.clone()),
    })
}

/// Whether what is wanted now is what was decided then, so that the run may go on; if not, what is different. The rates
/// may be others: that is how a run is slowed down that disturbs somebody.
///
/// # Errors
/// When nothing may be probed any more.
pub fn difference(plan: &Plan, request: &Request<'_>) -> Result<Option<String>, ControlError> {
    let settings = request.settings();
    let then = &plan.method;
    let engine = engine(settings);
    let ports = ports(settings);
    let written = &request.gathered.written;
    let sources = sources(request)?;
    let excluded = exclusions(settings);
    let tries = settings.tries.unwrap_or(defaults::TRIES);
    let previous = request.previous.as_ref().map(|(_, reference)| reference);
    let rescan_of = request.rescan_of.as_ref().map(|(_, reference)| reference);
    let told = |reference: Option<&RunReference>| {
        reference.map_or("no run before it".to_owned(), |run| format!("the run {} before it", run.run))
    };
    let differences = [
        (*written != plan.scope.written, format!("the targets {}", plan.scope.written.join(", "))),
        (sources != plan.scope.sources, "other contents of the files that name targets".to_owned()),
        (excluded != plan.scope.excluded, "other excludes".to_owned()),
        (ports != plan.scope.ports, format!("--ports {}", plan.scope.ports)),
        (engine != then.engine, format!("--engine {}", then.engine)),
        (tries != then.tries, format!("--tries {}", then.tries)),
        (request.verify != then.verified, "another word on --no-verify".to_owned()),
        (settings.banner != then.banner, "another word on --banner".to_owned()),
        (settings.authorization != plan.authorization, "another --authorization".to_owned()),
        (control(request.control) != plan.control, "another [control]".to_owned()),
        (previous != plan.previous.as_ref(), told(plan.previous.as_ref())),
        (rescan_of != plan.rescan_of.as_ref(), "another --rescan-of".to_owned()),
    ];
    Ok(differences.into_iter().find(|(differs, _)| *differs).map(|(_, what)| what))
}

/// How it is performed, by the settings as they are now.
///
/// # Errors
/// When the rates contradict each other.
pub fn method(request: &Request<'_>, settled: &Settled) -> Result<Method, ControlError> {
    let settings = request.settings();
    let pace = settings.pace().map_err(SettingsError::from).map_err(crate::job::JobError::from)?;
    Ok(Method {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        config: request.config,
        engine: engine(settings),
        rate_max_pps: pace.ceiling,
        host_rate_max_pps: rates::host_rate(settings, settled),
        network_rate_max_pps: rates::network_rate(settings, settled),
        tries: settings.tries.unwrap_or(defaults::TRIES),
        attempts: request.control.attempts,
        verified: request.verify,
        banner: settings.banner,
        host_discovery: false,
    })
}

fn engine(settings: &Settings) -> String {
    settings.engine.unwrap_or(EngineChoice::Auto).to_string()
}

fn ports(settings: &Settings) -> PortSet {
    settings.ports.clone().unwrap_or_else(PortSet::risky)
}

fn usual_tile(scope: &Scope, method: &Method, opening: &OpeningHours) -> NonZeroU64 {
    // Reckoned as if all were one tile, which spreads over as many hosts as any.
    let pps = estimate::rate(scope, &Grid { host_blocks: 1, port_blocks: 1 }, method);
    let mut tile = (pps * MINUTE).clamp(*TILE.start(), *TILE.end());
    // One that does not fit into the hours would never be done.
    while tile > LEAST_TILE && !fits(scope, &Grid::of(scope, at_least_one(tile)), method, opening) {
        tile /= 2;
    }
    at_least_one(tile)
}

fn at_least_one(number: u64) -> NonZeroU64 {
    NonZeroU64::new(number).unwrap_or(NonZeroU64::MIN)
}

/// Whether a tile is done within the hours, however much of it is silent.
fn fits(scope: &Scope, grid: &Grid, method: &Method, opening: &OpeningHours) -> bool {
    let takes = estimate::estimate(scope, grid, method, 1).work.1;
    opening.shortest().is_none_or(|shortest| takes <= shortest)
}

fn refuse_long_tile(
    scope: &Scope,
    grid: &Grid,
    method: &Method,
    opening: &OpeningHours,
) -> Result<(), ControlError> {
    if fits(scope, grid, method, opening) {
        return Ok(());
    }
    Err(ControlError::TooLong {
        takes: estimate::estimate(scope, grid, method, 1).work.1,
        open: opening.shortest().unwrap_or_default(),
    })
}

/// A run is compared with others of the same control alone.
fn refuse_other_control(request: &Request<'_>) -> Result<(), ControlError> {
    let earlier = [&request.previous, &request.rescan_of];
    for (manifest, _) in earlier.into_iter().flatten() {
        let id = &manifest.plan.control.id;
        if *id != request.control.id {
            return Err(ControlError::OtherControl { theirs: id.clone(), ours: request.control.id.clone() });
        }
    }
    Ok(())
}

/// The hours in which a run may send, and on whose wall they are read.
pub fn hours(config: &ControlConfig) -> (Vec<String>, String) {
    let hours = config.opening.hours.iter().map(ToString::to_string).collect();
    (hours, config.opening.zone.iana_name().unwrap_or("UTC").to_owned())
}

fn control(config: &ControlConfig) -> Control {
    Control {
        id: config.id.clone(),
        title: config.title.clone(),
        frameworks: config.frameworks.clone(),
        frequency: config.frequency.clone(),
        owner: config.owner.clone(),
        performer: config.performer.clone(),
        reviewer: config.reviewer.clone(),
    }
}

fn exclusions(settings: &Settings) -> Vec<Exclusion> {
    let reason = |network| {
        let known = settings.exclude_reasons.iter().find(|(known, _)| known == network);
        known.map(|(_, reason)| reason.clone())
    };
    let exclude = settings.exclude.iter();
    exclude.map(|network| Exclusion { network: *network, reason: reason(network) }).collect()
}

fn sources(request: &Request<'_>) -> Result<Vec<SourceFile>, ControlError> {
    let notes = request.gathered.sources.iter();
    notes
        .map(|note| {
            let path = Path::new(&note.file);
            if !path.is_file() {
                return Err(ControlError::NoFile { name: note.file.clone() });
            }
            let (sha256, _) = Digest::of_file(path).map_err(|cause| failed("read", path, cause))?;
            Ok(SourceFile { file: note.file.clone(), sha256 })
        })
        .collect()
}

fn statement(request: &Request<'_>, settled: &Settled) -> Result<ScopeStatement, ControlError> {
    let Settled { scope, left_out, .. } = settled;
    let left_out = left_out
        .iter()
        .map(|left| Exclusion { network: AddressRange::single(left.ip), reason: Some(left.why.to_owned()) });
    Ok(ScopeStatement {
        written: request.gathered.written.clone(),
        sources: sources(request)?,
        excluded: exclusions(request.settings()),
        left_out: left_out.collect(),
        unresolved: request.gathered.unresolved.iter().map(|failed| failed.name.to_string()).collect(),
        networks: scope.ranges().to_vec(),
        ports: scope.ports().clone(),
        hosts: scope.hosts(),
        declared: scope.len(),
    })
}
