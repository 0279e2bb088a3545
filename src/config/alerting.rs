//! The tables of what must be open and of where findings go: `[[expect]]`, `[[sink]]` and `[route]`.
//!
//! Only their shape is checked here. What a sink's own keys mean is for the sink to say, and whether a route's sinks
//! exist for whoever builds them.

use super::allow::{HOSTS, PORTS, read_hosts};
use super::document::Section;
use super::file::{ExpectEntry, RouteEntry, SinkEntry};
use super::value::{Key, Placed, Value};

static EXPECT: Key = Key { name: "expect", example: "[{ name = \"orders database\" }]" };
static SINK: Key = Key { name: "sink", example: "[{ name = \"soc\", kind = \"webhook\" }]" };
static ROUTE: Key = Key { name: "route", example: "{ security = [\"soc\"], health = [\"ops\"] }" };
static NAME: Key = Key { name: "name", example: "\"orders database\"" };
static FAILURES: Key = Key { name: "failures", example: "3" };
static SINK_NAME: Key = Key { name: "name", example: "\"soc\"" };
static KIND: Key = Key { name: "kind", example: "\"webhook\"" };
static SECURITY: Key = Key { name: "security", example: "[\"soc\"]" };
static HEALTH: Key = Key { name: "health", example: "[\"ops\"]" };

/// How many failures in a row make an outage, if the file does not say.
const DEFAULT_FAILURES: u32 = 3;

/// Reads every `[[expect]]` table.
pub(super) fn read_expectations(root: &mut Section<'_>) -> Vec<ExpectEntry> {
    root.tables(&EXPECT).into_iter().filter_map(read_expectation).collect()
}

/// Reads every `[[sink]]` table.
pub(super) fn read_sinks(root: &mut Section<'_>) -> Vec<SinkEntry> {
    root.tables(&SINK).into_iter().filter_map(read_sink).collect()
}

/// Reads the `[route]` table.
pub(super) fn read_route(root: &mut Section<'_>) -> RouteEntry {
    let Some(mut section) = root.table(&ROUTE) else { return RouteEntry::default() };
    let mut names = |key| {
        let names: Vec<Placed<String>> = section.list(key, Value::text).unwrap_or_default();
        names.into_iter().map(|name| name.value).collect()
    };
    let route = RouteEntry { security: names(&SECURITY), health: names(&HEALTH) };
    section.finish();
    route
}

fn read_expectation(mut section: Section<'_>) -> Option<ExpectEntry> {
    let line = section.document().source().position(section.at()).0;
    let name = section.take(&NAME).and_then(Value::text);
    let hosts = read_hosts(&mut section);
    let ports = section.take(&PORTS).and_then(Value::ports);
    let failures = section.take(&FAILURES).and_then(|value| value.integer(1..=100));
    section.need(&[&NAME, &HOSTS, &PORTS]);
    section.finish();
    let failures = failures.and_then(|failures| u32::try_from(failures).ok()).unwrap_or(DEFAULT_FAILURES);
    Some(ExpectEntry { name: name?, hosts: hosts?, ports: ports?, failures, line })
}

fn read_sink(mut section: Section<'_>) -> Option<SinkEntry> {
    let document = section.document();
    let line = document.source().position(section.at()).0;
    let name = section.take(&SINK_NAME).and_then(Value::text);
    let kind = section.take(&KIND).and_then(Value::text);
    section.need(&[&SINK_NAME, &KIND]);
    let place = |(key, option): (String, Placed<toml::Value>)| match option.value {
        // A secret beside the file, or in a directory below it, is found from wherever the program is started.
        toml::Value::String(path) if key.ends_with("_file") => {
            let path = document.resolve(path).to_string_lossy().into_owned();
            (key, toml::Value::String(path))
        }
        value => (key, value),
    };
    let options = section.rest().into_iter().map(place).collect();
    Some(SinkEntry { name: name?, kind: kind?, options, line })
}
