//! Channels against receivers that are not ours: rsyslog and Exim, as Debian packages them, run from a temporary
//! directory on the loopback; and a disk that is full. What cannot run here is reported as ignored, with the reason.

#[path = "receivers/authority.rs"]
mod certificates;
#[path = "receivers/messages.rs"]
mod messages;

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use certificates::Authority;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use messages::{alert, channel, deliver, failure};
use portreeve::sink::message::Message;
use portreeve::sink::options::{
    EmailOptions, Encryption, FileOptions, SinkKind, SyslogOptions, SyslogTransport, TlsOptions,
};
use portreeve::sink::secret::SecretPlace;
use serde_json::Value;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(20);

/// Tells this program to be the one case that needs a file system of its own.
const INSIDE: &str = "PORTREEVE_FULL_DISK";

type Case = (&'static str, &'static [&'static str], fn());

const CASES: &[Case] = &[
    ("rsyslog_by_tcp", &[RSYSLOG], rsyslog_by_tcp),
    ("rsyslog_by_udp", &[RSYSLOG], rsyslog_by_udp),
    ("rsyslog_by_tls", &[RSYSLOG, GNUTLS], rsyslog_by_tls),
    ("rsyslog_that_is_stopped_and_started", &[RSYSLOG], rsyslog_that_is_stopped_and_started),
    ("exim_by_starttls", &[EXIM], exim_by_starttls),
    ("exim_by_tls", &[EXIM], exim_by_tls),
    ("a_full_disk_takes_whole_lines", &[], a_full_disk_takes_whole_lines),
];

const RSYSLOG: &str = "/usr/sbin/rsyslogd";
const GNUTLS: &str = "/usr/lib/x86_64-linux-gnu/rsyslog/lmnsd_gtls.so";
const EXIM: &str = "/usr/sbin/exim4";

fn main() -> ExitCode {
    if let Ok(directory) = std::env::var(INSIDE) {
        full_disk(Path::new(&directory));
        return ExitCode::SUCCESS;
    }
    let trial = |&(name, needs, run): &Case| Trial::ignorable_test(name, move || attempt(needs, run));
    let trials = CASES.iter().map(trial).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn attempt(needs: &[&str], run: fn()) -> Result<Completion, Failed> {
    let is_root = fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    if !is_root {
        return Ok(Completion::ignored_with("needs root"));
    }
    match needs.iter().find(|need| !Path::new(need).exists()) {
        Some(need) => Ok(Completion::ignored_with(format!("missing: {need}"))),
        None => {
            run();
            Ok(Completion::Completed)
        }
    }
}

/// A program that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(program: &str, arguments: &[&str], port: u16, said: &Path) -> Running {
    let file = fs::File::create(said).expect("a file");
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(file.try_clone().expect("a file")).stderr(file);
    let mut running = Running(command.spawn().expect("start it"));
    until("it listens", || {
        let ended = running.0.try_wait().expect("its state");
        assert_eq!(ended, None, "{}", fs::read_to_string(said).unwrap_or_default());
        let datagrams = fs::read_to_string("/proc/net/udp").expect("sockets");
        TcpStream::connect(("127.0.0.1", port)).is_ok() || datagrams.contains(&format!(":{port:04X} "))
    });
    running
}

fn until(what: &str, is_so: impl FnMut() -> bool) {
    let (begun, mut is_so) = (Instant::now(), is_so);
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what}, not in time");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port()
}

// --- rsyslog ---------------------------------------------------------------------------------------------------

/// What rsyslog makes of each message, taken apart by its own parser.
const TEMPLATE: &str = r#"template(name="parts" type="list") {
    constant(value="{\"severity\":\"") property(name="syslogseverity")
    constant(value="\",\"facility\":\"") property(name="syslogfacility")
    constant(value="\",\"app\":\"") property(name="app-name" format="json")
    constant(value="\",\"msgid\":\"") property(name="msgid" format="json")
    constant(value="\",\"time\":\"") property(name="timereported" dateFormat="rfc3339")
    constant(value="\",\"sd\":\"") property(name="structured-data" format="json")
    constant(value="\",\"parsed\":") property(name="$!rfc5424-sd")
    constant(value=",\"msg\":\"") property(name="msg" format="json")
    constant(value="\"}\n")
}
"#;

