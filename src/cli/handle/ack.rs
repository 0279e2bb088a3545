//! `portreeve ack`: somebody takes an alert on, or gives it back.

use std::io::Write;
use std::sync::Arc;

use jiff::Timestamp;
use ulid::Ulid;

use super::super::{Failure, Status, output};
use super::alerts::note_mutes;
use super::kept::{Found, Kept, Told, who};
use super::list;
use super::short::{self, Short};
use super::when::at;
use crate::alert::advance::Mint;
use crate::alert::book::Book;
use crate::alert::life::{Acknowledgement, Alert, Phase};
use crate::alert::notice::Notice;
use crate::alert::rules::AlertRules;
use crate::alert::tell::{Happened, acknowledge, give_back};
use crate::policy::finding::Fingerprint;
use crate::sink::wording::standing as in_words;
use crate::store::error::StoreError;
use crate::store::{Reader, Store};
use crate::target::foreign::printable;
use crate::watch::bell::Bell;
use crate::watch::desk::{Change, Desk};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The alerts: their fingerprints, or the first 8 digits or more, as `portreeve alerts` shows them
    #[arg(value_name = "FINGERPRINT", required = true)]
    fingerprints: Vec<Short>,

    /// Why, or what is being done about it
    #[arg(long, value_name = "TEXT", conflicts_with = "undo")]
    note: Option<String>,

    /// Who takes it on [default: $SUDO_USER or $USER]
    #[arg(long, value_name = "NAME", conflicts_with = "undo")]
    who: Option<String>,

    /// Give them back: from now on nobody has taken them on
    #[arg(long)]
    undo: bool,

    #[command(flatten)]
    kept: Kept,

    #[command(flatten)]
    told: Told,
}

/// Takes alerts on: all that are named, or none of them.
pub fn run(args: &Args) -> Result<Status, Failure> {
    let now = Timestamp::now();
    let order = match args.undo {
        true => Order::GiveBack,
        false => Order::TakeOn(Acknowledgement {
            who: who(args.who.as_deref())?,
            note: args.note.clone(),
            at: now,
        }),
    };
    let found = args.kept.find()?;
    let store = found.write()?;
    let meant = meant(&args.fingerprints, &store)?;
    let width = short::width(&store)?;
    refuse(&order, &meant, &store, width, now)?;
    let silences = store.silences(now)?;
    let mut changed = change(&found, store, &order, &meant, now).map_err(|error| found.explained(error))?;
    let place = |alert: &Alert| meant.iter().position(|named| *named == alert.finding.fingerprint);
    changed.retain(|alert| place(alert).is_some());
    changed.sort_by_key(place);
    if changed.len() < meant.len() {
        return Err("some of these have just been resolved or given back by somebody else; look again with \
                    `portreeve alerts`"
            .into());
    }
    note_mutes(&mut changed, &found, &silences, now);
    if found.standing.is_none() {
        writeln!(
            output::aside(),
            "no sink is told: who is to hear of it is in the configuration; use --config FILE"
        )?;
    }
    output::told(tell(args.told, &order, &changed, width, now), Status::Clean)
}

/// What is to be done.
enum Order {
    TakeOn(Acknowledgement),
    GiveBack,
}

impl Order {
    /// Does it to one alert in a book; `None` where that is not possible.
    fn obey(
        &self,
        book: &mut Book,
        fingerprint: &Fingerprint,
        rules: &AlertRules,
        now: Timestamp,
    ) -> Option<Happened> {
        match self {
            Order::TakeOn(by) => acknowledge(book, fingerprint, by.clone()),
            Order::GiveBack => give_back(book, fingerprint, rules, now),
        }
    }
}

/// The alerts that are named, each once.
fn meant(named: &[Short], reader: &Reader) -> Result<Vec<Fingerprint>, Failure> {
    let mut meant = Vec::new();
    for short in named {
        let fingerprint = short.resolve(reader)?;
        if !meant.contains(&fingerprint) {
            meant.push(fingerprint);
        }
    }
    Ok(meant)
}

/// Says what is known of alerts that cannot be taken on or given back, if there are any.
fn refuse(
    order: &Order,
    meant: &[Fingerprint],
    reader: &Reader,
    width: usize,
    now: Timestamp,
) -> Result<(), Failure> {
    let mut unfit = Vec::new();
    for fingerprint in meant {
        let digits = short::first(fingerprint, width);
        let Some(record) = reader.record(fingerprint)? else {
            unfit.push(format!(
                "{digits} is over and forgotten; `portreeve history --fingerprint {digits}` has what was said"
            ));
            continue;
        };
        let alert = record.alert;
        let since = at(alert.since, now);
        match (alert.state, order) {
            (Phase::Firing, Order::GiveBack) if alert.acknowledged.is_none() => {
                unfit.push(format!("{digits} was taken on by nobody: {}", in_words(&alert)));
            }
            (Phase::Firing, _) => {}
            (Phase::Pending, _) => unfit.push(format!(
                "{digits} does not fire yet; it is pending since {since}: {}",
                in_words(&alert)
            )),
            (Phase::Resolved, _) => {
                unfit.push(format!("{digits} does not fire; since {since}: {}", in_words(&alert)));
            }
        }
    }
    if unfit.is_empty() {
        return Ok(());
    }
    Err(format!("{}; nothing was changed", unfit.join("\n")).into())
}

/// Makes the change, and gives the alerts that have changed by it. With a configuration it goes over the desk, as
/// everything that the daemon does; without one it is kept and noted in the history, and nobody is told, for a desk
/// that knows of no sink would take what is still to be told for told.
fn change(
    found: &Found,
    mut store: Store,
    order: &Order,
    meant: &[Fingerprint],
    now: Timestamp,
) -> Result<Vec<Alert>, StoreError> {
    let rules = found.standing.as_ref().map(|standing| standing.rules.clone()).unwrap_or_default();
    let obey = |book: &mut Book| -> Happened {
        let happened = meant.iter().filter_map(|fingerprint| order.obey(book, fingerprint, &rules, now));
        happened.flatten().collect()
    };
    if let Some(standing) = &found.standing {
        let step = |book: &mut Book, _: Mint<'_>| obey(book);
        let desk = Desk::new(store, standing.clone(), Arc::new(Bell::default()));
        return desk.try_make(&Change::of(&step), now);
    }
    store.write(|tx| {
        let mut book = Book::new(tx.records()?);
        let mut changed = Vec::new();
        for (fingerprint, transition) in obey(&mut book) {
            let Some(record) = book.get(&fingerprint) else { continue };
            let alert = record.alert.clone();
            tx.save(record)?;
            tx.note(&Notice {
                id: Ulid::generate(),
                time: now,
                transition,
                sweep: None,
                alert: alert.clone(),
            })?;
            changed.push(alert);
        }
        Ok(changed)
    })
}

fn tell(told: Told, order: &Order, changed: &[Alert], width: usize, now: Timestamp) -> Result<(), Failure> {
    if told.to_machines() {
        return list::write_lines(changed, now);
    }
    let mut out = output::styled_stdout()?;
    for alert in changed {
        let (digits, what) = (short::first(&alert.finding.fingerprint, width), in_words(alert));
        match order {
            Order::TakeOn(by) => writeln!(out, "{digits} is acknowledged by {}: {what}", printable(&by.who))?,
            Order::GiveBack => writeln!(out, "{digits} is given back: {what}")?,
        }
    }
    Ok(out.flush()?)
}
