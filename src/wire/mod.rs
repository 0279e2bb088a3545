//! Bytes and their meaning: frames of probes going out, replies coming in.
//!
//! # Endianness
//! Everything in a frame is in network order; everything in a Rust value is in host order. The two meet only here.
//!
//! # Panics
//! None. Frames come from strangers, so arriving bytes are read through [`bytes`], which answers `None` where a frame
//! ends too early; nothing here indexes into them.

pub mod arp;
pub mod bytes;
pub mod checksum;
pub mod frame;
pub mod reply;
pub mod syn;
