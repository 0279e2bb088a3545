//! Sweeps in bad weather. Whatever breaks, nothing that is said of a target may be wrong (guarantee G2): silence that
//! the scanner caused or could not have heard is `unknown`, the verdict says so, and so does the exit status.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Events, Ran, Target, note};
use crate::lab::{Engine, Lab, Truth};

/// Set it to the number of times that the cases of [`again_and_again`] are run.
const TIMES: &str = "PORTREEVE_TRUST_TIMES";

/// How a sweep has to end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ending {
    /// Everything is known, whatever it took.
    Complete,
    /// Something is unknown, or all of it.
    Incomplete,
    /// Either, where chance decides.
    Either,
}

/// A lab of 1536 targets. At 500 probes a second its sweep takes three seconds and more.
pub fn small() -> Lab {
    Lab::new().network("198.18.7.0/24").seed(3).timeout(Duration::from_secs(120))
}

/// Sweeps while the weather is as the script before it makes it; `$W` is the program that does.
pub fn sweep_in(engine: Engine, lab: Lab, weather: &str, options: &str) -> Ran {
    sweep_with(engine, lab, weather, &format!("$LAB_NETWORK {options}"))
}

/// The same of other targets, which are named among the options.
pub fn sweep_with(engine: Engine, lab: Lab, weather: &str, options: &str) -> Ran {
    let script = format!(
        "W=$LAB_WEATHER; {weather}\n sweep --engine {} --states all {options} --output $LAB_DIR/events; \
         status=$?; kill $(jobs -p) 2>/dev/null; exit $status",
        engine.name()
    );
    Ran::new(lab.swept_by(engine), &script)
}

/// What is said of targets and is not so. What is said to be unknown is never wrong.
pub fn lies(events: &Events, truth: &Truth) -> Vec<(Target, String)> {
    let is_lie = |&(&(ip, port), (state, reason)): &(&Target, &(String, String))| {
        state != "unknown" && truth.state(ip, port) != (state.as_str(), reason.as_str())
    };
    let lies = events.ports.iter().filter(is_lie);
    lies.map(|(&target, (state, reason))| (target, format!("{state} {reason}"))).collect()
}

/// Checks what every sweep must be, whatever has happened to it: closed books, no wrong state, and a verdict and an
/// exit status that say how much is unknown. Where something had to go wrong, it must be named: as the reason of an
/// outage that is over if the sweep is complete, and as a reason of unknown targets otherwise. Returns its events.
pub fn check(ran: &Ran, ending: Ending, trouble: &str) -> Events {
    let events = ran.events("events");
    events.check_books();
    let completed = events.completed().clone();
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    let lies = lies(&events, &ran.truth());
    for (_, said) in &lies {
        *kinds.entry(said.clone()).or_default() += 1;
    }
    assert!(lies.is_empty(), "wrong: {kinds:?}, as {:?}\n{completed}", &lies[..lies.len().min(5)]);
    let unknown = events.number("ledger", "unknown");
    let verdict = completed["verdict"].as_str().expect("a verdict");
    assert_eq!(verdict == "complete", unknown == 0, "{completed}");
    assert!(matches!(verdict, "complete" | "degraded" | "blind"), "{completed}");
    let findings = completed["findings"].as_u64().expect("a count");
    let status = if unknown > 0 { 3 } else { i32::from(findings > 0) };
    assert_eq!(ran.status(), status, "{}", ran.said());
    match ending {
        Ending::Complete => assert_eq!(unknown, 0, "{completed}"),
        Ending::Incomplete => assert!(unknown > 0, "{completed}"),
        Ending::Either => {}
    }
    note(&format!("{verdict}: {} {}", completed["ledger"], completed["unknown_reasons"]));
    if !trouble.is_empty() {
        let paths = completed["paths"].as_array().expect("paths").iter();
        let outages: Vec<_> = paths.flat_map(|path| path["outages"].as_array()).flatten().collect();
        let is_over = |outage: &Value| outage["reason"] == trouble && !outage["until_ms"].is_null();
        let is_named = match unknown {
            0 => outages.into_iter().any(is_over),
            _ => !completed["unknown_reasons"][trouble].is_null(),
        };
        assert!(is_named, "nothing is said of {trouble}: {completed}");
    }
    events
}

