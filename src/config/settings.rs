//! The settings of a run: the one struct of options, filled in by the file and by the command line.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use super::inventory::{FieldPath, Inventory};
use super::memory::Memory;
use super::options::{
    Cap, EngineChoice, EngineParser, Rate, TargetWord, parse_authorization, parse_canary, parse_exclude,
    parse_interface, parse_pps, parse_tries,
};
use super::pace::PaceError;
use super::sources::Sources;
use crate::target::address::AddressRange;
use crate::target::ports::PortSet;
use crate::target::scope::{Scope, ScopeError, Shard, merge, subtract};

/// Everything that can be said of a run; what is `None` or empty has not been said.
///
/// The documentation of each field that is an option is also its help text.
#[derive(Clone, Debug, Default, PartialEq, clap::Args)]
pub struct Settings {
    /// What to sweep: addresses, networks, ranges, host names, @FILE, or - for standard input
    ///
    /// Such as 198.18.0.7, 198.18.0.0/24, 198.18.0.10-198.18.0.20, 198.18.0.10-20 or db.example.net; @fleet.txt reads
    /// targets from that file. If the configuration declares a scope, they must lie inside it; without any, the whole
    /// declared scope is swept.
    #[arg(value_name = "TARGET", value_delimiter = ',')]
    pub targets: Vec<TargetWord>,

    /// The addresses that the targets come down to, see [`super::sources`].
    #[arg(skip)]
    pub networks: Vec<AddressRange>,

    /// The networks that the file declares; targets outside them are refused.
    #[arg(skip)]
    pub declared: Vec<AddressRange>,

    /// What else the file declares.
    #[arg(skip)]
    pub sources: Sources,

    /// Take targets from a JSON file, such as a cloud's list of its machines; - for standard input
    #[arg(long, value_name = "FILE", requires = "inventory_address")]
    pub inventory: Vec<PathBuf>,

    /// The field of the inventory that holds addresses, such as PrivateIpAddress
    ///
    /// A key, or several with dots between them (networkInterfaces.networkIP), looked for however deep.
    #[arg(long, value_name = "FIELD", requires = "inventory")]
    pub inventory_address: Option<FieldPath>,

    /// The field of the inventory that holds names, such as Tags.Name
    ///
    /// Taken from the object where the path of the address begins, or the nearest one around it.
    #[arg(long, value_name = "FIELD", requires = "inventory")]
    pub inventory_name: Option<FieldPath>,

    /// Sweep without the host names that do not resolve; the exit status is then 3
    #[arg(long)]
    pub skip_unresolved: bool,

    /// Never probe these; added to the excludes of the configuration
    ///
    /// May be repeated; commas separate several.
    #[arg(long, value_name = "NET", value_delimiter = ',', value_parser = parse_exclude)]
    pub exclude: Vec<AddressRange>,

    /// Why some of them are excluded, where the file says.
    #[arg(skip)]
    pub exclude_reasons: Vec<(AddressRange, String)>,

    /// File of addresses, networks and ranges never to probe
    ///
    /// May be repeated.
    #[arg(long, value_name = "FILE")]
    pub exclude_file: Vec<PathBuf>,

    /// Ports to probe: risky, exposed, all, numbers, ranges or service names
    ///
    /// Joined by commas, such as risky,8000-8100,redis. `risky` are the six worst (22, 3306, 5432, 6379, 9200, 27017)
    /// and the default, `exposed` is the whole catalogue (see `portreeve ports`), `all` is 1-65535.
    #[arg(long, value_name = "SPEC")]
    pub ports: Option<PortSet>,

    /// File of `[[allow]]` tables: what may be open
    #[arg(long, value_name = "FILE")]
    pub allowlist: Option<PathBuf>,

    /// What sends the probes
    ///
    /// xdp is for rates that packet sockets do not carry, and never chosen by itself; `portreeve doctor TARGET --engine
    /// xdp` says what it lacks here, and what it would do to this host.
    #[arg(long, value_name = "ENGINE", value_parser = EngineParser)]
    pub engine: Option<EngineChoice>,

