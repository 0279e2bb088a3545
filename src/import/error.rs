//! What is wrong with a file, and where.

use std::fmt;
use std::io;

use thiserror::Error;

use crate::survey::builder::TooMuch;
use crate::target::foreign::{Harmless, printable};

/// Where in a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Place {
    /// A line and a column, both from 1; columns count bytes.
    Line(u64, u64),
    /// A byte, from 0.
    Byte(u64),
    /// All of it.
    Nowhere,
}

/// Something that is wrong with a file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fault {
    /// Where.
    pub place: Place,
    /// What.
    pub message: String,
    /// What to do.
    pub help: String,
    /// Whether what was read before it is worth something.
    rest: bool,
}

impl Fault {
    /// Something wrong at a place, before which all was well.
    pub fn new(place: Place, message: impl Into<String>, help: impl Into<String>) -> Self {
        Fault { place, message: message.into(), help: help.into(), rest: true }
    }

    /// Something that is wrong with all of it, so that nothing that was read can be used.
    pub fn fatal(place: Place, message: impl Into<String>, help: impl Into<String>) -> Self {
        Fault { rest: false, ..Fault::new(place, message, help) }
    }

    /// The file ends where it should go on.
    pub fn cut(place: Place, message: impl Into<String>) -> Self {
        Fault::new(place, message, CUT)
    }

    /// More than is taken in.
    pub fn too_much(place: Place, much: TooMuch) -> Self {
        Fault::fatal(place, much.to_string(), "split the scan into smaller parts, and import one at a time")
    }

    /// It cannot be read on.
    pub fn unreadable(place: Place, cause: &io::Error) -> Self {
        match cause.kind() {
            io::ErrorKind::IsADirectory => {
                Fault::fatal(Place::Nowhere, "it is a directory, not a file", "name a file of results in it")
            }
            io::ErrorKind::InvalidData => {
                Fault::new(place, cause.to_string(), "make sure that this is the file of a scanner")
            }
            _ => Fault::new(
                place,
                format!("it cannot be read: {cause}"),
                "look at the disk or pipe that it is on",
            ),
        }
    }

    /// Whether what was read before it is worth something.
    pub fn leaves_the_rest(&self) -> bool {
        self.rest
    }
}

const CUT: &str = "the file has been cut, or its scanner killed: get the whole file, or read what is there as an \
    incomplete run (--partial)";

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Place::Line(line, column) => write!(f, "{line}:{column}: ")?,
            Place::Byte(byte) => write!(f, "byte {byte}: ")?,
            Place::Nowhere => f.write_str(" ")?,
        }
        write!(f, "{}; {}", Harmless(&self.message), self.help)
    }
}

/// A file that cannot be taken in: `file:line:column: what; what to do`.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("{}:{fault}", Harmless(.name))]
pub struct ImportError {
    /// The file, as it was named.
    pub name: String,
    /// What is wrong.
    pub fault: Fault,
}

impl ImportError {
    /// Something that is wrong with this file.
    pub fn new(name: &str, fault: Fault) -> Self {
        ImportError { name: name.to_owned(), fault }
    }
}

/// A foreign value as it may stand in a message.
pub(super) fn quoted(value: &str) -> String {
    format!("`{}`", printable(value))
}
