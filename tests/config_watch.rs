//! The configuration of `portreeve watch` as a user meets it: every key is read into its type, every mistake is told
//! where it is with its cure, all of them at once, and none repeats a secret.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use jiff::tz::TimeZone;
use portreeve::alert::maintenance::{Maintenance, Window};
use portreeve::alert::route::{RouteMatch, Routes};
use portreeve::alert::rules::AlertRules;
use portreeve::alert::silence::Matcher;
use portreeve::config::daemon::{HeartbeatConfig, StoreConfig};
use portreeve::config::diagnostic::{ConfigError, Diagnostic, Source};
use portreeve::config::file::Config;
use portreeve::config::options::{Cap, EngineChoice, Rate};
use portreeve::config::settings::Settings;
use portreeve::config::watch::{Schedule, WatchConfig};
use portreeve::policy::expectation::Expectation;
use portreeve::policy::grade::{Grade, Grades};
use portreeve::policy::kind::{FindingKind, Rule};
use portreeve::sink::options::{
    AlertmanagerOptions, BulkAccess, BulkOptions, EmailOptions, Encryption, ExecOptions, FileOptions,
    HttpOptions, LineFormat, PAGERDUTY_URL, PagerDutyOptions, SinkKind, SinkOptions, SlackOptions,
    SplunkOptions, SyslogOptions, SyslogTransport, TlsOptions, Url, WebhookOptions,
};
use portreeve::sink::secret::SecretPlace;
use portreeve::target::ports::Severity;

const MISTAKES: &str = "tests/data/config/watch-mistakes.toml";
const FULL: &str = "tests/data/config/watch-full.toml";

fn full() -> Config {
    Config::load(Path::new(FULL)).unwrap_or_else(|error| panic!("{error}"))
}

fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}

fn days(days: u64) -> Duration {
    minutes(days * 24 * 60)
}

fn beside(name: &str) -> PathBuf {
    Path::new("tests/data/config").join(name)
}

fn secret(name: &str) -> SecretPlace {
    SecretPlace::File(beside("secrets").join(name))
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(ToString::to_string).collect()
}

fn parsed<T: std::str::FromStr>(texts: &[&str]) -> Vec<T> {
    texts.iter().map(|text| text.parse().unwrap_or_else(|_| panic!("{text}"))).collect()
}

fn one<T: std::str::FromStr>(text: &str) -> T {
    parsed(&[text]).remove(0)
}

fn with_ca() -> TlsOptions {
    TlsOptions { ca_file: Some(beside("ca.pem")), ..TlsOptions::default() }
}

#[test]
fn every_key_of_a_watch_is_read() {
    let config = full();
    let common = &config.settings;
    let [risky, weekly, usual] = &config.watches[..] else { panic!("{:?}", config.watches) };
    let every = |interval| Schedule::Every { interval };
    let of_minute = Settings { interval: Some(minutes(1)), ..common.clone() };
    assert_eq!(
        *risky,
        WatchConfig {
            name: "risky".to_owned(),
            schedule: every(minutes(1)),
            jitter: Duration::from_secs(5),
            settings: of_minute,
            line: 15,
        }
    );
    let zone = TimeZone::get("Europe/Berlin").expect("a zone");
    let weekly_settings = Settings {
        targets: parsed(&["198.18.0.0/24", "198.18.1.7"]),
        exclude: parsed(&["198.18.0.200-198.18.0.210", "198.18.4.0/24"]),
        ports: Some(one("exposed,8000")),
        engine: Some(EngineChoice::Connect),
        rate: Some(one("1000")),
        rate_max: "2000".parse().ok(),
        host_rate: Some(one("20")),
        network_rate: Some(Cap::None),
        canary: parsed(&["198.18.0.11:22"]),
        declared_canaries: Vec::new(),
        tries: Some(2),
        interface: Some("eth0".to_owned()),
        banner: false,
        interval: None,
        ..common.clone()
    };
    assert_eq!(
        *weekly,
        WatchConfig {
            name: "weekly".to_owned(),
            schedule: Schedule::Cron { cron: Box::new(one("15 3 * * MON")), zone },
            jitter: minutes(10),
            settings: weekly_settings,
            line: 20,
        }
    );
    assert_eq!(weekly.literal_scope().expect("a scope").hosts(), 256 - 11 + 1);
    assert_eq!((usual.name.as_str(), &usual.schedule), ("as_usual", &every(minutes(2))));
    assert_eq!((usual.settings.rate, usual.settings.banner), (Some(Rate::Auto), true));
    assert_eq!(usual.settings.declared_canaries, common.declared_canaries);
}

