//! What the steps of a probe and of an answer cost, in instructions:
//! `cargo run --release --example instructions`.
//!
//! Instructions are the same on a busy machine as on a quiet one, so here a step that got more expensive is seen where
//! its time is not. This program runs itself under callgrind, which counts only inside [`counted`], and holds what each
//! step took against `instructions.txt`; where one takes more, it says so and fails. `-- --write` writes the file anew.
//!
//! Needs valgrind, and the right to make a network namespace, in whose loopback the packet link sends. What the kernel
//! does is not counted.

use std::collections::BTreeSet;
use std::fs;
use std::hint::black_box;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Duration;

use portreeve::link::clock::{Clock, Monotonic, Tick};
use portreeve::link::fence::Fence;
use portreeve::link::guard::NoGuard;
use portreeve::link::lane::{Lane, NextHop};
use portreeve::link::next_hop::HardwareAddress;
use portreeve::link::packet::{Knowledge, PacketOptions, PacketTransmit};
use portreeve::link::switch::{Switch, Track};
use portreeve::link::{Arrival, LinkError, Probe, Receive, Transmit};
use portreeve::sweep::board::Board;
use portreeve::sweep::caps::{Caps, Extent};
use portreeve::sweep::cookie::SourcePorts;
use portreeve::sweep::plan::{Plan, StateSet};
use portreeve::sweep::receiver::Receiver;
use portreeve::sweep::report::Vantage;
use portreeve::sweep::sender::{Sender, Step};
use portreeve::target::scope::Scope;
use portreeve::target::state::Reason;
use portreeve::wire::frame::parse_ip;
use portreeve::wire::reply::{Answer, Reply};
use portreeve::wire::syn::{MAX_SYN_LEN, SynFields, SynTemplate};
use ulid::Ulid;

/// The word by which this program knows that it is the one under callgrind.
const COUNT: &str = "--count";
/// The committed counts, one step a line: a number, and the step's name.
const BOUNDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.txt");
/// What a step may take beyond its bound: another C library or another patch release of the compiler is no regression.
const ROOM_PERCENT: f64 = 3.0;
const ROOM: f64 = 1.0;
/// A step that is so much cheaper than its bound should have a lower one.
const SLACK_PERCENT: f64 = 10.0;

/// How often each step is taken, and how many probes or answers a sender or a receiver handles in one step.
const ROUNDS: u64 = 8192;
const BATCH: usize = 256;

/// Batches after which a sender goes on as it goes.
const SETTLED: u64 = 64;

const KEY: &[u8; 16] = b"a key of 16 byte";
const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));
const SOURCE_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2));

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|word| word == COUNT) {
        count_all();
        return ExitCode::SUCCESS;
    }
    match compare(words.iter().any(|word| word == "--write")) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            // Nothing is left to be done when standard error is closed too.
            let _ = writeln!(io::stderr(), "instructions: {message}");
            ExitCode::from(2)
        }
    }
}

// --- outside callgrind -----------------------------------------------------------------------------------------

/// Counts, prints, and says whether every step keeps to its bound; or writes the bounds anew.
fn compare(write: bool) -> Result<bool, String> {
    let counts = run_callgrind()?;
    if write {
        let lines = counts.iter().map(|(name, count)| format!("{count:8.1}  {name}\n"));
        let text = format!("{HEAD}{}", lines.collect::<String>());
        fs::write(BOUNDS, text).map_err(|error| format!("cannot write {BOUNDS}: {error}"))?;
    }
    let bounds = fs::read_to_string(BOUNDS).unwrap_or_default();
    let mut kept = true;
    let mut out = io::stdout().lock();
    for (name, count) in &counts {
        let bound = bound_of(name, &bounds);
        let (is_kept, word) = judge(*count, bound);
        kept &= is_kept;
        let bound = bound.map_or_else(|| "-".to_owned(), |bound| format!("{bound:.1}"));
        writeln!(out, "{count:8.1}  bound {bound:>8}  {name}{word}").map_err(|error| error.to_string())?;
    }
    Ok(kept)
}

const HEAD: &str =
    "# Instructions that each step takes, for one probe or one answer: `cargo run --release --example
# instructions` holds against these, and with `-- --write` writes them.\n";

fn bound_of(name: &str, bounds: &str) -> Option<f64> {
    let mut lines = bounds.lines().filter_map(|line| line.trim().split_once("  "));
    lines.find(|(_, step)| *step == name)?.0.parse().ok()
}

