//! This program's own events: sweeps, and streams of imports. One file may hold several, one behind the other.
//!
//! What is not listed can be known all the same: `sweep.started` says what the scope was, and the ledger of
//! `sweep.completed` counts all of it. Where every open target that is counted is listed too, and none is unknown, the
//! others of the scope were seen, and not open.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;
use serde::Deserialize;
use ulid::Ulid;

use super::Wanted;
use super::error::{Fault, Place, quoted};
use super::feed::Feed;
use super::format::Format;
use super::made::{Made, protocol, text};
use super::masscan_json::from_line;
use super::scope::{ScopeLine, scope_of};
use crate::survey::host::{Host, More, Name, NameKind, Port, Protocol, Service};
use crate::survey::runs::PortRuns;
use crate::survey::word::{self, PortState};
use crate::survey::{Coverage, Declared, Ending, Scan, Survey};
use crate::sweep::ledger::Ledger;
use crate::sweep::report::Verdict;
use crate::target::scope::Shard;
use crate::target::state::State;

const SCHEMA: &str = "portreeve/1";
const HELP: &str = "make sure that this is what portreeve wrote with --format jsonl";

/// What every line has, and what a port has: they are by far the most, and are read in one go.
#[derive(Deserialize)]
struct Line<'l> {
    #[serde(borrow)]
    schema: Cow<'l, str>,
    #[serde(borrow)]
    event: Cow<'l, str>,
    time: Option<Timestamp>,
    sweep: Option<Ulid>,
    ip: Option<IpAddr>,
    #[serde(default)]
    names: Vec<String>,
    port: Option<u16>,
    #[serde(borrow)]
    transport: Option<Cow<'l, str>>,
    #[serde(borrow)]
    state: Option<Cow<'l, str>>,
    #[serde(borrow)]
    reason: Option<Cow<'l, str>>,
    ttl: Option<u8>,
    #[serde(default)]
    verified: bool,
    banner: Option<Said>,
}

#[derive(Deserialize)]
struct Said {
    protocol: String,
    text: String,
}

#[derive(Deserialize)]
struct Started {
    scope: ScopeLine,
    engine: String,
    shard: Option<Shard>,
    version: Option<String>,
}

#[derive(Deserialize)]
struct Completed {
    verdict: Verdict,
    ledger: Ledger,
    #[serde(default)]
    unknown_reasons: BTreeMap<String, u64>,
}

/// A sweep that has begun, and not ended.
struct Running {
    sweep: Ulid,
    line: u64,
    started: Started,
    made: Made,
}

/// Reads the sweep that is wanted.
pub(super) fn read(feed: &mut Feed<'_>, name: &str, wanted: &Wanted) -> Result<Survey, Fault> {
    let mut reader = Reader { name, wanted, running: None, chosen: None, sweeps: Vec::new() };
    let mut bytes = Vec::new();
    let broken = loop {
        match feed.line(&mut bytes) {
            Ok(None) => break None,
            Ok(Some(_)) if bytes.trim_ascii().is_empty() => {}
            Ok(Some(number)) => {
                if let Err(fault) = reader.take(&bytes, number) {
                    break Some(fault);
                }
            }
            Err(fault) => break Some(fault),
        }
    };
    reader.finish(broken)
}

struct Reader<'r> {
    name: &'r str,
    wanted: &'r Wanted,
    running: Option<Running>,
    chosen: Option<Survey>,
    /// Every sweep that has begun.
    sweeps: Vec<Ulid>,
}

/// Sweeps that a file may have: more of them are a log, and no result.
const MOST_SWEEPS: usize = 100_000;

