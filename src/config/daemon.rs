//! `[store]`, where the watch keeps what it knows, and `[heartbeat]`, by which others know that it is alive.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::document::Section;
use super::sinks::web::read_http;
use super::value::{Key, Value};
use crate::sink::options::HttpOptions;

static STORE: Key = Key { name: "store", example: "{ path = \"/var/lib/portreeve/portreeve.db\" }" };
static PATH: Key = Key { name: "path", example: "\"/var/lib/portreeve/portreeve.db\"" };
static KEEP_SWEEPS: Key = Key { name: "keep_sweeps", example: "\"30d\"" };
static KEEP_DELIVERIES: Key = Key { name: "keep_deliveries", example: "\"30d\"" };
static KEEP_HISTORY: Key = Key { name: "keep_history", example: "\"400d\"" };
static KEEP_OBSERVATIONS: Key = Key { name: "keep_observations", example: "\"400d\"" };
static HEARTBEAT: Key = Key { name: "heartbeat", example: "{ interval = \"60s\" }" };
static INTERVAL: Key = Key { name: "interval", example: "\"60s\"" };

const DAY: u64 = 24 * 3600;

/// What is kept for less than an hour is of no use to anybody, and what is kept for ten years was forgotten about.
const KEPT: RangeInclusive<Duration> = Duration::from_secs(3600)..=Duration::from_secs(3660 * DAY);

const INTERVALS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(DAY);

/// `[store]`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StoreConfig {
    /// The database's file.
    pub path: PathBuf,
    /// How long sweeps and their ledgers are kept.
    pub keep_sweeps: Duration,
    /// How long is kept what became of messages.
    pub keep_deliveries: Duration,
    /// How long resolved alerts and what happened to them are kept.
    pub keep_history: Duration,
    /// How long observations are kept that no longer hold.
    pub keep_observations: Duration,
}

impl Default for StoreConfig {
    fn default() -> Self {
        StoreConfig {
            path: PathBuf::from("/var/lib/portreeve/portreeve.db"),
            keep_sweeps: Duration::from_secs(30 * DAY),
            keep_deliveries: Duration::from_secs(30 * DAY),
            keep_history: Duration::from_secs(400 * DAY),
            keep_observations: Duration::from_secs(400 * DAY),
        }
    }
}

/// `[heartbeat]`.
#[derive(Clone, Debug, PartialEq)]
pub struct HeartbeatConfig {
    /// From one sign of life to the next.
    pub interval: Duration,
    /// Who is told of each, and raises the alarm where none comes.
    pub ping: Option<HttpOptions>,
}

impl Default for HeartbeatConfig {
    fn default() -> Self {
        HeartbeatConfig { interval: Duration::from_secs(60), ping: None }
    }
}

/// Reads `[store]`.
pub(super) fn read_store(root: &mut Section<'_>) -> StoreConfig {
    let usual = StoreConfig::default();
    let Some(mut section) = root.table(&STORE) else { return usual };
    let path = section.take(&PATH).and_then(Value::path);
    let mut kept = |key| section.take(key).and_then(|value: Value<'_>| value.duration(KEPT));
    let store = StoreConfig {
        path: path.unwrap_or(usual.path),
        keep_sweeps: kept(&KEEP_SWEEPS).unwrap_or(usual.keep_sweeps),
        keep_deliveries: kept(&KEEP_DELIVERIES).unwrap_or(usual.keep_deliveries),
        keep_history: kept(&KEEP_HISTORY).unwrap_or(usual.keep_history),
        keep_observations: kept(&KEEP_OBSERVATIONS).unwrap_or(usual.keep_observations),
    };
    section.finish();
    store
}

/// Reads `[heartbeat]`.
pub(super) fn read_heartbeat(root: &mut Section<'_>) -> HeartbeatConfig {
    let usual = HeartbeatConfig::default();
    let Some(mut section) = root.table(&HEARTBEAT) else { return usual };
    let interval =
        section.take(&INTERVAL).and_then(|value| value.duration(INTERVALS)).unwrap_or(usual.interval);
    let is_told = section.has_name("url") || section.has_name("url_file");
    let ping = if is_told { read_http(&mut section, "heartbeat", None) } else { None };
    for key in ["networks", "ca_file", "cert_file", "key_file"] {
        if !is_told {
            section.refuse(
                key,
                format!("`{key}` is of no use without `url`"),
                "add url or url_file, or remove it",
            );
        }
    }
    section.finish();
    HeartbeatConfig { interval, ping }
}
