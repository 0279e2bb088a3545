//! How fast a run goes, and which canaries prove that the network carries: what follows from the settings together.
//!
//! The `rate_max` of a file is different from that of the command line. Whoever answers for the network wrote it, so it
//! is a limit to whatever is typed: the command line can go below it and never above.

use std::net::SocketAddr;
use std::num::NonZeroU32;

use thiserror::Error;

use super::options::Rate;
use super::settings::{Settings, SettingsError};
use crate::sweep::plan::defaults;
use crate::target::address::AddressRange;
use crate::target::scope::{Scope, merge, subtract};
use crate::target::{Target, Transport};

/// How fast a run goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Pace {
    /// Packets a second over all, at most.
    pub ceiling: NonZeroU32,
    /// Whether the run finds its own rate below that.
    pub governed: bool,
}

/// Why rates do not go together.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum PaceError {
    /// The rate is higher than its own maximum.
    #[error(
        "--rate {rate} is above --rate-max {rate_max}; lower the one, raise the other, or leave one of them out"
    )]
    AboveMaximum {
        /// The rate.
        rate: NonZeroU32,
        /// The maximum.
        rate_max: NonZeroU32,
    },
    /// A rate is higher than the file allows.
    #[error(
        "--{flag} {pps} is above {limit}, the rate_max of the configuration; ask for less, or raise rate_max there if the network stands it"
    )]
    AboveLimit {
        /// Which flag asks for it.
        flag: &'static str,
        /// What it asks for.
        pps: NonZeroU32,
        /// The limit of the file.
        limit: NonZeroU32,
    },
}

impl Settings {
    /// How fast the run goes.
    ///
    /// # Errors
    /// When what was typed is above its own maximum, or above the limit of the file.
    pub fn pace(&self) -> Result<Pace, PaceError> {
        let fixed = match self.rate {
            Some(Rate::Pps(pps)) => Some(pps),
            Some(Rate::Auto) | None => None,
        };
        if let (Some(rate), Some(rate_max)) = (fixed, self.rate_max)
            && rate > rate_max
        {
            return Err(PaceError::AboveMaximum { rate, rate_max });
        }
        for (flag, asked) in [("rate", fixed), ("rate-max", self.rate_max)] {
            if let (Some(pps), Some(limit)) = (asked, self.rate_limit)
                && pps > limit
            {
                return Err(PaceError::AboveLimit { flag, pps, limit });
            }
        }
        let usual = NonZeroU32::new(defaults::RATE_PPS).unwrap_or(NonZeroU32::MIN);
        let ceiling = fixed.or(self.rate_max).or(self.rate_limit).unwrap_or(usual);
        Ok(Pace { ceiling, governed: fixed.is_none() })
    }

