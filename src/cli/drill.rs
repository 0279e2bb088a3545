//! `portreeve drill`: an alert about nothing, through every route, to see whether it arrives.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;

use super::{Failure, Status, output};
use crate::store::history::Outcome;
use crate::store::lock::Lock;
use crate::target::foreign::harmless;
use crate::watch::drill::{self, Drilled};
use crate::watch::{daemon, once};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration whose routes are tried
    #[arg(long, value_name = "FILE")]
    config: PathBuf,

    /// How many seconds to wait for deliveries
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=3600))]
    wait: u64,
}

/// Runs the command. Exit status: 0 everything has arrived, 2 something has not.
pub fn run(args: &Args) -> Result<Status, Failure> {
    let mut config = daemon::load(&args.config)?;
    let ways = drill::ways(&mut config.routes);
    // Where a daemon runs, it delivers; where none does, nobody is to start one meanwhile.
    let lock = Lock::take(&config.store.path).ok();
    let shared = daemon::set_up(&args.config, config)?;
    let began = Timestamp::now();
    drill::begin(&shared.desk, &ways, began);
    if lock.is_some() {
        once::carry(&shared)?;
    }
    let drilled = drill::outcome(&shared.desk, &ways, began, Duration::from_secs(args.wait))?;
    let mut out = output::styled_stdout()?;
    let mut arrived = !drilled.is_empty();
    for drill in &drilled {
        arrived &= matches!(drill.fate.outcome, Outcome::Delivered { .. });
        writeln!(out, "{}", in_words(drill))?;
    }
    out.flush()?;
    if drilled.is_empty() {
        return Err(
            "no sink was told; name sinks in [route], and look for silences and maintenance windows".into()
        );
    }
    Ok(if arrived { Status::Clean } else { Status::Failed })
}

fn in_words(drilled: &Drilled) -> String {
    let Drilled { way, transition, fate } = drilled;
    let attempts = if fate.attempts == 1 { "attempt" } else { "attempts" };
    let why = fate.why.as_deref().map_or_else(String::new, |why| format!(": {}", harmless(why)));
    let end = match fate.outcome {
        Outcome::Delivered { .. } => "delivered".to_owned(),
        Outcome::Pending => format!("NOT delivered yet, after {} {attempts}{why}", fate.attempts),
        Outcome::Dead { .. } => format!("given up after {} {attempts}{why}", fate.attempts),
    };
    format!("{way} -> {}: {} {end}", fate.sink, transition.as_str())
}
