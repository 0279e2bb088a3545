//! What is kept comes back: alerts, the words about them, silences, sweeps, what was open.

use std::time::Duration;

use portreeve::alert::life::{Acknowledgement, Annotation, Resolution};
use portreeve::alert::record::{Tally, Told};
use portreeve::alert::silence::{Matcher, Silence};
use portreeve::store::alerts::AlertFilter;
use portreeve::store::history::{Fate, HistoryFilter, Outcome};
use portreeve::store::observations::{End, Span, SpanFilter};
use portreeve::store::retention::Retention;
use portreeve::sweep::report::UnknownReason;

use super::*;

#[test]
fn an_alert_is_loaded_for_as_long_as_its_next_step_depends_on_it() {
    let (_directory, path) = place();
    let mut store = open(&path);
    let tally = |history, judged| Tally { recoveries: 0, history, judged };
    let with = |state, change: fn(&mut Record)| {
        let mut record = record(alert(0, 1, state, at(0)));
        change(&mut record);
        record
    };
    let mut cases = vec![
        (with(Phase::Pending, |_| {}), true),
        (with(Phase::Firing, |_| {}), true),
        (with(Phase::Resolved, |_| {}), false),
        (with(Phase::Resolved, |record| record.told = Told::Each), true),
        (with(Phase::Resolved, |record| record.told = Told::Storm), true),
        (with(Phase::Resolved, |record| record.alert.flapping = true), true),
    ];
    for (tally, is_needed) in [
        (tally(0, 20), false),
        (tally(1, 1), true),
        (tally(1 << 31, 32), true),
        (tally(1 << 20, 20), false),
        (tally(1 << 19, 20), true),
        (tally(u32::MAX, 0), false),
    ] {
        cases.push((Record { tally, ..with(Phase::Resolved, |_| {}) }, is_needed));
    }
    for (n, (mut record, is_needed)) in cases.into_iter().enumerate() {
        record.alert.finding = alert(n as u32, 1, Phase::Firing, at(0)).finding;
        write(&mut store, |tx| tx.save(&record));
        let fingerprint = &record.alert.finding.fingerprint;
        let is_loaded = store.records().expect("records").contains(&record);
        assert_eq!(is_loaded, is_needed, "{record:?}");
        assert_eq!(store.record(fingerprint).expect("a record").as_ref(), Some(&record));
    }
}

#[test]
fn an_alert_takes_the_place_of_what_it_was() {
    let (_directory, path) = place();
    let mut store = open(&path);
    let mut record = record(alert(1, 1, Phase::Firing, at(0)));
    record.remind_at = Some(at(5) + SignedDuration::from_nanos(1));
    write(&mut store, |tx| tx.save(&record));
    record.alert.state = Phase::Resolved;
    record.alert.resolution = Some(Resolution::Seen);
    write(&mut store, |tx| tx.save(&record));
    assert_eq!(store.records().expect("records"), []);
    assert_eq!(store.record(&record.alert.finding.fingerprint).expect("a record"), Some(record));
}

#[test]
fn alerts_are_listed_by_phase_time_and_matcher() {
    let (_directory, path) = place();
    let mut store = open(&path);
    write(&mut store, |tx| {
        tx.save(&record(alert(1, 1, Phase::Firing, at(1))))?;
        tx.save(&record(alert(2, 2, Phase::Firing, at(2))))?;
        tx.save(&record(alert(3, 3, Phase::Resolved, at(3))))
    });
    let list = |filter: AlertFilter| -> Vec<String> {
        let alerts = Store::open_reader(&path).expect("a reader").alerts(&filter).expect("alerts");
        alerts.into_iter().map(|alert| alert.finding.ip.expect("an address").to_string()).collect()
    };
    let all = AlertFilter::default;
    assert_eq!(list(all()), ["10.0.0.3", "10.0.0.2", "10.0.0.1"]);
    assert_eq!(list(AlertFilter { phases: vec![Phase::Firing], ..all() }), ["10.0.0.2", "10.0.0.1"]);
    assert_eq!(list(AlertFilter { since: Some(at(3)), ..all() }), ["10.0.0.3"]);
    let matcher = Matcher { hosts: vec!["10.0.0.2-3".parse().expect("a range")], ..Matcher::default() };
    assert_eq!(list(AlertFilter { matcher, phases: vec![Phase::Firing], ..all() }), ["10.0.0.2"]);
}

