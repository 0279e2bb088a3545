//! The rate that finds itself, on a way that carries so much and no more.

use std::time::Duration;

use crate::harness::{Ran, note};
use crate::lab::{Engine, Lab};

/// Set it to what the way carries, in packets a second: 100000 takes a release build and a core for each side.
const CARRIES: &str = "PORTREEVE_TRUST_PPS";

/// What asks for the rate that finds itself; any limit of it must be far above what the way carries.
const AUTO: &str = "--rate auto --rate-max 1M --host-rate none --network-rate none";

/// From here on, nothing is counted as search any more.
const SETTLED: Duration = Duration::from_secs(5);

/// A look at the router: when, frames that had arrived from the scanner, and probes that the policer had dropped.
#[derive(Clone, Copy, Debug)]
struct Look {
    seconds: f64,
    arrived: f64,
    policed: f64,
}

fn look(line: &str) -> Option<Look> {
    let numbers: Vec<f64> = line.split(' ').map(str::parse).collect::<Result<_, _>>().ok()?;
    let [nanos, arrived, policed] = numbers[..] else { return None };
    Some(Look { seconds: nanos / 1e9, arrived, policed })
}

/// Sweeps these ports of a /16 behind a policer, or more where much is carried; returns what was carried a second after
/// the first seconds, and the share that was lost.
fn settled(engine: Engine, carries: u32, ports: &str, options: &str) -> (f64, f64) {
    let (network, ports) =
        if carries > 50_000 { ("198.18.0.0/15", "1-12") } else { ("198.18.0.0/16", ports) };
    let script = format!(
        "\"$LAB_WEATHER\" policer {carries} 1000; \
         ip netns exec router bash -c 'while :; do echo $(date +%s%N) \
         $(cat /sys/class/net/to-scan/statistics/rx_packets) \
         $(nft list counter ip policer policed | sed -n \"s/.*packets \\([0-9]*\\).*/\\1/p\"); sleep 0.1; done' \
         >$LAB_DIR/looks & looks=$!; \
         sweep $LAB_NETWORK --ports {ports} --engine {} {options} --tries 2 --output $LAB_DIR/events; \
         status=$?; kill $looks; exit $status",
        engine.name()
    );
    let lab = Lab::new().network(network).open(10).option("--drop", "none").option("--reject", "none");
    let ran = Ran::new(lab.swept_by(engine).timeout(Duration::from_secs(200)), &script);
    let text = ran.file("looks");
    let looks: Vec<Look> = text.lines().filter_map(look).collect();
    let targets = ran.events("events").number("ledger", "declared") as f64;
    let (base, begin) = looks
        .windows(2)
        .find(|pair| pair[1].arrived > pair[0].arrived + 5.0)
        .map(|pair| (pair[0].arrived, pair[0].seconds))
        .unwrap_or_else(|| panic!("nothing was sent\n{}", ran.said()));
    let is_steady =
        |look: &&Look| look.seconds > begin + SETTLED.as_secs_f64() && look.arrived - base < targets * 0.9;
    let steady: Vec<Look> = looks.iter().filter(is_steady).copied().collect();
    let ([first, .., last], true) = (&steady[..], steady.len() > 5) else {
        panic!("the sweep was over before its rate had settled\n{}", ran.said());
    };
    let (arrived, lost) = (last.arrived - first.arrived, last.policed - first.policed);
    ((arrived - lost) / (last.seconds - first.seconds), lost / arrived)
}

/// At least four fifths of what the best fixed rate carries, and at most one probe in fifty lost.
pub fn auto_rate_finds_what_the_way_carries(engine: Engine) {
    let carries = std::env::var(CARRIES).map_or(20_000, |pps| pps.parse().expect("packets a second"));
    let (carried, lost) = settled(engine, carries, "1-6", AUTO);
    note(&format!("auto: {carried:.0} of {carries} a second, {:.2} % lost", lost * 100.0));
    assert!(carried >= 0.8 * f64::from(carries), "{carried:.0} of {carries} a second");
    assert!(lost <= 0.02, "{:.2} % of the probes are lost", lost * 100.0);
}

/// The policer tested by itself: a little below its rate it drops nothing, above it exactly what is too much.
pub fn the_policer_carries_what_it_should(engine: Engine) {
    let (carried, lost) = settled(engine, 20_000, "1-4", "--rate 19k --host-rate 10k");
    note(&format!("19k below 20k: {carried:.0} a second, {:.3} % lost", lost * 100.0));
    assert!(lost < 0.001 && (18_000.0..19_500.0).contains(&carried), "{carried:.0} a second, {lost} lost");
    let (carried, lost) = settled(engine, 20_000, "1-4", "--rate 25k --host-rate 10k");
    note(&format!("25k above 20k: {carried:.0} a second, {:.2} % lost", lost * 100.0));
    assert!((0.15..0.22).contains(&lost), "{lost} of the probes are lost");
    assert!((19_000.0..21_000.0).contains(&carried), "{carried:.0} a second");
}