#[test]
fn every_key_of_the_policy_is_read() {
    let config = full();
    let warned: Vec<Duration> = config.allow.iter().map(|allowance| allowance.warn_before).collect();
    assert_eq!(warned, [days(30), Duration::ZERO]);
    let database = Expectation {
        name: "orders database".to_owned(),
        hosts: parsed(&["198.18.0.20"]),
        ports: one("5432"),
        failures: 4,
        recoveries: 1,
        owner: Some("orders".to_owned()),
        class: Some(one("orders")),
        severity: Some(Severity::Critical),
        line: 58,
    };
    let cache = Expectation {
        name: "cache".to_owned(),
        hosts: parsed(&["198.18.0.21"]),
        ports: one("6379"),
        failures: 3,
        recoveries: 2,
        owner: None,
        class: None,
        severity: None,
        line: 68,
    };
    assert_eq!(config.expect, [database, cache]);
    let grade = Grade {
        hosts: parsed(&["198.18.9.0/24"]),
        ports: Some(one("22,8080")),
        kinds: vec![FindingKind::Exposure, FindingKind::AnswersAll],
        owners: texts(&["lab"]),
        severity: Some(Severity::Low),
        class: Some(one("network")),
        line: 73,
    };
    assert_eq!(config.grades, Grades(vec![grade]));
}

#[test]
fn every_key_of_alerting_store_and_heartbeat_is_read() {
    let config = full();
    let rules = AlertRules {
        remind_every: None,
        storm_above: 50,
        flap_window: 32,
        flap_flips: 6,
        blind_after: 3,
        second_look_after: None,
    };
    assert_eq!(config.alerting, rules);
    let matcher = Matcher {
        fingerprint: None,
        hosts: parsed(&["198.18.7.0/24"]),
        ports: Some(one("22")),
        kinds: vec![FindingKind::Outage],
        classes: parsed(&["health", "orders"]),
        owners: texts(&["orders"]),
        severity: Some(Severity::Medium),
    };
    let once = Window::Once { from: one("2026-06-06T20:00:00Z"), until: one("2026-06-07T00:00:00Z") };
    let zone = TimeZone::get("Europe/Berlin").expect("a zone");
    let weekly = Window::Recurring { cron: Box::new(one("0 22 * * SAT")), duration: minutes(240), zone };
    assert_eq!(
        config.maintenance,
        [
            Maintenance { name: "move of the rack".to_owned(), matcher, window: once, line: 89 },
            Maintenance {
                name: "saturday patching".to_owned(),
                matcher: Matcher::default(),
                window: weekly,
                line: 100
            },
        ]
    );
    let store = StoreConfig {
        path: beside("state/portreeve.db"),
        keep_sweeps: days(7),
        keep_deliveries: days(8),
        keep_history: days(90),
        keep_observations: days(91),
    };
    assert_eq!(config.store, store);
    let ping = HttpOptions {
        url: Url::Secret(SecretPlace::Credential("dead-man-url".to_owned())),
        networks: parsed(&["198.18.0.0/24"]),
        tls: with_ca(),
    };
    assert_eq!(config.heartbeat, HeartbeatConfig { interval: Duration::from_secs(30), ping: Some(ping) });
}

fn webhook() -> WebhookOptions {
    WebhookOptions {
        http: HttpOptions {
            url: Url::Written("https://198.18.0.5/portreeve".to_owned()),
            networks: parsed(&["198.18.0.0/24", "2001:db8::/32"]),
            tls: with_ca(),
        },
        signing_key: Some(secret("soc-signing-key")),
        authorization: Some(SecretPlace::Credential("soc-authorization".to_owned())),
        headers: [("X-Team".to_owned(), "netops".to_owned())].into(),
        template: fs::read_to_string(beside("body.json.j2")).ok(),
        content_type: "application/vnd.example+json; charset=utf-8".to_owned(),
    }
}

/// The sinks that gather events.
fn gatherers() -> [SinkKind; 3] {
    let http = |url: &str| HttpOptions {
        url: Url::Written(url.to_owned()),
        networks: Vec::new(),
        tls: TlsOptions::default(),
    };
    let splunk = SplunkOptions {
        http: HttpOptions {
            networks: vec!["198.18.0.0/24".parse().expect("a network")],
            tls: with_ca(),
            ..http("https://splunk.example.net:8088")
        },
        token: secret("splunk-token"),
        index: Some("sec_exposure".to_owned()),
        source: Some("portreeve-dc1".to_owned()),
        source_type: Some("portreeve".to_owned()),
        host: Some("dc1".to_owned()),
        acknowledge: true,
    };
    let elastic = BulkOptions {
        http: http("https://elastic.example.net:9200"),
        index: "logs-portreeve-default".to_owned(),
        access: BulkAccess::ApiKey(secret("elastic-api-key")),
    };
    let search = BulkOptions {
        http: http("https://search.example.net:9200"),
        index: "portreeve".to_owned(),
        access: BulkAccess::Basic { user: "portreeve".to_owned(), password: secret("search-password") },
    };
    [SinkKind::Splunk(splunk), SinkKind::Elasticsearch(elastic), SinkKind::OpenSearch(search)]
}

/// Where sinks are in tests that gather events.
const GATHERS: &str = "url = \"https://siem.example.net:8088\"\n";

fn gatherer(kind: &str, rest: &str) -> String {
    format!("[[sink]]\nname = \"s\"\nkind = \"{kind}\"\n{rest}")
}

