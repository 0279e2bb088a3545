//! `portreeve sweep`: settle the scope, open an engine, sweep, judge, tell.

use std::collections::HashMap;
use std::io::{self, Write};
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use clap::ValueEnum;
use jiff::Timestamp;
use ulid::Ulid;

use super::engine::{self, Wanted};
use super::progress::ProgressLine;
use super::settle::{Settled, settle};
use super::{Failure, Input, Status, output};
use crate::config::file::load_allowlist;
use crate::config::options::{EngineChoice, Rate};
use crate::config::settings::Settings;
use crate::link::clock::Monotonic;
use crate::link::packet::RECEIVE_RING_BYTES;
use crate::link::route::HopKind;
use crate::policy::allowlist::Allowlist;
use crate::policy::evaluate::evaluate;
use crate::policy::finding::Finding;
use crate::sink::event::{Announcement, Run, ScopeText};
use crate::sink::jsonl::JsonLines;
use crate::sink::text::{self, Summary};
use crate::sweep::plan::{Plan, StateSet, defaults};
use crate::sweep::report::{Observation, Report, Verdict};
use crate::sweep::run::{Observer, Progress, run as run_sweep};
use crate::sync::SignalFlag;
use crate::target::Target;
use crate::target::order::Order;
use crate::target::state::State;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    input: Input,

    /// How to print results
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,

    /// Which states to list: open, closed, filtered, unreachable, conflict, unknown, joined by commas; or all
    ///
    /// Conflicts are listed always. Whatever is listed, every target is counted.
    #[arg(long, value_name = "STATES", default_value = "open")]
    states: States,

    /// Write results to a file instead of standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Print the targets in the order of probing, and send nothing
    #[arg(long)]
    dry_run: bool,

    /// Sending threads of the packet engine [default: 1, or one for each core, up to 4, above 150,000 packets a second]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=16))]
    senders: Option<u8>,

    /// Bytes of the packet engine's receive ring
    #[arg(long, value_name = "BYTES", default_value_t = RECEIVE_RING_BYTES as u64, hide = true)]
    #[arg(value_parser = clap::value_parser!(u64).range(1 << 12..=1 << 30))]
    receive_ring: u64,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Format {
    /// For people: findings, a table by host, the ledger
    Text,
    /// For machines: one JSON event a line
    Jsonl,
}

/// Which states are listed.
#[derive(Clone, Copy, Debug)]
struct States(StateSet);

impl FromStr for States {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "all" {
            return Ok(States(StateSet::all()));
        }
        let state = |name: &str| {
            let known = State::ALL.into_iter().find(|state| state.as_str() == name.trim());
            known.ok_or_else(|| {
                let names = State::ALL.map(State::as_str).join(", ");
                format!("`{name}` is no state; the states are {names}, or all")
            })
        };
        text.split(',').map(state).collect::<Result<StateSet, String>>().map(States)
    }
}

/// What one sender can do everywhere.
const ONE_SENDER_PPS: u32 = 150_000;

