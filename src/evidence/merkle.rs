//! The root of a Merkle tree over lines, as RFC 6962, section 2.1, defines it: whoever has the root can be shown that
//! one line belongs to it without being shown the others, and no two lists of lines have the same one.

use super::digest::Digest;

/// What stands before a leaf, and before two nodes, so that none passes for the other.
const LEAF: &[u8] = &[0];
const NODE: &[u8] = &[1];

/// A tree that grows line by line, and keeps no more than the roots of its whole subtrees: one for each bit of the
/// number of lines.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// Subtrees from left to right, each larger than the next, with their numbers of leaves.
    subtrees: Vec<(u64, Digest)>,
    leaves: u64,
}

impl Tree {
    /// Adds a line, which comes without its line end.
    pub fn push(&mut self, line: &[u8]) {
        self.leaves += 1;
        let mut size = 1;
        let mut root = Digest::of_pieces(&[LEAF, line]);
        while let Some((_, left)) = self.subtrees.pop_if(|(leaves, _)| *leaves == size) {
            root = node(&left, &root);
            size *= 2;
        }
        self.subtrees.push((size, root));
    }

    /// How many lines there are.
    pub fn leaves(&self) -> u64 {
        self.leaves
    }

    /// The root. That of no line at all is the digest of nothing.
    pub fn root(&self) -> Digest {
        let mut subtrees = self.subtrees.iter().rev().map(|(_, root)| *root);
        let Some(last) = subtrees.next() else { return Digest::of(b"") };
        subtrees.fold(last, |right, left| node(&left, &right))
    }
}

fn node(left: &Digest, right: &Digest) -> Digest {
    Digest::of_pieces(&[NODE, left.as_bytes(), right.as_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition of RFC 6962, word by word.
    fn by_definition(lines: &[&[u8]]) -> Digest {
        match lines {
            [] => Digest::of(b""),
            [line] => Digest::of_pieces(&[&[0], line]),
            _ => {
                let half = lines.len().next_power_of_two() / 2;
                node(&by_definition(&lines[..half]), &by_definition(&lines[half..]))
            }
        }
    }

    #[test]
    fn is_the_tree_of_the_rfc_for_every_number_of_lines() {
        let lines: Vec<Vec<u8>> = (0..70_u8).map(|n| vec![n; usize::from(n)]).collect();
        let lines: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
        let mut tree = Tree::default();
        for count in 0..lines.len() {
            assert_eq!(tree.root(), by_definition(&lines[..count]), "{count} lines");
            assert_eq!(tree.leaves(), count as u64);
            tree.push(lines[count]);
        }
    }

    /// As published with the first implementations of RFC 6962: the tree of one empty line.
    #[test]
    fn a_leaf_is_no_node() {
        let mut tree = Tree::default();
        tree.push(b"");
        let known = "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d";
        assert_eq!(tree.root().to_string(), known);
    }
}
