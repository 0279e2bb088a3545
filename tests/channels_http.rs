//! The sinks that speak HTTP against a real server on the loopback, which answers as it is told, well and badly.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use portreeve::sink::channel::alertmanager::Alertmanager;
use portreeve::sink::channel::pagerduty::PagerDuty;
use portreeve::sink::channel::slack::Slack;
use portreeve::sink::channel::webhook::Webhook;
use portreeve::sink::channel::{Channel, Delivery};
use portreeve::sink::message::{Event, Message};
use portreeve::sink::options::{
    AlertmanagerOptions, HttpOptions, LineFormat, PagerDutyOptions, SlackOptions, TlsOptions, Url,
    WebhookOptions,
};
use portreeve::sink::secret::SecretPlace;
use serde_json::{Value, json};
use tempfile::TempDir;

#[path = "receivers/certificates.rs"]
mod certificates;
#[path = "receivers/http.rs"]
mod http;
#[path = "receivers/notices.rs"]
mod notices;

use certificates::{Authority, Certificate};
use http::{Act, HttpReceiver, answer, status};
use notices::{at, message, now};

/// The timeout of channels that are to run into it.
const SHORT: Duration = Duration::from_millis(600);

/// The timeout of all others.
const LONG: Duration = Duration::from_secs(20);

// --- what the tests are made of --------------------------------------------------------------------------------

/// A directory of secrets.
struct Secrets(TempDir);

impl Secrets {
    fn new() -> Self {
        Secrets(TempDir::new().expect("a directory"))
    }

    fn path(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path
    }

    fn place(&self, name: &str, text: &str) -> SecretPlace {
        SecretPlace::File(self.path(name, text))
    }
}

fn http_to(url: &str) -> HttpOptions {
    HttpOptions { url: Url::Written(url.to_owned()), networks: Vec::new(), tls: TlsOptions::default() }
}

fn webhook_options(http: HttpOptions) -> WebhookOptions {
    WebhookOptions {
        http,
        signing_key: None,
        authorization: None,
        headers: [].into(),
        template: None,
        content_type: "application/json".to_owned(),
    }
}

fn webhook(http: HttpOptions, timeout: Duration) -> Webhook {
    Webhook::new(webhook_options(http), timeout)
}

fn alertmanager(url: &str) -> Alertmanager {
    let labels = [("site".to_owned(), "lab".to_owned()), ("kind".to_owned(), "ours".to_owned())].into();
    let refresh = Duration::from_secs(60);
    Alertmanager::new(AlertmanagerOptions { http: http_to(url), authorization: None, labels, refresh }, LONG)
}

fn deliver(channel: &mut dyn Channel, messages: &[Message]) -> Vec<Delivery> {
    channel.deliver(messages, now())
}

fn one(channel: &mut dyn Channel) -> Delivery {
    deliver(channel, &[message(json!({}))]).remove(0)
}

/// Why a message was not taken, and whether it is to be tried again.
fn why(delivery: Delivery) -> (bool, String) {
    match delivery {
        Delivery::Retry { why, .. } => (true, why),
        Delivery::Refused { why } => (false, why),
        Delivery::Delivered | Delivery::Untried => panic!("{delivery:?}"),
    }
}

