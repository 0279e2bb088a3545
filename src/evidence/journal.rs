//! The journal of a control run: what happened, in the order in which it did, one JSON object a line.
//!
//! It is the run's memory. Each entry is on the disk before what it announces happens, or after what it tells of has
//! happened, so that a run that is killed at any moment knows where it was. Each names the digest of the line before
//! it, so that nothing can be taken out of the middle, or put there, afterwards.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::plan::Method;
use crate::policy::finding::milliseconds;
use crate::sweep::ledger::Ledger;
use crate::sweep::report::Report;
use crate::sweep::verified::LookReport;

/// One line of the journal.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Entry {
    /// Its number, from 1.
    pub number: u64,
    /// When it was written, wall clock.
    #[serde(serialize_with = "milliseconds")]
    pub time: Timestamp,
    /// The digest of the line before it; of nothing, for the first.
    pub before: Digest,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum What {
    /// The run begins.
    Begun {
        /// The digest of the plan.
        plan: Digest,
        /// Who performs it.
        performer: Performer,
    },
    /// The run goes on where it was.
    Resumed {
        /// Who performs it.
        performer: Performer,
        /// How it is performed from now on.
        method: Box<Method>,
        /// In which hours, from now on.
        hours: Vec<String>,
        /// On whose wall they are read.
        timezone: String,
    },
    /// A tile is about to be swept.
    TileBegun {
        /// Its number, from 1.
        tile: u64,
        /// How often it has been begun, this time included. The key of its probes is made of both.
        attempt: u32,
    },
    /// A tile was swept to its end, well or not.
    TileSwept {
        /// Its number.
        tile: u64,
        /// Which attempt it was.
        attempt: u32,
        /// How that went.
        report: Box<Report>,
        /// How the second look went.
        second_look: LookReport,
    },
    /// A tile is done: its lines are on the disk.
    TileDone(TileDone),
    /// The hours in which the run may send are over.
    Paused {
        /// When they begin again.
        #[serde(serialize_with = "milliseconds")]
        until: Timestamp,
    },
    /// They have begun again.
    Continued,
    /// The run was stopped, and can be resumed.
    Stopped {
        /// Why.
        why: String,
    },
    /// Every tile is done.
    Concluded {
        /// The sum of their books.
        ledger: Ledger,
        /// What the clock was then.
        clock: ClockState,
    },
}

/// A tile whose lines are on the disk.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct TileDone {
    /// Its number.
    pub tile: u64,
    /// Attempts that went into it.
    pub attempts: u32,
    /// Its books.
    pub ledger: Ledger,
    /// Its lines.
    pub lines: u64,
    /// The digest of its lines as they are stored, compressed.
    pub sha256: Digest,
    /// Their length then.
    pub bytes: u64,
}

/// Who performs a run, and with what.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Performer {
    /// The host's name.
    pub host: String,
    /// The program's version.
    pub version: String,
    /// The digest of the program's own file.
    pub program: Option<Digest>,
    /// The digest of the configuration, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Digest>,
    /// Whether the kernel says that its clock is synchronised, and by how much it may be wrong.
    pub clock: ClockState,
}

/// What the kernel says of the clock on the wall.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct ClockState {
    /// Whether something keeps it right; `None` where the kernel does not say.
    pub synchronised: Option<bool>,
    /// The most that it may be wrong, in microseconds.
    pub max_error_us: Option<u64>,
    /// What it is reckoned to be wrong, in microseconds.
    pub estimated_error_us: Option<u64>,
}

/// Why a journal cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file cannot be opened, read or written.
    #[error("cannot {doing} the journal {}: {cause}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        cause: io::Error,
    },
    /// A line is not what it should be.
    #[error("{}, line {line}: {why}", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is wrong.
        why: String,
    },
}

/// A journal that is being written.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
    number: u64,
    before: Digest,
    /// The length of all whole lines.
    len: u64,
}

impl Journal {
    /// Opens the journal of a run, or begins it: what is in it comes back. A last line that has no end was being
    /// written when the run was killed, announces nothing, and goes.
    ///
    /// # Errors
    /// When it cannot be read or written, or when it is not as it was written.
    pub fn open(path: &Path) -> Result<(Self, Vec<Entry>), JournalError> {
        let failed = |doing, cause| JournalError::Io { doing, path: path.to_owned(), cause };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(path).map_err(|cause| failed("open", cause))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text).map_err(|cause| failed("read", cause))?;
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        if whole < text.len() {
            file.set_len(whole as u64).map_err(|cause| failed("mend", cause))?;
            text.truncate(whole);
        }
        file.seek(SeekFrom::End(0)).map_err(|cause| failed("write", cause))?;
        let (entries, before) = parse(path, &text)?;
        let (number, len) = (entries.len() as u64, text.len() as u64);
        Ok((Journal { file, path: path.to_owned(), number, before, len }, entries))
    }

    /// Adds an entry, and says what it has become. When this returns, it is on the disk.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn add(&mut self, time: Timestamp, what: What) -> Result<Entry, JournalError> {
        let failed = |cause| JournalError::Io { doing: "write", path: self.path.clone(), cause };
        let entry = Entry { number: self.number + 1, time, before: self.before, what };
        let mut line = serde_json::to_vec(&entry).map_err(|cause| failed(cause.into()))?;
        // As it will be read again: what is not written, such as a microsecond, is not known.
        let entry: Entry = serde_json::from_slice(&line).map_err(|cause| failed(cause.into()))?;
        let digest = Digest::of(&line);
        line.push(b'\n');
        if let Err(cause) = self.file.write_all(&line).and_then(|()| self.file.sync_data()) {
            // Half a line, behind which another may come, would be a journal that nobody can read.
            let _ = self.file.set_len(self.len).and_then(|()| self.file.seek(SeekFrom::End(0)));
            return Err(failed(cause));
        }
        (self.number, self.before) = (entry.number, digest);
        self.len += line.len() as u64;
        Ok(entry)
    }
}