#[test]
fn whoever_takes_an_alert_on_is_kept_with_it() {
    let (_directory, path) = place();
    let mut store = open(&path);
    let acknowledgement = Acknowledgement { who: "ann".into(), note: None, at: at(7) };
    let fingerprint = alert(1, 1, Phase::Firing, at(0)).finding.fingerprint;
    assert_eq!(write(&mut store, |tx| tx.acknowledge(&fingerprint, &acknowledgement)), None);
    write(&mut store, |tx| tx.save(&record(alert(1, 1, Phase::Firing, at(0)))));
    let taken = write(&mut store, |tx| tx.acknowledge(&fingerprint, &acknowledgement)).expect("a record");
    assert_eq!(taken.alert.acknowledged, Some(acknowledgement));
    assert_eq!(store.records().expect("records"), [taken]);
}

#[test]
fn every_word_comes_back_as_it_was_said() {
    let (_directory, path) = place();
    let mut store = open(&path);
    let firing = alert(1, 1, Phase::Firing, at(1));
    let mut annotated = firing.clone();
    annotated.annotation = Some(Annotation::Confirmed);
    annotated.finding.names = vec!["db.example.net".into()];
    let mut resolved = annotated.clone();
    (resolved.state, resolved.resolution) = (Phase::Resolved, Some(Resolution::Seen));
    (resolved.annotation, resolved.finding.service, resolved.fired_at) = (None, None, None);
    let again = alert(1, 2, Phase::Firing, at(4));
    let mut said = vec![
        notice(1, Transition::Firing, firing.clone(), at(1)),
        notice(2, Transition::Annotated, annotated, at(2)),
        Notice { sweep: None, ..notice(3, Transition::Reminder, firing, at(3)) },
        notice(4, Transition::Resolved, resolved, at(4)),
        notice(5, Transition::Firing, again, at(4)),
        notice(6, Transition::Firing, alert(2, 1, Phase::Firing, at(6)), at(6)),
    ];
    write(&mut store, |tx| said.iter().try_for_each(|notice| tx.note(notice)));
    said.reverse();
    let list = |filter: &HistoryFilter, limit| store.history(filter, limit).expect("a history");
    assert_eq!(list(&HistoryFilter::default(), 100), said);
    assert_eq!(list(&HistoryFilter::default(), 2), said[..2]);
    let filter = |since, until, fingerprint: Option<&Alert>, host: Option<&str>| HistoryFilter {
        since,
        until,
        fingerprint: fingerprint.map(|alert| alert.finding.fingerprint.clone()),
        hosts: host.map(|host| host.parse().expect(host)),
    };
    assert_eq!(list(&filter(Some(at(4)), Some(at(6)), None, None), 9), said[1..3]);
    assert_eq!(list(&filter(None, None, Some(&said[0].alert), None), 9), said[..1]);
    assert_eq!(list(&filter(None, None, None, Some("10.0.0.1")), 9), said[1..]);
    assert_eq!(list(&filter(None, None, Some(&said[1].alert), Some("::ffff:10.0.0.1")), 9), said[1..]);
    assert_eq!(list(&filter(None, None, Some(&said[0].alert), Some("10.0.0.1")), 9), []);
    // A network has both ends in it, and nothing of the other family, however alike the bytes begin.
    for (network, found) in [
        ("10.0.0.0/24", &said[..]),
        ("10.0.0.1-10.0.0.2", &said[..]),
        ("10.0.0.2-10.0.0.9", &said[..1]),
        ("10.0.0.0/31", &said[1..]),
        ("10.0.1.0/24", &[]),
        ("a00::/16", &[]),
    ] {
        assert_eq!(list(&filter(None, None, None, Some(network)), 9), found, "{network}");
    }
}

