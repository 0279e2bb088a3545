//! masscan's list (`-oL`): `open tcp 80 198.18.0.1 1795677010`, between `#masscan` and `# end`.

use jiff::Timestamp;

use super::error::{Fault, Place, quoted};
use super::feed::Feed;
use super::made::{Made, protocol, text};
use super::masscan_json::mixed;
use crate::survey::host::{More, Port, Service};
use crate::survey::word::PortState;

const HELP: &str = "make sure that this is what masscan wrote with -oL";

pub(super) fn read(feed: &mut Feed<'_>, made: &mut Made) -> Result<(), Fault> {
    let (mut bytes, mut has_begun, mut has_ended) = (Vec::new(), false, false);
    while let Some(number) = feed.line(&mut bytes)? {
        let place = Place::Line(number, 1);
        let no_text = |cause: std::str::Utf8Error| {
            Fault::new(Place::Line(number, cause.valid_up_to() as u64 + 1), "this byte is not UTF-8", HELP)
        };
        let line = std::str::from_utf8(&bytes).map_err(no_text)?.trim_end();
        match line {
            "" => {}
            _ if has_ended => return Err(mixed(place, "the list")),
            "#masscan" if !has_begun => has_begun = true,
            "#masscan" => return Err(mixed(place, "the list")),
            "# end" => has_ended = true,
            _ if line.starts_with('#') => {}
            _ => read_line(line, number, made)?,
        }
    }
    if has_ended {
        return Ok(());
    }
    Err(Fault::cut(Place::Line(feed.line_number(), 1), "the list has no `# end`"))
}

fn read_line(line: &str, number: u64, made: &mut Made) -> Result<(), Fault> {
    let mut words = Words { line, number, at: 0 };
    let place = Place::Line(number, 1);
    let state = match words.next("a state")? {
        "open" => Some(PortState::Open),
        "closed" => Some(PortState::Closed),
        "banner" => None,
        other => return Err(Fault::new(place, format!("{} is no state of masscan's", quoted(other)), HELP)),
    };
    let protocol = words.parsed("a protocol", protocol)?;
    let port = words.parsed("a port", |word| word.parse::<u16>().ok())?;
    let ip = words.parsed("an address", |word| word.parse().ok())?;
    let time = words.parsed("a time", |word| Timestamp::from_second(word.parse().ok()?).ok())?;
    let more = match state {
        None => {
            let name = text(words.next("a service")?);
            let service = Service { name, ..Service::default() };
            Some(Box::new(More { service: Some(service), banner: Some(text(words.rest())) }))
        }
        Some(_) if !words.rest().is_empty() => {
            return Err(Fault::new(words.place(), "something follows behind the time", HELP));
        }
        Some(_) => None,
    };
    let state = state.unwrap_or(PortState::Open);
    let reason = made.builder.word("");
    made.see(ip, Port { time: Some(time), more, ..Port::new(protocol, port, state, reason) }, place)
}

/// The words of a line, one after the other.
struct Words<'l> {
    line: &'l str,
    number: u64,
    at: usize,
}

impl<'l> Words<'l> {
    fn next(&mut self, what: &str) -> Result<&'l str, Fault> {
        let rest = &self.line[self.at..];
        let word = rest.split(' ').next().unwrap_or_default();
        if word.is_empty() {
            return Err(Fault::new(
                self.place(),
                format!("no {}", what.trim_start_matches(['a', 'n', ' '])),
                HELP,
            ));
        }
        self.at = (self.at + word.len() + 1).min(self.line.len());
        Ok(word)
    }

    fn parsed<T>(&mut self, what: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T, Fault> {
        let place = self.place();
        let word = self.next(what)?;
        parse(word).ok_or_else(|| Fault::new(place, format!("{} is not {what}", quoted(word)), HELP))
    }

    fn rest(&self) -> &'l str {
        &self.line[self.at..]
    }

    fn place(&self) -> Place {
        Place::Line(self.number, self.at as u64 + 1)
    }
}
