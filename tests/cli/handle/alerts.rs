//! `portreeve alerts`.

use portreeve::store::letters::Letter;
use serde_json::json;

use super::{Bench, DEVICE, EXPOSURE, OUTAGE, PENDING, RESOLVED, field};

#[test]
fn what_fires_is_listed_the_worst_first() {
    let bench = Bench::new();
    let answer = bench.run(&["alerts"]);
    assert_eq!((answer.status, answer.stderr.as_str()), (Some(1), ""));
    insta::assert_snapshot!(bench.at_noon(&answer.stdout));
    // With the configuration everything is as without, but for what only that can know.
    let configured = bench.run_configured(&["alerts"]);
    assert_eq!((configured.status, configured.stdout), (Some(1), answer.stdout), "{}", configured.stderr);
}

#[test]
fn everything_is_listed_for_whoever_wants_it() {
    let bench = Bench::new();
    let answer = bench.run(&["alerts", "--all"]);
    assert_eq!((answer.status, answer.stderr.as_str()), (Some(1), ""));
    insta::assert_snapshot!(bench.at_noon(&answer.stdout));
}

#[test]
fn the_status_says_whether_anything_fires_that_is_listed() {
    let bench = Bench::new();
    for (line, status, fingerprints) in [
        (&["alerts"][..], 1, &[EXPOSURE, OUTAGE, DEVICE][..]),
        (&["alerts", "--state", "resolved"], 0, &[RESOLVED]),
        (&["alerts", "--state", "pending,resolved"], 0, &[PENDING, RESOLVED]),
        (&["alerts", "--all"], 1, &[EXPOSURE, OUTAGE, DEVICE, PENDING, RESOLVED]),
        (&["alerts", "--class", "health"], 1, &[OUTAGE]),
        (&["alerts", "--class", "health", "--class", "security"], 1, &[EXPOSURE, OUTAGE, DEVICE]),
        (&["alerts", "--class", "own"], 0, &[]),
        (&["alerts", "--severity", "high"], 1, &[EXPOSURE, OUTAGE]),
        (&["alerts", "--host", "198.18.0.0/16", "--ports", "redis"], 1, &[EXPOSURE]),
        (&["alerts", "--host", "198.18.0.20"], 1, &[OUTAGE]),
        (&["alerts", "--host", "198.18.9.9"], 0, &[]),
        (&["alerts", "--kind", "answers-all"], 1, &[DEVICE]),
        (&["alerts", "--owner", "netops"], 1, &[EXPOSURE]),
        (&["alerts", "--fingerprint", "C7F9D4BE"], 1, &[EXPOSURE]),
        (&["alerts", "--fingerprint", "ffffffffffffffffffffffffffffffff"], 0, &[]),
    ] {
        let events = bench.events(line);
        assert_eq!(field(&events, "fingerprint"), fingerprints, "{line:?}");
        for text in [bench.run(line), bench.run_configured(line)] {
            assert_eq!(text.status, Some(status), "{line:?}: {text:?}");
        }
    }
}

#[test]
fn nothing_that_fires_is_worth_as_much_as_the_last_sweep() {
    let bench = Bench::empty();
    let answer = bench.run(&["alerts"]);
    assert_eq!((answer.status, answer.stdout.as_str()), (Some(0), "nothing fires\nno sweep has ended yet\n"));
    assert_eq!(bench.events(&["alerts"]), Vec::<serde_json::Value>::new());
}

#[test]
fn alerts_are_events_without_a_transition() {
    let bench = Bench::new();
    let events = bench.events(&["alerts"]);
    for event in &events {
        assert_eq!(
            (&event["event"], &event["id"], &event["transition"]),
            (&json!("alert"), &json!(null), &json!(null))
        );
    }
    // Texts of others are in JSON as they were written.
    assert!(events[1]["acknowledged"]["note"].as_str().expect("a note").contains('\u{1b}'));
}

