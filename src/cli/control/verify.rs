//! `portreeve control verify`: whether a bundle is what it was.

use std::io::Write;
use std::path::PathBuf;

use crate::cli::{Failure, Status, output};
use crate::evidence::digest::Digest;
use crate::evidence::sign::allowed_signers;
use crate::evidence::verify::{Against, Sound, verify};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The bundle
    #[arg(value_name = "DIR")]
    dir: PathBuf,

    /// The bundle of the run before, which this one must follow
    #[arg(long, value_name = "OLD")]
    against: Option<PathBuf>,

    /// Who may sign: a file in the form of OpenSSH's allowed_signers
    ///
    /// Without it, whoever has signed is named, and not known.
    #[arg(long, value_name = "FILE")]
    allowed_signers: Option<PathBuf>,

    /// The digest of the manifest, as somebody noted it when the run was over
    ///
    /// What tells a bundle from an older one that was put in its place.
    #[arg(long, value_name = "SHA256")]
    digest: Option<Digest>,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Status, Failure> {
    let signers = args.allowed_signers.as_deref().map(allowed_signers).transpose()?;
    let against = Against { signers, previous: args.against.clone(), manifest: args.digest };
    let sound = verify(&args.dir, &against).map_err(|wrong| {
        format!("{}: this is not the evidence that was made: {wrong}", output::shown(&args.dir))
    })?;
    output::unless_left(tell(args, &sound))
}

fn tell(args: &Args, sound: &Sound) -> Result<Status, Failure> {
    let Sound { manifest, digest, principals, sign_offs } = sound;
    let mut out = output::styled_stdout()?;
    let (control, ledger) = (&manifest.plan.control, &manifest.completeness.ledger);
    writeln!(
        out,
        "run       {} for {}: {}",
        manifest.plan.run,
        control.id,
        manifest.conclusion.verdict.as_str()
    )?;
    for assessment in &manifest.conclusion.assessments {
        let met = if assessment.met { "met" } else { "not met" };
        writeln!(out, "          {} {met}: {}", assessment.name, assessment.statement)?;
    }
    writeln!(out, "completed {:.0}", manifest.time.completed)?;
    writeln!(out, "targets   {} in {} lines, each once", ledger.declared, manifest.integrity.lines)?;
    writeln!(out, "digest    {digest}")?;
    match (&manifest.integrity.signer, principals) {
        (Some(signer), Some(principals)) => writeln!(out, "signed    by {principals} ({signer})")?,
        (Some(signer), None) => {
            writeln!(out, "signed    by {signer}; whose key that is, --allowed-signers would tell")?;
        }
        (None, _) => {
            writeln!(out, "signed    by nobody: whoever could write here could have changed all of it")?;
        }
    }
    if args.against.is_some() {
        writeln!(
            out,
            "follows   the run {}",
            manifest.plan.previous.as_ref().map_or(String::new(), |run| run.run.to_string())
        )?;
    }
    for sign_off in sign_offs {
        let decision = format!("{:?}", sign_off.decision).to_lowercase();
        let name = crate::target::foreign::harmless(&sign_off.name);
        let role = crate::target::foreign::harmless(&sign_off.role);
        writeln!(out, "{decision:9} by {name} ({role}, {}) at {:.0}", sign_off.signer, sign_off.time)?;
    }
    writeln!(out, "nothing is wrong with it")?;
    out.flush()?;
    Ok(Status::Clean)
}
