//! What is packed beside the program: examples that the program accepts, a page for each command, and scripts of the
//! package that do no more than they should. The package itself is looked at by `packaging/check-deb.sh`.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The networks that examples may name: all of them are kept for documentation and tests.
const FREE_OF_OWNERS: [&str; 3] = ["192.0.2.", "198.18.", "198.19."];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn portreeve(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_portreeve")).args(args).output().expect("the program starts")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|cause| panic!("{}: {cause}", path.display()))
}

/// The files of a directory, in order.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("a directory");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
}

/// Every file of the examples, and the configuration that the package begins with.
fn examples() -> Vec<PathBuf> {
    let mut examples = files(&root().join("packaging/examples"));
    examples.push(root().join("packaging/portreeve.toml"));
    examples
}

fn check(file: &Path) -> Output {
    portreeve(&["config", "check", file.to_str().expect("a name")])
}

// --- examples --------------------------------------------------------------------------------------------------

#[test]
fn every_example_is_accepted_with_all_that_it_names() {
    let configurations: Vec<_> =
        examples().into_iter().filter(|file| file.extension().is_some_and(|end| end == "toml")).collect();
    assert!(configurations.len() >= 5, "{configurations:?}");
    for file in configurations {
        let answer = check(&file);
        assert_eq!((answer.status.code(), text(&answer.stderr)), (Some(0), ""), "{}", file.display());
    }
    for (name, counts, swept) in [
        ("small-fleet.toml", "allowances 2, expectations 1, ", "507 addresses x 6 ports"),
        // A /16 and a /116, without a /24 and ten addresses, and two from the inventory.
        ("large-fleet.toml", "allowances 3, expectations 1, ", "69368 addresses x 6 ports"),
    ] {
        let answer = check(&root().join("packaging/examples").join(name));
        let said = text(&answer.stdout);
        assert!(said.contains(counts) && said.contains(swept), "{name}: {said}");
    }
}

#[test]
fn what_the_package_begins_with_works_once_the_comment_signs_are_gone() {
    let begun = read(&root().join("packaging/portreeve.toml"));
    let settings = |line: &str| line.starts_with('#') && !line.starts_with("# ") && line.len() > 1;
    let lines: Vec<_> = begun.lines().map(|line| if settings(line) { &line[1..] } else { line }).collect();
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("portreeve.toml");
    fs::write(&file, lines.join("\n")).expect("a file");
    let answer = check(&file);
    assert_eq!((answer.status.code(), text(&answer.stderr)), (Some(0), ""));
    let said = text(&answer.stdout);
    assert!(said.contains("256 addresses x 6 ports") && said.contains("allowances 1, "), "{said}");
    // As it is, it watches nothing and says so.
    let answer =
        portreeve(&["watch", "--config", root().join("packaging/portreeve.toml").to_str().expect("a name")]);
    assert_eq!(answer.status.code(), Some(2));
    assert!(text(&answer.stderr).contains("no [scope] says what to watch"), "{}", text(&answer.stderr));
}

#[test]
fn examples_name_nobodys_addresses_and_hold_no_secret() {
    for file in examples() {
        let text = read(&file);
        for word in text.split(|sign: char| !(sign.is_ascii_hexdigit() || ".:".contains(sign))) {
            let is_v4 = word.split('.').count() == 4
                && word.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
            let is_known = FREE_OF_OWNERS.iter().any(|network| word.starts_with(network));
            assert!(!is_v4 || is_known, "{}: {word}", file.display());
            let is_v6 = word.contains("::");
            assert!(!is_v6 || word.starts_with("2001:db8:"), "{}: {word}", file.display());
        }
        for host in text
            .split(['"', ' ', '@', '/'])
            .filter(|word| word.contains(".example.") || word.ends_with(".com"))
        {
            assert!(host.ends_with("example.com"), "{}: {host}", file.display());
        }
        for line in text.lines().filter(|line| line.contains("_file =")) {
            assert!(line.contains("\"credential:"), "{}: {line}", file.display());
        }
    }
}

// --- manual pages ----------------------------------------------------------------------------------------------

