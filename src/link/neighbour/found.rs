//! What a sweep of neighbours has found out, for all addresses of a network; and what becomes of them later.

use std::net::IpAddr;

use crate::sync::{AtomicU64, Ordering};

/// What is known of an address on the network of an interface.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Presence {
    /// A neighbour has it, at this hardware address.
    At([u8; 6]),
    /// Nobody has it: nobody answered, and we would have heard.
    Nobody,
    /// Nobody answered, but we may have missed it; or it was not asked for.
    NotKnown,
}

/// The neighbours of a network.
///
/// Addresses that follow each other share a stretch, so that a lookup is a search among few of them and one step.
#[derive(Debug, Default)]
pub struct Neighbours {
    /// Sorted and disjoint.
    stretches: Vec<Stretch>,
    cells: Vec<Cell>,
    found: usize,
    duplicates: usize,
}

/// What is known of one address. One thread may change it while others send.
#[derive(Debug)]
struct Cell(AtomicU64);

/// How a cell tells what is in it: a hardware address in the lower 48 bits, or none of it.
const IS_NOT_KNOWN: u64 = 1 << 48;
const IS_NOBODY: u64 = 2 << 48;

/// The hardware address was set by hand: whoever has it need not answer.
const IS_FIXED: u64 = 4 << 48;

impl Cell {
    /// `Relaxed`, as setting it: the presence is all there is to know, and a frame that goes to the old address a
    /// moment longer is made void by the guard's word.
    #[inline]
    fn presence(&self) -> Presence {
        let bits = self.0.load(Ordering::Relaxed);
        let [_, _, mac @ ..] = bits.to_be_bytes();
        match bits & (IS_NOT_KNOWN | IS_NOBODY) {
            0 => Presence::At(mac),
            IS_NOBODY => Presence::Nobody,
            _ => Presence::NotKnown,
        }
    }

    fn is_fixed(&self) -> bool {
        self.0.load(Ordering::Relaxed) & IS_FIXED != 0
    }

    fn set(&self, presence: Presence) {
        let bits = match presence {
            Presence::At([a, b, c, d, e, f]) => u64::from_be_bytes([0, 0, a, b, c, d, e, f]),
            Presence::Nobody => IS_NOBODY,
            Presence::NotKnown => IS_NOT_KNOWN,
        };
        self.0.store(bits, Ordering::Relaxed);
    }
}

/// Addresses that follow each other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Stretch {
    first: IpAddr,
    last: IpAddr,
    /// Where the first of them stands in the list of cells.
    start: usize,
}

impl Neighbours {
    /// These addresses, in any order, of none of which anything is known yet.
    pub(super) fn among(wanted: &mut dyn Iterator<Item = IpAddr>) -> Self {
        let mut wanted: Vec<IpAddr> = wanted.collect();
        wanted.sort_unstable();
        wanted.dedup();
        let mut stretches: Vec<Stretch> = Vec::new();
        for (start, &ip) in wanted.iter().enumerate() {
            match stretches.last_mut() {
                Some(stretch) if distance(stretch.last, ip) == Some(1) => stretch.last = ip,
                _ => stretches.push(Stretch { first: ip, last: ip, start }),
            }
        }
        let cells = wanted.iter().map(|_| Cell(AtomicU64::new(IS_NOT_KNOWN))).collect();
        Neighbours { stretches, cells, found: 0, duplicates: 0 }
    }

    /// What is known of an address.
    #[inline]
    pub fn presence(&self, ip: IpAddr) -> Presence {
        self.cell(ip).map_or(Presence::NotKnown, Cell::presence)
    }

    /// From now on this is known of an address that was asked for.
    pub fn set(&self, ip: IpAddr, presence: Presence) {
        if let Some(cell) = self.cell(ip) {
            cell.set(presence);
        }
    }

    /// The hardware address that frames for `ip` go to, if it is known.
    #[inline]
    pub fn mac(&self, ip: IpAddr) -> Option<[u8; 6]> {
        match self.presence(ip) {
            Presence::At(mac) => Some(mac),
            Presence::Nobody | Presence::NotKnown => None,
        }
    }

    /// How many addresses were asked for.
    pub fn wanted(&self) -> usize {
        self.cells.len()
    }

    /// How many of them a neighbour had when they were asked for.
    pub fn found(&self) -> usize {
        self.found
    }

    /// How many of them nobody has.
    pub fn nobody(&self) -> usize {
        self.count(Presence::Nobody)
    }

    /// Of how many of them it is not known.
    pub fn not_known(&self) -> usize {
        self.count(Presence::NotKnown)
    }

