//! Can the verdicts be trusted? The real program on every kind of network, held against nmap, and on ways that break in
//! the middle of a sweep.

#[path = "../sweep_lab/harness.rs"]
#[allow(dead_code)]
mod harness;
#[path = "../lab/mod.rs"]
mod lab;

mod beside;
mod forged;
mod kinds;
mod long;
mod pace;
mod paths;
mod weather;

use std::process::ExitCode;

use lab::{Engine, missing_for_lab, missing_for_xdp};
use libtest_mimic::{Arguments, Trial};

type Case = (&'static str, fn(Engine));
type PlainCase = (&'static str, fn());
/// A case, and the kind of device that it needs.
type DeviceCase = (&'static str, &'static str, fn(Engine));

/// Set, it runs the cases as well that take minutes, and those that need a kind of device which few kernels have.
const LONG: &str = "PORTREEVE_TRUST_LONG";

/// Slow sweeps with pauses in them, which leave each other room. The longest comes first.
const WEATHER: &[Case] = &[
    ("resets_are_limited", weather::resets_are_limited),
    ("link_down_here", weather::link_down_here),
    ("link_down_there", weather::link_down_there),
    ("two_answers", weather::two_answers),
    ("policy_route", weather::policy_route),
    // Next hop and addresses are watched, what was in flight is probed again.
    ("gateway_address_changes", weather::gateway_address_changes),
    ("gateway_address_changes_and_is_announced", weather::gateway_address_changes_and_is_announced),
    ("address_goes", weather::address_goes),
    ("address_goes_and_comes_back", weather::address_goes_and_comes_back),
    // Several paths are several matters, and so are the two families.
    ("one_gateway_of_two_is_silent", paths::one_gateway_of_two_is_silent),
    ("a_gateway_of_two_comes_late", paths::a_gateway_of_two_comes_late),
    ("one_way_of_two_breaks", paths::one_way_of_two_breaks),
    ("nobody_at_all_is_no_proof", paths::nobody_at_all_is_no_proof),
    ("ipv6_gateway_address_changes", paths::ipv6_gateway_address_changes),
    ("ipv6_gateway_stops_for_a_while", paths::ipv6_gateway_stops_for_a_while),
    ("ipv6_gateway_stops_forwarding", paths::ipv6_gateway_stops_forwarding),
    // Where the targets are the next hops themselves, each of them is watched.
    ("hosts_on_the_wire_move", paths::hosts_on_the_wire_move),
    ("hosts_on_the_wire_move_early", paths::hosts_on_the_wire_move_early),
    ("hosts_on_the_wire_go", paths::hosts_on_the_wire_go),
    ("ipv6_hosts_on_the_wire_move", paths::ipv6_hosts_on_the_wire_move),
    ("ipv6_hosts_on_the_wire_go", paths::ipv6_hosts_on_the_wire_go),
    // Canaries tell a way that carries nothing from a network that is silent.
    ("gateway_forwards_nothing", weather::gateway_forwards_nothing),
    ("gateway_stops_forwarding", weather::gateway_stops_forwarding),
    ("gateway_stops_for_a_while", weather::gateway_stops_for_a_while),
    ("answers_by_another_interface", weather::answers_by_another_interface),
    // The rest of the world goes on.
    ("other_traffic_goes_on", beside::other_traffic_goes_on),
    ("half_open_connections_are_gone", beside::half_open_connections_are_gone),
    // What takes no frames from XDP is swept another way or refused by name.
    ("bridge", kinds::bridge),
    ("bridge_beside", kinds::bridge_beside),
];

/// The connect engine's trouble is its own as well.
const CONNECT: &[PlainCase] = &[
    ("connect_gateway_goes", weather::connect_gateway_goes),
    ("connect_link_down_here", weather::connect_link_down_here),
    ("connect_link_down_there", weather::connect_link_down_there),
    ("connect_address_goes", weather::connect_address_goes),
    ("connect_address_goes_and_comes_back", weather::connect_address_goes_and_comes_back),
];

/// Of that, what every run tries over XDP too: where devices, addresses and paths are what the link itself must get
/// right. The rest, where canaries and the guard judge above any link, takes a minute more and comes with [`LONG`].
const BY_XDP: &[&str] = &[
    "link_down_here",
    "link_down_there",
    "two_answers",
    "gateway_address_changes",
    "address_goes_and_comes_back",
    "one_gateway_of_two_is_silent",
    "one_way_of_two_breaks",
    "ipv6_gateway_stops_for_a_while",
    "hosts_on_the_wire_move",
    "ipv6_hosts_on_the_wire_go",
    "gateway_stops_for_a_while",
    "answers_by_another_interface",
    "other_traffic_goes_on",
    "half_open_connections_are_gone",
    "bridge",
    "bridge_beside",
];

/// How many of them run at a time over XDP. Each such sweep keeps a processor busy, and what it does in the kernel
/// holds up the machine's own housekeeping (RCU): to change a link takes up to a second.
const FEW: usize = 5;

/// How many of the losses are tried over XDP every time.
const SOME: usize = 1;

/// How many of those run at a time that are disturbed more easily.
const TWO: usize = 2;

/// Which trouble is named depends on what is noticed first, and losses are counted: not beside many others, but what is
/// lost here is lost by rule, and a scanner that is late for a moment loses nothing.
const LOSSES: &[Case] = &[
    ("connection_table_is_full", weather::connection_table_is_full),
    ("who_answers_for_others_is_not_believed", weather::who_answers_for_others_is_not_believed),
    ("bursts_of_loss", weather::bursts_of_loss),
    ("random_loss_of_1_percent", weather::random_loss_of_1_percent),
    ("random_loss_of_2_percent", weather::random_loss_of_2_percent),
    ("random_loss_of_5_percent", weather::random_loss_of_5_percent),
    ("random_loss_of_10_percent", weather::random_loss_of_10_percent),
];

/// Somebody on the way throws answers of his own.
const FORGED: &[Case] = &[
    ("forged_answers_change_nothing", forged::forged_answers_change_nothing),
    ("replayed_answers_change_nothing", forged::replayed_answers_change_nothing),
];

/// Rates are measured, which two cases at a time would spoil for each other. What finds the rate is the same over every
/// engine, so that one of them is enough for a quick run.
const MEASURED: &[Case] = &[
    ("the_policer_carries_what_it_should", pace::the_policer_carries_what_it_should),
    ("auto_rate_finds_what_the_way_carries", pace::auto_rate_finds_what_the_way_carries),
];

/// About XDP alone.
const XDP: &[Case] = &[("veth_whose_end_does_not_poll", kinds::veth_whose_end_does_not_poll)];

/// Networks behind tunnels are among these.
const TUNNELS: &[Case] = &[("every_kind", kinds::every_kind), ("tunnel", kinds::tunnel)];

/// A receive ring of a size to choose is what the packet engine alone has.
const RINGS: &[Case] = &[("starved_receiver", weather::starved_receiver)];

/// These need the judge as well: nmap.
const JUDGED: &[PlainCase] = &[
    ("nmap_agrees_with_the_truth", kinds::nmap_agrees_with_the_truth),
    ("nmap_and_portreeve_agree", kinds::nmap_and_portreeve_agree),
];

/// What this machine lacks for which cases.
struct Missing {
    lab: Option<String>,
    xdp: Option<String>,
    judge: Option<String>,
}

impl Missing {
    fn of(&self, engine: Engine) -> Option<&str> {
        if engine == Engine::Xdp { self.xdp.as_deref() } else { self.lab.as_deref() }
    }

    /// The cases, over this engine.
    fn over(&self, engine: Engine, cases: &[Case]) -> Vec<Trial> {
        let trial = |&(name, test): &Case| {
            let name = if engine == Engine::Xdp { format!("xdp_{name}") } else { name.to_owned() };
            lab::trial(&name, move || test(engine), self.of(engine))
        };
        cases.iter().map(trial).collect()
    }

    /// The same where tunnels are needed too.
    fn through_tunnels(&self, engine: Engine, cases: &[Case]) -> Vec<Trial> {
        let lacks = |missing: &Option<String>| missing.clone().or_else(kinds::missing_tunnels);
        Missing { lab: lacks(&self.lab), xdp: lacks(&self.xdp), judge: None }.over(engine, cases)
    }

    fn plain(&self, cases: &[PlainCase]) -> Vec<Trial> {
        cases.iter().map(|&(name, test)| lab::trial(name, test, self.lab.as_deref())).collect()
    }

    fn judged(&self, cases: &[PlainCase]) -> Vec<Trial> {
        cases.iter().map(|&(name, test)| lab::trial(name, test, self.judge.as_deref())).collect()
    }

    /// Cases that need a kind of device, over both engines.
    fn devices(&self, cases: &[DeviceCase]) -> Vec<Trial> {
        let of_kind = |&(name, device, test): &DeviceCase| {
            let lacks = |missing: &Option<String>| missing.clone().or_else(|| kinds::missing_device(device));
            let here = Missing { lab: lacks(&self.lab), xdp: lacks(&self.xdp), judge: None };
            [Engine::Packet, Engine::Xdp].map(|engine| here.over(engine, &[(name, test)]))
        };
        cases.iter().flat_map(of_kind).flatten().collect()
    }
}

fn main() -> ExitCode {
    let lab = missing_for_lab();
    let judge = lab.clone().or_else(kinds::missing_for_judge);
    let missing = Missing { xdp: lab.clone().or_else(missing_for_xdp), lab, judge };
    let mut waiting = missing.over(Engine::Packet, WEATHER);
    waiting.extend(missing.through_tunnels(Engine::Packet, TUNNELS));
    waiting.extend(missing.plain(CONNECT));
    let is_long = std::env::var_os(LONG).is_some();
    let is_tried = |case: &&Case| is_long || BY_XDP.contains(&case.0);
    let weather_by_xdp: Vec<Case> = WEATHER.iter().filter(is_tried).copied().collect();
    assert!(weather_by_xdp.len() >= BY_XDP.len(), "each name is that of a case");
    let mut by_xdp = missing.over(Engine::Xdp, &weather_by_xdp);
    by_xdp.extend(missing.through_tunnels(Engine::Xdp, TUNNELS));
    by_xdp.extend(missing.over(Engine::Xdp, XDP));
    let mut losses = missing.over(Engine::Packet, LOSSES);
    // What the sender makes of losses is the same above both links; a few show that they are counted alike.
    let (some_losses, more_losses) = LOSSES.split_at(SOME);
    losses.extend(missing.over(Engine::Xdp, some_losses));
    let mut alone = missing.over(Engine::Packet, RINGS);
    alone.extend(missing.over(Engine::Packet, FORGED));
    alone.extend(missing.over(Engine::Xdp, FORGED));
    alone.extend(missing.over(Engine::Packet, MEASURED));
    alone.extend(missing.judged(JUDGED));
    if is_long {
        losses.extend(missing.over(Engine::Xdp, more_losses));
        alone.extend(missing.over(Engine::Xdp, MEASURED));
        alone.extend(missing.over(Engine::Packet, long::CASES));
        alone.extend(missing.over(Engine::Xdp, long::CASES));
        alone.extend(missing.judged(long::JUDGED));
        alone.extend(missing.devices(long::DEVICES));
    }
    let groups = [(lab::MANY, waiting), (FEW, by_xdp), (TWO, losses), (lab::ALONE, alone)];
    lab::run(Arguments::from_args(), groups)
}
