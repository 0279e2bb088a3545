//! Why an attempt failed: the kernel's notice in the error queue (`struct sock_extended_err`, see ip(7) and
//! `linux/errqueue.h`), and what it means, together with the error number, to a sweep.
//!
//! Byte order: the kernel's structures are native-endian; the addresses in them are in network order.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::link::Probe;
use crate::wire::reply::Answer;

/// `SO_EE_ORIGIN_ICMP`: an ICMP error came in.
const ORIGIN_ICMP: u8 = 2;
/// `SO_EE_ORIGIN_ICMP6`: an ICMPv6 error came in.
const ORIGIN_ICMP6: u8 = 3;

/// A `cmsghdr` is a length, of the size of a pointer, and two `int`s; the data follows.
const HEADER_LEN: usize = size_of::<usize>() + 8;
/// The length of a `sock_extended_err`; the offender's address follows.
const ERROR_LEN: usize = 16;

/// What one entry of the error queue says: an ICMP or ICMPv6 error that quotes the probe. The kernel has compared the
/// sequence number. Entries that this host's own stack makes (`SO_EE_ORIGIN_LOCAL`) say nothing of a target.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Notice {
    icmp_type: u8,
    code: u8,
    by: IpAddr,
}

impl Notice {
    /// Finds the notice among control messages. Nothing is taken on trust: what does not fit is passed over.
    pub(super) fn parse(control: &[u8]) -> Option<Notice> {
        let mut rest = control;
        loop {
            let len = usize::from_ne_bytes(*rest.first_chunk()?);
            let level = i32::from_ne_bytes(*rest.get(size_of::<usize>()..)?.first_chunk()?);
            let kind = i32::from_ne_bytes(*rest.get(size_of::<usize>() + 4..)?.first_chunk()?);
            let data = rest.get(HEADER_LEN..len)?;
            let wanted = (level, kind) == (libc::SOL_IP, libc::IP_RECVERR)
                || (level, kind) == (libc::SOL_IPV6, libc::IPV6_RECVERR);
            if wanted {
                return Notice::of_extended_error(data);
            }
            // The next message begins at the next multiple of the size of a pointer (CMSG_ALIGN).
            rest = rest.get(len.checked_next_multiple_of(size_of::<usize>())?..)?;
        }
    }

    fn of_extended_error(data: &[u8]) -> Option<Notice> {
        let [_, _, _, _, origin, icmp_type, code] = *data.first_chunk()?;
        if !matches!(origin, ORIGIN_ICMP | ORIGIN_ICMP6) {
            return None;
        }
        let by = address(data.get(ERROR_LEN..)?)?;
        Some(Notice { icmp_type, code, by })
    }
}

/// What the end of an attempt means, given the probe, the socket's error number (0 if there was none), the notice if
/// the queue held one, the address that the probe came from, and whether the target is on the network of an interface.
/// `None` is silence.
pub(super) fn judge(
    probe: &Probe,
    errno: i32,
    notice: Option<Notice>,
    local: Option<IpAddr>,
    on_link: bool,
) -> Option<Answer> {
    let sequence = probe.sequence;
    let ack = sequence.wrapping_add(1);
    if let Some(Notice { icmp_type, code, by }) = notice {
        // A neighbour that does not answer makes the kernel send host unreachable (RFC 1122, section 2.3.2.2) or
        // address unreachable (RFC 4443, section 3.1) to itself, from its own address. Where that neighbour is a
        // gateway, nothing is known of the target; nor where the kernel has lost the route itself.
        let ours = local == Some(by) && by != probe.ip;
        let no_route = (if by.is_ipv4() { 3 } else { 1 }, 0);
        let no_neighbour = if by.is_ipv4() { (3, 1) } else { (1, 3) };
        return match (icmp_type, code) {
            said if ours && said == no_neighbour => on_link.then_some(Answer::NoNeighbour { sequence }),
            said if ours && said == no_route => None,
            _ => Some(Answer::Icmp { sequence, icmp_type, code, by }),
        };
    }
    match errno {
        libc::ECONNREFUSED => Some(Answer::Rst { ack }),
        // A reset that comes after the handshake: somebody listens there, and does not want us.
        libc::ECONNRESET | libc::EPIPE => Some(Answer::SynAck { ack }),
        // Above all ETIMEDOUT. Whatever else it may be, no packet of the target's stands behind it: an ICMP error would
        // have left a notice, and what is left is this host's own network that is down or has no way any more.
        _ => None,
    }
}

