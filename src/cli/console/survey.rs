//! A sweep in the form of another scanner, which is written when it is over.

use std::io::{self, BufWriter, Write};

use jiff::Timestamp;

use super::{End, Writer, announce_aside, conclude_aside};
use crate::cli::Failure;
use crate::cli::output::Place;
use crate::sink::event::{Announcement, Run};
use crate::survey::builder::{Builder, TooMuch, Twice};
use crate::survey::host::{Host, More, Name, NameKind, Port, Protocol};
use crate::survey::runs::PortRuns;
use crate::survey::{Coverage, Ending, HostCounts, Scan, Source, Survey};
use crate::sweep::report::{Observation, Report, Verdict};
use crate::sweep::verified::Confirmation;
use crate::target::names::Names;
use crate::target::state::Reason;

/// Writes a survey in one form.
type Form = fn(&mut dyn Write, &Survey) -> io::Result<()>;

/// What a sweep has heard so far.
struct Surveyed {
    out: BufWriter<Box<dyn Write>>,
    builder: Builder,
    form: Form,
}

/// Opens the output for the form of another scanner.
pub fn open(place: Place, form: Form) -> Result<Box<dyn Writer>, Failure> {
    let builder = Builder::new(Twice::Later);
    Ok(Box::new(Surveyed { out: BufWriter::new(place.raw()?), builder, form }))
}

impl Writer for Surveyed {
    fn announce(&mut self, _: &Run, announcement: &Announcement, _: Timestamp) -> io::Result<()> {
        announce_aside(announcement)
    }

    fn observe(&mut self, _: &Run, seen: &Observation, verified: bool, now: Timestamp) -> io::Result<()> {
        self.builder.observe(now, seen, verified).map_err(full)
    }

    fn confirm(
        &mut self,
        _: &Run,
        seen: &Observation,
        known: &Confirmation,
        now: Timestamp,
    ) -> io::Result<()> {
        let reason = self.builder.word(seen.reason.map_or("", Reason::as_str));
        let banner = known.banner.as_ref().map(|banner| String::from(banner.text.clone()).into());
        let port = Port {
            ttl: seen.ttl,
            time: Some(now),
            verified: true,
            more: Some(Box::new(More { service: None, banner })),
            ..Port::new(Protocol::Tcp, seen.target.port, seen.state.into(), reason)
        };
        self.builder.keep(seen.target.ip, port).map_err(full)
    }

    fn conclude(&mut self, events: &Run, end: &End<'_>, _: Timestamp) -> io::Result<()> {
        let builder = std::mem::replace(&mut self.builder, Builder::new(Twice::Later));
        let mut hosts = builder.finish();
        name(&mut hosts, events.names());
        let source = source(end.announced, end.report, &hosts);
        let ending = match end.report.verdict {
            Verdict::Complete => Ending::Complete,
            verdict => Ending::Incomplete(format!("the sweep was {verdict}")),
        };
        let survey = Survey { source, hosts, coverage: Coverage::Unknown, ending, notes: Vec::new() };
        (self.form)(&mut self.out, &survey)?;
        self.out.flush()?;
        conclude_aside(events, end)
    }
}

fn name(hosts: &mut [Host], names: &Names) {
    for host in hosts {
        let known = names.of(host.ip).into_iter();
        let known: Vec<Name> = known.map(|name| Name { name: name.into(), kind: NameKind::User }).collect();
        if !known.is_empty() {
            host.about.get_or_insert_default().names = known;
        }
    }
}

fn full(much: TooMuch) -> io::Error {
    io::Error::other(format!("the sweep does not fit into this form: {much}; use --format jsonl"))
}

fn source(announced: &Announcement, report: &Report, hosts: &[Host]) -> Source {
    let scope = &announced.scope;
    let ports: PortRuns = scope.ports.join(",").parse().unwrap_or_default();
    // Hosts that are not listed, because none of their ports was to be, are up as far as this goes.
    let total = scope.declared / ports.len().max(1);
    let down = hosts.iter().filter(|host| host.is_said_down()).count() as u64;
    let exclude: String = scope.exclude.iter().map(|network| format!(" --exclude {network}")).collect();
    let networks = scope.networks.join(" ");
    let kind = if announced.engine == "connect" { "connect" } else { "syn" };
    Source {
        tool: env!("CARGO_PKG_NAME").to_owned(),
        version: Some(announced.version.to_owned()),
        file: None,
        args: Some(format!("portreeve sweep {networks}{exclude} --ports {}", scope.ports.join(","))),
        started: Some(report.started),
        ended: Some(report.completed),
        scans: vec![Scan { kind: kind.to_owned(), protocol: Protocol::Tcp, ports }],
        counts: Some(HostCounts { up: total.saturating_sub(down), down, total }),
        sweep: Some(report.sweep),
    }
}