#[test]
fn mistakes_of_sinks_that_gather_events_are_told_at_their_places() {
    check(
        &gatherer("splunk", GATHERS),
        &["c.toml:1:1: `token_file` is missing in [[sink]]; add token_file = \"secrets/siem-token\""],
    );
    check(
        &gatherer("elasticsearch", "api_key_file = \"k\"\n"),
        &[
            "c.toml:1:1: `url` is missing in [[sink]]; add url = \"https://hook.example.net/portreeve\"",
            "c.toml:1:1: `index` is missing in [[sink]]; add index = \"portreeve\"",
        ],
    );
    check(
        &gatherer("splunk", &format!("{GATHERS}token = \"hunter2\"\n")),
        &[
            "c.toml:5:1: `token` is a secret, and too many can read this file; put it into a file that only portreeve \
         may read, and write token_file = \"secrets/...\" or token_file = \"credential:NAME\"",
        ],
    );
    let itself = "this is a secret itself, where the name of its file should be; put it into a file that only \
                  portreeve may read, and name that file here";
    for written in ["Splunk x", "B5A79AAD-D822-46CC-80D1-819F80D7BFB0"] {
        let text = gatherer("splunk", &format!("{GATHERS}token_file = \"{written}\"\n"));
        check(&text, &[&format!("c.toml:5:14: {itself}")]);
    }
}

#[test]
fn what_a_bulk_api_cannot_have_is_told_at_its_place() {
    let ways = "index = \"p\"\nuser = \"u\"\npassword_file = \"p\"\ntoken_file = \"t\"\n";
    check(
        &gatherer("opensearch", &format!("{GATHERS}{ways}")),
        &["c.toml:8:1: `password_file` and `token_file` exclude each other; keep one of the two"],
    );
    check(
        &gatherer("opensearch", &format!("{GATHERS}index = \"p\"\nuser = \"u\"\n")),
        &[
            "c.toml:6:1: `user` is of no use without `password_file`; add password_file = \"secrets/mail-password\"",
        ],
    );
    check(
        &gatherer("opensearch", &format!("{GATHERS}index = \"p\"\nuser = \"u:v\"\npassword_file = \"p\"\n")),
        &["c.toml:6:8: a colon or a control character stands in the name of this user; write the name alone"],
    );
    for name in ["Upper", "-begins", "a/_bulk?x", "a b", "_all", "a,b", "<day>", "*", ".."] {
        check(
            &gatherer("elasticsearch", &format!("{GATHERS}index = \"{name}\"\n")),
            &[&format!(
                "c.toml:5:9: `{name}` is no name of an index; write small letters, digits, and -, _ or . between them, \
             such as portreeve"
            )],
        );
    }
    let format = |kind: &str, format: &str| {
        gatherer(kind, &format!("{GATHERS}index = \"p\"\nformat = \"{format}\"\n"))
    };
    check(
        &format("opensearch", "hec"),
        &["c.toml:6:10: `hec` is no format for sinks of the kind opensearch; choose one of ecs, ocsf"],
    );
    check(&format("opensearch", "ocsf"), &[]);
    check(
        &format("elasticsearch", "ecs"),
        &[
            "c.toml:6:1: `format` is no key of a sink of the kind elasticsearch; remove it; sinks of the kind file or \
         stdout or syslog or webhook or opensearch have it",
        ],
    );
    check(
        &gatherer("splunk", &format!("{GATHERS}token_file = \"t\"\nacknowledge = \"yes\"\nsoruce = \"x\"\n")),
        &[
            "c.toml:6:15: `acknowledge` must be true or false, but the text \"yes\" stands here; write acknowledge = true",
            "c.toml:7:1: unknown key `soruce` in [[sink]]; did you mean `source`? known here: name, kind, timeout, give_up_after, storm, \
             url, url_file, networks, ca_file, cert_file, key_file, token_file, index, \
             source, sourcetype, host, acknowledge",
        ],
    );
}

