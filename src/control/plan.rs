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
use crate::target::ports::PortSet;
use crate::target::scope::Scope;

/// Targets of a tile, if nobody says: as many as are swept in a minute, within bounds.
const MINUTE: u64 = 60;
const TILE: std::ops::RangeInclusive<u64> = (1 << 18)..=(1 << 24);

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
    pub rescan_of: Option<RunReference>,
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
    let tile = request.control.tile.unwrap_or_else(|| usual_tile(scope, &method));
    let ControlConfig { opening, .. } = request.control;
    Ok(Plan {
        schema: SCHEMA.to_owned(),
        run: Ulid::generate(),
        planned: now,
        control: control(request.control),
        authorization: settings.authorization.clone(),
        grid: Grid::of(scope, tile),
        scope: statement(request, &settled)?,
        method,
        hours: opening.hours.iter().map(ToString::to_string).collect(),
        timezone: opening.zone.iana_name().unwrap_or("UTC").to_owned(),
        key_commitment: key.commitment(),
        previous: request.previous.as_ref().map(|(_, reference)| reference.clone()),
        rescan_of: request.rescan_of.clone(),
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
    let excluded_then: Vec<Exclusion> =
        plan.scope.excluded.iter().filter(|then| !is_left_out(then)).cloned().collect();
    let tries = settings.tries.unwrap_or(defaults::TRIES);
    let previous = request.previous.as_ref().map(|(_, reference)| reference);
    let told = |reference: Option<&RunReference>| {
        reference.map_or("no run before it".to_owned(), |run| format!("the run {} before it", run.run))
    };
    let differences = [
        (*written != plan.scope.written, format!("the targets {}", plan.scope.written.join(", "))),
        (sources != plan.scope.sources, "other contents of the files that name targets".to_owned()),
        (excluded != excluded_then, "other excludes".to_owned()),
        (ports != plan.scope.ports, format!("--ports {}", plan.scope.ports)),
        (engine != then.engine, format!("--engine {}", then.engine)),
        (tries != then.tries, format!("--tries {}", then.tries)),
        (request.verify != then.verified, "another word on --no-verify".to_owned()),
        (settings.banner != then.banner, "another word on --banner".to_owned()),
        (settings.authorization != plan.authorization, "another --authorization".to_owned()),
        (control(request.control) != plan.control, "another [control]".to_owned()),
        (previous != plan.previous.as_ref(), told(plan.previous.as_ref())),
        (request.rescan_of != plan.rescan_of, "another --rescan-of".to_owned()),
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

fn usual_tile(scope: &Scope, method: &Method) -> NonZeroU64 {
    // Reckoned as if all were one tile, which spreads over as many hosts as any.
    let pps = estimate::rate(scope, &Grid { host_blocks: 1, port_blocks: 1 }, method);
    let tile = (pps * MINUTE).clamp(*TILE.start(), *TILE.end());
    NonZeroU64::new(tile).unwrap_or(NonZeroU64::MIN)
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

/// Why this host leaves out addresses that the scope covers. Their reasons begin so.
const LEFT_OUT: &str = "left out: ";

fn is_left_out(exclusion: &Exclusion) -> bool {
    exclusion.reason.as_ref().is_some_and(|reason| reason.starts_with(LEFT_OUT))
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
            let (sha256, _) = Digest::of_file(path).map_err(|cause| failed("read", path, cause))?;
            Ok(SourceFile { file: note.file.clone(), sha256 })
        })
        .collect()
}

fn statement(request: &Request<'_>, settled: &Settled) -> Result<ScopeStatement, ControlError> {
    let Settled { scope, left_out, .. } = settled;
    let mut excluded = exclusions(request.settings());
    excluded.extend(left_out.iter().map(|left| Exclusion {
        network: crate::target::address::AddressRange::single(left.ip),
        reason: Some(format!("{LEFT_OUT}{}", left.why)),
    }));
    Ok(ScopeStatement {
        written: request.gathered.written.clone(),
        sources: sources(request)?,
        excluded,
        unresolved: request.gathered.unresolved.iter().map(|failed| failed.name.to_string()).collect(),
        networks: scope.ranges().to_vec(),
        ports: scope.ports().clone(),
        hosts: scope.hosts(),
        declared: scope.len(),
    })
}
