//! What became of messages: the books of each sink, and what was given up.

use std::io::Write;

use anstyle::{AnsiColor, Style};
use jiff::Timestamp;

use super::super::{Failure, Status, output};
use super::kept::Told;
use super::when::at;
use crate::sink::columns;
use crate::sink::jsonl::JsonLines;
use crate::sink::listing::{DeadLetter, Listing, SinkState};
use crate::store::Reader;
use crate::store::letters::Letter;
use crate::store::outbox::{Backlog, SinkBooks};
use crate::target::foreign::{harmless, printable};

/// Dead letters that are listed: the latest of them.
const MOST_LETTERS: usize = 10_000;

/// Dead letters that are shown to people; the rest is counted.
const MOST_SHOWN: usize = 50;

/// A sink, and how it does.
struct Books {
    books: SinkBooks,
    backlog: Backlog,
    failure: Option<String>,
}

/// Lists the books of every sink, and the dead letters.
pub fn run(reader: &Reader, told: Told, now: Timestamp) -> Result<Status, Failure> {
    let mut sinks = Vec::new();
    for books in reader.books()? {
        let (backlog, failure) = (reader.backlog(&books.sink)?, reader.last_failure(&books.sink)?);
        sinks.push(Books { books, backlog, failure });
    }
    let letters = reader.letters(MOST_LETTERS)?;
    let is_well = letters.is_empty() && sinks.iter().all(|sink| sink.failure.is_none());
    let status = if is_well { Status::Clean } else { Status::Findings };
    output::told(tell(&sinks, &letters, told, now), status)
}

fn tell(sinks: &[Books], letters: &[Letter], told: Told, now: Timestamp) -> Result<(), Failure> {
    if told.to_machines() {
        return write_lines(sinks, letters, now);
    }
    let mut out = output::styled_stdout()?;
    write_books(&mut out, sinks, now)?;
    write_letters(&mut out, letters, now)?;
    Ok(out.flush()?)
}

fn write_lines(sinks: &[Books], letters: &[Letter], now: Timestamp) -> Result<(), Failure> {
    let mut lines = JsonLines::new(output::raw_stdout()?);
    for Books { books, backlog, failure } in sinks {
        let state = SinkState {
            sink: &books.sink,
            raised: books.raised,
            delivered: books.delivered,
            pending: books.pending,
            dead: books.dead,
            oldest_pending: backlog.oldest,
            next_attempt: backlog.next_due,
            last_error: failure.as_deref(),
        };
        lines.write(&Listing::new("sink.books", now, state))?;
    }
    for letter in letters {
        let dead = DeadLetter {
            sink: &letter.sink,
            message: letter.id,
            attempts: letter.attempts,
            why: &letter.why,
            can_return: letter.can_return,
        };
        lines.write(&Listing::new("letter.dead", letter.at, dead))?;
    }
    Ok(lines.flush()?)
}

fn write_books(out: &mut dyn Write, sinks: &[Books], now: Timestamp) -> Result<(), Failure> {
    if sinks.is_empty() {
        return Ok(writeln!(out, "nothing was ever raised for any sink")?);
    }
    let mut table =
        columns::table(["sink", "raised", "delivered", "pending", "dead", "oldest pending", "next attempt"]);
    for Books { books, backlog, .. } in sinks {
        let time = |time: Option<Timestamp>| time.map(|time| at(time, now)).unwrap_or_default();
        table.add_row([
            printable(&books.sink).into_owned(),
            books.raised.to_string(),
            books.delivered.to_string(),
            books.pending.to_string(),
            books.dead.to_string(),
            time(backlog.oldest),
            time(backlog.next_due),
        ]);
    }
    columns::write(out, &table)?;
    let warn = Style::new().bold().fg_color(Some(AnsiColor::Yellow.into()));
    for Books { books, failure, .. } in sinks {
        if let Some(why) = failure {
            writeln!(
                out,
                "{warn}{}: the last attempt failed: {}{warn:#}",
                printable(&books.sink),
                harmless(why)
            )?;
        }
        if !books.are_closed() {
            let sink = printable(&books.sink);
            writeln!(out, "{warn}{sink}: the books do not close; run `portreeve db check`{warn:#}")?;
        }
    }
    Ok(())
}

fn write_letters(out: &mut dyn Write, letters: &[Letter], now: Timestamp) -> Result<(), Failure> {
    if letters.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    let mut table = columns::table(["given up", "sink", "message", "attempts", "can return", "why"]);
    for letter in letters.iter().take(MOST_SHOWN) {
        table.add_row([
            at(letter.at, now),
            printable(&letter.sink).into_owned(),
            letter.id.to_string(),
            letter.attempts.to_string(),
            if letter.can_return { "yes" } else { "no" }.to_owned(),
            harmless(&letter.why).into_owned(),
        ]);
    }
    columns::write(out, &table)?;
    if letters.len() > MOST_SHOWN {
        writeln!(out, "and {} more; --format jsonl lists every one", letters.len() - MOST_SHOWN)?;
    }
    if letters.iter().any(|letter| letter.can_return) {
        writeln!(out, "`portreeve db retry SINK` tries those again that can return")?;
    }
    Ok(())
}