    /// Send so many packets a second, such as 5000, 10k or 1M; or auto [default: auto]
    ///
    /// With auto the sweep finds its own rate: it begins slowly, speeds up while nothing is lost, up to --rate-max, and
    /// slows down when more is lost than before. A number is kept to, whatever is lost.
    #[arg(long, value_name = "PPS|auto", allow_hyphen_values = true)]
    pub rate: Option<Rate>,

    /// Never send more packets a second than this [default: 10000 with --rate auto]
    ///
    /// What a home router stands; a data centre stands a hundred times as much. A configuration's rate_max is a limit
    /// that the command line can lower and not raise.
    #[arg(long, value_name = "PPS", value_parser = parse_pps, allow_hyphen_values = true)]
    pub rate_max: Option<NonZeroU32>,

    /// The limit that the file sets to both, see [`super::pace`].
    #[arg(skip)]
    pub rate_limit: Option<NonZeroU32>,

    /// Send at most so many packets a second to any one host, or none for no cap [default: 200]
    #[arg(long, value_name = "PPS|none", allow_hyphen_values = true)]
    pub host_rate: Option<Cap>,

    /// Send at most so many packets a second to any one IPv4 /24 or IPv6 /64, or none for no cap [default: 5000]
    #[arg(long, value_name = "PPS|none", allow_hyphen_values = true)]
    pub network_rate: Option<Cap>,

    /// An endpoint that is known to answer, open or closed, as a proof that the network carries
    ///
    /// Such as 198.18.0.10:22 or [2001:db8::1]:22, from the scope; may be repeated. It is asked again and again while
    /// the sweep runs. While it answers, the silence of others is theirs; while nobody does, nobody is called filtered.
    #[arg(long, value_name = "IP:PORT", value_parser = parse_canary)]
    pub canary: Vec<SocketAddr>,

    /// The canaries of the file, which hold for the runs that sweep them.
    #[arg(skip)]
    pub declared_canaries: Vec<SocketAddr>,

    /// Probes for a target that does not answer, from 1 to 10
    #[arg(long, value_name = "N", value_parser = parse_tries, allow_hyphen_values = true)]
    pub tries: Option<u8>,

    /// Send by this network interface
    #[arg(long, value_name = "IF", value_parser = parse_interface)]
    pub interface: Option<String>,

    /// Repeat the order of an earlier run
    ///
    /// The number that is its `seed` in its `sweep.started` event.
    #[arg(long, value_name = "N", value_parser = parse_seed, allow_hyphen_values = true)]
    pub seed: Option<u64>,

    /// Sweep only part I of N, split by address
    #[arg(long, value_name = "I/N")]
    pub shard: Option<Shard>,

    /// Take at most so much memory, such as 512M or 2G [default: half of what is available]
    ///
    /// A sweep takes two bytes for each target and 32M beside. One that would take more is swept in parts, one after
    /// the other, each of which spreads over all hosts; it is still one sweep with one report. What is open takes some
    /// 40 bytes more, which are not reckoned with.
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<Memory>,

    /// The ticket or owner that allows this run, kept in every record of it
    #[arg(long, value_name = "TEXT", value_parser = parse_authorization)]
    pub authorization: Option<String>,

    /// Make what is about to be reported speak, and keep what it says
    ///
    /// Listens to servers that speak first, sends the others one harmless word (PING to Redis, GET to web servers, a
    /// TLS hello), and keeps up to 256 bytes of the answer as escaped text.
    #[arg(long)]
    pub banner: bool,

    /// Who owns the networks that the file declares.
    #[arg(skip)]
    pub owner: Option<String>,

    /// From the start of one sweep to the start of the next.
    #[arg(skip)]
    pub interval: Option<Duration>,
}

