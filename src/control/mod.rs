//! The control run: every port of every address, once a quarter, as evidence.
//!
//! It takes hours or days, so it is cut into tiles ([`crate::evidence::grid`]), and each tile is a sweep of its own,
//! with its own books. What was done is on the disk before anything else begins: whoever kills a run loses the tile in
//! flight and nothing else, and the same command goes on from there. A tile of which something is unknown is swept
//! again; what the attempts have learned adds up ([`tile`]).
//!
//! [`plan`] decides, and sends nothing. [`run`] sweeps. [`conclude`] counts everything again from what is on the disk,
//! judges, and makes the bundle.

mod attempt;
pub mod conclude;
pub mod estimate;
pub mod keys;
pub mod plan;
mod rest;
pub mod run;
pub mod tile;
pub mod workplace;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::evidence::journal::JournalError;
use crate::evidence::recount::RecountError;
use crate::evidence::sign::SignError;
use crate::evidence::verify::Wrong;
use crate::job::JobError;
use crate::job::settle::SettleError;
use crate::target::scope::ScopeError;

/// Why a control run does not go on.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Nothing may be probed, or the engine failed.
    #[error(transparent)]
    Job(#[from] JobError),
    /// Nothing may be probed.
    #[error(transparent)]
    Settle(#[from] SettleError),
    /// The scope cannot be cut.
    #[error(transparent)]
    Scope(#[from] ScopeError),
    /// The journal cannot be written, or is not as it was written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Nobody can sign.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The run before this one is not as it should be.
    #[error("the bundle {}: {wrong}", dir.display())]
    Previous {
        /// Its directory.
        dir: PathBuf,
        /// What is wrong with it.
        wrong: Wrong,
    },
    /// What was written cannot be counted again.
    #[error("the observations of {}: {cause}", dir.display())]
    Recount {
        /// The directory.
        dir: PathBuf,
        /// What is wrong with them.
        #[source]
        cause: RecountError,
    },
    /// A file or directory cannot be used.
    #[error("cannot {doing} {}: {cause}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        cause: io::Error,
    },
    /// There is a bundle already.
    #[error("{} holds the evidence of a run that is over; choose another --out", dir.display())]
    Finished {
        /// The directory.
        dir: PathBuf,
    },
    /// There are files of somebody else's.
    #[error("{} is not empty: it holds {}; choose another --out", dir.display(), name.display())]
    Foreign {
        /// The directory.
        dir: PathBuf,
        /// One of the files.
        name: PathBuf,
    },
    /// Another process is at work.
    #[error("another process is at work in {}", dir.display())]
    Locked {
        /// The directory.
        dir: PathBuf,
    },
    /// What is wanted is not what was begun.
    #[error(
        "{} holds a run that was begun with {what}; finish it as it was begun, or begin another with another --out",
        dir.display()
    )]
    Differs {
        /// The directory.
        dir: PathBuf,
        /// What is different.
        what: String,
    },
    /// This host reaches other targets than it did.
    #[error(
        "tile {tile} was to have {declared} targets, and this host may sweep {found} of them now: its own addresses or \
         gateways have changed; put them back, or begin another run with another --out"
    )]
    OtherTargets {
        /// The tile.
        tile: u64,
        /// Targets by the plan.
        declared: u64,
        /// Targets now.
        found: u64,
    },
    /// A tile that does not fit into the hours would be begun for ever.
    #[error(
        "a tile takes up to {takes:?}, and the hours are open for {open:?} at a time; choose a smaller --tile, a higher \
         --rate-max, or longer hours"
    )]
    TooLong {
        /// What the tile takes.
        takes: Duration,
        /// How long the hours are open.
        open: Duration,
    },
    /// A run of another control says nothing of this one.
    #[error("the earlier run is evidence for the control {theirs:?}, and this one for {ours:?}")]
    OtherControl {
        /// That of the earlier run.
        theirs: String,
        /// That of this one.
        ours: String,
    },
    /// Whoever else may write there could have the run overwrite other files, or read its secret.
    #[error("{} {why}; use a directory of your own", path.display())]
    NotOurs {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// What names targets has to be there when somebody asks years later.
    #[error(
        "targets came from {name}, which cannot be read again, as evidence must; write them into a file, and name that"
    )]
    NoFile {
        /// What it is called.
        name: String,
    },
    /// No random numbers.
    #[error("failed to get a random key from the system: {0}")]
    Random(String),
}
