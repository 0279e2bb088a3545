//! The sinks that are told many messages at once, against receivers of our own that take them as the real ones do,
//! well and badly; and their way through the outbox.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use portreeve::alert::route::Routes;
use portreeve::alert::rules::AlertRules;
use portreeve::sink::channel::bulk::Bulk;
use portreeve::sink::channel::splunk::Splunk;
use portreeve::sink::channel::{Channel, Delivery};
use portreeve::sink::format::Origin;
use portreeve::sink::message::Message;
use portreeve::sink::options::{
    BulkAccess, BulkOptions, HttpOptions, LineFormat, SplunkOptions, TlsOptions, Url,
};
use portreeve::sink::secret::SecretPlace;
use portreeve::store::Store;
use portreeve::store::error::StoreError;
use portreeve::sync::{Ordering, SignalFlag};
use portreeve::watch::bell::Bell;
use portreeve::watch::desk::Desk;
use portreeve::watch::messenger::Messenger;
use portreeve::watch::standing::Standing;
use portreeve::watch::time::{MachineTime, Time, TimeSource};
use serde_json::{Value, json};
use tempfile::TempDir;
use ulid::Ulid;

#[path = "receivers/gatherers.rs"]
mod gatherers;
#[path = "receivers/http.rs"]
mod http;
#[path = "receivers/notices.rs"]
mod notices;

use gatherers::{Asked, Gatherer, Index, documents, envelopes};
use http::{Act, HttpReceiver, answer, status};
use notices::{message, now};

/// The timeout of channels that are to run into it.
const SHORT: Duration = Duration::from_millis(600);

/// The timeout of all others.
const LONG: Duration = Duration::from_secs(20);

// --- what the tests are made of --------------------------------------------------------------------------------

/// The word number `n` about the alert of this key.
fn word(n: u128, key: u128) -> Message {
    let id = Ulid::from_parts(1_780_000_000_000, n).to_string();
    message(json!({"id": id, "fingerprint": format!("{key:032x}"), "message": format!("word {n} of {key}")}))
}

fn words(count: u128) -> Vec<Message> {
    (0..count).map(|n| word(n, n)).collect()
}

struct Secrets(TempDir);

impl Secrets {
    fn new() -> Self {
        Secrets(TempDir::new().expect("a directory"))
    }

    fn place(&self, text: &str) -> SecretPlace {
        let path: PathBuf = self.0.path().join("secret");
        std::fs::write(&path, format!("{text}\n")).expect("a file");
        SecretPlace::File(path)
    }
}

fn http_to(url: &str) -> HttpOptions {
    HttpOptions { url: Url::Written(url.to_owned()), networks: Vec::new(), tls: TlsOptions::default() }
}

fn bulk_at(url: &str, timeout: Duration) -> Bulk {
    let access = BulkAccess::Open;
    Bulk::new(BulkOptions { http: http_to(url), index: "portreeve".to_owned(), access }, timeout)
}

fn splunk_options(url: &str, token: SecretPlace) -> SplunkOptions {
    SplunkOptions {
        http: http_to(url),
        token,
        index: None,
        source: None,
        source_type: None,
        host: None,
        acknowledge: false,
    }
}

fn splunk_at(url: &str, acknowledge: bool, timeout: Duration) -> (Secrets, Splunk) {
    let secrets = Secrets::new();
    let options = SplunkOptions { acknowledge, ..splunk_options(url, secrets.place("t0ken-of-hec")) };
    (secrets, Splunk::new(options, timeout))
}

/// What became of messages, a letter each: delivered, to be retried, refused, not tried.
fn letters(deliveries: &[Delivery]) -> String {
    let letter = |delivery: &Delivery| match delivery {
        Delivery::Delivered => 'd',
        Delivery::Retry { .. } => 'r',
        Delivery::Refused { .. } => 'x',
        Delivery::Untried => '-',
    };
    deliveries.iter().map(letter).collect()
}

/// Why the first that was not delivered was not, and whether it is tried again.
fn first_why(deliveries: &[Delivery]) -> (bool, String) {
    let why = deliveries.iter().find_map(|delivery| match delivery {
        Delivery::Retry { why, .. } => Some((true, why.clone())),
        Delivery::Refused { why } => Some((false, why.clone())),
        _ => None,
    });
    let (again, why) = why.unwrap_or_else(|| panic!("{deliveries:?}"));
    assert!(why.chars().count() < 500 && !why.contains(char::is_control), "{why}");
    assert!(!why.contains("t0ken") && !why.contains('\u{202e}'), "{why}");
    (again, why)
}

fn origin() -> Origin {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Origin { host, process: std::process::id(), source: None }
}

/// What a format makes of a message.
fn told(format: LineFormat, message: &Message) -> Value {
    let line = format.payload(&message.json(), &origin()).expect("an event").expect("a form");
    serde_json::from_slice(&line).expect("JSON")
}

