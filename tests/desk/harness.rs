//! A desk, a clock that is turned by hand, and receivers that do as they are told.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use portreeve::alert::advance::{Judgement, Mint, Patience};
use portreeve::alert::book::Book;
use portreeve::alert::judge;
use portreeve::alert::life::{Alert, Resolution};
use portreeve::alert::notice::Transition;
use portreeve::alert::route::Routes;
use portreeve::alert::rules::AlertRules;
use portreeve::policy::class::Class;
use portreeve::policy::finding::Finding;
use portreeve::policy::kind::FindingKind;
use portreeve::sink::channel::{Channel, Delivery};
use portreeve::sink::message::Message;
use portreeve::store::Store;
use portreeve::store::outbox::SinkBooks;
use portreeve::sweep::verified::Confirmation;
use portreeve::target::ports::Severity;
use portreeve::target::state::State;
use portreeve::target::{Target, Transport};
use portreeve::watch::bell::Bell;
use portreeve::watch::desk::{Change, Desk};
use portreeve::watch::messenger::Messenger;
use portreeve::watch::standing::Standing;
use portreeve::watch::time::{Time, TimeSource};
use tempfile::TempDir;

/// When every test begins.
pub fn begin() -> Timestamp {
    "2026-06-01T00:00:00Z".parse().expect("a time")
}

/// A clock that is turned by hand.
#[derive(Clone, Default)]
pub struct Hands(Arc<Mutex<(Duration, SignedDuration)>>);

impl Hands {
    /// Time goes on.
    pub fn pass(&self, time: Duration) {
        self.0.lock().expect("a clock").0 += time;
    }

    /// Somebody sets the clock.
    pub fn set(&self, by: SignedDuration) {
        self.0.lock().expect("a clock").1 += by;
    }
}

impl TimeSource for Hands {
    fn wall(&self) -> Timestamp {
        let (passed, set) = *self.0.lock().expect("a clock");
        begin() + SignedDuration::try_from(passed).expect("a length of time") + set
    }

    fn since_boot(&self) -> Duration {
        self.0.lock().expect("a clock").0
    }
}

/// What a receiver has been told, and when.
pub type Received = Arc<Mutex<Vec<(Timestamp, Message)>>>;

/// Says what becomes of a message that arrives now.
pub type Conduct = Box<dyn FnMut(&Message, Timestamp) -> Delivery + Send>;

/// A receiver that does as it is told.
pub struct Receiver {
    pub conduct: Conduct,
    pub received: Received,
    pub batch: usize,
}

impl Channel for Receiver {
    fn batch(&self) -> usize {
        self.batch
    }

    fn deliver(&mut self, messages: &[Message], now: Timestamp) -> Vec<Delivery> {
        let mut deliveries = Vec::new();
        for message in messages {
            let delivery = (self.conduct)(message, now);
            let is_delivered = delivery == Delivery::Delivered;
            if is_delivered {
                self.received.lock().expect("a list").push((now, message.clone()));
            }
            deliveries.push(delivery);
            if !is_delivered {
                break;
            }
        }
        deliveries
    }
}

/// A desk with two channels for people, `soc` (security) and `ops` (health and own), and `siem` for events.
pub struct Office {
    pub desk: Desk,
    pub time: Time,
    pub hands: Hands,
    pub messengers: BTreeMap<&'static str, Messenger>,
    pub received: BTreeMap<&'static str, Received>,
    pub rules: AlertRules,
    pub kept: TempDir,
}