/// Runs a case once, or as often as the variable says.
fn again_and_again(case: impl Fn(u64)) {
    let times = std::env::var(TIMES).map_or(1, |times| times.parse().expect("a number of times"));
    for time in 0..times {
        case(time);
    }
}

/// A ring of 64 KiB and every core busy: answers are lost, are seen to be lost, and are asked for again.
pub fn starved_receiver(engine: Engine) {
    let dropped = Cell::new(0);
    again_and_again(|time| {
        let lab = Lab::new().network("198.18.16.0/20").seed(5 + time).timeout(Duration::from_secs(90));
        let ran = sweep_in(engine, lab, "$W hog &", "--rate 200k --host-rate 10k --receive-ring 65536");
        let events = check(&ran, Ending::Either, "");
        dropped.set(dropped.get() + events.number("packets", "dropped"));
    });
    note(&format!("{} answers were dropped in all", dropped.get()));
    assert!(dropped.get() > 0, "the receiver was not starved");
}

/// The link of one side goes down for three seconds, each time a little later, in the first pass: that is long enough
/// for all three tries of the targets that come after it.
fn link_down(engine: Engine, side: &str) {
    again_and_again(|time| {
        let weather = format!("$W after 0.{:02} link-down {side} 3 &", 30 + time % 40);
        check(&sweep_in(engine, small(), &weather, "--rate 2k"), Ending::Complete, "link-down");
    });
}

pub fn link_down_here(engine: Engine) {
    link_down(engine, "scan");
}

pub fn link_down_there(engine: Engine) {
    link_down(engine, "router");
}

/// The kernel has no way to anybody while the link is down, and says so at once. That is no word of the targets'.
pub fn connect_link_down_here() {
    let weather = "$W after 1 link-down scan 4 &";
    let ran = sweep_in(Engine::Connect, small(), weather, "--rate 500");
    check(&ran, Ending::Complete, "link-down");
}

/// The kernel tells of lost carrier up to a second late, so that the canaries may be the first to notice.
pub fn connect_link_down_there() {
    let weather = "$W after 1 link-down router 4 &";
    let ran = sweep_in(Engine::Connect, small(), weather, "--rate 500");
    check(&ran, Ending::Complete, "");
}

pub fn connect_address_goes() {
    let ran = sweep_in(Engine::Connect, small(), "$W after 1 address-gone &", "--rate 500");
    check(&ran, Ending::Incomplete, "source-gone");
}

pub fn connect_address_goes_and_comes_back() {
    let weather = "($W after 0.4 address-gone; $W after 3 address-back) &";
    let ran = sweep_in(Engine::Connect, small(), weather, "--rate 500");
    check(&ran, Ending::Complete, "source-gone");
}

/// The router is gone, and the kernel says of each target that nobody has it.
pub fn connect_gateway_goes() {
    let weather = "$W after 1 gateway-silent &";
    let ran = sweep_in(Engine::Connect, small(), weather, "--rate 500");
    check(&ran, Ending::Incomplete, "canaries-silent");
}

/// The router's other address has to be asked for: what went to the old one is void.
pub fn gateway_address_changes(engine: Engine) {
    let weather = "$W after 1 gateway-address 02:00:00:00:00:99 &";
    check(&sweep_in(engine, small(), weather, "--rate 500"), Ending::Complete, "next-hop-moved");
}

pub fn gateway_address_changes_and_is_announced(engine: Engine) {
    let weather = "$W after 1 gateway-address 02:00:00:00:00:99 announced &";
    check(&sweep_in(engine, small(), weather, "--rate 500"), Ending::Complete, "next-hop-moved");
}

