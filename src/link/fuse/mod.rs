//! The fuse: a second fence, in the kernel, that shares neither code nor process nor privilege with what sends.
//!
//! An nft table hooked to where frames leave. It knows the scope, and whatever looks like a probe of ours but leads
//! elsewhere is counted and dropped there. Somebody else puts it in (root, with [`Fuse::script`]); a sweep makes sure
//! that it stands ([`loaded`]) and ends as soon as it has caught anything ([`watch`]).

pub mod loaded;
pub mod watch;

use std::fmt::Display;
use std::net::IpAddr;

use sha2::{Digest, Sha256};

use super::route::Hop;

/// The table of the fuse, in the family `netdev`. There is one for each host (or network namespace).
pub const TABLE: &str = "portreeve";

/// The counter of what it has caught.
pub const COUNTER: &str = "caught";

/// How the name of the chain begins that judges; the rest is [`Fuse::identity`].
pub const JUDGE: &str = "scope_";

/// Takes the fuse away, whether there is one or not.
pub const REMOVAL: &str = "add table netdev portreeve\ndelete table netdev portreeve\n";

/// What a fuse lets pass, and how it recognises what it is to look at.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fuse {
    ranges: Vec<(IpAddr, IpAddr)>,
    ports: Vec<(u16, u16)>,
    source_ports: (u16, u16),
    sources: Vec<IpAddr>,
    devices: Vec<String>,
}

impl Fuse {
    /// A fuse that lets probes to these disjoint ranges (both ends included, in any order) and these ports pass. Probes
    /// are SYNs that leave by one of these hops, come from its address, and from a port of this block.
    pub fn new(
        ranges: impl IntoIterator<Item = (IpAddr, IpAddr)>,
        ports: impl IntoIterator<Item = u16>,
        source_ports: (u16, u16),
        hops: &[Hop],
    ) -> Self {
        let mut ranges: Vec<_> = ranges.into_iter().collect();
        ranges.sort_unstable();
        let mut sources: Vec<IpAddr> = hops.iter().map(|hop| hop.source).collect();
        sources.sort_unstable();
        sources.dedup();
        let mut devices: Vec<String> = hops.iter().map(|hop| hop.interface.name.clone()).collect();
        devices.sort_unstable();
        devices.dedup();
        Fuse { ranges, ports: runs(ports), source_ports, sources, devices }
    }

    /// The interfaces that it has to be hooked to.
    pub fn devices(&self) -> &[String] {
        &self.devices
    }

    /// A name for everything that it is made of but the interfaces: another scope, other ports or another address of
    /// this host make another name.
    pub fn identity(&self) -> String {
        let digest = Sha256::digest(self.elements());
        digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }

    /// The nft script that puts it in, in place of any other, all at once or not at all.
    pub fn script(&self) -> String {
        let elements = self.elements();
        let judge = format!("{JUDGE}{}", self.identity());
        let (first, last) = self.source_ports;
        let syn = format!("tcp sport {first}-{last} tcp flags & (syn | ack) == syn jump {judge}");
        let egress = |device: &String| {
            format!(
                "    chain {} {{\n        \
                 type filter hook egress device \"{device}\" priority {PRIORITY}; policy accept;\n        \
                 ip saddr @own4 {syn}\n        \
                 ip6 saddr @own6 {syn}\n    }}\n",
                exit_chain(device)
            )
        };
        let chains: String = self.devices.iter().map(egress).collect();
        format!(
            "{REMOVAL}table netdev {TABLE} {{\n    \
             counter {COUNTER} {{ }}\n\
             {elements}    \
             chain {judge} {{\n        \
             ip daddr @scope4 tcp dport @ports return\n        \
             ip6 daddr @scope6 tcp dport @ports return\n        \
             counter name {COUNTER} drop\n    }}\n\
             {chains}}}\n"
        )
    }

    /// The sets, which all of the identity rests on, and with them what else it depends on, as a comment.
    fn elements(&self) -> String {
        let of = |v4: bool| self.ranges.iter().filter(move |(first, _)| first.is_ipv4() == v4);
        let own = |v4: bool| self.sources.iter().filter(move |ip| ip.is_ipv4() == v4).map(|ip| (ip, ip));
        let (first, last) = self.source_ports;
        [
            format!("    # Format 1. Probes are SYNs from ports {first}-{last} of these addresses.\n"),
            set("own4", "ipv4_addr", own(true)),
            set("own6", "ipv6_addr", own(false)),
            "    # Where they may go.\n".to_owned(),
            set("scope4", "ipv4_addr", of(true).map(|(first, last)| (first, last))),
            set("scope6", "ipv6_addr", of(false).map(|(first, last)| (first, last))),
            set("ports", "inet_service", self.ports.iter().map(|(first, last)| (first, last))),
        ]
        .concat()
    }
}

/// The chain at the way out of an interface. It bears its name because not every nft tells the interface of a chain
/// among what it says to programs. What a chain must not be called is spelt with a slash, which no interface has.
fn exit_chain(device: &str) -> String {
    let spelt = |byte: u8| match byte {
        b'.' | b'-' | b'_' => char::from(byte).to_string(),
        _ if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        _ => format!("/{byte:02x}"),
    };
    format!("egress_{}", device.bytes().map(spelt).collect::<String>())
}

/// Behind every other chain, so that the fuse sees what really leaves.
const PRIORITY: i32 = 1000;

/// A set of intervals. An empty one must not name its elements at all.
fn set<T: Display + PartialEq>(name: &str, of_type: &str, ranges: impl Iterator<Item = (T, T)>) -> String {
    let range = |(first, last): (T, T)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    let elements = ranges.map(range).collect::<Vec<_>>().join(", ");
    let elements = if elements.is_empty() { elements } else { format!(" elements = {{ {elements} }};") };
    format!("    set {name} {{ type {of_type}; flags interval;{elements} }}\n")
}

