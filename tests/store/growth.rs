//! Thirty days of a large network in a small file.

use std::time::Instant;

use portreeve::alert::life::{Annotation, Resolution};
use portreeve::store::Transaction;
use portreeve::store::retention::Retention;

use super::outbox::told;
use super::*;

const DAYS: u64 = 30;
/// A sweep a minute.
const SWEEPS: u64 = 24 * 60;
/// One in a hundred of a /16 and six ports.
const CHANGES: u64 = 3933;
/// How many changes after it has come a target goes: those of two days.
const LASTS: u64 = 2 * CHANGES + 1;
const DAY_MS: u64 = 24 * 3_600_000;
const MIB: u64 = 1 << 20;

/// How many bytes the database has, day after day. Every second change is a target that comes, the others are those
/// that go; with `alerts`, each is an exposure that nobody has allowed, told to two sinks when it fires and when it is
/// resolved, and to one of them when a second look has confirmed it. That sink hears of every sweep as well.
fn grow(days: u64, alerts: bool) -> Vec<u64> {
    let (_directory, path) = place();
    let mut store = open(&path);
    let began = Instant::now();
    let mut sizes = Vec::new();
    for day in 0..days {
        write(&mut store, |tx| (0..SWEEPS).try_for_each(|minute| sweep(tx, day * SWEEPS + minute, alerts)));
        let evening = at(((day + 1) * DAY_MS) as i64);
        for sink in ["pager", "siem"] {
            let rows: Vec<_> =
                store.due(sink, evening, 100_000).expect("due").iter().map(|out| out.row).collect();
            write(&mut store, |tx| tx.delivered(&rows, evening));
        }
        while store.retain(&Retention::default(), evening).expect("less") {}
        sizes.push(size(&path));
    }
    let log = std::fs::metadata(path.with_file_name("portreeve.db-wal")).expect("a log").len();
    assert!(log <= 8 * MIB, "a log of {log} bytes");
    let open = store.open_targets("risky").expect("targets").len() as u64;
    assert!((3000..4500).contains(&open), "{open} are open");
    if alerts {
        assert_eq!(store.records().expect("records").len() as u64, open);
        assert_eq!(store.books().expect("books").iter().map(|books| books.pending).sum::<u64>(), 0);
    }
    drop(store);
    assert_eq!(size(&path), std::fs::metadata(&path).expect("a file").len());
    told(&format!("{sizes:?} bytes day after day, alerts: {alerts}, {:?}", began.elapsed()));
    sizes
}

/// The size of the database, whether it is in its file yet or still in the log.
fn size(path: &Path) -> u64 {
    let sql = rusqlite::Connection::open(path).expect("a database");
    let pragma = |name| sql.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).expect(name);
    (pragma("page_count") * pragma("page_size")) as u64
}

fn sweep(tx: &Transaction<'_>, n: u64, alerts: bool) -> Result<(), StoreError> {
    let now = at((n * 60_000) as i64);
    let before = |n| CHANGES * n / SWEEPS;
    let target_of = |change: u64| (change * 2_654_435_761 % 393_216) as u32;
    let (mut open, mut gone) = (Vec::new(), Vec::new());
    for change in before(n)..before(n + 1) {
        if change % 2 == 0 {
            open.push(change);
        } else if change > LASTS {
            gone.push(change - LASTS);
        }
    }
    let came: Vec<_> = open.iter().map(|change| seen(target_of(*change), Reason::SynAck)).collect();
    let went: Vec<_> =
        gone.iter().map(|change| (target(target_of(*change)), State::Closed, Some(Reason::Rst))).collect();
    tx.observe("risky", id(n), now, &came, &went)?;
    tx.sweep("risky", &report(n, Verdict::Complete, now), open.len() as u64)?;
    if !alerts {
        return Ok(());
    }
    tx.enqueue(&event(n, "sweep.completed", now), &["siem"])?;
    let say = |change: u64, number: u64, transition, alert: Alert, sinks: &[&str]| {
        let notice = notice(1_000_000 + change * 3 + number, transition, alert, now);
        tx.note(&notice)?;
        tx.enqueue(&Message::Alert(Box::new(notice)), sinks).map(drop)
    };
    for change in open {
        let mut alert = alert(target_of(change), change, Phase::Firing, now);
        say(change, 0, Transition::Firing, alert.clone(), &["pager", "siem"])?;
        alert.annotation = Some(Annotation::Confirmed);
        tx.save(&record(alert.clone()))?;
        say(change, 1, Transition::Annotated, alert, &["siem"])?;
    }
    for change in gone {
        let fingerprint = alert(target_of(change), change, Phase::Firing, now).finding.fingerprint;
        let mut alert = tx.record(&fingerprint)?.expect("it fires").alert;
        (alert.state, alert.since, alert.resolution) = (Phase::Resolved, now, Some(Resolution::Seen));
        tx.save(&record(alert.clone()))?;
        say(change, 2, Transition::Resolved, alert, &["pager", "siem"])?;
    }
    Ok(())
}

#[test]
fn a_month_of_changes_is_small() {
    let sizes = grow(DAYS, false);
    assert!(sizes[29] < 15 * MIB, "{} bytes", sizes[29]);
}

/// After a few days it grows evenly, so that a week tells what a month comes to. The whole month, measured once with
/// `DAYS` in the place of 8, comes to 90 MiB.
#[test]
fn a_month_of_changes_that_all_alert_is_small_enough() {
    let sizes = grow(8, true);
    let month = sizes[7] + (sizes[7] - sizes[5]) / 2 * (DAYS - 8);
    assert!(month < 100 * MIB, "{month} bytes");
}
