//! When the database cannot be written: alerts are told all the same, nothing is told twice, and the books are right in
//! the end.

use std::time::Duration;

use portreeve::sink::channel::Delivery;
use portreeve::sink::message::Message;
use portreeve::store::error::StoreError;
use rusqlite::Connection;

use crate::harness::{Office, in_short, retry, takes_all};

const SECOND: Duration = Duration::from_secs(1);

/// Somebody else who does not let go of the database: whoever wants to write is told that it is busy.
fn keep_busy(office: &Office) -> Connection {
    let other = Connection::open(office.kept.path().join("alerts.db")).expect("a connection");
    other.execute_batch("BEGIN IMMEDIATE").expect("a lock");
    other
}

fn let_go(other: &Connection) {
    other.execute_batch("ROLLBACK").expect("it lets go");
}

#[test]
fn alerts_are_told_while_nothing_can_be_written_and_written_when_it_can() {
    let mut office = Office::new(vec![("soc", takes_all()), ("ops", takes_all()), ("siem", takes_all())]);
    office.see(&[22]);
    office.carry();
    let other = keep_busy(&office);
    office.see(&[22, 3306]);
    office.carry();
    assert_eq!(office.told("soc"), ["exposure 22 firing", "exposure 3306 firing"]);
    assert_eq!(office.told("ops"), ["store-failed store firing"]);
    assert!(office.desk.flush(office.time.now()).is_err(), "it is loud");
    // While it lasts, alerts live on.
    office.see(&[3306]);
    office.carry();
    assert_eq!(office.told("soc").last().map(String::as_str), Some("exposure 22 resolved"));
    assert_eq!(office.books()["soc"], (1, 1, 0, 0), "the database knows of none of it");
    let_go(&other);
    assert_eq!(office.desk.flush(office.time.now()), Ok(()));
    office.pass(10, SECOND);
    assert_eq!(office.told("soc").len(), 3, "nothing is told twice");
    assert_eq!(office.told("ops"), ["store-failed store firing", "store-failed store resolved"]);
    let books = office.books();
    assert_eq!(books["soc"], (3, 3, 0, 0));
    assert_eq!(books["ops"], (2, 2, 0, 0));
    assert_eq!(office.told("siem").len(), 5);
    assert_eq!(books["siem"], (5, 5, 0, 0));
}

#[test]
fn what_was_delivered_and_could_not_be_noted_is_not_delivered_again() {
    let mut office = Office::new(vec![("soc", takes_all()), ("ops", takes_all()), ("siem", takes_all())]);
    office.see(&[22, 3306]);
    let other = keep_busy(&office);
    office.carry();
    office.pass(3, SECOND);
    assert_eq!(office.told("soc").len(), 2);
    assert_eq!(office.books()["soc"], (2, 0, 2, 0), "nothing is called delivered that could not be noted");
    let_go(&other);
    assert_eq!(office.desk.flush(office.time.now()), Ok(()));
    office.pass(3, SECOND);
    assert_eq!(office.told("soc").len(), 2);
    assert_eq!(office.books()["soc"], (2, 2, 0, 0));
}

#[test]
fn what_was_not_delivered_in_that_time_is_delivered_after_it() {
    let mut is_down = 6;
    let conduct = Box::new(move |_: &Message, _| {
        is_down -= 1;
        if is_down >= 0 { retry("down") } else { Delivery::Delivered }
    });
    let mut office = Office::new(vec![("soc", conduct), ("ops", takes_all())]);
    let other = keep_busy(&office);
    office.see(&[22]);
    office.carry();
    let_go(&other);
    assert_eq!(office.desk.flush(office.time.now()), Ok(()));
    office.pass(120, SECOND);
    assert_eq!(office.told("soc"), ["exposure 22 firing"]);
    assert_eq!(office.books()["soc"], (1, 1, 0, 0));
}

#[test]
fn a_failure_to_write_is_one_that_may_pass() {
    let office = Office::new(vec![]);
    let other = keep_busy(&office);
    let failed = office.desk.with_store(|store| store.write(|tx| tx.put("key", "value")));
    assert!(matches!(failed, Err(StoreError::Busy { .. })), "{failed:?}");
    let_go(&other);
    let written = office.desk.with_store(|store| store.write(|tx| tx.put("key", "value")));
    assert!(written.is_ok(), "{written:?}");
}

#[test]
fn an_end_that_is_only_in_memory_does_not_overtake_a_beginning_that_is_in_the_database() {
    // Whatever is not the beginning would be taken at once.
    let mut left = 3;
    let conduct = Box::new(move |message: &Message, _| {
        if !in_short(message).ends_with("firing") || left == 0 {
            return Delivery::Delivered;
        }
        left -= 1;
        retry("down")
    });
    let mut office = Office::new(vec![("soc", conduct)]);
    office.see(&[22]);
    office.carry();
    let other = keep_busy(&office);
    office.see(&[]);
    office.carry();
    assert!(office.told("soc").is_empty());
    office.pass(4, 5 * SECOND);
    assert_eq!(office.told("soc"), ["exposure 22 firing", "exposure 22 resolved"]);
    let_go(&other);
    assert_eq!(office.desk.flush(office.time.now()), Ok(()));
    assert_eq!(office.books()["soc"], (2, 2, 0, 0));
}
