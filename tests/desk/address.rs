//! Who is told: whoever has heard of a beginning hears of the end, wherever the routes lead by then.

use std::time::Duration;

use portreeve::alert::advance::Mint;
use portreeve::alert::book::Book;
use portreeve::alert::route::RouteMatch;
use portreeve::alert::silence::{Matcher, Silence};
use portreeve::alert::tell::{Happened, tell_anew};
use portreeve::policy::class::Class;
use portreeve::policy::kind::FindingKind;
use portreeve::target::ports::Severity;
use portreeve::watch::desk::Change;

use crate::harness::{Office, standing, takes_all};

/// A desk with a pager that hears, alone, of what this matches.
fn with_pager(matcher: Matcher) -> Office {
    let sinks = ["soc", "ops", "siem", "pager"].map(|sink| (sink, takes_all()));
    let office = Office::new(sinks.into_iter().collect());
    let mut standing = standing(&office.rules);
    standing.sinks.insert("pager".to_owned(), false);
    standing.sinks.insert("soc".to_owned(), false);
    standing.routes.matches =
        vec![RouteMatch { matcher, to: vec!["pager".to_owned()], ..RouteMatch::default() }];
    office.desk.stand_by(standing);
    office
}

fn critical() -> Matcher {
    Matcher { severity: Some(Severity::Critical), ..Matcher::default() }
}

#[test]
fn whoever_has_heard_that_it_fires_hears_that_it_is_over() {
    let mut office = with_pager(critical());
    office.see_as(&[(22, Severity::Critical)]);
    office.see_as(&[(22, Severity::High)]);
    office.see_as(&[]);
    office.carry();
    assert_eq!(office.told("pager"), ["exposure 22 firing", "exposure 22 resolved"]);
}

#[test]
fn whoever_comes_to_hear_of_it_is_one_more() {
    let mut office = with_pager(critical());
    office.see_as(&[(22, Severity::High)]);
    office.see_as(&[(22, Severity::Critical)]);
    office.see_as(&[]);
    office.carry();
    assert_eq!(office.told("soc"), ["exposure 22 firing", "exposure 22 escalated", "exposure 22 resolved"]);
    assert_eq!(office.told("pager"), ["exposure 22 escalated", "exposure 22 resolved"]);
    // The next time is another.
    office.see_as(&[(22, Severity::High)]);
    office.carry();
    assert_eq!((office.told("soc").len(), office.told("pager").len()), (4, 2));
}

#[test]
fn only_what_is_worse_than_ever_before_is_worse() {
    let mut office = with_pager(Matcher::default());
    for severity in
        [Severity::Critical, Severity::High, Severity::Critical, Severity::High, Severity::Critical]
    {
        office.see_as(&[(22, severity)]);
    }
    office.carry();
    assert_eq!(office.told("pager"), ["exposure 22 firing"]);
}

/// Ports that are bad, and one that is worse.
fn storm(worst: Severity) -> Vec<(u16, Severity)> {
    (1..=30).map(|port| (port, if port == 22 { worst } else { Severity::High })).collect()
}

#[test]
fn a_storm_is_told_to_everybody_who_would_hear_of_any_part_of_it() {
    let mut office = with_pager(critical());
    office.see_as(&storm(Severity::Critical));
    office.carry();
    assert_eq!(office.told("soc"), ["storm security firing"]);
    assert_eq!(office.told("pager"), ["storm security firing"]);
    office.see_as(&[]);
    office.carry();
    assert_eq!(office.told("soc").last().map(String::as_str), Some("storm security resolved"));
    assert_eq!(office.told("pager").last().map(String::as_str), Some("storm security resolved"));
}

#[test]
fn a_storm_is_told_to_nobody_else() {
    let mut office = with_pager(Matcher { kinds: vec![FindingKind::Exposure], ..Matcher::default() });
    office.see_as(&storm(Severity::High));
    office.see_as(&[]);
    office.carry();
    assert!(office.told("soc").is_empty(), "{:?}", office.told("soc"));
    assert_eq!(office.told("pager"), ["storm security firing", "storm security resolved"]);
}

#[test]
fn a_storm_that_is_silenced_is_told_when_the_silence_ends() {
    let mut office = with_pager(critical());
    let until = office.time.now() + Duration::from_secs(3600);
    let silence = Silence {
        id: 0,
        matcher: Matcher { kinds: vec![FindingKind::Storm], ..Matcher::default() },
        from: office.time.now(),
        until,
        reason: "a lab".to_owned(),
        who: "netops".to_owned(),
    };
    office.desk.with_store(|store| store.write(|tx| tx.add_silence(&silence))).expect("a silence");
    office.see_as(&storm(Severity::High));
    office.pass(2, Duration::from_secs(60));
    office.see_as(&storm(Severity::High));
    office.carry();
    assert!(office.told("soc").is_empty(), "{:?}", office.told("soc"));
    office.pass(60, Duration::from_secs(60));
    office.see_as(&storm(Severity::High));
    office.carry();
    assert_eq!(office.told("soc"), ["storm security firing"]);
    let stormy = |told: Vec<String>| told.into_iter().filter(|told| told.starts_with("storm")).count();
    assert_eq!(stormy(office.told("siem")), 1, "events have heard of it when it began");
}

#[test]
fn whoever_takes_the_place_of_all_who_have_heard_is_told_anew() {
    let mut office = with_pager(critical());
    office.see(&[22]);
    office.carry();
    assert_eq!(office.told("soc"), ["exposure 22 firing"]);
    let mut standing = standing(&office.rules);
    standing.sinks = [("pager".to_owned(), false)].into();
    standing.routes.classes.insert(Class::security(), vec!["pager".to_owned()]);
    office.desk.stand_by(standing);
    let step = |book: &mut Book, _: Mint<'_>| {
        tell_anew(book, &|sink| sink == "pager");
        Happened::new()
    };
    office.desk.make(&Change::of(&step), office.time.now());
    // Who is there has heard now.
    office.desk.make(&Change::of(&step), office.time.now());
    office.see(&[]);
    office.carry();
    assert_eq!(office.told("pager"), ["exposure 22 firing", "exposure 22 resolved"]);
    assert_eq!(office.told("soc").len(), 1);
}
