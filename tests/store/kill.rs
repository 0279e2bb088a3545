//! Killed at any moment: what was said to be written is there, and what is there adds up.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::time::Duration;

use portreeve::store::check::check;
use portreeve::store::history::HistoryFilter;

use super::outbox::told;
use super::*;

/// What the child does for ever: it changes everything that a sweep changes in one transaction, and says so afterwards.
#[test]
fn commits_for_ever() {
    let Some(path) = role("commits") else { return };
    let mut store = open(&path);
    let mut out = std::io::stdout();
    let mut n: u64 = store.get("n").expect("a value").map_or(0, |n| n.parse().expect("a number"));
    loop {
        n += 1;
        let now = at(n as i64);
        write(&mut store, |tx| {
            let alert = alert(n as u32 % 40, n / 40, Phase::Firing, now);
            let notice = notice(n, Transition::Firing, alert.clone(), now);
            tx.save(&record(alert))?;
            tx.note(&notice)?;
            tx.enqueue(&Message::Alert(Box::new(notice)), &["pager", "siem"])?;
            tx.observe("risky", id(n), now, &[seen(n as u32, Reason::SynAck)], &[])?;
            tx.sweep("risky", &report(n, Verdict::Complete, now), 1)?;
            tx.put("n", &n.to_string())
        });
        if n.is_multiple_of(3) {
            let rows: Vec<_> = store.due("siem", now, 5).expect("due").iter().map(|out| out.row).collect();
            write(&mut store, |tx| {
                tx.delivered(&rows[1..], now)?;
                tx.dead(rows[0], "for the books", now)
            });
        }
        writeln!(out, "committed {n}").expect("a parent");
    }
}

#[test]
fn whatever_was_committed_is_there_after_a_kill() {
    let (_directory, path) = place();
    let mut last = 0;
    for round in 0..50u64 {
        let mut child = child("kill::commits_for_ever", "commits", &path)
            .stdout(Stdio::piped())
            .spawn()
            .expect("a child");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let reading = std::thread::spawn(move || {
            let said = lines.map_while(Result::ok);
            said.filter_map(|line| line.strip_prefix("committed ")?.parse::<u64>().ok()).last()
        });
        // Now and then before the first, mostly in the middle; and never the same moment.
        let moment = Duration::from_micros(5000 + round * 7919 % 60_000);
        std::thread::sleep(moment);
        child.kill().expect("killed");
        child.wait().expect("dead");
        last = reading.join().expect("read").unwrap_or(last);
        if !path.exists() {
            continue;
        }
        let store = open(&path);
        let n: u64 = store.get("n").expect("a value").map_or(0, |n| n.parse().expect("a number"));
        assert!(n >= last, "{last} was said to be committed, and {n} is the last that is there");
        let history = store.history(&HistoryFilter::default(), 1_000_000).expect("a history");
        assert_eq!(history.len() as u64, n, "every word, and none twice");
        assert!(store.books().expect("books").iter().all(|books| books.are_closed() && books.raised == n));
        assert_eq!(store.sweeps(None, 1_000_000).expect("sweeps").len() as u64, n);
        assert_eq!(store.open_targets("risky").expect("targets").len() as u64, n);
        assert_eq!(store.records().expect("records").len() as u64, n.min(40));
        assert_eq!(check(&path).expect("a check").problems, Vec::<String>::new());
        last = n;
    }
    told(&format!("{last} transactions, 50 kills"));
    assert!(last > 50, "only {last} transactions in all: nothing was killed in the middle");
}

#[test]
fn a_kill_while_it_is_made_leaves_nothing_in_the_way() {
    for round in 0..40u64 {
        let (_directory, path) = place();
        let mut child =
            child("kill::commits_for_ever", "commits", &path).stdout(Stdio::null()).spawn().expect("a child");
        while !path.exists() {
            std::thread::yield_now();
        }
        std::thread::sleep(Duration::from_micros(round * 150));
        child.kill().expect("killed");
        child.wait().expect("dead");
        let mut store = open(&path);
        write(&mut store, |tx| tx.put("a", "b"));
        drop(store);
        assert_eq!(check(&path).expect("a check").problems, Vec::<String>::new());
    }
}
