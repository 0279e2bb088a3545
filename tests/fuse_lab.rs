//! The fuse against a real kernel: what it lets pass, what it catches, and what becomes of a sweep that has none, the
//! wrong one, or one that is taken away or catches something in mid-sweep.
//!
//! The program's own fence lets no probe out of the scope. So a fuse is made narrower than its name says, and what is
//! legal gets caught.

mod lab;

use std::net::SocketAddr;
use std::path::Path;
use std::process::{ExitCode, Output};
use std::time::Duration;

use lab::{Lab, counter, describe, missing_for_lab, portreeve};
use libtest_mimic::Arguments;
use serde_json::Value;
use socket2::{Domain, Protocol, Socket, Type};
use tempfile::TempDir;

type Case = (&'static str, fn());

/// Slow sweeps and short ones, which leave each other room.
const TOGETHER: &[Case] = &[
    ("no_fuse_no_sweep", no_fuse_no_sweep),
    ("a_sweep_within_its_fuse_is_as_any_other", a_sweep_within_its_fuse_is_as_any_other),
    ("probes_are_told_from_other_frames", probes_are_told_from_other_frames),
];

/// Time is measured, which two cases at a time would spoil for each other.
const ALONE: &[Case] = &[
    (
        "what_leaves_the_scope_is_caught_and_ends_the_sweep",
        what_leaves_the_scope_is_caught_and_ends_the_sweep,
    ),
    ("a_catch_at_the_very_end_counts", a_catch_at_the_very_end_counts),
    ("a_fuse_that_is_taken_away_ends_the_sweep", a_fuse_that_is_taken_away_ends_the_sweep),
    ("a_wide_fuse_loads_in_two_seconds", a_wide_fuse_loads_in_two_seconds),
];

/// `sweep` and `fuse` are the program with what every case wants; `judged` is a sweep with its exit status and the
/// milliseconds that it took; `load` loads a fuse.
const PRELUDE: &str = r#"set -u
PATH=$(dirname "$PORTREEVE"):$PATH
targets() { "$PORTREEVE" "$1" --authorization 'lab 1' --ports 22,80 198.18.7.0/24 "${@:2}"; }
fuse() { targets fuse "$@"; }
sweep() { targets sweep --format jsonl --fuse "$@" 2>>"$LAB_DIR/said"; }
judged() {
    local begin=$(date +%s%N)
    sweep "$@" >"$LAB_DIR/events"
    echo "$? $((($(date +%s%N) - begin) / 1000000))" >"$LAB_DIR/judged"
}
caught() { nft list counter netdev portreeve caught; }
ip netns exec router nft -f - <<'END'
table ip halves {
    counter lower { }
    counter upper { }
    chain forward {
        type filter hook forward priority -200;
        tcp flags & (syn | ack) != syn return
        ip daddr 198.18.7.0/25 counter name lower
        ip daddr 198.18.7.128/25 counter name upper
    }
}
END
"#;

/// What a lab left behind.
struct Ran {
    output: Output,
    kept: TempDir,
}

impl Ran {
    /// Runs a script that must succeed.
    fn new(script: &str) -> Self {
        let kept = tempfile::tempdir().expect("a temporary directory");
        let this = std::env::current_exe().expect("this program has a path");
        let lab = Lab::new().network("198.18.7.0/24").option("--ports", "22,80").seed(3).dir(kept.path());
        let lab = lab.option("--drop", "none").option("--reject", "none");
        let lab = lab.env("PORTREEVE", &portreeve()).env("CALLER", &this.to_string_lossy());
        let whole =
            format!("{PRELUDE}{script}\nip netns exec router nft list table ip halves >$LAB_DIR/halves");
        let ran = Ran { output: lab.run(&["bash", "-c", &whole]), kept };
        assert!(ran.output.status.success(), "{}", ran.told());
        ran
    }

    /// A file that the script left.
    fn file(&self, name: &str) -> String {
        let text = std::fs::read_to_string(Path::join(self.kept.path(), name));
        text.unwrap_or_else(|e| panic!("{name}: {e}\n{}", describe(&self.output)))
    }

    /// Everything that was said, for the message of a failed assertion.
    fn told(&self) -> String {
        let said = std::fs::read_to_string(Path::join(self.kept.path(), "said")).unwrap_or_default();
        format!("{}\n--- the sweep's complaint\n{said}", describe(&self.output))
    }

    /// Exit status and milliseconds of the sweep.
    fn judged(&self) -> (i32, u64) {
        let text = self.file("judged");
        let (status, took) = text.trim().split_once(' ').expect("two numbers");
        (status.parse().expect("a status"), took.parse().expect("milliseconds"))
    }

    /// SYNs that came through to the lower and to the upper half of the network.
    fn halves(&self) -> (u64, u64) {
        let rules = self.file("halves");
        (counter(&rules, "lower"), counter(&rules, "upper"))
    }

    /// The first and the last event of the sweep.
    fn events(&self) -> (Value, Value) {
        let text = self.file("events");
        let event = |line: Option<&str>| serde_json::from_str(line.expect("a line")).expect("an event");
        (event(text.lines().next()), event(text.lines().last()))
    }
}

/// Nothing is caught, the handshakes and canary ports of the second look included.
fn a_sweep_within_its_fuse_is_as_any_other() {
    let ran = Ran::new("fuse | nft -f - && judged --engine packet; caught >$LAB_DIR/caught");
    let (started, completed) = ran.events();
    assert_eq!(ran.judged().0, 1, "{}", ran.told());
    assert_eq!(completed["verdict"], "complete", "{completed}");
    assert_eq!(completed["ledger"]["declared"], 512, "{completed}");
    assert!(completed["findings"].as_u64() > Some(0), "{completed}");
    let reason = started["vantage"]["engine_reason"].as_str().expect("a reason");
    assert!(reason.ends_with("; a fuse stands behind it"), "{reason}");
    assert_eq!(counter(&ran.file("caught"), "caught"), 0);
    assert_eq!(ran.file("said"), "");
}

/// A fuse that passes half of what its name says.
const HALF: &str = "fuse >$LAB_DIR/whole; \
                    sed 's/198.18.7.0-198.18.7.255/198.18.7.0-198.18.7.127/' $LAB_DIR/whole >$LAB_DIR/half; \
                    ! cmp -s $LAB_DIR/whole $LAB_DIR/half && nft -f $LAB_DIR/half || exit 9; ";

fn what_leaves_the_scope_is_caught_and_ends_the_sweep() {
    // With this seed the first eight targets are of the half that the fuse passes. A frame that it drops is refused to
    // the sender, which goes no further before it has left.
    let sweep = "judged --engine packet --rate 100 --seed 125";
    let ran = Ran::new(&format!("{HALF} {sweep}; caught >$LAB_DIR/caught"));
    let (status, took) = ran.judged();
    assert_eq!(status, 3, "{}", ran.told());
    // All of it would take five seconds; the first reading is after half a second.
    assert!(took < 2500, "{took} ms\n{}", ran.told());
    let (lower, upper) = ran.halves();
    assert!(lower > 0 && upper == 0, "{lower} and {upper} SYNs came through");
    let caught = counter(&ran.file("caught"), "caught");
    assert!(caught > 10, "{caught}");
    let complaint = format!("the fuse caught {caught} frames that would have left the scope");
    assert!(ran.file("said").contains(&complaint), "{complaint}\n{}", ran.told());
    let (_, completed) = ran.events();
    assert_eq!(completed["verdict"], "degraded", "{completed}");
    let unknown = completed["ledger"]["unknown"].as_u64().expect("a count");
    assert_eq!(completed["unknown_reasons"]["link-failed"], unknown, "{completed}");
    assert!(unknown > 256, "{completed}");
}

/// A frame of another program is taken for a probe, which comes handy here: the sweep is over a moment later.
fn a_catch_at_the_very_end_counts() {
    let ran = Ran::new(
        "fuse | nft -f -; (sleep 0.15; $CALLER connect 192.0.2.2:20000 198.18.7.9:443) & \
         sweep --engine packet --no-verify --tries 1 --rate 2000 >$LAB_DIR/events; \
         echo \"$? 0\" >$LAB_DIR/judged; wait; caught >$LAB_DIR/caught",
    );
    assert_eq!(counter(&ran.file("caught"), "caught"), 1, "{}", ran.told());
    assert_eq!(ran.judged().0, 3, "{}", ran.told());
    assert!(ran.file("said").contains("the fuse caught 1 frames"), "{}", ran.told());
}

fn no_fuse_no_sweep() {
    let loads = "portreeve fuse 198.18.7.0/24 --ports 22,80 --authorization 'lab 1' | sudo nft -f -";
    for (fuse, options, complaint) in [
        ("", "", "no fuse is loaded; load it by: "),
        ("fuse --exclude 198.18.7.7 | nft -f -", "", "not of this scope"),
        ("fuse | nft -f -", "--exclude 198.18.7.7", "not of this scope"),
        ("fuse | nft -f -; echo 1024 32767 >/proc/sys/net/ipv4/ip_local_port_range", "", "not of this scope"),
        (
            "fuse | nft -f -; nft delete chain netdev portreeve egress_scan0",
            "",
            "does not cover the interface scan0",
        ),
        ("fuse | nft -f -; fuse --remove | nft -f -; fuse --remove | nft -f -", "", "no fuse is loaded"),
        ("fuse | nft -f -", "--engine connect", "cannot stand behind the connect engine (asked for)"),
        ("fuse | nft -f -", "--engine xdp", "cannot stand behind the xdp engine"),
        ("fuse | nft -f -; PATH=/nowhere", "", "it is not in PATH"),
        (
            "fuse | nft -f -; sweep() { targets sweep --fuse \"$@\" 2>>$LAB_DIR/said; }; \
             targets() { setpriv --bounding-set -net_admin \"$PORTREEVE\" \"$1\" --authorization x 198.18.7.0/24 \
             \"${@:2}\"; }",
            "",
            "permission denied: --fuse reads the counter of the fuse by nft, which needs CAP_NET_ADMIN",
        ),
    ] {
        let ran = Ran::new(&format!(
            "sum=$PATH; {fuse}\nsweep {options} >$LAB_DIR/events; status=$?; PATH=$sum; \
             echo \"$status 0\" >$LAB_DIR/judged"
        ));
        assert_eq!(ran.judged().0, 2, "{fuse} {options}\n{}", ran.told());
        let said = ran.file("said");
        assert!(said.contains(complaint), "{fuse} {options}\n{said}");
        assert!(!complaint.starts_with("no fuse is loaded;") || said.contains(loads), "{said}");
        assert_eq!(ran.halves(), (0, 0), "nothing is sent\n{}", ran.told());
        assert_eq!(ran.file("events"), "", "nothing is begun");
    }
    // The very words of the complaint do it.
    let ran = Ran::new(
        "sweep; line=$(sed -n 's/.*load it by: //p' $LAB_DIR/said); \
         eval \"${line/sudo /}\" && judged --engine packet",
    );
    assert_eq!(ran.judged().0, 1, "{}", ran.told());
}

fn a_fuse_that_is_taken_away_ends_the_sweep() {
    for (breakage, complaint) in [
        ("fuse --remove | nft -f -", "no fuse is loaded"),
        ("fuse --exclude 198.18.7.7 | nft -f -", "not of this scope"),
        ("nft delete chain netdev portreeve egress_scan0", "does not cover the interface scan0"),
    ] {
        let ran = Ran::new(&format!(
            "fuse | nft -f -; (sleep 1; {breakage}) & judged --engine packet --rate 100; wait"
        ));
        let (status, took) = ran.judged();
        assert_eq!(status, 3, "{breakage}\n{}", ran.told());
        assert!((1000..3000).contains(&took), "{breakage}: {took} ms\n{}", ran.told());
        let said = ran.file("said");
        let whole = "the sweep was ended because it was to have a fuse behind it: ";
        assert!(said.contains(whole) && said.contains(complaint), "{breakage}: {said}");
    }
}

/// Ordinary connections stand for probes and for what is none, by loopback, in both families.
fn probes_are_told_from_other_frames() {
    let script = "echo 0 >/proc/sys/net/ipv6/conf/lo/disable_ipv6; ip address replace ::1/128 dev lo; \
                  load() { \"$PORTREEVE\" fuse 127.0.0.1 ::1 --ports 22 | nft -f -; }; \
                  try() { load; $CALLER connect \"$@\"; caught | sed -n 's/.*packets \\([0-9]*\\).*/\\1/p'; }; \
                  { try 127.0.0.1:20000 127.0.0.1:22; try 127.0.0.1:20000 127.0.0.1:23; \
                    try 127.0.0.1:20000 127.0.0.2:22; try 127.0.0.1:50000 127.0.0.1:23; \
                    try 127.0.0.9:20000 127.0.0.1:23; \
                    try [::1]:20000 [::1]:22; try [::1]:20000 [::1]:23; try [::1]:50000 [::1]:23; } >$LAB_DIR/counts";
    let ran = Ran::new(script);
    let counts: Vec<u64> = ran.file("counts").lines().map(|count| count.parse().expect("a count")).collect();
    assert_eq!(counts, [0, 1, 1, 0, 0, 0, 1, 0], "{}", ran.told());
}

/// Ranges of a wide fuse. It goes to the kernel in one message, and only the administrator of the whole machine may
/// make room for any length of it: in a user namespace some five thousand ranges fit.
fn widest() -> usize {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let capabilities = read("/proc/self/status")
        .lines()
        .find_map(|line| u64::from_str_radix(line.strip_prefix("CapEff:")?.trim(), 16).ok());
    let is_administrator = capabilities.is_some_and(|bits| bits >> 12 & 1 == 1);
    let is_whole_machine = read("/proc/self/uid_map").split_whitespace().eq(["0", "0", "4294967295"]);
    if is_administrator && is_whole_machine { 10_000 } else { 4000 }
}

fn a_wide_fuse_loads_in_two_seconds() {
    let widest = widest();
    let script = "for ((n = 0; n < WIDEST; n++)); do \
                      echo 198.18.$((n / 100)).$((n % 100 * 2)); \
                  done >$LAB_DIR/wide; \
                  \"$PORTREEVE\" fuse @$LAB_DIR/wide --authorization lab >$LAB_DIR/script || exit 8; \
                  begin=$(date +%s%N); nft -f $LAB_DIR/script || exit 9; \
                  echo \"0 $((($(date +%s%N) - begin) / 1000000))\" >$LAB_DIR/judged; \
                  \"$PORTREEVE\" sweep @$LAB_DIR/wide --ports 22 --authorization lab --fuse 2>$LAB_DIR/said; true";
    let ran = Ran::new(&script.replace("WIDEST", &widest.to_string()));
    assert!(ran.file("script").matches(", ").count() >= widest - 1, "{}", ran.told());
    assert!(ran.judged().1 < 2000, "{} ms", ran.judged().1);
    assert!(ran.file("said").contains("not of this scope, these ports"), "{}", ran.told());
}

/// Tries a connection from one place to another, which need not come about.
fn connect(from: SocketAddr, to: SocketAddr) -> std::io::Result<()> {
    let socket = Socket::new(Domain::for_address(from), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&from.into())?;
    // Before a SYN is repeated.
    let _ = socket.connect_timeout(&to.into(), Duration::from_millis(300));
    Ok(())
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [told, from, to] = words.as_slice()
        && told == "connect"
    {
        let place = |text: &str| text.parse::<SocketAddr>().expect("an address and a port");
        connect(place(from), place(to)).expect("a socket");
        return ExitCode::SUCCESS;
    }
    let missing = missing_for_lab();
    let of = |cases: &[Case]| -> Vec<_> {
        cases.iter().map(|&(name, test)| lab::trial(name, test, missing.as_deref())).collect()
    };
    lab::run(Arguments::from_args(), [(lab::MANY, of(TOGETHER)), (lab::ALONE, of(ALONE))])
}
