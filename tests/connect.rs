//! The connect link against real kernels: the loopback of this host, and networks made of namespaces that each case
//! makes for itself, on addresses of the benchmark range only, with no way out.
//!
//! Every case runs in a process of its own (this very program, told by an environment variable), so that it can count
//! descriptors, lower its limits and hold a namespace. What cannot run here is reported as ignored, with the reason.

use std::collections::{BTreeSet, HashMap};
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use portreeve::link::clock::Monotonic;
use portreeve::link::connect::{ConnectOptions, ConnectReceive, ConnectTransmit, PATIENCE_MAX, open};
use portreeve::link::fence::Fence;
use portreeve::link::{LinkError, Probe, Receive, Transmit};
use portreeve::wire::reply::Answer;

/// Tells this program to be one case, not the whole test.
const CASE: &str = "PORTREEVE_CONNECT_CASE";

/// Where a case can run.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    /// On the loopback of this host.
    Here,
    /// There too, with no more than 40 open files.
    Confined,
    /// In a network namespace of its own.
    Lab,
}

type Case = (&'static str, Place, fn());

/// How many networks of their own there are at a time.
const LABS_AT_A_TIME: usize = 6;

const CASES: &[Case] = &[
    ("open_and_closed", Place::Here, open_and_closed),
    ("many_targets", Place::Here, many_targets),
    ("in_flight_limit", Place::Here, in_flight_limit),
    ("six_ports_at_once", Place::Here, six_ports_at_once),
    ("a_sleeping_receiver_is_woken", Place::Here, a_sleeping_receiver_is_woken),
    ("outside_the_fence", Place::Here, outside_the_fence),
    ("either_half_may_go_first", Place::Here, either_half_may_go_first),
    ("no_more_files", Place::Confined, no_more_files),
    ("connected_to_itself", Place::Lab, connected_to_itself),
    ("ipv6_is_not_ipv4", Place::Lab, ipv6_is_not_ipv4),
    ("no_way_there", Place::Lab, no_way_there),
    ("icmp_v4", Place::Lab, icmp_v4),
    ("icmp_v6", Place::Lab, icmp_v6),
    ("own_firewall", Place::Lab, own_firewall),
    ("no_neighbour", Place::Lab, no_neighbour),
    ("no_gateway", Place::Lab, no_gateway),
    ("silence_and_one_syn_each", Place::Lab, silence_and_one_syn_each),
    ("by_interface", Place::Lab, by_interface),
];

fn main() -> ExitCode {
    if let Ok(name) = std::env::var(CASE) {
        if name == "far" {
            be_the_far_host();
        } else if let Some((_, place, run)) = CASES.iter().find(|case| case.0 == name) {
            if *place == Place::Lab {
                sh("ip link set lo up");
            }
            run();
        }
        return ExitCode::SUCCESS;
    }
    let mut arguments = Arguments::from_args();
    let of = |is_lab: bool| -> Vec<_> {
        let cases = CASES.iter().filter(|case| (case.1 == Place::Lab) == is_lab);
        cases.map(|&case| Trial::ignorable_test(case.0, move || run_apart(case))).collect()
    };
    // Networks of one's own leave each other room, and wait for what does not answer.
    arguments.test_threads.get_or_insert(LABS_AT_A_TIME);
    let labs = libtest_mimic::run(&arguments, of(true));
    // On the loopback, one case might be given the port that another has just found to be free.
    arguments.test_threads = Some(1);
    let here = libtest_mimic::run(&arguments, of(false));
    if labs.has_failed() { labs.exit_code() } else { here.exit_code() }
}

/// Runs one case in a process of its own.
fn run_apart((name, place, _): Case) -> Result<Completion, Failed> {
    let program = std::env::current_exe()?;
    let mut command = match place {
        Place::Here => Command::new(&program),
        Place::Confined => {
            let mut command = Command::new("sh");
            command.args(["-c", "ulimit -n 40 && exec \"$0\""]).arg(&program);
            command
        }
        Place::Lab => match lab() {
            Ok(words) => {
                let mut command = Command::new(words[0]);
                command.args(&words[1..]).arg(&program);
                command
            }
            Err(reason) => return Ok(Completion::ignored_with(reason)),
        },
    };
    let output = command.env(CASE, name).output()?;
    if output.status.success() {
        Ok(Completion::Completed)
    } else {
        Err(format!("{}\n{}", output.status, String::from_utf8_lossy(&output.stderr)).into())
    }
}

/// The words that put a command into a namespace of its own, or why that cannot be.
fn lab() -> Result<&'static [&'static str], &'static str> {
    static LAB: OnceLock<Result<&'static [&'static str], String>> = OnceLock::new();
    let found = LAB.get_or_init(|| {
        let ways: [&[&str]; 2] =
            [&["unshare", "--net", "--"], &["unshare", "--user", "--map-root-user", "--net", "--"]];
        let mut why = String::new();
        for way in ways {
            let trial = "ip link set lo up && ip link add near type veth peer name far && nft add table inet t \
                         && nsenter -t $$ -n true";
            match Command::new(way[0]).args(&way[1..]).args(["sh", "-c", trial]).output() {
                Ok(output) if output.status.success() => return Ok(way),
                Ok(output) => why = String::from_utf8_lossy(&output.stderr).trim().to_owned(),
                Err(cause) => why = format!("{}: {cause}", way[0]),
            }
        }
        Err(format!("needs unshare, ip, nft, nsenter and the right to make network namespaces: {why}"))
    });
    found.as_ref().copied().map_err(String::as_str)
}

