//! `[[expect]]`, what must be open, and `[[grade]]`, how bad findings are.

use std::collections::BTreeMap;

use super::{CLASS, Classes, KINDS, OWNERS, SEVERITY, read_kind, read_severity};
use crate::config::allow::{HOSTS, PORTS, read_hosts};
use crate::config::document::{Document, Section};
use crate::config::names::refuse_twins;
use crate::config::settings::Settings;
use crate::config::value::{Key, Placed, Value, values};
use crate::config::watch::WatchConfig;
use crate::policy::class::Class;
use crate::policy::expectation::{DEFAULT_FAILURES, DEFAULT_RECOVERIES, Expectation};
use crate::policy::grade::{Grade, Grades};
use crate::policy::kind::FindingKind;
use crate::target::address::AddressRange;
use crate::target::scope::{Scope, merge, subtract};

static EXPECT: Key = Key { name: "expect", example: "[{ name = \"orders database\" }]" };
static GRADE: Key = Key { name: "grade", example: "[{ ports = [22], severity = \"low\" }]" };
static NAME: Key = Key { name: "name", example: "\"orders database\"" };
static FAILURES: Key = Key { name: "failures", example: "3" };
static RECOVERIES: Key = Key { name: "recoveries", example: "2" };
static OWNER: Key = Key { name: "owner", example: "\"orders\"" };

/// Reads every `[[expect]]` table. Each comes with the place where it begins.
pub(in crate::config) fn read_expectations(
    root: &mut Section<'_>,
    classes: &mut Classes,
) -> Vec<Placed<Expectation>> {
    let document = root.document();
    let (mut names, mut expectations) = (Vec::new(), Vec::new());
    for section in root.tables(&EXPECT) {
        let (name, expectation) = read_expectation(section, classes);
        names.extend(name);
        expectations.extend(expectation);
    }
    refuse_twins(document, "expectation", &names);
    expectations
}

/// Reads every `[[grade]]` table.
pub(in crate::config) fn read_grades(root: &mut Section<'_>, classes: &mut Classes) -> Grades {
    let sections = root.tables(&GRADE).into_iter();
    Grades(sections.map(|section| read_grade(section, classes)).collect())
}

fn read_expectation(
    mut section: Section<'_>,
    classes: &mut Classes,
) -> (Option<Placed<String>>, Option<Placed<Expectation>>) {
    let (at, line) = (section.at(), section.line());
    let name = section.take(&NAME).and_then(|value| {
        let at = value.at();
        value.text().map(|value| Placed { at, value })
    });
    let hosts = read_hosts(&mut section);
    let ports = section.take(&PORTS).and_then(Value::ports);
    let failures = read_count(&mut section, &FAILURES).unwrap_or(DEFAULT_FAILURES);
    let recoveries = read_count(&mut section, &RECOVERIES).unwrap_or(DEFAULT_RECOVERIES);
    let owner = section.take(&OWNER).and_then(Value::text);
    let class = classes.read_made(&mut section);
    let severity = read_severity(&mut section);
    section.need(&[&NAME, &HOSTS, &PORTS]);
    section.finish();
    let (Some(known), Some(hosts), Some(ports)) = (&name, hosts, ports) else { return (name, None) };
    let name_text = known.value.clone();
    let value =
        Expectation { name: name_text, hosts, ports, failures, recoveries, owner, class, severity, line };
    (name, Some(Placed { at, value }))
}

fn read_count(section: &mut Section<'_>, key: &'static Key) -> Option<u32> {
    section.take(key)?.integer(1..=100).and_then(|count| count.try_into().ok())
}

fn read_grade(mut section: Section<'_>, classes: &mut Classes) -> Grade {
    let line = section.line();
    let hosts = read_hosts(&mut section).unwrap_or_default();
    let ports = section.take(&PORTS).and_then(Value::ports);
    let kinds = values(section.list_some(&KINDS, "kind", read_graded));
    let owners = values(section.list_some(&OWNERS, "owner", Value::text));
    let severity = read_severity(&mut section);
    let class = classes.read_made(&mut section);
    if !section.has(&SEVERITY) && !section.has(&CLASS) {
        section.report(
            "this [[grade]] changes nothing",
            "add severity = \"low\", or class = \"network\", or both",
        );
    }
    section.finish();
    Grade { hosts, ports, kinds, owners, severity, class, line }
}

/// A kind of finding that grades are for. The others are about this program, which grades them by itself.
fn read_graded(value: Value<'_>) -> Option<FindingKind> {
    let kind = read_kind(value)?;
    if kind.is_graded() {
        return Some(kind);
    }
    let help = match kind.class() {
        class if class == Class::own() => {
            format!(
                "its class is `{class}`: name its sinks there, or by a [[route.match]] with kinds = [\"{kind}\"]"
            )
        }
        _ => format!("name its sinks by a [[route.match]] with kinds = [\"{kind}\"]"),
    };
    value.report(format!("no [[grade]] changes `{kind}`, which is about the watch itself"), help);
    None
}

/// Notes every expectation of which no watch looks at everything, where the file alone says what they look at at most.
pub(in crate::config) fn refuse_unwatched(
    document: &Document<'_>,
    expectations: &[Placed<Expectation>],
    watches: &[WatchConfig],
) {
    // Where it is in doubt what hosts a watch has, they are somewhere in the declared scope.
    let whole = |watch: &WatchConfig| WatchConfig {
        settings: Settings { targets: Vec::new(), ..watch.settings.clone() },
        ..watch.clone()
    };
    let at_most = |watch: &WatchConfig| watch.literal_scope().or_else(|| whole(watch).literal_scope());
    let Some(scopes) = watches.iter().map(at_most).collect::<Option<Vec<Scope>>>() else { return };
    for Placed { at, value } in expectations {
        if let Some((range, port)) = unwatched(value, &scopes) {
            let message = format!("port {port} of {range} must be open, and no watch looks at it");
            let help = "add it to the hosts and the ports of a [[watch]], or to [scope] and [sweep]";
            document.report(*at, message, help);
        }
    }
}

/// The first hosts and the first port that no scope holds.
fn unwatched(expectation: &Expectation, scopes: &[Scope]) -> Option<(AddressRange, u16)> {
    // Ports that the same scopes have are alike, and there are few such groups, however many ports there are.
    let mut groups: BTreeMap<Vec<bool>, u16> = BTreeMap::new();
    for port in expectation.ports.iter() {
        let having = scopes.iter().map(|scope| scope.ports().slot_of(port).is_some()).collect();
        groups.entry(having).or_insert(port);
    }
    let hosts = merge(&expectation.hosts);
    let missing = |(having, port): (Vec<bool>, u16)| {
        let having = scopes.iter().zip(having).filter(|(_, has)| *has);
        let watched: Vec<AddressRange> = having.flat_map(|(scope, _)| scope.ranges().to_vec()).collect();
        Some((port, *subtract(&hosts, &merge(&watched)).first()?))
    };
    groups.into_iter().filter_map(missing).min().map(|(port, range)| (range, port))
}