impl Settings {
    /// These settings, and where they say nothing, those of `lower`. Excludes add up: nothing that the file keeps out
    /// of a sweep can be brought back from the command line. Networks are those of one side only, see
    /// [`Settings::scope`].
    #[must_use]
    pub fn or(self, lower: Settings) -> Settings {
        Settings {
            targets: if self.targets.is_empty() { lower.targets } else { self.targets },
            networks: if self.networks.is_empty() { lower.networks } else { self.networks },
            declared: if self.declared.is_empty() { lower.declared } else { self.declared },
            sources: if self.sources.is_empty() { lower.sources } else { self.sources },
            inventory: if self.inventory.is_empty() { lower.inventory } else { self.inventory },
            inventory_address: self.inventory_address.or(lower.inventory_address),
            inventory_name: self.inventory_name.or(lower.inventory_name),
            skip_unresolved: self.skip_unresolved || lower.skip_unresolved,
            exclude: [self.exclude, lower.exclude].concat(),
            exclude_reasons: [self.exclude_reasons, lower.exclude_reasons].concat(),
            exclude_file: [self.exclude_file, lower.exclude_file].concat(),
            ports: self.ports.or(lower.ports),
            allowlist: self.allowlist.or(lower.allowlist),
            engine: self.engine.or(lower.engine),
            rate: self.rate.or(lower.rate),
            rate_max: self.rate_max.or(lower.rate_max),
            rate_limit: self.rate_limit.or(lower.rate_limit),
            host_rate: self.host_rate.or(lower.host_rate),
            network_rate: self.network_rate.or(lower.network_rate),
            canary: [self.canary, lower.canary].concat(),
            declared_canaries: [self.declared_canaries, lower.declared_canaries].concat(),
            tries: self.tries.or(lower.tries),
            interface: self.interface.or(lower.interface),
            seed: self.seed.or(lower.seed),
            shard: self.shard.or(lower.shard),
            memory: self.memory.or(lower.memory),
            authorization: self.authorization.or(lower.authorization),
            banner: self.banner || lower.banner,
            owner: self.owner.or(lower.owner),
            interval: self.interval.or(lower.interval),
        }
    }

    /// Whether targets were named, in place of the whole declared scope.
    pub fn names_targets(&self) -> bool {
        !(self.targets.is_empty() && self.inventory.is_empty() && self.networks.is_empty())
    }

    /// The inventories that were named as targets.
    pub fn inventories(&self) -> Vec<Inventory> {
        let Some(address) = &self.inventory_address else { return Vec::new() };
        let inventory = |file: &PathBuf| Inventory {
            file: file.clone(),
            address: address.clone(),
            name: self.inventory_name.clone(),
        };
        self.inventory.iter().map(inventory).collect()
    }

    /// The scope of the run: the targets, or the whole declared scope if there are none, minus the excludes, x the
    /// ports (`risky` by default). The shard is not applied yet.
    ///
    /// # Errors
    /// When a target lies outside the declared scope, or nothing that may be probed is left.
    pub fn scope(&self) -> Result<Scope, SettingsError> {
        let networks = if self.networks.is_empty() { &self.declared } else { &self.networks };
        if !self.declared.is_empty() {
            refuse_undeclared(networks, &self.declared)?;
        }
        let ports = self.ports.clone().unwrap_or_else(PortSet::risky);
        Ok(Scope::new(networks, &self.exclude, ports)?)
    }
}

/// Why settings make no run.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum SettingsError {
    /// A target lies outside the declared scope.
    #[error(
        "{target} is not in the declared scope{}; name targets inside the networks of [scope], or add it there",
        in_part(target, outside)
    )]
    Undeclared {
        /// The target, as it was named.
        target: AddressRange,
        /// The first part of it that is not declared.
        outside: AddressRange,
    },
    /// The rates contradict each other.
    #[error(transparent)]
    Pace(#[from] PaceError),
    /// A canary is not among the targets.
    #[error(
        "the canary {canary} is not in the scope; name an endpoint whose address and port are swept, or add them to the scope"
    )]
    CanaryOutside {
        /// The canary.
        canary: SocketAddr,
    },
    /// The scope itself is wrong.
    #[error(transparent)]
    Scope(#[from] ScopeError),
}

/// Which part it is, where it is not the whole.
fn in_part(target: &AddressRange, outside: &AddressRange) -> String {
    if target == outside { String::new() } else { format!(": {outside} is not") }
}

fn refuse_undeclared(networks: &[AddressRange], declared: &[AddressRange]) -> Result<(), SettingsError> {
    let declared = merge(declared);
    for target in networks {
        if let Some(outside) = subtract(&[*target], &declared).first() {
            return Err(SettingsError::Undeclared { target: *target, outside: *outside });
        }
    }
    Ok(())
}

