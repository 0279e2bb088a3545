//! The program as its users meet it: the real binary, its exit status and its words. Packets go to 127.0.0.0/8 only.

mod bad_input;
mod dry_run;
mod formats;
mod handle;
mod import;
mod other;
mod output;
mod sweep;
mod targets;

#[path = "../schema/mod.rs"]
mod schema;

#[path = "../receivers/notices.rs"]
mod notices;

use std::io::Write;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// The program, where nothing of the tester's own terminal reaches it.
fn portreeve(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portreeve"));
    for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "TERM"] {
        command.env_remove(name);
    }
    command.env("COLUMNS", "100").current_dir(directory).stdin(Stdio::null());
    command
}

/// What a command line gives in this directory.
fn run_in(directory: &Path, args: &[&str]) -> Answer {
    Answer::of(&portreeve(directory).args(args).output().expect("the program starts"))
}

/// What a command line gives.
fn run(args: &[&str]) -> Answer {
    run_in(Path::new(env!("CARGO_MANIFEST_DIR")), args)
}

/// What a command line gives in this directory, with this on its standard input.
fn run_fed(directory: &Path, args: &[&str], input: &str) -> Answer {
    let mut child = portreeve(directory)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("a reader");
    Answer::of(&child.wait_with_output().expect("an end"))
}

/// What the program said and how it ended.
#[derive(Debug)]
struct Answer {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Answer {
    fn of(output: &Output) -> Self {
        Answer {
            status: output.status.code(),
            stdout: String::from_utf8(output.stdout.clone()).expect("text"),
            stderr: String::from_utf8(output.stderr.clone()).expect("text"),
        }
    }

    /// The events on standard output.
    fn events(&self) -> Vec<serde_json::Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }
}

/// A listener on an address of the loopback network that nothing else uses.
struct Service {
    listener: TcpListener,
    at: SocketAddr,
}

impl Service {
    fn open(ip: &str) -> Self {
        let ip: IpAddr = ip.parse().expect(ip);
        let listener = TcpListener::bind((ip, 0)).expect("a free port");
        listener.set_nonblocking(true).expect("a flag");
        let at = listener.local_addr().expect("an address");
        Service { listener, at }
    }

    /// Whether a connection has reached it since it was asked last. One that was reset meanwhile counts.
    fn was_reached(&self) -> bool {
        self.listener.accept().is_ok()
    }

    fn port(&self) -> String {
        self.at.port().to_string()
    }
}
