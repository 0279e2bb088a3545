//! What is said of a control run while it goes on, and in the end: to people, or to machines.

use std::fmt::Display;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::Timestamp;
use serde::Serialize;
use ulid::Ulid;

use crate::cli::lines::Lines;
use crate::cli::progress::{Terminal, in_words};
use crate::cli::{Failure, output};
use crate::control::estimate::estimate;
use crate::control::run::Listener;
use crate::evidence::digest::Digest;
use crate::evidence::journal::{Entry, What, active, tiles_done};
use crate::evidence::manifest::{Manifest, UnwatchedPort};
use crate::evidence::plan::Plan;
use crate::job::listener::Aside;
use crate::job::vitals::hostname;
use crate::sink::control::{Asked, Completed, Paused, Started, Stopped, Tile};
use crate::sink::event::Run;
use crate::sink::format::{LineFormat, Origin};
use crate::sink::listing::Listing;
use crate::sweep::run::Progress;
use crate::target::foreign::Harmless;

/// How what happens is printed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// For machines: one JSON event a line
    Jsonl,
    /// Events in the Elastic Common Schema 9.4, one a line
    Ecs,
    /// Events in the Open Cybersecurity Schema Framework 1.8, one a line
    Ocsf,
    /// Events for Splunk's HTTP Event Collector, one a line
    Hec,
    /// Events in the Common Event Format, as messages of syslog (RFC 5424), one a line
    Cef,
}

impl Format {
    fn of_lines(self) -> Option<LineFormat> {
        match self {
            Format::Text => None,
            Format::Jsonl => Some(LineFormat::Jsonl),
            Format::Ecs => Some(LineFormat::Ecs),
            Format::Ocsf => Some(LineFormat::Ocsf),
            Format::Hec => Some(LineFormat::Hec),
            Format::Cef => Some(LineFormat::Cef),
        }
    }
}

/// Findings that people are told of, at most; the evidence has them all.
const MOST_FINDINGS: usize = 20;

/// Tells people or machines what happens.
pub struct Telling {
    /// Where events go; nowhere, where people are told.
    lines: Option<Lines>,
    run: Ulid,
    control: String,
    declared: u64,
    tiles: u64,
    done: u64,
    pace: Pace,
    bar: ProgressBar,
    terminal: Terminal,
}

/// How long what is left will take, by how long what is done took.
struct Pace {
    /// Targets that are done, and how long they took.
    swept: u64,
    took: Duration,
    /// What a target takes, reckoned before any was swept.
    reckoned: Duration,
}

impl Pace {
    fn left(&self, targets: u64, more: Duration, swept: u64) -> Duration {
        let (swept, took) = (self.swept + swept, self.took + more);
        // A hundredth of the run says more of it than any reckoning.
        if swept * 100 < targets.max(1) || took < Duration::from_secs(10) {
            return self.reckoned.mul_f64(targets as f64);
        }
        took.mul_f64(targets as f64 / swept as f64)
    }
}

impl Telling {
    /// Tells of this run, of which so much has happened.
    ///
    /// # Errors
    /// When there is no output.
    pub fn new(format: Format, plan: &Plan, entries: &[Entry]) -> Result<Self, Failure> {
        let scope = plan.targets()?;
        let tiles = plan.grid.tiles();
        let reckoned = estimate(&scope, &plan.grid, &plan.method, tiles);
        let done = tiles_done(entries);
        let swept = done.iter().map(|done| done.ledger.declared).sum();
        let lines = match format.of_lines() {
            None => None,
            Some(format) => {
                let mut lines = Lines::new(output::raw_stdout()?, format);
                lines.comes_from(Origin { host: hostname(), process: std::process::id(), source: None });
                Some(lines)
            }
        };
        let each = reckoned.work.0.div_f64(reckoned.targets.max(1) as f64);
        let bar = if output::aside_is_seen() {
            ProgressBar::with_draw_target(Some(scope.len()), ProgressDrawTarget::stderr_with_hz(5))
        } else {
            ProgressBar::hidden()
        };
        if let Ok(style) = ProgressStyle::with_template("{bar:24.cyan/dim} {percent:>3}%  {msg}") {
            bar.set_style(style);
        }
        Ok(Telling {
            lines,
            run: plan.run,
            control: plan.control.id.clone(),
            declared: scope.len(),
            tiles,
            done: done.len() as u64,
            pace: Pace { swept, took: active(entries), reckoned: each },
            bar,
            terminal: Terminal::default(),
        })
    }

    /// Takes the line away that people watch.
    pub fn stop(&self) {
        self.bar.finish_and_clear();
    }

    /// Tells what it all came to.
    ///
    /// # Errors
    /// When the output fails.
    pub fn conclude(&mut self, manifest: &Manifest, digest: &Digest, dir: &Path) -> Result<(), Failure> {
        self.stop();
        let Some(lines) = &mut self.lines else {
            return Ok(summarise(&mut output::styled_stdout()?, manifest, digest, dir)?);
        };
        let now = manifest.time.completed;
        let events = Run::new(self.run, manifest.plan.authorization.as_deref());
        for finding in &manifest.findings {
            lines.tell(&events.finding(now, finding))?;
        }
        lines.tell(&Listing::new("control.completed", now, completed(manifest, digest, dir)))?;
        Ok(lines.flush()?)
    }

    fn event(&mut self, event: &'static str, body: impl Serialize) -> io::Result<()> {
        let Some(lines) = &mut self.lines else { return Ok(()) };
        lines.tell(&Listing::new(event, Timestamp::now(), body))?;
        lines.flush()
    }

