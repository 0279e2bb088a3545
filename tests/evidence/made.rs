//! Bundles that are made without a network: the tiles of a run are written as if they had been swept, and the program
//! goes on from there.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use jiff::Timestamp;
use portreeve::config::control::ControlConfig;
use portreeve::config::diagnostic::Source;
use portreeve::config::file::parse_allowlist;
use portreeve::config::settings::Settings;
use portreeve::config::sources::{self, Gathered};
use portreeve::control::conclude::conclude;
use portreeve::control::plan::Request;
use portreeve::control::run::{Ended, Listener, Run};
use portreeve::control::tile::TileMap;
use portreeve::evidence::bundle::{MANIFEST, SIGNATURE, SUMS, digests, sums};
use portreeve::evidence::digest::Digest;
use portreeve::evidence::journal::{ClockState, Performer, What};
use portreeve::evidence::manifest::Manifest;
use portreeve::evidence::plan::SCHEMA;
use portreeve::evidence::sign::Signer;
use portreeve::evidence::sign_off::{Decision, SignOff, add};
use portreeve::evidence::verify::read_manifest;
use portreeve::job::listener::Aside;
use portreeve::policy::allowlist::Allowlist;
use portreeve::sink::secret::SecretPlace;
use portreeve::sweep::report::{Observation, Packets, Report, UnknownReason, Vantage, Verdict};
use portreeve::sweep::run::Progress;
use portreeve::sweep::verified::{AnswersAll, LookReport, Verifications};
use portreeve::sync::SignalFlag;
use portreeve::target::ports::PortSet;
use portreeve::target::state::{Reason, State};
use tempfile::TempDir;
use ulid::Ulid;

/// What a run is to have seen: this host's own loopback network, 32 addresses x 500 ports, in four tiles.
#[derive(Clone, Debug)]
pub struct Options {
    /// Targets that are open and not allowed.
    pub opens: u64,
    /// Of a thousand targets, how many are unknown.
    pub unknown_per_mille: u64,
    /// Until when an exception holds that nobody makes use of.
    pub allow: Option<&'static str>,
    /// Whether everything is allowed.
    pub allow_all: bool,
    /// How many hosts accept every port, the last ones of the network.
    pub answer_all: u8,
    /// Whether it was stopped once, and resumed.
    pub stopped: bool,
    /// The run before.
    pub previous: Option<PathBuf>,
    /// Whether it is signed, and by which key other than the usual one.
    pub signed: bool,
    pub key: Option<&'static str>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            opens: 3,
            unknown_per_mille: 0,
            allow: None,
            allow_all: false,
            answer_all: 0,
            stopped: false,
            previous: None,
            signed: true,
            key: None,
        }
    }
}

/// A bundle.
pub struct Made {
    kept: TempDir,
}

impl Made {
    /// Makes one.
    pub fn new(options: &Options) -> Self {
        let made = Made { kept: tempfile::tempdir().expect("a directory") };
        let allow = options.allow.map_or(String::new(), |until| {
            let about = "hosts = [\"127.0.0.31\"]\nports = [499]\nreason = \"r\"\nowner = \"o\"";
            format!("[[allow]]\n{about}\nexpires = {until}\n")
        });
        let allow = match options.allow_all {
            true => "[[allow]]\nhosts = [\"127.0.0.0/27\"]\nports = \"all\"\nreason = \"r\"\nowner = \"o\"\n"
                .to_owned(),
            false => allow,
        };
        let allowlist =
            Allowlist::new(parse_allowlist(&Source::new("allow.toml", allow)).expect("an allowlist"));
        let control = ControlConfig {
            id: "NET-01".to_owned(),
            tile: std::num::NonZeroU64::new(4000),
            ..ControlConfig::default()
        };
        let previous = options.previous.as_ref().map(|dir| read_manifest(dir).expect("a bundle"));
        let request = Request {
            gathered: gathered(),
            control: &control,
            config: None,
            allowlist: &allowlist,
            watched_ports: PortSet::risky(),
            verify: true,
            senders: None,
            receive_ring_bytes: 1 << 20,
            previous,
            rescan_of: None,
        };
        let run = Run::enter(&request, &made.path(), performer(), now()).expect("a place");
        let mut run = with_tiles(run, options);
        if options.stopped {
            run.enter_journal(&mut Nobody, now(), What::Stopped { why: "a test".to_owned() }).expect("room");
            drop(run);
            run = Run::enter(&request, &made.path(), performer(), now()).expect("it goes on");
        }
        let mut nobody = Nobody;
        let interrupt = SignalFlag::new(false);
        let Ended::Swept(run) = run.sweep(&interrupt, &mut nobody, &now).expect("nothing is left to sweep")
        else {
            panic!("it stopped");
        };
        let signer = options.signed.then(|| {
            let key = made.another_key(options.key.unwrap_or("usual"));
            Signer::load(&SecretPlace::File(key)).expect("a key")
        });
        conclude(*run, signer.as_ref(), ClockState::default(), &mut nobody, now()).expect("a bundle");
        made
    }