impl Office {
    pub fn new(conducts: Vec<(&'static str, Conduct)>) -> Self {
        let kept = tempfile::tempdir().expect("a directory");
        Office::at(&kept.path().join("alerts.db"), conducts, kept)
    }

    pub fn at(path: &Path, conducts: Vec<(&'static str, Conduct)>, kept: TempDir) -> Self {
        let rules = AlertRules { remind_every: None, ..AlertRules::default() };
        let mut store = Store::open(path).expect("a database");
        // Time is virtual here; SQLite's is not.
        store.wait_at_most(Duration::from_millis(10)).expect("a patience");
        let hands = Hands::default();
        let desk = Desk::new(store, standing(&rules), Arc::new(Bell::default()));
        let time = Time::new(Box::new(hands.clone()));
        let mut office =
            Office { desk, time, hands, messengers: BTreeMap::new(), received: BTreeMap::new(), rules, kept };
        for (sink, conduct) in conducts {
            let received = Received::default();
            let receiver = Receiver { conduct, received: Arc::clone(&received), batch: 100 };
            let days = Duration::from_secs(3 * 86_400);
            office.messengers.insert(sink, Messenger::new(sink, Box::new(receiver), days));
            office.received.insert(sink, received);
        }
        office
    }

    /// The end of this one; what it has kept remains.
    pub fn into_directory(self) -> TempDir {
        self.kept
    }

    /// These targets are open; every other alert about a target is over.
    pub fn see(&self, ports: &[u16]) -> Vec<Alert> {
        let found: Vec<(u16, Severity)> = ports.iter().map(|port| (*port, Severity::High)).collect();
        self.see_as(&found)
    }

    /// The same, each as bad as that.
    pub fn see_as(&self, found: &[(u16, Severity)]) -> Vec<Alert> {
        let now = self.time.now();
        let finding = |(port, severity): &(u16, Severity)| {
            let target = Target { ip: [198, 18, 0, 9].into(), port: *port, transport: Transport::Tcp };
            let finding = Finding::exposure(&target, State::Open, None, Confirmation::default(), now);
            Finding { severity: *severity, ..finding }
        };
        let found: Vec<Finding> = found.iter().map(finding).collect();
        let step = |book: &mut Book, mint: Mint<'_>| {
            let is_gone = |finding: &&Finding| {
                finding.kind == FindingKind::Exposure
                    && !found.iter().any(|other| other.fingerprint == finding.fingerprint)
            };
            let judge_it = |finding: &Finding, holds| Judgement {
                finding: finding.clone(),
                class: Class::security(),
                holds,
                patience: Patience::NONE,
            };
            let gone: Vec<Finding> =
                book.records().map(|record| &record.alert.finding).filter(is_gone).cloned().collect();
            let judgements: Vec<Judgement> = found
                .iter()
                .map(|finding| judge_it(finding, Ok(())))
                .chain(gone.iter().map(|finding| judge_it(finding, Err(Resolution::Seen))))
                .collect();
            judge::step(book, &judgements, &self.rules, now, mint)
        };
        self.desk.make(&Change::of(&step), now)
    }

    /// Every messenger carries what is due, and what comes of that.
    pub fn carry(&mut self) {
        let carry = |messenger: &mut Messenger| messenger.carry(&self.desk, &self.time);
        while self.messengers.values_mut().map(carry).sum::<usize>() > 0 {}
    }

    /// Time goes on, in steps, and messengers carry after each.
    pub fn pass(&mut self, steps: u32, step: Duration) {
        for _ in 0..steps {
            self.hands.pass(step);
            self.carry();
        }
    }

    /// What a sink has received: of which kind, on which port, what has happened.
    pub fn told(&self, sink: &str) -> Vec<String> {
        let received = self.received[sink].lock().expect("a list");
        received.iter().map(|(_, message)| in_short(message)).collect()
    }

    /// The books of every sink, which must be closed.
    pub fn books(&self) -> BTreeMap<String, (u64, u64, u64, u64)> {
        let books = self.desk.with_store(|store| store.books()).expect("books");
        assert!(books.iter().all(SinkBooks::are_closed), "{books:?}");
        books.into_iter().map(|b| (b.sink, (b.raised, b.delivered, b.pending, b.dead))).collect()
    }
}

/// Says of a message what has happened, to what.
pub fn in_short(message: &Message) -> String {
    match message {
        Message::Alert(notice) => {
            let finding = &notice.alert.finding;
            let about = finding.port.map(|port| port.to_string()).or_else(|| finding.about.clone());
            format!("{} {} {}", finding.kind, about.unwrap_or_default(), notice.transition.as_str())
        }
        Message::Event(event) => event.kind.clone(),
    }
}

/// The firings and ends of a list of messages, for each alert: they must take turns, beginning with a firing.
pub fn takes_turns(messages: &[(Timestamp, Message)]) -> bool {
    let mut fires: BTreeMap<String, bool> = BTreeMap::new();
    messages.iter().all(|(_, message)| {
        let Message::Alert(notice) = message else { return true };
        let begins = match notice.transition {
            Transition::Firing => true,
            Transition::Resolved => false,
            _ => return true,
        };
        let key = notice.alert.finding.fingerprint.to_string();
        fires.insert(key, begins).unwrap_or(false) != begins
    })
}

pub fn takes_all() -> Conduct {
    Box::new(|_, _| Delivery::Delivered)
}

pub fn retry(why: &str) -> Delivery {
    Delivery::Retry { why: why.to_owned(), after: None }
}

/// What holds at that desk, to begin with.
pub fn standing(rules: &AlertRules) -> Standing {
    let to = |sinks: &[&str]| sinks.iter().map(ToString::to_string).collect::<Vec<String>>();
    let classes =
        [(Class::security(), to(&["soc"])), (Class::health(), to(&["ops"])), (Class::own(), to(&["ops"]))];
    let routes = Routes { classes: classes.into(), events: to(&["siem"]), matches: Vec::new() };
    let sinks = [("soc".to_owned(), false), ("ops".to_owned(), false), ("siem".to_owned(), true)];
    Standing { rules: rules.clone(), routes, maintenance: Vec::new(), sinks: sinks.into() }
}
