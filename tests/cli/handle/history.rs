//! `portreeve history`.

use serde_json::json;

use super::{Bench, EXPOSURE, HOSTILE, OUTAGE, field};

/// A bench on which an exposure has come, been taken on and gone, beside an outage that came earlier.
fn bench() -> Bench {
    let bench = Bench::new();
    let hour = 3600;
    let acknowledged = json!({"who": "kim", "note": format!("on it{HOSTILE}"), "at": bench.at(-hour)});
    bench.say(1, -10 * 24 * hour, json!({"fingerprint": OUTAGE, "kind": "outage", "ip": "198.18.0.20"}));
    bench.say(2, -3 * hour, json!({"muted": format!("silence 1 by lee: {HOSTILE}")}));
    bench.say(3, -2 * hour, json!({"transition": "acknowledged", "acknowledged": acknowledged}));
    bench.say(4, -hour, json!({"transition": "resolved", "state": "resolved", "resolution": "seen"}));
    bench
}

#[test]
fn what_was_said_is_told_in_order_of_time() {
    let bench = bench();
    let answer = bench.run(&["history"]);
    assert_eq!((answer.status, answer.stderr.as_str()), (Some(0), ""));
    insta::assert_snapshot!(bench.at_noon(&answer.stdout));
}

#[test]
fn only_what_is_asked_for_is_told() {
    let bench = bench();
    let from = bench.at(-2 * 3600).to_string();
    for (line, transitions) in [
        (&["history"][..], &["firing", "acknowledged", "resolved"][..]),
        (&["history", "--since", "30d"], &["firing", "firing", "acknowledged", "resolved"]),
        (&["history", "--since", "150m"], &["acknowledged", "resolved"]),
        (&["history", "--since", &from], &["acknowledged", "resolved"]),
        (&["history", "--until", &from], &["firing"]),
        (&["history", "--since", "30d", "--until", "5h"], &["firing"]),
        (&["history", "--since", "30d", "--host", "198.18.0.0/24"], &["firing"]),
        (&["history", "--fingerprint", &EXPOSURE[..8]], &["firing", "acknowledged", "resolved"]),
        (&["history", "--since", "30d", "--fingerprint", OUTAGE], &["firing"]),
        (&["history", "--fingerprint", "ffffffffffffffffffffffffffffffff"], &[]),
    ] {
        let events = bench.events(line);
        assert_eq!(field(&events, "transition"), transitions, "{line:?}");
        assert!(events.iter().all(|event| event["event"] == "alert" && event["id"].is_string()), "{line:?}");
        assert_eq!(bench.run(line).status, Some(0), "{line:?}");
    }
    let none = bench.run(&["history", "--since", "1m"]);
    assert_eq!(
        (none.status, none.stdout.as_str()),
        (Some(0), "nothing was said of any alert in this time\n")
    );
}

#[test]
fn what_is_cut_off_is_said() {
    let bench = bench();
    let more = "these are the latest 2, and there are more; --limit N asks for more\n";
    for line in [&["history", "--limit", "2"][..], &["history", "--sweeps", "--limit", "2"]] {
        let answer = bench.run(&[line, &["--format", "jsonl"]].concat());
        assert_eq!((answer.events().len(), answer.stderr.as_str()), (2, more), "{line:?}");
    }
    assert_eq!(
        field(&bench.events(&["history", "--limit", "2"]), "transition"),
        ["acknowledged", "resolved"]
    );
    for line in [&["history", "--limit", "3"][..], &["history", "--sweeps", "--limit", "3"]] {
        assert_eq!(bench.run(line).stderr, "", "{line:?}");
    }
    assert_eq!(bench.run(&["history", "--limit", "0"]).status, Some(2));
}

#[test]
fn sweeps_come_with_their_verdicts_and_ledgers() {
    let bench = bench();
    let answer = bench.run(&["history", "--sweeps"]);
    assert_eq!((answer.status, answer.stderr.as_str()), (Some(0), ""));
    insta::assert_snapshot!(bench.at_noon(&answer.stdout));
    let events = bench.events(&["history", "--sweeps"]);
    assert_eq!(field(&events, "verdict"), ["complete", "degraded", "blind"]);
    assert_eq!(events[1]["unknown_reasons"], json!({"link-down": 6}));
    assert_eq!(field(&bench.events(&["history", "--sweeps", "--until", "5m"]), "watch"), ["risky", "risky"]);
    let none = bench.run(&["history", "--sweeps", "--until", "1h"]);
    assert_eq!(none.stdout, "no sweep ended in this time\n");
}
