//! A survey in the words of a sweep, as far as they are true of it.

use std::collections::BTreeMap;
use std::io::{self, Write};

use jiff::Timestamp;
use ulid::Ulid;

use super::said::{about, announcement, vantage};
use crate::policy::findings::Findings;
use crate::sink::event::{Announcement, Run};
use crate::sink::imported::About;
use crate::sink::jsonl::JsonLines;
use crate::sink::text::Summary;
use crate::survey::host::{Host, Port, Protocol, Sight};
use crate::survey::runs::PortRuns;
use crate::survey::word::PortState;
use crate::survey::{Coverage, Survey};
use crate::sweep::banner::{Banner, Protocol as Spoken};
use crate::sweep::ledger::Ledger;
use crate::sweep::report::{Observation, Packets, Report, UnknownReason, Verdict};
use crate::sweep::untrusted::Untrusted;
use crate::sweep::verified::{Confirmation, Ending as LookEnding, LookReport, Verification, Verifications};
use crate::target::address::AddressRange;
use crate::target::names::Names;
use crate::target::ports::PortSet;
use crate::target::scope::{Scope, ScopeError, merge};
use crate::target::state::{Reason, State};
use crate::target::{Target, Transport};

/// A survey in the words of a sweep. What it lists may be much, and is put into words when somebody asks for it.
pub(super) struct Judged<'s> {
    survey: &'s Survey,
    /// When something was seen of which that is not said.
    otherwise: Timestamp,
    pub(super) run: Run,
    pub(super) started: Timestamp,
    pub(super) announcement: Announcement,
    /// Those that have accepted a handshake.
    pub(super) opens: Vec<Observation>,
    pub(super) verifications: Verifications,
    /// All that was looked at, where that is a scope.
    pub(super) scope: Option<Scope>,
    pub(super) report: Report,
    pub(super) look: LookReport,
    pub(super) about: About,
}

/// What of a survey no sweep could say.
#[derive(Default)]
pub(super) struct Odd {
    pub(super) other_protocols: u64,
    pub(super) unsaid: u64,
    pub(super) no_port: u64,
}

/// One target, in the words of a sweep.
pub(super) struct Told {
    pub(super) time: Timestamp,
    pub(super) seen: Observation,
    /// Whether a whole handshake was made.
    pub(super) verified: bool,
}

/// All that is listed, summed up.
#[derive(Default)]
struct Sum {
    odd: Odd,
    books: Ledger,
    unknown_reasons: BTreeMap<UnknownReason, u64>,
    opens: Vec<Observation>,
    verifications: Verifications,
}

impl<'s> Judged<'s> {
    pub(super) fn new(survey: &'s Survey, now: Timestamp) -> Self {
        let otherwise = survey.source.ended.or(survey.source.started).unwrap_or(now);
        let Sum { odd, books, unknown_reasons, opens, verifications } = sum(survey, otherwise);
        let listed = books.declared;
        let (ledger, unknown_reasons) = match &survey.coverage {
            Coverage::Declared(declared) => (declared.books, BTreeMap::new()),
            _ => (books, unknown_reasons),
        };
        let is_whole = survey.is_whole() && odd.unsaid == 0 && ledger.unknown == 0;
        let verdict = match is_whole {
            true => Verdict::Complete,
            false if ledger.declared > 0 && ledger.unknown == ledger.declared => Verdict::Blind,
            false => Verdict::Degraded,
        };
        let started = survey.source.started.unwrap_or(otherwise);
        let vantage = vantage(survey);
        let sweep = Ulid::generate();
        let report = Report {
            sweep,
            shard: None,
            vantage: vantage.clone(),
            started,
            completed: otherwise.max(started),
            duration_ms: u64::try_from(otherwise.duration_since(started).as_millis()).unwrap_or(0),
            verdict,
            ledger,
            unknown_reasons,
            packets: Packets::default(),
            paths: Vec::new(),
        };
        let targets = opens.len() as u64;
        let skipped = targets.saturating_sub(verifications.targets.len() as u64);
        let scope = scope(survey, listed);
        Judged {
            survey,
            otherwise,
            run: Run::new(sweep, None).with_names(names(survey)),
            started,
            announcement: announcement(survey, scope.as_ref(), vantage, ledger.declared),
            opens,
            verifications,
            scope,
            report,
            look: LookReport { targets, skipped, ended: LookEnding::Off, duration_ms: 0 },
            about: about(survey, &odd),
        }
    }

