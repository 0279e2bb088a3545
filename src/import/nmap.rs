//! nmap's XML (`-oX`), and masscan's imitation of it.
//!
//! A run of nmap that came to its end says so in `<finished exit="success">`, and lists the state of every port that it
//! looked at, one by one or summed up. What it did not look at is another matter: ports of addresses that did not
//! answer its ping, hosts that took too long, hosts that `--open` keeps out of the file.

use std::net::IpAddr;

use jiff::Timestamp;

use super::error::Fault;
use super::feed::Feed;
use super::made::{Made, text};
use super::masscan_json::mixed;
use super::nmap_host::{self, Heard};
use super::xml::{Element, Xml};
use crate::survey::host::{HostState, Protocol};
use crate::survey::runs::PortRuns;
use crate::survey::{Coverage, Ending, HostCounts, Scan};

/// What is left out of a file, beside what everybody leaves out, and how often.
#[derive(Default)]
pub(super) struct LeftOut {
    pub(super) scripts: u64,
    pub(super) systems: u64,
    /// Ports that are summed up without being named.
    pub(super) unnamed: u64,
}

/// What there is to say of hosts as a whole.
#[derive(Default)]
struct Tally {
    up: u64,
    /// Down, and nothing said of their ports.
    down_unscanned: u64,
    down: u64,
    timed_out: u64,
    /// Hosts of which not every port is listed.
    gaps: u64,
}

pub(super) fn read(feed: &mut Feed<'_>, made: &mut Made) -> Result<(), Fault> {
    let mut xml = Xml::new(feed);
    let root = xml.root()?;
    if root.name != "nmaprun" {
        return Err(root.fault(format!("<{}> is not nmap's <nmaprun>", text(&root.name))));
    }
    let is_nmap = read_root(&root, made)?;
    let (mut tally, mut left_out) = (Tally::default(), LeftOut::default());
    let mut is_over = false;
    while let Some(element) = xml.child(&root)? {
        match element.name.as_str() {
            "scaninfo" => {
                read_scan(&element, made)?;
                xml.skip(&element)?;
            }
            "host" => {
                let heard = nmap_host::read(&mut xml, &element, &mut left_out)?;
                tally.count(&heard, &made.source.scans);
                nmap_host::take(heard, &element, made, &mut left_out)?;
            }
            "runstats" => {
                read_end(&mut xml, &element, made)?;
                is_over = true;
            }
            "prescript" | "postscript" => {
                left_out.scripts += 1;
                xml.skip(&element)?;
            }
            "nmaprun" => return Err(mixed(element.place(), "a part of the document")),
            _ => xml.skip(&element)?,
        }
    }
    xml.finish()?;
    if !is_over {
        made.ending = Ending::Incomplete("it has no <runstats>: the run was stopped".to_owned());
    }
    conclude(&tally, &left_out, is_nmap, made);
    Ok(())
}

/// Returns whether nmap itself, or this program in its form, has written the file.
fn read_root(root: &Element, made: &mut Made) -> Result<bool, Fault> {
    let scanner = root.need("scanner")?;
    if !matches!(scanner, "nmap" | "masscan") {
        return Err(root.fault(format!("`{}` is no known scanner", text(scanner))));
    }
    made.source.tool = scanner.to_owned();
    made.source.version = root.get("version").map(|version| text(version).into());
    made.source.args = root.get("args").map(|args| text(args).into());
    let wrote = root.get("profile_name").and_then(|name| name.split_once('/'));
    let wrote = wrote.filter(|(tool, _)| ["portreeve", "masscan", "zmap", "naabu"].contains(tool));
    if let Some((tool, version)) = wrote {
        made.source.tool = tool.to_owned();
        made.source.version = (!version.is_empty()).then(|| text(version).into());
    }
    made.source.started = time(root, "start")?;
    Ok(scanner == "nmap")
}

fn read_scan(element: &Element, made: &mut Made) -> Result<(), Fault> {
    let protocol = protocol_of(element)?;
    let Some(services) = element.get("services") else { return Ok(()) };
    let ports: PortRuns = services.parse().map_err(|error| element.fault(format!("services: {error}")))?;
    if let Some(count) = element.get("numservices") {
        let count: u64 = count.parse().map_err(|_| element.fault("numservices is no number"))?;
        if count != ports.len() {
            let message = format!("numservices is {count}, and services lists {}", ports.len());
            return Err(element.fault(message));
        }
    }
    let kind = text(element.get("type").unwrap_or_default()).into();
    made.source.scans.push(Scan { kind, protocol, ports });
    Ok(())
}

