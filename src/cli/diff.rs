//! `portreeve diff`: what differs between two runs.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use jiff::Timestamp;
use ulid::Ulid;

use super::import::{InputFormat, read_file};
use super::output::{self, Place};
use super::{Failure, Status};
use crate::diff::{Difference, compare};
use crate::import::Wanted;
use crate::sink::diff::{Compared, write_events, write_text};
use crate::sink::jsonl::JsonLines;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The older run: a file of portreeve (JSON Lines), nmap, masscan, zmap or naabu, or a directory of evidence
    old: PathBuf,

    /// The newer run: a file of any of them, or - for standard input
    new: PathBuf,

    /// What both files are, where their content does not tell
    #[arg(long, value_name = "FORMAT")]
    input_format: Option<InputFormat>,

    /// The sweep to take of the newer file, if it holds several [default: the last that came to its end]
    #[arg(long, value_name = "ULID")]
    sweep: Option<Ulid>,

    /// The sweep to take of the older file
    #[arg(long, value_name = "ULID")]
    old_sweep: Option<Ulid>,

    /// Take what can be read of a file that is cut or broken, as an incomplete run
    #[arg(long)]
    partial: bool,

    /// How to print what differs
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,

    /// Write it to a file instead of standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// For machines: one JSON event a line
    Jsonl,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Status, Failure> {
    if [&args.old, &args.new].iter().all(|file| file.as_path() == Path::new("-")) {
        return Err("standard input can be read once only; put one of the two into a file".into());
    }
    let wanted = |sweep| Wanted { format: args.input_format.map(|it| it.0), sweep, partial: args.partial };
    let old = read_file(&args.old, &wanted(args.old_sweep))?;
    let new = read_file(&args.new, &wanted(args.sweep))?;
    let difference = compare(&old, &new);
    let place = Place::find(args.output.as_deref(), &[&args.old, &args.new], &|| false)?;
    let compared = Compared { old: &old, new: &new, difference: &difference };
    let told = match args.format {
        Format::Text => {
            let mut out = place.styled()?;
            write_text(&mut out, &compared).and_then(|()| out.flush())
        }
        Format::Jsonl => write_events(&mut JsonLines::new(place.raw()?), &compared, Timestamp::now()),
    };
    output::told(told.map_err(Into::into), status(&difference))
}

fn status(difference: &Difference) -> Status {
    match difference.is_empty() {
        false => Status::Findings,
        true if difference.count_not_seen() > 0 => Status::Incomplete,
        true => Status::Clean,
    }
}