    /// Hands over every target that is listed.
    pub(super) fn each<E>(&self, mut visit: impl FnMut(&Told) -> Result<(), E>) -> Result<(), E> {
        let (mut odd, way) = (Odd::default(), Way::of(self.survey, self.otherwise));
        let mut hosts = self.survey.hosts.iter();
        hosts.try_for_each(|host| way.each(host, &mut odd, &mut |told, _| visit(&told)))
    }

    /// The scope; where there is none, any will do, because nothing is concluded from it.
    pub(super) fn scope_or_any(&self) -> Result<Scope, ScopeError> {
        match &self.scope {
            Some(scope) => Ok(scope.clone()),
            None => {
                let nowhere = AddressRange::single(std::net::Ipv4Addr::LOCALHOST.into());
                Scope::new(&[nowhere], &[], PortSet::risky())
            }
        }
    }

    /// Writes the event of one target.
    pub(super) fn write_port<W: Write>(&self, lines: &mut JsonLines<W>, told: &Told) -> io::Result<()> {
        let Told { time, seen, verified } = told;
        let known = self.verifications.targets.get(&seen.target).filter(|_| *verified);
        match known {
            Some(known) => lines.write(&self.run.verified_port(*time, seen, known.banner.as_ref())),
            None => lines.write(&self.run.port(*time, seen, false)),
        }
    }

    pub(super) fn summary<'a>(
        &'a self,
        findings: &'a Findings<'a>,
        listed: &'a [(Target, State)],
    ) -> Summary<'a> {
        Summary {
            announced: &self.announcement,
            report: &self.report,
            second_look: &self.look,
            findings,
            listed,
            names: self.run.names(),
        }
    }
}

fn sum(survey: &Survey, otherwise: Timestamp) -> Sum {
    let (mut sum, way) = (Sum::default(), Way::of(survey, otherwise));
    let mut odd = Odd::default();
    for host in &survey.hosts {
        let summed: Result<(), std::convert::Infallible> = way.each(host, &mut odd, &mut |told, banner| {
            let Told { seen, verified, .. } = told;
            sum.books.declared += 1;
            sum.books.enter(seen.state);
            if let Some(reason) = seen.unknown {
                *sum.unknown_reasons.entry(reason).or_default() += 1;
            }
            if matches!(seen.state, State::Open | State::Conflict) {
                sum.opens.push(seen);
            }
            if verified {
                let known = Confirmation { verification: Verification::Verified, conduct: None, banner };
                sum.verifications.targets.insert(seen.target, known);
            }
            Ok(())
        });
        let Ok(()) = summed;
    }
    Sum { odd, ..sum }
}

/// How the words of a survey become those of a sweep.
struct Way {
    otherwise: Timestamp,
    /// Whether every open port stands for a whole handshake.
    is_connect: bool,
}

impl Way {
    fn of(survey: &Survey, otherwise: Timestamp) -> Self {
        let is_connect = survey.source.scans.iter().any(|scan| scan.kind == "connect");
        Way { otherwise, is_connect }
    }

