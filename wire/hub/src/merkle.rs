//! The Merkle tree over the results of a bag.
//!
//! ```text
//!   leaf(row)   = keccak(0x00 ‖ digest of the row's result)             rows in order, from 0
//!   node(l, r)  = keccak(0x01 ‖ l ‖ r)
//!   root        = keccak(0x02 ‖ count of rows, 8 bytes, highest first ‖ top)
//! ```
//!
//! Level by level two neighbours become a node; an odd one at the end goes up as it is. That is the tree of RFC 6962,
//! section 2.1 (<https://www.rfc-editor.org/rfc/rfc6962#section-2.1>), with another hash. The first byte keeps a leaf from
//! being taken for a node, and the count keeps one bag's root from being another's with rows left out. A row without a
//! result has [`NO_RESULT`] as its digest.

use wire_protocol::limits::BAG_ROWS_MAX;
use wire_protocol::outcome::{Outcome, Output};

use crate::{Hash, Hasher, result_of};

/// What stands for the digest of a work that has no result.
pub const NO_RESULT: Hash = Hash::ZERO;

/// Levels of the largest tree.
const LEVELS_MAX: usize = 20;

const _: () = assert!(BAG_ROWS_MAX as u64 <= 1 << LEVELS_MAX);

/// All nodes of a tree; twice as many hashes as rows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tree {
    /// Level by level, the leaves first, the top last.
    levels: Vec<Vec<Hash>>,
}

/// That a digest is that of a row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proof {
    /// Which row, from 0.
    pub row: u32,
    /// Rows of the bag.
    pub count: u32,
    /// Neighbours on the way to the top, the leaf's first; none where there is none.
    pub neighbours: Vec<Hash>,
}

impl Tree {
    /// The tree over these digests, in the order of rows. Costs two hashes a row.
    ///
    /// # Panics
    /// If there is none, or more than a bag may have.
    #[must_use]
    pub fn new(digests: &[Hash]) -> Self {
        assert!(
            (1..=BAG_ROWS_MAX as usize).contains(&digests.len()),
            "a bag has 1 to {BAG_ROWS_MAX} rows, not {}",
            digests.len()
        );
        let mut levels = vec![digests.iter().map(leaf).collect::<Vec<Hash>>()];
        loop {
            let level = levels.last().expect("the leaves");
            if level.len() == 1 {
                return Self { levels };
            }
            let next = level.chunks(2).map(|pair| match pair {
                [left, right] => node(left, right),
                odd => odd[0],
            });
            let next = next.collect();
            levels.push(next);
        }
    }

    /// The root.
    #[must_use]
    pub fn root(&self) -> Hash {
        let top = self.levels.last().expect("at least the leaves")[0];
        crown(self.count(), &top)
    }

    /// How many rows.
    #[must_use]
    pub fn count(&self) -> u32 {
        u32::try_from(self.levels[0].len()).expect("bounded by new")
    }

    /// The proof of a row. `None`: there is no such row.
    #[must_use]
    pub fn proof(&self, row: u32) -> Option<Proof> {
        if row >= self.count() {
            return None;
        }
        let mut index = row as usize;
        let mut neighbours = Vec::new();
        for level in &self.levels {
            neighbours.extend(level.get(index ^ 1));
            index /= 2;
        }
        Some(Proof {
            row,
            count: self.count(),
            neighbours,
        })
    }
}

/// The digest of a work that has ended so, with this result; [`NO_RESULT`] where there is none.
#[must_use]
pub fn digest_of(outcome: Outcome, result: &[u8]) -> Hash {
    match (outcome, Output::parse(result)) {
        (Outcome::Succeeded, Ok(output)) => result_of(&output),
        _ => NO_RESULT,
    }
}

/// The root over these digests, in the order of rows.
///
/// # Panics
/// As [`Tree::new`].
#[must_use]
pub fn root(digests: &[Hash]) -> Hash {
    Tree::new(digests).root()
}

impl Proof {
    /// Whether `digest` is that of the row in the bag with this root. A proof that makes no sense proves nothing.
    #[must_use]
    pub fn proves(&self, digest: &Hash, root: &Hash) -> bool {
        if self.row >= self.count || self.neighbours.len() > LEVELS_MAX {
            return false;
        }
        let (mut index, mut len) = (self.row, self.count);
        let mut top = leaf(digest);
        let mut neighbours = self.neighbours.iter();
        while len > 1 {
            let has_neighbour = index ^ 1 < len;
            if has_neighbour {
                let Some(neighbour) = neighbours.next() else {
                    return false;
                };
                top = if index.is_multiple_of(2) {
                    node(&top, neighbour)
                } else {
                    node(neighbour, &top)
                };
            }
            index /= 2;
            len = len.div_ceil(2);
        }
        neighbours.next().is_none() && crown(self.count, &top) == *root
    }
}

