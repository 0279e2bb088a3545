//! What is said of each target, compared with the truth.

use std::fmt::Write as _;
use std::time::Duration;

use crate::harness::{Events, Ran, Target, note};
use crate::lab::{Engine, Lab};

/// A /24 x 6 with everything in it: open, closed, dropped and rejected.
fn small() -> Lab {
    Lab::new().network("198.18.7.0/24").seed(3)
}

/// The scale of the product's promise. It is run once here; that it is so every time is for a bench to show.
fn exact_states_of_a_whole_16_by(engine: Engine) {
    let name = engine.name();
    let script =
        format!("sweep $LAB_NETWORK --engine {name} --states all --rate 150k --output $LAB_DIR/events");
    let ran = Ran::new(Lab::new().swept_by(engine).timeout(Duration::from_secs(90)), &script);
    let events = ran.events("events");
    assert_eq!(ran.status(), 1, "{}\n{}", ran.said(), events.completed());
    assert_eq!(events.completed()["verdict"], "complete", "{}", events.completed());
    assert_eq!(events.ports.len(), 393_216);
    let (wrong, which) = events.wrong(&ran.truth());
    assert_eq!(wrong, 0, "{}\n{which}", events.completed());
    events.check_books();
    assert_eq!(events.number("ledger", "open"), 3000);
    assert_eq!(events.found("exposure"), ran.truth().opens().collect::<Vec<_>>());
}

pub fn exact_states_of_a_whole_16() {
    exact_states_of_a_whole_16_by(Engine::Packet);
}

pub fn xdp_exact_states_of_a_whole_16() {
    exact_states_of_a_whole_16_by(Engine::Xdp);
}

/// The text of an allowance.
fn allowance((ip, port): Target, expires: &str) -> String {
    format!(
        "[[allow]]\nhosts = [\"{ip}\"]\nports = [{port}]\nreason = \"test\"\nowner = \"lab\"\nexpires = {expires}\n"
    )
}

/// The open targets of a lab, which the seed decides alone.
fn opens_of(lab: Lab) -> Vec<Target> {
    Ran::new(lab, "true").truth().opens().collect()
}

/// Sweeps with an allowlist.
fn sweep_with(allowlist: &str) -> (Ran, Events) {
    let lab = small().env("ALLOWLIST", allowlist);
    let script = "printf %s \"$ALLOWLIST\" >$LAB_DIR/allow.toml; \
                  sweep $LAB_NETWORK --engine packet --allowlist $LAB_DIR/allow.toml --output $LAB_DIR/events";
    let ran = Ran::new(lab, script);
    let events = ran.events("events");
    (ran, events)
}

/// Half of the open targets allowed, one of those by an allowance that has ended, and an allowance for nothing.
pub fn allowlist_leaves_exactly_the_exposures() {
    let opens = opens_of(small());
    let (allowed, rest): (Vec<_>, Vec<_>) = opens.iter().enumerate().partition(|(n, _)| n % 2 == 0);
    let expired = *allowed[3].1;
    // Nothing listens where the router drops.
    let idle: Target = ([198, 18, 7, 20].into(), 22);
    let mut text = allowance(idle, "2099-12-31");
    for &(_, &target) in &allowed {
        let expires = if target == expired { "2020-01-31" } else { "2099-12-31" };
        let _ = write!(text, "{}", allowance(target, expires));
    }
    let (ran, events) = sweep_with(&text);
    assert_eq!(ran.status(), 1, "{}", ran.said());
    let mut exposures: Vec<Target> = rest.into_iter().map(|(_, &target)| target).chain([expired]).collect();
    exposures.sort_unstable();
    assert_eq!(events.found("exposure"), exposures);
    for finding in events.findings.iter().filter(|finding| finding["kind"] == "exposure") {
        let is_expired = finding["ip"] == expired.0.to_string() && finding["port"] == expired.1;
        let rule = if is_expired { "allowance-expired" } else { "default-closed" };
        assert_eq!(finding["rule"], rule, "{finding}");
        let message = finding["message"].as_str().expect("a message");
        assert_eq!(message.contains("expired"), is_expired, "{finding}");
    }
    let unused: Vec<_> = events.findings.iter().filter(|f| f["kind"] == "allowance-unused").collect();
    assert_eq!(unused.len(), 1, "{unused:?}");
    assert!(unused[0].to_string().contains("198.18.7.20"), "{unused:?}");
    assert_eq!(events.completed()["findings"], exposures.len() + 1);
}

/// With every open target allowed there is nothing to find.
pub fn all_allowed_is_clean() {
    let text: String = opens_of(small()).into_iter().map(|open| allowance(open, "2099-12-31")).collect();
    let (ran, events) = sweep_with(&text);
    assert_eq!(ran.status(), 0, "{}", ran.said());
    assert!(events.findings.is_empty(), "{:?}", events.findings);
    assert_eq!(events.ports.len(), 20, "the open targets are listed all the same");
}

