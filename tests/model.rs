//! What threads share, tried in every interleaving that the memory model allows (loom):
//! `cargo test --release --features loom --test model`.
//!
//! (The program that this builds beside it runs on loom's atomics too and is of no use: build it again afterwards, as
//! `.ci/run` does, or give the models a `--target-dir` of their own.)
//!
//! Each model is as small as its question: two or three threads, one or two steps each.

use std::collections::BTreeSet;
use std::time::Duration;

use loom::sync::Arc;
use loom::thread;
use portreeve::link::clock::Tick;
use portreeve::sweep::board::{Answer, Board};
use portreeve::sweep::canary::{Canaries, Kind, Listener, Question};
use portreeve::sweep::cookie::SourcePorts;
use portreeve::sweep::plan::{Plan, StateSet};
use portreeve::sweep::report::{UnknownReason, Vantage};
use portreeve::sweep::seeing::Seeing;
use portreeve::sweep::watch::{LOST_AFTER, RING_DELAY, Testimony, Watch, Witness};
use portreeve::sync::{AtomicBool, Ordering};
use portreeve::target::scope::Scope;
use portreeve::target::state::{Reason, State};
use portreeve::target::table::{Cell, Recorded, Table, Void};
use ulid::Ulid;

/// A table of one target that has been probed once.
fn probed() -> Arc<Table> {
    let table = Table::new(1).expect("memory");
    table.mark_probed(0);
    Arc::new(table)
}

/// The sender probes again and voids, while both kinds of answer come in: no step undoes another.
#[test]
fn sender_and_receiver_lose_nothing_of_each_other() {
    loom::model(|| {
        let table = probed();
        let sender = thread::spawn({
            let table = Arc::clone(&table);
            move || {
                assert_eq!(table.mark_probed(0), 2);
                table.void(0, Void::Last)
            }
        });
        table.record(0, Reason::SynAck);
        table.record(0, Reason::Rst);
        let voided = sender.join().expect("the sender");
        let cell = table.get(0);
        assert_eq!((cell.reason(), cell.state(2)), (Reason::Contradiction, State::Conflict));
        assert_eq!(cell.sent(), 2);
        assert_eq!(cell.counted(), if voided { 1 } else { 2 });
    });
}

/// What was refused is taken back, and what is void is voided, at the same time as an answer comes in.
#[test]
fn counts_never_run_under() {
    loom::model(|| {
        let table = probed();
        let receiver = thread::spawn({
            let table = Arc::clone(&table);
            move || table.record(0, Reason::Rst)
        });
        table.mark_probed(0);
        table.unmark_probed(0);
        let voided = table.void(0, Void::All);
        receiver.join().expect("the receiver");
        let cell = table.get(0);
        assert_eq!((cell.reason(), cell.sent(), cell.counted()), (Reason::Rst, 1, u8::from(!voided)));
    });
}

/// Two receivers, as on two queues of one device: the merge does not depend on who comes first.
#[test]
fn answers_merge_alike_in_any_order() {
    loom::model(|| {
        let table = probed();
        let other = thread::spawn({
            let table = Arc::clone(&table);
            move || table.record(0, Reason::IcmpAdminProhibited)
        });
        table.record(0, Reason::SynAck);
        other.join().expect("the other receiver");
        assert_eq!(table.get(0).reason(), Reason::SynAck);
    });
}

/// The reporter has either heard the last word, or is told again when it asks again.
#[test]
fn the_reporter_hears_the_last_word() {
    loom::model(|| {
        let table = probed();
        let receiver = thread::spawn({
            let table = Arc::clone(&table);
            move || {
                table.record(0, Reason::SynAck);
                table.record(0, Reason::Rst);
            }
        });
        let mut heard = table.mark_reported(0).map(Cell::reason);
        receiver.join().expect("the receiver");
        if let Some(cell) = table.mark_reported(0) {
            heard = Some(cell.reason());
        }
        assert_eq!(heard, Some(Reason::Contradiction));
        assert!(table.mark_reported(0).is_none(), "and is not told twice");
    });
}

/// What carries a probe out and its answer back, as far as the memory model is concerned: whoever holds the answer also
/// finds what was done before the probe was sent. The kernel and the network promise no less.
struct Wire(AtomicBool);

impl Wire {
    fn new() -> Self {
        Wire(AtomicBool::new(false))
    }

