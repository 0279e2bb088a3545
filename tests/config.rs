//! The configuration file as a user meets it: the documented example loads clean, and every mistake is told where it is.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use portreeve::config::diagnostic::{ConfigError, Source};
use portreeve::config::file::{Config, RouteEntry, load_allowlist, parse_allowlist};
use portreeve::config::options::EngineChoice;
use portreeve::target::ports::PortSet;
use proptest::prelude::*;

const EXAMPLE: &str = include_str!("data/config/example.toml");

#[test]
fn the_documented_example_loads_clean() {
    let config = Config::load(Path::new("tests/data/config/example.toml")).expect("a clean file");
    let settings = &config.settings;
    let texts = |ranges: &[portreeve::target::address::AddressRange]| {
        ranges.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(texts(&settings.declared), ["198.18.0.0/16", "2001:db8:1::/120"]);
    assert_eq!(texts(&settings.exclude), ["198.18.4.0/24"]);
    assert_eq!(settings.owner.as_deref(), Some("netops@example.com"));
    assert_eq!(settings.ports, Some(PortSet::risky()));
    assert_eq!(settings.interval, Some(Duration::from_secs(60)));
    assert_eq!(settings.rate.map(|rate| rate.to_string()).as_deref(), Some("50000"));
    assert!(settings.networks.is_empty(), "the file declares, the command line names targets");
    assert_eq!(settings.scope().expect("a scope").hosts(), 65_536 - 256 + 256);

    let [bastion] = &config.allow[..] else { panic!("one allowance: {:?}", config.allow) };
    assert_eq!(texts(&bastion.hosts), ["198.18.0.10"]);
    assert_eq!((bastion.ports.to_string().as_str(), bastion.line), ("22", Some(11)));
    assert_eq!((bastion.reason.as_str(), bastion.owner.as_str()), ("bastion", "netops"));
    assert_eq!(bastion.expires.map(|expiry| expiry.to_string()).as_deref(), Some("2027-03-31"));

    let [database] = &config.expect[..] else { panic!("one expectation: {:?}", config.expect) };
    assert_eq!((database.name.as_str(), database.failures, database.line), ("orders database", 3, 18));
    let [soc] = &config.sinks[..] else { panic!("one sink: {:?}", config.sinks) };
    assert_eq!((soc.name.as_str(), soc.kind.as_str()), ("soc", "webhook"));
    assert_eq!(
        soc.options["url_file"].as_str(),
        Some("tests/data/config/secrets/soc-url"),
        "beside the file"
    );
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect();
    assert_eq!(config.route, RouteEntry { security: names(&["soc", "siem"]), health: names(&["ops"]) });
}

#[test]
fn every_key_of_sweep_is_read() {
    let text = "[sweep]\nports = [22, \"redis\", \"8000-8002\"]\ninterval = \"1h 30m\"\nrate_max = \"10k\"\n\
                host_rate_max = 100\ntries = 3\nengine = \"connect\"\ninterface = \"eth0\"\nallowlist = \"a.toml\"\n";
    let settings = Config::parse(&Source::new("/etc/portreeve/c.toml", text)).expect("clean").settings;
    assert_eq!(settings.ports.expect("ports").to_string(), "22,6379,8000-8002");
    assert_eq!(settings.interval, Some(Duration::from_secs(5400)));
    assert_eq!(settings.rate.expect("a rate").to_string(), "10000");
    assert_eq!((settings.host_rate, settings.tries), (Some(100), Some(3)));
    assert_eq!((settings.engine, settings.interface.as_deref()), (Some(EngineChoice::Connect), Some("eth0")));
    assert_eq!(settings.allowlist, Some(PathBuf::from("/etc/portreeve/a.toml")));
}

#[test]
fn an_empty_file_is_an_empty_configuration() {
    assert_eq!(Config::parse(&Source::new("c.toml", "")).expect("clean"), Config::default());
}

/// Asserts that the text has exactly these mistakes.
#[track_caller]
fn check(text: &str, mistakes: &[&str]) {
    let told = match Config::parse(&Source::new("c.toml", text)) {
        Ok(_) => Vec::new(),
        Err(ConfigError::Invalid(diagnostics)) => diagnostics.iter().map(ToString::to_string).collect(),
        Err(other) => panic!("{other}"),
    };
    assert_eq!(told, mistakes, "\n{text}");
}

fn allow(lines: &str) -> String {
    format!(
        "[[allow]]\nhosts = [\"198.18.0.10\"]\nports = [22]\nreason = \"bastion\"\nowner = \"netops\"\n{lines}"
    )
}

#[test]
fn probe() {
    for text in [
        "[scope]\nnetworks = [\"198.18.3.4/16\"]\n",
        "[scope]\nnetworks = [\"198.18.0.0/16\", 5, \"ä\", \"198.18.0.0/33\"]\n",
        "[scope]\nnetworks = []\n",
        "[scope]\nowner = \" \"\n",
        "[scope]\nnetwroks = [\"198.18.0.0/16\"]\n",
        "[scop]\nx = 1\n",
        "[scope]\nnetworks = \"198.18.0.0/16\"\nexclude = [\"198.18.0.0/15\"]",
        "[scope]\nnetworks = [\"198.18.0.0/16\"]\nexclude = [\"198.18.0.0/15\"]",
        "[scope]\nnetworks = [\"198.18.0.0/16\", \"224.0.0.0/24\"]\n",
        "[scope]\nnetworks = [\"2001:db8::/32\"]\n",
        "[sweep]\nports = true\ninterval = 60\nrate_max = 0\ntries = 11\nengine = \"xdp\"\nhost_rate_max = -1\ninterface = \"a/b\"",
        "[sweep]\nports = [0, \"rediss\", 1.5, 22]\ninterval = \"60\"\nrate_max = \"10m\"\ntries = \"3\"\nengine = \"raw\"",
        "[sweep]\nports = redis\ntries = 0\ninterval = \nrate_max = 5 # x\n",
        "[sweep]\nports = []\ninterval = \"0s\"\nrate_max = true\n",
        "[sweep]\nports = \"22,,23\"\nports = \"risky\"\ntries = 0",
        "[sweep\nports = 5\n",
        "[scope]\nnetworks = [\"198.18.0.0/16\"\n\n[sweep]\nports = 3\n",
        "[sweep]\nports = \"risky\ntries = 0",
        "sweep = 5\n[allow]\nhosts = 1\n",
        &allow("expires = \"2027-03-31\"\n"),
        &allow("expires = \"soon\"\n"),
        &allow("expires = 2027-02-30\n"),
        &allow("expires = 2027-03-31T12:00:00\n"),
        &allow("expires = 12:00:00\n"),
        &allow("expires = 2027-03-31T12:00Z\n"),
        &allow("expirs = 2027-03-31\n"),
        "[[allow]]\nhosts = []\nports = []\nreason = \"\"\n",
        "[[allow]]\n",
        &format!("{}{}", allow("expires = 2027-03-31\n"), allow("")),
        &format!("{}\n{}", allow(""), allow("")),
        "[[expect]]\nname = \"x\"\nhosts = [\"198.18.0.0/30\"]\nfailures = 0\n[[sink]]\nname = 5\nurl = \"x\"\n[route]\nsecurity = \"soc\"\nhelth = []\n",
        "sink = [5]\nexpect = {}\n",
        "[route]\nsecurity = [{ a = 1 }, [1]]\n",
        "x 5\ny = 3",
    ] {
        println!("{text}");
        match Config::parse(&Source::new("c.toml", text)) {
            Ok(c) => println!("  OK {:?}", c.allow),
            Err(e) => println!("{}", e.to_string().lines().map(|l| format!("  > {l}\n")).collect::<String>()),
        }
    }
}