    fn each<E>(
        &self,
        host: &Host,
        odd: &mut Odd,
        visit: &mut dyn FnMut(Told, Option<Banner>) -> Result<(), E>,
    ) -> Result<(), E> {
        for port in &host.ports {
            let key = (port.protocol, port.number);
            let Some(seen) = observation(host, key, port.sight(), port, odd) else { continue };
            let verified = seen.state == State::Open && (port.verified || self.is_connect);
            let time = port.time.unwrap_or(self.otherwise);
            visit(Told { time, seen, verified }, banner(port))?;
        }
        for group in &host.groups {
            let same = Port::new(group.protocol, 0, group.state, group.reason.clone());
            for number in group.ports.iter() {
                let key = (group.protocol, number);
                if let Some(seen) = observation(host, key, group.sight(), &same, odd) {
                    visit(Told { time: self.otherwise, seen, verified: false }, None)?;
                }
            }
        }
        Ok(())
    }
}

fn banner(port: &Port) -> Option<Banner> {
    let more = port.more.as_deref()?;
    let text = Untrusted::new(more.banner.as_deref()?.as_bytes());
    let name = more.service.as_ref().map_or("", |service| &service.name);
    Some(Banner { protocol: spoken(name), text })
}

fn spoken(name: &str) -> Spoken {
    let quoted = serde_json::Value::String(name.to_owned());
    serde_json::from_value(quoted).unwrap_or(Spoken::Unknown)
}

/// What a sweep would say; `None` where it has no words for it.
fn observation(
    host: &Host,
    (protocol, number): (Protocol, u16),
    sight: Sight,
    port: &Port,
    odd: &mut Odd,
) -> Option<Observation> {
    if protocol != Protocol::Tcp {
        odd.other_protocols += 1;
        return None;
    }
    if number == 0 {
        odd.no_port += 1;
        return None;
    }
    let state = match sight.state {
        PortState::ClosedFiltered | PortState::OpenFiltered | PortState::Unfiltered => {
            odd.unsaid += 1;
            return None;
        }
        state => state.state()?,
    };
    // For TCP a state has its one reason, where a file leaves it out.
    let usual = match state {
        State::Open => Some(Reason::SynAck),
        State::Closed => Some(Reason::Rst),
        State::Filtered => Some(Reason::NoResponse),
        State::Unreachable => Some(Reason::IcmpUnreachable),
        State::Conflict => Some(Reason::Contradiction),
        State::Unknown => None,
    };
    let reason = sight.reason.filter(|reason| reason.state() == state).or(usual);
    let unknown = (state == State::Unknown).then(|| unknown_reason(&port.reason));
    Some(Observation {
        target: Target { ip: host.ip, port: number, transport: Transport::Tcp },
        state,
        reason,
        unknown,
        tries: 0,
        rtt_us: None,
        ttl: port.ttl,
        corrects: false,
    })
}

fn unknown_reason(word: &str) -> UnknownReason {
    let quoted = serde_json::Value::String(word.to_owned());
    serde_json::from_value(quoted).unwrap_or(UnknownReason::TriesSpent)
}

/// All that was looked at, as a scope: the one that was declared, or every address that is listed with every port that
/// was asked for, where not one of them is missing.
fn scope(survey: &Survey, listed: u64) -> Option<Scope> {
    match &survey.coverage {
        Coverage::Declared(declared) => Some(declared.scope.clone()),
        Coverage::Unknown => None,
        Coverage::Listed => {
            let ports = ports(survey);
            let hosts: Vec<AddressRange> =
                survey.hosts.iter().map(|host| AddressRange::single(host.ip)).collect();
            let ports = PortSet::new(ports.iter())?;
            let scope = Scope::new(&merge(&hosts), &[], ports).ok()?;
            (scope.len() == listed).then_some(scope)
        }
    }
}

/// The TCP ports that were asked for.
pub(super) fn ports(survey: &Survey) -> PortRuns {
    let scans = survey.source.scans.iter().filter(|scan| scan.protocol == Protocol::Tcp);
    scans.fold(PortRuns::default(), |all, scan| all.union(&scan.ports))
}

fn names(survey: &Survey) -> Names {
    let named = survey.hosts.iter().flat_map(|host| {
        let names = host.about.iter().flat_map(|about| &about.names);
        names.map(|name| (AddressRange::single(host.ip), &*name.name))
    });
    Names::new(named)
}
