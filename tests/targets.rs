//! From what users have to what is swept: files, inventories and names come together as settings of addresses. No name
//! leaves this test; the resolvers here are functions.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use portreeve::config::diagnostic::Source;
use portreeve::config::file::Config;
use portreeve::config::resolve::{patience, resolve};
use portreeve::config::settings::Settings;
use portreeve::config::sources::{self, Gathered};
use portreeve::target::names::Names;
use portreeve::target::written::HostName;
use tempfile::TempDir;

/// A resolver of a few names.
fn lookup(name: &str) -> io::Result<Vec<IpAddr>> {
    let ips: &[&str] = match name {
        "db.example.net" => &["198.18.0.7", "2001:db8::7"],
        "web.example.net" => &["198.18.0.8"],
        "group.example.net" => &["224.0.0.1"],
        "link.example.net" => &["fe80::1"],
        "far.example.net" => &["198.18.9.9"],
        _ => return Err(io::Error::other("Name or service not known")),
    };
    Ok(ips.iter().map(|ip| ip.parse().expect(ip)).collect())
}

/// What words, and a configuration if there is one, come down to in a directory with these files.
struct Bench {
    directory: TempDir,
}

impl Bench {
    fn new(files: &[(&str, &str)]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        for (name, text) in files {
            std::fs::write(directory.path().join(name), text).expect("a file");
        }
        Bench { directory }
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).to_string_lossy().into_owned()
    }

    fn gather(&self, words: &[&str], config: &str, stdin: &str) -> Result<Gathered, String> {
        let source = Source::new(self.directory.path().join("c.toml"), config);
        let file = Config::parse(&source).map_err(|error| error.to_string())?.settings;
        let typed = Settings {
            targets: words.iter().map(|word| word.parse().expect(word)).collect(),
            ..Settings::default()
        };
        self.settings(typed.or(file), stdin)
    }

    fn settings(&self, settings: Settings, stdin: &str) -> Result<Gathered, String> {
        let told = |error: sources::SourceError| {
            error.to_string().replace(&format!("{}/", self.directory.path().display()), "")
        };
        sources::read(settings, &mut stdin.as_bytes()).map_err(told)?.resolve(lookup).map_err(told)
    }
}

