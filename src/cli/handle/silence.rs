//! `portreeve silence`: who is not to be disturbed by what, until when and why.
//!
//! A silence mutes people and never events: what records events hears of everything, and what still fires when the
//! silence ends is told to people then.

use std::io::Write;

use jiff::Timestamp;

use super::super::{Failure, Status, output};
use super::alerts::note_mutes;
use super::kept::{Found, Kept, Told, who};
use super::when::{When, at};
use super::which::{Which, in_words};
use super::{list, short};
use crate::alert::life::{Alert, Phase};
use crate::alert::silence::{Matcher, Silence};
use crate::sink::columns;
use crate::sink::jsonl::JsonLines;
use crate::sink::listing::{Listing, SilenceState};
use crate::store::Reader;
use crate::store::alerts::AlertFilter;
use crate::store::error::StoreError;
use crate::target::foreign::{harmless, printable};

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Disturb nobody by these alerts until then; events are told as ever
    Add(Box<AddArgs>),
    /// List the silences that hold, and those that are to come
    List(ListArgs),
    /// End a silence now
    End(EndArgs),
}

#[derive(Debug, clap::Args)]
pub struct AddArgs {
    /// Until when: from now, such as 30m, 2h or 7d, or at this time, such as 2026-06-01T12:00:00Z
    #[arg(long, value_name = "TIME")]
    until: When,

    /// Why; it is kept, and shown with every alert that is silenced
    #[arg(long, value_name = "TEXT")]
    reason: String,

    /// Who says so [default: $SUDO_USER or $USER]
    #[arg(long, value_name = "NAME")]
    who: Option<String>,

    #[command(flatten)]
    which: Which,

    /// Silence every alert there is
    #[arg(long, conflicts_with = "Which")]
    everything: bool,

    #[command(flatten)]
    kept: Kept,

    #[command(flatten)]
    told: Told,
}

#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// Those that are over, too
    #[arg(long)]
    all: bool,

    #[command(flatten)]
    kept: Kept,

    #[command(flatten)]
    told: Told,
}

#[derive(Debug, clap::Args)]
pub struct EndArgs {
    /// Its number, as `portreeve silence list` shows it
    #[arg(value_name = "ID")]
    id: i64,

    /// Who says so [default: $SUDO_USER or $USER]
    #[arg(long, value_name = "NAME")]
    who: Option<String>,

    #[command(flatten)]
    kept: Kept,

    #[command(flatten)]
    told: Told,
}

/// Does what is asked for with silences.
pub fn run(command: &Command) -> Result<Status, Failure> {
    match command {
        Command::Add(args) => add(args),
        Command::List(args) => list(args),
        Command::End(args) => end(args),
    }
}

fn add(args: &AddArgs) -> Result<Status, Failure> {
    let now = Timestamp::now();
    let who = who(args.who.as_deref())?;
    let (reason, until) = (args.reason.trim().to_owned(), args.until.ahead(now));
    if reason.is_empty() {
        return Err("--reason says nothing; write why nobody is to be disturbed".into());
    }
    if until <= now {
        return Err(format!("--until {until:.0} is over; name a time to come").into());
    }
    let found = args.kept.find()?;
    let mut store = found.write()?;
    let matcher = args.which.matcher(&store)?;
    if matcher.is_empty() && !args.everything {
        return Err(
            "nothing says which alerts are meant; use --host, --kind or another, or --everything".into()
        );
    }
    let mut silence = Silence { id: 0, matcher, from: now, until, reason, who };
    silence.id =
        store.write(|tx| tx.add_silence(&silence)).map_err(|error: StoreError| found.explained(error))?;
    let meant = firing(&found, &store, &silence.matcher, now)?;
    output::told(tell_added(&silence, &meant, short::width(&store)?, args.told, now), Status::Clean)
}

fn tell_added(
    silence: &Silence,
    meant: &[Alert],
    width: usize,
    told: Told,
    now: Timestamp,
) -> Result<(), Failure> {
    if told.to_machines() {
        tell_silences(std::iter::once((silence, None, meant.len())), now)?;
        return list::write_lines(meant, now);
    }
    let mut out = output::styled_stdout()?;
    let Silence { id, matcher, until, .. } = silence;
    writeln!(out, "silence {id}: {}, until {}", in_words(matcher, width), at(*until, now))?;
    match meant.len() {
        0 => writeln!(out, "nothing that fires now is meant")?,
        1 => writeln!(out, "1 alert that fires now is meant:")?,
        many => writeln!(out, "{many} alerts that fire now are meant:")?,
    }
    list::write(&mut out, meant, width, now)?;
    Ok(out.flush()?)
}

