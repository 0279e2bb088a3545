//! Connections, by TCP alone or with TLS, on which everything together ends at a deadline.

use std::fmt::Display;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::{Arc, mpsc};
use std::thread;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::deadline::Deadline;

/// A connection. Reads and writes fail with `TimedOut` once its deadline is over.
pub enum Stream {
    /// By TCP alone.
    Plain(Timed),
    /// With TLS.
    Tls(Box<StreamOwned<ClientConnection, Timed>>),
}

/// A TCP connection with a deadline.
pub struct Timed {
    tcp: TcpStream,
    deadline: Deadline,
}

impl Stream {
    /// Connects, trying the addresses of the host in turn.
    ///
    /// # Errors
    /// When none of them answers; the last one's error.
    pub fn connect(host: &str, port: u16, deadline: Deadline) -> io::Result<Self> {
        Stream::to_any(&resolve(host, port, deadline)?, deadline)
    }

    fn to_any(addresses: &[SocketAddr], deadline: Deadline) -> io::Result<Self> {
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for (n, address) in addresses.iter().enumerate() {
            let part = deadline.part(addresses.len() - n)?;
            match TcpStream::connect_timeout(address, part.left()?) {
                Ok(tcp) => {
                    tcp.set_nodelay(true)?;
                    return Ok(Stream::Plain(Timed { tcp, deadline }));
                }
                Err(cause) => last = cause,
            }
        }
        Err(last)
    }

    /// The same connection with TLS from here on, if whoever is there proves to be `host`.
    ///
    /// # Errors
    /// When the handshake fails.
    pub fn encrypt(self, host: &str, config: Arc<ClientConfig>) -> io::Result<Self> {
        let Stream::Plain(mut timed) = self else { return Err(io::Error::other("it has TLS already")) };
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let mut tls = ClientConnection::new(config, name).map_err(io::Error::other)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut timed)?;
        }
        Ok(Stream::Tls(Box::new(StreamOwned::new(tls, timed))))
    }

    /// Says that nothing more comes, and waits until the other end says the same. A kernel whose program closes before
    /// it has read everything resets the connection instead; so whoever closes orderly has read what was sent.
    ///
    /// # Errors
    /// When the other end resets, complains by TLS, or does not close in time.
    pub fn finish(mut self) -> io::Result<()> {
        if let Stream::Tls(tls) = &mut self {
            tls.conn.send_close_notify();
        }
        self.flush()?;
        let shut = self.tcp().shutdown(Shutdown::Write);
        shut.map_err(|cause| self.explained(cause))?;
        let mut ignored = [0; 1024];
        loop {
            match self.read(&mut ignored) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                // Many servers end the connection and not TLS before it. Nothing is expected of them that could have
                // been cut off.
                Err(cause) if cause.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                Err(cause) => return Err(cause),
            }
        }
    }

    /// A server that turns us away by TLS says why, and closes with something of ours unread, which resets the
    /// connection. Its last words are there still, and say more than the reset does.
    fn explained(&mut self, cause: io::Error) -> io::Error {
        use io::ErrorKind::{BrokenPipe, ConnectionReset, NotConnected};
        let is_cut_off = matches!(cause.kind(), BrokenPipe | ConnectionReset | NotConnected);
        let Stream::Tls(tls) = self else { return cause };
        while is_cut_off && matches!(tls.conn.read_tls(&mut tls.sock), Ok(len) if len > 0) {
            if let Err(said) = tls.conn.process_new_packets() {
                return io::Error::new(io::ErrorKind::InvalidData, said);
            }
        }
        cause
    }

    fn tcp(&self) -> &TcpStream {
        match self {
            Stream::Plain(timed) => &timed.tcp,
            Stream::Tls(tls) => &tls.sock.tcp,
        }
    }
}

impl Read for Stream {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = match self {
            Stream::Plain(timed) => timed.read(bytes),
            Stream::Tls(tls) => tls.read(bytes),
        };
        read.map_err(|cause| self.explained(cause))
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = match self {
            Stream::Plain(timed) => timed.write(bytes),
            Stream::Tls(tls) => tls.write(bytes),
        };
        written.map_err(|cause| self.explained(cause))
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = match self {
            Stream::Plain(timed) => timed.flush(),
            Stream::Tls(tls) => tls.flush(),
        };
        flushed.map_err(|cause| self.explained(cause))
    }
}

impl Read for Timed {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.tcp.set_read_timeout(Some(self.deadline.left()?))?;
        self.tcp.read(bytes).map_err(as_timeout)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.tcp.set_write_timeout(Some(self.deadline.left()?))?;
        self.tcp.write(bytes).map_err(as_timeout)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.tcp.flush()
    }
}

/// A socket whose timeout is over says that it would block.
fn as_timeout(cause: io::Error) -> io::Error {
    if cause.kind() == io::ErrorKind::WouldBlock { io::ErrorKind::TimedOut.into() } else { cause }
}

/// The addresses of a host. The system's resolver takes as long as it likes, so it is asked by a thread that nobody
/// waits for longer than that; it ends when the resolver gives up.
///
/// # Errors
/// When the name leads nowhere, or the answer does not come in time.
pub fn resolve(host: &str, port: u16, deadline: Deadline) -> io::Result<Vec<SocketAddr>> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let (tell, told) = mpsc::channel();
    let name = host.to_owned();
    thread::Builder::new().name("resolver".to_owned()).spawn(move || {
        let found = (name.as_str(), port).to_socket_addrs().map(Iterator::collect::<Vec<_>>);
        // Nobody listens any more when it was too late.
        let _ = tell.send(found);
    })?;
    let found =
        told.recv_timeout(deadline.left()?).map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    if found.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(found) }
}

/// Why a connection failed, in words that do not leave out who it was.
pub fn failure(what: &dyn Display, host: &str, port: u16, cause: &io::Error) -> String {
    let cause: &dyn Display = match cause.kind() {
        io::ErrorKind::TimedOut => &"it took too long",
        io::ErrorKind::ConnectionReset => &"the connection was reset",
        io::ErrorKind::UnexpectedEof => &"the connection was closed",
        _ => cause,
    };
    let colons = if host.contains(':') { ("[", "]") } else { ("", "") };
    format!("failed to {what} {}{host}{}:{port}: {cause}", colons.0, colons.1)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_addresses_of_a_host_are_tried_in_turn() {
        let deadline = Deadline::after(Duration::from_secs(10));
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let there = listener.local_addr().expect("an address");
        // Nobody has ever listened on this one, and its kernel says so.
        let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
        assert!(Stream::to_any(&[nobody, there], deadline).is_ok());
        let refused = Stream::to_any(&[nobody, nobody], deadline).err().expect("nobody is there");
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(
            Stream::to_any(&[], deadline).err().map(|cause| cause.kind()),
            Some(io::ErrorKind::NotFound)
        );
    }

    #[test]
    fn a_name_leads_to_addresses_or_is_an_error_in_time() {
        let deadline = Deadline::after(Duration::from_secs(10));
        let local = SocketAddr::from(([127, 0, 0, 1], 514));
        assert!(resolve("localhost", 514, deadline).expect("addresses").contains(&local));
        assert_eq!(
            resolve("::1", 514, deadline).expect("addresses"),
            [SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 514))]
        );
        assert!(resolve("none.invalid", 514, deadline).is_err());
        let late = resolve("localhost", 514, Deadline::after(Duration::ZERO)).expect_err("too late");
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
    }
}
