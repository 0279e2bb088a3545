//! `[route]`: which sinks hear of what.

use super::matcher::read_matcher;
use super::{Classes, read_rule};
use crate::alert::route::{RouteMatch, Routes};
use crate::alert::silence::Matcher;
use crate::config::document::{Document, Section, did_you_mean, nearest};
use crate::config::names::refuse_twins;
use crate::config::sinks::Sinks;
use crate::config::value::{Key, Placed, Value, values};
use crate::policy::class::Class;

static ROUTE: Key = Key { name: "route", example: "{ security = [\"soc\"], health = [\"ops\"] }" };
static SECURITY: Key = Key { name: "security", example: "[\"soc\"]" };
static HEALTH: Key = Key { name: "health", example: "[\"ops\"]" };
static OWN: Key = Key { name: "own", example: "[\"ops\"]" };
static EVENTS: Key = Key { name: "events", example: "[\"siem\"]" };
static MATCH: Key = Key { name: "match", example: "[{ severity = \"critical\", to = [\"pager\"] }]" };
static RULES: Key = Key { name: "rules", example: "[\"default-closed\"]" };
static TO: Key = Key { name: "to", example: "[\"pager\"]" };
static ALSO: Key = Key { name: "also", example: "true" };

/// What the file says of routes.
#[derive(Default)]
pub(in crate::config) struct Routing {
    /// The routes.
    pub(in crate::config) routes: Routes,
    /// Where the table begins, if it is there.
    pub(in crate::config) at: Option<usize>,
    /// Every sink that is named, where it is.
    named: Vec<Placed<String>>,
    /// Whether every list could be read.
    is_whole: bool,
}

/// Reads the `[route]` table.
pub(in crate::config) fn read_routing(root: &mut Section<'_>, classes: &mut Classes) -> Routing {
    let mut routing = Routing { is_whole: true, ..Routing::default() };
    let is_there = root.has(&ROUTE);
    let Some(mut section) = root.table(&ROUTE) else { return Routing { is_whole: !is_there, ..routing } };
    routing.at = Some(section.at());
    for (key, class) in [(&SECURITY, Class::security()), (&HEALTH, Class::health()), (&OWN, Class::own())] {
        if let Some(value) = section.take(key) {
            let sinks = routing.read_sinks(value);
            routing.routes.classes.insert(class, sinks);
        }
    }
    if let Some(value) = section.take(&EVENTS) {
        routing.routes.events = routing.read_sinks(value);
    }
    for exception in section.tables(&MATCH) {
        let exception = routing.read_match(exception, classes);
        routing.routes.matches.push(exception);
    }
    for (name, value) in section.others(&SECURITY) {
        match name.value.parse::<Class>() {
            Ok(class) => {
                classes.asked.push(Placed { at: name.at, value: class.clone() });
                let sinks = routing.read_sinks(value);
                routing.routes.classes.insert(class, sinks);
            }
            Err(error) => section.document().report_error(name.at, &error),
        }
    }
    section.finish();
    routing
}

impl Routing {
    /// A list of sinks, which names at least one.
    fn read_sinks(&mut self, value: Value<'_>) -> Vec<String> {
        let entries = value.entries("an array");
        self.is_whole &= entries.is_some();
        let entries = entries.unwrap_or_default();
        if entries.is_empty() && self.is_whole {
            value.report("this names no sink", "name one, or remove the key");
        }
        let mut names = Vec::with_capacity(entries.len());
        for entry in entries {
            let name = entry.text();
            self.is_whole &= name.is_some();
            self.named.extend(name.clone().map(|value| Placed { at: entry.at(), value }));
            names.extend(name);
        }
        names
    }

    fn read_match(&mut self, mut section: Section<'_>, classes: &mut Classes) -> RouteMatch {
        let line = section.line();
        let matcher = read_matcher(&mut section, classes);
        let rules = values(section.list_some(&RULES, "rule", read_rule));
        let to = section.take(&TO).map(|value| self.read_sinks(value)).unwrap_or_default();
        let also = section.take(&ALSO).and_then(Value::boolean).unwrap_or_default();
        section.need(&[&TO]);
        let conditions = ["hosts", "ports", "kinds", "classes", "owners", "severity", "rules"];
        if !conditions.iter().any(|condition| section.has_name(condition)) {
            let help = "say which alerts are meant, such as severity = \"critical\"";
            section
                .report("this [[route.match]] fits every alert, so that no other route is ever asked", help);
        }
        section.finish();
        RouteMatch { matcher, rules, to, also, line }
    }

    /// Notes what routes and sinks do not agree about.
    pub(in crate::config) fn check(&self, document: &Document<'_>, sinks: &Sinks, classes: &Classes) {
        refuse_twins(document, "sink", &sinks.names);
        // Of two of the same name, the second has been told as that.
        let mut once: Vec<&Placed<String>> = Vec::with_capacity(sinks.names.len());
        for name in &sinks.names {
            if !once.iter().any(|earlier| earlier.value == name.value) {
                once.push(name);
            }
        }
        let known: Vec<&str> = once.iter().map(|name| name.value.as_str()).collect();
        let is_known = |name: &Placed<String>| known.contains(&name.value.as_str());
        let unknown: Vec<&Placed<String>> = self.named.iter().filter(|name| !is_known(name)).collect();
        if sinks.all_named {
            for name in &unknown {
                refuse_unknown(document, name, &known);
            }
        }
        if self.at.is_none() || !self.is_whole {
            return;
        }
        let meant: Vec<&str> =
            unknown.iter().filter_map(|name| nearest(&name.value, known.iter().copied())).collect();
        let is_named = |sink: &str| meant.contains(&sink) || self.named.iter().any(|name| name.value == sink);
        for sink in once.iter().filter(|sink| !is_named(&sink.value)) {
            let message =
                format!("no route names the sink `{}`, so it would never be told anything", sink.value);
            document.report(sink.at, message, "name it in [route], or remove it");
        }
        self.refuse_lost_classes(document, &known, classes);
    }

    /// Notes every class that findings have and nobody hears of.
    fn refuse_lost_classes(&self, document: &Document<'_>, known: &[&str], classes: &Classes) {
        let is_asked = |matcher: &Matcher, class: &Class| matcher.classes.contains(class);
        let is_heard = |class: &Class| {
            !self.routes.of_class(class).is_empty()
                || self.routes.classes.contains_key(class)
                || self.routes.matches.iter().any(|exception| is_asked(&exception.matcher, class))
        };
        for class in classes.made.iter().filter(|class| !is_heard(&class.value)) {
            let name = class.value.as_str();
            let sink = known.first().unwrap_or(&"soc");
            let message = format!("no route names the class `{name}`, so nobody would hear of what is found");
            document.report(class.at, message, format!("add {name} = [\"{sink}\"] to [route]"));
        }
    }
}

fn refuse_unknown(document: &Document<'_>, name: &Placed<String>, known: &[&str]) {
    let message = format!("there is no sink `{}`", name.value);
    if known.is_empty() {
        document.report(name.at, message, format!("add a [[sink]] with name = \"{}\"", name.value));
        return;
    }
    let hint = did_you_mean(&name.value, known.iter().copied());
    document.report(name.at, message, format!("{hint}sinks here: {}", known.join(", ")));
}