/// Runs the command.
pub fn run(args: &Args) -> Result<Status, Failure> {
    let (settings, mut allowances) = args.input.read()?;
    if let Some(path) = &settings.allowlist {
        allowances.extend(load_allowlist(path)?);
    }
    let allowlist = Allowlist::new(allowances);
    if args.dry_run {
        return dry_run(args, &settings);
    }
    let settled = settle(&settings)?;
    if let Some(path) = &args.output {
        let inputs = [args.input.config.as_deref(), settings.allowlist.as_deref()];
        output::refuse_unfit(path, &inputs.into_iter().flatten().collect::<Vec<_>>())?;
    }
    let clock = Monotonic::new();
    let wanted = Wanted {
        choice: settings.engine.unwrap_or(EngineChoice::Auto),
        scope: &settled.scope,
        routes: &settled.routes,
        interface: settings.interface.as_deref(),
        senders: senders(args, &settings),
        receive_ring_bytes: args.receive_ring as usize,
    };
    let engine = engine::open(&wanted, clock)?;
    let mut sink = Sink::open(args)?;
    let plan = Plan {
        sweep: Ulid::generate(),
        shard: settings.shard,
        seed: settings.seed.unwrap_or_else(|| Ulid::generate().random() as u64),
        tries: settings.tries.unwrap_or(defaults::TRIES),
        rate: rate(&settings),
        host_rate: host_rate(&settings, &settled),
        source_ports: engine.source_ports,
        wanted: args.states.0.with(State::Open).with(State::Conflict),
        vantage: engine.vantage,
        scope: settled.scope.clone(),
    };
    let interrupt = interrupts()?;
    let announcement = announcement(&plan, &settings, &settled);
    let events = Run::new(plan.sweep, settings.authorization.as_deref());
    sink.announce(&events, &announcement)?;
    let mut console = Console {
        sink: &mut sink,
        events: &events,
        states: args.states.0,
        verified: engine.verifies,
        opens: HashMap::new(),
        progress: shows_progress(args).then(|| ProgressLine::new(plan.scope.len(), plan.tries)),
    };
    let outcome = run_sweep(&plan, engine.ends, &clock, &interrupt, &mut console);
    let opens = console.finish();
    let outcome = outcome?;
    let complete = outcome.report.verdict == Verdict::Complete;
    let findings = evaluate(&opens, &allowlist, &plan.scope, complete, outcome.report.completed);
    sink.conclude(&events, &announcement, &outcome.report, &findings)?;
    if let Some(failure) = outcome.failure {
        output::complain(&failure);
    }
    Ok(match complete {
        false => Status::Incomplete,
        true if findings.iter().any(Finding::is_exposure) => Status::Findings,
        true => Status::Clean,
    })
}

/// Prints the targets in order. Sends nothing, so it needs no authorisation, no privilege and no route.
fn dry_run(args: &Args, settings: &Settings) -> Result<Status, Failure> {
    let mut scope = settings.scope()?;
    if let Some(shard) = settings.shard {
        scope = scope.shard(shard.number, shard.of)?;
    }
    let seed = settings.seed.unwrap_or_else(|| Ulid::generate().random() as u64);
    let order = Order::new(scope.len(), seed);
    let out = output::raw(args.output.as_deref())?;
    let mut targets = (0..order.len()).map(|position| scope.target(order.index_at(position)));
    match args.format {
        Format::Text => {
            let mut text = io::BufWriter::new(out);
            targets.try_for_each(|target| writeln!(text, "{target}"))?;
            text.flush()?;
        }
        Format::Jsonl => {
            let mut lines = JsonLines::new(out);
            targets.try_for_each(|target| lines.write(&target))?;
            lines.flush()?;
        }
    }
    Ok(Status::Clean)
}

fn rate(settings: &Settings) -> Option<NonZeroU32> {
    match settings.rate {
        Some(Rate::Pps(pps)) => Some(pps),
        Some(Rate::Auto) | None => NonZeroU32::new(defaults::RATE_PPS),
    }
}

/// This host's own addresses need no protection from this host, unless it was asked for.
fn host_rate(settings: &Settings, settled: &Settled) -> Option<NonZeroU32> {
    let all_local = settled.routes.hops().iter().all(|hop| hop.kind == HopKind::Local);
    match settings.host_rate {
        Some(pps) => NonZeroU32::new(pps),
        None if all_local => None,
        None => NonZeroU32::new(defaults::HOST_RATE_PPS),
    }
}

/// One sender is enough for slow sweeps; fast ones are bound by the kernel's path for each packet, which every core
/// has. Never more senders than packets a second, whichever limit that is.
fn senders(args: &Args, settings: &Settings) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let rate = rate(settings).map_or(u32::MAX, NonZeroU32::get);
    let wanted = match args.senders {
        Some(senders) => usize::from(senders),
        None if rate > ONE_SENDER_PPS => cores.min(4),
        None => 1,
    };
    let slowest = rate.min(settings.host_rate.unwrap_or(defaults::HOST_RATE_PPS));
    wanted.min(slowest as usize)
}

fn shows_progress(args: &Args) -> bool {
    let quiet_stdout = args.format == Format::Text || args.output.is_some() || !output::is_seen();
    output::aside_is_seen() && quiet_stdout
}

/// The flag that Ctrl-C and SIGTERM raise. A second Ctrl-C ends the program at once.
fn interrupts() -> Result<Arc<SignalFlag>, Failure> {
    let flag = Arc::new(SignalFlag::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&flag))?;
        signal_hook::flag::register(signal, Arc::clone(&flag))?;
    }
    Ok(flag)
}

