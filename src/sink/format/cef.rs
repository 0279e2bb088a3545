//! `cef`: the Common Event Format, version 0, for syslog (RFC 5424).
//!
//! No word of the header is anybody else's, so that what takes it apart carelessly does so rightly. The keys of the
//! extension are those of CEF's dictionary; an IPv6 address goes into `c6a2` and `c6a3`, with the labels that the
//! dictionary wants, because `src` and `dst` are for IPv4 alone.

use std::fmt::Write;
use std::net::IpAddr;

use super::Origin;
use super::view::{View, epoch_ms};
use crate::target::foreign::{harmless, spell};
use crate::target::ports::Severity;

/// The most bytes of a value: of the message as CEF has it, of others so that all of them together fit into a message
/// of syslog.
const LONGEST_MESSAGE: usize = 1023;
const LONGEST_BANNER: usize = 511;
const LONGEST: usize = 255;

/// An event.
pub fn encode(view: &View<'_>, origin: &Origin) -> String {
    let severity = match view.severity() {
        Severity::Critical => 10,
        Severity::High => 8,
        Severity::Medium => 5,
        Severity::Low => 3,
        Severity::Info => 1,
    };
    let mut text = String::from("CEF:0");
    for field in ["portreeve", "portreeve", env!("CARGO_PKG_VERSION"), &view.code(), view.name()] {
        text.push('|');
        text.push_str(&header(field));
    }
    // The time is the first pair, before which there is no blank. A string takes everything.
    let _ = write!(text, "|{severity}|rt={}", epoch_ms(view.time));
    let mut extension = Extension(text);
    head(&mut extension, view, origin);
    about(&mut extension, view);
    judged(&mut extension, view);
    of_sweep(&mut extension, view);
    extension.add("msg", Some(&view.sentence()), LONGEST_MESSAGE);
    extension.0
}

fn head(extension: &mut Extension, view: &View<'_>, origin: &Origin) {
    let vantage = view.vantage.as_ref();
    let host = vantage.map_or(origin.host.as_str(), |vantage| &vantage.host);
    extension.add("externalId", Some(&view.uid()), LONGEST);
    extension.add("dvchost", Some(host), LONGEST);
    extension.add("cat", view.kind.map(|kind| kind.to_string()).as_deref(), LONGEST);
    extension.add("act", view.transition.or(Some(view.event.as_str())), LONGEST);
    extension.add("reason", view.reason.or(view.resolution), LONGEST);
    extension.add("outcome", view.verdict.or(view.found_state()), LONGEST);
    let source = vantage.and_then(|vantage| vantage.source).or(origin.source);
    extension.address(source, "src", "c6a2", "Source IPv6 Address");
}

fn about(extension: &mut Extension, view: &View<'_>) {
    extension.address(view.ip, "dst", "c6a3", "Destination IPv6 Address");
    extension.number("dpt", view.port);
    extension.add("proto", view.transport.map(|_| "TCP"), LONGEST);
    extension.add("dhost", view.names.first().map(|name| &**name), LONGEST);
    extension.add("app", view.service, LONGEST);
}

fn judged(extension: &mut Extension, view: &View<'_>) {
    extension.number("start", view.first_seen.map(epoch_ms));
    extension.number("end", view.last_seen.map(epoch_ms));
    extension.custom("cs1", "ruleId", view.rule, LONGEST);
    extension.custom("cs2", "sweepId", view.sweep, LONGEST);
    extension.custom("cs3", "fingerprint", view.fingerprint, LONGEST);
    let owner = view.owner.or(view.allowance.map(|allowance| allowance.owner));
    extension.custom("cs4", "owner", owner.as_deref(), LONGEST);
    let about = view.expectation.or(view.watch).or(view.about).or(view.control);
    extension.custom("cs5", "about", about.as_deref(), LONGEST);
    extension.custom("cs6", "banner", view.banner.as_ref().map(|banner| &*banner.text), LONGEST_BANNER);
}

