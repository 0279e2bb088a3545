//! The kernel's part of receiving: a classic BPF program that lets through answers to our source ports.
//!
//! It saves the copying and waking for everything else on the interface. It is no authority: whatever it lets through
//! is parsed and held against the cookie.

use socket2::SockFilter;

/// Bytes of a frame that are kept: Ethernet, IPv4 with all its options, and an ICMP error with all of its own quote's.
const SNAP_LEN: u32 = 192;

// The opcodes of linux/bpf_common.h that are needed here.
const LOAD_HALF: u16 = 0x28;
const LOAD_BYTE: u16 = 0x30;
const LOAD_HALF_AT_X: u16 = 0x48;
const LOAD_BYTE_AT_X: u16 = 0x50;
const LOAD_X_HEADER_LEN: u16 = 0xb1;
const AND: u16 = 0x54;
const SHIFT_LEFT: u16 = 0x64;
const ADD_X: u16 = 0x0c;
const COPY_TO_X: u16 = 0x07;
const IF_EQUAL: u16 = 0x15;
const IF_GREATER: u16 = 0x25;
const IF_NOT_LESS: u16 = 0x35;
const IF_ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;

/// Where things stand in a frame.
const ETHERTYPE: u32 = 12;
const IP: u32 = 14;
const IP_FRAGMENT: u32 = IP + 6;
const IP_PROTOCOL: u32 = IP + 9;
const TCP_DESTINATION_PORT: u32 = IP + 2;
const TCP_FLAGS: u32 = IP + 13;
const ICMP_TYPE: u32 = IP;
const QUOTED_IP: u32 = IP + 8;

/// The program for probes from these ports, both ends included.
///
/// Every answer that decides something passes: SYN and ACK together, or RST; and ICMP "unreachable" and "time exceeded"
/// that quote a packet of ours. The jumps are counted from the next instruction, as the kernel counts them.
pub(super) fn replies_to(first_port: u16, last_port: u16) -> Vec<SockFilter> {
    let (first, last) = (u32::from(first_port), u32::from(last_port));
    vec![
        /*  0 */ load(LOAD_HALF, ETHERTYPE),
        /*  1 */ jump(IF_EQUAL, 0x0800, 0, 27),
        /*  2 */ load(LOAD_HALF, IP_FRAGMENT),
        /*  3 */ jump(IF_ANY_BIT, 0x1fff, 25, 0),
        /*  4 */ load(LOAD_X_HEADER_LEN, IP),
        /*  5 */ load(LOAD_BYTE, IP_PROTOCOL),
        /*  6 */ jump(IF_EQUAL, 6, 0, 8),
        // TCP.
        /*  7 */ load(LOAD_HALF_AT_X, TCP_DESTINATION_PORT),
        /*  8 */ jump(IF_NOT_LESS, first, 0, 20),
        /*  9 */ jump(IF_GREATER, last, 19, 0),
        /* 10 */ load(LOAD_BYTE_AT_X, TCP_FLAGS),
        /* 11 */ jump(IF_ANY_BIT, 0x04, 16, 0),
        /* 12 */ load(AND, 0x12),
        /* 13 */ jump(IF_EQUAL, 0x12, 14, 15),
        /* 14 */ load(RETURN, 0),
        // ICMP.
        /* 15 */ jump(IF_EQUAL, 1, 0, 13),
        /* 16 */ load(LOAD_BYTE_AT_X, ICMP_TYPE),
        /* 17 */ jump(IF_EQUAL, 3, 1, 0),
        /* 18 */ jump(IF_EQUAL, 11, 0, 10),
        // The quoted header's length is added to ours, so that X points to the quoted ports.
        /* 19 */
        load(LOAD_BYTE_AT_X, QUOTED_IP),
        /* 20 */ load(AND, 0x0f),
        /* 21 */ load(SHIFT_LEFT, 2),
        /* 22 */ load(ADD_X, 0),
        /* 23 */ load(COPY_TO_X, 0),
        /* 24 */ load(LOAD_HALF_AT_X, QUOTED_IP),
        /* 25 */ jump(IF_NOT_LESS, first, 0, 3),
        /* 26 */ jump(IF_GREATER, last, 2, 0),
        /* 27 */ load(RETURN, SNAP_LEN),
        /* 28 */ load(RETURN, SNAP_LEN),
        /* 29 */ load(RETURN, 0),
    ]
}

