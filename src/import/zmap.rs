//! zmap's CSV with a header, of its TCP SYN scan: `saddr` and `sport` are needed, `classification` and `success` say
//! what the answer was. zmap does not say in there what it looked at.

use std::net::IpAddr;

use csv::{ErrorKind, Reader, ReaderBuilder, StringRecord};
use jiff::Timestamp;

use super::error::{Fault, Place, quoted};
use super::feed::Feed;
use super::made::Made;
use crate::survey::host::{Port, Protocol};
use crate::survey::word::PortState;
use crate::target::state::Reason;

const HELP: &str = "scan with -O csv -f saddr,sport,classification,success";

/// Where the columns are that say something.
struct Columns {
    saddr: usize,
    sport: usize,
    classification: Option<usize>,
    success: Option<usize>,
    ttl: Option<usize>,
    time: Option<usize>,
}

pub(super) fn read(feed: &mut Feed<'_>, made: &mut Made) -> Result<(), Fault> {
    let mut reader = ReaderBuilder::new().from_reader(&mut *feed);
    let columns = Columns::of(reader.headers().map_err(|error| torn(&error))?)?;
    if columns.classification.is_none() && columns.success.is_none() {
        made.notes
            .push("no column says that these are open; zmap lists nothing else unless it is told to".into());
    }
    // A record counts when another follows, or the end of its line: the last one of a file that was cut may be half
    // of an address.
    let mut held: Option<StringRecord> = None;
    while let Some(record) = next(&mut reader)? {
        if let Some(held) = held.replace(record) {
            columns.take(&held, made)?;
        }
    }
    let line = reader.position().line();
    if !feed.is_at_line() {
        return Err(Fault::cut(Place::Line(line, 1), "the last line has no end"));
    }
    held.map_or(Ok(()), |held| columns.take(&held, made))
}

fn next(reader: &mut Reader<&mut Feed<'_>>) -> Result<Option<StringRecord>, Fault> {
    reader.get_mut().renew();
    let mut record = StringRecord::new();
    let is_one = reader.read_record(&mut record).map_err(|error| torn(&error))?;
    Ok(is_one.then_some(record))
}

fn torn(error: &csv::Error) -> Fault {
    let place = error.position().map_or(Place::Nowhere, |position| Place::Line(position.line(), 1));
    match error.kind() {
        ErrorKind::Io(cause) => Fault::unreadable(place, cause),
        ErrorKind::UnequalLengths { expected_len, len, .. } => {
            Fault::new(place, format!("{len} fields where the header has {expected_len}"), CUT_OR_MIXED)
        }
        ErrorKind::Utf8 { .. } => Fault::new(place, "a field is not UTF-8", HELP),
        _ => Fault::new(place, error.to_string(), HELP),
    }
}

const CUT_OR_MIXED: &str = "the file has been cut, or is mixed of two: get the whole file, or read what is there as an \
    incomplete run (--partial)";

impl Columns {
    fn of(header: &StringRecord) -> Result<Self, Fault> {
        let names: Vec<String> = header.iter().map(|name| name.trim().replace('_', "-")).collect();
        let at = |name: &str| names.iter().position(|known| known == name);
        let needed = |name: &str| {
            let message = format!("no column `{name}`");
            at(name).ok_or_else(|| Fault::fatal(Place::Line(1, 1), message, HELP))
        };
        for (number, name) in names.iter().enumerate() {
            if names[..number].contains(name) {
                return Err(Fault::fatal(Place::Line(1, 1), format!("two columns {}", quoted(name)), HELP));
            }
        }
        Ok(Columns {
            saddr: needed("saddr")?,
            sport: needed("sport")?,
            classification: at("classification"),
            success: at("success"),
            ttl: at("ttl"),
            time: at("timestamp-ts").or(at("timestamp-str")),
        })
    }

    fn take(&self, record: &StringRecord, made: &mut Made) -> Result<(), Fault> {
        let row = Row { record };
        let ip: IpAddr = row.parsed(self.saddr, "an address", |text| text.parse().ok())?;
        let place = row.place(self.saddr);
        let Some((state, reason)) = self.state(&row)? else { return Ok(()) };
        let number = row.parsed(self.sport, "a port", |text| text.parse::<u16>().ok())?;
        let ttl = match self.ttl {
            Some(at) => Some(row.parsed(at, "a number of hops", |text| text.parse::<u8>().ok())?),
            None => None,
        };
        let time = match self.time {
            Some(at) => Some(row.parsed(at, "a time", time)?),
            None => None,
        };
        let reason = made.builder.word(reason);
        let port = Port { ttl, time, ..Port::new(Protocol::Tcp, number, state, reason) };
        made.see(ip, port, place)
    }

    /// What the answer was; `None` for an ICMP error.
    fn state(&self, row: &Row<'_>) -> Result<Option<(PortState, &'static str)>, Fault> {
        let is_success = match self.success {
            Some(at) => Some(row.parsed(at, "0 or 1", |text| match text {
                "1" | "true" => Some(true),
                "0" | "false" => Some(false),
                _ => None,
            })?),
            None => None,
        };
        let Some(at) = self.classification else {
            let failed = is_success == Some(false);
            return Ok(Some((if failed { PortState::ClosedFiltered } else { PortState::Open }, "")));
        };
        match row.field(at) {
            "synack" | "syn-ack" => Ok(Some((PortState::Open, Reason::SynAck.as_str()))),
            "rst" => Ok(Some((PortState::Closed, Reason::Rst.as_str()))),
            // It comes from a router, and what it is about stands nowhere for certain.
            word if word.starts_with("icmp") => Ok(None),
            other => {
                let message = format!("{} is no classification of a TCP SYN scan", quoted(other));
                Err(Fault::new(row.place(at), message, HELP))
            }
        }
    }
}

/// Seconds since 1970, or a time in words.
fn time(text: &str) -> Option<Timestamp> {
    match text.parse() {
        Ok(seconds) => Timestamp::from_second(seconds).ok(),
        Err(_) => Timestamp::strptime("%Y-%m-%dT%H:%M:%S%.f%z", text).ok(),
    }
}

/// A line.
struct Row<'r> {
    record: &'r StringRecord,
}

impl<'r> Row<'r> {
    fn field(&self, at: usize) -> &'r str {
        self.record.get(at).unwrap_or_default().trim()
    }

    fn parsed<T>(&self, at: usize, what: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T, Fault> {
        let field = self.field(at);
        parse(field)
            .ok_or_else(|| Fault::new(self.place(at), format!("{} is not {what}", quoted(field)), HELP))
    }

    /// Where a field begins, as it does where nothing is quoted.
    fn place(&self, at: usize) -> Place {
        let line = self.record.position().map_or(0, csv::Position::line);
        let before: usize = self.record.iter().take(at).map(|field| field.len() + 1).sum();
        Place::Line(line, before as u64 + 1)
    }
}