#[test]
fn what_became_of_a_message_is_known_sink_by_sink() {
    let (_directory, path) = place();
    let mut store = open(&path);
    write(&mut store, |tx| tx.enqueue(&event(1, "k", at(0)), &["a", "b", "c", "d"]));
    for (sink, outcome) in [("a", 0), ("b", 1), ("c", 2)] {
        let row = store.due(sink, at(1), 1).expect("due")[0].row;
        write(&mut store, |tx| match outcome {
            0 => tx.delivered(&[row], at(1)),
            1 => tx.retry(row, "HTTP 500", at(60)),
            _ => tx.dead(row, "HTTP 410", at(2)),
        });
    }
    let fate = |sink: &str, attempts, outcome, why: Option<&str>| Fate {
        sink: sink.to_owned(),
        attempts,
        outcome,
        why: why.map(str::to_owned),
    };
    assert_eq!(
        store.fates(id(1)).expect("fates"),
        [
            fate("a", 1, Outcome::Delivered { at: at(1) }, None),
            fate("b", 1, Outcome::Pending, Some("HTTP 500")),
            fate("c", 1, Outcome::Dead { at: at(2) }, Some("HTTP 410")),
            fate("d", 0, Outcome::Pending, None),
        ]
    );
}

#[test]
fn silences_hold_until_they_are_over_or_ended() {
    let (_directory, path) = place();
    let mut store = open(&path);
    let matcher = Matcher { ports: Some("22,6379".parse().expect("ports")), ..Matcher::default() };
    let silence = |from, until| Silence {
        id: 0,
        matcher: matcher.clone(),
        from,
        until,
        reason: "r".into(),
        who: "w".into(),
    };
    let ids = [(0, 10), (5, 20), (0, 30)]
        .map(|(from, until)| write(&mut store, |tx| tx.add_silence(&silence(at(from), at(until)))));
    let listed = |store: &Store, now| -> Vec<i64> {
        store.silences(at(now)).expect("silences").into_iter().map(|silence| silence.id).collect()
    };
    assert_eq!(listed(&store, 1), ids, "one that will hold is listed too");
    assert_eq!(listed(&store, 10), ids[1..]);
    let first = store.silences(at(0)).expect("silences").remove(0);
    assert_eq!(first, Silence { id: ids[0], ..silence(at(0), at(10)) });
    assert!(write(&mut store, |tx| tx.end_silence(ids[2], "ann", at(12))));
    assert!(!write(&mut store, |tx| tx.end_silence(ids[2], "ben", at(13))), "it is over");
    assert!(!write(&mut store, |tx| tx.end_silence(99, "ann", at(12))), "there is none");
    assert_eq!(listed(&store, 12), ids[1..2]);
    while store.retain(&Retention::default(), at(0) + SignedDuration::from_hours(24 * 401)).expect("less") {}
    let next = write(&mut store, |tx| tx.add_silence(&silence(at(0), at(1))));
    assert!(!ids.contains(&next), "a number never means another one");
}

#[test]
fn a_sweep_comes_back_with_its_ledger() {
    let (_directory, path) = place();
    let mut store = open(&path);
    let mut degraded = report(2, Verdict::Degraded, at(2));
    degraded.ledger = Ledger { declared: 3, open: 1, unknown: 2, ..Ledger::default() };
    degraded.unknown_reasons = [(UnknownReason::CanariesSilent, 2)].into();
    write(&mut store, |tx| {
        tx.sweep("risky", &report(1, Verdict::Complete, at(1)), 7)?;
        tx.sweep("risky", &degraded, 0)?;
        tx.sweep("all", &report(3, Verdict::Blind, at(3)), 0)
    });
    let sweeps = store.sweeps(None, 10).expect("sweeps");
    assert_eq!(sweeps.iter().map(|row| row.sweep).collect::<Vec<_>>(), [id(3), id(2), id(1)]);
    assert_eq!(store.sweeps(Some("risky"), 10).expect("sweeps"), sweeps[1..]);
    assert_eq!(store.sweeps(Some("risky"), 1).expect("sweeps"), sweeps[1..2]);
    assert_eq!(store.sweeps(Some("none"), 10).expect("sweeps"), []);
    let (kept, told) = (&sweeps[1], &degraded);
    assert_eq!(
        (kept.ledger, &kept.unknown_reasons, kept.packets),
        (told.ledger, &told.unknown_reasons, told.packets)
    );
    assert_eq!(
        (kept.started, kept.completed, kept.duration_ms),
        (told.started, told.completed, told.duration_ms)
    );
    assert_eq!((kept.verdict, kept.engine.as_str(), kept.findings), (Verdict::Degraded, "packet", 0));
    assert_eq!((sweeps[2].findings, sweeps[2].name.as_str()), (7, "risky"));
}

