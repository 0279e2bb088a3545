//! The switch: probes to many networks, each by the link that leads there.
//!
//! A sweep may leave by several interfaces, and by frames on one and packets on another. Each batch is sorted by link
//! and handed on in one piece for each, so that a second interface does not cost a system call for every probe.

use std::net::{IpAddr, Ipv4Addr};

use super::spans::Spans;
use super::{LinkError, Probe, Transmit};

/// Probes that there is room for from the beginning: a sender hands over no more at once.
const ROOM: usize = 256;

/// Addresses that one of the links leads to, both ends included.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Track {
    /// The lowest.
    pub first: IpAddr,
    /// The highest.
    pub last: IpAddr,
    /// The number of the link.
    pub link: usize,
}

/// The sending halves of several links as one.
pub struct Switch {
    /// The number of the link that leads there.
    tracks: Spans<usize>,
    links: Vec<Branch>,
    /// What one link refused, as places in its own batch.
    refused: Vec<usize>,
}

struct Branch {
    link: Box<dyn Transmit>,
    batch: Vec<Probe>,
    /// Where each probe of the batch stands in what the caller handed over.
    places: Vec<usize>,
}

impl Switch {
    /// A switch over these links, of which each track names one.
    pub fn new(tracks: Vec<Track>, links: Vec<Box<dyn Transmit>>) -> Self {
        let there = tracks.into_iter().filter(|track| track.link < links.len());
        let tracks = Spans::new(there.map(|track| (track.first, track.last, track.link)));
        let branch =
            |link| Branch { link, batch: Vec::with_capacity(ROOM), places: Vec::with_capacity(ROOM) };
        Switch { tracks, links: links.into_iter().map(branch).collect(), refused: Vec::with_capacity(ROOM) }
    }

    #[inline]
    fn link_of(&self, ip: IpAddr) -> Option<usize> {
        self.tracks.at(ip).copied()
    }
}

impl Transmit for Switch {
    fn source(&self, ip: IpAddr) -> IpAddr {
        let link = self.link_of(ip);
        link.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |link| self.links[link].link.source(ip))
    }

    fn transmit(&mut self, probes: &[Probe], refused: &mut Vec<usize>) -> Result<(), LinkError> {
        for (place, probe) in probes.iter().enumerate() {
            let Some(link) = self.link_of(probe.ip) else {
                self.links.iter_mut().for_each(Branch::clear);
                refused.extend(0..probes.len());
                return Err(no_link(probe.ip));
            };
            self.links[link].batch.push(*probe);
            self.links[link].places.push(place);
        }
        let mut result = Ok(());
        for branch in self.links.iter_mut().filter(|branch| !branch.batch.is_empty()) {
            // Once one link is broken, nothing more leaves by the others.
            if result.is_err() {
                refused.extend(&branch.places);
            } else {
                self.refused.clear();
                result = branch.link.transmit(&branch.batch, &mut self.refused);
                refused.extend(self.refused.iter().filter_map(|at| branch.places.get(*at)));
            }
            branch.clear();
        }
        refused.sort_unstable();
        result
    }

    fn mark(&mut self) {
        self.links.iter_mut().for_each(|branch| branch.link.mark());
    }

    fn is_draining(&mut self) -> bool {
        self.links.iter_mut().any(|branch| branch.link.is_draining())
    }
}

impl Branch {
    fn clear(&mut self) {
        self.batch.clear();
        self.places.clear();
    }
}