// --- Elasticsearch and OpenSearch ------------------------------------------------------------------------------

#[test]
fn documents_are_created_under_their_identifiers_in_their_format() {
    let secrets = Secrets::new();
    for (access, said) in [
        (BulkAccess::Open, ""),
        // base64 of `joe:s3same-0pen`
        (
            BulkAccess::Basic { user: "joe".to_owned(), password: secrets.place("s3same-0pen") },
            "Basic am9lOnMzc2FtZS0wcGVu",
        ),
    ] {
        let receiver = HttpReceiver::start(vec![answer(
            200,
            &[],
            &json!({"items": [{"create": {"status": 201}}, {"create": {"status": 409}}]}).to_string(),
        )]);
        let http = http_to(&format!("{}/es/", receiver.url));
        let options = BulkOptions { http, index: "logs-portreeve".to_owned(), access };
        for format in [LineFormat::Ecs, LineFormat::Ocsf] {
            let mut channel = Bulk::new(options.clone(), LONG).told_in(format);
            let messages = words(2);
            assert_eq!(letters(&channel.deliver(&messages, now())), "dd", "what is there already is there");
            let requests = receiver.requests();
            let request = requests.last().expect("a request");
            assert_eq!(
                request.path,
                "/es/logs-portreeve/_bulk?filter_path=items.*.status,items.*.error.type,items.*.error.reason"
            );
            assert_eq!(request.header("content-type"), "application/x-ndjson");
            assert_eq!(request.header("authorization"), said);
            let expected: Vec<(String, Value)> =
                messages.iter().map(|message| (message.id().to_string(), told(format, message))).collect();
            assert_eq!(documents(&request.body), expected);
            assert!(!request.body.contains(&0x1b));
        }
    }
}

#[test]
fn keys_and_tokens_stand_in_the_header_and_nowhere_else() {
    let echo = |said: &str| answer(401, &[], &format!("no {said} am9lOnMzc2FtZS0wcGVu s3same-0pen"));
    let secrets = Secrets::new();
    for (access, header) in [
        (BulkAccess::ApiKey(secrets.place("s3same-0pen")), "ApiKey s3same-0pen"),
        (BulkAccess::Bearer(secrets.place("s3same-0pen")), "Bearer s3same-0pen"),
        (
            BulkAccess::Basic { user: "joe".to_owned(), password: secrets.place("s3same-0pen") },
            "Basic am9lOnMzc2FtZS0wcGVu",
        ),
    ] {
        let receiver = HttpReceiver::start(vec![echo(header)]);
        let is_basic = matches!(access, BulkAccess::Basic { .. });
        let options = BulkOptions { http: http_to(&receiver.url), index: "p".to_owned(), access };
        let deliveries = Bulk::new(options, LONG).deliver(&words(3), now());
        assert_eq!(letters(&deliveries), "rrr");
        assert_eq!(receiver.requests().len(), 1);
        assert_eq!(receiver.requests()[0].header("authorization"), header);
        let (_, why) = first_why(&deliveries);
        assert!(why.contains("401") && why.contains("renew the secret"), "{why}");
        assert!(!why.contains("s3same") && (!is_basic || !why.contains("am9lOn")), "{why}");
    }
    let missing = BulkAccess::Bearer(SecretPlace::File("/no/such/secret".into()));
    let options = BulkOptions { http: http_to("http://127.0.0.1:9"), index: "p".to_owned(), access: missing };
    let (again, why) = first_why(&Bulk::new(options, LONG).deliver(&words(3), now()));
    assert!(again && why.contains("/no/such/secret"), "{why}");
}

#[test]
fn each_document_has_its_own_outcome() {
    for (status, kind, letter, says) in [
        (200, "", 'd', ""),
        (201, "", 'd', ""),
        (409, "version_conflict_engine_exception", 'd', ""),
        (
            400,
            "document_parsing_exception",
            'x',
            r"document_parsing_exception: failed to parse field [\x1b[2J",
        ),
        (400, "mapper_parsing_exception", 'x', r"\u{202e}x] of type [ip]"),
        (400, "index_closed_exception", 'r', ""),
        (400, "validation_exception", 'r', ""),
        (403, "security_exception", 'r', "let this user create documents"),
        (404, "index_not_found_exception", 'r', "make this index"),
        (429, "es_rejected_execution_exception", 'r', "it answered 429 for this event"),
        (500, "", 'r', ""),
        (503, "unavailable_shards_exception", 'r', ""),
    ] {
        let index = Arc::new(Mutex::new(Index::default()));
        let bad = word(1, 1).id().to_string();
        let receiver = Gatherer::start(Box::new(move |asked: &Asked<'_>| {
            let faulty = |id: &str, _: &Value| (id == bad && status > 299).then_some((status, kind));
            (200, index.lock().expect("an index").create(asked.body, faulty))
        }));
        let deliveries = bulk_at(&receiver.url, LONG).deliver(&words(3), now());
        assert_eq!(letters(&deliveries), format!("d{letter}d"), "{status} {kind}");
        if letter != 'd' {
            let (again, why) = first_why(&deliveries);
            assert!(again == (letter == 'r') && why.contains(says), "{why}");
        }
    }
}