/// The next hop is there, and that is all: nothing is known of anything behind it.
pub fn gateway_forwards_nothing(engine: Engine) {
    let events = check(
        &sweep_in(engine, small(), "$W gateway-deaf", "--rate 2k"),
        Ending::Incomplete,
        "nothing-heard",
    );
    assert_eq!(events.completed()["verdict"], "blind", "{}", events.completed());
    assert_eq!(events.number("ledger", "unknown"), 1536);
}

pub fn gateway_stops_forwarding(engine: Engine) {
    let weather = "$W after 1 gateway-deaf &";
    check(&sweep_in(engine, small(), weather, "--rate 500"), Ending::Incomplete, "canaries-silent");
}

/// A pause in the middle: what was silent in it is probed again.
pub fn gateway_stops_for_a_while(engine: Engine) {
    let weather = "($W after 0.4 gateway-deaf; $W after 3 gateway-hears) &";
    check(&sweep_in(engine, small(), weather, "--rate 2k"), Ending::Complete, "canaries-silent");
}

pub fn address_goes(engine: Engine) {
    let weather = "$W after 1 address-gone &";
    check(&sweep_in(engine, small(), weather, "--rate 500"), Ending::Incomplete, "source-gone");
}

pub fn address_goes_and_comes_back(engine: Engine) {
    let weather = "($W after 0.4 address-gone; $W after 3 address-back) &";
    check(&sweep_in(engine, small(), weather, "--rate 2k"), Ending::Complete, "source-gone");
}

/// Half of the network is silent and fills the router's table of connections, which then drops all that is new. The
/// rates say that it is no matter of speed.
pub fn connection_table_is_full(engine: Engine) {
    for rate in ["2k", "10k"] {
        let lab = Lab::new().network("198.18.16.0/21").seed(3).timeout(Duration::from_secs(120));
        let lab = lab.option("--drop", "198.18.20.0/22").option("--reject", "none");
        check(
            &sweep_in(engine, lab, "$W conntrack 1000", &format!("--rate {rate} --host-rate 10k")),
            Ending::Incomplete,
            "canaries-silent",
        );
    }
}

/// A firewall on the way has had enough in the middle of the sweep, and refuses everything from then on, as the targets
/// would or by its own name.
pub fn who_answers_for_others_is_not_believed(engine: Engine) {
    for how in ["tcp reset", "icmp type admin-prohibited"] {
        let lab = Lab::new().network("198.18.16.0/21").seed(3).open(1500).timeout(Duration::from_secs(120));
        let weather = format!("$W after 2 gateway-rejects \"{how}\" &");
        check(
            &sweep_in(engine, lab, &weather, "--rate 2k --no-verify"),
            Ending::Incomplete,
            "canaries-changed",
        );
    }
}

/// Answers that come in by another door are answers, if they are heard at all.
pub fn answers_by_another_interface(engine: Engine) {
    check(&sweep_in(engine, small(), "$W return-by-second", "--rate 2k"), Ending::Complete, "");
}

/// The kernel's own rules decide the way, or the sweep is refused before it begins.
pub fn policy_route(engine: Engine) {
    let ran = sweep_in(engine, small(), "$W policy-route", "--rate 2k");
    if ran.status() == 2 {
        assert!(ran.complaint().contains("198.18.7.0"), "{}", ran.said());
        return;
    }
    check(&ran, Ending::Complete, "");
}

/// Two devices answer for sixteen hosts. Wherever one of them listens, both answers are seen, and that is a conflict;
/// where both refuse, they agree.
pub fn two_answers(engine: Engine) {
    let lab = small().open(150);
    let ran = sweep_in(engine, lab, "$W twin 198.18.7.64/26", "--rate 2k");
    let (events, truth) = (ran.events("events"), ran.truth());
    let twins = IpAddr::from([198, 18, 7, 64])..IpAddr::from([198, 18, 7, 128]);
    let is_contested = |(ip, port): Target| twins.contains(&ip) && truth.state(ip, port).0 == "open";
    let contested = truth.opens().filter(|&target| is_contested(target)).count();
    assert!(contested > 20, "only {contested} are contested");
    for (&(ip, port), (state, reason)) in &events.ports {
        let expected =
            if is_contested((ip, port)) { ("conflict", "contradiction") } else { truth.state(ip, port) };
        assert_eq!((state.as_str(), reason.as_str()), expected, "{ip}:{port}\n{}", events.completed());
    }
    assert_eq!(events.number("ledger", "conflict"), contested as u64);
}

