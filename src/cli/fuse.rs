//! `portreeve fuse`, which prints a fuse for somebody privileged to load.

use std::ffi::OsStr;
use std::io::Write;

use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory};

use super::{Cli, Failure, Input, Status, output};
use crate::job::JobError;
use crate::job::fuse::fuse_of;
use crate::job::settle::settle;
use crate::link::fuse::REMOVAL;

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

/// The words for a failure; where it is that no fuse is loaded, with the command that loads it.
pub(super) fn or_load(failure: JobError) -> Failure {
    match &failure {
        JobError::Backing(cause) if cause.asks_to_load() => {
            format!("{cause}; load it by: {}", loading_command()).into()
        }
        _ => failure.into(),
    }
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
