//! Ports: the catalogue of what must not be reachable and why, and sets of ports as people write them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// One service that should not be found open by accident.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Service {
    /// The TCP port that the service listens on by default.
    pub port: u16,
    /// Its name, lower case; also accepted where ports are named.
    pub name: &'static str,
    /// Whether it is one of the six that matter most (`risky`).
    pub risky: bool,
    /// How bad it is to find it open.
    pub severity: Severity,
    /// What somebody gains who reaches it.
    pub why: &'static str,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Worth mending some day.
    Low,
    /// Widens what an attacker can try.
    Medium,
    /// Gives access once a password or a bug is found.
    High,
    /// Gives data or control as it stands.
    Critical,
}

impl Severity {
    /// All of them, the least first.
    pub const ALL: [Severity; 5] =
        [Severity::Info, Severity::Low, Severity::Medium, Severity::High, Severity::Critical];

    /// One step less bad; the least stays what it is.
    #[must_use]
    pub fn one_step_less(self) -> Self {
        match self {
            Severity::Critical => Severity::High,
            Severity::High => Severity::Medium,
            Severity::Medium => Severity::Low,
            Severity::Low | Severity::Info => Severity::Info,
        }
    }

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Low => "low",
            Severity::Medium => "medium",
            Severity::High => "high",
            Severity::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

const fn risky(port: u16, name: &'static str, severity: Severity, why: &'static str) -> Service {
    Service { port, name, risky: true, severity, why }
}

const fn exposed(port: u16, name: &'static str, severity: Severity, why: &'static str) -> Service {
    Service { port, name, risky: false, severity, why }
}

/// Every service that the program knows, by port. All of them are `exposed`; six of them are `risky`.
pub const CATALOGUE: &[Service] = {
    use Severity::{Critical, High, Low, Medium};
    &[
        exposed(21, "ftp", Medium, "passwords and files in clear text"),
        risky(22, "ssh", High, "a shell for whoever finds or guesses a key or password"),
        exposed(23, "telnet", Critical, "a shell with its password in clear text"),
        exposed(25, "smtp", Low, "relays mail if it is misconfigured"),
        exposed(53, "domain", Low, "zone transfers, and amplification if it recurses"),
        exposed(110, "pop3", Medium, "mail passwords in clear text"),
        exposed(111, "rpcbind", Medium, "lists every RPC service of the host"),
        exposed(135, "msrpc", High, "Windows remote procedure calls, a way of worms"),
        exposed(139, "netbios-ssn", High, "Windows file shares, old protocol"),
        exposed(143, "imap", Medium, "mail passwords in clear text"),
        exposed(389, "ldap", High, "the directory of users, often readable by anybody"),
        exposed(445, "smb", Critical, "Windows file shares, the way of WannaCry and its kin"),
        exposed(502, "modbus", Critical, "industrial control without any password"),
        exposed(512, "exec", Critical, "remote commands on trust alone"),
        exposed(513, "login", Critical, "remote login on trust alone"),
        exposed(514, "shell", Critical, "remote commands on trust alone"),
        exposed(548, "afp", Medium, "Apple file shares"),
        exposed(631, "ipp", Medium, "printing, with a record of remote code execution"),
        exposed(873, "rsync", High, "whole directory trees, often without a password"),
        exposed(1099, "rmiregistry", Critical, "Java objects from strangers: code execution"),
        exposed(1433, "mssql", Critical, "the database, guessed at by botnets day and night"),
        exposed(1521, "oracle", Critical, "the database listener"),
        exposed(1883, "mqtt", High, "every message of the broker, often without a password"),
        exposed(2049, "nfs", High, "files on the word of the client"),
        exposed(2181, "zookeeper", High, "the cluster's configuration without a password"),
        exposed(2375, "docker", Critical, "root on the host for anybody, in one request"),
        exposed(2376, "docker-tls", High, "root on the host for whoever has a client certificate"),
        exposed(2379, "etcd", Critical, "every secret of a Kubernetes cluster"),
        exposed(2380, "etcd-peer", Critical, "a seat in the cluster's database"),
        exposed(3000, "grafana", Medium, "dashboards, and data sources behind them"),
        risky(3306, "mysql", Critical, "the database, guessed at by botnets day and night"),
        exposed(3389, "rdp", Critical, "a Windows desktop, the usual way in of ransomware"),
        exposed(4243, "docker-alt", Critical, "root on the host for anybody, in one request"),
        exposed(4369, "epmd", High, "Erlang nodes, such as RabbitMQ's, by a shared cookie"),
        exposed(4505, "salt-publish", Critical, "the Salt master: commands on every minion"),
        exposed(4506, "salt-request", Critical, "the Salt master: commands on every minion"),
        exposed(4848, "glassfish", High, "the administration console"),
        exposed(5000, "registry", Medium, "container images, often without a password"),
        exposed(5005, "jdwp", Critical, "the Java debugger: code execution without a password"),
        risky(5432, "postgresql", Critical, "the database, guessed at by botnets day and night"),
        exposed(5555, "adb", Critical, "a root shell on Android without a password"),
        exposed(5601, "kibana", High, "everything that Elasticsearch holds"),
        exposed(5672, "amqp", High, "every message of the broker"),
        exposed(5900, "vnc", Critical, "the screen and keyboard, often without a password"),
        exposed(5984, "couchdb", Critical, "the database, open to all by default in old versions"),
        exposed(5985, "winrm", High, "Windows remote management"),
        exposed(5986, "winrm-tls", High, "Windows remote management"),
        exposed(6000, "x11", High, "the screen and keyboard of a Unix desktop"),
        exposed(6066, "spark-submit", Critical, "jobs, that is code, from anybody"),
        risky(6379, "redis", Critical, "no password by default, and a way to write files"),
        exposed(6443, "kube-apiserver", High, "control of the Kubernetes cluster"),
        exposed(7001, "weblogic", Critical, "a long record of remote code execution"),
        exposed(7077, "spark", Critical, "jobs, that is code, from anybody"),
        exposed(7199, "cassandra-jmx", Critical, "Java management: code execution"),
        exposed(7474, "neo4j", High, "the graph database"),
        exposed(8009, "ajp", High, "Tomcat's inner protocol: files of the application (Ghostcat)"),
        exposed(8020, "hdfs", High, "files of the cluster on the word of the client"),
        exposed(8080, "http-alt", Medium, "administration consoles and half-finished applications"),
        exposed(8086, "influxdb", High, "the time series, open to all by default in old versions"),
        exposed(8088, "yarn", Critical, "jobs, that is code, from anybody"),
        exposed(8123, "clickhouse", High, "the database, default user without a password"),
        exposed(8161, "activemq-console", High, "the broker's console"),
        exposed(8443, "https-alt", Medium, "administration consoles and half-finished applications"),
        exposed(8500, "consul", High, "service registration: code execution by script checks"),
        exposed(8529, "arangodb", High, "the database"),
        exposed(8728, "mikrotik-api", High, "the router's control"),
        exposed(8888, "jupyter", Critical, "a Python prompt on the host"),
        exposed(9000, "minio-or-php", High, "object storage, or PHP's inner protocol: code execution"),
        exposed(9042, "cassandra", High, "the database, open to all by default"),
        exposed(9090, "prometheus", Medium, "metrics that map the whole network"),
        exposed(9092, "kafka", High, "every message of the broker, open to all by default"),
        exposed(9100, "jetdirect", Medium, "printing; or a node exporter that maps the host"),
        risky(9200, "elasticsearch", Critical, "every document, no password by default before version 8"),
        exposed(9300, "elasticsearch-peer", Critical, "a seat in the cluster"),
        exposed(9443, "portainer", High, "control of containers"),
        exposed(10000, "webmin", High, "administration of the host, with a record of code execution"),
        exposed(10250, "kubelet", Critical, "commands in every pod of the node"),
        exposed(10255, "kubelet-read", Medium, "what runs on the node, without a password"),
        exposed(11211, "memcached", Critical, "every cached session, without a password; amplification"),
        exposed(15672, "rabbitmq-console", High, "the broker's console"),
        exposed(16379, "redis-bus", High, "the bus of a Redis cluster"),
        exposed(25565, "minecraft", Low, "a game server: nobody's production"),
        risky(27017, "mongodb", Critical, "the database, held for ransom by the thousand"),
        exposed(27018, "mongodb-shard", Critical, "the database"),
        exposed(27019, "mongodb-config", Critical, "the cluster's configuration"),
        exposed(50000, "jenkins-agent", High, "a seat among the build machines; or SAP"),
        exposed(50070, "hdfs-namenode", High, "files of the cluster on the word of the client"),
        exposed(61616, "activemq", Critical, "code execution without a password (CVE-2023-46604)"),
    ]
};

/// The service that usually listens on this port.
pub fn service(port: u16) -> Option<&'static Service> {
    CATALOGUE.binary_search_by_key(&port, |service| service.port).ok().map(|at| &CATALOGUE[at])
}