#[test]
fn what_is_silenced_is_known_without_the_daemon() {
    let bench = Bench::new();
    let muted = |line: &[&str], configured: bool| {
        let line = [line, &["--format", "jsonl"]].concat();
        let answer = if configured { bench.run_configured(&line) } else { bench.run(&line) };
        let events = super::checked(&answer);
        events.iter().map(|event| event["muted"].as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    let window = Some("maintenance: firewall upgrade".to_owned());
    for configured in [false, true] {
        assert_eq!(muted(&["alerts"], configured), [None, None, window.clone()]);
    }
    let line = ["silence", "add", "--until", "2h", "--reason", "patching", "--severity", "critical"];
    assert_eq!(bench.run(&line).status, Some(0));
    let silence = Some("silence 1 by kim: patching".to_owned());
    for configured in [false, true] {
        assert_eq!(muted(&["alerts"], configured), [silence.clone(), None, window.clone()]);
    }
    // What the daemon has written of a silence that has ended since is no longer so.
    bench.write(|tx| {
        let mut record =
            tx.record(&serde_json::from_value(json!(EXPOSURE)).expect("a fingerprint"))?.expect("a record");
        record.alert.muted = Some("silence 1 by kim: patching".to_owned());
        tx.save(&record)
    });
    assert_eq!(bench.run(&["silence", "end", "1"]).status, Some(0));
    assert_eq!(muted(&["alerts"], false), [None, None, window]);
}

/// Two letters delivered, one waiting after a failure, two dead of which one can return.
fn correspond(bench: &Bench) -> Vec<Letter> {
    for n in 1..=5 {
        let fingerprint = if n == 5 { EXPOSURE.to_owned() } else { format!("{n:032x}") };
        bench.say(n, -3600, json!({"fingerprint": fingerprint}));
    }
    bench.say(6, -1800, json!({"fingerprint": "00000000000000000000000000000002"}));
    let mut store = bench.store();
    let due = store.due("soc", bench.now, 9).expect("due");
    let row = |n: usize| due[n].row;
    store
        .write(|tx| {
            tx.delivered(&[row(0)], bench.at(-3000))?;
            tx.dead(row(1), &format!("HTTP 410{}", super::HOSTILE), bench.at(-2900))?;
            tx.dead(row(2), "given up after 9 attempts: connection refused", bench.at(-2800))?;
            // The later word about what the first letter was about has arrived.
            tx.delivered(&[row(5)], bench.at(-1700))?;
            tx.retry(row(3), "HTTP 503", bench.at(600))
        })
        .expect("a transaction");
    store.letters(9).expect("letters")
}

#[test]
fn the_books_of_every_sink_are_told_and_what_was_given_up() {
    let bench = Bench::new();
    assert_eq!(correspond(&bench).len(), 2);
    let answer = bench.run(&["alerts", "--deliveries"]);
    assert_eq!((answer.status, answer.stderr.as_str()), (Some(1), ""));
    insta::assert_snapshot!(bench.at_noon(&answer.stdout));
    let events = bench.events(&["alerts", "--deliveries"]);
    assert_eq!(field(&events, "event"), ["sink.books", "letter.dead", "letter.dead"]);
    let books = &events[0];
    let count = |name: &str| books[name].as_u64().expect(name);
    assert_eq!([count("raised"), count("delivered"), count("pending"), count("dead")], [6, 2, 2, 2]);
    assert_eq!((&books["last_error"], &events[1]["can_return"]), (&json!("HTTP 503"), &json!(true)));
}

#[test]
fn where_everything_has_arrived_the_status_says_so() {
    let bench = Bench::empty();
    let answer = bench.run(&["alerts", "--deliveries"]);
    assert_eq!((answer.status, answer.stdout.as_str()), (Some(0), "nothing was ever raised for any sink\n"));
    bench.say(1, -60, json!({}));
    // On its way for the first time is nothing to worry about.
    assert_eq!(bench.run(&["alerts", "--deliveries"]).status, Some(0));
    let row = bench.store().due("soc", bench.now, 1).expect("due")[0].row;
    bench.write(|tx| tx.retry(row, "HTTP 503", bench.at(60)));
    assert_eq!(bench.run(&["alerts", "--deliveries"]).status, Some(1));
}

#[test]
fn colours_are_for_terminals() {
    let bench = Bench::new();
    let forced = |name: &str| {
        let mut command = bench.command(&["alerts", "--database", "portreeve.db"]);
        let output = command.env(name, "1").output().expect("the program starts");
        String::from_utf8(output.stdout).expect("text")
    };
    let plain = bench.run(&["alerts"]).stdout;
    assert_eq!(forced("NO_COLOR"), plain);
    let coloured = forced("CLICOLOR_FORCE");
    assert!(coloured.contains("\u{1b}[31mcritical\u{1b}[0m"), "{coloured:?}");
    assert_eq!(anstream::adapter::strip_str(&coloured).to_string(), plain);
}

#[test]
fn a_reader_who_leaves_does_not_change_what_fires() {
    let bench = Bench::new();
    let program = env!("CARGO_BIN_EXE_portreeve");
    let script = format!(
        "set -o pipefail; '{program}' alerts --database portreeve.db | true; echo ${{PIPESTATUS[0]}}"
    );
    let output =
        std::process::Command::new("bash").args(["-c", &script]).current_dir(bench.directory.path()).output();
    let output = output.expect("bash");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "1\n", "{output:?}");
}
