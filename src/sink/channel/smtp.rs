//! One conversation with a mail server (RFC 5321). The words are lettre's; the connection is ours, because lettre's own
//! gives each read the whole timeout anew, and because a mail with three recipients must reach the two that exist.

use std::fmt::Display;
use std::io::{self, Read, Write};
use std::time::Duration;

use lettre::Address;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::commands::{Auth, Data, Ehlo, Mail, Quit, Rcpt, Starttls};
use lettre::transport::smtp::extension::{ClientId, Extension, MailParameter, ServerInfo};
use lettre::transport::smtp::response::{Response, Severity};
use secrecy::ExposeSecret;

use super::deadline::Deadline;
use super::stream::{Stream, failure};
use super::{host_name, tls};
use crate::sink::options::{EmailOptions, Encryption};
use crate::target::foreign::printable;

/// Why something was not done.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failure {
    /// In words.
    pub why: String,
    /// Whether the server has said that it never will do it.
    pub is_final: bool,
}

/// What the server says of one recipient.
pub type Verdict = Result<(), Failure>;

/// The most bytes of one reply: some servers have much to say, and none needs this much.
const REPLY_MAX: usize = 64 << 10;

/// The most challenges of one authentication.
const CHALLENGES_MAX: usize = 4;

/// A conversation.
pub struct Session<'o> {
    options: &'o EmailOptions,
    stream: Option<Stream>,
    heard: Vec<u8>,
    server: ServerInfo,
}

impl<'o> Session<'o> {
    /// Connects, encrypts and authenticates, as the options have it. The password is read now and kept no longer.
    ///
    /// # Errors
    /// When any of it fails; an operator can mend all of it.
    pub fn open(options: &'o EmailOptions, timeout: Duration) -> Result<Self, Failure> {
        let EmailOptions { host, port, encryption, .. } = options;
        let stream = Stream::connect(host, *port, Deadline::after(timeout))
            .map_err(|cause| not_now(failure(&"connect to", host, *port, &cause)))?;
        let server = ServerInfo::default();
        let mut session = Session { options, stream: Some(stream), heard: Vec::new(), server };
        if *encryption == Encryption::Tls {
            session.encrypt()?;
        }
        session.listen("its greeting").map_err(mendable)?;
        session.greet()?;
        if *encryption == Encryption::StartTls {
            if !session.server.supports_feature(Extension::StartTls) {
                return Err(not_now(
                    session
                        .told("it offers no STARTTLS, and nothing is sent without; see to its certificate"),
                ));
            }
            session.say(Starttls, "STARTTLS").map_err(mendable)?;
            session.encrypt()?;
            session.greet()?;
        }
        session.authenticate().map_err(mendable)?;
        Ok(session)
    }

    /// Hands a mail over, and says what became of it for each of the recipients, in their order.
    ///
    /// # Errors
    /// When it was taken for nobody.
    pub fn send(&mut self, from: &Address, to: &[Address], mail: &[u8]) -> Result<Vec<Verdict>, Failure> {
        let mut parameters = Vec::new();
        if to.iter().chain([from]).any(|address| !AsRef::<str>::as_ref(address).is_ascii()) {
            if !self.server.supports_feature(Extension::SmtpUtfEight) {
                return Err(not_now(self.told("it takes no addresses beyond ASCII (SMTPUTF8)")));
            }
            parameters.push(MailParameter::SmtpUtfEight);
        }
        self.say(Mail::new(Some(from.clone()), parameters), &format!("the sender {from}"))?;
        let mut verdicts = Vec::with_capacity(to.len());
        for address in to {
            match self.say(Rcpt::new(address.clone(), vec![]), &format!("the recipient {address}")) {
                // 421 is about the conversation and not about the recipient.
                Err(failure) if self.stream.is_none() => return Err(failure),
                verdict => verdicts.push(verdict.map(|_| ())),
            }
        }
        if verdicts.iter().all(Result::is_err) {
            return Ok(verdicts);
        }
        self.say(Data, "DATA")?;
        self.write(&stuffed(mail))?;
        self.listen("the mail")?;
        Ok(verdicts)
    }

    /// Ends politely; the mail has been taken, whatever becomes of this.
    pub fn quit(mut self) {
        let _ = self.say(Quit, "QUIT");
    }

    fn encrypt(&mut self) -> Result<(), Failure> {
        let EmailOptions { host, port, .. } = self.options;
        // What somebody has put in before the encryption must not pass for what comes after it (CVE-2011-0411).
        if !self.heard.is_empty() {
            return Err(not_now(self.told("it has spoken out of turn before TLS began")));
        }
        let config = tls::client_config(&self.options.tls).map_err(|error| not_now(error.to_string()))?;
        let plain = self.stream.take().ok_or_else(|| not_now(self.told("the connection is closed")))?;
        let encrypted = plain.encrypt(host, config);
        let why = |cause| not_now(failure(&"agree on TLS with", host, *port, &cause));
        self.stream = Some(encrypted.map_err(why)?);
        Ok(())
    }

    fn greet(&mut self) -> Result<(), Failure> {
        let response = self.say(Ehlo::new(own_name()), "EHLO").map_err(mendable)?;
        self.server =
            ServerInfo::from_response(&response).map_err(|_| not_now(self.told("it has no name")))?;
        Ok(())
    }