/// A non-empty set of ports from 1 to 65535, sorted.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct PortSet {
    sorted: Vec<u16>,
}

impl PortSet {
    /// The set of these ports, or `None` where there is none or one of them is 0.
    pub fn new(ports: impl IntoIterator<Item = u16>) -> Option<Self> {
        let mut sorted: Vec<u16> = ports.into_iter().collect();
        sorted.sort_unstable();
        sorted.dedup();
        (sorted.first().is_some_and(|first| *first > 0)).then_some(PortSet { sorted })
    }

    /// The six ports above all.
    pub fn risky() -> Self {
        let ports = CATALOGUE.iter().filter(|service| service.risky).map(|service| service.port);
        PortSet { sorted: ports.collect() }
    }

    /// The whole catalogue.
    pub fn exposed() -> Self {
        PortSet { sorted: CATALOGUE.iter().map(|service| service.port).collect() }
    }

    /// Every port there is but 0.
    pub fn all() -> Self {
        PortSet { sorted: (1..=u16::MAX).collect() }
    }

    /// How many ports.
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// A set of ports is never empty; here for the sake of the pair.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The port in place `slot` of the sorted set.
    pub fn get(&self, slot: usize) -> u16 {
        self.sorted[slot]
    }

    /// The place of a port in the sorted set.
    pub fn slot_of(&self, port: u16) -> Option<usize> {
        self.sorted.binary_search(&port).ok()
    }