#[test]
fn every_key_of_every_kind_of_sink_is_read() {
    let http = |url| HttpOptions { url, networks: Vec::new(), tls: TlsOptions::default() };
    let written = |url: &str| Url::Written(url.to_owned());
    let sink = |name: &str, kind, tells_each, line| SinkOptions {
        name: name.to_owned(),
        kind,
        timeout: Duration::from_secs(15),
        give_up_after: days(3),
        tells_each,
        format: LineFormat::Jsonl,
        line,
    };
    let syslog = SyslogOptions {
        host: "log.example.net".to_owned(),
        port: 10514,
        transport: SyslogTransport::Tls,
        facility: 19,
        tls: TlsOptions {
            cert_file: Some(beside("client.pem")),
            key_file: Some(secret("client-key.pem")),
            ..with_ca()
        },
    };
    let slack =
        SlackOptions { http: http(Url::Secret(secret("slack-url"))), channel: Some("#alerts".to_owned()) };
    let pagerduty = PagerDutyOptions {
        http: http(written(PAGERDUTY_URL)),
        routing_key: SecretPlace::File(PathBuf::from("/etc/portreeve/secrets/pagerduty")),
    };
    let alertmanager = AlertmanagerOptions {
        http: http(written("http://127.0.0.1:9093")),
        authorization: Some(secret("am")),
        labels: [("team".to_owned(), "netops".to_owned())].into(),
        refresh: Duration::from_secs(30),
    };
    let email = EmailOptions {
        host: "mail.example.net".to_owned(),
        port: 2525,
        encryption: Encryption::Tls,
        tls: with_ca(),
        user: Some("portreeve".to_owned()),
        password: Some(secret("mail-password")),
        from: "portreeve@example.net".to_owned(),
        to: texts(&["ops@example.net", "noc@example.net"]),
    };
    let file = FileOptions { path: PathBuf::from("/var/log/portreeve/events.jsonl") };
    let exec = ExecOptions { command: texts(&["/usr/local/bin/page", "--team", "netops"]) };
    let [splunk, elastic, search] = gatherers();
    assert_eq!(
        full().sinks,
        [
            sink("siem", SinkKind::File(file), false, 119),
            SinkOptions { format: LineFormat::Ocsf, ..sink("journal", SinkKind::Stdout, true, 125) },
            sink("syslog", SinkKind::Syslog(syslog), true, 130),
            SinkOptions {
                timeout: Duration::from_secs(5),
                give_up_after: days(7),
                ..sink("soc", SinkKind::Webhook(webhook()), true, 141)
            },
            sink("chat", SinkKind::Slack(slack), false, 156),
            sink("pager", SinkKind::PagerDuty(pagerduty), false, 162),
            sink("prometheus", SinkKind::Alertmanager(alertmanager), true, 167),
            sink("mail", SinkKind::Email(email), false, 175),
            sink("hook", SinkKind::Exec(exec), false, 187),
            SinkOptions { format: LineFormat::Hec, ..sink("splunk", splunk, true, 192) },
            SinkOptions { format: LineFormat::Ecs, ..sink("elastic", elastic, true, 205) },
            SinkOptions { format: LineFormat::Ocsf, ..sink("search", search, true, 212) },
        ]
    );
}

#[test]
fn every_key_of_a_route_is_read() {
    let list = |class: &str, sinks: &[&str]| (one(class), texts(sinks));
    let critical = Matcher { severity: Some(Severity::Critical), ..Matcher::default() };
    let narrow = Matcher {
        fingerprint: None,
        hosts: parsed(&["198.18.0.0/24"]),
        ports: Some(one("22")),
        kinds: vec![FindingKind::Exposure],
        classes: parsed(&["security"]),
        owners: texts(&["netops"]),
        severity: Some(Severity::Info),
    };
    let routes = Routes {
        classes: [
            list("security", &["soc", "chat"]),
            list("health", &["mail"]),
            list("own", &["mail", "hook"]),
            list("orders", &["mail", "prometheus"]),
            list("network", &["syslog"]),
        ]
        .into(),
        events: texts(&["siem", "journal", "splunk", "elastic", "search"]),
        matches: vec![
            RouteMatch { matcher: critical, rules: Vec::new(), to: texts(&["pager"]), also: true, line: 229 },
            RouteMatch {
                matcher: narrow,
                rules: vec![Rule::AllowanceExpired],
                to: texts(&["chat"]),
                also: false,
                line: 234,
            },
        ],
    };
    let config = full();
    assert_eq!(config.routes, routes);
    assert_eq!(config.check_watch(), []);
}

#[test]
fn what_nobody_says_is_usual() {
    let config =
        Config::parse(&Source::new("c.toml", "[scope]\nnetworks = [\"198.18.0.0/24\"]\n")).expect("clean");
    assert_eq!(config.alerting, AlertRules::default());
    assert_eq!(config.store.path, Path::new("/var/lib/portreeve/portreeve.db"));
    assert_eq!(config.heartbeat, HeartbeatConfig { interval: minutes(1), ping: None });
    let [watch] = &config.watches[..] else { panic!("{:?}", config.watches) };
    assert_eq!((watch.name.as_str(), &watch.schedule), ("sweep", &Schedule::Every { interval: minutes(1) }));
}

/// What is told of a file that has mistakes: its lines, without the name of the file.
fn told(file: &Path) -> Vec<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_portreeve"))
        .args(["config", "check"])
        .arg(file)
        .output()
        .expect("the program runs");
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(2), &b""[..]));
    let text = String::from_utf8(output.stderr).expect("UTF-8");
    let text = text.strip_prefix("error: ").expect(&text);
    text.lines().map(|line| line.replace(&format!("{}:", file.display()), "")).collect()
}

#[test]
fn every_kind_of_mistake_is_told_in_one_go_and_no_secret_is_repeated() {
    let told = told(Path::new(MISTAKES));
    let wanted = include_str!("data/config/watch-mistakes.txt");
    assert_eq!(told, wanted.lines().collect::<Vec<_>>());
    assert!(!told.join("\n").contains("hunter2"));
    assert!(
        fs::read_to_string(MISTAKES).expect("a file").matches("hunter2").count() > 10,
        "there are secrets"
    );
}

