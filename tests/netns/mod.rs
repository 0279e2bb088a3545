//! Small networks of namespaces for tests on a real kernel. Every case runs its program anew in network and mount
//! namespaces of its own and lays its network there out of veth pairs. The machine's own interfaces are not in there,
//! so no packet can leave by them.
//!
//! Root runs it as it is; anybody else in a user namespace, where the system allows that. Where it cannot run, each
//! case is shown as ignored, with the reason. Each test program uses its own part of this.
#![allow(dead_code)]

use std::env;
use std::net::IpAddr;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};
use portreeve::link::interface::Interface;

/// A case runs in its own namespaces and panics if it fails.
pub type Case = (&'static str, fn());

/// Runs the cases that were asked for, each in a process of its own.
pub fn main(cases: &[Case]) -> ExitCode {
    if let Ok(wanted) = env::var(CASE) {
        return run_inside(cases, &wanted);
    }
    let arguments = Arguments::from_args();
    let obstacle = obstacle();
    let trials = cases
        .iter()
        .map(|&(name, _)| {
            let obstacle = obstacle.clone().or_else(|| tunnel_obstacle(name));
            let trial = Trial::test(name, || run_outside(name)).with_ignored_flag(obstacle.is_some());
            trial.with_kind(obstacle.unwrap_or_default())
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// What is missing for a case that opens a tunnel, as its name says.
fn tunnel_obstacle(name: &str) -> Option<String> {
    let device = || std::fs::OpenOptions::new().read(true).write(true).open("/dev/net/tun");
    let cause = name.ends_with("_by_a_tunnel").then(device)?.err()?;
    Some(format!("missing: /dev/net/tun ({cause})"))
}

/// The variable that tells the program which case it is in there for.
const CASE: &str = "PORTREEVE_TEST_CASE";

/// The variable that tells it which namespaces it must have left behind.
const OUTSIDE: &str = "PORTREEVE_TEST_OUTSIDE";

/// The case in namespaces of its own, from outside.
fn run_outside(name: &str) -> Result<(), Failed> {
    let program = env::current_exe()?;
    let output =
        private().arg(program).env(CASE, name).env(OUTSIDE, namespaces()).stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(format!("{}\n{}", output.status, String::from_utf8_lossy(&said)).into())
}

/// The case, once inside.
fn run_inside(cases: &[Case], wanted: &str) -> ExitCode {
    let Some((_, case)) = cases.iter().find(|(name, _)| *name == wanted) else {
        panic!("there is no case {wanted}");
    };
    // What follows would rearrange the machine's own network if the program were not in there.
    assert_ne!(env::var(OUTSIDE).expect(OUTSIDE), namespaces(), "no namespaces of its own");
    // `ip netns` keeps its names there, and the host's are none of ours.
    run("mount -t tmpfs tmpfs /run");
    run("ip link set lo up");
    case();
    ExitCode::SUCCESS
}

/// The command that runs what follows in namespaces of its own.
fn private() -> Command {
    let mut command = Command::new("unshare");
    if !is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["--net", "--mount", "--"]);
    command
}

/// The network and the mount namespace that the program is in.
fn namespaces() -> String {
    let of = |kind: &str| std::fs::read_link(format!("/proc/self/ns/{kind}")).expect("namespaces in /proc");
    format!("{} {}", of("net").display(), of("mnt").display())
}

fn is_root() -> bool {
    let user = Command::new("id").arg("-u").output();
    user.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

/// Why the cases cannot run here, if they cannot.
fn obstacle() -> Option<String> {
    if Command::new("ip").arg("-V").output().is_err() {
        return Some("cannot run: no ip(8)".to_owned());
    }
    let laid = "mount -t tmpfs tmpfs /run && ip netns add far && ip link add near0 type veth peer name far0 netns far";
    match private().args(["sh", "-c", laid]).output() {
        Err(_) => Some("cannot run: no unshare(1)".to_owned()),
        Ok(output) if output.status.success() => None,
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            Some(format!("cannot run: {}", said.lines().next().unwrap_or("namespaces are refused")))
        }
    }
}

/// Runs a command of this small network, which must succeed.
pub fn run(line: &str) {
    let mut words = line.split_whitespace();
    let program = words.next().expect("a command");
    let output = Command::new(program).args(words).output().expect(line);
    assert!(output.status.success(), "`{line}`: {}", String::from_utf8_lossy(&output.stderr));
}

/// The hardware address of `near0`.
pub const NEAR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// The hardware address of `far0`.
pub const FAR_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xfe];

/// This host is 198.18.0.1/24 on `near0`; at the other end, in a namespace of its own, is 198.18.0.254.
pub fn lay() {
    run("ip netns add far");
    run("ip link add near0 address 02:00:00:00:00:01 type veth \
         peer name far0 address 02:00:00:00:00:fe netns far");
    run("ip address add 198.18.0.1/24 dev near0");
    run("ip link set near0 up");
    run("ip -n far address add 198.18.0.254/24 dev far0");
    run("ip -n far link set far0 up");
    wait_for_carrier("near0");
}

/// The kernel tells of carrier a moment after it is there.
pub fn wait_for_carrier(name: &str) {
    let began = Instant::now();
    while !Interface::by_name(name).expect(name).running {
        assert!(began.elapsed() < Duration::from_secs(10), "{name} has no carrier");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The kernel takes an address of IPv6 for its own a moment after it was given, when a worker of its gets to it.
pub fn wait_for_own(address: &str) {
    let began = Instant::now();
    let show = ["-6", "route", "show", "table", "local", address];
    while Command::new("ip").args(show).output().expect("ip").stdout.is_empty() {
        assert!(began.elapsed() < Duration::from_secs(10), "{address} is not its own");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// An address that is written down rightly.
pub fn ip(text: &str) -> IpAddr {
    text.parse().expect(text)
}
