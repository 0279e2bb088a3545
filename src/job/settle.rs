//! What a run is allowed to probe, settled before anything else happens: the declared scope or an authorisation, what
//! is left out, and the way to what remains.

use std::net::{IpAddr, Ipv6Addr};
use std::num::{NonZeroU32, NonZeroU64};

use super::vitals;
use crate::config::memory::Memory;
use crate::config::settings::{Settings, SettingsError};
use crate::link::LinkError;
use crate::link::interface::own_addresses;
use crate::link::route::{GapReason, RoutePlan, default_gateways};
use crate::sink::event::LeftOut;
use crate::target::address::{AddressError, AddressRange, address_of};
use crate::target::scope::{Scope, ScopeError, merge, subtract};

const YEAR_SECONDS: u64 = 365 * 24 * 60 * 60;

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

/// Why a run may probe nothing.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// The settings name no scope that may be probed.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A part of the scope, or what remains of it, is no scope.
    #[error(transparent)]
    Scope(#[from] ScopeError),
    /// What the kernel names is no range of addresses.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The kernel does not say which addresses are this host's, or how the others are reached.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// Nobody would see the end of it.
    #[error(
        "{targets} targets take {years} years at {rate} packets a second; sweep fewer, or let it go faster by --rate-max"
    )]
    TooManyTargets {
        /// Targets of the scope.
        targets: u64,
        /// What they take to be probed once each.
        years: u64,
        /// Packets a second, at most.
        rate: NonZeroU32,
    },
    /// More than anybody should sweep who has only typed it.
    #[error(
        "{range} has more than {MOST_AD_HOC} addresses (an IPv4 /8), which is too much for an ad-hoc run; declare it \
         as [scope] networks in a file and sweep with --config FILE"
    )]
    TooWide {
        /// The network.
        range: AddressRange,
    },
    /// Nobody has said that this may be probed.
    #[error(
        "{range} is beyond this host, and nothing says that you may probe it; add --authorization \"TICKET OR OWNER\" \
         (kept in every record of the run), or declare it as [scope] networks in a file and use --config FILE"
    )]
    Unauthorised {
        /// The first addresses that are not this host's own.
        range: AddressRange,
    },
    /// All that was asked for is left out.
    #[error("the scope is empty{why}")]
    NothingLeft {
        /// What was left out first, and what to do.
        why: String,
    },
}

/// The scope of the settings, if this run may probe it. Sends nothing.
///
/// # Errors
/// When it may not, when nothing is left of it, or when a part of it cannot be reached.
pub fn settle(settings: &Settings) -> Result<Settled, SettleError> {
    let whole = settings.scope()?;
    let own: Vec<IpAddr> = own_addresses()?.iter().map(|own| own.ip).collect();
    refuse_unauthorised(settings, &whole, &own)?;
    // Split before anything is left out: what is left out depends on the host, and the shards of several hosts must be
    // parts of the same whole.
    let part = match settings.shard {
        Some(shard) => whole.shard(shard.number, shard.of)?,
        None => whole,
    };
    refuse_endless(&part, settings.pace().map_err(SettingsError::from)?.ceiling)?;
    let survey = RoutePlan::survey(&part.ends().collect::<Vec<_>>(), settings.interface.as_deref())?;
    let left_out = left_out(settings, &part, &survey)?;
    let without: Vec<AddressRange> = left_out.iter().map(|left| AddressRange::single(left.ip)).collect();
    let ranges = subtract(part.ranges(), &merge(&without));
    let scope = if ranges.is_empty() {
        return Err(nothing_left(&left_out));
    } else {
        Scope::new(&ranges, &[], part.ports().clone())?
    };
    // Strict this time: an address without a way is an error that the user should mend, not a result.
    let routes = RoutePlan::resolve(&scope.ends().collect::<Vec<_>>(), settings.interface.as_deref())?;
    Ok(Settled { scope, left_out, routes })
}

/// Refuses a sweep that would take years, before anything is done for it.
fn refuse_endless(scope: &Scope, rate: NonZeroU32) -> Result<(), SettleError> {
    let years = scope.len() / u64::from(rate.get()) / YEAR_SECONDS;
    match years {
        0 => Ok(()),
        _ => Err(SettleError::TooManyTargets { targets: scope.len(), years, rate }),
    }
}

/// How many targets are swept at a time, where there is no memory for all of them.
pub fn tile(settings: &Settings, scope: &Scope) -> Option<NonZeroU64> {
    let memory = settings.memory.or_else(|| vitals::available_memory().map(Memory::share_of))?;
    Some(memory.targets()).filter(|most| most.get() < scope.len())
}

/// Beyond this host's own addresses, somebody must have said that the networks are theirs to probe.
fn refuse_unauthorised(settings: &Settings, scope: &Scope, own: &[IpAddr]) -> Result<(), SettleError> {
    if !settings.declared.is_empty() {
        return Ok(());
    }
    // Merged, so that two halves of a network are as wide as the whole.
    let networks = merge(&settings.networks);
    if let Some(wide) = networks.iter().find(|range| range.len().is_none_or(|len| len > MOST_AD_HOC)) {
        return Err(SettleError::TooWide { range: *wide });
    }
    if settings.authorization.is_some() {
        return Ok(());
    }
    let mut ours: Vec<AddressRange> = own.iter().map(|ip| AddressRange::single(*ip)).collect();
    // Loopback is ours whether or not the interface has each of these addresses.
    ours.push(AddressRange::new([127, 0, 0, 0].into(), [127, 255, 255, 255].into())?);
    ours.push(AddressRange::single(Ipv6Addr::LOCALHOST.into()));
    match subtract(scope.ranges(), &merge(&ours)).first() {
        Some(range) => Err(SettleError::Unauthorised { range: *range }),
        None => Ok(()),
    }
}

