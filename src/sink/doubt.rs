//! What people read about what is not known: why, when, and what to do about it.

use std::io::{self, Write};

use anstyle::Style;

use crate::sweep::report::{OutageReport, PathReport, UnknownReason};
use crate::sweep::verified::{Ending, LookReport};

/// Why targets are unknown, and what to do about it. Follows upon "unknown because".
pub fn why_unknown(reason: UnknownReason) -> &'static str {
    match reason {
        UnknownReason::Interrupted => "the sweep was interrupted",
        UnknownReason::ReceiverDropped => {
            "this host lost frames while their answers were due; sweep slower (--rate or --rate-max)"
        }
        UnknownReason::SendRefused => {
            "the network device took no more probes; look at its queue and at local firewall rules"
        }
        UnknownReason::LinkFailed => "the link broke",
        UnknownReason::LinkDown => {
            "the interface was down, without carrier or gone; sweep again when it is back (ip link)"
        }
        UnknownReason::SourceGone => {
            "the address that probes came from was taken away from this host; sweep again when it is back (ip address)"
        }
        UnknownReason::NextHopSilent => {
            "the next hop no longer answered; look at that router and the way to it (ip neighbour), then sweep again"
        }
        UnknownReason::NextHopMoved => {
            "the next hop got another hardware address; make sure that it was meant to, then sweep again"
        }
        UnknownReason::CanariesSilent => {
            "what was known to answer fell silent; look beyond the next hop for a failed uplink, a full connection table or a firewall that blocks this host, then sweep slower (--rate or --rate-max)"
        }
        UnknownReason::CanariesChanged => {
            "what had answered before gave other answers, all at once; look for a firewall or an intrusion prevention system that has begun to answer in the place of others, and let it know this host"
        }
        UnknownReason::PathLossy => {
            "so much was lost on the way that silence proves nothing; sweep slower (--rate or --rate-max) or try more often (--tries)"
        }
        UnknownReason::NothingHeard => {
            "not one target answered by itself, so that silence proves nothing; name an endpoint that is known to answer (--canary IP:PORT), or look at the way there (portreeve doctor TARGET)"
        }
        UnknownReason::TriesSpent => {
            "too few of the most probes that a target may get were worth anything, as where a host answers only some of them; sweep it slower (--host-rate)"
        }
    }
}

/// How many open ports nobody has confirmed, and why, if there are any.
pub fn not_confirmed(look: &LookReport) -> Option<String> {
    let LookReport { targets, skipped, ended, .. } = look;
    let why = match ended {
        Ending::Off => return None,
        Ending::Stopped => "the second look was stopped; sweep again, and let it come to its end",
        _ if *skipped == 0 => return None,
        Ending::TimeUp => "the second look may last no longer than a minute; sweep fewer targets at a time",
        Ending::Failed => "the second look broke; see the error",
        Ending::Complete => "there were too many of them, or no way to them from here",
    };
    Some(format!("{skipped} of {targets} open ports that are not allowed were not confirmed: {why}"))
}

/// Writes the times that paths were in trouble, a line for each, `most` lines at most.
///
/// # Errors
/// When the output fails.
pub fn write_outages(out: &mut dyn Write, paths: &[PathReport], style: Style, most: usize) -> io::Result<()> {
    let outages = || paths.iter().flat_map(|path| path.outages.iter().map(move |outage| (path, outage)));
    for (path, outage) in outages().take(most) {
        let seconds = |ms: u64| ms as f64 / 1000.0;
        write!(out, "{style}{} from {:.1} s ", what_happened(path, outage), seconds(outage.from_ms))?;
        match outage.until_ms {
            Some(until) => writeln!(out, "to {:.1} s{style:#}", seconds(until))?,
            None => writeln!(out, "to the end{style:#}")?,
        }
    }
    match outages().count().saturating_sub(most) {
        0 => Ok(()),
        more => writeln!(out, "  and {more} more; --format jsonl lists every one"),
    }
}

fn what_happened(path: &PathReport, outage: &OutageReport) -> String {
    let PathReport { interface, source, .. } = path;
    let next_hop = path.next_hop.map_or_else(|| "the next hop".to_owned(), |ip| format!("next hop {ip}"));
    let way = path.next_hop.map_or_else(|| interface.clone(), |ip| format!("{ip} on {interface}"));
    match outage.reason {
        UnknownReason::LinkDown => format!("{interface} was down"),
        UnknownReason::SourceGone => format!("{interface} was without {source}"),
        UnknownReason::NextHopSilent => format!("{next_hop} on {interface} was silent"),
        UnknownReason::NextHopMoved => format!("{next_hop} on {interface} was at another hardware address"),
        UnknownReason::CanariesSilent => format!("all that is known to answer by {way} was silent"),
        UnknownReason::CanariesChanged => {
            format!("somebody answered for all that is known to answer by {way}")
        }
        UnknownReason::PathLossy => format!("most of what went by {way} was lost"),
        UnknownReason::Interrupted
        | UnknownReason::ReceiverDropped
        | UnknownReason::SendRefused
        | UnknownReason::LinkFailed
        | UnknownReason::NothingHeard
        | UnknownReason::TriesSpent => format!("{way} was in trouble ({})", outage.reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sweep::report::CanaryCount;

    fn path(next_hop: Option<[u8; 4]>, outages: &[(UnknownReason, Option<u64>)]) -> PathReport {
        let outage = |(reason, until_ms): &(UnknownReason, Option<u64>)| OutageReport {
            reason: *reason,
            from_ms: 1234,
            until_ms: *until_ms,
        };
        PathReport {
            interface: "lan0".into(),
            source: [198, 18, 255, 1].into(),
            next_hop: next_hop.map(Into::into),
            heard: true,
            canaries: CanaryCount::default(),
            outages: outages.iter().map(outage).collect(),
        }
    }

    fn written(paths: &[PathReport], most: usize) -> String {
        let mut out = Vec::new();
        write_outages(&mut out, paths, Style::new(), most).expect("memory");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn every_trouble_has_a_line_with_its_place_and_its_time() {
        let all = [
            (UnknownReason::LinkDown, Some(4310)),
            (UnknownReason::SourceGone, None),
            (UnknownReason::NextHopSilent, None),
            (UnknownReason::NextHopMoved, Some(2000)),
            (UnknownReason::CanariesSilent, None),
            (UnknownReason::PathLossy, Some(60_000)),
        ];
        let routed = path(Some([198, 18, 255, 254]), &all);
        assert_eq!(
            written(&[routed], 9).lines().collect::<Vec<_>>(),
            [
                "lan0 was down from 1.2 s to 4.3 s",
                "lan0 was without 198.18.255.1 from 1.2 s to the end",
                "next hop 198.18.255.254 on lan0 was silent from 1.2 s to the end",
                "next hop 198.18.255.254 on lan0 was at another hardware address from 1.2 s to 2.0 s",
                "all that is known to answer by 198.18.255.254 on lan0 was silent from 1.2 s to the end",
                "most of what went by 198.18.255.254 on lan0 was lost from 1.2 s to 60.0 s",
            ]
        );
    }

    #[test]
    fn what_is_too_much_is_counted() {
        let flapping = path(None, &[(UnknownReason::LinkDown, Some(2000)); 5]);
        let text = written(&[path(None, &[]), flapping.clone(), flapping], 2);
        assert_eq!(text.lines().count(), 3);
        assert!(text.ends_with("  and 8 more; --format jsonl lists every one\n"), "{text}");
        assert_eq!(written(&[path(None, &[])], 2), "");
    }
}
