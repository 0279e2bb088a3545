//! Where targets come from: what was typed, files of them, inventories, and the names among all these.
//!
//! Two steps. [`read`] reads every file and tells the mistakes of all of them at once; it asks nobody anything.
//! [`Reading::resolve`] looks the names up. What is left are settings of addresses only, which everything behind this
//! understands, and beside them the [`Names`].

use std::fmt;
use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::diagnostic::{ConfigError, Source};
use super::inventory::{self, Inventory};
use super::list::{self, Listed};
use super::options::TargetWord;
use super::resolve::{Failed, Lookup, Resolution, patience, resolve};
use super::settings::Settings;
use crate::target::address::AddressRange;
use crate::target::names::Names;
use crate::target::scope::{merge, never_probed, subtract};
use crate::target::written::{HostName, Written};

/// What a `[scope]` declares beside addresses.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Sources {
    /// Hosts, which declare the addresses that they resolve to.
    pub names: Vec<HostName>,
    /// Files of targets.
    pub files: Vec<PathBuf>,
    /// Inventories.
    pub inventories: Vec<Inventory>,
}

impl Sources {
    /// Whether nothing is declared.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty() && self.files.is_empty() && self.inventories.is_empty()
    }
}

/// A file or inventory that targets came from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SourceNote {
    /// Its name, as it was given.
    pub file: String,
    /// Targets in it: addresses, networks, ranges and names.
    pub targets: u64,
    /// Addresses of an inventory that are null or empty.
    pub skipped: u64,
}

/// Settings of which every file has been read, and no name looked up.
#[derive(Clone, Debug)]
pub struct Reading {
    settings: Settings,
    typed: Pile,
    declared: Pile,
    inputs: Vec<PathBuf>,
}

/// Settings of addresses only.
#[derive(Clone, Debug)]
pub struct Gathered {
    /// The settings, with every target in `networks` and `declared`.
    pub settings: Settings,
    /// What the addresses are called.
    pub names: Names,
    /// What is swept, as it was written, without what stands in files.
    pub written: Vec<String>,
    /// The files that what is swept came from.
    pub sources: Vec<SourceNote>,
    /// What was to be swept and has no address.
    pub unresolved: Vec<Failed>,
    /// Every file that was read.
    pub inputs: Vec<PathBuf>,
}

/// Targets of one kind of right: typed, or declared.
#[derive(Clone, Debug, Default)]
struct Pile {
    listed: Listed,
    labels: Vec<(Written, String)>,
    written: Vec<String>,
    notes: Vec<SourceNote>,
}

/// Reads every file that the settings name.
///
/// # Errors
/// When one cannot be read or has mistakes: then all mistakes of all files are told.
pub fn read(mut settings: Settings, stdin: &mut dyn Read) -> Result<Reading, SourceError> {
    let mut reader = Reader { stdin: Some(stdin), inputs: Vec::new(), mistakes: Vec::new() };
    let mut typed = Pile::default();
    for word in &settings.targets {
        match word {
            TargetWord::Written(written) => typed.write(written.clone()),
            TargetWord::Stdin => reader.targets(STDIN, true, &mut typed),
            TargetWord::File(path) => reader.targets(path, false, &mut typed),
        }
    }
    for inventory in settings.inventories() {
        let is_stdin = inventory.file.as_os_str() == "-";
        reader.inventory(&inventory, is_stdin, &mut typed);
    }
    let mut declared = Pile::default();
    declared.written.extend(settings.declared.iter().map(ToString::to_string));
    for name in &settings.sources.names {
        declared.write(Written::Name(name.clone()));
    }
    for path in &settings.sources.files {
        reader.targets(path, false, &mut declared);
    }
    for inventory in &settings.sources.inventories {
        reader.inventory(inventory, false, &mut declared);
    }
    for path in &settings.exclude_file {
        let parsed = reader.source(path, false).and_then(|source| list::parse_excludes(&source));
        settings.exclude.extend(reader.keep(parsed).unwrap_or_default());
    }
    let Reader { inputs, mistakes, .. } = reader;
    if !mistakes.is_empty() {
        return Err(SourceError::Files(mistakes));
    }
    Ok(Reading { settings, typed, declared, inputs })
}

/// What standard input is called in messages.
const STDIN: &str = "standard input";

/// By which path the system has it, so that nobody writes over the file that it comes from.
const STDIN_FILE: &str = "/dev/stdin";

/// Reads files, and gathers what is wrong with them.
struct Reader<'r> {
    stdin: Option<&'r mut dyn Read>,
    inputs: Vec<PathBuf>,
    mistakes: Vec<ConfigError>,
}

