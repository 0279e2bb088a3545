//! What receivers do, and what becomes of messages by that.

use std::time::Duration;

use jiff::SignedDuration;
use portreeve::sink::channel::Delivery;
use portreeve::sink::message::Message;

use crate::harness::{Conduct, Office, begin, retry, takes_all, takes_turns};

const MINUTE: Duration = Duration::from_secs(60);

/// Fails as it is told to, for so many hours.
fn down_for(hours: i64, failure: impl Fn() -> Delivery + Send + 'static) -> Conduct {
    Box::new(move |_, now| match now.duration_since(begin()) < SignedDuration::from_hours(hours) {
        true => failure(),
        false => Delivery::Delivered,
    })
}

#[test]
fn a_receiver_that_was_down_for_a_day_gets_everything_in_order_and_no_other_waits_for_it() {
    let mut office = Office::new(vec![
        ("soc", down_for(24, || retry("connection refused"))),
        ("ops", takes_all()),
        ("siem", takes_all()),
    ]);
    let mut raised = 0;
    for minute in 0..24 * 60 - 1_u16 {
        // Every ten minutes something opens, and closes five minutes later.
        if minute % 5 == 0 {
            let ports = if minute % 10 == 0 { vec![1000 + minute] } else { Vec::new() };
            office.see(&ports);
            raised += 1;
        }
        office.pass(1, MINUTE);
        assert!(office.told("soc").is_empty());
        let exposures = office.told("siem").into_iter().filter(|told| told.starts_with("exposure")).count();
        assert_eq!(exposures, raised, "nobody else waits");
        let told = office.told("ops").len();
        // A quarter of an hour, and as long again as it is left alone between two attempts.
        assert!(
            told == usize::from(minute >= 15 + 6) || (9..15 + 6).contains(&minute),
            "after a while somebody else knows, not at minute {minute}"
        );
    }
    office.pass(20, MINUTE);
    assert_eq!(office.told("soc").len(), raised);
    assert!(takes_turns(&office.received["soc"].lock().expect("a list")));
    assert_eq!(office.books()["soc"], (288, 288, 0, 0));
    assert_eq!(office.told("ops"), ["delivery-failed soc firing", "delivery-failed soc resolved"]);
}

#[test]
fn a_receiver_is_left_alone_for_as_long_as_it_asks() {
    let mut attempts = Vec::new();
    let (sender, seen) = std::sync::mpsc::channel();
    let mut office = Office::new(vec![(
        "soc",
        Box::new(move |_, now| {
            sender.send(now.duration_since(begin()).as_secs()).expect("a listener");
            match now.duration_since(begin()).as_secs() {
                ..600 => Delivery::Retry { why: "429".to_owned(), after: Some(Duration::from_secs(300)) },
                _ => Delivery::Delivered,
            }
        }),
    )]);
    office.see(&[22, 3306]);
    office.carry();
    office.pass(700, Duration::from_secs(1));
    attempts.extend(seen.try_iter());
    assert_eq!(attempts, [0, 300, 600, 600]);
    assert_eq!(office.told("soc").len(), 2);
}

#[test]
fn what_no_receiver_takes_is_given_up_with_its_reason_and_that_is_told_elsewhere() {
    let mut office = Office::new(vec![
        ("soc", Box::new(|_, _| retry("bad TLS"))),
        ("ops", takes_all()),
        ("siem", takes_all()),
    ]);
    office.see(&[22]);
    office.carry();
    office.pass(3 * 24 * 12 - 1, 5 * MINUTE);
    assert_eq!(office.books()["soc"], (1, 0, 1, 0), "not before its time");
    office.pass(4, 5 * MINUTE);
    assert_eq!(office.books()["soc"], (1, 0, 0, 1));
    assert_eq!(
        office.told("ops"),
        ["delivery-failed soc firing", "delivery-failed soc escalated"],
        "late, then lost"
    );
    let letters = office.desk.with_store(|store| store.letters(10)).expect("letters");
    assert!(letters[0].why.contains("bad TLS"), "{letters:?}");
    assert!(letters[0].why.starts_with("given up after "), "{letters:?}");
}