#[test]
fn each_command_has_a_page_and_each_page_that_is_named_is_there() {
    let directory = tempfile::tempdir().expect("a directory");
    let to = directory.path().join("new/man");
    let answer = portreeve(&["man", "--out", to.to_str().expect("a name")]);
    assert_eq!((answer.status.code(), text(&answer.stdout), text(&answer.stderr)), (Some(0), "", ""));
    let pages = files(&to);
    let names: BTreeSet<_> = pages
        .iter()
        .map(|page| page.file_name().expect("a name").to_str().expect("text").to_owned())
        .collect();
    for page in ["portreeve.1", "portreeve-sweep.1", "portreeve-watch.1", "portreeve-silence-add.1"] {
        assert!(names.contains(page), "{page} is not in {names:?}");
    }
    let mut named = BTreeSet::from(["portreeve.1".to_owned()]);
    for page in &pages {
        let text = read(page);
        let title = format!(
            "\n.TH {} 1 \" \" \"portreeve {}\" \"User Commands\"\n",
            page.file_stem().expect("a name").to_str().expect("text"),
            env!("CARGO_PKG_VERSION")
        );
        assert!(text.contains(&title), "{}: {}", page.display(), &text[..200]);
        let others = text.lines().filter_map(|line| line.strip_suffix("(1)"));
        named.extend(others.map(|name| format!("{}.1", name.replace('\\', ""))));
    }
    assert_eq!(named, names, "pages that are named, and those that are there");

    let taken = directory.path().join("taken");
    fs::write(&taken, "").expect("a file");
    let answer = portreeve(&["man", "--out", taken.to_str().expect("a name")]);
    assert_eq!(answer.status.code(), Some(2));
    assert!(text(&answer.stderr).contains("failed to write manual pages into"), "{}", text(&answer.stderr));
}

// --- the package -----------------------------------------------------------------------------------------------

/// What Cargo.toml says of the package.
fn metadata() -> toml::Table {
    let manifest: toml::Table = read(&root().join("Cargo.toml")).parse().expect("a manifest");
    manifest["package"]["metadata"]["deb"].as_table().expect("a table").clone()
}

#[test]
fn what_is_packed_is_there_and_lies_where_the_units_look_for_it() {
    let metadata = metadata();
    let mut placed = BTreeSet::new();
    for asset in metadata["assets"].as_array().expect("a list") {
        let [from, to, mode] = [0, 1, 2].map(|part| asset[part].as_str().expect("text"));
        let is_made = from.starts_with("target/release/");
        let file = root().join(from.trim_end_matches('*'));
        assert!(is_made || file.exists(), "{from} is not there");
        assert_eq!(mode, if to == "usr/bin/" { "755" } else { "644" }, "{from}");
        let name = Path::new(from).file_name().expect("a name").to_str().expect("text");
        placed.insert(if to.ends_with('/') { format!("/{to}{name}") } else { format!("/{to}") });
    }
    for conffile in metadata["conf-files"].as_array().expect("a list") {
        assert!(placed.contains(conffile.as_str().expect("text")), "{conffile} is not packed");
    }
    for unit in ["portreeve.service", "portreeve-once.service"] {
        assert!(placed.contains(&format!("/usr/lib/systemd/system/{unit}")), "{unit} is not packed");
        let unit = read(&root().join("packaging").join(unit));
        let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).expect("a command");
        for file in start.split(' ').filter(|word| word.starts_with('/')) {
            assert!(placed.contains(file), "{file} is not packed: {start}");
        }
    }
    assert!(placed.contains("/usr/lib/systemd/system/portreeve-once.timer"));
}