fn of_sweep(extension: &mut Extension, view: &View<'_>) {
    for (key, name, number) in [
        ("cn1", "targets", view.targets()),
        ("cn2", "unknownTargets", view.ledger.map(|ledger| ledger.unknown)),
        ("cn3", "findings", view.findings.or(view.firing).or(view.members).or(view.skipped)),
    ] {
        if number.is_some() {
            extension.number(key, number);
            extension.add(&format!("{key}Label"), Some(name), LONGEST);
        }
    }
}

/// The part of pairs.
struct Extension(String);

impl Extension {
    fn add(&mut self, key: &str, value: Option<&str>, longest: usize) {
        let Some(value) = value.filter(|value| !value.is_empty()) else { return };
        let _ = write!(self.0, " {key}={}", escaped(value, longest));
    }

    fn number(&mut self, key: &str, number: Option<impl ToString>) {
        self.add(key, number.map(|number| number.to_string()).as_deref(), LONGEST);
    }

    /// A field that CEF has no name for.
    fn custom(&mut self, key: &str, name: &str, value: Option<&str>, longest: usize) {
        if value.is_some_and(|value| !value.is_empty()) {
            self.add(key, value, longest);
            self.add(&format!("{key}Label"), Some(name), longest);
        }
    }

    fn address(&mut self, ip: Option<IpAddr>, four: &str, six: &str, label: &str) {
        match ip {
            Some(IpAddr::V4(ip)) => self.number(four, Some(ip)),
            Some(IpAddr::V6(ip)) => self.custom(six, label, Some(&ip.to_string()), LONGEST),
            None => {}
        }
    }
}

/// A field of the header, in which a bar would be taken for its end. Its words are ours, but a message may have come
/// from a database that was not.
fn header(text: &str) -> String {
    harmless(text).replace('\\', "\\\\").replace('|', "\\|")
}

/// A value of the extension: the one place where others' words are made fit for it. Ends of lines are written as CEF
/// has them; whatever else a terminal obeys or hides is spelt out.
fn escaped(text: &str, longest: usize) -> String {
    let (mut value, mut spelt) = (String::with_capacity(text.len()), String::new());
    for letter in text.chars() {
        spelt.clear();
        match letter {
            '\n' => spelt.push_str("\\n"),
            '\r' => spelt.push_str("\\r"),
            '=' => spelt.push_str("\\="),
            '\\' => spelt.push_str("\\\\"),
            other => {
                // What is spelt out begins with a backslash, which is one of the text from here on.
                let _ = spell(other, &mut spelt);
                spelt = spelt.replace('\\', "\\\\");
            }
        }
        if value.len() + spelt.len() > longest - "...".len() {
            value.push_str("...");
            break;
        }
        value.push_str(&spelt);
    }
    value
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_cannot_leave_their_place() {
        for (text, value) in [
            ("plain", "plain"),
            ("a=b c=d", "a\\=b c\\=d"),
            ("a\\=b", "a\\\\\\=b"),
            ("a\r\nb", "a\\r\\nb"),
            ("a|b", "a|b"),
            ("\x1b[2J\u{202e}", "\\\\x1b[2J\\\\u{202e}"),
        ] {
            assert_eq!(escaped(text, 100), value);
        }
        assert_eq!(escaped(&"=".repeat(100), 12), "\\=\\=\\=\\=...");
        assert_eq!(header("a|b\\c"), "a\\|b\\\\c");
        assert_eq!(header("a\n\u{202e}"), "a\\\\n\\\\u{202e}");
    }

    proptest! {
        #[test]
        fn every_equals_sign_is_escaped(text in any::<String>(), longest in 10_usize..300) {
            let value = escaped(&text, longest);
            prop_assert!(value.len() <= longest);
            let mut letters = value.chars();
            while let Some(letter) = letters.next() {
                prop_assert!(letter != '=' && letter != '\n' && letter != '\r');
                if letter == '\\' {
                    prop_assert!(matches!(letters.next(), Some('\\' | '=' | 'n' | 'r')));
                }
            }
        }
    }
}
