//! The manifest of a continuous live stream: the newest slices (of HTTP-FLV: their parts), as every viewer cuts them too.

use std::collections::VecDeque;
use std::time::Duration;

use pcdn_core::fragment::Slice;
use pcdn_core::id::{Identity, Rid, RuleId};
use pcdn_core::layout::{Layout, LayoutError, PIECE_LOG2_MIN, SegmentId};
use pcdn_core::verify::PieceList;
use pcdn_core::verify::manifest::Draft;
use pcdn_media::flv;

/// A manifest names the slices of so long a time: more than it takes from one that a viewer fetched to the next. No longer, as
/// every viewer fetches all of it with every slice: at 2 Mbit/s 3 KiB, two and a half times a second.
const NAMED_FOR: Duration = Duration::from_secs(5);
/// And no more than so many, however short they are.
const SLICES_MAX: usize = 64;

#[derive(Debug)]
struct Named {
    id: SegmentId,
    list: PieceList,
    duration: Duration,
}

/// Signs the slices of one stream as they are cut.
#[derive(Debug)]
pub struct SliceSigner {
    key: Identity,
    rule: RuleId,
    rid: Option<Rid>,
    kept: VecDeque<Named>,
    seq: u64,
}

impl SliceSigner {
    /// A signer of slices cut by `rule`. `seq` is the number of the last manifest before, if there was one.
    pub fn new(key: Identity, rule: RuleId, rid: Option<Rid>, seq: u64) -> Self {
        Self { key, rule, rid, kept: VecDeque::new(), seq }
    }

    /// Slices in the newest manifest.
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether no slice was signed yet.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Takes the next slice, and gives the manifest of the newest slices; `None` if this slice is nothing new, or was cut
    /// before the first boundary that everybody shares. `now_ms` is milliseconds since 1970.
    ///
    /// # Errors
    /// If the slice is too long to be cut into pieces; slicers cut none so long.
    pub fn take(&mut self, slice: &Slice, now_ms: u64) -> Result<Option<Vec<u8>>, LayoutError> {
        let id = slice.segment.id;
        if flv::provisional(slice) || self.kept.iter().any(|known| known.id == id) {
            return Ok(None);
        }
        let layout = Layout::of_stream(slice.bytes.len() as u64)?;
        let list = PieceList::of(&layout, &slice.bytes);
        self.kept.push_back(Named { id, list, duration: slice.segment.duration.unwrap_or_default() });
        self.forget();
        self.seq = now_ms.max(self.seq.saturating_add(1));
        let (names, lists) = self.kept.iter().map(|one| (one.id, one.list.clone())).unzip();
        let draft = Draft {
            rule: self.rule,
            rid: self.rid,
            seq: self.seq,
            first: SegmentId(0),
            issued_ms: now_ms,
            ttl_s: 0,
            piece_log2: PIECE_LOG2_MIN,
            lists,
            names,
        };
        Ok(Some(draft.sign(&self.key)))
    }

    /// Leaves out the oldest, but never the newest.
    fn forget(&mut self) {
        let mut span: Duration = self.kept.iter().map(|one| one.duration).sum();
        while self.kept.len() > SLICES_MAX || (span > NAMED_FOR && self.kept.len() > 1) {
            span -= self.kept.pop_front().map_or(Duration::ZERO, |one| one.duration);
        }
    }
}
