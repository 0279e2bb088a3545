//! `[scope]`: what may be probed, and what never is.

use super::document::{Document, Section};
use super::inventory::Inventory;
use super::options::parse_exclude;
use super::settings::Settings;
use super::value::{Key, Placed, Value, values};
use crate::target::address::AddressRange;
use crate::target::ports::PortSet;
use crate::target::scope::{Scope, ScopeError};
use crate::target::written::Written;

pub(super) static SCOPE: Key = Key { name: "scope", example: "{ networks = [\"198.18.0.0/24\"] }" };
static NETWORKS: Key = Key { name: "networks", example: "[\"198.18.0.0/24\"]" };
pub(super) static EXCLUDE: Key = Key { name: "exclude", example: "[\"198.18.4.0/24\"]" };
static EXCLUDED: Key =
    Key { name: "excluded", example: "[{ networks = [\"198.18.4.0/24\"], reason = \"printers\" }]" };
static REASON: Key = Key { name: "reason", example: "\"printers\"" };
static FILES: Key = Key { name: "files", example: "[\"fleet.txt\"]" };
static INVENTORY: Key =
    Key { name: "inventory", example: "[{ file = \"fleet.json\", address = \"PrivateIpAddress\" }]" };
static INVENTORY_FILE: Key = Key { name: "file", example: "\"fleet.json\"" };
static ADDRESS: Key = Key { name: "address", example: "\"PrivateIpAddress\"" };
static NAME: Key = Key { name: "name", example: "\"Tags.Name\"" };
static EXCLUDE_FILES: Key = Key { name: "exclude_files", example: "[\"never.txt\"]" };
static OWNER: Key = Key { name: "owner", example: "\"netops@example.com\"" };

/// The networks and excludes of `[scope]`, with their places.
pub(super) struct ScopeRanges {
    networks: Vec<Placed<AddressRange>>,
    exclude: Vec<Placed<AddressRange>>,
}

/// Reads `[scope]`. What it declares comes back with its places, where names and files add nothing to it.
pub(super) fn read_scope(mut section: Section<'_>, settings: &mut Settings) -> Option<ScopeRanges> {
    let written = section.list_some(&NETWORKS, "network", Value::parsed::<Written>);
    let files = section.list_some(&FILES, "file", Value::path);
    let inventories = section.tables(&INVENTORY);
    let exclude = section.list(&EXCLUDE, read_exclude);
    let excluded = section.tables(&EXCLUDED);
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
    let mut with_reasons = Some(Vec::new());
    for section in excluded {
        let ranges = read_excluded(section, settings);
        with_reasons = with_reasons.zip(ranges).map(|(known, more)| [known, more].concat());
    }
    // Without the excludes, which cannot be read, nothing can be said of what is left.
    let mut exclude = if has_exclude { exclude? } else { Vec::new() };
    exclude.append(&mut with_reasons?);
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

/// One `[[scope.excluded]]`: networks that are left out, and why.
fn read_excluded(mut section: Section<'_>, settings: &mut Settings) -> Option<Vec<Placed<AddressRange>>> {
    let networks = section.list_some(&NETWORKS, "network", read_exclude);
    let reason = section.take(&REASON).and_then(Value::text);
    section.need(&[&NETWORKS, &REASON]);
    section.finish();
    let (networks, reason) = (networks?, reason?);
    settings.exclude_reasons.extend(networks.iter().map(|network| (network.value, reason.clone())));
    Some(networks)
}

pub(super) fn read_exclude(value: Value<'_>) -> Option<AddressRange> {
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

/// Notes what makes networks and excludes no scope, at the entries that are to blame.
pub(super) fn check_scope(document: &Document<'_>, ranges: &ScopeRanges, ports: Option<PortSet>) {
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