struct Rsyslog {
    directory: TempDir,
    port: u16,
    running: Option<Running>,
}

impl Rsyslog {
    fn new(input: impl Fn(u16) -> String) -> Self {
        let directory = TempDir::new().expect("a directory");
        let port = free_port();
        let config = format!(
            "global(workDirectory=\"{0}\")\nmodule(load=\"mmpstrucdata\")\n{1}\n{TEMPLATE}\n\
             action(type=\"mmpstrucdata\")\n\
             action(type=\"omfile\" file=\"{0}/log\" template=\"parts\" flushOnTXEnd=\"on\")\n",
            directory.path().display(),
            input(port)
        );
        fs::write(directory.path().join("rsyslog.conf"), config).expect("write");
        let mut rsyslog = Rsyslog { directory, port, running: None };
        rsyslog.start();
        rsyslog
    }

    fn start(&mut self) {
        let file = |name: &str| self.directory.path().join(name).to_string_lossy().into_owned();
        let (config, pid) = (file("rsyslog.conf"), file("pid"));
        let said = self.directory.path().join("said");
        self.running = Some(start(RSYSLOG, &["-n", "-f", &config, "-i", &pid, "-C"], self.port, &said));
    }

    fn options(&self, transport: SyslogTransport, tls: TlsOptions) -> SinkKind {
        let host = "localhost".to_owned();
        SinkKind::Syslog(SyslogOptions { host, port: self.port, transport, facility: 13, tls })
    }

    /// What it has written, once there are so many lines.
    fn log(&self, count: usize) -> Vec<Value> {
        let path = self.directory.path().join("log");
        let read = || fs::read_to_string(&path).unwrap_or_default();
        let whole = || read().matches('\n').count() >= count;
        until(
            &format!("{count} messages in {:?}", fs::read_to_string(self.directory.path().join("said"))),
            whole,
        );
        let lines = read();
        let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        lines.lines().map(parse).collect()
    }
}

fn tcp_input(port: u16) -> String {
    format!(
        "module(load=\"imtcp\")\ninput(type=\"imtcp\" address=\"127.0.0.1\" port=\"{port}\" \
         supportOctetCountedFraming=\"on\")"
    )
}

/// Fails unless rsyslog has understood each of these messages.
fn assert_understood(log: &[Value], messages: &[Message]) {
    assert_eq!(log.len(), messages.len(), "{log:#?}");
    for (line, message) in log.iter().zip(messages) {
        let Message::Alert(notice) = message else { panic!("an alert") };
        assert_eq!((&line["severity"], &line["facility"]), (&"2".into(), &"13".into()));
        assert_eq!((&line["app"], &line["time"]), (&"portreeve".into(), &"2026-06-01T00:00:00.123Z".into()));
        assert_eq!(line["msgid"], format!("alert/{}", notice.transition.as_str()));
        let data = &line["parsed"]["portreeve@32473"];
        for (name, value) in [
            ("id", notice.id.to_string()),
            ("fingerprint", notice.alert.finding.fingerprint.to_string()),
            ("transition", notice.transition.as_str().to_owned()),
            ("port", "6379".to_owned()),
            ("ip", "198.18.0.9".to_owned()),
        ] {
            assert_eq!(data[name], value, "{line:#}");
        }
        let event: Value = serde_json::from_str(line["msg"].as_str().expect("a text")).expect("JSON");
        assert_eq!(event["id"], notice.id.to_string());
        assert_eq!(event["message"], notice.alert.finding.message);
    }
}

