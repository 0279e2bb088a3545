//! `portreeve db`: looks after the database of a daemon.

use std::io::Write;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::super::{Failure, Status, output};
use super::kept::{Found, Kept, Told};
use crate::sink::jsonl::JsonLines;
use crate::sink::listing::{Listing, Revived, StoreChecked, StoreCopied};
use crate::store::backup::backup;
use crate::store::check::{Findings, check};
use crate::store::error::StoreError;
use crate::store::outbox::SinkBooks;
use crate::target::foreign::{harmless, printable};

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Look whether a database is sound, and whether the books of its sinks close; changes nothing
    ///
    /// Exit status: 0 sound, 2 not, or it could not be looked at.
    Check(CheckArgs),
    /// Copy a database as it is at one moment, while the daemon goes on
    Backup(BackupArgs),
    /// Try the messages again that were given up for a sink, now that it has been mended
    ///
    /// A message stays given up where a later one about the same alert has arrived: it would tell yesterday's news.
    Retry(RetryArgs),
}

#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    #[command(flatten)]
    kept: Kept,

    #[command(flatten)]
    told: Told,
}

#[derive(Debug, clap::Args)]
pub struct BackupArgs {
    /// The copy; there must be no file of this name
    #[arg(value_name = "FILE")]
    file: PathBuf,

    #[command(flatten)]
    kept: Kept,

    #[command(flatten)]
    told: Told,
}

#[derive(Debug, clap::Args)]
pub struct RetryArgs {
    /// The name of the sink
    #[arg(value_name = "SINK")]
    sink: String,

    #[command(flatten)]
    kept: Kept,

    #[command(flatten)]
    told: Told,
}

/// Does what is asked for with the database.
pub fn run(command: &Command) -> Result<Status, Failure> {
    let now = Timestamp::now();
    match command {
        Command::Check(args) => look(&args.kept.find()?, args.told, now),
        Command::Backup(args) => copy(&args.kept.find()?, &args.file, args.told, now),
        Command::Retry(args) => retry(&args.kept.find()?, &args.sink, args.told, now),
    }
}

fn look(found: &Found, told: Told, now: Timestamp) -> Result<Status, Failure> {
    let findings = check(&found.path).map_err(|error| found.explained(error))?;
    let status = if findings.problems.is_empty() { Status::Clean } else { Status::Failed };
    output::told(tell_findings(found, &findings, told, now), status)
}

fn tell_findings(found: &Found, findings: &Findings, told: Told, now: Timestamp) -> Result<(), Failure> {
    let (sound, file) = (findings.problems.is_empty(), found.shown());
    if told.to_machines() {
        let (schema_version, problems) = (findings.schema, &findings.problems[..]);
        let checked = StoreChecked { file: &file, schema_version, sound, problems };
        return write_line(&Listing::new("store.checked", now, checked));
    }
    let mut out = output::styled_stdout()?;
    if sound {
        writeln!(out, "{file}: sound; schema {}", findings.schema)?;
        for books in found.read()?.books()? {
            let SinkBooks { raised, delivered, pending, dead, .. } = books;
            let sink = printable(&books.sink);
            writeln!(
                out,
                "{sink}: {raised} raised = {delivered} delivered + {pending} pending + {dead} dead"
            )?;
        }
    }
    for problem in &findings.problems {
        writeln!(out, "{file}: {}", harmless(problem))?;
    }
    if !sound {
        writeln!(out, "stop the daemon, keep this file, and restore the latest backup")?;
    }
    Ok(out.flush()?)
}

fn copy(found: &Found, to: &Path, told: Told, now: Timestamp) -> Result<Status, Failure> {
    backup(&found.path, to).map_err(|error| match error {
        // What is said of the copy is no matter of who owns the database.
        StoreError::Exists { .. } | StoreError::Denied { tried: "write the backup", .. } => error.into(),
        error => found.explained(error),
    })?;
    let bytes = std::fs::metadata(to)?.len();
    let (file, copy) = (found.shown(), output::shown(to));
    let written = if told.to_machines() {
        write_line(&Listing::new("store.copied", now, StoreCopied { file: &file, copy: &copy, bytes }))
    } else {
        let says = format!("{file} is copied to {copy}, whole and checked: {bytes} bytes");
        output::styled_stdout().and_then(|mut out| Ok(writeln!(out, "{says}")?))
    };
    output::told(written, Status::Clean)
}

fn retry(found: &Found, sink: &str, told: Told, now: Timestamp) -> Result<Status, Failure> {
    let mut store = found.write()?;
    let books = store.books()?;
    let Some(of_sink) = books.iter().find(|books| books.sink == sink) else {
        let known: Vec<_> = books.iter().map(|books| printable(&books.sink)).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        return Err(format!(
            "nothing was ever raised for a sink `{}`; those that are known: {known}",
            printable(sink)
        )
        .into());
    };
    let letters =
        store.write(|tx| tx.revive(sink, now)).map_err(|error: StoreError| found.explained(error))?;
    let rest = of_sink.dead.saturating_sub(letters);
    output::told(tell_revived(sink, letters, rest, told, now), Status::Clean)
}

fn tell_revived(sink: &str, letters: u64, rest: u64, told: Told, now: Timestamp) -> Result<(), Failure> {
    if told.to_machines() {
        return write_line(&Listing::new("letters.revived", now, Revived { sink, letters }));
    }
    let mut says = printable(sink).into_owned();
    says += &match letters {
        0 => ": nothing can be tried again".to_owned(),
        1 => ": 1 message is tried again".to_owned(),
        many => format!(": {many} messages are tried again"),
    };
    if rest > 0 {
        says += &format!("; {rest} stay given up, because later ones have arrived or they are forgotten");
    }
    Ok(writeln!(output::styled_stdout()?, "{says}")?)
}

fn write_line(line: &impl serde::Serialize) -> Result<(), Failure> {
    let mut lines = JsonLines::new(output::raw_stdout()?);
    lines.write(line)?;
    Ok(lines.flush()?)
}
