//! The settings of a run: the one struct of options, filled in by the file and by the command line.

use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use super::options::{EngineChoice, EngineParser, Rate, parse_authorization, parse_interface, parse_pps};
use crate::target::address::AddressRange;
use crate::target::ports::PortSet;
use crate::target::scope::{Scope, ScopeError, Shard, merge, subtract};

/// Everything that can be said of a run; what is `None` or empty has not been said.
///
/// The documentation of each field that is an option is also its help text.
#[derive(Clone, Debug, Default, PartialEq, clap::Args)]
pub struct Settings {
    /// Networks, ranges or addresses to sweep
    ///
    /// Such as 198.18.0.0/24, 198.18.0.10-198.18.0.20 or 198.18.0.7. If the configuration declares a scope, they must
    /// lie inside it; without any, the whole declared scope is swept.
    #[arg(value_name = "TARGET", value_delimiter = ',')]
    pub networks: Vec<AddressRange>,

    /// The networks that the file declares; targets outside them are refused.
    #[arg(skip)]
    pub declared: Vec<AddressRange>,

    /// Never probe these; added to the excludes of the configuration
    ///
    /// May be repeated; commas separate several.
    #[arg(long, value_name = "NET", value_delimiter = ',')]
    pub exclude: Vec<AddressRange>,

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
    #[arg(long, value_name = "ENGINE", value_parser = EngineParser)]
    pub engine: Option<EngineChoice>,

    /// Send at most so many packets a second, such as 5000, 10k or 1M; or auto
    #[arg(long, value_name = "PPS|auto")]
    pub rate: Option<Rate>,

    /// Send at most so many packets a second to any one host [default: 200]
    #[arg(long, value_name = "PPS", value_parser = parse_host_rate)]
    pub host_rate: Option<u32>,

    /// Probes for a target that does not answer, from 1 to 10
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=10))]
    pub tries: Option<u8>,

    /// Send by this network interface
    #[arg(long, value_name = "IF", value_parser = parse_interface)]
    pub interface: Option<String>,

    /// Repeat the order of an earlier run
    ///
    /// The number that is its `seed` in its `sweep.started` event.
    #[arg(long, value_name = "N", value_parser = parse_seed)]
    pub seed: Option<u64>,

    /// Sweep only part I of N, split by address
    #[arg(long, value_name = "I/N")]
    pub shard: Option<Shard>,

    /// The ticket or owner that allows this run, kept in every record of it
    #[arg(long, value_name = "TEXT", value_parser = parse_authorization)]
    pub authorization: Option<String>,

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
            networks: if self.networks.is_empty() { lower.networks } else { self.networks },
            declared: if self.declared.is_empty() { lower.declared } else { self.declared },
            exclude: [self.exclude, lower.exclude].concat(),
            ports: self.ports.or(lower.ports),
            allowlist: self.allowlist.or(lower.allowlist),
            engine: self.engine.or(lower.engine),
            rate: self.rate.or(lower.rate),
            host_rate: self.host_rate.or(lower.host_rate),
            tries: self.tries.or(lower.tries),
            interface: self.interface.or(lower.interface),
            seed: self.seed.or(lower.seed),
            shard: self.shard.or(lower.shard),
            authorization: self.authorization.or(lower.authorization),
            owner: self.owner.or(lower.owner),
            interval: self.interval.or(lower.interval),
        }
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

fn parse_host_rate(text: &str) -> Result<u32, super::options::RateError> {
    parse_pps(text).map(std::num::NonZeroU32::get)
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

    fn ranges(texts: &[&str]) -> Vec<AddressRange> {
        texts.iter().map(|text| text.parse().expect(text)).collect()
    }

    #[test]
    fn reads_the_command_line() {
        let line = "198.18.0.0/24 198.18.2.1,198.18.3.1 --exclude 198.18.0.1 --exclude 198.18.0.2,198.18.0.3 \
                    --ports risky,80 --allowlist a.toml --engine packet --rate 10k --host-rate 1_000 --tries 3 \
                    --interface eth0 --seed 7 --shard 2/3 --authorization TICKET-1";
        let settings = parse(line).expect("a command line");
        assert_eq!(
            settings,
            Settings {
                networks: ranges(&["198.18.0.0/24", "198.18.2.1", "198.18.3.1"]),
                declared: Vec::new(),
                exclude: ranges(&["198.18.0.1", "198.18.0.2", "198.18.0.3"]),
                ports: Some("risky,80".parse().expect("ports")),
                allowlist: Some(PathBuf::from("a.toml")),
                engine: Some(EngineChoice::Packet),
                rate: Some("10000".parse().expect("a rate")),
                host_rate: Some(1000),
                tries: Some(3),
                interface: Some("eth0".to_owned()),
                seed: Some(7),
                shard: Some(Shard { number: 2, of: 3 }),
                authorization: Some("TICKET-1".to_owned()),
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
            ("--engine xdp", "the xdp engine comes in a later version; choose packet"),
            ("--engine raw", "`raw` is no engine; choose auto, packet or connect"),
            ("--rate 0", "not from 1 to 100000000"),
            ("--rate 10m", "write packets a second such as 5000, 10k or 1M"),
            ("--host-rate 0", "not from 1 to 100000000"),
            ("--tries 0", "0 is not in 1..=10"),
            ("--tries 11", "11 is not in 1..=10"),
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
        let host_rate = format!("[default: {}]", defaults::HOST_RATE_PPS);
        for says in ["risky, exposed, all", "[possible values: auto, packet, connect]", &host_rate] {
            assert!(help.contains(says), "{says}: {help}");
        }
        assert!(!help.contains("xdp"), "{help}");
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
        let both = parse("198.18.4.0/23 --tries 5 --exclude 198.18.5.9").expect("a command line").or(file);
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
        assert!(parse("198.18.0.128-198.18.1.9").expect("targets").or(file()).scope().is_ok(), "across both");
        let outside = parse("198.18.0.1 198.18.1.0-198.18.2.9").expect("targets").or(file());
        let error = outside.scope().expect_err("outside").to_string();
        assert!(error.starts_with(
            "198.18.1.0-198.18.2.9 is not in the declared scope: 198.18.2.0-198.18.2.9 is not;"
        ));
        assert!(parse("203.0.113.1").expect("a target").scope().is_ok(), "nothing is declared");
        assert_eq!(Settings::default().scope(), Err(ScopeError::NoNetworks.into()));
    }
}