    fn start(&mut self, resumed: bool) -> io::Result<()> {
        let (run, control, done) = (self.run, self.control.clone(), self.done);
        if self.lines.is_none() {
            let what = if resumed { "goes on" } else { "begins" };
            let (declared, tiles) = (self.declared, self.tiles);
            writeln!(
                output::aside(),
                "control run {run} for {control} {what}: {declared} targets in {tiles} tiles, {done} of them done"
            )?;
        }
        let (declared, tiles) = (self.declared, self.tiles);
        self.event("control.started", Started { run, control: &control, resumed, declared, tiles, done })
    }
}

impl Listener for Telling {
    fn entered(&mut self, what: &What) -> io::Result<()> {
        let (run, tiles) = (self.run, self.tiles);
        match what {
            What::Begun { .. } => self.start(false),
            What::Resumed { .. } => self.start(true),
            What::TileSwept { report, second_look, .. } => {
                self.pace.took += Duration::from_millis(report.duration_ms + second_look.duration_ms);
                Ok(())
            }
            What::TileDone(done) => {
                self.done += 1;
                self.pace.swept += done.ledger.declared;
                let (tile, attempts, ledger) = (done.tile, done.attempts, &done.ledger);
                self.event("control.tile", Tile { run, tile, tiles, attempts, ledger })
            }
            What::Paused { until } => {
                if self.lines.is_none() {
                    self.bar
                        .suspend(|| writeln!(output::aside(), "outside of the hours until {until:.0}"))?;
                }
                self.event("control.paused", Paused { run, until: *until })
            }
            What::Stopped { why } => self.event("control.stopped", Stopped { run, why }),
            What::TileBegun { .. } | What::Continued | What::Concluded { .. } => Ok(()),
        }
    }

    fn progressed(&mut self, tile: u64, progress: &Progress) -> io::Result<()> {
        let at = self.pace.swept + progress.answered;
        let left = self.pace.left(self.declared.saturating_sub(at), progress.elapsed, progress.answered);
        self.bar.set_position(at);
        self.bar.set_message(format!(
            "tile {tile} of {}  {} open in it  {} dropped  ETA {}",
            self.tiles,
            progress.open,
            progress.dropped,
            in_words(left)
        ));
        Ok(())
    }
}

impl Aside for Telling {
    fn waiting(&mut self, doing: &str) {
        self.terminal.waiting(doing);
    }

    fn waited(&mut self) {
        self.terminal.waited();
    }

    fn warned(&mut self, what: &dyn Display) {
        self.bar.suspend(|| self.terminal.warned(what));
    }
}

fn completed<'a>(manifest: &'a Manifest, digest: &Digest, dir: &Path) -> Completed<'a> {
    let control = &manifest.plan.control;
    let asked = manifest.conclusion.assessments.iter();
    Completed {
        run: manifest.plan.run,
        control: &control.id,
        title: &control.title,
        frameworks: &control.frameworks,
        verdict: manifest.conclusion.verdict.as_str(),
        assessments: asked
            .map(|asked| Asked { name: &asked.name, met: asked.met, statement: &asked.statement })
            .collect(),
        ledger: &manifest.completeness.ledger,
        findings: manifest.findings.len() as u64,
        manifest: digest.to_string(),
        out: output::shown(dir),
        unwatched_ports: manifest.unwatched_ports.iter().map(|port| port.port).collect(),
    }
}

fn summarise(out: &mut dyn Write, manifest: &Manifest, digest: &Digest, dir: &Path) -> io::Result<()> {
    for finding in manifest.findings.iter().take(MOST_FINDINGS) {
        writeln!(out, "{:8} {}", finding.severity, Harmless(&finding.message))?;
    }
    if let Some(more) = manifest.findings.len().checked_sub(MOST_FINDINGS).filter(|more| *more > 0) {
        writeln!(out, "         and {more} more, in the evidence")?;
    }
    writeln!(out, "verdict  {}", manifest.conclusion.verdict.as_str())?;
    for asked in &manifest.conclusion.assessments {
        let met = if asked.met { "met" } else { "not met" };
        writeln!(out, "         {} {met}: {}", asked.name, Harmless(&asked.statement))?;
    }
    let ledger = &manifest.completeness.ledger;
    writeln!(
        out,
        "ledger   {} targets: {} open, {} closed, {} filtered, {} unreachable, {} conflict, {} unknown",
        ledger.declared,
        ledger.open,
        ledger.closed,
        ledger.filtered,
        ledger.unreachable,
        ledger.conflict,
        ledger.unknown
    )?;
    for (word, changes) in [("changes ", &manifest.comparison), ("rescan  ", &manifest.rescan)] {
        let Some(changes) = changes else { continue };
        let lists = [&changes.new, &changes.fixed, &changes.excepted, &changes.persisting, &changes.not_seen];
        let [new, fixed, excepted, persisting, not_seen] = lists.map(Vec::len);
        writeln!(
            out,
            "{word} {new} new, {fixed} fixed, {excepted} excepted, {persisting} persisting, {not_seen} not seen"
        )?;
    }
    if !manifest.unwatched_ports.is_empty() {
        let named = |port: &UnwatchedPort| {
            let service = port.service.as_ref().map_or_else(String::new, |service| format!(" {service}"));
            format!("{}{service} ({} hosts)", port.port, port.hosts)
        };
        let ports: Vec<String> = manifest.unwatched_ports.iter().take(MOST_FINDINGS).map(named).collect();
        let more = manifest.unwatched_ports.len().saturating_sub(MOST_FINDINGS);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        writeln!(out, "add to the fast sweep: {}{more}", ports.join(", "))?;
    }
    writeln!(out, "evidence {}", output::shown(dir))?;
    writeln!(out, "digest   {digest}; note it elsewhere")?;
    out.flush()
}
