//! `[[watch]]`: what is swept when, for `portreeve watch`.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::time::Duration;

use croner::Cron;
use jiff::tz::TimeZone;

use super::document::{Document, Section};
use super::names::{parse_name, refuse_twins};
use super::options::{Rate, TargetWord};
use super::scope::{EXCLUDE, read_exclude};
use super::settings::{Settings, SettingsError};
use super::sweep::{
    BANNER, CANARIES, ENGINE, HOST_RATE, INTERFACE, NETWORK_RATE, PORTS, RATE_MAX, TRIES, read_canary,
    read_cap, read_interface, read_pps, read_tries,
};
use super::time::{CRON, TIMEZONE, gaps, read_cron, read_zone};
use super::value::{Key, Placed, Value, in_words, values};
use crate::target::address::AddressRange;
use crate::target::scope::{Scope, merge, subtract};
use crate::target::written::Written;

static WATCH: Key = Key { name: "watch", example: "[{ name = \"risky\", interval = \"60s\" }]" };
static NAME: Key = Key { name: "name", example: "\"risky\"" };
static INTERVAL: Key = Key { name: "interval", example: "\"60s\"" };
static JITTER: Key = Key { name: "jitter", example: "\"5s\"" };
static HOSTS: Key = Key { name: "hosts", example: "[\"198.18.0.0/24\"]" };
static RATE: Key = Key { name: "rate", example: "\"auto\"" };

/// The name of the one watch of a file without `[[watch]]`.
pub const DEFAULT_NAME: &str = "sweep";

/// How often a watch sweeps, if nobody says.
pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(60);

/// The shortest and the longest interval of a watch.
const INTERVALS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(31 * 24 * 3600);

/// The longest jitter; where there is an interval, it must be below that as well.
const JITTERS: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(24 * 3600);

/// One watch.
#[derive(Clone, Debug, PartialEq)]
pub struct WatchConfig {
    /// Its name.
    pub name: String,
    /// When it sweeps.
    pub schedule: Schedule,
    /// By how much at most each sweep is put off, at random.
    pub jitter: Duration,
    /// What it sweeps and how: `[scope]` and `[sweep]`, and what the watch says in their place. Its hosts are
    /// `targets`, its canaries `canary`, as if they had been typed.
    pub settings: Settings,
    /// The line of the file where its table begins; 1 where there is none.
    pub line: u32,
}

/// When a watch sweeps.
#[derive(Clone, Debug, PartialEq)]
pub enum Schedule {
    /// Evenly.
    Every {
        /// From the time that one sweep is due to the time that the next is.
        interval: Duration,
    },
    /// By the clock on the wall.
    Cron {
        /// When.
        cron: Box<Cron>,
        /// Whose wall.
        zone: TimeZone,
    },
}

impl Schedule {
    /// The time between two sweeps, at most.
    pub fn apart(&self) -> Option<Duration> {
        match self {
            Schedule::Every { interval } => Some(*interval),
            Schedule::Cron { cron, .. } => gaps(cron).map(|(_, most)| most),
        }
    }
}

impl WatchConfig {
    /// The one watch of a file that has none: what `[scope]` and `[sweep]` say.
    pub fn of(settings: &Settings) -> Self {
        let interval = settings.interval.unwrap_or(DEFAULT_INTERVAL);
        WatchConfig {
            name: DEFAULT_NAME.to_owned(),
            schedule: Schedule::Every { interval },
            jitter: Duration::ZERO,
            settings: Settings { interval: Some(interval), ..settings.clone() },
            line: 1,
        }
    }

    /// What is swept, as far as the configuration alone says: `None` where names or files say more. Files of excludes
    /// may still take some of it away.
    pub fn literal_scope(&self) -> Option<Scope> {
        if self.settings.declared.is_empty() || !self.settings.sources.is_empty() {
            return None;
        }
        let range = |word: &TargetWord| match word {
            TargetWord::Written(Written::Addresses(range)) => Some(*range),
            _ => None,
        };
        let networks = self.settings.targets.iter().map(range).collect::<Option<_>>()?;
        Settings { networks, ..self.settings.clone() }.scope().ok()
    }
}

