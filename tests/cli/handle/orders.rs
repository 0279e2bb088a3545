//! `portreeve ack` and `portreeve silence`: what people order, and what becomes of it.

use std::process::Child;

use portreeve::alert::life::Alert;
use portreeve::alert::notice::Transition;
use portreeve::policy::finding::Fingerprint;
use portreeve::sink::message::Message;
use portreeve::store::history::HistoryFilter;
use serde_json::json;

use super::{Bench, DEVICE, EXPOSURE, HOSTILE, OUTAGE, PENDING, checked, field};
use crate::Answer;

/// The alert as it is now.
fn alert(bench: &Bench, fingerprint: &str) -> Alert {
    let fingerprint: Fingerprint = fingerprint.to_owned().try_into().expect("a fingerprint");
    bench.store().record(&fingerprint).expect("a record").expect("a record").alert
}

/// The transitions that are waiting for a sink, by the alerts that they are about.
fn waiting(bench: &Bench, sink: &str) -> Vec<(Transition, String)> {
    let due = bench.store().due(sink, bench.at(3600), 99).expect("due");
    let notices = due.into_iter().map(|due| match due.message {
        Ok(Message::Alert(notice)) => *notice,
        other => panic!("{other:?}"),
    });
    notices.map(|notice| (notice.transition, notice.alert.finding.fingerprint.as_str().to_owned())).collect()
}

/// What the history has, the latest first.
fn said(bench: &Bench) -> Vec<Transition> {
    let history = bench.store().history(&HistoryFilter::default(), 99).expect("a history");
    history.iter().map(|notice| notice.transition).collect()
}

fn fails(answer: &Answer, says: &[&str]) {
    assert_eq!((answer.status, answer.stdout.as_str()), (Some(2), ""), "{answer:?}");
    for part in says {
        assert!(answer.stderr.contains(part), "{part}: {}", answer.stderr);
    }
}

#[test]
fn whoever_takes_an_alert_on_is_kept_with_it_and_told_to_everybody() {
    let bench = Bench::new();
    let answer = bench.run_configured(&["ack", "c7f9d4be", "0A000000", "c7f9d4be7f", "--note", "on my way"]);
    assert_eq!((answer.status, answer.stderr.as_str()), (Some(0), ""));
    assert_eq!(
        answer.stdout,
        "c7f9d4be is acknowledged by kim: [critical] exposure: 198.18.3.4:6379/tcp (redis) is open\n\
         0a000000 is acknowledged by kim: [high] outage: 198.18.0.20:5432/tcp (orders database) is not open\n"
    );
    let taken = alert(&bench, EXPOSURE).acknowledged.expect("somebody");
    assert_eq!((taken.who.as_str(), taken.note.as_deref()), ("kim", Some("on my way")));
    for sink in ["soc", "siem"] {
        let expected = [EXPOSURE, OUTAGE].map(|digits| (Transition::Acknowledged, digits.to_owned()));
        assert_eq!(waiting(&bench, sink), expected, "{sink}");
    }
    assert_eq!(said(&bench), [Transition::Acknowledged; 2]);
    assert!(
        bench.store().books().expect("books").iter().all(|books| books.are_closed() && books.raised == 2)
    );
}

#[test]
fn whoever_gives_it_back_is_told_as_well() {
    let bench = Bench::new();
    let answer = bench.run_configured(&["ack", "0a000000", "--undo"]);
    assert_eq!((answer.status, answer.stderr.as_str()), (Some(0), ""));
    assert!(answer.stdout.starts_with("0a000000 is given back: [high] outage"), "{}", answer.stdout);
    assert_eq!(alert(&bench, OUTAGE).acknowledged, None);
    assert_eq!(waiting(&bench, "soc"), [(Transition::Unacknowledged, OUTAGE.to_owned())]);
    fails(
        &bench.run_configured(&["ack", "0a000000", "--undo"]),
        &["0a000000 was taken on by nobody: [high] outage"],
    );
}

