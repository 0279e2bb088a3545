//! The daemon itself: starts everything, listens to signals, takes up new configurations, stops.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::bell::Bell;
use super::cycle::event;
use super::desk::Desk;
use super::heart::Heart;
use super::housekeeping::{
    RETENTION, TICK, begin, heartbeat, keep_house, look_at_clock, look_at_store, tick,
};
use super::messenger::Messenger;
use super::runner::Runner;
use super::shared::Shared;
use super::standing::Standing;
use super::time::{MachineTime, Time};
use crate::config::diagnostic::ConfigError;
use crate::config::file::Config;
use crate::policy::finding::Finding;
use crate::sink::channel;
use crate::sink::options::SinkOptions;
use crate::store::Store;
use crate::store::error::StoreError;
use crate::store::lock::Lock;
use crate::sync::{Ordering, SignalFlag};

/// How often the daemon looks after itself.
const BEAT: Duration = Duration::from_secs(1);

/// How often is tried again to work out what watches will sweep, where a file or a name stood in the way.
const PLAN: Duration = Duration::from_secs(60);

/// How long messengers may take for the last messages, and how often is looked whether they have.
const LEAVING: Duration = Duration::from_secs(3);
const LEAVING_LOOKS: u32 = 300;

/// What other threads ask of the daemon, by signals.
#[derive(Clone, Debug, Default)]
pub struct Signals {
    /// To stop.
    pub stop: Arc<SignalFlag>,
    /// To read its configuration again.
    pub reload: Arc<SignalFlag>,
}

/// Why the daemon cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The database cannot be had.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The configuration has mistakes.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// No thread could be started.
    #[error("failed to start a thread: {0}; this system has too many")]
    Thread(#[from] std::io::Error),
}

/// Sets everything up, for whoever is alone at the database as long as it keeps the lock.
///
/// # Errors
/// See [`StartError`].
pub fn open(file: &Path, config: Config) -> Result<(Arc<Shared>, Lock), StartError> {
    let lock = Lock::take(&config.store.path)?;
    let shared = set_up(file, config)?;
    shared.desk.take_over(shared.time.now());
    Ok((Arc::new(shared), lock))
}

/// Opens the database and sets up the desk and all that stands around it.
///
/// # Errors
/// When the database cannot be opened.
pub fn set_up(file: &Path, config: Config) -> Result<Shared, StoreError> {
    let store = Store::open(&config.store.path)?;
    let mail = Arc::new(Bell::default());
    let desk = Desk::new(store, Standing::of(&config), Arc::clone(&mail));
    Ok(Shared::new(file, config, desk, Time::new(Box::new(MachineTime)), mail))
}

/// Runs the daemon until it is told to stop.
///
/// # Errors
/// When it cannot start.
pub fn run(shared: &Arc<Shared>, signals: &Signals) -> Result<(), StartError> {
    let mut heart = Heart::new();
    let mut staff = Staff::default();
    staff.follow(shared)?;
    let planning = Arc::clone(shared);
    thread::Builder::new().name("plan".to_owned()).spawn(move || plan(&planning))?;
    say(shared, "watch.started");
    begin(shared);
    heart.ready(shared);
    let now = || shared.time.since_boot();
    let (mut tick_at, mut house_at) = (now(), now() + RETENTION);
    let mut beat_at = now();
    let mut foreign = None;
    while !signals.stop.load(Ordering::Relaxed) {
        if signals.reload.swap(false, Ordering::Relaxed) {
            heart.reloading();
            reload(shared);
            staff.follow(shared)?;
            heart.ready(shared);
        }
        look_at_clock(shared);
        match shared.desk.flush(shared.time.now()) {
            Ok(()) => look_at_store(shared),
            Err(why) => tracing::error!(%why, "the database cannot be written"),
        }
        // Whoever acknowledges an alert on the command line does so in the database.
        let written = shared.desk.with_store(|store| store.foreign_writes()).ok();
        if written != foreign {
            foreign = written;
            shared.mail.ring();
        }
        if tick_at <= now() {
            tick(shared);
            tick_at = now() + TICK;
        }
        if house_at <= now() {
            keep_house(shared);
            house_at = now() + RETENTION;
        }
        let config = shared.config();
        if beat_at <= now() {
            heartbeat(shared);
            heart.knock(shared);
            beat_at = now() + config.heartbeat.interval;
        }
        heart.beat(shared);
        thread::sleep(BEAT);
    }
    heart.stopping();
    say(shared, "watch.stopped");
    shared.stop();
    staff.leave(shared);
    Ok(())
}

/// Keeps known what each watch looks at, on a thread of its own: looking names up takes its time.
fn plan(shared: &Shared) {
    while !shared.is_stopping() {
        let heard = shared.orders.rung();
        shared.plan();
        shared.orders.wait(heard, PLAN);
    }
}

