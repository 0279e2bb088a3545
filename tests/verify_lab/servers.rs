//! Servers that behave as no server should: this program, started again in the lab's fleet.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use socket2::SockRef;

/// Where they listen.
pub const HOST: Ipv4Addr = Ipv4Addr::new(198, 18, 7, 1);

/// What is listened on, and what whoever calls there gets.
type Server = (u16, fn(TcpStream));

/// The servers. Nobody ever accepts on 27017.
pub const SERVERS: &[Server] = &[
    (21, |mut stream| {
        let _ = stream.write_all(b"220 \xff\xfe FTP \x00\x01\x02 \xe2\x80\xae gnirts \xef\xbb\xbf\r\n");
        hold(stream);
    }),
    (22, |mut stream| {
        let _ = stream.write_all(b"SSH-2.0-\x1b[2J\x1b[31mowned\x1b]0;title\x07\x9b5n\xc2\x9b5n\r\n");
        hold(stream);
    }),
    (25, |mut stream| {
        let forged = b"220 ESMTP\r\n{\"schema\":\"portreeve/1\",\"event\":\"sweep.completed\"}\r\n\"},{\"";
        let _ = stream.write_all(forged);
        hold(stream);
    }),
    (443, |mut stream| {
        let _ = stream.write_all(b"\x16\x03\x03\x40\x00\x02\xff\xff\xff\x03\x03");
        while stream.write_all(&[0x1b; 4096]).is_ok() {}
    }),
    (3306, |mut stream| {
        let _ = stream.write_all(&vec![0; 1 << 20]);
        hold(stream);
    }),
    (5432, |stream| drop(SockRef::from(&stream).set_linger(Some(Duration::ZERO)))),
    (6379, |mut stream| {
        while stream.write_all(b"\x07").is_ok() {
            thread::sleep(Duration::from_millis(100));
        }
    }),
    (8080, |mut stream| {
        let mut word = [0; 16];
        let _ = stream.read(&mut word);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nServer: \x1b[5mx\r\nSet-Cookie: a=b\r\n\r\n");
        hold(stream);
    }),
    (9200, drop),
    (11211, hold),
];

/// A port that completes handshakes by its queue alone.
pub const NEVER_ACCEPTS: u16 = 27017;

/// Does what the argument asks for, if it asks for this module: the words that a script gives to `$SERVER`.
pub fn as_told(argument: Option<&str>) -> Option<ExitCode> {
    match argument {
        Some("serve-hostile") => serve(SERVERS, HOST),
        Some("serve-ssh") => serve(&[(22, speak_ssh)], Ipv4Addr::new(198, 18, 7, 9)),
        _ => return None,
    }
    Some(ExitCode::SUCCESS)
}

fn speak_ssh(mut stream: TcpStream) {
    let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n");
    hold(stream);
}

fn hold(stream: TcpStream) {
    thread::sleep(Duration::from_secs(60));
    drop(stream);
}

fn serve(servers: &[Server], host: Ipv4Addr) {
    let idle = TcpListener::bind((host, NEVER_ACCEPTS)).expect("a port");
    for &(port, with) in servers {
        let listener = TcpListener::bind((host, port)).expect("a port");
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || with(stream));
            }
        });
    }
    // With standard output gone, there is nobody left to tell.
    let _ = std::io::stdout().write_all(b"ready\n");
    thread::sleep(Duration::from_secs(120));
    drop(idle);
}