fn parse_seed(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("`{text}` is no seed; write a whole number from 0 to {}", u64::MAX))
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;
    use crate::sweep::plan::defaults;

    /// Sweeps.
    #[derive(Debug, Parser)]
    #[command(name = "portreeve")]
    struct Cli {
        #[command(flatten)]
        settings: Settings,
    }

    fn parse(line: &str) -> Result<Settings, clap::Error> {
        Cli::try_parse_from(["portreeve"].into_iter().chain(line.split_whitespace())).map(|cli| cli.settings)
    }

    /// As [`parse`], with the addresses where everything else looks for them.
    fn gather(line: &str, file: Settings) -> Settings {
        let settings = parse(line).expect("a command line").or(file);
        let read = crate::config::sources::read(settings, &mut std::io::empty()).expect("no files");
        read.unresolved().0
    }

    fn ranges(texts: &[&str]) -> Vec<AddressRange> {
        texts.iter().map(|text| text.parse().expect(text)).collect()
    }

    #[test]
    fn reads_the_command_line() {
        let line = "198.18.0.0/24 198.18.2.1,198.18.3.1 db.example.net @fleet.txt - --inventory f.json --inventory - \
                    --inventory-address a.b --inventory-name Tags.Name --skip-unresolved --exclude-file x.txt \
                    --exclude-file y.txt --exclude 198.18.0.1 --exclude 198.18.0.2,198.18.0.3 \
                    --ports risky,80 --allowlist a.toml --engine packet --rate 10k --rate-max 20k --host-rate 1_000 \
                    --network-rate none --canary 198.18.0.9:22 --canary [2001:db8::1]:22 --tries 3 \
                    --interface eth0 --seed 7 --shard 2/3 --memory 2G --authorization TICKET-1 --banner";
        let settings = parse(line).expect("a command line");
        let words = ["198.18.0.0/24", "198.18.2.1", "198.18.3.1", "db.example.net", "@fleet.txt", "-"];
        assert_eq!(
            settings,
            Settings {
                targets: words.map(|word| word.parse().expect(word)).to_vec(),
                networks: Vec::new(),
                declared: Vec::new(),
                sources: Sources::default(),
                inventory: vec![PathBuf::from("f.json"), PathBuf::from("-")],
                inventory_address: Some("a.b".parse().expect("a field")),
                inventory_name: Some("Tags.Name".parse().expect("a field")),
                skip_unresolved: true,
                exclude_reasons: Vec::new(),
                exclude_file: vec![PathBuf::from("x.txt"), PathBuf::from("y.txt")],
                exclude: ranges(&["198.18.0.1", "198.18.0.2", "198.18.0.3"]),
                ports: Some("risky,80".parse().expect("ports")),
                allowlist: Some(PathBuf::from("a.toml")),
                engine: Some(EngineChoice::Packet),
                rate: Some("10000".parse().expect("a rate")),
                rate_max: NonZeroU32::new(20_000),
                rate_limit: None,
                host_rate: Some("1000".parse().expect("a cap")),
                network_rate: Some(Cap::None),
                canary: ["198.18.0.9:22", "[2001:db8::1]:22"].map(|at| at.parse().expect(at)).to_vec(),
                declared_canaries: Vec::new(),
                tries: Some(3),
                interface: Some("eth0".to_owned()),
                seed: Some(7),
                shard: Some(Shard { number: 2, of: 3 }),
                memory: Some("2G".parse().expect("a size")),
                authorization: Some("TICKET-1".to_owned()),
                banner: true,
                owner: None,
                interval: None,
            }
        );
        assert_eq!(parse("").expect("nothing"), Settings::default());
    }

    #[test]
    fn every_wrong_option_says_what_is_wanted() {
        for (line, says) in [
            ("198.18.3.4/16", "write 198.18.0.0/16 for the network or 198.18.3.4"),
            ("--exclude 198.18.0.0/33", "from 0 to 32"),
            ("--ports rediss", "did you mean `redis`?"),
            ("--engine raw", "`raw` is no engine; choose auto, packet, xdp or connect"),
            ("--rate 0", "not from 1 to 100000000"),
            ("--rate 10m", "write packets a second such as 5000, 10k or 1M"),
            ("--host-rate 0", "not from 1 to 100000000"),
            ("--tries 0", "`0` is no number of tries; write a whole number from 1 to 10"),
            ("--memory 1T", "`1T` is no size of memory"),
            ("--tries 11", "`11` is no number of tries"),
            ("--tries -1", "`-1` is no number of tries"),
            ("--rate -5", "`-5` is no rate; write packets a second such as 5000, 10k or 1M"),
            ("--host-rate -5", "`-5` is no rate"),
            ("--host-rate auto", "5000, 10k or 1M, or none for no cap"),
            ("--network-rate 0", "not from 1 to 100000000"),
            ("--rate-max auto", "`auto` is no rate; write packets a second"),
            ("--canary 198.18.0.1", "write IP:PORT, such as 198.18.0.10:22"),
            ("--seed -5", "`-5` is no seed"),
            ("@", "`@` names no file; write @FILE"),
            ("--exclude db.example.net", "nothing is excluded by name"),
            ("--inventory f.json", "--inventory-address"),
            ("--inventory-address a", "--inventory <FILE>"),
            ("--inventory f.json --inventory-address a..b", "`a..b` is no field"),
            ("--interface a/b", "`ip link` lists them"),
            ("--shard 4/3", "write I/N with I from 1 to N"),
            ("--authorization=", "name the ticket or the person"),
        ] {
            let error = parse(line).expect_err(line).to_string();
            assert!(error.contains(says), "{line}: {error}");
        }
    }

    #[test]
    fn the_help_names_the_choices_and_leaves_the_command_its_description() {
        let help = Cli::command().render_help().to_string();
        assert!(help.starts_with("Sweeps"), "{help}");
        // Wherever its lines are broken.
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        let default = |pps: u32| format!("[default: {pps}");
        let rates = [defaults::RATE_PPS, defaults::HOST_RATE_PPS, defaults::NETWORK_RATE_PPS].map(default);
        let [rate, host_rate, network_rate] = &rates;
        let choices = ["risky, exposed, all", "[possible values: auto, packet, xdp, connect]"];
        for says in choices.into_iter().chain([rate.as_str(), host_rate, network_rate]) {
            assert!(help.contains(says), "{says}: {help}");
        }
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_win_and_excludes_add_up() {
        let file = Settings {
            declared: ranges(&["198.18.0.0/16"]),
            exclude: ranges(&["198.18.4.0/24"]),
            tries: Some(2),
            rate: Some(Rate::Auto),
            ..Settings::default()
        };
        let both = gather("198.18.4.0/23 --tries 5 --exclude 198.18.5.9", file);
        assert_eq!((both.tries, both.rate), (Some(5), Some(Rate::Auto)));
        assert_eq!(both.exclude, ranges(&["198.18.5.9", "198.18.4.0/24"]));
        let scope = both.scope().expect("a scope");
        assert_eq!(scope.ranges(), ranges(&["198.18.5.0-198.18.5.8", "198.18.5.10-198.18.5.255"]));
        assert_eq!(scope.ports(), &PortSet::risky());
    }

    #[test]
    fn targets_must_lie_in_what_is_declared() {
        let file =
            || Settings { declared: ranges(&["198.18.0.0/24", "198.18.1.0/24"]), ..Settings::default() };
        assert_eq!(file().scope().expect("the whole").hosts(), 512);
        assert!(gather("198.18.0.128-198.18.1.9", file()).scope().is_ok(), "across both");
        let outside = gather("198.18.0.1 198.18.1.0-198.18.2.9", file());
        let error = outside.scope().expect_err("outside").to_string();
        assert!(error.starts_with(
            "198.18.1.0-198.18.2.9 is not in the declared scope: 198.18.2.0-198.18.2.9 is not;"
        ));
        assert!(gather("203.0.113.1", Settings::default()).scope().is_ok(), "nothing is declared");
        assert_eq!(Settings::default().scope(), Err(ScopeError::NoNetworks.into()));
    }
}