#[test]
fn books_of_a_sweep_that_do_not_close_are_not_kept() {
    let (_directory, path) = place();
    let mut store = open(&path);
    let mut open = report(1, Verdict::Complete, at(1));
    open.ledger.declared += 1;
    store.write(|tx| tx.sweep("risky", &open, 0)).expect_err("a ledger that does not add up");
    let twice = store.write(|tx| {
        tx.sweep("risky", &report(1, Verdict::Complete, at(1)), 0)?;
        tx.sweep("risky", &report(1, Verdict::Complete, at(1)), 0)
    });
    twice.expect_err("the same sweep twice");
    assert_eq!(store.sweeps(None, 10).expect("sweeps"), []);
}

/// One sweep of `risky`: what is open, what is gone.
fn observe(store: &mut Store, n: u64, verdict: Verdict, open: &[u32], gone: &[(u32, Reason)]) {
    let open: Vec<_> = open.iter().map(|n| seen(*n, Reason::SynAck)).collect();
    let gone: Vec<_> = gone.iter().map(|(n, reason)| (target(*n), reason.state(), Some(*reason))).collect();
    write(store, |tx| {
        // In either order.
        if n.is_multiple_of(2) {
            tx.sweep("risky", &report(n, verdict, at(n as i64)), 0)?;
        }
        tx.observe("risky", id(n), at(n as i64), &open, &gone)?;
        if !n.is_multiple_of(2) {
            tx.sweep("risky", &report(n, verdict, at(n as i64)), 0)?;
        }
        Ok(())
    });
}

#[test]
fn a_target_is_one_row_for_as_long_as_it_is_open() {
    let (_directory, path) = place();
    let mut store = open(&path);
    observe(&mut store, 1, Verdict::Complete, &[1, 2], &[]);
    observe(&mut store, 2, Verdict::Complete, &[1, 2], &[]);
    observe(&mut store, 3, Verdict::Degraded, &[1], &[]);
    assert_eq!(store.open_targets("risky").expect("targets"), [target(1), target(2)]);
    observe(&mut store, 4, Verdict::Complete, &[2, 3], &[(1, Reason::Rst)]);
    observe(&mut store, 5, Verdict::Complete, &[1, 2], &[(3, Reason::NoResponse)]);
    assert_eq!(store.open_targets("risky").expect("targets"), [target(1), target(2)]);
    assert_eq!(store.open_targets("other").expect("targets"), []);
    let span = |n, first, last, ended: Option<(i64, Reason)>| Span {
        name: "risky".into(),
        target: target(n),
        state: State::Open,
        reason: Some(Reason::SynAck),
        first_seen: at(first),
        last_seen: at(last),
        ended: ended.map(|(ms, reason)| End { at: at(ms), state: reason.state(), reason: Some(reason) }),
    };
    let all = store.observations(&SpanFilter::default(), 10).expect("spans");
    assert_eq!(
        all,
        [
            span(1, 5, 5, None),
            span(3, 4, 4, Some((5, Reason::NoResponse))),
            span(2, 1, 5, None),
            // The sweep before its end was not complete, and proves nothing.
            span(1, 1, 2, Some((4, Reason::Rst))),
        ]
    );
    let list = |filter: SpanFilter| store.observations(&filter, 10).expect("spans");
    let only =
        |filter: fn(&Span) -> bool| all.iter().filter(|span| filter(span)).cloned().collect::<Vec<_>>();
    assert_eq!(
        list(SpanFilter { open_only: true, ..SpanFilter::default() }),
        only(|span| span.ended.is_none())
    );
    let host = SpanFilter { ip: Some(target(1).ip), name: Some("risky".into()), open_only: false };
    assert_eq!(list(host), only(|span| span.target == target(1)));
    assert_eq!(list(SpanFilter { name: Some("other".into()), ..SpanFilter::default() }), []);
    assert_eq!(store.observations(&SpanFilter::default(), 1).expect("spans"), all[..1]);
}

