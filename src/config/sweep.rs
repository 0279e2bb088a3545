//! `[sweep]`: how to probe.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use super::document::{Document, Section};
use super::options::{Cap, RATE_LIMIT_PPS, parse_canary, parse_interface, parse_pps};
use super::settings::{Settings, SettingsError};
use super::value::{Key, Placed, Value, values};
use crate::target::address::AddressRange;
use crate::target::scope::{merge, subtract};

pub(super) static SWEEP: Key = Key { name: "sweep", example: "{ ports = \"risky\" }" };
pub(super) static PORTS: Key = Key { name: "ports", example: "\"risky\"" };
pub(super) static INTERVAL: Key = Key { name: "interval", example: "\"60s\"" };
pub(super) static RATE_MAX: Key = Key { name: "rate_max", example: "50_000" };
pub(super) static HOST_RATE: Key = Key { name: "host_rate", example: "200" };
pub(super) static NETWORK_RATE: Key = Key { name: "network_rate", example: "5000" };
pub(super) static CANARIES: Key = Key { name: "canaries", example: "[\"198.18.0.10:22\"]" };
pub(super) static TRIES: Key = Key { name: "tries", example: "4" };
pub(super) static ENGINE: Key = Key { name: "engine", example: "\"auto\"" };
pub(super) static INTERFACE: Key = Key { name: "interface", example: "\"eth0\"" };
static MEMORY: Key = Key { name: "memory", example: "\"512M\"" };
pub(super) static BANNER: Key = Key { name: "banner", example: "true" };
static ALLOWLIST: Key = Key { name: "allowlist", example: "\"allow.toml\"" };

/// The shortest and the longest interval between sweeps.
const INTERVALS: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(366 * 24 * 60 * 60);

/// Reads `[sweep]`. Its canaries come back with their places.
pub(super) fn read_sweep(mut section: Section<'_>, settings: &mut Settings) -> Vec<Placed<SocketAddr>> {
    settings.ports = section.take(&PORTS).and_then(Value::ports);
    settings.interval = section.take(&INTERVAL).and_then(|value| value.duration(INTERVALS));
    settings.rate_limit = section.take(&RATE_MAX).and_then(read_pps);
    settings.host_rate = section.take(&HOST_RATE).and_then(read_cap);
    settings.network_rate = section.take(&NETWORK_RATE).and_then(read_cap);
    let canaries = section.take(&CANARIES).map(read_canaries).unwrap_or_default();
    settings.declared_canaries = values(Some(canaries.clone()));
    settings.tries = section.take(&TRIES).and_then(read_tries);
    settings.engine = section.take(&ENGINE).and_then(Value::parsed);
    settings.interface = section.take(&INTERFACE).and_then(read_interface);
    settings.memory = section.take(&MEMORY).and_then(Value::parsed);
    settings.allowlist = section.take(&ALLOWLIST).and_then(Value::path);
    settings.banner = section.take(&BANNER).and_then(Value::boolean).unwrap_or_default();
    section.finish();
    canaries
}

/// Notes canaries outside of what is declared: no sweep would begin with them.
pub(super) fn check_canaries(
    document: &Document<'_>,
    canaries: &[Placed<SocketAddr>],
    declared: &[AddressRange],
    exclude: &[AddressRange],
) {
    let declared = subtract(&merge(declared), &merge(exclude));
    // Where nothing is left at all, that is what is wrong.
    if declared.is_empty() {
        return;
    }
    for canary in canaries {
        let single = AddressRange::single(canary.value.ip());
        if !subtract(&[single], &declared).is_empty() {
            document.report_error(canary.at, &SettingsError::CanaryOutside { canary: canary.value });
        }
    }
}

/// How often a silent target is probed.
pub(super) fn read_tries(value: Value<'_>) -> Option<u8> {
    value.integer(1..=10).and_then(|tries| tries.try_into().ok())
}

/// A cap is a number, or a text as on the command line.
pub(super) fn read_cap(value: Value<'_>) -> Option<Cap> {
    if value.as_text().is_some() { value.parsed() } else { read_pps(value).map(Cap::Pps) }
}

fn read_canaries(value: Value<'_>) -> Vec<Placed<SocketAddr>> {
    let entries = value.entries("an array such as [\"198.18.0.10:22\"]").unwrap_or_default();
    let placed = |value: Value<'_>| {
        let at = value.at();
        read_canary(value).map(|value| Placed { at, value })
    };
    entries.into_iter().filter_map(placed).collect()
}

/// An endpoint that is known to answer.
pub(super) fn read_canary(value: Value<'_>) -> Option<SocketAddr> {
    let text = value.text()?;
    parse_canary(&text).map_err(|error| value.refuse(&error.to_string())).ok()
}

/// So is a limit, which is always a number in the end.
pub(super) fn read_pps(value: Value<'_>) -> Option<NonZeroU32> {
    if let Some(text) = value.as_text() {
        return parse_pps(text).map_err(|error| value.refuse(&error.to_string())).ok();
    }
    let pps = value.integer(1..=u64::from(RATE_LIMIT_PPS))?;
    u32::try_from(pps).ok().and_then(NonZeroU32::new)
}

pub(super) fn read_interface(value: Value<'_>) -> Option<String> {
    let name = value.text()?;
    parse_interface(&name).map_err(|error| value.refuse(&error.to_string())).ok()
}