fn a_firing_and_its_end() -> [Message; 2] {
    [alert(1, "firing"), alert(2, "resolved")]
}

fn rsyslog_by_tcp() {
    let rsyslog = Rsyslog::new(tcp_input);
    let mut channel = channel(rsyslog.options(SyslogTransport::Tcp, TlsOptions::default()), PATIENCE);
    let messages = a_firing_and_its_end();
    deliver(&mut *channel, &messages[..1]);
    deliver(&mut *channel, &messages[1..]);
    assert_understood(&rsyslog.log(2), &messages);
    let storm: Vec<_> = (10..1010).map(|number| alert(number, "firing")).collect();
    deliver(&mut *channel, &storm);
    assert_understood(&rsyslog.log(1002)[2..], &storm);
}

fn rsyslog_by_udp() {
    let rsyslog = Rsyslog::new(|port| {
        format!("module(load=\"imudp\")\ninput(type=\"imudp\" address=\"127.0.0.1\" port=\"{port}\")")
    });
    let mut channel = channel(rsyslog.options(SyslogTransport::Udp, TlsOptions::default()), PATIENCE);
    deliver(&mut *channel, &a_firing_and_its_end());
    assert_understood(&rsyslog.log(2), &a_firing_and_its_end());
}

fn rsyslog_by_tls() {
    let certificates = TempDir::new().expect("a directory");
    let authority = Authority::new(certificates.path());
    let own = authority.vouch("localhost");
    let rsyslog = Rsyslog::new(|port| {
        format!(
            "global(defaultNetstreamDriver=\"gtls\" defaultNetstreamDriverCAFile=\"{}\" \
             defaultNetstreamDriverCertFile=\"{}\" defaultNetstreamDriverKeyFile=\"{}\")\n\
             module(load=\"imtcp\" streamDriver.name=\"gtls\" streamDriver.mode=\"1\" \
             streamDriver.authMode=\"anon\")\ninput(type=\"imtcp\" address=\"127.0.0.1\" port=\"{port}\")",
            authority.file().display(),
            own.certificate.display(),
            own.key.display()
        )
    });
    let tls = TlsOptions { ca_file: Some(authority.file()), ..TlsOptions::default() };
    let mut trusting = channel(rsyslog.options(SyslogTransport::Tls, tls), PATIENCE);
    let messages = a_firing_and_its_end();
    deliver(&mut *trusting, &messages[..1]);
    deliver(&mut *trusting, &messages[1..]);
    assert_understood(&rsyslog.log(2), &messages);
    let storm: Vec<_> = (10..1010).map(|number| alert(number, "firing")).collect();
    deliver(&mut *trusting, &storm);
    assert_understood(&rsyslog.log(1002)[2..], &storm);
    let mut trusts_others = channel(rsyslog.options(SyslogTransport::Tls, TlsOptions::default()), PATIENCE);
    let (why, is_final) = failure(&mut *trusts_others, &messages);
    assert!((why.contains("UnknownIssuer") || why.contains("trusts no certificate")) && !is_final, "{why}");
}

fn rsyslog_that_is_stopped_and_started() {
    let mut rsyslog = Rsyslog::new(tcp_input);
    let mut channel = channel(rsyslog.options(SyslogTransport::Tcp, TlsOptions::default()), PATIENCE);
    deliver(&mut *channel, &[alert(1, "firing")]);
    rsyslog.log(1);
    rsyslog.running = None;
    let (why, is_final) = failure(&mut *channel, &[alert(2, "resolved")]);
    assert!(why.contains("refused") && !is_final, "{why}");
    rsyslog.start();
    deliver(&mut *channel, &[alert(2, "resolved")]);
    assert_understood(&rsyslog.log(2), &a_firing_and_its_end());
}

// --- Exim ------------------------------------------------------------------------------------------------------