/// Reads a journal that is complete.
///
/// # Errors
/// With the first line that is not as it was written.
pub fn parse(path: &Path, text: &[u8]) -> Result<(Vec<Entry>, Digest), JournalError> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut before = Digest::of(b"");
    let lines = text.strip_suffix(b"\n").unwrap_or(text);
    let lines = lines.split(|byte| *byte == b'\n').filter(|_| !text.is_empty());
    for (line, number) in lines.zip(1..) {
        let broken = |why: String| JournalError::Broken { path: path.to_owned(), line: number, why };
        let entry: Entry = serde_json::from_slice(line).map_err(|cause| broken(cause.to_string()))?;
        if entry.number != number {
            return Err(broken(format!("this is entry {}, where entry {number} belongs", entry.number)));
        }
        if entry.before != before {
            return Err(broken(
                "it does not follow the line before it: one of them has been changed".to_owned(),
            ));
        }
        before = Digest::of(line);
        entries.push(entry);
    }
    Ok((entries, before))
}

/// The tiles that are done, in the order of their numbers. Of two words on one tile the later one is right.
pub fn tiles_done(entries: &[Entry]) -> Vec<TileDone> {
    let done = entries.iter().filter_map(|entry| match &entry.what {
        What::TileDone(done) => Some((done.tile, done.clone())),
        _ => None,
    });
    done.collect::<BTreeMap<_, _>>().into_values().collect()
}

/// How often a tile was swept to its end.
pub fn times_swept(entries: &[Entry], tile: u64) -> u64 {
    let is_of = |entry: &&Entry| matches!(entry.what, What::TileSwept { tile: of, .. } if of == tile);
    entries.iter().filter(is_of).count() as u64
}

/// The version of the program that has worked last.
pub fn last_version(entries: &[Entry]) -> Option<&str> {
    entries.iter().rev().find_map(|entry| match &entry.what {
        What::Begun { performer, .. } | What::Resumed { performer, .. } => Some(performer.version.as_str()),
        _ => None,
    })
}

/// How long a run has been sending, as its journal has it: the sum of its tiles.
pub fn active(entries: &[Entry]) -> Duration {
    let swept = entries.iter().filter_map(|entry| match &entry.what {
        What::TileSwept { report, second_look, .. } => {
            Some(report.duration_ms.saturating_add(second_look.duration_ms))
        }
        _ => None,
    });
    Duration::from_millis(swept.fold(0, u64::saturating_add))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-26T07:00:00Z".parse().expect("a time")
    }

    fn written(dir: &Path) -> (PathBuf, Vec<u8>) {
        let path = dir.join("journal.jsonl");
        let (mut journal, before) = Journal::open(&path).expect("a journal");
        assert!(before.is_empty());
        for tile in 1..=3 {
            journal.add(now(), What::TileBegun { tile, attempt: 1 }).expect("room");
        }
        journal.add(now(), What::Continued).expect("room");
        let text = std::fs::read(&path).expect("a file");
        (path, text)
    }

    #[test]
    fn goes_on_behind_what_is_there() {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, text) = written(dir.path());
        let (mut journal, entries) = Journal::open(&path).expect("a journal");
        assert_eq!(entries.len(), 4);
        journal.add(now(), What::Stopped { why: "a test".into() }).expect("room");
        let after = std::fs::read(&path).expect("a file");
        assert!(after.starts_with(&text));
        assert_eq!(parse(&path, &after).expect("whole").0.len(), 5);
    }

    #[test]
    fn a_line_that_was_cut_is_as_if_it_had_not_been_begun() {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, text) = written(dir.path());
        let third = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(2).expect("lines").0;
        for cut in third + 1..text.len() {
            std::fs::write(&path, &text[..cut]).expect("room");
            assert_eq!(Journal::open(&path).expect("a journal").1.len(), 3, "cut at {cut}");
            assert_eq!(std::fs::read(&path).expect("a file"), &text[..=third]);
        }
    }

    #[test]
    fn notices_every_change_of_a_line_that_another_follows() {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, text) = written(dir.path());
        let last = text[..text.len() - 1].iter().rposition(|byte| *byte == b'\n').expect("lines");
        for at in 0..last {
            let mut changed = text.clone();
            changed[at] ^= 1;
            assert!(parse(&path, &changed).is_err(), "byte {at}");
        }
        let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
        for without in 0..lines.len() - 1 {
            let rest = [&lines[..without], &lines[without + 1..]].concat().concat();
            assert!(parse(&path, &rest).is_err(), "without line {}", without + 1);
        }
        assert!(parse(&path, &[lines[1], lines[0], lines[2]].concat()).is_err());
    }
}