/// What an independent implementation says to this input.
fn python(program: &str, input: &[u8]) -> String {
    let mut child = Command::new("python3")
        .args(["-c", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3");
    child.stdin.take().expect("its input").write_all(input).expect("its input");
    let output = child.wait_with_output().expect("its output");
    assert!(output.status.success(), "{program}");
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

/// JSON, read and written again by somebody else; no byte of it may control anything.
fn read_by_others(body: &[u8]) -> Value {
    assert!(!body.iter().any(u8::is_ascii_control), "{}", String::from_utf8_lossy(body));
    let again = python("import json, sys; print(json.dumps(json.load(sys.stdin.buffer)))", body);
    serde_json::from_str(&again).expect("JSON")
}

// --- the webhook -----------------------------------------------------------------------------------------------

#[test]
fn a_webhook_is_signed_as_others_verify_it() {
    let (secrets, receiver) = (Secrets::new(), HttpReceiver::start(vec![status(500), status(204)]));
    for (key, bytes) in [
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "base64.b64decode('MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw')"),
        ("raw key", "b'raw key'"),
    ] {
        let mut options = webhook_options(http_to(&format!("{}/hook?x=1", receiver.url)));
        options.signing_key = Some(secrets.place("key", &format!("{key}\n")));
        options.authorization = Some(secrets.place("token", "Bearer s3same"));
        options.headers =
            [("X-Team".to_owned(), "soc".to_owned()), ("webhook-id".to_owned(), "no".to_owned())].into();
        let mut channel = Webhook::new(options, LONG);
        let _ = channel.deliver(&[message(json!({}))], at("2026-06-01T00:00:00Z"));
        assert_eq!(channel.deliver(&[message(json!({}))], at("2026-06-01T00:05:00Z")), [Delivery::Delivered]);
        let requests = receiver.requests();
        let [.., first, second] = &requests[..] else { panic!("{requests:?}") };
        for (request, time) in [(first, "1780272000"), (second, "1780272300")] {
            assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/hook?x=1"));
            for (name, value) in [
                ("webhook-id", "01JX0000000000000000000001"),
                ("webhook-timestamp", time),
                ("authorization", "Bearer s3same"),
                ("x-team", "soc"),
                ("content-type", "application/json"),
                ("user-agent", concat!("portreeve/", env!("CARGO_PKG_VERSION"))),
                ("accept-encoding", ""),
            ] {
                assert_eq!(request.header(name), value, "{name}");
            }
            let program = format!(
                "import base64, hashlib, hmac, sys\n\
                 text = b'{}.{time}.' + sys.stdin.buffer.read()\n\
                 print('v1,' + base64.b64encode(hmac.new({bytes}, text, hashlib.sha256).digest()).decode())",
                request.header("webhook-id"),
            );
            assert_eq!(request.header("webhook-signature"), python(&program, &request.body));
            assert_eq!(request.json()["event"], "alert");
        }
    }
}

#[test]
fn a_collector_of_splunk_gets_its_envelope() {
    let receiver = HttpReceiver::start(vec![status(200)]);
    let mut channel = webhook(http_to(&receiver.url), LONG).told_in(LineFormat::Hec);
    assert_eq!(one(&mut channel), Delivery::Delivered);
    let envelope = read_by_others(&receiver.requests()[0].body);
    assert_eq!(envelope["sourcetype"], "portreeve:exposure");
    assert_eq!(envelope["event"]["id"], message(json!({})).id().to_string());
}

#[test]
fn a_template_makes_the_body_and_what_it_cannot_make_is_refused() {
    let receiver = HttpReceiver::start(vec![status(200)]);
    let mut options = webhook_options(http_to(&receiver.url));
    options.template = Some("{\"text\": {{ message }}, \"ip\": {{ ip }}}".to_owned());
    let mut channel = Webhook::new(options, LONG);
    let odd = "\"}, \"x\": \"\n\u{1b}[2J \\ud800 <!channel>";
    let bare = json!({"kind": "drill", "ip": null});
    let told = [message(json!({"message": odd})), message(bare), message(json!({}))];
    let delivered = deliver(&mut channel, &told);
    assert_eq!(
        (&delivered[0], &delivered[2], delivered.len()),
        (&Delivery::Delivered, &Delivery::Delivered, 3)
    );
    let (again, reason) = why(delivered[1].clone());
    assert!(!again && reason.contains("line 1 of the template"), "{reason}");
    let requests = receiver.requests();
    assert_eq!(requests.len(), 2, "nothing is sent for what cannot be made");
    assert_eq!(read_by_others(&requests[0].body), json!({"text": odd, "ip": "198.18.3.4"}));
}

// --- answers ---------------------------------------------------------------------------------------------------

#[test]
fn each_answer_has_its_outcome() {
    let elsewhere = HttpReceiver::start(vec![status(200)]);
    let redirect = |code| answer(code, &[("location", &format!("{}/away", elsewhere.url))], "");
    let big = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(40 << 10));
    let endless = "HTTP/1.1 500 No\r\nconnection: close\r\n\r\n".to_owned();
    let zipped = [("content-encoding", "gzip")];
    for (act, again, says) in [
        (status(200), None, ""),
        (status(204), None, ""),
        (answer(202, &zipped, "\u{1f}\u{8b}no gzip at all"), None, ""),
        (Act::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\ncut".to_vec()), None, ""),
        (Act::Raw(b"HTTP/1.0 200 OK\r\n\r\n".to_vec()), None, ""),
        (status(400), Some(false), "it answered 400 Bad Request"),
        (answer(410, &[], "gone\x1b[2J"), Some(false), r#"said "gone\x1b[2J""#),
        (status(413), Some(false), "413 Payload Too Large"),
        (answer(422, &zipped, "\u{1f}\u{8b}"), Some(false), r"\x1f"),
        (status(401), Some(true), "renew the secret"),
        (status(404), Some(true), "see whether its address is right"),
        (status(429), Some(true), "429 Too Many Requests"),
        (answer(500, &[], "sorry"), Some(true), "500 Internal Server Error and said \"sorry\""),
        (redirect(301), Some(true), "leads to 127.0.0.1; redirects are not followed"),
        (redirect(307), Some(true), "redirects are not followed"),
        (redirect(308), Some(true), "redirects are not followed"),
        (Act::Refuse, Some(true), ""),
        (Act::Raw(Vec::new()), Some(true), "closed the connection before its answer was whole"),
        (Act::Raw(b"SSH-2.0-OpenSSH\r\n".to_vec()), Some(true), "is no HTTP"),
        (Act::Raw(b"HTTP/1.1 2".to_vec()), Some(true), "before its answer was whole"),
        (Act::Raw(big.into_bytes()), Some(true), "header"),
        (Act::Flood(endless, 1 << 30), Some(true), "500 Internal Server Error and said \"xxx"),
    ] {
        let receiver = HttpReceiver::start(vec![act.clone()]);
        let mut channel = webhook(http_to(&receiver.url), LONG);
        let began = Instant::now();
        match (one(&mut channel), again) {
            (Delivery::Delivered, None) => {}
            (delivery @ (Delivery::Retry { .. } | Delivery::Refused { .. }), Some(again)) => {
                let (is_again, reason) = why(delivery);
                assert_eq!(is_again, again, "{act:?}: {reason}");
                let host = format!("failed to post to 127.0.0.1:{}: ", receiver.address.port());
                assert!(reason.starts_with(&host) && reason.contains(says), "{act:?}: {reason}");
                assert!(reason.chars().count() < 500 && !reason.contains(char::is_control), "{reason}");
            }
            (delivery, _) => panic!("{act:?}: {delivery:?}"),
        }
        assert!(began.elapsed() < Duration::from_secs(5), "{act:?}: {:?}", began.elapsed());
        // Beyond what is read there is what the kernels of both sides hold.
        assert!(receiver.sent() < 32 << 20, "{} bytes taken", receiver.sent());
    }
    assert_eq!((elsewhere.connections(), elsewhere.requests().len()), (0, 0), "somebody followed a redirect");
}

#[test]
fn a_server_says_when_to_come_back() {
    for (headers, after) in [
        (&[("retry-after", "7")][..], Some(7)),
        (&[("retry-after", "Mon, 01 Jun 2026 00:01:00 GMT")], Some(60)),
        (
            &[("retry-after", "Mon, 01 Jun 2026 00:01:00 GMT"), ("date", "Mon, 01 Jun 2026 00:00:50 GMT")],
            Some(10),
        ),
        (&[("retry-after", "soon")], None),
        (&[], None),
    ] {
        let receiver = HttpReceiver::start(vec![answer(429, headers, "")]);
        match one(&mut webhook(http_to(&receiver.url), LONG)) {
            Delivery::Retry { after: asked, .. } => assert_eq!(asked, after.map(Duration::from_secs)),
            delivery => panic!("{delivery:?}"),
        }
    }
}

/// The time of a request is one for all of it. Each of these would take minutes, or for ever.
#[test]
fn nothing_takes_longer_than_the_timeout() {
    let second = Duration::from_secs(1);
    let ok = b"HTTP/1.1 500 Sorry\r\ncontent-length: 40\r\n\r\n".to_vec();
    let mut dripping = ok.clone();
    dripping.extend_from_slice(&[b'x'; 40]);
    let continued = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(100);
    let authority = Authority::new("lab");
    let secrets = Secrets::new();
    let tls = TlsOptions { ca_file: Some(secrets.path("ca", &authority.pem)), ..TlsOptions::default() };
    for (name, act, by_tls) in [
        ("silence", Act::Hang, false),
        ("silence by TLS", Act::Hang, true),
        ("a header a byte a second", Act::Drip(ok.clone(), second), false),
        ("a header a byte a tenth", Act::Drip(ok.clone(), second / 10), false),
        ("a header by TLS", Act::Drip(ok, second / 10), true),
        ("preliminary answers without end", Act::Drip(continued, second / 100), false),
        ("no handshake", Act::Ignore, true),
        (
            "a handshake a byte a tenth",
            Act::Trickle([22, 3, 3, 64, 0, 2, 0, 0, 99, 3, 3].repeat(9), second / 10),
            true,
        ),
        ("nothing is read", Act::Ignore, false),
    ] {
        let receiver = if by_tls {
            HttpReceiver::start_tls(vec![act], authority.issue("localhost").server())
        } else {
            HttpReceiver::start(vec![act])
        };
        let http = HttpOptions { tls: tls.clone(), ..http_to(&receiver.url) };
        let mut channel = webhook(http, SHORT);
        let large = message(json!({"message": "x".repeat(30 << 20)}));
        let told = if name == "nothing is read" { large } else { message(json!({})) };
        let began = Instant::now();
        let (again, reason) = why(deliver(&mut channel, &[told]).remove(0));
        let took = began.elapsed();
        assert!(again && reason.contains("did not answer in 600ms"), "{name}: {reason}");
        assert!(took >= SHORT - Duration::from_millis(50) && took < SHORT + second, "{name}: {took:?}");
    }
    // A status that has come is a status, whether its body ever ends or not.
    for (first, delivered) in [("200 OK", true), ("500 Sorry", false)] {
        let head = format!("HTTP/1.1 {first}\r\ncontent-length: 40\r\n\r\n");
        let rest = format!("{head}{}", "x".repeat(40));
        let receiver = HttpReceiver::start(vec![Act::Drip(rest.into_bytes(), Duration::from_millis(10))]);
        let began = Instant::now();
        let delivery = one(&mut webhook(http_to(&receiver.url), SHORT));
        assert_eq!(delivery == Delivery::Delivered, delivered, "{delivery:?}");
        assert!(began.elapsed() < SHORT + second, "{:?}", began.elapsed());
    }
}

/// A server that reads a little now and then is no reason to go on for longer.
#[test]
fn a_server_that_reads_slowly_holds_nobody_up() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let reading = std::thread::spawn(move || {
        use std::io::Read as _;
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut some = [0; 32 << 10];
        while stream.read(&mut some).is_ok_and(|count| count > 0) {
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    let told = message(json!({"message": "x".repeat(30 << 20)}));
    let began = Instant::now();
    let (again, reason) = why(deliver(&mut webhook(http_to(&url), SHORT), &[told]).remove(0));
    assert!(again && reason.contains("did not answer in 600ms"), "{reason}");
    assert!(began.elapsed() < SHORT + Duration::from_secs(1), "{:?}", began.elapsed());
    drop(reading);
}

#[test]
fn a_batch_goes_by_one_connection_up_to_the_first_that_must_wait() {
    let receiver = HttpReceiver::start(vec![status(200), status(400), status(200), status(503), status(200)]);
    let mut channel = webhook(http_to(&receiver.url), LONG);
    let told: Vec<Message> = (0..9).map(|n| message(json!({"message": format!("{n}")}))).collect();
    let delivered = deliver(&mut channel, &told);
    assert!(
        matches!(
            delivered[..],
            [Delivery::Delivered, Delivery::Refused { .. }, Delivery::Delivered, Delivery::Retry { .. }]
        ),
        "{delivered:?}"
    );
    let requests = receiver.requests();
    let order: Vec<String> = requests
        .iter()
        .map(|request| request.json()["message"].as_str().expect("a text").to_owned())
        .collect();
    assert_eq!(order, ["0", "1", "2", "3"]);
    assert!(requests.iter().all(|request| request.connection == 0), "{requests:?}");
    assert_eq!(deliver(&mut channel, &told[3..5]), [Delivery::Delivered, Delivery::Delivered]);
    assert_eq!(deliver(&mut channel, &[]), []);
}

/// As many slow answers as there are messages would hold the sink up for as many times its timeout.
#[test]
fn no_message_of_a_batch_begins_after_its_time() {
    let slow = Act::Drip(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec(), Duration::from_millis(10));
    let receiver = HttpReceiver::start(vec![slow]);
    let told: Vec<Message> = (0..60).map(|_| message(json!({}))).collect();
    let began = Instant::now();
    let delivered = deliver(&mut webhook(http_to(&receiver.url), SHORT), &told);
    assert!(began.elapsed() < 2 * SHORT + Duration::from_secs(1), "{:?}", began.elapsed());
    assert!((1..10).contains(&delivered.len()), "{delivered:?}");
    assert!(delivered.iter().all(|delivery| *delivery == Delivery::Delivered), "{delivered:?}");
}

// --- whom to trust, and where to go ----------------------------------------------------------------------------

#[test]
fn only_servers_with_a_good_certificate_get_anything() {
    let (authority, other, secrets) = (Authority::new("lab"), Authority::new("other"), Secrets::new());
    let ca = secrets.path("ca.pem", &authority.pem);
    let client = authority.issue("client");
    let (cert, key) = (secrets.path("client.pem", &client.chain), secrets.place("client.key", &client.key));
    let trusting = TlsOptions { ca_file: Some(ca), ..TlsOptions::default() };
    let known = TlsOptions { cert_file: Some(cert), key_file: Some(key), ..trusting.clone() };
    let server = || authority.issue("localhost").server();
    let strict = || authority.strict_server(&authority.issue("localhost"));
    for (name, config, tls, says) in [
        ("good", server(), trusting.clone(), None),
        ("good, for a client it knows", strict(), known, None),
        ("strict, for one it does not", strict(), trusting.clone(), Some("CertificateRequired")),
        (
            "self-signed",
            Certificate::self_signed("localhost").server(),
            trusting.clone(),
            Some("UnknownIssuer"),
        ),
        ("of another authority", other.issue("localhost").server(), trusting.clone(), Some("UnknownIssuer")),
        ("of no authority of this system", server(), TlsOptions::default(), Some("ca_file")),
        (
            "of another name",
            authority.issue("other.example").server(),
            trusting.clone(),
            Some("not valid for name"),
        ),
        ("expired", authority.issue_until("localhost", 2020).server(), trusting.clone(), Some("expired")),
    ] {
        let receiver = HttpReceiver::start_tls(vec![status(200)], config);
        let delivery = one(&mut webhook(HttpOptions { tls, ..http_to(&receiver.url) }, LONG));
        match says {
            None => {
                assert_eq!((delivery, receiver.requests().len()), (Delivery::Delivered, 1), "{name}");
            }
            Some(says) => {
                let (again, reason) = why(delivery);
                assert!(again && reason.contains(says), "{name}: {reason}");
                assert_eq!(receiver.requests().len(), 0, "{name}");
            }
        }
    }
    let receiver = HttpReceiver::start(vec![status(200)]);
    let plain = HttpOptions { tls: trusting.clone(), ..http_to(&receiver.url.replace("http:", "https:")) };
    let (again, reason) = why(one(&mut webhook(plain, SHORT)));
    assert!(again && receiver.requests().is_empty(), "{reason}");
    let half = TlsOptions { cert_file: Some(secrets.path("half.pem", &client.chain)), ..trusting };
    let (again, reason) =
        why(one(&mut webhook(HttpOptions { tls: half, ..http_to("https://localhost:1") }, LONG)));
    assert!(again && reason.contains("go together"), "{reason}");
}

#[test]
fn no_connection_leaves_the_networks_that_are_named() {
    let receiver = HttpReceiver::start(vec![status(200)]);
    let port = receiver.address.port();
    for (host, networks, goes) in [
        ("127.0.0.1", &["127.0.0.0/8"][..], true),
        ("localhost", &["127.0.0.1/32"], true),
        ("[::ffff:127.0.0.1]", &["127.0.0.0/8"], true),
        ("127.0.0.1", &["10.0.0.0/8", "127.0.0.1/32"], true),
        ("127.0.0.1", &["10.0.0.0/8"], false),
        ("localhost", &["10.0.0.0/8", "2001:db8::/32"], false),
        ("[::ffff:127.0.0.1]", &["::ffff:0:0/96"], false),
        ("[::ffff:127.0.0.1]", &["10.0.0.0/8"], false),
    ] {
        let before = receiver.connections();
        let networks: Vec<_> = networks.iter().map(|network| network.parse().expect("a network")).collect();
        let http = HttpOptions { networks, ..http_to(&format!("http://{host}:{port}/")) };
        let delivery = one(&mut webhook(http.clone(), LONG));
        assert_eq!(delivery == Delivery::Delivered, goes, "{host} {:?}: {delivery:?}", http.networks);
        if !goes {
            let (again, reason) = why(delivery);
            assert!(again && reason.contains("outside of the networks"), "{reason}");
            assert_eq!(receiver.connections(), before, "{host}");
        }
    }
}

#[test]
fn whom_nobody_can_reach_is_tried_again() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("one").port();
    for (url, says) in [
        (format!("http://127.0.0.1:{port}/"), "Connection refused"),
        ("http://no-such-host.invalid/".to_owned(), "name"),
        ("ftp://127.0.0.1/".to_owned(), "none of http or https"),
        ("http://127.0.0.1:99999/".to_owned(), "none of http or https"),
    ] {
        let (again, reason) = why(one(&mut webhook(http_to(&url), LONG)));
        assert!(again && reason.contains(says), "{url}: {reason}");
    }
}

/// Runs once more in a process of its own, whose environment names a proxy.
#[test]
fn a_proxy_of_the_environment_is_not_asked() {
    const MARK: &str = "PORTREEVE_PROXY_CASE";
    if std::env::var_os(MARK).is_some() {
        let receiver = HttpReceiver::start(vec![status(200)]);
        assert_eq!(one(&mut webhook(http_to(&receiver.url), LONG)), Delivery::Delivered);
        assert_eq!(receiver.requests().len(), 1);
        return;
    }
    let proxy = HttpReceiver::start(vec![status(200)]);
    let mut child = Command::new(std::env::current_exe().expect("this program"));
    child.args(["--exact", "a_proxy_of_the_environment_is_not_asked"]).env(MARK, "1");
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        child.env(name, &proxy.url);
    }
    child.env_remove("no_proxy").env_remove("NO_PROXY");
    assert!(child.output().expect("this program").status.success());
    assert_eq!(proxy.connections(), 0);
}

// --- secrets ---------------------------------------------------------------------------------------------------

#[test]
fn no_reason_holds_a_secret_however_the_server_repeats_it() {
    let secrets = Secrets::new();
    let said = "no /services/T00AAAA/B00BBBB/xoxX123 for xoxX123, Bearer t0p-s3cret, t0p-s3cret, R0UT1NGKEY";
    for code in [400, 404, 500, 302] {
        let receiver =
            HttpReceiver::start(vec![answer(code, &[("location", "https://h.example/xoxX123")], said)]);
        let url = format!("{}/services/T00AAAA/B00BBBB/xoxX123", receiver.url);
        let http = || HttpOptions { url: Url::Secret(secrets.place("url", &url)), ..http_to("") };
        let mut options = webhook_options(http());
        options.authorization = Some(secrets.place("token", "Bearer t0p-s3cret"));
        options.signing_key = Some(secrets.place("key", "t0p-s3cret"));
        let mut webhook = Webhook::new(options, LONG);
        let mut slack = Slack::new(SlackOptions { http: http(), channel: None }, LONG);
        let routing_key = secrets.place("routing", "R0UT1NGKEY");
        let mut pagerduty = PagerDuty::new(PagerDutyOptions { http: http(), routing_key }, LONG);
        let channels: [(&mut dyn Channel, &[&str]); 3] = [
            (&mut webhook, &["xoxX123", "T00AAAA", "s3cret"]),
            (&mut slack, &["xoxX123", "T00AAAA", "services"]),
            (&mut pagerduty, &["xoxX123", "R0UT1NG"]),
        ];
        for (channel, hidden) in channels {
            let (_, reason) = why(one(channel));
            assert!(reason.contains(&format!("127.0.0.1:{}", receiver.address.port())), "{reason}");
            assert!(!hidden.iter().any(|secret| reason.contains(secret)), "{reason}");
        }
    }
}

#[test]
fn a_secret_is_used_as_it_is_now() {
    let (secrets, first, second) =
        (Secrets::new(), HttpReceiver::start(vec![status(200)]), HttpReceiver::start(vec![status(200)]));
    let place = secrets.place("url", &first.url);
    let mut options = webhook_options(HttpOptions { url: Url::Secret(place), ..http_to("") });
    options.authorization = Some(secrets.place("token", "one"));
    let mut channel = Webhook::new(options, LONG);
    assert_eq!(one(&mut channel), Delivery::Delivered);
    secrets.place("url", &second.url);
    secrets.place("token", "two");
    assert_eq!(one(&mut channel), Delivery::Delivered);
    assert_eq!(first.requests()[0].header("authorization"), "one");
    assert_eq!(second.requests()[0].header("authorization"), "two");
    for (name, text, says) in [
        ("token", "two\nlines", "cannot stand in a header"),
        ("token", " \n", "is empty"),
        ("url", "not an address of s3crets", "holds no address of http or https"),
    ] {
        secrets.place(name, text);
        let (again, reason) = why(one(&mut channel));
        assert!(again && reason.contains(says) && !reason.contains("s3crets"), "{reason}");
    }
    std::fs::remove_file(secrets.0.path().join("url")).expect("a file");
    let (again, reason) = why(one(&mut channel));
    assert!(again && reason.contains("failed to read the secret"), "{reason}");
    assert_eq!((first.requests().len(), second.requests().len()), (1, 1));
}

// --- what each sink makes of alerts ----------------------------------------------------------------------------

/// Each of these has undone some format.
const HOSTILE: &[&str] = &[
    "\" onload=\"x",
    "'; -- \\",
    "line\r\nInjected: yes\n\n",
    "esc \x1b[2J\x1b]0;owned\x07 bell \x07 nul \0 del \x7f",
    "csi \u{9b}31m",
    "rtl \u{202e}txt.exe\u{2066}",
    "<!channel> <@U024BE7LH> @here @channel",
    "[pay](http://evil.example/) ![](http://evil.example/x.png)",
    "\\ud800 \\u0000 {{ 7 * 7 }} {% raw %} ${x}",
    "\u{feff}\u{fffd}\u{10ffff}\u{e0041}",
    "</script>&amp;<b>",
];

#[test]
fn hostile_texts_stay_texts_in_every_format() {
    let (secrets, receiver) = (Secrets::new(), HttpReceiver::start(vec![status(200)]));
    let mut webhook = webhook(http_to(&receiver.url), LONG);
    let mut slack =
        Slack::new(SlackOptions { http: http_to(&receiver.url), channel: Some("#soc".to_owned()) }, LONG);
    let routing_key = secrets.place("routing", "R0UT1NGKEY");
    let mut pagerduty = PagerDuty::new(PagerDutyOptions { http: http_to(&receiver.url), routing_key }, LONG);
    let mut alertmanager = alertmanager(&receiver.url);
    for text in HOSTILE {
        let told = message(json!({
            "names": [text], "owner": text, "service": text, "message": text, "about": text, "muted": text,
            "expectation": text, "banner": {"protocol": "http", "text": text},
            "allowance": {"reason": text, "owner": text, "expires": null, "line": null},
            "acknowledged": {"who": text, "note": text, "at": "2026-06-01T00:00:00Z"},
        }));
        let channels: [&mut dyn Channel; 4] = [&mut webhook, &mut slack, &mut pagerduty, &mut alertmanager];
        for channel in channels {
            assert_eq!(deliver(channel, std::slice::from_ref(&told)), [Delivery::Delivered], "{text:?}");
        }
        let requests = receiver.requests();
        let [.., by_webhook, by_slack, by_pagerduty, by_alertmanager] = &requests[..] else { panic!() };
        // Machines get the text as it is, and people something that cannot hurt them.
        let event = read_by_others(&by_webhook.body);
        assert_eq!((&event["owner"], &event["names"][0]), (&json!(text), &json!(text)));
        assert_eq!(event["acknowledged"]["note"], json!(text));
        let incident = read_by_others(&by_pagerduty.body);
        assert_eq!(incident["payload"]["custom_details"]["owner"], json!(text));
        let alerts = read_by_others(&by_alertmanager.body);
        let chat = read_by_others(&by_slack.body);
        let shown = [
            &chat["text"],
            &chat["attachments"][0]["fallback"],
            &incident["payload"]["summary"],
            &alerts[0]["annotations"]["summary"],
            &alerts[0]["annotations"]["owner"],
        ];
        for shown in shown.map(|shown| shown.as_str().expect("a text")) {
            assert!(
                !shown.contains(char::is_control) && !shown.contains(['\u{202e}', '\u{feff}']),
                "{shown:?}"
            );
        }
        for chat in
            [&chat["text"], &chat["attachments"][0]["text"]].map(|shown| shown.as_str().expect("a text"))
        {
            assert!(
                !chat.contains(['<', '>']) && !chat.contains("@here") && !chat.contains("@channel"),
                "{chat}"
            );
            assert!(!chat.contains("]("), "{chat}");
        }
    }
}

#[test]
fn a_chat_gets_a_title_and_lines() {
    let receiver = HttpReceiver::start(vec![answer(200, &[], "ok")]);
    for (channel, with, color) in [
        (None, json!({}), "#b00020"),
        (Some("#soc"), json!({"transition": "resolved", "state": "resolved"}), "#2eb886"),
        (None, json!({"transition": "flapping-started", "state": "resolved", "severity": "low"}), "#439fe0"),
    ] {
        let options = SlackOptions { http: http_to(&receiver.url), channel: channel.map(str::to_owned) };
        let mut slack = Slack::new(options, LONG);
        assert_eq!(slack.batch(), 1, "no faster than Slack likes");
        assert_eq!(deliver(&mut slack, &[message(with)]), [Delivery::Delivered]);
        let body = receiver.requests().last().expect("a request").json();
        assert_eq!(body["channel"].as_str(), channel);
        assert_eq!((&body["attachments"][0]["color"], &body["link_names"]), (&json!(color), &json!(false)));
        let text = body["attachments"][0]["text"].as_str().expect("a text");
        assert!(text.contains("fingerprint: c7f9d4be7f56ab39151510a68a616d91\nsweep: risky"), "{text}");
    }
}

#[test]
fn each_transition_does_its_own_to_an_incident() {
    let (secrets, receiver) = (Secrets::new(), HttpReceiver::start(vec![status(202)]));
    let routing_key = secrets.place("routing", "R0UT1NGKEY");
    let mut channel = PagerDuty::new(PagerDutyOptions { http: http_to(&receiver.url), routing_key }, LONG);
    for (transition, state, action) in [
        ("firing", "firing", "trigger"),
        ("escalated", "firing", "trigger"),
        ("annotated", "firing", "trigger"),
        ("annotated", "resolved", "resolve"),
        ("reminder", "firing", "trigger"),
        ("acknowledged", "firing", "acknowledge"),
        ("acknowledged", "resolved", "resolve"),
        ("flapping-started", "firing", "trigger"),
        ("flapping-started", "resolved", "trigger"),
        ("flapping-ended", "firing", "trigger"),
        ("flapping-ended", "resolved", "resolve"),
        ("resolved", "resolved", "resolve"),
    ] {
        let told = message(json!({"transition": transition, "state": state}));
        assert_eq!(deliver(&mut channel, &[told]), [Delivery::Delivered]);
        let body = receiver.requests().last().expect("a request").json();
        assert_eq!(body["event_action"], action, "{transition} {state}");
        assert_eq!(body["dedup_key"], "c7f9d4be7f56ab39151510a68a616d91");
        assert_eq!(body["routing_key"], "R0UT1NGKEY");
        assert_eq!(body.get("payload").is_some(), action == "trigger");
    }
    for (severity, theirs) in [
        ("critical", "critical"),
        ("high", "error"),
        ("medium", "warning"),
        ("low", "info"),
        ("info", "info"),
    ] {
        assert_eq!(deliver(&mut channel, &[message(json!({"severity": severity}))]), [Delivery::Delivered]);
        let payload = &receiver.requests().last().expect("a request").json()["payload"];
        assert_eq!(payload["severity"], theirs);
        assert_eq!((&payload["source"], &payload["component"]), (&json!("198.18.3.4"), &json!("redis")));
        assert_eq!((&payload["group"], &payload["class"]), (&json!("security"), &json!("exposure")));
        assert_eq!(payload["timestamp"], "2026-06-01T00:00:00.123Z");
        assert_eq!(payload["custom_details"]["event"], "alert");
    }
}

#[test]
fn an_incident_stays_within_what_pagerduty_takes() {
    let (secrets, receiver) = (Secrets::new(), HttpReceiver::start(vec![status(202)]));
    let routing_key = secrets.place("routing", "R0UT1NGKEY");
    let mut channel = PagerDuty::new(PagerDutyOptions { http: http_to(&receiver.url), routing_key }, LONG);
    let names: Vec<String> = (0..20_000).map(|n| format!("host-{n}.example.net\u{202e}")).collect();
    let told = message(json!({"names": names, "service": "\u{1b}".repeat(5000)}));
    assert_eq!(deliver(&mut channel, &[told]), [Delivery::Delivered]);
    let request = receiver.requests().remove(0);
    assert!(request.body.len() < 512_000, "{}", request.body.len());
    let payload = &request.json()["payload"];
    assert!(payload["summary"].as_str().expect("a text").chars().count() <= 1024);
    assert!(payload["custom_details"]["names"].as_str().expect("a text").ends_with("more"), "{payload}");
    let event = Event {
        id: "01JX0000000000000000000009".parse().expect("one"),
        kind: "x".to_owned(),
        time: now(),
        body: json!({}),
    };
    let (again, _) = why(deliver(&mut channel, &[Message::Event(event)]).remove(0));
    assert!(!again);
}

#[test]
fn an_alert_has_the_same_labels_from_its_beginning_to_its_end() {
    let receiver = HttpReceiver::start(vec![status(200)]);
    let mut channel = alertmanager(&format!("{}/am/", receiver.url));
    let told = [
        message(json!({})),
        message(
            json!({"transition": "escalated", "severity": "low", "owner": "data", "rule": "allowance-expired",
            "service": "other", "annotation": "transient", "message": "other", "verified": false}),
        ),
        message(json!({"transition": "resolved", "state": "resolved", "since": "2026-05-31T23:59:00Z",
            "fired_at": "2026-05-31T23:00:00Z", "resolution": "seen"})),
        message(json!({"transition": "flapping-started", "state": "resolved", "flapping": true})),
    ];
    assert_eq!(deliver(&mut channel, &told), vec![Delivery::Delivered; 4]);
    let request = receiver.requests().remove(0);
    assert_eq!(request.path, "/am/api/v2/alerts");
    let posted = request.json();
    let labels = json!({
        "alertname": "PortreeveExposure", "fingerprint": "c7f9d4be7f56ab39151510a68a616d91", "kind": "exposure",
        "class": "security", "instance": "198.18.3.4:6379", "ip": "198.18.3.4", "port": "6379", "transport": "tcp",
        "site": "lab",
    });
    for alert in posted.as_array().expect("an array") {
        assert_eq!(alert["labels"], labels);
    }
    let times =
        |n: usize| (posted[n]["startsAt"].as_str().expect("one"), posted[n]["endsAt"].as_str().expect("one"));
    assert_eq!(times(0), ("2026-06-01T00:00:00.000Z", "2026-06-01T00:03:00.000Z"), "never begun after now");
    assert_eq!(times(2), ("2026-05-31T23:00:00.000Z", "2026-05-31T23:59:00.000Z"));
    assert_eq!(times(3).1, "2026-06-01T00:03:00.000Z");
    assert_eq!(posted[0]["annotations"]["severity"], "critical");
    let early =
        message(json!({"transition": "resolved", "state": "resolved", "since": "2026-05-01T00:00:00Z",
        "fired_at": "2026-05-02T00:00:00Z"}));
    assert_eq!(deliver(&mut channel, &[early]), [Delivery::Delivered]);
    let posted = receiver.requests().remove(1).json();
    assert_eq!(posted[0]["startsAt"], posted[0]["endsAt"], "no end before the beginning");
}

#[test]
fn what_fires_is_told_again_and_again() {
    let receiver = HttpReceiver::start(vec![status(200)]);
    let mut channel = alertmanager(&receiver.url);
    assert_eq!(channel.refresh_every(), Some(Duration::from_secs(60)));
    let alert = |with: Value| notices::notice(with).alert;
    let told: Vec<_> = [
        alert(json!({"message": "a"})),
        alert(json!({"state": "pending"})),
        alert(json!({"state": "resolved"})),
        alert(json!({"state": "resolved", "flapping": true})),
    ]
    .into_iter()
    .chain((0..600).map(|_| alert(json!({}))))
    .collect();
    assert_eq!(channel.refresh(&told, at("2026-06-01T01:00:00Z")), Ok(()));
    let posted: Vec<Value> = receiver.requests().iter().map(http::Request::json).collect();
    let counts: Vec<usize> = posted.iter().map(|some| some.as_array().expect("an array").len()).collect();
    assert_eq!(counts, [256, 256, 91], "no pending one");
    let ends: Vec<&str> = (0..3).map(|n| posted[0][n]["endsAt"].as_str().expect("a time")).collect();
    assert_eq!(ends, ["2026-06-01T01:03:00.000Z", "2026-06-01T00:00:00.100Z", "2026-06-01T01:03:00.000Z"]);
    let description = posted[0][0]["annotations"]["description"].as_str().expect("a text");
    assert!(description.starts_with("what: a\n"), "{description}");
    let down = HttpReceiver::start(vec![status(503)]);
    let reason = alertmanager(&down.url).refresh(&told, now()).expect_err("it is down");
    assert!(reason.contains("503") && down.requests().len() == 1, "{reason}");
}

#[test]
fn one_alert_that_alertmanager_refuses_takes_no_other_with_it() {
    let receiver = HttpReceiver::start(vec![status(400), status(200), status(400), status(200)]);
    let event = Event {
        id: "01JX0000000000000000000009".parse().expect("one"),
        kind: "x".to_owned(),
        time: now(),
        body: json!({}),
    };
    let told = [message(json!({})), Message::Event(event), message(json!({})), message(json!({}))];
    let delivered = deliver(&mut alertmanager(&receiver.url), &told);
    assert!(
        matches!(
            delivered[..],
            [Delivery::Delivered, Delivery::Refused { .. }, Delivery::Refused { .. }, Delivery::Delivered]
        ),
        "{delivered:?}"
    );
    assert_eq!(receiver.requests().len(), 4);
    let down = HttpReceiver::start(vec![status(500)]);
    let delivered = deliver(&mut alertmanager(&down.url), &told);
    assert!(matches!(delivered[..], [Delivery::Retry { .. }]) && down.requests().len() == 1, "{delivered:?}");
}
