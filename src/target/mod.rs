//! What may be probed, in which order, and what is known of it.
//!
//! A [`scope::Scope`] is a bijection between `0..len` and (address, port), so that no list of addresses is ever in
//! memory. An [`order::Order`] is a seeded bijection of `0..len` onto itself; a *position* is a place in that order.
//! The [`table::Table`] holds one atomic cell for each **position**: the sender walks it front to back, which is as
//! kind to the cache as memory can be, and only the receiver has to jump.

pub mod address;
pub mod foreign;
pub mod names;
pub mod order;
pub mod ports;
pub mod scope;
pub mod state;
pub mod table;
pub mod written;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// One (address, port, transport) of a scope.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Target {
    /// The address that is probed.
    pub ip: IpAddr,
    /// The port that is probed.
    pub port: u16,
    /// The protocol that is probed.
    pub transport: Transport,
}

/// The protocol of a target. One today; a field from the first day, because results outlive programs.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// TCP, RFC 9293.
    Tcp,
}

impl std::fmt::Display for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Transport::Tcp => f.write_str("tcp"),
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.ip {
            IpAddr::V4(ip) => write!(f, "{ip}:{}/{}", self.port, self.transport),
            IpAddr::V6(ip) => write!(f, "[{ip}]:{}/{}", self.port, self.transport),
        }
    }
}
