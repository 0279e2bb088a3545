//! Sinks against the real programs that they are for, each on the loopback, with a configuration and a directory of its
//! own. What is not installed here is reported as ignored, by name.

use std::net::TcpListener;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use portreeve::sink::channel::alertmanager::Alertmanager;
use portreeve::sink::channel::{Channel, Delivery};
use portreeve::sink::options::{AlertmanagerOptions, HttpOptions, TlsOptions, Url};
use serde_json::{Value, json};
use tempfile::TempDir;

#[path = "receivers/http.rs"]
mod http;
#[path = "receivers/notices.rs"]
mod notices;

use http::{HttpReceiver, status};
use notices::{message, notice};

/// The program that a case needs, and the case.
type Case = (&'static str, &'static str, fn());

const CASES: &[Case] = &[
    ("alertmanager_fires_and_resolves", ALERTMANAGER, alertmanager_fires_and_resolves),
    ("alertmanager_keeps_what_it_is_told_again", ALERTMANAGER, alertmanager_keeps_what_it_is_told_again),
    (
        "alertmanager_takes_the_good_ones_of_a_batch",
        ALERTMANAGER,
        alertmanager_takes_the_good_ones_of_a_batch,
    ),
];

const ALERTMANAGER: &str = "prometheus-alertmanager";

