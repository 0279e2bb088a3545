//! `portreeve sweep`: one job, what it finds told, and an exit status.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use jiff::Timestamp;

use super::console::formats::Format;
use super::console::{Console, End};
use super::output::Place;
use super::progress::{ProgressLine, Terminal};
use super::{Failure, Input, Status, dry_run, fuse, output};
use crate::config::file::load_allowlist;
use crate::config::resolve::system_lookup;
use crate::config::settings::Settings;
use crate::config::sources::Gathered;
use crate::job::{Job, Opened, Outcome};
use crate::link::packet::RECEIVE_RING_BYTES;
use crate::policy::allowlist::{Allowance, Allowlist};
use crate::sweep::plan::StateSet;
use crate::sweep::report::Verdict;
use crate::sync::{Ordering, SignalFlag};
use crate::target::state::State;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    input: Input,

    /// Do not confirm open ports by a whole handshake, nor look whether their hosts accept every port
    ///
    /// Then nothing that the packet engine finds is called verified, and no packet leaves for any port but those of
    /// --ports.
    #[arg(long, conflicts_with = "banner")]
    no_verify: bool,

    /// How to print results
    #[arg(long, value_enum, default_value = "text")]
    format: Format,

    /// Which states to list: open, closed, filtered, unreachable, conflict, unknown, joined by commas; or all
    ///
    /// Conflicts are listed always. Whatever is listed, every target is counted. [default: open, or all for --format
    /// nmap]
    #[arg(long, value_name = "STATES")]
    states: Option<States>,

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

impl Args {
    /// The states to list: what nmap writes, it writes of every port.
    fn states(&self) -> StateSet {
        let usual =
            if self.format.lists_all { StateSet::all() } else { StateSet::default().with(State::Open) };
        self.states.map_or(usual, |states| states.0)
    }
}

/// Which states are listed.
#[derive(Clone, Copy, Debug)]
pub(super) struct States(pub(super) StateSet);

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
    reading.settings().pace()?;
    let gathered = reading.resolve(system_lookup)?;
    if args.dry_run {
        // Nothing has to be told at the end, so a signal ends the program as it ends any other.
        let place = place(args, &gathered, &|| false)?;
        return output::unless_left(dry_run::run(&gathered, args.format, place));
    }
    let ready = job(args, gathered, &allowlist).prepare()?;
    let interrupt = interrupts()?;
    let place = place(args, ready.gathered(), &|| interrupt.load(Ordering::Relaxed))?;
    if !args.format.streams {
        ready.advice().iter().for_each(|advice| output::note(advice));
    }
    let mut terminal = Terminal::default();
    let opened = ready.open(&interrupt, &mut terminal).map_err(fuse::or_load)?;
    let Opened { events, announcement, verifies, course } = opened;
    let mut writer = args.format.open(place)?;
    writer.announce(&events, &announcement, Timestamp::now())?;
    let (declared, tries) = (announcement.scope.declared, announcement.tries);
    let mut console = Console {
        writer: &mut *writer,
        events: &events,
        states: args.states(),
        verified: verifies,
        progress: shows_progress(args).then(|| ProgressLine::new(declared, tries)),
        terminal,
    };
    let Outcome { report, failure, look, findings, judged, .. } =
        course.run(&events, &mut console, &Timestamp::now)?;
    let end = End { announced: &announcement, report: &report, second_look: &look, findings: &findings };
    writer.conclude(&events, &end, judged)?;
    if let Some(failure) = failure {
        output::complain(&failure);
    }
    Ok(match report.verdict == Verdict::Complete {
        false => Status::Incomplete,
        true if findings.has_objections() => Status::Findings,
        true => Status::Clean,
    })
}

/// What is to be done, in the words of a job.
fn job<'a>(args: &Args, gathered: Gathered, allowlist: &'a Allowlist) -> Job<'a> {
    Job {
        gathered,
        allowlist,
        senders: args.senders,
        key: None,
        receive_ring_bytes: args.receive_ring as usize,
        fuse: args.fuse,
        verify: !args.no_verify,
        listed: args.states(),
        watched: BTreeSet::new(),
    }
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

fn shows_progress(args: &Args) -> bool {
    let quiet_stdout = !args.format.streams || args.output.is_some() || !output::is_seen();
    output::aside_is_seen() && quiet_stdout
}

/// The flag that Ctrl-C and SIGTERM raise. A second Ctrl-C ends the program at once.
pub fn interrupts() -> Result<Arc<SignalFlag>, Failure> {
    let flag = Arc::new(SignalFlag::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&flag))?;
        signal_hook::flag::register(signal, Arc::clone(&flag))?;
    }
    Ok(flag)
}