fn read_end(xml: &mut Xml<'_, '_>, parent: &Element, made: &mut Made) -> Result<(), Fault> {
    while let Some(element) = xml.child(parent)? {
        match element.name.as_str() {
            "finished" => {
                made.source.ended = time(&element, "time")?.or(made.source.ended);
                made.ending = match element.get("exit") {
                    Some("success") => Ending::Complete,
                    Some(_) => {
                        let why = element.get("errormsg").unwrap_or("it does not say why");
                        Ending::Incomplete(text(why).into())
                    }
                    None => Ending::Unsaid,
                };
            }
            "hosts" => {
                let number = |name: &str| match element.get(name) {
                    Some(number) => {
                        number.parse().map_err(|_| element.fault(format!("`{name}` is no number")))
                    }
                    None => Ok(0),
                };
                let (up, down) = (number("up")?, number("down")?);
                made.source.counts = Some(HostCounts { up, down, total: number("total")? });
            }
            _ => {}
        }
        xml.skip(&element)?;
    }
    Ok(())
}

impl Tally {
    fn count(&mut self, heard: &Heard, scans: &[Scan]) {
        let is_down = heard.status.as_ref().is_some_and(|(state, ..)| *state == HostState::Down);
        let is_listed = heard.listed() > 0;
        self.up += u64::from(!is_down);
        self.down += u64::from(is_down);
        self.down_unscanned += u64::from(is_down && !is_listed);
        self.timed_out += u64::from(heard.timed_out);
        if !is_down && !heard.timed_out {
            self.gaps += u64::from(wanted(scans) > heard.listed());
        }
    }
}

/// How many targets each host has.
fn wanted(scans: &[Scan]) -> u64 {
    let mut all: Vec<(Protocol, PortRuns)> = Vec::new();
    for scan in scans {
        match all.iter_mut().find(|(protocol, _)| *protocol == scan.protocol) {
            Some((_, ports)) => *ports = ports.union(&scan.ports),
            None => all.push((scan.protocol, scan.ports.clone())),
        }
    }
    all.iter().map(|(_, ports)| ports.len()).sum()
}

/// What the file proves.
fn conclude(tally: &Tally, left_out: &LeftOut, is_nmap: bool, made: &mut Made) {
    if left_out.scripts > 0 {
        made.notes.push(format!("left out: what {} scripts said", left_out.scripts));
    }
    if left_out.systems > 0 {
        made.notes.push(format!("left out: guesses at the operating systems of {} hosts", left_out.systems));
    }
    if !is_nmap {
        made.ending = match std::mem::replace(&mut made.ending, Ending::Unsaid) {
            Ending::Complete => Ending::Unsaid,
            other => other,
        };
        return;
    }
    let before = made.notes.len();
    let mut gap = |count: u64, what: &str| {
        if count > 0 {
            made.notes.push(format!("{count} {what}"));
        }
    };
    let counts = made.source.counts.unwrap_or_default();
    gap(counts.up.saturating_sub(tally.up), "hosts that are up are not in the file, as with --open");
    let down = counts.down.saturating_sub(tally.down) + tally.down_unscanned;
    gap(down, "addresses did not answer a ping, so that their ports were not looked at; -Pn looks at all");
    gap(tally.timed_out, "hosts took too long, and nothing is known of their ports");
    gap(left_out.unnamed, "ports are counted, and not named, as by old versions of nmap");
    gap(tally.gaps, "hosts have ports that are not listed");
    let is_whole = made.notes.len() == before && !made.source.scans.is_empty();
    if is_whole && made.ending == Ending::Complete {
        made.coverage = Coverage::Listed;
    }
}

/// An attribute with a time in seconds.
pub(super) fn time(element: &Element, name: &str) -> Result<Option<Timestamp>, Fault> {
    let Some(seconds) = element.get(name) else { return Ok(None) };
    let time = seconds.parse().ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    time.map(Some).ok_or_else(|| element.fault(format!("`{name}` is no number of seconds since 1970")))
}

pub(super) fn protocol_of(element: &Element) -> Result<Protocol, Fault> {
    let word = element.get("protocol").or(element.get("proto")).unwrap_or("tcp");
    word.parse().map_err(|()| element.fault(format!("`{}` is no protocol", text(word))))
}

/// An address, in its one spelling.
pub(super) fn address(element: &Element) -> Result<IpAddr, Fault> {
    let text = element.need("addr")?;
    let address: Result<IpAddr, _> = text.parse();
    let no_address = |_| element.fault(format!("`{}` is no address", super::made::text(text)));
    address.map(|ip| ip.to_canonical()).map_err(no_address)
}
