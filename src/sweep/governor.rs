//! The governor: how fast a sweep with `--rate auto` goes.
//!
//! It begins at a rate that every network bears and speeds up while nothing is lost. What is lost is measured by the
//! canaries ([`super::canary`]), because the silence of targets says nothing; beside them count what the device
//! refused, what the kernel dropped, and targets that answered only when they were asked again. Loss that a lower rate
//! does not lessen is the network's own, and no reason to stay slow: only what comes on top of it is.
//!
//! The controller is a cautious cousin of TCP's (RFC 9438): at the first sign of congestion the rate falls to just
//! below what got through; then it comes back to that in small steps, stays near it for a while, and tries a little
//! more.

use std::time::Duration;

use crate::link::clock::Tick;

/// Where it begins, in probes a second.
pub const START_PPS: u32 = 2000;

/// The fastest that it goes while no canary tells what is lost.
pub const BLIND_PPS: u32 = 10_000;

/// The slowest.
const FLOOR_PPS: f64 = 200.0;

/// How often it decides.
const PERIOD: Duration = Duration::from_millis(100);

/// Fates of canaries that a measurement takes, and how long it waits for them.
const SAMPLE: u64 = 100;
const SAMPLE_TIME: Duration = Duration::from_millis(300);
const SMALLEST_SAMPLE: u64 = 8;

/// Loss on top of the network's own that is congestion, at least.
const TOLERATED: f64 = 0.015;

/// Targets that answered late only, in one measurement and as a share beyond what the canaries account for, that slow
/// the sweep down.
const FEW_LATE: u64 = 10;
const UNSEEN: f64 = 0.03;

/// The weight of the latest measurement among the last few.
const LATELY: f64 = 0.3;

/// What got through when congestion was seen is undercut by as much: clearly enough to see whether that helps.
const CUT: f64 = 0.85;

/// A rate that is less than this share of another tells whether that makes a difference.
const CLEARLY_SLOWER: f64 = 0.9;

/// After a change of the rate, what is lost was sent at the one of before, for as long as answers are waited for and
/// somewhat more; longer after a queue had filled.
const REACTION: Duration = Duration::from_millis(150);
const REACTION_TO_LESS: Duration = Duration::from_millis(400);

/// Growth: before any congestion was seen, for each measurement without; after that for each period, up to where it was
/// seen, and beyond that, more and more carelessly as seconds pass without any.
const FAST: f64 = 1.5;
const STEADY: f64 = 1.015;
const CAREFUL: f64 = 0.0025;

/// How long it stays where congestion was seen before it tries more, with the way back to there.
const PLATEAU: Duration = Duration::from_secs(3);

/// Counts since the sweep began.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Probes that left.
    pub sent: u64,
    /// Times that the device refused one.
    pub refused: u64,
    /// Frames that the kernel dropped.
    pub dropped: u64,
    /// Answers to the first try that counts.
    pub prompt: u64,
    /// Answers to a later try only.
    pub late: u64,
    /// Canaries asked, and those of them that were lost.
    pub asked: u64,
    /// Canaries lost.
    pub lost: u64,
}

/// Governs the rate of one sweep. Pure: it is told the time.
#[derive(Clone, Debug)]
pub struct Governor {
    rate: f64,
    ceiling: f64,
    /// What got through when congestion was seen last.
    knee: Option<f64>,
    /// Loss that is the network's own.
    own_loss: f64,
    /// The loss that made it slow down last, and the rate before, until it is known whether that helped.
    on_trial: Option<(f64, f64)>,
    /// Loss in the last few measurements.
    lately: f64,
    /// Whether the last measurement was somewhat too high.
    suspected: bool,
    /// Whether a path was in trouble at the last decision.
    troubled: bool,
    decided: Tick,
    before: Counts,
    sampled: Tick,
    sample_before: Counts,
    patience: Duration,
    /// Until when it does not slow down again, nor speed up.
    holds_until: Tick,
}

/// One measurement of loss.
#[derive(Clone, Copy, Debug)]
struct Sample {
    /// The share of canaries lost.
    loss: f64,
    /// How many were asked.
    size: f64,
    /// Whether answers tell of more loss than the canaries do.
    unseen_loss: bool,
}

