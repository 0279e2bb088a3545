//! Channels that speak syslog and SMTP, to receivers that do as they should and to those that do not. All of them are
//! on the loopback, and nothing takes longer than its timeout.

#[path = "receivers/authority.rs"]
mod certificates;
#[path = "receivers/messages.rs"]
mod messages;
#[path = "receivers/smtp.rs"]
mod smtp;
#[path = "receivers/syslog.rs"]
mod syslog;

use std::fs;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use certificates::Authority;
use messages::{alert, channel, deliver, failure, now, told_in};
use portreeve::sink::channel::{Channel, Delivery};
use portreeve::sink::options::{
    EmailOptions, Encryption, LineFormat, SinkKind, SyslogOptions, SyslogTransport, TlsOptions,
};
use portreeve::sink::secret::SecretPlace;
use smtp::{Answers, CLOSES, DRIPS, HANGS, Server, SmtpReceiver};
use syslog::{Manner, SyslogReceiver};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(600);

/// A timeout, and what a busy machine adds to it.
fn in_time(begun: Instant, what: &str) {
    assert!(begun.elapsed() < SHORT + Duration::from_secs(2), "{what} took {:?}", begun.elapsed());
}

// --- syslog ----------------------------------------------------------------------------------------------------

fn syslog_options(host: &str, port: u16, transport: SyslogTransport, tls: TlsOptions) -> SinkKind {
    SinkKind::Syslog(SyslogOptions { host: host.to_owned(), port, transport, facility: 13, tls })
}

fn by_tcp(port: u16, timeout: Duration) -> Box<dyn Channel> {
    channel(syslog_options("127.0.0.1", port, SyslogTransport::Tcp, TlsOptions::default()), timeout)
}

fn by_tls(host: &str, port: u16, tls: TlsOptions, timeout: Duration) -> Box<dyn Channel> {
    channel(syslog_options(host, port, SyslogTransport::Tls, tls), timeout)
}

fn trusting(authority: &Authority) -> TlsOptions {
    TlsOptions { ca_file: Some(authority.file()), ..TlsOptions::default() }
}

fn assert_are(heard: &[String], numbers: &[u128]) {
    assert_eq!(heard.len(), numbers.len());
    for (heard, number) in heard.iter().zip(numbers) {
        let id = alert(*number, "firing").id().to_string();
        assert!(heard.starts_with("<106>1 ") && heard.contains(&format!("id=\"{id}\"")), "{heard}");
    }
}

#[test]
fn messages_arrive_whole_and_in_their_order_by_each_transport() {
    let directory = TempDir::new().expect("a directory");
    let authority = Authority::new(directory.path());
    let tcp = SyslogReceiver::tcp(Manner::Reads);
    let tls = SyslogReceiver::tls(Manner::Reads, authority.server("localhost", false));
    let udp = SyslogReceiver::udp();
    let by_udp = syslog_options("127.0.0.1", udp.port, SyslogTransport::Udp, TlsOptions::default());
    for (receiver, mut channel) in [
        (&tcp, by_tcp(tcp.port, PATIENCE)),
        (&tls, by_tls("localhost", tls.port, trusting(&authority), PATIENCE)),
        (&udp, channel(by_udp, PATIENCE)),
    ] {
        deliver(&mut *channel, &[alert(1, "firing"), alert(2, "firing"), alert(3, "resolved")]);
        deliver(&mut *channel, &[alert(4, "firing")]);
        assert_are(&receiver.next(4), &[1, 2, 3, 4]);
        deliver(&mut *channel, &[]);
        assert_eq!(receiver.rest(), Vec::<String>::new());
    }
}

#[test]
fn a_server_gets_the_format_that_it_asks_for_in_syslogs_own_frame() {
    let receiver = SyslogReceiver::udp();
    for (format, begins) in [
        (LineFormat::Cef, "CEF:0|portreeve|portreeve|"),
        (LineFormat::Ecs, "{\"@timestamp\":"),
        (LineFormat::Ocsf, "{\"activity_id\":"),
    ] {
        let kind = syslog_options("127.0.0.1", receiver.port, SyslogTransport::Udp, TlsOptions::default());
        deliver(&mut *told_in(format, kind, PATIENCE), &[alert(1, "firing")]);
        let heard = receiver.next(1);
        assert_are(&heard, &[1]);
        let (_, payload) = heard[0].split_once("\"] ").expect("a payload");
        assert!(payload.starts_with(begins), "{payload}");
    }
}

