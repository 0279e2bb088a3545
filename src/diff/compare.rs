//! The comparison itself: both surveys are sorted by host, and both hosts by port.

use std::cmp::Ordering;
use std::net::IpAddr;

use super::{Change, Difference, HostChange, Kind, NotSeen, Rest, Seen};
use crate::survey::host::{Host, Port, Protocol, Sight};
use crate::survey::runs::PortRuns;
use crate::survey::word::{Class, Openness, PortState};
use crate::survey::{Coverage, Declared, Survey};
use crate::target::address::AddressRange;
use crate::target::scope::subtract;

/// What is different in `new`.
pub fn compare(old: &Survey, new: &Survey) -> Difference {
    let mut difference = Difference::default();
    let (mut olds, mut news) = (old.hosts.iter().peekable(), new.hosts.iter().peekable());
    loop {
        let order = match (olds.peek(), news.peek()) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => old.ip.cmp(&new.ip),
        };
        let before = if order.is_le() { olds.next() } else { None };
        let after = if order.is_ge() { news.next() } else { None };
        if let Some(ip) = before.or(after).map(|host| host.ip) {
            let pair =
                Pair { ip, old: View::new(before, &old.coverage), new: View::new(after, &new.coverage) };
            pair.compare(&mut difference);
        }
    }
    difference.not_seen_unlisted = unlisted_and_not_seen(old, new);
    difference
}

/// One host, as a survey has it.
struct View<'s> {
    host: Option<&'s Host>,
    coverage: &'s Coverage,
    sights: Vec<(Protocol, u16, Sight)>,
}

impl<'s> View<'s> {
    fn new(host: Option<&'s Host>, coverage: &'s Coverage) -> Self {
        View { host, coverage, sights: host.map(Host::sights).unwrap_or_default() }
    }

    fn is_there(&self) -> bool {
        let answers = self.sights.iter().any(|(.., sight)| sight.is_answer());
        answers || self.host.is_some_and(Host::is_said_up)
    }

    /// What is known of a target that is not listed.
    fn unlisted(&self, ip: IpAddr, protocol: Protocol, port: u16) -> Seen {
        match self.coverage.rest(ip, protocol, port) {
            // Where nothing is left over, it ought to have been listed.
            None | Some([]) => Seen::NotSeen,
            Some(states) => Seen::NotOpen(Rest::from(states)),
        }
    }
}

/// One host in both surveys.
struct Pair<'s> {
    ip: IpAddr,
    old: View<'s>,
    new: View<'s>,
}

/// What came of one target.
enum Verdict {
    Same,
    Changed(Kind),
    NotSeen,
}

impl Pair<'_> {
    fn compare(&self, difference: &mut Difference) {
        let mut groups = Groups::default();
        // Whether each target that answered before was seen to be silent, and whether what answers now was silent.
        let (mut all_silent_now, mut was_looked_at) = (true, false);
        self.each(|protocol, port, before, after| {
            if is_answer(before) {
                all_silent_now &= is_silent(after);
            }
            was_looked_at |= before != Seen::NotSeen;
            match judge(before, after) {
                Verdict::Same => difference.same += u64::from(matches!(before, Seen::Listed(_))),
                Verdict::Changed(kind) => groups.change(kind, protocol, port, before, after),
                Verdict::NotSeen => {
                    if let Seen::Listed(sight) = before {
                        groups.not_seen(protocol, port, sight);
                    }
                }
            }
        });
        groups.finish(self.ip, difference);
        let (was_there, is_there) = (self.old.is_there(), self.new.is_there());
        let was_seen = was_looked_at || self.old.host.is_some_and(Host::is_said_down);
        let is_open = |(.., sight): &(Protocol, u16, Sight)| sight.state.openness() == Openness::Open;
        // A host at which the older one may never have looked is no news, unless something is open there.
        if is_there && !was_there && (was_seen || self.new.sights.iter().any(is_open)) {
            difference.new_hosts.push(HostChange { ip: self.ip, was_seen });
        }
        let is_said_down = self.new.host.is_some_and(Host::is_said_down);
        let has_answered = self.old.sights.iter().any(|(.., sight)| sight.is_answer());
        if was_there && !is_there && (is_said_down || (has_answered && all_silent_now)) {
            difference.gone_hosts.push(HostChange { ip: self.ip, was_seen: true });
        }
    }

    /// Every target that one of both lists, in order.
    fn each(&self, mut visit: impl FnMut(Protocol, u16, Seen, Seen)) {
        let key = |sight: &(Protocol, u16, Sight)| (sight.0, sight.1);
        let (mut olds, mut news) = (self.old.sights.iter().peekable(), self.new.sights.iter().peekable());
        loop {
            let order = match (olds.peek(), news.peek()) {
                (None, None) => return,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(old), Some(new)) => key(old).cmp(&key(new)),
            };
            let before = if order.is_le() { olds.next() } else { None };
            let after = if order.is_ge() { news.next() } else { None };
            let Some((protocol, port, _)) = before.or(after).copied() else { return };
            let seen = |listed: Option<&(Protocol, u16, Sight)>, view: &View<'_>| match listed {
                Some((.., sight)) => Seen::Listed(*sight),
                None => view.unlisted(self.ip, protocol, port),
            };
            visit(protocol, port, seen(before, &self.old), seen(after, &self.new));
        }
    }
}

