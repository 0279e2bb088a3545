//! Messages as syslog has them (RFC 5424): what machines sort by in the header and in the structured data, and the
//! whole event as JSON behind it.
//!
//! # No byte order mark
//! Section 6.4 puts one before a text in UTF-8, and calls whatever has none a text of any kind. JSON must not begin
//! with one (RFC 8259, section 8.1), and what reads it chokes on it. Ours is in UTF-8 all the same, and each character
//! that a terminal obeys or hides is written as JSON writes it in ASCII (`\u202e`): logs are read on terminals.

use std::fmt::Write;

use jiff::Timestamp;

use super::format::view::View;
use super::message::Message;
use super::plain;
use super::wording;
use crate::target::foreign::Harmless;
use crate::target::ports::Severity;

/// The name of the structured data. The number is the one that is set aside for examples and documentation (RFC 5612),
/// because this program has none of its own.
pub const SD_ID: &str = "portreeve@32473";

/// The most bytes of a message: what receivers should take (RFC 5425, section 4.3.1), and what rsyslog does take if
/// nobody says otherwise. Half of a JSON object is of no use to anybody, so a longer event is told in one line.
pub const LONGEST: usize = 8192;

/// Who speaks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Origin {
    hostname: String,
    process: u32,
}

impl Origin {
    /// This host and process.
    pub fn new(hostname: &str, process: u32) -> Self {
        Origin { hostname: word(hostname, 255), process }
    }
}

/// A message as it is sent, with the event itself in it.
pub fn encode(message: &Message, origin: &Origin, facility: u8) -> Vec<u8> {
    encode_as(message, &json(message), origin, facility)
}

/// As [`encode`], with this form of the event in it.
pub fn encode_as(message: &Message, payload: &[u8], origin: &Origin, facility: u8) -> Vec<u8> {
    let head = head(message, origin, facility);
    if head.len() + payload.len() <= LONGEST {
        return [head.as_bytes(), payload].concat();
    }
    let mut told = head + &line(message);
    cut(&mut told, LONGEST);
    told.into_bytes()
}

/// Everything before the text, the blank between them included.
fn head(message: &Message, origin: &Origin, facility: u8) -> String {
    match message {
        Message::Alert(notice) => {
            let (finding, transition) = (&notice.alert.finding, notice.transition.as_str());
            let mut elements = vec![
                ("id", notice.id.to_string()),
                ("fingerprint", finding.fingerprint.to_string()),
                ("kind", finding.kind.to_string()),
                ("severity", finding.severity.to_string()),
                ("transition", transition.to_owned()),
            ];
            elements.extend(finding.ip.map(|ip| ("ip", ip.to_string())));
            elements.extend(finding.port.map(|port| ("port", port.to_string())));
            let name = format!("alert/{transition}");
            header(message.time(), finding.severity, facility, origin, &name, &elements)
        }
        Message::Event(event) => {
            let elements = [("id", event.id.to_string()), ("kind", event.kind.clone())];
            header(message.time(), Severity::Info, facility, origin, &event.kind, &elements)
        }
    }
}

/// As [`head`], of an event that may be no message: one of a sweep.
pub(super) fn head_of(view: &View<'_>, origin: &Origin, facility: u8) -> String {
    let kind = view.kind.map_or_else(|| view.event.as_str().to_owned(), |kind| kind.to_string());
    let mut elements = vec![("id", view.uid()), ("kind", kind)];
    elements.extend(view.fingerprint.map(|fingerprint| ("fingerprint", fingerprint.to_owned())));
    elements.extend(view.transition.map(|transition| ("transition", transition.to_owned())));
    elements.extend(view.ip.map(|ip| ("ip", ip.to_string())));
    elements.extend(view.port.map(|port| ("port", port.to_string())));
    header(view.time, view.severity(), facility, origin, &view.code(), &elements)
}