impl Reader<'_> {
    fn targets(&mut self, path: impl AsRef<Path>, is_stdin: bool, pile: &mut Pile) {
        let parsed = self.source(path.as_ref(), is_stdin).and_then(|source| list::parse_targets(&source));
        if let Some(mut listed) = self.keep(parsed) {
            pile.note(path.as_ref(), &listed, 0);
            pile.listed.ranges.append(&mut listed.ranges);
            pile.listed.names.append(&mut listed.names);
        }
    }

    fn inventory(&mut self, inventory: &Inventory, is_stdin: bool, pile: &mut Pile) {
        let path = if is_stdin { Path::new(STDIN) } else { &inventory.file };
        let parsed = self.source(path, is_stdin).and_then(|source| inventory::take(&source, inventory));
        if let Some(mut taken) = self.keep(parsed) {
            pile.note(path, &taken.listed, taken.skipped);
            pile.listed.ranges.append(&mut taken.listed.ranges);
            pile.listed.names.append(&mut taken.listed.names);
            pile.labels.append(&mut taken.labels);
        }
    }

    fn source(&mut self, path: &Path, is_stdin: bool) -> Result<Source, ConfigError> {
        if !is_stdin {
            self.inputs.push(path.to_path_buf());
            return Source::read(path);
        }
        match self.stdin.take() {
            Some(stdin) => {
                self.inputs.push(PathBuf::from(STDIN_FILE));
                Source::read_from(path, stdin)
            }
            None => Err(ConfigError::StdinTwice),
        }
    }

    fn keep<T>(&mut self, parsed: Result<T, ConfigError>) -> Option<T> {
        parsed.map_err(|mistake| self.mistakes.push(mistake)).ok()
    }
}

impl Pile {
    fn write(&mut self, written: Written) {
        self.written.push(written.to_string());
        self.listed.push(written);
    }

    fn note(&mut self, path: &Path, listed: &Listed, skipped: u64) {
        let file = path.display().to_string();
        self.notes.push(SourceNote { file, targets: listed.len() as u64, skipped });
    }

    /// The addresses of the names, and those that were written.
    fn addresses(&self, resolution: &Resolution) -> Vec<AddressRange> {
        let found = self.listed.names.iter().filter_map(|name| resolution.found.get(name)).flatten();
        let found = found.map(|ip| AddressRange::single(*ip));
        self.listed.ranges.iter().copied().chain(found).collect()
    }

    fn named<'p>(&'p self, resolution: &'p Resolution) -> impl Iterator<Item = (AddressRange, &'p str)> + 'p {
        self.labels.iter().flat_map(move |(written, label)| {
            let ranges = match written {
                Written::Addresses(range) => vec![*range],
                Written::Name(name) => singles(resolution, name),
            };
            ranges.into_iter().map(move |range| (range, label.as_str()))
        })
    }
}

fn singles(resolution: &Resolution, name: &HostName) -> Vec<AddressRange> {
    let found = resolution.found.get(name).into_iter().flatten();
    found.map(|ip| AddressRange::single(*ip)).collect()
}

impl Reading {
    /// The settings, with what was typed and declared as addresses; what stands in files is not among them yet.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The settings as they are, with every address that was written in `networks` and `declared`; and how many names
    /// there are besides.
    pub fn unresolved(self) -> (Settings, usize) {
        let Reading { mut settings, typed, declared, .. } = self;
        settings.networks.extend(typed.listed.ranges);
        settings.declared.extend(declared.listed.ranges);
        (settings, typed.listed.names.len() + declared.listed.names.len())
    }