    fn path(&self) -> PathBuf {
        self.kept.path().join("evidence")
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        Box::leak(self.path().into_boxed_path())
    }

    /// A file beside it.
    pub fn aside(&self, name: &str) -> PathBuf {
        self.kept.path().join(name)
    }

    /// What whoever has the key can do: changes a file or what the manifest says, and signs all of it again.
    pub fn forge(&self, file: Option<(&str, &[u8])>, change: impl FnOnce(&mut Manifest)) {
        let dir = self.path();
        if let Some((name, bytes)) = file {
            fs::write(dir.join(name), bytes).expect("room");
        }
        let mut manifest = self.manifest();
        manifest.integrity.files = digests(&dir).expect("files");
        change(&mut manifest);
        let bytes = serde_json::to_vec_pretty(&manifest).expect("a manifest");
        fs::write(dir.join(SUMS), sums(&manifest.integrity.files, &Digest::of(&bytes))).expect("room");
        let signer = Signer::load(&SecretPlace::File(usual_key("usual"))).expect("a key");
        fs::write(dir.join(SIGNATURE), signer.sign(&bytes).expect("a signature")).expect("room");
        fs::write(dir.join(MANIFEST), bytes).expect("room");
    }

    /// The digest of its manifest.
    pub fn digest(&self) -> Digest {
        read_manifest(&self.path()).expect("a manifest").1.manifest
    }

    /// What it says.
    pub fn manifest(&self) -> Manifest {
        read_manifest(&self.path()).expect("a manifest").0
    }

    /// The file of those who may sign: whoever has the usual key.
    pub fn signers(&self) -> PathBuf {
        let public = fs::read_to_string(usual_key("usual").with_extension("pub")).expect("a key");
        let path = self.aside("signers");
        fs::write(&path, format!("# who may sign\nnetsec {public}")).expect("room");
        path
    }

    /// A key by its name; each is made once in all tests.
    pub fn another_key(&self, name: &str) -> PathBuf {
        usual_key(name)
    }

    /// Has somebody sign it off.
    pub fn sign_off(&self, key: &Path, statement: &str) {
        let signer = Signer::load(&SecretPlace::File(key.to_owned())).expect("a key");
        let sign_off = SignOff {
            schema: SCHEMA.to_owned(),
            run: self.manifest().plan.run,
            manifest: self.digest(),
            time: now(),
            name: "R. Eviewer".to_owned(),
            role: "reviewer".to_owned(),
            decision: Decision::Accepted,
            statement: statement.to_owned(),
            signer: signer.fingerprint(),
        };
        add(&self.path(), &sign_off, &signer).expect("signed off");
    }
}

/// A key of this name, made by OpenSSH itself, once for all tests of this process.
fn usual_key(name: &str) -> PathBuf {
    use std::sync::{LazyLock, Mutex};
    static KEYS: LazyLock<(TempDir, Mutex<()>)> =
        LazyLock::new(|| (tempfile::tempdir().expect("a directory"), Mutex::new(())));
    let (dir, one_at_a_time) = &*KEYS;
    let _guard = one_at_a_time.lock().expect("nobody fails in there");
    let path = dir.path().join(name);
    if !path.exists() {
        let mut command = Command::new("ssh-keygen");
        command.args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"]).arg(&path);
        assert!(command.status().expect("ssh-keygen is installed (openssh-client)").success());
    }
    path
}