    /// How many answers named another hardware address than the first answer for the same address did: two stations
    /// have it, which is a fault of that network.
    pub fn duplicates(&self) -> usize {
        self.duplicates
    }

    /// All addresses that were asked for, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = (IpAddr, Presence)> {
        self.cells().map(|(ip, cell)| (ip, cell.presence()))
    }

    /// Those that answered and can be asked again, in ascending order, and where they are. What has been set by hand is
    /// not among them.
    pub fn that_answer(&self) -> impl Iterator<Item = (IpAddr, [u8; 6])> {
        self.cells().filter(|(_, cell)| !cell.is_fixed()).filter_map(|(ip, cell)| match cell.presence() {
            Presence::At(mac) => Some((ip, mac)),
            Presence::Nobody | Presence::NotKnown => None,
        })
    }

    fn cells(&self) -> impl Iterator<Item = (IpAddr, &Cell)> {
        self.stretches.iter().flat_map(|stretch| {
            let cells = self.cells.get(stretch.start..).unwrap_or_default();
            let steps = 0..=distance(stretch.first, stretch.last).unwrap_or(0);
            steps.map(|steps| upwards(stretch.first, steps)).zip(cells)
        })
    }

    /// Notes an answer. The first one counts. One for an address that was not asked for is not heeded.
    pub(super) fn note(&mut self, ip: IpAddr, mac: [u8; 6]) {
        let Some(cell) = self.cell(ip) else { return };
        match cell.presence() {
            Presence::At(first) if first == mac => {}
            Presence::At(_) => self.duplicates += 1,
            Presence::Nobody | Presence::NotKnown => {
                cell.set(Presence::At(mac));
                self.found += 1;
            }
        }
    }

    /// Notes where an address is because somebody has set it by hand.
    pub(super) fn note_fixed(&mut self, ip: IpAddr, mac: [u8; 6]) {
        self.note(ip, mac);
        if let Some(cell) = self.cell(ip) {
            cell.0.fetch_or(IS_FIXED, Ordering::Relaxed);
        }
    }

    /// The first address at this place or a later one that has not answered, and its place.
    pub(super) fn next_silent(&self, from: usize) -> Option<(usize, IpAddr)> {
        let rest = self.cells.get(from..)?;
        let place = from + rest.iter().position(|cell| cell.presence() == Presence::NotKnown)?;
        let at = self.stretches.partition_point(|stretch| stretch.start <= place).checked_sub(1)?;
        let stretch = self.stretches.get(at)?;
        Some((place, upwards(stretch.first, place - stretch.start)))
    }

    /// Says of all that have not answered that nobody has them.
    pub(super) fn believe_silence(&mut self) {
        for cell in self.cells.iter().filter(|cell| cell.presence() == Presence::NotKnown) {
            cell.set(Presence::Nobody);
        }
    }

    fn count(&self, wanted: Presence) -> usize {
        self.cells.iter().filter(|cell| cell.presence() == wanted).count()
    }

    #[inline]
    fn cell(&self, ip: IpAddr) -> Option<&Cell> {
        self.place(ip).and_then(|place| self.cells.get(place))
    }

    #[inline]
    fn place(&self, ip: IpAddr) -> Option<usize> {
        let at = self.stretches.partition_point(|stretch| stretch.first <= ip).checked_sub(1)?;
        let stretch = self.stretches.get(at).filter(|stretch| ip <= stretch.last)?;
        stretch.start.checked_add(distance(stretch.first, ip)?)
    }
}

/// How many steps it is up from one address to another of the same family.
#[inline]
fn distance(from: IpAddr, to: IpAddr) -> Option<usize> {
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => u32::from(to).checked_sub(from.into())?.try_into().ok(),
        (IpAddr::V6(from), IpAddr::V6(to)) => u128::from(to).checked_sub(from.into())?.try_into().ok(),
        _ => None,
    }
}

