//! The sweep of neighbours: asks for every address of a network, at a steady rate, until all have answered or enough
//! tries have been waited out.
//!
//! Silence means that nobody has an address only if we would have heard the answer. A try in which our own socket lost
//! something, or the interface was down, is not counted and is made again. Where that goes on, what is silent stays
//! unknown.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use super::super::LinkError;
use super::super::clock::{Clock, Tick};
use super::super::packet::asker::Asker;
use super::found::Neighbours;
use super::kernel::all_fixed;
use super::took_nothing;
use crate::wire::neighbour::NeighbourAnswer;

/// How neighbours are asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FindOptions {
    /// How many questions a second.
    pub rate_pps: NonZeroU32,
    /// How often whoever does not answer is asked, at least once.
    pub tries: u32,
    /// The time between the end of one try and the beginning of the next.
    pub space: Duration,
}

/// Finds out in the name of `source` who has which of these addresses, which must not be this host's own: it does not
/// answer itself. What somebody has set by hand in the kernel's table is believed. Ends early when `stop` says so; what
/// has not answered by then is not known.
///
/// # Errors
/// When the interface is gone, when it takes no questions for seconds, or when an address is of another family.
pub fn find_all(
    asker: &mut Asker,
    source: IpAddr,
    wanted: &mut dyn Iterator<Item = IpAddr>,
    options: &FindOptions,
    clock: &dyn Clock,
    stop: &dyn Fn() -> bool,
) -> Result<Neighbours, LinkError> {
    let mut neighbours = Neighbours::among(wanted);
    for (ip, mac) in all_fixed(source, asker.interface().index)? {
        neighbours.note_fixed(ip, mac);
    }
    Finder { ask: asker, source, options, clock, stop, neighbours, departure: clock.now(), stalls: 0 }.find()
}

/// How long the answers to the last questions are waited for. A neighbour takes milliseconds.
const PATIENCE: Duration = Duration::from_millis(300);

/// How many tries may be made again because we may have missed something.
const EXTRA_TRIES: u32 = 5;

/// How many questions may be made good at once after a pause, as a time: the shortest that it is worth to sleep for.
const BURST: Duration = Duration::from_millis(2);

/// How many questions are asked at most before looking for answers.
const QUESTIONS_A_LOOK: u32 = 64;

/// How long one look for answers may take: bounds how late we notice that we are to stop.
const LOOK: Duration = Duration::from_millis(20);

/// How long to wait after a question was not taken.
const REFUSAL_PAUSE: Duration = Duration::from_millis(1);

/// A queue is full for moments only. Beyond this the interface was away, and so may answers have been.
const STALL: Duration = Duration::from_millis(50);

/// How long an interface may take no question.
const GIVE_UP: Duration = Duration::from_secs(5);

/// What a sweep needs of an [`Asker`].
trait Ask {
    fn ask(&mut self, source: IpAddr, wanted: IpAddr) -> Result<bool, LinkError>;
    fn answers(&mut self, timeout: Duration, each: &mut dyn FnMut(NeighbourAnswer)) -> Result<(), LinkError>;
    /// A number that moves whenever answers may have been lost.
    fn losses(&mut self) -> Result<u64, LinkError>;
    fn interface(&self) -> &str;
}

impl Ask for Asker {
    fn ask(&mut self, source: IpAddr, wanted: IpAddr) -> Result<bool, LinkError> {
        Asker::ask(self, source, wanted, None)
    }

    fn answers(&mut self, timeout: Duration, each: &mut dyn FnMut(NeighbourAnswer)) -> Result<(), LinkError> {
        Asker::answers(self, timeout, each)
    }

    fn losses(&mut self) -> Result<u64, LinkError> {
        Ok(self.dropped()? + self.outages())
    }

    fn interface(&self) -> &str {
        &Asker::interface(self).name
    }
}

/// A sweep under way.
struct Finder<'a> {
    ask: &'a mut dyn Ask,
    source: IpAddr,
    options: &'a FindOptions,
    clock: &'a dyn Clock,
    stop: &'a dyn Fn() -> bool,
    neighbours: Neighbours,
    /// When the next question may leave by the rate.
    departure: Tick,
    /// How often the interface took no question for a while.
    stalls: u64,
}

