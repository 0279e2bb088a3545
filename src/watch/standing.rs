//! What holds at the moment: as much of the configuration as the desk and the messengers need, taken out of it whenever
//! it is read anew.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::alert::book::{Audience, Book, Word};
use crate::alert::life::Alert;
use crate::alert::maintenance::Maintenance;
use crate::alert::route::Routes;
use crate::alert::rules::AlertRules;
use crate::alert::silence::Silence;
use crate::config::file::Config;
use crate::policy::kind::FindingKind;

/// What holds at the moment.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// When people are told, and how often.
    pub rules: AlertRules,
    /// Who is told of what.
    pub routes: Routes,
    /// When nobody is to be disturbed.
    pub maintenance: Vec<Maintenance>,
    /// The sinks, and whether each wants to be told of each alert in a storm.
    pub sinks: BTreeMap<String, bool>,
}

impl Standing {
    /// What a configuration makes of it.
    pub fn of(config: &Config) -> Self {
        let sinks = config.sinks.iter().map(|sink| (sink.name.clone(), sink.tells_each));
        Standing {
            rules: config.alerting.clone(),
            routes: config.routes.clone(),
            maintenance: config.maintenance.clone(),
            sinks: sinks.collect(),
        }
    }

    /// Why nobody is to be disturbed by this alert, if nobody is.
    pub fn mute(&self, silences: &[Silence], alert: &Alert, now: Timestamp) -> Option<String> {
        let silence = silences.iter().find(|silence| silence.holds(now) && silence.matcher.fits(alert));
        if let Some(silence) = silence {
            return Some(silence.in_words());
        }
        let window = self.maintenance.iter().find(|window| window.mutes(alert, now));
        window.map(|window| format!("maintenance: {}", window.name))
    }

    /// The sinks that a word goes to, each once, and notes who of them is told for people. `except` is the one that it
    /// is about.
    pub fn address(&self, word: &Word, book: &mut Book, except: Option<&str>) -> Vec<String> {
        let events = self.routes.events.iter().map(String::as_str);
        let events = events.filter(|_| word.audience != Audience::People);
        let people = self.known(self.people(word, book).into_iter(), except);
        let sinks = self.known(events.chain(people.iter().map(String::as_str)), except);
        book.note_heard(word, people.into_iter().collect());
        sinks
    }

    /// The sinks of people that hear a word: those that the routes name, and whoever has heard of the alert before.
    fn people<'s>(&'s self, word: &Word, book: &'s Book) -> Vec<&'s str> {
        if word.audience == Audience::Events {
            return Vec::new();
        }
        let alert = &word.notice.alert;
        let mut people = match alert.finding.kind {
            FindingKind::Storm => self.routes.sinks_of_storm(alert, book.in_storm(&alert.class)),
            _ => self.routes.sinks(alert),
        };
        people.retain(|sink| !word.in_storm || self.sinks.get(*sink).copied().unwrap_or(true));
        let heard =
            book.get(&alert.finding.fingerprint).map(|record| record.heard.iter().map(String::as_str));
        people.extend(heard.into_iter().flatten());
        people
    }

    /// The sinks that hear of everything.
    pub fn event_sinks(&self) -> Vec<String> {
        self.known(self.routes.events.iter().map(String::as_str), None)
    }

    fn known<'s>(&self, sinks: impl Iterator<Item = &'s str>, except: Option<&str>) -> Vec<String> {
        let mut seen = BTreeSet::new();
        sinks
            .filter(|sink| self.sinks.contains_key(*sink) && Some(*sink) != except && seen.insert(*sink))
            .map(str::to_owned)
            .collect()
    }
}