fn header(
    time: Timestamp,
    severity: Severity,
    facility: u8,
    origin: &Origin,
    name: &str,
    elements: &[(&str, String)],
) -> String {
    let priority = u32::from(facility.min(23)) * 8 + number(severity);
    let Origin { hostname, process } = origin;
    let name = word(name, 32);
    let mut head = format!("<{priority}>1 {time:.3} {hostname} portreeve {process} {name} [{SD_ID}");
    for (name, value) in elements {
        // A string takes everything.
        let _ = write!(head, " {name}=\"{}\"", escaped(value));
    }
    head.push_str("] ");
    head
}

/// Severities as syslog counts them. Nothing here is an emergency of the host that tells it.
fn number(severity: Severity) -> u32 {
    match severity {
        Severity::Critical => 2,
        Severity::High => 3,
        Severity::Medium => 4,
        Severity::Low => 5,
        Severity::Info => 6,
    }
}

/// A field of the header: visible ASCII, or `-` for nothing.
fn word(text: &str, longest: usize) -> String {
    let fit = |c: &char| c.is_ascii_graphic();
    let word: String = text.chars().filter(fit).take(longest).collect();
    if word.is_empty() { "-".to_owned() } else { word }
}

/// The most bytes of a value in the structured data.
const LONGEST_VALUE: usize = 128;