impl Governor {
    /// A governor that begins now, and never goes faster than `ceiling_pps`.
    pub fn new(now: Tick, ceiling_pps: u32) -> Self {
        let ceiling = f64::from(ceiling_pps);
        Governor {
            rate: f64::from(START_PPS).min(ceiling),
            ceiling,
            knee: None,
            own_loss: 0.0,
            on_trial: None,
            lately: 0.0,
            suspected: false,
            troubled: false,
            decided: now,
            before: Counts::default(),
            sampled: now,
            sample_before: Counts::default(),
            patience: Duration::ZERO,
            holds_until: now,
        }
    }

    /// The rate, in probes a second.
    pub fn rate_pps(&self) -> u32 {
        self.rate.max(1.0) as u32
    }

    /// Decides, if it is time. `troubled` says that a path is broken at the moment; `patience` is how long an answer is
    /// waited for.
    pub fn step(&mut self, now: Tick, counts: Counts, troubled: bool, patience: Duration) {
        let span = now.since(self.decided);
        if span < PERIOD {
            return;
        }
        let sent_pps = (counts.sent - self.before.sent) as f64 / span.as_secs_f64();
        let refused = counts.refused > self.before.refused;
        let dropped = counts.dropped > self.before.dropped;
        self.decided = now;
        self.before = counts;
        self.patience = patience;
        let sample = self.sample(now, counts);
        if refused {
            // The device says by itself how much it takes; no need to guess.
            self.rate = self.rate.min(sent_pps.max(FLOOR_PPS));
        }
        if now < self.holds_until {
            // What is lost now was sent at the rate of before.
            (self.sampled, self.sample_before) = (now, counts);
            return;
        }
        let rate = self.rate;
        let known_trouble = std::mem::replace(&mut self.troubled, troubled);
        if troubled {
            // Whatever broke the path, it is not to be met by the full rate when it comes back. Once is enough: nothing
            // is sent there meanwhile that a still lower rate could spare.
            if !known_trouble {
                self.slow_down(now, rate / 2.0, rate * 0.9);
            }
        } else if let Some(excess) = sample.and_then(|sample| self.excess(&sample)) {
            let through = sent_pps.min(rate) * (1.0 - excess);
            self.slow_down(now, through * CUT, through);
        } else if sample.is_some_and(|sample| sample.unseen_loss) {
            self.slow_down(now, rate * 0.8, rate * 0.9);
        } else if dropped {
            self.slow_down(now, rate * 0.7, rate * 0.9);
        } else if !refused && !self.suspected && sent_pps > rate * 0.75 {
            self.speed_up(now, counts, sample.is_some());
        }
    }

    /// Closes a measurement if there are enough fates for one.
    fn sample(&mut self, now: Tick, counts: Counts) -> Option<Sample> {
        let before = self.sample_before;
        let size = counts.asked - before.asked;
        let lost = counts.lost - before.lost;
        // Where nothing is lost, few are enough to say so; how much is lost takes more.
        let enough = if lost == 0 { SMALLEST_SAMPLE } else { SAMPLE / 2 };
        if size < enough || (size < SAMPLE && now.since(self.sampled) < SAMPLE_TIME) {
            return None;
        }
        self.sampled = now;
        self.sample_before = counts;
        // Targets that answer only now were lost before. That is news if the canaries of before do not account for it.
        let share = |part: u64, whole: u64| part as f64 / whole.max(1) as f64;
        let late = share(counts.late, counts.prompt + counts.late);
        let more_late = counts.late - before.late >= FEW_LATE;
        Some(Sample {
            loss: share(lost, size),
            size: size as f64,
            unseen_loss: more_late && late > share(counts.lost, counts.asked) + UNSEEN,
        })
    }