/// A host that refuses 200 times a second at most, and all of its ports.
fn resets_limited(engine: Engine, ports: &str, count: u64, options: &str) {
    let lab = Lab::new().network("198.18.7.16/32").open(0).timeout(Duration::from_secs(580));
    let lab = lab.option("--ports", "1").option("--drop", "none").option("--reject", "none");
    let ran = sweep_in(engine, lab, "$W rst-limit 200", &format!("--ports {ports} {options}"));
    let events = check(&ran, Ending::Complete, "");
    assert_eq!(events.number("ledger", "closed"), count, "{}", events.completed());
}

pub fn resets_are_limited(engine: Engine) {
    resets_limited(engine, "1-4000", 4000, "--host-rate 1000");
}

pub fn resets_are_limited_on_all_ports(engine: Engine) {
    resets_limited(engine, "all", 65_535, "");
}

/// The table of assurance: with loss in each direction a try fails with probability 1 - (1 - p)^2, and a target is
/// missed when all its tries do. Returned is the number that is exceeded once in three million runs.
fn most_missed(targets: f64, loss: f64, tries: i32) -> f64 {
    let share = (1.0 - (1.0 - loss).powi(2)).powi(tries);
    let mean = targets * share;
    mean + 5.0 * (mean * (1.0 - share)).sqrt() + 5.0
}

fn random_loss(engine: Engine, percent: f64) {
    let tries = 4;
    let lab = Lab::new().network("198.18.16.0/20").seed(5).loss(percent, percent);
    let ran =
        sweep_in(engine, lab.timeout(Duration::from_secs(120)), ":", &format!("--rate 20k --tries {tries}"));
    let (events, truth) = (ran.events("events"), ran.truth());
    events.check_books();
    let lies = lies(&events, &truth);
    assert!(lies.iter().all(|(_, said)| said == "filtered no-response"), "{lies:?}");
    let answering = 24_576.0 - 1536.0;
    let most = most_missed(answering, percent / 100.0, tries);
    note(&format!("{percent} % each way: {} of {answering} missed, {most:.0} at most", lies.len()));
    assert!(lies.len() as f64 <= most, "{} are missed, {most} at most", lies.len());
}

pub fn random_loss_of_1_percent(engine: Engine) {
    random_loss(engine, 1.0);
}

pub fn random_loss_of_2_percent(engine: Engine) {
    random_loss(engine, 2.0);
}

pub fn random_loss_of_5_percent(engine: Engine) {
    random_loss(engine, 5.0);
}

pub fn random_loss_of_10_percent(engine: Engine) {
    random_loss(engine, 10.0);
}

/// Tries are at least a second apart, and bursts of 200 ms in every second hit each with a fifth of probability; they
/// beat with the tries, so that a generous bound is all that can be said: one target in fifty.
pub fn bursts_of_loss(engine: Engine) {
    let ran = sweep_in(engine, small(), "$W bursts 200 & sleep 0.3", "--rate 500 --tries 5");
    let (events, truth) = (ran.events("events"), ran.truth());
    events.check_books();
    let lies = lies(&events, &truth);
    assert!(lies.iter().all(|(_, said)| said == "filtered no-response"), "{lies:?}");
    note(&format!("bursts: {} of 1536 missed, {}", lies.len(), events.completed()["ledger"]));
    assert!(lies.len() <= 30, "{} are missed\n{}", lies.len(), events.completed());
}
