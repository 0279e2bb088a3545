//! The events of a control run. Each is about the run, by its identifier; what was found comes as `finding` events,
//! whose `sweep` is the run.

use jiff::Timestamp;
use serde::Serialize;
use ulid::Ulid;

use crate::policy::finding::milliseconds;
use crate::sweep::ledger::Ledger;

/// `control.started`: a run begins, or goes on.
#[derive(Clone, Debug, Serialize)]
pub struct Started<'a> {
    /// The run.
    pub run: Ulid,
    /// The control that it is evidence for.
    pub control: &'a str,
    /// Whether it goes on where it was.
    pub resumed: bool,
    /// Targets.
    pub declared: u64,
    /// Tiles.
    pub tiles: u64,
    /// Tiles that are done.
    pub done: u64,
}

/// `control.tile`: a tile is done.
#[derive(Clone, Debug, Serialize)]
pub struct Tile<'a> {
    /// The run.
    pub run: Ulid,
    /// The tile, from 1.
    pub tile: u64,
    /// Tiles.
    pub tiles: u64,
    /// Attempts that it took.
    pub attempts: u32,
    /// Its books.
    pub ledger: &'a Ledger,
}

/// `control.paused`: the hours in which the run may send are over.
#[derive(Clone, Debug, Serialize)]
pub struct Paused {
    /// The run.
    pub run: Ulid,
    /// When they begin again.
    #[serde(serialize_with = "milliseconds")]
    pub until: Timestamp,
}

/// `control.stopped`: the run was stopped, and can be resumed.
#[derive(Clone, Debug, Serialize)]
pub struct Stopped<'a> {
    /// The run.
    pub run: Ulid,
    /// Why.
    pub why: &'a str,
}

/// `control.completed`: the evidence is made.
#[derive(Clone, Debug, Serialize)]
pub struct Completed<'a> {
    /// The run.
    pub run: Ulid,
    /// The control that it is evidence for.
    pub control: &'a str,
    /// What that is called.
    pub title: &'a str,
    /// What it is evidence for, in other people's catalogues.
    pub frameworks: &'a [String],
    /// What the run comes to: pass, fail, inconclusive.
    pub verdict: &'a str,
    /// What was asked of it.
    pub assessments: Vec<Asked<'a>>,
    /// The books.
    pub ledger: &'a Ledger,
    /// How many findings it had.
    pub findings: u64,
    /// The digest of the manifest, by which the evidence is recognised later.
    pub manifest: String,
    /// Where the evidence is.
    pub out: String,
    /// Ports that are open somewhere, and that the interval's sweeps do not look at.
    pub unwatched_ports: Vec<u16>,
}

/// One thing that was asked of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Asked<'a> {
    /// Its name.
    pub name: &'a str,
    /// Whether it is so.
    pub met: bool,
    /// What was found.
    pub statement: &'a str,
}
