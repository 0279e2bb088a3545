//! `portreeve history`: what was said of alerts, and how sweeps went.

use std::io::Write;

use jiff::Timestamp;

use super::super::{Failure, Status, output};
use super::kept::{Kept, Told};
use super::short::{self, Short};
use super::when::{When, at};
use crate::alert::notice::{Notice, Transition};
use crate::sink::columns;
use crate::sink::jsonl::JsonLines;
use crate::sink::listing::{Listing, SweepKept};
use crate::sink::message::AlertEvent;
use crate::sink::wording::title_of;
use crate::store::Reader;
use crate::store::history::HistoryFilter;
use crate::store::sweeps::SweepRow;
use crate::target::address::AddressRange;
use crate::target::foreign::{harmless, printable};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    kept: Kept,

    /// From then on: so long ago, such as 2h or 7d, or at this time, such as 2026-06-01
    #[arg(long, value_name = "TIME", default_value = "7d")]
    since: When,

    /// Before then
    #[arg(long, value_name = "TIME")]
    until: Option<When>,

    /// Only of alerts about addresses in this network, range or host
    #[arg(long, value_name = "NET", conflicts_with = "sweeps")]
    host: Option<AddressRange>,

    /// Only of this alert: its fingerprint, or the first 8 digits or more
    #[arg(long, value_name = "FINGERPRINT", conflicts_with = "sweeps")]
    fingerprint: Option<Short>,

    /// Sweeps, with their verdicts and ledgers, instead of alerts
    #[arg(long)]
    sweeps: bool,

    /// This many at most: the latest
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,

    #[command(flatten)]
    told: Told,
}

/// Lists what was said, or how sweeps went; in order of time.
pub fn run(args: &Args) -> Result<Status, Failure> {
    let now = Timestamp::now();
    let reader = args.kept.find()?.read()?;
    let (since, until) = (args.since.back(now), args.until.map(|until| until.back(now)));
    // One more, to see whether there are more.
    let (limit, asked) = (args.limit as usize, args.limit as usize + 1);
    let is_all = |found: usize| {
        let more = format!("these are the latest {limit}, and there are more; --limit N asks for more");
        if found > limit { writeln!(output::aside(), "{more}") } else { Ok(()) }
    };
    let told = if args.sweeps {
        let mut sweeps = reader.sweeps_between(Some(since), until, asked)?;
        is_all(sweeps.len())?;
        sweeps.truncate(limit);
        sweeps.reverse();
        tell_sweeps(&sweeps, args.told)
    } else {
        let fingerprint =
            args.fingerprint.as_ref().map(|short| short.resolve_or_take(&reader)).transpose()?;
        let filter = HistoryFilter { since: Some(since), until, fingerprint, hosts: args.host };
        let mut notices = reader.history(&filter, asked)?;
        is_all(notices.len())?;
        notices.truncate(limit);
        notices.reverse();
        tell_notices(&notices, &reader, args.told, now)
    };
    output::told(told, Status::Clean)
}

fn tell_notices(notices: &[Notice], reader: &Reader, told: Told, now: Timestamp) -> Result<(), Failure> {
    if told.to_machines() {
        let mut lines = JsonLines::new(output::raw_stdout()?);
        notices.iter().try_for_each(|notice| lines.write(&AlertEvent::from(notice)))?;
        return Ok(lines.flush()?);
    }
    let mut out = output::styled_stdout()?;
    if notices.is_empty() {
        return Ok(writeln!(out, "nothing was said of any alert in this time")?);
    }
    let width = short::width(reader)?;
    let mut table = columns::table(["time", "transition", "fingerprint", "what"]);
    for notice in notices {
        table.add_row([
            at(notice.time, now),
            notice.transition.as_str().to_owned(),
            short::first(&notice.alert.finding.fingerprint, width).to_owned(),
            title_of(notice) + &remark(notice),
        ]);
    }
    columns::write(&mut out, &table)?;
    Ok(out.flush()?)
}

/// What was said with the transition, or why nobody was disturbed by it.
fn remark(notice: &Notice) -> String {
    let alert = &notice.alert;
    let note = alert.acknowledged.as_ref().and_then(|taken| taken.note.as_deref());
    match (notice.transition, note, &alert.muted) {
        (Transition::Acknowledged, Some(note), _) => format!("; {}", harmless(note)),
        (Transition::Resolved, ..) | (.., None) => String::new(),
        (.., Some(why)) => format!("; silenced: {}", harmless(why)),
    }
}

fn tell_sweeps(sweeps: &[SweepRow], told: Told) -> Result<(), Failure> {
    if told.to_machines() {
        let mut lines = JsonLines::new(output::raw_stdout()?);
        sweeps.iter().try_for_each(|sweep| lines.write(&line(sweep)))?;
        return Ok(lines.flush()?);
    }
    let mut out = output::styled_stdout()?;
    if sweeps.is_empty() {
        return Ok(writeln!(out, "no sweep ended in this time")?);
    }
    let header = [
        "ended",
        "watch",
        "verdict",
        "seconds",
        "declared",
        "open",
        "closed",
        "filtered",
        "unreachable",
        "conflict",
        "unknown",
        "findings",
        "why unknown",
    ];
    let mut table = columns::table(header);
    for sweep in sweeps {
        let ledger = &sweep.ledger;
        let why = sweep.unknown_reasons.iter().map(|(reason, count)| format!("{count} {}", reason.as_str()));
        let counts = [
            ledger.declared,
            ledger.open,
            ledger.closed,
            ledger.filtered,
            ledger.unreachable,
            ledger.conflict,
            ledger.unknown,
            sweep.findings,
        ];
        let mut row = vec![
            format!("{:.0}", sweep.completed),
            printable(&sweep.name).into_owned(),
            sweep.verdict.to_string(),
            format!("{:.1}", sweep.duration_ms as f64 / 1000.0),
        ];
        row.extend(counts.iter().map(u64::to_string));
        row.push(why.collect::<Vec<_>>().join(", "));
        table.add_row(row);
    }
    columns::write(&mut out, &table)?;
    Ok(out.flush()?)
}

fn line(sweep: &SweepRow) -> Listing<SweepKept<'_>> {
    let kept = SweepKept {
        sweep: sweep.sweep,
        watch: &sweep.name,
        started: sweep.started,
        duration_ms: sweep.duration_ms,
        verdict: sweep.verdict,
        engine: &sweep.engine,
        findings: sweep.findings,
        ledger: &sweep.ledger,
        unknown_reasons: &sweep.unknown_reasons,
        packets: &sweep.packets,
    };
    Listing::new("sweep.kept", sweep.completed, kept)
}
