//! The command line: what was typed becomes links, outputs and an exit status. Only here and in `sink` anything is
//! printed.

mod check;
mod clock;
mod console;
mod control;
mod diff;
mod docs;
mod doctor;
mod drill;
mod dry_run;
mod fuse;
mod handle;
mod import;
mod lines;
mod output;
mod ports;
mod progress;
mod sweep;
mod sys;
mod watch;
mod whole;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::file::Config;
use crate::config::resolve::system_lookup;
use crate::config::settings::Settings;
use crate::config::sources::{self, Gathered, Reading};
use crate::job::JobError;
use crate::policy::allowlist::Allowance;

/// What the program's exit status says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Status {
    /// The sweep was complete and found nothing.
    Clean = 0,
    /// The sweep was complete and found something.
    Findings = 1,
    /// The command line, the configuration or the machine stood in the way.
    Failed = 2,
    /// The sweep was not complete: what it did not see, it does not vouch for.
    Incomplete = 3,
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        ExitCode::from(status as u8)
    }
}

/// Sweeps the networks you own for ports that must not be reachable
#[derive(Debug, Parser)]
#[command(name = "portreeve", version, max_term_width = 100, subcommand_required = true)]
#[command(
    after_help = "Exit status: 0 complete and nothing found; 1 findings; 2 usage, configuration or run-time error; \
    3 the sweep was not complete."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Sweep networks once and say what is exposed
    Sweep(Box<sweep::Args>),
    /// Judge what other scanners saw: nmap, masscan, zmap, naabu, or our own JSON Lines
    ///
    /// Sends nothing. Exit status: 0 the file proves that all was looked at, and nothing is exposed; 1 something is;
    /// 2 a file cannot be read; 3 it is not known that all was looked at.
    Import(Box<import::Args>),
    /// Say what differs between two runs, of this program or of other scanners
    ///
    /// A target is called closed only if the newer run saw it. Exit status: 0 nothing differs, 1 something does,
    /// 2 a file cannot be read, 3 nothing differs, but the newer run did not see all that the older one did.
    Diff(diff::Args),
    /// Sweep on schedule, and tell people and machines what changes
    Watch(watch::Args),
    /// Sweep every port of every address once, and leave signed evidence of it
    ///
    /// A run that was stopped or killed goes on where it was: by the same command, with the same --out. Exit status: 0
    /// pass, 1 fail, 2 usage, configuration or run-time error, 3 inconclusive or stopped.
    Control(Box<control::Args>),
    /// List the alerts that fire, the worst first
    ///
    /// Exit status: 0 nothing of what is listed fires, 1 something does, 2 it could not be found out.
    Alerts(Box<handle::alerts::Args>),
    /// Take alerts on, so that nobody is reminded of them
    Ack(handle::ack::Args),
    /// Disturb nobody by certain alerts for a time
    #[command(subcommand)]
    Silence(handle::silence::Command),
    /// List what was said of alerts, or how sweeps went, in order of time
    History(handle::history::Args),
    /// Send an alert about nothing through every route, and say where it arrived
    ///
    /// Exit status: 0 everywhere, 2 not.
    Drill(drill::Args),
    /// Look after the database of the daemon
    #[command(subcommand)]
    Db(handle::db::Command),
    /// Work with configuration files
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Say which engine would run and why, and what stands in the way
    ///
    /// Sends nothing. With --engine xdp, what that engine lacks is a fault; without, it is told as well, and no fault.
    /// The BPF programs are loaded to see whether the kernel takes them, attached to nothing, and gone again.
    ///
    /// Exit status: 0 nothing stands in the way, 2 something does.
    Doctor(Box<doctor::Args>),
    /// Print the nft script that puts a fuse behind sweeps of these targets; sends nothing
    Fuse(Box<fuse::Args>),
    /// List the ports that the program knows, and why each matters
    Ports(ports::Args),
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man(docs::ManArgs),
    /// Print the JSON Schema of the events that --format jsonl writes
    Schema,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Check a configuration or allowlist file and report every mistake at once
    Check {
        /// The file
        file: PathBuf,
    },
}

/// Runs the program with the process's own arguments.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors, and go to standard output; the rest is a usage error.
            output::refuse(&error);
            return if error.use_stderr() { Status::Failed.into() } else { Status::Clean.into() };
        }
    };
    let result = match cli.command {
        Command::Sweep(args) => sweep::run(&args),
        Command::Import(args) => import::run(&args),
        Command::Diff(args) => diff::run(&args),
        Command::Watch(args) => watch::run(&args),
        Command::Control(args) => control::run(&args),
        Command::Alerts(args) => handle::alerts::run(&args),
        Command::Ack(args) => handle::ack::run(&args),
        Command::Silence(command) => handle::silence::run(&command),
        Command::History(args) => handle::history::run(&args),
        Command::Drill(args) => drill::run(&args),
        Command::Db(command) => handle::db::run(&command),
        Command::Config(ConfigCommand::Check { file }) => check::run(&file),
        Command::Doctor(args) => doctor::run(&args),
        Command::Fuse(args) => fuse::run(&args),
        Command::Ports(args) => output::unless_left(ports::run(&args)),
        Command::Completions { shell } => output::unless_left(docs::completions(shell)),
        Command::Man(args) => output::unless_left(docs::man(&args)),
        Command::Schema => output::unless_left(docs::schema()),
    };
    match result {
        Ok(status) => status.into(),
        Err(error) => {
            output::complain(&error);
            let is_interrupted = error.downcast_ref().is_some_and(JobError::is_interrupted);
            if is_interrupted { Status::Incomplete.into() } else { Status::Failed.into() }
        }
    }
}

/// What ends a command early, in words for the person who typed it.
type Failure = Box<dyn std::error::Error>;

// What is to be done: typed, and under it what the file says. No doc comment: clap would take it for the command's own.
#[derive(Debug, clap::Args)]
struct Input {
    #[command(flatten)]
    settings: Settings,

    /// Configuration file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Input {
    /// The settings that hold, with every file read and no name looked up, and the allowances of the file.
    fn read(&self) -> Result<(Reading, Vec<Allowance>), Failure> {
        let file = self.config.as_deref().map(Config::load).transpose()?.unwrap_or_default();
        let settings = self.settings.clone().or(file.settings);
        Ok((sources::read(settings, &mut std::io::stdin())?, file.allow))
    }

    /// As [`Input::read`], with every name looked up.
    fn gather(&self) -> Result<Gathered, Failure> {
        Ok(self.read()?.0.resolve(system_lookup)?)
    }
}
