//! What is said of alerts: which there are and how bad (`[[expect]]`, `[[grade]]`), how patient they are
//! (`[alerting]`), when nobody is disturbed (`[[maintenance]]`), and who hears of them (`[route]`).

pub(super) mod expect;
pub(super) mod maintenance;
mod matcher;
pub(super) mod route;
pub(super) mod rules;

use std::collections::BTreeSet;

use super::document::{Document, Section, did_you_mean};
use super::value::{Key, Placed, Value};
use crate::policy::class::Class;
use crate::policy::kind::{FindingKind, Rule};
use crate::target::ports::Severity;

static CLASS: Key = Key { name: "class", example: "\"network\"" };
static KINDS: Key = Key { name: "kinds", example: "[\"exposure\"]" };
static OWNERS: Key = Key { name: "owners", example: "[\"netops\"]" };
static SEVERITY: Key = Key { name: "severity", example: "\"high\"" };

/// The classes that findings have, and those that somebody asks for.
#[derive(Default)]
pub(super) struct Classes {
    /// What `[[expect]]` and `[[grade]]` make.
    made: Vec<Placed<Class>>,
    /// What `[route]` and `[[maintenance]]` ask for.
    asked: Vec<Placed<Class>>,
}

impl Classes {
    /// Reads the class that a table gives its findings.
    fn read_made(&mut self, section: &mut Section<'_>) -> Option<Class> {
        let value = section.take(&CLASS)?;
        let class: Class = value.parsed()?;
        self.made.push(Placed { at: value.at(), value: class.clone() });
        Some(class)
    }

    /// Notes every class that somebody asks for and nothing makes: it is misspelt, or will never be of any use.
    pub(super) fn check(&self, document: &Document<'_>) {
        let built_in = [Class::security(), Class::health(), Class::own()];
        let known: BTreeSet<&Class> = self.made.iter().map(|placed| &placed.value).chain(&built_in).collect();
        for class in self.asked.iter().filter(|class| !known.contains(&class.value)) {
            let name = class.value.as_str();
            let hint = did_you_mean(name, known.iter().map(|class| class.as_str()));
            let list: Vec<&str> = known.iter().map(|class| class.as_str()).collect();
            let message = format!("no [[expect]] and no [[grade]] makes findings of the class `{name}`");
            document.report(class.at, message, format!("{hint}classes here: {}", list.join(", ")));
        }
    }
}

fn read_severity(section: &mut Section<'_>) -> Option<Severity> {
    let words = Severity::ALL.map(|severity| (severity.as_str(), severity));
    section.take(&SEVERITY)?.choice("severity", &words)
}

fn read_kind(value: Value<'_>) -> Option<FindingKind> {
    value.choice("kind of finding", &FindingKind::ALL.map(|kind| (kind.as_str(), kind)))
}

fn read_rule(value: Value<'_>) -> Option<Rule> {
    value.choice("rule", &Rule::ALL.map(|rule| (rule.as_str(), rule)))
}