fn ranges(gathered: &Gathered) -> String {
    let ranges = gathered.settings.scope().expect("a scope").ranges().to_vec();
    ranges.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn names(gathered: &Gathered, ip: &str) -> String {
    gathered.names.of(ip.parse().expect(ip)).join(" ")
}

#[test]
fn words_files_standard_input_and_names_add_up() {
    let bench = Bench::new(&[("fleet.txt", "198.18.1.0/30 web.example.net\n")]);
    let fleet = format!("@{}", bench.path("fleet.txt"));
    let gathered = bench
        .gather(&["198.18.2.1", &fleet, "-", "db.example.net"], "", "198.18.3.1-2 # two\n")
        .expect("targets");
    assert_eq!(
        ranges(&gathered),
        "198.18.0.7-198.18.0.8 198.18.1.0/30 198.18.2.1 198.18.3.1-198.18.3.2 2001:db8::7"
    );
    assert_eq!(names(&gathered, "2001:db8::7"), "db.example.net");
    assert_eq!(names(&gathered, "198.18.0.8"), "web.example.net");
    assert_eq!(names(&gathered, "198.18.2.1"), "");
    assert_eq!(gathered.written, ["198.18.2.1", "db.example.net"]);
    let sources: Vec<(bool, u64)> =
        gathered.sources.iter().map(|note| (note.file == "standard input", note.targets)).collect();
    assert_eq!(sources, [(false, 2), (true, 1)]);
    let twice = bench.gather(&["-", "-"], "", "198.18.3.1").expect_err("once only");
    assert!(twice.starts_with("standard input can be read once only"), "{twice}");
}

#[test]
fn the_mistakes_of_all_files_are_told_at_once() {
    let bench = Bench::new(&[("a.txt", "198.18.0.300\n"), ("b.txt", ""), ("x.txt", "db.example.net\n")]);
    let config = "[scope]\nfiles = [\"a.txt\", \"b.txt\", \"none.txt\"]\nexclude_files = [\"x.txt\"]\n\
                  [[scope.inventory]]\nfile = \"a.txt\"\naddress = \"ip\"\n";
    let told = bench.gather(&[], config, "").expect_err("mistakes");
    let begins: Vec<&str> = told.lines().map(|line| line.split(';').next().unwrap_or(line)).collect();
    assert_eq!(
        begins,
        [
            "a.txt:1:1: `198.18.0.300` is no address, network or range",
            "b.txt:1:1: no target is named here",
            "cannot read none.txt: No such file or directory (os error 2)",
            "a.txt:1:7: expected value",
            "x.txt:1:1: `db.example.net` is no address, network or range, and nothing is excluded by name",
        ],
        "{told}"
    );
}

#[test]
fn a_scope_may_be_declared_by_files_names_and_inventories() {
    let inventory =
        r#"[{"name": "cache", "ip": "198.18.4.1"}, {"ip": "198.18.5.0/31", "name": "pair"}, {"ip": null}]"#;
    let bench = Bench::new(&[
        ("fleet.txt", "198.18.1.0/30"),
        ("fleet.json", inventory),
        ("never.txt", "198.18.1.2,198.18.0.7"),
    ]);
    let config = "[scope]\nnetworks = [\"198.18.2.0/30\", \"db.example.net\"]\nfiles = [\"fleet.txt\"]\n\
                  exclude_files = [\"never.txt\"]\n\
                  [[scope.inventory]]\nfile = \"fleet.json\"\naddress = \"ip\"\nname = \"name\"\n";
    let whole = bench.gather(&[], config, "").expect("a scope");
    let expected = "198.18.1.0/31 198.18.1.3 198.18.2.0/30 198.18.4.1 198.18.5.0/31 2001:db8::7";
    assert_eq!(ranges(&whole), expected);
    assert_eq!(names(&whole, "198.18.5.1"), "pair");
    assert_eq!(whole.written, ["198.18.2.0/30", "db.example.net"]);
    assert_eq!(
        whole.sources.iter().map(|note| (note.targets, note.skipped)).collect::<Vec<_>>(),
        [(1, 0), (2, 1)]
    );
    // What is typed must lie in it, wherever the declaration came from.
    let inside = bench.gather(&["198.18.4.1", "2001:db8::7"], config, "").expect("inside");
    assert_eq!(ranges(&inside), "198.18.4.1 2001:db8::7");
    assert_eq!(names(&inside, "198.18.4.1"), "cache", "names are those of the configuration, too");
    let outside = bench.gather(&["198.18.4.2"], config, "").expect("settings").settings.scope();
    assert!(outside.expect_err("outside").to_string().contains("is not in the declared scope"));
}

#[test]
fn a_name_may_not_lead_where_nothing_may_be_swept() {
    let bench = Bench::new(&[]);
    let config = "[scope]\nnetworks = [\"198.18.0.0/24\"]\n";
    for (word, config, begins) in [
        (
            "group.example.net",
            "",
            "group.example.net resolves to 224.0.0.1, which is never probed (multicast, RFC 5771)",
        ),
        ("link.example.net", "", "link.example.net resolves to fe80::1, which is never probed (link-local, "),
        (
            "far.example.net",
            config,
            "far.example.net resolves to 198.18.9.9, which is not in the declared scope;",
        ),
        (
            "db.example.net",
            config,
            "db.example.net resolves to 2001:db8::7, which is not in the declared scope;",
        ),
    ] {
        let told = bench.gather(&[word], config, "").expect_err(word);
        assert!(told.starts_with(begins), "{told}");
    }
    // Excluded, it is not swept, and no reason to stop.
    let config = "[scope]\nnetworks = [\"198.18.0.0/24\"]\nexclude = [\"2001:db8::/32\"]\n";
    assert_eq!(ranges(&bench.gather(&["db.example.net"], config, "").expect("one is left")), "198.18.0.7");
    let config = "[scope]\nnetworks = [\"198.18.0.0/24\"]\nexclude = [\"198.18.0.8\"]\n";
    let told = bench.gather(&["web.example.net"], config, "").expect_err("nothing is left");
    assert!(told.starts_with("nothing of the targets has an address"), "not the whole scope instead: {told}");
}

#[test]
fn names_that_do_not_resolve_are_all_told_or_announced() {
    let bench = Bench::new(&[("fleet.txt", "a.invalid 198.18.0.1 b.invalid")]);
    let told = bench.gather(&["c.invalid"], "", "").expect_err("unresolved");
    assert!(
        told.starts_with("c.invalid does not resolve: Name or service not known; check the spelling"),
        "{told}"
    );
    let fleet = format!("@{}", bench.path("fleet.txt"));
    let told = bench.gather(&[&fleet], "", "").expect_err("unresolved");
    let says = "2 names do not resolve: a.invalid (Name or service not known), b.invalid (Name or service not known);";
    assert!(told.starts_with(says), "{told}");

    let skipping = |words: &[&str], declared: Settings| {
        let targets = words.iter().map(|word| word.parse().expect(word)).collect();
        let typed = Settings { targets, skip_unresolved: true, ..Settings::default() };
        bench.settings(typed.or(declared), "")
    };
    let gathered = skipping(&[&fleet], Settings::default()).expect("the rest");
    assert_eq!(ranges(&gathered), "198.18.0.1");
    let unresolved: Vec<&str> = gathered.unresolved.iter().map(|failed| failed.name.as_str()).collect();
    assert_eq!(unresolved, ["a.invalid", "b.invalid"]);
    // Nothing left must not mean everything declared, nor a run without bounds.
    let declared = |text: &str| Config::parse(&Source::new("c.toml", text)).expect("clean").settings;
    let whole = declared("[scope]\nnetworks = [\"198.18.0.0/24\"]\n");
    assert!(skipping(&["a.invalid"], whole).expect_err("nothing").starts_with("nothing of the targets"));
    let gone = declared("[scope]\nnetworks = [\"a.invalid\"]\n");
    let told = skipping(&["198.18.0.1"], gone).expect_err("nothing is declared");
    assert!(told.starts_with("nothing of the scope that is declared has an address"), "{told}");
}

#[test]
fn what_does_not_answer_in_time_has_failed_and_holds_nothing_up() {
    fn stuck(name: &str) -> io::Result<Vec<IpAddr>> {
        if name == "stuck.example.net" {
            thread::sleep(Duration::from_secs(20));
        }
        lookup(name)
    }
    let began = Instant::now();
    let asked: Vec<HostName> =
        ["stuck.example.net", "db.example.net"].map(|name| name.parse().expect(name)).to_vec();
    let resolution = resolve(&asked, stuck, Duration::from_millis(500));
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!(resolution.found.len(), 1);
    assert_eq!(resolution.failed[0].to_string(), "stuck.example.net (no answer within 500ms)");
}

#[test]
fn many_names_are_asked_for_at_a_time_but_not_all() {
    fn slow(_: &str) -> io::Result<Vec<IpAddr>> {
        thread::sleep(Duration::from_millis(100));
        Ok(vec![[198, 18, 0, 1].into()])
    }
    let asked: Vec<HostName> =
        (0..128).map(|n| format!("h{n}.example.net").parse().expect("a name")).collect();
    let began = Instant::now();
    assert_eq!(resolve(&asked, slow, patience(asked.len())).found.len(), 128);
    // Four rounds of 32; one at a time would take 12.8 s, all at a time 100 ms.
    let took = began.elapsed();
    assert!((Duration::from_millis(400)..Duration::from_secs(8)).contains(&took), "{took:?}");
}

/// A million of each: in bounds of time and memory that an ordinary host does not notice.
#[test]
fn a_million_lines_and_a_million_names() {
    let lines: String = (0..1_000_000_u32)
        .map(|n| format!("198.{}.{}.{}\n", 18 + (n >> 16), n >> 8 & 255, n & 255))
        .collect();
    let bench = Bench::new(&[("fleet.txt", &lines)]);
    let fleet = format!("@{}", bench.path("fleet.txt"));
    let began = Instant::now();
    let gathered = bench.gather(&[&fleet], "", "").expect("targets");
    let scope = gathered.settings.scope().expect("a scope");
    let took = began.elapsed();
    assert_eq!((scope.hosts(), scope.ranges().len()), (1_000_000, 1));
    // A tenth of it with optimisation; the bound must hold in a debug build on a busy machine, too.
    assert!(took < Duration::from_secs(20), "{took:?}");

    let labels: Vec<String> = (0..1_000_000).map(|n| format!("host-{n}.example.net")).collect();
    let before = resident();
    let ips = gathered.settings.networks.iter().copied();
    let names = Names::new(ips.zip(labels.iter().map(String::as_str)));
    let grown = resident().saturating_sub(before);
    assert_eq!(names.of([198, 18, 1, 0].into()), ["host-256.example.net"]);
    // Each name has 24 bytes of letters at most, an address of 16 and a place of 8; and as much again while sorting.
    assert!(grown < 160 << 20, "{} MiB for a million names", grown >> 20);
}

/// Bytes of memory that this process has.
fn resident() -> u64 {
    let status = std::fs::read_to_string(Path::new("/proc/self/status")).expect("a kernel that says");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
}
