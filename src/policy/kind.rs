//! What is found, and by which rule.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::class::Class;

/// What was found.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FindingKind {
    /// A target is open and may not be.
    Exposure,
    /// A host accepts every port, and its open ports say nothing one by one.
    AnswersAll,
    /// An allowance has expired, and nothing that it named is open any more. Where something is, that is an exposure.
    AllowanceExpired,
    /// An allowance holds, and nothing that it names is open.
    AllowanceUnused,
    /// An allowance will expire soon.
    AllowanceExpiring,
    /// A target must be open, and is not.
    Outage,
    /// A sweep did not see everything that it was to see.
    VantageBlind,
    /// A sweep could not begin, or was still busy when its next one was due.
    SweepMissed,
    /// A message could not be delivered, for good.
    DeliveryFailed,
    /// The database cannot be written.
    StoreFailed,
    /// A changed configuration or allowlist has mistakes, and what was there before holds on.
    ConfigRejected,
    /// The clock of this host has jumped.
    ClockStepped,
    /// So many exposures at once that they have one page together.
    Storm,
    /// Nothing at all: somebody tries out whether alerts arrive.
    Drill,
}

impl FindingKind {
    /// All of them.
    pub const ALL: [FindingKind; 14] = [
        FindingKind::Exposure,
        FindingKind::AnswersAll,
        FindingKind::AllowanceExpired,
        FindingKind::AllowanceUnused,
        FindingKind::AllowanceExpiring,
        FindingKind::Outage,
        FindingKind::VantageBlind,
        FindingKind::SweepMissed,
        FindingKind::DeliveryFailed,
        FindingKind::StoreFailed,
        FindingKind::ConfigRejected,
        FindingKind::ClockStepped,
        FindingKind::Storm,
        FindingKind::Drill,
    ];

    /// The word for it, as in events.
    pub fn as_str(self) -> &'static str {
        match self {
            FindingKind::Exposure => "exposure",
            FindingKind::AnswersAll => "answers-all",
            FindingKind::AllowanceExpired => "allowance-expired",
            FindingKind::AllowanceUnused => "allowance-unused",
            FindingKind::AllowanceExpiring => "allowance-expiring",
            FindingKind::Outage => "outage",
            FindingKind::VantageBlind => "vantage-blind",
            FindingKind::SweepMissed => "sweep-missed",
            FindingKind::DeliveryFailed => "delivery-failed",
            FindingKind::StoreFailed => "store-failed",
            FindingKind::ConfigRejected => "config-rejected",
            FindingKind::ClockStepped => "clock-stepped",
            FindingKind::Storm => "storm",
            FindingKind::Drill => "drill",
        }
    }

    /// Who is to hear of it, where the configuration does not say otherwise.
    pub fn class(self) -> Class {
        match self {
            FindingKind::Exposure
            | FindingKind::AnswersAll
            | FindingKind::AllowanceExpired
            | FindingKind::AllowanceUnused
            | FindingKind::AllowanceExpiring
            | FindingKind::Storm
            | FindingKind::Drill => Class::security(),
            FindingKind::Outage => Class::health(),
            FindingKind::VantageBlind
            | FindingKind::SweepMissed
            | FindingKind::DeliveryFailed
            | FindingKind::StoreFailed
            | FindingKind::ConfigRejected
            | FindingKind::ClockStepped => Class::own(),
        }
    }

    /// Whether the operator's grades are asked how bad it is and whom it is for.
    pub fn is_graded(self) -> bool {
        match self {
            FindingKind::Exposure
            | FindingKind::AnswersAll
            | FindingKind::AllowanceExpired
            | FindingKind::AllowanceUnused
            | FindingKind::AllowanceExpiring
            | FindingKind::Outage
            | FindingKind::VantageBlind => true,
            FindingKind::SweepMissed
            | FindingKind::DeliveryFailed
            | FindingKind::StoreFailed
            | FindingKind::ConfigRejected
            | FindingKind::ClockStepped
            | FindingKind::Storm
            | FindingKind::Drill => false,
        }
    }

    /// Whether it calls for somebody. What does not is a note on the allowlist, and stays in the record.
    pub fn alerts(self) -> bool {
        !matches!(self, FindingKind::AllowanceExpired | FindingKind::AllowanceUnused)
    }
}

impl fmt::Display for FindingKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The rule that a finding breaks.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Rule {
    /// Whatever is not allowed must be closed.
    DefaultClosed,
    /// An allowance ends with its expiry.
    AllowanceExpired,
    /// An allowance is there to be used.
    AllowanceUnused,
    /// Whoever answers for an allowance hears of its end in time.
    AllowanceExpiring,
    /// Whatever is expected must be open.
    MustBeOpen,
    /// Every target of every sweep has its state.
    Sight,
    /// Every sweep begins when it is due.
    Schedule,
    /// Every message arrives.
    Delivery,
    /// What has been seen and said is on disk.
    Storage,
    /// What the operator has written is what holds.
    Configuration,
    /// Time goes on evenly.
    Clock,
    /// Nobody is paged a thousand times at once.
    StormGuard,
    /// Somebody has asked for it.
    Drill,
}

impl Rule {
    /// All of them.
    pub const ALL: [Rule; 13] = [
        Rule::DefaultClosed,
        Rule::AllowanceExpired,
        Rule::AllowanceUnused,
        Rule::AllowanceExpiring,
        Rule::MustBeOpen,
        Rule::Sight,
        Rule::Schedule,
        Rule::Delivery,
        Rule::Storage,
        Rule::Configuration,
        Rule::Clock,
        Rule::StormGuard,
        Rule::Drill,
    ];

    /// The word for it, as in events.
    pub fn as_str(self) -> &'static str {
        match self {
            Rule::DefaultClosed => "default-closed",
            Rule::AllowanceExpired => "allowance-expired",
            Rule::AllowanceUnused => "allowance-unused",
            Rule::AllowanceExpiring => "allowance-expiring",
            Rule::MustBeOpen => "must-be-open",
            Rule::Sight => "sight",
            Rule::Schedule => "schedule",
            Rule::Delivery => "delivery",
            Rule::Storage => "storage",
            Rule::Configuration => "configuration",
            Rule::Clock => "clock",
            Rule::StormGuard => "storm-guard",
            Rule::Drill => "drill",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