/// What is told of a text, by its grammar alone.
#[track_caller]
fn check(text: &str, mistakes: &[&str]) {
    let told = match Config::parse(&Source::new("c.toml", text)) {
        Ok(_) => Vec::new(),
        Err(ConfigError::Invalid(diagnostics)) => diagnostics.iter().map(ToString::to_string).collect(),
        Err(other) => panic!("{other}"),
    };
    assert_eq!(told, mistakes, "\n{text}");
}

#[test]
fn a_sink_and_a_route_that_misses_it_by_a_letter_are_one_mistake() {
    check(
        "[[sink]]\nname = \"soc\"\nkind = \"stdout\"\n[route]\nsecurity = [\"sco\"]\n",
        &["c.toml:5:13: there is no sink `sco`; did you mean `soc`? sinks here: soc"],
    );
    // Nobody is missed where it cannot be known who is meant.
    check(
        "[[sink]]\nname = \"soc\"\nkind = \"stdout\"\n[route]\nsecurity = [5]\n",
        &[
            "c.toml:5:13: an entry of `security` must be text in quotes, but the number 5 stands here; write security = \
           [\"soc\"]",
        ],
    );
    check("[[sink]]\nname = \"soc\"\nkind = \"stdout\"\n", &[]);
}

#[test]
fn a_format_is_one_that_the_kind_of_sink_has() {
    let sink = |kind: &str, more: &str| format!("[[sink]]\nname = \"siem\"\nkind = \"{kind}\"\n{more}\n");
    let syslog = "host = \"log.example.net\"\ntransport = \"tcp\"";
    let webhook = "url = \"https://198.18.0.5/\"";
    for (kind, more, words) in [
        ("stdout", "", &["jsonl", "ecs", "ocsf", "hec", "cef"][..]),
        ("syslog", syslog, &["jsonl", "ecs", "ocsf", "cef"]),
        ("webhook", webhook, &["jsonl", "ecs", "ocsf", "hec"]),
    ] {
        for word in words {
            check(&sink(kind, &format!("{more}\nformat = \"{word}\"")), &[]);
        }
    }
    check(
        &sink("stdout", "format = \"ocfs\""),
        &[
            "c.toml:4:10: `ocfs` is no format for sinks of the kind stdout; did you mean `ocsf`? choose one of jsonl, ecs, \
           ocsf, hec, cef",
        ],
    );
    check(
        &sink("syslog", &format!("format = \"hec\"\n{syslog}")),
        &["c.toml:4:10: `hec` is no format for sinks of the kind syslog; choose one of jsonl, ecs, \
           ocsf, cef"],
    );
    check(
        &sink("exec", "command = [\"/bin/true\"]\nformat = \"ecs\""),
        &[
            "c.toml:5:1: `format` is no key of a sink of the kind exec; remove it; sinks of the kind file or stdout or \
           syslog or webhook or opensearch have it",
        ],
    );
    check(
        &sink("webhook", &format!("{webhook}\nformat = \"ecs\"\ntemplate = \"1\"")),
        &[
            "c.toml:5:1: a template and `format` exclude each other: both say what the body is; keep one of the two",
        ],
    );
    check(
        &sink("stdout", "format = 5"),
        &[
            "c.toml:4:10: `format` must be text in quotes, but the number 5 stands here; write format = \"ecs\"",
        ],
    );
}

#[test]
fn a_grade_of_what_grades_do_not_change_is_a_mistake() {
    check(
        "[[grade]]\nkinds = [\"outage\", \"config-rejected\"]\nseverity = \"low\"\n",
        &[
            "c.toml:2:20: no [[grade]] changes `config-rejected`, which is about the watch itself; its class is `own`: name \
           its sinks there, or by a [[route.match]] with kinds = [\"config-rejected\"]",
        ],
    );
    check(
        "[[grade]]\nkinds = [\"storm\"]\nseverity = \"low\"\n",
        &["c.toml:2:10: no [[grade]] changes `storm`, which is about the watch itself; name its sinks by a \
           [[route.match]] with kinds = [\"storm\"]"],
    );
    let graded: Vec<&str> =
        FindingKind::ALL.iter().filter(|kind| kind.is_graded()).map(|kind| kind.as_str()).collect();
    check(&format!("[[grade]]\nkinds = {graded:?}\nseverity = \"low\"\n"), &[]);
}

#[test]
fn a_jitter_that_reaches_the_next_due_time_of_a_cron_expression_is_a_mistake() {
    let watch =
        |jitter: &str| format!("[[watch]]\nname = \"w\"\ncron = \"0,5 * * * *\"\njitter = \"{jitter}\"\n");
    check(&watch("4m"), &[]);
    check(
        &watch("5m"),
        &[
            "c.toml:4:10: the jitter of 5m is not below the shortest time between two sweeps of 5m; put sweeps off by \
           less, or sweep more rarely",
        ],
    );
}

