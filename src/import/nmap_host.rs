//! One `<host>` of nmap's XML. It is taken in when it has been read to its end, so that none is half there.

use std::net::IpAddr;

use jiff::Timestamp;

use super::error::Fault;
use super::made::{Made, text};
use super::nmap::{LeftOut, address, protocol_of, time};
use super::xml::{Element, Xml};
use crate::survey::builder::TooMuch;
use crate::survey::host::{Group, HostState, More, Name, NameKind, Port, Protocol, Service, Status};
use crate::survey::runs::PortRuns;
use crate::survey::word::PortState;

/// A host as it stands in the file.
#[derive(Default)]
pub(super) struct Heard {
    ip: Option<IpAddr>,
    hardware: Option<(Box<str>, Option<Box<str>>)>,
    pub(super) status: Option<(HostState, String, Option<u8>)>,
    names: Vec<Name>,
    ports: Vec<HeardPort>,
    extras: Vec<Extra>,
    started: Option<Timestamp>,
    ended: Option<Timestamp>,
    pub(super) timed_out: bool,
}

struct HeardPort {
    protocol: Protocol,
    number: u16,
    state: PortState,
    reason: String,
    ttl: Option<u8>,
    more: Option<Box<More>>,
}

/// Ports that are summed up.
struct Extra {
    state: PortState,
    count: u64,
    reasons: Vec<Reasoned>,
}

/// A reason, how many ports have it, and which, where that is said.
type Reasoned = (String, u64, Option<(Protocol, PortRuns)>);

impl Heard {
    /// How many targets are listed.
    pub(super) fn listed(&self) -> u64 {
        self.ports.len() as u64 + self.extras.iter().map(|extra| extra.count).sum::<u64>()
    }
}

pub(super) fn read(xml: &mut Xml<'_, '_>, host: &Element, left_out: &mut LeftOut) -> Result<Heard, Fault> {
    let mut heard = Heard {
        started: time(host, "starttime")?,
        ended: time(host, "endtime")?,
        timed_out: host.get("timedout") == Some("true"),
        ..Heard::default()
    };
    while let Some(element) = xml.child(host)? {
        match element.name.as_str() {
            "status" => heard.status = Some(read_status(&element)?),
            "address" => read_address(&element, &mut heard)?,
            "hostnames" => {
                read_names(xml, &element, &mut heard)?;
                continue;
            }
            "ports" => {
                read_ports(xml, &element, &mut heard, left_out)?;
                continue;
            }
            "hostscript" => left_out.scripts += 1,
            "os" => left_out.systems += 1,
            _ => {}
        }
        xml.skip(&element)?;
    }
    Ok(heard)
}

fn read_status(element: &Element) -> Result<(HostState, String, Option<u8>), Fault> {
    let word = element.need("state")?;
    let state =
        word.parse().map_err(|()| element.fault(format!("`{}` is no state of a host", text(word))))?;
    Ok((state, element.get("reason").unwrap_or_default().to_owned(), ttl(element)?))
}

/// Hops that are left; 0 is what nmap writes where it does not know.
fn ttl(element: &Element) -> Result<Option<u8>, Fault> {
    let Some(hops) = element.get("reason_ttl") else { return Ok(None) };
    let hops: u8 = hops.parse().map_err(|_| element.fault("`reason_ttl` is no number up to 255"))?;
    Ok(Some(hops).filter(|hops| *hops > 0))
}

fn read_address(element: &Element, heard: &mut Heard) -> Result<(), Fault> {
    if element.get("addrtype") == Some("mac") {
        heard.hardware = Some((text(element.need("addr")?), element.get("vendor").map(text)));
        return Ok(());
    }
    let ip = address(element)?;
    match heard.ip.replace(ip) {
        None => Ok(()),
        Some(_) => Err(element.fault("a host with two addresses")),
    }
}

fn read_names(xml: &mut Xml<'_, '_>, parent: &Element, heard: &mut Heard) -> Result<(), Fault> {
    while let Some(element) = xml.child(parent)? {
        if let (true, Some(name)) = (element.name == "hostname", element.get("name")) {
            let kind = match element.get("type") {
                Some("user") => NameKind::User,
                Some("PTR") => NameKind::Ptr,
                _ => NameKind::Unsaid,
            };
            heard.names.push(Name { name: text(name), kind });
        }
        xml.skip(&element)?;
    }
    Ok(())
}

fn read_ports(
    xml: &mut Xml<'_, '_>,
    parent: &Element,
    heard: &mut Heard,
    left_out: &mut LeftOut,
) -> Result<(), Fault> {
    while let Some(element) = xml.child(parent)? {
        match element.name.as_str() {
            "port" => {
                let port = read_port(xml, &element, left_out)?;
                heard.ports.push(port);
            }
            "extraports" => {
                let extra = read_extra(xml, &element)?;
                heard.extras.push(extra);
            }
            _ => xml.skip(&element)?,
        }
    }
    Ok(())
}

fn state_of(element: &Element) -> Result<PortState, Fault> {
    let word = element.need("state")?;
    word.parse().map_err(|()| element.fault(format!("`{}` is no state of a port", text(word))))
}

fn read_port(xml: &mut Xml<'_, '_>, parent: &Element, left_out: &mut LeftOut) -> Result<HeardPort, Fault> {
    let number = parent.need("portid")?;
    let number = number.parse().map_err(|_| parent.fault(format!("`{}` is no port", text(number))))?;
    let protocol = protocol_of(parent)?;
    let (mut state, mut more) = (None, More::default());
    while let Some(element) = xml.child(parent)? {
        match element.name.as_str() {
            "state" => {
                let reason = element.get("reason").unwrap_or_default().to_owned();
                state = Some((state_of(&element)?, reason, ttl(&element)?));
            }
            "service" => {
                more.service = Some(read_service(xml, &element)?);
                continue;
            }
            "script" if element.get("id") == Some("banner") => {
                more.banner = element.get("output").map(text);
            }
            "script" => left_out.scripts += 1,
            _ => {}
        }
        xml.skip(&element)?;
    }
    let Some((state, reason, ttl)) = state else { return Err(parent.fault("a port without <state>")) };
    let has_more = more.service.is_some() || more.banner.is_some();
    Ok(HeardPort { protocol, number, state, reason, ttl, more: has_more.then(|| Box::new(more)) })
}

