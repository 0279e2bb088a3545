//! Bytes and their meaning: probes and questions going out, replies and answers coming in.
//!
//! What goes out may have an Ethernet header. What comes in has none: the kernel takes it off, whatever the device.
//!
//! # Endianness
//! Everything in a packet is in network order; everything in a Rust value is in host order. The two meet only here.
//!
//! # Panics
//! None. Packets come from strangers, so arriving bytes are read through [`bytes`], which answers `None` where a packet
//! ends too early; nothing here indexes into them.

pub mod arp;
pub mod bytes;
pub mod checksum;
pub mod frame;
pub mod ip;
pub mod ndp;
pub mod neighbour;
pub mod reply;
pub mod syn;
