//! How the scope of a run is cut into tiles, which are swept one after the other: blocks of hosts, and for each of them
//! blocks of ports.
//!
//! As many hosts as a tile can hold go into each, with few ports: so no host is asked more often in a second than if
//! all were swept at once.

use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

use crate::target::ports::PortSet;
use crate::target::scope::{Scope, ScopeError};

/// Hosts of one tile, at most: beyond that, more hosts spread the load no further.
const MOST_HOSTS: u64 = 4096;

/// A cut of a scope. Tiles are numbered from 1, block of hosts by block of hosts.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Grid {
    /// Blocks of hosts, much of the same size.
    pub host_blocks: u32,
    /// Blocks of ports, much of the same size.
    pub port_blocks: u32,
}

impl Grid {
    /// The cut of a scope into tiles of about this many targets, and of no more where a port of a block of hosts is not
    /// more by itself.
    pub fn of(scope: &Scope, tile: NonZeroU64) -> Self {
        let (hosts, ports) = (scope.hosts(), scope.ports().len() as u64);
        let host_blocks = hosts.div_ceil(MOST_HOSTS.min(tile.get()));
        let port_blocks = hosts.div_ceil(host_blocks).saturating_mul(ports).div_ceil(tile.get()).min(ports);
        Grid {
            host_blocks: u32::try_from(host_blocks).unwrap_or(u32::MAX),
            port_blocks: u32::try_from(port_blocks).unwrap_or(u32::MAX),
        }
    }

    /// How many tiles there are.
    pub fn tiles(&self) -> u64 {
        u64::from(self.host_blocks) * u64::from(self.port_blocks)
    }

    /// What is swept in this tile.
    ///
    /// # Errors
    /// When the scope has no such tile.
    pub fn tile(&self, scope: &Scope, number: u64) -> Result<Scope, ScopeError> {
        let (port_blocks, at) = (u64::from(self.port_blocks.max(1)), number.saturating_sub(1));
        let (host_block, port_block) = (at / port_blocks, at % port_blocks);
        let number = u32::try_from(host_block + 1).unwrap_or(u32::MAX);
        let hosts = scope.shard(number, self.host_blocks)?;
        let len = scope.ports().len() as u64;
        let cut = |block: u64| (len * block / port_blocks) as usize;
        let ports = (cut(port_block)..cut(port_block + 1)).map(|slot| scope.ports().get(slot));
        let ports = PortSet::new(ports).ok_or(ScopeError::TooMany)?;
        Scope::new(hosts.ranges(), &[], ports)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::target::address::AddressRange;

    fn scope(networks: &[&str], ports: &str) -> Scope {
        let networks: Vec<AddressRange> = networks.iter().map(|text| text.parse().expect(text)).collect();
        Scope::new(&networks, &[], ports.parse().expect(ports)).expect("a scope")
    }

    fn grid(scope: &Scope, tile: u64) -> Grid {
        Grid::of(scope, NonZeroU64::new(tile).expect("a number"))
    }

    #[test]
    fn spreads_over_hosts_before_it_spreads_over_ports() {
        let whole = scope(&["198.18.0.0/24"], "all");
        let cut = grid(&whole, 1 << 20);
        assert_eq!(cut, Grid { host_blocks: 1, port_blocks: 16 });
        assert_eq!(cut.tile(&whole, 16).expect("the last").ports().to_string(), "61440-65535");
        let wide = scope(&["198.18.0.0/16"], "all");
        assert_eq!(grid(&wide, 1 << 20), Grid { host_blocks: 16, port_blocks: 256 });
        assert_eq!(grid(&scope(&["198.18.0.1"], "22"), 1 << 20).tiles(), 1);
    }

    proptest! {
        /// Whatever the cut, every target is in exactly one tile.
        #[test]
        fn every_target_is_in_one_tile(hosts in 1..40_u8, ports in 1..60_u16, tile in 1..3000_u64) {
            let last = format!("198.18.0.0-198.18.0.{}", hosts - 1);
            let whole = scope(&[&last], &format!("100-{}", 99 + ports));
            let cut = grid(&whole, tile);
            let mut seen = vec![0; whole.len() as usize];
            for number in 1..=cut.tiles() {
                let part = cut.tile(&whole, number).expect("a tile");
                prop_assert!(part.len() <= 2 * tile.max(u64::from(hosts)));
                for index in 0..part.len() {
                    let target = part.target(index);
                    seen[whole.index_of(target.ip, target.port).expect("in scope") as usize] += 1;
                }
            }
            prop_assert!(seen.iter().all(|count| *count == 1));
            prop_assert!(cut.tile(&whole, cut.tiles() + 1).is_err());
        }
    }
}
