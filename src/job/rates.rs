//! With which caps and how many senders a sweep goes. How fast it goes over all is [`Settings::pace`].

use std::num::{NonZeroU32, NonZeroUsize};

use super::settle::Settled;
use crate::config::options::Cap;
use crate::config::settings::Settings;
use crate::link::route::HopKind;
use crate::sweep::plan::defaults;

/// What one sender can do everywhere.
const ONE_SENDER_PPS: u32 = 150_000;

/// Probes a second at one host.
pub fn host_rate(settings: &Settings, settled: &Settled) -> Option<NonZeroU32> {
    cap(settings.host_rate, settled, defaults::HOST_RATE_PPS)
}

/// Probes a second at one network.
pub fn network_rate(settings: &Settings, settled: &Settled) -> Option<NonZeroU32> {
    cap(settings.network_rate, settled, defaults::NETWORK_RATE_PPS)
}

/// How many senders. One is enough for slow sweeps; fast ones are bound by the kernel's path for each packet, which
/// every core has. Never more senders than packets a second, whichever limit that is.
pub fn senders(asked_for: Option<u8>, ceiling: NonZeroU32, caps: [Option<NonZeroU32>; 2]) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let wanted = match asked_for {
        Some(senders) => usize::from(senders),
        None if ceiling.get() > ONE_SENDER_PPS => cores.min(4),
        None => 1,
    };
    let slowest = caps.into_iter().flatten().fold(ceiling, NonZeroU32::min);
    wanted.min(slowest.get() as usize)
}

/// This host's own addresses need no protection from this host, unless it was asked for.
fn cap(asked_for: Option<Cap>, settled: &Settled, usual: u32) -> Option<NonZeroU32> {
    let all_local = settled.routes.hops().iter().all(|hop| hop.kind == HopKind::Local);
    match asked_for {
        Some(cap) => cap.pps(),
        None if all_local => None,
        None => NonZeroU32::new(usual),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_never_more_senders_than_packets_a_second() {
        let pps = |pps| NonZeroU32::new(pps);
        let ceiling = |rate| NonZeroU32::new(rate).expect("a rate");
        assert_eq!(senders(None, ceiling(150_000), [None, None]), 1);
        assert_eq!(senders(Some(16), ceiling(150_000), [None, None]), 16);
        assert_eq!(senders(Some(16), ceiling(3), [pps(200), pps(5000)]), 3);
        assert_eq!(senders(Some(16), ceiling(1000), [pps(5), None]), 5);
        assert_eq!(senders(Some(16), ceiling(1000), [None, pps(2)]), 2);
    }
}