fn is_answer(seen: Seen) -> bool {
    matches!(seen, Seen::Listed(sight) if sight.is_answer())
}

/// Whether a target was looked at, and nothing came from its host.
fn is_silent(seen: Seen) -> bool {
    match seen {
        Seen::Listed(sight) => matches!(sight.state, PortState::Filtered | PortState::Unreachable),
        Seen::NotOpen(rest) => !rest.closed,
        Seen::NotSeen => false,
    }
}

fn openness(seen: Seen) -> Openness {
    match seen {
        Seen::Listed(sight) => sight.state.openness(),
        Seen::NotOpen(_) => Openness::NotOpen,
        Seen::NotSeen => Openness::Unsaid,
    }
}

/// Whether nothing at all is known.
fn is_nothing(seen: Seen) -> bool {
    match seen {
        Seen::Listed(sight) => sight.state == PortState::Unknown,
        Seen::NotOpen(_) => false,
        Seen::NotSeen => true,
    }
}

fn judge(before: Seen, after: Seen) -> Verdict {
    let is_news = openness(after) == Openness::Open && openness(before) != Openness::Open;
    match (openness(before), openness(after)) {
        _ if is_news => Verdict::Changed(Kind::Opened),
        // Nobody knows more of it now, or ever did.
        _ if is_nothing(after) => {
            if is_nothing(before) {
                Verdict::Same
            } else {
                Verdict::NotSeen
            }
        }
        (Openness::Open, Openness::NotOpen) => Verdict::Changed(Kind::Closed),
        // It was open, and whether it still is was not found out.
        (Openness::Open, Openness::Unsaid) => Verdict::NotSeen,
        _ if is_nothing(before) => Verdict::Same,
        _ if is_alike(before, after) => Verdict::Same,
        _ => Verdict::Changed(Kind::Changed),
    }
}

/// Whether two sights may be one and the same. Where a survey says less, it does not contradict the other.
fn is_alike(before: Seen, after: Seen) -> bool {
    match (before, after) {
        (Seen::Listed(before), Seen::Listed(after)) => {
            let classes = [before.reason, after.reason].map(|reason| reason.map(Class::from));
            let same_reason = match classes {
                [Some(before), Some(after)] => before == after,
                _ => true,
            };
            before.state == after.state && same_reason
        }
        (Seen::Listed(sight), Seen::NotOpen(rest)) | (Seen::NotOpen(rest), Seen::Listed(sight)) => {
            match sight.state {
                PortState::Closed => rest.closed,
                PortState::Filtered => rest.filtered,
                PortState::Unreachable => rest.unreachable,
                _ => true,
            }
        }
        _ => true,
    }
}

/// What happened to the ports of one host, put together as it comes.
#[derive(Default)]
struct Groups {
    changes: Vec<(Kind, Protocol, Seen, Seen, Vec<u16>)>,
    not_seen: Vec<(Protocol, Sight, Vec<u16>)>,
}