    /// How much of a measured loss is congestion, if any is.
    fn excess(&mut self, sample: &Sample) -> Option<f64> {
        let Sample { loss, size, .. } = *sample;
        let spread = (self.own_loss.max(1.0 / size) * (1.0 - self.own_loss) / size).sqrt();
        // A little too much for a while is as much a sign as far too much at once.
        self.lately += (loss - self.lately) * LATELY;
        let is_lasting = self.lately - self.own_loss > TOLERATED.max(1.5 * spread);
        let excess = if is_lasting { loss.max(self.lately) } else { loss } - self.own_loss;
        let tolerated = if is_lasting { TOLERATED } else { TOLERATED.max(3.0 * spread) };
        let suspected = std::mem::replace(&mut self.suspected, excess > tolerated);
        if excess > tolerated && excess < 3.0 * tolerated && !suspected {
            // May be chance; the next measurement tells.
            return None;
        }
        let before = self.on_trial.take();
        if excess <= tolerated {
            // What is lost before anything was too much, or below what is known to get through, is the network's own.
            if loss < self.own_loss || self.knee.is_none_or(|knee| self.rate < knee) {
                self.own_loss += (loss - self.own_loss) * LATELY;
            }
            return None;
        }
        let (loss_before, rate_before) = before.unwrap_or((loss, self.rate));
        let slower = self.rate / rate_before;
        // Where congestion was the cause, a slower sweep gets the same number through, which is a larger share.
        let larger = 1.0 + (1.0 / slower - 1.0) * 0.3;
        if slower < CLEARLY_SLOWER && 1.0 - loss < (1.0 - loss_before) * larger {
            (self.own_loss, self.lately) = (loss, loss);
            self.rate = rate_before;
            self.knee = None;
            return None;
        }
        self.on_trial =
            Some(if slower < CLEARLY_SLOWER { (loss, self.rate) } else { (loss_before, rate_before) });
        Some(excess)
    }

    fn slow_down(&mut self, now: Tick, to: f64, knee: f64) {
        self.rate = to.clamp(FLOOR_PPS.min(self.ceiling), self.ceiling);
        self.knee = Some(knee);
        self.lately = self.own_loss;
        self.holds_until = now + self.patience + REACTION_TO_LESS;
    }

