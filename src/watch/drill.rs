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
use crate::alert::rules::AlertRules;
use crate::policy::class::Class;
use crate::policy::finding::Finding;
use crate::store::error::StoreError;
use crate::store::history::{Fate, HistoryFilter, Outcome};

/// How often is looked whether everything has arrived.
const LOOK: Duration = Duration::from_millis(200);

/// What became of a drill at one sink.
#[derive(Clone, Debug)]
pub struct Drilled {
    /// The class whose route it took.
    pub class: Class,
    /// Its beginning, or its end.
    pub transition: Transition,
    /// What became of it.
    pub fate: Fate,
}

/// Lets an alert about nothing fire and end for each of these classes.
pub fn begin(desk: &Desk, classes: &[Class], now: Timestamp) {
    let rules = AlertRules::default();
    for holds in [Ok(()), Err(Resolution::Seen)] {
        let judge_it = |class: &Class| Judgement {
            finding: Finding::drill(class.as_str(), now),
            class: class.clone(),
            holds,
            patience: Patience::NONE,
        };
        let judgements: Vec<Judgement> = classes.iter().map(judge_it).collect();
        let step = |book: &mut Book, mint: Mint<'_>| judge::step(book, &judgements, &rules, now, mint);
        desk.make(&Change::of(&step), now);
    }
}

/// What has become of the drill that began then; waits until nothing of it is on its way, for this long at most.
///
/// # Errors
/// When the database fails.
pub fn outcome(
    desk: &Desk,
    classes: &[Class],
    began: Timestamp,
    patience: Duration,
) -> Result<Vec<Drilled>, StoreError> {
    let mut looks = patience.as_millis() / LOOK.as_millis();
    loop {
        let drilled = look(desk, classes, began)?;
        let is_over = drilled.iter().all(|drilled| drilled.fate.outcome != Outcome::Pending);
        if is_over || looks == 0 {
            return Ok(drilled);
        }
        looks -= 1;
        thread::sleep(LOOK);
    }
}

fn look(desk: &Desk, classes: &[Class], began: Timestamp) -> Result<Vec<Drilled>, StoreError> {
    let mut drilled = Vec::new();
    for class in classes {
        let fingerprint = Some(Finding::drill(class.as_str(), began).fingerprint);
        let filter = HistoryFilter { since: Some(began), fingerprint, ..HistoryFilter::default() };
        let mut notices = desk.with_store(|store| store.history(&filter, 8))?;
        notices.reverse();
        for notice in notices {
            let fates = desk.with_store(|store| store.fates(notice.id))?;
            let drill = |fate| Drilled { class: class.clone(), transition: notice.transition, fate };
            drilled.extend(fates.into_iter().map(drill));
        }
    }
    Ok(drilled)
}
