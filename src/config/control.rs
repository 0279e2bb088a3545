//! `[control]`: the run over all ports that is evidence, and for which control.

use std::num::NonZeroU64;

use jiff::tz::TimeZone;

use super::document::Section;
use super::hours::{Hours, OpeningHours};
use super::settings::Settings;
use super::sinks::secret::read_secret;
use super::sweep::{
    BANNER, ENGINE, HOST_RATE, INTERFACE, NETWORK_RATE, PORTS, RATE_MAX, TRIES, read_cap, read_interface,
    read_pps, read_tries,
};
use super::time::{TIMEZONE, read_zone};
use super::value::{Key, Value, values};
use crate::sink::secret::SecretPlace;

static CONTROL: Key = Key { name: "control", example: "{ id = \"NET-01\" }" };
static ID: Key = Key { name: "id", example: "\"NET-01\"" };
static TITLE: Key = Key { name: "title", example: "\"No forbidden port is reachable\"" };
static FRAMEWORKS: Key = Key { name: "frameworks", example: "[\"PCI DSS 4.0.1 1.2.5\"]" };
static FREQUENCY: Key = Key { name: "frequency", example: "\"quarterly\"" };
static OWNER: Key = Key { name: "owner", example: "\"netsec@example.com\"" };
static PERFORMER: Key = Key { name: "performer", example: "\"netops@example.com\"" };
static REVIEWER: Key = Key { name: "reviewer", example: "\"audit@example.com\"" };
static HOURS: Key = Key { name: "hours", example: "[\"22:00-05:00\"]" };
static ATTEMPTS: Key = Key { name: "attempts", example: "3" };
static TILE: Key = Key { name: "tile", example: "1_000_000" };
static SIGNING_KEY_FILE: Key = Key { name: "signing_key_file", example: "\"secrets/evidence\"" };

/// How often a tile is swept of which something is unknown, if nobody says.
pub const DEFAULT_ATTEMPTS: u32 = 3;

/// `[control]`.
#[derive(Clone, Debug, PartialEq)]
pub struct ControlConfig {
    /// The control's identifier.
    pub id: String,
    /// What it is called.
    pub title: String,
    /// What it is evidence for, in other people's catalogues.
    pub frameworks: Vec<String>,
    /// How often it is performed.
    pub frequency: String,
    /// Who answers for it.
    pub owner: Option<String>,
    /// Who performs it.
    pub performer: Option<String>,
    /// Who is to review it.
    pub reviewer: Option<String>,
    /// The hours in which it may send.
    pub opening: OpeningHours,
    /// How often a tile is swept of which something is unknown.
    pub attempts: u32,
    /// Targets of a tile; `None` for as many as are swept in a minute.
    pub tile: Option<NonZeroU64>,
    /// The key that signs the evidence: an Ed25519 key in OpenSSH's form.
    pub signing_key: Option<SecretPlace>,
    /// What it says of the sweep itself, above what `[sweep]` says.
    pub settings: Settings,
}

impl Default for ControlConfig {
    fn default() -> Self {
        ControlConfig {
            id: "portreeve".to_owned(),
            title: "No port is reachable that must not be".to_owned(),
            frameworks: Vec::new(),
            frequency: "quarterly".to_owned(),
            owner: None,
            performer: None,
            reviewer: None,
            opening: OpeningHours::default(),
            attempts: DEFAULT_ATTEMPTS,
            tile: None,
            signing_key: None,
            settings: Settings::default(),
        }
    }
}

/// Reads `[control]`.
pub(super) fn read_control(root: &mut Section<'_>) -> ControlConfig {
    let usual = ControlConfig::default();
    let Some(mut section) = root.table(&CONTROL) else { return usual };
    let mut settings = Settings::default();
    let mut text = |key| section.take(key).and_then(Value::text);
    let (id, title, frequency) = (text(&ID), text(&TITLE), text(&FREQUENCY));
    let (owner, performer, reviewer) = (text(&OWNER), text(&PERFORMER), text(&REVIEWER));
    let frameworks = values(section.list(&FRAMEWORKS, Value::text));
    let hours = values(section.list_some(&HOURS, "hours such as 22:00-05:00", Value::parsed::<Hours>));
    let zone = section.take(&TIMEZONE).and_then(read_zone).unwrap_or(TimeZone::UTC);
    let attempts = section.take(&ATTEMPTS).and_then(|value| value.integer(1..=10));
    let tile = section.take(&TILE).and_then(|value| value.integer(1000..=1 << 24)).and_then(NonZeroU64::new);
    let signing_key = read_secret(&mut section, &SIGNING_KEY_FILE);
    settings.ports = section.take(&PORTS).and_then(Value::ports);
    settings.rate_limit = section.take(&RATE_MAX).and_then(read_pps);
    settings.host_rate = section.take(&HOST_RATE).and_then(read_cap);
    settings.network_rate = section.take(&NETWORK_RATE).and_then(read_cap);
    settings.tries = section.take(&TRIES).and_then(read_tries);
    settings.engine = section.take(&ENGINE).and_then(Value::parsed);
    settings.interface = section.take(&INTERFACE).and_then(read_interface);
    settings.banner = section.take(&BANNER).and_then(Value::boolean).unwrap_or_default();
    section.need(&[&ID]);
    section.finish();
    ControlConfig {
        id: id.unwrap_or(usual.id),
        title: title.unwrap_or(usual.title),
        frameworks,
        frequency: frequency.unwrap_or(usual.frequency),
        owner,
        performer,
        reviewer,
        opening: OpeningHours { hours, zone },
        attempts: attempts.map_or(usual.attempts, |attempts| attempts as u32),
        tile,
        signing_key,
        settings,
    }
}