/// Reads every `[[watch]]` table, on top of what `[scope]` and `[sweep]` say.
pub(super) fn read_watches(root: &mut Section<'_>, common: &Settings) -> Vec<WatchConfig> {
    let document = root.document();
    let sections = root.tables(&WATCH);
    if sections.is_empty() && !root.has(&WATCH) {
        return vec![WatchConfig::of(common)];
    }
    let (mut names, mut watches) = (Vec::new(), Vec::new());
    for section in sections {
        let (name, watch) = read_watch(section, common);
        names.extend(name);
        watches.extend(watch);
    }
    refuse_twins(document, "watch", &names);
    watches
}

fn read_watch(mut section: Section<'_>, common: &Settings) -> (Option<Placed<String>>, Option<WatchConfig>) {
    let line = section.line();
    let name = section.take(&NAME).and_then(|value| {
        let at = value.at();
        parse_name(value).map(|value| Placed { at, value })
    });
    section.need(&[&NAME]);
    let schedule = read_schedule(&mut section, common);
    let jitter = read_jitter(&mut section, schedule.as_ref());
    let settings = read_settings(&mut section, common);
    section.finish();
    let (Some(name), Some(schedule)) = (&name, schedule) else { return (name, None) };
    let interval = match schedule {
        Schedule::Every { interval } => Some(interval),
        Schedule::Cron { .. } => None,
    };
    let settings = Settings { interval, ..settings };
    let watch = WatchConfig { name: name.value.clone(), schedule, jitter, settings, line };
    (Some(name.clone()), Some(watch))
}

fn read_schedule(section: &mut Section<'_>, common: &Settings) -> Option<Schedule> {
    let interval = section.take(&INTERVAL).map(|value| value.duration(INTERVALS));
    let cron = section.take(&CRON).map(read_cron);
    let zone = section.take(&TIMEZONE).map(read_zone);
    if cron.is_some() && interval.is_some() {
        section.refuse("cron", "`interval` and `cron` exclude each other", "keep one of the two");
        return None;
    }
    if cron.is_none() && zone.is_some() {
        section.refuse(
            "timezone",
            "`timezone` is of no use without `cron`",
            "remove it, or write a cron expression",
        );
    }
    match (cron, interval) {
        (Some(cron), _) => {
            let zone = zone.map_or(Some(TimeZone::UTC), |zone| zone)?;
            Some(Schedule::Cron { cron: Box::new(cron?), zone })
        }
        (None, Some(interval)) => Some(Schedule::Every { interval: interval? }),
        (None, None) => Some(Schedule::Every { interval: common.interval.unwrap_or(DEFAULT_INTERVAL) }),
    }
}

fn read_jitter(section: &mut Section<'_>, schedule: Option<&Schedule>) -> Duration {
    let Some(value) = section.take(&JITTER) else { return Duration::ZERO };
    let jitter = value.duration(JITTERS).unwrap_or_default();
    let (apart, what) = match schedule {
        Some(Schedule::Every { interval }) => (Some(*interval), "interval"),
        Some(Schedule::Cron { cron, .. }) if !jitter.is_zero() => {
            (gaps(cron).map(|(least, _)| least), "shortest time between two sweeps")
        }
        _ => (None, ""),
    };
    if let Some(apart) = apart
        && jitter >= apart
    {
        let message =
            format!("the jitter of {} is not below the {what} of {}", in_words(jitter), in_words(apart));
        value.report(message, "put sweeps off by less, or sweep more rarely");
    }
    jitter
}

/// What the watch sweeps and how.
fn read_settings(section: &mut Section<'_>, common: &Settings) -> Settings {
    let hosts = section.list_some(&HOSTS, "host", Value::parsed::<Written>);
    let exclude = section.list(&EXCLUDE, read_exclude);
    let canaries = section.list(&CANARIES, read_canary);
    let places = Places {
        hosts: hosts.clone().unwrap_or_default(),
        exclude: exclude.clone().unwrap_or_default(),
        canaries: canaries.clone().unwrap_or_default(),
        are_known: hosts.is_some() == section.has(&HOSTS) && exclude.is_some() == section.has(&EXCLUDE),
    };
    let own = Settings {
        targets: values(hosts).into_iter().map(TargetWord::Written).collect(),
        exclude: values(exclude),
        ports: section.take(&PORTS).and_then(Value::ports),
        engine: section.take(&ENGINE).and_then(Value::parsed),
        rate: read_rate(section, common),
        rate_max: read_rate_max(section, common),
        host_rate: section.take(&HOST_RATE).and_then(read_cap),
        network_rate: section.take(&NETWORK_RATE).and_then(read_cap),
        tries: section.take(&TRIES).and_then(read_tries),
        interface: section.take(&INTERFACE).and_then(read_interface),
        ..Settings::default()
    };
    refuse_rate_above_maximum(section, &own);
    let banner = section.take(&BANNER).and_then(Value::boolean);
    let mut settings = own.or(common.clone());
    settings.banner = banner.unwrap_or(common.banner);
    if section.has(&CANARIES) {
        settings.canary = values(canaries);
        settings.declared_canaries = Vec::new();
    }
    check_places(section.document(), &places, &settings);
    settings
}