impl Reader<'_> {
    fn take(&mut self, bytes: &[u8], number: u64) -> Result<(), Fault> {
        let place = Place::Line(number, 1);
        let line: Line<'_> = from_line(bytes, number)?;
        if line.schema != SCHEMA {
            let message = format!("{} is not the schema {SCHEMA}", quoted(&line.schema));
            return Err(Fault::new(place, message, HELP));
        }
        match &*line.event {
            "sweep.started" => self.start(&line, from_line(bytes, number)?, number),
            "port" => self.port(line, place),
            "finding" => self.of_running(&line, place).map(|_| ()),
            // The daemon tells of sweeps without beginning them here.
            "sweep.completed" if self.running.is_none() => Ok(()),
            "sweep.completed" => {
                self.of_running(&line, place)?;
                self.complete(&line, &from_line(bytes, number)?, place)
            }
            _ => Ok(()),
        }
    }

    fn start(&mut self, line: &Line<'_>, started: Started, number: u64) -> Result<(), Fault> {
        let place = Place::Line(number, 1);
        let sweep = line.sweep.ok_or_else(|| Fault::new(place, "a sweep without `sweep`", HELP))?;
        if self.sweeps.contains(&sweep) {
            return Err(Fault::fatal(place, format!("sweep {sweep} begins a second time"), MIXED));
        }
        if self.sweeps.len() >= MOST_SWEEPS {
            return Err(Fault::fatal(place, format!("it has more than {MOST_SWEEPS} sweeps"), MIXED));
        }
        self.sweeps.push(sweep);
        self.keep_unfinished();
        let mut made = Made::new(self.name, Format::Portreeve);
        made.source.sweep = Some(sweep);
        made.source.started = line.time;
        made.source.version = started.version.as_deref().map(|version| text(version).into());
        let ports: PortRuns = started.scope.ports().parse().unwrap_or_default();
        let kind = if started.engine == "connect" { "connect" } else { "syn" };
        made.source.scans = vec![Scan { kind: kind.to_owned(), protocol: Protocol::Tcp, ports }];
        made.source.args = Some(text(&started.scope.as_command()).into());
        self.running = Some(Running { sweep, line: number, started, made });
        Ok(())
    }

    /// A sweep that was killed, when another begins. It is only of interest to whoever names it.
    fn keep_unfinished(&mut self) {
        let Some(running) = self.running.take() else { return };
        if self.wanted.sweep == Some(running.sweep) && self.wanted.partial {
            self.chosen = Some(running.cut());
        }
    }

    fn of_running(&mut self, line: &Line<'_>, place: Place) -> Result<&mut Running, Fault> {
        let Some(running) = &mut self.running else {
            let message = format!("a {} before any sweep.started", line.event);
            return Err(Fault::fatal(place, message, "get the whole file, from its first line on"));
        };
        if line.sweep != Some(running.sweep) {
            let other = line.sweep.map_or_else(|| "none".to_owned(), |sweep| sweep.to_string());
            let message = format!(
                "this is of sweep {other}, and {} of line {} is not over",
                running.sweep, running.line
            );
            return Err(Fault::fatal(place, message, MIXED));
        }
        Ok(running)
    }

    fn port(&mut self, line: Line<'_>, place: Place) -> Result<(), Fault> {
        let running = self.of_running(&line, place)?;
        let missing = |what: &str| Fault::new(place, format!("a port without `{what}`"), HELP);
        let ip = line.ip.ok_or_else(|| missing("ip"))?;
        let number = line.port.ok_or_else(|| missing("port"))?;
        let protocol = line.transport.as_deref().and_then(protocol).ok_or_else(|| missing("transport"))?;
        let state = line.state.ok_or_else(|| missing("state"))?;
        let state: PortState =
            state.parse().map_err(|()| Fault::new(place, format!("{} is no state", quoted(&state)), HELP))?;
        let made = &mut running.made;
        let reason = made.builder.word(line.reason.as_deref().unwrap_or_default());
        let more = line.banner.map(|said| {
            let service = Service { name: text(&said.protocol), ..Service::default() };
            Box::new(More { service: Some(service), banner: Some(text(&said.text)) })
        });
        let (ttl, time, verified) = (line.ttl, line.time, line.verified);
        let port = Port { ttl, time, verified, more, ..Port::new(protocol, number, state, reason) };
        made.builder.see(ip, port).map_err(|much| Fault::too_much(place, much))?;
        if !line.names.is_empty() {
            let about = made.builder.about(ip).map_err(|much| Fault::too_much(place, much))?;
            for name in line.names.iter().map(|name| text(name)) {
                if !about.names.iter().any(|known| known.name == name) {
                    about.names.push(Name { name, kind: NameKind::User });
                }
            }
        }
        Ok(())
    }

    fn complete(&mut self, line: &Line<'_>, completed: &Completed, place: Place) -> Result<(), Fault> {
        let Some(mut running) = self.running.take() else { return Ok(()) };
        if completed.ledger.check().is_err() {
            return Err(Fault::fatal(place, "the ledger does not add up", "this sweep cannot be trusted"));
        }
        running.made.source.ended = line.time;
        let is_wanted = self.wanted.sweep.is_none_or(|wanted| wanted == running.sweep);
        if is_wanted {
            self.chosen = Some(running.whole(completed, place)?);
        }
        Ok(())
    }

    fn finish(mut self, broken: Option<Fault>) -> Result<Survey, Fault> {
        if let Some(fault) = broken {
            let running = self.running.take().filter(|running| self.is_wanted(running.sweep));
            return match running {
                Some(running) if self.wanted.partial && fault.leaves_the_rest() => {
                    Ok(running.made.finish(Some(fault)))
                }
                _ => Err(fault),
            };
        }
        if let Some(running) = self.running.take().filter(|running| self.is_wanted(running.sweep)) {
            if self.wanted.partial {
                return Ok(running.cut());
            }
            let message =
                format!("sweep {}, which begins in line {}, has no end", running.sweep, running.line);
            return Err(Fault::cut(Place::Line(running.line, 1), message));
        }
        self.chosen.take().ok_or_else(|| self.none())
    }

    fn is_wanted(&self, sweep: Ulid) -> bool {
        self.wanted.sweep.is_none_or(|wanted| wanted == sweep)
    }

    fn none(&self) -> Fault {
        const MOST: usize = 10;
        match self.wanted.sweep {
            Some(wanted) if self.sweeps.contains(&wanted) => {
                Fault::cut(Place::Nowhere, format!("sweep {wanted} has no end"))
            }
            Some(wanted) => {
                let known: Vec<String> = self.sweeps.iter().rev().take(MOST).map(Ulid::to_string).collect();
                let help = format!("the last sweeps in it are {}", known.join(", "));
                Fault::fatal(Place::Nowhere, format!("no sweep in it is {wanted}"), help)
            }
            None => Fault::fatal(
                Place::Nowhere,
                "no sweep begins in it",
                "name a file that `portreeve sweep --format jsonl` wrote; messages of the daemon list no ports",
            ),
        }
    }
}

