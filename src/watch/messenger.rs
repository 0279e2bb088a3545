//! One messenger for each sink, on a thread of its own, so that no sink waits for another and no sweep for any.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::afloat::{Outcome, Ticket};
use super::backoff::{Breaker, FEWEST_ATTEMPTS, after, pause};
use super::bell::Bell;
use super::desk::{Desk, Parcel};
use super::time::Time;
use crate::policy::finding::Finding;
use crate::sink::channel::{Channel, Delivery};
use crate::sink::message::Message;
use crate::sync::{Ordering, SignalFlag};

/// The longest that a messenger sleeps without looking whether there is something to do.
const LONGEST_NAP: Duration = Duration::from_secs(30);

/// How long it sleeps when a message is due and cannot go: it waits for another that is not.
const SHORTEST_NAP: Duration = Duration::from_secs(1);

/// A message that is not delivered for so long is a matter for others.
const LATE: SignedDuration = SignedDuration::from_mins(15);

/// How long a receiver is reminded that something has been resolved.
const RESOLVED_FOR: SignedDuration = SignedDuration::from_mins(10);

/// Who carries messages to one sink.
pub struct Messenger {
    sink: String,
    channel: Box<dyn Channel>,
    give_up_after: Duration,
    breaker: Breaker,
    /// Messages that were given up since the last one that arrived.
    lost: u64,
    /// When the receiver is told again of everything that fires, since boot.
    refresh_at: Option<Duration>,
}

impl Messenger {
    /// A messenger to this sink.
    pub fn new(sink: &str, channel: Box<dyn Channel>, give_up_after: Duration) -> Self {
        let breaker = Breaker::default();
        Messenger { sink: sink.to_owned(), channel, give_up_after, breaker, lost: 0, refresh_at: None }
    }

    /// Carries messages until `stop` is raised and the bell rings.
    pub fn run(mut self, desk: &Desk, bell: &Arc<Bell>, time: &Time, stop: &SignalFlag) {
        loop {
            let heard = bell.rung();
            if stop.load(Ordering::Relaxed) {
                // What is still to be said, as far as that goes at once.
                while self.carry(desk, time) > 0 {}
                return;
            }
            if self.carry(desk, time) > 0 {
                continue;
            }
            self.refresh(desk, time);
            bell.wait(heard, self.nap(desk, time));
            if !stop.load(Ordering::Relaxed) {
                std::thread::sleep(self.channel.linger());
            }
        }
    }

    /// Carries what is due, as much as goes at once. Gives the number of messages that were tried.
    pub fn carry(&mut self, desk: &Desk, time: &Time) -> usize {
        let now = time.now();
        if self.breaker.wait(time.since_boot()).is_some() {
            return 0;
        }
        let parcels = desk.parcels(&self.sink, now, self.channel.batch().max(1));
        if parcels.is_empty() {
            return 0;
        }
        let (readable, unreadable): (Vec<Parcel>, Vec<Parcel>) =
            parcels.into_iter().partition(|parcel| parcel.message.is_ok());
        let mut outcomes: Vec<(Ticket, Outcome)> = unreadable
            .into_iter()
            .map(|parcel| (parcel.ticket, Outcome::Dead { why: parcel.message.err().unwrap_or_default() }))
            .collect();
        let messages: Vec<Message> =
            readable.iter().filter_map(|parcel| parcel.message.as_ref().ok().cloned()).collect();
        let deliveries = self.channel.deliver(&messages, now);
        let (later, since_boot) = (time.now(), time.since_boot());
        let mut late = None;
        let chance = self.heed(&readable, &deliveries, since_boot);
        for (parcel, delivery) in readable.iter().zip(deliveries) {
            let Some(outcome) = self.judge(parcel, delivery, later, chance) else { continue };
            if let Outcome::Retry { why, due } = &outcome
                && due.duration_since(parcel.since) >= LATE
            {
                late.get_or_insert_with(|| why.clone());
            }
            outcomes.push((parcel.ticket, outcome));
        }
        self.note(desk, &outcomes, later);
        if let Some(why) = late.filter(|_| self.lost == 0 && self.breaker.wait(since_boot).is_some()) {
            desk.report(Finding::delivery_late(&self.sink, &why, later), true, Some(&self.sink), later);
        }
        let tried = outcomes.len();
        desk.settle(&self.sink, outcomes, later);
        tried
    }