#[test]
fn answers_that_are_none_of_a_bulk_api_lose_nothing() {
    let ok = |count: usize| json!({"items": vec![json!({"create": {"status": 201}}); count]}).to_string();
    let huge = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{{\"items\":[\"{}", "x".repeat(100));
    for (act, letters_of, says) in [
        (answer(200, &[], &ok(3)), "ddd", ""),
        (answer(200, &[], &ok(2)), "rrr", "it was told of 3 events and answered for 2"),
        (answer(200, &[], &ok(4)), "rrr", "answered for 4"),
        (answer(200, &[], "<html>welcome</html>"), "rrr", "its answer is none of a bulk API"),
        (answer(200, &[], "{\"errors\":false}"), "rrr", "its answer is none of a bulk API"),
        (answer(200, &[], "{\"items\":[{\"index\":{\"status\":201}}]}"), "rrr", "none of a bulk API"),
        (status(204), "rrr", "none of a bulk API"),
        (Act::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n{\"items\":[".to_vec()), "rrr", "none of"),
        (Act::Flood(huge, 1 << 30), "rrr", "none of a bulk API"),
        (answer(429, &[("retry-after", "7")], ""), "rrr", "429"),
        (status(503), "rrr", "503"),
        (status(301), "rrr", "redirects are not followed"),
        (Act::Refuse, "rrr", ""),
    ] {
        let receiver = HttpReceiver::start(vec![act.clone()]);
        let began = Instant::now();
        let deliveries = bulk_at(&receiver.url, LONG).deliver(&words(3), now());
        assert_eq!(letters(&deliveries), letters_of, "{act:?}");
        if letters_of != "ddd" {
            let (_, why) = first_why(&deliveries);
            assert!(why.contains(says), "{act:?}: {why}");
        }
        assert!(began.elapsed() < Duration::from_secs(10), "{act:?}: {:?}", began.elapsed());
        assert!(receiver.sent() < 64 << 20, "{} bytes taken", receiver.sent());
        assert!(receiver.requests().len() <= 1, "a receiver that has failed is asked again at once");
    }
}

#[test]
fn a_server_that_drips_holds_a_batch_up_no_longer_than_its_time() {
    let whole = format!("HTTP/1.1 200 OK\r\ncontent-length: 4000\r\n\r\n{}", "x".repeat(4000));
    for act in [Act::Hang, Act::Drip(whole.into_bytes(), Duration::from_millis(50))] {
        let receiver = HttpReceiver::start(vec![act]);
        let (_secrets, mut splunk) = splunk_at(&receiver.url, true, SHORT);
        let channels: [&mut dyn Channel; 2] = [&mut bulk_at(&receiver.url, SHORT), &mut splunk];
        for channel in channels {
            let began = Instant::now();
            let deliveries = channel.deliver(&words(1200), now());
            assert_eq!(letters(&deliveries), "r".repeat(500) + &"-".repeat(700));
            assert!(began.elapsed() < SHORT * 3, "{:?}", began.elapsed());
        }
    }
}

#[test]
fn a_request_that_is_too_large_is_halved_and_one_alone_is_given_up() {
    let index = Arc::new(Mutex::new(Index::default()));
    let kept = Arc::clone(&index);
    let receiver = Gatherer::start(Box::new(move |asked: &Asked<'_>| {
        // Seven fit, and one is larger than all that.
        match asked.body.len() {
            ..8000 => (200, kept.lock().expect("an index").create(asked.body, |_, _| None)),
            _ => (413, json!({"error": "too large"})),
        }
    }));
    let mut messages = words(40);
    messages[17] = message(json!({"id": messages[17].id().to_string(), "banner": {
        "protocol": "ssh", "text": "x".repeat(20_000)}, "names": vec!["n".repeat(900); 20]}));
    let deliveries = bulk_at(&receiver.url, LONG).deliver(&messages, now());
    assert_eq!(letters(&deliveries), format!("{}x{}", "d".repeat(17), "d".repeat(22)));
    assert!(first_why(&deliveries).1.contains("413"));
    assert_eq!(index.lock().expect("an index").documents.len(), 39);
}

