//! A drill: an alert about nothing goes through every route, and is looked for at the other end of each.
//!
//! It goes the way that every alert goes, through the database and the outbox. A daemon that runs delivers it; where
//! none does, the drill delivers by itself.

use std::thread;
use std::time::Duration;

use jiff::Timestamp;

use super::desk::{Change, Desk};
use crate::alert::advance::{Judgement, Mint, Patience};
use crate::alert::book::Book;
use crate::alert::judge;
use crate::alert::life::Resolution;
use crate::alert::notice::Transition;
use crate::alert::route::{RouteMatch, Routes};
use crate::alert::rules::AlertRules;
use crate::alert::silence::Matcher;
use crate::policy::class::Class;
use crate::policy::finding::Finding;
use crate::store::error::StoreError;
use crate::store::history::{Fate, HistoryFilter, Outcome};

/// How often is looked whether everything has arrived.
const LOOK: Duration = Duration::from_millis(200);

/// One way that alerts go.
#[derive(Clone, Debug)]
pub struct Way {
    /// What it is called: by a class, or by the line of an exception.
    pub name: String,
    class: Class,
}

/// Every way that there is: the route of each class, and each exception. What an exception asks for no alert about
/// nothing has, so each gets one in front of it that asks for its drill alone.
pub fn ways(routes: &mut Routes) -> Vec<Way> {
    let class = |class: &Class| Way { name: class.to_string(), class: class.clone() };
    let mut ways: Vec<Way> = routes.classes.keys().map(class).collect();
    let mut drills = Vec::new();
    for exception in &routes.matches {
        let name = format!("[[route.match]] in line {}", exception.line);
        let fingerprint = Some(Finding::drill(&name, Timestamp::UNIX_EPOCH).fingerprint);
        let matcher = Matcher { fingerprint, ..Matcher::default() };
        drills.push(RouteMatch { matcher, to: exception.to.clone(), ..RouteMatch::default() });
        let class = exception.matcher.classes.first().cloned().unwrap_or_else(Class::security);
        ways.push(Way { name, class });
    }
    routes.matches.splice(0..0, drills);
    ways
}

/// What became of a drill at one sink.
#[derive(Clone, Debug)]
pub struct Drilled {
    /// The way that it took.
    pub way: String,
    /// Its beginning, or its end.
    pub transition: Transition,
    /// What became of it.
    pub fate: Fate,
}

/// Lets an alert about nothing fire and end for each of these ways; one after the other, so that they make no storm.
pub fn begin(desk: &Desk, ways: &[Way], now: Timestamp) {
    let rules = AlertRules::default();
    for (holds, way) in
        [Ok(()), Err(Resolution::Seen)].iter().flat_map(|holds| ways.iter().map(move |way| (*holds, way)))
    {
        let judgement = Judgement {
            finding: Finding::drill(&way.name, now),
            class: way.class.clone(),
            holds,
            patience: Patience::NONE,
        };
        let step = |book: &mut Book, mint: Mint<'_>| {
            judge::step(book, std::slice::from_ref(&judgement), &rules, now, mint)
        };
        desk.make(&Change::of(&step), now);
    }
}

/// What has become of the drill that began then; waits until nothing of it is on its way, for this long at most.
///
/// # Errors
/// When the database fails.
pub fn outcome(
    desk: &Desk,
    ways: &[Way],
    began: Timestamp,
    patience: Duration,
) -> Result<Vec<Drilled>, StoreError> {
    let mut looks = patience.as_millis() / LOOK.as_millis();
    loop {
        let drilled = look(desk, ways, began)?;
        let is_over = drilled.iter().all(|drilled| drilled.fate.outcome != Outcome::Pending);
        if is_over || looks == 0 {
            return Ok(drilled);
        }
        looks -= 1;
        thread::sleep(LOOK);
    }
}

fn look(desk: &Desk, ways: &[Way], began: Timestamp) -> Result<Vec<Drilled>, StoreError> {
    let mut drilled = Vec::new();
    for way in ways {
        let fingerprint = Some(Finding::drill(&way.name, began).fingerprint);
        let filter = HistoryFilter { since: Some(began), fingerprint, ..HistoryFilter::default() };
        let mut notices = desk.with_store(|store| store.history(&filter, 8))?;
        notices.reverse();
        for notice in notices {
            let fates = desk.with_store(|store| store.fates(notice.id))?;
            let drill = |fate| Drilled { way: way.name.clone(), transition: notice.transition, fate };
            drilled.extend(fates.into_iter().map(drill));
        }
    }
    Ok(drilled)
}
