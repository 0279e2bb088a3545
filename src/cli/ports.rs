//! `portreeve ports`: the catalogue.

use std::io::Write;

use serde_json::json;

use super::{Failure, Status, output};
use crate::sink::columns;
use crate::target::ports::{CATALOGUE, PortSet};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only these: risky, exposed, numbers, ranges or names
    #[arg(value_name = "SPEC", default_value = "exposed")]
    spec: PortSet,

    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// Lists the services of the catalogue that are in the set.
pub fn run(args: &Args) -> Result<Status, Failure> {
    let services = CATALOGUE.iter().filter(|service| args.spec.slot_of(service.port).is_some());
    let mut out = output::styled_stdout()?;
    if args.json {
        for known in services {
            let line = json!({
                "port": known.port, "service": known.name, "risky": known.risky,
                "severity": known.severity, "why": known.why,
            });
            writeln!(out, "{line}")?;
        }
        return Ok(Status::Clean);
    }
    let mut table = columns::table(["port", "name", "set", "severity", "why"]);
    for known in services {
        let set = if known.risky { "risky" } else { "exposed" };
        table.add_row([&known.port.to_string(), known.name, set, &known.severity.to_string(), known.why]);
    }
    columns::write(&mut out, &table)?;
    Ok(Status::Clean)
}