    fn send(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn has_answered(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// The mark is made before the probe leaves, so no answer finds a target that was never probed.
#[test]
fn no_answer_comes_before_the_mark_of_its_probe() {
    loom::model(|| {
        let shared = Arc::new((Table::new(1).expect("memory"), Wire::new()));
        let sender = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                shared.0.mark_probed(0);
                shared.1.send();
            }
        });
        if shared.1.has_answered() {
            assert_eq!(shared.0.record(0, Reason::SynAck), Recorded::First);
        } else {
            // Whatever comes in before may be anything, but no answer of ours; it must do no harm.
            shared.0.record(0, Reason::Rst);
        }
        sender.join().expect("the sender");
        assert_eq!((shared.0.get(0).sent(), shared.0.get(0).counted()), (1, 1));
    });
}

/// What is beyond doubt is not made void, and what was void when the answer came is not made good by it: an answer and
/// a blind slice at the same time leave either order's result, and never silence that counts.
#[test]
fn a_void_and_an_answer_leave_what_either_order_would() {
    loom::model(|| {
        let table = probed();
        let receiver = thread::spawn({
            let table = Arc::clone(&table);
            move || table.record(0, Reason::SynAck)
        });
        let voided = table.void(0, Void::All);
        let needs_probe = table.get(0).needs_probe(1);
        let recorded = receiver.join().expect("the receiver");
        let cell = table.get(0);
        assert_eq!((recorded, cell.reason(), cell.sent()), (Recorded::First, Reason::SynAck, 1));
        assert_eq!(cell.counted(), u8::from(!voided));
        assert!(!needs_probe || voided, "probed again without need");
    });
}

fn ms(n: u64) -> Tick {
    Tick::from_nanos(n * 1_000_000)
}

const PATIENCE: Duration = Duration::from_millis(200);

/// A watch over as many paths, on a thread of its own, which does `work` with it.
fn watching(
    seeing: &Arc<Seeing>,
    paths: usize,
    work: impl FnOnce(&mut Watch, &Seeing) + 'static,
) -> thread::JoinHandle<()> {
    let seeing = Arc::clone(seeing);
    thread::spawn(move || work(&mut Watch::new(ms(1000), 0, paths), &seeing))
}

/// A sender that reads up to when all is settled also finds every blind slice before that moment.
#[test]
fn no_silence_is_settled_before_its_blind_slice_is_known() {
    loom::model(|| {
        let seeing = Arc::new(Seeing::new(1));
        // Something was dropped before 1100, and this reading is the first to tell.
        let receiver =
            watching(&seeing, 0, |watch, seeing| watch.look(seeing, ms(1100), ms(1100), 1, PATIENCE));
        let settled = seeing.settled_until();
        let slice = seeing.take_blind(0);
        if settled >= ms(1100) - RING_DELAY {
            assert!(slice.is_some(), "settled until {settled:?} and no slice");
        }
        receiver.join().expect("the receiver");
        assert!(slice.or_else(|| seeing.take_blind(0)).is_some(), "a slice was lost");
    });
}

/// The same where there are two senders, of which one ends meanwhile: the other is told all the same.
#[test]
fn every_sender_is_told_though_another_ends() {
    loom::model(|| {
        let seeing = Arc::new(Seeing::new(2));
        let receiver =
            watching(&seeing, 0, |watch, seeing| watch.look(seeing, ms(1100), ms(1100), 1, PATIENCE));
        let other = thread::spawn({
            let seeing = Arc::clone(&seeing);
            move || seeing.end(0)
        });
        let settled = seeing.settled_until();
        let slice = seeing.take_blind(1);
        if settled >= ms(1100) - RING_DELAY {
            assert!(slice.is_some(), "settled until {settled:?} and no slice");
        }
        receiver.join().expect("the receiver");
        other.join().expect("the other sender");
        assert!(slice.or_else(|| seeing.take_blind(1)).is_some(), "a slice was lost");
    });
}

