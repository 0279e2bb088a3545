//! What the xdp engine needs, what of that is here, and what it would do to this host.

use super::{Fact, Mark, fact, good, kernel_ports};
use crate::job::engine::advice::takes_frames;
use crate::link::route::Hop;
use crate::link::xdp::card::{Card, Sends};
use crate::link::xdp::host::{self, Host, Lack};
use crate::sweep::cookie::SourcePorts;

const ABOUT: &str = "xdp";

/// Where the kernel does not say what a device can do.
const TRY: &str =
    "sweep one address with --engine xdp, when nobody minds: attaching a program may reset the link";

/// The facts of the host, then those of each device on the way. What is missing is a fault only where the engine is
/// wanted.
pub fn facts(is_wanted: bool, hops: &[Hop]) -> Vec<Fact> {
    let missing = if is_wanted { Mark::Fault } else { Mark::Aside };
    let (mut facts, can_run) = of_host(missing);
    let mut seen = Vec::new();
    for hop in hops.iter().filter(|hop| takes_frames(hop)) {
        let interface = &hop.interface;
        if seen.contains(&interface.index) {
            continue;
        }
        seen.push(interface.index);
        match Card::of(interface.index) {
            Ok(card) => {
                facts.extend(of_card(&card, &interface.name, missing));
                let is_told = is_wanted || can_run && card.sends() != Sends::No && card.attached.is_empty();
                facts.extend(is_told.then(|| effect(&card, &interface.name)));
            }
            Err(error) => facts.push(fact(missing, ABOUT, error.to_string(), "look at `ip link`")),
        }
    }
    if is_wanted && seen.is_empty() && !hops.is_empty() {
        let says = "no target is reached by frames of our own, so the xdp engine has no part in it";
        facts.push(fact(missing, ABOUT, says.into(), "leave --engine out"));
    }
    facts
}

/// Whether this host can run the engine, and whether it is not certain that it cannot.
fn of_host(missing: Mark) -> (Vec<Fact>, bool) {
    let lacks = Host::look().lacks();
    let says = |lack: &Lack| fact(missing, ABOUT, format!("cannot run here: {lack}"), lack.remedy());
    if lacks.iter().any(Lack::is_certain) {
        return (lacks.iter().map(says).collect(), false);
    }
    match host::rehearse() {
        Ok(()) => {
            let says = "can run here: the kernel takes the BPF programs, and runs the one that sends";
            (vec![good(ABOUT, says.into())], true)
        }
        Err(error) => (vec![fact(missing, ABOUT, error.to_string(), "use --engine packet")], false),
    }
}

fn of_card(card: &Card, name: &str, missing: Mark) -> Vec<Fact> {
    let doubt = if missing == Mark::Fault { Mark::Note } else { missing };
    let driver = format!("{name}, driver {}", card.driver());
    let sends = match card.sends() {
        Sends::Yes => good(ABOUT, format!("{driver}: takes frames from XDP (ndo_xdp_xmit)")),
        Sends::PerhapsAttached => {
            let says = "takes no frames from XDP now; many drivers do only while a program is attached, as in a sweep";
            let remedy = if card.driver.as_deref() == Some("veth") { card.advice() } else { TRY };
            fact(doubt, ABOUT, format!("{driver}: {says}"), remedy)
        }
        Sends::No => fact(missing, ABOUT, format!("{name}: {}", card.refusal()), card.advice()),
        Sends::Unknown => {
            let says =
                "whether it takes frames from XDP (ndo_xdp_xmit) is not known; the kernel says so since 6.3";
            fact(doubt, ABOUT, format!("{driver}: {says}"), TRY)
        }
    };
    let occupied = card.occupied().map(|why| fact(missing, ABOUT, format!("{name}: {why}"), card.vacate()));
    std::iter::once(sends).chain(occupied).collect()
}

/// What the engine does to this host while it sweeps.
fn effect(card: &Card, name: &str) -> Fact {
    let way = match card.receives_natively() {
        Some(true) => "natively (if its MTU lets the driver)",
        Some(false) => "in generic mode, which is slower, because its driver has no native one",
        None => "natively if its driver can",
    };
    let (first, last) = kernel_ports();
    let block = SourcePorts::beside(first, last);
    let block = block.map_or_else(String::new, |block| format!(" ({}-{})", block.first, block.last()));
    let says = format!(
        "a sweep would attach a program to {name} {way}; resets from targets to the ports that probes come from{block} \
         then do not reach this host, everything else passes; a thread keeps a processor busy; and whoever changes a \
         link or a route of this host may wait for up to a second"
    );
    fact(
        Mark::Aside,
        ABOUT,
        says,
        "some network cards reset their link for a moment when a program is attached",
    )
}
