//! The configuration file, and the file of an allowlist: the same grammar, of which it has one table.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

use super::alerting::{read_expectations, read_route, read_sinks};
use super::allow::read_allowances;
use super::diagnostic::{ConfigError, Source};
use super::document::{Document, Section};
use super::inventory::Inventory;
use super::options::{Cap, RATE_LIMIT_PPS, parse_canary, parse_exclude, parse_interface, parse_pps};
use super::settings::Settings;
use super::value::{Key, Placed, Value};
use crate::policy::allowlist::Allowance;
use crate::target::address::AddressRange;
use crate::target::ports::PortSet;
use crate::target::scope::{Scope, ScopeError};
use crate::target::written::Written;

static SCOPE: Key = Key { name: "scope", example: "{ networks = [\"198.18.0.0/24\"] }" };
static SWEEP: Key = Key { name: "sweep", example: "{ ports = \"risky\" }" };
static NETWORKS: Key = Key { name: "networks", example: "[\"198.18.0.0/24\"]" };
static EXCLUDE: Key = Key { name: "exclude", example: "[\"198.18.4.0/24\"]" };
static FILES: Key = Key { name: "files", example: "[\"fleet.txt\"]" };
static INVENTORY: Key =
    Key { name: "inventory", example: "[{ file = \"fleet.json\", address = \"PrivateIpAddress\" }]" };
static INVENTORY_FILE: Key = Key { name: "file", example: "\"fleet.json\"" };
static ADDRESS: Key = Key { name: "address", example: "\"PrivateIpAddress\"" };
static NAME: Key = Key { name: "name", example: "\"Tags.Name\"" };
static EXCLUDE_FILES: Key = Key { name: "exclude_files", example: "[\"never.txt\"]" };
static OWNER: Key = Key { name: "owner", example: "\"netops@example.com\"" };
static PORTS: Key = Key { name: "ports", example: "\"risky\"" };
static INTERVAL: Key = Key { name: "interval", example: "\"60s\"" };
static RATE_MAX: Key = Key { name: "rate_max", example: "50_000" };
static HOST_RATE: Key = Key { name: "host_rate", example: "200" };
static NETWORK_RATE: Key = Key { name: "network_rate", example: "5000" };
static CANARIES: Key = Key { name: "canaries", example: "[\"198.18.0.10:22\"]" };
static TRIES: Key = Key { name: "tries", example: "4" };
static ENGINE: Key = Key { name: "engine", example: "\"auto\"" };
static INTERFACE: Key = Key { name: "interface", example: "\"eth0\"" };
static BANNER: Key = Key { name: "banner", example: "true" };
static ALLOWLIST: Key = Key { name: "allowlist", example: "\"allow.toml\"" };

/// A whole configuration file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// `[scope]` and `[sweep]`.
    pub settings: Settings,
    /// `[[allow]]`: what may be open.
    pub allow: Vec<Allowance>,
    /// `[[expect]]`: what must be open.
    pub expect: Vec<ExpectEntry>,
    /// `[[sink]]`: where events go.
    pub sinks: Vec<SinkEntry>,
    /// `[route]`: which events go where.
    pub route: RouteEntry,
}

/// One `[[expect]]` table.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ExpectEntry {
    /// What the service is called.
    pub name: String,
    /// Its hosts.
    pub hosts: Vec<AddressRange>,
    /// Its ports.
    pub ports: PortSet,
    /// How many failures in a row make an outage.
    pub failures: u32,
    /// The line where the table begins.
    pub line: u32,
}

/// One `[[sink]]` table.
#[derive(Clone, Debug, PartialEq)]
pub struct SinkEntry {
    /// Its name, for routes.
    pub name: String,
    /// What kind of sink it is.
    pub kind: String,
    /// Its other keys, which only its kind knows.
    pub options: toml::Table,
    /// The line where the table begins.
    pub line: u32,
}

/// The `[route]` table: names of sinks.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RouteEntry {
    /// Where exposures go.
    pub security: Vec<String>,
    /// Where outages go.
    pub health: Vec<String>,
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
        let document = Document::parse(source).map_err(ConfigError::Invalid)?;
        let mut root = document.root();
        let mut config = Config::default();
        read_settings(&mut root, &mut config.settings);
        config.allow = read_allowances(&mut root);
        config.expect = read_expectations(&mut root);
        config.sinks = read_sinks(&mut root);
        config.route = read_route(&mut root);
        root.finish();
        document.finish().map_err(ConfigError::Invalid)?;
        Ok(config)
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
    if let Some(section) = root.table(&SWEEP) {
        read_sweep(section, settings);
    }
    if let Some(ranges) = scope {
        check_scope(document, &ranges, settings.ports.clone());
    }
}

/// The networks and excludes of `[scope]`, with their places.
struct ScopeRanges {
    networks: Vec<Placed<AddressRange>>,
    exclude: Vec<Placed<AddressRange>>,
}