#[test]
fn a_target_that_contradicts_itself_begins_anew_and_nobody_looking_is_an_end() {
    let (_directory, path) = place();
    let mut store = open(&path);
    for (n, reason) in [(1, Reason::SynAck), (2, Reason::Contradiction)] {
        write(&mut store, |tx| tx.observe("risky", id(n), at(n as i64), &[seen(1, reason)], &[]));
    }
    write(&mut store, |tx| tx.observe("risky", id(3), at(3), &[], &[(target(1), State::Unknown, None)]));
    write(&mut store, |tx| tx.observe("risky", id(4), at(4), &[], &[(target(1), State::Closed, None)]));
    let spans = store.observations(&SpanFilter::default(), 10).expect("spans");
    let ends: Vec<_> = spans.iter().map(|span| (span.state, span.first_seen, span.ended)).collect();
    let end = |ms, state, reason| Some(End { at: at(ms), state, reason });
    assert_eq!(
        ends,
        [
            (State::Conflict, at(2), end(3, State::Unknown, None)),
            (State::Open, at(1), end(2, State::Conflict, Some(Reason::Contradiction))),
        ]
    );
}

#[test]
fn what_is_still_open_touches_nothing_on_disk() {
    let (_directory, path) = place();
    let mut store = open(&path);
    let open: Vec<_> = (0..1000).map(|n| seen(n, Reason::SynAck)).collect();
    write(&mut store, |tx| tx.observe("risky", id(1), at(1), &open, &[]));
    let log = path.with_file_name("portreeve.db-wal");
    let state = || {
        let log = std::fs::metadata(&log).expect("a log");
        (log.len(), log.modified().expect("a time"))
    };
    let before = state();
    std::thread::sleep(Duration::from_millis(20));
    write(&mut store, |tx| tx.observe("risky", id(2), at(2), &open, &[]));
    assert_eq!(state(), before);
    write(&mut store, |tx| tx.observe("risky", id(2), at(2), &[seen(5000, Reason::SynAck)], &[]));
    assert_ne!(state(), before, "or nothing would show here");
}

#[test]
fn an_error_takes_everything_back() {
    let (_directory, path) = place();
    let mut store = open(&path);
    let written = store.write(|tx| -> Result<(), StoreError> {
        tx.put("a", "b")?;
        tx.save(&record(alert(1, 1, Phase::Firing, at(0))))?;
        tx.enqueue(&event(1, "k", at(0)), &["siem"])?;
        assert_eq!(tx.records()?.len(), 1, "it sees what it has written");
        assert_eq!(Store::open_reader(&path)?.records()?.len(), 0, "and nobody else does");
        Err(StoreError::Missing { file: "x".into() })
    });
    written.expect_err("its own error");
    assert_eq!((store.get("a").expect("a value"), store.records().expect("records").len()), (None, 0));
    assert_eq!(store.books().expect("books"), []);
    write(&mut store, |tx| tx.put("a", "c"));
    assert_eq!(store.get("a").expect("a value").as_deref(), Some("c"));
    write(&mut store, |tx| tx.forget("a"));
    assert_eq!(store.get("a").expect("a value"), None);
}

