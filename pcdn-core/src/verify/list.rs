//! Piece lists: the BLAKE3 subtree values of a segment's pieces.
//!
//! Pieces are aligned powers of two, so each is a subtree of the segment's ordinary BLAKE3 hash. A list of their chaining
//! values merges to that hash: it checks itself against 32 bytes, anyone may carry it, and no Merkle proofs travel.
//! Cost: 0.34 core-seconds per GB hashed, 32 bytes per 64 KiB piece (0.05 %).

use blake3::hazmat::{ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};
use bytes::Bytes;

use crate::id::Digest;
use crate::layout::{Layout, PieceIndex};
use crate::verify::Verified;

/// The chaining values of every piece of one segment, and the root they merge to.
///
/// ```
/// use pcdn_core::{layout::Layout, verify::list::{self, PieceList}};
/// let segment = vec![7u8; 200_000];
/// let layout = Layout::new(segment.len() as u64, 16)?;
/// let list = PieceList::of(&layout, &segment);
/// assert_eq!(list.root().0, *blake3::hash(&segment).as_bytes());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PieceList {
    layout: Layout,
    root: Digest,
    values: Vec<Digest>,
}

impl PieceList {
    /// Of a whole segment in memory, `segment.len() == layout.len()`.
    pub fn of(layout: &Layout, segment: &[u8]) -> Self {
        debug_assert_eq!(segment.len() as u64, layout.len());
        let values = layout
            .iter()
            .map(|piece| {
                let range = layout.bytes_of(piece);
                digest(layout, piece, &segment[range.start as usize..range.end as usize])
            })
            .collect();
        Self::merged(*layout, values)
    }

    /// Of the digests of all its pieces, in order; `None` if their number is not the layout's.
    pub fn of_digests(layout: Layout, values: Vec<Digest>) -> Option<Self> {
        (values.len() == layout.pieces() as usize).then(|| Self::merged(layout, values))
    }

    /// A list from outside: taken only if it merges to `root`.
    pub fn checked(layout: Layout, values: Vec<Digest>, root: &Digest) -> Option<Self> {
        Self::of_digests(layout, values).filter(|list| list.root == *root)
    }

    fn merged(layout: Layout, values: Vec<Digest>) -> Self {
        let root = match values.len() {
            0 => Digest(*blake3::hash(b"").as_bytes()),
            1 => values[0],
            _ => merge(&values, true),
        };
        Self { layout, root, values }
    }

    /// The ordinary BLAKE3 hash of the segment.
    pub fn root(&self) -> Digest {
        self.root
    }

    /// The segment's layout.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The value `piece` must have.
    pub fn get(&self, piece: PieceIndex) -> Option<Digest> {
        self.values.get(piece.get() as usize).copied()
    }

    /// `bytes` as `piece`, proven by this list; `None` if they are not. This is how bytes are proven without a swarm: whoever has
    /// the list trusts it already.
    pub fn prove(&self, piece: PieceIndex, bytes: Bytes) -> Option<Verified<Bytes>> {
        let value = self.get(piece)?;
        let fits = bytes.len() == self.layout.piece_len(piece) as usize;
        (fits && digest(&self.layout, piece, &bytes) == value).then(|| Verified::checked(bytes))
    }

    /// All values in order.
    pub fn values(&self) -> &[Digest] {
        &self.values
    }
}

/// The value of `piece` with content `bytes`: its chaining value in the segment's tree, or the plain hash if it is the
/// segment's only piece.
pub fn digest(layout: &Layout, piece: PieceIndex, bytes: &[u8]) -> Digest {
    if layout.pieces() <= 1 {
        return Digest(*blake3::hash(bytes).as_bytes());
    }
    let mut hasher = blake3::Hasher::new();
    hasher.set_input_offset(layout.bytes_of(piece).start).update(bytes);
    Digest(hasher.finalize_non_root())
}

/// Merges in the shape of BLAKE3's tree: the left side is the largest power of two below the number of leaves.
fn merge(values: &[Digest], root: bool) -> Digest {
    let left_len = values.len().next_power_of_two() / 2;
    let (left, right) = values.split_at(left_len);
    let side = |part: &[Digest]| -> ChainingValue {
        match part {
            [one] => one.0,
            more => merge(more, false).0,
        }
    };
    let (left, right) = (side(left), side(right));
    match root {
        true => Digest(*merge_subtrees_root(&left, &right, Mode::Hash).as_bytes()),
        false => Digest(merge_subtrees_non_root(&left, &right, Mode::Hash)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn content(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i * 31 % 251) as u8).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_list_merges_to_the_plain_hash_and_one_flip_damages_one_entry(
            len in 1usize..400_000, log2 in 14u8..=17, at in any::<proptest::sample::Index>()
        ) {
            let layout = Layout::new(len as u64, log2).unwrap();
            let mut segment = content(len);
            let list = PieceList::of(&layout, &segment);
            prop_assert_eq!(list.root().0, *blake3::hash(&segment).as_bytes());
            let at = at.index(len);
            segment[at] ^= 1;
            let bad = PieceList::of(&layout, &segment);
            let hit = layout.piece_at(at as u64).unwrap();
            for piece in layout.iter() {
                prop_assert_eq!(bad.get(piece) == list.get(piece), piece != hit);
                let range = layout.bytes_of(piece);
                let bytes = Bytes::copy_from_slice(&segment[range.start as usize..range.end as usize]);
                prop_assert_eq!(list.prove(piece, bytes.clone()).is_some(), piece != hit);
                prop_assert!(list.prove(piece, bytes.slice(1..)).is_none());
            }
            prop_assert!(PieceList::checked(layout, bad.values().to_vec(), &list.root()).is_none());
            prop_assert!(PieceList::checked(layout, list.values().to_vec(), &list.root()).is_some());
        }
    }

    #[test]
    fn the_empty_segment_has_the_hash_of_nothing() {
        let layout = Layout::new(0, 16).unwrap();
        assert_eq!(PieceList::of(&layout, b"").root().0, *blake3::hash(b"").as_bytes());
    }
}
