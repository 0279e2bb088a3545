//! Real scanners in a real network: what nmap writes is taken in and written again without a difference that its own
//! `ndiff` sees, what we write its document type allows, and what masscan and zmap found is what we take in.

#[path = "lab/mod.rs"]
mod lab;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, ExitCode, Output, Stdio};

use lab::{Lab, Truth, describe, missing_for_lab, portreeve};
use libtest_mimic::Arguments;
use serde_json::Value;
use tempfile::TempDir;

type Case = (&'static str, &'static [&'static str], fn());

const CASES: &[Case] = &[
    ("what_nmap_writes_comes_back", &["nmap", "ndiff", "xmllint"], what_nmap_writes_comes_back),
    ("ndiff_shows_exactly_the_port_that_changed", &["ndiff", "xmllint"], ndiff_shows_exactly_what_changed),
    ("masscan_and_zmap_are_understood", &["masscan", "zmap"], masscan_and_zmap_are_understood),
];

fn main() -> ExitCode {
    let missing = missing_for_lab();
    let trials = CASES.iter().map(|(name, tools, test)| {
        let missing = missing.clone().or_else(|| missing_tool(tools));
        lab::trial(name, *test, missing.as_deref())
    });
    lab::run(Arguments::from_args(), [(lab::MANY, trials.collect())])
}

fn missing_tool(tools: &[&str]) -> Option<String> {
    let is_missing = |tool: &&&str| {
        let found = Command::new("sh").args(["-c", "command -v \"$0\"", tool]).stdout(Stdio::null()).status();
        !found.is_ok_and(|status| status.success())
    };
    tools.iter().find(is_missing).map(|tool| format!("the program {tool}"))
}

/// Where Debian has nmap's document type.
const DTD: &str = "/usr/share/nmap/nmap.dtd";

const PRELUDE: &str = r#"set -eu
cd "$LAB_DIR"
valid() { xmllint --noout --dtdvalid "$DTD" "$1"; }
# The exit status of a command that may fail, in a file.
status() { local name=$1; shift; "$@" >"$name.out" 2>"$name.err" && echo 0 >"$name" || echo $? >"$name"; }
"#;

/// What a lab left behind.
struct Ran {
    output: Output,
    kept: TempDir,
}

impl Ran {
    fn new(script: &str) -> Self {
        let kept = tempfile::tempdir().expect("a temporary directory");
        let lab = Lab::new().network("198.18.0.0/28").option("--ports", "22,80,443,3306,6379").open(12);
        let lab = lab.option("--drop", "198.18.0.4/31").option("--reject", "198.18.0.6/31").dir(kept.path());
        let lab = lab.env("PORTREEVE", &portreeve()).env("DTD", DTD);
        let ran = Ran { output: lab.run(&["bash", "-c", &format!("{PRELUDE}{script}")]), kept };
        assert_eq!(ran.output.status.code(), Some(0), "{}", describe(&ran.output));
        ran
    }

    fn file(&self, name: &str) -> String {
        let path = self.kept.path().join(name);
        let said = || describe(&self.output);
        std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}\n{}", path.display(), said()))
    }

    fn status(&self, name: &str) -> String {
        self.file(name).trim().to_owned()
    }

    fn truth(&self) -> Truth {
        Truth::load(Path::join(self.kept.path(), "truth"))
    }

    /// The open ports in a file of events.
    fn opens(&self, name: &str) -> BTreeSet<(String, u64)> {
        let events = self.file(name);
        let events = events.lines().map(|line| serde_json::from_str::<Value>(line).expect(line));
        let opens = events.filter(|event| event["event"] == "port" && event["state"] == "open");
        let target = |event: Value| {
            let ip = event["ip"].as_str().expect("an address").to_owned();
            (ip, event["port"].as_u64().expect("a port"))
        };
        opens.map(target).collect()
    }
}

/// Kinds of scans that leave all kinds of things in their files: ports one by one and summed up, by IPv6, with names,
/// with services, with hosts that are down, and of UDP.
fn what_nmap_writes_comes_back() {
    let scans: &[(&str, &str)] = &[
        ("each", "-Pn -n -sS 198.18.0.0/28 -p 22,80,443,3306,6379 --max-retries 1"),
        ("summed", "-Pn -n -sS 198.18.0.0/30 -p 1-2000"),
        ("open", "-Pn -n -sS 198.18.0.8/29 -p 80-120 --open"),
        ("down", "-n -v -sS -PS9 198.18.0.4 198.18.0.8 -p 80"),
        ("connect", "-Pn -n -sT localhost 198.18.0.8 -p 22,80"),
        ("udp", "-Pn -n -sS -sU 198.18.0.8 -p T:80,U:53"),
        ("services", "-Pn -n -sS -sV --version-light 198.18.0.9 -p 22,80,3306"),
        ("six", "-6 -Pn -n -sT ::1 -p 1-100"),
    ];
    let mut script = "echo 0 >/proc/sys/net/ipv6/conf/lo/disable_ipv6\n".to_owned();
    for (name, options) in scans {
        script.push_str(&format!(
            "nmap {options} -oX {name}.xml >/dev/null 2>&1 </dev/null\n\
             status {name}.import \"$PORTREEVE\" import {name}.xml --format nmap --output {name}.again.xml\n\
             valid {name}.again.xml\n\
             status {name}.ndiff ndiff {name}.xml {name}.again.xml\n\
             status {name}.diff \"$PORTREEVE\" diff {name}.xml {name}.again.xml\n"
        ));
    }
    let ran = Ran::new(&script);
    for (name, _) in scans {
        let differs = ran.file(&format!("{name}.ndiff.out"));
        assert_eq!(ran.status(&format!("{name}.ndiff")), "0", "{name}: {differs}");
        let differs = ran.file(&format!("{name}.diff.out"));
        assert_eq!(ran.status(&format!("{name}.diff")), "0", "{name}: {differs}");
        // Whatever was found; but where nmap did not look everywhere, that is said.
        let is_whole = !matches!(*name, "open" | "down");
        let expected = if is_whole { ["0", "1"] } else { ["3", "3"] };
        let status = ran.status(&format!("{name}.import"));
        assert!(
            expected.contains(&status.as_str()),
            "{name}: {status}\n{}",
            ran.file(&format!("{name}.import.err"))
        );
    }
}

fn ndiff_shows_exactly_what_changed() {
    let ran = Ran::new(
        r#"sweep() {
    "$PORTREEVE" sweep "$LAB_NETWORK" --ports "$LAB_PORTS" --authorization lab --no-verify --host-rate none "$@"
}
status first sweep --format nmap --output a.xml
read -r _ ip port < <(grep '^open ' "$LAB_TRUTH")
echo "$ip $port" >changed
ip netns exec router nft insert rule ip lab forward ip daddr "$ip" tcp dport "$port" reject with tcp reset
status second sweep --format nmap --output b.xml
status third sweep --format jsonl --output b.jsonl
valid a.xml
valid b.xml
status ndiff ndiff a.xml b.xml
status same ndiff b.xml b.xml
status diff "$PORTREEVE" diff a.xml b.xml
status mixed "$PORTREEVE" diff a.xml b.jsonl --format jsonl
"#,
    );
    let statuses =
        ["first", "second", "third", "ndiff", "same", "diff", "mixed"].map(|name| ran.status(name));
    assert_eq!(statuses, ["1", "1", "1", "1", "0", "1", "1"]);
    let changed = ran.file("changed");
    let (ip, port) = changed.trim().split_once(' ').expect("a target");
    let differs = ran.file("ndiff.out");
    let told = |sign: char| -> Vec<&str> {
        let lines = differs.lines().filter(|line| line.starts_with(sign) && !line.contains("Nmap"));
        lines.collect()
    };
    let (before, after) = (told('-'), told('+'));
    assert_eq!((before.len(), after.len()), (1, 1), "{differs}");
    assert!(before[0].starts_with(&format!("-{port}/tcp open")), "{differs}");
    assert!(after[0].starts_with(&format!("+{port}/tcp closed")), "{differs}");
    let told = ran.file("diff.out");
    let line = format!("  {ip}:{port}/tcp");
    assert_eq!(told.lines().filter(|line| line.contains(" -> ")).count(), 1, "{told}");
    assert!(
        told.lines().any(|is| is.starts_with(&line) && is.contains("open (syn-ack) -> closed (rst)")),
        "{told}"
    );
    let events = ran.file("mixed.out");
    let closed: Vec<&str> = events.lines().filter(|line| line.contains("\"change\":\"closed\"")).collect();
    assert_eq!(closed.len(), 1, "{events}");
    assert!(
        closed[0].contains(&format!("\"ip\":\"{ip}\",\"transport\":\"tcp\",\"ports\":\"{port}\"")),
        "{events}"
    );
}