#[test]
fn what_is_still_to_be_told_is_not_taken_for_told_where_nobody_is_known_to_tell_it_to() {
    let bench = Bench::new();
    // It fires, nothing silences it any longer, and the daemon has not yet told anybody.
    bench.write(|tx| {
        let fingerprint: Fingerprint = DEVICE.to_owned().try_into().expect("a fingerprint");
        let mut record = tx.record(&fingerprint)?.expect("a record");
        record.alert.muted = None;
        tx.save(&record)
    });
    let answer = bench.run(&["ack", "c7f9d4be", "--who", "lee"]);
    assert_eq!(answer.status, Some(0));
    assert_eq!(
        answer.stderr,
        "no sink is told: who is to hear of it is in the configuration; use --config FILE\n"
    );
    assert_eq!(alert(&bench, EXPOSURE).acknowledged.expect("somebody").who, "lee");
    assert_eq!(said(&bench), [Transition::Acknowledged]);
    let told: Vec<_> =
        bench.store().records().expect("records").into_iter().map(|record| record.told).collect();
    assert_eq!(told, bench_told(), "as it was");
}

/// Whether people have been told of the alerts that are needed, in the order of fingerprints.
fn bench_told() -> Vec<portreeve::alert::record::Told> {
    use portreeve::alert::record::Told;
    // The outage, the device, what is pending, the exposure.
    vec![Told::Each, Told::No, Told::No, Told::Each]
}

#[test]
fn what_does_not_fire_cannot_be_taken_on_and_nothing_is_if_anything_cannot() {
    let bench = Bench::new();
    let answer = bench.run_configured(&["ack", "c7f9d4be", "0c000000", "0d000000"]);
    fails(&answer, &[]);
    insta::assert_snapshot!(bench.at_noon(&answer.stderr));
    assert_eq!(alert(&bench, EXPOSURE).acknowledged, None);
    assert_eq!(alert(&bench, PENDING).acknowledged, None);
    assert_eq!((said(&bench), waiting(&bench, "soc")), (vec![], vec![]));
}

#[test]
fn a_fingerprint_must_be_of_one_alert() {
    let bench = Bench::new();
    bench.say(1, -60, json!({"fingerprint": "c7f9d4be7f560000000000000000000f", "state": "resolved"}));
    for (digits, says) in [
        (
            "c7f9d4be7f",
            &["2 alerts have a fingerprint that begins with `c7f9d4be7f`; write more digits: ", EXPOSURE][..],
        ),
        ("12345678", &["no alert has a fingerprint that begins with `12345678`; `portreeve alerts --all`"]),
        (
            "c7f9d4be7f560",
            &["c7f9d4be7f560 is over and forgotten; `portreeve history --fingerprint c7f9d4be7f560`"],
        ),
        ("c7f9d4b", &["`c7f9d4b` is no fingerprint; write its first 8 hexadecimal digits"]),
    ] {
        fails(&bench.run_configured(&["ack", digits]), says);
    }
    assert_eq!(bench.run_configured(&["ack", "c7f9d4be7f56a"]).status, Some(0));
    // And so many digits are shown that each is one.
    let listed = bench.run(&["alerts"]).stdout;
    assert!(listed.contains("c7f9d4be7f56a") && !listed.contains("c7f9d4be7f56ab"), "{listed}");
}

#[test]
fn who_gives_an_order_is_never_nobody() {
    let bench = Bench::new();
    let run = |names: &[(&str, &str)]| {
        let mut command = bench.command(&["ack", "c7f9d4be", "--database", "portreeve.db"]);
        command.env_remove("USER").env_remove("LOGNAME").envs(names.iter().copied());
        Answer::of(&command.output().expect("the program starts"))
    };
    let who = || alert(&bench, EXPOSURE).acknowledged.map(|taken| taken.who);
    fails(&run(&[]), &["nobody says who gives this order; add --who NAME"]);
    fails(&run(&[("USER", " ")]), &["add --who NAME"]);
    assert_eq!(who(), None);
    for (names, expected) in [
        (&[("LOGNAME", "cron")][..], "cron"),
        (&[("USER", "root"), ("LOGNAME", "cron")], "root"),
        (&[("USER", "root"), ("SUDO_USER", "lee")], "lee"),
    ] {
        assert_eq!(run(names).status, Some(0));
        assert_eq!(who().as_deref(), Some(expected));
    }
}