    /// The ports, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        self.sorted.iter().copied()
    }
}

/// Ports in the form that they are parsed from: `22,3306,8000-8100`.
impl fmt::Display for PortSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.sorted.as_slice();
        let mut comma = "";
        while let [first, ..] = rest {
            let run = rest.iter().zip(u32::from(*first)..).take_while(|(p, n)| u32::from(**p) == *n).count();
            let last = rest[run - 1];
            match run {
                1 => write!(f, "{comma}{first}")?,
                2 => write!(f, "{comma}{first},{last}")?,
                _ => write!(f, "{comma}{first}-{last}")?,
            }
            rest = &rest[run..];
            comma = ",";
        }
        Ok(())
    }
}

impl TryFrom<String> for PortSet {
    type Error = PortError;

    fn try_from(text: String) -> Result<Self, PortError> {
        text.parse()
    }
}

impl From<PortSet> for String {
    fn from(value: PortSet) -> String {
        value.to_string()
    }
}

impl FromStr for PortSet {
    type Err = PortError;

    fn from_str(text: &str) -> Result<Self, PortError> {
        let mut sorted = Vec::new();
        for part in text.split(',').map(str::trim) {
            match part {
                "" => return Err(PortError::Empty { text: text.to_owned() }),
                "risky" => sorted.extend(PortSet::risky().sorted),
                "exposed" => sorted.extend(PortSet::exposed().sorted),
                "all" => sorted.extend(1..=u16::MAX),
                _ => sorted.extend(parse_part(part)?),
            }
        }
        PortSet::new(sorted).ok_or_else(|| PortError::Empty { text: text.to_owned() })
    }
}

