//! Findings are made when somebody asks for them: an allocator that counts says how much is held at once while a whole
//! network of exposures is judged and told. Alone in its file, because the allocator is the whole program's.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io;
use std::net::{IpAddr, Ipv4Addr};

use jiff::Timestamp;
use portreeve::policy::allowlist::Allowlist;
use portreeve::policy::evaluate::{evaluate, objectionable};
use portreeve::policy::findings::Findings;
use portreeve::sink::csv::List;
use portreeve::sink::event::Run;
use portreeve::sweep::report::Observation;
use portreeve::sweep::verified::{Confirmation, Verification, Verifications};
use portreeve::target::scope::Scope;
use portreeve::target::state::Reason;
use portreeve::target::{Target, Transport};
use ulid::Ulid;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static MOST_HELD: Cell<isize> = const { Cell::new(0) };
}

/// The system's allocator, which counts what this thread holds of it.
struct Counting;

fn count(change: isize) {
    let held = HELD.get() + change;
    HELD.set(held);
    MOST_HELD.set(MOST_HELD.get().max(held));
}

#[expect(unsafe_code, reason = "an allocator is unsafe to implement; this one only counts")]
// SAFETY: whatever is asked is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Where it has to be moved, both are held for a while.
        count(size as isize);
        count(-(layout.size() as isize));
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most bytes that the work holds at once, beside those that are held already.
fn most_held<T>(work: impl FnOnce() -> T) -> (usize, T) {
    let before = HELD.get();
    MOST_HELD.set(before);
    let result = work();
    ((MOST_HELD.get() - before) as usize, result)
}

const HOSTS: u32 = 10_000;
const PORTS: [u16; 10] = [22, 23, 80, 443, 3306, 3389, 5432, 6379, 8080, 27_017];
const TARGETS: usize = HOSTS as usize * PORTS.len();

/// What may be held for each target, and for all of them.
const EACH: usize = 64;
const ALL: usize = 1 << 16;

fn now() -> Timestamp {
    "2026-06-01T00:00:00Z".parse().expect("a time")
}

fn opens() -> Vec<Observation> {
    let ip = |host| IpAddr::from(Ipv4Addr::from_bits(Ipv4Addr::new(198, 18, 0, 0).to_bits() + host));
    let reason = Reason::SynAck;
    let seen = |ip, port| Observation {
        target: Target { ip, port, transport: Transport::Tcp },
        state: reason.state(),
        reason: Some(reason),
        unknown: None,
        tries: 1,
        rtt_us: Some(800),
        ttl: None,
        corrects: false,
    };
    (0..HOSTS).flat_map(|host| PORTS.map(|port| seen(ip(host), port))).collect()
}

/// What a second look has come to, which does not look at more than some of them.
fn known(opens: &[Observation]) -> Verifications {
    let refused = Confirmation { verification: Verification::Refused, ..Confirmation::default() };
    let targets = opens.iter().step_by(1000).map(|seen| (seen.target, refused.clone())).collect();
    Verifications { targets, ..Verifications::default() }
}

fn judged<'a>(opens: &[Observation], allowlist: &'a Allowlist, known: Verifications) -> Findings<'a> {
    let scope =
        Scope::new(&["198.18.0.0/15".parse().expect("a network")], &[], "all".parse().expect("ports"));
    evaluate(opens, allowlist, known, &scope.expect("a scope"), true, now())
}

#[test]
fn findings_are_not_in_memory_all_at_once() {
    let (opens, allowlist) = (opens(), Allowlist::default());
    let known = known(&opens);
    let (held, suspects) = most_held(|| objectionable(&opens, &allowlist, now()));
    assert_eq!(suspects.len(), TARGETS);
    assert!(held <= EACH * TARGETS + ALL, "{held} bytes for the suspects");
    drop(suspects);
    let (held, findings) = most_held(|| {
        let findings = judged(&opens, &allowlist, known);
        assert_eq!((findings.len(), findings.iter().count()), (TARGETS, TARGETS));
        findings
    });
    assert!(held <= EACH * TARGETS + ALL, "{held} bytes for all findings, one at a time");
    let (held, all) = most_held(|| findings.iter().collect::<Vec<_>>());
    assert!(held > 5 * EACH * TARGETS, "{held} bytes for {} of them at once: so it would show", all.len());
}

#[test]
fn a_list_makes_one_finding_at_a_time() {
    let (opens, allowlist) = (opens(), Allowlist::default());
    let findings = judged(&opens, &allowlist, known(&opens));
    let mut list = List::default();
    // Half of them, so that the rest has lines without a target.
    opens.iter().step_by(2).for_each(|seen| list.observe(now(), seen, false));
    let run = Run::new(Ulid::from_parts(1, 2), None);
    let (held, result) = most_held(|| list.write(&mut io::sink(), &run, now(), &findings));
    result.expect("nobody refuses it");
    assert!(held <= EACH * TARGETS + ALL, "{held} bytes for a list");
}
