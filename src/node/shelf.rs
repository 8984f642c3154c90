//! Under what names pieces are kept, so that what is kept of one generation of a content is never taken for another's.
//!
//! A content of its own has a shelf for each generation: the origin's validator is in the shelf's name. A stream has one shelf for
//! all its segments, each of which is a resource with versions of its own: there the version is in the name of the segment. What
//! the publisher signed needs no version, for each piece is proven by its own digest. Of a segment that has neither, nothing kept by an
//! earlier run is used: nothing says of which generation it is.
//!
//! Pieces that are never asked for any more leave like all that is not used: when the store needs the room.

use std::collections::{BTreeMap, HashMap};

use pcdn_core::fragment::Segment;
use pcdn_core::id::{SwarmKey, hash_field};
use pcdn_core::layout::{PieceKey, SegmentId};
use pcdn_core::resource::ResourceHead;
use pcdn_core::store::Held;
use pcdn_core::verify::PieceList;

/// Segments whose kept pieces are remembered until they are cut: two days of a stream in segments of six seconds.
const EARLY_MAX: usize = 32_768;

/// The shelf of a content.
pub(super) fn of(key: &SwarmKey, head: &ResourceHead) -> SwarmKey {
    let Some(validator) = &head.validator else { return *key };
    let mut hasher = blake3::Hasher::new_derive_key("pcdn shelf v1");
    for field in [&key.0[..], &head.len.unwrap_or(0).to_be_bytes(), validator.as_bytes()] {
        hash_field(&mut hasher, field);
    }
    SwarmKey(*hasher.finalize().as_bytes())
}

