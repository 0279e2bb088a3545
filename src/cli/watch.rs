//! `portreeve watch`: the daemon, and one pass of it.

use std::path::PathBuf;
use std::sync::Arc;

use super::{Failure, Status, output};
use crate::sync::{Ordering, SignalFlag};
use crate::watch::daemon::{self, Signals};
use crate::watch::once;
use crate::watch::shared::Shared;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,

    /// Make every sweep that is due, deliver what there is to say, and end
    ///
    /// For cron and for systemd's timers. Exit status: 0 nothing fires, 1 something does, 2 a sweep could not be made,
    /// 3 a sweep did not see everything.
    #[arg(long)]
    once: bool,

    /// What is logged to standard error: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value = "warn")]
    log: tracing::Level,

    /// Log JSON Lines
    #[arg(long)]
    log_json: bool,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Status, Failure> {
    let config = daemon::load(&args.config)?;
    log(args);
    let signals = signals()?;
    let (shared, lock) = daemon::open(&args.config, config)?;
    let ended = if args.once { pass(&shared, &signals) } else { serve(&shared, &signals) };
    drop(lock);
    ended
}

fn serve(shared: &Arc<Shared>, signals: &Signals) -> Result<Status, Failure> {
    daemon::run(shared, signals)?;
    Ok(Status::Clean)
}

fn pass(shared: &Arc<Shared>, signals: &Signals) -> Result<Status, Failure> {
    let passed = once::run(shared, &signals.stop)?;
    if signals.stop.load(Ordering::Relaxed) {
        output::complain(&"interrupted; what was found until then is told by the next pass");
        return Ok(Status::Incomplete);
    }
    Ok(match passed {
        once::Passed { unmade, .. } if unmade > 0 => Status::Failed,
        once::Passed { incomplete, .. } if incomplete > 0 => Status::Incomplete,
        once::Passed { firing, .. } if firing > 0 => Status::Findings,
        _ => Status::Clean,
    })
}

/// Logs go to standard error: the journal takes them from there. Standard output is for the sink of that name.
fn log(args: &Args) {
    let builder = tracing_subscriber::fmt()
        .with_max_level(args.log)
        .with_writer(std::io::stderr)
        .with_ansi(output::aside_is_coloured());
    // Somebody has set another up before, which only happens in tests.
    let _ = match args.log_json {
        true => builder.json().try_init(),
        false => builder.with_target(false).try_init(),
    };
}

/// What SIGTERM, SIGINT and SIGHUP ask for. A second SIGINT or SIGTERM ends the program at once.
fn signals() -> Result<Signals, Failure> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let signals = Signals::default();
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&signals.stop))?;
        signal_hook::flag::register(signal, Arc::clone(&signals.stop))?;
    }
    let reload: Arc<SignalFlag> = Arc::clone(&signals.reload);
    signal_hook::flag::register(SIGHUP, reload)?;
    Ok(signals)
}