#[test]
fn a_kind_that_is_not_known_is_one_mistake_and_a_secret_is_one_as_well() {
    check(
        "[[sink]]\nname = \"soc\"\nkind = \"chat\"\nurl = \"x\"\npassword = \"hunter2\"\nstorm = \"eech\"\n",
        &[
            "c.toml:3:8: `chat` is no kind of sink; choose one of file, stdout, syslog, webhook, slack, pagerduty, \
             alertmanager, splunk, elasticsearch, opensearch, email, exec",
            "c.toml:6:9: `eech` is no way to tell a storm; did you mean `each`? choose one of each, digest",
        ],
    );
    check(
        "[[sink]]\nname = \"soc\"\nkidn = \"webhook\"\nurl = \"https://198.18.0.7/\"\n",
        &[
            "c.toml:3:1: unknown key `kidn` in [[sink]]; did you mean `kind`? known here: name, kind, timeout, \
           give_up_after, storm",
        ],
    );
    check(
        "[[sink]]\nname = \"a\"\nkind = \"pagerduty\"\nrouting_key = \"hunter2\"\n",
        &[
            "c.toml:4:1: `routing_key` is a secret, and too many can read this file; put it into a file that only portreeve \
           may read, and write routing_key_file = \"secrets/...\" or routing_key_file = \"credential:NAME\"",
        ],
    );
}