/// Whoever was not there for a week, as a machine that was off, has not tried.
#[test]
fn what_is_old_is_tried_often_enough_before_it_is_given_up() {
    let mut left = 3;
    let conduct = Box::new(move |_: &Message, _| {
        left -= 1;
        if left >= 0 { retry("down") } else { Delivery::Delivered }
    });
    let mut office = Office::new(vec![("soc", conduct), ("ops", takes_all())]);
    office.see(&[22]);
    office.hands.pass(7 * 24 * 60 * MINUTE);
    office.pass(4, 5 * MINUTE);
    assert_eq!(office.told("soc"), ["exposure 22 firing"]);
    assert_eq!(office.books()["soc"], (1, 1, 0, 0));
}

#[test]
fn what_is_refused_holds_up_nothing_behind_it() {
    let refuse = |message: &Message| crate::harness::in_short(message).contains("22 ");
    let mut office = Office::new(vec![
        (
            "soc",
            Box::new(move |message, _| match refuse(message) {
                true => Delivery::Refused { why: "400".to_owned() },
                false => Delivery::Delivered,
            }),
        ),
        ("ops", takes_all()),
    ]);
    office.see(&[22, 23]);
    office.see(&[]);
    office.carry();
    assert_eq!(office.told("soc"), ["exposure 23 firing", "exposure 23 resolved"]);
    assert_eq!(office.books()["soc"], (4, 2, 0, 2));
    // It says that messages were lost, and when the next has arrived, that it works again.
    let told = office.told("ops");
    assert_eq!(told.first().map(String::as_str), Some("delivery-failed soc firing"));
    assert_eq!(told.last().map(String::as_str), Some("delivery-failed soc resolved"));
}

#[test]
fn one_message_that_fails_again_and_again_does_not_keep_the_others() {
    let mut office = Office::new(vec![(
        "soc",
        Box::new(|message, _| match crate::harness::in_short(message).contains("22 ") {
            true => retry("500"),
            false => Delivery::Delivered,
        }),
    )]);
    office.see(&[22, 3306, 5432, 6379]);
    office.carry();
    office.pass(10, Duration::from_secs(1));
    let mut told = office.told("soc");
    told.sort();
    assert_eq!(told, ["exposure 3306 firing", "exposure 5432 firing", "exposure 6379 firing"]);
    assert_eq!(office.books()["soc"], (4, 3, 1, 0));
}

#[test]
fn a_clock_that_is_set_gives_nothing_up_and_holds_nothing_back() {
    for hours in [-1, 1, -24 * 365, 24 * 365] {
        let mut office = Office::new(vec![("soc", down_for(2, || retry("no route"))), ("ops", takes_all())]);
        office.see(&[22]);
        office.carry();
        office.pass(30, MINUTE);
        office.hands.set(SignedDuration::from_hours(hours));
        office.time.look();
        office.pass(100, MINUTE);
        assert_eq!(office.books()["soc"], (1, 1, 0, 0), "{hours}");
        let told = office.told("ops");
        assert_eq!(
            told,
            ["delivery-failed soc firing", "delivery-failed soc resolved"],
            "{hours}: late, and not lost"
        );
    }
}

#[test]
fn ten_thousand_exposures_at_once_are_one_page_and_ten_thousand_events() {
    let mut office = Office::new(vec![("soc", takes_all()), ("ops", takes_all()), ("siem", takes_all())]);
    let ports: Vec<u16> = (1..=10_000).collect();
    office.see(&ports);
    office.carry();
    assert_eq!(office.told("soc"), ["storm security firing"]);
    assert_eq!(office.told("siem").len(), 10_001);
    assert!(office.told("ops").is_empty());
    // As long as they stay, nothing more is said, and when they are gone, people hear that once.
    office.see(&ports);
    office.carry();
    assert_eq!(office.told("siem").len(), 10_001);
    office.see(&[]);
    office.carry();
    assert_eq!(office.told("soc"), ["storm security firing", "storm security resolved"]);
    assert_eq!(office.told("siem").len(), 20_002);
    assert_eq!(office.books()["siem"], (20_002, 20_002, 0, 0));
}
