//! What addresses are called: by the host names that were looked up, and by the inventories that they came from.
//!
//! A million names must be no burden, so their letters lie in one text and each entry is a number and a place in it.
//! Names are somebody else's words: [`super::foreign`] is the way to a terminal.

use std::net::IpAddr;
use std::ops::Range;

use super::address::{AddressRange, number_of};

/// The names of addresses.
///
/// Invariants: `singles` are sorted by number and name, without repeats; `ranges` are sorted, and `reach[i]` is the
/// highest address of `ranges[..=i]`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Names {
    text: String,
    numbers: Vec<u128>,
    /// The name of each number.
    places: Vec<Place>,
    ranges: Vec<(AddressRange, Place)>,
    reach: Vec<u128>,
}

/// Where in the text a name stands. 32 bits are enough for the files that names come from.
type Place = (u32, u32);

impl Names {
    /// The names of these addresses; one address may have several, and one name may stand for several addresses.
    pub fn new<'n>(named: impl IntoIterator<Item = (AddressRange, &'n str)>) -> Self {
        let mut names = Names::default();
        let mut singles: Vec<(u128, Place)> = Vec::new();
        let mut last: (&str, Place) = ("", (0, 0));
        for (range, name) in named {
            // A host with several addresses comes with all of them in a row.
            let place = if name == last.0 { Some(last.1) } else { names.keep(name) };
            let Some(place) = place else { continue };
            last = (name, place);
            if range.is_single() {
                singles.push((range.numbers().0, place));
            } else {
                names.ranges.push((range, place));
            }
        }
        singles.sort_unstable_by(|a, b| (a.0, names.at(a.1)).cmp(&(b.0, names.at(b.1))));
        singles.dedup_by(|a, b| a.0 == b.0 && names.at(a.1) == names.at(b.1));
        (names.numbers, names.places) = singles.into_iter().unzip();
        names.ranges.sort_unstable_by_key(|(range, _)| *range);
        let mut reach = 0;
        for (range, _) in &names.ranges {
            reach = range.numbers().1.max(reach);
            names.reach.push(reach);
        }
        names
    }

    /// The names of an address, sorted and each once.
    pub fn of(&self, ip: IpAddr) -> Vec<&str> {
        let number = number_of(ip.to_canonical());
        let first = self.numbers.partition_point(|known| *known < number);
        let singles = self.numbers[first..].iter().zip(&self.places[first..]);
        let mut found: Vec<&str> =
            singles.take_while(|(known, _)| **known == number).map(|(_, place)| self.at(*place)).collect();
        let begun = self.ranges.partition_point(|(range, _)| range.numbers().0 <= number);
        let candidates = self.ranges[..begun].iter().zip(&self.reach).rev();
        let over = candidates.take_while(|(_, reach)| **reach >= number).map(|(range, _)| range);
        found.extend(over.filter(|(range, _)| range.contains(ip)).map(|(_, place)| self.at(*place)));
        found.sort_unstable();
        found.dedup();
        found
    }

    /// As [`Names::of`], for keeping.
    pub fn owned(&self, ip: IpAddr) -> Vec<String> {
        self.of(ip).into_iter().map(str::to_owned).collect()
    }

    /// Whether nothing has a name.
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty() && self.ranges.is_empty()
    }

    fn keep(&mut self, name: &str) -> Option<Place> {
        if name.is_empty() {
            return None;
        }
        let Range { start, end } = self.text.len()..self.text.len() + name.len();
        let place = (u32::try_from(start).ok()?, u32::try_from(end).ok()?);
        self.text.push_str(name);
        Some(place)
    }

    fn at(&self, (start, end): Place) -> &str {
        self.text.get(start as usize..end as usize).unwrap_or("")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::target::address::address_of;

    fn names(named: &[(&str, &str)]) -> Names {
        Names::new(named.iter().map(|(range, name)| (range.parse().expect(range), *name)))
    }

    #[test]
    fn an_address_has_all_its_names_and_no_other() {
        let names = names(&[
            ("198.18.0.7", "web"),
            ("198.18.0.7", "db"),
            ("198.18.0.7", "web"),
            ("198.18.0.8", "web"),
            ("198.18.0.0/24", "lab"),
            ("198.18.0.6-9", "db"),
            ("2001:db8::1", "six"),
            ("198.18.0.9", ""),
        ]);
        for (ip, expected) in [
            ("198.18.0.7", &["db", "lab", "web"][..]),
            ("::ffff:198.18.0.8", &["db", "lab", "web"]),
            ("198.18.0.9", &["db", "lab"]),
            ("198.18.0.255", &["lab"]),
            ("198.18.1.0", &[]),
            ("2001:db8::1", &["six"]),
            ("2001:db8::2", &[]),
        ] {
            assert_eq!(names.of(ip.parse().expect(ip)), expected, "{ip}");
        }
        assert!(Names::default().is_empty() && Names::default().of([127, 0, 0, 1].into()).is_empty());
    }

    proptest! {
        #[test]
        fn lookup_is_what_a_list_would_say(
            entries in prop::collection::vec((0_u32..40, 0_u32..8, 0_usize..4), 0..30),
        ) {
            let base = number_of("198.18.0.0".parse().expect("an address"));
            let words = ["a", "b", "c", "d"];
            let list: Vec<(AddressRange, &str)> = entries
                .iter()
                .map(|(first, more, word)| {
                    let first = base + u128::from(*first);
                    (AddressRange::of_numbers(first, first + u128::from(*more)), words[*word])
                })
                .collect();
            let names = Names::new(list.iter().copied());
            for number in base..base + 50 {
                let ip = address_of(number);
                let expected: BTreeSet<&str> =
                    list.iter().filter(|(range, _)| range.contains(ip)).map(|(_, name)| *name).collect();
                prop_assert_eq!(names.of(ip), expected.into_iter().collect::<Vec<_>>());
            }
        }
    }
}
