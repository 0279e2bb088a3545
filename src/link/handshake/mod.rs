//! Whole conversations by the kernel's own stack: a handshake, and what the other side says after it, within bounds of
//! time and bytes.
//!
//! Where `connect` asks thousands of targets whether they answer a SYN, this asks a few whether they mean it. A call is
//! begun with [`Calls::begin`] and ends, whatever the other side does, no later than its patience for the handshake and
//! its patience for speech together; nothing that is heard makes it longer. At most a few hundred bytes are kept.
//!
//! What must hold:
//! - Nothing leaves the fence, which is asked beside the system call.
//! - Nothing lingers: every socket closes with a reset.
//! - Nothing is understood here. What was heard is handed up as bytes; only TLS is spoken, as far as the certificate.

mod call;
mod tls;

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use mio::{Events, Interest, Poll, Token};
use serde::{Deserialize, Serialize};

use self::call::{Attempt, Begun};
use super::LinkError;
use super::clock::{Clock, Monotonic, Tick};
use super::fence::Fence;

/// Bytes that are kept of what was heard.
pub const MOST_HEARD: usize = 256;

/// How long a conversation may take, part by part.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For the handshake.
    pub handshake: Duration,
    /// For whoever speaks unasked.
    pub listen: Duration,
    /// For all speech together.
    pub speech: Duration,
    /// For the rest of what has begun to come.
    pub settle: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Patience {
            handshake: Duration::from_secs(3),
            listen: Duration::from_millis(700),
            speech: Duration::from_millis(1700),
            settle: Duration::from_millis(150),
        }
    }
}

/// One conversation that is to be had.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Call {
    /// Where to.
    pub ip: IpAddr,
    /// Where to.
    pub port: u16,
    /// What to do after the handshake.
    pub opening: Opening,
    /// How long the handshake may take, if not as long as usual.
    pub patience: Option<Duration>,
}

/// What to do after the handshake.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Opening {
    /// Nothing: the handshake is all that was wanted.
    Close,
    /// Listen, and after a while of silence say this, if it is anything, and listen on.
    Listen(&'static [u8]),
    /// Begin TLS, and end with the certificate.
    Tls,
}

/// How a conversation went.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Outcome {
    /// How the handshake ended.
    pub reached: Reached,
    /// What the other side did then; `None` if nobody waited for it.
    pub conduct: Option<Conduct>,
    /// The beginning of what it said.
    pub heard: Vec<u8>,
    /// The certificate that it showed, DER.
    pub certificate: Option<Vec<u8>>,
}

impl Outcome {
    /// A handshake that came to nothing.
    pub fn failed(reached: Reached) -> Self {
        Outcome { reached, conduct: None, heard: Vec::new(), certificate: None }
    }
}

/// How a handshake ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reached {
    /// It was completed.
    Completed,
    /// With a reset.
    Refused,
    /// With nothing, in all the time that it had.
    Silent,
    /// The network says that there is no way.
    Unreachable,
    /// This host itself has no way there, or may not: nothing has left, and nothing is said of the other side.
    Prevented,
}

/// What the other side did after the handshake.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Conduct {
    /// It said something.
    Spoke,
    /// It closed without a word.
    Closed,
    /// It reset the connection without a word.
    Reset,
    /// Nothing.
    Quiet,
}

/// Something that has conversations. A trait, so that whoever decides which to have can be tried without a network.
pub trait Calls {
    /// Begins a conversation under a number of the caller's. Says whether there was room for it; where there was not,
    /// nothing has left.
    ///
    /// # Errors
    /// When it would go outside the fence, or the system is broken.
    fn begin(&mut self, number: usize, call: &Call) -> Result<bool, LinkError>;

    /// Waits until `until` at most for conversations to end, and hands over those that did.
    ///
    /// # Errors
    /// When the system is broken.
    fn wait(&mut self, until: Tick, each: &mut dyn FnMut(usize, Outcome)) -> Result<(), LinkError>;
}