fn read_scope(mut section: Section<'_>, settings: &mut Settings) -> Option<ScopeRanges> {
    let written = section.list_some(&NETWORKS, "network", Value::parsed::<Written>);
    let files = section.list_some(&FILES, "file", Value::path);
    let inventories = section.tables(&INVENTORY);
    let exclude = section.list(&EXCLUDE, read_exclude);
    let exclude_files = section.list_some(&EXCLUDE_FILES, "file", Value::path);
    settings.owner = section.take(&OWNER).and_then(Value::text);
    if !section.has(&FILES) && !section.has(&INVENTORY) {
        section.need(&[&NETWORKS]);
    }
    settings.sources.files = values(files);
    settings.sources.inventories = inventories.into_iter().filter_map(read_inventory).collect();
    settings.exclude_file = values(exclude_files);
    let has_exclude = section.has(&EXCLUDE);
    section.finish();
    // Without the excludes, which cannot be read, nothing can be said of what is left.
    let exclude = if has_exclude { exclude? } else { Vec::new() };
    settings.exclude = exclude.iter().map(|placed| placed.value).collect();
    let mut networks = Vec::new();
    for Placed { at, value } in written? {
        match value {
            Written::Addresses(value) => networks.push(Placed { at, value }),
            Written::Name(name) => settings.sources.names.push(name),
        }
    }
    settings.declared = networks.iter().map(|placed| placed.value).collect();
    // What names and files come down to is not known yet, so what is left can only be judged without them.
    (settings.sources.is_empty() && !networks.is_empty()).then_some(ScopeRanges { networks, exclude })
}

fn read_exclude(value: Value<'_>) -> Option<AddressRange> {
    let text = value.text()?;
    parse_exclude(&text).map_err(|error| value.refuse(&error.to_string())).ok()
}

fn read_inventory(mut section: Section<'_>) -> Option<Inventory> {
    let file = section.take(&INVENTORY_FILE).and_then(Value::path);
    let address = section.take(&ADDRESS).and_then(Value::parsed);
    let name = section.take(&NAME).map(Value::parsed);
    section.need(&[&INVENTORY_FILE, &ADDRESS]);
    section.finish();
    // A name that cannot be read is not the same as none.
    let name = name.map_or(Some(None), |read| read.map(Some))?;
    Some(Inventory { file: file?, address: address?, name })
}

fn values<T>(placed: Option<Vec<Placed<T>>>) -> Vec<T> {
    placed.unwrap_or_default().into_iter().map(|placed| placed.value).collect()
}

/// The shortest and the longest interval between sweeps.
const INTERVALS: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(366 * 24 * 60 * 60);

fn read_sweep(mut section: Section<'_>, settings: &mut Settings) {
    settings.ports = section.take(&PORTS).and_then(Value::ports);
    settings.interval = section.take(&INTERVAL).and_then(|value| value.duration(INTERVALS));
    settings.rate_limit = section.take(&RATE_MAX).and_then(read_pps);
    settings.host_rate = section.take(&HOST_RATE).and_then(read_cap);
    settings.network_rate = section.take(&NETWORK_RATE).and_then(read_cap);
    settings.declared_canaries = section.take(&CANARIES).map(read_canaries).unwrap_or_default();
    settings.tries =
        section.take(&TRIES).and_then(|value| value.integer(1..=10)).and_then(|n| n.try_into().ok());
    settings.engine = section.take(&ENGINE).and_then(Value::parsed);
    settings.interface = section.take(&INTERFACE).and_then(read_interface);
    settings.allowlist = section.take(&ALLOWLIST).and_then(Value::path);
    settings.banner = section.take(&BANNER).and_then(Value::boolean).unwrap_or_default();
    section.finish();
}

/// A cap is a number, or a text as on the command line.
fn read_cap(value: Value<'_>) -> Option<Cap> {
    if value.as_text().is_some() { value.parsed() } else { read_pps(value).map(Cap::Pps) }
}

fn read_canaries(value: Value<'_>) -> Vec<SocketAddr> {
    let entries = value.entries("an array such as [\"198.18.0.10:22\"]").unwrap_or_default();
    let canary = |entry: Value<'_>| {
        let text = entry.text()?;
        parse_canary(&text).map_err(|error| entry.refuse(&error.to_string())).ok()
    };
    entries.into_iter().filter_map(canary).collect()
}

/// So is a limit, which is always a number in the end.
fn read_pps(value: Value<'_>) -> Option<NonZeroU32> {
    if let Some(text) = value.as_text() {
        return parse_pps(text).map_err(|error| value.refuse(&error.to_string())).ok();
    }
    let pps = value.integer(1..=u64::from(RATE_LIMIT_PPS))?;
    u32::try_from(pps).ok().and_then(NonZeroU32::new)
}

fn read_interface(value: Value<'_>) -> Option<String> {
    let name = value.text()?;
    parse_interface(&name).map_err(|error| value.refuse(&error.to_string())).ok()
}

/// Notes what makes networks and excludes no scope, at the entries that are to blame.
fn check_scope(document: &Document<'_>, ranges: &ScopeRanges, ports: Option<PortSet>) {
    let values = |placed: &[Placed<AddressRange>]| placed.iter().map(|p| p.value).collect::<Vec<_>>();
    let (networks, exclude) = (values(&ranges.networks), values(&ranges.exclude));
    let ports = ports.unwrap_or_else(PortSet::risky);
    match Scope::new(&networks, &exclude, ports.clone()) {
        Ok(_) => {}
        // Asked of each network alone: together they may merge into a range that nobody wrote.
        Err(ScopeError::NeverProbed { .. }) => {
            for network in &ranges.networks {
                let alone = Scope::new(&[network.value], &exclude, ports.clone());
                if let Err(error @ ScopeError::NeverProbed { .. }) = alone {
                    report_scope(document, Some(network), &error);
                }
            }
        }
        Err(error @ ScopeError::AllExcluded) => report_scope(document, ranges.exclude.first(), &error),
        Err(error) => report_scope(document, ranges.networks.first(), &error),
    }
}

fn report_scope(document: &Document<'_>, blamed: Option<&Placed<AddressRange>>, error: &ScopeError) {
    let told = error.to_string();
    let (message, help) = told.split_once("; ").unwrap_or((&told, "exclude less, or declare more networks"));
    document.report(blamed.map_or(0, |placed| placed.at), message, help);
}