fn read_service(xml: &mut Xml<'_, '_>, element: &Element) -> Result<Service, Fault> {
    let said = |name: &str| element.get(name).map(text);
    let conf = match element.get("conf") {
        Some(conf) => Some(conf.parse().map_err(|_| element.fault("`conf` is no number up to 10"))?),
        None => None,
    };
    let mut service = Service {
        name: said("name").unwrap_or_default(),
        product: said("product"),
        version: said("version"),
        extrainfo: said("extrainfo"),
        tunnel: said("tunnel"),
        hostname: said("hostname"),
        ostype: said("ostype"),
        devicetype: said("devicetype"),
        method: said("method"),
        conf,
        cpes: Vec::new(),
    };
    while let Some(child) = xml.child(element)? {
        if child.name == "cpe" {
            service.cpes.push(text(&xml.text(&child)?));
        } else {
            xml.skip(&child)?;
        }
    }
    Ok(service)
}

fn read_extra(xml: &mut Xml<'_, '_>, parent: &Element) -> Result<Extra, Fault> {
    let count = |element: &Element| -> Result<u64, Fault> {
        element.need("count")?.parse().map_err(|_| element.fault("`count` is no number"))
    };
    let mut extra = Extra { state: state_of(parent)?, count: count(parent)?, reasons: Vec::new() };
    while let Some(element) = xml.child(parent)? {
        if element.name == "extrareasons" {
            let reason = element.get("reason").unwrap_or_default().to_owned();
            let ports = match element.get("ports") {
                Some(list) => {
                    let ports: PortRuns = list.parse().map_err(|error| element.fault(format!("{error}")))?;
                    if ports.len() != count(&element)? {
                        return Err(element.fault("`count` is not the number of its `ports`"));
                    }
                    Some((protocol_of(&element)?, ports))
                }
                None => None,
            };
            extra.reasons.push((reason, count(&element)?, ports));
        }
        xml.skip(&element)?;
    }
    let sum = extra.reasons.iter().map(|(_, count, _)| *count).fold(0_u64, u64::saturating_add);
    if !extra.reasons.is_empty() && sum != extra.count {
        return Err(parent.fault(format!("{} ports are summed up, and {sum} have a reason", extra.count)));
    }
    Ok(extra)
}

/// Takes in a host that has been read to its end.
pub(super) fn take(
    heard: Heard,
    element: &Element,
    made: &mut Made,
    left_out: &mut LeftOut,
) -> Result<(), Fault> {
    let much = |much: TooMuch| Fault::too_much(element.place(), much);
    let Some(ip) = heard.ip else { return Err(element.fault("a host without an address")) };
    let status = heard.status.map(|(state, reason, ttl)| {
        let reason = made.builder.word(&reason);
        Status { state, reason, ttl }
    });
    let own: Vec<(Protocol, u16)> = heard.ports.iter().map(|port| (port.protocol, port.number)).collect();
    for port in heard.ports {
        let HeardPort { protocol, number, state, reason, ttl, more } = port;
        let reason = made.builder.word(&reason);
        let port = Port { ttl, more, ..Port::new(protocol, number, state, reason) };
        made.builder.keep(ip, port).map_err(much)?;
    }
    let is_alone = heard.extras.len() == 1;
    for extra in heard.extras {
        for group in groups(extra, is_alone, &own, made, left_out) {
            made.builder.group(ip, group).map_err(much)?;
        }
    }
    let about = made.builder.about(ip).map_err(much)?;
    about.names.extend(heard.names);
    about.status = status.or(about.status.take());
    about.hardware = heard.hardware.or(about.hardware.take());
    about.started = heard.started.or(about.started);
    about.ended = heard.ended.or(about.ended);
    about.timed_out |= heard.timed_out;
    Ok(())
}

/// The ports that are summed up. Old versions of nmap do not say which these are: then they are what is left of those
/// that were asked for, where only one sum is made of them.
fn groups(
    extra: Extra,
    is_alone: bool,
    own: &[(Protocol, u16)],
    made: &mut Made,
    left_out: &mut LeftOut,
) -> Vec<Group> {
    let Extra { state, count, reasons } = extra;
    let mut groups = Vec::new();
    let mut unsaid = 0;
    for (reason, count, ports) in &reasons {
        match ports {
            Some((protocol, ports)) => {
                let (reason, ports) = (made.builder.word(reason), ports.clone());
                groups.push(Group { protocol: *protocol, state, reason, ports });
            }
            None => unsaid += count,
        }
    }
    if reasons.is_empty() {
        unsaid = count;
    }
    if unsaid == 0 {
        return groups;
    }
    if let ([scan], true, true) = (made.source.scans.as_slice(), is_alone, groups.is_empty()) {
        let of_it = own.iter().filter(|(protocol, _)| *protocol == scan.protocol);
        let left = scan.ports.minus(&of_it.map(|(_, number)| *number).collect());
        if left.len() == count {
            let protocol = scan.protocol;
            let reason = made.builder.word(if let [(reason, ..)] = reasons.as_slice() { reason } else { "" });
            return vec![Group { protocol, state, reason, ports: left }];
        }
    }
    left_out.unnamed += unsaid;
    groups
}