#[test]
fn what_is_wrong_where_a_secret_should_be_is_not_repeated() {
    let sink = |lines: &str| format!("[[sink]]\nname = \"a\"\nkind = \"webhook\"\n{lines}\n");
    for (lines, says) in [
        ("url = 5", "4:7: `url` must be text in quotes, but a number stands here"),
        ("url = \"hunter2\"", "4:7: this address begins with neither http:// nor https://"),
        ("url = \"https://h/hunter2hunter2hunter2\"", "4:7: whoever knows this address may use it"),
        ("url = \"https://h/?token=hunter2\"", "4:7: whoever knows this address may use it"),
        ("url = \"https://hunter2@h/\"", "4:7: this address holds a user or a password"),
        ("url = \"https:///hunter2\"", "4:7: this address is no address of the web"),
        ("url_file = \"https://h/hunter2\"", "4:12: this is a secret itself"),
        ("url_file = \"credential:../hunter2\"", "4:12: this is no name of a credential"),
        ("url = \"https://h/\"\nheaders = \"X-Api-Key: hunter2\"", "5:11: `headers` must be a table"),
        (
            "url = \"https://h/\"\nheaders = { X-Api-Key = \"hunter2\" }",
            "5:13: the header `X-Api-Key` holds a secret",
        ),
        (
            "url = \"https://h/\"\nheaders = { X-Key = hunter2 }",
            "5:21: the text that stands here is not in quotes",
        ),
        ("url = \"https://h/\"\nsigning_key = \"hunter2\"", "5:1: `signing_key` is a secret"),
        (
            "url = \"https://h/\"\nsigning_key_file = 2",
            "5:20: `signing_key_file` must be text in quotes, but a number",
        ),
        ("url = \"https://h/\"\nurl_file = \"a\"", "5:1: `url` and `url_file` exclude each other"),
    ] {
        let error = Config::parse(&Source::new("c.toml", sink(lines))).expect_err(lines).to_string();
        assert!(
            error.starts_with(&format!("c.toml:{says}")) && !error.contains("hunter2"),
            "{lines}: {error}"
        );
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    for lines in
        ["url = \"https://198.18.0.5:8443/api/v2/portreeve-alerts\"", "url_file = \"credential:soc\""]
    {
        check(&sink(lines), &[]);
    }
}

#[test]
fn windows_watches_and_expectations_that_cannot_be_meant() {
    let scope = "[scope]\nnetworks = [\"198.18.0.0/24\"]\n";
    for (lines, says) in [
        ("[[watch]]\nname = \"a\"\ntimezone = \"UTC\"", "5:1: `timezone` is of no use without `cron`"),
        ("[[watch]]\nname = \"a\"\nrate = 5\nrate_max = 4", "5:1: the rate 5 is above the rate_max 4"),
        ("[[watch]]\nname = \"a\"\nexclude = [\"198.18.0.0/23\"]", "5:12: the scope is empty"),
        (
            "[[watch]]\nname = \"a\"\ncanaries = [\"198.18.0.9:23\"]",
            "5:13: the canary 198.18.0.9:23 is not in",
        ),
        (
            "[sweep]\ncanaries = [\"198.18.0.9:22\", \"198.19.0.9:22\"]",
            "4:30: the canary 198.19.0.9:22 is not in",
        ),
        (
            "[sweep]\ncanaries = [\"198.18.0.9:22\"]\n[[watch]]\nname = \"a\"\nexclude = [\"198.18.0.9\"]",
            "7:12: the canary 198.18.0.9:22 is not in",
        ),
        ("[[watch]]\nhosts = [\"198.18.0.9\"]", "3:1: `name` is missing in [[watch]]"),
        (
            "[[watch]]\nname = \"a\"\ninterval = \"32d\"",
            "5:12: `interval` must be a length of time from 1s to 31d",
        ),
        (
            "[[watch]]\nname = \"a\"\nhosts = [\"198.18.0.9\"]\n[[expect]]\nname = \"b\"\nhosts = [\"198.18.0.8-9\"]\n\
             ports = [22]",
            "6:1: port 22 of 198.18.0.8 must be open, and no watch looks at it",
        ),
        (
            "[[expect]]\nname = \"b\"\nhosts = [\"198.18.0.9\"]\nports = [22, 23]",
            "3:1: port 23 of 198.18.0.9 must be open, and no watch looks at it",
        ),
        ("[[maintenance]]\nname = \"a\"", "3:1: this [[maintenance]] says not when it is"),
        (
            "[[maintenance]]\nname = \"a\"\nfrom = 2026-06-07T02:00:00\nuntil = 2026-06-08T02:00:00Z",
            "5:8: `from` must be a moment with its date, its time and its offset",
        ),
        (
            "[[maintenance]]\nname = \"a\"\nfrom = 2026-06-07T02:00:00Z\nuntil = 2026-06-08T02:00:00Z\nduration = \"1h\"",
            "3:1: a window that opens once, from and until, cannot recur",
        ),
        ("[alerting]\nflap_window = 33", "4:15: `flap_window` must be a whole number from 2 to 32"),
        ("[heartbeat]\nca_file = \"a\"", "4:1: `ca_file` is of no use without `url`"),
    ] {
        let error =
            Config::parse(&Source::new("c.toml", format!("{scope}{lines}"))).expect_err(lines).to_string();
        assert!(error.starts_with(&format!("c.toml:{says}")), "{lines}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    // Where names or files say more of the scope than the file does, nothing can be said of what lies outside.
    let unknown = "[scope]\nnetworks = [\"db.example.net\"]\n[[watch]]\nname = \"a\"\nhosts = [\"198.18.0.9\"]\n\
                   [[expect]]\nname = \"b\"\nhosts = [\"198.18.0.8\"]\nports = [22]\n";
    check(unknown, &[]);
    // Two watches can look at one expectation together.
    let halves = "[[watch]]\nname = \"a\"\nhosts = [\"198.18.0.8\"]\n\
                  [[watch]]\nname = \"b\"\nhosts = [\"198.18.0.9\"]\n\
                  [[expect]]\nname = \"b\"\nhosts = [\"198.18.0.8-9\"]\nports = [22]\n";
    check(&format!("{scope}{halves}"), &[]);
}

#[test]
fn a_watch_needs_somebody_to_tell() {
    let lacks = |text: &str| {
        let config = Config::parse(&Source::new("c.toml", text)).unwrap_or_else(|error| panic!("{error}"));
        let lacks = config.check_watch();
        lacks
            .iter()
            .map(|lack| format!("{}:{}: {}", lack.line, lack.column, lack.message))
            .collect::<Vec<_>>()
    };
    let scope = "[scope]\nnetworks = [\"198.18.0.0/24\"]\n";
    let sink = format!("{scope}[[sink]]\nname = \"soc\"\nkind = \"stdout\"\n");
    let expect = "[[expect]]\nname = \"b\"\nhosts = [\"198.18.0.8\"]\nports = [22]\n";
    assert_eq!(lacks(scope), ["1:1: no [[sink]] says whom to tell"]);
    assert_eq!(lacks(&sink), ["4:8: no [route] says which alerts this sink is told of"]);
    assert_eq!(
        lacks(&format!("{sink}[route]\nhealth = [\"soc\"]\n")),
        ["6:1: `security` is missing in [route], so nobody would hear of an exposure"]
    );
    assert_eq!(
        lacks(&format!("{sink}[route]\nsecurity = [\"soc\"]\n")),
        ["6:1: `own` is missing in [route], so nobody would hear what keeps the watch from its work"]
    );
    assert_eq!(
        lacks(&format!("{sink}[route]\nsecurity = [\"soc\"]\nown = [\"soc\"]\n{expect}")),
        ["6:1: `health` is missing in [route], so nobody would hear of an outage"]
    );
    assert_eq!(lacks(&format!("{sink}[route]\nsecurity = [\"soc\"]\nown = [\"soc\"]\n")), [""; 0]);
    assert_eq!(lacks(&format!("{sink}[route]\nsecurity = [\"soc\"]\nhealth = [\"soc\"]\n{expect}")), [""; 0]);
}

#[test]
fn a_scope_that_cannot_be_read_is_not_missing() {
    let text = "[scope]\nnetworks = [\"198.18.0.0/33\"]\n";
    let (config, mistakes) = Config::examine(&Source::new("c.toml", text)).expect("syntax");
    let lines = |mistakes: &[Diagnostic]| mistakes.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(lines(&mistakes).len(), 1, "{mistakes:?}");
    assert_eq!(
        lines(&config.check_watch()),
        ["c.toml:1:1: no [[sink]] says whom to tell; add a [[sink]], and a [route] that names it"]
    );
}

#[test]
fn files_of_secrets_are_looked_at_by_who_needs_them_and_a_sweep_does_without() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("c.toml");
    let text = "[scope]\nnetworks = [\"127.0.0.1\"]\n[sweep]\nports = \"1\"\n\
                [[sink]]\nname = \"soc\"\nkind = \"webhook\"\n\
                url_file = \"soc-url\"\nsigning_key_file = \"hunter2hunter2hunter2\"\n\
                authorization_file = \"credential:soc\"\nca_file = \"ca.pem\"\n\
                [route]\nsecurity = [\"soc\"]\nown = [\"soc\"]\n";
    fs::write(&file, text).expect("a file");
    let place = directory.path().display();
    assert_eq!(
        told(&file),
        [
            format!(
                "8:12: `url_file` names no file that can be read: {place}/soc-url: No such file or directory (os \
                     error 2); write the secret into that file, or name the right one"
            ),
            format!(
                "9:20: `signing_key_file` names no file that can be read: a name in {place}: No such file or \
                     directory (os error 2); write the secret into that file, or name the right one"
            ),
            format!(
                "11:11: `ca_file` names a file that cannot be read: {place}/ca.pem: No such file or directory (os \
                     error 2); name a file of PEM certificates"
            ),
        ]
    );
    let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).expect(name);
    write("soc-url", "https://hunter2@hook.example.net/\n");
    write("hunter2hunter2hunter2", " \n");
    write("ca.pem", "hunter2");
    assert_eq!(
        told(&file).iter().map(|line| line.replace("hunter2hunter2hunter2", "KEY")).collect::<Vec<_>>(),
        [
            format!(
                "8:12: the address in {place}/soc-url holds a user or a password; put the whole address into a file \
                     that only portreeve may read, and write url_file = \"secrets/...\""
            ),
            format!("9:20: `signing_key_file` names an empty file: {place}/KEY; write the secret into it"),
            format!(
                "11:11: `ca_file` names a file without a certificate: {place}/ca.pem; name a file of PEM certificates"
            ),
        ]
    );
    // Whoever sweeps by it needs none of them.
    let sweep = Command::new(env!("CARGO_BIN_EXE_portreeve"))
        .args(["sweep", "--engine", "connect", "--tries", "1", "--config"])
        .arg(&file)
        .output()
        .expect("the program runs");
    assert_eq!(sweep.status.code(), Some(0), "{}", String::from_utf8_lossy(&sweep.stderr));
}

#[test]
fn a_sweep_tells_the_mistakes_of_what_it_does_not_need() {
    let output = Command::new(env!("CARGO_BIN_EXE_portreeve"))
        .args(["sweep", "--config", MISTAKES])
        .output()
        .expect("the program runs");
    let told = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(2));
    assert!(told.contains(":79:8: `slak` is no kind of sink; did you mean `slack`?"), "{told}");
    assert!(!told.contains("hunter2"), "{told}");
}