/// The address in a `sockaddr_in` or `sockaddr_in6`.
fn address(sockaddr: &[u8]) -> Option<IpAddr> {
    let family = i32::from(u16::from_ne_bytes(*sockaddr.first_chunk()?));
    match family {
        libc::AF_INET => sockaddr.get(4..)?.first_chunk::<4>().map(|octets| Ipv4Addr::from(*octets).into()),
        libc::AF_INET6 => sockaddr.get(8..)?.first_chunk::<16>().map(|octets| Ipv6Addr::from(*octets).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(level: i32, kind: i32, data: &[u8]) -> Vec<u8> {
        let mut bytes = (HEADER_LEN + data.len()).to_ne_bytes().to_vec();
        bytes.extend(level.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(data);
        bytes.resize(bytes.len().next_multiple_of(size_of::<usize>()), 0);
        bytes
    }

    fn extended(errno: i32, origin: u8, icmp_type: u8, code: u8, by: IpAddr) -> Vec<u8> {
        let mut bytes = errno.to_ne_bytes().to_vec();
        bytes.extend([origin, icmp_type, code, 0]);
        bytes.extend([0; 8]);
        match by {
            IpAddr::V4(v4) => {
                bytes.extend((libc::AF_INET as u16).to_ne_bytes());
                bytes.extend([0; 2]);
                bytes.extend(v4.octets());
                bytes.extend([0; 8]);
            }
            IpAddr::V6(v6) => {
                bytes.extend((libc::AF_INET6 as u16).to_ne_bytes());
                bytes.extend([0; 6]);
                bytes.extend(v6.octets());
                bytes.extend([0; 4]);
            }
        }
        bytes
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect(text)
    }

    #[test]
    fn finds_the_notice_and_never_panics_on_less() {
        let by = ip("198.18.0.1");
        let stamp = message(libc::SOL_SOCKET, libc::SO_TIMESTAMP, &[7; 13]);
        let data = extended(libc::EHOSTUNREACH, ORIGIN_ICMP, 3, 13, by);
        let whole = [stamp, message(libc::SOL_IP, libc::IP_RECVERR, &data)].concat();
        assert_eq!(Notice::parse(&whole), Some(Notice { icmp_type: 3, code: 13, by }));
        for len in 0..whole.len() - 8 {
            assert_eq!(Notice::parse(&whole[..len]), None, "cut to {len} bytes");
        }
        for at in 0..whole.len() {
            for byte in [0, 1, 0x7f, 0xff] {
                let mut bent = whole.clone();
                bent[at] = byte;
                let _ = Notice::parse(&bent);
            }
        }
        let by = ip("2001:db8::1");
        let six = extended(libc::EACCES, ORIGIN_ICMP6, 1, 1, by);
        let six = message(libc::SOL_IPV6, libc::IPV6_RECVERR, &six);
        assert_eq!(Notice::parse(&six), Some(Notice { icmp_type: 1, code: 1, by }));
        // `SO_EE_ORIGIN_LOCAL`: nothing that the network said.
        let local = extended(libc::EHOSTUNREACH, 1, 0, 0, by);
        let local = message(libc::SOL_IPV6, libc::IPV6_RECVERR, &local);
        assert_eq!(Notice::parse(&local), None);
    }

    #[test]
    fn judges_what_ended_an_attempt() {
        let (target, own, router) = (ip("198.18.0.9"), ip("198.18.0.2"), ip("198.18.0.1"));
        let probe = Probe { ip: target, port: 22, source: own, source_port: 1, sequence: u32::MAX };
        let (sequence, ack) = (u32::MAX, 0);
        let icmp = |code, by| Some(Notice { icmp_type: 3, code, by });
        let says = |code, by| Some(Answer::Icmp { sequence, icmp_type: 3, code, by });
        let table = [
            (libc::ECONNREFUSED, None, Some(Answer::Rst { ack })),
            (libc::ECONNREFUSED, icmp(3, target), says(3, target)),
            (libc::EHOSTUNREACH, icmp(13, router), says(13, router)),
            (libc::EHOSTUNREACH, icmp(1, router), says(1, router)),
            (libc::EHOSTUNREACH, icmp(1, own), Some(Answer::NoNeighbour { sequence })),
            (libc::EHOSTUNREACH, icmp(13, own), says(13, own)),
            (libc::ENETUNREACH, icmp(0, router), says(0, router)),
            (libc::ENETUNREACH, icmp(0, own), None),
            (libc::ECONNRESET, None, Some(Answer::SynAck { ack })),
            (libc::ETIMEDOUT, None, None),
            (0, None, None),
        ];
        for (errno, notice, answer) in table {
            assert_eq!(judge(&probe, errno, notice, Some(own), true), answer, "{errno} {notice:?}");
        }
        assert_eq!(
            judge(&probe, libc::EHOSTUNREACH, icmp(1, own), Some(own), false),
            None,
            "it is the gateway"
        );
        let of_this_host =
            [libc::ENETUNREACH, libc::ENETDOWN, libc::ENODEV, libc::EACCES, libc::EPERM, libc::EHOSTUNREACH];
        for errno in of_this_host {
            assert_eq!(
                judge(&probe, errno, None, Some(own), true),
                None,
                "{errno} says nothing of the target"
            );
        }
    }
}