/// Reads the configuration again, and takes it up if it has no mistakes.
pub fn reload(shared: &Shared) {
    let file = shared.file.clone();
    let name = file.display().to_string();
    let now = shared.time.now();
    match load(&file) {
        Ok(config) if config.store.path != shared.config().store.path => {
            let why = "another [store] path is taken up by a restart only".to_owned();
            tracing::error!(%why, "the configuration is not taken up");
            shared.desk.report(Finding::config_rejected(&name, &why, now), true, None, now);
        }
        Ok(config) => {
            shared.desk.stand_by(Standing::of(&config));
            shared.take_up(config);
            shared.desk.report(Finding::config_rejected(&name, "", now), false, None, now);
            tracing::info!(file = %name, "the configuration is taken up");
            say(shared, "config.loaded");
        }
        Err(error) => {
            let why = error.to_string();
            tracing::error!(%why, "the configuration is not taken up, and the one before holds on");
            shared.desk.report(Finding::config_rejected(&name, &why, now), true, None, now);
        }
    }
}

/// Reads a configuration that a daemon can work by.
///
/// # Errors
/// When it has mistakes.
pub fn load(file: &Path) -> Result<Config, ConfigError> {
    let config = Config::load(file)?;
    let mut mistakes = config.check_watch();
    mistakes.extend(config.check_files());
    if mistakes.is_empty() { Ok(config) } else { Err(ConfigError::Invalid(mistakes)) }
}

fn say(shared: &Shared, what: &str) {
    let now = shared.time.now();
    shared.desk.announce(event(what, now, &super::housekeeping::Note::new(what, now), None), now);
}

/// The threads of the daemon.
#[derive(Default)]
struct Staff {
    runners: BTreeMap<String, JoinHandle<()>>,
    messengers: BTreeMap<String, Post>,
}

/// A messenger at work, what he was told, and how he is told to leave.
struct Post {
    options: SinkOptions,
    stop: Arc<SignalFlag>,
    thread: JoinHandle<()>,
}

impl Staff {
    /// Makes the threads what the configuration wants them to be.
    fn follow(&mut self, shared: &Arc<Shared>) -> Result<(), StartError> {
        let config = shared.config();
        let is_meant = |post: &Post| config.sinks.contains(&post.options);
        let leaving: Vec<String> = self
            .messengers
            .iter()
            .filter(|(_, post)| !is_meant(post))
            .map(|(name, _)| name.clone())
            .collect();
        let mut left = BTreeMap::new();
        for name in leaving {
            if let Some(post) = self.messengers.remove(&name) {
                post.stop.store(true, Ordering::Relaxed);
                left.insert(name, post.thread);
            }
        }
        shared.mail.ring();
        for options in &config.sinks {
            if !self.messengers.contains_key(&options.name) {
                let before = left.remove(&options.name);
                self.messengers.insert(options.name.clone(), post(shared, options, before)?);
            }
        }
        self.runners.retain(|_, runner| !runner.is_finished());
        for watch in &config.watches {
            if self.runners.contains_key(&watch.name) {
                continue;
            }
            let (shared, watch) = (Arc::clone(shared), watch.clone());
            let name = watch.name.clone();
            let thread = thread::Builder::new().name("watch".to_owned());
            let runner = thread.spawn(move || Runner::new(&shared, &watch).run())?;
            self.runners.insert(name, runner);
        }
        Ok(())
    }

    /// Lets everybody finish what cannot be left in the middle.
    fn leave(self, shared: &Shared) {
        for runner in self.runners.into_values() {
            let _ = runner.join();
        }
        for post in self.messengers.values() {
            post.stop.store(true, Ordering::Relaxed);
        }
        shared.mail.ring();
        // Whoever waits for a receiver that does not answer is not waited for: his messages are in the outbox.
        let is_busy = || self.messengers.values().any(|post| !post.thread.is_finished());
        for _ in (0..LEAVING_LOOKS).take_while(|_| is_busy()) {
            thread::sleep(LEAVING / LEAVING_LOOKS);
        }
    }
}

/// Starts a messenger. He begins when whoever had the same sink before him has finished what he was at, so that nothing
/// is carried by both.
fn post(
    shared: &Arc<Shared>,
    options: &SinkOptions,
    before: Option<JoinHandle<()>>,
) -> Result<Post, StartError> {
    let stop = Arc::new(SignalFlag::new(false));
    let messenger = Messenger::new(&options.name, channel::open(options), options.give_up_after);
    let (told, shared) = (Arc::clone(&stop), Arc::clone(shared));
    let thread = thread::Builder::new().name("messenger".to_owned()).spawn(move || {
        before.map(JoinHandle::join);
        messenger.run(&shared.desk, &shared.mail, &shared.time, &told);
    })?;
    Ok(Post { options: options.clone(), stop, thread })
}
