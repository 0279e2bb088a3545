//! What a run will take, reckoned before anything is sent.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::config::hours::OpeningHours;
use crate::evidence::grid::Grid;
use crate::evidence::plan::Method;
use crate::target::scope::Scope;

/// What each tile takes beside its probes: opening the engine, and waiting for the last answers.
const BESIDE: Duration = Duration::from_secs(3);

/// Between two tries at a silent target, on average.
const BETWEEN_TRIES: Duration = Duration::from_millis(1200);

/// Bytes of evidence for a target: where all hosts are alike, and where no two are. What is open takes some hundred
/// bytes more in each of several files.
const BYTES: (f64, f64) = (0.001, 1.5);

/// Bytes of evidence for a host, which `scan.xml` lists, and for all that there is once.
const HOST_BYTES: u64 = 400;
const BASE_BYTES: u64 = 100_000;

/// What a run will take: the least, and the most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// Targets.
    pub targets: u64,
    /// Tiles.
    pub tiles: u64,
    /// Probes: one for each target, and as many as are tried at a silent one.
    pub packets: (u64, u64),
    /// Probes a second, by the rates and caps that hold.
    pub pps: u64,
    /// Time of work.
    pub work: (Duration, Duration),
    /// Bytes of evidence.
    pub bytes: (u64, u64),
}

/// Probes a second that the rates and caps leave, if all tiles are like the first.
pub fn rate(scope: &Scope, grid: &Grid, method: &Method) -> u64 {
    let hosts = scope.hosts().div_ceil(u64::from(grid.host_blocks.max(1)));
    // An IPv4 /24 is the smallest network that has a cap of its own.
    let networks = hosts.div_ceil(256);
    let capped = |count: u64, cap: Option<std::num::NonZeroU32>| {
        cap.map_or(u64::MAX, |cap| count.saturating_mul(u64::from(cap.get())))
    };
    u64::from(method.rate_max_pps.get())
        .min(capped(hosts, method.host_rate_max_pps))
        .min(capped(networks, method.network_rate_max_pps))
        .max(1)
}

/// Reckons what these tiles of a run will take.
pub fn estimate(scope: &Scope, grid: &Grid, method: &Method, tiles: u64) -> Estimate {
    let targets = (u128::from(scope.len()) * u128::from(tiles) / u128::from(grid.tiles().max(1))) as u64;
    let pps = rate(scope, grid, method);
    let tries = u64::from(method.tries);
    let packets = (targets, targets.saturating_mul(tries));
    let took = |packets: u64, tail: Duration| {
        let tiles = u32::try_from(tiles).unwrap_or(u32::MAX);
        Duration::from_secs_f64(packets as f64 / pps as f64)
            .saturating_add((BESIDE + tail).saturating_mul(tiles))
    };
    let tail = BETWEEN_TRIES * (u32::from(method.tries) - 1);
    let hosts = scope.hosts().min(4096) * HOST_BYTES;
    let bytes = |each: f64| BASE_BYTES + hosts + (targets as f64 * each) as u64;
    let work = (took(packets.0, Duration::ZERO), took(packets.1, tail));
    Estimate { targets, tiles, packets, pps, work, bytes: (bytes(BYTES.0), bytes(BYTES.1)) }
}

/// When work of this length is done that begins now and rests outside of the hours; `None` for later than in ten years.
pub fn done_by(now: Timestamp, work: Duration, opening: &OpeningHours) -> Option<Timestamp> {
    let mut left = SignedDuration::try_from(work).ok()?;
    let mut at = now;
    for _ in 0..3660 * 4 {
        at = opening.opens(at);
        let until = opening.open_until(at)?;
        let span = until.duration_since(at);
        if left <= span {
            return at.checked_add(left).ok();
        }
        left -= span;
        at = until;
    }
    None
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use super::*;

    fn method(rate: u32, host_rate: Option<u32>) -> Method {
        Method {
            version: "0".into(),
            config: None,
            engine: "auto".into(),
            rate_max_pps: rate.try_into().expect("a rate"),
            host_rate_max_pps: host_rate.and_then(std::num::NonZeroU32::new),
            network_rate_max_pps: None,
            tries: 3,
            attempts: 3,
            verified: true,
            banner: false,
            host_discovery: false,
        }
    }

    #[test]
    fn a_cap_at_each_host_is_what_takes_the_time() {
        let scope =
            Scope::new(&["198.18.0.0/24".parse().expect("a network")], &[], "all".parse().expect("ports"));
        let scope = scope.expect("a scope");
        let grid = Grid::of(&scope, NonZeroU64::new(1 << 20).expect("a number"));
        let fast = estimate(&scope, &grid, &method(1_000_000, None), grid.tiles());
        assert_eq!((fast.targets, fast.pps, fast.packets), (16_776_960, 1_000_000, (16_776_960, 50_330_880)));
        let slow = estimate(&scope, &grid, &method(1_000_000, Some(200)), grid.tiles());
        assert_eq!(slow.pps, 51_200);
        assert!(slow.work.0.as_secs() > 327 && slow.work.0.as_secs() < 380, "{:?}", slow.work);
    }

    #[test]
    fn rests_outside_of_the_hours() {
        let opening =
            OpeningHours { hours: vec!["22:00-05:00".parse().expect("hours")], ..Default::default() };
        let at = |text: &str| text.parse::<Timestamp>().expect(text);
        let done =
            |hours: u64| done_by(at("2026-11-26T12:00:00Z"), Duration::from_secs(hours * 3600), &opening);
        assert_eq!(done(7), Some(at("2026-11-27T05:00:00Z")));
        assert_eq!(done(8), Some(at("2026-11-27T23:00:00Z")));
        assert_eq!(done(700), Some(at("2027-03-06T05:00:00Z")));
    }
}
