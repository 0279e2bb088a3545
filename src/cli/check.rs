//! `portreeve config check`: every mistake of a file at once.

use std::io::Write;
use std::path::Path;

use super::{Failure, Status, output};
use crate::config::file::{Config, load_allowlist};

/// Checks a configuration, and the allowlist that it names.
pub fn run(file: &Path) -> Result<Status, Failure> {
    let config = Config::load(file)?;
    let mut allowances = config.allow.len();
    if let Some(path) = &config.settings.allowlist {
        allowances += load_allowlist(path)?.len();
    }
    let mut out = output::styled(None)?;
    write!(out, "{}: no mistakes; ", file.display())?;
    if config.settings.declared.is_empty() {
        write!(out, "no scope, ")?;
    } else {
        let scope = config.settings.scope()?;
        write!(out, "{} addresses x {} ports, ", scope.hosts(), scope.ports().len())?;
    }
    writeln!(
        out,
        "allowances {allowances}, expectations {}, sinks {}",
        config.expect.len(),
        config.sinks.len()
    )?;
    Ok(Status::Clean)
}
