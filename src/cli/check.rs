//! `portreeve config check`: every mistake of a file at once.

use std::io::{self, Write};
use std::path::Path;

use super::{Failure, Status, output};
use crate::config::file::{Config, load_allowlist};
use crate::config::sources;

/// Checks a configuration, and every file that it names. Asks nobody anything: host names are counted, not looked up.
pub fn run(file: &Path) -> Result<Status, Failure> {
    let config = Config::load(file)?;
    let mut allowances = config.allow.len();
    if let Some(path) = &config.settings.allowlist {
        allowances += load_allowlist(path)?.len();
    }
    let (settings, names) = sources::read(config.settings, &mut io::empty())?.unresolved();
    let mut out = output::styled_stdout();
    write!(out, "{}: no mistakes; ", file.display())?;
    if !settings.declared.is_empty() {
        let scope = settings.scope()?;
        write!(out, "{} addresses x {} ports, ", scope.hosts(), scope.ports().len())?;
    } else if names == 0 {
        write!(out, "no scope, ")?;
    }
    if names > 0 {
        write!(out, "host names {names} (not looked up), ")?;
    }
    writeln!(
        out,
        "allowances {allowances}, expectations {}, sinks {}",
        config.expect.len(),
        config.sinks.len()
    )?;
    Ok(Status::Clean)
}
