//! The lab for integration tests: a network with a known truth, taken down when its command ends.
//!
//! Each test program uses its own part of this.
#![allow(dead_code)]

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Output, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};

/// What a correct sweep of a lab finds, as its truth file says.
#[derive(Debug, Default)]
pub struct Truth {
    parts: Vec<Part>,
    opens: BTreeSet<(IpAddr, u16)>,
    default: Option<(&'static str, &'static str)>,
}

/// A network, or one port of it, whose targets are all in one state.
#[derive(Debug)]
struct Part {
    base: u128,
    mask: u128,
    is_v4: bool,
    port: Option<u16>,
    said: (&'static str, &'static str),
}

impl Part {
    fn new(net: &str, port: Option<u16>, said: (&'static str, &'static str)) -> Option<Self> {
        let (base, prefix) = net.split_once('/')?;
        let base: IpAddr = base.parse().ok()?;
        let width = if base.is_ipv4() { 32 } else { 128 };
        let host_bits = u32::checked_sub(width, prefix.parse().ok()?)?;
        let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
        Some(Self { base: number(base) & mask, mask, is_v4: base.is_ipv4(), port, said })
    }

    fn has(&self, ip: IpAddr, port: u16) -> bool {
        ip.is_ipv4() == self.is_v4
            && number(ip) & self.mask == self.base
            && self.port.is_none_or(|own| own == port)
    }
}

fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_bits().into(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

impl Truth {
    /// Reads a truth file. A line that is not understood is a mistake of the lab, so that it ends the test.
    pub fn load(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        Self::parse(&text)
    }

    /// Understands the text of a truth file.
    pub fn parse(text: &str) -> Self {
        let mut truth = Self::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            truth.add(line).unwrap_or_else(|| panic!("a line of the truth file makes no sense: {line}"));
        }
        truth
    }

    fn add(&mut self, line: &str) -> Option<()> {
        match *line.split(' ').collect::<Vec<_>>() {
            ["net", net, state, reason] => {
                self.parts.push(Part::new(net, None, (known(state)?, known(reason)?))?);
            }
            ["port", net, port, state, reason] => {
                let port = port.parse().ok()?;
                self.parts.push(Part::new(net, Some(port), (known(state)?, known(reason)?))?);
            }
            ["open", address, port] => {
                self.opens.insert((address.parse().ok()?, port.parse().ok()?));
            }
            ["default", state, reason] => self.default = Some((known(state)?, known(reason)?)),
            _ => return None,
        }
        Some(())
    }

    /// The state of a target and the reason for it: `("open", "syn-ack")`, `("closed", "rst")`,
    /// `("filtered", "no-response")`, `("filtered", "icmp-admin-prohibited")` or `("unreachable", "no-neighbour")`.
    pub fn state(&self, ip: impl Into<IpAddr>, port: u16) -> (&'static str, &'static str) {
        let ip = ip.into();
        if let Some(part) = self.parts.iter().find(|part| part.has(ip, port)) {
            return part.said;
        }
        if self.opens.contains(&(ip, port)) {
            return ("open", "syn-ack");
        }
        self.default.expect("the truth file has a default")
    }

    /// The open targets in ascending order, those of IPv4 first.
    pub fn opens(&self) -> impl Iterator<Item = (IpAddr, u16)> {
        self.opens.iter().copied()
    }
}

/// The words that a truth file may hold.
fn known(word: &str) -> Option<&'static str> {
    const WORDS: [&str; 7] =
        ["filtered", "closed", "unreachable", "no-response", "icmp-admin-prohibited", "rst", "no-neighbour"];
    WORDS.into_iter().find(|&known| known == word)
}

/// A script of the checkout: of the one that this program was built in, unless the environment names another, as cargo
/// does when it runs tests. Without that, nobody could run them who may not look into the checkout.
pub fn script(name: &str) -> PathBuf {
    let built_in = || PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let checkout = std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(built_in, PathBuf::from);
    checkout.join("scripts").join(name)
}

