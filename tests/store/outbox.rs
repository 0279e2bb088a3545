//! The outbox: in order, once, and counted.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use portreeve::store::outbox::{Outgoing, Row};
use proptest::prelude::*;

use super::*;

/// The numbers of what is due, in the order in which it is offered.
fn due(store: &Store, sink: &str, now: i64, limit: usize) -> Vec<u64> {
    store.due(sink, at(now), limit).expect("due").iter().map(number).collect()
}

fn number(outgoing: &Outgoing) -> u64 {
    let id = outgoing.message.as_ref().expect("a message").id();
    id.timestamp_ms() - 1_780_000_000_000
}

fn row(store: &Store, sink: &str, now: i64, n: u64) -> Row {
    let due = store.due(sink, at(now), 1000).expect("due");
    due.iter().find(|outgoing| number(outgoing) == n).expect("it is due").row
}

/// Enqueues these, each at its own millisecond.
fn enqueue(store: &mut Store, sinks: &[&str], messages: &[(u64, &str)]) {
    write(store, |tx| {
        messages.iter().try_for_each(|(n, key)| tx.enqueue(&event(*n, key, at(*n as i64)), sinks).map(drop))
    });
}

#[test]
fn a_message_is_for_a_sink_once_whatever_became_of_it() {
    let (_directory, path) = place();
    let mut store = open(&path);
    let message = event(1, "k", at(0));
    assert_eq!(write(&mut store, |tx| tx.enqueue(&message, &["a", "b", "a"])), 2);
    assert_eq!(write(&mut store, |tx| tx.enqueue(&message, &["a", "c"])), 1);
    let [delivered, dead] = ["a", "b"].map(|sink| row(&store, sink, 0, 1));
    write(&mut store, |tx| {
        tx.delivered(&[delivered, delivered], at(1))?;
        tx.dead(dead, "refused", at(1))?;
        tx.dead(dead, "refused", at(1))?;
        tx.delivered(&[dead], at(1))
    });
    assert_eq!(write(&mut store, |tx| tx.enqueue(&message, &["a", "b", "c"])), 0);
    let count = |sink| {
        let books = books(&store, sink);
        (books.raised, books.delivered, books.pending, books.dead)
    };
    assert_eq!([count("a"), count("b"), count("c")], [(1, 1, 0, 0), (1, 0, 0, 1), (1, 0, 1, 0)]);
}

#[test]
fn a_message_comes_out_as_it_went_in() {
    let (_directory, path) = place();
    let mut store = open(&path);
    let message =
        Message::Alert(Box::new(notice(1, Transition::Firing, alert(1, 1, Phase::Firing, at(0)), at(3))));
    write(&mut store, |tx| tx.enqueue(&message, &["siem"]));
    let due = store.due("siem", at(3), 9).expect("due");
    assert_eq!(due.len(), 1);
    assert_eq!((due[0].message.as_ref(), due[0].attempts, due[0].enqueued), (Ok(&message), 0, at(3)));
    write(&mut store, |tx| tx.retry(due[0].row, "HTTP 503", at(10)));
    assert_eq!(store.due("siem", at(10), 9).expect("due")[0].attempts, 1);
}

#[test]
fn nothing_overtakes_what_stands_before_it() {
    let (_directory, path) = place();
    let mut store = open(&path);
    enqueue(&mut store, &["siem"], &[(1, "a"), (2, "a"), (3, "b"), (4, "a")]);
    assert_eq!(due(&store, "siem", 4, 9), [1, 2, 3, 4], "rows of one key may follow each other in a batch");
    assert_eq!(due(&store, "siem", 4, 2), [1, 2]);
    assert_eq!(due(&store, "siem", 1, 9), [1], "what is not yet due does not");
    let first = row(&store, "siem", 4, 1);
    write(&mut store, |tx| tx.retry(first, "HTTP 503", at(100)));
    assert_eq!(due(&store, "siem", 4, 9), [3], "they wait for the one before them");
    assert_eq!(store.next_due("siem").expect("a time"), Some(at(3)));
    assert_eq!(due(&store, "siem", 99, 9), [3]);
    assert_eq!(due(&store, "siem", 100, 9), [1, 2, 3, 4]);
    write(&mut store, |tx| tx.dead(first, "given up", at(100)));
    assert_eq!(due(&store, "siem", 4, 9), [2, 3, 4], "and no longer than they must");
    let last = row(&store, "siem", 4, 4);
    write(&mut store, |tx| tx.delivered(&[last], at(100)));
    assert_eq!(
        due(&store, "siem", 4, 9),
        [2, 3],
        "one that has been delivered out of turn is gone all the same"
    );
    assert!(books(&store, "siem").are_closed());
}