fn read_rate(section: &mut Section<'_>, common: &Settings) -> Option<Rate> {
    let value = section.take(&RATE)?;
    let rate = if value.as_text().is_some() { value.parsed()? } else { Rate::Pps(read_pps(value)?) };
    if let Rate::Pps(pps) = rate {
        refuse_above_limit(value, pps, common);
    }
    Some(rate)
}

fn read_rate_max(section: &mut Section<'_>, common: &Settings) -> Option<NonZeroU32> {
    let value = section.take(&RATE_MAX)?;
    let pps = read_pps(value)?;
    refuse_above_limit(value, pps, common);
    Some(pps)
}

fn refuse_above_limit(value: Value<'_>, pps: NonZeroU32, common: &Settings) {
    if let Some(limit) = common.rate_limit
        && pps > limit
    {
        let help = "ask for less, or raise rate_max there if the network stands it";
        value.report(format!("{pps} is above {limit}, the rate_max of [sweep]"), help);
    }
}

fn refuse_rate_above_maximum(section: &mut Section<'_>, own: &Settings) {
    if let (Some(Rate::Pps(rate)), Some(rate_max)) = (own.rate, own.rate_max)
        && rate > rate_max
    {
        let message = format!("the rate {rate} is above the rate_max {rate_max} of this watch");
        section.refuse("rate", message, "lower the one, raise the other, or leave one of them out");
    }
}

/// What a watch names, with its places.
struct Places {
    hosts: Vec<Placed<Written>>,
    exclude: Vec<Placed<AddressRange>>,
    canaries: Vec<Placed<SocketAddr>>,
    /// Whether all of it could be read.
    are_known: bool,
}

/// Notes canaries of `[sweep]` that the watch leaves out: it would not begin with them.
fn refuse_canaries_left_out(document: &Document<'_>, places: &Places, settings: &Settings) {
    for Placed { at, value } in &places.exclude {
        let is_left_out =
            |canary: &&SocketAddr| subtract(&[AddressRange::single(canary.ip())], &[*value]).is_empty();
        for canary in settings.declared_canaries.iter().filter(is_left_out) {
            document.report_error(*at, &SettingsError::CanaryOutside { canary: *canary });
        }
    }
}

/// Notes what lies outside the scope, where the file alone says what that is.
fn check_places(document: &Document<'_>, places: &Places, settings: &Settings) {
    if settings.declared.is_empty() || !settings.sources.is_empty() || !places.are_known {
        return;
    }
    refuse_canaries_left_out(document, places, settings);
    let declared = merge(&settings.declared);
    let mut hosts = Vec::new();
    for Placed { at, value } in &places.hosts {
        let Written::Addresses(range) = value else { return };
        match subtract(&[*range], &declared).first() {
            Some(outside) => {
                let error = SettingsError::Undeclared { target: *range, outside: *outside };
                document.report_error(*at, &error);
            }
            None => hosts.push(*range),
        }
    }
    if hosts.len() < places.hosts.len() {
        return;
    }
    match (Settings { networks: hosts, ..settings.clone() }.scope()) {
        Ok(scope) => {
            let is_outside = |canary: &&Placed<SocketAddr>| {
                scope.index_of(canary.value.ip(), canary.value.port()).is_none()
            };
            for canary in places.canaries.iter().filter(is_outside) {
                document.report_error(canary.at, &SettingsError::CanaryOutside { canary: canary.value });
            }
        }
        // What is wrong with the scope of all watches is told there.
        Err(error) if !places.hosts.is_empty() || !places.exclude.is_empty() => {
            let first_host = places.hosts.first().map(|host| host.at);
            let at = places.exclude.first().map(|exclude| exclude.at).or(first_host);
            document.report_error(at.unwrap_or_default(), &error);
        }
        Err(_) => {}
    }
}
