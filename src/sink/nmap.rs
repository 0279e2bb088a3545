//! nmap's XML, so that whatever reads nmap reads us: its own `ndiff`, report makers, databases of findings.
//!
//! The document type allows no scanner but nmap, so that another one's name stands in `profile_name`. What is not open
//! is summed up as nmap does it, with the numbers of the ports. States that nmap does not have are the nearest that it
//! has, with our own word for the reason, so that [`crate::survey::word::PortState::by_reason`] gets them back.

use std::borrow::Cow;
use std::io::{self, Write};

use jiff::Timestamp;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};
use quick_xml::writer::Writer;

use crate::survey::host::{About, Group, Host, HostState, NameKind, Port, Protocol, Service, Status};
use crate::survey::word::{PortState, in_nmap};
use crate::survey::{Ending, HostCounts, Survey};
use crate::target::foreign::harmless;
use crate::target::ports;

/// The version of nmap whose form this is.
const NMAP: &str = "7.93";

/// Writes a survey.
///
/// # Errors
/// When the output fails.
pub fn write(out: &mut dyn Write, survey: &Survey) -> io::Result<()> {
    let mut xml = Xml { writer: Writer::new(out) };
    xml.event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    xml.line()?;
    xml.event(Event::DocType(BytesText::from_escaped("nmaprun")))?;
    xml.line()?;
    xml.begin("nmaprun", &root(survey))?;
    for scan in &survey.source.scans {
        let (count, services) = (scan.ports.len().to_string(), scan.ports.to_string());
        let protocol = scan.protocol.as_str();
        let attributes = [
            ("type", scan.kind.as_str()),
            ("protocol", protocol),
            ("numservices", &count),
            ("services", &services),
        ];
        xml.line()?;
        xml.empty("scaninfo", &attributes.map(|(name, value)| (name, value.into())))?;
    }
    xml.line()?;
    xml.empty("verbose", &[("level", "0".into())])?;
    xml.line()?;
    xml.empty("debugging", &[("level", "0".into())])?;
    let is_ours = survey.source.tool == OURS;
    for host in &survey.hosts {
        xml.line()?;
        write_host(&mut xml, host, is_ours)?;
    }
    xml.line()?;
    write_end(&mut xml, survey)?;
    xml.line()?;
    xml.end("nmaprun")?;
    xml.line()?;
    xml.writer.get_mut().flush()
}

/// The tool that is this program.
const OURS: &str = env!("CARGO_PKG_NAME");

type Attribute<'a> = (&'static str, Cow<'a, str>);

struct Xml<'w> {
    writer: Writer<&'w mut dyn Write>,
}

impl Xml<'_> {
    fn begin(&mut self, name: &'static str, attributes: &[Attribute<'_>]) -> io::Result<()> {
        self.event(Event::Start(tag(name, attributes)))
    }

    fn empty(&mut self, name: &'static str, attributes: &[Attribute<'_>]) -> io::Result<()> {
        self.event(Event::Empty(tag(name, attributes)))
    }

    fn end(&mut self, name: &'static str) -> io::Result<()> {
        self.event(Event::End(BytesEnd::new(name)))
    }

    fn text(&mut self, text: &str) -> io::Result<()> {
        self.event(Event::Text(BytesText::new(&harmless(text))))
    }

    fn line(&mut self) -> io::Result<()> {
        self.writer.get_mut().write_all(b"\n")
    }

    fn event(&mut self, event: Event<'_>) -> io::Result<()> {
        self.writer.write_event(event)
    }
}

/// A tag. The one way in for foreign text, and no character gets by that XML 1.0 does not allow (section 2.2).
fn tag(name: &'static str, attributes: &[Attribute<'_>]) -> BytesStart<'static> {
    let mut tag = BytesStart::new(name);
    for (name, value) in attributes {
        tag.push_attribute((*name, &*harmless(value)));
    }
    tag
}

fn root(survey: &Survey) -> Vec<Attribute<'_>> {
    let source = &survey.source;
    let mut root: Vec<Attribute<'_>> = vec![("scanner", "nmap".into())];
    root.extend(source.args.as_ref().map(|args| ("args", args.into())));
    root.extend(source.started.map(|time| ("start", seconds(time))));
    let version = source.version.as_deref();
    if source.tool == "nmap" {
        root.push(("version", version.unwrap_or(NMAP).into()));
    } else {
        root.push(("version", NMAP.into()));
        root.push(("profile_name", format!("{}/{}", source.tool, version.unwrap_or_default()).into()));
    }
    root.push(("xmloutputversion", "1.05".into()));
    root
}