/// A path was broken and is whole again: who reads that it is settled up to then finds the slice of the path.
#[test]
fn no_silence_is_settled_before_the_slice_of_its_path_is_known() {
    loom::model(|| {
        let seeing = Arc::new(Seeing::new(1));
        let receiver = watching(&seeing, 1, |watch, seeing| {
            watch.hear(0, Witness::Canaries, Testimony::Good(ms(1500)), ms(1500));
            watch.hear(0, Witness::Guard, Testimony::Bad(UnknownReason::LinkDown), ms(1200));
            watch.look(seeing, ms(1200), ms(1200), 0, PATIENCE);
            watch.hear(0, Witness::Guard, Testimony::Good(ms(1500)), ms(1500));
            watch.look(seeing, ms(1500), ms(1500), 0, PATIENCE);
        });
        let settled = seeing.settled_until();
        let slice = seeing.take_blind(0);
        // Before the trouble it was settled until 1150 by the ring and until 1200 by the guard.
        if settled > ms(1200) {
            assert_eq!(slice.map(|slice| slice.path), Some(Some(0)), "settled until {settled:?}");
        }
        receiver.join().expect("the receiver");
        let slice = slice.or_else(|| seeing.take_blind(0)).expect("a slice was lost");
        assert_eq!((slice.from, slice.to, slice.reason), (ms(1000), ms(1500), UnknownReason::LinkDown));
        assert_eq!(seeing.troubled(), 0);
    });
}

/// A path is given up: who reads that all else is settled knows that it is lost, and finds the slice of it.
#[test]
fn nothing_is_settled_without_a_lost_path_before_it_is_known_to_be_lost() {
    loom::model(|| {
        let later = ms(2000) + LOST_AFTER;
        let seeing = Arc::new(Seeing::new(1));
        let receiver = watching(&seeing, 1, move |watch, seeing| {
            watch.hear(0, Witness::Guard, Testimony::Bad(UnknownReason::NextHopSilent), ms(1100));
            watch.look(seeing, later, later, 0, PATIENCE);
        });
        let settled = seeing.settled_until();
        let (lost, slice) = (seeing.lost(), seeing.take_blind(0));
        if settled > ms(1000) + PATIENCE {
            assert_eq!(
                (lost, slice.map(|slice| slice.path)),
                (1, Some(Some(0))),
                "settled until {settled:?}"
            );
        }
        receiver.join().expect("the receiver");
        assert!(slice.or_else(|| seeing.take_blind(0)).is_some(), "a slice was lost");
    });
}

fn question(serial: u32) -> Question {
    Question { serial, place: 0, position: 0, kind: Kind::Closed, at: ms(1000) }
}

/// A sender takes back a closed that somebody else may have said, while the receiver hears that the target is open and
/// the driver hands on what there is: open is never lost by that, and never called silence.
#[test]
fn an_open_that_comes_while_a_closed_is_taken_back_stands() {
    loom::model(|| {
        let table = Arc::new(Table::new(1).expect("memory"));
        table.mark_probed(0);
        table.record(0, Reason::Rst);
        let sender = thread::spawn({
            let table = Arc::clone(&table);
            move || table.retract(0)
        });
        let receiver = thread::spawn({
            let table = Arc::clone(&table);
            move || table.record(0, Reason::SynAck)
        });
        let told = table.mark_reported(0);
        assert!(told.is_none_or(|cell| !cell.is_silent()), "silence is never handed on as an answer");
        let retracted = sender.join().expect("the sender");
        let recorded = receiver.join().expect("the receiver");
        let cell = table.get(0);
        let (state, expected) = (cell.state(1), if retracted { State::Open } else { State::Conflict });
        assert_eq!(state, expected, "{recorded:?}");
        assert_eq!(recorded == Recorded::First, retracted);
    });
}

/// A question is announced before it leaves: whoever holds the answer knows of it, and it is never taken for foreign.
#[test]
fn no_answer_of_a_canary_comes_before_its_question_is_known() {
    loom::model(|| {
        let shared = Arc::new((Canaries::new(1), Wire::new()));
        let sender = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                assert!(shared.0.announce(question(7)));
                shared.1.send();
            }
        });
        let mut listener = Listener::new(1);
        let answered = shared.1.has_answered();
        listener.catch_up(&shared.0);
        let heard = listener.hear(0, 0, Some(true), |serial| serial == 7);
        assert!(heard || !answered, "the answer was heard and the question was not known");
        sender.join().expect("the sender");
        // However that went, the question has exactly one fate in the end.
        listener.look(&shared.0, ms(9000), PATIENCE, |_, _| ());
        let tally = listener.tallies()[0];
        assert_eq!((tally.asked, tally.lost), (1, u64::from(!heard)));
    });
}

