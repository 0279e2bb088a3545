//! `portreeve fuse`, which prints a fuse for somebody privileged to load, and what `sweep --fuse` does with it.

use std::ffi::OsStr;
use std::io::Write;

use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory};

use super::engine::Engine;
use super::settle::{Settled, settle};
use super::{Cli, Failure, Input, Status, output, vitals};
use crate::config::options::EngineChoice;
use crate::config::settings::Settings;
use crate::link::fuse::watch::FuseWatch;
use crate::link::fuse::{Fuse, FuseError, REMOVAL};
use crate::sweep::cookie::SourcePorts;
use crate::sweep::run::{Ends, Outcome};
use crate::sync::{Ordering, SignalFlag};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Load it by `portreeve fuse ... | sudo nft -f -`, and sweep the same targets with `sweep --fuse`. \
    There is one fuse at a time: it takes every probe that leaves the scope for a mistake, also those of another sweep."
)]
pub struct Args {
    #[command(flatten)]
    input: Input,

    /// Print what takes away the fuse that is loaded
    #[arg(long)]
    remove: bool,
}

/// Prints the script. Sends nothing, and needs no privilege.
pub fn run(args: &Args) -> Result<Status, Failure> {
    let script = if args.remove {
        REMOVAL.to_owned()
    } else {
        let gathered = args.input.gather()?;
        fuse_of(&settle(&gathered.settings)?)?.script()
    };
    let mut out = output::raw_stdout()?;
    out.write_all(script.as_bytes())?;
    out.flush()?;
    Ok(Status::Clean)
}

/// The fuse behind a sweep, if it was asked for.
#[derive(Debug)]
pub struct Backing(Option<FuseWatch>);

impl Backing {
    /// Makes sure that the fuse of what is to be swept is loaded, if one is wanted.
    ///
    /// # Errors
    /// When it is not, with the command that loads it; or when it cannot be told.
    pub fn begin(wanted: bool, settings: &Settings, settled: &Settled) -> Result<Self, Failure> {
        if !wanted {
            return Ok(Backing(None));
        }
        if settings.engine == Some(EngineChoice::Connect) {
            return Err(no_fuse_for_connect("asked for"));
        }
        let watch = FuseWatch::begin(fuse_of(settled)?);
        watch.map(|watch| Backing(Some(watch))).map_err(|error| match error {
            FuseError::NotLoaded | FuseError::Foreign | FuseError::Uncovered { .. } => {
                format!("{error}; load it by: {}", loading_command()).into()
            }
            other => other.into(),
        })
    }

    /// The same engine, whose guard looks after the fuse as well.
    ///
    /// # Errors
    /// When its frames cannot be told from those of other programs.
    pub fn behind(&self, engine: Engine) -> Result<Engine, Failure> {
        let Some(watch) = &self.0 else { return Ok(engine) };
        let mut vantage = engine.vantage;
        if vantage.engine == "connect" {
            return Err(no_fuse_for_connect(&vantage.engine_reason));
        }
        vantage.engine_reason.push_str("; a fuse stands behind it");
        let ends = Ends { guard: Box::new(watch.guard(engine.ends.guard)), ..engine.ends };
        Ok(Engine { ends, vantage, ..engine })
    }

    /// Looks a last time. A sweep whose fuse has caught anything is not complete, and gets no second look.
    pub fn finish(self, outcome: &mut Outcome, interrupt: &SignalFlag) {
        let Some(Err(failure)) = self.0.map(FuseWatch::finish) else { return };
        interrupt.store(true, Ordering::Relaxed);
        outcome.report.degrade();
        outcome.failure = Some(failure);
    }
}

fn no_fuse_for_connect(why: &str) -> Failure {
    format!(
        "--fuse cannot stand behind the connect engine ({why}), whose connections look like those of any program; use \
         --engine packet, or leave out --fuse"
    )
    .into()
}

fn fuse_of(settled: &Settled) -> Result<Fuse, Failure> {
    let (first, last) = vitals::local_port_range().unwrap_or((32_768, 60_999));
    let block = SourcePorts::beside(first, last).ok_or_else(|| {
        format!(
            "the kernel's own port range {first}-{last} leaves no block for probes to be known by; narrow it, such as \
             sysctl net.ipv4.ip_local_port_range=\"32768 60999\""
        )
    })?;
    let scope = &settled.scope;
    let block = (block.first, block.last());
    Ok(Fuse::new(scope.ends(), scope.ports().iter(), block, settled.routes.hops()))
}

/// The command line of this very sweep, as one that loads its fuse.
fn loading_command() -> String {
    let cli = Cli::command();
    let typed = cli.clone().try_get_matches_from(std::env::args_os()).ok();
    let mut words = vec!["portreeve".to_owned(), "fuse".to_owned()];
    let sweep = typed.as_ref().and_then(|typed| typed.subcommand_matches("sweep"));
    if let (Some(sweep), Some(fuse)) = (sweep, cli.find_subcommand("fuse")) {
        fuse.get_arguments().for_each(|arg| repeat(arg, sweep, &mut words));
    }
    format!("{} | sudo nft -f -", words.join(" "))
}

/// Writes down again how an argument was given, if it was.
fn repeat(arg: &clap::Arg, typed: &ArgMatches, words: &mut Vec<String>) {
    let name = arg.get_id().as_str();
    let is_known = typed.try_contains_id(name).unwrap_or(false);
    if !is_known || typed.value_source(name) != Some(ValueSource::CommandLine) {
        return;
    }
    let flag = arg.get_long().map(|long| format!("--{long}"));
    if !arg.get_action().takes_values() {
        return words.extend(flag);
    }
    for values in typed.get_raw_occurrences(name).into_iter().flatten() {
        words.extend(flag.clone());
        words.extend(values.map(quoted));
    }
}

/// A word as a shell takes it.
fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_./:,@%+=".contains(letter);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.into_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_a_shell() {
        for (word, written) in [
            ("198.18.0.0/16", "198.18.0.0/16"),
            ("@fleet.txt", "@fleet.txt"),
            ("NET 1234", "'NET 1234'"),
            ("Bob's $HOME", r"'Bob'\''s $HOME'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(OsStr::new(word)), written);
        }
    }

    #[test]
    fn an_argument_is_repeated_as_it_was_given() {
        let cli = Cli::command();
        let line = "portreeve sweep 198.18.0.0/24,198.18.2.0/24 --exclude 198.18.0.7 --fuse --format=jsonl \
                    --exclude 198.18.0.9 --skip-unresolved --ports=22";
        let typed = cli.clone().try_get_matches_from(line.split_whitespace()).expect("a sweep");
        let sweep = typed.subcommand_matches("sweep").expect("a sweep");
        let mut words = Vec::new();
        let fuse = cli.find_subcommand("fuse").expect("a fuse");
        fuse.get_arguments().for_each(|arg| repeat(arg, sweep, &mut words));
        words.sort_unstable();
        let mut expected = vec![
            "198.18.0.0/24",
            "198.18.2.0/24",
            "--exclude",
            "198.18.0.7",
            "--exclude",
            "198.18.0.9",
            "--skip-unresolved",
            "--ports",
            "22",
        ];
        expected.sort_unstable();
        assert_eq!(words, expected);
    }
}
