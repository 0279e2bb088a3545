//! `portreeve control`: the run that is evidence, and what is done with the evidence.

mod plan;
mod run;
mod sign_off;
mod telling;
mod verify;

use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use crate::cli::{Failure, Input, Status};
use crate::config::control::ControlConfig;
use crate::config::file::{Config, load_allowlist};
use crate::config::hours::Hours;
use crate::config::resolve::system_lookup;
use crate::config::sources;
use crate::control::ControlError;
use crate::control::plan::Request;
use crate::evidence::digest::Digest;
use crate::evidence::manifest::Manifest;
use crate::evidence::plan::RunReference;
use crate::evidence::verify::{Against, verify as verify_bundle};
use crate::link::packet::RECEIVE_RING_BYTES;
use crate::policy::allowlist::Allowlist;
use crate::target::ports::PortSet;

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[group(skip)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    run: run::Args,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Say what a run would sweep, and how long that would take; sends nothing
    Plan(Box<plan::Args>),
    /// Check a bundle of evidence, offline, and name the first thing that is wrong with it
    ///
    /// Works out every digest, the tree over the observations, the books and the findings again. Exit status: 0 nothing
    /// is wrong, whatever the verdict of the run; 2 something is.
    Verify(verify::Args),
    /// Add to a bundle that a person has reviewed it, signed with their key
    SignOff(sign_off::Args),
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Status, Failure> {
    match &args.command {
        Some(Command::Plan(args)) => plan::run(args),
        Some(Command::Verify(args)) => verify::run(args),
        Some(Command::SignOff(args)) => sign_off::run(args),
        None => run::run(&args.run),
    }
}

// What a run is made of. No doc comment: clap would take it for the command's own.
#[derive(Debug, clap::Args)]
struct Wanted {
    #[command(flatten)]
    input: Input,

    /// Do not make what is open finish a whole handshake
    #[arg(long, conflicts_with = "banner")]
    no_verify: bool,

    /// Sweep about so many targets at a time [default: as many as are swept in a minute]
    ///
    /// A run that is killed loses what it knows of the tile in flight.
    #[arg(long, value_name = "TARGETS", value_parser = parse_tile)]
    tile: Option<NonZeroU64>,

    /// Send only in these hours of the day, such as 22:00-05:00
    ///
    /// May be repeated; commas separate several. By the clock of [control] timezone, or UTC.
    #[arg(long, value_name = "HOURS", value_delimiter = ',')]
    hours: Vec<Hours>,

    /// The bundle of the run before, to say what has changed since
    #[arg(long, value_name = "DIR")]
    previous: Option<PathBuf>,

    /// The bundle whose findings this run is to show closed
    #[arg(long, value_name = "DIR")]
    rescan_of: Option<PathBuf>,

    /// Sending threads of the packet engine
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=16))]
    senders: Option<u8>,
}

/// What was read for a run.
struct Read {
    config: ControlConfig,
    digest: Option<Digest>,
    allowlist: Allowlist,
    gathered: sources::Gathered,
    watched_ports: PortSet,
    previous: Option<(Manifest, RunReference)>,
    rescan_of: Option<(Manifest, RunReference)>,
}

impl Wanted {
    /// Reads every file that says what is wanted.
    fn read(&self) -> Result<Read, Failure> {
        let path = self.input.config.as_deref();
        let file = path.map(Config::load).transpose()?.unwrap_or_default();
        let digest = path.map(Digest::of_file).transpose()?.map(|(digest, _)| digest);
        let mut config = file.control;
        config.tile = self.tile.or(config.tile);
        if !self.hours.is_empty() {
            config.opening.hours.clone_from(&self.hours);
        }
        let watches = file.watches.iter().filter_map(|watch| watch.settings.ports.clone());
        let watched = watches.chain(file.settings.ports.clone()).collect::<Vec<_>>();
        let watched_ports =
            PortSet::new(watched.iter().flat_map(PortSet::iter)).unwrap_or_else(PortSet::risky);
        let mut settings = self.input.settings.clone().or(config.settings.clone());
        // What the interval's sweeps look at is no reason to look at no more here.
        settings.ports = settings.ports.or_else(|| Some(PortSet::all()));
        let settings = settings.or(file.settings);
        if settings.shard.is_some() {
            return Err(
                "--shard splits a scope over several hosts, and a control run is one; leave it out".into()
            );
        }
        let mut allowances = file.allow;
        if let Some(path) = &settings.allowlist {
            allowances.extend(load_allowlist(path)?);
        }
        settings.pace()?;
        let gathered = sources::read(settings, &mut std::io::stdin())?.resolve(system_lookup)?;
        let previous = self.previous.as_deref().map(bundle).transpose()?;
        let rescan_of = self.rescan_of.as_deref().map(bundle).transpose()?;
        let allowlist = Allowlist::new(allowances);
        Ok(Read { config, digest, allowlist, gathered, watched_ports, previous, rescan_of })
    }

    fn request<'a>(&self, read: &'a Read) -> Request<'a> {
        Request {
            gathered: read.gathered.clone(),
            control: &read.config,
            config: read.digest,
            allowlist: &read.allowlist,
            watched_ports: read.watched_ports.clone(),
            verify: !self.no_verify,
            senders: self.senders,
            receive_ring_bytes: RECEIVE_RING_BYTES,
            previous: read.previous.clone(),
            rescan_of: read.rescan_of.clone(),
        }
    }
}

/// An earlier run, in whose evidence nothing is wrong.
fn bundle(dir: &Path) -> Result<(Manifest, RunReference), ControlError> {
    let sound = verify_bundle(dir, &Against::default())
        .map_err(|wrong| ControlError::Previous { dir: dir.to_owned(), wrong })?;
    let reference = RunReference { run: sound.manifest.plan.run, manifest: sound.digest };
    Ok((sound.manifest, reference))
}

fn parse_tile(text: &str) -> Result<NonZeroU64, String> {
    let tile = text.replace('_', "").parse().ok().filter(|tile| (1000..=1 << 24).contains(tile));
    tile.and_then(NonZeroU64::new)
        .ok_or_else(|| format!("`{text}` is no size of a tile; write a number from 1000 to {}", 1 << 24))
}
