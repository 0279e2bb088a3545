//! `portreeve control sign-off`: a person's word on a bundle.

use std::io::Write;
use std::path::PathBuf;

use jiff::Timestamp;

use super::verify::summarise;
use crate::cli::{Failure, Status, output};
use crate::config::options::parse_authorization;
use crate::evidence::plan::SCHEMA;
use crate::evidence::sign::Signer;
use crate::evidence::sign_off::{Decision, SignOff, add};
use crate::evidence::verify::{Against, verify};
use crate::sink::secret::SecretPlace;
use crate::target::foreign::harmless;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The bundle
    #[arg(value_name = "DIR")]
    dir: PathBuf,

    /// Who signs off
    #[arg(long, value_name = "NAME", value_parser = parse_authorization)]
    name: String,

    /// As what, such as reviewer or auditor
    #[arg(long, value_name = "ROLE", default_value = "reviewer", value_parser = parse_authorization)]
    role: String,

    /// What is said of it
    #[arg(long, value_name = "TEXT", value_parser = parse_authorization)]
    statement: String,

    /// That it is not accepted
    #[arg(long)]
    reject: bool,

    /// The key that signs: an Ed25519 key in OpenSSH's form, without a passphrase
    #[arg(long, value_name = "FILE")]
    signing_key: PathBuf,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<Status, Failure> {
    let signer = Signer::load(&SecretPlace::File(args.signing_key.clone()))?;
    // Nobody signs what is not what it was.
    let sound = verify(&args.dir, &Against::default()).map_err(|wrong| {
        format!("{}: nothing is signed off: {}", output::shown(&args.dir), harmless(&wrong.to_string()))
    })?;
    let sign_off = SignOff {
        schema: SCHEMA.to_owned(),
        run: sound.manifest.plan.run,
        manifest: sound.digest,
        time: Timestamp::now(),
        name: args.name.clone(),
        role: args.role.clone(),
        decision: if args.reject { Decision::Rejected } else { Decision::Accepted },
        statement: args.statement.clone(),
        signer: signer.fingerprint(),
    };
    let name = add(&args.dir, &sign_off, &signer)?;
    let tell = || -> Result<Status, Failure> {
        let mut out = output::styled_stdout()?;
        summarise(&mut out, &sound.manifest, &sound.digest)?;
        writeln!(out, "signed off as {name}")?;
        out.flush()?;
        Ok(Status::Clean)
    };
    output::unless_left(tell())
}