/// The address that many steps up.
fn upwards(from: IpAddr, steps: usize) -> IpAddr {
    match from {
        IpAddr::V4(from) => IpAddr::V4(u32::from(from).saturating_add(steps as u32).into()),
        IpAddr::V6(from) => IpAddr::V6(u128::from(from).saturating_add(steps as u128).into()),
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use std::collections::BTreeMap;
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    const FIRST: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const SECOND: [u8; 6] = [2, 0, 0, 0, 0, 2];

    #[test]
    fn the_first_answer_counts_and_the_second_is_counted() {
        let ip = IpAddr::from([198, 18, 0, 9]);
        let mut neighbours = Neighbours::among(&mut [ip].into_iter());
        assert_eq!(neighbours.presence(ip), Presence::NotKnown);
        neighbours.note(ip, FIRST);
        neighbours.note(ip, FIRST);
        assert_eq!((neighbours.found(), neighbours.duplicates()), (1, 0));
        neighbours.note(ip, SECOND);
        assert_eq!((neighbours.mac(ip), neighbours.found(), neighbours.duplicates()), (Some(FIRST), 1, 1));
        neighbours.note(IpAddr::from([198, 18, 0, 10]), SECOND);
        assert_eq!((neighbours.wanted(), neighbours.found()), (1, 1), "it was not asked for");
    }

    #[test]
    fn only_silence_turns_into_nobody() {
        let ips = [1, 2, 9].map(|last| IpAddr::from([198, 18, 0, last]));
        let mut neighbours = Neighbours::among(&mut ips.into_iter());
        neighbours.note(ips[1], FIRST);
        assert_eq!((neighbours.nobody(), neighbours.not_known()), (0, 2));
        assert_eq!(
            (neighbours.next_silent(0), neighbours.next_silent(1)),
            (Some((0, ips[0])), Some((2, ips[2])))
        );
        neighbours.believe_silence();
        assert_eq!((neighbours.nobody(), neighbours.not_known()), (2, 0));
        assert_eq!(neighbours.presence(IpAddr::from([198, 18, 0, 3])), Presence::NotKnown);
        assert_eq!((neighbours.next_silent(0), neighbours.next_silent(3)), (None, None));
        let expected = [Presence::Nobody, Presence::At(FIRST), Presence::Nobody];
        assert!(neighbours.iter().eq(ips.into_iter().zip(expected)));
    }

    #[test]
    fn goes_along_with_changes_and_leaves_out_what_was_set_by_hand() {
        let ips = [1, 2, 3, 4].map(|last| IpAddr::from([198, 18, 0, last]));
        let mut neighbours = Neighbours::among(&mut ips.into_iter());
        neighbours.note_fixed(ips[0], FIRST);
        neighbours.note(ips[1], [0xff; 6]);
        neighbours.note(ips[2], FIRST);
        assert_eq!((neighbours.mac(ips[0]), neighbours.mac(ips[1])), (Some(FIRST), Some([0xff; 6])));
        neighbours.set(ips[1], Presence::At(SECOND));
        neighbours.set(ips[2], Presence::Nobody);
        neighbours.set(IpAddr::from([198, 18, 0, 9]), Presence::Nobody);
        assert!(neighbours.that_answer().eq([(ips[1], SECOND)]));
        assert_eq!(neighbours.presence(ips[2]), Presence::Nobody);
    }

    #[test]
    fn stands_the_ends_of_both_families() {
        let ends = [
            IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V4(Ipv4Addr::BROADCAST),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            IpAddr::V6(u128::MAX.into()),
        ];
        let mut neighbours = Neighbours::among(&mut ends.into_iter());
        for ip in ends {
            neighbours.note(ip, FIRST);
            assert_eq!(neighbours.mac(ip), Some(FIRST));
        }
        assert_eq!(neighbours.mac(IpAddr::V6(1.into())), None);
        assert_eq!(neighbours.iter().count(), 4);
    }

    proptest! {
        /// It remembers like a map does.
        #[test]
        fn is_a_map(
            wanted in prop::collection::vec(0u8..64, 0..64),
            answers in prop::collection::vec((0u8..64, 0u8..3), 0..64),
        ) {
            let ip = |last: u8| IpAddr::from([198, 18, 0, last]);
            let mut neighbours = Neighbours::among(&mut wanted.iter().map(|&last| ip(last)));
            let mut model: BTreeMap<IpAddr, Presence> =
                wanted.iter().map(|&last| (ip(last), Presence::NotKnown)).collect();
            for (last, mac) in answers {
                neighbours.note(ip(last), [mac; 6]);
                if let Some(presence @ Presence::NotKnown) = model.get_mut(&ip(last)) {
                    *presence = Presence::At([mac; 6]);
                }
            }
            prop_assert!(neighbours.iter().eq(model.iter().map(|(ip, presence)| (*ip, *presence))));
            for last in 0..64 {
                let expected = model.get(&ip(last)).copied().unwrap_or(Presence::NotKnown);
                prop_assert_eq!(neighbours.presence(ip(last)), expected);
            }
            prop_assert_eq!(neighbours.found() + neighbours.not_known(), neighbours.wanted());
        }
    }
}