/// The server takes the second word of a key and not the first, if it gets both at once.
#[test]
fn a_word_that_must_wait_holds_back_the_later_ones_of_its_key() {
    let index = Arc::new(Mutex::new(Index::default()));
    let (kept, busy) = (Arc::clone(&index), word(0, 7).id().to_string());
    let is_busy = Arc::new(Mutex::new(true));
    let still = Arc::clone(&is_busy);
    let receiver = Gatherer::start(Box::new(move |asked: &Asked<'_>| {
        let is_busy = *still.lock().expect("a word");
        let busy = |id: &str, _: &Value| (is_busy && id == busy).then_some((429, "rejected"));
        (200, kept.lock().expect("an index").create(asked.body, busy))
    }));
    let messages = [word(0, 7), word(1, 8), word(2, 7), word(3, 8), word(4, 7)];
    let mut channel = bulk_at(&receiver.url, LONG);
    assert_eq!(letters(&channel.deliver(&messages, now())), "rd-d-");
    *is_busy.lock().expect("a word") = false;
    assert_eq!(
        letters(&channel.deliver(&messages, now())),
        "ddddd",
        "and what is there already is no duplicate"
    );
    let order: Vec<String> =
        index.lock().expect("an index").documents.iter().map(|(id, _)| id.clone()).collect();
    let expected = [1, 3, 0, 2, 4].map(|n: usize| messages[n].id().to_string());
    assert_eq!(order, expected);
}

// --- Splunk ----------------------------------------------------------------------------------------------------