#[test]
fn a_storm_arrives_whole() {
    let receiver = SyslogReceiver::tcp(Manner::Reads);
    let mut channel = by_tcp(receiver.port, PATIENCE);
    let storm: Vec<_> = (0..2000).map(|number| alert(number, "firing")).collect();
    deliver(&mut *channel, &storm);
    assert_are(&receiver.next(2000), &(0..2000).collect::<Vec<_>>());
}

#[test]
fn who_has_not_said_to_have_read_everything_is_told_again() {
    let messages: Vec<_> = (0..50).map(|number| alert(number, "firing")).collect();
    for manner in [Manner::ClosesAfterFirst, Manner::Hangs, Manner::Drips, Manner::NeverCloses] {
        let receiver = SyslogReceiver::tcp(manner);
        let begun = Instant::now();
        let became = by_tcp(receiver.port, SHORT).deliver(&messages, now());
        in_time(begun, &format!("{manner:?}"));
        assert!(matches!(&became[0], Delivery::Retry { .. }), "{manner:?}: {became:?}");
        assert!(!became.contains(&Delivery::Delivered), "{manner:?}");
    }
}

#[test]
fn a_receiver_that_is_away_is_told_when_it_is_back() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let port = listener.local_addr().expect("an address").port();
    drop(listener);
    let mut channel = by_tcp(port, PATIENCE);
    let (why, _) = failure(&mut *channel, &[alert(1, "firing")]);
    assert!(why.starts_with(&format!("failed to connect to 127.0.0.1:{port}: Connection refused")), "{why}");
    let receiver = SyslogReceiver::tcp(Manner::Reads);
    deliver(&mut *by_tcp(receiver.port, PATIENCE), &[alert(1, "firing")]);
    assert_are(&receiver.next(1), &[1]);
}

#[test]
fn a_datagram_that_nobody_listens_for_is_noticed_where_a_host_says_so() {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("bind");
    let port = socket.local_addr().expect("an address").port();
    drop(socket);
    let options = syslog_options("127.0.0.1", port, SyslogTransport::Udp, TlsOptions::default());
    let (why, is_final) = failure(&mut *channel(options, PATIENCE), &[alert(1, "firing")]);
    assert!(why.contains("Connection refused") && !is_final, "{why}");
}

#[test]
fn only_the_right_server_is_told_by_tls() {
    let directory = TempDir::new().expect("a directory");
    let (ours, theirs) = (directory.path().join("ours"), directory.path().join("theirs"));
    fs::create_dir(&ours).and_then(|()| fs::create_dir(&theirs)).expect("directories");
    let (ours, theirs) = (Authority::new(&ours), Authority::new(&theirs));
    let right = SyslogReceiver::tls(Manner::Reads, ours.server("localhost", false));
    let other = SyslogReceiver::tls(Manner::Reads, ours.server("other.example.net", false));
    let forged = SyslogReceiver::tls(Manner::Reads, theirs.server("localhost", false));
    for (receiver, host, said) in [
        (&other, "localhost", "not valid for name"),
        (&forged, "localhost", "UnknownIssuer"),
        (&right, "127.0.0.1", "not valid for name"),
    ] {
        let mut channel = by_tls(host, receiver.port, trusting(&ours), PATIENCE);
        let (why, is_final) = failure(&mut *channel, &[alert(1, "firing")]);
        assert!(why.contains(said) && why.contains("TLS") && !is_final, "{why}");
        assert_eq!(receiver.rest(), Vec::<String>::new());
    }
    let missing = TlsOptions { ca_file: Some(directory.path().join("none.pem")), ..TlsOptions::default() };
    let (why, _) = failure(&mut *by_tls("localhost", right.port, missing, PATIENCE), &[alert(1, "firing")]);
    assert!(why.contains("none.pem"), "{why}");
    let plain = SyslogReceiver::tcp(Manner::Hangs);
    let begun = Instant::now();
    failure(&mut *by_tls("localhost", plain.port, trusting(&ours), SHORT), &[alert(1, "firing")]);
    let slow = SyslogReceiver::tls(Manner::Drips, ours.server("localhost", false));
    failure(&mut *by_tls("localhost", slow.port, trusting(&ours), SHORT), &[alert(1, "firing")]);
    in_time(begun + SHORT, "a handshake");
}

