//! `portreeve config check`: every mistake of a file, and of the files that it names, at once.

use std::io::{self, Write};
use std::path::Path;

use super::{Failure, Status, output};
use crate::config::diagnostic::{ConfigError, Source};
use crate::config::file::{Config, load_allowlist};
use crate::config::settings::{Settings, SettingsError};
use crate::config::sources;
use crate::target::scope::ScopeError;

/// Checks a configuration, and every file that it names. Asks nobody anything: host names are counted, not looked up.
pub fn run(file: &Path) -> Result<Status, Failure> {
    let (config, mut told) = Config::examine(&Source::read(file)?)?;
    let is_whole = told.is_empty();
    if config.is_for_watch() {
        told.extend(config.check_watch());
    }
    told.extend(config.check_files());
    told.sort_by_key(|mistake| (mistake.line, mistake.column));
    let mut mistakes = Vec::new();
    if !told.is_empty() {
        mistakes.push(ConfigError::Invalid(told).to_string());
    }
    let mut allowances = config.allow.len();
    match config.settings.allowlist.as_deref().map(load_allowlist) {
        Some(Ok(more)) => allowances += more.len(),
        Some(Err(mistake)) => mistakes.push(mistake.to_string()),
        None => {}
    }
    let watching = watching_in_words(&config);
    let scope = match sources::read(config.settings, &mut io::empty()) {
        // Of what could not be read, nothing can be said.
        Ok(_) if !is_whole => Ok(String::new()),
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
    let file = output::shown(file);
    writeln!(output::styled_stdout()?, "{file}: no mistakes; {scope}allowances {allowances}, {watching}")?;
    Ok(Status::Clean)
}

/// What is understood of the tables for `portreeve watch`: what is not there is not named.
fn watching_in_words(config: &Config) -> String {
    let routes = &config.routes;
    let lists = routes.classes.len() + routes.matches.len() + usize::from(!routes.events.is_empty());
    let counts = [
        ("expectations", config.expect.len()),
        ("grades", config.grades.0.len()),
        ("maintenance windows", config.maintenance.len()),
        ("watches", if config.is_for_watch() { config.watches.len() } else { 0 }),
        ("sinks", config.sinks.len()),
        ("routes", lists),
    ];
    let always = ["expectations", "sinks"];
    let counts = counts.into_iter().filter(|(what, count)| *count > 0 || always.contains(what));
    counts.map(|(what, count)| format!("{what} {count}")).collect::<Vec<_>>().join(", ")
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