/// Takes mail from whoever authenticates by TLS, for anybody but `nobody`, and puts all of it into one file.
const EXIM_CONFIG: &str = r"
primary_hostname = mail.example.net
spool_directory = DIRECTORY/spool
log_file_path = DIRECTORY/%slog
pid_file_path = DIRECTORY/pid
local_interfaces = <; 127.0.0.1
daemon_smtp_ports = PORT
tls_on_connect_ports = IMPLICIT
tls_advertise_hosts = *
tls_certificate = DIRECTORY/localhost.pem
tls_privatekey = DIRECTORY/localhost.key
auth_advertise_hosts = ${if def:tls_in_cipher {*}{}}
keep_environment =
acl_smtp_rcpt = recipients
acl_smtp_data = mails
begin acl
recipients:
  deny !encrypted = *
  deny !authenticated = *
  deny local_parts = nobody
       message = no such user
  accept
mails:
  accept
begin routers
all:
  driver = accept
  transport = box
begin transports
box:
  driver = appendfile
  file = DIRECTORY/box/all
  user = Debian-exim
  envelope_to_add
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${if and{{eq{$auth2}{portreeve}}{eq{$auth3}{correct horse}}}}
  server_set_id = $auth2
";

struct Exim {
    directory: TempDir,
    options: EmailOptions,
    _running: Running,
}

impl Exim {
    fn new(encryption: Encryption) -> Self {
        let directory = TempDir::new().expect("a directory");
        let path = directory.path();
        let authority = Authority::new(path);
        authority.vouch("localhost");
        let port = free_port();
        let implicit = if encryption == Encryption::Tls { port.to_string() } else { String::new() };
        let config = EXIM_CONFIG
            .replace("DIRECTORY", &path.to_string_lossy())
            .replace("PORT", &port.to_string())
            .replace("IMPLICIT", &implicit);
        fs::write(path.join("exim.conf"), config).expect("write");
        fs::write(path.join("password"), "correct horse\n").expect("write");
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("permissions");
        // It runs as this user, and trusts no configuration that others might write.
        let (user, group) = ids_of("Debian-exim");
        for name in ["spool", "box"] {
            fs::create_dir(path.join(name)).expect("a directory");
        }
        for name in ["", "spool", "box", "localhost.key", "localhost.pem"] {
            chown(path.join(name), Some(user), Some(group)).expect("its owner");
        }
        let config = path.join("exim.conf").to_string_lossy().into_owned();
        let running = start(EXIM, &["-C", &config, "-bdf"], port, &path.join("said"));
        let options = EmailOptions {
            host: "localhost".to_owned(),
            port,
            encryption,
            tls: TlsOptions { ca_file: Some(authority.file()), ..TlsOptions::default() },
            user: Some("portreeve".to_owned()),
            password: Some(SecretPlace::File(path.join("password"))),
            from: "Portreeve <portreeve@example.net>".to_owned(),
            to: vec!["soc@example.net".to_owned()],
        };
        Exim { directory, options, _running: running }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The mails in the box, once there are so many; each begins with a line of its own.
    fn mails(&self, count: usize) -> Vec<String> {
        let read = || fs::read_to_string(self.file("box/all")).unwrap_or_default();
        until(
            &format!("{count} mails: {}", fs::read_to_string(self.file("mainlog")).unwrap_or_default()),
            || read().matches("\nAuto-Submitted: ").count() >= count,
        );
        read().split("From portreeve@").skip(1).map(str::to_owned).collect()
    }
}

fn ids_of(user: &str) -> (u32, u32) {
    let users = fs::read_to_string("/etc/passwd").expect("users");
    let line = users.lines().find(|line| line.starts_with(&format!("{user}:"))).expect(user);
    let mut fields = line.split(':').skip(2).map(|field| field.parse().expect("a number"));
    (fields.next().expect("a user"), fields.next().expect("a group"))
}

fn header<'m>(mail: &'m str, name: &str) -> &'m str {
    let found = mail.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    found.unwrap_or_else(|| panic!("no {name} in {mail}"))
}

