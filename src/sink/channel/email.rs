//! `email`: one mail for each message, by SMTP.
//!
//! # Threads
//! The first mail about a firing has the identifier of its episode as its Message-ID, and every later one answers that
//! one, so that mail programs show them together. Message-IDs are the same however often a mail is sent, and receivers
//! recognise duplicates by them.
//!
//! # What counts as delivered
//! A mail that the server has taken for every recipient. Where it has taken it for some, those are not mailed again
//! while this process lives; the others are, if the server says that it may take them later (4yz), and if it says that
//! it never will (5yz), the message is refused, with their names. What is wrong with the server, the encryption or the
//! password is tried again, because an operator can mend that.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use lettre::Address;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, SinglePart};
use ulid::Ulid;

use super::smtp::{Failure, Session};
use super::{Channel, Delivery};
use crate::alert::notice::Transition;
use crate::sink::message::Message;
use crate::sink::options::EmailOptions;
use crate::sink::wording;
use crate::target::foreign::harmless;

/// So many mails are remembered that have reached some of their recipients.
const PARTLY_MAX: usize = 64;

/// A mail server.
pub struct Email {
    options: EmailOptions,
    timeout: Duration,
    /// Who has which mail already, where others have not.
    partly: Vec<(Ulid, Vec<Address>)>,
}

impl Email {
    /// The server of these options, of which nothing is asked yet.
    pub fn new(options: EmailOptions, timeout: Duration) -> Self {
        Email { options, timeout, partly: Vec::new() }
    }

    fn mail(&mut self, message: &Message) -> Result<(), Failure> {
        let letter = Letter::new(&self.options, message)?;
        let id = message.id();
        let mut served =
            self.partly.iter().find(|(mail, _)| *mail == id).map_or_else(Vec::new, |(_, who)| who.clone());
        let to: Vec<Address> = letter.to.iter().filter(|who| !served.contains(who)).cloned().collect();
        let mut session = Session::open(&self.options, self.timeout)?;
        let verdicts = session.send(&letter.from, &to, &letter.bytes)?;
        session.quit();
        let mut failures = Vec::new();
        for (who, verdict) in to.into_iter().zip(verdicts) {
            match verdict {
                Ok(()) => served.push(who),
                Err(failure) => failures.push(failure),
            }
        }
        self.partly.retain(|(mail, _)| *mail != id);
        let Some(first) = failures.first() else { return Ok(()) };
        // As long as one recipient may still get it, it is worth trying.
        let worth = failures.iter().find(|failure| !failure.is_final);
        let why = worth.unwrap_or(first).why.clone();
        let others = match (served.len(), failures.len() - 1) {
            (0, 0) => String::new(),
            (0, more) => format!(" ({more} more recipients were refused)"),
            (who, 0) => format!(" (it has reached {who} other recipients)"),
            (who, more) => format!(" ({more} more were refused, and it has reached {who} other recipients)"),
        };
        if worth.is_some() && !served.is_empty() {
            self.partly.truncate(PARTLY_MAX - 1);
            self.partly.insert(0, (id, served));
        }
        Err(Failure { why: why + &others, is_final: worth.is_none() })
    }
}

impl Channel for Email {
    fn deliver(&mut self, messages: &[Message], _now: Timestamp) -> Vec<Delivery> {
        let mut became = Vec::new();
        for message in messages {
            became.push(match self.mail(message) {
                Ok(()) => Delivery::Delivered,
                Err(Failure { why, is_final: true }) => Delivery::never(why),
                Err(Failure { why, is_final: false }) => Delivery::not_now(why),
            });
            if !matches!(became.last(), Some(Delivery::Delivered)) {
                break;
            }
        }
        became
    }
}

/// A mail, and whose it is.
struct Letter {
    from: Address,
    to: Vec<Address>,
    bytes: Vec<u8>,
}

impl Letter {
    fn new(options: &EmailOptions, message: &Message) -> Result<Self, Failure> {
        let unfit = |why: String| Failure { why, is_final: false };
        let mailbox = |text: &String| {
            let why = |error| unfit(format!("{text} is no mail address: {error}; write NAME@DOMAIN"));
            text.parse::<Mailbox>().map_err(why)
        };
        let from = mailbox(&options.from)?;
        let to = options.to.iter().map(mailbox).collect::<Result<Vec<_>, _>>()?;
        let domain = from.email.domain();
        let named = |id: String| format!("<{id}@{domain}>");
        let mut builder = lettre::Message::builder()
            .from(from.clone())
            // lettre knows no time before this one.
            .date(SystemTime::from(message.time()).max(SystemTime::UNIX_EPOCH))
            .raw_header(automatic());
        for mailbox in &to {
            builder = builder.to(mailbox.clone());
        }
        let own = named(message.id().to_string());
        let builder = match message {
            Message::Event(_) => builder.message_id(Some(own)),
            Message::Alert(notice) => {
                let thread = named(format!("episode-{}", notice.alert.episode));
                match notice.transition {
                    Transition::Firing => builder.message_id(Some(thread)),
                    _ => builder.message_id(Some(own)).in_reply_to(thread.clone()).references(thread),
                }
            }
        };
        let line = |line: &wording::Line| match &*line.label {
            "" => format!("{}\r\n", harmless(&line.text)),
            label => format!("{}: {}\r\n", harmless(label), harmless(&line.text)),
        };
        let text: String = wording::lines(message).iter().map(line).collect();
        let built = builder.subject(harmless(&wording::title(message))).singlepart(SinglePart::plain(text));
        let built = built.map_err(|error| unfit(format!("failed to write a mail: {error}")))?;
        let to = to.into_iter().map(|mailbox| mailbox.email).collect();
        Ok(Letter { from: from.email, to, bytes: built.formatted() })
    }
}