/// What says of which generation a kept piece of a stream's segment is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Proof<'p> {
    /// The publisher signed what it must be.
    Signed(&'p PieceList),
    /// The origin names a version.
    Version(&'p ResourceHead),
    /// Nothing.
    Nothing,
}

/// The segments of a stream's shelf.
#[derive(Debug, Default)]
pub(crate) struct Segments {
    /// By their names in the store: what an earlier run kept, until it is asked for.
    early: BTreeMap<SegmentId, Vec<Held>>,
    /// The name in the store of each segment that has another one there.
    names: HashMap<SegmentId, SegmentId>,
}

impl Segments {
    /// The store holds this.
    pub(super) fn new(held: Vec<Held>) -> Self {
        let mut early: BTreeMap<SegmentId, Vec<Held>> = BTreeMap::new();
        for piece in held {
            if early.len() < EARLY_MAX || early.contains_key(&piece.key.segment) {
                early.entry(piece.key.segment).or_default().push(piece);
            }
        }
        Self { early, names: HashMap::new() }
    }

    /// A segment gets its place; gives the pieces of it that are there already.
    pub(super) fn place(&mut self, segment: &Segment, proof: Proof<'_>) -> Vec<Held> {
        let name = match proof {
            Proof::Version(head) => named(segment.id, head),
            Proof::Signed(_) | Proof::Nothing => segment.id,
        };
        if name != segment.id {
            self.names.insert(segment.id, name);
        }
        let held = self.early.remove(&name).unwrap_or_default();
        let right = |held: &Held| match proof {
            Proof::Signed(list) => list.get(held.key.piece) == Some(held.digest),
            Proof::Version(_) => true,
            Proof::Nothing => false,
        };
        let here = held.into_iter().filter(|held| held.layout == segment.layout && right(held));
        here.map(|held| Held { key: PieceKey { segment: segment.id, ..held.key }, ..held }).collect()
    }

    /// Where a piece lies in the store.
    pub(super) fn key(&self, key: PieceKey) -> PieceKey {
        PieceKey { segment: self.name(key.segment), ..key }
    }

    /// What a segment is called in the store.
    pub(super) fn name(&self, segment: SegmentId) -> SegmentId {
        self.names.get(&segment).copied().unwrap_or(segment)
    }

    /// A segment leaves; gives what it was called in the store.
    pub(super) fn leave(&mut self, segment: SegmentId) -> SegmentId {
        self.names.remove(&segment).unwrap_or(segment)
    }
}

/// The name of one version of a segment. 64 bits of a hash are enough: what is confused is checked against its digest and layout, and
/// of 32,768 segments no two have one name but by a chance of 3 in 10^11.
fn named(segment: SegmentId, head: &ResourceHead) -> SegmentId {
    let Some(version) = head.tag().or_else(|| head.modified()) else { return segment };
    let mut hasher = blake3::Hasher::new_derive_key("pcdn shelf segment v1");
    for field in [&segment.0.to_be_bytes()[..], &head.len.unwrap_or(0).to_be_bytes(), version.as_bytes()] {
        hash_field(&mut hasher, field);
    }
    let hash = hasher.finalize();
    SegmentId(u64::from_be_bytes(std::array::from_fn(|i| hash.as_bytes()[i])))
}

#[cfg(test)]
mod tests {
    use pcdn_core::layout::Layout;
    use pcdn_core::resource::Url;

    use super::*;

    const LEN: u64 = 100_000;

    fn segment(id: u64) -> Segment {
        let url = Url::parse("http://cdn.example/1.ts").unwrap();
        Segment {
            layout: Layout::of_stream(LEN).unwrap(),
            ..Segment::of_file(SegmentId(id), url, 0..LEN, 14).unwrap()
        }
    }

    fn head(tag: &str) -> ResourceHead {
        ResourceHead { len: Some(LEN), validator: Some(tag.to_owned()), ..ResourceHead::default() }
    }

    /// All pieces of `content`, as the store lists them under `name`.
    fn held(name: SegmentId, content: &[u8]) -> Vec<Held> {
        let layout = segment(0).layout;
        let list = PieceList::of(&layout, content);
        let piece =
            |(piece, digest)| Held { key: PieceKey { segment: name, piece }, layout, digest, own: true };
        layout.iter().zip(list.values().iter().copied()).map(piece).collect()
    }

    #[test]
    fn what_is_kept_of_a_version_is_given_for_that_version_alone() {
        let content = pcdn_core::testing::content(LEN as usize, 1);
        let name = named(SegmentId(7), &head("\"a\""));
        for (id, tag, found) in [(7, "\"a\"", true), (7, "\"b\"", false), (8, "\"a\"", false)] {
            let mut segments = Segments::new(held(name, &content));
            let here = segments.place(&segment(id), Proof::Version(&head(tag)));
            assert_eq!(!here.is_empty(), found, "{id} {tag}");
            assert!(here.iter().all(|piece| piece.key.segment == SegmentId(id)));
        }
        let mut segments = Segments::new(Vec::new());
        segments.place(&segment(7), Proof::Version(&head("\"a\"")));
        assert_eq!((segments.name(SegmentId(7)), segments.leave(SegmentId(7))), (name, name));
        assert_eq!(segments.name(SegmentId(7)), SegmentId(7), "it has left");
    }

    #[test]
    fn what_is_signed_is_proven_piece_by_piece_and_what_nothing_names_is_not_used() {
        let (old, new) =
            (pcdn_core::testing::content(LEN as usize, 1), pcdn_core::testing::content(LEN as usize, 2));
        // Kept without versions, of both contents.
        let mut both = held(SegmentId(7), &old);
        both.splice(3.., held(SegmentId(7), &new).split_off(3));
        let list = PieceList::of(&segment(7).layout, &old);
        let here = Segments::new(both.clone()).place(&segment(7), Proof::Signed(&list));
        assert_eq!(here, both[..3]);
        let mut segments = Segments::new(both.clone());
        assert!(segments.place(&segment(7), Proof::Version(&head("\"a\""))).is_empty());
        assert!(Segments::new(both).place(&segment(7), Proof::Nothing).is_empty());
    }
}