#[test]
fn orders_are_events_for_machines() {
    let bench = Bench::new();
    let acked = bench.events(&["ack", "c7f9d4be"]);
    assert_eq!(field(&acked, "event"), ["alert"]);
    assert_eq!(acked[0]["acknowledged"]["who"], "kim");
    let add = ["silence", "add", "--until", "2h", "--reason", "patching", "--class", "health"];
    let added = bench.events(&add);
    assert_eq!(field(&added, "event"), ["silence", "alert"]);
    assert_eq!(
        (&added[0]["id"], &added[0]["firing"], &added[0]["holds"]),
        (&json!(1), &json!(1), &json!(true))
    );
    assert_eq!(added[0]["matcher"], json!({"classes": ["health"]}));
    assert_eq!(added[1]["muted"], "silence 1 by kim: patching");
    let ended = bench.events(&["silence", "end", "1", "--who", "lee"]);
    assert_eq!((&ended[0]["holds"], &ended[0]["ended_by"]), (&json!(false), &json!("lee")));
    assert_eq!(bench.events(&["silence", "list"]), Vec::<serde_json::Value>::new());
    assert_eq!(bench.events(&["silence", "list", "--all"]).len(), 1);
}

#[test]
fn a_silence_says_which_alerts_it_means() {
    let bench = Bench::new();
    let line = [
        "silence",
        "add",
        "--until",
        "2h",
        "--reason",
        &format!("patching{HOSTILE}"),
        "--who",
        &format!("kim{HOSTILE}"),
        "--host",
        "198.18.0.0/16",
        "--host",
        "2001:db8::/32",
        "--kind",
        "exposure",
        "--kind",
        "outage",
        "--ports",
        "redis,22",
        "--class",
        "security",
        "--owner",
        "netops",
        "--severity",
        "high",
        "--fingerprint",
        "c7f9d4be",
    ];
    let mut told = bench.run(&line).stdout;
    told += &bench.run(&["silence", "add", "--until", "30m", "--reason", "noise", "--everything"]).stdout;
    told += &bench
        .run(&["silence", "add", "--until", "7d", "--reason", "none yet", "--host", "198.18.9.9"])
        .stdout;
    told += &bench.run(&["silence", "list"]).stdout;
    told += &bench.run(&["silence", "end", "2"]).stdout;
    told += &bench.run(&["silence", "end", "3", "--who", "lee"]).stdout;
    let over = bench.run(&["silence", "list", "--all"]).stdout;
    let ended: Vec<bool> = over.lines().skip(1).map(|line| line.contains(", ended by ")).collect();
    assert_eq!(ended, [false, true, true], "{over}");
    assert!(over.contains(", ended by kim ") && over.contains(", ended by lee "), "{over}");
    insta::assert_snapshot!(bench.at_noon(&told));
}

