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

use lab::missing_for_lab;
use libtest_mimic::Arguments;

type Case = (&'static str, fn());

const CASES: &[Case] = &[
    ("exact_states_of_a_whole_16", states::exact_states_of_a_whole_16),
    ("allowlist_leaves_exactly_the_exposures", states::allowlist_leaves_exactly_the_exposures),
    ("all_allowed_is_clean", states::all_allowed_is_clean),
    ("loss_is_what_the_tries_make_of_it", states::loss_is_what_the_tries_make_of_it),
    ("connect_agrees_with_packet", states::connect_agrees_with_packet),
    ("a_starved_receiver_claims_nothing_wrong", states::a_starved_receiver_claims_nothing_wrong),
    ("rate_100", pace::rate_100),
    ("rate_10k", pace::rate_10k),
    ("rate_200k", pace::rate_200k),
    ("host_cap", pace::host_cap),
    ("interrupt", endings::interrupt),
    ("interrupt_while_asking", endings::interrupt_while_asking),
    ("terminate", endings::terminate),
    ("kill_leaves_whole_lines", endings::kill_leaves_whole_lines),
    ("cold_cache", broken::cold_cache),
    ("silent_gateway", broken::silent_gateway),
    ("interface_down", broken::interface_down),
    ("no_route", broken::no_route),
    ("shards_partition_the_scope", scope::shards_partition_the_scope),
    ("nothing_leaves_the_scope", scope::nothing_leaves_the_scope),
];

fn main() -> ExitCode {
    if let Some(ending) = watch::as_told(std::env::args().nth(1).as_deref()) {
        return ending;
    }
    let mut arguments = Arguments::from_args();
    // Rates and deadlines are measured, which two cases at a time would spoil for each other.
    arguments.test_threads = Some(1);
    let missing = missing_for_lab();
    let trial = |&(name, test): &Case| lab::trial(name, test, missing.as_deref());
    libtest_mimic::run(&arguments, CASES.iter().map(trial).collect()).exit_code()
}
