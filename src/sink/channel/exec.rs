//! `exec`: a program of the operator's. It gets the event as JSON on its standard input, and the least that it takes to
//! decide in its environment; no shell, no other variables, no other descriptors.
//!
//! # What its exit status says
//! - 0: the message is delivered.
//! - 64 to 69, 77, 78 (sysexits.h: the program was called wrongly, or cannot do such a thing): it never will be.
//! - Anything else, 75 (`EX_TEMPFAIL`) above all, and death by a signal: it is tried again.
//!
//! A program that takes longer than the timeout is killed with everything it has started that is still in its process
//! group. What it leaves behind in the background when it ends in time is its own affair.

use std::fmt::Display;
use std::io::{self, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdin, Command, ExitStatus, Stdio};
use std::time::Duration;

use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::ioctl_fionbio;
use rustix::process::{Pid, Signal, kill_process_group};

use super::deadline::Deadline;
use super::{Channel, Delivery};
use crate::sink::message::Message;
use crate::sink::options::ExecOptions;

/// Where programs of the system are.
const PATH: &str = "/usr/bin:/bin";

/// How much of what it says on standard error is told.
const TOLD_MAX: usize = 200;

/// Between two looks whether it has ended, at most.
const NAP: Duration = Duration::from_millis(20);

/// A program of the operator's.
pub struct Exec {
    options: ExecOptions,
    timeout: Duration,
}

impl Exec {
    /// The program of these options, which is not started yet.
    pub fn new(options: ExecOptions, timeout: Duration) -> Self {
        Exec { options, timeout }
    }

    fn run(&self, message: &Message) -> Delivery {
        let Some((program, arguments)) = self.options.command.split_first() else {
            return Delivery::not_now("no program is named; name one by its absolute path");
        };
        if !Path::new(program).is_absolute() {
            return Delivery::not_now(format!("{program} is no absolute path; write the whole one"));
        }
        let started = command(program, arguments, message).spawn();
        let mut running = match started {
            Ok(child) => Running { child, told: Vec::new() },
            Err(cause) => return Delivery::not_now(format!("failed to start {program}: {cause}")),
        };
        let input = message.json().to_string().into_bytes();
        let ended = running.attend(&input, Deadline::after(self.timeout));
        let told = running.told();
        match ended {
            Ok(status) => judge(program, status, &told),
            Err(cause) if cause.kind() == io::ErrorKind::TimedOut => {
                let timeout = self.timeout;
                Delivery::not_now(format!("{program} took longer than {timeout:?} and was killed{told}"))
            }
            Err(cause) => Delivery::not_now(format!("failed to attend to {program}: {cause}{told}")),
        }
    }
}

impl Channel for Exec {
    fn deliver(&mut self, messages: &[Message], _now: Timestamp) -> Vec<Delivery> {
        let mut became = Vec::new();
        for message in messages {
            became.push(self.run(message));
            if !matches!(became.last(), Some(Delivery::Delivered)) {
                break;
            }
        }
        became
    }
}

fn command(program: &str, arguments: &[String], message: &Message) -> Command {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .env("PATH", PATH)
        .env("PORTREEVE_EVENT_ID", message.id().to_string())
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    if let Message::Alert(notice) = message {
        let finding = &notice.alert.finding;
        command
            .env("PORTREEVE_TRANSITION", notice.transition.as_str())
            .env("PORTREEVE_FINGERPRINT", finding.fingerprint.as_str())
            .env("PORTREEVE_SEVERITY", finding.severity.as_str());
    }
    command
}

fn judge(program: &str, status: ExitStatus, told: &dyn Display) -> Delivery {
    match (status.code(), status.signal()) {
        (Some(0), _) => Delivery::Delivered,
        (Some(code @ (64..=69 | 77 | 78)), _) => {
            Delivery::never(format!("{program} ended with status {code}{told}"))
        }
        (Some(code), _) => Delivery::not_now(format!("{program} ended with status {code}{told}")),
        (None, signal) => {
            let signal = signal.unwrap_or_default();
            Delivery::not_now(format!("{program} was killed by signal {signal}{told}"))
        }
    }
}

/// A program that runs. It does not outlive this.
struct Running {
    child: Child,
    told: Vec<u8>,
}