#[test]
fn one_that_waits_long_is_not_kept_back_by_what_comes_after() {
    let (_directory, path) = place();
    let mut store = open(&path);
    enqueue(&mut store, &["siem"], &[(1, "a"), (2, "b"), (3, "c")]);
    let first = row(&store, "siem", 3, 1);
    write(&mut store, |tx| tx.retry(first, "HTTP 503", at(50)));
    assert_eq!(due(&store, "siem", 60, 2), [2, 3], "by the time that each is due since");
    assert_eq!(due(&store, "siem", 60, 3), [1, 2, 3]);
}

#[test]
fn sinks_have_nothing_to_do_with_each_other() {
    let (_directory, path) = place();
    let mut store = open(&path);
    enqueue(&mut store, &["slow", "quick"], &[(1, "a"), (2, "a")]);
    let first = row(&store, "slow", 2, 1);
    write(&mut store, |tx| tx.retry(first, "timeout", at(1000)));
    assert_eq!((due(&store, "slow", 2, 9), due(&store, "quick", 2, 9)), (vec![], vec![1, 2]));
    let slow = store.backlog("slow").expect("a backlog");
    assert_eq!((slow.pending, slow.oldest, slow.next_due), (2, Some(at(1)), Some(at(1000))));
    assert_eq!(store.backlog("none").expect("a backlog"), Default::default());
    assert_eq!((store.next_due("none").expect("none"), due(&store, "none", 9, 9)), (None, vec![]));
}

#[test]
fn a_step_of_the_clock_moves_what_waits() {
    let (_directory, path) = place();
    let mut store = open(&path);
    enqueue(&mut store, &["siem"], &[(1, "a"), (2, "a"), (3, "b")]);
    let first = row(&store, "siem", 3, 1);
    write(&mut store, |tx| tx.retry(first, "timeout", at(1000)));
    let year = SignedDuration::from_hours(24 * 365);
    for (step, sign) in [(year, 1), (-year, 0), (-year, -1)] {
        write(&mut store, |tx| tx.shift_due(step));
        let shifted = |ms| at(ms) + SignedDuration::from_hours(24 * 365 * sign);
        assert_eq!(store.next_due("siem").expect("a time"), Some(shifted(3)));
        let offered = store.due("siem", shifted(999), 9).expect("due");
        assert_eq!(
            offered.iter().map(|out| (number(out), out.enqueued)).collect::<Vec<_>>(),
            [(3, shifted(3))]
        );
        assert_eq!(store.due("siem", shifted(1000), 9).expect("due").len(), 3);
    }
}

#[test]
fn what_a_clock_that_was_ahead_has_put_off_is_due_when_it_has_been_set_back() {
    let (_directory, path) = place();
    let mut store = open(&path);
    let (now, day, year): (i64, i64, i64) = (1_000_000, 86_400_000, 365 * 86_400_000);
    // Put here by the wrong clock; put off by it; put off for as long as a receiver may ask; and waiting since then.
    enqueue(&mut store, &["siem"], &[(now as u64 + year as u64, "a"), (2, "b"), (3, "c"), (4, "d")]);
    let [second, third] = [2, 3].map(|n| row(&store, "siem", now, n));
    write(&mut store, |tx| tx.retry(second, "away", at(now + day + 1)));
    write(&mut store, |tx| tx.retry(third, "asked", at(now + day)));
    assert_eq!(due(&store, "siem", now, 9), [4]);
    write(&mut store, |tx| tx.bound_due(at(now), Duration::from_secs(24 * 3600)));
    let offered = store.due("siem", at(now), 9).expect("due");
    let known: Vec<_> = offered.iter().map(|out| (number(out), out.enqueued)).collect();
    assert_eq!(known, [(now as u64 + year as u64, at(now)), (2, at(2)), (4, at(4))]);
    assert_eq!(due(&store, "siem", now + day, 9).len(), 4, "and what was asked for holds");
}

