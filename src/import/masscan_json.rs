//! masscan's JSON: an array with an element for each answer (`-oJ`), or an object a line (`-oD`).
//!
//! masscan does not say what it looked at, and a run that was stopped leaves the same file as one that was done, so no
//! survey of it is known to be complete.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::Deserialize;

use super::error::{Fault, Place, quoted};
use super::feed::Feed;
use super::made::{Made, protocol, text};
use crate::survey::host::{More, Port, Service};
use crate::survey::word::PortState;

/// An element of the array.
#[derive(Deserialize)]
struct Element {
    ip: IpAddr,
    timestamp: Option<Stamp>,
    ports: Vec<Answer>,
}

#[derive(Deserialize)]
struct Answer {
    port: u16,
    proto: String,
    status: Option<String>,
    reason: Option<String>,
    ttl: Option<u8>,
    service: Option<Said>,
}

#[derive(Default, Deserialize)]
struct Said {
    #[serde(alias = "service_name")]
    name: Option<String>,
    banner: Option<String>,
}

/// A line of the other form.
#[derive(Deserialize)]
struct Line {
    ip: IpAddr,
    timestamp: Option<Stamp>,
    port: u16,
    proto: String,
    rec_type: String,
    #[serde(default)]
    data: Data,
}

#[derive(Default, Deserialize)]
struct Data {
    status: Option<String>,
    reason: Option<String>,
    ttl: Option<u8>,
    service_name: Option<String>,
    banner: Option<String>,
}

/// Seconds since the epoch, which masscan writes as text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Stamp {
    Text(String),
    Number(i64),
}

impl Stamp {
    fn time(&self) -> Option<Timestamp> {
        let seconds = match self {
            Stamp::Text(text) => text.parse().ok()?,
            Stamp::Number(seconds) => *seconds,
        };
        Timestamp::from_second(seconds).ok()
    }
}

pub(super) fn read(feed: &mut Feed<'_>, made: &mut Made) -> Result<(), Fault> {
    skip_space(feed)?;
    match feed.peek()? {
        Some(b'[') => read_array(feed, made),
        Some(b'{') => read_lines(feed, made),
        _ => Err(Fault::fatal(feed.place(), "no `[` and no `{`, with which masscan's JSON begins", HELP)),
    }
}

const HELP: &str = "make sure that this is what masscan wrote with -oJ or -oD";

fn read_array(feed: &mut Feed<'_>, made: &mut Made) -> Result<(), Fault> {
    take(feed)?;
    skip_space(feed)?;
    if feed.peek()? == Some(b']') {
        take(feed)?;
        return nothing_more(feed);
    }
    loop {
        feed.renew();
        skip_space(feed)?;
        let place = feed.place();
        match feed.peek()? {
            Some(b'{') => {}
            None => return Err(Fault::cut(place, "the array has no end")),
            Some(b']') => {
                let help = "old versions of masscan write a comma before the `]`: take it out";
                return Err(Fault::new(place, "no element behind the comma", help));
            }
            Some(_) => return Err(Fault::new(place, "an element of the array is no object", HELP)),
        }
        let element = {
            let mut json = serde_json::Deserializer::from_reader(&mut *feed);
            Element::deserialize(&mut json)
        };
        let element = element.map_err(|cause| in_element(&cause, place, feed.place()))?;
        take_element(element, place, made)?;
        skip_space(feed)?;
        match take(feed)? {
            Some(b',') => {}
            Some(b']') => return nothing_more(feed),
            None => return Err(Fault::cut(feed.place(), "the array has no end")),
            Some(_) => return Err(Fault::new(feed.place(), "no `,` and no `]` behind an element", HELP)),
        }
    }
}

fn in_element(cause: &serde_json::Error, begins: Place, place: Place) -> Fault {
    if cause.is_eof() {
        return Fault::cut(place, "an element of the array has no end");
    }
    if cause.is_io() {
        return Fault::new(begins, without_place(cause), HELP);
    }
    let what = without_place(cause);
    if what.contains("key must be a string") {
        let help = "masscan before 1.3 writes `{finished: 1}` at the end, which is no JSON: take it and the comma \
                    before it out";
        return Fault::new(place, what, help);
    }
    Fault::new(place, what, HELP)
}

fn take_element(element: Element, place: Place, made: &mut Made) -> Result<(), Fault> {
    let time = time_of(element.timestamp.as_ref(), place)?;
    for answer in element.ports {
        let Answer { port, proto, status, reason, ttl, service } = answer;
        let said = service.unwrap_or_default();
        let heard = Heard { ip: element.ip, port, proto, status, reason, ttl, said, time };
        heard.take(place, made)?;
    }
    Ok(())
}