fn leaf(digest: &Hash) -> Hash {
    Hasher::default().bytes(&[0]).bytes(&digest.0).finish()
}

fn node(left: &Hash, right: &Hash) -> Hash {
    Hasher::default()
        .bytes(&[1])
        .bytes(&left.0)
        .bytes(&right.0)
        .finish()
}

fn crown(count: u32, top: &Hash) -> Hash {
    Hasher::default()
        .bytes(&[2])
        .number(u64::from(count))
        .bytes(&top.0)
        .finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn digests(count: usize) -> Vec<Hash> {
        (0..count).map(|row| crate::keccak(&row.to_be_bytes())).collect()
    }

    /// The root was computed from the documentation by a program of a few lines in another language.
    #[test]
    fn the_tree_of_three_is_as_documented() {
        let digests = digests(3);
        let [a, b, c] = [0, 1, 2].map(|row: usize| leaf(&digests[row]));
        assert_eq!(root(&digests), crown(3, &node(&node(&a, &b), &c)));
        assert_eq!(root(&digests[..1]), crown(1, &a));
        assert_eq!(
            root(&digests).to_string(),
            "0x84a1ce4c786a9b0d3a265c3a5f40804894131a72c329b6e56e94ad0ca64a3279"
        );
    }

    #[test]
    fn a_row_less_or_another_order_is_another_root() {
        let digests = digests(5);
        let mut swapped = digests.clone();
        swapped.swap(3, 4);
        let mut doubled = digests.clone();
        doubled.push(digests[4]);
        let roots = [
            root(&digests),
            root(&digests[..4]),
            root(&swapped),
            root(&doubled),
        ];
        for (index, one) in roots.iter().enumerate() {
            assert!(!roots[..index].contains(one), "{index}");
        }
    }

    #[test]
    fn an_inner_node_is_no_leaf() {
        let digests = digests(2);
        let inner = node(&leaf(&digests[0]), &leaf(&digests[1]));
        assert_ne!(root(&[inner]), root(&digests));
        let proof = Proof {
            row: 0,
            count: 1,
            neighbours: Vec::new(),
        };
        assert!(!proof.proves(&inner, &root(&digests)));
    }

    #[test]
    fn a_hundred_thousand_rows_have_proofs_of_seventeen_hashes() {
        let digest = |row: u32| {
            let mut digest = Hash::ZERO;
            digest.0[..4].copy_from_slice(&row.to_be_bytes());
            digest
        };
        let digests: Vec<Hash> = (0..100_000).map(digest).collect();
        let tree = Tree::new(&digests);
        let proof = tree.proof(77_777).expect("a row");
        assert_eq!(proof.neighbours.len(), 17);
        assert!(proof.proves(&digests[77_777], &tree.root()));
    }

    proptest! {
        #[test]
        fn every_row_is_proved_and_nothing_else_is(count in 1_usize..80, row: prop::sample::Index, other: prop::sample::Index, flip: prop::sample::Index) {
            let digests = digests(count);
            let tree = Tree::new(&digests);
            let root = tree.root();
            let (row, other) = (row.index(count), other.index(count));
            let proof = tree.proof(row as u32).expect("a row");
            prop_assert!(proof.proves(&digests[row], &root));
            prop_assert_eq!(proof.proves(&digests[other], &root), row == other);
            let moved = Proof { row: other as u32, ..proof.clone() };
            prop_assert_eq!(moved.proves(&digests[row], &root), row == other);
            let longer = Proof { count: count as u32 + 1, ..proof.clone() };
            prop_assert!(!longer.proves(&digests[row], &root));
            let mut more = proof.clone();
            more.neighbours.push(Hash::ZERO);
            prop_assert!(!more.proves(&digests[row], &root));
            if !proof.neighbours.is_empty() {
                let mut forged = proof;
                let at = flip.index(forged.neighbours.len());
                forged.neighbours[at].0[0] ^= 1;
                prop_assert!(!forged.proves(&digests[row], &root));
            }
            prop_assert_eq!(tree.proof(count as u32), None);
        }
    }
}
