//! Fakes for tests: content that can be checked, an origin that fails as told, a deadline that needs no runtime, addresses of a
//! test's own.
//!
//! In-process links are `pcdn_transport`'s `Memory`, in-memory pieces [`store::Memory`](crate::store::Memory), given peers
//! `pcdn_discovery::Fixed`: those are real implementations and serve tests as well.

mod origin;
mod own_addr;
mod patience;

use bytes::Bytes;

use crate::dice::Dice;
use crate::id::{Identity, Rid, RuleId};
use crate::layout::{Layout, SegmentId};
use crate::verify::PieceList;
use crate::verify::manifest::Draft;

pub use origin::{Counts, Fault, ScriptedOrigin};
pub use own_addr::own_addr;
pub use patience::{Signal, block_on, both, within};

/// `len` bytes that only `seed` decides: equal for equal seeds, never alike for others.
pub fn content(len: usize, seed: u64) -> Bytes {
    let mut dice = Dice::new(seed);
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        bytes.extend_from_slice(&dice.next_u64().to_le_bytes());
    }
    bytes.truncate(len);
    Bytes::from(bytes)
}

/// The signed manifest of `content`, cut by `rule` into segments of `segment_bytes` and pieces of `2^piece_log2` bytes, as
/// `pcdn sign` makes it. Not bound to a URL.
///
/// # Panics
/// If [`Layout`] refuses the numbers.
pub fn manifest_of(
    content: &[u8],
    rule: RuleId,
    segment_bytes: u64,
    piece_log2: u8,
    key: &Identity,
) -> Bytes {
    let lists = content.chunks(segment_bytes as usize).map(|segment| {
        let layout = Layout::new(segment.len() as u64, piece_log2).expect("a segment that can be laid out");
        PieceList::of(&layout, segment)
    });
    let draft = Draft {
        rule,
        rid: None::<Rid>,
        seq: 0,
        first: SegmentId(0),
        issued_ms: 0,
        ttl_s: 0,
        piece_log2,
        lists: lists.collect(),
        names: Vec::new(),
    };
    Bytes::from(draft.sign(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::Manifest;

    #[test]
    fn content_is_its_seed() {
        assert_eq!(content(1_000, 1), content(2_000, 1).slice(..1_000));
        assert_ne!(content(1_000, 1), content(1_000, 2));
    }

    #[test]
    fn a_manifest_of_content_reads_back() {
        let body = content(100_000, 1);
        let key = Identity::from_secret([3; 32]);
        let manifest = Manifest::parse(&manifest_of(&body, RuleId([1; 8]), 1 << 16, 14, &key)).unwrap();
        assert_eq!((manifest.bytes(), manifest.len()), (100_000, 2));
    }
}