/// The program under test, which may lie elsewhere than it was built for the same reason.
pub fn portreeve() -> String {
    let built_in = || env!("CARGO_BIN_EXE_portreeve").to_owned();
    std::env::var("CARGO_BIN_EXE_portreeve").unwrap_or_else(|_| built_in())
}

/// An engine that the program is told to use.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Engine {
    /// The kernel's own connections.
    Connect,
    /// Packet sockets.
    Packet,
    /// XDP.
    Xdp,
}

impl Engine {
    /// Its name, as `--engine` takes it.
    pub const fn name(self) -> &'static str {
        match self {
            Engine::Connect => "connect",
            Engine::Packet => "packet",
            Engine::Xdp => "xdp",
        }
    }
}

/// Says what this machine lacks for a lab, by trying to build a tiny one. `None` means that labs work here.
pub fn missing_for_lab() -> Option<String> {
    missing_for(&["check"])
}

/// The same of a lab that is to be swept by XDP.
pub fn missing_for_xdp() -> Option<String> {
    missing_for(&["check", "--xdp"])
}

fn missing_for(check: &[&str]) -> Option<String> {
    let output = match Command::new(script("lab.sh")).args(check).stdin(Stdio::null()).output() {
        Ok(output) => output,
        Err(e) => return Some(format!("bash ({e})")),
    };
    if output.status.success() {
        return None;
    }
    let said = String::from_utf8_lossy(&output.stdout);
    let named = said.lines().find_map(|line| line.strip_prefix("missing: "));
    Some(named.map_or_else(|| format!("a working lab ({})", output.status), str::to_owned))
}

/// A test that needs a lab: where something is missing for one, it is shown as ignored, and its kind says why.
pub fn trial(name: &str, test: impl FnOnce() + Send + 'static, missing: Option<&str>) -> Trial {
    let trial = Trial::test(name, move || {
        test();
        Ok::<(), Failed>(())
    });
    match missing {
        Some(what) => trial.with_kind(format!("missing: {what}")).with_ignored_flag(true),
        None => trial,
    }
}

/// How many labs are up at a time where they leave each other room: their cases wait for what does not answer, for a
/// link to come back, for a sweep that is slow on purpose, and hardly ever for a processor.
pub const MANY: usize = 10;

/// One at a time: whatever measures, or takes all of the machine.
pub const ALONE: usize = 1;

/// Runs groups of cases one after another, each with so many of its cases at a time, or fewer if the command line says
/// so. All of them are run, whatever fails.
pub fn run(mut arguments: Arguments, groups: impl IntoIterator<Item = (usize, Vec<Trial>)>) -> ExitCode {
    let most = arguments.test_threads.unwrap_or(usize::MAX);
    let mut failed = None;
    for (at_a_time, trials) in groups {
        arguments.test_threads = Some(at_a_time.min(most));
        let conclusion = libtest_mimic::run(&arguments, trials);
        if conclusion.has_failed() {
            failed.get_or_insert(conclusion.exit_code());
        }
    }
    failed.unwrap_or(ExitCode::SUCCESS)
}

/// A lab to come: its options, and the time that its command may take.
#[derive(Clone, Debug)]
pub struct Lab {
    options: Vec<String>,
    environment: Vec<(String, String)>,
    timeout: Duration,
}

impl Default for Lab {
    fn default() -> Self {
        Self::new()
    }
}

impl Lab {
    /// The default lab, whose command may take a minute.
    pub fn new() -> Self {
        // A plain `cargo test` builds the examples too; `cargo test --test NAME` alone does not.
        let fleet = std::env::current_exe().ok().and_then(|test| {
            let fleet = test.parent()?.parent()?.join("examples/lab-fleet");
            fleet.is_file().then_some(fleet)
        });
        let lab = Self { options: Vec::new(), environment: Vec::new(), timeout: Duration::from_secs(60) };
        match fleet {
            Some(fleet) => lab.option("--fleet", &fleet.to_string_lossy()),
            None => lab,
        }
    }