#[test]
fn what_is_old_is_forgotten_and_what_matters_never() {
    let (_directory, path) = place();
    let mut store = open(&path);
    let day = |days: i64| at(days * 24 * 3_600_000);
    write(&mut store, |tx| {
        tx.save(&record(alert(1, 1, Phase::Firing, day(0))))?;
        tx.save(&record(alert(2, 1, Phase::Resolved, day(0))))?;
        tx.save(&record(alert(3, 1, Phase::Resolved, day(398))))?;
        tx.note(&notice(1, Transition::Firing, alert(2, 1, Phase::Firing, day(0)), day(0)))?;
        tx.note(&notice(2, Transition::Resolved, alert(2, 1, Phase::Resolved, day(0)), day(1)))?;
        tx.note(&notice(3, Transition::Firing, alert(3, 1, Phase::Firing, day(0)), day(0)))?;
        tx.sweep("risky", &report(1, Verdict::Complete, day(0)), 0)?;
        tx.sweep("risky", &report(2, Verdict::Complete, day(390)), 0)?;
        tx.observe("risky", id(1), day(0), &[seen(1, Reason::SynAck), seen(2, Reason::SynAck)], &[])?;
        tx.observe("risky", id(2), day(0), &[], &[(target(2), State::Closed, Some(Reason::Rst))])?;
        for n in 1..=3 {
            tx.enqueue(&event(n, &format!("{n}"), day(0)), &["siem"])?;
        }
        Ok(())
    });
    let rows: Vec<_> = store.due("siem", day(0), 3).expect("due").iter().map(|out| out.row).collect();
    write(&mut store, |tx| {
        tx.delivered(&rows[..1], day(0))?;
        tx.dead(rows[1], "gone", day(0))
    });
    let now = day(400) + SignedDuration::from_millis(1);
    assert!(!store.retain(&Retention::default(), now).expect("less"), "one bite is enough");
    assert_eq!(store.records().expect("records").len(), 1, "what fires is needed");
    assert_eq!(
        store.alerts(&AlertFilter::default()).expect("alerts").len(),
        2,
        "and the one of yesterday is there"
    );
    let history = store.history(&HistoryFilter::default(), 10).expect("a history");
    assert_eq!(history.iter().map(|notice| notice.id).collect::<Vec<_>>(), [id(2)]);
    assert_eq!(history[0].alert, alert(2, 1, Phase::Resolved, day(0)), "whole without the first word");
    let sweeps = store.sweeps(None, 10).expect("sweeps");
    assert_eq!(sweeps.iter().map(|sweep| sweep.sweep).collect::<Vec<_>>(), [id(2)]);
    let spans = store.observations(&SpanFilter::default(), 10).expect("spans");
    assert_eq!(spans.iter().map(|span| span.target).collect::<Vec<_>>(), [target(1)], "it is open still");
    assert_eq!(store.fates(id(1)).expect("fates"), []);
    assert_eq!(store.letters(10).expect("letters"), []);
    assert_eq!(store.due("siem", now, 9).expect("due").len(), 1, "what is on its way stays");
    let books = books(&store, "siem");
    assert!(books.are_closed(), "{books:?}");
    assert_eq!((books.raised, books.delivered, books.pending, books.dead), (3, 1, 1, 1));
    drop(store);
    assert_eq!(portreeve::store::check::check(&path).expect("a check").problems, Vec::<String>::new());
    let rows = |table: &str| -> i64 {
        let connection = rusqlite::Connection::open(&path).expect("a database");
        connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).expect(table)
    };
    assert_eq!((rows("episodes"), rows("history"), rows("deliveries")), (1, 1, 0));
}

#[test]
fn space_is_given_back_in_bites() {
    let (_directory, path) = place();
    let mut store = open(&path);
    write(&mut store, |tx| {
        for n in 0..20_000 {
            let alert = alert(n, 1, Phase::Firing, at(0));
            tx.note(&notice(u64::from(n), Transition::Firing, alert, at(0)))?;
        }
        Ok(())
    });
    let later = at(0) + SignedDuration::from_hours(24 * 500);
    let mut bites = 0;
    while store.retain(&Retention::default(), later).expect("less") {
        bites += 1;
    }
    assert!((19..100).contains(&bites), "{bites}");
    drop(store);
    let size = std::fs::metadata(&path).expect("a file").len();
    assert!(size < 300_000, "{size} bytes are left");
}

