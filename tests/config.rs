//! The configuration file as a user meets it: the documented example loads clean, and every mistake is told where it
//! is.

use std::fs;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use portreeve::config::diagnostic::{ConfigError, Source};
use portreeve::config::file::{Config, load_allowlist, parse_allowlist};
use portreeve::config::options::{Cap, EngineChoice};
use portreeve::config::settings::Settings;
use portreeve::config::watch::WatchConfig;
use portreeve::policy::class::Class;
use portreeve::target::ports::PortSet;
use proptest::prelude::*;

const EXAMPLE: &str = include_str!("data/config/example.toml");

#[test]
fn the_documented_example_loads_clean() {
    let config = Config::load(Path::new("tests/data/config/example.toml")).expect("a clean file");
    let settings = &config.settings;
    let texts = |ranges: &[portreeve::target::address::AddressRange]| {
        ranges.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(texts(&settings.declared), ["198.18.0.0/16", "2001:db8:1::/120"]);
    assert_eq!(texts(&settings.exclude), ["198.18.4.0/24"]);
    assert_eq!(settings.owner.as_deref(), Some("netops@example.com"));
    assert_eq!(settings.ports, Some(PortSet::risky()));
    assert_eq!(settings.interval, Some(Duration::from_secs(60)));
    assert_eq!(settings.rate_limit, NonZeroU32::new(50_000));
    assert!(settings.networks.is_empty(), "the file declares, the command line names targets");
    assert_eq!(settings.scope().expect("a scope").hosts(), 65_536 - 256 + 256);

    let [bastion] = &config.allow[..] else { panic!("one allowance: {:?}", config.allow) };
    assert_eq!(texts(&bastion.hosts), ["198.18.0.10"]);
    assert_eq!((bastion.ports.to_string().as_str(), bastion.line), ("22", Some(11)));
    assert_eq!((bastion.reason.as_str(), bastion.owner.as_str()), ("bastion", "netops"));
    assert_eq!(bastion.expires.map(|expiry| expiry.to_string()).as_deref(), Some("2027-03-31"));

    let [database] = &config.expect[..] else { panic!("one expectation: {:?}", config.expect) };
    assert_eq!((database.name.as_str(), database.failures, database.line), ("orders database", 3, 18));
    let names: Vec<&str> = config.sinks.iter().map(|sink| sink.name.as_str()).collect();
    assert_eq!(names, ["soc", "siem", "ops"]);
    assert_eq!(config.routes.of_class(&Class::security()), ["soc", "siem"]);
    assert_eq!(config.routes.of_class(&Class::health()), ["ops"]);
    assert_eq!(config.check_watch(), [], "and a watch needs no more");
}

#[test]
fn every_key_of_sweep_is_read() {
    let text = "[sweep]\nports = [22, \"redis\", \"8000-8002\"]\ninterval = \"1h 30m\"\nrate_max = \"10k\"\n\
                host_rate = 100\nnetwork_rate = \"none\"\n\
                canaries = [\"198.18.0.10:22\", \"[2001:db8::1]:22\"]\n\
                tries = 3\nengine = \"connect\"\ninterface = \"eth0\"\nallowlist = \"a.toml\"\n\
                memory = \"512M\"\n";
    let settings = Config::parse(&Source::new("/etc/portreeve/c.toml", text)).expect("clean").settings;
    assert_eq!(settings.ports.expect("ports").to_string(), "22,6379,8000-8002");
    assert_eq!(settings.interval, Some(Duration::from_secs(5400)));
    assert_eq!((settings.rate, settings.rate_limit), (None, NonZeroU32::new(10_000)));
    assert_eq!(settings.host_rate.and_then(Cap::pps), NonZeroU32::new(100));
    assert_eq!((settings.network_rate, settings.tries), (Some(Cap::None), Some(3)));
    let canaries = ["198.18.0.10:22", "[2001:db8::1]:22"].map(|at| at.parse().expect(at));
    assert_eq!(settings.declared_canaries, canaries);
    assert_eq!((settings.engine, settings.interface.as_deref()), (Some(EngineChoice::Connect), Some("eth0")));
    assert_eq!(settings.allowlist, Some(PathBuf::from("/etc/portreeve/a.toml")));
    assert_eq!(settings.memory, Some("512M".parse().expect("a size")));
}

#[test]
fn every_key_of_scope_is_read() {
    let text = "[scope]\nnetworks = [\"198.18.0.10-20\", \"DB.example.net\"]\nfiles = [\"fleet.txt\", \"/srv/b.txt\"]\n\
                exclude = [\"198.18.0.12-13\"]\nexclude_files = [\"never.txt\"]\n\
                [[scope.inventory]]\nfile = \"a.json\"\naddress = \"a.b\"\nname = \"n\"\n\
                [[scope.inventory]]\nfile = \"b.json\"\naddress = \"ip\"\n";
    let settings = Config::parse(&Source::new("/etc/portreeve/c.toml", text)).expect("clean").settings;
    assert_eq!(settings.declared, ["198.18.0.10-198.18.0.20".parse().expect("a range")]);
    assert_eq!(settings.exclude, ["198.18.0.12-198.18.0.13".parse().expect("a range")]);
    let path = |name: &str| PathBuf::from("/etc/portreeve").join(name);
    assert_eq!(settings.exclude_file, [path("never.txt")]);
    let sources = settings.sources;
    assert_eq!(sources.names.iter().map(ToString::to_string).collect::<Vec<_>>(), ["db.example.net"]);
    assert_eq!(sources.files, [path("fleet.txt"), path("/srv/b.txt")]);
    let [first, second] = &sources.inventories[..] else { panic!("{:?}", sources.inventories) };
    assert_eq!((first.file.clone(), first.address.to_string().as_str()), (path("a.json"), "a.b"));
    assert_eq!(first.name.as_ref().map(ToString::to_string).as_deref(), Some("n"));
    assert_eq!((second.file.clone(), second.name.is_none()), (path("b.json"), true));
    // Files and inventories are networks enough.
    for text in ["[scope]\nfiles = [\"a\"]\n", "[[scope.inventory]]\nfile = \"a\"\naddress = \"ip\"\n"] {
        assert!(Config::parse(&Source::new("c.toml", text)).is_ok(), "{text}");
    }
}

#[test]
fn sources_that_are_none() {
    check(
        "[scope]\nnetworks = [\"198.18.0.300\", \"a b\"]\nfiles = []\nexclude = [\"db.example.net\"]\n\
         [[scope.inventory]]\nfile = \"a.json\"\nadress = \"ip\"\n[[scope.inventory]]\nfile = \"\"\n\
         address = \"a..b\"\n",
        &[
            "c.toml:2:13: `198.18.0.300` is no address, network or range; write 198.18.0.7, 198.18.0.0/16 or \
             198.18.0.10-198.18.0.20",
            "c.toml:2:29: `a b` is no address and no host name; write 198.18.0.7, 198.18.0.0/16, 198.18.0.10-20 or \
             db.example.net",
            "c.toml:3:9: `files` names no file; write files = [\"fleet.txt\"]",
            "c.toml:4:12: `db.example.net` is no address, network or range, and nothing is excluded by name; write its \
             addresses, because a name can move and would uncover what it was to protect",
            "c.toml:7:1: unknown key `adress` in [[scope.inventory]]; did you mean `address`? known here: file, address, \
             name",
            "c.toml:9:8: `file` is blank; write file = \"fleet.json\"",
            "c.toml:10:11: `a..b` is no field; write a key such as PrivateIpAddress, or up to 16 with dots between them",
        ],
    );
    check(
        "[scope]\nowner = \"netops\"\n",
        &["c.toml:1:1: `networks` is missing in [scope]; add networks = [\"198.18.0.0/24\"]"],
    );
    check(
        "[scope]\nnetworks = [\"198.18.0.0/24\"]\ninventory = { file = \"a\", address = \"b\" }\n",
        &["c.toml:3:13: `inventory` may stand several times, but it stands here as a single table; write \
             [[scope.inventory]]"],
    );
}

#[test]
fn an_empty_file_is_an_empty_configuration() {
    let config = Config::parse(&Source::new("c.toml", "")).expect("clean");
    assert_eq!(config.settings, Settings::default());
    assert_eq!(
        config.watches,
        [WatchConfig::of(&config.settings)],
        "as if it had one watch of what it sweeps"
    );
    assert!(!config.is_for_watch() && config.check_files().is_empty());
    let lacks: Vec<String> = config.check_watch().iter().map(ToString::to_string).collect();
    assert_eq!(
        lacks,
        [
            "c.toml:1:1: no [scope] says what to watch; add [scope] with networks = [\"198.18.0.0/24\"]",
            "c.toml:1:1: no [[sink]] says whom to tell; add a [[sink]], and a [route] that names it",
        ]
    );
}

/// Asserts that the text has exactly these mistakes.
#[track_caller]
fn check(text: &str, mistakes: &[&str]) {
    let told = match Config::parse(&Source::new("c.toml", text)) {
        Ok(_) => Vec::new(),
        Err(ConfigError::Invalid(diagnostics)) => diagnostics.iter().map(ToString::to_string).collect(),
        Err(other) => panic!("{other}"),
    };
    assert_eq!(told, mistakes, "\n{text}");
}

fn allow(lines: &str) -> String {
    format!(
        "[[allow]]\nhosts = [\"198.18.0.10\"]\nports = [22]\nreason = \"bastion\"\nowner = \"netops\"\n{lines}"
    )
}

#[test]
fn networks_that_are_none() {
    check(
        "[scope]\nnetworks = [\"198.18.3.4/16\"]\n",
        &[
            "c.toml:2:13: `198.18.3.4/16` has host bits set; write 198.18.0.0/16 for the network or 198.18.3.4 for the \
           one address",
        ],
    );
    // Every entry is looked at, and columns count characters, not bytes.
    check(
        "[scope]\nnetworks = [\"198.18.0.0/16\", 5, \"ä\", \"198.18.0.0/33\"]\n",
        &[
            "c.toml:2:30: an entry of `networks` must be text in quotes, but the number 5 stands here; write networks = \
             [\"198.18.0.0/24\"]",
            "c.toml:2:33: `ä` is no address and no host name; write 198.18.0.7, 198.18.0.0/16, 198.18.0.10-20 or \
             db.example.net",
            "c.toml:2:38: `198.18.0.0/33` has no prefix length from 0 to 32 behind the slash; write a network \
             such as 198.18.0.0/16 or 2001:db8:1::/120",
        ],
    );
    check(
        "[scope]\nnetworks = []\n",
        &["c.toml:2:12: `networks` names no network; write networks = [\"198.18.0.0/24\"]"],
    );
    check(
        "[scope]\nnetworks = \"198.18.0.0/16\"\n",
        &[
            "c.toml:2:12: `networks` must be an array, but the text \"198.18.0.0/16\" stands here; write networks = \
           [\"198.18.0.0/24\"]",
        ],
    );
}

#[test]
fn scopes_that_are_none() {
    check(
        "[scope]\nowner = \" \"\n",
        &[
            "c.toml:1:1: `networks` is missing in [scope]; add networks = [\"198.18.0.0/24\"]",
            "c.toml:2:9: `owner` is blank; write owner = \"netops@example.com\"",
        ],
    );
    check(
        "[scope]\nnetworks = [\"198.18.0.0/16\"]\nexclude = [\"198.18.0.0/15\"]\n",
        &[
            "c.toml:3:12: the scope is empty: the excludes take away every address of its networks; exclude less, or \
           name more networks",
        ],
    );
    check(
        "[scope]\nnetworks = [\"198.18.0.0/16\", \"224.0.0.0/24\"]\n",
        &[
            "c.toml:2:30: 224.0.0.0/24 overlaps 224.0.0.0/4 (multicast, RFC 5771), which is never probed; exclude it \
           (--exclude 224.0.0.0/4) or name less",
        ],
    );
    check(
        "[scope]\nnetworks = [\"::\", \"198.18.0.0/16\", \"ff02::1\", \"224.0.0.1\"]\nexclude = [\"224.0.0.0/24\"]\n",
        &[
            "c.toml:2:13: :: overlaps ::/128 (the unspecified address, RFC 4291 section 2.5.2), which is never probed; \
             exclude it (--exclude ::/128) or name less",
            "c.toml:2:36: ff02::1 overlaps ff00::/8 (multicast, RFC 4291 section 2.7), which is never probed; exclude it \
             (--exclude ff00::/8) or name less",
        ],
    );
    check(
        "[scope]\nnetworks = [\"2001:db8::/32\"]\n",
        &["c.toml:2:13: the scope has more than 2^63 targets; name smaller networks or fewer ports"],
    );
}

#[test]
fn keys_that_nobody_knows() {
    // A misspelt key is one mistake, not a missing one and an unknown one.
    check(
        "[scope]\nnetwroks = [\"198.18.0.0/16\"]\n",
        &[
            "c.toml:2:1: unknown key `netwroks` in [scope]; did you mean `networks`? known here: networks, files, \
             inventory, exclude, excluded, exclude_files, owner",
        ],
    );
    check(
        "[scop]\nx = 1\n\n[zzz]\n",
        &[
            "c.toml:1:2: unknown key `scop` at the top level; did you mean `scope`? known here: scope, sweep, watch, allow, expect, grade, alerting, \
             maintenance, store, control, heartbeat, sink, route",
            "c.toml:4:2: unknown key `zzz` at the top level; known here: scope, sweep, watch, allow, expect, grade, alerting, maintenance, store, control, heartbeat, sink, route",
        ],
    );
    check(
        &allow("expirs = 2027-03-31\n"),
        &[
            "c.toml:6:1: unknown key `expirs` in [[allow]]; did you mean `expires`? known here: hosts, ports, reason, \
           owner, id, approver, compensating, expires, warn_before",
        ],
    );
}

#[test]
fn values_of_the_wrong_type_or_range() {
    check(
        "[sweep]\nports = true\ninterval = 60\nrate_max = 0\ntries = 11\nengine = \"fast\"\nhost_rate = -1\n\
         interface = \"a/b\"\nallowlist = 7\n",
        &[
            "c.toml:2:9: `ports` must be a text such as \"risky\", or an array such as [22, \"redis\"], but the boolean \
             true stands here; write ports = \"risky\"",
            "c.toml:3:12: `interval` must be a length of time from 1s to 366d, with its unit and in quotes, but the \
             number 60 stands here; write interval = \"60s\"",
            "c.toml:4:12: `rate_max` must be a whole number from 1 to 100000000, but the number 0 stands here; write \
             rate_max = 50_000",
            "c.toml:5:9: `tries` must be a whole number from 1 to 10, but the number 11 stands here; write tries = 4",
            "c.toml:6:10: `fast` is no engine; choose auto, packet, xdp or connect",
            "c.toml:7:13: `host_rate` must be a whole number from 1 to 100000000, but the number -1 stands here; \
             write host_rate = 200",
            "c.toml:8:13: `a/b` is no name of an interface; `ip link` lists them",
            "c.toml:9:13: `allowlist` must be text in quotes, but the number 7 stands here; write allowlist = \
             \"allow.toml\"",
        ],
    );
    check(
        "[sweep]\nports = [0, \"rediss\", 1.5, 22]\ninterval = \"60\"\nrate_max = \"10m\"\ntries = \"3\"\n\
         engine = \"raw\"\n",
        &[
            "c.toml:2:10: an entry of `ports` must be a port from 1 to 65535, or a text such as \"redis\" or \
             \"8000-8100\", but the number 0 stands here; write ports = \"risky\"",
            "c.toml:2:13: `rediss` is no port name; did you mean `redis`? `portreeve ports` lists the names; sets are \
             risky, exposed and all",
            "c.toml:2:23: an entry of `ports` must be a port from 1 to 65535, or a text such as \"redis\" or \
             \"8000-8100\", but the number 1.5 stands here; write ports = \"risky\"",
            "c.toml:3:12: `interval` must be a length of time from 1s to 366d, with its unit and in quotes, but the \
             text \"60\" stands here; write interval = \"60s\"",
            "c.toml:4:12: `10m` is no rate; write packets a second such as 5000, 10k or 1M",
            "c.toml:5:9: `tries` must be a whole number from 1 to 10, but the text \"3\" stands here; write tries = 4",
            "c.toml:6:10: `raw` is no engine; choose auto, packet, xdp or connect",
        ],
    );
    check(
        "[sweep]\nhost_rate = \"auto\"\nnetwork_rate = \"0\"\nrate_max = \"auto\"\ncanaries = [\"198.18.0.1\", 7]\n",
        &[
            "c.toml:2:13: `auto` is no rate; write packets a second such as 5000, 10k or 1M, or none for no cap",
            "c.toml:3:16: the rate `0` is not from 1 to 100000000; write packets a second such as 5000, 10k or 1M, or \
             none for no cap",
            "c.toml:4:12: `auto` is no rate; write packets a second such as 5000, 10k or 1M",
            "c.toml:5:13: `198.18.0.1` is no endpoint; write IP:PORT, such as 198.18.0.10:22 or [2001:db8::1]:22",
            "c.toml:5:27: an entry of `canaries` must be text in quotes, but the number 7 stands here; write canaries \
             = [\"198.18.0.10:22\"]",
        ],
    );
    check("[sweep]\nports = []\n", &["c.toml:2:9: `ports` names no port; write ports = \"risky\""]);
    check(
        "sweep = 5\n[allow]\nhosts = 1\n",
        &[
            "c.toml:1:9: `sweep` must be a table, under a line [sweep], but the number 5 stands here; write sweep = { \
             ports = \"risky\" }",
            "c.toml:2:1: `allow` may stand several times, but it stands here as a single table; write [[allow]]",
        ],
    );
}

#[test]
fn syntax_that_spoils_one_value_hides_nothing_else() {
    check(
        "[sweep]\nports = redis\ntries = 0\ninterval = \nengine = \"auto\ninterface = \"a/b\"\n",
        &[
            "c.toml:2:9: `redis` is not in quotes; write \"redis\"",
            "c.toml:3:9: `tries` must be a whole number from 1 to 10, but the number 0 stands here; write tries = 4",
            "c.toml:4:12: a value is missing; write one, or remove the key",
            "c.toml:5:15: TOML syntax: invalid basic string, expected `\"`; text stands in quotes, arrays in [ ], keys \
             as key = value, tables under [name] or [[name]]",
            "c.toml:6:13: `a/b` is no name of an interface; `ip link` lists them",
        ],
    );
    check(
        "[sweep]\nports = \"22,,23\"\nports = \"risky\"\n",
        &[
            "c.toml:2:9: `22,,23` has an empty part; write ports as 22,3306,8000-8100,redis or risky",
            "c.toml:3:1: `ports` stands here a second time; keep one of the two, or join them",
        ],
    );
}

#[test]
fn syntax_that_tears_the_structure_is_told_alone() {
    check(
        "[sweep\nports = 5\n",
        &[
            "c.toml:1:7: TOML syntax: unclosed table, expected `]`; text stands in quotes, arrays in [ ], keys as key = \
           value, tables under [name] or [[name]]",
        ],
    );
    check(
        "[scope]\nnetworks = [\"198.18.0.0/16\"\n\n[sweep]\nports = 3\n",
        &[
            "c.toml:4:1: TOML syntax: missing comma between array elements, expected `,`; put a comma in front, or close \
           the array above with ]",
        ],
    );
}

#[test]
fn expiries_that_are_no_date() {
    const WANTED: &str = "`expires` must be a date, or a moment with its offset from UTC, without quotes";
    for (written, found) in [
        ("\"2027-03-31\"", "the text \"2027-03-31\""),
        ("\"soon\"", "the text \"soon\""),
        ("2027-03-31T12:00:00", "the date 2027-03-31T12:00:00"),
        ("12:00:00", "the date 12:00:00"),
        ("true", "the boolean true"),
    ] {
        let told = format!("c.toml:6:11: {WANTED}, but {found} stands here; write expires = 2027-03-31");
        check(&allow(&format!("expires = {written}\n")), &[&told]);
    }
    check(
        &allow("expires = 2027-02-30\n"),
        &[
            "c.toml:6:11: `2027-02-30` is no date: invalid date, expected day between 01 and 28; write a day that the \
           calendar has, such as 2027-03-31",
        ],
    );
    check(&allow("expires = 2027-03-31T12:00:00+02:00\n"), &[]);
}

#[test]
fn allowances_that_say_too_little() {
    check(
        "[[allow]]\nhosts = []\nports = []\nreason = \"\"\n",
        &[
            "c.toml:1:1: `owner` is missing in [[allow]]; add owner = \"netops\"",
            "c.toml:2:9: `hosts` names no host; write hosts = [\"198.18.0.10\"]",
            "c.toml:3:9: `ports` names no port; write ports = [22]",
            "c.toml:4:10: `reason` is blank; write reason = \"bastion\"",
        ],
    );
    check(
        "[[allow]]\n",
        &[
            "c.toml:1:1: `hosts` is missing in [[allow]]; add hosts = [\"198.18.0.10\"]",
            "c.toml:1:1: `ports` is missing in [[allow]]; add ports = [22]",
            "c.toml:1:1: `reason` is missing in [[allow]]; add reason = \"bastion\"",
            "c.toml:1:1: `owner` is missing in [[allow]]; add owner = \"netops\"",
        ],
    );
}

#[test]
fn allowances_that_contradict_each_other() {
    check(
        &format!("{}{}", allow("expires = 2027-03-31\n"), allow("")),
        &[
            "c.toml:7:1: port 22 of 198.18.0.10 is allowed without end here, but until 2027-03-31 in line 1; keep one of \
           the two, or let both end together",
        ],
    );
    check(
        &format!("{}\n{}", allow(""), allow("")),
        &["c.toml:7:1: the same hosts and ports are already allowed in line 1; remove one of the two"],
    );
    let wider =
        allow("expires = 2027-01-01\n").replace("198.18.0.10", "198.18.0.0/24").replace("[22]", "\"risky\"");
    check(
        &format!("{}{wider}", allow("")),
        &[
            "c.toml:6:1: port 22 of 198.18.0.10 is allowed until 2027-01-01 here, but without end in line 1; keep one of \
           the two, or let both end together",
        ],
    );
    let other_port = allow("expires = 2027-01-01\n").replace("[22]", "[23]");
    let same_end = allow("").replace("198.18.0.10", "198.18.0.0/24");
    check(&format!("{}{other_port}{same_end}", allow("").replace("[22]", "[24]")), &[]);
}

#[test]
fn an_allowlist_is_the_same_grammar_with_one_table() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("allow.toml");
    fs::write(&path, allow("")).expect("a file");
    assert_eq!(load_allowlist(&path).expect("clean").len(), 1);
    let text = format!("{}[scope]\nnetworks = []\n", allow(""));
    let error =
        parse_allowlist(&Source::new("a.toml", text)).expect_err("a scope is no allowance").to_string();
    assert_eq!(error, "a.toml:6:2: unknown key `scope` at the top level; known here: allow");
}

