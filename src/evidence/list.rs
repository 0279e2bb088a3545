//! The list of what was found open, for spreadsheets: a line for each target, and what policy says of it.

use std::collections::HashMap;
use std::io;

use jiff::Timestamp;

use super::observation::TargetLine;
use super::recount::Recount;
use crate::policy::finding::Finding;
use crate::sink::csv::cell;
use crate::target::ports::service;

/// The columns, in their order. New ones are added at the end.
pub const COLUMNS: [&str; 16] = [
    "time",
    "tile",
    "ip",
    "names",
    "port",
    "transport",
    "service",
    "state",
    "reason",
    "tries",
    "rtt_us",
    "ttl",
    "verification",
    "severity",
    "finding",
    "banner",
];

/// The list, as CSV.
///
/// # Errors
/// When there is no memory for it.
pub fn csv(recount: &Recount, findings: &[Finding]) -> io::Result<Vec<u8>> {
    let judged: HashMap<_, _> =
        findings.iter().filter_map(|finding| Some(((finding.ip?, finding.port?), finding))).collect();
    let mut writer = ::csv::Writer::from_writer(Vec::new());
    writer.write_record(COLUMNS)?;
    for line in &recount.lines {
        let target = line.observation.target;
        let finding = judged.get(&(target.ip.to_canonical(), target.port)).copied();
        writer.write_record(cells(line, finding).iter().map(|text| cell(text).into_owned()))?;
    }
    writer.into_inner().map_err(::csv::IntoInnerError::into_error)
}

fn cells(line: &TargetLine, finding: Option<&Finding>) -> [String; 16] {
    let seen = &line.observation;
    let number = |number: Option<u32>| number.map_or_else(String::new, |number| number.to_string());
    let time: Timestamp = line.time;
    [
        format!("{time:.3}"),
        line.tile.to_string(),
        seen.target.ip.to_string(),
        line.names.join(" "),
        seen.target.port.to_string(),
        seen.target.transport.to_string(),
        service(seen.target.port).map_or_else(String::new, |service| service.name.to_owned()),
        seen.state.to_string(),
        seen.reason.map_or_else(String::new, |reason| reason.as_str().to_owned()),
        seen.tries.to_string(),
        number(seen.rtt_us),
        number(seen.ttl.map(u32::from)),
        line.verification.as_str().to_owned(),
        finding.map_or_else(String::new, |finding| finding.severity.to_string()),
        finding.map_or_else(String::new, |finding| finding.message.clone()),
        line.banner.as_ref().map_or_else(String::new, |banner| String::from(banner.text.clone())),
    ]
}