/// How many of these targets five tries may miss at 5 % loss each way: exceeded by chance as rarely as five standard
/// deviations of a normal distribution are. The mean is far below one, where only the Poisson distribution itself says
/// so.
fn most_missed(targets: f64) -> usize {
    const FIVE_SIGMA: f64 = 2.87e-7;
    let mean = targets * (1.0 - 0.95_f64.powi(2)).powi(5);
    let (mut most, mut term) = (0, (-mean).exp());
    let mut beyond = 1.0 - term;
    while beyond > FIVE_SIGMA {
        most += 1;
        term *= mean / most as f64;
        beyond -= term;
    }
    most
}

/// With 5 % loss each way a try fails with probability 1 - 0.95^2, and a target is missed when all five do.
pub fn loss_is_what_the_tries_make_of_it() {
    let script =
        "sweep $LAB_NETWORK --engine packet --states all --rate 20k --tries 5 --output $LAB_DIR/events";
    let ran = Ran::new(Lab::new().network("198.18.16.0/20").seed(5).loss(5.0, 5.0), script);
    let (events, truth) = (ran.events("events"), ran.truth());
    assert_eq!(ran.status(), 1, "{}", ran.said());
    events.check_books();
    assert_eq!(events.ports.len(), 24_576);
    let silent = events.ports.keys().filter(|&&(ip, port)| truth.state(ip, port).1 == "no-response").count();
    let answering = (events.ports.len() - silent) as f64;
    assert_eq!(silent, 1536, "one sixteenth is dropped");
    let (wrong, which) = events.wrong(&truth);
    assert!(wrong <= most_missed(answering), "{wrong} of {answering} are wrong\n{which}");
    let opens = truth.opens().count();
    let missed = truth.opens().filter(|open| events.ports[open].0 != "open").count();
    assert!(missed <= most_missed(opens as f64), "{missed} of {opens} are missed");
    // Whatever is wrong is silence, and nothing else.
    let heard_wrong = events.ports.iter().filter(|((ip, port), (state, reason))| {
        reason != "no-response" && truth.state(*ip, *port) != (state.as_str(), reason.as_str())
    });
    assert_eq!(heard_wrong.count(), 0, "{which}");
    let probes = (events.number("packets", "sent") as f64 - 5.0 * silent as f64) / answering;
    note(&format!("5 % loss: {probes:.4} probes for each answering target, {wrong} of them missed"));
    assert!((1.0..1.35).contains(&probes), "{probes} probes for each answering target");
    assert!(probes > 1.05, "{probes}: the lab loses nothing");
}

/// The engine without privileges says the same of the same network, with no more files than a small machine has.
pub fn connect_agrees_with_packet() {
    let script = "ulimit -n 20000; \
                  sweep $LAB_NETWORK --engine packet --states all --output $LAB_DIR/packet; \
                  exec setpriv --bounding-set=-all --inh-caps=-all --ambient-caps=-all --no-new-privs \
                  bash -c 'grep -q ^CapEff:.0000000000000000$ /proc/self/status || exit 9; \
                  \"$PORTREEVE\" sweep --authorization lab --format jsonl $LAB_NETWORK --states all \
                  --output $LAB_DIR/connect'";
    let ran = Ran::new(small(), script);
    assert_eq!(ran.status(), 1, "{}", ran.said());
    let (packet, connect) = (ran.events("packet"), ran.events("connect"));
    connect.check_books();
    assert_eq!(connect.completed()["vantage"]["engine"], "connect", "{}", connect.completed());
    assert_eq!(packet.completed()["vantage"]["engine"], "packet", "{}", packet.completed());
    assert_eq!(connect.ports.len(), 1536);
    let differing: Vec<_> = packet
        .ports
        .iter()
        .filter(|(target, said)| connect.ports.get(target) != Some(said))
        .take(10)
        .collect();
    assert!(differing.is_empty(), "{differing:?}");
    assert_eq!(connect.wrong(&ran.truth()), (0, String::new()));
}

/// A receive ring of two pages, and a busy loop on every core. Frames are lost for certain; what must not happen is
/// that a target whose answer was lost is called filtered.
pub fn a_starved_receiver_claims_nothing_wrong() {
    let script = "for core in $(seq $(nproc)); do for n in 1 2; do while :; do :; done & done; done; \
                  sweep $LAB_NETWORK --engine packet --states all --rate 200k --host-rate 10k --receive-ring 8192 \
                  --output $LAB_DIR/events; status=$?; kill $(jobs -p); exit $status";
    let lab = Lab::new().network("198.18.16.0/20").seed(5);
    let ran = Ran::new(lab.timeout(Duration::from_secs(60)), script);
    let events = ran.events("events");
    events.check_books();
    assert_eq!(events.ports.len(), 24_576);
    assert!(events.number("packets", "dropped") > 0, "nothing was dropped: {}", events.completed());
    note(&format!("starved: {}", events.completed()));
    let truth = ran.truth();
    let wrong = events.ports.iter().filter(|((ip, port), (state, reason))| {
        state != "unknown" && truth.state(*ip, *port) != (state.as_str(), reason.as_str())
    });
    assert_eq!(wrong.count(), 0, "{}\n{:?}", events.completed(), events.wrong(&truth));
    let is_complete = events.completed()["verdict"] == "complete";
    assert_eq!(is_complete, events.number("ledger", "unknown") == 0, "{}", events.completed());
    assert_eq!(ran.status(), if is_complete { 1 } else { 3 }, "{}", ran.said());
}
