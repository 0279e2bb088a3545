//! One conversation: a state machine over a socket that never blocks.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use mio::net::TcpStream;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::tls::{Greeter, Greeting, Heard};
use super::{Call, Conduct, MOST_HEARD, Opening, Outcome, Patience, Reached};
use crate::link::LinkError;
use crate::link::clock::Tick;

/// Bytes that are read at once.
const READ: usize = 4096;

/// Bytes that are read of a TLS handshake: certificate chains are longer than banners.
const MOST_TLS: usize = 1 << 15;

/// A conversation under way. Dropping it closes the socket.
pub(super) struct Attempt {
    pub(super) number: usize,
    pub(super) stream: TcpStream,
    peer: SocketAddr,
    opening: Opening,
    patience: Patience,
    stage: Stage,
    /// When this stage ends by itself.
    deadline: Tick,
    /// When all speech ends.
    end: Tick,
    heard: Vec<u8>,
    /// Everything that was read, kept or not.
    read: usize,
    /// Whether it was reset between the handshake and our first look.
    is_reset: bool,
}

/// How far a conversation is.
enum Stage {
    /// The SYN is on its way.
    Shaking,
    /// Connected; nothing was said yet by either side.
    Listening,
    /// We have said our word.
    Waiting,
    /// They speak; the rest of it may take until the deadline.
    Hearing,
    /// TLS.
    Greeting(Box<Greeting>),
}

/// What came of beginning.
pub(super) enum Begun {
    /// It is under way.
    Under(Box<Attempt>),
    /// It was over at once.
    Over(Reached),
    /// The system has no room for it at the moment.
    NoRoom,
}

impl Attempt {
    pub(super) fn begin(
        number: usize,
        call: &Call,
        interface: Option<&str>,
        patience: Patience,
        now: Tick,
    ) -> Result<Begun, LinkError> {
        let peer = SocketAddr::new(call.ip, call.port);
        let socket = match prepare(peer, interface) {
            Ok(socket) => socket,
            Err(cause) if is_of_the_moment(&cause) => return Ok(Begun::NoRoom),
            Err(cause) if cause.raw_os_error() == Some(libc::EAFNOSUPPORT) => {
                return Ok(Begun::Over(Reached::Prevented));
            }
            Err(cause) => return Err(failed(peer, interface, cause)),
        };
        match socket.connect(&peer.into()) {
            Ok(()) => {}
            Err(cause) if cause.raw_os_error() == Some(libc::EINPROGRESS) => {}
            Err(cause) if is_of_the_moment(&cause) => return Ok(Begun::NoRoom),
            // A loopback may have answered already.
            Err(cause) if cause.raw_os_error() == Some(libc::ECONNREFUSED) => {
                return Ok(Begun::Over(Reached::Refused));
            }
            Err(_) => return Ok(Begun::Over(Reached::Prevented)),
        }
        let deadline = now + call.patience.unwrap_or(patience.handshake);
        Ok(Begun::Under(Box::new(Attempt {
            number,
            stream: TcpStream::from_std(socket.into()),
            peer,
            opening: call.opening,
            patience,
            stage: Stage::Shaking,
            deadline,
            end: deadline,
            heard: Vec::new(),
            read: 0,
            is_reset: false,
        })))
    }

    /// When to look at it again, whether or not anything has come.
    pub(super) fn next_look(&self) -> Tick {
        self.deadline.min(self.end)
    }

    /// Goes on, and says how it went if it is over.
    pub(super) fn step(&mut self, now: Tick, greeter: &Greeter) -> Option<Outcome> {
        if matches!(self.stage, Stage::Shaking) {
            match self.shaken(now) {
                Some(Reached::Completed) => {
                    if let Some(outcome) = self.open_up(now, greeter) {
                        return Some(outcome);
                    }
                }
                Some(reached) => return Some(Outcome::failed(reached)),
                None => return None,
            }
        }
        if let Some(outcome) = self.hear(now) {
            return Some(outcome);
        }
        if now >= self.end {
            return Some(self.quiet());
        }
        if now >= self.deadline {
            return self.next_stage();
        }
        None
    }

    /// Whether the handshake has ended, and how.
    fn shaken(&mut self, now: Tick) -> Option<Reached> {
        let socket = SockRef::from(&self.stream);
        let error = socket.take_error().ok().flatten();
        if error.is_none() && self.stream.peer_addr().is_ok() {
            // A port of this very host may be given to us as our own, and then we would have called ourselves.
            let is_oneself = self.stream.local_addr().is_ok_and(|local| local == self.peer);
            return Some(if is_oneself { Reached::Refused } else { Reached::Completed });
        }
        match error {
            // A reset that answers the SYN is a refusal in the kernel's words. This one came after the handshake.
            Some(cause) if matches!(cause.raw_os_error(), Some(libc::ECONNRESET | libc::EPIPE)) => {
                self.is_reset = true;
                Some(Reached::Completed)
            }
            Some(cause) => Some(meaning(&cause)),
            None if now >= self.deadline => Some(Reached::Silent),
            None => None,
        }
    }