impl Finder<'_> {
    fn find(mut self) -> Result<Neighbours, LinkError> {
        let tries = self.options.tries.max(1);
        let mut counted = 0;
        for _ in 0..tries.saturating_add(EXTRA_TRIES) {
            let losses = self.losses()?;
            self.ask_the_silent()?;
            let wait = if counted + 1 >= tries { PATIENCE } else { self.options.space };
            self.listen_until(self.clock.now() + wait)?;
            if self.is_over() {
                return Ok(self.neighbours);
            }
            counted += u32::from(self.losses()? == losses);
            if counted == tries {
                self.neighbours.believe_silence();
                break;
            }
        }
        Ok(self.neighbours)
    }

    /// Asks once for each address that nobody has answered for.
    fn ask_the_silent(&mut self) -> Result<(), LinkError> {
        let mut asked = 0u32;
        let mut place = 0;
        while let Some((at, wanted)) = self.neighbours.next_silent(place) {
            self.pace()?;
            if asked.is_multiple_of(QUESTIONS_A_LOOK) {
                self.look(Duration::ZERO)?;
            }
            if self.is_over() {
                break;
            }
            self.ask_for(wanted)?;
            asked = asked.wrapping_add(1);
            place = at + 1;
        }
        Ok(())
    }

    /// Asks until the question is taken.
    fn ask_for(&mut self, wanted: IpAddr) -> Result<(), LinkError> {
        let began = self.clock.now();
        while !self.ask.ask(self.source, wanted)? {
            if self.clock.now().since(began) > GIVE_UP {
                return Err(took_nothing(self.ask.interface()));
            }
            self.listen_until(self.clock.now() + REFUSAL_PAUSE)?;
            if self.is_over() {
                return Ok(());
            }
        }
        self.stalls += u64::from(self.clock.now().since(began) > STALL);
        Ok(())
    }

    /// Waits until the next question may leave.
    fn pace(&mut self) -> Result<(), LinkError> {
        if self.departure > self.clock.now() + BURST {
            self.listen_until(self.departure)?;
        }
        let gap = Duration::from_secs(1) / self.options.rate_pps.get();
        self.departure = self.departure.max(self.clock.now()) + gap;
        Ok(())
    }

    /// Listens until that moment, or until it is over.
    fn listen_until(&mut self, until: Tick) -> Result<(), LinkError> {
        loop {
            let left = until.since(self.clock.now());
            if left.is_zero() || self.is_over() {
                return Ok(());
            }
            // The kernel's waits are counted in milliseconds; less than one would be none, again and again.
            self.look(left.clamp(Duration::from_millis(1), LOOK))?;
        }
    }

    fn look(&mut self, timeout: Duration) -> Result<(), LinkError> {
        let neighbours = &mut self.neighbours;
        self.ask.answers(timeout, &mut |answer| neighbours.note(answer.ip, answer.mac))
    }

    /// Whether all have answered, or nobody wants to know any more.
    fn is_over(&self) -> bool {
        self.neighbours.found() == self.neighbours.wanted() || (self.stop)()
    }

    fn losses(&mut self) -> Result<u64, LinkError> {
        Ok(self.ask.losses()? + self.stalls)
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    use super::super::found::Presence;
    use super::*;

    /// A clock that somebody has to move on.
    #[derive(Debug)]
    struct Hands(Mutex<Tick>);

    impl Hands {
        fn new() -> Self {
            Hands(Mutex::new(Tick::from_nanos(1_000_000_000)))
        }

        fn pass(&self, span: Duration) {
            let mut now = self.0.lock().expect("no panic");
            *now = *now + span;
        }
    }

    impl Clock for Hands {
        fn now(&self) -> Tick {
            *self.0.lock().expect("no panic")
        }

        fn sleep_until(&self, moment: Tick) {
            self.pass(moment.since(self.now()));
        }
    }

    /// A network whose hosts answer after a millisecond.
    struct Network<'a> {
        clock: &'a Hands,
        /// How many questions for an address are lost before one is answered.
        deaf_for: BTreeMap<IpAddr, usize>,
        /// When each question was asked.
        questions: Vec<(Tick, IpAddr)>,
        due: Vec<(Tick, IpAddr)>,
        losses: u64,
        /// How many of the next readings of the losses find more than the one before.
        lossy_readings: usize,
        refuses: bool,
    }

    impl Network<'_> {
        fn asked(&self, ip: IpAddr) -> Vec<Tick> {
            self.questions.iter().filter(|(_, asked)| *asked == ip).map(|(at, _)| *at).collect()
        }
    }

    impl Ask for Network<'_> {
        fn ask(&mut self, _: IpAddr, wanted: IpAddr) -> Result<bool, LinkError> {
            if self.refuses {
                return Ok(false);
            }
            let before = self.asked(wanted).len();
            self.questions.push((self.clock.now(), wanted));
            if self.deaf_for.get(&wanted).is_some_and(|deaf| before >= *deaf) {
                self.due.push((self.clock.now() + Duration::from_millis(1), wanted));
            }
            Ok(true)
        }

        fn answers(
            &mut self,
            timeout: Duration,
            each: &mut dyn FnMut(NeighbourAnswer),
        ) -> Result<(), LinkError> {
            let now = self.clock.now();
            let first = self.due.first().map_or(timeout, |(at, _)| at.since(now).min(timeout));
            self.clock.pass(first);
            let now = self.clock.now();
            let (due, later) = self.due.iter().partition(|(at, _)| *at <= now);
            self.due = later;
            for (_, ip) in due {
                each(NeighbourAnswer { ip, mac: [2; 6], asked_by: source() });
            }
            Ok(())
        }

        fn losses(&mut self) -> Result<u64, LinkError> {
            if self.lossy_readings > 0 {
                self.lossy_readings -= 1;
                self.losses += 1;
            }
            Ok(self.losses)
        }

        fn interface(&self) -> &str {
            "lan0"
        }
    }

    fn source() -> IpAddr {
        IpAddr::from([198, 18, 0, 1])
    }

    fn host(last: u8) -> IpAddr {
        IpAddr::from([198, 18, 0, last])
    }

    const OPTIONS: FindOptions = FindOptions {
        rate_pps: NonZeroU32::new(1000).expect("no zero"),
        tries: 3,
        space: Duration::from_millis(500),
    };

    /// Hosts 10 to 19, each deaf to that many questions.
    fn network(clock: &Hands, deaf_for: [usize; 10]) -> Network<'_> {
        let hosts = deaf_for.into_iter().zip(10..).map(|(deaf, last)| (host(last), deaf)).collect();
        Network {
            clock,
            deaf_for: hosts,
            questions: Vec::new(),
            due: Vec::new(),
            losses: 0,
            lossy_readings: 0,
            refuses: false,
        }
    }

    fn find(network: &mut Network<'_>, lasts: std::ops::Range<u8>) -> Result<Neighbours, LinkError> {
        find_unless(network, lasts, &|| false)
    }

    fn find_unless(
        network: &mut Network<'_>,
        lasts: std::ops::Range<u8>,
        stop: &dyn Fn() -> bool,
    ) -> Result<Neighbours, LinkError> {
        let clock = network.clock;
        let neighbours = Neighbours::among(&mut lasts.map(host));
        let (source, options, departure) = (source(), &OPTIONS, clock.now());
        Finder { ask: network, source, options, clock, stop, neighbours, departure, stalls: 0 }.find()
    }

    #[test]
    fn ends_as_soon_as_all_have_answered() {
        let clock = Hands::new();
        let mut network = network(&clock, [0; 10]);
        let began = clock.now();
        let found = find(&mut network, 10..20).expect("a network");
        assert_eq!((found.found(), network.questions.len()), (10, 10));
        assert!(clock.now().since(began) < Duration::from_millis(20));
    }

    #[test]
    fn asks_again_only_where_nobody_answered_and_not_too_soon() {
        let clock = Hands::new();
        let mut network = network(&clock, [0, 1, 2, 3, 0, 0, 0, 0, 0, 0]);
        let found = find(&mut network, 5..20).expect("a network");
        let times = [10, 11, 12, 13, 5].map(|last| network.asked(host(last)).len());
        assert_eq!(times, [1, 2, 3, 3, 3]);
        assert_eq!((found.found(), found.nobody(), found.not_known()), (9, 6, 0));
        assert_eq!(found.presence(host(13)), Presence::Nobody, "deaf to all three");
        for ip in (5..20).map(host) {
            assert!(network.asked(ip).windows(2).all(|pair| pair[1].since(pair[0]) >= OPTIONS.space), "{ip}");
        }
    }

    #[test]
    fn keeps_to_the_rate() {
        let clock = Hands::new();
        let mut network = network(&clock, [9; 10]);
        find(&mut network, 0..255).expect("a network");
        for window in network.questions.windows(54) {
            let took = window[53].0.since(window[0].0);
            assert!(took >= Duration::from_millis(50), "54 questions in {took:?}");
        }
    }

    #[test]
    fn a_try_in_which_something_was_lost_does_not_count() {
        // The readings before and after a try; only those in between matter.
        for (lossy_readings, rounds, certain) in
            [(0, 3, true), (2, 4, true), (4, 5, true), (10, 8, true), (12, 8, false)]
        {
            let clock = Hands::new();
            let mut network = network(&clock, [0; 10]);
            network.lossy_readings = lossy_readings;
            let found = find(&mut network, 9..20).expect("a network");
            assert_eq!(network.asked(host(9)).len(), rounds, "{lossy_readings}");
            let expected = if certain { Presence::Nobody } else { Presence::NotKnown };
            assert_eq!((found.presence(host(9)), found.found()), (expected, 10), "{lossy_readings}");
        }
    }

    #[test]
    fn an_interface_that_takes_nothing_is_an_error_in_bounded_time() {
        let clock = Hands::new();
        let mut network = network(&clock, [0; 10]);
        network.refuses = true;
        let began = clock.now();
        let error = find(&mut network, 10..20).expect_err("it takes nothing");
        assert!(error.to_string().contains("lan0"), "{error}");
        assert!(clock.now().since(began) < GIVE_UP * 2);
    }

    #[test]
    fn stops_when_told_to_and_does_not_claim_to_know() {
        let clock = Hands::new();
        let mut network = network(&clock, [0; 10]);
        let limit = clock.now() + Duration::from_millis(5);
        let found = find_unless(&mut network, 0..255, &|| clock.now() > limit).expect("a network");
        assert!(network.questions.len() < 20);
        assert_eq!((found.nobody(), found.not_known() + found.found()), (0, 255));
    }
}
