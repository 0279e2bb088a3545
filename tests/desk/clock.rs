//! A clock that is set: while somebody is at the desk, while nobody is, and between two passes.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use portreeve::alert::rules::AlertRules;
use portreeve::policy::finding::Finding;
use portreeve::sink::channel::{Channel, Delivery};
use portreeve::sink::message::Message;
use portreeve::sync::SignalFlag;
use portreeve::watch::daemon;
use portreeve::watch::messenger::Messenger;
use portreeve::watch::once::{self, Crew};
use portreeve::watch::time::{PROBATION, Step, Time, TimeSource};

use super::harness::{Conduct, Hands, Office, retry, standing, takes_all};

const MINUTE: Duration = Duration::from_secs(60);

/// Somebody sets the clock, and it stays so until that is believed. Looks at it as the daemon does.
fn set_and_believe(office: &mut Office, by: SignedDuration) {
    office.hands.set(by);
    for _ in 0..=PROBATION.as_secs() / 60 + 1 {
        if let Some(Step::Believed(by)) = office.time.look() {
            office.desk.shift(by, office.time.now());
            office.carry();
            return;
        }
        office.pass(1, MINUTE);
    }
    panic!("it is never believed");
}

/// A receiver that is away until this is changed.
fn away_while(is_away: &Arc<Mutex<bool>>) -> Conduct {
    let is_away = Arc::clone(is_away);
    Box::new(move |_, _| if *is_away.lock().expect("a word") { retry("away") } else { Delivery::Delivered })
}

#[test]
fn a_sink_that_is_left_alone_is_tried_again_soon_whatever_the_clock_has_become() {
    for years in [-1, 1] {
        let is_away = Arc::new(Mutex::new(true));
        let mut office = Office::new(vec![("soc", away_while(&is_away))]);
        office.see(&[22]);
        office.carry();
        office.pass(30, MINUTE);
        set_and_believe(&mut office, SignedDuration::from_hours(years * 365 * 24));
        *is_away.lock().expect("a word") = false;
        office.pass(10, MINUTE);
        assert_eq!(office.told("soc"), ["exposure 22 firing"], "{years}");
    }
}

/// An office that reminds people every four hours, and where people know of something that fires.
fn reminding() -> Office {
    let mut office = Office::new(vec![("soc", takes_all())]);
    office.rules = AlertRules { remind_every: Some(60 * 4 * MINUTE), ..office.rules.clone() };
    office.desk.stand_by(standing(&office.rules));
    office.see(&[22]);
    office.carry();
    office
}

/// What has been said in the minutes after which there was a reminder, counted from now on.
fn reminders(office: &mut Office, minutes: u32) -> Vec<u32> {
    let mut told = office.told("soc").len();
    let mut said = Vec::new();
    for minute in 1..=minutes {
        office.pass(1, MINUTE);
        office.see(&[22]);
        office.carry();
        let now = office.told("soc").len();
        said.extend((now > told).then_some(minute));
        told = now;
    }
    said
}

#[test]
fn reminders_come_as_they_would_have_when_a_clock_that_has_been_set_is_believed() {
    for years in [-1, 1] {
        let mut office = reminding();
        assert_eq!(reminders(&mut office, 100), [0; 0], "{years}");
        // The clock is believed an hour later; 80 minutes of four hours are left then.
        set_and_believe(&mut office, SignedDuration::from_hours(years * 365 * 24));
        let said = reminders(&mut office, 400);
        assert_eq!(said.len(), 2, "{years}: {said:?}");
        assert!((75..=85).contains(&said[0]) && said[1] == said[0] + 240, "{years}: {said:?}");
    }
}

#[test]
fn what_was_put_off_before_the_clock_was_set_back_while_nobody_was_here_does_not_wait_for_it() {
    let told = |words: &[&str]| BTreeSet::from_iter(words.iter().map(ToString::to_string));
    let is_away = Arc::new(Mutex::new(true));
    let office = reminding();
    let path = office.kept.path().join("alerts.db");
    let mut office = Office::at(&path, vec![("soc", away_while(&is_away))], office.into_directory());
    office.rules = AlertRules { remind_every: Some(60 * 4 * MINUTE), ..office.rules.clone() };
    office.hands.set(SignedDuration::from_hours(365 * 24));
    office.time = Time::new(Box::new(office.hands.clone()));
    office.desk.stand_by(standing(&office.rules));
    // By a clock that is a year ahead: a reminder, one attempt, and something new.
    office.see(&[22, 23]);
    office.carry();
    let kept = office.into_directory();
    *is_away.lock().expect("a word") = false;
    // And back.
    let mut office = Office::at(&path, vec![("soc", away_while(&is_away))], kept);
    office.rules = AlertRules { remind_every: Some(60 * 4 * MINUTE), ..office.rules.clone() };
    office.desk.stand_by(standing(&office.rules));
    office.desk.take_over(office.time.now());
    office.carry();
    // Alerts of their own, in whichever order.
    assert_eq!(
        BTreeSet::from_iter(office.told("soc")),
        told(&["exposure 22 reminder", "exposure 23 firing"])
    );
    office.pass(1, 60 * 4 * MINUTE);
    office.see(&[22, 23]);
    office.carry();
    let reminded = BTreeSet::from_iter(office.told("soc").split_off(2));
    assert_eq!(reminded, told(&["exposure 22 reminder", "exposure 23 reminder"]));
}