#[test]
fn a_collector_gets_envelopes_one_behind_the_other() {
    let receiver = HttpReceiver::start(vec![answer(200, &[], r#"{"text":"Success","code":0}"#)]);
    let (secrets, mut channel) = splunk_at(&receiver.url, false, LONG);
    let messages = words(3);
    assert_eq!(letters(&channel.deliver(&messages, now())), "ddd");
    let requests = receiver.requests();
    assert_eq!((requests.len(), requests[0].path.as_str()), (1, "/services/collector/event"));
    assert_eq!(requests[0].header("authorization"), "Splunk t0ken-of-hec");
    assert_eq!(requests[0].header("x-splunk-request-channel"), "");
    let expected: Vec<Value> = messages.iter().map(|message| told(LineFormat::Hec, message)).collect();
    assert_eq!(envelopes(&requests[0].body), expected);
    // What the configuration says stands on the envelope, and nothing else is another.
    let options = SplunkOptions {
        index: Some("sec".to_owned()),
        source: Some("dc1".to_owned()),
        source_type: Some("pr".to_owned()),
        host: Some("h1".to_owned()),
        ..splunk_options(&format!("{}/base/", receiver.url), secrets.place("t"))
    };
    assert_eq!(letters(&Splunk::new(options, LONG).deliver(&messages[..1], now())), "d");
    let request = receiver.requests().remove(1);
    assert_eq!(request.path, "/base/services/collector/event");
    let mut expected = expected[0].clone();
    for (name, value) in [("index", "sec"), ("source", "dc1"), ("sourcetype", "pr"), ("host", "h1")] {
        expected[name] = json!(value);
    }
    assert_eq!(envelopes(&request.body), [expected]);
}

#[test]
fn each_code_of_a_collector_has_its_outcome() {
    for (status, code, letters_of, says) in [
        (403, 1, "rrr", "403"),
        (401, 2, "rrr", "renew the secret"),
        (403, 4, "rrr", "renew the secret"),
        (400, 7, "rrr", "name an index that its token may write to"),
        (500, 8, "rrr", "500"),
        (503, 9, "rrr", "503"),
        (400, 10, "rrr", "write acknowledge = true"),
        (400, 11, "rrr", "acknowledge"),
        (400, 14, "rrr", "remove acknowledge"),
        (429, 26, "rrr", "429"),
        (200, 9, "rrr", "code 9"),
        (400, 5, "xxx", "code 5"),
        (400, 6, "xxx", r#"said "no\x1b[2J [secret]""#),
        (413, 27, "xxx", "413"),
    ] {
        let body = json!({"text": "no\u{1b}[2J t0ken-of-hec", "code": code}).to_string();
        let receiver = HttpReceiver::start(vec![answer(status, &[], &body)]);
        let (_secrets, mut channel) = splunk_at(&receiver.url, false, LONG);
        let deliveries = channel.deliver(&words(3), now());
        assert_eq!(letters(&deliveries), letters_of, "{status} {code}");
        let (_, why) = first_why(&deliveries);
        assert!(why.contains(says), "{status} {code}: {why}");
    }
    // One that is no collector has taken nothing, whatever it says.
    for body in ["", "OK", "{}", "{\"code\":\"0\"}", "[0]", &"x".repeat(1 << 20)] {
        let receiver = HttpReceiver::start(vec![answer(200, &[], body)]);
        let (_secrets, mut channel) = splunk_at(&receiver.url, false, LONG);
        let (again, why) = first_why(&channel.deliver(&words(1), now()));
        assert!(again && why.contains("none of an HTTP Event Collector"), "{why}");
    }
}

#[test]
fn the_event_that_a_collector_names_is_given_up_and_the_others_arrive() {
    for code in [6, 12, 13, 15] {
        let bad: Vec<Value> = [1, 3].map(|n: u128| json!(word(n, n).id().to_string())).into();
        let taken = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&taken);
        let receiver = Gatherer::start(Box::new(move |asked: &Asked<'_>| {
            let envelopes = envelopes(asked.body);
            match envelopes.iter().position(|envelope| bad.contains(&envelope["event"]["id"])) {
                Some(n) => (400, json!({"text": "Invalid", "code": code, "invalid-event-number": n})),
                None => {
                    let ids = envelopes.iter().map(|envelope| envelope["event"]["id"].clone());
                    kept.lock().expect("a list").extend(ids);
                    (200, json!({"text": "Success", "code": 0}))
                }
            }
        }));
        let (_secrets, mut channel) = splunk_at(&receiver.url, false, LONG);
        let messages = words(5);
        assert_eq!(letters(&channel.deliver(&messages, now())), "dxdxd", "{code}");
        let expected = [0, 2, 4].map(|n: usize| json!(messages[n].id().to_string()));
        assert_eq!(*taken.lock().expect("a list"), expected);
        assert_eq!(receiver.asked(), 3);
    }
}

/// A collector whose indexers acknowledge when they are told to.
#[derive(Default)]
struct Indexers {
    /// The requests that were taken, by their numbers.
    taken: Vec<Vec<String>>,
    /// How many of them have been acknowledged.
    acknowledged: usize,
    channels: Vec<String>,
}

fn collector(indexers: &Arc<Mutex<Indexers>>) -> Gatherer {
    let indexers = Arc::clone(indexers);
    Gatherer::start(Box::new(move |asked: &Asked<'_>| {
        let mut indexers = indexers.lock().expect("indexers");
        let channel = asked.header.split("x-splunk-request-channel: ").nth(1).unwrap_or_default();
        indexers.channels.push(channel.split("\r\n").next().unwrap_or_default().to_owned());
        if asked.path == "/services/collector/ack" {
            let body: Value = serde_json::from_slice(asked.body).expect("JSON");
            let numbers = body["acks"].as_array().expect("numbers").iter().filter_map(Value::as_u64);
            let acks = numbers.map(|n| (n.to_string(), json!((n as usize) < indexers.acknowledged)));
            return (200, json!({"acks": acks.collect::<serde_json::Map<_, _>>()}));
        }
        let ids = envelopes(asked.body)
            .iter()
            .map(|e| e["event"]["id"].as_str().unwrap_or("").to_owned())
            .collect();
        indexers.taken.push(ids);
        (200, json!({"text": "Success", "code": 0, "ackId": indexers.taken.len() - 1}))
    }))
}

#[test]
fn what_is_not_acknowledged_is_asked_for_again_and_not_sent_again() {
    let indexers = Arc::new(Mutex::new(Indexers::default()));
    let receiver = collector(&indexers);
    let (_secrets, mut channel) = splunk_at(&receiver.url, true, SHORT);
    let messages = [word(0, 7), word(1, 8), word(2, 7)];
    let later = |minutes: i64| now() + jiff::SignedDuration::from_mins(minutes);
    let deliveries = channel.deliver(&messages[..2], now());
    assert_eq!(letters(&deliveries), "rr");
    assert!(first_why(&deliveries).1.contains("accepted this, and no indexer has acknowledged it"));
    // A later word of the same key waits, others go, and neither of the first two is sent again.
    let all = [messages.as_slice(), &[word(3, 9)]].concat();
    assert_eq!(letters(&channel.deliver(&all, later(1))), "rr-r");
    assert_eq!(indexers.lock().expect("indexers").taken.len(), 2);
    indexers.lock().expect("indexers").acknowledged = 1;
    // What was acknowledged of a request stays so, however few of its messages are asked for at a time.
    assert_eq!(letters(&channel.deliver(&all[..1], later(2))), "d");
    indexers.lock().expect("indexers").acknowledged = 99;
    assert_eq!(letters(&channel.deliver(&all[1..], later(3))), "ddd");
    {
        let indexers = indexers.lock().expect("indexers");
        let ids = |some: &[usize]| some.iter().map(|n| all[*n].id().to_string()).collect::<Vec<_>>();
        assert_eq!(indexers.taken, [ids(&[0, 1]), ids(&[3]), ids(&[2])]);
        let first = &indexers.channels[0];
        assert!(indexers.channels.iter().all(|channel| channel == first), "one channel for all");
        assert_eq!((first.len(), first.as_bytes()[14]), (36, b'4'), "{first}");
    }
    // What was never acknowledged is lost some day, and sent again.
    indexers.lock().expect("indexers").acknowledged = 0;
    assert_eq!(letters(&channel.deliver(&[word(5, 5)], later(4))), "r");
    indexers.lock().expect("indexers").acknowledged = 99;
    assert_eq!(letters(&channel.deliver(&[word(5, 5)], later(20))), "d");
    assert_eq!(indexers.lock().expect("indexers").taken.len(), 5);
}

#[test]
fn a_token_without_acknowledgements_is_named() {
    let receiver = HttpReceiver::start(vec![answer(200, &[], r#"{"text":"Success","code":0}"#)]);
    let (_secrets, mut channel) = splunk_at(&receiver.url, true, LONG);
    let (again, why) = first_why(&channel.deliver(&words(2), now()));
    assert!(again && why.contains("switch indexer acknowledgement on for its token"), "{why}");
}

// --- through the outbox ----------------------------------------------------------------------------------------

const SINK: &str = "siem";

/// A clock that is turned by hand.
#[derive(Clone, Default)]
struct Hands(Arc<Mutex<Duration>>);

impl TimeSource for Hands {
    fn wall(&self) -> jiff::Timestamp {
        now() + self.since_boot()
    }

    fn since_boot(&self) -> Duration {
        *self.0.lock().expect("a clock")
    }
}

/// A database in which this many words wait, of so many keys in turn.
fn kept(words: u128, keys: u128) -> (TempDir, PathBuf) {
    let directory = TempDir::new().expect("a directory");
    let path = directory.path().join("portreeve.db");
    let mut store = Store::open(&path).expect("a database");
    let all: Result<(), StoreError> =
        store.write(|tx| (0..words).try_for_each(|n| tx.enqueue(&word(n, n % keys), &[SINK]).map(drop)));
    all.expect("words");
    (directory, path)
}

fn desk_at(path: &Path) -> Desk {
    let routes = Routes { classes: [].into(), events: Vec::new(), matches: Vec::new() };
    let rules = AlertRules::default();
    let sinks = [(SINK.to_owned(), true)].into();
    let standing = Standing { rules, routes, maintenance: Vec::new(), sinks };
    Desk::new(Store::open(path).expect("a database"), standing, Arc::new(Bell::default()))
}

/// What was ever raised, delivered, is pending and dead; the books must be closed.
fn books(desk: &Desk) -> (u64, u64, u64, u64) {
    let books = desk.with_store(|store| store.books()).expect("books");
    let books = books.iter().find(|books| books.sink == SINK).expect("a sink");
    assert!(books.are_closed(), "{books:?}");
    (books.raised, books.delivered, books.pending, books.dead)
}

fn messenger(channel: Box<dyn Channel>) -> Messenger {
    Messenger::new(SINK, channel, Duration::from_secs(3 * 86_400))
}

/// Carries until nothing waits any longer, by a clock that is turned a second at a time. Gives how often.
fn carry_all(desk: &Desk, channel: Box<dyn Channel>) -> u32 {
    let hands = Hands::default();
    let (time, mut messenger) = (Time::new(Box::new(hands.clone())), messenger(channel));
    let mut seconds = 0;
    while books(desk).2 > 0 {
        while messenger.carry(desk, &time) > 0 {}
        *hands.0.lock().expect("a clock") += Duration::from_secs(1);
        seconds += 1;
        assert!(seconds < 100_000, "{:?}", books(desk));
    }
    seconds
}

/// What a receiver has taken, by the text of each message: `word N of KEY`.
#[derive(Default)]
struct Taken {
    /// Of each key, the words in the order in which they first came.
    words: BTreeMap<u128, Vec<u128>>,
    again: usize,
}

impl Taken {
    fn take(&mut self, text: &str) {
        let numbers: Vec<u128> = text.split(' ').filter_map(|part| part.parse().ok()).collect();
        let [n, key] = numbers[..] else { panic!("{text}") };
        let words = self.words.entry(key).or_default();
        if words.contains(&n) {
            self.again += 1;
        } else {
            words.push(n);
        }
    }

    /// Fails unless every word is here, and no word of a key came before an earlier one.
    fn is_all(&self, words: u128) {
        assert_eq!(self.words.values().map(Vec::len).sum::<usize>() as u128, words, "words are missing");
        for (key, words) in &self.words {
            assert!(words.is_sorted(), "key {key}: {words:?}");
        }
    }
}

/// Whether a number falls among so many of a thousand.
fn falls(number: usize, of_a_thousand: usize) -> bool {
    number.wrapping_mul(0x9e37_79b9) % 1000 < of_a_thousand
}

/// An Elasticsearch that is busy for some documents, takes some requests without saying so, and rejects others.
fn unsteady_index(index: &Arc<Mutex<Index>>, trouble: usize) -> Gatherer {
    let (kept, mut items, mut requests) = (Arc::clone(index), 0, 0);
    Gatherer::start(Box::new(move |asked: &Asked<'_>| {
        requests += 1;
        if falls(requests + 500, trouble) {
            return (429, json!({}));
        }
        let busy = |_: &str, _: &Value| {
            items += 1;
            falls(items, trouble).then_some((429, "rejected"))
        };
        let answer = kept.lock().expect("an index").create(asked.body, busy);
        (if falls(requests, trouble) { 0 } else { 200 }, answer)
    }))
}

/// A collector that is as unsteady.
fn unsteady_collector(taken: &Arc<Mutex<Taken>>, trouble: usize) -> Gatherer {
    let (kept, mut requests) = (Arc::clone(taken), 0);
    Gatherer::start(Box::new(move |asked: &Asked<'_>| {
        requests += 1;
        if asked.path == "/services/collector/ack" {
            let body: Value = serde_json::from_slice(asked.body).expect("JSON");
            let numbers = body["acks"].as_array().expect("numbers");
            let acks = numbers.iter().map(|n| (n.to_string(), json!(true)));
            return (200, json!({"acks": acks.collect::<serde_json::Map<_, _>>()}));
        }
        if falls(requests + 500, trouble) {
            return (503, json!({"text": "Server is busy", "code": 9}));
        }
        let mut taken = kept.lock().expect("a list");
        envelopes(asked.body)
            .iter()
            .for_each(|e| taken.take(e["event"]["description"].as_str().expect("text")));
        let answer = json!({"text": "Success", "code": 0, "ackId": requests});
        (if falls(requests, trouble) { 0 } else { 200 }, answer)
    }))
}

fn of_index(index: &Mutex<Index>) -> Taken {
    let mut taken = Taken::default();
    let index = index.lock().expect("an index");
    index.documents.iter().for_each(|(_, document)| taken.take(document["message"].as_str().expect("text")));
    taken
}

#[test]
fn ten_thousand_messages_take_twenty_requests_and_none_is_lost_or_out_of_order() {
    const WORDS: u128 = 10_000;
    for (keys, trouble) in [(WORDS, 0), (1000, 0), (1000, 20)] {
        let index = Arc::new(Mutex::new(Index::default()));
        let receiver = unsteady_index(&index, trouble);
        let (_directory, path) = kept(WORDS, keys);
        let desk = desk_at(&path);
        carry_all(&desk, Box::new(bulk_at(&receiver.url, LONG)));
        assert_eq!(books(&desk), (10_000, 10_000, 0, 0));
        let taken = of_index(&index);
        taken.is_all(WORDS);
        assert_eq!(taken.again, 0, "a document is there twice");
        assert!(trouble > 0 || receiver.asked() == 20, "{} requests", receiver.asked());
        assert!(receiver.asked() < 200, "{} requests", receiver.asked());

        for acknowledge in [false, true] {
            let taken = Arc::new(Mutex::new(Taken::default()));
            let receiver = unsteady_collector(&taken, trouble);
            let (_directory, path) = kept(WORDS, keys);
            let desk = desk_at(&path);
            let (_secrets, channel) = splunk_at(&receiver.url, acknowledge, LONG);
            carry_all(&desk, Box::new(channel));
            assert_eq!(books(&desk), (10_000, 10_000, 0, 0));
            let taken = taken.lock().expect("a list");
            taken.is_all(WORDS);
            let asked = receiver.asked() / if acknowledge { 2 } else { 1 };
            assert!(trouble > 0 || (asked == 20 && taken.again == 0), "{asked} requests");
        }
    }
}

#[test]
fn what_is_bad_is_a_dead_letter_with_its_reason_and_holds_nothing_up() {
    let index = Arc::new(Mutex::new(Index::default()));
    let kept_there = Arc::clone(&index);
    let receiver = Gatherer::start(Box::new(move |asked: &Asked<'_>| {
        let bad = |_: &str, document: &Value| {
            let text = document["message"].as_str().expect("text");
            text.starts_with("word 7 ").then_some((400, "document_parsing_exception"))
        };
        (200, kept_there.lock().expect("an index").create(asked.body, bad))
    }));
    let (_directory, path) = kept(50, 5);
    let desk = desk_at(&path);
    assert_eq!(carry_all(&desk, Box::new(bulk_at(&receiver.url, LONG))), 2, "as soon as they are due");
    assert_eq!(books(&desk), (50, 49, 0, 1));
    let letters = desk.with_store(|store| store.letters(9)).expect("letters");
    assert!(
        letters[0].why.contains(r"document_parsing_exception: failed to parse field [\x1b[2J"),
        "{letters:?}"
    );
    let taken = of_index(&index);
    assert_eq!(taken.words.values().map(Vec::len).sum::<usize>(), 49);
    assert!(taken.words.values().all(|words| words.is_sorted()));
}

/// What failed together is tried again together: a receiver that comes back is not asked message by message.
#[test]
fn a_receiver_that_was_away_gets_batches_when_it_is_back() {
    let index = Arc::new(Mutex::new(Index::default()));
    let (kept_there, mut requests) = (Arc::clone(&index), 0);
    let receiver = Gatherer::start(Box::new(move |asked: &Asked<'_>| {
        requests += 1;
        match requests {
            ..=12 => (503, json!({})),
            _ => (200, kept_there.lock().expect("an index").create(asked.body, |_, _| None)),
        }
    }));
    let (_directory, path) = kept(500, 500);
    let desk = desk_at(&path);
    let seconds = carry_all(&desk, Box::new(bulk_at(&receiver.url, LONG)));
    assert_eq!(books(&desk), (500, 500, 0, 0));
    of_index(&index).is_all(500);
    assert_eq!(receiver.asked(), 13, "all of them by each request");
    // One request that fails is one failure, however many messages it had: 1 s, 2 s and so on up to five minutes.
    assert!((600..1800).contains(&seconds), "it was left alone for {seconds} s");
}