// The cases.

fn open_and_closed() {
    let before = descriptors();
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let open = listener.local_addr().expect("address");
    let closed = free_port();
    let answers = sweep(&[open, closed], |_| {});
    assert_eq!(word(&answers, open), "open");
    assert_eq!(word(&answers, closed), "closed");
    // Only the listener (state 0A): no TIME_WAIT on our side, no CLOSE_WAIT on its own.
    assert_eq!(states_of(open.port()), BTreeSet::from(["0A".to_owned()]), "nothing may linger");
    drop(listener);
    assert_eq!(descriptors(), before, "nothing may linger");
}

fn many_targets() {
    let before = descriptors();
    let targets = loopbacks(2000);
    let mut listeners = Vec::new();
    let mut listening = Vec::new();
    for target in targets.iter().step_by(6).take(300) {
        listeners.push(TcpListener::bind(target).expect("bind"));
        listening.push(*target);
    }
    let answers = sweep(&targets, |_| {});
    for target in &targets {
        let expected = if listening.contains(target) { "open" } else { "closed" };
        assert_eq!(word(&answers, *target), expected, "{target}");
    }
    drop(listeners);
    assert_eq!(descriptors(), before, "nothing may linger");
}

fn in_flight_limit() {
    let targets = loopbacks(1000);
    let answers = sweep(&targets, |options| options.max_in_flight = 50);
    assert!(targets.iter().all(|target| word(&answers, *target) == "closed"));

    // With nobody to close them, no more than the limit is ever taken.
    let mut options = ConnectOptions::new(fence(&targets));
    options.max_in_flight = 50;
    let (mut transmit, receive) = open(options, Monotonic::new()).expect("open");
    let probes = probes(&targets);
    let before = descriptors();
    assert_eq!(taken(&mut transmit, &probes).expect("transmit"), 50);
    assert_eq!(taken(&mut transmit, &probes[50..]).expect("transmit"), 0);
    assert_eq!(descriptors(), before + 50);
    drop((transmit, receive));
}

fn six_ports_at_once() {
    let targets: Vec<_> =
        [22, 3306, 5432, 6379, 9200, 27017].map(|port| SocketAddr::from(([127, 0, 0, 1], port))).into();
    let began = Instant::now();
    let answers = sweep(&targets, |_| {});
    let took = began.elapsed();
    assert_eq!(answers.len(), 6);
    assert!(took < Duration::from_millis(100), "{took:?}");
}

fn a_sleeping_receiver_is_woken() {
    let target = free_port();
    let (mut transmit, mut receive) =
        open(ConnectOptions::new(fence(&[target])), Monotonic::new()).expect("open");
    for _ in 0..20 {
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                let mut seen = 0;
                receive.receive(Duration::from_secs(5), &mut |_| seen += 1).expect("receive");
                (seen, Instant::now())
            });
            std::thread::sleep(Duration::from_millis(20));
            let sent = Instant::now();
            taken(&mut transmit, &probes(&[target])).expect("transmit");
            let (seen, at) = waiter.join().expect("join");
            assert_eq!(seen, 1);
            assert!(at - sent < Duration::from_millis(50), "woken after {:?}", at - sent);
        });
    }
    // And it waits for as long as it was told, on no processor time to speak of.
    let (began, worked) = (Instant::now(), processor_ticks());
    receive.receive(Duration::from_millis(500), &mut |_| panic!("nothing was sent")).expect("receive");
    assert!(began.elapsed() >= Duration::from_millis(500));
    assert!(processor_ticks() - worked <= 2, "the wait is a busy loop");
}

