//! How patient alerts are: what the step of an alert's life takes from the configuration.

use std::time::Duration;

/// `[alerting]`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AlertRules {
    /// How long after people have last been told they are told again, while nobody has taken it on; `None` for never.
    pub remind_every: Option<Duration>,
    /// More new exposures than this in one sweep are a storm, which has one message to people.
    pub storm_above: u32,
    /// How many of the last judgements are looked at, up to [`LONGEST_WINDOW`].
    pub flap_window: u8,
    /// How many changes among them make an alert flap.
    pub flap_flips: u8,
    /// How many sweeps in a row must have missed something before that is an alert.
    pub blind_after: u32,
    /// How long after an exposure a second look is taken; `None` for no second look.
    pub second_look_after: Option<Duration>,
}

/// The most judgements that are remembered: one bit each.
pub const LONGEST_WINDOW: u8 = 32;

/// What holds if nobody says: reminders every four hours, storms above 20, five flips in 20 judgements, the first blind
/// sweep, and a second look after five seconds.
impl Default for AlertRules {
    fn default() -> Self {
        AlertRules {
            remind_every: Some(Duration::from_secs(4 * 3600)),
            storm_above: 20,
            flap_window: 20,
            flap_flips: 5,
            blind_after: 1,
            second_look_after: Some(Duration::from_secs(5)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_if_nobody_says_can_be_kept() {
        let rules = AlertRules::default();
        assert!(rules.flap_flips < rules.flap_window && rules.flap_window <= LONGEST_WINDOW);
        // A new exposure must be told of by itself, so a storm is never one alone.
        assert!(rules.storm_above > 0);
    }
}
