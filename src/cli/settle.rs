//! What a run is allowed to probe, settled before anything else happens: the declared scope or an authorisation, what
//! is left out, and the way to what remains.

use std::net::IpAddr;

use crate::config::settings::Settings;
use crate::link::interface::{is_own, own_addresses};
use crate::link::route::{GapReason, RoutePlan, default_gateways};
use crate::sink::event::LeftOut;
use crate::target::address::AddressRange;
use crate::target::scope::{Scope, merge, subtract};

use super::{Failure, vitals};

/// Addresses of an ad-hoc run, at most: a /8. More needs a configuration that somebody has thought about.
const MOST_AD_HOC: u128 = 1 << 24;

/// A scope that may be probed, and how it is reached.
#[derive(Debug)]
pub struct Settled {
    /// What is probed.
    pub scope: Scope,
    /// What was left out although it was covered, and why.
    pub left_out: Vec<LeftOut>,
    /// The way there.
    pub routes: RoutePlan,
}

/// The scope of the settings, if this run may probe it. Sends nothing.
pub fn settle(settings: &Settings) -> Result<Settled, Failure> {
    let whole = settings.scope()?;
    refuse_unauthorised(settings, &whole)?;
    let survey = RoutePlan::survey(&ends(&whole), settings.interface.as_deref())?;
    let left_out = left_out(settings, &whole, &survey)?;
    let without: Vec<AddressRange> = left_out.iter().map(|left| AddressRange::single(left.ip)).collect();
    let ranges = subtract(whole.ranges(), &merge(&without));
    let mut scope = if ranges.is_empty() {
        return Err(nothing_left(&left_out));
    } else {
        Scope::new(&ranges, &[], whole.ports().clone())?
    };
    if let Some(shard) = settings.shard {
        scope = scope.shard(shard.number, shard.of)?;
    }
    // Strict this time: an address without a way is an error that the user should mend, not a result.
    let routes = RoutePlan::resolve(&ends(&scope), settings.interface.as_deref())?;
    Ok(Settled { scope, left_out, routes })
}

/// Refuses a table that would not fit into memory, before it is made.
pub fn refuse_more_than_memory(scope: &Scope) -> Result<(), Failure> {
    let needed = scope.len().saturating_mul(2).saturating_add(64 << 20);
    match vitals::available_memory() {
        Some(available) if needed > available => Err(format!(
            "{} targets need {} MiB of memory and {} MiB are available; sweep fewer at a time, such as by --shard",
            scope.len(),
            needed >> 20,
            available >> 20
        )
        .into()),
        _ => Ok(()),
    }
}

fn ends(scope: &Scope) -> Vec<(IpAddr, IpAddr)> {
    scope.ranges().iter().map(|range| (range.first(), range.last())).collect()
}

/// Beyond this host's own addresses, somebody must have said that the networks are theirs to probe.
fn refuse_unauthorised(settings: &Settings, scope: &Scope) -> Result<(), Failure> {
    if !settings.declared.is_empty() {
        return Ok(());
    }
    if let Some(wide) = settings.networks.iter().find(|range| range.len().is_none_or(|len| len > MOST_AD_HOC))
    {
        return Err(format!(
            "{wide} is wider than a /8, which is too much for an ad-hoc run; declare it as [scope] networks in a file \
             and sweep with --config FILE"
        )
        .into());
    }
    if settings.authorization.is_some() {
        return Ok(());
    }
    let own = own_addresses()?;
    let ours: Vec<AddressRange> = own.iter().map(|own| AddressRange::single(own.ip)).collect();
    let loopback = AddressRange::new([127, 0, 0, 0].into(), [127, 255, 255, 255].into())?;
    let foreign = subtract(scope.ranges(), &merge(&[ours, vec![loopback]].concat()));
    match foreign.first() {
        Some(range) if !is_own(range.first(), &own) => Err(format!(
            "{range} is beyond this host, and nothing says that you may probe it; add --authorization \"TICKET OR OWNER\" \
             (kept in every record of the run), or declare it as [scope] networks in a file and use --config FILE"
        )
        .into()),
        _ => Ok(()),
    }
}

/// Broadcast addresses of this host's own networks always; its own gateways unless they were named one by one.
fn left_out(settings: &Settings, scope: &Scope, survey: &RoutePlan) -> Result<Vec<LeftOut>, Failure> {
    let mut left_out = Vec::new();
    for gap in survey.gaps().iter().filter(|gap| matches!(gap.reason, GapReason::Broadcast)) {
        let why = "the broadcast address of a network that this host is on";
        let range = AddressRange::new(gap.first, gap.last)?.numbers();
        left_out
            .extend((range.0..=range.1).map(|n| LeftOut { ip: crate::target::address::address_of(n), why }));
    }
    let named = |ip: IpAddr| {
        let lists = [&settings.networks, &settings.declared];
        lists.iter().any(|list| list.iter().any(|range| range.is_single() && range.contains(ip)))
    };
    let port = scope.ports().get(0);
    for gateway in default_gateways()? {
        if scope.index_of(gateway, port).is_some() && !named(gateway) {
            let why = "this host's own gateway; name it by itself to sweep it";
            left_out.push(LeftOut { ip: gateway, why });
        }
    }
    Ok(left_out)
}

fn nothing_left(left_out: &[LeftOut]) -> Failure {
    let first = left_out.first().map_or_else(String::new, |left| format!(": {} is {}", left.ip, left.why));
    format!("the scope is empty{first}").into()
}
