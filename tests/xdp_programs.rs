//! The BPF programs of the XDP engine by themselves, each run by the kernel on packets that are made here: what may
//! leave, what becomes of a frame that the device refuses, what is taken out of what comes in. Needs root.

mod lab;

use std::process::ExitCode;

use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Array, MapData, RingBuf};
use aya::programs::{Program, RawTracePoint, RawTracePointRunOptions, TestRun, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader};
use libtest_mimic::Arguments;
use portreeve::wire::syn::{MAX_SYN_LEN, SynFields, SynTemplate};

static OBJECT: &[u8] = aya::include_bytes_aligned!("../src/link/xdp/bpf/probe.bpf.o");

/// `enum xdp_action`, linux/bpf.h.
const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const XDP_REDIRECT: u32 = 4;

const FREE: u32 = 0;
const READY: u32 = 1;
const TAKEN: u32 = 2;
const SLOT_LEN: usize = 104;
const FRAME_AT: usize = 16;
/// Over Ethernet and IPv4.
const FRAME_LEN: usize = 66;
const SOURCE_PORT: u16 = 16_500;

type Slot = [u8; SLOT_LEN];
type Case = (&'static str, fn());

const CASES: &[Case] = &[
    ("what_is_in_scope_leaves_as_it_was_made", what_is_in_scope_leaves_as_it_was_made),
    ("the_first_run_is_noted_whatever_comes_of_it", the_first_run_is_noted_whatever_comes_of_it),
    ("nothing_else_leaves", nothing_else_leaves),
    ("what_is_refused_is_sent_again_before_what_is_new", what_is_refused_is_sent_again_before_what_is_new),
    ("what_cannot_be_redirected_is_sent_again", what_cannot_be_redirected_is_sent_again),
    ("answers_are_taken_and_the_rest_is_passed", answers_are_taken_and_the_rest_is_passed),
];

fn main() -> ExitCode {
    let missing = (!rustix::process::geteuid().is_root()).then_some("root");
    let trial = |&(name, test): &Case| lab::trial(name, test, missing);
    libtest_mimic::run(&Arguments::from_args(), CASES.iter().map(trial).collect()).exit_code()
}

/// The programs, for a scope of 198.18.0.0/24, ports 22 and 80.
struct Programs(Ebpf);

impl Programs {
    fn load() -> Self {
        let mut ports = [0_u64; 1024];
        ports[0] = 1 << 22;
        ports[1] = 1 << (80 - 64);
        let (first, last, device, run_len) = (16_384_u16, 32_767_u16, 1_u32, FRAME_LEN as u32);
        let mut loader = EbpfLoader::new();
        loader
            .override_global("ports", &ports, true)
            .override_global("first_source_port", &first, true)
            .override_global("last_source_port", &last, true)
            .override_global("device", &device, true)
            .override_global("run_len", &run_len, true);
        let mut ebpf = loader.load(OBJECT).expect("the kernel takes the maps");
        let map = ebpf.map_mut("scope4").expect("a scope");
        let mut scope: LpmTrie<_, [u8; 4], u8> = LpmTrie::try_from(map).expect("a scope");
        scope.insert(&Key::new(24, [198, 18, 0, 0]), 1, 0).expect("room");
        for (_, program) in ebpf.programs_mut() {
            match program {
                Program::Xdp(xdp) => xdp.load().expect("the kernel takes the program"),
                Program::RawTracePoint(point) => point.load().expect("the kernel takes the program"),
                _ => panic!("no such program is known"),
            }
        }
        let programs = Programs(ebpf);
        programs.trace("enlist", &[]);
        programs
    }

    /// What an XDP program says of a packet, and what the packet is afterwards.
    fn run(&self, name: &str, packet: &[u8]) -> (u32, Vec<u8>) {
        let program: &Xdp = self.0.program(name).and_then(|p| p.try_into().ok()).expect("a program");
        let mut out = vec![0; 512];
        let run = TestRunOptions { data_in: Some(packet), data_out: Some(&mut out), ..TestRunOptions::new() };
        let result = program.test_run(run).expect("it runs");
        out.truncate(result.data_size_out as usize);
        (result.return_value, out)
    }

    fn send(&self) -> (u32, Vec<u8>) {
        self.run("send", &[0; FRAME_LEN])
    }

    /// Tells a program what the kernel would at its tracepoint.
    fn trace(&self, name: &str, arguments: &[u64]) {
        let program: &RawTracePoint =
            self.0.program(name).and_then(|p| p.try_into().ok()).expect("a program");
        let mut run = RawTracePointRunOptions::new();
        run.args[..arguments.len()].copy_from_slice(arguments);
        program.test_run(run).expect("it runs");
    }

    /// Of frames that were redirected, the device has taken the first and refused the rest.
    fn flushed(&self, taken: u64, refused: u64) {
        self.trace("sent", &[0, 0, taken, refused, 0]);
    }

    fn hand_over(&mut self, number: u32, frame: &[u8]) {
        let mut slot = [0; SLOT_LEN];
        slot[..4].copy_from_slice(&READY.to_ne_bytes());
        slot[4..8].copy_from_slice(&(frame.len() as u32).to_ne_bytes());
        slot[FRAME_AT..FRAME_AT + frame.len()].copy_from_slice(frame);
        let mut slots: Array<_, Slot> =
            Array::try_from(self.0.map_mut("slots").expect("slots")).expect("slots");
        slots.set(number, slot, 0).expect("a slot");
    }

    fn statuses(&self, slots: u32) -> Vec<u32> {
        let map: Array<&MapData, Slot> = Array::try_from(self.0.map("slots").expect("slots")).expect("slots");
        let status = |number| {
            let slot = map.get(&number, 0).expect("a slot");
            u32::from_ne_bytes([slot[0], slot[1], slot[2], slot[3]])
        };
        (0..slots).map(status).collect()
    }

    /// Whether `send` has run, as whoever opens the link asks for it.
    fn has_begun(&self) -> bool {
        let map: Array<&MapData, [u32; 8]> =
            Array::try_from(self.0.map("sending").expect("a state")).expect("a state");
        map.get(&0, 0).expect("a state")[5] > 0
    }

    fn fenced(&self) -> u64 {
        let map: Array<&MapData, [u64; 2]> =
            Array::try_from(self.0.map("counts").expect("counts")).expect("counts");
        map.get(&0, 0).expect("counts")[0]
    }

    /// The packets that were handed to user space.
    fn answers(&mut self) -> Vec<Vec<u8>> {
        let mut ring = RingBuf::try_from(self.0.map_mut("answers").expect("a ring")).expect("a ring");
        let mut answers = Vec::new();
        while let Some(answer) = ring.next() {
            let len = usize::from(u16::from_ne_bytes([answer[8], answer[9]]));
            answers.push(answer[10..10 + len].to_vec());
        }
        answers
    }
}

fn probe(ip: [u8; 4], port: u16, sequence: u32) -> Vec<u8> {
    let template = SynTemplate::ethernet([192, 0, 2, 2].into(), [2; 6], [4; 6]);
    let fields =
        SynFields { destination: ip.into(), destination_port: port, source_port: SOURCE_PORT, sequence };
    let mut frame = vec![0; MAX_SYN_LEN];
    let len = template.write(&mut frame, &fields).expect("room");
    frame.truncate(len);
    frame
}

fn what_is_in_scope_leaves_as_it_was_made() {
    let mut programs = Programs::load();
    assert_eq!(programs.send().0, XDP_DROP, "nothing is there yet");
    let frame = probe([198, 18, 0, 9], 22, 7);
    assert_eq!(frame.len(), FRAME_LEN);
    programs.hand_over(0, &frame);
    assert_eq!(programs.send(), (XDP_REDIRECT, frame));
    assert_eq!(programs.statuses(1), [TAKEN]);
    assert_eq!(programs.send().0, XDP_DROP, "it has been taken");
    programs.flushed(1, 0);
    assert_eq!(programs.statuses(1), [FREE]);
}

fn the_first_run_is_noted_whatever_comes_of_it() {
    let programs = Programs::load();
    assert!(!programs.has_begun(), "to be loaded is not to run");
    assert_eq!(programs.send().0, XDP_DROP, "there is nothing to send");
    assert!(programs.has_begun());
}

fn nothing_else_leaves() {
    let mut programs = Programs::load();
    let udp = {
        let mut frame = probe([198, 18, 0, 9], 22, 1);
        frame[14 + 9] = 17;
        frame
    };
    let arp = {
        let mut frame = probe([198, 18, 0, 9], 22, 1);
        frame[12..14].copy_from_slice(&[8, 6]);
        frame
    };
    let outside = [probe([198, 18, 1, 9], 22, 1), probe([198, 18, 0, 9], 23, 1), udp, arp];
    for (number, frame) in outside.iter().enumerate() {
        programs.hand_over(number as u32, frame);
        assert_eq!(programs.send().0, XDP_DROP, "{number}");
        assert_eq!(programs.fenced(), number as u64 + 1);
    }
    assert_eq!(programs.statuses(4), [FREE; 4]);
}

fn what_is_refused_is_sent_again_before_what_is_new() {
    let mut programs = Programs::load();
    let frames: Vec<_> = (0..4).map(|n| probe([198, 18, 0, n], 80, n.into())).collect();
    for (number, frame) in frames[..3].iter().enumerate() {
        programs.hand_over(number as u32, frame);
        assert_eq!(programs.send(), (XDP_REDIRECT, frame.clone()));
    }
    programs.flushed(1, 2);
    assert_eq!(programs.statuses(3), [FREE, TAKEN, TAKEN]);
    programs.hand_over(3, &frames[3]);
    for frame in &frames[1..] {
        assert_eq!(programs.send(), (XDP_REDIRECT, frame.clone()));
    }
    // What other people's frames come to is no matter of ours once nothing of ours is under way.
    programs.flushed(3, 0);
    programs.flushed(0, 16);
    assert_eq!(programs.statuses(4), [FREE; 4]);
    assert_eq!(programs.send().0, XDP_DROP);
}

fn what_cannot_be_redirected_is_sent_again() {
    let mut programs = Programs::load();
    let frames = [probe([198, 18, 0, 1], 80, 1), probe([198, 18, 0, 2], 80, 2)];
    // Nothing of ours is under way, so this is about somebody else's.
    programs.trace("lost", &[]);
    programs.hand_over(0, &frames[0]);
    programs.hand_over(1, &frames[1]);
    programs.send();
    programs.send();
    // The newest is lost; the one before it leaves.
    programs.trace("lost", &[0, 0, 1, (-100_i64) as u64]);
    programs.flushed(1, 0);
    assert_eq!(programs.statuses(2), [FREE, TAKEN]);
    assert_eq!(programs.send(), (XDP_REDIRECT, frames[1].clone()));
}

fn answers_are_taken_and_the_rest_is_passed() {
    let answer = |from: [u8; 4], flags: u8, to_port: u16| {
        let mut frame = probe(from, 22, 5);
        frame[14 + 12..14 + 20].rotate_left(4);
        frame[34..38].rotate_left(2);
        frame[36..38].copy_from_slice(&to_port.to_be_bytes());
        frame[34 + 13] = flags;
        frame
    };
    let ours = [198, 18, 0, 9];
    let mut programs = Programs::load();
    let error = {
        let quoted = probe(ours, 22, 5)[14..42].to_vec();
        let mut frame = answer([192, 0, 2, 1], 0x14, SOURCE_PORT)[..34].to_vec();
        frame[14 + 9] = 1;
        frame.extend([3, 13, 0, 0, 0, 0, 0, 0]);
        frame.extend(quoted);
        frame
    };
    for (what, frame, said, taken) in [
        ("a reset", answer(ours, 0x14, SOURCE_PORT), XDP_DROP, Some(40)),
        ("a SYN-ACK, which the host is to end", answer(ours, 0x12, SOURCE_PORT), XDP_PASS, Some(40)),
        ("an error", error.clone(), XDP_PASS, Some(error.len() - 14)),
        ("a reset to somebody else's port", answer(ours, 0x14, 40_000), XDP_PASS, None),
        ("a reset from outside", answer([198, 18, 1, 9], 0x14, SOURCE_PORT), XDP_PASS, None),
        ("data", answer(ours, 0x18, SOURCE_PORT), XDP_PASS, None),
        ("a reset without an acknowledgment", answer(ours, 0x04, SOURCE_PORT), XDP_PASS, None),
        ("a frame that is cut short", answer(ours, 0x14, SOURCE_PORT)[..40].to_vec(), XDP_PASS, None),
    ] {
        assert_eq!(programs.run("receive", &frame), (said, frame.clone()), "{what}");
        let expected: Vec<Vec<u8>> = taken.map(|len| frame[14..14 + len].to_vec()).into_iter().collect();
        assert_eq!(programs.answers(), expected, "{what}");
    }
}
