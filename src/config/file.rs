//! The configuration file, and the file of an allowlist: the same grammar, of which it has one table.

use std::path::Path;

use super::alerts::Classes;
use super::alerts::expect::{read_expectations, read_grades, refuse_unwatched};
use super::alerts::maintenance::read_maintenance;
use super::alerts::route::{Routing, read_routing};
use super::alerts::rules::read_rules;
use super::allow::read_allowances;
use super::control::{ControlConfig, read_control};
use super::daemon::{HeartbeatConfig, StoreConfig, read_heartbeat, read_store};
use super::diagnostic::{ConfigError, Diagnostic, Source};
use super::document::{Document, Section};
use super::named::NamedFile;
use super::scope::{SCOPE, check_scope, read_scope};
use super::settings::Settings;
use super::sinks::{Sinks, read_sinks};
use super::sweep::{SWEEP, check_canaries, read_sweep};
use super::value::{Placed, values};
use super::watch::{WatchConfig, read_watches};
use crate::alert::maintenance::Maintenance;
use crate::alert::route::Routes;
use crate::alert::rules::AlertRules;
use crate::policy::allowlist::Allowance;
use crate::policy::expectation::Expectation;
use crate::policy::grade::Grades;
use crate::sink::options::SinkOptions;

/// A whole configuration file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// `[scope]` and `[sweep]`.
    pub settings: Settings,
    /// `[[watch]]`: what is swept when; never empty once a file has been read.
    pub watches: Vec<WatchConfig>,
    /// `[[allow]]`: what may be open.
    pub allow: Vec<Allowance>,
    /// `[[expect]]`: what must be open.
    pub expect: Vec<Expectation>,
    /// `[[grade]]`: how bad findings are, and whom they are for.
    pub grades: Grades,
    /// `[alerting]`: how patient alerts are.
    pub alerting: AlertRules,
    /// `[[maintenance]]`: when nobody is disturbed.
    pub maintenance: Vec<Maintenance>,
    /// `[store]`: where the watch keeps what it knows.
    pub store: StoreConfig,
    /// `[control]`: the run that is evidence.
    pub control: ControlConfig,
    /// `[heartbeat]`: by which others know that the watch is alive.
    pub heartbeat: HeartbeatConfig,
    /// `[[sink]]`: where messages go.
    pub sinks: Vec<SinkOptions>,
    /// `[route]`: which sinks hear of what.
    pub routes: Routes,
    /// What a watch lacks, see [`Config::check_watch`].
    lacks: Vec<Diagnostic>,
    /// Files that will be needed, see [`Config::check_files`].
    named: Vec<NamedFile>,
    /// Whether the file says anything of watching.
    is_for_watch: bool,
}

impl Config {
    /// Reads a configuration file. Relative paths in it begin where the file is.
    ///
    /// # Errors
    /// When it cannot be read, or has mistakes: then all of them are told.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Config::parse(&Source::read(path)?)
    }

    /// Reads a configuration from a text.
    ///
    /// # Errors
    /// When it has mistakes: then all of them are told.
    pub fn parse(source: &Source) -> Result<Self, ConfigError> {
        let (config, mistakes) = Config::examine(source)?;
        if mistakes.is_empty() { Ok(config) } else { Err(ConfigError::Invalid(mistakes)) }
    }

    /// Reads a configuration from a text, and what can be understood of it in spite of its mistakes, which come with
    /// it in the order of the file.
    ///
    /// # Errors
    /// When the syntax is torn, so that nothing can be understood.
    pub fn examine(source: &Source) -> Result<(Self, Vec<Diagnostic>), ConfigError> {
        let document = Document::parse(source).map_err(ConfigError::Invalid)?;
        let mut root = document.root();
        let mut config = Config::default();
        let mut classes = Classes::default();
        read_settings(&mut root, &mut config.settings);
        config.watches = read_watches(&mut root, &config.settings);
        config.allow = read_allowances(&mut root);
        let expectations = read_expectations(&mut root, &mut classes);
        config.grades = read_grades(&mut root, &mut classes);
        config.alerting = read_rules(&mut root);
        config.maintenance = read_maintenance(&mut root, &mut classes);
        config.store = read_store(&mut root);
        config.control = read_control(&mut root);
        config.heartbeat = read_heartbeat(&mut root);
        let sinks = read_sinks(&mut root);
        let routing = read_routing(&mut root, &mut classes);
        config.is_for_watch = ["watch", "sink", "route"].iter().any(|name| root.has_name(name));
        let has_scope = root.has(&SCOPE);
        root.finish();
        refuse_unwatched(&document, &expectations, &config.watches);
        classes.check(&document);
        routing.check(&document, &sinks, &classes);
        config.lacks = lacks(source, has_scope, &expectations, &sinks, &routing);
        config.expect = values(Some(expectations));
        config.sinks = sinks.options;
        config.routes = routing.routes;
        config.named = document.named_files();
        Ok((config, document.into_mistakes()))
    }

    /// What `portreeve watch` needs and this file does not say. A file for sweeps alone may lack all of it.
    pub fn check_watch(&self) -> Vec<Diagnostic> {
        self.lacks.clone()
    }

    /// Whether the file says anything of watching, so that [`Config::check_watch`] is of interest.
    pub fn is_for_watch(&self) -> bool {
        self.is_for_watch
    }

    /// What is wrong with the files of secrets and certificates that this file names. A sweep does without them, and
    /// may be forbidden to read them. Credentials of systemd are there only while the service runs, and are not looked
    /// for.
    pub fn check_files(&self) -> Vec<Diagnostic> {
        self.named.iter().filter_map(NamedFile::check).collect()
    }
}

