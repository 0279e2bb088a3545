//! `portreeve sweep`: settle the scope, open an engine, sweep, judge, tell.

use std::collections::HashMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use jiff::Timestamp;
use ulid::Ulid;

use super::announce::announcement;
use super::console::{Console, End, Format, Sink};
use super::engine::{self, Engine, Wanted};
use super::fuse::Backing;
use super::output::Place;
use super::progress::ProgressLine;
use super::settle::{Settled, settle};
use super::verify::{self, SecondLook};
use super::{Failure, Input, Status, dry_run, output, rates};
use crate::config::file::load_allowlist;
use crate::config::options::EngineChoice;
use crate::config::pace::Pace;
use crate::config::resolve::{Failed, system_lookup};
use crate::config::settings::Settings;
use crate::config::sources::Gathered;
use crate::link::clock::Monotonic;
use crate::link::packet::RECEIVE_RING_BYTES;
use crate::policy::allowlist::{Allowance, Allowlist};
use crate::policy::evaluate::evaluate;
use crate::policy::finding::Finding;
use crate::sink::event::Run;
use crate::sweep::plan::{Plan, StateSet, defaults};
use crate::sweep::report::{Report, Verdict};
use crate::sweep::run::run as run_sweep;
use crate::sweep::verified::Ending;
use crate::sync::{Ordering, SignalFlag};
use crate::target::state::State;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    input: Input,

    #[command(flatten)]
    verify: verify::Args,

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

    /// Sweep only if the fuse of this very sweep is loaded (see `portreeve fuse`), and end when it catches anything
    ///
    /// For the packet engine. Needs CAP_NET_ADMIN and nft, to read what the fuse has caught.
    #[arg(long, conflicts_with = "dry_run")]
    fuse: bool,

    /// Sending threads of the packet engine [default: 1, or one for each core, up to 4, above 150,000 packets a second]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=16))]
    senders: Option<u8>,

    /// Bytes of the packet engine's receive ring
    #[arg(long, value_name = "BYTES", default_value_t = RECEIVE_RING_BYTES as u64, hide = true)]
    #[arg(value_parser = clap::value_parser!(u64).range(1 << 12..=1 << 30))]
    receive_ring: u64,
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

/// Runs the command.
pub fn run(args: &Args) -> Result<Status, Failure> {
    let (reading, allowances) = args.input.read()?;
    // What needs nobody's help is told before anybody is asked for names, which may take long.
    let allowlist = allowlist(reading.settings(), allowances)?;
    let pace = reading.settings().pace()?;
    let gathered = reading.resolve(system_lookup)?;
    let settings = &gathered.settings;
    if args.dry_run {
        // Nothing has to be told at the end, so a signal ends the program as it ends any other.
        let place = place(args, &gathered, &|| false)?;
        return output::unless_left(dry_run::run(&gathered, args.format, place));
    }
    let settled = settle(settings)?;
    let canaries = settings.canaries(&settled.scope)?;
    let interrupt = interrupts()?;
    let place = place(args, &gathered, &|| interrupt.load(Ordering::Relaxed))?;
    let clock = Monotonic::new();
    let backing = Backing::begin(args.fuse, settings, &settled)?;
    let engine = backing.behind(open_engine(args, settings, &settled, pace, clock, &interrupt)?)?;
    let mut sink = Sink::open(args.format, place)?;
    let plan = Plan { canaries, ..plan(args, settings, &settled, pace, &engine) };
    let interface = settings.interface.as_deref();
    let second_look = SecondLook::new(args.verify, settings.banner, interface, engine.verifies, &plan);
    let announcement = announcement(&plan, &gathered, &settled, &second_look);
    let events = Run::new(plan.sweep, settings.authorization.as_deref()).with_names(gathered.names);
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
    let mut outcome = outcome?;
    backing.finish(&mut outcome, &interrupt);
    let complete = settle_verdict(&mut outcome.report, &gathered.unresolved);
    let (known, look) = second_look.take(&plan, &opens, &allowlist, clock, &interrupt);
    sink.confirm(&events, &second_look.news(&known, &opens, args.states.0))?;
    let report = &mut outcome.report;
    if look.ended == Ending::Stopped {
        report.degrade();
    }
    // What was found is known only now, and no event may be older than one before it.
    let now = Timestamp::now();
    let mut findings = evaluate(&opens, &allowlist, &known, &plan.scope, complete, now);
    events.name(&mut findings);
    let end = End { announced: &announcement, report, second_look: &look, findings: &findings };
    sink.conclude(&events, &end, now)?;
    if let Some(failure) = outcome.failure {
        output::complain(&failure);
    }
    Ok(match outcome.report.verdict == Verdict::Complete {
        false => Status::Incomplete,
        true if findings.iter().any(Finding::is_objection) => Status::Findings,
        true => Status::Clean,
    })
}