fn parse_part(part: &str) -> Result<std::ops::RangeInclusive<u16>, PortError> {
    if let Some(service) = CATALOGUE.iter().find(|service| service.name == part) {
        return Ok(service.port..=service.port);
    }
    if !part.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(unknown_name(part));
    }
    let Some((first, last)) = part.split_once('-') else {
        let port = parse_port(part)?;
        return Ok(port..=port);
    };
    let (first, last) = (parse_port(first.trim())?, parse_port(last.trim())?);
    if first > last {
        return Err(PortError::Reversed { first, last });
    }
    Ok(first..=last)
}

fn parse_port(text: &str) -> Result<u16, PortError> {
    match text.parse() {
        Ok(0) | Err(_) => Err(PortError::OutOfRange { text: text.to_owned() }),
        Ok(port) => Ok(port),
    }
}

fn unknown_name(name: &str) -> PortError {
    let known = CATALOGUE.iter().map(|service| service.name).chain(["risky", "exposed", "all"]);
    let nearest = known
        .map(|known| (strsim::jaro_winkler(name, known), known))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(likeness, _)| *likeness > 0.75)
        .map(|(_, known)| known);
    let hint = nearest.map_or_else(|| ";".to_owned(), |known| format!("; did you mean `{known}`?"));
    PortError::UnknownName { name: name.to_owned(), hint }
}

/// Why a text is no set of ports.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum PortError {
    /// A number that is no port.
    #[error("`{text}` is no port; ports are numbers from 1 to 65535")]
    OutOfRange {
        /// What was written.
        text: String,
    },
    /// A range with its ends in the wrong order.
    #[error("the port range {first}-{last} is reversed; write {last}-{first}")]
    Reversed {
        /// The end that was written first.
        first: u16,
        /// The end that was written last.
        last: u16,
    },
    /// A name that is in no catalogue.
    #[error(
        "`{name}` is no port name{hint} `portreeve ports` lists the names; sets are risky, exposed and all"
    )]
    UnknownName {
        /// What was written.
        name: String,
        /// The nearest name, if one is near; with the sign that ends it.
        hint: String,
    },
    /// Nothing, or nothing between two commas.
    #[error("`{text}` has an empty part; write ports as 22,3306,8000-8100,redis or risky")]
    Empty {
        /// What was written.
        text: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_is_sorted_named_once_and_has_the_six() {
        assert!(CATALOGUE.windows(2).all(|pair| pair[0].port < pair[1].port));
        let mut names: Vec<_> = CATALOGUE.iter().map(|service| service.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), CATALOGUE.len());
        assert_eq!(PortSet::risky().to_string(), "22,3306,5432,6379,9200,27017");
    }

    #[test]
    fn reads_what_people_write() {
        for (text, ports) in [
            ("22", "22"),
            ("redis,ssh", "22,6379"),
            ("3, 1-2 ,2", "1-3"),
            ("risky,80", "22,80,3306,5432,6379,9200,27017"),
            ("all", "1-65535"),
            ("65535", "65535"),
        ] {
            assert_eq!(text.parse::<PortSet>().expect(text).to_string(), ports);
        }
        assert_eq!("exposed".parse::<PortSet>().expect("exposed").len(), CATALOGUE.len());
    }

    #[test]
    fn names_what_is_wrong() {
        for (text, says) in [
            ("0", "from 1 to 65535"),
            ("70000", "`70000` is no port"),
            ("22-", "from 1 to 65535"),
            ("9-3", "write 3-9"),
            ("rediss", "did you mean `redis`?"),
            ("riskyy", "did you mean `risky`?"),
            ("qqq", "`qqq` is no port name; "),
            ("22,,23", "empty part"),
            ("", "empty part"),
            ("-5", "no port name"),
        ] {
            let error = text.parse::<PortSet>().expect_err(text).to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn finds_slots() {
        let set: PortSet = "22,80,443".parse().expect("ports");
        assert_eq!((set.slot_of(80), set.slot_of(81), set.get(2)), (Some(1), None, 443));
    }
}