/// Reads the file of an allowlist: nothing but `[[allow]]` tables.
///
/// # Errors
/// When it cannot be read, or has mistakes: then all of them are told.
pub fn load_allowlist(path: &Path) -> Result<Vec<Allowance>, ConfigError> {
    parse_allowlist(&Source::read(path)?)
}

/// Reads an allowlist from a text.
///
/// # Errors
/// When it has mistakes: then all of them are told.
pub fn parse_allowlist(source: &Source) -> Result<Vec<Allowance>, ConfigError> {
    let document = Document::parse(source).map_err(ConfigError::Invalid)?;
    let mut root = document.root();
    let allowances = read_allowances(&mut root);
    root.finish();
    document.finish().map_err(ConfigError::Invalid)?;
    Ok(allowances)
}

/// Reads `[scope]` and `[sweep]`.
fn read_settings(root: &mut Section<'_>, settings: &mut Settings) {
    let document = root.document();
    let scope = root.table(&SCOPE).and_then(|section| read_scope(section, settings));
    let canaries = root.table(&SWEEP).map(|section| read_sweep(section, settings)).unwrap_or_default();
    if let Some(ranges) = scope {
        check_scope(document, &ranges, settings.ports.clone());
        check_canaries(document, &canaries, &settings.declared, &settings.exclude);
    }
}

/// What a watch needs and the file does not say.
fn lacks(
    source: &Source,
    has_scope: bool,
    expectations: &[Placed<Expectation>],
    sinks: &Sinks,
    routing: &Routing,
) -> Vec<Diagnostic> {
    let mut lacks = Vec::new();
    let mut lack = |at: usize, message: &str, help: &str| lacks.push(source.diagnostic(at, message, help));
    // One that cannot be read is a mistake of its own.
    if !has_scope {
        lack(0, "no [scope] says what to watch", "add [scope] with networks = [\"198.18.0.0/24\"]");
    }
    let Some(first) = sinks.names.first() else {
        if sinks.all_named {
            lack(0, "no [[sink]] says whom to tell", "add a [[sink]], and a [route] that names it");
        }
        return lacks;
    };
    let add = |class: &str| format!("add {class} = [\"{}\"] to [route]", first.value);
    let Some(at) = routing.at else {
        lack(first.at, "no [route] says which alerts this sink is told of", &add("security"));
        return lacks;
    };
    let has = |class: &str| routing.routes.classes.keys().any(|known| known.as_str() == class);
    if !has("security") {
        lack(at, "`security` is missing in [route], so nobody would hear of an exposure", &add("security"));
    }
    if !has("health") && expectations.iter().any(|expectation| expectation.value.class.is_none()) {
        lack(at, "`health` is missing in [route], so nobody would hear of an outage", &add("health"));
    } else if !has("health") && !has("own") {
        let message = "`own` is missing in [route], so nobody would hear what keeps the watch from its work";
        lack(at, message, &add("own"));
    }
    lacks
}
