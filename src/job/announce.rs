//! What is said of a sweep before it begins.

use std::net::SocketAddr;
use std::num::NonZeroU32;

use super::second_look::SecondLook;
use super::settle::Settled;
use crate::config::sources::{Gathered, SourceNote};
use crate::sink::event::{Announcement, ScopeText, SourceText};
use crate::sweep::plan::Plan;

/// What is said of a sweep: the whole of it, as it was asked for and as it was settled.
pub fn announcement(
    plan: &Plan,
    gathered: &Gathered,
    settled: &Settled,
    second_look: &SecondLook,
) -> Announcement {
    let source = |note: &SourceNote| SourceText {
        file: note.file.clone(),
        targets: note.targets,
        skipped: note.skipped,
    };
    let settings = &gathered.settings;
    Announcement {
        scope: ScopeText {
            networks: gathered.written.clone(),
            sources: gathered.sources.iter().map(source).collect(),
            unresolved: gathered.unresolved.iter().map(|failed| failed.name.to_string()).collect(),
            exclude: settings.exclude.iter().map(ToString::to_string).collect(),
            left_out: settled.left_out.clone(),
            ports: plan.scope.ports().to_string().split(',').map(str::to_owned).collect(),
            canaries: plan.canaries.iter().map(|at| SocketAddr::new(at.ip, at.port).to_string()).collect(),
            canary_ports: second_look.canary_ports.clone(),
            declared: plan.scope.len(),
        },
        engine: plan.vantage.engine.clone(),
        vantage: plan.vantage.clone(),
        shard: plan.shard,
        tries: plan.tries,
        governed: plan.governed,
        rate_max_pps: plan.rate.map(NonZeroU32::get),
        host_rate_max_pps: plan.host_rate.map(NonZeroU32::get),
        network_rate_max_pps: plan.network_rate.map(NonZeroU32::get),
        seed: plan.seed.to_string(),
        version: env!("CARGO_PKG_VERSION"),
        owner: settings.owner.clone(),
    }
}