impl Running {
    /// Gives it its input, hears what it says, and waits until it ends.
    fn attend(&mut self, input: &[u8], deadline: Deadline) -> io::Result<ExitStatus> {
        let (mut stdin, mut stderr) = (self.child.stdin.take(), self.child.stderr.take());
        if let Some(pipe) = &stdin {
            ioctl_fionbio(pipe, true)?;
        }
        if let Some(pipe) = &stderr {
            ioctl_fionbio(pipe, true)?;
        }
        let mut rest = input;
        loop {
            feed(&mut stdin, &mut rest)?;
            self.hear(&mut stderr)?;
            if let Some(status) = self.child.try_wait()? {
                self.hear(&mut stderr)?;
                return Ok(status);
            }
            nap(stdin.as_ref(), stderr.as_ref(), deadline.left()?.min(NAP))?;
        }
    }

    fn hear(&mut self, stderr: &mut Option<ChildStderr>) -> io::Result<()> {
        let Some(pipe) = stderr else { return Ok(()) };
        let mut bytes = [0; 4096];
        loop {
            match pipe.read(&mut bytes) {
                Ok(0) => break,
                Ok(len) => {
                    let room = TOLD_MAX.saturating_sub(self.told.len());
                    self.told.extend(bytes.iter().take(len.min(room)));
                    // One that never stops talking is looked after again in the next round.
                    if len == bytes.len() {
                        return Ok(());
                    }
                }
                Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => return Err(cause),
            }
        }
        *stderr = None;
        Ok(())
    }