#[test]
fn a_byte_order_mark_and_carriage_returns_move_nothing() {
    check(
        "\u{feff}[sweep]\r\ntries = 0\r\n",
        &[
            "c.toml:2:9: `tries` must be a whole number from 1 to 10, but the number 0 stands here; write tries = 4",
        ],
    );
    check(
        "\u{feff}swep = 1",
        &[
            "c.toml:1:1: unknown key `swep` at the top level; did you mean `sweep`? known here: scope, sweep, watch, allow, expect, grade, alerting, \
             maintenance, store, control, heartbeat, sink, route",
        ],
    );
}

/// The example with a piece of it gone, doubled or replaced: what a slip of the hand leaves behind.
fn slips() -> impl Strategy<Value = String> {
    let chars: Vec<char> = EXAMPLE.chars().collect();
    let length = chars.len();
    (
        0..length,
        0_usize..40,
        prop::sample::select(vec!["", "[", "]", "\"", "=", "\n", "ä", "5", "'''", "{", ",", "#"]),
    )
        .prop_map(move |(from, count, with)| {
            let to = (from + count).min(length);
            chars[..from].iter().chain(&with.chars().collect::<Vec<_>>()).chain(&chars[to..]).collect()
        })
}

/// Whatever is in the file, it is read to the end without a panic, and every mistake lies in the text.
fn reads_to_the_end(text: &str) {
    let Err(error) = Config::parse(&Source::new("c.toml", text)) else { return };
    let ConfigError::Invalid(diagnostics) = error else { panic!("{error}") };
    assert!(!diagnostics.is_empty());
    let lines: Vec<&str> = text.split('\n').collect();
    for diagnostic in diagnostics {
        let line = lines.get(diagnostic.line as usize - 1).expect("the line is there");
        assert!(diagnostic.column as usize <= line.chars().count() + 1, "{diagnostic}");
        assert!(!diagnostic.message.is_empty() && !diagnostic.help.is_empty(), "{diagnostic}");
    }
}