fn outside_the_fence() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let inside = listener.local_addr().expect("address");
    let outside = SocketAddr::from(([127, 0, 0, 2], inside.port()));
    let (mut transmit, mut receive) =
        open(ConnectOptions::new(fence(&[inside])), Monotonic::new()).expect("open");
    let result = taken(&mut transmit, &probes(&[inside, outside, inside]));
    assert!(matches!(result, Err(LinkError::OutsideFence { ip, .. }) if ip == outside.ip()), "{result:?}");
    let mut seen = Vec::new();
    for _ in 0..3 {
        receive
            .receive(Duration::from_millis(100), &mut |arrival| seen.push(arrival.reply))
            .expect("receive");
    }
    assert_eq!(seen.iter().map(|reply| reply.ip).collect::<Vec<_>>(), [inside.ip()]);
}

fn either_half_may_go_first() {
    let before = descriptors();
    let targets = loopbacks(20);
    let (mut transmit, receive) = open(ConnectOptions::new(fence(&targets)), Monotonic::new()).expect("open");
    taken(&mut transmit, &probes(&targets)).expect("transmit");
    drop(receive);
    let result = taken(&mut transmit, &probes(&targets));
    assert!(matches!(result, Err(LinkError::System { .. })), "{result:?}");
    drop(transmit);
    assert_eq!(descriptors(), before);

    let (mut transmit, mut receive) =
        open(ConnectOptions::new(fence(&targets)), Monotonic::new()).expect("open");
    taken(&mut transmit, &probes(&targets)).expect("transmit");
    drop(transmit);
    let mut seen = 0;
    for _ in 0..100 {
        receive.receive(Duration::from_millis(20), &mut |_| seen += 1).expect("receive");
        if seen == targets.len() {
            break;
        }
    }
    assert_eq!(seen, targets.len());
    receive.receive(Duration::from_millis(20), &mut |_| seen += 1).expect("receive");
    drop(receive);
    assert_eq!(descriptors(), before);
}

fn no_more_files() {
    let targets = loopbacks(500);
    let answers = sweep(&targets, |options| options.max_in_flight = 1000);
    assert!(targets.iter().all(|target| word(&answers, *target) == "closed"));
}

fn connected_to_itself() {
    // One ephemeral port only: whoever connects to it from here has it as source port, too.
    std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40000 40000").expect("narrow the range");
    let target = SocketAddr::from(([127, 0, 0, 1], 40000));
    let plain = TcpStream::connect(target).expect("the trap must be real");
    assert_eq!(plain.local_addr().expect("address"), target);
    // Otherwise its TIME_WAIT would hold the one port.
    socket2::SockRef::from(&plain).set_linger(Some(Duration::ZERO)).expect("linger");
    drop(plain);
    assert_eq!(word(&sweep(&[target], |_| {}), target), "closed");
    // Other targets share the port, and all are answered.
    let targets = loopbacks(300);
    let answers = sweep(&targets, |_| {});
    assert!(targets.iter().all(|target| word(&answers, *target) == "closed"));
    // A port that somebody else holds for good: refused for the moment, not forever.
    let listener = TcpListener::bind("0.0.0.0:40000").expect("bind");
    let (mut transmit, _receive) =
        open(ConnectOptions::new(fence(&targets)), Monotonic::new()).expect("open");
    assert_eq!(taken(&mut transmit, &probes(&targets)).expect("transmit"), 0);
    drop(listener);
}

fn ipv6_is_not_ipv4() {
    let listener = TcpListener::bind("127.0.0.1:2000").expect("bind");
    let listener6 = TcpListener::bind("[::1]:2000").expect("bind");
    let targets = ["[::1]:2000", "[::1]:2001", "[::ffff:127.0.0.1]:2000"].map(socket);
    let (mut transmit, receive) = open(ConnectOptions::new(fence(&targets)), Monotonic::new()).expect("open");
    let mut refused = Vec::new();
    transmit.transmit(&probes(&targets), &mut refused).expect("transmit");
    assert_eq!(refused, [2]);
    let answers = hear_all(receive, &targets, || true);
    assert_eq!(targets.map(|target| word(&answers, target)), ["open", "closed", "silence"]);
    listener.set_nonblocking(true).expect("nonblocking");
    assert!(listener.accept().is_err(), "a probe to IPv6 arrived over IPv4");
    drop(listener6);
}