fn seconds(time: Timestamp) -> Cow<'static, str> {
    time.as_second().to_string().into()
}

fn write_host(xml: &mut Xml<'_>, host: &Host, is_ours: bool) -> io::Result<()> {
    let nothing = About::default();
    let about = host.about.as_deref().unwrap_or(&nothing);
    let mut attributes: Vec<Attribute<'_>> = Vec::new();
    attributes.extend(about.started.map(|time| ("starttime", seconds(time))));
    attributes.extend(about.ended.map(|time| ("endtime", seconds(time))));
    attributes.extend(about.timed_out.then_some(("timedout", "true".into())));
    xml.begin("host", &attributes)?;
    write_status(xml, about.status.as_ref())?;
    xml.line()?;
    let family = if host.ip.is_ipv4() { "ipv4" } else { "ipv6" };
    xml.empty("address", &[("addr", host.ip.to_string().into()), ("addrtype", family.into())])?;
    if let Some((address, vendor)) = &about.hardware {
        let mut attributes = vec![("addr", (&**address).into()), ("addrtype", "mac".into())];
        attributes.extend(vendor.as_deref().map(|vendor| ("vendor", vendor.into())));
        xml.line()?;
        xml.empty("address", &attributes)?;
    }
    // Readers rely on it, even where there is none.
    xml.line()?;
    xml.begin("hostnames", &[])?;
    for name in &about.names {
        let mut attributes = vec![("name", (&*name.name).into())];
        match name.kind {
            NameKind::User => attributes.push(("type", "user".into())),
            NameKind::Ptr => attributes.push(("type", "PTR".into())),
            NameKind::Unsaid => {}
        }
        xml.empty("hostname", &attributes)?;
    }
    xml.end("hostnames")?;
    if !host.ports.is_empty() || !host.groups.is_empty() {
        xml.line()?;
        write_ports(xml, host, is_ours)?;
    }
    xml.line()?;
    xml.end("host")
}

fn write_status(xml: &mut Xml<'_>, status: Option<&Status>) -> io::Result<()> {
    let (state, reason, ttl) = match status {
        Some(status) => (status.state.as_str(), in_nmap(&status.reason), status.ttl),
        None => (HostState::Unknown.as_str(), "unknown", None),
    };
    xml.empty("status", &[("state", state.into()), ("reason", reason.into()), ("reason_ttl", hops(ttl))])
}

fn hops(ttl: Option<u8>) -> Cow<'static, str> {
    ttl.unwrap_or(0).to_string().into()
}

fn write_ports(xml: &mut Xml<'_>, host: &Host, is_ours: bool) -> io::Result<()> {
    xml.begin("ports", &[])?;
    let mut told: Vec<&str> = Vec::new();
    for group in &host.groups {
        let (state, _) = in_nmaps_words(group.state, &group.reason);
        if !told.contains(&state) {
            told.push(state);
            write_extra(xml, state, &host.groups)?;
        }
    }
    for port in &host.ports {
        xml.line()?;
        write_port(xml, port, is_ours)?;
    }
    xml.line()?;
    xml.end("ports")
}

/// All groups in one of nmap's states together, each with its reason and its ports.
fn write_extra(xml: &mut Xml<'_>, state: &'static str, groups: &[Group]) -> io::Result<()> {
    let those = || groups.iter().filter(|group| in_nmaps_words(group.state, &group.reason).0 == state);
    let count: u64 = those().map(|group| group.ports.len()).sum();
    xml.begin("extraports", &[("state", state.into()), ("count", count.to_string().into())])?;
    for group in those() {
        let (_, reason) = in_nmaps_words(group.state, &group.reason);
        let (count, ports) = (group.ports.len().to_string(), group.ports.to_string());
        let protocol = group.protocol.as_str();
        xml.line()?;
        let attributes = [("reason", reason), ("count", &count), ("proto", protocol), ("ports", &ports)];
        xml.empty("extrareasons", &attributes.map(|(name, value)| (name, value.into())))?;
    }
    xml.line()?;
    xml.end("extraports")?;
    xml.line()
}