#[test]
fn what_cannot_be_read_is_offered_to_be_given_up() {
    let (_directory, path) = place();
    let mut store = open(&path);
    enqueue(&mut store, &["siem"], &[(1, "a"), (2, "a")]);
    let other = rusqlite::Connection::open(&path).expect("a database");
    other.execute("UPDATE outbox SET body = '{\"form\":\"weather\"}' WHERE row = 1", []).expect("a change");
    let offered = store.due("siem", at(9), 9).expect("due");
    let why = offered[0].message.clone().expect_err("unreadable");
    assert!(why.contains("weather"), "{why}");
    write(&mut store, |tx| tx.dead(offered[0].row, &why, at(9)));
    assert_eq!(due(&store, "siem", 9, 9), [2]);
}

#[test]
fn what_is_for_sinks_that_are_gone_is_given_up_and_can_come_back() {
    let (_directory, path) = place();
    let mut store = open(&path);
    enqueue(&mut store, &["old", "siem"], &[(1, "a"), (2, "a"), (3, "b")]);
    assert_eq!(write(&mut store, |tx| tx.orphans(&["siem", "new"], at(5))), [("old".to_owned(), 3)]);
    assert_eq!(write(&mut store, |tx| tx.orphans(&["siem", "new"], at(5))), []);
    let old = books(&store, "old");
    assert_eq!((old.raised, old.pending, old.dead), (3, 0, 3));
    let letters = store.letters(10).expect("letters");
    assert!(
        letters.iter().all(|letter| letter.why == "the sink is no longer configured" && letter.can_return)
    );
    assert_eq!((letters.len(), due(&store, "siem", 9, 9).len()), (3, 3));
    assert_eq!(write(&mut store, |tx| tx.revive("old", at(9))), 3);
    assert_eq!(due(&store, "old", 9, 9), [1, 2, 3]);
    assert_eq!(store.due("old", at(9), 1).expect("due")[0].enqueued, at(9), "as if it were new");
    let old = books(&store, "old");
    assert_eq!((old.raised, old.pending, old.dead), (3, 3, 0));
    assert_eq!(write(&mut store, |tx| tx.revive("none", at(9))), 0);
}

#[test]
fn a_dead_letter_has_its_old_place_and_is_never_yesterdays_news() {
    let (_directory, path) = place();
    let mut store = open(&path);
    enqueue(&mut store, &["pager"], &[(1, "a"), (2, "a"), (3, "b"), (4, "b")]);
    let rows: Vec<_> = store.due("pager", at(9), 9).expect("due").iter().map(|out| out.row).collect();
    write(&mut store, |tx| {
        tx.dead(rows[0], "HTTP 400", at(9))?;
        tx.dead(rows[2], "HTTP 400", at(9))?;
        // The receiver has been told that `a` is over.
        tx.delivered(&[rows[1]], at(9))
    });
    let can_return: Vec<_> =
        store.letters(9).expect("letters").iter().map(|letter| (letter.id, letter.can_return)).collect();
    assert_eq!(can_return, [(id(3), true), (id(1), false)]);
    assert_eq!(write(&mut store, |tx| tx.revive("pager", at(10))), 1);
    assert_eq!(due(&store, "pager", 10, 9), [3, 4], "before what it was before");
    write(&mut store, |tx| tx.retry(rows[2], "HTTP 500", at(20)));
    assert!(due(&store, "pager", 10, 9).is_empty());
    let books = books(&store, "pager");
    assert_eq!((books.raised, books.delivered, books.pending, books.dead), (4, 1, 2, 1));
    assert!(books.are_closed());
}

