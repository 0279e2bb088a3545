//! The lab tested by itself: a sweep can only be as right as the truth that it is compared with.

mod lab;

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use lab::{Lab, Truth, counter, describe, missing_for_lab};
use libtest_mimic::Arguments;

/// The argument with which this program, started again in a lab, is the scanner there.
const CONNECT: &str = "connect-to-everything";

const PORTS: [u16; 6] = [22, 3306, 5432, 6379, 9200, 27017];

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(CONNECT) {
        return connect_to_everything();
    }
    let arguments = Arguments::from_args();
    let missing = missing_for_lab();
    let trial = |name: &str, test: fn()| lab::trial(name, test, missing.as_deref());
    let trials = vec![
        lab::trial("truth_lines_decide_in_order", truth_lines_decide_in_order, None),
        trial("truth_agrees_with_connect", truth_agrees_with_connect),
        trial("same_seed_same_truth", same_seed_same_truth),
        trial("loss_is_what_was_asked_for", loss_is_what_was_asked_for),
        trial("no_way_out", no_way_out),
        trial("a_killed_lab_leaves_nothing", a_killed_lab_leaves_nothing),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Connects to every target of a /24 and compares what the kernel says with the truth file.
fn connect_to_everything() -> ExitCode {
    let truth = Truth::load(std::env::var_os("LAB_TRUTH").expect("this runs in a lab"));
    let targets: Vec<_> =
        (0..=255).flat_map(|host| PORTS.map(|port| (Ipv4Addr::new(198, 18, 7, host), port))).collect();
    let (next, wrong) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = || {
        while let Some(&(ip, port)) = targets.get(next.fetch_add(1, Ordering::Relaxed)) {
            let (expected, seen) = (truth.state(ip, port), connect(ip, port));
            if seen != Ok(expected) {
                wrong.fetch_add(1, Ordering::Relaxed);
                report(&format!("{ip}:{port}: {expected:?} is the truth, {seen:?} was seen"));
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..48 {
            scope.spawn(work);
        }
    });
    report(&format!("{} targets, {} open", targets.len(), truth.opens().count()));
    ExitCode::from(u8::from(wrong.into_inner() > 0))
}

fn connect(ip: Ipv4Addr, port: u16) -> Result<(&'static str, &'static str), ErrorKind> {
    // Long against the time of an answer, short against the kernel's retransmission after a second.
    match TcpStream::connect_timeout(&SocketAddr::from((ip, port)), Duration::from_millis(700)) {
        Ok(_) => Ok(("open", "syn-ack")),
        Err(e) => match e.kind() {
            ErrorKind::ConnectionRefused => Ok(("closed", "rst")),
            ErrorKind::HostUnreachable => Ok(("filtered", "icmp-admin-prohibited")),
            ErrorKind::TimedOut => Ok(("filtered", "no-response")),
            other => Err(other),
        },
    }
}

/// A line that stays whole when many threads write.
fn report(line: &str) {
    use std::io::Write;
    // With standard output gone, there is nobody left to tell.
    let _ = std::io::stdout().lock().write_all(format!("{line}\n").as_bytes());
}

fn small() -> Lab {
    Lab::new().network("198.18.7.0/24").seed(3)
}

fn truth_agrees_with_connect() {
    let this = std::env::current_exe().expect("this program has a path");
    let output = small().run(&[this.as_os_str(), CONNECT.as_ref()]);
    assert!(output.status.success(), "{}", describe(&output));
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("1536 targets, 20 open"),
        "{}",
        describe(&output)
    );
}

fn same_seed_same_truth() {
    let truth = |lab: Lab| lab.run(&["sh", "-c", "cat \"$LAB_TRUTH\""]).stdout;
    let first = truth(small());
    assert_eq!(first, truth(small()));
    assert_ne!(first, truth(small().seed(4)));
    let text = String::from_utf8(first).expect("the truth is text");
    let opens: Vec<_> = Truth::parse(&text).opens().take(2).collect();
    // Pinned, so that no change of the generator goes unnoticed.
    let pinned = [(IpAddr::from([198, 18, 7, 48]), 27017), (IpAddr::from([198, 18, 7, 55]), 5432)];
    assert_eq!(opens, pinned);
}

/// Networks and ports of both families: the first line that names a target decides, the listeners come after them.
fn truth_lines_decide_in_order() {
    let truth = Truth::parse(
        "net 2001:db8::10/124 unreachable no-neighbour\nport 2001:db8::/120 80 filtered no-response\n\
         port 198.18.0.0/24 80 closed rst\nnet 198.18.0.0/28 filtered icmp-admin-prohibited\n\
         open 2001:db8::1 22\nopen 198.18.0.1 22\ndefault closed rst\n",
    );
    let state = |ip: &str, port| truth.state(ip.parse::<IpAddr>().expect("an address"), port).1;
    assert_eq!(state("2001:db8::1f", 80), "no-neighbour");
    assert_eq!(state("2001:db8::20", 80), "no-response");
    assert_eq!(state("2001:db8::1", 22), "syn-ack");
    assert_eq!(state("2001:db8::2", 22), "rst");
    assert_eq!(state("198.18.0.1", 80), "rst");
    assert_eq!(state("198.18.0.1", 22), "icmp-admin-prohibited");
    let opens =
        [("198.18.0.1", 22), ("2001:db8::1", 22)].map(|(ip, port)| (ip.parse().expect("an address"), port));
    assert_eq!(truth.opens().collect::<Vec<_>>(), opens);
}

/// 6000 datagrams to a rejected address make 6000 chances out, and one ICMP answer to each that arrives.
fn loss_is_what_was_asked_for() {
    let send = "exec 3>/dev/udp/198.18.7.33/9; for i in {1..6000}; do echo >&3 || :; done 2>/dev/null; sleep 0.2; \
                ip netns exec router nft list ruleset";
    let output = small().loss(5.0, 12.5).run(&["bash", "-c", send]);
    let rules = String::from_utf8_lossy(&output.stdout);
    let share = |lost, seen| counter(&rules, lost) as f64 / counter(&rules, seen) as f64 * 100.0;
    assert!(counter(&rules, "seen_out") >= 3000, "{}", describe(&output));
    // Five standard deviations on either side, for the smaller of the two samples.
    assert!((share("lost_out", "seen_out") - 5.0).abs() < 2.1, "{}", describe(&output));
    assert!((share("lost_back", "seen_back") - 12.5).abs() < 3.2, "{}", describe(&output));
    assert_eq!(
        counter(&rules, "seen_out") - counter(&rules, "lost_out"),
        counter(&rules, "rejected"),
        "{}",
        describe(&output)
    );
    assert_eq!(
        counter(&rules, "rejected"),
        counter(&rules, "seen_back"),
        "every rejected packet is answered"
    );
}

/// In every namespace of the lab, no route leads beyond the lab's own networks.
fn no_way_out() {
    let routes =
        "for n in scan router fleet; do ip netns exec $n ip -4 route; ip netns exec $n ip -6 route; done";
    let output = small().run(&["sh", "-c", routes]);
    assert!(output.status.success(), "{}", describe(&output));
    let said = String::from_utf8_lossy(&output.stdout);
    for route in said.lines() {
        assert!(route.starts_with("192.0.2.") || route.starts_with("198.18."), "{}", describe(&output));
    }
    assert!(said.lines().count() >= 6, "{}", describe(&output));
}

/// Kills a lab as hard as can be and looks for its fleet, which is known by its unique directory.
fn a_killed_lab_leaves_nothing() {
    let keep = tempfile::tempdir().expect("a temporary directory");
    let mark = keep.path().to_str().expect("a path in UTF-8").to_owned();
    let mut child =
        small().dir(keep.path()).spawn(&["sh", "-c", ": >\"$LAB_DIR/up\"; sleep 600"]).expect("a lab starts");
    wait_until("the lab is up", || keep.path().join("up").exists());
    assert!(processes_with(&mark) > 0, "the fleet of a running lab is found");
    child.kill().expect("the lab can be killed");
    child.wait().expect("the lab can be waited for");
    wait_until("the fleet and the command are gone", || processes_with(&mark) == 0);
    let left = std::fs::read_dir("/run/netns").map_or(0, |entries| {
        entries.flatten().filter(|e| ["scan", "router", "fleet"].iter().any(|n| e.file_name() == *n)).count()
    });
    assert_eq!(left, 0, "no namespace keeps its name");
}

fn wait_until(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn processes_with(mark: &str) -> usize {
    let processes = std::fs::read_dir("/proc").expect("/proc can be read").flatten();
    let command_lines = processes.filter_map(|p| std::fs::read(p.path().join("cmdline")).ok());
    command_lines.filter(|line| String::from_utf8_lossy(line).contains(mark)).count()
}
