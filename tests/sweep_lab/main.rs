//! The real program against real kernels: sweeps of the lab, whose truth is known, and of labs that are broken on
//! purpose. What the engine does in virtual time is tested elsewhere; here it is packets, clocks, signals and routes.

#[path = "../lab/mod.rs"]
mod lab;

mod broken;
mod endings;
mod harness;
mod pace;
mod scope;
mod states;
mod watch;

use std::process::ExitCode;

use lab::{missing_for_lab, missing_for_xdp};
use libtest_mimic::Arguments;

type Case = (&'static str, fn());

/// Slow sweeps and short ones, which leave each other room.
const TOGETHER: &[Case] = &[
    ("connect_agrees_with_packet", states::connect_agrees_with_packet),
    ("allowlist_leaves_exactly_the_exposures", states::allowlist_leaves_exactly_the_exposures),
    ("all_allowed_is_clean", states::all_allowed_is_clean),
    ("interrupt_while_asking", endings::interrupt_while_asking),
    ("cold_cache", broken::cold_cache),
    ("silent_gateway", broken::silent_gateway),
    ("interface_down", broken::interface_down),
    ("no_route", broken::no_route),
    ("shards_partition_the_scope", scope::shards_partition_the_scope),
    ("senders_share_the_sweep", scope::senders_share_the_sweep),
    ("nothing_leaves_the_scope", scope::nothing_leaves_the_scope),
];

/// The same by XDP, which only root may use.
const XDP: &[Case] = &[("xdp_exact_states_of_a_whole_16", states::xdp_exact_states_of_a_whole_16)];

/// Rates and deadlines are measured, or as much is sent as the machine can, which two cases at a time would spoil for
/// each other.
const ALONE: &[Case] = &[
    ("exact_states_of_a_whole_16", states::exact_states_of_a_whole_16),
    ("loss_is_what_the_tries_make_of_it", states::loss_is_what_the_tries_make_of_it),
    ("a_starved_receiver_claims_nothing_wrong", states::a_starved_receiver_claims_nothing_wrong),
    ("rate_100", pace::rate_100),
    ("rate_10k", pace::rate_10k),
    ("rate_200k", pace::rate_200k),
    ("host_cap", pace::host_cap),
    ("interrupt", endings::interrupt),
    ("terminate", endings::terminate),
    ("kill_leaves_whole_lines", endings::kill_leaves_whole_lines),
];

fn main() -> ExitCode {
    if let Some(ending) = watch::as_told(std::env::args().nth(1).as_deref()) {
        return ending;
    }
    let missing = missing_for_lab();
    let of = |cases: &[Case], missing: &Option<String>| -> Vec<_> {
        cases.iter().map(|&(name, test)| lab::trial(name, test, missing.as_deref())).collect()
    };
    let mut alone = of(ALONE, &missing);
    alone.extend(of(XDP, &missing.clone().or_else(missing_for_xdp)));
    lab::run(Arguments::from_args(), [(lab::MANY, of(TOGETHER, &missing)), (lab::ALONE, alone)])
}
