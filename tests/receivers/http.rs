//! A web server of our own, written by hand, that does what it is told: answers, stays silent, drips, floods, hangs up.
//!
//! It listens on the loopback only, keeps every request that it has read, and ends with its value.

#![allow(dead_code, reason = "each test uses its part of it")]

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// What is done with one request.
#[derive(Clone, Debug)]
pub enum Act {
    /// It is answered.
    Answer(Answer),
    /// It is read, and nothing is said.
    Hang,
    /// It is answered by these bytes, one at a time, with this long between them.
    Drip(Vec<u8>, Duration),
    /// It is answered by this header, and then by this many bytes.
    Flood(String, u64),
    /// It is answered by these bytes, whatever they are, and the connection is closed.
    Raw(Vec<u8>),
    /// Nothing is read, and these bytes are said, one at a time, with this long between them.
    Trickle(Vec<u8>, Duration),
    /// The connection is closed before anything is read.
    Refuse,
    /// The connection is left open, and nothing is ever read.
    Ignore,
}

/// A usual answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// An answer of this status, with nothing in it.
pub fn status(status: u16) -> Act {
    Act::Answer(Answer { status, headers: Vec::new(), body: Vec::new() })
}

/// An answer of this status, with a header and a body.
pub fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Act {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Act::Answer(Answer { status, headers, body: body.as_bytes().to_vec() })
}

/// A request, as it came.
#[derive(Clone, Debug, Default)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The number of the connection that it came by.
    pub connection: usize,
}

impl Request {
    /// A header's value; empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value)
    }

    /// The body, as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }
}

/// The server.
pub struct HttpReceiver {
    /// Its address, such as `http://127.0.0.1:40001`.
    pub url: String,
    /// The same, by number.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    listening: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    script: Vec<Act>,
    next: AtomicUsize,
    requests: Mutex<Vec<Request>>,
    connections: AtomicUsize,
    sent: AtomicU64,
    over: AtomicBool,
    tls: Option<Arc<ServerConfig>>,
}

impl HttpReceiver {
    /// A server that does this with one request after the other, and with all further ones the last of it.
    pub fn start(script: Vec<Act>) -> Self {
        Self::start_with(script, None)
    }

    /// The same by TLS, at `https://localhost`.
    pub fn start_tls(script: Vec<Act>, config: ServerConfig) -> Self {
        Self::start_with(script, Some(Arc::new(config)))
    }

    fn start_with(script: Vec<Act>, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port of the loopback");
        let address = listener.local_addr().expect("an address");
        let scheme = if tls.is_some() { "https://localhost" } else { "http://127.0.0.1" };
        let url = format!("{scheme}:{}", address.port());
        let shared = Arc::new(Shared { script, tls, ..Shared::default() });
        let for_thread = shared.clone();
        let listening = Some(std::thread::spawn(move || listen(&listener, &for_thread)));
        HttpReceiver { url, address, shared, listening }
    }

    /// The requests that have been read so far.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().expect("the requests").clone()
    }

    /// How many connections have been made.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// How many bytes of floods have been sent.
    pub fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::SeqCst)
    }
}

impl Drop for HttpReceiver {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(listening) = self.listening.take() {
            let _ = listening.join();
        }
    }
}

fn listen(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.over.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let (shared, number) = (shared.clone(), shared.connections.fetch_add(1, Ordering::SeqCst));
        std::thread::spawn(move || {
            let _ = serve(stream, number, &shared);
        });
    }
}

trait Duplex: Read + Write {}
impl<T: Read + Write> Duplex for T {}