impl Groups {
    fn change(&mut self, kind: Kind, protocol: Protocol, port: u16, before: Seen, after: Seen) {
        let is_same = |known: &&mut (Kind, Protocol, Seen, Seen, Vec<u16>)| {
            (known.0, known.1, known.2, known.3) == (kind, protocol, before, after)
        };
        match self.changes.iter_mut().filter(|_| kind == Kind::Changed).find(is_same) {
            Some((.., ports)) => ports.push(port),
            None => self.changes.push((kind, protocol, before, after, vec![port])),
        }
    }

    fn not_seen(&mut self, protocol: Protocol, port: u16, sight: Sight) {
        let known = self.not_seen.iter_mut().find(|known| (known.0, known.1) == (protocol, sight));
        match known {
            Some((.., ports)) => ports.push(port),
            None => self.not_seen.push((protocol, sight, vec![port])),
        }
    }

    fn finish(self, ip: IpAddr, difference: &mut Difference) {
        let changes = self.changes.into_iter().map(|(kind, protocol, before, after, ports)| Change {
            kind,
            ip,
            protocol,
            ports: ports.into_iter().collect(),
            before,
            after,
        });
        difference.changes.extend(changes);
        let not_seen = self.not_seen.into_iter().map(|(protocol, before, ports)| {
            let ports: PortRuns = ports.into_iter().collect();
            NotSeen { ip, protocol, ports, before }
        });
        difference.not_seen.extend(not_seen);
    }
}

/// Targets that the older survey has in its scope without listing them, and that the newer one did not look at.
fn unlisted_and_not_seen(old: &Survey, new: &Survey) -> u64 {
    let Coverage::Declared(declared) = &old.coverage else { return 0 };
    let scope = &declared.scope;
    let in_scope = |ip: IpAddr, protocol: Protocol, port: u16| {
        protocol == Protocol::Tcp && scope.index_of(ip, port).is_some()
    };
    let is_known = |survey: &Survey, ip: IpAddr, port: u16| {
        let at = survey.hosts.binary_search_by_key(&ip, |host| host.ip).ok();
        at.is_some_and(|at| has(&survey.hosts[at], port))
    };
    let both = match &new.coverage {
        Coverage::Declared(newer) => common(declared, newer),
        _ => 0,
    };
    // Listed by the older: those are told of one by one. Listed by the newer, and beyond its own scope: seen as well.
    let mut accounted = 0;
    for host in &old.hosts {
        let those =
            host.sights().into_iter().filter(|(protocol, port, _)| in_scope(host.ip, *protocol, *port));
        let is_beyond = |port: u16| new.coverage.rest(host.ip, Protocol::Tcp, port).is_none();
        accounted += those.filter(|(_, port, _)| is_beyond(*port)).count() as u64;
    }
    for host in &new.hosts {
        let those =
            host.sights().into_iter().filter(|(protocol, port, _)| in_scope(host.ip, *protocol, *port));
        let is_more = |port: u16| {
            new.coverage.rest(host.ip, Protocol::Tcp, port).is_none() && !is_known(old, host.ip, port)
        };
        accounted += those.filter(|(_, port, _)| is_more(*port)).count() as u64;
    }
    scope.len().saturating_sub(both).saturating_sub(accounted)
}

fn has(host: &Host, port: u16) -> bool {
    let key = (Protocol::Tcp, port);
    host.ports.binary_search_by_key(&key, Port::key).is_ok()
        || host.groups.iter().any(|group| group.protocol == Protocol::Tcp && group.ports.contains(port))
}

/// How many targets two scopes have in common.
fn common(one: &Declared, other: &Declared) -> u64 {
    let hosts = |ranges: &[AddressRange]| -> u128 { ranges.iter().filter_map(AddressRange::len).sum() };
    let alone = subtract(one.scope.ranges(), other.scope.ranges());
    let hosts = hosts(one.scope.ranges()).saturating_sub(hosts(&alone));
    let ports = one.scope.ports().iter().filter(|port| other.scope.ports().slot_of(*port).is_some()).count();
    u64::try_from(hosts.saturating_mul(ports as u128)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