/// A question that the link refused counts for nothing, however soon the listener looks; and the one after it counts.
#[test]
fn a_question_that_never_left_is_not_missed() {
    loom::model(|| {
        let canaries = Arc::new(Canaries::new(1));
        let sender = thread::spawn({
            let canaries = Arc::clone(&canaries);
            move || {
                assert!(canaries.announce(question(7)));
                canaries.take_back(0, 7);
                assert!(canaries.announce(question(8)));
            }
        });
        let mut listener = Listener::new(1);
        // Before an answer could have come: nothing is closed yet.
        listener.look(&canaries, ms(1000), PATIENCE, |_, testimony| {
            assert!(matches!(testimony, Testimony::Good(_)), "{testimony:?}");
        });
        assert_eq!(listener.tallies()[0].asked, 0);
        sender.join().expect("the sender");
        listener.look(&canaries, ms(9000), PATIENCE, |_, _| ());
        let tally = listener.tallies()[0];
        assert_eq!((tally.asked, tally.lost), (1, 1));
    });
}

/// A board of one target and two senders.
fn board(plan: &'static Plan) -> Board<'static> {
    Board::new(plan, &[7; 16], 2).expect("memory")
}

/// The last of the senders ends the sweep, as in `sweep::run`. Whoever is told finds what all of them have done, not
/// only the one that told: no count is closed too early.
#[test]
fn who_is_told_of_the_end_finds_what_every_sender_did() {
    let plan = plan();
    loom::model(move || {
        let board = Arc::new(board(plan));
        let senders: Vec<_> = (0..2)
            .map(|number| {
                let board = Arc::clone(&board);
                thread::spawn(move || {
                    board.senders[number].sent.add(1);
                    board.seeing.end(number);
                    board.leave(true);
                })
            })
            .collect();
        if board.is_ending() {
            assert_eq!(board.sent(), 2, "told of the end before all was counted");
        }
        senders.into_iter().for_each(|sender| sender.join().expect("a sender"));
        assert!(board.is_ending(), "both took the other for the last");
    });
}

/// The driver ends the sweep while the receiver enters an answer: either the receiver has stopped, or what it entered
/// is found when it has been waited for. An end is never lost, and never undone.
#[test]
fn an_answer_on_the_way_to_the_end_is_entered_or_left_out_whole() {
    let plan = plan();
    loom::model(move || {
        let board = Arc::new(board(plan));
        board.table.mark_probed(0);
        let receiver = thread::spawn({
            let board = Arc::clone(&board);
            move || {
                if board.is_ending() {
                    return false;
                }
                assert_eq!(board.enter(0, Reason::SynAck), Recorded::First);
                let _ = board.answers.push(Answer { position: 0, rtt_us: None, ttl: 0, corrects: false });
                true
            }
        });
        board.end();
        // The beat that the driver is in: what it gets has been entered.
        if let Some(answer) = board.answers.pop() {
            assert_eq!(board.table.get(answer.position).reason(), Reason::SynAck);
            assert!(board.is_all_answered());
        }
        let entered = receiver.join().expect("the receiver");
        assert!(board.is_ending());
        assert_eq!((board.is_all_answered(), board.table.get(0).is_silent()), (entered, !entered));
    });
}

/// A plan of one target, which outlives every interleaving.
fn plan() -> &'static Plan {
    let scope =
        Scope::new(&["198.18.0.1/32".parse().expect("a network")], &[], "22".parse().expect("a port"));
    Box::leak(Box::new(Plan {
        sweep: Ulid::nil(),
        scope: scope.expect("a scope"),
        shard: None,
        seed: 1,
        key: None,
        tile: None,
        tries: 1,
        rate: None,
        governed: false,
        host_rate: None,
        network_rate: None,
        canaries: Vec::new(),
        mute: Vec::new(),
        routes: std::sync::Arc::default(),
        source_ports: SourcePorts { first: 16_384, count: 16_384 },
        wanted: StateSet::all(),
        watched: BTreeSet::new(),
        vantage: Vantage {
            host: "model".into(),
            engine: "sim".into(),
            engine_reason: "a model".into(),
            interface: None,
            source: None,
            next_hop: None,
        },
    }))
}