/// By TLS 1.3 a client is done before the server has looked at its certificate.
#[test]
fn a_server_that_wants_a_certificate_gets_ours_or_nothing_counts_as_delivered() {
    let directory = TempDir::new().expect("a directory");
    let authority = Authority::new(directory.path());
    let receiver = SyslogReceiver::tls(Manner::Reads, authority.server("localhost", true));
    let mut nameless = by_tls("localhost", receiver.port, trusting(&authority), PATIENCE);
    // So many that it turns us away while we still write: the reset is not all that is told.
    let many: Vec<_> = (0..5000).map(|number| alert(number, "firing")).collect();
    for messages in [&many[..1], &many] {
        let (why, is_final) = failure(&mut *nameless, messages);
        assert!(why.contains("ertificateRequired") && !is_final, "{why}");
    }
    let own = authority.vouch("sentry.example.net");
    let key_file = Some(SecretPlace::File(own.key));
    let tls = TlsOptions { cert_file: Some(own.certificate), key_file, ..trusting(&authority) };
    deliver(&mut *by_tls("localhost", receiver.port, tls, PATIENCE), &[alert(2, "firing")]);
    assert_are(&receiver.next(1), &[2]);
}

// --- mail ------------------------------------------------------------------------------------------------------

/// A server without TLS, whose answers are as a test has them.
fn answering(answers: Answers) -> Server {
    Server { answers, offers: &["AUTH PLAIN LOGIN"], config: None, is_implicit: false }
}

fn email_options(port: u16, encryption: Encryption) -> EmailOptions {
    EmailOptions {
        host: "localhost".to_owned(),
        port,
        encryption,
        tls: TlsOptions::default(),
        user: None,
        password: None,
        from: "portreeve@example.net".to_owned(),
        to: vec!["a@example.net".to_owned(), "b@example.net".to_owned()],
    }
}

/// The recipients that a conversation was about, and its mail if there was one.
fn taken(heard: &[String]) -> (Vec<&str>, Option<&String>) {
    let who = heard.iter().filter_map(|said| said.strip_prefix("RCPT TO:<")?.strip_suffix('>'));
    (who.collect(), heard.iter().find(|said| said.ends_with("\r\n.\r\n")))
}

#[test]
fn a_mail_reaches_all_of_its_recipients() {
    let server = SmtpReceiver::new(answering(&[]));
    let mut channel = channel(SinkKind::Email(email_options(server.port, Encryption::None)), PATIENCE);
    deliver(&mut *channel, &[alert(1, "firing"), alert(2, "resolved")]);
    let heard = server.heard();
    let (who, mail) = taken(&heard);
    assert_eq!(who, ["a@example.net", "b@example.net", "a@example.net", "b@example.net"]);
    assert!(mail.expect("a mail").contains("Subject: "));
    assert_eq!(heard.last().map(String::as_str), Some("QUIT"));
}

