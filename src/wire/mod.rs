//! Bytes and their meaning: frames of probes, and replies.

pub mod arp;
pub mod reply;