/// A state and its reason as nmap has them.
fn in_nmaps_words(state: PortState, reason: &str) -> (&'static str, &str) {
    let state = match state {
        PortState::Unreachable => PortState::Filtered,
        PortState::Conflict => PortState::Open,
        state => state,
    };
    (state.as_str(), in_nmap(reason))
}

fn write_port(xml: &mut Xml<'_>, port: &Port, is_ours: bool) -> io::Result<()> {
    let number = port.number.to_string();
    xml.begin("port", &[("protocol", port.protocol.as_str().into()), ("portid", number.into())])?;
    let (state, reason) = in_nmaps_words(port.state, &port.reason);
    xml.empty(
        "state",
        &[("state", state.into()), ("reason", reason.into()), ("reason_ttl", hops(port.ttl))],
    )?;
    let more = port.more.as_deref();
    match more.and_then(|more| more.service.as_ref()) {
        Some(service) => write_service(xml, service)?,
        None => {
            let known = ports::service(port.number).filter(|_| is_ours && port.protocol == Protocol::Tcp);
            if let Some(known) = known {
                let guess = Service { name: known.name.into(), ..Service::default() };
                write_service(xml, &guess)?;
            }
        }
    }
    if let Some(banner) = more.and_then(|more| more.banner.as_deref()) {
        xml.empty("script", &[("id", "banner".into()), ("output", banner.into())])?;
    }
    xml.end("port")
}

fn write_service(xml: &mut Xml<'_>, service: &Service) -> io::Result<()> {
    // The document type wants to know how it was found out. What nobody says is a guess by the number.
    let method = service.method.as_deref().filter(|method| matches!(*method, "table" | "probed"));
    let conf = service.conf.unwrap_or(GUESS).min(10).to_string();
    let mut attributes: Vec<Attribute<'_>> = vec![("name", (&*service.name).into())];
    let optional = [
        ("product", &service.product),
        ("version", &service.version),
        ("extrainfo", &service.extrainfo),
        ("hostname", &service.hostname),
        ("ostype", &service.ostype),
        ("devicetype", &service.devicetype),
    ];
    attributes.extend(optional.into_iter().filter_map(|(name, said)| Some((name, said.as_deref()?.into()))));
    let is_tls = service.tunnel.as_deref() == Some("ssl");
    attributes.extend(is_tls.then_some(("tunnel", "ssl".into())));
    attributes.extend([("method", method.unwrap_or("table").into()), ("conf", conf.into())]);
    if service.cpes.is_empty() {
        return xml.empty("service", &attributes);
    }
    xml.begin("service", &attributes)?;
    for cpe in &service.cpes {
        xml.begin("cpe", &[])?;
        xml.text(cpe)?;
        xml.end("cpe")?;
    }
    xml.end("service")
}

/// How sure nmap is of what it knows by the number of the port alone.
const GUESS: u8 = 3;

fn write_end(xml: &mut Xml<'_>, survey: &Survey) -> io::Result<()> {
    let source = &survey.source;
    let ended = source.ended.or(source.started);
    let elapsed = match (source.started, source.ended) {
        (Some(started), Some(ended)) => ended.duration_since(started).as_secs_f64(),
        _ => 0.0,
    };
    let time = ended.map_or(Cow::Borrowed("0"), seconds);
    let mut finished: Vec<Attribute<'_>> = vec![("time", time), ("elapsed", format!("{elapsed:.2}").into())];
    match &survey.ending {
        Ending::Complete => finished.push(("exit", "success".into())),
        Ending::Incomplete(why) => {
            finished.extend([("exit", "error".into()), ("errormsg", why.as_str().into())]);
        }
        Ending::Unsaid => {}
    }
    let counts = source.counts.unwrap_or_else(|| counted(&survey.hosts));
    let HostCounts { up, down, total } = counts;
    xml.begin("runstats", &[])?;
    xml.empty("finished", &finished)?;
    let counts = [("up", up), ("down", down), ("total", total)];
    xml.empty("hosts", &counts.map(|(name, count)| (name, count.to_string().into())))?;
    xml.end("runstats")
}

fn counted(hosts: &[Host]) -> HostCounts {
    let total = hosts.len() as u64;
    let down = hosts.iter().filter(|host| host.is_said_down()).count() as u64;
    HostCounts { up: total - down, down, total }
}
