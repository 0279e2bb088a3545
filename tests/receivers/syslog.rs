//! A syslog receiver for tests, on the loopback: by TCP with octet counts, by TLS, or by UDP. It takes messages as it
//! should, or misbehaves in one of the ways in which receivers do.
//! Each test program uses its own part of this.
#![allow(dead_code)]

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// How a receiver behaves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Manner {
    /// It reads until the other end has closed, and closes then.
    Reads,
    /// It closes after the first message, with more to read.
    ClosesAfterFirst,
    /// It accepts connections and does nothing with them, not even TLS.
    Hangs,
    /// It reads a byte now and then, and by TLS shakes hands as slowly.
    Drips,
    /// It reads everything and never closes.
    NeverCloses,
}

/// A receiver that runs until the test ends.
pub struct SyslogReceiver {
    pub port: u16,
    heard: Receiver<String>,
}

impl SyslogReceiver {
    pub fn tcp(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        Self::streams(listener, manner, None)
    }

    pub fn tls(manner: Manner, config: Arc<ServerConfig>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        Self::streams(listener, manner, Some(config))
    }

    pub fn udp() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("bind");
        let port = socket.local_addr().expect("an address").port();
        let (tell, heard) = mpsc::channel();
        thread::spawn(move || {
            let mut bytes = vec![0; 1 << 16];
            while let Ok(len) = socket.recv(&mut bytes) {
                let _ = tell.send(String::from_utf8(bytes[..len].to_vec()).expect("UTF-8"));
            }
        });
        SyslogReceiver { port, heard }
    }

    /// The next so many messages. Fails when they do not come soon.
    pub fn next(&self, count: usize) -> Vec<String> {
        let one = |_| self.heard.recv_timeout(Duration::from_secs(10)).expect("a message");
        (0..count).map(one).collect()
    }

    /// What else has been heard.
    pub fn rest(&self) -> Vec<String> {
        self.heard.try_iter().collect()
    }

    fn streams(listener: TcpListener, manner: Manner, config: Option<Arc<ServerConfig>>) -> Self {
        let port = listener.local_addr().expect("an address").port();
        let (tell, heard) = mpsc::channel();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (tell, config, stream) = (tell.clone(), config.clone(), stream.expect("a connection"));
                thread::spawn(move || {
                    let _ = serve(stream, manner, config, &tell);
                });
            }
        });
        SyslogReceiver { port, heard }
    }
}

fn serve(
    stream: TcpStream,
    manner: Manner,
    config: Option<Arc<ServerConfig>>,
    tell: &Sender<String>,
) -> io::Result<()> {
    if manner == Manner::Hangs {
        thread::sleep(Duration::from_secs(30));
        return Ok(());
    }
    let stream = Dripping { stream, drips: manner == Manner::Drips };
    match config {
        None => listen(stream, manner, tell),
        Some(config) => {
            let connection = ServerConnection::new(config).map_err(io::Error::other)?;
            listen(StreamOwned::new(connection, stream), manner, tell)
        }
    }
}

/// Reads `LENGTH SP MESSAGE` again and again.
fn listen(mut stream: impl Read + Write, manner: Manner, tell: &Sender<String>) -> io::Result<()> {
    loop {
        let mut length = 0;
        loop {
            let mut byte = [0; 1];
            if stream.read(&mut byte)? == 0 {
                if manner == Manner::NeverCloses {
                    thread::sleep(Duration::from_secs(30));
                }
                return Ok(());
            }
            match byte[0] {
                b' ' => break,
                digit => length = length * 10 + usize::from(digit - b'0'),
            }
        }
        let mut message = vec![0; length];
        stream.read_exact(&mut message)?;
        let _ = tell.send(String::from_utf8(message).expect("UTF-8"));
        if manner == Manner::ClosesAfterFirst {
            return Ok(());
        }
    }
}

/// A connection that takes and gives a byte now and then, if it is so.
struct Dripping {
    stream: TcpStream,
    drips: bool,
}

impl Read for Dripping {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if !self.drips {
            return self.stream.read(bytes);
        }
        thread::sleep(Duration::from_millis(50));
        self.stream.read(&mut bytes[..1])
    }
}

impl Write for Dripping {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.drips {
            return self.stream.write(bytes);
        }
        thread::sleep(Duration::from_millis(50));
        self.stream.write(&bytes[..1])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
