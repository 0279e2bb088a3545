//! Sweeps that do not run to their end.

use crate::harness::{Events, Ran, note};
use crate::lab::Lab;

/// Sends a signal a second into a sweep that would take minutes, and returns when all is said.
///
/// `timeout` must not signal its group as well: a second Ctrl-C means to stop at once.
fn stopped_by(signal: &str) {
    let script = format!(
        "begin=$(date +%s%N); timeout --foreground --preserve-status -s {signal} 1 \"$PORTREEVE\" sweep \
         --authorization lab --format jsonl $LAB_NETWORK --engine packet --states all --rate 1000 \
         >$LAB_DIR/events; status=$?; echo $((($(date +%s%N) - begin) / 1000000)) >$LAB_DIR/took; exit $status"
    );
    let ran = Ran::new(Lab::new(), &script);
    assert_eq!(ran.status(), 3, "{}", ran.said());
    let took: u64 = ran.file("took").trim().parse().expect("milliseconds");
    assert!((1000..2000).contains(&took), "{took} ms, of which the first second is before the signal");
    let events = ran.events("events");
    assert_eq!(events.completed()["verdict"], "degraded", "{}", events.completed());
    let interrupted = events.number("unknown_reasons", "interrupted");
    assert_eq!(interrupted, events.number("ledger", "unknown"));
    assert!((391_000..393_000).contains(&interrupted), "{}", events.completed());
    events.check_books();
    assert_eq!(events.wrong(&ran.truth()), (0, String::new()));
    let silent = events.ports.values().filter(|(_, reason)| reason == "no-response").count();
    assert_eq!(silent, 0, "silence proves nothing in a sweep that was cut short");
    note(&format!("{signal}: all was said {} ms after the signal", took - 1000));
}

pub fn interrupt() {
    stopped_by("INT");
}

pub fn terminate() {
    stopped_by("TERM");
}

/// A local network so large that to ask for its hosts takes longer than anybody waits. The terminal says what it is
/// about, and the end says that no port was probed.
pub fn interrupt_while_asking() {
    let script = "ip link add far0 type veth peer name far1 && ip address add 198.19.0.1/16 dev far0 && \
                  ip link set far1 up && ip link set far0 up || exit 9; sleep 0.5; \
                  TERM=xterm script -qec \"timeout --foreground --preserve-status -s INT 3 '$PORTREEVE' sweep \
                  --authorization lab \
                  198.19.0.0/16 --engine packet --format jsonl\" $LAB_DIR/said >/dev/null";
    let ran = Ran::new(Lab::new(), script);
    assert_eq!(ran.status(), 3, "{}", ran.said());
    let said = ran.file("said");
    assert!(said.contains("asking who is there on far0: "), "{said}");
    let end = "interrupted while asking who is there on far0; no port was probed";
    assert!(said.contains(end), "{said}");
    assert!(!said.contains("before anything was sent"), "{said}");
}

/// Seconds until the kill, and the rate of the sweep.
const KILLS: [(&str, &str); 6] =
    [("0.05", "20k"), ("0.1", "20k"), ("0.3", "20k"), ("0.57", "20k"), ("0.83", "100"), ("1.21", "20k")];

/// Killed at six moments, from before the first answer to long after: what is there can be read.
pub fn kill_leaves_whole_lines() {
    let kill = |(after, rate)| {
        format!(
            "timeout --foreground -s KILL {after} \"$PORTREEVE\" sweep --authorization lab --format jsonl \
             $LAB_NETWORK --engine packet --states all --rate {rate} >$LAB_DIR/killed-{after}; "
        )
    };
    let ran = Ran::new(Lab::new(), &(KILLS.map(kill).concat() + "true"));
    for (after, rate) in KILLS {
        let text = ran.file(&format!("killed-{after}"));
        assert!(text.is_empty() || text.ends_with('\n'), "half a line after {after} s");
        let events = Events::parse(&text);
        assert!(events.completed.is_none(), "the sweep was over after {after} s");
        assert!(after == "0.05" || !text.is_empty(), "no sweep.started after {after} s");
        let listed = events.ports.len();
        // Answers are written while the sweep runs: many at once, or few and nothing that would fill a buffer.
        let least = match (after, rate) {
            ("1.21", _) => 1000,
            (_, "100") => 20,
            _ => 0,
        };
        assert!(listed >= least, "{listed} answers written after {after} s at a rate of {rate}");
    }
}
