//! Connections, within a time and within networks.
//!
//! The library asks [`Resolve`] for the addresses of each request, and [`Dial`] for each connection, which goes to one
//! of these addresses. Both get what is left of the request's time, and every single read and write after that gets
//! what is left by then.

use std::error::Error as StdError;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnetwork::IpNetwork;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::time::{Duration as Left, Instant as Moment};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport,
};

/// Asks for the addresses of names, and keeps those that are within networks.
#[derive(Debug)]
pub struct Resolve {
    networks: Vec<IpNetwork>,
}

impl Resolve {
    /// None outside of these networks; any, if there are none.
    pub fn within(networks: Vec<IpNetwork>) -> Self {
        Resolve { networks }
    }

    fn permits(&self, ip: IpAddr) -> bool {
        // An IPv4 address is the same one in its IPv6 spelling.
        let ip = ip.to_canonical();
        self.networks.is_empty() || self.networks.iter().any(|network| network.contains(ip))
    }
}

impl Resolver for Resolve {
    fn resolve(&self, uri: &Uri, _: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let usual = if uri.scheme_str() == Some("https") { 443 } else { 80 };
        let (host, port) = (bare_host(uri), uri.port_u16().unwrap_or(usual));
        let found = look_up(host, port, timeout)?;
        let mut within = self.empty();
        let room = 16;
        found.iter().filter(|address| self.permits(address.ip())).take(room).for_each(|a| within.push(*a));
        match (within.is_empty(), found.first()) {
            (false, _) => Ok(within),
            (true, None) => Err(told("its name has no address")),
            (true, Some(first)) => Err(told(format!(
                "its name leads to {}, which is outside of the networks that it may be in; name them in networks, or \
                 see who answers for that name",
                first.ip()
            ))),
        }
    }
}

/// The addresses of a name. The system's resolver knows no timeout, so it is asked by a thread of its own, which ends
/// when it does.
fn look_up(host: &str, port: u16, timeout: NextTimeout) -> Result<Vec<SocketAddr>, Error> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![(ip, port).into()]);
    }
    let (tell, hear) = crossbeam::channel::bounded(1);
    let asked = host.to_owned();
    std::thread::Builder::new().name("look-up".to_owned()).spawn(move || {
        let found = (asked.as_str(), port).to_socket_addrs().map(Iterator::collect::<Vec<_>>);
        // Nobody listens any longer, if it took too long.
        let _ = tell.send(found);
    })?;
    match hear.recv_timeout(*timeout.after) {
        Ok(found) => found.map_err(|error| told(format!("looking its name up: {error}"))),
        Err(_) => Err(told("its name was not looked up in time; see whether the name server answers")),
    }
}

/// Makes connections.
pub struct Dial {
    trust: Option<Arc<ClientConfig>>,
}

impl Dial {
    /// Connections with TLS as it is configured here, where the address asks for it.
    pub fn trusting(trust: Option<Arc<ClientConfig>>) -> Self {
        Dial { trust }
    }
}

impl fmt::Debug for Dial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dial").finish_non_exhaustive()
    }
}

impl Connector for Dial {
    type Out = Line;

    fn connect(&self, details: &ConnectionDetails<'_>, _: Option<()>) -> Result<Option<Line>, Error> {
        let mut timer = Timer { until: None, clock: details.current_time.clone() };
        timer.set(details.now, details.timeout.after);
        let stream = dial(&details.addrs, &timer)?;
        let mut timed = Timed { stream, timer };
        let stream = if details.needs_tls() {
            let Some(trust) = &self.trust else { return Err(Error::TlsRequired) };
            let name = ServerName::try_from(bare_host(details.uri).to_owned())
                .map_err(|_| told("its name is none that a certificate could have"))?;
            let mut session = ClientConnection::new(trust.clone(), name)?;
            session.complete_io(&mut timed).map_err(|error| timed_out(error, details.timeout))?;
            Stream::Tls(Box::new(StreamOwned::new(session, timed)))
        } else {
            Stream::Plain(timed)
        };
        let config = details.config;
        let buffers = LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size());
        Ok(Some(Line { stream, buffers }))
    }
}

