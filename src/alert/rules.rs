//! What an operator can say of alerts.

use std::time::Duration;

/// When people are told, and how often.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AlertRules {
    /// After how long they are told again of what still fires and nobody has taken on; `None` for never.
    pub remind_every: Option<Duration>,
    /// More new alerts of one class than this at once are told by one message about all of them.
    pub storm_above: u32,
    /// How many of the last judgements of a target that must be open are looked at for flapping, at most 32.
    pub flap_window: u8,
    /// How many changes among them are too many.
    pub flap_flips: u8,
    /// How many sweeps in a row must have seen too little before that is told.
    pub blind_after: u32,
    /// How long after the first word on an exposure it is looked at once more; `None` for never.
    pub second_look_after: Option<Duration>,
}

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
