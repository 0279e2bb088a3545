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
];

/// The servers flood whoever calls, and what that takes is measured, which another case at a time would spoil.
const ALONE: &[Case] = &[("hostile_banners_do_no_harm", hostile::hostile_banners_do_no_harm)];

/// These need a kernel that can play a SYN proxy for us.
const PROXY_CASES: &[Case] = &[
    ("what_was_not_listened_to_is_said", devices::what_was_not_listened_to_is_said),
    ("a_syn_proxy_is_one_finding", devices::a_syn_proxy_is_one_finding),
    ("a_syn_proxy_is_one_finding_by_connect_too", devices::a_syn_proxy_is_one_finding_by_connect_too),
];

fn main() -> ExitCode {
    if let Some(ending) = servers::as_told(std::env::args().nth(1).as_deref()) {
        return ending;
    }
    let missing = missing_for_lab();
    let no_proxy = if missing.is_none() { devices::missing_for_proxy() } else { missing.clone() };
    let of = |cases: &[Case], missing: Option<&str>| -> Vec<_> {
        cases.iter().map(|&(name, test)| lab::trial(name, test, missing)).collect()
    };
    // The longest of all first.
    let mut together = of(PROXY_CASES, no_proxy.as_deref());
    together.extend(of(CASES, missing.as_deref()));
    let alone = of(ALONE, missing.as_deref());
    lab::run(Arguments::from_args(), [(lab::MANY, together), (lab::ALONE, alone)])
}
