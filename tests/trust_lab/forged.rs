//! Forged answers on a real wire: somebody on the way sees every probe and throws back frames that are nearly right,
//! and somebody else says again what the answers to the sweep before were. No state may be wrong, and nothing may be
//! found that is not there.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::harness::{Events, Ran, Target, note};
use crate::lab::{Engine, Lab, Truth};

/// Set it to the number of forged frames that a run must have stood, at least.
const FORGED: &str = "PORTREEVE_FORGED";

/// What a quick run stands.
const QUICK: u64 = 50_000;

/// Starts the forger in the router, and ends it by its standard input, so that it says what it has done.
const FORGER: &str = "start() { mkfifo $LAB_DIR/hold-$1; \
     ip netns exec router \"$FORGER\" $2 to-scan ${@:3} <$LAB_DIR/hold-$1 >$LAB_DIR/$1 & forger=$!; \
     exec 9>$LAB_DIR/hold-$1; until grep -q ready $LAB_DIR/$1; do sleep 0.02; done; }; \
     stop() { exec 9>&-; wait $forger || exit 99; }; \
     look() { sweep $LAB_NETWORK --engine $ENGINE --states all --output $LAB_DIR/events-$1 ${@:2}; \
     echo $? >$LAB_DIR/status-$1; }; ";

fn forger() -> PathBuf {
    let this = std::env::current_exe().expect("this program has a path");
    let target = this.parent().and_then(Path::parent).expect("a target directory");
    let forger = target.join("examples/lab-forger");
    assert!(forger.is_file(), "no {}; build it with: cargo build --example lab-forger", forger.display());
    forger
}

/// Runs a script that knows the words above.
fn with_forger(engine: Engine, lab: Lab, script: &str) -> Ran {
    let lab = lab.swept_by(engine).env("FORGER", &forger().to_string_lossy());
    let lab = lab.env("ENGINE", engine.name());
    let ran = Ran::new(lab, &format!("{FORGER}{script}"));
    assert_eq!(ran.status(), 0, "{}", ran.said());
    ran
}

/// A number that follows this word in what the forger said.
fn said(text: &str, word: &str) -> u64 {
    let mut words = text.split_whitespace().skip_while(|said| *said != word);
    let number = words.nth(1).and_then(|number| number.parse().ok());
    number.unwrap_or_else(|| panic!("no {word} in: {text}"))
}

/// A sweep that saw everything as it is: each state exact, each open target found and nothing else, and the exit status
/// of findings.
fn check_exact(ran: &Ran, name: &str, truth: &Truth) -> Events {
    let events = ran.events(&format!("events-{name}"));
    events.check_books();
    let (wrong, which) = events.wrong(truth);
    assert_eq!(wrong, 0, "{name}: {which}\n{}", events.completed());
    assert_eq!(events.completed()["verdict"], "complete", "{name}: {}", events.completed());
    let opens: Vec<Target> = truth.opens().collect();
    assert!(!opens.is_empty());
    assert_eq!(events.found("exposure"), opens, "{name}");
    assert_eq!(events.findings.len(), opens.len(), "{name}: {:?}", events.findings);
    assert_eq!(ran.file(&format!("status-{name}")).trim(), "1", "{name}: {}", ran.said());
    events
}

/// Three sweeps: one left alone, and two under forgeries, of which the second also meets the numbers of the first.
pub fn forged_answers_change_nothing(engine: Engine) {
    let wanted = std::env::var(FORGED).map_or(QUICK, |frames| frames.parse().expect("a number of frames"));
    // Each probe is worth some two hundred frames in two rounds.
    let (network, rate) = if wanted <= 2 * QUICK { ("198.18.7.0/26", 200) } else { ("198.18.4.0/22", 400) };
    let lab = Lab::new().network(network).seed(3).timeout(Duration::from_secs(240));
    let script = format!(
        "look alone --rate {rate}; \
         for n in 1 2; do start forged-$n forge 16384 32767 2 $LAB_DIR/tokens; look $n --rate {rate}; stop; done"
    );
    let ran = with_forger(engine, lab, &script);
    let truth = ran.truth();
    let alone = check_exact(&ran, "alone", &truth);
    let mut thrown = 0;
    for name in ["1", "2"] {
        let forged = ran.file(&format!("forged-{name}"));
        let (near, blind) = (said(&forged, "near"), said(&forged, "blind"));
        let events = check_exact(&ran, name, &truth);
        let packets = &events.completed()["packets"];
        note(&format!("{} and {packets}", forged.replace('\n', " ")));
        assert!(near > 0 && near.abs_diff(blind) <= near / 10, "{forged}");
        assert_eq!(events.number("ledger", "declared"), alone.number("ledger", "declared"));
        // A third of the near misses are no answers at all, and the kernel's filter keeps those away.
        let heard = events.number("packets", "foreign") + events.number("packets", "dropped");
        assert!(heard > (near + blind) / 2, "{heard} of {near} and {blind} were heard: {packets}");
        thrown += near + blind;
    }
    assert!(thrown >= wanted, "only {thrown} frames were thrown, {wanted} were asked for");
}

/// Every answer to one sweep is said again, twenty times, while the next one of the same scope runs; and before that,
/// when the first has ended and cannot hear it any more.
pub fn replayed_answers_change_nothing(engine: Engine) {
    let lab = Lab::new().network("198.18.7.0/24").seed(3).timeout(Duration::from_secs(120));
    let script = "start recorded record $LAB_DIR/answers; look first --rate 1000; stop; \
                  cksum <$LAB_DIR/events-first >$LAB_DIR/sum; \
                  start late replay $LAB_DIR/answers 3; stop; \
                  cksum <$LAB_DIR/events-first | cmp - $LAB_DIR/sum || exit 98; \
                  start replayed replay $LAB_DIR/answers 20; look second --rate 400; stop";
    let ran = with_forger(engine, lab, script);
    let truth = ran.truth();
    check_exact(&ran, "first", &truth);
    let recorded = said(&ran.file("recorded"), "recorded");
    assert!(recorded > 1400, "only {recorded} answers were recorded");
    assert_eq!(said(&ran.file("late"), "replayed"), 3 * recorded);
    let replayed = said(&ran.file("replayed"), "replayed");
    assert_eq!(replayed, 20 * recorded);
    let events = check_exact(&ran, "second", &truth);
    let heard = events.number("packets", "foreign") + events.number("packets", "dropped");
    note(&format!("{recorded} answers, replayed {replayed} times in all: {}", events.completed()["packets"]));
    assert!(heard > replayed * 9 / 10, "{heard} of {replayed} were heard");
}