#[test]
fn the_drop_in_gives_the_daemon_what_the_xdp_engine_needs() {
    let dropped = read(&root().join("packaging/examples/portreeve-xdp.conf"));
    let unit = read(&root().join("packaging/portreeve.service"));
    let values = |text: &str, key: &str| -> Vec<String> {
        let lines = text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        lines.flat_map(str::split_whitespace).map(str::to_owned).collect()
    };
    // Sets of capabilities add up.
    for key in ["AmbientCapabilities", "CapabilityBoundingSet"] {
        let all: BTreeSet<_> = [values(&unit, key), values(&dropped, key)].concat().into_iter().collect();
        let needed = ["CAP_BPF", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_PERFMON"].map(str::to_owned);
        assert_eq!(all, BTreeSet::from(needed), "{key}");
    }
    // The program has one of its own from the package, so the others must be handed down by its file.
    let own = read(&root().join("packaging/debian/postinst"));
    assert!(own.contains("setcap cap_net_raw+ep "), "the package gives something else now");
    let start = values(&unit, "ExecStart");
    let expected = format!(
        "+/usr/sbin/setcap \"cap_net_raw=ep cap_bpf,cap_net_admin,cap_perfmon=ei\" {}",
        start.first().expect("a program")
    );
    assert_eq!(values(&dropped, "ExecStartPre").join(" "), expected);
    // What the unit forbids of system calls is allowed behind it.
    assert!(values(&unit, "SystemCallFilter").contains(&"~@privileged".to_owned()));
    assert!(values(&dropped, "SystemCallFilter").contains(&"bpf".to_owned()), "{dropped}");
}

/// What a maintainer script does to a machine on which all programs do nothing but note how they were called. Those of
/// these names fail, or those that are called with these words first.
fn calls(script: &str, args: &[&str], failing: &[&str]) -> (Option<i32>, Vec<String>) {
    let directory = tempfile::tempdir().expect("a directory");
    for program in ["setcap", "deb-systemd-helper", "deb-systemd-invoke", "systemctl", "rm"] {
        let file = directory.path().join(program);
        let notes = directory.path().join("notes");
        let mut body = format!("#!/bin/sh\necho \"{program} $*\" >>'{}'\n", notes.display());
        for words in failing {
            body += &format!("case \"{program} $*\" in \"{words} \"*) exit 1 ;; esac\n");
        }
        fs::write(&file, body).expect("a file");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("a right");
    }
    let mut command = Command::new("/bin/sh");
    command.arg(root().join("packaging/debian").join(script)).args(args);
    let answer = command.env("PATH", directory.path()).output().expect("a shell");
    let notes = fs::read_to_string(directory.path().join("notes")).unwrap_or_default();
    (answer.status.code(), notes.lines().map(str::to_owned).collect())
}

#[test]
fn an_installation_gives_the_capability_and_starts_nothing() {
    // As Debian's own helper has it: what was never installed counts as enabled.
    let (status, calls) = calls("postinst", &["configure", ""], &["deb-systemd-helper debian-installed"]);
    assert_eq!(status, Some(0));
    assert_eq!(calls[0], "setcap cap_net_raw+ep /usr/bin/portreeve");
    let starting = |call: &&String| ["start", " enable"].iter().any(|word| call.contains(word));
    assert_eq!(calls.iter().find(starting), None, "{calls:?}");
}

#[test]
fn an_upgrade_keeps_enabled_what_was() {
    let (status, calls) = calls("postinst", &["configure", "0.0.9"], &[]);
    assert_eq!(status, Some(0));
    assert!(calls.contains(&"deb-systemd-helper enable portreeve.service".to_owned()), "{calls:?}");
}

#[test]
fn a_file_system_without_capabilities_does_not_keep_the_package_out() {
    assert_eq!(calls("postinst", &["configure", ""], &["setcap"]).0, Some(0));
}

#[test]
fn only_a_purge_takes_what_was_known() {
    for (script, args) in [
        ("postrm", &["remove"][..]),
        ("postrm", &["upgrade", "0.2.0"]),
        ("prerm", &["remove"]),
        ("prerm", &["upgrade", "0.2.0"]),
    ] {
        let (status, calls) = calls(script, args, &[]);
        assert_eq!(status, Some(0), "{script}");
        assert!(!calls.iter().any(|call| call.starts_with("rm ")), "{script} {args:?}: {calls:?}");
    }
    let (status, calls) = calls("postrm", &["purge"], &[]);
    assert_eq!(status, Some(0));
    let taken: Vec<_> = calls.iter().filter_map(|call| call.strip_prefix("rm -rf ")).collect();
    let expected =
        ["/var/lib/private/portreeve /var/log/private/portreeve", "/var/lib/portreeve /var/log/portreeve"];
    assert_eq!(taken, expected);
}