fn serve(stream: TcpStream, number: usize, shared: &Shared) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_millis(50)))?;
    stream.set_write_timeout(Some(Duration::from_millis(50)))?;
    stream.set_nodelay(true)?;
    match shared.act() {
        Act::Refuse => return Ok(()),
        Act::Ignore => return shared.wait(),
        Act::Trickle(bytes, pause) => return shared.drip(&mut &stream, &bytes, pause),
        _ => {}
    }
    let mut stream: Box<dyn Duplex> = match &shared.tls {
        Some(config) => {
            let session = ServerConnection::new(config.clone()).map_err(io::Error::other)?;
            Box::new(StreamOwned::new(session, stream))
        }
        None => Box::new(stream),
    };
    let mut read = Vec::new();
    loop {
        let Some(mut request) = next_request(&mut stream, &mut read, shared)? else { return Ok(()) };
        request.connection = number;
        let act = shared.act();
        shared.next.fetch_add(1, Ordering::SeqCst);
        shared.requests.lock().expect("the requests").push(request);
        match act {
            Act::Answer(answer) => shared.write(&mut stream, &answer.bytes())?,
            Act::Hang => return shared.wait(),
            Act::Drip(bytes, pause) => shared.drip(&mut stream, &bytes, pause)?,
            Act::Flood(header, bytes) => return shared.flood(&mut stream, &header, bytes),
            Act::Raw(bytes) => return shared.write(&mut stream, &bytes),
            Act::Refuse | Act::Ignore | Act::Trickle(..) => return Ok(()),
        }
    }
}

impl Answer {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = format!("HTTP/1.1 {} Said\r\ncontent-length: {}\r\n", self.status, self.body.len());
        for (name, value) in &self.headers {
            bytes.push_str(&format!("{name}: {value}\r\n"));
        }
        let mut bytes = format!("{bytes}\r\n").into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

impl Shared {
    fn act(&self) -> Act {
        let next = self.next.load(Ordering::SeqCst).min(self.script.len().saturating_sub(1));
        self.script[next].clone()
    }

    fn is_over(&self) -> io::Result<()> {
        if self.over.load(Ordering::SeqCst) { Err(ErrorKind::Interrupted.into()) } else { Ok(()) }
    }

    fn wait(&self) -> io::Result<()> {
        loop {
            self.is_over()?;
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn write(&self, stream: &mut impl Write, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.is_over()?;
            match stream.write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if is_pause(&error) => {}
                Err(error) => return Err(error),
            }
        }
        stream.flush()
    }

    fn drip(&self, stream: &mut impl Write, bytes: &[u8], pause: Duration) -> io::Result<()> {
        for byte in bytes {
            self.write(stream, &[*byte])?;
            std::thread::sleep(pause);
        }
        Ok(())
    }

    fn flood(&self, stream: &mut impl Write, header: &str, bytes: u64) -> io::Result<()> {
        self.write(stream, header.as_bytes())?;
        let some = [b'x'; 8192];
        while self.sent.load(Ordering::SeqCst) < bytes {
            self.write(stream, &some)?;
            self.sent.fetch_add(some.len() as u64, Ordering::SeqCst);
        }
        Ok(())
    }
}

fn is_pause(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// Reads a request whose length its header tells; `None` at the end.
fn next_request(stream: &mut impl Read, read: &mut Vec<u8>, shared: &Shared) -> io::Result<Option<Request>> {
    let mut more = [0; 16 << 10];
    loop {
        if let Some((request, used)) = parse(read) {
            read.drain(..used);
            return Ok(Some(request));
        }
        shared.is_over()?;
        match stream.read(&mut more) {
            Ok(0) => return Ok(None),
            Ok(count) => read.extend_from_slice(&more[..count]),
            Err(error) if is_pause(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

fn parse(read: &[u8]) -> Option<(Request, usize)> {
    let end = read.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&read[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let mut first = lines.next()?.split(' ').map(str::to_owned);
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let mut request = Request { method: first.next()?, path: first.next()?, headers, ..Request::default() };
    let whole = end + 4 + request.header("content-length").parse().unwrap_or(0);
    request.body = read.get(end + 4..whole)?.to_vec();
    Some((request, whole))
}