/// A channel that takes what it is handed, and notes how many at a time.
struct Patient(Arc<Mutex<Vec<usize>>>);

impl Channel for Patient {
    fn batch(&self) -> usize {
        10
    }

    fn linger(&self) -> Duration {
        Duration::from_millis(800)
    }

    fn deliver(&mut self, messages: &[Message], _: jiff::Timestamp) -> Vec<Delivery> {
        self.0.lock().expect("a list").push(messages.len());
        vec![Delivery::Delivered; messages.len()]
    }
}

#[test]
fn the_first_of_a_batch_waits_a_little_for_others() {
    let (_directory, path) = kept(0, 1);
    let (desk, bell) = (desk_at(&path), Arc::new(Bell::default()));
    let (time, stop) = (Time::new(Box::new(MachineTime)), SignalFlag::default());
    let handed = Arc::new(Mutex::new(Vec::new()));
    let messenger = messenger(Box::new(Patient(Arc::clone(&handed))));
    std::thread::scope(|scope| {
        scope.spawn(|| messenger.run(&desk, &bell, &time, &stop));
        std::thread::sleep(Duration::from_millis(300));
        for n in 0..3 {
            let put: Result<usize, StoreError> =
                desk.with_store(|store| store.write(|tx| tx.enqueue(&word(n, n), &[SINK])));
            put.expect("a word");
            bell.ring();
            std::thread::sleep(Duration::from_millis(50));
        }
        let began = Instant::now();
        while books(&desk).2 > 0 && began.elapsed() < LONG {
            std::thread::sleep(Duration::from_millis(20));
        }
        stop.store(true, Ordering::Relaxed);
        bell.ring();
    });
    assert_eq!(*handed.lock().expect("a list"), [3]);
}

