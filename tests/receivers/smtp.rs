//! A mail server for tests, on the loopback: it answers as it should, but for what a test tells it to answer instead.
//! Each test program uses its own part of this.
#![allow(dead_code)]

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// What it answers to a command that begins so, instead of what it should. `greeting` and `mail` are no commands: they
/// stand for the beginning, and for a mail that has come to its end. An answer is sent as it is, and may be these:
/// [`HANGS`], [`DRIPS`], [`CLOSES`].
pub type Answers = &'static [(&'static str, &'static str)];

pub const HANGS: &str = "hangs";
pub const DRIPS: &str = "drips";
pub const CLOSES: &str = "closes";

/// What a server is like.
#[derive(Clone)]
pub struct Server {
    pub answers: Answers,
    /// What follows the greeting of EHLO, such as `STARTTLS`.
    pub offers: &'static [&'static str],
    /// With STARTTLS.
    pub config: Option<Arc<ServerConfig>>,
    /// With TLS from the first byte.
    pub is_implicit: bool,
}

/// A server that runs until the test ends.
pub struct SmtpReceiver {
    pub port: u16,
    heard: Receiver<String>,
}

impl SmtpReceiver {
    pub fn new(server: Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let port = listener.local_addr().expect("an address").port();
        let (tell, heard) = mpsc::channel();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (server, tell, stream) = (server.clone(), tell.clone(), stream.expect("a connection"));
                thread::spawn(move || {
                    let _ = serve(stream, &server, &tell);
                });
            }
        });
        SmtpReceiver { port, heard }
    }

    /// Everything that has been said to it, command by command, and each mail as one text.
    pub fn heard(&self) -> Vec<String> {
        self.heard.try_iter().collect()
    }
}

fn serve(stream: TcpStream, server: &Server, tell: &Sender<String>) -> io::Result<()> {
    let encrypted = |stream: TcpStream| {
        let config = server.config.clone().expect("a certificate");
        let connection = ServerConnection::new(config).map_err(io::Error::other)?;
        io::Result::Ok(BufReader::new(StreamOwned::new(connection, stream)))
    };
    if server.is_implicit {
        let mut stream = encrypted(stream)?;
        say(server, "greeting", "220 mail.example.net\r\n", stream.get_mut())?;
        return converse(stream, server, tell).map(|_| ());
    }
    let mut plain = BufReader::new(stream);
    say(server, "greeting", "220 mail.example.net\r\n", plain.get_mut())?;
    if let Some(plain) = converse(plain, server, tell)? {
        converse(encrypted(plain.into_inner())?, server, tell)?;
    }
    Ok(())
}

/// Answers until the client leaves, or asks for TLS: then its connection comes back.
fn converse<S: Read + Write>(
    mut stream: BufReader<S>,
    server: &Server,
    tell: &Sender<String>,
) -> io::Result<Option<BufReader<S>>> {
    let offers: String = server.offers.iter().map(|offer| format!("250-{offer}\r\n")).collect();
    let hello = format!("250-mail.example.net\r\n{offers}250 HELP\r\n");
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let command = line.trim_end().to_owned();
        let _ = tell.send(command.clone());
        let usual = match command.split([' ', ':']).next().unwrap_or_default() {
            "EHLO" => hello.as_str(),
            "AUTH" => "235 2.7.0 welcome\r\n",
            "STARTTLS" => "220 go ahead\r\n",
            "DATA" => "354 go on\r\n",
            "QUIT" => "221 bye\r\n",
            _ => "250 2.1.0 fine\r\n",
        };
        let said = say(server, &command, usual, stream.get_mut())?;
        match command.as_str() {
            "STARTTLS" if said.starts_with("220") => return Ok(Some(stream)),
            "QUIT" => return Ok(None),
            "DATA" if said.starts_with("354") => {
                let mut mail = String::new();
                while !mail.ends_with("\r\n.\r\n") {
                    if stream.read_line(&mut mail)? == 0 {
                        return Ok(None);
                    }
                }
                let _ = tell.send(mail);
                say(server, "mail", "250 2.0.0 taken\r\n", stream.get_mut())?;
            }
            _ => {}
        }
    }
}

/// Says what the test wants said, or what is usual.
fn say(server: &Server, command: &str, usual: &str, stream: &mut impl Write) -> io::Result<String> {
    let told = server.answers.iter().find(|(begin, _)| command.starts_with(begin));
    let said = told.map_or(usual, |(_, said)| said);
    match said {
        HANGS => thread::sleep(Duration::from_secs(30)),
        CLOSES => return Err(io::ErrorKind::ConnectionAborted.into()),
        DRIPS => {
            for byte in usual.bytes() {
                stream.write_all(&[byte])?;
                stream.flush()?;
                thread::sleep(Duration::from_millis(100));
            }
        }
        said => stream.write_all(said.as_bytes()).and_then(|()| stream.flush())?,
    }
    Ok(said.to_owned())
}
