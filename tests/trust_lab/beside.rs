//! What else goes on while a sweep runs: other people's traffic through the same interface, and what the targets are
//! left with.

use std::time::Duration;

use crate::harness::{Ran, note};
use crate::lab::{Engine, Lab};
use crate::weather::{Ending, check, small};

/// Blocks go from the scanner to a server beside the fleet and back, and are compared. Each line of `$LAB_DIR/blocks`
/// is one that came back as it was sent: seconds since the epoch, and its number.
const TRANSFER: &str = r#"
    ip -n scan route add 192.0.2.4/30 via 192.0.2.1
    ip netns exec fleet python3 -c '
import socket
server = socket.create_server(("192.0.2.6", 9000))
print("ready", flush=True)
other, _ = server.accept()
while block := other.recv(65536):
    other.sendall(block)
' >$LAB_DIR/server &
    until grep -qs ready $LAB_DIR/server; do sleep 0.02; done
    python3 -c '
import hashlib, socket, time
wire = socket.create_connection(("192.0.2.6", 9000))
number = 0
while True:
    number += 1
    block = hashlib.sha256(number.to_bytes(8, "big")).digest() * 1024
    wire.sendall(block)
    back = b""
    while len(back) < len(block):
        part = wire.recv(65536)
        assert part, "the connection has ended"
        back += part
    assert back == block, "block %d is not what was sent" % number
    print(time.time(), number, flush=True)
    time.sleep(0.005)
' >$LAB_DIR/blocks 2>$LAB_DIR/broken & transfer=$!
    until [[ -s $LAB_DIR/blocks ]]; do kill -0 $transfer || exit 98; sleep 0.02; done
    segments() { awk '/^Tcp: [0-9]/ { print $12, $13 }' /proc/net/snmp; }
    segments >$LAB_DIR/segments
    date +%s.%N >$LAB_DIR/times
"#;

/// What follows the sweep.
const END_OF_TRANSFER: &str = "status=$?; date +%s.%N >>$LAB_DIR/times; segments >>$LAB_DIR/segments; \
     kill -0 $transfer || status=99; kill $(jobs -p); exit $status";

fn numbers(text: &str) -> Vec<f64> {
    text.split_whitespace().map(|number| number.parse().expect(number)).collect()
}

/// A connection through the same wire goes on: every byte arrives, both ways, and in every second of the sweep.
pub fn other_traffic_goes_on(engine: Engine) {
    let script = format!(
        "{TRANSFER} sweep $LAB_NETWORK --engine {} --states all --rate 10k --output $LAB_DIR/events; {END_OF_TRANSFER}",
        engine.name()
    );
    let lab = Lab::new().network("198.18.16.0/20").seed(5).timeout(Duration::from_secs(90));
    let ran = Ran::new(lab.swept_by(engine), &script);
    assert_eq!(ran.file("broken"), "", "{}", ran.said());
    check(&ran, Ending::Complete, "");
    let [begin, end] = numbers(&ran.file("times"))[..] else { panic!("no times\n{}", ran.said()) };
    let blocks: Vec<f64> = ran.file("blocks").lines().map(|line| numbers(line)[0]).collect();
    let seconds = (end - begin).floor() as usize;
    assert!(seconds >= 3, "the sweep took only {} s", end - begin);
    let in_second = |n: usize| {
        let from = begin + n as f64;
        blocks.iter().filter(|at| (from..from + 1.0).contains(*at)).count()
    };
    let counts: Vec<usize> = (0..seconds).map(in_second).collect();
    let segments = numbers(&ran.file("segments"));
    let [sent, again] = [segments[2] - segments[0], segments[3] - segments[1]];
    note(&format!("blocks in each second: {counts:?}; {again} of {sent} segments were sent again"));
    assert!(counts.iter().all(|count| *count > 0), "blocks in each second: {counts:?}");
    assert!(again <= sent / 20.0, "{again} of {sent} segments were sent again");
}

/// The targets are not left with connections that nobody will ever finish: the host answers their SYN-ACK with a reset.
pub fn half_open_connections_are_gone(engine: Engine) {
    let lab = small().open(1000).option("--drop", "none").option("--reject", "none");
    let half_open = "half_open() { ip netns exec fleet ss -H -n state syn-recv | wc -l; }";
    let after = "for at in $(seq 20); do left=$(half_open); [ $left != 0 ] || break; sleep 0.05; done; \
                 echo $left >$LAB_DIR/left";
    let script = format!(
        "{half_open}; sweep $LAB_NETWORK --engine {} --states all --no-verify --rate 5k --output $LAB_DIR/events; \
         status=$?; {after}; exit $status",
        engine.name()
    );
    let ran = Ran::new(lab.swept_by(engine), &script);
    let events = check(&ran, Ending::Complete, "");
    assert_eq!(events.number("ledger", "open"), 1000, "{}", events.completed());
    assert_eq!(ran.file("left").trim(), "0", "half-open connections a second after the sweep");
}