#[test]
fn each_answer_of_a_server_has_its_meaning() {
    let cases: &[(Answers, bool, &str)] = &[
        (&[("greeting", "554 not here\r\n")], false, "to its greeting it said: 554 not here"),
        (&[("greeting", "421 busy\r\n")], false, "421 busy"),
        (&[("greeting", CLOSES)], false, "closed"),
        (&[("EHLO", "550 who\r\n")], false, "to EHLO it said: 550 who"),
        (&[("MAIL", "451 later\r\n")], false, "451 later"),
        (&[("MAIL", "550 not you\r\n")], true, "to the sender portreeve@example.net it said: 550 not you"),
        (&[("MAIL", "530 5.7.0 authenticate\r\n")], false, "530"),
        (
            &[("RCPT", "550 no such user\r\n")],
            true,
            "to the recipient a@example.net it said: 550 no such user",
        ),
        (&[("RCPT", "450 grey\r\n")], false, "450 grey"),
        (&[("RCPT", "421 closing\r\n")], false, "421 closing"),
        (&[("DATA", "554 no\r\n")], true, "554 no"),
        (&[("mail", "554 spam\r\n")], true, "to the mail it said: 554 spam"),
        (&[("mail", "452 full\r\n")], false, "452 full"),
        (&[("mail", CLOSES)], false, "closed"),
        (&[("mail", "550-a\r\n550-b\r\n550 \u{1b}[31mc\r\n")], true, "550 a b \\x1b[31mc"),
        (&[("MAIL", "HTTP/1.1 400 Bad Request\r\n")], false, "none of SMTP"),
        (&[("greeting", "SSH-2.0-x\r\n")], false, "none of SMTP"),
    ];
    for (answers, refused, said) in cases {
        let server = SmtpReceiver::new(answering(answers));
        let mut channel = channel(SinkKind::Email(email_options(server.port, Encryption::None)), PATIENCE);
        let (why, is_final) = failure(&mut *channel, &[alert(1, "firing")]);
        assert!(why.contains(said) && why.contains(&server.port.to_string()), "{said}: {why}");
        assert_eq!(is_final, *refused, "{why}");
    }
    let endless: &'static str = Box::leak("250-x\r\n".repeat(20_000).into_boxed_str());
    let answers: Answers = Box::leak(Box::new([("EHLO", endless)]));
    let server = SmtpReceiver::new(answering(answers));
    let mut channel = channel(SinkKind::Email(email_options(server.port, Encryption::None)), PATIENCE);
    assert!(failure(&mut *channel, &[alert(1, "firing")]).0.contains("no end"));
}

#[test]
fn a_server_that_hangs_or_drips_takes_no_longer_than_the_timeout() {
    for answers in [
        &[("greeting", HANGS)],
        &[("greeting", DRIPS)],
        &[("EHLO", DRIPS)],
        &[("DATA", HANGS)],
        &[("mail", DRIPS)],
    ] {
        let server = SmtpReceiver::new(answering(answers));
        let mut channel = channel(SinkKind::Email(email_options(server.port, Encryption::None)), SHORT);
        let begun = Instant::now();
        let (why, is_final) = failure(&mut *channel, &[alert(1, "firing")]);
        in_time(begun, &format!("{answers:?}"));
        assert!(why.contains("too long") && !is_final, "{answers:?}: {why}");
    }
}