    /// Gives any option of `scripts/lab.sh`.
    pub fn option(mut self, name: &str, value: &str) -> Self {
        self.options.extend([name.to_owned(), value.to_string()]);
        self
    }

    /// Gives an option of `scripts/lab.sh` that has no value.
    pub fn flag(mut self, name: &str) -> Self {
        self.options.push(name.to_owned());
        self
    }

    /// A lab that this engine can sweep.
    pub fn swept_by(self, engine: Engine) -> Self {
        if engine == Engine::Xdp { self.flag("--xdp") } else { self }
    }

    /// The network that the fleet answers.
    pub fn network(self, network: &str) -> Self {
        self.option("--network", network)
    }

    /// Chooses which targets are open.
    pub fn seed(self, seed: u64) -> Self {
        self.option("--seed", &seed.to_string())
    }

    /// How many targets are open.
    pub fn open(self, count: usize) -> Self {
        self.option("--open", &count.to_string())
    }

    /// Random loss in percent, away from the scanner and back to it.
    pub fn loss(self, out: f64, back: f64) -> Self {
        self.option("--loss-out", &out.to_string()).option("--loss-back", &back.to_string())
    }

    /// A directory that keeps the truth file after the end of the lab.
    pub fn dir(self, dir: &Path) -> Self {
        self.option("--dir", &dir.to_string_lossy())
    }

    /// Sets a variable for the command.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_string()));
        self
    }

    /// How long the lab and its command may take together.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Starts the lab and its command, both of which end at the latest when the child is killed.
    pub fn spawn<S: AsRef<std::ffi::OsStr>>(&self, command: &[S]) -> io::Result<Child> {
        Command::new(script("lab.sh"))
            .arg("run")
            .args(&self.options)
            .arg("--")
            .args(command)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
    }

    /// Runs a command in `scan` and waits for it.
    ///
    /// # Panics
    ///
    /// When the lab cannot be started, and when the command takes too long: its output so far is in the message.
    pub fn run<S: AsRef<std::ffi::OsStr>>(&self, command: &[S]) -> Output {
        let mut child = self.spawn(command).expect("scripts/lab.sh can be started");
        let stdout = collect(child.stdout.take().expect("standard output is a pipe"));
        let stderr = collect(child.stderr.take().expect("standard error is a pipe"));
        let deadline = Instant::now() + self.timeout;
        let mut late = false;
        let status = loop {
            if let Some(status) = child.try_wait().expect("the lab can be waited for") {
                break status;
            }
            if !late && Instant::now() >= deadline {
                late = true;
                child.kill().expect("the lab can be killed");
            }
            thread::sleep(Duration::from_millis(5));
        };
        let finish = |reader: JoinHandle<Vec<u8>>| reader.join().expect("a pipe can be read");
        let output = Output { status, stdout: finish(stdout), stderr: finish(stderr) };
        assert!(!late, "the lab took longer than {:?}\n{}", self.timeout, describe(&output));
        output
    }
}

/// Reads a pipe to its end beside the waiting, so that a talkative command never stops at a full pipe.
fn collect(mut pipe: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before an error still helps to understand a failure.
        let _ = pipe.read_to_end(&mut bytes);
        bytes
    })
}

/// Everything that a command said, for the message of a failed assertion.
pub fn describe(output: &Output) -> String {
    format!(
        "{}\n--- stdout\n{}\n--- stderr\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Finds a named counter in the output of `nft list ruleset` (or `nft list counters`) in the router.
pub fn counter(ruleset: &str, name: &str) -> u64 {
    let head = format!("counter {name} {{");
    let mut lines = ruleset.lines().skip_while(|line| line.trim() != head).skip(1);
    let packets = lines.next().and_then(|line| line.trim().strip_prefix("packets "));
    let packets = packets.and_then(|rest| rest.split(' ').next()).and_then(|number| number.parse().ok());
    packets.unwrap_or_else(|| panic!("no counter {name} in:\n{ruleset}"))
}
