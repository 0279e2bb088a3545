//! What servers say: which word makes them speak, and what their answer is.
//!
//! Only words that every server of the kind answers and none acts upon are ever said, and none at all to ports whose
//! devices act on whatever comes: printers print it, controllers may do worse.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::X509Certificate;

use super::untrusted::Untrusted;
use crate::link::handshake::{Opening, Outcome};

/// What a server said.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Banner {
    /// What it speaks.
    pub protocol: Protocol,
    /// What it said, as far as it says who is there.
    pub text: Untrusted,
}

/// A protocol that is recognised by what is said in it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Secure shell.
    Ssh,
    /// Mail.
    Smtp,
    /// File transfer.
    Ftp,
    /// MySQL and MariaDB.
    Mysql,
    /// Redis and its kin.
    Redis,
    /// HTTP.
    Http,
    /// TLS; the text is of the certificate.
    Tls,
    /// None of these.
    Unknown,
}

impl Protocol {
    /// The word for it, as in events.
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Ssh => "ssh",
            Protocol::Smtp => "smtp",
            Protocol::Ftp => "ftp",
            Protocol::Mysql => "mysql",
            Protocol::Redis => "redis",
            Protocol::Http => "http",
            Protocol::Tls => "tls",
            Protocol::Unknown => "unknown",
        }
    }
}

/// Ports where TLS comes first.
const TLS_PORTS: &[u16] = &[
    443, 465, 563, 636, 853, 989, 990, 992, 993, 994, 995, 2376, 5061, 5986, 6443, 8443, 9443, 10250, 16443,
];

/// Ports of devices that act on what they are sent: printers and industrial controllers.
const SILENT_PORTS: &[u16] = &[102, 502, 515, 1911, 1962, 2404, 4840, 4911, 9600, 20000, 20547, 44818, 47808];
const PRINTER_PORTS: std::ops::RangeInclusive<u16> = 9100..=9107;

/// Ports of Redis and its kin.
const REDIS_PORTS: &[u16] = &[6379, 6380, 16379, 26379];

const PING: &[u8] = b"PING\r\n";
const GET: &[u8] = b"GET / HTTP/1.0\r\n\r\n";
/// PostgreSQL's question whether it speaks TLS, which it answers with one letter.
const SSL_REQUEST: &[u8] = &[0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// How to make the server of this port speak. Web servers are as good a guess as any for a port of no known kind, and
/// MongoDB answers them too.
pub fn opening(port: u16) -> Opening {
    match port {
        _ if TLS_PORTS.contains(&port) => Opening::Tls,
        _ if SILENT_PORTS.contains(&port) || PRINTER_PORTS.contains(&port) => Opening::Listen(b""),
        _ if REDIS_PORTS.contains(&port) => Opening::Listen(PING),
        5432 | 5433 | 6432 => Opening::Listen(SSL_REQUEST),
        11211 => Opening::Listen(b"version\r\n"),
        2181 => Opening::Listen(b"ruok"),
        _ => Opening::Listen(GET),
    }
}

/// What the server of this port has said; `None` if it said nothing.
pub fn banner(port: u16, outcome: &Outcome) -> Option<Banner> {
    let said = outcome.heard.as_slice();
    if let Some(certificate) = &outcome.certificate {
        let text = about_certificate(certificate).unwrap_or_else(|| "a certificate that is none".to_owned());
        return Some(Banner { protocol: Protocol::Tls, text: Untrusted::new(text.as_bytes()) });
    }
    if said.is_empty() {
        return None;
    }
    let (protocol, text) = recognise(port, said);
    Some(Banner { protocol, text: Untrusted::new(text.trim_ascii_end()) })
}

/// The protocol, and the part of what was said that tells most.
fn recognise(port: u16, said: &[u8]) -> (Protocol, &[u8]) {
    let has = |word: &str| said.to_ascii_uppercase().windows(word.len()).any(|part| part == word.as_bytes());
    match said {
        [b'S', b'S', b'H', b'-', ..] => (Protocol::Ssh, first_line(said)),
        [b'H', b'T', b'T', b'P', b'/', ..] => (Protocol::Http, said),
        // A record of TLS: handshake or alert, in any version.
        [0x15 | 0x16, 3, 0..=4, ..] => (Protocol::Tls, b"speaks TLS and showed no certificate"),
        [b'2', b'2', b'0', b' ' | b'-', ..] if port == 21 || has("FTP") => (Protocol::Ftp, first_line(said)),
        [b'2', b'2', b'0', b' ' | b'-', ..] if matches!(port, 25 | 465 | 587 | 2525) || has("SMTP") => {
            (Protocol::Smtp, first_line(said))
        }
        [b'+' | b'-', ..] if has("PONG") || REDIS_PORTS.contains(&port) => {
            (Protocol::Redis, first_line(said))
        }
        _ => match mysql(said) {
            Some(text) => (Protocol::Mysql, text),
            None => (Protocol::Unknown, said),
        },
    }
}

fn first_line(said: &[u8]) -> &[u8] {
    said.split(|byte| *byte == b'\n').next().unwrap_or_default()
}

/// The version out of a MySQL greeting (protocol 10), or the reason of a refusal, which comes in the same envelope:
/// three bytes of length, a number that is 0, the payload.
fn mysql(said: &[u8]) -> Option<&[u8]> {
    let (head, payload) = said.split_at_checked(4)?;
    let &[low, middle, 0, 0] = head else { return None };
    let len = usize::from(u16::from_le_bytes([low, middle]));
    match payload {
        [10, rest @ ..] if len > 5 => {
            let version = rest.split(|byte| *byte == 0).next().unwrap_or_default();
            (rest.len() > version.len() && !version.is_empty()).then_some(version)
        }
        [0xff, _, _, reason @ ..] if len >= 3 && len == payload.len() => Some(reason),
        _ => None,
    }
}

/// Names of a certificate that are told.
const MOST_NAMES: usize = 4;

/// Subject, other names and last day of a certificate.
fn about_certificate(der: &[u8]) -> Option<String> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
    let mut text = format!("subject {}", certificate.subject());
    let names = other_names(&certificate);
    if !names.is_empty() {
        text += &format!("; names {}", names.join(", "));
    }
    if let Ok(until) = Timestamp::from_second(certificate.validity().not_after.timestamp()) {
        text += &format!("; until {}", until.strftime("%Y-%m-%d"));
    }
    Some(text)
}

