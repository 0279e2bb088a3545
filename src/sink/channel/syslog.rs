//! `syslog`: RFC 5424 by UDP, TCP or TLS.
//!
//! # What is known of a delivery
//! Syslog has no acknowledgement. By TCP and TLS each batch has a connection of its own, and after the last message we
//! say that nothing more comes and wait for the receiver to close as well. A receiver that closes orderly has read what
//! was sent, for a kernel resets a connection that is closed with something unread; so one that hangs, dies or goes
//! away half-way is noticed, and all of the batch is sent again, with the same identifiers. What a receiver loses after
//! it has read is not noticed. One that keeps its half of the connection open for longer than the timeout cannot be
//! told from one that hangs, and counts as one that does.
//!
//! By UDP a datagram has been sent, and nothing more is known, but where a host says at once that nobody listens there.

use std::io::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use jiff::Timestamp;

use super::deadline::Deadline;
use super::form::{Form, each};
use super::stream::{Stream, failure, resolve};
use super::{Channel, Delivery, host_name, tls};
use crate::sink::message::Message;
use crate::sink::options::{LineFormat, SyslogOptions, SyslogTransport};
use crate::sink::syslog::{Origin, encode_as};

/// A syslog server.
pub struct Syslog {
    options: SyslogOptions,
    timeout: Duration,
    form: Form,
    origin: Origin,
}

impl Syslog {
    /// The server of these options, of which nothing is asked yet.
    pub fn new(options: SyslogOptions, timeout: Duration) -> Self {
        let origin = Origin::new(&host_name(), std::process::id());
        Syslog { options, timeout, form: Form::default(), origin }
    }

    /// The same with events in this format.
    #[must_use]
    pub fn told_in(self, format: LineFormat) -> Self {
        Syslog { form: Form::new(format), ..self }
    }

    fn send(&self, encoded: &[Vec<u8>]) -> Result<(), String> {
        let SyslogOptions { host, port, transport, .. } = &self.options;
        let deadline = Deadline::after(self.timeout);
        let told = |what: &str, cause: io::Error| failure(&what, host, *port, &cause);
        if *transport == SyslogTransport::Udp {
            return datagrams(host, *port, encoded, deadline)
                .map_err(|cause| told("send datagrams to", cause));
        }
        let mut stream = Stream::connect(host, *port, deadline).map_err(|cause| told("connect to", cause))?;
        if *transport == SyslogTransport::Tls {
            let config = tls::client_config(&self.options.tls).map_err(|error| error.to_string())?;
            stream = stream.encrypt(host, config).map_err(|cause| told("agree on TLS with", cause))?;
        }
        let frames: Vec<u8> = encoded.iter().flat_map(|message| frame(message)).collect();
        stream.write_all(&frames).and_then(|()| stream.flush()).map_err(|cause| told("send to", cause))?;
        stream.finish().map_err(|cause| told("have it confirmed that all was read by", cause))
    }
}

impl Channel for Syslog {
    /// A storm is a few thousand messages of about a kilobyte.
    fn batch(&self) -> usize {
        256
    }

    fn deliver(&mut self, messages: &[Message], _now: Timestamp) -> Vec<Delivery> {
        let forms: Vec<_> = messages.iter().map(|message| self.form.payload(message)).collect();
        let encoded = messages.iter().zip(&forms).filter_map(|(message, form)| {
            let payload = form.as_ref().ok().filter(|payload| !payload.is_empty())?;
            Some(encode_as(message, payload, &self.origin, self.options.facility))
        });
        let encoded: Vec<Vec<u8>> = encoded.collect();
        // Nobody is connected to for nothing.
        let sent = if encoded.is_empty() { Ok(()) } else { self.send(&encoded) };
        each(forms, &sent.map_or_else(Delivery::not_now, |()| Delivery::Delivered))
    }
}

/// A message with its length before it (RFC 6587, section 3.4.1; RFC 5425, section 4.3).
fn frame(message: &[u8]) -> Vec<u8> {
    [format!("{} ", message.len()).as_bytes(), message].concat()
}

/// Sends a datagram for each message (RFC 5426), to the first address of the host that does not refuse them.
fn datagrams(host: &str, port: u16, encoded: &[Vec<u8>], deadline: Deadline) -> io::Result<()> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in resolve(host, port, deadline)? {
        match datagrams_to(address, encoded, deadline) {
            Ok(()) => return Ok(()),
            Err(cause) => last = cause,
        }
    }
    Err(last)
}

fn datagrams_to(address: SocketAddr, encoded: &[Vec<u8>], deadline: Deadline) -> io::Result<()> {
    let any = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
    socket.connect(address)?;
    for message in encoded {
        socket.set_write_timeout(Some(deadline.left()?))?;
        socket.send(message)?;
    }
    // A refusal of the last one is reported to nobody who does not ask.
    socket.take_error()?.map_or(Ok(()), Err)
}