#[test]
fn a_silence_needs_a_reason_an_end_and_something_to_silence() {
    let bench = Bench::new();
    for (line, says) in [
        (&["--until", "2h"][..], &["--reason <TEXT>"][..]),
        (&["--reason", "x", "--everything"], &["--until <TIME>"]),
        (&["--until", "2h", "--reason", " ", "--everything"], &["--reason says nothing"]),
        (&["--until", "2h", "--reason", "x"], &["nothing says which alerts are meant", "--everything"]),
        (&["--until", "2h", "--reason", "x", "--everything", "--class", "own"], &["cannot be used with"]),
        (
            &["--until", "2020-01-01", "--reason", "x", "--everything"],
            &["--until 2020-01-01T00:00:00Z is over"],
        ),
        (&["--until", "soon", "--reason", "x", "--everything"], &["`soon` is no time; write 30m, 2h, 7d"]),
        (&["--until", "2h", "--reason", "x", "--kind", "expsure"], &["exposure"]),
        (&["--until", "2h", "--reason", "x", "--fingerprint", "12345678"], &["no alert has a fingerprint"]),
    ] {
        fails(&bench.run(&[&["silence", "add"][..], line].concat()), says);
    }
    assert_eq!(bench.store().all_silences().expect("silences"), []);
    fails(&bench.run(&["silence", "end", "7"]), &["there is no silence 7; `portreeve silence list --all`"]);
    assert_eq!(bench.run(&["silence", "list"]).stdout, "no silence holds\n");
    assert_eq!(bench.run(&["silence", "list", "--all"]).stdout, "no silence is known\n");
    bench.run(&["silence", "add", "--until", "2h", "--reason", "x", "--everything"]);
    assert_eq!(bench.run(&["silence", "end", "1", "--who", "lee"]).status, Some(0));
    fails(
        &bench.run(&["silence", "end", "1"]),
        &["silence 1 is over since ", ", by lee; nothing was changed"],
    );
}

#[test]
fn an_order_that_cannot_be_written_has_not_been_given() {
    let bench = Bench::new();
    let before = bench.store().records().expect("records");
    let mut store = bench.store();
    let answers = store.write(|tx| {
        tx.put("busy", "yes")?;
        let lines = [
            &["ack", "c7f9d4be", "--config", "portreeve.toml"][..],
            &["ack", "c7f9d4be", "--database", "portreeve.db"],
            &[
                "silence",
                "add",
                "--until",
                "2h",
                "--reason",
                "x",
                "--everything",
                "--config",
                "portreeve.toml",
            ],
        ];
        let piped = std::process::Stdio::piped;
        let children = lines.map(|line| bench.command(line).stdout(piped()).stderr(piped()).spawn());
        let output = |child: std::io::Result<Child>| child.and_then(Child::wait_with_output);
        Ok::<_, portreeve::store::error::StoreError>(children.map(output))
    });
    for output in answers.expect("a transaction") {
        let answer = Answer::of(&output.expect("an end"));
        fails(&answer, &["another process has been writing to it for too long; try again"]);
    }
    assert_eq!(store.records().expect("records"), before, "and no alert has come of it");
    assert_eq!((said(&bench), waiting(&bench, "soc"), waiting(&bench, "siem")), (vec![], vec![], vec![]));
    assert_eq!(store.all_silences().expect("silences"), []);
}

#[test]
fn an_order_waits_for_a_daemon_that_is_writing() {
    let bench = Bench::new();
    let mut store = bench.store();
    let answer = store.write(|tx| {
        tx.put("busy", "yes")?;
        let mut command = bench.command(&["ack", "c7f9d4be", "--config", "portreeve.toml"]);
        let child = command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn();
        std::thread::sleep(std::time::Duration::from_millis(700));
        assert_eq!(alert(&bench, EXPOSURE).acknowledged, None);
        Ok::<_, portreeve::store::error::StoreError>(child.expect("the program starts"))
    });
    let output = answer.expect("a transaction").wait_with_output().expect("an end");
    assert_eq!(Answer::of(&output).status, Some(0));
    assert!(alert(&bench, EXPOSURE).acknowledged.is_some());
    assert_eq!(waiting(&bench, "soc").len(), 1);
    // And a reader never waits.
    let listed = store.write(|_| Ok::<_, portreeve::store::error::StoreError>(bench.events(&["alerts"])));
    assert_eq!(listed.expect("a transaction").len(), 3);
    assert_eq!(checked(&bench.run(&["alerts", "--format", "jsonl"]))[0]["acknowledged"]["who"], "kim");
}
