//! `portreeve control --out DIR`: a run, or what remains of it.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::Wanted;
use super::telling::{Format, Telling};
use crate::cli::sweep::interrupts;
use crate::cli::{Failure, Status, clock, output};
use crate::control::conclude::conclude;
use crate::control::run::{Ended, Run};
use crate::evidence::digest::Digest;
use crate::evidence::journal::Performer;
use crate::evidence::manifest::Verdict;
use crate::evidence::sign::Signer;
use crate::job::vitals;
use crate::sink::secret::SecretPlace;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    wanted: Wanted,

    /// The directory of the evidence; a run that is not over goes on where it was
    #[arg(long, value_name = "DIR", required = true)]
    out: Option<PathBuf>,

    /// The key that signs the evidence: an Ed25519 key in OpenSSH's form, without a passphrase
    #[arg(long, value_name = "FILE")]
    signing_key: Option<PathBuf>,

    /// Leave the evidence unsigned
    #[arg(long, conflicts_with = "signing_key")]
    unsigned: bool,

    /// How to print what happens
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Status, Failure> {
    // Where another command of `control` was given, nobody has been asked for it, and nobody comes here.
    let out = args.out.as_deref().ok_or("--out is missing")?;
    let read = args.wanted.read()?;
    let place = args.signing_key.clone().map(SecretPlace::File).or_else(|| read.config.signing_key.clone());
    let signer = signer(args, place)?;
    let request = args.wanted.request(&read);
    let performer = performer(read.digest);
    let run = Run::enter(&request, out, performer, Timestamp::now())?;
    let interrupt = interrupts()?;
    let mut telling = Telling::new(args.format, run.plan(), run.entries())?;
    let now = Timestamp::now;
    let (done, tiles) = match run.sweep(&interrupt, &mut telling, &now)? {
        Ended::Swept(run) => {
            let concluded = conclude(*run, signer.as_ref(), clock::state(), &mut telling, now());
            let (manifest, digest) = concluded?;
            telling.conclude(&manifest, &digest, out)?;
            return Ok(match manifest.conclusion.verdict {
                Verdict::Pass => Status::Clean,
                Verdict::Fail => Status::Findings,
                Verdict::Inconclusive => Status::Incomplete,
            });
        }
        Ended::Stopped { done, tiles } => (done, tiles),
    };
    telling.stop();
    output::note(&format!(
        "stopped with {done} of {tiles} tiles done; the same command goes on from there, in {}",
        output::shown(out)
    ));
    Ok(Status::Incomplete)
}

/// Nobody should find out at the end of a run of days that nobody can sign.
fn signer(args: &Args, place: Option<SecretPlace>) -> Result<Option<Signer>, Failure> {
    match place {
        _ if args.unsigned => Ok(None),
        Some(place) => Ok(Some(Signer::load(&place)?)),
        None => Err("nothing says who signs the evidence; name a key by --signing-key FILE or [control] \
                     signing_key_file (make one with: ssh-keygen -t ed25519 -N '' -f FILE), or say --unsigned"
            .into()),
    }
}

fn performer(config: Option<Digest>) -> Performer {
    Performer {
        host: vitals::hostname(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        program: Digest::of_file(Path::new("/proc/self/exe")).ok().map(|(digest, _)| digest),
        config,
        clock: clock::state(),
    }
}
