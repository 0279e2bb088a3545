//! Routes: which sinks hear of an alert.

use std::collections::BTreeMap;

use super::life::Alert;
use super::silence::Matcher;
use crate::policy::class::Class;
use crate::policy::kind::{FindingKind, Rule};

/// `[route]`: names of sinks.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Routes {
    /// Who hears of the alerts of a class, if no exception says otherwise.
    pub classes: BTreeMap<Class, Vec<String>>,
    /// Who hears of everything that is no alert: sweeps, signs of life.
    pub events: Vec<String>,
    /// The exceptions, in the order in which they are tried.
    pub matches: Vec<RouteMatch>,
}

/// One exception.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RouteMatch {
    /// Which alerts are meant.
    pub matcher: Matcher,
    /// Alerts that break any of these rules; empty for all.
    pub rules: Vec<Rule>,
    /// Who hears of them.
    pub to: Vec<String>,
    /// Whether the others hear of them too: the exceptions behind this one, and those of the class.
    pub also: bool,
    /// The line of the file where its table begins.
    pub line: u32,
}

impl RouteMatch {
    /// Whether this alert is meant.
    pub fn fits(&self, alert: &Alert) -> bool {
        (self.rules.is_empty() || self.rules.contains(&alert.finding.rule)) && self.matcher.fits(alert)
    }
}

impl Routes {
    /// The sinks that hear of this alert, each once, in the order of the file: those of each exception that fits, up to
    /// and with the first that stands for itself; if none does, those of the class as well.
    pub fn sinks(&self, alert: &Alert) -> Vec<&str> {
        let mut sinks = Vec::new();
        for exception in self.matches.iter().filter(|exception| exception.fits(alert)) {
            add(&mut sinks, &exception.to);
            if !exception.also {
                return sinks;
            }
        }
        add(&mut sinks, self.of_class(&alert.class));
        sinks
    }

    /// The sinks that hear of a storm: those that would hear of any of its members, if no exception is about storms.
    pub fn sinks_of_storm<'a>(&self, storm: &Alert, members: impl Iterator<Item = &'a Alert>) -> Vec<&str> {
        let is_about_storms = |exception: &RouteMatch| {
            exception.matcher.kinds.contains(&FindingKind::Storm) && exception.fits(storm)
        };
        if self.matches.iter().any(is_about_storms) {
            return self.sinks(storm);
        }
        let mut sinks = Vec::new();
        for member in members {
            for sink in self.sinks(member) {
                if !sinks.contains(&sink) {
                    sinks.push(sink);
                }
            }
        }
        sinks
    }

    /// The sinks of a class. What keeps the program from its work goes where health goes, if nothing else is said.
    pub fn of_class(&self, class: &Class) -> &[String] {
        let fallback = || if *class == Class::own() { self.classes.get(&Class::health()) } else { None };
        self.classes.get(class).or_else(fallback).map_or(&[], Vec::as_slice)
    }

    /// Every sink that is named, once.
    pub fn named(&self) -> Vec<&str> {
        let mut named = Vec::new();
        for list in self.classes.values().chain([&self.events]) {
            add(&mut named, list);
        }
        for exception in &self.matches {
            add(&mut named, &exception.to);
        }
        named
    }
}

fn add<'r>(sinks: &mut Vec<&'r str>, more: &'r [String]) {
    for name in more {
        if !sinks.contains(&name.as_str()) {
            sinks.push(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::ports::Severity;

    /// An alert as it comes out of the database.
    fn alert(class: &str, kind: FindingKind, severity: Severity) -> Alert {
        let rule = if kind == FindingKind::Outage { Rule::MustBeOpen } else { Rule::DefaultClosed };
        let json = serde_json::json!({
            "kind": kind, "fingerprint": "0123456789abcdef0123456789abcdef", "severity": severity, "ip": "198.18.0.9",
            "port": 22, "rule": rule, "owner": "netops", "first_seen": "2026-06-01T00:00:00Z",
            "last_seen": "2026-06-01T00:00:00Z", "message": "", "class": class, "state": "firing",
            "since": "2026-06-01T00:00:00Z", "episode": "01ARZ3NDEKTSV4RRFFQ69G5FAV",
        });
        serde_json::from_value(json).expect("an alert")
    }

    fn exposure() -> Alert {
        alert("security", FindingKind::Exposure, Severity::High)
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    fn routes(classes: &[(&str, &[&str])], matches: Vec<RouteMatch>) -> Routes {
        let class = |(class, to): &(&str, &[&str])| (class.parse().expect("a class"), names(to));
        Routes { classes: classes.iter().map(class).collect(), events: names(&["siem"]), matches }
    }

    fn to(sinks: &[&str], also: bool, matcher: Matcher) -> RouteMatch {
        RouteMatch { matcher, to: names(sinks), also, ..RouteMatch::default() }
    }

    fn at_least(severity: Severity) -> Matcher {
        Matcher { severity: Some(severity), ..Matcher::default() }
    }

    #[test]
    fn each_class_has_its_own_sinks_and_own_falls_back_to_health() {
        let of = |routes: &Routes, class: &str| {
            let alert = alert(class, FindingKind::Exposure, Severity::High);
            routes.sinks(&alert).join(" ")
        };
        let two = routes(&[("security", &["soc", "siem"]), ("health", &["ops"])], Vec::new());
        assert_eq!(of(&two, "security"), "soc siem");
        assert_eq!(of(&two, "health"), "ops");
        assert_eq!(of(&two, "own"), "ops", "nobody says otherwise");
        assert_eq!(of(&two, "network"), "", "and of no other class anybody knows");
        let three = routes(&[("security", &["soc"]), ("health", &["ops"]), ("own", &["self"])], Vec::new());
        assert_eq!(of(&three, "own"), "self");
    }

    #[test]
    fn the_first_exception_that_stands_for_itself_ends_the_search() {
        let table = |also| {
            vec![
                to(&["boss"], false, at_least(Severity::Critical)),
                to(&["pager"], also, at_least(Severity::High)),
                to(&["paper"], false, at_least(Severity::Medium)),
            ]
        };
        let told = |matches, severity| {
            let alert = alert("security", FindingKind::Exposure, severity);
            routes(&[("security", &["soc"])], matches).sinks(&alert).join(" ")
        };
        assert_eq!(told(table(false), Severity::Critical), "boss");
        assert_eq!(told(table(false), Severity::High), "pager");
        assert_eq!(told(table(true), Severity::High), "pager paper");
        assert_eq!(told(table(false), Severity::Medium), "paper");
        assert_eq!(told(table(false), Severity::Low), "soc");
    }

    #[test]
    fn an_exception_that_adds_leaves_the_class_its_sinks_and_nobody_hears_twice() {
        let matches = vec![to(&["pager", "soc"], true, Matcher::default())];
        let routes = routes(&[("security", &["soc", "siem", "soc"])], matches);
        assert_eq!(routes.sinks(&exposure()), ["pager", "soc", "siem"]);
        assert_eq!(routes.named(), ["soc", "siem", "pager"]);
    }

    #[test]
    fn an_exception_can_ask_for_the_rule() {
        let rules = vec![Rule::MustBeOpen];
        let routes = routes(
            &[("security", &["soc"])],
            vec![RouteMatch { rules, ..to(&["ops"], false, Matcher::default()) }],
        );
        assert_eq!(routes.sinks(&exposure()), ["soc"]);
        assert_eq!(routes.sinks(&alert("security", FindingKind::Outage, Severity::High)), ["ops"]);
    }
}