fn no_link(ip: IpAddr) -> LinkError {
    LinkError::NoWay {
        ip,
        why: "none of this sweep's links leads there".to_owned(),
        remedy: "this is a bug, please report it".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Takes all but every third probe, and breaks at a port of 666.
    struct Picky {
        source: IpAddr,
        took: Arc<Mutex<Vec<u16>>>,
    }

    impl Transmit for Picky {
        fn source(&self, _: IpAddr) -> IpAddr {
            self.source
        }

        fn transmit(&mut self, probes: &[Probe], refused: &mut Vec<usize>) -> Result<(), LinkError> {
            for (at, probe) in probes.iter().enumerate() {
                if probe.port == 666 {
                    refused.extend(at..probes.len());
                    return Err(no_link(probe.ip));
                }
                if at % 3 == 2 {
                    refused.push(at);
                } else {
                    self.took.lock().expect("no panic").push(probe.port);
                }
            }
            Ok(())
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect(text)
    }

    fn switch() -> (Switch, [Arc<Mutex<Vec<u16>>>; 2]) {
        let took = [Arc::default(), Arc::default()];
        let track = |first, last, link| Track { first: ip(first), last: ip(last), link };
        let tracks = vec![
            track("2001:db8::", "2001:db8::ff", 1),
            track("198.18.0.0", "198.18.0.255", 0),
            track("198.18.1.0", "198.18.1.255", 1),
        ];
        let link = |source, took: &Arc<Mutex<Vec<u16>>>| {
            Box::new(Picky { source: ip(source), took: Arc::clone(took) }) as Box<dyn Transmit>
        };
        (Switch::new(tracks, vec![link("192.0.2.1", &took[0]), link("192.0.2.2", &took[1])]), took)
    }

    fn probe(to: &str, port: u16) -> Probe {
        Probe { ip: ip(to), port, source: ip("192.0.2.1"), source_port: 1, sequence: 1 }
    }

    #[test]
    fn every_probe_takes_its_link_and_every_refusal_its_place() {
        let (mut switch, took) = switch();
        assert_eq!(switch.source(ip("198.18.1.7")), ip("192.0.2.2"));
        assert_eq!(switch.source(ip("198.18.0.7")), ip("192.0.2.1"));
        assert_eq!(switch.source(ip("198.18.2.7")), ip("0.0.0.0"));
        let to = ["198.18.0.1", "198.18.1.1", "2001:db8::1"];
        let probes: Vec<Probe> = (0..12).map(|n| probe(to[n % 3], n as u16)).collect();
        let mut refused = Vec::new();
        switch.transmit(&probes, &mut refused).expect("both take");
        // The third of the first link's is number 6; the third and the sixth of the second's are numbers 4 and 8.
        assert_eq!(refused, [4, 6, 8]);
        assert_eq!(*took[0].lock().expect("no panic"), [0, 3, 9]);
        assert_eq!(*took[1].lock().expect("no panic"), [1, 2, 5, 7, 10, 11].map(|n| n as u16));
    }

    #[test]
    fn a_full_batch_takes_no_memory_that_was_not_there_from_the_beginning() {
        let (mut switch, _) = switch();
        let room =
            |switch: &Switch| switch.links.iter().map(|branch| branch.batch.as_ptr()).collect::<Vec<_>>();
        let before = room(&switch);
        let probes = vec![probe("198.18.1.1", 1); ROOM];
        switch.transmit(&probes, &mut Vec::new()).expect("it takes");
        assert_eq!(room(&switch), before);
    }

    #[test]
    fn a_broken_link_and_a_probe_to_nowhere_name_all_that_did_not_leave() {
        let (mut switch, took) = switch();
        let probes = [probe("198.18.0.1", 1), probe("198.18.1.1", 2), probe("198.18.0.1", 666)];
        let mut refused = Vec::new();
        assert!(switch.transmit(&probes, &mut refused).is_err());
        assert_eq!(refused, [1, 2]);
        refused.clear();
        assert!(switch.transmit(&[probe("198.18.0.1", 1), probe("198.18.9.1", 2)], &mut refused).is_err());
        assert_eq!(refused, [0, 1]);
        // Nothing of before is left in the batches.
        refused.clear();
        switch.transmit(&[probe("198.18.1.1", 3)], &mut refused).expect("it takes");
        assert_eq!((refused.len(), took[1].lock().expect("no panic").clone()), (0, vec![3]));
    }
}
