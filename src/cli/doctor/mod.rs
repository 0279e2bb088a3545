//! `portreeve doctor`: which engine would run and why, and what stands in the way.

mod xdp;

use std::io::Write;

use anstyle::{AnsiColor, Style};

use super::{Failure, Input, Status, output};
use crate::config::options::EngineChoice;
use crate::config::settings::Settings;
use crate::job::engine::{Decision, advice, decide};
use crate::job::vitals;
use crate::link::connect;
use crate::link::neighbour;
use crate::link::route::{GapReason, Hop, HopKind, RoutePlan};
use crate::sweep::cookie::SourcePorts;
use crate::target::foreign::Harmless;
use crate::target::scope::Scope;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    input: Input,
}

/// How good or bad a fact is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Mark {
    Good,
    /// Neither good nor bad, until somebody wants it.
    Aside,
    /// Works, but not as well as it might.
    Note,
    /// Keeps a sweep from running.
    Fault,
}

/// One fact about this machine.
#[derive(Debug)]
struct Fact {
    mark: Mark,
    about: &'static str,
    says: String,
    /// What to do about it, if anything.
    remedy: Option<String>,
}

/// Examines the machine, and the way to the targets if any are named. Sends nothing.
pub fn run(args: &Args) -> Result<Status, Failure> {
    let settings = args.input.gather()?.settings;
    let mut facts = vec![kernel(), privilege(), source_ports(), descriptors()];
    facts.extend(conntrack());
    let is_xdp_wanted = settings.engine == Some(EngineChoice::Xdp);
    if settings.networks.is_empty() && settings.declared.is_empty() {
        facts.extend(xdp::facts(is_xdp_wanted, &[]));
        facts.push(engine_without_targets(&settings));
    } else {
        way(&settings, &settings.scope()?, &mut facts);
    }
    let mut out = output::styled_stdout()?;
    for fact in &facts {
        write_fact(&mut out, fact)?;
    }
    let faulty = facts.iter().any(|fact| fact.mark == Mark::Fault);
    Ok(if faulty { Status::Failed } else { Status::Clean })
}

fn write_fact(out: &mut dyn Write, fact: &Fact) -> std::io::Result<()> {
    let (word, color) = match fact.mark {
        Mark::Good => ("ok", AnsiColor::Green),
        Mark::Aside => ("info", AnsiColor::Cyan),
        Mark::Note => ("note", AnsiColor::Yellow),
        Mark::Fault => ("FAULT", AnsiColor::Red),
    };
    let style = Style::new().bold().fg_color(Some(color.into()));
    writeln!(out, "{style}{word:<5}{style:#} {:<12} {}", fact.about, Harmless(&fact.says))?;
    match &fact.remedy {
        Some(remedy) => writeln!(out, "{:18} -> {}", "", Harmless(remedy)),
        None => Ok(()),
    }
}

fn good(about: &'static str, says: String) -> Fact {
    Fact { mark: Mark::Good, about, says, remedy: None }
}

fn fact(mark: Mark, about: &'static str, says: String, remedy: impl Into<String>) -> Fact {
    Fact { mark, about, says, remedy: Some(remedy.into()) }
}

fn note(about: &'static str, says: String, remedy: impl Into<String>) -> Fact {
    fact(Mark::Note, about, says, remedy)
}

fn fault(about: &'static str, says: String, remedy: impl Into<String>) -> Fact {
    fact(Mark::Fault, about, says, remedy)
}

fn kernel() -> Fact {
    good("kernel", format!("Linux {} on {}", vitals::kernel_release(), vitals::hostname()))
}

fn privilege() -> Fact {
    if vitals::has_net_raw() {
        return good("privilege", "CAP_NET_RAW: packet sockets may be opened".into());
    }
    note(
        "privilege",
        "no CAP_NET_RAW: only the connect engine can run".into(),
        "sudo setcap cap_net_raw+ep \"$(command -v portreeve)\", or run as root",
    )
}

fn source_ports() -> Fact {
    let (first, last) = kernel_ports();
    match SourcePorts::beside(first, last) {
        Some(block) => good(
            "ports",
            format!(
                "probes come from {}-{}, clear of the kernel's own {first}-{last}",
                block.first,
                block.last()
            ),
        ),
        None => note(
            "ports",
            format!("the kernel's own range {first}-{last} leaves no block for the packet engine"),
            "sysctl net.ipv4.ip_local_port_range=\"32768 60999\"",
        ),
    }
}

/// The ports that the kernel gives to connections.
fn kernel_ports() -> (u16, u16) {
    vitals::local_port_range().unwrap_or((32_768, 60_999))
}

fn descriptors() -> Fact {
    let in_flight = connect::default_in_flight();
    if in_flight >= 1000 {
        return good("descriptors", format!("the connect engine can have {in_flight} attempts in flight"));
    }
    note(
        "descriptors",
        format!("the connect engine can have only {in_flight} attempts in flight"),
        "raise the limit of open files, such as ulimit -n 20000",
    )
}