proptest! {
    #[test]
    fn survives_slips(text in slips()) {
        reads_to_the_end(&text);
    }

    #[test]
    fn survives_noise(text in "[\\[\\]a-c\"'=.,{}#\n0-9 :\\-]{0,80}") {
        reads_to_the_end(&text);
    }
}

/// `[control]`, whole; and what is wrong with each of its values.
#[test]
fn a_control_run() {
    let text = "
        [control]
        id = \"NET-01\"
        title = \"t\"
        frameworks = [\"PCI DSS 4.0.1 1.2.5\"]
        frequency = \"quarterly\"
        owner = \"o\"
        performer = \"p\"
        reviewer = \"r\"
        hours = [\"22:00-05:00\"]
        timezone = \"Europe/Berlin\"
        ports = \"1-1024\"
        rate_max = 20_000
        attempts = 2
        tile = 1_000_000
    ";
    let control = Config::parse(&Source::new("c.toml", text)).expect("a configuration").control;
    assert_eq!((control.id.as_str(), control.attempts), ("NET-01", 2));
    assert_eq!(control.opening.hours[0].to_string(), "22:00-05:00");
    assert_eq!(control.settings.ports.expect("ports").len(), 1024);
    check(
        "[control]\nhours = [\"22:00\"]\ntimezone = \"Mars\"\nattempts = 0\ntile = 5\nsigning_key = \"k\"\n",
        &[
            "c.toml:1:1: `id` is missing in [control]; add id = \"NET-01\"",
            "c.toml:2:10: `22:00` names no hours of the day; write 22:00-05:00",
            "c.toml:3:12: `Mars` is no time zone that this system knows; write the name of a place, such as \
             Europe/Berlin, or UTC",
            "c.toml:4:12: `attempts` must be a whole number from 1 to 10, but the number 0 stands here; write \
             attempts = 3",
            "c.toml:5:8: `tile` must be a whole number from 1000 to 16777216, but the number 5 stands here; write tile = \
             1_000_000",
            "c.toml:6:1: unknown key `signing_key` in [control]; did you mean `signing_key_file`? known here: id, title, \
             frequency, owner, performer, reviewer, frameworks, hours, timezone, attempts, tile, signing_key_file, \
             ports, rate_max, host_rate, network_rate, tries, engine, interface, banner",
        ],
    );
}