fn judge(count: f64, bound: Option<f64>) -> (bool, &'static str) {
    match bound {
        None => (false, "  NO BOUND: write it down with `-- --write`"),
        Some(bound) if count > bound * (1.0 + ROOM_PERCENT / 100.0) + ROOM => (false, "  MORE THAN IT WAS"),
        Some(bound) if count < bound * (1.0 - SLACK_PERCENT / 100.0) - ROOM => {
            (true, "  (less than it was: `-- --write` makes that the bound)")
        }
        Some(_) => (true, ""),
    }
}

/// Runs this program under callgrind in a network namespace without a way out; returns what each step took.
fn run_callgrind() -> Result<Vec<(String, f64)>, String> {
    let place = tempfile::tempdir().map_err(|error| format!("no place for the counts: {error}"))?;
    let own = std::env::current_exe().map_err(|error| format!("where is this program: {error}"))?;
    let isolates = |words: &[&str]| Command::new("unshare").args(words).arg("true").output();
    let mut isolated = vec!["--net"];
    if !isolates(&isolated).is_ok_and(|output| output.status.success()) {
        isolated.extend(["--user", "--map-root-user"]);
    }
    let output = Command::new("unshare")
        .args(isolated)
        .args(["sh", "-c", "ip link set lo up && exec \"$@\"", "sh", "valgrind", "--tool=callgrind"])
        // Each time that the function is left, what was counted in it is one file more. (Wildcards do not do that.)
        .args(["--toggle-collect=instructions::counted", "--dump-after=instructions::counted"])
        .arg(format!("--callgrind-out-file={}", place.path().join("counts").display()))
        .arg(own)
        .arg(COUNT)
        .output()
        .map_err(|error| format!("cannot run unshare, which is in util-linux: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("cannot count (is valgrind installed?): {}\n{said}", output.status));
    }
    let mut counts: Vec<(String, f64)> = Vec::new();
    let mut nothing = None;
    for (at, line) in String::from_utf8_lossy(&output.stdout).lines().enumerate() {
        let mut words = line.splitn(3, ' ');
        let mut number = || words.next().and_then(|word| word.parse::<f64>().ok());
        let (Some(calls), Some(units), Some(name)) = (number(), number(), words.next()) else {
            return Err(format!("not a step: {line}"));
        };
        let total = total(place.path(), at + 1)?;
        // The first step does nothing, which is what each call takes besides what it does.
        match nothing {
            None => nothing = Some(total / calls),
            Some(nothing) => counts.push((name.to_owned(), (total - nothing * calls) / units)),
        }
    }
    Ok(counts)
}

/// What callgrind counted the n-th time.
fn total(place: &Path, n: usize) -> Result<f64, String> {
    let path = place.join(format!("counts.{n}"));
    let text =
        fs::read_to_string(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
    total.and_then(|total| total.trim().parse().ok()).ok_or_else(|| format!("no total in {}", path.display()))
}

// --- under callgrind -------------------------------------------------------------------------------------------

/// All that is counted happens in here.
#[inline(never)]
fn counted(calls: u64, step: &mut dyn FnMut(u64)) {
    for n in 0..calls {
        step(n);
    }
}

/// Counts a step of which each call is one probe or answer.
fn count<T>(name: &str, mut step: impl FnMut(u64) -> T) {
    counted(ROUNDS, &mut |n| {
        black_box(step(black_box(n)));
    });
    say(ROUNDS, ROUNDS, name);
}

/// Counts a step of which each call is a batch.
fn count_batches<T>(name: &str, mut step: impl FnMut(u64) -> T) {
    let calls = ROUNDS / BATCH as u64;
    counted(calls, &mut |n| {
        black_box(step(black_box(n)));
    });
    say(calls, ROUNDS, name);
}

fn say(calls: u64, units: u64, name: &str) {
    writeln!(io::stdout(), "{calls} {units} {name}").expect("whoever runs this reads it");
}

fn count_all() {
    count("nothing", |n| n);
    let plan = plan(None);
    let board = Board::new(&plan, KEY, 1).expect("memory");
    count_probe_steps(&board);
    count_senders(&plan);
    count_links();
    count_answer_steps(&board);
    count_receiver(&plan);
}

/// A /16 of which a /24 is left out, and the six risky ports: as in `scripts/compare.sh`, and with a hole.
fn plan(caps: Option<(u32, u32)>) -> Plan {
    let networks = ["198.18.0.0/16".parse().expect("a network")];
    let exclude = ["198.18.4.0/24".parse().expect("a network")];
    Plan {
        sweep: Ulid::from(1),
        scope: Scope::new(&networks, &exclude, "risky".parse().expect("ports")).expect("a scope"),
        shard: None,
        seed: 1,
        key: None,
        tries: 3,
        tile: None,
        rate: None,
        governed: false,
        host_rate: caps.and_then(|(host, _)| NonZeroU32::new(host)),
        network_rate: caps.and_then(|(_, network)| NonZeroU32::new(network)),
        canaries: Vec::new(),
        mute: Vec::new(),
        routes: Arc::default(),
        source_ports: SourcePorts { first: 16_384, count: 16_384 },
        wanted: StateSet::all(),
        watched: BTreeSet::new(),
        vantage: Vantage {
            host: "bench".into(),
            engine: "bench".into(),
            engine_reason: "a bench".into(),
            interface: None,
            source: None,
            next_hop: None,
        },
    }
}

fn fence(scope: &Scope) -> Fence {
    Fence::new(scope.ends(), scope.ports().iter())
}

/// A moment in which 1,000,000 probes a second come to `n` probes.
fn moment(n: u64) -> Tick {
    Tick::from_nanos(1_000_000_000 + n * 1000)
}

// --- a probe ---------------------------------------------------------------------------------------------------

fn count_probe_steps(board: &Board<'_>) {
    let scope = &board.plan.scope;
    count("probe: order", |n| board.order.index_at(n));
    count("probe: target of the scope", |n| scope.target(n * 47));
    let target = scope.target(4711);
    count("probe: cookie", |n| board.cookie.token(SOURCE, &target, n as u8));
    let target_v6 = portreeve::target::Target { ip: SOURCE_V6, ..target };
    count("probe: cookie, IPv6", |n| board.cookie.token(SOURCE_V6, &target_v6, n as u8));
    let extent = Extent { hosts: scope.hosts(), networks: scope.hosts() >> 8, senders: 1 };
    let mut caps = Caps::new(extent, NonZeroU32::new(200), NonZeroU32::new(5000));
    count("probe: caps", |n| {
        let index = board.order.index_at(n);
        let entry = caps.entry_of(board.place_of(index, scope.target(index).ip));
        caps.admit(entry, n, moment(n))
    });
    count("probe: mark in the table", |n| board.table.mark_probed(n));
    count("probe: note of its time", |n| board.times.note(n, moment(n)));
    let fence = fence(scope);
    count("probe: fence", |n| fence.holds(IpAddr::V4((0xc612_0000 + n as u32).into()), 6379));
    for (source, name) in [(SOURCE, "probe: frame"), (SOURCE_V6, "probe: frame, IPv6")] {
        let template = SynTemplate::ethernet(source, [2; 6], [4; 6]);
        let mut frame = [0; MAX_SYN_LEN];
        count(name, |n| {
            let fields = SynFields {
                destination: source,
                destination_port: 22,
                source_port: 16_384,
                sequence: n as u32,
            };
            template.write(black_box(&mut frame), &fields)
        });
    }
}

/// A link that takes everything and does nothing.
struct Swallow;

impl Transmit for Swallow {
    fn source(&self, _: IpAddr) -> IpAddr {
        SOURCE
    }

    fn transmit(&mut self, probes: &[Probe], _: &mut Vec<usize>) -> Result<(), LinkError> {
        black_box(probes);
        Ok(())
    }
}

/// The sender as a whole, from the order to the link.
fn count_senders(uncapped: &Plan) {
    let capped = plan(Some((200, 5000)));
    for (plan, name) in [(uncapped, "sender"), (&capped, "sender, with caps")] {
        let board = Board::new(plan, KEY, 1).expect("memory");
        let mut sender = Sender::new(&board, 0, Box::new(Swallow) as Box<dyn Transmit>);
        let mut step = |n: u64| {
            let step = sender.step(moment(n * BATCH as u64)).expect("it swallows everything");
            assert_eq!(step, Step::Again);
        };
        // Caps make the sender look far ahead at first, until as many wait for their slots as may.
        (0..SETTLED).for_each(&mut step);
        count_batches(name, |n| step(SETTLED + n));
    }
}

// --- links -----------------------------------------------------------------------------------------------------

/// The packet link into the loopback of a namespace of its own, where nobody has any of these addresses; and the switch
/// between two links.
fn count_links() {
    let probes: Vec<Probe> = (0..BATCH as u32).map(probe).collect();
    let mut refused = Vec::with_capacity(BATCH);
    let mut packet = open_packet_link();
    count_batches("packet link", |_| {
        packet.transmit(&probes, &mut refused).expect("the loopback is there");
        assert!(refused.is_empty(), "the loopback takes everything");
    });
    let track = |first: [u8; 4], last: [u8; 4], link| Track { first: first.into(), last: last.into(), link };
    let tracks =
        vec![track([198, 18, 0, 0], [198, 18, 0, 127], 0), track([198, 18, 0, 128], [198, 18, 0, 255], 1)];
    let mut switch = Switch::new(tracks, vec![Box::new(Swallow), Box::new(Swallow)]);
    count_batches("switch of two links", |_| switch.transmit(&probes, &mut refused));
    count("source address, by the packet link", |n| packet.source(probes[n as usize % BATCH].ip));
}

fn probe(n: u32) -> Probe {
    let ip = IpAddr::V4((0xc612_0000 + n).into());
    Probe { ip, port: 22, source: SOURCE, source_port: 16_384, sequence: n }
}

fn open_packet_link() -> PacketTransmit {
    let (first, last) = ([198, 18, 0, 0].into(), [198, 18, 255, 255].into());
    let next_hop = NextHop::Router(Arc::new(HardwareAddress::new([2, 0, 0, 0, 0, 1])));
    let options = PacketOptions {
        interface_index: 1,
        interface: "lo".into(),
        lanes: vec![Lane { first, last, source: SOURCE, source_mac: [2; 6], next_hop }],
        fence: fence(&plan(None).scope),
    };
    PacketTransmit::open(&options, Knowledge::new(), Monotonic::new())
        .expect("a packet socket on the loopback")
}

// --- an answer -------------------------------------------------------------------------------------------------

fn count_answer_steps(board: &Board<'_>) {
    let scope = &board.plan.scope;
    let packet = reset();
    count("answer: parse", |_| parse_ip(black_box(&packet)));
    count("answer: index in the scope", |n| {
        scope.index_of(IpAddr::V4((0xc612_0000 + n as u32).into()), 6379)
    });
    count("answer: position in the order", |n| board.order.position_of(n));
    // The first steps have marked these.
    count("answer: record in the table", |n| board.enter(n, Reason::Rst));
}

/// What a host answers with whose port is closed: our SYN, turned round.
fn reset() -> Vec<u8> {
    let fields = SynFields {
        destination: [198, 18, 3, 4].into(),
        destination_port: 22,
        source_port: 16_500,
        sequence: 7,
    };
    let mut packet = vec![0; MAX_SYN_LEN];
    let length = SynTemplate::bare(SOURCE).write(&mut packet, &fields).expect("room");
    packet.truncate(length);
    packet[12..20].rotate_left(4);
    packet[20..24].rotate_left(2);
    packet[33] = 0x14;
    packet
}

/// A link on which a batch of answers comes in each time.
struct Feed(Vec<Vec<Arrival>>);

impl Receive for Feed {
    fn receive(&mut self, _: Duration, each: &mut dyn FnMut(Arrival)) -> Result<(), LinkError> {
        self.0.pop().into_iter().flatten().for_each(each);
        Ok(())
    }

    fn dropped(&mut self) -> Result<u64, LinkError> {
        Ok(0)
    }
}

/// A clock that stands still, so that the receiver looks after nothing but answers.
struct Still;

impl Clock for Still {
    fn now(&self) -> Tick {
        moment(ROUNDS)
    }

    fn sleep_until(&self, _: Tick) {}
}

/// The receiver as a whole, from the reply to the table, for resets, of which there are most.
fn count_receiver(plan: &Plan) {
    let board = Board::new(plan, KEY, 1).expect("memory");
    let arrival = |position| {
        let target = board.target_at(position);
        board.times.note(position, moment(position));
        let token = board.cookie.token(SOURCE, &target, board.table.mark_probed(position));
        let answer = Answer::Rst { ack: token.sequence.wrapping_add(1) };
        let (ip, port, source_port) = (target.ip, target.port, token.source_port);
        let reply = Reply { ip, port, source: SOURCE, source_port, answer, ttl: 64 };
        Arrival { at: moment(position + 300), reply }
    };
    let batch = |n: u64| (n * BATCH as u64..(n + 1) * BATCH as u64).map(arrival).collect();
    let feed = Feed((0..ROUNDS / BATCH as u64).map(batch).collect());
    let mut receiver = Receiver::new(&board, feed, NoGuard { paths: 1 }, moment(0)).expect("a link");
    count_batches("receiver", |_| receiver.step(&Still, Duration::ZERO).expect("a link"));
    assert_eq!(board.answered(), ROUNDS, "every answer counts");
}