fn read_lines(feed: &mut Feed<'_>, made: &mut Made) -> Result<(), Fault> {
    let mut bytes = Vec::new();
    while let Some(number) = feed.line(&mut bytes)? {
        if bytes.trim_ascii().is_empty() {
            continue;
        }
        let place = Place::Line(number, 1);
        let line: Line = from_line(&bytes, number)?;
        let time = time_of(line.timestamp.as_ref(), place)?;
        if !matches!(line.rec_type.as_str(), "status" | "banner") {
            made.notes
                .push(format!("line {number}: a record of type {} is left out", quoted(&line.rec_type)));
            continue;
        }
        let Data { status, reason, ttl, service_name, banner } = line.data;
        let said = Said { name: service_name, banner };
        let Line { ip, port, proto, .. } = line;
        Heard { ip, port, proto, status, reason, ttl, said, time }.take(place, made)?;
    }
    Ok(())
}

/// A line of JSON.
pub(super) fn from_line<'l, T: Deserialize<'l>>(line: &'l [u8], number: u64) -> Result<T, Fault> {
    serde_json::from_slice(line).map_err(|cause| {
        let place = Place::Line(number, cause.column().max(1) as u64);
        let help = "each line has to be one whole JSON object, as the scanner wrote it";
        Fault::new(place, without_place(&cause), help)
    })
}

/// What is wrong, without the place, which is told by itself.
fn without_place(cause: &serde_json::Error) -> String {
    let told = cause.to_string();
    let end = told.rfind(" at line ").unwrap_or(told.len());
    told[..end].to_owned()
}

fn time_of(stamp: Option<&Stamp>, place: Place) -> Result<Option<Timestamp>, Fault> {
    let Some(stamp) = stamp else { return Ok(None) };
    let no_time = || Fault::new(place, "the timestamp is no number of seconds since 1970", HELP);
    stamp.time().map(Some).ok_or_else(no_time)
}

/// An answer, in either form.
struct Heard {
    ip: IpAddr,
    port: u16,
    proto: String,
    status: Option<String>,
    reason: Option<String>,
    ttl: Option<u8>,
    said: Said,
    time: Option<Timestamp>,
}

impl Heard {
    fn take(self, place: Place, made: &mut Made) -> Result<(), Fault> {
        let Heard { ip, port, proto, status, reason, ttl, said, time } = self;
        let Some(protocol) = protocol(&proto) else {
            if proto == "icmp" {
                return Ok(());
            }
            return Err(Fault::new(place, format!("{} is no protocol", quoted(&proto)), HELP));
        };
        let state = match (status.as_deref(), said.name.is_some() || said.banner.is_some()) {
            (Some("open"), _) | (None, true) => PortState::Open,
            (Some("closed"), _) => PortState::Closed,
            (Some(other), _) => {
                return Err(Fault::new(place, format!("{} is no state of masscan's", quoted(other)), HELP));
            }
            (None, false) => return Err(Fault::new(place, "an answer with neither state nor banner", HELP)),
        };
        let reason = made.builder.word(reason.as_deref().unwrap_or_default());
        let more = more(said);
        let port =
            Port { ttl: ttl.filter(|ttl| *ttl > 0), time, more, ..Port::new(protocol, port, state, reason) };
        made.see(ip, port, place)
    }
}

fn more(said: Said) -> Option<Box<More>> {
    let service = said.name.map(|name| Service { name: text(&name), ..Service::default() });
    let banner = said.banner.map(|banner| text(&banner));
    (service.is_some() || banner.is_some()).then(|| Box::new(More { service, banner }))
}

fn skip_space(feed: &mut Feed<'_>) -> Result<(), Fault> {
    while feed.peek()?.is_some_and(|byte| byte.is_ascii_whitespace()) {
        take(feed)?;
    }
    Ok(())
}

/// The next byte, which is gone then.
fn take(feed: &mut Feed<'_>) -> Result<Option<u8>, Fault> {
    let byte = feed.peek()?;
    if byte.is_some() {
        std::io::BufRead::consume(feed, 1);
    }
    Ok(byte)
}

fn nothing_more(feed: &mut Feed<'_>) -> Result<(), Fault> {
    feed.renew();
    skip_space(feed)?;
    match feed.peek()? {
        None => Ok(()),
        Some(_) => Err(mixed(feed.place(), "the array")),
    }
}

/// Something follows where a file should end.
pub(super) fn mixed(place: Place, behind: &str) -> Fault {
    let help = "it seems to be of several runs, one behind the other: split it, and name each file";
    Fault::fatal(place, format!("something follows behind the end of {behind}"), help)
}