/// So that no automatic answer comes back (RFC 3834).
fn automatic() -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::channel::samples::{alert, event};
    use crate::sink::options::{Encryption, TlsOptions};

    fn options() -> EmailOptions {
        EmailOptions {
            host: "127.0.0.1".to_owned(),
            port: 25,
            encryption: Encryption::None,
            tls: TlsOptions::default(),
            user: None,
            password: None,
            from: "Portreeve <portreeve@example.net>".to_owned(),
            to: vec!["a@example.net".to_owned(), "B\u{fc}ro <b@example.net>".to_owned()],
        }
    }

    fn letter(message: &Message) -> String {
        let letter = Letter::new(&options(), message).unwrap_or_else(|failure| panic!("{}", failure.why));
        assert!(letter.bytes.is_ascii(), "8BITMIME is not asked for");
        String::from_utf8(letter.bytes).expect("text")
    }

    fn header(mail: &str, name: &str) -> Option<String> {
        let (head, _) = mail.split_once("\r\n\r\n")?;
        let unfolded = head.replace("\r\n ", " ");
        let line = unfolded.lines().find(|line| line.starts_with(&format!("{name}: ")))?;
        Some(line[name.len() + 2..].to_owned())
    }

    #[test]
    fn mails_about_one_firing_are_one_thread() {
        let first = letter(&alert(1, "firing", "open"));
        let thread = header(&first, "Message-ID").expect("an identifier");
        assert!(thread.starts_with("<episode-") && thread.ends_with("@example.net>"), "{thread}");
        assert_eq!((header(&first, "In-Reply-To"), header(&first, "References")), (None, None));
        assert_eq!(header(&first, "Auto-Submitted").as_deref(), Some("auto-generated"));
        assert_eq!(header(&first, "Date").as_deref(), Some("Mon, 01 Jun 2026 00:00:00 +0000"));
        assert_eq!(letter(&alert(1, "firing", "open")), first, "a mail that is sent again is the same");
        for transition in ["reminder", "resolved"] {
            let later = letter(&alert(2, transition, "open"));
            let own = format!("<{}@example.net>", alert(2, transition, "").id());
            assert_eq!(header(&later, "Message-ID"), Some(own));
            assert_eq!(header(&later, "In-Reply-To"), Some(thread.clone()));
            assert_eq!(header(&later, "References"), Some(thread.clone()));
        }
        assert!(letter(&event(3, "heartbeat")).contains("Subject: heartbeat\r\n"));
    }

    /// What was found on a network can say anything.
    #[test]
    fn nothing_that_others_wrote_becomes_a_header_or_ends_the_mail() {
        for hostile in [
            "a\r\nBcc: everybody@example.net\r\n\r\nbody",
            "a\nBcc: x@example.net",
            "a\rBcc: x@example.net",
            "\u{fc}\r\nBcc: x@example.net",
            "a\r\n.\r\nMAIL FROM:<x@example.net>",
            "\u{2028}Bcc: x\0\x1b[2J",
            &"long ".repeat(500),
        ] {
            for message in [alert(1, "firing", hostile), event(2, hostile)] {
                let mail = letter(&message);
                let (head, _) = mail.split_once("\r\n\r\n").expect("a head");
                let names: Vec<_> = head
                    .split("\r\n")
                    .filter(|line| !line.starts_with(' '))
                    .map(|line| line.split_once(": ").expect("a header").0)
                    .collect();
                let known = [
                    "From",
                    "Date",
                    "Auto-Submitted",
                    "To",
                    "Message-ID",
                    "Subject",
                    "Content-Type",
                    "Content-Transfer-Encoding",
                    "MIME-Version",
                ];
                assert!(
                    names.iter().all(|name| known.contains(name)) && names.len() == known.len(),
                    "{mail}"
                );
                assert!(
                    !mail.contains("\r\n.\r\n") && !mail.replace("\r\n", "").contains(['\r', '\n']),
                    "{mail}"
                );
                assert!(mail.lines().all(|line| line.len() < 998), "{mail}");
            }
        }
    }

    #[test]
    fn an_address_that_is_none_is_named_and_can_be_mended() {
        for (from, to) in [("nobody", "a@example.net"), ("a@example.net", "b@example.net\r\nRCPT TO:<c@x>")] {
            let options = EmailOptions { from: from.to_owned(), to: vec![to.to_owned()], ..options() };
            let mut email = Email::new(options, Duration::from_secs(1));
            let became = email.deliver(&[alert(1, "firing", "open")], crate::sink::channel::samples::now());
            assert!(
                matches!(&became[..], [Delivery::Retry { why, .. }] if why.contains("is no mail address")),
                "{became:?}"
            );
        }
    }
}