    /// The canaries among the targets of this part of the scope: a shard of it, and without what is left out.
    ///
    /// What is typed must be swept. What the file names must lie in the networks that it declares; a run of other
    /// targets or ports goes without it.
    ///
    /// # Errors
    /// When a canary is not among the targets, or the settings make no scope.
    pub fn canaries(&self, part: &Scope) -> Result<Vec<Target>, SettingsError> {
        let whole = self.scope()?;
        let is_in = |scope: &Scope, at: &SocketAddr| scope.index_of(at.ip(), at.port()).is_some();
        // What this part lacks may be in another shard's.
        let is_swept = |at: &SocketAddr| is_in(&whole, at) && (self.shard.is_some() || is_in(part, at));
        let declared = subtract(&merge(&self.declared), &merge(&self.exclude));
        let is_declared = |at: &SocketAddr| match declared.is_empty() {
            true => is_swept(at),
            false => subtract(&[AddressRange::single(at.ip())], &declared).is_empty(),
        };
        let typed = self.canary.iter().find(|at| !is_swept(at));
        if let Some(canary) = typed.or_else(|| self.declared_canaries.iter().find(|at| !is_declared(at))) {
            return Err(SettingsError::CanaryOutside { canary: *canary });
        }
        let named = self.canary.iter().chain(&self.declared_canaries);
        let asked = named.filter(|at| is_in(part, at));
        Ok(asked.map(|at| Target { ip: at.ip(), port: at.port(), transport: Transport::Tcp }).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::scope::Shard;

    fn pps(pps: u32) -> Option<NonZeroU32> {
        NonZeroU32::new(pps)
    }

    fn settings(rate: Option<u32>, rate_max: Option<u32>, limit: Option<u32>) -> Settings {
        Settings {
            rate: rate.and_then(pps).map(Rate::Pps),
            rate_max: rate_max.and_then(pps),
            rate_limit: limit.and_then(pps),
            ..Settings::default()
        }
    }

    #[test]
    fn a_rate_is_fixed_and_anything_else_is_a_ceiling() {
        for (rate, rate_max, limit, ceiling, governed) in [
            (None, None, None, 10_000, true),
            (None, Some(200_000), None, 200_000, true),
            (None, None, Some(50_000), 50_000, true),
            (None, Some(20_000), Some(50_000), 20_000, true),
            (Some(200_000), None, None, 200_000, false),
            (Some(30_000), None, Some(50_000), 30_000, false),
            (Some(50_000), Some(50_000), Some(50_000), 50_000, false),
        ] {
            let pace = settings(rate, rate_max, limit).pace().expect("a pace");
            assert_eq!(
                (pace.ceiling.get(), pace.governed),
                (ceiling, governed),
                "{rate:?} {rate_max:?} {limit:?}"
            );
        }
        let auto = Settings { rate: Some(Rate::Auto), ..settings(None, Some(7), None) };
        assert!(auto.pace().expect("a pace").governed);
    }

    #[test]
    fn nothing_typed_goes_above_a_maximum() {
        for (rate, rate_max, limit, says) in [
            (Some(20_000), Some(10_000), None, "--rate 20000 is above --rate-max 10000;"),
            (
                Some(60_000),
                None,
                Some(50_000),
                "--rate 60000 is above 50000, the rate_max of the configuration;",
            ),
            (None, Some(60_000), Some(50_000), "--rate-max 60000 is above 50000, the rate_max of the"),
        ] {
            let error = settings(rate, rate_max, limit).pace().expect_err(says).to_string();
            assert!(error.starts_with(says), "{error}");
        }
    }

    fn ranges(text: &str) -> Vec<AddressRange> {
        text.split_whitespace().map(|text| text.parse().expect(text)).collect()
    }

    fn endpoints(text: &str) -> Vec<SocketAddr> {
        text.split_whitespace().map(|text| text.parse().expect(text)).collect()
    }

    fn named(settings: &Settings) -> Result<String, String> {
        let scope = settings.scope().expect("a scope");
        let part = settings.shard.map_or(scope.clone(), |s| scope.shard(s.number, s.of).expect("a shard"));
        let targets = settings.canaries(&part).map_err(|error| error.to_string())?;
        Ok(targets.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn a_typed_canary_must_be_swept() {
        let with = |canary: &str| Settings {
            networks: ranges("198.18.0.0/24"),
            exclude: ranges("198.18.0.7"),
            canary: endpoints(canary),
            ..Settings::default()
        };
        assert_eq!(
            named(&with("198.18.0.9:22 198.18.0.8:6379")).expect("targets"),
            "198.18.0.9:22/tcp 198.18.0.8:6379/tcp"
        );
        for outside in ["198.18.1.9:22", "198.18.0.9:23", "198.18.0.7:22"] {
            let error = named(&with(&format!("198.18.0.9:22 {outside}"))).expect_err(outside);
            assert!(error.starts_with(&format!("the canary {outside} is not in the scope; ")), "{error}");
        }
        // Each canary is asked by the shard that has it, and by no other.
        let shards = [1, 2].map(|number| {
            let shard = Some(Shard { number, of: 2 });
            named(&Settings { shard, ..with("198.18.0.9:22 198.18.0.200:22") }).expect("targets")
        });
        assert_eq!(shards, ["198.18.0.9:22/tcp", "198.18.0.200:22/tcp"]);
    }

    #[test]
    fn a_canary_of_the_file_must_be_declared_and_holds_where_it_is_swept() {
        let with = |networks: &str, canary: &str| Settings {
            declared: ranges("198.18.0.0/16"),
            exclude: ranges("198.18.4.0/24"),
            networks: ranges(networks),
            declared_canaries: endpoints(canary),
            ..Settings::default()
        };
        assert_eq!(named(&with("", "198.18.0.9:22")).expect("targets"), "198.18.0.9:22/tcp");
        assert_eq!(
            named(&with("198.18.1.0/24", "198.18.0.9:22 198.18.1.9:22 198.18.1.9:80")).expect("targets"),
            "198.18.1.9:22/tcp"
        );
        for outside in ["198.19.0.9:22", "198.18.4.1:22"] {
            assert!(named(&with("", outside)).expect_err(outside).contains(outside));
        }
    }
}
