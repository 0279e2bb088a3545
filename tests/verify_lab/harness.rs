//! Runs the program in a lab, and reads what it says.

use std::process::Output;

use serde_json::Value;
use tempfile::TempDir;

use crate::lab::{Lab, Truth, describe, portreeve};

/// How a script begins: `sweep` is the program with what every case wants, `serve` starts servers in the fleet, and
/// `proxy` makes a SYN proxy of the router for these addresses.
const PRELUDE: &str = r#"set -u
sweep() { "$PORTREEVE" sweep --authorization lab "$@"; }
serve() {
    : >"$LAB_DIR/servers"
    ip netns exec fleet "$SERVER" "$1" >>"$LAB_DIR/servers" &
    until grep -q ready "$LAB_DIR/servers"; do sleep 0.02; done
}
proxy() {
    ip netns exec router bash -c 'cd /proc/sys/net && echo 1 >ipv4/tcp_syncookies && echo 1 >ipv4/tcp_timestamps' &&
    ip netns exec router nft -f - <<END || return 1
table ip proxy {
    chain before { type filter hook prerouting priority raw; ip daddr $1 tcp flags syn notrack; }
    chain forward {
        type filter hook forward priority -10;
        ip daddr $1 tcp flags != rst ct state invalid,untracked synproxy mss 1460 wscale 7 timestamp sack-perm
        ct state invalid drop
    }
}
END
    ip netns exec router bash -c 'echo 0 >/proc/sys/net/netfilter/nf_conntrack_tcp_loose'
}
"#;

/// What a lab left behind.
pub struct Ran {
    pub output: Output,
    kept: TempDir,
}

impl Ran {
    /// Runs a script in a lab of one /28, all of it routed to the fleet.
    pub fn new(open: usize, script: &str) -> Self {
        let kept = tempfile::tempdir().expect("a temporary directory");
        let this = std::env::current_exe().expect("this program has a path");
        let lab = Lab::new()
            .network("198.18.7.0/28")
            .open(open)
            .option("--drop", "none")
            .option("--reject", "none");
        let lab = lab.dir(kept.path()).env("PORTREEVE", &portreeve());
        let lab = lab.env("SERVER", &this.to_string_lossy());
        Ran { output: lab.run(&["bash", "-c", &format!("{PRELUDE}{script}")]), kept }
    }

    /// The exit status of the script.
    pub fn status(&self) -> i32 {
        self.output.status.code().unwrap_or_else(|| panic!("no exit status\n{}", self.said()))
    }

    /// Everything that was said, for the message of a failed assertion.
    pub fn said(&self) -> String {
        describe(&self.output)
    }

    /// The bytes of a file that the script left in `$LAB_DIR`.
    pub fn bytes(&self, name: &str) -> Vec<u8> {
        let path = self.kept.path().join(name);
        std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}\n{}", path.display(), self.said()))
    }

    /// A file that the script left in `$LAB_DIR`.
    pub fn file(&self, name: &str) -> String {
        String::from_utf8(self.bytes(name)).expect("text")
    }

    /// The events in a file that the script left in `$LAB_DIR`.
    pub fn events(&self, name: &str) -> Vec<Value> {
        self.file(name).lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }

    /// The truth of the lab.
    pub fn truth(&self) -> Truth {
        Truth::load(self.kept.path().join("truth"))
    }
}

/// The events of a kind.
pub fn of<'e>(events: &'e [Value], field: &str, kind: &str) -> Vec<&'e Value> {
    events.iter().filter(|event| event[field] == kind).collect()
}

/// The addresses and ports of events, sorted.
pub fn targets(events: &[&Value]) -> Vec<(String, u64)> {
    let target = |event: &&Value| {
        (event["ip"].as_str().unwrap_or_default().to_owned(), event["port"].as_u64().unwrap_or(0))
    };
    let mut targets: Vec<_> = events.iter().map(target).collect();
    targets.sort();
    targets
}