/// Connects to the first address that answers; each gets its part of the time.
fn dial(addresses: &[SocketAddr], timer: &Timer) -> Result<TcpStream, Error> {
    let mut failure = told("it has no address");
    for (n, address) in addresses.iter().enumerate() {
        let among = u32::try_from(addresses.len() - n).unwrap_or(u32::MAX);
        let attempt =
            timer.left().and_then(|left| TcpStream::connect_timeout(address, soonest(left / among)));
        match attempt {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => failure = told(format!("connecting to {address}: {error}")),
        }
    }
    Err(failure)
}

/// A socket takes a time of nothing for one without end.
fn soonest(left: Duration) -> Duration {
    left.max(Duration::from_millis(1))
}

/// When the time is over.
struct Timer {
    until: Option<Instant>,
    clock: Arc<dyn Fn() -> Moment + Send + Sync>,
}

impl Timer {
    fn set(&mut self, from: Moment, after: Left) {
        self.until = match from {
            Moment::Exact(from) => from.checked_add(*after),
            _ => None,
        };
    }

    fn left(&self) -> io::Result<Duration> {
        match (self.until, (self.clock)()) {
            (Some(until), Moment::Exact(now)) if now < until => Ok(until - now),
            // No time was set, which does not happen here, or it is over.
            _ => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

/// A connection whose every read and write ends with the time.
struct Timed {
    stream: TcpStream,
    timer: Timer,
}

impl Read for Timed {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(soonest(self.timer.left()?)))?;
        self.stream.read(bytes).map_err(blocked)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(soonest(self.timer.left()?)))?;
        self.stream.write(bytes).map_err(blocked)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// What a socket says when its time is over.
fn blocked(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock { io::ErrorKind::TimedOut.into() } else { error }
}

/// A connection, as the library uses it.
pub struct Line {
    stream: Stream,
    buffers: LazyBuffers,
}

enum Stream {
    Plain(Timed),
    Tls(Box<StreamOwned<ClientConnection, Timed>>),
}

impl Line {
    fn timed(&mut self) -> &mut Timed {
        match &mut self.stream {
            Stream::Plain(timed) => timed,
            Stream::Tls(session) => &mut session.sock,
        }
    }

    fn begin(&mut self, timeout: NextTimeout) {
        let timer = &mut self.timed().timer;
        let now = (timer.clock)();
        timer.set(now, timeout.after);
    }
}

impl Transport for Line {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.begin(timeout);
        let output = &self.buffers.output()[..amount];
        let sent = match &mut self.stream {
            Stream::Plain(timed) => timed.write_all(output),
            Stream::Tls(session) => session
                .write_all(output)
                .and_then(|()| session.flush())
                .map_err(|error| last_words(session).unwrap_or(error)),
        };
        sent.map_err(|error| timed_out(error, timeout))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.begin(timeout);
        let input = self.buffers.input_append_buf();
        let read = loop {
            let read = match &mut self.stream {
                Stream::Plain(timed) => timed.read(input),
                Stream::Tls(session) => session.read(input),
            };
            match read {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        let amount = read.map_err(|error| timed_out(error, timeout))?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    /// Whether it can be used again: nothing has come in that nobody asked for, not even its end.
    fn is_open(&mut self) -> bool {
        let stream = &self.timed().stream;
        let is_quiet = || {
            stream.set_nonblocking(true)?;
            let quiet =
                matches!(stream.peek(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock);
            stream.set_nonblocking(false)?;
            io::Result::Ok(quiet)
        };
        is_quiet().unwrap_or(false)
    }

    fn is_tls(&self) -> bool {
        matches!(self.stream, Stream::Tls(_))
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line").finish_non_exhaustive()
    }
}

/// Why a server has hung up, if it has said so: that it does not know our certificate, for one, comes only after what
/// it asked for has been sent, and after the end of the connection.
fn last_words(session: &mut StreamOwned<ClientConnection, Timed>) -> Option<io::Error> {
    session.conn.read_tls(&mut session.sock).ok()?;
    session.conn.process_new_packets().err().map(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// An error in words of ours.
#[derive(Debug)]
struct Told(String);

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for Told {}

fn told(words: impl Into<String>) -> Error {
    Error::Other(Box::new(Told(words.into())))
}

fn timed_out(error: io::Error, timeout: NextTimeout) -> Error {
    if error.kind() == io::ErrorKind::TimedOut { Error::Timeout(timeout.reason) } else { error.into() }
}

/// The host of an address, an IPv6 one without its brackets.
fn bare_host(uri: &Uri) -> &str {
    uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
}

/// Why a request failed. Some errors of the library hold the whole address, which may be a secret: these say no more
/// than that there is something wrong with it.
pub fn in_words(error: &Error, timeout: Duration) -> String {
    match error {
        Error::Timeout(_) => format!("it did not answer in {timeout:?}"),
        Error::Other(told) => told.to_string(),
        Error::Io(error) => {
            let by_tls = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
            match by_tls {
                Some(error) => tls_in_words(error),
                None if error.kind() == io::ErrorKind::UnexpectedEof => {
                    "it closed the connection before its answer was whole".to_owned()
                }
                None => error.to_string(),
            }
        }
        Error::Rustls(error) => tls_in_words(error),
        Error::LargeResponseHeader(..) => "the header of its answer has no end".to_owned(),
        Error::Protocol(_) => "what it answered is no HTTP; see whether its address is right".to_owned(),
        Error::HostNotFound => "its name has no address".to_owned(),
        _ => "a request to its address cannot be made; see whether the address is right".to_owned(),
    }
}

fn tls_in_words(error: &rustls::Error) -> String {
    let remedy = match error {
        rustls::Error::InvalidCertificate(_) => {
            "; renew its certificate, or name the authority behind it in ca_file"
        }
        _ => "",
    };
    format!("TLS: {error}{remedy}")
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// A connection with so much time left, and its other end.
    fn timed(left: Duration) -> (Timed, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let stream = TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
        let mut timer = Timer { until: None, clock: Arc::new(Moment::now) };
        timer.set(Moment::now(), left.into());
        (Timed { stream, timer }, listener.accept().expect("a connection").0)
    }

    /// Each call makes some progress, and all of them together have one end.
    #[test]
    fn reading_and_writing_end_with_the_time_however_they_get_on() {
        let (left, pause) = (Duration::from_millis(300), Duration::from_millis(20));
        let (mut timed_out, mut other) = timed(left);
        let reading = std::thread::spawn(move || {
            let mut some = [0; 16 << 10];
            while other.read(&mut some).is_ok_and(|count| count > 0) {
                std::thread::sleep(pause);
            }
        });
        let began = Moment::now();
        let result = timed_out.write_all(&vec![0; 64 << 20]);
        assert_eq!(result.map_err(|error| error.kind()), Err(io::ErrorKind::TimedOut));
        assert!(Moment::now() < began + (left * 4).into());
        drop(timed_out);
        reading.join().expect("a reader");

        let (mut timed_out, mut other) = timed(left);
        let writing = std::thread::spawn(move || {
            while other.write_all(&[0]).is_ok() {
                std::thread::sleep(pause);
            }
        });
        let began = Moment::now();
        let result = timed_out.read_exact(&mut [0; 1000]);
        assert_eq!(result.map_err(|error| error.kind()), Err(io::ErrorKind::TimedOut));
        assert!(Moment::now() < began + (left * 4).into());
        drop(timed_out);
        writing.join().expect("a writer");
    }
}
