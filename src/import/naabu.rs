//! naabu's JSON Lines (`-json`): an object for each open port. Like masscan, it does not say what it looked at.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::Deserialize;

use super::error::{Fault, Place, quoted};
use super::feed::Feed;
use super::made::{Made, protocol, text};
use super::masscan_json::from_line;
use crate::survey::host::{Name, NameKind, Port, Protocol};
use crate::survey::word::PortState;

#[derive(Deserialize)]
struct Line {
    host: Option<String>,
    ip: Option<IpAddr>,
    port: Number,
    protocol: Option<String>,
    timestamp: Option<String>,
}

/// Older versions write an object.
#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Plain(u16),
    Object {
        #[serde(alias = "Port")]
        port: u16,
        /// 0 is TCP, 1 is UDP.
        #[serde(alias = "Protocol", default)]
        protocol: u8,
    },
}

const HELP: &str = "make sure that this is what naabu wrote with -json";

pub(super) fn read(feed: &mut Feed<'_>, made: &mut Made) -> Result<(), Fault> {
    let mut bytes = Vec::new();
    while let Some(number) = feed.line(&mut bytes)? {
        if !bytes.trim_ascii().is_empty() {
            take(from_line(&bytes, number)?, Place::Line(number, 1), made)?;
        }
    }
    Ok(())
}

fn take(line: Line, place: Place, made: &mut Made) -> Result<(), Fault> {
    let Line { host, ip, port, protocol: word, timestamp } = line;
    let host = host.unwrap_or_default();
    let no_address = || Fault::new(place, "no address in `ip`, and none in `host`", HELP);
    let ip = ip.or_else(|| host.parse().ok()).ok_or_else(no_address)?;
    let (number, by_number) = match port {
        Number::Plain(number) => (number, Some(Protocol::Tcp)),
        Number::Object { port, protocol: 0 } => (port, Some(Protocol::Tcp)),
        Number::Object { port, protocol: 1 } => (port, Some(Protocol::Udp)),
        Number::Object { port, .. } => (port, None),
    };
    let protocol = match word {
        Some(word) => protocol(&word)
            .ok_or_else(|| Fault::new(place, format!("{} is no protocol", quoted(&word)), HELP))?,
        None => by_number.ok_or_else(|| Fault::new(place, "a protocol without a name", HELP))?,
    };
    let no_time = |stamp: &str| Fault::new(place, format!("{} is no time", quoted(stamp)), HELP);
    let time = timestamp.map(|stamp| stamp.parse::<Timestamp>().map_err(|_| no_time(&stamp))).transpose()?;
    let reason = made.builder.word("");
    made.see(ip, Port { time, ..Port::new(protocol, number, PortState::Open, reason) }, place)?;
    if !host.is_empty() && host.parse::<IpAddr>().is_err() {
        let name = text(&host);
        let about = made.builder.about(ip).map_err(|much| Fault::too_much(place, much))?;
        if !about.names.iter().any(|known| known.name == name) {
            about.names.push(Name { name, kind: NameKind::User });
        }
    }
    Ok(())
}
