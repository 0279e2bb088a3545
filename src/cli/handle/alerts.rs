//! `portreeve alerts`: what fires, and what became of the messages about it.

use std::io::Write;

use anstyle::{AnsiColor, Style};
use clap::ValueEnum;
use jiff::Timestamp;

use super::super::{Failure, Status, output};
use super::kept::{Found, Kept, Told};
use super::when::at;
use super::which::Which;
use super::{deliveries, list, short};
use crate::alert::life::{Alert, Phase};
use crate::alert::silence::Silence;
use crate::store::Reader;
use crate::store::alerts::AlertFilter;
use crate::target::foreign::printable;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    kept: Kept,

    /// All that are known, whatever state they are in
    #[arg(long, conflicts_with = "states")]
    all: bool,

    /// Those in these states, joined by commas
    #[arg(long = "state", value_name = "STATES", value_delimiter = ',', default_value = "firing")]
    states: Vec<State>,

    #[command(flatten)]
    which: Which,

    /// Instead of alerts: for each sink what was raised, delivered, is pending and was given up, and why
    ///
    /// Exit status: 1 where an attempt has failed that has not been made good, or a message was given up.
    #[arg(long, conflicts_with_all = ["all", "states", "Which"])]
    deliveries: bool,

    #[command(flatten)]
    told: Told,
}

/// Where an alert is in its life, as it is typed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum State {
    /// Seen, and not often enough
    Pending,
    /// It holds
    Firing,
    /// It no longer holds
    Resolved,
}

impl State {
    fn phase(self) -> Phase {
        match self {
            State::Pending => Phase::Pending,
            State::Firing => Phase::Firing,
            State::Resolved => Phase::Resolved,
        }
    }
}

/// Lists alerts.
pub fn run(args: &Args) -> Result<Status, Failure> {
    let now = Timestamp::now();
    let found = args.kept.find()?;
    let reader = found.read()?;
    if args.deliveries {
        return deliveries::run(&reader, args.told, now);
    }
    let phases = if args.all { Vec::new() } else { args.states.iter().map(|state| state.phase()).collect() };
    let filter = AlertFilter { phases, since: None, matcher: args.which.matcher(&reader)? };
    let mut alerts = reader.alerts(&filter)?;
    // What was seen once or twice and has never fired is nothing that was resolved.
    alerts.retain(|alert| alert.state != Phase::Resolved || alert.fired_at.is_some());
    note_mutes(&mut alerts, &found, &reader.silences(now)?, now);
    list::sort(&mut alerts);
    let fires = alerts.iter().any(|alert| alert.state == Phase::Firing);
    let status = if fires { Status::Findings } else { Status::Clean };
    output::told(tell(&alerts, &filter, &reader, args.told, now), status)
}

fn tell(
    alerts: &[Alert],
    filter: &AlertFilter,
    reader: &Reader,
    told: Told,
    now: Timestamp,
) -> Result<(), Failure> {
    if told.to_machines() {
        return list::write_lines(alerts, now);
    }
    let mut out = output::styled_stdout()?;
    list::write(&mut out, alerts, short::width(reader)?, now)?;
    write_summary(&mut out, alerts, filter)?;
    write_sight(&mut out, reader, now)?;
    Ok(out.flush()?)
}

/// Writes into each alert why nobody is disturbed by it now. What is kept of that is as old as the daemon's last look.
pub fn note_mutes(alerts: &mut [Alert], found: &Found, silences: &[Silence], now: Timestamp) {
    for alert in alerts.iter_mut().filter(|alert| alert.state == Phase::Firing) {
        alert.muted = match &found.standing {
            Some(standing) => standing.mute(silences, alert, now),
            None => {
                let silence =
                    silences.iter().find(|silence| silence.holds(now) && silence.matcher.fits(alert));
                let silence = silence.map(Silence::in_words);
                // Only the configuration knows of maintenance windows, and the daemon has read it.
                silence.or_else(|| alert.muted.take().filter(|why| why.starts_with("maintenance: ")))
            }
        };
    }
}

fn write_summary(out: &mut dyn Write, alerts: &[Alert], filter: &AlertFilter) -> Result<(), Failure> {
    let firing: Vec<&Alert> = alerts.iter().filter(|alert| alert.state == Phase::Firing).collect();
    let taken = firing.iter().filter(|alert| alert.acknowledged.is_some()).count();
    let muted = firing.iter().filter(|alert| alert.muted.is_some()).count();
    let color = if firing.is_empty() { AnsiColor::Green } else { AnsiColor::Red };
    let style = Style::new().bold().fg_color(Some(color.into()));
    let of_these = if filter.matcher.is_empty() { "" } else { " of these" };
    if !filter.phases.is_empty() && !filter.phases.contains(&Phase::Firing) {
        return Ok(writeln!(out, "{} listed", alerts.len())?);
    }
    let told = match firing.len() {
        0 => format!("nothing{of_these} fires"),
        1 => format!("1{of_these} fires"),
        many => format!("{many}{of_these} fire"),
    };
    let marks: Vec<String> = [(taken, "acknowledged"), (muted, "silenced")]
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!(", {count} {word}"))
        .collect();
    Ok(writeln!(out, "{style}{told}{style:#}{}", marks.concat())?)
}

/// Says what the list rests on: that nothing fires is worth as much as the last sweep.
fn write_sight(out: &mut dyn Write, reader: &Reader, now: Timestamp) -> Result<(), Failure> {
    let watches = reader.last_complete()?;
    if watches.is_empty() {
        writeln!(out, "no sweep has ended yet")?;
    }
    for (name, last) in watches {
        let last = last.map_or_else(
            || "no complete sweep yet".to_owned(),
            |last| format!("last complete sweep {}", at(last, now)),
        );
        writeln!(out, "{}: {last}", printable(&name))?;
    }
    Ok(())
}
