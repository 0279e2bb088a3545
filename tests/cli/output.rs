//! Where results go: nothing is written over that the run needs, nothing waits for ever, and no line is half a line.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::{Answer, Service, portreeve, run_in};

const ALLOW: &str = "[[allow]]\nhosts = [\"127.0.0.1\"]\nports = [1]\nreason = \"r\"\nowner = \"o\"\n";

fn directory() -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(directory.path().join("allow.toml"), ALLOW).expect("a file");
    fs::write(directory.path().join("fleet.txt"), "127.0.0.1\n").expect("a file");
    directory
}

fn fifo(directory: &Path) {
    let made = Command::new("mkfifo").arg(directory.join("fifo")).status().expect("mkfifo");
    assert!(made.success());
}

#[test]
fn an_output_that_is_an_input_is_left_alone() {
    let directory = directory();
    let at = |name: &str| directory.path().join(name);
    fs::hard_link(at("allow.toml"), at("hard.toml")).expect("a hard link");
    std::os::unix::fs::symlink("allow.toml", at("soft.toml")).expect("a link");
    for output in ["./allow.toml", "hard.toml", "soft.toml"] {
        for more in [&[][..], &["--dry-run"], &["--dry-run", "--format", "csv"]] {
            let line =
                ["sweep", "127.0.0.1", "--ports", "1", "--allowlist", "allow.toml", "--output", output];
            let answer = run_in(directory.path(), &[&line, more].concat());
            assert_eq!(answer.status, Some(2), "{output} {more:?}: {}", answer.stderr);
            let says = format!("--output {output} is allow.toml itself; choose another file");
            assert!(answer.stderr.contains(&says), "{}", answer.stderr);
            assert_eq!(fs::read_to_string(at("allow.toml")).expect("a file"), ALLOW, "{output} {more:?}");
        }
    }
    for target in ["@fleet.txt", "-"] {
        let mut command = portreeve(directory.path());
        command.args(["sweep", target, "--ports", "1", "--dry-run", "--output", "fleet.txt"]);
        command.stdin(fs::File::open(at("fleet.txt")).expect("a file"));
        let answer = Answer::of(&command.output().expect("the program starts"));
        assert_eq!(answer.status, Some(2), "{target}: {}", answer.stderr);
        assert_eq!(fs::read_to_string(at("fleet.txt")).expect("a file"), "127.0.0.1\n");
    }
}

#[test]
fn an_output_of_a_run_that_cannot_be_is_left_alone() {
    let directory = directory();
    let line = ["sweep", "127.0.0.1", "--interface", "no-such0", "--output", "allow.toml"];
    let answer = run_in(directory.path(), &line);
    assert_eq!(answer.status, Some(2), "{}", answer.stderr);
    assert_eq!(fs::read_to_string(directory.path().join("allow.toml")).expect("a file"), ALLOW);
}

#[test]
fn a_fifo_is_opened_once_and_gets_everything() {
    let service = Service::open("127.77.6.1");
    let directory = directory();
    fifo(directory.path());
    for format in ["text", "jsonl", "csv"] {
        let mut reader = Command::new("cat");
        reader.arg(directory.path().join("fifo")).stdout(Stdio::piped());
        let mut command = portreeve(directory.path());
        command.args(["sweep", "127.77.6.1", "--ports", &service.port(), "--output", "fifo"]);
        let child = command.args(["--format", format]).stderr(Stdio::piped()).spawn().expect("a start");
        // So that the sweep is the one who waits.
        thread::sleep(Duration::from_millis(200));
        let read = reader.output().expect("cat");
        let answer = Answer::of(&child.wait_with_output().expect("an end"));
        assert_eq!(answer.status, Some(1), "{format}: {answer:?}");
        let text = String::from_utf8(read.stdout).expect("text");
        assert!(text.contains(&format!("{}/tcp is open", service.at)), "{format}: {text}");
    }
}

#[test]
fn a_fifo_that_nobody_reads_holds_no_sweep_against_a_signal() {
    let directory = directory();
    fifo(directory.path());
    for (signal, more) in [("TERM", &[][..]), ("INT", &[]), ("TERM", &["--dry-run"])] {
        let mut command = portreeve(directory.path());
        command.args(["sweep", "127.0.0.1", "--ports", "1", "--output", "fifo"]).args(more);
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the program starts");
        thread::sleep(Duration::from_millis(300));
        assert!(child.try_wait().expect("a state").is_none(), "it waits for a reader");
        let kill = ["-s", signal, &child.id().to_string()];
        assert!(Command::new("kill").args(kill).status().expect("kill").success());
        let asked = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().expect("a state") {
                break status;
            }
            if asked.elapsed() > Duration::from_secs(5) {
                child.kill().expect("a kill");
                panic!("{signal} {more:?} did not end it");
            }
            thread::sleep(Duration::from_millis(10));
        };
        let mut said = String::new();
        child.stderr.take().expect("a pipe").read_to_string(&mut said).expect("text");
        if more.is_empty() {
            assert_eq!(status.code(), Some(2), "{said}");
            assert!(
                said.contains("interrupted before anybody read fifo, a FIFO; nothing was sent"),
                "{said}"
            );
        } else {
            assert!(!status.success());
        }
    }
}

/// A limit of the size of files is as good as a full disk.
#[test]
fn a_full_disk_leaves_whole_lines() {
    let directory = directory();
    for format in ["jsonl", "csv"] {
        let program = env!("CARGO_BIN_EXE_portreeve");
        let script = format!(
            "trap '' XFSZ; ulimit -f 1; exec '{program}' sweep 198.18.0.0/24 --dry-run --format {format} --output out"
        );
        let mut command = Command::new("bash");
        command.args(["-c", &script]).current_dir(directory.path());
        let answer = Answer::of(&command.output().expect("bash"));
        assert_eq!(answer.status, Some(2), "{answer:?}");
        let says = "cannot write to out: File too large";
        assert!(answer.stderr.contains(says), "{}", answer.stderr);
        let text = fs::read_to_string(directory.path().join("out")).expect("a file");
        assert!(text.ends_with('\n') && text.len() > 900, "{format}: {text}");
    }
}