/// What a child does until it is killed or has carried all.
#[test]
fn carries_until_it_is_killed() {
    let Ok(told) = std::env::var("BATCH_TEST_CHILD") else { return };
    let [path, kind, url] = told.split('|').collect::<Vec<_>>()[..] else { panic!("{told}") };
    let desk = desk_at(Path::new(path));
    let secrets = Secrets::new();
    let channel: Box<dyn Channel> = match kind {
        "bulk" => Box::new(bulk_at(url, LONG)),
        _ => {
            let options = SplunkOptions {
                acknowledge: kind == "acknowledged",
                ..splunk_options(url, secrets.place("t0ken"))
            };
            Box::new(Splunk::new(options, LONG))
        }
    };
    let (time, mut messenger) = (Time::new(Box::new(MachineTime)), messenger(channel));
    while books(&desk).2 > 0 {
        if messenger.carry(&desk, &time) == 0 {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Carries by children that are killed, each a little later than the last, until one has come to its end.
fn carry_by_children(path: &Path, kind: &str, url: &str) -> u32 {
    for round in 0..1000_u32 {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "carries_until_it_is_killed", "--nocapture", "--test-threads=1"])
            .env("BATCH_TEST_CHILD", format!("{}|{kind}|{url}", path.display()))
            .stdout(std::process::Stdio::null())
            .spawn()
            .expect("a child");
        let patience = Duration::from_micros(u64::from(round) * 7919 % 150_000 + u64::from(round) * 4000);
        let began = Instant::now();
        while began.elapsed() < patience && child.try_wait().expect("a state").is_none() {
            std::thread::sleep(Duration::from_micros(500));
        }
        if let Some(status) = child.try_wait().expect("a state") {
            assert!(status.success(), "a child failed");
            return round;
        }
        child.kill().expect("killed");
        child.wait().expect("dead");
        // Whatever the moment was, the books are closed.
        let desk = desk_at(path);
        assert_eq!(books(&desk).0, 4000);
    }
    panic!("no child has come to its end")
}

#[test]
fn killed_at_any_moment_nothing_is_lost_and_nothing_is_out_of_order() {
    for kind in ["bulk", "collector", "acknowledged"] {
        let (_directory, path) = kept(4000, 400);
        let index = Arc::new(Mutex::new(Index::default()));
        let collected = Arc::new(Mutex::new(Taken::default()));
        let receiver = match kind {
            "bulk" => unsteady_index(&index, 3),
            _ => unsteady_collector(&collected, 3),
        };
        let kills = carry_by_children(&path, kind, &receiver.url);
        assert!(kills > 5, "only {kills} kills");
        assert_eq!(books(&desk_at(&path)), (4000, 4000, 0, 0));
        match kind {
            "bulk" => of_index(&index).is_all(4000),
            _ => collected.lock().expect("a list").is_all(4000),
        }
    }
}