/// Numbers as ranges: sorted, disjoint and not adjacent, as nft wants its intervals.
fn runs(ports: impl IntoIterator<Item = u16>) -> Vec<(u16, u16)> {
    let mut sorted: Vec<u16> = ports.into_iter().collect();
    sorted.sort_unstable();
    let mut runs: Vec<(u16, u16)> = Vec::new();
    for port in sorted {
        match runs.last_mut() {
            Some((_, last)) if port <= last.saturating_add(1) => *last = port,
            _ => runs.push((port, port)),
        }
    }
    runs
}

/// Why a fuse is not what a sweep may rely on.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FuseError {
    /// The program that reads it is not there.
    #[error(
        "failed to start nft, which reads the fuse: it is not in PATH; install nftables, or add its directory (often \
         /usr/sbin) to PATH"
    )]
    NoNft,
    /// The kernel tells privileged processes only.
    #[error(
        "permission denied: --fuse reads the counter of the fuse by nft, which needs CAP_NET_ADMIN; run as root, or \
         grant it so that child processes inherit it (systemd: AmbientCapabilities=CAP_NET_RAW CAP_NET_ADMIN), which \
         setcap on portreeve does not"
    )]
    NotPermitted,
    /// There is no such table.
    #[error("no fuse is loaded")]
    NotLoaded,
    /// The table is of something else.
    #[error("the fuse that is loaded is not of this scope, these ports and this host's present addresses")]
    Foreign,
    /// Frames may leave where the fuse does not stand.
    #[error("the fuse does not cover the interface {device}, by which probes would leave")]
    Uncovered {
        /// The interface.
        device: String,
    },
    /// nft failed otherwise.
    #[error("nft failed to read the fuse: {said}")]
    Unreadable {
        /// What it said.
        said: String,
    },
    /// The reading takes too long.
    #[error("the fuse has not been read for {seconds} s, because nft hangs or this host is overloaded")]
    Unheard {
        /// How long.
        seconds: u64,
    },
    /// Somebody loaded it anew, so that nobody knows what the old one caught.
    #[error("the fuse was loaded anew, or its counter reset")]
    Replaced,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::interface::{Interface, InterfaceKind};
    use crate::link::route::HopKind;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect(text)
    }

    fn hop(name: &str, source: &str) -> Hop {
        let interface = Interface {
            index: 2,
            name: name.to_owned(),
            kind: InterfaceKind::Ethernet,
            mac: Some([2, 0, 0, 0, 0, 1]),
            mtu: 1500,
            up: true,
            running: true,
            point_to_point: false,
            no_arp: false,
            in_vrf: false,
        };
        Hop { interface, source: ip(source), next_hop: None, kind: HopKind::OnLink }
    }

    /// A fuse of these ranges and ports.
    fn fuse(ranges: &[(&str, &str)], ports: &[u16], source_ports: (u16, u16), hops: &[Hop]) -> Fuse {
        let ranges = ranges.iter().map(|(first, last)| (ip(first), ip(last)));
        Fuse::new(ranges, ports.iter().copied(), source_ports, hops)
    }

    #[test]
    fn the_script() {
        let hops = [hop("lan0", "198.18.0.1"), hop("lo", "127.0.0.1"), hop("lan0", "2001:db8::1")];
        let ranges =
            [("198.18.4.0", "198.18.4.255"), ("198.18.0.7", "198.18.0.7"), ("2001:db8::", "2001:db8::f")];
        let fuse = fuse(&ranges, &[22, 8001, 8000, 8002, 65535], (16_384, 32_767), &hops);
        insta::assert_snapshot!(fuse.script());
    }

    #[test]
    fn a_set_of_nothing_names_no_elements() {
        let fuse =
            fuse(&[("198.18.0.7", "198.18.0.7")], &[22], (16_384, 32_767), &[hop("lan0", "198.18.0.1")]);
        assert!(
            fuse.script().contains("set scope6 { type ipv6_addr; flags interval; }\n"),
            "{}",
            fuse.script()
        );
    }

    #[test]
    fn a_chain_is_named_after_its_interface() {
        assert_eq!(exit_chain("eth0.5-x_y"), "egress_eth0.5-x_y");
        assert_eq!(exit_chain("a@b+"), "egress_a/40b/2b");
    }

    #[test]
    fn ports_become_runs() {
        assert_eq!(runs([]), []);
        assert_eq!(runs(1..=u16::MAX), [(1, u16::MAX)]);
        assert_eq!(runs([3, 1, 2, 2, 5, 65_535, 65_534]), [(1, 3), (5, 5), (65_534, 65_535)]);
    }

    #[test]
    fn the_identity_is_of_everything_but_the_interfaces() {
        let (range, block) = ([("198.18.0.0", "198.18.0.255")], (16_384, 32_767));
        let hops = [hop("lan0", "198.18.0.1")];
        let whole = fuse(&range, &[22, 80], block, &hops).identity();
        assert_eq!(whole.len(), 32, "{whole}");
        let others = [
            fuse(&[("198.18.0.0", "198.18.0.254")], &[22, 80], block, &hops),
            fuse(&range, &[22], block, &hops),
            fuse(&range, &[22, 80], (40_000, 56_383), &hops),
            fuse(&range, &[22, 80], block, &[hop("lan0", "198.18.0.2")]),
        ];
        for other in others {
            assert_ne!(other.identity(), whole, "{}", other.script());
        }
        let elsewhere = fuse(&range, &[80, 22], block, &[hop("lan1", "198.18.0.1")]);
        assert_eq!(elsewhere.identity(), whole);
    }
}
