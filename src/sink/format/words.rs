//! What is said of an event in words: a code, a name, a title, a sentence.

use super::parts::Text;
use super::view::{Kind, View, stamp};
use crate::policy::kind::FindingKind;

impl View<'_> {
    /// What has happened, in one word: `exposure.firing`, `exposure.found`, or the kind of the event.
    pub fn code(&self) -> String {
        match self.kind {
            Some(kind) => format!("{kind}.{}", self.transition.unwrap_or("found")),
            None => self.event.as_str().to_owned(),
        }
    }

    /// A short title, without a word that others wrote.
    pub fn title(&self) -> String {
        let at = self.endpoint().map(|at| format!(": {at}")).unwrap_or_default();
        format!("{}{at}", self.name())
    }

    /// What it is, without what it is about.
    pub fn name(&self) -> &'static str {
        match self.kind {
            Some(FindingKind::Exposure) => "Port open that is not allowed",
            Some(FindingKind::AnswersAll) => "Host accepts every port",
            Some(FindingKind::AllowanceExpired) => "Allowance has expired",
            Some(FindingKind::AllowanceUnused) => "Allowance is not used",
            Some(FindingKind::AllowanceExpiring) => "Allowance expires soon",
            Some(FindingKind::Outage) => "Port not open that must be",
            Some(FindingKind::VantageBlind) => "Sweep did not see everything",
            Some(FindingKind::SweepMissed) => "Sweep did not begin when due",
            Some(FindingKind::DeliveryFailed) => "Messages are not delivered",
            Some(FindingKind::StoreFailed) => "Database cannot be written",
            Some(FindingKind::ConfigRejected) => "Changed configuration has mistakes",
            Some(FindingKind::ClockStepped) => "Clock has jumped",
            Some(FindingKind::Storm) => "Many exposures at once",
            Some(FindingKind::Drill) => "Drill",
            None => self.event_name(),
        }
    }

    fn event_name(&self) -> &'static str {
        match self.event {
            Kind::SweepStarted => "Sweep started",
            Kind::Port => "Port observed",
            Kind::Finding | Kind::Alert => "Finding",
            Kind::SweepCompleted => "Sweep completed",
            Kind::SweepSkipped => "Sweep skipped",
            Kind::ControlStarted => "Control run started",
            Kind::ControlTile => "Control run: a tile is done",
            Kind::ControlPaused => "Control run paused",
            Kind::ControlStopped => "Control run stopped",
            Kind::ControlCompleted => "Control run completed",
            Kind::Heartbeat => "Heartbeat",
            Kind::WatchStarted => "Watch started",
            Kind::WatchStopped => "Watch stopped",
            Kind::ConfigLoaded => "Configuration loaded",
        }
    }

    /// One sentence, no longer than any other text.
    pub fn sentence(&self) -> String {
        match self.message {
            Some(message) => message.to_string(),
            None => Text::new(&self.own_sentence()).to_string(),
        }
    }

    fn own_sentence(&self) -> String {
        let sweep = self.sweep.unwrap_or("none");
        match self.event {
            Kind::Port => {
                let at = self.endpoint().unwrap_or_default();
                format!("{at} is {} ({})", self.state.unwrap_or("?"), self.reason.unwrap_or("?"))
            }
            Kind::SweepStarted => {
                format!("sweep {sweep} of {} targets has begun", self.targets().unwrap_or(0))
            }
            Kind::SweepCompleted => {
                let (verdict, findings) = (self.verdict.unwrap_or("?"), self.findings.unwrap_or(0));
                let ledger = self.ledger.unwrap_or_default();
                format!(
                    "sweep {sweep} is over: {verdict}, {findings} findings, {} of {} targets unknown",
                    ledger.unknown, ledger.declared
                )
            }
            Kind::SweepSkipped => {
                let (watch, why) = (self.watch.as_deref().unwrap_or("?"), self.why.as_deref().unwrap_or("?"));
                format!("{} sweeps of {watch} were due and not made: {why}", self.skipped.unwrap_or(0))
            }
            Kind::ControlStarted
            | Kind::ControlTile
            | Kind::ControlPaused
            | Kind::ControlStopped
            | Kind::ControlCompleted => self.of_control(sweep),
            Kind::Heartbeat => format!("the watch is alive; {} alerts fire", self.firing.unwrap_or(0)),
            Kind::WatchStarted => "the watch has begun".to_owned(),
            Kind::WatchStopped => "the watch ends".to_owned(),
            Kind::ConfigLoaded => "a changed configuration holds from now on".to_owned(),
            Kind::Finding | Kind::Alert => self.title(),
        }
    }

    fn of_control(&self, run: &str) -> String {
        let control = self.control.as_deref().unwrap_or("?");
        match self.event {
            Kind::ControlStarted => {
                let begun = if self.resumed { "goes on" } else { "has begun" };
                format!("control run {run} for {control} {begun}: {} targets", self.targets().unwrap_or(0))
            }
            Kind::ControlTile => {
                let (tile, tiles) = (self.tile.unwrap_or(0), self.tiles.unwrap_or(0));
                format!("control run {run}: tile {tile} of {tiles} is done")
            }
            Kind::ControlPaused => {
                let until = self.until.map(stamp).unwrap_or_default();
                format!("control run {run} is paused until {until}")
            }
            Kind::ControlStopped => {
                format!("control run {run} was stopped: {}", self.why.as_deref().unwrap_or("?"))
            }
            _ => {
                let (verdict, findings) = (self.verdict.unwrap_or("?"), self.findings.unwrap_or(0));
                let unknown = self.ledger.unwrap_or_default().unknown;
                format!(
                    "control run {run} for {control}: {verdict}, {findings} findings, {unknown} targets unknown"
                )
            }
        }
    }
}