#[test]
fn a_storm_is_stored_at_once() {
    let (_directory, path) = place();
    let mut store = open(&path);
    let alerts: Vec<_> = (0..10_000).map(|n| alert(n, 1, Phase::Firing, at(0))).collect();
    let began = Instant::now();
    write(&mut store, |tx| {
        for (alert, n) in alerts.iter().zip(0..) {
            tx.save(&record(alert.clone()))?;
            let notice = notice(n, Transition::Firing, alert.clone(), at(0));
            tx.note(&notice)?;
            tx.enqueue(&Message::Alert(Box::new(notice)), &["siem", "file"])?;
        }
        Ok(())
    });
    let took = began.elapsed();
    assert_eq!((store.records().expect("records").len(), books(&store, "file").pending), (10_000, 10_000));
    told(&format!("10,000 alerts, 10,000 notices, 20,000 rows: {took:?}"));
    // Generous, for a busy machine and a build for tests; a quarter of a second is usual.
    assert!(took < Duration::from_secs(30), "{took:?}");
}

/// Delivering a hundred thousand must not take a hundred thousand looks at a hundred thousand. Held against a short
/// queue, so that a busy machine makes no difference.
#[test]
fn a_long_queue_is_no_slower_for_each() {
    for (keys, of) in [(u64::MAX, "as many"), (1, "one")] {
        let [(short_look, short_batch), (long_look, long_batch)] =
            [2000, 100_000].map(|rows| queue(rows, keys));
        told(&format!(
            "keys: {of}; a look: {short_look:?} in 2000 rows, {long_look:?} in 100,000; \
             a batch of 100: {short_batch:?}, {long_batch:?}"
        ));
        let floor = Duration::from_millis(1);
        assert!(long_look < 8 * short_look.max(floor), "{short_look:?} {long_look:?}");
        assert!(long_batch < 8 * short_batch.max(floor), "{short_batch:?} {long_batch:?}");
    }
}

/// How long a look takes at so many rows of so many keys, and a batch from look to book.
fn queue(rows: u64, keys: u64) -> (Duration, Duration) {
    let (_directory, path) = place();
    let mut store = open(&path);
    write(&mut store, |tx| {
        (0..rows)
            .try_for_each(|n| tx.enqueue(&event(n, &format!("{}", n % keys), at(0)), &["siem"]).map(drop))
    });
    // The shortest of several, which is the one that nobody else disturbed.
    let mut look = Duration::MAX;
    for _ in 0..20 {
        let began = Instant::now();
        assert_eq!(due(&store, "siem", 1, 100).len(), 100);
        look = look.min(began.elapsed());
    }
    let mut whole = Duration::MAX;
    for batch in 0..19 {
        let began = Instant::now();
        let rows: Vec<_> = store.due("siem", at(1), 100).expect("due").iter().map(|out| out.row).collect();
        write(&mut store, |tx| {
            // Every second of them fails, and waits beside those that are left.
            if batch % 2 == 0 || keys == 1 {
                return tx.delivered(&rows, at(1));
            }
            rows.iter().try_for_each(|row| tx.retry(*row, "HTTP 503", at(1000)))
        });
        whole = whole.min(began.elapsed());
    }
    assert!(books(&store, "siem").are_closed());
    (look, whole)
}

/// Figures, for whoever runs a test with `--nocapture`.
pub fn told(line: &str) {
    use std::io::Write;
    writeln!(std::io::stderr(), "{line}").expect("standard error");
}

// --- against a plain model ---------------------------------------------------------------------------------------

const SINKS: [&str; 2] = ["pager", "siem"];
const KEYS: [&str; 3] = ["a", "b", "c"];

#[derive(Clone, Debug)]
enum Step {
    /// A message of this key for some of the sinks.
    Enqueue { key: usize, sinks: u8 },
    /// A batch for a sink, of which so many are delivered, and what becomes of the one after them.
    Deliver { sink: usize, limit: usize, delivered: usize, then: Then },
    /// Time goes on.
    Wait(i64),
    /// The clock jumps, and whatever waits with it.
    Jump(i64),
    /// Dead letters are tried again.
    Revive { sink: usize },
    /// A sink is taken out of the configuration.
    Orphan { sink: usize },
}

