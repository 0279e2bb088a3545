//! The second look against real kernels: handshakes that are confirmed or refused, devices that accept everything, and
//! servers that say what no terminal should be told.

#[path = "../lab/mod.rs"]
mod lab;

mod devices;
mod harness;
mod hostile;
mod servers;

use std::process::ExitCode;

use lab::missing_for_lab;
use libtest_mimic::Arguments;

type Case = (&'static str, fn());

const CASES: &[Case] = &[
    ("open_ports_are_verified", devices::open_ports_are_verified),
    ("a_refused_handshake_is_no_alert_on_one_packet", devices::a_refused_handshake_is_no_alert_on_one_packet),
    ("without_verifying_nothing_else_is_probed", devices::without_verifying_nothing_else_is_probed),
    ("hostile_banners_do_no_harm", hostile::hostile_banners_do_no_harm),
];

/// These need a kernel that can play a SYN proxy for us.
const PROXY_CASES: &[Case] = &[
    ("a_syn_proxy_is_one_finding", devices::a_syn_proxy_is_one_finding),
    ("a_syn_proxy_is_one_finding_by_connect_too", devices::a_syn_proxy_is_one_finding_by_connect_too),
    ("what_was_not_listened_to_is_said", devices::what_was_not_listened_to_is_said),
];

fn main() -> ExitCode {
    if let Some(ending) = servers::as_told(std::env::args().nth(1).as_deref()) {
        return ending;
    }
    let mut arguments = Arguments::from_args();
    // Time is measured, which two cases at a time would spoil for each other.
    arguments.test_threads = Some(1);
    let missing = missing_for_lab();
    let no_proxy = if missing.is_none() { devices::missing_for_proxy() } else { missing.clone() };
    let trial = |&(name, test): &Case| lab::trial(name, test, missing.as_deref());
    let proxy_trial = |&(name, test): &Case| lab::trial(name, test, no_proxy.as_deref());
    let trials = CASES.iter().map(trial).chain(PROXY_CASES.iter().map(proxy_trial));
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}
