//! What threads share, tried in every interleaving that the memory model allows (loom):
//! `cargo test --release --features loom --test model`.
//!
//! (The program that this builds beside it runs on loom's atomics too and is of no use: build it again afterwards, or
//! give the models a `--target-dir` of their own, as `.ci/run` does.)
//!
//! Each model is as small as its question: two or three threads, one or two steps each.

use loom::sync::Arc;
use loom::thread;
use portreeve::link::clock::Tick;
use portreeve::sweep::seeing::{RING_DELAY, Seeing, Watch};
use portreeve::sync::{AtomicBool, AtomicU64, Ordering};
use portreeve::target::state::{Reason, State};
use portreeve::target::table::{Cell, Table, Void};

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

fn ms(n: u64) -> Tick {
    Tick::from_nanos(n * 1_000_000)
}

/// A sender that reads up to when all is settled also finds every blind slice before that moment.
#[test]
fn no_silence_is_settled_before_its_blind_slice_is_known() {
    loom::model(|| {
        let seeing = Arc::new(Seeing::new(1));
        let receiver = thread::spawn({
            let seeing = Arc::clone(&seeing);
            move || {
                let mut watch = Watch::new(ms(1000), 0);
                // Something was dropped before 1100, and this reading is the first to tell.
                watch.look(&seeing, ms(1100), ms(1100), 1);
            }
        });
        let settled = seeing.settled_until();
        let slice = seeing.take_blind(0);
        if settled >= ms(1100) - RING_DELAY {
            assert!(slice.is_some(), "settled until {settled:?} and no slice");
        }
        receiver.join().expect("the receiver");
        assert!(slice.or_else(|| seeing.take_blind(0)).is_some(), "a slice was lost");
    });
}

/// A sender that is told to stop finds what the one that told it did before: here, what the receiver has counted.
#[test]
fn who_is_stopped_knows_why() {
    loom::model(|| {
        let shared = Arc::new((AtomicBool::new(false), AtomicU64::new(0)));
        let receiver = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                shared.1.store(7, Ordering::Relaxed);
                shared.0.store(true, Ordering::Release);
            }
        });
        if shared.0.load(Ordering::Acquire) {
            assert_eq!(shared.1.load(Ordering::Relaxed), 7);
        }
        receiver.join().expect("the receiver");
        assert!(shared.0.load(Ordering::Acquire), "a stop is not lost");
    });
}