#[derive(Clone, Copy, Debug)]
enum Then {
    Nothing,
    Retry(i64),
    Dead,
}

fn step() -> impl Strategy<Value = Step> {
    let then = prop_oneof![Just(Then::Nothing), (0..50i64).prop_map(Then::Retry), Just(Then::Dead)];
    prop_oneof![
        8 => (0..KEYS.len(), 1..4u8).prop_map(|(key, sinks)| Step::Enqueue { key, sinks }),
        8 => (0..SINKS.len(), 1..5usize, 0..4usize, then)
            .prop_map(|(sink, limit, delivered, then)| Step::Deliver { sink, limit, delivered, then }),
        3 => (0..60i64).prop_map(Step::Wait),
        1 => (-500..500i64).prop_map(Step::Jump),
        1 => (0..SINKS.len()).prop_map(|sink| Step::Revive { sink }),
        1 => (0..SINKS.len()).prop_map(|sink| Step::Orphan { sink }),
    ]
}

/// A message as the model has it: its place among all, its number, when it is due.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Waiting {
    place: usize,
    n: u64,
    due: i64,
}

#[derive(Debug, Default)]
struct Model {
    waiting: BTreeMap<(usize, usize), Vec<Waiting>>,
    letters: Vec<(usize, usize, Waiting)>,
    raised: [u64; 2],
    delivered: [u64; 2],
    dead: [u64; 2],
    /// Of each sink and key: the place of the last that arrived.
    arrived: BTreeMap<(usize, usize), usize>,
}

impl Model {
    /// What is offered, by the words of the essay and without any cleverness.
    fn due(&self, sink: usize, now: i64, limit: usize) -> Vec<(usize, Waiting)> {
        let queues = self.waiting.iter().filter(|((of, _), queue)| *of == sink && !queue.is_empty());
        let mut heads: Vec<_> =
            queues.map(|((_, key), queue)| (queue[0].due, queue[0].place, *key)).collect();
        heads.retain(|(due, _, _)| *due <= now);
        heads.sort_unstable();
        let mut offered: Vec<(usize, Waiting)> = Vec::new();
        for (_, _, key) in heads.into_iter().take(limit) {
            let queue = &self.waiting[&(sink, key)];
            offered
                .extend(queue.iter().take_while(|waiting| waiting.due <= now).map(|waiting| (key, *waiting)));
        }
        offered.sort_by_key(|(_, waiting)| waiting.place);
        offered.truncate(limit);
        offered
    }

    fn take(&mut self, sink: usize, key: usize, place: usize) -> Waiting {
        let queue = self.waiting.get_mut(&(sink, key)).expect("a queue");
        let at = queue.iter().position(|waiting| waiting.place == place).expect("a place");
        queue.remove(at)
    }

    fn deliver(&mut self, sink: usize, key: usize, place: usize) {
        self.take(sink, key, place);
        self.delivered[sink] += 1;
        let last = self.arrived.entry((sink, key)).or_default();
        assert!(*last <= place, "overtaken");
        *last = place;
    }