fn main() -> ExitCode {
    let trials = CASES.iter().map(|&(name, program, run)| {
        Trial::ignorable_test(name, move || match Command::new(program).arg("--version").output() {
            Ok(_) => {
                run();
                Ok::<_, Failed>(Completion::Completed)
            }
            Err(error) => Ok(Completion::ignored_with(format!("{program} cannot be run: {error}"))),
        })
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit_code()
}

/// A running Alertmanager, which hands everything on to a receiver of ours at once.
struct Running {
    child: Child,
    url: String,
    receiver: HttpReceiver,
    _directory: TempDir,
}

impl Running {
    fn start() -> Self {
        let receiver = HttpReceiver::start(vec![status(200)]);
        let directory = TempDir::new().expect("a directory");
        let config = format!(
            "route:\n  receiver: ours\n  group_by: ['...']\n  group_wait: 50ms\n  group_interval: 200ms\n\
             receivers:\n- name: ours\n  webhook_configs:\n  - url: {}/\n    send_resolved: true\n",
            receiver.url
        );
        let file = directory.path().join("alertmanager.yml");
        std::fs::write(&file, config).expect("a file");
        let free = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port");
        let child = Command::new(ALERTMANAGER)
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.path={}", directory.path().display()))
            .args([&format!("--web.listen-address={free}"), "--cluster.listen-address="])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program");
        let running = Running { child, url: format!("http://{free}"), receiver, _directory: directory };
        eventually("it is ready", || ureq::get(format!("{}/-/ready", running.url)).call().is_ok());
        running
    }

    fn channel(&self, refresh: Duration, labels: &[(&str, &str)]) -> Alertmanager {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let url = Url::Written(self.url.clone());
        let http = HttpOptions { url, networks: Vec::new(), tls: TlsOptions::default() };
        let options = AlertmanagerOptions { http, authorization: None, labels, refresh };
        Alertmanager::new(options, Duration::from_secs(10))
    }

    /// The alerts that it holds for firing.
    fn alerts(&self) -> Vec<Value> {
        let mut answer = ureq::get(format!("{}/api/v2/alerts", self.url)).call().expect("an answer");
        serde_json::from_slice(&answer.body_mut().read_to_vec().expect("a body")).expect("JSON")
    }

    /// What it has handed on: the state of each alert, by the fingerprint of ours.
    fn handed_on(&self, fingerprint: &str) -> Vec<String> {
        let requests = self.receiver.requests();
        let alerts = requests
            .iter()
            .flat_map(|request| request.json()["alerts"].as_array().cloned().expect("an array of alerts"));
        alerts
            .filter(|alert| alert["labels"]["fingerprint"] == fingerprint)
            .map(|alert| alert["status"].as_str().expect("a state").to_owned())
            .collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(20), "not so in 20 s: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The fields of an alert that has fired a minute ago, by this machine's clock.
#[expect(clippy::needless_pass_by_value, reason = "it is written at the place of the call")]
fn recent(with: Value) -> Value {
    let (now, minute) = (Timestamp::now(), Duration::from_secs(60));
    let mut fields = json!({"fired_at": now - minute, "first_seen": now - minute, "since": now - minute});
    fields.as_object_mut().expect("an object").extend(with.as_object().expect("an object").clone());
    fields
}

const FINGERPRINT: &str = "c7f9d4be7f56ab39151510a68a616d91";

fn alertmanager_fires_and_resolves() {
    let running = Running::start();
    let mut channel = running.channel(Duration::from_secs(60), &[("site", "lab \u{202e}\u{fc}\"\n")]);
    let odd = "\"}\n\u{1b}[2J <!channel> \\ud800 {{ 7 }}";
    let told = message(recent(json!({"owner": odd, "message": odd, "about": odd})));
    assert_eq!(channel.deliver(&[told], Timestamp::now()), [Delivery::Delivered]);
    let alerts = running.alerts();
    assert_eq!(alerts.len(), 1, "{alerts:#?}");
    assert_eq!(alerts[0]["labels"]["alertname"], "PortreeveExposure");
    assert_eq!(alerts[0]["labels"]["instance"], "198.18.3.4:6379");
    assert_eq!(alerts[0]["status"]["state"], "active");
    let summary = alerts[0]["annotations"]["summary"].as_str().expect("a summary");
    assert_eq!(summary, "[critical] exposure: 198.18.3.4:6379/tcp (redis) is open");
    eventually("it is handed on", || running.handed_on(FINGERPRINT) == ["firing"]);

    let escalated = json!({"transition": "escalated", "severity": "low", "about": odd});
    assert_eq!(channel.deliver(&[message(recent(escalated))], Timestamp::now()), [Delivery::Delivered]);
    assert_eq!(running.alerts().len(), 1, "still one");

    let resolved =
        recent(json!({"transition": "resolved", "state": "resolved", "resolution": "seen", "about": odd,
        "since": Timestamp::now()}));
    assert_eq!(channel.deliver(&[message(resolved)], Timestamp::now()), [Delivery::Delivered]);
    eventually("it is gone", || running.alerts().is_empty());
    eventually("its end is handed on", || running.handed_on(FINGERPRINT) == ["firing", "resolved"]);
}

fn alertmanager_keeps_what_it_is_told_again() {
    let running = Running::start();
    let mut channel = running.channel(Duration::from_millis(700), &[]);
    let alert = notice(recent(json!({}))).alert;
    let over = "65da34b3034c6f158cfbf0cad8b7e0e9";
    let now = Timestamp::now();
    let gone = notice(recent(json!({"fingerprint": over, "state": "resolved", "since": now}))).alert;
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(5) {
        assert_eq!(channel.refresh(&[alert.clone(), gone.clone()], Timestamp::now()), Ok(()));
        let alerts = running.alerts();
        assert_eq!(alerts.len(), 1, "{:?}: {alerts:#?}", began.elapsed());
        std::thread::sleep(Duration::from_millis(700));
    }
    eventually("it is forgotten", || running.alerts().is_empty());
    eventually("its end is handed on", || running.handed_on(FINGERPRINT) == ["firing", "resolved"]);
    assert_eq!(running.handed_on(over), [""; 0], "it never fired here");
}

fn alertmanager_takes_the_good_ones_of_a_batch() {
    let running = Running::start();
    let now = Timestamp::now();
    let told: Vec<_> = (0..300u32)
        .map(|n| message(recent(json!({"fingerprint": format!("{n:032x}"), "port": n + 1}))))
        .collect();
    let mut channel = running.channel(Duration::from_secs(60), &[]);
    let most = channel.batch();
    for some in told.chunks(most) {
        assert_eq!(channel.deliver(some, now), vec![Delivery::Delivered; some.len()]);
    }
    assert_eq!(running.alerts().len(), 300);
    let mut wrong = running.channel(Duration::from_secs(60), &[("no-name", "x")]);
    let delivered = wrong.deliver(&told[..2], now);
    assert!(
        delivered.len() == 2 && delivered.iter().all(|one| matches!(one, Delivery::Refused { .. })),
        "{delivered:?}"
    );
}