/// There was a way before the sweep began. Where there is none now, nothing is said of the target.
fn no_way_there() {
    // Without addresses that the kernel makes by itself: those of `far` would do to speak from, once they are ready.
    sh("ip link add near type veth peer name far
        ip link set near addrgenmode none && ip link set far addrgenmode none
        ip link set near up && ip link set far up
        ip addr add 198.18.0.1/24 dev near
        ip route add prohibit 198.19.1.0/24
        ip route add unreachable 198.19.2.0/24
        ip route add blackhole 198.19.3.0/24
        ip -6 route add prohibit 2001:db8:2::/64");
    let listener = TcpListener::bind("198.18.0.1:22").expect("bind");
    let targets = [
        "198.19.1.1:22",
        "198.19.2.1:22",
        "198.19.3.1:22",
        "192.0.2.1:22",
        "198.18.0.255:22",
        "[2001:db8:2::1]:22",
        "[2001:db8:9::1]:22",
    ]
    .map(socket);
    let mut all = targets.to_vec();
    all.push(socket("198.18.0.1:22"));
    let (mut transmit, receive) = open(ConnectOptions::new(fence(&all)), Monotonic::new()).expect("open");
    let mut refused = Vec::new();
    transmit.transmit(&probes(&all), &mut refused).expect("transmit");
    assert_eq!(refused, [0, 1, 2, 3, 4, 5, 6], "and the others go on");
    let answers = hear_all(receive, &all, || true);
    assert_eq!((word(&answers, all[7]), answers.len()), ("open".to_owned(), 1));
    drop(listener);
    // A route, but no address to speak from: the error is that of a lack of ports, and must not be taken for it.
    sh("ip -6 addr flush dev near; ip -6 addr flush dev lo; ip -6 route add 2001:db8:1::/64 dev near");
    let targets = ["[2001:db8:1::1]:22", "[::1]:22"].map(socket);
    let (mut transmit, _receive) =
        open(ConnectOptions::new(fence(&targets)), Monotonic::new()).expect("open");
    refused.clear();
    transmit.transmit(&probes(&targets), &mut refused).expect("transmit");
    assert_eq!(refused[..1], [0]);
}

/// A gateway that does not answer says nothing of those behind it, whatever the kernel makes of it.
fn no_gateway() {
    let far = Far::new("");
    sh("ip route add 198.19.0.0/16 via 198.18.0.77; ip -6 route add 2001:db8:9::/64 via 2001:db8::77
        for family in ipv4 ipv6; do
            echo 1 > /proc/sys/net/$family/neigh/near/mcast_solicit
            echo 100 > /proc/sys/net/$family/neigh/near/retrans_time_ms
        done");
    let beyond = ["198.19.0.1:22", "[2001:db8:9::1]:22"].map(socket);
    let answers = sweep(&beyond, |_| {});
    assert_eq!(beyond.map(|target| word(&answers, target)), ["silence", "silence"]);
    drop(far);
}

fn icmp_v4() {
    let far = Far::new(
        "tcp dport 81 reject with icmp type admin-prohibited
        tcp dport 82 reject with icmp type port-unreachable
        tcp dport 83 reject with icmp type host-prohibited
        tcp dport 84 reject with icmp type host-unreachable
        tcp dport 85 reject with tcp reset
        tcp dport 86 drop",
    );
    let targets: Vec<_> = (81..=90).map(|port| SocketAddr::from(([198, 18, 0, 2], port))).collect();
    let answers = sweep(&targets, |_| {});
    let words: Vec<_> = targets.iter().map(|target| word(&answers, *target)).collect();
    let by = |code| format!("icmp 3/{code} by 198.18.0.2");
    assert_eq!(words[..4], [by(13), by(3), by(10), by(1)]);
    assert_eq!(words[4..], ["closed", "silence", "closed", "closed", "closed", "open"]);
    // A router in between that has no way on.
    sh("ip route add 198.19.0.0/16 via 198.18.0.2");
    let beyond = socket("198.19.0.1:22");
    assert_eq!(word(&sweep(&[beyond], |_| {}), beyond), "icmp 3/0 by 198.18.0.2");
    drop(far);
}

fn icmp_v6() {
    let far = Far::new(
        "tcp dport 81 reject with icmpv6 type admin-prohibited
        tcp dport 82 reject with icmpv6 type port-unreachable
        tcp dport 85 reject with tcp reset
        tcp dport 86 drop",
    );
    let targets: Vec<_> =
        [81, 82, 85, 86, 87, 90].map(|port| SocketAddr::new(ip("2001:db8::2"), port)).into();
    let answers = sweep(&targets, |_| {});
    let words: Vec<_> = targets.iter().map(|target| word(&answers, *target)).collect();
    assert_eq!(words[..2], ["icmp 1/1 by 2001:db8::2", "icmp 1/4 by 2001:db8::2"]);
    assert_eq!(words[2..], ["closed", "silence", "closed", "open"]);
    drop(far);
}

/// What this host's own firewall answers must not be taken for the target's, and above all not for a closed port.
fn own_firewall() {
    let far = Far::new("");
    sh("nft add table ip own
        nft 'add chain ip own out { type filter hook output priority 0; }'
        nft add rule ip own out tcp dport 81 reject with icmp type port-unreachable
        nft add rule ip own out tcp dport 82 reject with icmp type admin-prohibited
        nft add rule ip own out tcp dport 90 tcp flags syn drop");
    let targets: Vec<_> = [81, 82, 90].map(|port| SocketAddr::new(ip("198.18.0.2"), port)).into();
    let answers = sweep(&targets, |_| {});
    let words: Vec<_> = targets.iter().map(|target| word(&answers, *target)).collect();
    assert_eq!(words, ["icmp 3/3 by 198.18.0.1", "icmp 3/13 by 198.18.0.1", "silence"]);
    drop(far);
}

fn no_neighbour() {
    let far = Far::new("");
    let dead = [socket("198.18.0.77:22"), socket("[2001:db8::77]:22")];
    // The kernel asks three times, a second apart, before it gives up: longer than one attempt may take.
    let answers = sweep(&dead[..1], |_| {});
    assert_eq!(word(&answers, dead[0]), "silence");
    // So an attempt is told only if it is in flight at that moment, which a fourth try is for; here, asking faster is.
    sh("for family in ipv4 ipv6; do
            echo 1 > /proc/sys/net/$family/neigh/near/mcast_solicit
            echo 100 > /proc/sys/net/$family/neigh/near/retrans_time_ms
        done
        ip neigh flush dev near");
    let answers = sweep(&dead, |options| {
        options.on_link = dead.iter().map(|target| (target.ip(), target.ip())).collect();
    });
    assert_eq!(dead.map(|target| word(&answers, target)), ["no-neighbour", "no-neighbour"]);
    drop(far);
}

fn silence_and_one_syn_each() {
    let far = Far::new("tcp dport 1000-1999 drop");
    far.sh("nft add counter inet far syns
            nft insert rule inet far in tcp dport 1000-1999 tcp flags syn / syn,ack counter name syns
            nft add counter inet far others
            nft insert rule inet far in tcp dport 1000-1999 tcp flags != syn counter name others");
    let targets: Vec<_> = (1000..2000).map(|port| SocketAddr::from(([198, 18, 0, 2], port))).collect();
    let before = descriptors();
    let began = Instant::now();
    let answers = sweep(&targets, |_| {});
    assert!(answers.is_empty(), "{answers:?}");
    assert!(began.elapsed() >= PATIENCE_MAX);
    assert_eq!(descriptors(), before, "nothing may linger");
    // Long enough for the first and the second time that the kernel would send again by itself.
    std::thread::sleep(Duration::from_millis(3500));
    let counted = far.sh("nft list counters");
    let packets: Vec<_> =
        counted.split("packets ").skip(1).filter_map(|rest| rest.split(' ').next()).collect();
    assert_eq!(packets, ["1000", "0"], "one SYN an attempt, and nothing else: {counted}");
}

fn by_interface() {
    let far = Far::new("");
    let target = socket("198.18.0.2:90");
    assert_eq!(word(&sweep(&[target], |options| options.interface = Some("near".into())), target), "open");
    // The loopback has no way there.
    let answers = sweep(&[target], |options| options.interface = Some("lo".into()));
    assert_ne!(word(&answers, target), "open");
    let mut options = ConnectOptions::new(fence(&[target]));
    options.interface = Some("nowhere0".into());
    let (mut transmit, _receive) = open(options, Monotonic::new()).expect("open");
    let result = taken(&mut transmit, &probes(&[target]));
    assert!(matches!(result, Err(LinkError::Interface { .. })), "{result:?}");
    drop(far);
}

// What the cases stand on.

/// A second namespace, at the other end of a cable: 198.18.0.2 and 2001:db8::2, with one listener on port 90.
struct Far {
    child: Child,
}

impl Far {
    /// Makes it, with these rules (one a line) for what comes in.
    fn new(rules: &str) -> Far {
        let mut child = Command::new("unshare")
            .args(["--net", "--"])
            .arg(std::env::current_exe().expect("this program"))
            .env(CASE, "far")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start the far host");
        let mut ready = [0; 1];
        child.stdout.as_mut().expect("piped").read_exact(&mut ready).expect("the far host is ready");
        let far = Far { child };
        sh(&format!(
            "ip link add near type veth peer name far netns {}
            ip addr add 198.18.0.1/24 dev near && ip -6 addr add 2001:db8::1/64 dev near nodad
            ip link set near up",
            far.child.id()
        ));
        far.sh("ip link set lo up
            ip addr add 198.18.0.2/24 dev far && ip -6 addr add 2001:db8::2/64 dev far nodad
            echo 1 > /proc/sys/net/ipv4/ip_forward
            echo 0 > /proc/sys/net/ipv4/icmp_ratelimit
            ip link set far up
            nft add table inet far
            nft 'add chain inet far in { type filter hook input priority 0; }'");
        for rule in rules.lines() {
            far.sh(&format!("nft add rule inet far in {}", rule.trim()));
        }
        // A cable that has just been plugged in loses the first question for a neighbour, and the next one comes a
        // second later: longer than an attempt takes.
        for address in ["198.18.0.2:90", "[2001:db8::2]:90"] {
            TcpStream::connect_timeout(&socket(address), Duration::from_secs(10))
                .expect("the far host answers");
        }
        far
    }

    /// Runs a script there.
    fn sh(&self, script: &str) -> String {
        run(Command::new("nsenter").args(["-t", &self.child.id().to_string(), "-n", "--"]), script)
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        // It ends when its input does.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

fn be_the_far_host() {
    let _listener = TcpListener::bind("[::]:90").expect("bind");
    let mut out = std::io::stdout();
    out.write_all(b"!").and_then(|()| out.flush()).expect("say so");
    let _ = std::io::stdin().read(&mut [0; 1]);
}

/// Probes all targets once, over a link that is closed again, and returns what was answered. Fails on an answer that
/// does not fit its probe, and on a second answer.
fn sweep(targets: &[SocketAddr], change: impl FnOnce(&mut ConnectOptions)) -> HashMap<SocketAddr, Answer> {
    let mut options = ConnectOptions::new(fence(targets));
    change(&mut options);
    let (transmit, receive) = open(options, Monotonic::new()).expect("open");
    std::thread::scope(|scope| {
        let sender = scope.spawn(move || send_all(transmit, &probes(targets)));
        hear_all(receive, targets, || sender.is_finished())
    })
}

/// Hands over probes and says how many of them were taken: this link refuses from some place on.
fn taken(transmit: &mut ConnectTransmit, probes: &[Probe]) -> Result<usize, LinkError> {
    let mut refused = Vec::new();
    transmit.transmit(probes, &mut refused)?;
    Ok(probes.len() - refused.len())
}

fn send_all(mut transmit: ConnectTransmit, probes: &[Probe]) {
    let mut sent = 0;
    while sent < probes.len() {
        let taken = taken(&mut transmit, &probes[sent..]).expect("transmit");
        if taken == 0 {
            std::thread::sleep(Duration::from_micros(200));
        }
        sent += taken;
    }
}

fn hear_all(
    mut receive: ConnectReceive,
    targets: &[SocketAddr],
    all_sent: impl Fn() -> bool,
) -> HashMap<SocketAddr, Answer> {
    let expected = probes(targets);
    let mut answers = HashMap::new();
    let mut sent_at = None;
    loop {
        let hear = &mut |arrival: portreeve::link::Arrival| {
            let reply = arrival.reply;
            let target = SocketAddr::new(reply.ip, reply.port);
            let probe = expected.iter().find(|probe| (probe.ip, probe.port) == (reply.ip, reply.port));
            let probe = probe.expect("an answer of a target that was not probed");
            assert_eq!((reply.source, reply.source_port), (probe.source, probe.source_port));
            assert_eq!(number(reply.answer), probe.sequence);
            assert_eq!(answers.insert(target, reply.answer), None, "a second answer of {target}");
        };
        receive.receive(Duration::from_millis(20), hear).expect("receive");
        if sent_at.is_none() && all_sent() {
            sent_at = Some(Instant::now());
        }
        let waited = sent_at.map_or(Duration::ZERO, |at| at.elapsed());
        if answers.len() == targets.len() || waited > PATIENCE_MAX + Duration::from_millis(100) {
            assert_eq!(receive.dropped().expect("dropped"), 0);
            return answers;
        }
    }
}

/// The sequence number that an answer speaks of.
fn number(answer: Answer) -> u32 {
    match answer {
        Answer::SynAck { ack } | Answer::Rst { ack } => ack.wrapping_sub(1),
        Answer::Icmp { sequence, .. } | Answer::NoNeighbour { sequence } => sequence,
    }
}

fn word(answers: &HashMap<SocketAddr, Answer>, target: SocketAddr) -> String {
    match answers.get(&target) {
        Some(Answer::SynAck { .. }) => "open".to_owned(),
        Some(Answer::Rst { .. }) => "closed".to_owned(),
        Some(Answer::Icmp { icmp_type, code, by, .. }) => format!("icmp {icmp_type}/{code} by {by}"),
        Some(Answer::NoNeighbour { .. }) => "no-neighbour".to_owned(),
        None => "silence".to_owned(),
    }
}

fn probes(targets: &[SocketAddr]) -> Vec<Probe> {
    let probe = |(index, target): (usize, &SocketAddr)| {
        let number = u32::try_from(index).expect("few targets");
        Probe {
            ip: target.ip(),
            port: target.port(),
            source: if target.is_ipv4() { ip("0.0.0.0") } else { ip("::") },
            source_port: target.port() ^ 0x5555,
            // The first one wraps around when one is added.
            sequence: u32::MAX.wrapping_add(number.wrapping_mul(0x0101_0101)),
        }
    };
    targets.iter().enumerate().map(probe).collect()
}

fn fence(targets: &[SocketAddr]) -> Fence {
    let mut addresses: Vec<_> = targets.iter().map(SocketAddr::ip).collect();
    addresses.sort_unstable();
    addresses.dedup();
    Fence::new(addresses.into_iter().map(|ip| (ip, ip)), targets.iter().map(SocketAddr::port))
}

/// Targets on 127.0.0.1 and up, on ports that no connection of this host's uses as its own.
fn loopbacks(count: usize) -> Vec<SocketAddr> {
    let ports = 21_000 + u16::try_from(std::process::id() % 1000).expect("small") * 8..;
    let target = |port: u16| (1..=254).map(move |host| SocketAddr::from(([127, 0, 0, host], port)));
    ports.flat_map(target).take(count).collect()
}

/// A port of 127.0.0.1 on which nobody listens.
fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port")
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("list descriptors").count()
}

/// The states of the TCP sockets that have this port at either end. A set, because the kernel lists a socket twice when
/// others come and go meanwhile.
fn states_of(port: u16) -> BTreeSet<String> {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("list sockets");
    let port = format!(":{port:04X} ");
    let rows = table.lines().filter(|line| line.contains(&port));
    rows.filter_map(|line| line.split_whitespace().nth(3).map(str::to_owned)).collect()
}

/// Processor time of this process, in hundredths of a second.
fn processor_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("own status");
    let fields = stat.rsplit(") ").next().expect("fields").split(' ');
    fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number")).sum()
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect(text)
}

fn socket(text: &str) -> SocketAddr {
    text.parse().expect(text)
}

fn sh(script: &str) -> String {
    run(&mut Command::new("env"), script)
}

fn run(prefix: &mut Command, script: &str) -> String {
    let output = prefix.args(["sh", "-ec", script]).output().expect("run a shell");
    assert!(output.status.success(), "{script}\n{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
