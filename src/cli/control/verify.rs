//! `portreeve control verify`: whether a bundle is what it was.

use std::io::{self, Write};
use std::path::PathBuf;

use crate::cli::{Failure, Status, output};
use crate::evidence::digest::Digest;
use crate::evidence::manifest::Manifest;
use crate::evidence::sign::allowed_signers;
use crate::evidence::sign_off::{Decision, SignOff, Signed};
use crate::evidence::verify::{Against, Sound, verify};
use crate::target::foreign::{Harmless, harmless};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The bundle
    #[arg(value_name = "DIR")]
    dir: PathBuf,

    /// The bundle of the run before, or of the one that this one rescans, which it must follow
    #[arg(long, value_name = "OLD")]
    against: Option<PathBuf>,

    /// Who may sign: a file in the form of OpenSSH's allowed_signers
    ///
    /// Without it, whoever has signed is named, and not known.
    #[arg(long, value_name = "FILE")]
    allowed_signers: Option<PathBuf>,

    /// Who may sign off: likewise
    ///
    /// Without it, anybody may, and is named.
    #[arg(long, value_name = "FILE")]
    reviewers: Option<PathBuf>,

    /// The digest of the manifest, as somebody noted it when the run was over
    ///
    /// What tells a bundle from an older one that was put in its place.
    #[arg(long, value_name = "SHA256")]
    digest: Option<Digest>,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Status, Failure> {
    let signers = args.allowed_signers.as_deref().map(allowed_signers).transpose()?;
    let reviewers = args.reviewers.as_deref().map(allowed_signers).transpose()?;
    let against = Against { signers, reviewers, previous: args.against.clone(), manifest: args.digest };
    let sound = verify(&args.dir, &against).map_err(|wrong| {
        // What a bundle says may be anything, also something that looks like a line of ours.
        format!("{} is not sound: {}", output::shown(&args.dir), harmless(&wrong.to_string()))
    })?;
    output::unless_left(tell(args, &sound))
}

fn tell(args: &Args, sound: &Sound) -> Result<Status, Failure> {
    let Sound { manifest, digest, principals, sign_offs } = sound;
    let mut out = output::styled_stdout()?;
    summarise(&mut out, manifest, digest)?;
    match (&manifest.integrity.signer, principals) {
        (Some(signer), Some(principals)) => {
            writeln!(out, "signed    by {} ({})", Harmless(principals), Harmless(signer))?;
        }
        (Some(signer), None) => {
            let signer = Harmless(signer);
            writeln!(out, "signed    by {signer}; whose key that is, --allowed-signers would tell")?;
        }
        (None, _) => {
            writeln!(out, "signed    by nobody: whoever could write here could have changed all of it")?;
        }
    }
    if args.against.is_some() {
        writeln!(out, "follows   {}", output::shown(args.against.as_deref().unwrap_or(&args.dir)))?;
    }
    for signed in sign_offs {
        tell_sign_off(&mut out, signed)?;
    }
    writeln!(out, "nothing is wrong with it")?;
    out.flush()?;
    Ok(Status::Clean)
}

/// What a bundle comes to, in a few lines.
pub fn summarise(out: &mut dyn Write, manifest: &Manifest, digest: &Digest) -> io::Result<()> {
    let (control, ledger) = (&manifest.plan.control, &manifest.completeness.ledger);
    let (run, verdict) = (manifest.plan.run, manifest.conclusion.verdict.as_str());
    writeln!(out, "run       {run} for {}: {verdict}", Harmless(&control.id))?;
    for assessment in &manifest.conclusion.assessments {
        let met = if assessment.met { "met" } else { "not met" };
        writeln!(out, "          {} {met}: {}", assessment.name, Harmless(&assessment.statement))?;
    }
    writeln!(out, "completed {:.0}", manifest.time.completed)?;
    writeln!(out, "targets   {} in {} lines, each once", ledger.declared, manifest.integrity.lines)?;
    writeln!(out, "digest    {digest}")
}

fn tell_sign_off(out: &mut dyn Write, signed: &Signed) -> io::Result<()> {
    let SignOff { name, role, time, statement, signer, decision, .. } = &signed.sign_off;
    let decision = match decision {
        Decision::Accepted => "accepted",
        Decision::Rejected => "rejected",
    };
    let whose = match &signed.principals {
        Some(principals) => format!("the key of {}", Harmless(principals)),
        None => "a key that nobody here knows".to_owned(),
    };
    let own = if signed.is_by_own_key { ", with which the evidence is signed too" } else { "" };
    writeln!(
        out,
        "{decision:9} by {} ({}) at {time:.0}: {}",
        Harmless(name),
        Harmless(role),
        Harmless(statement)
    )?;
    writeln!(out, "          with {whose}{own} ({})", Harmless(signer))
}