    /// What it said, ready to stand behind a sentence.
    fn told(&self) -> String {
        let told = String::from_utf8_lossy(&self.told);
        if told.trim().is_empty() { String::new() } else { format!(", saying: {}", told.trim()) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Until it is waited for, nobody else has its number.
        if matches!(self.child.try_wait(), Ok(None)) {
            let group = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
            if group.is_none_or(|group| kill_process_group(group, Signal::KILL).is_err()) {
                let _ = self.child.kill();
            }
            let _ = self.child.wait();
        }
    }
}

/// Writes what fits. A program may close its input without having read it: whether that is an error, it says itself.
fn feed(stdin: &mut Option<ChildStdin>, rest: &mut &[u8]) -> io::Result<()> {
    let Some(pipe) = stdin else { return Ok(()) };
    while !rest.is_empty() {
        match pipe.write(rest) {
            Ok(taken) => *rest = rest.get(taken..).unwrap_or_default(),
            Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
            Err(cause) if cause.kind() == io::ErrorKind::BrokenPipe => break,
            Err(cause) => return Err(cause),
        }
    }
    *stdin = None;
    Ok(())
}

/// Waits until the program reads, says something, or closes anything, and a short while at most.
fn nap(stdin: Option<&ChildStdin>, stderr: Option<&ChildStderr>, longest: Duration) -> io::Result<()> {
    let stdin = stdin.map(|pipe| PollFd::new(pipe, PollFlags::OUT));
    let stderr = stderr.map(|pipe| PollFd::new(pipe, PollFlags::IN));
    let mut pipes: Vec<_> = stdin.into_iter().chain(stderr).collect();
    let longest = Timespec::try_from(longest).map_err(io::Error::other)?;
    match poll(&mut pipes, Some(&longest)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(cause) => Err(cause.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::net::UdpSocket;

    use tempfile::TempDir;

    use super::*;
    use crate::sink::channel::samples::{event, firing, long_event, now};

    const PATIENCE: Duration = Duration::from_secs(20);

    /// What becomes of a message that a shell script is given.
    fn run(script: &str, arguments: &[&Path], message: &Message, timeout: Duration) -> Delivery {
        let mut command = vec!["/bin/sh".to_owned(), "-c".to_owned(), script.to_owned()];
        command.extend(arguments.iter().map(|path| path.to_str().expect("text").to_owned()));
        let mut became =
            Exec::new(ExecOptions { command }, timeout).deliver(std::slice::from_ref(message), now());
        became.remove(0)
    }

    #[test]
    fn a_program_gets_the_event_and_nothing_else() {
        let directory = TempDir::new().expect("a directory");
        let file = |name: &str| directory.path().join(name);
        let read = |name: &str| fs::read_to_string(file(name)).expect("a file");
        // What this process has open is its own affair.
        let _open =
            (fs::File::open("/dev/full").expect("a device"), UdpSocket::bind("127.0.0.1:0").expect("bind"));
        let script = "cat >\"$0/input\"; env >\"$0/env\"; ls -l /proc/self/fd >\"$0/fd\"; pwd >\"$0/pwd\"";
        let message = firing(1);
        assert_eq!(run(script, &[directory.path()], &message, PATIENCE), Delivery::Delivered);
        let input: serde_json::Value = serde_json::from_str(&read("input")).expect("JSON");
        assert_eq!(input, message.json());
        let environment = read("env");
        // A shell adds the last two.
        let mut names: Vec<_> = environment.lines().filter_map(|line| line.split('=').next()).collect();
        names.retain(|name| !["PWD", "_", "SHLVL", "OLDPWD"].contains(name));
        names.sort_unstable();
        let ours =
            ["EVENT_ID", "FINGERPRINT", "SEVERITY", "TRANSITION"].map(|name| format!("PORTREEVE_{name}"));
        assert_eq!(names, [&["PATH".to_owned()], &ours[..]].concat());
        assert!(environment.contains(&format!("PORTREEVE_EVENT_ID={}\n", message.id())));
        assert!(environment.contains("PATH=/usr/bin:/bin\n") && environment.contains("SEVERITY=critical\n"));
        let inherited = read("fd");
        assert!(
            inherited.contains("/fd\n") && !inherited.contains("/dev/full") && !inherited.contains("socket:")
        );
        assert_eq!(read("pwd"), "/\n");
        assert_eq!(run("cat >/dev/null", &[], &event(1, "heartbeat"), PATIENCE), Delivery::Delivered);
    }

    #[test]
    fn its_status_says_what_becomes_of_the_message() {
        for (script, refused, said) in [
            ("exit 1", false, "status 1"),
            ("exit 75", false, "status 75"),
            ("exit 64", true, "status 64"),
            ("exit 69", true, "status 69"),
            ("exit 70", false, "status 70"),
            ("exit 78", true, "status 78"),
            ("exit 255", false, "status 255"),
            ("kill -9 $$", false, "signal 9"),
            ("kill -13 $$", false, "signal 13"),
            ("echo no such pager >&2; exit 1", false, "status 1, saying: no such pager"),
            ("printf 'a\\033[31m\\n%0500d' 0 >&2; exit 1", false, "saying: a\\x1b[31m\\n000"),
        ] {
            let (why, is_refused) = match run(script, &[], &firing(1), PATIENCE) {
                Delivery::Retry { why, .. } => (why, false),
                Delivery::Refused { why } => (why, true),
                Delivery::Delivered | Delivery::Untried => panic!("{script} was taken for a success"),
            };
            assert_eq!(is_refused, refused, "{script}: {why}");
            assert!(why.contains(said) && why.len() < 300, "{script}: {why}");
        }
    }

    #[test]
    fn a_program_that_cannot_be_started_is_named() {
        let command = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        for (words, said) in [
            (&["/nonexistent/pager"][..], "failed to start /nonexistent/pager: No such file"),
            (&["/etc/passwd"], "failed to start /etc/passwd: Permission denied"),
            (&["true"], "no absolute path"),
            (&[], "no program is named"),
        ] {
            let became =
                Exec::new(ExecOptions { command: command(words) }, PATIENCE).deliver(&[firing(1)], now());
            assert!(matches!(&became[..], [Delivery::Retry { why, .. }] if why.contains(said)), "{became:?}");
        }
    }

    #[test]
    fn what_takes_too_long_is_killed_with_all_that_it_has_started() {
        let directory = TempDir::new().expect("a directory");
        let pid = directory.path().join("pid");
        let timeout = Duration::from_millis(500);
        let script = "sleep 1000 & echo $! >\"$0\"; wait";
        let became = run(script, &[&pid], &firing(1), timeout);
        assert!(matches!(&became, Delivery::Retry { why, .. } if why.contains("500ms")), "{became:?}");
        let pid = fs::read_to_string(&pid).expect("a pid");
        // Whoever inherits it may take its time to bury it.
        let gone = || {
            let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
            stat.is_empty() || stat.contains(") Z ")
        };
        assert!(
            (0..100).any(|_| gone() || {
                std::thread::sleep(NAP);
                false
            }),
            "{pid} goes on"
        );
        // Neither one that hears nothing nor one that never stops talking holds anybody up.
        for (script, message) in
            [("sleep 1000", long_event(1, 1 << 20)), ("cat >/dev/null; yes >&2", firing(1))]
        {
            assert!(matches!(run(script, &[], &message, timeout), Delivery::Retry { .. }), "{script}");
        }
    }

    #[test]
    fn its_input_may_be_left_unread_and_its_children_may_stay() {
        let long = long_event(1, 1 << 20);
        for script in ["exec <&-; sleep 0.1; exit 0", "exit 0", "sleep 5 & exit 0", "cat >/dev/null"] {
            let became = run(script, &[], &long, Duration::from_secs(4));
            assert_eq!(became, Delivery::Delivered, "{script}");
        }
    }
}
