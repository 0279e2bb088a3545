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
    // Of what could not be read, nothing can be said.
    let reach = |settings: &Settings| match sources::read(settings.clone(), &mut io::empty()) {
        Ok(_) if !is_whole => Ok(String::new()),
        Ok(reading) => {
            let (settings, names) = reading.unresolved();
            reach_in_words(&settings, names).map_err(|mistake| mistake.to_string())
        }
        Err(mistake) => Err(mistake.to_string()),
    };
    let mut reaches = vec![reach(&config.settings)];
    if config.is_for_watch() {
        reaches.extend(config.watches.iter().map(|watch| reach(&watch.settings)));
    }
    for mistake in reaches.iter().filter_map(|reach| reach.as_ref().err()) {
        if !mistakes.contains(mistake) {
            mistakes.push(mistake.clone());
        }
    }
    if !mistakes.is_empty() {
        return Err(mistakes.join("\n").into());
    }
    let (file, mut out) = (output::shown(file), output::styled_stdout()?);
    let mut reaches = reaches.into_iter().flatten();
    let scope = reaches.next().unwrap_or_default();
    if config.is_for_watch() {
        writeln!(out, "{file}: no mistakes; allowances {allowances}, {watching}")?;
        for (watch, reach) in config.watches.iter().zip(reaches) {
            writeln!(out, "watch {}: {reach}", watch.name)?;
        }
    } else {
        writeln!(out, "{file}: no mistakes; {scope}, allowances {allowances}, {watching}")?;
        writeln!(out, "this is for `portreeve sweep`; `portreeve watch` needs a [[sink]] and a [route] too")?;
    }
    if let [one] = config.routes.named()[..] {
        output::note(&format!(
            "`{one}` is the only sink, so nobody is told when messages to it are given up; add a second one to own or \
             to events of [route]"
        ));
    }
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

/// How much is swept. Of what names will come to nothing is known, so where there are some, neither what is left of
/// the rest nor which canaries lie outside can be a mistake yet.
fn reach_in_words(settings: &Settings, names: usize) -> Result<String, SettingsError> {
    let mut reach = Vec::new();
    match settings.scope() {
        _ if settings.declared.is_empty() && names == 0 => reach.push("no scope".to_owned()),
        _ if settings.declared.is_empty() => {}
        Ok(scope) => {
            if names == 0 {
                settings.canaries(&scope)?;
            }
            reach.push(format!("{} addresses x {} ports", scope.hosts(), scope.ports().len()));
        }
        Err(SettingsError::Scope(ScopeError::AllExcluded)) if names > 0 => {}
        Err(mistake) => return Err(mistake),
    }
    if names > 0 {
        reach.push(format!("host names {names} (not looked up)"));
    }
    Ok(reach.join(", "))
}