fn other_names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return Vec::new() };
    let names = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress([a, b, c, d]) => Some(format!("{a}.{b}.{c}.{d}")),
        _ => None,
    });
    names.take(MOST_NAMES).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::link::handshake::{Conduct, Reached};

    fn heard(said: &[u8], certificate: Option<&[u8]>) -> Outcome {
        Outcome {
            reached: Reached::Completed,
            conduct: Some(Conduct::Spoke),
            heard: said.to_vec(),
            certificate: certificate.map(<[u8]>::to_vec),
        }
    }

    fn told(port: u16, said: &[u8]) -> (Protocol, String) {
        let banner = banner(port, &heard(said, None)).expect("a banner");
        (banner.protocol, banner.text.into())
    }

    #[test]
    fn recognises_who_speaks() {
        let greeting = b"\x4a\0\0\0\x0a8.0.36\0\x08\0\0\0abcdefgh\0";
        let refusal = b"\x14\0\0\0\xff\x6a\x04Host not allowed.";
        for (port, said, protocol, text) in [
            (
                22,
                &b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n\0\0\x04"[..],
                Protocol::Ssh,
                "SSH-2.0-OpenSSH_9.2p1 Debian",
            ),
            (2222, b"SSH-1.99-x", Protocol::Ssh, "SSH-1.99-x"),
            (25, b"220 mail.example ESMTP\r\n", Protocol::Smtp, "220 mail.example ESMTP"),
            (2526, b"220 mail.example esmtp\r\n", Protocol::Smtp, "220 mail.example esmtp"),
            (21, b"220 welcome\r\n", Protocol::Ftp, "220 welcome"),
            (2121, b"220-ProFTPD\r\n", Protocol::Ftp, "220-ProFTPD"),
            (99, b"220 what\r\n", Protocol::Unknown, "220 what"),
            (6379, b"+PONG\r\n", Protocol::Redis, "+PONG"),
            (
                6379,
                b"-NOAUTH Authentication required.\r\n",
                Protocol::Redis,
                "-NOAUTH Authentication required.",
            ),
            (110, b"+OK pop\r\n", Protocol::Unknown, "+OK pop"),
            (3306, greeting, Protocol::Mysql, "8.0.36"),
            (3306, refusal, Protocol::Mysql, "Host not allowed."),
            (80, b"HTTP/1.1 200 OK\r\nServer: x\r\n", Protocol::Http, "HTTP/1.1 200 OK\\r\\nServer: x"),
            (443, b"\x15\x03\x01\0\x02\x02\x28", Protocol::Tls, "speaks TLS and showed no certificate"),
            (443, b"\x15\x09\x01", Protocol::Unknown, "\\x15\\t\\x01"),
            (5432, b"N", Protocol::Unknown, "N"),
        ] {
            let (is, says) = told(port, said);
            assert_eq!((is, says.as_str()), (protocol, text), "{port} {said:?}");
        }
        assert_eq!(banner(22, &heard(b"", None)), None);
    }

    /// Made once with: openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650
    /// -subj "/CN=lab.example/O=evil" -addext "subjectAltName=DNS:a.example,IP:198.18.0.1" -outform DER
    const CERTIFICATE: &[u8] = include_bytes!("../../tests/data/lab.example.der");

    #[test]
    fn a_certificate_says_whose_it_is() {
        let shown = banner(443, &heard(b"\x16\x03\x03", Some(CERTIFICATE))).expect("a banner");
        let text = String::from(shown.text);
        assert_eq!(shown.protocol, Protocol::Tls);
        assert!(
            text.starts_with("subject CN=lab.example, O=evil; names a.example, 198.18.0.1; until 20"),
            "{text}"
        );
        let text = String::from(banner(443, &heard(b"", Some(b"garbage"))).expect("a banner").text);
        assert_eq!(text, "a certificate that is none");
    }

    #[test]
    fn says_nothing_to_those_who_act_on_it() {
        for port in [9100, 502, 102, 515] {
            assert_eq!(opening(port), Opening::Listen(b""), "{port}");
        }
        assert_eq!((opening(443), opening(6379)), (Opening::Tls, Opening::Listen(PING)));
        assert_eq!(opening(27017), Opening::Listen(GET));
    }

    proptest! {
        #[test]
        fn no_word_makes_it_panic(port: u16, said in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = banner(port, &heard(&said, None));
            let _ = banner(port, &heard(b"", Some(&said)));
        }

        #[test]
        fn no_certificate_makes_it_panic(at in 0..CERTIFICATE.len(), byte: u8, len in 0..CERTIFICATE.len()) {
            let mut bent = CERTIFICATE.to_vec();
            bent[at] = byte;
            let _ = banner(443, &heard(b"", Some(&bent)));
            bent.truncate(len);
            let _ = banner(443, &heard(b"", Some(&bent)));
        }
    }
}