    /// What a batch says of the sink: a receiver that takes some of it is there, and one failure is one, of however
    /// many messages. Gives the number by which all that failed together is tried again together.
    fn heed(&mut self, parcels: &[Parcel], deliveries: &[Delivery], since_boot: Duration) -> f64 {
        if deliveries.contains(&Delivery::Delivered) {
            self.breaker.succeed();
        }
        let mut failed = parcels.iter().zip(deliveries).filter_map(|(parcel, delivery)| match delivery {
            Delivery::Retry { after, .. } => Some((chance(parcel), *after)),
            _ => None,
        });
        let Some((chance, asked)) = failed.next() else { return 0.0 };
        self.breaker.fail(since_boot, failed.map(|(_, asked)| asked).fold(asked, Ord::max), chance);
        chance
    }

    /// What an attempt comes to; nothing where there was none.
    fn judge(&self, parcel: &Parcel, delivery: Delivery, now: Timestamp, chance: f64) -> Option<Outcome> {
        Some(match delivery {
            Delivery::Untried => return None,
            Delivery::Delivered => Outcome::Delivered,
            Delivery::Refused { why } => Outcome::Dead { why },
            Delivery::Retry { why, after: asked } => {
                let attempts = parcel.attempts + 1;
                // What waits since a time that is still to come was put there by a wrong clock, and is not old.
                let age = now.duration_since(parcel.since).max(SignedDuration::ZERO).unsigned_abs();
                if attempts >= FEWEST_ATTEMPTS && age >= self.give_up_after {
                    Outcome::Dead { why: format!("given up after {attempts} attempts: {why}") }
                } else {
                    Outcome::Retry { why, due: after(now, pause(attempts, asked, chance)) }
                }
            }
        })
    }

    /// Says elsewhere what has been given up, and that it works again.
    fn note(&mut self, desk: &Desk, outcomes: &[(Ticket, Outcome)], now: Timestamp) {
        let mut dead = outcomes.iter().filter_map(|(_, outcome)| match outcome {
            Outcome::Dead { why } => Some(why),
            _ => None,
        });
        if let Some(why) = dead.next() {
            self.lost += 1 + dead.count() as u64;
            tracing::error!(sink = %self.sink, lost = self.lost, %why, "messages given up");
            let finding = Finding::delivery_failed(&self.sink, self.lost, why, now);
            desk.report(finding, true, Some(&self.sink), now);
        } else if outcomes.iter().any(|(_, outcome)| *outcome == Outcome::Delivered) {
            self.lost = 0;
            desk.report(Finding::delivery_failed(&self.sink, 0, "", now), false, Some(&self.sink), now);
        }
        let mut told = None;
        for (_, outcome) in outcomes {
            // What failed together has one reason, which is said once.
            if let Outcome::Retry { why, due } = outcome
                && told.replace(why) != Some(why)
            {
                tracing::warn!(sink = %self.sink, %why, again = %due, "not delivered");
            }
        }
    }

    /// Tells a receiver again of everything that fires, if it is one that forgets.
    pub fn refresh(&mut self, desk: &Desk, time: &Time) {
        let (Some(every), since_boot) = (self.channel.refresh_every(), time.since_boot()) else { return };
        if self.refresh_at.is_some_and(|at| at > since_boot) {
            return;
        }
        self.refresh_at = Some(since_boot + every);
        let now = time.now();
        let since = now.checked_sub(RESOLVED_FOR).unwrap_or(now);
        let alerts = desk.standing_alerts(&self.sink, since);
        if alerts.is_empty() {
            return;
        }
        if let Err(why) = self.channel.refresh(&alerts, now) {
            tracing::warn!(sink = %self.sink, %why, "could not say again what fires");
        }
    }

    /// How long there is nothing to do.
    fn nap(&self, desk: &Desk, time: &Time) -> Duration {
        let now = time.now();
        let since_boot = time.since_boot();
        let until_due = desk.next_due(&self.sink).map(|due| {
            let left = due.duration_since(now);
            // What was due before this has just been looked for, and there was nothing that could go.
            if left.is_positive() { left.unsigned_abs() } else { SHORTEST_NAP }
        });
        let until_due = until_due.max(self.breaker.wait(since_boot));
        let until_refresh = self.refresh_at.map(|at| at.saturating_sub(since_boot));
        let naps = [until_due, until_refresh].into_iter().flatten();
        naps.fold(LONGEST_NAP, Duration::min)
    }
}

/// A number from 0 to 1 that is the same for the same attempt, and another for each: what failed at the same time, by
/// requests of its own, is not tried again at the same time.
fn chance(parcel: &Parcel) -> f64 {
    let seed = parcel.message.as_ref().map_or(0, |message| message.id().random() as u64);
    let mixed = (seed ^ u64::from(parcel.attempts)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 11) as f64 / (1_u64 << 53) as f64
}