/// masscan waits for traffic before it ends, so that there is some.
fn masscan_and_zmap_are_understood() {
    let ran = Ran::new(
        r#"(while sleep 0.05; do echo >/dev/udp/192.0.2.1/9; done) 2>/dev/null &
trickle=$!
for form in json:oJ list:oL nd:oD xml:oX; do
    timeout 20 masscan -e "$LAB_DEVICE" --router-mac "$LAB_GATEWAY_MAC" "$LAB_NETWORK" -p"$LAB_PORTS" --rate 2000 \
        --wait 0 "-${form#*:}" "masscan.${form%:*}" >/dev/null 2>&1 &
    scans+=" $!"
done
wait $scans
kill "$trickle"
timeout 20 zmap -p 22 -i "$LAB_DEVICE" -G "$LAB_GATEWAY_MAC" -b /dev/null -r 1000 -c 1 -q -O csv \
    -f saddr,sport,classification,success,ttl --output-filter "success = 1 || success = 0" -o zmap.csv "$LAB_NETWORK" \
    >/dev/null 2>&1
for file in masscan.json masscan.list masscan.nd masscan.xml zmap.csv; do
    status "$file.status" "$PORTREEVE" import "$file" --states all --format jsonl --output "$file.jsonl"
    status "$file.diff" "$PORTREEVE" diff "$file" "$file.jsonl"
done
"#,
    );
    let truth: BTreeSet<(String, u64)> =
        ran.truth().opens().map(|(ip, port)| (ip.to_string(), u64::from(port))).collect();
    for file in ["masscan.json", "masscan.list", "masscan.nd", "masscan.xml", "zmap.csv"] {
        assert_eq!(ran.status(&format!("{file}.status")), "3", "{file}: nobody can know that it is all");
        assert_eq!(
            ran.status(&format!("{file}.diff")),
            "0",
            "{file}: {}",
            ran.file(&format!("{file}.diff.out"))
        );
        let opens = ran.opens(&format!("{file}.jsonl"));
        let listed = ran.file(file);
        // What the file has, by its own words; some of the truth may have been lost on the way.
        let in_file = |target: &&(String, u64)| {
            let is_it = |line: &str| {
                let mut words = line.split(|sign: char| !sign.is_ascii_digit() && sign != '.');
                words.clone().any(|word| word == target.0) && words.any(|word| word == target.1.to_string())
            };
            listed.lines().any(|line| is_it(line) && !line.contains(",rst,"))
        };
        let expected: BTreeSet<(String, u64)> = truth.iter().filter(in_file).cloned().collect();
        assert!(!opens.is_empty() && opens.is_subset(&truth), "{file}: {opens:?}");
        assert_eq!(opens.len(), expected.len(), "{file}: {opens:?} {expected:?}");
    }
}
