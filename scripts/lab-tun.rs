//! A cable between two tun devices of two namespaces: packets that one kernel sends into its device come out of the
//! other's.
//!
//! One process holds one end. The two ends talk over datagram sockets in the file system, which network namespaces do
//! not part; what an end cannot hand over is lost, as on any cable. It ends with its standard input.

#![allow(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "usage: lab-tun DEVICE OWN-SOCKET PEER-SOCKET";

/// The length of the kernel's `struct ifreq`, and where its flags are.
const REQUEST: usize = 40;
const FLAGS: usize = 16;

/// No packet is longer.
const LONGEST: usize = 1 << 16;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            // Nothing is left to be done when standard error is closed too.
            let _ = writeln!(io::stderr(), "lab-tun: {message}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<(), String> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [device, own, peer] = &words[..] else { return Err(USAGE.to_owned()) };
    let tun = attach(device).map_err(|e| format!("cannot attach to {device}: {e}"))?;
    let socket = UnixDatagram::bind(own).map_err(|e| format!("cannot make {own}: {e}"))?;
    let far = || Ok::<_, io::Error>((tun.try_clone()?, socket.try_clone()?));
    let (mut into, from) = far().map_err(|e| format!("cannot share {device}: {e}"))?;
    let peer = peer.clone();
    std::thread::spawn(move || send(tun, &socket, Path::new(&peer)));
    std::thread::spawn(move || receive(&from, &mut into));
    let mut out = io::stdout();
    writeln!(out, "ready").and_then(|()| out.flush()).map_err(|e| format!("standard output: {e}"))?;
    let mut sink = [0; 256];
    let mut input = io::stdin();
    while matches!(input.read(&mut sink), Ok(n) if n > 0) {}
    Ok(())
}

/// Opens the end of an existing tun device that programs hold: one packet a read or write, with nothing before it.
fn attach(device: &str) -> io::Result<File> {
    let mut request = [0_u8; REQUEST];
    if device.len() >= FLAGS {
        return Err(io::Error::other("its name is too long"));
    }
    request[..device.len()].copy_from_slice(device.as_bytes());
    let flags = (libc::IFF_TUN | libc::IFF_NO_PI) as u16;
    request[FLAGS..FLAGS + 2].copy_from_slice(&flags.to_ne_bytes());
    let tun = OpenOptions::new().read(true).write(true).open("/dev/net/tun")?;
    // SAFETY: the descriptor is open, and the kernel reads and writes a `struct ifreq`, for which there is room.
    let done = unsafe { libc::ioctl(tun.as_raw_fd(), libc::TUNSETIFF, request.as_mut_ptr()) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(tun) }
}

fn send(mut tun: File, socket: &UnixDatagram, peer: &Path) {
    let mut packet = vec![0; LONGEST];
    // A device that is down fails its readers; the lab has ended, or never began.
    while let Ok(length) = tun.read(&mut packet) {
        // The other end may not be there yet.
        let _ = socket.send_to(&packet[..length], peer);
    }
}

fn receive(socket: &UnixDatagram, tun: &mut File) {
    let mut packet = vec![0; LONGEST];
    while let Ok(length) = socket.recv(&mut packet) {
        // A device that is down takes nothing.
        let _ = tun.write(&packet[..length]);
    }
}