/// Broadcast addresses of this host's own networks always; its own gateways unless they were named one by one.
fn left_out(settings: &Settings, scope: &Scope, survey: &RoutePlan) -> Result<Vec<LeftOut>, SettleError> {
    let mut left_out = Vec::new();
    for gap in survey.gaps().iter().filter(|gap| matches!(gap.reason, GapReason::Broadcast)) {
        let why = "the broadcast address of a network that this host is on";
        let range = AddressRange::new(gap.first, gap.last)?.numbers();
        left_out.extend((range.0..=range.1).map(|n| LeftOut { ip: address_of(n), why }));
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

fn nothing_left(left_out: &[LeftOut]) -> SettleError {
    let first = left_out.first().map_or_else(String::new, |left| format!(": {} is {}", left.ip, left.why));
    let remedy = if first.contains("; ") { "" } else { "; name other addresses" };
    SettleError::NothingLeft { why: format!("{first}{remedy}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(networks: &[&str]) -> Settings {
        let networks = networks.iter().map(|text| text.parse().expect(text)).collect();
        Settings { networks, ..Settings::default() }
    }

    /// What the rule says on a host that has only this address.
    fn judge(settings: &Settings) -> Result<(), String> {
        let own = [IpAddr::from([198, 18, 7, 7])];
        let scope = settings.scope().expect("a scope");
        refuse_unauthorised(settings, &scope, &own).map_err(|failure| failure.to_string())
    }

    #[test]
    fn a_host_may_sweep_itself_unasked() {
        for own in ["127.0.0.0/8", "::1", "198.18.7.7"] {
            assert_eq!(judge(&settings(&[own])), Ok(()), "{own}");
        }
        assert_eq!(judge(&settings(&["127.0.0.1", "::1", "198.18.7.7"])), Ok(()));
    }

    #[test]
    fn everything_else_needs_a_word() {
        for (networks, foreign) in [
            (&["198.18.7.8"][..], "198.18.7.8"),
            (&["198.18.7.6-198.18.7.8"], "198.18.7.6"),
            (&["127.0.0.1", "198.18.7.7", "198.18.7.9"], "198.18.7.9"),
            // The lowest address is this host's own; that says nothing of the others.
            (&["::1", "198.18.0.1"], "198.18.0.1"),
            (&["::1-::2"], "::2"),
            (&["2001:db8::1"], "2001:db8::1"),
        ] {
            let refused = judge(&settings(networks)).expect_err(foreign);
            assert!(refused.starts_with(&format!("{foreign} is beyond this host")), "{refused}");
            let said = Settings { authorization: Some("TICKET-1".to_owned()), ..settings(networks) };
            assert_eq!(judge(&said), Ok(()), "{foreign}");
            let declared = settings(networks).networks;
            assert_eq!(judge(&Settings { declared, ..settings(networks) }), Ok(()), "{foreign}");
        }
    }

    #[test]
    fn no_word_is_enough_for_more_than_a_slash_eight() {
        for wide in
            [&["198.0.0.0/7"][..], &["10.0.0.0/8", "11.0.0.0/8"], &["10.0.0.0-11.0.0.0"], &["2001:db8::/96"]]
        {
            let said = Settings { authorization: Some("TICKET-1".to_owned()), ..settings(wide) };
            let refused = judge(&said).expect_err("too wide");
            assert!(refused.contains("has more than 16777216 addresses (an IPv4 /8)"), "{refused}");
            let declared = said.networks.clone();
            assert_eq!(judge(&Settings { declared, ..said }), Ok(()));
        }
        let just = Settings { authorization: Some("TICKET-1".to_owned()), ..settings(&["10.0.0.0/8"]) };
        assert_eq!(judge(&just), Ok(()));
    }

    #[test]
    fn what_takes_years_is_refused() {
        let ports = Some("all".parse().expect("ports"));
        let scope = Settings { ports, ..settings(&["198.0.0.0/8"]) }.scope().expect("a scope");
        let rate = |pps| NonZeroU32::new(pps).expect("a rate");
        assert!(refuse_endless(&scope, rate(1_000_000)).is_ok());
        let refused = refuse_endless(&scope, rate(10_000)).expect_err("too many").to_string();
        assert_eq!(
            refused,
            "1099494850560 targets take 3 years at 10000 packets a second; sweep fewer, or let it go faster by --rate-max"
        );
    }

    #[test]
    fn what_does_not_fit_into_memory_is_swept_in_tiles() {
        let ports = Some("all".parse().expect("ports"));
        let with = |memory: &str| Settings {
            memory: Some(memory.parse().expect(memory)),
            ports: ports.clone(),
            ..settings(&["198.18.0.0/24"])
        };
        let tile =
            |settings: &Settings| tile(settings, &settings.scope().expect("a scope")).map(NonZeroU64::get);
        assert_eq!(tile(&with("65M")), None);
        assert_eq!(tile(&with("64M")), None, "256 addresses of 65,535 ports are just as many as fit");
        let wide = Settings { networks: settings(&["198.18.0.0/16"]).networks, ..with("64M") };
        assert_eq!(tile(&wide), Some(16 << 20));
    }

    #[test]
    fn an_emptied_scope_says_what_to_do() {
        let left = |why| LeftOut { ip: [198, 18, 0, 1].into(), why };
        assert_eq!(
            nothing_left(&[left("odd")]).to_string(),
            "the scope is empty: 198.18.0.1 is odd; name other addresses"
        );
        assert_eq!(nothing_left(&[left("a; b")]).to_string(), "the scope is empty: 198.18.0.1 is a; b");
    }
}