/// The alerts that fire and are meant.
fn firing(found: &Found, reader: &Reader, matcher: &Matcher, now: Timestamp) -> Result<Vec<Alert>, Failure> {
    let filter = AlertFilter { phases: vec![Phase::Firing], since: None, matcher: matcher.clone() };
    let mut alerts = reader.alerts(&filter)?;
    note_mutes(&mut alerts, found, &reader.silences(now)?, now);
    list::sort(&mut alerts);
    Ok(alerts)
}

fn list(args: &ListArgs) -> Result<Status, Failure> {
    let now = Timestamp::now();
    let reader = args.kept.find()?.read()?;
    let mut silences = reader.all_silences()?;
    silences.retain(|(silence, _)| args.all || silence.until > now);
    let filter = AlertFilter { phases: vec![Phase::Firing], ..AlertFilter::default() };
    let firing = reader.alerts(&filter)?;
    let count = |silence: &Silence| firing.iter().filter(|alert| silence.matcher.fits(alert)).count();
    if args.told.to_machines() {
        let states =
            silences.iter().map(|(silence, ended_by)| (silence, ended_by.as_deref(), count(silence)));
        return output::told(tell_silences(states, now), Status::Clean);
    }
    let mut out = output::styled_stdout()?;
    if silences.is_empty() {
        let none = if args.all { "no silence is known" } else { "no silence holds" };
        return output::told(writeln!(out, "{none}").map_err(Failure::from), Status::Clean);
    }
    let width = short::width(&reader)?;
    let mut table = columns::table(["id", "until", "firing", "who", "which", "reason"]);
    for (silence, ended_by) in &silences {
        let until = at(silence.until, now);
        table.add_row([
            silence.id.to_string(),
            ended_by.as_ref().map_or(until.clone(), |who| format!("{until}, ended by {}", printable(who))),
            count(silence).to_string(),
            printable(&silence.who).into_owned(),
            in_words(&silence.matcher, width),
            harmless(&silence.reason).into_owned(),
        ]);
    }
    let written = columns::write(&mut out, &table).and_then(|()| out.flush());
    output::told(written.map_err(Failure::from), Status::Clean)
}

fn end(args: &EndArgs) -> Result<Status, Failure> {
    let now = Timestamp::now();
    let who = who(args.who.as_deref())?;
    let found = args.kept.find()?;
    let mut store = found.write()?;
    let has_ended = store.write(|tx| tx.end_silence(args.id, &who, now));
    let has_ended = has_ended.map_err(|error: StoreError| found.explained(error))?;
    let known = store.all_silences()?.into_iter().find(|(silence, _)| silence.id == args.id);
    let Some((silence, ended_by)) = known else {
        return Err(format!(
            "there is no silence {}; `portreeve silence list --all` has those that are known",
            args.id
        )
        .into());
    };
    if !has_ended {
        let by = ended_by.map(|who| format!(", by {}", printable(&who))).unwrap_or_default();
        return Err(format!(
            "silence {} is over since {}{by}; nothing was changed",
            args.id,
            at(silence.until, now)
        )
        .into());
    }
    let meant = firing(&found, &store, &silence.matcher, now)?;
    if args.told.to_machines() {
        let state = std::iter::once((&silence, ended_by.as_deref(), meant.len()));
        return output::told(tell_silences(state, now), Status::Clean);
    }
    output::told(tell_ended(&silence, &meant, short::width(&store)?, now), Status::Clean)
}

fn tell_ended(silence: &Silence, meant: &[Alert], width: usize, now: Timestamp) -> Result<(), Failure> {
    let mut out = output::styled_stdout()?;
    let again = if meant.is_empty() {
        "nothing that it was about fires"
    } else {
        "of what it was about, this fires:"
    };
    writeln!(out, "silence {} has ended; {again}", silence.id)?;
    list::write(&mut out, meant, width, now)?;
    Ok(out.flush()?)
}

fn tell_silences<'s>(
    silences: impl Iterator<Item = (&'s Silence, Option<&'s str>, usize)>,
    now: Timestamp,
) -> Result<(), Failure> {
    let mut lines = JsonLines::new(output::raw_stdout()?);
    for (silence, ended_by, firing) in silences {
        lines.write(&Listing::new("silence", now, state(silence, ended_by, firing, now)))?;
    }
    Ok(lines.flush()?)
}

fn state<'s>(
    silence: &'s Silence,
    ended_by: Option<&'s str>,
    firing: usize,
    now: Timestamp,
) -> SilenceState<'s> {
    SilenceState {
        id: silence.id,
        matcher: &silence.matcher,
        from: silence.from,
        until: silence.until,
        reason: &silence.reason,
        who: &silence.who,
        holds: silence.holds(now),
        ended_by,
        firing: firing as u64,
    }
}