fn now() -> Timestamp {
    Timestamp::now()
}

pub fn performer() -> Performer {
    Performer {
        host: "here".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        program: None,
        config: None,
        clock: ClockState::default(),
    }
}

pub fn gathered() -> Gathered {
    let settings = Settings {
        targets: vec!["127.0.0.0-127.0.0.31".parse().expect("targets")],
        ports: Some("1-500".parse().expect("ports")),
        ..Settings::default()
    };
    let read = sources::read(settings, &mut io::empty()).expect("no files");
    read.resolve(portreeve::config::resolve::system_lookup).expect("no names")
}

/// Writes the tiles of a run that has only been planned, as if they had been swept.
fn with_tiles<'a>(mut run: Run<'a>, options: &Options) -> Run<'a> {
    let plan = run.plan().clone();
    let whole = plan.targets().expect("a scope");
    let mut nobody = Nobody;
    for tile in 1..=plan.grid.tiles() {
        let scope = plan.grid.tile(&whole, tile).expect("a tile");
        let mut map = TileMap::new(&scope);
        for index in 0..scope.len() {
            let target = scope.target(index);
            let number = whole.index_of(target.ip, target.port).expect("in scope");
            let unknown = number % 1000 < options.unknown_per_mille;
            let all = (32 - options.answer_all..32)
                .map(|last| IpAddr::from([127, 0, 0, last]))
                .any(|ip| ip == target.ip);
            let is_open = all || !unknown && number % 777 == 5 && number / 777 < options.opens;
            let reason = match (unknown, is_open) {
                (true, _) => None,
                (false, true) => Some(Reason::SynAck),
                (false, false) => Some(if number % 3 == 0 { Reason::NoResponse } else { Reason::Rst }),
            };
            let observation = Observation {
                target,
                state: reason.map_or(State::Unknown, Reason::state),
                reason,
                unknown: unknown.then_some(UnknownReason::ReceiverDropped),
                tries: 1,
                rtt_us: None,
                ttl: None,
                corrects: false,
            };
            map.observe(now(), tile, &observation);
        }
        let hosts = (32 - options.answer_all..32).map(|last| IpAddr::from([127, 0, 0, last]));
        let hosts = hosts.map(|ip| (ip, AnswersAll { canary_ports: vec![50_001], ..AnswersAll::default() }));
        map.confirm(&Verifications { answers_all: hosts.collect(), ..Verifications::default() });
        run.enter_journal(&mut nobody, now(), swept(tile, &map)).expect("room");
        run.keep(tile, 1, &map, &mut nobody, now()).expect("room");
    }
    run
}

/// That a tile was swept, by a sweep that there was not.
fn swept(tile: u64, map: &TileMap) -> What {
    let vantage = Vantage {
        host: "here".to_owned(),
        engine: "packet".to_owned(),
        engine_reason: "a test".to_owned(),
        interface: None,
        source: None,
        next_hop: None,
    };
    let report = Report {
        sweep: Ulid::generate(),
        shard: None,
        vantage,
        started: now(),
        completed: now(),
        duration_ms: 1000,
        verdict: Verdict::Complete,
        ledger: map.ledger(),
        unknown_reasons: BTreeMap::new(),
        packets: Packets { sent: map.ledger().declared, ..Packets::default() },
        paths: Vec::new(),
    };
    What::TileSwept { tile, attempt: 1, report: Box::new(report), second_look: LookReport::default() }
}

/// Hears nothing.
pub struct Nobody;

impl Aside for Nobody {
    fn waiting(&mut self, _: &str) {}

    fn waited(&mut self) {}

    fn warned(&mut self, what: &dyn Display) {
        panic!("{what}");
    }
}

impl Listener for Nobody {
    fn entered(&mut self, _: &What) -> io::Result<()> {
        Ok(())
    }

    fn progressed(&mut self, _: u64, _: &Progress) -> io::Result<()> {
        Ok(())
    }
}
