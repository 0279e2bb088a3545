//! Conversations with listeners on loopback, each of which misbehaves in its own way.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection};
use socket2::SockRef;

use super::*;

const CERTIFICATE: &[u8] = include_bytes!("../../../tests/data/lab.example.der");
const KEY: &[u8] = include_bytes!("../../../tests/data/lab.example.key.der");

const PATIENCE: Patience = Patience {
    handshake: Duration::from_millis(500),
    listen: Duration::from_millis(100),
    speech: Duration::from_millis(400),
    settle: Duration::from_millis(50),
};

/// A listener that does this with whoever calls, until the test program ends.
fn serve(with: impl Fn(TcpStream) + Send + 'static) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || listener.incoming().flatten().for_each(with));
    port
}

/// Has one conversation; says how it went, and how long it took.
fn converse(port: u16, opening: Opening) -> (Outcome, Duration) {
    let clock = Monotonic::new();
    let localhost = IpAddr::from(Ipv4Addr::LOCALHOST);
    let fence = Fence::new([(localhost, localhost)], [port]);
    let options = HandshakeOptions { fence, interface: None, patience: PATIENCE };
    let mut handshakes = Handshakes::open(options, clock).expect("a poll");
    let call = Call { ip: localhost, port, opening, patience: None };
    let began = clock.now();
    assert!(handshakes.begin(7, &call).expect("a call"));
    let mut ended = None;
    while ended.is_none() && clock.now().since(began) < Duration::from_secs(10) {
        let until = clock.now() + Duration::from_millis(20);
        handshakes.wait(until, &mut |number, outcome| ended = Some((number, outcome))).expect("a poll");
    }
    let (number, outcome) = ended.expect("an end");
    assert_eq!(number, 7);
    assert!(handshakes.slots.iter().all(Option::is_none), "the socket is closed");
    (outcome, clock.now().since(began))
}

const WORD: Opening = Opening::Listen(b"PING\r\n");

#[test]
fn tells_apart_what_others_do() {
    let hold = |stream: TcpStream| {
        thread::spawn(move || {
            thread::sleep(Duration::from_secs(20));
            drop(stream);
        })
    };
    let quiet = serve(move |stream| drop(hold(stream)));
    let closes = serve(drop);
    let resets = serve(|stream| {
        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("an option");
    });
    let speaks = serve(|mut stream| stream.write_all(b"SSH-2.0-x\r\n").expect("a write"));
    let answers = serve(|mut stream| {
        let mut word = [0; 6];
        stream.read_exact(&mut word).expect("a word");
        stream.write_all(&word).expect("a write");
    });
    for (port, opening, conduct, heard) in [
        (quiet, WORD, Conduct::Quiet, &b""[..]),
        (quiet, Opening::Listen(b""), Conduct::Quiet, b""),
        (quiet, Opening::Tls, Conduct::Quiet, b""),
        (closes, WORD, Conduct::Closed, b""),
        (resets, WORD, Conduct::Reset, b""),
        (speaks, WORD, Conduct::Spoke, b"SSH-2.0-x\r\n"),
        (speaks, Opening::Tls, Conduct::Spoke, b"SSH-2.0-x\r\n"),
        (answers, WORD, Conduct::Spoke, b"PING\r\n"),
        (answers, Opening::Listen(b""), Conduct::Quiet, b""),
    ] {
        let (outcome, took) = converse(port, opening);
        let told = (outcome.reached, outcome.conduct, outcome.heard.as_slice());
        assert_eq!(told, (Reached::Completed, Some(conduct), heard), "{opening:?}");
        assert!(took < Duration::from_secs(2), "{took:?}");
    }
    let (outcome, _) = converse(speaks, Opening::Close);
    assert_eq!((outcome.reached, outcome.conduct), (Reached::Completed, None));
}

#[test]
fn a_shut_port_refuses() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    drop(listener);
    assert_eq!(converse(port, WORD).0, Outcome::failed(Reached::Refused));
}

#[test]
fn neither_a_flood_nor_a_drip_holds_it() {
    let flood = serve(|mut stream| {
        thread::spawn(move || while stream.write_all(&[0; 1 << 16]).is_ok() {});
    });
    let drip = serve(|mut stream| {
        thread::spawn(move || {
            while stream.write_all(b".").is_ok() {
                thread::sleep(Duration::from_millis(10));
            }
        });
    });
    for opening in [WORD, Opening::Tls] {
        let (outcome, took) = converse(flood, opening);
        assert_eq!((outcome.conduct, outcome.heard), (Some(Conduct::Spoke), vec![0; MOST_HEARD]));
        assert!(took < Duration::from_millis(500), "{took:?}");
        let (outcome, took) = converse(drip, opening);
        assert_eq!(outcome.conduct, Some(Conduct::Spoke));
        assert!(!outcome.heard.is_empty() && outcome.heard.len() < 64, "{}", outcome.heard.len());
        assert!(took < Duration::from_secs(1), "{took:?}");
    }
}

#[test]
fn a_certificate_is_shown() {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(KEY));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[version])
            .expect("a version")
            .with_no_client_auth()
            .with_single_cert(vec![CERTIFICATE.into()], key.clone_key())
            .expect("a certificate");
        let config = Arc::new(config);
        let port = serve(move |mut stream| {
            let mut server = ServerConnection::new(Arc::clone(&config)).expect("a server");
            // Ends with the alert of whoever has seen enough.
            let _ = server.complete_io(&mut stream);
        });
        let (outcome, took) = converse(port, Opening::Tls);
        assert_eq!(outcome.certificate.as_deref(), Some(CERTIFICATE), "{version:?}");
        assert_eq!(outcome.conduct, Some(Conduct::Spoke));
        assert!(took < Duration::from_secs(1), "{took:?}");
    }
}

/// Records that promise more than they hold, and handshakes that promise more than they may.
#[test]
fn tls_garbage_is_only_garbage() {
    let hello = b"\x16\x03\x03\x40\x00\x02\xff\xff\xff\x03\x03";
    for said in
        [&b"\x16\x03\x01\xff\xff"[..], hello, b"\x15\x03\x01\x00\x02\x02\x28", b"\x80\x2e\x01\x00\x02"]
    {
        let port = serve(move |mut stream| {
            thread::spawn(move || {
                let _ = stream.write_all(said);
                while stream.write_all(&[0xaa; 4096]).is_ok() {}
            });
        });
        let (outcome, took) = converse(port, Opening::Tls);
        assert_eq!((outcome.conduct, outcome.certificate), (Some(Conduct::Spoke), None));
        assert!(outcome.heard.starts_with(said) && took < Duration::from_secs(1), "{took:?}");
    }
}

#[test]
fn nothing_goes_outside_the_fence() {
    let clock = Monotonic::new();
    let localhost = IpAddr::from(Ipv4Addr::LOCALHOST);
    let fence = Fence::new([(localhost, localhost)], [22]);
    let options = HandshakeOptions { fence, interface: None, patience: PATIENCE };
    let mut handshakes = Handshakes::open(options, clock).expect("a poll");
    for (ip, port) in [(localhost, 23), (Ipv4Addr::new(127, 0, 0, 2).into(), 22)] {
        let call = Call { ip, port, opening: Opening::Close, patience: None };
        let refused = handshakes.begin(0, &call).expect_err("outside");
        assert!(matches!(refused, LinkError::OutsideFence { .. }), "{refused}");
    }
}