fn announcement(plan: &Plan, settings: &Settings, settled: &Settled) -> Announcement {
    let texts = |ranges: &[crate::target::address::AddressRange]| {
        ranges.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let networks = if settings.networks.is_empty() { &settings.declared } else { &settings.networks };
    Announcement {
        scope: ScopeText {
            networks: texts(networks),
            exclude: texts(&settings.exclude),
            left_out: settled.left_out.clone(),
            ports: plan.scope.ports().to_string().split(',').map(str::to_owned).collect(),
            declared: plan.scope.len(),
        },
        engine: plan.vantage.engine.clone(),
        vantage: plan.vantage.clone(),
        shard: plan.shard,
        tries: plan.tries,
        rate_max_pps: plan.rate.map(NonZeroU32::get),
        host_rate_max_pps: plan.host_rate.map(NonZeroU32::get),
        seed: plan.seed.to_string(),
        version: env!("CARGO_PKG_VERSION"),
        owner: settings.owner.clone(),
    }
}

/// Where results go.
enum Sink {
    Text { out: Box<dyn Write>, listed: Vec<Observation> },
    Jsonl(JsonLines<Box<dyn Write>>),
}

impl Sink {
    fn open(args: &Args) -> Result<Self, Failure> {
        let path: Option<&Path> = args.output.as_deref();
        Ok(match args.format {
            Format::Text => Sink::Text { out: output::styled(path)?, listed: Vec::new() },
            Format::Jsonl => Sink::Jsonl(JsonLines::new(output::raw(path)?)),
        })
    }

    fn announce(&mut self, events: &Run, announcement: &Announcement) -> io::Result<()> {
        match self {
            Sink::Text { .. } => text::write_announcement(&mut output::aside(), announcement),
            Sink::Jsonl(lines) => {
                lines.write(&events.started(Timestamp::now(), announcement))?;
                lines.flush()
            }
        }
    }

    fn observe(&mut self, events: &Run, observation: &Observation, verified: bool) -> io::Result<()> {
        match self {
            Sink::Text { listed, .. } => {
                listed.push(*observation);
                Ok(())
            }
            Sink::Jsonl(lines) => lines.write(&events.port(Timestamp::now(), observation, verified)),
        }
    }

    fn conclude(
        &mut self,
        events: &Run,
        announced: &Announcement,
        report: &Report,
        findings: &[Finding],
    ) -> io::Result<()> {
        match self {
            Sink::Text { out, listed } => {
                text::write(out, &Summary { announced, report, findings, listed })?;
                out.flush()
            }
            Sink::Jsonl(lines) => {
                for finding in findings {
                    lines.write(&events.finding(report.completed, finding))?;
                }
                lines.write(&events.completed(report, findings.len() as u64))?;
                lines.flush()
            }
        }
    }
}

/// Hears what the sweep finds: passes on what was asked for, keeps what policy must judge.
struct Console<'a> {
    sink: &'a mut Sink,
    events: &'a Run,
    states: StateSet,
    verified: bool,
    opens: HashMap<Target, Observation>,
    progress: Option<ProgressLine>,
}

impl Console<'_> {
    /// The open targets.
    fn finish(self) -> Vec<Observation> {
        if let Some(progress) = &self.progress {
            progress.clear();
        }
        self.opens.into_values().collect()
    }
}

impl Observer for Console<'_> {
    fn observed(&mut self, observation: &Observation) -> io::Result<()> {
        // Somebody has accepted a handshake; of two words on one target the later counts.
        if matches!(observation.state, State::Open | State::Conflict) {
            self.opens.insert(observation.target, *observation);
        }
        if self.states.has(observation.state) || observation.state == State::Conflict {
            self.sink.observe(self.events, observation, self.verified)?;
        }
        Ok(())
    }

    fn progressed(&mut self, progress: &Progress) -> io::Result<()> {
        if let Some(line) = &mut self.progress {
            line.show(progress);
        }
        match self.sink {
            // So that whoever follows the output sees what was found when it was found.
            Sink::Jsonl(lines) => lines.flush(),
            Sink::Text { .. } => Ok(()),
        }
    }
}