#[test]
fn the_check_says_what_was_understood() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name);
    fs::create_dir(path("secrets")).expect("a directory");
    // No certificate and no absolute path, which a test cannot provide.
    let lines = fs::read_to_string(FULL).expect("a file");
    let keep = |line: &&str| !["ca_file", "cert_file", "key_file"].iter().any(|key| line.starts_with(key));
    let text = lines.lines().filter(keep).collect::<Vec<_>>().join("\n").replace("/etc/portreeve/", "");
    fs::write(path("c.toml"), text).expect("a file");
    fs::copy(beside("body.json.j2"), path("body.json.j2")).expect("a template");
    for (name, secret) in [
        ("soc-signing-key", "whsec_c2VjcmV0"),
        ("slack-url", "https://hooks.slack.com/services/T00000000/B00000000/c2VjcmV0"),
        ("pagerduty", "c2VjcmV0"),
        ("am", "Bearer c2VjcmV0"),
        ("mail-password", "c2VjcmV0"),
        ("splunk-token", "c2VjcmV0"),
        ("elastic-api-key", "c2VjcmV0"),
        ("search-password", "c2VjcmV0"),
    ] {
        fs::write(path("secrets").join(name), secret).expect(name);
    }
    let output = Command::new(env!("CARGO_BIN_EXE_portreeve"))
        .args(["config", "check"])
        .arg(path("c.toml"))
        .output()
        .expect("the program runs");
    let told = String::from_utf8(output.stdout).expect("UTF-8");
    let errors = String::from_utf8(output.stderr).expect("UTF-8");
    let wanted = format!(
        "{}: no mistakes; allowances 2, expectations 2, grades 1, maintenance windows 2, watches 3, sinks 12, routes 8\n\
         watch risky: 65536 addresses x 6 ports\nwatch weekly: 246 addresses x 89 ports\n\
         watch as_usual: 65536 addresses x 6 ports\n",
        path("c.toml").display()
    );
    assert_eq!((told, errors.as_str(), output.status.code()), (wanted, "", Some(0)));
}
