//! The bare loop: one thread that does nothing but hand the same frame to a device, by a ring of the same kind and size
//! as the packet engine's. What it reaches is what this kernel and this machine give, whatever a scanner does besides.
//!
//! It sends to a device of the lab only, frames from 192.0.2.2 to 198.18.0.1, for the time it is told.

#![allow(unsafe_code)]

use std::ffi::CString;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use portreeve::wire::syn::{MAX_SYN_LEN, SynFields, SynTemplate};
use socket2::{Domain, Protocol, Socket, Type};

const USAGE: &str = "usage: lab-ring DEVICE SECONDS";

/// The geometry of `link::packet`'s ring, and how many frames its sender hands over at once.
const SLOTS: usize = 4096;
const SLOT_LEN: usize = 128;
const BATCH: usize = 256;

/// `struct tpacket2_hdr`, and the virtio header behind it.
const LENGTH_AT: usize = 4;
const DATA_AT: usize = 32;
const VIRTIO_LEN: usize = 10;
const VIRTIO_HEADER_LEN_AT: usize = 2;
const TPACKET_V2: libc::c_int = 1;
const AVAILABLE: u32 = 0;
const SEND_REQUEST: u32 = 1;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            // Nothing is left to be done when standard error is closed too.
            let _ = writeln!(io::stderr(), "lab-ring: {message}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<(), String> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [device, seconds] = &words[..] else { return Err(USAGE.to_owned()) };
    let seconds = seconds.parse().ok().filter(|seconds| (1..=60).contains(seconds));
    let seconds = seconds.ok_or("SECONDS is a number from 1 to 60")?;
    let (socket, ring) = open(device).map_err(|e| format!("cannot open a ring on {device}: {e}"))?;
    send_for(Duration::from_secs(seconds), &socket, ring).map_err(|e| format!("cannot send: {e}"))
}

/// Opens the ring and writes the frame into each slot.
fn open(device: &str) -> io::Result<(Socket, *mut u8)> {
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))?;
    socket.set_send_buffer_size(SLOTS * 1024)?;
    set(&socket, libc::PACKET_VERSION, &TPACKET_V2)?;
    set(&socket, libc::PACKET_VNET_HDR, &1)?;
    set(&socket, libc::PACKET_QDISC_BYPASS, &1)?;
    // `struct tpacket_req`: size and number of the blocks, then of the frames.
    let blocks = (SLOTS * SLOT_LEN) >> 16;
    set(&socket, libc::PACKET_TX_RING, &[1_u32 << 16, blocks as u32, SLOT_LEN as u32, SLOTS as u32])?;
    let ring = map(&socket)?;
    let template = SynTemplate::ethernet([192, 0, 2, 2].into(), [2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 0, 1]);
    let to = SynFields {
        destination: [198, 18, 0, 1].into(),
        destination_port: 80,
        source_port: 20_000,
        sequence: 1,
    };
    let mut frame = [0; MAX_SYN_LEN];
    let length = template.write(&mut frame, &to).ok_or_else(|| io::Error::other("no frame"))?;
    let mut slot = [0_u8; SLOT_LEN];
    slot[LENGTH_AT..][..4].copy_from_slice(&((VIRTIO_LEN + length) as u32).to_ne_bytes());
    slot[DATA_AT + VIRTIO_HEADER_LEN_AT..][..2].copy_from_slice(&(length as u16).to_ne_bytes());
    slot[DATA_AT + VIRTIO_LEN..][..length].copy_from_slice(&frame[..length]);
    for n in 0..SLOTS {
        // SAFETY: the ring has `SLOTS` slots of this length, and the kernel leaves alone what is not yet given to it.
        unsafe { ring.wrapping_add(n * SLOT_LEN).copy_from_nonoverlapping(slot.as_ptr(), SLOT_LEN) };
    }
    bind(&socket, device)?;
    Ok((socket, ring))
}

/// Gives the kernel a batch of slots, again and again.
fn send_for(time: Duration, socket: &Socket, ring: *mut u8) -> io::Result<()> {
    let end = Instant::now() + time;
    let mut head = 0;
    while Instant::now() < end {
        for _ in 0..BATCH {
            // SAFETY: the word at the beginning of a slot, which is aligned and stays mapped to the end of the process.
            let status = unsafe { AtomicU32::from_ptr(ring.wrapping_add(head * SLOT_LEN).cast()) };
            if status.load(Ordering::Acquire) != AVAILABLE {
                break;
            }
            status.store(SEND_REQUEST, Ordering::Release);
            head = (head + 1) % SLOTS;
        }
        // SAFETY: a null buffer of length 0 is what packet_mmap.rst prescribes; the kernel reads the ring.
        let sent = unsafe { libc::send(socket.as_raw_fd(), std::ptr::null(), 0, libc::MSG_DONTWAIT) };
        let error = io::Error::last_os_error();
        if sent < 0 && !matches!(error.raw_os_error(), Some(libc::ENOBUFS | libc::EAGAIN)) {
            return Err(error);
        }
    }
    Ok(())
}

fn map(socket: &Socket) -> io::Result<*mut u8> {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let length = SLOTS * SLOT_LEN;
    // SAFETY: a new mapping at an address of the kernel's choice aliases nothing of ours.
    let ring =
        unsafe { libc::mmap(std::ptr::null_mut(), length, access, libc::MAP_SHARED, socket.as_raw_fd(), 0) };
    if ring == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(ring.cast()) }
}

fn bind(socket: &Socket, device: &str) -> io::Result<()> {
    let name = CString::new(device)?;
    // SAFETY: a string that ends with a zero byte, which the call only reads.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: 0,
        sll_ifindex: index as libc::c_int,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: `address` is a whole sockaddr_ll, readable for the length that the call is told.
    check(unsafe { libc::bind(socket.as_raw_fd(), std::ptr::from_ref(&address).cast(), length) })
}

fn set<T>(socket: &Socket, option: libc::c_int, value: &T) -> io::Result<()> {
    let (value, length) = (std::ptr::from_ref(value).cast(), size_of::<T>() as libc::socklen_t);
    // SAFETY: the value is readable for the length that the call is told.
    check(unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_PACKET, option, value, length) })
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