/// A receiver that lets whoever tells it anything wait, and then does not take it.
struct Hanging {
    hands: Hands,
    asked: Arc<Mutex<u32>>,
}

impl Channel for Hanging {
    fn deliver(&mut self, _: &[Message], _: Timestamp) -> Vec<Delivery> {
        self.hands.pass(Duration::from_secs(10));
        *self.asked.lock().expect("a number") += 1;
        vec![retry("silent")]
    }

    fn refresh_every(&self) -> Option<Duration> {
        Some(MINUTE)
    }

    fn refresh(&mut self, _: &[portreeve::alert::life::Alert], _: Timestamp) -> Result<(), String> {
        self.hands.pass(Duration::from_secs(10));
        *self.asked.lock().expect("a number") += 1;
        Err("silent".to_owned())
    }
}

#[test]
fn a_receiver_that_hangs_has_one_patience_for_the_whole_pass_and_keeps_no_other_from_its_own() {
    let office = Office::new(Vec::new());
    let asked = Arc::new(Mutex::new(0));
    let hanging = Hanging { hands: office.hands.clone(), asked: Arc::clone(&asked) };
    let mut crew = Crew::new(vec![Messenger::new("soc", Box::new(hanging), MINUTE)]);
    office.see(&[22, 23, 24, 25, 26, 27]);
    crew.carry(&office.desk, &office.time).expect("threads");
    office.see(&[22, 23, 24, 25, 26, 27, 28, 29]);
    crew.carry(&office.desk, &office.time).expect("threads");
    crew.refresh(&office.desk, &office.time).expect("threads");
    let took = office.hands.since_boot();
    assert!(took <= Duration::from_secs(30), "{took:?}, asked {} times", asked.lock().expect("a number"));
}

/// A receiver on the loopback that takes everything: gives its address and what it is posted.
fn loopback() -> (String, Arc<Mutex<Vec<serde_json::Value>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let address = listener.local_addr().expect("an address").to_string();
    let posted = Arc::new(Mutex::new(Vec::new()));
    let list = Arc::clone(&posted);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let (mut text, mut some) = (Vec::new(), [0; 4096]);
            let body = loop {
                let Ok(count @ 1..) = stream.read(&mut some) else { break None };
                text.extend_from_slice(&some[..count]);
                let Some(end) = text.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
                if let Ok(body) = serde_json::from_slice(&text[end + 4..]) {
                    break Some(body);
                }
            };
            list.lock().expect("a list").extend(body);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        }
    });
    (address, posted)
}

#[test]
fn a_pass_tells_alertmanager_again_of_what_fires_until_the_next_pass_is_due() {
    let (address, posted) = loopback();
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("watch.toml");
    let database = directory.path().join("alerts.db");
    let text = format!(
        "[scope]\nnetworks = [\"198.18.0.0/30\"]\n[[watch]]\nname = \"w\"\ninterval = \"1h\"\n\
         [store]\npath = {database:?}\n\
         [[sink]]\nname = \"am\"\nkind = \"alertmanager\"\nurl = \"http://{address}\"\n\
         [route]\nsecurity = [\"am\"]\nhealth = [\"am\"]\nown = [\"am\"]\n"
    );
    std::fs::write(&file, text).expect("a file");
    for pass in 1..=2 {
        let config = daemon::load(&file).unwrap_or_else(|error| panic!("{error}"));
        let (shared, lock) = daemon::open(&file, config).expect("a database");
        let now = shared.time.now();
        // Its one watch has swept just now, so there is nothing to sweep.
        let started = |store: &mut portreeve::store::Store| {
            store.write(|tx| tx.put("started:w", &shared.time.wall().to_string()))
        };
        shared.desk.with_store(started).expect("written");
        shared.desk.report(Finding::sweep_missed("w", "for a test", now), true, None, now);
        let passed = once::run(&shared, &SignalFlag::new(false)).expect("a pass");
        assert_eq!((passed.unmade, passed.firing), (0, 1));
        drop(lock);
        let posted = posted.lock().expect("a list");
        assert!(posted.len() > pass, "the beginning once, and all that fires in each pass: {posted:?}");
        let alert = &posted.last().expect("a post")[0];
        let ends: Timestamp = alert["endsAt"].as_str().expect("a time").parse().expect("a time");
        assert!(ends >= now + SignedDuration::from_hours(3), "{alert}");
    }
}
