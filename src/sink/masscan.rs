//! masscan's JSON: an array with an element for each port that answered, and `[]` where none did.
//!
//! It has no way to say what was looked at, nor whether the run came to its end: that is for the exit status.

use std::io::{self, Write};

use jiff::Timestamp;
use serde::Serialize;

use super::plain;
use crate::survey::Survey;
use crate::survey::host::{Port, Protocol, Sight};
use crate::survey::word::PortState;

/// Writes the ports of a survey that answered.
///
/// # Errors
/// When the output fails.
pub fn write(out: &mut dyn Write, survey: &Survey) -> io::Result<()> {
    let otherwise = survey.source.ended.or(survey.source.started).map_or(0, Timestamp::as_second);
    let mut begin = "[\n";
    for host in &survey.hosts {
        let ip = host.ip.to_string();
        let (listed, summed) = (host.ports.iter().map(Answer::of), host.groups.iter());
        let summed = summed.flat_map(|group| {
            let (sight, protocol) = (group.sight(), group.protocol);
            group.ports.iter().filter_map(move |number| Answer::new(sight, protocol, number, None))
        });
        for (answer, time) in listed.flatten().chain(summed.map(|answer| (answer, None))) {
            let timestamp = time.unwrap_or(otherwise).to_string();
            out.write_all(begin.as_bytes())?;
            out.write_all(&plain::to_vec(&Element { ip: &ip, timestamp, ports: [answer] })?)?;
            begin = ",\n";
        }
    }
    let end: &[u8] = if begin == ",\n" { b"\n]\n" } else { b"[]\n" };
    out.write_all(end)?;
    out.flush()
}

#[derive(Serialize)]
struct Element<'a> {
    ip: &'a str,
    timestamp: String,
    ports: [Answer; 1],
}

#[derive(Serialize)]
struct Answer {
    port: u16,
    proto: &'static str,
    status: &'static str,
    reason: &'static str,
    ttl: u8,
}

impl Answer {
    fn of(port: &Port) -> Option<(Self, Option<i64>)> {
        let answer = Answer::new(port.sight(), port.protocol, port.number, port.ttl)?;
        Some((answer, port.time.map(Timestamp::as_second)))
    }

    /// masscan knows of two states. A contradiction has accepted a handshake.
    fn new(sight: Sight, protocol: Protocol, port: u16, ttl: Option<u8>) -> Option<Self> {
        let (status, reason) = match sight.state {
            PortState::Open | PortState::Conflict if protocol == Protocol::Tcp => ("open", "syn-ack"),
            PortState::Open => ("open", ""),
            PortState::Closed if protocol == Protocol::Tcp => ("closed", "rst"),
            _ => return None,
        };
        Some(Answer { port, proto: protocol.as_str(), status, reason, ttl: ttl.unwrap_or(0) })
    }
}