    fn authenticate(&mut self) -> Result<(), Failure> {
        let (Some(user), Some(place)) = (&self.options.user, &self.options.password) else { return Ok(()) };
        let Some(mechanism) = self.server.get_auth_mechanism(DEFAULT_MECHANISMS) else {
            return Err(not_now(self.told("it offers no authentication by password")));
        };
        let password = place.read().map_err(|error| not_now(error.to_string()))?;
        let credentials = Credentials::new(user.clone(), password.expose_secret().to_owned());
        // lettre's errors could quote what they are about.
        let odd = |session: &Self| not_now(session.told("it asks for something odd instead of a password"));
        let first = Auth::new(mechanism, credentials.clone(), None).map_err(|_| odd(self))?;
        let mut response = self.say(first, "the password")?;
        for _ in 0..CHALLENGES_MAX {
            if !response.has_code(334) {
                return Ok(());
            }
            let answer = Auth::new_from_response(mechanism, credentials.clone(), &response);
            response = self.say(answer.map_err(|_| odd(self))?, "the password")?;
        }
        Err(odd(self))
    }

    /// Says something, of which errors tell only what it was about.
    fn say(&mut self, command: impl Display, about: &str) -> Result<Response, Failure> {
        self.write(command.to_string().as_bytes())?;
        self.listen(about)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let Some(stream) = &mut self.stream else {
            return Err(not_now(self.told("the connection is closed")));
        };
        let written = stream.write_all(bytes).and_then(|()| stream.flush());
        written.map_err(|cause| self.lost(&cause))
    }

    /// Hears a reply; one that is no consent is a failure.
    fn listen(&mut self, about: &str) -> Result<Response, Failure> {
        let reply = self.reply().map_err(|cause| self.lost(&cause))?;
        let odd = |session: &Self| not_now(session.told("its reply is none of SMTP"));
        let response: Response = reply.parse().map_err(|_| odd(self))?;
        let code = u16::from(response.code());
        if response.is_positive() {
            return Ok(response);
        }
        if code == 421 {
            self.stream = None;
        }
        let said = response.message().collect::<Vec<_>>().join(" ");
        let is_final = response.code().severity == Severity::PermanentNegativeCompletion
            // These ask for credentials, and those can be mended.
            && !matches!(code, 530 | 534 | 535 | 538);
        Err(Failure { why: self.told(&format!("to {about} it said: {code} {}", printable(&said))), is_final })
    }

    /// The next whole reply: lines up to the first that does not begin with a code and a hyphen.
    fn reply(&mut self) -> io::Result<String> {
        let mut end = 0;
        loop {
            while let Some(len) = self.heard[end..].iter().position(|byte| *byte == b'\n') {
                let line = &self.heard[end..=end + len];
                end += len + 1;
                if !matches!(line, [a, b, c, b'-', ..] if [a, b, c].iter().all(|digit| digit.is_ascii_digit()))
                {
                    let rest = self.heard.split_off(end);
                    let reply = std::mem::replace(&mut self.heard, rest);
                    return Ok(String::from_utf8_lossy(&reply).into_owned());
                }
            }
            if self.heard.len() > REPLY_MAX {
                return Err(io::Error::other("its reply has no end"));
            }
            let mut bytes = [0; 1024];
            let Some(stream) = &mut self.stream else { return Err(io::ErrorKind::NotConnected.into()) };
            let len = stream.read(&mut bytes)?;
            if len == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.heard.extend(&bytes[..len]);
        }
    }

    fn lost(&mut self, cause: &io::Error) -> Failure {
        self.stream = None;
        not_now(failure(&"talk to", &self.options.host, self.options.port, cause))
    }

    fn told(&self, what: &str) -> String {
        format!("the mail server {}:{}: {what}", self.options.host, self.options.port)
    }
}

fn not_now(why: String) -> Failure {
    Failure { why, is_final: false }
}

/// What is no matter of the mail can be mended, whatever the server says.
fn mendable(failure: Failure) -> Failure {
    Failure { is_final: false, ..failure }
}

/// What we call ourselves (RFC 5321, section 4.1.1.1).
fn own_name() -> ClientId {
    let name = host_name();
    let is_fit = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    if !name.is_empty() && name.chars().all(is_fit) { ClientId::Domain(name) } else { ClientId::default() }
}

/// A mail as it goes over the wire: lines that begin with a dot get another one, and a dot alone ends it (section
/// 4.5.2).
fn stuffed(mail: &[u8]) -> Vec<u8> {
    let mut stuffed = Vec::with_capacity(mail.len() + 8);
    for line in mail.split_inclusive(|byte| *byte == b'\n') {
        if line.first() == Some(&b'.') {
            stuffed.push(b'.');
        }
        stuffed.extend(line);
    }
    if !stuffed.ends_with(b"\r\n") {
        stuffed.extend(b"\r\n");
    }
    stuffed.extend(b".\r\n");
    stuffed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dot_at_the_beginning_of_a_line_does_not_end_the_mail() {
        for (mail, sent) in [
            ("a\r\n.\r\nb\r\n", "a\r\n..\r\nb\r\n.\r\n"),
            (".a", "..a\r\n.\r\n"),
            ("a.\r\n..b\r\n", "a.\r\n...b\r\n.\r\n"),
            ("", "\r\n.\r\n"),
        ] {
            assert_eq!(String::from_utf8(stuffed(mail.as_bytes())).expect("text"), sent);
        }
    }
}