/// Whoever has a mail is not mailed again because somebody else has not.
#[test]
fn one_recipient_does_not_keep_a_mail_from_the_others() {
    let cases: [(&'static str, bool, &[&str]); 2] = [
        ("451 grey\r\n", false, &["b@example.net"]),
        ("550 gone\r\n", true, &["a@example.net", "b@example.net"]),
    ];
    for (answer, refused, again) in cases {
        let answers: Answers = Box::leak(Box::new([("RCPT TO:<b@", answer)]));
        let server = SmtpReceiver::new(answering(answers));
        let mut channel = channel(SinkKind::Email(email_options(server.port, Encryption::None)), PATIENCE);
        let (why, is_final) = failure(&mut *channel, &[alert(1, "firing")]);
        assert!(why.contains("recipient b@example.net") && why.contains("reached 1 other"), "{why}");
        assert_eq!(is_final, refused, "{why}");
        assert!(taken(&server.heard()).1.is_some(), "a has it");
        failure(&mut *channel, &[alert(1, "firing")]);
        assert_eq!(taken(&server.heard()).0, again);
        failure(&mut *channel, &[alert(2, "firing")]);
        assert_eq!(
            taken(&server.heard()).0,
            ["a@example.net", "b@example.net"],
            "another mail is another matter"
        );
    }
}

#[test]
fn a_password_goes_to_the_right_server_by_tls_only() {
    let directory = TempDir::new().expect("a directory");
    let authority = Authority::new(directory.path());
    let password = directory.path().join("password");
    fs::write(&password, "hunter2\n").expect("write");
    let options = |port, encryption| EmailOptions {
        tls: trusting(&authority),
        user: Some("portreeve".to_owned()),
        password: Some(SecretPlace::File(password.clone())),
        ..email_options(port, encryption)
    };
    let server = |answers, offers, name, is_implicit| {
        let config = Some(authority.server(name, false));
        SmtpReceiver::new(Server { answers, offers, config, is_implicit })
    };
    let all: &[&str] = &["STARTTLS", "AUTH PLAIN LOGIN"];
    // base64 of \0portreeve\0hunter2
    let secret = "AUTH PLAIN AHBvcnRyZWV2ZQBodW50ZXIy".to_owned();
    for (is_implicit, encryption) in [(false, Encryption::StartTls), (true, Encryption::Tls)] {
        let server = server(&[], all, "localhost", is_implicit);
        let mut channel = channel(SinkKind::Email(options(server.port, encryption)), PATIENCE);
        deliver(&mut *channel, &[alert(1, "firing")]);
        let heard = server.heard();
        assert!(heard.contains(&secret) && taken(&heard).1.is_some(), "{heard:?}");
    }
    type Bad = (Answers, &'static [&'static str], &'static str, &'static str);
    let cases: [Bad; 7] = [
        (&[], &["AUTH PLAIN LOGIN"], "localhost", "it offers no STARTTLS"),
        (&[], all, "other.example.net", "not valid for name"),
        (&[("STARTTLS", "454 no certificate\r\n")], all, "localhost", "454 no certificate"),
        (&[("STARTTLS", "220 go ahead\r\n250 injected\r\n")], all, "localhost", "spoken out of turn"),
        (&[("AUTH", "535 5.7.8 bad credentials\r\n")], all, "localhost", "to the password it said: 535"),
        (&[("AUTH", "334 bm9uc2Vuc2U=\r\n")], all, "localhost", "something odd"),
        (&[], &["STARTTLS"], "localhost", "no authentication by password"),
    ];
    for (answers, offers, name, said) in cases {
        let server = server(answers, offers, name, false);
        let mut channel = channel(SinkKind::Email(options(server.port, Encryption::StartTls)), PATIENCE);
        let (why, is_final) = failure(&mut *channel, &[alert(1, "firing")]);
        assert!(why.contains(said) && !is_final, "{said}: {why}");
        assert!(!why.contains("hunter2") && !why.contains("AHBv"), "{why}");
        let heard = server.heard();
        assert_eq!(
            heard.contains(&secret),
            answers.iter().any(|(command, _)| *command == "AUTH"),
            "{heard:?}"
        );
        assert_eq!(taken(&heard).1, None);
    }
}

/// The password is read for each mail, so that a new one holds from the next mail on.
#[test]
fn a_password_may_change_and_may_be_missing_for_a_while() {
    let directory = TempDir::new().expect("a directory");
    let password = directory.path().join("password");
    let server = SmtpReceiver::new(answering(&[]));
    let options = EmailOptions {
        user: Some("portreeve".to_owned()),
        password: Some(SecretPlace::File(password.clone())),
        ..email_options(server.port, Encryption::None)
    };
    let mut channel = channel(SinkKind::Email(options), PATIENCE);
    let (why, is_final) = failure(&mut *channel, &[alert(1, "firing")]);
    assert!(why.contains("failed to read the secret") && !is_final, "{why}");
    for (secret, said) in [("one", "AHBvcnRyZWV2ZQBvbmU="), ("two", "AHBvcnRyZWV2ZQB0d28=")] {
        fs::write(&password, secret).expect("write");
        deliver(&mut *channel, &[alert(1, "firing")]);
        assert!(server.heard().contains(&format!("AUTH PLAIN {said}")));
    }
}

#[test]
fn nobody_holds_a_connection_that_is_no_longer_needed() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let port = listener.local_addr().expect("an address").port();
    let mut channel = by_tcp(port, SHORT);
    failure(&mut *channel, &[alert(1, "firing")]);
    let (stream, _): (TcpStream, _) = listener.accept().expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut all = Vec::new();
    std::io::Read::read_to_end(&mut &stream, &mut all).expect("its end");
    assert!(!all.is_empty());
}
