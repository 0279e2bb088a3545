//! Which of many address ranges hold an address: an interval tree, laid out in one sorted array.
//!
//! The tree has no pointers: the middle of a slice is its root, the halves are its children. Each root knows the
//! highest address of its slice, so a search leaves out every slice that ends too early or begins too late.

use std::net::IpAddr;

use crate::target::address::{AddressRange, number_of};

/// Ranges of addresses, each with the number of what it belongs to.
#[derive(Clone, Debug, Default)]
pub(super) struct RangeIndex {
    nodes: Vec<Node>,
}

/// One range. Invariants: nodes are sorted by `first`; `highest` is the highest `last` of the slice whose middle this
/// is.
#[derive(Clone, Copy, Debug)]
struct Node {
    first: u128,
    last: u128,
    highest: u128,
    owner: usize,
}

impl RangeIndex {
    /// The index of these ranges; they may overlap and repeat.
    pub(super) fn new(ranges: impl IntoIterator<Item = (AddressRange, usize)>) -> Self {
        let node = |(range, owner): (AddressRange, usize)| {
            let (first, last) = range.numbers();
            Node { first, last, highest: last, owner }
        };
        let mut nodes: Vec<Node> = ranges.into_iter().map(node).collect();
        nodes.sort_unstable_by_key(|node| (node.first, node.last, node.owner));
        raise(&mut nodes);
        RangeIndex { nodes }
    }

    /// Calls `visit` with the owner of every range that holds the address; twice, if two ranges of one owner hold it.
    pub(super) fn visit(&self, ip: IpAddr, mut visit: impl FnMut(usize)) {
        descend(&self.nodes, number_of(ip.to_canonical()), &mut visit);
    }
}

/// Sets `highest` throughout the slice and returns the slice's own; 0 for none, which no search mistakes for a range.
fn raise(nodes: &mut [Node]) -> u128 {
    let middle = nodes.len() / 2;
    let Some((left, rest)) = nodes.split_at_mut_checked(middle) else { return 0 };
    let Some((root, right)) = rest.split_first_mut() else { return 0 };
    root.highest = root.last.max(raise(left)).max(raise(right));
    root.highest
}

fn descend(nodes: &[Node], number: u128, visit: &mut impl FnMut(usize)) {
    let (left, rest) = nodes.split_at(nodes.len() / 2);
    let Some((root, right)) = rest.split_first() else { return };
    if root.highest < number {
        return;
    }
    descend(left, number, visit);
    // Everything to the right begins at or behind the root, so it cannot hold an address in front of it.
    if root.first <= number {
        if number <= root.last {
            visit(root.owner);
        }
        descend(right, number, visit);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::target::address::address_of;

    proptest! {
        #[test]
        fn finds_what_a_walk_over_all_ranges_finds(
            ranges in prop::collection::vec((0_u128..300, 0_u128..60), 0..40),
            address in 0_u128..400,
        ) {
            let ranges: Vec<AddressRange> =
                ranges.iter().map(|(first, len)| AddressRange::of_numbers(*first, first + len)).collect();
            let index = RangeIndex::new(ranges.iter().copied().zip(0..));
            let ip = address_of(address);
            let mut found = Vec::new();
            index.visit(ip, |owner| found.push(owner));
            found.sort_unstable();
            let walked: Vec<usize> = (0..ranges.len()).filter(|at| ranges[*at].contains(ip)).collect();
            prop_assert_eq!(found, walked);
        }
    }
}