/// A value in the structured data (section 6.3.3).
fn escaped(value: &str) -> String {
    let mut value = Harmless(value).to_string();
    cut(&mut value, LONGEST_VALUE);
    let mut escaped = String::with_capacity(value.len());
    for letter in value.chars() {
        if matches!(letter, '"' | '\\' | ']') {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    escaped
}

/// The event in one line, for people.
fn line(message: &Message) -> String {
    match message {
        Message::Alert(notice) => wording::title_of(notice),
        Message::Event(event) => {
            format!(
                "{} {}: too long for syslog, and whole in every other sink",
                Harmless(&event.kind),
                event.id
            )
        }
    }
}

fn cut(text: &mut String, longest: usize) {
    if text.len() > longest {
        let end = (0..=longest.saturating_sub(3)).rev().find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or(0));
        text.push_str("...");
    }
}

fn json(message: &Message) -> Vec<u8> {
    // A message can always be written.
    plain::to_vec(&message.event()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::channel::samples::{alert, event, firing, long_event};
    use crate::target::foreign::is_unfit;

    /// A message taken apart by the grammar of section 6, and by nothing more lenient.
    #[derive(Debug)]
    struct Parsed {
        priority: u32,
        fields: Vec<String>,
        sd_id: String,
        parameters: Vec<(String, String)>,
        text: String,
    }

    impl Parsed {
        fn value(&self, name: &str) -> &str {
            let found = self.parameters.iter().find(|(known, _)| known == name);
            found.map_or("", |(_, value)| value)
        }
    }

    fn parse(bytes: &[u8]) -> Parsed {
        let text = std::str::from_utf8(bytes).expect("UTF-8");
        let (priority, rest) =
            text.strip_prefix('<').and_then(|rest| rest.split_once('>')).expect("a priority");
        assert!(!priority.starts_with('0') || priority == "0");
        let rest = rest.strip_prefix("1 ").expect("version 1");
        let mut words = rest.splitn(6, ' ');
        let fields: Vec<_> = words.by_ref().take(5).map(str::to_owned).collect();
        for (field, longest) in fields.iter().zip([32, 255, 48, 128, 32]) {
            assert!(!field.is_empty() && field.len() <= longest, "{field}");
            assert!(field.bytes().all(|byte| (33..=126).contains(&byte)), "{field}");
        }
        let mut rest = words.next().and_then(|rest| rest.strip_prefix('[')).expect("structured data").chars();
        let mut take_while = |stop: &[char]| {
            let mut taken = String::new();
            loop {
                match rest.next().expect("more") {
                    end if stop.contains(&end) => break (taken, end, rest.clone()),
                    '\\' if stop.contains(&'"') => taken.push(rest.next().expect("an escaped character")),
                    ']' if stop.contains(&'"') => panic!("a bare ] in a value"),
                    other => taken.push(other),
                }
            }
        };
        let is_name = |name: &str| {
            (1..=32).contains(&name.len())
                && name.bytes().all(|b| (33..=126).contains(&b) && !b"=]\"".contains(&b))
        };
        let (sd_id, mut end, mut rest) = take_while(&[' ', ']']);
        assert!(is_name(&sd_id));
        let mut parameters = Vec::new();
        while end == ' ' {
            let (name, _, after) = take_while(&['=']);
            assert!(is_name(&name), "{name}");
            assert_eq!(after.clone().next(), Some('"'));
            let _ = take_while(&['"']);
            let (value, _, _) = take_while(&['"']);
            parameters.push((name, value));
            (_, end, rest) = take_while(&[' ', ']']);
        }
        let text = rest.as_str().strip_prefix(' ').expect("a text").to_owned();
        let priority = priority.parse().expect("a number");
        Parsed { priority, fields, sd_id, parameters, text }
    }

    fn origin() -> Origin {
        Origin::new("sentry.example.net", 4711)
    }

    #[test]
    fn a_message_is_as_rfc_5424_has_it() {
        let parsed = parse(&encode(&firing(1), &origin(), 13));
        assert_eq!(parsed.priority, 13 * 8 + 2);
        let fields = ["2026-06-01T00:00:00.123Z", "sentry.example.net", "portreeve", "4711", "alert/firing"];
        assert_eq!(parsed.fields, fields);
        assert_eq!(parsed.sd_id, "portreeve@32473");
        for (name, value) in [
            ("id", firing(1).id().to_string().as_str()),
            ("fingerprint", "0123456789abcdef0123456789abcdef"),
            ("kind", "exposure"),
            ("severity", "critical"),
            ("transition", "firing"),
            ("ip", "198.18.0.9"),
            ("port", "6379"),
        ] {
            assert_eq!(parsed.value(name), value, "{name}");
        }
        let json: serde_json::Value = serde_json::from_str(&parsed.text).expect("JSON");
        assert_eq!(json, firing(1).json());
        let event = parse(&encode(&event(2, "sweep.completed"), &origin(), 1));
        assert_eq!((event.priority, event.fields[4].as_str()), (14, "sweep.completed"));
    }

    #[test]
    fn nothing_that_others_wrote_leaves_its_place() {
        for hostile in [
            "a\"b\\c]d",
            "\\",
            "]",
            "\"]\n<0>1 - - - - - - forged",
            "\r\n\0\x1b[2J\x7f",
            "\u{202e}txt.exe\u{9b}31m\u{feff}\u{2028}",
            "\u{fc}\u{1f600}\u{e0041}",
            "",
            " ",
            "=",
        ] {
            let message = alert(1, "resolved", hostile);
            for message in [message, event(2, hostile)] {
                let encoded = encode(&message, &Origin::new(hostile, 1), 13);
                let parsed = parse(&encoded);
                assert!(!std::str::from_utf8(&encoded).expect("text").contains(is_unfit), "{hostile:?}");
                let json: serde_json::Value = serde_json::from_str(&parsed.text).expect("JSON");
                assert_eq!(json, message.json(), "{hostile:?}");
                if let Message::Event(_) = message {
                    assert_eq!(parsed.value("kind"), Harmless(hostile).to_string());
                }
            }
        }
    }

    #[test]
    fn what_is_too_long_is_told_in_one_line() {
        let room = LONGEST - encode(&long_event(1, 0), &origin(), 13).len();
        for (length, is_whole) in [(room, true), (room + 1, false), (100_000, false)] {
            let encoded = encode(&long_event(1, length), &origin(), 13);
            let text = parse(&encoded).text;
            assert!(encoded.len() <= LONGEST);
            assert_eq!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), is_whole, "{length}");
            assert_eq!(text.contains("too long for syslog"), !is_whole);
        }
        let long = alert(1, "firing", &"\u{fc}\u{1f600}".repeat(5000));
        let encoded = encode(&long, &origin(), 13);
        assert!(encoded.len() <= LONGEST);
        assert!(parse(&encoded).text.starts_with("[critical] "));
        let kind = event(1, &"\"".repeat(500));
        let parsed = parse(&encode(&kind, &Origin::new(&"h".repeat(300), 1), 255));
        assert_eq!((parsed.value("kind").len(), parsed.priority), (LONGEST_VALUE, 23 * 8 + 6));
    }
}