    fn pending(&self, sink: usize) -> u64 {
        self.waiting.iter().filter(|((of, _), _)| *of == sink).map(|(_, queue)| queue.len() as u64).sum()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn does_what_the_model_does(steps in prop::collection::vec(step(), 1..60)) {
        let (_directory, path) = place();
        let mut store = open(&path);
        let mut model = Model::default();
        let (mut now, mut next) = (1000i64, 1u64);
        for step in steps {
            match step {
                Step::Enqueue { key, sinks } => {
                    let chosen: Vec<usize> = (0..SINKS.len()).filter(|sink| sinks & (1 << sink) != 0).collect();
                    let names: Vec<&str> = chosen.iter().map(|sink| SINKS[*sink]).collect();
                    write(&mut store, |tx| tx.enqueue(&event(next, KEYS[key], at(now)), &names));
                    for sink in chosen {
                        let waiting = Waiting { place: next as usize, n: next, due: now };
                        model.waiting.entry((sink, key)).or_default().push(waiting);
                        model.raised[sink] += 1;
                    }
                    next += 1;
                }
                Step::Deliver { sink, limit, delivered, then } => {
                    let offered = store.due(SINKS[sink], at(now), limit).expect("due");
                    let expected = model.due(sink, now, limit);
                    let numbers: Vec<u64> = offered.iter().map(number).collect();
                    prop_assert_eq!(&numbers, &expected.iter().map(|(_, waiting)| waiting.n).collect::<Vec<_>>());
                    let delivered = delivered.min(offered.len());
                    let rows: Vec<Row> = offered[..delivered].iter().map(|out| out.row).collect();
                    write(&mut store, |tx| {
                        tx.delivered(&rows, at(now))?;
                        match (offered.get(delivered), then) {
                            (Some(out), Then::Retry(after)) => tx.retry(out.row, "x", at(now + after)),
                            (Some(out), Then::Dead) => tx.dead(out.row, "x", at(now)),
                            _ => Ok(()),
                        }
                    });
                    for (key, waiting) in &expected[..delivered] {
                        model.deliver(sink, *key, waiting.place);
                        let place = waiting.place;
                        model.letters.retain(|(of, k, letter)| *of != sink || k != key || letter.place > place);
                    }
                    if let Some((key, waiting)) = expected.get(delivered) {
                        match then {
                            Then::Nothing => {}
                            Then::Retry(after) => {
                                let queue = model.waiting.get_mut(&(sink, *key)).expect("a queue");
                                let at = queue.iter().position(|w| w.place == waiting.place).expect("a place");
                                queue[at].due = now + after;
                            }
                            Then::Dead => {
                                let letter = model.take(sink, *key, waiting.place);
                                model.letters.push((sink, *key, letter));
                                model.dead[sink] += 1;
                            }
                        }
                    }
                }
                Step::Wait(ms) => now += ms,
                Step::Jump(ms) => {
                    now += ms;
                    write(&mut store, |tx| tx.shift_due(SignedDuration::from_millis(ms)));
                    model.waiting.values_mut().flatten().for_each(|waiting| waiting.due += ms);
                }
                Step::Revive { sink } => {
                    let back = write(&mut store, |tx| tx.revive(SINKS[sink], at(now)));
                    let (mine, others) = model.letters.drain(..).partition(|(of, _, _)| *of == sink);
                    model.letters = others;
                    let mine: Vec<(usize, usize, Waiting)> = mine;
                    prop_assert_eq!(back, mine.len() as u64);
                    for (_, key, letter) in mine {
                        let queue = model.waiting.entry((sink, key)).or_default();
                        queue.push(Waiting { due: now, ..letter });
                        queue.sort_by_key(|waiting| waiting.place);
                        model.dead[sink] -= 1;
                    }
                }
                Step::Orphan { sink } => {
                    write(&mut store, |tx| tx.orphans(&[SINKS[1 - sink]], at(now)));
                    for ((_, key), queue) in model.waiting.iter_mut().filter(|((of, _), _)| *of == sink) {
                        model.dead[sink] += queue.len() as u64;
                        model.letters.extend(queue.drain(..).map(|waiting| (sink, *key, waiting)));
                    }
                }
            }
            for books in store.books().expect("books") {
                let sink = SINKS.iter().position(|sink| *sink == books.sink).expect("a sink");
                prop_assert!(books.are_closed(), "{:?}", books);
                let counted = (books.raised, books.delivered, books.pending, books.dead);
                let expected = (model.raised[sink], model.delivered[sink], model.pending(sink), model.dead[sink]);
                prop_assert_eq!(counted, expected);
                let next = model.waiting.iter().filter(|((of, _), _)| *of == sink);
                let next = next.filter_map(|(_, queue)| queue.first()).map(|head| at(head.due)).min();
                prop_assert_eq!(store.next_due(SINKS[sink]).expect("a time"), next);
            }
        }
        drop(store);
        prop_assert_eq!(portreeve::store::check::check(&path).expect("a check").problems, Vec::<String>::new());
    }
}