    /// Looks every name up.
    ///
    /// # Errors
    /// When a name has no address (unless such names are to be skipped) or one that may not be swept, or when nothing
    /// is left.
    pub fn resolve(self, lookup: Lookup) -> Result<Gathered, SourceError> {
        let Reading { mut settings, typed, declared, inputs } = self;
        let names = [typed.listed.names.as_slice(), &declared.listed.names].concat();
        let resolution = resolve(&names, lookup, patience(names.len()));
        if !resolution.failed.is_empty() && !settings.skip_unresolved {
            return Err(SourceError::Unresolved(resolution.failed));
        }
        let is_declared = !settings.declared.is_empty() || !declared.listed.is_empty();
        settings.declared.extend(declared.addresses(&resolution));
        let swept = if settings.names_targets() { &typed } else { &declared };
        // Without this the run would be one that nobody has bounded, or one of all that is declared.
        if is_declared && settings.declared.is_empty() {
            return Err(SourceError::NothingFound { what: "the scope that is declared" });
        }
        let fit = fit_addresses(&settings, &resolution)?;
        settings.networks.extend(typed.addresses(&fit));
        if settings.names_targets() && settings.networks.is_empty() {
            return Err(SourceError::NothingFound { what: "the targets" });
        }
        let mut unresolved = resolution.failed.clone();
        let is_swept: std::collections::BTreeSet<_> = swept.listed.names.iter().collect();
        unresolved.retain(|failed| is_swept.contains(&failed.name));
        let looked_up = resolution.found.iter();
        let looked_up =
            looked_up.flat_map(|(name, ips)| ips.iter().map(|ip| (AddressRange::single(*ip), name.as_str())));
        let labels = typed.named(&resolution).chain(declared.named(&resolution));
        let names = Names::new(looked_up.chain(labels));
        let (written, sources) = (swept.written.clone(), swept.notes.clone());
        Ok(Gathered { settings, names, written, sources, unresolved, inputs })
    }
}

/// The addresses of names without those that are excluded; the rest must be such that may be swept.
fn fit_addresses(settings: &Settings, resolution: &Resolution) -> Result<Resolution, SourceError> {
    let (declared, exclude) = (merge(&settings.declared), merge(&settings.exclude));
    let mut fit = resolution.clone();
    for (name, ips) in &mut fit.found {
        ips.retain(|ip| !subtract(&[AddressRange::single(*ip)], &exclude).is_empty());
        for ip in ips {
            let single = AddressRange::single(*ip);
            let refused = |why: String| SourceError::Refused { name: name.clone(), ip: *ip, why };
            if let Some((never, why)) = never_probed(&single) {
                let remedy = format!("exclude it (--exclude {never}), or name other hosts");
                return Err(refused(format!("which is never probed ({why}); {remedy}")));
            }
            if !declared.is_empty() && !subtract(&[single], &declared).is_empty() {
                let remedy = "exclude it, or add it to the networks of [scope]";
                return Err(refused(format!("which is not in the declared scope; {remedy}")));
            }
        }
    }
    Ok(fit)
}

/// Why sources give no targets.
#[derive(Debug, Error)]
pub enum SourceError {
    /// Files cannot be read, or have mistakes.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Files(Vec<ConfigError>),
    /// Names have no address.
    #[error("{}", DoNotResolve(.0))]
    Unresolved(Vec<Failed>),
    /// A name leads where nothing may be swept.
    #[error("{name} resolves to {ip}, {why}")]
    Refused {
        /// The name.
        name: HostName,
        /// Where it leads.
        ip: IpAddr,
        /// Why that may not be swept, and what to do.
        why: String,
    },
    /// No name has an address that is not excluded.
    #[error(
        "nothing of {what} has an address that is not excluded; name addresses, or hosts that this host can resolve"
    )]
    NothingFound {
        /// Nothing of what.
        what: &'static str,
    },
}

/// Names without an address that are told; of more than these it is most likely the resolver that is at fault.
const MOST_TOLD: usize = 100;

/// Says of names that they have no address.
struct DoNotResolve<'f>(&'f [Failed]);

impl fmt::Display for DoNotResolve<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let remedy = "check the spelling, and this host's resolver (getent ahosts NAME); --skip-unresolved sweeps the \
                      rest, and ends with status 3";
        match self.0 {
            [one] => write!(f, "{} does not resolve: {}; {remedy}", one.name, one.why),
            all => {
                let told: Vec<String> = all.iter().take(MOST_TOLD).map(ToString::to_string).collect();
                write!(f, "{} names do not resolve: {}", all.len(), told.join(", "))?;
                match all.len().saturating_sub(MOST_TOLD) {
                    0 => write!(f, "; {remedy}"),
                    more => write!(f, " and {more} more; {remedy}"),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resolver_that_knows_nothing_does_not_flood_the_terminal() {
        let failed = |n: u32| Failed {
            name: format!("h{n}.example.net").parse().expect("a name"),
            why: "Name or service not known".to_owned(),
        };
        let told = SourceError::Unresolved((0..300_000).map(failed).collect()).to_string();
        assert!(told.starts_with("300000 names do not resolve: h0.example.net (Name"), "{}", &told[..99]);
        assert!(
            told.len() < 8000 && told.contains(") and 299900 more; check the spelling"),
            "{}",
            told.len()
        );
        let told = SourceError::Unresolved((0..100).map(failed).collect()).to_string();
        assert!(!told.contains(" more; "), "{told}");
    }
}
