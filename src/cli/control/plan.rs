//! `portreeve control plan`: what a run would take.

use std::io::Write;
use std::time::Duration;

use jiff::Timestamp;

use super::Wanted;
use crate::cli::progress::in_words;
use crate::cli::{Failure, Status, output};
use crate::control::estimate::{Estimate, done_by, estimate};
use crate::control::keys::RunKey;
use crate::control::plan::decide;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    wanted: Wanted,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Status, Failure> {
    let read = args.wanted.read()?;
    let request = args.wanted.request(&read);
    let now = Timestamp::now();
    // Nothing is ever made with this key.
    let plan = decide(&request, &RunKey::generate()?, now)?;
    let scope = plan.targets()?;
    let Estimate { targets, tiles, packets, pps, work, bytes } =
        estimate(&scope, &plan.grid, &plan.method, plan.grid.tiles());
    let opening = &read.config.opening;
    let done = |work: Duration| {
        done_by(now, work, opening).map_or("not in ten years".to_owned(), |done| format!("{done:.0}"))
    };
    let tell = || -> Result<Status, Failure> {
        let mut out = output::styled_stdout()?;
        let hosts = scope.hosts();
        writeln!(out, "control  {}: {}", plan.control.id, plan.control.title)?;
        writeln!(out, "targets  {targets} ({hosts} hosts x {} ports)", scope.ports().len())?;
        writeln!(out, "tiles    {tiles} of about {} targets", targets / tiles.max(1))?;
        writeln!(out, "packets  {} to {}, the more the more is silent", packets.0, packets.1)?;
        writeln!(out, "rate     {pps} packets a second, by the rates and caps that hold")?;
        writeln!(out, "work     {} to {}", in_words(work.0), in_words(work.1))?;
        let hours = if plan.hours.is_empty() { "at any hour".to_owned() } else { plan.hours.join(", ") };
        writeln!(out, "hours    {hours} ({})", plan.timezone)?;
        writeln!(out, "done by  {} to {}, if it begins now", done(work.0), done(work.1))?;
        writeln!(out, "size     {} to {} of evidence", in_bytes(bytes.0), in_bytes(bytes.1))?;
        out.flush()?;
        Ok(Status::Clean)
    };
    output::unless_left(tell())
}

fn in_bytes(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{} kB", bytes.div_ceil(1000)),
        1_000_000..1_000_000_000 => format!("{} MB", bytes.div_ceil(1_000_000)),
        _ => format!("{} GB", bytes.div_ceil(1_000_000_000)),
    }
}