fn conntrack() -> Option<Fact> {
    let (count, max) = vitals::conntrack()?;
    let says = format!("this host tracks {count} of at most {max} connections");
    Some(if count * 2 < max {
        good("conntrack", says)
    } else {
        let remedy = "a full table drops answers; raise net.netfilter.nf_conntrack_max, or add a notrack \
                      rule for the probes";
        note("conntrack", says, remedy)
    })
}

fn engine_without_targets(settings: &Settings) -> Fact {
    let choice = settings.engine.unwrap_or(EngineChoice::Auto);
    let decision = decide(choice, vitals::has_net_raw());
    note("engine", in_words(&decision), "name targets to see the way to them")
}

/// The way to the targets: routes, next hops, engine.
fn way(settings: &Settings, scope: &Scope, facts: &mut Vec<Fact>) {
    let ends: Vec<_> = scope.ends().collect();
    let routes = match RoutePlan::survey(&ends, settings.interface.as_deref()) {
        Ok(routes) => routes,
        Err(error) => return facts.push(fault("route", error.to_string(), "mend that first")),
    };
    for gap in routes.gaps() {
        let range = format!("{}-{}", gap.first, gap.last);
        facts.push(match &gap.reason {
            GapReason::NoRoute { why } => {
                fault("route", format!("{range}: {why}"), format!("see `ip route get {}`", gap.first))
            }
            other => note(
                "route",
                format!("{range} is never probed ({})", why_never(other)),
                "nothing to do: it is left out by itself",
            ),
        });
    }
    for hop in routes.hops() {
        facts.push(route(hop));
        facts.extend(next_hop(hop));
        facts.extend(drops(&hop.interface.name));
    }
    let choice = settings.engine.unwrap_or(EngineChoice::Auto);
    facts.extend(xdp::facts(choice == EngineChoice::Xdp, routes.hops()));
    let says = advice::faster(settings, scope, Some(&routes));
    facts.extend(says.map(|says| note("rate", says, "or ask for less: --rate, --rate-max")));
    let decision = in_words(&decide(choice, vitals::has_net_raw()));
    facts.push(if facts.iter().any(|fact| fact.mark == Mark::Fault) {
        note("engine", decision, "it cannot run before the faults above are mended")
    } else {
        good("engine", decision)
    });
}

fn why_never(reason: &GapReason) -> &str {
    match reason {
        GapReason::Broadcast => "the broadcast address of a network that this host is on",
        GapReason::Multicast => "multicast, which many hosts would answer",
        GapReason::Unspecified => "the address that means none",
        GapReason::NoRoute { why } => why,
    }
}

fn in_words(decision: &Decision) -> String {
    match decision {
        Decision::Packet(why) => format!("packet: {why}"),
        Decision::Xdp(why) => format!("xdp: {why}"),
        Decision::Connect(why) => format!("connect: {why}"),
    }
}

fn route(hop: &Hop) -> Fact {
    let interface = &hop.interface.name;
    let source = hop.source;
    good(
        "route",
        match (hop.kind, hop.next_hop) {
            (HopKind::Local, _) => format!("this host's own address, through {interface}"),
            (HopKind::Gateway, Some(next_hop)) => format!("from {source} on {interface} via {next_hop}"),
            _ => format!("from {source} on {interface}, straight to the targets"),
        },
    )
}

fn next_hop(hop: &Hop) -> Option<Fact> {
    let next_hop = hop.next_hop?;
    let known = neighbour::known(next_hop, hop.interface.index);
    Some(match known.map(|entry| entry.map(|entry| (entry.usable(), entry.state))) {
        Ok(Some((Some(mac), state))) => {
            let octets = mac.map(|octet| format!("{octet:02x}")).join(":");
            good("next hop", format!("{next_hop} is at {octets} ({state:?})"))
        }
        Ok(Some((None, state))) => note(
            "next hop",
            format!("{next_hop} is {state:?} in the neighbour table"),
            "if a sweep fails to resolve it, look at the cable, the VLAN and the gateway's address (ip neigh)",
        ),
        Ok(None) => good(
            "next hop",
            format!("{next_hop} is not in the neighbour table yet; the sweep will ask for it"),
        ),
        Err(error) => fault("next hop", error.to_string(), "look at `ip neigh`"),
    })
}

fn drops(interface: &str) -> Option<Fact> {
    let received = vitals::interface_counter(interface, "rx_dropped")?;
    let sent = vitals::interface_counter(interface, "tx_dropped")?;
    let says =
        format!("{interface} has dropped {received} frames coming in and {sent} going out since it is up");
    Some(if received + sent == 0 {
        good("drops", says)
    } else {
        note(
            "drops",
            says,
            "if these grow during a sweep, lower --rate, or raise the queue (ethtool -g, ip link txqueuelen)",
        )
    })
}