fn shows_an_alert_and_its_end(exim: &Exim) {
    let mut channel = channel(SinkKind::Email(exim.options.clone()), PATIENCE);
    deliver(&mut *channel, &a_firing_and_its_end());
    let mails = exim.mails(2);
    let (firing, end) = (&mails[0], &mails[1]);
    assert_eq!(header(end, "In-Reply-To"), header(firing, "Message-ID"));
    assert_eq!(header(firing, "Envelope-to"), "soc@example.net");
    assert!(header(firing, "Subject").starts_with("[") && header(end, "Subject").contains("resolved"));
    assert!(firing.contains("0123456789abcdef0123456789abcdef") && firing.contains("198.18.0.9"));
}

fn exim_by_starttls() {
    let exim = Exim::new(Encryption::StartTls);
    shows_an_alert_and_its_end(&exim);
    let try_with = |change: &dyn Fn(&mut EmailOptions)| {
        let mut options = exim.options.clone();
        change(&mut options);
        failure(&mut *channel(SinkKind::Email(options), PATIENCE), &[alert(3, "firing")])
    };
    let (why, is_final) = try_with(&|options| options.to = vec!["nobody@example.net".to_owned()]);
    assert!(why.contains("550 no such user") && is_final, "{why}");
    let (why, is_final) = try_with(&|options| options.host = "127.0.0.1".to_owned());
    assert!(why.contains("not valid for name") && !is_final, "{why}");
    let (why, is_final) = try_with(&|options| options.encryption = Encryption::None);
    assert!(why.contains("no authentication by password") && !is_final, "{why}");
    fs::write(exim.file("password"), "wrong horse\n").expect("write");
    let (why, is_final) = try_with(&|_| {});
    assert!(why.contains("to the password it said: 535") && !is_final, "{why}");
}

fn exim_by_tls() {
    shows_an_alert_and_its_end(&Exim::new(Encryption::Tls));
}

// --- a full disk -----------------------------------------------------------------------------------------------

fn a_full_disk_takes_whole_lines() {
    let directory = TempDir::new().expect("a directory");
    let script = "mount -t tmpfs -o size=16k none \"$1\" && exec \"$0\"";
    let program = std::env::current_exe().expect("this program");
    let mut command = Command::new("unshare");
    command.args(["--mount", "--", "sh", "-ec", script]).args([&program, directory.path()]);
    let output = command.env(INSIDE, directory.path()).output().expect("unshare");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn full_disk(directory: &Path) {
    let path = directory.join("events.jsonl");
    let mut channel = channel(SinkKind::File(FileOptions { path: path.clone() }), PATIENCE);
    let mut delivered = 0;
    // Two at a time, so that one of them fits where both do not.
    let (why, is_final) = loop {
        let messages = [alert(2 * delivered, "firing"), alert(2 * delivered + 1, "firing")];
        let became = channel.deliver(&messages, messages::now());
        if became.iter().any(|became| *became != portreeve::sink::channel::Delivery::Delivered) {
            break failure(&mut *channel, &messages);
        }
        delivered += 1;
        assert!(delivered < 100, "the disk is not full");
    };
    assert!(why.contains("No space left") && why.contains("events.jsonl") && !is_final, "{why}");
    let text = fs::read_to_string(&path).expect("a file");
    assert!(text.ends_with('\n'), "half a line: {:?}", text.lines().last());
    assert_eq!(text.lines().count() as u128, 2 * delivered);
    // It goes on by itself when there is room again.
    fs::File::options().write(true).open(&path).and_then(|file| file.set_len(0)).expect("cut");
    deliver(&mut *channel, &[alert(1000, "firing")]);
    assert_eq!(fs::read_to_string(&path).expect("a file").lines().count(), 1);
}
