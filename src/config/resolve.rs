//! Host names looked up, many at a time and within bounds of time.
//!
//! The system's own resolver does it, so `/etc/hosts` and `nsswitch.conf` count here as everywhere else on the host.
//! Nothing is kept from one sweep to the next: how long an answer holds is the business of whoever caches it, and that
//! is the resolver that the system asks.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::thread;
use std::time::Duration;

use crossbeam::channel::{self, Receiver, Sender};
use crossbeam::select;

use crate::target::written::HostName;

/// Gives all addresses of a name, IPv4 and IPv6.
pub type Lookup = fn(&str) -> io::Result<Vec<IpAddr>>;

/// Names that are looked up at a time: as many as a resolver on a small router bears.
const AT_A_TIME: usize = 32;

/// What the system's resolver says of a name.
///
/// # Errors
/// When it says nothing.
pub fn system_lookup(name: &str) -> io::Result<Vec<IpAddr>> {
    // The port is nobody's; the interface wants one.
    Ok((name, 0).to_socket_addrs()?.map(|at| at.ip()).collect())
}

/// How long so many names may take: ten seconds, and for long lists a hundredth of a second more for each name.
pub fn patience(names: usize) -> Duration {
    Duration::from_secs(10) + Duration::from_millis(10) * u32::try_from(names).unwrap_or(u32::MAX)
}

/// What became of names.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Resolution {
    /// The addresses of each name that has some, sorted.
    pub found: BTreeMap<HostName, Vec<IpAddr>>,
    /// The names that have none, and why.
    pub failed: Vec<Failed>,
}

/// A name without an address.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Failed {
    /// The name.
    pub name: HostName,
    /// Why.
    pub why: String,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.why)
    }
}

/// Looks names up, each once. What has not answered when time is up has failed; the threads that wait for it end when
/// the resolver lets them go.
pub fn resolve(names: &[HostName], lookup: Lookup, patience: Duration) -> Resolution {
    let mut names = names.to_vec();
    names.sort_unstable();
    names.dedup();
    let (ask, asked) = channel::unbounded();
    let (answer, answers) = channel::unbounded();
    for name in &names {
        // The other end is held below, so nothing is lost here.
        let _ = ask.send(name.clone());
    }
    drop(ask);
    for _ in 0..names.len().min(AT_A_TIME) {
        let (asked, answer) = (asked.clone(), answer.clone());
        let worker = thread::Builder::new().name("resolve".to_owned());
        // Without a thread its share falls to the others, and without any, the names fail below.
        let _ = worker.spawn(move || look_up_all(&asked, &answer, lookup));
    }
    drop(answer);
    let mut answered = collect(&answers, names.len(), patience);
    // Nobody listens any more: whoever still has names to ask for ends.
    while asked.try_recv().is_ok() {}
    let mut resolution = Resolution::default();
    for name in names {
        match answered.remove(&name).unwrap_or_else(|| Err(format!("no answer within {patience:?}"))) {
            Ok(addresses) => {
                resolution.found.insert(name, addresses);
            }
            Err(why) => resolution.failed.push(Failed { name, why }),
        }
    }
    resolution
}

/// What one name came to.
type Outcome = Result<Vec<IpAddr>, String>;

fn look_up_all(asked: &Receiver<HostName>, answer: &Sender<(HostName, Outcome)>, lookup: Lookup) {
    for name in asked {
        let outcome = match lookup(name.as_str()) {
            Ok(addresses) if addresses.is_empty() => Err("it has no address".to_owned()),
            Ok(addresses) => Ok(sorted(addresses)),
            Err(cause) => Err(cause.to_string()),
        };
        if answer.send((name, outcome)).is_err() {
            return;
        }
    }
}

fn sorted(addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let mut sorted: Vec<IpAddr> = addresses.into_iter().map(|ip| ip.to_canonical()).collect();
    sorted.sort_unstable();
    sorted.dedup();
    sorted
}

fn collect(
    answers: &Receiver<(HostName, Outcome)>,
    wanted: usize,
    patience: Duration,
) -> BTreeMap<HostName, Outcome> {
    let time_is_up = channel::after(patience);
    let mut answered = BTreeMap::new();
    while answered.len() < wanted {
        select! {
            recv(answers) -> answer => match answer {
                Ok((name, outcome)) => { answered.insert(name, outcome); }
                Err(_) => break,
            },
            recv(time_is_up) -> _ => break,
        }
    }
    answered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(texts: &[&str]) -> Vec<HostName> {
        texts.iter().map(|text| text.parse().expect(text)).collect()
    }

    /// A resolver that knows a few names, and asks nobody.
    fn lookup(name: &str) -> io::Result<Vec<IpAddr>> {
        match name {
            "db.example.net" => {
                let [four, again]: [IpAddr; 2] = [[198, 18, 0, 7].into(), [198, 18, 0, 7].into()];
                Ok(vec!["2001:db8::7".parse().expect("an address"), four, again])
            }
            "mapped.example.net" => Ok(vec!["::ffff:198.18.0.9".parse().expect("an address")]),
            "empty.example.net" => Ok(Vec::new()),
            _ => Err(io::Error::other("Name or service not known")),
        }
    }

    #[test]
    fn gives_every_address_once_and_every_failure_its_reason() {
        let asked = names(&[
            "x.invalid",
            "db.example.net",
            "empty.example.net",
            "DB.example.net.",
            "mapped.example.net",
        ]);
        let resolution = resolve(&asked, lookup, Duration::from_secs(5));
        let found: Vec<String> =
            resolution.found.iter().map(|(name, ips)| format!("{name} {ips:?}")).collect();
        assert_eq!(found, ["db.example.net [198.18.0.7, 2001:db8::7]", "mapped.example.net [198.18.0.9]"]);
        let failed: Vec<String> = resolution.failed.iter().map(ToString::to_string).collect();
        let expected = ["empty.example.net (it has no address)", "x.invalid (Name or service not known)"];
        assert_eq!(failed, expected);
        assert_eq!(resolve(&[], lookup, Duration::from_secs(5)), Resolution::default());
    }

    #[test]
    fn long_lists_may_take_longer() {
        assert_eq!(patience(0), Duration::from_secs(10));
        assert_eq!(patience(1000), Duration::from_secs(20));
    }

    #[test]
    fn the_systems_resolver_reads_the_hosts_file() {
        let ips = system_lookup("localhost").expect("every host knows itself");
        assert!(ips.iter().all(IpAddr::is_loopback) && !ips.is_empty(), "{ips:?}");
    }
}