    fn speed_up(&mut self, now: Tick, counts: Counts, measured: bool) {
        let limit = if counts.asked == 0 { self.ceiling.min(f64::from(BLIND_PPS)) } else { self.ceiling };
        let factor = match self.knee {
            // Nothing is known of this network yet, so each step waits for its own measurement, if there is one to
            // come.
            None if measured || counts.asked == 0 => FAST,
            None => return,
            Some(knee) if self.rate < knee => STEADY,
            Some(_) => {
                let calm = now.since(self.holds_until + PLATEAU).as_secs_f64();
                1.0 + if calm > 0.0 { CAREFUL * (1.0 + calm).min(10.0) } else { 0.0 }
            }
        };
        if self.knee.is_none() {
            self.holds_until = now + self.patience + REACTION;
        }
        self.rate = (self.rate * factor).min(limit).max(self.rate.min(limit));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A path that loses this share of everything, and whatever comes above its capacity.
    struct Path {
        own_loss: f64,
        capacity: f64,
    }

    /// Runs a sweep of so many seconds over a path, with canaries whose fate is known 250 ms later; gives what was sent
    /// and what was lost by congestion in each second.
    fn drive(path: &Path, ceiling: u32, seconds: u64, seed: u64) -> Vec<(f64, f64)> {
        let ms = |n: u64| Tick::from_nanos(n * 1_000_000);
        let mut governor = Governor::new(ms(0), ceiling);
        let (mut counts, mut fates) = (Counts::default(), std::collections::VecDeque::new());
        let (mut dice, mut owed) = (seed | 1, 0.0);
        let mut roll = || {
            dice ^= dice << 13;
            dice ^= dice >> 7;
            dice ^= dice << 17;
            (dice >> 11) as f64 / (1_u64 << 53) as f64
        };
        let mut past = vec![(0.0, 0.0); seconds as usize];
        for step in 0..seconds * 100 {
            let rate = f64::from(governor.rate_pps());
            let congestion = (1.0 - path.capacity / rate).max(0.0);
            let sent = rate / 100.0;
            past[(step / 100) as usize].0 += sent;
            past[(step / 100) as usize].1 += sent * congestion;
            counts.sent += sent as u64;
            owed += (rate / 50.0).clamp(50.0, 1000.0) / 100.0;
            while owed >= 1.0 {
                owed -= 1.0;
                fates.push_back((step + 25, roll() < 1.0 - (1.0 - path.own_loss) * (1.0 - congestion)));
            }
            while let Some((due, lost)) = fates.front().copied().filter(|(due, _)| *due <= step) {
                debug_assert!(due <= step);
                fates.pop_front();
                counts.asked += 1;
                counts.lost += u64::from(lost);
            }
            governor.step(ms(step * 10 + 10), counts, false, Duration::from_millis(250));
        }
        past
    }

    /// What is asked of it: at least 80 % of the best fixed rate, and at most 2 % lost after the first seconds. Where
    /// the network has losses of its own, or is slow and there are fewer canaries, it takes longer to tell.
    #[test]
    fn finds_what_a_path_carries() {
        for (capacity, own_loss, least_used, most_lost) in [
            (100_000.0, 0.0, 0.8, 0.02),
            (20_000.0, 0.0, 0.8, 0.03),
            (100_000.0, 0.02, 0.7, 0.04),
            (100_000.0, 0.1, 0.4, 0.09),
        ] {
            for seed in 1..=20 {
                let past = drive(&Path { own_loss, capacity }, 1_000_000, 30, seed);
                let settled = &past[6..];
                let sent = settled.iter().map(|(sent, _)| sent).sum::<f64>();
                let lost = settled.iter().map(|(_, lost)| lost).sum::<f64>();
                let share = (sent - lost) / (capacity * settled.len() as f64);
                let what =
                    format!("{capacity} pps, {own_loss} lost, seed {seed}: {share:.3} used, {lost:.0} lost");
                assert!(share > least_used, "{what}");
                assert!(lost / sent < most_lost, "{what}: {past:?}");
            }
        }
    }

    #[test]
    fn reaches_the_ceiling_where_nothing_is_lost_and_never_passes_it() {
        let past = drive(&Path { own_loss: 0.0, capacity: 1e9 }, 100_000, 10, 7);
        assert!(past[6].0 > 99_000.0, "{past:?}");
        assert!(past.iter().all(|(sent, _)| *sent <= 100_000.0 + 1.0), "{past:?}");
    }

    #[test]
    fn loss_that_is_always_there_does_not_slow_it_down() {
        let past = drive(&Path { own_loss: 0.19, capacity: 1e9 }, 50_000, 20, 3);
        assert!(past[19].0 > 30_000.0, "{past:?}");
    }

    /// However long a path is broken, the sweep does not creep when it is whole again.
    #[test]
    fn long_trouble_costs_no_more_than_short() {
        let tick = |n: u64| Tick::from_nanos(n * 100_000_000);
        let mut governor = Governor::new(tick(0), 50_000);
        governor.rate = 50_000.0;
        (1..100).for_each(|n| governor.step(tick(n), Counts::default(), true, Duration::ZERO));
        assert_eq!((governor.rate_pps(), governor.knee), (25_000, Some(45_000.0)));
    }

    #[test]
    fn goes_no_faster_than_is_safe_while_nobody_answers() {
        let tick = |n: u64| Tick::from_nanos(n * 100_000_000);
        let mut governor = Governor::new(tick(0), 1_000_000);
        let mut counts = Counts::default();
        for n in 1..200 {
            counts.sent += u64::from(governor.rate_pps()) / 10;
            governor.step(tick(n), counts, false, Duration::ZERO);
        }
        assert_eq!(governor.rate_pps(), BLIND_PPS);
    }

    #[test]
    fn slows_down_for_drops_refusals_trouble_and_answers_that_came_late() {
        let tick = |n: u64| Tick::from_nanos(n * 1_000_000_000);
        let at_full = |counts: Counts, troubled| {
            let mut governor = Governor::new(tick(0), 50_000);
            governor.rate = 50_000.0;
            let before = Counts { sent: 50_000, asked: 500, prompt: 10_000, ..Counts::default() };
            governor.step(tick(1), before, false, Duration::ZERO);
            governor.step(tick(2), counts, troubled, Duration::ZERO);
            governor.rate_pps()
        };
        let fine = Counts { sent: 100_000, asked: 1000, prompt: 20_000, ..Counts::default() };
        assert_eq!(at_full(fine, false), 50_000);
        assert!(at_full(Counts { dropped: 1, ..fine }, false) < 40_000);
        assert!(at_full(Counts { refused: 1, sent: 90_000, ..fine }, false) == 40_000);
        assert!(at_full(Counts { late: 2000, ..fine }, false) <= 40_000);
        assert!(at_full(fine, true) <= 25_000);
        assert!(at_full(Counts { lost: 50, ..fine }, false) < 46_000);
    }
}
