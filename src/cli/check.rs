//! `portreeve config check`: every mistake of a file, and of the files that it names, at once.

use std::io::{self, Write};
use std::path::Path;

use super::{Failure, Status, output};
use crate::config::file::{Config, load_allowlist};
use crate::config::settings::{Settings, SettingsError};
use crate::config::sources;
use crate::target::scope::ScopeError;

/// Checks a configuration, and every file that it names. Asks nobody anything: host names are counted, not looked up.
pub fn run(file: &Path) -> Result<Status, Failure> {
    let config = Config::load(file)?;
    let mut mistakes = Vec::new();
    let mut allowances = config.allow.len();
    match config.settings.allowlist.as_deref().map(load_allowlist) {
        Some(Ok(more)) => allowances += more.len(),
        Some(Err(mistake)) => mistakes.push(mistake.to_string()),
        None => {}
    }
    if let Err(mistake) = config.settings.pace() {
        mistakes.push(mistake.to_string());
    }
    let scope = match sources::read(config.settings, &mut io::empty()) {
        Ok(reading) => {
            let (settings, names) = reading.unresolved();
            scope_in_words(&settings, names).map_err(|mistake| mistake.to_string())
        }
        Err(mistake) => Err(mistake.to_string()),
    };
    let scope = scope.unwrap_or_else(|mistake| {
        mistakes.push(mistake);
        String::new()
    });
    if !mistakes.is_empty() {
        return Err(mistakes.join("\n").into());
    }
    writeln!(
        output::styled_stdout()?,
        "{}: no mistakes; {scope}allowances {allowances}, expectations {}, sinks {}",
        output::shown(file),
        config.expect.len(),
        config.sinks.len()
    )?;
    Ok(Status::Clean)
}

/// How much is declared. Of what names will come to nothing is known, so where there are some, neither what is left of
/// the rest nor which canaries lie outside can be a mistake yet.
fn scope_in_words(settings: &Settings, names: usize) -> Result<String, SettingsError> {
    let addresses = match settings.scope() {
        _ if settings.declared.is_empty() && names == 0 => "no scope, ".to_owned(),
        _ if settings.declared.is_empty() => String::new(),
        Ok(scope) => {
            if names == 0 {
                settings.canaries(&scope)?;
            }
            format!("{} addresses x {} ports, ", scope.hosts(), scope.ports().len())
        }
        Err(SettingsError::Scope(ScopeError::AllExcluded)) if names > 0 => String::new(),
        Err(mistake) => return Err(mistake),
    };
    let names = if names > 0 { format!("host names {names} (not looked up), ") } else { String::new() };
    Ok(addresses + &names)
}