    /// The handshake is done: the outcome where that is all, and else the first stage of what comes then.
    fn open_up(&mut self, now: Tick, greeter: &Greeter) -> Option<Outcome> {
        self.end = now + self.patience.speech;
        self.deadline = self.end;
        self.stage = match self.opening {
            Opening::Close => return Some(self.outcome(None)),
            Opening::Listen(_) => {
                self.deadline = now + self.patience.listen;
                Stage::Listening
            }
            Opening::Tls => match greeter.greet(self.peer.ip()) {
                Some(mut greeting) => {
                    greeting.flush(&mut self.stream);
                    Stage::Greeting(Box::new(greeting))
                }
                None => Stage::Waiting,
            },
        };
        None
    }

    /// Reads what is there.
    fn hear(&mut self, now: Tick) -> Option<Outcome> {
        let mut buffer = [0; READ];
        loop {
            let count = match self.stream.read(&mut buffer) {
                Ok(0) if self.is_reset => return Some(self.over(Conduct::Reset)),
                Ok(0) => return Some(self.over(Conduct::Closed)),
                Ok(count) => count,
                Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => return None,
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return Some(self.over(Conduct::Reset)),
            };
            let bytes = buffer.get(..count).unwrap_or_default();
            self.read += count;
            let room = MOST_HEARD - self.heard.len();
            self.heard.extend_from_slice(bytes.get(..room.min(count)).unwrap_or_default());
            if let Stage::Greeting(greeting) = &mut self.stage {
                match greeting.hear(bytes, &mut self.stream) {
                    Heard::More if self.read < MOST_TLS => continue,
                    _ => return Some(self.over(Conduct::Spoke)),
                }
            }
            if self.heard.len() >= MOST_HEARD {
                return Some(self.over(Conduct::Spoke));
            }
            if !matches!(self.stage, Stage::Hearing) {
                // From here on more bytes change nothing: a drip does not hold us.
                self.stage = Stage::Hearing;
                self.deadline = now + self.patience.settle;
            }
        }
    }

    /// The stage has come to its end in silence.
    fn next_stage(&mut self) -> Option<Outcome> {
        match (&self.stage, self.opening) {
            (Stage::Listening, Opening::Listen(word)) if !word.is_empty() => {
                // A fresh connection takes a few bytes at once. If not even that, then nobody is there to read them.
                let _ = self.stream.write(word);
                self.stage = Stage::Waiting;
                self.deadline = self.end;
                None
            }
            // Without a word to say, the listening goes on.
            (Stage::Listening, _) => {
                self.stage = Stage::Waiting;
                self.deadline = self.end;
                None
            }
            _ => Some(self.quiet()),
        }
    }

    fn quiet(&mut self) -> Outcome {
        self.over(Conduct::Quiet)
    }

    /// Whoever has said anything spoke, however it ended.
    fn over(&mut self, conduct: Conduct) -> Outcome {
        self.outcome(Some(if self.heard.is_empty() { conduct } else { Conduct::Spoke }))
    }

    fn outcome(&mut self, conduct: Option<Conduct>) -> Outcome {
        let certificate = match &self.stage {
            Stage::Greeting(greeting) => greeting.certificate(),
            _ => None,
        };
        Outcome { reached: Reached::Completed, conduct, heard: std::mem::take(&mut self.heard), certificate }
    }
}

fn prepare(peer: SocketAddr, interface: Option<&str>) -> io::Result<Socket> {
    let domain = Domain::for_address(peer);
    let socket = Socket::new(domain, Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    // However it gets closed: no TIME_WAIT here, nothing left over there.
    socket.set_linger(Some(Duration::ZERO))?;
    if domain == Domain::IPV6 {
        // Otherwise a call to ::ffff:192.0.2.1 would leave as IPv4, past an IPv4 fence that says no.
        socket.set_only_v6(true)?;
    }
    if let Some(interface) = interface {
        socket.bind_device(Some(interface.as_bytes()))?;
    }
    Ok(socket)
}

fn meaning(cause: &io::Error) -> Reached {
    match cause.raw_os_error().unwrap_or(0) {
        libc::ECONNREFUSED => Reached::Refused,
        libc::ETIMEDOUT => Reached::Silent,
        _ => Reached::Unreachable,
    }
}

/// Whether the kernel lacks something that closing other sockets gives back.
fn is_of_the_moment(cause: &io::Error) -> bool {
    matches!(
        cause.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM | libc::EAGAIN)
    )
}

fn failed(peer: SocketAddr, interface: Option<&str>, cause: io::Error) -> LinkError {
    LinkError::System {
        attempt: "prepare a socket for a handshake",
        object: interface.map_or_else(|| peer.to_string(), |name| format!("{peer} by {name}")),
        cause,
        remedy: "sweep without verifying (--no-verify), or look at the interface with `ip link`",
    }
}
