//! The plan of one sweep: everything that decides what it does.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::num::{NonZeroU32, NonZeroU64};
use std::ops::Range;
use std::sync::Arc;

use ulid::Ulid;

use super::cookie::SourcePorts;
use super::report::Vantage;
use crate::link::route::RoutePlan;
use crate::target::Target;
use crate::target::scope::{Scope, Shard};
use crate::target::state::State;

/// Defaults of a sweep, in one place.
pub mod defaults {
    use std::time::Duration;

    /// Probes a second, over all. What a home router's connection table stands (each probe of an unanswered address is
    /// an entry for up to two minutes); a data centre takes a hundred times as much.
    pub const RATE_PPS: u32 = 10_000;
    /// Probes a second at one host. FreeBSD answers 200 closed ports a second and no more.
    pub const HOST_RATE_PPS: u32 = 200;
    /// Probes a second at one network: what answers for all of its addresses may be one small device.
    pub const NETWORK_RATE_PPS: u32 = 5000;
    /// Tries before silence is called filtered. At 1 % random loss each way three tries find 99.999 % of answers.
    pub const TRIES: u8 = 3;
    /// Between two tries at one target, at least: loss comes in bursts, and a router's first resolution of an address
    /// may take this long.
    pub const SPACE_BETWEEN_TRIES: Duration = Duration::from_secs(1);
    /// What a lap adds to that, at most.
    pub const MOST_LAP_JITTER: Duration = Duration::from_millis(400);
    /// How long to wait for an answer while no answer has yet said how long they take.
    pub const FIRST_PATIENCE: Duration = Duration::from_secs(1);
    /// The least and the most that is waited for an answer.
    pub const PATIENCE: std::ops::RangeInclusive<Duration> =
        Duration::from_millis(200)..=Duration::from_secs(3);
}

/// One sweep, decided.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The sweep's identifier.
    pub sweep: Ulid,
    /// What is probed: the whole scope, or this shard's part of it.
    pub scope: Scope,
    /// Which part that is, if the scope was split.
    pub shard: Option<Shard>,
    /// The seed of the order.
    pub seed: u64,
    /// The secret that probes are made with; `None` for a fresh one, which nobody ever hears of.
    pub key: Option<[u8; 16]>,
    /// Targets that are swept at a time, at most, because there is no memory for more; `None` for all.
    pub tile: Option<NonZeroU64>,
    /// Tries that must count before silence is an answer.
    pub tries: u8,
    /// Probes a second over all, at most; `None` for as fast as the link takes them.
    pub rate: Option<NonZeroU32>,
    /// Whether the sweep finds its own rate below that, by what is lost.
    pub governed: bool,
    /// Probes a second at one host; `None` for no cap.
    pub host_rate: Option<NonZeroU32>,
    /// Probes a second at one network (an IPv4 /24, an IPv6 /64); `None` for no cap.
    pub network_rate: Option<NonZeroU32>,
    /// Targets that are known to answer, open or closed. While they do, the network carries; while they do not, silence
    /// proves nothing.
    pub canaries: Vec<Target>,
    /// Paths on whose local network nobody at all is there, not even for certain: nothing shows that it is theirs and
    /// not ours.
    pub mute: Vec<usize>,
    /// The ways to the targets. Where there are none, as in a simulation, all take one path.
    pub routes: Arc<RoutePlan>,
    /// Where probes come from.
    pub source_ports: SourcePorts,
    /// Which states the observer wants to hear of.
    pub wanted: StateSet,
    /// Targets whose last state is handed over with the report, whatever it is. Those that are not in scope are not.
    pub watched: BTreeSet<Target>,
    /// Where the sweep looks from.
    pub vantage: Vantage,
}

impl Plan {
    /// The stretches of the order that are swept one after the other, of much the same length. Each spreads over all
    /// hosts, as the whole does.
    pub fn tiles(&self) -> impl Iterator<Item = Range<u64>> + use<> {
        let len = self.scope.len();
        let tiles = self.tile.map_or(1, |most| len.div_ceil(most.get()));
        let cut = move |n: u64| (u128::from(len) * u128::from(n) / u128::from(tiles)) as u64;
        (0..tiles).map(move |n| cut(n)..cut(n + 1))
    }

    /// How many paths the targets are reached by.
    pub fn paths(&self) -> usize {
        self.routes.hops().len().max(1)
    }

    /// Which of them leads to an address.
    #[inline]
    pub fn path_of(&self, ip: IpAddr) -> usize {
        if self.routes.hops().len() < 2 { 0 } else { self.routes.hop_number(ip).unwrap_or(0) }
    }
}

/// A set of states.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct StateSet(u8);

impl StateSet {
    /// Every state.
    pub fn all() -> Self {
        State::ALL.into_iter().collect()
    }

    /// Whether the state is in the set.
    pub fn has(self, state: State) -> bool {
        self.0 >> state as u8 & 1 == 1
    }

    /// The set with this state in it.
    #[must_use]
    pub fn with(self, state: State) -> Self {
        StateSet(self.0 | 1 << state as u8)
    }
}

impl FromIterator<State> for StateSet {
    fn from_iter<I: IntoIterator<Item = State>>(states: I) -> Self {
        states.into_iter().fold(StateSet::default(), StateSet::with)
    }
}