/// What may be open: by the configuration, and by the file that it or the command line names.
fn allowlist(settings: &Settings, mut allowances: Vec<Allowance>) -> Result<Allowlist, Failure> {
    if let Some(path) = &settings.allowlist {
        allowances.extend(load_allowlist(path)?);
    }
    Ok(Allowlist::new(allowances))
}

/// Where results go: nowhere that would destroy what the run itself reads.
fn place(args: &Args, gathered: &Gathered, stop: &dyn Fn() -> bool) -> Result<Place, Failure> {
    let inputs = [args.input.config.as_deref(), gathered.settings.allowlist.as_deref()];
    let inputs = inputs.into_iter().flatten().chain(gathered.inputs.iter().map(PathBuf::as_path));
    Place::find(args.output.as_deref(), &inputs.collect::<Vec<_>>(), stop)
}

fn open_engine(
    args: &Args,
    settings: &Settings,
    settled: &Settled,
    pace: Pace,
    clock: Monotonic,
    interrupt: &SignalFlag,
) -> Result<Engine, Failure> {
    let caps = [rates::host_rate(settings, settled), rates::network_rate(settings, settled)];
    let wanted = Wanted {
        choice: settings.engine.unwrap_or(EngineChoice::Auto),
        scope: &settled.scope,
        routes: &settled.routes,
        interface: settings.interface.as_deref(),
        senders: rates::senders(args.senders, pace.ceiling, caps),
        receive_ring_bytes: args.receive_ring as usize,
        tries: settings.tries.unwrap_or(defaults::TRIES),
        rate: Some(pace.ceiling),
        interrupt,
    };
    engine::open(&wanted, clock)
}

fn plan(args: &Args, settings: &Settings, settled: &Settled, pace: Pace, engine: &Engine) -> Plan {
    Plan {
        sweep: Ulid::generate(),
        shard: settings.shard,
        seed: settings.seed.unwrap_or_else(|| Ulid::generate().random() as u64),
        tries: settings.tries.unwrap_or(defaults::TRIES),
        rate: Some(pace.ceiling),
        governed: pace.governed,
        host_rate: rates::host_rate(settings, settled),
        network_rate: rates::network_rate(settings, settled),
        canaries: Vec::new(),
        mute: engine.mute.clone(),
        routes: Arc::new(settled.routes.clone()),
        source_ports: engine.source_ports,
        wanted: args.states.0.with(State::Open).with(State::Conflict),
        vantage: engine.vantage.clone(),
        scope: settled.scope.clone(),
    }
}

/// Whether everything that was to be swept was. What has no address was to be swept as much as what has one.
fn settle_verdict(report: &mut Report, unresolved: &[Failed]) -> bool {
    if !unresolved.is_empty() {
        report.degrade();
    }
    report.verdict == Verdict::Complete
}

fn shows_progress(args: &Args) -> bool {
    let quiet_stdout = args.format != Format::Jsonl || args.output.is_some() || !output::is_seen();
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
