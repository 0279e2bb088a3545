//! A Splunk and an Elasticsearch of our own, as far as sinks see of them: they take requests as these do, keep what
//! they have taken in the order in which it came, and refuse what they are told to.

#![allow(dead_code, reason = "each test uses its part of it")]

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde_json::{Value, json};

/// A request, as a judge sees it.
pub struct Asked<'a> {
    /// Its path and what follows it.
    pub path: &'a str,
    /// The whole header, in small letters.
    pub header: &'a str,
    pub body: &'a [u8],
}

/// What it is answered: a status, and JSON.
pub type Judge = Box<dyn FnMut(&Asked<'_>) -> (u16, Value) + Send>;

/// A web server that has a judge answer its requests, one after the other.
pub struct Gatherer {
    pub url: String,
    /// How many requests it has answered.
    pub asked: Arc<Mutex<usize>>,
    listening: Option<JoinHandle<()>>,
}

impl Gatherer {
    pub fn start(judge: Judge) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port of the loopback");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let asked = Arc::new(Mutex::new(0));
        let (judge, counted) = (Arc::new(Mutex::new(judge)), Arc::clone(&asked));
        let listening = std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { continue };
                let (judge, counted) = (Arc::clone(&judge), Arc::clone(&counted));
                let mut first = [0];
                // Whoever connects and says an empty line wants it to end.
                if stream.peek(&mut first).is_ok_and(|count| count == 1 && first == *b"\n") {
                    return;
                }
                std::thread::spawn(move || serve(&stream, &judge, &counted));
            }
        });
        Gatherer { url, asked, listening: Some(listening) }
    }

    pub fn asked(&self) -> usize {
        *self.asked.lock().expect("a number")
    }
}

impl Drop for Gatherer {
    fn drop(&mut self) {
        let address = self.url.trim_start_matches("http://");
        if let Ok(mut stream) = TcpStream::connect(address) {
            let _ = stream.write_all(b"\n");
        }
        if let Some(listening) = self.listening.take() {
            let _ = listening.join();
        }
    }
}

fn serve(stream: &TcpStream, judge: &Mutex<Judge>, counted: &Mutex<usize>) {
    let _ = stream.set_nodelay(true);
    let mut reader = BufReader::new(stream);
    loop {
        let mut header = String::new();
        while !header.ends_with("\r\n\r\n") {
            if !reader.read_line(&mut header).is_ok_and(|count| count > 0) {
                return;
            }
        }
        let path = header.split(' ').nth(1).unwrap_or_default().to_owned();
        let header = header.to_ascii_lowercase();
        let length = header.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
        let mut body = vec![0; length.and_then(|length| length.parse().ok()).unwrap_or(0)];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        let asked = Asked { path: &path, header: &header, body: &body };
        let (status, answer) = judge.lock().expect("a judge")(&asked);
        *counted.lock().expect("a number") += 1;
        // A status of nothing is a server that dies before it has answered.
        if status == 0 {
            return;
        }
        let answer = answer.to_string();
        let head = format!("HTTP/1.1 {status} Said\r\ncontent-length: {}\r\n\r\n", answer.len());
        if { stream }.write_all(format!("{head}{answer}").as_bytes()).is_err() {
            return;
        }
    }
}

/// The documents of a bulk request, each with its identifier.
pub fn documents(body: &[u8]) -> Vec<(String, Value)> {
    let text = std::str::from_utf8(body).expect("text");
    assert!(text.ends_with('\n'), "the last line has no end");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let pairs = lines.chunks(2).map(|pair| {
        let action = pair[0].as_object().expect("an action");
        assert_eq!(action.keys().collect::<Vec<_>>(), ["create"], "{action:?}");
        (action["create"]["_id"].as_str().expect("an identifier").to_owned(), pair[1].clone())
    });
    pairs.collect()
}

/// The envelopes of a request to a collector: JSON, one behind the other.
pub fn envelopes(body: &[u8]) -> Vec<Value> {
    serde_json::Deserializer::from_slice(body).into_iter().map(|value| value.expect("JSON")).collect()
}

/// What an Elasticsearch has: documents in the order in which they came, each once.
#[derive(Default)]
pub struct Index {
    pub documents: Vec<(String, Value)>,
    ids: HashSet<String>,
}

impl Index {
    /// Creates what can be created, and answers for each: `fault` says what is wrong with one.
    pub fn create(
        &mut self,
        body: &[u8],
        mut fault: impl FnMut(&str, &Value) -> Option<(u16, &'static str)>,
    ) -> Value {
        let items = documents(body).into_iter().map(|(id, document)| {
            let (status, kind) = if self.ids.contains(&id) {
                (409, "version_conflict_engine_exception")
            } else if let Some(fault) = fault(&id, &document) {
                fault
            } else {
                self.ids.insert(id.clone());
                self.documents.push((id, document));
                return json!({"create": {"status": 201}});
            };
            let reason = "failed to parse field [\u{1b}[2J\u{202e}x] of type [ip]";
            json!({"create": {"status": status, "error": {"type": kind, "reason": reason}}})
        });
        json!({"items": items.collect::<Vec<_>>()})
    }
}
