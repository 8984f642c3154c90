//! What is delivered: one buffer for all peers, cut by the real fragmenter, with its manifest.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use pcdn_core::fragment::{Cut, Fragmenter, Segment};
use pcdn_core::id::{Identity, Rid, SwarmKey};
use pcdn_core::layout::{PieceKey, SegmentId};
use pcdn_core::resource::{Resource, ResourceHead, Url};
use pcdn_core::verify::manifest::Draft;
use pcdn_core::verify::{Manifest, PieceList};

/// Where the simulated content is said to be.
const ADDRESS: &str = "http://cdn.sim/content";

/// A content, or the poisoned form of one.
#[derive(Debug)]
pub(super) struct Content {
    /// All of it. Pieces handed out are slices of this.
    pub(super) bytes: Bytes,
    /// Where peers meet.
    pub(super) swarm: SwarmKey,
    /// How it is cut.
    pub(super) segments: Vec<Segment>,
    /// First slot of each segment.
    first: Vec<u32>,
    /// Pieces in all.
    pub(super) slots: u32,
    /// The publisher's manifest and its binary form.
    pub(super) manifest: Arc<Manifest>,
    pub(super) raw_manifest: Bytes,
}

impl Content {
    /// `len` pseudo-random bytes.
    pub(super) fn new(seed: u64, len: u64) -> Self {
        let mut bytes = vec![0; len as usize];
        let mut hasher = blake3::Hasher::new_derive_key("pcdn simulated content");
        hasher.update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
        Self::of(bytes, Identity::from_secret([1; 32]))
    }

    /// The same with one byte of every piece changed, under a manifest by somebody else that says this is right.
    pub(super) fn poisoned(&self) -> Self {
        let mut bytes = self.bytes.to_vec();
        for segment in &self.segments {
            for piece in segment.layout.iter() {
                bytes[(segment.offset + segment.layout.bytes_of(piece).start) as usize] ^= 0x5a;
            }
        }
        Self::of(bytes, Identity::from_secret([2; 32]))
    }

    fn of(bytes: Vec<u8>, publisher: Identity) -> Self {
        let bytes = Bytes::from(bytes);
        let fragmenter = pcdn_media::File::default();
        let head = ResourceHead { len: Some(bytes.len() as u64), ranges: true, ..ResourceHead::default() };
        let url = Url::parse(ADDRESS).expect("a URL written here");
        // The honest and the poisoned content have one name: that is what the poison is about.
        let rid = Rid(*blake3::hash(ADDRESS.as_bytes()).as_bytes());
        let resource = Resource { url, rid, head: Some(head) };
        let mut slicing = fragmenter.open(&resource).expect("the length is known");
        let mut segments = Vec::new();
        while let Some(cut) = slicing.cut() {
            if let Cut::Segment(segment) = cut {
                segments.push(segment);
            }
        }
        let list = |segment: &Segment| {
            let range = segment.offset as usize..(segment.offset + segment.layout.len()) as usize;
            PieceList::of(&segment.layout, &bytes[range])
        };
        let draft = Draft {
            rule: fragmenter.rule(),
            rid: Some(rid),
            seq: 1,
            first: SegmentId(0),
            issued_ms: 0,
            ttl_s: 0,
            piece_log2: segments.first().map_or(16, |segment| segment.layout.piece_log2()),
            lists: segments.iter().map(list).collect(),
            names: Vec::new(),
        };
        let raw_manifest = Bytes::from(draft.sign(&publisher));
        let manifest = Arc::new(Manifest::parse(&raw_manifest).expect("what was just signed"));
        let mut slots = 0;
        let first = segments
            .iter()
            .map(|segment| {
                slots += segment.layout.pieces();
                slots - segment.layout.pieces()
            })
            .collect();
        Self {
            swarm: SwarmKey::of(&rid, &fragmenter.rule()),
            bytes,
            segments,
            first,
            slots,
            manifest,
            raw_manifest,
        }
    }

    /// Length in bytes.
    pub(super) fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// The slot of a piece and its bytes.
    pub(super) fn piece(&self, key: &PieceKey) -> Option<(u32, Bytes)> {
        let at = usize::try_from(key.segment.0).ok()?;
        let segment = self.segments.get(at)?;
        let piece = segment.layout.piece(key.piece.get())?;
        let range = shifted(segment.layout.bytes_of(piece), segment.offset);
        Some((self.first[at] + piece.get(), self.bytes.slice(range)))
    }

    /// The piece at a slot.
    pub(super) fn key(&self, slot: u32) -> Option<PieceKey> {
        let at = self.first.partition_point(|first| *first <= slot).checked_sub(1)?;
        let segment = &self.segments[at];
        Some(PieceKey { segment: segment.id, piece: segment.layout.piece(slot - self.first[at])? })
    }

    /// Whether `bytes` are those at `at`. Costs nothing where they are a slice of this very buffer.
    pub(super) fn has(&self, at: u64, bytes: &[u8]) -> bool {
        let Some(mine) = self.bytes.get(at as usize..at as usize + bytes.len()) else { return false };
        std::ptr::eq(mine, bytes) || mine == bytes
    }
}

fn shifted(range: Range<u64>, by: u64) -> Range<usize> {
    (range.start + by) as usize..(range.end + by) as usize
}