fn load(code: u16, k: u32) -> SockFilter {
    SockFilter::new(code, 0, 0, k)
}

fn jump(code: u16, k: u32, jt: u8, jf: u8) -> SockFilter {
    SockFilter::new(code, jt, jf, k)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    /// Lets the real kernel judge: a filter works on any socket, so a pair of local ones will do.
    fn passes(frame: &[u8]) -> bool {
        let (sender, receiver) = UnixDatagram::pair().expect("a pair of sockets");
        let receiver = socket2::Socket::from(std::os::fd::OwnedFd::from(receiver));
        receiver.attach_filter(&replies_to(16_384, 32_767)).expect("the kernel takes the filter");
        receiver.set_nonblocking(true).expect("a pair delivers at once");
        // A socket pair reports a filtered datagram to its sender as refused; that is an answer, too.
        let _ = sender.send(frame);
        let mut buffer = [std::mem::MaybeUninit::uninit(); 256];
        receiver.recv(&mut buffer).is_ok_and(|n| n == frame.len().min(SNAP_LEN as usize))
    }

    /// A frame with this protocol and content, and `options` words of IP options.
    fn frame(protocol: u8, options: usize, content: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; 12];
        frame.extend([0x08, 0x00, 0x45 + options as u8, 0, 0, 0, 0, 0, 0x40, 0, 64, protocol]);
        frame.extend([0; 10]);
        frame.extend(vec![1; options * 4]);
        frame.extend(content);
        frame
    }

    fn tcp(destination: u16, flags: u8) -> Vec<u8> {
        let mut segment = vec![0; 20];
        segment[2..4].copy_from_slice(&destination.to_be_bytes());
        segment[13] = flags;
        segment
    }

    fn icmp(icmp_type: u8, quoted_options: usize, source: u16) -> Vec<u8> {
        let mut message = vec![icmp_type, 0, 0, 0, 0, 0, 0, 0, 0x45 + quoted_options as u8];
        message.extend(vec![0; 19 + quoted_options * 4]);
        message.extend(source.to_be_bytes());
        message.extend([0; 6]);
        message
    }

    #[test]
    fn lets_through_answers_to_our_ports_and_nothing_else() {
        for options in [0, 3, 10] {
            for (port, ours) in [(16_384, true), (32_767, true), (16_383, false), (32_768, false), (0, false)]
            {
                for (flags, answers) in
                    [(0x12, true), (0x14, true), (0x04, true), (0x10, false), (0x02, false), (0x52, true)]
                {
                    let passed = passes(&frame(6, options, &tcp(port, flags)));
                    assert_eq!(passed, ours && answers, "port {port} flags {flags:#x} options {options}");
                }
                for (icmp_type, error) in [(3, true), (11, true), (0, false), (8, false)] {
                    for quoted in [0, 4] {
                        let passed = passes(&frame(1, options, &icmp(icmp_type, quoted, port)));
                        assert_eq!(passed, ours && error, "port {port} type {icmp_type} options {options}");
                    }
                }
            }
            assert!(!passes(&frame(17, options, &tcp(16_384, 0x12))), "UDP");
        }
        let mut fragment = frame(6, 0, &tcp(16_384, 0x12));
        fragment[21] = 9;
        assert!(!passes(&fragment));
        let mut arp = frame(6, 0, &tcp(16_384, 0x12));
        arp[13] = 6;
        assert!(!passes(&arp));
        assert!(!passes(&frame(6, 0, &tcp(16_384, 0x12))[..40]), "cut before the flags");
    }
}