#[test]
fn a_fingerprint_is_found_by_its_first_digits_as_long_as_anything_is_known_of_it() {
    let (_directory, path) = place();
    let mut store = open(&path);
    let (kept, forgotten) = (alert(1, 1, Phase::Firing, at(1)), alert(2, 2, Phase::Firing, at(1)));
    write(&mut store, |tx| {
        tx.save(&record(kept.clone()))?;
        tx.note(&notice(1, Transition::Firing, forgotten.clone(), at(1)))
    });
    let find = |digits: &str| store.fingerprints(digits).expect("fingerprints");
    for alert in [&kept, &forgotten] {
        let fingerprint = &alert.finding.fingerprint;
        for digits in [8, 9, 31, 32] {
            assert_eq!(find(&fingerprint.as_str()[..digits]), std::slice::from_ref(fingerprint), "{digits}");
        }
    }
    let mut both = vec![kept.finding.fingerprint, forgotten.finding.fingerprint];
    both.sort();
    assert_eq!(find(""), both);
    for none in ["00000000", "xyz", &"0".repeat(33)] {
        assert_eq!(find(none), [], "{none}");
    }
}

#[test]
fn silences_that_are_over_are_known_and_so_is_who_ended_them() {
    let (_directory, path) = place();
    let mut store = open(&path);
    let silence = |until| Silence {
        id: 0,
        matcher: Default::default(),
        from: at(0),
        until,
        reason: "patching".to_owned(),
        who: "kim".to_owned(),
    };
    let ids =
        write(&mut store, |tx| Ok([tx.add_silence(&silence(at(10)))?, tx.add_silence(&silence(at(99)))?]));
    assert!(write(&mut store, |tx| tx.end_silence(ids[1], "lee", at(20))));
    assert_eq!(store.silences(at(30)).expect("silences"), []);
    let all = store.all_silences().expect("silences");
    let told: Vec<_> = all.iter().map(|(silence, by)| (silence.id, silence.until, by.as_deref())).collect();
    assert_eq!(told, [(ids[0], at(10), None), (ids[1], at(20), Some("lee"))]);
}

#[test]
fn sweeps_are_found_by_when_they_ended() {
    let (_directory, path) = place();
    let mut store = open(&path);
    for (n, verdict) in [(1, Verdict::Complete), (2, Verdict::Degraded), (3, Verdict::Blind)] {
        let name = if n == 3 { "other" } else { "risky" };
        write(&mut store, |tx| tx.sweep(name, &report(n, verdict, at(100 * n as i64)), 0));
    }
    let ended = |since: Option<i64>, until: Option<i64>, limit| -> Vec<Timestamp> {
        let sweeps = store.sweeps_between(since.map(at), until.map(at), limit).expect("sweeps");
        sweeps.into_iter().map(|sweep| sweep.completed).collect()
    };
    assert_eq!(ended(None, None, 9), [at(300), at(200), at(100)]);
    assert_eq!(ended(None, None, 1), [at(300)]);
    assert_eq!(ended(Some(200), None, 9), [at(300), at(200)]);
    assert_eq!(ended(None, Some(200), 9), [at(100)]);
    let last = store.last_complete().expect("watches");
    assert_eq!(last, [("other".to_owned(), None), ("risky".to_owned(), Some(at(100)))]);
}

#[test]
fn why_the_last_attempt_failed_is_known_while_the_message_waits() {
    let (_directory, path) = place();
    let mut store = open(&path);
    write(&mut store, |tx| {
        Ok(tx.enqueue(&event(1, "k", at(0)), &["a"])? + tx.enqueue(&event(2, "l", at(0)), &["a"])?)
    });
    let why = |store: &Store| store.last_failure("a").expect("a reason");
    assert_eq!(why(&store), None);
    let rows: Vec<_> = store.due("a", at(1), 9).expect("due").into_iter().map(|due| due.row).collect();
    write(&mut store, |tx| tx.retry(rows[0], "HTTP 500", at(60)));
    write(&mut store, |tx| tx.retry(rows[1], "HTTP 503", at(120)));
    assert_eq!(why(&store).as_deref(), Some("HTTP 503"));
    write(&mut store, |tx| tx.delivered(&rows, at(130)));
    assert_eq!(why(&store), None);
    assert_eq!(store.last_failure("nobody").expect("a reason"), None);
}
