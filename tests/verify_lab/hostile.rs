//! Servers that say what no terminal should be told, and servers that never come to an end.

use crate::harness::{Ran, of};
use crate::servers::{NEVER_ACCEPTS, SERVERS};

/// Every one of them is verified and told of in bounded time, and nothing that they said reaches anybody raw.
pub fn hostile_banners_do_no_harm() {
    let mut ports: Vec<u16> = SERVERS.iter().map(|(port, _)| *port).chain([NEVER_ACCEPTS]).collect();
    ports.sort_unstable();
    let list = ports.iter().map(u16::to_string).collect::<Vec<_>>().join(",");
    let script = format!(
        "serve serve-hostile; for format in jsonl text csv; do \
         began=$(date +%s%N); sweep 198.18.7.1 --ports {list} --engine packet --banner --format $format \
         >$LAB_DIR/$format 2>$LAB_DIR/$format.aside; status=$?; \
         echo $(( ($(date +%s%N) - began) / 1000000 )) >>$LAB_DIR/took; done; exit $status"
    );
    let ran = Ran::new(0, &script);
    assert_eq!(ran.status(), 1, "{}", ran.said());
    for took in ran.file("took").lines() {
        let took: u64 = took.parse().expect("milliseconds");
        assert!(took < 8000, "{took} ms");
    }
    for name in ["jsonl", "text", "csv", "jsonl.aside", "text.aside", "csv.aside"] {
        check_clean(&ran, name);
    }
    let events = ran.events("jsonl");
    let completed = of(&events, "event", "sweep.completed");
    assert_eq!(completed.len(), 1, "a server cannot forge an event");
    let exposures = of(&events, "kind", "exposure");
    assert_eq!(exposures.len(), ports.len(), "{exposures:?}");
    for exposure in &exposures {
        assert_eq!(exposure["verified"], true, "{exposure}");
    }
    let said = |port: u16| {
        let exposure = exposures.iter().find(|exposure| exposure["port"] == port).expect("an exposure");
        let of = |field: &str| exposure["banner"][field].as_str().unwrap_or("-").to_owned();
        (exposure["conduct"].as_str().expect("conduct").to_owned(), of("protocol"), of("text"))
    };
    let told = |conduct: &str, protocol: &str, text: &str| {
        (conduct.to_owned(), protocol.to_owned(), text.to_owned())
    };
    assert_eq!(said(22), told("spoke", "ssh", r"SSH-2.0-\x1b[2J\x1b[31mowned\x1b]0;title\x07\x9b5n\u{9b}5n"));
    assert_eq!(said(21), told("spoke", "ftp", r"220 \xff\xfe FTP \x00\x01\x02 \u{202e} gnirts \u{feff}"));
    assert_eq!(said(25), told("spoke", "smtp", "220 ESMTP"));
    assert_eq!(said(3306), told("spoke", "unknown", &(r"\x00".repeat(63) + "…")));
    assert_eq!(said(443).1, "tls");
    assert!(said(6379).2.starts_with(r"\x07") && said(6379).2.len() < 100, "{:?}", said(6379));
    assert!(said(8080).2.starts_with(r"HTTP/1.1 200 OK\r\nServer: \x1b[5mx"), "{:?}", said(8080));
    assert_eq!(said(5432), told("reset", "-", "-"));
    assert_eq!(said(9200), told("closed", "-", "-"));
    assert_eq!(said(11211), told("quiet", "-", "-"));
    assert_eq!(said(NEVER_ACCEPTS), told("quiet", "-", "-"));
    let text = ran.file("text");
    assert!(text.contains(r"says (ssh): SSH-2.0-\x1b[2J"), "{text}");
}

/// No byte of a terminal's language: nothing below the blank but line ends, no DEL, and no character of the second set
/// of controls, nor any that turns the direction of writing.
fn check_clean(ran: &Ran, name: &str) {
    for (number, line) in ran.file(name).lines().enumerate() {
        let harmful = |c: char| {
            c.is_control()
                || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
        };
        assert!(!line.contains(harmful), "{name}:{}: {line:?}", number + 1);
    }
}