/// What the handshakes are to keep to.
#[derive(Clone, Debug)]
pub struct HandshakeOptions {
    /// Where they may go.
    pub fence: Fence,
    /// The interface that they must leave by, if the routes are not to decide.
    pub interface: Option<String>,
    /// How long they may take.
    pub patience: Patience,
}

/// Has conversations through the kernel.
pub struct Handshakes {
    options: HandshakeOptions,
    clock: Monotonic,
    poll: Poll,
    events: Events,
    /// Conversations under way; the place of each is its token.
    slots: Vec<Option<Attempt>>,
    free: Vec<usize>,
    /// Those that were over at once.
    ended: Vec<(usize, Outcome)>,
    greeter: tls::Greeter,
}

impl Handshakes {
    /// Opens.
    ///
    /// # Errors
    /// When the kernel gives no poll descriptor.
    pub fn open(options: HandshakeOptions, clock: Monotonic) -> Result<Self, LinkError> {
        Ok(Handshakes {
            options,
            clock,
            poll: Poll::new().map_err(|cause| failed("open", cause))?,
            events: Events::with_capacity(256),
            slots: Vec::new(),
            free: Vec::new(),
            ended: Vec::new(),
            greeter: tls::Greeter::new(),
        })
    }

    /// Moves a conversation on that has something to read, or whose time has come.
    fn settle(&mut self, slot: usize, each: &mut dyn FnMut(usize, Outcome)) {
        let Some(attempt) = self.slots.get_mut(slot).and_then(Option::as_mut) else { return };
        let Some(outcome) = attempt.step(self.clock.now(), &self.greeter) else { return };
        each(attempt.number, outcome);
        // Dropping it closes the socket, which takes it out of the poll.
        self.slots[slot] = None;
        self.free.push(slot);
    }
}

impl Calls for Handshakes {
    fn begin(&mut self, number: usize, call: &Call) -> Result<bool, LinkError> {
        if !self.options.fence.holds(call.ip, call.port) {
            return Err(LinkError::OutsideFence { ip: call.ip, port: call.port });
        }
        let options = &self.options;
        let begun =
            Attempt::begin(number, call, options.interface.as_deref(), options.patience, self.clock.now())?;
        let mut attempt = match begun {
            Begun::Under(attempt) => *attempt,
            Begun::Over(reached) => {
                self.ended.push((number, Outcome::failed(reached)));
                return Ok(true);
            }
            Begun::NoRoom => return Ok(false),
        };
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.poll
            .registry()
            .register(&mut attempt.stream, Token(slot), Interest::READABLE | Interest::WRITABLE)
            .map_err(|cause| failed("add a socket to", cause))?;
        self.slots[slot] = Some(attempt);
        Ok(true)
    }

    fn wait(&mut self, until: Tick, each: &mut dyn FnMut(usize, Outcome)) -> Result<(), LinkError> {
        let mut until = until;
        for (number, outcome) in self.ended.drain(..) {
            each(number, outcome);
            until = self.clock.now();
        }
        let next = self.slots.iter().flatten().map(Attempt::next_look).min();
        let wait = next.map_or(until, |next| next.min(until)).since(self.clock.now());
        // The poll counts in milliseconds, and cuts what is less.
        let wait = if wait.is_zero() { wait } else { wait + Duration::from_millis(1) };
        match self.poll.poll(&mut self.events, Some(wait)) {
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => return Ok(()),
            result => result.map_err(|cause| failed("wait", cause))?,
        }
        let ready: Vec<usize> = self.events.iter().map(|event| event.token().0).collect();
        for slot in ready {
            self.settle(slot, each);
        }
        let now = self.clock.now();
        for slot in 0..self.slots.len() {
            if self.slots[slot].as_ref().is_some_and(|attempt| attempt.next_look() <= now) {
                self.settle(slot, each);
            }
        }
        Ok(())
    }
}

fn failed(attempt: &'static str, cause: io::Error) -> LinkError {
    LinkError::System {
        attempt,
        object: "the poll of the handshakes".to_owned(),
        cause,
        remedy: "raise the limit of open files (ulimit -n)",
    }
}

#[cfg(test)]
mod tests;