const MIXED: &str = "the file is mixed of several runs: let each write a file of its own";

impl Running {
    /// What there is of a sweep that was killed.
    fn cut(self) -> Survey {
        let why = "it has no sweep.completed: it was killed";
        let survey = self.made.finish(None);
        Survey { ending: Ending::Incomplete(why.to_owned()), coverage: Coverage::Unknown, ..survey }
    }

    fn whole(self, completed: &Completed, place: Place) -> Result<Survey, Fault> {
        let Running { started, made, .. } = self;
        let mut survey = made.finish(None);
        let listed = count(&survey.hosts);
        for state in State::ALL {
            let (entered, listed) = (completed.ledger.count(state), listed.count(state));
            if listed > entered {
                let message = format!("the ledger has {entered} {state} targets, and {listed} are listed");
                return Err(Fault::fatal(place, message, MIXED));
            }
        }
        survey.coverage = coverage(&started, completed, &listed, &mut survey.notes);
        survey.ending = match completed.verdict {
            Verdict::Complete => Ending::Complete,
            verdict => Ending::Incomplete(shortfall(verdict, completed)),
        };
        Ok(survey)
    }
}

/// The books of what is listed.
fn count(hosts: &[Host]) -> Ledger {
    let mut books = Ledger::default();
    let mut enter = |state: PortState, reason: &str, targets: u64| {
        let state = state.by_reason(word::reason(reason)).state().unwrap_or(State::Unknown);
        books.enter_many(state, targets);
        books.declared += targets;
    };
    for host in hosts {
        host.ports.iter().for_each(|port| enter(port.state, &port.reason, 1));
        host.groups.iter().for_each(|group| enter(group.state, &group.reason, group.ports.len()));
    }
    books
}

fn shortfall(verdict: Verdict, completed: &Completed) -> String {
    let mut why = format!("its verdict is {verdict}");
    for (reason, count) in &completed.unknown_reasons {
        why.push_str(&format!(", {count} targets unknown ({})", text(reason)));
    }
    why
}

/// What can be said of targets that are not listed.
fn coverage(started: &Started, completed: &Completed, listed: &Ledger, notes: &mut Vec<String>) -> Coverage {
    let books = completed.ledger;
    if listed.declared == books.declared {
        return Coverage::Listed;
    }
    let unlisted = |state: State| books.count(state) - listed.count(state);
    for state in [State::Open, State::Conflict, State::Unknown] {
        if unlisted(state) > 0 {
            notes.push(format!(
                "{} {state} targets are counted, and not listed; sweep with --states open,conflict,unknown or all",
                unlisted(state)
            ));
            return Coverage::Unknown;
        }
    }
    let Some(scope) = scope_of(&started.scope, started.shard) else {
        notes.push(
            "its scope has names or files in it, so that the addresses that are not listed are not known; sweep with \
             --states all"
                .to_owned(),
        );
        return Coverage::Unknown;
    };
    let rest = [State::Closed, State::Filtered, State::Unreachable];
    let rest = rest.into_iter().filter(|state| unlisted(*state) > 0).collect();
    Coverage::Declared(Box::new(Declared { scope, books, rest }))
}
